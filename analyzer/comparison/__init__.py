"""What became of each dependency between two analyses.

In: two analyses. Out: one row for each client, server and use of either side. Never opens a file.

`machines` says who is who, `sides` what is known of each side, `causes` what happened where a use is missing, `reasons` spells
it out; here each use is judged (`columns.CHANGE`). That a use was not seen again proves nothing by itself: it is called gone
only if its client was seen at that server for long enough, and all of what it did there could be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from analyzer import tables
from analyzer.analysis import Analysis
from analyzer.comparison import causes as causes_
from analyzer.comparison.causes import Causes, Pairs
from analyzer.comparison.columns import CHANGE, COLUMNS, COUNTS, MATCHED_BY, WHY
from analyzer.comparison.machines import Machines, match
from analyzer.comparison.reasons import sentences
from analyzer.comparison.sides import OF_USE, Side, Sides, by_key, same_sites
from analyzer.groups import Groups, Mask, Numbers, looked_up, places_of
from analyzer.sessions.joins import NONE, Ints
from analyzer.tables import Columns

DEPENDENT = [tables.VERDICT.index(name) for name in ("depends", "unknown", "covered")]
DENIED = tables.VERDICT.index("denied")
UNKNOWN = tables.IDENTITY.index("unknown")
ACCEPTED = tables.OUTCOME.index("accepted")
WORKED = [tables.CALL_RESULT.index(name) for name in ("worked", "not_told")]
FAILED = tables.CALL_RESULT.index("failed")
DCERPC = tables.CALL_PROTOCOL.index("dcerpc")
(
    NEWLY_REFUSED, NEWLY_FAILING, NEW, VERDICT_CHANGED, MOVED, GONE, NOT_OBSERVED, UNCHANGED, NO_DEPENDENT
) = range(len(CHANGE))  # fmt: skip
(CLIENT_NOT_SEEN, SERVER_NOT_SEEN, NOT_TOGETHER, NOT_VISIBLE, NOT_ASKED, SPAN_TOO_SHORT) = range(len(WHY))
SECOND_NS = 1_000_000_000
ENOUGH_SESSIONS = 3
TIMES_AS_LONG = 10
"""A use that came in so many sessions is gone if for so many times its usual pause its client did without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The outcome."""

    table: pa.Table
    """See `columns.COLUMNS`."""
    seconds: tuple[int, int]
    """How long either side was observed."""
    left_out: int
    """Dependency rows of scanners by the administrator's own rules, on either side."""
    notes: list[str]
    """What a person should know before believing it."""

    def numbers(self) -> dict[str, int]:
        """How many rows there are of each change."""
        change = tables.filled(tables.one_array(self.table["change"]).indices)
        return {name: int(np.count_nonzero(change == place)) for place, name in enumerate(CHANGE)}

    def is_worse(self) -> bool:
        """True if something broke, or somebody depends who did not before."""
        return any(self.numbers()[name] for name in COUNTS)


def compare(before: Analysis, after: Analysis) -> Comparison:
    """What became of each dependency of `before` in `after`, and which are new."""
    rows = Sides((before, after))
    sides = (Side(rows, 0, before, {}), Side(rows, 1, after, same_sites(rows)))
    machines = match(*sides)
    pairs = Pairs(machines)
    keyed = _Keyed(sides, machines, pairs)
    found = _judged(keyed, sides, machines, pairs)
    return Comparison(
        table=_table(keyed, found, machines, sides),
        seconds=(sides[0].seconds, sides[1].seconds),
        left_out=keyed.left_out,
        notes=_notes(before, after),
    )


class _Keyed:
    """The uses of both sides: a number for each client, server, resource, interface and operation.

    of_side: for each of the two its dependency rows with `pair`, `client_at` and `server_at` (machines); row: for each key
    the row that decides, `NONE` if that side has none; uses, sessions ...: summed over applications.
    """

    def __init__(self, sides: Sequence[Side], machines: Machines, pairs: Pairs) -> None:
        self.of_side: list[Columns] = []
        self.left_out = 0
        for after, side in enumerate(sides):
            columns, left_out = side.dependencies()
            self.left_out += left_out
            for end in ("client", "server"):
                columns[f"{end}_at"] = machines.of(columns["site"], columns[f"{end}_ip"], after=bool(after))
            columns["pair"] = pairs.both(columns["client_at"], columns["server_at"])
            self.of_side.append(columns)
        first, second = self.of_side
        both = [np.concatenate([first[name], second[name]]) for name in ("pair", *OF_USE)]
        groups = Groups(*both)
        count = len(first["pair"])
        self.size = len(groups)
        self.key = {name: column[groups.first] for name, column in zip(("pair", *OF_USE), both, strict=True)}
        self.row, self.total = [], []
        for columns, number in zip(self.of_side, (groups.number[:count], groups.number[count:]), strict=True):
            of_key, best = by_key((number,), columns["verdict"], columns["first_seen"])
            row = np.full(self.size, NONE, dtype=np.int64)
            row[number[best]] = best
            self.row.append(row)
            total = {}
            for name, sums in (
                ("uses", of_key.sums(columns["uses"])),
                ("sessions", of_key.sums(columns["sessions"])),
                ("first_seen", of_key.least(columns["first_seen"])),
                ("last_seen", of_key.most(columns["last_seen"])),
            ):
                total[name] = np.full(self.size, NONE, dtype=np.int64)
                total[name][number[best]] = sums
            self.total.append(total)

    def value(self, name: str, side: int) -> Numbers:
        """A column of the row that decides on a side; missing where there is none."""
        return looked_up(self.of_side[side][name], self.row[side], NONE)

    def either(self, name: str) -> Numbers:
        """... of the side before, where it has one."""
        return np.where(self.row[0] >= 0, self.value(name, 0), self.value(name, 1))


@dataclass(slots=True)
class _Judged:
    change: Ints
    why: Ints
    causes: Causes
    capture: Numbers
    frame: Numbers


def _judged(keyed: _Keyed, sides: Sequence[Side], machines: Machines, pairs: Pairs) -> _Judged:
    before, after = sides
    verdict = [keyed.value("verdict", side) for side in range(2)]
    there = [row >= 0 for row in keyed.row]
    depends = [np.isin(one, DEPENDENT) for one in verdict]
    lost = there[0] & depends[0] & ~there[1]
    key = keyed.key | {"identity": keyed.value("identity", 0)}
    causes = causes_.find(key, before, after, pairs)
    moved, moved_capture, moved_frame = _moved(keyed, sides, machines)
    whole = (key["operation"] < 0) & ~causes_.failed_already(key, before, pairs)
    fails = _fails_now(keyed, sides, pairs) | (causes.failing & whole)
    # What only fails after, where the same client used the same before, is no further dependent.
    known = places_of((key["pair"], key["resource"]), [keyed.of_side[0][name] for name in ("pair", "resource")]) >= 0
    in_vain = causes.failing & known & (key["operation"] < 0)
    why, gone = _why(keyed, sides, machines, pairs)
    both = there[0] & there[1]
    refused_now = both & depends[0] & (verdict[1] == DENIED)
    change = np.select(
        [
            (lost | refused_now) & moved,
            refused_now | (lost & causes.refused),
            (lost & causes.failing) | (both & depends[0] & depends[1] & fails),
            there[1] & depends[1] & ~depends[0] & ~in_vain,
            both & (verdict[0] != verdict[1]),
            both,
            lost & gone,
            lost,
        ],
        [MOVED, NEWLY_REFUSED, NEWLY_FAILING, NEW, VERDICT_CHANGED, UNCHANGED, GONE, NOT_OBSERVED],
        NO_DEPENDENT,
    ).astype(np.int64)
    instead = np.isin(change, (NEWLY_REFUSED, NEWLY_FAILING)) & ~there[1]
    with_credentials = (change == MOVED) & ~there[1]
    capture, frame = (
        np.select([instead, with_credentials], [of_cause, of_moved], keyed.value(name, 1))
        for name, of_cause, of_moved in (
            ("capture", causes.capture, moved_capture),
            ("frame", causes.frame, moved_frame),
        )
    )
    # Of a row that is there itself its own refusal tells.
    own = there[1] & ((verdict[1] == DENIED) | (change == NEWLY_FAILING))
    causes.rung = np.where(own, keyed.value("refused_at", 1), np.where(instead, causes.rung, NONE))
    own_status = np.full(keyed.size, NONE, dtype=np.int64)
    own_status[own] = after.status_at(keyed.value("capture", 1)[own], keyed.value("frame", 1)[own])
    causes.status = np.where(own, own_status, np.where(instead, causes.status, NONE))
    causes.what = np.where(instead, causes.what, NONE)
    return _Judged(change, np.where(change == NOT_OBSERVED, why, NONE), causes, capture, frame)


def _moved(keyed: _Keyed, sides: Sequence[Side], machines: Machines) -> tuple[Mask, Numbers, Numbers]:
    """True where the same client does the same with credentials, and more often than before; and where that is seen.

    Never where several machines share the client's address: it may be another one.
    """
    size = keyed.size
    succeeded = [np.zeros(size, dtype=np.int64) for _ in sides]
    capture, frame = np.full(size, NONE, dtype=np.int64), np.full(size, NONE, dtype=np.int64)
    pairs = Pairs(machines)
    for after, side in enumerate(sides):
        rows = side.columns(
            "credentialed_uses",
            "site",
            "client_ip",
            "server_ip",
            *OF_USE,
            "succeeded",
            "first_seen",
            "capture",
            "frame",
        )
        rows["pair"] = pairs.of(rows, after=bool(after))
        names = ("pair", *OF_USE)
        worked = rows["succeeded"] > 0
        rows = {name: column[worked] for name, column in rows.items()}
        groups, first = by_key([rows[name] for name in names], np.zeros(len(rows["pair"]), "i8"), rows["first_seen"])
        place = places_of([keyed.key[name] for name in names], [rows[name][first] for name in names])
        succeeded[after] = looked_up(groups.sums(rows["succeeded"]), place, 0)
        if after:
            capture, frame = (looked_up(rows[name][first], place, NONE) for name in ("capture", "frame"))
    seconds = [max(side.seconds, 1) for side in sides]
    more = succeeded[1] * float(seconds[0]) > succeeded[0] * float(seconds[1])
    return more & ~_is_shared(keyed, sides), capture, frame


def _is_shared(keyed: _Keyed, sides: Sequence[Side]) -> Mask:
    """True where several machines were behind the client's address, on either side."""
    found = np.zeros(keyed.size, dtype=bool)
    for side, one in enumerate(sides):
        hosts = one.columns("hosts", "site", "ip", "shared")
        shared = hosts["shared"]
        columns = keyed.of_side[side]
        of_row = places_of((columns["site"], columns["client_ip"]), (hosts["site"][shared], hosts["ip"][shared])) >= 0
        pair = np.unique(columns["client_at"][of_row])
        found |= np.isin(keyed.either("client_at"), pair)
    return found


def _fails_now(keyed: _Keyed, sides: Sequence[Side], pairs: Pairs) -> Mask:
    """True where calls worked before, and after all that were answered failed."""
    worked, failed = [], []
    for after, side in enumerate(sides):
        calls = side.things("calls", "protocol", "pipe", "interface", "operation", "result")
        names = np.array([side.texts.code(name) for name in tables.CALL_PROTOCOL], dtype=np.int64)
        calls["resource"] = np.where(calls["protocol"] == DCERPC, calls["pipe"], names[calls["protocol"]])
        calls["pair"] = pairs.of(calls, after=bool(after))
        columns = [calls[name] for name in ("pair", *OF_USE)]
        groups = Groups(*columns)
        place = places_of(list(keyed.key.values()), [column[groups.first] for column in columns])
        worked.append(looked_up(groups.sums(np.isin(calls["result"], WORKED)), place, 0))
        failed.append(looked_up(groups.sums(calls["result"] == FAILED), place, 0))
    found: Mask = (worked[0] > 0) & (worked[1] == 0) & (failed[1] > 0) & (keyed.key["operation"] >= 0)
    return found


def _why(keyed: _Keyed, sides: Sequence[Side], machines: Machines, pairs: Pairs) -> tuple[Ints, Mask]:
    """For each use why it may not have been observed, and whether it is gone instead."""
    before, after = sides
    connections = after.columns(
        "connections", "site", "client_ip", "server_ip", "midstream", "directions", "missing_bytes"
    )
    pair = pairs.of(connections, after=True)
    seen = np.unique(list(machines.after.values())) if machines.after else np.empty(0, dtype=np.int64)
    sessions = after.sessions()
    of_session = pairs.of(sessions, after=True)
    hidden = (sessions["identity"] == UNKNOWN) | (sessions["encrypted_messages"] > 0)
    lossy = (connections["missing_bytes"] > 0) | (connections["directions"] > 0) | connections["midstream"]
    not_visible = np.isin(keyed.key["pair"], np.append(of_session[hidden], pair[lossy]))
    shorter = after.seconds < before.seconds
    why = np.select(
        [
            ~np.isin(keyed.either("server_at"), seen),
            ~np.isin(keyed.either("client_at"), seen),
            ~np.isin(keyed.key["pair"], pair),
            not_visible,
            np.full(keyed.size, shorter),
        ],
        [SERVER_NOT_SEEN, CLIENT_NOT_SEEN, NOT_TOGETHER, NOT_VISIBLE, SPAN_TOO_SHORT],
        NOT_ASKED,
    ).astype(np.int64)
    total = keyed.total[0]
    pause = (total["last_seen"] - total["first_seen"]) / np.maximum(total["sessions"] - 1, 1)
    enough = (total["sessions"] >= ENOUGH_SESSIONS) & (after.seconds * float(SECOND_NS) >= TIMES_AS_LONG * pause)
    whole = after.columns("captures", "errors")["errors"]
    logged_on = np.isin(keyed.key["pair"], of_session[sessions["outcome"] == ACCEPTED])
    gone = (why == NOT_ASKED) & enough & logged_on & ~(whole >= 0).any() & ~_is_shared(keyed, sides)
    return why, gone


def _table(keyed: _Keyed, found: _Judged, machines: Machines, sides: Sequence[Side]) -> pa.Table:
    """In the order of changes, then of names."""
    texts = sides[0].texts
    columns: dict[str, Numbers] = {"site": keyed.either("site")}
    seen_after = {number: address[1] for address, number in machines.after.items()}
    for end in ("client", "server"):
        at = keyed.either(f"{end}_at")
        columns[f"{end}_ip"] = keyed.either(f"{end}_ip")
        named = keyed.value(end, 0)
        columns[end] = np.where(named >= 0, named, keyed.value(end, 1))
        different, place = np.unique(at, return_inverse=True)
        ip = np.array([seen_after.get(number, NONE) for number in different.tolist()], dtype=np.int64)
        columns[f"{end}_ip_after"] = ip[place.reshape(-1)] if keyed.size else at
        columns[f"{end}_matched_by"] = looked_up(machines.matched_by, at, NONE)
    columns |= {name: keyed.key[name] for name in OF_USE}
    columns |= {
        "application": np.where(
            keyed.value("application", 0) >= 0, keyed.value("application", 0), keyed.value("application", 1)
        )
    }
    by_name = [
        tables.ranks(columns[name], texts)
        for name in ("operation", "interface", "resource", "server_ip", "client_ip", "site")
    ]
    order = np.lexsort((*by_name, found.change))
    reason = sentences(_cases(keyed, found, machines), texts)
    made: dict[str, Any] = {
        name: tables.texts(column[order], texts) for name, column in columns.items() if not name.endswith("_by")
    }
    made |= {
        f"{end}_matched_by": tables.places_in(columns[f"{end}_matched_by"][order], MATCHED_BY)
        for end in ("client", "server")
    }
    made |= {
        "change": tables.places_in(found.change[order], CHANGE),
        "counts": tables.bools(np.isin(found.change[order], [CHANGE.index(name) for name in COUNTS])),
        "why": tables.places_in(found.why[order], WHY),
        "refused_at": tables.places_in(found.causes.rung[order], tables.RUNG),
        "status": tables.texts(found.causes.status[order], texts),
        "reason": reason.take(tables.ints(order)),
        "capture_before": tables.texts(keyed.value("capture", 0)[order], texts),
        "frame_before": tables.ints(keyed.value("frame", 0)[order]),
        "capture_after": tables.texts(found.capture[order], texts),
        "frame_after": tables.ints(found.frame[order]),
    }
    for side, when in enumerate(("before", "after")):
        made |= {
            f"verdict_{when}": tables.places_in(keyed.value("verdict", side)[order], tables.VERDICT),
            f"identity_{when}": tables.places_in(keyed.value("identity", side)[order], tables.IDENTITY),
            f"uses_{when}": tables.ints(keyed.total[side]["uses"][order]),
        }
    return tables.declared("comparison", COLUMNS, made, keyed.size)


def _cases(keyed: _Keyed, found: _Judged, machines: Machines) -> Columns:
    """What the sentences are made of."""
    known = list(machines.before.values())
    handed = [sides[address] for address in machines.changed_hands for sides in (machines.before, machines.after)]
    cases = {
        "change": found.change,
        "why": found.why,
        "rung": found.causes.rung,
        "status": found.causes.status,
        "what": found.causes.what,
        "no_login": found.causes.no_login,
        "client_is_new": ~np.isin(keyed.either("client_at"), known),
        "server_is_new": ~np.isin(keyed.either("server_at"), known),
        "changed_hands": np.isin(keyed.either("client_at"), handed),
    }
    for side, when in enumerate(("before", "after")):
        cases |= {f"{name}_{when}": keyed.value(name, side) for name in ("verdict", "identity")}
    return cases


def _notes(before: Analysis, after: Analysis) -> list[str]:
    notes = []
    spans = []
    for analysis, when in ((before, "before"), (after, "after")):
        captures = tables.TableSet({"captures": analysis.arrow("captures")}).columns(
            "captures", "first_seen", "last_seen", "errors"
        )
        if not len(analysis.arrow("connections")):
            notes.append(f"no SMB connection was seen {when}")
        if (captures["errors"] >= 0).any():
            notes.append(f"not all files of the side {when} could be read: what they would have shown is missing")
        timed = captures["first_seen"] >= 0
        if timed.any():
            spans.append((int(captures["first_seen"][timed].min()), int(captures["last_seen"][timed].max())))
    if len(spans) == 2 and spans[1][0] <= spans[0][1]:
        notes.append(
            "the captures of both sides overlap in time"
            if spans[0][0] <= spans[1][1]
            else "what is called after was captured before the other side"
        )
    return notes
