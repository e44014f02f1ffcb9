"""The processes that capture tools note end up on the connections that they belong to."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import analyzer
from analyzer.capture import reader
from tests import build
from tests.build import Segment, enhanced_packet, interface, option, process_information, section_header
from tests.dialogue import SECOND, Smb2, segments_of

IN, OUT = 1, 2
SERVER_IP = "10.0.0.2"

Options = Callable[[Segment], bytes]


def direction(value: int) -> bytes:
    """The option epb_flags."""
    return option(2, struct.pack("<I", value))


def comment(process: int) -> bytes:
    """What conversions of Windows traces leave."""
    return option(1, b"PID=%d" % process)


def reference(number: int) -> bytes:
    """What tcpdump of macOS leaves."""
    return option(0x8001, struct.pack("<I", number))


def on_client(segment: Segment) -> int:
    """The direction of a segment at a capturing client."""
    return IN if segment.source[0] == SERVER_IP else OUT


def on_server(segment: Segment) -> int:
    """The direction of a segment at a capturing server."""
    return OUT if segment.source[0] == SERVER_IP else IN


def capture(path: Path, segments: list[Segment], options: Options, blocks: bytes = b"") -> Path:
    """A pcapng file of segments with options, and with blocks in front."""
    data = section_header() + interface(tsresol=9) + blocks
    for segment in segments:
        packet = segment.packet()
        data += enhanced_packet(packet.data, packet.time_ns, options=options(segment) + option(0, b""))
    path.write_bytes(data)
    return path


def talk(**settings: Any) -> Smb2:
    """A short SMB connection."""
    made = Smb2(**settings)
    made.anonymous_use(0x11, "srvsvc")
    made.tcp.close()
    return made


@dataclass(frozen=True)
class Process:
    """What `connections` says."""

    id: int | None
    name: str | None
    side: str | None


def processes(*paths: Path, **settings: Any) -> list[Process]:
    """Those of the connections of an analysis."""
    rows = analyzer.analyze([str(path) for path in paths], **settings).connections
    columns = rows[["process_id", "process_name", "process_side"]].astype(object)
    return [Process(*row) for row in columns.where(columns.notna(), None).itertuples(index=False)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A capture to be."""
    return tmp_path / "a.pcapng"


@pytest.mark.usefixtures("kernel_form")
def test_macos_names_the_process(path: Path) -> None:
    blocks = process_information(501, b"smbd_client") + process_information(7, b"other")
    capture(path, segments_of(talk()), lambda segment: reference(0) + direction(on_client(segment)), blocks)
    assert processes(path) == [Process(501, "smbd_client", "client")]


@pytest.mark.parametrize(("where", "side"), [(on_client, "client"), (on_server, "server")])
def test_whose_process_it_is(path: Path, where: Callable[[Segment], int], side: str) -> None:
    """A packet's process is on the side that captured it: the sender of what went out."""
    capture(path, segments_of(talk()), lambda segment: comment(321) + direction(where(segment)))
    assert processes(path) == [Process(321, None, side)]


def test_without_a_direction_the_side_is_not_known(path: Path) -> None:
    capture(path, segments_of(talk()), lambda _: option(8, struct.pack("<II", 99, 1)))
    assert processes(path) == [Process(99, None, None)]


def test_what_ran_while_packets_came_in_does_not_count(path: Path) -> None:
    """Windows traces tell the process that was interrupted by the packet. [etl2pcapng, README]"""
    counted = {IN: 1000, OUT: 2000}
    segments = segments_of(talk())
    capture(path, segments, lambda s: comment(counted[on_client(s)]) + direction(on_client(s)))
    assert processes(path) == [Process(2000, None, "client")]
    capture(path, segments, lambda _: comment(1000) + direction(IN))
    assert processes(path) == [Process(None, None, None)]


def test_the_windows_system_counts_if_there_is_no_other(path: Path) -> None:
    segments = segments_of(talk())
    said = {id(segment): 4 for segment in segments} | {id(segments[0]): 0}
    capture(path, segments, lambda s: comment(said[id(s)]) + direction(on_client(s)))
    assert processes(path) == [Process(4, None, "client")]
    late = [segment for segment in segments if on_client(segment) == OUT][-1]
    said[id(late)] = 888
    capture(path, segments, lambda s: comment(said[id(s)]) + direction(on_client(s)))
    assert processes(path) == [Process(888, None, "client")]


def test_process_4_of_another_system_is_one_like_others(path: Path) -> None:
    blocks = process_information(4, b"first") + process_information(5, b"second")
    numbers: Iterator[int] = iter([0] + [1] * 1000)
    capture(path, segments_of(talk()), lambda s: reference(next(numbers)) + direction(on_client(s)), blocks)
    assert processes(path) == [Process(4, "first", "client")]


def test_each_connection_has_its_own(path: Path) -> None:
    """Also where one takes over the ends of another."""
    first, second, other = talk(), talk(at=60, isn=900_000), talk(port=50_000, at=1)
    said = {id(s): n for n, one in enumerate((first, second, other), 11) for s in one.tcp.segments}
    capture(path, segments_of(first, second, other), lambda s: comment(said[id(s)]) + direction(on_client(s)))
    assert [process.id for process in processes(path)] == [11, 13, 12]


def test_a_new_connection_with_the_same_ends_and_process(path: Path) -> None:
    capture(path, segments_of(talk(), talk(at=60, isn=900_000)), lambda s: comment(5) + direction(on_client(s)))
    assert [process.id for process in processes(path)] == [5, 5]


def test_over_files_and_sites(tmp_path: Path) -> None:
    """A connection goes on in the next file; the same ends at another site are another connection."""
    segments = segments_of(talk())
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    a = capture(tmp_path / "x" / "a.pcapng", segments[:5], lambda _: b"")
    b = capture(tmp_path / "x" / "b.pcapng", segments[5:], lambda s: comment(5) + direction(on_client(s)))
    c = capture(tmp_path / "y" / "c.pcapng", segments, lambda s: comment(6) + direction(on_client(s)))
    assert [process.id for process in processes(a, b)] == [5]
    assert [process.id for process in processes(a, b, c, separate=True)] == [5, 6]


def test_ipv6(path: Path) -> None:
    capture(path, segments_of(talk(client="fd00::1", server="fe80::2")), lambda _: comment(5) + direction(OUT))
    assert [process.id for process in processes(path)] == [5]


def test_notes_are_bounded_and_counted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_PROCESS_NOTES", 3)
    talks = [talk(port=50_000 + n, at=n) for n in range(5)]
    capture(path, segments_of(*talks), lambda s: comment(5) + direction(on_client(s)))
    analysis = analyzer.analyze(path)
    assert analysis.connections["process_id"].notna().sum() == 3
    coverage = analysis.coverage.set_index("measure")["value"]
    assert coverage["capture_notes_given_up"] > 0


def test_none_is_noted(path: Path) -> None:
    path.write_bytes(build.pcapng(talk().tcp.packets()))
    assert processes(path) == [Process(None, None, None)]
    empty = analyzer.analyze(path).connections.dtypes
    assert str(empty["process_id"]) == "Int64"
    assert str(empty["process_name"]) == "string"


def test_packets_out_of_order_of_time(path: Path) -> None:
    """A clock is set back by an hour in the middle."""
    segments = segments_of(talk())
    half = len(segments) // 2
    segments[half:] = [replace(segment, time_ns=segment.time_ns - 3600 * SECOND) for segment in segments[half:]]
    capture(path, segments, lambda s: comment(5) + direction(on_client(s)))
    found = processes(path)
    assert len(found) == 1
    assert found[0].id == 5
