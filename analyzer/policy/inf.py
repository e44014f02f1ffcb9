"""Security templates (`secedit /export`, `GptTmpl.inf`), read and written. [MS-GPSB] 2.2

Multi-strings are written as secedit does it: entries separated by commas, and a comma inside an entry as `","`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from analyzer.errors import PolicyError
from analyzer.policy.registry import (
    REG_BINARY,
    REG_DWORD,
    REG_EXPAND_SZ,
    REG_MULTI_SZ,
    REG_SZ,
    TYPE_OF,
    RegistryValue,
    given_by_registry,
    unknown_names,
    values_of,
)
from analyzer.policy.settings import Given, Policy, Setting, Value, setting_of, settings
from analyzer.policy.texts import comment_lines

REGISTRY = "registry values"
SECTIONS = frozenset({"unicode", "version", "system access", REGISTRY, "privilege rights", "group membership"})
"""Sections by which a template is recognised."""
_LOG = re.compile(r"(application|security|system) log")
_ENTRY = re.compile(r'(?P<key>"[^"]*"|[^="]+?)\s*=\s*(?P<data>.*)')
_HEADER = ["[Unicode]", "Unicode=yes", "[Version]", 'signature="$CHICAGO$"', "Revision=1"]
CAVEAT = "a template tells what one policy or the local database says; what holds may come from another policy"


def sections_in(text: str) -> frozenset[str]:
    """Names of the sections, in small letters."""
    return frozenset(match.lower() for match in re.findall(r"^\s*\[([^\]\n]+)\]\s*$", text, re.MULTILINE))


def is_template(text: str) -> bool:
    """Whether it looks like a security template: it has a section that only these have, or their signature."""
    return bool(sections_in(text) & (SECTIONS - {"version"})) or "$chicago$" in text.lower()


def read_inf(text: str, file: str) -> Policy:
    """The policy in a security template. What stands twice with different values is left out."""
    warnings = [f"{file}: {CAVEAT}"]
    found: dict[str, Given] = {}
    contradicted: set[str] = set()
    registry: list[RegistryValue] = []
    unknown: list[str] = []
    for section, key, data, number in _entries(text, file, warnings):
        place = f"line {number}"
        if section == REGISTRY:
            registry.append(_registry_value(key, data, place))
            continue
        setting = _setting_in(section, key)
        if setting is None:
            unknown.append(key)
            continue
        value = _value(setting, data)
        if value is None:
            warnings.append(f"{file}, {place}: {setting.id}: no number; left out, so unknown")
            contradicted.add(setting.id)
            continue
        earlier = found.get(setting.id)
        if earlier is not None and earlier.value != value:
            warnings.append(f"{file}, {place}: {setting.id}: contradicts {earlier.source}; left out, so unknown")
            contradicted.add(setting.id)
        found[setting.id] = Given(value, f"{file}, {place}")
    in_registry, more = given_by_registry(registry, file, last_wins=False)
    for name, given in in_registry.items():
        earlier = found.get(name)
        if earlier is not None and earlier.value != given.value:
            warnings.append(f"{given.source}: {name}: contradicts {earlier.source}; left out, so unknown")
            contradicted.add(name)
        found.setdefault(name, given)
    return Policy(
        family="windows",
        settings={name: given for name, given in found.items() if name not in contradicted},
        warnings=(*warnings, *more, *unknown_names(unknown, file)),
    )


def in_inf(name: str) -> bool:
    """Whether a security template can carry the setting: those of administrative templates it cannot."""
    return setting_of(name).inf_line != "-"


def write_inf(settings: Mapping[str, Given], comment: str = "") -> bytes:
    """A security template: UTF-16 with its mark, lines as Windows ends them.

    A template cannot say that a value is absent; such settings raise PolicyError, as do those that `in_inf` denies and
    texts that a template cannot carry.
    """
    lines: dict[str, list[str]] = {}
    for name, given in settings.items():
        setting = setting_of(name)
        if not in_inf(name):
            raise PolicyError("security template", f"{name} cannot be set by one")
        if given.value is None:
            raise PolicyError("security template", f"{name} is absent, which it cannot say")
        section, line = _line(setting, given.value)
        lines.setdefault(section, []).append(line)
    text = [*_HEADER[:2]]
    for section, entries in lines.items():
        text += [f"[{section}]", *entries]
    text += _HEADER[2:]
    text[:0] = comment_lines(comment, ";")
    return b"\xff\xfe" + "\r\n".join([*text, ""]).encode("utf-16-le")


def _entries(text: str, file: str, warnings: list[str]) -> Iterator[tuple[str, str, str, int]]:
    """(section, key, data, line) of the sections that may hold settings."""
    section = ""
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if not line or line.startswith(";"):
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip().lower()
        elif section in SECTIONS - {"unicode", "version"} or _LOG.fullmatch(section):
            if match := _ENTRY.fullmatch(line):
                yield section, match["key"].strip('"').strip(), match["data"], number
            else:
                warnings.append(f"{file}, line {number}: no entry of a security template; left out")


def _setting_in(section: str, key: str) -> Setting | None:
    if log := _LOG.fullmatch(section):
        return settings().get(f"RestrictGuestAccess_{log[1]}") if key.lower() == "restrictguestaccess" else None
    for setting in settings().values():
        if setting.places[0].lower() == f"[{section}]" and setting.value_name.lower() == key.lower():
            return setting
    return None


def _value(setting: Setting, data: str) -> Value | None:
    if setting.kind in ("right", "members"):
        return tuple(entry for entry in (part.strip().strip('"') for part in data.split(",")) if entry)
    return int(data) if re.fullmatch(r"\d{1,9}", data.strip()) else None


def _registry_value(key: str, data: str, place: str) -> RegistryValue:
    path, _, name = key.rpartition("\\")
    type_, comma, written = data.partition(",")
    if not comma or not re.fullmatch(r"\d{1,4}", type_.strip()):
        return RegistryValue(path, name, -1, None, place)
    return RegistryValue(path, name, int(type_), _data(int(type_), written), place)


def _data(type_: int, written: str) -> int | str | tuple[str, ...] | bytes | None:
    if type_ == REG_DWORD:
        number = written.strip().strip('"')
        return int(number) if re.fullmatch(r"\d{1,10}", number) and int(number) < 1 << 32 else None
    if type_ in (REG_SZ, REG_EXPAND_SZ):
        text = written.strip()
        return text[1:-1] if len(text) >= 2 and text[0] == text[-1] == '"' else text
    if type_ == REG_MULTI_SZ:
        return tuple(entry for entry in _split(written) if entry)
    if type_ == REG_BINARY:
        entries = [entry.strip() for entry in written.split(",") if entry.strip()]
        return (
            bytes(map(int, entries)) if all(re.fullmatch(r"\d{1,3}", it) and int(it) < 256 for it in entries) else None
        )
    return None


def _split(written: str) -> list[str]:
    """Entries between commas. What stands between quotes belongs to its entry, commas too; the quotes do not."""
    entries, quoted = [""], False
    for char in written:
        if char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            entries.append("")
        else:
            entries[-1] += char
    return [entry.strip() for entry in entries]


def _line(setting: Setting, value: Value) -> tuple[str, str]:
    """(section, line)."""
    if setting.kind in TYPE_OF and setting.inf_line.startswith("["):  # the logs of events
        return setting.inf_line.partition("]")[0][1:], f"{setting.value_name} = {value}"
    if setting.kind in TYPE_OF:
        (stored,) = values_of(setting, value)
        path = setting.inf_line.partition("=")[0]
        return "Registry Values", f"{path}={stored.type},{_written(setting, stored.data)}"
    section = setting.places[0][1:-1]
    if isinstance(value, tuple):
        for entry in value:
            _carried(setting, entry, ',"')
        return section, f"{setting.value_name} = {','.join(value)}"
    return section, f"{setting.value_name} = {value}"


def _written(setting: Setting, data: int | str | tuple[str, ...] | bytes | None) -> str:
    if isinstance(data, tuple):
        for entry in data:
            _carried(setting, entry, '"')
        return ",".join(entry.replace(",", '","') for entry in data)
    if isinstance(data, bytes):
        return ",".join(map(str, data))
    if isinstance(data, str):
        _carried(setting, data, '"')
        return f'"{data}"'
    return str(data)


def _carried(setting: Setting, text: str, never: str) -> None:
    """Raises PolicyError for a text that would be read back as another one."""
    if not text and setting.kind != "sz":
        raise PolicyError("security template", f"an empty text in {setting.id}: it cannot carry that")
    if text != text.strip() or not text.isprintable() or any(char in text for char in never):
        raise PolicyError("security template", f"{text!r} in {setting.id}: it cannot carry such a text")
