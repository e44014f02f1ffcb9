"""What the readers of both SMB versions work on: the selected messages of a window, and what is found in them.

The kernels that read messages write numbers: a row of `messages` for each, an item for each body or problem, a name for
each text (where its bytes lie, and in which character set). `decode` makes records of them, a kind at a time.
"""

from __future__ import annotations

from typing import NamedTuple

from analyzer.compiled import Bytes, Ints, Table, kernel, memory
from analyzer.records import Kind
from analyzer.smb.dfs import Extent
from analyzer.transport.messages import M_BODY, M_END, M_FLAGS, M_HEADER, M_SIZE, MF_CUT

# Columns of `messages`: the fields of `records.MESSAGE`.
D_CONNECTION = 0
D_FROM_SERVER = 1
D_KIND = 2  # records.Kind
D_PROTOCOL = 3  # records.Protocol
D_FILE = 4
D_FRAME = 5
D_TIME = 6
D_PLACE = 7
D_MESSAGE = 8
D_POSITION = 9
D_KEY = 10
D_SESSION = 11
D_TREE = 12
D_STATUS = 13
D_FLAGS = 14  # records.Flag
D_ORDER = 15
D_WIDTH = 16

# Columns of `items`. What the values of an item mean depends on its table: see `decode.TABLES`.
I_TABLE = 0
I_ROW = 1
I_VALUE = 2
VALUES = 11
I_WIDTH = I_VALUE + VALUES
ITEMS_OF_ROW = 3
"""The most that a row may have: two bodies and a problem."""

TABLE_PROBLEM = 0  # values: number of the problem (`decode.PROBLEMS`), a detail or -1
TABLE_NEGOTIATE_REQUEST = 1
TABLE_NEGOTIATE_ANSWER = 2
TABLE_SETUP_REQUEST = 3
TABLE_SETUP_ANSWER = 4
TABLE_TREE_REQUEST = 5
TABLE_TREE_ANSWER = 6
TABLE_OPEN_REQUEST = 7
TABLE_OPEN_ANSWER = 8
TABLE_CLOSE_REQUEST = 9
TABLE_DATA_REQUEST = 10
TABLE_DATA_ANSWER = 11
TABLE_CALL_REQUEST = 12
TABLE_CALL_ANSWER = 13
TABLE_REFERRAL = 14  # values: where the answer to a DFS referral lies, its bytes, `dfs.Extent`

# Columns of `names`.
N_ITEM = 0
N_FIELD = 1  # FIELD_
N_AT = 2  # arena offset and bytes
N_SIZE = 3
N_ENCODING = 4  # ENCODING_
N_WIDTH = 5
NAMES_OF_ROW = 4

FIELD_PATH = 0
FIELD_NAME = 1
FIELD_USER = 2
FIELD_DOMAIN = 3
FIELD_NATIVE_OS = 4
FIELD_NATIVE_LANMAN = 5
FIELD_DIALECTS = 6

ENCODING_UTF16 = 0
ENCODING_OEM = 1
ENCODING_DIALECTS_SMB1 = 2  # bytes that are no text yet
ENCODING_DIALECTS_SMB2 = 3

K_ITEMS = 0
K_NAMES = 1
K_WIDTH = 2

_KIND_OTHER = int(Kind.OTHER)
_CUT, _BEYOND_LIMIT = int(Extent.CUT), int(Extent.BEYOND_LIMIT)


@memory
class Found(NamedTuple):
    """Selected messages (`rows`, columns `M_`), their bytes, and what is being found in them."""

    rows: Table
    arena: Bytes
    messages: Table
    items: Table
    names: Table
    counts: Ints


@kernel
def add_item(w: Found, row: int, table: int) -> int:
    """An item of a row, its values 0; returns its place."""
    item = w.counts[K_ITEMS]
    w.counts[K_ITEMS] += 1
    w.items[item, I_TABLE] = table
    w.items[item, I_ROW] = row
    for value in range(VALUES):
        w.items[item, I_VALUE + value] = 0
    return item


@kernel
def add_name(w: Found, item: int, field: int, at: int, size: int, encoding: int) -> None:
    """A text of an item. Without one it is missing."""
    n = w.counts[K_NAMES]
    w.counts[K_NAMES] += 1
    w.names[n, N_ITEM] = item
    w.names[n, N_FIELD] = field
    w.names[n, N_AT] = at
    w.names[n, N_SIZE] = size
    w.names[n, N_ENCODING] = encoding


@kernel
def tell(w: Found, row: int, problem: int, detail: int) -> None:
    """Note a problem with a message."""
    item = add_item(w, row, TABLE_PROBLEM)
    w.items[item, I_VALUE] = problem
    w.items[item, I_VALUE + 1] = detail


@kernel
def has(w: Found, row: int, size: int, structure: int) -> int:
    """1 if `size` bytes of the body are stored; else a problem is noted, and the message is none of its kind."""
    if w.rows[row, M_BODY] + size <= w.rows[row, M_END]:
        return 1
    tell(w, row, structure, -1)
    w.messages[row, D_KIND] = _KIND_OTHER
    return 0


@kernel
def clip(w: Found, row: int, offset: int) -> int:
    """Where in the arena a part lies that the message places `offset` bytes behind its header: not behind its end."""
    return min(w.rows[row, M_HEADER] + offset, w.rows[row, M_END])


@kernel
def place_referral(w: Found, row: int, offset: int, size: int, extent: int) -> None:
    """Note where the answer to a DFS referral lies. extent: `dfs.Extent` of what the message is said to hold."""
    item = add_item(w, row, TABLE_REFERRAL)
    place_part(w, row, item, 0, offset, size)
    if w.items[item, I_VALUE + 1] < size:
        if w.rows[row, M_FLAGS] & MF_CUT:
            extent = _CUT
        elif w.rows[row, M_HEADER] + w.rows[row, M_SIZE] > w.rows[row, M_END]:
            extent = _BEYOND_LIMIT
    w.items[item, I_VALUE + 2] = extent


@kernel
def place_part(w: Found, row: int, item: int, value: int, offset: int, size: int) -> None:
    """Write where such a part lies, and how much of its `size` is stored, into two values of an item."""
    at = clip(w, row, offset)
    w.items[item, I_VALUE + value] = at
    w.items[item, I_VALUE + value + 1] = min(size, w.rows[row, M_END] - at)
