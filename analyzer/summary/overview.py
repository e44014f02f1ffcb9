"""Counts by client, by server, by pipe and by hour."""

from __future__ import annotations

import pandas as pd

from analyzer import knowledge, tables

Frames = dict[str, pd.DataFrame]


def clients(rows: Frames, dependencies: pd.DataFrame) -> pd.DataFrame:
    """One row a client."""
    return _by_host("clients", "client_ip", "server_ip", rows, dependencies)


def servers(rows: Frames, dependencies: pd.DataFrame) -> pd.DataFrame:
    """One row a server."""
    made = _by_host("servers", "server_ip", "client_ip", rows, dependencies)
    connections = rows["connections"]
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
    return tables.frame("servers", dict(made.items()), len(made))


def _by_host(name: str, mine: str, theirs: str, rows: Frames, dependencies: pd.DataFrame) -> pd.DataFrame:
    sessions = rows["sessions"]
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
    verdicts = dependencies.groupby(["site", mine, "verdict"], observed=False).size().unstack(fill_value=0)
    for identity in tables.IDENTITY:
        made[identity] = counts[identity].reindex(made.index, fill_value=0) if identity in counts else 0
    for verdict in tables.VERDICT:
        made[f"rows_{verdict}"] = verdicts[verdict].reindex(made.index, fill_value=0) if verdict in verdicts else 0
    names = rows["hosts"].drop_duplicates(["site", "ip"]).set_index(["site", "ip"])["name"]
    made[mine.removesuffix("_ip")] = names.reindex(made.index.set_names(["site", "ip"])).to_numpy()
    made = made.reset_index()
    return tables.frame(name, dict(made.items()), len(made)) if name == "clients" else made


def pipes(rows: Frames) -> pd.DataFrame:
    """One row a pipe of a server, whoever opened it."""
    sessions = rows["sessions"][["session_key", "site", "client_ip", "server_ip", "identity"]]
    opens = rows["pipe_opens"].merge(sessions, on="session_key", how="inner")
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
    uses = rows["credentialed_uses"].rename(columns={"resource": "pipe"})
    uses = uses[uses["pipe"].isin(set(opens["pipe"].dropna()) | knowledge.pipe_names())]
    with_credentials = uses.groupby(key)["uses"].sum().rename("credentialed_uses")
    made = counted.join(with_credentials, how="outer").fillna(0).sort_index().reset_index()
    purposes = {row["pipe"]: row["purpose"] for row in knowledge.rows("pipes")}
    made["purpose"] = made["pipe"].map(purposes)
    return tables.frame("pipes", dict(made.items()), len(made))


def timeline(rows: Frames) -> pd.DataFrame:
    """One row an hour, server and identity."""
    sessions = rows["sessions"].dropna(subset="started")
    opened = rows["pipe_opens"].groupby("session_key").size().rename("pipe_opens")
    sessions = sessions.join(opened, on="session_key")
    sessions = sessions.assign(hour=sessions["started"].dt.floor("h"), pipe_opens=sessions["pipe_opens"].fillna(0))
    made = (
        sessions.groupby(["site", "hour", "server_ip", "identity"], observed=True, sort=True)
        .agg(sessions=("session_key", "size"), clients=("client_ip", "nunique"), pipe_opens=("pipe_opens", "sum"))
        .reset_index()
    )
    made["identity"] = made["identity"].astype(object)
    return tables.frame("timeline", dict(made.items()), len(made))
