"""Whatever shows results names what the administrator's list of scanners leaves out."""

from __future__ import annotations

import html
import json
import subprocess
import sys
from pathlib import Path

import pytest

import analyzer
from analyzer import tables
from analyzer.summary.excluded import left_out

ROOT = Path(__file__).parents[2]
CAPTURE = ROOT / "captures" / "change-0-open.pcap"
SCANNER = "10.77.0.11"
NAMED = f"CLIENT2 ({SCANNER})"


@pytest.fixture
def scanners(tmp_path: Path) -> Path:
    path = tmp_path / "scanners.txt"
    path.write_text(f"{SCANNER}\n")
    return path


def said(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "analyzer", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout


def test_the_sentence_counts_rows_and_names_clients(scanners: Path) -> None:
    analysis = analyzer.analyze(CAPTURE, scanners=scanners)
    number = (analysis.dependencies["client_ip"] == SCANNER).sum()
    rows = tables.TableSet({"dependencies": analysis.arrow("dependencies")})
    assert left_out(rows) == [f"{number} rows of scanners by your own rules left out: {NAMED}"]


def test_nothing_is_said_where_nothing_is_left_out() -> None:
    analysis = analyzer.analyze(CAPTURE)
    assert left_out(tables.TableSet({"dependencies": analysis.arrow("dependencies")})) == []


@pytest.mark.parametrize("command", ["whatif", "recommend"])
@pytest.mark.parametrize("form", ["table", "json"])
def test_policies_name_them(command: str, form: str, scanners: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[settings]\n"samba:restrict anonymous" = 2\n')
    more = ["--policy", policy] if command == "whatif" else ["--minimum", "days=0"]
    told = said(command, CAPTURE, "--scanners", scanners, "--format", form, *more)
    if form == "json":
        told = " ".join(json.loads(told)["not_covered"])
    assert NAMED in told


def test_the_watch_list_names_them(scanners: Path, tmp_path: Path) -> None:
    said("export", CAPTURE, "--format", "watch", "--scanners", scanners, "-o", tmp_path / "watch")
    told = (tmp_path / "watch" / "watch.md").read_text(encoding="utf-8")
    assert NAMED in html.unescape(told)
    assert SCANNER not in (tmp_path / "watch" / "watch.csv").read_text(encoding="utf-8")


def test_analyze_and_diff_name_them(scanners: Path) -> None:
    assert "Left out: scanners by your own rules" in said("analyze", CAPTURE, "--scanners", scanners)
    assert "scanners by your own rules are left out" in said("diff", CAPTURE, CAPTURE, "--scanners", scanners)
