"""How much was seen: tables made by hand, so that each number is known."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from analyzer import UsageError, knowledge, tables
from analyzer.summary import observation
from analyzer.summary.observation import Minimum
from analyzer.summary.rhythm import zone_of

DAY, HOUR = 86_400, 3_600
BEGIN = 1_767_225_600
"""2026-01-01 00:00 UTC, a Thursday."""


def at(seconds: float) -> int:
    return int((BEGIN + seconds) * 1e9)


def made(name: str, rows: list[dict[str, Any]]) -> Any:
    columns = {column: [row.get(column) for row in rows] for column in {key for row in rows for key in row}}
    return tables.table(name, columns, len(rows))


def site(
    *,
    captures: list[tuple[float, float]],
    connections: list[dict[str, Any]] = (),  # type: ignore[assignment]  # never changed
    sessions: list[dict[str, Any]] = (),  # type: ignore[assignment]
    dependencies: list[dict[str, Any]] = (),  # type: ignore[assignment]
) -> tables.TableSet:
    """A network with servers 10.0.0.1 and 10.0.0.2 as asked for; times in seconds from BEGIN."""
    found = {name: tables.empty(name) for name in tables.TABLES}
    found["captures"] = made(
        "captures",
        [
            {
                "capture_no": number,
                "capture": f"{number}.pcap",
                "site": "",
                "first_seen": at(begin),
                "last_seen": at(end),
            }
            for number, (begin, end) in enumerate(captures)
        ],
    )
    defaults = {
        "site": "",
        "client_ip": "10.0.0.9",
        "server_ip": "10.0.0.1",
        "first_seen": at(0),
        "last_seen": at(HOUR),
        "client_bytes": 100,
        "server_bytes": 900,
        "missing_bytes": 0,
        "directions": "both",
    }
    found["connections"] = made(
        "connections", [{"connection_id": number, **defaults, **row} for number, row in enumerate(connections)]
    )
    of_session = {"site": "", "client_ip": "10.0.0.9", "server_ip": "10.0.0.1", "started": at(0), "identity": "user"}
    found["sessions"] = made(
        "sessions", [{"session_key": number, **of_session, **row} for number, row in enumerate(sessions)]
    )
    of_row = {"site": "", "client_ip": "10.0.0.9", "server_ip": "10.0.0.1", "verdict": "depends", "excluded": False}
    found["dependencies"] = made("dependencies", [{**of_row, **row} for row in dependencies])
    return tables.TableSet(found)


def observed(rows: tables.TableSet, minimum: Minimum | None = None) -> pd.DataFrame:
    return tables.to_pandas("observation", observation.observation(rows, minimum or Minimum()))


def test_time_without_a_capture_is_not_time_observed() -> None:
    """Two files a week apart: two days were captured, not nine."""
    found = observed(site(captures=[(0, DAY), (8 * DAY, 9 * DAY)]))
    assert found["hours_captured"].tolist() == [48]
    assert found["enough"].tolist() == [False]
    assert found["lacks"].tolist() == ["captured for 2.0 days, wanted are 7"]


def test_files_that_overlap_count_once() -> None:
    assert observed(site(captures=[(0, 2 * DAY), (DAY, 3 * DAY), (0, HOUR)]))["hours_captured"].tolist() == [72]


def test_each_server_is_measured_by_itself() -> None:
    rows = site(
        captures=[(0, 10 * DAY)],
        connections=[{}, {"missing_bytes": 1000}, {"server_ip": "10.0.0.2", "directions": "client"}],
        sessions=[{}, {"identity": "unknown"}, {"server_ip": "10.0.0.2", "started": at(5 * HOUR)}],
    )
    found = observed(rows).set_index("server_ip")
    assert found.loc["10.0.0.1", ["connections", "sessions", "sessions_unknown", "payload_bytes", "missing_bytes"]].tolist() == [
        2, 2, 1, 2000, 1000,
    ]  # fmt: skip
    assert found.loc["10.0.0.1", "lacks"] == (
        "33.3 % of the payload is missing, at most 1 % may be; 50 % of the sessions are unknown, at most 10 % may be"
    )
    assert found.loc["10.0.0.2", "lacks"] == "only one direction was captured"
    everything = observed(rows).iloc[0]
    assert pd.isna(everything["server_ip"])
    assert (everything["connections"], everything["sessions"], everything["hours_with_sessions"]) == (3, 3, 2)


def test_a_server_that_was_seen_enough() -> None:
    found = observed(site(captures=[(0, 8 * DAY)], connections=[{}], sessions=[{}])).set_index("server_ip")
    assert found.loc["10.0.0.1", "enough"]
    assert pd.isna(found.loc["10.0.0.1", "lacks"])


def test_the_minimum_is_the_administrators() -> None:
    rows = site(captures=[(0, 8 * DAY)], connections=[{"missing_bytes": 20}], sessions=[{}])
    assert not observed(rows, Minimum.of_text("days=9")).iloc[0]["enough"]
    assert not observed(rows).iloc[1]["enough"]
    assert observed(rows, Minimum.of_text("lost=2, days=8")).iloc[1]["enough"]


@pytest.mark.parametrize("text", ["days", "days=", "days=-1", "days=nan", "days=inf", "weeks=2", "days=1;lost=2", "=3"])
def test_a_minimum_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="minimum"):
        Minimum.of_text(text)


def test_a_minimum_is_spelt_as_it_is_read() -> None:
    assert Minimum.of_text(str(Minimum(days=14, lost_percent=0.5, unknown_percent=0))) == Minimum(14, 0.5, 0)
    assert Minimum.of_text("") == Minimum()


def discovered(rows: tables.TableSet, zone: str = "UTC") -> list[list[Any]]:
    found = tables.to_pandas("discovery", observation.discovery(rows, zone_of(zone)))
    return found.drop(columns="site").to_numpy().tolist()


def test_dependents_by_the_day_on_which_they_were_first_seen() -> None:
    rows = site(
        captures=[(0, 2 * DAY), (5 * DAY, 5 * DAY + HOUR)],
        dependencies=[
            {"first_seen": at(HOUR)},
            {"first_seen": at(DAY + HOUR)},
            {"first_seen": at(2 * HOUR), "client_ip": "10.0.0.8", "verdict": "unknown"},
            {"first_seen": at(5 * DAY), "client_ip": "10.0.0.7", "verdict": "covered"},
            {"first_seen": at(HOUR), "client_ip": "10.0.0.6", "verdict": "denied"},
            {"first_seen": at(HOUR), "client_ip": "10.0.0.5", "excluded": True},
        ],
    )
    assert discovered(rows) == [
        ["2026-01-01", 2, 2, 2, 2],
        ["2026-01-02", 1, 0, 3, 2],
        ["2026-01-03", 0, 0, 3, 2],
        ["2026-01-06", 1, 1, 4, 3],
    ]


def test_days_are_those_of_the_time_zone() -> None:
    rows = site(captures=[(0, 60)], dependencies=[{"first_seen": at(0)}])
    assert [row[0] for row in discovered(rows, "America/New_York")] == ["2025-12-31"]


def test_a_file_whose_clock_was_wrong_does_not_name_every_day_since() -> None:
    rows = site(captures=[(-BEGIN, 10 * DAY)], dependencies=[{"first_seen": at(DAY)}])
    assert [row[0] for row in discovered(rows)][-2:] == ["2026-01-02", "2026-01-11"]
    assert len(discovered(rows)) <= 3


def rare(rows: tables.TableSet) -> pd.DataFrame:
    return tables.to_pandas("rare_uses", observation.rare_uses(rows)).set_index("use")


def test_what_comes_once_a_month_could_not_be_seen_in_a_week() -> None:
    found = rare(site(captures=[(0, 7 * DAY)]))
    assert len(found) == len(knowledge.rows("rare_uses"))
    assert found.loc["machine account password change", "state"] == "could_not_be_seen"
    assert found.loc["licence logging", "state"] == "not_seen"
    assert found.loc["failover to another domain controller", "state"] == "could_not_be_seen"  # when something happens


def test_what_was_seen_is_seen_however_short_the_capture() -> None:
    row = {"resource": "netlogon", "interface": "netlogon", "operation": "NetrServerPasswordSet2"}
    found = rare(site(captures=[(0, HOUR)], dependencies=[row, row | {"operation": "NetrServerReqChallenge"}]))
    assert found.loc["machine account password change", ["state", "rows"]].tolist() == ["seen", 1]


def test_a_role_is_seen_by_its_pipes_and_shares() -> None:
    rows = site(captures=[(0, HOUR)])
    assert not rare(rows).loc["machine account password change", "role_seen"]
    assert rare(rows).loc["work at the end of a month", "role_seen"]  # any server may be a file server


def test_nothing_captured_gives_no_rows() -> None:
    rows = tables.TableSet({name: tables.empty(name) for name in tables.TABLES})
    assert len(observation.observation(rows, Minimum())) == 0
    assert len(observation.discovery(rows, zone_of("UTC"))) == 0
    assert len(observation.rare_uses(rows)) == 0
