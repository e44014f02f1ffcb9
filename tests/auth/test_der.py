"""Elements of DER, many at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.auth.der import is_bytes, read_elements
from tests.build import der

SPARE = 8


def element_of(data: bytes, *, at: int = 0, end: int | None = None, filling: int = 0x81) -> tuple[int, int, int, int]:
    """Tag, start and end of the value, and the next element's place."""
    arena = np.frombuffer(data + bytes([filling]) * SPARE, np.uint8)
    found = read_elements(arena, np.array([at]), np.array([len(data) if end is None else end]))
    return tuple(int(column[0]) for column in found)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bytes.fromhex("04 03 616263"), (0x04, 2, 5, 5)),
        (bytes.fromhex("30 00"), (0x30, 2, 2, 2)),
        (bytes.fromhex("04 03 616263 0500"), (0x04, 2, 5, 5)),
        (bytes.fromhex("04 81 03 616263"), (0x04, 3, 6, 6)),
        (bytes.fromhex("04 82 0003 616263"), (0x04, 4, 7, 7)),
        (bytes.fromhex("04 83 000003 616263"), (0x04, 5, 8, 8)),
        (bytes.fromhex("04 84 00000003 616263"), (0x04, 6, 9, 9)),
        (b"\x04\x82\x01\x02" + bytes(0x102), (0x04, 4, 0x106, 0x106)),
    ],
    ids=["short", "empty", "more behind", "1 octet", "2 octets", "3 octets", "4 octets", "258 bytes"],
)
def test_lengths(data: bytes, expected: tuple[int, int, int, int]) -> None:
    assert element_of(data) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        bytes.fromhex("30 80 0500 0000"),  # indefinite length
        bytes.fromhex("30 85 0000000001 05"),  # five length octets
        bytes.fromhex("30 82 01"),  # cut in its length
    ],
    ids=["nothing", "a tag", "indefinite", "five octets", "cut length"],
)
def test_no_element(data: bytes) -> None:
    tag, start, end, following = element_of(data)
    assert tag == 0
    assert start == end == following == len(data)


def test_an_element_ends_with_what_holds_it() -> None:
    assert element_of(bytes.fromhex("04 10 616263")) == (0x04, 2, 5, 5)
    assert element_of(bytes.fromhex("04 84 ffffffff 616263")) == (0x04, 6, 9, 9)
    assert element_of(bytes.fromhex("04 03 616263"), end=4) == (0x04, 2, 4, 4)


def test_elements_of_several_blobs() -> None:
    data = bytes.fromhex("04 01 61" "3002 0500" "06 03 2a0304")
    arena = np.frombuffer(data + bytes(SPARE), np.uint8)
    found = read_elements(arena, np.array([0, 3, 7]), np.array([3, 7, 12]))
    assert found.tag.tolist() == [0x04, 0x30, 0x06]
    assert found.start.tolist() == [2, 5, 9]
    assert found.end.tolist() == found.next.tolist() == [3, 7, 12]


@given(tag=st.integers(1, 255), content=st.binary(max_size=300), octets=st.integers(0, 4), before=st.binary(max_size=9))
def test_what_was_written_is_read(tag: int, content: bytes, octets: int, before: bytes) -> None:
    if octets == 1 and len(content) > 255:
        octets = 2
    data = before + der(tag, content, octets=octets)
    found_tag, start, end, following = element_of(data + b"\x05\x00", at=len(before))
    assert (found_tag, data[start:end], following) == (tag, content, len(data))


@given(data=st.binary(max_size=12), at=st.integers(0, 12))
def test_any_bytes(data: bytes, at: int) -> None:
    at = min(at, len(data))
    _, start, end, following = found = element_of(data, at=at)
    assert at <= start <= end <= following <= len(data)
    assert element_of(data, at=at, filling=0x00) == found


def test_comparing_bytes() -> None:
    arena = np.frombuffer(b"abcabd", np.uint8)
    places, ends = np.array([0, 3, 3, 5]), np.array([6, 6, 5, 6])
    assert is_bytes(arena, places, ends, b"abc").tolist() == [True, False, False, False]
    assert is_bytes(arena, places, ends, b"ab").tolist() == [True, True, True, False]
    assert is_bytes(arena, places, ends, b"").tolist() == [True] * 4
