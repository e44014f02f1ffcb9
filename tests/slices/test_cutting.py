"""Slices hold the packets of their connections as they were captured, all of them and no others, and give the same rows."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from manifest import CAPTURES
from rewriting import (
    EXTENSIONS,
    ON_ETHERNET,
    OTHER_LINKS,
    Packet,
    doubled,
    fragments_of,
    on_ipv6,
    read,
    seen_again,
    wrapped,
    write,
)
from written import blocks, ends, of_connections, packets

import analyzer
from analyzer import results, slices
from analyzer.engines import native
from analyzer.errors import AnalyzerError, UsageError
from analyzer.slices import Selection, cutting
from tests import build

FILES = {path.name.partition(".")[0]: path for path in sorted(CAPTURES.iterdir()) if ".pcap" in path.name}
PLACE = ["capture", "frame", "frames"]
OF_THE_CLIENT = ["credentialed_sessions", "shape"]
"""What a row says of all that its client does, and not of its own connections."""
TELLING_PLACES = ("root_cause", "shadowed_by")
OTHER_NAMES = {"built-address-changes": ["client"]}
"""Captures in which only datagrams, which are in no slice, tell which of several names an address had when."""
BUSY, SMB311, SHARED = FILES["busy"], FILES["anonymous-smb311"], FILES["built-shared-address"]
KEY = ["client_ip", "server_ip", "resource", "interface", "operation", "application"]


@cache
def analyzed(path: Path) -> analyzer.Analysis:
    return analyzer.analyze(path)


def rows_of(analysis: Any, but: list[str]) -> pd.DataFrame:
    """Dependencies as texts, without where they were seen."""
    found = analysis.dependencies.drop(columns=[*PLACE, *OF_THE_CLIENT, *but]).astype("string")
    for column in TELLING_PLACES:
        found[column] = found[column].str.replace(r" in frame \d+ of .*", "", regex=True)
    return found.reset_index(drop=True)


def selections(analysis: Any) -> list[Selection]:
    """All rows; and those of each client, server, verdict, resource, application; the first and the last by number. Of those
    that mean the same rows one.
    """
    found = analysis.dependencies
    made = [Selection(), Selection(rows=[1]), Selection(rows=[1, len(found)])]
    for column, argument in (
        ("client_ip", "clients"),
        ("server_ip", "servers"),
        ("verdict", "verdicts"),
        ("resource", "resources"),
        ("application", "applications"),
    ):
        made += [Selection(**{argument: [value]}) for value in found[column].dropna().unique()]
    different: dict[tuple[int, ...], Selection] = {}
    for selection in made:
        different.setdefault(tuple(slices.chosen_rows(analysis, selection).tolist()), selection)
    return list(different.values())


WITHOUT_ROWS = {"empty-name", "kerberos-machine", "kerberos-user", "user"}
WITH_ROWS = [name for name in FILES if name not in WITHOUT_ROWS]


def test_captures_without_dependencies_are_few() -> None:
    assert {name for name in FILES if not len(analyzed(FILES[name]).dependencies)} == WITHOUT_ROWS


@pytest.mark.parametrize("name", WITH_ROWS)
def test_the_slice_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    analysis = analyzed(FILES[name])
    but = OTHER_NAMES.get(name, [])
    whole = rows_of(analysis, but)
    for selection in selections(analysis):
        chosen = slices.chosen_rows(analysis, selection)
        told = slices.cut(analysis, FILES[name], tmp_path / "slice.pcapng", selection)
        assert told.rows == len(chosen)
        again = rows_of(analyzer.analyze(told.path), but)
        if selection == Selection():
            pd.testing.assert_frame_equal(again, whole)
        merged = whole.iloc[chosen].merge(again.drop_duplicates(), how="left", indicator=True)
        assert (merged["_merge"] == "both").all(), (selection, merged)


# Which packets. #


@pytest.mark.parametrize("name", [name for name in WITH_ROWS if name != "anonymous-port4455"])
@pytest.mark.parametrize("selection", [Selection(), Selection(rows=[1])], ids=["all", "first"])
def test_whole_connections_and_nothing_else(name: str, selection: Selection, tmp_path: Path) -> None:
    """The ends of connections are those that the rows' clients and servers used; each packet between them is in the slice."""
    analysis = analyzed(FILES[name])
    told = slices.cut(analysis, FILES[name], tmp_path / "slice.pcapng", selection)
    found = packets(told.path)
    original = read(FILES[name])
    taken = {ends(packet) for packet in original if packet.data in {each.data for each in found}}
    assert frozenset() not in taken
    assert taken <= of_connections(analysis.connections)
    expected = [packet for packet in original if ends(packet) in taken]
    assert [(each.time_ns, each.data) for each in found] == [(packet.time_ns, packet.data) for packet in expected]
    clients = {analysis.dependencies["client_ip"].iloc[row] for row in slices.chosen_rows(analysis, selection)}
    assert {address for pair in taken for address, _ in pair} >= clients


def test_only_the_connections_of_a_row(tmp_path: Path) -> None:
    """One client of many: every packet is its own."""
    analysis = analyzed(BUSY)
    told = slices.cut(analysis, BUSY, tmp_path / "slice.pcapng", Selection(clients=["CLIENT5"]))
    assert {address for each in packets(told.path) for address, _ in ends(Packet(0, each.data))} == {
        "10.77.0.14",
        "10.77.0.3",
    }


def test_the_handshake_on_a_port_that_is_not_listed(tmp_path: Path) -> None:
    """It does not count for an analysis, and is part of the connection all the same."""
    path = FILES["anonymous-port4455"]
    told = slices.cut(analyzed(path), path, tmp_path / "slice.pcapng")
    original = [packet for packet in read(path) if any(port == 4455 for _, port in ends(packet))]
    assert [each.data for each in packets(told.path)] == [packet.data for packet in original]
    assert packets(told.path)[0].data[47] == 2  # SYN


def test_an_address_that_several_share_comes_whole(tmp_path: Path) -> None:
    """What makes a row say so are the other connections of that address."""
    analysis = analyzed(SHARED)
    place = int(analysis.dependencies["evidence"].str.contains("address.shared").to_numpy().argmax())
    told = slices.cut(analysis, SHARED, tmp_path / "slice.pcapng", Selection(rows=[place + 1]))
    client = analysis.dependencies["client_ip"].iloc[place]
    theirs = analysis.connections[analysis.connections["client_ip"] == client]
    assert {ends(Packet(0, each.data)) for each in packets(told.path)} == of_connections(theirs)


# In other clothes: every packet that carries some of the connection comes along. #

LONG = 1000
Clothes = Callable[[list[Packet]], list[tuple[int, Packet]]]
"""Packets anew, each with the number of the one that it carries, or carries a part of."""


def in_fragments(size: int, shuffle: bool = False, copies: int = 1, six: bool = False) -> Clothes:
    """All packets in fragments, which may come in any order, and more than once."""

    def made(originals: list[Packet]) -> list[tuple[int, Packet]]:
        chance = random.Random(size)
        found = []
        for number, packet in enumerate(on_ipv6(originals, EXTENSIONS, 0) if six else originals):
            parts = fragments_of(packet, size, number + 1) * copies
            if shuffle:
                chance.shuffle(parts)
            found += [(number, part) for part in parts]
        return found

    return made


def in_a_tunnel(name: str, size: int = 0) -> Clothes:
    """All packets in a tunnel, whose own packets may come in fragments."""

    def made(originals: list[Packet]) -> list[tuple[int, Packet]]:
        found = []
        for number, packet in enumerate(wrapped(originals, ON_ETHERNET[name])):
            parts = fragments_of(packet, size, number + 1) if size else [packet]
            found += [(number, part) for part in parts]
        return found

    return made


def fragments_in_a_tunnel_in_fragments(originals: list[Packet]) -> list[tuple[int, Packet]]:
    """Fragments in GRE, whose packets come in fragments themselves."""
    found = []
    for number, packet in enumerate(originals):
        inner = fragments_of(packet, 64, number + 1)
        for place, outer in enumerate(wrapped(inner, ON_ETHERNET["GRE"])):
            found += [(number, part) for part in fragments_of(outer, 40, 100 * (number + 1) + place)]
    return found


def seen_twice(originals: list[Packet]) -> list[tuple[int, Packet]]:
    """Each packet and its copy from behind a router."""
    return [(n, each) for n, packet in enumerate(originals) for each in (packet, seen_again(packet, 1000))]


CLOTHES: dict[str, Clothes] = {
    "fragments of 8 bytes": in_fragments(8),
    "fragments of 48 bytes, shuffled": in_fragments(48, shuffle=True),
    "fragments twice": in_fragments(56, copies=2),
    "fragments twice, shuffled": in_fragments(64, shuffle=True, copies=2),
    "VLAN tags": in_a_tunnel("QinQ"),
    "VXLAN in fragments": in_a_tunnel("VXLAN", 72),
    "VXLAN in GRE in QinQ": in_a_tunnel("VXLAN in GRE in QinQ"),
    "fragments in a tunnel in fragments": fragments_in_a_tunnel_in_fragments,
    "twice": seen_twice,
}


@pytest.mark.parametrize("clothes", CLOTHES)
def test_everything_that_carries_them_comes_along(clothes: str, tmp_path: Path) -> None:
    all_that_carry(clothes, tmp_path)


def test_compiled_kernels_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "PLAIN_PACKETS", 0)
    all_that_carry("fragments in a tunnel in fragments", tmp_path)
    all_that_carry("fragments twice, shuffled", tmp_path)


def all_that_carry(clothes: str, tmp_path: Path) -> None:
    """The slice of one client has all packets that carry some of its connections, and gives its rows."""
    originals = read(BUSY)
    dressed = CLOTHES[clothes](originals)
    path = write(tmp_path / "dressed.pcap", [packet for _, packet in dressed])
    analysis = analyzer.analyze(path)
    told = slices.cut(analysis, path, tmp_path / "slice.pcapng", Selection(clients=["10.77.0.14"]))
    client = {number for number, packet in enumerate(originals) if "10.77.0.14" in dict(ends(packet))}
    other = {port for number in client for _, port in ends(originals[number])} - {445, 139}
    of_client = of_connections(analysis.connections[analysis.connections["client_ip"] == "10.77.0.14"])
    assert other == {port for pair in of_client for _, port in pair} - {445, 139}
    expected = [packet.data for number, packet in dressed if ends(originals[number]) in of_client]
    assert [each.data for each in packets(told.path)] == expected
    assert rows_of(analyzer.analyze(told.path), []).equals(
        rows_of(analysis, [])[lambda rows: rows["client_ip"] == "10.77.0.14"].reset_index(drop=True)
    )


@pytest.mark.parametrize("name", OTHER_LINKS)
def test_link_types_are_kept(name: str, tmp_path: Path) -> None:
    link, wrap = OTHER_LINKS[name]
    originals = [packet for packet in read(SMB311) if ends(packet)]
    path = write(tmp_path / "c.pcap", [replace(packet, link=link) for packet in wrapped(originals, wrap, link)])
    told = slices.cut(analyzer.analyze(path), path, tmp_path / "slice.pcapng")
    found = packets(told.path)
    assert {each.link for each in found} == {link}
    assert len(found) == len(originals)


def test_late_copies_of_fragments(tmp_path: Path) -> None:
    """Copies that come when the packet was put together already, behind packets of others."""
    originals = read(BUSY)
    first = [(n, part) for n, packet in enumerate(originals) for part in fragments_of(packet, 64, n + 1)]
    last = max(packet.time_ns for packet in originals)
    late = [(n, replace(part, time_ns=min(part.time_ns + 500_000_000, last))) for n, part in first]
    dressed = sorted(first + late, key=lambda pair: pair[1].time_ns)
    path = write(tmp_path / "c.pcap", [packet for _, packet in dressed])
    analysis = analyzer.analyze(path)
    told = slices.cut(analysis, path, tmp_path / "slice.pcapng", Selection(clients=["CLIENT5"]))
    expected = [packet.data for n, packet in dressed if "10.77.0.14" in dict(ends(originals[n]))]
    assert [each.data for each in packets(told.path)] == expected


def test_ports_that_are_used_again(tmp_path: Path) -> None:
    """Of two connections between the same ends only the one that is behind the row is taken."""
    first = [packet for packet in read(FILES["refused-open"]) if ends(packet)]
    later = [packet for packet in read(FILES["works-then-refused"]) if ends(packet)]
    gap = 3_600_000_000_000
    client, server = ("10.77.0.10", 50000), ("10.77.0.2", 445)
    moved = [between(packet, client, server) for packet in one_connection(first)]
    again = [between(packet, client, server) for packet in one_connection(later)]
    again = [replace(p, time_ns=p.time_ns - again[0].time_ns + moved[-1].time_ns + gap) for p in again]
    path = write(tmp_path / "c.pcap", moved + again)
    analysis = analyzer.analyze(path)
    assert len(analysis.connections) == 2
    found = analysis.dependencies
    only_later = found[(found["first_seen"].astype("int64") > moved[-1].time_ns)].index[0]
    told = slices.cut(analysis, path, tmp_path / "slice.pcapng", Selection(rows=[int(only_later) + 1]))
    assert [each.data for each in packets(told.path)] == [packet.data for packet in again]


def one_connection(of: list[Packet]) -> list[Packet]:
    """The packets between the ends that send most."""
    counts: dict[Any, int] = {}
    for packet in of:
        counts[ends(packet)] = counts.get(ends(packet), 0) + 1
    return [packet for packet in of if ends(packet) == max(counts, key=lambda pair: counts[pair])]


def between(packet: Packet, client: tuple[str, int], server: tuple[str, int]) -> Packet:
    """The same IPv4 packet between other ports of the same server."""
    ip = packet.ip
    source, target = struct.unpack_from(">HH", ip, 20)
    ports = (client[1], server[1]) if target == 445 else (server[1], client[1])
    addresses = (client[0], server[0]) if target == 445 else (server[0], client[0])
    assert 445 in (source, target)
    packed = b"".join(bytes(map(int, address.split("."))) for address in addresses)
    return replace(packet, data=packet.data[:26] + packed + struct.pack(">HH", *ports) + packet.data[38:])


# Several files. #


def test_split_over_files(tmp_path: Path) -> None:
    originals = read(BUSY)
    folder = tmp_path / "parts"
    folder.mkdir()
    for part in range(5):
        write(folder / f"part{part}.pcap", originals[part * 150 : (part + 1) * 150], nano=bool(part % 2))
    analysis = analyzer.analyze(folder)
    told = slices.cut(analysis, folder, tmp_path / "slice.pcapng")
    expected = [packet for packet in originals if ends(packet) in of_connections(analysis.connections)]
    taken = {each.data for each in packets(told.path)}
    assert [each.data for each in packets(told.path)] == [packet.data for packet in expected if packet.data in taken]
    assert rows_of(analyzer.analyze(told.path), []).equals(rows_of(analyzed(BUSY), []))
    interfaces = [each for each in blocks(told.path) if each.kind == 1]
    assert [each.options[1][0].decode() for each in interfaces] == [f"from {folder}/part{n}.pcap" for n in range(5)]
    assert [each.options[9] for each in interfaces] == [[b"\6"], [b"\t"], [b"\6"], [b"\t"], [b"\6"]]


def test_fragments_of_a_packet_in_two_files_that_overlap(tmp_path: Path) -> None:
    """Two capture points, each of which saw every other fragment."""
    originals = read(SMB311)
    parts = [part for n, packet in enumerate(originals) for part in fragments_of(packet, 104, n + 1)]
    write(tmp_path / "a.pcap", parts[::2])
    write(tmp_path / "b.pcap", parts[1::2])
    paths = [tmp_path / "a.pcap", tmp_path / "b.pcap"]
    analysis = analyzer.analyze(paths)
    told = slices.cut(analysis, paths, tmp_path / "slice.pcapng")
    of_tcp = [part for n, p in enumerate(originals) for part in fragments_of(p, 104, n + 1) if ends(p)]
    assert sorted(each.data for each in packets(told.path)) == sorted(part.data for part in of_tcp)
    assert told.files == 2


def test_two_points_that_saw_the_same(tmp_path: Path) -> None:
    """Both copies of each packet are there, in the order of time, each on its interface."""
    originals = [packet for packet in read(SMB311) if ends(packet)]
    write(tmp_path / "a.pcap", originals)
    write(tmp_path / "b.pcap", [seen_again(packet, 2000) for packet in originals])
    paths = [tmp_path / "a.pcap", tmp_path / "b.pcap"]
    analysis = analyzer.analyze(paths)
    told = slices.cut(analysis, paths, tmp_path / "slice.pcapng")
    both = doubled(originals, 2000)
    assert sorted((each.time_ns, each.data) for each in packets(told.path)) == sorted((p.time_ns, p.data) for p in both)
    assert [each.time_ns for each in packets(told.path)] == [packet.time_ns for packet in both]
    assert rows_of(analyzer.analyze(told.path), []).equals(rows_of(analysis, []))


def test_sites_are_looked_at_each_by_itself(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copy(SMB311, tmp_path / name / "c.pcap")
    analysis = analyzer.analyze([tmp_path / "one", tmp_path / "two"], separate=True)
    first = analysis.dependencies.index[analysis.dependencies["site"].str.endswith("one")] + 1
    selection = Selection(rows=[int(row) for row in first])
    told = slices.cut(analysis, [tmp_path / "one", tmp_path / "two"], tmp_path / "slice.pcapng", selection)
    comments = [each.options[1][0].decode() for each in blocks(told.path) if each.kind == 1]
    assert comments == [f"from {tmp_path}/one/c.pcap"]


# What files say beside the packets. #


@pytest.mark.parametrize("order", "<>")
def test_interfaces_options_and_processes_are_kept(order: str, tmp_path: Path) -> None:
    """Names and units of interfaces, comments, flags, and the processes of macOS, whose numbers change."""
    originals = [packet for packet in read(SMB311) if ends(packet)]
    said = build.option(2, b"en7", order=order) + build.option(3, b"dock", order=order)
    begin = build.section_header(order=order) + build.interface(order=order, tsresol=3)
    begin += build.interface(order=order, tsresol=7, tsoffset=-5, snaplen=4000, options=said)
    begin += build.process_information(1, b"launchd", order=order)
    begin += build.process_information(501, b"smbclient", order=order)
    data = begin
    for packet in originals:
        outward = 2 if ("10.77.0.10", 445) not in ends(packet) and packet.data[26:30] == bytes((10, 77, 0, 10)) else 1
        options = build.option(1, b"seen", order=order)
        options += build.option(2, struct.pack(order + "I", outward), order=order)
        options += build.option(0x8001, struct.pack(order + "I", 1), order=order) + build.option(0, b"", order=order)
        ticks = (packet.time_ns + 5_000_000_000) // 100
        data += build.enhanced_packet(packet.data, ticks, order=order, number=1, size=9000, options=options)
    path = tmp_path / "c.pcapng"
    path.write_bytes(data)
    analysis = analyzer.analyze(path)
    assert set(analysis.dependencies["application"].dropna()) == {"smbclient"}
    told = slices.cut(analysis, path, tmp_path / "slice.pcapng")
    found = packets(told.path)
    assert [each.data for each in found] == [packet.data for packet in originals]
    assert {each.size for each in found} == {9000}
    assert all(each.comments[0] == "seen" for each in found)
    assert {tuple(each.options[2]) for each in found} == {(b"\1\0\0\0",), (b"\2\0\0\0",)}
    assert {tuple(each.options[0x8001]) for each in found} == {(bytes(4),)}
    interface = found[0].interface
    assert (interface[2], interface[3], interface[9], interface[14]) == (
        [b"en7"],
        [b"dock"],
        [b"\7"],
        [struct.pack("<q", -5)],
    )
    processes = [each for each in blocks(told.path) if each.kind == 0x80000001]
    assert [(each.fixed, each.options) for each in processes] == [(struct.pack("<I", 501), {2: [b"smbclient"]})]
    assert rows_of(analyzer.analyze(told.path), []).equals(rows_of(analysis, []))
    assert (analyzer.analyze(told.path).captures["first_seen"] == analysis.captures["first_seen"]).all()


def test_many_interfaces_take_several_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzer.capture.pcapng.MAX_INTERFACES", 2)
    originals = read(SMB311)
    for part in range(5):
        write(tmp_path / f"part{part}.pcap", originals[part * 25 : (part + 1) * 25])
    paths = sorted(tmp_path.glob("part*.pcap"))
    analysis = analyzer.analyze(paths)
    told = slices.cut(analysis, paths, tmp_path / "slice.pcapng")
    assert [each.kind for each in blocks(told.path) if each.kind in (0x0A0D0D0A, 1)].count(0x0A0D0D0A) == 3
    assert rows_of(analyzer.analyze(told.path), []).equals(rows_of(analysis, []))


# Comments. #


def test_each_row_is_named_on_its_frame(tmp_path: Path) -> None:
    analysis = analyzed(BUSY)
    told = slices.cut(analysis, BUSY, tmp_path / "slice.pcapng")
    by_data = {each.data: each.comments for each in packets(told.path)}
    originals = read(BUSY)
    seen = 0
    for number, row in enumerate(analysis.dependencies.to_dict("records"), 1):
        said = [text for text in by_data[originals[row["frame"] - 1].data] if text.startswith(f"dependency {number}: ")]
        assert len(said) == 1
        seen += 1
        for column in ("client_ip", "server_ip", "verdict", "reason", "resource", "operation", "application"):
            if not pd.isna(row[column]):
                assert str(row[column]) in said[0]
    assert sum(map(len, by_data.values())) == seen


def test_wireshark_reads_it(tshark: str, tmp_path: Path) -> None:
    """Without a complaint; and it shows the comments, the names and all packets."""
    analysis = analyzed(BUSY)
    told = slices.cut(analysis, BUSY, tmp_path / "slice.pcapng")
    fields = ["-T", "fields", "-e", "frame.number", "-e", "frame.comment", "-e", "frame.interface_id"]
    done = subprocess.run([tshark, "-r", told.path, *fields], capture_output=True, text=True, check=True)
    assert [line for line in done.stderr.splitlines() if not line.startswith("Running as user")] == []
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [int(line[0]) for line in lines] == list(range(1, told.packets + 1))
    assert [line[1] for line in lines if line[1]] == [
        ",".join(each.comments) for each in packets(told.path) if each.comments
    ]
    if capinfos := shutil.which("capinfos"):
        said = subprocess.run([capinfos, told.path], capture_output=True, text=True, check=True).stdout
        assert f"Number of packets:   {told.packets}" in said
        assert "Ethernet" in said


HOSTILE = 'x\x1b]0;owned\x07\ty\n"\u202e'


def test_names_from_the_wire_are_spelt_out_in_comments() -> None:
    row = dict.fromkeys(cutting.TOLD) | {
        "client_ip": "10.0.0.1", "server_ip": "10.0.0.2", "client": HOSTILE, "resource": HOSTILE, "verdict": "depends",
        "reason": "y" * 10_000, "capture": "c", "frame": 3,
    }  # fmt: skip
    made = cutting.comments([row], slices.chosen_rows(analyzed(SMB311), Selection())[:1], {"c": 0})
    (text,) = made[(0, 3)]
    assert text.isprintable()
    assert len(text) <= 4000
    assert "\\x1b]0;owned\\x07\\ty\\n" in text


# Where it is written, and what is read. #


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder of results, with the capture beside it under the name that the results have."""
    (tmp_path / "caught").mkdir()
    shutil.copy(SMB311, tmp_path / "caught" / "c.pcap")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(tmp_path)
        analysis = analyzer.analyze("caught/c.pcap")
        results.save(analysis, tmp_path / "results")
    return tmp_path / "results"


@pytest.mark.parametrize("place", ["as given", "beside the folder", "by its name beside the folder", "in the folder"])
def test_captures_that_results_name(place: str, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    if place == "as given":
        monkeypatch.chdir(tmp_path)
    elif place == "by its name beside the folder":
        (tmp_path / "caught" / "c.pcap").rename(tmp_path / "c.pcap")
    elif place == "in the folder":
        (tmp_path / "caught").rename(saved / "caught")
    told = slices.cut(results.load(saved), saved, tmp_path / "slice.pcapng")
    assert rows_of(analyzer.analyze(told.path), []).equals(rows_of(analyzed(SMB311), []))


def test_captures_that_are_gone_are_named(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "caught" / "c.pcap").unlink()
    monkeypatch.chdir("/")
    with pytest.raises(AnalyzerError, match=r"not there: caught/c\.pcap"):
        slices.cut(results.load(saved), saved, tmp_path / "slice.pcapng")
    assert not (tmp_path / "slice.pcapng").exists()


def test_a_capture_that_is_another_one_now(saved: Path, tmp_path: Path) -> None:
    shutil.copy(BUSY, tmp_path / "caught" / "c.pcap")
    with pytest.raises(AnalyzerError, match=r"c\.pcap: is not what was analyzed: it has 672 packets, and had 109"):
        slices.cut(results.load(saved), saved, tmp_path / "slice.pcapng")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["caught", "results"]


def test_a_capture_that_breaks_off_gives_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    path.write_bytes(SMB311.read_bytes()[:-10])
    analysis = analyzer.analyze(path)
    assert analysis.captures["errors"].notna().all()
    told = slices.cut(analysis, path, tmp_path / "slice.pcapng")
    assert len(analyzer.analyze(told.path).dependencies) == len(analysis.dependencies)


def test_a_capture_that_changes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.pcap"
    shutil.copy(SMB311, path)
    analysis = analyzer.analyze(path)
    monkeypatch.setattr(cutting, "_check", lambda *_: path.write_bytes(SMB311.read_bytes()[:5000]))
    with pytest.raises(AnalyzerError, match="changed while they were read"):
        slices.cut(analysis, path, tmp_path / "slice.pcapng")
    assert [each.name for each in tmp_path.iterdir()] == ["c.pcap"]


def test_standard_input_cannot_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SMB311.open("rb") as file:
        monkeypatch.setattr("sys.stdin", type("Input", (), {"buffer": file}))
        analysis = analyzer.analyze("-")
    with pytest.raises(AnalyzerError, match="standard input cannot be read again"):
        slices.cut(analysis, "-", tmp_path / "slice.pcapng")


def test_a_capture_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    shutil.copy(SMB311, path)
    (tmp_path / "link.pcapng").symlink_to(path)
    for output in (path, tmp_path / "link.pcapng"):
        with pytest.raises(UsageError, match="is one of the captures"):
            slices.cut(analyzer.analyze(path), path, output)
    assert path.read_bytes() == SMB311.read_bytes()


def test_what_is_interrupted_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "slice.pcapng"
    output.write_bytes(b"older")
    monkeypatch.setattr(
        "analyzer.capture.pcapng_writer.PcapngWriter.packet", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        slices.cut(analyzed(SMB311), SMB311, output)
    assert [path.name for path in tmp_path.iterdir()] == ["slice.pcapng"]
    assert output.read_bytes() == b"older"


def test_a_place_that_takes_no_files(tmp_path: Path) -> None:
    with pytest.raises(AnalyzerError, match="cannot be written"):
        slices.cut(analyzed(SMB311), SMB311, tmp_path / "nowhere" / "slice.pcapng")


def test_progress_goes_up_to_the_size(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    slices.cut(analyzed(BUSY), BUSY, tmp_path / "s.pcapng", progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (BUSY.stat().st_size,) * 2
