"""Requests and answers, joined.

SMB 2 numbers its requests, so the number decides, whichever of the two was captured first. SMB 1 uses a number again as
soon as its answer has arrived; there a request is answered by the first answer with its number that the server sent
after hearing it. What the server had heard is read from TCP's acknowledgement number, not from the order of capture.

Messages that have no counterpart yet wait for it, at most `MAX_WAITING` of them: then the older half is let go, as are
those of connections that are over. They are handed on as they are: unanswered, or an answer without its request.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from analyzer.compiled import Bytes, Form, Ints, Table, entry, plain_kernels
from analyzer.records import BODIES, MESSAGE, NO_KEY, Batch, Flag, Kind, Protocol, Rows, empty_bodies
from analyzer.sessions import columns
from analyzer.sessions.columns import (
    C_CONNECTION,
    C_FROM_SERVER,
    C_KEY,
    C_KIND,
    C_POSITION,
    C_PROTOCOL,
    Columns,
)
from analyzer.sessions.joins import NONE, is_in, joined, mixed, nones, places_of
from analyzer.sessions.lookup import SEED
from analyzer.wire.loads import copy_bytes, mix

Mask = npt.NDArray[np.bool_]

MAX_WAITING = 32_768
MAX_KEPT = 16 * 1024 * 1024
"""Bytes of payload that may wait; of messages that come when there are more, only the counts of bytes do."""
WITH_PAYLOAD = ("data_requests", "data_answers", "referrals")
TAKEN = -2
"""Size of payload that was worked off before its message was."""
ORDER_STEP = 1024
"""Orders of messages in a row differ by so much: PDUs that turn out to be in an encrypted one find room behind it."""
NO_ERROR = (0, 0xC0000016)
"""Success, and that a login goes on (STATUS_MORE_PROCESSING_REQUIRED)."""

# Of each group of messages with one key, for `pair_by_key`. #
GROUP_REQUEST = 0  # the last request
GROUP_ANSWER = 1  # the first answer
GROUP_BLIND = 2  # 1: it is not known what the server had heard
GROUP_WIDTH = 3
KIND_ENCRYPTED = int(Kind.ENCRYPTED)
PROTOCOL_SMB2 = int(Protocol.SMB2)


GIVES_IDS = np.isin(np.arange(256), (Kind.SETUP, Kind.TREE_CONNECT, Kind.OPEN))
"""What the answers to these kinds give is used by later requests."""


@dataclass(slots=True)
class Paired:
    """A window's messages with those that had waited. `answer[i]` is the place of the answer to message `i`.

    request: the other way round. ready: what may be worked off now: paired, or given up waiting for. void: SMB 1
    requests that were never carried out. bodies: those of the new messages and of those that had waited. arena: what their
    payloads point into. scope: what tree and file ids of each message belong to; who has numbered the sessions sets it.
    """

    messages: Columns
    bodies: dict[str, Rows]
    answer: Ints
    request: Ints
    ready: Mask
    void: Mask
    arena: Bytes
    scope: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def failed(self, kind: Kind) -> Ints:
        """Error answers of a kind that were given up waiting for their requests: they have no body.

        A second answer to a request (servers tell so that a session has expired) is none of them.
        """
        messages = self.messages
        found = places_of((messages["kind"] == int(kind)) & self.ready & (self.request < 0))
        status = messages["status"][found]
        found = found[(messages["from_server"][found] != 0) & (status != NO_ERROR[0]) & (status != NO_ERROR[1])]
        answered = places_of(self.answer >= 0)
        if not len(found) or not len(answered):
            return found
        connection, key = messages["connection"], messages["key"]
        concerned = np.zeros(int(connection.max()) + 1, dtype=bool)
        concerned[connection[found]] = True
        answered = answered[concerned[connection[answered]]]
        asked = np.sort(mixed(connection[answered], key[answered]))
        return found[~is_in(mixed(connection[found], key[found]), asked)]

    def exchanges(self, name: str) -> tuple[Rows, Ints, Ints, Ints, Ints]:
        """The ready exchanges of a kind (`"tree"`, ...), in order.

        Returns the request bodies' places, the request messages, the answer messages, the answer bodies' places (each
        `NONE` where there is none); the first of the five is the table of request bodies. Those that have a request come
        first.
        """
        requests, answers = self.bodies[f"{name}_requests"], self.bodies[f"{name}_answers"]
        asked = requests["row"].astype(np.int64)
        wanted = places_of(self.ready[asked] & ~self.void[asked])
        asked = asked[wanted]
        answered = self.answer[asked]
        told = answers["row"].astype(np.int64)
        if not len(told):
            return requests, wanted, asked, answered, nones(len(asked))
        body_of = nones(len(self.messages) + 1)  # the last item serves `NONE`
        body_of[told] = np.arange(len(told))
        answer_body = body_of[answered]
        alone_body = places_of(self.ready[told] & (self.request[told] < 0))
        if not len(alone_body):
            return requests, wanted, asked, answered, answer_body
        nothing = nones(len(alone_body))
        return (
            requests,
            np.concatenate([wanted, nothing]),
            np.concatenate([asked, nothing]),
            np.concatenate([answered, told[alone_body]]),
            np.concatenate([answer_body, alone_body]),
        )


class Pairing:
    """Joins the messages of one window after the other."""

    def __init__(self, form: Form = plain_kernels) -> None:
        self._form = form
        self._messages = columns.of_messages(columns.empty(columns.MESSAGE_COLUMNS), np.empty(0, dtype=MESSAGE))
        self._bodies = empty_bodies()
        self._payload = np.empty(0, dtype=np.uint8)  # of those that wait
        self._places = np.empty(0, dtype=np.int64)  # where those that wait stood in what was paired last
        self._order = 0
        self.let_go = 0  # messages that waited when there was no more room
        self.payload_let_go = 0  # bytes of payload for which there was none

    def feed(self, batch: Batch, order: Ints | None = None) -> Paired:
        """Pair a window. Gives the messages their `order`: that of their coming, unless it is told."""
        waiting = len(self._messages)
        messages = columns.of_messages(self._messages, batch.messages)
        if order is None:
            order = np.arange(self._order, self._order + len(batch.messages)) * ORDER_STEP
            self._order += len(batch.messages)
        messages["order"][waiting:] = order
        bodies = {name: _joined(self._bodies[name], batch.bodies[name], waiting) for name in BODIES}
        arena = np.require(batch.arena, requirements="W")  # compiled kernels take no other
        if len(self._payload):  # a small part of the arena is payload
            new = [bodies[name][len(self._bodies[name]) :] for name in WITH_PAYLOAD]
            arena = np.concatenate([self._payload, *self._gathered(new, arena, len(self._payload))])
        answer, request = pair(messages, self._form)
        void = _void(messages, answer)
        places = places_of((answer < 0) & (request < 0) & ~void)
        places = places[_can_wait(messages["kind"][places], messages["key"][places])]
        places = places[~_is_overtaken(messages, places, answer)]
        if len(batch.ended) and len(places):
            connection = messages["connection"][places]
            ended = np.zeros(max(int(connection.max()), int(batch.ended["connection"].max())) + 1, dtype=bool)
            ended[batch.ended["connection"]] = True
            places = places[~ended[connection]]
        if len(places) > MAX_WAITING:
            oldest = len(places[: -MAX_WAITING // 2])
            places = places[oldest:]
            self.let_go += oldest
        ready = np.ones(len(messages), dtype=bool)
        ready[places] = False
        self._keep(messages, bodies, places, ~ready, arena)
        return Paired(messages, bodies, answer, request, ready, void, arena)

    def concerned(self, connections: Ints) -> Mask:
        """True for connections of which a message still waits."""
        found: Mask = np.isin(connections, self._messages["connection"])
        return found

    def take_payload(self, requests: Ints) -> None:
        """The payload of some of the data requests that wait, by their places among these, has been worked off."""
        self._bodies["data_requests"]["payload_size"][requests] = TAKEN

    def give_up(self, places: Ints) -> None:
        """Some requests without payload (one or more), by their places in what was paired last, do not wait any longer."""
        given_up = np.zeros(int(max(self._places.max(initial=0), places.max())) + 1, dtype=bool)
        given_up[places] = True
        stays = ~given_up[self._places]
        place = np.cumsum(stays) - 1
        self._places = self._places[stays]
        self._messages = self._messages.take(places_of(stays))
        for name, table in self._bodies.items():
            if len(table):
                kept = table.compress(stays[table["row"]])
                kept["row"] = place[kept["row"]]
                self._bodies[name] = kept

    def finish(self) -> Paired:
        """All that still waits."""
        messages, bodies = self._messages, dict(self._bodies)
        count, arena = len(messages), self._payload
        nothing = np.empty(0, dtype=np.int64)
        self._keep(messages, bodies, nothing, np.zeros(count, dtype=bool), arena)
        alone = nones(count)
        everything = np.ones(count, dtype=bool)
        return Paired(messages, bodies, alone, alone.copy(), everything, ~everything, arena)

    def _keep(self, messages: Columns, bodies: dict[str, Rows], places: Ints, waits: Mask, arena: Bytes) -> None:
        place = nones(len(messages))
        place[places] = np.arange(len(places))
        self._messages = messages.take(places)
        self._places = places
        for name, table in bodies.items():
            if not len(places) or not len(table):
                self._bodies[name] = np.empty(0, dtype=table.dtype)
                continue
            kept = table.compress(waits[table["row"]])
            kept["row"] = place[kept["row"]]
            self._bodies[name] = kept
        self._payload = self._moved([self._bodies[name] for name in WITH_PAYLOAD], arena)

    def _moved(self, tables: list[Rows], arena: Bytes) -> Bytes:
        """The payloads of these bodies one after the other; the bodies say where they are there."""
        left = MAX_KEPT
        for table in tables:
            sizes = np.maximum(table["payload_size"], 0)
            ends = np.cumsum(sizes, dtype=np.int64)
            if len(ends) and ends[-1] > left:
                beyond = ends > left
                self.payload_let_go += int(sizes[beyond].sum())
                table["payload_size"][beyond] = sizes[beyond] = 0
            left -= int(sizes.sum())
        return np.concatenate([np.empty(0, dtype=np.uint8), *self._gathered(tables, arena, 0)])

    def _gathered(self, tables: list[Rows], arena: Bytes, at: int) -> list[Bytes]:
        """The payloads of each table one after the other; the bodies say where they are from `at` on."""
        parts = []
        for table in tables:
            sizes = np.maximum(table["payload_size"], 0).astype(np.int64)
            ends = np.cumsum(sizes)
            part = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
            if len(part):
                self._form().gather(arena, table["payload_at"].astype(np.int64), sizes, part)
            parts.append(part)
            table["payload_at"] = at + ends - sizes
            at += len(part)
        return parts


def _joined(waiting: Rows, new: Rows, offset: int) -> Rows:
    if not offset or not len(waiting) + len(new):
        return new
    both = joined(waiting, new)
    both["row"][len(waiting) :] += offset
    return both


def _can_wait(kind: Ints, key: Ints) -> Mask:
    """Encrypted messages have no key."""
    waits: Mask = (kind != Kind.ENCRYPTED.value) & (key != NO_KEY)
    return waits


def _is_overtaken(messages: Columns, places: Ints, answer: Ints) -> Mask:
    """True for those answers that give ids and will not meet their requests any more: a later exchange is complete.

    What uses the ids comes soon, and must find them. A request is seldom captured behind its answer, and never so far.
    """
    found = np.zeros(len(places), dtype=bool)
    alone = places_of((messages["from_server"][places] != 0) & GIVES_IDS[messages["kind"][places]])
    if len(alone):
        asked = places_of(answer >= 0)
        last = nones(int(messages["connection"].max()) + 1)
        np.maximum.at(last, messages["connection"][asked], messages["order"][asked])
        found[alone] = last[messages["connection"][places[alone]]] > messages["order"][places[alone]]
    return found


def _void(messages: Columns, answer: Ints) -> Mask:
    """True for SMB 1 requests that were never carried out: what their chain begins with failed. [MS-CIFS 3.3.5.2.9]"""
    void = np.zeros(len(messages), dtype=bool)
    is_chained = (messages["flags"] & Flag.CHAINED.value) != 0
    chained = places_of(is_chained & (messages["from_server"] == 0) & (answer < 0))
    if len(chained):
        connection, message = messages["connection"], messages["message"]
        concerned = np.zeros(int(connection.max()) + 1, dtype=bool)
        concerned[connection[chained]] = True
        failed = places_of(concerned[connection] & (answer >= 0) & ~is_chained & (messages["from_server"] == 0))
        failed = failed[messages["status"][answer[failed]] != 0]
        theirs = np.sort(mixed(connection[failed], message[failed]))
        void[chained] = is_in(mixed(connection[chained], message[chained]), theirs)
    return void


def pair(messages: Columns, form: Form) -> tuple[Ints, Ints]:
    """For each message the place of its answer, and for each that of its request; `NONE` where it has none."""
    count = len(messages)
    answer = nones(count)
    request = nones(count)
    if not count:
        return answer, request
    slots = np.zeros(1 << (2 * count - 1).bit_length(), dtype=np.int64)
    groups = np.empty((count, GROUP_WIDTH), dtype=np.int64)
    group = np.empty(count, dtype=np.int64)
    if form().pair_by_key(messages.table, SEED, slots, groups, group, answer):
        chosen = places_of((messages["protocol"] != Protocol.SMB2.value) & (group >= 0))
        chosen = chosen[_by_number_and_place(messages, chosen, group[chosen], groups[group[chosen], GROUP_BLIND] != 0)]
        from_server, numbered = messages["from_server"][chosen], group[chosen]
        at = places_of((from_server[:-1] == 0) & (from_server[1:] != 0) & (numbered[:-1] == numbered[1:]))
        answer[chosen[at]] = chosen[at + 1]
    asked = places_of(answer >= 0)
    request[answer[asked]] = asked
    return answer, request


def _by_number_and_place(messages: Columns, chosen: Ints, group: Ints, blind: Mask) -> Ints:
    """SMB 1: an order in which the answer to a request stands behind it: by what the server had heard.

    blind: where that is not known for all messages of the group; they are taken as captured.
    """
    order = messages["order"][chosen]
    place = np.where(blind, order, messages["position"][chosen])
    return np.lexsort((order, messages["from_server"][chosen], place, group))


@entry
def gather(arena: Bytes, starts: Ints, sizes: Ints, into: Bytes) -> int:
    """Put parts of an arena one behind the other; returns where they end."""
    at = 0
    for i in range(starts.shape[0]):
        copy_bytes(into, at, arena, starts[i], sizes[i])
        at += sizes[i]
    return at


@entry
def pair_by_key(columns: Table, seed: int, slots: Ints, groups: Table, group: Ints, answer: Ints) -> int:
    """Group messages by protocol, connection and key, and set the answers of SMB 2 requests.

    group: set to the place of the first message of each one's group, -1 for messages that pair with nothing. slots:
    zeros, a power of two, twice as many as messages. Returns how many are not SMB 2: those are only grouped.
    """
    others = 0
    mask = slots.shape[0] - 1
    for i in range(columns.shape[1]):
        group[i] = NONE
        connection, key, protocol = columns[C_CONNECTION, i], columns[C_KEY, i], columns[C_PROTOCOL, i]
        if columns[C_KIND, i] == KIND_ENCRYPTED or key == NO_KEY:
            continue
        slot = mix(mix(mix(seed, connection), key & 0xFFFFFFFF), (key >> 32) & 0xFFFFFFFF) & mask
        g = slots[slot] - 1
        while g >= 0 and (
            columns[C_CONNECTION, g] != connection or columns[C_KEY, g] != key or columns[C_PROTOCOL, g] != protocol
        ):
            slot = (slot + 1) & mask
            g = slots[slot] - 1
        if g < 0:
            g = i
            slots[slot] = i + 1
            groups[g, GROUP_REQUEST] = NONE
            groups[g, GROUP_ANSWER] = NONE
            groups[g, GROUP_BLIND] = 0
        group[i] = g
        if protocol != PROTOCOL_SMB2:
            others += 1
            if columns[C_POSITION, i] < 0:
                groups[g, GROUP_BLIND] = 1
        elif not columns[C_FROM_SERVER, i]:
            groups[g, GROUP_REQUEST] = i
        elif groups[g, GROUP_ANSWER] == NONE:
            groups[g, GROUP_ANSWER] = i
    for i in range(columns.shape[1]):
        if group[i] == i and groups[i, GROUP_REQUEST] >= 0 and columns[C_PROTOCOL, i] == PROTOCOL_SMB2:
            answer[groups[i, GROUP_REQUEST]] = groups[i, GROUP_ANSWER]
    return others
