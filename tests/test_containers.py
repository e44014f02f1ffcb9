"""The same packets in another container give the same tables, to the frame and the nanosecond."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import manifest
import pytest
import zstandard
from scapy.utils import PcapReader, RawPcapNgReader, RawPcapReader

import analyzer
from analyzer import tables
from tests import build
from tests.build import LINK_ETHERNET, Packet, enhanced_packet, interface, obsolete_packet, option, section_header

FILES = ("anonymous-lanman.pcap", "anonymous-ipv6.pcapng", "built-pipe-covered.pcap")
SECONDS = 10**9


def packets_of(path: Path) -> list[Packet]:
    """The packets of a capture, read by scapy."""
    if path.suffix == ".pcapng":
        with RawPcapNgReader(str(path)) as reader:
            return [
                Packet(((about.tshigh << 32) + about.tslow) * SECONDS // about.tsresol, data, about.wirelen)
                for data, about in reader
            ]
    with PcapReader(str(path)) as opened:
        unit = 1 if opened.nano else 1000
    with RawPcapReader(str(path)) as reader:
        return [Packet(about.sec * SECONDS + about.usec * unit, data, about.wirelen) for data, about in reader]


def patched(packets: list[Packet], *, order: str, magic: int, tail: bytes) -> bytes:
    """A pcap file of a patched library: longer record headers."""
    data = struct.pack(order + "IHHIIII", magic, 2, 4, 0, 0, 262_144, LINK_ETHERNET)
    for packet in packets:
        seconds, fraction = divmod(packet.time_ns, SECONDS)
        data += struct.pack(order + "IIII", seconds, fraction // 1000, len(packet.data), packet.wire_size)
        data += tail + packet.data
    return data


def sections(packets: list[Packet]) -> bytes:
    """Three sections of alternating byte order, clock and kind of packet block, with idle blocks in between."""
    data = b""
    for part, (order, resolution) in enumerate([("<", 6), (">", 9), ("<", 7)]):
        data += section_header(order=order, options=option(4, b"somebody", order=order))
        data += interface(order=order, tsresol=9) + interface(order=order, tsresol=resolution, tsoffset=-3600)
        data += build.name_resolution((1, bytes(4) + b"name\0"), order=order) + build.block(99, b"idle", order=order)
        for packet in packets[part * len(packets) // 3 : (part + 1) * len(packets) // 3]:
            ticks = (packet.time_ns + 3600 * SECONDS) * 10**resolution // SECONDS
            if part == 2:
                data += obsolete_packet(packet.data, ticks, order=order, number=1, size=packet.size)
            else:
                options = option(1, b"a comment", order=order) + option(0, b"")
                data += enhanced_packet(packet.data, ticks, order=order, number=1, size=packet.size, options=options)
        data += build.interface_statistics(1, {4: 1000}, order=order)
    return data


FORMS: dict[str, Callable[[list[Packet]], bytes]] = {
    "big-endian": lambda packets: build.pcap(packets, order=">"),
    "nanoseconds": lambda packets: build.pcap(packets, nano=True),
    "big-endian nanoseconds": lambda packets: build.pcap(packets, order=">", nano=True),
    "check bytes told": lambda packets: build.pcap(packets, link=0x2400_0000 | LINK_ETHERNET),
    "modified": lambda packets: patched(packets, order=">", magic=0xA1B2CD34, tail=bytes(8)),
    "modified, long": lambda packets: patched(packets, order="<", magic=0xA1B2CD34, tail=bytes(8) + b"\xcc" * 4),
    "patched": lambda packets: patched(packets, order="<", magic=0xA1B2C3D4, tail=b"\1\0\0\0\0\x08\0\0"),
    "pcapng": build.pcapng,
    "pcapng, microseconds": lambda packets: build.pcapng(packets, tsresol=6),
    "big-endian pcapng": lambda packets: build.pcapng(packets, order=">"),
    "sections": sections,
    "gzip": lambda packets: gzip.compress(build.pcap(packets), mtime=0),
    "zstd": lambda packets: zstandard.compress(build.pcap(packets)),
    "lz4": lambda packets: lz4.frame.compress(build.pcap(packets)),
    "bzip2": lambda packets: bz2.compress(build.pcap(packets)),
    "xz": lambda packets: lzma.compress(build.pcapng(packets)),
    "two members": lambda packets: xz_in_two(build.pcap(packets)),
}


def xz_in_two(data: bytes) -> bytes:
    """Two xz streams with padding between them."""
    return lzma.compress(data[:1001]) + bytes(8) + lzma.compress(data[1001:])


def outcome(path: Path) -> dict[str, object]:
    """All tables of an analysis but that of files; and that the whole file was read."""
    analysis = analyzer.analyze(path, detail="all")
    assert not analysis.captures["errors"].notna().any()
    coverage = {"captures", "coverage"}
    return {
        name: analysis.arrow(name).to_pylist() for name in (*tables.ROWS, *tables.SUMMARIES) if name not in coverage
    }


@pytest.mark.parametrize("file", FILES)
def test_containers_do_not_matter(tmp_path: Path, file: str) -> None:
    packets = packets_of(manifest.CAPTURES / file)
    path = tmp_path / "capture"
    path.write_bytes(build.pcap(packets))  # microseconds, as all others that can say no more
    micro = outcome(path)
    path.write_bytes(build.pcap(packets, nano=True))
    nano = outcome(path)
    assert micro["sessions"]
    whole = all(packet.time_ns % 1000 == 0 for packet in packets)
    for name, form in FORMS.items():
        path.write_bytes(form(packets))
        fine = "nano" in name or name in ("pcapng", "big-endian pcapng", "xz")
        if name == "sections" and not whole:
            continue  # of three clocks
        assert outcome(path) == (nano if fine else micro), name
