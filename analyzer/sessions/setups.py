"""The legs of a login, joined to attempts.

A leg is one SESSION_SETUP request with its answer. Legs on the same session id belong to one attempt until an answer is
final, or a claim stays unanswered; the next leg then begins another attempt on the same id (a re-authentication). The
first leg's request carries no id: its answer gives it. [MS-SMB2 3.3.5.5; MS-CIFS 3.3.5.43]
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from analyzer.compiled import Ints
from analyzer.records import TEXTS_OF_TOKEN, TOKEN, Flag, Kind, Mechanism, Protocol, Rows, TokenKind
from analyzer.sessions import columns
from analyzer.sessions.columns import Columns
from analyzer.sessions.identity import (
    ATTEMPT,
    NO_FORM,
    STATUS_MORE_PROCESSING_REQUIRED,
    TOKEN_IS_CLAIM,
    note_answers,
    note_claims,
)
from analyzer.sessions.joins import NONE, mixed, nones, places_of
from analyzer.sessions.names import Names
from analyzer.sessions.pairing import Paired

Mask = npt.NDArray[np.bool_]

TOKEN_FIELDS = {name: name if name != "flags" else "ntlm_flags" for name in TOKEN.names or ()}
"""The columns of a leg that its request's token fills, by their names in `TOKEN`."""
LEG = (
    "connection",
    "protocol",
    "session_id",
    "order",
    "form",  # of the request, NO_FORM if it was not captured
    "binding",
    "previous_session_id",
    "native_os",
    "native_lanman",
    "capture_no",
    "frame",
    "place",
    "time_ns",
    "status",  # -1: unanswered
    "dos_status",
    "flags",
    "has_answer_body",
    "signed",
    "answer_capture_no",
    "answer_frame",
    "answer_ns",
    "server_name",
    "server_domain",
    *TOKEN_FIELDS.values(),
)
"""The columns of legs."""
NONE_AT_FIRST = (
    *TEXTS_OF_TOKEN,
    "lm_size",
    "nt_size",
    "key_size",
    "native_os",
    "native_lanman",
    "server_name",
    "server_domain",
    "capture_no",
    "frame",
    "answer_capture_no",
    "answer_frame",
    "status",
)
OF_LAST_ANSWER = (
    "session_id",
    "status",
    "dos_status",
    "answer_capture_no",
    "answer_frame",
    "flags",
    "signed",
    "has_answer_body",
)
IS_REST = (TokenKind.OTHER, TokenKind.UNREADABLE)
"""What the later parts of a token look like, which begin in its midst."""
IS_CLAIM = np.isin(np.arange(256), TOKEN_IS_CLAIM)


def no_legs() -> Columns:
    """Legs, none yet."""
    return columns.empty(LEG)


def read_legs(paired: Paired, waiting: Columns) -> Columns:
    """The legs that an earlier window left, and those of a window, in order."""
    requests, request_body, request, answer, answer_body = paired.exchanges("setup")
    failed = paired.failed(Kind.SETUP)
    if len(failed):
        nothing = nones(len(failed))
        request, request_body, answer_body = (np.append(one, nothing) for one in (request, request_body, answer_body))
        answer = np.append(answer, failed)
    messages, answers = paired.messages, paired.bodies["setup_answers"]
    if not len(request):
        return waiting
    all_legs = columns.empty(LEG, len(waiting) + len(request))
    all_legs.table[:, : len(waiting)] = waiting.table
    legs = Columns(all_legs.names, all_legs.table[:, len(waiting) :])
    for name in NONE_AT_FIRST:
        legs[name] = NONE
    any_message = np.where(request >= 0, request, answer)
    for name in ("connection", "protocol", "order", "place", "time_ns", "session_id"):
        legs[name] = messages[name][any_message]
    legs["answer_ns"] = legs["time_ns"]
    asked = slice(int(np.count_nonzero(request >= 0)))  # they come first
    answered, told = (places_of(places >= 0) for places in (answer, answer_body))
    message, body = request[asked], request_body[asked]
    for name in ("capture_no", "frame"):
        legs[name][asked] = messages[name][message]
    for name in ("form", "binding", "previous_session_id", "native_os", "native_lanman"):
        legs[name][asked] = requests[name][body]
    tokens = requests["token"]
    for name, column in TOKEN_FIELDS.items():
        legs[column][asked] = tokens[name][body]
    message, body = answer[answered], answer_body[told]
    for name in ("capture_no", "frame"):
        legs["answer_" + name][answered] = messages[name][message]
    legs["status"][answered] = messages["status"][message]
    legs["answer_ns"][answered] = messages["time_ns"][message]
    flags = messages["flags"][message]
    legs["dos_status"][answered] = (flags & Flag.DOS_STATUS.value) != 0
    legs["signed"][answered] = (flags & Flag.SIGNED.value) != 0
    new_id = messages["session_id"][message]
    legs["session_id"][answered] = np.where(new_id != 0, new_id, legs["session_id"][answered])
    legs["has_answer_body"][told] = 1
    legs["flags"][told] = answers["flags"][body]
    token = answers["token"]
    for name, first, second in (
        ("server_name", "dns_computer", "netbios_computer"),
        ("server_domain", "dns_domain", "netbios_domain"),
    ):
        best = token[first][body]
        legs[name][told] = np.where(best >= 0, best, token[second][body])
    return all_legs


def join_legs(legs: Columns, is_over: Callable[[Ints], Mask]) -> tuple[Ints, Ints, Columns]:
    """Group legs to attempts.

    is_over: True for connections (by number) if nothing more can come. Returns the places of the legs of the attempts that
    are complete, by attempt and order; where each attempt begins among them; and the legs that go on waiting.
    """
    if not len(legs):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), legs
    _adopt_first_legs(legs)
    group = mixed(legs["connection"], legs["protocol"], legs["session_id"])
    sequence = np.lexsort((legs["order"], group))
    connection, protocol, session_id = (legs[name][sequence] for name in ("connection", "protocol", "session_id"))
    same = (
        (connection[1:] == connection[:-1])
        & (protocol[1:] == protocol[:-1])
        & (session_id[1:] == session_id[:-1])
        & (session_id[1:] != 0)
    )
    _take_up_continued(legs, sequence, same)
    final = _is_final(legs["status"][sequence], legs["kind"][sequence])
    begins = np.concatenate([[True], ~same | final[:-1]])
    attempt = np.cumsum(begins) - 1
    last = np.concatenate([places_of(begins)[1:], [len(legs)]]) - 1
    complete = final[last] | is_over(connection[last])
    done = complete[attempt]
    return sequence[done], places_of(begins[done]), legs.take(sequence[~done])


def _take_up_continued(legs: Columns, sequence: Ints, same: Mask) -> None:
    """The rest of a token that was longer than its message makes no claim of its own. [RFC 4178 5; MS-SPNG 3.1.5]

    sequence: places of the legs by session and order. same: whether each of them but the first is on the session of the
    one before it.
    """
    continues = legs["continues"] != 0
    if not continues.any():
        return
    kind, status = legs["kind"], legs["status"]
    for at in places_of(continues[sequence]).tolist():
        while at < len(same) and same[at] and status[sequence[at]] in (NONE, STATUS_MORE_PROCESSING_REQUIRED):
            at += 1  # noqa: PLW2901
            if kind[sequence[at]] not in IS_REST:
                break
            kind[sequence[at]] = TokenKind.WITHOUT_TOKEN
            if continues[sequence[at]]:
                break  # it has a turn of its own


def _is_final(status: Ints, kind: Ints) -> Mask:
    return np.where(status >= 0, status != STATUS_MORE_PROCESSING_REQUIRED, IS_CLAIM[kind])


def _adopt_first_legs(legs: Columns) -> None:
    """A first leg whose answer was lost has no id; it belongs to the next attempt of its connection that lacks one."""
    orphan = (legs["session_id"] == 0) & (legs["status"] < 0) & ~IS_CLAIM[legs["kind"]]
    if not orphan.any():
        return
    # Only the legs of connections that have such a leg are looked at, one connection at a time.
    connection = legs["connection"]
    concerned = np.zeros(int(connection.max()) + 1, dtype=bool)
    concerned[connection[orphan]] = True
    among = places_of(concerned[connection])
    among = among[np.lexsort((legs["order"][among], connection[among]))]
    begins = places_of(np.diff(connection[among]))
    for places in np.split(among, begins + 1):
        _adopt(legs, places, orphan[places])


def _adopt(legs: Columns, places: Ints, orphan: Mask) -> None:
    """`_adopt_first_legs` for the legs of a connection, in order."""
    ids = legs["session_id"][places].tolist()
    authenticates = (legs["kind"][places] == TokenKind.NTLM_AUTHENTICATE.value).tolist()
    met: dict[int, int] = {}  # session id: its first leg
    for place, session_id in enumerate(ids):
        met.setdefault(session_id, place)
    taken: set[int] = set()
    for place in places_of(orphan).tolist():
        for other in range(place + 1, min(place + 9, len(ids))):
            session_id = ids[other]
            if authenticates[other] and session_id and session_id not in taken and met[session_id] == other:
                taken.add(session_id)
                ids[place] = session_id
                met[session_id] = place
                break
    legs["session_id"][places] = ids


def make_attempts(
    legs: Columns, sequence: Ints, starts: Ints, share_level: Callable[[Ints], Mask], names: Names
) -> Rows:
    """Attempts from their legs, judged only as far as request and answer go: `session` and identity are still open.

    sequence, starts: see `join_legs`. share_level: True for connections (by number) whose server wants passwords for shares.
    """
    if not len(sequence):
        return np.empty(0, dtype=ATTEMPT)
    made = np.zeros(len(starts), dtype=ATTEMPT)
    ends = np.concatenate([starts[1:], [len(sequence)]])
    places = np.arange(len(sequence))

    def last(holds: Mask) -> Ints:
        """Of each attempt the last leg for which this holds, `NONE` if it holds for none."""
        found: Ints = np.maximum.reduceat(np.where(holds, places, NONE), starts)
        return found

    has_request = legs["form"][sequence] != NO_FORM
    claim = last(has_request & IS_CLAIM[legs["kind"][sequence]])
    any_request = last(has_request)
    told = legs.take(sequence[np.where(claim >= 0, claim, np.where(any_request >= 0, any_request, ends - 1))])
    final = {name: legs[name][sequence[ends - 1]] for name in OF_LAST_ANSWER}
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
    made["previous_session_id"] = legs["previous_session_id"][sequence[starts]]
    made["binding"] = np.maximum.reduceat(legs["binding"][sequence], starts) > 0
    for name in ("server_name", "server_domain"):
        of_legs = legs[name][sequence]
        known = last(of_legs >= 0)
        made[name] = np.where(known >= 0, of_legs[known], NONE)
    made["ended_ns"] = NONE
    note_claims(made, told, share_level(told["connection"]), names)
    note_answers(
        made,
        final["flags"],
        final["signed"] != 0,
        told["protocol"] == Protocol.SMB2.value,
        final["has_answer_body"] != 0,
    )
    # Where the claim could not be read, the mechanism may still show in an earlier leg.
    mechanism = legs["mechanism"][sequence]
    known = last(mechanism != Mechanism.UNKNOWN.value)
    guessed = (made["mechanism"] == Mechanism.UNKNOWN.value) & (known >= 0)
    made["mechanism"][guessed] = mechanism[known[guessed]]
    return made
