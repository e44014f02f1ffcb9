"""`nullsession whatif` and `nullsession recommend`."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from pathlib import Path

import pytest
from command import CAPTURES, Called

RESTRICT = "[global]\n restrict anonymous = 1\n"
OPEN = "[global]\n restrict anonymous = 0\n[PUBLIC]\n path = /x\n guest ok = yes\n"
SAMR = str(CAPTURES / "anonymous-ipv6.pcapng")


def conf(folder: Path, text: str, name: str = "smb.conf") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_what_would_break_is_told_and_checked(called: Called, tmp_path: Path) -> None:
    policy = conf(tmp_path, RESTRICT)
    done = called("whatif", SAMR, "--policy", policy, "--check")
    assert done.status == 1, done.err
    assert "Would break" in done.out
    assert "restrict anonymous" in done.out
    assert "smb.conf(5)" in done.out
    assert called("whatif", SAMR, "--policy", policy, "-q").status == 0
    harmless = conf(tmp_path, "[global]\n restrict anonymous = 0\n", "open.conf")
    done = called("whatif", SAMR, "--policy", harmless, "--check")
    assert done.status == 0
    assert "nothing breaks" not in done.out.lower()
    assert "What was not captured is not among them" in done.out


def test_rows_as_csv_and_json(called: Called, tmp_path: Path) -> None:
    policy = conf(tmp_path, RESTRICT)
    rows = list(csv.DictReader(io.StringIO(called("whatif", SAMR, "--policy", policy, "--format", "csv").out)))
    made = json.loads(called("whatif", SAMR, "--policy", policy, "--format", "json").out)
    assert len(rows) == len(made["rows"]) == sum(made["counts"].values())
    assert [row["outcome"] for row in rows] == [row["outcome"] for row in made["rows"]]
    assert {row["setting"] for row in rows if row["outcome"] == "breaks"} == {"samba:restrict anonymous"}
    assert made["servers"][0]["family"] == "samba"


def test_one_server_by_name(called: Called, tmp_path: Path) -> None:
    policy = conf(tmp_path, RESTRICT)
    assert called("whatif", SAMR, "--server", f"fd77::2={policy}", "--check").status == 1
    done = called("whatif", SAMR, "--server", f"nowhere={policy}")
    assert done.status == 2
    assert "no server 'nowhere'" in done.err


def test_wrong_usage(called: Called, tmp_path: Path) -> None:
    policy = conf(tmp_path, RESTRICT)
    assert called("whatif", SAMR).status == 2
    assert called("whatif", SAMR, "--server", policy).status == 2
    assert called("whatif", SAMR, "--policy", policy, "--os", "beos").status == 2
    other = conf(tmp_path, OPEN, "other.conf")
    done = called("whatif", SAMR, "--policy", policy, "--baseline", policy, "--baseline", other)
    assert done.status == 2
    assert "contradicts itself" in done.err
    nothing = str(CAPTURES / "user.pcap")
    assert called("whatif", nothing, "--policy", policy).status == 2


def test_a_recommendation_and_its_files(called: Called, tmp_path: Path) -> None:
    baseline = conf(tmp_path, OPEN)
    made = tmp_path / "made"
    named = f"files1={baseline}"
    done = called("recommend", SAMR, "--minimum", "days=0", "--baseline", named, "-o", str(made), "--accept", "0")
    assert done.status == 0, done.err
    assert "What repairs would gain" in done.out
    folder = made / "fd77__2"
    assert {path.name for path in folder.iterdir()} >= {
        "policy.toml",
        "policy.smb.conf",
        "rollback.smb.conf",
        "change-record.md",
    }
    assert tomllib.loads((folder / "policy.toml").read_text())["family"] == "samba"
    assert "given up on purpose" in (folder / "change-record.md").read_text()


def test_no_recommendation_and_no_files_without_enough_observation(called: Called, tmp_path: Path) -> None:
    made = tmp_path / "made"
    done = called("recommend", SAMR, "-o", str(made))
    assert done.status == 0
    assert "not observed for long enough" in done.out
    assert not list(made.iterdir())


def test_a_recommendation_as_json(called: Called) -> None:
    made = json.loads(called("recommend", SAMR, "--minimum", "days=0", "--format", "json").out)
    assert made["servers"][0]["settings"]
    assert made["counts"]["breaks"] == 0
    done = called("recommend", SAMR, "--accept", "everything")
    assert done.status == 2
    assert "--accept takes" in done.err


def test_files_for_windows_and_none_for_what_is_not_known(called: Called, tmp_path: Path) -> None:
    windows = str(CAPTURES / "built-windows-shape.pcap")
    made = tmp_path / "windows"
    done = called("recommend", windows, "--minimum", "days=0", "--role", "member", "-o", str(made), "-q")
    assert done.status == 0, done.err
    files = {path.name for folder in made.iterdir() for path in folder.iterdir()}
    assert {"policy.inf", "policy.reg", "apply.ps1", "policy.toml", "change-record.md"} <= files
    nobody = tmp_path / "unknown"
    mixed = [str(CAPTURES / "built-nt4.pcap"), SAMR, str(CAPTURES / "rap.pcap")]
    done = called("recommend", *mixed, "--minimum", "days=0", "-o", str(nobody))
    assert "what the server is is not known" in done.out
    assert sorted(path.name for path in nobody.iterdir()) == ["fd77__2"]


def test_names_of_folders_do_not_meet() -> None:
    from analyzer.cli.whatif import _new_folder_name  # noqa: PLC0415

    taken: set[str] = set()
    names = [_new_folder_name(text, taken) for text in ("north/a_10.0.0.1", "north_a_10.0.0.1", "NORTH_A_10.0.0.1")]
    assert names == ["north_a_10.0.0.1", "north_a_10.0.0.1_2", "NORTH_A_10.0.0.1_3"]


def test_a_name_that_no_file_can_carry_costs_its_server_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from analyzer import policy as policies  # noqa: PLC0415
    from analyzer.cli.whatif import _write_artefacts  # noqa: PLC0415
    from tests.policy.seen import seen, use  # noqa: PLC0415

    rows = seen(use('x"; calc\n'), use("spoolss", server="192.168.0.2"))
    found = policies.recommend(rows, roles={"": "member"})
    _write_artefacts(found, {}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["192.168.0.2"]
    said = capsys.readouterr().err
    assert "192.168.0.1: no files" in said
    assert "\ncalc" not in said
