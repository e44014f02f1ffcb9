"""What the captures cannot show: counted, named, per server and in all."""

from __future__ import annotations

import pandas as pd

from analyzer.tables import TableSet

MEANINGS = {
    "seconds_observed": "between the first and the last packet; what runs less often may not have been seen",
    "files_unreadable": "could not be read (further): what they would have shown is missing",
    "truncated_packets": "packets of which only a part was captured: logins in them may be unreadable",
    "connections": "TCP connections that may carry SMB",
    "connections_midstream": "began before the captures: their logins were not seen",
    "connections_one_way": "only one direction was captured",
    "missing_bytes": "TCP payload that never came: lost by the capture",
    "unparsed_bytes": "TCP payload passed over in search of the next message",
    "sessions_unknown": "sessions of which it is not known whether they are anonymous",
    "sessions_not_captured": "of these: in use, but their login is not in the captures",
    "sessions_unanswered": "of these: the answer to the login is not in the captures",
    "sessions_abandoned": "of these: the login was begun, and no claim was captured",
    "sessions_unclear": "of these: the login was captured, and does not decide it",
    "encrypted_messages": "SMB 3 messages that could not be looked into",
    "results_not_decoded": "pipes without proven credentials that were opened: what the service answered is not decoded",
    "ip_fragments": "IP fragments, which are not put together",
    "unknown_link_packets": "packets of a link type that is not known",
    "bad_packets": "packets whose headers contradict themselves or were cut off",
    "bytes_given_up": "bytes dropped because too much was waiting for lost segments",
    "rows_given_up": "messages dropped because too many came in one segment",
    "trees_forgotten": "trees whose kind was forgotten because a connection had too many",
    "messages_let_go": "messages whose counterpart was waited for until there was no more room",
    "datagrams_dropped": "datagrams that may name hosts and were not looked into: too many of a kind or of a host, or cut off",
    "datagrams_unreadable": "datagrams that may name hosts and could not be understood",
    "addresses_shared": "addresses with several machines behind them at a time: what one did proves nothing for another",
    "problems": "places where bytes could not be understood; see the table `problems`",
}


def coverage(rows: TableSet, counts: dict[str, int]) -> pd.DataFrame:
    """One row a measure: of all first, then of each server. counts: what the engine and the reducer counted."""
    servers = _by_server(rows)
    whole = _of_all(rows) | {str(name): int(total) for name, total in servers.sum().items()}
    whole |= {name: counts[name] for name in MEANINGS if name in counts}
    measured = [("", None, name, value) for name, value in whole.items()]
    long = servers.stack().reset_index()
    measured += list(long.itertuples(index=False, name=None))
    made = pd.DataFrame(measured, columns=["site", "server_ip", "measure", "value"])
    return made.assign(meaning=made["measure"].map(MEANINGS))


def _of_all(rows: TableSet) -> dict[str, int]:
    captures = rows.frame("captures", "first_seen", "last_seen", "errors", "truncated_packets")
    span = captures["last_seen"].max() - captures["first_seen"].min()
    return {
        "seconds_observed": 0 if pd.isna(span) else round(span.total_seconds()),
        "files_unreadable": int(captures["errors"].notna().sum()),
        "truncated_packets": int(captures["truncated_packets"].sum()),
    }


def _by_server(rows: TableSet) -> pd.DataFrame:
    """Measures as columns, one row a server; index (site, server_ip)."""
    key = ["site", "server_ip"]
    connections = rows.frame(
        "connections", *key, "midstream", "directions", "missing_bytes", "unparsed_bytes", "encrypted_messages"
    )
    of_connections = connections.assign(
        connections=1,
        connections_midstream=connections["midstream"].astype("Int64"),
        connections_one_way=connections["directions"].isin(["client", "server"]).astype("Int64"),
    )
    names = ("connections", "connections_midstream", "connections_one_way", "missing_bytes", "unparsed_bytes")
    counted = of_connections.groupby(key)[[*names, "encrypted_messages"]].sum()
    sessions = rows.frame("sessions", *key, "session_key", "identity", "outcome")
    opens = rows.frame("pipe_opens", "session_key", "status")
    opened = opens.loc[(opens["status"] == "STATUS_SUCCESS").fillna(False), "session_key"]
    per_session = sessions["session_key"].map(opened.value_counts()).fillna(0)
    unknown = sessions["identity"] == "unknown"
    doubtful = ~sessions["identity"].isin(["user", "machine", "authenticated"])
    of_sessions = sessions[key].assign(
        sessions_unknown=unknown.astype("Int64"),
        **{
            f"sessions_{outcome}": (unknown & (sessions["outcome"] == outcome).fillna(False)).astype("Int64")
            for outcome in ("not_captured", "unanswered", "abandoned")
        },
        sessions_unclear=(unknown & (sessions["outcome"] == "accepted").fillna(False)).astype("Int64"),
        results_not_decoded=per_session.where(doubtful, 0).astype("Int64"),
    )
    return counted.join(of_sessions.groupby(key).sum(), how="left").fillna(0).astype("int64")
