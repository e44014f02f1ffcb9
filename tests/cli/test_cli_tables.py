"""`nullsession tables`, and the files of the administrator's own that `analyze` takes: rules and logs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import manifest
import pytest
from command import CAPTURES, Called

from analyzer import tables

REFUSED = "refused-stub.pcap"
LOGGED = "logged-anonymous.pcap"
ENTRIES = {entry["file"]: entry for entry in manifest.entries()}


def rows(text: str) -> list[dict[str, str]]:
    """CSV as a list of dictionaries."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def run_in(name: str) -> list[tuple[str, int, str, str]]:
    """The calls of a capture by the manifest: interface, number, operation, status."""
    return sorted(
        (call["interface"], call["opnum"], call["operation"], call["status"])
        for session in ENTRIES[name]["sessions"]
        for call in session.get("calls", [])
    )


def test_calls_are_those_that_were_run(called: Called) -> None:
    done = called("tables", "calls", CAPTURES / REFUSED, "--format", "csv")
    found = rows(done.out)
    assert list(found[0]) == [column.name for column in tables.TABLES["calls"]]
    assert sorted((r["interface"], int(r["opnum"]), r["operation"], r["status"]) for r in found) == run_in(REFUSED)
    assert {r["result"] for r in found if "DENIED" in r["status"]} == {"refused"}
    assert (done.status, done.err) == (0, "")


def test_columns_in_the_order_that_is_asked_for(called: Called) -> None:
    done = called(
        "tables", "calls", CAPTURES / REFUSED, "--format", "csv", "--columns", "status, operation", "--rows", "2"
    )
    assert done.out.splitlines()[0] == '"status","operation"'
    assert len(rows(done.out)) == 2


def test_json_is_a_list_of_rows(called: Called) -> None:
    told = json.loads(called("tables", "calls", CAPTURES / REFUSED, "--format", "json").out)
    assert sorted((r["interface"], r["opnum"], r["operation"], r["status"]) for r in told) == run_in(REFUSED)
    assert all(isinstance(row["frame"], int) and row["time"].endswith("Z") for row in told)


def test_in_a_terminal_a_narrow_table_has_a_line_a_row(called: Called) -> None:
    out = called("tables", "calls", CAPTURES / REFUSED, "--columns", "operation,status,owner"[:-6]).out
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["operation", "status"]
    assert sorted(line[0] for line in lines[1:-1]) == sorted(row[2] for row in run_in(REFUSED))
    assert lines[-1] == [str(len(run_in(REFUSED))), "rows"]


def test_in_a_terminal_a_wide_table_has_a_block_a_row(called: Called) -> None:
    out = called("tables", "calls", CAPTURES / REFUSED).out
    operations = [line.split()[1] for line in out.splitlines() if line.startswith("operation ")]
    assert sorted(operations) == sorted(row[2] for row in run_in(REFUSED))
    assert "nothing in level, " in out or "nothing in " in out


def test_rows_that_are_left_out_are_told(called: Called) -> None:
    out = called("tables", "calls", CAPTURES / REFUSED, "--columns", "operation", "--rows", "3").out
    assert f"3 rows, and {len(run_in(REFUSED)) - 3} more (--rows 0 prints all)" in out


def test_all_tables_are_listed_with_what_they_mean(called: Called) -> None:
    done = called("tables", "list")
    lines = done.out.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == list(tables.TABLES)
    for name, columns in tables.TABLES.items():
        for column in columns:
            assert any(line.startswith(f"  {column.name}  ") for line in lines), (name, column.name)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tables", "cals", CAPTURES / REFUSED), ("'cals'", "calls")),
        (("tables", "calls", CAPTURES / REFUSED, "--columns", "opperation"), ("opperation", "operation")),
        (("tables", "calls"), ("which captures?",)),
        (("analyze", CAPTURES / REFUSED, "--endpoint-log", "nowhere.evtx"), ("nowhere.evtx", "no such file")),
        (("analyze", CAPTURES / REFUSED, "--applications", "nowhere.toml"), ("nowhere.toml",)),
    ],
)
def test_mistakes_are_told_in_a_line(called: Called, arguments: tuple[object, ...], words: tuple[str, ...]) -> None:
    done = called(*arguments)
    assert done.status == 2
    assert len(done.err.splitlines()) == 1
    for word in words:
        assert word in done.err


def test_rules_name_an_application_and_its_owner(called: Called, tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(
        '[[rule]]\nclient = "10.77.0.0/24"\nresource = "lsarpc"\napplication = "file sync"\nowner = "office"\nnote = "old"\n'
    )
    found = rows(called("analyze", CAPTURES / REFUSED, "--applications", file, "--format", "csv").out)
    named = [row for row in found if row["resource"] == "lsarpc"]
    assert named
    for row in named:
        assert (row["application"], row["application_source"], row["owner"], row["note"]) == (
            "file sync", "rule", "office", "old",
        )  # fmt: skip
    others = [row for row in found if row["resource"] != "lsarpc"]
    assert {row["owner"] for row in others} == {""}
    listed = rows(called("tables", "applications", CAPTURES / REFUSED, "--applications", file, "--format", "csv").out)
    assert [row["functions"] for row in listed if row["application"] == "file sync"] == ["SID and name translation"]


def test_scanners_of_the_users_own_list_count_for_nothing_and_are_shown(called: Called, tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('[[rule]]\nclient = "10.77.0.10"\nscanner = true\n')
    out = called("analyze", CAPTURES / REFUSED, "--applications", file).out
    assert out.startswith("No client was seen to depend on null sessions.")
    assert "Left out: scanners by your own rules" in out
    assert "lsarpc" in out
    (client,) = rows(called("tables", "clients", CAPTURES / REFUSED, "--applications", file, "--format", "csv").out)
    assert client["rows_depends"] == "0"


def test_a_mistake_in_the_rules_names_file_rule_and_key(called: Called, tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(
        '[[rule]]\nclient = "10.77.0.10"\nscanner = true\n\n[[rule]]\nclent = "10.1.1.1"\napplication = "x"\n'
    )
    done = called("analyze", CAPTURES / REFUSED, "--applications", file)
    assert done.status == 2
    for word in ("rules.toml", "2", "clent"):
        assert word in done.err


def test_logs_say_who_was_behind_a_session(called: Called) -> None:
    log = CAPTURES / "logs" / "logged-anonymous.log"
    arguments = (CAPTURES / LOGGED, "--endpoint-log", log)
    noted = rows(called("tables", "endpoint_processes", *arguments, "--format", "csv").out)
    users = {session["user"] for session in ENTRIES[LOGGED]["sessions"]}
    assert {row["user"] for row in noted} - {"ANONYMOUS LOGON"} <= users
    assert {row["confidence"] for row in noted} == {"certain"}
    measures = {
        row["measure"]: int(row["value"])
        for row in rows(called("tables", "coverage", *arguments, "--format", "csv").out)
    }
    assert measures["log_events_matched"] == len(noted)
    assert measures["anonymous_logons_unseen"] == 0
    assert "belong to what was captured" in called("analyze", *arguments).out


def test_a_process_in_a_log_names_the_application(called: Called, tmp_path: Path) -> None:
    connections = rows(called("tables", "connections", CAPTURES / REFUSED, "--format", "csv").out)
    log = tmp_path / "connections.csv"
    log.write_text(
        "time,source_ip,source_port,destination_ip,destination_port,process,user\n"
        + "".join(
            f"{row['first_seen']},{row['client_ip']},{row['client_port']},{row['server_ip']},{row['server_port']},"
            "C:\\Scan\\scanner.exe,svc\n"
            for row in connections
        )
    )
    found = rows(called("analyze", CAPTURES / REFUSED, "--endpoint-log", log, "--format", "csv").out)
    assert {row["application_source"] for row in found} == {"process"}
    assert all("scanner.exe" in row["application"] for row in found)


def test_what_is_no_log_is_told_and_the_rest_reported(called: Called, tmp_path: Path) -> None:
    log = tmp_path / "letter.txt"
    log.write_text("Dear administrator,\n")
    done = called("analyze", CAPTURES / REFUSED, "--endpoint-log", log)
    assert done.status == 3
    assert "letter.txt" in done.err
    assert "lsarpc" in done.out
