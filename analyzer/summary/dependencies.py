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
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analyzer import knowledge, tables
from analyzer.summary.naming import is_shared, names_at
from analyzer.tables import TableSet

KEY = ["site", "client_ip", "server_ip", "resource"]
WORKED, UNKNOWN, DENIED, NOTHING = "worked", "unknown", "denied", "nothing"
ROOT_CAUSE_WITHIN = pd.Timedelta(seconds=10)
REGULAR_PROBES = 4
REGULAR_AT_LEAST = pd.Timedelta(minutes=1)

_USE_COLUMNS = [
    *KEY, "session_key", "identity", "outcome", "rung", "confidence", "session_evidence", "evidence", "reason", "time",
    "capture", "frame",
]  # fmt: skip


def refused(status: pd.Series, rung: str) -> pd.Series:
    """True where a status, by name, means on this rung that access was refused."""
    names = {knowledge.status_names(kind)[code] for kind, code in knowledge.refusals(rung)}
    return status.isin(names)


def sessions_of_interest(sessions: pd.DataFrame) -> pd.DataFrame:
    """The sessions that null-session dependencies are made of."""
    identity = sessions["identity"].isin(["anonymous", "guest", "anonymous_rejected", "unknown"])
    return sessions[identity | _true(sessions["asked"] == "anonymous")]


def uses(rows: TableSet) -> pd.DataFrame:
    """What was done in the sessions of interest: `_USE_COLUMNS`, one row a use.

    `outcome` is worked, unknown, denied, or nothing: the session itself, where nothing was done in it.
    """
    found = _in_parts(rows)
    return found.sort_values(["capture", "frame"], kind="stable", ignore_index=True)


def _in_parts(rows: TableSet) -> pd.DataFrame:
    sessions = sessions_of_interest(rows.frame("sessions", *_OF_SESSIONS))
    # What is asked for in a session whose login was refused fails for that reason, so the refused login stands for it.
    whose = sessions.loc[
        sessions["outcome"] != "refused",
        ["session_key", "site", "client_ip", "server_ip", "identity", "confidence", "evidence"],
    ].rename(columns={"confidence": "session_confidence", "evidence": "session_evidence"})
    whose["missing"] = _what_is_missing(sessions).reindex(whose.index)
    parts = [
        _pipe_uses(rows, whose),
        _disk_uses(rows, whose),
        _ipc_uses(rows, whose),
        _call_uses(rows, whose),
    ]
    busy = pd.concat([part["session_key"] for part in parts]).dropna()
    parts.append(_session_uses(sessions[~sessions["session_key"].isin(busy)], rows))
    return pd.concat([part for part in parts if len(part)] or parts[-1:], ignore_index=True)


_OF_SESSIONS = (
    "session_key", "connection_id", "site", "client_ip", "server_ip", "capture", "frame", "answer_frame", "started", "asked",
    "identity", "confidence", "evidence", "outcome", "status", "other_operations",
)  # fmt: skip
_OF_THINGS = ("session_key", "connection_id", "capture", "frame", "answer_frame", "status")


def _what_is_missing(sessions: pd.DataFrame) -> pd.Series:
    """Why it is not known who a session was for; missing where it is."""
    outcome = sessions["outcome"]
    text = _choose(
        "the login is not in the captures",
        sessions.index,
        (outcome == "abandoned", "who the login was for is not in the captures"),
        (outcome == "unanswered", "the answer to the login is not in the captures"),
        (outcome == "accepted", "the login was accepted, and does not show whether it was anonymous"),
    )
    return text.where(sessions["identity"] == "unknown", None)


def _joined(things: pd.DataFrame, whose: pd.DataFrame, rows: TableSet) -> pd.DataFrame:
    """Things done, with whose session it was. Without a session the connection tells client and server."""
    known = things.merge(whose, on="session_key", how="inner", validate="many_to_one")
    lost = things[things["session_key"].isna()]
    if not len(lost):
        return known
    ends = rows.frame("connections", "connection_id", "site", "client_ip", "server_ip")
    lost = lost.merge(ends, on="connection_id", how="inner", validate="many_to_one").assign(
        identity="unknown",
        session_confidence=None,
        session_evidence="session.not_known",
        missing="whose session it was is not in the captures",
    )
    return pd.concat([known.astype({"identity": object, "session_confidence": object}), lost], ignore_index=True)


def _made(
    things: pd.DataFrame,
    *,
    resource: pd.Series,
    outcome: pd.Series,
    rung: str | pd.Series,
    confidence: pd.Series,
    evidence: pd.Series,
    reason: pd.Series,
    time: pd.Series,
) -> pd.DataFrame:
    frame = things["frame"].fillna(things["answer_frame"])
    missing = things["missing"]
    reason = reason.where(missing.isna() | (outcome == DENIED), reason + "; " + missing.fillna(""))
    made = things.assign(
        resource=resource, outcome=outcome, rung=rung, reason=reason, time=time, frame=frame,
        confidence=_weaker(confidence, things["session_confidence"]), evidence=evidence,
    )  # fmt: skip
    return made[_USE_COLUMNS].astype({"identity": object})


def _weaker(a: pd.Series, b: pd.Series) -> pd.Series:
    """The lesser of two confidences; missing counts as weak."""
    rank = [pd.Categorical(one, categories=list(tables.CONFIDENCE)).codes for one in (a, b)]
    names = np.array([*tables.CONFIDENCE, tables.CONFIDENCE[0]], dtype=object)  # missing: the last
    return pd.Series(names[np.minimum(*rank)], index=a.index, dtype=object)


def _choose(default: str, index: pd.Index, *cases: tuple[pd.Series, str]) -> pd.Series:
    """The text of the first case that holds, for each row."""
    chosen = np.full(len(index), default, dtype=object)
    for holds, text in reversed(cases):
        chosen[_true(holds).to_numpy()] = text
    return pd.Series(chosen, index=index, dtype=object)


def _true(condition: pd.Series) -> pd.Series:
    """A condition in which what is not known does not hold."""
    return condition.fillna(False).astype(bool)


def _pipe_uses(rows: TableSet, whose: pd.DataFrame) -> pd.DataFrame:
    opens = rows.frame("pipe_opens", *_OF_THINGS, "opened", "pipe", "bytes_written", "bytes_read")
    things = _joined(opens, whose, rows)
    status = things["status"]
    both_ways = (things["bytes_written"] > 0) & (things["bytes_read"] > 0)
    denied = refused(status, "open")
    success = status == "STATUS_SUCCESS"
    unanswered = status.isna() & ~both_ways
    return _made(
        things,
        resource=things["pipe"],
        outcome=_choose(WORKED, things.index, (denied, DENIED), (unanswered, UNKNOWN)),
        rung="open",
        confidence=_choose("weak", things.index, (denied, "certain")),
        evidence=_choose(
            "open.not_refused",
            things.index,
            (denied, "open.refused"),
            (unanswered, "open.answer_missing"),
            (both_ways, "data.both_ways; result.not_decoded"),
            (success, "open.success; result.not_decoded"),
        ),
        reason=_choose(
            "the open was answered, and not with a refusal of access",
            things.index,
            (denied, "the server refused to open the pipe"),
            (unanswered, "the answer to the open is not in the captures"),
            (both_ways, "the pipe was opened and data went both ways; what was answered is not decoded"),
            (success, "the pipe was opened"),
        ),
        time=things["opened"],
    )


def _disk_uses(rows: TableSet, whose: pd.DataFrame) -> pd.DataFrame:
    trees = rows.frame("trees", *_OF_THINGS, "tree_key", "time", "share", "kind")
    on_disk = trees[(trees["kind"] != "pipe") & (trees["share"] != "IPC$")]
    things = _joined(on_disk, whose, rows)
    opens = rows.frame("disk_opens", "tree_key", "opens", "succeeded", "denied").dropna(subset="tree_key")
    opens = opens.groupby("tree_key", as_index=False)[["opens", "succeeded", "denied"]].sum()
    things = things.merge(opens, on="tree_key", how="left", validate="many_to_one")
    for name in ("opens", "succeeded", "denied"):
        things[name] = things[name].fillna(0)
    refused_tree = refused(things["status"], "tree_connect")
    refused_files = (things["opens"] > 0) & (things["opens"] == things["denied"])
    opened = things["succeeded"] > 0
    unanswered = things["status"].isna() & (things["opens"] == 0)
    return _made(
        things,
        resource=things["share"],
        # A share on which all opens were refused was still connected, and SMB 1 lists folders without opening any.
        outcome=_choose(WORKED, things.index, (refused_tree, DENIED), (unanswered, UNKNOWN)),
        rung="tree_connect",
        confidence=_choose("weak", things.index, (refused_tree | opened, "certain")),
        evidence=_choose(
            "tree.not_refused",
            things.index,
            (refused_tree, "tree.refused"),
            (refused_files, "tree.success; files.refused"),
            (opened, "files.opened"),
            (unanswered, "tree.answer_missing"),
            (things["status"] == "STATUS_SUCCESS", "tree.success"),
        ),
        reason=_choose(
            "the connect was answered, and not with a refusal of access",
            things.index,
            (refused_tree, "the server refused the share"),
            (refused_files, "the share was connected, though every file on it was refused"),
            (opened, "files on the share were opened"),
            (unanswered, "the answer to the tree connect is not in the captures"),
            (things["status"] == "STATUS_SUCCESS", "the share was connected"),
        ),
        time=things["time"],
    )


def _ipc_uses(rows: TableSet, whose: pd.DataFrame) -> pd.DataFrame:
    """Connects to IPC$ that did not succeed. One that did proves nothing: it nearly always does."""
    trees = rows.frame("trees", *_OF_THINGS, "time", "share", "kind")
    ipc = trees[((trees["kind"] == "pipe") | (trees["share"] == "IPC$")) & ~_true(trees["status"] == "STATUS_SUCCESS")]
    # Where pipes were opened, an answer that was not captured must have been a success.
    in_use = rows.frame("pipe_opens", "session_key")["session_key"].dropna()
    ipc = ipc[ipc["status"].notna() | ~ipc["session_key"].isin(in_use)]
    things = _joined(ipc, whose, rows)
    denied = refused(things["status"], "tree_connect")
    closed_by = rows.frame("connections", "connection_id", "closed_by").set_index("connection_id")["closed_by"]
    closed_by = closed_by.astype(object)
    by_server = things["connection_id"].map(closed_by) == "server"
    dropped = things["status"].isna() & by_server & _is_whole(things["connection_id"], rows)
    unanswered = things["status"].isna() & ~dropped
    return _made(
        things,
        resource=pd.Series("IPC$", index=things.index, dtype=object),
        outcome=_choose(UNKNOWN, things.index, (denied | dropped, DENIED)),
        rung="tree_connect",
        confidence=_choose("weak", things.index, (denied, "certain"), (dropped, "strong")),
        evidence=_choose(
            "tree.not_refused",
            things.index,
            (denied, "tree.refused"),
            (dropped, "tree.connection_dropped"),
            (unanswered, "tree.answer_missing"),
        ),
        reason=_choose(
            "the connect to IPC$ failed, but not for want of access",
            things.index,
            (denied, "the server refused IPC$"),
            (dropped, "the server closed the connection instead of answering the connect to IPC$"),
            (unanswered, "the answer to the connect to IPC$ is not in the captures"),
        ),
        time=things["time"],
    )


def _call_uses(rows: TableSet, whose: pd.DataFrame) -> pd.DataFrame:
    calls = rows.frame("calls", *_OF_THINGS, "time", "protocol", "opnum", "name", "answered")
    housekeeping = (calls["protocol"] == "fsctl") & calls["opnum"].isin(list(knowledge.housekeeping()))
    things = _joined(calls[~housekeeping], whose, rows)
    denied = refused(things["status"], "call")
    unanswered = ~things["answered"].astype(bool)
    resource = things["protocol"].astype(object).where(things["protocol"] != "fsctl", things["name"].fillna("IPC$"))
    return _made(
        things,
        resource=resource,
        outcome=_choose(WORKED, things.index, (denied, DENIED), (unanswered, UNKNOWN)),
        rung="open",
        confidence=_choose("strong", things.index, (denied, "certain"), (unanswered, "weak")),
        evidence=_choose("call.answered", things.index, (denied, "call.refused"), (unanswered, "call.answer_missing")),
        reason=_choose(
            "an operation on IPC$ was answered, and not with a refusal of access",
            things.index,
            (denied, "the server refused the operation"),
            (unanswered, "the answer to the operation is not in the captures"),
        ),
        time=things["time"],
    )


def _session_uses(idle: pd.DataFrame, rows: TableSet) -> pd.DataFrame:
    """What sessions in which nothing was done stand for themselves."""
    trees = rows.frame("trees", "session_key", "kind", "status")
    ipc = trees.loc[(trees["kind"] == "pipe") & (trees["status"] == "STATUS_SUCCESS"), "session_key"]
    had_ipc = idle["session_key"].isin(ipc)
    accepted = idle["outcome"] == "accepted"
    known = idle["identity"].isin(["anonymous", "guest"])
    at_setup = idle["outcome"] == "refused"
    denied = at_setup & refused(idle["status"], "session_setup")
    others = idle["other_operations"] > 0
    given_up = (idle["outcome"] == "abandoned") & _is_whole(idle["connection_id"], rows)
    unused = known & ~others & ~denied
    # What a capture lost, or does not let anybody look into, may have been the use.
    hidden = unused & _has_encrypted(idle["connection_id"], rows)
    nothing = (unused & ~hidden & _is_without_gaps(idle["connection_id"], rows)) | given_up
    regular = nothing & _is_regular(idle[nothing]).reindex(idle.index, fill_value=False)
    resource = pd.Series("IPC$", index=idle.index, dtype=object).where(had_ipc, None)
    things = idle.rename(columns={"confidence": "session_confidence", "evidence": "session_evidence"}).assign(
        missing=None
    )
    return _made(
        things,
        resource=resource,
        outcome=_choose(UNKNOWN, idle.index, (denied, DENIED), (nothing & ~regular, NOTHING)),
        rung="session_setup",
        confidence=_choose("weak", idle.index, (denied | nothing, "certain")),
        evidence=_choose(
            "login.not_captured",
            idle.index,
            (denied, "login.refused"),
            (at_setup, "login.failed"),
            (regular, "probe.regular"),
            (given_up, "login.given_up"),
            (nothing, "session.unused"),
            (hidden, "session.encrypted"),
            (unused, "session.use_not_captured"),
            (others, "session.other_operations"),
            (idle["outcome"] == "abandoned", "login.abandoned"),
            (idle["outcome"] == "unanswered", "login.answer_missing"),
            (accepted, "login.unclear"),
        ),
        reason=_choose(
            "the login is not in the captures",
            idle.index,
            (denied, "the server refused the anonymous login"),
            (at_setup, "the anonymous login failed, but not for want of access"),
            (regular, "nothing was done in the session, but it is set up regularly: the session itself may be needed"),
            (given_up, "a login was begun, and given up before it said who it was for"),
            (nothing, "the session was set up and nothing was done in it"),
            (hidden, "nothing is seen to be done in the session, but its connection has messages that are encrypted"),
            (unused, "nothing was seen to be done in the session, but part of its connection is not in the captures"),
            (others, "operations on IPC$ that are not understood were answered"),
            (idle["outcome"] == "abandoned", "a login was begun, and who it was for is not in the captures"),
            (idle["outcome"] == "unanswered", "the answer to the login is not in the captures"),
            (accepted, "the login was accepted, and does not show whether it was anonymous"),
        ),
        time=idle["started"],
    )


def _has_encrypted(connection_id: pd.Series, rows: TableSet) -> pd.Series:
    """True where some messages of a connection could not be looked into."""
    counted = rows.frame("connections", "connection_id", "encrypted_messages").set_index("connection_id")
    return connection_id.map(counted["encrypted_messages"] > 0).fillna(False).astype(bool)


def _is_without_gaps(connection_id: pd.Series, rows: TableSet) -> pd.Series:
    """True where a connection was captured in both directions and without loss."""
    known = rows.frame("connections", "connection_id", "missing_bytes", "directions").set_index("connection_id")
    without = (known["missing_bytes"] == 0) & (known["directions"] == "both")
    return connection_id.map(without).fillna(False).astype(bool)


def _is_whole(connection_id: pd.Series, rows: TableSet) -> pd.Series:
    """True where all of a connection was captured, to its end: what is not there was not sent."""
    known = rows.frame("connections", "connection_id", "closed_by", "midstream").set_index("connection_id")
    ends = connection_id.map(known["closed_by"].notna() & ~known["midstream"]).fillna(False).astype(bool)
    return ends & _is_without_gaps(connection_id, rows)


def _is_regular(probes: pd.DataFrame) -> pd.Series:
    """True for idle sessions that one client sets up at one server at much the same interval."""
    ordered = probes.sort_values("started", kind="stable")
    pair = ordered.groupby(["site", "client_ip", "server_ip"])["started"]
    gap = pair.diff()
    keys = [ordered["site"], ordered["client_ip"], ordered["server_ip"]]
    median = gap.groupby(keys).transform("median")
    steady = ((gap > median * 0.5) & (gap < median * 1.5)) | gap.isna()
    share = steady.astype(float).groupby(keys).transform("mean")
    return (pair.transform("size") >= REGULAR_PROBES) & (median >= REGULAR_AT_LEAST) & (share >= 0.75)


def dependencies(rows: TableSet) -> pd.DataFrame:
    """The verdicts: key (site, client_ip, server_ip, resource), where a missing resource is a value too."""
    return _verdicts(_grouped(uses(rows)), rows)


def _grouped(found: pd.DataFrame) -> pd.DataFrame:
    """One row a key: the use that decides, and how many there were of which kind."""
    anonymous = found["identity"].isin(["anonymous", "guest"])
    worked, denied = found["outcome"] == WORKED, found["outcome"] == DENIED
    unknown = (found["outcome"] == UNKNOWN) | (worked & ~anonymous)
    rank = np.select([worked & anonymous, denied, found["outcome"] == NOTHING], [0, 3, 4], 1)
    certainty = -pd.Categorical(found["confidence"], categories=list(tables.CONFIDENCE)).codes.astype(int)
    rung = pd.Categorical(found["rung"], categories=list(tables.RUNG)).codes
    measured = pd.DataFrame(
        {
            "row": found.groupby(KEY, dropna=False, sort=False).ngroup(),
            "session_key": found["session_key"],
            "worked": worked,
            "denied": denied,
            "unknown": unknown,
            "rung": np.where(denied, rung, -1),
            "time": found["time"],
            "day": found["time"].dt.floor("D"),
        }
    )
    groups = measured.groupby("row", sort=True)
    counted = groups.agg(
        sessions=("session_key", "nunique"),
        uses=("worked", "size"),
        succeeded=("worked", "sum"),
        denied=("denied", "sum"),
        any_unknown=("unknown", "any"),
        rung_no=("rung", "max"),
        first_seen=("time", "min"),
        last_seen=("time", "max"),
        active_days=("day", "nunique"),
    )
    # The use that decides: of the first verdict that applies, the surest, the earliest.
    order = np.lexsort((found["time"].to_numpy(), certainty, rank, measured["row"].to_numpy()))
    first = order[np.unique(measured["row"].to_numpy()[order], return_index=True)[1]]
    deciding = found.iloc[first].assign(rank=rank[first]).drop(columns=["time", "outcome", "rung"])
    return pd.concat([deciding.reset_index(drop=True), counted], axis=1)


def _verdicts(joined: pd.DataFrame, rows: TableSet) -> pd.DataFrame:
    if not len(joined):
        return tables.to_pandas("dependencies", tables.empty("dependencies"))
    credentialed = _with_credentials(joined, rows)
    proven = (joined["rank"] == 0) & (credentialed["after_refusal"] > 0)
    # Behind a shared address it may have been one machine that was refused, and another that had credentials.
    shared = is_shared(joined, "client_ip", rows)
    covered = proven & ~shared
    verdict = joined["rank"].map({0: "depends", 1: "unknown", 3: "denied", 4: "probe"})
    verdict = verdict.mask(covered, "covered").mask(covered & joined["any_unknown"], "unknown")
    verdict = verdict.astype(tables.dtype_of(tables.VERDICT))
    # Put in order here, where there are few columns yet.
    joined = joined.assign(
        verdict=verdict, covered=covered, not_proof=proven & shared, shadowed_by=credentialed["text"]
    )
    joined = joined.sort_values(
        ["verdict", "site", "server_ip", "client_ip", "resource"], kind="stable", ignore_index=True
    )
    covered, verdict = joined["covered"], joined["verdict"]
    reason = joined["reason"].mask(
        covered, joined["reason"] + "; when it was refused, the same client did it with credentials"
    )
    reason = reason.mask(
        joined["not_proof"],
        reason + "; it was also refused and then done with credentials, but several machines share the address",
    )
    joined["evidence"] = joined["evidence"].mask(joined["not_proof"], joined["evidence"] + "; address.shared")
    pair = pd.MultiIndex.from_frame(joined[["session_evidence", "evidence"]].fillna(""))
    codes, distinct = pd.factorize(pair)
    evidence = np.array(["; ".join(filter(None, texts)) for texts in distinct], dtype=object)[codes]
    return pd.DataFrame(
        {
            "site": joined["site"],
            "client_ip": joined["client_ip"],
            "client": names_at(joined, "client_ip", "last_seen", rows),
            "server_ip": joined["server_ip"],
            "server": names_at(joined, "server_ip", "last_seen", rows),
            "resource": joined["resource"],
            "identity": joined["identity"],
            "verdict": verdict,
            "reason": reason,
            "sessions": joined["sessions"],
            "uses": joined["uses"],
            "succeeded": joined["succeeded"],
            "denied": joined["denied"],
            "refused_at": joined["rung_no"].map(dict(enumerate(tables.RUNG))),
            "root_cause": _root_causes(joined, rows),
            "shadowed_by": joined["shadowed_by"],
            "first_seen": joined["first_seen"],
            "last_seen": joined["last_seen"],
            "active_days": joined["active_days"],
            "confidence": joined["confidence"].mask(verdict == "unknown", None),
            "evidence": evidence,
            "capture": joined["capture"],
            "frame": joined["frame"],
        }
    )


def _with_credentials(joined: pd.DataFrame, rows: TableSet) -> pd.DataFrame:
    """For each row the same client's uses with credentials: `after_refusal`, and a text."""
    credentialed = rows.frame("credentialed_uses", *KEY, "uses", "after_refusal", "capture", "frame")
    counted = credentialed.groupby(KEY, as_index=False).agg(
        used=("uses", "sum"),
        after_refusal=("after_refusal", "sum"),
        at=("capture", "first"),
        in_frame=("frame", "first"),
    )
    found = joined[KEY].merge(counted, on=KEY, how="left", validate="one_to_one")
    known = found["used"].notna()
    text = np.full(len(found), None, dtype=object)
    text[known] = [
        f"{used} uses with credentials, first in frame {frame} of {capture}"
        for used, frame, capture in found.loc[known, ["used", "in_frame", "at"]].itertuples(index=False)
    ]
    return pd.DataFrame({"after_refusal": found["after_refusal"].fillna(0), "text": text})


def _root_causes(joined: pd.DataFrame, rows: TableSet) -> pd.Series:
    """The failed login of the same client at the same server that an anonymous one followed."""
    sessions = rows.frame("sessions", "session_key", "connection_id", "started", "outcome", "asked")
    sessions["pair"] = rows.codes("sessions", "site", "client_ip", "server_ip")
    sessions = sessions[sessions["started"].notna()]
    failed = sessions[(sessions["outcome"] == "refused") & ~_true(sessions["asked"] == "anonymous")]
    failed = failed.sort_values("started", kind="stable")
    mine = joined[["session_key"]].reset_index(names="row").dropna()
    others = sessions.loc[sessions["pair"].isin(failed["pair"]), ["session_key", "connection_id", "started", "pair"]]
    mine = mine.merge(others, on="session_key", how="inner").sort_values("started", kind="stable")
    if not len(mine):
        return pd.Series(None, index=joined.index, dtype=object)
    found = pd.merge_asof(
        mine,
        failed[["pair", "started"]].assign(failed=failed.index, failed_on=failed["connection_id"]),
        on="started",
        by="pair",
        tolerance=ROOT_CAUSE_WITHIN,
    ).dropna(subset="failed")
    # Behind one address there may be several machines; where both say which they are, it must be the same.
    guids = rows.frame("connections", "connection_id", "client_guid").set_index("connection_id")["client_guid"]
    guid, other = found["connection_id"].map(guids), found["failed_on"].map(guids)
    found = found[guid.isna() | other.isna() | (guid == other)]
    logins = rows.frame("sessions", "domain", "user", "status", "frame", "answer_frame", "capture")
    logins = logins.loc[found["failed"].astype(np.int64)]
    frame = logins["frame"].fillna(logins["answer_frame"])
    text = [
        f"login as {domain + chr(92) if pd.notna(domain) and domain else ''}{'?' if pd.isna(user) else user} "
        f"failed with {status} in frame {number} of {capture}"
        for domain, user, status, number, capture in zip(
            logins["domain"], logins["user"], logins["status"], frame, logins["capture"], strict=True
        )
    ]
    return pd.Series(text, index=found["row"], dtype=object).reindex(joined.index)
