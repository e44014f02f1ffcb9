"""Events have the names of Suricata's EVE, and say what was run when captures were recorded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from manifest import CAPTURES, entries

import analyzer
from analyzer import knowledge
from analyzer.exports import eve, write_eve

ENTRIES = {entry["file"]: entry for entry in entries()}
TOP = {
    "timestamp": str, "flow_id": int, "pcap_cnt": int, "event_type": str, "src_ip": str, "src_port": int, "dest_ip": str,
    "dest_port": int, "proto": str, "pcap_filename": str, "smb": dict, "null_session": dict,
}  # fmt: skip
SMB = {
    "id": int, "dialect": str, "command": str, "status": str, "status_code": str, "session_id": int, "tree_id": int,
    "ntlmssp": dict, "kerberos": dict, "request": dict, "named_pipe": str, "share": str, "share_type": str, "service": dict,
    "filename": str, "dcerpc": dict, "function": str,
}  # fmt: skip
"""Keys and types by eve-json-format.rst, and the schema of Suricata (etc/schema.json)."""
INSIDE = {
    "ntlmssp": {"domain", "user", "host", "version"}, "kerberos": {"realm", "snames"}, "request": {"native_os", "native_lm"},
    "service": {"request", "response"}, "dcerpc": {"request", "response", "opnum", "interfaces"},
}  # fmt: skip
DIALECTS = {"2.0.2": "2.02", "2.1": "2.10", "3.0": "3.00", "3.0.2": "3.02", "3.1.1": "3.11"}


def events(name: str, folder: Path, **options: Any) -> list[dict[str, Any]]:
    assert write_eve(analyzer.analyze(CAPTURES / name, **options), folder) == ["eve.json"]
    return [json.loads(line) for line in (folder / "eve.json").read_text(encoding="utf-8").splitlines()]


def ordered(found: list[Any]) -> list[Any]:
    return sorted(found, key=repr)


@pytest.mark.parametrize("name", ENTRIES)
def test_form(name: str, tmp_path: Path) -> None:
    found = events(name, tmp_path, detail="all")
    for event in found:
        assert {key: type(value) for key, value in event.items()}.items() <= TOP.items()
        assert {key: type(value) for key, value in event["smb"].items()}.items() <= SMB.items()
        for key, known in INSIDE.items():
            assert event["smb"].get(key, {}).keys() <= known
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+0000", event["timestamp"])
        assert (event["event_type"], event["proto"]) == ("smb", "TCP")
        assert event["flow_id"] < 2**53
    assert [event["timestamp"] for event in found] == sorted(event["timestamp"] for event in found)
    flows = {(e["flow_id"], e["src_ip"], e["src_port"], e["dest_ip"], e["dest_port"]) for e in found}
    assert len(flows) == len({flow for flow, *_ in flows}) == len({tuple(ends) for _, *ends in flows})


@pytest.mark.parametrize("name", ENTRIES)
def test_what_was_run(name: str, tmp_path: Path) -> None:
    found = events(name, tmp_path, detail="all")
    sessions = ENTRIES[name].get("sessions", [])

    def of(command: str) -> list[dict[str, Any]]:
        return [event for event in found if command in event["smb"].get("command", "")]

    setups = [s for s in sessions if s["outcome"] != "not_captured"]
    assert ordered(
        [(e["src_ip"], e["dest_ip"], e["dest_port"], e["smb"].get("status")) for e in of("SESSION_SETUP")]
    ) == ordered([(s["client"], s["server"], s["port"], s.get("status")) for s in setups])
    ntlm = [e["smb"]["ntlmssp"] for e in found if "ntlmssp" in e["smb"]]
    assert ordered([(told.get("user"), told.get("domain")) for told in ntlm]) == ordered(
        [(s.get("user"), s.get("domain")) for s in setups if s.get("mechanism") in ("ntlmssp", "spnego.ntlmssp")]
    )
    trees = [tree for s in sessions for tree in s.get("trees", [])]
    assert ordered([e["smb"].get("named_pipe", e["smb"].get("share")) for e in of("TREE_CONNECT")]) == ordered(
        [tree["path"] for tree in trees]
    )
    assert ordered([e["smb"]["named_pipe"] for e in found if "named_pipe" in e["smb"]]) == ordered(
        [tree["path"] for tree in trees if tree["kind"] == "pipe"]
    )
    assert ordered([e["smb"]["filename"] for e in found if "filename" in e["smb"]]) == ordered(
        [it["pipe"] for s in sessions for it in s.get("pipe_opens", [])]
    )
    called = [e["smb"]["dcerpc"] for e in found if e["smb"].get("dcerpc", {}).get("request") == "REQUEST"]
    calls = [call for s in sessions for call in s.get("calls", []) if call["protocol"] == "dcerpc"]
    assert ordered([told["opnum"] for told in called]) == ordered([call["opnum"] for call in calls])
    names = {row["uuid"].lower(): row["name"] for row in knowledge.rpc_interfaces()}
    told_names = [names.get(each["uuid"], each["uuid"]) for told in called for each in told.get("interfaces", [])]
    assert set(told_names) <= {call.get("interface") for call in calls}
    dialects = {s.get("dialect") for s in sessions} - {None}
    assert {e["smb"]["dialect"] for e in found if "dialect" in e["smb"]} <= {DIALECTS.get(d, d) for d in dialects}


def test_binds_and_calls(tmp_path: Path) -> None:
    """NetrShareEnum of srvsvc: its UUID [MS-SRVS 1.9] and number (3.1.4), and the answers to bind and call."""
    found = [event["smb"]["dcerpc"] for event in events("anonymous-smb311.pcap", tmp_path) if "dcerpc" in event["smb"]]
    srvsvc = {"uuid": "4b324fc8-1670-01d3-1278-5a47bf6ee188", "version": "3.0"}
    assert found[0] == {"request": "BIND", "response": "BINDACK", "interfaces": [srvsvc | {"ack_result": 0}]}
    assert found[1] == {"request": "REQUEST", "response": "RESPONSE", "opnum": 15, "interfaces": [srvsvc]}


def test_status_and_session(tmp_path: Path) -> None:
    found = events("refused-tree.pcap", tmp_path)
    refused = [event for event in found if event["smb"].get("status") == "STATUS_ACCESS_DENIED"]
    assert {event["smb"]["status_code"] for event in refused} == {"0xc0000022"}
    assert {event["null_session"]["verdict"] for event in refused} == {"denied"}
    numbers = {
        int(text, 16) for text in analyzer.analyze(CAPTURES / "refused-tree.pcap").sessions["session_id"].dropna()
    }
    assert {event["smb"]["session_id"] for event in found if "session_id" in event["smb"]} <= numbers


def test_commands_of_smb1(tmp_path: Path) -> None:
    found = {event["smb"].get("command") for event in events("anonymous-smb1.pcap", tmp_path)}
    assert found == {
        "SMB1_COMMAND_SESSION_SETUP_ANDX", "SMB1_COMMAND_TREE_CONNECT_ANDX", "SMB1_COMMAND_NT_CREATE_ANDX", None
    }  # fmt: skip


def test_frames_are_those_of_the_capture(tmp_path: Path) -> None:
    analysis = analyzer.analyze(CAPTURES / "busy.pcap")
    frames = {
        *analysis.sessions["frame"].dropna(),
        *analysis.trees["frame"].dropna(),
        *analysis.pipe_opens["frame"].dropna(),
    }
    frames |= {*analysis.binds["frame"].dropna(), *analysis.calls["frame"].dropna()}
    found = events("busy.pcap", tmp_path)
    assert {event["pcap_cnt"] for event in found} == frames
    assert all(event["pcap_cnt"] == event["null_session"]["frame"] for event in found)


def test_many_rows_are_made_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = events("busy.pcap", tmp_path)
    monkeypatch.setattr(eve, "ROWS", 3)
    assert events("busy.pcap", tmp_path) == whole


@pytest.mark.parametrize("text", ["d2ee", "0x00000000deadbeef", "0x", 'x"}', "-1", ""])
def test_session_numbers(text: str) -> None:
    """What is no number, in results that somebody has changed, stays a text."""
    found = json.loads(eve._session_number(text))
    assert found == {"d2ee": 0xD2EE, "0x00000000deadbeef": 0xDEADBEEF}.get(text, text)
