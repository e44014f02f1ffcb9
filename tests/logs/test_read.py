"""Files of logs: the same event in every form, what is damaged, and what is no log at all."""

from __future__ import annotations

import gzip
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analyzer.errors import UsageError
from analyzer.logs import events as events_module
from analyzer.logs import windows
from analyzer.logs.events import COLUMNS, MEANINGS, TEXTS, kinds
from analyzer.logs.read import Logs, read_logs
from tests.logs import samples
from tests.logs.evtx_writer import CHUNK, evtx
from tests.logs.samples import FORMS, NOW, SECOND, Logged

CAPTURES = Path(__file__).parents[2] / "captures"

EVENTS = [
    samples.sysmon_3("10.77.0.10", 50001, "10.77.0.2", computer="CLIENT1", record=11),
    samples.filtering_5156("10.77.0.2", 445, "10.77.0.10", 50001, outbound=False, record=12),
    samples.logon_4624("10.77.0.10", 50001, workstation="CLIENT1", record=13),
    samples.logon_4625("::ffff:10.77.0.11", 50002, record=14),
    samples.share_5140("10.77.0.10", 50001, "PUBLIC", record=15),
    samples.share_5145("10.77.0.10", 50001, "lsarpc", record=16),
    samples.denied_1009("10.77.0.12", 50003, record=17),
    samples.denied_1007("10.77.0.12", 50003, "PUBLIC", record=18),
    samples.ntlm_8001("FILES1.corp.example", computer="CLIENT1", record=19),
    samples.sam_16965("10.77.0.13", record=20),
    samples.netlogon_5829("OLDBOX", record=21),
    Logged(samples.SMB_SERVER, 1025, {}, record=22),
]
ANONYMOUS: dict[str, Any] = {"anonymous": 1}
CLIENT = {"client_ip": "10.77.0.10", "client_port": 50001}
EXPECTED: list[dict[str, Any]] = [
    {"kind": "sysmon.3", "meaning": "connection", "side": 0, "record": 11, **CLIENT, "server_ip": "10.77.0.2",
     "server_port": 445, "process": r"C:\scan\scan.exe", "process_id": 4711, "user": r"CORP\svc-scan", "computer": "CLIENT1"},
    {"kind": "security.5156", "meaning": "connection", "side": 1, "record": 12, **CLIENT, "server_ip": "10.77.0.2",
     "server_port": 445, "process": r"\device\harddiskvolume2\scan\scan.exe", "process_id": 1234},
    {"kind": "security.4624", "meaning": "logon", "side": 1, "record": 13, **CLIENT, **ANONYMOUS, "client_name": "CLIENT1",
     "user": "ANONYMOUS LOGON", "process_id": 0, "computer": "FILES1.corp.example"},
    {"kind": "security.4625", "meaning": "logon_failed", "side": 1, "record": 14, "client_ip": "10.77.0.11",
     "client_port": 50002, "client_name": "CLIENT2", "user": "alice", "status": "0xc000006a", "process_id": 0, "anonymous": -1},
    {"kind": "security.5140", "meaning": "share_access", "side": 1, "record": 15, **CLIENT, **ANONYMOUS, "share": "PUBLIC",
     "user": "ANONYMOUS LOGON"},
    {"kind": "security.5145", "meaning": "share_access", "side": 1, "record": 16, **CLIENT, **ANONYMOUS, "share": "IPC$",
     "pipe": "lsarpc", "user": "ANONYMOUS LOGON"},
    {"kind": "smbserver.1009", "meaning": "denied", "side": 1, "record": 17, "client_ip": "10.77.0.12", "client_port": 50003,
     **ANONYMOUS},
    {"kind": "smbserver.1007", "meaning": "denied", "side": 1, "record": 18, "client_ip": "10.77.0.12", "client_port": 50003,
     **ANONYMOUS, "share": "PUBLIC"},
    {"kind": "ntlm.8001", "meaning": "ntlm_out", "side": 0, "record": 19, "server_name": "FILES1.corp.example",
     "process": r"C:\scan\scan.exe", "process_id": 4711, "user": "CLIENT1$", "computer": "CLIENT1"},
    {"kind": "sam.16965", "meaning": "sam_audit", "side": 1, "record": 20, "client_ip": "10.77.0.13", **ANONYMOUS},
    {"kind": "netlogon.5829", "meaning": "netlogon", "side": 1, "record": 21, "client_name": "OLDBOX"},
    {"kind": "smbserver.1025", "meaning": "setting", "side": 1, "record": 22},
]  # fmt: skip


def rows_of(logs: Logs) -> list[dict[str, Any]]:
    """Events in words; what is missing is left out."""
    columns = logs.events.columns()
    found = []
    for place in range(len(logs.events)):
        row: dict[str, Any] = {}
        for name in COLUMNS:
            value = int(columns[name][place])
            if name == "kind":
                row[name] = kinds()[value].name
            elif name == "meaning":
                row[name] = MEANINGS[value]
            elif name in TEXTS:
                row |= {name: logs.events.texts.text(value)} if value >= 0 else {}
            elif value >= 0 or name == "anonymous":
                row[name] = value
        found.append(row)
    return found


def read(folder: Path, data: bytes, name: str = "some.log") -> Logs:
    path = folder / name
    path.write_bytes(data)
    return read_logs(path)


# Forms. #


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["log", "log.csv"])
def test_the_same_events_in_every_form(tmp_path: Path, form: str, name: str) -> None:
    logs = read(tmp_path, FORMS[form](EVENTS), name)
    assert [str(problem) for problem in logs.files[0].problems] == []
    common = {"log": 0, "time": NOW, "anonymous": -1, "computer": "FILES1.corp.example"}
    assert rows_of(logs) == [common | expected for expected in EXPECTED]
    assert (logs.files[0].records, logs.files[0].kept) == (len(EVENTS), len(EVENTS))


@pytest.mark.parametrize("form", FORMS)
def test_compressed(tmp_path: Path, form: str) -> None:
    data = FORMS[form](EVENTS)
    plain, packed = read(tmp_path, data, "a"), read(tmp_path, gzip.compress(data), "b.gz")
    assert rows_of(packed) == rows_of(plain)
    assert packed.files[0].format == plain.files[0].format


def test_the_samples_are_evtx_by_its_own_reader(tmp_path: Path) -> None:
    """The writer of the samples against the library: with checksums, and as XML."""
    from evtx import PyEvtxParser  # noqa: PLC0415

    path = tmp_path / "x.evtx"
    path.write_bytes(samples.evtx_file(EVENTS * 5))
    found = list(PyEvtxParser(str(path), validate_checksums=True).records())
    assert [record["event_record_id"] for record in found] == list(range(1, len(EVENTS) * 5 + 1))
    assert 'Name="IpAddress">10.77.0.10<' in found[2]["data"]
    assert str(found[0]["timestamp"])[:19].replace("T", " ") == "2026-11-26 11:00:10"


@pytest.mark.parametrize("form", FORMS)
def test_other_events_are_counted_and_nothing_more(tmp_path: Path, form: str) -> None:
    others = [
        Logged(samples.SECURITY, 4688, {"NewProcessName": r"C:\x.exe"}),
        Logged(("X", "Y"), 3, {"IpAddress": "10.0.0.1"}),
    ]
    logs = read(tmp_path, FORMS[form]([*others, EVENTS[2], *others]))
    assert [row["kind"] for row in rows_of(logs)] == ["security.4624"]
    assert (logs.files[0].no_event, logs.files[0].records, logs.files[0].problems) == (4, 5, [])


def test_a_list_of_connections(tmp_path: Path) -> None:
    text = (
        "time,source_ip,source_port,destination_ip,destination_port,process,user\n"
        '2026-11-26T11:00:10Z,10.77.0.10,50001,10.77.0.2,445,"C:\\Program Files\\a, b.exe",svc\n'
        "2026-11-26T11:00:10Z,10.77.0.10,50002,10.77.0.2,443,x.exe,svc\n"
        "2026-11-26T12:00:10+01:00;10.77.0.10\n"
        "2026-11-26T12:00:10+01:00,::ffff:10.77.0.10,50003,10.77.0.2,139,y.exe,\n"
    )
    logs = read(tmp_path, text.encode())
    rows = rows_of(logs)
    assert [(row["client_ip"], row["client_port"], row["server_port"], row["time"]) for row in rows] == [
        ("10.77.0.10", 50001, 445, NOW), ("10.77.0.10", 50003, 139, NOW),
    ]  # fmt: skip
    assert [row["process"] for row in rows] == ["C:\\Program Files\\a, b.exe", "y.exe"]
    assert (logs.files[0].format, logs.files[0].other_ports, logs.files[0].damaged) == ("list", 1, 1)


def test_csv_of_one_kind_needs_no_provider(tmp_path: Path) -> None:
    text = "TimeCreated,EventID,IpAddress,IpPort,TargetUserSid\n2026-11-26T11:00:10Z,4624,10.77.0.10,50001,S-1-5-7\n"
    (row,) = rows_of(read(tmp_path, text.encode()))
    assert (row["kind"], row["client_port"], row["anonymous"], row["record"]) == ("security.4624", 50001, 1, 2)


def recorded(name: str) -> list[dict[str, Any]]:
    """The audit events of a recorded log, as whoever looks at it would pick them out."""
    lines = (CAPTURES / "logs" / name).read_text().splitlines()
    return [json.loads(line[line.index('{"timestamp"') :]) for line in lines if '{"timestamp"' in line]


@pytest.mark.parametrize(("name", "form"), [("logged-anonymous.log", "samba"), ("logged-ipv6.jsonl", "json")])
def test_recorded_logs_of_samba(name: str, form: str) -> None:
    logs = read_logs(CAPTURES / "logs" / name)
    told = recorded(name)
    assert logs.files[0].format == form
    assert logs.files[0].problems == []
    rows = rows_of(logs)
    assert len(rows) == len(told) == {"logged-anonymous.log": 11, "logged-ipv6.jsonl": 4}[name]
    for row, event in zip(rows, told, strict=True):
        about = event[event["type"]]
        assert row["kind"] == f"samba.{event['type'].lower()}"
        assert about["remoteAddress"].split(":", 1)[1] == f"{row['client_ip']}:{row['client_port']}"
        assert about["localAddress"].split(":", 1)[1] == f"{row['server_ip']}:{row['server_port']}"
        assert row["user"] == about.get("clientAccount", about.get("account"))
        nobody = about.get("sid") == "S-1-5-7" or about.get("clientAccount") == ""
        assert row["anonymous"] == int(nobody)
    assert {row["record"] for row in rows} <= set(range(1, 1000))


# Damage. #


def test_a_damaged_chunk_costs_only_itself(tmp_path: Path) -> None:
    events = [samples.logon_4624("10.77.0.10", 50000 + n, record=n) for n in range(60)]
    data = bytearray(evtx([(samples.as_element(event), NOW) for event in events], per_chunk=20))
    middle = 4096 + CHUNK
    data[middle + 600 : middle + 40_000] = random.Random(1).randbytes(39_400)
    logs = read(tmp_path, bytes(data))
    ports = {row["client_port"] for row in rows_of(logs)}
    assert ports >= set(range(50000, 50020)) | set(range(50040, 50060))
    assert len(ports) < 60
    assert logs.files[0].damaged >= 1
    assert "some.log" in str(logs.files[0].problems[0])


def test_a_chunk_without_its_header_costs_only_itself(tmp_path: Path) -> None:
    events = [samples.logon_4624("10.77.0.10", 50000 + n, record=n) for n in range(60)]
    data = bytearray(evtx([(samples.as_element(event), NOW) for event in events], per_chunk=20))
    data[4096 + CHUNK : 4096 + CHUNK + 512] = bytes(512)
    ports = {row["client_port"] for row in rows_of(read(tmp_path, bytes(data)))}
    assert ports >= set(range(50000, 50020)) | set(range(50040, 50060))


def test_a_damaged_event_of_xml_costs_only_itself(tmp_path: Path) -> None:
    data = samples.xml(EVENTS[:3]).replace(b"<EventID>5156</EventID>", b"<EventID>5156</EventI>")
    logs = read(tmp_path, data)
    assert [row["kind"] for row in rows_of(logs)] == ["sysmon.3", "security.4624"]
    assert logs.files[0].damaged == 1


def test_a_damaged_line_of_json_costs_only_itself(tmp_path: Path) -> None:
    lines = samples.json_lines(EVENTS[:4]).splitlines()
    lines[1] = lines[1][:200]
    logs = read(tmp_path, b"\n".join(lines))
    assert [row["kind"] for row in rows_of(logs)] == ["sysmon.3", "security.4624", "security.4625"]
    assert [
        str(problem).startswith(f"{tmp_path}/some.log, line 2: not JSON") for problem in logs.files[0].problems
    ] == [True]


def test_a_damaged_object_in_a_line_of_many_costs_only_itself(tmp_path: Path) -> None:
    data = samples.json_flat(EVENTS[:4]).replace(b'"EventID": 5156,', b'"EventID": 5156,,', 1)
    assert b"\n" not in data
    logs = read(tmp_path, data)
    assert [row["kind"] for row in rows_of(logs)] == ["sysmon.3", "security.4624", "security.4625"]
    assert logs.files[0].damaged == 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.999])
def test_what_ends_too_early(tmp_path: Path, form: str, part: float) -> None:
    data = FORMS[form](EVENTS * 4)
    logs = read(tmp_path, data[: int(len(data) * part)])
    whole = rows_of(read(tmp_path, data, "whole"))
    assert rows_of(logs) == whole[: len(rows_of(logs))]
    if form != "evtx" and part > 0.5:
        assert len(rows_of(logs)) > len(whole) // 4 or form in ("XML without a root, UTF-16",)


def test_a_compressed_file_that_ends_too_early(tmp_path: Path) -> None:
    data = gzip.compress(samples.json_lines(EVENTS * 200))
    logs = read(tmp_path, data[: len(data) // 2])
    assert 0 < len(logs.events) < len(EVENTS) * 200
    assert "cannot be read further" in str(logs.files[0].problems[-1])


BOMB = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">]><Events>"""
OUTSIDE = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><Events>'


@pytest.mark.parametrize("start", [BOMB, OUTSIDE], ids=["bomb", "outside"])
def test_entities_are_not_looked_at(tmp_path: Path, start: bytes) -> None:
    event = samples.xml(EVENTS[2:3]).partition(b"<Events>")[2]
    mean = event.replace(b"CLIENT1", b"&d;&a;", 1)
    logs = read(tmp_path, start + mean + event)
    (row,) = rows_of(logs)
    assert row["client_name"] == "CLIENT1"
    assert logs.files[0].damaged == 1
    inside = b"<Event><!DOCTYPE x [<!ENTITY a 'lol'>]>&a;</Event>"
    assert rows_of(read(tmp_path, b"<Events>" + inside + event)) == rows_of(logs)


WRONG_TYPES = (
    b'{"Event": {"System": {"EventID": [], "Provider": 7, "TimeCreated": {"#attributes": 3}}, "EventData": "x"}}',
    b'{"Event": {"System": {"EventID": {"#text": {}}}}}',
    b'{"winlog": {"event_data": []}}',
    b'{"Event": []}',
    b'{"type": [], "Event": {}}',
    b'{"type": "Authentication", "Authentication": 7}',
    b'{"Id": 4624, "Properties": {"Value": 1}}',
    b'{"Id": {}, "Properties": [[], {}, null]}',
    b'{"Event": {"System": {"EventID": 4624}, "EventData": {"Data": [{"#attributes": 7, "#text": []}, null, [[[]]]]}}}',
    b'{"Event": {"System": {"EventID": 4624}, "EventData": {"Data": {"#text": {}}, "IpAddress": {"#text": []}}}}',
)
HOSTILE: dict[str, Callable[[], bytes]] = {
    "nested JSON": lambda: b'{"a":' * 200_000,
    "nested JSON, in lines": lambda: b'{"a":[\n' * 60_000,
    "nested JSON arrays": lambda: b'{"Event":' + b"[" * 300_000,
    "JSON without an end": lambda: b'{"EventID": 4624, "x": "' + b"y" * 3_000_000,
    "many JSON strings without an end": lambda: b'{"' * 500_000,
    "numbers": lambda: b'{"EventID": 4624, "TimeCreated": ' + b"9" * 100_000 + b"}\n" * 3,
    "numbers, not believable": lambda: b'{"EventID": 1e999, "TimeCreated": NaN, "RecordId": -Infinity}\n' * 9,
    "wrong types": lambda: b"\n".join(WRONG_TYPES),
    "nested XML": lambda: b"<Event>" + b"<a>" * 60_000 + b"</a>" * 60_000 + b"</Event>",
    "XML without an end": lambda: b"<Events>" + b"<Event>" * 100_000,
    "XML of one long event": lambda: b"<Event>" + b"x" * 3_000_000 + b"</Event>",
    "XML with zeros": lambda: b"<Event>\0\0\0</Event>" * 1000,
    "a long line": lambda: (
        b"[2026/11/26 11:00:00.0,  1] x\n" + b"z" * 5_000_000 + b'\n  {"timestamp": "2026", "type": "Authorization"'
    ),
    "CSV with long fields": lambda: b"TimeCreated,Id,IpAddress\n" + b'2026-11-26T11:00:10Z,4624,"' + b"a\n" * 500_000,
    "CSV with many columns": lambda: b"TimeCreated,Id" + b",x" * 100_000 + b"\n" + b"1," * 100_000,
    "CSV with zeros": lambda: b"TimeCreated,Id,IpAddress\n\0,\0,\0\n" * 10,
    "evtx of nothing": lambda: b"ElfFile\0" + bytes(5000),
    "evtx of noise": lambda: b"ElfFile\0" + random.Random(3).randbytes(300_000),
    "evtx, header only": lambda: evtx([])[:128],
    "evtx, compressed noise": lambda: gzip.compress(b"ElfFile\0" + random.Random(4).randbytes(100_000)),
    "half a surrogate": lambda: json.dumps(samples.dumped(samples.logon_4624("10.0.0.1", 1, user="\ud800"))).encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_end_in_counts(tmp_path: Path, name: str) -> None:
    began = time.monotonic()
    logs = read(tmp_path, HOSTILE[name]())
    assert time.monotonic() - began < 20
    for problem in logs.files[0].problems:
        assert len(str(problem).splitlines()) == 1
        assert len(str(problem)) < 600
    for text in logs.events.texts.values:
        assert len(text) <= 512
        text.encode()


@pytest.mark.parametrize("form", FORMS)
def test_noise_in_files(tmp_path: Path, form: str) -> None:
    data = FORMS[form](EVENTS)
    for seed in range(25):
        noise = random.Random(seed)
        mean = bytearray(data)
        for _ in range(noise.randrange(1, 40)):
            at = noise.randrange(len(mean))
            mean[at : at + noise.randrange(1, 20)] = noise.randbytes(noise.randrange(0, 20))
        read(tmp_path, bytes(mean))


def test_times_that_cannot_be_true_are_counted(tmp_path: Path) -> None:
    data = samples.json_lines(EVENTS[2:4]).replace(b"2026-11-26T11:00:10", b"0001-01-01T00:00:00", 1)
    logs = read(tmp_path, data)
    assert [row["kind"] for row in rows_of(logs)] == ["security.4625"]
    assert logs.files[0].damaged == 1
    assert "no time that can be true" in str(logs.files[0].problems[0])
    assert "record 13" in str(logs.files[0].problems[0])


def test_no_more_than_the_bound_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "MAX_EVENTS", 5)
    logs = read(tmp_path, samples.json_lines(EVENTS))
    assert (len(logs.events), logs.events.dropped) == (5, len(EVENTS) - 5)
    monkeypatch.setattr(events_module, "MAX_EVENTS", 1000)
    monkeypatch.setattr(events_module, "MAX_CHARACTERS", 200)
    logs = read(tmp_path, samples.json_lines(EVENTS))
    assert 0 < len(logs.events) < len(EVENTS)
    assert len(logs.events) + logs.events.dropped == len(EVENTS)


def test_endless_damage_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "MAX_WASTE", 100_000)
    logs = read(tmp_path, b'{"a":[\n' * 60_000)
    assert "hardly anything of it is JSON" in str(logs.files[0].problems[-1])


NO_LOGS = {
    "text": b"Dear all,\nplease find the log attached.\n",
    "nothing": b"",
    "other JSON": b'{"name": "x", "list": [{"colour": "red"}]}\n{"Event": {"colour": "red"}}\n',
    "an empty array": b"[]",
    "noise": random.Random(2).randbytes(10_000),
    "a capture": (CAPTURES / "logged-ipv6.pcap").read_bytes(),
    "other XML": b"<?xml version='1.0'?><html><body/></html>",
    "other CSV": b"name,colour\nx,red\n",
    "a message in words": b'"TimeCreated","Message"\n"11/26/2026","An account was logged on"\n',
}


@pytest.mark.parametrize("name", NO_LOGS)
def test_what_is_no_log_is_told_in_a_line(tmp_path: Path, name: str) -> None:
    logs = read(tmp_path, NO_LOGS[name])
    (problem,) = logs.files[0].problems
    assert "is no log that is understood" in str(problem)
    assert str(problem).startswith(f"{tmp_path}/some.log: ")
    assert len(logs.events) == 0


def test_logs_without_events_of_use_are_no_mistake(tmp_path: Path) -> None:
    assert read(tmp_path, evtx([])).files[0].problems == []
    smbd = b"[2026/11/26 11:00:09.800905,  0] ../../source3/smbd/server.c:1741(main)\n  smbd version 4.17.12 started.\n"
    (problem,) = read(tmp_path, smbd).files[0].problems
    assert "auth_json_audit" in str(problem)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"none\.evtx: no such file"):
        read_logs("none.evtx")


def test_several_files(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    paths[0].write_bytes(samples.json_lines(EVENTS[:2]))
    paths[1].write_bytes(samples.xml(EVENTS[2:3]))
    logs = read_logs(paths)
    assert [row["log"] for row in rows_of(logs)] == [0, 0, 1]
    assert [file.format for file in logs.files] == ["json", "xml"]


def test_the_library_for_evtx_is_imported_for_it_only(tmp_path: Path) -> None:
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    path = tmp_path / "x.json"
    path.write_bytes(samples.json_lines(EVENTS))
    code = f"import sys; from analyzer.logs import read, join; read.read_logs({str(path)!r}); print('evtx' in sys.modules, 'defusedxml' in sys.modules, 'pandas' in sys.modules)"  # fmt: skip  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False"]


def test_time_is_the_programs_own_where_it_tells_one(tmp_path: Path) -> None:
    """Sysmon writes when the connection was, which may be seconds before the event was written."""
    event = samples.sysmon_3("10.77.0.10", 50001, "10.77.0.2", time_ns=NOW + 3 * SECOND)
    event.data["UtcTime"] = "2026-11-26 11:00:10.250"
    (row,) = rows_of(read(tmp_path, samples.xml([event])))
    assert row["time"] == NOW + SECOND // 4
