"""The form of our own, in TOML: for what is asked ("what if ..."), and for what no other file says.

family = "windows"

[settings]
RestrictNullSessAccess = 1
NullSessionPipes = ["netlogon", "samr"]
RestrictRemoteSam = { absent = true }

[shares.scans]
"guest ok" = "yes"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any, get_args

from analyzer.errors import PolicyError
from analyzer.policy.registry import unknown_names
from analyzer.policy.samba import PREFIX
from analyzer.policy.settings import LISTS, NUMBERS, RULES, Family, Given, Policy, Setting, Value, settings
from analyzer.policy.texts import comment_lines

KEYS = ("family", "settings", "shares")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def read_toml(text: str, file: str) -> Policy:
    """The policy in a TOML file. Raises PolicyError for what is no TOML, unknown keys, and values of a wrong kind."""
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        raise PolicyError(file, f"no valid TOML: {problem}") from None
    for key in found:
        if key not in KEYS:
            raise PolicyError(file, f"unknown key {key!r}; known are {', '.join(KEYS)}")
    unknown: list[str] = []
    given: dict[str, Given] = {}
    for name, value in _table(found.get("settings", {}), file, "settings").items():
        setting = settings().get(name)
        if setting is None or setting.kind in RULES:
            unknown.append(name)
        else:
            place = f"settings.{name}"
            given[name] = Given(_value(setting, value, file, place), f"{file}, {place}")
    shares: dict[str, dict[str, Given]] = {}
    for share, options in _table(found.get("shares", {}), file, "shares").items():
        kept = shares.setdefault(share.lower(), {})
        for option, value in _table(options, file, f"shares.{share}").items():
            setting = settings().get(PREFIX + option.lower())
            if setting is None:
                unknown.append(option)
            else:
                place = f"shares.{share}.{option}"
                kept[setting.value_name] = Given(_value(setting, value, file, place), f"{file}, {place}")
    return Policy(
        family=_family(found.get("family"), given, shares, file),
        settings=given,
        shares=shares,
        warnings=tuple(unknown_names(unknown, file)),
    )


def write_toml(policy: Policy, comment: str = "") -> str:
    """The policy in that form."""
    lines = comment_lines(comment, "#")
    if policy.family is not None:
        lines += [f"family = {_text(policy.family)}", ""]
    lines.append("[settings]")
    lines += [f"{_text(name)} = {_written(given.value)}" for name, given in policy.settings.items()]
    for share, options in policy.shares.items():
        lines += ["", f"[shares.{_text(share)}]"]
        lines += [f"{_text(option)} = {_written(given.value)}" for option, given in options.items()]
    return "\n".join([*lines, ""])


def _table(value: object, file: str, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PolicyError(file, "a table is wanted", place)
    return value


def _family(
    told: object, given: Mapping[str, Given], shares: Mapping[str, Mapping[str, Given]], file: str
) -> str | None:
    if told is not None and told not in get_args(Family):
        raise PolicyError(file, f"family: {' or '.join(get_args(Family))} is wanted, not {told!r}")
    families = {settings()[name].family for name in given} | ({"samba"} if shares else set())
    if told is not None and families - {told}:
        raise PolicyError(file, f"settings of another family than {told!r}")
    if len(families) > 1:
        raise PolicyError(file, "settings of Windows and of Samba in one policy")
    return str(told) if told is not None else next(iter(families), None)


def _value(setting: Setting, value: object, file: str, place: str) -> Value | None:
    if value == {"absent": True}:
        return None
    if setting.kind in LISTS:
        if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            return tuple(value)
        raise PolicyError(file, f"a list of texts is wanted, not {value!r}", place)
    if setting.kind in NUMBERS:
        if isinstance(value, int) and 0 <= value < 1 << 32:
            return int(value)
        raise PolicyError(file, f"a number is wanted, not {value!r}", place)
    if setting.kind == "bool" and isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        raise PolicyError(file, f"a text is wanted, not {value!r}", place)
    if setting.kind == "bool" and value not in ("yes", "no"):
        raise PolicyError(file, f"yes or no is wanted, not {value!r}", place)
    if setting.kind == "enum" and value not in setting.meanings:
        raise PolicyError(file, f"one of {', '.join(setting.meanings)} is wanted, not {value!r}", place)
    if setting.kind == "binary":
        try:
            bytes.fromhex(value)
        except ValueError:
            raise PolicyError(file, f"bytes in hexadecimal are wanted, not {value!r}", place) from None
    return value


def _written(value: Value | None) -> str:
    if value is None:
        return "{ absent = true }"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    return str(value) if isinstance(value, int) else _text(value)


def _text(text: str) -> str:
    """A basic string. Surrogates on their own are no text that TOML, or UTF-8, can carry."""
    if any(0xD800 <= ord(char) < 0xE000 for char in text):
        raise PolicyError("TOML", f"{text!r}: it cannot carry such a text")
    spelt = (_ESCAPES.get(it, it if it.isprintable() else f"\\U{ord(it):08X}") for it in text)
    return f'"{"".join(spelt)}"'
