"""Activity over time: sessions by day and hour, and on which day each dependent was first seen.

Only days that the captures cover are drawn, one below the other, with a line where days are left out. Of many days several
share a line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analyzer import tables
from analyzer.analysis import Analysis
from analyzer.report.html.words import count, day
from analyzer.sessions.joins import Ints
from analyzer.summary.rhythm import local, zone_of
from analyzer.tables import TableSet

COUNTED = ("anonymous", "guest", "unknown")
"""Identities of the sessions that are counted: those that null sessions may have been."""

MOST_LINES = 62
HOUR_NS = 3_600_000_000_000
SHADES = 6


@dataclass(frozen=True, slots=True)
class Cell:
    """An hour of a line. shade: 0 nothing, up to `SHADES` - 1; -1: not captured."""

    sessions: int
    shade: int


@dataclass(frozen=True, slots=True)
class Line:
    """A day, or some days. gap: days without captures before it; new: clients that were first seen to depend in it."""

    label: str
    gap: int
    cells: list[Cell]
    sessions: int
    new: int
    total: int


@dataclass(frozen=True, slots=True)
class Activity:
    """What was seen when. days_of_hour: for each hour of the day on how many lines it had sessions.
    zone: by whose clocks."""

    lines: list[Line]
    days: int
    days_per_line: int
    days_of_hour: list[int]
    dependents: int
    quiet_days: int
    """Since a new client was seen ..."""
    quiet_days_of_uses: int
    """... and since a new use was."""
    zone: str


def activity(analysis: Analysis) -> Activity:
    """By the clocks of the time zone that the analysis has."""
    zone = zone_of(analysis.settings.get("timezone", "UTC"))
    rows = TableSet({name: analysis.arrow(name) for name in ("captures", "timeline", "discovery")})
    seen = rows.columns("timeline", "hour", "identity", "sessions")
    is_counted = np.isin(seen["identity"], [tables.IDENTITY.index(name) for name in COUNTED])
    hours, sessions = (seen[name][is_counted] for name in ("hour", "sessions"))
    hours = local(hours, zone) // HOUR_NS
    captures = rows.columns("captures", "first_seen", "last_seen")
    covered = np.union1d(_covered(*(local(captures[name], zone) for name in ("first_seen", "last_seen"))), hours)
    found = rows.columns("discovery", "day", "new_clients", "new_dependencies")
    new_on = np.array([_day_number(rows.texts.text(code)) for code in found["day"].tolist()], dtype=np.int64)
    days = np.union1d(covered // 24, new_on)
    per_line = -(-len(days) // MOST_LINES) or 1
    if per_line > 1:
        per_line = -(-per_line // 7) * 7
    count_of = -(-len(days) // per_line)

    def line_of(day_number: Ints) -> Ints:
        return np.searchsorted(days, day_number) // per_line

    in_cell = np.zeros((count_of, 24), dtype=np.int64)
    np.add.at(in_cell, (line_of(hours // 24), hours % 24), np.maximum(sessions, 0))
    was_captured = np.zeros((count_of, 24), dtype=bool)
    was_captured[line_of(covered // 24), covered % 24] = True
    new = np.zeros(count_of, dtype=np.int64)
    np.add.at(new, line_of(new_on), np.maximum(found["new_clients"], 0))
    total = np.cumsum(new)
    most = int(in_cell.max(initial=0))
    lines = []
    for number in range(count_of):
        begin, end = number * per_line, min((number + 1) * per_line, len(days)) - 1
        label = day(int(days[begin])) + (f" to {day(int(days[end]))}" if end > begin else "")
        cells = [
            Cell(int(value), _shade(int(value), most) if captured else -1)
            for value, captured in zip(in_cell[number].tolist(), was_captured[number].tolist(), strict=True)
        ]
        gap = int(days[begin] - days[begin - 1] - 1) if number else 0
        lines.append(Line(label, gap, cells, int(in_cell[number].sum()), int(new[number]), int(total[number])))
    quiet, quiet_of_uses = (
        len(days) - 1 - int(np.searchsorted(days, new_on[found[name] > 0]).max(initial=-1))
        for name in ("new_clients", "new_dependencies")
    )
    days_of_hour = np.count_nonzero(in_cell, axis=0).tolist()
    return Activity(lines, len(days), per_line, days_of_hour, int(new.sum()), quiet, quiet_of_uses, zone.key)


def discovery(found: Activity) -> str:
    """What the curve says, in a sentence."""
    if not found.dependents:
        return f"No client was first seen to depend on any of the {count(found.days, 'day')}."
    if found.days < 2:
        return "The captures cover a single day: whether further clients would turn up cannot be told from them."
    if not found.quiet_days:
        return f"New clients still turned up on the last of the {found.days:,} days: expect more."
    if not found.quiet_days_of_uses:
        return (
            f"The last new client turned up {count(found.quiet_days, 'day')} before the end of the {found.days:,} days that "
            "were captured, but known ones did something new on the last of them: expect more."
        )
    return (
        f"The last new client turned up {count(found.quiet_days, 'day')} before the end of the {found.days:,} days that were "
        "captured. What runs less often than that has not been seen."
    )


def _covered(first: Ints, last: Ints) -> Ints:
    """The hours, counted from 1970, from the first to the last packet of each file."""
    there = (first >= 0) & (last >= first)
    begins, ends = first[there] // HOUR_NS, last[there] // HOUR_NS
    order = np.argsort(begins)
    begins, ends = begins[order], np.maximum.accumulate(ends[order])
    # Of files that overlap each goes on where those before it end.
    begins[1:] = np.maximum(begins[1:], ends[:-1] + 1)
    parts = [np.arange(begin, end + 1) for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _day_number(text: str | None) -> int:
    """Days from 1970 to the day that is spelt so."""
    return int(np.datetime64(text or "1970-01-01", "D").astype(np.int64))


def _shade(value: int, most: int) -> int:
    """By magnitude: few sessions are told from none, and many from very many."""
    if not value:
        return 0
    if most == 1:
        return SHADES - 2
    return 1 + int((SHADES - 2) * np.log(value) / np.log(most) + 1e-9)  # whole steps as such
