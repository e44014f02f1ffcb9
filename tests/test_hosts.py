"""Which host an address was, and when."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analyzer
from analyzer import hosts
from analyzer.hosts import CHANGES_HANDS_NS
from analyzer.names.sightings import RANK, Sighting
from analyzer.wire.texts import Texts
from tests import build, dialogue, hosts_one_by_one, named
from tests.build import Packet
from tests.dialogue import ALICE, Smb2, packets_of, segments_of
from tests.hosts_one_by_one import Guid
from tests.named import A, address

HOUR = 3600 * 10**9
MINUTE = 60 * 10**9
CARD, OTHER_CARD = 0x020000000020, 0x020000000021


def seen(name: str = "", source: str = "ntlm.workstation", first: int = HOUR, last: int = 0, **more: Any) -> Sighting:
    """A sighting from one time to another (the same, if none is given)."""
    return Sighting(ip="10.0.0.7", source=source, name=name, first_ns=first, last_ns=max(first, last), **more)


def card(mac: int, first: int, last: int) -> Sighting:
    return seen(source="hardware", mac=mac, first=first, last=last)


def intervals_of(sightings: Sequence[Sighting], guids: dict[str, Sequence[Guid]]) -> list[dict[str, Any]]:
    """The hosts of some addresses: the rows of the table."""
    pool = Texts()
    addresses = hosts.Addresses({sighting.ip for sighting in sightings} | guids.keys(), pool)
    spans = [
        (addresses.place[ip], guid.first_ns, guid.last_ns) for ip, of_address in guids.items() for guid in of_address
    ]
    made = hosts.host_intervals(
        hosts.sighting_rows(sightings, addresses.place, pool), np.array(spans, dtype=hosts.SPAN), pool
    )
    columns = hosts.table_of(made, addresses, "", pool).to_pydict()
    for name in ("valid_from", "valid_to"):
        columns[name] = made.hosts[name].tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def host_intervals(sightings: Sequence[Sighting], guids: Sequence[Guid] = ()) -> list[dict[str, Any]]:
    """The hosts that one address was."""
    return intervals_of(sightings, {"10.0.0.7": guids})


def intervals(*sightings: Sighting, guids: tuple[Guid, ...] = ()) -> list[tuple[str | None, int, int, bool]]:
    """Name, begin, end, and whether it is shared."""
    return [
        (row["name"], row["valid_from"], row["valid_to"], row["shared"]) for row in host_intervals(sightings, guids)
    ]


def test_a_host_with_one_name() -> None:
    assert intervals(seen("WS7", first=HOUR, last=3 * HOUR)) == [("WS7", HOUR, 3 * HOUR, False)]


def test_nothing_is_known() -> None:
    assert intervals() == []


def test_the_best_source_names_the_host_and_the_others_stand_beside() -> None:
    [row] = host_intervals(
        [
            seen("alias.corp.example", "dns"),
            seen("WS7"),
            seen("ws7.corp.example", "dhcp"),
            seen("desk-7", "list", first=0),
        ]
    )
    assert (row["name"], row["name_source"]) == ("desk-7", "list")
    assert row["other_names"].split("|") == ["ws7.corp.example", "WS7", "alias.corp.example"]


def test_of_two_names_of_a_source_the_full_one_holds() -> None:
    [row] = host_intervals(
        [seen("FS1", "ntlm.challenge", identity="FS1"), seen("fs1.corp.example", "ntlm.challenge", identity="FS1")]
    )
    assert (row["name"], row["other_names"], row["shared"]) == ("fs1.corp.example", "FS1", False)


def test_two_names_that_one_server_gives_itself_are_one_machine() -> None:
    """Its DNS name need not begin like its NetBIOS name."""
    [row] = host_intervals(
        [
            seen("UBUNTUFE", "ntlm.challenge", identity="UBUNTUFE"),
            seen("web3.example", "ntlm.challenge", identity="UBUNTUFE"),
        ]
    )
    assert not row["shared"]


@pytest.mark.parametrize("source", ["ntlm.workstation", "ntlm.challenge", "netbios.session_request"])
def test_an_address_changes_hands(source: str) -> None:
    found = intervals(seen("WS7", source, HOUR, 2 * HOUR), seen("WS8", source, 5 * HOUR, 6 * HOUR))
    assert found == [("WS7", HOUR, 2 * HOUR, False), ("WS8", 5 * HOUR, 6 * HOUR, False)]


@pytest.mark.parametrize("source", ["ntlm.workstation", "ntlm.challenge", "netbios.session_request"])
@pytest.mark.parametrize(("first", "last"), [(HOUR, 3 * HOUR), (2 * HOUR + CHANGES_HANDS_NS - 1, 9 * HOUR)])
def test_two_machines_at_a_time(source: str, first: int, last: int) -> None:
    """Their times overlap, or one comes so soon after the other that the address was not given anew."""
    [(_, begin, end, shared)] = intervals(seen("WS7", source, HOUR, 2 * HOUR), seen("WS8", source, first, last))
    assert shared
    assert (begin, end) == (HOUR, last)


@pytest.mark.parametrize(
    "source", ["netbios.registration", "netbios.status", "browser", "dns", "netbios.called", "dhcp"]
)
def test_a_machine_may_have_several_names(source: str) -> None:
    [(_, _, _, shared)] = intervals(seen("FS1", source, HOUR, 3 * HOUR), seen("OLDFS", source, 2 * HOUR, 3 * HOUR))
    assert not shared


def test_what_others_call_it_does_not_change_hands() -> None:
    assert len(intervals(seen("FS1", "dns", HOUR, HOUR), seen("OLDFS", "dns", 9 * HOUR))) == 1


def test_a_new_card_is_a_new_host() -> None:
    """Both have the names that others call them by."""
    found = host_intervals(
        [card(CARD, HOUR, 2 * HOUR), card(OTHER_CARD, 8 * HOUR, 9 * HOUR), seen("ws7", "dns", HOUR, 9 * HOUR)]
    )
    assert [(row["name"], row["mac"]) for row in found] == [("ws7", "02:00:00:00:00:20"), ("ws7", "02:00:00:00:00:21")]


def test_two_cards_at_a_time() -> None:
    [(_, _, _, shared)] = intervals(card(CARD, HOUR, 5 * HOUR), card(OTHER_CARD, 2 * HOUR, 3 * HOUR))
    assert shared


def test_one_change_that_several_sources_tell() -> None:
    """DHCP at once, the card with the first connection, the login two hours later."""
    found = intervals(
        seen("WS7", "dhcp", HOUR, mac=CARD), card(CARD, HOUR, 2 * HOUR), seen("WS7", first=2 * HOUR),
        seen("WS8", "dhcp", 8 * HOUR, mac=OTHER_CARD), card(OTHER_CARD, 8 * HOUR + MINUTE, 11 * HOUR), seen("WS8", first=10 * HOUR),
    )  # fmt: skip
    assert found == [("WS7", HOUR, 2 * HOUR, False), ("WS8", 8 * HOUR, 11 * HOUR, False)]


def test_an_address_that_is_shared_for_a_time() -> None:
    found = intervals(
        seen("WS7", first=HOUR, last=2 * HOUR), seen("WS8", first=HOUR, last=2 * HOUR), seen("WS9", first=9 * HOUR)
    )
    assert [shared for *_, shared in found] == [True, False]


def test_guids_in_turns() -> None:
    found = intervals(seen("WS7"), guids=(Guid(HOUR, 3 * HOUR), Guid(2 * HOUR, 2 * HOUR)))
    assert [shared for *_, shared in found] == [True]


@pytest.mark.parametrize(
    "guids",
    [
        (Guid(HOUR, HOUR), Guid(2 * HOUR, 2 * HOUR), Guid(3 * HOUR, 3 * HOUR)),
        (Guid(HOUR, 2 * HOUR), Guid(2 * HOUR, 3 * HOUR)),
        (Guid(HOUR, 2 * HOUR),),
    ],
    ids=["one for each connection", "after a restart", "one"],
)
def test_guids_one_after_the_other(guids: tuple[Guid, ...]) -> None:
    """Many programs make one up for each run, Windows at each start."""
    assert [shared for *_, shared in intervals(seen("WS7"), guids=guids)] == [False]


def test_only_guids_tell() -> None:
    [(name, begin, end, shared)] = intervals(guids=(Guid(HOUR, 3 * HOUR), Guid(2 * HOUR, 4 * HOUR)))
    assert (name, begin, end, shared) == (None, HOUR, 4 * HOUR, True)


def test_systems_by_their_sources() -> None:
    [row] = host_intervals(
        [seen(source="dhcp", os_hint="DHCP vendor class MSFT 5.0"), seen(source="smb1", os_hint="Windows NT 4.0")]
    )
    assert row["os_hint"] == "Windows NT 4.0; DHCP vendor class MSFT 5.0"


# All addresses at once give what each gives alone, one sighting after the other. #

NAMES = ("WS7", "ws7.corp.example", "ws7.other.example", "WS8", "WS9", "fs1.corp.example")
HINTS = ("Windows 6.1", "Samba 4.17", "NTLM version 10.0.1")
GRID = 150 * 10**9
"""Times are multiples of it: some lie on the same instant, some at and around the time after which an address is free."""


def some_sighting(chance: random.Random, ip: str) -> Sighting:
    first = chance.choice([0, *range(1, 40)]) * GRID if chance.random() < 0.2 else chance.randrange(1, 40) * GRID
    last = first + chance.choice([0, 0, 1, 2, 8]) * GRID * (first > 0)
    kind = chance.random()
    if kind < 0.2:
        return Sighting(ip=ip, source="hardware", mac=chance.choice([CARD, OTHER_CARD]), first_ns=first, last_ns=last)
    if kind < 0.4:
        source = chance.choice(hosts.OS_SOURCES)
        return Sighting(ip=ip, source=source, os_hint=chance.choice(HINTS), first_ns=first, last_ns=last)
    source, name = chance.choice(list(RANK)), chance.choice(NAMES)
    identity = chance.choice(NAMES) if source == "ntlm.challenge" else ""
    mac = chance.choice([CARD, OTHER_CARD, -1]) if source == "dhcp" else -1
    return Sighting(ip=ip, source=source, name=name, identity=identity, mac=mac, first_ns=first, last_ns=last)


def some_guid(chance: random.Random) -> Guid:
    first = chance.randrange(1, 40) * GRID
    return Guid(first, first + chance.choice([0, 0, 0, 1, 5]) * GRID)


@pytest.mark.parametrize("seed", range(60))
def test_all_addresses_at_once(seed: int) -> None:
    chance = random.Random(seed)
    ips = ["10.0.0.7", "10.0.0.12", "9.255.0.1", "fe80::1", "2001:db8::7", "::1"]
    most = chance.choice([1, 2, 3, 5, 12])
    sightings = [some_sighting(chance, chance.choice(ips)) for _ in range(most * len(ips))]
    guids = {ip: [some_guid(chance) for _ in range(chance.choice([0, 0, 1, 4]))] for ip in chance.sample(ips, 3)}
    wanted = [
        row | {"ip": ip}
        for ip in ("9.255.0.1", "10.0.0.7", "10.0.0.12", "::1", "2001:db8::7", "fe80::1")
        for row in hosts_one_by_one.host_intervals([s for s in sightings if s.ip == ip], guids.get(ip, ()))
    ]
    found = intervals_of(sightings, guids)
    assert [{name: row[name] for name in wanted[0]} for row in found] == wanted


# From captures. #


def datagram(payload: bytes, source: int, target: int, sender: str, at: float = 0) -> Packet:
    return Packet(build.START_NS + int(at * dialogue.SECOND), named.framed(payload, source, target, sender))


def analyzed(folder: Path, *talks: Smb2, extra: tuple[Packet, ...] = (), **how: Any) -> analyzer.Analysis:
    """The conversations and the other packets as one capture."""
    packets = sorted([*packets_of(segments_of(*talks)), *extra], key=lambda packet: packet.time_ns)
    path = folder / "c.pcap"
    path.write_bytes(build.pcap(packets, nano=True))
    return analyzer.analyze(path, **how)


def name_of(analysis: analyzer.Analysis, ip: str) -> list[tuple[str, str]]:
    rows = analysis.hosts[analysis.hosts["ip"] == ip]
    return list(rows[["name", "name_source"]].itertuples(index=False, name=None))


@pytest.mark.usefixtures("kernel_form")
def test_names_of_clients_and_servers_only(tmp_path: Path) -> None:
    talk = Smb2("10.0.0.11")
    talk.login(0x11, build.ntlm_authenticate(lm=b"\0"))
    answer = named.dns(("fs1.corp.example", A, address("10.0.0.2")), ("www.corp.example", A, address("10.0.0.99")))
    registration = named.registration("PC11", 0, "10.0.0.11")
    analysis = analyzed(
        tmp_path, talk,
        extra=(datagram(answer, 53, 49_000, "10.0.0.5"), datagram(registration, 137, 137, "10.0.0.11")),
    )  # fmt: skip
    assert name_of(analysis, "10.0.0.11") == [("PC11", "netbios.registration")]
    assert ("fs1.corp.example", "dns") in name_of(analysis, "10.0.0.2")
    assert set(analysis.hosts["ip"]) == {"10.0.0.2", "10.0.0.11"}


def test_a_list_of_hosts(tmp_path: Path) -> None:
    listed = tmp_path / "hosts.csv"
    listed.write_text("10.0.0.11,scanner\n10.0.0.99,nobody here\n")
    talk = Smb2("10.0.0.11")
    talk.anonymous_use(0x11, "srvsvc")
    analysis = analyzed(tmp_path, talk, hosts=listed)
    assert name_of(analysis, "10.0.0.11") == [("scanner", "list")]
    assert analysis.hosts.set_index("ip").loc["10.0.0.11", "other_names"] == "WS10"
    assert analysis.dependencies["client"].tolist() == ["scanner"]
    assert analysis.clients["client"].tolist() == ["scanner"]
    assert analysis.settings["hosts"] == 2


def test_a_name_without_a_time_has_that_of_the_connections(tmp_path: Path) -> None:
    listed = tmp_path / "hosts"
    listed.write_text("10.0.0.11 scanner\n")
    talk = Smb2("10.0.0.11", opened=False, dialect=None)
    talk.tree(0x11, 1)
    row = analyzed(tmp_path, talk, hosts=listed).hosts.set_index("ip").loc["10.0.0.11"]
    assert row["name"] == "scanner"
    assert row["valid_from"] <= row["valid_to"]


def test_each_use_has_the_name_of_its_time(tmp_path: Path) -> None:
    """WS10 uses srvsvc; a day later LINUX1 has the address and uses samr."""
    first = Smb2("10.0.0.11")
    first.anonymous_use(0x11, "srvsvc")
    second = Smb2("10.0.0.11", at=86_400, port=50_000, guid=bytes(16))
    second.login(0x12, dialogue.AS_SAMBA)
    second.tree(0x12, 1)
    second.use(0x12, 1, "samr")
    analysis = analyzed(tmp_path, first, second)
    assert dict(analysis.dependencies[["resource", "client"]].itertuples(index=False, name=None)) == {
        "srvsvc": "WS10", "samr": "LINUX1",
    }  # fmt: skip
    assert analysis.clients["client"].tolist() == ["LINUX1"]


def covered(at: float = 0, **how: Any) -> Smb2:
    """A client that uses wkssvc, is then refused it, and goes on with credentials."""
    talk = Smb2("10.0.0.11", at=at, **how)
    talk.anonymous_use(0x11, "wkssvc")
    talk.create(0x11, 1, "wkssvc", (0, 0), status=build.ACCESS_DENIED)
    talk.credentialed_use(0x22, "wkssvc")
    return talk


def test_a_shared_address_is_never_covered(tmp_path: Path) -> None:
    alone = analyzed(tmp_path, covered()).dependencies
    assert alone["verdict"].tolist() == ["covered"]
    other = Smb2("10.0.0.11", at=1, port=50_001, guid=bytes(range(50, 66)))
    other.login(0x33, build.ntlm_authenticate("alice", domain="CORP", workstation="WS99", **dialogue.RESPONSES))
    analysis = analyzed(tmp_path, covered(), other)
    row = analysis.dependencies.iloc[0]
    assert (row["verdict"], row["resource"]) == ("depends", "wkssvc")
    assert "several machines share the address" in row["reason"]
    assert "address.shared" in row["evidence"]
    assert analysis.hosts.set_index("ip").loc["10.0.0.11", "shared"]
    overall = analysis.coverage[analysis.coverage["server_ip"].isna()].set_index("measure")["value"]
    assert overall["addresses_shared"] == 1


def test_a_router_says_nothing(tmp_path: Path) -> None:
    """Many addresses come with one hardware address, which is therefore none of theirs."""
    talks = []
    for number in range(6):
        talk = Smb2(f"10.0.0.{11 + number}", at=number)
        talk.login(0x11, ALICE)
        talks.append(talk)
    assert analyzed(tmp_path, *talks).hosts["mac"].isna().all()
    few = analyzed(tmp_path, talks[0]).hosts
    assert few["mac"].tolist() == ["02:00:00:00:00:01"] * 2


def test_unreadable_datagrams_are_counted(tmp_path: Path) -> None:
    damaged = bytearray(named.registration("PC11", 0, "10.0.0.11"))
    damaged[20] = 0xFF
    talk = Smb2("10.0.0.11")
    talk.login(0x11)
    analysis = analyzed(tmp_path, talk, extra=(datagram(bytes(damaged), 137, 137, "10.0.0.11"),))
    overall = analysis.coverage[analysis.coverage["server_ip"].isna()].set_index("measure")["value"]
    assert overall["datagrams_unreadable"] == 1
    assert overall["datagrams_dropped"] == 0
