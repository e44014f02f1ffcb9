"""Lines that fit: no word is lost at any width, wide characters count twice, columns stand below each other."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from analyzer.report.layout import Column, row_lines, shortened, title_line, wrapped

CONSOLE = Console(file=io.StringIO(), width=400)
SENTENCE = "the connect was answered, and not with a refusal of access; it followed a failed login"
NO_BREAK = "NetrServerTransportEnum" * 3
WIDE = "管道" * 9


@pytest.mark.parametrize("hanging", [0, 4])
@pytest.mark.parametrize("text", [SENTENCE, NO_BREAK, WIDE, f"{SENTENCE} {NO_BREAK} {WIDE} {SENTENCE}"])
def test_lines_fit_and_together_are_the_text(text: str, hanging: int) -> None:
    for width in range(14, 200):
        lines = [line.plain for line in wrapped(Text(text), CONSOLE, width, 2, hanging)]
        assert max(map(cell_len, lines)) <= width
        assert "".join("".join(lines).split()) == text.replace(" ", "")
        indents = [len(line) - len(line.lstrip()) for line in lines]
        assert indents == [2] + [2 + hanging] * (len(lines) - 1)
        assert lines == [line.rstrip() for line in lines]


def test_words_are_broken_only_where_they_are_longer_than_a_line() -> None:
    assert [line.plain for line in wrapped(Text("one two three"), CONSOLE, 9)] == ["one two", "three"]
    assert [line.plain for line in wrapped(Text("one two three"), CONSOLE, 9, hanging=4)] == ["one two", "    three"]
    assert [line.plain for line in wrapped(Text("a 0123456789"), CONSOLE, 8)] == ["a", "01234567", "89"]


def test_columns_stand_below_their_titles() -> None:
    columns = [
        Column("Name", [Text("管道"), Text("abcdefghijk")], most=6),
        Column("Uses", [Text("1"), Text("1,000")], is_number=True),
        Column("Where", [Text("here"), Text("there")]),
    ]
    lines = [title_line(columns, 2), *row_lines(columns, 0, CONSOLE, 2), *row_lines(columns, 1, CONSOLE, 2)]
    assert [line.plain for line in lines] == [
        "  Name     Uses  Where",
        "  管道        1  here",
        "  abcdef  1,000  there",
        "  ghijk",
    ]


def test_of_a_name_that_is_too_long_the_end_stays() -> None:
    assert shortened("dump_00017.pcapng", 17) == "dump_00017.pcapng"
    assert shortened("dump_00017.pcapng", 16) == "..._00017.pcapng"
    assert shortened("管道管道", 6) == "...道"
