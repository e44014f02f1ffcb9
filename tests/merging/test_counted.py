"""What is only counted: added where different things were counted, the larger where it may be the same."""

from __future__ import annotations

from pathlib import Path

import analyzer
from analyzer import merging
from tests import referrals, rewriting
from tests.dialogue import DFS_REFERRALS, Smb2, Talk, write


def visit(number: int, at: float, *, pipe: str = "srvsvc") -> Smb2:
    """One use with credentials."""
    talk = Smb2(at=at, port=49_152 + number)
    talk.credentialed_use(0x11 + number, pipe)
    talk.tcp.close()
    return talk


def analyzed(path: Path, *talks: Talk) -> analyzer.Analysis:
    return analyzer.analyze(write(path, *talks))


def uses(merged: merging.Merged, resource: str = "srvsvc") -> list[int]:
    rows = merged.analysis.credentialed_uses
    return rows[rows["resource"] == resource]["uses"].tolist()


def test_uses_of_captures_that_follow_each_other_are_added(tmp_path: Path) -> None:
    first = analyzed(tmp_path / "a.pcap", visit(0, 0), visit(1, 60))
    second = analyzed(tmp_path / "b.pcap", visit(2, 120))
    assert uses(merging.merge([first, second])) == uses(merging.merge([second, first])) == [3]


def test_of_captures_that_overlap_the_larger_holds(tmp_path: Path) -> None:
    everything = [visit(number, 60 * number) for number in range(3)]
    whole, part = analyzed(tmp_path / "a.pcap", *everything), analyzed(tmp_path / "b.pcap", *everything[:2])
    for order in ([whole, part], [part, whole], [whole, part, whole]):
        assert uses(merging.merge(order)) == [3]


def test_files_in_turns_are_added(tmp_path: Path) -> None:
    """Every other file of a ring buffer: their uses lie between each other, their times do not overlap."""
    turns = [
        [
            rewriting.write(
                tmp_path / f"{number}.pcap", rewriting.read(write(tmp_path / "x.pcap", visit(number, 60 * number)))
            )
        ]
        for number in range(4)
    ]
    first, second = (analyzer.analyze([path for [path] in turns[half::2]]) for half in range(2))
    assert uses(merging.merge([first, second])) == [4]


def test_other_hours_are_rows_of_their_own(tmp_path: Path) -> None:
    first, second = analyzed(tmp_path / "a.pcap", visit(0, 0)), analyzed(tmp_path / "b.pcap", visit(1, 7_200))
    assert uses(merging.merge([first, second])) == [1, 1]


def test_the_first_of_them_is_named(tmp_path: Path) -> None:
    first, second = analyzed(tmp_path / "a.pcap", visit(0, 0)), analyzed(tmp_path / "b.pcap", visit(1, 60))
    rows = merging.merge([second, first]).analysis.credentialed_uses
    assert {Path(capture).name for capture in rows["capture"]} == {"a.pcap"}
    assert (rows["first_seen"] < rows["last_seen"]).any()


def test_other_sites_are_not_added(tmp_path: Path) -> None:
    first, second = analyzed(tmp_path / "a.pcap", visit(0, 0)), analyzed(tmp_path / "b.pcap", visit(0, 60))
    assert uses(merging.merge([first, second], sites=["one", "two"])) == [1, 1]


def referral(number: int, at: float, *targets: str) -> Smb2:
    """One answer to a DFS referral."""
    talk = Smb2(at=at, port=49_152 + number)
    talk.login(0x11 + number)
    talk.tree(0x11 + number, 1)
    asked = b"\x04\0" + referrals.name(r"\FILES1\dfs")
    talk.control(0x11 + number, 1, DFS_REFERRALS, asked, referrals.targets(*targets))
    talk.tcp.close()
    return talk


def test_servers_that_referrals_name_are_counted_the_same_way(tmp_path: Path) -> None:
    """And the first answer says what was named; hints are made anew of what remains unseen in all results."""
    first = analyzed(tmp_path / "a.pcap", referral(0, 0, r"\OLD\a"))
    second = analyzed(tmp_path / "b.pcap", referral(1, 60, r"\OLD\b", r"\OTHER\c"))
    for order in ([first, second], [second, first], [first, second, first]):
        rows = merging.merge(order).analysis.referrals
        assert rows[["named", "target", "answers"]].values.tolist() == [
            ["OLD", r"\OLD\a", 2],
            ["OTHER", r"\OTHER\c", 1],
        ]
    hints = merging.merge([first, second]).analysis.hints
    assert hints[hints["kind"] == "only_referred"][["server", "count"]].values.tolist() == [["OLD", 2], ["OTHER", 1]]
