"""The bounds-checked reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.errors import DecodeError, NeedMoreBytes
from analyzer.wire.cursor import Cursor
from analyzer.wire.layout import Layout

PAIR = Layout("pair", [("first", "H"), ("second", "I")])


def test_reads_forward() -> None:
    cursor = Cursor(bytes.fromhex("ff 0100 02000000 0304 0506 07"), "layer", offset=1)
    assert cursor.take(PAIR) == {"first": 1, "second": 2}
    assert cursor.number(2, "little") == 0x0403
    assert cursor.number(2, "big", big_endian=True) == 0x0506
    assert len(cursor) == 1
    assert cursor.bytes(1, "rest") == b"\x07"
    assert len(cursor) == 0
    assert cursor.offset == 12


def test_a_read_of_nothing_is_always_possible() -> None:
    assert Cursor(b"", "layer").bytes(0, "empty") == b""


@pytest.mark.parametrize("size", [-1, 4])
def test_a_read_that_does_not_fit_says_where(size: int) -> None:
    cursor = Cursor(b"abcde", "smb2", offset=2)
    with pytest.raises(NeedMoreBytes) as caught:
        cursor.bytes(size, "security_buffer")
    assert (caught.value.layer, caught.value.field, caught.value.offset) == ("smb2", "security_buffer", 2)
    assert cursor.offset == 2


def test_a_structure_that_does_not_fit_names_itself() -> None:
    with pytest.raises(NeedMoreBytes) as caught:
        Cursor(b"abcde", "layer").take(PAIR)
    assert caught.value.field == "pair"


def test_beginning_behind_the_end() -> None:
    cursor = Cursor(b"ab", "layer", offset=5)
    assert len(cursor) == 0
    with pytest.raises(DecodeError):
        cursor.number(1, "field")


@given(data=st.binary(max_size=20), offset=st.integers(0, 25), size=st.integers(-3, 25))
def test_either_the_bytes_or_an_error(data: bytes, offset: int, size: int) -> None:
    cursor = Cursor(data, "layer", offset)
    if size >= 0 and offset + size <= len(data):
        assert cursor.bytes(size, "field") == data[offset : offset + size]
    else:
        with pytest.raises(NeedMoreBytes):
            cursor.bytes(size, "field")
