"""Which host an address was, and when: sightings to the table `hosts`.

An address is not a host for ever. Its time is cut where it changed hands: where one of its hardware addresses, or one of
the names that hosts give themselves, was not seen any more and another one came `CHANGES_HANDS` later. Where two came
closer together, or in turns, several machines were behind the address at a time (address translation, a terminal server,
a cluster): it is `shared`. These tell machines apart: hardware addresses; workstation names in NTLM logins, calling names in
NetBIOS session requests and servers' names in NTLM challenges; client GUIDs that come in turns (another GUID alone means
little, since many programs make one up for each run). A machine may well register or announce several names, and be
known by more, so those of other sources make no address shared.

In each interval the name of the best source holds (`names.sightings.SOURCES`); the others stand beside it.

All is done for all addresses at once, in columns of numbers: captures of a large network have thousands of addresses, and
tens of thousands of sightings.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from analyzer import tables
from analyzer.groups import Groups, Numbers, ascending, combined, looked_up, places
from analyzer.names.decode import read_datagrams
from analyzer.names.gathering import ANSWER, Gathered
from analyzer.names.listed import Listed
from analyzer.names.sightings import OWN_WORD, RANK, Sighting, address_text, canonical, clean, machine
from analyzer.records import DatagramKind
from analyzer.sessions.joins import NONE, Ints, Rows
from analyzer.tables import TableSet
from analyzer.wire.texts import Texts

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
NO_GUID = "00000000-0000-0000-0000-000000000000"
EVER, NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max

SOURCES = (*RANK, *(source for source in (*OS_SOURCES, HARDWARE) if source not in RANK))
"""All sources of sightings; the place of one that names hosts is its rank."""
PLACE = {source: place for place, source in enumerate(SOURCES)}

SIGHTING = np.dtype(
    [
        ("at", "i8"),  #        place of the address among those that matter
        ("source", "i8"),  #    place in SOURCES
        ("first_ns", "i8"),  #  when it was said first and last; 0: no time
        ("last_ns", "i8"),
        ("name", "i8"),  #      codes of texts, NONE: none
        ("identity", "i8"),  #  another name that the machine said with it; NONE: the name itself
        ("os_hint", "i8"),
        ("mac", "i8"),
    ]
)
"""`names.sightings.Sighting` in numbers."""

SPAN = np.dtype([("at", "i8"), ("first_ns", "i8"), ("last_ns", "i8")])
"""A time of an address."""

WINDOW = np.dtype(
    [
        ("at", "i8"),
        ("begin", "i8"),  #   the interval is within these; the end does not belong to it
        ("end", "i8"),
        ("since", "i8"),  #   sightings count that were made within these; both belong to them
        ("until", "i8"),
        ("shared", "?"),
    ]
)
"""The time of an address in which it was one host."""

HOST = np.dtype(
    [
        ("at", "i8"),
        ("name", "i8"),
        ("source", "i8"),
        ("mac", "i8"),
        ("valid_from", "i8"),
        ("valid_to", "i8"),
        ("shared", "?"),
    ]
)
"""A row of the table: `NONE` is missing, of times 0."""


@dataclass(slots=True)
class Found:
    """The table, and what was counted on the way to it."""

    table: pa.Table
    counts: dict[str, int]


class Addresses:
    """The addresses that matter, IPv4 before IPv6 and by number. All else knows them by their places in this order."""

    def __init__(self, texts: Iterable[str], pool: Texts) -> None:
        packed = {text: socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text) for text in texts}
        self.texts = sorted(packed, key=lambda text: (len(packed[text]), packed[text]))
        self.place = {text: place for place, text in enumerate(self.texts)}
        self._codes = np.array([pool.code(text) for text in self.texts], dtype=np.int64)
        mapped = b"".join(packed[text].rjust(6, b"\xff").rjust(16, b"\0") for text in self.texts)
        self._numbers = np.frombuffer(mapped, dtype=">i8").astype(np.int64).reshape(-1, 2)

    def of_codes(self, codes: Ints) -> Ints:
        """Places of the addresses of these codes of texts."""
        return places(codes, self._codes)

    def of_numbers(self, hi: Ints, lo: Ints) -> Ints:
        """Places of addresses as 128-bit numbers in two signed halves."""
        size = len(self.texts)
        ranks = [
            np.unique(np.append(known, asked), return_inverse=True)[1]
            for known, asked in zip(self._numbers.T, (hi, lo), strict=True)
        ]
        both = combined(*ranks)
        return places(both[size:], both[:size])


def find_hosts(
    rows: TableSet, site: str, gathered: Gathered, listed: Listed, captured: Iterable[tuple[str, str]] = ()
) -> Found:
    """The hosts of a site.

    rows: with `connections` and `sessions`. listed: the user's names. captured: addresses and names that capture files hold.
    """
    pool = rows.texts
    ends = np.concatenate(list(rows.columns("connections", "client_ip", "server_ip").values()))
    addresses = Addresses([pool.values[code] for code in ascending(ends[ends >= 0]).tolist()], pool)
    heard = read_datagrams(gathered.datagrams, addresses.place.keys())
    sightings = np.concatenate(
        [
            sighting_rows(heard.sightings, addresses.place, pool),
            *_of_tables(rows, addresses),
            sighting_rows(_of_answers(gathered), addresses.place, pool),
            _of_hardware(gathered, addresses),
            sighting_rows(_of_lists(addresses.place.keys(), listed, captured), addresses.place, pool),
        ]
    )
    made = host_intervals(sightings[sightings["at"] >= 0], _guids(rows, addresses), pool)
    if not made.hosts["valid_from"].all():
        _add_presence(made.hosts, rows, addresses)
    counts = {
        "datagrams_dropped": heard.dropped + gathered.dropped,
        "datagrams_unreadable": heard.unreadable,
        "addresses_shared": len(np.unique(made.hosts["at"][made.hosts["shared"]])),
    }
    return Found(table_of(made, addresses, site, pool), counts)


def _add_presence(hosts: Rows, rows: TableSet, addresses: Addresses) -> None:
    """Where only lists without a time name an address, its connections say when it was there."""
    client, server, first, last = rows.columns(
        "connections", "client_ip", "server_ip", "first_seen", "last_seen"
    ).values()
    at = addresses.of_codes(np.append(client, server))
    by_address = Groups(at)
    row = places(hosts["at"], at[by_address.first])
    untimed = hosts["valid_from"] == 0
    for name, times in (("valid_from", by_address.least(np.append(first, first))),
                        ("valid_to", by_address.most(np.append(last, last)))):  # fmt: skip
        hosts[name] = np.where(untimed, looked_up(times, row, 0), hosts[name])


def table_of(made: Intervals, addresses: Addresses, site: str, pool: Texts) -> pa.Table:
    """The table `hosts` of a site."""
    hosts = made.hosts
    macs = hosts["mac"]
    return tables.table(
        "hosts",
        {
            "ip": tables.chosen(hosts["at"], addresses.texts),
            "site": tables.chosen(np.zeros(len(hosts), dtype=np.int64), [site]),
            "valid_from": tables.times(hosts["valid_from"]),
            "valid_to": tables.times(hosts["valid_to"]),
            "name": tables.texts(hosts["name"], pool),
            "name_source": tables.chosen(hosts["source"], SOURCES),
            "other_names": _joined(made.other_names, hosts["name"] >= 0, "|", pool),
            "os_hint": _joined(made.os_hints, np.isin(np.arange(len(hosts)), made.os_hints[0]), "; ", pool),
            "mac": tables.formatted(macs, lambda mac: _mac_text(mac) if mac >= 0 else None),
            "shared": tables.bools(hosts["shared"]),
        },
        len(hosts),
    )


def _joined(texts: tuple[Ints, Ints], there: npt.NDArray[np.bool_], mark: str, pool: Texts) -> pa.Array:
    """For each host its texts with a mark between them; missing but where `there`. texts: hosts in order, and codes."""
    sizes = np.bincount(texts[0], minlength=len(there))[there]
    ends = tables.primitive(np.append(0, np.cumsum(sizes)).astype(np.int32), pa.int32())
    lists = pa.ListArray.from_arrays(ends, tables.texts(texts[1], pool).dictionary_decode())
    joined = pc.binary_join(lists, tables.strings([mark])[0]).dictionary_encode()
    codes = np.full(len(there), NONE, dtype=np.int32)
    codes[there] = tables.filled(joined.indices)
    return tables.coded(codes, joined.dictionary)


def _mac_text(mac: int) -> str:
    return ":".join(f"{octet:02x}" for octet in mac.to_bytes(6, "big"))


# Where sightings come from. #


def sighting_rows(sightings: Iterable[Sighting], place: Mapping[str, int], pool: Texts) -> Rows:
    """Sightings in numbers; those of other addresses have the place `NONE`."""

    def code(text: str) -> int:
        return pool.code(text) if text else NONE

    made = [
        (place.get(s.ip, NONE), PLACE[s.source], s.first_ns, s.last_ns, code(s.name), code(s.identity), code(s.os_hint), s.mac)
        for s in sightings
    ]  # fmt: skip
    return np.array(made, dtype=SIGHTING)


def _rows(source: str, at: Ints, first: Ints, last: Ints, **told: Ints) -> Rows:
    """Sightings of one source; what is not given is not told."""
    made = np.empty(len(at), dtype=SIGHTING)
    for name in ("name", "identity", "os_hint", "mac"):
        made[name] = told.get(name, NONE)
    made["at"], made["source"], made["first_ns"], made["last_ns"] = at, PLACE[source], first, last
    return made


def _pairs(rows: TableSet, table: str, address: str, value: str, time: str, nothing: str) -> tuple[Ints, ...]:
    """Codes of each pair of an address and a text that is there and is not `nothing`, with its first and last time."""
    ip, text, at = rows.columns(table, address, value, time).values()
    return _timed_pairs(ip, np.where(text == rows.texts.code(nothing), NONE, text), at)


def _timed_pairs(ip: Ints, text: Ints, at: Ints) -> tuple[Ints, ...]:
    """Each pair of an address and a text, neither of which is missing, with its first and last time."""
    there = (ip >= 0) & (text >= 0) & (at > 0)
    ip, text, at = ip[there], text[there], at[there]
    pairs = Groups(ip, text)
    return ip[pairs.first], text[pairs.first], pairs.least(at), pairs.most(at)


def _each(codes: Ints, pool: Texts, made: Callable[[str], int]) -> Ints:
    """What is made of each text, once for each different one; `NONE` of none."""
    different, number = tables.distinct(codes)
    of_each = [made(pool.values[code]) if code >= 0 else NONE for code in different.tolist()]
    found: Ints = np.array(of_each, dtype=np.int64)[number]
    return found


def _of_tables(rows: TableSet, addresses: Addresses) -> Iterator[Rows]:
    """What clients say of themselves in logins and session requests, and what they call servers."""
    pool = rows.texts

    def name_of(text: str) -> int:
        name = clean(text)
        return pool.code(name) if name and machine(name) not in NO_NAMES and canonical(name) is None else NONE

    names = (
        ("sessions", "client_ip", "workstation", "started", "ntlm.workstation"),
        ("connections", "client_ip", "netbios_calling", "first_seen", "netbios.session_request"),
        ("connections", "server_ip", "netbios_called", "first_seen", "netbios.called"),
    )
    for table, address, column, time, source in names:
        ip, text, first, last = _pairs(rows, table, address, column, time, "")
        found = _rows(source, addresses.of_codes(ip), first, last, name=_each(text, pool, name_of))
        yield found[found["name"] >= 0]
    for column, source, words in (("native_os", "smb1", "{}"), ("client_build", "ntlm.version", "NTLM version {}")):
        ip, text, first, last = _pairs(rows, "sessions", "client_ip", column, "started", "")
        hints = _each(text, pool, lambda text, words=words: pool.code(words.format(text)))  # type: ignore[misc]
        yield _rows(source, addresses.of_codes(ip), first, last, os_hint=hints)


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


def _of_hardware(gathered: Gathered, addresses: Addresses) -> Rows:
    """Hardware addresses that frames came from, but for routers'."""
    frames = gathered.hardware
    senders = gathered.datagrams[(gathered.datagrams["mac"] >= 0) & (gathered.datagrams["kind"] != DatagramKind.DHCP)]
    hi, lo, mac, first, last = (
        np.append(frames[name], senders[other]).astype(np.int64)
        for name, other in (
            ("hi", "source_hi"), ("lo", "source_lo"), ("mac", "mac"), ("first_ns", "first_ns"), ("last_ns", "last_ns"),
        )
    )  # fmt: skip
    is_v6 = (hi != 0) | (lo >> 32 != 0xFFFF)
    ips = combined(*[np.unique(half, return_inverse=True)[1] for half in (hi, lo)])
    cards = Groups(mac, is_v6)
    most = np.where(is_v6[cards.first], ADDRESSES_OF_A_CARD_V6, ADDRESSES_OF_A_CARD)
    routers = mac[cards.first][cards.different(ips) > most]
    found = _rows(HARDWARE, addresses.of_numbers(hi, lo), first, last, mac=mac)
    return found[(found["at"] >= 0) & ~np.isin(mac, routers)]


def _of_lists(addresses: Set[str], listed: Listed, captured: Iterable[tuple[str, str]]) -> Iterator[Sighting]:
    """Names without a time: they hold for all of it."""
    for ip in addresses & listed.keys():
        for name in listed[ip]:
            yield Sighting(ip=ip, source="list", name=name, first_ns=0, last_ns=0)
    for address, text in captured:
        ip_, name = canonical(address), clean(text)
        if ip_ is not None and ip_ in addresses and name:
            yield Sighting(ip=ip_, source="pcapng", name=name, first_ns=0, last_ns=0)


def _guids(rows: TableSet, addresses: Addresses) -> Rows:
    """For each client GUID at an address the beginnings of its first and last connection: `SPAN`."""
    ip, at = rows.columns("connections", "client_ip", "first_seen").values()
    ip, _, first, last = _timed_pairs(ip, rows.codes("connections", "client_guid", NO_GUID), at)
    return _spans(addresses.of_codes(ip), first, last)


# Who was there when. #


@dataclass(slots=True)
class Intervals:
    """The hosts that addresses were, in order of address and time: `HOST`."""

    hosts: Rows
    other_names: tuple[Ints, Ints]
    """Row of `hosts`, and the code of the text: the best first."""
    os_hints: tuple[Ints, Ints]


def host_intervals(sightings: Rows, guids: Rows, pool: Texts) -> Intervals:
    """The hosts that addresses were. sightings: `SIGHTING`; guids: `SPAN`, one for each client GUID of an address."""
    sightings = sightings[np.argsort(sightings["at"], kind="stable")]
    cuts, together = _changes(sightings[sightings["first_ns"] > 0], pool)
    together = np.concatenate([together, _in_turns(guids)])
    windows = _windows(np.append(sightings["at"], together["at"]), cuts)
    windows["shared"] = _touched(windows, together)
    made = _described(windows, sightings, pool)
    fewer = _one_a_host(windows, made.hosts, sightings, pool)
    if len(fewer) < len(windows):
        made = _described(fewer, sightings, pool)
    untimed = np.flatnonzero(made.hosts["shared"] & (made.hosts["valid_from"] == 0))
    if len(untimed):  # only GUIDs, or names without a time
        by_address = Groups(together["at"])
        row = places(made.hosts["at"][untimed], together["at"][by_address.first])
        made.hosts["valid_from"][untimed] = by_address.least(together["first_ns"])[row]
        made.hosts["valid_to"][untimed] = by_address.most(together["last_ns"])[row]
    return made


def _spans(at: Ints, first: Ints, last: Ints) -> Rows:
    made = np.empty(len(at), dtype=SPAN)
    made["at"], made["first_ns"], made["last_ns"] = at, first, last
    return made


def _changes(timed: Rows, pool: Texts) -> tuple[Rows, Rows]:
    """When addresses changed hands (the spans that begin then), and during which times several machines were behind one."""
    carded = timed[timed["mac"] >= 0]
    named = timed[(timed["name"] >= 0) & _among(CHANGES_WITH_HOST)[timed["source"]]]
    called = np.where(named["identity"] >= 0, named["identity"], named["name"])
    source = np.append(np.full(len(carded), PLACE[HARDWARE]), named["source"])
    at, first, last = (np.append(carded[name], named[name]) for name in ("at", "first_ns", "last_ns"))
    spans = Groups(at, source, np.append(carded["mac"], _machines(called, pool)))
    at, source, first, last = at[spans.first], source[spans.first], spans.least(first), spans.most(last)
    order = np.lexsort((last, first, source, at))
    at, source, first, last = at[order], source[order], first[order], last[order]
    begins, reaching = _reaching(combined(at, source), last)
    before = np.roll(last[reaching], 1)
    cut = ~begins & (first - before >= CHANGES_HANDS_NS)
    since = np.maximum.accumulate(np.where(begins | cut, np.arange(len(at)), 0))
    several = ~begins & ~cut & _among(TELLS_APART | {HARDWARE})[source]
    together = _spans(at[several], first[since[several]], last[reaching[several]])
    return _one_a_change(_spans(at[cut], first[cut], last[cut])), together


def _among(sources: Set[str]) -> npt.NDArray[np.bool_]:
    """For each place in `SOURCES` whether it is one of these."""
    return np.array([source in sources for source in SOURCES])


def _machines(names: Ints, pool: Texts) -> Ints:
    """Codes of what the names of one machine have in common."""
    return _each(names, pool, lambda name: pool.code(machine(name)))


def _reaching(group: Ints, last: Ints) -> tuple[npt.NDArray[np.bool_], Ints]:
    """For rows in order of their group: whether one is the first of its group, and which of those up to it lasts longest."""
    begins = np.ones(len(group), dtype=bool)
    begins[1:] = group[1:] != group[:-1]
    times, rank = np.unique(last, return_inverse=True)
    longest = np.maximum.accumulate((np.cumsum(begins) - 1) * len(times) + rank)
    longer = np.ones(len(group), dtype=bool)
    longer[1:] = longest[1:] > longest[:-1]
    return begins, np.maximum.accumulate(np.where(longer, np.arange(len(group)), 0))


def _one_a_change(cuts: Rows) -> Rows:
    """Several sources tell of the same change within a short time: the first of them counts."""
    cuts = cuts[np.lexsort((cuts["first_ns"], cuts["at"]))]
    kept: list[int] = []
    at, since = NONE, 0
    for row, (place, time) in enumerate(zip(cuts["at"].tolist(), cuts["first_ns"].tolist(), strict=True)):
        if place != at or time - since >= CHANGES_HANDS_NS:
            kept.append(row)
            at, since = place, time
    return cuts[kept]


def _in_turns(guids: Rows) -> Rows:
    """Times in which one client GUID came, then another, then the first again."""
    lasting = ascending(guids["at"][guids["last_ns"] > guids["first_ns"]])
    guids = guids[np.isin(guids["at"], lasting)]  # of the others none came again
    guids = guids[np.lexsort((guids["first_ns"], guids["at"]))]
    begins, reaching = _reaching(guids["at"], guids["last_ns"])
    longest = guids[np.roll(reaching, 1)]
    first, last = guids["first_ns"], guids["last_ns"]
    turn = ~begins & (longest["first_ns"] < first) & (first < longest["last_ns"])
    return _spans(guids["at"][turn], longest["first_ns"][turn], np.maximum(longest["last_ns"], last)[turn])


def _windows(at: Ints, cuts: Rows) -> Rows:
    """The time of each of these addresses, cut."""
    there = ascending(at)
    at, begin = np.append(there, cuts["at"]), np.append(np.full(len(there), EVER), cuts["first_ns"])
    order = np.lexsort((begin, at))
    made = np.zeros(len(at), dtype=WINDOW)
    made["at"], made["begin"], made["end"] = at[order], begin[order], NEVER
    goes_on = np.flatnonzero(made["at"][1:] == made["at"][:-1])
    made["end"][goes_on] = made["begin"][goes_on + 1]
    made["since"], made["until"] = made["begin"], made["end"] - 1
    return made


def _in_windows(windows: Rows, spans: Rows) -> tuple[Ints, Ints]:
    """For each span (`SPAN`, or `SIGHTING`) the first and the last window of its address that it touches.

    It touches none if the last comes before the first. What has no time touches all; most addresses have one window only.
    """
    low, high = windows["at"].searchsorted(spans["at"]), windows["at"].searchsorted(spans["at"], "right") - 1
    chosen = np.flatnonzero((spans["first_ns"] > 0) & ((high > low) | (windows["since"] > EVER)[low]))
    size, timed = len(windows), spans[chosen]
    times = np.concatenate([windows["since"], windows["until"], timed["first_ns"], timed["last_ns"]])
    different, rank = np.unique(times, return_inverse=True)
    keys = np.concatenate([windows["at"], windows["at"], timed["at"], timed["at"]]) * len(different) + rank
    since, until, first, last = np.split(keys, [size, 2 * size, 2 * size + len(timed)])
    low[chosen], high[chosen] = until.searchsorted(first), since.searchsorted(last, "right") - 1
    return low, high


def _touched(windows: Rows, spans: Rows) -> npt.NDArray[np.bool_]:
    """Whether any of these spans touches a window."""
    low, high = _in_windows(windows, spans)
    there = low <= high
    steps = np.zeros(len(windows) + 1, dtype=np.int64)
    np.add.at(steps, low[there], 1)
    np.add.at(steps, high[there] + 1, -1)
    return np.cumsum(steps)[:-1] > 0


def _described(windows: Rows, sightings: Rows, pool: Texts) -> Intervals:
    """One host a window: the best name, the others, the system, the hardware address. sightings: in order of address."""
    low, high = _in_windows(windows, sightings)
    counts = np.maximum(high - low + 1, 0)
    told = sightings[np.repeat(np.arange(len(sightings)), counts)]
    window = np.repeat(low - np.cumsum(counts) + counts, counts) + np.arange(len(told))
    hosts = np.zeros(len(windows), dtype=HOST)
    hosts["at"], hosts["shared"] = windows["at"], windows["shared"]
    for name in ("name", "source", "mac"):
        hosts[name] = NONE
    _set_times(hosts, windows, window, told)
    is_short = _each(told["name"], pool, lambda name: "." not in name)
    alphabetical = tables.ranks(told["name"], pool)
    names = _ranked(window, told["name"], told["source"], is_short, -told["last_ns"], alphabetical)
    hints = _ranked(window, told["os_hint"], _OS_RANK[told["source"]], -told["last_ns"])
    # DHCP joins a name and a card, so it is the better witness; else the card that was seen last.
    cards = _ranked(window, told["mac"], told["source"] != PLACE["dhcp"], -told["last_ns"])
    best = _firsts(window[names])
    hosts["name"][window[names][best]] = told["name"][names][best]
    hosts["source"][window[names][best]] = told["source"][names][best]
    cards = cards[_firsts(window[cards])]
    hosts["mac"][window[cards]] = told["mac"][cards]
    others = names[~best]
    return Intervals(hosts, (window[others], told["name"][others]), (window[hints], told["os_hint"][hints]))


_OS_RANK = np.array([OS_SOURCES.index(source) if source in OS_SOURCES else NONE for source in SOURCES])


def _set_times(hosts: Rows, windows: Rows, window: Ints, told: Rows) -> None:
    """What was said before and after too (of a system, say) does not tell when a host came and went."""
    begin, end = windows["begin"], windows["end"]
    first, last = told["first_ns"], told["last_ns"]
    timed = first > 0
    here = np.zeros(len(hosts), dtype=bool)
    here[window[timed]] = True
    came, went = np.full(len(hosts), NEVER), np.full(len(hosts), EVER)
    inside, until = timed & (first >= begin[window]), timed & (last < end[window])
    np.minimum.at(came, window[inside], first[inside])
    np.maximum.at(went, window[until], last[until])
    hosts["valid_from"] = np.where(here, np.where(came < NEVER, came, begin), 0)
    hosts["valid_to"] = np.where(here, np.where(went > EVER, went, end - 1), 0)


def _ranked(window: Ints, codes: Ints, *keys: Numbers) -> Ints:
    """The first row of each different code of each window, those of a window in order of the keys."""
    there = np.flatnonzero(codes >= 0)
    order = there[np.lexsort([*[key[there] for key in reversed(keys)], window[there]])]
    different = np.unique(combined(window[order], codes[order]), return_index=True)[1]
    return order[np.sort(different)]


def _firsts(window: Ints) -> npt.NDArray[np.bool_]:
    return np.append(np.ones(min(len(window), 1), dtype=bool), window[1:] != window[:-1])


def _one_a_host(windows: Rows, hosts: Rows, sightings: Rows, pool: Texts) -> Rows:
    """Windows of which those that seem to be one machine's, cut in two by what another source told late, are put together."""
    alike = _are_same(hosts[:-1], hosts[1:], pool)
    touched = np.unique(hosts["at"][1:][alike])
    kept = [windows[~np.isin(windows["at"], touched)]]
    for at in touched.tolist():
        mine = sightings[slice(*sightings["at"].searchsorted([at, at + 1]))]
        begin, end = windows["at"].searchsorted([at, at + 1])
        window, host = windows[begin : begin + 1], hosts[begin : begin + 1]
        for row in range(begin + 1, end):
            if _are_same(host, hosts[row : row + 1], pool)[0]:
                window = window.copy()
                window["begin"] = window["since"] = host["valid_from"]
                window["end"], window["until"] = windows["end"][row], hosts["valid_to"][row]
                host = _described(window, mine, pool).hosts
            else:
                kept.append(window)
                window, host = windows[row : row + 1], hosts[row : row + 1]
        kept.append(window)
    found = np.concatenate(kept)
    return found[np.lexsort((found["begin"], found["at"]))]


def _are_same(one: Rows, other: Rows, pool: Texts) -> npt.NDArray[np.bool_]:
    """True for two intervals, one behind the other, that seem to be one machine's."""
    own = _among(OWN_WORD)
    found: npt.NDArray[np.bool_] = (
        (one["at"] == other["at"]) & ~one["shared"] & ~other["shared"] & (one["name"] >= 0) & (other["name"] >= 0)
    )
    found &= (one["mac"] < 0) | (other["mac"] < 0) | (one["mac"] == other["mac"])
    found &= own[one["source"]] & own[other["source"]]
    which = np.flatnonzero(found)
    found[which] = _machines(one["name"][which], pool) == _machines(other["name"][which], pool)
    return found
