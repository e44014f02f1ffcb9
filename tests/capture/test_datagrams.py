"""Datagrams that may name hosts, and hardware addresses: what is set aside, what is kept, and the bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.capture import datagrams
from analyzer.capture import packets as p
from analyzer.capture.datagrams import Overheard, nothing_overheard
from analyzer.capture.inputs import CaptureSequence, Input
from analyzer.compiled import Kernels, plain_kernels
from analyzer.records import DatagramKind
from tests import build, named
from tests.build import (
    ETHER_IPV6,
    ETHER_VLAN,
    LINK_ETHERNET,
    LINK_RAW,
    PROTO_UDP,
    START_NS,
    SYN,
    ethernet,
    ipv4,
    ipv6,
    tcp,
)
from tests.build import Packet as Captured
from tests.capture.reading import no_counts
from tests.named import CARD, PTR, A, address, domain_name, framed

HOST = "10.0.0.7"
ANSWER = named.dns(("fs1.corp.example", A, address(HOST)), question=("fs1.corp.example", A))
REGISTRATION = named.registration("WS7", 0, HOST)
ANNOUNCEMENT = named.netbios_datagram(named.mailslot(named.announcement("WS7")), HOST, "WS7")
SENDER_MAC = 0x020000000001


def heard(folder: Path, *frames: bytes, kernels: Kernels | None = None, link: int = LINK_ETHERNET) -> Overheard:
    """What is kept of a capture of these frames, one a second."""
    path = folder / "capture.pcap"
    path.write_bytes(
        build.pcap([Captured(START_NS + at * 10**9, frame) for at, frame in enumerate(frames)], nano=True, link=link)
    )
    form = kernels or plain_kernels()
    sequence = CaptureSequence([(0, Input(str(path), ""))], 0, lambda: form, no_counts())
    for block in sequence.blocks():
        form.note_hardware(
            block.step.buffer, block.step.packets, block.segments, len(block.segments), sequence.overheard
        )
    return sequence.overheard


def kept(overheard: Overheard) -> list[tuple[int, int, bytes]]:
    """Kind, frame and payload of each."""
    rows = overheard.rows[: overheard.state[datagrams.S_ROWS]].tolist()
    return [
        (
            row[datagrams.N_KIND],
            row[datagrams.N_FRAME],
            overheard.arena[row[datagrams.N_AT] : row[datagrams.N_AT] + row[datagrams.N_SIZE]].tobytes(),
        )
        for row in rows
    ]


def test_kinds_are_those_of_the_records() -> None:
    assert {kind.name: kind.value for kind in DatagramKind} == {
        name: getattr(datagrams, name) for name in DatagramKind.__members__
    }


KINDS: dict[str, tuple[int, bytes, int, int]] = {
    "registration": (DatagramKind.NETBIOS_NAME, REGISTRATION, 137, 137),
    "name answer": (DatagramKind.NETBIOS_NAME, named.name_answer("FS1", 0x20, HOST), 137, 49_000),
    "node status": (DatagramKind.NETBIOS_NAME, named.node_status(("FS1", 0, 0x0400)), 137, 137),
    "announcement": (DatagramKind.NETBIOS_DATAGRAM, ANNOUNCEMENT, 138, 138),
    "DHCP request": (DatagramKind.DHCP, named.dhcp(named.REQUEST), 68, 67),
    "DHCP answer": (DatagramKind.DHCP, named.dhcp(named.ACK, your_ip=HOST), 67, 68),
    "DHCP, relayed": (DatagramKind.DHCP, named.dhcp(named.REQUEST), 67, 67),
    "DNS": (DatagramKind.DNS, ANSWER, 53, 49_000),
    "DNS, pointer": (DatagramKind.DNS, named.dns(("7.0.0.10.in-addr.arpa", PTR, domain_name("fs1"))), 53, 49_000),
    "DNS, IPv6": (DatagramKind.DNS, named.dns(("fs1", 28, address("fd00::7"))), 53, 49_000),
    "DNS, public": (DatagramKind.DNS_PUBLIC, named.dns(("www.example", A, address("192.0.2.1"))), 53, 49_000),
    "DNS, public IPv6": (DatagramKind.DNS_PUBLIC, named.dns(("www.example", 28, address("2001:db8::1"))), 53, 49_000),
    "mDNS": (DatagramKind.MDNS, named.dns(("p7.local", A, address(HOST)), flags=0x8400), 5353, 5353),
    "LLMNR": (DatagramKind.LLMNR, named.dns(("ws7", A, address(HOST)), flags=0x8000), 5355, 49_000),
}
NOBODY: dict[str, tuple[bytes, int, int]] = {
    "DNS question": (named.dns(question=("fs1", A), flags=0x0100), 49_000, 53),
    "no such name": (named.dns(question=("fs1", A), flags=0x8183), 53, 49_000),
    "empty answer": (named.dns(question=("fs1", A)), 53, 49_000),
    "NetBIOS question": (b"\0\1\1\x10" + bytes(40), 137, 137),
    "refused registration": (named.name_answer("WS7", 0, HOST, flags=0xAD86), 137, 137),
    "BOOTP": (named.dhcp(named.REQUEST)[:236] + bytes(64), 68, 67),
    "datagram error": (b"\x13" + ANNOUNCEMENT[1:], 138, 138),
    "another port": (ANSWER, 54, 49_000),
    "too short": (b"\0" * 11, 53, 49_000),
}


@pytest.mark.parametrize(("kind", "payload", "source", "target"), KINDS.values(), ids=KINDS)
def test_what_is_kept(kind: int, payload: bytes, source: int, target: int, tmp_path: Path, kernels: Kernels) -> None:
    found = heard(tmp_path, framed(payload, source, target), kernels=kernels)
    assert kept(found) == [(kind, 1, payload)]
    assert found.state[datagrams.S_DROPPED] == found.state[datagrams.S_CUT] == 0


@pytest.mark.parametrize(("payload", "source", "target"), NOBODY.values(), ids=NOBODY)
def test_what_names_nobody(payload: bytes, source: int, target: int, tmp_path: Path, kernels: Kernels) -> None:
    assert kept(heard(tmp_path, framed(payload, source, target), kernels=kernels)) == []


@pytest.mark.parametrize("ip", ["10.1.2.3", "172.16.0.1", "172.31.9.9", "192.168.1.1", "169.254.3.4", "100.64.0.1"])
def test_addresses_of_private_networks(ip: str, tmp_path: Path) -> None:
    [(kind, _, _)] = kept(heard(tmp_path, framed(named.dns(("fs1", A, address(ip))), 53, 49_000)))
    assert kind == DatagramKind.DNS


@pytest.mark.parametrize("ip", ["11.0.0.1", "172.15.0.1", "172.32.0.1", "192.169.0.1", "100.128.0.1", "8.8.8.8"])
def test_other_addresses(ip: str, tmp_path: Path) -> None:
    [(kind, _, _)] = kept(heard(tmp_path, framed(named.dns(("fs1", A, address(ip))), 53, 49_000)))
    assert kind == DatagramKind.DNS_PUBLIC


ANSWER_AGAIN = named.dns(("fs1.corp.example", A, address(HOST)), question=("fs1.corp.example", A), number=9, ttl=7)
AGAIN: dict[str, tuple[bytes, bytes, int, int]] = {
    "DNS": (ANSWER, ANSWER_AGAIN, 53, 49_000),
    "NetBIOS": (REGISTRATION, named.registration("WS7", 0, HOST, number=9), 137, 137),
    "announcement": (
        ANNOUNCEMENT, named.netbios_datagram(named.mailslot(named.announcement("WS7")), HOST, "WS7", number=9), 138, 138,
    ),
    "DHCP": (named.dhcp(named.REQUEST), named.dhcp(named.REQUEST, number=9, seconds=3), 68, 67),
}  # fmt: skip


@pytest.mark.parametrize(("first", "again", "source", "target"), AGAIN.values(), ids=AGAIN)
def test_the_same_again_moves_the_time_only(
    first: bytes, again: bytes, source: int, target: int, tmp_path: Path, kernels: Kernels
) -> None:
    found = heard(tmp_path, framed(first, source, target), framed(again, source, target), kernels=kernels)
    assert [(frame, payload) for _, frame, payload in kept(found)] == [(1, first)]
    times = found.rows[0, [datagrams.N_FIRST, datagrams.N_LAST]].tolist()
    assert times == [START_NS, START_NS + 10**9]


def test_other_words_are_kept(tmp_path: Path) -> None:
    """Another name, another address, another sender."""
    frames = [
        framed(named.registration("WS7", 0, HOST), 137, 137),
        framed(named.registration("WS8", 0, HOST), 137, 137),
        framed(named.registration("WS7", 0, "10.0.0.8"), 137, 137),
        framed(named.registration("WS7", 0, HOST), 137, 137, "10.0.0.9"),
    ]
    assert [frame for _, frame, _ in kept(heard(tmp_path, *frames))] == [1, 2, 3, 4]


def test_a_host_that_says_much(tmp_path: Path, kernels: Kernels) -> None:
    """`MAX_OF_SENDER` of a kind of a host; others are not crowded out."""
    frames = [
        framed(named.registration(f"N{number}", 0, HOST), 137, 137, HOST)
        for number in range(datagrams.MAX_OF_SENDER + 5)
    ]
    found = heard(
        tmp_path, *frames, framed(named.registration("WS8", 0, "10.0.0.8"), 137, 137, "10.0.0.8"), kernels=kernels
    )
    assert len(kept(found)) == datagrams.MAX_OF_SENDER + 1
    assert found.state[datagrams.S_DROPPED] == 5


def test_a_card_that_asks_much(tmp_path: Path) -> None:
    """DHCP clients have no address yet, so the hardware address counts."""
    many = datagrams.MAX_OF_SENDER + 5
    frames = [framed(named.dhcp(named.REQUEST, (12, b"N%d" % number)), 68, 67, "0.0.0.0") for number in range(many)]
    other = framed(named.dhcp(named.REQUEST, (12, b"WS8"), card=CARD[::-1]), 68, 67, "0.0.0.0")
    found = heard(tmp_path, *frames, other)
    assert len(kept(found)) == datagrams.MAX_OF_SENDER + 1
    assert found.state[datagrams.S_DROPPED] == 5


def test_the_web_does_not_crowd_out_the_rest(tmp_path: Path) -> None:
    many = datagrams.MAX_OF_KIND + 5
    public = [framed(named.dns((f"n{number}.example", A, address("192.0.2.1"))), 53, 49_000) for number in range(many)]
    found = heard(tmp_path, *public, framed(ANSWER, 53, 49_000))
    assert found.state[datagrams.S_DROPPED] == 5
    assert kept(found)[-1] == (DatagramKind.DNS, many + 1, ANSWER)


def test_what_is_too_long_or_cut_off_is_counted(tmp_path: Path) -> None:
    text = bytes([255]) * 255
    long = named.dns(*[("fs1", 16, text)] * 7, ("fs1", A, address(HOST)))
    assert len(long) > datagrams.MAX_SIZE
    whole = ethernet(ipv4(named.udp(ANSWER, 53, 49_000), protocol=PROTO_UDP))
    path = tmp_path / "c.pcap"
    path.write_bytes(
        build.pcap([Captured(START_NS, whole[:-4], size=len(whole)), Captured(START_NS, framed(long, 53, 9))])
    )
    sequence = CaptureSequence([(0, Input(str(path), ""))], 0, plain_kernels, no_counts())
    list(sequence.blocks())
    assert kept(sequence.overheard) == []
    assert sequence.overheard.state[datagrams.S_CUT] == 1
    assert sequence.overheard.state[datagrams.S_DROPPED] == 1


@pytest.mark.parametrize("size", [0, 7, 4000], ids=["nothing", "less than its header", "more than there is"])
def test_a_length_that_cannot_be(size: int, tmp_path: Path) -> None:
    frame = ethernet(ipv4(named.udp(ANSWER, 53, 49_000, size=size), protocol=PROTO_UDP))
    assert kept(heard(tmp_path, frame)) == []


def test_segments_and_datagrams_do_not_get_in_each_others_way(tmp_path: Path, kernels: Kernels) -> None:
    """They share a table: a full block of both."""
    frames = []
    for number in range(300):
        frames.append(ethernet(ipv4(tcp(b"%d" % number, seq=number))))
        frames.append(framed(named.dns((f"n{number}", A, address(HOST))), 53, 49_000))
    path = tmp_path / "c.pcap"
    path.write_bytes(build.pcap([Captured(START_NS, frame) for frame in frames]))
    counts = no_counts()
    sequence = CaptureSequence([(0, Input(str(path), ""))], 0, lambda: kernels, counts)
    seqs = [seq for block in sequence.blocks() for seq in block.segments[:, p.T_SEQ].tolist()]
    assert seqs == list(range(300))
    assert [frame for _, frame, _ in kept(sequence.overheard)] == list(range(2, 602, 2))
    assert counts[p.C_DATAGRAMS] == counts[p.C_UDP] == 300


@given(st.binary(max_size=120), st.sampled_from([53, 137, 138, 67, 5353, 5355]))
def test_any_bytes(data: bytes, port: int) -> None:
    """The kernels read nothing outside a datagram: what follows it in the buffer changes nothing."""
    outcomes = []
    for filling in (0x00, 0xC0):
        for front in (b"", ANSWER[:12], named.dhcp(3)[:240]):
            payload = front + data
            buffer = np.frombuffer(payload + bytes([filling]) * 600, np.uint8).copy()
            segments = np.zeros((1, p.T_WIDTH), dtype=np.int64)
            segments[0, [p.T_SRC_PORT, p.T_DST_PORT, p.T_SIZE, p.T_HAVE]] = (port, port, len(payload), len(payload))
            segments[0, p.T_ACK] = LINK_RAW
            overheard = nothing_overheard()
            plain_kernels().keep_datagrams(buffer, segments, 1, overheard)
            outcomes.append((kept(overheard), overheard.rows[0].tolist()))
    assert outcomes[:3] == outcomes[3:]


# Hardware addresses. #


def hardware(overheard: Overheard) -> list[tuple[int, int]]:
    """The last part of the address, and the hardware address."""
    table = overheard.hardware
    return sorted(
        (int(row[datagrams.H_LO]) & 0xFFFF, int(row[datagrams.H_MAC]) - 1) for row in table if row[datagrams.H_MAC]
    )


def test_a_connections_cards(tmp_path: Path, kernels: Kernels) -> None:
    frames = [
        ethernet(ipv4(tcp(flags=SYN))),
        ethernet(ipv4(tcp(flags=SYN, source=445, target=49_152), "10.0.0.2", "10.0.0.1"), tags=[ETHER_VLAN]),
        ethernet(ipv6(tcp(flags=SYN), "fd00::9"), ETHER_IPV6),
    ]
    assert hardware(heard(tmp_path, *frames, kernels=kernels)) == [(1, SENDER_MAC), (2, SENDER_MAC), (9, SENDER_MAC)]


def with_ttl(ttl: int) -> bytes:
    packet = bytearray(ipv4(tcp(flags=SYN)))
    packet[8] = ttl
    return bytes(packet)


@pytest.mark.parametrize("ttl", [32, 64, 128, 255])
def test_packets_that_passed_no_router(ttl: int, tmp_path: Path) -> None:
    assert hardware(heard(tmp_path, ethernet(with_ttl(ttl)))) == [(1, SENDER_MAC)]


@pytest.mark.parametrize("ttl", [1, 63, 127, 254])
def test_packets_that_a_router_passed_on(ttl: int, tmp_path: Path) -> None:
    assert hardware(heard(tmp_path, ethernet(with_ttl(ttl)))) == []


def test_no_card_without_ethernet(tmp_path: Path) -> None:
    assert hardware(heard(tmp_path, ipv4(tcp(flags=SYN)), link=LINK_RAW)) == []


def test_no_card_of_zeros_or_of_a_group(tmp_path: Path) -> None:
    """The loopback device writes zeros."""
    frame = ethernet(ipv4(tcp(flags=SYN)))
    frames = [frame[:6] + bytes(6) + frame[12:], frame[:6] + b"\x01" + frame[7:]]
    assert hardware(heard(tmp_path, *frames)) == []


def test_a_connection_without_a_beginning(tmp_path: Path) -> None:
    """The first segment of each block, and then every so-manieth, is looked at."""
    frames = [ethernet(ipv4(tcp(b"data", seq=number))) for number in range(3)]
    assert hardware(heard(tmp_path, *frames)) == [(1, SENDER_MAC)]


def test_the_time_of_a_card(tmp_path: Path) -> None:
    frames = [ethernet(ipv4(tcp(flags=SYN)))] * 3
    table = heard(tmp_path, *frames).hardware
    row = table[table[:, datagrams.H_MAC] > 0][0]
    assert row[[datagrams.H_FIRST, datagrams.H_LAST]].tolist() == [START_NS, START_NS + 2 * 10**9]


def test_more_addresses_than_there_is_room_for(tmp_path: Path) -> None:
    frames = [
        ethernet(ipv4(tcp(flags=SYN), f"10.{number >> 8}.{number & 255}.1"))
        for number in range(datagrams.HARDWARE + 50)
    ]
    found = heard(tmp_path, *frames)
    assert len(hardware(found)) + found.state[datagrams.S_HARDWARE_FULL] == len(frames)
    assert found.state[datagrams.S_HARDWARE_FULL] >= 50
