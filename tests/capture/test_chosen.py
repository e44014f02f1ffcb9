"""Packets that carry what was wanted are marked, with all that they came in; and are handed out as they were."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rewriting import fragments_of, read, write

from analyzer.capture import chosen
from analyzer.capture.chosen import File, Marking, Marks, marked_packets
from analyzer.capture.packets import T_SRC_PORT
from analyzer.compiled import Table, plain_kernels
from tests import build

CAPTURE = Path(__file__).parents[2] / "captures" / "anonymous-smb311.pcap"


def from_servers(segments: Table) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return segments[:, T_SRC_PORT] == 445


def is_from_server(data: bytes) -> bool:
    """Of TCP in IPv4 in Ethernet, in a first fragment or none."""
    return data[12:14] == b"\x08\x00" and data[23] == 6 and data[34:36] == b"\x01\xbd"


def walked(*paths: Path) -> tuple[Marking, list[File]]:
    files = [File(str(path), number, read(path)[0].time_ns) for number, path in enumerate(paths)]
    marking = Marking(plain_kernels(), from_servers)
    marking.walk(files)
    return marking, files


def test_marks() -> None:
    marks = Marks()
    marks.add(np.array([3, 8, 3]))
    marks.add(np.array([100_000]))
    marks.add(np.array([], dtype=np.int64))
    assert (marks.last, marks.count()) == (100_000, 3)
    assert marks.among(np.arange(1, 10)).tolist() == [2, 7]
    assert marks.among(np.arange(99_995, 100_010)).tolist() == [5]
    assert marks.among(np.arange(200_000, 200_010)).tolist() == []


def test_what_is_wanted_and_nothing_else() -> None:
    marking, files = walked(CAPTURE)
    originals = read(CAPTURE)
    found = list(marked_packets(files, marking.marks, plain_kernels()))
    expected = [n for n, packet in enumerate(originals, 1) if is_from_server(packet.data)]
    assert [packet.frame for packet in found] == expected
    assert [packet.packet.data for packet in found] == [originals[n - 1].data for n in expected]
    assert marking.read[0].packets == len(originals)


def test_first_fragments_alone_are_not_put_together(tmp_path: Path) -> None:
    """Of a packet of which a part never came nothing is told."""
    parts = [fragments_of(packet, 104, n + 1) for n, packet in enumerate(read(CAPTURE))]
    path = write(tmp_path / "c.pcap", [part for of in parts for part in of[: max(1, len(of) - 1)]])
    marking, _ = walked(path)
    assert marking.marks[0].count() == sum(len(of) == 1 and is_from_server(of[0].data) for of in parts)


@pytest.mark.parametrize("name", ["GROUPS", "MEMBERS"])
def test_bounds(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be remembered is left out; what can is not lost for it."""
    parts = [fragments_of(packet, 64, n + 1) for n, packet in enumerate(read(CAPTURE))]
    path = write(tmp_path / "c.pcap", [part for of in parts for part in of])
    whole, _ = walked(path)
    monkeypatch.setattr(chosen, name, 2)
    marking, _ = walked(path)
    assert 0 < marking.marks[0].count() <= whole.marks[0].count()


def test_many_copies_cost_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "MEMBERS", 8)
    packet = next(packet for packet in read(CAPTURE) if is_from_server(packet.data) and len(packet.data) > 200)
    first, *rest = fragments_of(packet, 64, 7)
    path = write(tmp_path / "c.pcap", [first] * 1000 + rest)
    marking, _ = walked(path)
    assert all(len(group.members) <= 8 for group in marking._groups.values())


def test_files_that_overlap_are_handed_out_in_the_order_of_time(tmp_path: Path) -> None:
    originals = read(CAPTURE)
    paths = [write(tmp_path / f"{n}.pcap", originals[n::3]) for n in range(3)]
    marking, files = walked(*paths)
    found = list(marked_packets(files, marking.marks, plain_kernels()))
    assert [packet.packet.data for packet in found] == [p.data for p in originals if is_from_server(p.data)]


def test_no_more_files_are_open_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "MAX_OPEN", 1)
    originals = read(CAPTURE)
    paths = [write(tmp_path / f"{n}.pcap", originals[n::3]) for n in range(3)]
    marking, files = walked(*paths)
    found = list(marked_packets(files, marking.marks, plain_kernels()))
    assert sorted(packet.number for packet in found) == [packet.number for packet in found]
    assert len(found) == sum(is_from_server(packet.data) for packet in originals)


@pytest.mark.parametrize("order", "<>")
def test_blocks_of_each_kind(order: str, tmp_path: Path) -> None:
    """Enhanced, simple and obsolete packet blocks, and what each says of its packet."""
    packet = next(packet for packet in read(CAPTURE) if is_from_server(packet.data))
    packet = replace(packet, data=packet.data + bytes(-len(packet.data) % 4))  # simple blocks do not tell where it ends
    comment = build.option(1, b"hello", order=order) + build.option(4, struct.pack(order + "Q", 3), order=order)
    data = build.section_header(order=order) + build.interface(order=order, tsresol=9, snaplen=len(packet.data))
    data += build.enhanced_packet(packet.data, 77 << 33, order=order, size=9000, options=comment)
    data += build.simple_packet(packet.data, order=order, size=9000)
    data += build.obsolete_packet(packet.data, 5, order=order, size=9000)
    path = tmp_path / "c.pcapng"
    path.write_bytes(data)
    marking = Marking(plain_kernels(), from_servers)
    files = [File(str(path), 0, 0)]
    marking.walk(files)
    found = [each.packet for each in marked_packets(files, marking.marks, plain_kernels())]
    assert [each.data for each in found] == [packet.data] * 3
    assert [each.size for each in found] == [9000] * 3
    assert [each.ticks for each in found] == [77 << 33, None, 5]
    assert found[0].options == ((1, b"hello"), (4, b"\3".ljust(8, b"\0")))  # numbers in one order
    assert found[1].options == ()
