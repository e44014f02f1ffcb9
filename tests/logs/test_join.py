"""Events of logs beside captures: whose process it was, clocks, and what no capture shows.

The recorded logs are of the same runs as their captures, so each login in them is one in the capture: which, say the ports
that both have. Logs of Windows are built for these captures, with the ends of their connections.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analyzer
from analyzer import tables
from analyzer.logs.join import MEANING, REASONS, Clock, LogFindings, join
from analyzer.logs.read import read_logs
from tests.dialogue import ALICE, Smb2, write
from tests.logs import samples
from tests.logs.samples import SECOND, Logged

CAPTURES = Path(__file__).parents[2] / "captures"
RUNS = {"logged-anonymous.pcap": "logged-anonymous.log", "logged-ipv6.pcap": "logged-ipv6.jsonl"}
TIMESTAMP = re.compile(r'"timestamp": "([^"]+)"')
SERVER, NOBODY, OTHERS = "10.77.0.2", "10.77.0.10", "10.77.0.11"


@cache
def analysis(capture: str) -> analyzer.Analysis:
    return analyzer.analyze(CAPTURES / capture)


def joined(found: analyzer.Analysis, paths: Path | Iterable[Path], **more: Any) -> LogFindings:
    rows = {name: found.arrow(name) for name in tables.ROWS}
    return join(read_logs([paths] if isinstance(paths, Path) else list(paths)), tables.TableSet(rows), **more)


def processes(findings: LogFindings) -> pd.DataFrame:
    return tables.to_pandas("endpoint_processes", findings.processes)


def unseen(findings: LogFindings) -> pd.DataFrame:
    return tables.to_pandas("endpoint_unseen", findings.unseen)


def audit(name: str) -> list[dict[str, Any]]:
    """The audit events of a recorded log, by nobody's reader but JSON's."""
    lines = (CAPTURES / "logs" / name).read_text().splitlines()
    return [json.loads(line[line.index('{"timestamp"') :]) for line in lines if '{"timestamp"' in line]


def port_of(event: dict[str, Any]) -> int:
    return int(event[event["type"]]["remoteAddress"].rpartition(":")[2])


def kept(folder: Path, name: str, keep: Callable[[dict[str, Any]], bool], later: float = 0) -> Path:
    """A recorded log, without some of its events, by a clock that is ahead by so many seconds."""
    path = folder / name
    lines = []
    for line in (CAPTURES / "logs" / name).read_text().splitlines():
        if '{"timestamp"' in line:
            if not keep(json.loads(line[line.index('{"timestamp"') :])):
                continue
            line = TIMESTAMP.sub(lambda found: f'"timestamp": "{shifted(found[1], later)}"', line)  # noqa: PLW2901
        lines.append(line)
    path.write_text("\n".join(lines) + "\n")
    return path


def shifted(text: str, seconds: float) -> str:
    return (datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z") + timedelta(seconds=seconds)).strftime(
        "%Y-%m-%dT%H:%M:%S.%f%z"
    )


def everything(_: dict[str, Any]) -> bool:
    return True


def without(capture: str, path: Path, *ports: int) -> Path:
    """A capture without the packets of connections from these ports."""
    data = (CAPTURES / capture).read_bytes()
    found, at = [data[:24]], 24
    while at < len(data):
        (size,) = struct.unpack("<I", data[at + 8 : at + 12])
        packet = data[at : at + 16 + size]
        ip = packet[16 + 14 :]
        tcp = ip[20:] if packet[28:30] == b"\x08\x00" else bytes(4)  # IPv4 without options, or something else
        if not set(struct.unpack(">HH", tcp[:4])) & set(ports):
            found.append(packet)
        at += 16 + size
    path.write_bytes(b"".join(found))
    return path


# The recorded runs. #


@pytest.mark.parametrize("capture", RUNS)
def test_each_login_of_the_log_is_the_one_with_its_port(capture: str) -> None:
    found = analysis(capture)
    findings = joined(found, CAPTURES / "logs" / RUNS[capture])
    rows = processes(findings).sort_values("record")
    ports = found.connections.set_index("connection_id")["client_port"]
    sessions = found.sessions.set_index("session_key")
    told = audit(RUNS[capture])
    assert [int(ports[connection]) for connection in rows["connection_id"]] == list(map(port_of, told))
    assert (sessions.loc[rows["session_key"], "connection_id"].to_numpy() == rows["connection_id"].to_numpy()).all()
    for (_, row), event in zip(rows.iterrows(), told, strict=True):
        about = event[event["type"]]
        session = sessions.loc[row["session_key"]]
        expected = "rejected" if about.get("status") == "NT_STATUS_WRONG_PASSWORD" else "user"
        nobody = about.get("sid") == "S-1-5-7" or about.get("clientAccount") == ""
        assert session["identity"] == ("anonymous" if nobody else expected)
        assert row["user"] == about.get("clientAccount", about.get("account"))
    assert set(rows["confidence"]) == {"certain"}
    assert set(rows["side"]) == {"server"}
    assert len(unseen(findings)) == 0
    assert findings.measures["log_events_matched"] == len(told)
    assert {name: value for name, value in findings.measures.items() if value} == {
        "log_records": len(told), "log_events": len(told), "log_events_matched": len(told),
    }  # fmt: skip
    (clock,) = findings.clocks
    assert abs(clock.offset_ms or 0) <= 20  # both were written on one machine
    assert (clock.marks, clock.spread_ms <= 5) == (len(told), True)


@pytest.mark.parametrize("capture", RUNS)
@pytest.mark.parametrize("later", [37.25, -0.4, -90.0, 115.0])
def test_the_difference_of_the_clocks_is_found(tmp_path: Path, capture: str, later: float) -> None:
    right = joined(analysis(capture), CAPTURES / "logs" / RUNS[capture])
    findings = joined(analysis(capture), kept(tmp_path, RUNS[capture], everything, later))
    assert findings.clocks[0].offset_ms == pytest.approx((right.clocks[0].offset_ms or 0) + later * 1000, abs=1)
    columns = ["connection_id", "session_key", "record", "user", "confidence"]
    assert processes(findings)[columns].equals(processes(right)[columns])
    assert set(processes(findings)["offset_ms"]) == {findings.clocks[0].offset_ms}
    assert len(unseen(findings)) == 0


def test_a_clock_that_differs_by_more_is_not_known(tmp_path: Path) -> None:
    log = kept(tmp_path, "logged-anonymous.log", everything, 3600)
    findings = joined(analysis("logged-anonymous.pcap"), log)
    assert findings.clocks == [Clock(str(log), None, None, 0, 0)]
    assert findings.measures["log_clocks_unknown"] == 1
    assert findings.measures["log_events_matched"] == 0
    assert set(unseen(findings)["reason"]) == {REASONS[0]}
    wide = joined(analysis("logged-anonymous.pcap"), log, tolerance_s=4000)
    assert wide.measures["log_events_matched"] == 11
    assert wide.clocks[0].offset_ms == pytest.approx(3_600_000, abs=20)


def test_a_session_that_was_cut_out_of_the_capture_is_a_blind_spot(tmp_path: Path) -> None:
    (gone,) = {port_of(event) for event in audit("logged-anonymous.log") if "CLIENT3" in json.dumps(event)}
    found = analyzer.analyze(without("logged-anonymous.pcap", tmp_path / "c.pcap", gone))
    findings = joined(found, CAPTURES / "logs" / "logged-anonymous.log")
    rows = unseen(findings)
    assert rows[["client_ip", "client_port", "client_name", "server_ip", "event"]].to_numpy().tolist() == [
        ["10.77.0.12", gone, "CLIENT3", SERVER, "samba.authentication"]
    ]
    assert rows["reason"].tolist() == ["the client is not in the captures"]
    assert findings.measures["anonymous_logons_unseen"] == 1
    assert findings.by_server == {SERVER: {"anonymous_logons_unseen": 1}}
    assert findings.measures["log_events_unmatched"] == 2  # the login in two steps
    assert findings.measures["log_events_matched"] == 9


def test_one_of_several_sessions_of_a_client_cut_out(tmp_path: Path) -> None:
    ports = [port_of(event) for event in audit("logged-anonymous.log") if "10.77.0.10:" in json.dumps(event)]
    found = analyzer.analyze(without("logged-anonymous.pcap", tmp_path / "c.pcap", ports[0]))
    rows = unseen(joined(found, CAPTURES / "logs" / "logged-anonymous.log"))
    # The first of the run: without it the capture begins only half a second later.
    assert rows[["client_ip", "client_port"]].to_numpy().tolist() == [[NOBODY, ports[0]]]
    assert rows["reason"].tolist() == ["no session at that time (it may have been another protocol than SMB)"]
    found = analyzer.analyze(without("logged-anonymous.pcap", tmp_path / "d.pcap", *ports))
    rows = unseen(joined(found, CAPTURES / "logs" / "logged-anonymous.log"))
    assert rows["client_port"].tolist() == sorted(set(ports))
    assert set(rows["reason"]) == {"the client is not in the captures"}


def test_a_user_who_is_not_captured_is_no_blind_spot(tmp_path: Path) -> None:
    users = [port_of(event) for event in audit("logged-anonymous.log") if "alice" in json.dumps(event)]
    found = analyzer.analyze(without("logged-anonymous.pcap", tmp_path / "c.pcap", *users))
    findings = joined(found, CAPTURES / "logs" / "logged-anonymous.log")
    assert len(unseen(findings)) == 0
    assert findings.measures["log_events_unmatched"] == len(users) == 3


def test_the_login_of_a_connection_that_is_captured_in_part(tmp_path: Path) -> None:
    """Of a connection only the handshake and the negotiation were captured: nothing shows that it was anonymous."""
    talk = Smb2(NOBODY, SERVER, port=50_000)
    other = Smb2(OTHERS, SERVER, port=50_001)
    other.anonymous_use(0x11, "srvsvc")
    found = analyzer.analyze(write(tmp_path / "c.pcap", talk, other))
    log = built(tmp_path, [samples.logon_4624(NOBODY, 50_000, time_ns=began(found, 50_000), workstation="CLIENT1")])
    rows = unseen(joined(found, log))
    assert rows["reason"].tolist() == ["its connection is in the captures, its session is not"]


def test_sessions_that_the_log_does_not_show(tmp_path: Path) -> None:
    """The other direction: the log of the server covers the time, and has nothing of a session."""
    ports = sorted({port_of(event) for event in audit("logged-anonymous.log") if "10.77.0.11:" in json.dumps(event)})
    log = kept(tmp_path, "logged-anonymous.log", lambda event: port_of(event) not in ports)
    findings = joined(analysis("logged-anonymous.pcap"), log)
    # alice's session and her null session; the wrong password was refused, which is another event than a login
    assert findings.measures["sessions_not_logged"] == 2
    assert findings.measures["anonymous_sessions_not_logged"] == 1
    assert findings.by_server == {SERVER: {"sessions_not_logged": 2, "anonymous_sessions_not_logged": 1}}
    first = min(audit("logged-anonymous.log"), key=lambda event: event["timestamp"])
    log = kept(
        tmp_path,
        "logged-anonymous.log",
        lambda event: event["timestamp"] > first["timestamp"] and port_of(event) != port_of(first),
    )
    assert joined(analysis("logged-anonymous.pcap"), log).measures["sessions_not_logged"] == 0  # before the log begins


def test_two_logs_with_clocks_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "ahead").mkdir()
    logs = [
        kept(tmp_path / "ahead", "logged-anonymous.log", lambda event: "10.77.0.10" in json.dumps(event), 12),
        kept(tmp_path, "logged-anonymous.log", lambda event: "10.77.0.10" not in json.dumps(event), -30),
    ]
    findings = joined(analysis("logged-anonymous.pcap"), logs)
    assert [round((clock.offset_ms or 0) / 1000) for clock in findings.clocks] == [12, -30]
    assert findings.measures["log_events_matched"] == 11
    told = {name: value for _, name, value, _ in findings.coverage() if name.startswith("log_clock_ms")}
    assert [round(value / 1000) for value in told.values()] == [12, -30]
    assert all(name.endswith(str(log)) for name, log in zip(told, logs, strict=True))


# Logs of Windows, built. #


def built(folder: Path, events: list[Logged], name: str = "x.evtx", form: str = "evtx") -> Path:
    path = folder / name
    path.write_bytes(samples.FORMS[form](events))
    return path


def began(found: analyzer.Analysis, port: int) -> int:
    """When a connection from a port began."""
    rows = found.connections[found.connections["client_port"] == port]
    return int(rows["first_seen"].iloc[0].value)


def ports_of(capture: str) -> dict[str, list[int]]:
    """Ports of each client, in the order of time."""
    rows = analysis(capture).connections.sort_values("first_seen")
    return {str(ip): group["client_port"].astype(int).tolist() for ip, group in rows.groupby("client_ip")}


def test_a_process_behind_a_connection(tmp_path: Path) -> None:
    found = analysis("logged-anonymous.pcap")
    first, second = ports_of("logged-anonymous.pcap")[NOBODY]
    ahead = 5 * SECOND
    log = built(
        tmp_path,
        [
            samples.sysmon_3(NOBODY, first, SERVER, computer="CLIENT1", time_ns=began(found, first) + ahead, record=1),
            samples.sysmon_3(
                NOBODY,
                second,
                SERVER,
                image=r"C:\other.exe",
                computer="CLIENT1",
                time_ns=began(found, second) + ahead,
                record=2,
            ),
            samples.filtering_5156(
                SERVER, 445, NOBODY, second, outbound=False, computer="FILES1", time_ns=began(found, second), record=3
            ),
            samples.sysmon_3(NOBODY, 1, SERVER, computer="CLIENT1", time_ns=began(found, second) + ahead, record=4),
        ],
    )
    findings = joined(found, log)
    rows = processes(findings)
    ports = found.connections.set_index("connection_id")["client_port"]
    assert [
        (
            int(ports[row["connection_id"]]),
            row["side"],
            row["process"],
            row["process_id"],
            row["record"],
            row["offset_ms"],
        )
        for _, row in rows.sort_values("record").iterrows()
    ] == [
        (first, "client", r"C:\scan\scan.exe", 4711, 1, 5000),
        (second, "client", r"C:\other.exe", 4711, 2, 5000),
        (second, "server", r"\device\harddiskvolume2\scan\scan.exe", 1234, 3, 0),
    ]
    assert set(rows["confidence"]) == {"certain"}
    assert rows["session_key"].isna().all()  # it is the connection's, whoever logs on there
    assert rows.sort_values("record")["user"].tolist()[:2] == [r"CORP\svc-scan"] * 2
    assert findings.measures["log_events_unmatched"] == 1


def test_logins_that_do_not_name_the_server(tmp_path: Path) -> None:
    """4624 has the client's address and port; the server is the computer that logged it."""
    found = analysis("logged-anonymous.pcap")
    ports = ports_of("logged-anonymous.pcap")
    events = [
        samples.logon_4624(NOBODY, ports[NOBODY][0], time_ns=began(found, ports[NOBODY][0]) + SECOND // 100, record=1),
        samples.logon_4624(
            OTHERS,
            ports[OTHERS][0],
            sid="S-1-5-21-1-2-3-1000",
            user="alice",
            time_ns=began(found, ports[OTHERS][0]),
            record=2,
        ),
        samples.logon_4625(OTHERS, ports[OTHERS][1], time_ns=began(found, ports[OTHERS][1]), record=3),
        samples.share_5145(OTHERS, ports[OTHERS][2], "srvsvc", time_ns=began(found, ports[OTHERS][2]), record=4),
        samples.logon_4624("10.77.0.99", 50_000, time_ns=began(found, ports[OTHERS][2]), record=5),
    ]
    findings = joined(found, built(tmp_path, events))
    rows = processes(findings).sort_values("record")
    keys = found.sessions.merge(found.connections[["connection_id", "client_port"]], on="connection_id")
    expected = [keys[keys["client_port"] == port]["session_key"].item() for port in (ports[NOBODY][0], *ports[OTHERS])]
    assert rows["session_key"].tolist() == expected
    assert set(rows["confidence"]) == {"strong"}
    (row,) = unseen(findings).to_dict("records")
    assert (row["client_ip"], row["reason"], row["server_ip"]) == (
        "10.77.0.99",
        "the client is not in the captures",
        SERVER,
    )
    assert row["server"] == "FILES1.corp.example"
    # From the first to the last login: alice's session is shown, and so is the one that only a pipe tells of.
    assert findings.measures["sessions_not_logged"] == 0


@pytest.mark.parametrize("form", samples.FORMS)
def test_the_same_findings_from_every_form(tmp_path: Path, form: str) -> None:
    found = analysis("logged-anonymous.pcap")
    first = ports_of("logged-anonymous.pcap")[NOBODY][0]
    moment = began(found, first) // 1_000_000 * 1_000_000  # some forms have milliseconds
    events = [
        samples.sysmon_3(NOBODY, first, SERVER, computer="CLIENT1", time_ns=moment, record=1),
        samples.logon_4624(NOBODY, first, time_ns=moment, record=2),
        samples.denied_1009("10.77.0.98", 50_000, time_ns=moment, record=3),
    ]
    findings = joined(found, built(tmp_path, events, form=form))
    assert processes(findings)["record"].tolist() == [1, 2]
    (row,) = unseen(findings).to_dict("records")
    assert (row["event"], row["client_ip"], row["client_port"]) == ("smbserver.1009", "10.77.0.98", 50_000)


def test_without_ports_only_one_session_may_fit(tmp_path: Path) -> None:
    found = analysis("logged-anonymous.pcap")
    client, port = "10.77.0.12", ports_of("logged-anonymous.pcap")["10.77.0.12"][0]
    alone = samples.logon_4624("-", "-", workstation="CLIENT3", time_ns=began(found, port), record=1)
    # CLIENT1 has two null sessions within a second: which of them, the event does not say.
    two = samples.logon_4624("-", "-", workstation="CLIENT1", time_ns=began(found, port), record=2)
    out = samples.ntlm_8001("FILES1", computer="CLIENT3.corp.example", time_ns=began(found, port), record=3)
    out.data["ClientUserName"] = "(NULL)"
    nobody = samples.logon_4624("-", "-", time_ns=began(found, port), record=4)
    findings = joined(found, built(tmp_path, [alone, two, out, nobody]))
    rows = processes(findings).sort_values("record")
    keys = found.sessions[found.sessions["client_ip"] == client]["session_key"].tolist()
    assert rows["record"].tolist() == [1, 3]
    assert rows["session_key"].tolist() == keys * 2
    assert set(rows["confidence"]) == {"weak"}
    assert rows["process"].tolist()[1] == r"C:\scan\scan.exe"
    assert findings.measures["log_events_ambiguous"] == 1
    assert findings.measures["log_events_unusable"] == 1
    assert unseen(findings)["reason"].tolist() == ["the event does not name the client"]


def reused(folder: Path) -> analyzer.Analysis:
    """A port of a client that is used three times: at 0 s, 40 s and 80 s."""
    talks = []
    for number in range(3):
        talk = Smb2(NOBODY, SERVER, port=50_000, at=40 * number, isn=1_000_000 * (number + 1))
        talk.anonymous_use(0x11 + number, "srvsvc")
        talk.tcp.close()
        talks.append(talk)
    other = Smb2(OTHERS, SERVER, port=50_001)
    other.login(0x99, ALICE)
    return analyzer.analyze(write(folder / "c.pcap", *talks, other))


def test_a_port_that_is_used_again(tmp_path: Path) -> None:
    found = reused(tmp_path)
    again = found.connections[found.connections["client_port"] == 50_000].sort_values("first_seen")
    assert len(again) == 3
    times = [int(time.value) for time in again["first_seen"]]
    mark = samples.sysmon_3(
        OTHERS, 50_001, SERVER, computer="CLIENT1", time_ns=began(found, 50_001) + 3 * SECOND, record=9
    )
    events = [
        samples.sysmon_3(NOBODY, 50_000, SERVER, computer="CLIENT1", time_ns=time + 3 * SECOND, record=number)
        for number, time in enumerate(times)
    ]
    # Without the mark all three fit within the tolerance, and nothing tells how the clocks differ: none is guessed.
    findings = joined(found, built(tmp_path, events))
    assert findings.measures["log_events_ambiguous"] == 3
    assert len(processes(findings)) == 0
    findings = joined(found, built(tmp_path, [*events, mark]))
    rows = processes(findings).sort_values("record")
    assert rows["connection_id"].tolist()[:3] == again["connection_id"].tolist()
    assert findings.measures["log_events_ambiguous"] == 0


def clock_mark(found: analyzer.Analysis, port: int, record: int = 99) -> Logged:
    """An event that tells that the clock of FILES1 is right: its own view of a connection."""
    ends = found.connections[found.connections["client_port"] == port].iloc[0]
    return samples.filtering_5156(
        ends["server_ip"], 445, ends["client_ip"], port, outbound=False, time_ns=began(found, port), record=record
    )


def test_which_session_of_a_connection_it_was(tmp_path: Path) -> None:
    """On one connection: a login as alice, null sessions 10 s apart, and one a hundredth of a second after another."""
    talk = Smb2(NOBODY, SERVER, port=50_000)
    talk.login(0x11, ALICE)
    talk.login(0x12)
    talk.wait(10)
    talk.login(0x13)
    talk.wait(1)
    talk.login(0x23)
    talk.wait(10)
    talk.login(0x14)
    talk.wait(0.01)
    talk.login(0x15)
    found = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    sessions = found.sessions.sort_values("started")
    key = dict(zip(sessions["session_id"].str[-2:], sessions["session_key"], strict=True))
    time = {name: int(value.value) for name, value in zip(key, sessions["started"], strict=True)}
    assert list(key) == ["11", "12", "13", "23", "14", "15"]
    assert time["12"] - time["11"] < SECOND // 10
    more = {"sid": "S-1-5-21-1-2-3-1000", "user": "alice"}
    events = [
        clock_mark(found, 50_000),
        samples.logon_4624(NOBODY, 50_000, time_ns=time["12"], record=1, **more),  # nearer to the null session
        samples.logon_4624(NOBODY, 50_000, time_ns=time["11"], record=2),
        samples.logon_4624(NOBODY, 50_000, time_ns=time["13"] + SECOND // 100, record=3),
        samples.logon_4624(NOBODY, 50_000, time_ns=time["23"] - SECOND // 100, record=5),
    ]
    findings = joined(found, built(tmp_path, events))
    rows = processes(findings).set_index("record")["session_key"]
    assert [rows[number] for number in (1, 2, 3, 5)] == [key["11"], key["12"], key["13"], key["23"]]
    assert findings.measures["log_sessions_ambiguous"] == 0
    last = [samples.logon_4624(NOBODY, 50_000, time_ns=time[name], record=4) for name in ("14", "15")]
    findings = joined(found, built(tmp_path, [*events, *last]))
    rows = processes(findings).set_index("record")["session_key"]
    assert pd.isna(rows[4]).all()
    assert findings.measures["log_sessions_ambiguous"] == 2
    assert findings.measures["sessions_not_logged"] == 0  # either of them may be meant
    assert len(unseen(findings)) == 0


def test_a_client_port_at_two_servers_at_a_time(tmp_path: Path) -> None:
    servers = (SERVER, "10.77.0.3")
    talks = [
        Smb2(NOBODY, server, port=50_000, server_port=port) for server, port in zip(servers, (445, 445), strict=True)
    ]
    talks.append(Smb2(NOBODY, SERVER, port=50_000, server_port=139))
    for number, talk in enumerate(talks):
        talk.anonymous_use(0x11 + number, "srvsvc")
    found = analyzer.analyze(write(tmp_path / "c.pcap", *talks))
    at = found.connections.set_index(["server_ip", "server_port"])["connection_id"]
    moment = began(found, 50_000)
    netbios = samples.sysmon_3(NOBODY, 50_000, SERVER, computer="CLIENT1", time_ns=moment, record=1)
    netbios.data["DestinationPort"] = "139"
    events = [
        netbios,
        samples.logon_4624(NOBODY, 50_000, computer="10.77.0.3", time_ns=moment, record=2),
        samples.logon_4624(NOBODY, 50_000, computer="SOMEBODY", time_ns=moment, record=3),
    ]
    findings = joined(found, built(tmp_path, events))
    rows = processes(findings).set_index("record")["connection_id"]
    assert rows.to_dict() == {1: at[SERVER, 139], 2: at["10.77.0.3", 445]}
    assert findings.measures["log_events_ambiguous"] == 1


def test_a_clock_that_jumps_is_not_known(tmp_path: Path) -> None:
    found = analysis("logged-anonymous.pcap")
    ports = [*ports_of("logged-anonymous.pcap")[NOBODY], *ports_of("logged-anonymous.pcap")[OTHERS]]
    events = [
        samples.sysmon_3(
            NOBODY if number < 2 else OTHERS, port, SERVER, time_ns=began(found, port) + 20 * number * SECOND
        )
        for number, port in enumerate(ports)
    ]
    findings = joined(found, built(tmp_path, events))
    assert [clock.offset_ms for clock in findings.clocks] == [None]
    rows = processes(findings)
    assert len(rows) == len(ports)  # ends that were used once are known all the same
    assert set(rows["confidence"]) == {"strong"}
    assert rows["offset_ms"].isna().all()


def test_the_address_of_a_server_is_learnt_from_its_events(tmp_path: Path) -> None:
    found = analysis("logged-anonymous.pcap")
    port = ports_of("logged-anonymous.pcap")[NOBODY][0]
    events = [
        samples.logon_4624(NOBODY, port, computer="ALIAS7", time_ns=began(found, port), record=1),
        samples.logon_4624("10.77.0.95", 50_000, computer="ALIAS7", time_ns=began(found, port), record=2),
    ]
    (row,) = unseen(joined(found, built(tmp_path, events))).to_dict("records")
    assert (row["server_ip"], row["server"], row["client_ip"]) == (SERVER, "ALIAS7", "10.77.0.95")
    (row,) = unseen(joined(found, built(tmp_path, events[1:]))).to_dict("records")
    assert pd.isna(row["server_ip"])


def test_a_name_of_two_addresses_says_nothing(tmp_path: Path) -> None:
    """Both clients call themselves WS10 in their logins."""
    talks = [Smb2(ip, SERVER, port=50_000) for ip in (NOBODY, OTHERS)]
    talks[0].anonymous_use(0x11, "srvsvc")
    talks[1].login(0x12, ALICE)
    found = analyzer.analyze(write(tmp_path / "c.pcap", *talks))
    assert found.hosts["name"].value_counts()["WS10"] == 2
    event = samples.logon_4624("-", "-", workstation="WS10", computer=SERVER, time_ns=began(found, 50_000))
    findings = joined(found, built(tmp_path, [event]))
    assert findings.measures["log_events_unusable"] == 1
    assert unseen(findings)[["client_name", "reason"]].to_numpy().tolist() == [
        ["WS10", "the client is named, and the captures do not say which address that is"]
    ]


def test_a_port_that_is_used_again_at_once(tmp_path: Path) -> None:
    """The connection that was open then is the one, though the next begins half a second later."""
    talks = [Smb2(NOBODY, SERVER, port=50_000, at=at, isn=int(1_000_000 * (at + 1))) for at in (0, 0.5)]
    for number, talk in enumerate(talks):
        talk.anonymous_use(0x11 + number, "srvsvc")
        talk.tcp.close()
    other = Smb2(OTHERS, SERVER, port=50_001)
    other.login(0x99, ALICE)
    found = analyzer.analyze(write(tmp_path / "c.pcap", *talks, other))
    again = found.connections[found.connections["client_port"] == 50_000].sort_values("first_seen")
    assert len(again) == 2
    times = [int(time.value) + 1000 for time in again["first_seen"]]
    events = [
        samples.sysmon_3(NOBODY, 50_000, SERVER, time_ns=time, record=number) for number, time in enumerate(times)
    ]
    for event in events:  # Sysmon's own time has milliseconds
        event.data["UtcTime"] = "-"
    mark = clock_mark(found, 50_001)
    rows = processes(joined(found, built(tmp_path, [*events, mark]))).set_index("record")["connection_id"]
    assert [rows[0], rows[1]] == again["connection_id"].tolist()


def test_why_nothing_shows_it(tmp_path: Path) -> None:
    found = analysis("logged-anonymous.pcap")
    ports = ports_of("logged-anonymous.pcap")
    moment = began(found, ports[OTHERS][0])
    cases: dict[str, Logged] = {
        "outside the time of the captures": samples.logon_4624(NOBODY, 50_000, time_ns=moment - 3600 * SECOND),
        "the event does not name the client": samples.logon_4624("-", "-", time_ns=moment),
        "the server is not in the captures": samples.share_5140(NOBODY, 50_000, "PUB", computer=NOBODY, time_ns=moment),
        "the client is not in the captures": samples.sam_16965("10.77.0.97", time_ns=moment),
        "no session at that time (it may have been another protocol than SMB)": samples.denied_1007(
            NOBODY, 50_000, "PUB", time_ns=moment
        ),
    }
    found_reasons = {}
    for number, (reason, event) in enumerate(cases.items()):
        rows = unseen(joined(found, built(tmp_path, [event], f"{number}.evtx")))
        found_reasons[reason] = rows["reason"].tolist()
    assert found_reasons == {reason: [reason] for reason in cases}
    rows = unseen(joined(found, built(tmp_path, [cases["the server is not in the captures"]])))
    assert rows[["detail", "event", "server_ip"]].to_numpy().tolist() == [["share PUB", "security.5140", NOBODY]]


def test_a_pair_that_never_met_in_the_captures(tmp_path: Path) -> None:
    talks = [Smb2(ip, server, port=50_000) for ip, server in ((NOBODY, SERVER), (OTHERS, "10.77.0.3"))]
    for talk in talks:
        talk.anonymous_use(0x11, "srvsvc")
    found = analyzer.analyze(write(tmp_path / "c.pcap", *talks))
    event = samples.logon_4624(NOBODY, 50_001, computer="10.77.0.3", time_ns=began(found, 50_000))
    rows = unseen(joined(found, built(tmp_path, [event])))
    assert rows["reason"].tolist() == ["no connection between them is in the captures"]


def test_open_lists_are_counted(tmp_path: Path) -> None:
    findings = joined(analysis("logged-anonymous.pcap"), built(tmp_path, [Logged(samples.SMB_SERVER, 1025, {})]))
    assert findings.measures["log_anonymous_lists"] == 1
    assert findings.measures["log_events_unusable"] == findings.measures["log_events_unmatched"] == 0


def test_a_pipe_that_nobody_captured(tmp_path: Path) -> None:
    found = analysis("logged-anonymous.pcap")
    moment = began(found, ports_of("logged-anonymous.pcap")[OTHERS][0])
    findings = joined(found, built(tmp_path, [samples.share_5145("10.77.0.96", 50_000, "samr", time_ns=moment)]))
    (row,) = unseen(findings).to_dict("records")
    assert row["detail"] == "share IPC$; pipe samr"


# What is always so. #


def test_without_events_all_tables_are_there(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nothing of use")
    findings = joined(analysis("logged-anonymous.pcap"), tmp_path / "x")
    assert list(processes(findings).columns) == [column.name for column in tables.TABLES["endpoint_processes"]]
    assert list(unseen(findings).columns) == [column.name for column in tables.TABLES["endpoint_unseen"]]
    assert len(processes(findings)) == len(unseen(findings)) == 0
    assert set(findings.measures) == set(MEANING)
    assert findings.clocks == []


def test_without_captures_everything_anonymous_is_unseen(tmp_path: Path) -> None:
    (tmp_path / "c.pcap").write_bytes((CAPTURES / "logged-anonymous.pcap").read_bytes()[:24])
    findings = joined(analyzer.analyze(tmp_path / "c.pcap"), CAPTURES / "logs" / "logged-anonymous.log")
    assert len(unseen(findings)) == 4
    assert findings.measures["log_events_matched"] == 0


def test_coverage_says_what_it_means() -> None:
    findings = joined(analysis("logged-anonymous.pcap"), CAPTURES / "logs" / "logged-anonymous.log")
    rows = findings.coverage()
    assert {name for _, name, _, _ in rows} >= set(MEANING)
    assert min(len(meaning) for *_, meaning in rows) > 10
    assert {server for server, *_ in rows} == {None}


def test_an_analysis_without_logs_has_empty_tables() -> None:
    found = analysis("logged-anonymous.pcap")
    assert len(found.endpoint_processes) == len(found.endpoint_unseen) == 0
