"""Who depends on null sessions, on what.

Looks at every session that asked to be anonymous, or whose identity is anonymous, guest, refused as anonymous, or not
known. `uses` lists what was done in them, one row a use with its outcome; `dependencies` groups uses by client, server
and resource and gives each group a verdict:

    depends   it worked anonymously (or as guest)
    unknown   it may have: the capture does not show enough
    covered   it worked, but the same client was also refused it and then succeeded with credentials within 60 s
    denied    all uses were refused already
    probe     a session was set up and nothing was done with it

Where several apply the first holds, except that proof of `covered` takes the place of `depends`. A use is denied only
if its answer is in the list of access refusals; any other answer means that the service was reached, so it counts as
worked: a wrong "not needed" breaks a network, a wrong "needed" costs a question. What RPC answered is not decoded yet,
so a pipe that could be opened counts as worked, with confidence weak.
"""

from __future__ import annotations

import pandas as pd

from analyzer import knowledge, tables

Frames = dict[str, pd.DataFrame]

KEY = ["site", "client_ip", "server_ip", "resource"]
WORKED, UNKNOWN, DENIED, NOTHING = "worked", "unknown", "denied", "nothing"
ROOT_CAUSE_WITHIN = pd.Timedelta(seconds=60)
REGULAR_PROBES = 4
REGULAR_AT_LEAST = pd.Timedelta(minutes=1)

_USE_COLUMNS = [
    *KEY, "session_key", "identity", "outcome", "rung", "confidence", "evidence", "reason", "time", "capture", "frame"
]  # fmt: skip


def refused(status: pd.Series, rung: str) -> pd.Series:
    """True where a status, by name, means on this rung that access was refused."""
    names = {
        knowledge.status_names(kind)[code] for kind, code in knowledge.refusals(rung)
    }
    return status.isin(names)


def sessions_of_interest(sessions: pd.DataFrame) -> pd.DataFrame:
    """The sessions that null-session dependencies are made of."""
    identity = sessions["identity"].isin(["anonymous", "guest", "anonymous_rejected", "unknown"])
    return sessions[identity | (sessions["asked"] == "anonymous").fillna(False)]


def uses(rows: Frames) -> pd.DataFrame:
    """What was done in the sessions of interest: `_USE_COLUMNS`, one row a use.

    `outcome` is worked, unknown, denied, or nothing: the session itself, where nothing was done in it.
    """
    sessions = sessions_of_interest(rows["sessions"])
    # What is asked for in a session whose login was refused fails for that reason, so the refused login stands for it.
    whose = sessions.loc[
        sessions["outcome"] != "refused",
        ["session_key", "site", "client_ip", "server_ip", "identity", "confidence", "evidence"],
    ].rename(columns={"confidence": "session_confidence", "evidence": "session_evidence"})
    parts = [
        _pipe_uses(rows["pipe_opens"], whose, rows),
        _disk_uses(rows, whose),
        _ipc_uses(rows, whose),
        _call_uses(rows["calls"], whose, rows),
    ]
    busy = pd.concat([part["session_key"] for part in parts]).dropna()
    parts.append(_session_uses(sessions[~sessions["session_key"].isin(busy)], rows))
    found = pd.concat([part for part in parts if len(part)] or parts[-1:], ignore_index=True)
    return found.sort_values(["capture", "frame"], kind="stable", ignore_index=True)


def _joined(things: pd.DataFrame, whose: pd.DataFrame, rows: Frames) -> pd.DataFrame:
    """Things done, with whose session it was. Without a session the connection tells client and server."""
    known = things.merge(whose, on="session_key", how="inner", validate="many_to_one")
    lost = things[things["session_key"].isna()]
    if not len(lost):
        return known
    ends = rows["connections"][["connection_id", "site", "client_ip", "server_ip"]]
    lost = lost.merge(ends, on="connection_id", how="inner", validate="many_to_one").assign(
        identity=pd.Categorical(["unknown"] * len(lost), categories=tables.IDENTITY, ordered=True)[: len(lost)],
        session_confidence=pd.NA,
        session_evidence="session.not_known",
    )
    return pd.concat([known, lost], ignore_index=True)


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
    made = things.assign(
        resource=resource, outcome=outcome, rung=rung, reason=reason, time=time, frame=frame,
        confidence=_weaker(confidence, things["session_confidence"]),
        evidence=things["session_evidence"].fillna("") + "; " + evidence,
    )  # fmt: skip
    return made[_USE_COLUMNS]


def _weaker(a: pd.Series, b: pd.Series) -> pd.Series:
    """The lesser of two confidences; missing counts as weak."""
    order = {name: rank for rank, name in enumerate(tables.CONFIDENCE)}
    rank = pd.concat([a.astype(object).map(order).fillna(0), b.astype(object).map(order).fillna(0)], axis=1).min(axis=1)
    return rank.map(dict(enumerate(tables.CONFIDENCE)))


def _choose(default: str, index: pd.Index, *cases: tuple[pd.Series, str]) -> pd.Series:
    """The text of the first case that holds, for each row."""
    chosen = pd.Series(default, index=index, dtype=object)
    for holds, text in reversed(cases):
        chosen = chosen.mask(holds.fillna(False).astype(bool), text)
    return chosen


def _pipe_uses(opens: pd.DataFrame, whose: pd.DataFrame, rows: Frames) -> pd.DataFrame:
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


def _disk_uses(rows: Frames, whose: pd.DataFrame) -> pd.DataFrame:
    trees = rows["trees"]
    on_disk = trees[(trees["kind"] != "pipe") & (trees["share"] != "IPC$").fillna(True)]
    things = _joined(on_disk, whose, rows)
    opens = rows["disk_opens"][["session_key", "tree_key", "opens", "succeeded", "denied"]].dropna(subset="tree_key")
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


def _ipc_uses(rows: Frames, whose: pd.DataFrame) -> pd.DataFrame:
    """Connects to IPC$ that did not succeed. One that did proves nothing: it nearly always does."""
    trees = rows["trees"]
    ipc = trees[((trees["kind"] == "pipe") | (trees["share"] == "IPC$").fillna(False))]
    things = _joined(ipc[(ipc["status"] != "STATUS_SUCCESS").fillna(True)], whose, rows)
    denied = refused(things["status"], "tree_connect")
    closed_by = rows["connections"].set_index("connection_id")["closed_by"].astype(object)
    by_server = things["connection_id"].map(closed_by) == "server"
    dropped = things["status"].isna() & by_server & _is_whole(things["connection_id"], rows["connections"])
    unanswered = things["status"].isna() & ~dropped
    return _made(
        things,
        resource=pd.Series("IPC$", index=things.index),
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


def _call_uses(calls: pd.DataFrame, whose: pd.DataFrame, rows: Frames) -> pd.DataFrame:
    housekeeping = (calls["protocol"] == "fsctl") & calls["opnum"].isin(list(knowledge.housekeeping()))
    things = _joined(calls[~housekeeping], whose, rows)
    denied = refused(things["status"], "call")
    unanswered = ~things["answered"].astype(bool)
    resource = things["protocol"].astype(object).where(things["protocol"] != "fsctl", things["name"].fillna("IPC$"))
    return _made(
        things,
        resource=resource.astype(tables.TEXT_DTYPE),
        outcome=_choose(WORKED, things.index, (denied, DENIED), (unanswered, UNKNOWN)),
        rung="open",
        confidence=_choose("strong", things.index, (denied, "certain"), (unanswered, "weak")),
        evidence=_choose(
            "call.answered", things.index, (denied, "call.refused"), (unanswered, "call.answer_missing")
        ),
        reason=_choose(
            "an operation on IPC$ was answered, and not with a refusal of access",
            things.index,
            (denied, "the server refused the operation"),
            (unanswered, "the answer to the operation is not in the captures"),
        ),
        time=things["time"],
    )


def _session_uses(idle: pd.DataFrame, rows: Frames) -> pd.DataFrame:
    """What sessions in which nothing was done stand for themselves."""
    trees = rows["trees"]
    ipc = trees.loc[(trees["kind"] == "pipe") & (trees["status"] == "STATUS_SUCCESS").fillna(False), "session_key"]
    had_ipc = idle["session_key"].isin(ipc)
    accepted = idle["outcome"] == "accepted"
    known = idle["identity"].isin(["anonymous", "guest"])
    at_setup = idle["outcome"] == "refused"
    denied = at_setup & refused(idle["status"], "session_setup")
    others = idle["other_operations"] > 0
    given_up = (idle["outcome"] == "abandoned") & _is_whole(idle["connection_id"], rows["connections"])
    nothing = (known & ~others & ~denied) | given_up
    regular = nothing & _is_regular(idle[nothing]).reindex(idle.index, fill_value=False)
    resource = pd.Series(pd.NA, index=idle.index, dtype=object).mask(had_ipc, "IPC$")
    things = idle.rename(columns={"confidence": "session_confidence", "evidence": "session_evidence"})
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
            (others, "operations on IPC$ that are not understood were answered"),
            (idle["outcome"] == "abandoned", "a login was begun, and who it was for is not in the captures"),
            (idle["outcome"] == "unanswered", "the answer to the login is not in the captures"),
            (accepted, "the login was accepted, and does not show whether it was anonymous"),
        ),
        time=idle["started"],
    )


def _is_whole(connection_id: pd.Series, connections: pd.DataFrame) -> pd.Series:
    """True where all of a connection was captured, to its end: what is not there was not sent."""
    known = connections.set_index("connection_id")
    whole = (
        known["closed_by"].notna() & (known["missing_bytes"] == 0) & (known["directions"] == "both") & ~known["midstream"]
    )
    return connection_id.map(whole).fillna(False).astype(bool)


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


def dependencies(rows: Frames) -> pd.DataFrame:
    """The verdicts: key (site, client_ip, server_ip, resource), where a missing resource is a value too."""
    found = uses(rows)
    if not len(found):
        return tables.empty("dependencies")
    anonymous = found["identity"].isin(["anonymous", "guest"])
    found = found.assign(
        rank=_choose(
            "1",
            found.index,
            ((found["outcome"] == WORKED) & anonymous, "0"),
            (found["outcome"] == DENIED, "3"),
            (found["outcome"] == NOTHING, "4"),
        ).astype(int),
        certainty=found["confidence"].map({name: -rank for rank, name in enumerate(tables.CONFIDENCE)}),
        worked=(found["outcome"] == WORKED).astype(int),
        was_denied=(found["outcome"] == DENIED).astype(int),
        is_unknown=(found["outcome"] == UNKNOWN) | ((found["outcome"] == WORKED) & ~anonymous),
        rung_no=found["rung"].map({name: rank for rank, name in enumerate(tables.RUNG)}).where(
            found["outcome"] == DENIED, -1
        ),
        day=found["time"].dt.floor("D"),
    )
    found["resource"] = found["resource"].astype(object).where(found["resource"].notna(), None)
    found = found.sort_values(["rank", "certainty", "time"], kind="stable")
    groups = found.groupby(KEY, dropna=False, sort=False)
    first = groups.head(1).set_index(KEY)
    counted = groups.agg(
        sessions=("session_key", "nunique"),
        uses=("outcome", "size"),
        succeeded=("worked", "sum"),
        denied=("was_denied", "sum"),
        any_unknown=("is_unknown", "any"),
        rung_no=("rung_no", "max"),
        first_seen=("time", "min"),
        last_seen=("time", "max"),
        active_days=("day", "nunique"),
    )
    joined = first.drop(columns=["rung_no"]).join(counted, how="left").reset_index()
    return _verdicts(joined, rows)


def _verdicts(joined: pd.DataFrame, rows: Frames) -> pd.DataFrame:
    credentialed = _with_credentials(joined, rows["credentialed_uses"])
    covered = (joined["rank"] == 0) & (credentialed["after_refusal"] > 0)
    verdict = joined["rank"].map({0: "depends", 1: "unknown", 3: "denied", 4: "probe"})
    verdict = verdict.mask(covered, "covered").mask(covered & joined["any_unknown"], "unknown")
    reason = joined["reason"].mask(
        covered, joined["reason"] + "; when it was refused, the same client did it with credentials"
    )
    names = rows["hosts"].drop_duplicates(["site", "ip"]).set_index(["site", "ip"])["name"]
    made = tables.frame(
        "dependencies",
        {
            "site": joined["site"],
            "client_ip": joined["client_ip"],
            "client": _names(joined, "client_ip", names),
            "server_ip": joined["server_ip"],
            "server": _names(joined, "server_ip", names),
            "resource": joined["resource"],
            "identity": joined["identity"].astype(object),
            "verdict": verdict,
            "reason": reason,
            "sessions": joined["sessions"],
            "uses": joined["uses"],
            "succeeded": joined["succeeded"],
            "denied": joined["denied"],
            "refused_at": joined["rung_no"].map(dict(enumerate(tables.RUNG))),
            "root_cause": _root_causes(joined, rows),
            "shadowed_by": credentialed["text"],
            "first_seen": joined["first_seen"],
            "last_seen": joined["last_seen"],
            "active_days": joined["active_days"],
            "confidence": joined["confidence"].mask(verdict == "unknown", None),
            "evidence": joined["evidence"],
            "capture": joined["capture"],
            "frame": joined["frame"],
        },
        len(joined),
    )
    order = ["verdict", "site", "server_ip", "client_ip", "resource"]
    return made.sort_values(order, kind="stable", ignore_index=True)


def _names(joined: pd.DataFrame, address: str, names: pd.Series) -> pd.Series:
    index = pd.MultiIndex.from_frame(joined[["site", address]])
    return names.reindex(index).reset_index(drop=True)


def _with_credentials(joined: pd.DataFrame, credentialed: pd.DataFrame) -> pd.DataFrame:
    """For each row the same client's uses with credentials: `after_refusal`, and a text."""
    counted = credentialed.groupby(KEY, as_index=False).agg(
        used=("uses", "sum"), after_refusal=("after_refusal", "sum"), at=("capture", "first"), in_frame=("frame", "first")
    )
    counted["resource"] = counted["resource"].astype(object)
    found = joined[KEY].merge(counted, on=KEY, how="left", validate="one_to_one")
    text = (
        found["used"].astype("string")
        + " uses with credentials, first in frame "
        + found["in_frame"].astype("string")
        + " of "
        + found["at"].astype("string")
    )
    return pd.DataFrame({"after_refusal": found["after_refusal"].fillna(0), "text": text})


def _root_causes(joined: pd.DataFrame, rows: Frames) -> pd.Series:
    """The failed login of the same client, on the same connection, that an anonymous one followed."""
    sessions = rows["sessions"]
    failed = sessions[(sessions["outcome"] == "refused") & (sessions["asked"] != "anonymous").fillna(True)]
    failed = failed.dropna(subset=["started"]).sort_values("started", kind="stable")
    mine = joined[["session_key"]].reset_index(names="row").dropna()
    mine = mine.merge(sessions[["session_key", "connection_id", "started"]], on="session_key", how="inner")
    mine = mine.dropna(subset=["started"]).sort_values("started", kind="stable")
    if not len(mine) or not len(failed):
        return pd.Series(pd.NA, index=joined.index, dtype=tables.TEXT_DTYPE)
    who = failed["domain"].fillna("").astype(str).where(failed["domain"].fillna("") == "", failed["domain"].fillna("").astype(str) + "\\")
    text = (
        "login as " + who + failed["user"].fillna("?").astype(str) + " failed with " + failed["status"].fillna("?").astype(str)
        + " in frame " + failed["frame"].fillna(failed["answer_frame"]).astype(str) + " of " + failed["capture"].astype(str)
    )  # fmt: skip
    found = pd.merge_asof(
        mine,
        failed[["started", "connection_id"]].assign(text=text),
        on="started",
        by="connection_id",
        tolerance=ROOT_CAUSE_WITHIN,
    )
    return found.set_index("row")["text"].reindex(joined.index).astype(tables.TEXT_DTYPE)
