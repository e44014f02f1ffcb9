"""Names of addresses at a time, and which addresses were shared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analyzer import tables
from analyzer.groups import Numbers
from analyzer.summary.naming import is_shared, names_at
from analyzer.tables import TableSet

HOSTS = [
    # site, ip, valid_from, valid_to, name, shared
    ("", "10.0.0.1", "2024-01-01", "2024-01-02", "WS1", False),
    ("", "10.0.0.1", "2024-01-05", "2024-01-06", "WS9", False),
    ("", "10.0.0.2", None, None, "listed", False),
    ("", "10.0.0.3", "2024-01-01", "2024-01-09", None, True),
    ("branch", "10.0.0.1", "2024-01-01", "2024-01-02", "BR1", True),
]
CASES = [
    # site, ip, time, name
    ("", "10.0.0.1", "2024-01-01 12:00", "WS1"),
    ("", "10.0.0.1", "2024-01-03", "WS1"),  # after its last sighting, and before somebody else's first
    ("", "10.0.0.1", "2024-01-05", "WS9"),
    ("", "10.0.0.1", "2024-02-01", "WS9"),
    ("", "10.0.0.1", "2023-12-01", "WS1"),  # before any
    ("", "10.0.0.1", None, "WS1"),
    ("", "10.0.0.2", "2024-01-01", "listed"),
    ("", "10.0.0.3", "2024-01-01", None),
    ("", "10.0.0.4", "2024-01-01", None),
    ("branch", "10.0.0.1", "2024-01-05", "BR1"),
]


@pytest.fixture
def rows() -> TableSet:
    """The table of hosts above."""
    names = ("site", "ip", "valid_from", "valid_to", "name", "shared")
    columns = dict(zip(names, map(list, zip(*HOSTS, strict=True)), strict=True))
    for name in ("valid_from", "valid_to"):
        times = [0 if time is None else pd.Timestamp(time, tz="UTC").value for time in columns[name]]
        columns[name] = tables.times(np.array(times, dtype=np.int64))
    return TableSet({"hosts": tables.table("hosts", columns, len(HOSTS))})


Asked = tuple[Numbers, Numbers, Numbers]


def asked(rows: TableSet) -> Asked:
    """Site, address and time of the cases."""
    times = [-1 if time is None else pd.Timestamp(time, tz="UTC").value for _, _, time, _ in CASES]
    site, ip = ([rows.texts.code(case[place]) for case in CASES] for place in (0, 1))
    return np.array(site), np.array(ip), np.array(times)


def test_names(rows: TableSet) -> None:
    found = names_at(*asked(rows), rows)
    assert [rows.texts.text(code) for code in found.tolist()] == [name for *_, name in CASES]


def test_shared(rows: TableSet) -> None:
    site, ip, _ = asked(rows)
    expected = [case[:2] in {("", "10.0.0.3"), ("branch", "10.0.0.1")} for case in CASES]
    assert is_shared(site, ip, rows).tolist() == expected


def test_no_hosts_and_nothing_asked(rows: TableSet) -> None:
    nothing = TableSet({"hosts": tables.empty("hosts")})
    assert (names_at(*asked(nothing), nothing) < 0).all()
    assert not is_shared(*asked(nothing)[:2], nothing).any()
    none = np.empty(0, dtype=np.int64)
    assert len(names_at(none, none, none, rows)) == 0
