"""Security templates. Lines are spelt as secedit and the editor of policies spell them."""

from __future__ import annotations

import pytest
from given import REGISTRY, given, texts, values
from hypothesis import given as for_all
from hypothesis import settings as run
from hypothesis import strategies as st

from analyzer.errors import PolicyError
from analyzer.policy.inf import CAVEAT, in_inf, write_inf
from analyzer.policy.reading import read_bytes
from analyzer.policy.settings import Policy

SERVER = r"MACHINE\System\CurrentControlSet\Services\LanManServer\Parameters"
LSA = r"MACHINE\System\CurrentControlSet\Control\Lsa"
HEAD = "[Unicode]\r\nUnicode=yes\r\n"
TAIL = '[Version]\r\nsignature="$CHICAGO$"\r\nRevision=1\r\n'


def read(body: str, encoding: str = "utf-16") -> Policy:
    return read_bytes((HEAD + body + TAIL).encode(encoding), "GptTmpl.inf")


@pytest.mark.parametrize("encoding", ["utf-16", "ascii", "utf-16-le"])
def test_an_export(encoding: str) -> None:
    policy = read(
        "[System Access]\r\nMinimumPasswordAge = 1\r\nLSAAnonymousNameLookup = 0\r\nEnableGuestAccount = 0\r\n"
        "[Event Audit]\r\nAuditSystemEvents = 0\r\n[System Log]\r\nRestrictGuestAccess = 1\r\n"
        f"[Registry Values]\r\n{SERVER}\\NullSessionPipes=7,netlogon,samr,lsarpc\r\n{SERVER}\\NullSessionShares=7,\r\n"
        f'{LSA}\\RestrictAnonymous=4,1\r\n{LSA}\\RestrictRemoteSam=1,"O:BAG:BAD:(A;;RC;;;BA)"\r\n'
        "[Privilege Rights]\r\nSeNetworkLogonRight = *S-1-1-0,*S-1-5-32-544\r\nSeDenyNetworkLogonRight =\r\n"
        "[Group Membership]\r\n*S-1-5-32-554__Memberof =\r\n*S-1-5-32-554__Members = *S-1-5-11\r\n"
        '[Service General Setting]\r\n"Browser",4,"D:AR"\r\n',
        encoding,
    )
    assert policy.family == "windows"
    assert values(policy) == {
        "LSAAnonymousNameLookup": 0,
        "EnableGuestAccount": 0,
        "RestrictGuestAccess_system": 1,
        "NullSessionPipes": ("netlogon", "samr", "lsarpc"),
        "NullSessionShares": (),
        "RestrictAnonymous": 1,
        "RestrictRemoteSam": "O:BAG:BAD:(A;;RC;;;BA)",
        "SeNetworkLogonRight": ("*S-1-1-0", "*S-1-5-32-544"),
        "SeDenyNetworkLogonRight": (),
        "PreWindows2000CompatibleAccess": ("*S-1-5-11",),
    }
    assert policy.settings["LSAAnonymousNameLookup"].source == "GptTmpl.inf, line 5"
    assert policy.warnings[0] == f"GptTmpl.inf: {CAVEAT}"
    assert "MinimumPasswordAge, *S-1-5-32-554__Memberof" in policy.warnings[1]
    assert len(policy.warnings) == 2


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("7,", ()),
        ('7,""', ()),  # templates written by hand
        ("7,,netlogon,samr", ("netlogon", "samr")),  # exports of domain controllers
        ('7,a","b,c', ("a,b", "c")),  # a comma within an entry
        ('7,"a,b",c', ("a,b", "c")),
        ("7, a , b", ("a", "b")),
        ("7,sql\\query", ("sql\\query",)),
    ],
)
def test_multi_strings(written: str, names: tuple[str, ...]) -> None:
    assert values(read(f"[Registry Values]\r\n{SERVER}\\NullSessionPipes={written}\r\n")) == {"NullSessionPipes": names}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"{LSA}\\RestrictAnonymous=4,x", "bytes are no REG_DWORD"),
        (f"{LSA}\\RestrictAnonymous=4,4294967296", "bytes are no REG_DWORD"),
        (f"{LSA}\\RestrictAnonymous=1", "REG_DWORD is wanted"),
        (f'{LSA}\\RestrictAnonymous=1,"1"', "REG_DWORD is wanted"),
        (f"{LSA}\\RestrictAnonymous", "no entry of a security template"),
    ],
)
def test_what_cannot_be_read_is_unknown_and_said(line: str, says: str) -> None:
    policy = read(f"[Registry Values]\r\n{line}\r\n")
    assert values(policy) == {}
    assert says in policy.warnings[1]
    assert "line 4" in policy.warnings[1]


def test_contradictions_leave_the_setting_unknown() -> None:
    policy = read(
        f"[Registry Values]\r\n{LSA}\\RestrictAnonymous=4,1\r\n{LSA.lower()}\\restrictanonymous=4,0\r\n"
        "[System Access]\r\nEnableGuestAccount = 1\r\nEnableGuestAccount = 0\r\nLSAAnonymousNameLookup = yes\r\n"
    )
    assert values(policy) == {}
    assert sum("contradicts" in warning for warning in policy.warnings) == 2
    assert "LSAAnonymousNameLookup: no number" in " ".join(policy.warnings)


def test_written_as_secedit_writes_it() -> None:
    """UTF-16 with its mark, [Unicode] first, [Version] with the signature."""
    written = write_inf(
        given(
            {
                "NullSessionPipes": ("a,b", "samr"),
                "RestrictRemoteSam": "O:BAG:BAD:",
                "LSAAnonymousNameLookup": 0,
                "RestrictGuestAccess_security": 1,
                "SeDenyNetworkLogonRight": ("*S-1-5-7", "*S-1-5-32-546"),
            }
        )
    )
    assert written.startswith(b"\xff\xfe")
    assert written.decode("utf-16").split("\r\n") == [
        "[Unicode]",
        "Unicode=yes",
        "[Registry Values]",
        f'{SERVER}\\NullSessionPipes=7,a","b,samr',
        f'{LSA}\\RestrictRemoteSam=1,"O:BAG:BAD:"',
        "[System Access]",
        "LSAAnonymousNameLookup = 0",
        "[Security Log]",
        "RestrictGuestAccess = 1",
        "[Privilege Rights]",
        "SeDenyNetworkLogonRight = *S-1-5-7,*S-1-5-32-546",
        "[Version]",
        'signature="$CHICAGO$"',
        "Revision=1",
        "",
    ]


def test_what_is_written_is_read_back() -> None:
    wanted = REGISTRY | {
        "LSAAnonymousNameLookup": 0,
        "EnableGuestAccount": 0,
        "SeNetworkLogonRight": ("*S-1-5-11",),
        "SeDenyNetworkLogonRight": (),
        "PreWindows2000CompatibleAccess": ("*S-1-5-11",),
        "AllowNullSessionFallback": 0,
        "AllowedExactPaths": ("System\\CurrentControlSet\\Control\\ProductOptions",),
    }
    policy = read_bytes(write_inf(given(wanted), "one\ntwo"), "t.inf")
    assert values(policy) == wanted
    assert policy.warnings == (f"t.inf: {CAVEAT}",)


@run(max_examples=300, deadline=None)
@for_all(st.lists(texts, max_size=4), texts)
def test_any_name_is_read_back_or_refused(pipes: list[str], account: str) -> None:
    wanted = {"NullSessionPipes": tuple(pipes), "SeDenyNetworkLogonRight": (account,)}
    try:
        written = write_inf(given(wanted))
    except PolicyError:
        return
    assert values(read_bytes(written, "t.inf")) == wanted


def test_ordinary_names_are_not_refused() -> None:
    names = ("sql\\query", "MSSQL$A\\sql\\query", "a b", "a,b", "a;b", "[x]", "a=b", "größe", "50%", "a'b")
    assert values(read_bytes(write_inf(given({"NullSessionPipes": names})), "t.inf")) == {"NullSessionPipes": names}


@pytest.mark.parametrize("name", ['a"b', "a\nb", "a\r\n[Privilege Rights]", "", " a", "a\t", "\u202ea", "\ud800"])
def test_names_that_a_template_cannot_carry(name: str) -> None:
    with pytest.raises(PolicyError, match="NullSessionPipes"):
        write_inf(given({"NullSessionPipes": (name,)}))


@pytest.mark.parametrize("account", ["a,b", 'a"b', "a\nb", ""])
def test_accounts_that_a_template_cannot_carry(account: str) -> None:
    with pytest.raises(PolicyError, match="SeDenyNetworkLogonRight"):
        write_inf(given({"SeDenyNetworkLogonRight": (account,)}))


def test_absent_values_and_other_settings_are_refused() -> None:
    with pytest.raises(PolicyError, match="absent"):
        write_inf(given({"RestrictAnonymous": None}))
    with pytest.raises(PolicyError, match="RestrictRemoteClients"):
        write_inf(given({"RestrictRemoteClients": 1}))
    assert in_inf("RestrictAnonymous")
    assert not in_inf("RestrictRemoteClients")
