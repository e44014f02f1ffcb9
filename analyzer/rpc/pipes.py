"""Following pipes: pieces of what was written and read become PDUs, and these become binds and calls.

A pipe is one open of a named pipe. What it knows is its own: presentation contexts (which number stands for which interface),
calls that wait for their answer (by call_id), and in each direction the PDU that has begun and is not complete. A PDU that
lies whole in a piece is read where it is; of one that comes in several, head and tail are collected in a slot.

`follow_pipes` takes pieces in the order in which they were sent. Where something is missing before a piece, the next PDU
that begins with a piece is found by its header. What is no PDU makes the pipe one that carries something else, of which the
first bytes are kept.

Binds and calls are handed out when they are complete, or as they are when their pipe is given back (`Pipes.flush`).
All that grows has a bound, and what was dropped at it is counted.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple
from uuid import UUID

import numpy as np

from analyzer import knowledge
from analyzer.compiled import Bytes, Form, Ints, Table, entry, kernel, memory
from analyzer.rpc.pdu import (
    ALTER_CONTEXT,
    ALTER_CONTEXT_RESPONSE,
    AT_CALL_ID,
    AT_CONTEXT,
    AT_CONTEXT_COUNT,
    AT_CONTEXTS,
    AT_FAULT_STATUS,
    AT_FLAGS,
    AT_OPNUM,
    AT_REJECT_REASON,
    AT_SECONDARY,
    AT_STUB,
    BIND,
    BIND_ACK,
    BIND_NAK,
    CONTEXT_SIZE,
    FAULT,
    HEAD,
    HEADER_SIZE,
    LEVEL_CONNECT,
    LEVEL_PRIVACY,
    OBJECT_SIZE,
    PFC_FIRST_FRAG,
    PFC_LAST_FRAG,
    PFC_OBJECT_UUID,
    REQUEST,
    RESPONSE,
    RESULT_SIZE,
    SYNTAX_SIZE,
    TAIL,
    TRAILER_SIZE,
    is_big,
    pdu_length,
    place_of,
    trailer_of,
    uuid_first,
)
from analyzer.rpc.stub import (
    A_LEVEL,
    A_SERVER_AT,
    A_SERVER_SIZE,
    A_TEXT,
    A_WIDTH,
    pack_letters,
    read_arguments,
)
from analyzer.wire.loads import byte, copy_bytes, le64, mix, u16, u32
from analyzer.wire.texts import MISSING, Texts

NONE = -1
_SEED = secrets.randbits(32)
"""Makes the hashes of a run unpredictable: a capture could else be made whose interfaces collide."""

# A piece of what went through a pipe: columns of the table that `follow_pipes` takes. #

P_PIPE = 0
P_FROM_SERVER = 1
P_AT = 2  # arena offset ...
P_SIZE = 3  # ... and how much of it is there,
P_BYTES = 4  # of so many bytes
P_FLAGS = 5
P_STATUS = 6  # of the SMB answer to it
P_SESSION = 7  # of the message that carried it; then where that is: in the order of `O_SESSION` and on
P_CAPTURE = 8
P_FRAME = 9
P_TIME = 10
P_ORDER = 11
P_PLACE = 12
P_ANSWER_CAPTURE = 13  # where the answer to it is, -1: not captured
P_ANSWER_FRAME = 14
P_WIDTH = 15

PIECE_AFTER_GAP = 1  # something is missing before it
PIECE_FAILED = 2  # the request that carried it (to the server), or asked for it, was answered with an error

# A pipe. Then for each direction, at `Q_FIRST + direction * Q_WIDTH`, the PDU that has begun. #

PIPE_CONTEXTS = 0  # first of its contexts, newest first
PIPE_CONTEXT_COUNT = 1
PIPE_WAITING = 2  # first of its calls that wait, newest first
PIPE_WAITING_COUNT = 3
PIPE_AUTH_TYPE = 4  # of the last bind that had one; -1: none
PIPE_AUTH_LEVEL = 5
PIPE_FORM = 6  # what it carries: FORM_
PIPE_FIRST = 7  # the first bytes that the client sent, if they were no PDU, as a little-endian number ...
PIPE_FIRST_SIZE = 8  # ... and how many there were
Q_FIRST = 9
Q_LEFT = 0  # bytes of the PDU (or of its header, if that is not complete) that are still to come; 0: none has begun
Q_LENGTH = 1  # its frag_length, 0: not known yet
Q_SLOT = 2  # where it is collected, -1: nowhere, there was no room
Q_HAVE = 3  # bytes of it so far
Q_CUT = 4  # 1: bytes of it are missing
Q_CAPTURE = 5  # where its last bytes came
Q_FRAME = 6
Q_WIDTH = 7
PIPE_WIDTH = Q_FIRST + 2 * Q_WIDTH

FIRST_BYTES = 7
"""So many of them are kept: what fits in a number that is not negative."""

FORM_NOTHING = 0
FORM_DCERPC = 1
FORM_OTHER = 2

# What binds and calls have in common. #

O_PIPE = 0  # set when it is handed out
O_SESSION = 1  # number of the session of its request
O_CAPTURE = 2  # the request; -1: not captured
O_FRAME = 3
O_TIME = 4  # (of the answer, if only that was captured)
O_ORDER = 5
O_PLACE = 6
O_ANSWER_CAPTURE = 7
O_ANSWER_FRAME = 8
O_INTERFACE = 9  # number of the interface, -1: not known
O_TRANSFER = 10  # TRANSFER_
O_AUTH_TYPE = 11  # -1: none
O_AUTH_LEVEL = 12
O_RESULT = 13  # RESULT_
O_CODE = 14
O_NAME = 15  # code of a text: of a call the name that it is about, of a bind the secondary address
O_CALL_ID = 16
# Calls. #
O_OPNUM = 17  # -1: not known
O_SERVER = 18  # code of a text
O_LEVEL = 19
O_STATE = 20
O_WIDTH = 21
N_NEXT = 21
N_WIDTH = 22

STATE_ASKED = 1  # all of the request was seen
STATE_ANSWERING = 2  # the answer has begun
STATE_EARLY = 4  # an answer was seen before its request, or without it
STATE_OBJECT = 8  # it has an object UUID

# Binds: a row for each presentation context. #
B_CONTEXT = 17  # p_cont_id
B_ALTER = 18  # 1: by alter_context
B_WIDTH = 19
X_STATE = 19
X_NEXT = 20
X_WIDTH = 21

CONTEXT_PROPOSED = 0
CONTEXT_ACCEPTED = 1
CONTEXT_REFUSED = 2

RESULT_NONE = 0  # no answer was captured
RESULT_DONE = 1  # calls: answered, the code is the last four bytes of the stub; binds: accepted
RESULT_FAULT = 2
RESULT_SEALED = 3  # answered, the stub is encrypted
RESULT_UNREADABLE = 4  # answered, and where the code is was not captured
RESULT_SHORT = 5  # answered, with a stub that has no room for a code
RESULT_SMB = 6  # the SMB request that carried it failed, with that status
RESULT_REFUSED = 7  # binds: the context was refused, code: result and reason; [C706 12.6.4.4]
RESULT_NAK = 8  # binds: all of it was refused, code: the reject reason

TRANSFER_UNKNOWN = 0
TRANSFER_NDR = 1
TRANSFER_NDR64 = 2
TRANSFER_FEATURES = 3  # no syntax, but a negotiation of features: the context is never used [MS-RPCE 3.3.1.5.3]

NDR = 0x11C91CEB_8A885D04  # 8a885d04-1ceb-11c9-9fe8-08002b104860, its first half [C706 I]
NDR64 = 0x4937BEBA_71710533  # 71710533-beba-4937-8319-b5dbef9ccc36 [MS-RPCE 2.2.4.12]
FEATURES = 0x45409812_6CB71C2C  # 6cb71c2c-9812-4540-...: the other half is a bit mask [MS-RPCE 2.2.4.12]

# An interface. #

I_FIRST = 0  # the two halves of its UUID
I_SECOND = 1
I_VERSION = 2  # major version, and 65,536 times the minor one
I_OPERATIONS = 3  # where its operations begin in `operations` ...
I_COUNT = 4  # ... and how many there are
I_WIDTH = 5
MAX_INTERFACES = 4096
"""So many different interfaces are told apart; those that come later are not known."""

MAX_CONTEXTS = 512
MAX_WAITING = 256
"""Contexts and waiting calls of one pipe: with more the oldest are dropped, or handed out unanswered."""
SLOT = HEAD + TAIL
SLOTS = 2048
ROOM = 4096
"""Rows of binds or calls that one piece (of at most 68 KB) may make or need."""
OUT_ROWS = 2 * ROOM
SAID_ROOM = 256 * 1024
LONGEST_ADDRESS = 256

# State: what is free, how much is used, what was given up. #

S_FREE_CONTEXT = 0
S_FREE_WAITING = 1
S_FREE_SLOT = 2
S_CALLS = 3
S_BINDS = 4
S_TEXTS = 5
S_SAID = 6
S_INTERFACES = 7
S_CONTEXTS_LEFT = 8
S_WAITING_LEFT = 9
S_GIVEN_UP = 10  # PDUs for which there was no room
S_UNKNOWN = 11  # interfaces that could not be told apart any more
S_SEED = 12
S_FOUND = 13  # what was read of arguments
S_WIDTH = S_FOUND + A_WIDTH

TEXT_AT = 0
TEXT_SIZE = 1
TEXT_ENCODING = 2
TEXT_WAITING = 3  # the call that it was read of, -1: none
TEXT_WIDTH = 4
ENCODINGS = ("utf-16-le", "utf-16-be", "ascii")
_ASCII = 2
FIRST_TEXT = 2
"""A text that has no code yet is told as -2 and less: `-FIRST_TEXT - number`."""


@memory
class Rpc(NamedTuple):
    """The state of all pipes. `links`: free slots."""

    pipes: Table
    contexts: Table
    waiting: Table
    slots: Bytes
    links: Ints
    interfaces: Table
    buckets: Ints
    operations: Ints
    calls: Table
    binds: Table
    texts: Table
    said: Bytes
    state: Ints


@entry
def follow_pipes(r: Rpc, arena: Bytes, pieces: Table, first: int) -> int:
    """Take the pieces from `first` on, in order; returns the row to go on with, how many there are when done.

    Stops early where tables must be emptied or grown.
    """
    for i in range(first, pieces.shape[0]):
        if (
            r.calls.shape[0] - r.state[S_CALLS] < ROOM
            or r.binds.shape[0] - r.state[S_BINDS] < ROOM
            or r.texts.shape[0] - r.state[S_TEXTS] < 2 * ROOM
            or r.said.shape[0] - r.state[S_SAID] < SAID_ROOM
            or r.state[S_CONTEXTS_LEFT] < ROOM
            or r.state[S_WAITING_LEFT] < ROOM
        ):
            return i
        read_piece(r, arena, pieces, i)
    return pieces.shape[0]


@entry
def flush_pipes(r: Rpc, given_back: Ints, first: int) -> int:
    """Hand out what pipes still hold, unanswered; returns the place to go on with, how many there are when done."""
    for i in range(first, given_back.shape[0]):
        if r.calls.shape[0] - r.state[S_CALLS] < ROOM or r.binds.shape[0] - r.state[S_BINDS] < ROOM:
            return i
        pipe = given_back[i]
        for d in range(2):
            lose_pdu(r, pipe, d)
        while r.pipes[pipe, PIPE_WAITING] >= 0:
            hand_out(r, pipe, r.pipes[pipe, PIPE_WAITING])
        while r.pipes[pipe, PIPE_CONTEXTS] >= 0:
            drop_first_context(r, pipe)
    return int(given_back.shape[0])


# Pieces to PDUs. #


@kernel
def read_piece(r: Rpc, arena: Bytes, pieces: Table, i: int) -> None:
    """Take a piece."""
    pipe = pieces[i, P_PIPE]
    d = pieces[i, P_FROM_SERVER]
    base = Q_FIRST + d * Q_WIDTH
    if pieces[i, P_FLAGS] & PIECE_AFTER_GAP:
        lose_pdu(r, pipe, d)
    if d and pieces[i, P_FLAGS] & PIECE_FAILED:
        note_failed_read(r, pipe, pieces, i)
    at = pieces[i, P_AT]
    end = at + pieces[i, P_SIZE]
    left = r.pipes[pipe, base + Q_LEFT]
    if left > 0 and end - at >= HEADER_SIZE and left != end - at and pdu_length(arena, at) == end - at:
        lose_pdu(r, pipe, d)  # its rest was lost, and nobody noticed: this piece is a PDU from first to last byte
    while at < end:
        if r.pipes[pipe, base + Q_LEFT] > 0:
            size = min(r.pipes[pipe, base + Q_LEFT], end - at)
            collect(r, pipe, base, arena, at, size, pieces, i)
            at += size
            if r.pipes[pipe, base + Q_LEFT] == 0 and not finish_collected(r, pieces, i):
                return
        elif end - at < HEADER_SIZE:
            if byte(arena, at) != 5:
                note_other(r, pipe, d, arena, at, end)
                return
            begin_collecting(r, pipe, base, 0, HEADER_SIZE)
        else:
            length = pdu_length(arena, at)
            if length == 0:
                note_other(r, pipe, d, arena, at, end)
                return
            if length > end - at:
                begin_collecting(r, pipe, base, length, length)
            else:
                read_pdu(r, arena, at, length, length, 0, pieces, i)
                at += length
    missing = pieces[i, P_BYTES] - pieces[i, P_SIZE]
    if missing > 0 and r.pipes[pipe, base + Q_LEFT] > 0:
        # What is there of the PDU is read; the stream is in step again with the next piece, or behind it.
        left = r.pipes[pipe, base + Q_LEFT] - missing
        r.pipes[pipe, base + Q_CUT] = 1
        if left > 0:
            r.pipes[pipe, base + Q_LEFT] = left
        else:
            finish_collected(r, pieces, i)
    if not d and pieces[i, P_FLAGS] & PIECE_FAILED and r.pipes[pipe, base + Q_LEFT] > 0:
        # Nobody goes on with a PDU of which the server did not take a part: what it asked for is known from its head.
        r.pipes[pipe, base + Q_CUT] = 1
        finish_collected(r, pieces, i)


@kernel
def begin_collecting(r: Rpc, pipe: int, base: int, length: int, left: int) -> None:
    """A PDU begins that is not all there. length: 0 if even its header is not."""
    slot = r.state[S_FREE_SLOT]
    if slot >= 0:
        r.state[S_FREE_SLOT] = r.links[slot]
    else:
        r.state[S_GIVEN_UP] += 1
    r.pipes[pipe, base + Q_SLOT] = slot
    r.pipes[pipe, base + Q_LENGTH] = length
    r.pipes[pipe, base + Q_LEFT] = left
    r.pipes[pipe, base + Q_HAVE] = 0
    r.pipes[pipe, base + Q_CUT] = 0


@kernel
def collect(r: Rpc, pipe: int, base: int, b: Bytes, at: int, size: int, pieces: Table, i: int) -> None:
    """Add bytes to the PDU that has begun: to its head, then to its tail, which moves up. After a hole nothing is added."""
    r.pipes[pipe, base + Q_LEFT] -= size
    r.pipes[pipe, base + Q_CAPTURE] = pieces[i, P_CAPTURE]
    r.pipes[pipe, base + Q_FRAME] = pieces[i, P_FRAME]
    slot = r.pipes[pipe, base + Q_SLOT]
    if slot < 0 or r.pipes[pipe, base + Q_CUT]:
        return
    have = r.pipes[pipe, base + Q_HAVE]
    r.pipes[pipe, base + Q_HAVE] = have + size
    place = slot * SLOT
    step = max(0, min(size, SLOT - have))
    copy_bytes(r.slots, place + have, b, at, step)
    at += step
    size -= step
    if size > 0:
        tail = place + HEAD
        kept = max(0, TAIL - size)
        for k in range(kept):
            r.slots[tail + k] = r.slots[tail + TAIL - kept + k]
        copy_bytes(r.slots, tail + kept, b, at + size - (TAIL - kept), TAIL - kept)


@kernel
def finish_collected(r: Rpc, pieces: Table, i: int) -> int:
    """All of a header, or of a PDU, has come, but for what is missing. Returns 0 if it was none."""
    pipe = pieces[i, P_PIPE]
    d = pieces[i, P_FROM_SERVER]
    base = Q_FIRST + d * Q_WIDTH
    slot = r.pipes[pipe, base + Q_SLOT]
    have = r.pipes[pipe, base + Q_HAVE]
    length = r.pipes[pipe, base + Q_LENGTH]
    at = slot * SLOT
    if length == 0:
        if slot >= 0 and have == HEADER_SIZE:
            length = pdu_length(r.slots, at)
        if length > HEADER_SIZE and not r.pipes[pipe, base + Q_CUT]:
            r.pipes[pipe, base + Q_LENGTH] = length
            r.pipes[pipe, base + Q_LEFT] = length - HEADER_SIZE
            return 1
        if slot >= 0 and length == 0 and not r.pipes[pipe, base + Q_CUT]:
            note_other(r, pipe, d, r.slots, at, at + have)
    elif slot >= 0 and have >= HEADER_SIZE:
        read_pdu(r, r.slots, at, length, have, max(0, have - SLOT), pieces, i)
    drop_pdu(r, pipe, base)
    return 1 if length else 0


@kernel
def lose_pdu(r: Rpc, pipe: int, d: int) -> None:
    """The rest of the PDU that has begun does not come: of an answer it is known at least that it was one."""
    base = Q_FIRST + d * Q_WIDTH
    slot = r.pipes[pipe, base + Q_SLOT]
    if d and slot >= 0 and r.pipes[pipe, base + Q_LENGTH] > 0 and r.pipes[pipe, base + Q_HAVE] >= HEADER_SIZE:
        at = slot * SLOT
        kind = byte(r.slots, at + 2)
        n = find_waiting(r.pipes, r.waiting, pipe, u32(r.slots, at + AT_CALL_ID, is_big(r.slots, at)))
        if kind in (RESPONSE, FAULT) and n >= 0 and not r.waiting[n, O_STATE] & STATE_EARLY:
            r.waiting[n, O_STATE] |= STATE_ANSWERING
            r.waiting[n, O_ANSWER_CAPTURE] = r.pipes[pipe, base + Q_CAPTURE]
            r.waiting[n, O_ANSWER_FRAME] = r.pipes[pipe, base + Q_FRAME]
    drop_pdu(r, pipe, base)


@kernel
def drop_pdu(r: Rpc, pipe: int, base: int) -> None:
    """Forget the PDU that has begun."""
    if r.pipes[pipe, base + Q_LEFT] > 0 or r.pipes[pipe, base + Q_HAVE] > 0:
        slot = r.pipes[pipe, base + Q_SLOT]
        if slot >= 0:
            r.links[slot] = r.state[S_FREE_SLOT]
            r.state[S_FREE_SLOT] = slot
    r.pipes[pipe, base + Q_SLOT] = NONE
    r.pipes[pipe, base + Q_LEFT] = 0
    r.pipes[pipe, base + Q_HAVE] = 0
    r.pipes[pipe, base + Q_LENGTH] = 0


@kernel
def note_other(r: Rpc, pipe: int, d: int, b: Bytes, at: int, end: int) -> None:
    """The pipe carries something else: keep the first bytes that the client sent, as a number."""
    if r.pipes[pipe, PIPE_FORM] == FORM_NOTHING and not d:
        r.pipes[pipe, PIPE_FORM] = FORM_OTHER
        size = min(FIRST_BYTES, end - at)
        value = 0
        for k in range(size):
            value |= byte(b, at + k) << (8 * k)
        r.pipes[pipe, PIPE_FIRST] = value
        r.pipes[pipe, PIPE_FIRST_SIZE] = size


@kernel
def note_failed_read(r: Rpc, pipe: int, pieces: Table, i: int) -> None:
    """The server would not give an answer: the calls that wait have failed, unless their answer still comes."""
    n = r.pipes[pipe, PIPE_WAITING]
    while n >= 0:
        if r.waiting[n, O_STATE] & STATE_ASKED and r.waiting[n, O_RESULT] == RESULT_NONE:
            note_smb_failure(r.waiting, n, pieces, i)
        n = r.waiting[n, N_NEXT]


@kernel
def note_smb_failure(rows: Table, n: int, pieces: Table, i: int) -> None:
    """The SMB request of this piece was answered with an error."""
    rows[n, O_RESULT] = RESULT_SMB
    rows[n, O_CODE] = pieces[i, P_STATUS]
    rows[n, O_ANSWER_CAPTURE] = pieces[i, P_ANSWER_CAPTURE]
    rows[n, O_ANSWER_FRAME] = pieces[i, P_ANSWER_FRAME]


# PDUs. #


@kernel
def read_pdu(r: Rpc, b: Bytes, at: int, length: int, have: int, shift: int, pieces: Table, i: int) -> None:
    """Take a PDU. have: how much of it is there; shift: so much of that is left out behind its head."""
    pipe = pieces[i, P_PIPE]
    r.pipes[pipe, PIPE_FORM] = FORM_DCERPC
    kind = byte(b, at + 2)
    if pieces[i, P_FROM_SERVER]:
        if kind in (RESPONSE, FAULT):
            read_call_answer(r, b, at, length, have, shift, pieces, i)
        elif kind in (BIND_ACK, ALTER_CONTEXT_RESPONSE, BIND_NAK):
            answer_contexts(r, b, at, min(have - shift, HEAD) if shift else have, kind, pieces, i)
    elif kind == REQUEST:
        read_call_request(r, b, at, length, have, shift, pieces, i)
    elif kind in (BIND, ALTER_CONTEXT):
        read_bind(r, b, at, length, have, shift, pieces, i)


@kernel
def read_auth(b: Bytes, at: int, trailer: int, have: int, shift: int, rows: Table, n: int) -> None:
    """Set authentication type and level of a row, if there is a trailer."""
    if trailer > 0:
        place = at + place_of(trailer, TRAILER_SIZE, have, shift)
        rows[n, O_AUTH_TYPE] = byte(b, place)
        rows[n, O_AUTH_LEVEL] = byte(b, place + 1)


@kernel
def read_bind(r: Rpc, b: Bytes, at: int, length: int, have: int, shift: int, pieces: Table, i: int) -> None:
    """Note the presentation contexts that a bind or alter_context proposes. [C706 12.6.4.3]"""
    pipe = pieces[i, P_PIPE]
    limit = HEAD if shift else have
    if limit < AT_CONTEXTS:
        return
    big = is_big(b, at)
    trailer = trailer_of(b, at, length, have, shift, big)
    place = AT_CONTEXTS
    for _ in range(byte(b, at + AT_CONTEXT_COUNT)):
        if place + CONTEXT_SIZE > limit:
            return
        if r.pipes[pipe, PIPE_CONTEXT_COUNT] >= MAX_CONTEXTS:
            drop_last_context(r, pipe)
        x = r.state[S_FREE_CONTEXT]
        if x < 0:
            r.state[S_GIVEN_UP] += 1
            return
        r.state[S_FREE_CONTEXT] = r.contexts[x, X_NEXT]
        r.state[S_CONTEXTS_LEFT] -= 1
        begin_row(r.contexts, x, pieces, i)
        read_auth(b, at, trailer, have, shift, r.contexts, x)
        if trailer > 0:
            r.pipes[pipe, PIPE_AUTH_TYPE] = r.contexts[x, O_AUTH_TYPE]
            r.pipes[pipe, PIPE_AUTH_LEVEL] = r.contexts[x, O_AUTH_LEVEL]
        syntaxes = byte(b, at + place + 2)
        r.contexts[x, B_CONTEXT] = u16(b, at + place, big)
        r.contexts[x, O_INTERFACE] = interface_number(
            r.interfaces,
            r.buckets,
            r.state,
            uuid_first(b, at + place + 4, big),
            le64(b, at + place + 12),
            u32(b, at + place + 20, big),
        )
        r.contexts[x, O_CALL_ID] = u32(b, at + AT_CALL_ID, big)
        r.contexts[x, B_ALTER] = 1 if byte(b, at + 2) == ALTER_CONTEXT else 0
        r.contexts[x, X_STATE] = CONTEXT_PROPOSED
        place += CONTEXT_SIZE
        if syntaxes and place + SYNTAX_SIZE <= limit:
            r.contexts[x, O_TRANSFER] = transfer_syntax(uuid_first(b, at + place, big))
        place += syntaxes * SYNTAX_SIZE
        if pieces[i, P_FLAGS] & PIECE_FAILED:
            note_smb_failure(r.contexts, x, pieces, i)
        r.contexts[x, X_NEXT] = r.pipes[pipe, PIPE_CONTEXTS]
        r.pipes[pipe, PIPE_CONTEXTS] = x
        r.pipes[pipe, PIPE_CONTEXT_COUNT] += 1


@kernel
def transfer_syntax(first: int) -> int:
    """TRANSFER_ from the first half of a transfer syntax's UUID."""
    if first == NDR:
        return TRANSFER_NDR
    if first == NDR64:
        return TRANSFER_NDR64
    return TRANSFER_FEATURES if first == FEATURES else TRANSFER_UNKNOWN


@kernel
def answer_contexts(r: Rpc, b: Bytes, at: int, limit: int, kind: int, pieces: Table, i: int) -> int:
    """Say which of the proposed contexts were accepted, by their acknowledgement, bind_nak, or a fault. [C706 12.6.4.4]

    limit: how far the PDU can be read. The contexts are handed out, and kept for the requests that use them. Returns how
    many they are.
    """
    pipe = pieces[i, P_PIPE]
    big = is_big(b, at)
    call_id = u32(b, at + AT_CALL_ID, big)
    results = 0
    place = AT_SECONDARY + 2
    address = NONE
    code = NONE
    result = RESULT_UNREADABLE
    if kind == BIND_NAK:
        result = RESULT_NAK
        if limit >= AT_REJECT_REASON + 2:
            code = u16(b, at + AT_REJECT_REASON, big)
    elif kind == FAULT:
        result = RESULT_FAULT
        if limit >= AT_FAULT_STATUS + 4:
            code = u32(b, at + AT_FAULT_STATUS, big)
    elif limit >= place:
        size = u16(b, at + AT_SECONDARY, big)
        if place + size <= limit:
            if 1 < size <= LONGEST_ADDRESS:
                size -= 1 if byte(b, at + place + size - 1) == 0 else 0
                address = add_text(r.texts, r.said, r.state, b, at + place, size, _ASCII, NONE)
            place = (place + u16(b, at + AT_SECONDARY, big) + 3) // 4 * 4 + 4
            if place <= limit:
                results = byte(b, at + place - 4)
    # The results are in the order of the proposals, and the list has the newest first. Of several binds with this number
    # the last is meant: the answers to the others were lost.
    number = 0
    bind = NONE
    x = r.pipes[pipe, PIPE_CONTEXTS]
    while x >= 0:
        if r.contexts[x, X_STATE] == CONTEXT_PROPOSED and r.contexts[x, O_CALL_ID] == call_id:
            if bind < 0:
                bind = r.contexts[x, O_ORDER]
            if r.contexts[x, O_ORDER] == bind:
                number += 1
        x = r.contexts[x, X_NEXT]
    count = number
    x = r.pipes[pipe, PIPE_CONTEXTS]
    while x >= 0:
        if (
            r.contexts[x, X_STATE] == CONTEXT_PROPOSED
            and r.contexts[x, O_CALL_ID] == call_id
            and r.contexts[x, O_ORDER] == bind
        ):
            number -= 1
            one = at + place + number * RESULT_SIZE
            if number < results and place + (number + 1) * RESULT_SIZE <= limit:
                result = RESULT_DONE if u16(b, one, big) == 0 else RESULT_REFUSED
                code = (u16(b, one, big) << 16) | u16(b, one + 2, big)
                if result == RESULT_DONE:
                    r.contexts[x, O_TRANSFER] = transfer_syntax(uuid_first(b, one + 4, big))
            r.contexts[x, X_STATE] = CONTEXT_ACCEPTED if result in (RESULT_DONE, RESULT_UNREADABLE) else CONTEXT_REFUSED
            r.contexts[x, O_RESULT] = result
            r.contexts[x, O_CODE] = code
            r.contexts[x, O_NAME] = address
            r.contexts[x, O_ANSWER_CAPTURE] = pieces[i, P_CAPTURE]
            r.contexts[x, O_ANSWER_FRAME] = pieces[i, P_FRAME]
            give_bind(r.contexts, r.binds, r.state, pipe, x)
            r.contexts[x, O_NAME] = NONE
        x = r.contexts[x, X_NEXT]
    return count


@kernel
def give_bind(contexts: Table, binds: Table, state: Ints, pipe: int, x: int) -> None:
    """Hand a context out. A negotiation of features is none that anybody uses."""
    n = state[S_BINDS]
    if contexts[x, O_TRANSFER] == TRANSFER_FEATURES or n >= binds.shape[0]:
        return
    for c in range(B_WIDTH):
        binds[n, c] = contexts[x, c]
    binds[n, O_PIPE] = pipe
    state[S_BINDS] = n + 1


@kernel
def drop_first_context(r: Rpc, pipe: int) -> None:
    """Give the newest context back; if it was never answered, hand it out first."""
    x = r.pipes[pipe, PIPE_CONTEXTS]
    r.pipes[pipe, PIPE_CONTEXTS] = r.contexts[x, X_NEXT]
    give_back_context(r, pipe, x)


@kernel
def drop_last_context(r: Rpc, pipe: int) -> None:
    """Likewise the oldest of several."""
    before = r.pipes[pipe, PIPE_CONTEXTS]
    x = r.contexts[before, X_NEXT]
    while r.contexts[x, X_NEXT] >= 0:
        before = x
        x = r.contexts[x, X_NEXT]
    r.contexts[before, X_NEXT] = NONE
    give_back_context(r, pipe, x)


@kernel
def give_back_context(r: Rpc, pipe: int, x: int) -> None:
    """Give a context back that is in no list any more."""
    if r.contexts[x, X_STATE] == CONTEXT_PROPOSED:
        give_bind(r.contexts, r.binds, r.state, pipe, x)
    r.pipes[pipe, PIPE_CONTEXT_COUNT] -= 1
    r.contexts[x, X_NEXT] = r.state[S_FREE_CONTEXT]
    r.contexts[x, O_NAME] = NONE
    r.state[S_FREE_CONTEXT] = x
    r.state[S_CONTEXTS_LEFT] += 1


@kernel
def use_context(contexts: Table, x: int, number: int, rows: Table, n: int) -> int:
    """Set interface and syntax of a call from the list of contexts that begins with `x`; returns its interface.

    -1: the bind was not captured.
    """
    while x >= 0:
        if contexts[x, B_CONTEXT] == number and contexts[x, X_STATE] != CONTEXT_REFUSED:
            rows[n, O_INTERFACE] = contexts[x, O_INTERFACE]
            rows[n, O_TRANSFER] = contexts[x, O_TRANSFER]
            return int(contexts[x, O_INTERFACE])
        x = contexts[x, X_NEXT]
    return NONE


@kernel
def read_call_request(r: Rpc, b: Bytes, at: int, length: int, have: int, shift: int, pieces: Table, i: int) -> None:
    """A call begins, or goes on. [C706 12.6.4.9]"""
    pipe = pieces[i, P_PIPE]
    if have < AT_STUB:
        return
    flags = byte(b, at + AT_FLAGS)
    call_id = u32(b, at + AT_CALL_ID, is_big(b, at))
    n = find_waiting(r.pipes, r.waiting, pipe, call_id)
    # An answer that came alone is this request's if its place is behind it, and it was only worked off first. Else it is
    # that of a request with the same number that was not captured.
    is_alone = n >= 0 and r.waiting[n, O_STATE] & STATE_EARLY
    early = is_alone and r.waiting[n, O_ORDER] > pieces[i, P_ORDER]
    if n >= 0 and not is_alone and not flags & PFC_FIRST_FRAG and not r.waiting[n, O_STATE] & STATE_ASKED:
        r.waiting[n, O_CAPTURE] = pieces[i, P_CAPTURE]
        r.waiting[n, O_FRAME] = pieces[i, P_FRAME]
    else:
        if early:
            for c in range(O_SESSION, O_PLACE + 1):
                r.waiting[n, c] = pieces[i, P_SESSION - O_SESSION + c]
            r.waiting[n, O_STATE] &= ~STATE_EARLY
        else:
            if n < 0 and r.pipes[pipe, PIPE_WAITING_COUNT] >= MAX_WAITING:
                n = last_waiting(r.waiting, r.pipes[pipe, PIPE_WAITING])
            if n >= 0:
                hand_out(r, pipe, n)  # its number is used again, or there are too many: nobody waits for it any more
            n = new_waiting(r.pipes, r.waiting, r.state, pipe, call_id, pieces, i)
            if n < 0:
                return
        read_call(r, pipe, b, at, length, have, shift, n)
    failed = pieces[i, P_FLAGS] & PIECE_FAILED and r.waiting[n, O_RESULT] == RESULT_NONE
    if failed:
        note_smb_failure(r.waiting, n, pieces, i)
    if flags & PFC_LAST_FRAG or failed:
        r.waiting[n, O_STATE] |= STATE_ASKED
        if r.waiting[n, O_RESULT] != RESULT_NONE:
            hand_out(r, pipe, n)


@kernel
def read_call(r: Rpc, pipe: int, b: Bytes, at: int, length: int, have: int, shift: int, n: int) -> None:
    """What the first fragment of a request says; of a later one, if that is lost, the number of its operation."""
    big = is_big(b, at)
    opnum = u16(b, at + AT_OPNUM, big)
    r.waiting[n, O_OPNUM] = opnum
    trailer = trailer_of(b, at, length, have, shift, big)
    read_auth(b, at, trailer, have, shift, r.waiting, n)
    if trailer == 0 and r.pipes[pipe, PIPE_AUTH_LEVEL] == LEVEL_CONNECT:
        # At this level only the bind is authenticated. [MS-RPCE 2.2.1.1.8]
        r.waiting[n, O_AUTH_TYPE] = r.pipes[pipe, PIPE_AUTH_TYPE]
        r.waiting[n, O_AUTH_LEVEL] = LEVEL_CONNECT
    stub = at + AT_STUB
    if byte(b, at + AT_FLAGS) & PFC_OBJECT_UUID:
        stub += OBJECT_SIZE
        r.waiting[n, O_STATE] |= STATE_OBJECT
    interface = use_context(r.contexts, r.pipes[pipe, PIPE_CONTEXTS], u16(b, at + AT_CONTEXT, big), r.waiting, n)
    if interface < 0 or opnum >= r.interfaces[interface, I_COUNT] or r.waiting[n, O_AUTH_LEVEL] == LEVEL_PRIVACY:
        return
    if not byte(b, at + AT_FLAGS) & PFC_FIRST_FRAG:
        return
    letters = r.operations[r.interfaces[interface, I_OPERATIONS] + opnum]
    end = at + (HEAD if shift else have)
    if trailer > 0:
        end = min(end, at + trailer)
    if not letters or stub > end:
        return
    is_ndr64 = 1 if r.waiting[n, O_TRANSFER] == TRANSFER_NDR64 else 0
    read_arguments(b, stub, end, big, is_ndr64, letters, r.state, S_FOUND)
    r.waiting[n, O_LEVEL] = r.state[S_FOUND + A_LEVEL]
    for which in range(2):
        size = r.state[S_FOUND + A_SERVER_SIZE + which * A_TEXT]
        if size >= 0:
            place = r.state[S_FOUND + A_SERVER_AT + which * A_TEXT]
            r.waiting[n, O_NAME if which else O_SERVER] = add_text(r.texts, r.said, r.state, b, place, size, big, n)


@kernel
def read_call_answer(r: Rpc, b: Bytes, at: int, length: int, have: int, shift: int, pieces: Table, i: int) -> None:
    """The answer to a call, or a part of it; the last part has the result. [C706 12.6.4.7, 12.6.4.10]"""
    pipe = pieces[i, P_PIPE]
    big = is_big(b, at)
    call_id = u32(b, at + AT_CALL_ID, big)
    fault = byte(b, at + 2) == FAULT
    n = find_waiting(r.pipes, r.waiting, pipe, call_id)
    if n < 0:
        if fault and answer_contexts(r, b, at, have, FAULT, pieces, i):
            return
        if r.pipes[pipe, PIPE_WAITING_COUNT] >= MAX_WAITING:
            r.state[S_GIVEN_UP] += 1
            return
        n = new_waiting(r.pipes, r.waiting, r.state, pipe, call_id, pieces, i)
        if n < 0:
            return
        r.waiting[n, O_CAPTURE] = NONE
        r.waiting[n, O_FRAME] = NONE
        r.waiting[n, O_STATE] = STATE_EARLY
        if have >= AT_CONTEXT + 2:
            use_context(r.contexts, r.pipes[pipe, PIPE_CONTEXTS], u16(b, at + AT_CONTEXT, big), r.waiting, n)
        read_auth(b, at, trailer_of(b, at, length, have, shift, big), have, shift, r.waiting, n)
    r.waiting[n, O_ANSWER_CAPTURE] = pieces[i, P_CAPTURE]
    r.waiting[n, O_ANSWER_FRAME] = pieces[i, P_FRAME]
    r.waiting[n, O_STATE] |= STATE_ANSWERING
    if not fault and not byte(b, at + AT_FLAGS) & PFC_LAST_FRAG:
        return
    read_result(b, at, length, have, shift, r.waiting, n)
    if not r.waiting[n, O_STATE] & STATE_EARLY:
        hand_out(r, pipe, n)  # also if parts of the request were lost


@kernel
def read_result(b: Bytes, at: int, length: int, have: int, shift: int, rows: Table, n: int) -> None:
    """The status of a fault, or the last four bytes of a stub: where an operation returns a status, that is it.

    [C706 14.3.1: the result comes behind all arguments]
    """
    big = is_big(b, at)
    rows[n, O_CODE] = NONE
    if byte(b, at + 2) == FAULT:
        rows[n, O_RESULT] = RESULT_FAULT
        if have >= AT_FAULT_STATUS + 4:
            rows[n, O_CODE] = u32(b, at + AT_FAULT_STATUS, big)
        return
    trailer = trailer_of(b, at, length, have, shift, big)
    end = length
    rows[n, O_RESULT] = RESULT_UNREADABLE
    if trailer < 0:
        return
    if trailer > 0:
        place = at + place_of(trailer, TRAILER_SIZE, have, shift)
        if byte(b, place + 1) == LEVEL_PRIVACY:
            rows[n, O_RESULT] = RESULT_SEALED
            return
        end = trailer - byte(b, place + 2)
    if end < AT_STUB + 4:
        rows[n, O_RESULT] = RESULT_SHORT
        return
    place = place_of(end - 4, 4, have, shift)
    if place >= 0:
        rows[n, O_RESULT] = RESULT_DONE
        rows[n, O_CODE] = u32(b, at + place, big)


# Rows. #


@kernel
def begin_row(rows: Table, n: int, pieces: Table, i: int) -> None:
    """A bind or call that begins with this piece."""
    for c in range(O_SESSION, O_PLACE + 1):
        rows[n, c] = pieces[i, P_SESSION - O_SESSION + c]
    for c in range(O_ANSWER_CAPTURE, O_CALL_ID):
        rows[n, c] = NONE
    rows[n, O_TRANSFER] = TRANSFER_UNKNOWN
    rows[n, O_RESULT] = RESULT_NONE


@kernel
def new_waiting(pipes: Table, waiting: Table, state: Ints, pipe: int, call_id: int, pieces: Table, i: int) -> int:
    """A row for a call that waits, first of its pipe; -1 if there is no room."""
    n = state[S_FREE_WAITING]
    if n < 0:
        state[S_GIVEN_UP] += 1
        return NONE
    state[S_FREE_WAITING] = waiting[n, N_NEXT]
    state[S_WAITING_LEFT] -= 1
    waiting[n, N_NEXT] = pipes[pipe, PIPE_WAITING]
    pipes[pipe, PIPE_WAITING] = n
    pipes[pipe, PIPE_WAITING_COUNT] += 1
    begin_row(waiting, n, pieces, i)
    waiting[n, O_CALL_ID] = call_id
    waiting[n, O_OPNUM] = NONE
    waiting[n, O_SERVER] = NONE
    waiting[n, O_LEVEL] = NONE
    waiting[n, O_STATE] = 0
    return int(n)


@kernel
def find_waiting(pipes: Table, waiting: Table, pipe: int, call_id: int) -> int:
    """The call with this number that waits, -1 if none does."""
    n = pipes[pipe, PIPE_WAITING]
    while n >= 0 and waiting[n, O_CALL_ID] != call_id:
        n = waiting[n, N_NEXT]
    return int(n)


@kernel
def last_waiting(waiting: Table, n: int) -> int:
    """The oldest of the calls that wait, `n` being the newest."""
    while waiting[n, N_NEXT] >= 0:
        n = waiting[n, N_NEXT]
    return n


@kernel
def hand_out(r: Rpc, pipe: int, n: int) -> None:
    """Hand a call out as it is, and give its row back."""
    out = r.state[S_CALLS]
    if out >= r.calls.shape[0]:
        r.state[S_GIVEN_UP] += 1
    else:
        for c in range(O_WIDTH):
            r.calls[out, c] = r.waiting[n, c]
        r.calls[out, O_PIPE] = pipe
        if r.calls[out, O_STATE] & STATE_ANSWERING and r.calls[out, O_RESULT] == RESULT_NONE:
            r.calls[out, O_RESULT] = RESULT_UNREADABLE  # its last part was not captured
        r.state[S_CALLS] = out + 1
    if r.pipes[pipe, PIPE_WAITING] == n:
        r.pipes[pipe, PIPE_WAITING] = r.waiting[n, N_NEXT]
    else:
        before = r.pipes[pipe, PIPE_WAITING]
        while r.waiting[before, N_NEXT] != n:
            before = r.waiting[before, N_NEXT]
        r.waiting[before, N_NEXT] = r.waiting[n, N_NEXT]
    r.pipes[pipe, PIPE_WAITING_COUNT] -= 1
    r.waiting[n, O_NAME] = NONE
    r.waiting[n, O_SERVER] = NONE
    r.waiting[n, N_NEXT] = r.state[S_FREE_WAITING]
    r.state[S_FREE_WAITING] = n
    r.state[S_WAITING_LEFT] += 1


@kernel
def add_text(texts: Table, said: Bytes, state: Ints, b: Bytes, at: int, size: int, encoding: int, waiting: int) -> int:
    """Note a text; returns what stands for it until it has a code, -1 if there is no room.

    waiting: the call that it is of, -1: it is of none.
    """
    n = state[S_TEXTS]
    to = state[S_SAID]
    if n >= texts.shape[0] or to + size > said.shape[0]:
        return NONE
    copy_bytes(said, to, b, at, size)
    texts[n, TEXT_AT] = to
    texts[n, TEXT_SIZE] = size
    texts[n, TEXT_ENCODING] = encoding
    texts[n, TEXT_WAITING] = waiting
    state[S_TEXTS] = n + 1
    state[S_SAID] = to + size
    return int(-FIRST_TEXT - n)


@kernel
def interface_number(interfaces: Table, buckets: Ints, state: Ints, first: int, second: int, version: int) -> int:
    """The number of an interface, a new one if it was not met before; -1 if there are too many."""
    mask = buckets.shape[0] - 1
    h = mix(mix(state[S_SEED], first & 0xFFFFFFFF), (first >> 32) & 0xFFFFFFFF)
    h = mix(mix(mix(h, second & 0xFFFFFFFF), (second >> 32) & 0xFFFFFFFF), version)
    slot = h & mask
    n = buckets[slot] - 1
    while n >= 0:
        if (
            interfaces[n, I_FIRST] == first
            and interfaces[n, I_SECOND] == second
            and interfaces[n, I_VERSION] == version
        ):
            return int(n)
        slot = (slot + 1) & mask
        n = buckets[slot] - 1
    n = state[S_INTERFACES]
    if n >= interfaces.shape[0]:
        state[S_UNKNOWN] += 1
        return NONE
    state[S_INTERFACES] = n + 1
    buckets[slot] = n + 1
    interfaces[n, I_FIRST] = first
    interfaces[n, I_SECOND] = second
    interfaces[n, I_VERSION] = version
    interfaces[n, I_OPERATIONS] = 0
    interfaces[n, I_COUNT] = 0
    return int(n)


@entry
def number_interfaces(r: Rpc, known: Table) -> int:
    """Give the known interfaces their numbers, in their order."""
    for i in range(known.shape[0]):
        n = interface_number(
            r.interfaces, r.buckets, r.state, known[i, I_FIRST], known[i, I_SECOND], known[i, I_VERSION]
        )
        if n >= 0:
            r.interfaces[n, I_OPERATIONS] = known[i, I_OPERATIONS]
            r.interfaces[n, I_COUNT] = known[i, I_COUNT]
    return int(r.state[S_INTERFACES])


@dataclass(frozen=True, slots=True)
class Interface:
    """What an interface is called: its name if it is known, and version as major.minor."""

    uuid: str
    version: str
    name: str | None


@dataclass(slots=True)
class Heard:
    """Binds (columns `O_` and `B_`) and calls (`O_`) that are complete. Texts are codes of the pool."""

    binds: Table
    calls: Table


class Pipes:
    """All pipes that are followed, as numbers 0, 1, 2 ..."""

    def __init__(self, texts: Texts, form: Form) -> None:
        self._texts = texts
        self._form = form
        self._count = 0
        self._rpc: Rpc | None = None  # made when the first pipe is: most captures of file data have none

    def __len__(self) -> int:
        return self._count

    @property
    def given_up(self) -> int:
        """PDUs, contexts and calls for which there was no room."""
        return 0 if self._rpc is None else int(self._rpc.state[S_GIVEN_UP] + self._rpc.state[S_UNKNOWN])

    def add(self, count: int) -> Ints:
        """Begin to follow so many more pipes; returns their numbers."""
        if self._rpc is None:
            self._rpc = _new_state(self._form)
        size = self._count + count
        pipes = self._rpc.pipes
        if size > len(pipes):
            grown: Table = np.zeros((max(size, 2 * len(pipes)), PIPE_WIDTH), dtype=np.int64)
            grown[: self._count] = pipes[: self._count]
            self._rpc = self._rpc._replace(pipes=grown)
        new = self._rpc.pipes[self._count : size]
        new[:] = 0
        for column in (PIPE_CONTEXTS, PIPE_WAITING, PIPE_AUTH_TYPE, PIPE_AUTH_LEVEL):
            new[:, column] = NONE
        for d in range(2):
            new[:, Q_FIRST + d * Q_WIDTH + Q_SLOT] = NONE
        numbers = np.arange(self._count, size)
        self._count = size
        return numbers

    def follow(self, pieces: Table, arena: Bytes) -> Iterator[Heard]:
        """Take pieces (`P_`, a row each) in their order. What is handed out is valid until the next is asked for."""
        at = 0
        while at < len(pieces):
            self._make_room()
            assert self._rpc is not None
            at = self._form().follow_pipes(self._rpc, arena, pieces, at)
            yield self._heard()

    def flush(self, pipes: Ints) -> Iterator[Heard]:
        """Hand out what these pipes still hold. Nothing more may come on them."""
        at = 0
        while at < len(pipes):
            assert self._rpc is not None
            at = self._form().flush_pipes(self._rpc, pipes, at)
            yield self._heard()

    def keep(self, pipes: Ints) -> None:
        """Go on with these pipes only, which get the numbers 0, 1, 2 ... in this order. The others have been flushed."""
        if self._rpc is None:
            return
        kept = self._rpc.pipes[pipes]
        self._count = len(kept)
        room: Table = np.zeros((max(256, 2 * len(kept)), PIPE_WIDTH), dtype=np.int64)
        room[: len(kept)] = kept
        self._rpc = self._rpc._replace(pipes=room)

    def forms(self, pipes: Ints) -> Table:
        """FORM_ of pipes, the first bytes of those that carry something else, and how many they are: three columns."""
        if self._rpc is None:
            return np.zeros((0, 3), dtype=np.int64)
        found: Table = self._rpc.pipes[pipes][:, [PIPE_FORM, PIPE_FIRST, PIPE_FIRST_SIZE]]
        return found

    def interfaces(self) -> list[Interface]:
        """All interfaces that were met, or are known, by their numbers."""
        if self._rpc is None:
            return []
        table = self._rpc.interfaces[: self._rpc.state[S_INTERFACES]]
        known, majors = _interface_names()
        found = []
        for first, second, version in table[:, [I_FIRST, I_SECOND, I_VERSION]].tolist():
            uuid = _uuid_text(first, second)
            major, minor = version & 0xFFFF, version >> 16
            name = known.get((uuid, f"{major}.{minor}")) or majors.get((uuid, str(major)))
            found.append(Interface(uuid, f"{major}.{minor}", name))
        return found

    def _make_room(self) -> None:
        assert self._rpc is not None
        r = self._rpc
        if r.state[S_CONTEXTS_LEFT] < ROOM:
            contexts = _more(r.contexts, X_NEXT, r.state, S_FREE_CONTEXT, S_CONTEXTS_LEFT)
            r = r._replace(contexts=contexts)
        if r.state[S_WAITING_LEFT] < ROOM:
            r = r._replace(waiting=_more(r.waiting, N_NEXT, r.state, S_FREE_WAITING, S_WAITING_LEFT))
        self._rpc = r

    def _heard(self) -> Heard:
        """What the tables for output hold, with codes in place of texts; they are empty then."""
        assert self._rpc is not None
        r = self._rpc
        calls, binds = r.calls[: r.state[S_CALLS]], r.binds[: r.state[S_BINDS]]
        if r.state[S_TEXTS]:
            said = r.texts[: r.state[S_TEXTS]]
            codes = np.full(len(said), MISSING, dtype=np.int64)
            for number, encoding in enumerate(ENCODINGS):
                which = np.flatnonzero(said[:, TEXT_ENCODING] == number)
                if len(which):
                    codes[which] = self._texts.slices(r.said, said[which, TEXT_AT], said[which, TEXT_SIZE], encoding)
            waiting = np.unique(said[:, TEXT_WAITING])
            for table, rows, columns in (
                (calls, np.arange(len(calls)), (O_NAME, O_SERVER)),
                (binds, np.arange(len(binds)), (O_NAME,)),
                (r.waiting, waiting[waiting >= 0], (O_NAME, O_SERVER)),
            ):
                for column in columns:
                    unnamed = rows[table[rows, column] <= -FIRST_TEXT]
                    table[unnamed, column] = codes[-FIRST_TEXT - table[unnamed, column]]
        r.state[[S_CALLS, S_BINDS, S_TEXTS, S_SAID]] = 0
        return Heard(binds, calls)


def _more(table: Table, following: int, state: Ints, first_free: int, left: int) -> Table:
    """The table with at least as many rows again, and `ROOM`; those that are new are free."""
    size = len(table)
    grown: Table = np.full((2 * size + ROOM, table.shape[1]), NONE, dtype=np.int64)
    grown[:size] = table
    grown[size:, following] = np.append(np.arange(size + 1, len(grown)), state[first_free])
    state[first_free] = size
    state[left] += len(grown) - size
    return grown


def _new_state(form: Form) -> Rpc:
    state = np.zeros(S_WIDTH, dtype=np.int64)
    state[S_FREE_CONTEXT] = state[S_FREE_WAITING] = NONE
    state[S_SEED] = _SEED
    links = np.append(np.arange(1, SLOTS), NONE)
    known, operations = _known_interfaces()
    r = Rpc(
        pipes=np.zeros((256, PIPE_WIDTH), dtype=np.int64),
        contexts=np.empty((0, X_WIDTH), dtype=np.int64),
        waiting=np.empty((0, N_WIDTH), dtype=np.int64),
        slots=np.zeros(SLOTS * SLOT, dtype=np.uint8),
        links=links,
        interfaces=np.zeros((MAX_INTERFACES, I_WIDTH), dtype=np.int64),
        buckets=np.zeros(2 * MAX_INTERFACES, dtype=np.int64),
        operations=operations,
        calls=np.zeros((OUT_ROWS, O_WIDTH), dtype=np.int64),
        binds=np.zeros((OUT_ROWS, B_WIDTH), dtype=np.int64),
        texts=np.zeros((2 * OUT_ROWS, TEXT_WIDTH), dtype=np.int64),
        said=np.zeros(2 * SAID_ROOM, dtype=np.uint8),
        state=state,
    )
    form().number_interfaces(r, known)
    return r


@cache
def _interface_names() -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], str]]:
    """The names of known interfaces by UUID and version, and by UUID and major version."""
    rows = knowledge.rpc_interfaces()
    known = {(row["uuid"], row["version"]): row["name"] for row in rows}
    return known, {(row["uuid"], row["version"].partition(".")[0]): row["name"] for row in rows}


@cache
def _known_interfaces() -> tuple[Table, Ints]:
    """The interfaces that are known (`I_`), and what their operations' arguments are like, one after the other."""
    letters: dict[tuple[str, str], dict[int, int]] = {}
    for row in knowledge.rpc_operations():
        of_interface = letters.setdefault((row["uuid"], row["version"]), {})
        of_interface[int(row["opnum"])] = pack_letters(row["arguments"])
    rows: list[tuple[int, ...]] = []
    operations: list[int] = []
    for row in knowledge.rpc_interfaces():
        described = letters.get((row["uuid"], row["version"]), {})
        count = max(described, default=-1) + 1
        major, minor = map(int, row["version"].split("."))
        rows.append((*_uuid_halves(row["uuid"]), major | (minor << 16), len(operations), count))
        operations += [described.get(opnum, 0) for opnum in range(count)]
    known: Table = np.array(rows, dtype=np.int64).reshape(len(rows), I_WIDTH)
    return known, np.array([*operations, 0], dtype=np.int64)


def _uuid_halves(text: str) -> tuple[int, int]:
    octets = UUID(text).bytes_le
    return int.from_bytes(octets[:8], "little", signed=True), int.from_bytes(octets[8:], "little", signed=True)


@lru_cache(MAX_INTERFACES)
def _uuid_text(first: int, second: int) -> str:
    octets = first.to_bytes(8, "little", signed=True) + second.to_bytes(8, "little", signed=True)
    return str(UUID(bytes_le=octets))
