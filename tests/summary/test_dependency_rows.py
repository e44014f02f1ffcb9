"""Rows of `dependencies`: what is counted in them, when, where, and for which site."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import analyzer
from analyzer import tables
from analyzer.summary.dependencies import dependencies
from tests import build
from tests.build import ACCESS_DENIED
from tests.dialogue import ALICE, IS_GUEST, LOGON_FAILURE, SECOND, Exchange, Smb2, frame_of, write

DAY = 86_400
TO_MIDNIGHT = DAY - build.START_NS // SECOND % DAY
"""Seconds from the start of all captures here to the next midnight, UTC."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A capture to be."""
    return tmp_path / "c.pcap"


def values(row: pd.Series, *names: str) -> list[object]:
    """Some cells, None for missing."""
    return [None if pd.isna(row[name]) else row[name] for name in names]


def at(exchange: Exchange) -> pd.Timestamp:
    """When a request was sent."""
    assert exchange.request is not None
    return pd.Timestamp(exchange.request.time_ns, tz="UTC")


def test_what_is_counted(path: Path) -> None:
    """Two sessions on one connection and one on another; of six uses three worked, two were refused, one is not known."""
    first, second = Smb2(), Smb2(port=50_000, at=100)
    opened = first.anonymous_use(0x11, "srvsvc")
    first.create(0x11, 1, "srvsvc", (0, 0), status=ACCESS_DENIED)
    first.refused_use(0x22, "srvsvc")
    first.create(0x22, 1, "srvsvc", (3, 3))
    second.login(0x33)
    second.tree(0x33, 1)
    second.create(0x33, 1, "srvsvc", (4, 4))
    lost = second.create(0x33, 1, "srvsvc", (5, 5))
    second.tcp.segments.remove(lost.answer or second.tcp.segments[-1])
    rows = analyzer.analyze(write(path, first, second)).dependencies
    assert len(rows) == 1
    row = rows.iloc[0]
    assert values(row, "client_ip", "server_ip", "resource", "verdict") == ["10.0.0.1", "10.0.0.2", "srvsvc", "depends"]
    assert values(row, "sessions", "uses", "succeeded", "denied", "refused_at", "active_days") == [
        3,
        6,
        3,
        2,
        "open",
        1,
    ]
    assert values(row, "first_seen", "last_seen") == [at(opened), at(lost)]
    assert values(row, "capture", "frame") == [str(path), frame_of(opened.request, first, second)]


def test_days_are_days_of_utc(path: Path) -> None:
    """One use just before midnight, one just after, one two days later: three days, in one row."""
    talk = Smb2(at=TO_MIDNIGHT - 1)
    used = [talk.anonymous_use(0x11, "srvsvc")]
    talk.wait(2)
    used.append(talk.use(0x11, 1, "srvsvc"))
    later = Smb2(port=50_000, at=TO_MIDNIGHT + 2 * DAY + 7)
    used.append(later.anonymous_use(0x22, "srvsvc"))
    rows = analyzer.analyze(write(path, talk, later)).dependencies
    assert values(rows.iloc[0], "uses", "active_days", "first_seen", "last_seen") == [3, 3, at(used[0]), at(used[2])]
    assert [at(one).day for one in used] == [14, 15, 17]  # 14 November 2023 is when all captures here begin


def test_a_use_seen_in_time_order_names_the_first(path: Path) -> None:
    """The frame named is of the earliest of the surest uses that decide, though another client's come between."""
    talk, other = Smb2(), Smb2("10.0.0.5", at=0.0105)
    talk.login(0x11)
    talk.tree(0x11, 1)
    refused = talk.create(0x11, 1, "samr", (0, 0), status=ACCESS_DENIED)
    talk.create(0x11, 1, "samr", (0, 0), status=ACCESS_DENIED)
    other_refused = other.refused_use(0x22, "samr")
    rows = analyzer.analyze(write(path, talk, other)).dependencies.set_index("client_ip")
    assert rows["frame"].to_dict() == {
        "10.0.0.1": frame_of(refused.request, talk, other),
        "10.0.0.5": frame_of(other_refused.request, talk, other),
    }


def test_the_higher_rung_reached_is_told(path: Path) -> None:
    """Refused at the login once, at IPC$ once, and at the pipe once: each is a resource of its own."""
    talk = Smb2()
    talk.login(0x11, status=ACCESS_DENIED)
    talk.login(0x22)
    talk.tree(0x22, 1, status=ACCESS_DENIED)
    talk.refused_use(0x33, "srvsvc")
    rows = analyzer.analyze(write(path, talk)).dependencies
    found = {row["resource"] if pd.notna(row["resource"]) else None: row["refused_at"] for _, row in rows.iterrows()}
    assert found == {None: "session_setup", "IPC$": "tree_connect", "srvsvc": "open"}
    assert set(rows["verdict"]) == {"denied"}


def test_one_row_for_each_client_server_and_resource(path: Path) -> None:
    talks = []
    for number, (client, server) in enumerate(
        [("10.0.0.1", "10.0.0.2"), ("10.0.0.1", "10.0.0.3"), ("10.0.0.4", "10.0.0.2")]
    ):
        talk = Smb2(client, server, port=50_000 + number, at=number)
        talk.anonymous_use(0x11, "srvsvc")
        talk.use(0x11, 1, "LSARPC", (8, 8))
        talk.use(0x11, 1, "\\PIPE\\lsarpc", (9, 9))
        talks.append(talk)
    rows = analyzer.analyze(write(path, *talks)).dependencies
    found = sorted(rows[["client_ip", "server_ip", "resource", "uses"]].itertuples(index=False, name=None))
    assert found == [
        ("10.0.0.1", "10.0.0.2", "lsarpc", 2), ("10.0.0.1", "10.0.0.2", "srvsvc", 1),
        ("10.0.0.1", "10.0.0.3", "lsarpc", 2), ("10.0.0.1", "10.0.0.3", "srvsvc", 1),
        ("10.0.0.4", "10.0.0.2", "lsarpc", 2), ("10.0.0.4", "10.0.0.2", "srvsvc", 1),
    ]  # fmt: skip


def test_anonymous_counts_before_guest_where_both_worked(path: Path) -> None:
    """One row has one identity: that of the sessions that decide the verdict."""
    talk = Smb2()
    talk.login(0x11, ALICE, session_flags=IS_GUEST)
    talk.tree(0x11, 1)
    opened = talk.create(0x11, 1, "srvsvc", (7, 7))
    talk.anonymous_use(0x22, "srvsvc")
    rows = analyzer.analyze(write(path, talk)).dependencies
    assert rows["sessions"].tolist() == [2]
    assert values(rows.iloc[0], "identity", "frame") in (
        ["guest", frame_of(opened.request, talk)],
        ["anonymous", rows["frame"].iloc[0]],
    )


def test_texts_name_what_they_speak_of(path: Path) -> None:
    """The root cause and the shadow have the frames of the login that failed and of the first use with credentials."""
    talk = Smb2()
    failed = talk.login(0x11, ALICE, status=LOGON_FAILURE)
    talk.anonymous_use(0x22, "srvsvc")
    talk.login(0x33, ALICE)
    talk.tree(0x33, 1)
    uses = [talk.use(0x33, 1, "srvsvc") for _ in range(3)]
    row = analyzer.analyze(write(path, talk)).dependencies.iloc[0]
    assert f"frame {frame_of(failed.request, talk)} " in row["root_cause"]
    assert str(path) in row["root_cause"]
    assert row["shadowed_by"].startswith("3 uses with credentials")
    assert f"frame {frame_of(uses[0].request, talk)} " in row["shadowed_by"]


def two_sites(folder: Path) -> list[Path]:
    """The same addresses and ports in two folders; depends in one, refused in the other."""
    first, second = Smb2(), Smb2(at=0.5, isn=900_000)
    first.anonymous_use(0x11, "srvsvc")
    first.tcp.close()
    second.refused_use(0x22, "srvsvc")
    second.credentialed_use(0x33, "srvsvc")
    second.tcp.close()
    write(folder / "berlin" / "c.pcap", first)
    write(folder / "paris" / "c.pcap", second)
    return [folder / "berlin", folder / "paris"]


def test_folders_are_sites_where_they_are_separate(tmp_path: Path) -> None:
    folders = two_sites(tmp_path)
    apart = analyzer.analyze(folders, separate=True)
    rows = apart.dependencies.set_index("site")
    assert rows["verdict"].astype(str).to_dict() == {str(folders[0]): "depends", str(folders[1]): "denied"}
    assert rows["shadowed_by"].notna().to_dict() == {str(folders[0]): False, str(folders[1]): True}
    assert len(apart.connections) == 2
    assert not apart.connections["connection_id"].duplicated().any()
    assert not apart.sessions["session_key"].duplicated().any()
    assert not set(apart.sessions["session_no"][:1]) & set(apart.sessions["session_no"][1:])


def test_folders_are_one_network_where_they_are_not(tmp_path: Path) -> None:
    """The same addresses are the same machines then, and what happened in one site covers the other."""
    together = analyzer.analyze(two_sites(tmp_path))
    assert together.dependencies["verdict"].tolist() == ["covered"]
    assert together.dependencies["site"].tolist() == [""]
    assert together.dependencies["uses"].tolist() == [2]


def test_nothing_of_interest_is_an_empty_table_with_all_columns(path: Path) -> None:
    talk = Smb2()
    talk.credentialed_use(0x11, "srvsvc")
    some, none = analyzer.analyze(write(path, talk)).dependencies, Smb2()
    none.anonymous_use(0x11, "srvsvc")
    full = analyzer.analyze(write(path, none)).dependencies
    assert not len(some)
    assert some.dtypes.to_dict() == full.dtypes.to_dict()


@pytest.mark.parametrize("count", ["payload_let_go", "rpc_given_up", "rows_given_up"])
def test_where_payload_was_dropped_at_a_bound_refusals_may_not_be_all(count: str) -> None:
    """captures/refused-stub.pcap: everything that was asked of samr and srvsvc was refused, by the manifest."""
    analysis = analyzer.analyze(Path(__file__).parents[2] / "captures" / "refused-stub.pcap")
    rows = tables.TableSet({name: analysis.arrow(name) for name in tables.ROWS})
    found = tables.to_pandas("dependencies", dependencies(rows, counts={count: 1}))
    pipes = found[found["operation"].isna()].set_index("resource")
    assert pipes["verdict"].to_dict() == {"samr": "unknown", "srvsvc": "unknown"}
    assert not (analysis.dependencies["operation"].isna()).any()


def test_frames_are_those_of_the_uses_the_deciding_one_first() -> None:
    """captures/refused-stub.pcap: tshark's frames of the same operation stand behind each row."""
    analysis = analyzer.analyze(Path(__file__).parents[2] / "captures" / "refused-stub.pcap")
    calls = analysis.calls
    for _, row in analysis.dependencies.iterrows():
        named = [place.rpartition(":") for place in row["frames"].split("|")]
        assert {capture for capture, _, _ in named} == {row["capture"]}
        frames = [int(frame) for _, _, frame in named]
        assert frames[0] == row["frame"]
        assert len(frames) == len(set(frames)) == min(row["uses"], 5)
        assert set(frames) <= set(calls[calls["operation"] == row["operation"]]["frame"])
