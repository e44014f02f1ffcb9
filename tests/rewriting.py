"""Captures written anew in other clothes: other link layers, tunnels, fragments, containers, copies, losses.

Written field by field from the protocol documents, so that it shares no code with what it tests. Every function takes
packets and returns packets; the link type goes with them to the writer.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from io import BytesIO
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import zstandard
from scapy.utils import PcapNgReader, RawPcapNgReader, RawPcapReader

from tests import build
from tests.build import packed

LINK_PPP, LINK_PPP_HDLC, LINK_PPP_ETHER, LINK_CISCO_HDLC = 9, 50, 51, 104
LINK_WIRELESS, LINK_RADIOTAP, LINK_PPPD, LINK_PKTAP = 105, 127, 166, 258
IPV4, IPV6, VLAN, QINQ, QINQ_OLD = 0x0800, 0x86DD, 0x8100, 0x88A8, 0x9100
MPLS, PPPOE, TRANSPARENT, ERSPAN, ERSPAN_3 = 0x8847, 0x8864, 0x6558, 0x88BE, 0x22EB
IP_IN_IP, TCP, UDP, IPV6_IN_IP, GRE, ETHER_IP, MPLS_IN_IP = 4, 6, 17, 41, 47, 97, 137
OUTER = ("192.0.2.1", "192.0.2.2")
OUTER_6 = ("2001:db8::1", "2001:db8::2")


@dataclass(frozen=True)
class Packet:
    """A captured packet: its time, what the file says of it, and the link type."""

    time_ns: int
    data: bytes
    size: int = 0  # on the wire; 0: as captured
    link: int = build.LINK_ETHERNET

    @property
    def ip(self) -> bytes:
        """The IP packet in an Ethernet frame, without what fills short frames up."""
        ip = self.data[14:]
        return ip[: 40 + int.from_bytes(ip[4:6], "big")] if ip[0] >> 4 == 6 else ip[: int.from_bytes(ip[2:4], "big")]

    @property
    def payload_size(self) -> int:
        """Bytes of TCP payload, 0 if it is no TCP."""
        ip = self.ip
        header = 40 if self.kind == IPV6 else (ip[0] & 15) * 4
        if self.kind not in (IPV4, IPV6) or ip[6 if self.kind == IPV6 else 9] != TCP:
            return 0
        return len(ip) - header - (ip[header + 12] >> 4) * 4

    @property
    def kind(self) -> int:
        """The EtherType."""
        return int.from_bytes(self.data[12:14], "big")


def unpacked(path: Path) -> bytes:
    """The bytes of a capture, without what packs it."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    return zstandard.decompress(data) if path.suffix == ".zst" else data


def read(path: Path) -> list[Packet]:
    """The packets of a capture of Ethernet."""
    found = []
    with RawPcapReader(BytesIO(unpacked(path))) as reader:
        for data, about in reader:
            if isinstance(reader, RawPcapNgReader | PcapNgReader):
                ticks = about.tshigh << 32 | about.tslow
                found.append(Packet(ticks * 1_000_000_000 // about.tsresol, data))
            else:
                found.append(Packet(about.sec * 1_000_000_000 + about.usec * (1 if reader.nano else 1000), data))
    return found


def write(path: Path, packets: Iterable[Packet], *, order: str = "<", nano: bool = True) -> Path:
    """A pcap file."""
    packets = list(packets)
    link = packets[0].link if packets else build.LINK_ETHERNET
    assert {packet.link for packet in packets} <= {link}
    captured = [build.Packet(packet.time_ns, packet.data, max(packet.size, len(packet.data))) for packet in packets]
    path.write_bytes(build.pcap(captured, order=order, nano=nano, link=link))
    return path


# IP and UDP. #


def checksum(data: bytes) -> int:
    """[RFC 1071]"""
    total = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2]))
    total += data[-1] << 8 if len(data) % 2 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(
    payload: bytes, protocol: int, ends: tuple[str, str] = OUTER, *, number: int = 7, fragment: int = 0, ttl: int = 63
) -> bytes:
    """An IPv4 packet with its checksum. [RFC 791 3.1]"""
    total = 20 + len(payload)
    header = packed(
        ("version_ihl", "B", 0x45),
        ("tos", "B", 0xB8),
        ("total_length", "H", total if total < 65_536 else 0),
        ("identification", "H", number & 0xFFFF),
        ("flags_and_offset", "H", fragment),
        ("ttl", "B", ttl),
        ("protocol", "B", protocol),
        ("checksum", "H", 0),
        ("source", "4s", IPv4Address(ends[0]).packed),
        ("target", "4s", IPv4Address(ends[1]).packed),
        order=">",
    )
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + payload


def ipv6(payload: bytes, following: int, ends: tuple[str, str] = OUTER_6) -> bytes:
    """[RFC 8200 3]"""
    return build.ipv6(payload, *ends, following=following, size=len(payload) if len(payload) < 65_536 else 0)


def udp(payload: bytes, port: int) -> bytes:
    """[RFC 768]"""
    return struct.pack(">HHHH", 50_000, port, (8 + len(payload)) & 0xFFFF, 0) + payload


def inner(packet: Packet) -> tuple[bytes, int]:
    """The IP packet of a frame and its EtherType."""
    return packet.ip, packet.kind


# What stands in front of an IP packet, on Ethernet and elsewhere. Each takes IP packet, EtherType, and its number. #

Wrap = Callable[[bytes, int, int], bytes]


def ethernet(payload: bytes, kind: int, *, tags: tuple[int, ...] = ()) -> bytes:
    """An Ethernet frame."""
    return build.ethernet(payload, kind, tags=tags)


def snap(ip: bytes, kind: int, _number: int = 0) -> bytes:
    """IEEE 802.3 with LLC and SNAP. [RFC 1042]"""
    if len(ip) + 8 > 1500:
        return ethernet(ip, kind)
    return ethernet(bytes.fromhex("aaaa03 000000") + struct.pack(">H", kind) + ip, 8 + len(ip))


def labels(payload: bytes, depth: int) -> bytes:
    """MPLS label stack entries: label (20 bits), traffic class (3), bottom of stack (1), TTL (8). [RFC 3032 2.1]"""
    stack = [struct.pack(">I", 1000 + n << 12 | (n == depth - 1) << 8 | 64) for n in range(depth)]
    return b"".join(stack) + payload


def ppp(ip: bytes, kind: int) -> bytes:
    """The protocol field of PPP, and the packet. [RFC 1661 2, RFC 1332, RFC 5072]"""
    return struct.pack(">H", 0x0021 if kind == IPV4 else 0x0057) + ip


def pppoe(ip: bytes, kind: int) -> bytes:
    """A PPPoE session packet: version and type, code, session, length. [RFC 2516 4]"""
    content = ppp(ip, kind)
    return struct.pack(">BBHH", 0x11, 0, 0x1234, len(content) & 0xFFFF) + content


def gre(payload: bytes, kind: int, *, flags: int = 0, key: int = 0, sequence: int = 0) -> bytes:
    """GRE of version 0: checksum and routing (0x8000, 0x4000), key (0x2000), sequence (0x1000). [RFC 1701, 2784, 2890]"""
    header = struct.pack(">HH", flags, kind)
    if flags & 0xC000:
        header += struct.pack(">HH", 0xBEEF, 0)
    if flags & 0x2000:
        header += struct.pack(">I", key)
    if flags & 0x1000:
        header += struct.pack(">I", sequence)
    if flags & 0x4000:  # one source route entry (family, offset, length, address), and the empty one
        header += struct.pack(">HBB4s", 0x0800, 0, 4, IPv4Address(OUTER[1]).packed) + bytes(4)
    return header + payload


def erspan(frame: bytes, kind: int, number: int) -> bytes:
    """GRE with an ERSPAN header of type I (none), II or III. [draft-foschiano-erspan 4]"""
    if kind == 1:
        return gre(frame, ERSPAN)
    if kind == 2:  # version 1 and VLAN; class, tag mode, truncated, session; index
        return gre(struct.pack(">HHI", 0x1064, 0x0005, 0) + frame, ERSPAN, flags=0x1000, sequence=number)
    # version 2; timestamp; group tag; frame type, hardware id, direction, granularity, optional header
    optional = number % 2
    header = struct.pack(">HHIHH", 0x2064, 0x0005, number * 10, 0, 0x0010 | optional)
    if optional:
        header += struct.pack(">II", 0x04000000, 0)
    return gre(header + frame, ERSPAN_3, flags=0x1000, sequence=number)


def vxlan(frame: bytes) -> bytes:
    """Flags, reserved, network identifier, reserved. [RFC 7348 5]"""
    return struct.pack(">II", 0x08000000, 5001 << 8) + frame


def geneve(payload: bytes, kind: int, words: int) -> bytes:
    """Version and options' length, flags, protocol, network identifier, reserved, options. [RFC 8926 3.4]"""
    return struct.pack(">BBHI", words, 0, kind, 77 << 8) + bytes(4 * words) + payload


def gtp(ip: bytes, extended: int) -> bytes:
    """GTP-U: version 1, a G-PDU, length, tunnel; with `extended`, a PDU session container. [3GPP TS 29.281 5]"""
    more = struct.pack(">HBBBBBB", 1, 0, 0x85, 1, 0, 9, 0) if extended else b""
    return struct.pack(">BBHI", 0x34 if extended else 0x30, 0xFF, (len(more) + len(ip)) & 0xFFFF, 99) + more + ip


def _on_ip(protocol: int, payload: Callable[[bytes, int, int], bytes], *, six: bool = False) -> Wrap:
    """A tunnel on IP, on Ethernet."""

    def wrapped(ip: bytes, kind: int, number: int) -> bytes:
        content = payload(ip, kind, number)
        return (
            ethernet(ipv6(content, protocol), IPV6) if six else ethernet(ipv4(content, protocol, number=number), IPV4)
        )

    return wrapped


def _wireless(ip: bytes, kind: int, number: int) -> bytes:
    """A QoS data frame to an access point. [IEEE 802.11 9.3.2.1]"""
    header = struct.pack("<HH6s6s6sH", 0x0188, 0, b"\x02" * 6, b"\x04" * 6, b"\x06" * 6, number % 4096 << 4)
    return header + struct.pack("<H", 0) + bytes.fromhex("aaaa03 000000") + struct.pack(">H", kind) + ip


ON_ETHERNET: dict[str, Wrap] = {
    "802.1Q": lambda ip, kind, _n: ethernet(ip, kind, tags=(VLAN,)),
    "QinQ": lambda ip, kind, _n: ethernet(ip, kind, tags=(QINQ, VLAN)),
    "QinQ, old type": lambda ip, kind, _n: ethernet(ip, kind, tags=(QINQ_OLD, QINQ_OLD, VLAN)),
    "SNAP": snap,
    "MPLS": lambda ip, _kind, n: ethernet(labels(ip, 1 + n % 3), MPLS),
    "MPLS, multicast": lambda ip, _kind, _n: ethernet(labels(ip, 1), 0x8848),
    "MPLS, Ethernet": lambda ip, kind, _n: ethernet(labels(ethernet(ip, kind), 2), MPLS),
    "MPLS, Ethernet from a host that begins with 4": lambda ip, kind, _n: ethernet(
        labels(b"\x45\x00\xff\xff" + ethernet(ip, kind)[4:], 1), MPLS
    ),
    "MPLS, Ethernet behind a control word": lambda ip, kind, n: ethernet(
        labels(struct.pack(">I", n) + ethernet(ip, kind, tags=(VLAN,)), 2), MPLS
    ),
    "PPPoE": lambda ip, kind, _n: ethernet(pppoe(ip, kind), PPPOE),
    "PPPoE in QinQ": lambda ip, kind, _n: ethernet(pppoe(ip, kind), PPPOE, tags=(QINQ, VLAN)),
    "GRE": _on_ip(GRE, lambda ip, kind, n: gre(ip, kind, flags=0x1000 * (n % 16), key=n, sequence=n)),
    "GRE on IPv6": _on_ip(GRE, lambda ip, kind, _n: gre(ip, kind, flags=0x2000), six=True),
    "NVGRE": _on_ip(GRE, lambda ip, kind, _n: gre(ethernet(ip, kind), TRANSPARENT, flags=0x2000, key=0x123400)),
    "PPTP": _on_ip(
        GRE, lambda ip, kind, n: struct.pack(">HHHHI", 0x3001, 0x880B, 0, 9, n) + b"\xff\x03" + ppp(ip, kind)
    ),
    "ERSPAN I": _on_ip(GRE, lambda ip, kind, n: erspan(ethernet(ip, kind), 1, n)),
    "ERSPAN II": _on_ip(GRE, lambda ip, kind, n: erspan(ethernet(ip, kind, tags=(VLAN,)), 2, n)),
    "ERSPAN III": _on_ip(GRE, lambda ip, kind, n: erspan(ethernet(ip, kind), 3, n)),
    "VXLAN": _on_ip(UDP, lambda ip, kind, _n: udp(vxlan(ethernet(ip, kind)), 4789)),
    "VXLAN of Linux, on IPv6": _on_ip(
        UDP, lambda ip, kind, _n: udp(vxlan(ethernet(ip, kind, tags=(VLAN,))), 8472), six=True
    ),
    "VXLAN-GPE": _on_ip(UDP, lambda ip, _kind, _n: udp(struct.pack(">II", 0x0C000001, 0) + ip, 4790)),
    "GENEVE": _on_ip(UDP, lambda ip, kind, n: udp(geneve(ethernet(ip, kind), TRANSPARENT, n % 5), 6081)),
    "GENEVE, IP": _on_ip(UDP, lambda ip, kind, _n: udp(geneve(ip, kind, 63), 6081)),
    "IP in IP": lambda ip, kind, n: ethernet(ipv4(ip, IP_IN_IP if kind == IPV4 else IPV6_IN_IP, number=n), IPV4),
    "IP in IPv6": lambda ip, kind, _n: ethernet(ipv6(ip, IP_IN_IP if kind == IPV4 else IPV6_IN_IP), IPV6),
    "EtherIP": _on_ip(ETHER_IP, lambda ip, kind, _n: b"\x30\x00" + ethernet(ip, kind)),
    "MPLS on IP": _on_ip(MPLS_IN_IP, lambda ip, _kind, _n: labels(ip, 1)),
    "MPLS on UDP": _on_ip(UDP, lambda ip, _kind, _n: udp(labels(ip, 1), 6635)),
    "GTP-U": _on_ip(UDP, lambda ip, _kind, n: udp(gtp(ip, n % 2), 2152)),
    "VXLAN in GRE in QinQ": lambda ip, kind, n: ethernet(
        ipv4(gre(ipv6(udp(vxlan(ethernet(ip, kind)), 4789), UDP), IPV6), GRE, number=n), IPV4, tags=(QINQ, VLAN)
    ),
    "seven tunnels": lambda ip, kind, _n: ethernet(nested(ip, kind, 7), IPV4),
}
"""Frames of Ethernet that carry an IP packet in other ways than at once."""


def nested(ip: bytes, kind: int, depth: int) -> bytes:
    """An IP packet in IPv4 in IPv4 ..."""
    for _ in range(depth):
        ip = ipv4(ip, IP_IN_IP if kind == IPV4 else IPV6_IN_IP)
        kind = IPV4
    return ip


OTHER_LINKS: dict[str, tuple[int, Wrap]] = {
    "raw IP": (build.LINK_RAW, lambda ip, _kind, _n: ip),
    "null": (build.LINK_NULL, lambda ip, kind, _n: struct.pack("<I", 2 if kind == IPV4 else 30) + ip),
    "loop": (build.LINK_LOOP, lambda ip, kind, _n: struct.pack(">I", 2 if kind == IPV4 else 28) + ip),
    "cooked v1": (build.LINK_SLL, lambda ip, kind, n: struct.pack(">HHH8sH", n % 5, 1, 6, bytes(8), kind) + ip),
    "cooked v1, 802.1Q": (
        build.LINK_SLL,
        lambda ip, kind, _n: struct.pack(">HHH8sH", 0, 1, 6, bytes(8), VLAN) + struct.pack(">HH", 7, kind) + ip,
    ),
    "cooked v2": (build.LINK_SLL2, lambda ip, kind, _n: struct.pack(">HHIHBB8s", kind, 0, 3, 1, 0, 6, bytes(8)) + ip),
    "PPP": (LINK_PPP, lambda ip, kind, n: b"\xff\x03" * (n % 2) + ppp(ip, kind)[n % 4 // 3 :]),
    "PPP in HDLC": (LINK_PPP_HDLC, lambda ip, kind, _n: b"\xff\x03" + ppp(ip, kind)),
    "PPP of pppd": (LINK_PPPD, lambda ip, kind, n: bytes([n % 2, 3]) + ppp(ip, kind)),
    "Cisco HDLC": (LINK_CISCO_HDLC, lambda ip, kind, _n: struct.pack(">HH", 0x0F00, kind) + ip),
    "Cisco HDLC as PPP": (LINK_PPP_HDLC, lambda ip, kind, _n: struct.pack(">HH", 0x8F00, kind) + ip),
    "PPPoE": (LINK_PPP_ETHER, lambda ip, kind, _n: pppoe(ip, kind)),
    "802.11": (LINK_WIRELESS, _wireless),
    "802.11 with radiotap": (
        LINK_RADIOTAP,
        lambda ip, kind, n: struct.pack("<BBHI", 0, 0, 12, 0) + bytes(4) + _wireless(ip, kind, n),
    ),
    "PKTAP": (
        LINK_PKTAP,
        lambda ip, kind, _n: struct.pack("<III", 108, 1, 1).ljust(108, b"\0") + ethernet(ip, kind),
    ),
}
"""Link types other than Ethernet: number, and what the packet looks like."""


def wrapped(packets: list[Packet], wrap: Wrap, link: int = build.LINK_ETHERNET) -> list[Packet]:
    """Packets carried in another way."""
    return [Packet(p.time_ns, wrap(*inner(p), number), link=link) for number, p in enumerate(packets)]


def on_ipv6(packets: list[Packet], extensions: bytes = b"", first: int = TCP) -> list[Packet]:
    """IPv4 rewritten as IPv6, with extension headers in front of TCP (`first`: the kind of the first of them)."""
    made = []
    for packet in packets:
        ip = packet.ip
        if packet.kind != IPV4 or ip[9] != TCP:
            made.append(packet)
            continue
        ends = as_ipv6(ip[12:16]), as_ipv6(ip[16:20])
        made.append(replace(packet, data=ethernet(ipv6(extensions + ip[(ip[0] & 15) * 4 :], first, ends), IPV6)))
    return made


def as_ipv6(address: bytes) -> str:
    """The address that takes the place of an IPv4 address."""
    return str(IPv6Address(b"\xfd\x00".ljust(12, b"\0") + address))


EXTENSIONS = (
    struct.pack(">BBIH", 60, 0, 0x01040000, 0)  # hop by hop: next header, length, padding
    + struct.pack(">BBIH", 51, 0, 0x01040000, 0)  # destination options
    + struct.pack(">BBHII12s", 44, 4, 0, 1, 1, bytes(12))  # authentication
    + struct.pack(">BBHI", 43, 0, 0, 5)  # an atomic fragment
    + struct.pack(">BBBBI", TCP, 0, 4, 0, 0)  # routing, at its end
)
"""A chain of extension headers, of which the first is a hop by hop header. [RFC 8200 4]"""


# Fragments. #


def fragments_of(packet: Packet, size: int, number: int) -> list[Packet]:
    """An Ethernet packet in IP fragments of `size` bytes of payload, a multiple of 8. [RFC 791 2.3, RFC 8200 4.5]"""
    ip, kind = inner(packet)
    header = (ip[0] & 15) * 4 if kind == IPV4 else 40
    content = ip[header:]
    if len(content) <= size or kind not in (IPV4, IPV6):
        return [packet]
    made = []
    for at in range(0, len(content), size):
        part = content[at : at + size]
        more = at + size < len(content)
        if kind == IPV4:
            flags = more << 13 | at // 8
            about = struct.pack(">HHH", header + len(part), number & 0xFFFF, flags)
            frame = ethernet(ip[:2] + about + ip[8:header] + part, IPV4)
        else:
            extension = struct.pack(">BBHI", ip[6], 0, at | more, 0x10000 * number + number)
            about = struct.pack(">HB", 8 + len(part), 44)
            frame = ethernet(ip[:4] + about + ip[7:40] + extension + part, IPV6)
        made.append(replace(packet, data=frame))
    return made


def fragmented(packets: list[Packet], size: int, order: Callable[[list[Packet]], list[Packet]] = list) -> list[Packet]:
    """All packets that are larger in fragments."""
    return [part for number, p in enumerate(packets, 1) for part in order(fragments_of(p, size, number))]


# Copies. #


def seen_again(packet: Packet, after_ns: int, hops: int = 1) -> Packet:
    """The same packet behind some routers: MAC addresses, DSCP and time to live differ."""
    if packet.kind not in (IPV4, IPV6):
        return replace(packet, time_ns=packet.time_ns + after_ns)
    ip = bytearray(packet.ip)
    if packet.kind == IPV4:
        ip[1] ^= 0x28
        ip[8] = max(1, ip[8] - hops)
    else:
        ip[7] = max(1, ip[7] - hops)
    frame = b"\x0a" * 12 + packet.data[12:14] + bytes(ip)
    return replace(packet, time_ns=packet.time_ns + after_ns, data=frame)


def doubled(packets: list[Packet], after_ns: int, copy: Callable[[Packet], Packet] | None = None) -> list[Packet]:
    """Each packet twice, in the order of time."""
    both = packets + [copy(p) if copy else seen_again(p, after_ns) for p in packets]
    return sorted(both, key=lambda packet: packet.time_ns)
