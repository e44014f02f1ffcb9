"""What was said about an address, by whom, and how much that is worth."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

SOURCES: tuple[tuple[str, bool, str], ...] = (
    # source, the host's own word, what it is
    ("list", False, "the user's own list"),
    ("ntlm.challenge", True, "the server's own names in its NTLM challenge"),
    ("dhcp", True, "the client's own name in DHCP, for the address that it got"),
    ("netbios.registration", True, "a name that the host registered, or defends"),
    ("netbios.status", True, "the host's answer to a node status request"),
    ("browser", True, "the host's announcement to the browser service"),
    ("netbios.datagram", True, "the sender's name in a NetBIOS datagram"),
    ("ntlm.workstation", True, "the client's own name in an NTLM login"),
    ("netbios.session_request", True, "the client's own name in a NetBIOS session request"),
    ("mdns", True, "the host's own answer by multicast DNS"),
    ("llmnr", True, "the host's own answer by LLMNR"),
    ("netbios.answer", False, "somebody's answer to a NetBIOS name query, such as a WINS server's"),
    ("pcapng", False, "name resolution that the capture file holds"),
    ("dns", False, "an address that a name server gave for the name"),
    ("dns.ptr", False, "a name that a name server gave for the address"),
    ("netbios.called", False, "the name that a client called the server by"),
)
"""Where names come from, the best first. What a host says of itself names one machine; what others say may be an alias."""

RANK = {source: rank for rank, (source, _, _) in enumerate(SOURCES)}
OWN_WORD = frozenset(source for source, is_own, _ in SOURCES if is_own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Something said about an address."""

    ip: str
    source: str  # one of SOURCES
    first_ns: int  # when it was said first and last; 0: no time
    last_ns: int
    name: str = ""  # empty: none
    os_hint: str = ""
    mac: int = -1
    identity: str = ""  # another name that the machine said with it, which stands for both; empty: the name itself


def machine(name: str) -> str:
    """What two names of one machine have in common: the first label, as NetBIOS writes it."""
    return name.partition(".")[0].upper()[:15]


def address_text(high: int, low: int) -> str:
    """An address from a 128-bit number in two signed halves."""
    address = IPv6Address(((high & 0xFFFFFFFF_FFFFFFFF) << 64) | (low & 0xFFFFFFFF_FFFFFFFF))
    return str(address.ipv4_mapped or address)


def canonical(text: str) -> str | None:
    """An address as the tables write it; None if it is none."""
    text = text.strip()
    if ":" not in text and not text[:1].isdigit():
        return None  # as nearly all names
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def clean(name: bytes | str, encoding: str = "utf-8") -> str:
    """A name without padding and the dot at its end. What cannot be decoded becomes U+FFFD."""
    text = name.decode(encoding, "replace") if isinstance(name, bytes) else name
    return text.partition("\0")[0].strip().rstrip(".")
