"""Hints of what is not in the captures: other ways to the same services, and machines that are named but not seen."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from analyzer import tables
from analyzer.groups import Groups, Numbers, ascending, looked_up, places, places_of
from analyzer.sessions.joins import NONE
from analyzer.smb.dfs import machine_of
from analyzer.tables import Columns, TableSet

OTHER_WAY, ONLY_NAMED, ONLY_REFERRED, ONLY_LOGGED = range(len(tables.HINT))
MEANINGS = {
    OTHER_WAY: "the client also reaches the server so; what it asks for there was not looked into",
    ONLY_NAMED: "the client names it in a call or asks for a referral to it; no traffic with a server of that name was captured",
    ONLY_REFERRED: "a DFS referral offered it to the client, which takes one of those offered; no traffic with a server of that "
    "name was captured, so what clients do there is not in these results: capture at that server, too, or make sure that it is "
    "not in use",
    ONLY_LOGGED: "a log tells of anonymous use of it that no capture shows",
}
DFS = tables.CALL_PROTOCOL.index("dfs")


def hints(rows: TableSet) -> pa.Table:
    """One row a hint: kind, client, server or name, how often."""
    known = _known_names(rows)
    parts = [_other_ways(rows), _only_named(rows, known), _only_referred(rows, known), _only_logged(rows)]
    made: Columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    texts = rows.texts
    by = [tables.ranks(made[name], texts) for name in ("told_by", "what", "server", "server_ip", "client_ip", "site")]
    order = np.lexsort((*by, made["kind"]))
    made = {name: column[order] for name, column in made.items()}
    return tables.table(
        "hints",
        {
            "site": tables.texts(made["site"], texts),
            "kind": tables.places_in(made["kind"], tables.HINT),
            **{
                name: tables.texts(made[name], texts)
                for name in ("client_ip", "server_ip", "server", "told_by", "what")
            },
            "count": tables.ints(made["count"]),
            "first_seen": tables.times(made["first_seen"]),
            "last_seen": tables.times(made["last_seen"]),
            "capture": tables.texts(made["capture"], texts),
            "frame": tables.ints(made["frame"]),
            "meaning": tables.formatted(made["kind"], MEANINGS.get),
        },
        len(order),
    )


def _hints(kind: int, length: int, **columns: Numbers) -> Columns:
    names = (
        "site", "client_ip", "server_ip", "server", "told_by", "what", "count", "first_seen", "last_seen", "capture", "frame",
    )  # fmt: skip
    nothing = np.full(length, NONE, dtype=np.int64)
    return {"kind": nothing + 1 + kind, **{name: columns.get(name, nothing) for name in names}}


def _other_ways(rows: TableSet) -> Columns:
    """Of clients that have dependencies."""
    ways = rows.columns("other_ways", "site", "client_ip", "server_ip", "way", "attempts", "first_seen", "last_seen")
    clients = rows.columns("dependencies", "site", "client_ip")
    known = places_of((ways["site"], ways["client_ip"]), (clients["site"], clients["client_ip"])) >= 0
    ways = {name: column[known] for name, column in ways.items()}
    names = np.array([rows.texts.code(name) for name in tables.OTHER_WAY])
    what, count = names[ways.pop("way")], ways.pop("attempts")
    return _hints(OTHER_WAY, len(what), what=what, count=count, **ways)


def _only_named(rows: TableSet, known: set[str]) -> Columns:
    calls = rows.columns("calls", "session_key", "protocol", "server_name", "name", "time", "capture", "frame")
    sessions = rows.columns("sessions", "session_key", "site", "client_ip", "server_ip")
    texts = rows.texts
    asked = np.where(calls["protocol"] == DFS, calls["name"], calls["server_name"])
    named = {code: machine_of(texts.text(code) or "") for code in ascending(asked[asked >= 0]).tolist()}
    unseen = {code: texts.code(name) for code, name in named.items() if name and _short(name) not in known}
    which = np.isin(asked, list(unseen))
    calls = {name: column[which] for name, column in calls.items()}
    server = np.array([unseen[code] for code in asked[which].tolist()], dtype=np.int64)
    session = places(calls["session_key"], sessions["session_key"])
    site, client, asked_ip = (looked_up(sessions[name], session, NONE) for name in ("site", "client_ip", "server_ip"))
    groups = Groups(site, client, server, asked_ip, calls["protocol"])
    first = groups.first
    protocols = np.array([texts.code(name) for name in tables.CALL_PROTOCOL])
    return _hints(
        ONLY_NAMED,
        len(groups),
        site=np.where(site[first] < 0, texts.code(""), site[first]),
        client_ip=client[first],
        server=server[first],
        told_by=asked_ip[first],
        what=protocols[calls["protocol"][first]],
        count=groups.sizes(),
        first_seen=groups.least(calls["time"]),
        last_seen=groups.most(calls["time"]),
        capture=calls["capture"][first],
        frame=calls["frame"][first],
    )


def _only_referred(rows: TableSet, known: set[str]) -> Columns:
    """Whoever was referred there: a server without traffic is missing in the results, whatever the identity was."""
    told = rows.columns(
        "referrals", "site", "client_ip", "server_ip", "named", "target", "answers", "first_seen", "last_seen", "capture",
        "frame",
    )  # fmt: skip
    text = rows.texts.text
    unseen = [code for code in np.unique(told["named"]).tolist() if _short(text(code) or "") not in known]
    told = {name: column[np.isin(told["named"], unseen)] for name, column in told.items()}
    renamed = {"server_ip": "told_by", "named": "server", "target": "what", "answers": "count"}
    columns = {renamed.get(name, name): column for name, column in told.items()}
    return _hints(ONLY_REFERRED, len(told["named"]), **columns)


def _only_logged(rows: TableSet) -> Columns:
    logged = rows.columns("endpoint_unseen", "client_ip", "server_ip", "server", "event", "time")
    groups = Groups(*[logged[name] for name in ("client_ip", "server_ip", "server", "event")])
    first = groups.first
    return _hints(
        ONLY_LOGGED,
        len(groups),
        site=np.full(len(groups), rows.texts.code("")),
        client_ip=logged["client_ip"][first],
        server_ip=logged["server_ip"][first],
        server=logged["server"][first],
        what=logged["event"][first],
        count=groups.sizes(),
        first_seen=groups.least(logged["time"]),
        last_seen=groups.most(logged["time"]),
    )


def _known_names(rows: TableSet) -> set[str]:
    """Names and addresses of all machines that traffic was captured with, in their short form."""
    hosts = rows.columns("hosts", "name", "other_names", "ip")
    trees = rows.columns("trees", "path")
    ends = rows.columns("connections", "client_ip", "server_ip")
    sessions = rows.columns("sessions", "server_name", "server_domain")
    codes = ascending(np.concatenate([*hosts.values(), *ends.values(), *sessions.values()]))
    names = [name for code in codes.tolist() for name in (rows.texts.text(code) or "").split("|")]
    # The client connected to what it calls so, whatever its name is.
    names += [machine_of(rows.texts.text(code) or "") for code in ascending(trees["path"]).tolist()]
    return {_short(name) for name in names if name}


def _short(name: str) -> str:
    """A name up to its first dot, without capitals; an address as it is."""
    is_address = name.replace(".", "").isdigit() or ":" in name
    return name.casefold() if is_address else name.partition(".")[0].casefold()
