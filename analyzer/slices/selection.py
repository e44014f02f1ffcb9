"""A choice among the rows of `dependencies`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analyzer import tables
from analyzer.analysis import Analysis
from analyzer.attribution.matching import Distinct, globs
from analyzer.attribution.rules import has_address, has_name, machines_of
from analyzer.errors import UsageError
from analyzer.sessions.joins import Ints
from analyzer.tables import TableSet

CHOSEN_BY = ("client_ip", "client", "server_ip", "server", "resource", "application", "verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows: those that fit everything that is given here, of each of which one must fit; given nothing, all.

    Texts are patterns as of file names (`*`, `?`, `[a-z]`), and capitals do not matter.
    """

    clients: Sequence[str] = ()
    """Addresses, networks or names."""
    servers: Sequence[str] = ()
    resources: Sequence[str] = ()
    """Pipes, shares, `rap`, `dfs`."""
    verdicts: Sequence[str] = ()
    applications: Sequence[str] = ()
    rows: Sequence[int] = ()
    """By number, from 1, in the order of the table."""


def chosen_rows(analysis: Analysis, selection: Selection) -> Ints:
    """Places of the rows that fit. Raises UsageError if a number or a verdict does not exist, or no row fits."""
    found = analysis.arrow("dependencies")
    rows = TableSet({"dependencies": found})
    columns = rows.columns("dependencies", *CHOSEN_BY)
    fits = np.ones(len(found), dtype=bool)
    if wrong := [number for number in selection.rows if not 0 < number <= len(found)]:
        raise UsageError(f"there is no row {wrong[0]}: there are {len(found):,} dependencies, numbered from 1")
    if unknown := [name for name in selection.verdicts if name not in tables.VERDICT]:
        raise UsageError(f"no verdict is called {unknown[0]!r}; there are {', '.join(tables.VERDICT)}")
    if selection.rows:
        fits &= np.isin(np.arange(1, len(found) + 1), list(selection.rows))
    if selection.verdicts:
        fits &= np.isin(columns["verdict"], [tables.VERDICT.index(name) for name in selection.verdicts])
    for end, patterns in (("client", selection.clients), ("server", selection.servers)):
        if patterns:
            machines = machines_of(patterns, end)
            is_it = Distinct(columns[f"{end}_ip"], rows.texts.text).are(has_address(machines))
            fits &= is_it | Distinct(columns[end], rows.texts.text).are(has_name(machines.names))
    for column, patterns in (("resource", selection.resources), ("application", selection.applications)):
        if patterns:
            fits &= Distinct(columns[column], rows.texts.text).are(globs(patterns))
    if not fits.any():
        raise UsageError("no row of `dependencies` fits; `nullsession tables dependencies` lists them")
    return np.flatnonzero(fits).astype(np.int64)
