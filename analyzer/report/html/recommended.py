"""What is recommended for each server, as the page shows it: settings, what is held back by whom, or why there is nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analyzer import tables
from analyzer.policy.explain import meaning_of
from analyzer.policy.replay import label
from analyzer.policy.settings import Value, setting_of
from analyzer.report import whatif
from analyzer.report.html.policy import Line, Policy, clients_of, known, outcomes, replayed
from analyzer.report.html.words import shown

if TYPE_CHECKING:
    from analyzer.policy.recommending import Advice, Blocked, Recommendation

NAME = "what is recommended"
MOST_GAINS = 15


class Setting(NamedTuple):
    """A setting that is recommended."""

    name: str
    value: str
    meaning: str


class Held(NamedTuple):
    """What is not tightened, why, and whose uses stand in the way."""

    what: str
    why: str
    clients: list[str]
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OfServer:
    """What is recommended for a server. reason: why nothing is; empty: something is."""

    name: str
    known: str
    reason: str
    settings: list[Setting]
    held: list[Held]
    kept: list[str]
    refused: list[str]
    lost: list[Line]
    """What would break or cannot be known: uses that nobody needs, or that were given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """What is recommended for all servers; those that have settings stand first."""

    servers: list[OfServer]
    replay: Policy
    """What becomes of the rows of these."""
    gains: list[str] = field(default_factory=list)
    """What repairs of dependents would gain on several servers, in sentences."""

    def advised(self) -> list[OfServer]:
        """The servers for which something is recommended."""
        return [server for server in self.servers if not server.reason]

    def without(self) -> list[tuple[str, int]]:
        """Why there is nothing for the others, and for how many of them; without what differs from one to the other."""
        reasons = Counter(server.reason.partition(":")[0].partition(";")[0] for server in self.servers if server.reason)
        return reasons.most_common()


def recommended(found: Recommendation) -> Recommended:
    """What `analyzer.policy.recommend` found, for the page."""
    has_policy = np.array([advice.policy is not None for advice in found.servers], dtype=bool)
    told = replayed(NAME, found.replay)
    replay = Policy(NAME, outcomes(found.replay, has_policy), servers=told.servers, notes=told.notes)
    lines = dict(replay.by_server())
    servers = [_of_server(found, advice, lines) for advice in found.servers]
    gains = found.repairs[found.repairs["servers"] + found.repairs["with_others"] > 1]["sentence"]
    return Recommended(
        servers=sorted(servers, key=lambda server: (bool(server.reason), not server.held, server.name)),
        replay=replay,
        gains=[shown(text[:1].upper() + text[1:]) for text in gains.head(MOST_GAINS).tolist()],
    )


def _of_server(found: Recommendation, advice: Advice, lines: dict[str, list[Line]]) -> OfServer:
    name = label(advice.server)
    settings = []
    if advice.policy is not None:
        settings = [_setting(name, name, given.value) for name, given in advice.policy.settings.items()]
        for share, options in advice.policy.shares.items():
            settings += [_setting(f"[{share}] {it}", f"samba:{it}", given.value) for it, given in options.items()]
    return OfServer(
        name=shown(name),
        known=shown(known(advice.server)),
        reason=shown(advice.reason),
        settings=settings,
        held=[_held(found, blocked) for blocked in advice.held_back],
        kept=advice.kept,
        refused=[shown(text.replace(", ", " ")) for text in sorted(set(advice.refused))],
        lost=[line for line in lines.get(shown(name), ()) if line.outcome in ("breaks", "cannot_be_known")],
    )


def _setting(spelt: str, name: str, value: Value | None) -> Setting:
    return Setting(shown(spelt), shown(whatif.written(value)), meaning_of(setting_of(name), value))


def _held(found: Recommendation, blocked: Blocked) -> Held:
    data = found.replay.data
    mine = found.needed & (data.server == blocked.server) & np.isin(data.form, sorted(blocked.forms))
    return Held(
        shown(blocked.what), shown(blocked.why), _clients(found, np.flatnonzero(mine).tolist()), int(mine.sum())
    )


def _clients(found: Recommendation, rows: Sequence[int]) -> list[str]:
    """Whose rows these are: name or address, and the application as far as it is known."""
    columns = found.replay.dependencies.select(["client", "client_ip", "application"])
    return clients_of(columns.take(tables.ints(np.array(rows, dtype=np.int64))).to_pylist())
