"""Connections to other services are counted once each, within a bound."""

from __future__ import annotations

import numpy as np

from analyzer.capture import packets
from analyzer.records import OtherWay
from analyzer.transport import ways
from analyzer.transport.ways import Ways

SYN, SYN_ACK, ACK = packets.TCP_SYN, packets.TCP_SYN | packets.TCP_ACK, packets.TCP_ACK


def segments(*rows: tuple[int, int, int, int, int, int]) -> np.ndarray:
    """Client, its port, server, port, flags, time."""
    table = np.zeros((len(rows), packets.T_WIDTH), dtype=np.int64)
    columns = [
        packets.T_SRC_LO, packets.T_SRC_PORT, packets.T_DST_LO, packets.T_DST_PORT, packets.T_FLAGS, packets.T_TIME
    ]  # fmt: skip
    for row, values in zip(table, rows, strict=True):
        row[columns] = values
    return table


def noted(*rows: tuple[int, int, int, int, int, int]) -> list[tuple[int, int, int, int]]:
    """Client, server, way, attempts."""
    found = Ways()
    found.note(segments(*rows))
    return [tuple(row) for row in found.rows()[["client_lo", "server_lo", "way", "attempts"]].tolist()]


def test_only_the_first_packet_of_a_connection_counts() -> None:
    assert noted((1, 5000, 2, 135, SYN, 1), (2, 135, 1, 5000, SYN_ACK, 2), (1, 5000, 2, 135, ACK, 3)) == [
        (1, 2, OtherWay.RPC_MAPPER, 1)
    ]


def test_repetitions_and_copies_are_no_attempts_of_their_own() -> None:
    assert noted(
        (1, 5000, 2, 389, SYN, 1), (1, 5001, 2, 389, SYN, 1), (1, 5000, 2, 389, SYN, 2), (1, 5001, 2, 389, SYN, 2)
    ) == [(1, 2, OtherWay.LDAP, 2)]


def test_ports_of_other_services_do_not_count() -> None:
    assert noted((1, 5000, 2, 80, SYN, 1), (1, 5000, 2, 445, SYN, 1), (1, 5000, 2, 49151, SYN, 1)) == []
    assert noted((1, 5000, 2, 49152, SYN, 1), (1, 5000, 2, 65535, SYN, 1)) == [(1, 2, OtherWay.RPC_DYNAMIC, 1)]


def test_times_are_those_of_the_first_and_the_last() -> None:
    found = Ways()
    found.note(segments((1, 1, 2, 636, SYN, 50), (1, 2, 2, 636, SYN, 20), (1, 3, 2, 636, SYN, 70)))
    assert found.rows()[["first_ns", "last_ns"]].tolist() == [(20, 70)]


def test_what_finds_no_room_is_counted() -> None:
    ways.MAX_PAIRS, before = 2, ways.MAX_PAIRS
    try:
        found = Ways()
        found.note(segments(*[(client, 1, 9, 135, SYN, 1) for client in range(1, 6)]))
        found.note(segments((1, 2, 9, 135, SYN, 2)))
    finally:
        ways.MAX_PAIRS = before
    assert found.dropped == 3
    assert found.rows()["attempts"].tolist() == [2, 1]
