"""Elements of DER, many at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.auth.der import (
    MAX_FIELDS,
    der_end,
    der_field,
    der_integer,
    der_is_oid,
    der_is_whole,
    der_start,
    der_stated_end,
    der_tag,
    halves,
    is_constant,
)
from analyzer.compiled import Bytes
from tests.build import OID_KERBEROS, OID_NTLMSSP, OID_SPNEGO, der


def memory_of(data: bytes, behind: bytes = b"") -> Bytes:
    """Bytes as a plain kernel gets them."""
    return memoryview(data + behind)  # type: ignore[return-value]


def element_of(data: bytes, *, at: int = 0, end: int | None = None, behind: bytes = b"\x81" * 8) -> tuple[int, ...]:
    """Tag, start and end of the value."""
    end = len(data) if end is None else end
    memory = memory_of(data, behind)
    return der_tag(memory, at, end), der_start(memory, at, end), der_end(memory, at, end)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bytes.fromhex("04 03 616263"), (0x04, 2, 5)),
        (bytes.fromhex("30 00"), (0x30, 2, 2)),
        (bytes.fromhex("04 03 616263 0500"), (0x04, 2, 5)),
        (bytes.fromhex("04 81 03 616263"), (0x04, 3, 6)),
        (bytes.fromhex("04 82 0003 616263"), (0x04, 4, 7)),
        (bytes.fromhex("04 83 000003 616263"), (0x04, 5, 8)),
        (bytes.fromhex("04 84 00000003 616263"), (0x04, 6, 9)),
        (b"\x04\x82\x01\x02" + bytes(0x102), (0x04, 4, 0x106)),
    ],
    ids=["short", "empty", "more behind", "1 octet", "2 octets", "3 octets", "4 octets", "258 bytes"],
)
def test_lengths(data: bytes, expected: tuple[int, int, int]) -> None:
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
    assert element_of(data) == (0, len(data), len(data))
    assert der_stated_end(memory_of(data), 0, len(data)) == len(data)


def test_an_element_ends_with_what_holds_it() -> None:
    assert element_of(bytes.fromhex("04 10 616263")) == (0x04, 2, 5)
    assert element_of(bytes.fromhex("04 84 ffffffff 616263")) == (0x04, 6, 9)
    assert element_of(bytes.fromhex("04 03 616263"), end=4) == (0x04, 2, 4)


def test_what_an_element_claims() -> None:
    for data, claimed in (
        (b"\x04\x03abc", 5),
        (b"\x04\x10abc", 18),
        (bytes.fromhex("04 84 ffffffff 61"), 6 + 0xFFFFFFFF),
    ):
        memory = memory_of(data)
        assert der_stated_end(memory, 0, len(data)) == claimed
        assert der_is_whole(memory, 0, len(data), 0x04) == (claimed <= len(data))
        assert not der_is_whole(memory, 0, len(data), 0x30)


@given(tag=st.integers(1, 255), content=st.binary(max_size=300), octets=st.integers(0, 4), before=st.binary(max_size=9))
def test_what_was_written_is_read(tag: int, content: bytes, octets: int, before: bytes) -> None:
    if octets == 1 and len(content) > 255:
        octets = 2
    data = before + der(tag, content, octets=octets)
    found_tag, start, end = element_of(data + b"\x05\x00", at=len(before))
    assert (found_tag, data[start:end], end) == (tag, content, len(data))


@given(data=st.binary(max_size=12), at=st.integers(0, 12))
def test_any_bytes(data: bytes, at: int) -> None:
    at = min(at, len(data))
    _, start, end = found = element_of(data, at=at)
    assert at <= start <= end <= len(data)
    assert element_of(data, at=at, behind=b"") == found


@pytest.mark.parametrize("value", [b"NTLMSSP\0", OID_SPNEGO, OID_NTLMSSP, OID_KERBEROS], ids=bytes.hex)
def test_constants(value: bytes) -> None:
    size = len(value)
    assert is_constant(memory_of(value), 0, size, *halves(value))
    assert is_constant(memory_of(b"-" + value + b"-"), 1, size + 2, *halves(value))
    assert not is_constant(memory_of(value), 0, size - 1, *halves(value))
    for i in range(size):
        other = bytearray(value)
        other[i] ^= 1
        assert not is_constant(memory_of(bytes(other)), 0, size, *halves(value))


def test_object_identifiers() -> None:
    for data, same in (
        (der(0x06, OID_SPNEGO), True),
        (der(0x06, OID_SPNEGO, octets=2), True),
        (der(0x06, OID_SPNEGO + b"\x01"), False),
        (der(0x06, OID_SPNEGO[:-1]), False),
        (der(0x04, OID_SPNEGO), False),
        (b"", False),
    ):
        assert der_is_oid(memory_of(data), 0, len(data), *halves(OID_SPNEGO)) == same


def test_fields_of_a_sequence() -> None:
    data = der(0x30, der(0xA0, b"a"), der(0xA2, b"bc"), der(0xA3))
    memory = memory_of(data)
    assert [der_field(memory, 0, len(data), number) for number in range(5)] == [2, -1, 5, 9, -1]
    assert der_field(memory_of(data), 0, 4, 2) == -1
    assert der_field(memory_of(der(0x31, der(0xA0))), 0, 4, 0) == -1
    many = der(0x30, *[der(0xA1)] * MAX_FIELDS, der(0xA0))
    assert der_field(memory_of(many), 0, len(many), 0) == -1


@pytest.mark.parametrize(
    ("value", "number"),
    [("12", 18), ("80", -128), ("0080", 128), ("ff7b", -133), ("7fffffff", 0x7FFFFFFF), ("", 0), ("0000000001", 0)],
)
def test_integers(value: str, number: int) -> None:
    data = bytes.fromhex(value)
    assert der_integer(memory_of(data), 0, len(data)) == number
