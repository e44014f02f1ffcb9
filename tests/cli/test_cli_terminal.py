"""What `nullsession analyze` writes to a terminal, and that nothing from a capture can steer it."""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from pathlib import Path

import build as b
import pytest
from command import ANONYMOUS, CAPTURES, Called, Done, ended, nullsession, start
from talks import anonymous_pipe, written

ESCAPE = "\x1b"
COLOUR = re.compile(r"\x1b\[[\d;]*?(?:\b(?:3[0-8]|4[0-8]|9[0-7]|10[0-7]))[\d;]*m")
"""The control sequence that sets a colour, in front or behind. [ECMA-48 8.3.117]"""
WIDTH = 80

# A colour, a window title, markup of the library that prints, text from right to left, a line of its own, C1 controls.
STEERING = (
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "[red]x[/red]",
    "[/]",
    "\u202eexe.cod",
    "a\r\nb",
    "\x9b2J",
    "\u200bzero",
    "\x08\x7f",
)


def steers(text: str) -> list[str]:
    """Characters of a text that a terminal would act on, or that hide or turn what follows; line ends may be there."""
    return [
        char for char in text if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
    ]


def on_terminal(
    *arguments: str | Path, err_too: bool = True, out_too: bool = True, settings: dict[str, str] | None = None
) -> tuple[Done, str]:
    """Run with output or errors, or both, on a pseudo terminal; returns what went to pipes, and to the terminal."""
    pty = pytest.importorskip("pty", reason="pseudo terminals are a thing of Unix")
    ours, theirs = pty.openpty()
    streams = {}
    if out_too:
        streams["stdout"] = theirs
    if err_too:
        streams["stderr"] = theirs
    settings = {"TERM": "xterm-256color", "COLUMNS": str(WIDTH), "LINES": "40"} | (settings or {})
    process = start(*arguments, settings=settings, **streams)
    os.close(theirs)
    shown = b""
    with open(ours, "rb", buffering=0) as terminal:
        while True:
            try:
                piece = terminal.read(65_536)
            except OSError:  # how Linux tells that nobody has the other end open any more
                break
            if not piece:
                break
            shown += piece
    return ended(process), shown.decode()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A megabyte and more of packets that are no SMB: not yet worth loading compiled kernels, so nothing waits."""
    packet = b.ethernet(b.ipv4(b.tcp(bytes(1400), target=80)))
    packets = [b.Packet(b.START_NS + number * 1000, packet) for number in range(1000)]
    return written(tmp_path_factory.mktemp("large") / "web.pcap", packets)


# Where nobody looks. #


def test_without_a_terminal_there_are_no_control_sequences_and_no_progress(large: Path) -> None:
    done = nullsession("analyze", ANONYMOUS, large, settings={"TERM": "xterm-256color"})
    assert done.status == 0
    assert done.err == ""
    assert "lsarpc" in done.out
    assert not steers(done.out)


def test_lines_fit_the_width(called: Called, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    done = called("analyze", CAPTURES)
    lines = done.out.splitlines()
    assert len(lines) > 40
    assert max(map(len, lines)) <= WIDTH


def test_long_names_fit_the_width_and_are_not_cut_off(
    called: Called, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    pipe, name = "pipe" * 20, "server" * 10
    done = called("analyze", written(tmp_path / "long.pcap", anonymous_pipe(pipe, server=name).packets()))
    assert max(map(len, done.out.splitlines())) <= WIDTH
    table = done.out.partition("Dependencies")[2].partition("What these")[0]
    letters = "".join(table.split())
    assert letters.count("p") >= pipe.count("p")
    assert letters.count("v") >= name.count("v")


# On a terminal. #


def test_progress_appears_on_the_terminal_only(large: Path) -> None:
    done, shown = on_terminal("analyze", large, out_too=False)
    assert ESCAPE in shown
    assert re.search(r"\d MB|bytes", shown)  # how much has been read
    assert not steers(done.out)
    assert done.status == 0
    # What is left on the screen when it is done is nothing: the last line was erased.
    assert not re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown.rpartition("\x1b[2K")[2]).strip()


def test_quiet_shows_no_progress(large: Path) -> None:
    done, shown = on_terminal("analyze", "--quiet", large)
    assert (done.status, shown) == (0, "")


def test_a_terminal_gets_colours_unless_no_color_is_set() -> None:
    coloured = on_terminal("analyze", ANONYMOUS)[1]
    assert COLOUR.search(coloured)
    plain = on_terminal("analyze", ANONYMOUS, settings={"NO_COLOR": "1"})[1]
    assert "lsarpc" in plain
    assert not COLOUR.search(plain)


def test_results_in_a_file_have_no_control_sequences_though_errors_go_to_a_terminal() -> None:
    done, _ = on_terminal("analyze", ANONYMOUS, "--format", "json", out_too=False)
    assert json.loads(done.out)["summary"]["captures"] == 1


def test_progress_and_errors_do_not_mix(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(b"no capture")
    _, shown = on_terminal("analyze", bad, ANONYMOUS, out_too=False, settings={"COLUMNS": "200"})
    told = [line for line in shown.replace("\r", "\n").splitlines() if "nullsession: " in line]
    assert len(told) == 1
    assert not steers(told[0].rpartition("nullsession: ")[2])


# Names that want to steer the terminal. #


@pytest.mark.parametrize("name", STEERING, ids=ascii)
def test_names_in_captures_reach_the_terminal_spelt_out(
    called: Called, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # so that no cell is folded
    packets = anonymous_pipe(f"{name}-pipe", workstation=f"{name}-client", server=f"{name}-server").packets()
    path = written(tmp_path / "hostile.pcap", packets)
    done = called("analyze", path)
    assert done.status == 0
    assert not steers(done.out)
    spelt = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in name)
    assert f"{spelt}-pipe".lower() in done.out  # pipes are told in lower case
    for machine in ("client", "server"):  # of long names the terminal shows the first label
        assert f"{spelt}-{machine}" in done.out or f"{spelt.partition('.')[0]} (" in done.out


@pytest.mark.parametrize("name", STEERING, ids=ascii)
def test_names_of_shares_reach_the_terminal_spelt_out(called: Called, tmp_path: Path, name: str) -> None:
    share = name.replace("/", "").replace("\\", "").upper()
    path = written(tmp_path / "hostile.pcap", anonymous_pipe(share=share).packets())
    done = called("analyze", path)
    assert done.status == 0
    assert not steers(done.out)


def test_json_spells_out_what_a_terminal_would_act_on(called: Called, tmp_path: Path) -> None:
    path = written(tmp_path / "hostile.pcap", anonymous_pipe("".join(STEERING).replace("/", "")).packets())
    done = called("analyze", path, "--format", "json")
    assert not steers(done.out)
    assert json.loads(done.out)["dependencies"][0]["resource"] == "".join(STEERING).replace("/", "").lower()


@pytest.mark.skipif(sys.platform == "win32", reason="files there cannot have such names")
@pytest.mark.parametrize("good", [True, False])
def test_names_of_files_reach_the_terminal_spelt_out(called: Called, tmp_path: Path, good: bool) -> None:
    path = tmp_path / "\x1b[31m[red]\n\x9b\u202ename.pcap"
    if good:
        written(path, anonymous_pipe().packets())
    else:
        path.write_bytes(b"no capture")
    done = called("analyze", path, ANONYMOUS)
    assert done.status == (0 if good else 3)
    assert not steers(done.out)
    assert not steers(done.err)
    assert len(done.complaints) == (0 if good else 1)
    assert "[red]" in done.out


def test_a_wrong_name_on_the_command_line_is_told_in_one_harmless_line(called: Called) -> None:
    done = called("analyze", "\x1b[31m\nnowhere.pcap")
    assert done.status == 2
    assert len(done.complaints) == 1
    assert not steers(done.err)


@pytest.mark.parametrize(
    ("form", "encoding"), [("table", "ascii"), ("table", "cp1252"), ("json", "cp1252"), ("csv", "cp1252")]
)
def test_names_that_the_output_cannot_write_do_no_harm(tmp_path: Path, form: str, encoding: str) -> None:
    path = written(tmp_path / "names.pcap", anonymous_pipe("プリンタ", workstation="Büro-Ω").packets())
    process = start("analyze", path, "--format", form, settings={"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"})
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, b"")
    assert b"10.0.0.1" in out
    if form == "csv":
        assert "プリンタ".encode() in out  # CSV is UTF-8, whatever the terminal speaks


def test_utf_16_that_is_no_text_does_no_harm(called: Called, tmp_path: Path) -> None:
    """Halves of surrogate pairs alone, which no encoding can write."""
    packets = anonymous_pipe("ab\ue000c", workstation="x\ue000").packets()
    halved = [b.Packet(each.time_ns, each.data.replace(b"\x00\xe0", b"\x00\xd8")) for each in packets]
    path = written(tmp_path / "halves.pcap", halved)
    for form in ("table", "json", "csv"):
        done = called("analyze", path, "--format", form)
        assert (done.status, done.err) == (0, "")
        assert not steers(done.out)
        assert "10.0.0.1" in done.out
