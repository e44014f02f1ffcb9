"""What rows and columns are made of: membership, cases in order, rows behind rows."""

from __future__ import annotations

import numpy as np

from analyzer.records import DATA_REQUEST, empty_bodies
from analyzer.sessions.joins import first_of, is_in, joined, nones, one_of, places_of


def test_membership() -> None:
    values = np.array([5, -1, 7, 9, 5], dtype=np.int64)
    assert is_in(values, np.array([-1, 5, 8])).tolist() == [True, True, False, False, True]
    assert is_in(values, np.array([], dtype=np.int64)).tolist() == [False] * 5
    assert is_in(np.array([], dtype=np.int64), np.array([1])).tolist() == []
    assert one_of(values, (9, -1)).tolist() == [False, True, False, True, False]
    assert one_of(values, ()).tolist() == [False] * 5


def test_the_first_case_that_holds_decides() -> None:
    odd, small = np.array([True, False, True, False]), np.array([True, True, False, False])
    assert first_of((odd, 1), (small, 2), default=3).tolist() == [1, 2, 1, 3]


def test_places() -> None:
    assert places_of(np.array([False, True, True])).tolist() == [1, 2]
    assert nones(3).tolist() == [-1, -1, -1]


def test_rows_behind_rows() -> None:
    one, other = np.zeros(4, dtype=DATA_REQUEST), np.zeros(3, dtype=DATA_REQUEST)
    one["bytes"], other["bytes"], other["file_hi"] = range(4), range(10, 13), (1 << 64) - 1
    both = joined(one[::2], other)
    assert both["bytes"].tolist() == [0, 2, 10, 11, 12]
    assert both["file_hi"].tolist() == [0, 0, *[(1 << 64) - 1] * 3]
    assert len(joined(empty_bodies()["data_requests"], one[:0])) == 0
