"""Trees, opens, calls and data belong to the session and the file that their own request meant, over SMB 1.

A UID is a session, a TID belongs to the connection, and the UID of each request decides, not the tree's. [MS-CIFS 2.2.1.6]
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import analyzer
from tests import build
from tests.build import ACCESS_DENIED, SUCCESS
from tests.dialogue import ANONYMOUS, BAD_NETWORK_NAME, LOGON_FAILURE, Smb1, write
from tests.sessions.told import opens_of, trees_of

PASSWORDS = {"oem": bytes(24), "unicode": bytes(24)}
NETWORK_NAME = build.smb1_tree(r"\\FILES1\IPC$")
EMPTY = build.smb1_setup("", "CORP", "Windows 4.0", "LM 4.0", oem_password=b"\0")
ACCEPTED = build.smb1_setup_answer(0, "Unix", "Samba", "CORP")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A capture to be."""
    return tmp_path / "c.pcap"


def test_two_uids_on_one_tid(path: Path) -> None:
    talk = Smb1()
    talk.login(2048)
    talk.login(2049, "alice", **PASSWORDS)
    talk.tree(2048, 1)
    talk.create(2048, 1, "\\srvsvc", 7)
    talk.create(2049, 1, "\\lsarpc", 8)
    talk.create(2048, 1, "\\PIPE\\samr", 9, status=ACCESS_DENIED)
    talk.rap(2049, 1)
    talk.rap(2048, 1)
    analysis = analyzer.analyze(write(path, talk), detail="all")
    assert opens_of(analysis) == [
        ("srvsvc", "anonymous", "STATUS_SUCCESS"),
        ("lsarpc", "user", "STATUS_SUCCESS"),
        ("samr", "anonymous", "STATUS_ACCESS_DENIED"),
    ]
    calls = analysis.calls.merge(analysis.sessions[["session_key", "identity"]], on="session_key")
    assert calls["operation"].tolist() == ["NetShareEnum", "NetShareEnum"]
    assert calls["identity"].tolist() == ["user", "anonymous"]
    found = analyzer.analyze(path)
    assert found.dependencies["resource"].tolist() == ["rap", "srvsvc", "samr"]
    uses = found.credentialed_uses
    assert sorted(zip(uses["resource"], uses["uses"], strict=True)) == [("lsarpc", 1), ("rap", 1)]


def test_ids_used_again_after_logoff_disconnect_and_close(path: Path) -> None:
    talk = Smb1()
    talk.login(2048)
    talk.tree(2048, 1)
    talk.create(2048, 1, "\\srvsvc", 7)
    talk.transact(2048, 1, 7, bytes(10), bytes(20))
    talk.close(2048, 1, 7)
    talk.create(2048, 1, "\\lsarpc", 7)
    talk.transact(2048, 1, 7, bytes(30), bytes(40))
    talk.disconnect(2048, 1)
    off = talk.logoff(2048)
    talk.login(2048, "alice", **PASSWORDS)
    talk.tree(2048, 1, "DATA")
    talk.create(2048, 1, "\\srvsvc", 7)
    analysis = analyzer.analyze(write(path, talk), detail="all")
    assert opens_of(analysis) == [("srvsvc", "anonymous", "STATUS_SUCCESS"), ("lsarpc", "anonymous", "STATUS_SUCCESS")]
    data = analysis.pipe_opens[["bytes_written", "bytes_read"]].astype(int).to_numpy().tolist()
    assert data == [[10, 20], [30, 40]]
    assert trees_of(analysis) == [("IPC$", "anonymous", "STATUS_SUCCESS"), ("DATA", "user", "STATUS_SUCCESS")]
    assert off.request is not None
    assert analysis.sessions["ended"].iloc[0].value == off.request.time_ns


@pytest.mark.parametrize(
    "other", [{"client": "10.0.0.9"}, {"port": 50_000}], ids=["another client", "the same machines"]
)
def test_two_connections_with_the_same_ids(path: Path, other: dict[str, str | int]) -> None:
    first, second = Smb1(), Smb1(at=0.0005, **other)  # type: ignore[arg-type]
    for talk, user, pipe, size in ((first, "", "\\srvsvc", 10), (second, "alice", "\\lsarpc", 100)):
        talk.login(2048, user, **(PASSWORDS if user else {}))
        talk.tree(2048, 1)
        talk.create(2048, 1, pipe, 7)
        talk.transact(2048, 1, 7, bytes(size), bytes(size))
    analysis = analyzer.analyze(write(path, first, second), detail="all")
    assert opens_of(analysis) == [("srvsvc", "anonymous", "STATUS_SUCCESS"), ("lsarpc", "user", "STATUS_SUCCESS")]
    assert analysis.pipe_opens["bytes_written"].tolist() == [10, 100]


# Chains: several commands in one message. #


def test_a_login_and_a_tree_connect_in_one_message(path: Path) -> None:
    talk = Smb1()
    talk.exchange([EMPTY, NETWORK_NAME], [ACCEPTED, build.smb1_tree_answer(b"IPC")], new_uid=2048, new_tid=1)
    talk.create(2048, 1, "\\srvsvc", 7)
    analysis = analyzer.analyze(write(path, talk))
    assert trees_of(analysis) == [("IPC$", "anonymous", "STATUS_SUCCESS")]
    assert opens_of(analysis) == [("srvsvc", "anonymous", "STATUS_SUCCESS")]
    assert analysis.sessions["frame"].tolist() == analysis.trees["frame"].tolist()


def test_a_chained_tree_connect_that_fails_after_a_login_that_worked(path: Path) -> None:
    """The header has one status, and it is the tree connect's: the login has its three words, so it succeeded."""
    talk = Smb1()
    talk.exchange([EMPTY, NETWORK_NAME], [ACCEPTED, build.failed(0x75)], status=ACCESS_DENIED, new_uid=2048)
    talk.tree(2048, 1, "PUBLIC")
    analysis = analyzer.analyze(write(path, talk))
    assert analysis.sessions[["identity", "outcome", "status"]].to_numpy().tolist() == [
        ["anonymous", "accepted", "STATUS_SUCCESS"]
    ]  # fmt: skip
    assert trees_of(analysis) == [
        ("IPC$", "anonymous", "STATUS_ACCESS_DENIED"),
        ("PUBLIC", "anonymous", "STATUS_SUCCESS"),
    ]


@pytest.mark.parametrize(("status", "verdict"), [(ACCESS_DENIED, "denied"), (BAD_NETWORK_NAME, "unknown")])
def test_what_a_chained_refusal_of_ipc_means(path: Path, status: int, verdict: str) -> None:
    talk = Smb1()
    talk.exchange([EMPTY, NETWORK_NAME], [ACCEPTED, build.failed(0x75)], status=status, new_uid=2048)
    analysis = analyzer.analyze(write(path, talk))
    assert analysis.dependencies[["resource", "verdict"]].to_numpy().tolist() == [["IPC$", verdict]]


def test_a_login_that_fails_takes_its_chain_along(path: Path) -> None:
    """A refused logon has no words, and what was chained to it has no answer. [MS-CIFS 3.3.5.1]"""
    talk = Smb1()
    user = build.smb1_setup(
        "alice", "CORP", "Windows 4.0", "LM 4.0", oem_password=bytes(24), unicode_password=bytes(24)
    )
    talk.exchange([user, NETWORK_NAME], [build.failed(0x73)], status=LOGON_FAILURE)
    analysis = analyzer.analyze(write(path, talk))
    assert analysis.sessions[["identity", "status"]].to_numpy().tolist() == [["rejected", "STATUS_LOGON_FAILURE"]]
    assert not len(analysis.dependencies)


def test_three_commands_in_one_message(path: Path) -> None:
    """Login, tree connect and open; the open has the ids that the answer's header gives."""
    talk = Smb1()
    talk.exchange(
        [EMPTY, NETWORK_NAME, build.open_andx("\\PIPE\\spoolss", unicode=True)],
        [ACCEPTED, build.smb1_tree_answer(b"IPC"), build.open_andx_answer(7, 2)],
        new_uid=2048,
        new_tid=3,
    )
    talk.transact(2048, 3, 7, bytes(11), bytes(12))
    analysis = analyzer.analyze(write(path, talk))
    assert opens_of(analysis) == [("spoolss", "anonymous", "STATUS_SUCCESS")]
    assert analysis.pipe_opens[["via", "bytes_written", "bytes_read"]].to_numpy().tolist() == [["open_andx", 11, 12]]


def test_a_write_and_a_read_in_one_message(path: Path) -> None:
    """WriteAndX with a ReadAndX behind it."""
    talk = Smb1()
    talk.login(2048)
    talk.tree(2048, 1)
    talk.create(2048, 1, "\\srvsvc", 7)
    talk.exchange(
        [build.write_andx(7, bytes(9)), build.read_andx(7)],
        [build.write_andx_answer(9), build.Smb1(0x2E, build.read_andx_answer(b"").words)],
        uid=2048,
        tid=1,
    )
    written = analyzer.analyze(write(path, talk)).pipe_opens["bytes_written"]
    assert written.tolist() == [9]


# The ways in which pipes are driven. #


@pytest.mark.parametrize("detail", ["default", "all"])
def test_bytes_of_pipes_by_each_way(path: Path, detail: str) -> None:
    talk = Smb1()
    talk.login(2048)
    talk.tree(2048, 1)
    for fid, pipe in ((1, "\\srvsvc"), (2, "\\lsarpc"), (3, "\\samr"), (4, "\\netlogon")):
        talk.create(2048, 1, pipe, fid)
    for request, answer, status in (
        (build.write_andx(1, bytes(100)), build.write_andx_answer(100), SUCCESS),
        (build.read_andx(1), build.read_andx_answer(bytes(30)), build.BUFFER_OVERFLOW),
        (build.read_andx(1), build.read_andx_answer(bytes(12)), SUCCESS),
        (build.write_core(3, bytes(6)), build.Smb1(0x0B, b"\6\0"), SUCCESS),
        (build.read_core(3), build.read_core_answer(bytes(5)), SUCCESS),
    ):
        talk.exchange(request, answer, status=status, uid=2048, tid=1)
    talk.transact(2048, 1, 2, bytes(70), bytes(60))
    talk.transact(2048, 1, 2, bytes(7), bytes(6))
    talk.transact(2048, 1, 4, bytes(1), bytes(2))
    talk.exchange(build.read_andx(4), build.read_andx_answer(bytes(3)), uid=2048, tid=1)
    found = analyzer.analyze(write(path, talk), detail=detail).pipe_opens
    assert found[["pipe", "bytes_written", "bytes_read"]].to_numpy().tolist() == [
        ["srvsvc", 100, 42], ["lsarpc", 77, 66], ["samr", 6, 5], ["netlogon", 1, 5],
    ]  # fmt: skip


def test_a_write_that_closes(path: Path) -> None:
    """WRITE_AND_CLOSE: its bytes moved, and what has the FID afterwards is another file. [MS-CIFS 2.2.4.40]"""
    talk = Smb1()
    talk.login(2048)
    talk.tree(2048, 1)
    talk.create(2048, 1, "\\srvsvc", 7)
    words = build.packed(("fid", "H", 7), ("count", "H", 9), ("offset", "I", 0), ("last_write_time", "I", 0))
    last = talk.exchange(build.Smb1(0x2C, words, b"\0" + bytes(9)), build.Smb1(0x2C, b"\x09\0"), uid=2048, tid=1)
    opens = analyzer.analyze(write(path, talk)).pipe_opens
    assert opens["bytes_written"].tolist() == [9]
    assert last.request is not None
    assert opens["closed"].iloc[0].value == last.request.time_ns


def test_rap_needs_no_open(path: Path) -> None:
    """A transaction named \\PIPE\\LANMAN on the tree of IPC$. [MS-RAP 2.1]"""
    talk = Smb1()
    talk.login(2048)
    talk.tree(2048, 1)
    asked = talk.rap(2048, 1, 104)
    talk.rap(2048, 1, 0, status=ACCESS_DENIED)
    analysis = analyzer.analyze(write(path, talk))
    assert not len(analysis.pipe_opens)
    calls = analysis.calls
    assert calls["opnum"].tolist() == [104, 0]
    assert calls["operation"].iloc[1] == "NetShareEnum"
    assert calls["open_key"].isna().all()
    assert calls["answered"].all()
    assert calls["time"].iloc[0] == pd.Timestamp(asked.request.time_ns if asked.request else 0, tz="UTC")
    rows = analysis.dependencies[["resource", "verdict", "uses", "succeeded", "denied"]]
    assert rows.to_numpy().tolist() == [["rap", "depends", 1, 1, 0], ["rap", "denied", 1, 0, 1]]


def test_extended_security_joins_its_legs_by_the_uid(path: Path) -> None:
    """Two logins under way at once on one connection, each leg with its own UID."""
    talk = Smb1(extended=True)
    first = build.smb1_setup_blob(build.spnego_init(build.ntlm_negotiate()), "Unix", "Samba")
    more = build.smb1_setup_answer(0, "Unix", "Samba", token=build.spnego_answer(build.ntlm_challenge(), state=1))
    for uid in (100, 101):
        talk.exchange(first, more, status=build.MORE_PROCESSING, new_uid=uid)
    alice = build.ntlm_authenticate("alice", domain="CORP", lm=bytes(24), nt=bytes(60))
    for uid, token in ((101, ANONYMOUS), (100, alice)):
        blob = build.smb1_setup_blob(build.spnego_answer(token), "Unix", "Samba")
        done = build.smb1_setup_answer(0, "Unix", "Samba", token=build.spnego_answer(state=0))
        talk.exchange(blob, done, uid=uid)
    talk.tree(101, 1)
    talk.create(101, 1, "\\srvsvc", 7)
    analysis = analyzer.analyze(write(path, talk))
    sessions = analysis.sessions[["session_id", "identity"]].to_numpy().tolist()
    assert sessions == [["0065", "anonymous"], ["0064", "user"]]
    assert opens_of(analysis) == [("srvsvc", "anonymous", "STATUS_SUCCESS")]
