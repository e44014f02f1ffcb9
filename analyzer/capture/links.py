"""From a packet's first byte down to its TCP segment: link layers, VLAN tags, IPv4, IPv6.

Checksums are never looked at: with offload they are wrong in every packet that the capturing machine sent.
Link types: the LINKTYPE_ registry of tcpdump.org.
"""

from __future__ import annotations

from analyzer.capture.datagrams import FOUND_DATAGRAM, put_aside, read_datagram
from analyzer.capture.packets import (
    C_BAD,
    C_FRAGMENTS,
    C_NOT_IP,
    C_OTHER_IP,
    C_TCP,
    C_UDP,
    C_UNKNOWN_LINK,
    P_DATA,
    P_FRAME,
    P_HAVE,
    P_LINK,
    P_PLACE,
    P_SIZE,
    P_TIME,
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
)
from analyzer.compiled import Bytes, Ints, Table, entry, kernel
from analyzer.wire.loads import be16, be32, be64, byte

LINK_NULL = 0
LINK_ETHERNET = 1
LINK_LOOP = 108
LINK_RAW_BSD = 12
LINK_RAW_OPENBSD = 14
LINK_RAW = 101
LINK_LINUX_SLL = 113
LINK_IPV4 = 228
LINK_IPV6 = 229
LINK_LINUX_SLL2 = 276

NAMES = {
    LINK_NULL: "null/loopback",
    LINK_ETHERNET: "Ethernet",
    LINK_LOOP: "OpenBSD loopback",
    LINK_RAW_BSD: "raw IP",
    LINK_RAW_OPENBSD: "raw IP",
    LINK_RAW: "raw IP",
    LINK_LINUX_SLL: "Linux cooked v1",
    LINK_IPV4: "raw IPv4",
    LINK_IPV6: "raw IPv6",
    LINK_LINUX_SLL2: "Linux cooked v2",
}

ETHER_IPV4 = 0x0800
ETHER_IPV6 = 0x86DD
ETHER_VLAN = 0x8100  # [IEEE 802.1Q]
ETHER_QINQ = 0x88A8  # [IEEE 802.1ad]
ETHER_QINQ_OLD = 0x9100

PROTO_HOP_BY_HOP = 0
PROTO_TCP = 6
PROTO_UDP = 17
PROTO_ROUTING = 43
PROTO_FRAGMENT = 44
PROTO_AH = 51
PROTO_DESTINATION = 60

MAX_TAGS = 8
MAX_EXTENSIONS = 16


@entry
def peel(buf: Bytes, packets: Table, n: int, capture_no: int, segments: Table, counts: Ints) -> int:
    """Find the TCP segment in each of the first `n` packets; returns how many rows of `segments` were written.

    Datagrams that may name hosts go to its far end; `counts` says how many.
    """
    m = 0
    aside = 0
    for row in range(n):
        at = packets[row, P_DATA]
        end = at + packets[row, P_HAVE]
        past = at + packets[row, P_SIZE]
        ip = find_ip(buf, at, end, packets[row, P_LINK], counts)
        if ip < 0:
            continue
        if byte(buf, ip) >> 4 == 4:
            found = read_ipv4(buf, ip, end, past, segments, m, counts)
        else:
            found = read_ipv6(buf, ip, end, past, segments, m, counts)
        if found == FOUND_DATAGRAM:
            aside = put_aside(packets, row, capture_no, segments, m, counts, aside)
        elif found:
            segments[m, T_FILE] = capture_no
            segments[m, T_FRAME] = packets[row, P_FRAME]
            segments[m, T_TIME] = packets[row, P_TIME]
            segments[m, T_PLACE] = packets[row, P_PLACE]
            m += 1
    return m


@kernel
def find_ip(buf: Bytes, at: int, end: int, link: int, counts: Ints) -> int:
    """Where the IP header begins, -1 if the packet has none (counted). At least 20 bytes follow."""
    if link == LINK_ETHERNET:
        if at + 14 > end:
            counts[C_BAD] += 1
            return -1
        kind = be16(buf, at + 12)
        at += 14
        if kind != ETHER_IPV4:
            for _ in range(MAX_TAGS):
                if kind not in (ETHER_VLAN, ETHER_QINQ, ETHER_QINQ_OLD):
                    break
                if at + 4 > end:
                    counts[C_BAD] += 1
                    return -1
                kind = be16(buf, at + 2)
                at += 4
            if kind <= 1500 and at + 8 <= end and be32(buf, at) == 0xAAAA0300 and be16(buf, at + 4) == 0:
                kind = be16(buf, at + 6)  # LLC and SNAP
                at += 8
            if kind not in (ETHER_IPV4, ETHER_IPV6):
                counts[C_NOT_IP] += 1
                return -1
    elif link in (LINK_RAW, LINK_RAW_BSD, LINK_RAW_OPENBSD, LINK_IPV4, LINK_IPV6):
        pass
    elif link == LINK_LINUX_SLL:
        at += 16
    elif link == LINK_LINUX_SLL2:
        at += 20
    elif link in (LINK_NULL, LINK_LOOP):
        at += 4  # the address family differs by system; the IP version tells as well
    else:
        counts[C_UNKNOWN_LINK] += 1
        return -1
    if at + 20 > end:
        counts[C_BAD] += 1
        return -1
    if byte(buf, at) >> 4 not in (4, 6):
        counts[C_NOT_IP] += 1
        return -1
    return at


@kernel
def read_ipv4(buf: Bytes, ip: int, end: int, past: int, segments: Table, m: int, counts: Ints) -> int:
    """Write addresses and TCP of an IPv4 packet into row `m`; 0 if it carries no whole TCP segment. [RFC 791]"""
    header = (byte(buf, ip) & 15) * 4
    total = be16(buf, ip + 2)
    if total == 0:  # left to the network card to fill in
        total = past - ip
    if header < 20 or total < header or ip + header > end:
        counts[C_BAD] += 1
        return 0
    if be16(buf, ip + 6) & 0x3FFF:  # an offset, or more to come
        counts[C_FRAGMENTS] += 1
        return 0
    segments[m, T_SRC_HI] = 0
    segments[m, T_SRC_LO] = 0xFFFF00000000 + be32(buf, ip + 12)
    segments[m, T_DST_HI] = 0
    segments[m, T_DST_LO] = 0xFFFF00000000 + be32(buf, ip + 16)
    return read_transport(buf, byte(buf, ip + 9), ip + header, end, ip + total, segments, m, counts)


@kernel
def read_ipv6(buf: Bytes, ip: int, end: int, past: int, segments: Table, m: int, counts: Ints) -> int:
    """Write addresses and TCP of an IPv6 packet into row `m`; 0 if it carries no whole TCP segment. [RFC 8200]"""
    if ip + 40 > end:
        counts[C_BAD] += 1
        return 0
    size = be16(buf, ip + 4)
    past = ip + 40 + size if size else past
    segments[m, T_SRC_HI] = be64(buf, ip + 8)
    segments[m, T_SRC_LO] = be64(buf, ip + 16)
    segments[m, T_DST_HI] = be64(buf, ip + 24)
    segments[m, T_DST_LO] = be64(buf, ip + 32)
    proto = byte(buf, ip + 6)
    at = ip + 40
    for _ in range(MAX_EXTENSIONS):
        if proto not in (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_DESTINATION, PROTO_FRAGMENT, PROTO_AH):
            break
        if at + 8 > end:
            counts[C_BAD] += 1
            return 0
        if proto == PROTO_FRAGMENT:
            if be16(buf, at + 2) & 0xFFF9:
                counts[C_FRAGMENTS] += 1
                return 0
            length = 8
        elif proto == PROTO_AH:
            length = (byte(buf, at + 1) + 2) * 4
        else:
            length = (byte(buf, at + 1) + 1) * 8
        proto = byte(buf, at)
        at += length
    return read_transport(buf, proto, at, end, past, segments, m, counts)


@kernel
def read_transport(buf: Bytes, proto: int, at: int, end: int, past: int, segments: Table, m: int, counts: Ints) -> int:
    """Write the TCP header between `at` and `past` (on the wire; captured up to `end`) into row `m`. [RFC 9293]"""
    if proto != PROTO_TCP:
        if proto == PROTO_UDP:
            counts[C_UDP] += 1
            return read_datagram(buf, at, end, past, segments, m)
        counts[C_OTHER_IP] += 1
        return 0
    if at + 20 > end or at + 20 > past:
        counts[C_BAD] += 1
        return 0
    data = at + (byte(buf, at + 12) >> 4) * 4
    if data < at + 20 or data > past:
        counts[C_BAD] += 1
        return 0
    counts[C_TCP] += 1
    segments[m, T_SRC_PORT] = be16(buf, at)
    segments[m, T_DST_PORT] = be16(buf, at + 2)
    segments[m, T_SEQ] = be32(buf, at + 4)
    segments[m, T_ACK] = be32(buf, at + 8)
    segments[m, T_FLAGS] = byte(buf, at + 13)
    segments[m, T_DATA] = data
    segments[m, T_SIZE] = past - data
    segments[m, T_HAVE] = max(0, min(end, past) - data)
    return 1
