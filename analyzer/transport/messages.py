"""The table of selected messages: a row for each PDU (or element of an SMB 1 chain) that was worth keeping.

Rows stand in the order in which the messages could be read. Their bytes lie in the window's arena.
"""

from __future__ import annotations

import numpy as np

from analyzer.compiled import Bytes, Table

M_CONNECTION = 0
M_FROM_SERVER = 1  # 1: the server sent it
M_FILE = 2  # the packet that completes the message ...
M_FRAME = 3
M_TIME = 4
M_PROTOCOL = 5  # PROTOCOL_
M_COMMAND = 6
M_HEADER = 7  # arena offset of the message's header
M_BODY = 8  # arena offset of what this row is about: behind the SMB 2 header, at the SMB 1 element's WordCount
M_END = 9  # arena offset behind the last stored byte of this PDU
M_SIZE = 10  # bytes of the PDU on the wire; more than are stored where the rest is of no use
M_PLACE = 11  # which PDU of its message, from 0
M_POSITION = (
    12  # place in the client's stream: of its end, or (server) up to which the client had been heard; -1 unknown
)
M_FLAGS = 13  # MF_
M_MESSAGE = 14  # number of the message, the same for all its PDUs
M_WIDTH = 15

PROTOCOL_SMB1 = 1
PROTOCOL_SMB2 = 2
PROTOCOL_ENCRYPTED = 3
PROTOCOL_COMPRESSED = 4
PROTOCOL_NETBIOS = 5
PROTOCOL_PROBLEM = 6  # no message: M_COMMAND is a PROBLEM_, M_SIZE a number of bytes

MF_CUT = 1  # wanted bytes are missing: not captured, or lost
MF_MORE = 2  # another element of the chain follows

PROBLEM_NOT_SMB = 1  # something else where a message should begin
PROBLEM_GAP = 2  # bytes missing between messages: some may have been lost whole
PROBLEM_CUT = 3  # bytes missing inside a message, in the part that was wanted
PROBLEM_COMPOUND = 4  # NextCommand or AndXOffset leads nowhere
PROBLEM_GIVEN_UP = 5  # no block left to store it

ARENA_SPARE = 4096
"""Bytes at the end of an arena that are never used, so that a batch may read a fixed structure without looking."""


def window(rows: int, arena_bytes: int) -> tuple[Table, Bytes]:
    """A table of messages and its arena, with whatever is in them: windows are filled again without being emptied."""
    return np.empty((rows, M_WIDTH), dtype=np.int64), np.empty(arena_bytes + ARENA_SPARE, dtype=np.uint8)
