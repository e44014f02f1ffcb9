"""When something is done: uses put together to runs as a person would count them, and what these repeat like.

Uses that follow one another within five minutes are one run: retries, several connections of one job, polling. `rhythm` says
in words how runs lie in time, in the administrator's own time zone: jobs are periodic, not random.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import numpy as np

from analyzer.errors import UsageError, did_you_mean
from analyzer.groups import Groups, Numbers
from analyzer.sessions.joins import Ints

SECOND_NS = 1_000_000_000
RUN_GAP_NS = 300 * SECOND_NS
"""What comes later than that belongs to the next run."""
DAY_S = 86_400
QUARTER_NS = 900 * SECOND_NS
"""Clocks are moved at quarters of an hour only."""
FEW_RUNS = 3
"""From so many on something may be said to repeat."""
STEADY = 0.75
"""The share of gaps that must be near the median one ..."""
NEAR = 0.25
"""... which is by so much of it."""
SAME_TIME = 0.981
"""Mean length of the times of day as points of a circle: their spread is at most 45 minutes."""
WEEKDAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")
SATURDAY = 5
EPOCH_WEEKDAY = 3
"""1 January 1970 was a Thursday."""


def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name, such as `Europe/Berlin`. Raises UsageError if there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        near = did_you_mean(name, available_timezones())
        raise UsageError(f"no time zone is called {name!r}{near}; names are like UTC or Europe/Berlin") from None


def local(ns: Numbers, zone: ZoneInfo) -> Ints:
    """Times as the clocks on the wall show them: nanoseconds since 1970 there. Missing ones stay below zero."""
    if zone.key == "UTC" or not len(ns):
        return ns.astype(np.int64, copy=False)
    quarters, place = np.unique(np.maximum(ns, 0) // QUARTER_NS, return_inverse=True)
    offsets = np.array([_offset_ns(int(quarter), zone) for quarter in quarters], dtype=np.int64)
    return np.where(ns < 0, ns, ns + offsets[place])


def _offset_ns(quarter: int, zone: ZoneInfo) -> int:
    try:
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=quarter * (QUARTER_NS // SECOND_NS))
        offset = at.astimezone(zone).utcoffset()
    except OverflowError:  # captures may say anything
        return 0
    return 0 if offset is None else round(offset.total_seconds()) * SECOND_NS


@dataclass(frozen=True, slots=True)
class Runs:
    """What is known of each group's runs, one value a group."""

    count: Ints
    days: Ints
    """Different days, by the clock on the wall, with a use."""
    texts: list[str]
    """How they lie in time."""


def runs_of(group: Ints, groups: int, time: Numbers, zone: ZoneInfo) -> Runs:
    """Runs of uses. group: the number of each use's group; time: in nanoseconds, below zero where it is not known."""
    known = np.flatnonzero(time >= 0)
    order = known[np.lexsort((time[known], group[known]))]
    whose, when = group[order], time[order].astype(np.int64)
    del known, order  # uses are many
    days = _different(whose, local(when, zone) // (DAY_S * SECOND_NS), groups)
    begins = np.ones(len(when), dtype=bool)
    begins[1:] = (whose[1:] != whose[:-1]) | (when[1:] - when[:-1] > RUN_GAP_NS)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(when)) - 1 if len(first) else first
    whose, start, end = whose[first], when[first], when[last]
    del when, begins
    uses = last - first + 1
    count = np.bincount(whose, minlength=groups)
    wall = local(start, zone) // SECOND_NS
    facts = _Facts(whose, start, end, uses, wall, groups)
    return Runs(count, days, _texts(count, _different(whose, wall // DAY_S, groups), facts))


def _different(group: Ints, value: Ints, groups: int) -> Ints:
    if not len(group):
        return np.zeros(groups, dtype=np.int64)
    pairs = Groups(group, value - value.min())
    return np.bincount(group[pairs.first], minlength=groups)


class _Facts:
    """Of each group: what its runs have in common."""

    def __init__(self, whose: Ints, start: Ints, end: Ints, uses: Ints, wall: Ints, groups: int) -> None:
        """whose: the group of each run, ascending; wall: seconds on the wall, at which it began."""
        size = np.bincount(whose, minlength=groups)
        follows = np.zeros(len(whose), dtype=bool)
        follows[1:] = whose[1:] == whose[:-1]
        gap_s = np.diff(start, prepend=start[:1])[follows] // SECOND_NS
        of_gap = whose[follows]
        self.gap_s = _medians(of_gap, gap_s, groups)
        near = np.abs(gap_s - self.gap_s[of_gap]) <= NEAR * self.gap_s[of_gap]
        self.steady = np.bincount(of_gap[near], minlength=groups) >= STEADY * np.maximum(size - 1, 1)
        day = wall // DAY_S
        day_gap = np.diff(day, prepend=day[:1])[follows]
        other_day = day_gap > 0
        self.day_gap = _medians(of_gap[other_day], day_gap[other_day], groups)
        same = day_gap[other_day] == self.day_gap[of_gap[other_day]]
        self.every_so_many_days = np.bincount(of_gap[other_day][same], minlength=groups) >= STEADY * np.maximum(
            np.bincount(of_gap[other_day], minlength=groups), 1
        )
        turn = 2 * np.pi * (wall % DAY_S) / DAY_S
        x, y = (np.bincount(whose, weights=part, minlength=groups) for part in (np.cos(turn), np.sin(turn)))
        self.same_time = np.hypot(x, y) >= SAME_TIME * np.maximum(size, 1)
        self.time_of_day_s = np.round(np.arctan2(y, x) / (2 * np.pi) * DAY_S).astype(np.int64) % DAY_S
        weekday = (day + EPOCH_WEEKDAY) % 7
        self.weekday = np.zeros(groups, dtype=np.int64)
        self.weekday[whose] = weekday
        self.one_weekday = np.bincount(whose[weekday != self.weekday[whose]], minlength=groups) == 0
        self.working_days = np.bincount(whose[weekday >= SATURDAY], minlength=groups) == 0
        self.span_days, self.lasts_s, self.uses = (np.zeros(groups, dtype=np.int64) for _ in range(3))
        first = np.full(groups, np.iinfo(np.int64).max)
        np.minimum.at(first, whose, day)
        np.maximum.at(self.span_days, whose, day - first[whose] + 1)
        np.maximum.at(self.lasts_s, whose, (end - start) // SECOND_NS)
        self.uses = np.bincount(whose, weights=uses, minlength=groups).astype(np.int64)


def _medians(group: Ints, value: Ints, groups: int) -> Ints:
    """The (lower) median of each group's values; 0 where there are none."""
    found = np.zeros(groups, dtype=np.int64)
    order = np.lexsort((value, group))
    size = np.bincount(group, minlength=groups)
    start = np.cumsum(size) - size
    there = np.flatnonzero(size)
    found[there] = value[order][start[there] + (size[there] - 1) // 2]
    return found


def _texts(count: Ints, days: Ints, facts: _Facts) -> list[str]:
    at_a_time = facts.same_time & (days >= FEW_RUNS) & (count <= 1.5 * days)
    which = np.select(
        [
            count == 0,
            (count == 1) & (facts.lasts_s * SECOND_NS <= RUN_GAP_NS),
            count == 1,
            count < FEW_RUNS,
            at_a_time & facts.every_so_many_days & (facts.day_gap == 7) & facts.one_weekday,
            at_a_time & facts.working_days & (facts.span_days > 7) & (facts.day_gap == 1),
            at_a_time & facts.every_so_many_days,
            at_a_time,
            facts.steady,
        ],
        list(range(9)),
        9,
    )
    say: list[Callable[[int], str]] = [
        lambda _: "",
        lambda _: "once",
        lambda g: f"for {_span(facts.lasts_s[g])}, about every {_each(facts.lasts_s[g] // max(facts.uses[g] - 1, 1))}",
        lambda g: f"twice, {_span(facts.gap_s[g])} apart",
        lambda g: f"weekly, on {WEEKDAYS[facts.weekday[g]]} at about {_clock(facts.time_of_day_s[g])}",
        lambda g: f"on working days at about {_clock(facts.time_of_day_s[g])}",
        lambda g: f"{_daily(facts.day_gap[g])} at about {_clock(facts.time_of_day_s[g])}",
        lambda g: f"at about {_clock(facts.time_of_day_s[g])}, on {days[g]} days",
        lambda g: f"about every {_each(facts.gap_s[g])}",
        lambda g: f"irregularly, {count[g]:,} times",
    ]
    return [say[kind](group) for group, kind in enumerate(which.tolist())]


def _daily(days: int) -> str:
    return "daily" if days == 1 else f"every {days} days"


def _clock(second: int) -> str:
    minute = round(int(second) / 300) * 5 % 1440
    return f"{minute // 60:02}:{minute % 60:02}"


def _each(seconds: int) -> str:
    return _span(seconds).removeprefix("1 ")


def _span(seconds: int) -> str:
    """A length of time as people say it."""
    for size, name in ((DAY_S, "day"), (3600, "hour"), (60, "minute")):
        number = round(int(seconds) / size)
        if seconds >= 1.5 * size or (number == 1 and abs(seconds - size) <= 0.1 * size):
            return f"{number} {name}{'s' if number > 1 else ''}"
    return f"{max(int(seconds), 1)} s"
