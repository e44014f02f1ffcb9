"""Framing, and the choice of which messages are kept and how much of each."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.compiled import Kernels
from analyzer.smb.select import (
    HEAD,
    KEEP_HEADER,
    KEEP_UNKNOWN,
    KEEP_WHOLE,
    MAX_CHAIN,
    MAX_COMPOUND,
    MAX_TREES,
    ROOM_ROWS,
)
from analyzer.transport.flows import G_FREE_BLOCK, G_GIVEN_UP, G_SEALED_WHOLE, G_TREES_FORGOTTEN
from analyzer.transport.messages import (
    MF_MORE,
    PROBLEM_COMPOUND,
    PROBLEM_CUT,
    PROBLEM_GAP,
    PROBLEM_GIVEN_UP,
    PROBLEM_NOT_SMB,
    PROTOCOL_COMPRESSED,
    PROTOCOL_ENCRYPTED,
    PROTOCOL_NETBIOS,
    PROTOCOL_SMB1,
    PROTOCOL_SMB2,
)
from analyzer.transport.netbios import parse_names
from tests import build as b
from tests.build import RELATED, RESPONSE, Conversation, Smb1, compound, framed, smb1, smb2
from tests.transport.following import Following, Row

DISK, PIPE, PRINT = 1, 2, 3
FILE = (7, 8)


def spoken(*messages: bytes, from_server: bool = False, kernels: Kernels | None = None) -> Following:
    """Messages of one side, a segment each, without frames around them."""
    talk = Conversation().open()
    for message in messages:
        talk.send(framed(message), from_server=from_server)
    return Following(kernels).feed(talk.segments)


def kept(message: bytes, *, from_server: bool = False, kernels: Kernels | None = None) -> int:
    """How many bytes are kept of a message."""
    rows = spoken(message, from_server=from_server, kernels=kernels).rows
    return len(rows[0].data) if rows else 0


def brief(rows: list[Row]) -> list[tuple[int, int, bytes]]:
    """Protocol, command and bytes of rows."""
    return [(row.protocol, row.command, row.data) for row in rows]


# Raw data: a message without an SMB header, where READ_RAW or WRITE_RAW announced it. [MS-CIFS 2.2.4.22, 2.2.4.25]

READ_RAW = smb1(Smb1(0x1A, struct.pack("<HIHHIH", 7, 0, 4096, 0, 0, 0)))
WRITE_RAW = smb1(Smb1(0x1D, struct.pack("<HHHIIHIHH", 7, 5000, 0, 0, 0, 0, 0, 0, 0)))
GO_ON = smb1(Smb1(0x1D, struct.pack("<H", 0xFFFF)), flags=0x98)
COMPLETE = smb1(Smb1(0x20, struct.pack("<H", 5000)), flags=0x98)
CLOSE, CLOSED = smb1(b.smb1_close(7)), smb1(Smb1(0x04, b""), flags=0x98)
RAW_SIZES = (1, 3, 4, 15, 16, 63, 64, 65, 5000, 65_535)


def raw(size: int) -> bytes:
    """Bytes that look like no header."""
    return bytes(n * 7 % 251 for n in range(size))


def told(kernels: Kernels, *said: tuple[int, bytes], cut: int = 0) -> Following:
    """What both sides say, in turns (1: the server), in segments of `cut` bytes."""
    talk = Conversation().open()
    for side, message in said:
        data = framed(message)
        for at in range(0, len(data), cut or len(data)):
            talk.send(data[at : at + (cut or len(data))], from_server=bool(side))
    return Following(kernels).feed(talk.segments).sweep()


@pytest.mark.parametrize("cut", [0, 1000, 5])
@pytest.mark.parametrize("size", RAW_SIZES)
def test_raw_data_is_passed_over(size: int, cut: int, kernels: Kernels) -> None:
    if size > 5000 and cut == 5:
        cut = 1460
    for said in (
        [(0, READ_RAW), (1, raw(size)), (0, CLOSE), (1, CLOSED)],
        [(0, WRITE_RAW), (1, GO_ON), (0, raw(size)), (1, COMPLETE), (0, CLOSE), (1, CLOSED)],
    ):
        following = told(kernels, *said, cut=cut)
        assert [row.command for row in following.messages] == [m[4] for _, m in said if m[:4] == b"\xffSMB"]
        assert following.problems == []
        assert following.ended[0].unparsed == (0, 0)
        sent = [sum(4 + len(m) for side, m in said if side == way) for way in (0, 1)]
        assert following.ended[0].taken == tuple(sent)


@pytest.mark.parametrize(
    "said",
    [
        [(0, CLOSE), (1, raw(500))],
        [(0, READ_RAW), (1, b""), (0, CLOSE), (1, raw(500))],
        [(0, READ_RAW), (1, raw(500)), (1, raw(500))],
        [(0, READ_RAW), (1, raw(65_536))],
        [(0, READ_RAW), (0, raw(500))],
        [(0, WRITE_RAW), (1, raw(500))],
        [(0, WRITE_RAW), (1, CLOSED), (0, CLOSE), (0, raw(500))],
        [(1, READ_RAW), (1, raw(500))],
    ],
    ids=["none announced", "refused", "twice", "too large", "by the other side", "likewise", "refused", "by an answer"],
)
def test_raw_data_that_nobody_announced(said: list[tuple[int, bytes]], kernels: Kernels) -> None:
    following = told(kernels, *said)
    assert [code for code, _ in following.problems] == [PROBLEM_NOT_SMB]


def test_raw_data_with_a_hole(kernels: Kernels) -> None:
    """A segment of it was lost: the stream stays in step."""
    talk = Conversation().open()
    talk.client(framed(READ_RAW))
    data = framed(raw(5000))
    parts = [talk.server(data[at : at + 1000]) for at in range(0, len(data), 1000)]
    talk.server(framed(CLOSED))
    following = Following(kernels).feed([s for s in talk.segments if s is not parts[2]]).sweep()
    assert [row.command for row in following.messages] == [0x1A, 0x04]
    assert (following.problems, following.ended[0].missing) == ([], (0, 1000))


# Framing.

STREAM = [
    smb2(b.NEGOTIATE, b.negotiate_request()),
    smb2(b.SESSION_SETUP, b.setup_request(b"token" * 30), message_id=2),
    smb1(b.smb1_negotiate()),
    smb2(b.TREE_CONNECT, b.tree_request(r"\\server\IPC$"), message_id=3),
    b.encrypted(77),
    smb2(b.CREATE, b.create_request("lsarpc"), message_id=4),
]
EXPECTED = [
    (PROTOCOL_SMB2, 0, STREAM[0]),
    (PROTOCOL_SMB2, 1, STREAM[1]),
    (PROTOCOL_SMB1, 0x72, STREAM[2]),
    (PROTOCOL_SMB2, 3, STREAM[3]),
    (PROTOCOL_ENCRYPTED, 0, STREAM[4][:HEAD]),
    (PROTOCOL_SMB2, 5, STREAM[5]),
]
BYTES = b"".join(framed(message) for message in STREAM)


def test_a_message_a_segment(kernels: Kernels) -> None:
    following = spoken(*STREAM, kernels=kernels)
    assert brief(following.rows) == EXPECTED
    assert [row.size for row in following.rows] == [len(message) for message in STREAM]
    assert [row.message for row in following.rows] == [1, 2, 3, 4, 5, 6]
    assert all(row.body == row.data[64:] for row in following.rows if row.protocol == PROTOCOL_SMB2)
    assert all(row.body == row.data[32:] for row in following.rows if row.protocol == PROTOCOL_SMB1)


def test_many_messages_in_a_segment(kernels: Kernels) -> None:
    talk = Conversation().open()
    talk.client(BYTES)
    following = Following(kernels).feed(talk.segments)
    assert brief(following.rows) == EXPECTED
    assert {row.frame for row in following.rows} == {4}
    ends = [sum(4 + len(message) for message in STREAM[: n + 1]) for n in range(len(STREAM))]
    assert [row.position for row in following.rows] == ends


def test_split_at_every_byte(kernels: Kernels) -> None:
    for cut in range(1, len(BYTES)):
        talk = Conversation().open()
        talk.client(BYTES[:cut], BYTES[cut:])
        following = Following(kernels).feed(talk.segments)
        assert brief(following.rows) == EXPECTED, cut


def test_byte_by_byte(kernels: Kernels) -> None:
    talk = Conversation().open()
    talk.client(*[bytes([byte]) for byte in BYTES])
    following = Following(kernels).feed(talk.segments).sweep()
    assert brief(following.rows) == EXPECTED
    ends = [sum(4 + len(message) for message in STREAM[: n + 1]) for n in range(len(STREAM))]
    assert [row.frame for row in following.rows] == [3 + end for end in ends]
    assert [row.position for row in following.rows] == ends


def test_netbios_session_service(kernels: Kernels) -> None:
    """[RFC 1002 4.3] Names, their answer, keep-alives between and inside nothing else."""
    request = b.session_request("*SMBSERVER", "CLIENT")
    for cut in (0, 1, 3, 4, 5, 40, len(request)):
        talk = Conversation(server_end=("10.0.0.2", 139)).open()
        talk.client(request[:cut], request[cut:])
        talk.server(b.POSITIVE_RESPONSE)
        talk.client(framed(STREAM[2]), b.KEEP_ALIVE)
        talk.server(b.KEEP_ALIVE + framed(smb1(b.smb1_negotiate_answer(1), flags=0x98)))
        following = Following(kernels).feed(talk.segments)
        netbios = [row for row in following.rows if row.protocol == PROTOCOL_NETBIOS]
        assert [(row.from_server, row.command) for row in netbios] == [
            (False, 0x81), (True, 0x82), (False, 0x85), (True, 0x85),
        ]  # fmt: skip
        assert netbios[0].data == request
        assert parse_names(netbios[0].data) == ("*SMBSERVER", "CLIENT")
        smb = [(row.from_server, row.command) for row in following.rows if row.protocol == PROTOCOL_SMB1]
        assert smb == [(False, 0x72), (True, 0x72)]
        assert following.problems == []


def test_a_negative_response_on_port_445(kernels: Kernels) -> None:
    talk = Conversation().open()
    talk.client(framed(STREAM[0]))
    talk.server(b"\x83\0\0\x01\x8f")
    rows = Following(kernels).feed(talk.segments).rows
    assert [(row.protocol, row.command) for row in rows] == [(PROTOCOL_SMB2, 0), (PROTOCOL_NETBIOS, 0x83)]
    assert rows[1].data == b"\x83\0\0\x01\x8f"


def test_empty_session_messages_say_nothing(kernels: Kernels) -> None:
    talk = Conversation().open()
    data = framed(b"") + framed(STREAM[0]) + framed(b"") * 2 + framed(STREAM[2]) + framed(b"")
    talk.client(data, *[bytes([byte]) for byte in data])
    following = Following(kernels).feed(talk.segments)
    assert brief(following.rows) == [EXPECTED[0], EXPECTED[2]] * 2


@pytest.mark.parametrize("size", range(1, 16))
def test_session_messages_too_short_for_smb(size: int, kernels: Kernels) -> None:
    """The length is not believed: the next message is looked for."""
    for step in (1, 1000):
        talk = Conversation().open()
        data = framed(b"\xfeSMBxxxxxxxxxxxx"[:size])
        talk.client(*[data[at : at + step] for at in range(0, len(data), step)])
        talk.client(framed(STREAM[0]))
        following = Following(kernels).feed(talk.segments)
        assert brief(following.messages) == EXPECTED[:1]
        assert following.problems == [(PROBLEM_NOT_SMB, 0)]


@pytest.mark.parametrize("first", [b"\xfbSMB", b"\xfeSMC", b"RPC!", b"\0\0\0\0"])
def test_session_messages_that_are_not_smb(first: bytes, kernels: Kernels) -> None:
    for step in (1, 1000):
        talk = Conversation().open()
        data = framed(first + bytes(100))
        talk.client(*[data[at : at + step] for at in range(0, len(data), step)])
        talk.client(framed(STREAM[0]))
        following = Following(kernels).feed(talk.segments)
        assert brief(following.messages) == EXPECTED[:1]
        assert following.problems == [(PROBLEM_NOT_SMB, 0)]


def test_an_smb2_message_shorter_than_its_header_is_no_message(kernels: Kernels) -> None:
    following = spoken(STREAM[0][:63], STREAM[2][:34], STREAM[5], kernels=kernels)
    assert brief(following.messages) == EXPECTED[5:]


# Gaps.

FILE_DATA = smb2(b.WRITE, b.write_request(FILE, bytes(20_000)), tree_id=9, session_id=5)
"""On a tree of which nothing is known: its first 4 KB are kept."""


def with_gap(data: bytes, begin: int, end: int, *, cut: bool = False) -> list[b.Segment]:
    """A stream of which some bytes were lost, or (cut) not captured."""
    talk = Conversation().open()
    if cut:
        talk.send(data[:end], have=begin)
    else:
        talk.client(data[:begin])
        lost = talk.client(data[begin:end])
        talk.segments.remove(lost)
    talk.client(data[end:])
    return talk.segments


@pytest.mark.parametrize("cut", [False, True])
def test_a_gap_in_passed_over_data_stays_in_step(cut: bool, kernels: Kernels) -> None:
    data = framed(STREAM[0]) + framed(FILE_DATA) + framed(STREAM[5])
    begin = len(framed(STREAM[0]))
    for gap in (
        (begin + 5_000, begin + 5_001),
        (begin + 4_100, begin + 20_000),
        (begin + 9_000, begin + len(FILE_DATA) + 4),
    ):
        following = Following(kernels).feed(with_gap(data, *gap, cut=cut)).sweep()
        assert [row.command for row in following.rows] == [b.NEGOTIATE, b.WRITE, b.CREATE]
        assert brief(following.rows)[1] == (PROTOCOL_SMB2, b.WRITE, FILE_DATA[:KEEP_UNKNOWN])
        assert not any(row.is_cut for row in following.rows)
        assert following.ended[0].missing[0] == gap[1] - gap[0]


@pytest.mark.parametrize("cut", [False, True])
def test_a_gap_in_a_wanted_message_is_told(cut: bool, kernels: Kernels) -> None:
    data = framed(STREAM[0]) + framed(STREAM[1]) + framed(STREAM[5])
    begin = len(framed(STREAM[0]))
    for gap in ((begin + 100, begin + 101), (begin + 80, begin + 150), (begin + 200, begin + len(framed(STREAM[1])))):
        following = Following(kernels).feed(with_gap(data, *gap, cut=cut)).sweep()
        assert following.problems == [(PROBLEM_CUT, gap[1] - gap[0])]
        assert [(row.command, row.is_cut) for row in following.messages] == [
            (b.NEGOTIATE, False), (b.SESSION_SETUP, True), (b.CREATE, False),
        ]  # fmt: skip
        row = following.messages[1]
        assert row.data == STREAM[1][: gap[0] - begin - 4]
        assert row.size == len(STREAM[1])


def test_a_gap_over_the_end_of_a_message(kernels: Kernels) -> None:
    """How much of the next one is lost is not known: it is looked for."""
    data = framed(STREAM[1]) + framed(STREAM[0]) + framed(STREAM[5])
    end = len(framed(STREAM[1])) + 10
    following = Following(kernels).feed(with_gap(data, 100, end)).sweep()
    assert [(row.command, row.is_cut) for row in following.messages] == [(b.SESSION_SETUP, True), (b.CREATE, False)]
    assert following.messages[0].data == STREAM[1][:96]
    codes = [code for code, _ in following.problems]
    assert set(codes) == {PROBLEM_CUT, PROBLEM_GAP}


def test_a_gap_over_the_end_of_a_message_of_which_all_is_there_that_is_wanted(kernels: Kernels) -> None:
    data = framed(FILE_DATA) + framed(STREAM[0]) + framed(STREAM[5])
    end = len(framed(FILE_DATA)) + 10
    following = Following(kernels).feed(with_gap(data, 15_000, end)).sweep()
    assert [(row.command, row.is_cut, len(row.data)) for row in following.messages] == [
        (b.WRITE, False, KEEP_UNKNOWN), (b.CREATE, False, len(STREAM[5])),
    ]  # fmt: skip
    assert following.problems == [(PROBLEM_GAP, end - 15_000)]


def test_whole_messages_lost_between_others(kernels: Kernels) -> None:
    begin, end = len(framed(STREAM[0])), len(framed(STREAM[0]) + framed(STREAM[1]))
    following = Following(kernels).feed(with_gap(framed(STREAM[0]) + framed(STREAM[1]) + framed(STREAM[5]), begin, end))
    following.sweep()
    assert brief(following.messages) == [EXPECTED[0], EXPECTED[5]]
    assert following.problems == [(PROBLEM_GAP, end - begin)]


def test_a_message_that_was_cut_off_by_the_end_of_its_connection(kernels: Kernels) -> None:
    talk = Conversation().open()
    talk.client(framed(STREAM[1])[:150])
    talk.close()
    following = Following(kernels).feed(talk.segments).sweep()
    assert [(row.command, row.is_cut, row.data) for row in following.messages] == [
        (b.SESSION_SETUP, True, STREAM[1][:146]),
    ]  # fmt: skip


def test_a_compound_is_cut_in_its_last_part_only(kernels: Kernels) -> None:
    first = smb2(b.CREATE, b.create_request("lsarpc"), tree_id=1, session_id=5)
    second = smb2(b.CLOSE, b.close_request(b.NO_FILE), flags=RELATED, tree_id=b.NO_ID32, session_id=b.NO_ID64)
    data = framed(compound(first, second)) + framed(STREAM[0])
    end = len(framed(compound(first, second)))
    following = Following(kernels).feed(with_gap(data, end - 5, end))
    following.sweep()
    assert [(row.command, row.place, row.is_cut) for row in following.messages] == [
        (b.CREATE, 0, False), (b.CLOSE, 1, True), (b.NEGOTIATE, 0, False),
    ]  # fmt: skip


# What is kept.

BIG = bytes(100_000)


def test_control_messages_are_kept_whole(kernels: Kernels) -> None:
    for command in (b.NEGOTIATE, b.SESSION_SETUP, b.LOGOFF, b.TREE_CONNECT, b.TREE_DISCONNECT):
        for flags, from_server in ((0, False), (RESPONSE, True)):
            message = smb2(command, bytes(50_000), flags=flags)
            assert kept(message, from_server=from_server, kernels=kernels) == len(message)
            message = smb2(command, BIG, flags=flags)
            assert kept(message, from_server=from_server, kernels=kernels) == KEEP_WHOLE
    assert KEEP_WHOLE >= 0x10000 + 64 + 24  # a security blob's length has 16 bits


def test_a_short_part_of_an_encrypted_message(kernels: Kernels) -> None:
    """Its 52-byte header is all that can be read of it. [MS-SMB2 2.2.41]"""
    message = b.encrypted(5, BIG)
    assert brief(spoken(message, kernels=kernels).rows) == [(PROTOCOL_ENCRYPTED, 0, message[:HEAD])]


def test_encrypted_messages_whole(kernels: Kernels) -> None:
    """As a second reading wants them: up to the most that is kept of any, whole and in pieces."""
    for secret in (bytes(range(96)), bytes(3000), BIG):
        message = b.encrypted(5, secret)
        for step in (len(message) + 4, 1000):
            following = Following(kernels)
            following.memory.state[G_SEALED_WHOLE] = 1
            talk = Conversation().open()
            stream = framed(message)
            talk.client(*(stream[at : at + step] for at in range(0, len(stream), step)))
            rows = following.feed(talk.segments).messages
            assert [(row.protocol, row.data, row.size) for row in rows] == [
                (PROTOCOL_ENCRYPTED, message[:KEEP_WHOLE], len(message))
            ]


def test_the_beginning_of_a_compressed_message(kernels: Kernels) -> None:
    rows = spoken(b"\xfcSMB" + BIG, kernels=kernels).rows
    assert brief(rows) == [(PROTOCOL_COMPRESSED, 0, (b"\xfcSMB" + BIG)[:KEEP_UNKNOWN])]


@pytest.mark.parametrize("command", [b.LOCK, b.CANCEL, b.ECHO, 18])
def test_commands_that_say_nothing(command: int, kernels: Kernels) -> None:
    assert kept(smb2(command, bytes(60)), kernels=kernels) == 0


def test_interim_answers_say_nothing(kernels: Kernels) -> None:
    for command in (b.READ, b.IOCTL, b.CREATE, b.SESSION_SETUP):
        pending = smb2(command, b.error_answer(), status=b.PENDING, flags=RESPONSE, async_id=4)
        assert kept(pending, from_server=True, kernels=kernels) == 0
        # The same number in a request is a channel sequence. [MS-SMB2 2.2.1]
        assert kept(smb2(command, bytes(100), status=b.PENDING), kernels=kernels) > 0


def with_tree(kind: int, *messages: bytes, from_server: bool = False, kernels: Kernels | None = None) -> list[Row]:
    """Rows of messages on a tree 9 of session 5, whose connect was seen (0: was not)."""
    talk = Conversation().open()
    if kind:
        talk.client(framed(smb2(b.TREE_CONNECT, b.tree_request(r"\\s\x"), session_id=5)))
        talk.server(framed(smb2(b.TREE_CONNECT, b.tree_answer(kind), flags=RESPONSE, session_id=5, tree_id=9)))
    for message in messages:
        talk.send(framed(message), from_server=from_server)
    return Following(kernels).feed(talk.segments).rows[2 if kind else 0 :]


DATA_MESSAGES = {
    "read request": (smb2(b.READ, b.read_request(FILE), session_id=5, tree_id=9), False),
    "read answer": (smb2(b.READ, b.read_answer(BIG), flags=RESPONSE, session_id=5, tree_id=9), True),
    "write request": (smb2(b.WRITE, b.write_request(FILE, BIG), session_id=5, tree_id=9), False),
    "write answer": (smb2(b.WRITE, b.write_answer(100_000), flags=RESPONSE, session_id=5, tree_id=9), True),
    "ioctl": (smb2(b.IOCTL, b.ioctl_request(0x11C017, FILE, BIG), session_id=5, tree_id=9), False),
    "close": (smb2(b.CLOSE, b.close_request(FILE), session_id=5, tree_id=9), False),
}


@pytest.mark.parametrize(("message", "from_server"), DATA_MESSAGES.values(), ids=DATA_MESSAGES)
def test_data_is_kept_as_its_tree_says(message: bytes, from_server: bool, kernels: Kernels) -> None:
    for kind, most in ((DISK, 0), (PRINT, 0), (PIPE, KEEP_WHOLE), (0, KEEP_UNKNOWN)):
        rows = with_tree(kind, message, from_server=from_server, kernels=kernels)
        assert [row.data for row in rows] == ([message[:most]] if most else []), kind
        assert not any(row.is_cut for row in rows)
        assert [row.size for row in rows] == ([len(message)] if most else [])


@pytest.mark.parametrize("kind", [0, DISK, PIPE, PRINT])
def test_opens_are_kept_on_every_tree(kind: int, kernels: Kernels) -> None:
    message = smb2(b.CREATE, b.create_request("x" * 200), session_id=5, tree_id=9)
    assert [row.data for row in with_tree(kind, message, kernels=kernels)] == [message]


def test_other_commands_on_a_pipe_share_are_kept_in_short(kernels: Kernels) -> None:
    message = smb2(16, bytes(1_000), session_id=5, tree_id=9)  # QUERY_INFO
    assert [len(row.data) for row in with_tree(PIPE, message, kernels=kernels)] == [KEEP_HEADER]
    assert with_tree(DISK, message, kernels=kernels) == []


def test_asynchronous_answers_have_no_tree(kernels: Kernels) -> None:
    message = smb2(b.READ, b.read_answer(BIG), flags=RESPONSE, session_id=5, async_id=9 << 32)
    for kind in (DISK, PIPE):
        rows = with_tree(kind, message, from_server=True, kernels=kernels)
        assert [len(row.data) for row in rows] == [KEEP_UNKNOWN]


def test_trees_belong_to_their_session_and_connection(kernels: Kernels) -> None:
    write = DATA_MESSAGES["write request"][0]
    other_session = smb2(b.WRITE, b.write_request(FILE, BIG), session_id=6, tree_id=9)
    other_tree = smb2(b.WRITE, b.write_request(FILE, BIG), session_id=5, tree_id=10)
    rows = with_tree(DISK, write, other_session, other_tree, kernels=kernels)
    assert [len(row.data) for row in rows] == [KEEP_UNKNOWN] * 2
    assert kept(write, kernels=kernels) == KEEP_UNKNOWN


def test_a_tree_connect_that_failed_says_nothing_about_the_tree(kernels: Kernels) -> None:
    talk = Conversation().open()
    answer = smb2(b.TREE_CONNECT, b.tree_answer(DISK), flags=RESPONSE, status=b.ACCESS_DENIED, session_id=5, tree_id=9)
    talk.server(framed(answer))
    talk.client(framed(DATA_MESSAGES["write request"][0]))
    assert [len(row.data) for row in Following(kernels).feed(talk.segments).rows] == [len(answer), KEEP_UNKNOWN]


def test_a_tree_id_is_used_again(kernels: Kernels) -> None:
    talk = Conversation().open()
    for kind in (DISK, PIPE, DISK):
        talk.server(framed(smb2(b.TREE_CONNECT, b.tree_answer(kind), flags=RESPONSE, session_id=5, tree_id=9)))
        talk.client(framed(DATA_MESSAGES["write request"][0]))
    rows = Following(kernels).feed(talk.segments).rows
    assert [row.command for row in rows] == [b.TREE_CONNECT, b.TREE_CONNECT, b.WRITE, b.TREE_CONNECT]


def test_the_tree_that_was_not_used_for_longest_is_forgotten(kernels: Kernels) -> None:
    talk = Conversation().open()

    def write(tree: int) -> bytes:
        return framed(smb2(b.WRITE, b.write_request(FILE, bytes(10)), session_id=5, tree_id=tree))

    for tree in range(MAX_TREES):
        talk.server(framed(smb2(b.TREE_CONNECT, b.tree_answer(DISK), flags=RESPONSE, session_id=5, tree_id=tree)))
    talk.client(write(0))  # now tree 1 is the oldest
    talk.server(framed(smb2(b.TREE_CONNECT, b.tree_answer(DISK), flags=RESPONSE, session_id=5, tree_id=999)))
    following = Following(kernels).feed(talk.segments)
    assert following.memory.state[G_TREES_FORGOTTEN] == 1
    before = len(following.rows)
    talk.client(write(0), write(1), write(2), write(999))
    following.feed(talk.segments[-4:])
    assert [row.data for row in following.rows[before:]] == [write(1)[4:]]
    free = following.free_rows()["trees"]
    following.sweep()
    assert following.free_rows()["trees"] == free + MAX_TREES


# SMB 1.

SERVICES = {b"IPC": KEEP_WHOLE, b"A:": 0, b"LPT1:": 0, b"COMM": KEEP_UNKNOWN, b"?????": KEEP_UNKNOWN}


@pytest.mark.parametrize(("service", "most"), SERVICES.items())
@pytest.mark.parametrize("words", [2, 3, 7])
def test_smb1_data_is_kept_as_its_tree_says(service: bytes, most: int, words: int, kernels: Kernels) -> None:
    talk = Conversation().open()
    talk.server(framed(smb1(b.smb1_tree_answer(service, words=words), flags=0x98, tid=9)))
    message = smb1(b.write_andx(3, bytes(60_000)), tid=9)
    talk.client(framed(message))
    rows = Following(kernels).feed(talk.segments).rows[1:]
    assert [row.data for row in rows] == ([message[:most]] if most else [])


def test_smb1_trees_belong_to_the_connection(kernels: Kernels) -> None:
    """On SMB 1 several UIDs share a TID."""
    talk = Conversation().open()
    talk.server(framed(smb1(b.smb1_tree_answer(b"A:"), flags=0x98, tid=9, uid=1)))
    talk.client(framed(smb1(b.write_andx(3, bytes(60_000)), tid=9, uid=2)))
    assert [row.command for row in Following(kernels).feed(talk.segments).rows] == [0x75]


def test_a_tree_connect_in_a_chain(kernels: Kernels) -> None:
    talk = Conversation().open()
    answer = smb1(b.smb1_setup_answer(0, "OS", "LM", "D"), b.smb1_tree_answer(b"A:"), flags=0x98, tid=9, uid=1)
    talk.server(framed(answer))
    talk.client(framed(smb1(b.write_andx(3, bytes(60_000)), tid=9, uid=1)))
    rows = Following(kernels).feed(talk.segments).rows
    assert [(row.command, row.place, row.flags) for row in rows] == [(0x73, 0, MF_MORE), (0x75, 1, 0)]


SMB1_MESSAGES: dict[str, tuple[Smb1, int]] = {
    "negotiate": (b.smb1_negotiate(), KEEP_WHOLE),
    "setup": (b.smb1_setup_blob(bytes(60_000)), KEEP_WHOLE),
    "logoff": (Smb1(0x74, b""), KEEP_WHOLE),
    "tree connect": (b.smb1_tree(r"\\s\IPC$"), KEEP_WHOLE),
    "core tree connect": (Smb1(0x70, b"", b"\x04\\\\S\\X\0\x04\0\x04A:\0"), KEEP_WHOLE),
    "tree disconnect": (Smb1(0x71, b""), KEEP_WHOLE),
    "open": (b.nt_create("\\lsarpc"), KEEP_UNKNOWN),
    "old open": (b.open_andx("\\PIPE\\x"), KEEP_UNKNOWN),
    "core open": (b.open_core("\\PIPE\\x"), KEEP_UNKNOWN),
    "transaction": (b.transaction("\\PIPE\\", setup=(0x26, 1), data=bytes(60_000)), KEEP_WHOLE),
    "transaction2": (b.transaction("", setup=(0x10,), data=bytes(60_000), command=0x32), KEEP_UNKNOWN),
    "NT transaction": (b.nt_transact(2, data=bytes(60_000)), KEEP_UNKNOWN),
    "read": (b.read_andx(1), KEEP_UNKNOWN),
    "close": (b.smb1_close(1), KEEP_HEADER),
    "echo": (Smb1(0x2B, b"\1\0", b"x"), 0),
    "locking": (Smb1(0x24, bytes(12)), 0),
    "cancel": (Smb1(0xA4, b""), 0),
}


@pytest.mark.parametrize(("command", "most"), SMB1_MESSAGES.values(), ids=SMB1_MESSAGES)
def test_smb1_messages_on_a_tree_of_which_nothing_is_known(command: Smb1, most: int, kernels: Kernels) -> None:
    message = smb1(command, tid=9)
    assert [row.data for row in spoken(message, kernels=kernels).rows] == ([message[:most]] if most else [])


# Compounds and chains.


def test_a_compound_makes_a_row_for_each_part(kernels: Kernels) -> None:
    parts = [
        smb2(b.CREATE, b.create_request("lsarpc"), session_id=5, tree_id=9, message_id=1),
        smb2(b.WRITE, b.write_request(b.NO_FILE, b"data"), flags=RELATED, session_id=b.NO_ID64, tree_id=b.NO_ID32),
        smb2(b.CLOSE, b.close_request(b.NO_FILE), flags=RELATED, session_id=b.NO_ID64, tree_id=b.NO_ID32),
    ]
    for kind in (0, PIPE):
        rows = with_tree(kind, compound(*parts), kernels=kernels)
        assert [(row.command, row.place, row.flags) for row in rows] == [
            (b.CREATE, 0, MF_MORE), (b.WRITE, 1, MF_MORE), (b.CLOSE, 2, 0),
        ]  # fmt: skip
        assert [row.data[12:13] + row.data[64:] for row in rows] == [
            part[12:13] + part[64:] + bytes(-len(part) % 8 if part is not parts[-1] else 0) for part in parts
        ]
        assert len({row.message for row in rows}) == 1


def test_related_parts_are_on_the_tree_of_the_first(kernels: Kernels) -> None:
    parts = [
        smb2(b.CREATE, b.create_request("file"), session_id=5, tree_id=9),
        smb2(b.WRITE, b.write_request(b.NO_FILE, bytes(1000)), flags=RELATED, session_id=b.NO_ID64, tree_id=b.NO_ID32),
        smb2(b.CLOSE, b.close_request(b.NO_FILE), flags=RELATED, session_id=b.NO_ID64, tree_id=b.NO_ID32),
    ]
    rows = with_tree(DISK, compound(*parts), kernels=kernels)
    assert [row.command for row in rows] == [b.CREATE]


def test_unrelated_parts_have_trees_of_their_own(kernels: Kernels) -> None:
    parts = [
        smb2(b.WRITE, b.write_request(FILE, bytes(1000)), session_id=5, tree_id=9),
        smb2(b.WRITE, b.write_request(FILE, bytes(1000)), session_id=5, tree_id=10),
    ]
    rows = with_tree(DISK, compound(*parts), kernels=kernels)
    assert [(row.command, row.place) for row in rows] == [(b.WRITE, 1)]


@pytest.mark.parametrize("distance", [1, 8, 63, 10_000, 0xFFFFFFFF])
def test_a_next_command_that_leads_nowhere(distance: int, kernels: Kernels) -> None:
    message = bytearray(STREAM[0])
    struct.pack_into("<I", message, 20, distance)
    following = spoken(bytes(message), STREAM[5], kernels=kernels)
    assert [row.command for row in following.messages] == [b.NEGOTIATE, b.CREATE]
    assert following.problems == [(PROBLEM_COMPOUND, distance)]


def test_a_compound_that_does_not_end(kernels: Kernels) -> None:
    parts = [smb2(b.LOGOFF, b"\4\0\0\0\0\0\0\0")] * (MAX_COMPOUND + 1)
    following = spoken(compound(*parts), STREAM[5], kernels=kernels)
    assert len(following.messages) == MAX_COMPOUND + 1
    assert [code for code, _ in following.problems] == [PROBLEM_COMPOUND]
    assert following.messages[-1].command == b.CREATE


@pytest.mark.parametrize("offset", [0, 31, 32, 33, 5_000, 0xFFFF])
def test_an_andx_offset_that_leads_nowhere(offset: int, kernels: Kernels) -> None:
    message = bytearray(smb1(b.smb1_setup("", "", "", ""), b.smb1_tree(r"\\s\IPC$")))
    struct.pack_into("<H", message, 35, offset)
    following = spoken(bytes(message), STREAM[5], kernels=kernels)
    assert [(row.command, row.flags) for row in following.messages] == [(0x73, 0), (b.CREATE, 0)]
    assert following.problems == [(PROBLEM_COMPOUND, offset)]


def test_a_chain_that_does_not_end(kernels: Kernels) -> None:
    chain = [b.smb1_tree(r"\\s\IPC$")] * (MAX_CHAIN + 1)
    following = spoken(smb1(*chain), STREAM[5], kernels=kernels)
    assert len(following.messages) == MAX_CHAIN + 1
    assert [code for code, _ in following.problems] == [PROBLEM_COMPOUND]


def test_a_chain_that_was_cut(kernels: Kernels) -> None:
    message = smb1(b.smb1_setup("user", "domain", "os", "lm"), b.smb1_tree(r"\\s\IPC$"))
    at = struct.unpack_from("<H", message, 35)[0]
    following = Following(kernels).feed(with_gap(framed(message) + framed(STREAM[5]), at, len(message) + 4, cut=True))
    assert [(row.command, row.is_cut) for row in following.messages] == [(0x73, True), (b.CREATE, False)]


# Room.


def test_a_window_that_fills_is_emptied_in_between(kernels: Kernels) -> None:
    following = Following(kernels, rows=ROOM_ROWS + 3)
    talk = Conversation().open()
    for number in range(50):
        talk.client(framed(smb2(b.NEGOTIATE, bytes(40), message_id=number)))
    following.feed(talk.segments)
    assert [int.from_bytes(row.data[24:32], "little") for row in following.rows] == list(range(50))
    assert [row.message for row in following.rows] == list(range(1, 51))


def test_no_room_for_an_unfinished_message_is_told(kernels: Kernels) -> None:
    talk = Conversation().open()
    whole = framed(smb2(b.SESSION_SETUP, b.setup_request(bytes(5_000))))
    talk.client(whole[:3_000], whole[3_000:], framed(STREAM[0]))
    following = Following(kernels)
    before = following.free_rows()["blocks"]
    following.feed(talk.segments[:3])
    waiting = following.memory.state[G_FREE_BLOCK]
    following.memory.state[G_FREE_BLOCK] = -1
    following.feed(talk.segments[3:])
    following.memory.state[G_FREE_BLOCK] = waiting
    assert [code for code, _ in following.problems] == [PROBLEM_GIVEN_UP]
    assert brief(following.messages) == EXPECTED[:1]
    assert following.free_rows()["blocks"] == before


def test_room_that_runs_out_in_a_message(kernels: Kernels) -> None:
    talk = Conversation().open()
    whole = framed(smb2(b.SESSION_SETUP, b.setup_request(bytes(9_000))))
    talk.client(whole[:2_500], whole[2_500:9_000], whole[9_000:] + framed(STREAM[0]))
    following = Following(kernels).feed(talk.segments[:4])
    waiting = following.memory.state[G_FREE_BLOCK]
    following.memory.state[G_FREE_BLOCK] = -1
    following.feed(talk.segments[4:])
    assert following.memory.state[G_GIVEN_UP] >= 2_500
    assert [code for code, _ in following.problems] == [PROBLEM_GIVEN_UP]
    assert brief(following.messages) == EXPECTED[:1]
    assert waiting >= 0


@given(
    messages=st.lists(st.sampled_from([*STREAM, FILE_DATA, *[row[0] for row in DATA_MESSAGES.values()]]), max_size=6),
    cuts=st.lists(st.integers(0, 300_000), max_size=8),
    damage=st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 255)), max_size=4),
)
def test_damaged_streams(messages: list[bytes], cuts: list[int], damage: list[tuple[int, int]]) -> None:
    """Wrong bytes anywhere: what comes out lies inside the arena, and all room is given back."""
    data = bytearray(b"".join(framed(message) for message in messages))
    for place, value in damage:
        if data:
            data[place % min(len(data), 500)] = value
    places = sorted({0, len(data), *[cut % (len(data) + 1) for cut in cuts]})
    talk = Conversation().open()
    for begin, end in pairwise(places):
        talk.client(bytes(data[begin:end]))
    following = Following()
    before = following.free_rows()
    following.feed(talk.segments).sweep()
    assert following.free_rows() == before
    for row in following.messages:
        assert len(row.data) <= KEEP_WHOLE
        assert row.data in bytes(data)
