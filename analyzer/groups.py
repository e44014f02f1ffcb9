"""Rows put together and looked up: columns of numbers in, columns of numbers out. Missing is below zero."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from analyzer.sessions.joins import NONE, Ints, in_order

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[Any]

_ROOM = 2**62


def combined(*columns: Numbers) -> Ints:
    """A number for each row: the same where all these columns are, and in the order of the first, then the second ..."""
    return _combined(columns, len(columns[0]))


def _combined(columns: Iterable[Numbers], length: int) -> Ints:
    """As `combined`; the columns may be made one by one, since rows are many."""
    found = np.zeros(length, dtype=np.int64)
    if not length:
        return found
    size = 1
    for column in columns:
        width = int(column.max()) + 2
        if size * width > _ROOM:
            different, found = np.unique(found, return_inverse=True)
            size = len(different)
        found *= width
        found += column
        found += 1
        size *= width
    return found


def ascending(values: Numbers) -> Numbers:
    """The different values in their order, as `np.unique` gives them, whose hash table takes far longer where they are many."""
    ordered = np.sort(values)
    is_new = np.ones(len(ordered), dtype=bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_new]


def places(wanted: Numbers, keys: Numbers) -> Ints:
    """For each wanted key the first row that has it; `NONE` if there is none, or the key is missing."""
    if not len(keys):
        return np.full(len(wanted), NONE, dtype=np.int64)
    if (keys[1:] >= keys[:-1]).all():  # as the tables have them
        if keys[-1] - keys[0] == len(keys) - 1 and (keys[1:] > keys[:-1]).all():  # one after the other
            at = wanted.astype(np.int64) - keys[0]
            return np.where((at >= 0) & (at < len(keys)) & (wanted >= 0), at, NONE)
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where((keys[at] == wanted) & (wanted >= 0), at, NONE)
    order = np.argsort(keys, kind="stable")
    found = places(wanted, keys[order])
    return np.where(found >= 0, order[found], NONE)


def places_of(wanted: Sequence[Numbers], keys: Sequence[Numbers]) -> Ints:
    """As `places`, for keys of several columns, in which what is missing is a value too."""
    size = len(keys[0])
    pairs = zip(keys, wanted, strict=True)
    both = _combined((np.append(key, column) for key, column in pairs), size + len(wanted[0]))
    return places(both[size:], both[:size])


def looked_up(values: Numbers, rows: Ints, missing: Any) -> Numbers:
    """`values[row]` for each row, `missing` where the row is `NONE`."""
    return np.append(values, np.array([missing], dtype=values.dtype))[rows]


def last_if_missing(values: Numbers) -> Ints:
    """As they are, but what is missing is larger than all others."""
    return np.where(values < 0, np.iinfo(np.int64).max, values)


class Groups:
    """Rows that have the same values in some columns: `number` of each row; `first` of each group the first row.

    They are numbered in the order of the first column, then the second ... All methods give one value a group.
    """

    def __init__(self, *columns: Numbers) -> None:
        key = combined(*columns)
        self._order = in_order(key)
        begins = np.ones(len(key), dtype=bool)
        begins[1:] = key[self._order[1:]] != key[self._order[:-1]]
        self._starts = np.flatnonzero(begins)
        self.first = self._order[self._starts]
        self.number = np.empty(len(key), dtype=np.int64)
        self.number[self._order] = np.cumsum(begins) - 1

    def __len__(self) -> int:
        return len(self._starts)

    def sizes(self) -> Ints:
        return np.diff(self._starts, append=len(self._order))

    def sums(self, values: Numbers) -> Ints:
        """Sums; what is missing counts for nothing."""
        return self._reduced(np.add, np.maximum(values.astype(np.int64), 0))

    def least(self, values: Numbers) -> Ints:
        """The least of those that are not missing."""
        found = self._reduced(np.minimum, last_if_missing(values))
        return np.where(found == np.iinfo(np.int64).max, NONE, found)

    def most(self, values: Numbers) -> Ints:
        return self._reduced(np.maximum, values)

    def different(self, values: Numbers) -> Ints:
        """How many different values there are, besides missing."""
        there = values >= 0
        width = int(values.max(initial=0)) + 1
        if len(self) * width > _ROOM:
            values = np.unique(values, return_inverse=True)[1]
            width = int(values.max(initial=0)) + 1
        pairs = ascending(self.number[there] * width + values[there])
        return np.bincount(pairs // width, minlength=len(self))

    def _reduced(self, operation: np.ufunc, values: Numbers) -> Ints:
        if not len(values):
            return np.empty(0, dtype=np.int64)
        found: Ints = operation.reduceat(values[self._order].astype(np.int64), self._starts)
        return found
