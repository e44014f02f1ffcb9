"""Settings and policies: what can be set, what somebody has set, and what holds where nobody did.

A *setting* is a row of `policy_settings` in `knowledge`; its id is the key everywhere. A *policy* is what some input says of
settings. An id that is not in it is unknown: whether the default holds there is for the reader of a policy to decide, and
`default_of` says what the default is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Literal, get_args

from analyzer.errors import UsageError, did_you_mean
from analyzer.knowledge import rows

Value = int | str | tuple[str, ...]

Role = Literal["member", "dc"]
Family = Literal["windows", "samba"]
Kind = Literal[
    "dword", "sz", "multi", "binary", "system", "right", "members", "directory", "rule", "rule_list",
    "int", "bool", "enum", "protocol", "text", "list",
]  # fmt: skip
"""What a setting holds and where. Of Windows: registry values `dword`, `sz`, `multi` and `binary`; `system`, `right` and
`members` live in security templates only; `directory` is an attribute in the directory; a `rule` cannot be set at all.
Of Samba: what an option of smb.conf takes."""

NUMBERS = frozenset({"dword", "system", "directory", "int"})
LISTS = frozenset({"multi", "right", "members", "rule_list", "list"})
RULES = frozenset({"rule", "rule_list"})
CONFIDENCE = ("low", "medium", "high")
RELEASES: Mapping[str, int] = MappingProxyType(
    {
        "nt4": 1381,
        "2000": 2195,
        "2003": 3790,
        "2008": 6003,
        "2008r2": 7601,
        "2012": 9200,
        "2012r2": 9600,
        "2016": 14393,
        "2019": 17763,
        "2022": 20348,
        "2025": 26100,
    }
)
"""The builds of Windows servers, by the name of the release."""
ABSENT, EMPTY, SEPARATOR = "-", "(empty)", "|"
"""How the tables write a value that does not exist, a list or text without anything in it, and what is between entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing that can be set (or a rule that cannot): a row of `policy_settings`."""

    id: str
    family: Family
    display_name: str
    """As the editor of policies calls it."""
    gpo_path: str
    places: tuple[str, ...]
    """Registry keys, the section of a security template, or of smb.conf. Of several keys the first one wins."""
    value_name: str
    """The name of the registry value, of the line in a template, of the option in smb.conf."""
    kind: Kind
    values: str
    """What the values mean: `value=words` separated by `;`, or words alone."""
    scope: str
    """What it is about: `SMB`, `RPC over any transport`, `LDAP` or `any` of them."""
    side: str
    """`server`, `client` or `both`: on which machine it works."""
    restart: str
    plain: str
    """What it does to anonymous access."""
    breaks: str
    """What stops when it is tightened."""
    inf_line: str
    confidence: str
    source: str

    @property
    def meanings(self) -> dict[str, str]:
        """Words by value, where single values have a meaning."""
        pairs = (entry.partition("=") for entry in self.values.split(";"))
        return {value.rsplit(": ", 1)[-1].strip(): words.strip() for value, equals, words in pairs if equals}


@dataclass(frozen=True, slots=True)
class Given:
    """One setting as an administrator has it."""

    value: Value | None
    """None: explicitly absent or not configured."""
    source: str
    """The file, and the place in it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What an input says of settings."""

    family: str | None = None
    """`windows`, `samba`; None if the input does not tell."""
    settings: Mapping[str, Given] = field(default_factory=lambda: MappingProxyType({}))
    """By setting id. An id that is not in it is unknown."""
    shares: Mapping[str, Mapping[str, Given]] = field(default_factory=lambda: MappingProxyType({}))
    """Sections of shares of Samba: lower-case name, then option (`guest ok`)."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Default:
    """What holds where nobody has set anything."""

    value: Value | None
    """None: the value does not exist there, and what it would switch on is not there either."""
    confidence: str
    """`high`, `medium` or `low`."""
    source: str


@cache
def settings() -> Mapping[str, Setting]:
    """All settings by id, in the order of the table."""
    return MappingProxyType({row["id"]: _setting(row) for row in rows("policy_settings")})


def setting_of(name: str) -> Setting:
    """The setting with the id `name`. Raises UsageError for an id that is not in the table."""
    try:
        return settings()[name]
    except KeyError:
        raise UsageError(f"unknown setting {name!r}") from None


def build_of(release: str) -> int:
    """The build of a Windows server by the name of its release (`2012 R2`, `Windows Server 2019`), or by its number.

    Raises UsageError for a name that is not known.
    """
    name = re.sub(r"windows|server|[\s_-]", "", release.lower())
    if name in RELEASES:
        return RELEASES[name]
    if re.fullmatch(r"\d{4,5}", name) and int(name) not in range(2000, 2100):
        return int(name)
    near = did_you_mean(release, RELEASES)
    raise UsageError(f"no release is called {release!r}{near}; there are {', '.join(RELEASES)}, and numbers of builds")


def merged(policies: Sequence[Policy]) -> Policy:
    """Several policies as one, in the order in which they are applied: of each setting the last one that has it holds.

    Lists of a later policy replace those of an earlier one, they are not joined: that is what Windows does with group
    policies, and Samba with an option that stands twice. Raises UsageError if some are of Windows and some of Samba.
    """
    families = {policy.family for policy in policies} - {None}
    if len(families) > 1:
        raise UsageError("policies of Windows and of Samba cannot be merged into one")
    shares: dict[str, dict[str, Given]] = {}
    for policy in policies:
        for share, options in policy.shares.items():
            shares.setdefault(share, {}).update(options)
    return Policy(
        family=families.pop() if families else None,
        settings=MappingProxyType({name: it for policy in policies for name, it in policy.settings.items()}),
        shares=MappingProxyType({share: MappingProxyType(options) for share, options in shares.items()}),
        warnings=tuple(dict.fromkeys(line for policy in policies for line in policy.warnings)),
    )


def default_of(setting: str, *, family: str | None, os_build: int | None, role: str | None) -> Default | None:
    """What holds on a machine on which nobody has set `setting`; None if that is not known.

    family: `windows`, `samba`, or None if only the setting tells; os_build: the number of the build of Windows (3790 is
    Windows Server 2003, 26100 is 2025; no meaning for Samba); role: `member` or `dc`. What is None may be anything: there is
    an answer only if it is the same for all of them. Defaults are those of servers without later hardening; where they
    depend on an edition or an update that is not known, the answer is less sure, or there is none.
    """
    of = setting_of(setting)
    if role is not None and role not in get_args(Role):
        raise UsageError(f"unknown role {role!r}: member or dc")
    if family is not None and family != of.family:
        return None
    builds = RELEASES.values() if os_build is None and of.family == "windows" else (os_build,)
    roles = get_args(Role) if role is None else (role,)
    answers = [_default_on(setting, build, its_role) for build in builds for its_role in roles]
    if not all(it is not None and answers[0] is not None and it.value == answers[0].value for it in answers):
        return None
    found = [it for it in answers if it is not None]
    return Default(
        found[0].value,
        min((it.confidence for it in found), key=CONFIDENCE.index),
        "; ".join(dict.fromkeys(it.source for it in found)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _DefaultRow:
    builds: tuple[int, int] | None
    """The first and the last build; None: all."""
    role: str
    condition: str
    """An edition or an update without which the row does not hold."""
    value: Value | None
    known: bool
    confidence: str
    source: str

    def fits(self, os_build: int | None, role: str) -> bool:
        return (self.builds is None or (os_build is not None and self.builds[0] <= os_build <= self.builds[1])) and (
            self.role in ("", role)
        )


def _default_on(setting: str, os_build: int | None, role: str) -> Default | None:
    """The default on one release in one role. Rows that hold under a condition only make it less sure."""
    fitting = [it for it in _defaults().get(setting, ()) if it.fits(os_build, role)]
    general = [it for it in fitting if not it.condition] or fitting
    if not general or not all(it.known and it.value == general[0].value for it in general):
        return None
    doubtful = any(it.value != general[0].value and it.confidence != "low" for it in fitting)
    levels = [it.confidence for it in general] + ["medium"] * doubtful
    return Default(general[0].value, min(levels, key=CONFIDENCE.index), "; ".join(it.source for it in general))


@cache
def _defaults() -> Mapping[str, tuple[_DefaultRow, ...]]:
    found: dict[str, list[_DefaultRow]] = {}
    for row in rows("policy_defaults"):
        first, last = row["os_build_from"], row["os_build_to"]
        found.setdefault(row["setting"], []).append(
            _DefaultRow(
                builds=(int(first), int(last)) if first else None,
                role=row["role"],
                condition=row["edition_or_update"],
                value=written_value(settings()[row["setting"]].kind, row["default"]),
                known=row["default"] != "",
                confidence=row["confidence"],
                source=row["source"],
            )
        )
    return MappingProxyType({name: tuple(those) for name, those in found.items()})


def written_value(kind: str, text: str) -> Value | None:
    """A value as the tables write it. None: absent (or, for an empty text, unknown)."""
    if text in ("", ABSENT):
        return None
    if kind in NUMBERS:
        return int(text)
    if kind in LISTS:
        return () if text == EMPTY else tuple(text.split(SEPARATOR))
    return "" if text == EMPTY else text


def _setting(row: Mapping[str, str]) -> Setting:
    kept: Iterable[str] = Setting.__dataclass_fields__.keys() - {"places", "kind"}
    return Setting(
        places=tuple(row["place"].split(SEPARATOR)),
        kind=row["type"],  # type: ignore[arg-type] # a test holds the table to `Kind`
        **{name: row[name] for name in kept},  # type: ignore[arg-type] # texts, all of them
    )
