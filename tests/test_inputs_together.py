"""Many files are one continuing capture: however a conversation is cut into files, what is found is the same.

What differs is only which file a packet is in, and so its number. `placed` gives each row its packet's number in the whole.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import zstandard

import analyzer
from tests import build
from tests.build import ACCESS_DENIED, Packet, pcap, pcapng
from tests.dialogue import ALICE, Smb1, Smb2, Talk, packets_of, segments_of

TABLES = (
    "connections", "sessions", "channels", "trees", "pipe_opens", "calls", "credentialed_uses", "disk_opens", "problems",
    "dependencies", "clients", "servers", "pipes", "timeline", "hosts",
)  # fmt: skip
TELL_OF_FILES = ("root_cause", "shadowed_by")
"""Texts that name a file and a frame."""
Form = Callable[[Sequence[Packet]], bytes]
FORMS: dict[str, Form] = {
    "a.pcap": pcap,
    "a.pcapng": pcapng,
    "nano.pcap": lambda packets: pcap(packets, nano=True),
    "big-endian.pcap": lambda packets: pcap(packets, order=">"),
    "a.pcap.gz": lambda packets: gzip.compress(pcap(packets), mtime=0),
    "a.pcapng.gz": lambda packets: gzip.compress(pcapng(packets), mtime=0),
    "a.pcap.zst": lambda packets: zstandard.compress(pcap(packets)),
    "a.pcapng.zst": lambda packets: zstandard.compress(pcapng(packets)),
}


def talks() -> list[Talk]:
    """Two connections side by side: anonymous and with credentials on one, SMB 1 with RAP on the other."""
    first, second = Smb2(), Smb1("10.0.0.5", at=0.0005)
    first.login(0x11)
    first.tree(0x11, 1)
    first.create(0x11, 1, "srvsvc", (7, 7))
    first.write(0x11, 1, (7, 7), bytes(700))
    first.read(0x11, 1, (7, 7), bytes(900))
    first.create(0x11, 1, "samr", (0, 0), status=ACCESS_DENIED)
    first.login(0x22, ALICE)
    first.tree(0x22, 2)
    first.use(0x22, 2, "samr")
    first.logoff(0x11)
    first.tcp.close()
    second.login(2048)
    second.tree(2048, 1)
    second.rap(2048, 1)
    second.create(2048, 1, "\\lsarpc", 9)
    second.transact(2048, 1, 9, bytes(33), bytes(44))
    second.close(2048, 1, 9)
    second.tree(2048, 2, "DATA")
    second.tcp.close()
    return [first, second]


@cache
def packets() -> tuple[Packet, ...]:
    """The packets of these conversations."""
    return tuple(packets_of(segments_of(*talks())))


def of_the_whole(places: str, first: dict[str, int]) -> list[int]:
    """Places (`capture:frame|...`) as numbers of packets in the whole."""
    named = [place.rpartition(":") for place in places.split("|")]
    return [first.get(capture, 0) + int(frame) for capture, _, frame in named]


def placed(paths: Sequence[Path] | Path, first: dict[str, int] | None = None, **how: object) -> dict[str, pd.DataFrame]:
    """All tables, with each (capture, frame) as the number of its packet in the whole.

    first: for each capture how many packets of the whole are before its own.
    """
    analysis = analyzer.analyze(paths, detail="all", **how)  # type: ignore[arg-type]
    found = {}
    for name in TABLES:
        table = analysis.table(name)
        for capture, frame in (("capture", "frame"), ("capture", "first_frame"), ("answer_capture", "answer_frame")):
            if capture in table and frame in table:
                table = table.assign(
                    **{frame: table[capture].map(first or {}).fillna(0).astype("Int64") + table[frame]}
                )
        if "frames" in table:
            table = table.assign(frames=table["frames"].map(lambda places: of_the_whole(places, first or {})))
        # The file of an answer is told for sessions only.
        left_out = [*TELL_OF_FILES, "capture", "answer_capture", *(["answer_frame"] if name != "sessions" else [])]
        found[name] = table.drop(columns=[column for column in left_out if column in table])
    return found


@pytest.fixture(scope="module")
def one_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All packets in one file."""
    path = tmp_path_factory.mktemp("whole") / "whole.pcap"
    path.write_bytes(pcap(packets()))
    return path


@pytest.fixture(scope="module")
def plainly(one_file: Path) -> analyzer.Analysis:
    """What the one file gives."""
    return analyzer.analyze(one_file)


@pytest.fixture(scope="module")
def whole(one_file: Path) -> dict[str, pd.DataFrame]:
    """Its tables, to compare others with."""
    found = placed(one_file)
    assert len(found["sessions"]) == 3
    assert set(found["dependencies"]["resource"]) == {"DATA", "lsarpc", "rap", "srvsvc", "samr"}
    return found


def assert_same(whole: dict[str, pd.DataFrame], found: dict[str, pd.DataFrame]) -> None:
    for name, table in whole.items():
        pd.testing.assert_frame_equal(table, found[name], obj=name)


def without_order(found: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The same rows without the keys, which count in the order of files: standard input is the first of them."""
    plain = {}
    for name, table in found.items():
        keys = [column for column in table if column.endswith("_key") or column in ("connection_id", "session_no")]
        kept = table.drop(columns=keys)
        order = sorted(range(len(kept)), key=lambda row, kept=kept: [str(value) for value in kept.iloc[row]])
        plain[name] = kept.iloc[order].reset_index(drop=True)
    return plain


def cut(folder: Path, places: Sequence[int], forms: Sequence[str] = ()) -> tuple[list[Path], dict[str, int]]:
    """The packets in files that begin at 0 and at these places; their paths, and where each begins."""
    paths, first = [], {}
    for number, (begin, end) in enumerate(pairwise([0, *places, len(packets())])):
        form = forms[number % len(forms)] if forms else "a.pcap"
        path = folder / f"{number}-{form}"
        path.write_bytes(FORMS[form](packets()[begin:end]))
        paths.append(path)
        first[str(path)] = begin
    return paths, first


@pytest.mark.parametrize("part", range(2))
def test_two_files(part: int, whole: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    for place in range(6 + 7 * part, len(packets()), 14):
        paths, first = cut(tmp_path, [place])
        assert_same(whole, placed(paths, first))


def test_a_file_for_each_packet(whole: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    """So there is a cut before every packet."""
    paths, first = cut(tmp_path, range(1, len(packets())))
    assert_same(whole, placed(paths, first))


@pytest.mark.parametrize("places", [(1, 2), (14, 21), (30, 31), (5, 15, 25, 35, 45)])
def test_more_files(places: tuple[int, ...], whole: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    paths, first = cut(tmp_path, places)
    assert_same(whole, placed(paths, first))


def test_the_order_of_names_does_not_matter(whole: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    paths, first = cut(tmp_path, [13, 27])
    assert_same(whole, placed(tmp_path, first))  # the folder that holds them
    for order in ((2, 1, 0), (1, 0, 2)):
        assert_same(whole, placed([paths[place] for place in order], first))
    analysis = analyzer.analyze(paths[::-1])
    assert analysis.captures["capture"].tolist() == [str(path) for path in paths]
    assert analysis.captures["packets"].tolist() == [13, 14, len(packets()) - 27]


def test_forms_of_files_mixed(whole: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    """One of each form."""
    paths, first = cut(tmp_path, [4, 11, 19, 26, 33, 41, 48], list(FORMS))
    assert_same(whole, placed(paths[::-1], first))


# Files that overlap. #


def counted(analysis: analyzer.Analysis) -> dict[str, list[object]]:
    """What would be more if a packet counted twice."""
    connections = analysis.connections
    return {
        "bytes": connections[["client_bytes", "server_bytes", "missing_bytes", "unparsed_bytes"]].to_numpy().tolist(),
        # Rows stand in the order of files, so here in one of their own.
        "sessions": sorted(analysis.sessions[["client_ip", "identity", "status"]].to_numpy().tolist()),
        "opens": sorted(analysis.pipe_opens[["pipe", "bytes_written", "bytes_read"]].to_numpy().tolist()),
        "calls": analysis.calls["operation"].tolist(),
        "uses": sorted(
            analysis.dependencies[["resource", "verdict", "uses", "succeeded", "denied"]].to_numpy().tolist()
        ),
        "credentialed": sorted(analysis.credentialed_uses[["resource", "uses"]].to_numpy().tolist()),
        "problems": [len(analysis.problems)],
    }


def write(path: Path, some: Sequence[Packet]) -> Path:
    """A pcap file."""
    path.write_bytes(pcap(some))
    return path


OVERLAPS: dict[str, Callable[[], list[Sequence[Packet]]]] = {
    "some packets in both": lambda: [packets()[:30], packets()[18:]],
    "a file twice": lambda: [packets(), packets()],
    "one inside the other": lambda: [packets(), packets()[10:20]],
    "each lacks what the other has": lambda: [packets()[:10] + packets()[13:], packets()[:40] + packets()[44:]],
    "each has every second": lambda: [packets()[::2], packets()[1::2]],
    "three of them": lambda: [packets()[:30], packets()[10:40], packets()[20:]],
}


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_packets_in_several_files_count_once(overlap: str, plainly: analyzer.Analysis, tmp_path: Path) -> None:
    """And whichever file a row names: its packet of that number is the one that the whole capture names."""
    files = {str(tmp_path / f"{number}.pcap"): some for number, some in enumerate(OVERLAPS[overlap]())}
    found = analyzer.analyze([write(Path(path), some) for path, some in files.items()])
    assert counted(found) == counted(plainly)
    one = dict.fromkeys(plainly.captures["capture"], packets())
    for name, key in (
        ("sessions", "started"),
        ("trees", "time"),
        ("pipe_opens", "opened"),
        ("dependencies", "resource"),
    ):
        assert named(found, name, key, files) == named(plainly, name, key, one), name


def named(analysis: analyzer.Analysis, name: str, key: str, files: dict[str, Sequence[Packet]]) -> list[int]:
    """The times of the packets that the rows of a table name, in the order of a column."""
    rows = analysis.table(name).dropna(subset="frame").sort_values(key)
    return [files[capture][frame - 1].time_ns for capture, frame in zip(rows["capture"], rows["frame"], strict=True)]


@pytest.mark.parametrize("late_ns", [200_000, -200_000])
def test_two_capture_points_with_clocks_that_differ(late_ns: int, plainly: analyzer.Analysis, tmp_path: Path) -> None:
    """The same packets, seen a moment later elsewhere and with one hop less to live."""
    write(tmp_path / "here.pcap", packets())
    elsewhere = []
    for packet in packets():
        data = bytearray(packet.data)
        data[14 + 8] -= 1  # the IP header's time to live
        elsewhere.append(Packet(packet.time_ns + late_ns, bytes(data)))
    write(tmp_path / "there.pcap", elsewhere)
    assert counted(analyzer.analyze(tmp_path)) == counted(plainly)


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", packets())
    analysis = analyzer.analyze([path, path, tmp_path, tmp_path / "*.pcap"])
    assert analysis.captures["packets"].tolist() == [len(packets())]


# Sites, ports used again, standard input. #


def test_separate_folders_are_kept_apart(tmp_path: Path) -> None:
    """The same packets in two folders: two networks, or one that was captured twice."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "c.pcap", packets())
    together, apart = analyzer.analyze(tmp_path), analyzer.analyze(tmp_path, separate=True)
    for name in ("connections", "sessions", "trees", "pipe_opens", "dependencies", "clients", "servers", "hosts"):
        one, two = together.table(name), apart.table(name)
        assert len(two) == 2 * len(one) > 0, name
        if "site" in two:
            assert set(two["site"]) == {str(tmp_path / "a"), str(tmp_path / "b")}
            assert set(one["site"]) == {""}
    assert apart.captures["site"].tolist() == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_separate_files_of_one_folder_are_one_capture(tmp_path: Path) -> None:
    paths, _ = cut(tmp_path, [20])
    analysis = analyzer.analyze(paths, separate=True)
    assert len(analysis.connections) == 2
    assert len(analysis.sessions) == 3


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "its end not captured"])
@pytest.mark.parametrize("files", [1, 2])
def test_a_port_used_again_is_another_connection(closed: bool, files: int, tmp_path: Path) -> None:
    """The same ports, session id and tree id: anonymous the first time, a user the second."""
    first, second = Smb2(), Smb2(at=300, isn=77_000_000)
    first.anonymous_use(0x11, "srvsvc")
    if closed:
        first.tcp.close()
    second.credentialed_use(0x11, "srvsvc")
    parts = [packets_of(segments_of(first)), packets_of(segments_of(second))]
    if files == 1:
        parts = [parts[0] + parts[1]]
    paths = [write(tmp_path / f"{number}.pcap", part) for number, part in enumerate(parts)]
    analysis = analyzer.analyze(paths, detail="all")
    assert analysis.connections["missing_bytes"].tolist() == [0, 0]
    assert analysis.connections["midstream"].tolist() == [False, False]
    assert analysis.sessions["identity"].tolist() == ["anonymous", "user"]
    assert analysis.pipe_opens["session_key"].tolist() == analysis.sessions["session_key"].tolist()
    assert analysis.dependencies["uses"].tolist() == [1]


@pytest.mark.parametrize("form", ["a.pcap", "a.pcapng.zst"])
def test_standard_input(
    form: str, whole: dict[str, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, _ = cut(tmp_path, [], [form])
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(paths[0].read_bytes())))
    assert_same(whole, placed(["-"]))  # type: ignore[list-item]


@pytest.mark.parametrize("piped", [0, 1], ids=["the earlier part", "the later part"])
def test_standard_input_beside_a_file(
    piped: int, whole: dict[str, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes by standard input is not known beforehand; its packets take their place by time."""
    paths, first = cut(tmp_path, [23])
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(paths[piped].read_bytes())))
    first["-"] = first[str(paths[piped])]
    found = placed([Path("-"), paths[1 - piped]], first)
    assert_same(*(without_order(tables) for tables in (whole, found)))


def test_a_gap_between_files_is_counted_and_not_bridged(tmp_path: Path) -> None:
    """Between the files some packets were not captured: the bytes are told, the rest is found."""
    talk = Smb2()
    talk.login(0x11)
    talk.tree(0x11, 1)
    lost = talk.create(0x11, 1, "srvsvc", (7, 7))
    talk.use(0x11, 1, "lsarpc", (8, 8))
    talk.tcp.close()
    at = next(number for number, segment in enumerate(talk.tcp.segments) if segment is lost.request)
    segments = segments_of(talk)
    paths = [
        write(tmp_path / "1.pcap", packets_of(segments[:at])),
        write(tmp_path / "2.pcap", packets_of(segments[at + 2 :])),
    ]
    analysis = analyzer.analyze(paths)
    assert lost.request
    assert lost.answer
    sizes = len(lost.request.payload) + len(lost.answer.payload)
    assert analysis.connections["missing_bytes"].tolist() == [sizes]
    assert analysis.dependencies[["resource", "verdict"]].to_numpy().tolist() == [["lsarpc", "depends"]]


def test_a_damaged_file_among_others(tmp_path: Path) -> None:
    """What stands behind the damage is missing; the files before and after it are read."""
    paths, _ = cut(tmp_path, [15, 30])
    data = paths[1].read_bytes()
    paths[1].write_bytes(data[: len(data) // 2])
    analysis = analyzer.analyze(paths)
    assert analysis.captures["errors"].notna().tolist() == [False, True, False]
    assert analysis.captures["packets"].tolist()[::2] == [15, len(packets()) - 30]
    assert set(analysis.connections["client_ip"]) == {"10.0.0.1", "10.0.0.5"}
    assert analysis.captures["first_seen"].min().value == build.START_NS
