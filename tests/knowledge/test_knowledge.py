"""The tables of facts: complete, consistent, and right where the documents were looked up."""

from __future__ import annotations

import csv
import re
from importlib.resources import files

import pytest

from analyzer import knowledge

TABLES = sorted(path.name.removesuffix(".csv") for path in files(knowledge).iterdir() if path.name.endswith(".csv"))
SMB_RUNGS = {"session_setup", "tree_connect", "open", "call"}
RUNGS = SMB_RUNGS | {"bind", "fault", "stub"}
KEYS = {
    "statuses": ("kind", "code"),
    "pipes": ("pipe",),
    "fsctls": ("code",),
    "rap": ("function",),
    "log_events": ("provider", "event_id"),
    "rpc_interfaces": ("uuid", "version"),
    "rpc_operations": ("uuid", "version", "opnum"),
    "applications": ("pipe", "interface", "operations", "needs", "excludes"),
    "policy_settings": ("id",),
    "policy_samba_words": ("option", "value"),
    "policy_defaults": ("setting", "os_build_from", "os_build_to", "role", "edition_or_update"),
    "fingerprints": (
        "native_os",
        "native_lanman",
        "client_build",
        "workstation",
        "ntlm_flags",
        "client_guid",
        "netbios_calling",
        "dialects_offered",
        "client_capabilities",
    ),
}
SYMBOLS = {
    "nt": r"[A-Z][A-Z0-9_]+",
    "dos": r"ERR(DOS|SRV|HRD|CMD)/ERR\w+",
    "win32": r"[A-Z]+_\w+",
    "werr": r"(WERR|EPT_S)_[A-Z0-9_]+",
    "hresult": r"(E|S|HRESULT|FSRVP_E)_[A-Z_]+",
    "fault": r"nca_[a-z_]+|[A-Z][A-Z_]+",
    "bind_nak": r"[a-z_]+",
    "bind_result": r"[a-z_]+(/[a-z_+]+)?",
}

# [MS-ERREF 2.3.1], those that sessions, trees and pipes answer with.
NT_STATUSES = {
    0x00000000: "STATUS_SUCCESS",
    0x00000103: "STATUS_PENDING",
    0x80000005: "STATUS_BUFFER_OVERFLOW",
    0xC0000016: "STATUS_MORE_PROCESSING_REQUIRED",
    0xC0000022: "STATUS_ACCESS_DENIED",
    0xC0000034: "STATUS_OBJECT_NAME_NOT_FOUND",
    0xC000006D: "STATUS_LOGON_FAILURE",
    0xC000006E: "STATUS_ACCOUNT_RESTRICTION",
    0xC000006F: "STATUS_INVALID_LOGON_HOURS",
    0xC0000070: "STATUS_INVALID_WORKSTATION",
    0xC0000071: "STATUS_PASSWORD_EXPIRED",
    0xC0000072: "STATUS_ACCOUNT_DISABLED",
    0xC00000AC: "STATUS_PIPE_NOT_AVAILABLE",
    0xC00000AD: "STATUS_INVALID_PIPE_STATE",
    0xC00000AE: "STATUS_PIPE_BUSY",
    0xC00000B0: "STATUS_PIPE_DISCONNECTED",
    0xC00000BB: "STATUS_NOT_SUPPORTED",
    0xC00000C9: "STATUS_NETWORK_NAME_DELETED",
    0xC00000CA: "STATUS_NETWORK_ACCESS_DENIED",
    0xC00000CC: "STATUS_BAD_NETWORK_NAME",
    0xC000014B: "STATUS_PIPE_BROKEN",
    0xC000015B: "STATUS_LOGON_TYPE_NOT_GRANTED",
    0xC0000203: "STATUS_USER_SESSION_DELETED",
    0xC000035C: "STATUS_NETWORK_SESSION_EXPIRED",
    0xC0000388: "STATUS_DOWNGRADE_DETECTED",
    0xC0000418: "STATUS_NTLM_BLOCKED",
}
# [MS-CIFS 2.2.2.4]: class in the low byte (1 ERRDOS, 2 ERRSRV, 3 ERRHRD), code in the upper half.
DOS_STATUSES = {
    0x00020001: "ERRDOS/ERRbadfile",
    0x00050001: "ERRDOS/ERRnoaccess",
    0x00060001: "ERRDOS/ERRbadfid",
    0x00E60001: "ERRDOS/ERRbadpipe",
    0x00E70001: "ERRDOS/ERRpipebusy",
    0x00EA0001: "ERRDOS/ERRmoredata",
    0x00010002: "ERRSRV/ERRerror",
    0x00020002: "ERRSRV/ERRbadpw",
    0x00040002: "ERRSRV/ERRaccess",
    0x00050002: "ERRSRV/ERRinvtid",
    0x00060002: "ERRSRV/ERRinvnetname",
    0x00580002: "ERRSRV/ERRtimeout",
    0x005A0002: "ERRSRV/ERRtoomanyuids",
    0x005B0002: "ERRSRV/ERRbaduid",
    0xFFFF0002: "ERRSRV/ERRnosupport",
}
FSCTLS = {  # [MS-SMB2 2.2.31; MS-FSCC 2.3]
    0x00060194: "FSCTL_DFS_GET_REFERRALS",
    0x000601B0: "FSCTL_DFS_GET_REFERRALS_EX",
    0x00110018: "FSCTL_PIPE_WAIT",
    0x0011400C: "FSCTL_PIPE_PEEK",
    0x0011C017: "FSCTL_PIPE_TRANSCEIVE",
    0x00140204: "FSCTL_VALIDATE_NEGOTIATE_INFO",
    0x001401FC: "FSCTL_QUERY_NETWORK_INTERFACE_INFO",
}
RAP = {0: "NetShareEnum", 1: "NetShareGetInfo", 13: "NetServerGetInfo", 104: "NetServerEnum2"}  # [MS-RAP 2.5.1]


def test_the_tables() -> None:
    assert set(TABLES) >= set(KEYS)


@pytest.mark.parametrize("table", TABLES)
def test_every_line_has_all_columns(table: str) -> None:
    with files(knowledge).joinpath(f"{table}.csv").open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    assert len(set(header)) == len(header)
    assert {"confidence", "source"} <= set(header)
    assert lines
    assert [line for line in lines if len(line) != len(header)] == []


@pytest.mark.parametrize("table", TABLES)
def test_every_row_has_a_source_and_a_confidence(table: str) -> None:
    rows = knowledge.rows(table)
    assert [row for row in rows if not row["source"].strip()] == []
    assert {row["confidence"] for row in rows} <= {"high", "medium", "low"}


@pytest.mark.parametrize(("table", "key"), KEYS.items())
def test_keys_are_unique(table: str, key: tuple[str, ...]) -> None:
    seen = [tuple(row[column].lower() for column in key) for row in knowledge.rows(table)]
    assert [place for place in seen if seen.count(place) > 1] == []


@pytest.mark.parametrize("table", ["statuses", "fsctls"])
def test_codes_are_32_bits_in_hexadecimal(table: str) -> None:
    assert [row for row in knowledge.rows(table) if not re.fullmatch(r"0x[0-9a-f]{8}", row["code"])] == []


def test_status_names_are_unique_symbols() -> None:
    for kind, pattern in SYMBOLS.items():
        names = list(knowledge.status_names(kind).values())
        assert [name for name in names if not re.fullmatch(pattern, name)] == []
        assert len(set(names)) == len(names)
    assert {row["kind"] for row in knowledge.rows("statuses")} == set(SYMBOLS)


def test_nt_statuses() -> None:
    found = knowledge.status_names("nt")
    assert {code: found.get(code) for code in NT_STATUSES} == NT_STATUSES


def test_dos_statuses() -> None:
    found = knowledge.status_names("dos")
    assert {code: found.get(code) for code in DOS_STATUSES} == DOS_STATUSES


def test_rungs_are_known() -> None:
    named = {rung for row in knowledge.rows("statuses") for rung in row["refused_at"].split("|") if rung}
    assert named == RUNGS


@pytest.mark.parametrize("rung", sorted(SMB_RUNGS))
def test_access_denied_is_a_refusal_everywhere(rung: str) -> None:
    refusals = knowledge.refusals(rung)
    assert ("nt", 0xC0000022) in refusals
    assert ("dos", 0x00050001) in refusals  # ERRDOS/ERRnoaccess


@pytest.mark.parametrize("rung", sorted(RUNGS))
def test_success_and_absence_are_no_refusals(rung: str) -> None:
    codes = {code for _, code in knowledge.refusals(rung)}
    for code in (0x00000000, 0x00000103, 0x80000005, 0xC0000016, 0xC0000034, 0xC00000CC, 0xC0000203, 0x00EA0001):
        assert code not in codes


def test_refusals_of_a_setup() -> None:
    setup = knowledge.refusals("session_setup")
    for code in (0xC000006D, 0xC000006E, 0xC000006F, 0xC0000070, 0xC0000071, 0xC0000072, 0xC000015B, 0xC0000418):
        assert ("nt", code) in setup
    assert ("nt", 0xC000006D) not in knowledge.refusals("open")


def test_a_row_of_low_confidence_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"kind": "nt", "code": "0xc0000099", "name": "X", "refused_at": "open", "confidence": "low", "source": "?"}
    monkeypatch.setattr(knowledge, "rows", lambda _: [row, row | {"code": "0xc0000098", "confidence": "medium"}])
    assert knowledge.refusals.__wrapped__("open") == {("nt", 0xC0000098)}


def test_pipes_are_written_as_the_tables_write_them() -> None:
    names = knowledge.pipe_names()
    assert names >= {"lsarpc", "samr", "netlogon", "srvsvc", "wkssvc", "spoolss", "winreg", "browser", r"sql\query"}
    assert [name for name in names if name != name.lower() or name.startswith(("\\", "pipe\\"))] == []


def test_control_codes() -> None:
    found = knowledge.fsctl_names()
    assert {code: found.get(code) for code in FSCTLS} == FSCTLS
    assert knowledge.housekeeping() >= {0x00140204, 0x001401FC}
    assert not knowledge.housekeeping() & {0x0011C017, 0x00110018, 0x0011400C, 0x00060194, 0x000601B0}
    assert {row["housekeeping"] for row in knowledge.rows("fsctls")} == {"yes", "no"}


def test_rap_functions() -> None:
    found = knowledge.rap_names()
    assert {number: found.get(number) for number in RAP} == RAP
    assert [row for row in knowledge.rows("rap") if not row["name"].strip()] == []
