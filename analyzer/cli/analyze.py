"""`nullsession analyze` and `nullsession tables`: the whole way, and one table of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analyzer.cli.helping import OUTPUT, PROGRAM, complete_table, examples
from analyzer.cli.options import (
    Format,
    Paths,
    Printed,
    Quiet,
    Reading,
    check_folder,
    console,
    exit_status,
    opened,
    takes_reading,
)
from analyzer.errors import UsageError, no_such

if TYPE_CHECKING:
    import pyarrow as pa

    from analyzer.analysis import Analysis

MOST_ROWS = 1000

ANALYZE_EXAMPLES = examples(
    ("All captures of a folder, and tables for a spreadsheet", "analyze captures/ -o results/"),
    (
        "With your own names of hosts, and without your scanners",
        "analyze captures/ --hosts hosts.csv --scanners ours.txt",
    ),
    ("Read the results again, judged by your own rules", "analyze results/ --applications rules.toml"),
    ("What another program reads", "analyze captures/ --format json"),
)
TABLES_EXAMPLES = examples(
    ("Which tables and columns there are", "tables list"),
    ("What was called, as CSV", "tables calls captures/ --format csv"),
    ("Some columns, some rows", "tables sessions captures/ --columns user,identity --rows 20"),
)


@takes_reading
def analyze(
    paths: Paths,
    reading: Reading,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Write all tables to this folder.", rich_help_panel=OUTPUT),
    ] = None,
    format_: Printed = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """Who depends on null sessions, on which server, for what."""
    analysis = _saved(paths, reading, quiet, output) if output else opened(paths, reading, quiet)
    if not quiet:
        _print(analysis, format_)
    raise typer.Exit(exit_status(analysis))


def _saved(paths: list[str], reading: Reading, quiet: bool, output: Path) -> Analysis:
    """The analysis, whose tables are written as soon as they are made."""
    from analyzer.writing import Writing  # noqa: PLC0415 - not needed for help

    check_folder(output)
    with Writing(output) as files:

        def write(name: str, table: pa.Table) -> None:
            from analyzer import results  # noqa: PLC0415 - Arrow, which is imported while captures are read

            results.write_table(name, table, files)

        analysis = opened(paths, reading, quiet, write)
        from analyzer import results  # noqa: PLC0415

        results.finish(analysis, files)
    return analysis


def _print(analysis: Analysis, format_: Format) -> None:
    if format_ is Format.TABLE:
        from analyzer.report import terminal  # noqa: PLC0415

        terminal.render(analysis, console())
        return
    from analyzer import results  # noqa: PLC0415

    if format_ is Format.CSV:
        results.write_csv(analysis.arrow("dependencies"), sys.stdout.buffer)
        return
    rows = json.loads(analysis.dependencies.to_json(orient="records", date_format="iso", date_unit="us"))
    print(json.dumps({"summary": results.summary(analysis), "dependencies": rows}, indent=2))


@takes_reading
def print_table(
    reading: Reading,
    table: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A table, or `list` for all their names and columns.", autocompletion=complete_table
        ),
    ],
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...", help="Files, folders, patterns, - for standard input, or one folder of results."
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Only these columns, in this order.", rich_help_panel=OUTPUT)
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Print so many rows; 0: all. Usually all, in a terminal 1,000.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    format_: Printed = Format.TABLE,
) -> None:
    """One table on its own: calls, binds, sessions, hosts, dependencies ..."""
    from analyzer import tables  # noqa: PLC0415 - Arrow; not needed for help

    if table == "list":
        from analyzer.report import listing  # noqa: PLC0415

        listing.describe(console())
        return
    if table not in tables.TABLES:
        raise no_such("table", table, tables.TABLES)
    wanted = [column.strip() for column in columns.split(",")] if columns else []
    known = [column.name for column in tables.TABLES[table]]
    if unknown := [column for column in wanted if column not in known]:
        raise no_such(f"column of {table}", unknown[0], known)
    if not paths:
        raise UsageError(f"which captures? `{PROGRAM} tables {table} PATH...` reads them")
    analysis = opened(paths, reading)
    found = analysis.arrow(table).select(wanted or known)
    if rows is None and format_ is Format.TABLE:
        rows = MOST_ROWS
    left_out = max(0, len(found) - rows) if rows else 0
    found = found.slice(0, len(found) - left_out)
    if format_ is Format.TABLE:
        from analyzer.report import listing  # noqa: PLC0415

        listing.render(found, console(), left_out)
    elif format_ is Format.CSV:
        from analyzer import results  # noqa: PLC0415

        results.write_csv(found, sys.stdout.buffer)
    else:
        frame = tables.to_pandas(table, found)
        print(frame.to_json(orient="records", date_format="iso", date_unit="ns", indent=2))
    raise typer.Exit(exit_status(analysis))
