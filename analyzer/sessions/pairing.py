"""Requests and answers, joined.

SMB 2 numbers its requests, so the number decides, whichever of the two was captured first. SMB 1 uses a number again as
soon as its answer has arrived; there a request is answered by the first answer with its number that the server sent
after hearing it. What the server had heard is read from TCP's acknowledgement number, not from the order of capture.

Messages that have no counterpart yet wait for it, at most `MAX_WAITING` of them: then the older half is let go, as are
those of connections that are over. They are handed on as they are: unanswered, or an answer without its request.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analyzer.records import BODIES, MESSAGE, NO_KEY, Batch, Flag, Kind, Protocol, Rows, empty_bodies
from analyzer.sessions.joins import NONE, Ints, mixed

MAX_WAITING = 32_768
NO_ERROR = (0, 0xC0000016)
"""Success, and that a login goes on (STATUS_MORE_PROCESSING_REQUIRED)."""


@dataclass(slots=True)
class Paired:
    """A window's messages with those that had waited. `answer[i]` is the place of the answer to message `i`.

    ready: what may be worked off now: paired, or given up waiting for.
    """

    messages: Rows
    bodies: dict[str, Rows]
    answer: Ints
    ready: np.ndarray[tuple[int], np.dtype[np.bool_]]

    def failed(self, kind: Kind) -> Ints:
        """Error answers of a kind that were given up waiting for their requests: they have no body.

        A second answer to a request (servers tell so that a session has expired) is none of them.
        """
        messages = self.messages
        answered = np.flatnonzero(self.answer >= 0)
        has_request = np.zeros(len(messages), dtype=bool)
        has_request[self.answer[answered]] = True
        alone = messages["from_server"] & self.ready & ~has_request & (messages["kind"] == kind)
        found = np.flatnonzero(alone & ~np.isin(messages["status"], NO_ERROR))
        if not len(found):
            return found
        asked = mixed(messages["connection"][answered], messages["key"][answered])
        return found[~np.isin(mixed(messages["connection"][found], messages["key"][found]), asked)]

    def exchanges(self, name: str) -> tuple[Rows, Ints, Ints, Ints, Ints]:
        """The ready exchanges of a kind (`"tree"`, ...), in order.

        Returns the request bodies' places, the request messages, the answer messages, the answer bodies' places (each
        `NONE` where there is none); the first of the five is the table of request bodies.
        """
        requests, answers = self.bodies[f"{name}_requests"], self.bodies[f"{name}_answers"]
        body_of = np.full(len(self.messages), NONE, dtype=np.int64)
        body_of[answers["row"]] = np.arange(len(answers))
        asked = requests["row"].astype(np.int64)
        wanted = np.flatnonzero(self.ready[asked] & ~_is_void(self.messages, self.answer)[asked])
        asked = asked[wanted]
        answered = self.answer[asked]
        answer_body = np.where(answered >= 0, body_of[answered], NONE)
        has_request = np.zeros(len(self.messages), dtype=bool)
        has_request[self.answer[self.answer >= 0]] = True
        alone = answers["row"].astype(np.int64)
        alone_body = np.flatnonzero(self.ready[alone] & ~has_request[alone])
        alone = alone[alone_body]
        nothing = np.full(len(alone), NONE, dtype=np.int64)
        return (
            requests,
            np.concatenate([wanted, nothing]),
            np.concatenate([asked, nothing]),
            np.concatenate([answered, alone]),
            np.concatenate([answer_body, alone_body]),
        )


class Pairing:
    """Joins the messages of one window after the other."""

    def __init__(self) -> None:
        self._messages: Rows = np.empty(0, dtype=MESSAGE)
        self._bodies = empty_bodies()
        self._order = 0
        self.let_go = 0  # messages that waited when there was no more room

    def feed(self, batch: Batch) -> Paired:
        """Pair a window. Gives the messages their `order`."""
        batch.messages["order"] = np.arange(self._order, self._order + len(batch.messages))
        self._order += len(batch.messages)
        messages = np.concatenate([self._messages, batch.messages])
        bodies = {name: _joined(self._bodies[name], batch.bodies[name], len(self._messages)) for name in BODIES}
        answer = _pair(messages)
        alone = answer < 0
        alone[answer[answer >= 0]] = False
        waits = alone & _can_wait(messages) & ~np.isin(messages["connection"], batch.ended["connection"])
        waits &= ~_is_void(messages, answer)
        if np.count_nonzero(waits) > MAX_WAITING:
            oldest = np.flatnonzero(waits)[: -MAX_WAITING // 2]
            waits[oldest] = False
            self.let_go += len(oldest)
        paired = Paired(messages, bodies, answer, ~waits)
        self._keep(messages, bodies, waits)
        return paired

    def finish(self) -> Paired:
        """All that still waits."""
        messages, bodies = self._messages, self._bodies
        self._keep(messages, bodies, np.zeros(len(messages), dtype=bool))
        alone = np.full(len(messages), NONE, dtype=np.int64)
        return Paired(messages, bodies, alone, np.ones(len(messages), dtype=bool))

    def _keep(self, messages: Rows, bodies: dict[str, Rows], waits: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        place = np.cumsum(waits) - 1
        self._messages = messages[waits]
        for name, table in bodies.items():
            kept = table[waits[table["row"]]]
            kept["row"] = place[kept["row"]]
            self._bodies[name] = kept


def _joined(waiting: Rows, new: Rows, offset: int) -> Rows:
    joined = np.concatenate([waiting, new])
    joined["row"][len(waiting) :] += offset
    return joined


def _can_wait(messages: Rows) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Encrypted messages have no key; a DATA payload would be gone with its window, but its counts are in the bodies."""
    waits: np.ndarray[tuple[int], np.dtype[np.bool_]] = (messages["kind"] != Kind.ENCRYPTED) & (
        messages["key"] != NO_KEY
    )
    return waits


def _is_void(messages: Rows, answer: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """True for SMB 1 requests that were never carried out: what their chain begins with failed. [MS-CIFS 3.3.5.2.9]"""
    void = np.zeros(len(messages), dtype=bool)
    chained = np.flatnonzero(((messages["flags"] & Flag.CHAINED) != 0) & ~messages["from_server"] & (answer < 0))
    if len(chained):
        failed = np.flatnonzero((answer >= 0) & ((messages["flags"] & Flag.CHAINED) == 0) & ~messages["from_server"])
        failed = failed[messages["status"][answer[failed]] != 0]
        mine = mixed(messages["connection"][chained], messages["message"][chained])
        void[chained] = np.isin(mine, mixed(messages["connection"][failed], messages["message"][failed]))
    return void


def _pair(messages: Rows) -> Ints:
    """For each message the place of its answer, `NONE` for answers and for requests without one."""
    pairable = _can_wait(messages)
    is_smb2 = messages["protocol"] == Protocol.SMB2
    answer = np.full(len(messages), NONE, dtype=np.int64)
    for places, in_sequence in (
        (np.flatnonzero(pairable & is_smb2), _by_number),
        (np.flatnonzero(pairable & ~is_smb2), _by_number_and_place),
    ):
        chosen = places[in_sequence(messages[places])]
        from_server, connection, key = (messages[name][chosen] for name in ("from_server", "connection", "key"))
        follows = ~from_server[:-1] & from_server[1:] & (connection[:-1] == connection[1:]) & (key[:-1] == key[1:])
        at = np.flatnonzero(follows)
        answer[chosen[at]] = chosen[at + 1]
    return answer


def _by_number(messages: Rows) -> Ints:
    """SMB 2: an order in which the answer to a request stands behind it. Messages come in their own order."""
    group = mixed(messages["connection"], messages["key"]) & ~np.uint64(1)
    return np.argsort(group | messages["from_server"], kind="stable")


def _by_number_and_place(messages: Rows) -> Ints:
    """SMB 1: likewise, by what the server had heard; where that is not known for all with a number, as captured."""
    group = mixed(messages["connection"], messages["key"])
    _, member = np.unique(group, return_inverse=True)
    blind = np.zeros(len(messages), dtype=bool)
    blind[member[messages["position"] < 0]] = True
    place = np.where(blind[member], messages["order"], messages["position"])
    return np.lexsort((messages["order"], messages["from_server"], place, group))
