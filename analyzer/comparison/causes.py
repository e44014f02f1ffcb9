"""Why a use that was there before is not there after: what happened to the same client at the same server instead.

A refusal on a lower rung keeps a client from asking for what comes above it: a refused login from all, a refused IPC$ from
all pipes, a refused open from all that is called through the pipe, a refused first call from those that need its answer. So
where a use is missing, the lowest such refusal of the same client at the same server stands for it; then what failed
without a refusal; then logins that never came.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analyzer import tables
from analyzer.comparison.machines import Machines
from analyzer.comparison.sides import Side, by_key
from analyzer.groups import Groups, Mask, Numbers, looked_up, places, places_of
from analyzer.sessions.joins import NONE, Ints
from analyzer.summary.overview import PROVEN
from analyzer.tables import Columns

GUEST = tables.IDENTITY.index("guest")
DENIED = tables.VERDICT.index("denied")
ACCEPTED, REFUSED = tables.OUTCOME.index("accepted"), tables.OUTCOME.index("refused")
SESSION_SETUP = tables.RUNG.index("session_setup")
BOTH = tables.DIRECTIONS.index("both")
BOUND = [tables.BIND_RESULT.index(name) for name in ("accepted", "not_told", "unanswered")]
IPC = ("rap", "dfs")


@dataclass(slots=True)
class Causes:
    """For each key what stands for it after; `NONE` and False where nothing does."""

    refused: Mask
    failing: Mask
    no_login: Mask
    rung: Ints
    status: Ints
    what: Ints
    """Code of a text: the operation, resource or login that was refused or failed."""
    capture: Ints
    frame: Ints

    @classmethod
    def none(cls, size: int) -> Causes:
        masks = [np.zeros(size, dtype=bool) for _ in range(3)]
        return cls(*masks, *[np.full(size, NONE, dtype=np.int64) for _ in range(5)])

    def settle(self, where: Mask, row: Ints, found: Columns, what: Numbers, rung: Numbers | None = None) -> None:
        """Take these rows of a table as the cause, where none is known yet: a refusal on a rung, else a failure."""
        at = np.flatnonzero(where & (row >= 0) & ~self.refused & ~self.failing)
        of = row[at]
        for name in ("status", "capture", "frame"):
            getattr(self, name)[at] = found[name][of]
        self.what[at] = what[of]
        if rung is None:
            self.failing[at] = True
        else:
            self.rung[at] = rung[of]
            self.refused[at] = True


class Pairs:
    """Numbers for each client and server, whichever side they are of."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines
        self._size = len(machines.matched_by) + 1

    def of(self, rows: Columns, *, after: bool) -> Ints:
        client, server = (
            self._machines.of(rows["site"], rows[f"{end}_ip"], after=after) for end in ("client", "server")
        )
        return self.both(client, server)

    def both(self, client: Ints, server: Ints) -> Ints:
        return np.where((client < 0) | (server < 0), NONE, client * self._size + server)


def find(keys: Columns, before: Side, after: Side, pairs: Pairs) -> Causes:
    """keys: `pair`, `resource`, `interface`, `operation`, `identity` of what may be missing."""
    causes = Causes.none(len(keys["pair"]))
    rows, _ = after.dependencies()
    rows |= {"pair": pairs.of(rows, after=True), "status": after.status_at(rows["capture"], rows["frame"])}
    everywhere = np.ones(len(keys["pair"]), dtype=bool)
    what = np.where(rows["operation"] >= 0, rows["operation"], rows["resource"])
    on_ipc = _is_on_ipc(keys, after)
    # All that was asked of it is refused.
    by_resource, first = by_key((rows["pair"], rows["resource"]), rows["verdict"], rows["first_seen"])
    all_refused = by_resource.least(rows["verdict"]) == DENIED
    place = places_of((keys["pair"], keys["resource"]), (rows["pair"][first], rows["resource"][first]))
    row = np.where(looked_up(all_refused, place, False), looked_up(first, place, NONE), NONE)
    causes.settle(everywhere, row, rows, what, rows["refused_at"])
    # IPC$ is, and then the login.
    for resource, where in ((after.texts.code("IPC$"), on_ipc), (NONE, everywhere)):
        denied = np.flatnonzero((rows["resource"] == resource) & (rows["verdict"] == DENIED))
        denied = denied[np.argsort(rows["first_seen"][denied], kind="stable")]
        row = looked_up(denied, places(keys["pair"], rows["pair"][denied]), NONE)
        causes.settle(where, row, rows, what, rows["refused_at"])
    _refused_logins(causes, keys, before, after, pairs)
    _failing(causes, keys, after, pairs, is_after=True)
    _no_logins(causes, keys, after, pairs)
    return causes


def _is_on_ipc(keys: Columns, side: Side) -> Mask:
    """True for what goes through IPC$: shares are spelt in capitals, pipes are not."""
    shares = [
        code for code in np.unique(keys["resource"]).tolist() if code >= 0 and _is_share(side.texts.text(code) or "")
    ]
    return (keys["resource"] >= 0) & ~np.isin(keys["resource"], shares)


def _is_share(text: str) -> bool:
    return text == text.upper() and text not in IPC


def _refused_logins(causes: Causes, keys: Columns, before: Side, after: Side, pairs: Pairs) -> None:
    """A name that was taken for a guest before, and is refused now."""
    ours, theirs = before.sessions(), after.sessions()
    guests = ours["identity"] == GUEST
    ours_pair, theirs_pair = pairs.of(ours, after=False), pairs.of(theirs, after=True)
    known = Groups(ours_pair[guests], ours["user"][guests]).first
    known_pair, known_user = ours_pair[guests][known], ours["user"][guests][known]
    accepted = theirs["outcome"] == ACCEPTED
    refused = np.flatnonzero(theirs["outcome"] == REFUSED)
    key = (theirs_pair[refused], theirs["user"][refused])
    same = places_of(key, (known_pair, known_user)) >= 0
    works = places_of(key, (theirs_pair[accepted], theirs["user"][accepted])) >= 0
    refused = refused[same & ~works & (theirs_pair[refused] >= 0)]
    theirs["frame"] = np.where(theirs["frame"] >= 0, theirs["frame"], theirs["answer_frame"])
    row = looked_up(refused, places(keys["pair"], theirs_pair[refused]), NONE)
    causes.settle(keys["identity"] == GUEST, row, theirs, theirs["user"], np.full(len(theirs["user"]), SESSION_SETUP))


def failed_already(keys: Columns, before: Side, pairs: Pairs) -> Mask:
    """True for what never worked before, either."""
    causes = Causes.none(len(keys["pair"]))
    _failing(causes, keys, before, pairs, is_after=False)
    return causes.failing


def _failing(causes: Causes, keys: Columns, side: Side, pairs: Pairs, *, is_after: bool) -> None:
    """Pipes, interfaces and shares that were asked for, none of them in vain for want of access, and never with success."""
    on_ipc = _is_on_ipc(keys, side)
    success = side.texts.code("STATUS_SUCCESS")
    opens = side.things("pipe_opens", "pipe", "inferred")
    opens |= {"resource": opens["pipe"], "worked": (opens["status"] == success) | opens["inferred"]}
    binds = side.things("binds", "pipe", "interface", "result")
    binds |= {"resource": binds["pipe"], "worked": np.isin(binds["result"], BOUND)}
    trees = side.things("trees", "share")
    trees |= {"resource": trees["share"], "worked": trees["status"] == success}
    for things, where, key in (
        (opens, on_ipc, ("resource",)), (binds, on_ipc, ("resource", "interface")), (trees, ~on_ipc, ("resource",)),
    ):  # fmt: skip
        told = ~np.isin(things["identity"], PROVEN) & ((things["status"] >= 0) | things["worked"])
        rows = {name: column[told] for name, column in things.items()}
        own = (pairs.of(rows, after=is_after), *(rows[name] for name in key))
        groups = Groups(*own)
        never = groups.first[groups.sums(rows["worked"]) == 0]
        place = places_of((keys["pair"], *(keys[name] for name in key)), [column[never] for column in own])
        causes.settle(where & (keys["resource"] >= 0), looked_up(never, place, NONE), rows, rows["resource"])


def _no_logins(causes: Causes, keys: Columns, after: Side, pairs: Pairs) -> None:
    """Connections that were captured whole, of clients that had no login at all at that server."""
    rows = after.columns(
        "connections",
        "site",
        "client_ip",
        "server_ip",
        "midstream",
        "directions",
        "missing_bytes",
        "capture",
        "first_frame",
    )
    pair = pairs.of(rows, after=True)
    whole = ~rows["midstream"] & (rows["directions"] == BOTH) & (rows["missing_bytes"] <= 0) & (pair >= 0)
    groups = Groups(pair)
    all_whole = (groups.sums(whole) == groups.sizes())[groups.number]
    silent = np.flatnonzero(all_whole & ~np.isin(pair, pairs.of(after.sessions(), after=True)))
    row = looked_up(silent, places(keys["pair"], pair[silent]), NONE)
    at = (row >= 0) & ~causes.refused & ~causes.failing
    causes.no_login |= at
    causes.failing |= at
    causes.capture[at] = rows["capture"][row[at]]
    causes.frame[at] = rows["first_frame"][row[at]]
