"""Values of the registry to settings, and back: what registry exports, registry.pol and security templates share.

Keys are compared without regard to capitals, `MACHINE` and `HKEY_LOCAL_MACHINE` are `HKLM`, and a numbered control set
counts as the current one, unless the file has the current one itself. A setting with two places (a policy and the value that
it governs) is what the first of them says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from analyzer.errors import PolicyError
from analyzer.policy.settings import Given, Setting, Value, settings

REG_SZ, REG_EXPAND_SZ, REG_BINARY, REG_DWORD, REG_MULTI_SZ = 1, 2, 3, 4, 7
TYPE_NAMES = {0: "REG_NONE", 1: "REG_SZ", 2: "REG_EXPAND_SZ", 3: "REG_BINARY", 4: "REG_DWORD", 7: "REG_MULTI_SZ"}
TYPE_OF = {"dword": REG_DWORD, "sz": REG_SZ, "multi": REG_MULTI_SZ, "binary": REG_BINARY}
"""The type of a value by the kind of its setting."""
EVERY = "*"
MOST_NAMED = 20
"""Unknown names that one warning lists."""
_NUMBERED = re.compile(r"^hklm\\system\\controlset(\d{3})(?=\\|$)")


@dataclass(frozen=True, slots=True)
class RegistryValue:
    """A value as a file has it."""

    key: str
    name: str
    type: int | None
    """None: the value is deleted. With an empty name the whole key with all keys below, with `*` all values of the key."""
    data: int | str | tuple[str, ...] | bytes | None
    """None: its bytes do not fit its type."""
    place: str
    """The place in the file, in words."""


def normal_key(key: str) -> str:
    """One spelling of a key, in small letters."""
    key = _rooted(key)
    return _NUMBERED.sub(r"hklm\\system\\currentcontrolset", key)


def _rooted(key: str) -> str:
    key = key.strip("\\").lower()
    root, _, rest = key.partition("\\")
    if root in ("hkey_local_machine", "machine", "hklm"):
        return f"hklm\\{rest}" if rest else "hklm"
    return key


@cache
def registry_settings() -> dict[tuple[str, str], tuple[Setting, int]]:
    """(key, name), both in small letters, to the setting there and which of its places that is."""
    return {
        (normal_key(place), setting.value_name.lower()): (setting, rank)
        for setting in settings().values()
        if setting.kind in TYPE_OF
        for rank, place in enumerate(setting.places)
    }


def given_by_registry(
    values: Iterable[RegistryValue], file: str, *, last_wins: bool = True
) -> tuple[dict[str, Given], list[str]]:
    """Settings by id, and what to warn of.

    last_wins: of several values at one place the last one holds, as for a registry export that is imported. Else none of
    them does, and the setting is left out.
    """
    found: dict[tuple[str, int], Given] = {}
    spoilt: set[tuple[str, int]] = set()
    unknown: list[str] = []
    warnings: list[str] = []
    for value in _of_one_control_set(values, file, warnings):
        if value.type is None and value.name in ("", EVERY):
            for setting, rank in _under(normal_key(value.key), deep=not value.name):
                found[setting.id, rank] = Given(None, f"{file}, {value.place}")
                spoilt.discard((setting.id, rank))
            continue
        known = registry_settings().get((normal_key(value.key), value.name.lower()))
        if known is None:
            unknown.append(value.name or "(default)")
            continue
        setting, rank = known
        where = f"{file}, {value.place}"
        at = (setting.id, rank)
        if value.type is None:
            given = Given(None, where)
        else:
            as_value = _value_of(setting, value)
            if isinstance(as_value, _Unfit):
                warnings.append(f"{where}: {setting.id}: {as_value.reason}; left out, so unknown")
                found.pop(at, None)
                spoilt.add(at)
                continue
            given = Given(as_value, where)
        if at in found and found[at].value != given.value:
            earlier = found[at]
            outcome = "the last one holds" if last_wins else "left out, so unknown"
            warnings.append(f"{where}: {setting.id}: contradicts {earlier.source}; {outcome}")
            if not last_wins:
                spoilt.add(at)
        if last_wins:
            spoilt.discard(at)
        found[at] = given
    for at in spoilt:
        found.pop(at, None)
    given_settings, more = _by_places(found, spoilt)
    return given_settings, warnings + more + unknown_names(unknown, file)


def _of_one_control_set(values: Iterable[RegistryValue], file: str, warnings: list[str]) -> Iterator[RegistryValue]:
    """The values that hold now: which of several numbered control sets is the current one, an export need not tell."""
    all_values = list(values)
    sets: dict[tuple[str, str], dict[str, RegistryValue]] = {}
    numbers = set()
    for value in all_values:
        number = _NUMBERED.match(_rooted(value.key))
        numbers |= {number[1]} if number else set()
        sets.setdefault((normal_key(value.key), value.name.lower()), {})[number[1] if number else ""] = value
    said: set[tuple[str, str]] = set()
    for value in all_values:
        at = normal_key(value.key), value.name.lower()
        of = sets[at]
        if "" in of:
            if _NUMBERED.match(_rooted(value.key)) is None:
                yield value
        elif len({(it.type, it.data) for it in of.values()}) == 1 and of.keys() == numbers:
            yield value  # in all control sets that the file has: in one that lacks it, it is absent
        elif at not in said and at in registry_settings():
            said.add(at)
            warnings.append(
                f"{file}, {value.place}: {value.name}: differs by control set, and which one is current is not told; "
                "left out, so unknown"
            )


def unknown_names(names: Sequence[str], file: str) -> list[str]:
    """The one warning of a file about settings that are not in the table."""
    distinct = list(dict.fromkeys(names))
    if not distinct:
        return []
    more = f" and {len(distinct) - MOST_NAMED} others" if len(distinct) > MOST_NAMED else ""
    return [f"{file}: not among the settings known here, left out: {', '.join(distinct[:MOST_NAMED])}{more}"]


def values_of(setting: Setting, value: Value | None) -> Iterator[RegistryValue]:
    """What to write so that a registry has `value`. Only the place that is meant for it is written.

    A policy has a place of its own, and what stands there governs; so it is the first place that is written, and the others
    are left as they are. Raises PolicyError for texts that no registry can hold.
    """
    key = setting.places[0]
    _check_storable(setting, value)
    if value is None:
        yield RegistryValue(key, setting.value_name, None, None, "")
    elif setting.kind == "binary":
        yield RegistryValue(key, setting.value_name, REG_BINARY, bytes.fromhex(str(value)), "")
    else:
        yield RegistryValue(key, setting.value_name, TYPE_OF[setting.kind], value, "")


_PYTHON_TYPES: dict[str, type] = {"dword": int, "sz": str, "multi": tuple, "binary": str}


def _check_storable(setting: Setting, value: Value | None) -> None:
    if value is not None and not isinstance(value, _PYTHON_TYPES[setting.kind]):
        raise PolicyError("registry", f"{value!r} is no value of {setting.id}")
    if isinstance(value, int) and not 0 <= value < 1 << 32:
        raise PolicyError("registry", f"{value} in {setting.id}: it is no number of 32 bits")
    if setting.kind == "binary" and value is not None and not re.fullmatch(r"([0-9a-fA-F]{2})*", str(value)):
        raise PolicyError("registry", f"{value!r} in {setting.id}: bytes in hexadecimal are wanted")
    for text in value if isinstance(value, tuple) else (value,):
        if not isinstance(text, str):
            continue
        if "\0" in text or any(0xD800 <= ord(char) < 0xE000 for char in text):
            raise PolicyError("registry", f"{text!r} in {setting.id}: it cannot hold such a text")
        if not text and isinstance(value, tuple):
            raise PolicyError("registry", f"an empty text in {setting.id}: it cannot hold that in a list")


def texts_of(data: bytes) -> tuple[str, ...] | None:
    """REG_MULTI_SZ as stored: texts that each end with a NUL, up to an empty one. None if it is no UTF-16."""
    whole = text_of_wide(data)
    # A stored value may lack one or both of the last NULs, and a first text may be empty (domain controllers have that).
    return None if whole is None else tuple(entry for entry in whole.split("\0") if entry)


def text_of_wide(data: bytes) -> str | None:
    """UTF-16 little endian, or None if it is not."""
    try:
        return data.decode("utf-16-le")
    except UnicodeDecodeError:
        return None


@dataclass(frozen=True, slots=True)
class _Unfit:
    reason: str


def _value_of(setting: Setting, value: RegistryValue) -> Value | _Unfit:
    wanted = TYPE_OF[setting.kind]
    if value.type != wanted:
        found = TYPE_NAMES.get(value.type or 0, f"type {value.type}")
        return _Unfit(f"its type is {found}, {TYPE_NAMES[wanted]} is wanted")
    if value.data is None:
        return _Unfit(f"its bytes are no {TYPE_NAMES[wanted]}")
    return value.data.hex() if isinstance(value.data, bytes) else value.data


def _under(key: str, *, deep: bool) -> list[tuple[Setting, int]]:
    return [it for (at, _), it in registry_settings().items() if at == key or (deep and at.startswith(key + "\\"))]


def _by_places(found: dict[tuple[str, int], Given], spoilt: set[tuple[str, int]]) -> tuple[dict[str, Given], list[str]]:
    """One answer for settings that have several places."""
    answers: dict[str, Given] = {}
    warnings = []
    for name in dict.fromkeys(name for name, _ in found):
        setting = settings()[name]
        told = {rank: found.get((name, rank)) for rank in range(len(setting.places))}
        for rank, given in told.items():
            if (name, rank) in spoilt:
                break  # what would govern is there, and unreadable
            if given is None or given.value is None:
                continue
            answers[name] = given
            overruled = [
                it for other, it in told.items() if other > rank and it and it.value not in (None, given.value)
            ]
            warnings += [f"{it.source}: {name}: {given.source} holds instead" for it in overruled]
            if rank and told[0] is None:
                warnings.append(f"{given.source}: {name}: holds only if there is no policy in {setting.places[0]}")
            break
        else:
            if all(given is not None for given in told.values()):
                answers[name] = next(given for given in told.values() if given is not None)
            else:
                untold = next(place for rank, place in enumerate(setting.places) if told[rank] is None)
                where = next(given.source for given in told.values() if given is not None)
                warnings.append(f"{where}: {name}: absent there, nothing is told of {untold}; left out, so unknown")
    return answers, warnings
