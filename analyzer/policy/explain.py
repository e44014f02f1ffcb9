"""A policy in plain words: of each setting what it is, what its value means, what the default would be, and who says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from analyzer.policy.samba import PREFIX
from analyzer.policy.settings import RULES, Default, Given, Policy, Setting, Value, default_of, setting_of, settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One setting of a policy, in words."""

    setting: Setting
    share: str | None
    """Of Samba, the share that it is about."""
    given: Given
    value: str
    meaning: str
    """What that value does; empty where only the setting as a whole has words."""
    default: Default | None
    default_words: str
    is_default: bool | None
    """None: the default is not known."""


def explained(policy: Policy, *, os_build: int | None = None, role: str | None = None) -> Iterator[Explained]:
    """The settings of a policy in its order, then those of shares."""
    for name, given in policy.settings.items():
        yield _explained(setting_of(name), None, given, os_build, role)
    for share, options in policy.shares.items():
        for option, given in options.items():
            yield _explained(setting_of(PREFIX + option), share, given, os_build, role)


def untold(policy: Policy, *, os_build: int | None = None, role: str | None = None) -> Iterator[Explained]:
    """The settings of the policy's family that it does not tell, with their defaults."""
    for setting in settings().values():
        if setting.family == policy.family and setting.kind not in RULES and setting.id not in policy.settings:
            yield _explained(setting, None, Given(None, "not told"), os_build, role)


def rules(*, os_build: int | None, role: str | None) -> Iterator[tuple[Setting, Default]]:
    """What holds on such a server and cannot be set, as far as that is known."""
    for setting in settings().values():
        if setting.kind in RULES:
            holds = default_of(setting.id, family="windows", os_build=os_build, role=role)
            if holds is not None and holds.value not in (None, ()):
                yield setting, holds


def words_of(value: Value | None) -> str:
    """A value as a person reads it."""
    if value is None:
        return "absent"
    if isinstance(value, tuple):
        return ", ".join(value) if value else "empty list"
    return str(value) if value != "" else "empty text"


def meaning_of(setting: Setting, value: Value | None) -> str:
    """What a value does, as far as single values have words; else nothing."""
    if value is None or isinstance(value, tuple):
        return ""
    return setting.meanings.get(str(value), "")


def _explained(setting: Setting, share: str | None, given: Given, os_build: int | None, role: str | None) -> Explained:
    default = default_of(setting.id, family=setting.family, os_build=os_build, role=role)
    return Explained(
        setting=setting,
        share=share,
        given=given,
        value=words_of(given.value),
        meaning=meaning_of(setting, given.value),
        default=default,
        default_words=_default_words(setting, default),
        is_default=None if default is None else _same(given.value, default.value),
    )


def _default_words(setting: Setting, default: Default | None) -> str:
    if default is None:
        return "not known"
    meaning = meaning_of(setting, default.value)
    return f"{words_of(default.value)}{f' ({meaning})' if meaning else ''}, confidence {default.confidence}"


def _same(value: Value | None, default: Value | None) -> bool:
    """Absent is the default. Names in lists count without regard to order and capitals."""
    if value is None:
        return True
    if isinstance(value, tuple) and isinstance(default, tuple):
        return {entry.lower() for entry in value} == {entry.lower() for entry in default}
    return value == default
