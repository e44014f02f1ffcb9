"""What the captures cannot show is counted: each measure is not 0 when it happened, and 0 when nothing did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import analyzer
from analyzer.engines import native
from analyzer.sessions import pairing
from analyzer.smb.select import MAX_TREES, ROOM_ROWS
from analyzer.transport import flows
from tests import build
from tests.build import ACCESS_DENIED
from tests.dialogue import ALICE, ANONYMOUS, SECOND, Smb2, lose, named, packets_of, segments_of, write

PRESENT = ("connections", "seconds_observed")
"""Measures that say what is there."""


def measured(analysis: analyzer.Analysis, server: str | None = None) -> dict[str, int]:
    """The measures of all, or of a server."""
    rows = analysis.coverage
    rows = rows[rows["server_ip"].isna()] if server is None else rows[rows["server_ip"] == server]
    assert not rows["measure"].duplicated().any()
    return dict(zip(rows["measure"], rows["value"].astype(int), strict=True))


def missing(analysis: analyzer.Analysis) -> dict[str, int]:
    """What is not 0, except what says what is there."""
    return {name: value for name, value in measured(analysis).items() if value and name not in PRESENT}


def whole() -> Smb2:
    """A connection of which nothing is missing."""
    talk = Smb2()
    talk.refused_use(0x11, "srvsvc")
    talk.credentialed_use(0x22, "lsarpc")
    talk.tcp.close()
    return talk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A capture to be."""
    return tmp_path / "c.pcap"


def test_a_whole_capture_misses_nothing(path: Path) -> None:
    talk = whole()
    talk.wait(10)
    talk.tcp.send()  # ten seconds later: the capture goes on
    analysis = analyzer.analyze(write(path, talk))
    assert missing(analysis) == {}
    span = (talk.tcp.segments[-1].time_ns - talk.tcp.segments[0].time_ns) / SECOND
    assert measured(analysis)["seconds_observed"] == round(span) == 10
    assert measured(analysis)["connections"] == 1


def test_every_measure_says_what_it_means(path: Path) -> None:
    rows = analyzer.analyze(write(path, whole())).coverage
    assert rows["meaning"].notna().all()
    assert rows["meaning"].str.len().min() > 10
    meanings = rows.groupby("measure")["meaning"].nunique()
    assert (meanings == 1).all()


def _no_login() -> Smb2:
    """Midstream: no handshake, no negotiation, no login."""
    talk = Smb2(opened=False, dialect=None)
    talk.tree(0x11, 1)
    talk.create(0x11, 1, "srvsvc", (0, 0), status=ACCESS_DENIED)
    return talk


def _unanswered() -> Smb2:
    talk = whole()
    talk = Smb2()
    lose(talk, talk.login(0x11).answer)
    return talk


def _abandoned() -> Smb2:
    talk = Smb2()
    talk.challenge(0x11)
    return talk


def _unclear() -> Smb2:
    talk = Smb2()
    talk.login(0x11, named("bob", lm=b""))
    return talk


def _one_way(side: str) -> Callable[[], Smb2]:
    def make() -> Smb2:
        talk = Smb2()
        talk.login(0x11, ALICE)
        ends = {"client": talk.tcp.server_end, "server": talk.tcp.client_end}
        lose(talk, *[segment for segment in talk.tcp.segments if segment.source == ends[side]])
        return talk

    return make


def _gap() -> Smb2:
    """The capture lost a request of so many bytes in the middle."""
    talk = whole()
    segments = [segment for segment in talk.tcp.segments if segment.payload]
    lose(talk, segments[-3])
    return talk


def _noise() -> Smb2:
    """Bytes between two messages that are no message."""
    talk = Smb2()
    talk.login(0x11, ALICE)
    talk.tcp.client(bytes(range(1, 251)))
    talk.tree(0x11, 1)
    talk.tcp.close()
    return talk


def _encrypted() -> Smb2:
    talk = Smb2(dialect=0x0311)
    talk.login(0x11, ALICE)
    for _ in range(3):
        talk.tcp.client(build.framed(build.encrypted(0x11)))
        talk.tcp.server(build.framed(build.encrypted(0x11)))
    return talk


def _not_decoded() -> Smb2:
    talk = Smb2()
    talk.anonymous_use(0x11, "srvsvc")
    talk.use(0x11, 1, "lsarpc")
    talk.create(0x11, 1, "samr", (0, 0), status=ACCESS_DENIED)
    return talk


def _short() -> Smb2:
    """A tree connect whose body ends before its fixed part does."""
    talk = Smb2()
    talk.login(0x11, ALICE)
    talk.ask(build.TREE_CONNECT, build.tree_request("")[:4], session_id=0x11)
    talk.answer(build.TREE_CONNECT, build.tree_answer(2), session_id=0x11, tree_id=1)
    return talk


def _outside() -> Smb2:
    """A tree connect whose path lies outside its message."""
    talk = Smb2()
    talk.login(0x11, ALICE)
    body = bytearray(build.tree_request(r"\\FILES1\IPC$"))
    body[4:6] = (0xFFF0).to_bytes(2, "little")
    talk.ask(build.TREE_CONNECT, bytes(body), session_id=0x11)
    talk.answer(build.TREE_CONNECT, build.tree_answer(2), session_id=0x11, tree_id=1)
    return talk


def _compressed() -> Smb2:
    """Of two compressed answers one has its header in clear."""
    talk = Smb2(dialect=0x0311)
    talk.login(0x11, ALICE)
    talk.tree(0x11, 1, "DATA")
    for plain in (64, 0):
        talk.ask(build.READ, build.read_request((7, 7)), session_id=0x11, tree_id=1)
        header = {"message_id": talk.message_id, "session_id": 0x11, "tree_id": 1, "flags": build.RESPONSE}
        answer = build.smb2(build.READ, build.read_answer(bytes(500)), **header)
        talk.tcp.server(build.framed(build.compressed(answer, plain=plain)))
    return talk


LOST = len([segment for segment in whole().tcp.segments if segment.payload][-3].payload)
MEASURES: list[tuple[str, Callable[[], Smb2], dict[str, int]]] = [
    ("no login", _no_login, {"sessions_unknown": 1, "sessions_not_captured": 1, "connections_midstream": 1}),
    ("no answer to the login", _unanswered, {"sessions_unknown": 1, "sessions_unanswered": 1}),
    ("a login begun", _abandoned, {"sessions_unknown": 1, "sessions_abandoned": 1}),
    ("a login that does not decide", _unclear, {"sessions_unknown": 1, "sessions_unclear": 1}),
    ("the client's side", _one_way("client"), {"connections_one_way": 1}),
    ("the server's side", _one_way("server"), {"connections_one_way": 1}),
    ("a lost segment", _gap, {"missing_bytes": LOST}),
    ("encryption", _encrypted, {"encrypted_messages": 6}),
    ("compression", _compressed, {"compressed_messages": 2, "problems": 0, "sessions_unknown": 0}),
    ("answers that are not decoded", _not_decoded, {"results_not_decoded": 2}),
    ("a body that is too short", _short, {"problems": 1}),
    ("a field that lies outside its message", _outside, {"problems": 1}),
]


@pytest.mark.parametrize(
    ("make", "expected"), [pytest.param(make, expected, id=name) for name, make, expected in MEASURES]
)
def test_what_is_missing_is_counted(make: Callable[[], Smb2], expected: dict[str, int], path: Path) -> None:
    found = missing(analyzer.analyze(write(path, make())))
    assert {name: found.get(name, 0) for name in expected} == expected


def test_encrypted_messages_are_counted_by_session(path: Path) -> None:
    talk = _encrypted()
    talk.login(0x22)
    talk.tcp.client(build.framed(build.encrypted(0x22)))
    talk.tcp.client(build.framed(build.encrypted(0)))
    analysis = analyzer.analyze(write(path, talk))
    assert analysis.sessions["encrypted_messages"].tolist() == [6, 1]
    assert analysis.connections["encrypted_messages"].tolist() == [8]


def test_bytes_that_are_no_message_are_counted(path: Path) -> None:
    """All of them, give or take what could have begun a message."""
    found = missing(analyzer.analyze(write(path, _noise())))
    assert found["unparsed_bytes"] >= 250


def test_truncated_packets(path: Path) -> None:
    """Three packets of which the capture has not all bytes."""
    packets = whole().tcp.packets()
    for place in (5, 6, 9):
        packets[place] = build.Packet(packets[place].time_ns, packets[place].data[:60], len(packets[place].data))
    path.write_bytes(build.pcap(packets))
    analysis = analyzer.analyze(path)
    assert measured(analysis)["truncated_packets"] == 3
    assert analysis.captures["truncated_packets"].tolist() == [3]


def test_packets_that_the_capturing_machine_dropped(tmp_path: Path) -> None:
    """By the statistics of pcapng files; a file without any says nothing, which is not that nothing was lost."""
    data = build.pcapng(whole().tcp.packets())
    (tmp_path / "a.pcapng").write_bytes(data + build.interface_statistics(0, {5: 17}))
    (tmp_path / "b.pcapng").write_bytes(data + build.interface_statistics(0, {5: 0}))
    (tmp_path / "c.pcapng").write_bytes(data)
    analysis = analyzer.analyze(tmp_path)
    assert measured(analysis)["dropped_packets"] == 17
    dropped = analysis.captures.set_index("capture")["dropped_packets"]
    assert dropped.astype(object).where(dropped.notna(), None).tolist() == [17, 0, None]


def test_a_login_cut_off_by_the_capture_is_unknown_and_counted(path: Path) -> None:
    """A snap length of 96 bytes keeps the SMB header, and not the token."""
    talk = Smb2()
    talk.anonymous_use(0x11, "srvsvc")
    short = [build.Packet(p.time_ns, p.data[:150], len(p.data)) for p in talk.tcp.packets()]
    path.write_bytes(build.pcap(short, snaplen=150))
    analysis = analyzer.analyze(path)
    assert not set(analysis.sessions["identity"]) - {"unknown"}
    found = measured(analysis)
    assert found["truncated_packets"] == sum(len(p.data) > 150 for p in talk.tcp.packets())
    assert found["sessions_unknown"] == len(analysis.sessions) == 1
    assert not set(analysis.dependencies["verdict"]) - {"unknown"}


def test_fragments_and_foreign_packets(path: Path) -> None:
    talk = whole()
    packets = talk.tcp.packets()
    half = build.ipv4(bytes(64), fragment=0x2000)
    rest = build.ipv4(bytes(64), fragment=8)
    packets += [build.Packet(packets[-1].time_ns, build.ethernet(part)) for part in (half, rest)]
    path.write_bytes(build.pcap(packets))
    found = measured(analyzer.analyze(path))
    assert (found["ip_fragments"], found["datagrams_incomplete"], found["fragments_given_up"]) == (2, 0, 0)


def test_fragments_that_lead_to_nothing(path: Path) -> None:
    packets = whole().tcp.packets()
    parts = [build.ipv4(bytes(64), fragment=0x2000), build.ipv4(bytes(63), source="10.0.0.3", fragment=0x2000)]
    packets += [build.Packet(packets[-1].time_ns, build.ethernet(part)) for part in parts]
    path.write_bytes(build.pcap(packets))
    found = measured(analyzer.analyze(path))
    assert (found["ip_fragments"], found["datagrams_incomplete"], found["fragments_given_up"]) == (1, 1, 1)


def test_packets_captured_twice(path: Path) -> None:
    packets = whole().tcp.packets()
    path.write_bytes(build.pcap([packet for packet in packets for _ in range(2)]))
    analysis = analyzer.analyze(path)
    assert measured(analysis)["duplicate_packets"] == len(packets)
    assert analysis.captures[["packets", "smb_packets"]].to_numpy().tolist() == [[2 * len(packets), len(packets)]]


def test_more_tunnels_than_are_opened(path: Path) -> None:
    inner = build.ipv4(build.tcp(b"hello"))
    for _ in range(8):
        inner = build.ipv4(inner, protocol=4)
    path.write_bytes(build.pcap([build.Packet(build.START_NS, build.ethernet(inner))]))
    assert measured(analyzer.analyze(path))["packets_too_deep"] == 1


def test_a_link_type_that_is_not_known(path: Path) -> None:
    path.write_bytes(build.pcap(whole().tcp.packets(), link=147))
    found = measured(analyzer.analyze(path))
    assert found["unknown_link_packets"] == len(whole().tcp.segments)
    assert found["connections"] == 0


def test_packets_whose_headers_contradict_themselves(path: Path) -> None:
    """An IP header of 8 bytes, a TCP header that is longer than its packet, an IP packet shorter than its header."""
    good = build.ipv4(build.tcp(b"hello"))
    short = bytes([0x42]) + good[1:]
    tcp = bytearray(build.tcp(b""))
    tcp[12] = 0xF0  # data offset: 60 bytes
    long = build.ipv4(bytes(tcp))
    none = good[:2] + b"\0\x0a" + good[4:]
    packets = [build.Packet(build.START_NS, build.ethernet(packet)) for packet in (good, short, long, none)]
    path.write_bytes(build.pcap([*packets, *whole().tcp.packets()]))
    assert measured(analyzer.analyze(path))["bad_packets"] == 3


# Bounds: they are made smaller here, so that little makes them be reached. #


def test_bytes_that_were_waiting_and_had_no_room(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four blocks and four places; a segment is lost, and six messages wait for it, which take two blocks each."""
    monkeypatch.setattr(flows, "BLOCKS", 4)
    talk = Smb2()
    lost = talk.tree(0x11, 1).request
    for _ in range(6):
        talk.ask(build.SESSION_SETUP, build.setup_request(bytes(flows.BLOCK)), session_id=0x11)
    lose(talk, lost)
    found = measured(analyzer.analyze(write(path, talk)))
    size = len(talk.tcp.segments[-1].payload)
    assert size > flows.BLOCK
    assert found["bytes_given_up"] == 4 * size
    assert lost is not None
    assert found["missing_bytes"] == len(lost.payload) + 2 * size  # the last two had no place either


def test_more_messages_than_a_segment_may_bring(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A late segment lets 300 KB in, which is nothing but chains of 16 elements of 7 bytes."""
    room = 17_000
    monkeypatch.setattr(native, "WINDOW_ROWS", room)
    chain = build.framed(build.smb1(*[build.Smb1(0x74, b"")] * 16))
    count = 60_000 // len(chain)
    talk = build.Conversation().open()
    talk.client(*[chain * count] * 5)
    talk.segments[3:] = [*talk.segments[4:], talk.segments[3]]
    path.write_bytes(build.pcap(packets_of(talk.segments)))
    found = measured(analyzer.analyze(path))
    assert found["rows_given_up"] == 5 * count * 16 - room


def test_trees_beyond_those_that_are_remembered(path: Path) -> None:
    talk = Smb2()
    talk.login(0x11, ALICE)
    for tree in range(1, MAX_TREES + 4):
        talk.tree(0x11, tree, "DATA")
    assert measured(analyzer.analyze(write(path, talk)))["trees_forgotten"] == 3


def test_requests_that_wait_for_answers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The older half is let go when there are too many: their sessions are judged as if the answers were lost."""
    monkeypatch.setattr(native, "WINDOW_ROWS", ROOM_ROWS + 150)
    monkeypatch.setattr(pairing, "MAX_WAITING", 100)
    talk = Smb2()
    talk.login(0x11)
    for _ in range(145):
        talk.ask(build.TREE_CONNECT, build.tree_request(r"\\FILES1\IPC$"), session_id=0x11)
    talk.use(0x11, 1, "srvsvc")
    analysis = analyzer.analyze(write(path, talk))
    assert measured(analysis)["messages_let_go"] >= 50
    assert len(analysis.trees) == 145
    assert analysis.sessions["identity"].tolist() == ["anonymous"]


def many_at_once(count: int) -> list[Smb2]:
    """Connections that are open at the same time; all log in before the first of them goes on."""
    talks = []
    for number in range(count):
        talk = Smb2(f"10.1.{number // 200}.{number % 200 + 1}", at=number / 1000)
        talk.login(0x11, ALICE if number % 2 else ANONYMOUS)
        talk.wait(60)
        talk.tree(0x11, 1)
        talk.use(0x11, 1, "srvsvc")
        talks.append(talk)
    return talks


def test_copies_that_differ(path: Path) -> None:
    """TCP sends again, in an IP packet with an identification of its own: once the same bytes, then others."""
    packets = packets_of(segments_of(whole()))
    at = next(n for n, packet in enumerate(packets) if len(packet.data) > 200)
    for last, count in ((packets[at].data[-1], 0), (packets[at].data[-1] ^ 1, 1)):
        again = bytearray(packets[at].data)
        again[18:20], again[-1] = b"\xab\xcd", last
        path.write_bytes(build.pcap([*packets[: at + 1], replace(packets[at], data=bytes(again)), *packets[at + 1 :]]))
        found = measured(analyzer.analyze(path))
        assert found["retransmissions_that_differ"] == count
        assert found["duplicate_packets"] == 0


def test_the_table_of_connections_grows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, *many_at_once(300))
    usual = analyzer.analyze(path)
    monkeypatch.setattr(native, "FLOWS", 8)
    analysis = analyzer.analyze(path)
    assert measured(analysis)["connections"] == 300
    assert measured(analysis)["connections_let_go"] == 0
    for name in ("connections", "sessions", "trees", "pipe_opens", "dependencies", "coverage"):
        pd.testing.assert_frame_equal(analysis.table(name), usual.table(name))


def test_more_connections_than_can_be_followed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those idle for longest are taken for over, and told: what comes of them later has its login on another connection."""
    monkeypatch.setattr(native, "FLOWS", 8)
    monkeypatch.setattr(native, "MAX_FLOWS", 64)
    analysis = analyzer.analyze(write(path, *many_at_once(100)))
    found = measured(analysis)
    assert found["connections_let_go"] >= 100 - 64
    assert found["connections"] == 100 + found["connections_midstream"]
    sessions = analysis.sessions
    number = sessions["client_ip"].str.split(".").str[3].astype(int) - 1
    assert sessions["identity"].tolist() == ["user" if odd else "anonymous" for odd in number % 2]
    late = sessions[sessions["outcome"] == "not_captured"]
    assert len(late) == found["connections_midstream"] > 0
    assert late["evidence"].str.contains("setup.elsewhere").all()
    found_uses = analysis.dependencies.query("resource == 'srvsvc'")[["verdict", "uses"]]
    assert found_uses.to_numpy().tolist() == [["depends", 1]] * 50


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path / "good.pcap", whole())
    (tmp_path / "none.pcap").write_bytes(b"this is no capture")
    data = build.pcap(packets_of(segments_of(whole())))
    (tmp_path / "cut.pcap").write_bytes(data[:-5])
    analysis = analyzer.analyze(tmp_path)
    assert measured(analysis)["files_unreadable"] == 2
    assert analysis.captures["errors"].notna().sum() == 2


def test_each_server_has_its_own_measures(path: Path) -> None:
    good, bad = whole(), Smb2("10.0.0.7", "10.0.0.9", opened=False, dialect=None, at=1)
    bad.tree(0x11, 1)
    bad.use(0x11, 1, "srvsvc")
    analysis = analyzer.analyze(write(path, good, bad))
    assert measured(analysis, "10.0.0.2")["sessions_unknown"] == 0
    assert measured(analysis, "10.0.0.9")["sessions_unknown"] == 1
    assert measured(analysis)["sessions_unknown"] == 1
    assert measured(analysis)["connections"] == 2


def test_what_the_tshark_engine_could_not_read_is_told() -> None:
    """What is counted and has no meaning here would be lost in silence."""
    from analyzer.engines.tshark import TsharkEngine  # noqa: PLC0415
    from analyzer.summary.coverage import MEANINGS  # noqa: PLC0415

    counted = TsharkEngine((445,), lambda _: None).counts()
    assert set(counted) - {"tcp_segments", "smb_segments"} <= set(MEANINGS)
