"""Logs have Zeek's form and columns, as a reader of Zeek's logs finds them, and say what was run when captures were recorded."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from manifest import CAPTURES, CREDENTIALED, entries

import analyzer
from analyzer import tables
from analyzer.errors import AnalyzerError
from analyzer.exports import write_zeek, zeek
from analyzer.exports.zeek import Log, as_json, as_tsv, escaped

readers = pytest.importorskip("parsezeeklogs")

CONNECTION = "ts:time uid:string id.orig_h:addr id.orig_p:port id.resp_h:addr id.resp_p:port"
FIELDS = {
    "ntlm": "username:string hostname:string domainname:string server_nb_computer_name:string "
    "server_dns_computer_name:string server_tree_name:string success:bool",
    "smb_mapping": "path:string service:string native_file_system:string share_type:string",
    "smb_files": "fuid:string action:enum path:string name:string size:count prev_name:string times.modified:time "
    "times.accessed:time times.created:time times.changed:time",
    "dce_rpc": "rtt:interval named_pipe:string endpoint:string operation:string",
}
"""Of Zeek's records NTLM::Info, SMB::TreeInfo, SMB::FileInfo and DCE_RPC::Info, behind `CONNECTION`."""
ENTRIES = {entry["file"]: entry for entry in entries()}
HOSTILE = (
    "tab\there", "line\nbreak", "back\\slash", "\\x41", "-", "(empty)", "", "#close", "\x00\x1b[31m", "caf\u00e9", "\u202etxt",
    "\udcff\udc80", "a,b", ' "q" ', "\u2028", "\\",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zeek")


@cache
def analyzed(name: str) -> analyzer.Analysis:
    return analyzer.analyze(CAPTURES / name, detail="all")


def logs(name: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """All records of a capture's logs, as the reader finds them."""
    written = write_zeek(analyzed(name), folder / name)
    assert sorted(written) == sorted(f"{path}.{kind}" for path in FIELDS for kind in ("log", "json"))
    found = {}
    for path in FIELDS:
        with readers.ZeekLog(folder / name / f"{path}.log") as log:
            found[path] = list(log)
            assert log.skipped == 0
            assert log.path == path
    return found


def picked(records: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return sorted((tuple(record[name] for name in names) for record in records), key=repr)


@pytest.mark.parametrize("name", ENTRIES)
def test_what_was_run_is_logged(name: str, folder: Path) -> None:
    found = logs(name, folder)
    sessions = ENTRIES[name].get("sessions", [])
    by_ntlm = [s for s in sessions if s.get("mechanism") in ("ntlmssp", "spnego.ntlmssp")]
    success = {"accepted": True, "refused": False}
    assert picked(
        found["ntlm"], "id.orig_h", "id.resp_h", "id.resp_p", "username", "domainname", "success", "identity"
    ) == sorted(
        [
            (
                s["client"],
                s["server"],
                s["port"],
                s.get("user"),
                s.get("domain"),
                success.get(s["outcome"]),
                s["identity"],
            )
            for s in by_ntlm
        ],
        key=repr,
    )
    kinds = {"pipe": "PIPE", "disk": "DISK", "print": "PRINT", "unknown": None}
    trees = [(tree["path"], kinds[tree["kind"]], tree.get("status")) for s in sessions for tree in s.get("trees", [])]
    assert picked(found["smb_mapping"], "path", "share_type", "status") == sorted(trees, key=repr)
    opens = [("SMB::PIPE_OPEN", it["pipe"], it.get("status")) for s in sessions for it in s.get("pipe_opens", [])]
    assert picked(found["smb_files"], "action", "name", "status") == sorted(opens, key=repr)
    calls = [
        (call.get("interface"), call.get("operation") or f"unknown-{call['opnum']}", call.get("status"))
        for s in sessions
        for call in s.get("calls", [])
        if call["protocol"] == "dcerpc"
    ]
    assert picked(found["dce_rpc"], "endpoint", "operation", "status") == sorted(calls, key=repr)


@pytest.mark.parametrize("name", ["busy.pcap", "anonymous-ipv6.pcapng", "anonymous-smb1.pcap", "kerberos-user.pcap"])
def test_columns_types_and_header(name: str, folder: Path) -> None:
    logs(name, folder)
    for path, own in FIELDS.items():
        lines = (folder / name / f"{path}.log").read_text(encoding="utf-8").splitlines()
        assert lines[:5] == [
            "#separator \\x09",
            "#set_separator\t,",
            "#empty_field\t(empty)",
            "#unset_field\t-",
            f"#path\t{path}",
        ]
        assert re.fullmatch(r"#open\t\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d", lines[5])
        assert re.fullmatch(r"#close\t\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d", lines[-1])
        names, types = (line.split("\t") for line in lines[6:8])
        assert (names[0], types[0]) == ("#fields", "#types")
        described = [f"{field}:{kind}" for field, kind in zip(names[1:], types[1:], strict=True)]
        zeek_own = f"{CONNECTION} {own}".split()
        assert described[: len(zeek_own)] == zeek_own
        assert {"identity", "verdict", "confidence", "evidence", "capture", "frame", "session_key"} <= set(names)
        for line in lines[8:-1]:
            assert len(line.split("\t")) == len(names) - 1
            assert re.match(r"\d+\.\d{6}\tC[0-9A-Za-z]{17}\t", line)


@pytest.mark.parametrize("name", ["busy.pcap", "anonymous-smb1.pcap", "refused-stub.pcap"])
def test_json_says_the_same(name: str, folder: Path) -> None:
    for path, records in logs(name, folder).items():
        lines = [json.loads(line) for line in (folder / name / f"{path}.json").read_text(encoding="utf-8").splitlines()]
        assert lines == [{key: value for key, value in record.items() if value is not None} for record in records]
        assert all(isinstance(line["ts"], float) for line in lines)


def test_pandas_reads_it(folder: Path) -> None:
    records = logs("busy.pcap", folder)["dce_rpc"]
    path = folder / "busy.pcap" / "dce_rpc.log"
    names = path.read_text(encoding="utf-8").splitlines()[6].split("\t")[1:]
    found = pd.read_csv(path, sep="\t", comment="#", names=names, na_values="-", keep_default_na=False, quoting=3)
    assert found["opnum"].tolist() == [record["opnum"] for record in records]
    times = pd.to_datetime(found["ts"], unit="s", utc=True)
    calls = analyzed("busy.pcap").calls
    expected = calls[calls["protocol"] == "dcerpc"]["time"].sort_values()
    assert (times.to_numpy() - expected.to_numpy() <= np.timedelta64(1, "us")).all()


def test_addresses_of_rows_and_verdicts(folder: Path) -> None:
    """Frames lead to the packet; the verdict is that of the row of dependencies that the call counted for."""
    analysis = analyzed("busy.pcap")
    verdicts = analysis.dependencies.set_index(["client_ip", "server_ip", "resource", "operation"])["verdict"]
    found = logs("busy.pcap", folder)
    pipes = analysis.calls.set_index("call_key")["pipe"]
    seen = 0
    for record in found["dce_rpc"]:
        key = (record["id.orig_h"], record["id.resp_h"], pipes[record["call_key"]], record["operation"])
        if record["identity"] in CREDENTIALED:
            assert record["verdict"] is None
        else:
            assert record["verdict"] in verdicts.loc[[key]].tolist()
            seen += 1
    assert seen > 10
    by_key = analysis.sessions.set_index("session_key")
    for record in found["ntlm"]:
        row = by_key.loc[record["session_key"]]
        assert (record["frame"], record["identity"], record["evidence"]) == (
            row["frame"],
            row["identity"],
            row["evidence"],
        )


def test_opens_and_connects_have_the_verdict_of_what_was_done_there(folder: Path) -> None:
    found = logs("built-pipe-denied.pcap", folder)
    assert {record["verdict"] for record in found["smb_files"] if record["status"] == "STATUS_ACCESS_DENIED"} == {
        "denied"
    }
    found = logs("disk-anonymous.pcap", folder)
    assert {record["verdict"] for record in found["smb_mapping"] if record["share"] == "PUBLIC"} == {"depends"}


def test_names_of_connections(tmp_path: Path) -> None:
    """One for each connection in all logs, and the same when the capture is read with others."""
    alone = analyzer.analyze(CAPTURES / "anonymous-smb311.pcap")
    together = analyzer.analyze([CAPTURES / "anonymous-smb311.pcap", CAPTURES / "anonymous-smb1.pcap"])
    uids = []
    for number, analysis in enumerate((alone, together)):
        write_zeek(analysis, tmp_path / str(number))
        found: dict[tuple[Any, ...], set[str]] = {}
        for path in FIELDS:
            for record in readers.ZeekLog(tmp_path / str(number) / f"{path}.log"):
                ends = tuple(record[name] for name in ("capture", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p"))
                found.setdefault(ends, set()).add(record["uid"])
        assert all(len(names) == 1 for names in found.values())
        assert len({name for names in found.values() for name in names}) == len(found)
        uids.append(found)
    assert uids[0].items() <= uids[1].items()


def test_dialects_of_smb1_have_a_service(folder: Path) -> None:
    assert {record["service"] for record in logs("anonymous-smb1.pcap", folder)["smb_mapping"]} == {"IPC"}
    assert {record["service"] for record in logs("anonymous-smb311.pcap", folder)["smb_mapping"]} == {None}


# Hostile names. #


@pytest.mark.parametrize("text", HOSTILE)
def test_escapes(text: str) -> None:
    """A field of one line, with nothing in it that steers a terminal, that reads back as the bytes of the name."""
    field = escaped(text)
    assert field.isprintable()
    assert field not in ("", "-")
    assert "\t" not in field
    assert "\n" not in field
    header = readers.ZeekHeader()
    expected = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    from parsezeeklogs.reader import convert_value  # noqa: PLC0415 - skipped where it is not installed

    assert convert_value(field, "string", header, "epoch") == expected


def test_hostile_names_in_both_forms(tmp_path: Path) -> None:
    texts = [text for text in HOSTILE if not any("\ud800" <= char <= "\udfff" for char in text)]
    log = Log(
        "x",
        (("a", "string"), ("n", "count"), ("b", "string")),
        (tables.listed(texts), tables.ints(np.arange(len(texts))), tables.listed([None, *texts[1:]])),
    )
    (tmp_path / "x.log").write_text("\n".join(as_tsv(log, "o", "c")) + "\n", encoding="utf-8", newline="\n")
    with readers.ZeekLog(tmp_path / "x.log") as read:
        records = list(read)
        assert read.skipped == 0
    assert [record["a"] for record in records] == texts
    assert [record["b"] for record in records] == [None, *texts[1:]]
    lines = [json.loads(line) for line in as_json(log)]
    assert [line["a"] for line in lines] == texts
    assert [line.get("b") for line in lines] == [None, *texts[1:]]
    assert [line["n"] for line in lines] == list(range(len(texts)))


def test_a_log_without_rows(folder: Path) -> None:
    assert all(not records for path, records in logs("kerberos-user.pcap", folder).items() if path == "ntlm")


def test_many_rows_are_made_in_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = logs("busy.pcap", folder)
    monkeypatch.setattr(zeek, "ROWS", 3)
    assert logs("busy.pcap", folder) == whole


def test_a_place_that_takes_no_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AnalyzerError, match="cannot be written to"):
        write_zeek(analyzed("rap.pcap"), tmp_path / "file")
