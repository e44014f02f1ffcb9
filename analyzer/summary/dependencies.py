"""Who depends on null sessions, on what: the uses (`summary.uses`) by client, server, application, resource and operation.

Each group of uses has a verdict:

    depends   it worked anonymously (or as guest)
    unknown   it may have: the capture does not show enough
    covered   it worked, but the same client was also refused it and then succeeded with credentials within 60 s; never
              where several machines share its address
    denied    all uses were refused already
    probe     a session was set up and nothing was done with it

Where several apply the first holds, except that proof of `covered` takes the place of `depends`.

All of it works on numbers: texts as codes of the set's texts, categories as places in their kind; missing is below zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analyzer import attribution, tables
from analyzer.attribution import Rule
from analyzer.groups import Groups, Numbers, combined, last_if_missing, looked_up, places, places_of
from analyzer.sessions.joins import NONE, Ints, as_of
from analyzer.summary.naming import is_shared, names_at
from analyzer.summary.overview import PROVEN
from analyzer.summary.rhythm import runs_of
from analyzer.summary.rules import DENIED, NOTHING, UNKNOWN, WORKED
from analyzer.summary.shapes import shapes
from analyzer.summary.uses import (
    ANONYMOUS,
    ASKED_ANONYMOUS,
    CERTAIN,
    GUEST,
    REFUSED,
    SECOND_NS,
    first_that_holds,
    smaller,
    those,
    uses,
    with_text,
)
from analyzer.tables import Columns, TableSet

DEPENDS, UNKNOWN_VERDICT, COVERED, DENIED_ALREADY, PROBE = range(len(tables.VERDICT))
KEY = ("site", "client_ip", "server_ip", "application", "resource", "interface", "operation")
OF_RESOURCE = ("site", "client_ip", "server_ip", "resource", "interface", "operation")
PAIR = ("site", "client_ip", "server_ip")
FRAMES = 5
"""Packets that a row names."""
ROWS_AT_A_TIME = 16_384
UTC = ZoneInfo("UTC")
NO_COUNTS: Mapping[str, int] = MappingProxyType({})
GIVEN_UP = ("payload_let_go", "rpc_given_up", "rows_given_up")
"""Counts of what went through pipes and was dropped at a bound: what was refused may then not have been all."""
NO_PROOF = "it was also refused and then done with credentials, but several machines share the address"
ROOT_CAUSE_WITHIN_NS = 10 * SECOND_NS


def dependencies(
    rows: TableSet, rules: Sequence[Rule] = (), zone: ZoneInfo = UTC, counts: Mapping[str, int] = NO_COUNTS
) -> pa.Table:
    """The verdicts: key `KEY`, where what is missing is a value too. rules: the administrator's own. zone: of days and hours.

    counts: what the engine and the reducer counted; see `coverage.MEANINGS`.
    """
    return _verdicts(_grouped(attributed_uses(rows, rules, counts), rows, zone), rows)


def attributed_uses(rows: TableSet, rules: Sequence[Rule] = (), counts: Mapping[str, int] = NO_COUNTS) -> Columns:
    """What the verdicts are made of: uses, as `uses` and `attribution.attribute` give them."""
    found = uses(rows, given_up=any(counts.get(name, 0) for name in GIVEN_UP))
    logged = rows.columns("endpoint_processes", "connection_id", "session_key", "side", "process", "confidence")
    of_clients = (logged["side"] == tables.CLOSED_BY.index("client")) & (logged["process"] >= 0)
    told = attribution.attribute(found, rows, rules, those(logged, of_clients))
    found |= {name: smaller(name, told.pop(name)) for name in list(told)}
    return found


def _grouped(found: Columns, rows: TableSet, zone: ZoneInfo) -> Columns:
    """One row a key: the use that decides, and how many there were of which kind."""
    by_key = Groups(*[found[name] for name in KEY])
    outcome = found["outcome"]
    anonymous = np.isin(found["identity"], (ANONYMOUS, GUEST))
    worked, denied = outcome == WORKED, outcome == DENIED
    rank = first_that_holds(
        UNKNOWN_VERDICT, (worked & anonymous, DEPENDS), (denied, DENIED_ALREADY), (outcome == NOTHING, PROBE)
    )
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
    places_ = _first_places(order, by_key, found)
    del order
    runs = runs_of(by_key.number, len(by_key), found["time"], zone)
    made = {
        "rank": rank[first],
        "sessions": by_key.different(found["session_key"]),
        "uses": by_key.sizes(),
        "succeeded": by_key.sums(worked),
        "denied": by_key.sums(denied),
        "unknown": by_key.sums((outcome == UNKNOWN) | (worked & ~anonymous)),
        "excluded": by_key.least(found["excluded"].astype(np.int64)) > 0,
        "rung": by_key.most(np.where(denied, found["rung"], NONE)),
        "first_seen": by_key.least(found["time"]),
        "last_seen": by_key.most(found["time"]),
        "runs": runs.count,
        "rhythm": np.array([rows.texts.code(text) if text else NONE for text in runs.texts], dtype=np.int64),
        "active_days": runs.days,
    } | places_
    made = {name: smaller(name, column) if column.ndim == 1 else column for name, column in made.items()}
    return {name: found.pop(name)[first] for name in list(found) if name not in made} | made  # uses are many


def _first_places(order: Ints, by_key: Groups, found: Columns) -> Columns:
    """Capture and frame of the first uses of each group in this order, `FRAMES` columns wide; `NONE` where there is none."""
    sizes = by_key.sizes()
    starts = np.cumsum(sizes) - sizes
    frames = np.full((len(sizes), FRAMES), NONE, dtype=np.int64)
    captures = np.full((len(sizes), FRAMES), NONE, dtype=np.int32)
    for column in range(FRAMES):
        there = np.flatnonzero(sizes > column)
        use = order[starts[there] + column]
        frame, capture = found["frame"][use], found["capture"][use]
        told = np.zeros(len(there), dtype=bool)
        for earlier in range(column):
            told |= (frames[there, earlier] == frame) & (captures[there, earlier] == capture)
        frames[there, column] = np.where(told, NONE, frame)
        captures[there, column] = np.where(told, NONE, capture)
    return {"place_frames": frames, "place_captures": captures}


def _places(captures: Numbers, frames: Numbers, rows: TableSet) -> pa.Array:
    """Those places as texts, separated by |; some rows at a time, since each has several."""
    parts = []
    for start in range(0, len(frames), ROWS_AT_A_TIME):
        capture, frame = captures[start : start + ROWS_AT_A_TIME], frames[start : start + ROWS_AT_A_TIME]
        there = (capture >= 0) & (frame >= 0)
        spelt = _joined_texts(tables.texts(capture[there], rows.texts), ":", tables.ints(frame[there]))
        how_many = np.count_nonzero(there, axis=1)
        ends = tables.primitive(np.append(0, np.cumsum(how_many)).astype(np.int32), pa.int32())
        joined = pc.binary_join(pa.ListArray.from_arrays(ends, spelt), tables.strings(["|"])[0])
        parts.append(pc.if_else(tables.bools(how_many > 0), joined, pa.nulls(len(joined), pa.large_string())))
    if not parts:
        return tables.listed([])
    return pa.concat_arrays(parts).dictionary_encode()


def _verdicts(joined: Columns, rows: TableSet) -> pa.Table:
    after_refusal, shadowed_by = _with_credentials(joined, rows)
    proven = (joined["rank"] == DEPENDS) & (after_refusal > 0)
    # Behind a shared address it may have been one machine that was refused, and another that had credentials.
    shared = is_shared(joined["site"], joined["client_ip"], rows)
    covered = proven & ~shared
    verdict = np.where(covered, np.where(joined["unknown"] > 0, UNKNOWN_VERDICT, COVERED), joined["rank"])
    texts = rows.texts
    by_name = [
        tables.ranks(joined[name], texts)
        for name in ("operation", "interface", "application", "resource", "client_ip", "server_ip", "site")
    ]
    order = np.lexsort((*by_name, verdict, joined["excluded"]))
    joined |= {"verdict": verdict, "covered": covered, "not_proof": proven & shared}
    joined = {name: joined.pop(name)[order] for name in list(joined)}
    shadowed_by = shadowed_by.take(tables.ints(order))
    del order, by_name, after_refusal, proven, shared, covered, verdict  # rows are many, too
    site, client_ip, server_ip, last = (joined[name] for name in (*PAIR, "last_seen"))
    made = {
        "root_cause": _root_causes(joined.pop("session_key"), rows),
        "shadowed_by": shadowed_by,
        "credentialed_sessions": tables.ints(_sessions_with_credentials(joined, rows)),
        "shape": tables.texts(shapes(site, client_ip, rows), texts),
        "client": tables.texts(names_at(site, client_ip, last, rows), texts),
        "server": tables.texts(names_at(site, server_ip, last, rows), texts),
    }
    del site, client_ip, server_ip, last
    not_proof, verdict = joined.pop("not_proof"), joined["verdict"]
    in_doubt = np.where(
        joined.pop("covered"), texts.code("when it was refused, the same client did it with credentials"), NONE
    )
    in_doubt = np.where(not_proof, texts.code(NO_PROOF), in_doubt)
    reason = with_text(with_text(joined.pop("reason"), joined.pop("missing"), rows), in_doubt, rows)
    evidence = with_text(joined.pop("session_evidence"), joined.pop("evidence"), rows)
    evidence = with_text(evidence, np.where(not_proof, texts.code("address.shared"), NONE), rows)
    confidence = np.where(verdict == UNKNOWN_VERDICT, NONE, joined.pop("confidence"))
    made |= {
        "reason": tables.texts(reason, texts),
        "evidence": tables.texts(evidence, texts),
        "confidence": tables.places_in(confidence, tables.CONFIDENCE),
        "excluded": tables.bools(joined.pop("excluded")),
        "note": tables.texts(joined.pop("rule_note"), texts),
        "refused_at": tables.places_in(joined.pop("rung"), tables.RUNG),
    }
    made |= {name: tables.texts(joined.pop(name), texts) for name in TEXTS}
    made |= {name: tables.places_in(joined.pop(name), kind) for name, kind in CATEGORIES.items()}
    made |= {name: tables.ints(joined.pop(name)) for name in NUMBERS}
    made |= {name: tables.times(joined.pop(name)) for name in ("first_seen", "last_seen")}
    made["frames"] = _places(joined.pop("place_captures"), joined.pop("place_frames"), rows)
    return tables.table("dependencies", made, len(not_proof))


TEXTS = (
    "site", "client_ip", "server_ip", "application", "function", "client_software", "owner", "resource", "interface",
    "operation", "operation_class", "rpc_auth", "rhythm", "capture",
)  # fmt: skip
CATEGORIES = {
    "application_source": tables.APPLICATION_SOURCE,
    "application_confidence": tables.CONFIDENCE,
    "identity": tables.IDENTITY,
    "verdict": tables.VERDICT,
}
NUMBERS = ("sessions", "uses", "runs", "succeeded", "denied", "active_days", "frame")
"""Columns that are the same in the table as on the way to it."""


def _with_credentials(joined: Columns, rows: TableSet) -> tuple[Ints, pa.Array]:
    """For each row the same client's uses with credentials: how many after a refusal, and a text."""
    uses_ = rows.columns("credentialed_uses", *OF_RESOURCE, "uses", "after_refusal", "capture", "frame")
    uses_ = those(uses_, uses_["resource"] >= 0)
    by_key = Groups(*[uses_[name] for name in OF_RESOURCE])
    keys = [uses_.pop(name)[by_key.first] for name in OF_RESOURCE]  # rows are many
    found = places_of([joined[name] for name in OF_RESOURCE], keys)
    after_refusal = looked_up(by_key.sums(uses_["after_refusal"]), found, 0)
    told = np.unique(found[found >= 0])  # the others are many, and nobody asks
    number, first = by_key.sums(uses_["uses"])[told], by_key.first[told]
    texts = _joined_texts(
        tables.ints(number),
        " ",
        tables.texts(np.where(number == 1, rows.texts.code("use"), rows.texts.code("uses")), rows.texts),
        " with credentials, first in frame ",
        tables.ints(uses_["frame"][first]),
        " of ",
        tables.texts(uses_["capture"][first], rows.texts),
    )
    return after_refusal, tables.coded(places(found, told), texts)


def _sessions_with_credentials(joined: Columns, rows: TableSet) -> Ints:
    """For each row how many sessions with credentials its client has at its server."""
    sessions = rows.columns("sessions", *PAIR, "identity")
    sessions = those(sessions, np.isin(sessions["identity"], PROVEN))
    by_pair = Groups(*[sessions[name] for name in PAIR])
    found = places_of([joined[name] for name in PAIR], [sessions[name][by_pair.first] for name in PAIR])
    return looked_up(by_pair.sizes(), found, 0)


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
    logins = those(rows.columns("sessions", "domain", "user", "status", "frame", "answer_frame", "capture"), row)
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
