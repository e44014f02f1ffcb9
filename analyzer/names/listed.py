"""The user's own list of hosts: CSV with address and name, or the format of a hosts file."""

from __future__ import annotations

import csv
from pathlib import Path

from analyzer.errors import UsageError
from analyzer.names.sightings import canonical

MAX_BYTES = 64 * 1024 * 1024
ADDRESS_TITLES = {"ip", "ipaddress", "ipv4address", "ipv6address", "address", "ipaddr", "addr"}
NAME_TITLES = {"name", "hostname", "host", "dnshostname", "computername", "fqdn", "client", "computer"}
BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}

Listed = dict[str, list[str]]
"""Names by address, the first the best."""


def read_list(path: str | Path) -> Listed:
    """The names that a file gives to addresses.

    Each line is of one of the two forms: `address,name` (or with semicolons), and further names behind it, or
    `address name alias ...`; `#` begins a comment. A first line of titles says which columns hold address and name;
    then tabs may part them as well.
    Raises UsageError with the line's number if a line is neither, or if the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as problem:
        raise UsageError(f"{path}: the list of hosts cannot be read: {problem.strerror or problem}") from problem
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path}: a list of hosts of more than {MAX_BYTES:,} bytes is not believable")
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
    found: Listed = {}
    columns: tuple[int, int] | None = None
    marks: tuple[str, ...] = (",", ";")
    for number, line in enumerate(data.decode(encoding, "replace").splitlines(), 1):
        bare = line.partition("#")[0].strip()
        if not bare:
            continue
        if not found and columns is None:
            # Only below titles does a tab part columns: in hosts files tabs and blanks are the same.
            columns = _titles(_fields(bare, (*marks, "\t")))
            if columns is not None:
                marks = (*marks, "\t")
                continue
        fields = _fields(bare, marks)
        ip, names = _entry(fields, columns)
        if ip is None or not names:
            raise UsageError(f"{path}, line {number}: neither `address,name` nor `address name ...`: {bare[:80]!r}")
        known = found.setdefault(ip, [])
        known += [name for name in names if name not in known]
    return found


def _fields(line: str, marks: tuple[str, ...]) -> list[str]:
    for mark in marks:
        if mark in line:
            return [field.strip() for field in next(csv.reader([line], delimiter=mark))]
    return line.split()


def _titles(fields: list[str]) -> tuple[int, int] | None:
    """Which columns hold address and name, if this is a line of titles."""
    bare = ["".join(char for char in field.lower() if char.isalnum()) for field in fields]
    address = next((place for place, title in enumerate(bare) if title in ADDRESS_TITLES), None)
    name = next((place for place, title in enumerate(bare) if title in NAME_TITLES), None)
    return None if address is None or name is None else (address, name)


def _entry(fields: list[str], columns: tuple[int, int] | None) -> tuple[str | None, list[str]]:
    if columns is None:
        return (canonical(fields[0]) if fields else None), [name for name in fields[1:] if name]
    address, name = columns
    if len(fields) <= max(columns):
        return None, []
    return canonical(fields[address]), [fields[name]] if fields[name] else []
