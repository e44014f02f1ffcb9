"""Runs that somebody ends: with Ctrl-C, by reading no further, or by giving them no place to write to."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import build as b
import pandas as pd
import pytest
from command import ANONYMOUS, CAPTURES, Called, Done, contents, ended, nullsession, start

from analyzer import hosts, results

INTERRUPTED, NOTHING_USABLE = 130, 4
MUCH = b.pcap([b.Packet(b.START_NS, b.ethernet(b.ipv4(b.tcp(bytes(1400), target=80))))] * 1000)
"""More than a pipe holds: whoever has written it knows that it is being read."""

unix = pytest.mark.skipif(sys.platform == "win32", reason="signals and named pipes are those of Unix")


@pytest.fixture
def older(called: Called, tmp_path: Path) -> Path:
    """A folder with results of before, and a file of the user's own."""
    folder = tmp_path / "results"
    assert called("analyze", CAPTURES / "guest.pcap", "-q", "-o", folder).status == 0
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    return folder


# Ctrl-C. #


@contextmanager
def reading(tmp_path: Path, kind: str, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run that is amid its input, and waits for more of it."""
    feeding: BinaryIO
    if kind == "standard input":
        process = start("analyze", "-", *arguments, stdin=subprocess.PIPE)
        assert process.stdin is not None
        feeding = process.stdin
    else:
        path = tmp_path / "capture.pcap"
        os.mkfifo(path)
        process = start("analyze", path, *arguments)
        feeding = path.open("wb")
    try:
        feeding.write(MUCH)
        feeding.flush()
        yield process
    finally:
        feeding.close()
        process.kill()


def interrupted(process: subprocess.Popen[bytes]) -> Done:
    """What the program says when Ctrl-C is pressed while its input stays open."""
    process.send_signal(signal.SIGINT)
    status = process.wait(timeout=60)
    assert process.stdout is not None
    assert process.stderr is not None
    return Done(status, process.stdout.read().decode(), process.stderr.read().decode())


@unix
@pytest.mark.parametrize("kind", ["standard input", "named pipe"])
def test_an_interrupted_run_says_so_in_a_line_and_leaves_older_results(tmp_path: Path, older: Path, kind: str) -> None:
    before = contents(older)
    with reading(tmp_path, kind, "-o", older) as process:
        done = interrupted(process)
    assert done == Done(INTERRUPTED, "", "nullsession: interrupted\n")
    assert contents(older) == before


@unix
def test_an_interrupted_run_makes_no_folder_of_results(tmp_path: Path) -> None:
    with reading(tmp_path, "named pipe", "-o", tmp_path / "new") as process:
        assert interrupted(process).status == INTERRUPTED
    assert not (tmp_path / "new").exists() or not contents(tmp_path / "new")


@unix
def test_an_interruption_while_tables_are_written_leaves_older_results(
    called: Called, older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(older)
    write, numbers = results.write_parquet, itertools.count(1)  # two threads write

    def interrupted_write(*arguments: Any) -> None:
        number = next(numbers)
        write(*arguments)
        if number == 5:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(results, "write_parquet", interrupted_write)
    done = called("analyze", ANONYMOUS, "-o", older)
    assert (done.status, done.out, done.err) == (INTERRUPTED, "", "nullsession: interrupted\n")
    assert contents(older) == before


@unix
def test_an_interruption_while_tables_are_made_leaves_older_results(
    called: Called, older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of them are written by then."""
    before = contents(older)
    begun = []

    def interrupted_hosts(*_: object) -> None:
        begun.extend(older.glob(".writing-*/*"))
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(hosts, "find_hosts", interrupted_hosts)
    done = called("analyze", ANONYMOUS, "-o", older)
    assert (done.status, done.out, done.err) == (INTERRUPTED, "", "nullsession: interrupted\n")
    assert begun
    assert contents(older) == before


@unix
def test_an_interruption_while_files_are_put_in_place_mixes_no_results(
    called: Called, older: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(older)
    called("analyze", ANONYMOUS, "-q", "-o", tmp_path / "whole")
    after = before | contents(tmp_path / "whole")
    replace, count = os.replace, 0

    def interrupted_replace(*arguments: str, **options: object) -> None:
        nonlocal count
        count += 1
        replace(*arguments, **options)  # type: ignore[arg-type]
        if count == 5:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(os, "replace", interrupted_replace)
    called("analyze", ANONYMOUS, "-o", older)
    found = contents(older)
    # Which files were compared is told by name; their contents are long.
    assert {name for name in found if found[name] != after.get(name)} in (
        set(),
        {name for name in before if before[name] != after[name]},
    )
    assert set(found) == set(before)


# Readers and places that take no more. #


@unix
@pytest.mark.parametrize("arguments", [["--format", form] for form in ("table", "json", "csv")], ids=" ".join)
def test_a_reader_that_has_had_enough_causes_no_complaint(arguments: list[str]) -> None:
    process = start("analyze", CAPTURES, *arguments)
    assert process.stdout is not None
    process.stdout.close()  # as `head` does, only sooner
    done = ended(process)
    assert done.err == ""
    assert done.status in (0, 128 + signal.SIGPIPE)  # 1 would say that a difference was found


@unix
def test_doctor_into_a_closed_pipe_causes_no_complaint() -> None:
    process = start("doctor")
    assert process.stdout is not None
    process.stdout.close()
    assert ended(process).err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk is simulated by /dev/full of Linux")
@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_a_full_disk_behind_standard_output_is_told_in_a_line(form: str) -> None:
    with open("/dev/full", "wb") as full:
        done = nullsession("analyze", ANONYMOUS, "--format", form, stdout=full)
    assert done.status == NOTHING_USABLE
    assert len(done.complaints) == 1
    assert "No space left" in done.err


# Where results go. #


def test_newer_results_replace_older_ones_and_leave_other_files(called: Called, older: Path) -> None:
    before = contents(older)
    assert called("analyze", ANONYMOUS, "-q", "-o", older).status == 0
    assert set(contents(older)) == set(before)
    assert pd.read_parquet(older / "captures.parquet")["capture"].tolist() == [str(ANONYMOUS)]
    assert (older / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_results_make_the_folders_that_they_need(called: Called, tmp_path: Path) -> None:
    assert called("analyze", ANONYMOUS, "-q", "-o", tmp_path / "a" / "b").status == 0
    assert (tmp_path / "a" / "b" / "summary.json").exists()


def unwritable(tmp_path: Path) -> dict[str, Path]:
    """Places that take no results."""
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    places = {"a file": file, "below a file": file / "results", "a loop": loop}
    if sys.platform == "linux":
        places["nobody's"] = Path("/proc/results")
    return places


def test_a_place_that_takes_no_results_is_told_in_a_line(called: Called, tmp_path: Path) -> None:
    for kind, place in unwritable(tmp_path).items():
        done = called("analyze", ANONYMOUS, "-o", place)
        assert done.status == NOTHING_USABLE, kind
        assert len(done.complaints) == 1, kind
        assert str(place) in done.err, kind
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_a_disk_that_becomes_full_leaves_older_results(
    called: Called, older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(older)
    write, numbers = results.write_csv, itertools.count(1)  # two threads write

    def write_until_full(*arguments: object) -> None:
        if next(numbers) == 3:
            raise OSError(28, "No space left on device")
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(results, "write_csv", write_until_full)
    done = called("analyze", ANONYMOUS, "-o", older)
    assert done.status == NOTHING_USABLE
    assert len(done.complaints) == 1
    assert "No space left" in done.err
    assert contents(older) == before
