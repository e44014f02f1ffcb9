"""Events in all the forms in which the same event is written, built for the purpose: field names as the documents have them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import escape, quoteattr

from tests.logs.evtx_writer import Element, evtx

NAMESPACE = "http://schemas.microsoft.com/win/2004/08/events/event"
SECURITY = ("Microsoft-Windows-Security-Auditing", "Security")
SYSMON = ("Microsoft-Windows-Sysmon", "Microsoft-Windows-Sysmon/Operational")
SMB_SERVER = ("Microsoft-Windows-SMBServer", "Microsoft-Windows-SMBServer/Security")
NTLM = ("Microsoft-Windows-NTLM", "Microsoft-Windows-NTLM/Operational")
SAM = ("Microsoft-Windows-Directory-Services-SAM", "System")
NETLOGON = ("NETLOGON", "System")
SECOND = 1_000_000_000
NOW = 1_795_690_810 * SECOND
"""2026-11-26 11:00:10 UTC."""


@dataclass(frozen=True)
class Logged:
    """An event of the Windows event log. unnamed: values without names, of events without a manifest."""

    source: tuple[str, str]
    event_id: int
    data: dict[str, str] = field(default_factory=dict)
    time_ns: int = NOW
    computer: str = "FILES1.corp.example"
    record: int = 1
    unnamed: tuple[str, ...] = ()


def iso(time_ns: int, digits: int = 7) -> str:
    """A time as Windows writes it: seven digits of a second."""
    whole, part = divmod(time_ns, SECOND)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=whole)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{part:09}"[: 20 + digits] + "Z"


# The forms. #


def as_element(event: Logged) -> Element:
    """The elements of an event. [Microsoft, Event schema]"""
    provider, channel = event.source
    system = (
        Element("Provider", attributes={"Name": provider}),
        Element("EventID", str(event.event_id)),
        Element("Version", "0"),
        Element("TimeCreated", attributes={"SystemTime": iso(event.time_ns)}),
        Element("EventRecordID", str(event.record)),
        Element("Channel", channel),
        Element("Computer", event.computer),
    )
    data = [Element("Data", text, {"Name": name}) for name, text in event.data.items()]
    data += [Element("Data", text) for text in event.unnamed]
    parts = (Element("System", children=system), Element("EventData", children=tuple(data)))
    return Element("Event", attributes={"xmlns": NAMESPACE}, children=parts)


def as_xml(element: Element) -> str:
    attributes = "".join(f" {name}={quoteattr(text)}" for name, text in element.attributes.items())
    inner = escape(element.text) + "".join(map(as_xml, element.children))
    return f"<{element.name}{attributes}>{inner}</{element.name}>"


def xml(events: Sequence[Logged]) -> bytes:
    """As Event Viewer saves it."""
    inner = "".join(as_xml(as_element(event)) for event in events)
    return f'<?xml version="1.0" encoding="utf-8" standalone="yes"?>\n<Events>{inner}</Events>'.encode()


def xml_bare(events: Sequence[Logged]) -> bytes:
    """As `wevtutil qe /f:xml` writes it through PowerShell: no root, UTF-16."""
    return b"\xff\xfe" + "\r\n".join(as_xml(as_element(event)) for event in events).encode("utf-16-le")


def dumped(event: Logged) -> dict[str, object]:
    """As evtx_dump has an event."""
    provider, channel = event.source
    data: dict[str, object] = dict(event.data)
    if event.unnamed:
        data["Data"] = {"#text": list(event.unnamed)}
    return {
        "Event": {
            "#attributes": {"xmlns": NAMESPACE},
            "System": {
                "Provider": {"#attributes": {"Name": provider}},
                "EventID": event.event_id,
                "TimeCreated": {"#attributes": {"SystemTime": iso(event.time_ns, 6)}},
                "EventRecordID": event.record,
                "Channel": channel,
                "Computer": event.computer,
            },
            "EventData": data,
        }
    }


def json_lines(events: Sequence[Logged]) -> bytes:
    return "".join(json.dumps(dumped(event)) + "\n" for event in events).encode()


def json_headed(events: Sequence[Logged]) -> bytes:
    """As `evtx_dump -o json` prints it."""
    return "".join(f"Record {event.record}\n{json.dumps(dumped(event), indent=2)}\n" for event in events).encode()


def json_array(events: Sequence[Logged]) -> bytes:
    return json.dumps([dumped(event) for event in events], indent=1).encode()


def json_flat(events: Sequence[Logged]) -> bytes:
    """As many collectors write them: all fields beside each other."""
    made = [
        {
            "EventID": event.event_id, "TimeCreated": iso(event.time_ns), "ProviderName": event.source[0],
            "Channel": event.source[1], "Computer": event.computer, "RecordId": event.record, **event.data,
            **{f"#{number}": text for number, text in enumerate(event.unnamed, 1)},
        }
        for event in events
    ]  # fmt: skip
    return json.dumps(made).encode("utf-8-sig")


def json_powershell(events: Sequence[Logged]) -> bytes:
    """As `Get-WinEvent | ConvertTo-Json` writes them in PowerShell 5: values without names, dates as objects."""
    made = [
        {
            "Id": event.event_id, "ProviderName": event.source[0], "LogName": event.source[1], "RecordId": event.record,
            "MachineName": event.computer, "Message": "In words { of [ the system",
            "TimeCreated": {"value": f"/Date({event.time_ns // 1_000_000})/", "DateTime": "Thursday, 26 November"},
            "Properties": [{"Value": text} for text in (*event.data.values(), *event.unnamed)],
        }
        for event in events
    ]  # fmt: skip
    return json.dumps(made).replace("/Date(", "\\/Date(").replace(")/", ")\\/").encode("utf-16")


def json_beat(events: Sequence[Logged]) -> bytes:
    """As Winlogbeat writes them."""
    made = [
        {
            "@timestamp": iso(event.time_ns, 3),
            "winlog": {
                "event_id": event.event_id, "provider_name": event.source[0], "channel": event.source[1],
                "computer_name": event.computer, "record_id": event.record,
                "event_data": {**event.data, **{f"param{n}": text for n, text in enumerate(event.unnamed, 1)}},
            },
        }
        for event in events
    ]  # fmt: skip
    return "\n".join(map(json.dumps, made)).encode()


def csv_table(events: Sequence[Logged], mark: str = ",") -> bytes:
    """A column for each field."""
    names = list(dict.fromkeys(name for event in events for name in event.data))
    places = range(1, max((len(event.unnamed) for event in events), default=0) + 1)
    file = io.StringIO()
    rows = csv.writer(file, delimiter=mark)
    rows.writerow(
        ["TimeCreated", "Id", "ProviderName", "LogName", "MachineName", "RecordId", *names, *[f"#{n}" for n in places]]
    )
    for event in events:
        fixed = [iso(event.time_ns), event.event_id, *event.source, event.computer, event.record]
        unnamed = [event.unnamed[n - 1] if n <= len(event.unnamed) else "" for n in places]
        rows.writerow([*fixed, *[event.data.get(name, "") for name in names], *unnamed])
    return file.getvalue().encode()


def evtx_file(events: Sequence[Logged]) -> bytes:
    return evtx([(as_element(event), event.time_ns) for event in events])


FORMS: dict[str, Callable[[Sequence[Logged]], bytes]] = {
    "evtx": evtx_file,
    "XML": xml,
    "XML without a root, UTF-16": xml_bare,
    "JSON lines": json_lines,
    "JSON with headings": json_headed,
    "JSON array": json_array,
    "JSON, flat": json_flat,
    "JSON of PowerShell": json_powershell,
    "JSON of Winlogbeat": json_beat,
    "CSV": csv_table,
    "CSV with semicolons": lambda events: csv_table(events, ";"),
}


# The events. Names and order of fields: Microsoft Learn, and the manifests of the providers. #


def sysmon_3(
    client: str, port: int, server: str, *, initiated: bool = True, image: str = r"C:\scan\scan.exe", **more: object
) -> Logged:
    data = {
        "RuleName": "-", "UtcTime": iso(int(str(more.get("time_ns", NOW))), 3)[:-1].replace("T", " "),
        "ProcessGuid": "{0}", "ProcessId": "4711", "Image": image, "User": r"CORP\svc-scan", "Protocol": "tcp",
        "Initiated": str(initiated).lower(), "SourceIsIpv6": "false", "SourceIp": client, "SourceHostname": "-",
        "SourcePort": str(port), "SourcePortName": "-", "DestinationIsIpv6": "false", "DestinationIp": server,
        "DestinationHostname": "-", "DestinationPort": "445", "DestinationPortName": "microsoft-ds",
    }  # fmt: skip
    return Logged(SYSMON, 3, data, **more)  # type: ignore[arg-type]


def filtering_5156(here: str, port: int, there: str, other: int, *, outbound: bool, **more: object) -> Logged:
    data = {
        "ProcessID": "1234", "Application": r"\device\harddiskvolume2\scan\scan.exe",
        "Direction": "%%14593" if outbound else "%%14592", "SourceAddress": here, "SourcePort": str(port),
        "DestAddress": there, "DestPort": str(other), "Protocol": "6", "FilterRTID": "70201", "LayerName": "%%14611",
        "LayerRTID": "48", "RemoteUserID": "S-1-0-0", "RemoteMachineID": "S-1-0-0",
    }  # fmt: skip
    return Logged(SECURITY, 5156, data, **more)  # type: ignore[arg-type]


def logon_4624(
    client: str,
    port: int | str,
    *,
    sid: str = "S-1-5-7",
    user: str = "ANONYMOUS LOGON",
    workstation: str = "-",
    **more: object,
) -> Logged:
    data = {
        "SubjectUserSid": "S-1-0-0", "SubjectUserName": "-", "SubjectDomainName": "-", "SubjectLogonId": "0x0",
        "TargetUserSid": sid, "TargetUserName": user, "TargetDomainName": "NT AUTHORITY", "TargetLogonId": "0x149be",
        "LogonType": "3", "LogonProcessName": "NtLmSsp ", "AuthenticationPackageName": "NTLM",
        "WorkstationName": workstation, "LogonGuid": "{00000000-0000-0000-0000-000000000000}", "TransmittedServices": "-",
        "LmPackageName": "NTLM V1", "KeyLength": "0", "ProcessId": "0x0", "ProcessName": "-", "IpAddress": client,
        "IpPort": str(port),
    }  # fmt: skip
    return Logged(SECURITY, 4624, data, **more)  # type: ignore[arg-type]


def logon_4625(client: str, port: int | str, *, user: str = "alice", **more: object) -> Logged:
    data = {
        "SubjectUserSid": "S-1-0-0", "SubjectUserName": "-", "SubjectDomainName": "-", "SubjectLogonId": "0x0",
        "TargetUserSid": "S-1-0-0", "TargetUserName": user, "TargetDomainName": "CORP", "Status": "0xc000006d",
        "FailureReason": "%%2313", "SubStatus": "0xc000006a", "LogonType": "3", "LogonProcessName": "NtLmSsp ",
        "AuthenticationPackageName": "NTLM", "WorkstationName": "CLIENT2", "TransmittedServices": "-", "LmPackageName": "-",
        "KeyLength": "0", "ProcessId": "0x0", "ProcessName": "-", "IpAddress": client, "IpPort": str(port),
    }  # fmt: skip
    return Logged(SECURITY, 4625, data, **more)  # type: ignore[arg-type]


def share_5145(client: str, port: int, pipe: str, *, sid: str = "S-1-5-7", **more: object) -> Logged:
    data = {
        "SubjectUserSid": sid, "SubjectUserName": "ANONYMOUS LOGON", "SubjectDomainName": "NT AUTHORITY",
        "SubjectLogonId": "0x149be", "ObjectType": "File", "IpAddress": client, "IpPort": str(port),
        "ShareName": r"\\*\IPC$", "ShareLocalPath": "", "RelativeTargetName": pipe, "AccessMask": "0x3",
        "AccessList": "%%4416", "AccessReason": "-",
    }  # fmt: skip
    return Logged(SECURITY, 5145, data, **more)  # type: ignore[arg-type]


def share_5140(client: str, port: int, share: str, *, sid: str = "S-1-5-7", **more: object) -> Logged:
    data = {
        "SubjectUserSid": sid, "SubjectUserName": "ANONYMOUS LOGON", "SubjectDomainName": "NT AUTHORITY",
        "SubjectLogonId": "0x149be", "ObjectType": "File", "IpAddress": client, "IpPort": str(port),
        "ShareName": rf"\\*\{share}", "ShareLocalPath": r"\??\C:\pub", "AccessMask": "0x1", "AccessList": "%%4416",
    }  # fmt: skip
    return Logged(SECURITY, 5140, data, **more)  # type: ignore[arg-type]


def socket_address(ip: str, port: int) -> str:
    """[Winsock] SOCKADDR_IN: family 2 in the machine's order, port and address in the network's, eight zeros."""
    return "0200" + f"{port:04X}" + bytes(map(int, ip.split("."))).hex().upper() + "00" * 8


def denied_1009(client: str, port: int, **more: object) -> Logged:
    data = {
        "ClientAddressLength": "16", "ClientAddress": socket_address(client, port), "ClientNameLength": str(len(client) + 2),
        "ClientName": rf"\\{client}", "SessionId": "0x100000000001", "SessionGUID": "{1}", "ConnectionGUID": "{2}",
    }  # fmt: skip
    return Logged(SMB_SERVER, 1009, data, **more)  # type: ignore[arg-type]


def denied_1007(client: str, port: int, share: str, **more: object) -> Logged:
    data = {
        "ShareNameLength": "8", "ShareName": rf"\\*\{share}", "SharePathLength": "4", "SharePath": r"\??\C:\pub",
        "ClientAddressLength": "16", "ClientAddress": socket_address(client, port), "ClientNameLength": str(len(client) + 2),
        "ClientName": rf"\\{client}",
    }  # fmt: skip
    return Logged(SMB_SERVER, 1007, data, **more)  # type: ignore[arg-type]


def ntlm_8001(target: str, *, user: str = "(NULL)", process: str = r"C:\scan\scan.exe", **more: object) -> Logged:
    data = {
        "TargetName": f"cifs/{target}", "UserName": user, "DomainName": "(NULL)", "CallerPID": "4711", "ProcessName": process,
        "ClientLUID": "0x3e7", "ClientUserName": "CLIENT1$", "ClientDomainName": "CORP", "MechanismOID": "1.3.6.1.4.1.311.2.2.10",
    }  # fmt: skip
    return Logged(NTLM, 8001, data, **more)  # type: ignore[arg-type]


def sam_16965(client: str, *, sid: str = "S-1-5-7", **more: object) -> Logged:
    return Logged(SAM, 16965, {"ClientSID": sid, "ClientNetworkAddress": client}, **more)  # type: ignore[arg-type]


def netlogon_5829(machine: str, **more: object) -> Logged:
    unnamed = (f"{machine}$", "CORP.", "2", "Windows NT", "4.0", "6")
    return Logged(NETLOGON, 5829, {}, unnamed=unnamed, **more)  # type: ignore[arg-type]
