"""What commands share: the options of reading, how results are opened, printed and written, exit status."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from analyzer import engines
from analyzer.cli.helping import JUDGING, OUTPUT, READING, complete_engine
from analyzer.errors import AnalyzerError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from analyzer.analysis import Analysis, Made, Progress

DONE, DIFFERENT, WRONG_USAGE, PARTLY_READ, NOTHING_USABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130


class Format(StrEnum):
    """What goes to standard output."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Detail(StrEnum):
    """How many rows are kept."""

    DEFAULT = "default"
    ALL = "all"


Paths = Annotated[
    list[str],
    typer.Argument(metavar="PATH...", help="Files, folders, patterns, - for standard input, or one folder of results."),
]
Printed = Annotated[Format, typer.Option("--format", help="What to print.", rich_help_panel=OUTPUT)]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, no report; errors only.", rich_help_panel=OUTPUT)
]
Ports = Annotated[
    list[int] | None,
    typer.Option(
        metavar="N",
        help="TCP port that carries SMB, besides 445 and 139 (may be given several times).",
        rich_help_panel=READING,
    ),
]


Applications = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Your own rules: which application a use belongs to, who scans (TOML).",
        rich_help_panel=JUDGING,
    ),
]
Scanners = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Clients that do not count: an address, network or name a line.",
        rich_help_panel=JUDGING,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How captures are read and judged: the options of each command that works on an analysis."""

    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"What decodes: {', '.join(engines.NAMES)}.",
            autocompletion=complete_engine,
            rich_help_panel=READING,
        ),
    ] = "native"
    port: Ports = None
    detail: Annotated[
        Detail, typer.Option(help="Rows kept of sessions with credentials: counts, or all.", rich_help_panel=READING)
    ] = Detail.DEFAULT
    hosts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Names of addresses: CSV (address,name) or the format of a hosts file.",
            rich_help_panel=READING,
        ),
    ] = None
    applications: Applications = None
    scanners: Scanners = None
    timezone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of days and hours, such as Europe/Berlin; UTC if not given.", rich_help_panel=JUDGING
        ),
    ] = None
    minimum: Annotated[
        str | None,
        typer.Option(
            metavar="days=N,lost=%,unknown=%",
            help="How much must have been observed of a server; days=7,lost=1,unknown=10 if not given.",
            rich_help_panel=JUDGING,
        ),
    ] = None
    endpoint_log: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Log of a client or server (may be given several times): Windows events (.evtx, XML, JSON, CSV), Samba's "
            "audit, or CSV with time, source_ip, source_port, destination_ip, destination_port, process, user.",
            rich_help_panel=READING,
        ),
    ] = None
    separate: Annotated[
        bool, typer.Option("--separate", help="Each folder is a site of its own.", rich_help_panel=READING)
    ] = False

    def kept(self) -> dict[str, Any]:
        """Those that also hold where results are read back."""
        return {
            "applications": self.applications,
            "scanners": self.scanners,
            "timezone": self.timezone,
            "minimum": self.minimum,
        }

    def of_captures(self) -> dict[str, Any]:
        """Those that are settled once captures are read."""
        return {
            "engine": self.engine,
            "port": self.port,
            "detail": self.detail,
            "hosts": self.hosts,
            "endpoint_log": self.endpoint_log,
            "separate": self.separate,
        }


def takes_reading(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Reading`: it gets them as its argument `reading`."""
    declared = get_type_hints(Reading, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None if field.default is MISSING else field.default,
            annotation=declared[field.name],
        )
        for field in fields(Reading)
    ]
    hints = get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(command).parameters.values()
        if parameter.name != "reading"
    ]

    @functools.wraps(command)
    def called(**arguments: Any) -> None:
        reading = Reading(**{field.name: arguments.pop(field.name) for field in fields(Reading)})
        command(reading=reading, **arguments)

    called.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]  # typer reads it
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *shared]}
    return called


def opened(
    paths: list[str], reading: Reading, quiet: bool = False, made: Made = lambda _name, _table: None
) -> Analysis:
    """The analysis of captures, with progress on standard error, or what an earlier one wrote to a folder of results.

    made: as of `analyze`.
    """
    keep_memory_small()
    from analyzer import analysis as analyses  # noqa: PLC0415 - NumPy; not needed for help

    folders = [path for path in paths if analyses.is_folder_of_results(path)]
    if folders:
        if len(paths) > 1:
            raise UsageError("results are read from one folder at a time; `nullsession merge` joins several")
        unchanged = Reading().of_captures()
        if given := [name for name, value in reading.of_captures().items() if value != unchanged[name]]:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise UsageError(
                f"{folders[0]} holds results: {names} says how captures are read; leave that out, or name captures"
            )
        from analyzer import results  # noqa: PLC0415 - Arrow; where captures are read it is imported meanwhile

        return results.load(folders[0], **reading.kept())
    with progress_bar(quiet) as progress:
        return analyses.analyze(
            paths,
            engine=reading.engine,
            ports=(*analyses.PORTS, *(reading.port or ())),
            detail=reading.detail.value,
            hosts=reading.hosts,
            endpoint_logs=reading.endpoint_log or (),
            separate=reading.separate,
            progress=progress,
            announce=(lambda _: None) if quiet else announce,
            made=made,
            **{name: value for name, value in reading.kept().items() if value is not None},
        )


def say(message: str) -> None:
    """A line on standard error. What could steer a terminal is spelt out: names of files may hold anything."""
    spelt = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in message)
    print(f"nullsession: {spelt}", file=sys.stderr)


def check_folder(directory: Path) -> None:
    """Make the folder of results, before hours of work go into them. Raises AnalyzerError if it takes no files."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as problem:
        raise AnalyzerError(f"{directory}: results cannot be written: {problem.strerror}") from problem


def keep_memory_small() -> None:
    """Have freed memory given back. Called before Arrow is imported, which then takes the system's allocator."""
    from analyzer import memory  # noqa: PLC0415

    memory.keep_small()
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow's own keeps what it has


def announce(message: str) -> None:
    """What a person should know, such as that a wait begins."""
    print(message, file=sys.stderr)


def console() -> Console:
    """Standard output. Where it is no terminal, lines are wide."""
    from rich.console import Console  # noqa: PLC0415

    made = Console(highlight=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made = Console(highlight=False, width=160)
    return made


def exit_status(analysis: Analysis) -> int:
    """Files with errors are told on standard error as well; the report tells them too."""
    captures = analysis.arrow("captures")
    errors = [error for error in captures["errors"].to_pylist() if error is not None]
    for error in errors + analysis.problems_of_logs:
        say(error)
    if not errors:
        return PARTLY_READ if analysis.problems_of_logs else DONE
    return PARTLY_READ if sum(captures["packets"].to_pylist()) else NOTHING_USABLE


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Progress | None]:
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
