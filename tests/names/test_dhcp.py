"""DHCP: a client's name and the address that it got, joined by its hardware address."""

from __future__ import annotations

import pytest

from analyzer.names.dhcp import Lease, join_leases, parse_dhcp
from analyzer.names.sightings import Sighting
from tests import named
from tests.named import ACK, CARD, DISCOVER, INFORM, NAK, OFFER, REQUEST, address, dhcp, domain_name

HOST = "10.0.0.7"
MAC = int.from_bytes(CARD, "big")
NAME, VENDOR = (12, b"WS7"), (60, b"MSFT 5.0")
WANTS = (50, address(HOST))


def lease(payload: bytes, at: int = 5) -> Lease:
    found = parse_dhcp(payload, at, at + 1)
    assert found is not None
    return found


def joined(*payloads: bytes) -> list[tuple[str, str, int, int]]:
    """Address, name, hardware address and time of the sightings of messages that came at 1, 2, 3 ..."""
    found: list[Sighting] = join_leases([lease(payload, at) for at, payload in enumerate(payloads, 1)])
    assert {one.source for one in found} <= {"dhcp"}
    return [(one.ip, one.name, one.mac, one.first_ns) for one in found]


def test_what_a_request_says() -> None:
    found = lease(dhcp(REQUEST, NAME, VENDOR, WANTS))
    assert (found.name, found.vendor, found.requested_ip, found.mac) == ("WS7", "MSFT 5.0", HOST, MAC)


@pytest.mark.parametrize(
    "option",
    [
        b"\0\0\0" + b"ws7.corp.example",
        b"\x04\0\0" + domain_name("ws7.corp.example"),
        b"\x04\0\0" + domain_name("ws7.corp.example")[:-1],
    ],
    ids=["ascii", "labels", "labels, partial"],
)
def test_a_full_name_counts_for_more(option: bytes) -> None:
    """[RFC 4702 2]"""
    assert lease(dhcp(REQUEST, NAME, (81, option))).name == "ws7.corp.example"


@pytest.mark.parametrize("option", [b"", b"\0\0\0", b"\x04\0\0\x09ab"])
def test_a_full_name_that_is_none(option: bytes) -> None:
    assert lease(dhcp(REQUEST, NAME, (81, option))).name == "WS7"


def test_other_hardware_is_passed_over() -> None:
    assert parse_dhcp(dhcp(REQUEST, NAME, hardware=32), 5, 6) is None


def test_the_server_says_which_address_it_is() -> None:
    found = joined(
        dhcp(DISCOVER, NAME), dhcp(OFFER, your_ip="10.0.0.9"), dhcp(REQUEST, NAME, WANTS), dhcp(ACK, your_ip=HOST)
    )
    assert found == [(HOST, "WS7", MAC, 3), (HOST, "WS7", MAC, 4)]


def test_the_answer_alone_names_the_card() -> None:
    assert joined(dhcp(ACK, your_ip=HOST)) == [(HOST, "", MAC, 1)]


def test_a_client_that_has_its_address() -> None:
    """It renews its lease, or wants to know more only. [RFC 2131 4.3.2, 4.3.5]"""
    assert joined(dhcp(REQUEST, NAME, client_ip=HOST)) == [(HOST, "WS7", MAC, 1)]
    assert joined(dhcp(INFORM, NAME, client_ip=HOST), dhcp(ACK)) == [(HOST, "WS7", MAC, 1)]


def test_a_request_that_was_refused() -> None:
    assert joined(dhcp(REQUEST, NAME, WANTS), dhcp(NAK)) == []


def test_a_request_whose_answer_was_not_captured() -> None:
    assert joined(dhcp(REQUEST, NAME, WANTS)) == [(HOST, "WS7", MAC, 1)]


def test_what_is_only_offered_or_asked_is_nobodys() -> None:
    assert joined(dhcp(DISCOVER, NAME, WANTS), dhcp(OFFER, your_ip=HOST)) == []


def test_the_name_that_the_client_had_then() -> None:
    found = joined(
        dhcp(REQUEST, (12, b"OLD"), WANTS), dhcp(ACK, your_ip=HOST),
        dhcp(REQUEST, (12, b"NEW"), WANTS), dhcp(ACK, your_ip=HOST),
    )  # fmt: skip
    assert [(name, at) for _, name, _, at in found] == [("OLD", 1), ("OLD", 2), ("NEW", 3), ("NEW", 4)]


def test_each_client_has_its_own_name() -> None:
    other = bytes.fromhex("020000000021")
    found = joined(
        dhcp(REQUEST, NAME, WANTS), dhcp(REQUEST, (12, b"WS8"), (50, address("10.0.0.8")), card=other),
        dhcp(ACK, your_ip="10.0.0.8", card=other), dhcp(ACK, your_ip=HOST),
    )  # fmt: skip
    assert {(ip, name) for ip, name, _, _ in found} == {(HOST, "WS7"), ("10.0.0.8", "WS8")}


def test_the_vendor_class_tells_the_system() -> None:
    found = join_leases([lease(named.dhcp(REQUEST, VENDOR, WANTS))])
    assert [one.os_hint for one in found] == ["DHCP vendor class MSFT 5.0"]
