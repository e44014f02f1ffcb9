"""Each direction of a connection as bytes in order, told by the messages that come out."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.compiled import Kernels, compiled_kernels, plain_kernels
from analyzer.transport.flows import BLOCK, G_DIFFERENT, G_FREE_BLOCK, G_FREE_PARKED, G_GIVEN_UP
from analyzer.transport.messages import PROBLEM_CUT, PROBLEM_GAP
from analyzer.transport.streams import LOOK_BACK
from tests.build import ACK, FIN, NEGOTIATE, RESPONSE, RST, SYN, Conversation, Segment, framed, smb2
from tests.transport.following import Following

WORD = 2**32


def message(number: int, size: int = 200, *, answer: bool = False) -> bytes:
    """A message that is kept whole, of `size` bytes with its frame, that differs from all others everywhere."""
    noise = random.Random(number).randbytes(size - 68)
    return framed(smb2(NEGOTIATE, noise, message_id=number, flags=RESPONSE if answer else 0))


MESSAGES = [message(n) for n in range(6)]


def kept(following: Following) -> list[bytes]:
    """The messages that came out, with their frames."""
    return [framed(row.data) for row in following.messages]


def sent(*payloads: bytes, talk: Conversation | None = None) -> list[Segment]:
    """An open connection and payloads from its client, a segment each."""
    talk = talk or Conversation().open()
    for payload in payloads:
        talk.client(payload)
    return talk.segments


def shifted(segment: Segment, by: int, payload: bytes) -> Segment:
    """A segment with another payload, that begins `by` bytes later."""
    return replace(segment, seq=(segment.seq + by) % WORD, payload=payload)


def test_in_order(kernels: Kernels) -> None:
    following = Following(kernels).feed(sent(*MESSAGES))
    assert kept(following) == MESSAGES
    assert [row.frame for row in following.messages] == [4, 5, 6, 7, 8, 9]
    assert following.problems == []


def test_both_directions(kernels: Kernels) -> None:
    talk = Conversation().open()
    answers = [message(n, answer=True) for n in range(6)]
    for asked, answered in zip(MESSAGES, answers, strict=True):
        talk.client(asked)
        talk.server(answered)
    following = Following(kernels).feed(talk.segments)
    assert kept(following) == [data for pair in zip(MESSAGES, answers, strict=True) for data in pair]
    assert [row.from_server for row in following.messages] == [False, True] * 6


# Repetitions: the first copy of a byte wins.


def different(kernels: Kernels, *segments: Segment) -> int:
    """How many segments were counted as other than an earlier copy."""
    return int(Following(kernels).feed(segments).sweep().memory.state[G_DIFFERENT])


def changed(segment: Segment, place: int) -> Segment:
    """The same segment with another byte at a place."""
    payload = bytearray(segment.payload)
    payload[place] ^= 0xFF
    return replace(segment, payload=bytes(payload))


@pytest.mark.parametrize("place", [0, 100, 199])
def test_a_copy_that_differs_is_counted(kernels: Kernels, place: int) -> None:
    segments = sent(*MESSAGES)
    assert different(kernels, *segments, *segments[3:]) == 0
    copy = changed(segments[4], place)
    assert different(kernels, *segments, copy) == 1
    assert kept(Following(kernels).feed([*segments, copy])) == MESSAGES


def test_a_copy_with_other_boundaries_that_differs_is_counted(kernels: Kernels) -> None:
    """It begins in the middle of one and ends in the middle of the next."""
    segments = sent(*MESSAGES)
    both = shifted(segments[3], 150, (MESSAGES[0] + MESSAGES[1])[150:330])
    assert different(kernels, *segments, both) == 0
    assert [different(kernels, *segments, changed(both, place)) for place in (0, 49, 50, 179)] == [1, 1, 1, 1]


def test_a_copy_of_what_is_parked_that_differs_is_counted(kernels: Kernels) -> None:
    """Of several blocks, in another piece of the stream than that in which it came first: nothing of that one is at hand."""
    long = message(9, 2 * BLOCK + 500)
    first, parked, last = sent(MESSAGES[0], long, MESSAGES[1])[3:]
    opening = sent(MESSAGES[0])[:3]
    for place in (0, BLOCK - 1, BLOCK, 2 * BLOCK + 499):
        following = Following(kernels).feed([*opening, parked]).feed([changed(parked, place)]).feed([parked])
        assert following.memory.state[G_DIFFERENT] == 1
        following.feed([first, last]).sweep()
        assert following.memory.state[G_DIFFERENT] == 1
        assert kept(following) == [MESSAGES[0], long, MESSAGES[1]]
    whole = shifted(first, 0, MESSAGES[0] + long)
    following = Following(kernels).feed([*opening, parked]).feed([changed(whole, 200 + BLOCK), last])
    assert following.memory.state[G_DIFFERENT] == 1
    assert kept(following) == [MESSAGES[0], long, MESSAGES[1]]


def test_what_is_no_other_copy(kernels: Kernels) -> None:
    """A keep-alive with a byte of its own; bytes that were not captured; another direction; a connection before it."""
    segments = sent(*MESSAGES)
    alive = shifted(segments[-1], len(MESSAGES[-1]) - 1, b"\0" if MESSAGES[-1][-1:] != b"\0" else b"\1")
    assert different(kernels, *segments, alive) == 0
    cut = replace(changed(segments[4], 150), have=100)
    assert different(kernels, *segments, cut) == 0
    assert different(kernels, *segments, replace(changed(segments[4], 99), have=100)) == 1
    talk = Conversation(client_seq=5_000, server_seq=5_000).open()
    sent(*MESSAGES, talk=talk)
    answers = [talk.server(message(n, answer=True)) for n in range(3)]
    assert different(kernels, *talk.segments, answers[1]) == 0
    again = sent(*[message(n) for n in range(20, 26)], talk=Conversation(client_seq=1_300).open())
    assert different(kernels, *segments, *again) == 0


def test_a_copy_that_comes_late_is_not_compared(kernels: Kernels) -> None:
    """The first one is not at hand any more: too many segments before, or in an earlier piece of the capture."""
    segments = sent(*[message(n) for n in range(LOOK_BACK + 2)])
    assert different(kernels, *segments, changed(segments[3], 9)) == 0
    assert different(kernels, *segments, changed(segments[5], 9)) == 1
    following = Following(kernels).feed(segments).feed([changed(segments[-1], 9)])
    assert following.memory.state[G_DIFFERENT] == 0


def test_duplicates(kernels: Kernels) -> None:
    segments = sent(*MESSAGES)
    twice = [segment for segment in segments for _ in range(2)] + segments[3:]
    following = Following(kernels).feed(twice).sweep()
    assert kept(following) == MESSAGES
    assert following.problems == []
    assert (following.connections, following.ended[0].missing) == (1, (0, 0))
    assert following.ended[0].taken[0] == sum(map(len, MESSAGES))


def test_a_retransmission_with_other_boundaries(kernels: Kernels) -> None:
    first, second, third = sent(*MESSAGES[:3])[3:]
    both = replace(first, payload=first.payload + second.payload)
    following = Following(kernels).feed([*sent()[:3], first, both, third])
    assert kept(following) == MESSAGES[:3]


def overlapping(*parts: tuple[int, int, str]) -> list[Segment]:
    """Segments of one message of 200 bytes: from where to where, and a letter for its copy.

    Copy "a" has the right bytes, all others have wrong ones.
    """
    whole = message(0)
    talk = Conversation().open()
    begin = talk.client(whole)
    segments = talk.segments[:3]
    for start, end, copy in parts:
        payload = whole[start:end] if copy == "a" else copy.encode() * (end - start)
        segments.append(shifted(begin, start, payload))
    return segments


OVERLAPS: dict[str, list[tuple[int, int, str]]] = {
    "the same again": [(0, 100, "a"), (0, 100, "b"), (100, 200, "a")],
    "a part of it": [(0, 100, "a"), (20, 60, "b"), (100, 200, "a")],
    "its tail and more": [(0, 100, "a"), (50, 100, "b"), (100, 200, "a")],
    "early twice": [(0, 50, "a"), (100, 200, "a"), (100, 200, "b"), (50, 100, "a")],
    "early, a part of it": [(0, 50, "a"), (100, 200, "a"), (120, 160, "b"), (50, 100, "a")],
    "early, all of it and more": [(0, 50, "a"), (100, 150, "a"), (100, 150, "b"), (150, 200, "a"), (50, 100, "a")],
    "early, in three": [(0, 10, "a"), (150, 200, "a"), (60, 150, "a"), (60, 200, "b"), (10, 60, "a")],
}


@pytest.mark.parametrize("parts", OVERLAPS.values(), ids=OVERLAPS)
def test_the_first_copy_wins(parts: list[tuple[int, int, str]], kernels: Kernels) -> None:
    following = Following(kernels).feed(overlapping(*parts))
    assert kept(following) == [message(0)]
    assert following.problems == []


def test_the_first_copy_wins_at_the_seam(kernels: Kernels) -> None:
    """A later copy gives only the bytes that were not there."""
    whole = message(0)
    segments = overlapping((0, 100, "a"))
    segments.append(shifted(segments[-1], 50, b"b" * 50 + whole[100:]))
    assert kept(Following(kernels).feed(segments)) == [whole]


def test_the_first_copy_wins_over_one_that_begins_before_it(kernels: Kernels) -> None:
    """Both came early: that the later one stands before the other in the stream does not make it the first."""
    whole = message(0)
    segments = overlapping((100, 200, "a"))
    segments.append(shifted(segments[-1], -50, whole[50:100] + b"b" * 50))
    segments.append(shifted(segments[-1], -50, whole[:50]))
    assert kept(Following(kernels).feed(segments)) == [whole]


def test_the_first_copy_wins_over_one_that_fills_the_hole(kernels: Kernels) -> None:
    whole = message(0)
    segments = overlapping((100, 200, "a"))
    segments.append(shifted(segments[-1], -100, whole[:100] + b"b" * 100))
    assert kept(Following(kernels).feed(segments)) == [whole]


# Order.


@pytest.mark.parametrize("late", [1, 2, 5])
def test_a_segment_that_comes_late(late: int, kernels: Kernels) -> None:
    segments = sent(*MESSAGES)
    segments.insert(3 + late, segments.pop(3))
    following = Following(kernels).feed(segments)
    assert kept(following) == MESSAGES
    assert following.problems == []
    assert following.messages[0].frame == 4 + late


def test_the_frame_is_the_last_of_those_that_a_message_came_in(kernels: Kernels) -> None:
    whole = message(0)
    begin, middle, end = sent(whole[:70], whole[70:140], whole[140:])[3:]
    following = Following(kernels).feed([*sent()[:3], end, middle, begin])
    assert [row.frame for row in following.messages] == [6]
    following = Following(kernels).feed([*sent()[:3], begin, end, middle])
    assert [row.frame for row in following.messages] == [6]


def test_reversed(kernels: Kernels) -> None:
    segments = sent(*[message(n) for n in range(60)])
    following = Following(kernels).feed(segments[:3] + segments[:2:-1])
    assert kept(following) == [message(n) for n in range(60)]
    assert following.problems == []


def parked(count: int, size: int = 200, step_ns: int = 1_000) -> list[Segment]:
    """A connection that lacks its first segment of data, and has `count` later ones."""
    talk = Conversation(step_ns=step_ns).open()
    talk.client(*[message(n, size) for n in range(count + 1)])
    return talk.segments


@pytest.mark.parametrize("count", [1, 30, 63])
def test_a_hole_is_filled_after_fewer_than_64_segments(count: int, kernels: Kernels) -> None:
    segments = parked(count)
    hole = segments.pop(3)
    following = Following(kernels).feed(segments)
    assert kept(following) == []
    following.feed([hole])
    assert kept(following) == [message(n) for n in range(count + 1)]
    assert following.problems == []


def test_a_hole_is_given_up_after_64_segments(kernels: Kernels) -> None:
    segments = parked(64)
    hole = segments.pop(3)
    following = Following(kernels).feed(segments)
    assert kept(following) == [message(n) for n in range(1, 65)]
    assert following.problems == [(PROBLEM_GAP, 200)]
    following.feed([hole]).sweep()
    assert len(kept(following)) == 64
    assert following.ended[0].missing == (200, 0)


@pytest.mark.parametrize(("size", "given_up"), [(20_000, False), (21_000, True)])
def test_a_hole_is_given_up_after_256_kilobytes(size: int, given_up: bool, kernels: Kernels) -> None:
    """13 segments: 260,000 bytes are less than 256 KB, 273,000 are more."""
    segments = parked(13, size)
    hole = segments.pop(3)
    following = Following(kernels).feed(segments)
    assert len(kept(following)) == (13 if given_up else 0)
    assert following.problems == ([(PROBLEM_GAP, size)] if given_up else [])
    following.feed([hole])
    assert kept(following) == [message(n, size) for n in range(1 if given_up else 0, 14)]


@pytest.mark.parametrize(("seconds", "given_up"), [(2.9, False), (3.1, True)])
def test_a_hole_is_given_up_after_3_seconds(seconds: float, given_up: bool, kernels: Kernels) -> None:
    talk = Conversation().open()
    hole, early = talk.client(MESSAGES[0]), talk.client(MESSAGES[1])
    talk.now_ns = early.time_ns + int(seconds * 1_000_000_000)
    later = talk.client(MESSAGES[2])
    following = Following(kernels).feed([*talk.segments[:3], early, later])
    assert kept(following) == (MESSAGES[1:3] if given_up else [])
    following.feed([hole])
    assert kept(following) == MESSAGES[1 if given_up else 0 : 3]
    assert following.problems == ([(PROBLEM_GAP, 200)] if given_up else [])


def test_each_hole_has_its_own_3_seconds(kernels: Kernels) -> None:
    """The second opens 2.5 seconds after the first, which is then filled."""
    talk = Conversation().open()
    first_hole, second, second_hole, fourth, fifth = [talk.client(data) for data in MESSAGES[:5]]
    start = second.time_ns

    def at(segment: Segment, seconds: float) -> Segment:
        return replace(segment, time_ns=start + int(seconds * 1_000_000_000))

    following = Following(kernels).feed(
        [*talk.segments[:3], second, at(fourth, 2.5), at(first_hole, 2.6), at(fifth, 3.2), at(second_hole, 3.3)]
    )
    assert kept(following) == MESSAGES[:5]
    assert following.problems == []


def test_a_hole_that_nothing_follows_is_given_up_at_the_end(kernels: Kernels) -> None:
    segments = parked(3)
    following = Following(kernels).feed(segments[:3] + segments[4:])
    assert kept(following) == []
    following.sweep()
    assert kept(following) == [message(n) for n in range(1, 4)]
    assert following.problems == [(PROBLEM_GAP, 200)]
    assert following.ended[0].missing == (200, 0)


def test_two_holes(kernels: Kernels) -> None:
    segments = sent(*MESSAGES)
    following = Following(kernels).feed([segments[n] for n in (0, 1, 2, 4, 6, 7, 8)]).sweep()
    assert kept(following) == [MESSAGES[n] for n in (1, 3, 4, 5)]
    assert following.problems == [(PROBLEM_GAP, 200), (PROBLEM_GAP, 200)]
    assert following.ended[0].missing == (400, 0)


# Sequence numbers.


@pytest.mark.parametrize("before", [0, 1, 2, 50, 67, 68, 69, 200, 201, 1199])
def test_sequence_numbers_that_wrap(before: int, kernels: Kernels) -> None:
    talk = Conversation(client_seq=WORD - 1 - before, server_seq=WORD - 2).open()
    segments = sent(*MESSAGES, talk=talk)
    assert kept(Following(kernels).feed(segments)) == MESSAGES
    shuffled = segments[:3] + random.Random(before).sample(segments[3:], len(MESSAGES))
    following = Following(kernels).feed(shuffled).sweep()
    assert kept(following) == MESSAGES
    assert following.ended[0].missing == (0, 0)


def test_a_stray_far_outside_is_ignored(kernels: Kernels) -> None:
    segments = sent(*MESSAGES)
    for distance in (2**27, 2**30, -(2**27), 2**31 - 1, -(2**31)):
        stray = shifted(segments[4], distance, MESSAGES[5])
        following = Following(kernels).feed([*segments[:5], stray, *segments[5:]])
        assert kept(following) == MESSAGES
        assert following.problems == []


def test_four_segments_far_outside_are_believed(kernels: Kernels) -> None:
    """So much was lost that it does not matter how much: the stream goes on there."""
    segments = sent(*MESSAGES[:2])
    lost = 2**28
    later = [shifted(segments[-1], 200 + lost + 200 * n, message(n)) for n in range(7)]
    following = Following(kernels).feed([*segments, *later]).sweep()
    assert kept(following) == MESSAGES[:2] + [message(n) for n in range(3, 7)]
    assert [code for code, _ in following.problems] == [PROBLEM_GAP]
    assert following.ended[0].missing == (later[3].seq - later[0].seq + lost, 0)


def test_missing_bytes_are_counted_once_when_segments_were_waiting(kernels: Kernels) -> None:
    segments = sent(*MESSAGES[:3])
    waiting = segments.pop(4)  # a hole of 200 bytes, and message 2 waiting behind it
    lost = 2**28
    later = [shifted(waiting, lost + 200 * n, message(n)) for n in range(10, 14)]
    following = Following(kernels).feed([*segments, *later]).sweep()
    assert kept(following) == [MESSAGES[0], MESSAGES[2], message(13)]
    total = waiting.seq + lost + 200 * 14 - segments[3].seq
    assert following.ended[0].taken == (600, 0)
    assert following.ended[0].missing == (total - 600, 0)


def test_four_strays_must_follow_each_other(kernels: Kernels) -> None:
    segments = sent(*MESSAGES)
    stray = shifted(segments[4], 2**28, MESSAGES[5])
    mixed = segments[:3] + [segment for good in segments[3:] for segment in (stray, good)]
    assert kept(Following(kernels).feed(mixed)) == MESSAGES


# What is no data of the stream, and data in odd places.


def test_data_in_the_syn(kernels: Kernels) -> None:
    """[RFC 7413] The first byte of data has the number behind the SYN's."""
    talk = Conversation()
    talk.send(MESSAGES[0], flags=SYN)
    talk.send(message(9, answer=True), from_server=True, flags=SYN | ACK)
    talk.send()
    talk.client(MESSAGES[1])
    following = Following(kernels).feed(talk.segments)
    assert kept(following) == [MESSAGES[0], message(9, answer=True), MESSAGES[1]]


def test_data_with_the_fin(kernels: Kernels) -> None:
    talk = Conversation().open()
    talk.client(MESSAGES[0])
    talk.send(MESSAGES[1], flags=FIN | ACK)
    assert kept(Following(kernels).feed(talk.segments)) == MESSAGES[:2]


@pytest.mark.parametrize("probe", [b"", b"\0", b"\xff"])
@pytest.mark.parametrize("cut", [0, 1, 100, 200])
def test_keep_alive_probes(probe: bytes, cut: int, kernels: Kernels) -> None:
    """A segment with the number before the next one, empty or with one byte of garbage. [RFC 9293 3.8.4]"""
    talk = Conversation().open()
    for data in MESSAGES[:3]:
        for part in (data[:cut], data[cut:]):
            talk.client(part)
            following = talk.send()
            talk.segments[-1] = replace(following, seq=(following.seq - 1) % WORD, payload=probe)
    result = Following(kernels).feed(talk.segments).sweep()
    assert kept(result) == MESSAGES[:3]
    assert result.problems == []
    assert result.ended[0].taken == (600, 0)


def test_a_window_probe_gives_one_byte_ahead(kernels: Kernels) -> None:
    segments = sent(*MESSAGES[:2])
    probe = shifted(segments[4], 0, MESSAGES[1][:1])
    assert kept(Following(kernels).feed([*segments[:4], probe, *segments[4:]])) == MESSAGES[:2]


def test_the_text_of_a_reset_is_no_data(kernels: Kernels) -> None:
    """[RFC 9293 3.5.2] A reset may carry a text that says why."""
    talk = Conversation().open()
    talk.client(MESSAGES[0])
    talk.send(b"closed by policy", flags=RST | ACK)
    following = Following(kernels).feed(talk.segments).sweep()
    assert kept(following) == MESSAGES[:1]
    assert following.problems == []
    assert following.ended[0].taken == (200, 0)


@pytest.mark.parametrize("have", [0, 1, 67, 68, 100, 199])
def test_a_packet_cut_by_the_snap_length(have: int, kernels: Kernels) -> None:
    talk = Conversation().open()
    talk.send(MESSAGES[0], have=have)
    talk.client(MESSAGES[1])
    following = Following(kernels).feed(talk.segments).sweep()
    assert following.ended[0].missing == (200 - have, 0)
    assert following.ended[0].taken == (200 + have, 0)
    whole = [row for row in following.messages if not row.is_cut]
    assert [framed(row.data) for row in whole] == [MESSAGES[1]]
    assert following.problems == [(PROBLEM_CUT if have >= 4 else PROBLEM_GAP, 200 - have)]
    for row in following.messages:
        assert framed(row.data)[4:] in (MESSAGES[0][4:have], MESSAGES[1][4:])


def test_a_cut_packet_that_came_early(kernels: Kernels) -> None:
    talk = Conversation().open()
    hole = talk.client(MESSAGES[0])
    talk.send(MESSAGES[1], have=100)
    talk.client(MESSAGES[2])
    following = Following(kernels).feed([s for s in talk.segments if s != hole] + [hole]).sweep()
    assert [framed(row.data) for row in following.messages if not row.is_cut] == [MESSAGES[0], MESSAGES[2]]
    assert following.ended[0].missing == (100, 0)


def test_a_whole_copy_does_not_mend_a_cut_one(kernels: Kernels) -> None:
    """What was passed over is not gone back to, but the stream stays in step."""
    talk = Conversation().open()
    cut = talk.send(MESSAGES[0], have=100)
    talk.client(MESSAGES[1])
    following = Following(kernels).feed([*talk.segments[:4], replace(cut, have=-1), talk.segments[4]])
    assert [framed(row.data) for row in following.messages if not row.is_cut] == [MESSAGES[1]]


# Room.


def test_no_room_for_early_bytes_is_counted(kernels: Kernels) -> None:
    segments = parked(3)
    following = Following(kernels)
    following.feed(segments[:3])
    following.memory.state[G_FREE_BLOCK] = -1
    following.feed(segments[4:])
    assert following.memory.state[G_GIVEN_UP] == 3 * 200
    following.feed([segments[3]])
    following.sweep()
    assert following.ended[0].missing == (600, 0)
    assert following.ended[0].taken == (200, 0)


def test_no_room_for_early_segments_is_counted(kernels: Kernels) -> None:
    segments = parked(3)
    following = Following(kernels)
    following.memory.state[G_FREE_PARKED] = -1
    following.feed(segments[:3] + segments[4:])
    assert following.memory.state[G_GIVEN_UP] == 3 * 200
    following.feed([segments[3]])
    assert kept(following) == [message(0)]


@pytest.mark.parametrize("size", [200, 2 * BLOCK, 2 * BLOCK + 1, 30_000])
def test_all_room_is_given_back(size: int, kernels: Kernels) -> None:
    following = Following(kernels)
    before = following.free_rows()
    rng = random.Random(size)
    for port in range(5):
        talk = Conversation(client_end=("10.0.0.1", 50_000 + port)).open()
        talk.client(*[message(n, size) for n in range(20)])
        segments = [s for s in talk.segments if rng.random() > 0.1]
        rng.shuffle(segments)
        following.feed(segments)
    following.sweep()
    assert following.free_rows() == before


# Any division of a stream, and both forms of the kernels.

stream = st.lists(st.integers(68, 700), min_size=1, max_size=8)


def divided(sizes: list[int], cuts: list[int], start: int) -> list[Segment]:
    """A stream of messages of these sizes, cut at these places."""
    data = b"".join(message(n, size) for n, size in enumerate(sizes))
    places = sorted({0, len(data), *[cut % len(data) for cut in cuts]})
    talk = Conversation(client_seq=start).open()
    talk.client(*[data[a:b] for a, b in pairwise(places)])
    return talk.segments


@settings(max_examples=100)
@given(
    sizes=stream,
    cuts=st.lists(st.integers(0, 6000), max_size=40),
    start=st.one_of(st.integers(0, WORD - 1), st.integers(WORD - 3000, WORD - 1)),
    order=st.randoms(use_true_random=False),
    copies=st.integers(1, 3),
)
def test_any_order_gives_the_same_messages(
    sizes: list[int], cuts: list[int], start: int, order: random.Random, copies: int
) -> None:
    segments = divided(sizes, cuts, start)
    data = segments[3:] * copies
    order.shuffle(data)
    following = Following().feed(segments[:3] + data).sweep()
    assert kept(following) == [message(n, size) for n, size in enumerate(sizes)]
    assert following.problems == []


@given(
    sizes=stream,
    cuts=st.lists(st.integers(0, 6000), max_size=30),
    lost=st.sets(st.integers(0, 30)),
    order=st.randoms(use_true_random=False),
)
def test_lost_segments_never_give_wrong_messages(
    sizes: list[int], cuts: list[int], lost: set[int], order: random.Random
) -> None:
    segments = divided(sizes, cuts, 77)
    data = [segment for n, segment in enumerate(segments[3:]) if n not in lost]
    order.shuffle(data)
    following = Following().feed(segments[:3] + data).sweep()
    wholes = [message(n, size) for n, size in enumerate(sizes)]
    for row in following.messages:
        if row.is_cut:
            assert any(whole[4:].startswith(row.data) for whole in wholes)
        else:
            assert framed(row.data) in wholes
    if following.ended:
        end = following.ended[0]
        total = max((s.seq + len(s.payload) - 78 for s in data), default=0)
        assert end.taken[0] == sum(len(s.payload) for s in data)
        assert end.taken[0] + end.missing[0] == total


@settings(max_examples=30)
@given(
    sizes=stream,
    cuts=st.lists(st.integers(0, 6000), max_size=40),
    start=st.integers(0, WORD - 1),
    order=st.randoms(use_true_random=False),
    haves=st.lists(st.integers(0, 900), max_size=5),
)
def test_both_forms_do_the_same(
    sizes: list[int], cuts: list[int], start: int, order: random.Random, haves: list[int]
) -> None:
    segments = divided(sizes, cuts, start)
    data = [segment for segment in segments[3:] * 2 if order.random() < 0.8]
    order.shuffle(data)
    for n, have in enumerate(haves[: len(data)]):
        data[n] = replace(data[n], have=min(have, len(data[n].payload)))
    plain, compiled = Following(plain_kernels()), Following(compiled_kernels())
    for following in (plain, compiled):
        for not_emptied in (following.memory.messages, following.memory.arena, following.memory.blocks):
            not_emptied.fill(0xA5)
        following.feed(segments[:3] + data)
    for name, mine, theirs in zip(plain.memory._fields, plain.memory, compiled.memory, strict=True):
        assert mine.tobytes() == theirs.tobytes(), name
    assert plain.sweep().rows == compiled.sweep().rows
    assert plain.ended == compiled.ended
