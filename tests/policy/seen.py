"""Small tables of what was seen, as an analysis would hold them: a line a dependency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from analyzer import tables
from analyzer.policy import NEEDED, Policy
from analyzer.policy.settings import Given

DAY_NS = 1_767_225_600 * 10**9
SYSTEMS = {
    "2003": "Windows Server 2003 3790 Service Pack 2 / Windows Server 2003 5.2",
    "2008": "NTLM version 6.0.6003",
    "2008r2": "NTLM version 6.1.7601",
    "2012r2": "NTLM version 6.3.9600",
    "2016": "NTLM version 10.0.14393",
    "samba": "Windows 6.1 / Samba 4.17.12-Debian; NTLM version 6.1.0",
    "": None,
}


def use(
    resource: str | None,
    operation: str | None = None,
    *,
    client: str = "10.0.0.1",
    server: str = "192.168.0.1",
    interface: str | None = None,
    identity: str = "anonymous",
    verdict: str = "depends",
    refused_at: str | None = None,
    application: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """One row of `dependencies`. What is refused is so at `refused_at`."""
    denied = verdict == "denied"
    return {
        "site": "", "client_ip": client, "server_ip": server, "application": application, "resource": resource,
        "interface": interface, "operation": operation, "identity": identity, "verdict": verdict, "uses": 1,
        "succeeded": int(not denied and verdict != "probe"), "denied": int(denied), "excluded": False,
        "refused_at": refused_at, "client_software": None, "capture": "made.pcap", "frame": 7,
    } | more  # fmt: skip


def call(pipe: str, operation: str, **more: Any) -> dict[str, Any]:
    """A call through a pipe that carries the interface of its name."""
    return use(pipe, operation, **({"interface": pipe} | more))


def seen(
    *uses: Mapping[str, Any],
    system: str = "2008r2",
    systems: Mapping[str, str] | None = None,
    dialect: str | None = "3.1.1",
    shares: Sequence[str] = ("PUBLIC", "SCANS", "COMCFG", "SYSVOL"),
    opens: Sequence[Mapping[str, Any]] = (),
    asked: str = "anonymous",
    **more: pa.Table,
) -> dict[str, pa.Table]:
    """The tables that a replay looks at. Each pair of client and server has one connection and one session.

    systems: what servers say that they are, by address, if not `system`; opens: rows of `pipe_opens`, with `server`.
    """
    pairs = list(dict.fromkeys((row["client_ip"], row["server_ip"]) for row in uses))
    addresses = list(dict.fromkeys(server for _, server in pairs))
    made = {name: tables.empty(name) for name in NEEDED}
    keys = list(range(len(pairs)))
    of_pairs = {
        "site": [""] * len(pairs),
        "client_ip": [client for client, _ in pairs],
        "server_ip": [server for _, server in pairs],
        "connection_id": keys,
    }
    made["connections"] = tables.table("connections", of_pairs | {"dialect": [dialect] * len(pairs)}, len(pairs))
    identity = {(row["client_ip"], row["server_ip"]): row["identity"] for row in uses}
    made["sessions"] = tables.table(
        "sessions",
        of_pairs | {"session_key": keys, "identity": [identity[pair] for pair in pairs], "asked": [asked] * len(pairs)},
        len(pairs),
    )
    made["trees"] = tables.table("trees", {"share": list(shares), "kind": ["disk"] * len(shares)}, len(shares))
    made["pipe_opens"] = tables.table(
        "pipe_opens",
        {
            name: [row.get(name) for row in opens]
            for name in (
                "open_key",
                "session_key",
                "connection_id",
                "pipe",
                "via",
                "status",
                "opened",
                "secondary_address",
                "bytes_written",
                "bytes_read",
                "form",
            )
        },
        len(opens),
    )
    hints = [SYSTEMS[(systems or {}).get(address, system)] for address in addresses]
    made["hosts"] = tables.table(
        "hosts", {"site": [""] * len(addresses), "ip": addresses, "os_hint": hints}, len(addresses)
    )
    columns = {name: [row.get(name) for row in uses] for name in uses[0]} if uses else {}
    made["dependencies"] = tables.table("dependencies", columns, len(uses))
    return made | more


def opened(
    pipe: str, *, second: int = 0, status: str = "STATUS_SUCCESS", via: str = "create", pair: int = 0, **more: Any
) -> dict[str, Any]:
    """One row of `pipe_opens`, in the session of a pair of client and server."""
    return {
        "session_key": pair, "connection_id": pair, "pipe": pipe, "via": via, "status": status,
        "opened": DAY_NS + second * 10**9,
    } | more  # fmt: skip


def policy(family: str = "windows", shares: Mapping[str, Mapping[str, Any]] | None = None, **settings: Any) -> Policy:
    """A policy. Names of Samba's settings are written with underscores."""
    prefix = "samba:" if family == "samba" else ""
    made = {
        prefix + (name.replace("_", " ") if prefix else name): Given(value, "test") for name, value in settings.items()
    }
    options = {
        share: {name.replace("_", " "): Given(value, "test") for name, value in given.items()}
        for share, given in (shares or {}).items()
    }
    return Policy(family, made, options)
