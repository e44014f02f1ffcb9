"""What stands at the head of the page: counts of the rows that count, by verdict, resource and server."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analyzer import tables
from analyzer.analysis import Analysis
from analyzer.report.html import overview
from analyzer.report.html.overview import Counted, Used

Row = tuple[str, str, str, str, bool]
ROWS: tuple[Row, ...] = (
    # verdict, client, server, resource, excluded
    ("depends", "10.0.0.1", "10.0.0.9", "samr", False),
    ("depends", "10.0.0.1", "10.0.0.9", "lsarpc", False),
    ("depends", "10.0.0.2", "10.0.0.9", "samr", False),
    ("unknown", "10.0.0.3", "10.0.0.8", "srvsvc", False),
    ("covered", "10.0.0.1", "10.0.0.7", "spoolss", False),
    ("denied", "10.0.0.4", "10.0.0.6", "netlogon", False),
    ("denied", "10.0.0.5", "10.0.0.6", "netlogon", False),
    ("probe", "10.0.0.5", "10.0.0.6", "IPC$", False),
    ("depends", "10.0.0.66", "10.0.0.6", "samr", True),
)


def counted(
    rows: tuple[Row, ...] = ROWS, sites: list[str] | None = None, lacks: dict[str, str] | None = None, **more: Any
) -> Counted:
    """sites: of each row. lacks: what servers lack to have been observed enough."""
    verdict, client, server, resource, excluded = (list(column) for column in zip(*rows, strict=True))
    found = {name: tables.empty(name) for name in (*tables.ROWS, "servers", "coverage")}
    columns = {
        "site": tables.listed(sites or [""] * len(rows)),
        "client_ip": tables.listed(client),
        "server_ip": tables.listed(server),
        "resource": tables.listed(resource),
        "verdict": tables.named_categories(verdict, tables.VERDICT),
        "excluded": tables.bools(np.array(excluded)),
        "uses": tables.ints(np.full(len(rows), 5)),
        "last_seen": tables.times(np.full(len(rows), 1_700_000_000 * 10**9)),
    }
    found["dependencies"] = tables.table("dependencies", columns | more, len(rows))
    seen = lacks or {}
    found["observation"] = tables.table(
        "observation",
        {
            "site": tables.listed([""] * (len(seen) + 1)),
            "server_ip": tables.listed([None, *seen]),
            "lacks": tables.listed([None, *[lack or None for lack in seen.values()]]),
        },
        len(seen) + 1,
    )
    return Counted(Analysis(found, {}, {}))


def test_verdicts_count_rows_and_clients() -> None:
    found = {verdict.name: (verdict.rows, verdict.clients) for verdict in counted().verdicts()}
    assert found == {"depends": (3, 2), "unknown": (1, 1), "covered": (1, 1), "denied": (2, 2), "probe": (1, 1)}


def test_one_address_in_two_sites_is_two_clients() -> None:
    rows = (ROWS[0], ROWS[0])
    assert counted(rows, ["north", "south"]).verdicts()[0].clients == 2
    assert [server.site for server in counted(rows, ["north", "south"]).servers()] == ["north", "south"]


def test_what_most_clients_use_stands_first() -> None:
    assert counted().most_used()[0] == Used("samr", 2)
    assert {used.name for used in counted().most_used()} == {"samr", "lsarpc", "srvsvc", "spoolss"}


def test_servers_say_what_stands_in_the_way() -> None:
    found = {server.ip: server for server in counted().servers()}
    assert {ip: server.state for ip, server in found.items()} == {
        "10.0.0.9": "needed", "10.0.0.8": "unknown", "10.0.0.7": "needed", "10.0.0.6": "free",
    }  # fmt: skip
    assert found["10.0.0.9"].resources == [Used("samr", 2), Used("lsarpc", 1)]
    assert found["10.0.0.6"].clients["denied"] == 2
    assert found["10.0.0.6"].resources == []  # the scanner does not count
    assert [server.state for server in counted().servers()] == ["needed", "needed", "unknown", "free"]


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        ({"10.0.0.6": ""}, "1 server where nobody was seen to need a null session"),
        ({"10.0.0.6": "captured for 0.1 days, wanted are 7"}, "the captures do not show enough of it"),
        ({}, "the captures do not show enough of it"),  # nothing is known of how long it was observed
    ],
)
def test_free_is_said_of_servers_that_were_observed_enough(lacks: dict[str, str], said: str) -> None:
    ((sentence, names),) = overview.free_servers(counted(lacks=lacks).servers())
    assert sentence.endswith(said)
    assert names == ["10.0.0.6"]


def test_refused_and_probed_are_put_together() -> None:
    found = counted().refused()
    assert [(line.verdict, line.server, line.resource, line.clients, line.uses) for line in found] == [
        ("denied", "10.0.0.6", "netlogon", 2, 10),
        ("probe", "10.0.0.6", "IPC$", 1, 5),
    ]
    assert found[0].last_seen == "2023-11-14 22:13"


def test_scanners_are_named() -> None:
    assert counted(client=tables.listed([None] * 8 + ["scan1"])).left_out() == [Used("scan1 10.0.0.66", 1)]
    assert counted(ROWS[:3]).left_out() == []


def test_of_many_names_some_are_named() -> None:
    assert overview.named(["a", "b"]) == "a, b"
    assert overview.named([str(number) for number in range(20)]).endswith("11 and 8 more")
