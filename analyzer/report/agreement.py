"""What several engines agree on, as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from analyzer.report.layout import Column, row_lines, show, show_text, title_line
from analyzer.report.terminal import INDENT, printable
from analyzer.verify import SHARED_BY_ALL, Agreement, Difference, Verification

MOST_ROWS = 40
"""Differences that are printed; the files have all."""


def render(found: Verification, console: Console) -> None:
    """Print the whole outcome."""
    first, *others = found.engines
    if found.is_equal():
        show_text(f"{first} and {', '.join(others)} agree on all that they can know.", console, "bold")
    else:
        show_text(f"{found.count:,} difference{'' if found.count == 1 else 's'}.", console, "bold")
    for other in others:
        console.print()
        columns = _counts([row for row in found.agreement if row.other == other], first, other)
        show([title_line(columns)], console)
        for number in range(len(columns[0].cells)):
            show(row_lines(columns, number, console), console)
    if found.differences:
        console.print()
        show_text("Differences", console, "bold")
        for one in found.differences[:MOST_ROWS]:
            _print_difference(one, console)
        if found.count > MOST_ROWS:
            show_text(
                f"... and {found.count - MOST_ROWS:,} more; the files that -o DIR writes have them", console, "dim"
            )
    console.print()
    show_text("What this cannot show", console, "bold")
    for sentence in _limits(found):
        show_text(sentence, console, indent=INDENT, hanging=INDENT)


def _counts(rows: list[Agreement], first: str, other: str) -> list[Column]:
    numbers = {
        "Both": [row.rows for row in rows],
        "Equal": [row.equal for row in rows],
        f"Only {first}": [row.only_engine for row in rows],
        f"Only {other}": [row.only_other for row in rows],
    }
    return [
        Column("Table", [Text(row.table) for row in rows]),
        *(Column(title, [Text(f"{cell:,}") for cell in cells], is_number=True) for title, cells in numbers.items()),
    ]


def _print_difference(one: Difference, console: Console) -> None:
    """Where, and below that what each says, and what was compared."""
    file = printable((one.capture or "").replace("\\", "/").rpartition("/")[2])
    place = " ".join(filter(None, (file, "" if one.frame is None else f"frame {one.frame}")))
    who = one.engine if one.value is not None else one.other
    what = f"{one.table}, {one.column}" if one.column else f"{one.table}, only {who} has the row"
    show_text(f"{what}{': ' if place else ''}{place}", console, "red", INDENT, INDENT)
    if one.column:
        for engine, value in ((one.engine, one.value), (one.other, one.other_value)):
            show_text(f"{engine}: {_cell(value)}", console, "", 2 * INDENT, INDENT)
    if one.evidence:
        show_text(printable(one.evidence), console, "dim", 2 * INDENT, INDENT)


def _limits(found: Verification) -> Iterator[str]:
    yield f"Shared by all engines: {', '.join(SHARED_BY_ALL)}."
    for name in found.engines:
        if found.shared[name]:
            yield f"{name} shares besides: {', '.join(found.shared[name])}."
        for column, reason in found.gaps[name].items():
            yield f"{name} cannot know {column}: {reason}."
        for limit in found.limits[name]:
            yield f"{name}: {limit}."


def _cell(value: str | None) -> str:
    return "nothing" if value is None else '""' if value == "" else printable(value)
