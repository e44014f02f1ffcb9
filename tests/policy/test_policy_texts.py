"""Bytes to text: the encodings in which administrators' files come."""

from __future__ import annotations

import codecs

import pytest

from analyzer.errors import PolicyError
from analyzer.policy.texts import comment_lines, spelt, text_of

TEXT = "[Unicode]\nUnicode=yes\n"
DOS = TEXT.replace("\n", "\r\n")


@pytest.mark.parametrize(
    "data",
    [
        DOS.encode("ascii"),
        codecs.BOM_UTF8 + DOS.encode(),
        codecs.BOM_UTF16_LE + DOS.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + DOS.encode("utf-16-be"),
        DOS.encode("utf-16-le"),
        DOS.encode("ascii") + b"\x1a",
        TEXT.replace("\n", "\r").encode("ascii"),
    ],
    ids=["ascii", "utf-8", "utf-16", "utf-16-be", "utf-16 without mark", "end of DOS", "carriage returns"],
)
def test_encodings(data: bytes) -> None:
    assert text_of(data, "f") == (TEXT, [])


def test_a_code_page_is_warned_of() -> None:
    text, warnings = text_of("größe = 1".encode("cp1252"), "f.inf")
    assert text == "größe = 1"
    assert len(warnings) == 1
    assert "f.inf" in warnings[0]


@pytest.mark.parametrize("data", [b"MZ\x90\x00\x03", b"\x7fELF\x02\x01", b"a\0b", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"])
def test_binary_files_are_refused(data: bytes) -> None:
    with pytest.raises(PolicyError, match=r"f\.bin.*control character"):
        text_of(data, "f.bin")


@pytest.mark.parametrize("data", [b"\xff\xfe\x00\xd8a\0", b"\xff\xfea", codecs.BOM_UTF8 + b"\xff"])
def test_broken_encodings_are_refused(data: bytes) -> None:
    with pytest.raises(PolicyError, match="no valid UTF"):
        text_of(data, "f")


def test_comments_stay_comments() -> None:
    assert comment_lines("one\ntwo\x1b[31m\r[Registry Values]", ";") == ["; one", "; two\\x1b[31m\\r[Registry Values]"]
    assert comment_lines("", ";") == []
    assert spelt("a\u2028b\ud800") == "a\\u2028b\\ud800"
