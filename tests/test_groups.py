"""Rows put together and looked up. Expected values are worked out by hand or by Python's own dictionaries."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import pytest

from analyzer.groups import Groups, ascending, combined, last_if_missing, looked_up, places, places_of
from analyzer.sessions.joins import NONE

LARGE = 2**40
"""Three columns of numbers of this size do not fit 64 bits together."""


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_combined_numbers_are_the_same_where_all_columns_are_and_in_their_order() -> None:
    number = combined(ints(1, 0, 1, -1, 0), ints(5, 7, 5, 0, -1))
    assert number[0] == number[2]
    assert np.argsort(number, kind="stable").tolist() == [3, 4, 1, 0, 2]


def test_combined_columns_may_be_too_large_for_one_number() -> None:
    columns = [ints(LARGE, 0, LARGE, LARGE), ints(LARGE, 1, LARGE, 0), ints(LARGE, 2, LARGE, LARGE)]
    number = combined(*columns)
    assert number[0] == number[2]
    assert np.argsort(number, kind="stable").tolist() == [1, 3, 0, 2]


def test_nothing_is_combined_to_nothing() -> None:
    assert combined(ints(), ints()).tolist() == []
    assert len(Groups(ints(), ints())) == 0


def test_a_place_is_the_first_row_with_the_key() -> None:
    assert places(ints(7, 3, 4, NONE), ints(3, 7, 7, NONE)).tolist() == [1, 0, NONE, NONE]
    assert places(ints(7), ints()).tolist() == [NONE]
    assert places(ints(), ints(1)).tolist() == []


def test_in_keys_of_several_columns_missing_is_a_value() -> None:
    found = places_of((ints(1, 1, 2), ints(NONE, 0, 0)), (ints(1, 1), ints(0, NONE)))
    assert found.tolist() == [1, 0, NONE]


def test_looked_up_where_there_is_no_row() -> None:
    assert looked_up(ints(10, 20), ints(1, NONE, 0), 5).tolist() == [20, 5, 10]
    assert looked_up(np.array([True]), ints(NONE, 0), False).tolist() == [False, True]
    assert looked_up(ints(), ints(NONE), NONE).tolist() == [NONE]


def test_what_is_missing_comes_last() -> None:
    assert np.argsort(last_if_missing(ints(5, NONE, 0))).tolist() == [2, 0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_those_of_a_dictionary(seed: int) -> None:
    chance = random.Random(seed)
    rows = [(chance.randrange(-1, 4), chance.randrange(-1, 3), chance.randrange(-1, 6)) for _ in range(200)]
    expected: dict[tuple[int, int], list[int]] = defaultdict(list)
    for a, b, value in rows:
        expected[a, b].append(value)
    keys = sorted(expected)
    a, b, value = (ints(*column) for column in zip(*rows, strict=True))
    found = Groups(a, b)
    assert len(found) == len(keys)
    assert [keys[number] for number in found.number] == list(zip(a.tolist(), b.tolist(), strict=True))
    assert found.first.tolist() == [[row[:2] for row in rows].index(key) for key in keys]
    assert found.sizes().tolist() == [len(expected[key]) for key in keys]
    there = [[value for value in expected[key] if value >= 0] for key in keys]
    assert found.sums(value).tolist() == [sum(values) for values in there]
    assert found.least(value).tolist() == [min(values, default=NONE) for values in there]
    assert found.most(value).tolist() == [max(values, default=NONE) for values in there]
    assert found.different(value).tolist() == [len(set(values)) for values in there]


def test_keys_may_be_in_any_order() -> None:
    keys = [random.Random(1).randrange(-1, 50) for _ in range(80)]
    wanted = ints(*range(-1, 50))
    for order in (keys, sorted(keys)):
        expected = [order.index(key) if key >= 0 and key in order else NONE for key in wanted.tolist()]
        assert places(wanted, ints(*order)).tolist() == expected


def test_keys_that_follow_one_another() -> None:
    wanted = ints(NONE, 6, 7, 9, 10, LARGE)
    assert places(wanted, ints(7, 8, 9)).tolist() == [NONE, NONE, 0, 2, NONE, NONE]
    assert places(wanted, ints(7, 7, 9)).tolist() == [NONE, NONE, 0, 2, NONE, NONE]
    assert places(wanted, ints(NONE, 0, 1)).tolist() == [NONE] * 6


def test_different_values_may_be_large() -> None:
    groups = Groups(ints(1, 0, 1, 1, 0))
    assert groups.different(ints(2**61, NONE, 2**61, 2**61 - 1, NONE)).tolist() == [0, 2]
    assert groups.different(ints(2**62, 5, 2**62, 0, 6)).tolist() == [2, 2]


def test_different_values_in_their_order() -> None:
    assert ascending(ints(3, NONE, LARGE, 3, 0)).tolist() == [NONE, 0, 3, LARGE]
    assert ascending(ints()).tolist() == []
