"""Datagrams that may name a host, and hardware addresses: picked on the way, into side buffers with stated bounds.

`peel` sets UDP datagrams of the ports below aside; `keep_datagrams` looks at their first fields, drops what cannot name
anybody (questions, refusals), and copies the rest. The same words again, with another transaction number or time to
live, only move the time of the last one. `note_hardware` takes the source's hardware address from some of the Ethernet
frames of SMB connections, where the packet has passed no router yet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analyzer.capture.packets import (
    C_DATAGRAMS,
    P_DATA,
    P_FRAME,
    P_LINK,
    P_TIME,
    T_ACK,
    T_DATA,
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
    T_WIDTH,
    TCP_SYN,
)
from analyzer.compiled import Bytes, Ints, Table, entry, kernel, memory
from analyzer.wire.loads import be16, be32, be64, byte, copy_bytes, mix

PORT_DNS = 53
PORT_DHCP_SERVER = 67
PORT_DHCP_CLIENT = 68
PORT_NETBIOS_NAME = 137
PORT_NETBIOS_DATAGRAM = 138
PORT_MDNS = 5353
PORT_LLMNR = 5355

# What a datagram is; `records.DatagramKind` has the same numbers. #

NETBIOS_NAME = 1
NETBIOS_DATAGRAM = 2
DHCP = 3
DNS = 4
MDNS = 5
LLMNR = 6
DNS_PUBLIC = 7  # an answer without an address of a private network: most of those are the web's
KINDS = 8

# A kept datagram's row. #

N_KIND = 0
N_FILE = 1
N_FRAME = 2
N_FIRST = 3  # when it was first said, and last
N_LAST = 4
N_SRC_HI = 5
N_SRC_LO = 6
N_MAC = 7  # of the sender; -1: not known, or of a router
N_AT = 8  # where its payload begins in the arena
N_SIZE = 9
N_HASH = 10
N_WIDTH = 11

# A hardware address of an IP address. #

H_HI = 0
H_LO = 1
H_MAC = 2  # plus one; 0: the row is free
H_FIRST = 3
H_LAST = 4
H_WIDTH = 5

# The state of the side buffers. #

S_ROWS = 0
S_BYTES = 1
S_DROPPED = 2  # datagrams that were not kept because of a bound
S_CUT = 3  # ... because not all of them was captured
S_HARDWARE_FULL = 4  # sightings of hardware addresses that found no room
S_HASH = 5  # what `read_dns` found out
S_IS_PRIVATE = 6
S_KIND_ROWS = 8  # kept of each kind: KINDS numbers, then as many of bytes
S_KIND_BYTES = S_KIND_ROWS + KINDS
S_WIDTH = S_KIND_BYTES + KINDS

MAX_OF_KIND = 4096
"""Datagrams of a kind that are kept."""
MAX_BYTES_OF_KIND = 1 << 20
MAX_OF_SENDER = 64
"""Datagrams of a kind that are kept of a host: by its address, or (DHCP) by its hardware address. Answers of name servers
are bounded by their kind alone, since one server answers for all.
"""
MAX_SIZE = 1472
"""Bytes of a datagram that fit in an Ethernet frame; names need no more."""
SLOTS = 1 << 16
PROBES = 8
HARDWARE = 4096
"""Pairs of IP and hardware address that are kept."""
HARDWARE_PROBES = 32
STRIDE = 64
"""Of the segments that open no connection, one in so many is looked at for its hardware address."""

FOUND_DATAGRAM = 2
"""What `read_datagram` returns for one of the ports above."""
MAX_TAGS = 8
LINK_ETHERNET = 1
ETHER_IPV4 = 0x0800
ETHER_IPV6 = 0x86DD
DHCP_COOKIE = 0x63825363
DNS_A = 1
DNS_AAAA = 28


@memory
class Overheard(NamedTuple):
    """The side buffers of a scan."""

    rows: Table
    arena: Bytes
    seen: Ints  # hash table: number of the row plus one
    senders: Ints  # kept datagrams, by hash of kind and sender
    hardware: Table  # hash table
    state: Ints


def nothing_overheard() -> Overheard:
    """Empty buffers. Memory that is not written to costs nothing."""
    return Overheard(
        rows=np.zeros(((KINDS - 1) * MAX_OF_KIND, N_WIDTH), dtype=np.int64),
        arena=np.zeros((KINDS - 1) * MAX_BYTES_OF_KIND, dtype=np.uint8),
        seen=np.zeros(SLOTS, dtype=np.int64),
        senders=np.zeros(SLOTS, dtype=np.int64),
        hardware=np.zeros((HARDWARE, H_WIDTH), dtype=np.int64),
        state=np.zeros(S_WIDTH, dtype=np.int64),
    )


@kernel
def read_datagram(buf: Bytes, at: int, end: int, past: int, segments: Table, m: int) -> int:
    """Write ports and payload of a UDP datagram into row `m`; 0 if its ports are of no interest. [RFC 768]"""
    if at + 8 > end or at + 8 > past:
        return 0
    source = be16(buf, at)
    target = be16(buf, at + 2)
    # Answers come from a service's port; what NetBIOS and DHCP clients say goes to it.
    if not (
        PORT_DHCP_SERVER <= target <= PORT_DHCP_CLIENT
        or PORT_NETBIOS_NAME <= target <= PORT_NETBIOS_DATAGRAM
        or source in (PORT_DNS, PORT_NETBIOS_NAME, PORT_MDNS, PORT_LLMNR)
    ):
        return 0
    size = be16(buf, at + 4) - 8
    if size < 0 or at + 8 + size > past:
        return 0
    segments[m, T_SRC_PORT] = source
    segments[m, T_DST_PORT] = target
    segments[m, T_DATA] = at + 8
    segments[m, T_SIZE] = size
    segments[m, T_HAVE] = max(0, min(size, end - at - 8))
    return FOUND_DATAGRAM


@kernel
def put_aside(packets: Table, row: int, capture_no: int, segments: Table, m: int, counts: Ints, aside: int) -> int:
    """Move the datagram in row `m` to the far end of `segments`, in front of `aside` others; returns how many there are.

    There is room, since a packet has one row in the table, be it a segment or a datagram.
    """
    to = segments.shape[0] - 1 - aside
    for column in range(T_WIDTH):
        segments[to, column] = segments[m, column]
    segments[to, T_FILE] = capture_no
    segments[to, T_FRAME] = packets[row, P_FRAME]
    segments[to, T_TIME] = packets[row, P_TIME]
    segments[to, T_SEQ] = packets[row, P_DATA]  # where its frame begins ...
    segments[to, T_ACK] = packets[row, P_LINK]  # ... and of what link
    counts[C_DATAGRAMS] += 1
    return aside + 1


@entry
def keep_datagrams(buf: Bytes, segments: Table, n: int, kept: Overheard) -> int:
    """Copy what may name a host of the `n` datagrams at the far end of `segments`; returns how many were new."""
    state = kept.state
    new = 0
    for back in range(1, n + 1):
        row = segments.shape[0] - back
        at = segments[row, T_DATA]
        size = segments[row, T_SIZE]
        have = segments[row, T_HAVE]
        kind = kind_of(buf, at, have, segments[row, T_SRC_PORT], segments[row, T_DST_PORT])
        if kind == 0:
            continue
        if have < size:
            state[S_CUT] += 1
            continue
        if kind >= DNS:
            read_dns(buf, at, size, state)
            if kind == DNS and not state[S_IS_PRIVATE]:
                kind = DNS_PUBLIC
        elif kind == DHCP:
            # Without transaction number and seconds. [RFC 2131 2]
            state[S_HASH] = hashed(buf, at + 10, at + size, hashed(buf, at, at + 4, 0))
        else:
            state[S_HASH] = hashed(buf, at + 4, at + size, byte(buf, at))  # without transaction or datagram number
        sender = mix(mix(kind, segments[row, T_SRC_LO]), segments[row, T_SRC_HI])
        if kind == DHCP:
            sender = mix(mix(kind, be32(buf, at + 28)), be16(buf, at + 32))
            key = state[S_HASH]
        else:
            key = state[S_HASH] * 31 + sender
        slot = find_seen(kept, key, kind, segments[row, T_TIME])
        if slot < 0:
            continue
        sender %= SLOTS
        if (
            slot >= SLOTS
            or size > MAX_SIZE
            or state[S_KIND_ROWS + kind] >= MAX_OF_KIND
            or state[S_KIND_BYTES + kind] + size > MAX_BYTES_OF_KIND
            or (kind not in (DNS, DNS_PUBLIC) and kept.senders[sender] >= MAX_OF_SENDER)
        ):
            state[S_DROPPED] += 1
            continue
        to = state[S_ROWS]
        rows = kept.rows
        rows[to, N_KIND] = kind
        rows[to, N_FILE] = segments[row, T_FILE]
        rows[to, N_FRAME] = segments[row, T_FRAME]
        rows[to, N_FIRST] = segments[row, T_TIME]
        rows[to, N_LAST] = segments[row, T_TIME]
        rows[to, N_SRC_HI] = segments[row, T_SRC_HI]
        rows[to, N_SRC_LO] = segments[row, T_SRC_LO]
        rows[to, N_MAC] = source_hardware(buf, segments[row, T_SEQ], segments[row, T_ACK], segments, row)
        rows[to, N_AT] = state[S_BYTES]
        rows[to, N_SIZE] = size
        rows[to, N_HASH] = key
        copy_bytes(kept.arena, state[S_BYTES], buf, at, size)
        kept.seen[slot] = to + 1
        kept.senders[sender] += 1
        state[S_ROWS] += 1
        state[S_BYTES] += size
        state[S_KIND_ROWS + kind] += 1
        state[S_KIND_BYTES + kind] += size
        new += 1
    return new


@kernel
def kind_of(buf: Bytes, at: int, have: int, source: int, target: int) -> int:
    """What kind of datagram it is, 0 if it names nobody."""
    if have < 12:
        return 0
    if target in (PORT_DHCP_SERVER, PORT_DHCP_CLIENT):  # [RFC 2131 2, 3]
        return DHCP if have >= 240 and be32(buf, at + 236) == DHCP_COOKIE else 0
    if PORT_NETBIOS_DATAGRAM in (source, target):  # [RFC 1002 4.4.1]
        return NETBIOS_DATAGRAM if have >= 82 and 0x10 <= byte(buf, at) <= 0x12 else 0
    flags = be16(buf, at + 2)
    answers = be16(buf, at + 6)
    is_answer = flags >= 0x8000 and flags & 15 == 0 and answers > 0
    if PORT_NETBIOS_NAME in (source, target):  # [RFC 1002 4.2]
        operation = (flags >> 11) & 15
        registers = flags < 0x8000 and operation in (5, 8, 9, 15) and be16(buf, at + 10) > 0
        return NETBIOS_NAME if registers or (is_answer and operation in (0, 5)) else 0
    if not is_answer:
        return 0
    if source == PORT_DNS:
        return DNS
    return MDNS if source == PORT_MDNS else LLMNR


@kernel
def hashed(buf: Bytes, at: int, end: int, value: int) -> int:
    """A 32-bit hash of bytes, begun with another."""
    while at + 4 <= end:
        value = mix(value, be32(buf, at))
        at += 4
    while at < end:
        value = mix(value, byte(buf, at))
        at += 1
    return value


@kernel
def after_name(buf: Bytes, at: int, end: int) -> int:
    """Where a domain name ends; behind `end` if it does not. [RFC 1035 4.1.4]"""
    while at < end:
        size = byte(buf, at)
        if size == 0:
            return at + 1
        if size >= 0xC0:
            return at + 2
        at += 1 + size
    return end + 1


@kernel
def read_dns(buf: Bytes, at: int, size: int, state: Ints) -> int:
    """Hash an answer without its number and times to live, and look for addresses of private networks."""
    end = at + size
    state[S_IS_PRIVATE] = 0
    value = hashed(buf, at + 2, at + 12, 0)
    records = be16(buf, at + 6) + be16(buf, at + 8) + be16(buf, at + 10)
    questions = be16(buf, at + 4)
    i = at + 12
    for number in range(min(questions, 8) + min(records, 64)):
        begin = i
        i = after_name(buf, i, end)
        if i + 4 > end:
            break
        value = hashed(buf, begin, i + 4, value)
        if number < questions:
            i += 4
            continue
        if i + 10 > end or i + 10 + be16(buf, i + 8) > end:
            break
        kind = be16(buf, i)
        length = be16(buf, i + 8)
        value = hashed(buf, i + 8, i + 10 + length, value)
        if kind == DNS_A and length == 4 and is_private(be32(buf, i + 10)):
            state[S_IS_PRIVATE] = 1
        # fc00::/7 and fe80::/10
        if kind == DNS_AAAA and length == 16 and (byte(buf, i + 10) & 0xFE == 0xFC or be16(buf, i + 10) >> 6 == 0x3FA):
            state[S_IS_PRIVATE] = 1
        if kind not in (DNS_A, DNS_AAAA, 5):
            state[S_IS_PRIVATE] = 1  # PTR and others do not hold the address
        i += 10 + length
    state[S_HASH] = value
    return value


@kernel
def is_private(address: int) -> int:
    """1 for IPv4 addresses of private networks. [RFC 1918; RFC 3927; RFC 6598]"""
    if address >> 24 in (10, 127) or address >> 20 == 0xAC1:
        return 1
    if address >> 16 in (0xC0A8, 0xA9FE) or address >> 22 == 0x191:
        return 1
    return 0


@kernel
def find_seen(kept: Overheard, key: int, kind: int, now: int) -> int:
    """The free slot for a new datagram; -1 if it was said before, which is noted; `SLOTS` if there is no room."""
    for probe in range(PROBES):
        slot = (key + probe) % SLOTS
        row = kept.seen[slot] - 1
        if row < 0:
            return slot
        if kept.rows[row, N_HASH] == key and kept.rows[row, N_KIND] == kind:
            kept.rows[row, N_LAST] = max(kept.rows[row, N_LAST], now)
            return -1
    return SLOTS


@kernel
def source_hardware(buf: Bytes, at: int, link: int, segments: Table, row: int) -> int:
    """The source's hardware address in the Ethernet frame at `at`, -1 if it is not that of the row's own source.

    That is so inside a tunnel, and behind a router: the time to live is then none that hosts begin with.
    """
    if link != LINK_ETHERNET:
        return -1
    ip = at + 12
    for _ in range(MAX_TAGS):
        if be16(buf, ip) not in (0x8100, 0x88A8, 0x9100):
            break
        ip += 4
    kind = be16(buf, ip)
    ip += 2
    if kind == ETHER_IPV4:
        if segments[row, T_SRC_HI] != 0 or segments[row, T_SRC_LO] != 0xFFFF00000000 + be32(buf, ip + 12):
            return -1
        left = byte(buf, ip + 8)
    elif kind == ETHER_IPV6:
        if segments[row, T_SRC_HI] != be64(buf, ip + 8) or segments[row, T_SRC_LO] != be64(buf, ip + 16):
            return -1
        left = byte(buf, ip + 7)
    else:
        return -1
    if left not in (32, 64, 128, 255) or byte(buf, at + 6) & 1:
        return -1
    found = be16(buf, at + 6) * 0x100000000 + be32(buf, at + 8)
    return found if found else -1


@entry
def note_hardware(buf: Bytes, packets: Table, segments: Table, n: int, kept: Overheard) -> int:
    """Note the hardware addresses of the first `n` segments' sources; returns how many frames were looked at.

    packets: the rows that the segments come from, by frame.
    """
    looked = 0
    for row in range(n):
        # Chosen by what it is, so that it does not matter how a capture is cut into files and chunks.
        chosen = mix(segments[row, T_SEQ], segments[row, T_ACK]) % STRIDE == 0
        if not chosen and not segments[row, T_FLAGS] & TCP_SYN:
            continue
        packet = segments[row, T_FRAME] - packets[0, P_FRAME]
        if packet < 0 or packet >= packets.shape[0] or packets[packet, P_FRAME] != segments[row, T_FRAME]:
            continue
        looked += 1
        found = source_hardware(buf, packets[packet, P_DATA], packets[packet, P_LINK], segments, row)
        if found >= 0:
            put_hardware(kept, segments[row, T_SRC_HI], segments[row, T_SRC_LO], found, segments[row, T_TIME])
    return looked


@kernel
def put_hardware(kept: Overheard, high: int, low: int, found: int, now: int) -> int:
    """Note that an address was seen with a hardware address; returns 0 if there was no room."""
    table = kept.hardware
    start = mix(mix(mix(0, low), high), found)
    for probe in range(HARDWARE_PROBES):
        at = (start + probe) % HARDWARE
        if table[at, H_MAC] == 0:
            table[at, H_HI] = high
            table[at, H_LO] = low
            table[at, H_MAC] = found + 1
            table[at, H_FIRST] = now
            table[at, H_LAST] = now
            return 1
        if table[at, H_MAC] == found + 1 and table[at, H_LO] == low and table[at, H_HI] == high:
            table[at, H_FIRST] = min(table[at, H_FIRST], now)
            table[at, H_LAST] = max(table[at, H_LAST], now)
            return 1
    kept.state[S_HARDWARE_FULL] += 1
    return 0
