"""All files or none; and texts in a form that other programs read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from analyzer.exports.writing import characters, quoted, write_files


def test_files_are_written_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("older")
    assert write_files(tmp_path / "new", {"a": ["1", "\u00e9"], "b": []}) == ["a", "b"]
    assert (tmp_path / "new" / "a").read_bytes() == b"1\n\xc3\xa9\n"
    assert (tmp_path / "new" / "b").read_bytes() == b""


def test_what_is_interrupted_leaves_what_was_there(tmp_path: Path) -> None:
    def lines() -> Iterator[str]:
        yield "new"
        raise KeyboardInterrupt

    (tmp_path / "a").write_text("older")
    with pytest.raises(KeyboardInterrupt):
        write_files(tmp_path, {"a": ["new"], "b": lines()})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "older"


@pytest.mark.parametrize("text", ["", "a\tb\n", '"\\', "\x00\x1f", "\u2028", "caf\u00e9", "\U0001f600"])
def test_json_reads_it_back(text: str) -> None:
    assert json.loads(quoted(text)) == text
    assert "\n" not in quoted(text)


def test_halves_of_characters_are_spelt_out() -> None:
    assert characters("a\udcff") == "a\\xed\\xb3\\xbf"
    quoted("\ud800").encode()
