"""DCE/RPC through pipes, from captures on: which calls are found, whose they are, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import analyzer
from analyzer.engines import native
from analyzer.smb.select import ROOM_ROWS
from tests import build, pdus
from tests.dialogue import (
    ALICE,
    TRANSCEIVE,
    Exchange,
    Smb1,
    Smb2,
    Talk,
    file_id,
    frame_of,
    lose,
    write,
)
from tests.pdus import ACCEPTED, SAMR, SRVSVC, WKSSVC, answered, bind, bind_ack, request, server_info
from tests.sessions.told import plain

ONE, OTHER = file_id(1), file_id(2)
ACCESS_DENIED = 5
STATUS_PIPE_DISCONNECTED, STATUS_PIPE_BROKEN = 0xC00000B0, 0xC000014B
ASKED, ANSWER = request(21, server_info()), answered(ACCESS_DENIED, before=bytes(40))
REFUSED = ("srvsvc", "srvsvc", "NetrServerGetInfo", "WERR_ACCESS_DENIED", "refused")


@pytest.fixture(params=[None, ROOM_ROWS + 1], ids=["one window", "many windows"], autouse=True)
def _window(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it at once, or a message or two at a time: what comes out must not depend on that."""
    if request.param is not None:
        monkeypatch.setattr(native, "WINDOW_ROWS", request.param)


def calls(path: Path, *talks: Talk) -> list[tuple[Any, ...]]:
    """Pipe, interface, operation, status, result of each call."""
    analysis = analyzer.analyze(write(path / "c.pcap", *talks))
    return plain(analysis.calls, "pipe", "interface", "operation", "status", "result")


def begun(*, opened: bool = True) -> Smb2:
    """An anonymous session with IPC$."""
    talk = Smb2(opened=opened)
    talk.login(1)
    talk.tree(1, 1)
    return talk


def begun_smb1() -> Smb1:
    """Likewise in SMB 1."""
    talk = Smb1()
    talk.login(7)
    talk.tree(7, 3)
    return talk


def call_named(talk: Smb1, question: bytes, answer: bytes, *, status: int = 0) -> Exchange:
    """CallNmPipe of srvsvc."""
    asked = build.transaction("\\PIPE\\srvsvc", setup=(0x54, 0), data=question)
    said = build.failed(0x25) if status else build.transaction_answer(data=answer)
    return talk.exchange(asked, said, status=status, uid=7, tid=3)


def transceived(talk: Smb2, file: build.FileId = ONE, *, session: int = 1, tree: int = 1) -> None:
    """A bind and a call."""
    talk.transceive(session, tree, file, bind(SRVSVC), bind_ack(ACCEPTED))
    talk.transceive(session, tree, file, ASKED, ANSWER)


def test_by_transceive(tmp_path: Path) -> None:
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    talk.transceive(1, 1, ONE, bind(SRVSVC), bind_ack(ACCEPTED))
    call = talk.transceive(1, 1, ONE, ASKED, ANSWER)
    talk.close(1, 1, ONE)
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    (row,) = analysis.calls.to_dict("records")
    assert (row["frame"], row["answer_frame"]) == (frame_of(call.request, talk), frame_of(call.answer, talk))
    assert (row["server_name"], row["level"], row["interface_uuid"]) == ("\\\\FILES1", 101, SRVSVC[0])
    assert row["open_key"] == analysis.pipe_opens["open_key"][0]
    assert row["tree_key"] == analysis.trees["tree_key"][0]
    assert row["session_key"] == analysis.sessions["session_key"][0]
    assert plain(analysis.calls, "pipe", "interface", "operation", "status", "result") == [REFUSED]
    assert plain(analysis.binds, "pipe", "interface", "result", "secondary_address") == [
        ("srvsvc", "srvsvc", "accepted", "\\PIPE\\srvsvc")
    ]
    assert plain(analysis.pipe_opens, "form", "first_bytes", "secondary_address") == [
        ("dcerpc", None, "\\PIPE\\srvsvc")
    ]


def test_by_write_and_read(tmp_path: Path) -> None:
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    talk.write(1, 1, ONE, bind(SRVSVC))
    talk.read(1, 1, ONE, bind_ack(ACCEPTED))
    talk.write(1, 1, ONE, ASKED)
    talk.read(1, 1, ONE, ANSWER)
    assert calls(tmp_path, talk) == [REFUSED]


def test_read_asked_for_before_the_write(tmp_path: Path) -> None:
    """A client that waits for the answer first: its READ is answered after the WRITE that comes later."""
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    for question, answer in (
        (bind(SRVSVC), bind_ack(ACCEPTED)),
        (ASKED, ANSWER),
        (request(15, call=3), answered(0, call=3)),
    ):
        talk.ask(build.READ, build.read_request(ONE), session_id=1, tree_id=1)
        posted = talk.message_id
        talk.answer(build.READ, b"", status=0x103, session_id=1, flags=2)  # STATUS_PENDING
        talk.write(1, 1, ONE, question)
        talk.answer(build.READ, build.read_answer(answer), message_id=posted, session_id=1, tree_id=1)
    assert calls(tmp_path, talk) == [REFUSED, ("srvsvc", "srvsvc", "NetrShareEnum", "WERR_OK", "worked")]


def test_several_reads_at_once(tmp_path: Path) -> None:
    """Two calls under way, answered in the order of the second and the first."""
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    transceived(talk)
    posted = []
    for number in (5, 6):
        talk.ask(build.READ, build.read_request(ONE), session_id=1, tree_id=1)
        posted.append(talk.message_id)
        talk.write(1, 1, ONE, request(15 + number, call=number))
    for message, number in zip(posted, (6, 5), strict=True):
        talk.answer(
            build.READ, build.read_answer(answered(number, call=number)), message_id=message, session_id=1, tree_id=1
        )
    assert calls(tmp_path, talk)[1:] == [
        ("srvsvc", "srvsvc", "NetrShareCheck", "WERR_ACCESS_DENIED", "refused"),
        ("srvsvc", "srvsvc", "NetrServerGetInfo", "WERR_INVALID_HANDLE", "failed"),
    ]


def test_long_answer_goes_on_by_read(tmp_path: Path) -> None:
    """FSCTL_PIPE_TRANSCEIVE with STATUS_BUFFER_OVERFLOW: the rest is read. [MS-SMB2 3.3.5.15.10]"""
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    transceived(talk)
    long = answered(0, before=bytes(3000), call=3)
    talk.control(
        1, 1, TRANSCEIVE, request(15, server_info(), call=3), long[:1024], file_id=ONE, status=build.BUFFER_OVERFLOW
    )
    talk.read(1, 1, ONE, long[1024:2048], status=build.BUFFER_OVERFLOW)
    last = talk.read(1, 1, ONE, long[2048:])
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    assert plain(analysis.calls, "operation", "status", "answer_frame")[1:] == [
        ("NetrShareEnum", "WERR_OK", frame_of(last.answer, talk))
    ]
    # The last read is not in the capture: an answer came, and how it came out is not known.
    lose(talk, last.answer)
    assert calls(tmp_path, talk)[1:] == [("srvsvc", "srvsvc", "NetrShareEnum", None, "not_told")]


def test_write_that_is_refused(tmp_path: Path) -> None:
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    transceived(talk)
    body, answer = build.write_request(ONE, request(15, server_info(), call=3)), build.write_answer(0)
    refused = talk.exchange(build.WRITE, body, answer, session=1, tree=1, status=STATUS_PIPE_DISCONNECTED)
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    assert plain(analysis.calls, "operation", "status", "status_of", "result", "frame", "answer_frame")[1:] == [
        (
            "NetrShareEnum",
            "STATUS_PIPE_DISCONNECTED",
            "smb",
            "failed",
            frame_of(refused.request, talk),
            frame_of(refused.answer, talk),
        )
    ]


def test_transceive_that_is_refused(tmp_path: Path) -> None:
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    transceived(talk)
    talk.control(1, 1, TRANSCEIVE, request(15, call=3), file_id=ONE, status=build.ACCESS_DENIED)
    assert calls(tmp_path, talk)[1:] == [("srvsvc", "srvsvc", "NetrShareEnum", "STATUS_ACCESS_DENIED", "refused")]


def test_read_that_is_refused(tmp_path: Path) -> None:
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    transceived(talk)
    talk.write(1, 1, ONE, request(15, call=3))
    refused = talk.read(1, 1, ONE, b"", status=STATUS_PIPE_BROKEN)
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    assert plain(analysis.calls, "operation", "status", "result", "answer_frame")[1:] == [
        ("NetrShareEnum", "STATUS_PIPE_BROKEN", "failed", frame_of(refused.answer, talk))
    ]


# What is not in the capture. #


def test_bind_was_not_captured(tmp_path: Path) -> None:
    """The pipe is known, and what was called is not: no status is read out of bytes whose meaning nobody knows."""
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    lost = talk.transceive(1, 1, ONE, bind(SRVSVC), bind_ack(ACCEPTED))
    talk.transceive(1, 1, ONE, ASKED, ANSWER)
    lose(talk, lost.request, lost.answer)
    assert calls(tmp_path, talk) == [("srvsvc", None, "opnum 21", None, "not_told")]


def test_answer_to_the_bind_was_not_captured(tmp_path: Path) -> None:
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    lost = talk.transceive(1, 1, ONE, bind(SRVSVC), bind_ack(ACCEPTED))
    talk.transceive(1, 1, ONE, ASKED, ANSWER)
    talk.close(1, 1, ONE)
    lose(talk, lost.answer)
    assert calls(tmp_path, talk) == [REFUSED]


def test_open_was_not_captured(tmp_path: Path) -> None:
    """Neither its name: but what goes through it is DCE/RPC. In SMB 2 its id belongs to the session."""
    talk = begun()
    opened = talk.create(1, 1, "srvsvc", ONE)
    transceived(talk)
    lose(talk, opened.request, opened.answer)
    assert calls(tmp_path, talk) == [(None, *REFUSED[1:])]


def test_open_was_not_captured_smb1(tmp_path: Path) -> None:
    talk = begun_smb1()
    opened = talk.create(7, 3, "srvsvc", 0x4001)
    talk.transact(7, 3, 0x4001, bind(SRVSVC), bind_ack(ACCEPTED))
    talk.transact(7, 3, 0x4001, ASKED, ANSWER)
    lose(talk, opened.request, opened.answer)
    assert calls(tmp_path, talk) == [(None, *REFUSED[1:])]


def test_nothing_but_the_pipe_was_captured(tmp_path: Path) -> None:
    """From the middle of a connection on: a bind and a call, by WRITE and READ."""
    talk = Smb2(opened=False, dialect=None)
    talk.write(1, 1, ONE, bind(SRVSVC))
    talk.read(1, 1, ONE, bind_ack(ACCEPTED))
    talk.write(1, 1, ONE, ASKED)
    talk.read(1, 1, ONE, ANSWER)
    assert calls(tmp_path, talk) == [(None, *REFUSED[1:])]


def half(talk: Talk, from_client: bool) -> None:
    """Only one direction is in the capture."""
    port = talk.tcp.segments[0].source[1]
    talk.tcp.segments = [s for s in talk.tcp.segments if (s.source[1] == port) == from_client]


@pytest.mark.parametrize("by", ["transceive", "write and read"])
def test_client_only(by: str, tmp_path: Path) -> None:
    """What was asked is known, and that nobody knows how it came out."""
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    if by == "transceive":
        transceived(talk)
    else:
        talk.write(1, 1, ONE, bind(SRVSVC))
        talk.read(1, 1, ONE, bind_ack(ACCEPTED))
        talk.write(1, 1, ONE, ASKED)
        talk.read(1, 1, ONE, ANSWER)
    half(talk, True)
    found = calls(tmp_path, talk)
    assert [row[1:] for row in found] == [("srvsvc", "NetrServerGetInfo", None, "unanswered")]


def test_server_only(tmp_path: Path) -> None:
    """Answers to reads name no file, and no request is there: nothing is made up, and nothing taken for harmless."""
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    transceived(talk)
    half(talk, False)
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    assert not len(analysis.calls)
    assert not len(analysis.binds)
    assert set(analysis.dependencies["verdict"]) == {"unknown"}


@pytest.mark.parametrize("lost", range(6))
def test_any_one_message_is_missing(lost: int, tmp_path: Path) -> None:
    """Never does a call get the answer of another one; every call whose request was captured is found."""
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    transceived(talk)
    # All with the same number, as some clients do.
    three = [
        talk.transceive(1, 1, ONE, request(opnum), answered(status)) for opnum, status in ((15, 0), (36, 5), (28, 124))
    ]
    talk.close(1, 1, ONE)
    truth = {
        "NetrShareEnum": "WERR_OK",
        "NetrShareEnumSticky": "WERR_ACCESS_DENIED",
        "NetrRemoteTOD": "WERR_INVALID_LEVEL",
    }
    which = three[lost // 2]
    lose(talk, which.answer if lost % 2 else which.request)
    found = {operation: status for _, _, operation, status, _ in calls(tmp_path, talk)[1:] if operation is not None}
    missing = list(truth)[lost // 2]
    assert found == {
        name: None if name == missing else status for name, status in truth.items() if name != missing or lost % 2
    }


# SMB 1. #


def test_transact(tmp_path: Path) -> None:
    talk = begun_smb1()
    talk.create(7, 3, "srvsvc", 0x4001)
    talk.transact(7, 3, 0x4001, bind(SRVSVC), bind_ack(ACCEPTED))
    talk.transact(7, 3, 0x4001, ASKED, ANSWER)
    assert calls(tmp_path, talk) == [REFUSED]


def test_write_and_read_andx(tmp_path: Path) -> None:
    talk = begun_smb1()
    talk.create(7, 3, "srvsvc", 0x4001)
    for question, answer in ((bind(SRVSVC), bind_ack(ACCEPTED)), (ASKED, ANSWER)):
        written = build.write_andx_answer(len(question))
        talk.exchange(build.write_andx(0x4001, question), written, uid=7, tid=3)
        talk.exchange(build.read_andx(0x4001), build.read_andx_answer(answer), uid=7, tid=3)
    assert calls(tmp_path, talk) == [REFUSED]


def test_message_in_raw_parts(tmp_path: Path) -> None:
    """WRITE_ANDX with RAW_MODE and MSG_START: the length of the message stands before its first part. [MS-CIFS 2.2.4.43.1]"""
    talk = begun_smb1()
    talk.create(7, 3, "srvsvc", 0x4001)
    long = request(21, server_info() + bytes(600))
    for question, answer in ((bind(SRVSVC), bind_ack(ACCEPTED)), (long, ANSWER)):
        parts = [len(question).to_bytes(2, "little") + question[:300], question[300:]]
        for mode, part in zip((0x000C, 0x0004), parts, strict=True):
            if part:
                asked = build.write_andx(0x4001, part)
                at = 2 + 4 + 4  # fid, offset, timeout
                words = asked.words[:at] + mode.to_bytes(2, "little") + asked.words[at + 2 :]
                talk.exchange(build.Smb1(0x2F, words, asked.data), build.write_andx_answer(len(part)), uid=7, tid=3)
        talk.exchange(build.read_andx(0x4001), build.read_andx_answer(answer), uid=7, tid=3)
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    assert plain(analysis.calls, "pipe", "interface", "operation", "status", "result") == [REFUSED]
    assert analysis.pipe_opens["bytes_written"].tolist() == [len(bind(SRVSVC)) + len(long)]


def test_call_named_pipe(tmp_path: Path) -> None:
    """CallNmPipe opens, writes, reads and closes in one [MS-CIFS 2.2.5.11]: each is a pipe of its own.

    So a bind is all that DCE/RPC can have there: a request meets no context, and gets a fault. [C706 12.6.4.9]
    """
    talk = begun_smb1()
    said = [(bind(SRVSVC), bind_ack(ACCEPTED)), (ASKED, pdus.fault(0x1C010003)), (b"hello", b"world!")]
    asked = [call_named(talk, *both) for both in said]
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    opened = ("srvsvc", "call_nmpipe", "STATUS_SUCCESS")
    assert plain(analysis.pipe_opens, "pipe", "via", "status", "bytes_written", "bytes_read", "form") == [
        (*opened, *map(len, both), form) for both, form in zip(said, ["dcerpc", "dcerpc", "other"], strict=True)
    ]
    (bound,) = analysis.binds.to_dict("records")
    assert (bound["interface"], bound["result"], bound["open_key"]) == ("srvsvc", "accepted", 0)
    assert (bound["frame"], bound["answer_frame"]) == (
        frame_of(asked[0].request, talk),
        frame_of(asked[0].answer, talk),
    )
    assert plain(analysis.calls, "open_key", "pipe", "interface", "opnum", "status_of") == [
        (1, "srvsvc", None, 21, "fault")
    ]


@pytest.mark.parametrize("engine", ["scapy", "tshark"])
def test_call_named_pipe_in_other_engines(engine: str, tmp_path: Path) -> None:
    """tshark shows of what is written only how much it is."""
    talk = begun_smb1()
    call_named(talk, bind(SRVSVC), bind_ack(ACCEPTED))
    path = write(tmp_path / "c.pcap", talk)
    analysis = analyzer.analyze(path, engine=engine)
    assert plain(analysis.pipe_opens, "pipe", "via", "status", "bytes_written", "bytes_read") == [
        ("srvsvc", "call_nmpipe", "STATUS_SUCCESS", len(bind(SRVSVC)), len(bind_ack(ACCEPTED)))
    ]
    bound = [] if engine == "tshark" else [("srvsvc", "accepted")]
    assert plain(analysis.binds, "interface", "result") == bound


def test_call_named_pipe_that_is_refused(tmp_path: Path) -> None:
    """Nothing went through a pipe that was not opened; and a file id that comes into use is never one of these."""
    talk = begun_smb1()
    call_named(talk, bind(SRVSVC), b"", status=0xC0000022)
    lose(talk, call_named(talk, bind(SRVSVC), bind_ack(ACCEPTED)).answer)
    opened = talk.create(7, 3, "srvsvc", 0x4001)
    lose(talk, opened.request, opened.answer)
    talk.transact(7, 3, 0x4001, bind(SRVSVC), bind_ack(ACCEPTED))
    talk.transact(7, 3, 0x4001, ASKED, ANSWER)
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    assert plain(analysis.pipe_opens, "via", "status", "inferred") == [
        ("call_nmpipe", "STATUS_ACCESS_DENIED", False),
        ("call_nmpipe", None, False),
    ]
    assert plain(analysis.binds, "open_key", "result") == [(1, "unanswered"), (None, "accepted")]
    assert plain(analysis.calls, "open_key", "operation", "result") == [(None, "NetrServerGetInfo", "refused")]


def test_raw_reads_and_writes_of_pipes(tmp_path: Path) -> None:
    """[MS-CIFS 2.2.5.2, 2.2.5.7, 2.2.5.8, 2.2.5.9] RAW_WRITE and RAW_READ, WRITE and READ of a transaction."""
    for write_function, read_function in ((0x31, 0x11), (0x37, 0x36)):
        talk = begun_smb1()
        talk.create(7, 3, "srvsvc", 0x4001)
        for question, answer in ((bind(SRVSVC), bind_ack(ACCEPTED)), (ASKED, ANSWER)):
            written = build.transaction("\\PIPE\\", setup=(write_function, 0x4001), data=question)
            talk.exchange(written, build.transaction_answer(), uid=7, tid=3)
            wanted = build.transaction("\\PIPE\\", setup=(read_function, 0x4001))
            talk.exchange(wanted, build.transaction_answer(data=answer), uid=7, tid=3)
        assert calls(tmp_path, talk) == [REFUSED]


def test_dos_error(tmp_path: Path) -> None:
    """A client that does not know NT statuses: ERRDOS/ERRnoaccess."""
    talk = begun_smb1()
    talk.create(7, 3, "srvsvc", 0x4001)
    talk.transact(7, 3, 0x4001, bind(SRVSVC), bind_ack(ACCEPTED))
    talk.flags2 &= ~0x4000
    asked = build.transaction("\\PIPE\\", setup=(0x26, 0x4001), data=ASKED)
    talk.exchange(asked, build.failed(0x25), status=0x00050001, uid=7, tid=3)
    assert calls(tmp_path, talk) == [("srvsvc", "srvsvc", "NetrServerGetInfo", "ERRDOS/ERRnoaccess", "refused")]


def test_two_sessions_of_one_connection(tmp_path: Path) -> None:
    """SMB 1: two users, whose pipes have one after the other the same id; each call is the one's who made it."""
    talk = Smb1()
    talk.login(7)
    talk.login(8, "alice", unicode=bytes(range(24)))
    talk.tree(7, 3)
    talk.tree(8, 4)
    for uid, tid, opnum in ((7, 3, 21), (8, 4, 15), (7, 3, 36)):
        talk.create(uid, tid, "srvsvc", 0x4001)
        talk.transact(uid, tid, 0x4001, bind(SRVSVC), bind_ack(ACCEPTED))
        talk.transact(uid, tid, 0x4001, request(opnum), answered(0))
        talk.close(uid, tid, 0x4001)
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk), detail="all")
    rows = analysis.calls.merge(analysis.sessions[["session_key", "identity"]], on="session_key")
    assert plain(rows, "identity", "operation") == [
        ("anonymous", "NetrServerGetInfo"),
        ("user", "NetrShareEnum"),
        ("anonymous", "NetrShareEnumSticky"),
    ]
    some = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    assert [row[0] for row in plain(some.calls, "operation")] == ["NetrServerGetInfo", "NetrShareEnumSticky"]
    uses = plain(some.credentialed_uses, "resource", "interface", "operation", "uses", "succeeded")
    assert ("srvsvc", "srvsvc", "NetrShareEnum", 1, 1) in uses


def test_sessions_of_smb2_do_not_share_ids(tmp_path: Path) -> None:
    """Two sessions with the same file id at the same time; their PDUs come in turns."""
    talk = begun()
    talk.login(2, ALICE)
    talk.tree(2, 5)
    talk.create(1, 1, "srvsvc", ONE)
    talk.create(2, 5, "samr", ONE)
    talk.transceive(1, 1, ONE, bind(SRVSVC), bind_ack(ACCEPTED))
    talk.transceive(2, 5, ONE, bind(SAMR), bind_ack(ACCEPTED))
    talk.transceive(2, 5, ONE, request(57, pdus.pointed("\\\\DC")), answered(0, before=bytes(20)))
    talk.transceive(1, 1, ONE, ASKED, ANSWER)
    assert calls(tmp_path, talk) == [REFUSED]


# Others. #


def test_authenticated_rpc_in_an_anonymous_session(tmp_path: Path) -> None:
    """The session stays anonymous; the call says that it was sealed by somebody."""
    auth = (pdus.NTLM, pdus.PRIVACY, 0)
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    talk.transceive(1, 1, ONE, bind(SRVSVC, auth=auth), bind_ack(ACCEPTED, auth=auth))
    talk.write(1, 1, ONE, pdus.pdu(pdus.AUTH3, b"\0\0\0\0", auth=auth, token=bytes(200)))
    talk.transceive(1, 1, ONE, request(21, server_info(), auth=auth), answered(0, auth=auth))
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    assert plain(analysis.sessions, "identity") == [("anonymous",)]
    assert plain(analysis.binds, "auth_type", "auth_level", "result") == [(10, 6, "accepted")]
    assert plain(analysis.calls, "operation", "auth_type", "auth_level", "server_name", "status", "result") == [
        ("NetrServerGetInfo", 10, 6, None, None, "not_told")
    ]


PRELOGIN = b"\x12\x01\0\x2f\0\0\0\0\0\0\x1a\0\x06\x01\0\x20"


@pytest.mark.parametrize("by", [Smb2.transceive, Smb2.write], ids=["transceive", "write"])
def test_other_protocols(by: Callable[..., Any], tmp_path: Path) -> None:
    """TDS on the pipe of SQL Server: no calls; its first bytes are kept."""
    talk = begun()
    talk.create(1, 1, "sql\\query", ONE)
    by(talk, 1, 1, ONE, PRELOGIN, *([bytes(30)] if by is Smb2.transceive else []))
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    assert not len(analysis.calls)
    assert not len(analysis.binds)
    assert plain(analysis.pipe_opens, "pipe", "form", "first_bytes") == [("sql\\query", "other", PRELOGIN[:7].hex())]


def test_pipe_that_carries_nothing(tmp_path: Path) -> None:
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    talk.close(1, 1, ONE)
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    assert plain(analysis.pipe_opens, "form", "first_bytes") == [(None, None)]


def test_several_pipes_at_once(tmp_path: Path) -> None:
    """PDUs of two pipes in pieces, in turns."""
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    talk.create(1, 1, "wkssvc", OTHER)
    transceived(talk)
    talk.transceive(1, 1, OTHER, bind(WKSSVC), bind_ack(ACCEPTED, address=b"\\PIPE\\wkssvc\0"))
    one, other = request(15, server_info("\\\\A"), call=5), request(0, server_info("\\\\B", 100), call=5)
    for part in (slice(0, 30), slice(30, None)):
        talk.write(1, 1, ONE, one[part])
        talk.write(1, 1, OTHER, other[part])
    one, other = answered(0, call=5, before=bytes(60)), answered(5, call=5, before=bytes(60))
    for part in (slice(0, 50), slice(50, None)):
        talk.read(1, 1, OTHER, other[part])
        talk.read(1, 1, ONE, one[part])
    assert sorted(calls(tmp_path, talk)[1:]) == [
        ("srvsvc", "srvsvc", "NetrShareEnum", "WERR_OK", "worked"),
        ("wkssvc", "wkssvc", "NetrWkstaGetInfo", "WERR_ACCESS_DENIED", "refused"),
    ]


def test_file_on_a_disk_share_is_no_pipe(tmp_path: Path) -> None:
    """Though what is written to it looks like a bind."""
    talk = begun()
    talk.tree(1, 2, "PUBLIC")
    talk.create(1, 2, "srvsvc", ONE)
    talk.write(1, 2, ONE, bind(SRVSVC))
    talk.read(1, 2, ONE, bind_ack(ACCEPTED))
    talk.write(1, 2, ONE, ASKED)
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    assert not len(analysis.calls)
    assert not len(analysis.binds)
    assert not len(analysis.pipe_opens)


def test_pipes_of_a_closed_connection(tmp_path: Path) -> None:
    """Its ids mean nothing on the next one."""
    one = begun()
    one.create(1, 1, "srvsvc", ONE)
    one.transceive(1, 1, ONE, bind(SRVSVC), bind_ack(ACCEPTED))
    other = Smb2(port=50_000, at=10)
    other.login(1)
    other.tree(1, 1)
    other.transceive(1, 1, ONE, ASKED, ANSWER)
    assert calls(tmp_path, one, other) == [(None, None, "opnum 21", None, "not_told")]


@pytest.mark.parametrize("lost", range(4))
def test_answers_that_are_missing_among_writes_and_reads(lost: int, tmp_path: Path) -> None:
    """What was written is known though nobody saw that it was taken: the bind before the calls that need it."""
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    answers = [
        talk.write(1, 1, ONE, bind(SRVSVC)).answer,
        talk.read(1, 1, ONE, bind_ack(ACCEPTED)).answer,
        talk.write(1, 1, ONE, ASKED).answer,
        talk.read(1, 1, ONE, ANSWER).answer,
    ]
    talk.transceive(1, 1, ONE, request(15, call=9), answered(0, call=9))
    talk.close(1, 1, ONE)
    lose(talk, answers[lost])
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    assert plain(analysis.calls, "interface", "operation", "status") == [
        ("srvsvc", "NetrServerGetInfo", None if lost == 3 else "WERR_ACCESS_DENIED"),
        ("srvsvc", "NetrShareEnum", "WERR_OK"),
    ]
    assert plain(analysis.binds, "interface", "result") == [("srvsvc", "unanswered" if lost == 1 else "accepted")]
    written = len(bind(SRVSVC)) + len(ASKED) + len(request(15))
    assert analysis.pipe_opens["bytes_written"].tolist() == [written]


def test_long_payload_that_waits(tmp_path: Path) -> None:
    """A request's payload is kept until its answer comes, a window later or many."""
    talk = begun()
    talk.create(1, 1, "srvsvc", ONE)
    transceived(talk)
    talk.write(1, 1, ONE, request(15, server_info("\\\\X" * 40) + bytes(4000), call=3))
    talk.read(1, 1, ONE, answered(0, call=3, before=bytes(5000)))
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    assert plain(analysis.calls, "operation", "server_name", "level", "status")[1:] == [
        ("NetrShareEnum", "\\\\X" * 40, 101, "WERR_OK")
    ]
