"""What tests of verdicts share: cases, each a client of its own in one capture, with the rows that it must have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import analyzer
from tests.dialogue import Exchange, Talk, frame_of, write

ANY = object()
"""In place of what is not looked at."""


@dataclass(frozen=True)
class Row:
    """What a row of `dependencies` must hold. at: the exchange whose request it names."""

    resource: str | None
    verdict: str
    identity: object = "anonymous"
    refused_at: object = ANY
    confidence: object = ANY
    at: Exchange | None = None
    reason: str = ""
    """Words of the reason."""
    evidence: tuple[str, ...] = ()
    shadowed: bool = False
    root_cause: tuple[str, ...] = ()
    """Words of the root cause; none: it must be missing."""


Made = tuple[list[Talk], list[Row]]
"""The conversations of a client, and the rows that it must have, in their order, and no others."""


class Cases:
    """Cases by their names, which say what happens."""

    def __init__(self, network: str) -> None:
        self._network = network
        self.made: dict[str, tuple[str, list[Talk], list[Row]]] = {}

    def case(self, name: str) -> Callable[[Callable[[str], Made]], None]:
        """The function makes a case of this name for the address that it is given."""
        assert name not in self.made, name
        client = f"{self._network}.{len(self.made) + 1}"
        return lambda make: self.made.__setitem__(name, (client, *make(client)))

    @property
    def talks(self) -> list[Talk]:
        """All conversations."""
        return [talk for _, talks, _ in self.made.values() for talk in talks]

    def analyze(self, path: Path) -> analyzer.Analysis:
        """All of them from one capture."""
        return analyzer.analyze(write(path, *self.talks))

    def differences(self, name: str, dependencies: pd.DataFrame) -> list[str]:
        """In what the rows of a case are not what it wants."""
        client, _, expected = self.made[name]
        rows = dependencies[dependencies["client_ip"] == client]
        values = [{key: None if pd.isna(value) else value for key, value in row.items()} for _, row in rows.iterrows()]
        wanted = [(row.resource, row.verdict) for row in expected]
        found = [(row["resource"], row["verdict"]) for row in values]
        if found != wanted:
            return [f"rows: {wanted} expected, {found} found"]
        return [text for want, row in zip(expected, values, strict=True) for text in self._of_row(want, row)]

    def _of_row(self, want: Row, row: dict[str, object]) -> list[str]:
        told = [
            f"{column}: {getattr(want, column)!r} expected, {row[column]!r} found"
            for column in ("identity", "refused_at", "confidence")
            if getattr(want, column) not in (ANY, row[column])
        ]
        if want.at and row["frame"] != frame_of(want.at.request, *self.talks):
            told.append(f"frame: {frame_of(want.at.request, *self.talks)} expected, {row['frame']} found")
        if want.reason not in str(row["reason"]):
            told.append(f"reason: {want.reason!r} expected in {row['reason']!r}")
        missing = set(want.evidence) - set(str(row["evidence"]).split("; "))
        if missing:
            told.append(f"evidence: {missing} expected in {row['evidence']!r}")
        if (row["shadowed_by"] is not None) != want.shadowed:
            told.append(f"shadowed_by: {want.shadowed} expected, {row['shadowed_by']!r} found")
        cause = row["root_cause"]
        if (cause is not None) != bool(want.root_cause) or not all(words in str(cause) for words in want.root_cause):
            told.append(f"root_cause: {want.root_cause} expected, {cause!r} found")
        return told
