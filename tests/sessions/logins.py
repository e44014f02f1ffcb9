"""Logins as cases: each method adds one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests import build
from tests.dialogue import Smb1, Smb2
from tests.sessions.told import Cases, Period

ANONYMOUS_CERTAIN = Period(
    "anonymous", "anonymous", "certain", status="STATUS_SUCCESS", user="",
    signs=("ntlm.empty_user", "ntlm.empty_responses", "status.success"),
)  # fmt: skip
USER = Period("named", "user", "certain", user="alice")


def period(like: Period, **other: Any) -> Period:
    """A period like another one."""
    return replace(like, **other)


class Logins(Cases):
    """Cases of one login each."""

    def smb2(self, name: str, token: bytes, expected: Period, *, dialect: int = 0x0210, **last: int) -> None:
        """NTLMSSP over SMB 2. last: what the last answer holds."""

        def talk(client: str) -> Smb2:
            made = Smb2(client, dialect=dialect)
            made.login(0x11, token, **last)
            return made

        self.add(name, talk, expected)

    def one_leg(self, name: str, blob: bytes, expected: Period, **last: int) -> None:
        """A login of one round over SMB 2."""

        def talk(client: str) -> Smb2:
            made = Smb2(client)
            made.one_leg(0x11, blob, **last)
            return made

        self.add(name, talk, expected)

    def smb1(
        self, name: str, expected: Period, *, user: str = "", security_mode: int = 3, tree: bytes = b"", **login: Any
    ) -> None:
        """SMB 1 without extended security. tree: the password of a tree connect after it."""

        def talk(client: str) -> Smb1:
            made = Smb1(client, security_mode=security_mode)
            made.login(2048, user, **login)
            if tree:
                made.tree(2048, 1, "PUBLIC", password=tree)
            return made

        self.add(name, talk, expected)

    def extended(self, name: str, token: bytes, expected: Period, **last: int) -> None:
        """NTLMSSP over SMB 1."""

        def talk(client: str) -> Smb1:
            made = Smb1(client, extended=True)
            made.login_extended(2048, token, **last)
            return made

        self.add(name, talk, expected)

    def oldest(self, name: str, password: bytes, expected: Period) -> None:
        """An empty account over LAN Manager 1.0."""

        def talk(client: str) -> Smb1:
            made = Smb1(client, negotiated=False)
            made.flags2 = 0x0001 | build.FLAGS2_NT_STATUS  # these dialects know no Unicode
            made.exchange(build.smb1_negotiate(), build.smb1_negotiate_answer_lanman(0, security_mode=3))
            setup = build.smb1_setup_lanman("", "CORP", password=password)
            made.exchange(setup, build.smb1_setup_answer(0, unicode=False), new_uid=9)
            return made

        self.add(name, talk, expected)
