"""Which connections stand behind rows of `dependencies`.

Those of their uses, and of the sessions that these belong to, wherever these were set up or bound. And those of what the rows
say besides: the failed login that led to them (`root_cause`), the same uses with credentials (`shadowed_by`), and, where the
evidence says that several machines share the client's address, all of that client's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analyzer import tables
from analyzer.analysis import Analysis
from analyzer.attribution.matching import Distinct
from analyzer.groups import Groups, Mask, combined, looked_up, places, places_of
from analyzer.sessions.joins import NONE, Ints, as_of
from analyzer.summary.dependencies import KEY, OF_RESOURCE, ROOT_CAUSE_WITHIN_NS, attributed_uses
from analyzer.summary.uses import ASKED_ANONYMOUS, PIPE, REFUSED, those
from analyzer.tables import Columns, TableSet

TABLES = (
    "captures", "connections", "sessions", "channels", "trees", "pipe_opens", "binds", "calls", "credentialed_uses",
    "disk_opens", "hosts", "endpoint_processes", "dependencies",
)  # fmt: skip
PROVEN = tuple(tables.IDENTITY.index(name) for name in ("user", "machine", "authenticated"))
NO_END = 2**62


@dataclass(frozen=True, slots=True)
class Behind:
    """What stands behind chosen rows."""

    rows: Ints
    """Their places in `dependencies`."""
    use_row: Ints
    """For each use its place in `rows`."""
    use_session: Ints
    use_connection: Ints
    connections: Ints
    """The connections of all that the rows say: ids, in order."""


def tabled(analysis: Analysis) -> TableSet:
    """The tables that are looked at here."""
    return TableSet({name: analysis.arrow(name) for name in TABLES})


def behind(rows: TableSet, chosen: Ints, analysis: Analysis) -> Behind:
    """What stands behind some rows of `dependencies`. rows: as `tabled` gives them."""
    uses = attributed_uses(rows, analysis.judging.rules if analysis.judging else (), analysis.counts)
    asked = rows.columns("dependencies", *KEY, "evidence", "root_cause", "shadowed_by")
    mine = those(asked, chosen)
    use_row = places_of([uses[name] for name in KEY], [mine[name] for name in KEY])
    # Results that were made with rules, which are not in them, have other applications than what is told without.
    lost = places_of([uses[name] for name in KEY], [asked[name] for name in KEY]) < 0
    alone = np.setdiff1d(np.arange(len(chosen)), use_row)
    if len(alone):
        other = places_of([uses[name] for name in OF_RESOURCE], [mine[name][alone] for name in OF_RESOURCE])
        use_row = np.where((use_row < 0) & lost, looked_up(alone, other, NONE), use_row)
    of = use_row >= 0
    use_session, use_connection = uses["session_key"][of], uses["connection_id"][of]
    sessions = rows.columns(
        "sessions", "session_key", "session_no", "connection_id", "site", "client_ip", "server_ip", "started", "ended",
        "asked", "outcome", "identity",
    )  # fmt: skip
    taken = np.isin(sessions["session_no"], sessions["session_no"][np.isin(sessions["session_key"], use_session)])
    followed = looked_up(mine["root_cause"], use_row[of], NONE) >= 0
    taken |= _failed_before(sessions, use_session[followed])
    taken |= _with_credentials(rows, sessions, those(mine, mine["shadowed_by"] >= 0))
    channels = rows.columns("channels", "session_key", "connection_id")
    bound = channels["connection_id"][np.isin(channels["session_key"], sessions["session_key"][taken])]
    ids = (use_connection, sessions["connection_id"][taken], bound, _of_sharing(rows, mine))
    every = np.unique(np.concatenate([part.astype(np.int64) for part in ids]))
    return Behind(chosen, use_row[of], use_session, use_connection, every[every >= 0])


def _of_sharing(rows: TableSet, mine: Columns) -> Ints:
    """All connections of the clients of which rows say that several machines share their addresses."""
    shared = Distinct(mine["evidence"], rows.texts.text).are(lambda text: "address.shared" in text)
    found = rows.columns("connections", "connection_id", "site", "client_ip")
    theirs = places_of([found["site"], found["client_ip"]], [mine["site"][shared], mine["client_ip"][shared]]) >= 0
    ids: Ints = found["connection_id"][theirs]
    return ids


def _failed_before(sessions: Columns, keys: Ints) -> Mask:
    """True for the failed logins that sessions followed, as `root_cause` finds them."""
    found = np.zeros(len(sessions["session_key"]), dtype=bool)
    pair = combined(sessions["site"], sessions["client_ip"], sessions["server_ip"])
    started = sessions["started"]
    failed = np.flatnonzero((sessions["outcome"] == REFUSED) & (sessions["asked"] != ASKED_ANONYMOUS) & (started >= 0))
    of = places(np.unique(keys), sessions["session_key"])
    of = of[of >= 0]
    before = as_of(pair[of], started[of] + 1, pair[failed], started[failed])
    of, before = of[before >= 0], before[before >= 0]
    found[failed[before[started[of] - started[failed[before]] <= ROOT_CAUSE_WITHIN_NS]]] = True
    return found


def _with_credentials(rows: TableSet, sessions: Columns, shadowed: Columns) -> Mask:
    """True for the sessions with credentials that may have done the same as rows that say that it was also done so.

    Such uses are counted by the hour. So these are the sessions of the same client and server that were there in the time from
    the first use of an hour to its last, and had a share that it can have been on.
    """
    found = np.zeros(len(sessions["session_key"]), dtype=bool)
    uses = rows.columns("credentialed_uses", *OF_RESOURCE, "first_seen", "last_seen")
    same = places_of([uses[name] for name in OF_RESOURCE], [shadowed[name] for name in OF_RESOURCE]) >= 0
    uses = those(uses, same)
    if not same.any():
        return found
    trees = rows.columns("trees", "session_key", "share", "kind")
    fit = (
        (trees["kind"] == PIPE)
        | (trees["share"] == rows.texts.code("IPC$"))
        | np.isin(trees["share"], uses["resource"])
    )
    had = np.isin(sessions["session_key"], trees["session_key"][fit])
    had |= ~np.isin(sessions["session_key"], trees["session_key"])
    of = np.flatnonzero(np.isin(sessions["identity"], PROVEN) & had)
    theirs = those(sessions, of)
    connections = rows.columns("connections", "connection_id", "last_seen")
    over = looked_up(connections["last_seen"], places(theirs["connection_id"], connections["connection_id"]), NONE)
    ended = np.where(theirs["ended"] >= 0, theirs["ended"], over)
    ended = np.where(ended >= 0, ended, NO_END)
    ends = ("site", "client_ip", "server_ip")
    pair = combined(*[np.append(uses[name], theirs[name]) for name in ends])
    of_use, of_session = pair[: len(uses["site"])], pair[len(uses["site"]) :]
    # Of the hours that began before a session was over, the one that reaches farthest must reach its beginning.
    order = np.lexsort((uses["first_seen"], of_use))
    begins, reaches = uses["first_seen"][order], uses["last_seen"][order].copy()
    by_pair = Groups(of_use[order])
    for first, size in zip(by_pair.first.tolist(), by_pair.sizes().tolist(), strict=True):
        reaches[first : first + size] = np.maximum.accumulate(reaches[first : first + size])
    last = as_of(of_session, ended + 1, of_use[order], begins)
    found[of[(last >= 0) & (looked_up(reaches, last, NONE) >= theirs["started"])]] = True
    return found
