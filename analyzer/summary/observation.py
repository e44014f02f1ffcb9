"""How much was seen, and what could not have been: the ground that any "nobody depends on it" stands on.

No estimate of unseen dependents is made: jobs are periodic, not random, so what a week shows says nothing of what runs once a
month. Instead: how long each server was observed, how much of it is missing, and whether that reaches the minimum that the
administrator sets; when dependents were first seen; rare uses that are known (`knowledge/rare_uses.csv`), with how often they
come; and hints of what is not in the captures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from analyzer import knowledge, tables
from analyzer.attribution.matching import Distinct, globs
from analyzer.errors import UsageError
from analyzer.groups import Groups, Mask, Numbers, looked_up, places, places_of
from analyzer.sessions.joins import NONE, Ints
from analyzer.summary.naming import names_at
from analyzer.summary.rhythm import DAY_S, SECOND_NS, local
from analyzer.tables import Columns, TableSet

HOUR_NS = 3600 * SECOND_NS
MOST_DAYS = 3_660
"""Days of a file that the discovery curve names one by one; where clocks were wrong a file may span many more."""
NEEDING = tuple(tables.VERDICT.index(name) for name in ("depends", "unknown", "covered"))
"""Verdicts that are dependents."""
LOOKED_AT = ("resource", "interface", "operation")
"""What tells a rare use."""
ROLE_MARKS = {
    "domain controller": ("netlogon", "NETLOGON", "SYSVOL"),
    "print server": ("spoolss", "PRINT$"),
    "licence server": ("llsrpc", "hydralspipe", "termservlicensing"),
}
"""Pipes and shares that tell the role of a server. Any server may be a file server."""


@dataclass(frozen=True, slots=True)
class Minimum:
    """Below it a server counts as not seen enough."""

    days: float = 7.0
    lost_percent: float = 1.0
    """Of the payload."""
    unknown_percent: float = 10.0
    """Of the sessions."""

    @classmethod
    def of_text(cls, text: str) -> Minimum:
        """`days=14,lost=0.5,unknown=5`, in any order; what is left out stays. Raises UsageError if it is something else."""
        names = {"days": "days", "lost": "lost_percent", "unknown": "unknown_percent"}
        given: dict[str, float] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = part.partition("=")
            try:
                number = float(value)
            except ValueError:
                number = NONE
            if name.strip() not in names or not 0 <= number < float("inf"):
                raise UsageError(f"minimum {part!r}: wanted is days=N,lost=PERCENT,unknown=PERCENT")
            given[names[name.strip()]] = number
        return cls(**given)

    def __str__(self) -> str:
        return f"days={self.days:g},lost={self.lost_percent:g},unknown={self.unknown_percent:g}"


def observation(rows: TableSet, minimum: Minimum) -> pa.Table:
    """One row for all of a site, then one a server."""
    captures = rows.columns("captures", "site", "first_seen", "last_seen")
    connections = rows.columns(
        "connections", "connection_id", "site", "server_ip", "first_seen", "last_seen", "client_bytes", "server_bytes",
        "missing_bytes", "directions",
    )  # fmt: skip
    sessions = rows.columns("sessions", "site", "server_ip", "started", "identity", "outcome")
    texts = rows.texts
    sites = Groups(tables.ranks(captures["site"], texts))
    site_codes = captures["site"][sites.first]
    begin, end = sites.least(captures["first_seen"]), sites.most(captures["last_seen"])
    captured = np.array([_union_ns(captures, sites.number == number) for number in range(len(sites))], dtype=np.int64)
    servers = Groups(*[tables.ranks(connections[name], texts) for name in ("site", "server_ip")])
    site = np.append(site_codes, connections["site"][servers.first])
    server = np.append(np.full(len(sites), NONE), connections["server_ip"][servers.first])
    of_site = places_of((connections["site"],), (site_codes,))
    session_site = places_of((sessions["site"],), (site_codes,))
    session_server = places_of((sessions["site"], sessions["server_ip"]), (site[len(sites) :], server[len(sites) :]))

    def counted(values: Numbers) -> Ints:
        """Sums over connections, of each site and of each server."""
        there = of_site >= 0
        whole = np.bincount(of_site[there], weights=values[there], minlength=len(sites))
        return np.append(whole, servers.sums(values)).astype(np.int64)

    def sessions_that(which: Mask) -> Ints:
        at = [place[which & (place >= 0)] for place in (session_site, session_server)]
        return np.append(np.bincount(at[0], minlength=len(sites)), np.bincount(at[1], minlength=len(servers)))

    payload = counted(np.maximum(connections["client_bytes"], 0) + np.maximum(connections["server_bytes"], 0))
    missing = counted(np.maximum(connections["missing_bytes"], 0))
    one_way = counted((connections["directions"] != tables.DIRECTIONS.index("both")).astype(np.int64))
    all_sessions = sessions_that(np.ones(len(sessions["site"]), dtype=bool))
    unknown = sessions_that(sessions["identity"] == tables.IDENTITY.index("unknown"))
    number = counted(np.ones(len(connections["site"]), dtype=np.int64))
    hours = _hours_with_traffic(sessions, session_site, session_server, len(sites), len(servers))
    observed = looked_up(captured, places_of((site,), (site_codes,)), 0)
    lacks = _lacks(observed, payload, missing, all_sessions, unknown, number, one_way, minimum)
    found_from = np.append(begin, servers.least(connections["first_seen"]))
    found_to = np.append(end, servers.most(connections["last_seen"]))
    names = names_at(site, server, found_to, rows)
    return tables.table(
        "observation",
        {
            "site": tables.texts(site, texts),
            "server_ip": tables.texts(server, texts),
            "server": tables.texts(np.where(server < 0, NONE, names), texts),
            "observed_from": tables.times(found_from),
            "observed_to": tables.times(found_to),
            "hours_captured": tables.ints(np.round(observed / HOUR_NS)),
            "hours_with_sessions": tables.ints(hours),
            "connections": tables.ints(number),
            "connections_one_way": tables.ints(one_way),
            "sessions": tables.ints(all_sessions),
            "sessions_unknown": tables.ints(unknown),
            "payload_bytes": tables.ints(payload),
            "missing_bytes": tables.ints(missing),
            "enough": tables.bools(np.array([not lack for lack in lacks], dtype=bool)),
            "lacks": tables.listed([lack or None for lack in lacks]),
        },
        len(site),
    )


def _union_ns(captures: Columns, which: Mask) -> int:
    """For how long at least one of these files was being written: from its first packet to its last."""
    whole = which & (captures["first_seen"] >= 0) & (captures["last_seen"] >= 0)
    order = np.argsort(captures["first_seen"][whole])
    begin, end = (captures[name][whole][order] for name in ("first_seen", "last_seen"))
    if not len(begin):
        return 0
    covered_to = np.maximum.accumulate(end)
    before = np.append(begin[0], covered_to[:-1])
    return int(np.maximum(covered_to - np.maximum(begin, before), 0).sum())


def _hours_with_traffic(sessions: Columns, site: Ints, server: Ints, sites: int, servers: int) -> Ints:
    hour = np.where(sessions["started"] >= 0, sessions["started"] // HOUR_NS, NONE)
    found = []
    for place, count in ((site, sites), (server, servers)):
        there = (place >= 0) & (hour >= 0)
        pairs = Groups(place[there], hour[there] - (hour[there].min() if there.any() else 0))
        found.append(np.bincount(place[there][pairs.first], minlength=count))
    return np.concatenate(found)


def _lacks(
    observed_ns: Ints, payload: Ints, missing: Ints, sessions: Ints, unknown: Ints, connections: Ints, one_way: Ints,
    minimum: Minimum,
) -> list[str]:  # fmt: skip
    """What each row lacks to have been seen enough, as a text; empty: nothing."""
    days = observed_ns / (DAY_S * SECOND_NS)
    lost = 100 * missing / np.maximum(payload + missing, 1)
    unclear = 100 * unknown / np.maximum(sessions, 1)
    told = []
    for row in range(len(days)):
        lacking = []
        if days[row] < minimum.days:
            lacking.append(f"captured for {days[row]:.1f} days, wanted are {minimum.days:g}")
        if lost[row] > minimum.lost_percent:
            lacking.append(f"{lost[row]:.1f} % of the payload is missing, at most {minimum.lost_percent:g} % may be")
        if unclear[row] > minimum.unknown_percent:
            lacking.append(
                f"{unclear[row]:.0f} % of the sessions are unknown, at most {minimum.unknown_percent:g} % may be"
            )
        if connections[row] and one_way[row] == connections[row]:
            lacking.append("only one direction was captured")
        told.append("; ".join(lacking))
    return told


def discovery(rows: TableSet, zone: ZoneInfo) -> pa.Table:
    """One row a day on which captures were being written, and site: when dependents were first seen."""
    found = rows.columns("dependencies", "site", "client_ip", "verdict", "excluded", "first_seen")
    needing = np.isin(found["verdict"], NEEDING) & ~found["excluded"] & (found["first_seen"] >= 0)
    found = {name: column[needing] for name, column in found.items()}
    captures = rows.columns("captures", "site", "first_seen", "last_seen")
    texts = rows.texts
    day = local(found["first_seen"], zone) // (DAY_S * SECOND_NS)
    by_client = Groups(found["site"], found["client_ip"])
    client_day = np.full(len(by_client), np.iinfo(np.int64).max)
    np.minimum.at(client_day, by_client.number, day)
    client_site = found["site"][by_client.first]
    parts = []
    for site in np.unique(captures["site"]).tolist():
        mine = (captures["site"] == site) & (captures["first_seen"] >= 0)
        days = day[found["site"] == site]
        known = np.union1d(_days_captured(captures["first_seen"][mine], captures["last_seen"][mine], zone), days)
        new = np.bincount(np.searchsorted(known, days), minlength=len(known))
        clients = np.bincount(np.searchsorted(known, client_day[client_site == site]), minlength=len(known))
        parts.append((np.full(len(known), site), known, new, clients))
    site, known, new, clients = (
        np.concatenate([part[place] for part in parts]) if parts else np.empty(0, dtype=np.int64) for place in range(4)
    )
    first = np.cumsum([0, *[len(part[0]) for part in parts]])[:-1]
    return tables.table(
        "discovery",
        {
            "site": tables.texts(site, texts),
            "day": tables.listed([str(np.datetime64(int(number), "D")) for number in known.tolist()]),
            "new_dependencies": tables.ints(new),
            "new_clients": tables.ints(clients),
            "dependencies": tables.ints(_cumulative(new, first)),
            "clients": tables.ints(_cumulative(clients, first)),
        },
        len(site),
    )


def _days_captured(first: Numbers, last: Numbers, zone: ZoneInfo) -> Ints:
    """The days on which any of these files was being written. Of one that spans too many only the ends."""
    begin, end = (local(ns, zone) // (DAY_S * SECOND_NS) for ns in (first, np.maximum(first, last)))
    days = {day for one, other in zip(begin.tolist(), end.tolist(), strict=True) for day in _from_to(one, other)}
    return np.array(sorted(days), dtype=np.int64)


def _from_to(begin: int, end: int) -> range | tuple[int, int]:
    return range(begin, end + 1) if end - begin <= MOST_DAYS else (begin, end)


def _cumulative(values: Ints, first: Ints) -> Ints:
    """Sums up to each row, begun anew at the rows `first`."""
    total = np.cumsum(values)
    before = np.zeros(len(values), dtype=np.int64)
    for place in first.tolist():
        before[place:] = total[place - 1] if place else 0
    return total - before


def rare_uses(rows: TableSet) -> pa.Table:
    """One row a known rare use and site: whether it was seen, and whether it could have been."""
    captures = rows.columns("captures", "site", "first_seen", "last_seen")
    found = rows.columns("dependencies", "site", *LOOKED_AT)
    used = _resources(rows)
    texts = rows.texts
    made: list[dict[str, Any]] = []
    for site in sorted(np.unique(captures["site"]).tolist(), key=lambda code: texts.text(code) or ""):
        days = _union_ns(captures, captures["site"] == site) / (DAY_S * SECOND_NS)
        there = used.get(site, set())
        of_site = {name: Distinct(found[name][found["site"] == site], texts.text) for name in LOOKED_AT}
        for rare in knowledge.rows("rare_uses"):
            period = int(rare["period_days"]) if rare["period_days"] else None
            seen = _seen(rare, of_site)
            state = "seen" if seen else "not_seen"
            if not seen and (period is None or days < period):
                state = "could_not_be_seen"
            marks = ROLE_MARKS.get(rare["role"])
            made.append(
                {
                    "site": texts.text(site),
                    "role": rare["role"],
                    "role_seen": marks is None or bool(there & set(marks)),
                    "use": rare["use"],
                    "period_days": period,
                    "days_captured": round(days),
                    "rows": seen,
                    "state": state,
                    "why": rare["why"],
                    "source": rare["source"],
                }
            )

    def numbers(name: str) -> pa.Array:
        return tables.ints(np.array([NONE if row[name] is None else row[name] for row in made], dtype=np.int64))

    return tables.table(
        "rare_uses",
        {
            **{name: tables.listed([row[name] for row in made]) for name in ("site", "role", "use", "why", "source")},
            **{name: numbers(name) for name in ("period_days", "days_captured", "rows")},
            "role_seen": tables.bools(np.array([row["role_seen"] for row in made], dtype=bool)),
            "state": tables.named_categories([row["state"] for row in made], tables.RARE_STATE),
        },
        len(made),
    )


def _resources(rows: TableSet) -> dict[int, set[str | None]]:
    """Pipes and shares that were used, by anybody, of each site (a code)."""
    sessions = rows.columns("sessions", "session_key", "site")
    told = [tuple(rows.columns("credentialed_uses", "site", "resource").values())]
    for table, column in (("trees", "share"), ("pipe_opens", "pipe")):
        session_key, resource = rows.columns(table, "session_key", column).values()
        told.append((looked_up(sessions["site"], places(session_key, sessions["session_key"]), NONE), resource))
    found: dict[int, set[str | None]] = {}
    for site, resource in told:
        different = Groups(site, resource).first
        for one, other in zip(site[different].tolist(), resource[different].tolist(), strict=True):
            found.setdefault(one, set()).add(rows.texts.text(other))
    return found


def _seen(rare: dict[str, str], found: Mapping[str, Distinct]) -> int:
    """How many rows of dependencies are this use. One without resource cannot be told from others: none."""
    if not rare["resource"]:
        return 0
    asked = [(found[name], rare[name].split("|")) for name in LOOKED_AT if rare[name] not in ("", "*")]
    return int(np.count_nonzero(np.logical_and.reduce([column.are(globs(patterns)) for column, patterns in asked])))
