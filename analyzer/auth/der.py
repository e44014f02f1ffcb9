"""The length-prefixed elements of DER, read from many blobs at once. [X.690]"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Elements(NamedTuple):
    """An element of each blob: its tag (0: there is none), where its value begins and ends, and where the next begins.

    An element that claims to go past the end of what holds it ends there: captures cut blobs.
    """

    tag: Index
    start: Index
    end: Index
    next: Index


def read_elements(arena: npt.NDArray[np.uint8], at: Index, end: Index) -> Elements:
    """The element that begins at `at` in each blob. `arena` has at least 8 spare bytes behind its content."""
    there = at + 2 <= end
    place = np.where(there, at, 0)
    tag = np.where(there, arena[place], 0).astype(np.int64)
    first = arena[place + 1].astype(np.int64)
    octets = np.where(first & 0x80, first & 0x7F, 0)
    size = np.where(first & 0x80, 0, first)
    for i in range(4):
        size = np.where(octets > i, (size << 8) | arena[place + 2 + i], size)
    start = at + 2 + octets
    # Indefinite lengths do not occur in DER, longer ones not in a security blob.
    there &= (first != 0x80) & (octets <= 4) & (start <= end)
    start = np.where(there, start, end)
    stop = np.minimum(start + np.where(there, size, 0), end)
    return Elements(np.where(there, tag, 0), start, stop, stop)


def is_bytes(arena: npt.NDArray[np.uint8], at: Index, end: Index, wanted: bytes) -> Mask:
    """True where `arena[at:end]` begins with these bytes."""
    same = at + len(wanted) <= end
    place = np.where(same, at, 0)
    for i, value in enumerate(wanted):
        same &= arena[place + i] == value
    return same
