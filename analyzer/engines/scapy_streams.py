"""TCP segments to framed SMB messages, in Python: connections, order, gaps, framing, and the choice of what is dissected.

Scapy's own helper (`TCPSession`) loses what follows a gap, and all of a connection whose beginning was not captured; each
would cost sessions. So the streams are put in order here, in another way than the native engine's: by positions that do
not wrap, in lists. The rules are those of the contract (`records`), and so are the limits: a hole is given up after 64
segments, 256 KB or 3 seconds; the first copy of a byte counts; in a gap inside a message whose size is known the stream
stays in step, else the next believable message is looked for.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from analyzer.capture.packets import TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN
from analyzer.engines.scapy_packets import End, Segment

HEADER = 4
HEAD = 64
MAX_SERVICE_PACKET = 1024
MAX_PARKED_SEGMENTS = 64
MAX_PARKED_BYTES = 262_144
MAX_PARKED_NS = 3_000_000_000
STRAY_DISTANCE = 1 << 26
MAX_STRAYS = 4
MAX_CONNECTIONS = 65_536
"""Followed at a time; of more those idle for longest are taken for over."""
MAX_OTHERS = 262_144
"""Connections on other ports of which it is remembered whether they are SMB."""
LINGER_NS = 10_000_000_000
MAX_RECENT = 16_384
COPY_NS = 1000 << 20
COPY_UNIDENTIFIED_NS = 100 << 20
"""A copy of a packet comes within a second, one without IP identification within a tenth."""


@dataclass(slots=True)
class Message:
    """A message, or what of it is there and wanted. size: its bytes on the wire, behind the 4 in front of it."""

    flow: Flow
    from_server: bool
    data: bytes
    size: int
    capture_no: int
    frame: int
    time_ns: int
    position: int
    cut: bool
    service: bool = False
    """A packet of the NetBIOS session service, from its type byte on."""


@dataclass(slots=True)
class Trouble:
    """Something else than a message, where one should be. code: as in `native.PROBLEM_CODES`."""

    flow: Flow
    code: str
    size: int
    capture_no: int
    frame: int


@dataclass(slots=True, order=True)
class _Piece:
    at: int
    size: int = field(compare=False)
    data: bytes = field(compare=False)
    segment: Segment = field(compare=False)


@dataclass(slots=True)
class Direction:
    """One direction of a connection."""

    is_set: bool = False
    start: int = 0
    next_seq: int = 0
    position: int = 0
    """Bytes from the first of the stream to `next_seq`."""
    parked: list[_Piece] = field(default_factory=list)
    strays: int = 0
    capture_no: int = 0
    frame: int = 0
    time_ns: int = 0
    lost: bool = False
    buffer: bytearray = field(default_factory=bytearray)
    need: int = HEADER
    """Bytes in the buffer at which the next decision is made."""
    left: int = 0
    """Bytes of the current message still to come; 0 while its size is not known."""
    size: int = 0
    skipping: bool = False
    bytes: int = 0
    missing: int = 0
    unparsed: int = 0

    def begin(self, start: int, lost: bool) -> None:
        if not self.is_set:
            self.is_set, self.start, self.next_seq, self.lost = True, start, start, lost

    def forget_message(self) -> None:
        self.buffer, self.need, self.left, self.size, self.skipping = bytearray(), HEADER, 0, 0, False


@dataclass(slots=True)
class Flow:
    """A connection. ends: the client's and the server's."""

    number: int
    client: End
    server: End
    first: Segment
    last: Segment
    last_ns: int
    packets: int = 0
    directions: tuple[Direction, Direction] = field(default_factory=lambda: (Direction(), Direction()))
    syn: bool = False
    syn_ack: bool = False
    fins: list[bool] = field(default_factory=lambda: [False, False])
    talked: list[bool] = field(default_factory=lambda: [False, False])
    reset: bool = False
    midstream: bool = False
    closed_by: int = 0
    trees: OrderedDict[tuple[int, int], int] = field(default_factory=OrderedDict)
    """Kinds of trees, by session id (-1: SMB 1) and tree id."""

    def is_over(self) -> bool:
        return self.reset or all(self.fins) or not (self.syn_ack or any(self.talked))


Take = Callable[[Message | Trouble], None]
Keep = Callable[[Flow, bool, bytes, int], int]
"""Connection, direction, the first 64 bytes of a message, its size: how many bytes of it to keep, 0: none."""


class Picker:
    """Which segments belong to SMB connections, each once: by port, or by the beginning of a connection's payload."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        self._ports = frozenset(ports)
        self._others: OrderedDict[frozenset[End], tuple[bool | None, End | None]] = OrderedDict()
        self._known_ports: set[int] = set()
        self._recent: OrderedDict[tuple[Any, ...], int] = OrderedDict()
        self.duplicates = 0

    def may_matter(self, source: int, target: int, flags: int, payload: bytes) -> bool:
        """What can be said of a packet before it is known whose it is."""
        return (
            source in self._ports
            or target in self._ports
            or bool(flags & TCP_SYN)
            or begins_like_smb(payload)
            or source in self._known_ports
            or target in self._known_ports
        )

    def pick(self, segment: Segment) -> tuple[bool, bool | None]:
        """Whether a segment is wanted; and whether its sender is the server, if only its handshake told so."""
        told = None
        if segment.source[1] not in self._ports and segment.target[1] not in self._ports:
            is_wanted, told = self._look(segment)
            if not is_wanted:
                return False, None
        if self._is_copy(segment):
            self.duplicates += 1
            return False, None
        return True, told

    def _look(self, segment: Segment) -> tuple[bool, bool | None]:
        if not segment.data and not segment.flags & (TCP_SYN | TCP_FIN | TCP_RST):
            return False, None  # an acknowledgement tells nothing; the end of a connection does, if it is a known one
        ends = frozenset((segment.source, segment.target))
        is_smb, client = self._others.get(ends, (None, None))
        if is_smb:
            return True, None
        if segment.flags & TCP_SYN:
            if not segment.flags & TCP_ACK:
                self._others[ends] = (None, segment.source)
                self._bound()
            return False, None
        if is_smb is False or not segment.data:
            return False, None
        is_smb = begins_like_smb(segment.data)
        self._others[ends] = (is_smb, client)
        self._bound()
        if not is_smb:
            return False, None
        self._known_ports |= {segment.source[1], segment.target[1]}
        return True, None if client is None else segment.source != client

    def _bound(self) -> None:
        while len(self._others) > MAX_OTHERS:
            self._others.popitem(last=False)

    def _is_copy(self, segment: Segment) -> bool:
        key = (
            segment.source, segment.target, segment.seq, segment.ack, segment.flags, segment.size, segment.mark,
        )  # fmt: skip
        before = self._recent.get(key)
        within = COPY_NS if segment.mark[0] else COPY_UNIDENTIFIED_NS
        if before is not None and abs(segment.time_ns - before) <= within:
            return True
        self._recent[key] = segment.time_ns
        self._recent.move_to_end(key)
        if len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)
        return False


class Streams:
    """All connections of a site."""

    def __init__(self, ports: tuple[int, ...], first_number: int, keep: Keep, take: Take) -> None:
        self._ports = frozenset(ports)
        self._keep = keep
        self._take = take
        self._flows: dict[frozenset[End], Flow] = {}
        self._replaced: list[Flow] = []
        self.connections = first_number
        self.begun: list[Flow] = []
        self.ended: list[Flow] = []
        self.let_go = 0
        self._now = 0

    def feed(self, segment: Segment, told: bool | None) -> None:
        """Take a segment. told: whether its sender is the server, where an earlier handshake said so."""
        self._now = max(self._now, segment.time_ns)
        found = self._flow_of(segment, told)
        if found is None:
            return
        flow, d = found
        self._note(flow, d, segment, told)
        self._arrange(flow, d, segment)

    def finish_over(self, everything: bool = False) -> None:
        """Finish connections that have been over for a while, or all."""
        over = [flow for flow in self._replaced if everything or self._now - flow.last_ns > LINGER_NS]
        self._replaced = (
            [flow for flow in self._replaced if not any(flow is one for one in over)] if over else self._replaced
        )
        for ends, flow in list(self._flows.items()):
            if everything or (flow.is_over() and self._now - flow.last_ns > LINGER_NS):
                over.append(flow)
                del self._flows[ends]
        for flow in over:
            self._finish(flow)

    def _finish(self, flow: Flow) -> None:
        for d in (0, 1):
            direction = flow.directions[d]
            while direction.parked:
                self._release_first(flow, d)
                self._release_ready(flow, d)
            # On a connection that was closed the rest of the message was lost; else the capture ended before it.
            if direction.buffer and (flow.reset or any(flow.fins)):
                self._tell(flow, d, "gap_in_message", direction.left)
                self._cut(flow, d)
            direction.forget_message()
        self.ended.append(flow)

    def _flow_of(self, segment: Segment, told: bool | None) -> tuple[Flow, int] | None:
        ends = frozenset((segment.source, segment.target))
        flow = self._flows.get(ends)
        if flow is not None:
            d = 0 if segment.source == flow.client else 1
            if not (segment.flags & TCP_SYN and self._is_new(flow, d, segment)):
                return flow, d
            self._replaced.append(flow)
        elif not segment.flags & TCP_SYN and segment.size == 0:
            return None
        from_server = self._from_server(segment, told)
        client, server = (segment.target, segment.source) if from_server else (segment.source, segment.target)
        flow = self._flows[ends] = Flow(self.connections, client, server, segment, segment, segment.time_ns)
        self.connections += 1
        self.begun.append(flow)
        if len(self._flows) > MAX_CONNECTIONS:
            self._let_go()
        return flow, int(from_server)

    def _let_go(self) -> None:
        self.finish_over()
        idle = sorted(self._flows.items(), key=lambda item: item[1].last_ns)
        for ends, flow in idle[: max(0, len(idle) - MAX_CONNECTIONS * 3 // 4)]:
            del self._flows[ends]
            self.let_go += 1
            self._finish(flow)

    @staticmethod
    def _is_new(flow: Flow, d: int, segment: Segment) -> bool:
        """Whether a SYN on the ends of a connection begins another one."""
        direction = flow.directions[d]
        if not direction.is_set:
            return (any(flow.talked) or any(flow.fins) or flow.reset) and not segment.flags & TCP_ACK
        if direction.start == (segment.seq + 1) & 0xFFFFFFFF:
            return False
        return flow.syn_ack if segment.flags & TCP_ACK else True

    def _from_server(self, segment: Segment, told: bool | None) -> bool:
        """By the handshake, the ports, or the message's own word."""
        if told is not None:
            return told
        if segment.flags & TCP_SYN:
            return bool(segment.flags & TCP_ACK)
        source, target = segment.source[1] in self._ports, segment.target[1] in self._ports
        if source != target:
            return source
        data = segment.data
        if len(data) >= 24 and begins_like_smb(data):
            if data[4] == 0xFE:
                return bool(data[20] & 1)  # SMB2_FLAGS_SERVER_TO_REDIR
            if data[4] == 0xFF:
                return bool(data[13] & 0x80)  # SMB_FLAGS_REPLY
        return segment.source[1] < segment.target[1]

    @staticmethod
    def _note(flow: Flow, d: int, segment: Segment, told: bool | None) -> None:
        flags = segment.flags
        flow.last, flow.last_ns = segment, max(flow.last_ns, segment.time_ns)
        flow.packets += 1
        if flags & TCP_SYN:
            flow.directions[d].begin((segment.seq + 1) & 0xFFFFFFFF, False)
            if flags & TCP_ACK:
                flow.syn_ack = True
                flow.directions[1 - d].begin(segment.ack, False)
            else:
                flow.syn = True
        if told is not None:
            flow.syn = True
        if flags & TCP_FIN:
            flow.fins[d] = True
        if flags & TCP_RST:
            flow.reset = True
        if flags & (TCP_FIN | TCP_RST) and not flow.closed_by:
            flow.closed_by = 1 + d
        if segment.size > 0 and not flags & TCP_RST:
            flow.talked[d] = True
            if not flow.directions[d].is_set:
                flow.midstream |= not flow.syn
                flow.directions[d].begin(segment.seq, not flow.syn)

    # Order. #

    def _arrange(self, flow: Flow, d: int, segment: Segment) -> None:
        direction = flow.directions[d]
        if segment.size == 0 or segment.flags & TCP_RST or not direction.is_set:
            return
        seq = segment.seq + 1 if segment.flags & TCP_SYN else segment.seq
        distance = _signed(seq - direction.next_seq)
        if abs(distance) > STRAY_DISTANCE:
            direction.strays += 1
            if direction.strays < MAX_STRAYS:
                return
            # The capture has lost more than can be counted: go on here.
            while direction.parked:
                self._release_first(flow, d)
            gap = max(1, _signed(seq - direction.next_seq))
            direction.missing += gap
            direction.next_seq = seq & 0xFFFFFFFF
            self._gap(flow, d, gap)
            direction.position += gap
            distance = 0
        direction.strays = 0
        at = direction.position + distance
        if distance == 0 and not direction.parked:
            self._deliver(flow, d, _Piece(at, segment.size, segment.data, segment))
            return
        begin, end = max(at, direction.position), at + segment.size
        for piece in list(direction.parked):  # what waits came before this copy of it
            if piece.at >= end:
                break
            if piece.at > begin:
                self._park(direction, segment, at, begin, piece.at)
            begin = max(begin, piece.at + piece.size)
        if begin < end:
            self._park(direction, segment, at, begin, end)
        self._release_ready(flow, d)
        while direction.parked and (
            len(direction.parked) >= MAX_PARKED_SEGMENTS
            or sum(piece.size for piece in direction.parked) >= MAX_PARKED_BYTES
            or segment.time_ns - min(piece.segment.time_ns for piece in direction.parked) > MAX_PARKED_NS
        ):
            self._release_first(flow, d)
            self._release_ready(flow, d)

    @staticmethod
    def _park(direction: Direction, segment: Segment, at: int, begin: int, end: int) -> None:
        insort(direction.parked, _Piece(begin, end - begin, segment.data[begin - at : end - at], segment))

    def _release_ready(self, flow: Flow, d: int) -> None:
        direction = flow.directions[d]
        while direction.parked and direction.parked[0].at <= direction.position:
            self._deliver(flow, d, direction.parked.pop(0))

    def _release_first(self, flow: Flow, d: int) -> None:
        direction = flow.directions[d]
        piece = direction.parked.pop(0)
        hole = piece.at - direction.position
        if hole > 0:
            direction.missing += hole
            direction.next_seq = (direction.next_seq + hole) & 0xFFFFFFFF
            self._gap(flow, d, hole)
            direction.position += hole
        self._deliver(flow, d, piece)

    def _deliver(self, flow: Flow, d: int, piece: _Piece) -> None:
        direction = flow.directions[d]
        client = flow.directions[0]
        heard = -1
        if d and client.is_set:
            heard = client.position + _signed(piece.segment.ack - client.next_seq)
        direction.next_seq = (direction.next_seq + piece.size) & 0xFFFFFFFF
        if piece.data:
            self._read(flow, d, piece, heard)
        missing = piece.size - len(piece.data)
        direction.position = piece.at + len(piece.data)
        if missing > 0:
            direction.missing += missing
            self._gap(flow, d, missing)
            direction.position += missing

    # Framing. #

    def _read(self, flow: Flow, d: int, piece: _Piece, heard: int) -> None:
        direction, segment, data = flow.directions[d], piece.segment, piece.data
        # A message can be read once it and all before it in its stream has come: by the latest packet so far.
        if segment.capture_no == direction.capture_no:
            is_later = segment.frame > direction.frame
        else:
            is_later = segment.time_ns >= direction.time_ns
        if is_later:
            direction.capture_no, direction.frame, direction.time_ns = (
                segment.capture_no,
                segment.frame,
                segment.time_ns,
            )
        direction.bytes += len(data)
        at, end = 0, len(data)
        while at < end:
            if direction.lost:
                begin = at
                at = seek_message(data, begin, bool(d))
                direction.unparsed += at - begin
                direction.lost = at >= end
                continue
            if direction.skipping:
                step = min(direction.left, end - at)
                direction.left -= step
                at += step
            else:
                if not direction.buffer and end - at >= 5 and not _may_begin(data, at):
                    self._lose(flow, d)
                    continue
                step = min(direction.need - len(direction.buffer), end - at)
                direction.buffer += data[at : at + step]
                direction.left -= step if direction.size else 0
                at += step
                if len(direction.buffer) < direction.need:
                    continue
                if not self._decide(flow, d):
                    continue
            if direction.left == 0 and direction.skipping:
                self._emit(flow, d, piece.at + at if d == 0 else heard, False)

    def _decide(self, flow: Flow, d: int) -> bool:
        """What was waited for is there. False if more of the message is to be stored, or it is none."""
        direction = flow.directions[d]
        buffer = direction.buffer
        if not direction.size:
            size = packet_size(buffer)
            if size < 0:
                self._lose(flow, d)
                return False
            direction.size = size
            direction.left = size - HEADER
            direction.need = min(size, HEADER + HEAD)
            if size > HEADER:
                return False
        if buffer[0]:
            keep = direction.size - HEADER
        elif direction.size == HEADER:
            keep = 0
        elif len(buffer) < HEADER + 4 or not begins_like_smb(buffer[:8]) or direction.size < HEADER + 16:
            self._lose(flow, d)
            return False
        elif direction.need > HEADER + HEAD:
            keep = direction.need - HEADER
        else:
            keep = self._keep(flow, bool(d), bytes(buffer[HEADER:]), direction.size - HEADER)
        if keep == 0:
            direction.buffer = bytearray()
        elif HEADER + keep > len(buffer):
            direction.need = HEADER + keep
            return False
        direction.skipping = True
        return True

    def _lose(self, flow: Flow, d: int) -> None:
        """Something else stands where a message should begin."""
        self._tell(flow, d, "not_smb", 0)
        flow.directions[d].unparsed += len(flow.directions[d].buffer)
        flow.directions[d].forget_message()
        flow.directions[d].lost = True

    def _gap(self, flow: Flow, d: int, size: int) -> None:
        """`size` bytes are missing. The position is not moved here."""
        direction = flow.directions[d]
        if direction.lost:
            return
        if not direction.size:
            self._tell(flow, d, "gap", size)
            direction.forget_message()
            direction.lost = True
            return
        position = direction.position + size if d == 0 else -1
        if not direction.skipping:
            self._tell(flow, d, "gap_in_message", size)
            left, whole = direction.left, direction.size
            self._cut(flow, d, position)
            direction.left, direction.size, direction.skipping = left, whole, True
        if size <= direction.left:
            direction.left -= size
            if direction.left == 0:
                self._emit(flow, d, position, False)
            return
        self._emit(flow, d, position, False)  # if all that was wanted is there: only its end was lost
        self._tell(flow, d, "gap", size)
        direction.lost = True

    def _cut(self, flow: Flow, d: int, position: int | None = None) -> None:
        """Hand on the part of a message that is there, marked as cut unless all that is wanted of it is there."""
        direction = flow.directions[d]
        if direction.size and len(direction.buffer) > HEADER + 32:
            at = position if position is not None else direction.position if d == 0 else -1
            self._emit(flow, d, at, not direction.skipping)
        direction.forget_message()

    def _emit(self, flow: Flow, d: int, position: int, cut: bool) -> None:
        direction = flow.directions[d]
        buffer, size = direction.buffer, direction.size
        direction.forget_message()
        if len(buffer) <= HEADER and not (buffer and buffer[0]):
            return
        service = buffer[0] != 0
        data = bytes(buffer if service else buffer[HEADER:])
        self._take(
            Message(
                flow, bool(d), data, size - HEADER,
                direction.capture_no, direction.frame, direction.time_ns, position, cut, service,
            )
        )  # fmt: skip

    def _tell(self, flow: Flow, d: int, code: str, size: int) -> None:
        direction = flow.directions[d]
        self._take(Trouble(flow, code, size, direction.capture_no, direction.frame))


def begins_like_smb(data: bytes | bytearray) -> bool:
    """Whether a payload begins with a session message that holds SMB 1, 2, an encrypted or a compressed one."""
    return len(data) >= 8 and data[0] == 0 and data[4] >= 0xFC and data[5:8] == b"SMB"


def _may_begin(data: bytes, at: int) -> bool:
    """Whether what stands at `at` can still be a session message of SMB, an empty one, or a packet of the service."""
    head = data[at : at + 8]
    if head[0]:
        return packet_size(head) > 0
    return head[:4] == bytes(4) or (head[4] >= 0xFC and b"SMB".startswith(head[5:8]))


def packet_size(buffer: bytes | bytearray) -> int:
    """Bytes in the packet of the NetBIOS session service that begins so, its 4 in front included; -1: none does."""
    kind = buffer[0]
    if kind == 0:
        return HEADER + int.from_bytes(buffer[1:4], "big")
    if 0x81 <= kind <= 0x85 and buffer[1] <= 1:
        size = HEADER + (buffer[1] << 16) + int.from_bytes(buffer[2:4], "big")
        if size <= MAX_SERVICE_PACKET:
            return size
    return -1


def seek_message(data: bytes, at: int, from_server: bool) -> int:
    """Where the next believable message begins, the end if none does."""
    place = data.find(b"SMB", at + 5)
    while place >= 0:
        begin = place - 5
        if data[begin] == 0 and data[begin + 4] >= 0xFC and _is_believable(data, begin, from_server):
            return begin
        place = data.find(b"SMB", place + 1)
    return len(data)


def _is_believable(data: bytes, at: int, from_server: bool) -> bool:
    """By more than the letters SMB: those may stand in a file's data."""
    size = int.from_bytes(data[at + 1 : at + 4], "big")
    kind = data[at + 4]
    if kind == 0xFE:
        header = data[at + 4 : at + 4 + 24]
        if size < 64 or len(header) < 24:
            return size >= 64
        is_answer = bool(header[16] & 1)
        return is_answer == from_server and header[4:6] == b"\x40\0" and int.from_bytes(header[12:14], "little") <= 0x13
    return size >= (35 if kind == 0xFF else 16)


def _signed(distance: int) -> int:
    distance &= 0xFFFFFFFF
    return distance - (1 << 32) if distance & 0x80000000 else distance
