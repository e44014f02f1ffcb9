"""Recorded captures in other clothes: what must not change a result does not, and what must gives less, never else.

`rewriting` writes them anew. Expected is always what the capture itself gives, which `test_captures.py` compares with
what was done when it was recorded.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Set
from functools import cache
from ipaddress import IPv6Address
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from analysed import analysed
from rewriting import (
    EXTENSIONS,
    ON_ETHERNET,
    OTHER_LINKS,
    UDP,
    Packet,
    Wrap,
    as_ipv6,
    doubled,
    ethernet,
    fragmented,
    fragments_of,
    inner,
    ipv4,
    on_ipv6,
    read,
    seen_again,
    udp,
    vxlan,
    wrapped,
    write,
)
from streams import Segment, reordered, resegmented, segments_in, write_pcap

import analyzer
from analyzer import compiled
from analyzer.engines import native
from analyzer.tables import ROWS, TABLES, TIME
from tests import build

CAPTURES = Path(__file__).parents[1] / "captures"
FILES = {path.name.partition(".")[0]: path for path in sorted(CAPTURES.iterdir()) if ".pcap" in path.name}
EVERY = tuple(FILES)
NAMES = (
    "anonymous-smb311", "anonymous-smb1-plain", "anonymous-port139", "rap", "interleaved-smb2", "reauthentication",
    "kerberos-user", "guest", "refused-then-user", "multichannel",
)  # fmt: skip
FEW = ("anonymous-smb311", "interleaved-smb1", "refused-then-user")
"""NAMES and FEW are put through each transformation alone; all captures through each kind of them, several at once."""
CONTAINER = {"capture", "answer_capture", "format", "link_type", "bytes", "snaplen", "dropped_packets"}
"""Columns about the file and not about what is in it."""

_SEALED = (
    "signatures and ciphers are worked off as packets come: what is seen before the login that it needs is not read"
)
EXCEPTIONS: dict[str, dict[str, str]] = {
    "IPv6": {
        "anonymous-ipv6": "is IPv6 already",
        "logged-ipv6": "is IPv6 already",
        "built-address-changes": "datagrams name its IPv4 addresses",
        "names-netbios": "datagrams name its IPv4 addresses",
    },
    "segments": {"multichannel": "what a connection means rests on what another one said before it"},
    "segments in another order": {
        "anonymous-encrypted": _SEALED,
        "anonymous-signed-dialects": _SEALED,
        "guest-signed": _SEALED,
        "refused-session-setup": _SEALED,
        "anonymous-port4455": "the first payload on a port that is not named must be the first of the connection",
        "built-midstream": "where it begins to be read is at a message that begins with a segment",
    },
    "late copies": {"anonymous-port4455": "on a port that is not named a handshake is not remembered by its packets"},
    "copies in fragments": dict.fromkeys(
        ("anonymous-ipv6", "logged-ipv6"), "routers do not fragment IPv6, so no packet is whole in one place only"
    ),
    "the client alone": {"anonymous-null-flag": "only the server says that it made a guest of who asked for nothing"},
    "256 bytes": {"built-nt4": "no packet is longer", "built-share-level": "no packet is longer"},
}
"""Captures by kind of transformation that are not put through it, and why."""


def all_but(kind: str, names: tuple[str, ...] = EVERY) -> list[str]:
    """All captures but the exceptions."""
    assert EXCEPTIONS[kind].keys() <= set(EVERY)
    return [name for name in names if name not in EXCEPTIONS[kind]]


OTHERS = tuple(name for name in EVERY if name not in {*NAMES, *FEW})

Rows = dict[str, list[dict[str, Any]]]


OF_FRAMES = {"mac", "valid_from", "valid_to", "shared"}
"""What `hosts` has from the hardware addresses of frames, which other links and tunnels do not have."""


def tables_of(
    paths: Path | list[Path],
    without: set[str] = frozenset(),  # type: ignore[assignment]
    *,
    times: bool = True,
    frames: bool = True,
) -> Rows:
    """All tables of rows as plain values, without the columns that are named, nor those about the container."""
    return rows_of(analyzer.analyze(paths, detail="all"), without, times, frames)


def rows_of(analysis: analyzer.Analysis, without: Set[str], times: bool, frames: bool) -> Rows:
    """The same of an analysis; times in nanoseconds."""
    found = {}
    for name in ROWS:
        columns = {
            column.name: values_of(analysis.arrow(name)[column.name])
            for column in TABLES[name]
            if column.name not in CONTAINER | without
            and (times or column.kind != TIME)
            and (frames or "frame" not in column.name)
        }
        found[name] = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    found["hosts"] = [
        {key: value for key, value in row.items() if key not in OF_FRAMES} for row in found["hosts"] if row["name"]
    ]
    return found


def values_of(column: pa.ChunkedArray) -> list[Any]:
    """Python's texts and numbers; a time becomes its nanoseconds, since making an object of it takes long."""
    found: list[Any] = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
    return found


@cache
def recorded(name: str) -> tuple[Packet, ...]:
    """The packets of a capture of the project."""
    return tuple(read(FILES[name]))


@cache
def expected(name: str, without: frozenset[str] = frozenset(), times: bool = True, frames: bool = True) -> Rows:
    """The rows of that."""
    return rows_of(analysed(FILES[name].name, "all"), without, times, frames)


def assert_equal(found: Rows, wanted: Rows) -> None:
    """Table by table, so that a difference names its table."""
    for name, rows in wanted.items():
        assert found[name] == rows, name


@pytest.fixture(autouse=True)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """NAMES and FEW are read by plain kernels, as all small captures are, and the others by compiled ones, as large ones are:
    each transformation is put before both, and compiled ones take half as long.
    """
    given = request.node.callspec.params.get("name") if hasattr(request.node, "callspec") else None
    if given in OTHERS:
        kernels = compiled.compiled_kernels()
        monkeypatch.setattr(native, "plain_kernels", lambda: kernels)


def test_the_captures_show_something() -> None:
    assert {*NAMES, *FEW} <= set(EVERY)
    for name in EVERY:
        assert expected(name)["sessions"], name


# Link layers and tunnels: all stays, frames and times as well. #


@pytest.mark.parametrize("wrap", ON_ETHERNET.values(), ids=ON_ETHERNET)
@pytest.mark.parametrize("name", FEW)
def test_on_ethernet(name: str, wrap: Wrap, tmp_path: Path) -> None:
    path = write(tmp_path / "c.pcap", wrapped(list(recorded(name)), wrap))
    assert_equal(tables_of(path), expected(name))


@pytest.mark.parametrize(("link", "wrap"), OTHER_LINKS.values(), ids=OTHER_LINKS)
@pytest.mark.parametrize("name", FEW)
def test_on_other_links(name: str, link: int, wrap: Wrap, tmp_path: Path) -> None:
    path = write(tmp_path / "c.pcap", wrapped(list(recorded(name)), wrap, link))
    assert_equal(tables_of(path), expected(name))


@pytest.mark.parametrize("name", EVERY)
def test_every_packet_in_another_way(name: str, tmp_path: Path) -> None:
    """A mirror port that carries everything at once."""
    wraps = list(ON_ETHERNET.values())
    packets = [Packet(p.time_ns, wraps[n % len(wraps)](*inner(p), n)) for n, p in enumerate(recorded(name))]
    assert_equal(tables_of(write(tmp_path / "c.pcap", packets)), expected(name))


@pytest.mark.parametrize("name", EVERY)
def test_other_links_in_turn(name: str, tmp_path: Path) -> None:
    """Each capture on one of them."""
    link, wrap = list(OTHER_LINKS.values())[EVERY.index(name) % len(OTHER_LINKS)]
    path = write(tmp_path / "c.pcap", wrapped(list(recorded(name)), wrap, link))
    assert_equal(tables_of(path), expected(name))


@pytest.mark.parametrize("name", EVERY)
def test_frame_check_sequences_and_trailers(name: str, tmp_path: Path) -> None:
    packets = [Packet(p.time_ns, ethernet(*inner(p)).ljust(60, b"\xee") + b"FCS.") for p in recorded(name)]
    assert_equal(tables_of(write(tmp_path / "c.pcap", packets)), expected(name))


def moved(rows: Rows) -> Rows:
    """The same rows with IPv6 addresses in place of IPv4."""

    def other(key: str, value: Any) -> Any:
        return as_ipv6(bytes(map(int, value.split(".")))) if key in ("ip", "client_ip", "server_ip") else value

    made = {name: [{k: other(k, value) for k, value in row.items()} for row in table] for name, table in rows.items()}
    by_ends = {
        "hosts": lambda row: IPv6Address(row["ip"]).packed,
        "credentialed_uses": lambda row: (str(row["client_ip"]), str(row["server_ip"])),
    }
    return made | {name: sorted(made[name], key=key) for name, key in by_ends.items()}


@pytest.mark.parametrize("extended", [False, True], ids=["plain", "extension headers"])
@pytest.mark.parametrize("name", all_but("IPv6"))
def test_on_ipv6(name: str, extended: bool, tmp_path: Path) -> None:
    packets = on_ipv6(list(recorded(name)), EXTENSIONS, 0) if extended else on_ipv6(list(recorded(name)))
    assert_equal(tables_of(write(tmp_path / "c.pcap", packets)), moved(expected(name)))


# Fragments: the last one counts as the packet, so frames differ. #

FRAMES = frozenset({"packets", "offset"})
ORDERS: dict[str, Callable[[list[Packet]], list[Packet]]] = {
    "in order": list,
    "backwards": lambda parts: parts[::-1],
    "the last one first": lambda parts: parts[-1:] + parts[:-1],
    "repeated": lambda parts: [part for part in parts for _ in range(2)] + parts[:1],
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("name", FEW)
def test_ipv4_fragments_in_any_order(name: str, order: Callable[[list[Packet]], list[Packet]], tmp_path: Path) -> None:
    path = write(tmp_path / "c.pcap", fragmented(list(recorded(name)), 64, order))
    assert_equal(tables_of(path, set(FRAMES), frames=False), expected(name, FRAMES, frames=False))


@pytest.mark.parametrize("size", [8, 104, 1024])
@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("name", ["rap", "guest", "multichannel"])
def test_fragments(name: str, six: bool, size: int, tmp_path: Path) -> None:
    packets = on_ipv6(list(recorded(name))) if six else list(recorded(name))
    rows = tables_of(write(tmp_path / "c.pcap", fragmented(packets, size)), set(FRAMES), frames=False)
    wanted = expected(name, FRAMES, frames=False)
    assert_equal(rows, moved(wanted) if six else wanted)


@pytest.mark.parametrize("name", FEW)
def test_fragments_of_several_packets_among_each_other(name: str, tmp_path: Path) -> None:
    """Eight packets at a time, their fragments dealt out in turn; the packets become whole in their order."""
    packets = list(recorded(name))
    dealt = []
    for first in range(0, len(packets), 8):
        parts = [fragments_of(p, 48, first + n + 1) for n, p in enumerate(packets[first : first + 8])]
        dealt += [part for some in parts for part in some[:-1]] + [some[-1] for some in parts]
    rows = tables_of(write(tmp_path / "c.pcap", dealt), set(FRAMES), frames=False, times=False)
    assert_equal(rows, expected(name, FRAMES, frames=False, times=False))


@pytest.mark.parametrize("name", FEW)
def test_a_tunnel_in_fragments_with_fragments_in_it(name: str, tmp_path: Path) -> None:
    packets = fragmented(list(recorded(name)), 128)
    packets = fragmented(wrapped(packets, ON_ETHERNET["VXLAN"]), 64)
    rows = tables_of(write(tmp_path / "c.pcap", packets), set(FRAMES), frames=False)
    assert_equal(rows, expected(name, FRAMES, frames=False))


@pytest.mark.parametrize("name", EVERY)
def test_fragments_backwards_in_a_tunnel(name: str, tmp_path: Path) -> None:
    packets = fragmented(wrapped(list(recorded(name)), ON_ETHERNET["GRE"]), 120, ORDERS["backwards"])
    rows = tables_of(write(tmp_path / "c.pcap", packets), set(FRAMES), frames=False)
    assert_equal(rows, expected(name, FRAMES, frames=False))


def test_fragments_that_lie_in_two_files(tmp_path: Path) -> None:
    packets = fragmented(list(recorded("rap")), 64)
    middle = next(n for n in range(len(packets) // 2, len(packets)) if packets[n].time_ns == packets[n - 1].time_ns)
    paths = [write(tmp_path / "1.pcap", packets[:middle]), write(tmp_path / "2.pcap", packets[middle:])]
    rows = tables_of(paths, set(FRAMES), frames=False)
    wanted = expected("rap", FRAMES, frames=False)
    del rows["captures"]
    assert_equal({**rows, "captures": wanted["captures"]}, wanted)


# Containers. #


@pytest.mark.parametrize("nano", [False, True], ids=["microseconds", "nanoseconds"])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("name", FEW)
def test_byte_order_and_resolution(name: str, order: str, nano: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "c.pcap", recorded(name), order=order, nano=nano)
    assert_equal(tables_of(path), expected(name))


@pytest.mark.parametrize("resolution", [6, 7, 9])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("name", FEW)
def test_pcapng(name: str, order: str, resolution: int, tmp_path: Path) -> None:
    path = tmp_path / "c.pcapng"
    packets = [build.Packet(p.time_ns, p.data) for p in recorded(name)]
    path.write_bytes(build.pcapng(packets, order=order, tsresol=resolution))
    assert_equal(tables_of(path), expected(name))


@pytest.mark.parametrize("name", NAMES)
def test_gzip(name: str, tmp_path: Path) -> None:
    path = tmp_path / "c.pcap.gz"
    path.write_bytes(gzip.compress(FILES[name].read_bytes(), mtime=0))
    assert_equal(tables_of(path), expected(name))


@pytest.mark.parametrize("name", EVERY)
def test_containers_one_in_the_other(name: str, tmp_path: Path) -> None:
    """A VLAN, big-endian pcap or pcapng of another resolution, compressed."""
    number = EVERY.index(name)
    packets = wrapped(list(recorded(name)), ON_ETHERNET["802.1Q"])
    path = tmp_path / "c.gz"
    is_coarse = all(packet.time_ns % 1000 == 0 for packet in packets)
    if number % 2:
        write(path, packets, order=">", nano=not is_coarse or number % 4 == 1)
    else:
        built = [build.Packet(packet.time_ns, packet.data) for packet in packets]
        exact = (6, 7, 9) if is_coarse else (9,)
        path.write_bytes(build.pcapng(built, order=">", tsresol=exact[number % len(exact)]))
    path.write_bytes(gzip.compress(path.read_bytes(), 1, mtime=0))
    assert_equal(tables_of(path), expected(name))


@pytest.mark.parametrize("name", EVERY)
def test_rolling_files(name: str, tmp_path: Path) -> None:
    packets = list(recorded(name))
    cuts = [0, len(packets) // 3, len(packets) // 3 + 1, 2 * len(packets) // 3, len(packets)]
    paths = [write(tmp_path / f"{n}.pcap", packets[begin:end]) for n, (begin, end) in enumerate(pairwise(cuts))]
    rows, wanted = tables_of(paths, frames=False), expected(name, frames=False)
    files = rows.pop("captures")
    for count in ("packets", "smb_packets"):
        assert sum(file[count] for file in files) == wanted["captures"][0][count]
    assert_equal(rows | {"captures": wanted["captures"]}, wanted)


# Segments. #

SEGMENTS = frozenset({"packets", "smb_packets"})


@cache
def segments_of(name: str) -> tuple[Segment, ...]:
    return tuple(segments_in(build.pcap([build.Packet(p.time_ns, p.data) for p in recorded(name)])))


@cache
def one_a_millisecond(name: str) -> Rows:
    """What the segments of a capture give by themselves."""
    with TemporaryDirectory() as folder:
        write_pcap(Path(folder) / "c.pcap", list(segments_of(name)))
        return tables_of(Path(folder) / "c.pcap", set(SEGMENTS | FRAMES), frames=False, times=False)


def without_order(rows: Rows) -> dict[str, list[str]]:
    """Rows of different connections may change places with the order of their packets; and so their keys."""
    keys = {"session_key", "tree_key", "open_key", "call_key", "session_no"}
    return {
        name: sorted(str({key: value for key, value in row.items() if key not in keys}) for row in table)
        for name, table in rows.items()
    }


CUTS: dict[str, Callable[[list[Segment]], list[Segment]]] = {
    "100 bytes": lambda segments: resegmented(segments, [100]),
    "several messages in one": lambda segments: resegmented(segments, [60_000]),
    "another order": lambda segments: reordered(segments, [(n * 7, 1 + n % 3) for n in range(12)]),
    "100 bytes, another order": lambda segments: reordered(
        resegmented(segments, [100]), [(n * 11, 1 + n % 5) for n in range(25)]
    ),
}
ALL_CUTS = ("several messages in one", "100 bytes, another order")
CUT_CASES = [
    (name, cut)
    for name in all_but("segments")
    for cut in CUTS
    if (name in NAMES or cut in ALL_CUTS) and not ("order" in cut and name in EXCEPTIONS["segments in another order"])
]


@pytest.mark.parametrize(("name", "cut"), CUT_CASES, ids=map("-".join, CUT_CASES))
def test_segments(name: str, cut: str, tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    write_pcap(path, CUTS[cut](list(segments_of(name))))
    found = tables_of(path, set(SEGMENTS | FRAMES), frames=False, times=False)
    assert without_order(found) == without_order(one_a_millisecond(name))


# The same packet more than once: counts of packets stay too. #

COPIES: dict[str, Callable[[list[Packet]], list[Packet]]] = {
    "a mirror of both directions": lambda packets: doubled(packets, 3_000),
    "at once": lambda packets: [packet for packet in packets for _ in range(2)],
    "four times": lambda packets: doubled(doubled(packets, 2_000), 5_000),
    "before the router, late": lambda packets: doubled(packets, 60_000_000),
    "inside and outside of a tunnel": lambda packets: doubled(
        packets,
        0,
        lambda p: Packet(p.time_ns + 9_000, ethernet(ipv4(udp(vxlan(seen_again(p, 0).data), 4789), UDP), 0x0800)),
    ),
    "inside of a VLAN and of none": lambda packets: doubled(
        packets, 0, lambda p: Packet(p.time_ns + 20_000, ethernet(*inner(p), tags=(0x8100,)))
    ),
    "whole and in fragments": lambda packets: [
        part for n, p in enumerate(packets) for part in (p, *fragments_of(seen_again(p, 0), 256, number_of(p)))
    ],
}


def number_of(packet: Packet) -> int:
    """The identification of an IPv4 packet."""
    return int.from_bytes(packet.ip[4:6], "big")


def spelt(rows: Rows) -> Rows:
    """Rows without what only says how many packets a file has."""
    files = [{key: value for key, value in row.items() if key != "packets"} for row in rows["captures"]]
    return rows | {"captures": files}


AT_ONCE: dict[str, Callable[[list[Packet]], list[Packet]]] = {
    "a mirror, and a VLAN": lambda packets: COPIES["inside of a VLAN and of none"](doubled(packets, 3_000)),
    "late, in a tunnel, and in fragments": lambda packets: doubled(
        COPIES["inside and outside of a tunnel"](COPIES["whole and in fragments"](packets)), 60_000_000
    ),
}
COPY_CASES = [(name, change) for name in NAMES for change in COPIES]
COPY_CASES += [(name, "a mirror, and a VLAN") for name in EVERY]
COPY_CASES += [
    (name, "late, in a tunnel, and in fragments")
    for name in all_but("late copies")
    if name not in EXCEPTIONS["copies in fragments"]
]


@pytest.mark.parametrize(("name", "copy"), COPY_CASES, ids=map("-".join, COPY_CASES))
def test_copies(name: str, copy: str, tmp_path: Path) -> None:
    change = (COPIES | AT_ONCE)[copy]
    path = write(tmp_path / "c.pcap", change(list(recorded(name))))
    rows, wanted = spelt(tables_of(path, frames=False, times=False)), spelt(expected(name, frames=False, times=False))
    assert_equal(rows, wanted)


def duplicates(analysis: analyzer.Analysis) -> int:
    table = analysis.coverage
    return int(table.loc[table["measure"] == "duplicate_packets", "value"].sum())


@pytest.mark.parametrize("skew_ns", [-40_000_000, -1, 0, 300_000, 40_000_000])
def test_two_capture_points(skew_ns: int, tmp_path: Path) -> None:
    """Two files of one network, taken before and behind a router, whose clocks differ."""
    packets = list(recorded("rap"))
    paths = [
        write(tmp_path / "here.pcap", packets),
        write(tmp_path / "there.pcap", [seen_again(packet, skew_ns) for packet in packets]),
    ]
    rows, wanted = tables_of(paths, frames=False, times=False), expected("rap", frames=False, times=False)
    assert sum(file["smb_packets"] for file in rows["captures"]) == wanted["captures"][0]["smb_packets"]
    assert_equal(rows | {"captures": wanted["captures"]}, wanted)
    assert duplicates(analyzer.analyze(paths)) == wanted["captures"][0]["smb_packets"]


def test_files_that_overlap(tmp_path: Path) -> None:
    packets = list(recorded("rap"))
    paths = [write(tmp_path / "1.pcap", packets[:60]), write(tmp_path / "2.pcap", packets[20:])]
    rows, wanted = tables_of(paths, frames=False), expected("rap", frames=False)
    assert sum(file["smb_packets"] for file in rows["captures"]) == wanted["captures"][0]["smb_packets"]
    assert_equal(rows | {"captures": wanted["captures"]}, wanted)


def test_two_interfaces_of_one_file(tmp_path: Path) -> None:
    """A router that captures on both of its sides: Ethernet on one, raw IP in a tunnel's interface on the other."""
    packets = list(recorded("rap"))
    blocks = [build.section_header(), build.interface(tsresol=9), build.interface(link=build.LINK_RAW, tsresol=9)]
    for packet in packets:
        blocks.append(build.enhanced_packet(packet.data, packet.time_ns))
        blocks.append(build.enhanced_packet(seen_again(packet, 0).ip, packet.time_ns + 30_000, number=1))
    path = tmp_path / "c.pcapng"
    path.write_bytes(b"".join(blocks))
    wanted = expected("rap", frozenset({"last_seen"}), frames=False)
    assert_equal(spelt(tables_of(path, {"last_seen"}, frames=False)), spelt(wanted))
    assert duplicates(analyzer.analyze(path)) == wanted["captures"][0]["smb_packets"]


def test_repetitions_are_no_copies(tmp_path: Path) -> None:
    """TCP sends again with an identification of its own: another packet on the wire."""
    packets = list(recorded("pipe-transact"))
    again = []
    for number, packet in enumerate(packets):
        again.append(packet)
        if number % 5 == 0:
            data = bytearray(packet.data)
            data[18:20] = (40_000 + number).to_bytes(2, "big")
            again.append(Packet(packet.time_ns + 1_000, bytes(data)))
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", again))
    assert duplicates(analysis) == 0
    assert analysis.connections["packets"].sum() == sum(packet.kind == 0x0800 for packet in again)


# What must change a result: less is known, and nothing else. #


def identities(rows: Rows) -> dict[tuple[Any, ...], set[str]]:
    """The identities of the sessions of a number between two hosts."""
    found: dict[tuple[Any, ...], set[str]] = {}
    for row in rows["sessions"]:
        found.setdefault((row["client_ip"], row["server_ip"], row["session_id"]), set()).add(row["identity"])
    return found


def assert_no_wrong_identity(rows: Rows, name: str) -> None:
    """Every session is what it is in the whole capture, or unknown; of a user it may be known only that it is one, and of
    a refused login not whose it was.
    """
    known = identities(expected(name))
    for key, found in identities(rows).items():
        whole = known.get(key, set())
        less = {"authenticated"} if whole & {"user", "machine"} else set()
        less |= {"rejected"} if "anonymous_rejected" in whole else set()
        assert found <= whole | {"unknown"} | less, key


@pytest.mark.parametrize("name", EVERY)
def test_the_first_packets_are_gone(name: str, tmp_path: Path) -> None:
    packets = list(recorded(name))[expected(name)["connections"][0]["first_frame"] - 1 :]
    for lost in (4, 10, 16, len(packets) // 2) if name in NAMES else (4, len(packets) // 2):
        rows = tables_of(write(tmp_path / "c.pcap", packets[lost:]))
        assert_no_wrong_identity(rows, name)
        first = {(row["client_ip"], row["client_port"]) for row in expected(name)["connections"][:1]}
        begun = [row for row in rows["connections"] if (row["client_ip"], row["client_port"]) in first]
        assert all(row["midstream"] for row in begun)


def test_a_session_whose_setup_is_gone(tmp_path: Path) -> None:
    """Of an anonymous session only its use was captured."""
    packets = list(recorded("anonymous-smb311"))
    session = next(row for row in expected("anonymous-smb311")["sessions"] if row["identity"] == "anonymous")
    rows = tables_of(write(tmp_path / "c.pcap", packets[session["answer_frame"] :]))
    found = [row for row in rows["sessions"] if row["session_id"] == session["session_id"]]
    assert [(row["identity"], row["outcome"]) for row in found] == [("unknown", "not_captured")]


def one_way(name: str, from_server: bool) -> list[Packet]:
    """The packets of one direction of the capture's connections, and all that are not TCP."""
    ports = {row["server_port"] for row in expected(name)["connections"]}
    found = []
    for packet in recorded(name):
        at = 14 + (40 if packet.kind == 0x86DD else 20) + (0 if from_server else 2)
        is_tcp = packet.data[20 if packet.kind == 0x86DD else 23] == 6
        if not is_tcp or int.from_bytes(packet.data[at : at + 2], "big") in ports:
            found.append(packet)
    return found


ONE_WAY = [(name, False) for name in all_but("the client alone")] + [(name, True) for name in EVERY]


@pytest.mark.parametrize(("name", "from_server"), ONE_WAY)
def test_one_direction(name: str, from_server: bool, tmp_path: Path) -> None:
    rows = tables_of(write(tmp_path / "c.pcap", one_way(name, from_server)))
    assert_no_wrong_identity(rows, name)
    found = {row["directions"] for row in rows["connections"]}
    assert found - {None} == {"server" if from_server else "client"}
    assert None not in found or any(row["directions"] is None for row in expected(name)["connections"])
    if from_server:  # no claim was captured
        assert not {row["user"] for row in rows["sessions"]} - {None}


@pytest.mark.parametrize(("name", "seed"), [(name, n) for name in EVERY for n in range(4 if name in NAMES else 2)])
def test_loss(name: str, seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    packets = [packet for packet in recorded(name) if rng.random() > 0.1]
    assert_no_wrong_identity(tables_of(write(tmp_path / "c.pcap", packets)), name)


@pytest.mark.parametrize("name", ["pipe-transact"])
def test_a_lost_packet_is_a_gap(name: str, tmp_path: Path) -> None:
    """Each packet with payload lost by itself: its bytes are told as missing, unless no others followed them."""
    whole = expected(name)
    last = {packet.ip[12:24]: n for n, packet in enumerate(recorded(name)) if packet.payload_size}
    for lost, packet in enumerate(recorded(name)):
        size = packet.payload_size
        if size == 0 or lost > 40 or lost in last.values():
            continue
        packets = [p for n, p in enumerate(recorded(name)) if n != lost]
        rows = tables_of(write(tmp_path / "c.pcap", packets))
        assert_no_wrong_identity(rows, name)
        assert sum(row["missing_bytes"] for row in rows["connections"]) == size
        assert len(rows["problems"]) > len(whole["problems"])


@pytest.mark.parametrize(
    ("name", "snaplen"),
    [
        (name, n)
        for n in (60, 96, 128, 256)
        for name in (NAMES if n in (60, 128) else all_but("256 bytes") if n == 256 else EVERY)
    ],
)
def test_a_short_snap_length(name: str, snaplen: int, tmp_path: Path) -> None:
    packets = [Packet(p.time_ns, p.data[:snaplen], len(p.data)) for p in recorded(name)]
    rows = tables_of(write(tmp_path / "c.pcap", packets))
    assert_no_wrong_identity(rows, name)
    cut = sum(len(p.data) > snaplen for p in recorded(name))
    assert rows["captures"][0]["truncated_packets"] == cut > 0
    if snaplen <= 96:  # nothing of any token is left
        assert {row["identity"] for row in rows["sessions"]} <= {"unknown"}


def test_a_fragment_is_lost(tmp_path: Path) -> None:
    """The packet that it was a part of is lost with it."""
    packets = fragmented(list(recorded("rap")), 64)
    sizes = [len(p.ip) - 20 for p in packets]
    lost = next(n for n in range(len(packets) // 2, len(packets)) if sizes[n] == 64)
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", packets[:lost] + packets[lost + 1 :]), detail="all")
    coverage = analysis.coverage.set_index("measure")["value"]
    assert coverage["datagrams_incomplete"] == 1
    assert analysis.connections["missing_bytes"].sum() > 0
