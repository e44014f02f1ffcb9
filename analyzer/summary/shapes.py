"""What a client looks like from what it asks for: a label for people, which never changes a verdict nor leaves a row out."""

from __future__ import annotations

import numpy as np

from analyzer import tables
from analyzer.groups import Groups, Numbers, looked_up, places_of
from analyzer.sessions.joins import NONE
from analyzer.tables import TableSet

WINDOW_NS = 600 * 1_000_000_000
MANY_SERVERS = 10
"""Servers that a client asks anonymously within a window: few programs but scanners and inventories do that."""
ASKED_ANONYMOUS = tables.ASKED.index("anonymous")


def shapes(site: Numbers, client_ip: Numbers, rows: TableSet) -> Numbers:
    """For each client, by codes of `rows.texts`, the code of its label; `NONE` where there is nothing to say."""
    sessions = rows.columns("sessions", "site", "client_ip", "server_ip", "started", "asked")
    asked = (sessions["asked"] == ASKED_ANONYMOUS) & (sessions["started"] >= 0)
    sessions = {name: column[asked] for name, column in sessions.items()}
    most = np.zeros(0, dtype=np.int64)
    clients = Groups(sessions["site"], sessions["client_ip"])
    if len(clients):
        most = np.zeros(len(clients), dtype=np.int64)
        # Windows that begin at whole and at half lengths, so that no burst falls between two.
        for shift in (0, WINDOW_NS // 2):
            window = (sessions["started"] + shift) // WINDOW_NS
            of_window = Groups(clients.number, window - window.min())
            np.maximum.at(most, clients.number[of_window.first], of_window.different(sessions["server_ip"]))
    known = [sessions[name][clients.first] for name in ("site", "client_ip")]
    number = looked_up(most, places_of((site, client_ip), known), 0)
    codes = {
        count: rows.texts.code(f"like a scanner: {count:,} servers asked anonymously within ten minutes")
        for count in np.unique(number[number >= MANY_SERVERS]).tolist()
    }
    return np.array([codes.get(count, NONE) for count in number.tolist()], dtype=np.int64)
