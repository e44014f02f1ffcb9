"""What was done in the sessions that null-session dependencies are made of: one row a use, with how it came out.

Looked at is every session that asked to be anonymous, or whose identity is anonymous, guest, refused as anonymous, or not
known. A use is the smallest thing of which it is known how it came out: a call; a bind through which nothing was called; an
open of a pipe through which nothing was bound; a share; where nothing was done the session itself.

A use is denied only if its answer is in the list of access refusals; any other answer means that the service was reached,
so it counts as worked: a wrong "not needed" breaks a network, a wrong "needed" costs a question. Which sign counts as what
stands in the table of `summary.rules`; here the signs are looked for.

All of it works on numbers: texts as codes of the set's texts, categories as places in their kind; missing is below zero.
"""

from __future__ import annotations

import numpy as np

from analyzer import knowledge, tables
from analyzer.groups import Groups, Mask, Numbers, combined, looked_up, places, places_of
from analyzer.sessions.joins import NONE, Ints
from analyzer.summary.rules import DENIED, judged
from analyzer.tables import Columns, TableSet

ANONYMOUS, GUEST, UNKNOWN_IDENTITY, ANONYMOUS_REJECTED = (
    tables.IDENTITY.index(name) for name in ("anonymous", "guest", "unknown", "anonymous_rejected")
)
ASKED_ANONYMOUS = tables.ASKED.index("anonymous")
ACCEPTED, REFUSED, UNANSWERED, ABANDONED = (
    tables.OUTCOME.index(name) for name in ("accepted", "refused", "unanswered", "abandoned")
)
WEAK, STRONG, CERTAIN = range(len(tables.CONFIDENCE))
PIPE = tables.TREE_KIND.index("pipe")
FSCTL = tables.CALL_PROTOCOL.index("fsctl")
PRIVACY = 6
"""RPC_C_AUTHN_LEVEL_PKT_PRIVACY: the arguments and the answer are encrypted."""
SESSION_SETUP, TREE_CONNECT, OPEN, BIND, FAULT, STUB = range(len(tables.RUNG))
UNANSWERED_CALL, CALL_WORKED, CALL_FAILED, CALL_REFUSED, NOT_TOLD = range(len(tables.CALL_RESULT))
DCERPC = tables.CALL_PROTOCOL.index("dcerpc")
SECOND_NS = 1_000_000_000
REGULAR_PROBES = 4
REGULAR_AT_LEAST_NS = 60 * SECOND_NS

_OF_SESSIONS = (
    "session_key", "connection_id", "site", "client_ip", "server_ip", "capture", "frame", "answer_frame", "started",
    "asked", "identity", "confidence", "evidence", "outcome", "status", "other_operations",
)  # fmt: skip
_OF_THINGS = ("session_key", "connection_id", "capture", "frame", "answer_frame", "status")
_OF_USES = (
    "site", "client_ip", "server_ip", "resource", "interface", "operation", "session_key", "connection_id", "identity",
    "outcome", "rung", "confidence", "session_evidence", "evidence", "reason", "missing", "rpc_auth", "time", "capture",
    "frame",
)  # fmt: skip


def uses(rows: TableSet, given_up: bool = False) -> Columns:
    """What was done in the sessions of interest: `_OF_USES`, one row a use. Texts are codes of `rows.texts`.

    given_up: some of what went through pipes was dropped at a bound, and it is not known of which.
    """
    sessions = rows.columns("sessions", *_OF_SESSIONS)
    sessions = those(sessions, _is_of_interest(sessions))
    # What is asked for in a session whose login was refused fails for that reason, so the refused login stands for it.
    whose = those(sessions, sessions["outcome"] != REFUSED)
    connections = _Connections(rows)
    parts = [
        _pipe_uses(rows, whose, connections, given_up),
        _bind_uses(rows, whose, connections),
        _disk_uses(rows, whose, connections),
        _ipc_uses(rows, whose, connections),
        _call_uses(rows, whose, connections),
    ]
    busy = np.concatenate(
        [rows.columns("pipe_opens", "session_key")["session_key"], *[p["session_key"] for p in parts]]
    )
    parts.append(_session_uses(those(sessions, ~np.isin(sessions["session_key"], busy)), rows, connections))
    return {name: smaller(name, np.concatenate([part.pop(name) for part in parts])) for name in _OF_USES}


WIDE = ("session_key", "connection_id", "time", "frame", "first_seen", "last_seen")


def smaller(name: str, column: Numbers) -> Numbers:
    """A column as it is kept: codes and places in half of the memory."""
    return column if name in WIDE or column.dtype == bool else column.astype(np.int32)


def _is_of_interest(sessions: Columns) -> Mask:
    """True for the sessions that null-session dependencies are made of."""
    looked_at = (ANONYMOUS, GUEST, ANONYMOUS_REJECTED, UNKNOWN_IDENTITY)
    found: Mask = np.isin(sessions["identity"], looked_at) | (sessions["asked"] == ASKED_ANONYMOUS)
    return found


def those(columns: Columns, which: Mask | Ints) -> Columns:
    return {name: column[which] for name, column in columns.items()}


def _is_refused(status: Numbers, rung: str, rows: TableSet) -> Mask:
    """True where a status means on this rung that access was refused."""
    names = {knowledge.status_names(kind)[code] for kind, code in knowledge.refusals(rung)}
    return np.isin(status, [rows.texts.code(name) for name in names])


class _Connections:
    """What is asked about connections, by their id."""

    def __init__(self, rows: TableSet) -> None:
        found = rows.columns(
            "connections", "connection_id", "site", "client_ip", "server_ip", "missing_bytes", "directions", "closed_by",
            "midstream", "encrypted_messages", "compressed_messages",
        )  # fmt: skip
        self._found = found
        self._without_gaps = (found["missing_bytes"] == 0) & (found["directions"] == tables.DIRECTIONS.index("both"))
        self._encrypted = found["encrypted_messages"] > 0
        self._compressed = found["compressed_messages"] > 0
        self._by_server = found["closed_by"] == tables.CLOSED_BY.index("server")
        self._whole = self._without_gaps & (found["closed_by"] >= 0) & ~found["midstream"]

    def rows(self, connection_id: Numbers) -> Ints:
        return places(connection_id, self._found["connection_id"])

    def text(self, name: str, connection_id: Numbers) -> Numbers:
        """The code of a text of theirs."""
        return looked_up(self._found[name], self.rows(connection_id), NONE)

    def are_without_gaps(self, connection_id: Numbers) -> Mask:
        """True where a connection was captured in both directions and without loss."""
        return looked_up(self._without_gaps, self.rows(connection_id), False)

    def are_whole(self, connection_id: Numbers) -> Mask:
        """True where all of a connection was captured, to its end: what is not there was not sent."""
        return looked_up(self._whole, self.rows(connection_id), False)

    def have_encrypted(self, connection_id: Numbers) -> Mask:
        """True where some messages of a connection could not be looked into."""
        return looked_up(self._encrypted, self.rows(connection_id), False)

    def have_compressed(self, connection_id: Numbers) -> Mask:
        """True where some messages of a connection are not unpacked."""
        return looked_up(self._compressed, self.rows(connection_id), False)

    def were_closed_by_server(self, connection_id: Numbers) -> Mask:
        return looked_up(self._by_server, self.rows(connection_id), False)


def _what_is_missing(sessions: Columns, rows: TableSet) -> Numbers:
    """Why it is not known who a session was for; missing where it is."""
    outcome = sessions["outcome"]
    text = choose(
        "the login is not in the captures",
        rows,
        (outcome == ABANDONED, "who the login was for is not in the captures"),
        (outcome == UNANSWERED, "the answer to the login is not in the captures"),
        (outcome == ACCEPTED, "the login was accepted, and does not show whether it was anonymous"),
    )
    return np.where(sessions["identity"] == UNKNOWN_IDENTITY, text, NONE)


def _joined(things: Columns, whose: Columns, connections: _Connections, rows: TableSet) -> Columns:
    """Things done, with whose session it was. Without a session the connection tells client and server."""
    session = places(things["session_key"], whose["session_key"])
    known = np.flatnonzero(session >= 0)
    session = session[known]
    of_session = {
        "site": whose["site"][session],
        "client_ip": whose["client_ip"][session],
        "server_ip": whose["server_ip"][session],
        "identity": whose["identity"][session],
        "session_confidence": whose["confidence"][session],
        "session_evidence": whose["evidence"][session],
        "missing": _what_is_missing(whose, rows)[session],
    }
    lost = np.flatnonzero(things["session_key"] < 0)
    lost = lost[connections.rows(things["connection_id"][lost]) >= 0]
    of_connection = {
        **{name: connections.text(name, things["connection_id"][lost]) for name in ("site", "client_ip", "server_ip")},
        "identity": np.full(len(lost), UNKNOWN_IDENTITY),
        "session_confidence": np.full(len(lost), NONE),
        "session_evidence": np.full(len(lost), rows.texts.code("session.not_known")),
        "missing": np.full(len(lost), rows.texts.code("whose session it was is not in the captures")),
    }
    joined = {name: np.concatenate([column, of_connection[name]]) for name, column in of_session.items()}
    return joined | those(things, np.concatenate([known, lost]))


def _made(
    things: Columns,
    *,
    resource: Numbers,
    outcome: Numbers,
    rung: int | Numbers,
    confidence: Numbers,
    evidence: Numbers,
    reason: Numbers,
    time: Numbers,
    interface: Numbers | None = None,
    operation: Numbers | None = None,
    rpc_auth: Numbers | None = None,
) -> Columns:
    nothing = np.full(len(outcome), NONE, dtype=np.int64)
    made = things | {
        "resource": resource,
        "interface": nothing if interface is None else interface,
        "operation": nothing if operation is None else operation,
        "rpc_auth": nothing if rpc_auth is None else rpc_auth,
        "outcome": outcome,
        "rung": np.full(len(outcome), rung),
        # The lesser of two confidences; missing counts as weak.
        "confidence": np.maximum(np.minimum(confidence, things["session_confidence"]), WEAK),
        "evidence": evidence,
        "reason": reason,
        "missing": np.where(outcome == DENIED, NONE, things["missing"]),
        "time": time,
        "frame": np.where(things["frame"] >= 0, things["frame"], things["answer_frame"]),
    }
    return {name: made[name] for name in _OF_USES}


def choose(default: str, rows: TableSet, *cases: tuple[Mask, str]) -> Numbers:
    """The code of the text of the first case that holds, for each row."""
    return first_that_holds(rows.texts.code(default), *[(holds, rows.texts.code(text)) for holds, text in cases])


def first_that_holds(default: int, *cases: tuple[Mask, int]) -> Numbers:
    """The number of the first case that holds, for each row."""
    return np.select([holds for holds, _ in cases], [np.int64(number) for _, number in cases], np.int64(default))


def _pipe_uses(rows: TableSet, whose: Columns, connections: _Connections, given_up: bool) -> Columns:
    """Opens of pipes through which nothing was bound or called, as far as is known."""
    opens = rows.columns(
        "pipe_opens", *_OF_THINGS, "open_key", "opened", "pipe", "inferred", "bytes_written", "bytes_read", "form"
    )
    calls = rows.columns("calls", "open_key", "result")
    decoded = np.isin(opens["open_key"], np.append(calls["open_key"], rows.columns("binds", "open_key")["open_key"]))
    # Where all that was seen was refused, and something was lost, that may have been what worked.
    hopeful = calls["open_key"][calls["result"] != CALL_REFUSED]
    incomplete = decoded & ~np.isin(opens["open_key"], hopeful) & np.isin(opens["open_key"], calls["open_key"])
    incomplete &= ~connections.are_without_gaps(opens["connection_id"]) | given_up
    things = _joined(those(opens | {"incomplete": incomplete}, ~decoded | incomplete), whose, connections, rows)
    status, lossy = things["status"], things["incomplete"]
    both_ways = (things["bytes_written"] > 0) & (things["bytes_read"] > 0)
    denied = _is_refused(status, "open", rows) & ~lossy
    success = status == rows.texts.code("STATUS_SUCCESS")
    reused = (status < 0) & (things["inferred"] > 0) & ~both_ways
    unanswered = (status < 0) & ~both_ways & ~reused
    other = both_ways & (things["form"] == tables.PIPE_FORM.index("other"))
    return _made(
        things,
        resource=things["pipe"],
        rung=OPEN,
        time=things["opened"],
        **judged(
            "pipe",
            rows,
            lossy=lossy,
            refused=denied,
            unanswered=unanswered,
            reused=reused,
            not_rpc=other,
            both_ways=both_ways,
            success=success,
        ),
    )


def _bind_uses(rows: TableSet, whose: Columns, connections: _Connections) -> Columns:
    """Interfaces that were bound, or refused, and through which nothing was called: one use for each of a pipe."""
    binds = rows.columns(
        "binds", *_OF_THINGS, "bind_key", "open_key", "pipe", "interface", "time", "result", "auth_type", "auth_level"
    )
    calls = rows.columns("calls", "open_key", "interface", "protocol")
    calls = those(calls, calls["protocol"] == DCERPC)
    used = places_of((binds["open_key"], binds["interface"]), (calls["open_key"], calls["interface"]))
    binds = those(binds, (used < 0) | (binds["open_key"] < 0))
    access = _is_refused(binds["status"], "bind", rows)
    name = {result: place for place, result in enumerate(tables.BIND_RESULT)}
    accepted = np.isin(binds["result"], (name["accepted"], name["not_told"]))
    unanswered = binds["result"] == name["unanswered"]
    # Clients propose the same interface in several forms, of which one is enough.
    rank = first_that_holds(1, (accepted, 0), (unanswered, 2), (access, 3))
    of_pipe = Groups(np.where(binds["open_key"] < 0, -2 - binds["bind_key"], binds["open_key"]), binds["interface"])
    best = np.lexsort((rank, of_pipe.number))[np.cumsum(of_pipe.sizes()) - of_pipe.sizes()]
    things = _joined(
        those(binds | {"accepted": accepted, "access": access, "silent": unanswered}, best), whose, connections, rows
    )
    return _made(
        things,
        resource=_pipe_or_unknown(things["pipe"], rows),
        interface=things["interface"],
        rpc_auth=_rpc_auth(things, rows),
        rung=BIND,
        time=things["time"],
        **judged("bind", rows, refused=things["access"], unanswered=things["silent"], accepted=things["accepted"]),
    )


def _pipe_or_unknown(pipe: Numbers, rows: TableSet) -> Numbers:
    return np.where(pipe >= 0, pipe, rows.texts.code("(pipe not captured)"))


AUTH_TYPES = {9: "SPNEGO", 10: "NTLM", 14: "Schannel", 16: "Kerberos", 68: "Netlogon"}
"""RPC_C_AUTHN_ [MS-RPCE 2.2.1.1.7]"""
AUTH_LEVELS = {2: "connect", 3: "call", 4: "packet", 5: "integrity", 6: "privacy"}


def _rpc_auth(things: Columns, rows: TableSet) -> Numbers:
    """Codes of what is said of authentication inside RPC; missing where there is none."""
    kinds = Groups(things["auth_type"], things["auth_level"])
    codes = []
    for row in kinds.first.tolist():
        number, level = int(things["auth_type"][row]), int(things["auth_level"][row])
        text = f"{AUTH_TYPES.get(number, f'type {number}')}, {AUTH_LEVELS.get(level, f'level {level}')}"
        codes.append(rows.texts.code(text) if number > 0 else NONE)
    return np.array(codes, dtype=np.int64)[kinds.number]


def _disk_uses(rows: TableSet, whose: Columns, connections: _Connections) -> Columns:
    trees = rows.columns("trees", *_OF_THINGS, "tree_key", "time", "share", "kind")
    on_disk = (trees["kind"] != PIPE) & (trees["share"] != rows.texts.code("IPC$"))
    things = _joined(those(trees, on_disk), whose, connections, rows)
    counted = rows.columns("disk_opens", "tree_key", "opens", "succeeded", "denied")
    by_tree = Groups(counted["tree_key"])
    tree = places(things["tree_key"], counted["tree_key"][by_tree.first])
    opens, succeeded, denied = (
        looked_up(by_tree.sums(counted[name]), tree, 0) for name in ("opens", "succeeded", "denied")
    )
    refused_tree = _is_refused(things["status"], "tree_connect", rows)
    refused_files = (opens > 0) & (opens == denied)
    opened = succeeded > 0
    unanswered = (things["status"] < 0) & (opens == 0)
    success = things["status"] == rows.texts.code("STATUS_SUCCESS")
    # A share on which all opens were refused was still connected, and SMB 1 lists folders without opening any.
    return _made(
        things,
        resource=things["share"],
        rung=TREE_CONNECT,
        time=things["time"],
        **judged(
            "disk",
            rows,
            refused=refused_tree,
            files_refused=refused_files,
            opened=opened,
            unanswered=unanswered,
            success=success,
        ),
    )


def _ipc_uses(rows: TableSet, whose: Columns, connections: _Connections) -> Columns:
    """Connects to IPC$ that did not succeed. One that did proves nothing: it nearly always does."""
    trees = rows.columns("trees", *_OF_THINGS, "time", "share", "kind")
    is_ipc = (trees["kind"] == PIPE) | (trees["share"] == rows.texts.code("IPC$"))
    failed = trees["status"] != rows.texts.code("STATUS_SUCCESS")
    # Where pipes were opened, an answer that was not captured must have been a success.
    in_use = np.isin(trees["session_key"], rows.columns("pipe_opens", "session_key")["session_key"])
    told = (trees["status"] >= 0) | ~in_use | (trees["session_key"] < 0)
    things = _joined(those(trees, is_ipc & failed & told), whose, connections, rows)
    denied = _is_refused(things["status"], "tree_connect", rows)
    connection = things["connection_id"]
    dropped = (things["status"] < 0) & connections.were_closed_by_server(connection) & connections.are_whole(connection)
    unanswered = (things["status"] < 0) & ~dropped
    return _made(
        things,
        resource=np.full(len(denied), rows.texts.code("IPC$")),
        rung=TREE_CONNECT,
        time=things["time"],
        **judged("ipc", rows, refused=denied, dropped=dropped, unanswered=unanswered),
    )


def _call_uses(rows: TableSet, whose: Columns, connections: _Connections) -> Columns:
    calls = rows.columns(
        "calls", *_OF_THINGS, "time", "protocol", "opnum", "name", "pipe", "interface", "operation", "result", "status_of",
        "auth_type", "auth_level",
    )  # fmt: skip
    housekeeping = (calls["protocol"] == FSCTL) & np.isin(calls["opnum"], list(knowledge.housekeeping()))
    things = _joined(those(calls, ~housekeeping), whose, connections, rows)
    result, rpc = things["result"], things["protocol"] == DCERPC
    denied, unanswered = result == CALL_REFUSED, result == UNANSWERED_CALL
    sealed = (result == NOT_TOLD) & (things["auth_level"] == PRIVACY)
    hidden = (result == NOT_TOLD) & ~sealed
    failed = result == CALL_FAILED
    authenticated = rpc & (things["auth_type"] > 0)
    of_stub, of_fault = (things["status_of"] == tables.STATUS_OF.index(name) for name in ("stub", "fault"))
    protocols = np.array([rows.texts.code(name) for name in tables.CALL_PROTOCOL])
    resource = np.where(
        things["protocol"] == FSCTL,
        np.where(things["name"] >= 0, things["name"], rows.texts.code("IPC$")),
        looked_up(protocols, things["protocol"], NONE),
    )
    things["session_evidence"] = with_text(
        things["session_evidence"], np.where(authenticated, rows.texts.code("rpc.authenticated"), NONE), rows
    )
    return _made(
        things,
        resource=np.where(rpc, _pipe_or_unknown(things["pipe"], rows), resource),
        interface=things["interface"],
        operation=things["operation"],
        rpc_auth=_rpc_auth(things, rows),
        rung=first_that_holds(OPEN, (of_stub, STUB), (of_fault, FAULT)),
        time=things["time"],
        **judged(
            "call",
            rows,
            refused_by_service=denied & of_stub,
            refused_by_fault=denied & of_fault,
            refused=denied,
            unanswered=unanswered,
            sealed=sealed,
            not_readable=hidden,
            failed=failed,
            worked=result == CALL_WORKED,
        ),
    )


def with_text(texts: Numbers, more: Numbers, rows: TableSet) -> Numbers:
    """Codes of texts followed by others; what is missing or empty is left out."""
    both = Groups(texts, more)
    pool = rows.texts
    codes = [
        pool.code("; ".join(filter(None, (pool.text(one), pool.text(other)))))
        for one, other in zip(texts[both.first].tolist(), more[both.first].tolist(), strict=True)
    ]
    return np.array(codes, dtype=np.int64)[both.number]


def _session_uses(idle: Columns, rows: TableSet, connections: _Connections) -> Columns:
    """What sessions in which nothing was done stand for themselves."""
    trees = rows.columns("trees", "session_key", "kind", "status")
    had_ipc = (trees["kind"] == PIPE) & (trees["status"] == rows.texts.code("STATUS_SUCCESS"))
    had_ipc = np.isin(idle["session_key"], trees["session_key"][had_ipc])
    outcome = idle["outcome"]
    accepted, at_setup, abandoned = outcome == ACCEPTED, outcome == REFUSED, outcome == ABANDONED
    known = np.isin(idle["identity"], (ANONYMOUS, GUEST))
    denied = at_setup & _is_refused(idle["status"], "session_setup", rows)
    others = idle["other_operations"] > 0
    given_up = abandoned & connections.are_whole(idle["connection_id"])
    unused = known & ~others & ~denied
    # What a capture lost, or does not let anybody look into, may have been the use.
    hidden = unused & connections.have_encrypted(idle["connection_id"])
    packed = unused & connections.have_compressed(idle["connection_id"])
    nothing = (unused & ~hidden & ~packed & connections.are_without_gaps(idle["connection_id"])) | given_up
    regular = nothing.copy()
    regular[nothing] = _is_regular(those(idle, nothing))
    things = idle | {
        "session_confidence": idle["confidence"],
        "session_evidence": idle["evidence"],
        "missing": np.full(len(outcome), NONE),
    }
    return _made(
        things,
        resource=np.where(had_ipc, rows.texts.code("IPC$"), NONE),
        rung=SESSION_SETUP,
        time=idle["started"],
        **judged(
            "session",
            rows,
            refused=denied,
            failed=at_setup,
            regular=regular,
            given_up=given_up,
            unused=nothing,
            encrypted=hidden,
            compressed=packed,
            not_captured=unused,
            other_operations=others,
            abandoned=abandoned,
            unanswered=outcome == UNANSWERED,
            unclear=accepted,
        ),
    )


def _is_regular(probes: Columns) -> Mask:
    """True for idle sessions that one client sets up at one server at much the same interval."""
    pair = combined(probes["site"], probes["client_ip"], probes["server_ip"])
    started = probes["started"]
    order = np.lexsort((started, pair))
    by_pair = Groups(pair)
    number = by_pair.number
    gap = np.full(len(pair), NONE, dtype=np.int64)
    follows = (number[order[1:]] == number[order[:-1]]) & (started[order[:-1]] >= 0)
    gap[order[1:][follows]] = started[order[1:][follows]] - started[order[:-1][follows]]
    # The gaps of each pair in order of their size, behind those that are none.
    ordered = gap[np.lexsort((gap, number))]
    none, end = by_pair.sums(gap < 0), np.cumsum(by_pair.sizes())
    gaps = by_pair.sizes() - none
    lower, upper = end - gaps + (gaps - 1) // 2, np.minimum(end - gaps + gaps // 2, len(gap) - 1)
    median = np.where(gaps > 0, (ordered[lower] + ordered[upper]) / 2, np.nan)
    of_pair = median[number]
    steady = ((gap > of_pair * 0.5) & (gap < of_pair * 1.5)) | (gap < 0)
    regular = (median >= REGULAR_AT_LEAST_NS) & (by_pair.sums(steady) / by_pair.sizes() >= 0.75)
    return (regular & (by_pair.sizes() >= REGULAR_PROBES))[number]
