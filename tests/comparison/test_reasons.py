"""Sentences: each change has one, and names what it is about."""

from __future__ import annotations

import numpy as np
import pytest

from analyzer import tables
from analyzer.comparison.columns import CHANGE, WHY
from analyzer.comparison.reasons import BY, NOT_OBSERVED, Case, sentences
from analyzer.wire.texts import Texts


def sentence(change: str, texts: Texts | None = None, **fields: int) -> str:
    """Of a case in which nothing else is known."""
    values = dict.fromkeys(Case._fields, -1) | {"no_login": 0, "client_is_new": 0, "server_is_new": 0}
    values |= {"changed_hands": 0, "change": CHANGE.index(change)} | fields
    cases = {name: np.array([value]) for name, value in values.items()}
    [told] = sentences(cases, texts or Texts()).to_pylist()
    return str(told)


def test_every_rung_and_every_why_has_words() -> None:
    assert set(BY) == set(tables.RUNG)
    assert set(NOT_OBSERVED) == set(WHY)


@pytest.mark.parametrize("change", CHANGE)
def test_every_change_has_a_sentence(change: str) -> None:
    depends = tables.VERDICT.index("depends")
    told = sentence(change, why=0, verdict_before=depends, verdict_after=depends, identity_before=0, identity_after=0)
    assert told.endswith(".")


@pytest.mark.parametrize("rung", tables.RUNG)
def test_a_refusal_names_rung_and_status(rung: str) -> None:
    texts = Texts()
    told = sentence(
        "newly_refused", texts, rung=tables.RUNG.index(rung), status=texts.code("STATUS_X"), what=texts.code("samr")
    )
    assert BY[rung] in told
    assert "STATUS_X" in told


def test_new_says_who_was_not_there_before() -> None:
    assert "its client and its server" in sentence("new", client_is_new=1, server_is_new=1)
    assert "its client was" in sentence("new", client_is_new=1)
    assert "its server was" in sentence("new", server_is_new=1)
    assert "this use was not" in sentence("new")


def test_no_cases() -> None:
    assert len(sentences({name: np.empty(0, dtype=np.int64) for name in Case._fields}, Texts())) == 0
