"""What the servers are: family, build and role, as far as the tables tell, and how that is known.

What a server says of itself may be old, forged, or of another machine at the same address. Where signs contradict each
other nothing is known, and that is said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from analyzer import tables
from analyzer.errors import UsageError
from analyzer.groups import Groups, places
from analyzer.policy.settings import RELEASES
from analyzer.tables import TableSet

T = TypeVar("T")

SYSTEMS = {"nt4": ("windows", 1381), "samba": ("samba", None), "windows": ("windows", None)} | {
    name: ("windows", build) for name, build in RELEASES.items()
}
"""What `--os` takes, besides the number of a build."""
ROLES = ("member", "dc")
NTLM = re.compile(r"\bNTLM version (\d+)\.(\d+)\.(\d+)")
SMB1_BUILD = re.compile(r"\bWindows(?:\(R\))?\b.*?\b(2195|2600|3790|[67]\d{3}|9\d{3}|1\d{4}|2\d{4})\b")
LONGEST_HINT = 1024
DC_SHARES = ("NETLOGON", "SYSVOL")
DIRECTORIES = ("ldap", "ldaps", "global_catalog")
SETS_UP_CHANNELS = ("NetrServerAuthenticate", "NetrServerAuthenticate2", "NetrServerAuthenticate3")


@dataclass(frozen=True, slots=True)
class Server:
    """One server, as far as it is known."""

    site: str
    ip: str
    name: str | None
    family: str | None
    build: int | None
    role: str | None
    known_by: str
    """The signs, separated by `; `."""
    conflict: str
    """Why the signs do not agree; empty: they do."""


@dataclass(slots=True)
class _Signs:
    families: dict[str, str] = field(default_factory=dict)
    builds: dict[int, str] = field(default_factory=dict)
    dc: str = ""
    directory: str = ""
    """What says that it may be a domain controller."""
    name: str | None = None


def servers(
    rows: TableSet, *, systems: Mapping[str, str] | None = None, roles: Mapping[str, str] | None = None
) -> dict[tuple[str, str], Server]:
    """All servers of `dependencies`, by site and address.

    systems, roles: what the user says, by name or address of a server, or `""` for all: a release (`2016`, `samba`), or a
    number of a build; `member` or `dc`. Raises UsageError for a server that is not there, or a word that means nothing.
    """
    found = _seen(rows)
    _named(rows, found)
    _hinted(rows, found)
    _by_guid(rows, found)
    _controllers(rows, found)
    _directories(rows, found)
    told_systems = by_server(systems or {}, found, "--os")
    told_roles = by_server(roles or {}, found, "--role")
    for role in told_roles.values():
        if role not in ROLES:
            raise UsageError(f"a role is one of {', '.join(ROLES)}, not {role!r}")
    return {
        key: _decided(key, signs, system_named(told_systems[key]) if key in told_systems else None, told_roles.get(key))
        for key, signs in found.items()
    }


def system_named(text: str) -> tuple[str, int | None]:
    """Family and build of what a user says a server is."""
    word = text.strip().casefold().removeprefix("windows ").removeprefix("server ").replace(" ", "")
    if word in SYSTEMS:
        return SYSTEMS[word]
    if word.isascii() and word.isdigit() and 1000 <= int(word) < 100_000:
        return "windows", int(word)
    raise UsageError(f"no system is called {text!r}: {', '.join(sorted(SYSTEMS))}, or the number of a build of Windows")


def by_server(told: Mapping[str, T], found: Mapping[tuple[str, str], object], option: str) -> dict[tuple[str, str], T]:
    """What was told by name or address, for each server; `""` stands for all others."""
    answers: dict[tuple[str, str], T] = {}
    called: dict[str, list[tuple[str, str]]] = {}
    for key, signs in found.items():
        for word in {key[1], f"{key[0]}/{key[1]}".casefold(), *_names_of(getattr(signs, "name", None))}:
            called.setdefault(word, []).append(key)
    for name, value in told.items():
        if not name:
            continue
        those = called.get(name.casefold())
        if not those:
            known = ", ".join(sorted({key[1] for key in found})[:10]) or "none"
            raise UsageError(f"{option}: no server {name!r} in the captures; there are: {known}")
        answers |= dict.fromkeys(those, value)
    if "" in told:
        answers = dict.fromkeys(found, told[""]) | answers
    return answers


def _names_of(name: str | None) -> tuple[str, ...]:
    return (name.casefold(), name.casefold().split(".")[0]) if name else ()


def _seen(rows: TableSet) -> dict[tuple[str, str], _Signs]:
    columns = rows.columns("dependencies", "site", "server_ip")
    first = Groups(columns["site"], columns["server_ip"]).first
    text = rows.texts.text
    return {
        (text(int(site)) or "", text(int(ip)) or ""): _Signs()
        for site, ip in zip(columns["site"][first], columns["server_ip"][first], strict=True)
    }


def _texts_of(rows: TableSet, table: str, *names: str) -> list[tuple[str, ...]]:
    """The different combinations of some texts of a table; missing ones are empty."""
    columns = rows.columns(table, *names)
    first = Groups(*[columns[name] for name in names]).first
    return [
        tuple(rows.texts.text(int(columns[name][row])) or "" if columns[name][row] >= 0 else "" for name in names)
        for row in first.tolist()
    ]


def _named(rows: TableSet, found: dict[tuple[str, str], _Signs]) -> None:
    for site, ip, name in _texts_of(rows, "dependencies", "site", "server_ip", "server"):
        if name:
            found[site, ip].name = name


def _hinted(rows: TableSet, found: dict[tuple[str, str], _Signs]) -> None:
    """What hosts say of their system in logins, answers and announcements."""
    for site, ip, hints in _texts_of(rows, "hosts", "site", "ip", "os_hint"):
        signs = found.get((site, ip))
        if signs is None or not hints:
            continue
        hints = hints[:LONGEST_HINT]  # noqa: PLW2901 - what is said may be of any length
        if "samba" in hints.casefold() or "server_unix" in hints:
            signs.families.setdefault("samba", f"says {hints[:80]}")
        for major, minor, build in NTLM.findall(hints):
            number = int(build)
            if (major, minor, number) == ("6", "1", 0):
                signs.families.setdefault("samba", "NTLM version 6.1.0, which Samba sends")
            elif 1381 <= number <= 30_000 and int(major) <= 10:
                signs.families.setdefault("windows", f"NTLM version {major}.{minor}.{build}")
                signs.builds.setdefault(number, f"NTLM version {major}.{minor}.{build}")
        for hint in hints.split("; "):
            build_of = None if "samba" in hint.casefold() or "NTLM" in hint else SMB1_BUILD.search(hint)
            if build_of:
                signs.families.setdefault("windows", f"says {hint[:80]}")
                signs.builds.setdefault(int(build_of[1]), f"says {hint[:80]}")
            elif hint.startswith(("Windows NT 4.0", "Windows 5.0")):
                number = 1381 if "NT" in hint else 2195
                signs.families.setdefault("windows", f"says {hint[:80]}")
                signs.builds.setdefault(number, f"says {hint[:80]}")


def _by_guid(rows: TableSet, found: dict[tuple[str, str], _Signs]) -> None:
    """Samba's ServerGuid is the name of the machine in ASCII, filled up with zeros."""
    for site, ip, guid in _texts_of(rows, "connections", "site", "server_ip", "server_guid"):
        signs = found.get((site, ip))
        if signs is not None and (name := name_in_guid(guid)):
            signs.families.setdefault("samba", f"ServerGuid spells {name}")


def name_in_guid(guid: str) -> str | None:
    """The name that a GUID of Samba spells; None: it spells none."""
    digits = guid.replace("-", "")
    if len(digits) != 32 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
        return None
    octets = bytes.fromhex(digits)
    octets = octets[3::-1] + octets[5:3:-1] + octets[7:5:-1] + octets[8:]
    name = octets.rstrip(b"\0")
    fits = len(name) >= 2 and all(0x21 <= octet < 0x7F for octet in name)
    # Without a zero at the end it may be 16 octets of chance, or of somebody's taste.
    return name.decode("ascii") if fits and len(name) < 16 else None


def _controllers(rows: TableSet, found: dict[tuple[str, str], _Signs]) -> None:
    """Servers that do what only domain controllers do."""
    done = rows.columns("dependencies", "site", "server_ip", "operation", "succeeded")
    channels = np.isin(done["operation"], [rows.texts.code(name) for name in SETS_UP_CHANNELS]) & (
        done["succeeded"] > 0
    )
    for row in np.flatnonzero(channels).tolist():
        key = (rows.texts.text(int(done["site"][row])) or "", rows.texts.text(int(done["server_ip"][row])) or "")
        if not found[key].dc:
            found[key].dc = f"answers {rows.texts.text(int(done['operation'][row]))}"
    trees = rows.columns("trees", "connection_id", "share", "status")
    success = rows.texts.code("STATUS_SUCCESS")
    wanted = np.isin(trees["share"], [rows.texts.code(name) for name in DC_SHARES]) & (trees["status"] == success)
    connections = rows.columns("connections", "connection_id", "site", "server_ip")
    place = places(trees["connection_id"][wanted], connections["connection_id"])
    for row in np.unique(place[place >= 0]).tolist():
        site, ip = (rows.texts.text(int(connections[name][row])) or "" for name in ("site", "server_ip"))
        if (site, ip) in found:
            found[site, ip].dc = "shares SYSVOL or NETLOGON"


def _directories(rows: TableSet, found: dict[tuple[str, str], _Signs]) -> None:
    """Servers that somebody asks for a directory: they may be domain controllers, or have another one."""
    for site, ip, way in _ways(rows):
        if (site, ip) in found and way in DIRECTORIES:
            found[site, ip].directory = "clients connect to its LDAP"


def _ways(rows: TableSet) -> set[tuple[str, str, str]]:
    columns = rows.columns("other_ways", "site", "server_ip", "way")
    first = Groups(*columns.values()).first
    text = rows.texts.text
    return {
        (text(int(site)) or "", text(int(ip)) or "", tables.OTHER_WAY[way])
        for site, ip, way in zip(*(column[first].tolist() for column in columns.values()), strict=True)
    }


def _decided(key: tuple[str, str], signs: _Signs, system: tuple[str, int | None] | None, role: str | None) -> Server:
    conflict = ""
    family: str | None = None
    build: int | None = None
    if len(signs.families) > 1:
        conflict = " but ".join(f"{name}: {how}" for name, how in signs.families.items())
    elif signs.families:
        family = next(iter(signs.families))
        if family == "windows" and len(signs.builds) == 1:
            build = next(iter(signs.builds))
        elif family == "windows" and len(signs.builds) > 1:
            conflict = " but ".join(how for how in signs.builds.values())
    how = list(signs.families.values())
    if system is not None:
        if family is not None and family != system[0]:
            conflict = f"you say {system[0]}, but it says {family}: {how[0]}"
        elif build is not None and system[1] is not None and build != system[1]:
            conflict = f"you say build {system[1]}, but it says {build}: {how[0]}"
        family, build = system[0], system[1] or (build if family == system[0] else None)
        how = ["you say so"]
    if role is not None and role == "member" and signs.dc:
        conflict = "; ".join(filter(None, (conflict, f"you say member, but it {signs.dc}")))
    how_role = signs.dc if role is None else "you say so"
    decided = role or ("dc" if signs.dc else None)
    if decided is None and family == "samba" and not signs.directory:
        decided, how_role = "member", "no sign of a domain controller"
    if decided is None and signs.directory:
        how_role = f"not known, {signs.directory}"
    known = "; ".join(filter(None, (", ".join(how), f"role: {how_role}" if how_role else "")))
    return Server(key[0], key[1], signs.name, family, build, decided, known or "nothing", conflict)
