"""Whose session it was, where the capture lacks something: a leg, an answer, a direction, the beginning.

What is missing is taken out of the capture, as a capture point loses it: TCP goes on, the bytes are not there.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

import analyzer
from tests import build
from tests.dialogue import (
    ALICE,
    IS_GUEST,
    IS_NULL,
    LOGON_FAILURE,
    Exchange,
    Smb1,
    Smb2,
    lose,
    named,
)
from tests.sessions.told import ANY, Case, Cases, Period, differences

CASES = Cases()
UNKNOWN = Period(None, "unknown", None, ANY)
CERTAIN = Period("anonymous", "anonymous", "certain")


def case(name: str, *periods: Period) -> Callable[[Callable[[str], Smb1 | Smb2]], None]:
    """The function is the case."""
    return lambda talk: CASES.add(name, talk, *periods)


# Rows 5 and 6: the final answer is missing. #


@case(
    "answer lost, the session works",
    Period("anonymous", "anonymous", "strong", "unanswered", None, signs=("answer.missing", "later.success", "guest.not_excluded")),
)  # fmt: skip
def _answer_lost(client: str) -> Smb2:
    talk = Smb2(client)
    lose(talk, talk.login(0x11).answer)
    talk.tree(0x11, 1)
    talk.use(0x11, 1, "srvsvc")
    return talk


@case(
    "SMB 1, answer lost, the session works",
    Period("anonymous", "anonymous", "strong", "unanswered", None, signs=("answer.missing",)),
)
def _answer_lost_smb1(client: str) -> Smb1:
    talk = Smb1(client, extended=True)
    lose(talk, talk.login_extended(2048).answer)
    talk.tree(2048, 1)
    talk.create(2048, 1, "\\srvsvc", 7)
    return talk


@case(
    "answer lost, nothing later",
    Period("anonymous", "unknown", None, "unanswered", None, signs=("answer.missing",), without=("later.success",)),
)
def _answer_lost_nothing_later(client: str) -> Smb2:
    talk = Smb2(client)
    lose(talk, talk.login(0x11).answer)
    return talk


@case(
    "answer lost, all later requests fail",
    Period("anonymous", "unknown", None, "unanswered", None, without=("later.success",)),
)
def _answer_lost_later_errors(client: str) -> Smb2:
    talk = Smb2(client)
    lose(talk, talk.login(0x11).answer)
    talk.tree(0x11, 1, status=0xC0000203)  # STATUS_USER_SESSION_DELETED: the login had failed
    return talk


@case("a user's answer lost, the session works", Period("named", "unknown", ANY, "unanswered", None, user="alice"))
def _user_answer_lost(client: str) -> Smb2:
    # Success proves that the login succeeded, not as whom: it may have been mapped to guest.
    talk = Smb2(client)
    lose(talk, talk.login(0x11, ALICE).answer)
    talk.tree(0x11, 1)
    return talk


@case(
    "answer lost on one session id does not borrow from another",
    Period("anonymous", "unknown", None, "unanswered", None),
    Period("named", "user", "certain"),
)
def _two_ids(client: str) -> Smb2:
    talk = Smb2(client)
    lose(talk, talk.login(0x11).answer)
    talk.credentialed_use(0x22, "srvsvc")
    return talk


# The request is missing. #


@case("AUTHENTICATE lost, accepted", Period(None, "unknown", None, user=None, signs=("status.success",)))
def _request_lost(client: str) -> Smb2:
    talk = Smb2(client)
    lose(talk, talk.login(0x11).request)
    talk.tree(0x11, 1)
    return talk


@case("AUTHENTICATE lost, null flag", Period(None, "anonymous", "certain", user=None, signs=("smb2.flag_null",)))
def _request_lost_null(client: str) -> Smb2:
    talk = Smb2(client)
    lose(talk, talk.login(0x11, session_flags=IS_NULL).request)
    return talk


@case("AUTHENTICATE lost, guest flag", Period(None, "guest", ANY, user=None))
def _request_lost_guest(client: str) -> Smb2:
    talk = Smb2(client)
    lose(talk, talk.login(0x11, session_flags=IS_GUEST).request)
    return talk


@case("AUTHENTICATE lost, refused", Period(None, "rejected", "certain", "refused", "STATUS_LOGON_FAILURE"))
def _request_lost_refused(client: str) -> Smb2:
    talk = Smb2(client)
    lose(talk, talk.login(0x11, status=LOGON_FAILURE).request)
    return talk


# Another leg is missing: nothing is lost by it. #


@case("challenge lost", CERTAIN)
def _challenge_lost(client: str) -> Smb2:
    talk = Smb2(client)
    lose(talk, talk.challenge(0x11).answer)
    talk.authenticate(0x11)
    return talk


@case("first request lost", CERTAIN)
def _first_lost(client: str) -> Smb2:
    talk = Smb2(client)
    lose(talk, talk.challenge(0x11).request)
    talk.authenticate(0x11)
    return talk


@case("whole first leg lost", CERTAIN)
def _leg_lost(client: str) -> Smb2:
    talk = Smb2(client)
    leg = talk.challenge(0x11)
    lose(talk, leg.request, leg.answer)
    talk.authenticate(0x11)
    return talk


@case("negotiation lost", CERTAIN)
def _negotiation_lost(client: str) -> Smb2:
    talk = Smb2(client, opened=False, dialect=None)
    talk.login(0x11)
    return talk


# Row 19: no claim was made, or none was captured. #


@case("challenge seen, no AUTHENTICATE", Period(None, "unknown", None, "abandoned", without=("status.success",)))
def _given_up(client: str) -> Smb2:
    talk = Smb2(client)
    talk.challenge(0x11)
    talk.tcp.close()
    return talk


@case("challenge seen, the anonymous flag in NEGOTIATE, no AUTHENTICATE", Period(None, "unknown", None, "abandoned"))
def _given_up_flag(client: str) -> Smb2:
    talk = Smb2(client)
    first = build.spnego_init(build.ntlm_negotiate(build.NTLM_FLAGS | build.NTLM_ANONYMOUS))
    more = build.setup_answer(build.spnego_answer(build.ntlm_challenge(), state=1))
    talk.exchange(build.SESSION_SETUP, build.setup_request(first), more, status=build.MORE_PROCESSING, new_session=0x11)
    return talk


@case("SMB 1 challenge seen, no AUTHENTICATE", Period(None, "unknown", None, "abandoned"))
def _given_up_smb1(client: str) -> Smb1:
    talk = Smb1(client, extended=True)
    lose(talk, *_both(talk.login_extended(2048)))
    return talk


def _both(exchange: object) -> tuple[build.Segment | None, build.Segment | None]:
    return exchange.request, exchange.answer  # type: ignore[attr-defined]


@case("only a first request", Period(None, "unknown", None, ANY))
def _only_first(client: str) -> Smb2:
    talk = Smb2(client)
    lose(talk, talk.challenge(0x11).answer)
    return talk


@case("challenge refused", Period(None, "rejected", "certain", "refused", "STATUS_LOGON_FAILURE"))
def _challenge_refused(client: str) -> Smb2:
    talk = Smb2(client)
    token = build.spnego_init(build.ntlm_negotiate())
    talk.exchange(build.SESSION_SETUP, build.setup_request(token), b"", status=LOGON_FAILURE, new_session=0x11)
    return talk


@case("both claim and answer lost, the session works", Period(None, "unknown", None, ANY, signs=()))
def _last_leg_lost(client: str) -> Smb2:
    talk = Smb2(client)
    last = talk.login(0x11)
    lose(talk, last.request, last.answer)
    talk.tree(0x11, 1)
    talk.use(0x11, 1, "srvsvc")
    return talk


# A token that is longer than its message goes on in the next leg. #

TOKEN = build.spnego_init(named("alice"))


def split(talk: Smb2 | Smb1, session: int, blob: bytes, *places: int, status: int = 0) -> list[Exchange]:
    """A login whose token comes in parts, cut at these places."""
    parts = [blob[begin:end] for begin, end in pairwise((0, *places, len(blob)))]
    legs = []
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        header = {"status": status if is_last else build.MORE_PROCESSING}
        if isinstance(talk, Smb2):
            request, answer = build.setup_request(part), build.setup_answer()
            ids = {"session": session if number else 0, "new_session": session}
            legs.append(talk.exchange(build.SESSION_SETUP, request, answer, **header, **ids))
        else:
            said = build.smb1_setup_answer(0, "Unix", token=b"")
            ids = {"uid": session if number else 0, "new_uid": session}
            legs.append(talk.exchange(build.smb1_setup_blob(part, "Unix"), said, **header, **ids))
    return legs


@case("a name's token in two parts", Period("named", "user", "certain", user="alice"))
def _split(client: str) -> Smb2:
    talk = Smb2(client)
    split(talk, 0x11, TOKEN, 200)
    return talk


@case("SMB 1, a name's token in three parts", Period("named", "user", "certain", user="alice"))
def _split_smb1(client: str) -> Smb1:
    talk = Smb1(client, extended=True)
    split(talk, 2048, TOKEN, 200, 205)
    return talk


@case("Kerberos in three parts", Period("kerberos", "authenticated", "certain"))
def _split_kerberos(client: str) -> Smb2:
    talk = Smb2(client)
    split(talk, 0x11, build.spnego_init(build.kerberos_request(size=3000), [build.OID_KERBEROS]), 1000, 2000)
    return talk


@case("a split token, refused", Period("named", "rejected", "certain", "refused", user="alice"))
def _split_refused(client: str) -> Smb2:
    talk = Smb2(client)
    split(talk, 0x11, TOKEN, 200, status=LOGON_FAILURE)
    return talk


@case(
    "a split token whose first part shows no claim", Period(None, "unknown", None, "accepted", without=("other.token",))
)
def _split_early(client: str) -> Smb2:
    talk = Smb2(client)
    split(talk, 0x11, TOKEN, 20)
    return talk


@case(
    "a split token, and an anonymous login on the same id after it",
    Period("named", "user", "certain", user="alice"),
    CERTAIN,
)
def _split_then_anonymous(client: str) -> Smb2:
    talk = Smb2(client)
    split(talk, 0x11, TOKEN, 200)
    talk.login(0x11, known=True)
    return talk


@case(
    "a split token whose last answer was lost",
    Period("named", "unknown", ANY, "unanswered", None, user="alice"),
)
def _split_unanswered(client: str) -> Smb2:
    talk = Smb2(client)
    lose(talk, split(talk, 0x11, TOKEN, 200)[-1].answer)
    talk.tree(0x11, 1)
    return talk


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> analyzer.Analysis:
    """All cases in one capture."""
    return CASES.analyze(tmp_path_factory.mktemp("missing") / "c.pcap")


@pytest.mark.parametrize("case", CASES.cases, ids=str)
def test_what_is_missing_proves_nothing(case: Case, analysis: analyzer.Analysis) -> None:
    assert not differences(analysis.sessions, CASES.address(case), case.periods)
