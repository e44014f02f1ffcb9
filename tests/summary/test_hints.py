"""Hints of what is not in the captures. The truth is what captures/build.py sends, the links of the servers that were recorded
(captures/manifest.toml), and what tshark counts."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import manifest
import pytest

import analyzer
from analyzer.report import html, terminal
from tests import referrals as r
from tests.dialogue import ALICE, CLIENT, SERVER, Smb2, write

CAPTURES = Path(__file__).parents[2] / "captures"
BUILT = CAPTURES / "built-other-ways.pcap"


def test_other_ways_of_a_client_with_a_dependency_are_told() -> None:
    hints = analyzer.analyze(BUILT).hints
    ways = hints[hints["kind"] == "other_way"]
    assert dict(zip(ways["what"], ways["count"], strict=True)) == {
        "rpc_mapper": 2,
        "rpc_dynamic": 1,
        "ldap": 2,
        "ldaps": 1,
        "global_catalog": 1,
    }
    assert set(ways["client_ip"]) == {"10.77.0.10"}
    assert set(ways["server_ip"]) == {"10.77.0.2"}


def test_a_server_that_is_only_named_is_told_and_one_that_is_there_is_not() -> None:
    hints = analyzer.analyze(BUILT).hints
    named = hints[hints["kind"] == "only_named"]
    assert named[["client_ip", "server", "what", "count"]].values.tolist() == [["10.77.0.10", "OLDFILES", "dfs", 1]]
    assert not named["frame"].isna().any()


def test_names_and_addresses_of_servers_in_the_captures_are_no_hint() -> None:
    """Each recording names its server by address, IPv6 too, or by the name that the client called it."""
    others = [path for path in sorted(CAPTURES.iterdir()) if ".pcap" in path.name and path != BUILT]
    assert len(others) > 40
    hints = analyzer.analyze(others).hints
    assert not len(hints[hints["kind"] == "only_named"])


def referred(analysis: analyzer.Analysis) -> list[list[Any]]:
    """Who was told, by whom, of which server without traffic, and how often."""
    hints = analysis.hints
    rows = hints[hints["kind"] == "only_referred"]
    return rows[["client_ip", "told_by", "server", "count"]].values.tolist()


REFERRING = [entry for entry in manifest.entries() if "referrals" in entry]


@pytest.mark.parametrize("entry", REFERRING, ids=lambda entry: entry["file"])
@pytest.mark.parametrize("engine", ["native", "scapy"])
def test_servers_that_only_an_answer_names(entry: dict[str, Any], engine: str) -> None:
    """Those that the server's links lead to and nothing was sent to; one that answers itself is no hint, by whatever name."""
    analysis = analyzer.analyze(CAPTURES / entry["file"], engine=engine)
    unseen = [row for row in entry["referrals"] if row["named"] in entry.get("unseen_targets", [])]
    wanted = [[row["client"], row["server"], row["named"], row["answers"]] for row in unseen]
    assert sorted(referred(analysis)) == sorted(wanted)


def test_some_recordings_refer_to_servers_unseen_and_some_only_to_those_seen() -> None:
    assert {bool(entry.get("unseen_targets")) for entry in REFERRING} == {True, False}


def test_what_a_hint_of_a_referral_says() -> None:
    hints = analyzer.analyze(CAPTURES / "dfs-elsewhere.pcap").hints
    rows = hints[(hints["kind"] == "only_referred") & (hints["client_ip"] == "10.77.0.10")]
    assert rows[["server", "what", "frame"]].values.tolist() == [
        ["OLDSTORE", r"\OLDSTORE\archive", 21],  # as tshark numbers the answers
        ["oldfiles.corp.example", r"\oldfiles.corp.example\data", 17],
    ]
    assert rows["server_ip"].isna().all()
    assert not rows["capture"].isna().any()
    (meaning,) = set(rows["meaning"])
    assert "no traffic" in meaning
    assert "capture at that server" in meaning


@pytest.mark.parametrize(
    ("target", "also"),
    [
        (rf"\{SERVER}\data", None),
        (rf"\{CLIENT}\data", None),
        (r"\files1\data", None),
        (r"\FILES1.corp.example\data", None),
        (r"\OLDFILES\data", "OLDFILES"),
        (r"\oldfiles.corp.example\data", "oldfiles"),
    ],
)
def test_a_target_with_traffic_is_no_hint(tmp_path: Path, target: str, also: str | None) -> None:
    """By its address, by the name that it is called, or by the one that `hosts` knows; short and full names are the same."""
    talk = Smb2()
    talk.login(0x11, ALICE)
    talk.tree(0x11, 1)
    talk.control(0x11, 1, 0x00060194, b"\x04\0" + r.name(r"\FILES1\dfs"), r.targets(target))
    path = write(tmp_path / "c.pcap", talk)
    if also:
        assert [row[2] for row in referred(analyzer.analyze(path))] == [target.strip("\\").partition("\\")[0]]
        names = tmp_path / "names.csv"
        names.write_text(f"address,name\n{SERVER},{also}\n")
        assert referred(analyzer.analyze(path, hosts=names)) == []
    else:
        assert referred(analyzer.analyze(path)) == []


def test_a_list_of_controllers_hints_at_those_without_traffic(tmp_path: Path) -> None:
    talk = Smb2()
    talk.login(0x11)
    talk.tree(0x11, 1)
    answer = r.controllers("corp.example", [r"\FILES1.corp.example", r"\DC2.corp.example"])
    talk.control(0x11, 1, 0x00060194, b"\x04\0" + r.name(r"\corp.example"), answer)
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    assert referred(analysis) == [[CLIENT, SERVER, "DC2.corp.example", 1]]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
def test_attempts_are_those_that_tshark_finds() -> None:
    wanted = "tcp.flags.syn==1 && tcp.flags.ack==0 && tcp.dstport==135"
    fields = ["-T", "fields", "-e", "tcp.srcport"]
    told = subprocess.run(["tshark", "-r", BUILT, "-Y", wanted, *fields], capture_output=True, text=True, check=True)
    ways = analyzer.analyze(BUILT).other_ways
    (found,) = ways[ways["way"] == "rpc_mapper"]["attempts"]
    assert found == len(set(told.stdout.split()))


def test_reports_name_the_servers_that_referrals_lead_to() -> None:
    """In the terminal one line for all of them; in the page a row each, with who was told by whom and where to look."""
    analysis = analyzer.analyze(CAPTURES / "dfs-elsewhere.pcap")
    (line,) = [line for line in terminal.blind_spots(analysis) if "DFS referrals" in line]
    assert "2 servers of which there is no traffic" in line
    assert r"OLDSTORE (\OLDSTORE\archive), oldfiles.corp.example (\oldfiles.corp.example\data)" in line
    page = html.render(analysis)
    assert page.count("told by 10.77.0.2") == 5
    assert re.search(r"dfs-elsewhere\.pcap</code> frame 150<", page.replace("<wbr>", ""))
