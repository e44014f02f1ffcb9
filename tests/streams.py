"""Captures taken apart and put together again: the same TCP payload in other segments, orders and repetitions.

Reads and writes classic pcap and Ethernet/IP/TCP by itself, so that it shares no code with what it tests.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path

ETHERNET = bytes(12) + b"\x08\x00"
ETHERNET_IPV6 = bytes(12) + b"\x86\xdd"


@dataclass(frozen=True)
class Segment:
    """A TCP segment. Endpoints are (packed address, port)."""

    source: tuple[bytes, int]
    target: tuple[bytes, int]
    seq: int
    ack: int
    flags: int
    payload: bytes

    def packet(self) -> bytes:
        """As an Ethernet frame. Checksums are left 0."""
        tcp = struct.pack(
            ">HHIIBBHHH", self.source[1], self.target[1], self.seq, self.ack, 5 << 4, self.flags, 65535, 0, 0
        )
        size = len(tcp) + len(self.payload)
        if len(self.source[0]) == 16:
            ip = struct.pack(">IHBB", 6 << 28, size, 6, 64) + self.source[0] + self.target[0]
            return ETHERNET_IPV6 + ip + tcp + self.payload
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, 0, 0x4000, 64, 6, 0) + self.source[0] + self.target[0]
        return ETHERNET + ip + tcp + self.payload


def read_segments(path: Path) -> list[Segment]:
    """The TCP segments of a little-endian pcap file of Ethernet packets."""
    return segments_in(path.read_bytes())


def segments_in(data: bytes) -> list[Segment]:
    """The same of the bytes of the file."""
    assert data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1")
    at, found = 24, []
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at + 8)
        segment = _segment(data[at + 16 : at + 16 + size])
        if segment:
            found.append(segment)
        at += 16 + size
    return found


def _segment(frame: bytes) -> Segment | None:
    kind = frame[12:14]
    if kind == b"\x08\x00":
        header = (frame[14] & 15) * 4
        total = int.from_bytes(frame[16:18], "big")
        if frame[23] != 6:
            return None
        addresses = frame[26:30], frame[30:34]
        tcp = frame[14 + header : 14 + total]
    elif kind == b"\x86\xdd" and frame[20] == 6:
        addresses = frame[22:38], frame[38:54]
        tcp = frame[54 : 54 + int.from_bytes(frame[18:20], "big")]
    else:
        return None
    source, target, seq, ack, offset, flags = struct.unpack_from(">HHIIBB", tcp)
    return Segment((addresses[0], source), (addresses[1], target), seq, ack, flags, tcp[(offset >> 4) * 4 :])


def write_pcap(path: Path, segments: list[Segment], step_us: int = 1000) -> None:
    """Write segments, one each `step_us` microseconds."""
    parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)]
    for number, segment in enumerate(segments):
        frame = segment.packet()
        seconds, micros = divmod(number * step_us, 1_000_000)
        parts += [struct.pack("<IIII", 1_700_000_000 + seconds, micros, len(frame), len(frame)), frame]
    path.write_bytes(b"".join(parts))


def resegmented(segments: list[Segment], sizes: list[int]) -> list[Segment]:
    """Each run of payload in one direction of a connection cut into pieces of these sizes, taken in turn.

    Acknowledgement numbers say what had been sent the other way before.
    """
    made: list[Segment] = []
    turn = 0
    place = 0
    while place < len(segments):
        segment = segments[place]
        if not segment.payload:
            made.append(segment)
            place += 1
            continue
        run = segment.payload
        following = place + 1
        while (
            following < len(segments)
            and (segments[following].source, segments[following].target) == (segment.source, segment.target)
            and segments[following].payload
            and segments[following].seq == (segment.seq + len(run)) & 0xFFFFFFFF
        ):
            run += segments[following].payload
            following += 1
        at = 0
        while at < len(run):
            size = sizes[turn % len(sizes)]
            turn += 1
            made.append(replace(segment, seq=(segment.seq + at) & 0xFFFFFFFF, payload=run[at : at + size], flags=0x18))
            at += size
        flags = segments[following - 1].flags
        if flags & 1:
            made.append(replace(segment, seq=(segment.seq + len(run)) & 0xFFFFFFFF, payload=b"", flags=flags))
        place = following
    return made


def repeated(segments: list[Segment], places: list[int]) -> list[Segment]:
    """Some segments with payload a second time, a few segments later."""
    with_payload = [place for place, segment in enumerate(segments) if segment.payload]
    made = list(segments)
    for number in sorted({with_payload[place % len(with_payload)] for place in places}, reverse=True):
        made.insert(min(len(made), number + 1 + number % 5), segments[number])
    return made


def reordered(segments: list[Segment], moves: list[tuple[int, int]]) -> list[Segment]:
    """Some segments with payload moved back, past up to some others of their own direction."""
    made = list(segments)
    for place, distance in moves:
        with_payload = [number for number, segment in enumerate(made) if segment.payload]
        number = with_payload[place % len(with_payload)]
        segment = made[number]
        passed = 0
        target = number
        for later in range(number + 1, len(made)):
            same = (made[later].source, made[later].target) == (segment.source, segment.target)
            if made[later].flags & 7 and {made[later].source, made[later].target} == {segment.source, segment.target}:
                break
            passed += same and bool(made[later].payload)
            if passed > distance:
                break
            target = later
        made.insert(target, made.pop(number))
    return made
