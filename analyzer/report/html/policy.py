"""What a policy would do to what was seen, as the page is given it: plain rows, which are counted here and not judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

OUTCOMES = ("breaks", "unknown", "works")
"""In the order in which they are shown; others come last."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a row of `dependencies` at a server, because of which setting; why, and who says so."""

    server: str
    row: str
    outcome: str
    setting: str
    why: str
    source: str


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of a server that is recommended."""

    server: str
    setting: str
    value: str
    why: str
    source: str


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy by its name, and what it would do; or, with settings, one that is recommended."""

    name: str
    outcomes: Sequence[Outcome] = ()
    settings: Sequence[Setting] = field(default=())

    def alike(self) -> list[tuple[Outcome, int]]:
        """Outcomes that differ in their row only: the first of them, and how many they are; what breaks stands first."""
        first: dict[tuple[str, ...], Outcome] = {}
        rows: Counter[tuple[str, ...]] = Counter()
        for outcome in self.outcomes:
            key = (outcome.server, outcome.outcome, outcome.setting, outcome.why, outcome.source)
            first.setdefault(key, outcome)
            rows[key] += 1
        place = {name: number for number, name in enumerate(OUTCOMES)}
        order = sorted(first, key=lambda key: (place.get(key[1], len(OUTCOMES)), key[0], -rows[key]))
        return [(first[key], rows[key]) for key in order]
