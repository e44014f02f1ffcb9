"""IP in other packets."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.contrib.gtp import GTP_U_Header
from scapy.contrib.mpls import MPLS, EoMCW
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from analyzer.capture import packets as p
from analyzer.capture.tunnels import MAX_HEADERS, MAX_IP
from analyzer.compiled import Kernels
from tests.build import ETHER_VLAN, LINK_ETHERNET, LINK_RAW, ethernet, ipv4, tcp
from tests.capture.test_links import peel
from tests.rewriting import GRE as PROTO_GRE
from tests.rewriting import ON_ETHERNET, OTHER_LINKS, gre, labels, nested, udp, vxlan
from tests.rewriting import UDP as PROTO_UDP

PAYLOAD = b"\0\0\0\x08payload"
INNER = IP(src="10.1.0.1", dst="10.1.0.2", id=9) / TCP(sport=50_000, dport=445, seq=7, ack=8, flags="PA") / Raw(PAYLOAD)
INNER_6 = IPv6(src="fd00::1", dst="fd00::2") / TCP(sport=50_000, dport=445, seq=7, ack=8, flags="PA") / Raw(PAYLOAD)
OUTER = Ether() / IP(src="192.0.2.1", dst="192.0.2.2")

BY_SCAPY: dict[str, Packet] = {
    "GRE": OUTER / GRE(proto=0x0800) / INNER,
    "GRE with key, sequence and checksum": OUTER
    / GRE(proto=0x86DD, key_present=1, seqnum_present=1, chksum_present=1)
    / INNER_6,
    "NVGRE": OUTER / GRE(proto=0x6558, key_present=1, key=99) / Ether() / Dot1Q(vlan=4) / INNER,
    "ERSPAN I": OUTER / GRE(proto=0x88BE) / Ether() / INNER,
    "ERSPAN II": OUTER / GRE(proto=0x88BE, seqnum_present=1) / ERSPAN_II(session_id=7) / Ether() / INNER,
    "ERSPAN III": OUTER / GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III(session_id=7) / Ether() / INNER_6,
    "VXLAN": OUTER / UDP(dport=4789) / VXLAN(vni=9, flags="Instance") / Ether() / INNER,
    "VXLAN, group policy": OUTER / UDP(dport=8472) / VXLAN(vni=9, flags="Instance+G", gpid=4) / Ether() / INNER,
    "GENEVE": OUTER
    / UDP(dport=6081)
    / GENEVE(vni=9, proto=0x6558, options=[GeneveOptions(type=1, data=b"\1\2\3\4")])
    / Ether()
    / INNER,
    "GENEVE, IPv6": OUTER / UDP(dport=6081) / GENEVE(vni=9, proto=0x86DD) / INNER_6,
    "IP in IP": OUTER / INNER,
    "6in4": OUTER / INNER_6,
    "4in6": Ether() / IPv6() / INNER,
    "6in6": Ether() / IPv6() / INNER_6,
    "GTP-U": OUTER / UDP(dport=2152) / GTP_U_Header(teid=1, gtp_type=255) / INNER,
    "MPLS": Ether() / MPLS(label=16, s=0) / MPLS(label=17, s=1) / INNER,
    "MPLS, IPv6": Ether() / MPLS(label=16, s=1) / INNER_6,
    "MPLS, pseudowire": Ether() / MPLS(label=16, s=1) / EoMCW(seq=7) / Ether() / INNER,
    "MPLS, pseudowire without control word": Ether() / MPLS(label=16, s=1) / Ether(dst="00:11:22:33:44:55") / INNER,
    "PPPoE": Ether() / PPPoE(sessionid=3) / PPP(proto=0x0021) / INNER,
    "PPPoE, IPv6": Ether() / Dot1Q(vlan=7) / PPPoE(sessionid=3) / PPP(proto=0x0057) / INNER_6,
}


@pytest.mark.parametrize("packet", BY_SCAPY.values(), ids=BY_SCAPY)
def test_what_scapy_writes(packet: Packet, kernels: Kernels) -> None:
    data = bytes(packet)
    seen, counted = peel(data, LINK_ETHERNET, kernels)
    assert counted == {p.C_TCP: 1}
    assert seen is not None
    ends = ("fd00::1", "fd00::2") if bytes(INNER_6)[:8] in data else ("10.1.0.1", "10.1.0.2")
    assert (seen.source, seen.target) == ((ends[0], 50_000), (ends[1], 445))
    assert (seen.seq, seen.ack, seen.flags, seen.payload, seen.size) == (7, 8, 0x18, PAYLOAD, len(PAYLOAD))


@pytest.mark.parametrize("redirect", [b"", b"\x05\x59\x00\x48", b"\0\0\0\0"], ids=["version 1", "version 2", "zeros"])
def test_what_a_router_redirects(redirect: bytes, kernels: Kernels) -> None:
    """WCCP: version 2 puts four bytes (flags, service, two buckets) between GRE and the packet."""
    data = ethernet(ipv4(gre(redirect + bytes(INNER), 0x883E), protocol=PROTO_GRE))
    seen, counted = peel(data, LINK_ETHERNET, kernels)
    assert counted == {p.C_TCP: 1}
    assert seen is not None
    assert (seen.source, seen.payload) == (("10.1.0.1", 50_000), PAYLOAD)


@pytest.mark.parametrize("number", range(16))
def test_every_option_of_gre(number: int, kernels: Kernels) -> None:
    """Checksum, routing, key, sequence number: the four upper bits, in any combination. [RFC 1701, 2890]"""
    data = ethernet(ipv4(gre(bytes(INNER), 0x0800, flags=number << 12, key=1, sequence=2), protocol=PROTO_GRE))
    seen, _ = peel(data, LINK_ETHERNET, kernels)
    assert seen is not None
    assert seen.payload == PAYLOAD


def test_the_inner_length_counts(kernels: Kernels) -> None:
    """A mirrored packet that the switch has cut: fewer bytes than its IP header says."""
    frame = ethernet(bytes(INNER)[:-4])
    data = ethernet(ipv4(gre(struct.pack(">HHI", 0x1064, 0x0400, 0) + frame, 0x88BE, flags=0x1000), protocol=PROTO_GRE))
    seen, _ = peel(data + b"\xee" * 20, LINK_ETHERNET, kernels)
    assert seen is not None
    assert (seen.payload, seen.size) == (PAYLOAD[:-4], len(PAYLOAD))


@pytest.mark.parametrize("depth", range(MAX_IP + 2))
def test_tunnels_in_each_other(depth: int, kernels: Kernels) -> None:
    seen, counted = peel(nested(bytes(INNER), 0x0800, depth), LINK_RAW, kernels)
    assert (seen is not None) == (depth < MAX_IP)
    assert counted == {p.C_TCP if depth < MAX_IP else p.C_TOO_DEEP: 1}


def test_more_headers_than_are_followed(kernels: Kernels) -> None:
    data = ethernet(bytes(INNER), tags=[ETHER_VLAN] * (MAX_HEADERS + 1))
    assert peel(data, LINK_ETHERNET, kernels) == (None, {p.C_TOO_DEEP: 1})


@pytest.mark.parametrize(
    ("content", "protocol", "counted"),
    [
        (udp(vxlan(ethernet(bytes(INNER))), 4788), PROTO_UDP, p.C_UDP),
        (udp(struct.pack(">II", 0x04000000, 0) + ethernet(bytes(INNER)), 4789), PROTO_UDP, p.C_UDP),
        (udp(struct.pack(">BBHI", 0x40, 0, 0x0800, 0) + bytes(INNER), 6081), PROTO_UDP, p.C_UDP),
        (udp(struct.pack(">BBHI", 0x30, 1, 4, 0) + bytes(INNER), 2152), PROTO_UDP, p.C_UDP),
        (udp(b"", 4789), PROTO_UDP, p.C_UDP),
        (udp(vxlan(ethernet(bytes(28), 0x0806)), 4789), PROTO_UDP, p.C_NOT_IP),
        (udp(vxlan(ethernet(bytes(INNER))[:20]), 4789), PROTO_UDP, p.C_BAD),
        (gre(bytes(INNER), 0x0800, flags=0x0002), PROTO_GRE, p.C_OTHER_IP),
        (gre(b"", 0x0000), PROTO_GRE, p.C_NOT_IP),
        (gre(bytes(INNER), 0x88CC), PROTO_GRE, p.C_NOT_IP),
        (struct.pack(">HHHH", 0x2001, 0x880B, 0, 9), PROTO_GRE, p.C_OTHER_IP),
        (gre(bytes(INNER), 0x0800, flags=0xF000)[:9], PROTO_GRE, p.C_BAD),
        (gre(b"", 0x22EB, flags=0x1000), PROTO_GRE, p.C_BAD),
        (bytes(INNER), 50, p.C_OTHER_IP),
        (labels(b"\x10" * 40, 1), 137, p.C_NOT_IP),
        (labels(b"\x45", 1), 137, p.C_NOT_IP),
    ],
    ids=[
        "another port", "VXLAN without identifier", "GENEVE of version 1", "GTP echo", "UDP without payload",
        "ARP in VXLAN", "half a frame in VXLAN", "GRE of version 2", "GRE keep-alive", "LLDP in GRE",
        "PPTP acknowledgment", "half a GRE header", "no ERSPAN header", "ESP", "MPLS of another kind", "MPLS, one byte",
    ],
)  # fmt: skip
def test_what_is_no_tunnel_is_counted(content: bytes, protocol: int, counted: int, kernels: Kernels) -> None:
    assert peel(ethernet(ipv4(content, protocol=protocol)), LINK_ETHERNET, kernels) == (None, {counted: 1})


WAYS = [(LINK_ETHERNET, wrap) for wrap in ON_ETHERNET.values()] + list(OTHER_LINKS.values())


@given(
    way=st.sampled_from(WAYS),
    number=st.integers(0, 30),
    size=st.integers(0, 400),
    tail=st.binary(max_size=60),
    place=st.integers(0, 200),
    value=st.integers(0, 255),
)
def test_any_bytes(way: tuple[int, object], number: int, size: int, tail: bytes, place: int, value: int) -> None:
    """Packets cut, continued and changed anywhere: one count, and nothing read beyond their end."""
    link, wrap = way
    whole = bytearray(wrap(ipv4(tcp(PAYLOAD)), 0x0800, number))  # type: ignore[operator]
    whole[place % len(whole)] = value
    data = bytes(whole[:size]) + tail
    seen, counted = peel(data, link)
    assert sum(counted.values()) == 1
    assert peel(data, link, filling=0x60) == (seen, counted)
    if seen is not None:
        assert 0 <= len(seen.payload) <= seen.size
        assert seen.payload in data
