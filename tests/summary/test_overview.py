"""Clients, servers, pipes and hours: counted by hand from a small network."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import analyzer
from tests import build
from tests.build import ACCESS_DENIED
from tests.dialogue import ALICE, IS_GUEST, LOGON_FAILURE, SECOND, Smb1, Smb2, Talk, named, write

HOUR = 3600
START = build.START_NS // SECOND // HOUR * HOUR
"""The hour in which the captures begin; they begin 800 seconds into it."""
TO_NEXT_HOUR = HOUR - 800


def network() -> list[Talk]:
    """Three clients, two servers.

    10.0.0.1 uses srvsvc anonymously at .2, twice, in two hours; is refused samr there; is a user at .3.
    10.0.0.5 is a guest at .2; then a login of its fails, and an anonymous one is refused.
    10.0.0.6 is a machine at .2 and at .3, over SMB 1 a user; nothing of it matters.
    """
    first = Smb2(dialect=0x0311)
    first.anonymous_use(0x11, "srvsvc")
    first.create(0x11, 1, "samr", (0, 0), status=ACCESS_DENIED)
    again = Smb2(port=50_000, at=TO_NEXT_HOUR + 60)
    again.anonymous_use(0x12, "srvsvc")
    user = Smb2(server="10.0.0.3", port=50_001, at=1)
    user.credentialed_use(0x13, "srvsvc")
    user.use(0x13, 1, "lsarpc")
    user.use(0x13, 1, "my-own-pipe")
    guest = Smb2("10.0.0.5", at=2)
    guest.login(0x21, ALICE, session_flags=IS_GUEST)
    guest.tree(0x21, 1)
    guest.use(0x21, 1, "srvsvc")
    guest.login(0x22, ALICE, status=LOGON_FAILURE)
    guest.login(0x23, status=ACCESS_DENIED)
    machine = Smb2("10.0.0.6", at=3)
    machine.credentialed_use(0x31, "srvsvc", user=named("WS6$"))
    machine.use(0x31, 1, "srvsvc")
    other = Smb2("10.0.0.6", "10.0.0.3", port=50_000, at=4)
    other.credentialed_use(0x32, "netlogon", user=named("WS6$"))
    old = Smb1("10.0.0.6", "10.0.0.3", port=50_001, at=5)
    old.login(2048, "bob", oem=bytes(24), unicode=bytes(24))
    return [first, again, user, guest, machine, other, old]


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> analyzer.Analysis:
    """The network's capture."""
    return analyzer.analyze(write(tmp_path_factory.mktemp("overview") / "c.pcap", *network()))


def not_zero(row: pd.Series) -> dict[str, int]:
    """The counts of a row that are not 0."""
    return {str(name): int(value) for name, value in row.items() if isinstance(value, int) and value}


CLIENTS = {
    "10.0.0.1": {"servers": 2, "sessions": 3, "anonymous": 2, "user": 1, "rows_depends": 1, "rows_denied": 1},
    "10.0.0.5": {
        "servers": 1, "sessions": 3, "guest": 1, "rejected": 1, "anonymous_rejected": 1, "rows_depends": 1, "rows_denied": 1,
    },
    "10.0.0.6": {"servers": 2, "sessions": 3, "machine": 2, "user": 1},
}  # fmt: skip
SERVERS = {
    "10.0.0.2": {
        "clients": 3, "connections": 4, "sessions": 6, "anonymous": 2, "guest": 1, "rejected": 1, "anonymous_rejected": 1,
        "machine": 1, "rows_depends": 2, "rows_denied": 2,
    },
    "10.0.0.3": {"clients": 2, "connections": 3, "sessions": 3, "user": 2, "machine": 1},
}  # fmt: skip


def test_clients(analysis: analyzer.Analysis) -> None:
    rows = analysis.clients.astype(object).set_index("client_ip")
    assert {ip: not_zero(row) for ip, row in rows.iterrows()} == CLIENTS


def test_servers(analysis: analyzer.Analysis) -> None:
    rows = analysis.servers.astype(object).set_index("server_ip")
    assert {ip: not_zero(row) for ip, row in rows.iterrows()} == SERVERS
    assert rows["dialects"].to_dict() == {"10.0.0.2": "2.1|3.1.1", "10.0.0.3": "2.1|NT LM 0.12"}


def test_clients_are_named_by_what_they_say(analysis: analyzer.Analysis) -> None:
    """Every login here says that its workstation is WS10, except the one over SMB 1."""
    assert analysis.clients.set_index("client_ip")["client"].to_dict() == dict.fromkeys(CLIENTS, "WS10")


def test_sums_agree(analysis: analyzer.Analysis) -> None:
    """Each session is one client's and one server's, and has one identity."""
    for table in (analysis.clients, analysis.servers):
        identities = [
            "anonymous",
            "guest",
            "unknown",
            "anonymous_rejected",
            "user",
            "machine",
            "authenticated",
            "rejected",
        ]
        assert (table[identities].sum(axis=1) == table["sessions"]).all()
        assert table["sessions"].sum() == len(analysis.sessions) == 9
        verdicts = table[[f"rows_{name}" for name in ("depends", "unknown", "covered", "denied", "probe")]]
        assert verdicts.to_numpy().sum() == len(analysis.dependencies) == 4


def test_times_of_clients(analysis: analyzer.Analysis) -> None:
    first, again = network()[:2]
    row = analysis.clients.set_index("client_ip").loc["10.0.0.1"]
    logins = [next(s for s in talk.tcp.segments if b"NTLMSSP\0\x03" in s.payload) for talk in (first, again)]
    assert [row["first_seen"].value, row["last_seen"].value] == [login.time_ns for login in logins]


def test_pipes(analysis: analyzer.Analysis) -> None:
    """A pipe that only sessions with credentials opened is listed if it is a known one."""
    names = ["opens", "succeeded", "denied", "anonymous_clients", "bytes_written", "bytes_read", "credentialed_uses"]
    rows = analysis.pipes.set_index(["pipe", "server_ip"])[names].astype(int)
    assert {key: row.tolist() for key, row in rows.iterrows()} == {
        ("srvsvc", "10.0.0.2"): [3, 3, 0, 1, 3 * 72, 3 * 60, 2],
        ("samr", "10.0.0.2"): [1, 0, 1, 1, 0, 0, 0],
        ("srvsvc", "10.0.0.3"): [0, 0, 0, 0, 0, 0, 1],
        ("lsarpc", "10.0.0.3"): [0, 0, 0, 0, 0, 0, 1],
        ("netlogon", "10.0.0.3"): [0, 0, 0, 0, 0, 0, 1],
    }
    assert analysis.pipes["purpose"].notna().all()


def test_timeline(analysis: analyzer.Analysis) -> None:
    """Hours of UTC. Opens are rows of `pipe_opens`: those with credentials are counted elsewhere."""
    rows = analysis.timeline
    found = {
        ((row["hour"].value // SECOND - START) // HOUR, row["server_ip"], row["identity"]): (
            row["sessions"], row["clients"], row["pipe_opens"],
        )
        for _, row in rows.iterrows()
    }  # fmt: skip
    assert found == {
        (0, "10.0.0.2", "anonymous"): (1, 1, 2),
        (0, "10.0.0.2", "guest"): (1, 1, 1),
        (0, "10.0.0.2", "rejected"): (1, 1, 0),
        (0, "10.0.0.2", "anonymous_rejected"): (1, 1, 0),
        (0, "10.0.0.2", "machine"): (1, 1, 0),
        (0, "10.0.0.3", "user"): (2, 2, 0),
        (0, "10.0.0.3", "machine"): (1, 1, 0),
        (1, "10.0.0.2", "anonymous"): (1, 1, 1),
    }
    assert len(rows) == len(found)


def test_nothing_to_count(tmp_path: Path) -> None:
    """Packets without SMB: every table is there, with its columns, and empty."""
    (tmp_path / "c.pcap").write_bytes(
        build.pcap([build.Packet(build.START_NS, build.ethernet(build.ipv4(b"", protocol=17)))])
    )
    analysis = analyzer.analyze(tmp_path / "c.pcap")
    for name in ("clients", "servers", "pipes", "timeline", "dependencies"):
        assert not len(analysis.table(name))
        assert len(analysis.table(name).columns) > 3
