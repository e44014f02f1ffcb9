"""The rules that say how each use came out: a table (`knowledge/use_rules.csv`), read from above, of which the first sign
that holds decides.

Each kind of use (`pipe`, `bind`, `call`, `disk`, `ipc`, `session`) has its own signs, which `summary.uses` looks for. What a
sign counts as is `worked`, `unknown`, `denied`, or `nothing`: it is the session itself, in which nothing was done.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from analyzer import knowledge, tables
from analyzer.errors import AnalyzerError
from analyzer.groups import Mask
from analyzer.tables import Columns, TableSet

COUNTS_AS = ("worked", "unknown", "denied", "nothing")
WORKED, UNKNOWN, DENIED, NOTHING = range(len(COUNTS_AS))
OTHERWISE = "otherwise"


@dataclass(frozen=True, slots=True)
class UseRule:
    """A row of the table."""

    sign: str
    outcome: int
    """A place in `COUNTS_AS`."""
    confidence: int
    """A place in `tables.CONFIDENCE`."""
    evidence: str
    reason: str


@cache
def use_rules(kind: str) -> tuple[UseRule, ...]:
    """The rules of a kind of use in their order; the last one holds otherwise."""
    return tuple(
        UseRule(
            row["sign"],
            COUNTS_AS.index(row["counts_as"]),
            tables.CONFIDENCE.index(row["surety"]),
            row["evidence"],
            row["reason"],
        )
        for row in knowledge.rows("use_rules")
        if row["kind"] == kind
    )


def judged(kind: str, rows: TableSet, **signs: Mask) -> Columns:
    """Outcome, confidence, evidence and reason of each use: by the first rule whose sign holds.

    signs: for each sign of the kind where it holds. Texts are codes of `rows.texts`.
    """
    *rules, otherwise = use_rules(kind)
    if [rule.sign for rule in rules] != list(signs) or otherwise.sign != OTHERWISE:
        raise AnalyzerError(f"uses of kind {kind}: the rules know other signs, or in another order")
    which = np.select([signs[rule.sign] for rule in rules], list(range(len(rules))), len(rules))
    all_rules = [*rules, otherwise]
    texts = rows.texts
    return {
        "outcome": np.array([rule.outcome for rule in all_rules])[which],
        "confidence": np.array([rule.confidence for rule in all_rules])[which],
        "evidence": np.array([texts.code(rule.evidence) for rule in all_rules])[which],
        "reason": np.array([texts.code(rule.reason) for rule in all_rules])[which],
    }
