"""DNS, multicast DNS and LLMNR answers."""

from __future__ import annotations

import pytest

from analyzer.names.dns import parse_answer
from analyzer.records import DatagramKind
from tests import named
from tests.named import AAAA, CNAME, PTR, A, address, domain_name

SERVER = "10.0.0.5"
HOST = "10.0.0.7"


def said(payload: bytes, kind: DatagramKind = DatagramKind.DNS, sender: str = SERVER) -> list[tuple[str, str, str]]:
    """Address, source and name of each."""
    found = parse_answer(payload, kind, sender, 5, 9)
    assert all((one.first_ns, one.last_ns) == (5, 9) for one in found)
    return [(one.ip, one.source, one.name) for one in found]


def test_addresses_of_a_name() -> None:
    payload = named.dns(
        ("fs1.corp.example", A, address(HOST)), ("fs1.corp.example", AAAA, address("fd00::7")),
        question=("fs1.corp.example", A),
    )  # fmt: skip
    assert said(payload) == [(HOST, "dns", "fs1.corp.example"), ("fd00::7", "dns", "fs1.corp.example")]


def test_behind_an_alias_the_host_has_its_own_name() -> None:
    payload = named.dns(
        ("intranet.corp.example", CNAME, domain_name("web3.corp.example")),
        ("web3.corp.example", A, address(HOST)),
        question=("intranet.corp.example", A),
    )
    assert said(payload) == [(HOST, "dns", "web3.corp.example")]


def test_additional_records_count_as_well() -> None:
    payload = named.dns(
        ("_ldap._tcp.corp.example", 33, bytes(6) + domain_name("dc1.corp.example")),
        ("dc1.corp.example", A, address(HOST)),
        additional=1,
    )
    assert said(payload) == [(HOST, "dns", "dc1.corp.example")]


@pytest.mark.parametrize(
    ("owner", "ip"),
    [
        ("7.0.0.10.in-addr.arpa", HOST),
        ("7.0.0.10.IN-ADDR.ARPA", HOST),
        ("7." + "0." * 27 + "0.0.d.f.ip6.arpa", "fd00::7"),
    ],
)
def test_names_of_an_address(owner: str, ip: str) -> None:
    assert said(named.dns((owner, PTR, domain_name("fs1.corp.example")))) == [(ip, "dns.ptr", "fs1.corp.example")]


@pytest.mark.parametrize("owner", ["0.0.10.in-addr.arpa", "x.0.0.10.in-addr.arpa", "7.ip6.arpa", "_smb._tcp.local"])
def test_other_pointers_name_no_address(owner: str) -> None:
    assert said(named.dns((owner, PTR, domain_name("fs1.corp.example")))) == []


@pytest.mark.parametrize(("kind", "source"), [(DatagramKind.MDNS, "mdns"), (DatagramKind.LLMNR, "llmnr")])
def test_what_a_host_says_of_itself(kind: DatagramKind, source: str) -> None:
    payload = named.dns(("printer7.local", A, address(HOST)))
    assert said(payload, kind, HOST) == [(HOST, source, "printer7.local")]
    assert said(payload, kind, "10.0.0.8") == [(HOST, "dns", "printer7.local")]


def test_a_record_that_is_taken_back() -> None:
    """[RFC 6762 10.1]"""
    assert said(named.dns(("printer7.local", A, address(HOST)), ttl=0), DatagramKind.MDNS, HOST) == []
