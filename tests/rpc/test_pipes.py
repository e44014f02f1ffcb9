"""Pieces of pipes to binds and calls."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.compiled import Form, compiled_kernels, plain_kernels
from analyzer.rpc import pipes as p
from analyzer.rpc.pdu import HEAD, TAIL
from analyzer.wire.texts import Texts
from tests import pdus
from tests.pdus import ABSTRACT_SYNTAX_NOT_SUPPORTED as NO_SUCH_INTERFACE
from tests.pdus import (
    ACCEPTED,
    ALTER,
    ALTER_ANSWER,
    CONNECT,
    FIRST,
    INTEGRITY,
    LAST,
    NDR,
    NDR64,
    NETLOGON,
    NTLM,
    PRIVACY,
    SAMR,
    SRVSVC,
    WKSSVC,
    answered,
    bind,
    bind_ack,
    bind_nak,
    fault,
    request,
    response,
    server_info,
)
from tests.rpc.driving import ANSWERED, Piece, Talk, asked, heard, said, told

ACCESS_DENIED = 5
NCA_FAULT_ACCESS_DENIED = 5
NCA_OP_RNG_ERROR = 0x1C010002
STATUS_PIPE_BROKEN = 0xC000014B
OTHER = ("00112233-4455-6677-8899-aabbccddeeff", 0x00020001)  # version 1.2
BOUND = (asked(bind(SRVSVC)), said(bind_ack(ACCEPTED)))


# Binds. #


@pytest.mark.parametrize("big", [False, True], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("kind", [(pdus.BIND, pdus.BIND_ACK), (ALTER, ALTER_ANSWER)], ids=["bind", "alter"])
def test_bind(kind: tuple[int, int], big: bool, form: Form) -> None:
    talk = heard(
        form, asked(bind(OTHER, kind=kind[0], big=big, call=9)), said(bind_ack(ACCEPTED, kind=kind[1], big=big, call=9))
    )
    (row,) = talk.binds
    assert row == {
        "pipe": 0,
        "frame": 1,
        "answer_frame": 2,
        "session": 7,
        "interface": "00112233-4455-6677-8899-aabbccddeeff 1.2",
        "transfer": "ndr",
        "auth": None,
        "result": "done",
        "code": 0,
        "name": "\\PIPE\\srvsvc",
        "call_id": 9,
        "context": 0,
        "alter": int(kind[0] == ALTER),
    }


@pytest.mark.parametrize("address", [b"", b"\0", b"\\PIPE\\srvsvc\0", b"\\pipe\\x\0", b"12345", b"\xff\xfe\0"])
def test_secondary_addresses_of_any_length(address: bytes, form: Form) -> None:
    """The results stand behind it, at a multiple of four. [C706 12.6.4.4]"""
    talk = heard(form, asked(bind(SRVSVC)), said(bind_ack(ACCEPTED, address=address)))
    assert told(talk.binds, "interface", "result") == [("srvsvc", "done")]
    name = talk.binds[0]["name"]
    assert name == (address.rstrip(b"\0").decode("ascii", "replace") or None) or b"\xff" in address


def test_several_contexts_are_answered_in_their_order(form: Form) -> None:
    """As Windows binds: the same interface in two syntaxes, and a negotiation of features, which is no bind."""
    contexts = [(0, SRVSVC, [NDR]), (1, SRVSVC, [NDR64]), (2, SRVSVC, [pdus.FEATURES]), (3, WKSSVC, [NDR, NDR64])]
    results = [(2, 2, pdus.NO_SYNTAX), (0, 0, NDR64), pdus.NEGOTIATED, (0, 0, NDR64)]
    talk = heard(
        form,
        asked(bind(*contexts)),
        said(bind_ack(*results)),
        asked(request(21, server_info("\\\\A", 101, word="Q"), context=1)),
        said(response(b"\0\0\0\0", context=1)),
        asked(request(0, server_info("\\\\B", 100, word="Q"), context=3, call=3)),
        said(answered(5, call=3)),
    )
    assert sorted(told(talk.binds, "context", "interface", "transfer", "result", "code")) == [
        (0, "srvsvc", "ndr", "refused", 0x00020002),
        (1, "srvsvc", "ndr64", "done", 0),
        (3, "wkssvc", "ndr64", "done", 0),
    ]
    assert told(talk.calls, "interface", "transfer", "opnum", "server", "level", "code") == [
        ("srvsvc", "ndr64", 21, "\\\\A", 101, 0),
        ("wkssvc", "ndr64", 0, "\\\\B", 100, 5),
    ]


def test_refused_context(form: Form) -> None:
    talk = heard(form, asked(bind(SRVSVC)), said(bind_ack(NO_SUCH_INTERFACE)), asked(request(21)))
    assert told(talk.binds, "result", "code") == [("refused", 0x00020001)]
    assert told(talk.calls, "interface", "result") == [(None, "none")]


@pytest.mark.parametrize("big", [False, True])
def test_bind_nak(big: bool, form: Form) -> None:
    talk = heard(form, asked(bind(SRVSVC, WKSSVC, big=big)), said(bind_nak(8, big=big)))
    assert sorted(told(talk.binds, "interface", "result", "code", "answer_frame")) == [
        ("srvsvc", "nak", 8, 2),
        ("wkssvc", "nak", 8, 2),
    ]


def test_fault_to_a_bind(form: Form) -> None:
    talk = heard(form, asked(bind(SRVSVC)), said(fault(NCA_FAULT_ACCESS_DENIED, call=1)))
    assert told(talk.binds, "interface", "result", "code") == [("srvsvc", "fault", 5)]
    assert not talk.calls


def test_unanswered_bind_still_names_the_interface(form: Form) -> None:
    talk = heard(form, asked(bind(SRVSVC)), asked(request(21)), said(answered(0)))
    assert told(talk.binds, "interface", "result", "answer_frame") == [("srvsvc", "none", None)]
    assert told(talk.calls, "interface", "result", "code") == [("srvsvc", "done", 0)]


def test_bind_that_smb_refused(form: Form) -> None:
    talk = heard(form, asked(bind(SRVSVC), failed=STATUS_PIPE_BROKEN))
    assert told(talk.binds, "result", "code") == [("smb", STATUS_PIPE_BROKEN)]


def test_acknowledgement_with_fewer_results_than_proposals(form: Form) -> None:
    talk = heard(form, asked(bind((0, SRVSVC, [NDR]), (1, WKSSVC, [NDR]))), said(bind_ack(ACCEPTED)))
    assert sorted(told(talk.binds, "interface", "result")) == [("srvsvc", "done"), ("wkssvc", "unreadable")]


def test_bind_sent_again_with_the_same_number(form: Form) -> None:
    """The answer to the first was lost: what comes next answers the second."""
    talk = heard(
        form,
        asked(bind((0, SRVSVC, [NDR]), (1, WKSSVC, [NDR]))),
        asked(bind((0, SAMR, [NDR]), (1, WKSSVC, [NDR]))),
        said(bind_ack(ACCEPTED, NO_SUCH_INTERFACE)),
        asked(request(5)),
    )
    assert sorted(told(talk.binds, "frame", "context", "interface", "result")) == [
        (1, 0, "srvsvc", "none"),
        (1, 1, "wkssvc", "none"),
        (2, 0, "samr", "done"),
        (2, 1, "wkssvc", "refused"),
    ]
    assert told(talk.calls, "interface") == [("samr",)]


def test_authenticated_bind(form: Form) -> None:
    """An alter_context, and an AUTH3 that has no answer. [MS-RPCE 2.2.2.5]"""
    talk = heard(
        form,
        asked(bind(SRVSVC, auth=(NTLM, CONNECT, 0))),
        said(bind_ack(ACCEPTED, auth=(NTLM, CONNECT, 0))),
        asked(pdus.pdu(pdus.AUTH3, b"\0\0\0\0", auth=(NTLM, CONNECT, 0), token=bytes(300))),
        asked(request(21, server_info())),
        said(answered(0)),
    )
    assert told(talk.binds, "auth") == [((NTLM, CONNECT),)]
    assert told(talk.calls, "auth", "server", "code") == [((NTLM, CONNECT), "\\\\FILES1", 0)]


@pytest.mark.parametrize("size", [100, 900, 1400, 3000])
@pytest.mark.parametrize("pieces", [1, 3])
def test_long_security_token(size: int, pieces: int, form: Form) -> None:
    """A Kerberos ticket is longer than what is kept of a PDU in pieces; its trailer stands before it."""
    data = bind(SRVSVC, auth=(16, PRIVACY, 0), token=bytes(size))
    talk = heard(form, *cut(data, pieces, asked), said(bind_ack(ACCEPTED)))
    assert told(talk.binds, "interface", "result", "auth") == [("srvsvc", "done", (16, PRIVACY))]


def test_context_numbers_used_again(form: Form) -> None:
    """The newest bind that was not refused decides."""
    talk = heard(
        form,
        *BOUND,
        asked(bind(WKSSVC, kind=ALTER, call=2)),
        said(bind_ack(ACCEPTED, kind=ALTER_ANSWER, call=2)),
        asked(request(0, call=3)),
        asked(bind(SAMR, kind=ALTER, call=4)),
        said(bind_ack(NO_SUCH_INTERFACE, kind=ALTER_ANSWER, call=4)),
        asked(request(0, call=5)),
    )
    assert told(talk.calls, "interface", "call_id") == [("wkssvc", 5), ("wkssvc", 3)]


def test_a_great_many_contexts(form: Form) -> None:
    """The oldest are forgotten: what a number stands for is never told by a bind that a later one replaced."""
    talk = Talk(form)
    for n in range(p.MAX_CONTEXTS + 40):
        interface = (f"00000000-0000-0000-0000-{n:012x}", 1)
        talk.feed(asked(bind((n % 30, interface, [NDR]), call=n)), said(bind_ack(ACCEPTED, call=n)))
    talk.feed(asked(request(1, context=7, call=9000)))
    talk.flush()
    last = max(n for n in range(p.MAX_CONTEXTS + 40) if n % 30 == 7)
    assert told(talk.calls, "interface") == [(f"00000000-0000-0000-0000-{last:012x} 1.0",)]
    assert len(talk.binds) == p.MAX_CONTEXTS + 40


# Calls. #


@pytest.mark.parametrize("big", [False, True], ids=["little-endian", "big-endian"])
def test_call(big: bool, form: Form) -> None:
    talk = heard(
        form,
        asked(bind(SRVSVC, big=big)),
        said(bind_ack(ACCEPTED, big=big)),
        asked(request(21, server_info("\\\\FILÉS1", 0x10203, big=big), big=big, call=0x01020304)),
        said(answered(ACCESS_DENIED, big=big, call=0x01020304, before=bytes(40))),
    )
    (row,) = talk.calls
    assert row == {
        "pipe": 0,
        "frame": 3,
        "answer_frame": 4,
        "session": 7,
        "interface": "srvsvc",
        "transfer": "ndr",
        "auth": None,
        "result": "done",
        "code": ACCESS_DENIED,
        "name": None,
        "call_id": 0x01020304,
        "opnum": 21,
        "server": "\\\\FILÉS1",
        "level": 0x10203,
    }


def test_client_and_server_of_different_byte_orders(form: Form) -> None:
    talk = heard(
        form,
        asked(bind(SRVSVC)),
        said(bind_ack(ACCEPTED, big=True)),
        asked(request(21, server_info())),
        said(answered(ACCESS_DENIED, big=True)),
    )
    assert told(talk.binds, "interface", "result", "transfer") == [("srvsvc", "done", "ndr")]
    assert told(talk.calls, "opnum", "code") == [(21, ACCESS_DENIED)]


def test_object_uuid(form: Form) -> None:
    """It stands between the header and the stub. [C706 12.6.4.9]"""
    stub = server_info("\\\\X", 102)
    of = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
    talk = heard(form, *BOUND, asked(request(21, stub, of=of)), said(answered(0)))
    assert told(talk.calls, "opnum", "server", "level", "code") == [(21, "\\\\X", 102, 0)]


@pytest.mark.parametrize("status", [NCA_OP_RNG_ERROR, NCA_FAULT_ACCESS_DENIED, 0xC0000022])
@pytest.mark.parametrize("big", [False, True])
def test_fault(status: int, big: bool, form: Form) -> None:
    talk = heard(form, *BOUND, asked(request(99, big=big)), said(fault(status, big=big)))
    assert told(talk.calls, "opnum", "result", "code", "answer_frame") == [(99, "fault", status, 4)]


def test_answers_in_another_order(form: Form) -> None:
    talk = heard(
        form,
        *BOUND,
        asked(request(21, call=2), request(15, call=3)),
        asked(request(36, call=4)),
        said(answered(30, call=4), answered(20, call=3)),
        said(answered(10, call=2)),
    )
    assert sorted(told(talk.calls, "call_id", "opnum", "code", "frame", "answer_frame")) == [
        (2, 21, 10, 3, 6),
        (3, 15, 20, 3, 5),
        (4, 36, 30, 4, 5),
    ]


@pytest.mark.parametrize("size", [0, 1, 3])
def test_answer_without_room_for_a_status(size: int, form: Form) -> None:
    talk = heard(form, *BOUND, asked(request(21)), said(response(bytes(size))))
    assert told(talk.calls, "result", "code") == [("short", None)]


def test_answer_that_is_a_status_only(form: Form) -> None:
    talk = heard(form, *BOUND, asked(request(21)), said(response(b"\x05\0\0\0")))
    assert told(talk.calls, "result", "code") == [("done", 5)]


@pytest.mark.parametrize("pad", [0, 4, 12, 15])
@pytest.mark.parametrize("level", [INTEGRITY, CONNECT])
def test_result_is_before_the_padding(level: int, pad: int, form: Form) -> None:
    auth = (NTLM, level, pad)
    talk = heard(
        form,
        *BOUND,
        asked(request(21, server_info(), auth=auth)),
        said(answered(ACCESS_DENIED, auth=auth, before=bytes([9] * 20))),
    )
    assert told(talk.calls, "auth", "server", "level", "result", "code") == [
        ((NTLM, level), "\\\\FILES1", 101, "done", ACCESS_DENIED)
    ]


def test_sealed(form: Form) -> None:
    """Nothing is read of what is encrypted, though it might look like a name."""
    auth = (NETLOGON, PRIVACY, 4)
    talk = heard(form, *BOUND, asked(request(21, server_info(), auth=auth)), said(answered(0, auth=auth)))
    assert told(talk.calls, "auth", "opnum", "server", "level", "result", "code") == [
        ((NETLOGON, PRIVACY), 21, None, None, "sealed", None)
    ]


def test_padding_that_is_longer_than_the_stub(form: Form) -> None:
    data = bytearray(answered(0, auth=(NTLM, INTEGRITY, 0)))
    data[-16 - 8 + 2] = 255
    talk = heard(form, *BOUND, asked(request(21)), said(bytes(data)))
    assert told(talk.calls, "result", "code") == [("short", None)]


# Fragments. #


def fragments(opnum: int, stub: bytes, size: int, call: int = 2) -> list[bytes]:
    """A request in several PDUs."""
    parts = [stub[at : at + size] for at in range(0, len(stub), size)]
    return [
        request(opnum, part, call=call, flags=FIRST * (n == 0) | LAST * (n == len(parts) - 1))
        for n, part in enumerate(parts)
    ]


def fragmented_answer(status: int, size: int, count: int, call: int = 2) -> list[bytes]:
    """Likewise an answer."""
    stub = bytes([7]) * (size * count - 4) + status.to_bytes(4, "little")
    return [
        response(stub[n * size : (n + 1) * size], call=call, flags=FIRST * (n == 0) | LAST * (n == count - 1))
        for n in range(count)
    ]


@pytest.mark.parametrize("together", [False, True])
def test_fragments(together: bool, form: Form) -> None:
    questions = fragments(21, server_info("\\\\FILES1") + bytes(20), 40)
    answers = fragmented_answer(ACCESS_DENIED, 64, 3)
    assert len(questions) == 2
    pieces = [asked(*questions), said(*answers)] if together else [*map(asked, questions), *map(said, answers)]
    talk = heard(form, *BOUND, *pieces)
    last = [3, 4] if together else [4, 7]
    assert told(talk.calls, "opnum", "server", "result", "code", "frame", "answer_frame") == [
        (21, "\\\\FILES1", "done", ACCESS_DENIED, *last)
    ]


def test_nothing_is_read_of_later_fragments(form: Form) -> None:
    """The first was lost: of the rest the number is right, and the arguments are not at its beginning."""
    parts = fragments(21, server_info() + server_info("\\\\WRONG", 77), 44)
    assert len(parts) > 1
    talk = heard(form, *BOUND, asked(*parts[1:]), said(answered(0)))
    assert told(talk.calls, "opnum", "server", "level", "code") == [(21, None, None, 0)]


def test_answer_whose_last_fragment_is_missing(form: Form) -> None:
    first, _, _ = fragmented_answer(0, 64, 3)
    talk = heard(form, *BOUND, asked(request(21)), said(first))
    assert told(talk.calls, "result", "code", "answer_frame") == [("unreadable", None, 4)]


def test_request_whose_last_fragment_is_missing(form: Form) -> None:
    first, _ = fragments(21, server_info() + bytes(20), 40)
    talk = heard(form, *BOUND, asked(first), said(answered(0)))
    assert told(talk.calls, "opnum", "result", "code") == [(21, "done", 0)]


# Pieces. #


def cut(data: bytes, count: int, make: type[Piece] | object = asked) -> list[Piece]:
    """In so many pieces."""
    size = -(-len(data) // count)
    return [make(data[at : at + size]) for at in range(0, len(data), size)]  # type: ignore[operator]


LONG = bytes(range(256)) * 20
CONVERSATIONS: dict[str, list[Piece]] = {
    "short": [*BOUND, asked(request(21, server_info())), said(answered(5))],
    "long": [
        *BOUND,
        asked(request(21, server_info() + LONG)),
        said(answered(0x105, before=LONG)),
        asked(request(15, server_info("\\\\B", 1), call=3)),
        said(answered(0, call=3, before=LONG[:1500], auth=(NTLM, INTEGRITY, 8))),
    ],
    "many": [
        *BOUND,
        asked(*(request(n, server_info(f"\\\\N{n}", n), call=10 + n) for n in range(8, 30))),
        said(*(answered(n, call=10 + n) for n in range(8, 30))),
        asked(bind((1, SAMR, [NDR]), kind=ALTER, call=90, auth=(NTLM, INTEGRITY, 0)), *fragments(15, LONG, 800, 91)),
        said(bind_ack(ACCEPTED, kind=ALTER_ANSWER, call=90), *fragmented_answer(3, 700, 5, 91)),
        asked(request(64, pdus.pointed("\\\\DC"), call=92, context=1)),
        said(fault(0x1C010003, call=92)),
    ],
}
WITHOUT_FRAMES = {"frame", "answer_frame"}


def content(talk: Talk) -> list[list[dict[str, object]]]:
    """All but the frames, in an order of their own."""
    rows = (
        [{k: v for k, v in row.items() if k not in WITHOUT_FRAMES} for row in table]
        for table in (talk.binds, talk.calls)
    )
    return [sorted(table, key=str) for table in rows]


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_pieces_of_one_byte(name: str, form: Form) -> None:
    pieces = [
        Piece(piece.data[at : at + 1], piece.from_server)
        for piece in CONVERSATIONS[name]
        for at in range(len(piece.data))
    ]
    whole = heard(form, *CONVERSATIONS[name])
    assert len(whole.calls) == {"short": 1, "long": 2, "many": 24}[name]
    assert {row["result"] for row in whole.calls} <= {"done", "fault"}
    assert content(heard(form, *pieces)) == content(whole)


@given(st.data())
def test_any_pieces_give_the_same(data: st.DataObject) -> None:
    """Cut anywhere, fed at once or in several goes."""
    name = data.draw(st.sampled_from(sorted(CONVERSATIONS)))
    pieces: list[Piece] = []
    for piece in CONVERSATIONS[name]:
        cuts = sorted(data.draw(st.sets(st.integers(1, len(piece.data) - 1), max_size=6)))
        pieces += [
            Piece(piece.data[a:b], piece.from_server) for a, b in itertools.pairwise([0, *cuts, len(piece.data)])
        ]
    split = data.draw(st.integers(0, len(pieces)))
    whole = heard(plain_kernels, *CONVERSATIONS[name])
    for form in (plain_kernels, compiled_kernels):
        talk = Talk(form).feed(*pieces[:split]).feed(*pieces[split:]).flush()
        assert content(talk) == content(whole)


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_all_of_each_direction_in_one_piece(name: str, form: Form) -> None:
    """Up to what fits in one; each answer comes behind its request nevertheless."""
    both = [b"".join(piece.data for piece in CONVERSATIONS[name] if piece.from_server == d) for d in (False, True)]
    talk = heard(form, asked(both[0]), said(both[1]))
    assert content(talk) == content(heard(form, *CONVERSATIONS[name]))


@pytest.mark.parametrize(
    "size", [HEAD - 40, HEAD - 24, HEAD, HEAD + TAIL - 30, HEAD + TAIL - 24, HEAD + TAIL, 4096, 60_000]
)
@pytest.mark.parametrize("auth", [None, (NTLM, INTEGRITY, 4)])
def test_status_of_a_long_answer_in_pieces(size: int, auth: pdus.Auth | None, form: Form) -> None:
    """It is in what is kept of the end, whatever the size."""
    data = answered(0x12345678, before=bytes(size), auth=auth)
    for count in (1, 2, 5, 17):
        talk = heard(form, *BOUND, asked(request(21)), *cut(data, count, said))
        assert told(talk.calls, "result", "code") == [("done", 0x12345678)], count


@pytest.mark.parametrize("token", [16, 400, 508, 520, 1100, 3000])
def test_status_before_a_long_token(token: int, form: Form) -> None:
    """It may be neither in what is kept of the beginning nor of the end. Never is something else taken for it."""
    for before in (0, 500, 1000, 1016, 1400, 3000):
        body = bytes([0xEE]) * (8 + before) + (0x12345678).to_bytes(4, "little")
        data = pdus.pdu(pdus.RESPONSE, body, call=2, auth=(NTLM, INTEGRITY, 0), token=bytes([0xDD]) * token)
        for count in (1, 2, 9):
            talk = heard(form, *BOUND, asked(request(21)), *cut(data, count, said))
            found = told(talk.calls, "result", "code")
            assert found in ([("done", 0x12345678)], [("unreadable", None)]), (before, count)
            if count == 1 or token <= TAIL - 12 or before + token < HEAD:
                assert found == [("done", 0x12345678)], (before, count)


# What is missing. #


def test_gap(form: Form) -> None:
    """What had begun is lost, the next PDU is found by its header."""
    data = answered(0, before=bytes(100))
    talk = heard(
        form,
        *BOUND,
        asked(request(21)),
        said(data[:50]),
        said(b"", after_gap=True),
        asked(request(15, call=3)),
        said(answered(5, call=3)),
    )
    assert sorted(told(talk.calls, "opnum", "result", "code", "answer_frame"), key=str) == [
        (15, "done", 5, 7),
        (21, "unreadable", None, 4),
    ]


def test_gap_nobody_noticed(form: Form) -> None:
    """A piece that is a PDU from first to last byte is one, whatever was missing before."""
    data = request(21, server_info() + bytes(200))
    talk = heard(form, *BOUND, asked(data[:100]), asked(request(15, call=3)), said(answered(5, call=3)))
    assert ("srvsvc", 15, "done", 5) in told(talk.calls, "interface", "opnum", "result", "code")


def test_begins_in_the_middle(form: Form) -> None:
    data = answered(0, before=bytes(100))
    talk = heard(
        form, said(data[30:]), asked(bind(SRVSVC)), said(bind_ack(ACCEPTED)), asked(request(21)), said(answered(5))
    )
    assert told(talk.calls, "interface", "opnum", "code") == [("srvsvc", 21, 5)]


@pytest.mark.parametrize("kept", [0, 1, 8, 15, 16, 20, 23, 24, 40, 60])
def test_payload_that_was_cut(kept: int, form: Form) -> None:
    """As by a capture that keeps only the beginning of packets: what is there is read, and all is in step behind it."""
    question, answer = request(21, server_info()), answered(5, before=bytes(60))
    talk = heard(
        form,
        *BOUND,
        asked(question[:kept], bytes_=len(question)),
        said(answer[:kept], bytes_=len(answer)),
        asked(request(15, call=3)),
        said(answered(6, call=3)),
    )
    found = told(talk.calls, "opnum", "result", "code", "frame", "answer_frame")
    assert (15, "done", 6, 5, 6) in found
    if kept >= 24:
        assert (21, "unreadable", None, 3, 4) in found
    assert len(found) <= 2
    assert {code for _, _, code, _, _ in found} <= {6, None}


@pytest.mark.parametrize("kept", [1, 8, 15])
def test_a_cut_header_is_nothing_else(kept: int, form: Form) -> None:
    data = bind(SRVSVC)
    talk = heard(form, asked(data[:kept], bytes_=len(data)))
    assert talk.pipes.forms(np.array([0])).tolist()[0][0] == p.FORM_NOTHING


def test_cut_in_the_middle_of_a_pdu_in_pieces(form: Form) -> None:
    data = answered(5, before=bytes(200))
    talk = heard(
        form,
        *BOUND,
        asked(request(21)),
        said(data[:60]),
        said(data[60:80], bytes_=40),
        said(data[100:]),
        asked(request(15, call=3)),
        said(answered(6, call=3)),
    )
    assert told(talk.calls, "opnum", "result", "code") == [(21, "unreadable", None), (15, "done", 6)]


# Order. #


def test_answer_that_is_worked_off_before_its_request(form: Form) -> None:
    """A read was answered while the write that it answers still waited for its own answer: its place is before."""
    talk = heard(
        form,
        *BOUND,
        said(answered(5), order=900),
        asked(request(21, server_info()), order=800),
    )
    assert told(talk.calls, "opnum", "server", "result", "code", "frame", "answer_frame") == [
        (21, "\\\\FILES1", "done", 5, 4, 3)
    ]


def test_fragments_after_their_answer(form: Form) -> None:
    parts = fragments(21, server_info() + bytes(20), 40)
    talk = heard(
        form, *BOUND, said(answered(5), order=900), *(asked(part, order=800 + n) for n, part in enumerate(parts))
    )
    assert told(talk.calls, "opnum", "server", "code") == [(21, "\\\\FILES1", 5)]


def test_answer_to_a_lost_request_is_not_that_of_the_next_one(form: Form) -> None:
    """Some clients give all calls the same number. The first request is not in the capture, its answer is."""
    talk = heard(
        form,
        *BOUND,
        said(answered(ACCESS_DENIED)),
        asked(request(21)),
        said(answered(0)),
        asked(request(15)),
        said(answered(1)),
    )
    assert sorted(told(talk.calls, "frame", "opnum", "code", "answer_frame"), key=str) == [
        (4, 21, 0, 5),
        (6, 15, 1, 7),
        (None, None, ACCESS_DENIED, 3),
    ]


def test_answer_without_a_request(form: Form) -> None:
    talk = heard(form, *BOUND, said(answered(ACCESS_DENIED)))
    assert told(talk.calls, "frame", "answer_frame", "opnum", "interface", "result", "code") == [
        (None, 3, None, "srvsvc", "done", ACCESS_DENIED)
    ]


def test_number_used_again(form: Form) -> None:
    """The first call has no answer; the second has."""
    talk = heard(form, *BOUND, asked(request(21)), asked(request(15)), said(answered(5)))
    assert told(talk.calls, "opnum", "result", "code") == [(21, "none", None), (15, "done", 5)]


def test_unanswered_calls_are_handed_out_in_the_end(form: Form) -> None:
    talk = Talk(form).feed(*BOUND, asked(request(21), request(15, call=3)))
    assert not talk.calls
    assert sorted(told(talk.flush().calls, "opnum", "result", "answer_frame")) == [
        (15, "none", None),
        (21, "none", None),
    ]


def test_more_calls_than_may_wait(form: Form) -> None:
    """The oldest is handed out as it is, and nothing is lost."""
    count = p.MAX_WAITING + 10
    talk = Talk(form).feed(*BOUND, *(asked(request(21, call=n)) for n in range(count)))
    assert told(talk.calls, "call_id", "result") == [(n, "none") for n in range(10)]
    talk.feed(*(said(answered(n, call=n)) for n in range(10, count))).flush()
    assert told(talk.calls[10:], "call_id", "result", "code") == [(n, "done", n) for n in range(10, count)]


def test_more_answers_than_may_wait_for_requests(form: Form) -> None:
    talk = Talk(form).feed(*(said(answered(n, call=n)) for n in range(p.MAX_WAITING + 10))).flush()
    assert len(talk.calls) == p.MAX_WAITING
    assert talk.pipes.given_up == 10
    # And requests push answers out, not the other way round.
    talk = Talk(form).feed(*(said(answered(n, call=n)) for n in range(p.MAX_WAITING)), asked(request(1, call=9999)))
    assert len(talk.calls) == 1


# SMB. #


def test_request_that_smb_refused(form: Form) -> None:
    talk = heard(form, *BOUND, asked(request(21, server_info()), failed=STATUS_PIPE_BROKEN))
    assert told(talk.calls, "opnum", "server", "result", "code", "frame", "answer_frame") == [
        (21, "\\\\FILES1", "smb", STATUS_PIPE_BROKEN, 3, 3 + ANSWERED)
    ]


def test_first_piece_of_a_request_that_smb_refused(form: Form) -> None:
    """Its rest is never sent. What is sent next is the next PDU."""
    data = request(21, server_info() + bytes(200))
    talk = heard(
        form,
        *BOUND,
        asked(data[:100], failed=STATUS_PIPE_BROKEN),
        asked(data[:100]),
        asked(data[100:]),
        said(answered(5)),
    )
    assert told(talk.calls, "opnum", "server", "result", "code") == [
        (21, "\\\\FILES1", "smb", STATUS_PIPE_BROKEN),
        (21, "\\\\FILES1", "done", 5),
    ]


def test_first_fragment_that_smb_refused(form: Form) -> None:
    first, _ = fragments(21, server_info() + bytes(20), 40)
    talk = heard(form, *BOUND, asked(first, failed=STATUS_PIPE_BROKEN))
    assert told(talk.calls, "opnum", "result", "code") == [(21, "smb", STATUS_PIPE_BROKEN)]


def test_read_that_smb_refused(form: Form) -> None:
    """Unless the answer comes by another read."""
    refused = said(b"", failed=STATUS_PIPE_BROKEN)
    talk = heard(form, *BOUND, asked(request(21)), refused)
    assert told(talk.calls, "opnum", "result", "code") == [(21, "smb", STATUS_PIPE_BROKEN)]
    talk = heard(form, *BOUND, asked(request(21)), refused, said(answered(5)))
    assert told(talk.calls, "opnum", "result", "code") == [(21, "done", 5)]


# Bounds. #


def test_more_pdus_in_pieces_than_there_is_room_for(form: Form) -> None:
    """Those that find none are given up and counted; their pipes stay in step."""
    count = p.SLOTS + 20
    data = bind(SRVSVC)
    talk = Talk(form, count)
    talk.feed(*(asked(data[:30], pipe=n) for n in range(count)))
    talk.feed(*(asked(data[30:], pipe=n) for n in range(count)))
    talk.feed(*(asked(request(21), pipe=n) for n in range(count)))
    talk.flush()
    assert len(talk.binds) == p.SLOTS
    assert len(talk.calls) == count
    assert talk.pipes.given_up == 20
    # All slots are free again.
    again = Talk(form, 1)
    again.pipes, again.texts = talk.pipes, talk.texts
    again.pipes.add(0)
    again.feed(asked(data[:30]), asked(data[30:])).flush()
    assert len(again.binds) == 1
    assert again.pipes.given_up == 20


def test_more_interfaces_than_are_told_apart(form: Form) -> None:
    talk = Talk(form, 40)
    for pipe in range(40):
        contexts = [(n, (f"00000000-0000-0000-{pipe:04x}-{n:012x}", 1), [NDR]) for n in range(120)]
        talk.feed(asked(bind(*contexts), pipe=pipe), said(bind_ack(*[ACCEPTED] * 120), pipe=pipe))
    talk.feed(asked(request(1, context=3), pipe=0), asked(request(1, context=3), pipe=39)).flush()
    assert len(talk.binds) == 4800
    known = sum(row["interface"] is not None for row in talk.binds)
    assert p.MAX_INTERFACES - 200 < known < p.MAX_INTERFACES
    assert talk.pipes.given_up == 4800 - known
    assert told(talk.calls, "pipe", "interface") == [(0, "00000000-0000-0000-0000-000000000003 1.0"), (39, None)]


def test_one_piece_full_of_small_pdus(form: Form) -> None:
    """No bound is passed, and what is handed out is all of it."""
    talk = heard(form, asked(*(request(n & 0xFF, call=5) for n in range(2800))), *[asked(request(3))] * 3)
    assert len(talk.calls) == 2803
    assert talk.pipes.given_up == 0
    one = bind(*[(n, SRVSVC, []) for n in range(255)])
    talk = heard(form, asked(*[one] * 10))
    assert len(talk.binds) == 2550


def test_texts_are_read_as_long_as_there_is_room(form: Form) -> None:
    """A name of 64 KB is cut; many names come out as they are."""
    talk = heard(form, *BOUND, asked(request(21, server_info("X" * 30_000))))
    assert told(talk.calls, "server") == [("X" * 256,)]
    names = [f"\\\\{n:0250}" for n in range(110)]
    questions = [asked(*(request(21, server_info(name), call=n) for n, name in enumerate(names)))] * 20
    talk = heard(form, *BOUND, *questions)
    assert sorted(row["server"] for row in talk.calls) == sorted(names * 20)


# What pipes carry. #


@pytest.mark.parametrize(
    ("data", "form_", "first"),
    [
        (bind(SRVSVC), p.FORM_DCERPC, b""),
        (b"\x12\x01\0\x2f\0\0\0\0\0\0\x1a\0\x06\x01\0\x20", p.FORM_OTHER, b"\x12\x01\0\x2f\0\0\0"),
        (b"hi", p.FORM_OTHER, b"hi"),
        (b"\0", p.FORM_OTHER, b"\0"),
        (b"\x05" + bytes(30), p.FORM_OTHER, b"\x05" + bytes(6)),
        (b"\x05\0\x30" + bytes(30), p.FORM_OTHER, b"\x05\0\x30" + bytes(4)),
        (b"\xff" * 40, p.FORM_OTHER, b"\xff" * 7),
        (b"\x05\0\x0b", p.FORM_NOTHING, b""),
    ],
)
def test_forms(data: bytes, form_: int, first: bytes, form: Form) -> None:
    talk = heard(form, asked(data))
    assert talk.pipes.forms(np.array([0])).tolist() == [[form_, int.from_bytes(first, "little"), len(first)]]


def test_what_the_server_sends_first_does_not_decide(form: Form) -> None:
    talk = heard(form, said(b"hello"), asked(bind(SRVSVC)))
    assert talk.pipes.forms(np.array([0])).tolist()[0][0] == p.FORM_DCERPC


# Numbers of pipes. #


def test_pipes_that_are_kept(form: Form) -> None:
    talk = Talk(form, 3).feed(
        *(asked(bind(SRVSVC), pipe=n) for n in range(3)),
        *(said(bind_ack(ACCEPTED), pipe=n) for n in range(3)),
        asked(request(21, server_info(), call=50), pipe=2),
        asked(request(15, call=40)[:20], pipe=2),
        asked(request(15, call=40)[:20], pipe=1),
    )
    talk.take(talk.pipes.flush(np.array([0, 1])))
    talk.pipes.keep(np.array([2]))
    assert len(talk.pipes) == 1
    talk.pipes.add(1)
    talk.feed(said(answered(5, call=50)), asked(request(15, call=40)[20:]), asked(request(3), pipe=1))
    assert told(talk.calls, "pipe", "interface", "opnum", "server", "result") == [
        (0, "srvsvc", 21, "\\\\FILES1", "done")
    ]
    talk.count = 2
    talk.flush()
    assert told(talk.calls[1:], "pipe", "interface", "opnum") == [(0, "srvsvc", 15), (1, None, 3)]


def test_nothing_at_all(form: Form) -> None:
    pipes = p.Pipes(Texts(form), form)
    assert len(pipes) == 0
    assert not pipes.interfaces()
    assert not list(pipes.follow(np.zeros((0, p.P_WIDTH), dtype=np.int64), np.zeros(0, dtype=np.uint8)))
    assert not list(pipes.flush(np.zeros(0, dtype=np.int64)))
    pipes.keep(np.zeros(0, dtype=np.int64))
    assert pipes.forms(np.zeros(0, dtype=np.int64)).shape == (0, 3)
    assert pipes.given_up == 0


# Anything. #


@st.composite
def mutilated(draw: st.DrawFn) -> list[Piece]:
    """A conversation with pieces left out, cut, repeated, swapped, with bits turned, or of bytes that mean nothing."""
    pieces = []
    for piece in CONVERSATIONS[draw(st.sampled_from(sorted(CONVERSATIONS)))]:
        data = bytearray(piece.data)
        for _ in range(draw(st.integers(0, 4))):
            # Mostly in the headers: that is where numbers are.
            at = draw(st.one_of(st.integers(0, min(60, len(data) - 1)), st.integers(0, len(data) - 1)))
            data[at] = draw(st.sampled_from([data[at] ^ 1 << draw(st.integers(0, 7)), 0, 255, 16]))
        cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=3)))
        for a, b in itertools.pairwise([0, *cuts, len(data)]):
            pieces.append(
                Piece(
                    bytes(data[a:b]),
                    piece.from_server ^ (draw(st.integers(0, 15)) == 0),
                    after_gap=draw(st.integers(0, 9)) == 0,
                    failed=STATUS_PIPE_BROKEN * (draw(st.integers(0, 9)) == 0),
                    bytes_=b - a + draw(st.sampled_from([0] * 6 + [1, 20, 5000])),
                    pipe=draw(st.integers(0, 1)),
                )
            )
        if draw(st.integers(0, 5)) == 0:
            pieces.append(Piece(draw(st.binary(max_size=80)), draw(st.booleans())))
    order = draw(st.permutations(range(len(pieces)))) if draw(st.booleans()) else range(len(pieces))
    return [pieces[n] for n in order][: draw(st.integers(1, len(pieces)))]


@given(mutilated())
def test_any_bytes(pieces: list[Piece]) -> None:
    """Nothing is raised and nothing read outside (the plain form would notice), and both forms find the same."""
    plain, machine = (heard(form, *pieces, count=2) for form in (plain_kernels, compiled_kernels))
    assert (plain.binds, plain.calls) == (machine.binds, machine.calls)
    assert plain.pipes.given_up == machine.pipes.given_up


def test_everything_is_given_back(form: Form) -> None:
    """After whatever came, all slots, contexts and waiting calls are free again."""
    random_ = random.Random(7)
    talk = Talk(form, 4)
    for _ in range(60):
        pieces = []
        for piece in CONVERSATIONS[random_.choice(sorted(CONVERSATIONS))]:
            data = bytearray(piece.data)
            data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
            at = random_.randrange(len(data))
            pieces += [
                Piece(bytes(part), piece.from_server, after_gap=random_.random() < 0.1, pipe=random_.randrange(4))
                for part in (data[:at], data[at:])
            ]
        talk.feed(*pieces)
    talk.flush()
    rpc = talk.pipes._rpc
    assert rpc is not None
    for table, first, following in (
        (rpc.contexts, p.S_FREE_CONTEXT, p.X_NEXT),
        (rpc.waiting, p.S_FREE_WAITING, p.N_NEXT),
    ):
        assert chain(table[:, following], int(rpc.state[first])) == len(table)
    assert chain(rpc.links, int(rpc.state[p.S_FREE_SLOT])) == p.SLOTS
    assert rpc.state[p.S_CONTEXTS_LEFT] == len(rpc.contexts)
    assert rpc.state[p.S_WAITING_LEFT] == len(rpc.waiting)


def chain(following: np.ndarray, at: int) -> int:
    """How many are in a list of free rows."""
    seen = set()
    while at >= 0:
        assert at not in seen
        seen.add(at)
        at = int(following[at])
    return len(seen)
