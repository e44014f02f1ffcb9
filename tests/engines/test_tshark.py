"""The engine tshark: what it reads beyond single captures, and that it is a good guest of the machine: no orphan, no hang.

That it finds in each capture what the native engine finds is checked in `tests/conformance/test_engines_agree.py`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import analyzer
from analyzer import engines
from analyzer.analysis import Analysis
from analyzer.capture.inputs import Input
from analyzer.engines import tshark, tshark_process, tshark_records, tshark_survey
from analyzer.engines.tshark_fields import FIELDS, Part, read_line, read_nested
from analyzer.errors import AnalyzerError
from analyzer.records import BODIES

CAPTURES = Path(__file__).parents[2] / "captures"

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
needs_editcap = pytest.mark.skipif(shutil.which("editcap") is None, reason="editcap is not installed")

COLUMNS = {
    "connections": [
        "client_ip", "client_port", "server_ip", "server_port", "first_frame", "transport", "first_seen", "last_seen",
        "dialect", "signing_required", "midstream", "directions", "closed_by", "client_bytes", "netbios_calling",
        "netbios_called", "client_guid", "server_guid",
    ],
    "sessions": [
        "frame", "asked", "identity", "confidence", "user", "domain", "workstation", "mechanism", "ntlm_flags", "status",
        "outcome", "native_os", "server_name", "server_domain", "started", "session_id", "answer_frame", "client_build", "realm",
        "service", "ticket_etype", "session_flags",
    ],
    "trees": ["frame", "answer_frame", "time", "tree_id", "path", "share", "kind", "status", "session_key"],
    "pipe_opens": [
        "frame", "answer_frame", "opened", "pipe", "via", "access_mask", "status", "bytes_read", "bytes_written", "form",
        "session_key",
    ],
    "calls": [
        "frame", "answer_frame", "protocol", "interface", "operation", "opnum", "name", "result", "status", "answered",
    ],
    "binds": None,
    "credentialed_uses": None,
    "channels": None,
}  # fmt: skip
"""What is compared; None: all columns. `GAPS` names what cannot be."""


def differences(native: Analysis, other: Analysis) -> set[str]:
    """Tables with another number of rows, and columns with other values."""
    found = set()
    for table, wanted in COLUMNS.items():
        one, two = native.table(table), other.table(table)
        if len(one) != len(two):
            found.add(table)
            continue
        columns = [column for column in (wanted or one.columns) if column != "capture"]
        assert columns
        found |= {
            f"{table}.{column}"
            for column in columns
            if [str(value) for value in one[column]] != [str(value) for value in two[column]]
        }
    return found


@needs_tshark
@needs_editcap
@pytest.mark.parametrize("kind", ["netmon2", "snoop"])
def test_reads_formats_that_the_native_engine_refuses(kind: str, tmp_path: Path) -> None:
    source, converted = CAPTURES / "anonymous-smb311.pcap", tmp_path / f"capture.{kind}"
    subprocess.run(["editcap", "-F", kind, str(source), str(converted)], check=True, capture_output=True)
    assert "does not read" in str(analyzer.analyze(converted).captures["errors"].iloc[0])
    other = analyzer.analyze(converted, engine="tshark", detail="all")
    assert differences(analyzer.analyze(source, detail="all"), other) == set()


@needs_tshark
@needs_editcap
def test_a_connection_goes_on_in_the_next_file(tmp_path: Path) -> None:
    whole = CAPTURES / "pipe-transceive.pcap"
    subprocess.run(["editcap", "-c", "15", str(whole), str(tmp_path / "part.pcap")], check=True, capture_output=True)
    parts = sorted(tmp_path.iterdir(), reverse=True)
    assert len(parts) > 1
    one = analyzer.analyze(whole, engine="tshark", detail="all")
    two = analyzer.analyze(parts, engine="tshark", detail="all")
    assert len(two.connections) == len(one.connections)
    assert two.connections["client_bytes"].tolist() == one.connections["client_bytes"].tolist()
    assert two.pipe_opens["pipe"].tolist() == one.pipe_opens["pipe"].tolist()
    assert two.calls["operation"].tolist() == one.calls["operation"].tolist()
    assert two.sessions["identity"].tolist() == ["anonymous"]


@needs_tshark
@pytest.mark.parametrize("ahead", [1, tshark.AHEAD])
@pytest.mark.parametrize(("capture", "begun"), [("anonymous-port4455.pcapng", 2), ("anonymous-smb311.pcap", 1)])
def test_lines_begun_beside_the_survey(capture: str, begun: int, ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a single packet it is not known yet that port 4455 carries SMB: lines are begun again. 445 was named."""
    expected = analyzer.analyze(CAPTURES / capture, engine="tshark")
    started: list[list[str]] = []
    run = tshark.Run

    def noted(program: str, path: str, arguments: list[str], *, ahead: int = 0) -> tshark.Run:
        started.append(arguments)
        return run(program, path, arguments, ahead=ahead)

    monkeypatch.setattr(tshark, "Run", noted)
    monkeypatch.setattr(tshark, "AHEAD", ahead)
    monkeypatch.setattr(tshark_survey, "EARLY", 1)
    found = analyzer.analyze(CAPTURES / capture, engine="tshark")
    assert sum("fields" in arguments for arguments in started) == begun
    assert len(found.sessions) > 0
    assert differences(found, expected) == set()


@needs_tshark
def test_nobody_s_profile_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / ".config" / "wireshark"
    settings.mkdir(parents=True)
    (settings / "preferences").write_text("tcp.desegment_tcp_streams: FALSE\nnbss.tcp.port: 1\n")
    (settings / "disabled_protos").write_text("smb2\nsmb\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.setenv("WIRESHARK_CONFIG_DIR", str(settings))
    found = analyzer.analyze(CAPTURES / "anonymous-smb311.pcap", engine="tshark", detail="all")
    assert not differences(analyzer.analyze(CAPTURES / "anonymous-smb311.pcap", detail="all"), found)


# Processes. #


def children() -> set[int]:
    """Processes that this one started and that are not reaped."""
    listed = Path("/proc/self/task").glob("*/children")
    return {int(number) for file in listed for number in file.read_text().split()}


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc to see processes in")


def script(folder: Path, body: str) -> None:
    """A tshark that is none, first on the PATH."""
    program = folder / "tshark"
    version = '[ "$1" = "--version" ] && { echo "TShark (Wireshark) 4.0.17."; exit; }\n'
    program.write_text(f"#!/bin/sh\n{version}{body}\n")
    program.chmod(0o755)


@pytest.fixture
def path_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_a_missing_tshark_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pyshark.tshark import tshark  # noqa: PLC0415

    def nowhere(*_: object) -> str:
        raise tshark.TSharkNotFoundException

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tshark, "get_process_path", nowhere)
    with pytest.raises(AnalyzerError, match=r"needs tshark, which was not found: .*(install|Wireshark)"):
        analyzer.analyze(CAPTURES / "guest.pcap", engine="tshark")


def test_what_is_no_tshark_is_said(path_first: Path) -> None:
    (path_first / "tshark").write_text("#!/bin/sh\necho hello\n")
    (path_first / "tshark").chmod(0o755)
    with pytest.raises(AnalyzerError, match="does not say that it is tshark"):
        analyzer.analyze(CAPTURES / "guest.pcap", engine="tshark")


def test_an_old_tshark_is_said(path_first: Path) -> None:
    (path_first / "tshark").write_text('#!/bin/sh\necho "TShark (Wireshark) 3.6.2"\n')
    (path_first / "tshark").chmod(0o755)
    with pytest.raises(AnalyzerError, match=r"version 3\.6.* 4\.0 or later"):
        analyzer.analyze(CAPTURES / "guest.pcap", engine="tshark")


@needs_proc
def test_garbage_becomes_problems(path_first: Path) -> None:
    script(path_first, "head -c 300000 /dev/urandom; printf '1\\t2\\tx\\n'")
    before = children()
    found = analyzer.analyze(CAPTURES / "guest.pcap", engine="tshark")
    assert "none of which can be read" in found.captures["errors"].iloc[0]
    assert set(found.problems["code"]) == {"unreadable_line"}
    assert children() <= before


@needs_proc
def test_a_tshark_that_fails_is_said(path_first: Path) -> None:
    script(path_first, 'echo "tshark: it is broken" >&2; exit 2')
    found = analyzer.analyze(CAPTURES / "guest.pcap", engine="tshark")
    assert "it is broken" in found.captures["errors"].iloc[0]


@needs_proc
def test_a_tshark_that_is_killed_is_said(path_first: Path) -> None:
    script(path_first, "kill -9 $$")
    before = children()
    found = analyzer.analyze(CAPTURES / "guest.pcap", engine="tshark")
    assert "signal 9" in found.captures["errors"].iloc[0]
    assert children() <= before


@needs_proc
def test_a_closed_reading_leaves_no_process(path_first: Path) -> None:
    line = "\\t".join(["1", "1.0", "eth", *[""] * (len(FIELDS) - 3)])
    before = children()
    engine = engines.make("tshark", (445, 139), lambda _: None)
    script(path_first, f"case \"$*\" in *tabs*) exit 0;; esac\nyes '' | sed 's/^/{line}/'")
    batches = engine.read([Input(str(CAPTURES / "guest.pcap"), "")])
    next(batches)
    assert len(children() - before) >= 1
    batches.close()  # type: ignore[attr-defined]
    for _ in range(50):
        if children() <= before:
            break
        time.sleep(0.1)
    assert children() <= before


# What is printed, as values. #


def test_lines_that_make_no_sense_are_none() -> None:
    empty = [""] * (len(FIELDS) - 3)
    assert read_line("\t".join(["7", "1.5", "eth:ip", *empty]).encode()) is not None
    for values in (["x", "1.5"], ["7", "soon"], ["7", ""], ["0", "1"], ["7", "-1.5"], ["7", "1" * 20]):
        assert read_line("\t".join([*values, "eth:ip", *empty]).encode()) is None
    assert read_line("\t".join(["7", "1.5", "eth:ip", *empty, ""]).encode()) is None
    assert read_line("\t".join(["7", "1.5", *empty]).encode()) is None
    assert read_line(b"") is None
    assert read_line(b"\xff\xfe\t" * len(FIELDS)) is None


def test_pdml_that_is_no_xml_is_passed_over() -> None:
    packet = (
        b"<packet>", b'<proto name="geninfo">', b'<field name="num" show="%d"/>', b"</proto>",
        b'<proto name="smb2">', b'<field name="smb2.cmd" show="1" size="2"/>', b"</proto>", b"</packet>",
    )  # fmt: skip
    broken = [line for line in packet if line != b"</proto>"]
    lines = [*broken, *(line % 5 if b"%d" in line else line for line in packet)]
    assert [(number, [part.values for part in parts]) for number, parts in read_nested(lines)] == [
        (5, [{"smb2.cmd": ["1"]}])
    ]


@pytest.mark.parametrize(
    ("names", "sizes", "expected"),
    [
        (["NULL", "NULL", "NULL"], [], [0, 0, 0]),
        (["NULL", "NULL", "HOST"], [8], [0, 0, 8]),
        (["DOM", "NULL", "HOST"], [6, 8, 8], [6, 8, 8]),  # somebody is called so
        (["NULL", "NULL", "HOST"], [8, 8], None),  # one of them is, and nobody can say which
        (["DOM", "alice", "HOST"], [6], None),
    ],
)
def test_lengths_tell_which_names_are_empty(names: list[str], sizes: list[int], expected: list[int] | None) -> None:
    found = tshark_records._sizes_of(names, sizes, tshark_records._may_be_empty_name, tshark_records._fits_name)
    assert found == expected


def test_numbers_that_no_field_can_hold_are_told() -> None:
    collector = tshark_records.Collector(tshark_records.Texts())
    seen = tshark_records.Seen(connection=0, from_server=False, capture_no=0, frame=1, time_ns=0, position=-1)
    huge = {"smb2.protocol_id": ["0"], "smb2.cmd": ["5"], "smb2.flags": ["0"], "smb.access_mask": [str(1 << 80)]}
    collector.take(seen, [Part(huge)])
    _, bodies, problems, _ = collector.hand_over()
    assert {name: len(table) for name, table in bodies.items() if len(table)} == {}
    assert len(problems) == 1
    assert all(table.dtype == np.dtype(BODIES[name]) for name, table in bodies.items())


def test_the_oldest_version_that_serves() -> None:
    assert tshark_process.OLDEST == (4, 0)


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ({"smb.cmd": ["0x2b"]}, 0),  # SMB_COM_ECHO [MS-CIFS 2.2.4.39]
        ({"smb.cmd": ["0x24"]}, 0),  # SMB_COM_LOCKING_ANDX
        ({"smb.cmd": ["0xa4"]}, 0),  # SMB_COM_NT_CANCEL
        ({"smb.cmd": ["0x70"]}, 1),
        ({"smb2.protocol_id": ["0"], "smb2.cmd": ["13"], "smb2.flags": ["0"]}, 0),  # ECHO [MS-SMB2 2.2.28]
        ({"smb2.protocol_id": ["0"], "smb2.cmd": ["10"], "smb2.flags": ["0"]}, 0),  # LOCK
        ({"smb2.protocol_id": ["0"], "smb2.cmd": ["14"], "smb2.flags": ["0"]}, 1),  # QUERY_DIRECTORY
    ],
)
def test_what_nobody_needs_a_session_for_is_passed_over(values: dict[str, list[str]], rows: int) -> None:
    """Else echoes would count as operations that are not understood."""
    collector = tshark_records.Collector(tshark_records.Texts())
    seen = tshark_records.Seen(connection=0, from_server=False, capture_no=0, frame=1, time_ns=0, position=-1)
    collector.take(seen, [Part(values)])
    assert len(collector.hand_over()[0]) == rows
