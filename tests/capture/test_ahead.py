"""What is read ahead is what would be read at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import manifest
import pytest
from scapy.layers.inet import IP, fragment
from scapy.packet import Raw

import analyzer
from analyzer import tables
from analyzer.capture import inputs, reader
from analyzer.capture import packets as p
from analyzer.capture.ahead import Ahead
from analyzer.capture.inputs import CaptureSequence, find_captures, in_time_order
from analyzer.compiled import plain_kernels
from tests.build import (
    LINK_RAW,
    START_NS,
    Packet,
    enhanced_packet,
    ethernet,
    interface,
    ipv4,
    option,
    pcap,
    pcapng,
    process_information,
    section_header,
    tcp,
)
from tests.capture.reading import Seen, no_counts, seen_of


def test_jobs_are_done_one_after_the_other() -> None:
    ahead = Ahead()
    for number in range(100):
        ahead.begin(lambda number=number: number)  # type: ignore[misc]
        assert ahead.result() == number
    ahead.stop()


def test_what_a_job_raises_is_raised_where_its_result_is_wanted() -> None:
    ahead = Ahead()
    ahead.begin(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        ahead.result()
    ahead.begin(lambda: 7)
    assert ahead.result() == 7
    ahead.stop()


class AtOnce(Ahead):
    """Does each job before anything else is done: all that another thread could do too early has then been done."""

    begun = 0

    def begin(self, job: Callable[[], int]) -> None:
        AtOnce.begun += 1
        self._done.put(job())


@pytest.fixture(params=[1_500, 4_000, 50_000])
def always_ahead(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is read ahead, in chunks of that size."""
    AtOnce.begun = 0
    monkeypatch.setattr(inputs, "Ahead", AtOnce)
    monkeypatch.setattr(inputs, "CHUNK", request.param)
    monkeypatch.setattr(reader, "SMALL_FILE", -1)


def segments_of(paths: list[Path]) -> tuple[list[Seen], list[int]]:
    """All segments of files, and what was counted."""
    kernels, counts = plain_kernels(), no_counts()
    timed = in_time_order(find_captures([str(path) for path in paths]), kernels)
    sequence = CaptureSequence(timed, 0, lambda: kernels, counts)
    seen: list[Seen] = []
    for block in sequence.blocks():
        seen += seen_of(block.segments, block.step.buffer)
    return seen, counts.tolist()


def fragmented(count: int, of: int) -> tuple[list[Packet], list[bytes]]:
    """Packets of raw IP, some of them in fragments that come out of order; and the payloads in the order of completion."""
    chance = random.Random(count)
    packets, payloads = [], []
    for number in range(count):
        payload = bytes([number % 251]) * chance.randrange(1, 1_400)
        whole = IP(ipv4(tcp(payload, seq=number * 2_000)))
        whole.id = number + 1
        parts = [whole]
        if number % of == 0:
            del whole.len, whole.chksum
            parts = fragment(IP(bytes(whole)) / Raw(b""), 256) if len(payload) > 300 else [whole]
            chance.shuffle(parts)
        packets += [bytes(part) for part in parts]
        payloads.append(payload)
    return [Packet(START_NS + at * 1_000_000, data) for at, data in enumerate(packets)], payloads


@pytest.mark.parametrize("rows", [3, 64, reader.ROWS])
@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
@pytest.mark.usefixtures("always_ahead")
def test_a_file_with_fragments(tmp_path: Path, kind: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fragments are put together in the buffer: not in one that is still in use."""
    monkeypatch.setattr(reader, "ROWS", rows)
    packets, payloads = fragmented(300, of=3)
    path = tmp_path / "a"
    path.write_bytes((pcap if kind == "pcap" else pcapng)(packets, link=LINK_RAW))
    seen, counts = segments_of([path])
    assert [segment.payload for segment in seen] == payloads
    assert counts[p.C_FRAGMENTS] > 100
    assert counts[p.C_TCP] == len(payloads)
    assert AtOnce.begun > 2


@pytest.mark.usefixtures("always_ahead")
@pytest.mark.parametrize("always_ahead", [4_000], indirect=True)
def test_a_process_that_is_described_too_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A packet does not mean what the chunk behind its own begins with, though that has been read already."""
    reference = option(0x8001, bytes(4)) + option(0, b"")  # to the first process of the section
    packet = enhanced_packet(ethernet(ipv4(tcp(b"x" * 1_000))), START_NS // 1_000, options=reference)
    first = section_header() + interface() + packet
    monkeypatch.setattr(inputs, "CHUNK", len(first))
    path = tmp_path / "a"
    path.write_bytes(first + process_information(7, b"late") + packet)
    kernels = plain_kernels()
    sequence = CaptureSequence(in_time_order(find_captures([str(path)]), kernels), 0, lambda: kernels, no_counts())
    for block in sequence.blocks():
        block.reader.note_processes(block.step, block.segments)
    assert [(note.frame, note.name) for note in sequence.readers[0].facts.processes] == [(2, "late")]
    assert AtOnce.begun > 0


@pytest.mark.usefixtures("always_ahead")
def test_files_that_overlap_for_a_while(tmp_path: Path) -> None:
    """Ahead is read while one file is open alone, before and after the other ones too."""
    packets, payloads = fragmented(400, of=5)
    chosen = [n % 2 == 0 or not 300 < n < 500 for n in range(len(packets))]
    for name, wanted in (("a", True), ("b", False)):
        path = tmp_path / name
        path.write_bytes(
            pcap([x for x, choice in zip(packets, chosen, strict=True) if choice is wanted], link=LINK_RAW)
        )
    seen, _ = segments_of([tmp_path / "a", tmp_path / "b"])
    assert [segment.payload for segment in seen] == payloads
    assert AtOnce.begun > 2


@pytest.mark.usefixtures("always_ahead")
@pytest.mark.parametrize("always_ahead", [4_000], indirect=True)
@pytest.mark.parametrize("entry", manifest.entries(), ids=lambda entry: entry["file"])
def test_the_outcome(entry: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every capture of the project, whose outcome at once is held against what was done."""
    path = manifest.CAPTURES / entry["file"]
    found = analyzer.analyze(path, detail="all")
    begun = AtOnce.begun
    monkeypatch.setattr(reader, "SMALL_FILE", 1 << 40)
    at_once = analyzer.analyze(path, detail="all")
    for name in tables.ROWS:
        assert found.arrow(name).to_pylist() == at_once.arrow(name).to_pylist()
    assert begun > 0
    assert begun == AtOnce.begun or path.suffix in {".gz", ".zst"}  # packed files are always read ahead
