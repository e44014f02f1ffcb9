"""Display filters of Wireshark for rows of `dependencies`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

import numpy as np

from analyzer import tables
from analyzer.analysis import Analysis
from analyzer.groups import looked_up, places
from analyzer.sessions.joins import NONE, Ints
from analyzer.slices.behind import Behind, behind, tabled
from analyzer.slices.connections import address_of
from analyzer.slices.selection import Selection, chosen_rows
from analyzer.tables import TableSet

MOST_TERMS = 16
"""Connections, and sessions, that a filter names one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Display filters for a row. They are for the capture that the row names; empty where there is nothing to look for."""

    row: int
    """Its number, from 1."""
    client_ip: str
    server_ip: str
    resource: str | None
    operation: str | None
    verdict: str
    capture: str
    frame: int | None
    by_frame: str
    """The frame to look at first."""
    by_connection: str
    """All packets of its connections."""
    by_session: str
    """Of these, that frame and all messages of its sessions."""
    by_resource: str
    """Of these, that frame and the messages that name its pipe or share."""


COLUMNS = ("client_ip", "server_ip", "resource", "operation", "verdict", "capture", "frame")


def display_filters(analysis: Analysis, selection: Selection | None = None) -> list[Filters]:
    """The filters for the rows that fit, in their order. Raises UsageError if none does."""
    chosen = chosen_rows(analysis, selection or Selection())
    rows = tabled(analysis)
    found = behind(rows, chosen, analysis)
    listed = analysis.arrow("dependencies").take(tables.ints(chosen)).select(COLUMNS).to_pylist()
    ends, sessions = _ends(rows, found), _sessions(rows, found)
    pipes = _texts_of(rows, "pipe_opens", "pipe") | _texts_of(rows, "binds", "pipe") | _texts_of(rows, "calls", "pipe")
    shares = _texts_of(rows, "trees", "share")
    made = []
    for place, row in enumerate(listed):
        first = "" if row["frame"] is None else f"frame.number == {row['frame']}"
        connection = _any(ends[place]) if ends[place] else _between(row["client_ip"], row["server_ip"])
        named = _named(row["resource"], pipes, shares)
        made.append(
            Filters(
                row=int(chosen[place]) + 1,
                **row,
                by_frame=first,
                by_connection=connection,
                by_session=_both(connection, _any([first, *sessions[place]])) if sessions[place] else "",
                by_resource=_both(connection, _any([first, *named])) if named else "",
            )
        )
    return made


def _ends(rows: TableSet, found: Behind) -> list[list[str]]:
    """For each row a term for each connection of its uses; none if they are too many."""
    known = rows.columns("connections", "connection_id", "client_ip", "client_port", "server_ip", "server_port")
    terms: list[list[str]] = []
    for ids in _by_row(found, found.use_connection):
        place = places(ids, known["connection_id"])
        place = place[place >= 0]
        if len(place) > MOST_TERMS:
            terms.append([])
            continue
        client, server = (
            [rows.texts.text(code) or "" for code in known[f"{end}_ip"][place].tolist()] for end in ("client", "server")
        )
        ports = zip(known["client_port"][place].tolist(), known["server_port"][place].tolist(), strict=True)
        terms.append(
            [
                f"({_between(one, other)} && tcp.port == {port} && tcp.port == {other_port})"
                for one, other, (port, other_port) in zip(client, server, ports, strict=True)
            ]
        )
    return terms


def _sessions(rows: TableSet, found: Behind) -> list[list[str]]:
    """For each row a term for each session of its uses; none if they are too many."""
    known = rows.columns("sessions", "session_key", "session_id")
    terms = []
    for keys in _by_row(found, found.use_session):
        ids = looked_up(known["session_id"], places(keys, known["session_key"]), NONE)
        texts = [rows.texts.text(code) or "" for code in np.unique(ids[ids >= 0]).tolist()]
        # SMB 2 and 3 have 64-bit numbers, SMB 1 the UID of four digits.
        spelt = [f"smb2.sesid == {text}" if text.startswith("0x") else f"smb.uid == 0x{text}" for text in texts]
        terms.append(spelt if len(spelt) <= MOST_TERMS else [])
    return terms


def _by_row(found: Behind, values: Ints) -> Iterable[Ints]:
    """The different values of the uses of each row."""
    order = np.argsort(found.use_row, kind="stable")
    cuts = np.searchsorted(found.use_row[order], np.arange(1, len(found.rows)))
    return (np.unique(part[part >= 0]) for part in np.split(values[order].astype(np.int64), cuts))


def _texts_of(rows: TableSet, table: str, column: str) -> set[str | None]:
    return {rows.texts.text(code) for code in np.unique(rows.columns(table, column)[column]).tolist() if code >= 0}


def _named(resource: Any, pipes: set[str | None], shares: set[str | None]) -> list[str]:
    """Terms for messages that name a pipe or share. Names that would need escapes other than these are not looked for."""
    if resource is None or not resource or not resource.isascii() or not resource.isprintable():
        return []
    spelt = resource.replace("\\", "\\\\").replace('"', '\\"')
    if resource in pipes:
        return [f'lower(smb2.filename) contains "{spelt}"', f'lower(smb.file) contains "{spelt}"']
    if resource in shares:
        return [f'upper(smb2.tree) contains "{spelt}"', f'upper(smb.path) contains "{spelt}"']
    return []


def _between(client: str, server: str) -> str:
    field = "ipv6" if isinstance(address_of(client), IPv6Address) else "ip"
    return f"{field}.addr == {client} && {field}.addr == {server}"


def _any(terms: list[str]) -> str:
    return " || ".join(filter(None, terms))


def _both(one: str, other: str) -> str:
    return f"({one}) && ({other})"
