"""The administrator's own word on applications: a TOML file of rules, of which the first that fits a use holds.

    [[rule]]
    client = ["10.1.2.0/24", "print*.example.com"]
    resource = "spoolss"
    application = "label printers"
    owner = "warehouse"

What a rule asks for, all of which must hold; each a text or a list of texts, of which one must fit:

    client, server   an address, a network, or a pattern for the name that the address had then, or for the address
    resource         a pipe, a share, `rap` or `dfs`
    interface, operation, class, function, software     as the columns of that name say

Texts are patterns as of file names (`*`, `?`, `[a-z]`), and capitals do not matter. What a rule gives: `application`, `owner`,
`note`, and `scanner = true`, which says that the client is a scanner of the administrator's own.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from analyzer.attribution.matching import Distinct, Says, first_of, globs
from analyzer.errors import UsageError, did_you_mean
from analyzer.groups import Groups, Mask, Numbers, combined, looked_up, places_of
from analyzer.sessions.joins import NONE, Ints, as_of
from analyzer.tables import Columns, TableSet

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MACHINES = ("client", "server")
COLUMNS = {
    "resource": "resource",
    "interface": "interface",
    "operation": "operation",
    "class": "operation_class",
    "function": "function",
    "software": "client_software",
}
"""The conditions of a rule on texts, and the columns that they look at."""
CONDITIONS = (*MACHINES, *COLUMNS)
RESULTS = ("application", "owner", "note", "scanner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """Which machines a rule is about: any of these."""

    networks: tuple[Network, ...]
    """Addresses and networks."""
    names: tuple[str, ...]
    """Patterns for names, and for addresses as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule of the administrator."""

    machines: dict[str, Machines]
    """By `client` and `server`, those of them that it asks for."""
    texts: dict[str, tuple[str, ...]]
    """Patterns by what they look at, the other keys of `CONDITIONS`."""
    application: str = ""
    owner: str = ""
    note: str = ""
    scanner: bool = False


def read_rules(path: str | Path) -> list[Rule]:
    """The rules of a TOML file, in its order. Raises UsageError, which says where the mistake is, if there is one."""
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as problem:
        raise UsageError(f"{path}: cannot be read: {problem.strerror or problem}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text in UTF-8; save it as such") from None
    except tomllib.TOMLDecodeError as problem:
        raise UsageError(f"{path}: {problem}") from None
    for key in found:
        if key != "rule":
            raise UsageError(f"{path}: unknown key {key!r}; rules begin with [[rule]]")
    listed = found.get("rule", [])
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise UsageError(f"{path}: rules begin with [[rule]]")
    return [_rule(entry, f"{path}: rule {number}") for number, entry in enumerate(listed, 1)]


def read_scanners(path: str | Path) -> list[Rule]:
    """A rule for each line of a list of scanners: an address, a network, or a pattern for a name; behind `#` a note.

    Raises UsageError, which names the line, if one cannot be meant.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as problem:
        raise UsageError(f"{path}: cannot be read: {problem.strerror or problem}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text in UTF-8; save it as such") from None
    found = []
    for number, line in enumerate(lines, 1):
        client, _, note = (part.strip() for part in line.partition("#"))
        if client:
            if any(char.isspace() or char in ",;" for char in client):
                raise UsageError(f"{path}: line {number}: one address, network or name a line, not {client!r}")
            machines = {"client": machines_of([client], f"{path}: line {number}")}
            found.append(Rule(machines=machines, texts={}, scanner=True, note=note))
    if not found:
        raise UsageError(f"{path}: names no scanner; write an address, network or name a line")
    return found


def _rule(entry: dict[str, Any], where: str) -> Rule:
    known = (*CONDITIONS, *RESULTS)
    for key in entry:
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r}{did_you_mean(key, known)}; known are {', '.join(known)}")
    asked = {key: _patterns(entry[key], f"{where}: {key}") for key in CONDITIONS if key in entry}
    if not asked:
        raise UsageError(f"{where}: no condition; give at least one of {', '.join(CONDITIONS)}")
    given = {key: _text(entry[key], f"{where}: {key}") for key in ("application", "owner", "note") if key in entry}
    scanner = entry.get("scanner", False)
    if not isinstance(scanner, bool):
        raise UsageError(f"{where}: scanner: true or false is wanted, not {scanner!r}")
    if scanner and "client" not in asked:
        raise UsageError(f"{where}: scanner: says whose uses do not count, so the rule needs a client")
    if not scanner and not given.keys() & {"application", "owner"}:
        raise UsageError(f"{where}: gives nothing; set application, owner or scanner")
    machines = {key: machines_of(asked[key], f"{where}: {key}") for key in MACHINES if key in asked}
    return Rule(machines=machines, texts={key: asked[key] for key in COLUMNS if key in asked}, scanner=scanner, **given)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{where}: a text is wanted, not {value!r}")
    return value


def _patterns(value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, list) and value:
        return tuple(_text(entry, where) for entry in value)
    if isinstance(value, list):
        raise UsageError(f"{where}: the list is empty; name what is wanted, or leave the key out")
    return (_text(value, where),)


def machines_of(patterns: Sequence[str], where: str) -> Machines:
    """The machines that addresses, networks and patterns mean. Raises UsageError, which says `where`, for one that means none."""
    networks, names = [], []
    for pattern in patterns:
        # What can only be meant as an address must be one: a mistyped network would else fit nothing, silently.
        if "/" in pattern or re.fullmatch(r"[\d.]+|[\da-fA-F.]*:[\da-fA-F.:]*", pattern):
            try:
                networks.append(ipaddress.ip_network(pattern, strict=False))
            except ValueError:
                raise UsageError(f"{where}: {pattern!r} is no address and no network, such as 10.0.0.0/8") from None
        else:
            names.append(pattern)
    return Machines(networks=tuple(networks), names=tuple(names))


def rule_of(uses: Columns, rows: TableSet, rules: Sequence[Rule]) -> Ints:
    """For each use the place of the first rule that fits it; `NONE` if none does.

    uses: as `attribute` takes them, with `operation_class`, `function` and `client_software`.
    """
    if not rules:
        return np.full(len(uses["resource"]), NONE, dtype=np.int64)
    columns = {key: uses[name] for key, name in COLUMNS.items()}
    columns |= {machine: uses[f"{machine}_ip"] for machine in MACHINES}
    named = [
        machine for machine in MACHINES if any(it.machines[machine].names for it in rules if machine in it.machines)
    ]
    hosts = {f"{machine}_host": _hosts_at(uses["site"], uses[f"{machine}_ip"], uses["time"], rows) for machine in named}
    kinds = Groups(*columns.values(), *hosts.values())
    texts = {key: Distinct(column[kinds.first], rows.texts.text) for key, column in columns.items()}
    names = _host_names(rows) if named else []
    by_host = {
        key: Distinct(column[kinds.first], lambda row: names[row] if row >= 0 else None)
        for key, column in hosts.items()
    }
    masks = [_fits(rule, texts, by_host, len(kinds)) for rule in rules]
    return first_of(masks, len(kinds))[kinds.number]


def excluded_by(rules: Sequence[Rule], rule: Ints) -> Mask:
    """True for each use whose rule says that its client is a scanner."""
    return looked_up(np.array([it.scanner for it in rules], dtype=bool), rule, False)


def _fits(rule: Rule, texts: dict[str, Distinct], by_host: dict[str, Distinct], length: int) -> Mask:
    fits: Mask = np.ones(length, dtype=bool)
    for key, patterns in rule.texts.items():
        fits &= texts[key].are(globs(patterns))
    for machine, these in rule.machines.items():
        found = texts[machine].are(has_address(these))
        if these.names:
            found |= by_host[f"{machine}_host"].are(has_name(these.names))
        fits &= found
    return fits


def has_address(machines: Machines) -> Says:
    """True of an address that is one of these."""
    spelt = globs(machines.names)

    def says(text: str) -> bool:
        address = _address(text)
        return address is not None and (any(address in network for network in machines.networks) or spelt(text))

    return says


@lru_cache(maxsize=1 << 16)
def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def has_name(patterns: Sequence[str]) -> Says:
    """True of names (separated by bars) one of which fits, whole or up to its first dot."""
    says = globs(patterns)
    return lambda names: any(says(name) or says(name.partition(".")[0]) for name in names.split("|") if name)


def _host_names(rows: TableSet) -> list[str | None]:
    """All names of each row of `hosts`, separated by bars; None where several machines shared the address."""
    hosts = rows.columns("hosts", "name", "other_names", "shared")
    found: list[str | None] = []
    for shared, *names in zip(*(hosts[name].tolist() for name in ("shared", "name", "other_names")), strict=True):
        spelt = "|".join(filter(None, map(rows.texts.text, names)))
        found.append(None if shared or not spelt else spelt)
    return found


def _hosts_at(site: Numbers, ip: Numbers, time: Numbers, rows: TableSet) -> Ints:
    """For each row the row of `hosts` that its address had then: the last that had begun, else the first."""
    hosts = rows.columns("hosts", "site", "ip", "valid_from")
    known = (hosts["site"], hosts["ip"])
    where = Groups(site, ip)
    found = places_of((site[where.first], ip[where.first]), known)[where.number]
    held = Groups(*known)
    alone = np.zeros(len(hosts["ip"]), dtype=bool)
    alone[held.first] = held.sizes() == 1
    # Only where an address was of several hosts does the time matter.
    wanted = np.flatnonzero((found >= 0) & ~looked_up(alone, found, True) & (time >= 0))
    if len(wanted):
        count = len(hosts["ip"])
        both = combined(*[np.append(key, asked) for key, asked in zip(known, (site[wanted], ip[wanted]), strict=True)])
        begun = np.flatnonzero(hosts["valid_from"] >= 0)
        order = time[wanted].astype(np.int64) + 1
        then = as_of(both[count:], order, both[:count][begun], hosts["valid_from"][begun])
        found[wanted[then >= 0]] = begun[then[then >= 0]]
    return found
