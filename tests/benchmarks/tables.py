"""Tables of the size of a large site, without the captures they would come from: for benchmarks of what is made of tables.

    python -m tests.benchmarks.tables DIR [--clients N] [--servers N] [--uses N]

`site` gives an `Analysis`: summaries are made of its tables as of any other. The same numbers give the same tables. Each
client has anonymous sessions with a few servers, and calls the same few operations on each of them again and again; a few
are refused, some only open a share, and some set up a session and do nothing. Servers are Windows of all releases, Samba,
and some that do not say what they are.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from analyzer import tables
from analyzer.analysis import Analysis
from analyzer.knowledge import rpc_operations

SERVERS_OF_A_CLIENT = 5
DAY_NS = 86_400 * 10**9
BEGIN_NS = 1_767_225_600 * 10**9
DAYS = 14
CAPTURE = "made.pcapng"
OPERATIONS = (
    ("lsarpc", "lsarpc", "LsarOpenPolicy2"),
    ("lsarpc", "lsarpc", "LsarLookupNames"),
    ("lsarpc", "lsarpc", "LsarLookupSids"),
    ("samr", "samr", "SamrConnect5"),
    ("samr", "samr", "SamrEnumerateUsersInDomain"),
    ("samr", "samr", "SamrEnumerateDomainsInSamServer"),
    ("srvsvc", "srvsvc", "NetrShareEnum"),
    ("srvsvc", "srvsvc", "NetrServerGetInfo"),
    ("wkssvc", "wkssvc", "NetrWkstaGetInfo"),
    ("netlogon", "netlogon", "NetrServerReqChallenge"),
    ("spoolss", "spoolss", "RpcOpenPrinter"),
    ("browser", "browser", "BrowserrServerEnum"),
)
"""Pipe, interface, operation."""
SHARES = ("IPC$", "PUBLIC", "COMCFG", "SCANS")
DIALECTS = ("3.1.1", "3.0", "2.1", "NT LM 0.12")
SYSTEMS = (
    "NTLM version 5.2.3790", "NTLM version 6.0.6003", "NTLM version 6.1.7601", "NTLM version 6.2.9200",
    "NTLM version 6.3.9600", "NTLM version 10.0.14393", "NTLM version 10.0.17763", "NTLM version 10.0.20348",
    "NTLM version 10.0.26100", "Windows 6.1 / Samba 4.17.12-Debian; NTLM version 6.1.0", None,
)  # fmt: skip

Ints = npt.NDArray[np.int64]


def site(clients: int = 10_000, servers: int = 500, uses: int = 1_000_000, seed: int = 1) -> Analysis:
    """An analysis of so many clients, servers and calls."""
    random = np.random.default_rng(seed)
    pairs = clients * SERVERS_OF_A_CLIENT
    client = np.repeat(np.arange(clients), SERVERS_OF_A_CLIENT)
    server = (client * 7 + random.integers(0, servers, pairs)) % servers
    made = {name: tables.empty(name) for name in tables.ROWS}
    started = BEGIN_NS + np.sort(random.integers(0, DAYS * DAY_NS, pairs))
    whose = {
        "client_ip": _texts(client, [f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(clients)]),
        "server_ip": _texts(server, _server_addresses(servers)),
        "capture": _constant(pairs, CAPTURE),
        "site": _constant(pairs, ""),
    }
    key = np.arange(pairs)
    dialect = random.choice(len(DIALECTS), pairs, p=(0.7, 0.1, 0.1, 0.1))
    made["connections"] = tables.table(
        "connections",
        whose
        | {
            "connection_id": tables.ints(key),
            "first_frame": tables.ints(key * 40 + 1),
            "client_port": tables.ints(49152 + key % 16384),
            "server_port": tables.ints(np.full(pairs, 445)),
            "transport": tables.places_in(np.zeros(pairs, dtype=np.int8), tables.TRANSPORT),
            "first_seen": tables.times(started),
            "last_seen": tables.times(started + 60 * 10**9),
            "packets": tables.ints(np.full(pairs, 40)),
            "dialect": _texts(dialect, list(DIALECTS)),
            "midstream": tables.bools(np.zeros(pairs, dtype=bool)),
            "directions": tables.places_in(np.zeros(pairs, dtype=np.int8), tables.DIRECTIONS),
            "closed_by": tables.places_in(np.zeros(pairs, dtype=np.int8), tables.CLOSED_BY),
            "missing_bytes": tables.ints(np.zeros(pairs, dtype=np.int64)),
            "encrypted_messages": tables.ints(np.zeros(pairs, dtype=np.int64)),
            "compressed_messages": tables.ints(np.zeros(pairs, dtype=np.int64)),
        },
        pairs,
    )
    made["sessions"] = tables.table(
        "sessions",
        whose
        | {
            "session_key": tables.ints(key),
            "session_no": tables.ints(key),
            "connection_id": tables.ints(key),
            "frame": tables.ints(key * 40 + 8),
            "answer_frame": tables.ints(key * 40 + 9),
            "answer_capture": whose["capture"],
            "started": tables.times(started),
            "asked": _category(pairs, "anonymous", tables.ASKED),
            "identity": _category(pairs, "anonymous", tables.IDENTITY),
            "confidence": _category(pairs, "certain", tables.CONFIDENCE),
            "outcome": _category(pairs, "accepted", tables.OUTCOME),
            "status": _constant(pairs, "STATUS_SUCCESS"),
            "other_operations": tables.ints(np.zeros(pairs, dtype=np.int64)),
            "encrypted_messages": tables.ints(np.zeros(pairs, dtype=np.int64)),
        },
        pairs,
    )
    share = np.where(random.random(pairs) < 0.95, 0, random.integers(1, len(SHARES), pairs))
    made["trees"] = tables.table(
        "trees",
        {
            "tree_key": tables.ints(key),
            "session_key": tables.ints(key),
            "connection_id": tables.ints(key),
            "capture": whose["capture"],
            "frame": tables.ints(key * 40 + 10),
            "answer_frame": tables.ints(key * 40 + 11),
            "time": tables.times(started + 1),
            "share": _texts(share, list(SHARES)),
            "kind": tables.places_in(np.where(share == 0, 2, 1).astype(np.int8), tables.TREE_KIND),
            "status": _constant(pairs, "STATUS_SUCCESS"),
        },
        pairs,
    )
    _calls(made, random, started, share, uses)
    made["hosts"] = tables.table(
        "hosts",
        {
            "ip": _texts(np.arange(servers), _server_addresses(servers)),
            "site": _constant(servers, ""),
            "name": _texts(np.arange(servers), [f"SRV{n:04}" for n in range(servers)]),
            "os_hint": tables.listed([SYSTEMS[n % len(SYSTEMS)] for n in range(servers)]),
            "shared": tables.bools(np.zeros(servers, dtype=bool)),
        },
        servers,
    )
    return Analysis(made, {}, {"engine": "made", "ports": [445], "detail": "default"})


def _calls(made: dict[str, pa.Table], random: np.random.Generator, started: Ints, share: Ints, uses: int) -> None:
    """Opens of pipes on the sessions that have IPC$, and calls through them."""
    on_ipc = np.flatnonzero(share == 0)
    opens = min(3 * len(on_ipc), max(1, uses))
    tree = np.sort(on_ipc[random.integers(0, len(on_ipc), opens)])
    first = random.integers(0, len(OPERATIONS), opens)
    pipes = list(dict.fromkeys(pipe for pipe, _, _ in OPERATIONS))
    pipe_of = np.array([pipes.index(pipe) for pipe, _, _ in OPERATIONS])
    refused = random.random(opens) < 0.02
    status = _texts(refused.astype(np.int64), ["STATUS_SUCCESS", "STATUS_ACCESS_DENIED"])
    number = np.arange(opens)
    made["pipe_opens"] = tables.table(
        "pipe_opens",
        {
            "open_key": tables.ints(number),
            "tree_key": tables.ints(tree),
            "session_key": tables.ints(tree),
            "connection_id": tables.ints(tree),
            "capture": _constant(opens, CAPTURE),
            "frame": tables.ints(tree * 40 + 12),
            "answer_frame": tables.ints(tree * 40 + 13),
            "opened": tables.times(started[tree] + 2),
            "pipe": _texts(pipe_of[first], pipes),
            "via": _category(opens, "create", tables.VIA),
            "status": status,
            "bytes_written": tables.ints(np.where(refused, 0, 500)),
            "bytes_read": tables.ints(np.where(refused, 0, 500)),
        },
        opens,
    )
    # Of each open the calls are of one pipe; which of its operations, is drawn.
    usable = np.flatnonzero(~refused)
    of = np.sort(usable[random.integers(0, len(usable), uses)])
    same = [np.flatnonzero(pipe_of == pipe) for pipe in range(len(pipes))]
    widest = max(map(len, same))
    choice = np.array([np.resize(places, widest) for places in same])
    operation = choice[pipe_of[first[of]], random.integers(0, widest, uses)]
    number_of = {row["name"]: int(row["opnum"]) for row in rpc_operations()}
    class_of = {row["name"]: row["class"] for row in rpc_operations()}
    result = np.full(uses, tables.CALL_RESULT.index("worked"), dtype=np.int8)
    result[random.random(uses) < 0.01] = tables.CALL_RESULT.index("refused")
    made["calls"] = tables.table(
        "calls",
        {
            "call_key": tables.ints(np.arange(uses)),
            "open_key": tables.ints(of),
            "tree_key": tables.ints(tree[of]),
            "session_key": tables.ints(tree[of]),
            "connection_id": tables.ints(tree[of]),
            "capture": _constant(uses, CAPTURE),
            "frame": tables.ints(tree[of] * 40 + 16),
            "answer_frame": tables.ints(tree[of] * 40 + 17),
            "time": tables.times(started[tree[of]] + 3),
            "protocol": _category(uses, "dcerpc", tables.CALL_PROTOCOL),
            "pipe": _texts(pipe_of[operation], pipes),
            "interface": _texts(operation, [interface for _, interface, _ in OPERATIONS]),
            "operation": _texts(operation, [name for _, _, name in OPERATIONS]),
            "operation_class": _texts(operation, [class_of.get(name, "other") for _, _, name in OPERATIONS]),
            "opnum": tables.ints(np.array([number_of.get(name, 0) for _, _, name in OPERATIONS])[operation]),
            "answered": tables.bools(np.ones(uses, dtype=bool)),
            "result": tables.places_in(result, tables.CALL_RESULT),
            "status_of": _category(uses, "stub", tables.STATUS_OF),
        },
        uses,
    )


def _server_addresses(servers: int) -> list[str]:
    return [f"192.168.{n >> 8}.{n & 255}" for n in range(servers)]


def _texts(places: npt.NDArray[Any], values: list[str]) -> pa.Array:
    return tables.coded(places.astype(np.int32), tables.strings(values))


def _constant(length: int, text: str) -> pa.Array:
    return _texts(np.zeros(length, dtype=np.int64), [text])


def _category(length: int, value: str, kind: tuple[str, ...]) -> pa.Array:
    return tables.places_in(np.full(length, kind.index(value), dtype=np.int8), kind)


def main(arguments: list[str]) -> int:
    """Write the tables of a site as Parquet files."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tables", description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    for name, default in (("clients", 10_000), ("servers", 500), ("uses", 1_000_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args(arguments)
    from pyarrow import parquet  # noqa: PLC0415 - only here

    made = site(chosen.clients, chosen.servers, chosen.uses)
    chosen.directory.mkdir(parents=True, exist_ok=True)
    for name in tables.TABLES:
        parquet.write_table(made.arrow(name), chosen.directory / f"{name}.parquet")
        print(f"{name}: {len(made.arrow(name))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
