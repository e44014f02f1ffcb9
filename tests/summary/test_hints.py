"""Hints of what is not in the captures. The truth is what captures/build.py sends, and for the corpus what tshark counts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import analyzer

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


@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
def test_attempts_are_those_that_tshark_finds() -> None:
    wanted = "tcp.flags.syn==1 && tcp.flags.ack==0 && tcp.dstport==135"
    fields = ["-T", "fields", "-e", "tcp.srcport"]
    told = subprocess.run(["tshark", "-r", BUILT, "-Y", wanted, *fields], capture_output=True, text=True, check=True)
    ways = analyzer.analyze(BUILT).other_ways
    (found,) = ways[ways["way"] == "rpc_mapper"]["attempts"]
    assert found == len(set(told.stdout.split()))
