"""All files of a policy, and what undoes it."""

from __future__ import annotations

import pytest
from given import given, options, values

from analyzer.errors import PolicyError, UsageError
from analyzer.policy.artefacts import artefacts
from analyzer.policy.reading import read_bytes
from analyzer.policy.record import Content
from analyzer.policy.settings import Policy

WANTED = {
    "NullSessionPipes": ("netlogon", "sql\\query"),
    "RestrictAnonymous": 1,
    "RestrictRemoteClients": 1,
    "LSAAnonymousNameLookup": 0,
    "RestrictRemoteSam": None,
    "PreWindows2000CompatibleAccess": ("*S-1-5-11",),
}
POLICY = Policy("windows", given(WANTED))
BASELINE = Policy(
    "windows", given({"NullSessionPipes": (), "RestrictAnonymous": None, "LSAAnonymousNameLookup": 1, "SMB1_server": 1})
)
IN_TEMPLATE = {"NullSessionPipes", "RestrictAnonymous", "LSAAnonymousNameLookup", "PreWindows2000CompatibleAccess"}
IN_REGISTRY = {"NullSessionPipes", "RestrictAnonymous", "RestrictRemoteClients", "RestrictRemoteSam"}


def test_files_of_windows() -> None:
    found = artefacts(POLICY)
    assert set(found.files) == {"policy.inf", "policy.reg", "apply.ps1", "policy.toml", "change-record.md"}
    read = {name: values(read_bytes(found.files[name], name)) for name in ("policy.inf", "policy.reg", "policy.toml")}
    assert read["policy.inf"] == {name: value for name, value in WANTED.items() if name in IN_TEMPLATE}
    assert read["policy.reg"] == {name: value for name, value in WANTED.items() if name in IN_REGISTRY}
    assert read["policy.toml"] == WANTED


def test_what_a_file_does_not_carry_is_said() -> None:
    assert set(artefacts(POLICY).left_out) == {
        "policy.inf: cannot carry RestrictRemoteClients, RestrictRemoteSam",
        "policy.reg: cannot carry LSAAnonymousNameLookup, PreWindows2000CompatibleAccess",
        "apply.ps1: cannot carry PreWindows2000CompatibleAccess",
    }


def test_lines_end_as_windows_ends_them() -> None:
    files = artefacts(POLICY).files
    for name in ("policy.inf", "policy.reg"):
        text = files[name].decode("utf-16")
        assert text.count("\n") == text.count("\r\n") > 3
        assert files[name][:2] == b"\xff\xfe"
    assert files["apply.ps1"].count(b"\n") == files["apply.ps1"].count(b"\r\n")
    assert files["apply.ps1"].isascii()


def test_what_undoes_it() -> None:
    """Only of settings that are changed; absent values are deleted again, which a template cannot say."""
    found = artefacts(POLICY, baseline=BASELINE)
    back = {name: values(read_bytes(found.files[name], name)) for name in ("rollback.inf", "rollback.reg")}
    assert back["rollback.reg"] == {"NullSessionPipes": (), "RestrictAnonymous": None}
    assert back["rollback.inf"] == {"NullSessionPipes": (), "LSAAnonymousNameLookup": 1}
    assert "rollback: RestrictRemoteClients: what is set now is not known" in found.left_out
    assert "rollback.inf: cannot carry RestrictAnonymous" in found.left_out


def test_settings_of_two_places_are_undone_at_one() -> None:
    policy = Policy("windows", given({"AllowInsecureGuestAuth": 0}))
    found = artefacts(policy, baseline=Policy("windows", given({"AllowInsecureGuestAuth": 1})))
    assert [line for line in found.left_out if line.startswith("rollback.reg: AllowInsecureGuestAuth")]
    absent = artefacts(policy, baseline=Policy("windows", given({"AllowInsecureGuestAuth": None})))
    assert not [line for line in absent.left_out if line.startswith("rollback.reg")]


def test_without_a_baseline_nothing_undoes_it() -> None:
    assert not [name for name in artefacts(POLICY).files if name.startswith("rollback")]


def test_applied_and_undone_gives_what_was() -> None:
    """As an import of the two exports one after the other does."""
    found = artefacts(POLICY, baseline=BASELINE)
    registry = {"NullSessionPipes": (), "RestrictAnonymous": None}
    for name in ("policy.reg", "rollback.reg"):
        registry |= values(read_bytes(found.files[name], name))  # type: ignore[assignment]
    assert {name: registry[name] for name in ("NullSessionPipes", "RestrictAnonymous")} == {
        "NullSessionPipes": (),
        "RestrictAnonymous": None,
    }


def test_files_of_samba() -> None:
    policy = Policy("samba", given({"samba:map to guest": "Never"}), {"scans": given({"guest ok": "no"})})
    baseline = Policy("samba", given({"samba:map to guest": "Bad User"}), {"scans": given({"guest ok": "yes"})})
    found = artefacts(policy, baseline=baseline)
    assert set(found.files) == {"policy.smb.conf", "rollback.smb.conf", "policy.toml", "change-record.md"}
    back = read_bytes(found.files["rollback.smb.conf"], "r")
    assert (values(back), options(back)) == (values(baseline), options(baseline))
    assert values(read_bytes(found.files["policy.smb.conf"], "p")) == values(policy)
    assert artefacts(policy, baseline=Policy()).left_out == (
        "rollback: samba:map to guest: what is set now is not known",
        "rollback: [scans] guest ok: what is set now is not known",
    )


def test_the_record_names_the_other_files() -> None:
    found = artefacts(POLICY, baseline=BASELINE, content=Content(title="T"))
    record = found.files["change-record.md"].decode()
    assert record.startswith("# T\n")
    assert all(f"- {name}: SHA-256" in record for name in found.files if name != "change-record.md")


def test_a_name_that_a_format_cannot_carry_is_an_error() -> None:
    """Names of pipes may come from a capture, and hold anything."""
    for name in ('a"b', "a\r\n[Privilege Rights]\r\nSeDebugPrivilege = *S-1-1-0", "\0", "\ud800"):
        with pytest.raises(PolicyError, match="NullSessionPipes"):
            artefacts(Policy("windows", given({"NullSessionPipes": (name,)})))


def test_policies_that_nobody_can_set() -> None:
    with pytest.raises(UsageError, match="IPCShareControl"):
        artefacts(Policy("windows", given({"IPCShareControl": "open"})))
    with pytest.raises(UsageError, match="Windows or for Samba"):
        artefacts(Policy(None, given({"RestrictAnonymous": 1})))
    with pytest.raises(UsageError, match="Windows or for Samba"):
        artefacts(POLICY, baseline=Policy("samba"))


def test_a_policy_that_sets_nothing() -> None:
    assert set(artefacts(Policy("windows")).files) == {"policy.toml", "change-record.md"}
    assert set(artefacts(Policy("samba")).files) == {"policy.toml", "change-record.md"}
