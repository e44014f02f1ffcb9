"""Paths, folders and patterns to files, and several files as one capture."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from itertools import pairwise
from pathlib import Path

import lz4.frame
import pytest
import zstandard

from analyzer.capture.inputs import CaptureSequence, Input, find_captures, in_time_order, looks_like_capture
from analyzer.compiled import Kernels, plain_kernels
from analyzer.errors import UsageError
from tests.build import START_NS, Packet, ethernet, ipv4, pcap, pcapng, tcp
from tests.capture.reading import Seen, no_counts, seen_of

SECOND = 1_000_000_000


def packet(at: float, name: str) -> Packet:
    """A TCP segment `at` seconds after the start, with a name as its payload."""
    return Packet(START_NS + int(at * SECOND), ethernet(ipv4(tcp(name.encode()))))


def write(path: Path, *packets: Packet) -> str:
    """A capture file of these packets; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pcap(packets))
    return str(path)


def names(inputs: list[Input], folder: Path) -> list[str]:
    """The paths below a folder."""
    return [Path(item.capture).relative_to(folder).as_posix() for item in inputs]


# Which files.


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with captures, and with what is none."""
    for name in ("b.pcap", "a.pcapng", "deep/er/c.CAP", "deep/d.dmp", "deep/nameless"):
        write(tmp_path / name, packet(0, name))
    (tmp_path / "deep" / "e.pcap.gz").write_bytes(gzip.compress(pcap([]), mtime=0))
    (tmp_path / "f.pcapng.zst").write_bytes(zstandard.compress(pcapng([])))
    (tmp_path / "broken.pcap").write_bytes(b"by its name it is one")
    (tmp_path / "notes.txt").write_bytes(b"no capture")
    (tmp_path / "logs.gz").write_bytes(gzip.compress(b"no capture", mtime=0))
    (tmp_path / "deep" / "g.pcap.xz").write_bytes(lzma.compress(pcap([])))
    (tmp_path / "deep" / "h.pcap.bz2").write_bytes(bz2.compress(pcap([])))
    (tmp_path / "deep" / "i.pcap.lz4").write_bytes(lz4.frame.compress(pcap([])))
    (tmp_path / "monitor.bin").write_bytes(b"GMBU" + bytes(100))  # to be complained about, not passed over
    (tmp_path / "logs.xz").write_bytes(lzma.compress(b"no capture"))
    (tmp_path / "packed").write_bytes(bz2.compress(b"no capture"))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "hollow").mkdir()
    return tmp_path


def test_a_folder_with_all_below_it(tree: Path) -> None:
    found = names(find_captures([str(tree)]), tree)
    assert sorted(found) == [
        "a.pcapng", "b.pcap", "broken.pcap", "deep/d.dmp", "deep/e.pcap.gz", "deep/er/c.CAP", "deep/g.pcap.xz",
        "deep/h.pcap.bz2", "deep/i.pcap.lz4", "deep/nameless", "f.pcapng.zst", "monitor.bin",
    ]  # fmt: skip


def test_a_named_file_is_taken_whatever_it_is(tree: Path) -> None:
    assert names(find_captures([str(tree / "notes.txt")]), tree) == ["notes.txt"]


def test_patterns(tree: Path) -> None:
    assert names(find_captures([str(tree / "*.pcap*")]), tree) == [
        "a.pcapng",
        "b.pcap",
        "broken.pcap",
        "f.pcapng.zst",
    ]
    assert names(find_captures([str(tree / "**" / "*.dmp")]), tree) == ["deep/d.dmp"]
    assert names(find_captures([str(tree / "[ab].pcap*")]), tree) == ["a.pcapng", "b.pcap"]


def test_a_name_with_pattern_characters_is_first_a_name(tmp_path: Path) -> None:
    path = tmp_path / "cap[1].pcap"
    write(path)
    write(tmp_path / "cap1.pcap")
    assert names(find_captures([str(path)]), tmp_path) == ["cap[1].pcap"]


def test_a_pattern_may_match_a_folder(tree: Path) -> None:
    assert sorted(names(find_captures([str(tree / "de*")]), tree)) == [
        "deep/d.dmp",
        "deep/e.pcap.gz",
        "deep/er/c.CAP",
        "deep/g.pcap.xz",
        "deep/h.pcap.bz2",
        "deep/i.pcap.lz4",
        "deep/nameless",
    ]


def test_each_file_once_in_the_order_named(tree: Path) -> None:
    b, a = str(tree / "b.pcap"), str(tree / "a.pcapng")
    assert names(find_captures([b, a, b, str(tree / "[ab].pcap*")]), tree) == ["b.pcap", "a.pcapng"]


def test_one_file_under_two_names_is_one(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    found = find_captures(["b.pcap", "./b.pcap", str(tree / "b.pcap"), "deep/../b.pcap"])
    assert [item.capture for item in found] == ["b.pcap"]


@pytest.mark.parametrize("name", ["missing.pcap", "*.none", "hollow", "none/**"])
def test_a_name_that_leads_nowhere(tree: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_captures([str(tree / "b.pcap"), str(tree / name)])
    assert str(tree / name) in str(caught.value)


def test_nothing_named_is_nothing() -> None:
    assert find_captures([]) == []


def test_standard_input_is_taken_as_it_is() -> None:
    assert find_captures(["-", "-"]) == [Input("-", "-")]


def test_sites_are_folders(tree: Path) -> None:
    found = {item.capture: item.site for item in find_captures([str(tree)])}
    assert found[str(tree / "b.pcap")] == str(tree)
    assert found[str(tree / "deep" / "er" / "c.CAP")] == str(tree / "deep" / "er")


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("x.pcap", b"", True),
        ("x.PcapNG", b"", True),
        ("x.2024.cap.gz", b"", True),
        ("x.ntar.zstd", b"", True),
        ("x.gz", gzip.compress(pcap([]), mtime=0), False),
        ("x", pcap([]), True),
        ("x.0001", pcapng([]), True),
        ("x", b"\xd4\xc3\xb2", False),
        ("x", gzip.compress(pcap([]), mtime=0), False),
        ("x.log", b"text", False),
    ],
)
def test_what_looks_like_a_capture(tmp_path: Path, name: str, data: bytes, expected: bool) -> None:
    (tmp_path / name).write_bytes(data)
    assert looks_like_capture(tmp_path / name) is expected


# In which order.


def test_files_in_the_order_of_their_first_packets(tmp_path: Path) -> None:
    late = write(tmp_path / "a.pcap", packet(20, "late"))
    early = write(tmp_path / "b.pcap", packet(0, "early"))
    middle = write(tmp_path / "c.pcap", packet(10, "middle"))
    ordered = in_time_order(find_captures([late, early, middle]), plain_kernels())
    assert [(begins, item.capture) for begins, item in ordered] == [
        (START_NS, early),
        (START_NS + 10 * SECOND, middle),
        (START_NS + 20 * SECOND, late),
    ]


def test_files_without_packets_and_standard_input_come_first(tmp_path: Path) -> None:
    full = write(tmp_path / "a.pcap", packet(0, "x"))
    hollow = write(tmp_path / "b.pcap")
    bad = tmp_path / "c.pcap"
    bad.write_bytes(b"bad")
    ordered = in_time_order(find_captures([full, "-", hollow, str(bad)]), plain_kernels())
    assert [item.capture for _, item in ordered] == ["-", hollow, str(bad), full]


def sequence(paths: list[str], kernels: Kernels | None = None, first_no: int = 0) -> tuple[CaptureSequence, list[Seen]]:
    """All segments of several files, as they come."""
    kernels = kernels or plain_kernels()
    timed = in_time_order(find_captures(paths), kernels)
    whole = CaptureSequence(timed, first_no, lambda: kernels, no_counts())
    seen: list[Seen] = []
    for block in whole.blocks():
        assert block.first < block.end
        seen += seen_of(block.segments, block.step.buffer)
    return whole, seen


def test_one_file_after_the_other(tmp_path: Path, kernels: Kernels) -> None:
    second = write(tmp_path / "a.pcap", packet(10, "c"), packet(11, "d"))
    first = write(tmp_path / "b.pcap", packet(0, "a"), packet(1, "b"))
    whole, seen = sequence([second, first], kernels, first_no=5)
    assert [(s.payload, s.capture_no, s.frame) for s in seen] == [
        (b"a", 5, 1),
        (b"b", 5, 2),
        (b"c", 6, 1),
        (b"d", 6, 2),
    ]
    assert [(reader.facts.capture, reader.facts.capture_no) for reader in whole.readers] == [(first, 5), (second, 6)]
    assert whole.consumed == sum(Path(path).stat().st_size for path in (first, second))


def test_overlapping_files_are_merged_by_time(tmp_path: Path, kernels: Kernels) -> None:
    one = write(tmp_path / "1.pcap", *[packet(at, f"{at}") for at in (0, 2, 4, 9)])
    two = write(tmp_path / "2.pcap", *[packet(at, f"{at}") for at in (1, 3, 5, 6)])
    three = write(tmp_path / "3.pcap", *[packet(at, f"{at}") for at in (7, 8)])
    _, seen = sequence([one, two, three], kernels)
    assert [s.payload for s in seen] == [b"%d" % n for n in range(10)]
    assert [s.frame for s in seen] == [1, 1, 2, 2, 3, 3, 4, 1, 2, 4]


def test_the_same_time_keeps_the_order_of_the_files(tmp_path: Path) -> None:
    one = write(tmp_path / "1.pcap", packet(0, "a1"), packet(1, "b1"))
    two = write(tmp_path / "2.pcap", packet(0, "a2"), packet(1, "b2"))
    assert [s.payload for s in sequence([one, two])[1]] == [b"a1", b"a2", b"b1", b"b2"]


def test_a_file_keeps_its_own_order(tmp_path: Path) -> None:
    """A packet that is late in its own file does not come before its predecessors."""
    one = write(tmp_path / "1.pcap", packet(0, "a"), packet(5, "b"), packet(3, "late"), packet(6, "c"))
    two = write(tmp_path / "2.pcap", packet(1, "x"), packet(4, "y"), packet(7, "z"))
    own = [s.payload for s in sequence([one, two])[1] if s.capture_no == 0]
    assert own == [b"a", b"b", b"late", b"c"]


def test_a_broken_file_does_not_stop_the_others(tmp_path: Path) -> None:
    one = write(tmp_path / "1.pcap", packet(0, "a"), packet(2, "c"))
    two = tmp_path / "2.pcap"
    two.write_bytes(pcap([packet(1, "b"), packet(3, "d")])[:-1])
    three = write(tmp_path / "3.pcap", packet(2.5, "e"))
    four = tmp_path / "4.pcap"
    four.write_bytes(b"")
    whole, seen = sequence([one, str(two), three, str(four)])
    assert [s.payload for s in seen] == [b"a", b"b", b"c", b"e"]
    assert {r.facts.capture for r in whole.readers if r.facts.errors} == {str(two), str(four)}


def test_no_files() -> None:
    assert sequence([])[1] == []


@pytest.mark.parametrize("seed", range(3))
def test_many_long_files_that_overlap(tmp_path: Path, seed: int, kernels: Kernels) -> None:
    """More than a table of packets in some, so that they are read on while others wait."""
    rng = random.Random(seed)
    times = sorted(rng.sample(range(200_000), 25_000))
    owners = [rng.choices(range(4), [8, 4, 1, 1])[0] for _ in times]
    packets: list[list[Packet]] = [[], [], [], []]
    for at, owner in zip(times, owners, strict=True):
        packets[owner].append(packet(at / 1000, str(at)))
    paths = [write(tmp_path / f"{n}.pcap", *some) for n, some in enumerate(packets)]
    _, seen = sequence(paths, kernels)
    assert [int(s.payload) for s in seen] == times


def test_files_that_follow_each_other_closely_are_not_mixed(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.pcap", *[packet(10 * n + i, f"{10 * n + i}") for i in range(10)]) for n in range(5)]
    _, seen = sequence(paths)
    assert [int(s.payload) for s in seen] == list(range(50))
    assert all(a.capture_no <= b.capture_no for a, b in pairwise(seen))
