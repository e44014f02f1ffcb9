"""Whose session it was: each row of the decision table, with what stands around it, as conversations.

Sources of what is expected: [MS-NLMP 3.2.5.1.2] for what an anonymous request is, [MS-SMB2 3.3.5.5.3] and
[MS-SMB 2.2.4.6.2] for what the answer says. SMB 1 without extended security, and what is not NTLM, are in
test_identity_others.py, logins of which something is missing in test_identity_missing.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import analyzer
from tests import build
from tests.build import ACCESS_DENIED, NTLM_ANONYMOUS, NTLM_FLAGS
from tests.dialogue import (
    ALICE,
    ANONYMOUS,
    AS_IMPACKET,
    AS_OLD_LIBRARY,
    AS_SAMBA,
    AS_WINDOWS,
    ENCRYPT_DATA,
    IS_GUEST,
    IS_NULL,
    LOGON_FAILURE,
    RESPONSES,
    Smb1,
    Smb2,
    named,
)
from tests.sessions.logins import ANONYMOUS_CERTAIN, USER, Logins, period
from tests.sessions.told import ANY, Case, Cases, Period, differences

CASES = Logins()
GUEST = Period("anonymous", "guest", "certain", signs=("smb2.flag_guest",))
REFUSED = Period("anonymous", "anonymous_rejected", "certain", "refused")
REJECTED = Period("named", "rejected", "certain", "refused", user="alice")
FLAG_CLEAR = {"without": ("ntlm.flag_anonymous",)}


# Rows 1 and 2: refused. #

for status_code, status_name in (
    (ACCESS_DENIED, "STATUS_ACCESS_DENIED"),
    (LOGON_FAILURE, "STATUS_LOGON_FAILURE"),
    (0xC000015B, "STATUS_LOGON_TYPE_NOT_GRANTED"),
    (0xC00000BB, "STATUS_NOT_SUPPORTED"),
    (0xC0000418, "STATUS_NTLM_BLOCKED"),
    (0xC000009A, "STATUS_INSUFFICIENT_RESOURCES"),  # a failure that speaks of no access is an error all the same
    (0xC1234567, "0xc1234567"),
):
    CASES.smb2(
        f"anonymous, refused with {status_name}", ANONYMOUS,
        period(REFUSED, status=status_name, signs=("status.error",), without=("status.success",)), status=status_code,
    )  # fmt: skip
    CASES.smb2(f"named, refused with {status_name}", ALICE, period(REJECTED, status=status_name), status=status_code)
CASES.smb1("SMB 1 anonymous, refused", period(REFUSED, status="STATUS_ACCESS_DENIED"), status=ACCESS_DENIED)
CASES.smb1(
    "SMB 1 named, refused", REJECTED, user="alice", oem=bytes(24), unicode=bytes(24), status=LOGON_FAILURE,
)  # fmt: skip
CASES.extended("SMB 1 NTLMSSP anonymous, refused", ANONYMOUS, REFUSED, status=ACCESS_DENIED)
CASES.extended("SMB 1 NTLMSSP named, refused", ALICE, REJECTED, status=LOGON_FAILURE)
CASES.one_leg(
    "Kerberos, refused", build.spnego_init(build.kerberos_request(), [build.OID_KERBEROS]),
    Period("kerberos", "rejected", "certain", "refused"), status=ACCESS_DENIED,
)  # fmt: skip
CASES.smb2(
    "a name without responses, refused", named("bob", lm=b""),
    Period("named", "rejected", "certain", "refused", user="bob"), status=LOGON_FAILURE,
)  # fmt: skip
CASES.smb2(
    "no name but a response, refused", build.ntlm_authenticate(**RESPONSES),
    Period(ANY, "rejected", "certain", "refused"), status=LOGON_FAILURE,
)  # fmt: skip

# Row 3: anonymous request, guest. #

CASES.smb2("anonymous, guest flag", ANONYMOUS, GUEST, session_flags=IS_GUEST)
CASES.smb2("anonymous as old libraries ask, guest flag", AS_OLD_LIBRARY, GUEST, session_flags=IS_GUEST)
CASES.smb1(
    "SMB 1 anonymous, Action bit 0",
    Period("anonymous", "guest", "certain", signs=("smb1.action_guest",)), action=1,
)  # fmt: skip
CASES.extended(
    "SMB 1 NTLMSSP anonymous, Action bit 0", ANONYMOUS, period(GUEST, signs=("smb1.action_guest",)), action=1
)

# Row 4: anonymous request, success. #

CASES.smb2("anonymous as Windows asks", AS_WINDOWS, period(
    ANONYMOUS_CERTAIN, signs=("ntlm.lm_zero_byte", "ntlm.flag_anonymous", "smb2.flags_zero")))  # fmt: skip
CASES.smb2("anonymous as Samba asks", AS_SAMBA, period(
    ANONYMOUS_CERTAIN, signs=("ntlm.flag_anonymous",), without=("ntlm.lm_zero_byte",)))  # fmt: skip
CASES.smb2(
    "anonymous as impacket asks", AS_IMPACKET, period(ANONYMOUS_CERTAIN, signs=("ntlm.lm_zero_byte",), **FLAG_CLEAR)
)
CASES.smb2("anonymous as old libraries ask", AS_OLD_LIBRARY, period(ANONYMOUS_CERTAIN, **FLAG_CLEAR))
CASES.smb2("anonymous with a domain", build.ntlm_authenticate(domain="CORP", lm=b"\0"), ANONYMOUS_CERTAIN)
CASES.smb2("anonymous, null flag", ANONYMOUS, period(
    ANONYMOUS_CERTAIN, signs=("smb2.flag_null",), without=("conflict.name_but_null",)), session_flags=IS_NULL)  # fmt: skip
CASES.smb2("anonymous, encrypt flag", ANONYMOUS, period(
    ANONYMOUS_CERTAIN, signs=("smb2.flag_encrypt",)), session_flags=ENCRYPT_DATA, dialect=0x0311)  # fmt: skip
CASES.smb2("anonymous in the oldest form", build.ntlm_authenticate(lm=b"\0", flags=None), ANONYMOUS_CERTAIN)
CASES.smb2("anonymous in OEM", build.ntlm_authenticate(lm=b"\0", flags=NTLM_FLAGS & ~1 | 2), ANONYMOUS_CERTAIN)
CASES.smb2("a name of one NUL is empty", build.ntlm_authenticate("\0", lm=b"\0"), period(
    ANONYMOUS_CERTAIN, user=ANY, signs=("ntlm.name_is_nul",)))  # fmt: skip
CASES.extended("SMB 1 NTLMSSP anonymous", ANONYMOUS, period(ANONYMOUS_CERTAIN, signs=("smb1.action_zero",)))
CASES.one_leg("raw AUTHENTICATE at once", AS_IMPACKET, ANONYMOUS_CERTAIN)

# Row 7: the server says null. #

CASES.smb2("named, null flag", ALICE, Period(
    "named", "anonymous", "strong", user="alice", signs=("smb2.flag_null", "conflict.name_but_null")),
    session_flags=IS_NULL)  # fmt: skip
CASES.one_leg(
    "Kerberos, null flag", build.spnego_init(build.kerberos_request(), [build.OID_KERBEROS]),
    Period("kerberos", "anonymous", "strong", signs=("smb2.flag_null",)), session_flags=IS_NULL,
)  # fmt: skip

# Rows 8 to 13: named, or nearly. #

CASES.smb2("named, guest flag", ALICE, Period("named", "guest", "certain", user="alice"), session_flags=IS_GUEST)
CASES.smb1("SMB 1 named, Action bit 0", Period("named", "guest", "certain", user="alice"), user="alice",
     oem=bytes(24), unicode=bytes(24), action=1)  # fmt: skip
CASES.smb2("a name without responses, guest flag", named("bob", lm=b""),
     Period("named", "guest", "certain", user="bob"), session_flags=IS_GUEST)  # fmt: skip
CASES.smb2("a machine's name, guest flag", named("WS10$"), Period("named", "guest", "certain", user="WS10$"),
     session_flags=IS_GUEST)  # fmt: skip
CASES.smb2("no name but a response, guest flag", build.ntlm_authenticate(**RESPONSES), Period(ANY, "guest", ANY),
     session_flags=IS_GUEST)  # fmt: skip
CASES.smb2("the name guest", named("guest"), Period("named", "guest", "strong", user="guest"))
CASES.smb2("the name Guest", named("Guest"), Period("named", "guest", "strong", user="Guest"))
CASES.smb2("a machine's name", named("WS10$"), Period("named", "machine", "certain", user="WS10$"))
CASES.smb2(
    "a machine's name without responses", named("WS10$", lm=b""), Period("named", "unknown", "weak", user="WS10$")
)
CASES.smb2("a user", ALICE, period(USER, signs=("ntlm.name", "ntlm.response")))
CASES.smb2("a user with an empty password", named("bob", lm=bytes(24), nt=bytes(24)),
     Period("named", "user", "certain", user="bob"))  # fmt: skip
CASES.smb2("a user in spite of the anonymous flag", build.ntlm_authenticate(
    "alice", flags=NTLM_FLAGS | NTLM_ANONYMOUS, **RESPONSES), USER)  # fmt: skip
CASES.smb2("a space is a name", named(" ", lm=b"\0"), Period("named", "unknown", "weak", user=" "))
CASES.smb2("a user, encrypt flag", ALICE, USER, session_flags=ENCRYPT_DATA, dialect=0x0311)
CASES.smb1("SMB 1 a user", USER, user="alice", oem=bytes(24), unicode=bytes(24))
CASES.smb1("SMB 1 a user with a plain password", USER, user="alice", oem=b"secret\0")
CASES.extended("SMB 1 NTLMSSP a user", ALICE, USER)
CASES.smb2("a name without responses", named("bob", lm=b""), Period("named", "unknown", "weak", user="bob"))
CASES.smb2(
    "a name with an LM response of one NUL", named("bob", lm=b"\0"), Period("named", "unknown", "weak", user="bob")
)
CASES.smb2("no name but a response", build.ntlm_authenticate(**RESPONSES), Period(ANY, "unknown", "weak", user=""))
CASES.smb2("no name but an LM response", build.ntlm_authenticate(lm=bytes(24)), Period(ANY, "unknown", ANY, user=""))
CASES.smb2(
    "no name, an LM response of one byte that is not NUL",
    build.ntlm_authenticate(lm=b"\1"),
    Period(ANY, "unknown", ANY),
)

# The rest: what is not a claim, and what is weighed by nothing. #


def with_anonymous_negotiate(client: str) -> Smb2:
    """The anonymous flag in message 1 proves nothing."""
    talk = Smb2(client)
    first = build.spnego_init(build.ntlm_negotiate(NTLM_FLAGS | NTLM_ANONYMOUS))
    more = build.spnego_answer(build.ntlm_challenge(), state=1)
    talk.exchange(
        build.SESSION_SETUP,
        build.setup_request(first),
        build.setup_answer(more),
        status=build.MORE_PROCESSING,
        new_session=0x11,
    )
    talk.authenticate(0x11, ALICE)
    return talk


CASES.add("the anonymous flag in NEGOTIATE proves nothing", with_anonymous_negotiate, USER)


def with_bare_list(client: str) -> Smb2:
    """A NegTokenInit without a token is no claim; the login goes on after it."""
    talk = Smb2(client)
    talk.exchange(
        build.SESSION_SETUP,
        build.setup_request(build.spnego_init(None, [build.OID_KERBEROS, build.OID_NTLMSSP])),
        build.setup_answer(build.spnego_answer(state=1, mechanism=build.OID_NTLMSSP)),
        status=build.MORE_PROCESSING,
        new_session=0x11,
    )
    talk.exchange(
        build.SESSION_SETUP,
        build.setup_request(build.spnego_answer(build.ntlm_negotiate())),
        build.setup_answer(build.spnego_answer(build.ntlm_challenge(), state=1)),
        status=build.MORE_PROCESSING,
        session=0x11,
    )
    talk.authenticate(0x11)
    return talk


CASES.add("a list of mechanisms is no claim", with_bare_list, ANONYMOUS_CERTAIN)


def with_empty_blob(client: str) -> Smb1:
    """An empty blob asks the server to begin. [MS-SMB 3.3.5.3]"""
    talk = Smb1(client, extended=True)
    talk.exchange(
        build.smb1_setup_blob(b"", "Unix", "Samba"),
        build.smb1_setup_answer(0, "Unix", "Samba", token=build.spnego_init(None, hints=True)),
        status=build.MORE_PROCESSING,
        new_uid=2048,
    )
    token = build.spnego_init(build.ntlm_negotiate())
    more = build.spnego_answer(build.ntlm_challenge(), state=1)
    talk.exchange(
        build.smb1_setup_blob(token, "Unix", "Samba"),
        build.smb1_setup_answer(0, "Unix", "Samba", token=more),
        status=build.MORE_PROCESSING,
        uid=2048,
    )
    talk.exchange(
        build.smb1_setup_blob(build.spnego_answer(ANONYMOUS), "Unix", "Samba"),
        build.smb1_setup_answer(0, "Unix", "Samba", token=build.spnego_answer(state=0)),
        uid=2048,
    )
    return talk


CASES.add("an empty blob is no claim", with_empty_blob, ANONYMOUS_CERTAIN)


def signed_requests(client: str) -> Smb2:
    """Some clients sign with the key that anybody can derive. Only a signed last answer speaks for a user."""
    talk = Smb2(client, dialect=0x0300)
    talk.login(0x11)
    talk.tree(0x11, 1, flags=build.SIGNED)
    talk.create(0x11, 1, "lsarpc", (7, 7), flags=build.SIGNED)
    return talk


CASES.add("signed use does not speak against anonymous", signed_requests, ANONYMOUS_CERTAIN)


def encrypted_use(client: str) -> Smb2:
    """Windows 10 20H2 encrypts on anonymous sessions too. [MS-SMB2 3.2.4.1.8 note]"""
    talk = Smb2(client, dialect=0x0311)
    talk.login(0x11)
    talk.tcp.client(build.framed(build.encrypted(0x11)))
    talk.tcp.server(build.framed(build.encrypted(0x11)))
    return talk


CASES.add("encrypted use does not speak against anonymous", encrypted_use, ANONYMOUS_CERTAIN)
CASES.smb2(
    "anonymous, but the last answer is signed with a key that is not the anonymous one", ANONYMOUS,
    Period("anonymous", "unknown", ANY, signs=("final.signed",)), final=build.SIGNED,
)  # fmt: skip


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> analyzer.Analysis:
    """All cases in one capture."""
    return CASES.analyze(tmp_path_factory.mktemp("identity") / "c.pcap")


@pytest.mark.parametrize("case", CASES.cases, ids=str)
def test_the_decision_table(case: Case, analysis: analyzer.Analysis) -> None:
    assert not differences(analysis.sessions, CASES.address(case), case.periods)


def test_nothing_in_them_is_called_damaged(analysis: analyzer.Analysis) -> None:
    assert not len(analysis.problems)


def test_the_cases_do_not_influence_each_other(tmp_path: Path, analysis: analyzer.Analysis) -> None:
    """A case alone in its capture gives what it gave among the others."""
    for case in CASES.cases[::17]:
        alone = Cases([case]).analyze(tmp_path / "alone.pcap").sessions
        together = analysis.sessions[analysis.sessions["client_ip"] == CASES.address(case)]
        columns = ["asked", "identity", "confidence", "evidence", "outcome", "status"]
        assert alone[columns].to_numpy(dtype=object, na_value=None).tolist() == (
            together[columns].to_numpy(dtype=object, na_value=None).tolist()
        )


def test_names_and_what_is_not_ntlm(analysis: analyzer.Analysis) -> None:
    """The columns besides the identity, of the first login of some cases."""
    by_name = {case.name: CASES.address(case) for case in CASES.cases}
    sessions = analysis.sessions.drop_duplicates("client_ip").set_index("client_ip")
    windows = sessions.loc[by_name["anonymous as Windows asks"]]
    assert windows[["workstation", "domain", "mechanism", "client_build"]].tolist() == [
        "WS10",
        "",
        "spnego.ntlmssp",
        "10.0.19041",
    ]
    # The flags of the AUTHENTICATE, and with a Version the flag that says so. [MS-NLMP 2.2.2.5]
    assert windows["ntlm_flags"] == NTLM_FLAGS | NTLM_ANONYMOUS | build.NTLM_VERSION
    assert windows["session_id"] == "0x0000000000000011"
    raw = sessions.loc[by_name["raw AUTHENTICATE at once"]]
    assert raw["mechanism"] == "ntlmssp"
    plain = sessions.loc[by_name["SMB 1 anonymous, refused"]]
    assert plain[["mechanism", "domain", "native_os"]].tolist() == ["smb1", "CORP", "Windows 4.0"]
    assert sessions.loc[by_name["SMB 1 NTLMSSP a user"], "session_id"] == "0800"
    assert sessions["ntlm_flags"].notna().equals(sessions["mechanism"].isin(["spnego.ntlmssp", "ntlmssp"]))
