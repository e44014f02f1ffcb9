"""The datagrams of an analysis to sightings: first those that cannot speak of an address that matters are passed over."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from analyzer.names.dhcp import Lease, join_leases, parse_dhcp
from analyzer.names.dns import parse_answer
from analyzer.names.netbios import parse_datagram, parse_name_service
from analyzer.names.quiet import quiet_scapy
from analyzer.names.sightings import Sighting, address_text
from analyzer.records import DatagramKind, Rows

MAX_DECODED = 4096
"""Datagrams that are decoded, those of the surest kinds first: scapy needs up to a millisecond for each."""

ORDER = (
    DatagramKind.DHCP,
    DatagramKind.NETBIOS_NAME,
    DatagramKind.NETBIOS_DATAGRAM,
    DatagramKind.MDNS,
    DatagramKind.LLMNR,
    DatagramKind.DNS,
    DatagramKind.DNS_PUBLIC,
)
V4_ZONE = b"\x07in-addr\x04arpa"
V6_ZONE = b"\x03ip6\x04arpa"


@dataclass(slots=True)
class Heard:
    """What datagrams said about the addresses that matter."""

    sightings: list[Sighting] = field(default_factory=list)
    unreadable: int = 0
    dropped: int = 0


def read_datagrams(rows: Rows, addresses: Set[str]) -> Heard:
    """What `records.DATAGRAM` rows say about these addresses. Scapy is imported only if one of them may say something."""
    heard = Heard()
    if not len(rows):
        return heard
    wanted = _Wanted(rows, addresses)
    places = {kind: place for place, kind in enumerate(ORDER)}
    mattering = [row for row in rows if wanted.may_be_in(row)]
    mattering.sort(key=lambda row: (places.get(row["kind"], len(ORDER)), row["first_ns"]))
    heard.dropped = max(0, len(mattering) - MAX_DECODED)
    if not mattering:
        return heard
    leases: list[Lease] = []
    found: list[Sighting] = []
    with quiet_scapy():
        for row in mattering[:MAX_DECODED]:
            try:
                found += _read(row, leases)
            except Exception:  # scapy raises whatever a hostile datagram makes it stumble over
                heard.unreadable += 1
    found += join_leases(leases)
    heard.sightings = [sighting for sighting in found if sighting.ip in addresses]
    return heard


def _read(row: Any, leases: list[Lease]) -> list[Sighting]:
    kind, payload, times = int(row["kind"]), row["payload"], (int(row["first_ns"]), int(row["last_ns"]))
    sender = address_text(int(row["source_hi"]), int(row["source_lo"]))
    if kind == DatagramKind.NETBIOS_NAME:
        return parse_name_service(payload, sender, *times)
    if kind == DatagramKind.NETBIOS_DATAGRAM:
        return parse_datagram(payload, sender, *times)
    if kind == DatagramKind.DHCP:
        lease = parse_dhcp(payload, *times)
        leases += [lease] if lease else []
        return []
    return parse_answer(payload, kind, sender, *times)


class _Wanted:
    """Whether a datagram may speak of one of some addresses: by its sender, or since it holds the address's last bytes."""

    def __init__(self, rows: Rows, addresses: Set[str]) -> None:
        self._addresses = addresses
        self._tails = {ip_address(text).packed[-4:] for text in addresses}
        self._pointers = {_labels(text) for text in addresses}
        self._clients: set[bytes] = set()
        """Hardware addresses that DHCP names together with one of the addresses."""
        for row in rows[rows["kind"] == DatagramKind.DHCP]:
            payload = row["payload"]
            if not self._tails.isdisjoint((payload[12:16], payload[16:20])) or self._is_in(payload[240:]):
                self._clients.add(payload[28:34])

    def may_be_in(self, row: Any) -> bool:
        kind, payload = row["kind"], row["payload"]
        if kind == DatagramKind.DHCP:
            # A name is said in one message and the address in another: those of a client belong together.
            return payload[28:34] in self._clients
        if kind in (DatagramKind.NETBIOS_NAME, DatagramKind.NETBIOS_DATAGRAM):
            sender = address_text(int(row["source_hi"]), int(row["source_lo"]))
            if sender in self._addresses:
                return True
        elif self._is_pointer(payload.lower()):
            return True
        return self._is_in(payload)

    def _is_pointer(self, payload: bytes) -> bool:
        """True if the name of one of the addresses stands in a reverse zone's."""
        for zone in (V4_ZONE, V6_ZONE):
            at = payload.find(zone)
            if at >= 0 and any(payload[max(0, at - size) : at] in self._pointers for size in (*range(8, 17), 64)):
                return True
        return False

    def _is_in(self, payload: bytes) -> bool:
        return any(payload[at : at + 4] in self._tails for at in range(len(payload) - 3))


def _labels(text: str) -> bytes:
    """An address in the labels of its reverse zone."""
    name = ip_address(text).reverse_pointer.removesuffix(".arpa").rpartition(".")[0]
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
