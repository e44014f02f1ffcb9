"""Conversations to scripts: the packets of one connection with times, numbers and acknowledgements that count from 0.

What comes in: a `Conversation` and a `Style`. What goes out: a `Script`, whose frames are complete but for what differs
from replay to replay: addresses, the client's port, initial sequence numbers, time, marks and the checksums over them.
A receiver sees every segment; what the capture lost is left out when the script is replayed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from conversations import TCP, UDP, Conversation
from recorded import CLIENT, SERVER

PACKET = np.dtype([
    ("start", "i8"),        # of the record in the frames
    ("length", "i4"),       # of the record: pcap header and frame
    ("at_us", "i8"),        # since the connection began
    ("late_us", "i8"),      # when it is seen if it is overtaken by later segments of its side; -1: cannot be
    ("sequence", "u4"),     # from 0 at the SYN of its side
    ("acknowledged", "u4"),
    ("checksum", "u8"),     # sum over all that does not differ, as 16-bit words
    ("first_mark", "i8"),
    ("marks", "i4"),
    ("sender", "u1"),
    ("protocol", "u1"),
    ("has_data", "?"),
    ("acknowledges", "?"),
])  # fmt: skip
MARK = np.dtype([
    ("offset", "i4"),       # of one byte, from the start of the record
    ("shift", "u1"),        # which byte of the number goes there
    ("of", "u1"),           # OF_SESSION, OF_CLIENT, OF_SERVER
    ("index", "u1"),
    ("weight", "u2"),       # 256 or 1: its place in the words of the checksum
])  # fmt: skip

RECORD_HEADER, ETHERNET, IP = 16, 14, 20
SMALLEST_FRAME = 60
FIN, SYN, PUSH, ACK = 0x01, 0x02, 0x08, 0x10
WINDOW_SCALE = 8
OFFLOADED = 64_240  # the largest segment that is not yet cut, 44 times 1,460
OVERTAKEN_BY = 3


@dataclass(frozen=True, slots=True)
class Style:
    """How the two stacks of a connection behave. Probabilities are between 0 and 1."""

    pure_ack: float
    """That the last segment of a flight is acknowledged before the answer."""
    ack_every: int = 2
    """Segments within a flight."""
    merge: float = 0.05
    """That a message begins in the segment in which the one before it ends."""
    split: float = 0.05
    """That a message which would fit a segment is sent in two or three."""
    offload: float = 0.0
    """That a segment is recorded before the network card cuts it."""
    timestamps: bool = False
    """TCP timestamp options, 12 bytes in every segment."""
    pause_us: float = 10_000_000.0
    """Length of the one long silence, on average."""

    @property
    def segment(self) -> int:
        return 1448 if self.timestamps else 1460


@dataclass(frozen=True, slots=True)
class Script:
    frames: np.ndarray
    packets: np.ndarray
    """PACKET, in time order."""
    marks: np.ndarray
    """MARK, by packet."""
    port: int
    sessions: int = 0
    """That the conversation shows."""

    @property
    def duration_us(self) -> int:
        return int(self.packets["at_us"][-1])


@dataclass
class _Side:
    stream: bytes
    marks: np.ndarray
    """(n, 4): place in the stream, shift, of, index; sorted by place."""
    sent: int = 0
    """Sequence number of the next byte; 1 is the first of the stream."""
    stamp: int = 0
    """Last TCP timestamp."""


@dataclass
class _Planned:
    """A packet without its bytes; what is kept of it before all are sorted by time."""

    at_us: int
    sender: int
    sequence: int
    acknowledged: int
    flags: int
    first: int = 0
    length: int = 0
    """The part of the sender's stream that it carries."""
    late_us: int = -1


@dataclass
class _Play:
    """One connection as it happens. All times are in µs."""

    conversation: Conversation
    style: Style
    rng: np.random.Generator
    now: int = 0
    planned: list[_Planned] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sides = tuple(_side(self.conversation, sender) for sender in (CLIENT, SERVER))
        self.round_trip = int(self.rng.integers(150, 900))

    def wait(self, average_us: float) -> None:
        self.now += 40 + int(self.rng.exponential(average_us))

    def send(self, sender: int, flags: int, first: int = 0, length: int = 0) -> _Planned:
        own, other = self.sides[sender], self.sides[1 - sender]
        packet = _Planned(self.now, sender, own.sent, other.sent if flags & ACK else 0, flags, first, length)
        own.sent += length + (1 if flags & (SYN | FIN) else 0)
        self.planned.append(packet)
        return packet

    def open(self) -> None:
        for sender, flags in ((CLIENT, SYN), (SERVER, SYN | ACK), (CLIENT, ACK)):
            self.send(sender, flags)
            self.now += self.round_trip // 2

    def close(self) -> None:
        """Either side ends the connection, in four packets or in three."""
        first = CLIENT if self.rng.random() < 0.8 else SERVER
        four = self.rng.random() < 0.5
        for sender, flags in ((first, FIN | ACK), (1 - first, ACK), (1 - first, FIN | ACK), (first, ACK)):
            if flags == ACK and sender != first and not four:
                continue
            self.send(sender, flags)
            self.now += self.round_trip // 2

    def fly(self, sender: int, lengths: list[int]) -> None:
        """Send messages of one side in a row, with the other side's acknowledgements."""
        own, other = self.sides[sender], self.sides[1 - sender]
        sizes = cut(lengths, self.style, self.rng)
        gaps = self.rng.integers(4, 25, len(sizes)).tolist()
        delays = self.rng.integers(120, 260, len(sizes)).tolist()
        flight: list[_Planned] = []
        acked_at, unacked = 0, 0
        for number, size in enumerate(sizes):
            flight.append(self.send(sender, ACK | PUSH, own.sent - 1, size))
            unacked += -(-size // self.style.segment)
            is_last = number + 1 == len(sizes)
            if unacked >= self.style.ack_every or (is_last and self.rng.random() < self.style.pure_ack):
                acked_at = max(acked_at + 1, self.now + delays[number])
                self.planned.append(_Planned(acked_at, 1 - sender, other.sent, own.sent, ACK))
                unacked = 0
            self.now += gaps[number]
        self.now = max(self.now, acked_at)
        _overtake(flight, self.rng)


def _overtake(flight: list[_Planned], rng: np.random.Generator) -> None:
    """Say when each segment of a flight would be seen if one to three of those after it were faster."""
    by = rng.integers(1, OVERTAKEN_BY + 1, len(flight)).tolist()
    for number, packet in enumerate(flight[:-1]):
        packet.late_us = flight[min(number + by[number], len(flight) - 1)].at_us + 1


def _side(conversation: Conversation, sender: int) -> _Side:
    """Join the messages of one side, and find its marks in what is joined."""
    starts: dict[int, int] = {}
    parts, total = [], 0
    for number, message in enumerate(conversation.messages):
        if message.sender == sender:
            starts[number] = total
            parts.append(message.data)
            total += len(message.data)
    marks = sorted(
        (starts[mark.message] + mark.offset + byte, 8 * byte, mark.of, mark.index)
        for mark in conversation.marks if mark.message in starts
        for byte in range(4)
    )  # fmt: skip
    return _Side(b"".join(parts), np.array(marks, dtype="i8").reshape(-1, 4))


def cut(lengths: list[int], style: Style, rng: np.random.Generator) -> list[int]:
    """Sizes of the segments that carry messages of these lengths."""
    pieces: list[int] = []
    for length in lengths:
        if pieces and rng.random() < style.merge:
            pieces[-1] += length
        elif 8 < length <= style.segment and rng.random() < style.split:
            places = np.unique(rng.integers(1, length, rng.integers(1, 3)))
            pieces += np.diff([0, *places, length]).tolist()
        else:
            pieces.append(length)
    sizes: list[int] = []
    for piece in pieces:
        left = piece
        while left:
            many = int(rng.integers(2, OFFLOADED // 1460 + 1)) if rng.random() < style.offload else 1
            sizes.append(min(left, many * style.segment))
            left -= sizes[-1]
    return sizes


def play(conversation: Conversation, style: Style, rng: np.random.Generator) -> Script:
    """Let the conversation happen once."""
    if conversation.protocol == UDP:
        return _play_datagrams(conversation, rng)
    happening = _Play(conversation, style, rng)
    happening.open()
    by_sender = groupby(conversation.messages, lambda message: message.sender)
    flights = [(sender, [len(message.data) for message in group]) for sender, group in by_sender]
    silent_before = int(rng.integers(1, max(2, len(flights))))
    for number, (sender, lengths) in enumerate(flights):
        happening.wait(style.pause_us if number == silent_before else 600 if sender == CLIENT else 400)
        happening.fly(sender, lengths)
    happening.wait(style.pause_us / 10)
    happening.close()
    return _assemble(happening)


def _play_datagrams(conversation: Conversation, rng: np.random.Generator) -> Script:
    happening = _Play(conversation, Style(0), rng)
    for message in conversation.messages:
        side = happening.sides[message.sender]
        happening.planned.append(_Planned(happening.now, message.sender, 0, 0, 0, side.sent, len(message.data)))
        side.sent += len(message.data)
        happening.wait(8_000)
    return _assemble(happening)


# --- packets to bytes ----------------------------------------------------------------------------------------------


def _assemble(happening: _Play) -> Script:
    """Write the frames, in time order."""
    conversation, style = happening.conversation, happening.style
    planned = sorted(happening.planned, key=lambda packet: packet.at_us)
    packets = np.zeros(len(planned), PACKET)
    frames: list[bytes] = []
    marks: list[np.ndarray] = []
    start = mark_count = 0
    for row, packet in zip(packets, planned, strict=True):
        side, other = happening.sides[packet.sender], happening.sides[1 - packet.sender]
        side.stamp = packet.at_us // 1000
        options = _options(packet.flags, style, side.stamp, other.stamp) if conversation.protocol == TCP else b""
        here, inside = _marks_inside(side, packet, len(options), conversation.protocol)
        payload = _without(side.stream[packet.first : packet.first + packet.length], inside)
        header = _transport_header(conversation, packet, options, len(payload))
        frame = _frame(conversation.protocol, header, payload)
        row["start"], row["length"], row["at_us"], row["late_us"] = start, len(frame), packet.at_us, packet.late_us
        row["sequence"], row["acknowledged"] = packet.sequence & 0xFFFFFFFF, packet.acknowledged & 0xFFFFFFFF
        row["checksum"] = word_sum(header) + word_sum(payload) + conversation.protocol + len(header) + len(payload)
        row["first_mark"], row["marks"] = mark_count, len(here)
        row["sender"], row["protocol"] = packet.sender, conversation.protocol
        row["has_data"], row["acknowledges"] = packet.length > 0, bool(packet.flags & ACK)
        frames.append(frame)
        marks.append(here)
        start += len(frame)
        mark_count += len(here)
    joined = np.frombuffer(b"".join(frames), np.uint8)
    return Script(joined, packets, np.concatenate(marks), conversation.port)


def word_sum(data: bytes) -> int:
    """Sum of the big-endian 16-bit words, an odd last byte filled up with zero."""
    even = data if len(data) % 2 == 0 else data + b"\0"
    return int(np.frombuffer(even, ">u2").sum(dtype=np.uint64))


def _marks_inside(side: _Side, packet: _Planned, options: int, protocol: int) -> tuple[np.ndarray, np.ndarray]:
    """The marks in a segment as MARK rows, and their places in its payload."""
    low, high = np.searchsorted(side.marks[:, 0], (packet.first, packet.first + packet.length))
    found = side.marks[low:high]
    inside = found[:, 0] - packet.first
    rows = np.zeros(len(found), MARK)
    in_transport = (20 + options if protocol == TCP else 8) + inside
    rows["offset"] = RECORD_HEADER + ETHERNET + IP + in_transport
    rows["shift"], rows["of"], rows["index"] = found[:, 1], found[:, 2], found[:, 3]
    rows["weight"] = np.where(in_transport % 2 == 0, 256, 1)
    return rows, inside


def _without(payload: bytes, places: np.ndarray) -> bytes:
    """The payload with zeros where marks will be, so that its sum counts only what stays."""
    if not len(places):
        return payload
    changed = bytearray(payload)
    for place in places.tolist():
        changed[place] = 0
    return bytes(changed)


def _options(flags: int, style: Style, own_stamp: int, other_stamp: int) -> bytes:
    stamps = struct.pack(">BBII", 8, 10, 1_000_000 + own_stamp, 1_000_000 + other_stamp if flags & ACK else 0)
    if not flags & SYN:
        return b"\x01\x01" + stamps if style.timestamps else b""
    usual = struct.pack(">BBHBBBBBB", 2, 4, 1460, 1, 3, 3, WINDOW_SCALE, 4, 2)
    return usual + (stamps if style.timestamps else b"\x01\x01")


def _transport_header(conversation: Conversation, packet: _Planned, options: bytes, length: int) -> bytes:
    """TCP or UDP header; the client's port, sequence numbers and checksum are left zero."""
    ports = (0, conversation.port) if packet.sender == CLIENT else (conversation.port, 0)
    if conversation.protocol == UDP:
        return struct.pack(">HHHH", *ports, 8 + length, 0)
    window = 0xFAF0 if packet.flags & SYN else 0x2000
    return struct.pack(">HHIIBBHHH", *ports, 0, 0, (20 + len(options)) // 4 << 4, packet.flags, window, 0, 0) + options


def _frame(protocol: int, header: bytes, payload: bytes) -> bytes:
    """pcap record header, Ethernet, IPv4; times, addresses, identification and checksums are left zero."""
    total = IP + len(header) + len(payload)
    padding = max(0, SMALLEST_FRAME - ETHERNET - total)
    on_wire = ETHERNET + total + padding
    record = struct.pack("<IIII", 0, 0, on_wire, on_wire)
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, total, 0, 0x4000, 128, protocol, 0, 0, 0)
    return record + bytes(12) + b"\x08\x00" + ip + header + payload + bytes(padding)
