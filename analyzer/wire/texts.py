"""A pool of texts, so that batches can carry numbers: a user name seen a million times is stored once.

Encoded texts are told apart as bytes, by a kernel: a hash table from (bytes, encoding) to the code of the text, so that
each distinct one is decoded once. Its hash sums up products with random numbers that are new in every run. For two
different texts it is the same with a probability of 2^-32, whatever the texts are, so nobody can make a capture whose
texts collide; and since the bytes are compared, a collision costs time only. [Carter and Wegman, Universal classes of
hash functions, 1979; Lemire and Kaser, Strongly universal string hashing is fast, 2014]
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analyzer.compiled import Bytes, Form, Ints, Kernels, Table, entry, kernel, memory, plain_kernels
from analyzer.wire.loads import byte, copy_bytes, le32

MISSING = -1
"""The code of a text that is not there. The empty text is a value and has a code of its own."""

Encoding = str | Callable[[bytes], str]
"""How bytes become a text: the name of a codec, or a function that spells them out."""

FEW = 8
"""Fewer texts than this are decoded one by one."""
LONGEST = 512
"""Longer texts (in bytes) are decoded one by one: names are shorter."""
MOST_TEXTS = 1 << 18
MOST_BYTES = 1 << 24
"""When the hash table holds about so many texts, or bytes of them, it is emptied: what comes again is decoded again."""

E_HASH = 0
E_AT = 1  #    where its bytes are in the store
E_WHAT = 2  #  size and encoding, see `text_kind`
E_CODE = 3
E_WIDTH = 4
U_ENTRIES = 0
U_BYTES = 1
U_LONG = 2
U_WIDTH = 3
LONG = -2
"""In place of an entry: the text is too long."""


@memory
class Known(NamedTuple):
    """The hash table. Its last entry stands for `MISSING`, which is -1: it takes no text."""

    slots: Ints  # number of an entry and 1, or 0
    entries: Table
    store: Bytes
    used: Ints
    keys: Ints


def _keys() -> Ints:
    """Random factors: for what the text is, for each four bytes of it, and a summand."""
    return np.frombuffer(bytearray(secrets.token_bytes(8 * (2 + LONGEST // 4))), dtype=np.int64)


def _room(entries: int, size: int, keys: Ints) -> Known:
    """An empty table for so many entries (a power of 2) and bytes."""
    table = np.zeros((entries, E_WIDTH), dtype=np.int64)
    table[-1, E_CODE] = MISSING
    slots = np.zeros(2 * entries, dtype=np.int64)
    return Known(slots, table, np.zeros(size, dtype=np.uint8), np.zeros(U_WIDTH, dtype=np.int64), keys)


class Texts:
    """Texts and their codes, 0, 1, 2 ... in order of first use. form: which form of the kernels to use.

    Two threads may use it: while a window's records are worked off, the next window's texts come in.
    """

    def __init__(self, form: Form = plain_kernels) -> None:
        self.form = form
        self.values: list[str] = []
        self._codes: dict[str, int] = {}
        self._decoded: dict[tuple[bytes, Encoding], int] = {}
        self._encodings: dict[Encoding, int] = {}
        self._known = _room(1024, 1 << 15, _keys())
        self._new = threading.Lock()  # who holds it gives codes to texts
        self._table = threading.Lock()  # who holds it works with the hash table

    def code(self, text: str) -> int:
        """The code of a text."""
        found = self._codes.get(text)
        if found is None:
            with self._new:
                found = self._codes.get(text)
                if found is None:
                    found = len(self.values)
                    self.values.append(text)  # first, since a code that is known is looked up
                    self._codes[text] = found
        return found

    def decode(self, data: bytes, encoding: Encoding) -> int:
        """The code of an encoded text. What cannot be decoded becomes U+FFFD; a lone surrogate does too."""
        key = (data, encoding)
        found = self._decoded.get(key)
        if found is None:
            found = self._decoded[key] = self.code(_decoded(data, encoding))
        return found

    def text(self, code: int) -> str | None:
        """The text of a code, None for `MISSING`."""
        return None if code < 0 else self.values[code]

    def slices(
        self,
        arena: npt.NDArray[np.uint8],
        starts: npt.NDArray[np.int64],
        sizes: npt.NDArray[np.int64],
        encoding: Encoding,
    ) -> npt.NDArray[np.int32]:
        """The codes of texts that lie in an arena. A size below zero means that there is none."""
        kernels = self.form()
        codes = np.full(len(starts), MISSING, dtype=np.int32)
        if not kernels.compiled or len(starts) < FEW:  # as machine code the kernel is quicker than this, else slower
            self._one_by_one(arena, starts, sizes, encoding, np.flatnonzero(sizes >= 0), codes)
            return codes
        starts, sizes = (np.ascontiguousarray(places, dtype=np.int64) for places in (starts, sizes))
        with self._table:
            self._intern(kernels, arena, starts, sizes, encoding, codes)
        return codes

    def _intern(
        self,
        kernels: Kernels,
        arena: Bytes,
        starts: Ints,
        sizes: Ints,
        encoding: Encoding,
        codes: npt.NDArray[np.int32],
    ) -> None:
        number = self._encodings.setdefault(encoding, len(self._encodings))
        found = np.empty(len(starts), dtype=np.int64)
        at = 0
        while at < len(starts):
            known = self._known
            before = int(known.used[U_ENTRIES])
            stop = kernels.intern_texts(known, arena, starts, sizes, number, at, found)
            for entry_ in known.entries[before : known.used[U_ENTRIES]]:
                place, size = int(entry_[E_AT]), int(entry_[E_WHAT]) % (LONGEST + 1)
                entry_[E_CODE] = self.code(_decoded(known.store[place : place + size].tobytes(), encoding))
            codes[at:stop] = known.entries[:, E_CODE][found[at:stop]]
            if known.used[U_LONG]:
                known.used[U_LONG] = 0
                self._one_by_one(arena, starts, sizes, encoding, at + np.flatnonzero(found[at:stop] == LONG), codes)
            if stop < len(starts):
                self._grow()
            at = stop

    def _one_by_one(
        self,
        arena: npt.NDArray[np.uint8],
        starts: npt.NDArray[np.int64],
        sizes: npt.NDArray[np.int64],
        encoding: Encoding,
        which: npt.NDArray[np.int64],
        codes: npt.NDArray[np.int32],
    ) -> None:
        data = arena.data
        for place, at, size in zip(which.tolist(), starts[which].tolist(), sizes[which].tolist(), strict=True):
            codes[place] = self.decode(bytes(data[at : at + size]), encoding)

    def _grow(self) -> None:
        """Make room for another text, or forget those that are in the table."""
        known = self._known
        entries, size = len(known.entries), len(known.store)
        used, used_bytes = int(known.used[U_ENTRIES]), int(known.used[U_BYTES])
        if used >= MOST_TEXTS or used_bytes >= MOST_BYTES:
            self._known = _room(entries, size, known.keys)
            return
        if used + 1 >= entries:
            entries *= 2
        if used_bytes + LONGEST > size:
            size *= 2
        grown = _room(entries, size, known.keys)
        grown.entries[:used] = known.entries[:used]
        grown.store[:used_bytes] = known.store[:used_bytes]
        grown.used[:] = known.used
        self.form().place_texts(grown)
        self._known = grown


def _decoded(data: bytes, encoding: Encoding) -> str:
    return data.decode(encoding, "replace") if isinstance(encoding, str) else encoding(data)


@entry
def intern_texts(known: Known, arena: Bytes, starts: Ints, sizes: Ints, encoding: int, first: int, found: Ints) -> int:
    """Find the entry of each text from `first` on, or make it; returns where to go on, the end when done.

    In `found`: the entry's number, `MISSING` where the size is below zero, `LONG` (counted) where it is too large. It
    stops where the table has no room for another text. Of a text that goes past the arena's end the part inside counts.
    """
    for i in range(first, starts.shape[0]):
        size = min(sizes[i], arena.shape[0] - starts[i])
        if sizes[i] < 0:
            found[i] = MISSING
            continue
        size = max(size, 0)
        if size > LONGEST:
            found[i] = LONG
            known.used[U_LONG] += 1
            continue
        number = find_text(known, arena, starts[i], size, encoding)
        if number < 0:
            return i
        found[i] = number
    return int(starts.shape[0])


@kernel
def find_text(known: Known, arena: Bytes, at: int, size: int, encoding: int) -> int:
    """The number of a text's entry, which is made if need be; -1 if there is no room for it."""
    value = text_hash(arena, at, size, encoding, known.keys)
    what = text_kind(size, encoding)
    mask = known.slots.shape[0] - 1
    slot = value & mask
    while known.slots[slot] > 0:
        number = known.slots[slot] - 1
        if (
            known.entries[number, E_HASH] == value
            and known.entries[number, E_WHAT] == what
            and same_bytes(arena, at, known.store, known.entries[number, E_AT], size)
        ):
            return int(number)
        slot = (slot + 1) & mask
    number = known.used[U_ENTRIES]
    place = known.used[U_BYTES]
    if number + 1 >= known.entries.shape[0] or place + size > known.store.shape[0]:
        return -1
    known.slots[slot] = number + 1
    known.entries[number, E_HASH] = value
    known.entries[number, E_AT] = place
    known.entries[number, E_WHAT] = what
    copy_bytes(known.store, place, arena, at, size)
    known.used[U_ENTRIES] = number + 1
    known.used[U_BYTES] = place + size
    return int(number)


@entry
def place_texts(known: Known) -> int:
    """Put all entries into the empty slots of a table that was made larger; returns how many there are."""
    mask = known.slots.shape[0] - 1
    for number in range(known.used[U_ENTRIES]):
        slot = known.entries[number, E_HASH] & mask
        while known.slots[slot] > 0:
            slot = (slot + 1) & mask
        known.slots[slot] = number + 1
    return int(known.used[U_ENTRIES])


@kernel
def text_kind(size: int, encoding: int) -> int:
    """Size and encoding of a text as one number."""
    return encoding * (LONGEST + 1) + size


@kernel
def text_hash(b: Bytes, at: int, size: int, encoding: int, keys: Ints) -> int:
    """A 32-bit hash. The sum may overflow in one form of the kernel and not in the other: bits 32 to 63 are the same."""
    total = keys[0] + keys[1] * text_kind(size, encoding)
    words = size // 4
    for k in range(words):
        total += keys[2 + k] * le32(b, at + 4 * k)
    last = 0
    for k in range(4 * words, size):
        last = last * 256 + byte(b, at + k)
    if last:
        total += keys[2 + words] * last
    return int((total >> 32) & 0xFFFFFFFF)


@kernel
def same_bytes(a: Bytes, at: int, b: Bytes, place: int, size: int) -> int:
    """1 if two places hold the same bytes."""
    for k in range(size):
        if a[at + k] != b[place + k]:
            return 0
    return 1
