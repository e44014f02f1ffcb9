"""Link layers and IP down to TCP."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting
from scapy.layers.l2 import LLC, SNAP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Dot3, Ether, Loopback
from scapy.packet import Packet, Raw

from analyzer.capture import links
from analyzer.capture import packets as p
from analyzer.capture.fragments import no_fragments
from analyzer.capture.tunnels import MAX_HEADERS
from analyzer.compiled import Kernels, plain_kernels
from tests.build import (
    ETHER_IPV6,
    ETHER_QINQ,
    ETHER_VLAN,
    LINK_ETHERNET,
    LINK_LOOP,
    LINK_NULL,
    LINK_RAW,
    LINK_RAW_BSD,
    LINK_SLL,
    LINK_SLL2,
    PROTO_UDP,
    START_NS,
    ethernet,
    ipv4,
    ipv6,
    tcp,
)
from tests.build import Packet as Captured
from tests.build import pcap as pcap_file
from tests.capture.reading import Seen, no_counts, read_bytes, seen_of
from tests.rewriting import LINK_PKTAP, LINK_PPP, LINK_RADIOTAP, LINK_WIRELESS, OTHER_LINKS

PAYLOAD = b"\0\0\0\x08payload"
V4 = ipv4(tcp(PAYLOAD))
V6 = ipv6(tcp(PAYLOAD))


def peel(
    data: bytes, link: int = LINK_ETHERNET, kernels: Kernels | None = None, *, size: int = -1, filling: int = 0x45
) -> tuple[Seen | None, dict[int, int]]:
    """The segment in one packet, and what was counted. size: bytes on the wire."""
    buffer = np.frombuffer(data + bytes([filling]) * 64, np.uint8).copy()
    row = np.zeros((1, p.P_WIDTH), dtype=np.int64)
    row[0, [p.P_FRAME, p.P_TIME, p.P_DATA, p.P_HAVE]] = (7, START_NS, 0, len(data))
    row[0, [p.P_SIZE, p.P_LINK, p.P_PLACE]] = (max(size, len(data)), link, 24)
    segments = np.zeros((1, p.T_WIDTH), dtype=np.int64)
    counts = no_counts()
    look = np.zeros(p.L_WIDTH, dtype=np.int64)
    found = (kernels or plain_kernels()).peel(buffer, row, 0, 1, 3, segments, look, no_fragments(), counts)
    counted = {place: int(count) for place, count in enumerate(counts) if count}
    return (seen_of(segments[:found], buffer)[0] if found else None), counted


def payload_of(data: bytes, link: int = LINK_ETHERNET, kernels: Kernels | None = None) -> bytes | None:
    """The TCP payload in one packet."""
    seen, _ = peel(data, link, kernels)
    return seen.payload if seen else None


LINKS: dict[str, tuple[int, bytes]] = {
    "Ethernet": (LINK_ETHERNET, ethernet(V4)),
    "Ethernet, IPv6": (LINK_ETHERNET, ethernet(V6, ETHER_IPV6)),
    "802.1Q": (LINK_ETHERNET, ethernet(V4, tags=[ETHER_VLAN])),
    "802.1Q, IPv6": (LINK_ETHERNET, ethernet(V6, ETHER_IPV6, tags=[ETHER_VLAN])),
    "QinQ": (LINK_ETHERNET, ethernet(V4, tags=[ETHER_QINQ, ETHER_VLAN])),
    "QinQ, old type": (LINK_ETHERNET, ethernet(V4, tags=[0x9100, ETHER_VLAN])),
    "eight tags": (LINK_ETHERNET, ethernet(V4, tags=[ETHER_VLAN] * 8)),
    "SNAP": (LINK_ETHERNET, ethernet(bytes.fromhex("aaaa03 000000 0800") + V4, 8 + len(V4))),
    "SNAP, IPv6": (LINK_ETHERNET, ethernet(bytes.fromhex("aaaa03 000000 86dd") + V6, 8 + len(V6))),
    "802.1Q, SNAP": (
        LINK_ETHERNET,
        ethernet(bytes.fromhex("aaaa03 000000 0800") + V4, 8 + len(V4), tags=[ETHER_VLAN]),
    ),
    "raw": (LINK_RAW, V4),
    "raw, IPv6": (LINK_RAW, V6),
    "raw, BSD": (LINK_RAW_BSD, V4),
    "raw, OpenBSD": (14, V4),
    "raw IPv4": (228, V4),
    "raw IPv6": (229, V6),
    "null, little-endian": (LINK_NULL, struct.pack("<I", 2) + V4),
    "null, big-endian": (LINK_NULL, struct.pack(">I", 2) + V4),
    "null, IPv6 of NetBSD": (LINK_NULL, struct.pack("<I", 24) + V6),
    "null, IPv6 of macOS": (LINK_NULL, struct.pack("<I", 30) + V6),
    "loop": (LINK_LOOP, struct.pack(">I", 2) + V4),
    "loop, IPv6": (LINK_LOOP, struct.pack(">I", 24) + V6),
    "cooked": (LINK_SLL, struct.pack(">HHH8sH", 0, 1, 6, bytes(8), 0x0800) + V4),
    "cooked, IPv6": (LINK_SLL, struct.pack(">HHH8sH", 4, 1, 6, bytes(8), 0x86DD) + V6),
    "cooked v2": (LINK_SLL2, struct.pack(">HHIHBB8s", 0x0800, 0, 3, 1, 0, 6, bytes(8)) + V4),
    "cooked v2, IPv6": (LINK_SLL2, struct.pack(">HHIHBB8s", 0x86DD, 0, 3, 1, 0, 6, bytes(8)) + V6),
}


LINKS |= {f"{name}, as rewritten": (link, wrap(V4, 0x0800, 4)) for name, (link, wrap) in OTHER_LINKS.items()}
LINKS |= {f"{name}, IPv6, as rewritten": (link, wrap(V6, ETHER_IPV6, 5)) for name, (link, wrap) in OTHER_LINKS.items()}
LINKS |= {
    "LLC with IP's own number": (LINK_ETHERNET, ethernet(bytes.fromhex("060603") + V4, 3 + len(V4))),
    "SNAP, bridged": (LINK_ETHERNET, ethernet(bytes.fromhex("aaaa03 0000f8 0800") + V4, 8 + len(V4))),
    "cooked, LLC": (
        LINK_SLL,
        struct.pack(">HHH8sH", 0, 1, 6, bytes(8), 4) + bytes.fromhex("aaaa03 000000 0800") + V4,
    ),
    "PPP, protocol of one byte": (LINK_PPP, bytes.fromhex("21") + V4),
    "PPP, MPLS": (LINK_PPP, struct.pack(">HI", 0x0281, 1 << 12 | 1 << 8 | 64) + V4),
    "802.11 between access points": (
        LINK_WIRELESS,
        struct.pack("<HH6s6s6sH6s", 0x0308, 0, bytes(6), bytes(6), bytes(6), 0, bytes(6))
        + bytes.fromhex("aaaa03 000000 0800")
        + V4,
    ),
    "PKTAP of raw IP": (LINK_PKTAP, struct.pack("<III", 108, 1, LINK_RAW).ljust(108, b"\0") + V4),
}


@pytest.mark.parametrize(("link", "data"), LINKS.values(), ids=LINKS)
def test_links(link: int, data: bytes, kernels: Kernels) -> None:
    seen, counted = peel(data, link, kernels)
    assert seen is not None
    assert counted == {p.C_TCP: 1}
    assert (seen.payload, seen.size, seen.flags) == (PAYLOAD, len(PAYLOAD), 16)
    ends = ("fd00::1", "fd00::2") if data.endswith(V6) else ("10.0.0.1", "10.0.0.2")
    assert (seen.source, seen.target) == ((ends[0], 49_152), (ends[1], 445))
    assert (seen.capture_no, seen.frame, seen.time_ns, seen.place) == (3, 7, START_NS, 24)


INNER = IP(src="192.0.2.1", dst="198.51.100.7") / TCP(sport=1025, dport=139, seq=0xFFFFFFF0, ack=7, flags="PA")
BY_SCAPY: dict[str, tuple[int, Packet]] = {
    "Ethernet": (LINK_ETHERNET, Ether() / INNER / Raw(PAYLOAD)),
    "QinQ": (LINK_ETHERNET, Ether() / Dot1AD(vlan=5) / Dot1Q(vlan=6) / INNER / Raw(PAYLOAD)),
    "SNAP": (LINK_ETHERNET, Dot3() / LLC() / SNAP() / INNER / Raw(PAYLOAD)),
    "cooked": (LINK_SLL, CookedLinux() / INNER / Raw(PAYLOAD)),
    "cooked v2": (LINK_SLL2, CookedLinuxV2(proto=0x0800) / INNER / Raw(PAYLOAD)),
    "loopback": (LINK_NULL, Loopback() / INNER / Raw(PAYLOAD)),
}


@pytest.mark.parametrize(("link", "packet"), BY_SCAPY.values(), ids=BY_SCAPY)
def test_what_scapy_writes(link: int, packet: Packet, kernels: Kernels) -> None:
    seen, _ = peel(bytes(packet), link, kernels)
    assert seen is not None
    assert (seen.source, seen.target) == (("192.0.2.1", 1025), ("198.51.100.7", 139))
    assert (seen.seq, seen.ack, seen.flags, seen.payload) == (0xFFFFFFF0, 7, 0x18, PAYLOAD)


# IPv4.


@pytest.mark.parametrize("words", range(11))
def test_ipv4_options(words: int, kernels: Kernels) -> None:
    assert payload_of(ethernet(ipv4(tcp(PAYLOAD), options=b"\x01" * 4 * words)), kernels=kernels) == PAYLOAD


@pytest.mark.parametrize("words", range(11))
def test_tcp_options(words: int, kernels: Kernels) -> None:
    assert payload_of(ethernet(ipv4(tcp(PAYLOAD, options=b"\x01" * 4 * words))), kernels=kernels) == PAYLOAD


@pytest.mark.parametrize("size", [11, 1_400, 64_000, 100_000])
def test_total_length_zero_is_left_to_the_network_card(size: int, kernels: Kernels) -> None:
    seen, _ = peel(ethernet(ipv4(tcp(bytes(size)), total=0)), kernels=kernels)
    assert seen is not None
    assert (len(seen.payload), seen.size) == (size, size)


def test_total_length_zero_of_a_cut_packet(kernels: Kernels) -> None:
    whole = ethernet(ipv4(tcp(bytes(1_000)), total=0))
    seen, _ = peel(whole[:100], kernels=kernels, size=len(whole))
    assert seen is not None
    assert (len(seen.payload), seen.size) == (46, 1_000)


@pytest.mark.parametrize("payload", [b"", b"ab", PAYLOAD])
def test_padding_of_short_frames_is_no_payload(payload: bytes, kernels: Kernels) -> None:
    for inner, kind in ((ipv4(tcp(payload)), 0x0800), (ipv6(tcp(payload)), ETHER_IPV6)):
        seen, _ = peel(ethernet(inner, kind) + b"\xee" * 12, kernels=kernels)
        assert seen is not None
        assert (seen.payload, seen.size) == (payload, len(payload))


@pytest.mark.parametrize("have", [0, 1, 5, 11])
def test_a_packet_cut_by_the_snap_length(have: int, kernels: Kernels) -> None:
    for whole in (ethernet(V4), ethernet(V6, ETHER_IPV6)):
        cut = whole[: len(whole) - len(PAYLOAD) + have]
        seen, counted = peel(cut, kernels=kernels, size=len(whole))
        assert seen is not None
        assert (seen.payload, seen.size) == (PAYLOAD[:have], len(PAYLOAD))
        assert counted == {p.C_TCP: 1}


@pytest.mark.parametrize(
    ("fragment", "counted"),
    [(0x4000, p.C_TCP), (0x8000, p.C_TCP), (0x2000, p.C_FRAGMENTS), (0x00B9, p.C_FRAGMENTS), (0x2001, p.C_FRAGMENTS)],
    ids=["do not fragment", "reserved bit", "first fragment", "last fragment", "middle fragment"],
)
def test_ipv4_fragments_are_counted(fragment: int, counted: int, kernels: Kernels) -> None:
    seen, counts = peel(ethernet(ipv4(tcp(bytes(12)), fragment=fragment)), kernels=kernels)
    assert counts == {counted: 1}
    assert (seen is not None) == (counted == p.C_TCP)


@pytest.mark.parametrize(
    ("data", "counted"),
    [
        (ethernet(ipv4(bytes(30), protocol=PROTO_UDP)), p.C_UDP),
        (ethernet(ipv6(bytes(30), following=PROTO_UDP), ETHER_IPV6), p.C_UDP),
        (ethernet(ipv4(bytes(30), protocol=1)), p.C_OTHER_IP),
        (ethernet(ipv6(bytes(30), following=58), ETHER_IPV6), p.C_OTHER_IP),
        (ethernet(ipv6(b"", following=59), ETHER_IPV6), p.C_OTHER_IP),
        (ethernet(bytes(28), 0x0806), p.C_NOT_IP),
        (ethernet(bytes(40), 38), p.C_NOT_IP),
        (ethernet(V4, 0x1234), p.C_NOT_IP),
        (ethernet(b"\x55" + V4[1:]), p.C_NOT_IP),
        (ethernet(V4)[:13], p.C_BAD),
        (ethernet(V4, tags=[ETHER_VLAN])[:17], p.C_BAD),
        (ethernet(V4)[: 14 + 19], p.C_BAD),
        (ethernet(V4)[: 14 + 20 + 19], p.C_BAD),
        (ethernet(V6, ETHER_IPV6)[: 14 + 39], p.C_BAD),
        (ethernet(V6, ETHER_IPV6)[: 14 + 40 + 19], p.C_BAD),
        (ethernet(b"\x44" + V4[1:]), p.C_BAD),
        (ethernet(ipv4(tcp(PAYLOAD), total=19)), p.C_BAD),
        (ethernet(ipv4(tcp(PAYLOAD), total=39)), p.C_BAD),
        (ethernet(ipv4(tcp(PAYLOAD)[:12] + b"\x40" + tcp(PAYLOAD)[13:])), p.C_BAD),
        (ethernet(ipv4(tcp(b"")[:12] + b"\xf0" + tcp(b"")[13:])), p.C_BAD),
    ],
    ids=[
        "UDP", "UDP on IPv6", "ICMP", "ICMPv6", "no next header", "ARP", "802.3 without SNAP", "unknown type",
        "IP version 5", "half an Ethernet header", "half a tag", "half an IPv4 header", "half a TCP header",
        "half an IPv6 header", "half a TCP header on IPv6", "header of 16 bytes", "total length 19",
        "total length without TCP", "TCP header of 16 bytes", "TCP header longer than the packet",
    ],
)  # fmt: skip
def test_what_is_no_tcp_is_counted(data: bytes, counted: int, kernels: Kernels) -> None:
    assert peel(data, kernels=kernels) == (None, {counted: 1})


@pytest.mark.parametrize(
    ("link", "data", "counted"),
    [
        (LINK_SLL, struct.pack(">HHH8sH", 0, 1, 6, bytes(8), 0x0806) + bytes(28), p.C_NOT_IP),
        (LINK_SLL, (struct.pack(">HHH8sH", 0, 1, 6, bytes(8), 0x0800) + V4)[:15], p.C_BAD),
        (LINK_SLL2, (struct.pack(">HHIHBB8s", 0x0800, 0, 3, 1, 0, 6, bytes(8)) + V4)[:19], p.C_BAD),
        (LINK_NULL, struct.pack("<I", 2), p.C_BAD),
        (LINK_PPP, bytes.fromhex("ff03c021") + bytes(20), p.C_NOT_IP),
        (LINK_PPP, b"\xff\x03\x00", p.C_BAD),
        (LINK_ETHERNET, ethernet(struct.pack(">BBHH", 0x11, 0x09, 0, 0) + bytes(40), 0x8864), p.C_NOT_IP),
        (LINK_WIRELESS, struct.pack("<H", 0x4008) + bytes(60), p.C_NOT_IP),
        (LINK_WIRELESS, struct.pack("<H", 0x0080) + bytes(60), p.C_NOT_IP),
        (LINK_WIRELESS, struct.pack("<H", 0x0048) + bytes(60), p.C_NOT_IP),
        (LINK_WIRELESS, struct.pack("<H", 0x0008) + bytes(20), p.C_BAD),
        (LINK_RADIOTAP, struct.pack("<BBHI", 0, 0, 60_000, 0) + bytes(60), p.C_BAD),
        (LINK_PKTAP, struct.pack("<III", 2**32 - 1, 1, 1) + bytes(60), p.C_BAD),
        (LINK_PKTAP, struct.pack("<III", 12, 1, 999) + bytes(60), p.C_UNKNOWN_LINK),
    ],
    ids=[
        "cooked ARP", "half a cooked header", "half a cooked header v2", "null alone", "PPP LCP", "three bytes of PPP",
        "PPPoE discovery", "802.11 protected", "802.11 beacon", "802.11 without data", "half an 802.11 header",
        "radiotap beyond the end", "PKTAP beyond the end", "PKTAP of an unknown link",
    ],
)  # fmt: skip
def test_what_is_no_ip_on_other_links_is_counted(link: int, data: bytes, counted: int, kernels: Kernels) -> None:
    assert peel(data, link, kernels) == (None, {counted: 1})


def test_an_unknown_link(kernels: Kernels) -> None:
    assert peel(V4, 147, kernels) == (None, {p.C_UNKNOWN_LINK: 1})


# IPv6.

EXTENDED: dict[str, Packet] = {
    "hop by hop": IPv6ExtHdrHopByHop(),
    "routing": IPv6ExtHdrRouting(addresses=["fd00::9", "fd00::8"]),
    "destination": IPv6ExtHdrDestOpt(),
    "atomic fragment": IPv6ExtHdrFragment(offset=0, m=0),
    "several": IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt(),
}
AUTHENTICATION = struct.pack(">BBHII12s", 6, 4, 0, 1, 1, bytes(12))
"""Next Header, length in words less 2, reserved, SPI, sequence number, ICV. [RFC 4302 2]"""


@pytest.mark.parametrize("extension", EXTENDED.values(), ids=EXTENDED)
def test_ipv6_extension_headers(extension: Packet, kernels: Kernels) -> None:
    packet = bytes(IPv6(src="2001:db8::1", dst="fe80::2") / extension / TCP(sport=1, dport=445) / Raw(PAYLOAD))
    seen, counted = peel(packet, LINK_RAW, kernels)
    assert counted == {p.C_TCP: 1}
    assert seen is not None
    assert (seen.source, seen.target) == (("2001:db8::1", 1), ("fe80::2", 445))
    assert (seen.payload, seen.size) == (PAYLOAD, len(PAYLOAD))


def test_ipv6_authentication_header(kernels: Kernels) -> None:
    """Its length counts words of 4 bytes, not of 8."""
    assert payload_of(ipv6(AUTHENTICATION + tcp(PAYLOAD), following=51), LINK_RAW, kernels) == PAYLOAD
    before = bytes([51, 0]) + bytes(6)
    assert payload_of(ipv6(before + AUTHENTICATION + tcp(PAYLOAD), following=0), LINK_RAW, kernels) == PAYLOAD


@pytest.mark.parametrize(("offset", "more"), [(0, 1), (185, 0), (185, 1)])
def test_ipv6_fragments_are_counted(offset: int, more: int, kernels: Kernels) -> None:
    packet = bytes(IPv6() / IPv6ExtHdrFragment(offset=offset, m=more) / TCP() / Raw(bytes(12)))
    assert peel(packet, LINK_RAW, kernels) == (None, {p.C_FRAGMENTS: 1})


def test_ipv6_payload_length_zero_is_left_to_the_network_card(kernels: Kernels) -> None:
    seen, _ = peel(ipv6(tcp(bytes(70_000)), size=0), LINK_RAW, kernels)
    assert seen is not None
    assert (len(seen.payload), seen.size) == (70_000, 70_000)


def test_more_extension_headers_than_are_followed(kernels: Kernels) -> None:
    chain = b"".join(bytes([60, 0]) + bytes(6) for _ in range(MAX_HEADERS + 1))
    seen, counted = peel(ipv6(chain, following=60), LINK_RAW, kernels)
    assert seen is None
    assert sum(counted.values()) == 1


def test_an_extension_header_that_ends_early(kernels: Kernels) -> None:
    packet = ipv6(bytes([6, 0]) + bytes(5), following=0)
    assert peel(packet, LINK_RAW, kernels) == (None, {p.C_BAD: 1})


# Many packets, and bytes of any kind.


def test_rows_stand_close_and_keep_their_frames(tmp_path: Path, kernels: Kernels) -> None:
    frames = [ethernet(V4), ethernet(bytes(28), 0x0806), ethernet(V6, ETHER_IPV6), b"", ethernet(V4)]
    read = read_bytes(tmp_path, pcap_file([Captured(START_NS, data) for data in frames]), kernels)
    assert [segment.frame for segment in read.segments] == [1, 3, 5]
    assert read.counts[p.C_TCP] == 3
    assert read.counts[p.C_NOT_IP] == 1
    assert read.counts[p.C_BAD] == 1


@given(
    link=st.sampled_from([row[0] for row in LINKS.values()] + [999]),
    data=st.one_of(
        st.binary(max_size=120),
        st.builds(lambda row, size, tail: row[1][:size] + tail, st.sampled_from(list(LINKS.values())),
                  st.integers(0, 120), st.binary(max_size=60)),
    ),
    more=st.integers(0, 100_000),
)  # fmt: skip
def test_any_bytes(link: int, data: bytes, more: int) -> None:
    seen, counted = peel(data, link, size=len(data) + more)
    assert sum(counted.values()) == 1
    assert (seen is not None) == (p.C_TCP in counted)
    if seen is not None:
        assert 0 <= len(seen.payload) <= seen.size
        assert seen.payload in data
    assert peel(data, link, size=len(data) + more, filling=0x60) == (seen, counted)


def test_every_link_that_is_read_has_a_name() -> None:
    assert {link for link, _ in LINKS.values()} == set(links.NAMES)
