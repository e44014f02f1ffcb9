"""Blocks are written as the draft has them; another reader, and our own, find what was written."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from scapy.utils import RawPcapNgReader

from analyzer.capture import pcapng
from analyzer.capture.pcapng import CapturedPacket, Interface
from analyzer.capture.pcapng_writer import PcapngWriter, text_option
from tests import build

ETHERNET, RAW = Interface(1, 96, ((9, b"\t"), (2, b"eth0"))), Interface(101, 0, ())


def written(*packets: tuple[int, CapturedPacket]) -> bytes:
    file = io.BytesIO()
    writer = PcapngWriter(file, "nullsession 1", "what it is")
    assert [writer.interface(ETHERNET, "from a"), writer.interface(RAW, "from b")] == [0, 1]
    for interface, packet in packets:
        writer.packet(interface, packet, packet.options)
    return file.getvalue()


def test_blocks_byte_for_byte() -> None:
    """Against blocks that the tests build of the draft's tables."""
    end = build.option(0, b"")
    section = build.option(1, b"what it is") + build.option(4, b"nullsession 1") + end
    one = build.option(1, b"from a") + build.option(9, b"\t") + build.option(2, b"eth0") + end
    expected = build.section_header(options=section)
    expected += build.block(1, struct.pack("<HHI", 1, 0, 96) + one)
    expected += build.interface(link=101, options=build.option(1, b"from b"))
    expected += build.enhanced_packet(b"abcde", 1 << 40 | 7, number=1, size=9, options=build.option(1, b"hi") + end)
    expected += build.enhanced_packet(b"", 0)
    packets = [
        (1, CapturedPacket(1, 1 << 40 | 7, b"abcde", 9, ((1, b"hi"),))),
        (0, CapturedPacket(0, None, b"", 0, ())),
    ]
    assert written(*packets) == expected


def test_another_reader(tmp_path: Path) -> None:
    path = tmp_path / "c.pcapng"
    path.write_bytes(
        written(*[(n % 2, CapturedPacket(0, 1_700_000_000 * 10**9 + n, bytes([n]) * n, 100, ())) for n in range(60)])
    )
    with RawPcapNgReader(str(path)) as reader:
        found = list(reader)
    assert [data for data, _ in found] == [bytes([n]) * n for n in range(60)]
    assert [about.wirelen for _, about in found] == [100] * 60
    assert [about.linktype for _, about in found] == [1, 101] * 30


def test_names() -> None:
    """Names without room, and what would end them early, are left out."""
    file = io.BytesIO()
    writer = PcapngWriter(file, "", "")
    before = len(file.getvalue())
    writer.names(
        [("10.0.0.1", "a"), ("fd00::1", "b\u00e9"), ("10.0.0.2", ""), ("10.0.0.3", "x\0y"), ("10.0.0.4", "n" * 256)]
    )
    writer.names([])
    records = [
        (1, bytes((10, 0, 0, 1)) + b"a\0"),
        (2, bytes.fromhex("fd00" + "00" * 13 + "01") + "b\u00e9".encode() + b"\0"),
    ]
    assert file.getvalue()[before:] == build.name_resolution(*records)


def test_many_names_take_several_blocks() -> None:
    file = io.BytesIO()
    PcapngWriter(file, "", "").names([(f"10.0.{n // 256}.{n % 256}", "n" * 200) for n in range(2000)])
    state, interfaces, told = pcapng.start(), pcapng.interface_table(), pcapng.Told()
    data, at = file.getvalue(), 0
    while at < len(data):
        size = struct.unpack_from("<I", data, at + 4)[0]
        assert size < 100_000
        pcapng.read_block(data[at : at + size], state, interfaces, told)
        at += size
    assert len(told.names) == 2000


def test_room_in_a_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcapng, "MAX_INTERFACES", 1)
    monkeypatch.setattr(pcapng, "MAX_PROCESSES", 2)
    writer = PcapngWriter(io.BytesIO(), "", "")
    assert writer.has_room(1, 2)
    assert not writer.has_room(0, 3)
    assert (writer.interface(RAW, ""), writer.process(4, "System"), writer.process(5, "")) == (0, 0, 1)
    assert writer.has_room(0, 0)
    assert not writer.has_room(1, 0)
    assert not writer.has_room(0, 1)
    writer.begin_section()
    assert writer.interface(RAW, "") == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", b"plain"),
        ("\u00e9", b"\xc3\xa9"),
        ("\udcff", b"\\udcff"),
        ("\u00e9" * 40_000, "\u00e9".encode() * 32_767),
    ],
    ids=["plain", "accented", "surrogate", "long"],
)
def test_texts(text: str, value: bytes) -> None:
    """UTF-8, of which only so much is kept as fits, and no half of a character."""
    assert text_option(1, text) == (1, value)
