"""Runs and what is said of them: the times are made, so the words are known."""

from __future__ import annotations

import numpy as np
import pytest

from analyzer import UsageError
from analyzer.summary.rhythm import local, runs_of, zone_of

DAY, HOUR = 86_400, 3_600
THURSDAY = 1_767_225_600
"""2026-01-01 00:00 UTC."""
UTC, BERLIN = zone_of("UTC"), zone_of("Europe/Berlin")


def said(seconds: list[int], zone: object = UTC) -> tuple[int, int, str]:
    """Runs, days and words of uses so many seconds after that Thursday began."""
    time = np.array([(THURSDAY + second) * 10**9 for second in seconds], dtype=np.int64)
    runs = runs_of(np.zeros(len(time), dtype=np.int64), 1, time, zone)  # type: ignore[arg-type]  # a ZoneInfo
    return int(runs.count[0]), int(runs.days[0]), runs.texts[0]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ([5], (1, 1, "once")),
        ([5, 6, 7, 300], (1, 1, "once")),  # retries
        ([5, 5 + DAY], (2, 2, "twice, 1 day apart")),
        ([day * DAY + 2 * HOUR + day % 3 * 60 for day in range(10)], (10, 10, "daily at about 02:00")),
        ([d * DAY + 2 * HOUR for d in range(28) if (d + 3) % 7 < 5], (20, 20, "on working days at about 02:00")),
        ([week * 7 * DAY + 3 * HOUR for week in range(4)], (4, 4, "weekly, on Thursdays at about 03:00")),
        ([day * 2 * DAY + 100 for day in range(8)], (8, 8, "every 2 days at about 00:00")),
        (list(range(0, 40 * HOUR, HOUR)), (40, 2, "about every hour")),
        (list(range(0, DAY, 600)), (144, 1, "about every 10 minutes")),
        (list(range(0, 3 * HOUR, 60)), (1, 1, "for 3 hours, about every minute")),  # polling is one run
        ([5, 4_000, 9_000, 90_000, 90_500, 200_000], (6, 3, "irregularly, 6 times")),
        ([d * DAY + 9 * HOUR for d in (0, 3, 4, 9, 17)], (5, 5, "at about 09:00, on 5 days")),
    ],
)
def test_what_is_said(seconds: list[int], words: tuple[int, int, str]) -> None:
    assert said(seconds) == words


def test_hours_are_those_of_the_time_zone() -> None:
    assert said([day * DAY + 2 * HOUR for day in range(10)], BERLIN)[2] == "daily at about 03:00"


def test_a_job_keeps_its_hour_when_clocks_are_moved() -> None:
    """2026-03-29 01:00 UTC: a job at 02:30 in Berlin before, at 03:30 ... after; one at noon stays at noon."""
    at_noon = [
        int(np.datetime64(f"2026-03-{day:02}T{11 if day < 29 else 10}:00:00").astype("M8[s]").astype(int)) - THURSDAY
        for day in range(20, 32)
    ]
    assert said(at_noon, BERLIN)[2] == "daily at about 12:00"


def test_around_midnight_is_one_time_of_day() -> None:
    around = [day * DAY + (-300 if day % 2 else 300) for day in range(1, 9)]
    assert said([second + 12 * HOUR for second in around])[2] == "daily at about 12:00"
    assert said(around)[0] == 8


def test_each_group_is_looked_at_by_itself_and_unknown_times_do_not_count() -> None:
    group = np.array([2, 0, 2, 1, 2])
    time = np.array([3, 1, -1, -1, 400 * 10**9], dtype=np.int64)
    runs = runs_of(group, 3, time, UTC)
    assert runs.count.tolist() == [1, 0, 2]
    assert runs.texts == ["once", "", "twice, 7 minutes apart"]


def test_nothing_gives_nothing() -> None:
    nothing = np.empty(0, dtype=np.int64)
    assert runs_of(nothing, 0, nothing, BERLIN).texts == []


def test_times_that_no_calendar_has_do_no_harm() -> None:
    far = np.array([2**63 - 1, 0, -1], dtype=np.int64)
    assert local(far, UTC).tolist() == far.tolist()
    assert len(local(far, BERLIN)) == 3


@pytest.mark.parametrize("name", ["", "Nowhere/Land", "../etc/passwd", "/etc/localtime", "a" * 300])
def test_a_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="time zone"):
        zone_of(name)
