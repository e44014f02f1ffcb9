"""Conversations through the kernels, segment by segment, to plain rows of messages and connections."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

import numpy as np

from analyzer.capture import packets as p
from analyzer.compiled import Bytes, Kernels, Table, plain_kernels
from analyzer.transport import flows as f
from analyzer.transport import messages as m
from analyzer.transport import pick
from tests.build import Segment

PORTS = (139, 445)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of messages; `data` is what was kept of its PDU, from the header of its message on."""

    connection: int
    from_server: bool
    capture_no: int
    frame: int
    time_ns: int
    protocol: int
    command: int
    data: bytes
    body: bytes
    size: int
    place: int
    position: int
    flags: int
    message: int

    @property
    def is_cut(self) -> bool:
        """Whether wanted bytes of it are missing."""
        return bool(self.flags & m.MF_CUT)


@dataclass(frozen=True, slots=True)
class Ended:
    """A connection that was swept: its number, ends, state bits, and per direction (client, server) some counters."""

    connection: int
    client_port: int
    server_port: int
    state: int
    packets: int
    taken: tuple[int, int]
    missing: tuple[int, int]
    unparsed: tuple[int, int]


def halves(address: str) -> tuple[int, int]:
    """An address as a 128-bit number in two signed halves, IPv4 as ::ffff:a.b.c.d."""
    packed = ip_address(address).packed.rjust(6, b"\xff").rjust(16, b"\0")
    return int.from_bytes(packed[:8], "big", signed=True), int.from_bytes(packed[8:], "big", signed=True)


def table_of(segments: Iterable[Segment], *, capture_no: int = 0, first_frame: int = 1) -> tuple[Table, Bytes]:
    """The segment table of conversations, and the buffer that its rows point into."""
    rows = []
    buffer = bytearray(b"\x00\x00\x00\x40\xfeSMB")  # in front of and between payloads lies what looks like SMB
    for frame, segment in enumerate(segments, first_frame):
        row = [0] * p.T_WIDTH
        row[p.T_FILE], row[p.T_FRAME], row[p.T_TIME] = capture_no, frame, segment.time_ns
        row[p.T_PLACE] = 24 + 100 * frame
        row[p.T_SRC_HI], row[p.T_SRC_LO] = halves(segment.source[0])
        row[p.T_DST_HI], row[p.T_DST_LO] = halves(segment.target[0])
        row[p.T_SRC_PORT], row[p.T_DST_PORT] = segment.source[1], segment.target[1]
        row[p.T_SEQ], row[p.T_ACK], row[p.T_FLAGS] = segment.seq, segment.ack, segment.flags
        row[p.T_MARK] = (frame & 0xFFFF) << 20  # each packet has an identification of its own
        have = len(segment.payload) if segment.have < 0 else segment.have
        row[p.T_DATA], row[p.T_HAVE], row[p.T_SIZE] = len(buffer), have, len(segment.payload)
        buffer += segment.payload[:have] + b"\x00\x00\x00\x40\xfeSMB"
        rows.append(row)
    return np.array(rows, dtype=np.int64).reshape(-1, p.T_WIDTH), np.frombuffer(bytes(buffer), np.uint8).copy()


class Following:
    """The state of the kernels between segments."""

    def __init__(
        self, kernels: Kernels | None = None, *, ports: Iterable[int] = PORTS, flows: int = 64, rows: int = 20_000
    ) -> None:
        self.kernels = kernels or plain_kernels()
        self.memory = f.empty(list(ports), *m.window(rows, 1 << 20), flows)
        self.seen, self.recent = pick.tables()
        self.counts = np.zeros(p.C_WIDTH, dtype=np.int64)
        self.ended: list[Ended] = []
        self._rows: list[Row] = []
        self._frame = 0

    def feed(self, segments: Iterable[Segment], *, capture_no: int = 0, frame: int | None = None) -> Following:
        """Take segments in this order; frames count on. Returns itself."""
        segments = list(segments)
        first = self._frame + 1 if frame is None else frame
        table, buffer = table_of(segments, capture_no=capture_no, first_frame=first)
        self._frame = first + len(segments) - 1
        found = self.kernels.pick(buffer, table, len(table), self.memory.ports, self.seen, self.recent, self.counts)
        at = 0
        while at < found:
            at = self.kernels.follow(self.memory, buffer, table, at, found)
            if at < found and self.memory.state[f.G_FREE_FLOW] < 0:
                self.memory = f.grown(self.memory)
            elif at < found:
                self._hand_over()
        buffer[:] = 0xEE  # nothing may be read from it later
        return self

    def sweep(self, now: int = 1 << 62, *, linger: int = -1, even_open: int = 1) -> Following:
        """Finish connections; all of them, unless told otherwise. Returns itself."""
        done = np.zeros(8, dtype=np.int64)
        at = 0
        while at < len(self.memory.flows):
            at = self.kernels.sweep(self.memory, at, now, linger, even_open, done)
            self.ended += [_ended(self.memory.flows[row]) for row in done[1 : done[0] + 1].tolist()]
            self.kernels.release(self.memory, done)
            self._hand_over()
        return self

    def _hand_over(self) -> None:
        memory = self.memory
        count = int(memory.state[f.G_MESSAGES])
        self._rows += [_row(row, memory.arena) for row in memory.messages[:count].tolist()]
        memory.state[f.G_MESSAGES] = memory.state[f.G_ARENA] = 0

    @property
    def rows(self) -> list[Row]:
        """All rows so far, messages and problems."""
        self._hand_over()
        return self._rows

    @property
    def messages(self) -> list[Row]:
        """The rows that are messages."""
        return [row for row in self.rows if row.protocol != m.PROTOCOL_PROBLEM]

    @property
    def problems(self) -> list[tuple[int, int]]:
        """Code and size of the rows that are none."""
        return [(row.command, row.size) for row in self.rows if row.protocol == m.PROTOCOL_PROBLEM]

    @property
    def connections(self) -> int:
        """Connections so far."""
        return int(self.memory.state[f.G_CONNECTIONS])

    def free_rows(self) -> dict[str, int]:
        """How many rows of each pool are free; walks the lists of them."""
        memory = self.memory
        lists = {
            "flows": (memory.flows[:, f.F_NEXT], f.G_FREE_FLOW),
            "parked": (memory.parked[:, f.Q_NEXT], f.G_FREE_PARKED),
            "trees": (memory.trees[:, f.TREE_NEXT], f.G_FREE_TREE),
            "blocks": (memory.block_next, f.G_FREE_BLOCK),
        }
        return {name: len(chain(links.tolist(), int(memory.state[head]))) for name, (links, head) in lists.items()}


def chain(links: list[int], at: int) -> list[int]:
    """The rows of a linked list."""
    found: list[int] = []
    while at >= 0:
        found.append(at)
        assert len(found) <= len(links)
        at = links[at]
    assert len(set(found)) == len(found)
    return found


def _row(row: list[int], arena: Bytes) -> Row:
    return Row(
        connection=row[m.M_CONNECTION],
        from_server=bool(row[m.M_FROM_SERVER]),
        capture_no=row[m.M_FILE],
        frame=row[m.M_FRAME],
        time_ns=row[m.M_TIME],
        protocol=row[m.M_PROTOCOL],
        command=row[m.M_COMMAND],
        data=arena[row[m.M_HEADER] : row[m.M_END]].tobytes(),
        body=arena[row[m.M_BODY] : row[m.M_END]].tobytes(),
        size=row[m.M_SIZE],
        place=row[m.M_PLACE],
        position=row[m.M_POSITION],
        flags=row[m.M_FLAGS],
        message=row[m.M_MESSAGE],
    )


def _ended(row: Table) -> Ended:
    def both(column: int) -> tuple[int, int]:
        return int(row[f.F_DIRECTIONS + column]), int(row[f.F_DIRECTIONS + f.D_WIDTH + column])

    return Ended(
        connection=int(row[f.F_CONNECTION]),
        client_port=int(row[f.F_CLIENT_PORT]),
        server_port=int(row[f.F_SERVER_PORT]),
        state=int(row[f.F_STATE]),
        packets=int(row[f.F_PACKETS]),
        taken=both(f.D_BYTES),
        missing=both(f.D_MISSING),
        unparsed=both(f.D_UNPARSED),
    )
