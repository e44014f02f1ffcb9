"""What must not change a result does not: segmentation, repetition, order. And less of a capture never proves more."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from streams import Segment, read_segments, reordered, repeated, resegmented, write_pcap

import analyzer
from analyzer import engines
from analyzer.capture.inputs import find_captures
from analyzer.records import BODIES, TEXTS_OF_TOKEN, Batch
from analyzer.tables import ROWS, TABLES, TIME
from analyzer.wire.texts import Texts

CAPTURES = Path(__file__).parents[1] / "captures"
NAMES = (
    "anonymous-smb311", "anonymous-smb1", "anonymous-smb1-plain", "anonymous-lanman", "interleaved-smb1", "interleaved-smb2",
    "reauthentication", "pipe-transact", "pipe-write-read", "rap", "dfs-smb1", "multichannel", "kerberos-user", "guest",
    "busy", "probe-nmap", "schannel-in-null-session",
)  # fmt: skip
COUNTS_OF_PACKETS = {"packets", "bytes", "smb_packets"}
ORDERS = {"weak": 0, "strong": 1, "certain": 2}

# Many connections' worth of work an example, so few examples; and none is made smaller, which would take minutes.
quiet = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ONE_BY_ONE = tuple(name for name in NAMES if name != "multichannel")
"""Captures in which what a connection means does not rest on what another one said before it."""


@cache
def recorded(name: str) -> tuple[Segment, ...]:
    """The segments of a capture of the project."""
    return tuple(read_segments(CAPTURES / f"{name}.pcap"))


KEYS = {
    "sessions": "session_key",
    "trees": "tree_key",
    "pipe_opens": "open_key",
    "binds": "bind_key",
    "calls": "call_key",
}


def comparable(path: Path) -> dict[str, pd.DataFrame]:
    """The tables without frames, times and packet counts.

    Rows of different connections stand in the order of their frames, which may change; so rows are put in the order of
    connections, and keys are replaced by connection and place in it.
    """
    analysis = analyzer.analyze(path, detail="all")
    found = {name: analysis.table(name) for name in ROWS if name != "problems"}
    places = {}
    for name, key in KEYS.items():
        of = found[name]["connection_id"]
        places[key] = dict(
            zip(found[name][key], of.astype(str) + "-" + found[name].groupby(of).cumcount().astype(str), strict=True)
        )
        found[name] = found[name].sort_values("connection_id", kind="stable", ignore_index=True)
    for name, rows in found.items():
        table = rows.assign(**{key: rows[key].map(places[key]) for key in set(rows.columns) & set(places)})
        if name == "disk_opens":
            table = table.sort_values(["session_key", "tree_key"], ignore_index=True)
        left_out = COUNTS_OF_PACKETS | {"session_no"}
        left_out |= {column.name for column in TABLES[name] if column.kind == TIME or "frame" in column.name}
        found[name] = table.drop(columns=[column for column in table if column in left_out])
    return found


def assert_same(expected: dict[str, pd.DataFrame], found: dict[str, pd.DataFrame]) -> None:
    for name, table in expected.items():
        pd.testing.assert_frame_equal(table, found[name], obj=name)


@pytest.mark.parametrize("name", NAMES)
@quiet
@given(sizes=st.lists(st.integers(8, 3000), min_size=1, max_size=8))
def test_any_segmentation(name: str, sizes: list[int], tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    write_pcap(path, list(recorded(name)))
    expected = comparable(path)
    write_pcap(path, resegmented(list(recorded(name)), sizes))
    assert_same(expected, comparable(path))


@pytest.mark.parametrize("name", ["anonymous-smb1", "anonymous-smb311", "pipe-transact"])
def test_byte_by_byte(name: str, tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    write_pcap(path, list(recorded(name)))
    expected = comparable(path)
    write_pcap(path, resegmented(list(recorded(name)), [1]), step_us=10)
    assert_same(expected, comparable(path))


@pytest.mark.parametrize("name", ONE_BY_ONE)
@quiet
@example(
    sizes=[2237, 75, 562, 1418],  # a referral is answered before one that was asked earlier on another connection
    places=[2428, 3449, 1228, 225, 1587, 301],
    moves=[(204, 1), (48, 1), (1089, 1), (3211, 5), (5355, 3), (1091, 1)],
)
@given(
    sizes=st.lists(st.integers(20, 3000), min_size=1, max_size=4),
    places=st.lists(st.integers(0, 10_000), max_size=20),
    moves=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 5)), max_size=20),
)
def test_repetition_and_order(
    name: str, sizes: list[int], places: list[int], moves: list[tuple[int, int]], tmp_path: Path
) -> None:
    path = tmp_path / "c.pcap"
    write_pcap(path, list(recorded(name)))
    expected = comparable(path)
    write_pcap(path, reordered(repeated(resegmented(list(recorded(name)), sizes), places), moves))
    assert_same(expected, comparable(path))


def records(path: Path) -> list[str]:
    """All protocol records of a capture, in order, spelt out."""
    reader = engines.make("native", (445, 139), lambda _: None)
    found = []
    for batch in reader.read(find_captures([str(path)])):
        found += _of_batch(batch)
    return found


TEXTS = {
    "dialects", "client_guid", "dialect", "server_guid", "domain", "native_os", "native_lanman", "path", "name",
    *TEXTS_OF_TOKEN,
}  # fmt: skip


def _spelt(record: np.void, texts: Texts) -> str:
    """A record with its texts written out, and without what only says where it lies."""
    parts = []
    for field in record.dtype.names or ():
        value = record[field]
        if value.dtype.names:
            parts.append(_spelt(value, texts))
        elif field in TEXTS:
            parts.append(f"{field}={texts.text(int(value))!r}")
        elif field not in ("row", "payload_at", "order"):
            parts.append(f"{field}={value}")
    return " ".join(parts)


def _of_batch(batch: Batch) -> list[str]:
    found = [_spelt(message, batch.texts) for message in batch.messages]
    for name in BODIES:
        for body in batch.bodies[name]:
            found[int(body["row"])] += f" {name}: {_spelt(body, batch.texts)}"
    return found


@pytest.mark.parametrize(
    "name", ["anonymous-smb311", "interleaved-smb1", "reauthentication", "kerberos-user", "guest", "busy"]
)
def test_truncation_gives_a_prefix_of_the_records(name: str, tmp_path: Path) -> None:
    whole = (CAPTURES / f"{name}.pcap").read_bytes()
    expected = records(CAPTURES / f"{name}.pcap")
    cut = tmp_path / "cut.pcap"
    for size in np.linspace(24, len(whole), 40).astype(int).tolist():
        cut.write_bytes(whole[:size])
        found = records(cut)
        assert found == expected[: len(found)], size


@pytest.mark.parametrize("name", NAMES)
def test_truncation_proves_no_more(name: str, tmp_path: Path) -> None:
    """No session of a shortened capture has a known identity that the whole one denies, or is more certain of it."""
    path = CAPTURES / f"{name}.pcap"
    whole = path.read_bytes()
    sessions = analyzer.analyze(path).sessions.dropna(subset="frame").set_index("frame")
    cut = tmp_path / "cut.pcap"
    for size in np.linspace(24, len(whole), 25).astype(int).tolist():
        cut.write_bytes(whole[:size])
        for row in analyzer.analyze(cut).sessions.itertuples():
            if row.identity == "unknown" or pd.isna(row.frame):
                continue
            known = sessions.loc[row.frame]
            assert row.identity == known["identity"], (size, row.frame)
            assert ORDERS[row.confidence] <= ORDERS[known["confidence"]], (size, row.frame)


@quiet
@given(data=st.binary(max_size=400), seed=st.integers(0, 2**32 - 1))
def test_damage_never_raises(data: bytes, seed: int, tmp_path: Path) -> None:
    """Bytes overwritten anywhere in a file give a result and at most a complaint."""
    whole = bytearray((CAPTURES / "busy.pcap").read_bytes())
    at = seed % (len(whole) - 24) + 24
    whole[at : at + len(data)] = data
    path = tmp_path / "c.pcap"
    path.write_bytes(whole)
    analyzer.analyze(path)


@quiet
@given(
    places=st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(0, 2000), st.binary(min_size=1, max_size=8)), max_size=30
    )
)
def test_damaged_payload_never_raises(places: list[tuple[int, int, bytes]], tmp_path: Path) -> None:
    """Bytes overwritten inside TCP payloads, so that they reach the protocol parsers."""
    segments = list(recorded("busy"))
    with_payload = [number for number, segment in enumerate(segments) if segment.payload]
    for place, offset, data in places:
        number = with_payload[place % len(with_payload)]
        payload = bytearray(segments[number].payload)
        at = offset % len(payload)
        payload[at : at + len(data)] = data[: len(payload) - at]
        segments[number] = Segment(**{**segments[number].__dict__, "payload": bytes(payload)})
    path = tmp_path / "c.pcap"
    write_pcap(path, segments)
    analyzer.analyze(path)
