"""How text is laid out in a terminal: lines that fit, and columns. Nothing is cropped: what is too wide goes on below.

In: rich's texts and a width. Out: lines as texts, without blanks at their ends. Never knows what the texts mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

GAP = 2
"""Blanks between columns."""

NARROWEST = 8
"""Columns that a text gets, even in a terminal which is narrower than all the rest."""

CUT = "..."
"""Stands for what was left out."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, one cell a row."""

    title: str
    cells: Sequence[Text]
    most: int = 1 << 16
    """Wider cells go on in the next line."""
    is_number: bool = False

    @property
    def width(self) -> int:
        """Of the title and the widest cell."""
        widest = max((line_width(cell) for cell in self.cells), default=0)
        return max(cell_len(self.title), min(widest, self.most))


def line_width(text: Text) -> int:
    """Columns of a terminal that the longest line of a text takes."""
    return max(map(cell_len, text.plain.split("\n")))


def wrapped(text: Text, console: Console, width: int, indent: int = 0, hanging: int = 0) -> Iterator[Text]:
    """A text in lines of at most so many columns, broken between words, or in a word that is longer than a line.

    indent: blanks in front of each line; hanging: further ones in front of all but the first.
    """
    room = max(width - indent, NARROWEST)
    first, *more = _lines(text, console, room)
    if more and hanging:
        rest = text.plain[len(first.plain) :].lstrip()
        more = _lines(text[len(text.plain) - len(rest) :], console, max(room - hanging, NARROWEST))
    for line in (first, *more):
        made = Text(" " * (indent if line is first else indent + hanging)).append_text(line)
        made.rstrip()
        yield made


def _lines(text: Text, console: Console, width: int) -> list[Text]:
    if "\n" not in text.plain and cell_len(text.plain) <= width:
        return [text]
    found: list[Text] = []
    for line in text.wrap(console, width, overflow="fold", no_wrap=False):
        line.rstrip()
        # Behind a long word that ends where the line does, rich begins the next one with the blank.
        start = len(line.plain) - len(line.plain.lstrip()) if found else 0
        if line.plain:
            found.append(line[start:])
    return found or [Text()]


def show(lines: Iterable[Text], console: Console) -> None:
    """Print lines as they are."""
    for line in lines:
        console.print(line, soft_wrap=True)


def show_text(text: str, console: Console, style: str = "", indent: int = 0, hanging: int = 0) -> None:
    """Print a text in lines that fit."""
    show(wrapped(Text(text, style), console, console.width, indent, hanging), console)


def title_line(columns: Sequence[Column], indent: int = 0) -> Text:
    """The titles of columns."""
    cells = [Text(column.title) for column in columns]
    return _beside([[cell] for cell in cells], columns, indent)[0]


def row_lines(columns: Sequence[Column], number: int, console: Console, indent: int = 0) -> list[Text]:
    """The lines of one row."""
    cells = [_lines(column.cells[number], console, column.width) for column in columns]
    return _beside(cells, columns, indent)


def _beside(cells: Sequence[Sequence[Text]], columns: Sequence[Column], indent: int) -> list[Text]:
    made = []
    for pieces in zip_longest(*cells):
        line, place = Text(), indent
        for piece, column in zip(pieces, columns, strict=True):
            text = piece if piece is not None else Text()
            blanks = column.width - cell_len(text.plain) if column.is_number else 0
            if text.plain:
                line.append(" " * (place + blanks - cell_len(line.plain))).append_text(text)
            place += column.width + GAP
        made.append(line)
    return made


def shortened(name: str, width: int) -> str:
    """The end of a name that is too long, which mostly tells more than its beginning: numbers, dates, the kind of file."""
    if cell_len(name) <= width:
        return name
    start = len(name)
    while start and cell_len(name[start - 1 :]) <= width - len(CUT):
        start -= 1
    return CUT + name[start:]
