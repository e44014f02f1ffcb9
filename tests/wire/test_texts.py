"""The pool of texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.wire.texts import MISSING, Texts


def test_codes_count_up_and_repeat() -> None:
    texts = Texts()
    assert [texts.code(text) for text in ("", "user", "", "domain", "user")] == [0, 1, 0, 2, 1]
    assert [texts.text(code) for code in (0, 1, 2)] == ["", "user", "domain"]


def test_empty_is_not_missing() -> None:
    texts = Texts()
    assert texts.text(texts.code("")) == ""
    assert texts.text(MISSING) is None


def test_the_same_bytes_in_another_encoding_are_another_text() -> None:
    texts = Texts()
    data = bytes.fromhex("6100 6200")
    assert texts.text(texts.decode(data, "utf-16-le")) == "ab"
    assert texts.text(texts.decode(data, "cp437")) == "a\0b\0"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (bytes.fromhex("3dd8 00de"), "\N{GRINNING FACE}"),  # a pair of surrogates
        (bytes.fromhex("00d8 6100"), "\ufffda"),  # a lone one
        (bytes.fromhex("6100 62"), "a\ufffd"),  # half a character
    ],
)
def test_what_cannot_be_decoded_is_marked(data: bytes, text: str) -> None:
    texts = Texts()
    assert texts.text(texts.decode(data, "utf-16-le")) == text


def test_slices_of_an_arena() -> None:
    texts = Texts()
    arena = np.frombuffer(b"--a\0b\0--", np.uint8)
    codes = texts.slices(arena, np.array([2, 4, 2, 0]), np.array([4, 2, 0, -1]), "utf-16-le")
    assert [texts.text(code) for code in codes.tolist()] == ["ab", "b", "", None]


@given(st.lists(st.text(max_size=8)))
def test_every_text_is_found_again(written: list[str]) -> None:
    texts = Texts()
    codes = [texts.code(text) for text in written]
    assert [texts.text(code) for code in codes] == written
    assert sorted(set(codes)) == list(range(len(set(written))))


@given(st.binary(max_size=20), st.sampled_from(["utf-16-le", "cp437"]))
def test_any_bytes_become_a_text_that_can_be_written_again(data: bytes, encoding: str) -> None:
    texts = Texts()
    text = texts.text(texts.decode(data, encoding))
    assert text is not None
    text.encode("utf-8")  # no lone surrogates
