"""Lines of CSV files, against cells that Python spells one by one."""

from __future__ import annotations

import datetime
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from analyzer import lines, tables

KIND = ("one", "two, three", 'a "word"')
TEXTS = ("", "=1", "-", "a,b", 'x"y', "plain", "Ü", "two\nlines", "'", "\t")


def cell(value: object) -> str:
    """A cell as the README describes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    text = str(value)
    return '"' + ("'" if text[:1] in ("=", "+", "-", "@", "\t", "\r") and text else "") + text.replace('"', '""') + '"'


def time_cell(ns: int | None) -> str:
    if ns is None:
        return ""
    at = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=ns // 10**9)
    return f"{at:%Y-%m-%d %H:%M:%S}.{ns % 10**9:09}Z"


def written(table: pa.Table) -> bytes:
    return b"".join(bytes(some) for some in lines.lines_of(table))


def column_of(kind: str, values: list[Any]) -> pa.Array:
    if kind == "text":
        return tables.listed(values)
    if kind == "category":
        return tables.named_categories(values, KIND)
    none = np.array([value is None for value in values], dtype=bool)
    numbers = np.array([value or 0 for value in values], dtype=np.int64)
    return {"int": tables.ints, "time": tables.times, "bool": tables.bools}[kind](numbers, none)


def made(rng: random.Random, rows: int, different: list[int]) -> tuple[pa.Table, list[list[str]]]:
    """Columns of each kind with about so many different values each, in any order, some of them missing; and their cells."""
    columns: dict[str, pa.Array] = {}
    cells: list[list[str]] = []
    for number, count in enumerate(different):
        kind = rng.choice(["text", "int", "time", "bool", "category"])
        missing = rng.choice([0, 0.1, 0.9, 1])
        pool: list[Any] = {
            "text": [f"{rng.choice(TEXTS)}{place or ''}" for place in range(count)],
            "int": [rng.randrange(-3, 1 << 40) for _ in range(count)],
            "time": [rng.randrange(1, 1 << 62) for _ in range(count)],
            "bool": [True, False],
            "category": list(KIND),
        }[kind]
        values = [None if rng.random() < missing else rng.choice(pool) for _ in range(rows)]
        columns[f"c{number}"] = column_of(kind, values)
        cells.append([(time_cell if kind == "time" else cell)(value) for value in values])
    return pa.table(columns), cells


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("combined", [1, 30, lines.MOST_COMBINED])
def test_lines_are_made_of_their_cells(seed: int, combined: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many values columns have, and how many of them are spelt together."""
    rng = random.Random(seed)
    rows = rng.choice([0, 1, 5, 100, 1000])
    table, cells = made(rng, rows, [rng.choice([1, 2, 7, 40, 3000]) for _ in range(rng.randrange(1, 12))])
    monkeypatch.setattr(lines, "MOST_COMBINED", combined)
    monkeypatch.setattr(lines, "ROWS", rng.choice([1, 7, 64, 5000]))
    expected = [
        ",".join(f'"{name}"' for name in table.column_names),
        *(",".join(row) for row in zip(*cells, strict=True)),
    ]
    assert written(table).decode() == "".join(f"{line}\n" for line in expected)


def test_columns_that_repeat_themselves_are_spelt_together() -> None:
    values = np.arange(1000)
    table = pa.table({f"c{number}": tables.ints(values % (number + 2)) for number in range(3)})
    (part,) = lines._parts([tables.one_array(column) for column in table.columns])
    assert set(part.rows(0, 1000).to_pylist()) == {f"{n % 2},{n % 3},{n % 4}" for n in range(12)}


def test_combinations_that_are_many_are_not_spelt_together() -> None:
    """Ten values and a hundred, of which each row has another combination."""
    values = np.arange(1000)
    table = pa.table({"ten": tables.ints(values % 10), "hundred": tables.ints(values // 10)})
    parts = lines._parts([tables.one_array(column) for column in table.columns])
    assert [len(set(part.rows(0, 1000).to_pylist())) for part in parts] == [10, 100]


def test_a_column_that_only_begins_with_few_values() -> None:
    values = np.append(np.zeros(tables.SAMPLE, dtype=np.int64), np.arange(5 * tables.SAMPLE))
    table = pa.table({"number": tables.ints(values)})
    assert written(table).decode().splitlines() == ['"number"', *map(str, values.tolist())]
