"""The whole way on one page: capture files in, tables and summaries out."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzer import engines
from analyzer.capture.inputs import Input, find_captures
from analyzer.engines import Engine
from analyzer.errors import UsageError
from analyzer.sessions.reducer import Reduced, Reducer
from analyzer.wire.texts import Texts

if TYPE_CHECKING:
    import pandas as pd

PORTS = (445, 139)
DETAILS = ("default", "all")

Progress = Callable[[int, int | None], None]
"""Told now and then how many bytes of the files have been read, and of how many (None: not known)."""


@dataclass(slots=True)
class Analysis:
    """The outcome: each table and summary is a DataFrame; see `analyzer.tables.TABLES` for their columns."""

    captures: pd.DataFrame
    connections: pd.DataFrame
    sessions: pd.DataFrame
    channels: pd.DataFrame
    trees: pd.DataFrame
    pipe_opens: pd.DataFrame
    calls: pd.DataFrame
    credentialed_uses: pd.DataFrame
    disk_opens: pd.DataFrame
    hosts: pd.DataFrame
    problems: pd.DataFrame
    dependencies: pd.DataFrame
    clients: pd.DataFrame
    servers: pd.DataFrame
    pipes: pd.DataFrame
    timeline: pd.DataFrame
    coverage: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self, name: str) -> pd.DataFrame:
        """A table or summary by name. Raises UsageError if there is none of that name."""
        if name not in {*self.__dataclass_fields__} - {"settings"}:
            raise UsageError(f"no table is called {name!r}")
        found: pd.DataFrame = getattr(self, name)
        return found


def analyze(
    paths: str | Path | Sequence[str | Path],
    *,
    engine: str = "native",
    ports: Sequence[int] = PORTS,
    detail: str = "default",
    separate: bool = False,
    progress: Progress | None = None,
    announce: Callable[[str], None] = lambda message: None,
) -> Analysis:
    """Find the null-session dependencies in capture files.

    paths: files, folders (with all below them), patterns, or `-` for standard input; together one continuing capture.
    ports: TCP ports that carry SMB; other connections are looked at if their first payload begins like SMB.
    detail: `default` keeps a row for each open and call of sessions that are not proven to have credentials and counts
    the others; `all` keeps a row for each.
    separate: each folder is a site of its own: the same addresses in two folders are different machines.
    announce: told what a person should know, such as that a wait begins.

    Files that cannot be read (further) are reported in `captures.errors`; what could be read of them is in the result.
    Raises UsageError if a path leads nowhere or an argument makes no sense.
    """
    if detail not in DETAILS:
        raise UsageError(f"detail is one of {', '.join(DETAILS)}, not {detail!r}")
    if not ports or not all(0 < port < 65536 for port in ports):
        raise UsageError("ports are numbers from 1 to 65535")
    inputs = find_captures([str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)])
    reader = engines.make(engine, tuple(dict.fromkeys(ports)), announce)
    importing = _import_in_background()
    sites = _sites(inputs, separate)
    total = _size(inputs)
    reduced = {
        site: _reduce(reader, members, detail == "all", progress, total) for site, members in sites.items()
    }
    importing.join()
    settings = {"engine": engine, "ports": list(ports), "detail": detail, "separate": separate}
    return _assemble(reader, reduced, {item.capture: site for site, items in sites.items() for item in items}, settings)


def _sites(inputs: list[Input], separate: bool) -> dict[str, list[Input]]:
    sites: dict[str, list[Input]] = {}
    for item in inputs:
        sites.setdefault(item.site if separate else "", []).append(item)
    return sites


def _size(inputs: list[Input]) -> int | None:
    """Bytes to read, None if an input is a pipe."""
    paths = [Path(item.capture) for item in inputs]
    return sum(path.stat().st_size for path in paths) if all(path.is_file() for path in paths) else None


def _reduce(
    reader: Engine, inputs: list[Input], keep_all: bool, progress: Progress | None, total: int | None
) -> Reduced:
    reducer: Reducer | None = None
    for batch in reader.read(inputs):
        reducer = reducer or Reducer(batch.texts, keep_all=keep_all)
        reducer.feed(batch)
        if progress:
            progress(reader.consumed(), total)
    return (reducer or Reducer(Texts(), keep_all=keep_all)).finish()


def _import_in_background() -> threading.Thread:
    """pandas and Arrow take half a second to import; meanwhile the kernels run without the interpreter's lock."""
    thread = threading.Thread(target=importlib.import_module, args=("analyzer.assemble",), name="imports", daemon=True)
    thread.start()
    return thread


def _assemble(
    reader: Engine, reduced: dict[str, Reduced], site_of: dict[str, str], settings: dict[str, Any]
) -> Analysis:
    from analyzer import assemble, tables  # noqa: PLC0415 - imported in the background, see above
    from analyzer.summary import coverage, dependencies, overview  # noqa: PLC0415

    names = [file.capture for file in reader.files]
    keys_from = dict.fromkeys(("connections", "sessions", "trees", "pipe_opens", "calls", "session_no"), 0)
    parts = [assemble.site_tables(outcome, names, site, keys_from) for site, outcome in reduced.items()]
    rows = {name: tables.stacked(name, [part[name] for part in parts]) for name in tables.ROWS if name != "captures"}
    rows["captures"] = assemble.captures(reader.files, [site_of[name] for name in names])
    counts = reader.counts()
    for outcome in reduced.values():
        for name, value in outcome.counts.items():
            counts[name] = counts.get(name, 0) + value
    verdicts = dependencies.dependencies(rows)
    return Analysis(
        **rows,
        dependencies=verdicts,
        clients=overview.clients(rows, verdicts),
        servers=overview.servers(rows, verdicts),
        pipes=overview.pipes(rows),
        timeline=overview.timeline(rows),
        coverage=coverage.coverage(rows, counts),
        settings=settings,
    )
