"""Names of addresses at a time, and which addresses were shared."""

from __future__ import annotations

import pandas as pd
import pytest

from analyzer import tables
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
    frame = pd.DataFrame(HOSTS, columns=["site", "ip", "valid_from", "valid_to", "name", "shared"])
    for name in ("valid_from", "valid_to"):
        frame[name] = pd.to_datetime(frame[name], utc=True).astype("datetime64[ns, UTC]")
    return TableSet({"hosts": tables.from_pandas("hosts", frame)})


def asked() -> pd.DataFrame:
    frame = pd.DataFrame(CASES, columns=["site", "client_ip", "last_seen", "expected"]).sample(frac=1, random_state=1)
    frame["last_seen"] = pd.to_datetime(frame["last_seen"], format="mixed", utc=True)
    return frame


def test_names(rows: TableSet) -> None:
    frame = asked()
    found = names_at(frame, "client_ip", "last_seen", rows)
    assert found.index.equals(frame.index)
    assert found.fillna("").tolist() == frame["expected"].fillna("").tolist()


def test_shared(rows: TableSet) -> None:
    frame = asked()
    found = is_shared(frame, "client_ip", rows)
    expected = [
        pair in {("", "10.0.0.3"), ("branch", "10.0.0.1")}
        for pair in frame[["site", "client_ip"]].itertuples(index=False, name=None)
    ]
    assert found.tolist() == expected


def test_no_hosts_and_nothing_asked(rows: TableSet) -> None:
    nothing = TableSet({"hosts": tables.empty("hosts")})
    assert names_at(asked(), "client_ip", "last_seen", nothing).isna().all()
    assert not is_shared(asked(), "client_ip", nothing).any()
    assert len(names_at(asked().iloc[:0], "client_ip", "last_seen", rows)) == 0
