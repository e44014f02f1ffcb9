"""The list holds who may break, and the queries ask for what the logs' documents name; nothing of a capture is executed."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from manifest import CAPTURES

import analyzer
from analyzer import knowledge, tables
from analyzer.analysis import Analysis
from analyzer.errors import AnalyzerError
from analyzer.exports import watch, write_watch

HOSTILE = "=cmd|' /C calc'!A0 `$(calc)` <script> | [x](http://x) \u202e"
ROW: dict[str, Any] = {
    "site": "",
    "client_ip": "10.0.0.1",
    "server_ip": "10.0.0.2",
    "verdict": "depends",
    "uses": 1,
    "excluded": False,
}


def analysis(*rows: dict[str, Any]) -> Analysis:
    """One that has these dependencies."""
    columns = {
        name: [{**ROW, **row}.get(name) for row in rows] for name in {**ROW, **{key: 0 for row in rows for key in row}}
    }
    table = tables.table("dependencies", columns, len(rows))
    return Analysis({name: tables.empty(name) for name in tables.ROWS} | {"dependencies": table}, {}, {})


def listed(folder: Path) -> list[dict[str, str]]:
    with (folder / "watch.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def code(folder: Path, language: str) -> list[str]:
    """The lines of all blocks of code of a language."""
    text = (folder / "watch.md").read_text(encoding="utf-8")
    return [line for block in re.findall(rf"```{language}\n(.*?)\n```", text, re.DOTALL) for line in block.splitlines()]


def test_who_may_break(tmp_path: Path) -> None:
    found = analyzer.analyze(CAPTURES / "busy.pcap")
    write_watch(found, tmp_path)
    rows = found.dependencies[found.dependencies["verdict"].isin(["depends", "unknown", "covered"])]
    expected = rows.groupby(["server_ip", "client_ip"]).agg(
        rows=("uses", "size"), uses=("uses", "sum"), verdict=("verdict", "min")
    )
    told = {
        (row["server_ip"], row["client_ip"]): (int(row["rows"]), int(row["uses"]), row["verdict"])
        for row in listed(tmp_path)
    }
    assert told == {key: tuple(row) for key, row in zip(expected.index, expected.itertuples(index=False), strict=True)}
    for row in listed(tmp_path):
        mine = rows[(rows["server_ip"] == row["server_ip"]) & (rows["client_ip"] == row["client_ip"])]
        assert set(row["resources"].split(" | ")) == set(mine["resource"])
        assert row["client"] == (mine["client"].iloc[0] if mine["client"].notna().all() else "")
        assert row["first_seen"] == f"{mine['first_seen'].min():%Y-%m-%d %H:%M:%SZ}"


def test_what_cannot_break_is_not_listed(tmp_path: Path) -> None:
    found = analysis(
        {"verdict": "denied"}, {"verdict": "probe", "client_ip": "10.0.0.3"}, {"excluded": True, "client_ip": "10.0.0.4"},
        {"verdict": "unknown", "client_ip": "10.0.0.5"}, {"verdict": "covered", "client_ip": "10.0.0.6"},
    )  # fmt: skip
    assert write_watch(found, tmp_path) == ["watch.csv", "watch.md", "watch-10.0.0.2.xml"]
    assert [row["client_ip"] for row in listed(tmp_path)] == ["10.0.0.5", "10.0.0.6"]


def test_nobody_is_said_with_its_limit(tmp_path: Path) -> None:
    assert write_watch(analysis(), tmp_path) == ["watch.csv", "watch.md"]
    assert "holds for what was captured" in (tmp_path / "watch.md").read_text(encoding="utf-8")


def test_the_query_of_each_server(tmp_path: Path) -> None:
    """Channel, provider and event of each are those of the table of events; the clients are in it, and no others."""
    write_watch(analyzer.analyze(CAPTURES / "busy.pcap"), tmp_path)
    known = {(row["channel"], row["provider"], row["event_id"]) for row in knowledge.rows("log_events")}
    clients: dict[str, set[str]] = {}
    for row in listed(tmp_path):
        clients.setdefault(row["server_ip"], set()).add(row["client_ip"])
    for server, addresses in clients.items():
        query = ElementTree.parse(tmp_path / f"watch-{server}.xml").getroot()
        assert query.tag == "QueryList"
        asked = set()
        for select in query.iter("Select"):
            text = select.text or ""
            (provider,) = re.findall(r"Provider\[@Name='([^']+)'\]", text)
            asked |= {(select.get("Path"), provider, number) for number in re.findall(r"EventID=(\d+)", text)}
        assert asked <= known
        assert {number for _, _, number in asked} >= {"5145", "1007", "1009", "8002", "8003"}
        said = " ".join(select.text or "" for select in query.iter("Select"))
        assert set(re.findall(r"Data\[@Name='IpAddress'\]='([^']+)'", said)) == addresses
    assert "5145" in " ".join(code(tmp_path, "xml"))


def test_conditions_stay_short() -> None:
    """The event log refuses long ones."""
    lines = watch.query([f"10.0.{n // 250}.{n % 250}" for n in range(100)])
    selects = [element.text or "" for element in ElementTree.fromstring("\n".join(lines)).iter("Select")]
    assert max(text.count("Data[@") for text in selects) <= 16
    assert sum(text.count("Data[@") for text in selects) == 100


def test_ipv6(tmp_path: Path) -> None:
    found = analysis({"client_ip": "fd00::1", "server_ip": "fd00::2"})
    assert write_watch(found, tmp_path)[2] == "watch-fd00--2.xml"
    assert "'fd00::1'" in (tmp_path / "watch-fd00--2.xml").read_text(encoding="utf-8")


def test_names_from_captures_stand_in_no_command(tmp_path: Path) -> None:
    names = dict.fromkeys(("client", "server", "application", "owner", "resource", "operation", "site"), HOSTILE)
    write_watch(analysis(names), tmp_path)
    for line in code(tmp_path, "powershell"):
        assert re.fullmatch(
            r"Get-WinEvent -ComputerName [0-9a-f.:]+ -Filter(Xml \(\[xml\]\(Get-Content -Raw 'watch-[0-9a-f.\-]+\.xml'\)\)|"
            r"Hashtable @\{ LogName='[\w/\-]+'; Id=[\d,]+; StartTime=\(Get-Date\)\.AddDays\(-7\) \})",
            line,
        )
    everything = (tmp_path / "watch.md").read_text(encoding="utf-8")
    assert "calc" in everything
    for dangerous in ("<script>", "`$(", "[x](", "\u202e"):
        assert dangerous not in everything
    (row,) = listed(tmp_path)
    assert row["client"] == "'" + HOSTILE
    assert all("calc" not in line for line in code(tmp_path, "xml"))


@pytest.mark.parametrize("end", ["client_ip", "server_ip"])
def test_what_is_no_address_is_refused(end: str, tmp_path: Path) -> None:
    """Results may be anybody's."""
    with pytest.raises(AnalyzerError, match="no address"):
        write_watch(analysis({end: "10.0.0.2; calc"}), tmp_path)
    assert list(tmp_path.iterdir()) == []
