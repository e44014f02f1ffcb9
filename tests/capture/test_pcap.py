"""The classic capture file."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzer.capture import packets as p
from analyzer.capture import pcap
from analyzer.compiled import Kernels
from tests.build import LINK_RAW, START_NS, Conversation, Packet, ethernet, ipv4, pcap_header, pcap_record, tcp
from tests.build import pcap as pcap_file
from tests.capture.reading import read_bytes

ORDERS = ["<", ">"]


def walk(data: bytes, kernels: Kernels, *, rows: int = 100) -> tuple[list[list[int]], np.ndarray]:
    """The packet table and the state after one walk over a whole file."""
    state = pcap.start(data)
    table = np.zeros((rows, p.P_WIDTH), dtype=np.int64)
    buffer = np.frombuffer(data, np.uint8).copy()
    found = kernels.walk_pcap(buffer, len(buffer), table, state)
    return table[:found].tolist(), state


def test_header_layout() -> None:
    """[draft-ietf-opsawg-pcap 4]"""
    assert pcap.FILE_HEADER.offsets == {
        "magic": 0,
        "version_major": 4,
        "version_minor": 6,
        "reserved1": 8,
        "reserved2": 12,
        "snaplen": 16,
        "network": 20,
    }
    assert pcap.FILE_HEADER.size == 24


@pytest.mark.parametrize(
    ("magic", "known"),
    [
        ("a1b2c3d4", True),
        ("d4c3b2a1", True),
        ("a1b23c4d", True),
        ("4d3cb2a1", True),
        ("a1b2cd34", True),
        ("34cdb2a1", True),
        ("1c0001ac", True),
        ("ac01001c", True),
        ("1c0001ab", True),
        ("ab01001c", True),
        ("a1e2cb12", False),
        ("0a0d0d0a", False),
        ("a1b2c3", False),
    ],
)
def test_magic(magic: str, known: bool) -> None:
    assert pcap.sniff(bytes.fromhex(magic) + bytes(20 if len(magic) == 8 else 0)) is known


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("nano", [False, True])
def test_records(order: str, nano: bool, kernels: Kernels) -> None:
    first = Packet(START_NS + 789, b"a" * 60)
    second = Packet(START_NS + 5_000_000_789, b"b" * 9, 1500)
    data = pcap_file([first, second], order=order, nano=nano, snaplen=96)
    rows, state = walk(data, kernels)
    unit = 1 if nano else 1000
    times = [packet.time_ns // unit * unit for packet in (first, second)]
    assert [row[p.P_FRAME] for row in rows] == [1, 2]
    assert [row[p.P_TIME] for row in rows] == times
    assert [row[p.P_PLACE] for row in rows] == [24, 24 + 16 + 60]
    assert [row[p.P_DATA] for row in rows] == [24 + 16, 24 + 16 + 60 + 16]
    assert [(row[p.P_HAVE], row[p.P_SIZE], row[p.P_LINK]) for row in rows] == [(60, 60, 1), (9, 1500, 1)]
    assert state[p.W_STOP] == p.STOP_MORE
    assert state[p.W_POS] == len(data)
    assert (state[p.W_FRAME], state[p.W_BYTES], state[p.W_CUT], state[p.W_SNAPLEN]) == (2, 69, 1, 96)
    assert (state[p.W_FIRST], state[p.W_LAST]) == (times[0], times[1])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("nano", [False, True])
def test_through_the_reader(tmp_path: Path, order: str, nano: bool, kernels: Kernels) -> None:
    talk = Conversation().open()
    talk.client(b"hello")
    talk.server(b"world")
    read = read_bytes(tmp_path, pcap_file(talk.packets(), order=order, nano=nano, snaplen=1234), kernels)
    assert read.facts.errors == []
    assert read.facts.format == ("pcap, nanoseconds" if nano else "pcap")
    assert (read.facts.packets, read.facts.snaplen, read.facts.link_type) == (5, 1234, "Ethernet")
    assert read.times == [segment.time_ns for segment in talk.segments]
    assert [(s.seq, s.ack, s.flags, s.payload) for s in read.segments] == [
        (s.seq, s.ack, s.flags, s.payload) for s in talk.segments
    ]
    assert [(s.source, s.target) for s in read.segments] == [(s.source, s.target) for s in talk.segments]


def test_the_frame_check_length_is_not_part_of_the_link_type(tmp_path: Path) -> None:
    """The top bits of `network` say how many check bytes frames end with. [draft-ietf-opsawg-pcap 4]"""
    data = pcap_header(link=0x2C00_0000 | LINK_RAW) + pcap_record(Packet(START_NS, ipv4(tcp(b"x"))))
    read = read_bytes(tmp_path, data)
    assert read.payloads == [b"x"]
    assert read.facts.link_type == "raw IP"


@pytest.mark.parametrize("order", ORDERS)
def test_an_impossible_length(tmp_path: Path, order: str, kernels: Kernels) -> None:
    good = pcap_file(Conversation().open().packets(), order=order)
    bad = struct.pack(order + "IIII", 1_700_000_000, 0, 262_145, 262_145)
    read = read_bytes(tmp_path, good + bad + bytes(300_000), kernels)
    assert read.facts.packets == 3
    assert str(tmp_path / "capture") in read.error
    assert "262,145" in read.error
    assert f"at byte {len(good):,}" in read.error


def test_the_largest_packet_is_believed(tmp_path: Path) -> None:
    frame = ethernet(ipv4(tcp(bytes(262_144 - 54)), total=0))
    read = read_bytes(tmp_path, pcap_file([Packet(START_NS, frame)]))
    assert read.facts.errors == []
    assert read.segments[0].size == 262_144 - 54


@pytest.mark.parametrize("missing", [1, 15, 16, 17, 50])
def test_the_last_record_is_cut(tmp_path: Path, missing: int, kernels: Kernels) -> None:
    packets = Conversation().open().packets()
    whole = pcap_file(packets)
    read = read_bytes(tmp_path, whole[:-missing], kernels)
    assert read.facts.packets == 2
    begin = len(pcap_file(packets[:2]))
    assert str(tmp_path / "capture") in read.error
    assert f"at byte {begin:,}" in read.error


def test_packets_beyond_the_table_come_with_the_next_walk(kernels: Kernels) -> None:
    data = pcap_file([Packet(START_NS + n, b"x" * 60) for n in range(5)])
    rows, state = walk(data, kernels, rows=3)
    assert len(rows) == 3
    assert state[p.W_STOP] == p.STOP_FULL
    table = np.zeros((3, p.P_WIDTH), dtype=np.int64)
    assert kernels.walk_pcap(np.frombuffer(data, np.uint8).copy(), len(data), table, state) == 2
    assert table[:2, p.P_FRAME].tolist() == [4, 5]


def test_earliest_and_latest_of_unordered_packets(tmp_path: Path) -> None:
    frame = ethernet(ipv4(tcp(b"x")))
    packets = [Packet(START_NS + shift * 1_000_000, frame) for shift in (5, 1, 9, 3)]
    read = read_bytes(tmp_path, pcap_file(packets))
    assert (read.facts.first_ns, read.facts.last_ns) == (START_NS + 1_000_000, START_NS + 9_000_000)
    assert read.times == [packet.time_ns for packet in packets]


def test_a_packet_at_time_zero_takes_the_time_of_those_before(tmp_path: Path) -> None:
    frame = ethernet(ipv4(tcp(b"x")))
    read = read_bytes(tmp_path, pcap_file([Packet(START_NS, frame), Packet(0, frame)]))
    assert read.times == [START_NS, START_NS]
    assert read.facts.first_ns == START_NS


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(0, 300), max_size=12),
    chunk=st.integers(24, 700),
    order=st.sampled_from(ORDERS),
)
def test_any_chunk_size_reads_the_same(tmp_path: Path, lengths: list[int], chunk: int, order: str) -> None:
    packets = [Packet(START_NS + n * 1_000, ethernet(ipv4(tcp(bytes([n]) * size)))) for n, size in enumerate(lengths)]
    read = read_bytes(tmp_path, pcap_file(packets, order=order), chunk=chunk)
    assert read.facts.errors == []
    assert read.payloads == [bytes([n]) * size for n, size in enumerate(lengths)]
    assert read.times == [packet.time_ns for packet in packets]
    places = [24]
    for packet in packets[:-1]:
        places.append(places[-1] + 16 + len(packet.data))
    assert [segment.place for segment in read.segments] == places[: len(packets)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tail=st.binary(max_size=120), order=st.sampled_from(ORDERS), chunk=st.sampled_from([40, 1 << 20]))
def test_any_bytes_behind_the_header(tmp_path: Path, tail: bytes, order: str, chunk: int) -> None:
    read = read_bytes(tmp_path, pcap_header(order=order) + tail, chunk=chunk)
    assert len(read.facts.errors) <= 1
    assert read.facts.packets <= len(tail) // 16
