"""Put every frame of a little-endian Ethernet pcap file into a VLAN or a tunnel, as mirror ports and switches do.

python tests/benchmarks/dress.py vlan|gre|vxlan IN OUT
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

RECORD = struct.Struct("<IIII")
OUTER_MAC = bytes.fromhex("020000000001 020000000002")
PIECE = 1 << 24


def vlan(frame: bytes) -> bytes:
    """An 802.1Q tag between the addresses and the EtherType."""
    return frame[:12] + b"\x81\x00\x00\x2a" + frame[12:]


def gre(frame: bytes) -> bytes:
    """The IP packet behind GRE, from one tunnel end to another. [RFC 2784]"""
    return OUTER_MAC + b"\x08\x00" + outer_ip(47, 4 + len(frame) - 14) + b"\x00\x00" + frame[12:]


def vxlan(frame: bytes) -> bytes:
    """The whole frame behind VXLAN. [RFC 7348]"""
    udp = struct.pack(">HHHH", 50_000, 4789, min(16 + len(frame), 0xFFFF), 0)
    return OUTER_MAC + b"\x08\x00" + outer_ip(17, 16 + len(frame)) + udp + b"\x08\0\0\0\0\0\x01\0" + frame


def outer_ip(protocol: int, size: int) -> bytes:
    """An IPv4 header without options; of what is larger than a packet can be, total length 0, as with offload."""
    total = 20 + size if 20 + size <= 0xFFFF else 0
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, total, 0, 0, 64, protocol, 0, b"\x0a\xfe\0\x01", b"\x0a\xfe\0\x02")


DRESSES = {"vlan": vlan, "gre": gre, "vxlan": vxlan}


def dress(how: str, source: Path, target: Path) -> None:
    """Rewrite a file, a piece at a time."""
    put_on = DRESSES[how]
    with source.open("rb") as read, target.open("wb") as write:
        write.write(read.read(24))
        rest = b""
        while piece := read.read(PIECE):
            data = rest + piece
            at = 0
            made = []
            while at + 16 <= len(data):
                seconds, micros, captured, length = RECORD.unpack_from(data, at)
                if at + 16 + captured > len(data):
                    break
                frame = put_on(data[at + 16 : at + 16 + captured])
                more = len(frame) - captured
                made.append(RECORD.pack(seconds, micros, captured + more, length + more) + frame)
                at += 16 + captured
            rest = data[at:]
            write.write(b"".join(made))


if __name__ == "__main__":
    dress(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
