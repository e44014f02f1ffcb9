"""Counts by client, by server, by pipe and by hour."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from analyzer import knowledge, tables
from analyzer.groups import Groups, Numbers, looked_up, places, places_of
from analyzer.sessions.joins import NONE, Ints
from analyzer.summary.naming import names_at
from analyzer.tables import TableSet

ANONYMOUS = tables.IDENTITY.index("anonymous")
PROVEN = tuple(tables.IDENTITY.index(name) for name in ("user", "machine", "authenticated"))
"""Identities that are somebody with credentials."""
HOUR_NS = 3600 * 1_000_000_000


def clients(rows: TableSet) -> pa.Table:
    """One row a client."""
    _, made = _by_host("client_ip", "server_ip", rows)
    return tables.table("clients", made, len(made["sessions"]))


def servers(rows: TableSet) -> pa.Table:
    """One row a server."""
    by_server, made = _by_host("server_ip", "client_ip", rows)
    site, server, dialect = rows.columns("connections", "site", "server_ip", "dialect").values()
    host = by_server.of(site, server)
    spoken = Groups(host, tables.ranks(dialect, rows.texts)).first
    spoken = spoken[(host[spoken] >= 0) & (dialect[spoken] >= 0)]
    how_many = np.bincount(host[spoken], minlength=len(by_server))
    dialects = tables.piped(dialect[spoken], how_many, rows.texts)
    made |= {
        "connections": tables.ints(np.bincount(host[host >= 0], minlength=len(by_server))),
        "dialects": dialects.take(tables.ints(np.where(how_many > 0, np.arange(len(by_server)), NONE))),
    }
    return tables.table("servers", made, len(by_server))


class _Hosts:
    """The hosts that take part in sessions, in alphabetical order."""

    def __init__(self, site: Numbers, ip: Numbers, rows: TableSet) -> None:
        there = np.flatnonzero(ip >= 0)
        self.groups = Groups(tables.ranks(site[there], rows.texts), tables.ranks(ip[there], rows.texts))
        self.there = there
        self.site, self.ip = site[there][self.groups.first], ip[there][self.groups.first]

    def __len__(self) -> int:
        return len(self.groups)

    def of(self, site: Numbers, ip: Numbers) -> Ints:
        """For each row the number of its host, `NONE` if it is none of them."""
        return places_of((site, ip), (self.site, self.ip))


def _by_host(mine: str, theirs: str, rows: TableSet) -> tuple[_Hosts, dict[str, Any]]:
    sessions = rows.columns("sessions", "site", mine, theirs, "started", "identity")
    hosts = _Hosts(sessions["site"], sessions[mine], rows)
    sessions = {name: column[hosts.there] for name, column in sessions.items()}
    by_host = hosts.groups
    made = {
        "site": tables.texts(hosts.site, rows.texts),
        mine: tables.texts(hosts.ip, rows.texts),
        theirs.removesuffix("_ip") + "s": tables.ints(by_host.different(sessions[theirs])),
        "sessions": tables.ints(by_host.sizes()),
        "first_seen": tables.times(by_host.least(sessions["started"])),
        "last_seen": tables.times(by_host.most(sessions["started"])),
    }
    for place, identity in enumerate(tables.IDENTITY):
        made[identity] = tables.ints(by_host.sums(sessions["identity"] == place))
    found = rows.columns("dependencies", "site", mine, "verdict", "excluded")
    host = np.where(found["excluded"], NONE, hosts.of(found["site"], found[mine]))
    for place, verdict in enumerate(tables.VERDICT):
        which = host[(found["verdict"] == place) & (host >= 0)]
        made[f"rows_{verdict}"] = tables.ints(np.bincount(which, minlength=len(hosts)))
    names = names_at(hosts.site, hosts.ip, by_host.most(sessions["started"]), rows)
    made[mine.removesuffix("_ip")] = tables.texts(names, rows.texts)
    return hosts, made


MOST_LISTED = 20
"""Texts that are listed in one cell."""


def applications(rows: TableSet) -> pa.Table:
    """One row an application of a site, and one for each function whose applications are not known."""
    found = rows.columns(
        "dependencies", "site", "application", "application_source", "function", "owner", "excluded", "verdict",
        "client_ip", "server_ip", "client_software", "resource", "operation", "uses", "first_seen", "last_seen",
    )  # fmt: skip
    known = found["application"] >= 0
    unknown = np.where(known, NONE, found["function"])
    # Its name last of all where there is none.
    ranked = [tables.ranks(column, rows.texts) for column in (found["site"], found["application"], unknown)]
    by_application = Groups(found["excluded"].astype(np.int64), *ranked)
    first = by_application.first
    texts = rows.texts
    made = {
        "site": tables.texts(found["site"][first], texts),
        "application": tables.texts(found["application"][first], texts),
        "application_source": tables.places_in(
            by_application.most(found["application_source"]), tables.APPLICATION_SOURCE
        ),
        "functions": _listed(by_application, found["function"], rows),
        "owner": _listed(by_application, found["owner"], rows),
        "excluded": tables.bools(found["excluded"][first]),
        "verdict": tables.places_in(by_application.least(found["verdict"]), tables.VERDICT),
        "clients": tables.ints(by_application.different(found["client_ip"])),
        "servers": tables.ints(by_application.different(found["server_ip"])),
        "client_ips": _listed(by_application, found["client_ip"], rows),
        "client_software": _listed(by_application, found["client_software"], rows),
        "resources": _listed(by_application, found["resource"], rows),
        "operations": _listed(by_application, found["operation"], rows),
        "uses": tables.ints(by_application.sums(found["uses"])),
        "first_seen": tables.times(by_application.least(found["first_seen"])),
        "last_seen": tables.times(by_application.most(found["last_seen"])),
    }
    for place, verdict in enumerate(tables.VERDICT):
        made[f"rows_{verdict}"] = tables.ints(by_application.sums(found["verdict"] == place))
    return tables.table("applications", made, len(by_application))


def _listed(groups: Groups, codes: Numbers, rows: TableSet) -> pa.Array:
    """For each group some of its different texts in alphabetical order; missing if there is none."""
    pairs = Groups(groups.number, tables.ranks(codes, rows.texts)).first
    pairs = pairs[codes[pairs] >= 0]
    number = groups.number[pairs]
    place = np.arange(len(pairs)) - np.searchsorted(number, number)
    pairs, number = pairs[place < MOST_LISTED], number[place < MOST_LISTED]
    how_many = np.bincount(number, minlength=len(groups))
    listed = tables.piped(codes[pairs], how_many, rows.texts)
    return listed.take(tables.ints(np.where(how_many > 0, np.arange(len(groups)), NONE)))


def pipes(rows: TableSet) -> pa.Table:
    """One row a pipe of a server, whoever opened it."""
    texts = rows.texts
    sessions = rows.columns("sessions", "session_key", "site", "client_ip", "server_ip", "identity")
    opens = rows.columns("pipe_opens", "session_key", "pipe", "status", "bytes_written", "bytes_read")
    session = places(opens["session_key"], sessions["session_key"])
    wanted = (session >= 0) & ~np.isin(looked_up(sessions["identity"], session, NONE), PROVEN) & (opens["pipe"] >= 0)
    opens = {name: column[wanted] for name, column in opens.items()}
    opens |= {name: column[session[wanted]] for name, column in sessions.items()}
    refused = [texts.code(knowledge.status_names(kind)[code]) for kind, code in knowledge.refusals("open")]
    uses = rows.columns("credentialed_uses", "site", "server_ip", "resource", "uses")
    names = np.append(opens["pipe"], [texts.code(name) for name in sorted(knowledge.pipe_names())])
    uses = {name: column[np.isin(uses["resource"], names)] for name, column in uses.items()}
    site, pipe, server = (
        np.append(opens[mine], uses[theirs])
        for mine, theirs in (("site", "site"), ("pipe", "resource"), ("server_ip", "server_ip"))
    )
    by_pipe = Groups(*[tables.ranks(column, texts) for column in (site, pipe, server)])
    none, size = np.zeros(len(uses["uses"]), dtype=np.int64), len(opens["pipe"])

    def summed(values: Numbers) -> pa.Array:
        return tables.ints(by_pipe.sums(np.append(values, none)))

    anonymous = np.where(opens["identity"] == ANONYMOUS, opens["client_ip"], NONE)
    purposes = {texts.code(row["pipe"]): texts.code(row["purpose"]) for row in knowledge.rows("pipes")}
    pipe_of = pipe[by_pipe.first]
    return tables.table(
        "pipes",
        {
            "site": tables.texts(site[by_pipe.first], texts),
            "server_ip": tables.texts(server[by_pipe.first], texts),
            "pipe": tables.texts(pipe_of, texts),
            "purpose": tables.formatted(pipe_of, lambda code: texts.text(purposes.get(code, NONE))),
            "opens": summed(np.ones(size, dtype=np.int64)),
            "succeeded": summed(opens["status"] == texts.code("STATUS_SUCCESS")),
            "denied": summed(np.isin(opens["status"], refused)),
            "anonymous_clients": tables.ints(by_pipe.different(np.append(anonymous, none - 1))),
            "bytes_written": summed(opens["bytes_written"]),
            "bytes_read": summed(opens["bytes_read"]),
            "credentialed_uses": tables.ints(by_pipe.sums(np.append(np.zeros(size, "i8"), uses["uses"]))),
        },
        len(by_pipe),
    )


def timeline(rows: TableSet) -> pa.Table:
    """One row an hour, server and identity."""
    texts = rows.texts
    sessions = rows.columns("sessions", "session_key", "site", "started", "server_ip", "client_ip", "identity")
    session = places(rows.columns("pipe_opens", "session_key")["session_key"], sessions["session_key"])
    sessions["opens"] = np.bincount(session[session >= 0], minlength=len(sessions["session_key"]))
    counted = (sessions["started"] >= 0) & (sessions["server_ip"] >= 0) & (sessions["identity"] >= 0)
    sessions = {name: column[counted] for name, column in sessions.items()}
    hour = sessions["started"] // HOUR_NS
    by_hour = Groups(
        tables.ranks(sessions["site"], texts), hour, tables.ranks(sessions["server_ip"], texts), sessions["identity"]
    )
    first = by_hour.first
    return tables.table(
        "timeline",
        {
            "site": tables.texts(sessions["site"][first], texts),
            "hour": tables.times(hour[first] * HOUR_NS, np.zeros(len(first), dtype=bool)),
            "server_ip": tables.texts(sessions["server_ip"][first], texts),
            "identity": tables.places_in(sessions["identity"][first], tables.IDENTITY),
            "sessions": tables.ints(by_hour.sizes()),
            "clients": tables.ints(by_hour.different(sessions["client_ip"])),
            "pipe_opens": tables.ints(by_hour.sums(sessions["opens"])),
        },
        len(by_hour),
    )
