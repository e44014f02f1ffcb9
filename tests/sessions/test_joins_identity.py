"""Sessions over several connections and identities: bindings, logins again on one id, and what is merely counted."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import analyzer
from tests import build
from tests.build import ACCESS_DENIED, SUCCESS
from tests.dialogue import ALICE, ANONYMOUS, SECOND, Smb1, Smb2, frame_of, named, write
from tests.sessions.told import counted, opens_of, plain

BIND = 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A capture to be."""
    return tmp_path / "c.pcap"


def bound(session: int, *, guid: bytes = bytes(range(16)), at: float, status: int = SUCCESS) -> Smb2:
    """A further connection that is bound to a session. [MS-SMB2 3.3.5.5.2]"""
    talk = Smb2(port=50_100, at=at, dialect=0x0300, guid=guid)
    talk.challenge(session, known=True, flags=BIND)
    talk.authenticate(session, ALICE, flags=BIND, status=status)
    return talk


def test_a_bound_connection_is_a_channel_and_no_session(path: Path) -> None:
    """Trees and files are valid on every channel of their session."""
    first = Smb2(dialect=0x0300)
    first.login(0x11, ALICE)
    first.tree(0x11, 1)
    first.create(0x11, 1, "srvsvc", (7, 7))
    second = bound(0x11, at=1)
    second.write(0x11, 1, (7, 7), bytes(50))
    second.create(0x11, 1, "lsarpc", (8, 8))
    analysis = analyzer.analyze(write(path, first, second), detail="all")
    assert plain(analysis.sessions, "identity", "session_id") == [("user", "0x0000000000000011")]
    assert opens_of(analysis) == [("srvsvc", "user", "STATUS_SUCCESS"), ("lsarpc", "user", "STATUS_SUCCESS")]
    assert plain(analysis.pipe_opens, "pipe", "bytes_written") == [("srvsvc", 50), ("lsarpc", 0)]
    assert analysis.pipe_opens["tree_key"].tolist() == [analysis.trees["tree_key"].iloc[0]] * 2
    key, further = analysis.sessions["session_key"].iloc[0], analysis.connections["connection_id"].iloc[1]
    assert plain(analysis.channels, "session_key", "connection_id", "status") == [(key, further, "STATUS_SUCCESS")]


def test_a_binding_proves_credentials_where_the_session_was_not_captured(path: Path) -> None:
    """A server must refuse to bind anonymous and guest sessions. [MS-SMB2 3.3.5.5]"""
    talk = bound(0x11, at=0)
    talk.tree(0x11, 1)
    talk.create(0x11, 1, "srvsvc", (7, 7))
    analysis = analyzer.analyze(write(path, talk))
    assert plain(analysis.sessions, "identity", "confidence") == [("authenticated", "strong")]
    assert not len(analysis.pipe_opens)
    assert counted(analysis) == [("10.0.0.1", "srvsvc", 1, 1)]
    assert not len(analysis.dependencies)


def test_a_refused_binding_changes_nothing(path: Path) -> None:
    first = Smb2(dialect=0x0300)
    first.login(0x11)
    second = bound(0x11, at=1, status=0xC00000BB)  # STATUS_NOT_SUPPORTED, as a server must answer here
    first.wait(5)
    first.tree(0x11, 1)
    first.create(0x11, 1, "srvsvc", (7, 7))
    analysis = analyzer.analyze(write(path, first, second))
    assert plain(analysis.sessions, "identity", "confidence") == [("anonymous", "certain")]
    assert opens_of(analysis) == [("srvsvc", "anonymous", "STATUS_SUCCESS")]
    assert analysis.channels["status"].tolist() == ["STATUS_NOT_SUPPORTED"]


def test_a_setup_elsewhere_names_a_session_whose_own_was_not_captured(path: Path) -> None:
    """The same id of the same machines, set up on another connection: that identity."""
    first, second = Smb2(), Smb2(port=50_100, at=1)
    first.login(0x5511, ALICE)
    second.tree(0x5511, 1)
    analysis = analyzer.analyze(write(path, first, second))
    assert plain(analysis.sessions, "identity", "confidence") == [("user", "certain"), ("user", "strong")]


def test_identity_changes_on_one_session_id(path: Path) -> None:
    """Anonymous, then a user, then anonymous: what is done belongs to the last login before it; files go on."""
    talk = Smb2()
    logins = [talk.login(0x11)]
    talk.tree(0x11, 1)
    talk.create(0x11, 1, "srvsvc", (7, 7))
    logins.append(talk.login(0x11, ALICE, known=True))
    talk.write(0x11, 1, (7, 7), bytes(9))
    talk.create(0x11, 1, "lsarpc", (8, 8))
    talk.dfs(0x11, 1)
    logins.append(talk.login(0x11, known=True))
    talk.create(0x11, 1, "samr", (9, 9))
    talk.dfs(0x11, 1)
    analysis = analyzer.analyze(write(path, talk), detail="all")
    sessions = analysis.sessions
    assert sessions["identity"].tolist() == ["anonymous", "user", "anonymous"]
    assert sessions["session_no"].nunique() == 1
    assert sessions["frame"].tolist() == [frame_of(login.request, talk) for login in logins]
    assert sessions["answer_frame"].tolist() == [frame_of(login.answer, talk) for login in logins]
    # Each period goes up to the next login. Which of its legs ends the one before is not laid down.
    for ended, began in zip(sessions["ended"].iloc[:2], sessions["started"].iloc[1:], strict=True):
        assert pd.Timedelta(0) <= began - ended <= pd.Timedelta(2, "ms")
    assert opens_of(analysis) == [
        ("srvsvc", "anonymous", "STATUS_SUCCESS"), ("lsarpc", "user", "STATUS_SUCCESS"), ("samr", "anonymous", "STATUS_SUCCESS"),
    ]  # fmt: skip
    assert analysis.pipe_opens["bytes_written"].tolist() == [9, 0, 0]
    assert analysis.calls["session_key"].tolist() == sessions["session_key"].iloc[[1, 2]].tolist()


def test_a_failed_login_on_an_id_in_use(path: Path) -> None:
    talk = Smb2()
    talk.login(0x11)
    talk.tree(0x11, 1)
    talk.login(0x11, ALICE, known=True, status=0xC000006D)
    talk.create(0x11, 1, "srvsvc", (7, 7), status=0xC0000203)  # STATUS_USER_SESSION_DELETED
    analysis = analyzer.analyze(write(path, talk))
    assert plain(analysis.sessions, "asked", "identity", "outcome") == [
        ("anonymous", "anonymous", "accepted"), ("named", "rejected", "refused"),
    ]  # fmt: skip
    # The answer is no refusal of access: that the session is gone says nothing of what it may do.
    assert "denied" not in analysis.dependencies["verdict"].tolist()


def test_uses_with_credentials_are_counted_by_the_hour(path: Path) -> None:
    hour = 3600 * SECOND
    talk = Smb2(at=(hour - build.START_NS % hour) / SECOND)  # begins with an hour
    talk.login(0x11, ALICE)
    talk.tree(0x11, 1)
    opens = [talk.use(0x11, 1, "srvsvc"), talk.use(0x11, 1, "srvsvc")]
    talk.create(0x11, 1, "srvsvc", (9, 9), status=ACCESS_DENIED)
    talk.use(0x11, 1, "lsarpc")
    talk.wait(3600)
    opens.append(talk.use(0x11, 1, "srvsvc"))
    machine = Smb2("10.0.0.5", at=4000)
    opens.append(machine.credentialed_use(0x22, "srvsvc", user=named("WS5$")))
    uses = analyzer.analyze(write(path, talk, machine)).credentialed_uses
    pipes = uses[uses["resource"].isin(["srvsvc", "lsarpc"])].sort_values(["client_ip", "resource", "hour"])
    assert plain(pipes, "client_ip", "resource", "uses", "succeeded") == [
        ("10.0.0.1", "lsarpc", 1, 1), ("10.0.0.1", "srvsvc", 3, 2), ("10.0.0.1", "srvsvc", 1, 1), ("10.0.0.5", "srvsvc", 1, 1),
    ]  # fmt: skip
    first = build.START_NS // hour * hour + hour
    assert [time.value for time in pipes["hour"]] == [first, first, first + hour, first]
    frames = [frame_of(one.request, talk, machine) for one in (opens[0], opens[2], opens[3])]
    assert pipes["frame"].tolist()[1:] == frames
    assert [time.value for time in pipes["first_seen"].iloc[1:]] == [
        one.request.time_ns for one in (opens[0], opens[2], opens[3]) if one.request
    ]  # fmt: skip


def test_the_detail_decides_the_rows_and_not_the_findings(path: Path) -> None:
    anonymous, user, guest = Smb2(), Smb2("10.0.0.5", at=1), Smb2("10.0.0.6", at=2)
    anonymous.anonymous_use(0x11, "srvsvc")
    user.credentialed_use(0x22, "srvsvc")
    guest.login(0x33, ALICE, session_flags=1)
    guest.tree(0x33, 1)
    guest.use(0x33, 1, "srvsvc")
    some, every = (
        analyzer.analyze(write(path, anonymous, user, guest), detail=detail) for detail in ("default", "all")
    )
    assert [who for _, who, _ in opens_of(some)] == ["anonymous", "guest"]
    assert [who for _, who, _ in opens_of(every)] == ["anonymous", "user", "guest"]
    for name in ("sessions", "trees", "connections", "credentialed_uses", "pipes", "clients", "servers", "coverage"):
        pd.testing.assert_frame_equal(some.table(name), every.table(name), obj=name)
    pd.testing.assert_frame_equal(some.dependencies, every.dependencies)


def test_a_reconnect_names_the_session_before(path: Path) -> None:
    """PreviousSessionId says which session is taken up again; it is one of its own all the same. [MS-SMB2 3.3.5.5.3]"""
    first, second = Smb2(), Smb2(port=50_100, at=1)
    first.login(0x11, ALICE)
    first.tree(0x11, 1)
    second.exchange(
        build.SESSION_SETUP,
        build.setup_request(ANONYMOUS, previous_session_id=0x11),
        build.setup_answer(),
        new_session=0x22,
    )
    second.tree(0x22, 1)
    second.create(0x22, 1, "srvsvc", (7, 7))
    first.wait(5)
    first.create(0x11, 1, "lsarpc", (8, 8))
    analysis = analyzer.analyze(write(path, first, second), detail="all")
    assert plain(analysis.sessions, "identity", "previous_session_id") == [
        ("user", None),
        ("anonymous", "0x0000000000000011"),
    ]
    assert opens_of(analysis) == [("srvsvc", "anonymous", "STATUS_SUCCESS"), ("lsarpc", "user", "STATUS_SUCCESS")]


# Opens whose answers were not captured. #


def without_answers(talk: Smb2 | Smb1) -> Smb2 | Smb1:
    """Only what the client sent was captured."""
    talk.tcp.segments = [segment for segment in talk.tcp.segments if segment.source == talk.tcp.client_end]
    return talk


def inferred(analysis: analyzer.Analysis) -> list[tuple[object, ...]]:
    """What is known of each open."""
    return plain(analysis.pipe_opens, "pipe", "status", "inferred", "bytes_written")


def test_a_handle_that_is_used_was_given(path: Path) -> None:
    """Only the server gives file ids: the open succeeded, though its answer is not there, and so did the login."""
    talk = Smb2()
    talk.anonymous_use(0x11, "srvsvc")
    talk.create(0x11, 1, "lsarpc", (8, 8))
    talk.close(0x11, 1, (8, 8))
    analysis = analyzer.analyze(write(path, without_answers(talk)))
    assert inferred(analysis) == [("srvsvc", None, True, 72), ("lsarpc", None, True, 0)]
    assert analysis.pipe_opens["closed"].notna().all()
    assert plain(analysis.sessions, "identity", "confidence") == [("anonymous", "strong")]
    rows = analysis.dependencies
    assert plain(rows, "resource", "verdict") == [("lsarpc", "depends"), ("srvsvc", "depends")]
    assert rows["evidence"].str.contains("inferred.handle_reuse").all()


def test_a_fid_that_is_used_was_given(path: Path) -> None:
    talk = Smb1(extended=True)
    talk.login_extended(2048)
    talk.tree(2048, 1)
    talk.create(2048, 1, "\\srvsvc", 7)
    talk.transact(2048, 1, 7, bytes(5), bytes(6))
    assert inferred(analyzer.analyze(write(path, without_answers(talk)))) == [("srvsvc", None, True, 5)]


def test_a_login_in_one_message_without_its_answer_has_the_id_that_is_used(path: Path) -> None:
    """Kerberos: the client's side alone shows who asked, and that what it did worked."""
    talk = Smb2()
    talk.one_leg(0x11, build.spnego_init(build.kerberos_request(), [build.OID_KERBEROS]))
    talk.tree(0x11, 1)
    talk.use(0x11, 1, "srvsvc")
    analysis = analyzer.analyze(write(path, without_answers(talk)))
    assert inferred(analysis) == [("srvsvc", None, True, 72)]
    assert plain(analysis.sessions, "asked", "identity", "session_id") == [
        ("kerberos", "unknown", "0x0000000000000011")
    ]


def test_a_handle_that_is_not_used_proves_nothing(path: Path) -> None:
    talk = Smb2()
    talk.login(0x11)
    talk.tree(0x11, 1)
    talk.create(0x11, 1, "srvsvc", (7, 7))
    analysis = analyzer.analyze(write(path, without_answers(talk)))
    assert inferred(analysis) == [("srvsvc", None, False, 0)]
    assert plain(analysis.dependencies, "resource", "verdict") == [("srvsvc", "unknown")]


def test_which_of_two_opens_was_given_a_handle_is_not_known(path: Path) -> None:
    """One of them may have been refused."""
    talk = Smb2()
    talk.login(0x11)
    talk.tree(0x11, 1)
    talk.create(0x11, 1, "srvsvc", (0, 0), status=ACCESS_DENIED)
    talk.create(0x11, 1, "lsarpc", (8, 8))
    talk.write(0x11, 1, (8, 8), bytes(9))
    analysis = analyzer.analyze(write(path, without_answers(talk)))
    assert [row[:3] for row in inferred(analysis)] == [("srvsvc", None, False), ("lsarpc", None, False)]


def test_a_handle_from_before_the_capture_proves_no_open(path: Path) -> None:
    """Without the login the session may have opened files that nobody saw."""
    talk = Smb2(opened=False, dialect=None)
    talk.tree(0x11, 1)
    talk.create(0x11, 1, "srvsvc", (0, 0), status=ACCESS_DENIED)
    talk.write(0x11, 1, (3, 3), bytes(9))
    assert [row[2] for row in inferred(analyzer.analyze(write(path, without_answers(talk))))] == [False]


def test_a_handle_that_was_used_before_the_open_is_none_of_it(path: Path) -> None:
    talk = Smb2()
    talk.login(0x11)
    talk.tree(0x11, 1)
    talk.write(0x11, 1, (3, 3), bytes(9))
    talk.create(0x11, 1, "srvsvc", (0, 0), status=ACCESS_DENIED)
    talk.write(0x11, 1, (3, 3), bytes(9))
    assert [row[2] for row in inferred(analyzer.analyze(write(path, without_answers(talk))))] == [False]
