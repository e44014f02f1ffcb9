"""What-if: every use that was seen, against a policy. Tables in, tables out; nothing is read and nothing printed here.

First what is known of today (a baseline, defaults if the user says so, and what the traffic shows) is replayed over the same
traffic. Where the two contradict each other, the setting counts as unknown for that server, and it is said. Then the policy
is replayed: settings that it does not name stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzer import tables
from analyzer.errors import UsageError
from analyzer.groups import Groups, Mask, looked_up, places
from analyzer.policy import aliases
from analyzer.policy.judging import (
    CANNOT_BE_KNOWN,
    NOTHING,
    OUTCOMES,
    WOULD_BREAK,
    Context,
    Distrusted,
    Judgement,
    Values,
    but_for_lists,
    defaults,
    values_of,
)
from analyzer.policy.rules import BREAKS, WORKS, Held, Place, gates, rule_on
from analyzer.policy.servers import ROLES, Server, by_server, servers
from analyzer.policy.settings import RELEASES, Policy, merged, setting_of
from analyzer.policy.uses import Form, Replayed, replayed
from analyzer.sessions.joins import NONE, Ints
from analyzer.summary.excluded import left_out
from analyzer.tables import TableSet

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ALL = ""
"""In place of the name of a server: all that are not named."""
KEPT = (
    "site", "client_ip", "client", "server_ip", "server", "application", "resource", "interface", "operation", "identity",
    "verdict", "excluded", "uses", "succeeded", "denied", "refused_at", "last_seen", "capture", "frame",
)  # fmt: skip
"""Columns of `dependencies` that the outcome stands beside."""
RUNGS_OF = {"fault": "call", "stub": "call"}
"""Rungs of refusals as the rules call them; others have the same name."""
OTHER_WAYS = {"rpc_mapper": "the RPC endpoint mapper", "rpc_dynamic": "ports of RPC over TCP", "ldap": "LDAP",
              "ldaps": "LDAP over TLS", "global_catalog": "the global catalog"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Something that the captures show and the current policy, or the captures themselves, speak against."""

    server: Server
    resource: str
    settings: tuple[str, ...]
    what: str
    row: int
    """A row of `dependencies` to look at."""
    by_policy: bool
    """Against the current policy, so the setting is doubtful altogether; else for this pipe or share only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the user gives, by name or address of a server, or `ALL`."""

    policies: Mapping[str, Policy]
    baselines: Mapping[str, Policy] = field(default_factory=dict)
    systems: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    client_policy: Policy | None = None
    assume_defaults: bool = False


@dataclass(slots=True, eq=False)
class WhatIf:
    """The outcome of a replay."""

    dependencies: pa.Table
    data: Replayed
    servers: list[Server]
    """In the order of `data.servers`."""
    contexts: list[Context]
    """Likewise."""
    judgement: Ints
    """For each row of `dependencies` the place of its judgement."""
    judgements: list[Judgement]
    contradictions: list[Contradiction]
    aliases: list[str]
    """Where what is closed stays reachable by another name, in sentences."""
    access_lists: dict[str, list[tuple[str, str]]]
    """By server the pipes and shares, (kind, name), whose access lists decide, and which no capture shows."""
    warnings: list[str]
    """What is wrong with what was given, or not known."""
    caveats: list[str]
    """What the answer does not cover."""
    _rows: pd.DataFrame | None = field(default=None, init=False, repr=False)

    def rows(self) -> pd.DataFrame:
        """A row for each row of `dependencies`, with its number (`row`) and its outcome. Made once: it is not to be changed."""
        if self._rows is None:
            self._rows = self._as_rows()
        return self._rows

    def _as_rows(self) -> pd.DataFrame:
        import pandas as pd  # noqa: PLC0415

        found = tables.to_pandas("dependencies", self.dependencies, KEPT)
        for name in Judgement._fields:
            texts = [getattr(it, name) for it in self.judgements]
            kinds = list(OUTCOMES) if name == "outcome" else list(dict.fromkeys(texts))
            number = {text: place for place, text in enumerate(kinds)}
            codes = np.array([number[text] for text in texts], dtype=np.int32)[self.judgement]
            kind = pd.CategoricalDtype(kinds, ordered=name == "outcome")
            found[name] = pd.Categorical.from_codes(codes, dtype=kind)
        found.insert(0, "row", np.arange(len(found)))
        return found

    def counts(self) -> dict[str, int]:
        """Rows by outcome; the business of scanners does not count."""
        outcome = np.array([OUTCOMES.index(it.outcome) for it in self.judgements], dtype=np.int64)[self.judgement]
        excluded = TableSet({"dependencies": self.dependencies}).columns("dependencies", "excluded")["excluded"]
        found = np.bincount(outcome[~excluded], minlength=len(OUTCOMES))
        return dict(zip(OUTCOMES, found.tolist(), strict=True))

    def breaks(self) -> bool:
        """Whether something breaks, or may."""
        counts = self.counts()
        return counts[WOULD_BREAK] + counts[CANNOT_BE_KNOWN] > 0


@dataclass(frozen=True, slots=True)
class Pairs:
    """The different pairs of a server and a form."""

    of_row: Ints
    first: Ints
    """A row of `dependencies` that is one."""
    server: Ints
    form: Ints


class Today:
    """What is known of the settings of each server today. Servers that are alike share it."""

    def __init__(self, mine: list[Server], baselines: Mapping[tuple[str, str], Policy], assume_defaults: bool) -> None:
        made: dict[tuple[Any, ...], Values] = {}
        self.values: list[Values] = []
        self.defaults: list[Mapping[str, Held]] = []
        known: dict[Place, Mapping[str, Held]] = {}
        for server in mine:
            place = Place(server.family, server.build, server.role)
            if place not in known:
                known[place] = defaults(place) if assume_defaults and server.family else {}
            baseline = baselines.get((server.site, server.ip))
            key = (id(baseline), place if assume_defaults else None)
            if key not in made:
                made[key] = values_of(baseline, known[place]) if baseline or known[place] else NOTHING
            self.values.append(made[key])
            self.defaults.append(known[place])


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What was seen and what is known of today: all that does not hang on a policy."""

    dependencies: pa.Table
    table_set: TableSet
    data: Replayed
    pairs: Pairs
    by_key: Mapping[tuple[str, str], Server]
    servers: list[Server]
    """In the order of `data.servers`, as what follows."""
    now: Today
    baselines: Mapping[tuple[str, str], Policy]
    contradictions: list[Contradiction]
    warnings: list[str]


def whatif(rows: Mapping[str, pa.Table], given: Given) -> WhatIf:
    """Replay a policy over what was seen.

    rows: the tables `NEEDED`. Raises UsageError for servers that are not there, policies that cannot be merged, or if nothing
    was seen that could be replayed.
    """
    return replay(looked_at(rows, given), given.policies, given.client_policy)


def looked_at(rows: Mapping[str, pa.Table], given: Given) -> Seen:
    """What was seen, checked against what is said of today. Its policies are not looked at."""
    if not len(rows["dependencies"]):
        raise UsageError("no use without credentials was seen: there is nothing to replay")
    table_set = TableSet(rows)
    data = replayed(table_set)
    found = servers(table_set, systems=given.systems, roles=given.roles)
    mine = [found[key] for key in data.servers]
    warnings = [f"{label(server)}: {server.conflict}" for server in mine if server.conflict]
    baselines = by_server(given.baselines, found, "--baseline")
    warnings += [line for policy in given.baselines.values() for line in policy.warnings]
    pairs = pairs_of(data)
    now = Today(mine, baselines, given.assume_defaults)
    contradictions = _contradictions(data, pairs, mine, now, table_set)
    return Seen(rows["dependencies"], table_set, data, pairs, found, mine, now, baselines, contradictions, warnings)


def replay(seen: Seen, policies: Mapping[str, Policy], client_policy: Policy | None = None) -> WhatIf:
    """What becomes of what was seen under policies, by name or address of a server, or `ALL`."""
    contexts = contexts_of(seen, by_server(policies, seen.by_key, "--server"), client_policy)
    of_pair, judgements = _judged(seen.pairs, contexts, seen.data.forms)
    judgement = of_pair[seen.pairs.of_row]
    closed = [
        place for place, it in enumerate(judgements) if it.outcome == WOULD_BREAK and it.setting in aliases.CLOSING
    ]
    hidden = [place for place, it in enumerate(judgements) if it.setting == "EveryoneIncludesAnonymous"]
    hidden = [place for place in hidden if judgements[place].outcome == CANNOT_BE_KNOWN]
    read = [line for policy in policies.values() for line in policy.warnings]
    listed = [_listed(context) for context in contexts]
    return WhatIf(
        seen.dependencies,
        seen.data,
        seen.servers,
        contexts,
        judgement,
        judgements,
        seen.contradictions,
        aliases.still_open(seen.table_set, seen.data, np.isin(judgement, closed), listed),
        _access_lists(seen.data, seen.servers, np.isin(judgement, hidden)),
        list(dict.fromkeys([*seen.warnings, *read, *_problems(seen.servers, contexts)])),
        _caveats([*policies.values(), *([client_policy] if client_policy else [])], seen.table_set),
    )


def label(server: Server) -> str:
    """A server as it is named to people."""
    where = f"{server.site}/" if server.site else ""
    return f"{where}{server.name} ({server.ip})" if server.name else f"{where}{server.ip}"


def pairs_of(data: Replayed) -> Pairs:
    alike = Groups(data.server, data.form)
    return Pairs(alike.number, alike.first, data.server[alike.first], data.form[alike.first])


def places_of_server(server: Server) -> tuple[Place, ...]:
    """What a server may be, as far as it is known."""
    roles = (server.role,) if server.role is not None else ROLES
    if server.family == "samba":
        return tuple(Place("samba", None, role) for role in roles)
    builds = (server.build,) if server.build is not None else tuple(RELEASES.values())
    return tuple(Place(server.family, build, role) for build in builds for role in roles)


def contexts_of(
    seen: Seen, policies: Mapping[tuple[str, str], Policy], client_policy: Policy | None = None
) -> list[Context]:
    """For each server what its uses are judged by."""
    distrusted: dict[Server, set[tuple[str, str | None]]] = {}
    for it in seen.contradictions:
        distrusted.setdefault(it.server, set()).update(
            (name, None if it.by_policy else it.resource) for name in it.settings
        )
    client = NOTHING if client_policy is None else values_of(client_policy)
    of_clients = None if client_policy is None else family_of(client_policy)
    made: dict[tuple[Any, ...], Context] = {}
    alike: dict[tuple[Any, ...], Context] = {}
    kept: dict[tuple[Any, ...], dict[tuple[Any, ...], Judgement]] = {}
    found = []
    for server, today, its_defaults in zip(seen.servers, seen.now.values, seen.now.defaults, strict=True):
        policy = policies.get((server.site, server.ip))
        baseline = seen.baselines.get((server.site, server.ip))
        doubts: Distrusted = frozenset(distrusted.get(server, ()))
        problem = _problem(server, policy, baseline)
        key = (id(policy), id(today), server.family, server.build, server.role, problem)
        if key not in alike:
            both = None if problem else merged([it for it in (baseline, policy) if it is not None])
            then = values_of(both, its_defaults)
            at = places_of_server(server)
            shared = kept.setdefault((at, id(today), but_for_lists(then), problem), {})
            alike[key] = Context(at, today, then, frozenset(), client, of_clients, problem, shared)
        if (key, doubts) not in made:
            made[key, doubts] = replace(alike[key], distrusted=doubts)
        found.append(made[key, doubts])
    return found


def _problem(server: Server, policy: Policy | None, baseline: Policy | None) -> str:
    """Why nothing can be said of a server."""
    if server.family is None:
        return f"what the server is is not known{': ' + server.conflict if server.conflict else ''}; --os says it"
    for it in (policy, baseline):
        family = None if it is None else family_of(it)
        if family is not None and family != server.family:
            return f"the policy is one of {family.capitalize()}, the server is {server.family.capitalize()}"
    return ""


def family_of(policy: Policy) -> str | None:
    """Whose policy it is: by its own word, or by its settings."""
    if policy.family is not None or not policy.settings:
        return policy.family or ("samba" if policy.shares else None)
    families = {setting_of(name).family for name in policy.settings}
    return families.pop() if len(families) == 1 else None


def _judged(pairs: Pairs, contexts: list[Context], forms: list[Form]) -> tuple[Ints, list[Judgement]]:
    """For each pair its judgement, each different one once."""
    number: dict[Judgement, int] = {}
    found = np.empty(len(pairs.form), dtype=np.int64)
    for place, (server, form) in enumerate(zip(pairs.server.tolist(), pairs.form.tolist(), strict=True)):
        judgement = contexts[server].judge(form, forms[form])
        found[place] = number.setdefault(judgement, len(number))
    return found, list(number)


def _contradictions(
    data: Replayed, pairs: Pairs, mine: list[Server], now: Today, table_set: TableSet
) -> list[Contradiction]:
    """What the captures and the current policy, or the captures among each other, contradict."""
    found = []
    for row, server, form in zip(pairs.first.tolist(), pairs.server.tolist(), pairs.form.tolist(), strict=True):
        values, shape = now.values[server], data.forms[form]
        if values is not NOTHING and mine[server].family is not None and not shape.may_be_none:
            told = _against(shape, places_of_server(mine[server]), values)
            if told is not None:
                names, what = told
                resource = shape.uses[0].resource or shape.uses[0].kind
                found.append(Contradiction(mine[server], resource, names, what, row, True))
    return found + _of_each_other(data, mine, table_set)


def _against(form: Form, at: tuple[Place, ...], values: Values) -> tuple[tuple[str, ...], str] | None:
    """Settings of today that do not fit what was seen, and how."""
    rung = RUNGS_OF.get(form.refused_at, form.refused_at)
    refusing: list[set[tuple[str, str]]] = []
    passing: list[set[str]] = []
    for use in form.uses:
        for place in at:
            refuses, passes, excused = set(), set(), False
            for gate in gates(use, place):
                if gate.settings.isdisjoint(values.names):
                    continue  # of which nothing is said explains nothing
                ruling = rule_on(gate, use, place, lambda name, use=use: values.of(name, use.resource))  # type: ignore[misc]
                if ruling is None:
                    continue
                can_refuse = any(rule.outcome == BREAKS and rule.rung == rung for rule in gate.rules)
                if ruling.outcome == BREAKS:
                    refuses.add((ruling.setting, ruling.why))
                elif can_refuse:
                    excused |= ruling.outcome != WORKS
                    passes.add(ruling.setting)
            refusing.append(refuses)
            passing.append(set() if refuses or excused else passes)
    if form.observed and all(refusing) and form.operation_known:
        settings_ = dict.fromkeys(name for those in refusing for name, _ in sorted(those))
        return tuple(settings_), f"it worked, but {min(refusing[0])[1]}"
    if form.refused and rung and all(passing) and form.operation_known:
        settings_ = dict.fromkeys(name for those in passing for name in sorted(those))
        return tuple(settings_), f"it was refused ({form.refused_at}), but {', '.join(settings_)} lets it through"
    return None


def _of_each_other(data: Replayed, mine: list[Server], table_set: TableSet) -> list[Contradiction]:
    """Pipes that were opened anonymously, and later (or earlier) only refused; shares likewise: a setting was changed.

    Where opens and refusals alternate, it is not a list that refuses: lists know neither clients nor what is asked for.
    """
    text = table_set.texts.text
    number = {key: place for place, key in enumerate(data.servers)}
    resource = table_set.columns("dependencies", "resource")["resource"]
    several = []
    for table, column, time, rung, names in (
        (
            "pipe_opens",
            "pipe",
            "opened",
            "open",
            ("NullSessionPipes", "RestrictNullSessAccess", "samba:nt pipe support"),
        ),
        ("trees", "share", "time", "tree_connect", ("NullSessionShares", "RestrictNullSessAccess", "samba:guest ok")),
    ):
        opens = table_set.columns(table, "session_key", column, time, "status")
        sessions = table_set.columns("sessions", "session_key", "site", "server_ip", "identity")
        session = places(opens["session_key"], sessions["session_key"])
        anonymous = looked_up(sessions["identity"], session, NONE) == tables.IDENTITY.index("anonymous")
        told = np.flatnonzero(anonymous & (opens[column] >= 0) & (opens["status"] >= 0) & (opens[time] >= 0))
        if not len(told):
            continue
        worked = opens["status"][told] == table_set.texts.code("STATUS_SUCCESS")
        refused = opens["status"][told] == table_set.texts.code("STATUS_ACCESS_DENIED")
        when, session = opens[time][told], session[told]
        alike = Groups(sessions["site"][session], sessions["server_ip"][session], opens[column][told])
        first_worked, last_worked = (of(np.where(worked, when, NONE)) for of in (alike.least, alike.most))
        first_refused, last_refused = (of(np.where(refused, when, NONE)) for of in (alike.least, alike.most))
        apart = (first_worked > last_refused) | (first_refused > last_worked)
        for place in np.flatnonzero((first_worked >= 0) & (first_refused >= 0) & apart).tolist():
            row = int(alike.first[place])
            key = text(int(sessions["site"][session[row]])) or "", text(int(sessions["server_ip"][session[row]])) or ""
            if key not in number:
                continue
            code = int(opens[column][told[row]])
            server = mine[number[key]]
            of_family = tuple(name for name in names if server.family in (None, setting_of(name).family))
            seen = np.flatnonzero((data.server == number[key]) & (resource == code))
            order = "and later refused" if first_refused[place] > last_worked[place] else "after it had been refused"
            what = f"it was opened anonymously, {order} ({rung}): something was changed meanwhile"
            several.append(
                Contradiction(server, text(code) or "", of_family, what, int(seen[0]) if len(seen) else -1, False)
            )
    return several


def _listed(context: Context) -> tuple[str, ...]:
    """The pipes that stay listed."""
    held = context.then.settings.get("NullSessionPipes")
    return held.value if held is not None and isinstance(held.value, tuple) else ()


def _access_lists(data: Replayed, mine: list[Server], hidden: Mask) -> dict[str, list[tuple[str, str]]]:
    """What must be asked of the servers themselves."""
    found: dict[str, set[tuple[str, str]]] = {}
    pairs = np.unique(np.stack([data.server[hidden], data.form[hidden]], axis=1), axis=0)
    for server, form in pairs.tolist():
        use = data.forms[form].uses[0]
        if use.resource is not None and use.kind in ("pipe", "bind", "call", "disk", "wait"):
            kind = "share" if use.kind == "disk" else "pipe"
            found.setdefault(label(mine[server]), set()).add((kind, use.resource))
    return {name: sorted(those) for name, those in sorted(found.items())}


def _problems(mine: list[Server], contexts: list[Context]) -> list[str]:
    return [
        f"{label(server)}: {context.problem}" for server, context in zip(mine, contexts, strict=True) if context.problem
    ]


def _caveats(policies: Iterable[Policy], table_set: TableSet) -> list[str]:
    """What the administrator left out, what the settings of a policy also act on, and what was not looked at."""
    wide = {}
    for policy in policies:
        for name in policy.settings:
            if setting_of(name).scope != "SMB":
                wide[name] = setting_of(name).scope
    counted = _other_ways(table_set)
    return left_out(table_set) + [
        f"{name} acts on {'RPC over TCP and LDAP' if scope == 'any' else scope} too, which was not examined: {counted}"
        for name, scope in sorted(wide.items())
    ]


def _other_ways(table_set: TableSet) -> str:
    """How many connections there were that nobody looked into."""
    found = table_set.columns("other_ways", "way", "attempts")
    seen = [
        f"{int(found['attempts'][found['way'] == place].sum()):,} connections to {OTHER_WAYS[way]}"
        for place, way in enumerate(tables.OTHER_WAY)
        if (found["way"] == place).any()
    ]
    return ", ".join(seen) or "no such connections were counted, which does not say that there are none"
