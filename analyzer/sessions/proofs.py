"""What each session's messages show by themselves: the evidence for sessions whose login was not captured."""

from __future__ import annotations

from analyzer.compiled import Bytes, Ints, Table, entry, kernel
from analyzer.records import Flag, Kind
from analyzer.sessions.columns import (
    C_CAPTURE_NO,
    C_FLAGS,
    C_FRAME,
    C_FROM_SERVER,
    C_KIND,
    C_PLACE,
    C_STATUS,
    C_TIME_NS,
    C_TREE_ID,
)
from analyzer.sessions.identity import Sign

# The columns of sessions while messages come in; see `state.SESSION`. #

S_CONNECTION = 0
S_SESSION_ID = 1
S_PROTOCOL = 2
S_FIRST_ORDER = 3
S_FIRST_NS = 4
S_PROOF_CAPTURE_NO = 5
S_PROOF_FRAME = 6
S_PROOF_PLACE = 7
S_FIRST_SUCCESS = 8
S_LAST_SUCCESS = 9
S_FIRST_REUSE = 10
S_SIGNS = 11
S_OTHERS = 12
S_STRAY_DATA = 13
S_BOUND = 14
S_ENCRYPTED = 15
S_CHANNEL = 16  # 1: other connections take part in it
S_WIDTH = 17

STATUS_SUCCESS = 0
STATUS_BUFFER_OVERFLOW = 0x80000005
DOS_MORE_DATA = 0x00EA0001  # ERRDOS/ERRmoredata
NO_TREE = (0, 0xFFFF, 0xFFFFFFFF)

FLAG_SIGNED = int(Flag.SIGNED)
KIND_ENCRYPTED = int(Kind.ENCRYPTED)
KIND_NEGOTIATE = int(Kind.NEGOTIATE)
KIND_SETUP = int(Kind.SETUP)
KIND_TREE_CONNECT = int(Kind.TREE_CONNECT)
KIND_LOGOFF = int(Kind.LOGOFF)
HINT_SIGNED = int(Sign.HINT_SIGNED)
HINT_ENCRYPTED = int(Sign.HINT_ENCRYPTED)


@kernel
def worked(status: int) -> int:
    """1 if a request with this status did what it was to do: data that was cut short came all the same."""
    return 1 if status in (STATUS_SUCCESS, STATUS_BUFFER_OVERFLOW, DOS_MORE_DATA) else 0


@kernel
def keep_least(table: Table, row: int, column: int, value: int) -> None:
    """Set an item to the least of its own value and another; below 0 it has none."""
    if table[row, column] < 0 or value < table[row, column]:
        table[row, column] = value


@entry
def note_proofs(
    columns: Table, session: Ints, order: Ints, ready: Bytes, sessions: Table, encrypted: Ints, plain_trees: Ints
) -> int:
    """Note what a window's messages show of their sessions.

    session, order: of each message; an answer has the place of its request: it may have been captured before that.
    encrypted, plain_trees: filled with the places of encrypted messages, and of answers to tree connects that worked
    and are not signed; behind the last of them stands -1.
    """
    encrypted_count = 0
    plain_count = 0
    for i in range(columns.shape[1]):
        s = session[i]
        kind = columns[C_KIND, i]
        if kind == KIND_ENCRYPTED and ready[i]:
            encrypted[encrypted_count] = i
            encrypted_count += 1
        if s < 0 or not ready[i] or kind in (KIND_SETUP, KIND_NEGOTIATE):
            continue
        keep_least(sessions, s, S_FIRST_ORDER, order[i])
        if sessions[s, S_FIRST_NS] == 0:
            sessions[s, S_FIRST_NS] = columns[C_TIME_NS, i]
        signed = columns[C_FLAGS, i] & FLAG_SIGNED
        if signed:
            sessions[s, S_SIGNS] |= HINT_SIGNED
        good = 0
        if kind == KIND_ENCRYPTED:
            sessions[s, S_SIGNS] |= HINT_ENCRYPTED
            sessions[s, S_ENCRYPTED] += 1
        elif columns[C_FROM_SERVER, i]:
            good = worked(columns[C_STATUS, i])
        if good:
            keep_least(sessions, s, S_FIRST_SUCCESS, order[i])
            sessions[s, S_LAST_SUCCESS] = max(sessions[s, S_LAST_SUCCESS], order[i])
            if kind == KIND_TREE_CONNECT and not signed:
                plain_trees[plain_count] = i
                plain_count += 1
        # A tree connect may carry the id of some other tree, or of one that is long gone.
        uses = kind not in (KIND_TREE_CONNECT, KIND_LOGOFF) and columns[C_TREE_ID, i] not in NO_TREE
        if uses and not columns[C_FROM_SERVER, i]:
            keep_least(sessions, s, S_FIRST_REUSE, order[i])
        if (good or kind == KIND_ENCRYPTED) and sessions[s, S_PROOF_CAPTURE_NO] < 0:
            sessions[s, S_PROOF_CAPTURE_NO] = columns[C_CAPTURE_NO, i]
            sessions[s, S_PROOF_FRAME] = columns[C_FRAME, i]
            sessions[s, S_PROOF_PLACE] = columns[C_PLACE, i]
    encrypted[encrypted_count] = -1
    plain_trees[plain_count] = -1
    return 0
