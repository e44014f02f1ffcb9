"""What `nullsession analyze` prints in each format, and what its options change."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import build as b
import manifest
import pandas as pd
import pytest
from command import ANONYMOUS, CAPTURES, Called, nullsession
from talks import anonymous_pipe, written

from analyzer import tables

COLUMNS = [column.name for column in tables.TABLES["dependencies"]]
ENTRIES = {entry["file"]: entry for entry in manifest.entries()}
SAMPLES = ("anonymous-smb311.pcap", "refused-open.pcap", "user.pcap")


def expected(name: str) -> list[dict[str, Any]]:
    """The dependencies of a capture by the manifest."""
    return manifest.expected_dependencies(ENTRIES[name])


def rows_of(name: str) -> int:
    """How many rows the dependencies of a capture have."""
    return len(manifest.expected_verdicts(ENTRIES[name]))


def picked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as they were printed, in the manifest's form."""
    return manifest.by_resource([{name: row[name] or None for name in manifest.DEPENDENCY_FIELDS} for row in rows])


@pytest.mark.parametrize("name", SAMPLES)
def test_json_is_one_document_with_the_dependencies(called: Called, name: str) -> None:
    done = called("analyze", CAPTURES / name, "--format", "json")
    told = json.loads(done.out)
    assert set(told) == {"summary", "dependencies"}
    assert picked(told["dependencies"]) == expected(name)
    assert told["summary"]["rows"]["dependencies"] == rows_of(name)
    assert all(list(row) == COLUMNS for row in told["dependencies"])
    assert (done.status, done.err) == (0, "")


def test_names_of_the_users_own_list(called: Called, tmp_path: Path) -> None:
    listed = tmp_path / "hosts"
    listed.write_text("10.77.0.10 scanner.corp.example\n10.77.0.2 files.corp.example\n")
    done = called("analyze", ANONYMOUS, "--hosts", listed, "--format", "json")
    rows = json.loads(done.out)["dependencies"]
    assert {(row["client_ip"], row["client"]) for row in rows} == {("10.77.0.10", "scanner.corp.example")}
    assert {(row["server_ip"], row["server"]) for row in rows} == {("10.77.0.2", "files.corp.example")}
    heading = "scanner.corp.example (10.77.0.10) -> files.corp.example (10.77.0.2)"
    assert heading in called("analyze", ANONYMOUS, "--hosts", listed).out.splitlines()


def test_json_keeps_whole_numbers_times_and_what_is_missing(called: Called) -> None:
    done = called("analyze", ANONYMOUS, "--format", "json")
    row = json.loads(done.out)["dependencies"][0]
    assert row["owner"] is None  # nobody wrote a rule
    assert isinstance(row["frame"], int)
    seen = datetime.fromisoformat(row["first_seen"])
    assert seen.utcoffset() == timedelta(0)
    assert json.loads(done.out)["summary"]["captures"] == 1


def test_json_of_nothing_is_still_a_document(called: Called, tmp_path: Path) -> None:
    path = tmp_path / "nothing.pcap"
    path.touch()
    done = called("analyze", path, "--format", "json")
    told = json.loads(done.out)
    assert told["dependencies"] == []
    assert len(told["summary"]["unreadable"]) == 1
    assert str(path) in told["summary"]["unreadable"][0]


@pytest.mark.parametrize("name", SAMPLES)
def test_csv_is_a_header_and_the_dependencies(called: Called, name: str) -> None:
    done = called("analyze", CAPTURES / name, "--format", "csv")
    header, *rows = csv.reader(io.StringIO(done.out, newline=""), strict=True)
    assert header == COLUMNS
    assert picked([dict(zip(header, row, strict=True)) for row in rows]) == expected(name)
    assert (done.status, done.err) == (0, "")


def test_the_table_names_each_dependency_with_its_packet(called: Called) -> None:
    done = called("analyze", ANONYMOUS)
    lines = done.out.splitlines()
    headings = [re.findall(r"\(([\d.]+)\)", line) for line in lines if " -> " in line]
    assert headings == [[row["client_ip"], row["server_ip"]] for row in expected(ANONYMOUS.name)[:1]]
    rows = [line.split() for line in lines if line.startswith("  depends ")]
    assert [row[:2] for row in rows] == [["depends", row["resource"]] for row in expected(ANONYMOUS.name)]
    assert all(row[-2] == "frame" and row[-1].isdigit() for row in rows)


def test_every_format_works_as_a_process_of_its_own() -> None:
    assert json.loads(nullsession("analyze", ANONYMOUS, "--format", "json").out)["summary"]["captures"] == 1
    as_csv = nullsession("analyze", ANONYMOUS, "--format", "csv").out
    assert len(list(csv.reader(io.StringIO(as_csv, newline="")))) == 1 + rows_of(ANONYMOUS.name)


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_quiet_prints_nothing(called: Called, tmp_path: Path, form: str) -> None:
    done = called("analyze", ANONYMOUS, "--quiet", "--format", form, "-o", tmp_path / "out")
    assert (done.status, done.out, done.err) == (0, "", "")
    assert (tmp_path / "out" / "summary.json").exists()


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_errors_never_get_between_the_results(called: Called, tmp_path: Path, form: str) -> None:
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(b"no capture")
    good = called("analyze", ANONYMOUS, "--format", form)
    both = called("analyze", ANONYMOUS, bad, "--format", form)
    assert good.err == ""
    assert len(both.complaints) == 1
    if form == "csv":
        assert both.out == good.out
    elif form == "json":
        assert json.loads(both.out)["dependencies"] == json.loads(good.out)["dependencies"]


# Options. #


def saved(called: Called, tmp_path: Path, *arguments: str | Path) -> dict[str, pd.DataFrame]:
    """The tables that a run writes."""
    folder = tmp_path / "out"
    done = called("analyze", *arguments, "-q", "-o", folder)
    assert done.status == 0, done.err
    return {path.stem: pd.read_parquet(path) for path in folder.glob("*.parquet")}


def test_a_connection_on_another_port_without_its_beginning_is_found_with_port(called: Called, tmp_path: Path) -> None:
    talk = anonymous_pipe(port=4455)
    # The capture begins amid the client's negotiation: nothing in its first payload says SMB.
    first = next(place for place, segment in enumerate(talk.segments) if segment.payload)
    begun = talk.segments[first]
    later = b.Segment(
        begun.time_ns, begun.source, begun.target, begun.seq + 40, begun.ack, begun.flags, begun.payload[40:]
    )
    path = written(tmp_path / "other.pcap", [each.packet() for each in (later, *talk.segments[first + 1 :])])
    assert len(saved(called, tmp_path, path, "--port", "4456")["sessions"]) == 0
    found = saved(called, tmp_path, path, "--port", "4456", "--port", "4455")
    assert found["sessions"]["identity"].tolist() == ["anonymous"]
    assert found["pipe_opens"]["pipe"].tolist() == ["srvsvc"]


def test_port_adds_to_the_usual_ones(called: Called, tmp_path: Path) -> None:
    assert len(saved(called, tmp_path, ANONYMOUS, "--port", "4455")["dependencies"]) == rows_of(ANONYMOUS.name)


def test_detail_all_keeps_the_opens_of_sessions_with_credentials(called: Called, tmp_path: Path) -> None:
    opens = [
        (session["user"], pipe["pipe"])
        for session in ENTRIES["user.pcap"]["sessions"]
        for pipe in session.get("pipe_opens", [])
        if session["identity"] == "user"
    ]
    assert opens
    default = saved(called, tmp_path, CAPTURES / "user.pcap")
    whole = saved(called, tmp_path, CAPTURES / "user.pcap", "--detail", "all")
    users = whole["sessions"].query("identity == 'user'").set_index("session_key")["user"]
    kept = whole["pipe_opens"][whole["pipe_opens"]["session_key"].isin(users.index)]
    assert sorted((users[row.session_key], row.pipe) for row in kept.itertuples()) == sorted(opens)
    assert not default["pipe_opens"]["session_key"].isin(users.index).any()
    counted = default["credentialed_uses"].query("operation.isna()")
    assert set(counted["resource"]) >= {pipe for _, pipe in opens}


def test_separate_makes_each_folder_a_site(called: Called, tmp_path: Path) -> None:
    for site in ("east", "west"):
        (tmp_path / site).mkdir()
        shutil.copy(ANONYMOUS, tmp_path / site)
    together = saved(called, tmp_path, tmp_path / "east", tmp_path / "west")
    apart = saved(called, tmp_path, tmp_path / "east", tmp_path / "west", "--separate")
    sessions = len(ENTRIES[ANONYMOUS.name]["sessions"])
    assert len(together["sessions"]) == sessions  # the same packets at two places count once
    assert apart["sessions"]["site"].value_counts().to_dict() == {
        str(tmp_path / "east"): sessions,
        str(tmp_path / "west"): sessions,
    }


# The other command. #


def test_doctor_says_what_is_there(called: Called, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no tshark there
    done = called("doctor")
    assert (done.status, done.err) == (0, "")
    for name in (
        "nullsession ",
        "Python ",
        "numpy ",
        "numba ",
        "pandas ",
        "pyarrow ",
        "kernel cache: ",
        "engine native",
    ):
        assert any(line.startswith(name) for line in done.out.splitlines()), name
    assert "tshark: not found" in done.out
    assert "install" in done.out.partition("tshark: ")[2]


def test_doctor_survives_a_tshark_that_does_not_run(
    called: Called, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "tshark"
    program.write_text("#!/nowhere/at/all\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = called("doctor")
    assert (done.status, done.err) == (0, "")
    assert f"tshark: {program} cannot be run" in done.out


def test_doctor_works_as_a_process_of_its_own_with_an_empty_cache(tmp_path: Path) -> None:
    done = nullsession("doctor", settings={"NULLSESSION_CACHE": str(tmp_path)})
    assert (done.status, done.err) == (0, "")
    assert "kernel cache: empty" in done.out
    assert "doctor --compile" in done.out
    assert str(tmp_path) in done.out
