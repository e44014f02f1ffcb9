"""Servers that the answers to DFS referrals name: which answers count, for whom, and how many are kept."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import analyzer
from analyzer.engines import native
from analyzer.sessions import referrals as counting
from analyzer.sessions.reducer import Reducer
from analyzer.smb.select import ROOM_ROWS
from analyzer.verify import verify
from tests import build
from tests import referrals as r
from tests.dialogue import ALICE, CLIENT, DFS_REFERRALS, IOCTL, SECOND, SERVER, Smb1, Smb2, Talk, write

DFS_REFERRALS_EX = 0x000601B0
ASKED = r"\FILES1\dfs"
TARGETS = (r"\OLDFILES\data", r"\FILES2.corp.example\data")
REQUEST = b"\x04\0" + r.name(ASKED)
NEEDS_TSHARK = pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")


def smb2(*answers: bytes, token: bytes | None = None, code: int = DFS_REFERRALS, **talk: Any) -> Smb2:
    """A client that asks for referrals, and what it is answered."""
    made = Smb2(**talk)
    made.login(0x11) if token is None else made.login(0x11, token)
    made.tree(0x11, 1)
    for answer in answers:
        made.control(0x11, 1, code, REQUEST, answer)
    return made


def smb1(*answers: bytes, function: int = 0x10, **talk: Any) -> Smb1:
    """The same by TRANS2_GET_DFS_REFERRAL, or another function."""
    made = Smb1(**talk)
    made.login(7)
    made.tree(7, 1)
    for answer in answers:
        request = build.transaction("", setup=(function,), parameters=REQUEST, command=0x32)
        made.exchange(request, build.transaction_answer(data=answer, command=0x32), uid=7, tid=1)
    return made


def analyzed(path: Path, *talks: Talk, **options: Any) -> analyzer.Analysis:
    return analyzer.analyze(write(path / "c.pcap", *talks), **options)


def named(analysis: analyzer.Analysis) -> list[tuple[str, str, int]]:
    """Server named, first target, answers."""
    rows = analysis.referrals
    return list(zip(rows["named"], rows["target"], rows["answers"], strict=True))


@pytest.mark.parametrize("version", [1, 2, 3, 4])
@pytest.mark.parametrize("talk", [smb2, smb1])
def test_each_server_is_a_row(tmp_path: Path, talk: Any, version: int) -> None:
    analysis = analyzed(tmp_path, talk(r.targets(*TARGETS, version=version), r.targets(TARGETS[0], version=version)))
    assert named(analysis) == [("FILES2.corp.example", TARGETS[1], 1), ("OLDFILES", TARGETS[0], 2)]
    rows = analysis.referrals
    assert (set(rows["client_ip"]), set(rows["server_ip"]), set(rows["asked"])) == (
        {CLIENT},
        {SERVER},
        {ASKED},
    )
    first = analysis.calls["answer_frame"].min()
    assert set(rows["frame"]) == {first}
    assert not len(analysis.problems)


def test_several_folders_of_a_server_are_one_answer(tmp_path: Path) -> None:
    analysis = analyzed(tmp_path, smb2(r.targets(r"\OLD\a", r"\OLD\b", r"\NEW\c")))
    assert named(analysis) == [("NEW", r"\NEW\c", 1), ("OLD", r"\OLD\a", 1)]


def test_whoever_asks_counts(tmp_path: Path) -> None:
    """Calls with credentials are only counted; what a server names is as unseen for those who asked with them."""
    answer = r.targets(TARGETS[0])
    analysis = analyzed(tmp_path, smb2(answer), smb2(answer, token=ALICE, port=50_000, at=1))
    assert named(analysis) == [("OLDFILES", TARGETS[0], 2)]
    assert len(analysis.calls) == 1


def test_referrals_ex(tmp_path: Path) -> None:
    assert named(analyzed(tmp_path, smb2(r.targets(TARGETS[0]), code=DFS_REFERRALS_EX))) == [
        ("OLDFILES", TARGETS[0], 1)
    ]


@pytest.mark.parametrize("function", [3, 5])
def test_smb1_answers_to_another_question_name_nobody(tmp_path: Path, function: int) -> None:
    """QUERY_FS_INFORMATION too is answered with data and no parameters."""
    analysis = analyzed(tmp_path, smb1(r.targets(*TARGETS), b"\xff" * 40, function=function))
    assert named(analysis) == []
    assert not len(analysis.problems)


def test_an_answer_without_its_request(tmp_path: Path) -> None:
    """SMB 2 says in the answer what it answers; SMB 1 does not."""
    talk = Smb2()
    talk.login(0x11)
    talk.tree(0x11, 1)
    answer = build.ioctl_answer(DFS_REFERRALS, build.NO_FILE, r.targets(*TARGETS))
    talk.answer(IOCTL, answer, session_id=0x11, tree_id=1, message_id=99)
    old = Smb1(port=50_000, at=1)
    old.login(7)
    old.tree(7, 1)
    answer_1 = build.transaction_answer(data=r.targets(r"\OTHER\data"), command=0x32)
    old.tcp.server(build.framed(build.smb1(answer_1, flags=0x98, uid=7, tid=1, mid=77, flags2=old.flags2)))
    analysis = analyzed(tmp_path, talk, old)
    assert [row[0] for row in named(analysis)] == ["FILES2.corp.example", "OLDFILES"]
    assert analysis.referrals["asked"].isna().all()


@pytest.mark.parametrize(("talk", "layer"), [(smb2, "smb2"), (smb1, "smb1")])
@pytest.mark.parametrize("engine", ["native", "scapy"])
def test_what_cannot_be_read_is_told_and_what_was_before_it_kept(
    tmp_path: Path, talk: Any, layer: str, engine: str
) -> None:
    wrong = r.response(r.entry_1(TARGETS[0]) + bytes(34), 2)
    analysis = analyzed(tmp_path, talk(wrong), engine=engine)
    assert named(analysis) == [("OLDFILES", TARGETS[0], 1)]
    columns = ["layer", "field", "offset", "code", "frame"]
    (problem,) = analysis.problems[columns].values.tolist()
    at = 8 + len(r.entry_1(TARGETS[0]))
    assert problem == [layer, "DFS VersionNumber", at, "unknown_version", analysis.calls["answer_frame"][0]]


MANY = [rf"\STORE{number:02}.corp.example\archive\of\department" for number in range(100)]


@pytest.mark.parametrize("engine", ["native", "scapy"])
@pytest.mark.parametrize("talk", [smb2, smb1])
def test_a_long_answer_on_ipc_is_kept_whole(tmp_path: Path, talk: Any, engine: str) -> None:
    answer = r.targets(*MANY, version=1)
    assert len(answer) > 8192
    analysis = analyzed(tmp_path, talk(answer), engine=engine)
    assert [row[1] for row in named(analysis)] == MANY
    assert not len(analysis.problems)


@pytest.mark.parametrize("engine", ["native", "scapy"])
def test_of_a_tree_that_is_not_known_so_much_is_kept(tmp_path: Path, engine: str) -> None:
    """Where no tree connect was captured, 4 KB; what lies behind is told to be missing."""
    talk = Smb2()
    talk.login(0x11)
    talk.control(0x11, 1, DFS_REFERRALS, REQUEST, r.targets(*MANY, version=1))
    analysis = analyzed(tmp_path, talk, engine=engine)
    found = [row[1] for row in named(analysis)]
    assert found == MANY[: len(found)]
    room = 4096 - 64 - 48 - 8  # header, body and the header of the answer
    assert len(found) == room // len(r.entry_1(MANY[0]))
    assert analysis.problems["code"].tolist() == ["not_kept"]


def test_the_rest_is_counted_when_there_is_no_more_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting.ReferralCounter.__init__, "__defaults__", (2,))
    answers = [r.targets(rf"\OLD{number}\data") for number in (1, 2, 3, 1, 3)]
    analysis = analyzed(tmp_path, smb2(*answers))
    assert named(analysis) == [("OLD1", r"\OLD1\data", 2), ("OLD2", r"\OLD2\data", 1)]
    coverage = analysis.coverage.set_index("measure")["value"]
    assert coverage["referrals_given_up"] == 2


def test_a_name_that_no_server_can_have_is_passed_over(tmp_path: Path) -> None:
    long, longest = "x" * 256, "y" * 255
    analysis = analyzed(tmp_path, smb2(r.targets(rf"\{long}\a", rf"\{longest}\a", "\\")))
    assert [row[0] for row in named(analysis)] == [longest]


def test_an_answer_may_come_in_another_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests and answers that wait for each other keep what they carry."""
    whole = analyzed(tmp_path, *[smb2(r.targets(*TARGETS), port=49_152 + n) for n in range(20)])
    windows: list[int] = []
    feed = Reducer.feed
    monkeypatch.setattr(native, "WINDOW_ROWS", ROOM_ROWS + 7)
    monkeypatch.setattr(
        Reducer, "feed", lambda self, batch: (windows.append(len(batch.messages)), feed(self, batch))[1]
    )
    parts = analyzed(tmp_path, *[smb2(r.targets(*TARGETS), port=49_152 + n) for n in range(20)])
    assert named(parts) == named(whole)
    assert [row[2] for row in named(whole)] == [20, 20]
    assert len(windows) > 20


def built() -> list[Talk]:
    """All versions, by both protocols, and lists of names."""
    answers = [r.targets(rf"\OLD{version}\data", rf"\NEW{version}\x\y", version=version) for version in (1, 2, 3, 4)]
    answers += [r.controllers("corp.example", [rf"\DC{version}.corp.example", rf"\DC{version}b"], version=version)
                for version in (3, 4)]  # fmt: skip
    return [smb2(*answers), smb1(*answers, port=50_000, at=3)]


@NEEDS_TSHARK
def test_tshark_reads_the_same_names(tmp_path: Path) -> None:
    path = write(tmp_path / "c.pcap", *built())
    fields = ["-E", "aggregator=|", "-e", "smb.dfs.referral.node", "-e", "smb.dfs.referral.expname"]
    command = ["tshark", "-r", str(path), "-T", "fields", *fields]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    servers = {
        text.strip("\\").split("\\")[0] for text in told.replace("\n", "|").replace("\t", "|").split("|") if text
    }
    rows = analyzer.analyze(path).referrals
    assert set(rows["named"]) == servers
    assert len(servers) == 12
    assert set(rows["answers"]) == {2}


@NEEDS_TSHARK
def test_the_engines_agree(tmp_path: Path) -> None:
    assert verify(write(tmp_path / "c.pcap", *built()), ("native", "scapy", "tshark")).is_equal()


@NEEDS_TSHARK
def test_tshark_does_not_look_into_referrals_ex(tmp_path: Path) -> None:
    """What its limits say; scapy's engine reads them as native does."""
    path = write(tmp_path / "c.pcap", smb2(r.targets(r"\EX\data"), code=DFS_REFERRALS_EX))
    found = verify(path, ("native", "scapy", "tshark"))
    told = [(one.table, one.other, one.column) for one in found.differences]
    assert told == [("calls", "tshark", "name"), ("referrals", "tshark", "")]
    assert any("FSCTL_DFS_GET_REFERRALS_EX" in limit for limit in found.limits["tshark"])


def test_times_are_those_of_the_first_and_last_answer(tmp_path: Path) -> None:
    first, last = smb2(r.targets(TARGETS[0])), smb2(r.targets(TARGETS[0]), port=50_000, at=60)
    (row,) = analyzed(tmp_path, last, first).referrals.to_dict("records")
    assert 59 * SECOND < (row["last_seen"] - row["first_seen"]).value < 61 * SECOND
