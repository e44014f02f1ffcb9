"""`nullsession verify`: several engines on the same captures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analyzer import engines
from analyzer.cli.helping import OUTPUT, READING, complete_engines, examples
from analyzer.cli.options import (
    DIFFERENT,
    DONE,
    PARTLY_READ,
    Paths,
    Ports,
    Quiet,
    announce,
    check_folder,
    console,
    keep_memory_small,
    progress_bar,
    say,
)

EXAMPLES = examples(
    ("All engines on one capture", "verify captures/guest.pcap"),
    ("Two of them, and each difference as CSV", "verify captures/ --engines native,tshark -o differences/"),
)


def verify(
    paths: Paths,
    engines_: Annotated[
        str,
        typer.Option(
            "--engines",
            metavar="A,B,...",
            help="Engines to compare; the first with each of the others.",
            autocompletion=complete_engines,
            rich_help_panel=READING,
        ),
    ] = ",".join(engines.NAMES),
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Write agreement and differences as CSV.", rich_help_panel=OUTPUT
        ),
    ] = None,
    port: Ports = None,
    quiet: Quiet = False,
) -> None:
    """Have the same captures decoded by several engines, and compare what they find.

    Ends with 1 if they differ.
    """
    keep_memory_small()
    from analyzer import analysis as analyses  # noqa: PLC0415 - NumPy; not needed for help
    from analyzer import results  # noqa: PLC0415
    from analyzer import verify as verifying  # noqa: PLC0415

    if output:
        check_folder(output)
    with progress_bar(quiet) as progress:
        found = verifying.verify(
            paths,
            [name.strip() for name in engines_.split(",")],
            ports=(*analyses.PORTS, *(port or ())),
            progress=progress,
            announce=(lambda _: None) if quiet else announce,
        )
    if output:
        for name, rows in verifying.as_tables(found):
            results.write_csv(rows, output / f"{name}.csv")
    if not quiet:
        from analyzer.report import agreement  # noqa: PLC0415

        agreement.render(found, console())
    errors = list(dict.fromkeys(error for told in found.errors.values() for error in told))
    for error in errors:
        say(error)
    raise typer.Exit(PARTLY_READ if errors else DONE if found.is_equal() else DIFFERENT)
