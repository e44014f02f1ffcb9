"""Names, addresses, and the order of sources."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from analyzer.names.sightings import OWN_WORD, RANK, SOURCES, address_text, canonical, clean, machine


def test_sources_are_listed_once() -> None:
    assert len(RANK) == len(SOURCES)
    assert not OWN_WORD - set(RANK)


def test_the_users_word_counts_for_most_and_what_others_say_for_least() -> None:
    assert RANK["list"] == 0
    assert max(RANK[source] for source in OWN_WORD) < min(
        RANK[source] for source in ("dns", "dns.ptr", "netbios.called")
    )


def test_names_of_one_machine() -> None:
    assert machine("fs1.corp.example") == machine("FS1") == "FS1"
    assert machine("a-name-of-more-than-fifteen.example") == machine("A-NAME-OF-MORE-")


@pytest.mark.parametrize("text", ["10.0.0.1", "255.255.255.255", "fd00::1", "fe80::1", "::1"])
def test_addresses_from_two_halves(text: str) -> None:
    """The halves are signed numbers; IPv4 addresses are mapped into IPv6."""
    address = ip_address(text)
    number = int(address) + (0xFFFF00000000 if address.version == 4 else 0)
    high, low = (half - 2**64 if half >= 2**63 else half for half in (number >> 64, number % 2**64))
    assert address_text(high, low) == text


def test_spellings_of_addresses() -> None:
    assert canonical(" fe80::0:1%eth0 ") == "fe80::1"
    assert canonical("::ffff:10.0.0.1") == "10.0.0.1"
    assert canonical("fs1") is None


def test_cleaned_names() -> None:
    assert clean(b"FS1            \0\0") == "FS1"
    assert clean(b"fs1.corp.example.") == "fs1.corp.example"
    assert clean(b"b\xfcro") == "b\ufffdro"
    assert clean(b"B\x9aRO", "cp437") == "BÜRO"
