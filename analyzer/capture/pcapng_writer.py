"""Packets to a pcapng file, with what their own files say of them. [draft-ietf-opsawg-pcapng]

Blocks are written in little-endian order, one after the other: nothing is kept but the numbers of interfaces.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import ip_address
from typing import BinaryIO

from analyzer.capture import pcapng
from analyzer.capture.pcapng import CapturedPacket, Interface, Option

VERSION = (1, 0)
UNKNOWN_SIZE = -1
OPTION_SHB_USERAPPL = 4
MAX_VALUE = 65_535
"""Bytes of an option at most: its length field."""
NAME_ROOM = 60_000


class PcapngWriter:
    """Writes one section after the other: a section takes `pcapng.MAX_INTERFACES` interfaces."""

    def __init__(self, file: BinaryIO, program: str, comment: str) -> None:
        """program: what writes the file; comment: what the file is."""
        self._file = file
        self._about = (text_option(pcapng.OPTION_COMMENT, comment), text_option(OPTION_SHB_USERAPPL, program))
        self._interfaces = 0
        self._processes = 0
        self.begin_section()

    def begin_section(self) -> None:
        """Forget the interfaces and processes so far, and number those to come from 0."""
        self._interfaces = self._processes = 0
        fixed = struct.pack("<IHHq", pcapng.BYTE_ORDER_MAGIC, *VERSION, UNKNOWN_SIZE)
        self._block(pcapng.BLOCK_SECTION_HEADER, fixed + _options(self._about))

    def has_room(self, interfaces: int, processes: int) -> bool:
        """True if so many further interfaces and processes fit into the section."""
        return (
            self._interfaces + interfaces <= pcapng.MAX_INTERFACES
            and self._processes + processes <= pcapng.MAX_PROCESSES
        )

    def interface(self, described: Interface, comment: str) -> int:
        """Describe an interface; returns its number in the section."""
        fixed = struct.pack("<HHI", described.link_type, 0, described.snaplen)
        options = (text_option(pcapng.OPTION_COMMENT, comment), *described.options)
        self._block(pcapng.BLOCK_INTERFACE, fixed + _options(options))
        self._interfaces += 1
        return self._interfaces - 1

    def process(self, process_id: int, name: str) -> int:
        """Tell of a process, as macOS does; returns its number in the section."""
        options = [text_option(pcapng.OPTION_PIB_NAME, name)] if name else []
        self._block(pcapng.BLOCK_PROCESS, struct.pack("<I", process_id) + _options(options))
        self._processes += 1
        return self._processes - 1

    def names(self, known: Iterable[tuple[str, str]]) -> None:
        """Name addresses. Names that the format has no room for are left out."""
        records = b""
        for address, name in known:
            packed = ip_address(address).packed
            spelt = encoded(name)
            if not spelt or b"\0" in spelt or len(spelt) > pcapng.MAX_NAME:
                continue
            kind = pcapng.NAME_IPV4 if len(packed) == 4 else pcapng.NAME_IPV6
            records += _item(kind, packed + spelt + b"\0")
            if len(records) > NAME_ROOM:
                self._names_block(records)
                records = b""
        if records:
            self._names_block(records)

    def _names_block(self, records: bytes) -> None:
        self._block(pcapng.BLOCK_NAME_RESOLUTION, records + _item(pcapng.NAME_END, b""))

    def packet(self, interface: int, packet: CapturedPacket, options: Iterable[Option]) -> None:
        """An enhanced packet block. options: in place of the packet's own."""
        ticks = packet.ticks or 0
        numbers = (interface, ticks >> 32, ticks & 0xFFFFFFFF, len(packet.data), packet.size)
        self._block(
            pcapng.BLOCK_ENHANCED_PACKET, struct.pack("<5I", *numbers) + _padded(packet.data) + _options(options)
        )

    def _block(self, kind: int, body: bytes) -> None:
        size = struct.pack("<I", len(body) + 12)
        self._file.write(struct.pack("<I", kind) + size + body + size)


def encoded(text: str) -> bytes:
    """A text as UTF-8. What came from bytes that are no characters is spelt out."""
    return text.encode("utf-8", "backslashreplace")


def text_option(code: int, text: str) -> Option:
    """An option that holds a text, of which only so much is kept as fits."""
    return code, encoded(text)[:MAX_VALUE].decode("utf-8", "ignore").encode()


def _options(options: Iterable[Option]) -> bytes:
    items = b"".join(_item(code, value) for code, value in options)
    return items + _item(pcapng.OPTION_END, b"") if items else b""


def _item(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
