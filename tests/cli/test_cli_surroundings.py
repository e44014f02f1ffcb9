"""What goes wrong around an analysis: links, folders that take no results, files held open, closed pipes."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from command import ANONYMOUS, CAPTURES, Called, contents, ended, start
from talks import anonymous_pipe, written


def test_a_link_in_a_folder_that_leads_nowhere_is_a_file_that_cannot_be_read(called: Called, tmp_path: Path) -> None:
    shutil.copy(ANONYMOUS, tmp_path / "good.pcap")
    (tmp_path / "gone.pcap").symlink_to(tmp_path / "not-there.pcap")
    (tmp_path / "loop.pcap").symlink_to(tmp_path / "loop.pcap")
    (tmp_path / "notes.txt").symlink_to(tmp_path / "not-there.txt")
    done = called("analyze", tmp_path)
    assert done.status == 3
    assert len(done.complaints) == 2
    assert "gone.pcap" in done.complaints[0]
    assert "loop.pcap" in done.complaints[1]
    assert "lsarpc" in done.out


def test_a_place_that_takes_no_results_is_told_before_anything_is_read(
    called: Called, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analyzer.analysis.analyze", lambda *_, **__: pytest.fail("it began to read"))
    (tmp_path / "file").touch()
    assert called("analyze", ANONYMOUS, "-o", tmp_path / "file").status == 4


@pytest.mark.parametrize("when", range(1, 70, 3))
def test_results_that_cannot_be_put_in_place_leave_the_older_ones(
    called: Called, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    """As on Windows, where a file that a spreadsheet has open can be neither moved nor replaced."""
    folder = tmp_path / "results"
    assert called("analyze", CAPTURES / "guest.pcap", "-q", "-o", folder).status == 0
    (folder / "calls.csv").unlink()  # of a version that did not write it
    before = contents(folder)
    replace, count = os.replace, 0

    def held_open(*arguments: object) -> None:
        nonlocal count
        count += 1
        if count == when:
            raise PermissionError(13, "it is open in another program")
        replace(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", held_open)
    done = called("analyze", ANONYMOUS, "-q", "-o", folder)
    assert done.status == 4
    assert "open in another program" in done.err
    assert contents(folder) == before


@pytest.mark.skipif(sys.platform == "win32", reason="closing it so is a thing of Unix")
def test_a_closed_standard_input_is_told_in_a_line() -> None:
    done = ended(start("analyze", "-", stdin=None, preexec_fn=lambda: os.close(0)))
    assert done.status == 4
    assert len(done.complaints) == 1


def test_one_is_not_several(called: Called, tmp_path: Path) -> None:
    path = written(tmp_path / "one.pcap", anonymous_pipe().packets())
    assert "1 pipe was used" in called("analyze", path).out


def test_help_into_a_closed_pipe_ends_as_by_the_signal() -> None:
    process = start("--help")
    assert process.stdout is not None
    process.stdout.close()
    done = ended(process)
    assert (done.status, done.err) == (141, "")
