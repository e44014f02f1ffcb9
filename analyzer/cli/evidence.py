"""`nullsession slice` and `nullsession export`: evidence for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analyzer.cli.helping import OUTPUT, complete_verdict, examples
from analyzer.cli.options import (
    Paths,
    Quiet,
    Reading,
    announce,
    check_folder,
    exit_status,
    opened,
    progress_bar,
    say,
    takes_reading,
)
from analyzer.errors import UsageError

if TYPE_CHECKING:
    from analyzer.slices import Filters

Texts = list[str] | None

ROWS = "Rows"
"""A group of options in the help."""

SLICE_EXAMPLES = examples(
    ("The packets that show what one client depends on", "slice captures/ --client 10.0.0.5 -o client.pcapng"),
    ("Filters for Wireshark, of what depends on a pipe", "slice captures/ --filters --pipe lsarpc --verdict depends"),
)
EXPORT_EXAMPLES = examples(
    ("Logs as Zeek writes them", "export captures/ --format zeek -o logs/"),
    ("What to watch for from now on", "export results/ --format watch -o watch/"),
)


@takes_reading
def slice_(
    paths: Paths,
    reading: Reading,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write the packets to this file (pcapng).", rich_help_panel=OUTPUT
        ),
    ] = None,
    client: Annotated[
        Texts,
        typer.Option(metavar="WHO", help="Only rows of this client: address, network or name.", rich_help_panel=ROWS),
    ] = None,
    server: Annotated[
        Texts, typer.Option(metavar="WHO", help="Only rows of this server.", rich_help_panel=ROWS)
    ] = None,
    pipe: Annotated[
        Texts,
        typer.Option(metavar="NAME", help="Only rows of this pipe or share (column `resource`).", rich_help_panel=ROWS),
    ] = None,
    verdict: Annotated[
        Texts,
        typer.Option(
            metavar="NAME", help="Only rows of this verdict.", autocompletion=complete_verdict, rich_help_panel=ROWS
        ),
    ] = None,
    application: Annotated[
        Texts, typer.Option(metavar="NAME", help="Only rows of this application.", rich_help_panel=ROWS)
    ] = None,
    row: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="Only this row of `dependencies`, numbered from 1.", rich_help_panel=ROWS),
    ] = None,
    filters: Annotated[
        bool,
        typer.Option(
            "--filters", help="Print display filters for Wireshark, a line a row; no packets.", rich_help_panel=OUTPUT
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """The packets behind rows of dependencies, as a small capture with comments; or filters that find them.

    Each of the options that choose rows may be given several times.
    """
    if output is None and not filters:
        raise UsageError("where to? -o FILE, or --filters for display filters")
    analysis = opened(paths, reading, quiet)
    from analyzer import slices  # noqa: PLC0415 - NumPy and Arrow; not needed for help

    selection = slices.Selection(
        clients=client or (),
        servers=server or (),
        resources=pipe or (),
        verdicts=verdict or (),
        applications=application or (),
        rows=row or (),
    )
    if filters:
        for found in slices.display_filters(analysis, selection):
            print(_line(found))
    if output:
        with progress_bar(quiet) as progress:
            told = slices.cut(
                analysis,
                paths,
                output,
                selection,
                progress=progress,
                announce=(lambda _: None) if quiet else announce,
            )
        if not quiet:
            counts = (
                (told.packets, "packet"), (told.connections, "connection"), (told.rows, "row"), (told.files, "capture"),
            )  # fmt: skip
            packets, connections, rows, files = (f"{n:,} {noun}{'' if n == 1 else 's'}" for n, noun in counts)
            say(f"{packets} of {connections} behind {rows} of dependencies, from {files}, to {output}")
    raise typer.Exit(exit_status(analysis))


def _line(found: Filters) -> str:
    """Row, file, frame and the filters, separated by tabs. What could steer a terminal is spelt out."""
    from analyzer.report.terminal import printable  # noqa: PLC0415

    cells = (
        found.row,
        found.capture,
        found.frame,
        found.by_frame,
        found.by_session or found.by_connection,
        found.by_resource,
    )
    return "\t".join(printable(cell) for cell in cells)


class Target(StrEnum):
    """What programs read."""

    ZEEK = "zeek"
    EVE = "eve"
    WATCH = "watch"


@takes_reading
def export(
    paths: Paths,
    reading: Reading,
    format_: Annotated[
        Target,
        typer.Option(
            "--format",
            help="Logs as Zeek writes them, events as Suricata does, or a list of what to watch.",
            rich_help_panel=OUTPUT,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="DIR", help="Write the files to this folder.", rich_help_panel=OUTPUT),
    ],
    quiet: Quiet = False,
) -> None:
    """What was found, in the files that other programs read."""
    check_folder(output)
    analysis = opened(paths, reading, quiet)
    from analyzer import exports  # noqa: PLC0415 - Arrow; not needed for help

    written = exports.FORMATS[format_.value](analysis, output)
    if not quiet:
        say(f"{', '.join(written)} in {output}")
    raise typer.Exit(exit_status(analysis))
