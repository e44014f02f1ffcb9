"""Which connections stand behind rows: those that the tables and the rows' own words name."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from manifest import CAPTURES, entries
from rewriting import read, write
from written import ends, of_connections

import analyzer
from analyzer import results
from analyzer.slices.behind import behind, tabled

RULES = """
[[rule]]
resource = "samr"
application = "user list"
"""


def connections(analysis: analyzer.Analysis, *rows: int) -> set[int]:
    """Of rows by their places."""
    return set(behind(tabled(analysis), np.array(rows, dtype=np.int64), analysis).connections.tolist())


def every(analysis: analyzer.Analysis) -> range:
    return range(len(analysis.dependencies))


def of_frame(analysis: analyzer.Analysis, frame: int) -> int:
    """The connection of a packet of the only capture."""
    (capture,) = analysis.captures["capture"]
    pair = ends(read(Path(capture))[frame - 1])
    found = [
        row.connection_id
        for row in analysis.connections.itertuples()
        if pair == {(row.client_ip, row.client_port), (row.server_ip, row.server_port)}
    ]
    (connection,) = found
    return int(connection)


@pytest.mark.parametrize("name", [entry["file"] for entry in entries() if entry.get("dependencies")])
def test_the_frame_and_all_that_the_row_names(name: str) -> None:
    """Its own frame; those of the login that failed before and of the first use with credentials."""
    analysis = analyzer.analyze(CAPTURES / name)
    if name.endswith((".gz", ".zst")):
        pytest.skip("the packets are packed")
    for place, row in enumerate(analysis.dependencies.to_dict("records")):
        found = connections(analysis, place)
        frames = [row["frame"]]
        for column in ("root_cause", "shadowed_by"):
            frames += [int(number) for number in re.findall(r"in frame (\d+) of", str(row[column]))]
        assert {of_frame(analysis, frame) for frame in frames} <= found


def test_all_channels_of_a_session() -> None:
    analysis = analyzer.analyze(CAPTURES / "multichannel.pcap")
    rows = connections(analysis, *every(analysis))
    sessions = analysis.sessions[analysis.sessions["connection_id"].isin(rows)]
    bound = analysis.channels[analysis.channels["session_key"].isin(sessions["session_key"])]
    assert set(bound["connection_id"]) <= rows


def test_other_clients_are_not_behind_a_row() -> None:
    analysis = analyzer.analyze(CAPTURES / "busy.pcap")
    ends_of = analysis.connections.set_index("connection_id")
    for place, row in enumerate(analysis.dependencies.to_dict("records")):
        found = ends_of.loc[sorted(connections(analysis, place))]
        assert set(found["client_ip"]) == {row["client_ip"]}
        assert set(found["server_ip"]) == {row["server_ip"]}


def test_sessions_that_did_nothing_of_it_are_left_out() -> None:
    """Of a client that did several things in connections of their own, only that one."""
    analysis = analyzer.analyze(CAPTURES / "anonymous-smb311.pcap")
    rows = analysis.dependencies
    shares = connections(analysis, int((rows["operation"] == "NetrShareEnum").to_numpy().argmax()))
    names = connections(analysis, int((rows["resource"] == "samr").to_numpy().argmax()))
    assert shares
    assert names
    assert not shares & names


def test_sessions_with_credentials_at_other_times_are_left_out(tmp_path: Path) -> None:
    """The same user at the same server the day before, who did something else: that proves nothing here."""
    covered, user = CAPTURES / "built-pipe-covered.pcap", analyzer.analyze(CAPTURES / "user.pcap", detail="all")
    of_pipes = user.pipe_opens["connection_id"]
    others = user.connections[~user.connections["connection_id"].isin(of_pipes)]
    day_before = read(covered)[0].time_ns - 86_400_000_000_000
    packets = [packet for packet in read(CAPTURES / "user.pcap") if ends(packet) in of_connections(others)]
    earlier = [replace(packet, time_ns=packet.time_ns - packets[0].time_ns + day_before) for packet in packets]
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", earlier + read(covered)))
    assert len(analysis.connections) == len(others) + 1
    assert len(connections(analysis, *every(analysis))) == 1
    assert set(analysis.credentialed_uses["client_ip"]) >= {"10.77.0.10"}


def test_rules_that_results_do_not_hold(tmp_path: Path) -> None:
    """Rows whose application a rule gave are found again without the rule."""
    (tmp_path / "rules.toml").write_text(RULES)
    path = CAPTURES / "anonymous-smb311.pcap"
    analysis = analyzer.analyze(path, applications=tmp_path / "rules.toml")
    results.save(analysis, tmp_path / "results")
    loaded = results.load(tmp_path / "results")
    assert "user list" in set(loaded.dependencies["application"])
    for place in every(analysis):
        assert connections(loaded, place) == connections(analysis, place) != set()
