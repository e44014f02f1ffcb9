"""DHCP: which hardware address has which name and got which address. [RFC 2131; RFC 2132; RFC 4702]

A client says its name when it asks, and the server says the address when it answers; the hardware address joins them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from analyzer.names.sightings import Sighting, clean
from analyzer.wire.enums import Code

ETHERNET = 1
FQDN_ENCODED = 0x04  # the E bit: labels as in DNS
NOWHERE = "0.0.0.0"


class MessageType(Code):
    """Option 53. [RFC 2132 9.6]"""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What a DHCP message says."""

    kind: MessageType
    mac: int
    client_ip: str  # ciaddr: the address that the client has
    your_ip: str  # yiaddr: the address that it is given
    requested_ip: str
    name: str
    vendor: str
    first_ns: int
    last_ns: int


def parse_dhcp(payload: bytes, first_ns: int, last_ns: int) -> Lease | None:
    """A DHCP message of an Ethernet host; None for BOOTP and other hardware. Scapy raises what it likes."""
    from scapy.layers.dhcp import BOOTP, DHCP  # noqa: PLC0415

    message = BOOTP(payload)
    if message.htype != ETHERNET or message.hlen != 6 or DHCP not in message:
        return None
    options: dict[str | int, bytes | int | str] = {}
    for option in message[DHCP].options:
        if isinstance(option, tuple) and len(option) > 1:
            options.setdefault(option[0], option[1])
    kind = options.get("message-type")
    if not isinstance(kind, int):
        return None
    return Lease(
        kind=MessageType(kind),
        mac=int.from_bytes(message.chaddr[:6], "big"),
        client_ip=str(message.ciaddr),
        your_ip=str(message.yiaddr),
        requested_ip=str(options.get("requested_addr", NOWHERE)),
        name=_fqdn(options.get("client_FQDN")) or _text(options.get("hostname")),
        vendor=_text(options.get("vendor_class_id")),
        first_ns=first_ns,
        last_ns=last_ns,
    )


def _text(value: object) -> str:
    return clean(value) if isinstance(value, bytes | str) else ""


def _fqdn(value: object) -> str:
    """The name in option 81, behind its flags and two reply codes. [RFC 4702 2]"""
    if not isinstance(value, bytes) or len(value) < 4:
        return ""
    name = value[3:]
    if not value[0] & FQDN_ENCODED:
        return clean(name)
    labels = []
    while name and name[0] and len(name) > name[0]:
        labels.append(name[1 : 1 + name[0]].decode("utf-8", "replace"))
        name = name[1 + name[0] :]
    return clean(".".join(labels))


def join_leases(leases: Iterable[Lease]) -> list[Sighting]:
    """Names and hardware addresses of the addresses that clients got, or have by their own word.

    A request counts without its answer, which may have been sent past the capture, unless it was refused.
    """
    by_mac: dict[int, list[Lease]] = {}
    for lease in sorted(leases, key=lambda lease: lease.first_ns):
        by_mac.setdefault(lease.mac, []).append(lease)
    return [sighting for mine in by_mac.values() for sighting in _of_one(mine)]


def _of_one(leases: list[Lease]) -> Iterable[Sighting]:
    """Of one hardware address, in the order of time."""
    refused = {lease.first_ns for lease in leases if lease.kind == MessageType.NAK}
    for place, lease in enumerate(leases):
        ip = NOWHERE
        if lease.kind == MessageType.ACK:
            ip = lease.your_ip if lease.your_ip != NOWHERE else lease.client_ip
        elif lease.kind in (MessageType.REQUEST, MessageType.INFORM):
            ip = lease.client_ip
            if ip == NOWHERE and not any(time >= lease.first_ns for time in refused):
                ip = lease.requested_ip
        if ip == NOWHERE:
            continue
        yield Sighting(
            ip=ip,
            source="dhcp",
            name=_nearest(leases, place, "name"),
            os_hint=_vendor(_nearest(leases, place, "vendor")),
            mac=lease.mac,
            first_ns=lease.first_ns,
            last_ns=lease.last_ns,
        )


def _nearest(leases: list[Lease], place: int, field: str) -> str:
    """What the client said last before, else next after."""
    ordered = [*leases[place::-1], *leases[place + 1 :]]
    return next((text for lease in ordered if (text := str(getattr(lease, field)))), "")


def _vendor(vendor: str) -> str:
    return f"DHCP vendor class {vendor}" if vendor else ""
