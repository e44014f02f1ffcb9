"""Connections that several results show: which copy stands, and which rows of the others are added to it.

Two results show the same connection if addresses and ports are the same and their times overlap, or if one shows no end and
the other, later, no beginning: then it goes on there, as it does from one file of an analysis to the next. The copy that
stands is the one that shows both directions, the beginning, the fewest gaps, the most packets. What another copy saw within
the time of that one is the same and is left out; what it saw before or after is not, and is added: its sessions become
those that the standing copy knows by the same session id, if it began them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from analyzer import tables
from analyzer.groups import Groups, Mask, Numbers, looked_up, places, places_of
from analyzer.merging.stack import Stack
from analyzer.sessions.joins import NONE, Ints, as_of
from analyzer.tables import Columns

ADDED = (
    "packets", "client_bytes", "server_bytes", "missing_bytes", "unparsed_bytes", "encrypted_messages",
    "compressed_messages",
)  # fmt: skip
"""Columns of a connection that grow with a part that continues it."""
GUIDS = ("client_guid", "server_guid")
COUNTS = ("opens", "succeeded", "denied")
BOTH = tables.DIRECTIONS.index("both")
NOT_CAPTURED = tables.OUTCOME.index("not_captured")
IN_PART = [tables.OUTCOME.index(name) for name in ("not_captured", "unanswered", "abandoned")]
TIME = {"trees": "time", "pipe_opens": "opened", "binds": "time", "calls": "time"}


@dataclass(slots=True)
class Copies:
    """Masks and row numbers of the stacked tables."""

    keep: Mask
    """For each connection: it stands."""
    continues: Mask
    """... it does not overlap in time with the one that stands for it."""
    stays: dict[str, Mask] = field(default_factory=dict)
    """By table the rows that stay."""
    target: dict[str, Ints] = field(default_factory=dict)
    """By table, for each row the row that stands for it: itself, another, or none."""
    of_standing: Mask = field(default_factory=lambda: np.empty(0, dtype=bool))
    """For each session: it is of a connection that stands."""
    changes: dict[str, Columns] = field(default_factory=dict)
    """By table the columns that are not what they were."""


def find(stack: Stack) -> Copies:
    """Work out what stays of each table."""
    connections = stack.columns(
        "connections", "connection_id", "site", "client_ip", "client_port", "server_ip", "server_port", "first_seen",
        "last_seen", "midstream", "directions", "closed_by", *GUIDS, *ADDED,
    )  # fmt: skip
    standing = _standing(connections, stack.origin["connections"])
    own = np.arange(len(standing))
    first, last = connections["first_seen"], connections["last_seen"]
    apart = (first > last[standing]) | (last < first[standing])
    found = Copies(keep=standing == own, continues=apart & (standing != own))
    found.stays["connections"], found.target["connections"] = found.keep, standing
    # As it is shown by the copy that stands: what others saw beyond that is not in it.
    gaps = (connections["missing_bytes"] > 0) | (connections["directions"] != BOTH)
    seen = _Seen(connections["connection_id"], standing, first[standing], last[standing], apart, gaps)
    found.changes["connections"] = _lengthened(connections, found)
    _sessions(stack, seen, found)
    for name in TIME:
        _things(stack, name, seen, found)
    connection = stack.columns("channels", "connection_id")["connection_id"]
    found.stays["channels"] = seen.stands(connection) | seen.is_apart(connection)
    _disk_opens(stack, connections, seen, found)
    return found


def _standing(connections: Columns, origin: Ints) -> Ints:
    """For each connection the row of the copy that stands for it."""
    count = len(origin)
    five = Groups(*[connections[name] for name in ("site", "client_ip", "client_port", "server_ip", "server_port")])
    times = np.concatenate([connections["first_seen"], connections["last_seen"]])
    rank = np.unique(times, return_inverse=True)[1].reshape(-1)
    first, last = rank[:count], rank[count:]
    order = np.lexsort((first, five.number))
    width = len(times) + 1
    until = np.maximum.accumulate(five.number[order] * width + last[order])
    begins = np.ones(count, dtype=bool)
    before, after = order[:-1], order[1:]
    later = five.number[after] * width + first[after] > until[:-1]
    goes_on = (
        connections["midstream"][after] & (connections["closed_by"][before] < 0) & (origin[before] != origin[after])
    )
    begins[1:] = (five.number[after] != five.number[before]) | (later & ~goes_on)
    cluster = np.empty(count, dtype=np.int64)
    cluster[order] = np.cumsum(begins) - 1
    best = _best_origin(connections, cluster, origin)
    keep = (origin == best[cluster]) | _contradict(connections, cluster)
    kept = np.flatnonzero(keep)
    # Of several that stand in one cluster the last that had begun, else the first.
    copies = np.flatnonzero(~keep)
    standing = np.arange(count)
    standing[copies] = kept[_last_or_first(cluster[kept], first[kept], cluster[copies], first[copies] + 1)]
    return standing


def _contradict(connections: Columns, cluster: Ints) -> Mask:
    """True where what should be one connection names several clients or servers: addresses of two networks, say."""
    several = np.zeros(len(cluster), dtype=bool)
    groups = Groups(cluster)
    for name in GUIDS:
        several |= (groups.different(connections[name]) > 1)[groups.number]
    return several


def _best_origin(connections: Columns, cluster: Ints, origin: Ints) -> Ints:
    """For each cluster the result that shows most of it."""
    by_origin = Groups(cluster, origin)
    one_way = by_origin.sums(connections["directions"] != BOTH)
    order = np.lexsort(
        (
            origin[by_origin.first],
            -by_origin.sums(connections["packets"]),
            by_origin.sums(connections["missing_bytes"]),
            by_origin.sums(connections["midstream"]),
            one_way,
            cluster[by_origin.first],
        )
    )
    first = np.unique(cluster[by_origin.first][order], return_index=True)[1]
    best: Ints = origin[by_origin.first][order][first]
    return best


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the copies that stand have seen of each connection."""

    connection_id: Numbers
    standing: Ints
    first: Numbers
    last: Numbers
    apart: Mask

    gaps: Mask

    def row(self, connection_id: Numbers) -> Ints:
        return places(connection_id, self.connection_id)

    def stands(self, connection_id: Numbers) -> Mask:
        """True for what belongs to a connection that stands, or to none."""
        row = self.row(connection_id)
        found: Mask = (row < 0) | (looked_up(self.standing, row, NONE) == row)
        return found

    def is_apart(self, connection_id: Numbers) -> Mask:
        """True for what belongs to a copy that has no time in common with the one that stands."""
        found: Mask = looked_up(self.apart, self.row(connection_id), False)
        return found

    def of(self, connection_id: Numbers) -> Ints:
        """The row of the connection that stands for it."""
        return looked_up(self.standing, self.row(connection_id), NONE)

    def is_without_gaps(self, connection_id: Numbers) -> Mask:
        """True for what belongs to a connection of which the standing copy shows all of its time."""
        found: Mask = looked_up(~self.gaps[self.standing], self.row(connection_id), False)
        return found

    def is_beyond(self, connection_id: Numbers, time: Numbers) -> Mask:
        """True for what the copy that stands cannot show, since it was seen before or after."""
        row = self.row(connection_id)
        outside = (time < looked_up(self.first, row, 0)) | (time > looked_up(self.last, row, np.iinfo(np.int64).max))
        return np.where(time < 0, self.is_apart(connection_id), outside)


def _lengthened(connections: Columns, found: Copies) -> Columns:
    """The connections that stand, with the time and what is counted of those that continue them."""
    copies = np.flatnonzero(~found.keep)
    onto = found.target["connections"][copies]
    made = {
        name: connections[name].copy() for name in ("first_seen", "last_seen", "midstream", "directions", "closed_by")
    }
    made |= {name: connections[name].copy() for name in ADDED}
    np.minimum.at(made["first_seen"], onto, connections["first_seen"][copies])
    np.maximum.at(made["last_seen"], onto, connections["last_seen"][copies])
    np.maximum.at(made["closed_by"], onto, connections["closed_by"][copies])
    np.logical_and.at(made["midstream"], onto, connections["midstream"][copies])
    parts = copies[found.continues[copies]]
    onto = found.target["connections"][parts]
    np.maximum.at(made["directions"], onto, connections["directions"][parts])  # one way only is said of all of it
    for name in ADDED:
        np.add.at(made[name], onto, np.maximum(connections[name][parts], 0))
    return made


def _sessions(stack: Stack, seen: _Seen, found: Copies) -> None:
    """A session of a copy is the one that the standing connection has, or is bound to, under the same id.

    Where it has none, and shows all of that time, a login of which the copy saw only a part is that of the next session.
    """
    columns = stack.columns("sessions", "session_key", "connection_id", "session_id", "started", "outcome")
    connection, started = columns["connection_id"], columns["started"]
    of_standing = seen.stands(connection)
    begun_beyond = seen.is_beyond(connection, started) & (columns["outcome"] != NOT_CAPTURED)
    asked = np.flatnonzero(~of_standing & ~begun_beyond)
    known = np.flatnonzero(of_standing)
    of_channel, bound_to = _bound(stack, columns, seen)
    on = np.concatenate([seen.of(connection[known]), of_channel, seen.of(connection[asked])])
    session = np.concatenate([known, bound_to])
    ids = np.concatenate([columns["session_id"][session], columns["session_id"][asked]])
    by_id = Groups(on, ids).number
    then = _last_or_first(by_id[: len(session)], started[session], by_id[len(session) :], started[asked] + 1)
    target = np.arange(len(started))
    target[asked[then >= 0]] = session[then[then >= 0]]
    in_part = np.isin(columns["outcome"], IN_PART) & (started >= 0) & seen.is_without_gaps(connection)
    unfinished = asked[(then < 0) & in_part[asked]]
    # Backwards in time: the first that begins no sooner.
    then = _last_or_first(
        seen.of(connection[known]), -started[known], seen.of(connection[unfinished]), 1 - started[unfinished]
    )
    target[unfinished[then >= 0]] = known[then[then >= 0]]
    found.target["sessions"] = target
    found.of_standing = of_standing
    found.stays["sessions"] = target == np.arange(len(started))


def _bound(stack: Stack, sessions: Columns, seen: _Seen) -> tuple[Ints, Ints]:
    """Standing connections that are bound to a session of another one, and its row."""
    channels = stack.columns("channels", "session_key", "connection_id")
    row = places(channels["session_key"], sessions["session_key"])
    row_of_connection = looked_up(sessions["connection_id"], row, NONE)
    there = (row >= 0) & seen.stands(channels["connection_id"]) & seen.stands(row_of_connection)
    return seen.of(channels["connection_id"][there]), row[there]


def _last_or_first(known: Ints, begun: Ints, keys: Ints, times: Ints) -> Ints:
    """For each key the place among the known of the last that has it and had begun before that time, else of the first."""
    order = np.lexsort((begun, known))
    then = as_of(keys, times, known[order], begun[order])
    then = np.where(then >= 0, then, places(keys, known[order]))
    return looked_up(order, then, NONE)


def _things(stack: Stack, name: str, seen: _Seen, found: Copies) -> None:
    """Trees, opens, binds and calls of a copy stay if the standing connection cannot show them, nor their session."""
    columns = stack.columns(name, "connection_id", "session_key", TIME[name])
    connection = columns["connection_id"]
    session = _row_of(stack, "sessions", "session_key", columns["session_key"])
    of_own = looked_up(found.stays["sessions"] & ~found.of_standing, session, False)
    stays = seen.stands(connection) | seen.is_beyond(connection, columns[TIME[name]]) | of_own
    own = np.arange(len(stays))
    target = np.where(stays, own, NONE)
    if name == "trees":
        told = stack.columns(name, "session_key", "tree_id", "share")
        session = looked_up(
            found.target["sessions"], _row_of(stack, "sessions", "session_key", told["session_key"]), NONE
        )
        key = (session, told["tree_id"], told["share"])
        gone, there = np.flatnonzero(~stays), np.flatnonzero(stays)
        place = places_of([column[gone] for column in key], [column[there] for column in key])
        target[gone] = looked_up(there, place, NONE)
    found.stays[name], found.target[name] = stays, target


def _row_of(stack: Stack, name: str, key: str, wanted: Numbers) -> Ints:
    return places(wanted, stack.columns(name, key)[key])


def _disk_opens(stack: Stack, connections: Columns, seen: _Seen, found: Copies) -> None:
    """They are counted for a whole session: of a copy that shows more time than the standing one, the larger holds."""
    columns = stack.columns("disk_opens", "session_key", "tree_key", "share", *COUNTS)
    tree = _row_of(stack, "trees", "tree_key", columns["tree_key"])
    session = _row_of(stack, "sessions", "session_key", columns["session_key"])
    of_tree = looked_up(stack.columns("trees", "connection_id")["connection_id"], tree, NONE)
    of_session = looked_up(stack.columns("sessions", "connection_id")["connection_id"], session, NONE)
    connection = np.where(of_tree >= 0, of_tree, of_session)
    row = seen.row(connection)
    shows_more = (looked_up(connections["first_seen"], row, 0) < looked_up(seen.first, row, 0)) | (
        looked_up(connections["last_seen"], row, 0) > looked_up(seen.last, row, 0)
    )
    stands = seen.stands(connection)
    there, more = np.flatnonzero(stands), np.flatnonzero(~stands & shows_more)
    key = (looked_up(found.target["sessions"], session, NONE), columns["share"])
    place = places_of([column[more] for column in key], [column[there] for column in key])
    onto, giver = there[place[place >= 0]], more[place >= 0]
    counts = {name: columns[name].copy() for name in COUNTS}
    apart = seen.is_apart(connection)[giver]
    for name in COUNTS:
        np.maximum.at(counts[name], onto[~apart], columns[name][giver[~apart]])
        np.add.at(counts[name], onto[apart], columns[name][giver[apart]])
    found.stays["disk_opens"] = stands.copy()
    found.stays["disk_opens"][more[place < 0]] = True
    found.changes["disk_opens"] = counts
