"""Verdicts that rest on what came before or after: refusals that credentials made up for, and logins that failed."""

from __future__ import annotations

from typing import Any

import pytest

import analyzer
from tests import build
from tests.build import ACCESS_DENIED
from tests.dialogue import ALICE, LOGON_FAILURE, NAME_NOT_FOUND, Exchange, Smb1, Smb2, Talk, lose, named
from tests.summary.verdicts import Cases, Made, Row

CASES = Cases("10.3.0")
CREDENTIALS_WITHIN = 60
"""Seconds after a refusal within which the same with credentials proves that the client does without."""


# covered: it worked, and the client does without. #


def covered(
    client: str, *, after: float = 5, guid: bytes = bytes(range(16)), user: bytes = ALICE, **other: Any
) -> tuple[list[Talk], Exchange]:
    """srvsvc works; an hour later it is refused, and then done on a new connection with credentials."""
    first = Smb2(client, guid=other.pop("first_guid", bytes(range(16))))
    worked = first.anonymous_use(0x11, "srvsvc")
    first.wait(3600)
    refused = first.create(0x11, 1, other.pop("pipe", "srvsvc"), (0, 0), status=other.pop("status", ACCESS_DENIED))
    assert refused.request is not None
    second = Smb2(client, port=50_000, guid=guid)
    second.login(0x22, user)
    second.tree(0x22, 1)
    # The use itself, exactly so long after the refusal.
    shift = refused.request.time_ns + int(after * 1_000_000_000) - second.tcp.now_ns
    second.tcp.segments[:] = [_later(segment, shift) for segment in second.tcp.segments]
    second.tcp.now_ns += shift
    second.create(0x22, 1, "srvsvc", (7, 7), status=other.pop("then", 0))
    assert not other
    return [first, second], worked


def _later(segment: build.Segment, shift: int) -> build.Segment:
    names = ("source", "target", "seq", "ack", "flags", "payload", "have")
    return build.Segment(segment.time_ns + shift, *[getattr(segment, name) for name in names])


def _covered(name: str, verdict: str, **how: Any) -> None:
    """A case of it, which is covered or else depends; either way what is done with credentials is told."""

    def make(client: str) -> Made:
        talks, worked = covered(client, **how)
        extra = [Row("lsarpc", "denied", refused_at="open")] if how.get("pipe") else []
        return talks, [Row("srvsvc", verdict, at=worked, shadowed=True), *extra]

    CASES.case(name)(make)


KERBEROS = build.spnego_init(build.kerberos_request(), [build.OID_KERBEROS])
_covered("refused, then done with credentials by the same client GUID", "covered")
_covered("refused, then done with credentials within the limit", "covered", after=CREDENTIALS_WITHIN - 1)
_covered("refused, then done by the machine's account", "covered", user=named("WS10$"))
_covered("refused, then done with credentials too late", "depends", after=CREDENTIALS_WITHIN + 1)
_covered("done with credentials before the refusal", "depends", after=-10)
_covered("refused, then done by another client GUID", "depends", guid=bytes(range(50, 66)))
_covered("refused, then done by a client without a GUID", "depends", guid=bytes(16), first_guid=bytes(16))
_covered("refused another pipe, then done with credentials", "depends", pipe="lsarpc")
_covered("failed without a refusal, then done with credentials", "depends", status=NAME_NOT_FOUND)
_covered("refused, then refused with credentials too", "depends", then=ACCESS_DENIED)


@CASES.case("refused, then done with credentials on the same connection")
def _same_connection(client: str) -> Made:
    talk = Smb2(client, guid=bytes(16))
    worked = talk.anonymous_use(0x11, "srvsvc")
    talk.create(0x11, 1, "srvsvc", (0, 0), status=ACCESS_DENIED)
    talk.one_leg(0x22, KERBEROS)
    talk.tree(0x22, 1)
    talk.use(0x22, 1, "srvsvc")
    return [talk], [Row("srvsvc", "covered", at=worked, refused_at="open", shadowed=True)]


@CASES.case("SMB 1: refused, then done with credentials on the same connection")
def _same_connection_smb1(client: str) -> Made:
    talk = Smb1(client)
    talk.login(2048)
    talk.tree(2048, 1)
    worked = talk.rap(2048, 1)
    talk.rap(2048, 1, status=ACCESS_DENIED)
    talk.login(2049, "alice", oem=bytes(24), unicode=bytes(24))
    talk.rap(2049, 1)
    return [talk], [Row("rap", "covered", at=worked, shadowed=True)]


@CASES.case("never refused, and also done with credentials")
def _coincidence(client: str) -> Made:
    first, second = Smb2(client), Smb2(client, port=50_000, at=2)
    worked = first.anonymous_use(0x11, "srvsvc")
    second.credentialed_use(0x22, "srvsvc")
    return [first, second], [Row("srvsvc", "depends", at=worked, shadowed=True)]


@CASES.case("covered, and another use is not known")
def _covered_unknown(client: str) -> Made:
    talk = Smb2(client)
    talk.anonymous_use(0x11, "srvsvc")
    talk.create(0x11, 1, "srvsvc", (0, 0), status=ACCESS_DENIED)
    talk.login(0x22, ALICE)
    talk.tree(0x22, 1)
    talk.use(0x22, 1, "srvsvc")
    lose(talk, talk.create(0x11, 1, "srvsvc", (9, 9)).answer)
    return [talk], [Row("srvsvc", "unknown", shadowed=True)]


# What is no row, and what a login that failed before has to do with it. #


@CASES.case("a user, a machine, Kerberos, and a failed login")
def _credentialed(client: str) -> Made:
    talk = Smb2(client)
    talk.credentialed_use(0x11, "srvsvc")
    talk.credentialed_use(0x22, "netlogon", user=named("WS10$"))
    talk.one_leg(0x33, KERBEROS)
    talk.login(0x44, ALICE, status=LOGON_FAILURE)
    talk.one_leg(0x55, KERBEROS, status=ACCESS_DENIED)
    return [talk], []


@CASES.case("a failed login, then anonymous")
def _fallback(client: str) -> Made:
    talk = Smb2(client)
    talk.login(0x11, ALICE, status=LOGON_FAILURE)
    opened = talk.anonymous_use(0x22, "srvsvc")
    return [talk], [Row("srvsvc", "depends", at=opened, root_cause=("CORP\\alice", "STATUS_LOGON_FAILURE"))]


@CASES.case("a failed Kerberos login, then anonymous")
def _fallback_kerberos(client: str) -> Made:
    """Nobody's name is visible; the login that is to be repaired is told all the same."""
    talk = Smb2(client)
    talk.one_leg(0x11, KERBEROS, status=LOGON_FAILURE)
    opened = talk.anonymous_use(0x22, "srvsvc")
    return [talk], [Row("srvsvc", "depends", at=opened, root_cause=("STATUS_LOGON_FAILURE",))]


@CASES.case("a failed login on another connection, then anonymous")
def _fallback_elsewhere(client: str) -> Made:
    """Clients close the connection on which a login failed; the client GUID says that it is the same client."""
    first, second = Smb2(client), Smb2(client, port=50_000, at=0.5)
    first.login(0x11, ALICE, status=LOGON_FAILURE)
    first.tcp.close()
    opened = second.anonymous_use(0x22, "srvsvc")
    return [first, second], [Row("srvsvc", "depends", at=opened, root_cause=("CORP\\alice", "STATUS_LOGON_FAILURE"))]


@CASES.case("anonymous, then a failed login")
def _failed_later(client: str) -> Made:
    talk = Smb2(client)
    opened = talk.anonymous_use(0x22, "srvsvc")
    talk.login(0x11, ALICE, status=LOGON_FAILURE)
    return [talk], [Row("srvsvc", "depends", at=opened)]


@CASES.case("a failed login, refused anonymously as well")
def _fallback_refused(client: str) -> Made:
    talk = Smb2(client)
    talk.login(0x11, ALICE, status=LOGON_FAILURE)
    login = talk.login(0x22, status=ACCESS_DENIED)
    row = Row(
        None, "denied", "anonymous_rejected", "session_setup", at=login, root_cause=("alice", "STATUS_LOGON_FAILURE")
    )
    return [talk], [row]


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> analyzer.Analysis:
    """All cases in one capture."""
    return CASES.analyze(tmp_path_factory.mktemp("verdicts") / "c.pcap")


@pytest.mark.parametrize("name", CASES.made)
def test_the_verdict(name: str, analysis: analyzer.Analysis) -> None:
    assert not CASES.differences(name, analysis.dependencies)
