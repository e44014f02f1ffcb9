"""The classic capture file."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
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
STANDARD, MODIFIED, IXIA_NANO, IXIA_MICRO = 0xA1B2C3D4, 0xA1B2CD34, 0x1C0001AC, 0x1C0001AB

Tail = Callable[[int, str], bytes]


def no_tail(_: int, __: str) -> bytes:
    """Of the usual record header."""
    return b""


def patched_tail(number: int, order: str) -> bytes:
    """What the patched libpcap of Red Hat 6.1 writes behind the two lengths. [Wireshark, libpcap.h]"""
    return struct.pack(
        order + "IHBB",
        2,  # interface index
        0x0800,  # protocol
        number % 5,  # packet type
        0xEE,  # padding, which may be anything
    )


def long_tail(number: int, order: str) -> bytes:
    """What that of SuSE 6.3 writes: five bytes in place of the padding."""
    return patched_tail(number, order)[:7] + b"\xaa\xbb\xcc\xdd\xee"


def nokia_tail(number: int, order: str) -> bytes:
    """What Nokia's writes."""
    return struct.pack(order + "I", [0x9FBFB601, 0xBFBFD902][number % 2])


def variant(
    packets: list[Packet],
    *,
    order: str,
    magic: int = STANDARD,
    version: tuple[int, int] = (2, 4),
    network: int = 1,
    tail: Tail = no_tail,
    swapped: bool = False,
    unit: int = 1000,
) -> bytes:
    """A pcap file with another magic number, version, or form of its records."""
    data = struct.pack(order + "IHHIIII", magic, *version, 0, 0, 65_535, network)
    if magic in (IXIA_NANO, IXIA_MICRO):
        data += struct.pack(order + "I", sum(16 + len(packet.data) for packet in packets))
    for number, packet in enumerate(packets):
        seconds, fraction = divmod(packet.time_ns, 1_000_000_000)
        lengths = (len(packet.data), packet.wire_size)
        data += struct.pack(order + "IIII", seconds, fraction // unit, *(lengths[::-1] if swapped else lengths))
        data += tail(number, order) + packet.data
    return data


def some_packets(count: int = 7) -> list[Packet]:
    """Segments of several sizes, the third of them cut."""
    packets = [Packet(START_NS + n * 1_001_000, ethernet(ipv4(tcp(b"%d" % n * 50)))) for n in range(count)]
    if count > 2:
        packets[2] = Packet(packets[2].time_ns, packets[2].data[:80], len(packets[2].data))
    return packets


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


# Variants.


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("chunk", [1 << 20, 3000])
@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize(
    ("magic", "tail", "extra"),
    [(MODIFIED, patched_tail, 8), (MODIFIED, long_tail, 12), (STANDARD, patched_tail, 8), (STANDARD, nokia_tail, 4)],
    ids=["modified", "modified, long", "patched", "Nokia"],
)
def test_longer_record_headers(
    tmp_path: Path, order: str, magic: int, tail: Tail, extra: int, count: int, chunk: int, kernels: Kernels
) -> None:
    """Told apart by their first records; under the usual number it takes two of them to believe it."""
    if magic == STANDARD and count == 1:
        pytest.skip("one packet is not enough to go by")
    packets = some_packets(count)
    read = read_bytes(tmp_path, variant(packets, order=order, magic=magic, tail=tail), kernels, chunk=chunk)
    assert read.facts.errors == []
    assert read.facts.format == "pcap, modified"
    assert read.payloads == [packet.data[54:] for packet in packets]
    assert [s.size for s in read.segments] == [packet.wire_size - 54 for packet in packets]
    assert read.times == [packet.time_ns for packet in packets]
    places = [24 + sum(16 + extra + len(x.data) for x in packets[:n]) for n in range(count)]
    assert [segment.place for segment in read.segments] == places


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("magic", "unit"), [(IXIA_NANO, 1), (IXIA_MICRO, 1000)])
def test_ixia(tmp_path: Path, order: str, magic: int, unit: int, kernels: Kernels) -> None:
    packets = [Packet(START_NS + 789, ethernet(ipv4(tcp(b"hello"))))]
    read = read_bytes(tmp_path, variant(packets, order=order, magic=magic, unit=unit), kernels)
    assert read.facts.errors == []
    assert read.payloads == [b"hello"]
    assert read.times == [(START_NS + 789) // unit * unit]
    assert read.segments[0].place == 28


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("version", "swapped"),
    [((2, 4), False), ((2, 2), True), ((2, 0), True), ((2, 3), True), ((2, 3), False), ((543, 0), True)],
    ids=str,
)
def test_versions_with_their_lengths_the_other_way_round(
    tmp_path: Path, order: str, version: tuple[int, int], swapped: bool, kernels: Kernels
) -> None:
    """Before 2.3, in some of 2.3, and in DG/UX the original length comes first. [libpcap sf-pcap.c]"""
    packets = some_packets()
    read = read_bytes(tmp_path, variant(packets, order=order, version=version, swapped=swapped), kernels)
    assert read.facts.errors == []
    assert read.payloads == [packet.data[54:] for packet in packets]
    assert [s.size for s in read.segments] == [packet.wire_size - 54 for packet in packets]
    assert read.facts.truncated_packets == 1


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("swapped", [False, True])
def test_aix(tmp_path: Path, order: str, swapped: bool) -> None:
    """Interface type 6 is Ethernet, and fractions are nanoseconds. [Wireshark libpcap.c]"""
    packets = [Packet(START_NS + 789, ethernet(ipv4(tcp(b"hello"))))]
    data = variant(packets, order=order, version=(2, 2), network=6, swapped=swapped, unit=1)
    read = read_bytes(tmp_path, data)
    assert (read.payloads, read.times, read.facts.link_type) == ([b"hello"], [START_NS + 789], "Ethernet")


@pytest.mark.parametrize("order", ORDERS)
def test_a_strange_first_record_does_not_make_a_variant(tmp_path: Path, order: str) -> None:
    """A fraction of more than a second, as a broken clock writes it."""
    good = some_packets()
    data = pcap_header(order=order) + struct.pack(order + "IIII", START_NS // 10**9, 2_000_000, 70, 70) + bytes(70)
    read = read_bytes(tmp_path, data + b"".join(pcap_record(packet, order=order) for packet in good))
    assert read.facts.errors == []
    assert (read.facts.format, read.facts.packets) == ("pcap", 8)


@pytest.mark.parametrize("kind", ["modpcap", "suse6_3pcap", "rh6_1pcap", "nsecpcap"])
def test_variants_that_editcap_writes(tmp_path: Path, tshark: str, kind: str) -> None:
    """The same packets come out of what Wireshark's converter makes of them."""
    packets = some_packets()
    (tmp_path / "plain").write_bytes(pcap_file(packets))
    editcap = Path(tshark).with_name("editcap")
    subprocess.run([editcap, "-F", kind, tmp_path / "plain", tmp_path / kind], check=True, capture_output=True)
    data = (tmp_path / kind).read_bytes()
    read = read_bytes(tmp_path, data)
    assert read.facts.errors == []
    assert read.payloads == [packet.data[54:] for packet in packets]
    assert [s.size for s in read.segments] == [packet.wire_size - 54 for packet in packets]
    assert read.times == [packet.time_ns for packet in packets]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.integers(0, 499),
    value=st.integers(1, 255),
    keep=st.integers(0, 700),
    form=st.sampled_from(
        [(STANDARD, no_tail), (STANDARD, patched_tail), (MODIFIED, patched_tail), (MODIFIED, long_tail)]
    ),
    order=st.sampled_from(ORDERS),
)
def test_any_changed_byte_and_any_cut(
    tmp_path: Path, place: int, value: int, keep: int, form: tuple[int, Tail], order: str
) -> None:
    """No exception but the one error; and behind the first three records, what stands in front of a change is read."""
    packets = some_packets(4)
    whole = variant(packets, order=order, magic=form[0], tail=form[1])
    data = bytearray(whole)
    place %= len(data)
    data[place] ^= value
    read = read_bytes(tmp_path, bytes(data[:keep]))
    assert len(read.facts.errors) <= 1
    untouched = read_bytes(tmp_path, whole[: min(place, keep)])
    if place >= untouched.segments[2].place if len(untouched.segments) > 2 else False:
        assert read.segments[: len(untouched.segments)] == untouched.segments
