"""`nullsession merge` and `nullsession diff`: results put together, and compared."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analyzer.cli.helping import JUDGING, OUTPUT, READING, examples
from analyzer.cli.options import (
    DIFFERENT,
    DONE,
    Applications,
    Format,
    Printed,
    Quiet,
    Reading,
    Scanners,
    announce,
    check_folder,
    console,
    exit_status,
    keep_memory_small,
    opened,
    takes_reading,
)

if TYPE_CHECKING:
    from analyzer.comparison import Comparison

MERGE_EXAMPLES = examples(
    ("The results of three days as one", "merge monday/ tuesday/ wednesday/ -o week/"),
    ("Of branches that use the same addresses", "merge berlin/ paris/ --separate -o all/"),
)
DIFF_EXAMPLES = examples(
    ("What a change has done", "diff before/ after/"),
    ("For a script: ends with 1 if something broke", "diff before/ after.pcap --check --quiet"),
)


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that `analyze -o` has written to.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Write the merged tables to this folder.", rich_help_panel=OUTPUT
        ),
    ],
    separate: Annotated[
        bool,
        typer.Option("--separate", help="Each folder is a site of its own, called like it.", rich_help_panel=READING),
    ] = False,
    applications: Applications = None,
    scanners: Scanners = None,
    timezone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of days and hours; what all results have, else UTC, if not given.",
            rich_help_panel=JUDGING,
        ),
    ] = None,
    minimum: Annotated[
        str | None,
        typer.Option(
            metavar="days=N,lost=%,unknown=%",
            help="How much must have been observed of a server; what all results have, else the default, if not given.",
            rich_help_panel=JUDGING,
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Join the results of several runs, as if all their captures had been read together.

    What several of them hold is counted once.
    """
    keep_memory_small()
    from analyzer import merging, results  # noqa: PLC0415 - NumPy and Arrow; not needed for help
    from analyzer.capture.inputs import as_text  # noqa: PLC0415

    check_folder(output)
    loaded = [results.load(folder) for folder in folders]
    sites = [as_text(str(folder)) for folder in folders] if separate else ()
    found = merging.merge(
        loaded, sites=sites, applications=applications, scanners=scanners, timezone=timezone, minimum=minimum
    )
    results.save(found.analysis, output)
    if not quiet:
        for sentence in found.sentences():
            announce(sentence)
        from analyzer.report import terminal  # noqa: PLC0415

        terminal.render(found.analysis, console())
    raise typer.Exit(exit_status(found.analysis))


@takes_reading
def diff(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="Captures, or a folder of results.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="Likewise, from after the change.")],
    reading: Reading,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="End with 1 if a use that worked is refused or fails now, or a dependent is new.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    format_: Printed = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """What became of each dependency: refused now, new, done with credentials, gone, or only not seen again."""
    keep_memory_small()
    from analyzer.analysis import is_folder_of_results  # noqa: PLC0415 - NumPy; not needed for help
    from analyzer.comparison import compare  # noqa: PLC0415

    folders = [is_folder_of_results(path) for path in (before, after)]
    sides = []
    for path, is_folder in zip((before, after), folders, strict=True):
        # What says how captures are read is for the side that is captures; given for two folders it is refused.
        own = replace(Reading(), **reading.kept()) if is_folder and not all(folders) else reading
        sides.append(opened([path], own, quiet))
    found = compare(*sides)
    if not quiet:
        _print(found, format_)
    unread = max(exit_status(side) for side in sides)
    raise typer.Exit(unread or (DIFFERENT if check and found.is_worse() else DONE))


def _print(found: Comparison, format_: Format) -> None:
    if format_ is Format.TABLE:
        from analyzer.report import comparison  # noqa: PLC0415

        comparison.render(found, console())
        return
    from analyzer import results  # noqa: PLC0415

    if format_ is Format.CSV:
        results.write_csv(found.table, sys.stdout.buffer)
        return
    before, after = found.seconds
    told = {
        "changes": found.numbers(),
        "worse": found.is_worse(),
        "seconds_before": before,
        "seconds_after": after,
        "left_out": found.left_out,
        "notes": found.notes,
        "rows": found.table.to_pylist(),
    }
    print(json.dumps(told, indent=2))
