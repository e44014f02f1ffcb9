"""One table as a person reads it in a terminal, and what all tables hold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analyzer import tables
from analyzer.report.terminal import printable

WIDEST = 48
"""A cell that is longer is folded."""


def render(found: pa.Table, console: Console, left_out: int = 0) -> None:
    """Print a table, a line a row, or where that is too wide a block a row; columns in which nothing stands are left out.

    left_out: rows that are not printed.
    """
    filled = [name for name in found.column_names if found[name].null_count < len(found)]
    cells = [_texts(found[name]) for name in filled]
    widths = [min(WIDEST, max(map(len, [Text(name), *column]))) for name, column in zip(filled, cells, strict=True)]
    if sum(widths) + len(widths) <= console.width:
        _print_lines(found, filled, cells, console)
    else:
        _print_blocks(filled, cells, console)
    more = f", and {left_out:,} more (--rows 0 prints all)" if left_out else ""
    console.print(Text(f"{len(found):,} row{'' if len(found) == 1 else 's'}{more}", "dim"))
    if len(found) and len(filled) < len(found.column_names):
        empty = [name for name in found.column_names if name not in filled]
        console.print(Text(f"nothing in {', '.join(empty)}", "dim"))


def _print_lines(found: pa.Table, names: list[str], cells: list[list[Text]], console: Console) -> None:
    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in names:
        number = pa.types.is_integer(found[name].type)
        shown.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=number)
    for row in zip(*cells, strict=True):
        shown.add_row(*row)
    if names:
        console.print(shown)


def _print_blocks(names: list[str], cells: list[list[Text]], console: Console) -> None:
    for row in zip(*cells, strict=True):
        shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
        shown.add_column(style="bold", no_wrap=True)
        shown.add_column(overflow="fold")
        for name, cell in zip(names, row, strict=True):
            if cell.plain:
                shown.add_row(name, cell)
        console.print(shown)
        console.print()


def _texts(column: pa.ChunkedArray) -> list[Text]:
    is_time = pa.types.is_timestamp(column.type)
    values = column.cast(pa.int64()).to_pylist() if is_time else column.to_pylist()
    return [_text(value, is_time) for value in values]


def _text(value: Any, is_time: bool) -> Text:
    """Missing is nothing, an empty text is two quotation marks: for null sessions it is the finding."""
    if value is None:
        return Text("")
    if is_time:
        second, ns = divmod(value, 1_000_000_000)
        return Text(f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S}.{ns // 1_000_000:03d}")
    return Text('""' if value == "" else printable(value))


def describe(console: Console) -> None:
    """Print the names of all tables, and of each its columns with what they mean."""
    for name, columns in tables.TABLES.items():
        console.print(Text(name, "bold"))
        for column in columns:
            kind = "one of: " + ", ".join(column.kind) if isinstance(column.kind, tuple) else column.kind
            console.print(
                Text(f"  {column.name}", "cyan").append(f"  {column.meaning} ({kind})", "default"), soft_wrap=True
            )
