"""The tightest policy for each server that breaks nothing that was seen to be needed.

Kept are uses whose verdict is `depends`, `covered` or `unknown`, unless the user gives them up. A setting is recommended only
if each of them is sure to work with it; where that cannot be known it is left as it is. Nothing is loosened: a setting that
is as tight today stays, and lists only lose entries. Of what stands in the way it is said who, and what would be gained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analyzer import tables
from analyzer.errors import UsageError
from analyzer.groups import Groups, Mask
from analyzer.knowledge import rows as knowledge_rows
from analyzer.policy.judging import (
    CANNOT_BE_KNOWN,
    STILL_WORKS,
    WOULD_BREAK,
    Context,
    Judgement,
    Values,
    but_for_lists,
    normal,
)
from analyzer.policy.replay import Given, Seen, WhatIf, contexts_of, looked_at, replay
from analyzer.policy.rules import Held, Place
from analyzer.policy.servers import Server
from analyzer.policy.settings import LISTS, NUMBERS, Policy, Value, setting_of
from analyzer.policy.settings import Given as GivenValue
from analyzer.policy.uses import Form
from analyzer.tables import TableSet

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PROTECTED = ("depends", "unknown", "covered")
GIVEN_UP = ("covered", "unknown", CANNOT_BE_KNOWN)
"""What `accept` takes, besides numbers of rows and the pipes of domain controllers: verdicts, and uses of which it cannot be
known whether they go on to work."""
OF_CONTROLLERS = ("netlogon", "samr", "lsarpc")
LISTED = ("NullSessionPipes", "NullSessionShares", "RestrictNullSessAccess")
ADMITTED = ("anonymous", "guest")
"""Whom `guest ok` lets in."""
SOURCE = "recommended"
MOST_ROUNDS = 8
"""Settings are taken back one after the other if they do harm together; more often than this does not happen."""
PIPE_KINDS = ("pipe", "bind", "call", "wait")
KINDS_OF: Mapping[str, Sequence[str]] = {"NullSessionPipes": PIPE_KINDS, "NullSessionShares": ("disk",)}


class Blocked(NamedTuple):
    """Something that is not tightened on a server, and the forms of use that stand in the way."""

    server: int
    what: str
    """A setting, or `NullSessionPipes: spoolss`, a pipe (or share) that must stay listed."""
    forms: frozenset[int]
    why: str


@dataclass(slots=True)
class Advice:
    """What is recommended for one server."""

    server: Server
    policy: Policy | None
    """None: nothing can be recommended; see `reason`."""
    reason: str
    held_back: list[Blocked] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """What stays as it is because it is as tight already."""
    refused: list[str] = field(default_factory=list)
    """What clients ask for and are refused already today."""


@dataclass(slots=True, eq=False)
class Recommendation:
    """What is recommended for all servers, and what would be gained by repairing dependents."""

    servers: list[Advice]
    replay: WhatIf
    """What becomes of all that was seen under what is recommended."""
    needed: Mask
    """Rows of `dependencies` that were kept."""
    given_up: Mask
    """Rows that the user gave up."""
    repairs: pd.DataFrame
    """`client_ip, client, application, what, servers, with_others, sentence`, the greatest gain first."""
    warnings: list[str]


def recommend(
    rows: Mapping[str, pa.Table],
    given: Given,
    *,
    accept: Sequence[str] = (),
    enough: Mapping[str, str | None] | None = None,
) -> Recommendation:
    """Find the tightest policy for each server.

    rows: the tables `NEEDED`. given: baselines, systems and roles; its policies are not looked at. accept: what is given up:
    `covered`, `unknown`, `cannot_be_known`, numbers of rows of `dependencies`, or `netlogon`, `samr`, `lsarpc` on domain
    controllers. enough: for a server, by `site/address` or by address, why it was not observed for long enough; None, or not
    in it: it was.
    Raises UsageError as `whatif` does, and for rows that do not exist.
    """
    seen = looked_at(rows, given)
    contexts = contexts_of(seen, {})
    needed, given_up, names = _needed(seen.table_set, accept)
    wanted: list[set[int]] = [set() for _ in seen.servers]
    alike = Groups(np.where(needed, seen.data.server, -1), np.where(needed, seen.data.form, -1))
    for row in alike.first[needed[alike.first]].tolist():
        wanted[int(seen.data.server[row])].add(int(seen.data.form[row]))
    finder = _Finder(seen, contexts, names, CANNOT_BE_KNOWN in accept)
    found = []
    for number, server in enumerate(seen.servers):
        reason = (enough or {}).get(_key(server)) or (enough or {}).get(server.ip) or contexts[number].problem
        if reason:
            found.append(Advice(server, None, reason))
        else:
            found.append(finder.advice(number, frozenset(wanted[number])))
    _refused(seen, found)
    replayed = replay(seen, {_key(it.server): it.policy for it in found if it.policy is not None})
    blocked = [it for advice in found for it in advice.held_back]
    return Recommendation(
        found,
        replayed,
        needed,
        given_up,
        _repairs(seen, needed, blocked, rows["dependencies"]),
        list(replayed.warnings),
    )


def _key(server: Server) -> str:
    return f"{server.site}/{server.ip}"


def _needed(table_set: TableSet, accept: Sequence[str]) -> tuple[Mask, Mask, frozenset[str]]:
    """Rows that must go on to work, those that were given up, and pipes of domain controllers that were."""
    found = table_set.columns("dependencies", "verdict", "excluded", "succeeded", "denied")
    protected = np.isin(found["verdict"], [tables.VERDICT.index(name) for name in PROTECTED]) & ~found["excluded"]
    given_up = np.zeros(len(protected), dtype=bool)
    names = set()
    for word in accept:
        if word in tables.VERDICT and word in GIVEN_UP:
            given_up |= protected & (found["verdict"] == tables.VERDICT.index(word))
        elif word.isascii() and word.isdigit():
            if int(word) >= len(protected):
                raise UsageError(f"--accept {word}: there are {len(protected)} rows, numbered from 0")
            given_up[int(word)] = protected[int(word)]
        elif word in OF_CONTROLLERS:
            names.add(word)
        elif word not in GIVEN_UP:
            what = ", ".join((*GIVEN_UP, *OF_CONTROLLERS))
            raise UsageError(f"--accept takes {what}, or numbers of rows, not {word!r}")
    return protected & ~given_up, given_up, frozenset(names)


def _refused(seen: Seen, found: Sequence[Advice]) -> None:
    """Note for each server what is refused already."""
    refused = np.array([form.refused for form in seen.data.forms], dtype=bool)
    pairs = seen.pairs
    for place in np.flatnonzero(refused[pairs.form]).tolist():
        use = seen.data.forms[int(pairs.form[place])].uses[0]
        what = ", ".join(filter(None, (use.resource or "the session itself", use.operation)))
        found[int(pairs.server[place])].refused.append(what)


class _Finder:
    """Looks for policies. Single settings are judged once for all servers that are alike."""

    def __init__(self, seen: Seen, contexts: list[Context], accepted: frozenset[str], accept_doubt: bool) -> None:
        self._servers = seen.servers
        self._contexts = contexts
        self._forms = seen.data.forms
        self._accepted = accepted
        self._passing = (STILL_WORKS, CANNOT_BE_KNOWN) if accept_doubt else (STILL_WORKS,)
        self._alone: dict[tuple[object, ...], Context] = {}
        self._kept: dict[tuple[object, ...], dict[tuple[object, ...], Judgement]] = {}

    def advice(self, number: int, wanted: frozenset[int]) -> Advice:
        """What is recommended for a server on which these forms of use are needed."""
        server, context = self._servers[number], self._contexts[number]
        found = Advice(server, None, "")
        settings: dict[str, Value] = {}
        if server.family == "windows":
            settings |= self._lists(number, context, wanted, found)
        for name, values in _tightest(context.places):
            self._tighten(number, context, wanted, found, name, values, settings)
        shares = self._shares(number, context, wanted, found) if server.family == "samba" else {}
        for _ in range(MOST_ROUNDS):
            failing = self._failing(self._with(context, settings, shares), wanted)
            if not failing:
                break
            blamed = next(iter(failing.values())).setting
            gone = [name for name in (LISTED if blamed in LISTED else (blamed,)) if name in settings]
            for name in gone:
                del settings[name]
            if blamed == "samba:guest ok" and shares:
                shares = {}
            elif not gone:  # it is not known what to take back
                settings, shares = {}, {}
            found.held_back.append(Blocked(number, blamed, frozenset(failing), "together with the other settings"))
        else:
            settings, shares = {}, {}
        made = {name: GivenValue(value, SOURCE) for name, value in settings.items()}
        given = {share: {option: GivenValue(value, SOURCE)} for share, (option, value) in shares.items()}
        if made or given:
            found.policy = Policy(server.family, made, given)
        else:
            found.reason = "nothing can be tightened without breaking what was seen, or it is as tight as it can be"
        return found

    def _with(
        self, context: Context, settings: Mapping[str, Value], shares: Mapping[str, tuple[str, Value]] | None = None
    ) -> Context:
        """A server with these settings changed."""
        held = dict(context.now.settings) | {name: Held(value, SOURCE) for name, value in settings.items()}
        options = {name: dict(given) for name, given in context.now.shares.items()}
        for share, (option, value) in (shares or {}).items():
            options.setdefault(share, {})[option] = GivenValue(value, SOURCE)
        then = Values(held, options)
        key = (context.places, id(context.now), but_for_lists(then))
        return replace(context, then=then, kept=self._kept.setdefault(key, {}))

    def _failing(self, context: Context, wanted: Iterable[int]) -> dict[int, Judgement]:
        """The forms of use that are not sure to go on to work."""
        judged = {form: context.judge(form, self._forms[form]) for form in wanted if not self._forms[form].refused}
        return {form: it for form, it in judged.items() if it.outcome not in self._passing}

    def _lists(self, number: int, context: Context, wanted: frozenset[int], found: Advice) -> dict[str, Value]:
        """The lists of pipes and shares with nothing in them but what is needed."""
        pipes, shares = _entries(self._forms, wanted, PIPE_KINDS), _entries(self._forms, wanted, ("disk",))
        role_pipes = (
            set(OF_CONTROLLERS) - self._accepted if any(it.role != "member" for it in context.places) else set()
        )
        lists = {"NullSessionPipes": set(pipes) | role_pipes, "NullSessionShares": set(shares)}
        made: dict[str, Value] = {"RestrictNullSessAccess": 1}
        for name, entries in lists.items():
            now = context.now.settings.get(name)
            if now is not None and isinstance(now.value, tuple):  # never longer than it is
                listed = {entry.casefold(): entry for entry in now.value if entry}
                entries = {listed[entry.casefold()] for entry in entries if entry.casefold() in listed}  # noqa: PLW2901
            made[name] = tuple(sorted(entries))
        opening = self._would_open(context, wanted, {"NullSessionPipes": pipes, "NullSessionShares": shares})
        if opening:
            found.held_back.append(Blocked(number, "NullSessionPipes", *opening))
            return {}
        uncaptured = [form for form in wanted if _is_uncaptured(self._forms, form)]
        failing = self._failing(self._with(context, made), wanted)
        if uncaptured or failing:
            why = next((it.why for it in failing.values()), "which pipe was used is not known")
            blame = next((it.setting for it in failing.values()), "NullSessionPipes")
            found.held_back.append(Blocked(number, blame, frozenset({*failing, *uncaptured}), why))
            return {}
        for kinds, name, entries in (
            (PIPE_KINDS, "NullSessionPipes", pipes - role_pipes),  # those stay listed anyway
            (("disk",), "NullSessionShares", shares),
        ):
            for entry in sorted(entries):
                forms = frozenset(form for form in wanted if entry in _entries(self._forms, [form], kinds))
                found.held_back.append(Blocked(number, f"{name}: {entry}", forms, "it is needed"))
        today = context.now.settings
        same = [name for name in made if name in today and normal(today[name].value) == normal(made[name])]
        found.kept += same
        return {name: value for name, value in made.items() if name not in same}

    def _would_open(
        self, context: Context, wanted: frozenset[int], needed: Mapping[str, set[str]]
    ) -> tuple[frozenset[int], str] | None:
        """The forms of use, and why, for which a list may get an entry that it does not have today; None: it gets none.

        Where today's list is not known, it has what was seen to work anonymously, and what the role opens; nothing else.
        """
        for name, entries in needed.items():
            if name in context.now.settings:
                continue
            roles = {place.role for place in context.places}
            if name == "NullSessionPipes" and len(roles) > 1 and not self._accepted.issuperset(OF_CONTROLLERS):
                return (
                    frozenset(),
                    "what is listed today is not known, nor whether it is a domain controller, of which some pipes stay "
                    "listed; --role or --baseline says it",
                )
            sure = _entries(self._forms, (form for form in wanted if _is_anonymous(self._forms[form])), KINDS_OF[name])
            for entry in sorted(entries - sure):
                forms = frozenset(form for form in wanted if entry in _entries(self._forms, [form], KINDS_OF[name]))
                return (
                    forms,
                    f"what is listed today is not known, and {entry} was not seen to work in a session that is known to be "
                    "anonymous: listing it may open it; --baseline says what is listed",
                )
        return None

    def _tighten(
        self,
        number: int,
        context: Context,
        wanted: frozenset[int],
        found: Advice,
        name: str,
        values: Sequence[Value],
        settings: dict[str, Value],
    ) -> None:
        """Set one setting to the tightest value with which all that is needed goes on to work."""
        now = context.now.settings.get(name)
        if now is not None and len(values) > 1 and normal(now.value) not in [normal(value) for value in values]:
            why = f"it is {now.value} today, and whether that is tighter is not known"
            found.held_back.append(Blocked(number, name, frozenset(), why))
            return
        proven = False
        for place, value in enumerate(values):
            if place and place == len(values) - 1:
                return  # the loosest value tightens nothing
            if now is not None and _is_as_tight(now.value, values, place):
                found.kept.append(name)
                return
            failing = self._failing(self._changed(context, name, value), wanted)
            if not failing:
                if now is None and place and not proven:
                    why = f"what is set today is not known, and may be tighter than {value}"
                    found.held_back.append(Blocked(number, name, frozenset(), why))
                else:
                    settings[name] = value
                return
            # What was seen to work shows that today's value is not as tight.
            proven = any(_is_anonymous(self._forms[form]) and it.outcome == WOULD_BREAK for form, it in failing.items())
            why = next(iter(failing.values())).why
            what = f"{name} = {value}" if len(values) > 2 else name
            found.held_back.append(Blocked(number, what, frozenset(failing), why))
            if name == "samba:map to guest":
                return  # the other values are not in an order of tightness for one use

    def _changed(self, context: Context, name: str, value: Value) -> Context:
        key = (context.places, id(context.now), name, value)
        if key not in self._alone:
            self._alone[key] = self._with(context, {name: value})
        return replace(self._alone[key], distrusted=context.distrusted)

    def _shares(
        self, number: int, context: Context, wanted: frozenset[int], found: Advice
    ) -> dict[str, tuple[str, Value]]:
        """Shares that guests were seen to use, and no longer need."""
        used = _entries(self._forms, wanted, ("disk",), ADMITTED)
        for share in sorted(used):
            forms = frozenset(form for form in wanted if share in _entries(self._forms, [form], ("disk",), ADMITTED))
            found.held_back.append(Blocked(number, f"samba:guest ok: {share}", forms, "it is needed"))
        now = {
            share
            for share, options in context.now.shares.items()
            if (given := options.get("guest ok")) is not None and given.value == "yes"
        }
        return {share: ("guest ok", "no") for share in sorted(now) if share not in {name.casefold() for name in used}}


def _entries(
    forms: Sequence[object], wanted: Iterable[int], kinds: Sequence[str], whose: Sequence[str] = ("anonymous",)
) -> set[str]:
    """The names of pipes or shares that anonymous sessions need, or those of `whose`."""
    return {
        use.resource
        for form in wanted
        for use in forms[form].uses  # type: ignore[attr-defined] # they are forms
        if use.kind in kinds and use.identity in whose and use.resource is not None
    }


def _is_anonymous(form: Form) -> bool:
    """Whether it was seen to work without credentials."""
    return form.observed and not form.may_be_none


def _is_uncaptured(forms: Sequence[object], form: int) -> bool:
    uses = forms[form].uses  # type: ignore[attr-defined] # they are forms
    return any(use.kind in PIPE_KINDS and use.resource is None for use in uses)


def _is_as_tight(now: Value | None, values: Sequence[Value], place: int) -> bool:
    """Whether what is set today is as tight as the value at this place. What is not among them may be anything."""
    if len(values) == 1:
        return now not in (None, "", ())
    return normal(now) in [normal(value) for value in values[: place + 1]]


def _tightest(at: Sequence[Place]) -> list[tuple[str, tuple[Value, ...]]]:
    """Settings with their values, the tightest first, that act on all that a server may be."""
    return [
        (name, values)
        for name, family, first, last, role, values in _table()
        if all(
            place.family == family
            and (not role or place.role == role)
            and (place.build is None or first <= place.build <= last)
            for place in at
        )
    ]


@cache
def _table() -> list[tuple[str, str, int, int, str, tuple[Value, ...]]]:
    found: list[tuple[str, str, int, int, str, tuple[Value, ...]]] = []
    for row in knowledge_rows("policy_tightest"):
        first, _, last = row["builds"].partition("-")
        kind = setting_of(row["setting"]).kind
        assert kind not in LISTS
        values = tuple(int(text) if kind in NUMBERS else text for text in row["values"].split("|"))
        found.append((row["setting"], row["family"], int(first or 0), int(last or 10**6), row["role"], values))
    return found


def _repairs(seen: Seen, needed: Mask, blocked: Sequence[Blocked], dependencies: pa.Table) -> pd.DataFrame:
    """Who stands in the way of what, and on how many servers it could go if they were repaired."""
    import pandas as pd  # noqa: PLC0415

    columns = ["client_ip", "client", "application", "what", "servers", "with_others", "sentence"]
    pairs = [(it.server, form, it.what) for it in blocked for form in it.forms]
    if not pairs:
        return pd.DataFrame(columns=columns)
    of_blocked = pd.DataFrame(pairs, columns=["server", "form", "what"]).drop_duplicates()
    whose = tables.to_pandas("dependencies", dependencies, ("client_ip", "client", "application"))
    whose = whose.assign(server=seen.data.server, form=seen.data.form)[needed]
    keys = ["site_client", "application"]
    site = tables.to_pandas("dependencies", dependencies, ("site",))["site"][needed]
    whose["site_client"] = site.str.cat(whose["client_ip"], sep="/")
    whose["application"] = whose["application"].fillna("")
    whose = whose.drop_duplicates([*keys, "server", "form"])
    joined = whose.merge(of_blocked, on=["server", "form"]).drop_duplicates([*keys, "server", "what"])
    parties = joined.groupby(["server", "what"], observed=True)["site_client"].transform("size")
    joined = joined.assign(alone=(parties == 1).astype(int), shared=(parties > 1).astype(int))
    found = joined.groupby([*keys, "what"], observed=True, as_index=False).agg(
        client_ip=("client_ip", "first"),
        client=("client", "first"),
        servers=("alone", "sum"),
        with_others=("shared", "sum"),
    )
    found = found.sort_values(
        ["servers", "with_others", "client_ip", "application", "what"], ascending=[False, False, True, True, True]
    )
    found = found.reset_index(drop=True)
    return found.assign(sentence=_sentences(found))[columns]


def _sentences(found: pd.DataFrame) -> list[str]:
    return [
        _sentence(*row)
        for row in found[["client_ip", "client", "application", "what", "servers", "with_others"]].itertuples(
            index=False
        )
    ]


def _sentence(ip: str, client: object, application: str, what: str, alone: int, others: int) -> str:
    who = f"{client} ({ip})" if isinstance(client, str) and client else ip
    who += f", {application}," if application else ""
    setting, _, entry = what.partition(": ")
    name, _, value = what.partition(" = ")
    thing = (
        f"`{entry}` go from {setting}" if entry else f"{name} be set to {value}" if value else f"{what} be tightened"
    )
    where = f"on {alone} server{'' if alone == 1 else 's'}" if alone else ""
    more = f"on {others} together with other dependents" if others else ""
    return f"moving {who} to a service account lets {thing} {' and '.join(filter(None, (where, more)))}"


def change_content(
    found: Recommendation, advice: Advice
) -> tuple[list[dict[str, str]], list[dict[str, str]], list[str]]:
    """For the change record of a server: affected parties, evidence, and what cannot be known."""
    number = next(place for place, it in enumerate(found.servers) if it is advice)
    mine = np.flatnonzero(found.replay.data.server == number)
    rows = found.replay.rows().iloc[mine]
    given_up = found.given_up[mine]
    affected = [
        {
            "client": _text(row["client"]) or _text(row["client_ip"]),
            "application": _text(row["application"]),
            "resource": _text(row["resource"]),
            "operation": _text(row["operation"]),
            "verdict": _text(row["verdict"]),
            "effect": _text(row["outcome"]) + (", given up on purpose" if is_given_up else ""),
            "why": _text(row["why"]),
        }
        for row, is_given_up in zip(rows.to_dict("records"), given_up.tolist(), strict=True)
        if row["outcome"] != STILL_WORKS or is_given_up
    ]
    evidence = [
        {name: _text(row[name]) for name in ("row", "capture", "frame")}
        for row in rows.to_dict("records")
        if row["excluded"] is not True
    ]
    unknown = [f"{it.what}: {it.why}" for it in advice.held_back if it.why != "it is needed"]
    return affected, evidence, [*unknown, *found.replay.caveats]


def _text(value: object) -> str:
    """What stands in a cell; missing is nothing."""
    return str(value) if isinstance(value, str | int) else ""
