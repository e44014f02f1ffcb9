"""Files to policies: recognised by what is in them, in the order in which they are applied."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from given import LSA, given, policy_or_error, values
from hypothesis import given as for_all
from hypothesis import settings as run
from hypothesis import strategies as st

from analyzer.errors import PolicyError, UsageError
from analyzer.policy import reading
from analyzer.policy.inf import write_inf
from analyzer.policy.reading import read, read_bytes, read_file
from analyzer.policy.reg import write_reg
from analyzer.policy.samba import write_smb_conf
from analyzer.policy.settings import Policy
from analyzer.policy.simple import write_toml

ONE = given({"RestrictAnonymous": 1})
SAMBA = Policy("samba", given({"samba:map to guest": "Bad User"}))


@pytest.mark.parametrize("name", ["a.reg", "a.inf", "a.txt", "smb.conf"])
@pytest.mark.parametrize(
    ("data", "found"),
    [
        (write_reg(ONE), {"RestrictAnonymous": 1}),
        (write_inf(ONE), {"RestrictAnonymous": 1}),
        (write_toml(Policy("windows", ONE)).encode(), {"RestrictAnonymous": 1}),
        (write_toml(SAMBA).encode("utf-16"), {"samba:map to guest": "Bad User"}),
        (write_smb_conf(SAMBA).encode(), {"samba:map to guest": "Bad User"}),
        (b"# Global parameters\n[global]\n\tmap to guest = Bad User\n", {"samba:map to guest": "Bad User"}),
        (b"map to guest = bad user\n", {"samba:map to guest": "Bad User"}),
        (b'\n\nREGEDIT4\n\n[HKEY_LOCAL_MACHINE\\SYSTEM\\X]\n"a"="b"\n', {}),
        (b'[Version]\nsignature="$CHICAGO$"\n', {}),
        (b"[shares.x]\n", {}),
        (b"settings.RestrictAnonymous = 1\n", {"RestrictAnonymous": 1}),
        (b"[global]\nmap to guest = Never\n[settings]\npath = /srv\n", {"samba:map to guest": "Never"}),
    ],
)
def test_what_is_in_a_file_decides(data: bytes, found: dict[str, object], name: str) -> None:
    assert values(read_bytes(data, name)) == found


def test_several_files_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "first.inf").write_bytes(write_inf(given({"NullSessionPipes": ("a", "b"), "RestrictAnonymous": 1})))
    (tmp_path / "last.reg").write_bytes(write_reg(given({"NullSessionPipes": ("c",)})))
    policy = read([tmp_path / "first.inf", tmp_path / "last.reg"])
    assert values(policy) == {"NullSessionPipes": ("c",), "RestrictAnonymous": 1}
    assert values(read([tmp_path / "last.reg", tmp_path / "first.inf"]))["NullSessionPipes"] == ("a", "b")
    assert policy.settings["NullSessionPipes"].source.startswith(str(tmp_path / "last.reg"))


def test_a_policy_of_windows_and_one_of_samba(tmp_path: Path) -> None:
    (tmp_path / "a.reg").write_bytes(write_reg(ONE))
    (tmp_path / "smb.conf").write_text(write_smb_conf(SAMBA))
    with pytest.raises(UsageError):
        read([tmp_path / "a.reg", tmp_path / "smb.conf"])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "nothing in it"),
        (b"\xff\xfe \0\r\0\n\0", "nothing in it"),
        (b"regf" + bytes(60), "hive"),
        (b"PK\x03\x04" + bytes(60), "control character"),
        (b"just some words\n", "no policy that is known here"),
        (b"<html><body></body></html>", "no policy that is known here"),
        (b'{"settings": {}}', "no policy that is known here"),
        (b"a,b\n1,2\n", "no policy that is known here"),
    ],
)
def test_files_that_are_no_policy(data: bytes, says: str) -> None:
    with pytest.raises(PolicyError, match=rf"x\.reg.*{says}"):
        read_bytes(data, "x.reg")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"none\.reg: No such file"):
        read_file(tmp_path / "none.reg")
    with pytest.raises(PolicyError, match="directory"):
        read_file(tmp_path)


def test_a_file_that_is_too_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reading, "MOST_BYTES", 100)
    (tmp_path / "a.reg").write_bytes(bytes(101))
    with pytest.raises(PolicyError, match="larger than"):
        read_file(tmp_path / "a.reg")


PIECES = st.sampled_from(
    [
        *(
            "REGEDIT4\n",
            "Windows Registry Editor Version 5.00\n",
            f"[{LSA}]\n",
            '"RestrictAnonymous"=',
            "dword:1\n",
            "hex(7):",
        ),
        *(
            "61,00,\\\n",
            "[Registry Values]\n",
            "MACHINE\\",
            "=4,1\n",
            "[global]\n",
            "guest ok = ",
            "yes\n",
            "%U",
            '"',
            "\\\n",
        ),
        *("[settings]\n", "NullSessionPipes", " = [", "]\n", "[", "-", ",", ";", "#", "\n", "é", "\x01"),
    ]
)


@run(max_examples=500, deadline=None)
@for_all(st.lists(PIECES, max_size=20).map("".join), st.sampled_from(["utf-8", "utf-16", "cp1252", "utf-16-be"]))
def test_any_text_is_a_policy_or_an_error(text: str, encoding: str) -> None:
    found = policy_or_error(text.encode(encoding), "x")
    said = found.warnings if isinstance(found, Policy) else [str(found)]
    assert all(each.startswith("x") for each in said)


@run(max_examples=300, deadline=None)
@for_all(st.binary(max_size=100))
def test_any_bytes_are_a_policy_or_an_error(data: bytes) -> None:
    for head in (b"", b"REGEDIT4\n", b"[global]\n", b"[settings]\n", b"\xff\xfe"):
        found = policy_or_error(head + data, "x")
        assert isinstance(found, Policy) or str(found).startswith("x")


@pytest.mark.parametrize(
    "text",
    [
        "REGEDIT4\n[HKEY_LOCAL_MACHINE]\n" + '"a"=hex:' + "00,\\\n" * 100_000,
        "REGEDIT4\n[HKEY_LOCAL_MACHINE]\n" + '"a"="' + "x\n" * 100_000,
        "REGEDIT4\n[HKEY_LOCAL_MACHINE]\n" + '"' + "\\" * 100_001,
        "[global]\nguest account = " + "a\\\n" * 100_000,
        "[global]\nhosts allow = " + '"' * 100_001,
        "[Registry Values]\n" + "a" * 300_000,
        "[Registry Values]\n" + 'a=7,"' * 50_000,
        "[global]\n" + "[" * 200_000,
        " " * 200_000 + "x",
        ("a " * 100_000) + "\n[global]\n",
        "[settings]\n" + "a = " + "[" * 100_000,
    ],
    ids=str.__len__,
)
def test_long_inputs_come_to_an_end(text: str) -> None:
    """What grows with the square of the length would take hours for these."""
    with suppress(PolicyError):
        read_bytes(text.encode(), "x")
