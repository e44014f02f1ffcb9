"""Joins of columns: what the reducer is made of. All keys are 64-bit integers."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
import numpy.typing as npt

from analyzer.compiled import Ints, Table
from analyzer.records import Rows
from analyzer.sessions.lookup import NONE

Keys = npt.NDArray[np.uint64]
__all__ = [
    "NONE",
    "Growing",
    "GrowingTable",
    "Ints",
    "Keys",
    "Rows",
    "as_bytes",
    "as_of",
    "first_of",
    "in_order",
    "is_in",
    "joined",
    "mixed",
    "nones",
    "one_of",
    "places_of",
]

_ROOM = 2**62
_SEED = np.uint64(secrets.randbits(64))
"""Makes the hashes of a run unpredictable: a capture could else be made whose sessions collide."""


def mixed(*columns: npt.NDArray[np.generic]) -> Keys:
    """A 64-bit hash of several columns, another one in every run."""
    value = np.full(len(columns[0]), _SEED)
    for column in columns:
        value ^= column.astype(np.int64 if column.dtype.kind != "u" else np.uint64, copy=False).view(np.uint64)
        value ^= value >> np.uint64(31)
        value *= np.uint64(0x7FB5D329728EA185)
        value ^= value >> np.uint64(27)
        value *= np.uint64(0x81DADEF4BC2DD44D)
        value ^= value >> np.uint64(33)
    return value


def as_of(keys: npt.NDArray[np.generic], orders: Ints, known_keys: npt.NDArray[np.generic], known_orders: Ints) -> Ints:
    """For each (key, order) the place of the last known row with that key and a smaller order; `NONE` if there is none."""
    found = nones(len(keys))
    if not len(keys) or not len(known_keys):
        return found
    both_keys = np.concatenate([known_keys, keys])
    both_orders = np.concatenate([known_orders, orders])
    is_asked = np.arange(len(both_keys)) >= len(known_keys)
    sequence = _by_key_and_order(both_keys, both_orders, is_asked)
    last_known = np.maximum.accumulate(np.where(is_asked[sequence], -1, np.arange(len(sequence))))
    asked = places_of(is_asked[sequence] & (last_known >= 0))
    giver = sequence[last_known[asked]]
    taker = sequence[asked]
    same = both_keys[giver] == both_keys[taker]
    found[taker[same] - len(known_keys)] = giver[same]
    return found


def _by_key_and_order(keys: npt.NDArray[np.generic], orders: Ints, is_asked: npt.NDArray[np.bool_]) -> Ints:
    """Places in order of key, then order; those that are asked for come before known ones of the same order."""
    first = int(orders.min())
    width = 2 * (int(orders.max()) - first + 1)
    if int(keys.min()) >= 0 and (int(keys.max()) + 1) * width < _ROOM:  # then one sort does it instead of three
        return in_order(keys.astype(np.int64) * width + 2 * (orders - first) + ~is_asked)
    return np.lexsort((~is_asked, orders, keys))


def in_order(keys: Ints) -> Ints:
    """Places in order of the keys, of equal ones in order of the places.

    With the place in its low bits a key is a number like no other, and NumPy sorts plain numbers many times faster than
    places by what stands there.
    """
    bits = len(keys).bit_length()
    if not len(keys) or int(keys.min()) < 0 or int(keys.max()) >= _ROOM >> bits:
        return np.argsort(keys, kind="stable")
    packed = (keys << bits) | np.arange(len(keys))
    packed.sort()
    packed &= (1 << bits) - 1
    return packed


def places_of(mask: npt.NDArray[np.bool_]) -> Ints:
    """Where a mask is true."""
    return mask.nonzero()[0]


def nones(count: int) -> Ints:
    """So many times `NONE`."""
    made = np.empty(count, dtype=np.int64)
    made.fill(NONE)
    return made


def first_of(*cases: tuple[npt.NDArray[np.bool_], int], default: int) -> Ints:
    """The value of the first case that holds."""
    found = np.empty(len(cases[0][0]), dtype=np.int64)
    found.fill(default)
    for holds, value in reversed(cases):
        found[holds] = value
    return found


def is_in(values: npt.NDArray[np.generic], known: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """True where a value is one of those in `known`, which are sorted."""
    if not len(known):
        return np.zeros(len(values), dtype=bool)
    found: npt.NDArray[np.bool_] = known.take(known.searchsorted(values), mode="clip") == values
    return found


def one_of(values: npt.NDArray[np.generic], few: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """True where a value is one of a few."""
    found = np.zeros(len(values), dtype=bool)
    for one in few:
        found |= values == one
    return found


LARGE = 1024 * 1024


def _more_room(table: npt.NDArray[Any]) -> int:
    """How many rows to make room for. Zeros that nobody has touched take no memory, and for a copy both are there."""
    return len(table) * 4 if table.nbytes > LARGE else max(256, len(table) * 2)


class Growing:
    """A structured array that grows at its end."""

    def __init__(self, record: np.dtype[Any], rows: Rows | None = None) -> None:
        """rows: those that are there already, which are not copied."""
        self._room: Rows = np.zeros(256, dtype=record) if rows is None else rows
        self._size = 0 if rows is None else len(rows)

    def __len__(self) -> int:
        return self._size

    @property
    def rows(self) -> Rows:
        """The rows so far; writing to them changes them. Not to be kept while more are added."""
        return self._room[: self._size]

    def add(self, rows: Rows) -> Ints:
        """Append rows; returns their places."""
        size = self._size + len(rows)
        if size > len(self._room):
            room = np.zeros(max(size, _more_room(self._room)), dtype=self._room.dtype)
            as_bytes(room)[: self._size] = as_bytes(self._room)[: self._size]
            self._room = room
        as_bytes(self._room)[self._size : size] = as_bytes(np.ascontiguousarray(rows, dtype=self._room.dtype))
        places = np.arange(self._size, size)
        self._size = size
        return places

    def set_first_fields(self, places: Ints, values: Rows) -> None:
        """Set the fields that come first in these rows to those of `values`, which are the same."""
        values = np.ascontiguousarray(values)
        as_bytes(self._room)[places, : values.dtype.itemsize] = as_bytes(values)


def as_bytes(rows: Rows) -> npt.NDArray[np.uint8]:
    """Rows as bytes, a row each.

    NumPy copies structured arrays field by field: a few rows picked with brackets, or two tables joined, take twenty times
    as long as with `take` and `compress`, or as bytes.
    """
    return rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)


def joined(one: Rows, other: Rows) -> Rows:
    """Rows behind others of the same kind."""
    both = np.empty(len(one) + len(other), dtype=one.dtype)
    as_bytes(both)[: len(one)] = as_bytes(np.ascontiguousarray(one))
    as_bytes(both)[len(one) :] = as_bytes(np.ascontiguousarray(other))
    return both


class GrowingTable:
    """A table of 64-bit integers that grows at its end."""

    def __init__(self, width: int) -> None:
        self.table: Table = np.zeros((256, width), dtype=np.int64)
        """All rows and the room for more: for kernels."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def rows(self) -> Table:
        """The rows so far."""
        rows: Table = self.table[: self._size]
        return rows

    def add(self, count: int, value: int = 0) -> Table:
        """Append rows that hold `value` everywhere; returns them, to be filled. Not to be kept."""
        size = self._size + count
        if size > len(self.table):
            table = np.zeros((max(size, _more_room(self.table)), self.table.shape[1]), dtype=np.int64)
            table[: self._size] = self.rows
            self.table = table
        new: Table = self.table[self._size : size]
        new[:] = value
        self._size = size
        return new

    def as_rows(self, record: np.dtype[np.void]) -> Rows:
        """The rows as a structured array, whose fields are the first columns."""
        made = np.zeros(len(self), dtype=record)
        for column, name in enumerate(record.names or ()):
            made[name] = self.rows[:, column]
        return made
