"""Requests and answers: the kernel against the rules as the module states them, written out by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analyzer.compiled import Form
from analyzer.records import DATA_ANSWER, DATA_REQUEST, MESSAGE, NO_KEY, Batch, Kind, Protocol, Way, empty_bodies
from analyzer.sessions import columns, pairing
from analyzer.sessions.lookup import NONE
from analyzer.sessions.pairing import Pairing, pair
from analyzer.smb.select import MAX_COMPOUND
from analyzer.wire.texts import Texts

message = st.fixed_dictionaries(
    {
        "connection": st.integers(0, 2),
        "protocol": st.sampled_from([Protocol.SMB1, Protocol.SMB2]),
        "key": st.sampled_from([0, 1, 2**63 + 1, 1 << 32, NO_KEY]),
        "from_server": st.booleans(),
        "kind": st.sampled_from([Kind.OPEN, Kind.SETUP, Kind.ENCRYPTED]),
        "position": st.integers(-1, 5),
    }
)


def messages_of(told: list[dict[str, Any]]) -> Any:
    """Messages with these fields, in this order."""
    made = np.zeros(len(told), dtype=MESSAGE)
    for place, fields in enumerate(told):
        for name, value in fields.items():
            made[name][place] = value
    made["order"] = np.arange(len(told))
    return made


def no_messages() -> columns.Columns:
    """Columns of messages without a row."""
    return columns.empty(columns.MESSAGE_COLUMNS)


def answers_by_the_rules(told: list[dict[str, Any]]) -> list[int]:
    """SMB 2: the first answer to the last request with its number. SMB 1: by what the server had heard."""
    groups: dict[tuple[int, int, int], list[int]] = {}
    for place, fields in enumerate(told):
        if fields["kind"] != Kind.ENCRYPTED and fields["key"] != NO_KEY:
            groups.setdefault((fields["protocol"], fields["connection"], fields["key"]), []).append(place)
    answer = [NONE] * len(told)
    for (protocol, _, _), members in groups.items():
        if protocol == Protocol.SMB2:
            requests = [place for place in members if not told[place]["from_server"]]
            answers = [place for place in members if told[place]["from_server"]]
            if requests and answers:
                answer[requests[-1]] = answers[0]
            continue
        blind = any(told[place]["position"] < 0 for place in members)
        members.sort(key=lambda p: (p if blind else told[p]["position"], told[p]["from_server"], p))
        for one, next_one in pairwise(members):
            if not told[one]["from_server"] and told[next_one]["from_server"]:
                answer[one] = next_one
    return answer


@given(told=st.lists(message, max_size=40))
def test_pairs(form: Form, told: list[dict[str, Any]]) -> None:
    answer, request = pair(columns.of_messages(no_messages(), messages_of(told)), form)
    assert answer.tolist() == answers_by_the_rules(told)
    asked = {given_answer: place for place, given_answer in enumerate(answer.tolist()) if given_answer >= 0}
    assert request.tolist() == [asked.get(place, NONE) for place in range(len(told))]


def batch(told: list[dict[str, Any]]) -> Batch:
    """A window of these messages, without bodies."""
    return Batch(texts=Texts(), arena=np.empty(0, dtype=np.uint8), messages=messages_of(told), bodies=empty_bodies())


def fields(key: int, *, from_server: bool = False, connection: int = 0) -> dict[str, Any]:
    """A message of an SMB 2 open."""
    return {
        "connection": connection,
        "protocol": Protocol.SMB2,
        "key": key,
        "from_server": from_server,
        "kind": Kind.OPEN,
        "position": 0,
    }


def test_requests_wait_for_their_answers(form: Form) -> None:
    waiting = Pairing(form)
    first = waiting.feed(batch([fields(1), fields(2)]))
    assert not first.ready.any()
    second = waiting.feed(batch([fields(2, from_server=True), fields(3)]))
    assert second.messages["key"].tolist() == [1, 2, 2, 3]
    assert second.answer.tolist() == [NONE, 2, NONE, NONE]
    assert second.ready.tolist() == [False, True, True, False]
    last = waiting.finish()
    assert last.messages["key"].tolist() == [1, 3]
    assert last.messages["order"].tolist() == [0, 3 * pairing.ORDER_STEP]
    assert last.ready.all()


def test_nothing_waits_on_a_connection_that_is_over(form: Form) -> None:
    waiting = Pairing(form)
    told = batch([fields(1), fields(1, connection=1)])
    told.ended = np.zeros(1, dtype=told.ended.dtype)
    assert waiting.feed(told).ready.tolist() == [True, False]


def test_what_waits_is_bounded(form: Form) -> None:
    waiting = Pairing(form)
    count = pairing.MAX_WAITING + 1
    told = batch([])
    told.messages = np.zeros(count, dtype=MESSAGE)
    told.messages["protocol"] = Protocol.SMB2
    told.messages["kind"] = Kind.OPEN
    told.messages["key"] = np.arange(count)
    ready = waiting.feed(told).ready
    assert waiting.let_go == np.count_nonzero(ready) == count - pairing.MAX_WAITING // 2
    assert not ready[-pairing.MAX_WAITING // 2 :].any()


def test_orders_leave_room_or_are_told() -> None:
    """What was in an encrypted message comes behind it, and in front of the one after it."""
    told = messages_of([{"kind": Kind.OPEN, "key": number, "connection": 0} for number in range(3)])
    texts = Texts()
    batch = Batch(texts=texts, arena=np.empty(0, np.uint8), messages=told, bodies=empty_bodies())
    waiting = Pairing()
    first = waiting.feed(batch).messages["order"].tolist()
    assert first == [0, pairing.ORDER_STEP, 2 * pairing.ORDER_STEP]
    assert MAX_COMPOUND < pairing.ORDER_STEP
    late = messages_of([{"kind": Kind.OPEN, "key": 9 + number, "connection": 0} for number in range(2)])
    batch = Batch(texts=texts, arena=np.empty(0, np.uint8), messages=late, bodies=empty_bodies())
    assert waiting.feed(batch, np.array([5, 6])).messages["order"].tolist() == [*first, 5, 6]
    after = waiting.feed(batch).messages["order"].tolist()
    assert after[-2:] == [3 * pairing.ORDER_STEP, 4 * pairing.ORDER_STEP]


# Payload. #


def window(*told: tuple[int, bool, bytes]) -> Batch:
    """Data messages: key, whether it is an answer, payload."""
    arena = np.frombuffer(bytearray(b"arena:" + b"".join(data for _, _, data in told)), dtype=np.uint8)
    made = batch([fields(key, from_server=answers) | {"kind": Kind.DATA} for key, answers, _ in told])
    made.arena = arena
    at = 6
    for is_answer, name, kind in ((False, "data_requests", DATA_REQUEST), (True, "data_answers", DATA_ANSWER)):
        places = [place for place, (_, answers, _) in enumerate(told) if answers is is_answer]
        rows = np.zeros(len(places), dtype=kind)
        rows["row"] = places
        rows["bytes"] = rows["payload_size"] = [len(told[place][2]) for place in places]
        rows["payload_at"] = [at + sum(len(data) for _, _, data in told[:place]) for place in places]
        if not is_answer:
            rows["way"] = Way.WRITE
        made.bodies[name] = rows
    return made


def payloads(paired: pairing.Paired, name: str) -> dict[int, bytes]:
    """Of what is ready, by key."""
    found = {}
    for row in paired.bodies[name]:
        if paired.ready[row["row"]]:
            data = paired.arena[row["payload_at"] : row["payload_at"] + max(row["payload_size"], 0)]
            found[int(paired.messages["key"][row["row"]])] = data.tobytes()
    return found


def test_payload_waits_with_its_message(form: Form) -> None:
    """Through several windows, whatever comes in between; of answers that come first, too."""
    waiting = Pairing(form)
    first = waiting.feed(window((1, False, b"one"), (2, False, b"two"), (9, True, b"early")))
    assert payloads(first, "data_requests") == {}
    second = waiting.feed(window((3, False, b"three"), (1, True, b"")))
    assert payloads(second, "data_requests") == {1: b"one"}
    third = waiting.feed(window())
    assert payloads(third, "data_requests") == {}
    fourth = waiting.feed(window((9, False, b"late"), (2, True, b"answer")))
    assert payloads(fourth, "data_requests") == {9: b"late", 2: b"two"}
    assert payloads(fourth, "data_answers") == {9: b"early", 2: b"answer"}
    assert payloads(waiting.finish(), "data_requests") == {3: b"three"}
    assert waiting.payload_let_go == 0


def test_payload_that_waits_is_bounded(form: Form, monkeypatch: Any) -> None:
    """The first that come are kept; of the others the messages are, and the bytes are counted."""
    monkeypatch.setattr(pairing, "MAX_KEPT", 10)
    waiting = Pairing(form)
    waiting.feed(window((1, False, b"12345"), (2, False, b"67890"), (3, False, b"x"), (9, True, b"y")))
    assert waiting.payload_let_go == 2
    last = waiting.finish()
    assert payloads(last, "data_requests") == {1: b"12345", 2: b"67890", 3: b""}
    assert payloads(last, "data_answers") == {9: b""}
    assert last.bodies["data_requests"]["bytes"].tolist() == [5, 5, 1]


def test_payload_that_is_taken_before_its_message(form: Form) -> None:
    waiting = Pairing(form)
    waiting.feed(window((1, False, b"one"), (2, False, b"two")))
    waiting.take_payload(np.array([0]))
    second = waiting.feed(window((1, True, b""), (3, False, b"three")))
    (row,) = second.bodies["data_requests"][second.messages["key"][second.bodies["data_requests"]["row"]] == 1]
    assert (row["payload_size"], row["bytes"]) == (pairing.TAKEN, 3)
    assert payloads(waiting.finish(), "data_requests") == {2: b"two", 3: b"three"}
    assert waiting.payload_let_go == 0


@given(
    told=st.lists(st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.binary(max_size=5)), max_size=6), max_size=6)
)
def test_no_payload_is_mixed_up(form: Form, told: list[list[tuple[int, bool, bytes]]]) -> None:
    """Each message has its own, in whichever window it is worked off, and each once."""
    marked = [
        [(key, answers, data and bytes([16 * number + place]) + data) for place, (key, answers, data) in enumerate(one)]
        for number, one in enumerate(told)
    ]
    waiting = Pairing(form)
    found: list[tuple[int, bool, bytes]] = []
    for paired in [*(waiting.feed(window(*one)) for one in marked), waiting.finish()]:
        for name, answers in (("data_requests", False), ("data_answers", True)):
            for row in paired.bodies[name]:
                if paired.ready[row["row"]]:
                    data = paired.arena[row["payload_at"] : row["payload_at"] + row["payload_size"]].tobytes()
                    found.append((int(paired.messages["key"][row["row"]]), answers, data))
    assert sorted(found) == sorted(message for one in marked for message in one)
