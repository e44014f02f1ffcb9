"""What a record means: addresses, times, who it was, by the table of events."""

from __future__ import annotations

import pytest

from analyzer import knowledge, tables
from analyzer.logs.events import MEANINGS, NUMBERS, SIDES, TEXTS, as_number, as_time, end_of, event_of, kinds
from analyzer.logs.records import Record, key, text_of

SECOND = 1_000_000_000
TIME = 1_795_690_810 * SECOND  # 2026-11-26 11:00:10 UTC: `date -u -d '2026-11-26 11:00:10' +%s`

ENDS = {
    "10.0.0.1": ("10.0.0.1", -1),
    "::ffff:10.0.0.1": ("10.0.0.1", -1),
    "::FFFF:10.0.0.1": ("10.0.0.1", -1),
    "fe80::1%12": ("fe80::1", -1),
    "ipv4:10.77.0.10:36388": ("10.77.0.10", 36388),
    "ipv6:fd77::a:33176": ("fd77::a", 33176),
    "10.0.0.1:50000": ("10.0.0.1", 50000),
    "[fd00::1]:445": ("fd00::1", 445),
    "[fd00::1]": ("fd00::1", -1),
    r"\\10.0.0.1": ("10.0.0.1", -1),
    r"\\[fe80::1]": ("fe80::1", -1),
    # SOCKADDR_IN 10.1.2.3 port 50000 (0xC350), and SOCKADDR_IN6 fd00::5 port 445 (0x01BD)
    "0200C3500A0102030000000000000000": ("10.1.2.3", 50000),
    "170001BD00000000FD00000000000000000000000000000500000000": ("fd00::5", 445),
    "1700C3500000000000000000000000000000FFFF0A01020300000000": ("10.1.2.3", 50000),  # ::ffff:10.1.2.3
    "1700C350000000000000000000000000 0000FFFF": (None, -1),
    "0200": (None, -1),
    "0200zzzz0A010203": (None, -1),
    "-": (None, -1),
    "": (None, -1),
    "LOCAL": (None, -1),
    "FILES1": (None, -1),
    "10.0.0.256": (None, -1),
    "10.0.0.1:99999": ("10.0.0.1", -1),
    "fd00::1:445": ("fd00::1:445", -1),  # an address by itself, not a port behind one
}


@pytest.mark.parametrize("text", ENDS)
def test_addresses(text: str) -> None:
    assert end_of(text) == ENDS[text]


TIMES = {
    "2026-11-26T11:00:10.1234567Z": TIME + 123_456_700,
    "2026-11-26T11:00:10.123456789Z": TIME + 123_456_789,
    "2026-11-26T11:00:10Z": TIME,
    "2026-11-26 11:00:10.500": TIME + SECOND // 2,
    "2026-11-26 11:00:10.500 UTC": TIME + SECOND // 2,
    "2026-11-26T12:00:10.352797+0100": TIME + 352_797_000,
    "2026-11-26T05:30:10-05:30": TIME,
    "/Date(1795690810123)/": TIME + 123_000_000,
    "1795690810": TIME,
    "1795690810.25": TIME + SECOND // 4,
    "1795690810123": TIME + 123_000_000,
    1_795_690_810: TIME,
    "0001-01-01T00:00:00Z": -1,
    "1601-01-01T00:00:00Z": -1,
    "9999-12-31T23:59:59Z": -1,
    "2026-13-01T00:00:00Z": -1,
    "2026-02-30T00:00:00Z": -1,
    "/Date(-62135596800000)/": -1,
    "/Date(999999999999999)/": -1,
    "99999999999999999999": -1,
    "11/26/2026 11:00:10 AM": -1,
    "yesterday": -1,
    "": -1,
    None: -1,
    True: -1,
    float("nan"): -1,
    float("inf"): -1,
    10**400: -1,
}


@pytest.mark.parametrize(("value", "expected"), TIMES.items(), ids=lambda value: str(value)[:40])
def test_times(value: object, expected: int) -> None:
    assert as_time(value) == expected


def test_numbers() -> None:
    assert [as_number(text) for text in ("4711", "0x1267", "0X10", " 7 ", "-1", "", "x", "9" * 30)] == [
        4711, 0x1267, 16, 7, -1, -1, -1, -1,
    ]  # fmt: skip


def test_names_of_fields() -> None:
    assert key("Client SID") == key("ClientSID") == key("client_sid")
    assert key("#4") == "#4"


def test_texts_are_cut_and_whole() -> None:
    assert len(text_of("x" * 100_000) or "") == 512
    assert text_of("\ud800") == "?"
    assert text_of([2, 0, 0xC3, 0x50]) == "0200c350"
    assert text_of({"a": 1}) is text_of(None) is text_of([]) is text_of(10**5000) is None


def test_the_table_of_events_is_consistent() -> None:
    known = {*TEXTS, *NUMBERS, "sid", "from_ip", "from_port", "to_ip", "to_port", "direction"}
    for kind in kinds():
        assert kind.meaning in MEANINGS, kind.name
        assert kind.side in (*SIDES, "direction"), kind.name
        assert set(kind.names) <= known, kind.name
        assert all(all(one for one in names) for names in kind.names.values()), kind.name
        named = {one for names in kind.names.values() for one in names}
        if kind.positions:
            # What is looked up by name is also found by its place.
            assert {names[0] for names in kind.names.values()} <= set(kind.positions), kind.name
        assert named or kind.meaning == "setting", kind.name
    names = [row["kind"] for row in knowledge.rows("log_events")]
    assert len(set(names)) == len(names)


def test_the_events_that_are_asked_for_are_there() -> None:
    wanted = {
        "sysmon.3", "security.5156", "security.4624", "security.4625", "security.5140", "security.5145", "smbserver.1007",
        "smbserver.1009", "smbserver.1025", *[f"sam.{number}" for number in range(16962, 16970)],
        *[f"ntlm.{number}" for number in (8001, 8002, 8003, 8004, 4020, 4021, 4022, 4023, 4024)],
        *[f"netlogon.{number}" for number in range(5827, 5832)], "samba.authentication", "samba.authorization",
    }  # fmt: skip
    assert wanted <= {kind.name for kind in kinds()}


def record(event_id: str, provider: str = "Microsoft-Windows-Security-Auditing", **fields: str) -> Record:
    made = Record(provider=provider, event_id=event_id, time="2026-11-26T11:00:10Z", number=7)
    made.fields = {key(name): text for name, text in fields.items()}
    return made


def understood(record: Record, ports: tuple[int, ...] = (445, 139)) -> dict[str, object]:
    event = event_of(record, ports)
    assert not isinstance(event, str), event
    return {**event.numbers, **event.texts}


SYSMON = "Microsoft-Windows-Sysmon"
HERE, THERE = "10.0.0.10", "10.0.0.2"


@pytest.mark.parametrize(
    ("direction", "source", "destination", "side"),
    [
        # Who logged it is told by the direction, and which end is the server by the port: what is called source differs.
        ("%%14593", (HERE, 50000), (THERE, 445), "client"),
        ("%%14592", (THERE, 445), (HERE, 50000), "server"),
        ("%%14592", (HERE, 50000), (THERE, 445), "server"),
        ("Outbound", (HERE, 50000), (THERE, 445), "client"),
        ("sortant", (HERE, 50000), (THERE, 445), "unknown"),
    ],
)
def test_ends_of_the_filtering_platform(
    direction: str, source: tuple[str, int], destination: tuple[str, int], side: str
) -> None:
    event = understood(
        record(
            "5156", SourceAddress=source[0], SourcePort=str(source[1]), DestAddress=destination[0],
            DestPort=str(destination[1]), Direction=direction, Application=r"\device\x.exe", ProcessID="0x4d2",
        )
    )  # fmt: skip
    ends = [event[name] for name in ("client_ip", "client_port", "server_ip", "server_port")]
    assert ends == [HERE, 50000, THERE, 445]
    assert event["side"] == SIDES.index(side)
    assert (event["process"], event["process_id"]) == (r"\device\x.exe", 1234)


def test_connections_that_are_not_smb_are_left_out() -> None:
    web = record(
        "3", SYSMON, SourceIp=HERE, SourcePort="50000", DestinationIp=THERE, DestinationPort="443", Initiated="true"
    )
    assert event_of(web, (445, 139)) == "other_ports"
    assert understood(web, (443,))["server_port"] == 443


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "127.9.9.9", "::ffff:127.0.0.1"])
def test_events_of_a_machine_with_itself_are_left_out(address: str) -> None:
    assert event_of(record("4624", IpAddress=address, IpPort="50000", TargetUserSid="S-1-5-7"), (445,)) == "local"


@pytest.mark.parametrize(
    ("fields", "anonymous"),
    [
        (
            {"TargetUserSid": "S-1-5-7", "TargetUserName": "NETZWERK-ANONYMOUS"},
            1,
        ),  # names are those of the system's language
        ({"TargetUserSid": "S-1-5-7"}, 1),
        ({"TargetUserSid": "S-1-5-18", "TargetUserName": "SYSTEM"}, 0),
        ({"TargetUserSid": "S-1-0-0", "TargetUserName": "alice"}, -1),
        ({"TargetUserName": "ANONYMOUS LOGON"}, 1),
        ({"TargetUserName": "alice"}, -1),
        ({}, -1),
    ],
)
def test_anonymous_is_told_by_the_sid(fields: dict[str, str], anonymous: int) -> None:
    assert understood(record("4624", IpAddress=HERE, **fields))["anonymous"] == anonymous


def test_missing_is_missing() -> None:
    event = understood(
        record("4624", IpAddress="-", IpPort="-", WorkstationName="-", TargetUserName="", ProcessName="-")
    )
    assert {event[name] for name in ("client_ip", "client_name", "process", "user", "server_ip")} == {None}
    assert event["client_port"] == -1


def test_a_workstation_may_be_an_address() -> None:
    event = understood(record("4624", IpAddress="-", WorkstationName=r"\\10.0.0.7"))
    assert (event["client_ip"], event["client_name"]) == ("10.0.0.7", None)


def test_pipes_and_shares_are_written_as_in_the_tables() -> None:
    pipe = understood(record("5145", IpAddress=HERE, ShareName=r"\\*\ipc$", RelativeTargetName=r"LSARPC"))
    assert (pipe["share"], pipe["pipe"]) == ("IPC$", "lsarpc")


@pytest.mark.parametrize(
    ("fields", "anonymous", "meaning", "user"),
    [
        (
            {"clientAccount": "", "clientDomain": "", "passwordType": "No-Password", "status": "NT_STATUS_OK"},
            1,
            "logon",
            "",
        ),
        (
            {"clientAccount": "", "clientDomain": "", "passwordType": "NTLMv2", "status": "NT_STATUS_OK"},
            -1,
            "logon",
            "",
        ),
        ({"clientAccount": "bob", "clientDomain": "", "status": "NT_STATUS_OK"}, 0, "logon", "bob"),
        ({"clientAccount": "bob", "clientDomain": "X", "status": "NT_STATUS_WRONG_PASSWORD"}, 0, "logon_failed", "bob"),
    ],
)
def test_samba_authentications(fields: dict[str, str], anonymous: int, meaning: str, user: str) -> None:
    ends = {"remoteAddress": "ipv4:10.0.0.10:50000", "localAddress": "ipv4:10.0.0.2:445"}
    event = understood(record("Authentication", "samba", **ends, **fields))
    assert (event["anonymous"], event["meaning"], event["user"]) == (anonymous, MEANINGS.index(meaning), user)
    assert (event["server_ip"], event["server_port"]) == ("10.0.0.2", 445)
    ldap = record("Authentication", "samba", **ends | {"localAddress": "ipv4:10.0.0.2:389"}, **fields)
    assert event_of(ldap, (445, 139)) == "other_ports"


def test_sides_are_written_as_in_the_tables() -> None:
    assert SIDES[:2] == tables.CLOSED_BY
