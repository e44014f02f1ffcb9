"""`registry.pol`, what a group policy says of the registry. [MS-GPREG] 2.2.1

    PReg header [key;value;type;size;data] [key;value;type;size;data] ...

in UTF-16 little endian, but for the numbers and the data. The keys of a machine's policy are below `HKLM`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from analyzer.errors import PolicyError
from analyzer.policy.registry import (
    EVERY,
    REG_DWORD,
    REG_EXPAND_SZ,
    REG_MULTI_SZ,
    REG_SZ,
    RegistryValue,
    given_by_registry,
    text_of_wide,
    texts_of,
)
from analyzer.policy.settings import Policy

SIGNATURE = b"PReg"
VERSION = 1
MOST_CHARACTERS = 16_384
"""Of a key or a name; the registry allows 255 for a key and 16,383 for the name of a value."""
_DELETE, _DELETE_VALUES, _DELETE_ALL = "**del.", "**deletevalues", "**delvals"
_SOFT = "**soft."


def read_pol(data: bytes, file: str) -> Policy:
    """The policy in a registry.pol, taken as the machine's part of a group policy."""
    if len(data) < 8 or data[:4] != SIGNATURE:
        raise PolicyError(file, "no registry.pol: it does not begin with PReg")
    (version,) = struct.unpack_from("<I", data, 4)
    if version != VERSION:
        raise PolicyError(file, f"version {version} of registry.pol is not known", "byte 4")
    warnings: list[str] = []
    found, more = given_by_registry(_values(data, file, warnings), file)
    return Policy(family="windows", settings=found, warnings=(*warnings, *more))


def _values(data: bytes, file: str, warnings: list[str]) -> Iterator[RegistryValue]:
    at = 8
    while at < len(data):
        place = f"byte {at:,}"
        at = _expect(data, at, "[", file)
        key, at = _text(data, at, file)
        at = _expect(data, at, ";", file)
        name, at = _text(data, at, file)
        at = _expect(data, at, ";", file)
        type_, at = _number(data, at, file)
        at = _expect(data, at, ";", file)
        size, at = _number(data, at, file)
        at = _expect(data, at, ";", file)
        if size > len(data) - at:
            raise PolicyError(file, "cut off within the data of a value", f"byte {at:,}")
        stored = data[at : at + size]
        at = _expect(data, at + size, "]", file)
        yield from _entry(f"HKLM\\{key}", name, type_, stored, place, file, warnings)


def _entry(
    key: str, name: str, type_: int, stored: bytes, place: str, file: str, warnings: list[str]
) -> Iterator[RegistryValue]:
    """[MS-GPREG] 3.2.5.1: names that begin with two stars are orders, not values."""
    lower = name.lower()
    if lower.startswith(_DELETE):
        yield RegistryValue(key, name[len(_DELETE) :], None, None, place)
    elif lower.startswith(_DELETE_VALUES):
        for each in (text_of_wide(stored) or "").rstrip("\0").split(";"):
            yield RegistryValue(key, each.strip(), None, None, place)
    elif lower.startswith(_DELETE_ALL):
        yield RegistryValue(key, EVERY, None, None, place)
    elif lower.startswith(_SOFT):
        # Set only if there is no value yet: what is there then is not known here.
        warnings.append(f"{file}, {place}: {name}: holds only where nothing was set before; left out, so unknown")
    elif lower.startswith("**"):
        warnings.append(f"{file}, {place}: {name}: not an order about values that is known here; left out")
    elif name:
        yield RegistryValue(key, name, type_, _data(type_, stored), place)


def _data(type_: int, stored: bytes) -> int | str | tuple[str, ...] | bytes | None:
    if type_ == REG_DWORD:
        return int.from_bytes(stored, "little") if len(stored) == 4 else None
    if type_ == REG_MULTI_SZ:
        return texts_of(stored)
    if type_ in (REG_SZ, REG_EXPAND_SZ):
        text = text_of_wide(stored)
        return None if text is None else text.split("\0")[0]
    return stored


def _expect(data: bytes, at: int, char: str, file: str) -> int:
    if data[at : at + 2] != char.encode("utf-16-le"):
        reason = "cut off" if at + 2 > len(data) else f"{char!r} is wanted here"
        raise PolicyError(file, f"no valid registry.pol: {reason}", f"byte {at:,}")
    return at + 2


def _text(data: bytes, at: int, file: str) -> tuple[str, int]:
    end = at
    limit = min(len(data), at + 2 * MOST_CHARACTERS)
    while end + 2 <= limit and data[end : end + 2] != b"\0\0":
        end += 2
    if end + 2 > limit:
        raise PolicyError(file, "no valid registry.pol: a text does not end", f"byte {at:,}")
    text = text_of_wide(data[at:end])
    if text is None:
        raise PolicyError(file, "no valid registry.pol: a text is no UTF-16", f"byte {at:,}")
    return text, end + 2


def _number(data: bytes, at: int, file: str) -> tuple[int, int]:
    if at + 4 > len(data):
        raise PolicyError(file, "no valid registry.pol: cut off", f"byte {at:,}")
    return int.from_bytes(data[at : at + 4], "little"), at + 4
