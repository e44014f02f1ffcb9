"""Which machine of one side is which of the other.

The same address is the same machine, unless both sides name it and the names differ. A machine whose address is another's
now, or is not seen any more, is looked for by name, then by the GUID that SMB 2 clients and servers tell. Names and GUIDs
count only where they belong to one address and no address is shared; in doubt the address decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analyzer.comparison.sides import Side
from analyzer.groups import Numbers, combined
from analyzer.sessions.joins import NONE, Ints

BY_ADDRESS, BY_NAME, BY_GUID = range(3)
Address = tuple[int, int]
"""Codes of site and address."""


@dataclass(frozen=True, slots=True)
class Machines:
    """Numbers of machines, the same on both sides."""

    before: dict[Address, int]
    after: dict[Address, int]
    matched_by: Ints
    """For each machine how it was found on the other side; `NONE`: it is on one side only."""
    changed_hands: set[Address]
    """Addresses that are another machine's after."""

    def of(self, site: Numbers, ip: Numbers, *, after: bool) -> Ints:
        """The machine of each row."""
        known = self.after if after else self.before
        if not len(ip):
            return np.empty(0, dtype=np.int64)
        _, first, place = np.unique(combined(site, ip), return_index=True, return_inverse=True)
        numbers = [known.get((int(site[row]), int(ip[row])), NONE) for row in first.tolist()]
        return np.array(numbers, dtype=np.int64)[place.reshape(-1)]


def match(before: Side, after: Side) -> Machines:
    """Give all addresses of both sides the numbers of machines."""
    left, right = before.addresses(), after.addresses()
    names = before.names(), after.names()
    guids = before.guids(), after.guids()
    partner: dict[Address, tuple[Address, int]] = {}
    changed_hands = set()
    for address in left & right:
        told, told_after = (side.get(address, frozenset()) for side in names)
        if told and told_after and not told & told_after:
            changed_hands.add(address)
        else:
            partner[address] = (address, BY_ADDRESS)
    for sides, how in ((names, BY_NAME), (guids, BY_GUID)):
        free = [address for address in left if address not in partner]
        taken = {other for other, _ in partner.values()}
        ours, theirs = _only(sides[0], set(free)), _only(sides[1], right - taken)
        elsewhere = _several(sides[0]), _several(sides[1])
        for (site, text), address in ours.items():
            other = theirs.get((site, text))
            unclear = (site, text) in elsewhere[0] or (site, text) in elsewhere[1]
            if other is not None and not unclear and address not in partner and other not in taken:
                partner[address] = (other, how)
                taken.add(other)
    numbers = {address: number for number, address in enumerate(sorted(left))}
    after_numbers = {other: numbers[address] for address, (other, _) in partner.items()}
    for address in sorted(right):
        after_numbers.setdefault(address, len(left) + len(after_numbers))
    matched_by = np.full(len(left) + len(after_numbers), NONE, dtype=np.int64)
    for address, (_, how) in partner.items():
        matched_by[numbers[address]] = how
    return Machines(numbers, after_numbers, matched_by, changed_hands)


def _only(texts: dict[Address, frozenset[str]], addresses: set[Address]) -> dict[tuple[int, str], Address]:
    """By site and text the address that it belongs to."""
    return {(address[0], text): address for address, some in texts.items() if address in addresses for text in some}


def _several(texts: dict[Address, frozenset[str]]) -> set[tuple[int, str]]:
    """Sites and texts of more than one address."""
    seen: set[tuple[int, str]] = set()
    again: set[tuple[int, str]] = set()
    for (site, _), some in texts.items():
        for text in some:
            (again if (site, text) in seen else seen).add((site, text))
    return again
