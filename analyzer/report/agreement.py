"""What several engines agree on, as a person reads it in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from analyzer.report.terminal import printable
from analyzer.verify import SHARED_BY_ALL, Verification

MOST_ROWS = 40
"""Differences that are printed; the files have all."""


def render(found: Verification, console: Console) -> None:
    """Print the whole outcome."""
    first, *others = found.engines
    if found.is_equal():
        console.print(Text(f"{first} and {', '.join(others)} agree on all that they can know.", "bold"))
    else:
        console.print(Text(f"{found.count:,} difference{'' if found.count == 1 else 's'}.", "bold"))
    console.print()
    shown = _table("Table", "Engines")
    for title in ("Rows of both", "Equal"):
        shown.add_column(title, justify="right")
    shown.add_column("Only the one", justify="right")
    shown.add_column("Only the other", justify="right")
    for row in found.agreement:
        numbers = (row.rows, row.equal, row.only_engine, row.only_other)
        shown.add_row(row.table, f"{row.engine}, {row.other}", *(f"{number:,}" for number in numbers))
    console.print(shown)
    if found.differences:
        console.print()
        console.print(_differences(found))
        if found.count > MOST_ROWS:
            console.print(
                Text(f"... and {found.count - MOST_ROWS:,} more; the files that -o DIR writes have them", "dim")
            )
    console.print()
    console.print(Text("What this cannot show", "bold"))
    console.print(Text(f"  Shared by all engines: {', '.join(SHARED_BY_ALL)}."))
    for name in found.engines:
        if found.shared[name]:
            console.print(Text(f"  {name} shares besides: {', '.join(found.shared[name])}."))
        for column, reason in found.gaps[name].items():
            console.print(Text(f"  {name} cannot know {column}: {reason}."))
        for limit in found.limits[name]:
            console.print(Text(f"  {name}: {limit}."))


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(title)
    return table


def _differences(found: Verification) -> Table:
    shown = _table("Table", "File", "Frame", "Column", "Says", "Evidence")
    for column in shown.columns:
        column.overflow = "fold"
    for one in found.differences[:MOST_ROWS]:
        says = f"{one.engine}: {_cell(one.value)}\n{one.other}: {_cell(one.other_value)}"
        place = "" if one.frame is None else str(one.frame)
        file = printable((one.capture or "").replace("\\", "/").rpartition("/")[2])
        shown.add_row(one.table, Text(file), place, one.column or "(row)", Text(says), Text(printable(one.evidence)))
    return shown


def _cell(value: str | None) -> str:
    return "nothing" if value is None else '""' if value == "" else printable(value)
