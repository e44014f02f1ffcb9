"""Open files and pipes: what a file id means at a place in the order, and what goes through it.

A file is a row as long as something may still be done with it: it is forgotten when it is closed or its connection is over,
and none of the connection's messages waits for its counterpart. Whether its open has a row in the results is another matter
(`H_OPEN`): what sessions with credentials do with pipes is followed too, to be counted.
Files and the pipes of `rpc` have the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from analyzer.compiled import Form, Ints, Table
from analyzer.records import Flag, Rows, Way
from analyzer.rpc.pipes import (
    P_ANSWER_CAPTURE,
    P_ANSWER_FRAME,
    P_AT,
    P_BYTES,
    P_CAPTURE,
    P_FLAGS,
    P_FRAME,
    P_FROM_SERVER,
    P_ORDER,
    P_PIPE,
    P_PLACE,
    P_SESSION,
    P_SIZE,
    P_STATUS,
    P_TIME,
    P_WIDTH,
    PIECE_AFTER_GAP,
    PIECE_FAILED,
    Heard,
    Pipes,
)
from analyzer.sessions.columns import Columns
from analyzer.sessions.joins import NONE, GrowingTable, as_of, places_of
from analyzer.sessions.lookup import Chains, keys
from analyzer.sessions.pairing import TAKEN
from analyzer.wire.texts import Texts

Mask = npt.NDArray[np.bool_]

H_SCOPE = 0  # what its id belongs to, and the id
H_HI = 1
H_LO = 2
H_ORDER = 3
H_CONNECTION = 4
H_SESSION = 5
H_OPEN = 6  # row of its open, -1: not kept, or not captured
H_TREE = 7  # row of its tree, -1: not known
H_NAME = 8  # code of the pipe's name, -1: not known
H_CLOSED = 9
H_WIDTH = 10

DOS_STATUS = 1 << 32
"""Added to a status of a piece that is a DOS error, and none of NT."""

LEAST = 4096
"""Files that are not looked at for those that are of no more use."""


class Files:
    """See the module."""

    def __init__(self, texts: Texts, form: Form, is_live: Callable[[Table], Mask]) -> None:
        """is_live: told rows (`H_`); says which of them may still be used."""
        self._form = form
        self._is_live = is_live
        self._table = GrowingTable(H_WIDTH)
        self._by_id = self._new_index()
        self._limit = LEAST
        self.pipes = Pipes(texts, form)

    @property
    def rows(self) -> Table:
        """All files (`H_`) by number. Not to be kept while files are added or forgotten."""
        return self._table.rows

    def add(self, files: Table) -> Ints:
        """Add files (`H_`, a row each, in their order); returns their numbers."""
        numbers = np.arange(len(self._table), len(self._table) + len(files))
        self._table.add(len(files))[:] = files
        self.pipes.add(len(files))
        self._by_id.add(keys(files[:, H_SCOPE], files[:, H_HI], files[:, H_LO]), files[:, H_ORDER].copy(), numbers)
        return numbers

    def find(self, scope: Ints, hi: npt.NDArray[np.generic], lo: npt.NDArray[np.generic], order: Ints) -> Ints:
        """The number of the file that each id means, `NONE` if there is none."""
        return self._by_id.as_of(keys(scope, hi, lo), order)

    @property
    def is_full(self) -> bool:
        """True when it is time to tidy up."""
        return len(self._table) > self._limit

    def tidy(self) -> Iterator[Heard]:
        """Forget what is of no more use. Hands out what the pipes among it still hold.

        Numbers change, once all that is handed out has been taken.
        """
        live = self._is_live(self.rows)
        yield from self.pipes.flush(places_of(~live))
        kept = places_of(live)
        self.pipes.keep(kept)
        rows = self.rows[kept]
        self._table = GrowingTable(H_WIDTH)
        self._table.add(len(rows))[:] = rows
        self._by_id = self._new_index()
        numbers = np.arange(len(rows))
        self._by_id.add(keys(rows[:, H_SCOPE], rows[:, H_HI], rows[:, H_LO]), rows[:, H_ORDER].copy(), numbers)
        self._limit = max(LEAST, 2 * len(rows))

    def finish(self) -> Iterator[Heard]:
        """Hand out all that pipes still hold."""
        yield from self.pipes.flush(np.arange(len(self._table)))

    def _new_index(self) -> Chains:
        return Chains(3, self._form, lambda rows: np.ones(len(rows), dtype=bool))


def pieces_of(
    messages: Columns,
    session: Ints,
    rows: Rows,
    request: Ints,
    answer: Ints,
    answers: Rows,
    answer_body: Ints,
    file: Ints,
    moved: Mask,
) -> Table:
    """What went through files, in the order in which it was sent: pieces for `rpc.pipes` (`P_`).

    What a server sends comes after the request that it answers, whichever of the two was captured first. A read may be asked
    for before the write that it answers: it comes after all that the server had heard, by TCP's acknowledgement. An answer
    that was not captured leaves a gap.
    """
    writes, reads = rows["way"] != Way.READ.value, rows["way"] != Way.WRITE.value
    with_bytes = places_of(writes & (rows["payload_size"] != TAKEN))
    told = places_of(reads & moved & (answer_body >= 0))
    silent = places_of(reads & (~moved | (answer_body < 0)))
    pieces: Table = np.zeros((len(with_bytes) + len(told) + len(silent), P_WIDTH), dtype=np.int64)
    order = np.empty(len(pieces), dtype=np.int64)
    asked_at = messages["order"][request]
    answered_at = asked_at + 1
    reads_answered = places_of((rows["way"] == Way.READ.value) & (answer >= 0))
    answered_at[reads_answered] = np.maximum(
        answered_at[reads_answered], _heard_until(messages, answer[reads_answered]) + 1
    )
    first, second, third = np.split(pieces, [len(with_bytes), len(with_bytes) + len(told)])
    for part, which, bodies, places in (
        (first, with_bytes, rows, with_bytes),
        (second, told, answers, answer_body[told]),
    ):
        part[:, P_PIPE] = file[which]
        part[:, P_AT] = bodies["payload_at"][places]
        part[:, P_SIZE] = np.maximum(bodies["payload_size"][places], 0)
        part[:, P_BYTES] = np.maximum(bodies["bytes"][places], part[:, P_SIZE])
    failed = np.where(moved, 0, PIECE_FAILED)
    status = np.where(answer >= 0, messages["status"][answer], 0)
    status |= np.where((answer >= 0) & ((messages["flags"][answer] & Flag.DOS_STATUS.value) != 0), DOS_STATUS, 0)
    first[:, P_FLAGS], first[:, P_STATUS] = failed[with_bytes], status[with_bytes]
    second[:, P_FROM_SERVER] = 1
    third[:, P_PIPE], third[:, P_FROM_SERVER] = file[silent], 1
    message = np.concatenate([request[with_bytes], answer[told], request[silent]])
    pieces[:, P_SESSION] = session[message]
    for column, name in (
        (P_CAPTURE, "capture_no"),
        (P_FRAME, "frame"),
        (P_TIME, "time_ns"),
        (P_ORDER, "order"),
        (P_PLACE, "place"),
    ):
        pieces[:, column] = messages[name][message]
    second[:, P_ORDER] = answered_at[told]
    replied = np.concatenate([answer[with_bytes], answer[told], answer[silent]])
    for column, name in ((P_ANSWER_CAPTURE, "capture_no"), (P_ANSWER_FRAME, "frame")):
        pieces[:, column] = np.where(replied >= 0, messages[name][replied], NONE)
    third[:, P_FLAGS] = np.where(answer[silent] < 0, PIECE_AFTER_GAP, failed[silent])
    third[:, P_STATUS] = status[silent]
    order[: len(with_bytes)] = asked_at[with_bytes]
    order[len(with_bytes) :] = answered_at[np.append(told, silent)]
    return np.take(pieces, np.argsort(order, kind="stable"), axis=0)


def begin_pdus(arena: npt.NDArray[np.uint8], at: npt.NDArray[np.generic], size: npt.NDArray[np.generic]) -> Mask:
    """True where bytes begin like a DCE/RPC PDU: version 5.0 or 5.1. [C706 12.6.3.1]"""
    found: Mask = size.astype(np.int64) >= 16
    place = at[found].astype(np.int64)
    found[found] = (arena[place] == 5) & (arena[place + 1] <= 1) & (arena[place + 2] < 20) & (arena[place + 5] < 4)
    return found


def _heard_until(messages: Columns, answer: Ints) -> Ints:
    """For each answer the order of the last request that the server had heard; where that is not known, its own."""
    if not len(answer):
        return answer
    found = messages["order"][answer].copy()
    told = places_of(messages["position"][answer] >= 0)
    asked = places_of((messages["from_server"] == 0) & (messages["position"] >= 0))
    if not len(told) or not len(asked):
        return found
    connection, position = messages["connection"], messages["position"]
    before = as_of(connection[answer[told]], position[answer[told]] + 1, connection[asked], position[asked])
    known = before >= 0
    found[told[known]] = messages["order"][asked[before[known]]]
    return found
