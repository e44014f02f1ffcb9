"""A login that fails on a session id that is in use: whose is what comes after it?

By [MS-SMB2] 3.3.5.5.3 the server removes the session, with its trees and files; what is asked for then fails with
STATUS_USER_SESSION_DELETED [3.3.5.2.9]. Samba does the same (`reauthentication-failed.pcap`). Where answers show that a
server went on with the session, it is still that of the login before: a refused one gives no identity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import analyzer
from analyzer.engines import native
from analyzer.smb.select import ROOM_ROWS
from tests.dialogue import (
    ALICE,
    ANONYMOUS,
    LOGON_FAILURE,
    TRANSCEIVE,
    Exchange,
    Smb1,
    Smb2,
    Talk,
    file_id,
    lose,
    write,
)
from tests.pdus import ACCEPTED, SRVSVC, answered, bind, bind_ack, request, server_info
from tests.sessions.told import opens_of, plain, trees_of

SESSION_DELETED, BAD_UID = 0xC0000203, 0x005B0002
ONE = file_id(1)


@pytest.fixture(params=[None, ROOM_ROWS + 1], ids=["one window", "many windows"], autouse=True)
def _window(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param is not None:
        monkeypatch.setattr(native, "WINDOW_ROWS", request.param)


def in_use(token: bytes = ANONYMOUS) -> Smb2:
    """A session that has IPC$, and srvsvc open and bound and called."""
    talk = Smb2()
    talk.login(1, token)
    talk.tree(1, 1)
    talk.create(1, 1, "srvsvc", ONE)
    talk.transceive(1, 1, ONE, bind(SRVSVC), bind_ack(ACCEPTED))
    called(talk)
    return talk


def called(talk: Smb2, status: int = 0) -> Exchange:
    """A call through srvsvc."""
    return talk.control(1, 1, TRANSCEIVE, request(21, server_info()), answered(0), file_id=ONE, status=status)


def analyzed(path: Path, *talks: Talk, detail: Any = "all") -> analyzer.Analysis:
    return analyzer.analyze(write(path / "c.pcap", *talks), detail=detail)


def calls_of(analysis: analyzer.Analysis) -> list[tuple[Any, ...]]:
    """Identity of its session, and status, of each call."""
    rows = analysis.calls.merge(analysis.sessions[["session_key", "identity"]], on="session_key", how="left")
    return plain(rows, "identity", "status")


def uses_of(analysis: analyzer.Analysis) -> list[tuple[Any, ...]]:
    return plain(analysis.dependencies, "resource", "identity", "verdict", "uses", "succeeded")


def test_what_meets_no_session_is_nobodys(tmp_path: Path) -> None:
    talk = in_use()
    talk.login(1, ALICE, known=True, status=LOGON_FAILURE)
    called(talk, SESSION_DELETED)
    talk.tree(1, 2, status=SESSION_DELETED)
    talk.create(1, 1, "samr", file_id(2), status=SESSION_DELETED)
    analysis = analyzed(tmp_path, talk)
    assert plain(analysis.sessions, "identity", "session_no") == [("anonymous", 0), ("rejected", 0)]
    assert calls_of(analysis) == [("anonymous", "WERR_OK"), ("rejected", "STATUS_USER_SESSION_DELETED")]
    assert trees_of(analysis)[1] == ("IPC$", "rejected", "STATUS_USER_SESSION_DELETED")
    assert opens_of(analysis)[1] == ("samr", "rejected", "STATUS_USER_SESSION_DELETED")
    # What found no session was no use of it.
    assert uses_of(analysis) == [("srvsvc", "anonymous", "depends", 1, 1)]


def test_a_pipe_that_is_bound_too_late(tmp_path: Path) -> None:
    talk = Smb2()
    talk.login(1)
    talk.tree(1, 1)
    talk.create(1, 1, "srvsvc", ONE)
    talk.login(1, ALICE, known=True, status=LOGON_FAILURE)
    talk.control(1, 1, TRANSCEIVE, bind(SRVSVC), file_id=ONE, status=SESSION_DELETED)
    analysis = analyzed(tmp_path, talk)
    rows = analysis.binds.merge(analysis.sessions[["session_key", "identity"]], on="session_key")
    assert plain(rows, "identity", "status") == [("rejected", "STATUS_USER_SESSION_DELETED")]


def test_a_refused_anonymous_login_on_a_users_session(tmp_path: Path) -> None:
    """What the user did is counted with credentials; what met no session behind it is not."""
    talk = in_use(ALICE)
    talk.login(1, ANONYMOUS, known=True, status=LOGON_FAILURE)
    called(talk, SESSION_DELETED)
    analysis = analyzed(tmp_path, talk, detail="default")
    uses = analysis.credentialed_uses.query("operation == 'NetrServerGetInfo'")
    assert plain(uses, "uses", "succeeded") == [(1, 1)]
    assert calls_of(analysis) == [("anonymous_rejected", "STATUS_USER_SESSION_DELETED")]
    assert calls_of(analyzed(tmp_path, talk)) == [("user", "WERR_OK"), *calls_of(analysis)]
    assert "depends" not in set(analysis.dependencies["verdict"])


def test_a_server_that_goes_on_with_the_session(tmp_path: Path) -> None:
    """Whatever the specification says, that it answered shows whose session it still was."""
    talk = in_use()
    talk.login(1, ALICE, known=True, status=LOGON_FAILURE)
    called(talk)
    talk.create(1, 1, "samr", file_id(2), status=0xC0000022)
    analysis = analyzed(tmp_path, talk)
    assert calls_of(analysis) == [("anonymous", "WERR_OK")] * 2
    assert opens_of(analysis)[1] == ("samr", "anonymous", "STATUS_ACCESS_DENIED")


def test_an_answer_that_was_lost(tmp_path: Path) -> None:
    """The session was over, unless something after it succeeded."""
    over = in_use()
    over.login(1, ALICE, known=True, status=LOGON_FAILURE)
    lose(over, called(over, SESSION_DELETED).answer)
    analysis = analyzed(tmp_path, over)
    assert calls_of(analysis) == [("anonymous", "WERR_OK"), ("rejected", None)]
    assert uses_of(analysis) == [("srvsvc", "anonymous", "depends", 1, 1)]
    goes_on = in_use()
    goes_on.login(1, ALICE, known=True, status=LOGON_FAILURE)
    lose(goes_on, called(goes_on).answer)
    called(goes_on)
    assert calls_of(analyzed(tmp_path, goes_on)) == [
        ("anonymous", "WERR_OK"), ("anonymous", None), ("anonymous", "WERR_OK"),
    ]  # fmt: skip


def test_the_answer_to_the_login_was_lost(tmp_path: Path) -> None:
    """Refused or accepted: nobody knows whose what comes after it is, and nothing else is claimed."""
    talk = in_use()
    lose(talk, talk.login(1, ALICE, known=True, status=LOGON_FAILURE).answer)
    called(talk, SESSION_DELETED)
    analysis = analyzed(tmp_path, talk)
    assert calls_of(analysis) == [("anonymous", "WERR_OK"), ("unknown", "STATUS_USER_SESSION_DELETED")]


def test_a_session_that_was_deleted_otherwise(tmp_path: Path) -> None:
    """Without a refused login before it, it was a request of the session that was."""
    talk = in_use()
    called(talk, SESSION_DELETED)
    assert calls_of(analyzed(tmp_path, talk)) == [
        ("anonymous", "WERR_OK"),
        ("anonymous", "STATUS_USER_SESSION_DELETED"),
    ]


def test_a_login_on_the_id_after_a_refused_one(tmp_path: Path) -> None:
    talk = in_use()
    talk.login(1, ALICE, known=True, status=LOGON_FAILURE)
    called(talk, SESSION_DELETED)
    talk.login(1, known=True)
    called(talk)
    assert calls_of(analyzed(tmp_path, talk)) == [
        ("anonymous", "WERR_OK"), ("rejected", "STATUS_USER_SESSION_DELETED"), ("anonymous", "WERR_OK"),
    ]  # fmt: skip


def smb1_with_failed_login(status: int) -> Smb1:
    """A login that fails on a UID in use, and an open with this answer behind it."""
    talk = Smb1(extended=True)
    talk.login_extended(7)
    talk.tree(7, 3)
    talk.create(7, 3, "\\srvsvc", 1)
    talk.login_extended(7, ALICE, status=LOGON_FAILURE)
    talk.create(7, 3, "\\samr", 2, status=status)
    return talk


def test_smb1_is_judged_by_its_answers(tmp_path: Path) -> None:
    """No rule says what becomes of the UID: the answer does, and where there is none nothing is taken away."""
    gone = smb1_with_failed_login(BAD_UID)
    assert opens_of(analyzed(tmp_path, gone)) == [
        ("srvsvc", "anonymous", "STATUS_SUCCESS"), ("samr", "rejected", "STATUS_SMB_BAD_UID"),
    ]  # fmt: skip
    kept = smb1_with_failed_login(0)
    assert opens_of(analyzed(tmp_path, kept))[1] == ("samr", "anonymous", "STATUS_SUCCESS")
    kept.tcp.segments.pop()
    assert opens_of(analyzed(tmp_path, kept))[1] == ("samr", "anonymous", None)
