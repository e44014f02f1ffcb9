"""From a packet's first byte down to its TCP segment: link layers, and through `tunnels` what lies between.

Plain TCP in IPv4 in Ethernet is read on a short way of its own. All else is taken apart header by header: `look` says
where the packet stands (see `packets`), each `read_` takes one header.

Checksums are never looked at where they decide a result: with offload they are wrong in every packet that the capturing
machine sent. Link types: the LINKTYPE_ registry of tcpdump.org.
"""

from __future__ import annotations

from analyzer.capture.datagrams import FOUND_DATAGRAM, put_aside, read_datagram
from analyzer.capture.fragments import MAX_SIZE, Fragments, take_fragment
from analyzer.capture.packets import (
    C_BAD,
    C_NOT_IP,
    C_OTHER_IP,
    C_TCP,
    C_TOO_DEEP,
    C_UDP,
    C_UNKNOWN_LINK,
    KIND_CISCO,
    KIND_COOKED,
    KIND_COOKED2,
    KIND_ETHERNET,
    KIND_FRAGMENT,
    KIND_LLC,
    KIND_LOOPBACK,
    KIND_PKTAP,
    KIND_PPP,
    KIND_PROTO,
    KIND_RADIOTAP,
    KIND_WIRELESS,
    L_AT,
    L_DEPTH,
    L_DST_HI,
    L_DST_LO,
    L_END,
    L_ID,
    L_KIND,
    L_PAST,
    L_ROOM,
    L_ROW,
    L_SRC_HI,
    L_SRC_LO,
    L_TIME,
    L_USED,
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
    T_MARK,
    T_PLACE,
    T_SEQ,
    T_SIZE,
    T_SRC_HI,
    T_SRC_LO,
    T_SRC_PORT,
    T_TIME,
)
from analyzer.capture.tunnels import (
    ETHER_ERSPAN,
    ETHER_ERSPAN_3,
    ETHER_IPV4,
    ETHER_IPV6,
    ETHER_MPLS,
    MAX_HEADERS,
    PROTO_AH,
    PROTO_DESTINATION,
    PROTO_ETHERIP,
    PROTO_FRAGMENT,
    PROTO_GRE,
    PROTO_HOP_BY_HOP,
    PROTO_IPV4,
    PROTO_IPV6,
    PROTO_MPLS,
    PROTO_ROUTING,
    PROTO_TCP,
    PROTO_UDP,
    go_on,
    lacks,
    read_erspan,
    read_extension,
    read_gre,
    read_ip,
    read_udp,
)
from analyzer.compiled import Bytes, Ints, Table, entry, kernel
from analyzer.wire.loads import be16, be32, byte, le16, le32

LINK_NULL = 0
LINK_ETHERNET = 1
LINK_PPP = 9
LINK_RAW_BSD = 12
LINK_RAW_OPENBSD = 14
LINK_PPP_HDLC = 50
LINK_PPP_ETHER = 51
LINK_RAW = 101
LINK_CISCO_HDLC = 104
LINK_IEEE802_11 = 105
LINK_LOOP = 108
LINK_LINUX_SLL = 113
LINK_IEEE802_11_RADIOTAP = 127
LINK_PPP_PPPD = 166
LINK_IPV4 = 228
LINK_IPV6 = 229
LINK_PKTAP = 258
LINK_LINUX_SLL2 = 276

NAMES = {
    LINK_NULL: "null/loopback",
    LINK_ETHERNET: "Ethernet",
    LINK_PPP: "PPP",
    LINK_RAW_BSD: "raw IP",
    LINK_RAW_OPENBSD: "raw IP",
    LINK_PPP_HDLC: "PPP in HDLC",
    LINK_PPP_ETHER: "PPPoE",
    LINK_RAW: "raw IP",
    LINK_CISCO_HDLC: "Cisco HDLC",
    LINK_IEEE802_11: "802.11",
    LINK_LOOP: "OpenBSD loopback",
    LINK_LINUX_SLL: "Linux cooked v1",
    LINK_IEEE802_11_RADIOTAP: "802.11 with radiotap",
    LINK_PPP_PPPD: "PPP of pppd",
    LINK_IPV4: "raw IPv4",
    LINK_IPV6: "raw IPv6",
    LINK_PKTAP: "macOS PKTAP",
    LINK_LINUX_SLL2: "Linux cooked v2",
}

ETHER_LENGTH = 1500
"""Up to this the type of a frame is its length, and LLC follows. [IEEE 802.3]"""
ETHER_ARP = 0x0806
ETHER_VLAN = 0x8100  # [IEEE 802.1Q]
ETHER_MPLS_MULTICAST = 0x8848
ETHER_PPPOE = 0x8864  # [RFC 2516]
ETHER_QINQ = 0x88A8  # [IEEE 802.1ad]
ETHER_QINQ_OLD = 0x9100

MAX_LABELS = 16


@entry
def peel(
    buf: Bytes,
    packets: Table,
    first: int,
    n: int,
    capture_no: int,
    segments: Table,
    look: Ints,
    fragments: Fragments,
    counts: Ints,
) -> int:
    """Find the TCP segment in each of the packets `first` to `n` - 1; returns how many rows of `segments` were written.

    Datagrams that may name hosts go to its far end; `counts` says how many. What lies in front of the first packet in
    the buffer has been read: packets that came in fragments are put together there. If that room is used up, `look[L_ROW]`
    says at which packet to go on; else it is `n`.
    """
    m = 0
    aside = 0
    row = first
    look[L_USED] = 0
    look[L_ROOM] = packets[0, P_DATA] if n > 0 else 0
    while row < n:
        at = packets[row, P_DATA]
        end = at + packets[row, P_HAVE]
        if (
            packets[row, P_LINK] == LINK_ETHERNET
            and at + 34 <= end
            and be16(buf, at + 12) == ETHER_IPV4
            and byte(buf, at + 23) == PROTO_TCP
            and byte(buf, at + 14) >> 4 == 4
            and not be16(buf, at + 20) & 0x3FFF
        ):
            found = read_plain(buf, at + 14, end, at + packets[row, P_SIZE], segments, m, counts)
        elif look[L_USED] > 0 and look[L_USED] + 2 * MAX_SIZE > look[L_ROOM]:
            break
        else:
            begin_packet(packets, row, look)
            found = take_apart(buf, segments, m, look, fragments, counts)
        if found == FOUND_DATAGRAM:
            aside = put_aside(packets, row, capture_no, segments, m, counts, aside)
        elif found:
            segments[m, T_FILE] = capture_no
            segments[m, T_FRAME] = packets[row, P_FRAME]
            segments[m, T_TIME] = packets[row, P_TIME]
            segments[m, T_PLACE] = packets[row, P_PLACE]
            m += 1
        row += 1
    look[L_ROW] = row
    return m


@kernel
def read_plain(buf: Bytes, ip: int, end: int, past: int, segments: Table, m: int, counts: Ints) -> int:
    """Write addresses and TCP of an unfragmented IPv4 packet into row `m`; 0 if it carries no whole segment."""
    header = (byte(buf, ip) & 15) * 4
    total = be16(buf, ip + 2)
    if total == 0:  # left to the network card to fill in
        total = past - ip
    if header < 20 or total < header or ip + header > end:
        counts[C_BAD] += 1
        return 0
    segments[m, T_SRC_HI] = 0
    segments[m, T_SRC_LO] = 0xFFFF00000000 + be32(buf, ip + 12)
    segments[m, T_DST_HI] = 0
    segments[m, T_DST_LO] = 0xFFFF00000000 + be32(buf, ip + 16)
    return read_tcp(buf, ip + header, end, ip + total, be16(buf, ip + 4), segments, m, counts)


@kernel
def read_tcp(
    buf: Bytes, at: int, end: int, past: int, identification: int, segments: Table, m: int, counts: Ints
) -> int:
    """Write the TCP header between `at` and `past` (on the wire; captured up to `end`) into row `m`. [RFC 9293 3.1]"""
    if at + 20 > end or at + 20 > past:
        counts[C_BAD] += 1
        return 0
    words = byte(buf, at + 12) >> 4
    data = at + words * 4
    if words < 5 or data > past:
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
    segments[m, T_MARK] = (identification << 20) | (words << 16) | be16(buf, at + 14)
    return 1


@kernel
def take_datagram(buf: Bytes, segments: Table, m: int, look: Ints) -> int:
    """Write a UDP datagram that carries no tunnel into row `m` if it may name a host; returns `FOUND_DATAGRAM` then, else 0."""
    segments[m, T_SRC_HI] = look[L_SRC_HI]
    segments[m, T_SRC_LO] = look[L_SRC_LO]
    segments[m, T_DST_HI] = look[L_DST_HI]
    segments[m, T_DST_LO] = look[L_DST_LO]
    return read_datagram(buf, look[L_AT], look[L_END], look[L_PAST], segments, m)


@kernel
def begin_packet(packets: Table, row: int, look: Ints) -> None:
    """Stand at the first byte of a packet."""
    look[L_AT] = packets[row, P_DATA]
    look[L_END] = packets[row, P_DATA] + packets[row, P_HAVE]
    look[L_PAST] = packets[row, P_DATA] + packets[row, P_SIZE]
    look[L_TIME] = packets[row, P_TIME]
    look[L_DEPTH] = 0
    look[L_KIND] = kind_of_link(packets[row, P_LINK])


@kernel
def kind_of_link(link: int) -> int:
    """What a packet of a link type begins with."""
    if link == LINK_ETHERNET:
        return KIND_ETHERNET
    if link in (LINK_RAW, LINK_RAW_BSD, LINK_RAW_OPENBSD, LINK_IPV4, LINK_IPV6):
        return ETHER_IPV4
    if link in (LINK_NULL, LINK_LOOP):
        return KIND_LOOPBACK
    if link == LINK_LINUX_SLL:
        return KIND_COOKED
    if link == LINK_LINUX_SLL2:
        return KIND_COOKED2
    if link in (LINK_PPP, LINK_PPP_HDLC, LINK_PPP_PPPD):
        return KIND_PPP
    if link == LINK_PPP_ETHER:
        return ETHER_PPPOE
    if link == LINK_CISCO_HDLC:
        return KIND_CISCO
    if link == LINK_IEEE802_11:
        return KIND_WIRELESS
    if link == LINK_IEEE802_11_RADIOTAP:
        return KIND_RADIOTAP
    if link == LINK_PKTAP:
        return KIND_PKTAP
    return -1 - C_UNKNOWN_LINK


@kernel
def take_apart(buf: Bytes, segments: Table, m: int, look: Ints, fragments: Fragments, counts: Ints) -> int:
    """Read header after header down to TCP, and write it into row `m`; 0 if the packet carries none (counted)."""
    for _ in range(MAX_HEADERS):
        kind = look[L_KIND]
        if kind == KIND_PROTO + PROTO_TCP:
            segments[m, T_SRC_HI] = look[L_SRC_HI]
            segments[m, T_SRC_LO] = look[L_SRC_LO]
            segments[m, T_DST_HI] = look[L_DST_HI]
            segments[m, T_DST_LO] = look[L_DST_LO]
            return read_tcp(
                buf, look[L_AT], look[L_END], look[L_PAST], look[L_ID] & 0xFFFF, segments, m, counts
            )  # fmt: skip
        if kind < 0:
            counts[-1 - kind] += 1
            if kind == -1 - C_UDP:
                return take_datagram(buf, segments, m, look)
            return 0
        if kind in (ETHER_IPV4, ETHER_IPV6):
            read_ip(buf, look)
        elif kind == KIND_FRAGMENT:
            take_fragment(buf, look, fragments, counts)
        elif kind >= KIND_ETHERNET:
            read_link(buf, look)
        elif kind >= KIND_PROTO:
            read_protocol(buf, look)
        else:
            read_type(buf, look)
    counts[C_TOO_DEEP] += 1
    return 0


@kernel
def read_protocol(buf: Bytes, look: Ints) -> None:
    """What an IP protocol number announces, other than TCP."""
    protocol = look[L_KIND] - KIND_PROTO
    if protocol == PROTO_UDP:
        read_udp(buf, look)
    elif protocol == PROTO_GRE:
        read_gre(buf, look)
    elif protocol in (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_FRAGMENT, PROTO_AH, PROTO_DESTINATION):
        read_extension(buf, look)
    elif protocol in (PROTO_IPV4, PROTO_IPV6):
        look[L_KIND] = ETHER_IPV4
    elif protocol == PROTO_ETHERIP:
        go_on(look, 2, KIND_ETHERNET)
    elif protocol == PROTO_MPLS:
        look[L_KIND] = ETHER_MPLS
    else:
        look[L_KIND] = -1 - C_OTHER_IP


@kernel
def read_type(buf: Bytes, look: Ints) -> None:
    """What an EtherType announces, other than IP."""
    kind = look[L_KIND]
    if kind in (ETHER_VLAN, ETHER_QINQ, ETHER_QINQ_OLD):
        if not lacks(look, 4):
            behind_type(buf, look, 4)
    elif kind in (ETHER_MPLS, ETHER_MPLS_MULTICAST):
        read_labels(buf, look)
    elif kind == ETHER_PPPOE:
        # Its length tells payload from padding, as does that of the IP header in it.
        if not lacks(look, 6):
            go_on(look, 6, KIND_PPP if be16(buf, look[L_AT]) == 0x1100 else -1 - C_NOT_IP)
    elif kind in (ETHER_ERSPAN, ETHER_ERSPAN_3):
        read_erspan(buf, look)
    else:
        look[L_KIND] = -1 - C_NOT_IP


@kernel
def behind_type(buf: Bytes, look: Ints, size: int) -> None:
    """Go behind a header of `size` bytes, whose last two are an EtherType, or a length in front of LLC."""
    kind = be16(buf, look[L_AT] + size - 2)
    go_on(look, size, KIND_LLC if kind <= ETHER_LENGTH else kind)


@kernel
def read_link(buf: Bytes, look: Ints) -> None:
    """The header of a link layer."""
    kind = look[L_KIND]
    at = look[L_AT]
    if kind == KIND_ETHERNET:
        if not lacks(look, 14):
            behind_type(buf, look, 14)
    elif kind == KIND_LLC:
        read_llc(buf, look)
    elif kind == KIND_PPP:
        read_ppp(buf, look)
    elif kind == KIND_COOKED:
        if not lacks(look, 16):
            behind_type(buf, look, 16)
    elif kind == KIND_COOKED2:
        if not lacks(look, 20):
            kind = be16(buf, at)
            go_on(look, 20, KIND_LLC if kind <= ETHER_LENGTH else kind)
    elif kind == KIND_LOOPBACK:
        go_on(look, 4, ETHER_IPV4)  # the address family differs by system; the IP version tells as well
    elif kind == KIND_CISCO:
        if not lacks(look, 4):
            behind_type(buf, look, 4)
    elif kind == KIND_PKTAP:  # its length, its own kind, and the link type of what follows
        if not lacks(look, 12):
            go_on(look, max(12, le32(buf, at)), kind_of_link(le32(buf, at + 8)))
    elif kind == KIND_RADIOTAP:
        if not lacks(look, 8):
            go_on(look, max(8, le16(buf, at + 2)), KIND_WIRELESS)
    else:
        read_wireless(buf, look)


@kernel
def read_llc(buf: Bytes, look: Ints) -> None:
    """LLC, with SNAP or with IP's own number. [IEEE 802.2, RFC 1042]"""
    at = look[L_AT]
    if at + 8 <= look[L_END] and be32(buf, at) == 0xAAAA0300 and be16(buf, at + 4) in (0, 0x00F8):
        behind_type(buf, look, 8)
    elif at + 3 <= look[L_END] and be16(buf, at) == 0x0606 and byte(buf, at + 2) == 3:
        go_on(look, 3, ETHER_IPV4)
    else:
        look[L_KIND] = -1 - C_NOT_IP


@kernel
def read_ppp(buf: Bytes, look: Ints) -> None:
    """PPP, whose address, control and half of the protocol field may be left out; Cisco's HDLC, told by its address.

    [RFC 1661 2, 6.5, 6.6; RFC 1662 3.1]
    """
    if lacks(look, 4):
        return
    at = look[L_AT]
    head = be16(buf, at)
    if head in (0x0F00, 0x8F00):
        look[L_KIND] = KIND_CISCO
        return
    size = 2 if head & 0xFEFF == 0x0003 or head == 0xFF03 else 0  # pppd writes the direction in place of the address
    protocol = byte(buf, at + size)
    size += 1
    if not protocol & 1:
        protocol = protocol << 8 | byte(buf, at + size)
        size += 1
    if protocol in (0x0021, 0x0057):
        go_on(look, size, ETHER_IPV4)
    elif protocol in (0x0281, 0x0283):
        go_on(look, size, ETHER_MPLS)
    else:
        go_on(look, size, -1 - C_NOT_IP)


@kernel
def read_wireless(buf: Bytes, look: Ints) -> None:
    """A data frame that is not encrypted. [IEEE 802.11 9.3.2.1]"""
    if lacks(look, 24):
        return
    control = le16(buf, look[L_AT])
    if control & 0x0C != 0x08 or control & 0x4040:  # not data, without data, or protected
        look[L_KIND] = -1 - C_NOT_IP
        return
    size = 24
    if control & 0x0300 == 0x0300:  # between access points: a fourth address
        size += 6
    if control & 0x80:  # QoS data
        size += 2
        if control & 0x8000:  # HT control
            size += 4
    go_on(look, size, KIND_LLC)


@kernel
def read_labels(buf: Bytes, look: Ints) -> None:
    """A stack of MPLS labels, and what lies below it, which no field tells. [RFC 3032 2.1, RFC 4385 3, RFC 4448]"""
    for _ in range(MAX_LABELS):
        if lacks(look, 4):
            return
        look[L_AT] += 4
        if byte(buf, look[L_AT] - 2) & 1:  # the bottom of the stack
            break
    at = look[L_AT]
    end = look[L_END]
    if is_ip(buf, at, end, look[L_PAST]):
        look[L_KIND] = ETHER_IPV4
    elif at + 4 <= end and byte(buf, at) >> 4 == 0 and is_ethernet(buf, at + 4, end):
        go_on(look, 4, KIND_ETHERNET)  # behind a control word
    elif is_ethernet(buf, at, end):
        look[L_KIND] = KIND_ETHERNET
    else:
        look[L_KIND] = -1 - C_NOT_IP


@kernel
def is_ip(buf: Bytes, at: int, end: int, past: int) -> int:
    """1 if bytes read like an IP header, and not like an Ethernet address that happens to begin with 4 or 6."""
    if at + 20 > end:
        return 0
    if byte(buf, at) >> 4 == 4:
        total = be16(buf, at + 2)
        return 1 if byte(buf, at) & 15 >= 5 and (total == 0 or 20 <= total <= past - at) else 0
    if byte(buf, at) >> 4 == 6:
        return 1 if be16(buf, at + 4) + 40 <= past - at else 0
    return 0


@kernel
def is_ethernet(buf: Bytes, at: int, end: int) -> int:
    """1 if bytes read like an Ethernet header: by a type that is known, or by LLC."""
    if at + 17 > end:
        return 0
    kind = be16(buf, at + 12)
    if kind <= ETHER_LENGTH:
        return 1 if be16(buf, at + 14) in (0xAAAA, 0x0606) else 0
    return 1 if kind in (ETHER_IPV4, ETHER_IPV6, ETHER_ARP, ETHER_VLAN, ETHER_QINQ, ETHER_MPLS, ETHER_PPPOE) else 0
