"""Settings and defaults: the tables hold what the documents say, and what is not known stays unknown."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from analyzer.errors import UsageError
from analyzer.knowledge import rows
from analyzer.policy.reading import read_bytes
from analyzer.policy.settings import (
    ABSENT,
    NUMBERS,
    RELEASES,
    RULES,
    Given,
    Kind,
    Policy,
    Value,
    build_of,
    default_of,
    merged,
    setting_of,
    settings,
)

SCOPES = {"SMB", "RPC over any transport", "LDAP", "any"}
DC_PIPES = ("netlogon", "samr", "lsarpc")


def default(setting: str, os_build: int | None, role: str | None) -> tuple[Value | None, str] | None:
    found = default_of(setting, family=None, os_build=os_build, role=role)
    return None if found is None else (found.value, found.confidence)


def test_the_columns_hold_what_they_may() -> None:
    for row in rows("policy_settings"):
        assert row["type"] in get_args(Kind), row["id"]
        assert row["scope"] in SCOPES, row["id"]
        assert row["side"] in {"server", "client", "both"}, row["id"]
        assert row["family"] in {"windows", "samba"}, row["id"]
        assert all(
            row[name] for name in ("display_name", "place", "value_name", "values", "restart", "plain", "breaks")
        )


def test_defaults_belong_to_settings_and_say_the_same_of_them() -> None:
    for row in rows("policy_defaults"):
        setting = setting_of(row["setting"])
        assert (row["scope"], row["side"]) == (setting.scope, setting.side)
        assert row["role"] in {"", "member", "dc"}
        if row["default"] not in ("", ABSENT) and setting.kind in NUMBERS:
            assert row["default"].isdecimal()
        if setting.family == "windows":
            assert int(row["os_build_from"]) <= int(row["os_build_to"])


def test_defaults_without_conditions_do_not_overlap() -> None:
    """One value at most for each build and role, unless an edition or update decides."""
    for setting in settings().values():
        those = [
            row for row in rows("policy_defaults") if row["setting"] == setting.id and not row["edition_or_update"]
        ]
        for build in RELEASES.values() if setting.family == "windows" else (0,):
            for role in ("member", "dc"):
                fitting = [
                    row["default"]
                    for row in those
                    if row["role"] in ("", role)
                    and (not row["os_build_from"] or int(row["os_build_from"]) <= build <= int(row["os_build_to"]))
                ]
                assert len(fitting) <= 1, (setting.id, build, role)


def test_inf_lines_name_the_place_of_the_setting() -> None:
    """A template's line and the registry say the same place in two spellings."""
    for setting in settings().values():
        if setting.inf_line.startswith("MACHINE\\"):
            key, _, name = setting.inf_line.partition("=")[0].rpartition("\\")
            assert key.lower().replace("machine", "hklm", 1) in [place.lower() for place in setting.places]
            assert name.lower() == setting.value_name.lower()


# [MS-SRVS] 3.1.3, product behaviour note <38>; on domain controllers the page of the policy.
@pytest.mark.parametrize(
    ("build", "role", "pipes"),
    [
        (
            RELEASES["2003"],
            "member",
            {"comnap", "comnode", "sql\\query", "spoolss", "netlogon", "lsarpc", "samr", "browser"},
        ),
        (RELEASES["2008"], "member", {"browser"}),
        (RELEASES["2008r2"], "member", set()),
        (RELEASES["2025"], "member", set()),
        (RELEASES["2012r2"], "dc", set(DC_PIPES)),
        (RELEASES["2022"], "dc", set(DC_PIPES)),
    ],
)
def test_pipes_open_by_default(build: int, role: str, pipes: set[str]) -> None:
    found = default_of("NullSessionPipes", family="windows", os_build=build, role=role)
    assert found is not None
    assert isinstance(found.value, tuple)
    assert {pipe.lower() for pipe in found.value} == pipes
    assert found.confidence == ("high" if role == "member" else "medium")


@pytest.mark.parametrize(
    ("setting", "release", "role", "value"),
    [
        # Microsoft Learn, the pages of these policies.
        ("RestrictNullSessAccess", "2003", "member", 1),
        ("RestrictAnonymousSAM", "2019", "member", 1),
        ("RestrictAnonymous", "2016", "dc", 0),
        ("EveryoneIncludesAnonymous", "2008", "member", 0),
        ("EveryoneIncludesAnonymous", "2000", "member", None),
        ("LSAAnonymousNameLookup", "2003", "dc", 1),
        ("LSAAnonymousNameLookup", "2003", "member", 0),
        ("LSAAnonymousNameLookup", "2016", "dc", 0),
        ("RestrictRemoteSam", "2012r2", "member", None),
        ("RestrictRemoteSam", "2016", "member", "O:SYG:SYD:(A;;RC;;;BA)"),
        ("RestrictRemoteSam", "2016", "dc", None),
        ("UseMachineId", "2008", "member", 0),
        ("UseMachineId", "2008r2", "member", 1),
        ("AllowNullSessionFallback", "2008r2", "member", 0),
        # Microsoft Learn: SMB security hardening in Windows Server 2025 and Windows 11.
        ("RequireSecuritySignature_client", "2022", "member", 0),
        ("RequireSecuritySignature_client", "2025", "member", 1),
        ("RequireSecuritySignature_server", "2025", "member", 0),
        ("RequireSecuritySignature_server", "2025", "dc", 1),
        # Microsoft Learn: SMBv1 is not installed by default.
        ("SMB1_server", "2016", "member", 1),
        ("SMB1_server", "2019", "member", 0),
        # KB 3034016
        ("IPCShareControl", "2008r2", "member", "open"),
        ("IPCShareControl", "2012", "member", "lists"),
        ("AllowAnonymousAccess", "2008r2", "member", None),
        ("AllowAnonymousAccess", "2012r2", "member", "lists"),
        ("EmptyNullSessionPipes", "2003", "dc", "none"),
        ("AnonymousWithoutEveryone", "2003", "member", "granted"),
        ("HardwiredPipes", "2019", "dc", DC_PIPES),
    ],
)
def test_defaults(setting: str, release: str, role: str, value: Value | None) -> None:
    found = default_of(setting, family="windows", os_build=RELEASES[release], role=role)
    assert found is not None
    assert found.value == value
    assert found.source


def test_what_depends_on_the_role_is_unknown_without_it() -> None:
    assert default("LSAAnonymousNameLookup", 3790, None) is None
    assert default("LSAAnonymousNameLookup", 3790, "dc") == (1, "high")


def test_what_is_the_same_everywhere_needs_no_release() -> None:
    assert default("RestrictNullSessAccess", None, None) == (1, "high")
    assert default("UseMachineId", None, None) is None


def test_a_build_that_no_row_names_has_no_default() -> None:
    assert default("NullSessionPipes", 30000, "member") is None
    assert default("NullSessionPipes", 9600, "member") is not None


def test_where_an_update_decides_there_is_no_default() -> None:
    """CVE-2022-26925: updates of May 2022 refuse what was allowed before; later releases refuse it from the start."""
    assert default("EFSR_null_session", RELEASES["2016"], "dc") is None
    assert default("EFSR_null_session", RELEASES["2025"], "dc") == ("refused", "high")
    assert default("EFSR_null_session", None, None) is None


def test_where_an_edition_may_decide_the_default_is_less_sure() -> None:
    """Home and Pro editions of the same build allow what servers refuse."""
    assert default("AllowInsecureGuestAuth", RELEASES["2019"], "member") == (0, "medium")


def test_defaults_are_of_one_family() -> None:
    assert default_of("NullSessionPipes", family="samba", os_build=9600, role="member") is None
    assert default_of("samba:guest ok", family="windows", os_build=None, role=None) is None
    assert default("samba:guest ok", None, None) == ("no", "high")


@pytest.mark.skipif(shutil.which("testparm") is None, reason="testparm (Samba) is not installed")
def test_samba_itself_has_these_defaults(tmp_path: Path) -> None:
    (tmp_path / "smb.conf").write_text("[global]\n[share]\npath = /\n")
    printed = subprocess.run(
        ["testparm", "-sv", str(tmp_path / "smb.conf")], capture_output=True, check=True, timeout=60
    ).stdout
    found = read_bytes(printed, "testparm").settings
    compared = 0
    for row in rows("policy_defaults"):
        if row["setting"] in found and not row["edition_or_update"]:
            assert found[row["setting"]].value == default(row["setting"], None, None)[0]  # type: ignore[index]
            compared += 1
    assert compared > 10


@pytest.mark.parametrize("name", ["NullSessionPipe", "samba:public", ""])
def test_ids_that_do_not_exist_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="unknown setting"):
        default_of(name, family=None, os_build=None, role=None)


def test_a_role_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="role"):
        default_of("NullSessionPipes", family=None, os_build=9600, role="workstation")


@pytest.mark.parametrize(
    ("written", "build"),
    [
        ("2012 R2", 9600),
        ("Windows Server 2019", 17763),
        ("2008r2", 7601),
        ("20348", 20348),
        ("3790", 3790),
        ("NT4", 1381),
    ],
)
def test_releases(written: str, build: int) -> None:
    assert build_of(written) == build


@pytest.mark.parametrize("written", ["", "2011", "vista2", "99", "9600000"])
def test_releases_that_do_not_exist(written: str) -> None:
    with pytest.raises(UsageError, match="no release is called"):
        build_of(written)


def test_the_last_policy_wins_and_lists_replace() -> None:
    """[MS-GPSB]: of several policies the last one holds; a multi-string is one value."""
    first = Policy("windows", {"NullSessionPipes": Given(("samr", "lsarpc"), "a"), "RestrictAnonymous": Given(1, "a")})
    last = Policy(None, {"NullSessionPipes": Given(("browser",), "b")}, warnings=("w",))
    both = merged([first, last])
    assert both.family == "windows"
    assert dict(both.settings) == {"NullSessionPipes": Given(("browser",), "b"), "RestrictAnonymous": Given(1, "a")}
    assert both.warnings == ("w",)


def test_an_absent_value_replaces_too() -> None:
    given = Policy("windows", {"RestrictAnonymous": Given(1, "a")})
    deleted = Policy("windows", {"RestrictAnonymous": Given(None, "b")})
    assert merged([given, deleted]).settings["RestrictAnonymous"].value is None


def test_shares_are_merged_by_option() -> None:
    first = Policy("samba", shares={"scans": {"guest ok": Given("yes", "a"), "guest only": Given("yes", "a")}})
    last = Policy("samba", shares={"scans": {"guest ok": Given("no", "b")}, "x": {}})
    assert merged([first, last]).shares == {
        "scans": {"guest ok": Given("no", "b"), "guest only": Given("yes", "a")},
        "x": {},
    }


def test_families_are_not_mixed() -> None:
    with pytest.raises(UsageError, match="Samba"):
        merged([Policy("windows"), Policy("samba")])


def test_nothing_merged_is_nothing() -> None:
    assert merged([]) == Policy()


def test_rules_are_told_apart_from_what_can_be_set() -> None:
    rules = {setting.id for setting in settings().values() if setting.kind in RULES}
    assert {"IPCShareControl", "AllowAnonymousAccess", "HardwiredPipes", "EFSR_null_session"} <= rules
    assert "NullSessionPipes" not in rules
