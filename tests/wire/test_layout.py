"""Field tables: places, sizes, and that both readers of them agree."""

from __future__ import annotations

import struct
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.auth import ntlmssp
from analyzer.capture import pcap
from analyzer.smb import smb1, smb2
from analyzer.wire.layout import Layout

SAMPLE = Layout("sample", [("mark", "3s"), ("kind", "B"), ("size", "H"), ("change", "h"), ("id", "Q"), ("time", "i")])
SAMPLE_BYTES = (
    b"\xff\x00\x00"  #                           mark
    b"\x07"  #                                   kind
    b"\x34\x12"  #                               size
    b"\xfe\xff"  #                               change
    b"\x08\x07\x06\x05\x04\x03\x02\x01"  #       id
    b"\x00\x00\x00\x80"  #                       time
)


def layouts_of(module: ModuleType) -> list[Layout]:
    """All field tables that a module defines."""
    return [value for value in vars(module).values() if isinstance(value, Layout)]


ALL_LAYOUTS = [layout for module in (pcap, ntlmssp, smb1, smb2) for layout in layouts_of(module)]


def test_places_and_size_are_without_padding() -> None:
    assert SAMPLE.offsets == {"mark": 0, "kind": 3, "size": 4, "change": 6, "id": 8, "time": 16}
    assert SAMPLE.size == 20
    assert SAMPLE.dtype.itemsize == 20


def test_one_structure_is_read_little_endian() -> None:
    assert SAMPLE.read(b"??" + SAMPLE_BYTES, 2) == {
        "mark": b"\xff\x00\x00",
        "kind": 7,
        "size": 0x1234,
        "change": -2,
        "id": 0x0102030405060708,
        "time": -(2**31),
    }


def test_one_structure_is_read_big_endian() -> None:
    layout = Layout("big", [("a", "H"), ("b", "I")], big_endian=True)
    assert layout.read(bytes.fromhex("0102 01020304")) == {"a": 0x0102, "b": 0x01020304}
    rows = layout.gather(np.frombuffer(bytes.fromhex("0102 01020304"), np.uint8), np.array([0]))
    assert rows.tolist() == [(0x0102, 0x01020304)]


def test_too_few_bytes_for_one_structure() -> None:
    with pytest.raises(struct.error):
        SAMPLE.read(SAMPLE_BYTES[:-1])


def test_a_batch_keeps_trailing_zeros_of_byte_fields() -> None:
    rows = SAMPLE.gather(np.frombuffer(SAMPLE_BYTES, np.uint8), np.array([0]))
    assert rows["mark"][0].tobytes() == b"\xff\x00\x00"


def test_a_batch_of_none_is_empty() -> None:
    rows = SAMPLE.gather(np.frombuffer(SAMPLE_BYTES, np.uint8), np.array([], dtype=np.int64))
    assert len(rows) == 0
    assert rows.dtype == SAMPLE.dtype


def test_a_batch_does_not_share_memory_with_its_arena() -> None:
    arena = np.frombuffer(SAMPLE_BYTES, np.uint8).copy()
    rows = SAMPLE.gather(arena, np.array([0]))
    arena[:] = 0
    assert rows["size"][0] == 0x1234


@pytest.mark.parametrize("layout", ALL_LAYOUTS, ids=lambda layout: layout.title)
@given(data=st.binary(min_size=200, max_size=400), places=st.lists(st.integers(0, 100), min_size=1, max_size=5))
def test_one_and_batch_agree(layout: Layout, data: bytes, places: list[int]) -> None:
    rows = layout.gather(np.frombuffer(data, np.uint8), np.array(places, dtype=np.int64))
    for row, place in zip(rows, places, strict=True):
        one = layout.read(data, place)
        batch = {name: row[name].tobytes() if code.endswith("s") else int(row[name]) for name, code in layout.fields}
        assert batch == one


@pytest.mark.parametrize("layout", ALL_LAYOUTS, ids=lambda layout: layout.title)
def test_names_are_unique_and_places_follow_each_other(layout: Layout) -> None:
    names = [name for name, _ in layout.fields]
    assert len(set(names)) == len(names)
    sizes = [struct.calcsize("<" + code) for _, code in layout.fields]
    assert list(layout.offsets.values()) == [sum(sizes[:i]) for i in range(len(sizes))]
    assert layout.size == sum(sizes)
