"""Which TCP segments belong to SMB connections: by port, or by how the connection's first payload begins.

Traffic on listed ports passes. For every other connection one slot of a fixed table remembers what is known of it. When
the table is crowded, connections that are not SMB are forgotten, never those that are.
"""

from __future__ import annotations

from analyzer.capture.packets import (
    C_SMB,
    T_DATA,
    T_DST_HI,
    T_DST_LO,
    T_DST_PORT,
    T_FLAGS,
    T_HAVE,
    T_SRC_HI,
    T_SRC_LO,
    T_SRC_PORT,
    T_WIDTH,
    TCP_ACK,
    TCP_FIN,
    TCP_RST,
    TCP_SYN,
    TF_FROM_SERVER,
    TF_HANDSHAKE,
)
from analyzer.compiled import Bytes, Ints, Table, entry, kernel
from analyzer.wire.loads import byte, mix

SLOTS = 1 << 19
PROBES = 4

# A slot is 0 (free) or hash * 8 + what is known.
KNOWN_SYN_LOW = 1  # only a SYN was seen, from the lower of the two endpoints
KNOWN_SYN_HIGH = 2  # ... from the higher
KNOWN_OTHER = 3  # its first payload does not begin like SMB
KNOWN_SMB = 4


@entry
def pick(buf: Bytes, segments: Table, n: int, ports: Ints, seen: Ints, counts: Ints) -> int:
    """Move the rows that belong to SMB connections to the front of `segments`; returns how many.

    ports: sorted server ports that are SMB without looking. seen: the table of other connections, `SLOTS` zeros at first.
    """
    m = 0
    for row in range(n):
        known = 0
        if not (is_listed(ports, segments[row, T_SRC_PORT]) or is_listed(ports, segments[row, T_DST_PORT])):
            known = look(buf, segments, row, seen)
            if known == 0:
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
