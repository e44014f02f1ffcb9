"""How texts of captures, times and numbers are spelt in the page."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from analyzer.report.terminal import printable

LONGEST = 1_000
"""Characters of a text that the page has: what clients send may be long."""

SECOND_NS = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def shown(text: Any) -> str:
    """A text from a capture: what is invisible, or turns the direction of writing, is spelt out; of a long one the beginning."""
    if text is None:
        return ""
    text = str(text)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}... ({len(text):,} characters)"
    return text if text.isprintable() else printable(text)


def parts(text: str) -> list[str]:
    """A name's parts, between which it may go to the next line: behind dots and dashes, but not before a short ending."""
    return re.split(r"(?<=[._\\/-])(?!\w{1,6}$)", text)


def moment(ns: int, zone: ZoneInfo) -> str:
    """A time to the minute, by the clocks of this time zone; nothing if it is missing."""
    return "" if ns < 0 else f"{(EPOCH + timedelta(seconds=ns // SECOND_NS)).astimezone(zone):%Y-%m-%d %H:%M}"


def day(number: int) -> str:
    """The day that is so many days after 1970-01-01, with the day of the week."""
    return f"{EPOCH + timedelta(days=number):%a %Y-%m-%d}"


def count(number: int, noun: str, several: str = "") -> str:
    """`1 client`, `2 clients`."""
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"


def lines(table: pa.Table, zone: ZoneInfo) -> list[dict[str, Any]]:
    """Rows of a small table by the names of columns, times as texts; missing: None, or no time."""
    columns = [
        [moment(ns, zone) for ns in column.cast(pa.int64()).fill_null(-1).to_pylist()]
        if pa.types.is_timestamp(column.type)
        else column.to_pylist()
        for column in table.columns
    ]
    return [dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)]
