"""Files of a folder: written beside, and put in place all or none."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from analyzer.errors import AnalyzerError
from analyzer.writing import Writing


def saying(text: str) -> Callable[[Path], None]:
    """Writes a file of this text."""

    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    return write


def interrupted(_files: Writing) -> None:
    raise KeyboardInterrupt


def run(folder: Path, *steps: Callable[[Writing], object]) -> None:
    """What somebody does who writes files there."""
    with Writing(folder) as files:
        for step in steps:
            step(files)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_files_are_not_there_before_all_are_written(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "results"
    with Writing(folder) as files:
        files.add("one", saying("1"))
        files.add("two", saying("2"))
        assert files.names == {"one", "two"}
        assert not [path for path in folder.iterdir() if not path.name.startswith(".")]
        files.put_in_place()
    assert contents(folder) == {"one": "1", "two": "2"}


def test_a_file_is_written_while_others_are_made(tmp_path: Path) -> None:
    written = threading.Event()
    with Writing(tmp_path) as files:
        files.add("one", lambda _: written.set())
        assert written.wait(10)


def test_whoever_brings_the_files_writes_what_waits(tmp_path: Path) -> None:
    """The other thread is held up by the first file until the second is written."""
    second = threading.Event()
    threads = {}

    def first(path: Path) -> None:
        threads[path.name] = threading.get_ident()
        begun.set()
        assert second.wait(10)
        path.touch()

    def then(path: Path) -> None:
        threads[path.name] = threading.get_ident()
        second.set()
        path.touch()

    begun = threading.Event()
    with Writing(tmp_path) as files:
        files.add("first", first)
        assert begun.wait(10)
        files.add("second", then)
        files.put_in_place()
    assert threads["second"] == threading.get_ident() != threads["first"]
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}


def test_what_is_not_put_in_place_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("older")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, lambda files: files.add("one", saying("newer")), interrupted)
    assert contents(tmp_path) == {"one": "older"}


def test_no_folder_is_made_for_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "new", interrupted)
    assert not (tmp_path / "new").exists()


def full(_path: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_told_with_the_next_file(tmp_path: Path) -> None:
    second = threading.Event()
    steps: list[Callable[[Writing], object]] = [
        lambda files: files.add("one", full),
        lambda files: files.add("two", lambda _: second.set()),
        lambda _: second.wait(10),
        lambda files: files.add("three", saying("")),
        lambda _: pytest.fail("nothing was told"),
    ]
    with pytest.raises(AnalyzerError, match="No space left"):
        run(tmp_path, *steps)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("which", [0, 1])
def test_a_full_disk_is_told_at_the_end(tmp_path: Path, which: int) -> None:
    (tmp_path / "0").write_text("older")
    files = [full if number == which else saying("newer") for number in range(2)]
    begun = [
        lambda writing, number=number, file=file: writing.add(str(number), file) for number, file in enumerate(files)
    ]
    with pytest.raises(AnalyzerError, match=f"{re.escape(str(tmp_path))}.*No space left"):
        run(tmp_path, *begun, Writing.put_in_place)
    assert contents(tmp_path) == {"0": "older"}


def test_problems_of_others_are_not_said_to_be_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run(tmp_path, lambda files: files.add("one", saying("")), lambda _: (tmp_path / "not there").read_text())
    assert not list(tmp_path.iterdir())
