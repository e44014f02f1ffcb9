"""What software a client is, by what it says of itself."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from analyzer import analyze, knowledge
from analyzer.attribution import fingerprints
from analyzer.tables import TableSet
from tests.attribution.uses import attributed, columns_of, table_set, use

CAPTURES = Path(__file__).parents[2] / "captures"

# What is in a session or its connection, the software, the application.
CASES: list[tuple[dict[str, Any], str | None, str | None]] = [
    ({"client_build": "10.0.17763"}, "Windows 10 1809 / Server 2019", None),
    ({"client_build": "10.0.99999"}, "Windows", None),
    ({"client_build": "6.1.0", "ntlm_flags": 0x62008A15}, "Samba client", "Samba client"),
    ({"native_os": "Unix", "native_lanman": "Samba"}, "Samba client or impacket", None),  # both say so
    ({"native_os": "Unix", "native_lanman": "Samba", "client_build": "6.1.0"}, "Samba client", "Samba client"),
    ({"native_os": "Unix", "native_lanman": "Samba", "ntlm_flags": 0xE0888235}, "impacket", "impacket"),
    ({"ntlm_flags": 0xE0888235, "client_build": "10.0.17763"}, "Windows 10 1809 / Server 2019", None),
    ({"client_guid": str(uuid.UUID(bytes_le=b"aBcDefGhijKlMnop"))}, "impacket", "impacket"),
    ({"client_guid": str(uuid.UUID(bytes_le=b"aBcDefGh1jKlMnop"))}, None, None),
    ({"client_guid": str(uuid.UUID(bytes_le=b"1234567890123456"))}, "nmap", "nmap"),
    ({"client_guid": str(uuid.UUID(bytes_le=b"libsmb2-12345678"))}, "libsmb2", "libsmb2"),
    ({"client_guid": str(uuid.UUID(bytes_le=b"LIBSMB2-12345678"))}, None, None),  # bytes, so capitals matter
    ({"client_guid": "not a guid"}, None, None),
    ({"client_guid": ""}, None, None),
    ({"native_os": "Nmap", "native_lanman": "Native Lanman"}, "nmap", "nmap"),
    ({"native_os": "Linux", "native_lanman": "jCIFS"}, "jcifs (Java)", "jcifs (Java)"),
    ({"workstation": "JCIFS12_34_AB"}, "jcifs (Java)", "jcifs (Java)"),
    ({"client_build": "6.1.45"}, "Linux cifs (5.18 and later)", "Linux cifs"),
    (
        {"native_os": "Linux version 4.9.0", "native_lanman": "CIFS VFS Client for Linux"},
        "Linux cifs (SMB 1)",
        "Linux cifs",
    ),
    (
        {"native_os": "Mac OS X 10.10", "native_lanman": "SMBFS 3.0.0", "client_build": "6.1.7600"},
        "macOS SMBFS",
        "macOS",
    ),
    ({"client_build": "6.1.7600"}, "Windows 7 / Server 2008 R2 RTM, or macOS", None),
    ({"native_os": "Windows 2000 2195", "native_lanman": "Windows 2000 5.0"}, "Windows 2000", None),
    ({"native_lanman": "YNQ 1.4"}, "embedded SMB stack (Visuality NQ)", None),  # of low confidence: no application
    ({"client_capabilities": 0x40, "dialects_offered": "3.1.1"}, "impacket", "impacket"),
    ({"client_capabilities": 0x44}, "smbprotocol (Python)", "smbprotocol"),
    ({"dialects_offered": "3.1.1|3.0.2|3.0|2.1|2.0.2"}, "smbj (Java) or go-smb2", None),  # in descending order
    ({"dialects_offered": "2.0.2|2.1|3.0|3.0.2|3.1.1"}, None, None),  # as many do
    ({"dialects_offered": "2.0.2|2.1", "client_capabilities": 0x7F}, None, None),
    ({"dialects_offered": "LANMAN1.0|Samba"}, "Samba client", "Samba client"),
    ({"native_os": "AcmeOS", "native_lanman": "AcmeScan 3"}, "AcmeOS / AcmeScan 3", None),  # its own words
    ({"native_os": "x" * 5000}, "x" * 100, None),
    ({"native_os": "\n[*", "native_lanman": "\ufffd\x00"}, "\n[* / \ufffd\x00", None),
    ({"native_os": "", "native_lanman": ""}, None, None),
    ({}, None, None),
]
OF_CONNECTIONS = set(fingerprints.OF_CONNECTIONS)


@pytest.mark.parametrize(("says", "software", "application"), CASES)
def test_one(says: dict[str, Any], software: str | None, application: str | None) -> None:
    session = {"session_key": 1, "connection_id": 1} | {
        key: value for key, value in says.items() if key not in OF_CONNECTIONS
    }
    connection = {"connection_id": 1} | {key: value for key, value in says.items() if key in OF_CONNECTIONS}
    (found,) = attributed([use("PUBLIC")], table_set([session], [connection]))
    assert (found["client_software"], found["application"]) == (software, application)
    assert found["application_source"] == (None if application is None else "fingerprint")


def test_a_program_that_is_told_counts_for_more_than_the_pattern() -> None:
    rows = table_set([{"session_key": 1, "connection_id": 1, "client_build": "6.1.0"}], [{"connection_id": 1}])
    (found,) = attributed([use("rap", None, "NetServerEnum2")], rows)
    assert (found["application"], found["application_source"]) == ("Samba client", "fingerprint")
    assert found["function"] == "browse list (network neighbourhood)"


def test_a_release_of_windows_leaves_the_pattern() -> None:
    rows = table_set([{"session_key": 1, "connection_id": 1, "client_build": "10.0.19041"}], [{"connection_id": 1}])
    (found,) = attributed([use("rap", None, "NetServerEnum2")], rows)
    assert (found["application"], found["application_source"]) == ("Computer Browser", "pattern")
    assert found["client_software"] == "Windows 10 2004 .. 22H2"


def test_without_a_session_its_connection_tells() -> None:
    rows = table_set([], [{"connection_id": 4, "client_guid": str(uuid.UUID(bytes_le=b"1234567890123456"))}])
    found = attributed(
        [use("srvsvc", session_key=-1, connection_id=4), use("srvsvc", session_key=-1, connection_id=5)], rows
    )
    assert [it["client_software"] for it in found] == ["nmap", None]


def test_a_use_without_a_connection_has_that_of_its_session() -> None:
    guid = str(uuid.UUID(bytes_le=b"1234567890123456"))
    rows = table_set([{"session_key": 1, "connection_id": 6}], [{"connection_id": 6, "client_guid": guid}])
    (found,) = attributed([use("srvsvc", session_key=1, connection_id=-1)], rows)
    assert found["client_software"] == "nmap"


def test_a_row_of_low_confidence_tells_no_application(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = dict.fromkeys((*fingerprints.OF_SESSIONS, *fingerprints.OF_CONNECTIONS), "")
    row = empty | {"software": "S", "application": "A", "native_os": "s", "confidence": "low"}
    rows = table_set([{"session_key": 1, "connection_id": 1, "native_os": "s"}], [{"connection_id": 1}])
    for confidence, application in (("low", None), ("medium", "A")):
        monkeypatch.setattr(fingerprints.knowledge, "rows", lambda _, it=confidence: [row | {"confidence": it}])
        monkeypatch.setattr(fingerprints, "_fingerprints", fingerprints._fingerprints.__wrapped__)
        found = fingerprints.client_software(columns_of([use("PUBLIC")], rows), rows)
        assert [rows.texts.text(found[name].item()) for name in ("client_software", "application")] == [
            "S",
            application,
        ]
        monkeypatch.undo()


def test_many_clients() -> None:
    sessions = [{"session_key": key, "connection_id": key, "native_os": f"OS {key}"} for key in range(3000)]
    uses = [use("srvsvc", session_key=key, connection_id=key) for key in range(3000)]
    found = attributed(uses, table_set(sessions, [{"connection_id": key} for key in range(3000)]))
    assert [it["client_software"] for it in found] == [f"OS {key}" for key in range(3000)]


@pytest.mark.parametrize(
    ("capture", "applications"),
    [  # what captures/README.md says was run
        ("probe-nmap.pcap", {"nmap"}),
        ("anonymous-smb311.pcap", {"Samba client"}),
        ("empty-name.pcap", {"pysmb", "Samba client"}),
        ("anonymous-smb1-plain.pcap", {None, "curl", "pysmb"}),  # Samba's clients send nothing else than impacket there
    ],
)
def test_recorded_clients(capture: str, applications: set[str | None]) -> None:
    analysis = analyze([CAPTURES / capture])
    rows = TableSet({name: analysis.arrow(name) for name in ("sessions", "connections", "hosts")})
    keys = rows.columns("sessions", "session_key", "connection_id")
    uses = [
        use("srvsvc", session_key=key, connection_id=connection)
        for key, connection in zip(*(column.tolist() for column in keys.values()), strict=True)
    ]
    assert {it["application"] for it in attributed(uses, rows)} == applications


def test_cells_can_be_read() -> None:
    for row in knowledge.rows("fingerprints"):
        assert row["software"]
        cells = [row[name] for name in ("native_os", "native_lanman", "client_build", "workstation", "ntlm_flags")]
        assert any([*cells, *(row[name] for name in fingerprints.OF_CONNECTIONS)])
        assert row["confidence"] != "low" or not row["application"]
        if row["ntlm_flags"]:
            assert row["ntlm_flags"] == hex(int(row["ntlm_flags"], 16))
