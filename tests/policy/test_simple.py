"""The form of our own, in TOML."""

from __future__ import annotations

import tomllib

import pytest
from given import given, options, texts, values
from hypothesis import given as for_all
from hypothesis import settings as run
from hypothesis import strategies as st

from analyzer.errors import PolicyError
from analyzer.policy.reading import read_bytes
from analyzer.policy.settings import Policy, Value, settings
from analyzer.policy.simple import read_toml, write_toml

WINDOWS = """\
family = "windows"

[settings]
RestrictNullSessAccess = 1
NullSessionPipes = ["netlogon", 'sql\\query']
RestrictRemoteSam = { absent = true }
"""


def test_a_policy_of_windows() -> None:
    policy = read_bytes(WINDOWS.encode(), "p.toml")
    assert policy.family == "windows"
    assert values(policy) == {
        "RestrictNullSessAccess": 1,
        "NullSessionPipes": ("netlogon", "sql\\query"),
        "RestrictRemoteSam": None,
    }
    assert policy.settings["NullSessionPipes"].source == "p.toml, settings.NullSessionPipes"


def test_a_policy_of_samba() -> None:
    policy = read_bytes(b'[settings]\n"samba:nt pipe support" = true\n[shares.Scans]\n"guest ok" = "yes"\n', "p")
    assert policy.family == "samba"
    assert values(policy) == {"samba:nt pipe support": "yes"}
    assert options(policy) == {"scans": {"guest ok": "yes"}}


def test_what_does_not_tell_its_family() -> None:
    assert read_bytes(b"[settings]\n", "p").family is None


def test_unknown_settings_are_named_and_left_out() -> None:
    policy = read_toml('[settings]\nNullSessionPipe = ["a"]\nIPCShareControl = "open"\nRestrictAnonymous = 1\n', "p")
    assert values(policy) == {"RestrictAnonymous": 1}
    assert policy.warnings == ("p: not among the settings known here, left out: NullSessionPipe, IPCShareControl",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[settings]\nRestrictAnonymous = 1\nRestrictAnonymous = 2\n", "no valid TOML"),
        ("[settings\n", "no valid TOML"),
        ("[settings]\nx = " + "[" * 5000, "no valid TOML"),
        ('[setting]\nRestrictAnonymous = "1"\n', "unknown key 'setting'"),
        ('[settings]\nRestrictAnonymous = "1"\n', "settings.RestrictAnonymous: a number is wanted"),
        ("[settings]\nRestrictAnonymous = -1\n", "a number is wanted"),
        ("[settings]\nRestrictAnonymous = 4294967296\n", "a number is wanted"),
        ('[settings]\nNullSessionPipes = "a"\n', "a list of texts is wanted"),
        ("[settings]\nNullSessionPipes = [1]\n", "a list of texts is wanted"),
        ("[settings]\nRestrictRemoteSam = { absent = false }\n", "a text is wanted"),
        ('[settings]\nSrvsvcSessionInfo = "xy"\n', "hexadecimal"),
        ('[settings]\n"samba:guest ok" = "maybe"\n', "yes or no is wanted"),
        ('[settings]\n"samba:map to guest" = "bad user"\n', "one of Never, Bad User"),
        ("settings = 1\n", "settings: a table is wanted"),
        ("[shares]\nx = 1\n", "shares.x: a table is wanted"),
        ('family = "macos"\n[settings]\n', "windows or samba"),
        ('family = "samba"\n[settings]\nRestrictAnonymous = 1\n', "another family"),
        ('[settings]\nRestrictAnonymous = 1\n"samba:guest ok" = "no"\n', "Windows and of Samba"),
        ('[settings]\nRestrictAnonymous = 1\n[shares.x]\n"guest ok" = "no"\n', "Windows and of Samba"),
    ],
)
def test_wrong_files(text: str, says: str) -> None:
    with pytest.raises(PolicyError, match=says) as problem:
        read_toml(text, "p.toml")
    assert str(problem.value).startswith("p.toml")


def values_for(kind: str) -> st.SearchStrategy[Value]:
    if kind in ("dword", "system", "int", "directory"):
        return st.integers(0, 0xFFFFFFFF)
    if kind in ("multi", "right", "members", "list"):
        return st.lists(texts, max_size=3).map(tuple)
    return texts


SETTABLE = sorted(
    it.id
    for it in settings().values()
    if it.family == "windows" and it.kind in ("dword", "multi", "sz", "system", "right", "members")
)


@run(max_examples=200, deadline=None)
@for_all(st.data(), st.lists(st.sampled_from(SETTABLE), max_size=4, unique=True), st.text(max_size=20))
def test_any_policy_is_read_back(data: st.DataObject, names: list[str], comment: str) -> None:
    wanted = {name: data.draw(st.none() | values_for(settings()[name].kind)) for name in names}
    written = write_toml(Policy("windows", given(wanted)), comment)
    assert values(read_bytes(written.encode(), "p")) == wanted
    assert set(tomllib.loads(written)) <= {"family", "settings"}


@run(max_examples=100, deadline=None)
@for_all(texts, st.lists(texts, max_size=3))
def test_any_share_is_read_back(share: str, hosts: list[str]) -> None:
    policy = Policy("samba", shares={share.lower(): given({"hosts allow": tuple(hosts)})})
    # Lower-casing twice may change a few characters of other alphabets.
    back = options(read_bytes(write_toml(policy).encode(), "p"))
    assert list(back.values()) == [{"hosts allow": tuple(hosts)}]
    assert list(back) == [share.lower().lower()]


def test_texts_that_are_none() -> None:
    with pytest.raises(PolicyError):
        write_toml(Policy("windows", given({"NullSessionPipes": ("\ud800",)})))
