"""Activity by day and hour: what was captured, what was seen then, and when new clients turned up."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

import analyzer
from analyzer import tables
from analyzer.analysis import Analysis
from analyzer.report.html import activity
from analyzer.summary.judging import Judging
from tests.dialogue import Smb2, write

DAY_NS = 86_400 * 10**9
HOUR_NS = 3_600 * 10**9
MONDAY = 20_605
"""2026-06-01, in days since 1970."""


def at(day: int, hour: float = 0) -> int:
    return (MONDAY + day) * DAY_NS + int(hour * HOUR_NS)


def made(
    captures: list[tuple[int, int]], sessions: list[tuple[int, str, int]], clients: dict[str, int], zone: str = "UTC"
) -> activity.Activity:
    """captures: first and last packet; sessions: hour, identity, how many; clients: when each was first seen."""
    rows = {name: tables.empty(name) for name in tables.ROWS}
    first, last = ([pair[place] for pair in captures] for place in (0, 1))
    rows["captures"] = tables.table(
        "captures",
        {
            "site": tables.listed([""] * len(captures)),
            "first_seen": tables.times(np.array(first, dtype=np.int64)),
            "last_seen": tables.times(np.array(last, dtype=np.int64)),
        },
        len(captures),
    )
    rows["timeline"] = tables.table(
        "timeline",
        {
            "hour": tables.times(np.array([hour for hour, _, _ in sessions], dtype=np.int64)),
            "identity": tables.named_categories([identity for _, identity, _ in sessions], tables.IDENTITY),
            "sessions": tables.ints(np.array([number for _, _, number in sessions], dtype=np.int64)),
        },
        len(sessions),
    )
    rows["dependencies"] = tables.table(
        "dependencies",
        {
            "site": tables.listed([""] * len(clients)),
            "client_ip": tables.listed(list(clients)),
            "verdict": tables.places_in(np.zeros(len(clients)), tables.VERDICT),
            "excluded": tables.bools(np.zeros(len(clients))),
            "first_seen": tables.times(np.array(list(clients.values()), dtype=np.int64)),
        },
        len(clients),
    )
    judging = Judging(zone=ZoneInfo(zone))
    return activity.activity(Analysis(rows, {}, {"timezone": zone}, judging))


def test_a_nightly_job_is_a_column() -> None:
    found = made([(at(0), at(7, -0.5))], [(at(day, 2), "anonymous", 3) for day in range(7)], {"10.0.0.1": at(0, 2)})
    assert [line.label for line in found.lines][:2] == ["Mon 2026-06-01", "Tue 2026-06-02"]
    assert found.days_of_hour == [7 if hour == 2 else 0 for hour in range(24)]
    for line in found.lines:
        assert [cell.sessions for cell in line.cells] == [3 if hour == 2 else 0 for hour in range(24)]
        assert line.cells[2].shade > 0
        assert {cell.shade for hour, cell in enumerate(line.cells) if hour != 2} == {0}


def test_hours_that_were_not_captured_are_told_from_those_without_a_session() -> None:
    found = made([(at(0, 6.5), at(0, 8.2)), (at(0, 7), at(0, 7.1)), (at(3, 23), at(4, 0.5))], [], {})
    assert [(line.label[:3], line.gap) for line in found.lines] == [("Mon", 0), ("Thu", 2), ("Fri", 0)]
    captured = [[hour for hour, cell in enumerate(line.cells) if cell.shade == 0] for line in found.lines]
    assert captured == [[6, 7, 8], [23], [0]]
    assert all(cell.shade in (0, -1) for line in found.lines for cell in line.cells)


def test_sessions_with_credentials_are_not_counted() -> None:
    sessions = [(at(0, 1), "user", 9), (at(0, 2), "guest", 2), (at(0, 3), "unknown", 1), (at(0, 4), "rejected", 9)]
    (line,) = made([(at(0), at(0, 5))], sessions, {}).lines
    assert [cell.sessions for cell in line.cells[:5]] == [0, 0, 2, 1, 0]
    assert line.sessions == 3


def test_new_clients_are_counted_on_their_day() -> None:
    found = made([(at(0), at(3))], [], {"10.0.0.1": at(0, 1), "10.0.0.2": at(2, 3), "10.0.0.3": at(2, 4)})
    assert [(line.new, line.total) for line in found.lines] == [(1, 1), (0, 1), (2, 3), (0, 3)]
    assert (found.dependents, found.quiet_days) == (3, 1)
    assert "1 day before the end of the 4 days" in activity.discovery(found)


@pytest.mark.parametrize(
    ("captures", "clients", "said"),
    [
        ([], {}, "No client was first seen to depend"),
        ([(at(0), at(0, 9))], {"10.0.0.1": at(0, 1)}, "a single day"),
        ([(at(0), at(2))], {"10.0.0.1": at(2)}, "New clients still turned up"),
    ],
)
def test_what_the_curve_says(captures: list[tuple[int, int]], clients: dict[str, int], said: str) -> None:
    assert said in activity.discovery(made(captures, [], clients))


def test_a_new_use_of_a_known_client_is_told(tmp_path: Path) -> None:
    """The client is known from the first day; on the last it opens another pipe."""
    talks = [Smb2(at=day * 86_400, port=50_000 + day) for day in range(3)]
    for talk, pipe in zip(talks, ("srvsvc", "srvsvc", "samr"), strict=True):
        talk.anonymous_use(0x11, pipe)
    found = activity.activity(analyzer.analyze(write(tmp_path / "c.pcap", *talks)))
    assert (found.days, found.dependents, found.quiet_days, found.quiet_days_of_uses) == (3, 1, 2, 0)
    assert "known ones did something new on the last of them" in activity.discovery(found)


def test_many_days_share_lines_of_whole_weeks() -> None:
    found = made([(at(0), at(399))], [(at(day, 2), "anonymous", 1) for day in range(400)], {"10.0.0.1": at(399)})
    assert len(found.lines) <= activity.MOST_LINES
    assert found.days_per_line % 7 == 0
    assert sum(line.sessions for line in found.lines) == 400
    assert found.lines[0].label == "Mon 2026-06-01 to Sun 2026-06-07"
    assert found.lines[-1].new == 1


def test_more_sessions_are_a_darker_shade() -> None:
    sessions = [(at(0, hour), "anonymous", number) for hour, number in enumerate((1, 10, 100, 1_000, 10_000))]
    (line,) = made([(at(0), at(0, 5))], sessions, {}).lines
    shades = [cell.shade for cell in line.cells[:5]]
    assert shades == sorted(shades)
    assert (shades[0], shades[-1]) == (1, activity.SHADES - 1)
    assert len(set(shades)) == 5


def test_hours_are_those_of_the_clocks_on_the_wall() -> None:
    """In June Berlin is two hours ahead: 23:00 there is the next day's 01:00."""
    found = made([(at(0, 22), at(0, 23.9))], [(at(0, 23), "anonymous", 4)], {"10.0.0.1": at(0, 23)}, "Europe/Berlin")
    (line,) = found.lines
    assert (line.label, line.new) == ("Tue 2026-06-02", 1)
    assert [hour for hour, cell in enumerate(line.cells) if cell.sessions] == [1]
    assert [hour for hour, cell in enumerate(line.cells) if cell.shade >= 0] == [0, 1]
