"""Columns of integers, and rows that grow."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analyzer.records import MESSAGE
from analyzer.sessions import columns
from analyzer.sessions.joins import NONE, Growing, GrowingTable, as_of, in_order

RECORD = np.dtype([("small", "u1"), ("large", "i8"), ("pair", "i4", (2,))])


def test_the_constants_name_the_columns_of_messages() -> None:
    named = {name: getattr(columns, "C_" + name.upper()) for name in MESSAGE.names or ()}
    assert named == columns.MESSAGE_COLUMNS


def test_messages_become_columns_behind_those_that_wait() -> None:
    rows = np.zeros(3, dtype=MESSAGE)
    rows["key"] = [1, 2**63, 2**64 - 1]
    rows["from_server"] = [True, False, True]
    first = columns.of_messages(columns.empty(columns.MESSAGE_COLUMNS), rows[:1])
    both = columns.of_messages(first, rows[1:])
    assert both["key"].view(np.uint64).tolist() == rows["key"].tolist()
    assert both["from_server"].tolist() == [1, 0, 1]
    assert both.take(np.array([2, 0]))["key"].tolist() == [-1, 1]
    assert len(both.followed_by(first)) == 4
    assert both.table.flags.c_contiguous
    assert both.take(np.array([2, 0])).table.flags.c_contiguous


def test_rows_grow() -> None:
    grown = Growing(RECORD)
    expected = np.zeros(1000, dtype=RECORD)
    expected["small"] = np.arange(1000) % 250
    expected["large"] = -np.arange(1000)
    expected["pair"][:, 1] = np.arange(1000)
    for begin in range(0, 1000, 100):
        assert grown.add(expected[begin : begin + 100]).tolist() == list(range(begin, begin + 100))
    assert (grown.rows == expected).all()
    assert grown.add(expected[:0]).tolist() == []


def test_the_first_fields_of_rows_can_be_set() -> None:
    grown = Growing(RECORD)
    grown.add(np.ones(4, dtype=RECORD))
    begin = np.zeros(2, dtype=np.dtype(RECORD.descr[:2]))
    begin["large"] = [8, 9]
    grown.set_first_fields(np.array([3, 1]), begin)
    assert grown.rows["large"].tolist() == [1, 9, 1, 8]
    assert grown.rows["small"].tolist() == [1, 0, 1, 0]
    assert grown.rows["pair"].tolist() == [[1, 1]] * 4


def test_tables_grow() -> None:
    table = GrowingTable(3)
    for number in range(500):
        table.add(2, number)[:, 2] = -number
    assert len(table) == 1000
    assert table.rows[999].tolist() == [499, 499, -499]
    assert table.as_rows(np.dtype([("a", "i4"), ("b", "i8")]))["b"].tolist() == [n // 2 for n in range(1000)]


few = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 20)), max_size=20)
large = st.lists(st.tuples(st.sampled_from([0, 2**60, 2**63 - 1, -1]), st.integers(0, 2**50)), max_size=20)


@given(rows=st.one_of(st.tuples(few, few), st.tuples(large, large)))
def test_as_of(rows: tuple[list[tuple[int, int]], list[tuple[int, int]]]) -> None:
    known, asked = rows

    def column(rows: list[tuple[int, int]], place: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array([row[place] for row in rows], dtype=np.int64)

    found = as_of(column(asked, 0), column(asked, 1), column(known, 0), column(known, 1))
    assert found.tolist() == [
        max(((o, place) for place, (k, o) in enumerate(known) if k == key and o < order), default=(0, NONE))[1]
        for key, order in asked
    ]


@given(st.lists(st.one_of(st.integers(-3, 3), st.integers(2**59, 2**63 - 1), st.integers(-(2**63), -1))))
def test_places_in_order_of_their_keys(keys: list[int]) -> None:
    found = in_order(np.array(keys, dtype=np.int64)).tolist()
    assert found == sorted(range(len(keys)), key=keys.__getitem__)
