"""A policy in a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from analyzer.policy.settings import Given, Policy
from analyzer.report.policies import render

POLICY = Policy(
    "windows",
    {
        "RestrictNullSessAccess": Given(0, "lab.reg, line 5"),
        "NullSessionPipes": Given(("[red]a\x1b[2J",), "lab.reg, line 3"),
    },
)


def printed(policy: Policy, *, os_build: int | None = None, role: str | None = None, everything: bool = False) -> str:
    console = Console(file=io.StringIO(), width=400, color_system=None)
    render(policy, console, os_build=os_build, role=role, everything=everything)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_each_setting_has_its_words_its_default_and_its_place() -> None:
    lines = printed(POLICY, os_build=17763, role="member").splitlines()
    at = lines.index("Network access: Restrict anonymous access to Named Pipes and Shares (RestrictNullSessAccess)")
    assert lines[at + 1] == "    0: no restriction by lists"
    assert lines[at + 3] == "    default: 1 (anonymous only to the listed pipes and shares), confidence high"
    assert lines[at + 4].startswith("    lab.reg, line 5; documents: Microsoft Learn")
    assert "    default: empty list, confidence high" in lines


def test_names_steer_nothing() -> None:
    assert "    [red]a\\u001b[2J" in printed(POLICY).splitlines()


def test_rules_of_a_release_are_told_where_one_is_named() -> None:
    assert "KB 3034016" in printed(POLICY, os_build=7601, role="member")
    assert "KB 3034016" not in printed(POLICY)
    assert "KB 3034016" not in printed(Policy("samba"), os_build=7601)


def test_a_policy_without_settings() -> None:
    assert printed(Policy("samba")) == "No setting that is known here.\n"
    everything = printed(Policy("samba"), everything=True)
    assert "smb.conf: map to guest (samba:map to guest)" in everything
    assert "default: Never" in everything


def test_shares_are_named() -> None:
    policy = Policy("samba", shares={"scans": {"guest ok": Given("yes", "smb.conf, line 9")}})
    assert "smb.conf: guest ok (samba:guest ok) in [scans]" in printed(policy)
