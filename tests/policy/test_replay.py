"""What-if on tables: what is looked at, how it checks itself, and what it says of what it cannot know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import analyzer
from analyzer import policy as policies
from analyzer import tables
from analyzer.errors import UsageError
from analyzer.policy.replay import WhatIf
from tests.policy.seen import call, opened, policy, seen, use

CAPTURES = Path(__file__).parents[2] / "captures"
LISTS = {"NullSessionPipes": ("browser",), "NullSessionShares": (), "RestrictNullSessAccess": 1}
CHANGES = {
    "change-1-restrict1": policy("samba", restrict_anonymous=1),
    "change-2-restrict2": policy("samba", restrict_anonymous=2),
    "change-3-map-never": policy("samba", map_to_guest="Never"),
    "change-4-guest-no": policy("samba", shares={"public": {"guest ok": "no"}}),
    "change-5-min-smb2": policy("samba", server_min_protocol="SMB2"),
    "change-6-encrypt": policy("samba", server_smb_encrypt="required"),
}
KEY = ["client_ip", "resource", "interface", "operation"]


def outcomes(found: WhatIf) -> list[str]:
    return [str(outcome) for outcome in found.rows()["outcome"]]


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_predicted_is_what_the_second_capture_shows(name: str) -> None:
    before = analyzer.analyze(CAPTURES / "change-0-open.pcap")
    after = analyzer.analyze(CAPTURES / f"{name}.pcap").dependencies
    found = policies.whatif({table: before.arrow(table) for table in policies.NEEDED}, policies={"": CHANGES[name]})
    assert not found.contradictions
    worked = {tuple(row) for row in after.loc[after["succeeded"] > 0, KEY].fillna("").itertuples(index=False)}
    broken = 0
    for row in found.rows().itertuples(index=False):
        key = tuple(getattr(row, column) if isinstance(getattr(row, column), str) else "" for column in KEY)
        if row.outcome == "still_works":
            assert key in worked, row
        elif row.outcome == "breaks":
            assert key not in worked, row
            broken += 1
    assert broken


def test_without_a_change_nothing_else_is_predicted() -> None:
    before = analyzer.analyze(CAPTURES / "change-0-open.pcap")
    found = policies.whatif(
        {table: before.arrow(table) for table in policies.NEEDED},
        policies={"": policy("samba", restrict_anonymous=0)},
        baselines={"": policy("samba", restrict_anonymous=0, map_to_guest="Bad User")},
    )
    assert not found.contradictions
    assert set(outcomes(found)) == {"still_works"}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_set_predicts_what_was_seen(name: str) -> None:
    after = analyzer.analyze(CAPTURES / f"{name}.pcap")
    rows = {table: after.arrow(table) for table in policies.NEEDED}
    found = policies.whatif(rows, policies={"": policy("samba")}, baselines={"": CHANGES[name]})
    assert not found.contradictions


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("change-1-restrict1", {"restrict_anonymous": 0}),
        ("change-2-restrict2", {"restrict_anonymous": 1}),
        ("change-6-encrypt", {"server_smb_encrypt": "default"}),
        ("change-0-open", {"restrict_anonymous": 1}),
        ("change-0-open", {"restrict_anonymous": 2}),
        ("change-0-open", {"server_min_protocol": "SMB2"}),
        ("change-0-open", {"map_to_guest": "Never"}),
    ],
)
def test_what_is_not_set_is_contradicted_by_what_was_seen(name: str, setting: dict[str, object]) -> None:
    after = analyzer.analyze(CAPTURES / f"{name}.pcap")
    rows = {table: after.arrow(table) for table in policies.NEEDED}
    found = policies.whatif(rows, policies={"": policy("samba")}, baselines={"": policy("samba", **setting)})
    told = {name for it in found.contradictions for name in it.settings}
    assert told == {"samba:" + name.replace("_", " ") for name in setting}


def test_each_row_keeps_its_number_and_has_an_outcome() -> None:
    rows = seen(
        use("spoolss"), use("browser"), use("IPC$"), use("COMCFG"), use("samr", verdict="denied", refused_at="open")
    )
    found = policies.whatif(rows, policies={"": policy(**LISTS)}, roles={"": "member"})
    assert outcomes(found) == ["breaks", "still_works", "still_works", "breaks", "refused_today"]
    assert found.rows()["row"].tolist() == [0, 1, 2, 3, 4]
    first = found.rows().iloc[0]
    assert first["setting"] == "NullSessionPipes"
    assert "MS-SRVS" in first["source"]
    assert found.counts() == {"breaks": 2, "cannot_be_known": 0, "still_works": 2, "refused_today": 1}


def test_scanners_do_not_count_but_keep_their_row() -> None:
    rows = seen(use("spoolss", excluded=True), use("browser"))
    found = policies.whatif(rows, policies={"": policy(**LISTS)}, roles={"": "member"})
    assert found.counts()["breaks"] == 0
    assert outcomes(found)[0] == "breaks"
    assert not found.breaks()


def test_what_a_policy_does_not_name_stays_as_it_is() -> None:
    rows = seen(call("samr", "SamrEnumerateUsersInDomain"), use("spoolss"))
    found = policies.whatif(rows, policies={"": policy(RestrictAnonymousSAM=1)}, roles={"": "member"})
    assert outcomes(found) == ["breaks", "still_works"]


def test_a_list_without_its_switch_says_nothing_unless_defaults_are_assumed() -> None:
    rows = seen(use("spoolss"))
    given = policy(NullSessionPipes=("browser",))
    assert outcomes(policies.whatif(rows, policies={"": given}, roles={"": "member"})) == ["cannot_be_known"]
    assumed = policies.whatif(rows, policies={"": given}, roles={"": "member"}, assume_defaults=True)
    # By default no pipe is listed on 2008 R2, yet this one worked: the defaults are not what is set there.
    assert outcomes(assumed) == ["cannot_be_known"]
    assert assumed.contradictions
    baseline = policy(RestrictNullSessAccess=1)
    told = policies.whatif(rows, policies={"": given}, roles={"": "member"}, baselines={"": baseline})
    assert outcomes(told) == ["breaks"]


def test_a_baseline_that_the_captures_contradict_makes_its_settings_unknown() -> None:
    rows = seen(use("spoolss"), use("browser"), use("COMCFG"))
    baseline = policy(NullSessionPipes=("browser",), RestrictNullSessAccess=1)
    found = policies.whatif(
        rows, policies={"": policy(NullSessionPipes=())}, baselines={"": baseline}, roles={"": "member"}
    )
    assert [(it.resource, it.settings, it.row) for it in found.contradictions] == [
        ("spoolss", ("NullSessionPipes",), 0)
    ]
    assert outcomes(found) == ["cannot_be_known", "cannot_be_known", "still_works"]


def test_a_refusal_that_the_baseline_does_not_predict_is_a_contradiction() -> None:
    rows = seen(use("spoolss", verdict="denied", refused_at="open"), use("browser"))
    baseline = policy(NullSessionPipes=("spoolss", "browser"), RestrictNullSessAccess=1)
    found = policies.whatif(
        rows, policies={"": policy(NullSessionPipes=("browser",))}, baselines={"": baseline}, roles={"": "member"}
    )
    assert [it.resource for it in found.contradictions] == ["spoolss"]
    assert outcomes(found) == ["refused_today", "cannot_be_known"]


def test_a_refusal_that_the_baseline_predicts_is_none() -> None:
    rows = seen(use("spoolss", verdict="denied", refused_at="open"), use("browser"))
    baseline = policy(NullSessionPipes=("browser",), RestrictNullSessAccess=1)
    found = policies.whatif(rows, policies={"": policy()}, baselines={"": baseline}, roles={"": "member"})
    assert not found.contradictions
    assert outcomes(found) == ["refused_today", "still_works"]


@pytest.mark.parametrize(
    ("opens", "is_doubtful"),
    [
        ((opened("spoolss", second=1), opened("spoolss", second=2, status="STATUS_ACCESS_DENIED")), True),
        ((opened("spoolss", second=1, status="STATUS_ACCESS_DENIED"), opened("spoolss", second=2)), True),
        (
            (
                opened("spoolss", second=1),
                opened("spoolss", second=2, status="STATUS_ACCESS_DENIED"),
                opened("spoolss", second=3),
            ),
            False,
        ),
    ],
)
def test_a_pipe_that_worked_and_then_did_not_was_changed_meanwhile(opens: tuple, is_doubtful: bool) -> None:
    rows = seen(use("spoolss"), use("browser"), opens=opens)
    found = policies.whatif(rows, policies={"": policy(**LISTS)}, roles={"": "member"})
    assert bool(found.contradictions) == is_doubtful
    assert outcomes(found) == ["cannot_be_known" if is_doubtful else "breaks", "still_works"]


def test_what_a_server_is_must_be_known() -> None:
    found = policies.whatif(seen(use("spoolss"), system=""), policies={"": policy(**LISTS)})
    assert outcomes(found) == ["cannot_be_known"]
    assert any("--os" in line for line in found.warnings)
    told = policies.whatif(
        seen(use("spoolss"), system=""), policies={"": policy(**LISTS)}, systems={"": "2008r2"}, roles={"": "member"}
    )
    assert outcomes(told) == ["breaks"]


def test_a_policy_of_windows_says_nothing_of_samba() -> None:
    found = policies.whatif(seen(use("spoolss"), system="samba"), policies={"": policy(**LISTS)})
    assert outcomes(found) == ["cannot_be_known"]
    assert "Samba" in found.rows().iloc[0]["why"]


def test_what_hangs_on_the_role_cannot_be_known_without_it() -> None:
    rows = seen(call("samr", "SamrEnumerateUsersInDomain"))
    found = policies.whatif(rows, policies={"": policy(RestrictAnonymousSAM=1)})
    assert outcomes(found) == ["cannot_be_known"]
    assert "domain controller" in found.rows().iloc[0]["why"]


def test_dialects_that_are_not_known_may_be_any() -> None:
    empty = policy(NullSessionPipes=(), NullSessionShares=(), RestrictNullSessAccess=1)
    for dialect, outcome in (("3.1.1", "breaks"), ("NT LM 0.12", "cannot_be_known"), (None, "cannot_be_known")):
        rows = seen(use("IPC$"), system="2016", dialect=dialect)
        found = policies.whatif(rows, policies={"": empty}, roles={"": "member"})
        assert outcomes(found) == [outcome], dialect


def test_a_pipe_opened_by_call_nmpipe_cannot_be_known() -> None:
    rows = seen(use("spoolss"), opens=[opened("spoolss", via="call_nmpipe")])
    for listed in (("spoolss",), ("browser",)):
        given = policy(NullSessionPipes=listed, RestrictNullSessAccess=1)
        found = policies.whatif(rows, policies={"": given}, roles={"": "member"})
        assert outcomes(found) == ["cannot_be_known"]
        assert "CallNmPipe" in found.rows().iloc[0]["why"]


def test_a_session_of_nobody_knows_whom_cannot_break_for_sure() -> None:
    rows = seen(use("spoolss", identity="unknown", verdict="unknown"))
    found = policies.whatif(rows, policies={"": policy(**LISTS)}, roles={"": "member"})
    assert outcomes(found) == ["cannot_be_known"]


def test_an_operation_that_was_not_captured_cannot_be_known() -> None:
    rows = seen(use("(pipe not captured)", "opnum 13", interface=None), use("samr", "opnum 77", interface="samr"))
    found = policies.whatif(rows, policies={"": policy(RestrictAnonymousSAM=1, **LISTS)}, roles={"": "member"})
    assert outcomes(found) == ["cannot_be_known", "breaks"]


def test_an_interface_that_was_not_captured_cannot_be_known_on_samba_either() -> None:
    rows = seen(use("(pipe not captured)", "opnum 13"), use("srvsvc", "opnum 200", interface="srvsvc"), system="samba")
    found = policies.whatif(rows, policies={"": policy("samba", restrict_anonymous=1)})
    assert outcomes(found) == ["cannot_be_known", "cannot_be_known"]


def test_what_went_through_a_pipe_unread_may_be_what_is_refused() -> None:
    data = {"bytes_written": 300, "bytes_read": 300}
    acting = {"": policy(RestrictAnonymousSAM=1)}
    for opens, outcome in (
        ([opened("samr")], "still_works"),
        ([opened("samr", **data)], "cannot_be_known"),
        ([opened("samr", **data, form="other")], "still_works"),
    ):
        found = policies.whatif(seen(use("samr"), opens=opens), policies=acting, roles={"": "member"})
        assert outcomes(found) == [outcome]
    bound = policies.whatif(seen(use("samr", interface="samr")), policies=acting, roles={"": "member"})
    assert outcomes(bound) == ["cannot_be_known"]
    elsewhere = policies.whatif(
        seen(use("spoolss"), opens=[opened("spoolss", **data)]), policies=acting, roles={"": "member"}
    )
    assert outcomes(elsewhere) == ["still_works"]


def test_a_session_in_which_nobody_knows_what_was_done_may_have_used_anything() -> None:
    hidden = use("IPC$", verdict="unknown", evidence="session.encrypted")
    regular = use("IPC$", verdict="unknown", evidence="probe.regular", client="10.0.0.2")
    rows = seen(hidden, regular, use("IPC$", verdict="probe", client="10.0.0.3"))
    for given in (policy(**LISTS), policy(RestrictAnonymousSAM=1)):
        found = policies.whatif(rows, policies={"": given}, roles={"": "member"})
        assert outcomes(found) == ["cannot_be_known", "still_works", "still_works"]
    assert outcomes(policies.whatif(rows, policies={"": policy()}, roles={"": "member"})) == ["still_works"] * 3


def test_a_call_that_is_authenticated_inside_rpc_is_perhaps_not_anonymous() -> None:
    rows = seen(call("samr", "SamrEnumerateUsersInDomain", rpc_auth="NTLM, privacy"))
    found = policies.whatif(rows, policies={"": policy(RestrictAnonymousSAM=1)}, roles={"": "member"})
    assert outcomes(found) == ["cannot_be_known"]
    closed = policies.whatif(rows, policies={"": policy(**LISTS)}, roles={"": "member"})
    assert outcomes(closed) == ["breaks"]  # the pipe knows nothing of that


def test_one_server_may_have_its_own_policy() -> None:
    rows = seen(use("spoolss"), use("spoolss", server="192.168.0.2"))
    found = policies.whatif(rows, policies={"192.168.0.2": policy(**LISTS)}, roles={"": "member"})
    assert outcomes(found) == ["still_works", "breaks"]


def test_another_name_of_the_same_endpoint_is_pointed_out() -> None:
    rows = seen(call("samr", "SamrConnect5"))
    given = policy(NullSessionPipes=("lsarpc",), RestrictNullSessAccess=1)
    found = policies.whatif(rows, policies={"": given}, roles={"": "member"})
    assert outcomes(found) == ["breaks"]
    assert len(found.aliases) == 1
    assert "lsarpc" in found.aliases[0]


def test_an_endpoint_that_a_bind_names_counts_for_more_than_what_is_known() -> None:
    opens = [
        opened("mine", secondary_address="\\PIPE\\common"),
        opened("yours", secondary_address="\\pipe\\Common"),
    ]
    rows = seen(use("mine"), opens=opens)
    found = policies.whatif(
        rows, policies={"": policy(NullSessionPipes=("yours",), RestrictNullSessAccess=1)}, roles={"": "member"}
    )
    assert len(found.aliases) == 1


def test_what_hangs_on_access_lists_is_collected() -> None:
    rows = seen(use("spoolss"), use("SCANS"), use("IPC$"))
    found = policies.whatif(rows, policies={"": policy(EveryoneIncludesAnonymous=0)}, roles={"": "member"})
    assert outcomes(found) == ["cannot_be_known", "cannot_be_known", "still_works"]
    assert found.access_lists == {"192.168.0.1": [("pipe", "spoolss"), ("share", "SCANS")]}


def test_settings_of_wider_scope_say_that_it_was_not_examined() -> None:
    ways = tables.table(
        "other_ways",
        {
            "site": ["", ""],
            "client_ip": ["10.0.0.1"] * 2,
            "server_ip": ["192.168.0.1"] * 2,
            "way": ["rpc_mapper", "ldap"],
            "attempts": [3, 4],
        },
        2,
    )
    rows = seen(use("browser"), other_ways=ways)
    found = policies.whatif(rows, policies={"": policy(RestrictAnonymous=1, **LISTS)}, roles={"": "member"})
    assert len(found.caveats) == 1
    assert "3 connections to the RPC endpoint mapper" in found.caveats[0]
    assert "4 connections to LDAP" in found.caveats[0]
    assert not policies.whatif(rows, policies={"": policy(**LISTS)}, roles={"": "member"}).caveats


def test_a_policy_of_clients_acts_on_what_they_ask() -> None:
    software = ("Windows 10 2004 .. 22H2", "Samba client or impacket", "impacket", None)
    clients = {f"10.0.0.{place}": name for place, name in enumerate(software)}
    guests = [use("PUBLIC", identity="guest", client=ip, client_software=name) for ip, name in clients.items()]
    given = policy(AllowInsecureGuestAuth=0)
    for system in ("2008r2", "samba"):  # what the server is does not matter
        found = policies.whatif(seen(*guests, system=system, asked="named"), policies={}, client_policy=given)
        assert outcomes(found) == ["breaks", "cannot_be_known", "still_works", "cannot_be_known"]
    nobody = seen(use("browser", client_software=software[0]), asked="named")
    assert outcomes(policies.whatif(nobody, policies={}, client_policy=given)) == ["still_works"]


def test_wrong_inputs_are_told() -> None:
    rows = seen(use("spoolss"))
    with pytest.raises(UsageError, match=r"no server 'nowhere'.*192\.168\.0\.1"):
        policies.whatif(rows, policies={"nowhere": policy(**LISTS)})
    with pytest.raises(UsageError, match="nothing to replay"):
        policies.whatif(seen(), policies={"": policy(**LISTS)})
    with pytest.raises(UsageError, match="no system is called"):
        policies.whatif(rows, policies={"": policy(**LISTS)}, systems={"": "beos"})
    with pytest.raises(UsageError, match="a role is one of"):
        policies.whatif(rows, policies={"": policy(**LISTS)}, roles={"": "king"})


@pytest.mark.parametrize(
    ("system", "name", "value"),
    [
        ("2016", "RequireSecuritySignature_server", 1),
        ("2016", "ForceGuest", 1),
        ("2016", "SeDenyNetworkLogonRight", ("*S-1-5-113",)),
        ("samba", "server_signing", "mandatory"),
        ("samba", "null_passwords", "no"),
    ],
)
def test_what_may_have_been_done_with_credentials_is_not_promised(system: str, name: str, value: Any) -> None:
    family = "samba" if system == "samba" else "windows"
    for identity, outcome in (("unknown", "cannot_be_known"), ("anonymous", "still_works")):
        rows = seen(use("PUBLIC", identity=identity), system=system)
        found = policies.whatif(rows, policies={"": policy(family, **{name: value})}, roles={"": "member"})
        assert found.rows()["outcome"].tolist() == [outcome], identity


def test_a_list_that_has_the_pipe_is_no_matter_for_credentials() -> None:
    rows = seen(use("spoolss", identity="unknown"), system="2008r2")
    listed = policy(NullSessionPipes=("spoolss",), RestrictNullSessAccess=1)
    found = policies.whatif(rows, policies={"": listed}, roles={"": "member"})
    assert found.rows()["outcome"].tolist() == ["still_works"]


@pytest.mark.parametrize(
    ("row", "name", "outcome"),
    [
        (use("PUBLIC", identity="unknown"), "UseMachineId", "cannot_be_known"),
        (use("PUBLIC", identity="guest"), "LmCompatibilityLevel", "cannot_be_known"),
        (use("PUBLIC"), "LmCompatibilityLevel", "still_works"),
        (call("epmapper", "ept_lookup"), "EnableAuthEpResolution", "cannot_be_known"),
        (call("spoolss", "RpcEnumPrinters"), "EnableAuthEpResolution", "still_works"),
    ],
)
def test_what_is_set_on_clients_is_not_promised_for_their_credentials(
    row: dict[str, Any], name: str, outcome: str
) -> None:
    rows = seen(row | {"client_software": "Windows 10"}, system="2016")
    value = 0 if name == "UseMachineId" else 1
    found = policies.whatif(rows, policies={}, client_policy=policy(**{name: value}), roles={"": "member"})
    assert found.rows()["outcome"].tolist() == [outcome]
