"""Hash tables that live from window to window: what a key means now, and what it meant at a place in the order.

A key is a few 64-bit integers. `Index` gives each key a value: its number, or the newest of the rows that were
established under it. Those rows are chained, newest first by their place in the client's order, so a lookup "as of a
place" walks to the first that is older. Rows may come late (their answer was), and are put where they belong. Each row
also links to one much older, so that no walk is long: in a hostile capture a great many rows may have one key.

The hashes begin with a number that is another one in every run: a capture could else be made whose keys collide.
Keys are dropped only when room is needed: whoever owns the table then says which are of no more use.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analyzer.compiled import Form, Ints, Table, entry, kernel, memory
from analyzer.wire.loads import mix

NONE = -1
SEED = secrets.randbits(32)
LEAST = 256
"""The least room; it is always a power of two, and there are twice as many slots."""

X_SEED = 0
X_KEYS = 1  # keys in use
X_LINKS = 2  # links in use
X_WIDTH = 3

LINK_KEY = 0  # the key that it belongs to
LINK_ORDER = 1
LINK_ROW = 2
LINK_OLDER = 3  # the next older one of the same key, -1: none
LINK_JUMP = 4  # one that is older by far: walks of n steps become walks of some log n; itself, if none is older
LINK_DEPTH = 5  # how many older ones it had when it was put there
LINK_WIDTH = 6

Keep = Callable[[Ints], npt.NDArray[np.bool_]]


@memory
class Index(NamedTuple):
    """A hash table. In `slots` is the number of a key + 1, or 0; in the last column of `keys` the key's value."""

    slots: Ints
    keys: Table
    links: Table
    state: Ints


def empty_index(width: int, keys: int, links: int) -> Index:
    """Room for so many keys of `width` integers, and for so many rows under them."""
    room = max(LEAST, 1 << (keys - 1).bit_length() if keys > 0 else 0)
    state = np.zeros(X_WIDTH, dtype=np.int64)
    state[X_SEED] = SEED
    return Index(
        slots=np.zeros(2 * room, dtype=np.int64),
        keys=np.zeros((room, width + 1), dtype=np.int64),
        links=np.zeros((max(links, 1), LINK_WIDTH), dtype=np.int64),
        state=state,
    )


@kernel
def key_slot(m: Index, wanted: Table, i: int) -> int:
    """The slot of the key in column `i` of `wanted`: where it is, or would be put."""
    hashed = m.state[X_SEED]
    for c in range(wanted.shape[0]):
        word = wanted[c, i]
        hashed = mix(hashed, word & 0xFFFFFFFF)
        high = (word >> 32) & 0xFFFFFFFF
        if high:  # apart, since mix() folds what is longer
            hashed = mix(hashed, high)
    mask = m.slots.shape[0] - 1
    slot = hashed & mask
    while m.slots[slot]:
        key = m.slots[slot] - 1
        c = 0
        while c < wanted.shape[0] and m.keys[key, c] == wanted[c, i]:
            c += 1
        if c == wanted.shape[0]:
            break
        slot = (slot + 1) & mask
    return slot


@kernel
def key_of(m: Index, wanted: Table, i: int) -> int:
    """The number of the key in column `i` of `wanted`, which is added where it is new. There must be room for it."""
    slot = key_slot(m, wanted, i)
    if m.slots[slot]:
        return m.slots[slot] - 1
    key = m.state[X_KEYS]
    m.state[X_KEYS] += 1
    m.slots[slot] = key + 1
    for c in range(wanted.shape[0]):
        m.keys[key, c] = wanted[c, i]
    m.keys[key, wanted.shape[0]] = NONE
    return key


@entry
def number_keys(m: Index, wanted: Table, numbers: Ints, first: Ints, next_number: int) -> int:
    """Set `numbers` to the values of keys; those that are new get `next_number` and on.

    first: is filled with the places where the new ones were met first. Returns how many were new.
    """
    new = 0
    width = wanted.shape[0]
    for i in range(wanted.shape[1]):
        key = key_of(m, wanted, i)
        if m.keys[key, width] == NONE:
            m.keys[key, width] = next_number + new
            first[new] = i
            new += 1
        numbers[i] = m.keys[key, width]
    return new


@entry
def find_numbers(m: Index, wanted: Table, numbers: Ints) -> int:
    """Set `numbers` to the values of keys, -1 where there are none."""
    for i in range(wanted.shape[1]):
        slot = key_slot(m, wanted, i)
        numbers[i] = NONE
        if m.slots[slot]:
            numbers[i] = m.keys[m.slots[slot] - 1, wanted.shape[0]]
    return 0


@entry
def set_values(m: Index, wanted: Table, values: Ints) -> int:
    """Give keys other values."""
    for i in range(wanted.shape[1]):
        m.keys[key_of(m, wanted, i), wanted.shape[0]] = values[i]
    return 0


@entry
def chain_rows(m: Index, wanted: Table, orders: Ints, rows: Ints) -> int:
    """Put rows under their keys, each at its place among those that are there."""
    for i in range(wanted.shape[1]):
        key = key_of(m, wanted, i)
        link = m.state[X_LINKS]
        m.state[X_LINKS] += 1
        newer = NONE
        older = m.keys[key, wanted.shape[0]]
        while older >= 0 and m.links[older, LINK_ORDER] > orders[i]:
            newer = older
            jump = m.links[older, LINK_JUMP]
            if jump == older or m.links[jump, LINK_ORDER] <= orders[i]:
                jump = m.links[older, LINK_OLDER]
            older = jump
        m.links[link, LINK_KEY] = key
        m.links[link, LINK_ORDER] = orders[i]
        m.links[link, LINK_ROW] = rows[i]
        m.links[link, LINK_OLDER] = older
        set_jump(m.links, link, older)
        if newer >= 0:
            m.links[newer, LINK_OLDER] = link
        else:
            m.keys[key, wanted.shape[0]] = link
    return 0


@kernel
def set_jump(links: Table, link: int, older: int) -> None:
    """Set the far link of a row whose next older one is known.

    The lengths of jumps are those of a skew binary number system: two jumps of one length are followed by one that goes
    over both. [E. W. Myers, An applicative random-access stack, 1983] A row that comes late is linked so too; jumps that
    go over it stay right, since what they lead to is older than it.
    """
    if older < 0:
        links[link, LINK_JUMP] = link
        links[link, LINK_DEPTH] = 0
        return
    first = links[older, LINK_JUMP]
    second = links[first, LINK_JUMP]
    depth = links[older, LINK_DEPTH]
    middle = links[first, LINK_DEPTH]
    links[link, LINK_DEPTH] = depth + 1
    links[link, LINK_JUMP] = second if depth - middle == middle - links[second, LINK_DEPTH] and depth > 0 else older


@entry
def rows_as_of(m: Index, wanted: Table, orders: Ints, found: Ints) -> int:
    """Set `found` to the last row under each key with a smaller order, -1 if there is none."""
    for i in range(wanted.shape[1]):
        found[i] = NONE
        slot = key_slot(m, wanted, i)
        if m.slots[slot]:
            link = m.keys[m.slots[slot] - 1, wanted.shape[0]]
            while link >= 0 and m.links[link, LINK_ORDER] >= orders[i]:
                jump = m.links[link, LINK_JUMP]
                if jump == link or m.links[jump, LINK_ORDER] < orders[i]:
                    jump = m.links[link, LINK_OLDER]
                link = jump
            if link >= 0:
                found[i] = m.links[link, LINK_ROW]
    return 0


def keys(*columns: npt.NDArray[np.generic]) -> Table:
    """Columns as keys: of unsigned ones the bits count."""
    table: Table = np.empty((len(columns), len(columns[0])), dtype=np.int64)
    for row, column in enumerate(columns):
        table[row] = column
    return table


class Numbers:
    """Numbers 0, 1, 2 ... for keys, in order of first appearance."""

    def __init__(self, width: int, form: Form, keep: Keep | None = None) -> None:
        """keep: told first integers of keys; says which of the keys are still of use. None: all are."""
        self._form = form
        self._keep = keep
        self._width = width
        self._index = empty_index(width, LEAST, 0)
        self.count = 0

    def number(self, wanted: Table) -> tuple[Ints, Ints]:
        """The number of each key; and where the new ones were met first, in ascending order of their numbers."""
        numbers = np.empty(wanted.shape[1], dtype=np.int64)
        first = np.empty(wanted.shape[1], dtype=np.int64)
        if not len(numbers):
            return numbers, first
        self._make_room(len(numbers))
        new = self._form().number_keys(self._index, wanted, numbers, first, self.count)
        self.count += new
        return numbers, first[:new]

    def find(self, wanted: Table) -> Ints:
        """The number of each key, `NONE` for those that were not met before."""
        numbers = np.empty(wanted.shape[1], dtype=np.int64)
        if len(numbers):
            self._form().find_numbers(self._index, wanted, numbers)
        return numbers

    def set(self, wanted: Table, numbers: Ints) -> None:
        """From now on these keys have these numbers."""
        self._make_room(len(numbers))
        self._form().set_values(self._index, wanted, numbers)

    def _make_room(self, count: int) -> None:
        used = int(self._index.state[X_KEYS])
        if used + count <= len(self._index.keys):
            return
        kept = np.arange(used)
        if self._keep is not None:
            kept = np.flatnonzero(self._keep(self._index.keys[:used, 0]))
        old = self._index
        self._index = empty_index(self._width, 2 * len(kept) + count, 0)
        if len(kept):
            known: Table = np.ascontiguousarray(old.keys[kept].T)
            self._form().set_values(self._index, known[: self._width], known[self._width])


class Chains:
    """Rows by key, to be found as of a place."""

    def __init__(self, width: int, form: Form, keep: Keep) -> None:
        """keep: told rows; says which of them are still of use."""
        self._form = form
        self._keep = keep
        self._width = width
        self._index = empty_index(width, LEAST, LEAST)

    def add(self, wanted: Table, orders: Ints, rows: Ints) -> None:
        """Put rows under their keys."""
        if not len(rows):
            return
        self._make_room(len(rows))
        self._form().chain_rows(self._index, wanted, orders, rows)

    def as_of(self, wanted: Table, orders: Ints) -> Ints:
        """For each key and order the last row under that key with a smaller order; `NONE` if there is none."""
        found = np.empty(len(orders), dtype=np.int64)
        if len(orders):
            self._form().rows_as_of(self._index, wanted, orders, found)
        return found

    def _make_room(self, count: int) -> None:
        used = int(self._index.state[X_LINKS])
        if used + count <= len(self._index.links):
            return
        links = self._index.links[:used]
        links = links[self._keep(links[:, LINK_ROW])]
        # In their order, each goes to the head of its chain.
        links = links[np.argsort(links[:, LINK_ORDER], kind="stable")]
        room = max(LEAST, 2 * len(links) + 4 * count)
        old = self._index
        self._index = empty_index(self._width, room, room)
        if len(links):
            wanted = np.ascontiguousarray(old.keys[links[:, LINK_KEY], : self._width].T)
            order, row = (np.ascontiguousarray(links[:, column]) for column in (LINK_ORDER, LINK_ROW))
            self._form().chain_rows(self._index, wanted, order, row)
