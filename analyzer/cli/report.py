"""`nullsession report`: the report as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analyzer.cli.helping import OUTPUT, examples
from analyzer.cli.options import Paths, Quiet, Reading, exit_status, opened, takes_reading
from analyzer.errors import AnalyzerError

EXAMPLES = examples(
    ("A page for a change request", 'report captures/ -o null-sessions.html --title "Change 4711"'),
    ("Of results that are there already", "report results/"),
)


@takes_reading
def report(
    paths: Paths,
    reading: Reading,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The page to write.", rich_help_panel=OUTPUT)
    ] = Path("report.html"),
    title: Annotated[
        str, typer.Option(metavar="TEXT", help="Its title, such as the number of a change.", rich_help_panel=OUTPUT)
    ] = "",
    quiet: Quiet = False,
) -> None:
    """Write the report as a page: one file that opens in any browser, without a network."""
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise AnalyzerError(f"{output}: cannot be written: it is a folder, or in a folder that is not there")
    analysis = opened(paths, reading, quiet)
    from analyzer.report import html  # noqa: PLC0415 - templates and tables; not needed for help

    html.write(analysis, output, title=title)
    if not quiet:
        typer.echo(f"{output}: written", err=True)
    raise typer.Exit(exit_status(analysis))
