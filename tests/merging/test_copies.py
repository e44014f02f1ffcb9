"""Connections that several results show: one of them stands, and nothing that only another one shows is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import analyzer
from analyzer import merging
from tests import rewriting
from tests.dialogue import Smb1, Smb2, write


def talk(at: float = 0, session: int = 0x11, **how: Any) -> Smb2:
    """A connection with a null session on IPC$."""
    made = Smb2(at=at, **how)
    made.login(session)
    made.tree(session, 1)
    return made


def used(pipe: str, **how: Any) -> Smb2:
    made = talk(**how)
    made.use(how.get("session", 0x11), 1, pipe)
    made.tcp.close()
    return made


def of_packets(path: Path, packets: list[Any]) -> analyzer.Analysis:
    return analyzer.analyze(
        rewriting.write(path, [rewriting.Packet(packet.time_ns, packet.data) for packet in packets])
    )


def test_a_connection_that_goes_on_in_the_next_result_is_one(tmp_path: Path) -> None:
    made = talk()
    cut = len(made.tcp.packets())
    made.wait(60)
    made.use(0x11, 1, "srvsvc")
    made.tcp.close()
    packets = made.tcp.packets()
    first = of_packets(tmp_path / "first.pcap", packets[:cut])
    second = of_packets(tmp_path / "second.pcap", packets[cut:])
    for order in ([first, second], [second, first]):
        merged = merging.merge(order)
        assert (merged.connections_continued, merged.connections_dropped) == (1, 0)
        connections, sessions = merged.analysis.connections, merged.analysis.sessions
        assert (len(connections), int(connections["packets"].iloc[0])) == (1, len(packets))
        assert sessions["identity"].tolist() == ["anonymous"]
        assert set(merged.analysis.dependencies["verdict"]) == {"depends"}
        assert merged.sentences() == ["1 connection continued by another one: joined"]


def test_a_connection_that_was_closed_does_not_go_on(tmp_path: Path) -> None:
    first = analyzer.analyze(write(tmp_path / "first.pcap", used("srvsvc")))
    later = used("samr", at=3_600).tcp.packets()
    second = of_packets(tmp_path / "second.pcap", later[5:])
    assert second.connections["midstream"].tolist() == [True]
    assert len(merging.merge([first, second]).analysis.connections) == 2


def test_the_more_complete_copy_stands(tmp_path: Path) -> None:
    packets = used("srvsvc").tcp.packets()
    one_way = [packet for packet in packets if packet.data[26:30] == bytes([10, 0, 0, 1])]
    assert 0 < len(one_way) < len(packets)
    half = of_packets(tmp_path / "half.pcap", one_way)
    full = of_packets(tmp_path / "full.pcap", packets)
    assert half.connections["directions"].tolist() == ["client"]
    for order in ([half, full], [full, half]):
        merged = merging.merge(order).analysis
        assert merged.connections["directions"].tolist() == ["both"]
        assert merged.sessions["identity"].tolist() == ["anonymous"]
        assert len(merged.pipe_opens) == 1


def test_what_only_the_other_copy_saw_later_is_added(tmp_path: Path) -> None:
    made = talk()
    made.use(0x11, 1, "srvsvc")
    early = len(made.tcp.packets())
    made.wait(10)
    made.use(0x11, 1, "samr", (8, 8))
    late = made.tcp.packets()
    # The first saw the login and srvsvc; the second came later, saw srvsvc too, and then samr.
    first = of_packets(tmp_path / "first.pcap", late[:early])
    second = of_packets(tmp_path / "second.pcap", late[9:])
    merged = merging.merge([first, second])
    assert merged.connections_dropped == 1
    rows = merged.analysis.dependencies
    assert dict(zip(rows["resource"], rows["verdict"].astype(str), strict=True)) == {
        "samr": "depends",
        "srvsvc": "depends",
    }
    assert rows["uses"].tolist() == [1, 1]


def test_a_port_that_is_used_again_is_another_connection(tmp_path: Path) -> None:
    first = analyzer.analyze(write(tmp_path / "first.pcap", used("srvsvc")))
    second = analyzer.analyze(write(tmp_path / "second.pcap", used("srvsvc", at=3_600)))
    merged = merging.merge([first, second])
    assert len(merged.analysis.connections) == 2
    assert not merged.sentences()


def test_another_client_behind_the_same_addresses_is_no_copy(tmp_path: Path) -> None:
    """Two networks with the same addresses, at the same time: their GUIDs tell them apart."""
    one = analyzer.analyze(write(tmp_path / "one.pcap", used("srvsvc", guid=bytes(range(1, 17)))))
    other = analyzer.analyze(write(tmp_path / "other.pcap", used("samr", guid=bytes(range(2, 18)))))
    merged = merging.merge([one, other])
    assert not merged.connections_dropped
    assert set(merged.analysis.dependencies["resource"]) == {"srvsvc", "samr"}


@pytest.mark.parametrize("swapped", [False, True])
def test_a_session_that_the_standing_copy_does_not_have_stays(tmp_path: Path, swapped: bool) -> None:
    """Without GUIDs (SMB 1) two networks' connections look like copies; what was done in other sessions is not lost."""

    def visit(uid: int, pipe: str) -> Smb1:
        made = Smb1(at=0)
        made.login(uid)
        made.tree(uid, uid + 1)
        made.create(uid, uid + 1, pipe, 0x4000)
        made.transact(uid, uid + 1, 0x4000, bytes(72), bytes(60))
        return made

    one = analyzer.analyze(write(tmp_path / "one.pcap", visit(100, "srvsvc")))
    other = analyzer.analyze(write(tmp_path / "other.pcap", visit(200, "samr")))
    merged = merging.merge([other, one] if swapped else [one, other])
    assert set(merged.analysis.dependencies["resource"]) == {"srvsvc", "samr"}
    assert set(merged.analysis.dependencies["verdict"]) == {"depends"}
