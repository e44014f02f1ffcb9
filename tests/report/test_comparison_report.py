"""What became of each dependency, printed."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import analyzer
from analyzer.comparison import compare
from analyzer.report import comparison
from tests.dialogue import Smb2, write

CAPTURES = Path(__file__).parents[2] / "captures"


def printed(before: analyzer.Analysis, after: analyzer.Analysis, width: int = 160) -> str:
    console = Console(file=StringIO(), width=width)
    comparison.render(compare(before, after), console)
    text = console.file.getvalue()
    return str(text)


@pytest.fixture(scope="module")
def opened() -> analyzer.Analysis:
    return analyzer.analyze(CAPTURES / "change-0-open.pcap")


def test_what_broke_comes_first(opened: analyzer.Analysis) -> None:
    text = printed(opened, analyzer.analyze(CAPTURES / "change-1-restrict1.pcap"))
    assert text.splitlines()[0] == "9 uses are refused now that worked before."
    assert "8 uses are as before." in text
    assert "WERR_ACCESS_DENIED" in text
    assert "frame 25" in text
    assert "PUBLIC" not in text  # as before: only counted


def test_operations_of_the_same_fate_are_one_line(opened: analyzer.Analysis) -> None:
    text = printed(opened, analyzer.analyze(CAPTURES / "change-8-credentials.pcap"))
    assert text.count("moved") == 3  # samr, lsarpc, srvsvc
    (line,) = (line for line in text.splitlines() if "SamrConnect5" in line)
    assert line.count("Samr") == 6  # captures/scenes: what rpcclient's enumdomusers calls


def test_no_word_is_lost_at_any_width(opened: analyzer.Analysis) -> None:
    """Each row's reason and places stand in it as a whole, and no line is too long."""
    after = analyzer.analyze(CAPTURES / "change-2-restrict2.pcap")
    rows = [row for row in compare(opened, after).table.to_pylist() if row["change"] == "newly_refused"]
    assert rows
    for width in range(60, 221, 4):
        text = printed(opened, after, width)
        assert max(map(len, text.splitlines())) <= width
        joined = " ".join(text.split())
        for row in rows:
            assert f"{row['client']} ({row['client_ip']}) -> {row['server']} ({row['server_ip']})" in joined
            assert row["reason"] in joined
            assert f"after: change-2-restrict2.pcap frame {row['frame_after']}" in joined


def test_nothing_at_all(tmp_path: Path) -> None:
    nothing = analyzer.analyze(write(tmp_path / "nothing.pcap"))
    text = printed(nothing, nothing)
    assert text.startswith("No null-session use was seen, neither before nor after.")
    assert "Mind: no SMB connection was seen before." in text


def test_names_of_captures_cannot_steer_the_terminal(opened: analyzer.Analysis, tmp_path: Path) -> None:
    talk = Smb2()
    talk.login(0x11)
    talk.tree(0x11, 1)
    talk.use(0x11, 1, "\x1b[31mevil")
    text = printed(opened, analyzer.analyze(write(tmp_path / "a.pcap", talk)))
    assert "\x1b" not in text
    assert "\\u001b[31mevil" in text
