"""Policies in plain words."""

from __future__ import annotations

from given import given

from analyzer.policy.explain import explained, rules, untold
from analyzer.policy.settings import RULES, Given, Policy, settings

POLICY = Policy("windows", given({"RestrictNullSessAccess": 0, "NullSessionPipes": ("SAMR", "netlogon", "lsarpc")}))


def test_a_value_its_meaning_and_its_default() -> None:
    access, pipes = explained(POLICY, os_build=9600, role="dc")
    assert (access.value, access.meaning) == ("0", "no restriction by lists")
    assert access.default is not None
    assert access.default.value == 1
    assert access.default_words == "1 (anonymous only to the listed pipes and shares), confidence high"
    assert access.is_default is False
    assert pipes.value == "SAMR, netlogon, lsarpc"
    assert pipes.is_default is True, "neither order nor capitals matter"
    assert pipes.given.source == "test"


def test_without_release_and_role_defaults_may_be_unknown() -> None:
    access, pipes = explained(POLICY)
    assert access.default is not None
    assert pipes.default is None
    assert pipes.is_default is None
    assert pipes.default_words == "not known"


def test_absent_and_empty_values_have_words() -> None:
    policy = Policy(
        "windows",
        given({"RestrictAnonymous": None, "NullSessionShares": (), "RestrictRemoteSam": "", "SMB1_server": 0}),
    )
    found = list(explained(policy, os_build=17763, role="member"))
    assert [each.value for each in found] == ["absent", "empty list", "empty text", "0"]
    assert [each.is_default for each in found] == [True, True, False, True]


def test_options_of_shares() -> None:
    policy = Policy("samba", given({"samba:map to guest": "Bad User"}), {"scans": {"guest ok": Given("yes", "line 3")}})
    first, second = explained(policy)
    assert (first.share, first.meaning, first.is_default) == (None, "unknown names become guest", False)
    assert (second.share, second.setting.id, second.meaning) == ("scans", "samba:guest ok", "guests may use the share")


def test_what_a_policy_does_not_tell() -> None:
    names = {each.setting.id for each in untold(POLICY, os_build=9600, role="dc")}
    settable = {it.id for it in settings().values() if it.family == "windows" and it.kind not in RULES}
    assert names == settable - set(POLICY.settings)


def test_rules_by_release() -> None:
    """KB 3034016: from Windows Server 2012 on the lists decide whether there are anonymous sessions."""

    def holds(build: int, role: str) -> dict[str, object]:
        return {setting.id: found.value for setting, found in rules(os_build=build, role=role)}

    assert holds(7601, "member")["IPCShareControl"] == "open"
    assert "AllowAnonymousAccess" not in holds(7601, "member")
    assert holds(9200, "member")["AllowAnonymousAccess"] == "lists"
    assert "HardwiredPipes" not in holds(9200, "member")
    assert holds(9200, "dc")["HardwiredPipes"] == ("netlogon", "samr", "lsarpc")


def test_every_meaning_is_of_a_value() -> None:
    for setting in settings().values():
        if setting.kind in ("dword", "system", "int", "directory"):
            assert all(value.isdecimal() for value in setting.meanings), setting.id
