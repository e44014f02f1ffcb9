"""The tables that live from window to window, against dictionaries and lists."""

from __future__ import annotations

from time import process_time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.compiled import Form, plain_kernels
from analyzer.sessions import lookup
from analyzer.sessions.lookup import LEAST, NONE, Chains, Numbers, keys

BIG = 2**63 - 1
words = st.one_of(st.integers(0, 3), st.sampled_from([-1, -(2**63), BIG, 1 << 32, (1 << 32) + 1, 0xFFFFFFFF]))
some_keys = st.lists(st.tuples(words, words), max_size=12)
steps = st.lists(st.tuples(st.sampled_from(["number", "find", "set"]), some_keys), max_size=12)


def table(of: list[tuple[int, ...]], width: int = 2) -> Any:
    """Keys as the kernels take them."""
    return np.ascontiguousarray(np.array(of, dtype=np.int64).reshape(len(of), width).T)


class CountedKeys:
    """What `Numbers` must do, with a dictionary."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, ...], int] = {}
        self.count = 0

    def number(self, wanted: list[tuple[int, ...]]) -> tuple[list[int], list[int]]:
        first = []
        for place, key in enumerate(wanted):
            if key not in self.known:
                self.known[key] = self.count
                self.count += 1
                first.append(place)
        return [self.known[key] for key in wanted], first


@given(steps=steps)
def test_numbers_are_those_of_a_dictionary(form: Form, steps: list[tuple[str, list[tuple[int, int]]]]) -> None:
    numbers, model = Numbers(2, form), CountedKeys()
    for what, wanted in steps:
        if what == "number":
            given_numbers, first = numbers.number(table(wanted))
            assert (given_numbers.tolist(), first.tolist()) == model.number(list(wanted))
        elif what == "find":
            assert numbers.find(table(wanted)).tolist() == [model.known.get(key, NONE) for key in wanted]
        else:
            values = list(range(1000, 1000 + len(wanted)))
            numbers.set(table(wanted), np.array(values, dtype=np.int64))
            model.known.update(zip(wanted, values, strict=True))


def test_numbers_stay_when_the_table_grows(form: Form) -> None:
    numbers, model = Numbers(2, form), CountedKeys()
    for begin in range(0, 20 * LEAST, LEAST // 2):
        wanted = [(key % 7, key * key) for key in range(begin // 2, begin + LEAST // 2)]
        found, first = numbers.number(table(wanted))
        assert (found.tolist(), first.tolist()) == model.number(list(wanted))
    assert numbers.find(table(list(model.known))).tolist() == list(model.known.values())


def test_keys_of_no_more_use_are_dropped_when_room_is_needed(form: Form) -> None:
    numbers = Numbers(1, form, lambda owners: owners >= 0)
    for begin in range(0, 100 * LEAST, LEAST):
        numbers.number(keys(-1 - np.arange(begin, begin + LEAST)))
        numbers.number(keys(np.arange(10)))
    assert numbers.find(keys(np.arange(10))).tolist() == list(range(LEAST, LEAST + 10))
    assert len(numbers._index.keys) <= 4 * LEAST


def test_collisions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "mix", lambda *_: 0)
    numbers, model = Numbers(1, plain_kernels), CountedKeys()
    wanted = [(key * 17 % 50,) for key in range(200)]
    found, first = numbers.number(table(wanted, 1))
    assert (found.tolist(), first.tolist()) == model.number(list(wanted))


links = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=40)


@given(windows=st.lists(st.tuples(links, links), max_size=4))
def test_rows_are_found_as_of_their_place(form: Form, windows: list[tuple[Any, Any]]) -> None:
    chains = Chains(1, form, lambda rows: np.ones(len(rows), dtype=bool))
    known: list[tuple[int, int, int]] = []  # order, row, key
    for added, asked in windows:
        rows = list(range(len(known), len(known) + len(added)))
        known += [(order, row, key) for (key, order), row in zip(added, rows, strict=True)]
        chains.add(
            table([(key,) for key, _ in added], 1),
            np.array([o for _, o in added], dtype=np.int64),
            np.array(rows, dtype=np.int64),
        )
        found = chains.as_of(table([(key,) for key, _ in asked], 1), np.array([o for _, o in asked], dtype=np.int64))
        assert found.tolist() == [
            max(((o, row) for o, row, k in known if k == key and o < order), default=(0, NONE))[1]
            for key, order in asked
        ]


def test_chains_keep_what_is_of_use(form: Form) -> None:
    """Rows of one key in four go on being found, in whatever order they came; the others make room."""
    chains = Chains(1, form, lambda rows: rows % 4 == 0)
    places = np.random.default_rng(1).permutation(40 * LEAST)
    for rows in np.split(places, 80):
        chains.add(keys(rows % 4), rows.astype(np.int64), rows.astype(np.int64))
    order = np.arange(1, 40 * LEAST, 4)
    assert (chains.as_of(keys(np.zeros(len(order), dtype=np.int64)), order) == order - 1).all()
    assert len(chains._index.links) <= 3 * len(order) + 2 * LEAST


@pytest.mark.parametrize("descending", [False, True])
def test_many_rows_under_one_key_make_no_long_walks(descending: bool) -> None:
    """Step by step this would be 100 million steps, a quarter of a minute and more; the bound leaves room for slow machines."""
    count = 10_000
    chains = Chains(1, plain_kernels, lambda rows: np.ones(len(rows), dtype=bool))
    order = np.arange(count, dtype=np.int64)
    begun = process_time()
    batches = np.split(order, 10)
    for rows in batches[::-1] if descending else batches:
        chains.add(keys(np.zeros(len(rows), dtype=np.int64)), rows, rows)
    asked = np.tile(np.arange(1, 11, dtype=np.int64), count // 10)
    found = chains.as_of(keys(np.zeros(count, dtype=np.int64)), asked)
    assert (found == asked - 1).all()
    assert process_time() - begun < 5


def test_nothing_asked_nothing_found(form: Form) -> None:
    nothing = np.empty(0, dtype=np.int64)
    chains = Chains(2, form, lambda rows: rows >= 0)
    chains.add(table([]), nothing, nothing)
    assert chains.as_of(table([(1, 2)]), np.array([5])).tolist() == [NONE]
    assert chains.as_of(table([]), nothing).tolist() == []
    assert Numbers(2, form).number(table([]))[0].tolist() == []
