"""Connections: how segments find theirs, where one begins and ends, and who is the client."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.compiled import Kernels
from analyzer.transport import flows as f
from analyzer.transport.flows import (
    FS_CLOSED_BY_CLIENT,
    FS_CLOSED_BY_SERVER,
    FS_MIDSTREAM,
    FS_REPLACED,
    FS_RESET,
    FS_SYN,
    FS_SYN_ACK,
)
from analyzer.transport.messages import PROBLEM_GAP, PROBLEM_NOT_SMB
from tests.build import (
    ACK,
    ECHO,
    FIN,
    NEGOTIATE,
    RESPONSE,
    RST,
    SYN,
    Conversation,
    Segment,
    framed,
    smb1,
    smb1_negotiate,
)
from tests.build import smb2 as smb2_message
from tests.transport.following import Ended, Following, halves

SECOND = 1_000_000_000


def asked(number: int) -> bytes:
    """A request that is kept."""
    return framed(smb2_message(NEGOTIATE, bytes(40), message_id=number))


def answered(number: int) -> bytes:
    """An answer that is kept."""
    return framed(smb2_message(NEGOTIATE, bytes(80), message_id=number, flags=RESPONSE))


def ids(following: Following) -> list[tuple[int, bool, int]]:
    """Connection, direction and message id of what came out."""
    return [(row.connection, row.from_server, int.from_bytes(row.data[24:32], "little")) for row in following.messages]


def only(following: Following) -> Ended:
    """The one connection that was swept."""
    assert len(following.ended) == 1
    return following.ended[0]


def dialogue(**ends: object) -> Conversation:
    """A connection with two requests and answers."""
    talk = Conversation(**ends).open()  # type: ignore[arg-type]
    for number in (1, 2):
        talk.client(asked(number))
        talk.server(answered(number))
    return talk


DIALOGUE = [(False, 1), (True, 1), (False, 2), (True, 2)]


def test_columns_do_not_share_a_place() -> None:
    for prefix, width in (("D_", f.D_WIDTH), ("Q_", f.Q_WIDTH), ("TREE_", f.TREE_WIDTH), ("PIECE_", f.PIECE_WIDTH)):
        columns = {name: value for name, value in vars(f).items() if name.startswith(prefix) and name[-5:] != "WIDTH"}
        assert len(set(columns.values())) == len(columns) <= width
        assert max(columns.values()) < width
    columns = {name: value for name, value in vars(f).items() if name.startswith("F_") and name != "F_WIDTH"}
    assert len(set(columns.values())) == len(columns)
    assert max(columns.values()) == f.F_DIRECTIONS
    assert f.F_WIDTH == f.F_DIRECTIONS + 2 * f.D_WIDTH
    states = [value for name, value in vars(f).items() if name.startswith("FS_")]
    assert sum(states) == (1 << len(states)) - 1


def test_a_connection(kernels: Kernels) -> None:
    following = Following(kernels).feed(dialogue().close().segments).sweep()
    end = only(following)
    assert ids(following) == [(0, *place) for place in DIALOGUE]
    assert (end.client_port, end.server_port, end.packets) == (49_152, 445, 10)
    assert (end.taken, end.missing, end.unparsed) == ((216, 296), (0, 0), (0, 0))
    assert end.state & (FS_SYN | FS_SYN_ACK) == FS_SYN | FS_SYN_ACK
    assert end.state & FS_CLOSED_BY_CLIENT
    assert not end.state & (FS_CLOSED_BY_SERVER | FS_MIDSTREAM | FS_RESET)


def test_ipv6(kernels: Kernels) -> None:
    talk = dialogue(client_end=("2001:db8::ffff", 50_000), server_end=("fe80::1", 445))
    following = Following(kernels).feed(talk.segments)
    flow = following.memory.flows[following.memory.flows[:, f.F_STATE] != 0]
    assert flow[0, [f.F_CLIENT_HI, f.F_CLIENT_LO]].tolist() == list(halves("2001:db8::ffff"))
    assert flow[0, [f.F_SERVER_HI, f.F_SERVER_LO]].tolist() == list(halves("fe80::1"))
    assert ids(following) == [(0, *place) for place in DIALOGUE]


def test_connections_side_by_side(kernels: Kernels) -> None:
    talks = [dialogue(client_end=("10.0.0.1", 50_000 + n)) for n in range(40)]
    mixed = [segment for step in zip(*[talk.segments for talk in talks], strict=True) for segment in step]
    following = Following(kernels).feed(mixed).sweep()
    assert following.connections == len(following.ended) == 40
    for number in range(40):
        assert [place[1:] for place in ids(following) if place[0] == number] == DIALOGUE
    assert {end.client_port for end in following.ended} == set(range(50_000, 50_040))


def test_the_same_ports_between_other_hosts_are_other_connections(kernels: Kernels) -> None:
    talks = [dialogue(client_end=(f"10.0.{a}.{b}", 50_000)) for a in range(3) for b in range(1, 4)]
    talks.append(dialogue(client_end=("10.0.0.2", 445), server_end=("10.0.0.1", 50_000)))
    following = Following(kernels).feed([segment for talk in talks for segment in talk.segments])
    assert following.connections == 10


def test_capture_and_frame_of_messages(kernels: Kernels) -> None:
    segments = dialogue().segments
    following = Following(kernels).feed(segments[:4], capture_no=3, frame=100).feed(segments[4:], capture_no=4, frame=1)
    assert [(row.capture_no, row.frame) for row in following.messages] == [(3, 103), (4, 1), (4, 2), (4, 3)]
    assert [row.time_ns for row in following.messages] == [segment.time_ns for segment in segments[3:]]


def test_places_in_the_clients_stream(kernels: Kernels) -> None:
    """A request's is its end; an answer's is how far the server had heard. They order what crosses."""
    talk = Conversation(client_seq=2**32 - 50).open()
    talk.client(asked(1))
    talk.client(asked(2))
    early = talk.server(answered(1))
    talk.segments[-1] = replace(early, ack=(early.ack - len(asked(2))) % 2**32)  # it had not heard the second yet
    talk.server(answered(2))
    following = Following(kernels).feed(talk.segments)
    size = len(asked(1))
    assert [row.position for row in following.messages] == [size, 2 * size, size, 2 * size]


# Beginnings.


def test_only_the_answer_to_the_syn(kernels: Kernels) -> None:
    following = Following(kernels).feed(dialogue().segments[1:]).sweep()
    assert ids(following) == [(0, *place) for place in DIALOGUE]
    assert (only(following).client_port, only(following).state & FS_MIDSTREAM) == (49_152, 0)


def test_repeated_syns_begin_one_connection(kernels: Kernels) -> None:
    first, second, *rest = dialogue().segments
    following = Following(kernels).feed([first, first, second, first, second, second, *rest]).sweep()
    assert following.connections == 1
    assert ids(following) == [(0, *place) for place in DIALOGUE]


def test_a_syn_that_was_captured_late(kernels: Kernels) -> None:
    first, second, third, data, *rest = dialogue().segments
    following = Following(kernels).feed([data, second, first, third, *rest]).sweep()
    assert following.connections == 1
    assert ids(following) == [(0, *place) for place in DIALOGUE]


def test_midstream_between_messages(kernels: Kernels) -> None:
    following = Following(kernels).feed(dialogue().segments[3:]).sweep()
    assert ids(following) == [(0, *place) for place in DIALOGUE]
    assert only(following).state & FS_MIDSTREAM
    assert following.problems == []


def test_midstream_inside_a_message(kernels: Kernels) -> None:
    talk = Conversation()
    talk.client(asked(1)[30:])
    talk.client(asked(2))
    talk.server(answered(1)[70:] + answered(2))
    following = Following(kernels).feed(talk.segments).sweep()
    assert ids(following) == [(0, False, 2), (0, True, 2)]
    assert only(following).unparsed == (len(asked(1)) - 30, len(answered(1)) - 70)
    assert only(following).state & FS_MIDSTREAM


def test_midstream_inside_file_data(kernels: Kernels) -> None:
    """The letters of SMB in a file's data are not taken for a message of this direction."""
    talk = Conversation()
    talk.client(b"\xfeSMB" + b"SMB" * 50 + asked(9)[8:] + b"\0\0\0\x40" + answered(7)[4:])
    talk.client(asked(1))
    following = Following(kernels).feed(talk.segments)
    assert ids(following) == [(0, False, 1)]


@pytest.mark.parametrize("from_server", [False, True])
def test_one_direction_only(from_server: bool, kernels: Kernels) -> None:
    for begin in (0, 3):
        talk = dialogue().close()
        mine = [segment for segment in talk.segments[begin:] if (segment.source == talk.server_end) == from_server]
        following = Following(kernels).feed(mine).sweep()
        assert ids(following) == [(0, from_server, 1), (0, from_server, 2)]
        end = only(following)
        assert (end.client_port, end.server_port) == (49_152, 445)
        assert end.taken[0 if from_server else 1] == 0


def test_segments_without_payload_begin_nothing(kernels: Kernels) -> None:
    talk = Conversation()
    for flags in (ACK, FIN | ACK, RST):
        talk.send(flags=flags)
    assert Following(kernels).feed(talk.segments).connections == 0


# Who is the client.


@pytest.mark.parametrize("message", ["SMB 2", "SMB 1"])
@pytest.mark.parametrize("from_server", [False, True])
def test_midstream_on_two_unlisted_ports_the_message_tells(message: str, from_server: bool, kernels: Kernels) -> None:
    if message == "SMB 2":
        first = answered(1) if from_server else asked(1)
    else:
        first = framed(smb1(smb1_negotiate(), flags=0x98 if from_server else 0x18))
    talk = Conversation(client_end=("10.0.0.1", 1_000), server_end=("10.0.0.2", 60_000))
    talk.send(first, from_server=from_server)
    following = Following(kernels, ports=()).feed(talk.segments).sweep()
    assert (only(following).client_port, only(following).server_port) == (1_000, 60_000)
    assert [row.from_server for row in following.messages] == [from_server]


def test_on_an_unlisted_port_the_handshake_tells(kernels: Kernels) -> None:
    for first in (False, True):
        talk = Conversation(client_end=("10.0.0.9", 1_000), server_end=("10.0.0.2", 60_000)).open()
        # The reply bit of the first message says the opposite, as some clients' does.
        talk.send(framed(smb1(smb1_negotiate(), flags=0x18 if first else 0x98)), from_server=first)
        talk.send(answered(2), from_server=True)
        following = Following(kernels).feed(talk.segments).sweep()
        assert (only(following).client_port, only(following).server_port) == (1_000, 60_000)
        assert not only(following).state & FS_MIDSTREAM
        assert [row.from_server for row in following.messages] == [first, True]


def test_a_listed_port_on_both_sides(kernels: Kernels) -> None:
    talk = Conversation(client_end=("10.0.0.1", 445), server_end=("10.0.0.2", 139)).open()
    talk.client(asked(1))
    talk.server(answered(1))
    following = Following(kernels).feed(talk.segments).sweep()
    assert (only(following).client_port, only(following).server_port) == (445, 139)
    assert ids(following) == [(0, False, 1), (0, True, 1)]


# Port reuse.


def test_a_port_is_used_again_after_a_close(kernels: Kernels) -> None:
    first = dialogue().close()
    second = dialogue(client_seq=900_000, server_seq=800_000, now_ns=first.now_ns)
    following = Following(kernels).feed(first.segments + second.segments).sweep()
    assert ids(following) == [(0, *place) for place in DIALOGUE] + [(1, *place) for place in DIALOGUE]
    assert following.ended[0].state & FS_REPLACED
    assert {end.missing for end in following.ended} == {(0, 0)}


def test_a_port_is_used_again_without_a_close(kernels: Kernels) -> None:
    first = dialogue()
    second = dialogue(client_seq=900_000, server_seq=800_000)
    following = Following(kernels).feed(first.segments + second.segments)
    assert following.connections == 2
    assert [place[0] for place in ids(following)] == [0] * 4 + [1] * 4


def test_a_port_is_used_again_and_the_syn_was_lost(kernels: Kernels) -> None:
    """An answer to a SYN with another number than the old connection's answer had."""
    first = dialogue().close()
    second = dialogue(client_seq=900_000, server_seq=800_000)
    following = Following(kernels).feed(first.segments + second.segments[1:])
    assert following.connections == 2
    assert [place[0] for place in ids(following)] == [0] * 4 + [1] * 4


def test_a_port_is_used_again_after_a_midstream_connection(kernels: Kernels) -> None:
    second = dialogue(client_seq=900_000, server_seq=800_000)
    following = Following(kernels).feed(dialogue().close().segments[3:] + second.segments)
    assert following.connections == 2


def test_a_port_is_used_again_when_only_the_server_was_heard_before(kernels: Kernels) -> None:
    """The end of a large answer, the client's acknowledgements, its FIN; then the client connects again."""
    first = Conversation()
    first.server(bytes(1_000))
    first.send()
    first.close()
    second = dialogue(client_seq=900_000, server_seq=800_000)
    following = Following(kernels).feed(first.segments + second.segments)
    assert following.connections == 2
    assert [place[1:] for place in ids(following)] == DIALOGUE


def test_what_is_left_of_the_old_connection_does_not_disturb(kernels: Kernels) -> None:
    first = dialogue().close()
    second = dialogue(client_seq=2_000_000_000, server_seq=3_000_000_000)
    mixed = second.segments
    mixed[5:5] = first.segments[3:5]
    mixed[2:2] = first.segments[7:]
    following = Following(kernels).feed(first.segments + mixed)
    assert [place for place in ids(following) if place[0] == 1] == [(1, *place) for place in DIALOGUE]


def test_a_challenge_answer_does_not_replace_a_connection(kernels: Kernels) -> None:
    """A SYN-ACK out of nowhere is believed only if the old connection's own was seen."""
    talk = dialogue()
    wrong = replace(talk.segments[1], seq=123_456_789)
    following = Following(kernels).feed([*talk.segments[3:5], wrong, *talk.segments[5:]])
    assert following.connections == 1
    assert ids(following) == [(0, *place) for place in DIALOGUE]


# Ends.


def swept(segments: list[Segment], kernels: Kernels, *, after: float, even_open: int = 0) -> int:
    """How many connections are over so many seconds after their last segment (ten seconds are waited)."""
    following = Following(kernels).feed(segments)
    now = max(segment.time_ns for segment in segments) + int(after * SECOND)
    return len(following.sweep(now, linger=10 * SECOND, even_open=even_open).ended)


def test_when_a_connection_is_over(kernels: Kernels) -> None:
    talk = dialogue()
    assert swept(talk.segments, kernels, after=1000) == 0
    assert swept(talk.segments, kernels, after=1000, even_open=1) == 1
    assert swept(talk.segments, kernels, after=9, even_open=1) == 0
    half = dialogue()
    half.send(flags=FIN | ACK)
    assert swept(half.segments, kernels, after=1000) == 0
    closed = dialogue().close()
    assert swept(closed.segments, kernels, after=9) == 0
    assert swept(closed.segments, kernels, after=11) == 1
    for from_server in (False, True):
        reset = dialogue()
        reset.send(from_server=from_server, flags=RST)
        assert swept(reset.segments, kernels, after=11) == 1


def test_a_syn_that_nobody_answered_is_over(kernels: Kernels) -> None:
    talk = Conversation()
    talk.send(flags=SYN)
    assert swept(talk.segments, kernels, after=9) == 0
    assert swept(talk.segments, kernels, after=11) == 1


@pytest.mark.parametrize("flags", [FIN | ACK, RST])
@pytest.mark.parametrize("from_server", [False, True])
def test_who_closed_first(flags: int, from_server: bool, kernels: Kernels) -> None:
    talk = dialogue()
    talk.send(from_server=from_server, flags=flags)
    talk.send(from_server=not from_server, flags=flags)
    end = only(Following(kernels).feed(talk.segments).sweep())
    assert bool(end.state & FS_CLOSED_BY_SERVER) == from_server
    assert bool(end.state & FS_CLOSED_BY_CLIENT) != from_server
    assert bool(end.state & FS_RESET) == (flags == RST)


def test_late_segments_of_a_closed_connection_belong_to_it(kernels: Kernels) -> None:
    talk = dialogue().close()
    following = Following(kernels).feed([*talk.segments, talk.segments[5], talk.segments[3]]).sweep()
    assert (following.connections, only(following).packets) == (1, 12)
    assert ids(following) == [(0, *place) for place in DIALOGUE]


def test_a_sweep_gives_everything_back(kernels: Kernels) -> None:
    following = Following(kernels, flows=8)
    before = following.free_rows()
    for number in range(30):
        following.feed(dialogue(client_end=("10.0.0.1", 50_000 + number)).close().segments).sweep()
        assert following.free_rows() == before
    assert following.connections == 30
    assert not (following.memory.buckets >= 0).any()


# Room for connections.


def test_more_connections_than_there_is_room_for(kernels: Kernels) -> None:
    following = Following(kernels, flows=4)
    talks = [dialogue(client_end=("10.0.0.1", 50_000 + n)) for n in range(50)]
    rng = random.Random(4)
    waiting = [list(talk.segments) for talk in talks]
    mixed = []
    while any(waiting):
        mixed.append(rng.choice([rest for rest in waiting if rest]).pop(0))
    following.feed(mixed)
    assert following.connections == 50
    assert len(following.memory.flows) == 64
    assert len(following.memory.buckets) == 128
    for number in {place[0] for place in ids(following)}:
        assert [place[1:] for place in ids(following) if place[0] == number] == DIALOGUE
    free = following.free_rows()["flows"]
    assert free == 14
    assert len(following.sweep().ended) == 50


def test_growing_keeps_replaced_connections_out_of_the_buckets(kernels: Kernels) -> None:
    following = Following(kernels, flows=4)
    following.feed(dialogue().segments).feed(dialogue(client_seq=900_000, server_seq=800_000).segments[:5])
    following.memory = f.grown(following.memory)
    following.feed(dialogue(client_seq=900_000, server_seq=800_000).segments[5:])
    assert [place for place in ids(following) if place[0] == 1] == [(1, *place) for place in DIALOGUE]
    assert len(following.sweep().ended) == 2


# Garbage.


def test_garbage_then_messages_again(kernels: Kernels) -> None:
    talk = Conversation().open()
    talk.client(asked(1))
    talk.client(b"this is no message at all")
    talk.client(b"nor this")
    talk.client(asked(2))
    talk.client(asked(3))
    following = Following(kernels).feed(talk.segments).sweep()
    assert ids(following) == [(0, False, 1), (0, False, 2), (0, False, 3)]
    assert following.problems == [(PROBLEM_NOT_SMB, 0)]
    assert only(following).unparsed == (33, 0)


def test_a_connection_on_a_listed_port_that_is_not_smb(kernels: Kernels) -> None:
    talk = Conversation().open()
    for number in range(20):
        talk.client(b"GET /%d HTTP/1.1\r\n\r\n" % number)
        talk.server(b"HTTP/1.1 404 Not Found\r\n\r\n")
    following = Following(kernels).feed(talk.segments).sweep()
    assert following.messages == []
    assert following.problems == [(PROBLEM_NOT_SMB, 0)] * 2  # once for each direction
    assert only(following).unparsed == only(following).taken


def test_a_lost_segment_between_messages(kernels: Kernels) -> None:
    segments = dialogue().segments
    following = Following(kernels).feed(segments[:3] + segments[5:]).sweep()
    assert ids(following) == [(0, False, 2), (0, True, 2)]
    assert following.problems == [(PROBLEM_GAP, len(asked(1))), (PROBLEM_GAP, len(answered(1)))]
    assert only(following).missing == (len(asked(1)), len(answered(1)))


@given(
    data=st.lists(st.tuples(st.booleans(), st.binary(max_size=90), st.integers(0, 31)), max_size=12),
    seed=st.integers(0, 99),
)
def test_any_segments(data: list[tuple[bool, bytes, int]], seed: int) -> None:
    """Any flags, any payloads, sometimes a message: nothing raises, and all room is given back."""
    rng = random.Random(seed)
    talk = Conversation()
    for from_server, noise, flags in data:
        payload = rng.choice([noise, asked(1) + noise, framed(smb2_message(ECHO, noise))])
        segment = talk.send(payload, from_server=from_server, flags=flags, have=rng.choice([-1, len(payload) // 2]))
        talk.segments[-1] = replace(segment, seq=(segment.seq + rng.choice([0, 0, 0, 7, -7, 2**31])) % 2**32)
    following = Following()
    before = following.free_rows()
    following.feed(talk.segments).sweep()
    assert following.free_rows() == before
    assert len(following.ended) == following.connections


def test_an_empty_memory() -> None:
    memory = Following().memory
    assert not memory.state[[f.G_CONNECTIONS, f.G_GIVEN_UP, f.G_TREES_FORGOTTEN, f.G_ROWS_DROPPED]].any()
    assert np.array_equal(memory.ports, [139, 445])
    assert Following().free_rows() == {"flows": 64, "parked": f.BLOCKS, "trees": 8 * f.BLOCKS, "blocks": f.BLOCKS}
