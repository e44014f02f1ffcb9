"""Packets between the same ends belong to the connection that was there at their time."""

from __future__ import annotations

import numpy as np
import pytest

from analyzer import tables
from analyzer.capture import packets as p
from analyzer.slices.connections import of_site
from analyzer.tables import TableSet

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND


def connections(*rows: tuple[str, str, int, str, int, float | None, float | None]) -> TableSet:
    """A table of them: site, client, port, server, port, first and last second."""
    site, client, client_port, server, server_port, first, last = zip(*rows, strict=True)

    def times(seconds: tuple[float | None, ...]) -> object:
        return tables.times(np.array([0 if s is None else T0 + int(s * SECOND) for s in seconds]))

    columns = {
        "connection_id": np.arange(len(rows)), "client_port": np.array(client_port), "server_port": np.array(server_port)
    }  # fmt: skip
    made = {name: tables.ints(column) for name, column in columns.items()}
    made |= {
        "site": site,
        "client_ip": client,
        "server_ip": server,
        "first_seen": times(first),
        "last_seen": times(last),
    }
    return TableSet({"connections": tables.table("connections", made, len(rows))})


def half(text: str) -> tuple[int, int]:
    """Two 64-bit halves of an address."""
    packed = bytes(map(int, text.split("."))) if "." in text else None
    if packed:
        return 0, int.from_bytes(b"\xff\xff" + packed, "big")
    assert text == "fd00::1"
    return int.from_bytes(bytes.fromhex("fd00000000000000"), "big", signed=True), 1


def segment(source: str, port: int, target: str, other: int, second: float) -> list[int]:
    row = [0] * p.T_WIDTH
    row[p.T_SRC_HI], row[p.T_SRC_LO] = half(source)
    row[p.T_DST_HI], row[p.T_DST_LO] = half(target)
    row[p.T_SRC_PORT], row[p.T_DST_PORT], row[p.T_TIME] = port, other, T0 + int(second * SECOND)
    return row


C, S = ("10.0.0.1", 5000), ("10.0.0.2", 445)


def own(rows: TableSet, chosen: list[int], *segments: list[int]) -> list[bool]:
    return of_site(rows, rows.texts.code(""), np.array(chosen)).own(np.array(segments)).tolist()


def test_both_directions_and_no_other_ends() -> None:
    rows = connections(("", *C, *S, 0, 10))
    others = [
        segment("10.0.0.1", 5001, *S, 1), segment("10.0.0.3", 5000, *S, 1), segment(*C, "10.0.0.2", 139, 1),
        segment("10.0.0.2", 5000, "10.0.0.1", 445, 1),
    ]  # fmt: skip
    assert own(rows, [0], segment(*C, *S, 1), segment(*S, *C, 1), *others) == [True, True, *[False] * 4]


@pytest.mark.parametrize(
    ("second", "first", "later"),
    [
        (-61, False, False),
        (-59, True, False),
        (5, True, False),
        (19, True, False),
        (21, False, False),
        (39.9, False, False),
        (45, False, True),
        (95, False, True),
        (100, False, True),
        (119, False, True),
        (121, False, False),
    ],
)
def test_ports_used_again(second: float, first: bool, later: bool) -> None:
    """From a minute before to ten seconds behind, but never into the other."""
    rows = connections(("", *C, *S, 0, 10), ("", *C, *S, 100, 110))
    assert own(rows, [0], segment(*C, *S, second)) == [first]
    assert own(rows, [1], segment(*S, *C, second)) == [later]


def test_one_at_once_behind_the_other() -> None:
    """Between them nothing is lost, and nothing is of both."""
    rows = connections(("", *C, *S, 0, 10), ("", *C, *S, 10.5, 20))
    at = [9.9, 10, 10.2, 10.4, 10.5, 12]
    assert own(rows, [0], *[segment(*C, *S, second) for second in at]) == [True, True, True, True, False, False]
    assert own(rows, [1], *[segment(*C, *S, second) for second in at])[4:] == [True, True]
    assert all(own(rows, [0, 1], *[segment(*C, *S, second) for second in at]))


def test_without_times_everything_between_the_ends() -> None:
    rows = connections(("", *C, *S, None, None))
    assert own(rows, [0], segment(*C, *S, 0), segment(*C, *S, 1e9)) == [True, True]


def test_sites_are_told_apart() -> None:
    rows = connections(("a", *C, *S, 0, 10), ("b", "10.0.0.9", 1, *S, 0, 10))
    of_a = of_site(rows, rows.texts.code("a"), np.array([0, 1]))
    assert of_a.own(np.array([segment(*C, *S, 1), segment("10.0.0.9", 1, *S, 1)])).tolist() == [True, False]


def test_ipv6() -> None:
    rows = connections(("", "fd00::1", 7, *S, 0, 10))
    assert own(rows, [0], segment("fd00::1", 7, *S, 1), segment("10.0.0.1", 7, *S, 1)) == [True, False]


def test_which_files_matter() -> None:
    rows = connections(("", *C, *S, 1000, 1010))
    found = of_site(rows, rows.texts.code(""), np.array([0]))
    spans = [(0, 800), (0, 950), (1005, 1006), (1030, 2000), (1100, 2000)]
    assert [found.are_between(T0 + one * SECOND, T0 + other * SECOND) for one, other in spans] == [
        False, True, True, True, False
    ]  # fmt: skip
    nothing = of_site(rows, rows.texts.code(""), np.array([], dtype=np.int64))
    assert not nothing.are_between(0, T0 * 2)
    assert own(rows, [], segment(*C, *S, 1005)) == [False]
