"""Fragments put together, within bounds."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.packet import Raw

from analyzer.capture import fragments as f
from analyzer.capture import packets as p
from analyzer.compiled import Kernels, plain_kernels
from tests.build import LINK_RAW, START_NS, ipv4, tcp
from tests.capture.reading import Seen, no_counts, seen_of

ROOM = 200_000
CONTENT = tcp(bytes(n % 251 for n in range(3_000)), flags=0x18)
"""A TCP segment of 3,020 bytes."""


class Peeling:
    """The state of `peel` between packets."""

    def __init__(self, kernels: Kernels | None = None, room: int = ROOM) -> None:
        self.kernels = kernels or plain_kernels()
        self.fragments = f.no_fragments()
        self.counts = no_counts()
        self.look = np.zeros(p.L_WIDTH, dtype=np.int64)
        self.room = room
        self.now = START_NS
        self.calls = 0

    def feed(self, packets: Iterable[bytes], *, cut: int = 1 << 20, step_ns: int = 1000) -> list[Seen]:
        """The segments in these packets of raw IP, all in one buffer, each captured up to `cut` bytes."""
        packets = list(packets)
        buffer = bytearray(self.room)
        table = np.zeros((max(1, len(packets)), p.P_WIDTH), dtype=np.int64)
        for frame, data in enumerate(packets, 1):
            row = table[frame - 1]
            row[[p.P_FRAME, p.P_TIME, p.P_DATA, p.P_HAVE]] = frame, self.now, len(buffer), min(cut, len(data))
            row[[p.P_SIZE, p.P_LINK, p.P_PLACE]] = len(data), LINK_RAW, 100 * frame
            buffer += data[:cut] + b"\xee" * 16
            self.now += step_ns
        filled = np.frombuffer(bytes(buffer), np.uint8).copy()
        found: list[Seen] = []
        at = 0
        while at < len(packets):
            segments = np.zeros((len(packets), p.T_WIDTH), dtype=np.int64)
            rows = self.kernels.peel(
                filled, table, at, len(packets), 0, segments, self.look, self.fragments, self.counts
            )
            found += seen_of(segments[:rows], filled)
            assert self.look[p.L_ROW] > at
            at = int(self.look[p.L_ROW])
            self.calls += 1
        return found

    def counted(self) -> dict[int, int]:
        """Counters that are not zero."""
        return {place: int(count) for place, count in enumerate(self.counts) if count}

    def free_blocks(self) -> int:
        """Blocks that hold nothing."""
        found, block = 0, int(self.fragments.ring[f.F_FREE_BLOCK])
        while block >= 0:
            found, block = found + 1, int(self.fragments.block_next[block])
        return found


def part(begin: int, end: int, *, last: bool = False, number: int = 1, content: bytes = CONTENT) -> bytes:
    """A fragment with the bytes `begin` to `end` of a datagram. [RFC 791 3.1]"""
    whole = ipv4(content[begin:end], fragment=(not last) << 13 | begin // 8)
    return whole[:4] + struct.pack(">H", number) + whole[6:]


def parts(size: int = 1_000, *, number: int = 1, content: bytes = CONTENT) -> list[bytes]:
    """A datagram in fragments."""
    assert size % 8 == 0
    return [
        part(at, at + size, last=at + size >= len(content), number=number, content=content)
        for at in range(0, len(content), size)
    ]


def assert_whole(seen: list[Seen], content: bytes = CONTENT) -> None:
    """One segment, with all of its payload."""
    assert [segment.payload for segment in seen] == [content[20:]]
    assert seen[0].size == len(content) - 20
    assert (seen[0].source, seen[0].target) == (("10.0.0.1", 49_152), ("10.0.0.2", 445))


@pytest.mark.parametrize("size", [8, 16, 1_000, 2_040, 2_048, 2_056, 3_016])
def test_in_order(size: int, kernels: Kernels) -> None:
    peeling = Peeling(kernels)
    assert_whole(peeling.feed(parts(size)))
    assert peeling.counted() == {p.C_FRAGMENTS: len(parts(size)), p.C_TCP: 1}
    assert peeling.free_blocks() == f.BLOCKS


def test_the_last_fragment_to_come_gives_frame_and_time(kernels: Kernels) -> None:
    first, second, third, fourth = parts()
    (seen,) = Peeling(kernels).feed([second, fourth, first, third])
    assert (seen.frame, seen.time_ns, seen.place) == (4, START_NS + 3_000, 400)


@given(size=st.sampled_from([8, 40, 504, 1_000, 1_024]), seed=st.integers(0, 2**32))
def test_in_any_order_with_repetitions(size: int, seed: int) -> None:
    rng = random.Random(seed)
    given_parts = parts(size)
    dealt = rng.sample(given_parts, len(given_parts)) + rng.choices(given_parts, k=5)
    peeling = Peeling()
    assert_whole(peeling.feed(dealt))
    assert peeling.counts[p.C_FRAGMENTS] + peeling.counts[p.C_DUPLICATES] == len(dealt)
    assert f.still_under_way(peeling.fragments) == 0


@given(cuts=st.lists(st.tuples(st.integers(0, 370), st.integers(1, 100)), max_size=30), seed=st.integers(0, 99))
def test_any_overlaps_of_equal_copies(cuts: list[tuple[int, int]], seed: int) -> None:
    """Fragments of fragments: any pieces, as long as they agree and cover the datagram."""
    dealt = [part(at * 8, min(3_016, (at + units) * 8)) for at, units in cuts] + parts(600)
    random.Random(seed).shuffle(dealt)
    assert_whole(Peeling().feed(dealt))


def test_the_first_copy_of_a_byte_wins(kernels: Kernels) -> None:
    other = CONTENT[:20] + b"\xff" * 3_000
    dealt = [part(800, 1_600), part(0, 2_000, content=other), part(1_600, 3_020, last=True)]
    (seen,) = Peeling(kernels).feed(dealt)
    expected = other[:800] + CONTENT[800:1_600] + other[1_600:2_000] + CONTENT[2_000:]
    assert seen.payload == expected[20:]


def test_fragments_that_contradict_each_other(kernels: Kernels) -> None:
    peeling = Peeling(kernels)
    dealt = [
        part(2_000, 3_020, last=True),
        part(2_000, 3_000, last=True),  # ends elsewhere: before what is known,
        part(3_016, 3_020),  # its size is no multiple of 8,
        ipv4(bytes(80), fragment=0x2000 | 380),  # beyond the end,
        ipv4(bytes(800), fragment=8_190),  # beyond any end,
        ipv4(b"", fragment=0x2000),  # or nothing
        *parts()[:2],
    ]
    assert_whole(peeling.feed(dealt))
    assert peeling.counts[p.C_FRAGMENTS_GIVEN_UP] == 5


def test_the_largest_datagram(kernels: Kernels) -> None:
    content = tcp(bytes(65_496))
    peeling = Peeling(kernels)
    (seen,) = peeling.feed(parts(1_480, content=content[:65_515]))
    assert seen.size == 65_495


def test_a_fragment_cut_by_the_snap_length(kernels: Kernels) -> None:
    """What is there up to the first byte that is not goes on; the rest is missing, as in a cut packet."""
    (seen,) = Peeling(kernels).feed(parts(1_000), cut=520)  # 500 bytes behind the IP header
    assert (len(seen.payload), seen.size) == (496 - 20, 3_000)
    assert seen.payload == CONTENT[20:496]


def test_what_scapy_takes_apart(kernels: Kernels) -> None:
    packet = IP(src="10.0.0.1", dst="10.0.0.2", id=77) / TCP(sport=49_152, dport=445) / Raw(CONTENT[20:])
    assert [seen.payload for seen in Peeling(kernels).feed(map(bytes, fragment(packet, 600)))] == [CONTENT[20:]]
    packet = IPv6(src="fd00::1", dst="fd00::2") / IPv6ExtHdrFragment(id=7) / TCP(sport=49_152, dport=445)
    (seen,) = Peeling(kernels).feed(map(bytes, fragment6(packet / Raw(CONTENT[20:]), 1_280)))
    assert seen.payload == CONTENT[20:]
    assert (seen.source, seen.target) == (("fd00::1", 49_152), ("fd00::2", 445))


def test_datagrams_are_told_apart(kernels: Kernels) -> None:
    """By identification, addresses and protocol."""
    first = parts(2_000)
    others = [
        parts(2_000, number=2),
        [data[:12] + bytes([10, 0, 0, 9]) + data[16:] for data in first],
        [data[:16] + bytes([10, 0, 0, 9]) + data[20:] for data in first],
        [data[:9] + b"\x01" + data[10:] for data in first],
    ]
    peeling = Peeling(kernels)
    found = peeling.feed([data[0] for data in [first, *others]] + [data[1] for data in [first, *others]])
    assert len(found) == 4
    assert peeling.counts[p.C_OTHER_IP] == 1


def test_an_identification_that_is_used_again(kernels: Kernels) -> None:
    """Within a second it is a copy of the packet; later it is another packet."""
    peeling = Peeling(kernels)
    assert_whole(peeling.feed(parts()))
    assert peeling.feed(parts()) == []
    assert peeling.counts[p.C_DUPLICATES] == 4
    peeling.now += f.COPY_NS
    other = tcp(b"other" * 500)
    assert_whole(peeling.feed(parts(content=other)), other)


def test_what_never_becomes_whole_is_given_up(kernels: Kernels) -> None:
    peeling = Peeling(kernels)
    assert peeling.feed(parts()[:2]) == []
    assert f.still_under_way(peeling.fragments) == 1
    peeling.now += f.MAX_AGE_NS + 1
    assert peeling.feed(parts()[2:]) == []
    assert_whole(peeling.feed(parts()[:2]))
    for number in range(2, 2 + f.DATAGRAMS):
        peeling.feed(parts(number=number)[:1])
    assert peeling.counts[p.C_INCOMPLETE] == 1
    assert f.still_under_way(peeling.fragments) == f.DATAGRAMS


def test_more_datagrams_than_there_is_room_for(kernels: Kernels) -> None:
    """The oldest goes; the newest are put together still."""
    peeling = Peeling(kernels)
    peeling.feed(parts(number=number)[0] for number in range(1, 2 * f.DATAGRAMS + 1))
    assert peeling.counts[p.C_INCOMPLETE] == f.DATAGRAMS
    found = peeling.feed(data for number in range(2 * f.DATAGRAMS, 0, -1) for data in parts(number=number)[1:])
    assert len(found) == f.DATAGRAMS


def test_more_bytes_than_there_is_room_for(kernels: Kernels) -> None:
    content = tcp(bytes(60_000))
    peeling = Peeling(kernels)
    for number in range(1, 301):
        peeling.feed(parts(20_000, number=number, content=content)[:-1])
        assert peeling.free_blocks() >= 0
    assert peeling.counts[p.C_INCOMPLETE] > 100
    assert_whole(peeling.feed(parts(20_000, number=300, content=content)[-1:]), content)
    for number in range(301, 301 + f.DATAGRAMS):
        peeling.feed(parts(number=number)[:1])
    assert peeling.free_blocks() == f.BLOCKS - f.DATAGRAMS


def test_more_whole_datagrams_than_the_buffer_has_room_for(kernels: Kernels) -> None:
    """`peel` then stops, and goes on when what it has found was used."""
    peeling = Peeling(kernels)
    found = peeling.feed(data for number in range(1, 101) for data in parts(number=number))
    assert [segment.payload for segment in found] == [CONTENT[20:]] * 100
    assert peeling.calls > 1


def test_no_room_at_all(kernels: Kernels) -> None:
    peeling = Peeling(kernels, room=100)
    assert peeling.feed(parts()) == []
    assert peeling.counts[p.C_FRAGMENTS_GIVEN_UP] == 1
    assert peeling.free_blocks() == f.BLOCKS


@given(
    data=st.lists(
        st.builds(
            lambda content, flags, number: (
                part(0, len(content), number=number, content=content)[:6]
                + struct.pack(">H", flags)
                + part(0, len(content), content=content)[8:]
            ),
            st.binary(max_size=90),
            st.one_of(st.integers(0, 0xFFFF), st.integers(0, 12), st.integers(0x2000, 0x200C)),
            st.integers(1, 3),
        ),
        max_size=40,
    )
)
def test_any_fragments(data: list[bytes]) -> None:
    peeling = Peeling()
    for seen in peeling.feed(data):
        assert 0 <= len(seen.payload) <= seen.size
    held = int((peeling.fragments.places >= 0)[peeling.fragments.datagrams[:, f.D_STATE] == f.UNDER_WAY].sum())
    assert peeling.free_blocks() == f.BLOCKS - held
