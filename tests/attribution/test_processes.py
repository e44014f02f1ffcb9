"""Processes of clients, where somebody noted them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.attribution.uses import attributed, noted, table_set, use


def _found(connection: dict[str, object]) -> tuple[str | None, str | None, str | None]:
    (it,) = attributed([use("PUBLIC")], table_set([], [{"connection_id": 1} | connection]))
    return it["application"], it["application_source"], it["application_confidence"]


def test_what_a_capture_tool_noted() -> None:
    noted_ = {"process_id": 712, "process_name": "backupd", "process_side": "client"}
    assert _found(noted_) == ("backupd", "process", "strong")


@pytest.mark.parametrize(
    "connection",
    [
        {"process_id": 712, "process_name": "backupd", "process_side": "server"},
        {"process_id": 712, "process_name": "backupd"},  # nobody knows whose
        {"process_id": 712, "process_side": "client"},  # without a name
        {"process_id": 4, "process_name": "System", "process_side": "client"},
        {"process_id": 4, "process_name": "x", "process_side": "client"},
        {"process_id": 88, "process_name": "system", "process_side": "client"},
        {"process_id": 0, "process_name": "kernel_task", "process_side": "client"},
        {"process_id": 99, "process_name": "", "process_side": "client"},
        {},
    ],
)
def test_what_says_nothing_of_the_application(connection: dict[str, object]) -> None:
    assert _found(connection) == (None, None, None)


def test_further_notes() -> None:
    rows = table_set([], [{"connection_id": 1, "process_id": 5, "process_name": "captured", "process_side": "client"}])
    uses = [
        use("PUBLIC", session_key=10, connection_id=1),
        use("PUBLIC", session_key=11, connection_id=1),
        use("PUBLIC", session_key=12, connection_id=2),
        use("PUBLIC", session_key=13, connection_id=3),
        use("PUBLIC", session_key=-1, connection_id=3),
        use("PUBLIC", session_key=14, connection_id=4),
    ]
    found = attributed(
        uses,
        rows,
        processes=noted(
            rows,
            (1, 10, "of the session.exe", "strong"),  # for its session alone
            (1, -1, "of the connection.exe", "certain"),
            (2, -1, "weak.exe", "weak"),
            (2, -1, "strong.exe", "strong"),
            (3, -1, "one.exe", "strong"),  # which of the two is not known
            (3, -1, "two.exe", "strong"),
            (4, -1, r"C:\Windows\System32\svchost.exe", "certain"),
            (4, -1, "System", "certain"),
        ),
    )
    assert [(it["application"], it["application_confidence"]) for it in found] == [
        ("of the session.exe", "strong"),
        ("of the connection.exe", "certain"),
        ("strong.exe", "strong"),
        (None, None),
        (None, None),
        (None, None),
    ]


def test_two_notes_of_the_same_process_agree() -> None:
    rows = table_set()
    processes = noted(rows, (1, -1, "a.exe", "strong"), (1, -1, "a.exe", "strong"), (1, -1, "b.exe", "weak"))
    (found,) = attributed([use("PUBLIC")], rows, processes=processes)
    assert found["application"] == "a.exe"


def test_no_notes() -> None:
    rows = table_set()
    empty = {name: column[:0] for name, column in noted(rows, (1, 1, "x", "weak")).items()}
    (found,) = attributed([use("PUBLIC")], rows, processes=empty)
    assert found["application"] is None
    assert np.array(empty["process"]).size == 0
