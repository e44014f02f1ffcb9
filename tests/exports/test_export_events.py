"""Rows as events: looked up by key, spelt once for each different text."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from analyzer import tables
from analyzer.exports.events import each_text, iso, objects, seconds


def test_times() -> None:
    """What is less than a microsecond is cut off; 0 is no time."""
    times = tables.times(np.array([1_764_166_721_000_001_999, 0, 1_000_000]))
    assert seconds(times).to_pylist() == ["1764166721.000001", None, "0.001000"]
    assert iso(times).to_pylist() == ["2025-11-26T14:18:41.000001+0000", None, "1970-01-01T00:00:00.001000+0000"]


def test_each_different_text_is_spelt_once() -> None:
    asked: list[str] = []

    def spell(text: str) -> str:
        asked.append(text)
        return text.upper()

    array = tables.listed(["a", None, "b", "a", ""])
    assert each_text(array, spell).to_pylist() == ["A", None, "B", "A", ""]
    assert sorted(asked) == ["", "a", "b"]


@pytest.mark.parametrize("rows", [0, 1, 4])
def test_objects_have_what_is_there(rows: int) -> None:
    """Also where nothing at all is."""
    here = pa.array([None, "1", "2", None][:rows], pa.large_string())
    nothing = pa.nulls(rows, pa.large_string())
    found = objects({"a": here, "b": nothing, "c": here})
    assert len(found) == rows
    assert [json.loads(text) for text in found.to_pylist()] == [{}, {"a": 1, "c": 1}, {"a": 2, "c": 2}, {}][:rows]
    assert objects({"a": nothing}).to_pylist() == ["{}"] * rows
