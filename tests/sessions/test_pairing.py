"""Requests and answers: the kernel against the rules as the module states them, written out by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analyzer.compiled import Form
from analyzer.records import MESSAGE, NO_KEY, Batch, Kind, Protocol, empty_bodies
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
