"""`nullsession merge` and `nullsession diff`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from command import CAPTURES, Called

from analyzer import results

OPEN, RESTRICTED, ABSENT = (CAPTURES / f"change-{name}.pcap" for name in ("0-open", "1-restrict1", "9-absent"))


@pytest.fixture
def folder(called: Called, tmp_path: Path) -> Path:
    """The results of the state before."""
    assert called("analyze", "-q", OPEN, "-o", tmp_path / "open").status == 0
    return tmp_path / "open"


def test_diff_of_captures(called: Called) -> None:
    done = called("diff", OPEN, RESTRICTED)
    assert done.status == 0
    assert done.out.startswith("9 uses are refused now that worked before.")


def test_check_ends_with_one_if_something_broke(called: Called) -> None:
    assert called("diff", OPEN, RESTRICTED, "--check", "-q").status == 1


def test_what_was_not_observed_is_no_difference_for_check(called: Called) -> None:
    done = called("diff", OPEN, ABSENT, "--check")
    assert done.status == 0
    assert "3 uses were not observed again, which proves nothing." in done.out


def test_results_and_captures_on_either_side_say_the_same(called: Called, folder: Path) -> None:
    plain = called("diff", OPEN, RESTRICTED, "--format", "json")
    assert called("diff", folder, RESTRICTED, "--format", "json").out == plain.out
    assert called("diff", folder, RESTRICTED, "--engine", "native").status == 0
    refused = called("diff", folder, folder, "--engine", "native", "--separate")
    assert refused.status == 2
    assert "--separate" in refused.err


def test_diff_as_json(called: Called) -> None:
    told = json.loads(called("diff", OPEN, RESTRICTED, "--format", "json").out)
    assert told["worse"] is True
    assert told["changes"]["newly_refused"] == 9
    assert sum(told["changes"].values()) == len(told["rows"])


def test_diff_as_csv(called: Called) -> None:
    rows = list(csv.DictReader(io.StringIO(called("diff", OPEN, RESTRICTED, "--format", "csv").out)))
    assert {row["status"] for row in rows if row["change"] == "newly_refused"} == {
        "STATUS_ACCESS_DENIED", "WERR_ACCESS_DENIED",
    }  # fmt: skip


def test_an_unreadable_side_wins_over_a_difference(called: Called, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pcap"
    broken.write_bytes(RESTRICTED.read_bytes()[:-7])
    done = called("diff", OPEN, broken, "--check")
    assert done.status == 3
    assert "broken.pcap" in done.err


def test_results_of_another_version_are_refused(called: Called, folder: Path) -> None:
    told = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(told | {"format_version": 1}))
    for command in (("diff", folder, OPEN), ("merge", folder, "-o", folder.parent / "merged")):
        done = called(*command)
        assert done.status == 2
        assert "format 1" in done.err


def test_merge_writes_what_analyzing_all_would(called: Called, folder: Path, tmp_path: Path) -> None:
    called("analyze", "-q", RESTRICTED, "-o", tmp_path / "restricted")
    done = called("merge", folder, tmp_path / "restricted", "-o", tmp_path / "merged")
    assert done.status == 0
    assert "depend on null sessions" in done.out
    assert called("analyze", "-q", OPEN, RESTRICTED, "-o", tmp_path / "all").status == 0
    for name in ("connections", "sessions", "calls", "credentialed_uses", "dependencies"):
        merged, together = (tmp_path / where / f"{name}.csv" for where in ("merged", "all"))
        assert merged.read_bytes() == together.read_bytes()


def test_merge_says_what_is_counted_once(called: Called, folder: Path, tmp_path: Path) -> None:
    done = called("merge", folder, folder, "-o", tmp_path / "merged")
    assert "1 capture file in several of the results: counted once" in done.err
    assert (tmp_path / "merged" / "sessions.csv").read_bytes() == (folder / "sessions.csv").read_bytes()


def test_merge_into_one_of_the_folders(called: Called, folder: Path) -> None:
    before = (folder / "sessions.csv").read_bytes()
    assert called("merge", folder, "-o", folder, "-q").status == 0
    assert (folder / "sessions.csv").read_bytes() == before


def test_merge_with_a_site_for_each(called: Called, folder: Path, tmp_path: Path) -> None:
    called("analyze", "-q", OPEN, "-o", tmp_path / "other")
    assert called("merge", "-q", "--separate", folder, tmp_path / "other", "-o", tmp_path / "merged").status == 0
    merged = results.load(tmp_path / "merged")
    assert set(merged.connections["site"]) == {str(folder), str(tmp_path / "other")}


def test_merge_takes_results_only(called: Called, tmp_path: Path) -> None:
    done = called("merge", OPEN.parent, "-o", tmp_path / "merged")
    assert done.status == 2
    assert "no results" in done.err


def test_merge_needs_somewhere_to_write(called: Called, folder: Path) -> None:
    assert called("merge", folder).status == 2
