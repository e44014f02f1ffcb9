"""Whose session it was, where the capture began too late, or saw one direction only."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import analyzer
from tests import build
from tests.build import ACCESS_DENIED
from tests.dialogue import (
    ALICE,
    Smb1,
    Smb2,
    lose,
)
from tests.sessions.told import ANY, Case, Cases, Period, differences

CASES = Cases()
UNKNOWN = Period(None, "unknown", None, ANY)
CERTAIN = Period("anonymous", "anonymous", "certain")


def case(name: str, *periods: Period) -> Callable[[Callable[[str], Smb1 | Smb2]], None]:
    """The function is the case."""
    return lambda talk: CASES.add(name, talk, *periods)


def from_server(talk: Smb1 | Smb2) -> list[build.Segment]:
    """What the server sent of it."""
    return [segment for segment in talk.tcp.segments if segment.source == talk.tcp.server_end]


def from_client(talk: Smb1 | Smb2) -> list[build.Segment]:
    """What the client sent of it."""
    return [segment for segment in talk.tcp.segments if segment.source == talk.tcp.client_end]


# Row 21: the beginning is missing. #


def midstream(client: str, dialect: int | None = None) -> Smb2:
    """A connection whose login is not in the capture; with a dialect its negotiation is."""
    talk = Smb2(client, opened=dialect is not None, dialect=dialect)
    login = talk.login(0x11), talk.tcp.segments[-4:]
    lose(talk, *login[1])
    return talk


@case("no login captured", Period(None, "unknown", None, "not_captured", user=None))
def _no_login(client: str) -> Smb2:
    talk = midstream(client)
    talk.tree(0x11, 1)
    talk.use(0x11, 1, "srvsvc")
    return talk


@case("no login captured, signed", Period(None, "unknown", None, "not_captured", signs=("hint.signed",)))
def _no_login_signed(client: str) -> Smb2:
    talk = midstream(client)
    talk.tree(0x11, 1, flags=build.SIGNED)
    return talk


@case("no login captured, encrypted", Period(None, "unknown", None, "not_captured", signs=("hint.encrypted",)))
def _no_login_encrypted(client: str) -> Smb2:
    talk = midstream(client)
    talk.tcp.client(build.framed(build.encrypted(0x11)))
    talk.tcp.server(build.framed(build.encrypted(0x11)))
    return talk


@case(
    "no login captured, 3.1.1, unsigned tree connect",
    Period(None, "unknown", None, "not_captured", signs=("hint.unsigned_311",)),
)
def _no_login_311(client: str) -> Smb2:
    talk = midstream(client, 0x0311)
    talk.tree(0x11, 1)
    return talk


@case(
    "no login captured, 3.0, unsigned tree connect",
    Period(None, "unknown", None, "not_captured", without=("hint.unsigned_311",)),
)
def _no_login_30(client: str) -> Smb2:
    talk = midstream(client, 0x0300)
    talk.tree(0x11, 1)
    return talk


@case("SMB 1, no login captured", Period(None, "unknown", None, "not_captured"))
def _no_login_smb1(client: str) -> Smb1:
    talk = Smb1(client, negotiated=False)
    talk.tree(2048, 1)
    talk.create(2048, 1, "\\srvsvc", 7)
    return talk


@case("an invented session id is no session")
def _invented(client: str) -> Smb2:
    talk = midstream(client, 0x0210)
    talk.tree(0xBAD, 1, status=0xC0000203)
    return talk


@case("no login captured, then one on the same id", UNKNOWN, CERTAIN)
def _then_login(client: str) -> Smb2:
    talk = midstream(client)
    talk.tree(0x11, 1)
    talk.login(0x11, known=True)
    return talk


@case("no login captured, then a user's on the same id", UNKNOWN, Period("named", "user", "certain"))
def _then_user(client: str) -> Smb2:
    talk = midstream(client)
    talk.tree(0x11, 1)
    talk.login(0x11, ALICE, known=True)
    return talk


# One direction only. #


@case(
    "only the client's side, ids in use",
    Period(
        "anonymous",
        "anonymous",
        "strong",
        "unanswered",
        None,
        signs=("answer.missing", "inferred.handle_reuse", "guest.not_excluded"),
    ),
)
def _client_only(client: str) -> Smb2:
    talk = Smb2(client)
    talk.anonymous_use(0x11, "srvsvc")
    lose(talk, *from_server(talk))
    return talk


@case("only the client's side, nothing that proves success", Period("anonymous", "unknown", None, "unanswered", None))
def _client_only_login(client: str) -> Smb2:
    talk = Smb2(client)
    talk.login(0x11)
    lose(talk, *from_server(talk))
    return talk


@case("only the client's side, a user", Period("named", "unknown", ANY, "unanswered", None, user="alice"))
def _client_only_user(client: str) -> Smb2:
    talk = Smb2(client)
    talk.credentialed_use(0x11, "srvsvc")
    lose(talk, *from_server(talk))
    return talk


@case("only the server's side", Period(None, "unknown", None, user=None, signs=("status.success",)))
def _server_only(client: str) -> Smb2:
    talk = Smb2(client)
    talk.anonymous_use(0x11, "srvsvc")
    lose(talk, *from_client(talk))
    return talk


@case("only the server's side, refused", Period(None, "rejected", "certain", "refused", "STATUS_ACCESS_DENIED"))
def _server_only_refused(client: str) -> Smb2:
    talk = Smb2(client)
    talk.login(0x11, status=ACCESS_DENIED)
    lose(talk, *from_client(talk))
    return talk


@case(
    "SMB 1, only the client's side",
    Period("anonymous", "anonymous", "strong", "unanswered", None, signs=("inferred.handle_reuse",)),
)
def _client_only_smb1(client: str) -> Smb1:
    talk = Smb1(client, extended=True)
    talk.login_extended(2048)
    talk.tree(2048, 1)
    talk.create(2048, 1, "\\srvsvc", 7)
    lose(talk, *from_server(talk))
    return talk


def plain_login(client: str, user: str = "", *, uid: int = 2048) -> Smb1:
    """A login in one message and what follows it, of which only the client's side was captured."""
    talk = Smb1(client)
    talk.login(2048, user, **({"oem": bytes(24), "unicode": bytes(24)} if user else {}))
    talk.tree(uid, 1)
    talk.create(uid, 1, "\\srvsvc", 7)
    lose(talk, *from_server(talk))
    return talk


@case(
    "SMB 1 in one message, only the client's side",
    Period(
        "anonymous", "anonymous", "strong", "unanswered", None, signs=("inferred.handle_reuse", "guest.not_excluded")
    ),
)
def _client_only_plain(client: str) -> Smb1:
    return plain_login(client)


@case(
    "SMB 1 in one message, only the client's side, and an invented id",
    Period("anonymous", "unknown", None, "unanswered", None, without=("inferred.handle_reuse",)),
)
def _client_only_invented(client: str) -> Smb1:
    talk = Smb1(client)
    talk.login(2048, status=ACCESS_DENIED)
    talk.tree(4711, 0, status=ACCESS_DENIED)
    lose(talk, *from_server(talk))
    return talk


@case(
    "SMB 1 in one message, only the client's side, a user", Period("named", "unknown", ANY, "unanswered", user="alice")
)
def _client_only_plain_user(client: str) -> Smb1:
    return plain_login(client, "alice")


@case(
    "SMB 1 in one message, only the client's side, and a second login",
    Period("anonymous", "unknown", None, "unanswered", None),
    Period("named", "unknown", ANY, "unanswered", None, user="alice"),
)
def _client_only_two(client: str) -> Smb1:
    """Which of the two was given the id is not known; one may have been refused."""
    talk = Smb1(client)
    talk.login(2048)
    talk.login(2049, "alice", oem=bytes(24), unicode=bytes(24))
    talk.tree(2049, 1)
    lose(talk, *from_server(talk))
    return talk


@case(
    "SMB 1 in one message, only the client's side, and nothing after it",
    Period("anonymous", "unknown", None, "unanswered", None, without=("inferred.handle_reuse",)),
)
def _client_only_nothing(client: str) -> Smb1:
    talk = Smb1(client)
    talk.login(2048)
    lose(talk, *from_server(talk))
    return talk


@case(
    "SMB 1 in one message, an answer lost among others",
    Period("anonymous", "unknown", None, "unanswered", None),
    Period(None, "unknown", None, "not_captured", None),
)
def _gap_plain(client: str) -> Smb1:
    """What the capture lost may have been another login."""
    talk = Smb1(client)
    lose(talk, talk.login(2048).answer)
    talk.tree(2048, 1)
    return talk


@case(
    "only the client's side, a tree connect that carries a stale tree id",
    Period("anonymous", "unknown", None, "unanswered", None, without=("inferred.handle_reuse",)),
)
def _client_only_stale(client: str) -> Smb1:
    """It says nothing of the login before it, which may have been refused."""
    talk = Smb1(client, extended=True)
    talk.login_extended(2048)
    talk.exchange(build.smb1_tree(r"\\FILES1\IPC$"), build.failed(0x75), uid=2048, tid=77)
    lose(talk, *from_server(talk))
    return talk


@case("SMB 1, only the server's side", Period(None, "unknown", None, user=None))
def _server_only_smb1(client: str) -> Smb1:
    talk = Smb1(client)
    talk.login(2048)
    talk.tree(2048, 1)
    lose(talk, *from_client(talk))
    return talk


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> analyzer.Analysis:
    """All cases in one capture."""
    return CASES.analyze(tmp_path_factory.mktemp("missing") / "c.pcap")


@pytest.mark.parametrize("case", CASES.cases, ids=str)
def test_what_is_missing_proves_nothing(case: Case, analysis: analyzer.Analysis) -> None:
    assert not differences(analysis.sessions, CASES.address(case), case.periods)


def test_the_directions_are_told(analysis: analyzer.Analysis) -> None:
    by_client = analysis.connections.set_index("client_ip")["directions"]
    for case in CASES.cases:
        sides = {"only the client's": "client", "only the server's": "server"}
        wanted = next((side for words, side in sides.items() if words in case.name), "both")
        if "only" not in case.name or wanted != "both":
            assert by_client[CASES.address(case)] == wanted, case
