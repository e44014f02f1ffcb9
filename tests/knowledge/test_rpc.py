"""The interfaces and operations of RPC: consistent, and as other decoders and the documents have them."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import warnings
from functools import cache
from typing import Any
from uuid import UUID

import pytest

from analyzer import knowledge

SRVSVC = "4b324fc8-1670-01d3-1278-5a47bf6ee188"
WKSSVC = "6bffd098-a112-3610-9833-46c3f87e345a"
SAMR = "12345778-1234-abcd-ef00-0123456789ac"
LSARPC = "12345778-1234-abcd-ef00-0123456789ab"
NETLOGON = "12345678-1234-abcd-ef00-01234567cffb"
SVCCTL = "367abb81-9844-35f1-ad32-98f038001003"
WINREG = "338cd001-2244-31f1-aaaa-900038001003"
SPOOLSS = "12345678-1234-abcd-ef00-0123456789ab"
DSSETUP = "3919286a-b10c-11d0-9ba8-00c04fd92ef5"
EFSRPC = "c681d488-d850-11d0-8c52-00c04fd90f7e"
EVENTLOG = "82273fdc-e32a-18c3-3f78-827929dc23ea"
BROWSER = "6bffd098-a112-3610-9833-012892020162"
ATSVC = "1ff70682-0a51-30e8-076d-740be8cee98b"
NETDFS = "4fc742e0-4a10-11cf-8273-00aa004ae673"
FSRVP = "a8e0653c-2744-4389-a61d-7373df8b2292"

# Interfaces all of whose functions return the same type, by their documents.
ONE_TYPE = {
    SAMR: "nt",  # [MS-SAMR] 6
    LSARPC: "nt",  # [MS-LSAD] 6, [MS-LSAT] 6
    EVENTLOG: "nt",  # [MS-EVEN] 6
    SRVSVC: "win32",  # [MS-SRVS] 6
    WKSSVC: "win32",  # [MS-WKST] 6
    SVCCTL: "win32",  # [MS-SCMR] 6
    WINREG: "win32",  # [MS-RRP] 6
    DSSETUP: "win32",  # [MS-DSSP] 6
    BROWSER: "win32",  # [MS-BRWSA] 6
    ATSVC: "win32",  # [MS-TSCH] 6.1
    FSRVP: "hresult",  # [MS-FSRVP] 3.1.4
}
# Those of Netlogon that return NET_API_STATUS, [MS-NRPC] 6; the others return NTSTATUS.
NETLOGON_WIN32 = {0, 1, 11, 12, 13, 14, 18, 20, 23, 24, 25, 27, 28, 33, 34, 35, 36, 37, 38, 40, 41, 43}
NO_STATUS = {
    (EFSRPC, 3),
    (NETDFS, 0),
}  # EfsRpcCloseRaw is void [MS-EFSR] 3.1.4.2.4; NetrDfsManagerGetVersion: the version
ARGUMENTS = {  # by the definitions of the documents, and by requests that Samba's bindings (4.17) packed
    (SRVSVC, 15): "UL",  # NetrShareEnum
    (SRVSVC, 16): "UWL",  # NetrShareGetInfo
    (SRVSVC, 12): "UuuL",  # NetrSessionEnum
    (SRVSVC, 9): "UuuL",  # NetrFileEnum
    (SRVSVC, 21): "UL",  # NetrServerGetInfo
    (SRVSVC, 28): "U",  # NetrRemoteTOD
    (WKSSVC, 0): "UL",  # NetrWkstaGetInfo
    (WKSSVC, 2): "UL",  # NetrWkstaUserEnum
    (WKSSVC, 22): "UW",  # NetrJoinDomain2
    (SAMR, 64): "U",  # SamrConnect5
    (SAMR, 0): "",  # SamrConnect: one character of a name says nothing
    (SAMR, 5): "hS",  # SamrLookupDomainInSamServer
    (SAMR, 8): "hl",  # SamrQueryInformationDomain
    (SAMR, 36): "hl",  # SamrQueryInformationUser
    (SAMR, 41): "hlS",  # SamrGetDisplayEnumerationIndex
    (SAMR, 50): "hS",  # SamrCreateUser2InDomain
    (LSARPC, 44): "U",  # LsarOpenPolicy2
    (LSARPC, 7): "hl",  # LsarQueryInformationPolicy
    (LSARPC, 48): "hSl",  # LsarQueryTrustedDomainInfoByName
    (NETLOGON, 4): "UW",  # NetrServerReqChallenge
    (NETLOGON, 26): "UW",  # NetrServerAuthenticate3
    (NETLOGON, 7): "wW",  # NetrDatabaseDeltas: a name of the server without a pointer
    (NETLOGON, 39): "Uul",  # NetrLogonSamLogonEx
    (SVCCTL, 15): "U",  # ROpenSCManagerW
    (SVCCTL, 16): "hW",  # ROpenServiceW
    (WINREG, 15): "hS",  # BaseRegOpenKey
    (SPOOLSS, 0): "4UL",  # RpcEnumPrinters
    (SPOOLSS, 1): "U",  # RpcOpenPrinter
    (SPOOLSS, 53): "huL",  # RpcGetPrinterDriver2
    (DSSETUP, 0): "l",  # DsRolerGetPrimaryDomainInformation
    (EFSRPC, 0): "W",  # EfsRpcOpenFileRaw
    (EVENTLOG, 7): "pS",  # ElfrOpenELW
    (BROWSER, 2): "UL",  # I_BrowserrQueryOtherDomains
    (ATSVC, 0): "U",  # NetrJobAdd
}
SCAPY = ("ms_nrpc", "ms_samr", "ms_srvs", "ms_wkst", "ms_rrp")


def operations() -> dict[tuple[str, int], dict[str, str]]:
    return {(row["uuid"], int(row["opnum"])): row for row in knowledge.rpc_operations()}


@cache
def scapys() -> dict[tuple[str, int], Any]:
    """What scapy itself has: requests and answers by interface and number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in SCAPY:
            importlib.import_module(f"scapy.layers.msrpce.raw.{module}")
        from scapy.layers.dcerpc import DCE_RPC_INTERFACES  # noqa: PLC0415

    ours = {row["uuid"] for row in knowledge.rpc_operations()}
    return {
        (str(interface.uuid), opnum): pair
        for interface in DCE_RPC_INTERFACES.values()
        if str(interface.uuid) in ours
        for opnum, pair in interface.opnums.items()
    }


def scapy_arguments(request: Any) -> str:
    """The arguments of scapy's request in our letters, as far as they have any."""
    letters = ""
    for field in request.fields_desc:
        pointer = type(field).__name__ == "NDRFullPointerField"
        inner = field.fld if pointer else field
        kind = type(inner).__name__
        members = [member.name for member in inner.cls.fields_desc] if kind == "NDRPacketField" else []
        if kind == "NDRConfVarStrNullFieldUtf16":
            letters += "u" if pointer else "w"
        elif kind == "NDRShortField" and pointer:
            letters += "p"
        elif pointer:
            return letters
        elif kind == "NDRPacketField" and inner.cls.__name__ == "NDRContextHandle":
            letters += "h"
        elif members[:2] == ["Length", "MaximumLength"]:
            letters += "s"
        elif members[:1] == ["Level"]:
            return letters + "4"
        elif kind in {"NDRIntField", "NDRSignedIntField"}:
            letters += "4"
        elif kind in {"NDRShortField", "NDRInt3264EnumField"}:
            letters += "2"
        elif kind == "NDRByteField":
            letters += "1"
        else:
            return letters
    return letters


def test_both_tables_in_the_order_of_their_files() -> None:
    assert knowledge.rpc_interfaces() == knowledge.rows("rpc_interfaces")
    assert knowledge.rpc_operations() == knowledge.rows("rpc_operations")
    assert knowledge.rpc_interfaces()[0]["name"] == "srvsvc"


def test_interfaces() -> None:
    for row in knowledge.rpc_interfaces():
        assert row["uuid"] == str(UUID(row["uuid"]))  # lower case, hyphens
        assert re.fullmatch(r"\d+\.\d+", row["version"])
        assert re.fullmatch(r"[\w ]+", row["name"])
        assert row["pipes"] == row["pipes"].lower()
        assert not [pipe for pipe in row["pipes"].split("|") if pipe != pipe.strip() or "(" in pipe]


def test_pipes_of_the_usual_interfaces_are_pipes_that_the_tables_know() -> None:
    known = knowledge.pipe_names()
    usual = {
        "srvsvc",
        "wkssvc",
        "samr",
        "lsarpc",
        "netlogon",
        "spoolss",
        "winreg",
        "svcctl",
        "atsvc",
        "browser",
        "eventlog",
    }
    for row in knowledge.rpc_interfaces():
        if row["name"] in usual:
            assert row["name"] in row["pipes"].split("|")
            assert row["name"] in known


def test_every_operation_has_an_interface_of_that_version() -> None:
    interfaces = {(row["uuid"], row["version"]) for row in knowledge.rpc_interfaces()}
    assert {(row["uuid"], row["version"]) for row in knowledge.rpc_operations()} <= interfaces


def test_values_of_operations() -> None:
    for row in knowledge.rpc_operations():
        assert all(row[column].strip() for column in ("name", "purpose", "class"))
        assert row["returns"] in {"", "none", *knowledge.RETURNED_KIND}
        assert row["anonymous"] in {"y", "n", "depends"}
        assert row["confidence"] in {"high", "medium"}
        assert re.fullmatch(r"(|[UuWwpSsh124Ll]{0,7}[UWSLl])", row["arguments"])
        assert row["arguments"].count("U") <= 1
        assert 0 <= int(row["opnum"]) < 256


def test_kinds_of_returned_statuses_have_names_for_success_and_for_refusal() -> None:
    refused = {kind for kind, _ in knowledge.refusals("stub")}
    assert refused == set(knowledge.RETURNED_KIND.values())
    assert [knowledge.status_names(kind)[0] for kind in ("nt", "werr", "hresult")] == [
        "STATUS_SUCCESS",
        "WERR_OK",
        "S_OK",
    ]


@pytest.mark.parametrize("uuid", ONE_TYPE)
def test_interfaces_with_one_type_of_result(uuid: str) -> None:
    found = {row["returns"] for (of, _), row in operations().items() if of == uuid}
    assert found - {""} == {ONE_TYPE[uuid]}


def test_results_of_netlogon() -> None:
    found = {opnum: row["returns"] for (of, opnum), row in operations().items() if of == NETLOGON}
    assert {opnum for opnum, kind in found.items() if kind == "win32"} == NETLOGON_WIN32
    assert {kind for opnum, kind in found.items() if opnum not in NETLOGON_WIN32} == {"nt", ""}
    assert {found[opnum] for opnum in (2, 3, 4, 5, 15, 21, 26, 29, 30, 39, 45)} == {"nt"}


def test_answers_without_a_status() -> None:
    assert {key for key, row in operations().items() if row["returns"] == "none"} >= NO_STATUS


def test_what_is_not_on_the_wire_has_neither_results_nor_arguments() -> None:
    for row in knowledge.rpc_operations():
        if "NotUsedOnWire" in row["name"]:
            assert (row["returns"], row["arguments"]) == ("", "")


@pytest.mark.parametrize(("uuid", "opnum"), ARGUMENTS)
def test_arguments(uuid: str, opnum: int) -> None:
    assert operations()[uuid, opnum]["arguments"] == ARGUMENTS[uuid, opnum]


def test_scapy_calls_them_by_the_same_names() -> None:
    assert len(scapys()) > 100
    for key, pair in scapys().items():
        row = operations()[key]
        name = pair.request.__name__.removesuffix("_Request")
        assert name.lower() in {
            row["name"].lower(),
            *(other.strip().lower() for other in re.split(r"[;|]", row["other_names"])),
        }


def test_scapys_answers_end_with_the_status_where_ours_do() -> None:
    compared = 0
    for key, pair in scapys().items():
        if operations()[key]["returns"] in knowledge.RETURNED_KIND:
            last = pair.response.fields_desc[-1]
            assert (last.name, type(last).__name__) == ("status", "NDRIntField")
            compared += 1
    assert compared > 100


def test_arguments_lie_as_scapy_has_them() -> None:
    compared = 0
    for key, pair in scapys().items():
        ours = operations()[key]["arguments"].replace("L", "4").replace("l", "2").lower()
        assert scapy_arguments(pair.request).startswith(ours)
        compared += len(ours) > 0
    assert compared > 80


def test_refusals_in_rpc() -> None:
    assert ("fault", 5) in knowledge.refusals("fault")  # nca_s_fault_access_denied
    assert ("fault", 5) in knowledge.refusals("bind")
    assert knowledge.refusals("stub") >= {("nt", 0xC0000022), ("werr", 5), ("hresult", 0x80070005)}


@pytest.mark.parametrize(
    ("rung", "kind", "code"),
    [
        ("stub", "nt", 0xC000006D),  # STATUS_LOGON_FAILURE: somebody else's password, in an answer of Netlogon
        ("stub", "nt", 0xC00000DF),  # STATUS_NO_SUCH_DOMAIN
        ("stub", "nt", 0xC0000073),  # STATUS_NONE_MAPPED
        ("stub", "nt", 0x00000107),  # STATUS_SOME_NOT_MAPPED
        ("stub", "nt", 0xC0000388),  # STATUS_DOWNGRADE_DETECTED
        ("stub", "werr", 0),
        ("stub", "werr", 234),  # WERR_MORE_DATA
        ("stub", "werr", 998),  # WERR_NOACCESS: of memory
        ("stub", "werr", 1326),  # WERR_LOGON_FAILURE
        ("fault", "fault", 0x1C010003),  # nca_unk_if
        ("fault", "fault", 0x1C010002),  # nca_op_rng_error
        ("fault", "fault", 0x1C00001D),  # nca_unsupported_authn_level
        ("fault", "fault", 0x000006F7),  # nca_s_fault_ndr
        ("bind", "bind_nak", 0),
        ("bind", "bind_nak", 8),  # authentication_type_not_recognized
        ("bind", "bind_result", 0x00020001),  # abstract_syntax_not_supported
    ],
)
def test_what_is_no_refusal(rung: str, kind: str, code: int) -> None:
    assert code in knowledge.status_names(kind)
    assert (kind, code) not in knowledge.refusals(rung)


def test_results_of_a_bind() -> None:
    names = knowledge.status_names("bind_result")
    assert names[0] == "acceptance"
    assert names[2 << 16 | 1] == "provider_rejection/abstract_syntax_not_supported"
    assert names[2 << 16 | 2] == "provider_rejection/proposed_transfer_syntaxes_not_supported"
    assert names[3 << 16].startswith("negotiate_ack")  # [MS-RPCE] 2.2.2.4
    assert knowledge.status_names("bind_nak")[4] == "protocol_version_not_supported"


def test_names_of_codes_are_those_of_tshark() -> None:
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is not installed")
    listed = subprocess.run([tshark, "-G", "values"], capture_output=True, text=True, check=True).stdout
    theirs: dict[str, dict[int, str]] = {"srvsvc.werror": {}, "dcerpc.cn_status": {}}
    for line in listed.splitlines():
        parts = line.split("\t")
        if len(parts) == 4 and parts[0] == "V" and parts[1] in theirs:
            theirs[parts[1]].setdefault(int(parts[2], 0) & 0xFFFFFFFF, parts[3])
    werr, fault = knowledge.status_names("werr"), knowledge.status_names("fault")
    assert len(theirs["srvsvc.werror"].keys() & werr.keys()) > 300
    assert {code: name for code, name in werr.items() if name != theirs["srvsvc.werror"].get(code, name)} == {}
    assert len(theirs["dcerpc.cn_status"].keys() & fault.keys()) > 40
    different = {code: name for code, name in fault.items() if name != theirs["dcerpc.cn_status"].get(code, name)}
    # "ncs_" there; and what [MS-ERREF] 2.1 calls by its win32 name
    assert different.keys() <= {0x1C000021, 0x800706D1}


PREFIXES = (
    "netr",
    "net",
    "lsar",
    "lsa",
    "samr",
    "sam",
    "rpc",
    "efsrpc",
    "dsroler",
    "elfr",
    "base",
    "wkssvc",
    "ept",
    "dfs",
    "r",
)
"""What one of the documents, Samba and tshark puts before a name, and another does not."""
TSHARK_CALLS = {
    "efsrpc": "efs",
    "epmapper": "epm",
    "browser": "rpc_browser",
    "FileServerVssAgent": "fsrvp",
    "ITaskSchedulerService": "taskschedulerservice",
}
"""Interfaces that tshark calls otherwise; the case does not matter."""


def spellings(*names: str) -> set[str]:
    """Names without underscores, with and without one prefix."""
    plain = {name.strip().lower().replace("_", "") for name in names} - {""}
    return plain | {name.removeprefix(prefix) for name in plain for prefix in PREFIXES}


def test_tshark_calls_operations_by_the_same_names() -> None:
    """All numbers that both know, of all interfaces that both know; by our name, or one of the others that the table lists."""
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is not installed")
    listed = subprocess.run([tshark, "-G", "values"], capture_output=True, text=True, check=True).stdout
    theirs: dict[tuple[str, int], str] = {}
    for line in listed.splitlines():
        parts = line.split("\t")
        if len(parts) == 4 and parts[0] == "V" and parts[1].endswith(".opnum"):
            theirs.setdefault((parts[1].removesuffix(".opnum"), int(parts[2], 0)), parts[3])
    names = {(row["uuid"], row["version"]): row["name"] for row in knowledge.rpc_interfaces()}
    compared, different = 0, []
    for (uuid, opnum), row in operations().items():
        interface = names[uuid, row["version"]]
        their = theirs.get((TSHARK_CALLS.get(interface, interface).lower(), opnum))
        if their is None or (interface == "efsrpc" and uuid != EFSRPC):
            continue
        compared += 1
        ours = [row["name"], *re.split(r"[;|]", row["other_names"])]
        if not spellings(their) & spellings(*ours):
            different.append((interface, opnum, ours, their))
    assert not different
    assert compared > 550


EFSRPC = "c681d488-d850-11d0-8c52-00c04fd90f7e"
"""Of its two UUIDs the one on the pipe lsarpc. [MS-EFSR 1.9]"""
