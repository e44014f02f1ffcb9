"""Registry exports. Those read here are spelt as regedit and `reg export` spell them."""

from __future__ import annotations

import re
import string

import pytest
from given import LSA, PARAMETERS, REGISTRY, given, texts, values
from hypothesis import given as for_all
from hypothesis import settings as run
from hypothesis import strategies as st

from analyzer.errors import PolicyError
from analyzer.policy.reading import read_bytes
from analyzer.policy.reg import in_reg, write_reg
from analyzer.policy.settings import Policy

V5 = "Windows Registry Editor Version 5.00\r\n\r\n"


def read(text: str, encoding: str = "utf-16") -> Policy:
    return read_bytes(text.encode(encoding), "lab.reg")


def test_an_export_of_version_5() -> None:
    """As regedit writes it: UTF-16 with its mark, data in hexadecimal that goes on over lines, REG_MULTI_SZ as type 7."""
    policy = read(
        V5 + f"[{PARAMETERS}]\r\n"
        '"autodisconnect"=dword:0000000f\r\n'
        '"NullSessionPipes"=hex(7):6e,00,65,00,74,00,6c,00,6f,00,67,00,6f,00,6e,00,00,00,73,\\\r\n'
        "  00,61,00,6d,00,72,00,00,00,00,00\r\n"
        '"NullSessionShares"=hex(7):00,00\r\n'
        '"restrictnullsessaccess"=dword:00000001\r\n\r\n'
        f"[{LSA}]\r\n"
        '"RestrictRemoteSam"="O:BAG:BAD:(A;;RC;;;BA)"\r\n\r\n'
    )
    assert policy.family == "windows"
    assert values(policy) == {
        "NullSessionPipes": ("netlogon", "samr"),
        "NullSessionShares": (),
        "RestrictNullSessAccess": 1,
        "RestrictRemoteSam": "O:BAG:BAD:(A;;RC;;;BA)",
    }
    assert policy.settings["NullSessionShares"].source == "lab.reg, line 7"
    assert [warning for warning in policy.warnings if "autodisconnect" in warning]


def test_an_export_of_version_4() -> None:
    """Windows NT 4.0 wrote one byte a character, in the data of REG_MULTI_SZ too."""
    policy = read(
        f'REGEDIT4\r\n\r\n[{PARAMETERS}]\r\n"NullSessionPipes"=hex(7):43,4f,4d,4e,41,50,00,73,71,6c,5c,\\\r\n'
        "  71,75,65,72,79,00,00\r\n",
        "cp1252",
    )
    assert values(policy) == {"NullSessionPipes": ("COMNAP", "sql\\query")}


def test_deletions() -> None:
    policy = read(V5 + f'[{LSA}]\r\n"RestrictAnonymous"=-\r\n"RestrictAnonymousSAM"=- ; why\r\n[-{PARAMETERS}]\r\n')
    found = values(policy)
    assert found["RestrictAnonymous"] is None
    assert found["RestrictAnonymousSAM"] is None
    assert found["NullSessionPipes"] is None
    assert "NullSessionShares" in found


def test_comments_spaces_and_names_with_quotes() -> None:
    policy = read(
        V5 + f'; a comment\r\n[{LSA}]\r\n  "RestrictAnonymous" = dword:1 ; why\r\n"a\\"b\\\\"=dword:1\r\n@="x"\r\n'
    )
    assert values(policy) == {"RestrictAnonymous": 1}
    assert 'a"b\\, (default)' in policy.warnings[-1]


def test_a_text_with_line_ends_hides_nothing() -> None:
    """REG_SZ may hold line ends; what looks like a value within it is none, what follows it is one."""
    policy = read(V5 + f'[{LSA}]\r\n"x"="one\r\n"RestrictAnonymous"=dword:1\r\n')
    assert values(policy) == {}
    policy = read(V5 + f'[{LSA}]\r\n"x"="one\r\ntwo"\r\n"RestrictAnonymous"=dword:1\r\n')
    assert values(policy) == {"RestrictAnonymous": 1}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('"RestrictAnonymous"=dword:xyz', "RestrictAnonymous"),
        ('"RestrictAnonymous"=dword:123456789', "RestrictAnonymous"),
        ('"RestrictAnonymous"="1"', "REG_DWORD is wanted"),
        ('"RestrictAnonymous"=hex(4):01,00', "bytes are no REG_DWORD"),
        ('"RestrictAnonymous"=hex(4):01,00,00,000', "bytes are no REG_DWORD"),
        ("RestrictAnonymous=dword:1", "no value of the registry"),
        ("[HKEY_LOCAL_MACHINE", "no key of the registry"),
    ],
)
def test_what_cannot_be_read_is_unknown_and_said(line: str, says: str) -> None:
    policy = read(V5 + f"[{LSA}]\r\n{line}\r\n")
    assert values(policy) == {}
    assert len(policy.warnings) == 1
    assert "line 4" in policy.warnings[0]
    assert says in policy.warnings[0]


def test_a_dword_in_bytes() -> None:
    assert values(read(V5 + f'[{LSA}]\r\n"RestrictAnonymous"=hex(4):01,00,00,00\r\n')) == {"RestrictAnonymous": 1}


def test_contradictions_are_said_and_the_last_one_holds() -> None:
    """That is what an import does."""
    policy = read(V5 + f'[{LSA}]\r\n"RestrictAnonymous"=dword:1\r\n[{LSA}]\r\n"restrictanonymous"=dword:0\r\n')
    assert values(policy) == {"RestrictAnonymous": 0}
    assert policy.warnings == ("lab.reg, line 6: RestrictAnonymous: contradicts lab.reg, line 4; the last one holds",)


def test_a_value_before_any_key_is_said() -> None:
    assert "line 3" in read(V5 + '"RestrictAnonymous"=dword:1\r\n').warnings[0]


def test_written_as_regedit_writes_it() -> None:
    written = write_reg(given({"NullSessionPipes": ("samr",), "RestrictAnonymous": None}), "why\nso")
    assert written.startswith(b"\xff\xfe")
    assert written.decode("utf-16").split("\r\n") == [
        "Windows Registry Editor Version 5.00",
        "",
        "; why",
        "; so",
        "",
        f"[{PARAMETERS}]",
        '"NullSessionPipes"=hex(7):73,00,61,00,6d,00,72,00,00,00,00,00',
        "",
        f"[{LSA}]",
        '"RestrictAnonymous"=-',
        "",
        "",
    ]


def test_lines_are_as_long_as_those_of_regedit() -> None:
    written = write_reg(given({"NullSessionPipes": tuple(string.ascii_letters)})).decode("utf-16")
    data = written.partition("hex(7):")[2].partition("\r\n\r\n")[0]
    rows = data.split("\r\n")
    assert all(row.endswith(",\\") for row in rows[:-1])
    assert all(re.fullmatch(r"\s*([0-9a-f]{2},?)+\\?", row) for row in rows)
    assert max(map(len, rows)) < 80


def test_what_is_written_is_read_back() -> None:
    policy = read_bytes(write_reg(given(REGISTRY | {"RestrictAnonymousSAM": None})), "r.reg")
    assert values(policy) == REGISTRY | {"RestrictAnonymousSAM": None}
    assert policy.warnings == ()


@run(max_examples=200, deadline=None)
@for_all(st.lists(texts, max_size=4), texts | st.just(""), st.integers(0, 0xFFFFFFFF))
def test_any_names_are_read_back(pipes: list[str], sddl: str, number: int) -> None:
    wanted = {"NullSessionPipes": tuple(pipes), "RestrictRemoteSam": sddl, "RestrictAnonymous": number}
    policy = read_bytes(write_reg(given(wanted)), "r.reg")
    assert values(policy) == wanted
    assert policy.warnings == ()


@pytest.mark.parametrize("name", ["a\0b", "\ud800", ""])
def test_names_that_no_registry_holds(name: str) -> None:
    with pytest.raises(PolicyError, match="NullSessionPipes"):
        write_reg(given({"NullSessionPipes": (name,)}))


def test_what_is_not_in_the_registry() -> None:
    assert not in_reg("LSAAnonymousNameLookup")
    assert in_reg("NullSessionPipes")
    assert values(read_bytes(write_reg(given({"LSAAnonymousNameLookup": 0})), "r.reg")) == {}
