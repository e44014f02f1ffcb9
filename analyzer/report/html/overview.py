"""What stands at the head of the page and behind its sections: counts of the tables' rows, in the words of the page.

Nothing is judged here: a server is called free if no row of `dependencies` that counts stands in the way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from analyzer import tables
from analyzer.analysis import Analysis
from analyzer.groups import Groups, Mask, Numbers, combined
from analyzer.report.html.words import count, moment, shown
from analyzer.sessions.joins import NONE, Ints
from analyzer.summary.rhythm import zone_of
from analyzer.tables import Columns, TableSet

IN_THE_WAY = ("depends", "unknown", "covered")
"""Verdicts of uses that a tighter setting may break."""

MOST_NAMED = 12
"""Names that are listed in one place."""

GAPS = {
    "connections_midstream": ("connection that began before", "connections that began before"),
    "connections_one_way": ("connection in one direction only", "connections in one direction only"),
    "missing_bytes": ("byte lost", "bytes lost"),
    "unparsed_bytes": ("byte passed over", "bytes passed over"),
    "encrypted_messages": ("encrypted message", "encrypted messages"),
    "compressed_messages": ("compressed message", "compressed messages"),
    "sessions_unknown": ("session of which it is not known whose", "sessions of which it is not known whose"),
    "results_not_decoded": ("pipe that is not decoded", "pipes that are not decoded"),
    "calls_not_told": ("answer that cannot be read", "answers that cannot be read"),
    "calls_unanswered": ("call without an answer", "calls without an answer"),
}
"""Measures of `coverage` that may hide a use at a server."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict's rows that count, and from how many clients they are."""

    name: str
    rows: int
    clients: int


@dataclass(frozen=True, slots=True)
class Used:
    """A resource and how many clients use it."""

    name: str
    clients: int


@dataclass(frozen=True, slots=True)
class Server:
    """A server, and what stands in the way there. state: `needed`, `unknown`, `free`. lacks: to have been observed enough."""

    site: str
    ip: str
    name: str
    state: str
    clients: dict[str, int]
    resources: list[Used]
    lacks: str
    gaps: list[str]


@dataclass(frozen=True, slots=True)
class Refused:
    """Uses that were refused already, or sessions in which nothing was done."""

    verdict: str
    server: str
    resource: str
    rung: str
    clients: int
    uses: int
    last_seen: str


class Counted:
    """The rows of `dependencies` as numbers, and what they come to."""

    def __init__(self, analysis: Analysis) -> None:
        self._rows = TableSet(
            {name: analysis.arrow(name) for name in ("dependencies", "servers", "coverage", "observation")}
        )
        self.zone = zone_of(analysis.settings.get("timezone", "UTC"))
        """Of the analysis: by its clocks times are told."""
        self._all = self._rows.columns(
            "dependencies", "site", "client_ip", "client", "server_ip", "server", "application", "function", "resource",
            "verdict", "confidence", "excluded", "refused_at", "uses", "first_seen", "last_seen", "owner",
        )  # fmt: skip
        self._counting = ~self._all["excluded"]
        names = [tables.VERDICT.index(name) for name in IN_THE_WAY]
        self._in_the_way = self._counting & np.isin(self._all["verdict"], names)

    def text(self, code: int) -> str:
        """The text of a code, as it is shown."""
        return shown(self._rows.texts.text(code)) if code >= 0 else ""

    def in_the_way(self) -> Columns:
        """The rows that a tighter setting may break."""
        return _those(self._all, self._in_the_way)

    def verdicts(self) -> list[Verdict]:
        found = []
        for place, name in enumerate(tables.VERDICT):
            which = self._counting & (self._all["verdict"] == place)
            found.append(Verdict(name, int(which.sum()), _clients(self._all, which)))
        return found

    def clients_in_the_way(self) -> int:
        return _clients(self._all, self._in_the_way)

    def confidence(self) -> dict[str, int]:
        """Rows that depend, by how sure that is, the surest first."""
        depends = self._counting & (self._all["verdict"] == tables.VERDICT.index("depends"))
        place = self._all["confidence"][depends]
        return {
            name: int(np.count_nonzero(place == number))
            for number, name in reversed(list(enumerate(tables.CONFIDENCE)))
        }

    def most_used(self, name: str = "resource") -> list[Used]:
        """Resources (or another column) in the way, those of most clients first."""
        rows = self.in_the_way()
        by_value = Groups(rows[name])
        clients = by_value.different(combined(rows["site"], rows["client_ip"]))
        found = [
            Used(self.text(code), number)
            for code, number in zip(rows[name][by_value.first].tolist(), clients.tolist(), strict=True)
            if code >= 0
        ]
        return sorted(found, key=lambda used: (-used.clients, used.name))

    def left_out(self) -> list[Used]:
        """Clients that are scanners by the user's rules, with their rows."""
        rows = _those(self._all, self._all["excluded"])
        by_client = Groups(rows["site"], rows["client_ip"])
        first = by_client.first
        return [
            Used(" ".join(filter(None, (self.text(name), self.text(ip)))), size)
            for name, ip, size in zip(
                rows["client"][first].tolist(),
                rows["client_ip"][first].tolist(),
                by_client.sizes().tolist(),
                strict=True,
            )
        ]

    def refused(self) -> list[Refused]:
        """What was refused already or merely probed, by server, resource and rung; most clients first."""
        rows = _those(self._all, self._counting & ~self._in_the_way)
        alike = Groups(rows["verdict"], rows["site"], rows["server_ip"], rows["resource"], rows["refused_at"])
        clients = alike.different(rows["client_ip"])
        uses = alike.sums(rows["uses"])
        last = alike.most(rows["last_seen"])
        found = []
        for group in np.lexsort((np.arange(len(alike)), -clients, rows["verdict"][alike.first])).tolist():
            row = int(alike.first[group])
            rung = int(rows["refused_at"][row])
            found.append(
                Refused(
                    tables.VERDICT[int(rows["verdict"][row])],
                    self._host(rows["server"][row], rows["server_ip"][row]),
                    self.text(rows["resource"][row]) or "(login)",
                    tables.RUNG[rung].replace("_", " ") if rung >= 0 else "",
                    int(clients[group]),
                    int(uses[group]),
                    moment(int(last[group]), self.zone),
                )
            )
        return found

    def servers(self) -> list[Server]:
        """All servers that were seen: those where something stands in the way first."""
        known = self._rows.columns("servers", "site", "server_ip", "server")
        sites = np.append(known["site"], self._all["site"])
        addresses = np.append(known["server_ip"], self._all["server_ip"])
        names = np.append(known["server"], self._all["server"])
        there = addresses >= 0
        sites, addresses, names = sites[there], addresses[there], names[there]
        by_server = Groups(tables.ranks(sites, self._rows.texts), tables.ranks(addresses, self._rows.texts))
        of_row = np.full(len(self._all["site"]), NONE)
        of_row[self._all["server_ip"] >= 0] = by_server.number[int(np.count_nonzero(known["server_ip"] >= 0)) :]
        clients = {
            verdict: _clients_by(of_row, self._all, self._counting & (self._all["verdict"] == place), len(by_server))
            for place, verdict in enumerate(tables.VERDICT)
        }
        resources = self._resources(of_row)
        gaps = self._gaps()
        lacks = self._lacks()
        found = []
        for number, row in enumerate(by_server.first.tolist()):
            of_each = {verdict: int(column[number]) for verdict, column in clients.items()}
            state = (
                "needed" if of_each["depends"] or of_each["covered"] else "unknown" if of_each["unknown"] else "free"
            )
            site, address = int(sites[row]), int(addresses[row])
            found.append(
                Server(
                    self.text(site),
                    self.text(address),
                    self.text(int(names[row])),
                    state,
                    of_each,
                    resources.get(number, []),
                    lacks.get((site, address), "it is not known how long it was observed"),
                    gaps.get((site, address), []),
                )
            )
        order = {"needed": 0, "unknown": 1, "free": 2}
        return sorted(found, key=lambda server: (order[server.state], -server.clients["depends"]))

    def _host(self, name: int, address: int) -> str:
        spelt, ip = self.text(int(name)), self.text(int(address))
        return f"{spelt} ({ip})" if spelt else ip

    def _resources(self, of_row: Ints) -> dict[int, list[Used]]:
        """For each server what is in the way there, that of most clients first."""
        rows = _those(self._all, self._in_the_way)
        server = of_row[self._in_the_way]
        alike = Groups(server, rows["resource"])
        clients = alike.different(rows["client_ip"])
        found: dict[int, list[Used]] = defaultdict(list)
        for group in np.argsort(-clients, kind="stable").tolist():
            row = alike.first[group]
            name = self.text(int(rows["resource"][row])) or "(login)"
            found[int(server[row])].append(Used(name, int(clients[group])))
        return found

    def lacks(self) -> list[str]:
        """What the captures as a whole lack to have been observed enough, of each site that lacks something."""
        return [lack for (_, server), lack in self._lacks().items() if server < 0 and lack]

    def _lacks(self) -> dict[tuple[int, int], str]:
        """For each site (server: missing) and server what it lacks to have been observed enough."""
        columns = self._rows.columns("observation", "site", "server_ip", "lacks")
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        return {(site, server): self.text(lack) for site, server, lack in rows}

    def _gaps(self) -> dict[tuple[int, int], list[str]]:
        """For each server what the captures may have hidden there."""
        columns = self._rows.columns("coverage", "site", "server_ip", "measure", "value")
        found: dict[tuple[int, int], list[str]] = defaultdict(list)
        for site, server, measure, value in zip(*(column.tolist() for column in columns.values()), strict=True):
            words = GAPS.get(self._rows.texts.text(measure) or "")
            if words and server >= 0 and value > 0:
                found[site, server].append(count(value, *words))
        return found


def named(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """A few names, and how many there are more."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most:,} more"


def free_servers(servers: Sequence[Server]) -> Iterator[tuple[str, list[str]]]:
    """Sentences on the servers where nothing stands in the way, and their names."""
    free = [server for server in servers if server.state == "free"]
    clear = [server.name or server.ip for server in free if not server.gaps and not server.lacks]
    hidden = [server.name or server.ip for server in free if server.gaps or server.lacks]
    if clear:
        yield f"{count(len(clear), 'server')} where nobody was seen to need a null session", clear
    if hidden:
        also = "likewise, but " if clear else "where nobody was seen to need a null session, but "
        yield f"{count(len(hidden), 'server')} {also}the captures do not show enough of it", hidden


def _those(columns: Columns, which: Mask) -> Columns:
    return {name: column[which] for name, column in columns.items()}


def _clients(columns: Columns, which: Mask) -> int:
    return len(np.unique(combined(columns["site"][which], columns["client_ip"][which])))


def _clients_by(group: Ints, columns: Columns, which: Mask, groups: int) -> Numbers:
    """How many clients each group has among some rows."""
    where = which & (group >= 0)
    pairs = np.unique(combined(group[where], columns["client_ip"][where]), return_index=True)[1]
    return np.bincount(group[where][pairs], minlength=groups)
