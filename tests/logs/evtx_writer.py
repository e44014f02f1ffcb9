"""A small writer of .evtx files, after the published description of the format.

[Joachim Metz, Windows XML Event Log (EVTX) format, libevtx: file header, chunk header, event record, binary XML] Elements are
written out in each record, without templates, which the format allows and Windows does not do; names stand where they are
first and only used.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from zlib import crc32

CHUNK = 0x10000
RECORDS_AT = 512
EPOCH = 11_644_473_600
"""Seconds from 1601 to 1970."""


@dataclass(frozen=True)
class Element:
    """An XML element: text, or children."""

    name: str
    text: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    children: tuple[Element, ...] = ()


def name_hash(name: str) -> int:
    """The hash that stands in front of names."""
    value = 0
    for letter in name:
        value = (value * 65599 + ord(letter)) & 0xFFFFFFFF
    return value & 0xFFFF


class BinaryXml:
    """Binary XML that begins at an offset of its chunk."""

    def __init__(self, at: int) -> None:
        self._at = at
        self.data = bytearray(b"\x0f\x01\x01\x00")  # fragment header: version 1.1, no flags

    def _name(self, name: str) -> None:
        here = self._at + len(self.data) + 4
        self.data += struct.pack("<I", here)  # offset of the name in the chunk: right behind
        self.data += struct.pack("<IHH", 0, name_hash(name), len(name)) + name.encode("utf-16-le") + b"\0\0"

    def _value(self, text: str) -> None:
        encoded = text.encode("utf-16-le")
        self.data += struct.pack("<BBH", 0x05, 0x01, len(encoded) // 2) + encoded  # a value: Unicode text

    def element(self, element: Element) -> None:
        """Append an element."""
        token = 0x41 if element.attributes else 0x01
        self.data.append(token)  # open start element; a dependency id it has in templates only [MS-EVEN6 2.2.12.2]
        size_at = len(self.data)
        self.data += bytes(4)
        self._name(element.name)
        if element.attributes:
            list_at = len(self.data)
            self.data += bytes(4)
            for number, (name, text) in enumerate(element.attributes.items(), 1):
                self.data.append(0x06 if number == len(element.attributes) else 0x46)
                self._name(name)
                self._value(text)
            self.data[list_at : list_at + 4] = struct.pack("<I", len(self.data) - list_at - 4)
        if element.text or element.children:
            self.data.append(0x02)  # close start element
            if element.text:
                self._value(element.text)
            for child in element.children:
                self.element(child)
            self.data.append(0x04)  # end element
        else:
            self.data.append(0x03)  # close empty element
        self.data[size_at : size_at + 4] = struct.pack("<I", len(self.data) - size_at - 4)

    def end(self) -> bytes:
        """All of it."""
        return bytes(self.data) + b"\0"


def record(event: Element, number: int, time_ns: int, at: int) -> bytes:
    """An event record at an offset of its chunk: signature, size, number, FILETIME, binary XML, size again."""
    xml = BinaryXml(at + 24)
    xml.element(event)
    body = xml.end()
    body += bytes(-len(body) % 8 + 4)[: (4 - len(body)) % 8]
    size = 24 + len(body) + 4
    filetime = time_ns // 100 + EPOCH * 10_000_000
    return struct.pack("<IIQQ", 0x2A2A, size, number, filetime) + body + struct.pack("<I", size)


def chunk(events: Sequence[tuple[Element, int]], first: int) -> bytes:
    """A chunk of records with the numbers from `first` on."""
    data = bytearray()
    last_at = 0
    for number, (event, time_ns) in enumerate(events, first):
        last_at = RECORDS_AT + len(data)
        data += record(event, number, time_ns, last_at)
    assert len(data) <= CHUNK - RECORDS_AT, "too many events for a chunk"
    last = first + len(events) - 1
    free = RECORDS_AT + len(data)
    head = b"ElfChnk\0" + struct.pack("<QQQQIIII", first, last, first, last, 128, last_at, free, crc32(data))
    head += bytes(64) + struct.pack("<I", 0)
    tables = bytes(RECORDS_AT - 128)  # offsets of common names and templates: none
    head += struct.pack("<I", crc32(head[:120] + tables))
    return (head + tables + bytes(data)).ljust(CHUNK, b"\0")


def evtx(events: Sequence[tuple[Element, int]], *, per_chunk: int = 20) -> bytes:
    """A file of events with their times (ns since 1970)."""
    parts = [events[at : at + per_chunk] for at in range(0, len(events), per_chunk)]
    chunks = [chunk(part, 1 + at * per_chunk) for at, part in enumerate(parts)]
    head = b"ElfFile\0" + struct.pack(
        "<QQQIHHHH", 0, max(len(chunks) - 1, 0), len(events) + 1, 128, 1, 3, 4096, len(chunks)
    )
    head += bytes(76) + struct.pack("<I", 0)
    head += struct.pack("<I", crc32(head[:120]))
    return head.ljust(4096, b"\0") + b"".join(chunks)
