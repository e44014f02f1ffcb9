"""Whose session it was: SMB 1 without extended security, share-level servers, Kerberos and other mechanisms.

[MS-CIFS 3.2.4.2.4, 2.2.4.53.2] say what the client sends and what Action means; no bit says that it was anonymous.
"""

from __future__ import annotations

import pytest

import analyzer
from tests import build
from tests.dialogue import IS_GUEST, Smb1, Smb2
from tests.sessions.logins import Logins
from tests.sessions.told import ANY, Case, Period, differences

CASES = Logins()
OID_PKU2U = bytes.fromhex("2b0501050207")  #   1.3.5.1.5.2.7
OID_IAKERB = bytes.fromhex("2b0601050205")  #  1.3.6.1.5.2.5

# Rows 14 and 15: SMB 1 without extended security. #

for lengths, oem, unicode, sure in (
    ("0/0", b"", b"", "certain"),
    ("1/0", b"\0", b"", "certain"),
    ("24/24", bytes(range(24)), bytes(range(24)), "strong"),
    ("24/0", bytes(range(24)), b"", "strong"),
    ("0/24", b"", bytes(range(24)), "strong"),
):
    CASES.smb1(f"SMB 1 empty account, passwords {lengths}", Period(
        ANY, "anonymous", sure, user="", signs=("smb1.empty_account", "smb1.action_zero")), oem=oem, unicode=unicode)  # fmt: skip
CASES.smb1(
    "SMB 1 empty account, a password byte that is not NUL", Period(ANY, "anonymous", "strong", user=""), oem=b"x"
)
CASES.smb1("SMB 1 empty account, passwords 24/24, Action bit 0", Period(ANY, "guest", ANY, user=""),
     oem=bytes(24), unicode=bytes(24), action=1)  # fmt: skip
CASES.smb1(
    "share-level server", Period(ANY, "anonymous", "strong", signs=("smb1.share_level",)), security_mode=0, tree=b"\0"
)
CASES.smb1("share-level server, the tree connect has a password", Period(ANY, "unknown", ANY, signs=("smb1.share_level",)),
     security_mode=0, tree=b"SECRET\0")  # fmt: skip
CASES.smb1(
    "user-level server, the tree connect has a password", Period("anonymous", "anonymous", "certain"), tree=b"SECRET\0"
)
CASES.smb1("share-level server, Action bit 0", Period(ANY, "guest", ANY), security_mode=0, action=1, tree=b"\0")


for size in (0, 1):
    CASES.oldest(
        f"LAN Manager, {size} password bytes", bytes(size), Period("anonymous", "anonymous", "certain", user="")
    )


def core(client: str) -> Smb1:
    """A tree connect without a login: the server knows no users. [MS-CIFS 2.2.4.50]"""
    talk = Smb1(client, security_mode=0)
    talk.tree(0, 1, "PUBLIC", password=b"\0")
    talk.create(0, 1, "readme.txt", 7)
    return talk


CASES.add(
    "no login at all on a share-level server",
    core,
    Period(ANY, "anonymous", "strong", ANY, signs=("smb1.share_level",)),
)

# Rows 16 and 17: other mechanisms. #

KERBEROS = Period("kerberos", "authenticated", "certain", user=None, signs=("kerberos.request", "status.success"))
for oid_name, oid in (("Kerberos", build.OID_KERBEROS), ("Kerberos, Microsoft's number", build.OID_KERBEROS_MS)):
    CASES.one_leg(oid_name, build.spnego_init(build.kerberos_request(oid=oid), [oid]), KERBEROS)
CASES.one_leg("Kerberos without SPNEGO", build.kerberos_request(), KERBEROS)
CASES.one_leg("Kerberos, guest flag", build.spnego_init(build.kerberos_request(), [build.OID_KERBEROS]),
        Period("kerberos", "guest", "certain"), session_flags=IS_GUEST)  # fmt: skip
OTHER = Period("other", "authenticated", "strong", user=None)
CASES.one_leg("NEGOEX", build.spnego_init(b"NEGOEXTS" + bytes(90), [build.OID_NEGOEX]), OTHER)
CASES.one_leg("PKU2U", build.spnego_init(build.gss(OID_PKU2U, b"\x05\0" + bytes(50)), [OID_PKU2U]), OTHER)


def iakerb(client: str) -> Smb2:
    """The server passes messages on to the KDC, then gets the AP-REQ. [draft-ietf-kitten-iakerb 3]"""
    talk = Smb2(client)
    proxied = build.gss(OID_IAKERB, b"\x05\x01" + bytes(50))
    talk.exchange(
        build.SESSION_SETUP,
        build.setup_request(build.spnego_init(proxied, [OID_IAKERB])),
        build.setup_answer(build.spnego_answer(proxied, state=1, mechanism=OID_IAKERB)),
        status=build.MORE_PROCESSING,
        new_session=0x11,
    )
    talk.one_leg(0x11, build.spnego_answer(build.kerberos_request(oid=OID_IAKERB)), known=True)
    return talk


# Whether it counts as Kerberos or as another mechanism: it is somebody with credentials.
CASES.add("IAKERB", iakerb, Period(ANY, "authenticated", ANY, user=None))


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> analyzer.Analysis:
    """All cases in one capture."""
    return CASES.analyze(tmp_path_factory.mktemp("identity") / "c.pcap")


@pytest.mark.parametrize("case", CASES.cases, ids=str)
def test_the_decision_table(case: Case, analysis: analyzer.Analysis) -> None:
    assert not differences(analysis.sessions, CASES.address(case), case.periods)
