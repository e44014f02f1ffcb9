"""Where packets were lost, what is found still does not depend on where the windows end.

Each recording is analysed without one of its packets after the other: all of it at once, and a few messages at a time.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import analyzer
from analyzer import tables
from analyzer.engines import native
from analyzer.smb.select import ROOM_ROWS
from tests import build, manifest
from tests.dialogue import Smb2, file_id, lose, write
from tests.pdus import ACCEPTED, SRVSVC, answered, bind, bind_ack, request, server_info
from tests.sessions.told import plain

WITHOUT = [
    ("pipe-transact", (10, 11, 14)),  # a login's first leg, its answer; an answer to a tree connect
    ("pipe-transceive", (10, 11)),
    ("pipe-write-read", (10, 16, 18)),  # ... an answer to a tree connect, to an open
    ("anonymous-smb1", (20, 22)),
    ("interleaved-smb1", (11, 22, 42)),
    ("interleaved-smb2", (24,)),
    ("reauthentication", (12, 18, 30, 33)),  # ... the last answer of a login, first and again; an open's request
    ("multichannel", (36, 44)),  # answers to a binding
]


@pytest.mark.parametrize(("name", "frame"), [(name, frame) for name, frames in WITHOUT for frame in frames])
def test_a_packet_less(name: str, frame: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.pcap"
    path.write_bytes(without(manifest.CAPTURES / f"{name}.pcap", frame))
    whole = analyzer.analyze(path, detail="all")
    monkeypatch.setattr(native, "WINDOW_ROWS", ROOM_ROWS + 8)
    in_parts = analyzer.analyze(path, detail="all")
    for table in tables.ROWS:
        assert in_parts.arrow(table).to_pylist() == whole.arrow(table).to_pylist(), table


def without(path: Path, frame: int) -> bytes:
    """A little-endian pcap file without one of its packets, counted from 1."""
    data = path.read_bytes()
    assert data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1")
    at = 24
    for _ in range(frame - 1):
        at += 16 + int.from_bytes(data[at + 8 : at + 12], "little")
    return data[:at] + data[at + 16 + int.from_bytes(data[at + 8 : at + 12], "little") :]


@pytest.mark.parametrize("window", [None, ROOM_ROWS + 1], ids=["one window", "many windows"])
def test_an_open_that_is_answered_late_is_waited_for(
    window: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is pending, another pipe is used, whose id is known: neither is taken for the other."""
    if window is not None:
        monkeypatch.setattr(native, "WINDOW_ROWS", window)
    talk = Smb2()
    talk.login(1)
    talk.tree(1, 1)
    talk.create(1, 1, "srvsvc", file_id(1))
    talk.ask(build.CREATE, build.create_request("samr"), session_id=1, tree_id=1)
    pending = talk.message_id
    for question, answer in ((bind(SRVSVC), bind_ack(ACCEPTED)), (request(21, server_info()), answered(0))):
        talk.transceive(1, 1, file_id(1), question, answer)
    talk.answer(build.CREATE, build.create_answer(file_id(2)), message_id=pending, session_id=1, tree_id=1)
    rows = analyzer.analyze(write(tmp_path / "c.pcap", talk)).pipe_opens
    assert plain(rows, "pipe", "status", "inferred") == [
        ("srvsvc", "STATUS_SUCCESS", False),
        ("samr", "STATUS_SUCCESS", False),
    ]


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("session_flags", [0, 2], ids=["not told", "told to be null"])
def test_one_side_only_never_tells_that_nothing_was_done(side: str, session_flags: int, tmp_path: Path) -> None:
    """From the answers alone neither pipe nor operation is known, but that something may have been done: no probe."""
    talk = Smb2()
    talk.login(1, session_flags=session_flags)
    talk.tree(1, 1)
    talk.create(1, 1, "srvsvc", file_id(1))
    talk.transceive(1, 1, file_id(1), bind(SRVSVC), bind_ack(ACCEPTED))
    talk.transceive(1, 1, file_id(1), request(21, server_info()), answered(0))
    from_server = {id(segment) for segment in talk.tcp.segments if segment.source[1] == 445}
    lose(talk, *[segment for segment in talk.tcp.segments if (id(segment) in from_server) == (side == "client")])
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    assert set(analysis.dependencies["verdict"]) == {"unknown"}
    assert analysis.dependencies["reason"].notna().all()
    told_to_be_null = side == "server" and session_flags == 2
    identity = "anonymous" if side == "client" or told_to_be_null else "unknown"
    assert set(analysis.sessions["identity"]) == {identity}
