"""Names of addresses at a time, and which addresses were shared."""

from __future__ import annotations

import numpy as np

from analyzer.groups import Mask, Numbers, combined, looked_up, places_of
from analyzer.sessions.joins import NONE, as_of
from analyzer.tables import TableSet


def names_at(site: Numbers, ip: Numbers, time: Numbers, rows: TableSet) -> Numbers:
    """For each row the name that its address had then: of the last host that had begun, else of the first.

    Site, address and name are codes of `rows.texts`.
    """
    hosts = rows.columns("hosts", "site", "ip", "valid_from", "name")
    hosts = {name: column[hosts["name"] >= 0] for name, column in hosts.items()}
    known = (hosts["site"], hosts["ip"])
    place = places_of((site, ip), known)
    count = len(hosts["ip"])
    both = combined(*[np.append(key, asked) for key, asked in zip(known, (site, ip), strict=True)])
    begun = np.flatnonzero(hosts["valid_from"] >= 0)
    then = as_of(both[count:], time.astype(np.int64) + 1, both[:count][begun], hosts["valid_from"][begun])
    later = (then >= 0) & (time >= 0)
    place[later] = begun[then[later]]
    return looked_up(hosts["name"], place, NONE)


def is_shared(site: Numbers, ip: Numbers, rows: TableSet) -> Mask:
    """True for each row whose address had several machines behind it, whenever that was."""
    hosts = rows.columns("hosts", "site", "ip", "shared")
    found: Mask = places_of((site, ip), (hosts["site"][hosts["shared"]], hosts["ip"][hosts["shared"]])) >= 0
    return found
