"""One table as a person reads it in a terminal, and what all tables hold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from analyzer import tables
from analyzer.report.layout import GAP, Column, row_lines, show, show_text, title_line, wrapped
from analyzer.report.terminal import printable

WIDEST = 48
"""A cell that is longer is folded."""


def render(found: pa.Table, console: Console, left_out: int = 0) -> None:
    """Print a table, a line a row, or where that is too wide a block a row; columns in which nothing stands are left out.

    left_out: rows that are not printed.
    """
    columns = {
        name: Column(name, _texts(found[name]), WIDEST, is_number=pa.types.is_integer(found[name].type))
        for name in found.column_names
        if found[name].null_count < len(found)
    }
    shown, same = columns, {}
    if not _fits(shown, console) and len(found) > 1:
        same = {name: column for name, column in columns.items() if len({cell.plain for cell in column.cells}) == 1}
        shown = {name: column for name, column in columns.items() if name not in same}
    if _fits(shown, console):
        _print_lines(shown, len(found), console)
        for name, column in same.items():
            show(
                wrapped(Text(f"in all rows: {name} ", "dim").append_text(column.cells[0]), console, console.width),
                console,
            )
    else:
        _print_blocks(columns, len(found), console)
    more = f", and {left_out:,} more (--rows 0 prints all)" if left_out else ""
    show_text(f"{len(found):,} row{'' if len(found) == 1 else 's'}{more}", console, "dim")
    if len(found) and len(columns) < len(found.column_names):
        empty = [name for name in found.column_names if name not in columns]
        show_text(f"nothing in {', '.join(empty)}", console, "dim")


def _fits(columns: dict[str, Column], console: Console) -> bool:
    return sum(column.width + GAP for column in columns.values()) - GAP <= console.width


def _print_lines(columns: dict[str, Column], rows: int, console: Console) -> None:
    shown = list(columns.values())
    if not shown:
        return
    title = title_line(shown)
    title.stylize("bold")
    show([title], console)
    for number in range(rows):
        show(row_lines(shown, number, console), console)


def _print_blocks(columns: dict[str, Column], rows: int, console: Console) -> None:
    place = max(map(cell_len, columns)) + GAP
    for number in range(rows):
        for name, column in columns.items():
            if column.cells[number].plain:
                first, *more = wrapped(column.cells[number], console, console.width, place)
                show([Text(name, "bold").append_text(first[len(name) :]), *more], console)
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
            line = Text(column.name, "cyan").append(f"  {column.meaning} ({kind})", "default")
            show(wrapped(line, console, console.width, indent=2, hanging=4), console)
