"""One capture file: what is said about it, broken files, records across chunks, compressed and piped input."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
import subprocess
import sys
from pathlib import Path

import lz4.frame
import pytest
import zstandard

from analyzer.capture import packets as p
from analyzer.capture.reader import ROWS, CaptureReader, first_packet_ns
from analyzer.compiled import Kernels, plain_kernels
from tests.build import (
    LINK_RAW,
    START_NS,
    Conversation,
    Packet,
    ethernet,
    interface,
    ipv4,
    pcap,
    pcap_header,
    pcapng,
    section_header,
    tcp,
)
from tests.capture.reading import no_counts, read_bytes, read_file

PACK = {
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "lz4": lz4.frame.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
ROOT = Path(__file__).parents[2]


def talk_of(count: int, size: int = 100) -> Conversation:
    """An open connection with so many payloads."""
    talk = Conversation().open()
    for n in range(count):
        talk.client(bytes([n % 256]) * size)
    return talk


@pytest.mark.parametrize("chunk", [40, 64, 100, 1_000, 10_000])
@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
@pytest.mark.parametrize("packing", ["plain", *PACK])
def test_records_that_straddle_chunks(tmp_path: Path, chunk: int, kind: str, packing: str) -> None:
    talk = talk_of(30, 90)
    data = pcap(talk.packets()) if kind == "pcap" else pcapng(talk.packets())
    packed = PACK[packing](data) if packing in PACK else data
    read = read_bytes(tmp_path, packed, chunk=chunk)
    assert read.facts.errors == []
    assert read.facts.format == kind + (f", {packing}" if packing in PACK else "")
    assert read.payloads == [segment.payload for segment in talk.segments]
    assert read.times == [segment.time_ns for segment in talk.segments]
    assert [segment.frame for segment in read.segments] == list(range(1, 34))


def test_a_file_of_several_chunks(tmp_path: Path, kernels: Kernels) -> None:
    packets = talk_of(4_000, 1_200).packets()
    data = pcap(packets)
    assert len(data) > 4 << 20
    read = read_bytes(tmp_path, data, kernels)
    assert read.facts.errors == []
    assert read.facts.packets == len(packets) == len(read.segments)
    assert read.payloads[3:] == [bytes([n % 256]) * 1_200 for n in range(4_000)]


def test_more_packets_than_fit_a_table(tmp_path: Path, kernels: Kernels) -> None:
    frame = ethernet(ipv4(tcp(b"x")))
    count = 2 * ROWS + 5
    read = read_bytes(tmp_path, pcap([Packet(START_NS + n * 1000, frame) for n in range(count)]), kernels)
    assert [segment.frame for segment in read.segments] == list(range(1, count + 1))


def test_facts(tmp_path: Path) -> None:
    packets = [
        Packet(START_NS, ethernet(ipv4(tcp(b"hello")))),
        Packet(START_NS + 2_000, ethernet(ipv4(tcp(b"hel"))), 200),
        Packet(START_NS + 1_000, ethernet(bytes(46), 0x0806)),
    ]
    read = read_bytes(tmp_path, pcap(packets, snaplen=57))
    facts = read.facts
    assert (facts.capture, facts.format, facts.link_type) == (str(tmp_path / "capture"), "pcap", "Ethernet")
    assert (facts.packets, facts.bytes, facts.truncated_packets) == (3, sum(len(x.data) for x in packets), 1)
    assert (facts.first_ns, facts.last_ns, facts.snaplen) == (START_NS, START_NS + 2_000, 57)
    assert facts.errors == []


def test_the_number_of_the_capture_is_on_every_segment(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(talk_of(2).packets()))
    assert {segment.capture_no for segment in read_file(path, capture_no=41).segments} == {41}


def test_an_unknown_link_is_named_by_its_number(tmp_path: Path) -> None:
    read = read_bytes(tmp_path, pcap([Packet(START_NS, bytes(60))], link=147))
    assert read.facts.link_type == "link type 147"
    assert read.counts[p.C_UNKNOWN_LINK] == 1


# Files that are not what they should be.


@pytest.mark.parametrize("data", [pcap_header(), section_header(), section_header() + interface()])
def test_a_header_and_nothing_else(tmp_path: Path, data: bytes) -> None:
    read = read_bytes(tmp_path, data)
    assert (read.segments, read.facts.packets, read.facts.first_ns, read.facts.errors) == ([], 0, 0, [])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (gzip.compress(b"", mtime=0), "empty"),
        (pcap_header()[:23], "ends inside its header"),
        (pcap_header()[:4], "ends inside its header"),
        (b"just some text, no capture", "6a 75 73 74"),
        (bytes(100), "no capture file"),
        (b"\xd4\xc3", "no capture file"),
        (b"snoop\0\0\0" + bytes(40), "snoop"),
        (b"GMBU" + bytes(40), "Network Monitor"),
        (b"RTSS" + bytes(40), "Network Monitor"),
        (b"TRSNIFF data    \x1a" + bytes(40), "Sniffer"),
        (b"PK\x03\x04" + bytes(40), "zip"),
        (b"BZh9" + bytes(40), "the bzip2 data is damaged"),
        (b"\xfd7zXZ\0" + bytes(40), "the xz data is damaged"),
        (b"\x04\x22\x4d\x18" + bytes(40), "the lz4 data is damaged"),
        (gzip.compress(bz2.compress(pcap_header()), mtime=0), "bzip2 data, inside gzip: unpack it"),
        (gzip.compress(b"text in gzip", mtime=0), "no capture file"),
        (gzip.compress(gzip.compress(pcap_header(), mtime=0), mtime=0), "gzip data, inside gzip: unpack it"),
    ],
)
def test_no_capture(tmp_path: Path, data: bytes, words: str) -> None:
    read = read_bytes(tmp_path, data)
    assert read.segments == []
    assert read.facts.packets == 0
    assert read.error.startswith(str(tmp_path / "capture") + ":")
    assert words in read.error


def test_pcapng_after_a_text_transfer_is_told(tmp_path: Path) -> None:
    data = pcapng(talk_of(1).packets())
    for damaged in (data.replace(b"\r\n", b"\n"), data.replace(b"\n", b"\r\n")):
        read = read_bytes(tmp_path, damaged)
        assert read.segments == []
        assert str(tmp_path / "capture") in read.error


@pytest.mark.parametrize("name", ["missing.pcap", "."])
def test_a_file_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    read = read_file(tmp_path / name)
    assert read.segments == []
    assert str(tmp_path / name) in read.error


@pytest.mark.parametrize("packing", PACK)
def test_a_cut_compressed_capture_keeps_what_was_read(tmp_path: Path, packing: str) -> None:
    chance = random.Random(3)
    talk = Conversation().open()
    for _ in range(4_000):
        talk.client(chance.randbytes(500))
    data = pcap(talk.packets())
    packed = PACK[packing](data)  # type: ignore[operator]
    read = read_bytes(tmp_path, packed[: len(packed) * 9 // 10])
    assert 0 < read.facts.packets < 4_003
    assert [x.payload for x in read.segments] == [x.payload for x in talk.segments][: read.facts.packets]
    assert "too early" in read.error
    assert "near byte" in read.error
    assert f"after packet {read.facts.packets:,}" in read.error


def test_a_reader_stops_at_its_first_error(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(talk_of(2).packets())[:-1])
    reader = CaptureReader(str(path))
    assert reader.read(plain_kernels(), no_counts()) == 4
    assert reader.read(plain_kernels(), no_counts()) == -1
    assert reader.read(plain_kernels(), no_counts()) == -1
    assert len(reader.facts.errors) == 1


def test_the_time_of_the_first_packet(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    for data, expected in (
        (pcap(talk_of(2).packets()), START_NS),
        (pcapng(talk_of(2).packets()), START_NS),
        (pcap([]), 0),
        (b"nothing", 0),
    ):
        path.write_bytes(data)
        assert first_packet_ns(str(path), plain_kernels()) == expected


# Standard input.

SCRIPT = """
import json
from analyzer.capture.reader import CaptureReader
from analyzer.compiled import plain_kernels
from tests.capture.reading import no_counts
reader = CaptureReader("-")
segments = 0
while (found := reader.read(plain_kernels(), no_counts())) >= 0:
    segments += found
facts = reader.facts
print(json.dumps([segments, facts.packets, facts.format, facts.link_type, facts.errors]))
"""


def piped(data: bytes) -> list[object]:
    """Segments, packets, format, link type and errors of what comes on standard input."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], input=data, capture_output=True, cwd=ROOT, check=True)
    found: list[object] = json.loads(done.stdout)
    return found


def test_standard_input() -> None:
    talk = talk_of(1_000)
    data = pcap([Packet(x.time_ns, x.data[14:]) for x in talk.packets()], link=LINK_RAW)
    assert piped(data) == [1_003, 1_003, "pcap", "raw IP", []]


def test_compressed_standard_input() -> None:
    assert piped(gzip.compress(pcapng(talk_of(7).packets()), mtime=0)) == [10, 10, "pcapng, gzip", "Ethernet", []]


def test_cut_standard_input() -> None:
    segments, packets, *_, errors = piped(pcap(talk_of(2).packets())[:-3])
    assert (segments, packets) == (4, 4)
    assert len(errors) == 1  # type: ignore[arg-type]
    assert errors[0].startswith("-:")  # type: ignore[index]


def test_nothing_on_standard_input() -> None:
    *_, errors = piped(b"")
    assert errors == ["-: the file is empty"]
