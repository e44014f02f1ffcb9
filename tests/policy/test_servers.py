"""What servers are: by what they say, by what they do, and by the user's word."""

from __future__ import annotations

import pytest

from analyzer import tables
from analyzer.errors import UsageError
from analyzer.policy import whatif
from analyzer.policy.servers import Server, name_in_guid, servers, system_named
from analyzer.tables import TableSet
from tests.policy.seen import call, policy, seen, use


def hinted(*hints: str, **told: dict[str, str]) -> Server:
    """The one server of a capture in which it says this."""
    hosts = tables.table(
        "hosts", {"site": [""] * len(hints), "ip": ["192.168.0.1"] * len(hints), "os_hint": hints}, len(hints)
    )
    return servers(TableSet(seen(use("browser"), hosts=hosts)), **told)["", "192.168.0.1"]


@pytest.mark.parametrize(
    ("hint", "family", "build"),
    [
        ("NTLM version 10.0.17763", "windows", 17763),
        ("NTLM version 6.1.7601", "windows", 7601),
        ("Windows Server 2003 3790 Service Pack 2 / Windows Server 2003 5.2", "windows", 3790),
        ("Windows Server 2012 R2 Standard 9600 / Windows Server 2012 R2 Standard 6.3", "windows", 9600),
        ("Windows Server 2019 Standard 17763 / Windows Server 2019 Standard 6.3", "windows", 17763),
        ("Windows 5.0 / Windows 2000 LAN Manager", "windows", 2195),
        ("Windows 6.1 / Samba 4.17.12-Debian; NTLM version 6.1.0", "samba", None),
        ("Unix / Samba 3.0.37", "samba", None),
        ("NTLM version 6.1.0", "samba", None),
        ("announces version 6.1 (printq_server, server_unix)", "samba", None),
        ("QTS / Samba 4.4.16", "samba", None),
        ("EMC-SNAS:T7.1", None, None),
        ("NTLM version 255.255.65535", None, None),
    ],
)
def test_what_servers_say(hint: str, family: str | None, build: int | None) -> None:
    found = hinted(hint)
    assert (found.family, found.build, found.conflict) == (family, build, "")


def test_signs_that_do_not_agree_are_a_conflict() -> None:
    found = hinted("NTLM version 10.0.17763", "Unix / Samba 3.0.37")
    assert found.family is None
    assert "windows" in found.conflict
    assert "samba" in found.conflict
    other = hinted("NTLM version 10.0.17763", "NTLM version 6.1.7601")
    assert (other.family, other.build) == ("windows", None)
    assert other.conflict


def test_the_user_s_word_counts_and_a_conflict_is_told() -> None:
    found = hinted("NTLM version 10.0.17763", systems={"": "samba"}, roles={"192.168.0.1": "dc"})
    assert (found.family, found.build, found.role) == ("samba", None, "dc")
    assert "you say samba" in found.conflict
    assert not hinted("NTLM version 10.0.17763", systems={"": "2019"}).conflict
    assert "build 14393" in hinted("NTLM version 10.0.17763", systems={"": "2016"}).conflict


@pytest.mark.parametrize(
    ("guid", "name"),
    [
        ("656c6966-3173-0000-0000-000000000000", "files1"),
        ("00316364-0000-0000-0000-000000000000", "dc1"),
        ("3c2d1e0f-5a4b-7869-8796-a5b4c3d2e1f0", None),
        ("41414141-4141-4141-4141-414141414141", None),
        ("00000000-0000-0000-0000-000000000000", None),
        ("nonsense", None),
    ],
)
def test_the_guid_of_samba_spells_its_name(guid: str, name: str | None) -> None:
    assert name_in_guid(guid) == name


def test_a_guid_makes_it_samba() -> None:
    made = seen(use("browser"), system="")
    columns = {name: made["connections"][name].to_pylist() for name in made["connections"].column_names}
    columns["server_guid"] = ["656c6966-3173-0000-0000-000000000000"]
    made["connections"] = tables.table("connections", columns, 1)
    assert servers(TableSet(made))["", "192.168.0.1"].family == "samba"


def test_who_answers_secure_channels_is_a_domain_controller() -> None:
    rows = TableSet(seen(call("netlogon", "NetrServerAuthenticate3"), use("browser", server="192.168.0.2")))
    found = servers(rows)
    assert found["", "192.168.0.1"].role == "dc"
    assert found["", "192.168.0.2"].role is None
    refused = call("netlogon", "NetrServerAuthenticate3", verdict="denied", refused_at="open")
    assert servers(TableSet(seen(refused)))["", "192.168.0.1"].role is None


def test_a_share_of_domain_controllers() -> None:
    made = seen(use("browser"))
    made["trees"] = tables.table(
        "trees", {"connection_id": [0], "share": ["SYSVOL"], "kind": ["disk"], "status": ["STATUS_SUCCESS"]}, 1
    )
    found = servers(TableSet(made), roles={"": "member"})["", "192.168.0.1"]
    assert found.role == "member"
    assert "SYSVOL" in found.conflict


def test_words_for_systems() -> None:
    assert system_named("2012R2") == ("windows", 9600)
    assert system_named("Windows Server 2012 R2") == ("windows", 9600)
    assert system_named("20348") == ("windows", 20348)
    assert system_named("Samba") == ("samba", None)
    with pytest.raises(UsageError):
        system_named("12")


def test_a_samba_that_is_asked_for_a_directory_may_be_a_domain_controller() -> None:
    rows = seen(call("lsarpc", "LsarLookupNames"), system="samba")
    asked = {
        "site": [""], "client_ip": ["10.0.0.9"], "server_ip": ["192.168.0.1"], "way": ["ldap"], "attempts": [1],
    }  # fmt: skip
    rows["other_ways"] = tables.table("other_ways", asked, 1)
    (server,) = servers(TableSet(rows)).values()
    assert server.role is None
    assert "LDAP" in server.known_by
    (told,) = servers(TableSet(rows), roles={"": "member"}).values()
    assert told.role == "member"
    restricted = policy("samba", restrict_anonymous=1)
    found = whatif(rows, policies={"": restricted})
    assert found.rows()["outcome"].tolist() == ["cannot_be_known"]
