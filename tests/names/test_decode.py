"""Which datagrams are decoded, and that none of them can do harm."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.names import decode
from analyzer.names.decode import read_datagrams
from analyzer.records import DATAGRAM, DatagramKind, Rows
from tests import named
from tests.named import PTR, A, address, domain_name

HOST, OTHER, SERVER = "10.0.0.7", "10.0.0.8", "10.0.0.5"
ROOT = Path(__file__).parents[2]


def rows_of(*told: tuple[DatagramKind, str, bytes]) -> Rows:
    """Datagrams: kind, sender, payload; said at 1, 2, 3 ..."""
    rows = np.zeros(len(told), dtype=DATAGRAM)
    for place, (kind, sender, payload) in enumerate(told):
        row = rows[place : place + 1]
        row["kind"], row["payload"], row["mac"] = kind, payload, -1
        row["first_ns"], row["last_ns"] = place + 1, place + 1
        row["source_lo"] = 0xFFFF00000000 + int.from_bytes(address(sender), "big")
    return rows


REGISTRATION = (DatagramKind.NETBIOS_NAME, HOST, named.registration("WS7", 0, HOST))
ANNOUNCEMENT = (
    DatagramKind.NETBIOS_DATAGRAM,
    HOST,
    named.netbios_datagram(named.mailslot(named.announcement("WS7")), HOST, "WS7"),
)
ANSWER = (DatagramKind.DNS, SERVER, named.dns(("ws7.corp.example", A, address(HOST))))
POINTER = (DatagramKind.DNS, SERVER, named.dns(("7.0.0.10.in-addr.arpa", PTR, domain_name("ws7.corp.example"))))
ASKED = (DatagramKind.DHCP, "0.0.0.0", named.dhcp(named.REQUEST, (12, b"WS7")))
GRANTED = (DatagramKind.DHCP, SERVER, named.dhcp(named.ACK, your_ip=HOST))
EVERYTHING = (REGISTRATION, ANNOUNCEMENT, ANSWER, POINTER, ASKED, GRANTED)


def test_every_kind() -> None:
    heard = read_datagrams(rows_of(*EVERYTHING), {HOST})
    assert {one.source for one in heard.sightings} == {
        "netbios.registration", "netbios.datagram", "browser", "dns", "dns.ptr", "dhcp",
    }  # fmt: skip
    assert {one.ip for one in heard.sightings} == {HOST}
    assert {one.name for one in heard.sightings} == {"WS7", "ws7.corp.example"}
    assert (heard.unreadable, heard.dropped) == (0, 0)


def test_of_other_addresses_nothing_is_told() -> None:
    heard = read_datagrams(rows_of(*EVERYTHING), {OTHER})
    assert heard.sightings == []


def test_scapy_is_not_imported_for_them() -> None:
    """In a process of its own: the tests have it already."""
    script = (
        "import sys\n"
        "from tests.names.test_decode import *\n"
        "for name in [name for name in sys.modules if name.startswith('scapy')]: del sys.modules[name]\n"
        "read_datagrams(rows_of(*EVERYTHING), {OTHER})\n"
        "assert 'scapy' not in sys.modules\n"
        "read_datagrams(rows_of(ANSWER), {HOST})\n"
        "assert 'scapy' in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_scapy_says_nothing_and_its_settings_are_put_back(capfd: pytest.CaptureFixture[str]) -> None:
    import scapy.error  # noqa: F401, PLC0415

    before = logging.getLogger("scapy").level
    damaged = rows_of(
        (DatagramKind.DNS, SERVER, ANSWER[2][:20] + address(HOST)), (*ANNOUNCEMENT[:2], ANNOUNCEMENT[2][:90])
    )
    read_datagrams(damaged, {HOST})
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("scapy").level == before


def test_what_cannot_be_read_is_counted() -> None:
    damaged = bytearray(REGISTRATION[2])
    damaged[20] = 0xFF
    heard = read_datagrams(rows_of((*REGISTRATION[:2], bytes(damaged)), ANSWER), {HOST})
    assert heard.unreadable == 1
    assert [one.source for one in heard.sightings] == ["dns"]


def test_no_more_are_decoded_than_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the surest kinds come first."""
    monkeypatch.setattr(decode, "MAX_DECODED", 2)
    heard = read_datagrams(rows_of(ANSWER, POINTER, ASKED, GRANTED), {HOST})
    assert heard.dropped == 2
    assert {one.source for one in heard.sightings} == {"dhcp"}


@pytest.mark.parametrize("ip", ["10.0.0.7", "192.168.100.200", "fd00::7"])
def test_pointers_of_all_lengths(ip: str) -> None:
    zone = ip_address(ip).reverse_pointer
    payload = named.dns((zone.upper(), PTR, domain_name("ws7.corp.example")))
    heard = read_datagrams(rows_of((DatagramKind.DNS, SERVER, payload)), {ip})
    assert [(one.ip, one.name) for one in heard.sightings] == [(ip, "ws7.corp.example")]


@given(
    st.sampled_from(EVERYTHING),
    st.integers(0, 400),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255))),
    st.binary(max_size=30),
)
def test_damaged_datagrams(
    told: tuple[DatagramKind, str, bytes], cut: int, changes: list[tuple[int, int]], more: bytes
) -> None:
    """Whatever a datagram holds: sightings of the addresses that matter, or a count."""
    payload = bytearray(told[2][:cut] + more)
    for at, value in changes:
        if at < len(payload):
            payload[at] = value
    heard = read_datagrams(rows_of((told[0], told[1], bytes(payload))), {HOST})
    assert all(one.ip == HOST and isinstance(one.name, str) for one in heard.sightings)
