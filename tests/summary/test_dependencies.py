"""Verdicts: what was built, and who therefore depends on what. What comes before a use is in test_dependencies_before.py,
counts, places and times are in test_dependency_rows.py.
"""

from __future__ import annotations

import pytest

import analyzer
from tests import build
from tests.build import ACCESS_DENIED
from tests.dialogue import (
    ALICE,
    BAD_NETWORK_NAME,
    IS_GUEST,
    LOGON_FAILURE,
    NAME_NOT_FOUND,
    Exchange,
    Smb1,
    Smb2,
    Talk,
    lose,
    named,
)
from tests.summary.verdicts import Cases, Made, Row

CASES = Cases("10.2.0")


# depends: it worked anonymously. #


@CASES.case("a pipe that answers")
def _pipe(client: str) -> Made:
    talk = Smb2(client)
    opened = talk.anonymous_use(0x11, "srvsvc")
    return [talk], [
        Row("srvsvc", "depends", confidence="strong", at=opened, evidence=("pipe.not_rpc", "ntlm.empty_user"))
    ]


@CASES.case("a pipe as guest")
def _guest(client: str) -> Made:
    talk = Smb2(client)
    talk.login(0x11, ALICE, session_flags=IS_GUEST)
    talk.tree(0x11, 1)
    opened = talk.use(0x11, 1, "srvsvc")
    return [talk], [Row("srvsvc", "depends", "guest", at=opened)]


@CASES.case("a pipe whose open fails for another reason than access")
def _pipe_missing(client: str) -> Made:
    talk = Smb2(client)
    return [talk], [
        Row("nosuch", "depends", refused_at=None, at=talk.refused_use(0x11, "nosuch", status=NAME_NOT_FOUND))
    ]


@CASES.case("RAP, DFS and a disk share")
def _others(client: str) -> Made:
    smb1, smb2 = Smb1(client), Smb2(client, port=50_000, at=1)
    smb1.login(2048)
    smb1.tree(2048, 1)
    rap = smb1.rap(2048, 1)
    smb2.login(0x11)
    smb2.tree(0x11, 1)
    dfs = smb2.dfs(0x11, 1)
    share = smb2.tree(0x11, 2, "PUBLIC")
    smb2.create(0x11, 2, "a.txt", (7, 7))
    return [smb1, smb2], [
        Row("PUBLIC", "depends", at=share),
        Row("dfs", "depends", at=dfs),
        Row("rap", "depends", at=rap),
    ]


@CASES.case("one use worked, others were refused")
def _mixed(client: str) -> Made:
    talk = Smb2(client)
    talk.refused_use(0x11, "srvsvc")
    worked = talk.use(0x11, 1, "srvsvc")
    talk.create(0x11, 1, "srvsvc", (0, 0), status=ACCESS_DENIED)
    return [talk], [Row("srvsvc", "depends", refused_at="open", at=worked)]


@CASES.case("one use worked, another is not known")
def _mixed_unknown(client: str) -> Made:
    talk = Smb2(client)
    worked = talk.anonymous_use(0x11, "srvsvc")
    lose(talk, talk.create(0x11, 1, "srvsvc", (8, 8)).answer)
    return [talk], [Row("srvsvc", "depends", at=worked)]


# unknown: it may have. #


@CASES.case("no login captured")
def _midstream(client: str) -> Made:
    talk = Smb2(client, opened=False, dialect=None)
    talk.tree(0x11, 1)
    opened = talk.use(0x11, 1, "srvsvc")
    return [talk], [Row("srvsvc", "unknown", "unknown", confidence=None, at=opened, reason="login")]


@CASES.case("the open's answer lost")
def _open_answer(client: str) -> Made:
    talk = Smb2(client)
    talk.login(0x11)
    talk.tree(0x11, 1)
    opened = talk.create(0x11, 1, "srvsvc", (7, 7))
    lose(talk, opened.answer)
    return [talk], [Row("srvsvc", "unknown", at=opened, reason="answer to the open")]


@CASES.case("the login's answer lost, nothing later")
def _login_answer(client: str) -> Made:
    talk = Smb2(client)
    login = talk.login(0x11)
    lose(talk, login.answer)
    return [talk], [Row(None, "unknown", "unknown", at=login, reason="answer to the login")]


@CASES.case("a login that does not show whose it was")
def _unclear(client: str) -> Made:
    talk = Smb2(client)
    talk.login(0x11, named("bob", lm=b""))
    talk.tree(0x11, 1)
    opened = talk.use(0x11, 1, "srvsvc")
    return [talk], [Row("srvsvc", "unknown", "unknown", at=opened, reason="login")]


@CASES.case("the anonymous login fails for another reason than access")
def _login_trouble(client: str) -> Made:
    talk = Smb2(client)
    login = talk.login(0x11, status=0xC000009A)  # STATUS_INSUFFICIENT_RESOURCES
    return [talk], [Row(None, "unknown", "anonymous_rejected", at=login)]


@CASES.case("IPC$ fails for another reason than access")
def _tree_trouble(client: str) -> Made:
    talk = Smb2(client)
    talk.login(0x11)
    tree = talk.tree(0x11, 1, status=BAD_NETWORK_NAME)
    return [talk], [Row("IPC$", "unknown", at=tree)]


@CASES.case("one use is not known, others were refused")
def _unknown_and_denied(client: str) -> Made:
    talk = Smb2(client)
    talk.refused_use(0x11, "srvsvc")
    lost = talk.create(0x11, 1, "srvsvc", (7, 7))
    lose(talk, lost.answer)
    return [talk], [Row("srvsvc", "unknown", at=lost, refused_at="open")]


@CASES.case("only the client's side")
def _client_side(client: str) -> Made:
    """What the client asked for is seen, and not what came of it: never `denied`, never `probe`."""
    talk = Smb2(client)
    talk.login(0x11)
    talk.tree(0x11, 1)
    opened = talk.create(0x11, 1, "srvsvc", (7, 7))
    lose(talk, *[segment for segment in talk.tcp.segments if segment.source == talk.tcp.server_end])
    return [talk], [Row("srvsvc", "unknown", at=opened)]


@CASES.case("only the client's side, which uses the handle that it must have been given")
def _client_side_handle(client: str) -> Made:
    talk = Smb2(client)
    opened = talk.anonymous_use(0x11, "srvsvc")
    lose(talk, *[segment for segment in talk.tcp.segments if segment.source == talk.tcp.server_end])
    return [talk], [Row("srvsvc", "depends", at=opened, evidence=("inferred.handle_reuse",))]


# denied, at each rung. #

REFUSALS = (
    (ACCESS_DENIED, "STATUS_ACCESS_DENIED"),
    (LOGON_FAILURE, "STATUS_LOGON_FAILURE"),
    (0xC000015B, "STATUS_LOGON_TYPE_NOT_GRANTED"),
    (0xC00000BB, "STATUS_NOT_SUPPORTED"),
    (0xC0000418, "STATUS_NTLM_BLOCKED"),
)


def _refused_login(status: int, name: str) -> None:
    @CASES.case(f"the login refused with {name}")
    def make(client: str) -> Made:
        talk = Smb2(client)
        login = talk.login(0x11, status=status)
        row = Row(None, "denied", "anonymous_rejected", "session_setup", "certain", login, evidence=("login.refused",))
        return [talk], [row]


for refusal in REFUSALS:
    _refused_login(*refusal)


@CASES.case("IPC$ refused")
def _tree_refused(client: str) -> Made:
    talk = Smb2(client)
    talk.login(0x11)
    tree = talk.tree(0x11, 1, status=ACCESS_DENIED)
    return [talk], [Row("IPC$", "denied", refused_at="tree_connect", confidence="certain", at=tree)]


@CASES.case("the server drops the connection at the first tree connect")
def _dropped(client: str) -> Made:
    """A server with AllowAnonymousAccess off does. [MS-SMB2 3.3.5.2.9]"""
    talk = Smb2(client, dialect=0x0300)
    talk.login(0x11)
    tree = talk.ask(build.TREE_CONNECT, build.tree_request(r"\\FILES1\IPC$"), session_id=0x11)
    talk.tcp.send(from_server=True, flags=build.RST | build.ACK)
    return [talk], [Row("IPC$", "denied", refused_at="tree_connect", at=Exchange(tree, None))]


@CASES.case("a share refused")
def _share_refused(client: str) -> Made:
    talk = Smb2(client)
    talk.login(0x11)
    tree = talk.tree(0x11, 1, "DATA", status=ACCESS_DENIED)
    return [talk], [Row("DATA", "denied", refused_at="tree_connect", at=tree)]


@CASES.case("a pipe refused")
def _pipe_refused(client: str) -> Made:
    talk = Smb2(client)
    return [talk], [Row("samr", "denied", refused_at="open", confidence="certain", at=talk.refused_use(0x11, "samr"))]


@CASES.case("RAP refused")
def _rap_refused(client: str) -> Made:
    talk = Smb1(client)
    talk.login(2048)
    talk.tree(2048, 1)
    return [talk], [Row("rap", "denied", at=talk.rap(2048, 1, status=ACCESS_DENIED))]


@CASES.case("refused, and done with credentials all along")
def _refused_shadowed(client: str) -> Made:
    talk = Smb2(client)
    refused = talk.refused_use(0x11, "srvsvc")
    talk.credentialed_use(0x22, "srvsvc")
    return [talk], [Row("srvsvc", "denied", refused_at="open", at=refused, shadowed=True)]


# probe, or a regular one. #


@CASES.case("a session and nothing more")
def _probe(client: str) -> Made:
    talk = Smb2(client)
    login = talk.login(0x11)
    talk.logoff(0x11)
    talk.tcp.close()
    return [talk], [Row(None, "probe", refused_at=None, at=login)]


@CASES.case("a session whose connection has encrypted messages, and nothing more")
def _encrypted_use(client: str) -> Made:
    talk = Smb2(client, dialect=0x0311)
    login = talk.login(0x11)
    talk.tcp.client(build.framed(build.encrypted(0x11)))
    talk.tcp.server(build.framed(build.encrypted(0x11)))
    return [talk], [Row(None, "unknown", at=login, reason="encrypted", evidence=("session.encrypted",))]


@CASES.case("a session whose connection has compressed messages, and nothing more")
def _compressed_use(client: str) -> Made:
    talk = Smb2(client, dialect=0x0311)
    login = talk.login(0x11)
    talk.tree(0x11, 1)
    request = build.smb2(build.WRITE, build.write_request((7, 7), bytes(900)), session_id=0x11, tree_id=1, message_id=9)
    talk.tcp.client(build.framed(build.compressed(request)))
    talk.tcp.close()
    return [talk], [Row("IPC$", "unknown", at=login, reason="compressed", evidence=("session.compressed",))]


@CASES.case("a session whose connection has a gap, and nothing more")
def _unseen(client: str) -> Made:
    """The lost bytes may have been a pipe's. Only what is known to be all of it can be nothing."""
    talk = Smb2(client)
    login = talk.login(0x11)
    first = len(talk.tcp.segments)
    talk.tcp.client(bytes(300))
    del talk.tcp.segments[first:]  # sent, and not captured
    talk.logoff(0x11)
    talk.tcp.close()
    return [talk], [Row(None, "unknown", refused_at=None, at=login, reason="not in the captures")]


@CASES.case("a session and IPC$, and nothing more")
def _probe_ipc(client: str) -> Made:
    talk = Smb2(client)
    login = talk.login(0x11)
    talk.tree(0x11, 1)
    talk.logoff(0x11)
    return [talk], [Row("IPC$", "probe", at=login)]


@CASES.case("a login refused, and later a session with nothing done")
def _denied_and_probe(client: str) -> Made:
    first, second = Smb2(client), Smb2(client, port=50_000, at=600)
    refused = first.login(0x11, status=ACCESS_DENIED)
    second.login(0x22)
    return [first, second], [Row(None, "denied", "anonymous_rejected", "session_setup", at=refused)]


def sessions_at(client: str, times: list[float]) -> list[Talk]:
    """Sessions in which nothing is done."""
    talks: list[Talk] = []
    for number, at in enumerate(times):
        talk = Smb2(client, port=50_000 + number, at=at)
        talk.login(0x100 + number)
        talk.logoff(0x100 + number)
        talk.tcp.close()
        talks.append(talk)
    return talks


@CASES.case("a session every five minutes")
def _regular(client: str) -> Made:
    return sessions_at(client, [300 * turn for turn in range(8)]), [Row(None, "unknown", reason="regular")]


@CASES.case("a session about every hour")
def _nearly_regular(client: str) -> Made:
    return sessions_at(client, [0, 3600, 7150, 10_830, 14_400, 18_020]), [Row(None, "unknown", reason="regular")]


@CASES.case("sessions now and then")
def _irregular(client: str) -> Made:
    return sessions_at(client, [0, 4, 900, 905, 7000]), [Row(None, "probe")]


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> analyzer.Analysis:
    """All cases in one capture."""
    return CASES.analyze(tmp_path_factory.mktemp("verdicts") / "c.pcap")


@pytest.mark.parametrize("name", CASES.made)
def test_the_verdict(name: str, analysis: analyzer.Analysis) -> None:
    assert not CASES.differences(name, analysis.dependencies)


def test_what_is_not_known_has_no_confidence_and_says_what_is_missing(analysis: analyzer.Analysis) -> None:
    rows = analysis.dependencies
    unknown = rows["verdict"] == "unknown"
    assert rows.loc[unknown, "confidence"].isna().all()
    assert rows.loc[~unknown, "confidence"].notna().all()
    assert rows["reason"].str.len().min() > 10


def test_rows_stand_in_the_order_of_verdicts(analysis: analyzer.Analysis) -> None:
    order = ("depends", "unknown", "covered", "denied", "probe")
    places = [order.index(verdict) for verdict in analysis.dependencies["verdict"]]
    assert places == sorted(places)
    assert set(places) == {0, 1, 3, 4}  # `covered` is in another file
