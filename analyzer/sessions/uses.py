"""What sessions with credentials did, counted; and where it followed an anonymous refusal of the same."""

from __future__ import annotations

import numpy as np

from analyzer.sessions.joins import Ints, Rows, mixed
from analyzer.sessions.state import USE

HOUR_NS = 3_600_000_000_000
COVER_NS = 60_000_000_000
"""How soon after an anonymous refusal a success with credentials proves that the client does without."""
MAX_REFUSALS = 10_000
MOST_FRESH = 20_000

USED = np.dtype(
    [
        ("pair", "i4"),
        ("connection", "i4"),
        ("guid", "u8"),  # hash of the client GUID, 0: none that tells
        ("resource", "i4"),
        ("interface", "i4"),
        ("operation", "i4"),
        ("time_ns", "i8"),
        ("succeeded", "?"),
        ("capture_no", "i4"),
        ("frame", "i8"),
    ]
)
"""One use, before it is counted."""


class UseCounter:
    """Counts uses by client, server, resource, interface, operation and hour."""

    def __init__(self) -> None:
        self._counted: Rows = np.empty(0, dtype=USE)
        self._fresh: list[Rows] = []  # not yet joined with what is counted
        self._fresh_rows = 0
        self._refusals: Rows = np.empty(0, dtype=USED)

    def refused(self, uses: Rows) -> None:
        """Remember anonymous uses that were refused."""
        self._refusals = np.concatenate([self._refusals, uses])[-MAX_REFUSALS:]

    def add(self, uses: Rows) -> None:
        """Count uses with credentials. Call `refused` with those of the same window first."""
        if not len(uses):
            return
        made = np.zeros(len(uses), dtype=USE)
        for name in ("pair", "resource", "interface", "operation", "capture_no", "frame"):
            made[name] = uses[name]
        made["hour"] = uses["time_ns"] // HOUR_NS
        made["first_ns"] = made["last_ns"] = uses["time_ns"]
        made["uses"] = 1
        made["succeeded"] = uses["succeeded"]
        made["after_refusal"] = self._follow_refusals(uses)
        self._fresh.append(_summed(made))
        self._fresh_rows += len(self._fresh[-1])
        if self._fresh_rows > max(MOST_FRESH, len(self._counted)):
            self._join()

    def _join(self) -> None:
        if self._fresh:
            self._counted = _summed(np.concatenate([self._counted, *self._fresh]))
            self._fresh, self._fresh_rows = [], 0

    def _follow_refusals(self, uses: Rows) -> Ints:
        found = np.zeros(len(uses), dtype=np.int64)
        refusals = self._refusals
        if not len(refusals):
            return found
        keys = ("pair", "resource", "interface", "operation")
        refused = mixed(*[refusals[name] for name in keys])
        used = mixed(*[uses[name] for name in keys])
        for place in np.flatnonzero(uses["succeeded"] & np.isin(used, refused)).tolist():
            use = uses[place]
            same = refusals[refused == used[place]]
            same_client = (same["connection"] == use["connection"]) | (
                (use["guid"] != 0) & (same["guid"] == use["guid"])
            )
            since = use["time_ns"] - same["time_ns"][same_client]
            found[place] = np.any((since >= 0) & (since <= COVER_NS))
        return found

    def finish(self) -> Rows:
        """All counts (`USE`)."""
        self._join()
        return self._counted


def _summed(rows: Rows) -> Rows:
    """One row for each client, server, resource, interface, operation and hour; the first use gives the frame."""
    keys = mixed(*[rows[name] for name in ("pair", "resource", "interface", "operation", "hour")])
    order = np.lexsort((rows["first_ns"], keys))
    rows, keys = rows[order], keys[order]
    begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    summed = rows[begins]
    for name in ("uses", "succeeded", "after_refusal"):
        summed[name] = np.add.reduceat(rows[name], begins)
    summed["last_ns"] = np.maximum.reduceat(rows["last_ns"], begins)
    return summed
