"""NetBIOS names: registrations, answers, node status, datagrams and announcements."""

from __future__ import annotations

import pytest

from analyzer.errors import DecodeError
from analyzer.names.netbios import parse_datagram, parse_name_service
from analyzer.names.sightings import Sighting
from tests import named

HOST = "10.0.0.7"


def said(found: list[Sighting]) -> list[tuple[str, str, str]]:
    """Address, source and name of each."""
    assert all((one.first_ns, one.last_ns) == (5, 9) for one in found)
    return [(one.ip, one.source, one.name) for one in found]


def of_service(payload: bytes, sender: str = HOST) -> list[tuple[str, str, str]]:
    return said(parse_name_service(payload, sender, 5, 9))


@pytest.mark.parametrize("suffix", [0x00, 0x20])
def test_a_host_registers_its_names(suffix: int) -> None:
    assert of_service(named.registration("WS7", suffix, HOST)) == [(HOST, "netbios.registration", "WS7")]


def test_a_name_of_fifteen_characters() -> None:
    assert of_service(named.registration("A23456789012345", 0, HOST)) == [
        (HOST, "netbios.registration", "A23456789012345")
    ]


@pytest.mark.parametrize("suffix", [0x03, 0x1B, 0x1D])
def test_other_suffixes_name_users_and_roles(suffix: int) -> None:
    """The messenger service registers the user's name as well."""
    assert of_service(named.registration("ALICE", suffix, HOST)) == []


def test_groups_are_no_hosts() -> None:
    assert of_service(named.registration("WORKGROUP", 0x00, HOST, group=True)) == []


def test_an_answer_of_the_host_itself_and_of_a_name_server() -> None:
    payload = named.name_answer("FS1", 0x20, HOST)
    assert of_service(payload) == [(HOST, "netbios.registration", "FS1")]
    assert of_service(payload, "10.0.0.5") == [(HOST, "netbios.answer", "FS1")]


def test_a_host_with_two_addresses() -> None:
    found = of_service(named.name_answer("FS1", 0x20, HOST, "10.1.0.7"))
    assert found == [(HOST, "netbios.registration", "FS1"), ("10.1.0.7", "netbios.answer", "FS1")]


def test_an_answer_for_a_group() -> None:
    assert of_service(named.name_answer("WORKGROUP", 0x00, HOST, group=True)) == []


def test_node_status() -> None:
    """Flags: 0x0400 active, 0x8000 group. [RFC 1002 4.2.18]"""
    names = [("FS1", 0x00, 0x0400), ("CORP", 0x00, 0x8400), ("ALICE", 0x03, 0x0400), ("FS1-ALIAS", 0x20, 0x0400)]
    assert of_service(named.node_status(*names)) == [
        (HOST, "netbios.status", "FS1"),
        (HOST, "netbios.status", "FS1-ALIAS"),
    ]


def test_a_name_that_is_not_half_ascii() -> None:
    payload = bytearray(named.registration("WS7", 0, HOST))
    payload[20] = ord("z")
    with pytest.raises(DecodeError):
        parse_name_service(bytes(payload), HOST, 5, 9)


def test_a_datagram_names_its_sender() -> None:
    payload = named.netbios_datagram(b"anything", HOST, "WS7", 0x00)
    assert said(parse_datagram(payload, HOST, 5, 9)) == [(HOST, "netbios.datagram", "WS7")]


def test_a_datagram_that_was_passed_on_names_whom_it_came_from() -> None:
    payload = named.netbios_datagram(b"", HOST, "WS7")
    assert said(parse_datagram(payload, "10.0.0.5", 5, 9)) == [(HOST, "netbios.datagram", "WS7")]


@pytest.mark.parametrize("opcode", [0x01, 0x0F])
def test_an_announcement(opcode: int) -> None:
    """A Windows NT 4 server with its comment; 0x9003: workstation, server, NT, NT server."""
    data = named.announcement("OLDFS", "Accounts", version=(4, 0), kind=0x9003 | 0x200, opcode=opcode)
    found = parse_datagram(named.netbios_datagram(named.mailslot(data), HOST, "OLDFS"), HOST, 5, 9)
    assert said(found) == [(HOST, "netbios.datagram", "OLDFS"), (HOST, "browser", "OLDFS")]
    assert found[1].os_hint == "announces version 4.0 (printq_server), 'Accounts'"


def test_an_announcement_of_a_workgroup_names_no_host() -> None:
    """DomainAnnouncement has the workgroup where others have the host. [MS-BRWS 2.2.3]"""
    data = named.announcement("WORKGROUP", "MASTER1", opcode=0x0C)
    found = parse_datagram(named.netbios_datagram(named.mailslot(data), HOST, "MASTER1", 0x00), HOST, 5, 9)
    assert said(found) == [(HOST, "netbios.datagram", "MASTER1")]


def test_other_mailslots_announce_nothing() -> None:
    payload = named.netbios_datagram(named.mailslot(bytes(20), b"\\MAILSLOT\\NET\\NETLOGON"), HOST, "WS7", 0x00)
    assert said(parse_datagram(payload, HOST, 5, 9)) == [(HOST, "netbios.datagram", "WS7")]
