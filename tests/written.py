"""A pcapng file block by block, by the draft and by nothing else; and which packets of a capture belong together."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from rewriting import IPV4, IPV6, Packet

End = tuple[str, int]


@dataclass(frozen=True)
class Block:
    """A block: what is fixed in it as bytes, and its options."""

    kind: int
    fixed: bytes
    options: dict[int, list[bytes]] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """A packet as a reader of the format finds it."""

    time_ns: int
    data: bytes
    size: int
    link: int
    comments: list[str]
    options: dict[int, list[bytes]]
    interface: dict[int, list[bytes]]


FIXED = {0x0A0D0D0A: 16, 1: 8, 5: 12, 0x80000001: 4}
"""Bytes in front of the options. [4.1, 4.2, 4.6; macOS]"""


def blocks(path: Path) -> list[Block]:
    """All blocks of a file in little-endian order."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        assert size % 4 == 0
        assert struct.unpack_from("<I", data, at + size - 4) == (size,)
        body = data[at + 8 : at + size - 4]
        split = len(body)
        if kind == 6:
            have = struct.unpack_from("<I", body, 12)[0]
            split = 20 + have + -have % 4
        split = FIXED.get(kind, split)
        found.append(Block(kind, body[:split], _options(body[split:])))
        at += size
    return found


def _options(data: bytes) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    at = 0
    while at < len(data):
        code, size = struct.unpack_from("<HH", data, at)
        if code == 0:
            assert at + 4 == len(data)
            break
        found.setdefault(code, []).append(data[at + 4 : at + 4 + size])
        at += 4 + size + -size % 4
    return found


def packets(path: Path) -> list[Written]:
    """The packets of all sections, in order."""
    interfaces: list[tuple[int, dict[int, list[bytes]]]] = []
    found = []
    for each in blocks(path):
        if each.kind == 0x0A0D0D0A:
            interfaces = []
        elif each.kind == 1:
            interfaces.append((struct.unpack_from("<H", each.fixed)[0], each.options))
        elif each.kind == 6:
            number, high, low, have, size = struct.unpack_from("<5I", each.fixed)
            link, said = interfaces[number]
            power = said.get(9, [b"\6"])[0][0]
            assert power < 128
            ticks = high << 32 | low
            time_ns = ticks * 10 ** (9 - power) if power <= 9 else ticks // 10 ** (power - 9)
            comments = [text.decode() for text in each.options.get(1, [])]
            found.append(Written(time_ns, each.fixed[20 : 20 + have], size, link, comments, each.options, said))
    return found


def ends(packet: Packet) -> frozenset[End]:
    """Both ends of an Ethernet packet of TCP; none of any other."""
    if packet.kind not in (IPV4, IPV6):
        return frozenset()
    ip = packet.ip
    if packet.kind == IPV4:
        protocol, header = ip[9], (ip[0] & 15) * 4
        addresses = str(IPv4Address(ip[12:16])), str(IPv4Address(ip[16:20]))
    else:
        protocol, header = ip[6], 40
        addresses = str(IPv6Address(ip[8:24])), str(IPv6Address(ip[24:40]))
    if protocol != 6:
        return frozenset()
    ports = struct.unpack_from(">HH", ip, header)
    return frozenset(zip(addresses, ports, strict=True))


def of_connections(rows: Any) -> set[frozenset[End]]:
    """The ends of rows of `connections`."""
    return {
        frozenset({(row.client_ip, int(row.client_port)), (row.server_ip, int(row.server_port))})
        for row in rows.itertuples()
    }
