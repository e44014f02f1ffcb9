"""The newer capture file: sections, interfaces and their clocks, all kinds of blocks, damage."""

from __future__ import annotations

import struct
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader

from analyzer.capture import packets as p
from analyzer.capture import pcapng
from analyzer.capture.reader import CaptureReader
from analyzer.capture.source import CARRY
from analyzer.compiled import Kernels, plain_kernels
from analyzer.errors import DecodeError
from tests.build import (
    LINK_RAW,
    START_NS,
    Conversation,
    Packet,
    block,
    enhanced_packet,
    ethernet,
    interface,
    interface_statistics,
    ipv4,
    name_resolution,
    obsolete_packet,
    option,
    process_information,
    section_header,
    simple_packet,
    tcp,
)
from tests.build import pcapng as pcapng_file
from tests.capture.reading import Read, no_counts, read_bytes

ORDERS = ["<", ">"]
START_US = START_NS // 1000
NOTES = np.zeros((20, p.N_WIDTH), dtype=np.int64)
NAME_RESOLUTION, STATISTICS, SECRETS, CUSTOM, UNKNOWN = 4, 5, 10, 0xBAD, 0x12345678


def frame(payload: bytes) -> bytes:
    """An Ethernet frame with a TCP payload."""
    return ethernet(ipv4(tcp(payload)))


def clean(read: Read) -> Read:
    """The same, of a file without errors."""
    assert read.facts.errors == []
    return read


@pytest.mark.parametrize("order", ORDERS)
def test_through_the_reader(tmp_path: Path, order: str, kernels: Kernels) -> None:
    talk = Conversation(now_ns=START_NS + 789).open()
    talk.client(b"hello")
    read = clean(read_bytes(tmp_path, pcapng_file(talk.packets(), order=order), kernels))
    assert (read.facts.format, read.facts.packets, read.facts.link_type) == ("pcapng", 4, "Ethernet")
    assert read.times == [segment.time_ns for segment in talk.segments]
    assert [(s.frame, s.seq, s.ack, s.flags, s.payload) for s in read.segments] == [
        (n, s.seq, s.ack, s.flags, s.payload) for n, s in enumerate(talk.segments, 1)
    ]
    assert (read.facts.first_ns, read.facts.last_ns) == (read.times[0], read.times[-1])


# Clocks.


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("resolution", "units"),
    [(None, 10**6), *[(n, 10**n) for n in range(10)], (12, 10**12), (0x80, 1), (0x8A, 2**10), (0x9E, 2**30)],
    ids=str,
)
def test_time_units(tmp_path: Path, order: str, resolution: int | None, units: int, kernels: Kernels) -> None:
    ticks = min(1_700_000_000, 2**63 // units - 1) * units + units // 3  # picoseconds of today need more than 64 bits
    blocks = section_header(order=order) + interface(order=order, tsresol=resolution)
    read = clean(read_bytes(tmp_path, blocks + enhanced_packet(frame(b"x"), ticks, order=order), kernels))
    assert read.times == [ticks * 10**9 // units]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("offset", [0, 1, -3600, 1_000_000_000, -1_000_000_000])
def test_time_offset(tmp_path: Path, order: str, offset: int, kernels: Kernels) -> None:
    blocks = section_header(order=order) + interface(order=order, tsresol=9, tsoffset=offset)
    blocks += enhanced_packet(frame(b"x"), START_NS - offset * 10**9, order=order)
    assert clean(read_bytes(tmp_path, blocks, kernels)).times == [START_NS]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    resolution=st.one_of(st.integers(0, 18), st.integers(0x80, 0x80 + 62)),
    ticks=st.integers(0, 2**63 - 1),
    offset=st.integers(-pcapng.MAX_SECONDS, pcapng.MAX_SECONDS),
)
@example(resolution=9, ticks=2**63 - 1, offset=0)
@example(resolution=0xBE, ticks=2**63 - 1, offset=0)
def test_any_clock(kernels: Kernels, resolution: int, ticks: int, offset: int) -> None:
    state, table = pcapng.start(), pcapng.interface_table()
    data = section_header() + interface(tsresol=resolution, tsoffset=offset)
    size = len(section_header())
    pcapng.read_block(data[:size], state, table, pcapng.Told())
    pcapng.read_block(data[size:], state, table, pcapng.Told())
    packet = enhanced_packet(b"", ticks)
    rows = np.zeros((2, p.P_WIDTH), dtype=np.int64)
    assert (
        kernels.walk_pcapng(np.frombuffer(packet, np.uint8).copy(), len(packet), rows, state, table, NOTES.copy()) == 1
    )
    units = 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    exact = Fraction(ticks, units) + offset
    believable = 0 <= ticks // units + offset <= pcapng.MAX_SECONDS
    expected = exact * 10**9 if believable else 0
    assert 0 <= expected - int(rows[0, p.P_TIME]) < 2


def test_ticks_beyond_63_bits_are_no_time(kernels: Kernels) -> None:
    state, table = pcapng.start(), pcapng.interface_table()
    pcapng.read_block(interface(tsresol=9), state, table, pcapng.Told())
    packet = enhanced_packet(b"", 2**64 - 1)
    rows = np.zeros((2, p.P_WIDTH), dtype=np.int64)
    assert (
        kernels.walk_pcapng(np.frombuffer(packet, np.uint8).copy(), len(packet), rows, state, table, NOTES.copy()) == 1
    )
    assert rows[0, p.P_TIME] == 0
    assert state[p.W_BACKWARDS] == 1


# Sections and interfaces.


def test_sections_of_both_byte_orders(tmp_path: Path, kernels: Kernels) -> None:
    data = b""
    for n, order in enumerate(["<", ">", ">", "<"]):
        data += section_header(order=order, options=option(4, b"somebody", order=order))
        data += interface(order=order, tsresol=6 if n % 2 else 9)
        data += enhanced_packet(frame(b"%d" % n), (START_US if n % 2 else START_NS) + n, order=order)
    read = clean(read_bytes(tmp_path, data, kernels))
    assert [(s.frame, s.payload) for s in read.segments] == [(1, b"0"), (2, b"1"), (3, b"2"), (4, b"3")]
    assert read.times == [START_NS, START_NS + 1_000, START_NS + 2, START_NS + 3_000]


def test_interfaces_with_their_own_links_and_clocks(tmp_path: Path, kernels: Kernels) -> None:
    data = section_header()
    data += interface(tsresol=9) + interface(link=LINK_RAW, tsresol=3) + interface()
    data += enhanced_packet(ipv4(tcp(b"raw")), START_NS // 10**6, number=1)
    data += enhanced_packet(frame(b"micro"), START_US, number=2)
    data += enhanced_packet(frame(b"nano"), START_NS, number=0)
    data += interface(tsresol=0)  # described when its first packet comes
    data += enhanced_packet(frame(b"second"), START_NS // 10**9, number=3)
    read = clean(read_bytes(tmp_path, data, kernels))
    assert read.payloads == [b"raw", b"micro", b"nano", b"second"]
    assert read.times == [START_NS // unit * unit for unit in (10**6, 1000, 1, 10**9)]
    assert read.facts.link_type == "Ethernet, raw IP"


def test_a_new_section_forgets_interfaces(tmp_path: Path, kernels: Kernels) -> None:
    good = section_header() + interface() + interface() + enhanced_packet(frame(b"x"), START_US, number=1)
    second = section_header() + interface()
    read = read_bytes(tmp_path, good + second + enhanced_packet(frame(b"y"), START_US, number=1), kernels)
    assert read.payloads == [b"x"]
    assert f"at byte {len(good + second):,}" in read.error


def test_options_of_all_lengths(tmp_path: Path, kernels: Kernels) -> None:
    for size in range(9):
        described = interface(tsresol=9, options=option(2, b"e" * size) + option(3, b"d" * (size + 1)))
        packet = enhanced_packet(frame(b"x" * size), START_NS, options=option(1, b"c" * size) + option(0, b""))
        read = clean(read_bytes(tmp_path, section_header() + described + packet, kernels))
        assert read.payloads == [b"x" * size]
        assert read.times == [START_NS]


def test_options_behind_the_end_mark_do_not_count(tmp_path: Path) -> None:
    fixed = struct.pack("<HHI", 1, 0, 0)
    described = block(1, fixed + option(9, b"\x09") + option(0, b"") + option(9, b"\x03"))
    packet = enhanced_packet(frame(b"x"), START_NS)
    assert clean(read_bytes(tmp_path, section_header() + described + packet)).times == [START_NS]


# Packet blocks.


@pytest.mark.parametrize("order", ORDERS)
def test_obsolete_packets(tmp_path: Path, order: str, kernels: Kernels) -> None:
    data = section_header(order=order) + interface(order=order) + interface(order=order, tsresol=9)
    data += obsolete_packet(frame(b"first"), START_US, order=order)
    data += obsolete_packet(frame(b"second")[:-2], START_NS, order=order, number=1, size=len(frame(b"second")))
    read = clean(read_bytes(tmp_path, data, kernels))
    assert [(s.payload, s.size) for s in read.segments] == [(b"first", 5), (b"seco", 6)]
    assert read.times == [START_NS, START_NS]
    assert read.facts.truncated_packets == 1


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("snaplen", [0, 57, 60])
def test_simple_packets(tmp_path: Path, order: str, snaplen: int, kernels: Kernels) -> None:
    """They have no time, and their size is the smaller of the wire's and the snap length. [4.4]"""
    whole = frame(b"0123456789")  # 64 bytes
    data = section_header(order=order) + interface(order=order, snaplen=snaplen)
    data += enhanced_packet(frame(b"timed"), START_US, order=order)
    data += simple_packet(whole[:snaplen] if snaplen else whole, order=order, size=len(whole))
    data += simple_packet(frame(b"ab"), order=order)  # 56 bytes
    read = clean(read_bytes(tmp_path, data, kernels))
    have = b"0123456789"[: snaplen - 54] if snaplen else b"0123456789"
    assert [(s.frame, s.payload, s.size) for s in read.segments] == [(1, b"timed", 5), (2, have, 10), (3, b"ab", 2)]
    assert read.times == [START_NS] * 3  # that of the packet before
    assert read.facts.snaplen == snaplen
    assert read.facts.truncated_packets == (1 if snaplen else 0)


@pytest.mark.parametrize("order", ORDERS)
def test_blocks_that_are_no_packets_are_passed_over(tmp_path: Path, order: str, kernels: Kernels) -> None:
    data = section_header(order=order) + interface(order=order)
    count = 0
    for kind in (NAME_RESOLUTION, STATISTICS, SECRETS, CUSTOM, UNKNOWN, 0):
        for size in (0, 4, 1001, 70_000):
            data += block(kind, bytes([size % 251]) * size, order=order)
            data += enhanced_packet(frame(b"%d" % count), START_US + count, order=order)
            count += 1
    read = clean(read_bytes(tmp_path, data, kernels))
    assert read.payloads == [b"%d" % n for n in range(count)]
    assert [segment.frame for segment in read.segments] == list(range(1, count + 1))


@pytest.mark.parametrize("chunk", [256, 100_000])
def test_a_block_longer_than_the_buffer(tmp_path: Path, chunk: int, kernels: Kernels) -> None:
    long = block(UNKNOWN, bytes(CARRY + 5 * chunk))
    data = section_header() + interface()
    data += enhanced_packet(frame(b"before"), START_US) + long + enhanced_packet(frame(b"after"), START_US)
    read = clean(read_bytes(tmp_path, data, kernels, chunk=chunk))
    assert read.payloads == [b"before", b"after"]
    assert [segment.place for segment in read.segments] == [
        len(section_header() + interface()),
        len(data) - len(enhanced_packet(frame(b"after"), START_US)),
    ]


def test_a_section_without_packets(tmp_path: Path, kernels: Kernels) -> None:
    read = clean(read_bytes(tmp_path, section_header() + interface() + section_header(order=">"), kernels))
    assert (read.segments, read.facts.packets, read.facts.first_ns) == ([], 0, 0)


# Names of addresses.


@pytest.mark.parametrize("order", ORDERS)
def test_names(tmp_path: Path, order: str, kernels: Kernels) -> None:
    data = section_header(order=order) + interface(order=order)
    data += name_resolution(
        (1, bytes([10, 0, 0, 1]) + b"dc1\0dc1.example.org\0"),  # two names of one address
        (2, bytes.fromhex("fd00" + "00" * 13 + "01") + b"six\0"),
        (3, bytes(6) + b"a network card\0"),  # EUI-48: none of an address
        (1, bytes([10, 0, 0, 2]) + "größe\0".encode()),
        (1, bytes([10, 0, 0, 3])),  # no name
        (1, b"\x0a"),  # no address
        (1, bytes([10, 0, 0, 1]) + b"dc1\0"),  # known already
        order=order,
    )
    data += enhanced_packet(frame(b"x"), START_US, order=order)
    data += name_resolution((1, bytes([10, 0, 0, 4]) + b"last"), order=order)  # without the NUL
    read = clean(read_bytes(tmp_path, data, kernels))
    assert read.payloads == [b"x"]
    assert read.facts.names == [
        ("10.0.0.1", "dc1"),
        ("10.0.0.1", "dc1.example.org"),
        ("fd00::1", "six"),
        ("10.0.0.2", "größe"),
        ("10.0.0.4", "last"),
    ]
    assert read.facts.notes_given_up == 0


def test_names_that_wireshark_writes(tmp_path: Path, tshark: str) -> None:
    """Of a hosts file, for the addresses that are in the capture."""
    packet = Packet(START_NS, ethernet(ipv4(tcp(b"x"), source="10.1.1.1", target="10.1.1.2")))
    (tmp_path / "plain").write_bytes(pcapng_file([packet]))
    (tmp_path / "hosts").write_text("10.1.1.1 alpha\n10.1.1.2 beta.example.org\n")
    run = [tshark, "-2", "-V", "-r", "plain", "-N", "n", "-H", "hosts", "-W", "n", "-w", "named"]
    subprocess.run(run, cwd=tmp_path, check=True, capture_output=True)
    read = clean(read_bytes(tmp_path, (tmp_path / "named").read_bytes()))
    assert sorted(read.facts.names) == [("10.1.1.1", "alpha"), ("10.1.1.2", "beta.example.org")]


def test_names_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcapng, "MAX_NAMES", 10)
    records = [(1, bytes([10, 0, n // 256, n % 256]) + b"name\0") for n in range(300)]
    read = clean(read_bytes(tmp_path, GOOD + name_resolution(*records)))
    assert len(read.facts.names) == 10
    assert read.facts.notes_given_up == 290


def test_names_that_are_too_long_or_in_too_large_a_block(tmp_path: Path) -> None:
    long = name_resolution((1, bytes([10, 0, 0, 1]) + b"n" * 256), (1, bytes([10, 0, 0, 2]) + b"n" * 255))
    large = name_resolution(*[(1, bytes([10, 0, 0, 3]) + b"n" * 60_000)] * 9)
    assert len(large) > CARRY
    read = clean(read_bytes(tmp_path, GOOD + long + large + GOOD))
    assert read.payloads == [b"x", b"x"]
    assert read.facts.names == [("10.0.0.2", "n" * 255)]
    assert read.facts.notes_given_up == 2


def test_names_said_for_ever_are_looked_at_so_often_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcapng, "MAX_NAME_RECORDS", 20)
    same = name_resolution(*[(1, bytes([10, 0, 0, 1]) + b"same\0")] * 15)  # 16 records, with that of its end
    read = clean(read_bytes(tmp_path, GOOD + same * 10 + name_resolution((1, bytes([10, 0, 0, 2]) + b"late\0"))))
    assert read.facts.names == [("10.0.0.1", "same")]
    assert read.facts.notes_given_up == 10


# Losses.


@pytest.mark.parametrize("order", ORDERS)
def test_drops_by_statistics(tmp_path: Path, order: str, kernels: Kernels) -> None:
    """The last count of each interface holds; those of interface and system are of different packets. [4.6]"""
    begin = section_header(order=order) + interface(order=order) * 2
    data = begin
    data += interface_statistics(0, {4: 1000, 5: 3}, order=order)  # isb_ifrecv, isb_ifdrop
    data += enhanced_packet(frame(b"x"), START_US, order=order)
    data += interface_statistics(0, {4: 2000, 5: 5, 7: 2, 8: 1993}, order=order)  # ... isb_osdrop, isb_usrdeliv
    data += interface_statistics(1, {5: 10, 7: 2**64 - 1}, order=order)  # all ones: not known
    data += begin + interface_statistics(0, {5: 100}, order=order)  # another section counts anew
    assert clean(read_bytes(tmp_path, data, kernels)).facts.dropped_packets == 5 + 2 + 10 + 100


@pytest.mark.parametrize("order", ORDERS)
def test_drops_before_packets(tmp_path: Path, order: str, kernels: Kernels) -> None:
    data = section_header(order=order) + interface(order=order)
    for count in (0, 7, 2**32 + 1, 2**64 - 1):
        options = option(4, struct.pack(order + "Q", count), order=order)  # epb_dropcount
        data += enhanced_packet(frame(b"x"), START_US, order=order, options=options)
    assert clean(read_bytes(tmp_path, data, kernels)).facts.dropped_packets == 7 + 2**32 + 1
    data += interface_statistics(0, {5: 2}, order=order)  # of the same losses
    assert clean(read_bytes(tmp_path, data, kernels)).facts.dropped_packets == 7 + 2**32 + 1


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("count", "dropped"), [(0, 0), (3, 3), (0xFFFF, None)])
def test_drops_of_obsolete_packets(
    tmp_path: Path, order: str, count: int, dropped: int | None, kernels: Kernels
) -> None:
    """0xFFFF: not known. [A]"""
    packet = bytearray(obsolete_packet(frame(b"x"), START_US, order=order))
    packet[10:12] = struct.pack(order + "H", count)
    data = section_header(order=order) + interface(order=order) + bytes(packet)
    assert clean(read_bytes(tmp_path, data, kernels)).facts.dropped_packets == dropped


def test_no_statistics_say_nothing(tmp_path: Path) -> None:
    read = clean(read_bytes(tmp_path, GOOD + interface_statistics(0, {4: 1000})))
    assert read.facts.dropped_packets is None


# Processes.

IN, OUT = 1, 2  # epb_flags [4.3.1]


def flags(direction: int, order: str) -> bytes:
    """The option epb_flags: direction, and bits that do not matter here."""
    return option(2, struct.pack(order + "I", direction | 0xFFFF_0200), order=order)


def walked(options: bytes, order: str, kernels: Kernels) -> tuple[list[list[int]], np.ndarray]:
    """The notes that a packet with such options leads to, and the state."""
    state, table, notes = pcapng.start(), pcapng.interface_table(), NOTES.copy()
    for data in (section_header(order=order), interface(order=order)):
        pcapng.read_block(data, state, table, pcapng.Told())
    packet = enhanced_packet(b"abc", 5, order=order, options=options)
    rows = np.zeros((20, p.P_WIDTH), dtype=np.int64)
    assert kernels.walk_pcapng(np.frombuffer(packet, np.uint8).copy(), len(packet), rows, state, table, notes) == 1
    return notes[: state[p.W_NOTES]].tolist(), state


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("comment", "process"),
    [
        (b"PID=1234", 1234),  # etl2pcapng
        (b"PID=4 VlanId=0 SrcPortId=2 SrcNicType=Internal", 4),  # ... of a virtual switch
        (b"PID=0", 0),
        (b"PID=4294967295", 4294967295),
        (b"PID=99999999999999", 9999999999),  # ten digits are read
        (b"PID=", None),
        (b"PID=-1", None),
        (b"PID=x", None),
        (b"PID", None),
        (b"pid=1", None),
        (b" PID=1", None),
        (b"", None),
    ],
)
def test_comments_of_windows_trace_conversion(
    order: str, comment: bytes, process: int | None, kernels: Kernels
) -> None:
    notes, _ = walked(option(1, comment, order=order) + flags(OUT, order) + option(0, b""), order, kernels)
    assert notes == ([] if process is None else [[1, p.NOTE_COMMENT, process, p.DIRECTION_OUT]])


@pytest.mark.parametrize("order", ORDERS)
def test_which_option_tells_the_process(order: str, kernels: Kernels) -> None:
    def number(code: int, *values: int) -> bytes:
        return option(code, struct.pack(order + "I" * len(values), *values), order=order)

    comment, named, owner, effective = (
        option(1, b"PID=7", order=order),
        number(8, 8, 1),
        number(0x8001, 9),
        number(0x8003, 3),
    )
    comments = option(1, b"something else", order=order) + comment
    cases = [
        (comment, p.NOTE_COMMENT, 7),
        (comments, p.NOTE_COMMENT, 7),
        (named, p.NOTE_PROCESS, 8),
        (comment + named, p.NOTE_PROCESS, 8),
        (named + comment, p.NOTE_PROCESS, 8),
        (owner, p.NOTE_BLOCK, 9),
        (owner + comment + named, p.NOTE_BLOCK, 9),
        (owner + effective, p.NOTE_BLOCK, 3),
        (effective + owner, p.NOTE_BLOCK, 3),
    ]
    for options, kind, process in cases:
        assert walked(options, order, kernels)[0] == [[1, kind, process, p.DIRECTION_UNKNOWN]]
        behind = walked(options + option(0, b"", order=order) + number(0x8001, 1), order, kernels)[0]
        assert behind == [[1, kind, process, p.DIRECTION_UNKNOWN]]
    for short in (number(8, 8), option(0x8001, b"\1\2", order=order), option(2, b"\1", order=order)):
        assert walked(short, order, kernels)[0] == []


@pytest.mark.parametrize("order", ORDERS)
def test_options_that_lead_out_of_the_block(order: str, kernels: Kernels) -> None:
    whole = option(1, b"PID=7", order=order) + option(0x8001, b"\0\0\0\1", order=order)
    longer = bytearray(whole)
    longer[14:16] = struct.pack(order + "H", 8)
    assert [note[2] for note in walked(bytes(longer), order, kernels)[0]] == [7]
    for cut in range(0, len(whole), 4):
        walked(whole[:cut], order, kernels)


@pytest.mark.parametrize("direction", [0, IN, OUT, 3])
def test_directions(direction: int, kernels: Kernels) -> None:
    notes, _ = walked(option(1, b"PID=7") + flags(direction, "<"), "<", kernels)
    assert notes[0][p.N_DIRECTION] == direction % 3


def test_the_drops_of_packets_have_an_end(kernels: Kernels) -> None:
    state = walked(option(4, struct.pack("<Q", 2**48 - 1)) * 3, "<", kernels)[1]
    assert state[p.W_DROPS] == 2**48
    assert state[p.W_DROPS_TOLD] == 3


@pytest.mark.parametrize("order", ORDERS)
def test_process_information_of_macos(tmp_path: Path, order: str, kernels: Kernels) -> None:
    """References count from 0 in the section; read by scapy too."""
    begin = section_header(order=order) + interface(order=order)
    data = begin + process_information(501, b"smbclient", order=order) + process_information(77, order=order)
    for number in (1, 0, 2):
        reference = option(0x8001, struct.pack(order + "I", number), order=order) + flags(OUT, order)
        data += enhanced_packet(frame(b"x"), START_US, order=order, options=reference + option(0, b""))
    data += begin + process_information(42, b"other", order=order)
    reference = option(0x8001, struct.pack(order + "I", 0), order=order) + flags(IN, order)
    data += enhanced_packet(frame(b"x"), START_US, order=order, options=reference + option(0, b""))
    path = tmp_path / "capture"
    path.write_bytes(data)
    reader = CaptureReader(str(path))
    while (found := reader.read(kernels, no_counts())) >= 0:
        reader.note_processes(reader.step, reader.step.segments[:found])
    local, remote = reader.facts.processes[0].ends[:3], reader.facts.processes[0].ends[3:]
    assert [(note.frame, note.process_id, note.name, note.certain_side) for note in reader.facts.processes] == [
        (1, 77, None, True),
        (2, 501, "smbclient", True),
        (4, 42, "other", True),  # the third one leads nowhere
    ]
    assert [note.ends for note in reader.facts.processes] == [(*local, *remote), (*local, *remote), (*remote, *local)]
    with RawPcapNgReader(str(path)) as theirs:
        told = [packet[1].process_information.get("proc") for packet in theirs][:3]  # it knows no sections here
    assert [None if x is None else (x["id"], x.get("name")) for x in told] == [(77, None), (501, "smbclient"), None]


def test_processes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcapng, "MAX_PROCESSES", 3)
    read = clean(read_bytes(tmp_path, GOOD + process_information(1) * 5))
    assert read.facts.notes_given_up == 2


@pytest.mark.parametrize(
    "damaged",
    [
        block(4, struct.pack("<HH", 1, 100) + bytes(8)),
        block(5, bytes(4)),
        block(5, bytes(12) + struct.pack("<HH", 5, 80)),
        block(0x80000001, b""),
        block(0x80000001, bytes(4) + struct.pack("<HH", 2, 80)),
    ],
    ids=["name", "statistics", "count", "process", "process name"],
)
def test_damaged_courtesies_are_counted_and_passed_over(tmp_path: Path, damaged: bytes, kernels: Kernels) -> None:
    read = clean(read_bytes(tmp_path, GOOD + damaged + GOOD, kernels))
    assert read.payloads == [b"x", b"x"]
    assert read.facts.notes_given_up == 1


# Damage.


@pytest.mark.parametrize("missing", [1, 4, 27, 28, 60, 87])
def test_the_last_block_is_cut(tmp_path: Path, missing: int, kernels: Kernels) -> None:
    good = section_header() + interface() + enhanced_packet(frame(b"x"), START_US)
    last = enhanced_packet(frame(b"y"), START_US)
    assert len(last) == 88
    read = read_bytes(tmp_path, (good + last)[:-missing], kernels)
    assert read.payloads == [b"x"]
    assert str(tmp_path / "capture") in read.error
    assert f"at byte {len(good):,}" in read.error


def test_a_long_block_is_cut(tmp_path: Path, kernels: Kernels) -> None:
    good = section_header() + interface() + enhanced_packet(frame(b"x"), START_US)
    read = read_bytes(tmp_path, good + block(UNKNOWN, bytes(100_000))[:5000], kernels, chunk=1000)
    assert read.payloads == [b"x"]
    assert str(tmp_path / "capture") in read.error
    assert "95,012 bytes are missing" in read.error
    assert f"at byte {len(good) + 5000:,}" in read.error


GOOD = section_header() + interface() + enhanced_packet(frame(b"x"), START_US)


def with_length(data: bytes, length: int) -> bytes:
    """A block that claims another length."""
    return data[:4] + struct.pack("<I", length) + data[8:]


@pytest.mark.parametrize(
    "bad",
    [
        with_length(enhanced_packet(frame(b"y"), START_US), 87),
        with_length(enhanced_packet(frame(b"y"), START_US), 28),
        with_length(enhanced_packet(frame(b"y"), START_US), 0),
        with_length(simple_packet(frame(b"y")), 12),
        with_length(enhanced_packet(frame(b"y"), START_US), 0x7FFFFFFC),
        with_length(block(UNKNOWN, bytes(100)), 8),
        with_length(block(UNKNOWN, bytes(100)), 0),
        with_length(block(UNKNOWN, bytes(100)), 101),
        with_length(section_header(), 8),
        with_length(interface(), 0x7FFFFFFC),
        with_length(interface(), 4),
        block(6, struct.pack("<IIIII", 0, 0, 1, 1000, 1000) + bytes(100)),
        block(6, struct.pack("<IIIII", 0, 0, 1, 0xFFFFFFFF, 100) + bytes(100)),
        enhanced_packet(frame(b"y"), START_US, number=1),
        obsolete_packet(frame(b"y"), START_US, number=9),
        section_header()[:8] + b"\x01\x02\x03\x04" + section_header()[12:],
        interface(tsresol=19),
        interface(tsresol=0x80 + 63),
        block(1, struct.pack("<HHI", 1, 0, 0) + struct.pack("<HH", 2, 100) + b"eth0"),
        block(1, struct.pack("<HH", 1, 0)),
    ],
    ids=[
        "odd length", "no room for a header", "length 0", "short simple packet", "2 GB packet", "unknown of length 8",
        "unknown of length 0", "unknown of odd length", "short section header", "2 GB interface", "short interface",
        "more captured than there is", "4 GB captured", "unknown interface", "unknown interface, obsolete",
        "no byte order", "decimal clock too fine", "binary clock too fine", "option too long", "interface cut",
    ],
)  # fmt: skip
def test_a_bad_block_ends_the_file_with_a_clear_error(tmp_path: Path, bad: bytes, kernels: Kernels) -> None:
    read = read_bytes(tmp_path, GOOD + bad + GOOD, kernels)
    assert read.payloads == [b"x"]
    assert read.facts.packets == 1
    assert str(tmp_path / "capture") in read.error
    place = int(read.error.rpartition("at byte ")[2].replace(",", ""))
    assert len(GOOD) <= place <= len(GOOD + bad)


def test_the_error_of_an_unknown_interface_says_so(tmp_path: Path) -> None:
    read = read_bytes(tmp_path, GOOD + enhanced_packet(frame(b"y"), START_US, number=7))
    assert "interface" in read.error
    assert "7" in read.error.partition(str(tmp_path / "capture"))[2]


def test_more_interfaces_than_are_believed(tmp_path: Path) -> None:
    read = read_bytes(tmp_path, section_header() + interface() * (pcapng.MAX_INTERFACES + 1))
    assert f"{pcapng.MAX_INTERFACES}" in read.error


def test_a_packet_before_any_interface(tmp_path: Path, kernels: Kernels) -> None:
    read = read_bytes(tmp_path, section_header() + simple_packet(frame(b"x")), kernels)
    assert read.segments == []
    assert f"at byte {len(section_header())}" in read.error


def test_blocks_are_read_by_themselves() -> None:
    state, table = pcapng.start(), pcapng.interface_table()
    pcapng.read_block(section_header(order=">"), state, table, pcapng.Told())
    assert state[p.W_BIG] == 1
    pcapng.read_block(interface(order=">", link=276, snaplen=96), state, table, pcapng.Told())
    assert (state[p.W_INTERFACES], state[p.W_SNAPLEN]) == (1, 96)
    assert table[0, pcapng.I_LINK] == 276
    pcapng.read_block(block(UNKNOWN, b"1234", order=">"), state, table, pcapng.Told())
    assert state[p.W_INTERFACES] == 1
    with pytest.raises(DecodeError) as caught:
        pcapng.read_block(section_header()[:8] + bytes(20), state, table, pcapng.Told())
    assert (caught.value.layer, caught.value.field) == ("pcapng", "byte_order_magic")


# Chunks and random bytes.


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3)), max_size=10),
    chunk=st.integers(64, 600),
    order=st.sampled_from(ORDERS),
)
def test_any_chunk_size_reads_the_same(tmp_path: Path, sizes: list[tuple[int, int]], chunk: int, order: str) -> None:
    data = section_header(order=order) + interface(order=order, tsresol=9)
    expected = []
    for n, (size, kind) in enumerate(sizes):
        payload = bytes([n]) * size
        if kind == 0:
            data += block(UNKNOWN, payload, order=order)
        elif kind == 1:
            data += section_header(order=order) + interface(order=order, tsresol=9)
        else:
            expected.append((payload, START_NS + n, len(data)))
            data += enhanced_packet(frame(payload), START_NS + n, order=order)
    read = clean(read_bytes(tmp_path, data, chunk=chunk))
    assert [(s.payload, s.time_ns, s.place) for s in read.segments] == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tail=st.binary(max_size=150),
    kind=st.sampled_from([1, 2, 3, 6, 0x0A0D0D0A, 99]),
    chunk=st.sampled_from([64, 9999]),
)
def test_any_bytes(tmp_path: Path, tail: bytes, kind: int, chunk: int) -> None:
    """Random bodies in blocks of known types and right lengths, then random bytes."""
    data = GOOD + block(kind, tail) + tail
    read = read_bytes(tmp_path, data, chunk=chunk)
    assert read.payloads[:1] == [b"x"]
    assert len(read.facts.errors) <= 1


@given(tail=st.binary(max_size=80))
def test_packets_lie_inside_the_buffer(tail: bytes) -> None:
    state, table = pcapng.start(), pcapng.interface_table()
    pcapng.read_block(interface(), state, table, pcapng.Told())
    data = GOOD[len(section_header() + interface()) :] + block(6, tail) + tail
    rows = np.zeros((20, p.P_WIDTH), dtype=np.int64)
    found = plain_kernels().walk_pcapng(
        np.frombuffer(data, np.uint8).copy(), len(data), rows, state, table, NOTES.copy()
    )
    for row in rows[:found].tolist():
        assert 0 <= row[p.P_DATA] <= row[p.P_DATA] + row[p.P_HAVE] <= len(data)


def test_a_file_is_cut_anywhere(tmp_path: Path) -> None:
    packets = [Packet(START_NS + n, frame(b"%d" % n)) for n in range(3)]
    data = pcapng_file(packets)
    ends = [len(pcapng_file(packets[:n])) for n in range(4)]
    for size in range(12, len(data)):
        read = read_bytes(tmp_path, data[:size])
        assert len(read.segments) == max([n for n in range(4) if ends[n] <= size], default=0), size
        whole = size in ends or size == len(section_header())
        assert len(read.facts.errors) == (0 if whole else 1), size


RICH = b"".join(
    section_header(order=order)
    + interface(order=order, tsresol=9)
    + name_resolution((1, bytes([10, 0, 0, 1]) + b"dc1\0"), (2, bytes(16) + b"six\0"), order=order)
    + process_information(501, b"smbclient", order=order)
    + enhanced_packet(
        frame(b"one"), START_NS, order=order, options=option(1, b"PID=7", order=order) + flags(OUT, order)
    )
    + enhanced_packet(frame(b"two"), START_NS, order=order, options=option(0x8001, bytes(4), order=order))
    + simple_packet(frame(b"three"), order=order)
    + interface_statistics(0, {5: 3}, order=order)
    + obsolete_packet(frame(b"four"), START_NS, order=order)
    for order in ORDERS
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(place=st.integers(0, len(RICH) - 1), value=st.integers(1, 255), keep=st.integers(0, len(RICH)))
def test_any_changed_byte_and_any_cut(tmp_path: Path, place: int, value: int, keep: int) -> None:
    """What stands in front of the change and the cut is read; whatever comes behind, there is one error at most."""
    data = bytearray(RICH)
    data[place] ^= value
    read = read_bytes(tmp_path, bytes(data[:keep]), chunk=1 << 16)
    assert len(read.facts.errors) <= 1
    before = read_bytes(tmp_path, RICH[: min(place, keep)])
    assert read.segments[: len(before.segments)] == before.segments
