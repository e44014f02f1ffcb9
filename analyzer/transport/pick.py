"""Which TCP segments belong to SMB connections: by port, or by how the connection's first payload begins. Each once.

Traffic on listed ports passes. For every other connection one slot of a fixed table remembers what is known of it. When
the table is crowded, connections that are not SMB are forgotten, never those that are.

A packet may be captured more than once: by a mirror of both directions, inside and outside of a tunnel, at two points
of its way, in files that overlap. Its copies have the same TCP header and IP identification, at nearly the same time;
what routers change (time to live, tags, MAC addresses, DSCP) is not compared. A TCP repetition is another packet: hosts
count their identifications up. Where there is none (IPv6, and systems that leave it 0) options and a sample of the
payload are compared too, and the time must be nearer. Should a repetition be taken for a copy after all, it is missing
in the counts of packets; bytes are not lost, since streams take each once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analyzer.capture.packets import (
    C_DUPLICATES,
    C_SMB,
    T_ACK,
    T_DATA,
    T_DST_HI,
    T_DST_LO,
    T_DST_PORT,
    T_FLAGS,
    T_HAVE,
    T_MARK,
    T_SEQ,
    T_SIZE,
    T_SRC_HI,
    T_SRC_LO,
    T_SRC_PORT,
    T_TIME,
    T_WIDTH,
    TCP_ACK,
    TCP_FIN,
    TCP_RST,
    TCP_SYN,
    TF_FROM_SERVER,
    TF_HANDSHAKE,
)
from analyzer.compiled import Bytes, Ints, Table, entry, kernel
from analyzer.wire.loads import be32, be64, byte, mix

SLOTS = 1 << 19
PROBES = 4

RECENT = 1 << 14
"""Packets that are remembered, to know copies of them; two places for each hash, of which the older one is taken."""
TICK_BITS = 20  # a tick is 2^20 ns; 2^20 of them are told apart, which is 18 minutes
TICKS = (1 << TICK_BITS) - 1
COPY_TICKS = 1000
"""A copy comes within a second: capture points have their own clocks. Identifications are not used again so soon."""
COPY_TICKS_UNIDENTIFIED = 100
SAMPLES = 5
"""Places of 8 bytes that are compared of the payload of packets without identification, and its last 8."""

# A slot is 0 (free) or hash * 8 + what is known.
KNOWN_SYN_LOW = 1  # only a SYN was seen, from the lower of the two endpoints
KNOWN_SYN_HIGH = 2  # ... from the higher
KNOWN_OTHER = 3  # its first payload does not begin like SMB
KNOWN_SMB = 4


def tables() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The tables of connections and of packets before the first segment."""
    return np.zeros(SLOTS, dtype=np.int64), np.zeros(RECENT, dtype=np.int64)


@entry
def pick(buf: Bytes, segments: Table, n: int, ports: Ints, seen: Ints, recent: Ints, counts: Ints) -> int:
    """Move the rows that belong to SMB connections to the front of `segments`; returns how many.

    ports: sorted server ports that are SMB without looking. seen: the table of other connections, recent: that of
    packets; see `tables`.
    """
    m = 0
    for row in range(n):
        known = 0
        if not (is_listed(ports, segments[row, T_SRC_PORT]) or is_listed(ports, segments[row, T_DST_PORT])):
            known = look(buf, segments, row, seen)
            if known == 0:
                continue
        if is_copy(buf, segments, row, recent):
            counts[C_DUPLICATES] += 1
            continue
        if m != row:
            for column in range(T_WIDTH):
                segments[m, column] = segments[row, column]
        segments[m, T_FLAGS] = segments[m, T_FLAGS] | (known & (TF_HANDSHAKE | TF_FROM_SERVER))
        m += 1
    counts[C_SMB] += m
    return m


@kernel
def is_listed(ports: Ints, port: int) -> int:
    """1 if the port is one of a few."""
    for i in range(ports.shape[0]):
        if ports[i] == port:
            return 1
    return 0


@kernel
def is_copy(buf: Bytes, segments: Table, row: int, recent: Ints) -> int:
    """1 if the packet was captured before. A place in `recent` is a hash of 43 bits and the time in 20."""
    mark = segments[row, T_MARK]
    within = COPY_TICKS
    # A sum of products with odd numbers: quick, and differences of any field reach the upper bits.
    hashed = (
        segments[row, T_SRC_LO] * 0x1B873593CC9E2D51
        + segments[row, T_DST_LO] * 0x2545F4914F6CDD1D
        + segments[row, T_SRC_HI] * 0x369DEA0F31A53F85
        + segments[row, T_DST_HI] * 0x27BB2EE687B0B0FD
        + (segments[row, T_SRC_PORT] * 65536 + segments[row, T_DST_PORT]) * 0x1FD5C5A9F0E1C7B3
        + segments[row, T_SEQ] * 0x2127599BF4325C37
        + segments[row, T_ACK] * 0x0B4B82E39E3779B1
        + segments[row, T_SIZE] * 0x3C6EF372FE94F82B
        + segments[row, T_FLAGS] * 0x1597F4A7C15E2D6F
        + mark * 0x30BE8F29B1E7A5C3
    )
    if mark >> 20 == 0:
        hashed += sample(buf, segments[row, T_DATA], segments[row, T_HAVE], (mark >> 16) * 4 - 20)
        within = COPY_TICKS_UNIDENTIFIED
    hashed &= 0x7FFFFFFFFFFFFFFF
    hashed ^= hashed >> 29
    now = (segments[row, T_TIME] >> TICK_BITS) & TICKS
    name = hashed >> TICK_BITS
    at = hashed & (RECENT - 2)
    first = recent[at]
    second = recent[at + 1]
    age = (now - first) & TICKS
    if first >> TICK_BITS == name and ((age + within) & TICKS) <= 2 * within:
        return 1
    other = (now - second) & TICKS
    if second >> TICK_BITS == name and ((other + within) & TICKS) <= 2 * within:
        return 1
    recent[at if age >= other else at + 1] = (name << TICK_BITS) | now
    return 0


@kernel
def sample(buf: Bytes, data: int, have: int, options: int) -> int:
    """A hash of a segment's TCP options and of places in its payload."""
    hashed = 0
    for at in range(data - max(0, options), data, 4):
        hashed = (hashed * 0x2545F4914F6CDD1D + be32(buf, at)) & 0x7FFFFFFFFFFFFFFF
    if have < 8:
        for at in range(data, data + have):
            hashed = (hashed * 0x2545F4914F6CDD1D + byte(buf, at)) & 0x7FFFFFFFFFFFFFFF
        return hashed
    for at in range(data, data + have - 7, max(8, have // SAMPLES)):
        hashed = (hashed * 0x2545F4914F6CDD1D + be64(buf, at)) & 0x7FFFFFFFFFFFFFFF
    return (hashed * 0x2545F4914F6CDD1D + be64(buf, data + have - 8)) & 0x7FFFFFFFFFFFFFFF


@kernel
def look(buf: Bytes, segments: Table, row: int, seen: Ints) -> int:
    """0 if the segment is of no interest, else 1, with TF_ flags added at the payload that shows its kind."""
    flags = segments[row, T_FLAGS]
    have = segments[row, T_HAVE]
    if have == 0 and not flags & (TCP_SYN | TCP_FIN | TCP_RST):
        return 0  # an acknowledgment tells nothing; the end of a connection does, if it is a known one
    low = from_low(segments, row)
    key = endpoint_hash(segments, row, low) * 8
    slot = -1
    free = -1
    for probe in range(PROBES):
        at = (key // 8 + probe) % seen.shape[0]
        value = seen[at]
        if value - value % 8 == key and value != 0:
            slot = at
            break
        if value % 8 != KNOWN_SMB and (free < 0 or (seen[free] != 0 and value == 0)):
            free = at
    if flags & TCP_SYN:
        if slot >= 0 and seen[slot] % 8 == KNOWN_SMB:
            return 1
        if not flags & TCP_ACK:
            at = slot if slot >= 0 else free
            if at >= 0:
                seen[at] = key + (KNOWN_SYN_LOW if low else KNOWN_SYN_HIGH)
        return 0
    if slot >= 0 and seen[slot] % 8 >= KNOWN_OTHER:
        return 1 if seen[slot] % 8 == KNOWN_SMB else 0
    if have == 0:
        return 0
    at = slot if slot >= 0 else free
    if not begins_like_smb(buf, segments[row, T_DATA], have):
        if at >= 0:
            seen[at] = key + KNOWN_OTHER
        return 0
    found = 1
    if slot >= 0:
        from_client = low == (1 if seen[slot] % 8 == KNOWN_SYN_LOW else 0)
        found |= TF_HANDSHAKE
        if not from_client:
            found |= TF_FROM_SERVER
    if at >= 0:
        seen[at] = key + KNOWN_SMB
    return found


@kernel
def begins_like_smb(b: Bytes, at: int, size: int) -> int:
    """1 for a session message (00, length) that holds SMB 1, 2, an encrypted or a compressed one."""
    if size < 8 or byte(b, at) != 0:
        return 0
    return 1 if byte(b, at + 4) >= 0xFC and smb_follows(b, at + 5) else 0


@kernel
def smb_follows(b: Bytes, at: int) -> int:
    """1 if the letters `SMB` stand at `at`."""
    return 1 if byte(b, at) == 0x53 and byte(b, at + 1) == 0x4D and byte(b, at + 2) == 0x42 else 0


@kernel
def from_low(segments: Table, row: int) -> int:
    """1 if the source is the lower of the two endpoints, in an order that only has to be the same for both directions."""
    if segments[row, T_SRC_HI] != segments[row, T_DST_HI]:
        return 1 if segments[row, T_SRC_HI] < segments[row, T_DST_HI] else 0
    if segments[row, T_SRC_LO] != segments[row, T_DST_LO]:
        return 1 if segments[row, T_SRC_LO] < segments[row, T_DST_LO] else 0
    return 1 if segments[row, T_SRC_PORT] < segments[row, T_DST_PORT] else 0


@kernel
def endpoint_hash(segments: Table, row: int, low: int) -> int:
    """A 48-bit hash of both endpoints, the same for both directions."""
    source = mix(mix(segments[row, T_SRC_PORT], segments[row, T_SRC_LO]), segments[row, T_SRC_HI])
    target = mix(mix(segments[row, T_DST_PORT], segments[row, T_DST_LO]), segments[row, T_DST_HI])
    if not low:
        source, target = target, source
    first = mix(source, target)
    return first * 65536 + (mix(first, target) & 0xFFFF)
