"""Each direction of a connection as bytes in order.

`arrange` takes one segment and leaves in `Memory.pieces` what can now be read of its stream: nothing (a repetition, or a
segment that came too early and is parked), the segment itself, or more if it fills a hole. A hole that is not filled
within the limits of `flows` is given up: the piece before it says how many bytes are missing.

The first copy of a byte wins, as it does for most receivers, whatever a later copy says. That they differ is counted where
the first one is still at hand: parked, or among the last `LOOK_BACK` segments of this block. Sequence arithmetic is modulo
2^32 with signed distances [RFC 9293 3.4]; positions in a stream are 64-bit and do not wrap.
"""

from __future__ import annotations

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
    T_SEQ,
    T_SIZE,
    T_SRC_HI,
    T_SRC_LO,
    T_SRC_PORT,
    T_TIME,
    TCP_RST,
    TCP_SYN,
)
from analyzer.compiled import Bytes, Table, kernel
from analyzer.transport.flows import (
    BLOCK,
    D_LEFT,
    D_MISSING,
    D_NEXT,
    D_PARKED,
    D_PHASE,
    D_QUEUE,
    D_QUEUED,
    D_SET,
    D_SINCE,
    D_STRAYS,
    D_WIDTH,
    F_DIRECTIONS,
    G_DIFFERENT,
    G_FREE_PARKED,
    G_GIVEN_UP,
    MAX_PARKED_BYTES,
    MAX_PARKED_NS,
    MAX_PARKED_SEGMENTS,
    NOT_STORED,
    PHASE_SKIP,
    PIECE_ACK,
    PIECE_AT,
    PIECE_BLOCK,
    PIECE_FILE,
    PIECE_FRAME,
    PIECE_GAP,
    PIECE_HAVE,
    PIECE_TIME,
    Q_ACK,
    Q_BLOCK,
    Q_FILE,
    Q_FRAME,
    Q_HAVE,
    Q_NEXT,
    Q_SEQ,
    Q_SIZE,
    Q_TIME,
    Memory,
    free_blocks,
    take_block,
)
from analyzer.wire.loads import copy_bytes, signed32
from analyzer.wire.texts import same_bytes

STRAY_DISTANCE = 1 << 26
"""A segment farther than this from what is expected is a stray; `MAX_STRAYS` in a row are believed: much was lost."""
MAX_STRAYS = 4
LOOK_BACK = 256
"""So many SMB segments before a repetition are searched for the first copy. TCP mostly repeats within a few round trips."""


@kernel
def arrange(m: Memory, buf: Bytes, segments: Table, row: int, f: int, d: int) -> int:
    """Put what a segment makes readable into `m.pieces`; returns how many pieces."""
    size = segments[row, T_SIZE]
    base = F_DIRECTIONS + d * D_WIDTH
    if size == 0 or segments[row, T_FLAGS] & TCP_RST or not m.flows[f, base + D_SET]:
        return 0
    seq = segments[row, T_SEQ]
    if segments[row, T_FLAGS] & TCP_SYN:
        seq = (seq + 1) & 0xFFFFFFFF
    distance = signed32(seq - m.flows[f, base + D_NEXT])
    count = 0
    if distance > STRAY_DISTANCE or distance < -STRAY_DISTANCE:
        m.flows[f, base + D_STRAYS] += 1
        if m.flows[f, base + D_STRAYS] < MAX_STRAYS:
            return 0
        # The capture has lost more than can be counted: go on here.
        while m.flows[f, base + D_QUEUE] >= 0:
            count = release_first(m, f, base, count)
        gap = max(1, signed32(seq - m.flows[f, base + D_NEXT]))
        count = add_gap(m, count, gap)
        m.flows[f, base + D_MISSING] += gap
        m.flows[f, base + D_NEXT] = seq
        distance = 0
    m.flows[f, base + D_STRAYS] = 0
    if distance < 0 or m.flows[f, base + D_QUEUE] >= 0:
        m.state[G_DIFFERENT] += is_different(m, buf, segments, row, f, base, seq, distance)
    if distance > 0:
        park(m, buf, segments, row, f, base, seq)
        return give_up_holes(m, f, base, segments[row, T_TIME], count)
    taken = -distance
    while taken < size:
        # What waits from here on came before this copy of it.
        stop = min(size, taken + room_before_parked(m, f, base))
        if stop > taken:
            have = max(0, min(stop, segments[row, T_HAVE]) - taken)
            count = add_piece(
                m, count, -1, segments[row, T_DATA] + taken, have, stop - taken - have,
                segments[row, T_FILE], segments[row, T_FRAME], segments[row, T_TIME], segments[row, T_ACK],
            )  # fmt: skip
            m.flows[f, base + D_MISSING] += stop - taken - have
            m.flows[f, base + D_NEXT] = (seq + stop) & 0xFFFFFFFF
        count = release_ready(m, f, base, count)
        taken = signed32(m.flows[f, base + D_NEXT] - seq)
    return count


@kernel
def is_different(m: Memory, buf: Bytes, segments: Table, row: int, f: int, base: int, seq: int, distance: int) -> int:
    """1 if a segment has other bytes than a parked one, or than one before it in this block, for the same place."""
    have = segments[row, T_HAVE]
    if distance == -1 and segments[row, T_SIZE] == 1:
        return 0  # a keep-alive: any byte in front of what is expected [RFC 9293 3.8.4]
    q = m.flows[f, base + D_QUEUE]
    while q >= 0 and signed32(m.parked[q, Q_SEQ] - seq) < have:
        if m.parked[q, Q_BLOCK] >= 0 and differs_from_parked(m, buf, segments, row, q, seq):
            return 1
        q = m.parked[q, Q_NEXT]
    if distance >= 0:
        return 0
    for before in range(row - 1, max(-1, row - 1 - LOOK_BACK), -1):
        if (
            segments[before, T_SRC_PORT] != segments[row, T_SRC_PORT]
            or segments[before, T_DST_PORT] != segments[row, T_DST_PORT]
            or segments[before, T_SRC_LO] != segments[row, T_SRC_LO]
            or segments[before, T_DST_LO] != segments[row, T_DST_LO]
            or segments[before, T_SRC_HI] != segments[row, T_SRC_HI]
            or segments[before, T_DST_HI] != segments[row, T_DST_HI]
        ):
            continue
        if segments[before, T_FLAGS] & TCP_SYN:
            return 0  # before it was another connection
        begins = signed32(segments[before, T_SEQ] - seq)
        first = max(0, begins)
        size = min(have, begins + segments[before, T_HAVE]) - first
        place = segments[before, T_DATA] + first - begins
        if not segments[before, T_FLAGS] & TCP_RST and not same_bytes(
            buf, segments[row, T_DATA] + first, buf, place, size
        ):
            return 1
    return 0


@kernel
def differs_from_parked(m: Memory, buf: Bytes, segments: Table, row: int, q: int, seq: int) -> int:
    """1 if a segment has other bytes than a parked one whose bytes are stored."""
    at = signed32(m.parked[q, Q_SEQ] - seq)  # where its next block begins in the segment
    left = m.parked[q, Q_HAVE]
    block = m.parked[q, Q_BLOCK]
    while block >= 0:
        step = min(BLOCK, left)
        first = max(0, at)
        size = min(segments[row, T_HAVE], at + step) - first
        if not same_bytes(buf, segments[row, T_DATA] + first, m.blocks, block * BLOCK + first - at, size):
            return 1
        at += step
        left -= step
        block = m.block_next[block]
    return 0


@kernel
def room_before_parked(m: Memory, f: int, base: int) -> int:
    """Bytes from what is expected next to the first parked segment."""
    q = m.flows[f, base + D_QUEUE]
    return signed32(m.parked[q, Q_SEQ] - m.flows[f, base + D_NEXT]) if q >= 0 else STRAY_DISTANCE


@kernel
def give_up_holes(m: Memory, f: int, base: int, time: int, count: int) -> int:
    """Read past the first hole of a direction if it has been open for too long; returns the new number of pieces."""
    while m.flows[f, base + D_QUEUE] >= 0 and (
        m.flows[f, base + D_QUEUED] >= MAX_PARKED_SEGMENTS
        or m.flows[f, base + D_PARKED] >= MAX_PARKED_BYTES
        or time - m.flows[f, base + D_SINCE] > MAX_PARKED_NS
    ):
        count = release_first(m, f, base, count)
        count = release_ready(m, f, base, count)
    return count


@kernel
def release_ready(m: Memory, f: int, base: int, count: int) -> int:
    """Turn the parked segments that are now in order into pieces."""
    while m.flows[f, base + D_QUEUE] >= 0 and room_before_parked(m, f, base) <= 0:
        count = release_first(m, f, base, count)
    return count


@kernel
def release_first(m: Memory, f: int, base: int, count: int) -> int:
    """Turn the first parked segment into pieces, one a block, behind a gap if a hole lies before it."""
    q = m.flows[f, base + D_QUEUE]
    size = m.parked[q, Q_SIZE]
    have = m.parked[q, Q_HAVE]
    hole = room_before_parked(m, f, base)
    if hole > 0:
        count = add_gap(m, count, hole)
    m.flows[f, base + D_QUEUE] = m.parked[q, Q_NEXT]
    m.flows[f, base + D_QUEUED] -= 1
    m.flows[f, base + D_PARKED] -= size
    m.flows[f, base + D_NEXT] = (m.parked[q, Q_SEQ] + size) & 0xFFFFFFFF
    m.flows[f, base + D_MISSING] += hole + size - have
    block = m.parked[q, Q_BLOCK]
    at = 0
    if block == NOT_STORED:
        count = add_piece(
            m, count, NOT_STORED, 0, have, 0,
            m.parked[q, Q_FILE], m.parked[q, Q_FRAME], m.parked[q, Q_TIME], m.parked[q, Q_ACK],
        )  # fmt: skip
    while block >= 0:
        following = m.block_next[block]
        m.block_next[block] = -1
        step = min(BLOCK, have - at)
        count = add_piece(
            m, count, block, 0, step, 0,
            m.parked[q, Q_FILE], m.parked[q, Q_FRAME], m.parked[q, Q_TIME], m.parked[q, Q_ACK],
        )  # fmt: skip
        at += step
        block = following
    if size > have:
        count = add_gap(m, count, size - have)
    m.parked[q, Q_NEXT] = m.state[G_FREE_PARKED]
    m.state[G_FREE_PARKED] = q
    note_since(m, f, base)
    return count


@kernel
def note_since(m: Memory, f: int, base: int) -> None:
    """How long the first hole has been known: since the first of the segments behind it came."""
    q = m.flows[f, base + D_QUEUE]
    since = m.parked[q, Q_TIME] if q >= 0 else 0
    while q >= 0:
        since = min(since, m.parked[q, Q_TIME])
        q = m.parked[q, Q_NEXT]
    m.flows[f, base + D_SINCE] = since


@kernel
def park(m: Memory, buf: Bytes, segments: Table, row: int, f: int, base: int, seq: int) -> None:
    """Store a segment that came too early, in its place among the others: those of its bytes that are not there yet."""
    size = segments[row, T_SIZE]
    since = segments[row, T_TIME]
    parked = m.flows[f, base + D_QUEUED]
    if parked > 0:
        since = min(since, m.flows[f, base + D_SINCE])
    taken = 0
    before = -1
    after = m.flows[f, base + D_QUEUE]
    while after >= 0 and taken < size:
        begins = signed32(m.parked[after, Q_SEQ] - seq)
        ends = begins + m.parked[after, Q_SIZE]
        if begins > taken:
            before = park_part(m, buf, segments, row, f, base, seq, taken, min(begins, size), before, after)
        taken = max(taken, ends)
        before = after
        after = m.parked[after, Q_NEXT]
    if taken < size:
        park_part(m, buf, segments, row, f, base, seq, taken, size, before, after)
    if m.flows[f, base + D_QUEUED] > parked:
        m.flows[f, base + D_SINCE] = since


@kernel
def park_part(
    m: Memory,
    buf: Bytes,
    segments: Table,
    row: int,
    f: int,
    base: int,
    seq: int,
    begin: int,
    end: int,
    before: int,
    after: int,
) -> int:
    """Store the bytes `begin` to `end` of a segment between two parked ones; returns the row, or `before` if none is left."""
    q = m.state[G_FREE_PARKED]
    have = max(0, min(end, segments[row, T_HAVE]) - begin)
    if q < 0:
        m.state[G_GIVEN_UP] += have
        return before
    # File data is mostly passed over: then only its place matters.
    ahead = signed32(seq + end - m.flows[f, base + D_NEXT])
    skipped = m.flows[f, base + D_PHASE] == PHASE_SKIP and ahead < m.flows[f, base + D_LEFT]
    block = NOT_STORED if skipped and have > 0 else store(m, buf, segments[row, T_DATA] + begin, have)
    if block == -1 and have > 0:
        m.state[G_GIVEN_UP] += have
        have = 0
    m.state[G_FREE_PARKED] = m.parked[q, Q_NEXT]
    m.parked[q, Q_NEXT] = after
    m.parked[q, Q_SEQ] = (seq + begin) & 0xFFFFFFFF
    m.parked[q, Q_SIZE] = end - begin
    m.parked[q, Q_HAVE] = have
    m.parked[q, Q_BLOCK] = block
    m.parked[q, Q_FILE] = segments[row, T_FILE]
    m.parked[q, Q_FRAME] = segments[row, T_FRAME]
    m.parked[q, Q_TIME] = segments[row, T_TIME]
    m.parked[q, Q_ACK] = segments[row, T_ACK]
    if before < 0:
        m.flows[f, base + D_QUEUE] = q
    else:
        m.parked[before, Q_NEXT] = q
    m.flows[f, base + D_QUEUED] += 1
    m.flows[f, base + D_PARKED] += end - begin
    return q


@kernel
def store(m: Memory, buf: Bytes, at: int, size: int) -> int:
    """Copy bytes into a chain of blocks; -1 if there are not enough (or nothing to store)."""
    head = -1
    tail = -1
    while size > 0:
        block = take_block(m)
        if block < 0:
            free_blocks(m, head)
            return -1
        if tail < 0:
            head = block
        else:
            m.block_next[tail] = block
        tail = block
        step = min(BLOCK, size)
        copy_bytes(m.blocks, block * BLOCK, buf, at, step)
        at += step
        size -= step
    return head


@kernel
def add_piece(
    m: Memory, count: int, block: int, at: int, have: int, gap: int, file: int, frame: int, time: int, ack: int
) -> int:
    """Append a piece; returns the new number of pieces."""
    m.pieces[count, PIECE_BLOCK] = block
    m.pieces[count, PIECE_AT] = at
    m.pieces[count, PIECE_HAVE] = have
    m.pieces[count, PIECE_GAP] = gap
    m.pieces[count, PIECE_FILE] = file
    m.pieces[count, PIECE_FRAME] = frame
    m.pieces[count, PIECE_TIME] = time
    m.pieces[count, PIECE_ACK] = ack
    return count + 1


@kernel
def add_gap(m: Memory, count: int, size: int) -> int:
    """Append a gap of `size` bytes; returns the new number of pieces."""
    return add_piece(m, count, -1, 0, 0, size, 0, 0, 0, 0)
