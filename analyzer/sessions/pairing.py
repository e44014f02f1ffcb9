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

from analyzer.records import BODIES, MESSAGE, NO_KEY, Batch, Kind, Protocol, Rows, empty_bodies
from analyzer.sessions.joins import NONE, Ints, mixed

MAX_WAITING = 32_768


@dataclass(slots=True)
class Paired:
    """A window's messages with those that had waited. `answer[i]` is the place of the answer to message `i`.

    ready: what may be worked off now: paired, or given up waiting for.
    """

    messages: Rows
    bodies: dict[str, Rows]
    answer: Ints
    ready: np.ndarray[tuple[int], np.dtype[np.bool_]]

    def exchanges(self, name: str) -> tuple[Rows, Ints, Ints, Ints, Ints]:
        """The ready exchanges of a kind (`"tree"`, ...), in order.

        Returns the request bodies' places, the request messages, the answer messages, the answer bodies' places (each
        `NONE` where there is none); the first of the five is the table of request bodies.
        """
        requests, answers = self.bodies[f"{name}_requests"], self.bodies[f"{name}_answers"]
        body_of = np.full(len(self.messages), NONE, dtype=np.int64)
        body_of[answers["row"]] = np.arange(len(answers))
        asked = requests["row"].astype(np.int64)
        wanted = np.flatnonzero(self.ready[asked])
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
    waits: np.ndarray[tuple[int], np.dtype[np.bool_]] = (messages["kind"] != Kind.ENCRYPTED) & (messages["key"] != NO_KEY)
    return waits


def _pair(messages: Rows) -> Ints:
    """For each message the place of its answer, `NONE` for answers and for requests without one."""
    pairable = np.flatnonzero(_can_wait(messages))
    chosen = messages[pairable]
    is_answer = chosen["from_server"]
    is_smb2 = chosen["protocol"] == Protocol.SMB2
    group = mixed(chosen["connection"], chosen["protocol"], chosen["key"])
    # Where acknowledgement numbers are not known for all messages of a group, the order of capture must do.
    _, member = np.unique(group, return_inverse=True)
    blind = np.zeros(len(chosen), dtype=bool)
    blind[member[chosen["position"] < 0]] = True
    place = np.where(blind[member], chosen["order"], chosen["position"])
    place = np.where(is_smb2, 0, place)
    sequence = np.lexsort((chosen["order"], is_answer, place, group))
    ordered = chosen[sequence]
    follows = (
        ~is_answer[sequence][:-1]
        & is_answer[sequence][1:]
        & (ordered["connection"][:-1] == ordered["connection"][1:])
        & (ordered["key"][:-1] == ordered["key"][1:])
        & (ordered["protocol"][:-1] == ordered["protocol"][1:])
    )
    answer = np.full(len(messages), NONE, dtype=np.int64)
    at = np.flatnonzero(follows)
    answer[pairable[sequence[at]]] = pairable[sequence[at + 1]]
    return answer
