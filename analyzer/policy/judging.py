"""One use against one policy: the gates that decide about it, one after the other.

A policy is a change: what it does not name stays as it is, and a gate of which nothing is changed lets through what it let
through before. What a gate says of changed settings holds only if it is the same for all that is not known: the release, the
role, the dialect, whose use it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from analyzer.policy.rules import (
    BREAKS,
    CREDENTIALS,
    UNKNOWN,
    WORKS,
    Gate,
    Held,
    Place,
    Ruling,
    Use,
    gates,
    names_match,
    rule_on,
)
from analyzer.policy.settings import NUMBERS, Given, Policy, Value, default_of, setting_of, settings
from analyzer.policy.uses import Form

STILL_WORKS, WOULD_BREAK, CANNOT_BE_KNOWN, REFUSED_TODAY = "still_works", "breaks", "cannot_be_known", "refused_today"
OUTCOMES = (WOULD_BREAK, CANNOT_BE_KNOWN, STILL_WORKS, REFUSED_TODAY)
SHARE_OPTIONS = {
    name: name.removeprefix("samba:") for name in ("samba:guest ok", "samba:guest only", "samba:valid users")
}
"""Options that a share may have of its own."""
NAME_LISTS = ("NullSessionPipes", "NullSessionShares", "AllowedPipes")
"""Settings that list pipes or shares. Of their values only matters whether they have the name that is asked about, and any."""
Distrusted = frozenset[tuple[str, str | None]]
"""Settings that the captures contradict, for one pipe or share, or (None) for all."""


class Judgement(NamedTuple):
    """What becomes of a use."""

    outcome: str
    setting: str
    """The one that decides; empty: none."""
    why: str
    source: str
    confidence: str


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """Settings as far as they are known, in one state of a server."""

    settings: Mapping[str, Held]
    shares: Mapping[str, Mapping[str, Given]] = field(default_factory=dict)
    names: frozenset[str] = field(init=False)
    """The settings of which something is known, be it for some share only."""
    lists: Mapping[str, tuple[str, ...]] = field(init=False)
    """Those that list pipes or shares."""

    def __post_init__(self) -> None:
        options = {f"samba:{option}" for given in self.shares.values() for option in given}
        lists = {name: held.value for name in NAME_LISTS if (held := self.settings.get(name)) is not None}
        object.__setattr__(self, "names", options | self.settings.keys())
        object.__setattr__(self, "lists", {name: value for name, value in lists.items() if isinstance(value, tuple)})

    def of(self, setting: str, resource: str | None) -> Held | None:
        """The value of a setting, for a share of that name where it may have its own."""
        option = SHARE_OPTIONS.get(setting)
        if option is not None and resource is not None:
            given = self.shares.get(resource.casefold(), {}).get(option)
            if given is not None:
                return Held(given.value, given.source)
        return self.settings.get(setting)


NOTHING = Values({})


def values_of(policy: Policy | None, *more: Mapping[str, Held]) -> Values:
    """The settings of a policy, before those of `more`, of which the first that has one counts."""
    found: dict[str, Held] = {}
    for known in reversed(more):
        found |= known
    if policy is None:
        return Values(found)
    return Values(
        found | {name: Held(given.value, given.source) for name, given in policy.settings.items()}, policy.shares
    )


def defaults(place: Place) -> Mapping[str, Held]:
    """The defaults of a server that are sure: what still works may rest on nothing less."""
    found = {}
    for name, setting in settings().items():
        if setting.family == place.family and setting.side != "client":
            default = default_of(name, family=place.family, os_build=place.build, role=place.role)
            if default is not None and default.confidence == "high":
                found[name] = Held(default.value, f"default: {default.source}")
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """Of a server all that a judgement depends on. The same for many servers, so judgements are kept with it."""

    places: tuple[Place, ...]
    """What it may be."""
    now: Values
    then: Values
    """With the policy: the settings that it names, and those that are known today."""
    distrusted: Distrusted = frozenset()
    client: Values = NOTHING
    client_family: str | None = None
    """Of what clients the policy for clients is."""
    problem: str = ""
    """Why nothing can be said at all; empty: it can."""
    kept: dict[tuple[Any, ...], Judgement] = field(default_factory=dict)
    """Judgements by form, by what of `distrusted` concerns it, and by what lists of names say of it: contexts that differ in
    nothing else share it."""

    def judge(self, number: int, form: Form) -> Judgement:
        """What becomes of uses of this form; `number` is its place among the forms."""
        key = number, self._doubts(form), self._lists_on(form)
        found = self.kept.get(key)
        if found is None:
            found = self.kept[key] = self._judged(form)
        return found

    def _doubts(self, form: Form) -> Distrusted:
        if not self.distrusted:
            return self.distrusted
        names = (None, form.uses[0].resource)
        return frozenset(entry for entry in self.distrusted if entry[1] in names)

    def _lists_on(self, form: Form) -> tuple[tuple[object, ...], ...]:
        resource = form.uses[0].resource or ""
        return tuple(
            (*names_match(value, resource), any(value), self._is_unchanged(name, resource))
            for name, value in self.then.lists.items()
        )

    def _judged(self, form: Form) -> Judgement:
        if form.refused:
            return Judgement(REFUSED_TODAY, "", f"all uses were refused already ({form.refused_at})", "", "")
        if self.problem:
            return Judgement(CANNOT_BE_KNOWN, "", self.problem, "", "")
        found = [self._of(use, place, form) for use in form.uses for place in self.places]
        if form.may_be_none:
            asked = dict.fromkeys(use._replace(identity=CREDENTIALS) for use in form.uses)
            found += [self._of(use, place, form) for use in asked for place in self.places]
        first = found[0]
        if all(it.outcome == first.outcome for it in found):
            return first
        decides = next((it for it in found if it.outcome == WOULD_BREAK), None) or next(
            it for it in found if it.outcome == CANNOT_BE_KNOWN
        )
        why = f"{decides.why}; but that hangs on what is not known: {self._open_questions(form)}"
        return Judgement(CANNOT_BE_KNOWN, decides.setting, why, decides.source, "medium")

    def _open_questions(self, form: Form) -> str:
        questions = []
        if form.may_be_none or len({use.identity for use in form.uses}) > 1:
            questions.append("whose session it was")
        if len({use.dialect for use in form.uses}) > 1:
            questions.append("the dialect")
        if len({place.build for place in self.places}) > 1:
            questions.append("the release of the server")
        if len({place.role for place in self.places}) > 1:
            questions.append("whether it is a domain controller")
        kinds = {use.kind for use in form.uses}
        if "wait" in kinds and len(kinds) > 1:
            questions.append("CallNmPipe, of which no document says what checks it")
        if "call" in kinds and len(kinds) > 1:
            questions.append("what was done there, which the captures do not show")
        return ", ".join(questions)

    def _of(self, use: Use, place: Place, form: Form) -> Judgement:
        passed: list[Ruling] = []
        doubt: Ruling | None = None
        for ruling in self._rulings(use, place, form):
            if ruling.outcome == BREAKS:
                return Judgement(WOULD_BREAK, *_told(ruling))
            if ruling.outcome == UNKNOWN or ruling.confidence != "high":
                doubt = doubt or ruling
            else:
                passed.append(ruling)
        if doubt is not None:
            return Judgement(CANNOT_BE_KNOWN, *_told(doubt))
        if not passed:
            return Judgement(STILL_WORKS, "", "nothing that is changed acts on it", "", "high")
        why = "; ".join(dict.fromkeys(ruling.why for ruling in passed))
        source = "; ".join(dict.fromkeys(ruling.source for ruling in passed))
        return Judgement(STILL_WORKS, passed[0].setting, why, source, "high")

    def _rulings(self, use: Use, place: Place, form: Form) -> Iterable[Ruling]:
        yield from self._of_side("server", self.then, use, place, form)
        if self.client is NOTHING or form.client not in ("", self.client_family):
            return
        for ruling in self._of_side("client", self.client, use, Place(self.client_family, None, None), form):
            if form.client or ruling.outcome == WORKS:
                yield ruling
            else:
                why = f"{ruling.why}, if the client is one of {(self.client_family or '').capitalize()}, which is not known"
                yield ruling._replace(outcome=UNKNOWN, why=why)

    def _of_side(self, side: str, values: Values, use: Use, place: Place, form: Form) -> Iterable[Ruling]:
        for gate in gates(use, place, side):
            if gate.settings.isdisjoint(values.names):
                continue
            ruling = self._ruling(gate, use, place, values, form)
            if ruling is not None:
                yield ruling

    def _ruling(self, gate: Gate, use: Use, place: Place, values: Values, form: Form) -> Ruling | None:
        named = [name for name in gate.settings if values.of(name, use.resource) is not None]
        changed = (
            [name for name in named if not self._is_unchanged(name, use.resource)] if values is self.then else named
        )
        if not changed:
            return None
        for name in sorted(gate.settings) if self.distrusted else ():
            if (name, None) in self.distrusted or (name, use.resource) in self.distrusted:
                why = f"the captures contradict what {name} is said to be, or contradict each other about it"
                return Ruling(UNKNOWN, name, why, "captures", "low", "")
        for name in changed:
            held = values.of(name, use.resource)
            if held is not None and is_undocumented(name, held.value):
                why = f"no document says what {name} = {held.value} does"
                return Ruling(UNKNOWN, name, why, setting_of(name).source, "low", "")
        ruling = rule_on(gate, use, place, lambda name: values.of(name, use.resource))
        if ruling is None or ruling.rung not in ("bind", "call"):
            return ruling
        if not form.operation_known:
            return ruling._replace(outcome=UNKNOWN, why="which operation was called is not known")
        if use.rpc_auth and ruling.rung == "call" and ruling.outcome != WORKS:
            why = f"{ruling.why}; but the call is authenticated inside RPC, and whom the service goes by does not show"
            return ruling._replace(outcome=UNKNOWN, why=why)
        return ruling

    def _is_unchanged(self, name: str, resource: str | None) -> bool:
        now, then = self.now.of(name, resource), self.then.of(name, resource)
        return now is not None and then is not None and normal(now.value) == normal(then.value)


@cache
def is_undocumented(setting: str, value: Value | None) -> bool:
    """Whether a number is none of those that have a meaning. Where not all of them are told, none is."""
    it = setting_of(setting)
    known = it.meanings
    return isinstance(value, int) and it.kind in NUMBERS and bool(known) and str(value) not in known


def but_for_lists(values: Values) -> tuple[object, ...]:
    """The values without what stands in lists of names: contexts in which they are the same may share their judgements."""
    held = frozenset(
        (name, None if name in values.lists else normal(held.value)) for name, held in values.settings.items()
    )
    shares = frozenset(
        (share, option, normal(given.value))
        for share, options in values.shares.items()
        for option, given in options.items()
    )
    return held, shares


def normal(value: Value | None) -> object:
    """A value as it is compared: lists have no order, names no case."""
    if isinstance(value, tuple):
        return frozenset(text.casefold() for text in value if text)
    return value.casefold() if isinstance(value, str) else value


def _told(ruling: Ruling) -> tuple[str, str, str, str]:
    return ruling.setting, ruling.why, ruling.source, ruling.confidence
