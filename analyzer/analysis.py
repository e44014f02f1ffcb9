"""The whole way on one page: capture files in, tables and summaries out."""

from __future__ import annotations

import gc
import importlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzer import engines, memory
from analyzer.capture.inputs import Input, as_text, find_captures
from analyzer.engines import Chosen, Engine
from analyzer.errors import UsageError, no_such
from analyzer.names.gathering import Gathered
from analyzer.names.listed import Listed, read_list
from analyzer.sessions.reducer import Reduced, Reducer
from analyzer.wire.texts import Texts

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from analyzer.logs.join import LogFindings
    from analyzer.summary.coverage import Measure
    from analyzer.summary.judging import Judging

PORTS = (445, 139)
DETAILS = ("default", "all")
LARGE = 10_000_000
"""Bytes of files from which on the scan's buffers are worth the tenth of a second that finding them takes."""
GIVEN_BACK_AFTER = 4
"""Windows after which freed memory is given back to the system."""

MANY_ROWS = 10_000
SUMMARY = "summary.json"
"""The file of a folder of results that says what they are."""

Progress = Callable[[int, int | None], None]
"""Told now and then how many bytes of the files have been read, and of how many (None: not known)."""


Made = Callable[[str, "pa.Table"], None]
"""Told the name of a table and the table, in Arrow's form."""


def is_folder_of_results(path: str | Path) -> bool:
    """True for a folder that `results.save` has written to. Told here, since `results` brings Arrow."""
    return (Path(path) / SUMMARY).is_file()


class _Table:
    """An attribute of `Analysis`: the table of its name as a DataFrame, made when it is first asked for."""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = name

    def __get__(self, analysis: Analysis, owner: type[Any] | None = None) -> pd.DataFrame:
        return analysis.table(self.name)


class Analysis:
    """The outcome: each table and summary is a DataFrame; see `analyzer.tables.TABLES` for their columns."""

    captures = _Table()
    connections = _Table()
    sessions = _Table()
    channels = _Table()
    trees = _Table()
    pipe_opens = _Table()
    binds = _Table()
    calls = _Table()
    credentialed_uses = _Table()
    disk_opens = _Table()
    hosts = _Table()
    other_ways = _Table()
    referrals = _Table()
    problems = _Table()
    endpoint_processes = _Table()
    endpoint_unseen = _Table()
    dependencies = _Table()
    applications = _Table()
    clients = _Table()
    servers = _Table()
    pipes = _Table()
    timeline = _Table()
    observation = _Table()
    discovery = _Table()
    rare_uses = _Table()
    hints = _Table()
    coverage = _Table()

    def __init__(
        self,
        rows: dict[str, pa.Table],
        counts: dict[str, int],
        settings: dict[str, Any],
        judging: Judging | None = None,
        logged: Sequence[Measure] = (),
    ) -> None:
        self.settings = settings
        self.problems_of_logs: list[str] = []
        """What could not be read of endpoint and server logs, and where."""
        self.counts = counts
        """What engine and reducer counted, for `coverage`."""
        self.logged = logged
        """What logs add to `coverage`."""
        self.judging = judging
        """How uses are judged, where anything of that is set."""
        self._arrow = rows
        self._frames: dict[str, pd.DataFrame] = {}

    def arrow(self, name: str) -> pa.Table:
        """A table in the form in which it is kept: Arrow, texts as dictionaries. Raises UsageError if there is none.

        Summaries are made when they are first asked for.
        """
        from analyzer import tables  # noqa: PLC0415 - imported in the background, see below

        if name not in tables.TABLES:
            raise no_such("table", name, tables.TABLES)
        if name not in self._arrow:
            self._arrow[name] = self._summary(name)
            if len(self._arrow[name]) > MANY_ROWS:
                memory.give_back()
        return self._arrow[name]

    def _summary(self, name: str) -> pa.Table:
        from analyzer import tables  # noqa: PLC0415
        from analyzer.summary import coverage, dependencies, hints, observation, overview  # noqa: PLC0415
        from analyzer.summary.judging import Judging  # noqa: PLC0415

        if name in ("applications", "clients", "servers", "discovery", "rare_uses", "hints"):
            self.arrow("dependencies")
        rows = tables.TableSet(self._arrow)
        judging = self.judging or Judging()
        if name == "coverage":
            return coverage.coverage(rows, self.counts, self.logged)
        if name == "dependencies":
            return dependencies.dependencies(rows, judging.rules, judging.zone, self.counts)
        if name == "observation":
            return observation.observation(rows, judging.minimum)
        if name == "discovery":
            return observation.discovery(rows, judging.zone)
        make = {
            "rare_uses": observation.rare_uses,
            "hints": hints.hints,
            "applications": overview.applications,
            "clients": overview.clients,
            "servers": overview.servers,
            "pipes": overview.pipes,
            "timeline": overview.timeline,
        }
        return make[name](rows)

    def table(self, name: str) -> pd.DataFrame:
        """A table or summary by name. Raises UsageError if there is none of that name."""
        from analyzer import tables  # noqa: PLC0415 - imported in the background, see below

        if name not in self._frames:
            self._frames[name] = tables.to_pandas(name, self.arrow(name))
        return self._frames[name]


def analyze(
    paths: str | Path | Sequence[str | Path],
    *,
    engine: Chosen = "native",
    ports: Sequence[int] = PORTS,
    detail: str = "default",
    separate: bool = False,
    hosts: str | Path | None = None,
    applications: str | Path | None = None,
    scanners: str | Path | None = None,
    timezone: str = "UTC",
    minimum: str = "",
    endpoint_logs: str | Path | Sequence[str | Path] = (),
    progress: Progress | None = None,
    announce: Callable[[str], None] = lambda _: None,
    made: Made = lambda _name, _table: None,
) -> Analysis:
    """Find the null-session dependencies in capture files.

    paths: files, folders (with all below them), patterns, or `-` for standard input; together one continuing capture.
    engine: what decodes: `native`, `tshark`, `scapy`, an `engines.Engine` (which serves one analysis), or a class of such.
    ports: TCP ports that carry SMB; other connections are looked at if their first payload begins like SMB.
    detail: `default` keeps a row for each open and call of sessions that are not proven to have credentials and counts
    the others; `all` keeps a row for each.
    separate: each folder is a site of its own: the same addresses in two folders are different machines.
    hosts: a file with the names of addresses, which count for more than any in the captures: CSV (`address,name`) or the
    format of a hosts file.
    applications: a file with rules that say which application a use belongs to, whose it is, and which clients are scanners
    (TOML; see the README). scanners: a list of clients that do not count, a line each: address, network or name.
    timezone: of days and hours in summaries, such as `Europe/Berlin`.
    minimum: how much must have been observed of a server (`days=7,lost=1,unknown=10`; the last two are percentages).
    endpoint_logs: logs of clients and servers, which name processes and show logins that no capture does: Windows events
    (.evtx, or exported as XML, JSON or CSV), Samba's audit of logins, or lists of connections (CSV).
    announce: told what a person should know, such as that a wait begins.
    made: told of tables of rows (none of what logs tell) as soon as they are complete, so that they may be written then.

    Files that cannot be read (further) are reported in `captures.errors`; what could be read of them is in the result.
    Raises UsageError if a path leads nowhere or an argument makes no sense.
    """
    if detail not in DETAILS:
        raise UsageError(f"detail is one of {', '.join(DETAILS)}, not {detail!r}")
    if not ports or not all(0 < port < 65536 for port in ports):
        wrong = next((port for port in ports if not 0 < port < 65536), "none")
        raise UsageError(f"port {wrong}: ports are numbers from 1 to 65535")
    listed = read_list(hosts) if hosts is not None else {}
    judging = _judging(applications, scanners, timezone, minimum)
    logged = [Path(path) for path in ([endpoint_logs] if isinstance(endpoint_logs, str | Path) else endpoint_logs)]
    for path in logged:
        if not path.is_file():
            raise UsageError(f"{as_text(str(path))}: no such file")
    inputs = find_captures([str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)])
    reader = engines.make(engine, tuple(dict.fromkeys(ports)), announce)
    importing = _import_in_background()
    sites = _sites(inputs, separate)
    total = _size(inputs)
    parts = {}
    for site, members in sites.items():
        parts[site] = (members, *_reduce(reader, members, detail == "all", progress, total))
    importing.join()
    if reader.consumed() > LARGE:
        gc.collect()  # generators and threads of the scan hold its buffers in cycles
        memory.give_back()
    settings: dict[str, Any] = {
        "engine": engines.declared(engine).name,
        "ports": list(ports),
        "detail": detail,
        "separate": separate,
        "hosts": len(listed),
    }
    settings["endpoint_logs"] = len(logged)
    settings |= {"applications": 0, "scanners": 0, "timezone": timezone, "minimum": minimum}
    if judging is not None:
        settings |= judging.settings()
    rows, counts = _tables(reader, parts, listed, made)
    if not logged:
        return Analysis(rows, counts, settings, judging)
    findings, problems = _join_logs(logged, ports, rows)
    rows |= {"endpoint_processes": findings.processes, "endpoint_unseen": findings.unseen}
    analysis = Analysis(rows, counts, settings, judging, findings.coverage())
    analysis.problems_of_logs = problems
    return analysis


def _judging(
    applications: str | Path | None, scanners: str | Path | None, timezone: str, minimum: str
) -> Judging | None:
    """None where nothing is set: what it takes brings Arrow, which is imported in the background."""
    if applications is None and scanners is None and timezone == "UTC" and not minimum:
        return None
    from analyzer.summary.judging import judging  # noqa: PLC0415

    return judging(applications, scanners, timezone, minimum)


def _join_logs(paths: list[Path], ports: Sequence[int], rows: dict[str, pa.Table]) -> tuple[LogFindings, list[str]]:
    """What logs say beside the captures; and what could not be read of them."""
    from analyzer import tables  # noqa: PLC0415 - imported in the background, see below
    from analyzer.logs.join import join  # noqa: PLC0415 - brings the readers of logs
    from analyzer.logs.read import read_logs  # noqa: PLC0415

    captured = tables.TableSet(rows)
    used = captured.columns("connections", "server_port")["server_port"]
    logs = read_logs(paths, ports={*ports, *used.tolist()})
    return join(logs, captured), [str(problem) for file in logs.files for problem in file.problems]


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
) -> tuple[Reduced, Gathered]:
    reducer: Reducer | None = None
    gathered = Gathered()
    for number, batch in enumerate(reader.read(inputs), 1):
        reducer = reducer or Reducer(batch.texts, keep_all=keep_all, form=reader.kernels)
        reducer.feed(batch)
        gathered.take(batch)
        if number % GIVEN_BACK_AFTER == 0:
            memory.give_back()  # what grows leaves holes behind
        if progress:
            progress(reader.consumed(), total)
    reducer = reducer or Reducer(Texts(), keep_all=keep_all)
    logins = reducer.end()
    if len(logins):
        for told in reader.reread(logins):
            reducer.reveal(told)
    reader.forget()
    return reducer.finish(), gathered


def _import_in_background() -> threading.Thread:
    """Arrow takes a quarter of a second to import; meanwhile the kernels run without the interpreter's lock."""
    thread = threading.Thread(target=importlib.import_module, args=("analyzer.assemble",), name="imports", daemon=True)
    thread.start()
    return thread


def _tables(
    reader: Engine, parts: dict[str, tuple[list[Input], Reduced, Gathered]], listed: Listed, tell: Made
) -> tuple[dict[str, pa.Table], dict[str, int]]:
    """All tables, and what was counted. The columns of numbers that they are made of are let go on the way."""
    from analyzer import assemble, hosts, tables  # noqa: PLC0415 - imported in the background, see above

    site_of = {item.capture: site for site, (members, _, _) in parts.items() for item in members}
    sites = [site_of[file.capture] for file in reader.files]
    files = [
        replace(file, capture=as_text(file.capture), errors=[as_text(error) for error in file.errors])
        for file in reader.files
    ]
    names = [file.capture for file in files]
    counts = reader.counts()
    keys_from = dict.fromkeys(("connections", "sessions", "trees", "pipe_opens", "binds", "calls", "session_no"), 0)
    found = {"captures": assemble.captures(files, sites)} | {name: tables.empty(name) for name in tables.LOGGED}
    tell("captures", found["captures"])
    is_all = len(parts) == 1  # so that a site's tables are complete
    made = []
    for site in list(parts):
        _, reduced, gathered = parts.pop(site)
        for name, value in reduced.counts.items():
            counts[name] = counts.get(name, 0) + value
        of_site = [file for file, its_site in zip(files, sites, strict=True) if its_site == site]
        part = {}
        for name, table in assemble.site_tables(reduced, names, site, of_site, keys_from):
            part[name] = table
            if is_all:
                tell(name, table)
        del reduced
        captured = [entry for file in of_site for entry in file.names]
        found_hosts = hosts.find_hosts(tables.TableSet(part), site, gathered, listed, captured)
        for name, value in found_hosts.counts.items():
            counts[name] = counts.get(name, 0) + value
        ways = assemble.other_ways(gathered.ways, part["connections"], site)
        made.append(part | {"hosts": found_hosts.table, "other_ways": ways})
        del gathered
    return found | {
        name: tables.stacked([part[name] for part in made]) for name in tables.ROWS if name not in found
    }, counts
