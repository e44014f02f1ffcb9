"""Open files by their ids, and what went through them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.compiled import Form
from analyzer.records import DATA_ANSWER, DATA_REQUEST, MESSAGE, Flag, Way
from analyzer.rpc import pipes as rpc
from analyzer.sessions import columns, files
from analyzer.sessions.files import (
    DOS_STATUS,
    H_CLOSED,
    H_HI,
    H_LO,
    H_NAME,
    H_ORDER,
    H_SCOPE,
    H_WIDTH,
    Files,
    pieces_of,
)
from analyzer.sessions.lookup import NONE
from analyzer.sessions.pairing import TAKEN
from analyzer.wire.texts import Texts
from tests import pdus


def rows_of(*told: tuple[int, int, int]) -> Any:
    """Files: scope, id, order. Their names are told by their place."""
    rows = np.zeros((len(told), H_WIDTH), dtype=np.int64)
    for row, (scope, number, order) in zip(rows, told, strict=True):
        row[[H_SCOPE, H_HI, H_LO, H_ORDER]] = scope, number >> 1, number, order
    return rows


def made(form: Form) -> Files:
    """No files; those that are closed are of no more use."""
    return Files(Texts(form), form, lambda rows: rows[:, H_CLOSED] == 0)


def find(known: Files, *wanted: tuple[int, int, int]) -> list[int]:
    """The numbers of files by scope, id and order."""
    scope, number, order = (np.array(column, dtype=np.int64) for column in zip(*wanted, strict=True))
    return known.find(scope, number >> 1, number, order).tolist()


def test_ids_that_are_used_again(form: Form) -> None:
    known = made(form)
    assert known.add(rows_of((1, 5, 10), (2, 5, 20), (1, 5, 30))).tolist() == [0, 1, 2]
    assert find(known, (1, 5, 10), (1, 5, 11), (1, 5, 30), (1, 5, 31), (2, 5, 99), (3, 5, 99), (1, 6, 99)) == [
        NONE, 0, 0, 2, 1, NONE, NONE,
    ]  # fmt: skip
    assert known.add(rows_of((1, 7, 40))).tolist() == [3]
    assert find(known, (1, 7, 41)) == [3]


def test_unsigned_ids(form: Form) -> None:
    """Persistent and volatile ids are 64 bits without a sign: the same bits are the same id."""
    known = made(form)
    rows = rows_of((1, 0, 1))
    rows[0, [H_HI, H_LO]] = np.array([2**64 - 2, 2**63], dtype=np.uint64).view(np.int64)
    known.add(rows)
    hi, lo = np.array([2**64 - 2], dtype=np.uint64), np.array([2**63], dtype=np.uint64)
    assert known.find(np.array([1]), hi, lo, np.array([9])).tolist() == [0]


step = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 1), st.integers(0, 3), st.integers(0, 40)),
    st.tuples(st.just("close"), st.integers(0, 30), st.just(0), st.just(0)),
    st.tuples(st.just("tidy"), st.just(0), st.just(0), st.just(0)),
)


@given(st.lists(step, max_size=30))
def test_as_of_any_place(form: Form, steps: list[tuple[str, int, int, int]]) -> None:
    """Compared with a list that is searched from end to end. Files may be added late: then an earlier place counts."""
    known, model = made(form), []
    for name, one, other, order in steps:
        if name == "add":
            if any(row[:3] == (one, other, order) for row in model):
                continue
            rows = rows_of((one, other, order))
            rows[:, H_NAME] = len(model) + 1000 * order
            known.add(rows)
            model.append((one, other, order, int(rows[0, H_NAME]), [False]))
        elif name == "close" and model:
            place = one % len(model)
            model[place][4][0] = True
            known.rows[place, H_CLOSED] = 1
        elif name == "tidy":
            list(known.tidy())
            model = [row for row in model if not row[4][0]]
        assert len(known.rows) == len(model)
    for scope in range(2):
        for number in range(4):
            for order in (0, 1, 20, 41):
                before = [row for row in model if row[:2] == (scope, number) and row[2] < order]
                wanted = max(before, key=lambda row: row[2])[3] if before else None
                (found,) = find(known, (scope, number, order))
                assert (None if found < 0 else int(known.rows[found, H_NAME])) == wanted


def test_time_to_tidy_up(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LEAST", 4)
    known = made(form)
    known.add(rows_of(*((1, n, n) for n in range(4))))
    assert not known.is_full
    known.add(rows_of((1, 4, 4)))
    assert known.is_full
    list(known.tidy())
    assert len(known.rows) == 5
    assert not known.is_full  # not before there are twice as many as were of use
    known.add(rows_of(*((1, n, n) for n in range(5, 11))))
    assert known.is_full


def piece(pipe: int, data: bytes, at: int, *, from_server: bool = False, frame: int = 0) -> Any:
    """A row of pieces."""
    row = np.zeros(rpc.P_WIDTH, dtype=np.int64)
    row[[rpc.P_PIPE, rpc.P_FROM_SERVER, rpc.P_AT, rpc.P_SIZE, rpc.P_BYTES, rpc.P_FRAME, rpc.P_ORDER]] = (
        pipe, from_server, at, len(data), len(data), frame, 10 * frame,
    )  # fmt: skip
    return row


def heard(known: Files, *told: tuple[int, bytes, bool, int]) -> Iterator[tuple[int, int, int, int]]:
    """Name of the pipe, frame, answer's frame, opnum of each call."""
    arena = np.frombuffer(bytearray(b"".join(data for _, data, _, _ in told)), dtype=np.uint8)
    at, pieces = 0, []
    for pipe, data, from_server, frame in told:
        pieces.append(piece(pipe, data, at, from_server=from_server, frame=frame))
        at += len(data)
    for one in known.pipes.follow(np.array(pieces), arena):
        yield from calls_of(known, one)


def calls_of(known: Files, one: rpc.Heard) -> Iterator[tuple[int, int, int, int]]:
    """While numbers are still valid."""
    for row in one.calls.tolist():
        name = int(known.rows[row[rpc.O_PIPE], H_NAME])
        yield name, row[rpc.O_FRAME], row[rpc.O_ANSWER_FRAME], row[rpc.O_OPNUM]


def test_calls_that_outlast_a_tidying(form: Form) -> None:
    """Pipes get other numbers, and their calls, contexts and half PDUs go with them; those of closed ones are handed out."""
    known = made(form)
    rows = rows_of((1, 1, 1), (1, 2, 2), (1, 3, 3))
    rows[:, H_NAME] = 100, 200, 300
    known.add(rows)
    bound, asked = pdus.bind(pdus.SRVSVC), pdus.request(21, call=5)
    half = pdus.request(36, bytes(40), call=6)
    assert not list(heard(known, *((n, bound, False, 1) for n in range(3)), *((n, asked, False, 2) for n in range(3))))
    assert not list(heard(known, (2, half[:30], False, 3)))
    known.rows[[0, 1], H_CLOSED] = 1
    told = [call for one in known.tidy() for call in calls_of(known, one)]
    assert sorted(told) == [(100, 2, NONE, 21), (200, 2, NONE, 21)]
    assert find(known, (1, 3, 9), (1, 1, 9)) == [0, NONE]
    assert known.add(rows_of((1, 9, 50))).tolist() == [1]
    known.rows[1, H_NAME] = 900
    answer = pdus.answered(0, call=5)
    more = list(heard(known, (0, answer, True, 7), (0, half[30:], False, 8), (1, asked, False, 9)))
    assert more == [(300, 2, 7, 21)]
    rest = [call for one in known.finish() for call in calls_of(known, one)]
    assert sorted(rest) == [(300, 8, NONE, 36), (900, 9, NONE, 21)]


# Pieces. #


class Exchanges:
    """Data requests and their answers as columns of messages, for `pieces_of`."""

    def __init__(self) -> None:
        self.messages: list[dict[str, int]] = []
        self.requests: list[dict[str, int]] = []
        self.answers: list[dict[str, int]] = []
        self.request: list[int] = []
        self.answer: list[int] = []
        self.answer_body: list[int] = []
        self.moved: list[bool] = []

    def message(self, **told: int) -> int:
        """A message; its frame is its place from 1, and its order ten times that."""
        number = len(self.messages)
        self.messages.append({"position": -1, "frame": number + 1, "order": 10 * (number + 1)} | told)
        return number

    def add(self, way: Way, request: int, answer: int, *, sent: int = 0, got: int = -1, moved: bool = True) -> None:
        """sent, got: bytes; -1: the answer has no body."""
        self.requests.append({"way": way, "bytes": max(sent, 0), "payload_at": 1000 + request, "payload_size": sent})
        self.request.append(request)
        self.answer.append(answer)
        self.answer_body.append(len(self.answers) if got >= 0 else NONE)
        if got >= 0:
            self.answers.append({"bytes": got, "payload_at": 2000 + answer, "payload_size": got})
        self.moved.append(moved)

    def pieces(self) -> list[dict[str, int]]:
        """What `pieces_of` makes of them."""

        def table(told: list[dict[str, int]], dtype: Any) -> Any:
            rows = np.zeros(len(told), dtype=dtype)
            for row, fields in zip(rows, told, strict=True):
                for name, value in fields.items():
                    row[name] = value
            return rows

        messages = columns.of_messages(columns.empty(columns.MESSAGE_COLUMNS), table(self.messages, MESSAGE))
        found = pieces_of(
            messages,
            np.full(len(self.messages), 7, dtype=np.int64),
            table(self.requests, DATA_REQUEST),
            np.array(self.request),
            np.array(self.answer),
            table(self.answers, DATA_ANSWER),
            np.array(self.answer_body),
            np.arange(len(self.request)),
            np.array(self.moved),
        )
        names = {value: name.removeprefix("P_").lower() for name, value in vars(rpc).items() if name.startswith("P_")}
        return [{names[place]: value for place, value in enumerate(row)} for row in found.tolist()]


def shown(pieces: list[dict[str, int]], *names: str) -> list[tuple[int, ...]]:
    return [tuple(piece[name] for name in names) for piece in pieces]


def test_pieces_in_the_order_in_which_they_were_sent() -> None:
    told = Exchanges()
    write, wrote, read, got = (told.message(from_server=n % 2) for n in range(4))
    told.add(Way.WRITE, write, wrote, sent=50)
    told.add(Way.READ, read, got, got=60)
    ask, said = told.message(), told.message(from_server=1)
    told.add(Way.TRANSACT, ask, said, sent=30, got=40)
    pieces = told.pieces()
    assert shown(pieces, "pipe", "from_server", "size", "bytes", "frame", "at", "flags") == [
        (0, 0, 50, 50, 1, 1000, 0),
        (1, 1, 60, 60, 4, 2003, 0),
        (2, 0, 30, 30, 5, 1004, 0),
        (2, 1, 40, 40, 6, 2005, 0),
    ]
    assert {piece["session"] for piece in pieces} == {7}


def test_answer_captured_before_its_request() -> None:
    told = Exchanges()
    said, ask = told.message(from_server=1), told.message()
    told.add(Way.TRANSACT, ask, said, sent=30, got=40)
    assert shown(told.pieces(), "from_server", "frame") == [(0, 2), (1, 1)]
    assert told.pieces()[0]["order"] < told.pieces()[1]["order"]


def test_read_that_was_asked_for_first() -> None:
    told = Exchanges()
    read, write, wrote, got = told.message(), told.message(), told.message(from_server=1), told.message(from_server=1)
    told.add(Way.READ, read, got, got=40)
    told.add(Way.WRITE, write, wrote, sent=30)
    assert shown(told.pieces(), "from_server", "frame") == [(0, 2), (1, 4)]


@pytest.mark.parametrize("position", [-1, 100])
def test_read_whose_answer_was_captured_before_the_write(position: int) -> None:
    """By TCP's acknowledgement the server had heard the write. Without one, the order of capture is all there is."""
    told = Exchanges()
    read = told.message(position=10 if position >= 0 else -1)
    got = told.message(from_server=1, position=position)
    write = told.message(position=50 if position >= 0 else -1)
    wrote = told.message(from_server=1, position=position)
    told.add(Way.READ, read, got, got=40)
    told.add(Way.WRITE, write, wrote, sent=30)
    assert shown(told.pieces(), "from_server", "frame") == ([(0, 3), (1, 2)] if position >= 0 else [(1, 2), (0, 3)])


def test_requests_that_failed() -> None:
    """They say where the answer is that says so."""
    told = Exchanges()
    for way in (Way.WRITE, Way.TRANSACT, Way.READ):
        request, answer = told.message(), told.message(from_server=1, status=0xC00000B0)
        told.add(way, request, answer, sent=0 if way == Way.READ else 20, moved=False)
    pieces = told.pieces()
    assert shown(pieces, "pipe", "from_server", "size", "flags", "status", "answer_frame") == [
        (0, 0, 20, rpc.PIECE_FAILED, 0xC00000B0, 2),
        (1, 0, 20, rpc.PIECE_FAILED, 0xC00000B0, 4),
        (1, 1, 0, rpc.PIECE_FAILED, 0xC00000B0, 4),
        (2, 1, 0, rpc.PIECE_FAILED, 0xC00000B0, 6),
    ]


def test_dos_errors_are_told_apart() -> None:
    told = Exchanges()
    request, answer = told.message(), told.message(from_server=1, status=0x00050001, flags=Flag.DOS_STATUS)
    told.add(Way.WRITE, request, answer, sent=20, moved=False)
    assert shown(told.pieces(), "status") == [(DOS_STATUS + 0x00050001,)]


def test_answers_that_were_not_captured() -> None:
    told = Exchanges()
    for way in (Way.WRITE, Way.TRANSACT, Way.READ):
        told.add(way, told.message(), NONE, sent=0 if way == Way.READ else 20)
    assert shown(told.pieces(), "pipe", "from_server", "size", "flags", "answer_frame") == [
        (0, 0, 20, 0, NONE),
        (1, 0, 20, 0, NONE),
        (1, 1, 0, rpc.PIECE_AFTER_GAP, NONE),
        (2, 1, 0, rpc.PIECE_AFTER_GAP, NONE),
    ]


def test_payload_that_is_not_there() -> None:
    """Cut by the capture, let go, or worked off before."""
    told = Exchanges()
    told.add(Way.WRITE, told.message(), told.message(from_server=1), sent=20)
    told.requests[0]["bytes"] = 500
    told.add(Way.WRITE, told.message(), told.message(from_server=1), sent=0)
    told.requests[1]["bytes"] = 500
    told.add(Way.WRITE, told.message(), told.message(from_server=1), sent=TAKEN)
    assert shown(told.pieces(), "pipe", "size", "bytes") == [(0, 20, 500), (1, 0, 500)]


def test_what_begins_like_a_pdu() -> None:
    good = pdus.bind(pdus.SRVSVC)
    parts = [good, good[:15], good[:16], b"\x04" + good[1:], b"", good[:2] + b"\x14" + good[3:], b"\x05\x01" + good[2:]]
    arena = np.frombuffer(b"".join(parts), dtype=np.uint8)
    sizes = np.array([len(part) for part in parts])
    found = files.begin_pdus(arena, np.cumsum(sizes) - sizes, sizes)
    assert found.tolist() == [True, False, True, False, False, False, True]
