"""Who depends on null sessions, on what.

Looks at every session that asked to be anonymous, or whose identity is anonymous, guest, refused as anonymous, or not
known. `uses` lists what was done in them, one row a use with its outcome; `dependencies` groups uses by client, server
and resource and gives each group a verdict:

    depends   it worked anonymously (or as guest)
    unknown   it may have: the capture does not show enough
    covered   it worked, but the same client was also refused it and then succeeded with credentials within 60 s; never
              where several machines share its address
    denied    all uses were refused already
    probe     a session was set up and nothing was done with it

Where several apply the first holds, except that proof of `covered` takes the place of `depends`. A use is denied only
if its answer is in the list of access refusals; any other answer means that the service was reached, so it counts as
worked: a wrong "not needed" breaks a network, a wrong "needed" costs a question. What RPC answered is not decoded yet,
so a pipe that could be opened counts as worked, with confidence weak.

All of it works on numbers: texts as codes of the set's texts, categories as places in their kind; missing is below zero.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analyzer import knowledge, tables
from analyzer.groups import Groups, Mask, Numbers, combined, last_if_missing, looked_up, places, places_of
from analyzer.sessions.joins import NONE, Ints, as_of
from analyzer.summary.naming import is_shared, names_at
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
SESSION_SETUP, TREE_CONNECT, OPEN = (tables.RUNG.index(name) for name in ("session_setup", "tree_connect", "open"))
DEPENDS, UNKNOWN_VERDICT, COVERED, DENIED_ALREADY, PROBE = range(len(tables.VERDICT))

KEY = ("site", "client_ip", "server_ip", "resource")
WORKED, UNKNOWN, DENIED, NOTHING = range(4)
"""How a use came out; nothing: it is the session itself, in which nothing was done."""
SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS
NO_PROOF = "it was also refused and then done with credentials, but several machines share the address"
ROOT_CAUSE_WITHIN_NS = 10 * SECOND_NS
REGULAR_PROBES = 4
REGULAR_AT_LEAST_NS = 60 * SECOND_NS

_OF_SESSIONS = (
    "session_key", "connection_id", "site", "client_ip", "server_ip", "capture", "frame", "answer_frame", "started",
    "asked", "identity", "confidence", "evidence", "outcome", "status", "other_operations",
)  # fmt: skip
_OF_THINGS = ("session_key", "connection_id", "capture", "frame", "answer_frame", "status")
_OF_USES = (
    *KEY, "session_key", "identity", "outcome", "rung", "confidence", "session_evidence", "evidence", "reason",
    "missing", "time", "capture", "frame",
)  # fmt: skip


def dependencies(rows: TableSet) -> pa.Table:
    """The verdicts: key (site, client_ip, server_ip, resource), where a missing resource is a value too."""
    return _verdicts(_grouped(uses(rows), rows), rows)


def uses(rows: TableSet) -> Columns:
    """What was done in the sessions of interest: `_OF_USES`, one row a use. Texts are codes of `rows.texts`."""
    sessions = rows.columns("sessions", *_OF_SESSIONS)
    sessions = _those(sessions, _is_of_interest(sessions))
    # What is asked for in a session whose login was refused fails for that reason, so the refused login stands for it.
    whose = _those(sessions, sessions["outcome"] != REFUSED)
    connections = _Connections(rows)
    parts = [
        _pipe_uses(rows, whose, connections),
        _disk_uses(rows, whose, connections),
        _ipc_uses(rows, whose, connections),
        _call_uses(rows, whose, connections),
    ]
    busy = np.concatenate([part["session_key"] for part in parts])
    parts.append(_session_uses(_those(sessions, ~np.isin(sessions["session_key"], busy)), rows, connections))
    return {name: np.concatenate([part[name] for part in parts]) for name in _OF_USES}


def _is_of_interest(sessions: Columns) -> Mask:
    """True for the sessions that null-session dependencies are made of."""
    looked_at = (ANONYMOUS, GUEST, ANONYMOUS_REJECTED, UNKNOWN_IDENTITY)
    found: Mask = np.isin(sessions["identity"], looked_at) | (sessions["asked"] == ASKED_ANONYMOUS)
    return found


def _those(columns: Columns, which: Mask | Ints) -> Columns:
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
    text = _choose(
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
    return joined | _those(things, np.concatenate([known, lost]))


def _made(
    things: Columns,
    *,
    resource: Numbers,
    outcome: Numbers,
    rung: int,
    confidence: Numbers,
    evidence: Numbers,
    reason: Numbers,
    time: Numbers,
) -> Columns:
    made = things | {
        "resource": resource,
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


def _choose(default: str, rows: TableSet, *cases: tuple[Mask, str]) -> Numbers:
    """The code of the text of the first case that holds, for each row."""
    return _first(rows.texts.code(default), *[(holds, rows.texts.code(text)) for holds, text in cases])


def _first(default: int, *cases: tuple[Mask, int]) -> Numbers:
    """The number of the first case that holds, for each row."""
    return np.select([holds for holds, _ in cases], [np.int64(number) for _, number in cases], np.int64(default))


def _pipe_uses(rows: TableSet, whose: Columns, connections: _Connections) -> Columns:
    opens = rows.columns("pipe_opens", *_OF_THINGS, "opened", "pipe", "inferred", "bytes_written", "bytes_read")
    things = _joined(opens, whose, connections, rows)
    status = things["status"]
    both_ways = (things["bytes_written"] > 0) & (things["bytes_read"] > 0)
    denied = _is_refused(status, "open", rows)
    success = status == rows.texts.code("STATUS_SUCCESS")
    reused = (status < 0) & (things["inferred"] > 0) & ~both_ways
    unanswered = (status < 0) & ~both_ways & ~reused
    return _made(
        things,
        resource=things["pipe"],
        outcome=_first(WORKED, (denied, DENIED), (unanswered, UNKNOWN)),
        rung=OPEN,
        confidence=_first(WEAK, (denied, CERTAIN)),
        evidence=_choose(
            "open.not_refused",
            rows,
            (denied, "open.refused"),
            (unanswered, "open.answer_missing"),
            (reused, "inferred.handle_reuse; result.not_decoded"),
            (both_ways, "data.both_ways; result.not_decoded"),
            (success, "open.success; result.not_decoded"),
        ),
        reason=_choose(
            "the open was answered, and not with a refusal of access",
            rows,
            (denied, "the server refused to open the pipe"),
            (unanswered, "the answer to the open is not in the captures"),
            (reused, "the pipe was opened: its handle was used, though the answer that gave it is not in the captures"),
            (both_ways, "the pipe was opened and data went both ways; what was answered is not decoded"),
            (success, "the pipe was opened"),
        ),
        time=things["opened"],
    )


def _disk_uses(rows: TableSet, whose: Columns, connections: _Connections) -> Columns:
    trees = rows.columns("trees", *_OF_THINGS, "tree_key", "time", "share", "kind")
    on_disk = (trees["kind"] != PIPE) & (trees["share"] != rows.texts.code("IPC$"))
    things = _joined(_those(trees, on_disk), whose, connections, rows)
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
    return _made(
        things,
        resource=things["share"],
        # A share on which all opens were refused was still connected, and SMB 1 lists folders without opening any.
        outcome=_first(WORKED, (refused_tree, DENIED), (unanswered, UNKNOWN)),
        rung=TREE_CONNECT,
        confidence=_first(WEAK, (refused_tree | opened, CERTAIN)),
        evidence=_choose(
            "tree.not_refused",
            rows,
            (refused_tree, "tree.refused"),
            (refused_files, "tree.success; files.refused"),
            (opened, "files.opened"),
            (unanswered, "tree.answer_missing"),
            (success, "tree.success"),
        ),
        reason=_choose(
            "the connect was answered, and not with a refusal of access",
            rows,
            (refused_tree, "the server refused the share"),
            (refused_files, "the share was connected, though every file on it was refused"),
            (opened, "files on the share were opened"),
            (unanswered, "the answer to the tree connect is not in the captures"),
            (success, "the share was connected"),
        ),
        time=things["time"],
    )


def _ipc_uses(rows: TableSet, whose: Columns, connections: _Connections) -> Columns:
    """Connects to IPC$ that did not succeed. One that did proves nothing: it nearly always does."""
    trees = rows.columns("trees", *_OF_THINGS, "time", "share", "kind")
    is_ipc = (trees["kind"] == PIPE) | (trees["share"] == rows.texts.code("IPC$"))
    failed = trees["status"] != rows.texts.code("STATUS_SUCCESS")
    # Where pipes were opened, an answer that was not captured must have been a success.
    in_use = np.isin(trees["session_key"], rows.columns("pipe_opens", "session_key")["session_key"])
    told = (trees["status"] >= 0) | ~in_use | (trees["session_key"] < 0)
    things = _joined(_those(trees, is_ipc & failed & told), whose, connections, rows)
    denied = _is_refused(things["status"], "tree_connect", rows)
    connection = things["connection_id"]
    dropped = (things["status"] < 0) & connections.were_closed_by_server(connection) & connections.are_whole(connection)
    unanswered = (things["status"] < 0) & ~dropped
    return _made(
        things,
        resource=np.full(len(denied), rows.texts.code("IPC$")),
        outcome=_first(UNKNOWN, (denied | dropped, DENIED)),
        rung=TREE_CONNECT,
        confidence=_first(WEAK, (denied, CERTAIN), (dropped, STRONG)),
        evidence=_choose(
            "tree.not_refused",
            rows,
            (denied, "tree.refused"),
            (dropped, "tree.connection_dropped"),
            (unanswered, "tree.answer_missing"),
        ),
        reason=_choose(
            "the connect to IPC$ failed, but not for want of access",
            rows,
            (denied, "the server refused IPC$"),
            (dropped, "the server closed the connection instead of answering the connect to IPC$"),
            (unanswered, "the answer to the connect to IPC$ is not in the captures"),
        ),
        time=things["time"],
    )


def _call_uses(rows: TableSet, whose: Columns, connections: _Connections) -> Columns:
    calls = rows.columns("calls", *_OF_THINGS, "time", "protocol", "opnum", "name", "answered")
    housekeeping = (calls["protocol"] == FSCTL) & np.isin(calls["opnum"], list(knowledge.housekeeping()))
    things = _joined(_those(calls, ~housekeeping), whose, connections, rows)
    denied = _is_refused(things["status"], "call", rows)
    unanswered = ~things["answered"]
    protocols = np.array([rows.texts.code(name) for name in tables.CALL_PROTOCOL])
    resource = np.where(
        things["protocol"] == FSCTL,
        np.where(things["name"] >= 0, things["name"], rows.texts.code("IPC$")),
        looked_up(protocols, things["protocol"], NONE),
    )
    return _made(
        things,
        resource=resource,
        outcome=_first(WORKED, (denied, DENIED), (unanswered, UNKNOWN)),
        rung=OPEN,
        confidence=_first(STRONG, (denied, CERTAIN), (unanswered, WEAK)),
        evidence=_choose("call.answered", rows, (denied, "call.refused"), (unanswered, "call.answer_missing")),
        reason=_choose(
            "an operation on IPC$ was answered, and not with a refusal of access",
            rows,
            (denied, "the server refused the operation"),
            (unanswered, "the answer to the operation is not in the captures"),
        ),
        time=things["time"],
    )


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
    regular[nothing] = _is_regular(_those(idle, nothing))
    things = idle | {
        "session_confidence": idle["confidence"],
        "session_evidence": idle["evidence"],
        "missing": np.full(len(outcome), NONE),
    }
    return _made(
        things,
        resource=np.where(had_ipc, rows.texts.code("IPC$"), NONE),
        outcome=_first(UNKNOWN, (denied, DENIED), (nothing & ~regular, NOTHING)),
        rung=SESSION_SETUP,
        confidence=_first(WEAK, (denied | nothing, CERTAIN)),
        evidence=_choose(
            "login.not_captured",
            rows,
            (denied, "login.refused"),
            (at_setup, "login.failed"),
            (regular, "probe.regular"),
            (given_up, "login.given_up"),
            (nothing, "session.unused"),
            (hidden, "session.encrypted"),
            (packed, "session.compressed"),
            (unused, "session.use_not_captured"),
            (others, "session.other_operations"),
            (abandoned, "login.abandoned"),
            (outcome == UNANSWERED, "login.answer_missing"),
            (accepted, "login.unclear"),
        ),
        reason=_choose(
            "the login is not in the captures",
            rows,
            (denied, "the server refused the anonymous login"),
            (at_setup, "the anonymous login failed, but not for want of access"),
            (regular, "nothing was done in the session, but it is set up regularly: the session itself may be needed"),
            (given_up, "a login was begun, and given up before it said who it was for"),
            (nothing, "the session was set up and nothing was done in it"),
            (hidden, "nothing is seen to be done in the session, but its connection has messages that are encrypted"),
            (packed, "nothing is seen to be done in the session, but its connection has messages that are compressed"),
            (unused, "nothing was seen to be done in the session, but part of its connection is not in the captures"),
            (others, "operations on IPC$ that are not understood were answered"),
            (abandoned, "a login was begun, and who it was for is not in the captures"),
            (outcome == UNANSWERED, "the answer to the login is not in the captures"),
            (accepted, "the login was accepted, and does not show whether it was anonymous"),
        ),
        time=idle["started"],
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


def _grouped(found: Columns, rows: TableSet) -> Columns:
    """One row a key: the use that decides, and how many there were of which kind."""
    by_key = Groups(*[found[name] for name in KEY])
    outcome = found["outcome"]
    anonymous = np.isin(found["identity"], (ANONYMOUS, GUEST))
    worked, denied = outcome == WORKED, outcome == DENIED
    rank = _first(UNKNOWN_VERDICT, (worked & anonymous, DEPENDS), (denied, DENIED_ALREADY), (outcome == NOTHING, PROBE))
    # The use that decides: of the first verdict that applies, the surest, the earliest.
    order = np.lexsort(
        (
            last_if_missing(found["frame"]),
            tables.ranks(found["capture"], rows.texts),
            last_if_missing(found["time"]),
            (by_key.number * len(tables.VERDICT) + rank) * len(tables.CONFIDENCE) + CERTAIN - found["confidence"],
        )
    )
    first = order[np.cumsum(by_key.sizes()) - by_key.sizes()]
    return _those(found, first) | {
        "rank": rank[first],
        "sessions": by_key.different(found["session_key"]),
        "uses": by_key.sizes(),
        "succeeded": by_key.sums(worked),
        "denied": by_key.sums(denied),
        "unknown": by_key.sums((outcome == UNKNOWN) | (worked & ~anonymous)),
        "rung": by_key.most(np.where(denied, found["rung"], NONE)),
        "first_seen": by_key.least(found["time"]),
        "last_seen": by_key.most(found["time"]),
        "active_days": by_key.different(np.where(found["time"] < 0, NONE, found["time"] // DAY_NS)),
    }


def _verdicts(joined: Columns, rows: TableSet) -> pa.Table:
    after_refusal, shadowed_by = _with_credentials(joined, rows)
    proven = (joined["rank"] == DEPENDS) & (after_refusal > 0)
    # Behind a shared address it may have been one machine that was refused, and another that had credentials.
    shared = is_shared(joined["site"], joined["client_ip"], rows)
    covered = proven & ~shared
    verdict = np.where(covered, np.where(joined["unknown"] > 0, UNKNOWN_VERDICT, COVERED), joined["rank"])
    texts = rows.texts
    by_name = [tables.ranks(joined[name], texts) for name in ("resource", "client_ip", "server_ip", "site")]
    order = np.lexsort((*by_name, verdict))
    joined = _those(joined | {"verdict": verdict, "covered": covered, "not_proof": proven & shared}, order)
    verdict = joined["verdict"]
    in_doubt = np.where(
        joined["covered"], texts.code("when it was refused, the same client did it with credentials"), NONE
    )
    in_doubt = np.where(joined["not_proof"], texts.code(NO_PROOF), in_doubt)
    reason = _with(_with(joined["reason"], joined["missing"], rows), in_doubt, rows)
    evidence = _with(joined["session_evidence"], joined["evidence"], rows)
    evidence = _with(evidence, np.where(joined["not_proof"], texts.code("address.shared"), NONE), rows)
    return tables.table(
        "dependencies",
        {
            "site": tables.texts(joined["site"], texts),
            "client_ip": tables.texts(joined["client_ip"], texts),
            "client": tables.texts(names_at(joined["site"], joined["client_ip"], joined["last_seen"], rows), texts),
            "server_ip": tables.texts(joined["server_ip"], texts),
            "server": tables.texts(names_at(joined["site"], joined["server_ip"], joined["last_seen"], rows), texts),
            "resource": tables.texts(joined["resource"], texts),
            "identity": tables.places_in(joined["identity"], tables.IDENTITY),
            "verdict": tables.places_in(verdict, tables.VERDICT),
            "reason": tables.texts(reason, texts),
            "sessions": tables.ints(joined["sessions"]),
            "uses": tables.ints(joined["uses"]),
            "succeeded": tables.ints(joined["succeeded"]),
            "denied": tables.ints(joined["denied"]),
            "refused_at": tables.places_in(joined["rung"], tables.RUNG),
            "root_cause": _root_causes(joined["session_key"], rows),
            "shadowed_by": shadowed_by.take(tables.ints(order)),
            "first_seen": tables.times(joined["first_seen"]),
            "last_seen": tables.times(joined["last_seen"]),
            "active_days": tables.ints(joined["active_days"]),
            "confidence": tables.places_in(
                np.where(verdict == UNKNOWN_VERDICT, NONE, joined["confidence"]), tables.CONFIDENCE
            ),
            "evidence": tables.texts(evidence, texts),
            "capture": tables.texts(joined["capture"], texts),
            "frame": tables.ints(joined["frame"]),
        },
        len(verdict),
    )


def _with(texts: Numbers, more: Numbers, rows: TableSet) -> Numbers:
    """Codes of texts followed by others; what is missing or empty is left out."""
    both = Groups(texts, more)
    pool = rows.texts
    codes = [
        pool.code("; ".join(filter(None, (pool.text(one), pool.text(other)))))
        for one, other in zip(texts[both.first].tolist(), more[both.first].tolist(), strict=True)
    ]
    return np.array(codes, dtype=np.int64)[both.number]


def _with_credentials(joined: Columns, rows: TableSet) -> tuple[Ints, pa.Array]:
    """For each row the same client's uses with credentials: how many after a refusal, and a text."""
    uses_ = rows.columns("credentialed_uses", *KEY, "uses", "after_refusal", "capture", "frame")
    uses_ = _those(uses_, uses_["resource"] >= 0)
    by_key = Groups(*[uses_[name] for name in KEY])
    found = places_of([joined[name] for name in KEY], [uses_[name][by_key.first] for name in KEY])
    texts = _joined_texts(
        tables.ints(by_key.sums(uses_["uses"])),
        " uses with credentials, first in frame ",
        tables.ints(uses_["frame"][by_key.first]),
        " of ",
        tables.texts(uses_["capture"][by_key.first], rows.texts),
    )
    return looked_up(by_key.sums(uses_["after_refusal"]), found, 0), tables.coded(found, texts)


def _joined_texts(*parts: pa.Array | str) -> pa.Array:
    """Texts put together of columns and of what stands between them."""
    cells = [tables.strings([part])[0] if isinstance(part, str) else part.cast(pa.large_string()) for part in parts]
    return pc.binary_join_element_wise(*cells, tables.strings([""])[0])


def _root_causes(session_key: Numbers, rows: TableSet) -> pa.Array:
    """For each session the failed login of the same client at the same server that it followed, as a text."""
    sessions = rows.columns(
        "sessions", "session_key", "connection_id", "site", "client_ip", "server_ip", "started", "outcome", "asked"
    )
    started = sessions["started"]
    pair = combined(sessions["site"], sessions["client_ip"], sessions["server_ip"])
    refused = (sessions["outcome"] == REFUSED) & (sessions["asked"] != ASKED_ANONYMOUS) & (started >= 0)
    failed = np.flatnonzero(refused)
    mine = places(session_key, sessions["session_key"])
    asked = np.flatnonzero((mine >= 0) & (looked_up(started, mine, NONE) >= 0))
    of = mine[asked]
    before = as_of(pair[of], started[of] + 1, pair[failed], started[failed])
    asked, of, before = (column[before >= 0] for column in (asked, of, before))
    cause = failed[before]
    # Behind one address there may be several machines; where both say which they are, it must be the same.
    connection = rows.columns("connections", "connection_id")["connection_id"]
    guids = rows.codes("connections", "client_guid")
    guid, other = (looked_up(guids, places(sessions["connection_id"][row], connection), NONE) for row in (of, cause))
    holds = (started[of] - started[cause] <= ROOT_CAUSE_WITHIN_NS) & ((guid < 0) | (other < 0) | (guid == other))
    different, text = np.unique(cause[holds], return_inverse=True)
    found = np.full(len(session_key), NONE, dtype=np.int64)
    found[asked[holds]] = text
    return tables.coded(found, _failed_logins(different, rows))


def _failed_logins(row: Ints, rows: TableSet) -> pa.Array:
    """What there is to say about these rows of `sessions`."""
    logins = _those(rows.columns("sessions", "domain", "user", "status", "frame", "answer_frame", "capture"), row)
    texts = rows.texts
    return _joined_texts(
        "login as ",
        tables.formatted(logins["domain"], lambda code: f"{texts.text(code)}\\" if texts.text(code) else ""),
        tables.texts(np.where(logins["user"] < 0, texts.code("?"), logins["user"]), texts),
        " failed with ",
        tables.texts(np.where(logins["status"] < 0, texts.code("?"), logins["status"]), texts),
        " in frame ",
        tables.ints(np.where(logins["frame"] >= 0, logins["frame"], logins["answer_frame"])),
        " of ",
        tables.texts(logins["capture"], texts),
    )
