"""The manifest of `captures/` against an analysis: what was done there must be found, and nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pandas as pd

from analyzer import tables

CAPTURES = Path(__file__).parents[1] / "captures"

SESSION_FIELDS = (
    "asked", "identity", "confidence", "outcome", "status", "user", "domain", "workstation", "mechanism"
)  # fmt: skip
TREE_FIELDS = ("share", "path", "kind", "status")
OPEN_FIELDS = ("pipe", "via", "status")
DEPENDENCY_FIELDS = ("client_ip", "server_ip", "resource", "identity", "verdict", "refused_at")


def entries() -> list[dict[str, Any]]:
    """All captures of the manifest."""
    with (CAPTURES / "manifest.toml").open("rb") as file:
        found: list[dict[str, Any]] = tomllib.load(file)["capture"]
    return found


def plain(value: Any) -> Any:
    """A cell as the manifest writes it: None for missing."""
    return None if pd.isna(value) else value


def picked(rows: pd.DataFrame, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Some columns as a list of dictionaries."""
    return [{name: plain(row[name]) for name in names} for _, row in rows.iterrows()]


def found_sessions(analysis: Any) -> list[dict[str, Any]]:
    """The sessions of an analysis in the manifest's form."""
    numbers: dict[int, int] = {}
    found = []
    ends = analysis.connections.set_index("connection_id")
    disk = analysis.disk_opens
    for _, row in analysis.sessions.iterrows():
        key = row["session_key"]
        connection = ends.loc[row["connection_id"]]
        session = {
            "client": row["client_ip"],
            "server": row["server_ip"],
            "port": int(connection["server_port"]),
            "dialect": plain(connection["dialect"]),
            "session": numbers.setdefault(int(row["session_no"]), len(numbers) + 1),
            **{name: plain(row[name]) for name in SESSION_FIELDS},
            "trees": picked(analysis.trees[analysis.trees["session_key"] == key], TREE_FIELDS),
            "pipe_opens": picked(analysis.pipe_opens[analysis.pipe_opens["session_key"] == key], OPEN_FIELDS),
        }
        shares = disk[disk["session_key"] == key].groupby("share")[["opens", "succeeded", "denied"]].sum()
        session["disk_shares"] = sorted(
            (name, *(int(value) for value in counts)) for name, *counts in shares.itertuples()
        )
        calls = analysis.calls[(analysis.calls["session_key"] == key) & (analysis.calls["protocol"] != "dcerpc")]
        session["calls"] = [
            (plain(call["protocol"]), call["name"] if call["protocol"] == "dfs" else call["operation"])
            for _, call in calls.iterrows()
        ]
        found.append(session)
    return found


def expected_sessions(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The sessions of the manifest in the same form. What is not decoded yet (DCE/RPC calls) is left out."""
    numbers: dict[int, int] = {}
    expected = []
    for told in entry.get("sessions", []):
        credentialed = told["identity"] in ("user", "machine", "authenticated")
        session = {
            **{name: told[name] for name in ("client", "server", "port")},
            "dialect": told.get("dialect"),
            "session": numbers.setdefault(told["session"], len(numbers) + 1),
            **{name: told.get(name) for name in SESSION_FIELDS},
            "trees": [{name: tree.get(name) for name in TREE_FIELDS} for tree in told.get("trees", [])],
            "pipe_opens": [{name: pipe.get(name) for name in OPEN_FIELDS} for pipe in told.get("pipe_opens", [])],
            "disk_shares": []
            if credentialed
            else sorted(
                (share["share"], share["opens"], share["succeeded"], share["denied"])
                for share in told.get("disk_shares", [])
            ),
            "calls": [
                (call["protocol"], call["operation"]) for call in told.get("calls", []) if call["protocol"] != "dcerpc"
            ],
        }
        expected.append(session)
    return expected


def host_differences(expected: list[dict[str, Any]], found: pd.DataFrame) -> list[str]:
    """Readable differences of the hosts of the manifest, in order of address and time, and the table."""
    if len(expected) != len(found):
        return [f"{len(expected)} expected, {len(found)} found"]
    told = []
    for want, (_, have) in zip(expected, found.iterrows(), strict=True):
        claims = {
            **{name: have[name] == want[name] for name in ("ip", "name", "name_source", "shared")},
            "other_names": set(plain(have["other_names"]).split("|")) - {""} == set(want.get("other_names", [])),
            "says": all(text in have["os_hint"] for text in want.get("says", [])),
            "mac": "mac" not in want or (plain(have["mac"]) or "") == want["mac"],
            "since": "since" not in want or have["valid_from"] >= pd.Timestamp(want["since"]),
            "until": "until" not in want or have["valid_to"] <= pd.Timestamp(want["until"]),
        }
        told += [f"{want['ip']} {name}: {have.to_dict()}" for name, holds in claims.items() if not holds]
    return told


def found_dependencies(analysis: Any) -> list[dict[str, Any]]:
    """The dependency rows, in an order of their own. Where a row was refused tells only if all of it was."""
    rows = picked(analysis.dependencies, DEPENDENCY_FIELDS)
    return sorted(
        ({**row, "refused_at": row["refused_at"] if row["verdict"] == "denied" else None} for row in rows), key=str
    )


def expected_dependencies(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Likewise of the manifest, which tells identities apart: a row is a client, a server and a resource, and the first
    verdict in their order holds.
    """
    renamed = {"client_ip": "client", "server_ip": "server"}
    rows = [
        {name: told.get(renamed.get(name, name)) for name in DEPENDENCY_FIELDS}
        for told in entry.get("dependencies", [])
    ]
    rows.sort(key=lambda row: (tables.VERDICT.index(row["verdict"]), tables.IDENTITY.index(row["identity"])))
    first: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        first.setdefault((row["client_ip"], row["server_ip"], row["resource"]), row)
    return sorted(first.values(), key=str)


def differences(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[str]:
    """Readable differences of two lists."""
    told = []
    if len(expected) != len(found):
        told.append(f"{len(expected)} expected, {len(found)} found")
    for place in range(max(len(expected), len(found))):
        want = expected[place] if place < len(expected) else None
        have = found[place] if place < len(found) else None
        if want is None or have is None:
            told.append(f"#{place}: expected {want}, found {have}")
            continue
        told += [
            f"#{place} {name}: expected {want[name]!r}, found {have[name]!r}"
            for name in want
            if want[name] != have[name]
        ]
    return told
