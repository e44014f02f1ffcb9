"""What messages show of their sessions, against the same said by columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analyzer.compiled import Form, Table
from analyzer.records import MESSAGE, Flag, Kind
from analyzer.sessions import columns, proofs
from analyzer.sessions.identity import Sign

SESSIONS = 3
NO_SESSION = -1
STATUS_ACCESS_DENIED = 0xC0000022
STATUS_BUFFER_OVERFLOW = 0x80000005
ERRMOREDATA = 234 << 16 | 1  # code in the upper half, class ERRDOS in the lower

message = st.fixed_dictionaries(
    {
        "session": st.integers(NO_SESSION, SESSIONS - 1),
        "kind": st.sampled_from([Kind.NEGOTIATE, Kind.SETUP, Kind.TREE_CONNECT, Kind.OPEN, Kind.ENCRYPTED]),
        "from_server": st.booleans(),
        "status": st.sampled_from([0, STATUS_BUFFER_OVERFLOW, ERRMOREDATA, STATUS_ACCESS_DENIED]),
        "tree_id": st.sampled_from([0, 1, 0xFFFF, 0xFFFFFFFF]),
        "flags": st.sampled_from([0, int(Flag.SIGNED)]),
        "ready": st.booleans(),
        "order": st.integers(0, 50),
    }
)


def new_sessions() -> Table:
    """Sessions of which nothing is known."""
    table = np.zeros((SESSIONS, proofs.S_WIDTH), dtype=np.int64)
    for column in (
        proofs.S_FIRST_ORDER,
        proofs.S_PROOF_CAPTURE_NO,
        proofs.S_FIRST_SUCCESS,
        proofs.S_LAST_SUCCESS,
        proofs.S_FIRST_REUSE,
    ):
        table[:, column] = -1
    return table


def least(rows: list[dict[str, Any]]) -> int:
    """The first place of rows, -1 if there are none."""
    return min((row["order"] for row in rows), default=-1)


@given(windows=st.lists(st.lists(message, max_size=15), max_size=3))
def test_sessions_know_what_their_messages_showed(form: Form, windows: list[list[dict[str, Any]]]) -> None:
    sessions = new_sessions()
    counted: list[dict[str, Any]] = []
    for told in windows:
        made = np.zeros(len(told), dtype=MESSAGE)
        for place, row in enumerate(told):
            row["frame"] = len(counted) + place + 1
            for name in ("kind", "from_server", "status", "tree_id", "flags", "frame"):
                made[name][place] = row[name]
        made["time_ns"] = made["frame"] * 10
        table = columns.of_messages(columns.empty(columns.MESSAGE_COLUMNS), made).table
        session, order = (np.array([row[name] for row in told], dtype=np.int64) for name in ("session", "order"))
        ready = np.array([row["ready"] for row in told], dtype=np.uint8)
        encrypted, plain_trees = (np.empty(len(told) + 1, dtype=np.int64) for _ in range(2))
        if told:
            form().note_proofs(table, session, order, ready, sessions, encrypted, plain_trees)
        inside = [
            place
            for place, row in enumerate(told)
            if row["session"] >= 0 and row["ready"] and row["kind"] not in (Kind.NEGOTIATE, Kind.SETUP)
        ]
        if told:
            secret = [p for p, row in enumerate(told) if row["kind"] == Kind.ENCRYPTED and row["ready"]]
            assert encrypted[: len(secret) + 1].tolist() == [*secret, -1]
            trees = [p for p in inside if told[p]["kind"] == Kind.TREE_CONNECT and is_good(told[p])]
            trees = [p for p in trees if not told[p]["flags"]]
            assert plain_trees[: len(trees) + 1].tolist() == [*trees, -1]
        counted += [row | {"counts": place in inside} for place, row in enumerate(told)]
    for number, session_row in enumerate(sessions.tolist()):
        mine = [row for row in counted if row["counts"] and row["session"] == number]
        good = [row for row in mine if is_good(row)]
        proving = [row for row in mine if is_good(row) or row["kind"] == Kind.ENCRYPTED]
        reuse = [row for row in mine if not row["from_server"] and row["tree_id"] == 1]
        reuse = [row for row in reuse if row["kind"] not in (Kind.TREE_CONNECT, Kind.LOGOFF)]
        signs = Sign.HINT_SIGNED if any(row["flags"] for row in mine) else Sign(0)
        signs |= Sign.HINT_ENCRYPTED if any(row["kind"] == Kind.ENCRYPTED for row in mine) else Sign(0)
        assert session_row[proofs.S_FIRST_ORDER] == least(mine)
        assert session_row[proofs.S_FIRST_NS] == (mine[0]["frame"] * 10 if mine else 0)
        assert session_row[proofs.S_FIRST_SUCCESS] == least(good)
        assert session_row[proofs.S_LAST_SUCCESS] == max((row["order"] for row in good), default=-1)
        assert session_row[proofs.S_FIRST_REUSE] == least(reuse)
        assert session_row[proofs.S_PROOF_FRAME] == (proving[0]["frame"] if proving else 0)
        assert session_row[proofs.S_SIGNS] == signs
        assert session_row[proofs.S_ENCRYPTED] == sum(row["kind"] == Kind.ENCRYPTED for row in mine)


def is_good(row: dict[str, Any]) -> bool:
    """True for an answer that says that something worked."""
    return bool(row["from_server"] and row["status"] != STATUS_ACCESS_DENIED and row["kind"] != Kind.ENCRYPTED)
