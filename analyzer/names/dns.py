"""DNS, multicast DNS and LLMNR: addresses of names, and names of addresses. [RFC 1035; RFC 6762; RFC 4795]"""

from __future__ import annotations

from ipaddress import IPv6Address

from analyzer.names.sightings import Sighting, canonical, clean
from analyzer.records import DatagramKind

TYPE_A = 1
TYPE_PTR = 12
TYPE_AAAA = 28
V4_ZONE = ".in-addr.arpa"
V6_ZONE = ".ip6.arpa"
OWN = {DatagramKind.MDNS: "mdns", DatagramKind.LLMNR: "llmnr"}


def parse_answer(payload: bytes, kind: int, sender: str, first_ns: int, last_ns: int) -> list[Sighting]:
    """The names that an answer gives to addresses. A record with no time to live is taken back. Scapy raises what it likes.

    kind: `records.DatagramKind`. What a host says of its own address counts for more than what others say.
    """
    from scapy.layers.dns import DNS, DNSRR  # noqa: PLC0415

    message = DNS(payload)
    found = []
    for record in [*_records(message.an), *_records(message.ar)]:
        if not isinstance(record, DNSRR) or record.ttl == 0:
            continue
        owner = clean(record.rrname)
        if record.type in (TYPE_A, TYPE_AAAA):
            ip, name, source = canonical(str(record.rdata)), owner, "dns"
        elif record.type == TYPE_PTR:
            ip, name, source = _address_of(owner), clean(record.rdata), "dns.ptr"
        else:
            continue
        if ip is None or not name:
            continue
        if kind in OWN and ip == sender:
            source = OWN[DatagramKind(kind)]
        found.append(Sighting(ip=ip, source=source, name=name, first_ns=first_ns, last_ns=last_ns))
    return found


def _records(section: object) -> list[object]:
    return list(section) if isinstance(section, list) else []


def _address_of(owner: str) -> str | None:
    """The address in the name of a reverse zone. [RFC 1035 3.5; RFC 3596 2.5]"""
    lower = owner.lower()
    if lower.endswith(V4_ZONE):
        return canonical(".".join(reversed(lower.removesuffix(V4_ZONE).split("."))))
    if lower.endswith(V6_ZONE):
        digits = "".join(reversed(lower.removesuffix(V6_ZONE).split(".")))
        if len(digits) == 32 and all(digit in "0123456789abcdef" for digit in digits):
            return canonical(str(IPv6Address(int(digits, 16))))
    return None
