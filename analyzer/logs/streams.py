"""Files to text, a block at a time: decompressed, decoded, and never more than a bound at once."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

BLOCK = 1 << 18
MAX_RECORD = 1 << 18
"""Characters of a record or line; longer ones are passed over."""
MAX_BYTES = 1 << 36
"""Bytes of a (decompressed) file that are read."""
GZIP = b"\x1f\x8b"
BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


class Unreadable(Exception):  # noqa: N818
    """The file cannot be read further."""


def opened(path: Path) -> IO[bytes]:
    """The file, decompressed if it is compressed by gzip. Raises OSError."""
    file = path.open("rb")
    start = file.read(2)
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if start == GZIP else file  # type: ignore[return-value]


def first_bytes(path: Path, size: int) -> bytes:
    """How the (decompressed) file begins. Raises Unreadable."""
    try:
        with opened(path) as file:
            return file.read(size)
    except (OSError, EOFError, zlib.error) as problem:
        raise Unreadable(_reason(problem)) from problem


def encoding_of(start: bytes) -> str:
    """The encoding by the byte order mark; without one by where zeros stand, as PowerShell leaves it out at times."""
    for mark, name in BYTE_ORDER_MARKS:
        if start.startswith(mark):
            return name
    if start[1:2] == b"\0" and start[:1] != b"\0":
        return "utf-16-le"
    return "utf-16-be" if start[:1] == b"\0" and start[1:2] != b"\0" else "utf-8"


def blocks(path: Path) -> Iterator[str]:
    """The text of a file. Raises Unreadable where it cannot be read further; what was read before has been given."""
    try:
        with opened(path) as file:
            data = file.read(BLOCK)
            decoder = codecs.getincrementaldecoder(encoding_of(data))("replace")
            taken = len(data)
            first = True
            while data:
                text = decoder.decode(data)
                yield text.removeprefix("\ufeff") if first else text
                first = False
                if taken > MAX_BYTES:
                    raise Unreadable(f"more than {MAX_BYTES:,} bytes")
                data = file.read(BLOCK)
                taken += len(data)
            yield decoder.decode(b"", True)
    except (OSError, EOFError, zlib.error) as problem:
        raise Unreadable(_reason(problem)) from problem


def _reason(problem: BaseException) -> str:
    return getattr(problem, "strerror", None) or f"damaged: {problem}"


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines with their numbers from 1; of one that is too long the first part."""
    number, rest = 1, ""
    dropping = False
    for block in blocks(path):
        parts = (rest + block).split("\n")
        rest = parts.pop()
        for part in parts:
            if not dropping:
                yield number, part[:MAX_RECORD].rstrip("\r")
            dropping = False
            number += 1
        if len(rest) > MAX_RECORD:
            if not dropping:
                yield number, rest[:MAX_RECORD]
            dropping, rest = True, ""
    if rest and not dropping:
        yield number, rest.rstrip("\r")


class Window:
    """The text around a place that moves forward: behind it at least a whole record, unless the file ends."""

    def __init__(self, source: Iterator[str]) -> None:
        self._source = source
        self.text = ""
        self.at = 0
        self.line = 1
        """The line that the place is in."""
        self._ended = False

    def fill(self) -> bool:
        """Read on until a whole record must be there; False if nothing is left."""
        while not self._ended and len(self.text) - self.at < MAX_RECORD:
            block = next(self._source, None)
            if block is None:
                self._ended = True
            else:
                self.text = self.text[self.at :] + block
                self.at = 0
        return self.at < len(self.text)

    def go_to(self, place: int) -> None:
        """Move forward."""
        self.line += self.text.count("\n", self.at, place)
        self.at = place
