"""Datagrams that name hosts, packed by hand from the protocol documents: DNS, DHCP, NetBIOS, browser announcements."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import ip_address

from tests import build
from tests.build import PROTO_UDP, packed

A, PTR, AAAA, CNAME = 1, 12, 28, 5
DISCOVER, OFFER, REQUEST, ACK, NAK, INFORM = 1, 2, 3, 5, 6, 8
NOWHERE = "0.0.0.0"
CARD = bytes.fromhex("020000000020")
Record = tuple[str, int, bytes]
"""Owner, type, data."""


def address(text: str) -> bytes:
    """An address in network order."""
    return ip_address(text).packed


def udp(payload: bytes, source: int, target: int, *, size: int = -1) -> bytes:
    """A datagram. size: what it claims as its length. [RFC 768]"""
    return (
        packed(
            ("source_port", "H", source),
            ("target_port", "H", target),
            ("length", "H", 8 + len(payload) if size < 0 else size),
            ("checksum", "H", 0),
            order=">",
        )
        + payload
    )


def framed(
    payload: bytes, source: int, target: int, sender: str = "10.0.0.5", receiver: str = "10.0.0.1", *, ttl: int = 64
) -> bytes:
    """A datagram in IPv4 in an Ethernet frame from 02:00:00:00:00:01."""
    packet = bytearray(build.ipv4(udp(payload, source, target), sender, receiver, protocol=PROTO_UDP))
    packet[8] = ttl
    return build.ethernet(bytes(packet))


# DNS. #


def domain_name(text: str) -> bytes:
    """A name in labels. [RFC 1035 3.1]"""
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".") if label) + b"\0"


def dns(
    *records: Record,
    question: tuple[str, int] | None = None,
    number: int = 0x1234,
    flags: int = 0x8180,
    ttl: int = 300,
    additional: int = 0,
) -> bytes:
    """An answer. additional: how many of the records, the last ones, are in the additional section. [RFC 1035 4.1]"""
    message = packed(
        ("id", "H", number),
        ("flags", "H", flags),
        ("qdcount", "H", 1 if question else 0),
        ("ancount", "H", len(records) - additional),
        ("nscount", "H", 0),
        ("arcount", "H", additional),
        order=">",
    )
    if question:
        message += domain_name(question[0]) + struct.pack(">HH", question[1], 1)
    for owner, kind, data in records:
        message += domain_name(owner) + packed(
            ("type", "H", kind), ("class", "H", 1), ("ttl", "I", ttl), ("rdlength", "H", len(data)), order=">"
        )
        message += data
    return message


# DHCP. #


def dhcp(
    kind: int,
    *options: tuple[int, bytes],
    card: bytes = CARD,
    client_ip: str = NOWHERE,
    your_ip: str = NOWHERE,
    number: int = 0x3903F326,
    seconds: int = 0,
    hardware: int = 1,
) -> bytes:
    """A message with its options: [RFC 2131 2; RFC 2132 9.6]."""
    from_server = kind in (OFFER, ACK, NAK)
    fixed = packed(
        ("op", "B", 2 if from_server else 1),
        ("htype", "B", hardware),
        ("hlen", "B", 6),
        ("hops", "B", 0),
        ("xid", "I", number),
        ("secs", "H", seconds),
        ("flags", "H", 0),
        ("ciaddr", "4s", address(client_ip)),
        ("yiaddr", "4s", address(your_ip)),
        ("siaddr", "4s", bytes(4)),
        ("giaddr", "4s", bytes(4)),
        ("chaddr", "16s", card),
        ("sname", "64s", b""),
        ("file", "128s", b""),
        ("cookie", "I", 0x63825363),
        order=">",
    )
    listed = [(53, bytes([kind])), *options]
    return fixed + b"".join(bytes([code, len(value)]) + value for code, value in listed) + b"\xff"


# NetBIOS. #


def registration(name: str, suffix: int, ip: str, *, group: bool = False, number: int = 1) -> bytes:
    """NAME REGISTRATION REQUEST. [RFC 1002 4.2.2]"""
    return (
        packed(
            ("name_trn_id", "H", number),
            ("flags", "H", 0x2910),  # opcode 5, RD, B
            ("qdcount", "H", 1),
            ("ancount", "H", 0),
            ("nscount", "H", 0),
            ("arcount", "H", 1),
            order=">",
        )
        + build.netbios_name(name, suffix)
        + struct.pack(">HH", 0x20, 1)
        + packed(
            ("rr_name", "H", 0xC00C),
            ("rr_type", "H", 0x20),
            ("rr_class", "H", 1),
            ("ttl", "I", 300_000),
            ("rdlength", "H", 6),
            ("nb_flags", "H", 0x8000 if group else 0),
            ("nb_address", "4s", address(ip)),
            order=">",
        )
    )


def name_answer(name: str, suffix: int, *ips: str, group: bool = False, flags: int = 0x8500) -> bytes:
    """POSITIVE NAME QUERY RESPONSE. [RFC 1002 4.2.13]"""
    entries = b"".join(struct.pack(">H", 0x8000 if group else 0) + address(ip) for ip in ips)
    return (
        packed(
            ("name_trn_id", "H", 1),
            ("flags", "H", flags),
            ("qdcount", "H", 0),
            ("ancount", "H", 1),
            ("nscount", "H", 0),
            ("arcount", "H", 0),
            order=">",
        )
        + build.netbios_name(name, suffix)
        + packed(
            ("rr_type", "H", 0x20), ("rr_class", "H", 1), ("ttl", "I", 0), ("rdlength", "H", len(entries)), order=">"
        )
        + entries
    )


def node_status(*names: tuple[str, int, int]) -> bytes:
    """NODE STATUS RESPONSE. names: name, suffix, flags. [RFC 1002 4.2.18]"""
    listed = b"".join(
        packed(("name", "15s", name.encode().ljust(15)), ("suffix", "B", suffix), ("flags", "H", flags), order=">")
        for name, suffix, flags in names
    )
    data = bytes([len(names)]) + listed + bytes(46)
    return (
        packed(
            ("name_trn_id", "H", 1),
            ("flags", "H", 0x8400),
            ("qdcount", "H", 0),
            ("ancount", "H", 1),
            ("nscount", "H", 0),
            ("arcount", "H", 0),
            order=">",
        )
        + build.netbios_name("*" + "\0" * 14, 0)
        + packed(("rr_type", "H", 0x21), ("rr_class", "H", 1), ("ttl", "I", 0), ("rdlength", "H", len(data)), order=">")
        + data
    )


def netbios_datagram(
    payload: bytes, sender: str, name: str, suffix: int = 0x20, *, to: str = "WORKGROUP", number: int = 1
) -> bytes:
    """DIRECT_GROUP DATAGRAM. [RFC 1002 4.4.2]"""
    names = build.netbios_name(name, suffix) + build.netbios_name(to, 0x1D)
    return (
        packed(
            ("msg_type", "B", 0x11),
            ("flags", "B", 0x0A),
            ("dgm_id", "H", number),
            ("source_ip", "4s", address(sender)),
            ("source_port", "H", 138),
            ("dgm_length", "H", len(names) + len(payload)),
            ("packet_offset", "H", 0),
            order=">",
        )
        + names
        + payload
    )


def mailslot(data: bytes, name: bytes = b"\\MAILSLOT\\BROWSE") -> bytes:
    """SMB_COM_TRANSACTION, mailslot write. [MS-MAIL 2.2.1]"""
    at = 32 + 1 + 34 + 2 + len(name) + 1
    header = packed(("protocol", "4s", b"\xffSMB"), ("command", "B", 0x25), ("rest", "27s", b""))
    words = packed(
        ("word_count", "B", 17),
        ("total_parameter_count", "H", 0),
        ("total_data_count", "H", len(data)),
        ("max_parameter_count", "H", 0),
        ("max_data_count", "H", 0),
        ("max_setup_count", "B", 0),
        ("reserved1", "B", 0),
        ("flags", "H", 0),
        ("timeout", "I", 1000),
        ("reserved2", "H", 0),
        ("parameter_count", "H", 0),
        ("parameter_offset", "H", at),
        ("data_count", "H", len(data)),
        ("data_offset", "H", at),
        ("setup_count", "B", 3),
        ("reserved3", "B", 0),
        ("setup", "6s", struct.pack("<HHH", 1, 1, 2)),
        ("byte_count", "H", len(name) + 1 + len(data)),
    )
    return header + words + name + b"\0" + data


def announcement(
    name: str, comment: str = "", *, version: Sequence[int] = (4, 0), kind: int = 0x9003, opcode: int = 0x01
) -> bytes:
    """HostAnnouncement, and those of the same form. [MS-BRWS 2.2.1]"""
    return (
        packed(
            ("opcode", "B", opcode),
            ("update_count", "B", 0),
            ("periodicity", "I", 720_000),
            ("server_name", "16s", name.encode("cp437")),
            ("os_version_major", "B", version[0]),
            ("os_version_minor", "B", version[1]),
            ("server_type", "I", kind),
            ("browser_version_major", "B", 15),
            ("browser_version_minor", "B", 1),
            ("signature", "H", 0xAA55),
        )
        + comment.encode("cp437")
        + b"\0"
    )
