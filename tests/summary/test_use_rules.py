"""The table of rules: complete, unambiguous, and on the side of the client."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from analyzer import knowledge, tables
from analyzer.errors import AnalyzerError
from analyzer.summary import rules

ROWS = knowledge.rows("use_rules")
KINDS = list(dict.fromkeys(row["kind"] for row in ROWS))


def test_each_sign_stands_once_and_what_holds_otherwise_last() -> None:
    for kind in KINDS:
        signs = [row["sign"] for row in ROWS if row["kind"] == kind]
        assert len(signs) == len(set(signs)), kind
        assert signs.index("otherwise") == len(signs) - 1, kind


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['kind']}-{row['sign']}")
def test_a_row_says_everything(row: dict[str, str]) -> None:
    assert row["counts_as"] in rules.COUNTS_AS
    assert row["surety"] in tables.CONFIDENCE
    assert re.fullmatch(r"[a-z_]+\.[a-z_]+(; [a-z_]+\.[a-z_]+)*", row["evidence"])
    assert row["reason"] == row["reason"].strip()
    assert row["source"]


def test_only_what_was_refused_or_dropped_counts_as_denied() -> None:
    """A wrong "not needed" breaks a network: whatever else was answered counts as worked, or is not known."""
    denied = {(row["kind"], row["sign"]) for row in ROWS if row["counts_as"] == "denied"}
    assert {sign.split("_")[0] for _, sign in denied} == {"refused", "dropped"}
    assert {row["counts_as"] for row in ROWS if row["sign"] == "otherwise"} <= {"worked", "unknown"}


def test_what_is_not_in_the_captures_is_unknown() -> None:
    missing = [row for row in ROWS if "not in the captures" in row["reason"] and row["counts_as"] != "worked"]
    assert len(missing) > 5
    assert {row["counts_as"] for row in missing} == {"unknown"}


def test_the_first_sign_that_holds_decides() -> None:
    rows = tables.TableSet({})
    yes, no = np.array([True, False, False]), np.array([False, False, False])
    found = rules.judged("ipc", rows, refused=yes, dropped=np.array([True, True, False]), unanswered=no)
    assert [rules.COUNTS_AS[place] for place in found["outcome"]] == ["denied", "denied", "unknown"]
    assert [rows.texts.text(code) for code in found["evidence"]] == [
        "tree.refused",
        "tree.connection_dropped",
        "tree.not_refused",
    ]


def test_signs_that_the_table_does_not_know_are_a_mistake() -> None:
    nothing = np.zeros(1, dtype=bool)
    with pytest.raises(AnalyzerError):
        rules.judged("ipc", tables.TableSet({}), refused=nothing, unanswered=nothing, dropped=nothing)


def test_every_rule_of_a_use_is_in_the_readme() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for row in ROWS:
        assert f"| {row['counts_as']} | {row['surety']} | {row['reason']} |" in readme, row
