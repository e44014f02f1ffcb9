"""The tables of several results, one result behind the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from analyzer import tables
from analyzer.errors import AnalyzerError
from analyzer.sessions.joins import NONE, Ints
from analyzer.tables import Columns, TableSet

KEYS = {
    "connection_id": "connections",
    "session_key": "sessions",
    "session_no": "sessions",
    "tree_key": "trees",
    "open_key": "pipe_opens",
    "bind_key": "binds",
    "call_key": "calls",
}
"""Key columns, and the table whose rows they number."""


class Stack:
    """The tables of all results, one result behind the other; `origin` of each row which result it is of.

    Keys are moved so that none is used twice. Raises AnalyzerError if a key names a row that is not there.
    """

    def __init__(self, parts: Sequence[dict[str, pa.Table]]) -> None:
        for part in parts:
            _check_keys(part)
        self.tables = {name: tables.stacked([part[name] for part in parts]) for name in tables.ROWS}
        self.origin = {
            name: np.repeat(np.arange(len(parts)), [len(part[name]) for part in parts]) for name in tables.ROWS
        }
        self.set = TableSet(self.tables)
        self._first = {key: _offsets([part[table] for part in parts], key) for key, table in KEYS.items()}

    def columns(self, name: str, *columns: str) -> Columns:
        found = self.set.columns(name, *columns)
        for key in KEYS.keys() & found.keys():
            moved = found[key] + self._first[key][self.origin[name]]
            found[key] = np.where(found[key] < 0, NONE, moved)
        return found


def _check_keys(part: dict[str, pa.Table]) -> None:
    """Results come from files, which may be damaged: what is a number of rows must not become one of bytes."""
    for name, table in part.items():
        for key in KEYS.keys() & set(table.column_names):
            largest = int(tables.filled(tables.one_array(table[key])).max(initial=NONE))
            if largest >= len(part[KEYS[key]]):
                raise AnalyzerError(f"results are damaged: {name}.{key} names row {largest}, which is not there")


def _offsets(parts: Sequence[pa.Table], key: str) -> Ints:
    """For each part what is added to its keys."""
    ends = [int(tables.filled(tables.one_array(part[key])).max(initial=NONE)) + 1 for part in parts]
    return np.cumsum([0, *ends[:-1]])
