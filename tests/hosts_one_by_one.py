"""What `analyzer.hosts` does to all addresses at once, on one address in Python's objects: slow, and easy to follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from analyzer.hosts import CHANGES_HANDS_NS, CHANGES_WITH_HOST, HARDWARE, OS_SOURCES, TELLS_APART
from analyzer.names.sightings import OWN_WORD, RANK, Sighting, machine

EVER, NEVER = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Guid:
    """A client GUID at an address, with the beginnings of its first and last connection."""

    first_ns: int
    last_ns: int


def host_intervals(sightings: Sequence[Sighting], guids: Sequence[Guid] = ()) -> list[dict[str, Any]]:
    """The hosts that an address was, one after the other: the columns of `hosts` but for address and site."""
    timed = [sighting for sighting in sightings if sighting.first_ns > 0]
    cuts, together = _changes(timed)
    together += list(_in_turns(guids))
    bounds = [EVER, *cuts, NEVER]
    made: list[dict[str, Any]] = []
    for begin, end in pairwise(bounds):
        here = [s for s in sightings if s.first_ns <= 0 or (s.first_ns < end and s.last_ns >= begin)]
        shared = any(first < end and last >= begin for first, last in together)
        if not here and not shared:
            continue
        row = _described(here, shared, begin, end)
        if not row["valid_from"] and shared:
            row["valid_from"] = min(first for first, _ in together)
            row["valid_to"] = max(last for _, last in together)
        if made and _is_same(made[-1], row):
            made[-1] = _described([*_of(sightings, made[-1], row)], False, made[-1]["valid_from"], end)
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


def _described(sightings: Sequence[Sighting], shared: bool, begin: int, end: int) -> dict[str, Any]:
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
