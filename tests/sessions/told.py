"""What tests of sessions share: cases that are analysed together, and tables as plain values.

A case is conversations of a client of its own, with what the sessions table must say of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

import analyzer
from tests.dialogue import Talk, write

Build = Callable[[str], Talk | Sequence[Talk]]
"""Makes the conversations of a client, whose address it is given."""
ANY = object()
"""In place of what is not looked at."""


@dataclass(frozen=True)
class Period:
    """What a row of `sessions` must hold: None for missing, `ANY` for whatever."""

    asked: object
    identity: str
    confidence: object
    outcome: object = "accepted"
    status: object = ANY
    user: object = ANY
    signs: tuple[str, ...] = ()
    """Signs that must be among its evidence."""
    without: tuple[str, ...] = ()
    """Signs that must not be."""


@dataclass(frozen=True)
class Case:
    """A case by its name, which says what holds."""

    name: str
    build: Build
    periods: tuple[Period, ...]

    def __str__(self) -> str:
        return self.name


@dataclass
class Cases:
    """Cases that are analysed together, each on an address of its own."""

    cases: list[Case] = field(default_factory=list)

    def add(self, name: str, build: Build, *periods: Period) -> None:
        """One more; its conversations must give these periods in this order, and no others."""
        assert name not in {case.name for case in self.cases}, name
        self.cases.append(Case(name, build, periods))

    def address(self, case: Case) -> str:
        """The client of a case."""
        place = self.cases.index(case)
        return f"10.1.{place // 200}.{place % 200 + 1}"

    def analyze(self, path: Path) -> analyzer.Analysis:
        """All of them from one capture."""
        return analyzer.analyze(write(path, *self.talks()))

    def talks(self) -> Iterable[Talk]:
        """All conversations."""
        for case in self.cases:
            built = case.build(self.address(case))
            yield from [built] if isinstance(built, Talk) else built


def signs_of(evidence: object) -> list[str]:
    """The signs of a cell of evidence."""
    return str(evidence).split("; ")


def differences(sessions: pd.DataFrame, client: str, periods: Sequence[Period]) -> list[str]:
    """In what the rows of a client differ from these periods."""
    rows = [row for _, row in sessions[sessions["client_ip"] == client].iterrows()]
    wanted, found = [period.identity for period in periods], [row["identity"] for row in rows]
    told = [] if wanted == found else [f"identities: {wanted} expected, {found} found"]
    for place, (row, period) in enumerate(zip(rows, periods, strict=False)):
        for name in ("asked", "confidence", "outcome", "status", "user"):
            value = None if pd.isna(row[name]) else row[name]
            if getattr(period, name) not in (ANY, value):
                told.append(f"#{place} {name}: {getattr(period, name)!r} expected, {value!r} found")
        signs = signs_of(row["evidence"])
        told += [f"#{place} lacks {sign}: {signs}" for sign in period.signs if sign not in signs]
        told += [f"#{place} has {sign}: {signs}" for sign in period.without if sign in signs]
    return told


def opens_of(analysis: analyzer.Analysis) -> list[tuple[str, str, str]]:
    """Each open: pipe, identity of its session, status."""
    return _with_identity(analysis, analysis.pipe_opens, "pipe")


def trees_of(analysis: analyzer.Analysis) -> list[tuple[str, str, str]]:
    """Each tree connect: share, identity of its session, status."""
    return _with_identity(analysis, analysis.trees, "share")


def _with_identity(analysis: analyzer.Analysis, rows: pd.DataFrame, name: str) -> list[tuple[str, str, str]]:
    rows = rows.merge(analysis.sessions[["session_key", "identity"]], on="session_key", how="left")
    return plain(rows, name, "identity", "status")


def plain(rows: pd.DataFrame, *names: str) -> list[tuple[Any, ...]]:
    """Some columns as tuples, None for missing."""
    values = rows[list(names)].astype(object)
    return list(values.where(values.notna(), None).itertuples(index=False, name=None))


def counted(analysis: analyzer.Analysis) -> list[tuple[Any, ...]]:
    """The pipes that sessions with credentials used."""
    uses = analysis.credentialed_uses
    return plain(uses[uses["resource"] != "IPC$"], "client_ip", "resource", "uses", "succeeded")
