"""TCP connections over all files of a site, from what tshark says of each segment.

tshark numbers the connections of one file. Here a connection is known by its endpoints, and a new SYN on them begins
another one, so that it goes on from file to file.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from analyzer.engines.tshark_fields import Frame, Part
from analyzer.records import CONNECTION_END, ENDPOINTS, NAMES, Rows
from analyzer.wire.texts import Texts

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
MAX_CONNECTIONS = 262_144
"""Connections followed at a time; when more are open, those idle for longest are taken for over."""
LINGER_NS = 10_000_000_000
"""How long a closed connection is remembered for late repetitions."""
SMB1_REPLY = 0x80
SMB2_RESPONSE = 0x1

Endpoint = tuple[str, int]
WRAP = 1 << 32


@lru_cache(maxsize=65536)
def address_halves(text: str) -> tuple[int, int]:
    """An address as a 128-bit number in two signed halves, IPv4 as ::ffff:a.b.c.d; zeros if it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return 0, 0
    number = int(address) if address.version == 6 else 0xFFFF_0000_0000 | int(address)
    high, low = number >> 64, number & 0xFFFF_FFFF_FFFF_FFFF
    return (high - (1 << 64) if high >> 63 else high), (low - (1 << 64) if low >> 63 else low)


@dataclass(slots=True)
class Side:
    """A direction of a connection."""

    start: int = -1  # sequence number of its first byte, -1: not known
    reach: int = 0  # how many bytes from there have been seen the furthest, not wrapping
    bytes: int = 0
    missing: int = 0


@dataclass(slots=True)
class Connection:
    """A TCP connection. number: -1 while it is not known to be SMB."""

    client: Endpoint
    server: Endpoint
    capture_no: int
    frame: int
    first_ns: int
    number: int = -1
    last_capture_no: int = 0
    last_ns: int = 0
    packets: int = 0
    handshake: bool = False
    established: bool = False
    midstream: bool = False
    closed_by: int = 0
    sides: tuple[Side, Side] = field(default_factory=lambda: (Side(), Side()))

    def endpoints(self) -> tuple[int, ...]:
        """As the columns of `ENDPOINTS`."""
        client, server = address_halves(self.client[0]), address_halves(self.server[0])
        return (self.number, *client, self.client[1], *server, self.server[1], self.capture_no, self.frame)

    def ended(self) -> tuple[int, ...]:
        """As the columns of `CONNECTION_END`. tshark does not say at which byte of the file a packet stands."""
        one, other = self.sides
        return (
            *self.endpoints(), 0, self.last_capture_no, 0, self.first_ns, self.last_ns, self.packets, self.midstream,
            self.closed_by, self.established, one.bytes, other.bytes, one.missing + other.missing, 0,
        )  # fmt: skip


class Connections:
    """All connections of a site, and what became of them since the last batch."""

    def __init__(self, ports: tuple[int, ...], first_number: int, texts: Texts) -> None:
        self._ports = frozenset(ports)
        self._texts = texts
        self._open: dict[tuple[Endpoint, Endpoint], Connection] = {}  # by client and server, in order of last use
        self._begun: list[Connection] = []
        self._ended: list[Connection] = []
        self._names: list[tuple[int, int, int]] = []
        self.next_number = first_number
        self.let_go = 0

    def take(self, frame: Frame, capture_no: int) -> tuple[Connection, int] | None:
        """The connection of a frame's segment and its direction (1: the server sent it); None if it belongs to none."""
        assert frame.source is not None and frame.target is not None  # noqa: PT018
        found = self._find(frame, capture_no)
        if found is None:
            return None
        connection, side = found
        self._note(connection, side, frame, capture_no)
        if connection.number < 0 and (self._is_listed(connection) or frame.part is not None):
            if not self._is_listed(connection):
                # What came before said nothing of SMB: on such ports a connection begins with its first message.
                connection.capture_no, connection.frame = capture_no, frame.number
                connection.first_ns, connection.packets = frame.time_ns, 1
            connection.number = self.next_number
            self.next_number += 1
            self._begun.append(connection)
        if frame.called and connection.number >= 0:
            names = (self._texts.code(_netbios_name(name)) for name in (frame.calling, frame.called))
            self._names.append((connection.number, *names))  # type: ignore[arg-type]
        return found

    def _is_listed(self, connection: Connection) -> bool:
        return connection.server[1] in self._ports or connection.client[1] in self._ports

    def _find(self, frame: Frame, capture_no: int) -> tuple[Connection, int] | None:
        ends = frame.source, frame.target
        for side, key in enumerate((ends, ends[::-1])):
            connection = self._open.get(key)  # type: ignore[arg-type]
            if connection is None:
                continue
            if frame.flags & SYN and _is_another(connection, side, frame):
                del self._open[key]  # type: ignore[arg-type]
                self._end(connection)
                break
            self._open[key] = self._open.pop(key)  # type: ignore[index,arg-type]
            return connection, side
        if not frame.flags & SYN and frame.length == 0:
            return None
        return self._begin(frame, capture_no)

    def _begin(self, frame: Frame, capture_no: int) -> tuple[Connection, int]:
        source, target = frame.source, frame.target
        assert source is not None and target is not None  # noqa: PT018
        side = self._side_of_sender(frame)
        client, server = (target, source) if side else (source, target)
        connection = Connection(client, server, capture_no, frame.number, frame.time_ns)
        if len(self._open) >= MAX_CONNECTIONS:
            idle = self._open.pop(next(iter(self._open)))
            self._end(idle)
            self.let_go += 1
        self._open[client, server] = connection
        return connection, side

    def _side_of_sender(self, frame: Frame) -> int:
        """0 if the client sent this first segment, 1 if the server did."""
        if frame.flags & SYN:
            return 1 if frame.flags & ACK else 0
        assert frame.source is not None and frame.target is not None  # noqa: PT018
        source, target = frame.source[1], frame.target[1]
        if (source in self._ports) != (target in self._ports):
            return 1 if source in self._ports else 0
        if frame.part is not None:
            return 1 if is_reply(frame.part) else 0
        return 0 if source > target else 1

    def _note(self, connection: Connection, side: int, frame: Frame, capture_no: int) -> None:
        connection.last_capture_no = capture_no
        connection.last_ns = max(connection.last_ns, frame.time_ns)
        connection.packets += 1
        mine, other = connection.sides[side], connection.sides[1 - side]
        if frame.flags & SYN:
            connection.handshake = True
            if mine.start < 0:
                mine.start = (frame.sequence + 1) % WRAP
            if frame.flags & ACK:
                connection.established = True
                if other.start < 0:
                    other.start = frame.heard
        if frame.flags & (FIN | RST) and not connection.closed_by:
            connection.closed_by = 2 if side else 1
        if frame.length == 0 or frame.flags & RST:
            return
        connection.established = True
        if mine.start < 0:
            connection.midstream |= not connection.handshake
            mine.start = frame.sequence
        at = mine.reach + _signed(frame.sequence - (mine.start + mine.reach))
        end = at + frame.length
        if at >= mine.reach:
            mine.missing += at - mine.reach
            mine.bytes += frame.length
        elif end > mine.reach:
            mine.bytes += end - mine.reach
        elif not frame.is_repeated:
            filled = min(mine.missing, frame.length)
            mine.missing -= filled
            mine.bytes += filled
        mine.reach = max(mine.reach, end)

    def _end(self, connection: Connection) -> None:
        if connection.number >= 0:
            self._ended.append(connection)

    def hand_over(self, now_ns: int | None) -> tuple[Rows, Rows, Rows]:
        """What began and ended since the last time, and NetBIOS names. now_ns: None at the end: all connections end."""
        over = [
            key
            for key, connection in self._open.items()
            if now_ns is None or (connection.closed_by and connection.last_ns < now_ns - LINGER_NS)
        ]
        for key in over:
            self._end(self._open.pop(key))
        begun = np.array([connection.endpoints() for connection in self._begun], dtype=ENDPOINTS)
        ended = np.array([connection.ended() for connection in self._ended], dtype=CONNECTION_END)
        names = np.array(self._names, dtype=NAMES)
        self._begun, self._ended, self._names = [], [], []
        return begun, ended, names


def is_reply(part: Part) -> bool:
    """What a message says itself of its direction."""
    smb1, smb2 = part.number("smb.flags"), part.number("smb2.flags")
    return bool((smb1 or 0) & SMB1_REPLY) if smb1 is not None else bool((smb2 or 0) & SMB2_RESPONSE)


def position(connection: Connection, side: int, frame: Frame) -> int:
    """The place in the client's stream: where the segment ends, or up to which the server had heard it; -1: not known."""
    client = connection.sides[0]
    if client.start < 0:
        return -1
    end = frame.heard if side else frame.sequence + frame.length
    return max(-1, client.reach + _signed(end - (client.start + client.reach)))


def _is_another(connection: Connection, side: int, frame: Frame) -> bool:
    """A SYN on the endpoints of a connection begins another one: it is no repetition."""
    mine = connection.sides[side]
    if mine.start < 0:
        return connection.established and not frame.flags & ACK
    if mine.start == (frame.sequence + 1) % WRAP:
        return False
    return not frame.flags & ACK or connection.handshake


def _signed(difference: int) -> int:
    """The distance of two sequence numbers."""
    difference %= WRAP
    return difference - WRAP if difference >= WRAP // 2 else difference


def _netbios_name(shown: str) -> str:
    """The name that tshark shows with its kind: `FILES1<20> (Server service)`."""
    return shown.partition("<")[0].rstrip()
