"""The counts of uses and of opens on disk shares, against dictionaries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.compiled import Form, Table
from analyzer.sessions import uses
from analyzer.sessions.uses import COVER_NS, HOUR_NS, DiskCounter, UseCounter

SECOND = 1_000_000_000
use = st.fixed_dictionaries(
    {
        "pair": st.integers(0, 1),
        "connection": st.integers(0, 2),
        "guid": st.sampled_from([0, 7, -9]),
        "resource": st.integers(0, 1),
        "interface": st.sampled_from([-1, 2]),
        "operation": st.sampled_from([-1, 3]),
        "time_ns": st.sampled_from([5, HOUR_NS, HOUR_NS + 59 * SECOND, HOUR_NS + 61 * SECOND, 3 * HOUR_NS]),
        "succeeded": st.booleans(),
        "capture_no": st.integers(0, 2),
        "frame": st.integers(1, 99),
    }
)
windows = st.lists(st.tuples(st.lists(use, max_size=8), st.lists(use, max_size=8)), max_size=4)
ASKED = ("pair", "resource", "interface", "operation")


def table(rows: list[dict[str, Any]], names: tuple[str, ...]) -> Table:
    """Rows as the kernels take them: a row of the table for each field."""
    return np.array([[row[name] for row in rows] for name in names], dtype=np.int64).reshape(len(names), len(rows))


def used(rows: list[dict[str, Any]]) -> Table:
    """Uses as the kernels take them."""
    names = ("pair", "connection", "guid", "resource", "interface", "operation", "time_ns", "succeeded")
    return table(rows, (*names, "capture_no", "frame"))


def counted(rows: list[tuple[dict[str, Any], bool]]) -> dict[tuple[int, ...], tuple[int, ...]]:
    """What must be counted: by client, server, resource, operation and hour."""
    groups: dict[tuple[int, ...], list[tuple[dict[str, Any], bool]]] = {}
    for row, follows in rows:
        groups.setdefault((*(row[name] for name in ASKED), row["time_ns"] // HOUR_NS), []).append((row, follows))
    found = {}
    for key, members in groups.items():
        first = min((row for row, _ in members), key=lambda row: row["time_ns"])  # the first of equals
        found[key] = (
            len(members),
            sum(row["succeeded"] for row, _ in members),
            sum(follows for _, follows in members),
            first["time_ns"],
            max(row["time_ns"] for row, _ in members),
            first["capture_no"],
            first["frame"],
        )
    return found


def covers(refusal: dict[str, Any], row: dict[str, Any]) -> bool:
    """True if the use is the same client's success with what it was refused shortly before, or with all of the resource."""
    same = all(refusal[name] in (row[name], -1) for name in ("interface", "operation"))
    same = same and (refusal["interface"] == refusal["operation"] == -1 or all(refusal[n] == row[n] for n in ASKED))
    same = same and all(refusal[name] == row[name] for name in ("pair", "resource"))
    client = refusal["connection"] == row["connection"] or (row["guid"] != 0 and refusal["guid"] == row["guid"])
    return bool(same and client and row["succeeded"] and 0 <= row["time_ns"] - refusal["time_ns"] <= COVER_NS)


@pytest.mark.parametrize("room", [3, uses.MAX_REFUSALS])
@given(windows=windows)
def test_uses_are_counted(form: Form, room: int, windows: list[tuple[Any, Any]]) -> None:
    counter = UseCounter(form, room)
    refusals: list[dict[str, Any]] = []
    rows: list[tuple[dict[str, Any], bool]] = []
    for refused, added in windows:
        counter.refused(used(refused))
        counter.add(used(added))
        refusals = (refusals + refused)[-room:]
        rows += [(row, any(covers(refusal, row) for refusal in refusals)) for row in added]
    names = ("uses", "succeeded", "after_refusal", "first_ns", "last_ns", "capture_no", "frame")
    found = {
        tuple(int(row[name]) for name in (*ASKED, "hour")): tuple(int(row[name]) for name in names)
        for row in counter.finish()
    }
    assert found == counted(rows)


opens = st.lists(
    st.fixed_dictionaries(
        {
            "session": st.integers(-1, 1),
            "connection": st.integers(0, 3),
            "order": st.integers(0, 1000),
            "tree": st.integers(-1, 1),
            "name": st.integers(-1, 8),
            "succeeded": st.booleans(),
            "denied": st.booleans(),
        }
    ),
    max_size=30,
    unique_by=lambda row: row["order"],
)


@given(windows=st.lists(opens, max_size=3))
def test_disk_opens_are_counted(form: Form, windows: list[list[dict[str, Any]]]) -> None:
    counter = DiskCounter(form)
    model: dict[tuple[int, int], dict[str, Any]] = {}
    for window in windows:
        names = ("session", "connection", "order", "tree", "name", "succeeded", "denied")
        counter.add(table(window, names))
        for row in sorted(window, key=lambda row: row["order"]):
            disk = model.setdefault(
                (row["session"], row["tree"]), {"first": row, "opens": 0, "ok": 0, "no": 0, "names": []}
            )
            disk["opens"] += 1
            disk["ok"] += row["succeeded"]
            disk["no"] += row["denied"]
            if row["name"] >= 0 and row["name"] not in disk["names"]:
                disk["names"].append(row["name"])
    found = counter.finish()
    assert len(found) == len(model)
    for row in found:
        disk = model[int(row["session"]), int(row["tree"])]
        assert (row["connection"], row["order"]) == (disk["first"]["connection"], disk["first"]["order"])
        assert (row["opens"], row["succeeded"], row["denied"]) == (disk["opens"], disk["ok"], disk["no"])
        assert row["samples"].tolist() == (disk["names"] + [-1] * 5)[:5]
