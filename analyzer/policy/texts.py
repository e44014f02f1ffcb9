"""Bytes of a text file to text: registry exports and templates come in UTF-16 and in the ANSI code page of some machine."""

from __future__ import annotations

import codecs

from analyzer.errors import PolicyError

ANSI = "cp1252"
"""The code page of western Windows. Names of settings are ASCII in all of them."""
CONTROLS = frozenset(map(chr, range(32))) - set("\t\n\v\f\r\x1a")
"""What no text has. 1A ends texts of DOS."""


def text_of(data: bytes, file: str) -> tuple[str, list[str]]:
    """The text with single newlines, and what to warn of. Raises PolicyError for bytes that are no text."""
    warnings = []
    if data.startswith(codecs.BOM_UTF8):
        text = _decoded(data[3:], "utf-8", file)
    elif data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = _decoded(data, "utf-16", file)
    elif _looks_wide(data):
        text = _decoded(data, "utf-16-le", file)
    else:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            # A few bytes of a code page have no character in this one; what they stand for is not known either way.
            text = data.decode(ANSI, errors="replace")
            warnings.append(f"{file}: its encoding is not told; read as Western European ANSI")
    if found := CONTROLS.intersection(text):
        raise PolicyError(file, f"no text: it holds the control character {ord(min(found)):#04x}")
    return text.rstrip("\x1a").replace("\r\n", "\n").replace("\r", "\n"), warnings


def _looks_wide(data: bytes) -> bool:
    """UTF-16 without its mark: the first characters are ASCII, so every other byte is zero."""
    head = data[:64]
    return len(head) >= 8 and len(data) % 2 == 0 and not any(head[1::2]) and all(head[::2])


def _decoded(data: bytes, encoding: str, file: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as problem:
        raise PolicyError(file, f"no valid {encoding.upper()}: {problem.reason}", f"byte {problem.start:,}") from None


def spelt(text: str) -> str:
    """A text on one line of printable ASCII: what else is in it is spelt out."""
    return "".join(
        char if " " <= char <= "~" else char.encode("unicode_escape", "replace").decode("ascii") for char in text
    )


def comment_lines(comment: str, mark: str) -> list[str]:
    """A comment as lines that begin with `mark`."""
    return [f"{mark} {spelt(line)}".rstrip() for line in comment.split("\n")] if comment else []
