"""The command line: parses, calls, prints. Results on standard output, talk on standard error.

Exit status: 0 done; 1 done, and engines differ (`verify`); 2 wrong usage; 3 some input unreadable, the rest reported;
4 nothing usable, or a needed program is missing; 130 interrupted.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analyzer import __version__, engines
from analyzer.errors import AnalyzerError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from analyzer.analysis import Analysis, Progress

DONE, DIFFERENT, WRONG_USAGE, PARTLY_READ, NOTHING_USABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130
MOST_ROWS = 1000
READER_GONE = 141
"""128 and SIGPIPE: what a shell makes of a program that is ended by writing to a closed pipe."""

app = typer.Typer(
    help="Find out, from packet captures, which clients and applications depend on SMB null sessions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class Format(StrEnum):
    """What goes to standard output."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Detail(StrEnum):
    """How many rows are kept."""

    DEFAULT = "default"
    ALL = "all"


def run() -> None:
    """The entry point: turns errors and interrupts into one line and an exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Captures hold names that not every terminal or redirected output has the characters for.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        # typer catches what ends a command, Ctrl-C too, and returns its status.
        status = app(standalone_mode=False) or DONE
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except UsageError as problem:
        _say(str(problem))
        status = WRONG_USAGE
    except AnalyzerError as problem:
        _say(str(problem))
        status = NOTHING_USABLE
    except (BrokenPipeError, SystemExit) as stop:
        # rich and typer make SystemExit(1) of a closed pipe, and 1 says that a difference was found.
        if isinstance(stop, SystemExit) and not isinstance(stop.__context__, BrokenPipeError):
            raise
        _drop_output()
        status = READER_GONE
    except OSError as problem:
        if problem.filename is None:
            _drop_output()
        _say(f"{problem.filename or 'standard output'}: {problem.strerror or problem}")
        status = NOTHING_USABLE
    except Exception as problem:
        # What typer's parser raises carries its own message and status. Without a message it has shown the help.
        if not hasattr(problem, "format_message"):
            raise
        if message := problem.format_message():
            _say(message)
        status = getattr(problem, "exit_code", WRONG_USAGE)
    if status == INTERRUPTED:
        _say("interrupted")
    sys.exit(status)


def _say(message: str) -> None:
    """A line on standard error. What could steer a terminal is spelt out: names of files may hold anything."""
    spelt = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in message)
    print(f"nullsession: {spelt}", file=sys.stderr)


def _drop_output() -> None:
    """What is left for standard output goes nowhere: Python would complain once more when it flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version(asked: bool) -> None:
    if asked:
        print(f"nullsession {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    del version


Paths = Annotated[
    list[str], typer.Argument(metavar="PATH...", help="Files, folders, patterns, or - for standard input.")
]
EngineName = Annotated[str, typer.Option(help=f"What decodes: {', '.join(engines.NAMES)}.")]
Ports = Annotated[list[int] | None, typer.Option(metavar="N", help="TCP port that carries SMB, besides 445 and 139.")]
Kept = Annotated[Detail, typer.Option(help="Rows kept of sessions with credentials: counts, or all.")]
Printed = Annotated[Format, typer.Option("--format", help="What to print.")]
Hosts = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Names of addresses: CSV (address,name) or the format of a hosts file."),
]
Applications = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Your own rules: which application a use belongs to, who scans (TOML)."),
]
Logs = Annotated[
    list[Path] | None,
    typer.Option(
        "--endpoint-log",
        metavar="FILE",
        help="Log of a client or server (may be given several times): Windows events (.evtx, XML, JSON, CSV), Samba's audit, "
        "or CSV with time, source_ip, source_port, destination_ip, destination_port, process, user.",
    ),
]
Separate = Annotated[bool, typer.Option("--separate", help="Each folder is a site of its own.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no report; errors only.")]


@app.command()
def analyze(
    paths: Paths,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Write all tables to this folder.")
    ] = None,
    engine: EngineName = "native",
    port: Ports = None,
    detail: Kept = Detail.DEFAULT,
    format_: Printed = Format.TABLE,
    hosts: Hosts = None,
    applications: Applications = None,
    endpoint_log: Logs = None,
    separate: Separate = False,
    quiet: Quiet = False,
) -> None:
    """Who depends on null sessions, on which server, for what."""
    if output:
        _check_folder(output)
    further = {"hosts": hosts, "applications": applications, "endpoint_logs": endpoint_log or (), "separate": separate}
    analysis = _analyze(paths, quiet, engine, port, detail, **further)
    if output:
        from analyzer import results  # noqa: PLC0415

        results.save(analysis, output)
    if not quiet:
        _print(analysis, format_)
    raise typer.Exit(_exit_status(analysis))


@app.command("tables")
def print_table(
    table: Annotated[str, typer.Argument(metavar="NAME", help="A table, or `list` for all their names and columns.")],
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH...", help="Files, folders, patterns, or - for standard input.")
    ] = None,
    columns: Annotated[str | None, typer.Option(metavar="A,B,...", help="Only these columns, in this order.")] = None,
    rows: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Print so many rows; 0: all. Usually all, in a terminal 1,000."),
    ] = None,
    engine: EngineName = "native",
    port: Ports = None,
    detail: Kept = Detail.DEFAULT,
    format_: Printed = Format.TABLE,
    hosts: Hosts = None,
    applications: Applications = None,
    endpoint_log: Logs = None,
    separate: Separate = False,
) -> None:
    """One table on its own: calls, binds, sessions, hosts, dependencies ..."""
    from analyzer import tables  # noqa: PLC0415 - Arrow; not needed for help

    if table == "list":
        from analyzer.report import listing  # noqa: PLC0415

        listing.describe(_console())
        return
    if table not in tables.TABLES:
        raise UsageError(f"no table is called {table!r}; there are {', '.join(tables.TABLES)}")
    wanted = [column.strip() for column in columns.split(",")] if columns else []
    known = [column.name for column in tables.TABLES[table]]
    if unknown := [column for column in wanted if column not in known]:
        raise UsageError(f"table {table} has no column {', '.join(unknown)}; it has {', '.join(known)}")
    if not paths:
        raise UsageError(f"which captures? nullsession tables {table} PATH...")
    further = {"hosts": hosts, "applications": applications, "endpoint_logs": endpoint_log or (), "separate": separate}
    analysis = _analyze(paths, False, engine, port, detail, **further)
    found = analysis.arrow(table).select(wanted or known)
    if rows is None and format_ is Format.TABLE:
        rows = MOST_ROWS
    left_out = max(0, len(found) - rows) if rows else 0
    found = found.slice(0, len(found) - left_out)
    if format_ is Format.TABLE:
        from analyzer.report import listing  # noqa: PLC0415

        listing.render(found, _console(), left_out)
    elif format_ is Format.CSV:
        from analyzer import results  # noqa: PLC0415

        results.write_csv(found, sys.stdout.buffer)
    else:
        frame = tables.to_pandas(table, found)
        print(frame.to_json(orient="records", date_format="iso", date_unit="ns", indent=2))
    raise typer.Exit(_exit_status(analysis))


@app.command()
def verify(
    paths: Paths,
    engines_: Annotated[
        str, typer.Option("--engines", metavar="A,B,...", help="Engines to compare; the first with each of the others.")
    ] = ",".join(engines.NAMES),
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Write agreement and differences as CSV.")
    ] = None,
    port: Ports = None,
    quiet: Quiet = False,
) -> None:
    """Have the same captures decoded by several engines, and compare what they find.

    Ends with 1 if they differ.
    """
    from analyzer import analysis as analyses  # noqa: PLC0415 - NumPy; not needed for help
    from analyzer import results  # noqa: PLC0415
    from analyzer import verify as verifying  # noqa: PLC0415

    if output:
        _check_folder(output)
    _keep_memory_small()
    with _progress(quiet) as progress:
        found = verifying.verify(
            paths,
            [name.strip() for name in engines_.split(",")],
            ports=(*analyses.PORTS, *(port or ())),
            progress=progress,
            announce=(lambda _: None) if quiet else _announce,
        )
    if output:
        for name, rows in verifying.as_tables(found):
            results.write_csv(rows, output / f"{name}.csv")
    if not quiet:
        from analyzer.report import agreement  # noqa: PLC0415

        agreement.render(found, _console())
    errors = list(dict.fromkeys(error for told in found.errors.values() for error in told))
    for error in errors:
        _say(error)
    raise typer.Exit(PARTLY_READ if errors else DONE if found.is_equal() else DIFFERENT)


def _analyze(
    paths: list[str], quiet: bool, engine: str, port: list[int] | None, detail: Detail, **further: Any
) -> Analysis:
    """The analysis that the options ask for, with progress on standard error. further: other options of `analyze`."""
    from analyzer import analysis as analyses  # noqa: PLC0415 - NumPy; not needed for help

    _keep_memory_small()
    with _progress(quiet) as progress:
        return analyses.analyze(
            paths,
            engine=engine,
            ports=(*analyses.PORTS, *(port or ())),
            detail=detail.value,
            progress=progress,
            announce=(lambda _: None) if quiet else _announce,
            **further,
        )


def _check_folder(directory: Path) -> None:
    """Make the folder of results, before hours of work go into them. Raises AnalyzerError if it takes no files."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as problem:
        raise AnalyzerError(f"{directory}: results cannot be written: {problem.strerror}") from problem


def _keep_memory_small() -> None:
    from analyzer import memory  # noqa: PLC0415

    memory.keep_small()
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow's own keeps what it has


def _announce(message: str) -> None:
    print(message, file=sys.stderr)


def _print(analysis: Analysis, format_: Format) -> None:
    if format_ is Format.TABLE:
        from analyzer.report import terminal  # noqa: PLC0415

        terminal.render(analysis, _console())
        return
    from analyzer import results  # noqa: PLC0415

    if format_ is Format.CSV:
        results.write_csv(analysis.arrow("dependencies"), sys.stdout.buffer)
        return
    rows = json.loads(analysis.dependencies.to_json(orient="records", date_format="iso", date_unit="us"))
    print(json.dumps({"summary": results.summary(analysis), "dependencies": rows}, indent=2))


def _console() -> Console:
    """Standard output. Where it is no terminal, lines are wide."""
    from rich.console import Console  # noqa: PLC0415

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=160)
    return console


def _exit_status(analysis: Analysis) -> int:
    """Files with errors are told on standard error as well; the report tells them too."""
    captures = analysis.arrow("captures")
    errors = [error for error in captures["errors"].to_pylist() if error is not None]
    for error in errors + analysis.problems_of_logs:
        _say(error)
    if not errors:
        return PARTLY_READ if analysis.problems_of_logs else DONE
    return PARTLY_READ if sum(captures["packets"].to_pylist()) else NOTHING_USABLE


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress | None]:
    """Bytes, rate and time left on standard error, if a person is there to read it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn  # noqa: PLC0415

    with Progress(
        BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task("reading", total=None)

        def tell(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield tell


@app.command()
def doctor(
    compile_: Annotated[
        bool, typer.Option("--compile", help="Compile the scanner now, so that no analysis has to wait.")
    ] = False,
) -> None:
    """What is installed, and what each engine needs."""
    from analyzer import compiled  # noqa: PLC0415

    print(f"nullsession {__version__}")
    print(f"Python {sys.version.split()[0]} on {sys.platform}")
    for line in _versions():
        print(line)
    if compile_:
        begun = time.monotonic()
        was_warm = compiled.cache_is_warm()
        compiled.compiled_kernels()
        print(
            "kernels: were compiled already" if was_warm else f"kernels: compiled in {time.monotonic() - begun:.0f} s"
        )
    state = "ready" if compiled.cache_is_warm() else "empty; `nullsession doctor --compile` fills it"
    print(f"kernel cache: {state} ({compiled.user_cache_directory()})")
    print("engine native: available")
    for name, library in (("scapy", "scapy"), ("tshark", "pyshark")):
        there = importlib.util.find_spec(library) is not None
        print(f"engine {name}: {'available' if there else f'needs {library}; `pip install {library}`'}")
    print(f"tshark: {_tshark()}")


def _versions() -> Iterator[str]:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    for name in ("numpy", "numba", "pandas", "pyarrow", "zstandard", "isal", "lz4", "scapy", "pyshark", "evtx"):
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name}: not installed; `pip install {name}`"


def _tshark() -> str:
    path = shutil.which("tshark")
    if path is None:
        return "not found; `apt-get install tshark` on Debian and Ubuntu, elsewhere it comes with Wireshark"
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"{path} cannot be run: {problem}"
    return f"{said.splitlines()[0] if said else 'says nothing'} ({path})"
