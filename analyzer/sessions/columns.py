"""Rows as contiguous columns of 64-bit integers: what kernels and NumPy are both quick on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from analyzer.compiled import Ints, Table
from analyzer.records import MESSAGE, Rows

# The columns of messages, in the order of `MESSAGE`: rows of the table of their `Columns`. #

C_CONNECTION = 0
C_FROM_SERVER = 1
C_KIND = 2
C_PROTOCOL = 3
C_CAPTURE_NO = 4
C_FRAME = 5
C_TIME_NS = 6
C_PLACE = 7
C_MESSAGE = 8
C_POSITION = 9
C_KEY = 10
C_SESSION_ID = 11
C_TREE_ID = 12
C_STATUS = 13
C_FLAGS = 14
C_ORDER = 15


class Columns:
    """Named columns; `table` has a row for each of them. What is unsigned 64-bit elsewhere is the same bits here."""

    __slots__ = ("names", "table")

    def __init__(self, names: dict[str, int], table: Table) -> None:
        self.names = names
        self.table = table

    def __len__(self) -> int:
        return self.table.shape[1]

    def __getitem__(self, name: str) -> Ints:
        column: Ints = self.table[self.names[name]]
        return column

    def __setitem__(self, name: str, values: Any) -> None:
        self.table[self.names[name]] = values

    def take(self, places: npt.NDArray[np.int64]) -> Columns:
        """Some of the rows."""
        return Columns(self.names, self.table.take(places, axis=1))

    def followed_by(self, other: Columns) -> Columns:
        """These rows, then those of `other`, which has the same columns."""
        return Columns(self.names, np.concatenate([self.table, other.table], axis=1))


def empty(names: Iterable[str], count: int = 0, value: int = 0) -> Columns:
    """Columns of these names, with one value everywhere."""
    numbered = {name: row for row, name in enumerate(names)}
    return Columns(numbered, np.full((len(numbered), count), value, dtype=np.int64))


AT_ONCE = 256
"""Rows that become columns at once: the nearest cache holds them, and what they become."""
MESSAGE_COLUMNS = {name: row for row, name in enumerate(MESSAGE.names or ())}


def of_messages(waiting: Columns, new: Rows) -> Columns:
    """Messages (`MESSAGE`) behind those that wait."""
    table: Table = np.empty((len(MESSAGE_COLUMNS), len(waiting) + len(new)), dtype=np.int64)
    table[:, : len(waiting)] = waiting.table
    rows = np.ascontiguousarray(new).view(np.int64).reshape(len(new), len(MESSAGE_COLUMNS))
    columns = table[:, len(waiting) :]
    for first in range(0, len(rows), AT_ONCE):
        columns[:, first : first + AT_ONCE] = rows[first : first + AT_ONCE].T
    return Columns(MESSAGE_COLUMNS, table)
