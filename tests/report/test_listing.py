"""One table in a terminal: as lines, or as blocks, at every width; and the list of tables."""

from __future__ import annotations

import io

import pyarrow as pa
import pytest
from rich.cells import cell_len
from rich.console import Console

from analyzer import tables
from analyzer.report import listing

ROWS = [
    {"pipe": "srvsvc", "status": None, "frame": 12, "user": "", "where": "captures/one.pcap"},
    {
        "pipe": "a rather long name " * 6,
        "status": None,
        "frame": 1_000_000,
        "user": "管道",
        "where": "captures/one.pcap",
    },
    {"pipe": "\x1b[31mred", "status": None, "frame": None, "user": None, "where": "captures/one.pcap"},
]
TABLE = pa.Table.from_pylist(
    ROWS,
    pa.schema([("pipe", "string"), ("status", "string"), ("frame", "int64"), ("user", "string"), ("where", "string")]),
)


def printed(width: int, table: pa.Table = TABLE, left_out: int = 0) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    listing.render(table, console, left_out)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", range(60, 221))
def test_no_value_is_lost_at_any_width(width: int) -> None:
    text = printed(width)
    assert max(map(cell_len, text.splitlines())) <= width
    for word in ("srvsvc", "rather", "12", "1000000", '""', "管道", "\\u001b[31mred", "captures/one.pcap", "3 rows"):
        assert word in text
    assert text.count("rather") == 6
    assert "nothing in status" in text
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_a_table_that_fits_has_a_line_a_row_below_its_titles() -> None:
    lines = printed(120).splitlines()
    place = lines[0].index("where")
    assert lines[0].split() == ["pipe", "frame", "user", "where"]
    assert lines[1][place:] == "captures/one.pcap"
    assert lines[1][: lines[0].index("frame") + len("frame")].endswith(" 12")


def test_what_all_rows_share_is_told_once_where_that_makes_lines_fit() -> None:
    lines = printed(70).splitlines()
    assert lines[0].split() == ["pipe", "frame", "user"]
    assert "in all rows: where captures/one.pcap" in lines


def test_a_table_that_does_not_fit_has_a_block_a_row() -> None:
    lines = printed(60, TABLE.append_column("more", pa.array([letter * 48 for letter in "abc"]))).splitlines()
    assert [line.split()[1] for line in lines if line.startswith("frame ")] == ["12", "1000000"]
    assert lines.count("") == 3


def test_an_empty_table_and_rows_that_are_left_out() -> None:
    assert printed(80, TABLE.slice(0, 0)) == "0 rows\n"
    assert "1 row, and 1,234 more (--rows 0 prints all)" in printed(80, TABLE.slice(0, 1), 1234)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_list_of_tables_has_every_column_and_its_meaning(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    listing.describe(console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(map(cell_len, text.splitlines())) <= width
    joined = " ".join(text.split())
    for columns in tables.TABLES.values():
        for column in columns:
            assert f"{column.name} {column.meaning}" in joined
