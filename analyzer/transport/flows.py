"""The state of TCP connections: its tables and their columns, and how a segment finds its connection.

Everything that must be remembered between segments lives in `Memory`, in tables of 64-bit integers and two byte arrays,
so that plain and compiled kernels work on the same state. Rows of connections, parked segments, blocks and trees are
taken from free lists and given back; every one of these has a fixed number, and what was given up for want of room is
counted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analyzer.capture.packets import (
    T_ACK,
    T_DATA,
    T_DST_HI,
    T_DST_LO,
    T_DST_PORT,
    T_FILE,
    T_FLAGS,
    T_FRAME,
    T_HAVE,
    T_PLACE,
    T_SEQ,
    T_SIZE,
    T_SRC_HI,
    T_SRC_LO,
    T_SRC_PORT,
    T_TIME,
    TCP_ACK,
    TCP_FIN,
    TCP_RST,
    TCP_SYN,
    TF_FROM_SERVER,
    TF_HANDSHAKE,
)
from analyzer.compiled import Bytes, Ints, Table, kernel, memory
from analyzer.transport.pick import begins_like_smb, endpoint_hash, from_low, is_listed
from analyzer.wire.loads import byte, le32, signed32

# Connections: a row each. What every segment needs stands in the first cache lines (8 columns each) of its part. #

F_NEXT = 0  # next row of the same bucket, or of the free list
F_STATE = 1  # bits FS_
F_CLIENT_HI = 2
F_CLIENT_LO = 3
F_SERVER_HI = 4
F_SERVER_LO = 5
F_CLIENT_PORT = 6
F_SERVER_PORT = 7
F_LAST_FILE = 8
F_LAST_TIME = 9
F_LAST_PLACE = 10
F_PACKETS = 11
F_CONNECTION = 12  # number in order of first segment, from 0
F_TREES = 13  # first row in the table of trees, -1: none
F_BUCKET = 14
F_FIRST_FILE = 15
F_FIRST_FRAME = 16
F_FIRST_TIME = 17
F_FIRST_PLACE = 18  # file offset of its first packet's record
F_DIRECTIONS = 24  # here begin the columns of the client's direction, then the server's

# ... and of each direction, from F_DIRECTIONS or F_DIRECTIONS + D_WIDTH on. #

D_NEXT = 0  # sequence number expected next
D_PHASE = 1  # where in a message the stream is, PHASE_
D_LEFT = 2  # bytes of the current message still to come
D_QUEUE = 3  # first parked segment, -1: none
D_POSITION = 4  # bytes from the first of the stream to D_NEXT, not wrapping
D_BYTES = 5  # payload bytes taken in order
D_STRAYS = 6  # segments in a row far outside the window
D_SET = 7  # 1 once D_NEXT is known
D_FILE = 8  # the latest packet of what has been read of the stream
D_FRAME = 9
D_TIME = 10
D_HAVE = 11  # bytes of the current message that are stored
D_NEED = 12  # bytes of it to be stored before the next decision
D_HEAD = 13  # first block that stores it, -1: none
D_TAIL = 14  # last
D_SIZE = 15  # its size, with the 4 bytes in front
D_START = 16  # sequence number of the first byte of the stream
D_MISSING = 17  # payload bytes that never came
D_UNPARSED = 18  # payload bytes passed over while looking for the next message
D_QUEUED = 19  # parked segments
D_PARKED = 20  # their payload bytes
D_SINCE = 21  # when the first of them was parked
D_RAW = 22  # 1: bytes without an SMB header are to come in a message of their own, by READ_RAW or WRITE_RAW
D_WIDTH = 24
F_WIDTH = F_DIRECTIONS + 2 * D_WIDTH

FS_SYN = 1
FS_SYN_ACK = 2
FS_CLIENT_FIN = 4
FS_SERVER_FIN = 8
FS_RESET = 16
FS_MIDSTREAM = 32  # its beginning is not in the captures
FS_REPLACED = 64  # a new connection has taken over its endpoints
FS_CLIENT_DATA = 128
FS_SERVER_DATA = 256
FS_IN_USE = 512
FS_CLOSED_BY_CLIENT = 1024  # whose FIN or RST came first
FS_CLOSED_BY_SERVER = 2048

PHASE_START = 0  # between messages, or in the 4 bytes in front of one
PHASE_HEAD = 1  # in its first 64 bytes, which tell what it is
PHASE_BODY = 2  # in the part worth keeping
PHASE_SKIP = 3  # in the rest
PHASE_LOST = 4  # looking for a message

# Parked segments (those that came too early). #

Q_NEXT = 0
Q_SEQ = 1
Q_SIZE = 2
Q_HAVE = 3
Q_BLOCK = 4  # its bytes, or NOT_STORED
Q_FILE = 5
Q_FRAME = 6
Q_TIME = 7
Q_ACK = 8
Q_WIDTH = 9

# Trees whose kind is known. #

TREE_NEXT = 0
TREE_SESSION = 1
TREE_ID = 2
TREE_KIND = 3
TREE_WIDTH = 4

# Global state. #

G_FREE_FLOW = 0
G_FREE_BLOCK = 1
G_FREE_PARKED = 2
G_FREE_TREE = 3
G_CONNECTIONS = 4  # connections so far
G_ARENA = 5  # bytes used in the arena
G_MESSAGES = 6  # rows used in the table of messages
G_GIVEN_UP = 7  # parked bytes or messages dropped because all blocks were in use
G_TREES_FORGOTTEN = 8
G_FLOWS_USED = 9
G_NUMBER = 10  # messages so far, whether kept or not
G_ROWS_DROPPED = 11
G_SEALED_WHOLE = 12  # 1: encrypted messages are kept whole, not only their heads
G_DIFFERENT = 13  # segments that bring other bytes than an earlier copy, as far as that was at hand
G_WIDTH = 16

# Pieces of a stream, in order, as `streams.arrange` hands them on. #

PIECE_BLOCK = 0  # the block that holds it, -1: it lies in the buffer, or NOT_STORED
PIECE_AT = 1  # where it begins in the buffer, or in its block
PIECE_HAVE = 2
PIECE_GAP = 3  # bytes missing behind it
PIECE_FILE = 4
PIECE_FRAME = 5
PIECE_TIME = 6
PIECE_ACK = 7
PIECE_WIDTH = 8

NOT_STORED = -2
"""In place of a block: bytes in the midst of a message that is passed over, which nobody will look at."""
BLOCK = 2048
"""Bytes in a block, the unit in which parked segments and unfinished messages are stored."""
BLOCKS = 16_384
MAX_PARKED_SEGMENTS = 64
MAX_PARKED_BYTES = 262_144
MAX_PARKED_NS = 3_000_000_000
"""The reordering that is put right: a segment may come this many segments, bytes or nanoseconds of its direction late."""
PIECES = 8 * (MAX_PARKED_SEGMENTS + MAX_PARKED_BYTES // BLOCK)


@memory
class Memory(NamedTuple):
    """All state between segments, and the output of a window. `grow` and `empty` make it."""

    flows: Table
    buckets: Ints
    parked: Table
    trees: Table
    blocks: Bytes
    block_next: Ints
    pieces: Table
    state: Ints
    ports: Ints
    messages: Table
    arena: Bytes


def empty(ports: list[int], messages: Table, arena: Bytes, flows: int) -> Memory:
    """The state before the first segment, with room for `flows` connections at a time."""
    state = np.zeros(G_WIDTH, dtype=np.int64)
    state[G_FREE_FLOW] = 0
    block_next = np.arange(1, BLOCKS + 1, dtype=np.int64)
    block_next[-1] = -1
    return Memory(
        flows=_free_rows(flows, F_WIDTH),
        buckets=np.full(2 * flows, -1, dtype=np.int64),
        parked=_free_rows(BLOCKS, Q_WIDTH),
        trees=_free_rows(8 * BLOCKS, TREE_WIDTH),
        blocks=np.empty(BLOCKS * BLOCK, dtype=np.uint8),  # nothing is read of a block but what was written to it
        block_next=block_next,
        pieces=np.zeros((PIECES, PIECE_WIDTH), dtype=np.int64),
        state=state,
        ports=np.array(sorted(ports), dtype=np.int64),
        messages=messages,
        arena=arena,
    )


def grown(old: Memory) -> Memory:
    """The same state with room for twice as many connections."""
    size = len(old.flows)
    flows = _free_rows(2 * size, F_WIDTH)
    flows[:size] = old.flows
    flows[-1, F_NEXT] = old.state[G_FREE_FLOW]
    old.state[G_FREE_FLOW] = size
    buckets = np.full(2 * len(old.buckets), -1, dtype=np.int64)
    in_use = (flows[:, F_STATE] & (FS_IN_USE | FS_REPLACED)) == FS_IN_USE
    for row in np.flatnonzero(in_use).tolist():
        bucket = int(flows[row, F_BUCKET]) % len(buckets)
        flows[row, F_NEXT] = buckets[bucket]
        buckets[bucket] = row
    return old._replace(flows=flows, buckets=buckets)


def _free_rows(rows: int, width: int) -> Table:
    # On a cache line, as the order of the columns supposes.
    room = np.zeros(rows * width + 8, dtype=np.int64)
    skip = -room.ctypes.data // 8 % 8
    table = room[skip : skip + rows * width].reshape(rows, width)
    table[:, 0] = np.arange(1, rows + 1)
    table[-1, 0] = -1
    return table


@kernel
def known_flow(flows: Table, buckets: Ints, segments: Table, row: int) -> int:
    """The connection of a segment: its row * 2 + direction (1: from the server), -1 for none.

    Like all that every segment goes through it takes the tables that it needs and not all of `Memory`, whose two dozen
    pointers and sizes would be handed over each time.
    """
    f = buckets[endpoint_hash(segments, row, from_low(segments, row)) % buckets.shape[0]]
    while f >= 0:
        d = direction_of(flows, f, segments, row)
        if d >= 0:
            return f * 2 + d
        f = flows[f, F_NEXT]
    return -1


@kernel
def find_flow(m: Memory, buf: Bytes, segments: Table, row: int, known: int) -> int:
    """The connection of a segment, as `known_flow` gives it; a new one if `known` is none, or if the segment replaces it.

    -1: it belongs to none and begins none. -2: it begins one, but there is no room.
    """
    flags = segments[row, T_FLAGS]
    if known >= 0 and flags & TCP_SYN and is_new_connection(m.flows, known // 2, known % 2, segments, row):
        unlink(m, known // 2)
        m.flows[known // 2, F_STATE] |= FS_REPLACED
        known = -1
    if known >= 0:
        return known
    if not flags & TCP_SYN and segments[row, T_SIZE] == 0:
        return -1
    return new_flow(m, buf, segments, row, endpoint_hash(segments, row, from_low(segments, row)))


@kernel
def direction_of(flows: Table, f: int, segments: Table, row: int) -> int:
    """0 if the segment goes from the client of connection `f` to its server, 1 the other way, -1 if it is another's."""
    if (
        segments[row, T_SRC_PORT] == flows[f, F_CLIENT_PORT]
        and segments[row, T_DST_PORT] == flows[f, F_SERVER_PORT]
        and segments[row, T_SRC_LO] == flows[f, F_CLIENT_LO]
        and segments[row, T_DST_LO] == flows[f, F_SERVER_LO]
        and segments[row, T_SRC_HI] == flows[f, F_CLIENT_HI]
        and segments[row, T_DST_HI] == flows[f, F_SERVER_HI]
    ):
        return 0
    if (
        segments[row, T_SRC_PORT] == flows[f, F_SERVER_PORT]
        and segments[row, T_DST_PORT] == flows[f, F_CLIENT_PORT]
        and segments[row, T_SRC_LO] == flows[f, F_SERVER_LO]
        and segments[row, T_DST_LO] == flows[f, F_CLIENT_LO]
        and segments[row, T_SRC_HI] == flows[f, F_SERVER_HI]
        and segments[row, T_DST_HI] == flows[f, F_CLIENT_HI]
    ):
        return 1
    return -1


@kernel
def is_new_connection(flows: Table, f: int, d: int, segments: Table, row: int) -> int:
    """1 if a SYN on the endpoints of connection `f` begins another one."""
    base = F_DIRECTIONS + d * D_WIDTH
    if not flows[f, base + D_SET]:
        # Nothing was heard of this side. If the other one has talked, it was on a connection that is over.
        talked = FS_CLIENT_DATA | FS_SERVER_DATA | FS_CLIENT_FIN | FS_SERVER_FIN | FS_RESET
        return 1 if flows[f, F_STATE] & talked and not segments[row, T_FLAGS] & TCP_ACK else 0
    if flows[f, base + D_START] == (segments[row, T_SEQ] + 1) & 0xFFFFFFFF:
        return 0
    if segments[row, T_FLAGS] & TCP_ACK:
        # An answer that fits no SYN: only believed where the old connection's own answer was seen.
        return 1 if flows[f, F_STATE] & FS_SYN_ACK else 0
    return 1


@kernel
def new_flow(m: Memory, buf: Bytes, segments: Table, row: int, hashed: int) -> int:
    """Begin a connection with the segment of `row`; returns as `find_flow` does."""
    f = m.state[G_FREE_FLOW]
    if f < 0:
        return -2
    m.state[G_FREE_FLOW] = m.flows[f, F_NEXT]
    m.state[G_FLOWS_USED] += 1
    for column in range(F_WIDTH):
        m.flows[f, column] = 0
    bucket = hashed % m.buckets.shape[0]
    m.flows[f, F_NEXT] = m.buckets[bucket]
    m.buckets[bucket] = f
    m.flows[f, F_BUCKET] = hashed
    m.flows[f, F_CONNECTION] = m.state[G_CONNECTIONS]
    m.state[G_CONNECTIONS] += 1
    m.flows[f, F_STATE] = FS_IN_USE
    m.flows[f, F_TREES] = -1
    m.flows[f, F_FIRST_FILE] = segments[row, T_FILE]
    m.flows[f, F_FIRST_FRAME] = segments[row, T_FRAME]
    m.flows[f, F_FIRST_TIME] = segments[row, T_TIME]
    m.flows[f, F_FIRST_PLACE] = segments[row, T_PLACE]
    for d in range(2):
        base = F_DIRECTIONS + d * D_WIDTH
        m.flows[f, base + D_HEAD] = -1
        m.flows[f, base + D_QUEUE] = -1
    d = 1 if comes_from_server(m, buf, segments, row) else 0
    client_hi, client_lo, client_port = T_SRC_HI, T_SRC_LO, T_SRC_PORT
    server_hi, server_lo, server_port = T_DST_HI, T_DST_LO, T_DST_PORT
    if d:
        client_hi, client_lo, client_port = T_DST_HI, T_DST_LO, T_DST_PORT
        server_hi, server_lo, server_port = T_SRC_HI, T_SRC_LO, T_SRC_PORT
    m.flows[f, F_CLIENT_HI] = segments[row, client_hi]
    m.flows[f, F_CLIENT_LO] = segments[row, client_lo]
    m.flows[f, F_CLIENT_PORT] = segments[row, client_port]
    m.flows[f, F_SERVER_HI] = segments[row, server_hi]
    m.flows[f, F_SERVER_LO] = segments[row, server_lo]
    m.flows[f, F_SERVER_PORT] = segments[row, server_port]
    return f * 2 + d


@kernel
def comes_from_server(m: Memory, buf: Bytes, segments: Table, row: int) -> int:
    """1 if a connection's first segment comes from its server: by the handshake, the ports, or the message's own word."""
    flags = segments[row, T_FLAGS]
    if flags & TF_HANDSHAKE:
        return 1 if flags & TF_FROM_SERVER else 0
    if flags & TCP_SYN:
        return 1 if flags & TCP_ACK else 0
    source = is_listed(m.ports, segments[row, T_SRC_PORT])
    target = is_listed(m.ports, segments[row, T_DST_PORT])
    if source != target:
        return source
    at = segments[row, T_DATA]
    if segments[row, T_HAVE] >= 24 and begins_like_smb(buf, at, segments[row, T_HAVE]):
        if byte(buf, at + 4) == 0xFE:
            return le32(buf, at + 20) & 1
        if byte(buf, at + 4) == 0xFF:
            return byte(buf, at + 13) >> 7
    return 1 if segments[row, T_SRC_PORT] < segments[row, T_DST_PORT] else 0


@kernel
def note_segment(flows: Table, segments: Table, row: int, f: int, d: int) -> None:
    """Take what a segment's header tells about its connection."""
    flags = segments[row, T_FLAGS]
    flows[f, F_LAST_FILE] = segments[row, T_FILE]
    flows[f, F_LAST_TIME] = max(flows[f, F_LAST_TIME], segments[row, T_TIME])
    flows[f, F_LAST_PLACE] = segments[row, T_PLACE]
    flows[f, F_PACKETS] += 1
    base = F_DIRECTIONS + d * D_WIDTH
    if flags & TCP_SYN:
        start = (segments[row, T_SEQ] + 1) & 0xFFFFFFFF
        begin_stream(flows, f, d, start, PHASE_START)
        if flags & TCP_ACK:
            flows[f, F_STATE] |= FS_SYN_ACK
            begin_stream(flows, f, 1 - d, segments[row, T_ACK], PHASE_START)
        else:
            flows[f, F_STATE] |= FS_SYN
    if flags & TF_HANDSHAKE:
        flows[f, F_STATE] |= FS_SYN
    if flags & TCP_FIN:
        flows[f, F_STATE] |= FS_SERVER_FIN if d else FS_CLIENT_FIN
    if flags & TCP_RST:
        flows[f, F_STATE] |= FS_RESET
    if flags & (TCP_FIN | TCP_RST) and not flows[f, F_STATE] & (FS_CLOSED_BY_CLIENT | FS_CLOSED_BY_SERVER):
        flows[f, F_STATE] |= FS_CLOSED_BY_SERVER if d else FS_CLOSED_BY_CLIENT
    if segments[row, T_SIZE] > 0 and not flags & TCP_RST:
        flows[f, F_STATE] |= FS_SERVER_DATA if d else FS_CLIENT_DATA
        if not flows[f, base + D_SET]:
            # After a SYN this is most likely the beginning of the stream.
            phase = PHASE_START
            if not flows[f, F_STATE] & FS_SYN:
                flows[f, F_STATE] |= FS_MIDSTREAM
                phase = PHASE_LOST
            begin_stream(flows, f, d, segments[row, T_SEQ], phase)


@kernel
def begin_stream(flows: Table, f: int, d: int, start: int, phase: int) -> None:
    """Set where a direction begins, unless it has begun."""
    base = F_DIRECTIONS + d * D_WIDTH
    if not flows[f, base + D_SET]:
        flows[f, base + D_SET] = 1
        flows[f, base + D_START] = start
        flows[f, base + D_NEXT] = start
        flows[f, base + D_PHASE] = phase


@kernel
def acknowledged(flows: Table, f: int, ack: int) -> int:
    """The place in the client's stream up to which the server had heard it when it sent a segment with this `ack`."""
    if not flows[f, F_DIRECTIONS + D_SET]:
        return -1
    return flows[f, F_DIRECTIONS + D_POSITION] + signed32(ack - flows[f, F_DIRECTIONS + D_NEXT])


@kernel
def unlink(m: Memory, f: int) -> None:
    """Take a connection out of its bucket: no segment finds it any more."""
    bucket = m.flows[f, F_BUCKET] % m.buckets.shape[0]
    at = m.buckets[bucket]
    if at == f:
        m.buckets[bucket] = m.flows[f, F_NEXT]
        return
    while at >= 0:
        following = m.flows[at, F_NEXT]
        if following == f:
            m.flows[at, F_NEXT] = m.flows[f, F_NEXT]
            return
        at = following


@kernel
def take_block(m: Memory) -> int:
    """A free block, -1 if all are in use."""
    block = m.state[G_FREE_BLOCK]
    if block >= 0:
        m.state[G_FREE_BLOCK] = m.block_next[block]
        m.block_next[block] = -1
    return block


@kernel
def free_blocks(m: Memory, block: int) -> None:
    """Give a chain of blocks back."""
    while block >= 0:
        following = m.block_next[block]
        m.block_next[block] = m.state[G_FREE_BLOCK]
        m.state[G_FREE_BLOCK] = block
        block = following
