"""Registry exports (`.reg`), read and written.

Version 5.00 is UTF-16, with UTF-16 in its hexadecimal data; version 4 (`REGEDIT4`) is in some ANSI code page, its data too.
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
    text_of_wide,
    texts_of,
    values_of,
)
from analyzer.policy.settings import Given, Policy, setting_of
from analyzer.policy.texts import ANSI, comment_lines

HEADERS = {"Windows Registry Editor Version 5.00": 5, "REGEDIT4": 4}
_LINE = re.compile(r'(?:@|"(?P<name>(?:[^"\\]|\\.)*)")\s*=\s*(?P<data>.*)', re.DOTALL)
_TEXT = re.compile(r'"(?P<text>(?:[^"\\]|\\.)*)"\s*(;.*)?', re.DOTALL)
_HEX = re.compile(r"hex(?:\((?P<type>[0-9a-f]{1,8})\))?:(?P<bytes>[0-9a-f,\s]*)(;.*)?", re.IGNORECASE)
_DWORD = re.compile(r"dword:(?P<number>[0-9a-f]{1,8})\s*(;.*)?", re.IGNORECASE)
_HEX_PER_LINE = 25


def version_of(text: str) -> int | None:
    """4 or 5; None if it is no registry export."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return HEADERS.get(first)


def read_reg(text: str, file: str) -> Policy:
    """The policy in a registry export. What deletes a value or a key says that it is absent."""
    version = version_of(text)
    if version is None:
        raise PolicyError(file, "no registry export: the first line must be one of " + " or ".join(HEADERS), "line 1")
    warnings: list[str] = []
    found, more = given_by_registry(_values(text, version, file, warnings), file)
    return Policy(family="windows", settings=found, warnings=(*warnings, *more))


def write_reg(settings: Mapping[str, Given], comment: str = "") -> bytes:
    """A registry export of version 5.00: UTF-16 with its mark, lines as Windows ends them. Absent values are deleted.

    Only settings that live in the registry are written (see `in_reg`).
    """
    lines = ["Windows Registry Editor Version 5.00", ""]
    lines += comment_lines(comment, ";") + [""] * bool(comment)
    keys: dict[str, list[RegistryValue]] = {}
    for name, given in settings.items():
        setting = setting_of(name)
        if setting.kind in TYPE_OF:
            for value in values_of(setting, given.value):
                keys.setdefault(value.key, []).append(value)
    for key, values in keys.items():
        lines.append(f"[{key.replace('HKLM', 'HKEY_LOCAL_MACHINE', 1)}]")
        lines += [f"{_quoted(value.name)}={_written(value)}" for value in values]
        lines.append("")
    return b"\xff\xfe" + "\r\n".join([*lines, ""]).encode("utf-16-le")


def in_reg(name: str) -> bool:
    """Whether a registry export can carry the setting."""
    return setting_of(name).kind in TYPE_OF


def _values(text: str, version: int, file: str, warnings: list[str]) -> Iterator[RegistryValue]:
    key = None
    for number, line in _logical_lines(text):
        place = f"line {number}"
        if line.startswith("["):
            if not line.endswith("]"):
                warnings.append(f"{file}, {place}: no key of the registry; what follows is left out")
                key = None
                continue
            key = line[1:-1]
            if key.startswith("-"):
                yield RegistryValue(key[1:], "", None, None, place)
                key = None
            continue
        match = _LINE.fullmatch(line)
        if match is None or key is None:
            warnings.append(f"{file}, {place}: no value of the registry; left out")
            continue
        name = re.sub(r"\\(.)", r"\1", match["name"] or "", flags=re.DOTALL)
        yield _value(key, name, match["data"].strip(), version, place)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; hexadecimal data that goes on after a `\\`, and texts with line ends in them, are joined."""
    lines = enumerate(text.split("\n"), 1)
    next(line for _, line in lines if line.strip())  # the header
    for number, raw in lines:
        line = raw.strip()
        if not line or line.startswith(";"):
            continue
        if re.match(r'(?:@|"(?:[^"\\]|\\.)*")\s*=\s*hex', line, re.IGNORECASE):
            parts = [line]
            while parts[-1].endswith("\\"):
                parts[-1] = parts[-1][:-1]
                parts.append(next(lines, (0, ""))[1].strip())
            line = "".join(parts)
        elif re.fullmatch(r'(?:@|"(?:[^"\\]|\\.)*")\s*=\s*"(?:[^"\\]|\\.)*', line):
            parts = [raw.lstrip()]
            for _, more in lines:
                parts.append(more)
                if re.match(r'(?:[^"\\]|\\.)*"', more):
                    break
            line = "\n".join(parts).rstrip()
        yield number, line


def _value(key: str, name: str, data: str, version: int, place: str) -> RegistryValue:
    if data == "-" or re.fullmatch(r"-\s*;.*", data):
        return RegistryValue(key, name, None, None, place)
    if match := _TEXT.fullmatch(data):
        return RegistryValue(key, name, REG_SZ, re.sub(r"\\(.)", r"\1", match["text"], flags=re.DOTALL), place)
    if match := _DWORD.fullmatch(data):
        return RegistryValue(key, name, REG_DWORD, int(match["number"], 16), place)
    if match := _HEX.fullmatch(data):
        type_ = int(match["type"], 16) if match["type"] else REG_BINARY
        return RegistryValue(key, name, type_, _data(type_, match["bytes"], version), place)
    return RegistryValue(key, name, -1, None, place)


def _data(type_: int, written: str, version: int) -> int | str | tuple[str, ...] | bytes | None:
    entries = [entry.strip() for entry in written.split(",") if entry.strip()]
    if any(len(entry) > 2 for entry in entries):
        return None
    data = bytes(int(entry, 16) for entry in entries)
    if type_ == REG_DWORD:
        return int.from_bytes(data, "little") if len(data) == 4 else None
    if type_ in (REG_SZ, REG_EXPAND_SZ, REG_MULTI_SZ):
        if version == 4:
            data = data.decode(ANSI, errors="replace").encode("utf-16-le")
        if type_ == REG_MULTI_SZ:
            return texts_of(data)
        text = text_of_wide(data)
        return None if text is None else text.split("\0")[0]
    return data


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _written(value: RegistryValue) -> str:
    data = value.data
    if value.type is None:
        return "-"
    if isinstance(data, int):
        return f"dword:{data:08x}"
    if isinstance(data, bytes):
        return _hex("hex:", data)
    if isinstance(data, tuple):
        return _hex("hex(7):", "".join(f"{entry}\0" for entry in data).encode("utf-16-le") + b"\0\0")
    text = str(data)
    # A text with a line end or another control character is not written between quotes.
    return _quoted(text) if text.isprintable() else _hex("hex(1):", f"{text}\0".encode("utf-16-le"))


def _hex(kind: str, data: bytes) -> str:
    """As the registry editor writes it: bytes with commas, lines that go on end with a `\\`."""
    rows = [data[at : at + _HEX_PER_LINE] for at in range(0, len(data), _HEX_PER_LINE)]
    return kind + ",\\\r\n  ".join(",".join(f"{byte:02x}" for byte in row) for row in rows)
