"""The recommendation: it breaks nothing that is needed, loosens nothing, and says who stands in the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analyzer import policy as policies
from analyzer.errors import UsageError
from analyzer.policy.recommending import Recommendation, change_content
from tests.benchmarks.tables import site
from tests.policy.seen import call, policy, seen, use


def recommended(found: Recommendation, place: int = 0) -> dict[str, Any]:
    given = found.servers[place].policy
    return {} if given is None else {name: it.value for name, it in given.settings.items()}


def assert_harmless(found: Recommendation) -> None:
    """What is needed goes on to work under what is recommended."""
    rows = found.replay.rows()
    with_policy = {it.server.ip for it in found.servers if it.policy is not None}
    kept = rows[found.needed & rows["server_ip"].isin(with_policy).to_numpy(dtype=bool)]
    assert set(kept["outcome"]) <= {"still_works", "refused_today"}


def test_the_tightest_policy_lists_what_is_needed_and_nothing_else() -> None:
    rows = seen(use("spoolss"), use("browser"), use("COMCFG"), use("samr", verdict="denied", refused_at="open"))
    found = policies.recommend(rows, roles={"": "member"})
    assert recommended(found) == {
        "RestrictNullSessAccess": 1,
        "NullSessionPipes": ("browser", "spoolss"),
        "NullSessionShares": ("COMCFG",),
        "RestrictAnonymous": 1,
        "RestrictAnonymousSAM": 1,
        "LSAAnonymousNameLookup": 0,
        "TurnOffAnonymousBlock": 0,
    }
    assert_harmless(found)
    assert found.servers[0].refused == ["samr"]
    # Whether the pipes admit ANONYMOUS LOGON by themselves no capture shows.
    assert "EveryoneIncludesAnonymous" in [it.what for it in found.servers[0].held_back]


def test_where_only_probes_and_refusals_were_seen_all_is_closed() -> None:
    rows = seen(use("IPC$", verdict="probe"), use("samr", verdict="denied", refused_at="open"), system="2016")
    found = recommended(policies.recommend(rows, roles={"": "member"}))
    assert found["NullSessionPipes"] == ()
    assert found["NullSessionShares"] == ()
    assert found["EveryoneIncludesAnonymous"] == 0
    assert found["RestrictRemoteSam"].startswith("O:")


def test_on_2012_and_later_a_need_of_ipc_keeps_the_lists_from_being_emptied() -> None:
    rows = seen(use("dfs", "GetDfsReferral"), system="2016")
    found = policies.recommend(rows, roles={"": "member"})
    assert not {"NullSessionPipes", "NullSessionShares", "RestrictNullSessAccess"} & recommended(found).keys()
    assert any("lists are empty" in it.why for it in found.servers[0].held_back)
    assert_harmless(found)
    older = policies.recommend(seen(use("dfs", "GetDfsReferral"), system="2008r2"), roles={"": "member"})
    assert recommended(older)["NullSessionPipes"] == ()


def test_pipes_of_domain_controllers_stay_listed_unless_they_are_given_up() -> None:
    rows = seen(use("netlogon", verdict="denied", refused_at="open"))
    roles = {"": "dc"}
    assert recommended(policies.recommend(rows, roles=roles))["NullSessionPipes"] == ("lsarpc", "netlogon", "samr")
    given_up = policies.recommend(rows, roles=roles, accept=["samr", "lsarpc"])
    assert recommended(given_up)["NullSessionPipes"] == ("netlogon",)


def test_nothing_is_loosened() -> None:
    baseline = policy(
        NullSessionPipes=("Spoolss",),
        NullSessionShares=(),
        RestrictNullSessAccess=1,
        RestrictAnonymous=1,
        RestrictAnonymousSAM=0,
    )
    rows = seen(use("spoolss"))
    found = policies.recommend(rows, roles={"": "member"}, baselines={"": baseline})
    made = recommended(found)
    assert not {"NullSessionPipes", "NullSessionShares", "RestrictNullSessAccess", "RestrictAnonymous"} & made.keys()
    assert made["RestrictAnonymousSAM"] == 1
    assert "RestrictAnonymous" in found.servers[0].kept
    shorter = policies.recommend(
        seen(use("IPC$", verdict="probe")), roles={"": "dc"}, baselines={"": policy(NullSessionPipes=("SAMR", "x"))}
    )
    assert recommended(shorter)["NullSessionPipes"] == ("SAMR",)


def test_a_need_that_today_s_policy_denies_is_not_written_into_a_list() -> None:
    baseline = policy(NullSessionPipes=("browser",), NullSessionShares=(), RestrictNullSessAccess=1)
    found = policies.recommend(seen(use("spoolss"), use("browser")), roles={"": "member"}, baselines={"": baseline})
    assert found.replay.contradictions
    assert not {"NullSessionPipes", "NullSessionShares"} & recommended(found).keys()


def test_what_is_given_up_is_not_kept() -> None:
    rows = seen(
        use("spoolss", verdict="covered"), use("browser", verdict="unknown"), use("wkssvc"), use("srvsvc"),
    )  # fmt: skip
    found = policies.recommend(rows, roles={"": "member"}, accept=["covered", "unknown", "2"])
    assert recommended(found)["NullSessionPipes"] == ("srvsvc",)
    assert found.given_up.tolist() == [True, True, True, False]
    affected, evidence, _ = change_content(found, found.servers[0])
    assert sorted(row["resource"] for row in affected) == ["browser", "spoolss", "wkssvc"]
    assert all("given up on purpose" in row["effect"] for row in affected)
    assert evidence


def test_a_row_that_cannot_be_known_holds_the_setting_back() -> None:
    rows = seen(call("samr", "SamrConnect5"))
    found = policies.recommend(rows, roles={"": "member"})
    assert "RestrictAnonymousSAM" not in recommended(found)
    assert "RestrictAnonymousSAM" in recommended(
        policies.recommend(rows, roles={"": "member"}, accept=["cannot_be_known"])
    )


def test_a_pipe_that_was_not_captured_keeps_the_lists_as_they_are() -> None:
    found = policies.recommend(seen(call("(pipe not captured)", "opnum 1", interface="samr")), roles={"": "member"})
    assert "NullSessionPipes" not in recommended(found)


def test_none_below_the_minimum_of_observation_or_for_what_is_not_known() -> None:
    rows = seen(use("spoolss"), use("spoolss", server="192.168.0.2"), systems={"192.168.0.2": ""})
    found = policies.recommend(rows, roles={"": "member"}, enough={"192.168.0.1": "two days only"})
    assert [it.policy for it in found.servers] == [None, None]
    assert found.servers[0].reason == "two days only"
    assert "--os" in found.servers[1].reason


def test_repairs_come_by_what_they_gain() -> None:
    servers = [f"192.168.0.{number}" for number in range(1, 5)]
    rows = seen(
        *[use("spoolss", server=server, client="10.0.0.7", application="Printing") for server in servers],
        *[use("browser", server=server, client="10.0.0.7", application="Browsing") for server in servers[:2]],
        use("browser", server=servers[0], client="10.0.0.8"),
    )
    found = policies.recommend(rows, roles={"": "member"})
    pipes = found.repairs[found.repairs["what"].str.startswith("NullSessionPipes: ")]
    first = pipes.iloc[0]
    assert (first["client_ip"], first["application"], first["what"]) == (
        "10.0.0.7", "Printing", "NullSessionPipes: spoolss",
    )  # fmt: skip
    assert (first["servers"], first["with_others"]) == (4, 0)
    assert "`spoolss` go from NullSessionPipes on 4 servers" in first["sentence"]
    second = pipes.iloc[1]
    assert (second["application"], second["servers"], second["with_others"]) == ("Browsing", 1, 1)


def test_samba_goes_as_far_as_it_can() -> None:
    rows = seen(call("lsarpc", "LsarLookupNames"), system="samba")
    found = policies.recommend(rows)
    assert recommended(found) == {"samba:restrict anonymous": 1, "samba:map to guest": "Never"}
    assert_harmless(found)
    quiet = policies.recommend(seen(use("PUBLIC"), system="samba"))
    assert recommended(quiet)["samba:restrict anonymous"] == 2  # the share goes on to work: it needs no IPC$


def test_shares_of_samba_that_nobody_needs_are_closed_to_guests() -> None:
    baseline = policy("samba", shares={"public": {"guest ok": "yes"}, "old": {"guest ok": "yes"}})
    found = policies.recommend(seen(use("PUBLIC"), system="samba"), baselines={"": baseline})
    given = found.servers[0].policy
    assert given is not None
    assert {share: options["guest ok"].value for share, options in given.shares.items()} == {"old": "no"}


@pytest.mark.parametrize("identity", ["anonymous", "guest"])
def test_a_share_of_samba_that_guests_need_stays_open_whoever_they_are(identity: str) -> None:
    """Recorded: captures/change-4-guest-no.pcap, with `guest ok = no`: guests and null sessions were refused the share."""
    rows = seen(use("PUBLIC", identity=identity), system="samba")
    baseline = policy("samba", shares={"public": {"guest ok": "yes"}, "old": {"guest ok": "yes"}})
    found = policies.recommend(rows, baselines={"": baseline})
    (advice,) = found.servers
    assert advice.policy is not None
    assert list(advice.policy.shares) == ["old"]
    assert [it.what for it in advice.held_back].count("samba:guest ok: PUBLIC") == 1
    assert_harmless(found)


@pytest.mark.parametrize("identity", ["guest", "anonymous", "unknown"])
def test_a_share_that_guests_need_is_not_closed_to_them(identity: str) -> None:
    baseline = policy("samba", shares={"public": {"guest ok": "yes"}, "old": {"guest ok": "yes"}})
    found = policies.recommend(seen(use("PUBLIC", identity=identity), system="samba"), baselines={"": baseline})
    assert found.replay.counts()["breaks"] == 0
    given = found.servers[0].policy
    assert given is not None
    assert list(given.shares) == ["old"]


@pytest.mark.parametrize("seed", range(3))
def test_on_a_made_site_nothing_that_is_needed_breaks(seed: int) -> None:
    made = site(clients=60, servers=22, uses=900, seed=seed)
    rows = {name: made.arrow(name) for name in policies.NEEDED}
    found = policies.recommend(rows, roles={"": "member"})
    assert sum(it.policy is not None for it in found.servers) > 10
    assert_harmless(found)
    for advice in found.servers:
        assert advice.policy is not None or advice.reason
        if advice.server.family is None:
            assert advice.policy is None
    # What may go once its only dependent is repaired, does go.
    first = found.repairs[found.repairs["what"].str.startswith("NullSessionPipes: ")].iloc[0]
    whose = made.dependencies
    gone = (whose["client_ip"] == first["client_ip"]) & (whose["resource"] == first["what"].split(": ")[1])
    given_up = [str(row) for row in np.flatnonzero(gone.to_numpy(dtype=bool))]
    after = policies.recommend(rows, roles={"": "member"}, accept=given_up)
    listed = "NullSessionPipes"
    shorter = sum(
        len(recommended(after, place).get(listed, ())) < len(recommended(found, place).get(listed, ()))
        for place in range(len(found.servers))
    )
    assert shorter == first["servers"]


def test_of_a_server_of_unknown_role_the_lists_are_left_as_they_are() -> None:
    # A member may have an empty list: what a domain controller needs would be opened there.
    rows = seen(use("spoolss"))
    found = policies.recommend(rows)
    assert not {"NullSessionPipes", "NullSessionShares", "RestrictNullSessAccess"} & recommended(found).keys()
    assert any("--role" in it.why for it in found.servers[0].held_back)
    known = policies.recommend(rows, baselines={"": policy(NullSessionPipes=("spoolss", "x"), NullSessionShares=())})
    assert recommended(known)["NullSessionPipes"] == ("spoolss",)


@pytest.mark.parametrize("row", [use("winreg", identity="unknown"), use("winreg", verdict="unknown")])
def test_what_was_not_seen_to_work_anonymously_is_not_put_into_a_list(row: dict[str, Any]) -> None:
    rows = seen(use("spoolss", client="10.0.0.2"), row)
    found = policies.recommend(rows, roles={"": "member"})
    assert "NullSessionPipes" not in recommended(found)
    assert any("winreg" in it.why for it in found.servers[0].held_back)
    given_up = policies.recommend(rows, roles={"": "member"}, accept=["1"])
    assert recommended(given_up)["NullSessionPipes"] == ("spoolss",)


def test_a_value_that_is_not_in_the_order_of_tightness_stays() -> None:
    rows = seen(use("browser", verdict="probe"))
    found = policies.recommend(rows, roles={"": "member"}, baselines={"": policy(RestrictAnonymous=2)})
    assert "RestrictAnonymous" not in recommended(found)


def test_the_second_tightest_is_set_only_where_today_cannot_be_tighter() -> None:
    # Of a pipe in a session that is not known it cannot be said that it works anonymously today: 2 may be set.
    rows = seen(use("spoolss", identity="unknown"), system="samba")
    assert "samba:restrict anonymous" not in recommended(policies.recommend(rows))
    loose = policies.recommend(rows, baselines={"": policy("samba", restrict_anonymous=0)})
    assert recommended(loose)["samba:restrict anonymous"] == 1


def test_servers_of_several_sites_with_one_address_are_told_apart() -> None:
    rows = seen(use("spoolss"))
    found = policies.recommend(rows, roles={"": "member"}, enough={"other/192.168.0.1": "two days only"})
    assert found.servers[0].policy is not None
    found = policies.recommend(rows, roles={"": "member"}, enough={"/192.168.0.1": "two days only"})
    assert found.servers[0].reason == "two days only"


def test_guests_of_sam_hold_its_access_list_back() -> None:
    rows = seen(call("samr", "SamrConnect5", identity="guest"), system="2016")
    found = policies.recommend(rows, roles={"": "member"})
    assert "RestrictRemoteSam" not in recommended(found)


def test_wrong_words_are_told() -> None:
    rows = seen(use("spoolss"))
    with pytest.raises(UsageError, match="--accept takes"):
        policies.recommend(rows, accept=["everything"])
    with pytest.raises(UsageError, match="there are 1 rows"):
        policies.recommend(rows, accept=["1"])
    with pytest.raises(UsageError, match="nothing to replay"):
        policies.recommend(seen())


def test_many_servers_share_their_judgements() -> None:
    rows = seen(*[use("spoolss", server=f"192.168.1.{number}") for number in range(40)])
    found = policies.recommend(rows, roles={"": "member"})
    assert len(found.servers) == 40
    assert np.array([recommended(found, place)["NullSessionPipes"] == ("spoolss",) for place in range(40)]).all()
