"""The reads of the kernels, plain: against `struct` and plain arithmetic. (Compiled: see test_compiled.)"""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.wire import loads

WORD = 2**32
numbers = st.integers(0, WORD - 1)

READS: list[tuple[Callable[..., int], str, tuple[int, ...]]] = [
    (loads.byte, "B", ()),
    (loads.be16, ">H", ()),
    (loads.be32, ">I", ()),
    (loads.be64, ">q", ()),
    (loads.le16, "<H", ()),
    (loads.le32, "<I", ()),
    (loads.le64, "<q", ()),
    (loads.u16, "<H", (0,)),
    (loads.u16, ">H", (1,)),
    (loads.u32, "<I", (0,)),
    (loads.u32, ">I", (1,)),
]


@pytest.mark.parametrize(("read", "code", "order"), READS, ids=[f"{r[0].__name__}-{r[1]}" for r in READS])
@given(data=st.binary(min_size=8, max_size=8))
def test_reads(read: Callable[..., int], code: str, order: tuple[int, ...], data: bytes) -> None:
    assert read(memoryview(b"?" + data), 1, *order) == struct.unpack_from(code, data)[0]


@given(data=st.binary(min_size=3, max_size=3))
def test_three_bytes(data: bytes) -> None:
    assert loads.be24(memoryview(b"?" + data), 1) == int.from_bytes(data, "big")


@given(start=numbers, distance=st.integers(-(2**31), 2**31 - 1))
def test_distance_of_sequence_numbers_holds_across_the_wrap(start: int, distance: int) -> None:
    end = (start + distance) % WORD
    assert loads.signed32(end - start) == distance


@given(value=st.integers(-(2**40), 2**40))
def test_distance_is_modulo_the_sequence_space(value: int) -> None:
    found = loads.signed32(value)
    assert -(2**31) <= found < 2**31
    assert (found - value) % WORD == 0


@given(a=numbers, b=st.integers(-(2**63), 2**63 - 1))
def test_a_hash_is_32_bits(a: int, b: int) -> None:
    assert 0 <= loads.mix(a, b) < WORD


def test_a_hash_depends_on_every_bit() -> None:
    base = loads.mix(1, 0)
    assert all(loads.mix(1, 1 << bit) != base for bit in range(63))
    assert loads.mix(1, -(2**63)) != base
    assert all(loads.mix(1 ^ (1 << bit), 0) != base for bit in range(32))


def test_copy() -> None:
    target = bytearray(b"......")
    loads.copy_bytes(memoryview(target), 1, memoryview(b"abcdef"), 2, 3)
    assert target == b".cde.."
