"""The rules: which setting acts on which kind of use, at which value, with what outcome. They are rows of `policy_rules`.

A *use* is what a client does without credentials: set up a session, connect to IPC$, open a pipe, call an operation ... A
*gate* is one thing that decides about it; the rows of a gate stand together, and the first one that fits a use and whose
condition holds decides. Columns of a row that is empty fit everything; several values are separated by `|`, `*` stands for
any letters, and `!` in front means none of these.

    gate, rung     its name, and how far a client comes that it refuses
    side           whose setting it is: the server's, or the client's
    family, builds, role, dialect, identity, asked, kinds, resources, interfaces, operations, rpc_auth    which uses
    when           the condition: `SETTING TEST; SETTING TEST ...`, all of which must hold; see `TESTS`
    outcome        works, breaks, unknown
    confidence, why, source

The value of a setting may be unknown; then so may be which row decides, and the outcome is known only if all of the rows
that may decide agree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from typing import NamedTuple

from analyzer.knowledge import rows
from analyzer.policy.settings import NUMBERS, Given, Value, default_of, settings

WORKS, BREAKS, UNKNOWN = "works", "breaks", "unknown"
RUNGS = ("session_setup", "tree_connect", "open", "bind", "call")
"""How far a client comes, in order."""
CREDENTIALS = "credentials"
"""Whose use it may be where a session was not seen from its beginning."""
SMB1 = 0x0100
"""The number of any dialect of SMB 1, below those of SMB 2 and 3."""
PROTOCOLS = {
    "CORE": 0x0001, "COREPLUS": 0x0002, "LANMAN1": 0x0003, "LANMAN2": 0x0004, "NT1": SMB1, "SMB2": 0x0210,
    "SMB2_02": 0x0202, "SMB2_10": 0x0210, "SMB3": 0x0311, "SMB3_00": 0x0300, "SMB3_02": 0x0302, "SMB3_11": 0x0311,
}  # fmt: skip
"""Dialects by the names that smb.conf has for them."""
SIDS = {
    "everyone": "S-1-1-0",
    "anonymous logon": "S-1-5-7",
    "guests": "S-1-5-32-546",
    "guest": "S-1-5-21-501",
    "domain guests": "S-1-5-21-514",
    "local account": "S-1-5-113",
    "network": "S-1-5-2",
}
"""Well-known names in lists of rights. Guest, and Domain Guests (514), are written without their domain."""


class Use(NamedTuple):
    """What the rules look at. Uses that are the same here have the same outcome on the same server."""

    kind: str
    """session, ipc, disk, pipe (opened), bind, call, rap, dfs, wait (CallNmPipe, WaitNmPipe), control (another FSCTL)."""
    resource: str | None
    """Pipe or share; None: it was not captured."""
    interface: str | None
    operation: str | None
    identity: str
    """anonymous, guest, or credentials, of which only rows say something that name them."""
    asked_anonymous: bool
    rpc_auth: bool
    dialect: int


class Place(NamedTuple):
    """Of a server what the rules look at. None in a field: not known."""

    family: str | None
    build: int | None
    role: str | None


class Held(NamedTuple):
    """The value of a setting, as far as it is known."""

    value: Value | None
    """None: absent, and so by default."""
    source: str


Values = Callable[[str], Held | None]
"""What is known of a setting; None: nothing."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One test of one setting."""

    setting: str
    test: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table, without the columns that say which uses it is about."""

    rung: str
    outcome: str
    confidence: str
    why: str
    source: str
    when: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Gate:
    """The rows of one gate that fit a use, in order."""

    name: str
    rules: tuple[Rule, ...]
    settings: frozenset[str]
    """All settings that it goes by."""


class Ruling(NamedTuple):
    """What a gate says of a use."""

    outcome: str
    setting: str
    why: str
    source: str
    confidence: str
    rung: str


@lru_cache(maxsize=65_536)
def gates(use: Use, place: Place, side: str = "server") -> tuple[Gate, ...]:
    """What decides about a use on a server (of which all must be known), in the order of the rungs."""
    found: dict[str, list[Rule]] = {}
    for selector, gate, rule in _rules():
        if selector.side == side and selector.fits(use, place):
            found.setdefault(gate, []).append(rule)
    made = [
        Gate(name, tuple(those), frozenset(condition.setting for rule in those for condition in rule.when))
        for name, those in found.items()
    ]
    return tuple(sorted(made, key=lambda gate: RUNGS.index(gate.rules[0].rung)))


def rule_on(gate: Gate, use: Use, place: Place, values: Values) -> Ruling | None:
    """What a gate says of a use; None: none of its rules holds, so it has no say."""
    may: list[tuple[Rule, list[str]]] = []
    ends = False
    for rule in gate.rules:
        missing = []
        holds = True
        for condition in rule.when:
            found = test(condition, use, place, values)
            if found is False:
                holds = False
                break
            if found is None:
                missing.append(condition.setting)
        if not holds:
            continue
        may.append((rule, missing))
        if not missing:
            ends = True
            break
    if not may:
        return None
    outcomes = {rule.outcome for rule, _ in may} | (set() if ends else {WORKS})
    missing = list(dict.fromkeys(name for _, names in may for name in names))
    if outcomes == {may[0][0].outcome} and (ends or len(outcomes) == 1):
        rule = min((rule for rule, _ in may), key=lambda rule: ("low", "medium", "high").index(rule.confidence))
        return Ruling(rule.outcome, rule.when[0].setting, rule.why, rule.source, rule.confidence, rule.rung)
    worst = next((rule for rule, _ in may if rule.outcome == BREAKS), may[0][0])
    known = next((c.setting for c in worst.when if c.setting not in missing), worst.when[0].setting)
    why = f"{worst.why}, unless {' and '.join(missing)} (not known) says otherwise"
    return Ruling(UNKNOWN, known, why, worst.source, "medium", worst.rung)


def test(condition: Condition, use: Use, place: Place, values: Values) -> bool | None:
    """Whether a condition holds; None: not known."""
    kind, _, argument = condition.test.partition(" ")
    held = values(condition.setting)
    if kind in ("on", "off"):
        return (kind == "on") == (held is not None and held.value == 1)
    if kind == "untouched":
        return held is None
    if held is None:
        return None
    value = held.value
    if value is None:
        default = default_of(condition.setting, family=place.family, os_build=place.build, role=place.role)
        if default is None or default.confidence != "high":
            return None
        value = default.value
    if kind == "any":
        return True
    if kind == "set":
        return value not in (None, "", ())
    if kind in _LISTS:
        entries = tuple(text for text in value if text) if isinstance(value, tuple) else ()
        return _LISTS[kind](entries, use, argument)
    if kind in ("above", "below"):
        return _dialect_test(kind, value, use)
    if kind in ("admits", "excludes", "everyone", "unclear"):
        return isinstance(value, str) and value != "" and sddl_admits(value) == kind
    return _is_one_of(condition, value)


def _is_one_of(condition: Condition, value: Value | None) -> bool:
    wanted = condition.test.removeprefix("!").split("|")
    if settings()[condition.setting].kind in NUMBERS:
        found = str(value or 0) in wanted  # what does not exist is not switched on
    else:
        found = str("" if value is None else value).casefold() in wanted
    return found != condition.test.startswith("!")


def _dialect_test(kind: str, value: Value | None, use: Use) -> bool | None:
    if value is None:
        return False
    number = value if isinstance(value, int) else PROTOCOLS.get(str(value).upper())
    if number is None:
        return None
    return use.dialect < number if kind == "above" else 0 < number < use.dialect


def last_part(pipe: str) -> str:
    """The name of a pipe behind its last backslash."""
    return pipe.rsplit("\\", 1)[-1]


def names_match(entries: tuple[str, ...], resource: str) -> tuple[bool, bool]:
    """Whether a list has a name, compared in full and by the last part, without case."""
    wanted = resource.casefold()
    full, last = _comparable(entries)
    return wanted in full, last_part(wanted) in last


@lru_cache(maxsize=4096)
def _comparable(entries: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    full = frozenset(entry.casefold() for entry in entries)
    return full, frozenset(last_part(entry) for entry in full)


def _lists(entries: tuple[str, ...], use: Use, _: str) -> bool | None:
    return None if use.resource is None else all(names_match(entries, use.resource))


def _lacks(entries: tuple[str, ...], use: Use, _: str) -> bool | None:
    return None if use.resource is None else not any(names_match(entries, use.resource))


def _differs(entries: tuple[str, ...], use: Use, _: str) -> bool | None:
    return False if use.resource is None else len(set(names_match(entries, use.resource))) == 2


def _has(entries: tuple[str, ...], _: Use, argument: str) -> bool:
    return not {sid_of(entry) for entry in entries}.isdisjoint(argument.split("|"))


def _names(entries: tuple[str, ...], _: Use, __: str) -> bool:
    return not all(re.fullmatch(r"S-1(-\d+)+", sid_of(entry)) for entry in entries)


def sid_of(entry: str) -> str:
    """An entry of a list of rights as a SID; the guest account of whatever domain as `S-1-5-21-501`."""
    text = entry.strip().lstrip("*")
    sid = SIDS.get(text.rsplit("\\", 1)[-1].casefold(), text.upper())
    return re.sub(r"^S-1-5-21(-\d+)*-(501|514)$", r"S-1-5-21-\2", sid)


_LISTS: Mapping[str, Callable[[tuple[str, ...], Use, str], bool | None]] = {
    "filled": lambda entries, _, __: bool(entries),
    "empty": lambda entries, _, __: not entries,
    "lists": _lists,
    "lacks": _lacks,
    "differs": _differs,
    "has": _has,
    "names": _names,
}
TESTS = frozenset(_LISTS) | {
    "any",
    "set",
    "on",
    "off",
    "untouched",
    "above",
    "below",
    "admits",
    "excludes",
    "everyone",
    "unclear",
}
"""What may be asked of a setting. `filled`, `empty`: of a list; `lists`, `lacks`: the pipe or share of the use stands in it,
or not; `differs`: its full name and its last part do not agree on that; `has SID|SID`: one of these stands in it; `names`: a
name stands in it, of an account that is not well known, or in the language of the system; `any`:
whatever it is, if it is known; `set`: there and not empty; `on`, `off`: known to be 1, or not; `untouched`: not known, so it
stays as it is; `above`, `below`: a dialect newer, older than that of the use; `admits`, `everyone`, `excludes`, `unclear`:
what an access list (SDDL) says of ANONYMOUS LOGON. All others are values: `1`, `0|1`, `!0`, `never`."""

_ACE = re.compile(r"\(([^()]*)\)")
LONGEST_SDDL = 4096
"""Longer ones are not read."""
_READ_CONTROL = ("RC", "GA", "GR", "KA")


@lru_cache(maxsize=1024)
def sddl_admits(text: str) -> str:
    """What the access list of RestrictRemoteSam says of ANONYMOUS LOGON: admits, excludes, everyone, unclear.

    `everyone`: only as one of Everyone. [MS-DTYP 2.5.1]
    """
    if len(text) > LONGEST_SDDL or not re.fullmatch(
        r"(O:[^()]*?)?(G:[^()]*?)?D:[A-Z]*(\([^()]*\))*(S:.*)?", text.strip()
    ):
        return "unclear"
    allowed: set[str] = set()
    for ace in _ACE.findall(text.split("S:(", maxsplit=1)[0]):
        parts = ace.split(";")
        if len(parts) < 6 or parts[0] not in ("A", "D"):
            return "unclear"
        rights, who = parts[2], {"AN": "S-1-5-7", "WD": "S-1-1-0"}.get(parts[5], parts[5])
        if who not in ("S-1-5-7", "S-1-1-0", "S-1-5-2", "NU"):
            continue
        if parts[0] == "D" or who in ("S-1-5-2", "NU") or not any(right in rights for right in _READ_CONTROL):
            return "unclear"
        allowed.add(who)
    return "admits" if "S-1-5-7" in allowed else "everyone" if allowed else "excludes"


class _Selector(NamedTuple):
    """The columns of a row that say which uses it is about."""

    side: str
    family: str
    first_build: int
    last_build: int
    role: str
    dialect: str
    identity: tuple[str, ...]
    asked: str
    kinds: tuple[str, ...]
    resources: tuple[str, ...]
    interfaces: tuple[str, ...]
    operations: tuple[str, ...]
    rpc_auth: str

    def fits(self, use: Use, place: Place) -> bool:
        return (
            self.family == place.family
            and (not self.role or self.role == place.role)
            and (place.build is None or self.first_build <= place.build <= self.last_build)
            and (not self.kinds or use.kind in self.kinds)
            and (use.identity in self.identity or (not self.identity and use.identity != CREDENTIALS))
            and (not self.dialect or self.dialect == ("smb1" if use.dialect == SMB1 else "smb2"))
            and (not self.asked or not use.asked_anonymous)
            and (not self.rpc_auth or (self.rpc_auth == "yes") == use.rpc_auth)
            and _fits(self.resources, use.resource)
            and _fits(self.interfaces, use.interface)
            and _fits(self.operations, use.operation)
        )


def _fits(wanted: tuple[str, ...], text: str | None) -> bool:
    """Whether a text is among these. One that is not known may be, so it is."""
    if not wanted or text is None:
        return True
    negated = wanted[0].startswith("!")
    names = (wanted[0].removeprefix("!"), *wanted[1:])
    return negated != any(fnmatchcase(text, name) for name in names)


@cache
def _rules() -> tuple[tuple[_Selector, str, Rule], ...]:
    return tuple(_read())


def _read() -> Iterator[tuple[_Selector, str, Rule]]:
    for row in rows("policy_rules"):
        first, dash, last = row["builds"].partition("-")
        selector = _Selector(
            side=row["side"],
            family=row["family"],
            first_build=int(first or 0),
            last_build=int(last or (first if first and not dash else 10**6)),
            role=row["role"],
            dialect=row["dialect"],
            asked=row["asked"],
            rpc_auth=row["rpc_auth"],
            **{
                name: tuple(row[name].split("|")) if row[name] else ()
                for name in ("identity", "kinds", "resources", "interfaces", "operations")
            },
        )
        when = tuple(_condition(text) for text in row["when"].split("; "))
        yield (
            selector,
            row["gate"],
            Rule(row["rung"], row["outcome"], row["confidence"], row["why"], row["source"], when),
        )


@cache
def _longest_first() -> list[str]:
    return sorted(settings(), key=len, reverse=True)


def _condition(text: str) -> Condition:
    """`SETTING TEST`; names of settings may have spaces."""
    setting = next(name for name in _longest_first() if text.startswith(name + " "))
    return Condition(setting, text[len(setting) + 1 :])


def acting_settings(side: str) -> frozenset[str]:
    """The settings that some rule goes by."""
    return frozenset(
        condition.setting for selector, _, rule in _rules() if selector.side == side for condition in rule.when
    )


def given_values(known: Mapping[str, Given]) -> Mapping[str, Held]:
    """Settings of a policy as values."""
    return {name: Held(given.value, given.source) for name, given in known.items()}
