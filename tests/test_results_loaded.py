"""Results that are read back: the same tables, and clear refusals of what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import analyzer
from analyzer import AnalyzerError, UsageError, results, tables
from analyzer.analysis import is_folder_of_results

CAPTURES = Path(__file__).parents[1] / "captures"
SOME = [CAPTURES / "anonymous-smb311.pcap", CAPTURES / "refused-stub.pcap", CAPTURES / "disk-anonymous.pcap"]


@pytest.fixture(scope="module")
def analysis() -> analyzer.Analysis:
    return analyzer.analyze(SOME)


@pytest.fixture
def folder(analysis: analyzer.Analysis, tmp_path: Path) -> Path:
    results.save(analysis, tmp_path / "results")
    return tmp_path / "results"


@pytest.mark.parametrize("name", sorted(tables.TABLES))
def test_each_table_is_read_back_as_it_was(name: str, analysis: analyzer.Analysis, folder: Path) -> None:
    back = analyzer.load(folder)
    assert back.arrow(name).schema == analysis.arrow(name).schema
    assert back.arrow(name).to_pylist() == analysis.arrow(name).to_pylist()


def test_an_empty_text_stays_a_value(folder: Path) -> None:
    users = analyzer.load(folder).sessions["user"]
    assert (users == "").any()


def test_what_was_counted_and_set_is_read_back(analysis: analyzer.Analysis, folder: Path) -> None:
    back = analyzer.load(folder)
    assert back.settings == analysis.settings
    assert back.counts == analysis.counts


def test_what_is_read_back_can_be_saved_again(folder: Path, tmp_path: Path) -> None:
    results.save(analyzer.load(folder), tmp_path / "again")
    for file in folder.glob("*.csv"):
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_a_folder_may_be_replaced_by_what_was_read_of_it(folder: Path) -> None:
    before = (folder / "sessions.csv").read_bytes()
    results.save(analyzer.load(folder), folder)
    assert (folder / "sessions.csv").read_bytes() == before


def test_rules_hold_for_results_as_for_captures(folder: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nclient = "10.77.0.10"\napplication = "label printers"\n')
    back = analyzer.load(folder, applications=rules)
    again = analyzer.analyze(SOME, applications=rules)
    assert "label printers" in set(back.dependencies["application"])
    assert back.arrow("dependencies").to_pylist() == again.arrow("dependencies").to_pylist()


def test_results_of_another_format_are_refused(folder: Path) -> None:
    told = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(told | {"format_version": 1}))
    with pytest.raises(UsageError, match=r"format 1.*Analyze the captures again"):
        analyzer.load(folder)


@pytest.mark.parametrize("text", ["", "[]", "nonsense", "{}", '{"format_version": "2"}'])
def test_a_summary_that_is_none_is_refused(text: str, folder: Path) -> None:
    (folder / "summary.json").write_text(text)
    with pytest.raises(AnalyzerError, match=r"summary\.json|format None|format 2"):
        analyzer.load(folder)


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    assert not is_folder_of_results(tmp_path)
    with pytest.raises(UsageError, match="no results"):
        analyzer.load(tmp_path)


@pytest.mark.parametrize("damage", ["gone", "cut", "another"])
def test_a_damaged_table_is_named(damage: str, folder: Path) -> None:
    file = folder / "sessions.parquet"
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-40])
    else:
        file.write_bytes((folder / "trees.parquet").read_bytes())
    with pytest.raises(AnalyzerError, match=r"sessions\.parquet"):
        analyzer.load(folder).arrow("sessions")
