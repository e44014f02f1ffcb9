"""Pipes that lead to the same endpoint: closing one of them may leave its interfaces reachable through another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analyzer.groups import Groups, Mask
from analyzer.knowledge import rows as knowledge_rows
from analyzer.policy.rules import last_part
from analyzer.policy.uses import Replayed
from analyzer.tables import TableSet

CLOSING = ("NullSessionPipes", "RestrictNullSessAccess", "PipeFirewallActive", "AllowedPipes")
"""The settings that close single pipes."""


def still_open(rows: TableSet, data: Replayed, closed: Mask, listed: Sequence[tuple[str, ...]]) -> list[str]:
    """Sentences on pipes that are closed while another one of the same endpoint stays listed.

    closed: rows of `dependencies`; listed: for each server the pipes that stay open.
    """
    endpoints = _known() | _acknowledged(rows)
    pairs = np.unique(np.stack([data.server[closed], data.form[closed]], axis=1), axis=0)
    names: dict[tuple[str, tuple[str, ...]], set[str]] = {}
    for server, form in pairs.tolist():
        pipe = data.forms[form].uses[0].resource
        if pipe is None or not listed[server]:
            continue
        mine = endpoints.get(pipe)
        others = [entry for entry in listed[server] if mine is not None and endpoints.get(entry.casefold()) == mine]
        if others:
            names.setdefault((pipe, tuple(sorted(others))), set()).add(data.servers[server][1])
    return [
        f"{pipe} and {', '.join(others)} lead to the same endpoint: closing {pipe} may leave its interfaces reachable through "
        f"{', '.join(others)} ({_some(sorted(where))})"
        for (pipe, others), where in sorted(names.items())
    ]


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"on {', '.join(names[:most])}{more}"


def _known() -> dict[str, str]:
    """Endpoints by pipe, where documents name them for all systems."""
    return {row["pipe"]: row["endpoint"] for row in knowledge_rows("pipe_endpoints") if row["systems"] == "all"}


def _acknowledged(rows: TableSet) -> dict[str, str]:
    """Endpoints by pipe, as servers name them in acknowledgements of binds; where they do not agree, none."""
    found: dict[str, set[str]] = {}
    for table in ("pipe_opens", "binds"):
        columns = rows.columns(table, "pipe", "secondary_address")
        told = (columns["pipe"] >= 0) & (columns["secondary_address"] >= 0)
        pipe, address = columns["pipe"][told], columns["secondary_address"][told]
        for row in Groups(pipe, address).first.tolist():
            name = rows.texts.text(int(pipe[row])) or ""
            endpoint = last_part(rows.texts.text(int(address[row])) or "").casefold()
            if endpoint:
                found.setdefault(name, set()).add(endpoint)
    return {name: next(iter(endpoints)) for name, endpoints in found.items() if len(endpoints) == 1}
