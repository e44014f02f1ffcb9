"""The legs of a login, joined to attempts.

A leg is one SESSION_SETUP request with its answer. Legs on the same session id belong to one attempt until an answer is
final, or a claim stays unanswered; the next leg then begins another attempt on the same id (a re-authentication). The
first leg's request carries no id: its answer gives it. [MS-SMB2 3.3.5.5; MS-CIFS 3.3.5.43]
"""

from __future__ import annotations

import numpy as np

from analyzer.records import Flag, Kind, Mechanism, Protocol, Rows, TokenKind, missing_token
from analyzer.sessions.identity import (
    ATTEMPT,
    NO_FORM,
    STATUS_MORE_PROCESSING_REQUIRED,
    TOKEN_IS_CLAIM,
    note_answers,
    note_claims,
)
from analyzer.sessions.joins import NONE, Ints, mixed
from analyzer.sessions.pairing import Paired
from analyzer.wire.texts import Texts

LEG = np.dtype(
    [
        ("connection", "i4"),
        ("protocol", "u1"),
        ("session_id", "u8"),
        ("order", "i8"),
        ("form", "u1"),  # of the request, NO_FORM if it was not captured
        ("binding", "?"),
        ("previous_session_id", "u8"),
        ("token", missing_token(0).dtype),
        ("native_os", "i4"),
        ("native_lanman", "i4"),
        ("capture_no", "i4"),
        ("frame", "i8"),
        ("place", "i4"),
        ("time_ns", "i8"),
        ("status", "i8"),  # -1: unanswered
        ("dos_status", "?"),
        ("flags", "i4"),
        ("has_answer_body", "?"),
        ("signed", "?"),
        ("answer_capture_no", "i4"),
        ("answer_frame", "i8"),
        ("answer_ns", "i8"),
        ("server_name", "i4"),
        ("server_domain", "i4"),
    ]
)


def read_legs(paired: Paired) -> Rows:
    """The legs of a window, in order."""
    requests, request_body, request, answer, answer_body = paired.exchanges("setup")
    failed = paired.failed(Kind.SETUP)
    if len(failed):
        nothing = np.full(len(failed), NONE)
        request, request_body, answer_body = (np.append(one, nothing) for one in (request, request_body, answer_body))
        answer = np.append(answer, failed)
    messages, answers = paired.messages, paired.bodies["setup_answers"]
    legs = np.zeros(len(request), dtype=LEG)
    asked, answered = request >= 0, answer >= 0
    legs["token"] = missing_token(len(legs))
    for name in ("native_os", "native_lanman", "server_name", "server_domain"):
        legs[name] = NONE
    any_message = messages[np.where(asked, request, answer)]
    for name in ("connection", "protocol", "order", "place", "time_ns"):
        legs[name] = any_message[name]
    legs["capture_no"] = legs["frame"] = legs["answer_capture_no"] = legs["answer_frame"] = NONE
    for prefix, there, places in (("", asked, request), ("answer_", answered, answer)):
        for name in ("capture_no", "frame"):
            legs[prefix + name][there] = messages[name][places[there]]
    bodies = requests[request_body[asked]]
    for name in ("form", "binding", "previous_session_id", "native_os", "native_lanman", "token"):
        legs[name][asked] = bodies[name]
    legs["status"] = NONE
    legs["answer_ns"] = legs["time_ns"]
    given = messages[answer[answered]]
    legs["status"][answered] = given["status"]
    legs["dos_status"][answered] = (given["flags"] & Flag.DOS_STATUS) != 0
    legs["signed"][answered] = (given["flags"] & Flag.SIGNED) != 0
    legs["answer_ns"][answered] = given["time_ns"]
    legs["session_id"] = any_message["session_id"]
    new_id = np.zeros(len(legs), dtype=np.uint64)
    new_id[answered] = given["session_id"]
    legs["session_id"] = np.where(new_id != 0, new_id, legs["session_id"])
    has_body = answer_body >= 0
    legs["has_answer_body"] = has_body
    details = answers[answer_body[has_body]]
    legs["flags"][has_body] = details["flags"]
    token = details["token"]
    legs["server_name"][has_body] = np.where(
        token["dns_computer"] >= 0, token["dns_computer"], token["netbios_computer"]
    )
    legs["server_domain"][has_body] = np.where(token["dns_domain"] >= 0, token["dns_domain"], token["netbios_domain"])
    return legs


def join_legs(waiting: Rows, new: Rows, is_over: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[Rows, Ints, Rows]:
    """Group legs to attempts.

    waiting: the legs that an earlier window left. is_over: for each connection number, True if nothing more can come.
    Returns the legs of the attempts that are complete, sorted by attempt and order; where each attempt begins among
    them; and the legs that go on waiting.
    """
    legs = np.concatenate([waiting, new])
    legs = _adopt_first_legs(legs)
    group = mixed(legs["connection"], legs["protocol"], legs["session_id"])
    legs = legs[np.lexsort((legs["order"], group))]
    if not len(legs):
        return legs, np.empty(0, dtype=np.int64), legs
    same = (
        (legs["connection"][1:] == legs["connection"][:-1])
        & (legs["protocol"][1:] == legs["protocol"][:-1])
        & (legs["session_id"][1:] == legs["session_id"][:-1])
        & (legs["session_id"][1:] != 0)
    )
    begins = np.concatenate([[True], ~same | _is_final(legs)[:-1]])
    attempt = np.cumsum(begins) - 1
    last = np.concatenate([np.flatnonzero(begins)[1:], [len(legs)]]) - 1
    complete = _is_final(legs)[last] | is_over[legs["connection"][last]]
    done = complete[attempt]
    ready = legs[done]
    starts = np.flatnonzero(begins[done])
    return ready, starts, legs[~done]


def _is_final(legs: Rows) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    status = legs["status"]
    claim = np.isin(legs["token"]["kind"], TOKEN_IS_CLAIM)
    return np.where(status >= 0, status != STATUS_MORE_PROCESSING_REQUIRED, claim)


def _adopt_first_legs(legs: Rows) -> Rows:
    """A first leg whose answer was lost has no id; it belongs to the next attempt of its connection that lacks one."""
    orphan = (legs["session_id"] == 0) & (legs["status"] < 0) & ~np.isin(legs["token"]["kind"], TOKEN_IS_CLAIM)
    if not orphan.any():
        return legs
    legs = legs[np.argsort(legs["order"], kind="stable")]
    orphan = (legs["session_id"] == 0) & (legs["status"] < 0) & ~np.isin(legs["token"]["kind"], TOKEN_IS_CLAIM)
    taken: set[tuple[int, int]] = set()
    for place in np.flatnonzero(orphan).tolist():
        connection = legs["connection"][place]
        later = np.flatnonzero((legs["connection"] == connection) & (legs["order"] > legs["order"][place]))
        for other in later[:8].tolist():
            key = (int(connection), int(legs["session_id"][other]))
            first = legs["token"]["kind"][other] == TokenKind.NTLM_AUTHENTICATE and not np.any(
                (legs["connection"] == connection)
                & (legs["session_id"] == legs["session_id"][other])
                & (legs["order"] < legs["order"][other])
            )
            if first and key not in taken and key[1]:
                taken.add(key)
                legs["session_id"][place] = legs["session_id"][other]
                break
    return legs


def make_attempts(
    legs: Rows, starts: Ints, share_level: np.ndarray[tuple[int], np.dtype[np.bool_]], texts: Texts
) -> Rows:
    """Attempts from their legs, judged only as far as request and answer go: `session` and identity are still open.

    share_level: for each connection number, True if its server wants passwords for shares.
    """
    if not len(legs):
        return np.empty(0, dtype=ATTEMPT)
    made = np.zeros(len(starts), dtype=ATTEMPT)
    ends = np.concatenate([starts[1:], [len(legs)]])
    attempt = np.repeat(np.arange(len(starts)), ends - starts)
    places = np.arange(len(legs))
    has_request = legs["form"] != NO_FORM
    claim = has_request & np.isin(legs["token"]["kind"], TOKEN_IS_CLAIM)
    first_claim = _last(attempt, np.where(claim, places, NONE), len(starts))
    any_request = _last(attempt, np.where(has_request, places, NONE), len(starts))
    chosen = np.where(first_claim >= 0, first_claim, np.where(any_request >= 0, any_request, ends - 1))
    told = legs[chosen]
    final = legs[ends - 1]
    for name in (
        "connection",
        "protocol",
        "order",
        "capture_no",
        "frame",
        "place",
        "time_ns",
        "native_os",
        "native_lanman",
    ):
        made[name] = told[name]
    for name in ("session_id", "status", "dos_status", "answer_capture_no", "answer_frame"):
        made[name] = final[name]
    made["previous_session_id"] = legs["previous_session_id"][starts]
    made["binding"] = _last(attempt, legs["binding"].astype(np.int64), len(starts)) > 0
    for name in ("server_name", "server_domain"):
        known = _last(attempt, np.where(legs[name] >= 0, places, NONE), len(starts))
        made[name] = np.where(known >= 0, legs[name][known], NONE)
    made["ended_ns"] = NONE
    note_claims(made, told["token"], told["form"], share_level[made["connection"]], texts)
    note_answers(made, final["flags"], final["signed"], made["protocol"] == Protocol.SMB2, final["has_answer_body"])
    # Where the claim could not be read, the mechanism may still show in an earlier leg.
    known = _last(attempt, np.where(legs["token"]["mechanism"] != Mechanism.UNKNOWN, places, NONE), len(starts))
    guessed = (made["mechanism"] == Mechanism.UNKNOWN) & (known >= 0)
    made["mechanism"][guessed] = legs["token"]["mechanism"][known[guessed]]
    return made


def _last(group: Ints, values: Ints, count: int) -> Ints:
    """The largest value of each group, `NONE` where all are."""
    largest = np.full(count, NONE, dtype=np.int64)
    np.maximum.at(largest, group, values)
    return largest
