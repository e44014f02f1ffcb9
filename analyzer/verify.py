"""Several engines on the same captures: where they agree, and each difference with its place.

In: paths and the names of engines. Out: `Verification`: agreement by table, and differences. Every engine makes the same
tables (`tables`); rows are the same row if they say the same place (file and frames), and are then compared column by column,
on those that both engines can know: what one cannot it declares itself (`gaps`), once.

Judging and pairing (`sessions`), the decoding of DCE/RPC (`rpc`) and the tables are the same code for all engines, so no
difference can show a fault of theirs. What further stages an engine shares with another one it says itself (`shared`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from analyzer import analysis as analyses
from analyzer import engines, tables
from analyzer.analysis import Analysis, Progress
from analyzer.engines import Chosen, Declared
from analyzer.errors import UsageError

SHARED_BY_ALL = ("sessions: judging and pairing", "rpc: DCE/RPC", "tables and summaries")

PLACES: dict[str, tuple[str, ...]] = {
    "connections": ("client_ip", "client_port", "server_ip", "server_port", "capture", "first_frame"),
    "sessions": ("capture", "frame", "answer_frame", "session_id"),
    "channels": ("capture", "frame"),
    "trees": ("capture", "frame", "answer_frame"),
    "pipe_opens": ("capture", "frame", "answer_frame"),
    "binds": ("capture", "frame", "answer_frame", "context_id"),
    "calls": ("capture", "frame", "answer_frame", "protocol", "opnum"),
    "referrals": ("client_ip", "server_ip", "named"),
}
"""What says which row it is."""
MEANT = {"session_key": "sessions", "connection_id": "connections"}
"""Numbers that each analysis gives as it goes, and the table whose rows they mean: compared is the place of that row ..."""
NUMBERED = ("session_no", "tree_key", "open_key", "bind_key", "call_key")
"""... and these are not, since they say no more than the session does."""
MOST_DIFFERENCES = 100_000
"""So many are kept; all are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two engines say different things of a row, or only one has it (`column` is empty then)."""

    table: str
    capture: str | None
    frame: int | None
    column: str
    engine: str
    value: str | None
    other: str
    other_value: str | None
    evidence: str | None
    """Of a session: the signs that led to its identity, by the first engine that has it."""


@dataclass(slots=True)
class Agreement:
    """A table of two engines."""

    table: str
    engine: str
    other: str
    rows: int = 0
    """Rows that both have ..."""
    equal: int = 0
    """... and that are equal in all columns that both can know."""
    only_engine: int = 0
    only_other: int = 0


@dataclass(slots=True)
class Verification:
    """The outcome. The first engine is compared with each of the others."""

    engines: tuple[str, ...]
    shared: dict[str, tuple[str, ...]]
    """Stages that an engine shares with the first one, besides those that all share."""
    gaps: dict[str, dict[str, str]]
    """What each engine cannot know: a table or `table.column`, and why."""
    limits: dict[str, tuple[str, ...]]
    """What else makes it differ, in sentences."""
    agreement: list[Agreement] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    count: int = 0
    """Differences in all."""
    errors: dict[str, list[str]] = field(default_factory=dict)
    """What each engine could not read."""

    def is_equal(self) -> bool:
        """True if no engine differs."""
        return self.count == 0


def verify(
    paths: str | Path | Sequence[str | Path],
    chosen: Sequence[Chosen] = engines.NAMES,
    *,
    ports: Sequence[int] = analyses.PORTS,
    progress: Progress | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> Verification:
    """Run engines over captures, with all rows kept, and compare what they find. See `analysis.analyze` for the options.

    Raises UsageError if there are not two engines, or one of them is not known; AnalyzerError if a program is missing that
    one needs.
    """
    engine_of: dict[str, Chosen] = {}
    for engine in chosen:
        name = engines.declared(engine).name
        before = engine_of.setdefault(name, engine)
        if before is not engine and not (isinstance(before, str) and isinstance(engine, str)):
            raise UsageError(f"two engines are called {name}: those that are compared have different names")
    if len(engine_of) < 2:
        raise UsageError(
            f"it takes two engines to compare, not {', '.join(engine_of) or 'none'}; there are {', '.join(engines.NAMES)}"
        )

    def read() -> Iterator[tuple[Declared, Analysis]]:
        for name, engine in engine_of.items():
            announce(f"Reading with {name} ...")
            yield (
                engines.declared(engine),
                analyses.analyze(paths, engine=engine, ports=ports, detail="all", progress=progress, announce=announce),
            )

    return compare(read())


def compare(readings: Iterable[tuple[Declared, Analysis]]) -> Verification:
    """The first of several analyses of the same captures, with all rows kept, and each of the others."""
    found = Verification((), {}, {}, {})
    first: dict[str, _Rows] = {}
    for one, analysis in readings:
        found.engines += (one.name,)
        found.shared[one.name], found.gaps[one.name], found.limits[one.name] = one.shared, one.gaps, one.limits
        found.errors[one.name] = [error for error in analysis.arrow("captures")["errors"].to_pylist() if error]
        rows = {table: _Rows(table, analysis) for table in PLACES}
        if not first:
            first = rows
            continue
        for table in PLACES:
            _compare(table, (found.engines[0], first[table]), (one.name, rows[table]), found)
    return found


class _Rows:
    """A table by the places of its rows; of rows that say the same place the first is 0, the next 1 ..."""

    def __init__(self, table: str, analysis: Analysis) -> None:
        found = analysis.arrow(table)
        columns = {name: _values(found[name]) for name in found.column_names}
        for name, target in MEANT.items():
            if name in columns and target != table:
                columns[name] = _meant(columns[name], target, analysis)
        self.columns = columns
        met: Counter[tuple[Any, ...]] = Counter()
        self.at: dict[tuple[Any, ...], int] = {}
        for row, place in enumerate(zip(*(columns[name] for name in PLACES[table]), strict=True)):
            self.at[*place, met[place]] = row
            met[place] += 1


def _values(column: pa.ChunkedArray) -> list[Any]:
    is_time = pa.types.is_timestamp(column.type)
    values: list[Any] = (column.cast(pa.int64()) if is_time else column).to_pylist()
    return values


def _meant(keys: list[Any], table: str, analysis: Analysis) -> list[Any]:
    """Keys of another table as the place of the row that they mean."""
    target = analysis.arrow(table)
    (key,) = [name for name, meant in MEANT.items() if meant == table]
    places = zip(*(target[name].to_pylist() for name in PLACES[table]), strict=True)
    place_of = dict(zip(target[key].to_pylist(), places, strict=True))
    return [None if one is None else place_of.get(one) for one in keys]


def _compare(table: str, one: tuple[str, _Rows], two: tuple[str, _Rows], found: Verification) -> None:
    (engine, mine), (other, theirs) = one, two
    outcome = Agreement(table, engine, other)
    found.agreement.append(outcome)
    gaps = found.gaps[engine].keys() | found.gaps[other].keys()
    if table in gaps:
        return
    names = [
        column.name
        for column in tables.TABLES[table]
        if f"{table}.{column.name}" not in gaps and MEANT.get(column.name) != table and column.name not in NUMBERED
    ]
    for place in sorted(mine.at.keys() | theirs.at.keys(), key=repr):
        a, b = mine.at.get(place), theirs.at.get(place)
        if a is None or b is None:
            outcome.only_engine += a is not None
            outcome.only_other += b is not None
            _note(
                found,
                table,
                engine,
                other,
                mine,
                theirs,
                a,
                b,
                "",
                None if a is None else "a row",
                None if b is None else "a row",
            )
            continue
        outcome.rows += 1
        differ = [name for name in names if mine.columns[name][a] != theirs.columns[name][b]]
        outcome.equal += not differ
        for name in differ:
            _note(found, table, engine, other, mine, theirs, a, b, name, mine.columns[name][a], theirs.columns[name][b])


def _note(
    found: Verification,
    table: str,
    engine: str,
    other: str,
    mine: _Rows,
    theirs: _Rows,
    a: int | None,
    b: int | None,
    column: str,
    value: Any,
    other_value: Any,
) -> None:
    found.count += 1
    if len(found.differences) >= MOST_DIFFERENCES:
        return
    rows, row = (mine, a) if a is not None else (theirs, b)

    def of(name: str) -> Any:
        return rows.columns[name][row] if row is not None and name in rows.columns else None

    frame = next((of(name) for name in ("frame", "answer_frame", "first_frame") if of(name) is not None), None)
    found.differences.append(
        Difference(
            table=table,
            capture=of("capture"),
            frame=frame,
            column=column,
            engine=engine,
            value=_said(value),
            other=other,
            other_value=_said(other_value),
            evidence=of("evidence"),
        )
    )


def _said(value: Any) -> str | None:
    return None if value is None else str(value)


def as_tables(found: Verification) -> Iterator[tuple[str, pa.Table]]:
    """The outcome as two tables, `agreement` and `differences`."""
    numbers = ("rows", "equal", "only_engine", "only_other")
    yield (
        "agreement",
        pa.table(
            {
                name: tables.listed([getattr(row, name) for row in found.agreement])
                for name in ("table", "engine", "other")
            }
            | {name: tables.ints(np.array([getattr(row, name) for row in found.agreement])) for name in numbers}
        ),
    )
    texts = ("column", "engine", "value", "other", "other_value", "evidence")
    differences = found.differences
    yield (
        "differences",
        pa.table(
            {name: tables.listed([getattr(row, name) for row in differences]) for name in ("table", "capture")}
            | {
                "frame": tables.ints(
                    np.array([-1 if row.frame is None else row.frame for row in differences], dtype=np.int64)
                )
            }
            | {name: tables.listed([getattr(row, name) for row in differences]) for name in texts}
        ),
    )
