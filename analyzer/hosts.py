"""Which host an address was, and when: sightings to the table `hosts`.

An address is not a host for ever. Its time is cut where it changed hands: where one of its hardware addresses, or one of
the names that hosts give themselves, was not seen any more and another one came `CHANGES_HANDS` later. Where two came
closer together, or in turns, several machines were behind the address at a time (address translation, a terminal server,
a cluster): it is `shared`. These tell machines apart: hardware addresses; workstation names in NTLM logins, calling names in
NetBIOS session requests and servers' names in NTLM challenges; client GUIDs that come in turns (another GUID alone means
little, since many programs make one up for each run). A machine may well register or announce several names, and be
known by more, so those of other sources make no address shared.

In each interval the name of the best source holds (`names.sightings.SOURCES`); the others stand beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from analyzer import tables
from analyzer.groups import Groups
from analyzer.names.decode import read_datagrams
from analyzer.names.gathering import ANSWER, Gathered
from analyzer.names.listed import Listed
from analyzer.names.sightings import OWN_WORD, RANK, Sighting, address_text, canonical, clean, machine
from analyzer.records import DatagramKind
from analyzer.tables import TableSet

CHANGES_HANDS_NS = 600 * 1_000_000_000
"""An address that is given to another machine is out of use in between for longer than this."""
ADDRESSES_OF_A_CARD = 4
"""A hardware address with more IPv4 addresses is a router's and says nothing; IPv6 hosts have some more."""
ADDRESSES_OF_A_CARD_V6 = 16
TELLS_APART = frozenset({"ntlm.workstation", "netbios.session_request", "ntlm.challenge"})
CHANGES_WITH_HOST = OWN_WORD - {"mdns", "llmnr"}
OS_SOURCES = ("smb1", "ntlm.version", "browser", "dhcp")
"""Where hints at the system come from, the best first."""
HARDWARE = "hardware"
NO_NAMES = frozenset({"*", "*SMBSERVER", "LOCALHOST"})
"""What stands where a name should: a client that knows only the address calls the server `*SMBSERVER`."""
Ints = npt.NDArray[np.int64]
NO_GUID = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Guid:
    """A client GUID at an address, with the beginnings of its first and last connection."""

    first_ns: int
    last_ns: int


@dataclass(slots=True)
class Found:
    """The table, and what was counted on the way to it."""

    table: pa.Table
    counts: dict[str, int]


def find_hosts(
    rows: TableSet, site: str, gathered: Gathered, listed: Listed, captured: Iterable[tuple[str, str]] = ()
) -> Found:
    """The hosts of a site.

    rows: with `connections` and `sessions`. listed: the user's names. captured: addresses and names that capture files hold.
    """
    ends = rows.columns("connections", "client_ip", "server_ip").values()
    addresses = {text for codes in ends for code in np.unique(codes).tolist() if (text := rows.texts.text(code))}
    heard = read_datagrams(gathered.datagrams, addresses)
    sightings = [
        *heard.sightings,
        *_of_tables(rows),
        *_of_answers(gathered),
        *_of_hardware(gathered, addresses),
        *_of_lists(addresses, listed, captured),
    ]
    by_address: dict[str, list[Sighting]] = {}
    for sighting in sightings:
        if sighting.ip in addresses:
            by_address.setdefault(sighting.ip, []).append(sighting)
    guids = _guids(rows)
    made = [
        row | {"ip": ip, "site": site}
        for ip in sorted(by_address.keys() | guids.keys(), key=_in_order)
        for row in host_intervals(by_address.get(ip, []), guids.get(ip, ()))
    ]
    if any(not row["valid_from"] for row in made):
        _add_presence(made, rows)
    counts = {
        "datagrams_dropped": heard.dropped + gathered.dropped,
        "datagrams_unreadable": heard.unreadable,
        "addresses_shared": len({row["ip"] for row in made if row["shared"]}),
    }
    return Found(_table(made), counts)


def _add_presence(made: list[dict[str, Any]], rows: TableSet) -> None:
    """Where only lists without a time name an address, its connections say when it was there."""
    client, server, first, last = rows.columns(
        "connections", "client_ip", "server_ip", "first_seen", "last_seen"
    ).values()
    by_address = Groups(np.append(client, server))
    codes = np.append(client, server)[by_address.first].tolist()
    times = (by_address.least(np.append(first, first)).tolist(), by_address.most(np.append(last, last)).tolist())
    seen = dict(zip(codes, zip(*times, strict=True), strict=True))
    for row in made:
        if not row["valid_from"]:
            row["valid_from"], row["valid_to"] = seen.get(rows.texts.code(row["ip"]), (0, 0))


def _table(made: list[dict[str, Any]]) -> pa.Table:
    columns: dict[str, Any] = {
        name: [row[name] for row in made]
        for name in ("ip", "site", "name", "name_source", "other_names", "os_hint", "mac")
    }
    columns["shared"] = tables.bools(np.array([row["shared"] for row in made], dtype=bool))
    for name in ("valid_from", "valid_to"):
        columns[name] = tables.times(np.array([row[name] for row in made], dtype=np.int64))
    return tables.table("hosts", columns, len(made))


def _in_order(ip: str) -> tuple[int, int]:
    from ipaddress import ip_address  # noqa: PLC0415

    address = ip_address(ip)
    return address.version, int(address)


# Where sightings come from. #


def _grouped(rows: TableSet, table: str, address: str, value: str, time: str) -> Iterator[tuple[str, str, int, int]]:
    """Each pair of an address and a text that is there and not empty, with its first and last time."""
    columns = _pairs(rows, table, address, value, time, "")
    for one, other, first, last in zip(*[column.tolist() for column in columns], strict=True):
        yield rows.texts.values[one], rows.texts.values[other], first, last


def _pairs(rows: TableSet, table: str, address: str, value: str, time: str, nothing: str) -> tuple[Ints, ...]:
    """Codes of each pair of an address and a text that is there and is not `nothing`, with its first and last time."""
    ip, text, at = rows.columns(table, address, value, time).values()
    there = (ip >= 0) & (text >= 0) & (text != rows.texts.code(nothing)) & (at > 0)
    ip, text, at = ip[there], text[there], at[there]
    pairs = Groups(ip, text)
    return ip[pairs.first], text[pairs.first], pairs.least(at), pairs.most(at)


def _of_tables(rows: TableSet) -> Iterator[Sighting]:
    """What clients say of themselves in logins and session requests, and what they call servers."""
    names = (
        ("sessions", "client_ip", "workstation", "started", "ntlm.workstation"),
        ("connections", "client_ip", "netbios_calling", "first_seen", "netbios.session_request"),
        ("connections", "server_ip", "netbios_called", "first_seen", "netbios.called"),
    )
    for table, address, column, time, source in names:
        for ip, text, first, last in _grouped(rows, table, address, column, time):
            name = clean(text)
            if name and machine(name) not in NO_NAMES and canonical(name) is None:
                yield Sighting(ip=ip, source=source, name=name, first_ns=first, last_ns=last)
    hints = (("native_os", "smb1", "{}"), ("client_build", "ntlm.version", "NTLM version {}"))
    for column, source, words in hints:
        for ip, text, first, last in _grouped(rows, "sessions", "client_ip", column, "started"):
            yield Sighting(ip=ip, source=source, os_hint=words.format(text), first_ns=first, last_ns=last)


def _of_answers(gathered: Gathered) -> Iterator[Sighting]:
    """What servers say of themselves in answers to logins."""
    for answer, (first, last) in gathered.answers.items():
        told = dict(zip(ANSWER, answer, strict=True))
        ip = address_text(told["server_hi"], told["server_lo"])
        text = {name: gathered.texts.text(told[name]) or "" for name in ANSWER[2:]}
        names = [clean(text[name]) for name in ("netbios_computer", "dns_computer")]
        names = [name for name in names if name and machine(name) not in NO_NAMES]
        for name in names:
            yield Sighting(ip=ip, source="ntlm.challenge", name=name, identity=names[0], first_ns=first, last_ns=last)
        if text["native_os"] or text["native_lanman"]:
            system = " / ".join(filter(None, (text["native_os"], text["native_lanman"])))
            yield Sighting(ip=ip, source="smb1", os_hint=system, first_ns=first, last_ns=last)
        if text["build"]:
            hint = f"NTLM version {text['build']}"
            yield Sighting(ip=ip, source="ntlm.version", os_hint=hint, first_ns=first, last_ns=last)


def _of_hardware(gathered: Gathered, addresses: set[str]) -> Iterator[Sighting]:
    """Hardware addresses that frames came from, but for routers'."""
    seen = [
        (address_text(row["hi"], row["lo"]), row["mac"], row["first_ns"], row["last_ns"])
        for row in _as_dicts(gathered.hardware, ("hi", "lo", "mac", "first_ns", "last_ns"))
    ]
    senders = gathered.datagrams[(gathered.datagrams["mac"] >= 0) & (gathered.datagrams["kind"] != DatagramKind.DHCP)]
    for row in _as_dicts(senders, ("source_hi", "source_lo", "mac", "first_ns", "last_ns")):
        ip = address_text(row["source_hi"], row["source_lo"])
        seen.append((ip, row["mac"], row["first_ns"], row["last_ns"]))
    carried: dict[tuple[int, bool], set[str]] = {}
    for ip, mac, _, _ in seen:
        carried.setdefault((mac, ":" in ip), set()).add(ip)
    routers = {
        mac
        for (mac, is_v6), ips in carried.items()
        if len(ips) > (ADDRESSES_OF_A_CARD_V6 if is_v6 else ADDRESSES_OF_A_CARD)
    }
    for ip, mac, first, last in seen:
        if ip in addresses and mac not in routers:
            yield Sighting(ip=ip, source=HARDWARE, mac=mac, first_ns=first, last_ns=last)


def _as_dicts(rows: Any, names: Sequence[str]) -> Iterator[dict[str, int]]:
    for values in zip(*[rows[name].tolist() for name in names], strict=True):
        yield dict(zip(names, values, strict=True))


def _of_lists(addresses: set[str], listed: Listed, captured: Iterable[tuple[str, str]]) -> Iterator[Sighting]:
    """Names without a time: they hold for all of it."""
    for ip in addresses & listed.keys():
        for name in listed[ip]:
            yield Sighting(ip=ip, source="list", name=name, first_ns=0, last_ns=0)
    for address, text in captured:
        ip_, name = canonical(address), clean(text)
        if ip_ in addresses and name:
            yield Sighting(ip=ip_, source="pcapng", name=name, first_ns=0, last_ns=0)


def _guids(rows: TableSet) -> dict[str, list[Guid]]:
    """The client GUIDs of addresses where they might have come in turns: one of them was there for a while."""
    ip, _, first, last = _pairs(rows, "connections", "client_ip", "client_guid", "first_seen", NO_GUID)
    lasting = np.isin(ip, ip[last > first])
    found: dict[str, list[Guid]] = {}
    for code, begin, end in zip(ip[lasting].tolist(), first[lasting].tolist(), last[lasting].tolist(), strict=True):
        found.setdefault(rows.texts.values[code], []).append(Guid(begin, end))
    return {address: guids for address, guids in found.items() if len(guids) > 1}


# One address. #


def host_intervals(sightings: Sequence[Sighting], guids: Sequence[Guid] = ()) -> list[dict[str, Any]]:
    """The hosts that an address was, one after the other: the columns of `hosts` but for address and site."""
    timed = [sighting for sighting in sightings if sighting.first_ns > 0]
    cuts, together = _changes(timed)
    together += list(_in_turns(guids))
    bounds = [np.iinfo(np.int64).min, *cuts, np.iinfo(np.int64).max]
    made: list[dict[str, Any]] = []
    for begin, end in pairwise(bounds):
        here = [s for s in sightings if s.first_ns <= 0 or (s.first_ns < end and s.last_ns >= begin)]
        shared = any(first < end and last >= begin for first, last in together)
        if not here and not shared:
            continue
        row = _host(here, shared, begin, end)
        if not row["valid_from"] and shared:
            row["valid_from"] = min(first for first, _ in together)
            row["valid_to"] = max(last for _, last in together)
        if made and _is_same(made[-1], row):
            made[-1] = _host([*_of(sightings, made[-1], row)], False, made[-1]["valid_from"], end)
        else:
            made.append(row)
    return made


def _of(sightings: Sequence[Sighting], one: dict[str, Any], other: dict[str, Any]) -> Iterator[Sighting]:
    """The sightings within two adjacent intervals."""
    for sighting in sightings:
        if sighting.first_ns <= 0 or (sighting.first_ns <= other["valid_to"] and sighting.last_ns >= one["valid_from"]):
            yield sighting


def _is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """True for two intervals that seem to be one machine's, cut in two by what another source told late."""
    if one["shared"] or other["shared"] or not one["name"] or not other["name"]:
        return False
    same_card = one["mac"] is None or other["mac"] is None or one["mac"] == other["mac"]
    by_itself = one["name_source"] in OWN_WORD and other["name_source"] in OWN_WORD
    return same_card and by_itself and machine(one["name"]) == machine(other["name"])


def _changes(timed: Sequence[Sighting]) -> tuple[list[int], list[tuple[int, int]]]:
    """When an address changed hands, and during which times several machines were behind it."""
    spans: dict[str, dict[object, tuple[int, int]]] = {}
    for s in timed:
        identities: list[tuple[str, object]] = [(HARDWARE, s.mac)] if s.mac >= 0 else []
        if s.name and s.source in CHANGES_WITH_HOST:
            identities.append((s.source, machine(s.identity or s.name)))
        for source, identity in identities:
            of_source = spans.setdefault(source, {})
            first, last = of_source.get(identity, (s.first_ns, s.last_ns))
            of_source[identity] = (min(first, s.first_ns), max(last, s.last_ns))
    cuts: list[int] = []
    together: list[tuple[int, int]] = []
    for source, of_source in spans.items():
        begins, reaches, count = 0, 0, 0
        for first, last in sorted(of_source.values()):
            if count and first - reaches >= CHANGES_HANDS_NS:
                cuts.append(first)
                begins, reaches, count = first, last, 1
                continue
            begins = first if not count else begins
            reaches, count = max(reaches, last), count + 1
            if count > 1 and (source == HARDWARE or source in TELLS_APART):
                together.append((begins, reaches))
    return _one_a_change(sorted(cuts)), together


def _one_a_change(cuts: list[int]) -> list[int]:
    """Several sources tell of the same change within a short time: the first of them counts."""
    kept: list[int] = []
    for cut in cuts:
        if not kept or cut - kept[-1] >= CHANGES_HANDS_NS:
            kept.append(cut)
    return kept


def _in_turns(guids: Sequence[Guid]) -> Iterator[tuple[int, int]]:
    """Times in which one client GUID came, then another, then the first again."""
    reaches: Guid | None = None
    for guid in sorted(guids, key=lambda guid: guid.first_ns):
        if reaches is not None and reaches.first_ns < guid.first_ns < reaches.last_ns:
            yield reaches.first_ns, max(reaches.last_ns, guid.last_ns)
        if reaches is None or guid.last_ns > reaches.last_ns:
            reaches = guid


def _host(sightings: Sequence[Sighting], shared: bool, begin: int, end: int) -> dict[str, Any]:
    """One interval: the best name, the others, the system, the hardware address."""
    named = sorted(
        (s for s in sightings if s.name), key=lambda s: (RANK[s.source], "." not in s.name, -s.last_ns, s.name)
    )
    names = list(dict.fromkeys(s.name for s in named))
    ranked = sorted((s for s in sightings if s.os_hint), key=lambda s: (OS_SOURCES.index(s.source), -s.last_ns))
    # DHCP joins a name and a card, so it is the better witness; else the card that was seen last.
    cards = sorted((s for s in sightings if s.mac >= 0), key=lambda s: (s.source != "dhcp", -s.last_ns))
    firsts = [s.first_ns for s in sightings if s.first_ns > 0]
    lasts = [s.last_ns for s in sightings if s.first_ns > 0]
    # What was said before and after too (of a system, say) does not tell when this host came and went.
    inside = [time for time in firsts if time >= begin] or [begin] * bool(firsts)
    until = [time for time in lasts if time < end] or [end - 1] * bool(lasts)
    return {
        "name": names[0] if names else None,
        "name_source": named[0].source if named else None,
        "other_names": "|".join(names[1:]) if names else None,
        "os_hint": "; ".join(dict.fromkeys(s.os_hint for s in ranked)) or None,
        "mac": _mac_text(cards[0].mac) if cards else None,
        "shared": shared,
        "valid_from": min(inside, default=0),
        "valid_to": max(until, default=0),
    }


def _mac_text(mac: int) -> str:
    return ":".join(f"{octet:02x}" for octet in mac.to_bytes(6, "big"))
