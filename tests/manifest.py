"""The manifest of `captures/` against an analysis: what was done there must be found, and nothing else."""

from __future__ import annotations

import tomllib
from functools import cache
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
CALL_FIELDS = ("protocol", "interface", "opnum", "operation", "status")
CREDENTIALED = ("user", "machine", "authenticated")
DEPENDENCY_FIELDS = ("client_ip", "server_ip", "resource", "identity", "verdict", "refused_at")


@cache
def entries() -> list[dict[str, Any]]:
    """All captures of the manifest; nobody changes them."""
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
        session["calls"] = [
            found_call(call) for _, call in analysis.calls[analysis.calls["session_key"] == key].iterrows()
        ]
        found.append(session)
    return found


def found_call(row: Any) -> dict[str, Any]:
    """A row of `calls` in the manifest's form: numbers of DCE/RPC operations only, of DFS the path in place of a name."""
    call = {name: plain(row[name]) for name in CALL_FIELDS}
    if call["protocol"] != "dcerpc":
        call["opnum"] = None
    if call["protocol"] == "dfs":
        call["operation"] = row["name"]
    if call["operation"] == f"opnum {call['opnum']}":
        call["operation"] = None
    return call


def expected_call(told: dict[str, Any]) -> dict[str, Any]:
    """A call of the manifest. RAP's result is named there as LAN Manager does; its zero is that of Windows."""
    call = {name: told.get(name) for name in CALL_FIELDS}
    if call["protocol"] != "dcerpc":
        call["opnum"] = None
    if call["protocol"] == "rap" and call["status"] == "NERR_Success":
        call["status"] = "ERROR_SUCCESS"
    return call


def expected_calls(entry: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The calls of each session of the manifest."""
    return [[expected_call(call) for call in told.get("calls", [])] for told in entry.get("sessions", [])]


def found_without_credentials(analysis: Any) -> list[list[dict[str, Any]]]:
    """The calls of each session without credentials, whatever the detail."""
    identity = analysis.sessions.set_index("session_key")["identity"]
    keys = [key for key, name in identity.items() if name not in CREDENTIALED]
    return [
        [found_call(call) for _, call in analysis.calls[analysis.calls["session_key"] == key].iterrows()]
        for key in keys
    ]


def expected_without_credentials(entry: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Likewise of the manifest."""
    return [
        calls
        for told, calls in zip(entry.get("sessions", []), expected_calls(entry), strict=True)
        if told["identity"] not in CREDENTIALED
    ]


def found_stub_refusals(analysis: Any) -> set[tuple[Any, ...]]:
    """Client, server and pipe of each use that was refused by the operation itself."""
    calls = analysis.calls[(analysis.calls["result"] == "refused") & (analysis.calls["status_of"] == "stub")]
    rows = calls.merge(analysis.sessions[["session_key", "client_ip", "server_ip"]], on="session_key")
    return {(row["client_ip"], row["server_ip"], row["pipe"]) for _, row in rows.iterrows()}


def expected_stub_refusals(entry: dict[str, Any]) -> set[tuple[Any, ...]]:
    """Likewise of the manifest."""
    return {
        (told["client"], told["server"], told["resource"])
        for told in entry.get("dependencies", [])
        if told.get("stub_refused")
    }


def expected_sessions(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The sessions of the manifest in the same form."""
    numbers: dict[int, int] = {}
    expected = []
    for told, calls in zip(entry.get("sessions", []), expected_calls(entry), strict=True):
        credentialed = told["identity"] in CREDENTIALED
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
            "calls": calls,
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


def by_resource(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each client, server and resource: the first verdict in their order holds. Where it was refused tells only
    if all of it was."""
    rows = sorted(rows, key=lambda row: (tables.VERDICT.index(row["verdict"]), tables.IDENTITY.index(row["identity"])))
    first: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        first.setdefault((row["client_ip"], row["server_ip"], row["resource"]), row)
    return sorted(
        ({**row, "refused_at": row["refused_at"] if row["verdict"] == "denied" else None} for row in first.values()),
        key=str,
    )


def found_dependencies(analysis: Any) -> list[dict[str, Any]]:
    """The dependency rows, without telling applications and operations apart."""
    return by_resource(picked(analysis.dependencies, DEPENDENCY_FIELDS))


def expected_dependencies(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Likewise of the manifest, which tells identities apart. What only the answer's own status refused is refused."""
    renamed = {"client_ip": "client", "server_ip": "server"}
    refused = {"verdict": "denied", "refused_at": "stub"}
    return by_resource(
        [
            {name: told.get(renamed.get(name, name)) for name in DEPENDENCY_FIELDS}
            | (refused if told.get("stub_refused") else {})
            for told in entry.get("dependencies", [])
        ]
    )


REFUSED_CALLS = ("STATUS_ACCESS_DENIED", "WERR_ACCESS_DENIED")


def expected_operations(entry: dict[str, Any]) -> set[tuple[str, str, str, str, bool]]:
    """What was called in sessions without proven credentials: client, server, interface (or protocol), operation, and
    whether all such calls were refused."""
    calls: dict[tuple[str, str, str, str], list[bool]] = {}
    for session in entry.get("sessions", []):
        if session["identity"] not in ("user", "machine", "authenticated", "rejected"):
            for call in session.get("calls", []):
                operation = "GetDfsReferral" if call["protocol"] == "dfs" else call.get("operation")
                key = (session["client"], session["server"], call.get("interface", call["protocol"]), operation or "")
                calls.setdefault(key, []).append(call.get("status") in REFUSED_CALLS)
    return {(*key, all(refused)) for key, refused in calls.items()}


def expected_verdicts(entry: dict[str, Any]) -> list[str]:
    """The verdicts of all rows where no two applications use the same: a resource is a row for each of its operations;
    where none was called it is one itself."""
    called = expected_operations(entry)
    rows = expected_dependencies(entry)
    whole = {row["resource"] for row in rows} - {row[2] for row in called}
    verdicts = ["denied" if refused else "depends" for *_, refused in called]
    return verdicts + [row["verdict"] for row in rows if row["resource"] in whole]


def found_operations(analysis: Any) -> set[tuple[str, str, str, str, bool]]:
    """The same of the dependencies."""
    calls: dict[tuple[str, str, str, str], list[bool]] = {}
    for _, row in analysis.dependencies.iterrows():
        if (operation := plain(row["operation"])) is not None and not operation.startswith("FSCTL_"):
            unknown = plain(row["interface"]) is None and operation.startswith("opnum ")
            interface = plain(row["interface"]) or ("dcerpc" if unknown else row["resource"])
            key = (row["client_ip"], row["server_ip"], interface, "" if unknown else operation)
            calls.setdefault(key, []).append(row["verdict"] == "denied")
    return {(*key, all(refused)) for key, refused in calls.items()}


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
