"""Trees, opens, calls and data belong to the session and the file that their own request meant, over SMB 2 and 3.

Ids are used again and again on purpose: the place of a request decides what it means. SMB 1 is in test_joins_smb1.py,
bindings and logins again are in test_joins_identity.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import analyzer
from tests import build
from tests.build import ACCESS_DENIED, NO_FILE, PENDING, RELATED, SUCCESS
from tests.dialogue import ALICE, Smb2, file_id, frame_of, write
from tests.sessions.told import counted, opens_of, plain


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A capture to be."""
    return tmp_path / "c.pcap"


@pytest.mark.parametrize("detail", ["default", "all"])
def test_interleaved_sessions_with_the_same_tree_and_file_ids(path: Path, detail: str) -> None:
    """Tree ids and file ids are a session's own. [MS-SMB2 3.3.1.9, 3.3.1.10]"""
    talk = Smb2()
    talk.login(0x11)
    talk.login(0x22, ALICE)
    talk.tree(0x11, 1)
    talk.tree(0x22, 1)
    talk.create(0x11, 1, "srvsvc", (7, 7))
    talk.create(0x22, 1, "lsarpc", (7, 7))
    talk.write(0x22, 1, (7, 7), bytes(5))
    talk.write(0x11, 1, (7, 7), bytes(11))
    talk.read(0x22, 1, (7, 7), bytes(3))
    talk.create(0x11, 1, "samr", (8, 8), status=ACCESS_DENIED)
    analysis = analyzer.analyze(write(path, talk), detail=detail)
    anonymous = [("srvsvc", "anonymous", "STATUS_SUCCESS"), ("samr", "anonymous", "STATUS_ACCESS_DENIED")]
    user = [("lsarpc", "user", "STATUS_SUCCESS")]
    assert opens_of(analysis) == (anonymous if detail == "default" else [anonymous[0], *user, anonymous[1]])
    written = dict(plain(analysis.pipe_opens, "pipe", "bytes_written"))
    assert written == {"srvsvc": 11, "samr": 0} | ({"lsarpc": 5} if detail == "all" else {})
    assert len(analysis.trees) == 2
    assert counted(analysis) == ([("10.0.0.1", "lsarpc", 1, 1)] if detail == "default" else counted(analysis))
    assert analysis.dependencies["resource"].tolist() == ["srvsvc", "samr"]


def test_a_session_id_used_again_after_a_logoff(path: Path) -> None:
    talk = Smb2()
    talk.login(0x11, ALICE)
    talk.tree(0x11, 1)
    talk.create(0x11, 1, "lsarpc", (7, 7))
    off = talk.logoff(0x11)
    talk.login(0x11)
    talk.tree(0x11, 1)
    talk.create(0x11, 1, "srvsvc", (7, 7))
    analysis = analyzer.analyze(write(path, talk), detail="all")
    assert opens_of(analysis) == [("lsarpc", "user", "STATUS_SUCCESS"), ("srvsvc", "anonymous", "STATUS_SUCCESS")]
    assert off.request is not None
    assert analysis.sessions["ended"].iloc[0].value == off.request.time_ns
    assert analysis.sessions["ended"].isna().tolist() == [False, True]


def test_a_tree_id_used_again_after_a_disconnect(path: Path) -> None:
    """The same id is IPC$ first and a disk then: what is opened is a pipe first and a file then."""
    talk = Smb2()
    talk.login(0x11)
    talk.tree(0x11, 1)
    talk.create(0x11, 1, "srvsvc", (7, 7))
    talk.close(0x11, 1, (7, 7))
    talk.disconnect(0x11, 1)
    talk.tree(0x11, 1, "DATA")
    talk.create(0x11, 1, "srvsvc", (7, 7))
    analysis = analyzer.analyze(write(path, talk))
    assert opens_of(analysis) == [("srvsvc", "anonymous", "STATUS_SUCCESS")]
    assert analysis.pipe_opens["tree_key"].tolist() == [analysis.trees["tree_key"].iloc[0]]
    assert plain(analysis.disk_opens, "share", "opens", "succeeded", "sample_paths") == [("DATA", 1, 1, "srvsvc")]


def test_a_file_id_used_again_after_a_close(path: Path) -> None:
    talk = Smb2()
    talk.login(0x11)
    talk.tree(0x11, 1)
    closes = []
    for pipe, size in (("srvsvc", 10), ("lsarpc", 20), ("samr", 30)):
        talk.create(0x11, 1, pipe, (7, 7))
        talk.write(0x11, 1, (7, 7), bytes(size))
        talk.read(0x11, 1, (7, 7), bytes(2 * size))
        closes.append(talk.close(0x11, 1, (7, 7)).request)
    analysis = analyzer.analyze(write(path, talk))
    assert plain(analysis.pipe_opens, "pipe", "bytes_written", "bytes_read") == [
        ("srvsvc", 10, 20), ("lsarpc", 20, 40), ("samr", 30, 60),
    ]  # fmt: skip
    assert [time.value for time in analysis.pipe_opens["closed"]] == [close.time_ns for close in closes if close]


@pytest.mark.parametrize(
    "other",
    [{"client": "10.0.0.9"}, {"server": "10.0.0.8"}, {"port": 50_000, "guid": bytes(range(50, 66))}],
    ids=["another client", "another server", "the same machines"],
)
def test_two_connections_with_the_same_ids(path: Path, other: dict[str, str | int | bytes]) -> None:
    """Some servers number the sessions of each connection from the start."""
    first, second = Smb2(), Smb2(at=0.0005, **other)  # type: ignore[arg-type]
    first.login(0x11)
    second.login(0x11, ALICE)
    first.tree(0x11, 1)
    second.tree(0x11, 1)
    first.create(0x11, 1, "srvsvc", (7, 7))
    second.create(0x11, 1, "lsarpc", (7, 7))
    second.write(0x11, 1, (7, 7), bytes(100))
    first.write(0x11, 1, (7, 7), bytes(10))
    analysis = analyzer.analyze(write(path, first, second), detail="all")
    assert opens_of(analysis) == [("srvsvc", "anonymous", "STATUS_SUCCESS"), ("lsarpc", "user", "STATUS_SUCCESS")]
    assert plain(analysis.pipe_opens, "pipe", "bytes_written") == [("srvsvc", 10), ("lsarpc", 100)]


def chain(
    talk: Smb2, requests: list[tuple[int, bytes]], answers: list[tuple[int, bytes, int]], session: int, tree: int
) -> None:
    """A compound of related requests: ids of all but the first are all ones. [MS-SMB2 3.2.4.1.4]"""
    first = talk.message_id + 1
    sent = [
        build.smb2(
            command,
            body,
            message_id=first + place,
            flags=RELATED if place else 0,
            session_id=build.NO_ID64 if place else session,
            tree_id=build.NO_ID32 if place else tree,
        )
        for place, (command, body) in enumerate(requests)
    ]
    got = [
        build.smb2(
            command,
            body if status == SUCCESS else build.error_answer(),
            status=status,
            message_id=first + place,
            flags=build.RESPONSE | (RELATED if place else 0),
            session_id=session,
            tree_id=tree,
        )
        for place, (command, body, status) in enumerate(answers)
    ]
    talk.message_id += len(requests)
    talk.tcp.client(build.framed(build.compound(*sent)))
    talk.tcp.server(build.framed(build.compound(*got)))


CLOSED = build.packed(("structure_size", "H", 60), ("rest", "58s", bytes(58)))


def test_related_compounds_use_the_ids_before_them(path: Path) -> None:
    """CREATE, WRITE, READ and CLOSE in one message, on the file that its CREATE makes."""
    talk = Smb2()
    talk.login(0x22, ALICE)
    talk.login(0x11)
    talk.tree(0x11, 1)
    chain(
        talk,
        [
            (build.CREATE, build.create_request("srvsvc")),
            (build.WRITE, build.write_request(NO_FILE, bytes(13))),
            (build.READ, build.read_request(NO_FILE)),
            (build.CLOSE, build.close_request(NO_FILE)),
        ],
        [
            (build.CREATE, build.create_answer((7, 7)), SUCCESS),
            (build.WRITE, build.write_answer(13), SUCCESS),
            (build.READ, build.read_answer(bytes(17)), SUCCESS),
            (build.CLOSE, CLOSED, SUCCESS),
        ],
        0x11,
        1,
    )
    analysis = analyzer.analyze(write(path, talk))
    assert opens_of(analysis) == [("srvsvc", "anonymous", "STATUS_SUCCESS")]
    assert plain(analysis.pipe_opens, "bytes_written", "bytes_read") == [(13, 17)]
    assert analysis.pipe_opens["closed"].notna().all()


def test_a_related_open_on_the_tree_that_its_compound_connects(path: Path) -> None:
    """TREE_CONNECT and CREATE in one message: only the answers have the tree's id."""
    talk = Smb2()
    talk.login(0x11)
    first = talk.message_id + 1
    ids = {"session_id": build.NO_ID64, "tree_id": build.NO_ID32}
    talk.tcp.client(
        build.framed(
            build.compound(
                build.smb2(build.TREE_CONNECT, build.tree_request(r"\\FILES1\IPC$"), message_id=first, session_id=0x11),
                build.smb2(build.CREATE, build.create_request("xyz"), message_id=first + 1, flags=RELATED, **ids),
            )
        )
    )
    ids = {"session_id": 0x11, "tree_id": 5}
    talk.tcp.server(
        build.framed(
            build.compound(
                build.smb2(build.TREE_CONNECT, build.tree_answer(2), message_id=first, flags=build.RESPONSE, **ids),
                build.smb2(
                    build.CREATE,
                    build.create_answer((7, 7)),
                    message_id=first + 1,
                    flags=build.RESPONSE | RELATED,
                    **ids,
                ),
            )
        )
    )
    analysis = analyzer.analyze(write(path, talk))
    assert opens_of(analysis) == [("xyz", "anonymous", "STATUS_SUCCESS")]
    assert analysis.pipe_opens["tree_key"].tolist() == analysis.trees["tree_key"].tolist()


def test_two_related_compounds_do_not_mix(path: Path) -> None:
    """Two compounds under way at once: the second's WRITE goes to the second's file."""
    talk = Smb2()
    talk.login(0x11)
    talk.tree(0x11, 1)
    for number, (pipe, size) in enumerate((("srvsvc", 10), ("lsarpc", 20))):
        chain(
            talk,
            [(build.CREATE, build.create_request(pipe)), (build.WRITE, build.write_request(NO_FILE, bytes(size)))],
            [
                (build.CREATE, build.create_answer(file_id(number)), SUCCESS),
                (build.WRITE, build.write_answer(size), SUCCESS),
            ],
            0x11,
            1,
        )
    segments = talk.tcp.segments
    at = len(segments) - 4
    segments[at + 1], segments[at + 2] = segments[at + 2], segments[at + 1]  # both requests before both answers
    for place in range(at, len(segments)):
        segments[place] = build.Segment(
            segments[at].time_ns + (place - at) * 1000,
            *[getattr(segments[place], name) for name in ("source", "target", "seq", "ack", "flags", "payload")],
        )
    analysis = analyzer.analyze(write(path, talk))
    assert plain(analysis.pipe_opens, "pipe", "bytes_written") == [("srvsvc", 10), ("lsarpc", 20)]


def test_a_failed_create_takes_its_related_requests_along(path: Path) -> None:
    talk = Smb2()
    talk.login(0x11)
    talk.tree(0x11, 1)
    chain(
        talk,
        [(build.CREATE, build.create_request("srvsvc")), (build.WRITE, build.write_request(NO_FILE, bytes(13)))],
        [(build.CREATE, b"", ACCESS_DENIED), (build.WRITE, b"", ACCESS_DENIED)],
        0x11,
        1,
    )
    analysis = analyzer.analyze(write(path, talk))
    assert opens_of(analysis) == [("srvsvc", "anonymous", "STATUS_ACCESS_DENIED")]
    assert analysis.pipe_opens["bytes_read"].tolist() == [0]
    assert analysis.dependencies["verdict"].tolist() == ["denied"]


def test_an_interim_answer_is_not_the_answer(path: Path) -> None:
    """STATUS_PENDING with an async id first, then the real one, which has no tree id. [MS-SMB2 3.3.4.2]"""
    talk = Smb2()
    talk.login(0x11)
    talk.tree(0x11, 1)
    final = []
    for number, (pipe, status) in enumerate((("srvsvc", SUCCESS), ("samr", ACCESS_DENIED))):
        talk.ask(build.CREATE, build.create_request(pipe), session_id=0x11, tree_id=1)
        talk.answer(build.CREATE, b"", status=PENDING, session_id=0x11, async_id=5 + number)
        answer = build.create_answer((7, 7))
        final.append(talk.answer(build.CREATE, answer, status=status, session_id=0x11, async_id=5 + number))
    talk.ask(build.READ, build.read_request((7, 7)), session_id=0x11, tree_id=1)
    waiting = talk.message_id
    talk.answer(build.READ, b"", status=PENDING, session_id=0x11, async_id=9)
    talk.write(0x11, 1, (7, 7), bytes(4))
    talk.answer(build.READ, build.read_answer(bytes(40)), session_id=0x11, async_id=9, message_id=waiting)
    analysis = analyzer.analyze(write(path, talk))
    assert opens_of(analysis) == [
        ("srvsvc", "anonymous", "STATUS_SUCCESS"), ("samr", "anonymous", "STATUS_ACCESS_DENIED"),
    ]  # fmt: skip
    assert analysis.pipe_opens["answer_frame"].tolist() == [frame_of(segment, talk) for segment in final]
    assert plain(analysis.pipe_opens, "bytes_written", "bytes_read") == [(4, 40), (0, 0)]


@pytest.mark.parametrize("detail", ["default", "all"])
def test_bytes_of_pipes_by_each_way(path: Path, detail: str) -> None:
    """Written and read are the payload bytes, whichever commands carry them."""
    talk = Smb2()
    talk.login(0x11)
    talk.tree(0x11, 1)
    talk.create(0x11, 1, "srvsvc", (1, 1))
    talk.create(0x11, 1, "lsarpc", (2, 2))
    talk.create(0x11, 1, "samr", (3, 3))
    talk.write(0x11, 1, (1, 1), bytes(100))
    talk.read(0x11, 1, (1, 1), bytes(30), status=build.BUFFER_OVERFLOW)  # a part; the rest is read next
    talk.read(0x11, 1, (1, 1), bytes(12))
    talk.transceive(0x11, 1, (2, 2), bytes(70), bytes(60))
    talk.transceive(0x11, 1, (2, 2), bytes(7), bytes(6))
    talk.write(0x11, 1, (3, 3), bytes(5))
    talk.transceive(0x11, 1, (3, 3), bytes(4), bytes(3))
    talk.read(0x11, 1, (3, 3), bytes(2))
    found = analyzer.analyze(write(path, talk), detail=detail).pipe_opens
    assert plain(found, "pipe", "bytes_written", "bytes_read") == [
        ("srvsvc", 100, 42),
        ("lsarpc", 77, 66),
        ("samr", 9, 5),
    ]


def test_a_frame_is_the_one_that_completes_the_message(path: Path) -> None:
    """Two messages in one segment, and one message in three."""
    talk = Smb2()
    talk.login(0x11)
    talk.tree(0x11, 1)
    talk.create(0x11, 1, "srvsvc", (7, 7))
    request, answer = talk.tcp.segments[-2:]
    del talk.tcp.segments[-2:]
    talk.tcp.client_seq -= len(request.payload)
    talk.tcp.server_seq -= len(answer.payload)
    pieces = [talk.tcp.client(request.payload[begin:end]) for begin, end in ((0, 10), (10, 90), (90, None))]
    answers = [talk.tcp.server(answer.payload[:50]), talk.tcp.server(answer.payload[50:])]
    opened = analyzer.analyze(write(path, talk)).pipe_opens
    assert opened["frame"].tolist() == [frame_of(pieces[-1], talk)]
    assert opened["answer_frame"].tolist() == [frame_of(answers[-1], talk)]
