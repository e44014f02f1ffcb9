"""The real tshark ended from outside, and Ctrl-C while it reads: a clear word, no process left, nothing half-written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import analyzer
from tests import build, dialogue

ROOT = Path(__file__).parents[2]
WHOLE = ROOT / "captures" / "anonymous-smb311.pcap"
HEADER = 24  # bytes in front of the first packet of a pcap file
LARGE = 4_000_000
"""Bytes that tshark takes seconds to read."""
INTERRUPTED = 130
SECONDS = 120
"""Longer than any of these runs takes on a slow machine: what takes longer hangs."""

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to see processes in"),
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed"),
]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segment with two messages, since the nested pass begins at such, then the packets of a capture again and again."""
    talk = dialogue.Smb2()
    talk.login(1)
    talk.tcp.client(2 * build.framed(build.smb2(build.LOGOFF, b"\4\0\0\0", session_id=1)))
    first = build.pcap(dialogue.packets_of(dialogue.segments_of(talk)))[HEADER:]
    header, packets = WHOLE.read_bytes()[:HEADER], WHOLE.read_bytes()[HEADER:]
    path = tmp_path_factory.mktemp("large") / "large.pcap"
    path.write_bytes(header + first + packets * (LARGE // len(packets)))
    return path


def running(group: int) -> dict[int, str]:
    """The processes of a group that have not ended, and what each was started with."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            state, _, its_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                found[int(folder.name)] = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
        except (OSError, ValueError):
            continue  # no process, or it is gone
    return found


def awaited(group: int, *words: str) -> int:
    """The number of a tshark of this group that was started with these words, as soon as there is one."""
    for _ in range(SECONDS * 50):
        for number, command in running(group).items():
            if command.partition(" ")[0].endswith("tshark") and all(word in command for word in words):
                return number
        time.sleep(0.02)
    raise AssertionError(f"no tshark with {words} was started")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, to see what is left there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def started(tmp_path: Path, temporary: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Programs of this test, ended after it whatever happened. They lead process groups of their own."""
    del tmp_path, temporary
    programs: list[subprocess.Popen[bytes]] = []
    yield programs
    for program in programs:
        for number in running(program.pid):
            os.kill(number, signal.SIGKILL)
        program.communicate()


def start(started: list[subprocess.Popen[bytes]], *arguments: str | Path) -> subprocess.Popen[bytes]:
    """`nullsession` as the leader of a process group."""
    program = subprocess.Popen(
        [sys.executable, "-m", "analyzer", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    started.append(program)
    return program


SURVEY, NESTED, FLAT = ("tcp.analysis.out_of_order",), ("pdml",), ("smb2.protocol_id", "aggregator")


@pytest.mark.parametrize("which", [SURVEY, NESTED, FLAT], ids=["survey", "nested", "flat"])
def test_a_tshark_that_is_killed_is_told(large: Path, temporary: Path, which: tuple[str, ...]) -> None:
    def kill() -> None:
        os.kill(awaited(os.getpgid(0), str(large), *which), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    found = analyzer.analyze(large, engine="tshark")
    killer.join()
    assert found.captures["errors"].tolist() == [f"{large}: tshark was ended by signal 9 before the end of the file"]
    assert not [command for command in running(os.getpgid(0)).values() if str(large) in command and "tshark" in command]
    assert list(temporary.iterdir()) == []


def test_the_command_tells_it_and_writes_what_was_read(
    large: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    program = start(started, "analyze", large, "--engine", "tshark", "-q", "-o", tmp_path / "out")
    os.kill(awaited(program.pid, *FLAT), signal.SIGKILL)
    _, said = program.communicate(timeout=SECONDS)
    assert program.returncode in (3, 4)  # some was read, or nothing yet
    assert b"large.pcap: tshark was ended by signal 9 before the end of the file" in said
    assert running(program.pid) == {}


@pytest.mark.parametrize("whom", ["the program", "its group"])
@pytest.mark.parametrize("command", ["analyze", "verify"])
def test_an_interrupt_leaves_nothing(
    large: Path, tmp_path: Path, temporary: Path, started: list[subprocess.Popen[bytes]], command: str, whom: str
) -> None:
    """From a terminal, Ctrl-C reaches the whole process group; `kill -INT` only the one that it names."""
    engine = ["--engine", "tshark"] if command == "analyze" else ["--engines", "tshark,native"]
    program = start(started, command, large, *engine, "-o", tmp_path / "out")
    awaited(program.pid, *FLAT)
    if whom == "its group":
        os.killpg(program.pid, signal.SIGINT)
    else:
        os.kill(program.pid, signal.SIGINT)
    out, said = program.communicate(timeout=SECONDS)
    assert program.returncode == INTERRUPTED
    assert out == b""
    assert said.endswith(b"nullsession: interrupted\n")
    assert b"Traceback" not in said
    assert running(program.pid) == {}
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_an_interrupt_during_the_survey_leaves_nothing(
    large: Path, tmp_path: Path, temporary: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    program = start(started, "analyze", large, "--engine", "tshark", "-o", tmp_path / "out")
    awaited(program.pid, *SURVEY)
    os.kill(program.pid, signal.SIGINT)
    program.communicate(timeout=SECONDS)
    assert program.returncode == INTERRUPTED
    assert running(program.pid) == {}
    assert list(temporary.iterdir()) == []
