"""Joins of columns: what the reducer is made of. All keys are 64-bit integers."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[Any]

NONE = -1
_SEED = np.uint64(secrets.randbits(64))
"""Makes the hashes of a run unpredictable: a capture could else be made whose sessions collide."""


def mixed(*columns: npt.NDArray[np.generic]) -> Keys:
    """A 64-bit hash of several columns, another one in every run."""
    value = np.full(len(columns[0]), _SEED)
    for column in columns:
        value ^= column.astype(np.int64).view(np.uint64) if column.dtype.kind != "u" else column.astype(np.uint64)
        value ^= value >> np.uint64(31)
        value *= np.uint64(0x7FB5D329728EA185)
        value ^= value >> np.uint64(27)
        value *= np.uint64(0x81DADEF4BC2DD44D)
        value ^= value >> np.uint64(33)
    return value


def as_of(keys: npt.NDArray[np.generic], orders: Ints, known_keys: npt.NDArray[np.generic], known_orders: Ints) -> Ints:
    """For each (key, order) the place of the last known row with that key and a smaller order; `NONE` if there is none."""
    found = np.full(len(keys), NONE, dtype=np.int64)
    if not len(keys) or not len(known_keys):
        return found
    both_keys = np.concatenate([known_keys, keys])
    both_orders = np.concatenate([known_orders, orders])
    is_asked = np.arange(len(both_keys)) >= len(known_keys)
    sequence = np.lexsort((~is_asked, both_orders, both_keys))
    last_known = np.maximum.accumulate(np.where(is_asked[sequence], -1, np.arange(len(sequence))))
    asked = np.flatnonzero(is_asked[sequence] & (last_known >= 0))
    giver = sequence[last_known[asked]]
    taker = sequence[asked]
    same = both_keys[giver] == both_keys[taker]
    found[taker[same] - len(known_keys)] = giver[same]
    return found


class Growing:
    """A structured array that grows at its end."""

    def __init__(self, record: np.dtype[np.void]) -> None:
        self._room: Rows = np.zeros(256, dtype=record)
        self._size = 0

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
            room = np.zeros(max(size, len(self._room) * 3 // 2), dtype=self._room.dtype)
            room[: self._size] = self.rows
            self._room = room
        self._room[self._size : size] = rows
        places = np.arange(self._size, size)
        self._size = size
        return places
