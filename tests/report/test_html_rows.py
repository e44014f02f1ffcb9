"""The rows in the page: they come out of their packing as they went in, and never more than fit."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import numpy as np
import pytest

from analyzer import tables
from analyzer.report.html import rows


def unpacked(found: rows.Packed) -> dict[str, list[Any]]:
    """Each column's values, None for missing."""
    told = json.loads(gzip.decompress(base64.b64decode(found.text)))
    made = {}
    for name, column in told["columns"].items():
        if "texts" in column:
            assert len(set(column["texts"])) == len(column["texts"])
            made[name] = [None if code < 0 else column["texts"][code] for code in column["codes"]]
        else:
            made[name] = [None if value < 0 else value for value in column.get("times", column.get("numbers"))]
        assert len(made[name]) == told["length"]
    return made


COLUMNS = {
    "client_ip": tables.listed(["10.0.0.1", None, "10.0.0.1"]),
    "resource": tables.listed(["", "<b>&", "a\u202eb\nc"]),
    "verdict": tables.named_categories(["depends", None, "probe"], tables.VERDICT),
    "uses": tables.ints(np.array([2**40, -1, 0])),
    "excluded": tables.bools(np.array([True, False, False])),
    "first_seen": tables.times(np.array([1_700_000_000_123_456_789, 0, 5_000_000])),
}
TABLE = tables.table("dependencies", COLUMNS, 3)


def test_values_come_out_as_they_went_in() -> None:
    found = unpacked(rows.packed(TABLE, {"display_filter": tables.listed([None, "frame == 1", "frame == 2"])}))
    assert set(found) == {column.name for column in tables.TABLES["dependencies"]} | {"display_filter"}
    assert found["client_ip"] == ["10.0.0.1", None, "10.0.0.1"]
    assert found["resource"] == ["", "<b>&", "a\\u202eb\\u000ac"]  # what cannot be seen is spelt out
    assert found["verdict"] == ["depends", None, "probe"]
    assert found["uses"] == [2**40, None, 0]
    assert found["excluded"] == [1, 0, 0]
    assert found["first_seen"] == [1_700_000_000_123, None, 5]
    assert found["display_filter"] == [None, "frame == 1", "frame == 2"]
    assert found["owner"] == [None] * 3


def test_only_texts_of_shown_rows_are_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MOST_ROWS", 1)
    found = rows.packed(TABLE, {})
    assert (found.rows, found.of) == (1, 3)
    assert "<b>" not in gzip.decompress(base64.b64decode(found.text)).decode()


def test_rows_that_are_too_large_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    names = [f"{word:016x}" for word in random.integers(0, 2**60, 2_000).tolist()]
    table = tables.table("dependencies", {"client": tables.listed(names)}, 2_000)
    whole = rows.packed(table, {})
    monkeypatch.setattr(rows, "MOST_OCTETS", len(whole.text) // 2)
    found = rows.packed(table, {})
    assert 500 < found.rows < 1_100
    assert len(found.text) <= len(whole.text) // 2
    assert unpacked(found)["client"] == names[: found.rows]


def test_a_text_of_great_length_is_cut_and_says_so() -> None:
    table = tables.table("dependencies", {"resource": tables.listed(["x" * 60_000])}, 1)
    (text,) = unpacked(rows.packed(table, {}))["resource"]
    assert text == "x" * 1_000 + "... (60,000 characters)"
