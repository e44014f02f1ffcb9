"""Events of logs joined to connections and sessions of the captures.

By ends and time: an event that names address and port of the client belongs to the connection with these ends that was open
then. Clocks differ, so this is done twice. First within a wide tolerance, taking only what is not ambiguous; the median of the
differences to what the capture saw at that moment (the beginning of the connection, the login) is how far the clock of that log
was ahead, for each computer in each log. Then with times put right, and little tolerance. Where a port was used again, the
connection that was open decides, or else the nearest, if it is much nearer than the next; what cannot be told apart is
counted, and never guessed.

Events without ports are joined by addresses, or by names that the captures give addresses, and only if exactly one session
fits; this is weak.

The reverse are anonymous logins (and shares, pipes, refusals) that a server logged and no capture shows: where the captures
are blind. And sessions of the captures that no log shows although one covers that server at that time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from analyzer import tables
from analyzer.groups import Groups, Mask, Numbers, combined, looked_up
from analyzer.logs.events import MEANINGS, SIDES, TEXTS, kinds
from analyzer.logs.read import Logs
from analyzer.names.sightings import canonical, machine
from analyzer.sessions.joins import NONE, Ints, as_of
from analyzer.tables import Columns, TableSet

TOLERANCE_S = 120
"""How much clocks may differ, where nothing more is known."""
SECOND = 1_000_000_000
CLOSE_NS = 2 * SECOND
"""Tolerance when the difference of the clocks is known; three times the spread of the differences is added."""
CLOSE_BY_NAME_NS = 5 * SECOND
UNSTEADY_NS = 5 * SECOND
"""Differences that spread more than this are no difference of clocks."""
CLEARLY_NS = SECOND // 20
"""One of two moments is nearer if it is three times as near, and by this."""
SAME_NS = SECOND
"""Events of the same kind and ends closer together than this are about one login: servers log its steps."""
BEFORE, AFTER = 4, 4
"""How many rows with the same ends are looked at before and after a moment."""

CONNECTION, LOGON, LOGON_FAILED, SHARE, DENIED = (
    MEANINGS.index(name) for name in ("connection", "logon", "logon_failed", "share_access", "denied")
)
NTLM_OUT, NTLM_IN, SAM, SETTING = (MEANINGS.index(name) for name in ("ntlm_out", "ntlm_in", "sam_audit", "setting"))
AT_LOGIN = (LOGON, LOGON_FAILED, NTLM_OUT, NTLM_IN)
"""Happen when a session begins; the others while it lasts."""
BLIND = (LOGON, LOGON_FAILED, SHARE, DENIED, SAM)
CLIENT, SERVER = SIDES.index("client"), SIDES.index("server")
ASKED_ANONYMOUS = tables.ASKED.index("anonymous")
GUEST, UNKNOWN = tables.IDENTITY.index("guest"), tables.IDENTITY.index("unknown")
NOBODY = tuple(tables.IDENTITY.index(name) for name in ("anonymous", "anonymous_rejected"))
ACCEPTED, REFUSED = tables.OUTCOME.index("accepted"), tables.OUTCOME.index("refused")
WEAK, STRONG, CERTAIN = range(3)

MEANING = {
    "log_records": "records of the endpoint and server logs that were read",
    "log_events": "of these events that can say something of SMB",
    "log_records_damaged": "records of logs that could not be understood",
    "log_events_dropped": "events of logs beyond the number that is kept: what they would have shown is missing",
    "log_events_matched": "events that belong to a connection or a session of the captures",
    "log_events_ambiguous": "events that several connections or sessions fit: they are used for none",
    "log_sessions_ambiguous": "of the matched events: several sessions of their connection fit, so only that is known",
    "log_events_unusable": "events that name too little to be looked for: no client, or a server that is not known",
    "log_events_unmatched": "events whose connection or session is not in the captures",
    "log_clocks_unknown": "logs (each computer in each) whose clock could not be compared with the captures'",
    "log_anonymous_lists": "times that a server logged that pipes or shares of it are open to anonymous users",
    "anonymous_logons_unseen": "anonymous logins, uses and refusals that a server logged and no capture shows: blind spots",
    "sessions_not_logged": "accepted sessions of the captures that the log of their server, which covers that time, does not show",
    "anonymous_sessions_not_logged": "of these anonymous ones",
}
CLOCK_MEANING = (
    "milliseconds that the clock of this log was ahead of the captures' (below zero: behind), from {marks} events"
)

REASONS = (
    "outside the time of the captures",
    "the event does not name the client",
    "the client is named, and the captures do not say which address that is",
    "the server is not in the captures",
    "the client is not in the captures",
    "no connection between them is in the captures",
    "no session at that time (it may have been another protocol than SMB)",
    "its connection is in the captures, its session is not",
)
(
    OUTSIDE, NO_CLIENT, NO_ADDRESS, NO_SERVER, CLIENT_MISSING, NO_PAIR, NO_SESSION, SESSION_MISSING
) = range(len(REASONS))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Clock:
    """How far the clock of a computer in a log was ahead of the captures'."""

    log: str
    computer: str | None
    offset_ms: int | None
    """None: nothing to compare it with."""
    spread_ms: int
    """The median distance of the differences from their median."""
    marks: int
    """Events that it was taken from."""


@dataclass(slots=True)
class LogFindings:
    """What the logs say beside the captures."""

    processes: pa.Table
    unseen: pa.Table
    clocks: list[Clock]
    measures: dict[str, int] = field(default_factory=dict)
    """Of all."""
    by_server: dict[str, dict[str, int]] = field(default_factory=dict)
    """Of each server, by its address."""

    def coverage(self) -> list[tuple[str | None, str, int, str]]:
        """Rows for the table `coverage`: server (None: all), measure, value, meaning."""
        rows: list[tuple[str | None, str, int, str]] = [
            (None, name, value, MEANING[name]) for name, value in self.measures.items()
        ]
        for clock in self.clocks:
            if clock.offset_ms is not None:
                called = f"log_clock_ms of {clock.log}" + (f" ({clock.computer})" if clock.computer else "")
                rows.append((None, called, clock.offset_ms, CLOCK_MEANING.format(marks=clock.marks)))
        for server, measured in self.by_server.items():
            rows += [(server, name, value, MEANING[name]) for name, value in measured.items()]
        return rows


def join(logs: Logs, rows: TableSet, *, tolerance_s: float = TOLERANCE_S) -> LogFindings:
    """Join what was logged to what was captured. tolerance_s: how much the clocks may differ."""
    events = _Events(logs, rows)
    captured = _Captured(rows)
    wide = int(tolerance_s * SECOND)
    clocks = _clocks(events, captured, wide)
    events.set_right(clocks, wide)
    at = _connections_of(events, captured)
    events.learn(at.place, captured)
    on = _sessions_on(events, captured, at.place)
    weak = _sessions_between(events, captured, at)
    return _findings(logs, rows, events, captured, clocks, _Joined(at, on, weak))


# What is joined. #


class _Captured:
    """Connections and sessions, in the order of their ends and their beginning."""

    def __init__(self, rows: TableSet) -> None:
        connections = rows.columns(
            "connections", "connection_id", "client_ip", "client_port", "server_ip", "server_port", "first_seen", "last_seen",
            "midstream",
        )  # fmt: skip
        sessions = rows.columns(
            "sessions", "session_key", "connection_id", "client_ip", "server_ip", "started", "ended", "asked", "identity",
            "outcome", "user",
        )  # fmt: skip
        self.connections = connections
        order = np.argsort(connections["connection_id"], kind="stable")
        place = np.searchsorted(connections["connection_id"][order], sessions["connection_id"])
        place = np.minimum(place, len(order) - 1)
        sessions["place"] = order[place] if len(order) else np.full(len(place), NONE)
        first, last = (looked_up(connections[name], sessions["place"], -1) for name in ("first_seen", "last_seen"))
        sessions["begin"] = np.where(sessions["started"] >= 0, sessions["started"], first)
        sessions["end"] = np.where(sessions["ended"] >= 0, sessions["ended"], last)
        sessions["folded"] = _folded(sessions["user"], rows)
        self.sessions = sessions
        captures = rows.columns("captures", "first_seen", "last_seen")
        there = (captures["first_seen"] >= 0) & (captures["last_seen"] >= 0)
        self.begin, self.end = np.sort(captures["first_seen"][there]), np.sort(captures["last_seen"][there])

    def was_capturing(self, time: Ints) -> Mask:
        """True for moments that a capture covers: more have begun than ended."""
        begun = np.searchsorted(self.begin, time + CLOSE_NS, side="right")
        over = np.searchsorted(self.end, time - CLOSE_NS, side="left")
        found: Mask = begun > over
        return found


class _Events:
    """The events as columns, their texts as codes of the tables' texts."""

    def __init__(self, logs: Logs, rows: TableSet) -> None:
        columns = logs.events.columns()
        ours = np.array([*[rows.texts.code(text) for text in logs.events.texts.values], NONE], dtype=np.int64)
        for name in TEXTS:
            columns[name] = ours[columns[name]]
        self.columns: Columns = columns
        self.size = len(columns["log"])
        self.group = combined(columns["log"], columns["computer"]) if self.size else columns["log"]
        self.offset = np.zeros(self.size, dtype=np.int64)
        self.close = np.zeros(self.size, dtype=np.int64)
        self.certain = np.zeros(self.size, dtype=bool)
        self.folded = _folded(columns["user"], rows)
        resolved = _Names(rows)
        mine = resolved.of(columns["computer"])
        by_server, by_client = columns["side"] == SERVER, columns["side"] == CLIENT
        self.client = _filled(
            columns["client_ip"], resolved.of(columns["client_name"]), np.where(by_client, mine, NONE)
        )
        self.server = _filled(
            columns["server_ip"], resolved.of(columns["server_name"]), np.where(by_server, mine, NONE)
        )

    def __getitem__(self, name: str) -> Numbers:
        return self.columns[name]

    @property
    def time(self) -> Ints:
        """By the captures' clock."""
        return self.columns["time"] - self.offset

    def set_right(self, clocks: dict[int, tuple[int, int, int]], wide: int) -> None:
        """Take the clocks' differences into account. wide: the tolerance (ns) where none is known."""
        for group, mine in _each(self.group):
            offset, spread, marks = clocks.get(group, (0, 0, 0))
            self.offset[mine] = offset
            self.close[mine] = CLOSE_NS + 3 * spread if marks else wide
            self.certain[mine] = marks > 0

    def learn(self, place: Ints, captured: _Captured) -> None:
        """The address of a server that only its name was known of: where its events have been found."""
        theirs = looked_up(captured.connections["server_ip"], place, NONE)
        for _, rows in _each(self.group):
            mine = rows[self["side"][rows] == SERVER]
            found = np.unique(theirs[mine[theirs[mine] >= 0]])
            if len(found) == 1 and self["computer"][rows[0]] >= 0:
                self.server[mine] = np.where(self.server[mine] < 0, found[0], self.server[mine])


def _each(group: Ints) -> Iterator[tuple[int, Ints]]:
    """The rows of each group."""
    order = np.argsort(group, kind="stable")
    different, first = np.unique(group[order], return_index=True)
    yield from zip(different.tolist(), np.split(order, first[1:]), strict=True) if len(order) else ()


def _filled(*choices: Numbers) -> Ints:
    """The first of these that is there."""
    found = choices[0].astype(np.int64)
    for other in choices[1:]:
        found = np.where(found >= 0, found, other)
    return found


def _folded(users: Numbers, rows: TableSet) -> Ints:
    """Names of users without domain, in one case; missing stays."""
    different, places = np.unique(users.astype(np.int64), return_inverse=True)
    codes = [
        code
        if code < 0
        else rows.texts.code(str(rows.texts.text(code)).rpartition("\\")[2].partition("@")[0].casefold())
        for code in different.tolist()
    ]
    return np.array(codes, dtype=np.int64)[places] if codes else users.astype(np.int64)


class _Names:
    """Addresses of names, by the captures; a name of several addresses is no use."""

    def __init__(self, rows: TableSet) -> None:
        self._rows = rows
        hosts = rows.columns("hosts", "ip", "name", "other_names")
        found: dict[str, set[int]] = {}
        for ip, *names in zip(*(hosts[name].tolist() for name in ("ip", "name", "other_names")), strict=True):
            for code in names:
                for name in (rows.texts.text(code) or "").split("|"):
                    if name:
                        found.setdefault(machine(name), set()).add(ip)
        self._known = {name: next(iter(ips)) for name, ips in found.items() if len(ips) == 1}

    def of(self, names: Numbers) -> Ints:
        """Codes of addresses, `NONE` where a name says nothing."""
        different, places = np.unique(names.astype(np.int64), return_inverse=True)
        codes = [self._code(self._rows.texts.text(code)) for code in different.tolist()]
        return np.array(codes, dtype=np.int64)[places] if codes else names.astype(np.int64)

    def _code(self, name: str | None) -> int:
        if not name:
            return NONE
        address = canonical(name)
        return self._rows.texts.code(address) if address else self._known.get(machine(name), NONE)


# Joining. #


class _Found(NamedTuple):
    """For each event a row, `NONE` if there is none; and whether several fit."""

    place: Ints
    ambiguous: Mask
    candidates: Ints
    """How many fitted at all."""


class _Joined(NamedTuple):
    connection: _Found
    session: _Found
    """On that connection."""
    between: _Found
    """Sessions found without ports."""


def _around(key: Ints, time: Ints, known_key: Ints, known_time: Ints) -> Ints:
    """For each (key, time) the rows with that key around that time, `NONE` where there are no more: (n, 8)."""
    width = BEFORE + AFTER
    if not len(known_key) or not len(key):
        return np.full((len(key), width), NONE, dtype=np.int64)
    order = np.lexsort((known_time, known_key))
    known_key, known_time = known_key[order], known_time[order]
    last = as_of(key, time + 1, known_key, known_time)
    first = np.searchsorted(known_key, key)
    last = np.where(last >= 0, last, first - 1)
    place = last[:, None] + np.arange(1 - BEFORE, AFTER + 1)
    inside = (place >= 0) & (place < len(order))
    same = inside & (known_key[np.clip(place, 0, len(order) - 1)] == key[:, None]) & (key[:, None] >= 0)
    return np.where(same, order[np.clip(place, 0, len(order) - 1)], NONE)


def _picked(candidates: Ints, distance: Ints, fits: Mask, sure: Mask) -> _Found:
    """The only one; or, where the clock is `sure`, the one that is there at once, or that is much nearer than the next."""
    width = candidates.shape[1]
    far = np.where(fits, distance, np.iinfo(np.int64).max)
    order = np.argsort(far, axis=1, kind="stable")
    nearest, second = (np.take_along_axis(far, order[:, [n]], axis=1)[:, 0] for n in (0, 1 if width > 1 else 0))
    count = np.count_nonzero(fits, axis=1)
    best = np.take_along_axis(candidates, order[:, [0]], axis=1)[:, 0]
    nearer = (second > 0) & ((nearest == 0) | ((second // 3 >= nearest) & (second - nearest > CLEARLY_NS)))
    clear = (count == 1) | ((count > 1) & nearer & sure)
    return _Found(np.where(clear, best, NONE), (count > 0) & ~clear, count)


def _connections_of(events: _Events, captured: _Captured) -> _Found:
    """The connection of each event that names address and port of the client."""
    return _by_ports(events, captured, events.time, events.close)


def _by_ports(events: _Events, captured: _Captured, time: Ints, close: Ints) -> _Found:
    theirs = captured.connections
    place = np.full(events.size, NONE, dtype=np.int64)
    ambiguous = np.zeros(events.size, dtype=bool)
    count = np.zeros(events.size, dtype=np.int64)
    usable = (events.client >= 0) & (events["client_ip"] >= 0) & (events["client_port"] >= 0)
    for with_server in (True, False):
        asked = np.flatnonzero(usable & ((events["server_ip"] >= 0) == with_server))
        if not len(asked):
            continue
        ours: list[Numbers] = [events.client[asked], events["client_port"][asked]]
        known: list[Numbers] = [theirs["client_ip"], theirs["client_port"]]
        if with_server:
            ours.append(events["server_ip"][asked])
            known.append(theirs["server_ip"])
        both = combined(*[np.append(one, other) for one, other in zip(known, ours, strict=True)])
        size = len(known[0])
        near = _around(both[size:], time[asked], both[:size], theirs["first_seen"])
        moment, tolerance = time[asked][:, None], close[asked][:, None]
        first, last, port, server = (
            looked_up(theirs[name], near, NONE) for name in ("first_seen", "last_seen", "server_port", "server_ip")
        )
        distance = np.maximum(np.maximum(first - moment, moment - last), 0)
        wanted, at = events["server_port"][asked][:, None], events.server[asked][:, None]
        fits = (near >= 0) & (distance <= tolerance) & ((wanted < 0) | (wanted == port)) & ((at < 0) | (at == server))
        found = _picked(near, distance, fits, events.certain[asked])
        place[asked], ambiguous[asked], count[asked] = found.place, found.ambiguous, found.candidates
    return _Found(place, ambiguous, count)


def _fits(events: _Events, asked: Ints, captured: _Captured, near: Ints) -> Mask:
    """Whether a session can be the one that an event speaks of, by who it was and how it ended."""
    theirs = captured.sessions
    identity, claim, outcome, user = (
        looked_up(theirs[name], near, NONE) for name in ("identity", "asked", "outcome", "folded")
    )
    nobody = (claim == ASKED_ANONYMOUS) | np.isin(identity, NOBODY)
    anonymous, name = events["anonymous"][asked][:, None], events.folded[asked][:, None]
    named = (anonymous == 0) | ((anonymous < 0) & (events["user"][asked] >= 0)[:, None])
    same = (name < 0) | (user < 0) | (user == name) | (identity == GUEST)
    who = np.where(anonymous == 1, nobody | (identity == UNKNOWN), np.where(named, ~nobody & same, True))
    meaning = events["meaning"][asked][:, None]
    ended = np.where(
        meaning == LOGON,
        outcome != REFUSED,
        np.where(meaning == LOGON_FAILED, (outcome != ACCEPTED) | (identity == GUEST), True),
    )
    found: Mask = (near >= 0) & who & ended
    return found


def _moments(events: _Events, asked: Ints, captured: _Captured, near: Ints) -> Ints:
    """How far an event is from the beginning of a session, or from its time, by what it tells of."""
    theirs = captured.sessions
    begin, end = (looked_up(theirs[name], near, NONE) for name in ("begin", "end"))
    moment = events.time[asked][:, None]
    at_login = np.isin(events["meaning"][asked], AT_LOGIN)[:, None]
    during = np.maximum(np.maximum(begin - moment, moment - end), 0)
    return np.where(at_login, np.abs(begin - moment), during)


def _sessions_on(events: _Events, captured: _Captured, place: Ints) -> _Found:
    """The session on the connection of each event, of events that tell of one."""
    theirs = captured.sessions
    asked = np.flatnonzero((place >= 0) & (events["meaning"] != CONNECTION))
    near = _around(place[asked], events.time[asked], theirs["place"].astype(np.int64), theirs["begin"])
    distance = _moments(events, asked, captured, near)
    fits = _fits(events, asked, captured, near) & (distance <= events.close[asked][:, None])
    return _spread(events.size, asked, _picked(near, distance, fits, events.certain[asked]))


def _spread(size: int, asked: Ints, found: _Found) -> _Found:
    """What was found for some events, for all."""
    place, ambiguous, count = (
        np.full(size, NONE, dtype=np.int64),
        np.zeros(size, dtype=bool),
        np.zeros(size, dtype=np.int64),
    )
    place[asked], ambiguous[asked], count[asked] = found
    return _Found(place, ambiguous, count)


def _sessions_between(events: _Events, captured: _Captured, at: _Found) -> _Found:
    """The session of each event without ports: by client, server and time, if exactly one fits."""
    theirs = captured.sessions
    no_port = (events["client_port"] < 0) | (events["client_ip"] < 0)
    asked = np.flatnonzero(
        no_port
        & (at.place < 0)
        & (events.client >= 0)
        & (events.server >= 0)
        & ~np.isin(events["meaning"], (CONNECTION, SETTING))
    )
    size = len(theirs["begin"])
    both = combined(
        np.append(theirs["client_ip"], events.client[asked]), np.append(theirs["server_ip"], events.server[asked])
    )
    near = _around(both[size:], events.time[asked], both[:size], theirs["begin"])
    distance = _moments(events, asked, captured, near)
    close = np.maximum(events.close[asked], CLOSE_BY_NAME_NS)[:, None]
    fits = _fits(events, asked, captured, near) & (distance <= close)
    count = np.count_nonzero(fits, axis=1)
    only = np.where(count == 1, near[np.arange(len(asked)), np.argmax(fits, axis=1)], NONE)
    return _spread(events.size, asked, _Found(only, count > 1, count))


# Clocks. #


def _clocks(events: _Events, captured: _Captured, wide: int) -> dict[int, tuple[int, int, int]]:
    """For each log and computer: how far its clock was ahead (ns), the spread of that, and from how many events."""
    tolerance = np.full(events.size, wide)
    at = _by_ports(events, captured, events["time"], tolerance)
    place = np.where(at.candidates == 1, at.place, NONE)
    theirs = captured.connections
    whole = (events["meaning"] == CONNECTION) & (place >= 0) & ~looked_up(theirs["midstream"], place, True)
    mark = np.where(whole, looked_up(theirs["first_seen"], place, NONE), NONE)
    asked = np.flatnonzero((place >= 0) & np.isin(events["meaning"], (LOGON, LOGON_FAILED)))
    near = _around(
        place[asked], events["time"][asked], captured.sessions["place"].astype(np.int64), captured.sessions["begin"]
    )
    fits = _fits(events, asked, captured, near) & (looked_up(captured.sessions["started"], near, NONE) >= 0)
    only = np.count_nonzero(fits, axis=1) == 1
    session = near[np.arange(len(asked)), np.argmax(fits, axis=1)]
    mark[asked[only]] = captured.sessions["started"][session[only]]
    found = {}
    differences = events["time"] - mark
    marked = np.flatnonzero((mark >= 0) & (np.abs(differences) <= wide))
    for group, rows in _each(events.group[marked]):
        mine = differences[marked[rows]]
        offset = int(np.median(mine))
        spread = int(np.median(np.abs(mine - offset)))
        if spread <= UNSTEADY_NS:
            found[group] = offset, spread, len(mine)
    return found


# Results. #


def _findings(
    logs: Logs,
    rows: TableSet,
    events: _Events,
    captured: _Captured,
    clocks: dict[int, tuple[int, int, int]],
    joined: _Joined,
) -> LogFindings:
    at, on, between = joined
    session = np.where(on.place >= 0, on.place, between.place)
    place = np.where(at.place >= 0, at.place, looked_up(captured.sessions["place"], session, NONE))
    matched = place >= 0
    ambiguous = ~matched & (at.ambiguous | between.ambiguous)
    setting = events["meaning"] == SETTING
    named = (events["client_ip"] >= 0) & (events["client_port"] >= 0)
    usable = named | ((events.client >= 0) & (events.server >= 0) & (events["meaning"] != CONNECTION))
    unseen, reason = _unseen(events, captured, joined, matched, ambiguous | on.ambiguous)
    clock_list = _clock_list(logs, rows, events, clocks)
    missing = _not_logged(events, captured, place, session)
    measures = {
        "log_records": sum(file.records for file in logs.files),
        "log_events": events.size,
        "log_records_damaged": sum(file.damaged for file in logs.files),
        "log_events_dropped": logs.events.dropped,
        "log_events_matched": int(np.count_nonzero(matched)),
        "log_events_ambiguous": int(np.count_nonzero(ambiguous)),
        "log_sessions_ambiguous": int(np.count_nonzero(matched & on.ambiguous)),
        "log_events_unusable": int(np.count_nonzero(~usable & ~setting)),
        "log_events_unmatched": int(np.count_nonzero(usable & ~setting & ~matched & ~ambiguous)),
        "log_clocks_unknown": sum(clock.offset_ms is None for clock in clock_list),
        "log_anonymous_lists": int(np.count_nonzero(setting & (events["kind"] == _LISTS))),
        "anonymous_logons_unseen": len(unseen),
        "sessions_not_logged": int(np.count_nonzero(missing)),
        "anonymous_sessions_not_logged": int(np.count_nonzero(missing & _is_nobody(captured))),
    }
    by_server: dict[str, dict[str, int]] = {}
    for name, servers in (
        ("anonymous_logons_unseen", events.server[unseen]),
        ("sessions_not_logged", captured.sessions["server_ip"][missing]),
        ("anonymous_sessions_not_logged", captured.sessions["server_ip"][missing & _is_nobody(captured)]),
    ):
        for code, count in zip(*np.unique(servers[servers >= 0], return_counts=True), strict=True):
            by_server.setdefault(str(rows.texts.text(int(code))), {})[name] = int(count)
    return LogFindings(
        _processes(logs, rows, events, captured, joined, place, session),
        _unseen_table(logs, rows, events, unseen, reason),
        clock_list,
        measures,
        dict(sorted(by_server.items())),
    )


_LISTS = next(place for place, kind in enumerate(kinds()) if kind.name == "smbserver.1025")


def _is_nobody(captured: _Captured) -> Mask:
    theirs = captured.sessions
    found: Mask = (theirs["asked"] == ASKED_ANONYMOUS) | np.isin(theirs["identity"], NOBODY)
    return found


def _clock_list(logs: Logs, rows: TableSet, events: _Events, clocks: dict[int, tuple[int, int, int]]) -> list[Clock]:
    found = []
    different, first = np.unique(events.group, return_index=True)
    for group, row in zip(different.tolist(), first.tolist(), strict=True):
        offset, spread, marks = clocks.get(group, (None, 0, 0))
        computer = rows.texts.text(int(events["computer"][row]))
        log = logs.files[int(events["log"][row])].log
        found.append(Clock(log, computer, None if offset is None else round(offset / 1e6), round(spread / 1e6), marks))
    return found


def _unseen(
    events: _Events, captured: _Captured, joined: _Joined, matched: Mask, unsure: Mask
) -> tuple[Ints, npt.NDArray[np.int64]]:
    """The rows of anonymous events of servers that no capture shows, and why; what may be shown is left out."""
    theirs = captured.connections
    nobody = (events["anonymous"] == 1) & (events["side"] == SERVER) & np.isin(events["meaning"], BLIND)
    no_session = (joined.connection.place >= 0) & (joined.session.candidates == 0)
    # While a connection is open that began before the captures, its sessions may not be known.
    no_session &= ~looked_up(theirs["midstream"], joined.connection.place, False)
    rows = np.flatnonzero(nobody & ~unsure & (~matched | no_session))
    order = np.lexsort((events["time"][rows], events.group[rows]))
    rows = rows[order]
    client, server, time = events.client[rows], events.server[rows], events.time[rows]
    both = combined(np.append(theirs["client_ip"], client), np.append(theirs["server_ip"], server))
    size = len(theirs["client_ip"])
    with_client, with_server = np.isin(client, theirs["client_ip"]), np.isin(server, theirs["server_ip"])
    reason = np.select(
        [
            no_session[rows],
            ~captured.was_capturing(time),
            (client < 0) & (events["client_name"][rows] < 0),
            (server >= 0) & ~with_server,
            client < 0,
            ~with_client,
            (server >= 0) & ~np.isin(both[size:], both[:size]),
        ],
        [SESSION_MISSING, OUTSIDE, NO_CLIENT, NO_SERVER, NO_ADDRESS, CLIENT_MISSING, NO_PAIR],
        NO_SESSION,
    )
    if not len(rows):
        return rows, reason.astype(np.int64)
    about = np.where(np.isin(events["meaning"][rows], (LOGON, LOGON_FAILED)), LOGON, events["meaning"][rows])
    name = np.where(client >= 0, NONE, events["client_name"][rows])
    same = combined(
        events["log"][rows], events["computer"][rows], client, events["client_port"][rows], name, server, about,
        events["share"][rows], events["pipe"][rows],
    )  # fmt: skip
    order = np.lexsort((time, same))
    again = np.zeros(len(rows), dtype=bool)
    again[order[1:]] = (same[order[1:]] == same[order[:-1]]) & (time[order[1:]] - time[order[:-1]] <= SAME_NS)
    return rows[~again], reason[~again].astype(np.int64)


def _not_logged(events: _Events, captured: _Captured, place: Ints, session: Ints) -> Mask:
    """Accepted sessions that began while the log of their server goes on, and that no event of it shows."""
    theirs = captured.sessions
    shown = np.zeros(len(theirs["begin"]), dtype=bool)
    shown[session[session >= 0]] = True
    # Of events that several sessions on a connection fit, any may be meant.
    shown |= np.isin(theirs["place"], place[(place >= 0) & (session < 0) & (events["meaning"] != CONNECTION)])
    missing = np.zeros(len(shown), dtype=bool)
    telling = (events["meaning"] == LOGON) & (events["side"] == SERVER)
    server = _filled(events.server, looked_up(captured.connections["server_ip"], place, NONE))
    by_log = Groups(events["log"][telling], server[telling])
    begin, end = by_log.least(events.time[telling]), by_log.most(events.time[telling])
    for first, start, stop in zip(by_log.first.tolist(), begin.tolist(), end.tolist(), strict=True):
        whose = server[telling][first]
        if whose >= 0:
            covered = (theirs["server_ip"] == whose) & (theirs["started"] >= start) & (theirs["started"] <= stop)
            missing |= covered & (theirs["outcome"] == ACCEPTED)
    return missing & ~shown


def _processes(
    logs: Logs, rows: TableSet, events: _Events, captured: _Captured, joined: _Joined, place: Ints, session: Ints
) -> pa.Table:
    """A row for each event that was found and names a process or a user."""
    theirs = captured.connections
    said = (events["process"] >= 0) | (events["user"] >= 0)
    kept = np.flatnonzero((place >= 0) & said)
    kept = kept[np.lexsort((events["record"][kept], events["log"][kept], events.time[kept], place[kept]))]
    four = (events["client_ip"] >= 0) & (events["client_port"] >= 0) & (events["server_ip"] >= 0)
    sure = np.where(four & events.certain, CERTAIN, STRONG)
    confidence = np.where(joined.connection.place >= 0, sure, WEAK)[kept]
    ours = {name: column[kept] for name, column in events.columns.items()}
    names = [kind.name for kind in kinds()]
    return tables.table(
        "endpoint_processes",
        {
            "connection_id": tables.ints(theirs["connection_id"][place[kept]]),
            "session_key": tables.ints(looked_up(captured.sessions["session_key"], session[kept], NONE)),
            "side": tables.places_in(
                np.select([ours["side"] == CLIENT, ours["side"] == SERVER], [0, 1], NONE), tables.CLOSED_BY
            ),
            "process": tables.texts(ours["process"], rows.texts),
            "process_id": tables.ints(ours["process_id"]),
            "user": tables.texts(ours["user"], rows.texts),
            "event": tables.chosen(ours["kind"], names),
            "time": tables.times(ours["time"]),
            "offset_ms": _offsets(events, kept),
            "computer": tables.texts(ours["computer"], rows.texts),
            "log": tables.chosen(ours["log"], [file.log for file in logs.files]),
            "record": tables.ints(ours["record"]),
            "confidence": tables.places_in(confidence, tables.CONFIDENCE),
        },
        len(kept),
    )


def _offsets(events: _Events, kept: Ints) -> pa.Array:
    """Differences of the clocks that were taken into account; they may be below zero."""
    return tables.ints(np.round(events.offset[kept] / 1e6), ~events.certain[kept])


def _unseen_table(logs: Logs, rows: TableSet, events: _Events, kept: Ints, reason: Ints) -> pa.Table:
    ours = {name: column[kept] for name, column in events.columns.items()}
    names = [kind.name for kind in kinds()]
    server = _filled(events.server[kept])
    return tables.table(
        "endpoint_unseen",
        {
            "time": tables.times(ours["time"]),
            "offset_ms": _offsets(events, kept),
            "client_ip": tables.texts(events.client[kept], rows.texts),
            "client_port": tables.ints(ours["client_port"]),
            "client_name": tables.texts(ours["client_name"], rows.texts),
            "server_ip": tables.texts(server, rows.texts),
            "server": tables.texts(ours["computer"], rows.texts),
            "event": tables.chosen(ours["kind"], names),
            "detail": tables.listed(_details(ours, rows)),
            "reason": tables.chosen(reason, REASONS),
            "log": tables.chosen(ours["log"], [file.log for file in logs.files]),
            "record": tables.ints(ours["record"]),
        },
        len(kept),
    )


def _details(ours: Columns, rows: TableSet) -> list[str | None]:
    """Share, pipe and status, as far as they are told."""
    found = []
    for codes in zip(*(ours[name].tolist() for name in ("share", "pipe", "status")), strict=True):
        parts = [
            f"{name} {rows.texts.text(code)}"
            for name, code in zip(("share", "pipe", "status"), codes, strict=True)
            if code >= 0
        ]
        found.append("; ".join(parts) or None)
    return found
