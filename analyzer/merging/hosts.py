"""What several results say of addresses, as one table of hosts.

Rows that follow each other and are of one machine are one row. Where two results have different machines at the same time,
several were behind the address, or it was two networks': it is `shared`, so that nothing is proven by what one of them did.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import pyarrow as pa

from analyzer import tables
from analyzer.hosts import CHANGES_WITH_HOST, SOURCES
from analyzer.merging.stack import Stack

Row = dict[str, Any]


def joined(stack: Stack) -> pa.Table:
    """The table `hosts`: by site, address and time."""
    origins = stack.origin["hosts"].tolist()
    found = stack.tables["hosts"]
    columns = {name: found[name].to_pylist() for name in found.column_names if name not in ("valid_from", "valid_to")}
    columns |= {name: found[name].cast(pa.int64()).to_pylist() for name in ("valid_from", "valid_to")}
    by_address: dict[tuple[str, str], list[Row]] = {}
    for origin, *values in zip(origins, *columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True)) | {"origin": origin}
        by_address.setdefault((row["site"], row["ip"]), []).append(row)
    made: list[Row] = []
    for place in sorted(by_address, key=_in_order):
        rows = by_address[place]
        different = [row for at, row in enumerate(rows) if not any(_is_same(row, other) for other in rows[:at])]
        made += different if len({row["origin"] for row in different}) == 1 else _of_address(different)
    return tables.table(
        "hosts", {name: _array(name, [row[name] for row in made]) for name in found.column_names}, len(made)
    )


def _is_same(one: Row, other: Row) -> bool:
    return all(one[name] == other[name] for name in one if name != "origin")


def _in_order(place: tuple[str, str]) -> tuple[str, int, int, str]:
    """IPv4 before IPv6, and by number; what is no address comes last: results may be damaged."""
    site, ip = place
    try:
        address = ipaddress.ip_address(ip or "")
    except ValueError:
        return site or "", 99, 0, ip or ""
    return site or "", address.version, int(address), ""


def _of_address(rows: list[Row]) -> list[Row]:
    """The rows of an address in order of time, where several results have some."""
    rows = sorted(rows, key=lambda row: (row["valid_from"] or 0, row["valid_to"] or 0, row["origin"]))
    made: list[Row] = []
    for row in rows:
        if made and _is_one_machine(made[-1], row):
            made[-1] = _both(made[-1], row)
        elif made and _overlap(made[-1], row) and made[-1]["origin"] != row["origin"]:
            made[-1:] = [made[-1] | {"shared": True}, row | {"shared": True}]
        else:
            made.append(row)
    return made


def _is_one_machine(one: Row, other: Row) -> bool:
    """True if nothing speaks against it: another hardware address, or another name that machines give themselves."""
    macs = {row["mac"] for row in (one, other)}
    if None not in macs and len(macs) > 1:
        return False
    if one["name"] is None or other["name"] is None or _names(one) & _names(other):
        return True
    own = all(row["name_source"] in CHANGES_WITH_HOST for row in (one, other))
    return None not in macs and not own


def _names(row: Row) -> set[str]:
    """All names of a row, each up to its first dot: what one source calls FILES1 another calls files1.corp.example."""
    names = [row["name"], *(row["other_names"] or "").split("|")]
    return {name.partition(".")[0].casefold() for name in names if name}


def _overlap(one: Row, other: Row) -> bool:
    return bool(one["valid_to"] is None or other["valid_from"] is None or other["valid_from"] <= one["valid_to"])


def _both(one: Row, other: Row) -> Row:
    """Two rows that are of one machine, as one, under the name of the better source."""
    named, further = sorted((one, other), key=_rank)
    others = {name for row in (named, further) for name in (row["other_names"] or "").split("|") if name}
    others |= {further["name"]} - {None}
    hints = {hint for row in (named, further) for hint in (row["os_hint"] or "").split("; ") if hint}
    begins = [row["valid_from"] for row in (one, other) if row["valid_from"] is not None]
    ends = [row["valid_to"] for row in (one, other) if row["valid_to"] is not None]
    kept = sorted(others - {named["name"]})
    said = named["other_names"] is not None or further["other_names"] is not None
    return named | {
        "valid_from": min(begins, default=None),
        "valid_to": max(ends, default=None),
        "other_names": "|".join(kept) if said or kept else None,
        "os_hint": "; ".join(sorted(hints)) if hints else None,
        "mac": named["mac"] if named["mac"] is not None else further["mac"],
        "shared": one["shared"] or other["shared"],
    }


def _rank(row: Row) -> tuple[int, str]:
    """The better source first; the name decides between equal ones, whichever result is looked at first."""
    source = row["name_source"]
    known = row["name"] is not None and source in SOURCES
    return SOURCES.index(source) if known else len(SOURCES), row["name"] or ""


def _array(name: str, values: list[Any]) -> Any:
    if name in ("valid_from", "valid_to"):
        return pa.array(values, type=pa.int64()).cast(tables.ARROW[tables.TIME])
    return values
