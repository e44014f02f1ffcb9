"""Uses, sessions and the rest as small tables, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analyzer import tables
from analyzer.attribution import attribute
from analyzer.attribution.rules import Rule
from analyzer.tables import APPLICATION_SOURCE, Columns, TableSet

TEXTS = ("site", "client_ip", "server_ip", "resource", "interface", "operation")
NUMBERS = ("session_key", "connection_id", "time")
SECOND = 1_000_000_000


def use(
    resource: str | None,
    interface: str | None = None,
    operation: str | None = None,
    *,
    session_key: int = 1,
    connection_id: int = 1,
    client_ip: str = "10.0.0.1",
    server_ip: str = "10.0.0.9",
    site: str = "",
    time: int = 100 * SECOND,
) -> dict[str, Any]:
    """A use, by the names of its columns."""
    return dict(locals())


def made(name: str, rows: Sequence[dict[str, Any]]) -> Any:
    """A table of rows; a column that a row does not have is missing there. Times are nanoseconds, 0 for none."""
    columns: dict[str, Any] = {key: [row.get(key) for row in rows] for key in {key for row in rows for key in row}}
    for column in tables.TABLES[name]:
        if column.kind == tables.TIME and column.name in columns:
            columns[column.name] = tables.times(np.array([time or 0 for time in columns[column.name]], dtype=np.int64))
    return tables.table(name, columns, len(rows))


def table_set(
    sessions: Sequence[dict[str, Any]] = (),
    connections: Sequence[dict[str, Any]] = (),
    hosts: Sequence[dict[str, Any]] = (),
) -> TableSet:
    """The tables that attribution looks into."""
    return TableSet(
        {
            name: made(name, rows)
            for name, rows in (("sessions", sessions), ("connections", connections), ("hosts", hosts))
        }
    )


def columns_of(uses: Sequence[dict[str, Any]], rows: TableSet) -> Columns:
    """Uses as columns of numbers."""
    return {
        **{
            name: np.array([-1 if it[name] is None else rows.texts.code(it[name]) for it in uses], dtype=np.int64)
            for name in TEXTS
        },
        **{name: np.array([it[name] for it in uses], dtype=np.int64) for name in NUMBERS},
    }


def noted(rows: TableSet, *notes: tuple[int, int, str, str]) -> Columns:
    """Notes of processes: connection, session, name, confidence."""
    return {
        "connection_id": np.array([note[0] for note in notes], dtype=np.int64),
        "session_key": np.array([note[1] for note in notes], dtype=np.int64),
        "process": np.array([rows.texts.code(note[2]) for note in notes], dtype=np.int64),
        "confidence": np.array([tables.CONFIDENCE.index(note[3]) for note in notes], dtype=np.int64),
    }


def attributed(
    uses: Sequence[dict[str, Any]], rows: TableSet, rules: Sequence[Rule] = (), processes: Columns | None = None
) -> list[dict[str, Any]]:
    """What `attribute` says of each use, in words."""
    found = attribute(columns_of(uses, rows), rows, rules, processes)
    assert all(len(column) == len(uses) for column in found.values())
    texts = rows.texts.text
    kinds = {"application_source": APPLICATION_SOURCE, "application_confidence": tables.CONFIDENCE}

    def word(name: str, value: Any) -> Any:
        if name == "excluded":
            return bool(value)
        if name in kinds:
            return kinds[name][value] if value >= 0 else None
        return texts(value)

    return [{name: word(name, column[place].item()) for name, column in found.items()} for place in range(len(uses))]
