"""IPv4, IPv6, and what carries other packets on top of them: GRE, ERSPAN, VXLAN, GENEVE, GTP-U and the like.

Each `read_` takes one header: it moves `look[L_AT]` behind it and sets `look[L_KIND]` to what follows, or to a negative
number if the packet ends here (see `packets`). Bytes are read only below `look[L_END]`.
"""

from __future__ import annotations

from analyzer.capture.packets import (
    C_BAD,
    C_NOT_IP,
    C_OTHER_IP,
    C_TOO_DEEP,
    C_UDP,
    KIND_ETHERNET,
    KIND_FRAGMENT,
    KIND_PPP,
    KIND_PROTO,
    L_AT,
    L_DEPTH,
    L_DST_HI,
    L_DST_LO,
    L_END,
    L_ID,
    L_KIND,
    L_MORE,
    L_NEXT,
    L_OFFSET,
    L_PAST,
    L_SRC_HI,
    L_SRC_LO,
)
from analyzer.compiled import Bytes, Ints, kernel
from analyzer.wire.loads import be16, be32, be64, byte

ETHER_IPV4 = 0x0800
ETHER_TRANSPARENT = 0x6558  # Ethernet in GRE [RFC 1701], NVGRE [RFC 7637], GENEVE [RFC 8926]
ETHER_IPV6 = 0x86DD
ETHER_MPLS = 0x8847
ETHER_PPP = 0x880B
ETHER_ERSPAN = 0x88BE  # types I and II [draft-foschiano-erspan]
ETHER_ERSPAN_3 = 0x22EB
ETHER_WCCP = 0x883E  # what a router sends on to a web cache [draft-mclaggan-wccp-v2rev1 5.12.2]

PROTO_HOP_BY_HOP = 0
PROTO_IPV4 = 4  # [RFC 2003]
PROTO_TCP = 6
PROTO_UDP = 17
PROTO_IPV6 = 41  # [RFC 4213]
PROTO_ROUTING = 43
PROTO_FRAGMENT = 44
PROTO_GRE = 47
PROTO_AH = 51
PROTO_DESTINATION = 60
PROTO_ETHERIP = 97  # [RFC 3378]
PROTO_MPLS = 137  # [RFC 4023]

PORT_GTP_U = 2152  # [3GPP TS 29.281]
PORT_VXLAN = 4789  # [RFC 7348]
PORT_VXLAN_GPE = 4790
PORT_GENEVE = 6081
PORT_MPLS = 6635  # [RFC 7510]
PORT_VXLAN_LINUX = 8472  # Linux' own choice before there was a number

MAX_IP = 8
"""IP headers in each other that are followed."""
MAX_HEADERS = 64
"""Headers of all kinds in one packet that are followed: labels, tags and extensions count too."""


@kernel
def lacks(look: Ints, size: int) -> int:
    """1, and the end of the packet, if fewer than `size` bytes of the next header were captured."""
    if look[L_AT] + size > look[L_END]:
        look[L_KIND] = -1 - C_BAD
        return 1
    return 0


@kernel
def go_on(look: Ints, size: int, kind: int) -> None:
    """Behind a header of `size` bytes follows `kind`."""
    look[L_AT] += size
    look[L_KIND] = kind


@kernel
def read_ip(buf: Bytes, look: Ints) -> None:
    """An IP header of either version, whatever the layer below called it."""
    if lacks(look, 20):
        return
    version = byte(buf, look[L_AT]) >> 4
    if version not in (4, 6):
        look[L_KIND] = -1 - C_NOT_IP
        return
    look[L_DEPTH] += 1
    if look[L_DEPTH] > MAX_IP:
        look[L_KIND] = -1 - C_TOO_DEEP
    elif version == 4:
        read_ipv4(buf, look)
    else:
        read_ipv6(buf, look)
    look[L_END] = min(look[L_END], look[L_PAST])


@kernel
def read_ipv4(buf: Bytes, look: Ints) -> None:
    """[RFC 791 3.1]"""
    ip = look[L_AT]
    header = (byte(buf, ip) & 15) * 4
    total = be16(buf, ip + 2)
    if total == 0:  # left to the network card to fill in
        total = look[L_PAST] - ip
    if header < 20 or total < header or ip + header > look[L_END]:
        look[L_KIND] = -1 - C_BAD
        return
    look[L_PAST] = ip + total
    look[L_SRC_HI] = 0
    look[L_SRC_LO] = 0xFFFF00000000 + be32(buf, ip + 12)
    look[L_DST_HI] = 0
    look[L_DST_LO] = 0xFFFF00000000 + be32(buf, ip + 16)
    look[L_ID] = be16(buf, ip + 4)
    part = be16(buf, ip + 6)
    look[L_NEXT] = byte(buf, ip + 9)
    go_on(look, header, KIND_PROTO + look[L_NEXT])
    if part & 0x3FFF:  # an offset, or more to come
        look[L_OFFSET] = (part & 0x1FFF) * 8
        look[L_MORE] = part & 0x2000
        look[L_KIND] = KIND_FRAGMENT


@kernel
def read_ipv6(buf: Bytes, look: Ints) -> None:
    """[RFC 8200 3]"""
    if lacks(look, 40):
        return
    ip = look[L_AT]
    size = be16(buf, ip + 4)
    if size:  # else left to the network card, or in a jumbo payload option
        look[L_PAST] = ip + 40 + size
    look[L_SRC_HI] = be64(buf, ip + 8)
    look[L_SRC_LO] = be64(buf, ip + 16)
    look[L_DST_HI] = be64(buf, ip + 24)
    look[L_DST_LO] = be64(buf, ip + 32)
    look[L_ID] = 0
    go_on(look, 40, KIND_PROTO + byte(buf, ip + 6))


@kernel
def read_extension(buf: Bytes, look: Ints) -> None:
    """A header between IP and what it carries. [RFC 8200 4, RFC 4302 2]"""
    if lacks(look, 8):
        return
    at = look[L_AT]
    kind = look[L_KIND] - KIND_PROTO
    size = (byte(buf, at + 1) + 1) * 8
    if kind == PROTO_AH:
        size = (byte(buf, at + 1) + 2) * 4
    elif kind == PROTO_FRAGMENT:
        size = 8
    go_on(look, size, KIND_PROTO + byte(buf, at))
    if kind == PROTO_FRAGMENT and be16(buf, at + 2) & 0xFFF9:
        look[L_OFFSET] = be16(buf, at + 2) & 0xFFF8
        look[L_MORE] = be16(buf, at + 2) & 1
        look[L_ID] = be32(buf, at + 4)
        look[L_NEXT] = byte(buf, at)
        look[L_KIND] = KIND_FRAGMENT


@kernel
def read_gre(buf: Bytes, look: Ints) -> None:
    """GRE of version 0 with all its options, and of version 1, which carries PPP. [RFC 2784, 2890, 1701; RFC 2637]"""
    if lacks(look, 4):
        return
    at = look[L_AT]
    flags = be16(buf, at)
    kind = be16(buf, at + 2)
    version = flags & 7
    size = 4 + (4 if flags & 0x2000 else 0) + (4 if flags & 0x1000 else 0)  # key, sequence
    if version == 0:
        size += 4 if flags & 0xC000 else 0  # checksum and offset: either bit brings both
    elif version == 1 and kind == ETHER_PPP:
        size += 4 if flags & 0x0080 else 0  # acknowledgment
        kind = KIND_PPP if flags & 0x1000 else -1 - C_OTHER_IP  # without a sequence number it carries nothing
    else:
        kind = -1 - C_OTHER_IP
    if version == 0 and flags & 0x4000:  # source route entries: family, offset, length; the last one has none
        for _ in range(MAX_HEADERS):
            if lacks(look, size + 4):
                return
            length = byte(buf, at + size + 3)
            size += 4 + length
            if length == 0 and be16(buf, at + size - 4) == 0:
                break
    if kind == ETHER_ERSPAN and not flags & 0x1000:
        kind = KIND_ETHERNET  # type I has no header of its own, and no sequence numbers
    elif kind == ETHER_TRANSPARENT:
        kind = KIND_ETHERNET
    elif kind == ETHER_WCCP:
        if lacks(look, size + 1):
            return
        # Version 2 has a header of its own before the packet, whose first four bits are zero.
        size += 0 if byte(buf, at + size) >> 4 else 4
        kind = ETHER_IPV4
    if not lacks(look, size):
        go_on(look, size, kind)


@kernel
def read_erspan(buf: Bytes, look: Ints) -> None:
    """The mirrored packet of a Cisco switch, types II and III. [draft-foschiano-erspan 4.2, 4.3]"""
    size = 8 if look[L_KIND] == ETHER_ERSPAN else 12
    if lacks(look, size):
        return
    kind = KIND_ETHERNET
    if size == 12:
        last = be16(buf, look[L_AT] + 10)
        if last & 1:  # a platform specific header
            size = 20
        if last >> 10 & 0x1F == 2:  # the frame type: 0 is Ethernet, 2 is IP
            kind = ETHER_IPV4
    go_on(look, size, kind)


@kernel
def read_udp(buf: Bytes, look: Ints) -> None:
    """What a tunnel on UDP carries, told by its port; all other UDP ends here."""
    at = look[L_AT]
    look[L_KIND] = -1 - C_UDP
    if at + 16 > look[L_END]:
        return
    port = be16(buf, at + 2)
    flags = byte(buf, at + 8)
    if port in (PORT_VXLAN, PORT_VXLAN_LINUX):
        if flags & 0x08:  # the network identifier is valid, as it must be [RFC 7348 5]
            go_on(look, 16, KIND_ETHERNET)
    elif port == PORT_GENEVE:
        if flags >> 6 == 0:  # the version [RFC 8926 3.4]
            kind = be16(buf, at + 10)
            go_on(look, 16 + (flags & 0x3F) * 4, KIND_ETHERNET if kind == ETHER_TRANSPARENT else kind)
    elif port == PORT_VXLAN_GPE:
        if flags & 0x0C == 0x0C:  # [draft-ietf-nvo3-vxlan-gpe 3.1]
            following = byte(buf, at + 11)
            kind = ETHER_IPV4 if following in (1, 2) else (ETHER_MPLS if following == 5 else KIND_ETHERNET)
            go_on(look, 16, kind)
    elif port == PORT_MPLS:
        go_on(look, 8, ETHER_MPLS)
    elif port == PORT_GTP_U and flags >> 4 == 3 and byte(buf, at + 9) == 0xFF:  # version 1, a user's packet
        read_gtp(buf, look)


@kernel
def read_gtp(buf: Bytes, look: Ints) -> None:
    """A user's packet in GTP-U, behind any extension headers. [3GPP TS 29.281 5.1, 5.2]"""
    at = look[L_AT]
    size = 16
    if byte(buf, at + 8) & 7:  # sequence number, N-PDU number, next extension header: all or none
        if lacks(look, 20):
            return
        size = 20
        following = byte(buf, at + 19)
        for _ in range(MAX_HEADERS):
            if following == 0:
                break
            if lacks(look, size + 4):
                return
            length = max(1, byte(buf, at + size)) * 4
            if lacks(look, size + length):
                return
            size += length
            following = byte(buf, at + size - 1)
    go_on(look, size, ETHER_IPV4)
