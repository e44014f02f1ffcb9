"""Counts by client, by server, by pipe and by hour."""

from __future__ import annotations

import pandas as pd

from analyzer import knowledge, tables
from analyzer.summary.naming import names_at
from analyzer.tables import TableSet


def clients(rows: TableSet) -> pd.DataFrame:
    """One row a client."""
    return _by_host("client_ip", "server_ip", rows)


def servers(rows: TableSet) -> pd.DataFrame:
    """One row a server."""
    made = _by_host("server_ip", "client_ip", rows)
    connections = rows.frame("connections", "site", "server_ip", "dialect")
    by = connections.groupby(["site", "server_ip"])
    spoken = (
        connections.dropna(subset="dialect")
        .drop_duplicates(["site", "server_ip", "dialect"])
        .sort_values("dialect")
        .groupby(["site", "server_ip"])["dialect"]
        .agg("|".join)
    )
    index = pd.MultiIndex.from_frame(made[["site", "server_ip"]])
    made["connections"] = by.size().reindex(index, fill_value=0).to_numpy()
    made["dialects"] = spoken.reindex(index).to_numpy()
    return made


def _by_host(mine: str, theirs: str, rows: TableSet) -> pd.DataFrame:
    sessions = rows.frame("sessions", "site", mine, theirs, "session_key", "started", "identity")
    by = sessions.groupby(["site", mine], sort=True)
    made = by.agg(
        **{
            theirs.removesuffix("_ip") + "s": (theirs, "nunique"),
            "sessions": ("session_key", "size"),
            "first_seen": ("started", "min"),
            "last_seen": ("started", "max"),
        }
    )
    counts = sessions.groupby(["site", mine, "identity"], observed=False).size().unstack(fill_value=0)
    verdicts = (
        rows.frame("dependencies", "site", mine, "verdict")
        .groupby(["site", mine, "verdict"], observed=False)
        .size()
        .unstack(fill_value=0)
    )
    for identity in tables.IDENTITY:
        made[identity] = counts[identity].reindex(made.index, fill_value=0) if identity in counts else 0
    for verdict in tables.VERDICT:
        made[f"rows_{verdict}"] = verdicts[verdict].reindex(made.index, fill_value=0) if verdict in verdicts else 0
    made = made.reset_index()
    made[mine.removesuffix("_ip")] = names_at(made, mine, "last_seen", rows)
    return made


def pipes(rows: TableSet) -> pd.DataFrame:
    """One row a pipe of a server, whoever opened it."""
    sessions = rows.frame("sessions", "session_key", "site", "client_ip", "server_ip", "identity")
    opens = rows.frame("pipe_opens", "open_key", "session_key", "pipe", "status", "bytes_written", "bytes_read")
    opens = opens.merge(sessions, on="session_key", how="inner")
    opens = opens[~opens["identity"].isin(["user", "machine", "authenticated"])]
    refused = {knowledge.status_names(kind)[code] for kind, code in knowledge.refusals("open")}
    opens = opens.assign(
        ok=(opens["status"] == "STATUS_SUCCESS").fillna(False).astype(int),
        no=opens["status"].isin(refused).astype(int),
        anonymous_client=opens["client_ip"].where(opens["identity"] == "anonymous"),
    )
    key = ["site", "pipe", "server_ip"]
    counted = opens.groupby(key).agg(
        opens=("open_key", "size"),
        succeeded=("ok", "sum"),
        denied=("no", "sum"),
        anonymous_clients=("anonymous_client", "nunique"),
        bytes_written=("bytes_written", "sum"),
        bytes_read=("bytes_read", "sum"),
    )
    uses = rows.frame("credentialed_uses", "site", "server_ip", "resource", "uses").rename(columns={"resource": "pipe"})
    uses = uses[uses["pipe"].isin(set(opens["pipe"].dropna()) | knowledge.pipe_names())]
    with_credentials = uses.groupby(key)["uses"].sum().rename("credentialed_uses")
    made = counted.join(with_credentials, how="outer").fillna(0).sort_index().reset_index()
    purposes = {row["pipe"]: row["purpose"] for row in knowledge.rows("pipes")}
    made["purpose"] = made["pipe"].map(purposes)
    return made


def timeline(rows: TableSet) -> pd.DataFrame:
    """One row an hour, server and identity."""
    sessions = rows.frame("sessions", "session_key", "site", "started", "server_ip", "client_ip", "identity")
    sessions = sessions.dropna(subset="started")
    opened = rows.frame("pipe_opens", "session_key").groupby("session_key").size().rename("pipe_opens")
    sessions = sessions.join(opened, on="session_key")
    sessions = sessions.assign(hour=sessions["started"].dt.floor("h"), pipe_opens=sessions["pipe_opens"].fillna(0))
    return (
        sessions.groupby(["site", "hour", "server_ip", "identity"], observed=True, sort=True)
        .agg(sessions=("session_key", "size"), clients=("client_ip", "nunique"), pipe_opens=("pipe_opens", "sum"))
        .reset_index()
    )
