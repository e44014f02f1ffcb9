"""What the captures cannot show: counted, named, per server and in all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from analyzer import tables
from analyzer.groups import Groups, Numbers, looked_up, places, places_of
from analyzer.sessions.joins import NONE, Ints
from analyzer.summary.overview import PROVEN
from analyzer.tables import TableSet

MEANINGS = {
    "seconds_observed": "between the first and the last packet; what runs less often may not have been seen",
    "files_unreadable": "could not be read (further): what they would have shown is missing",
    "truncated_packets": "packets of which only a part was captured: logins in them may be unreadable",
    "dropped_packets": "packets that the capturing machine dropped, by the files' own statistics (few files have any)",
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
    "compressed_messages": "SMB 3 messages that are compressed: they are not unpacked",
    "sessions_unchecked": "anonymous or guest sessions that sign or encrypt, and what that takes is not all in the captures",
    "results_not_decoded": "pipes without proven credentials on which data went both ways, of which no call could be read",
    "calls_not_told": "calls without proven credentials that were answered, and how is encrypted or was not captured",
    "calls_unanswered": "calls without proven credentials whose answer is not in the captures",
    "duplicate_packets": "packets that had been captured before, at another point or twice; counted nowhere else",
    "retransmissions_that_differ": "TCP segments whose bytes are not those of an earlier copy, which counts: damage, or an attack",
    "ip_fragments": "IP fragments, which are put together",
    "datagrams_incomplete": "IP packets in fragments of which one never came: what they carried is missing",
    "fragments_given_up": "IP fragments that contradict themselves or others, or for which there was no room",
    "packets_too_deep": "packets with more headers or tunnels in each other than are followed",
    "unknown_link_packets": "packets of a link type that is not known",
    "bad_packets": "packets whose headers contradict themselves or were cut off",
    "bytes_given_up": "bytes dropped because too much was waiting for lost segments",
    "rows_given_up": "messages dropped because too many came in one segment",
    "trees_forgotten": "trees whose kind was forgotten because a connection had too many",
    "connections_let_go": "connections that were taken for over, since too many were open: those idle for longest",
    "payload_let_go": "bytes of pipes that were not decoded, since too much was waiting for its answer",
    "rpc_given_up": "parts of DCE/RPC that were too many for what one pipe, or all, may take",
    "referrals_given_up": "answers to DFS referrals that name servers for which there was no more room in the table referrals",
    "messages_let_go": "messages whose counterpart was waited for until there was no more room",
    "datagrams_dropped": "datagrams that may name hosts and were not looked into: too many of a kind or of a host, or cut off",
    "datagrams_unreadable": "datagrams that may name hosts and could not be understood",
    "addresses_shared": "addresses with several machines behind them at a time: what one did proves nothing for another",
    "capture_notes_given_up": "names and process notes of capture files that were too many, or could not be understood",
    "lines_unreadable": "lines of tshark that could not be understood: the frames that they told of are missing",
    "frames_unnested": "frames with several messages of which tshark did not say which value belongs to which: they are missing",
    "problems": "places where bytes could not be understood; see the table `problems`",
}


Measure = tuple[str | None, str, int, str]
"""A server (None: of all), what is measured of it, how much it is, and what that means."""


def coverage(rows: TableSet, counts: dict[str, int], logged: Sequence[Measure] = ()) -> pa.Table:
    """One row a measure: of all first, then of each server, then what logs show. counts: by the engine and the reducer."""
    captured = _of_captures(rows, counts)
    if not logged:
        return captured
    server, measure, value, meaning = (list(column) for column in zip(*logged, strict=True))
    further = tables.table(
        "coverage",
        {
            "site": tables.listed([""] * len(logged)),
            "server_ip": tables.listed(server),
            "measure": tables.listed(measure),
            "value": tables.ints(np.array(value), np.zeros(len(value), dtype=bool)),
            "meaning": tables.listed(meaning),
        },
        len(logged),
    )
    return tables.stacked([captured, further])


def _of_captures(rows: TableSet, counts: dict[str, int]) -> pa.Table:
    texts = rows.texts
    site, server, measured = _by_server(rows)
    whole = _of_all(rows) | {name: int(values.sum()) for name, values in measured.items()}
    whole |= {name: counts[name] for name in MEANINGS if name in counts}
    names = np.array([texts.code(name) for name in (*whole, *measured)])
    values = [np.array(list(whole.values()), dtype=np.int64), np.stack(list(measured.values()), axis=1).reshape(-1)]
    measure = np.append(names[: len(whole)], np.tile(names[len(whole) :], len(server)))
    meanings = {texts.code(name): meaning for name, meaning in MEANINGS.items()}
    return tables.table(
        "coverage",
        {
            "site": tables.texts(_behind(texts.code(""), whole, site, measured), texts),
            "server_ip": tables.texts(_behind(NONE, whole, server, measured), texts),
            "measure": tables.texts(measure, texts),
            "value": tables.ints(np.concatenate(values), np.zeros(len(measure), dtype=bool)),
            "meaning": tables.formatted(measure, meanings.get),
        },
        len(measure),
    )


def overall(made: pa.Table) -> dict[str, int]:
    """The measures of all, of a table of `coverage`."""
    everything = zip(*(made[name].to_pylist() for name in ("server_ip", "measure", "value")), strict=True)
    return {measure: value for server, measure, value in everything if server is None}


def _behind(first: int, whole: dict[str, int], servers: Numbers, measured: dict[str, Ints]) -> Ints:
    """What the rows of all have in a column, and behind it what those of each server have."""
    return np.append(np.full(len(whole), first), np.repeat(servers, len(measured)))


def _of_all(rows: TableSet) -> dict[str, int]:
    captures = rows.columns("captures", "first_seen", "last_seen", "errors", "truncated_packets", "dropped_packets")
    first = captures["first_seen"][captures["first_seen"] >= 0]
    last = captures["last_seen"][captures["last_seen"] >= 0]
    return {
        "seconds_observed": round((int(last.max()) - int(first.min())) / 1e9) if len(first) and len(last) else 0,
        "files_unreadable": int(np.count_nonzero(captures["errors"] >= 0)),
        "truncated_packets": int(np.maximum(captures["truncated_packets"], 0).sum()),
        "dropped_packets": int(np.maximum(captures["dropped_packets"], 0).sum()),
    }


def _by_server(rows: TableSet) -> tuple[Numbers, Numbers, dict[str, Ints]]:
    """Sites and addresses of servers in alphabetical order, and what was measured of them."""
    connections = rows.columns(
        "connections", "site", "server_ip", "midstream", "directions", "missing_bytes", "unparsed_bytes",
        "encrypted_messages", "compressed_messages",
    )  # fmt: skip
    by_server = Groups(*[tables.ranks(connections[name], rows.texts) for name in ("site", "server_ip")])
    one_way = [tables.DIRECTIONS.index(name) for name in ("client", "server")]
    measured = {
        "connections": by_server.sizes(),
        "connections_midstream": by_server.sums(connections["midstream"]),
        "connections_one_way": by_server.sums(np.isin(connections["directions"], one_way)),
        "missing_bytes": by_server.sums(connections["missing_bytes"]),
        "unparsed_bytes": by_server.sums(connections["unparsed_bytes"]),
        "encrypted_messages": by_server.sums(connections["encrypted_messages"]),
        "compressed_messages": by_server.sums(connections["compressed_messages"]),
    }
    site, server = (connections[name][by_server.first] for name in ("site", "server_ip"))
    sessions = rows.columns("sessions", "session_key", "site", "server_ip", "identity", "outcome")
    of_server = places_of((sessions["site"], sessions["server_ip"]), (site, server))
    opens = rows.columns("pipe_opens", "open_key", "session_key", "bytes_written", "bytes_read")
    calls = rows.columns("calls", "open_key", "session_key", "protocol", "result")
    read = np.append(calls["open_key"], rows.columns("binds", "open_key")["open_key"])
    both_ways = (opens["bytes_written"] > 0) & (opens["bytes_read"] > 0) & ~np.isin(opens["open_key"], read)

    def server_of(session_key: Numbers) -> Numbers:
        """The server of a session that is not proven to have credentials."""
        session = places(session_key, sessions["session_key"])
        session = session[~np.isin(looked_up(sessions["identity"], session, NONE), PROVEN)]
        return looked_up(of_server, session, NONE)

    unknown = sessions["identity"] == tables.IDENTITY.index("unknown")
    of_outcome = {
        "sessions_not_captured": "not_captured",
        "sessions_unanswered": "unanswered",
        "sessions_abandoned": "abandoned",
        "sessions_unclear": "accepted",
    }

    def counted(where: Ints) -> Ints:
        return np.bincount(where[where >= 0], minlength=len(server))

    measured["sessions_unknown"] = counted(of_server[unknown])
    for name, outcome in of_outcome.items():
        measured[name] = counted(of_server[unknown & (sessions["outcome"] == tables.OUTCOME.index(outcome))])
    measured["results_not_decoded"] = counted(server_of(opens["session_key"][both_ways]))
    for name, result in (("calls_not_told", "not_told"), ("calls_unanswered", "unanswered")):
        which = calls["result"] == tables.CALL_RESULT.index(result)
        measured[name] = counted(server_of(calls["session_key"][which]))
    return site, server, measured
