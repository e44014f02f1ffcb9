"""IPv4 and IPv6 fragments put together. [RFC 791 3.2, RFC 8200 4.5]

A ring of datagrams under way, each with a place for every 2 KB of it in a pool of blocks, and a bit for every 8 bytes
that came. The first copy of a byte wins, as in `streams`. A datagram that is whole is copied into the free part of the
buffer that its last fragment lies in, and is read on there; it is then remembered for a while, since copies of its
fragments may still follow.

When ring or pool are full, the oldest datagram makes room; those that were not whole by then are counted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analyzer.capture.packets import (
    C_DUPLICATES,
    C_FRAGMENTS,
    C_FRAGMENTS_GIVEN_UP,
    C_INCOMPLETE,
    KIND_PROTO,
    L_AT,
    L_DST_HI,
    L_DST_LO,
    L_END,
    L_ID,
    L_KIND,
    L_MORE,
    L_NEXT,
    L_OFFSET,
    L_PAST,
    L_ROOM,
    L_SRC_HI,
    L_SRC_LO,
    L_TIME,
    L_USED,
)
from analyzer.compiled import Bytes, Ints, Table, kernel, memory
from analyzer.wire.loads import byte, copy_bytes

# Datagrams: a row each. #

D_STATE = 0
D_SRC_HI = 1
D_SRC_LO = 2
D_DST_HI = 3
D_DST_LO = 4
D_ID = 5
D_NEXT = 6  # the protocol that it carries: of IPv4 a part of its name, of IPv6 what its first fragment says
D_TIME = 7  # of its first fragment
D_GOT = 8  # units that came
D_SIZE = 9  # bytes in all, -1: the last fragment has not come
D_CUT = 10  # captured without a break up to here
D_REACH = 11  # bytes up to the end of the farthest fragment
D_WIDTH = 12

FREE = 0
UNDER_WAY = 1
WHOLE = 2

F_NEWEST = 0  # the row that was taken last
F_OLDEST = 1  # rows before this one hold no blocks
F_FREE_BLOCK = 2
F_WIDTH = 3

DATAGRAMS = 512
"""Fragmented packets under way at a time."""
BLOCK = 2048
BLOCKS = 4096
"""So 8 MB of fragments wait at most."""
MAX_SIZE = 65_535
"""Bytes behind the (last unfragmentable) header: the length fields of both versions end there."""
UNIT = 8
MAX_AGE_NS = 30_000_000_000
"""Fragments that come later than this behind the first are of another packet [RFC 1122 3.3.2: a fixed value]."""
COPY_NS = 1_000_000_000
"""Fragments of a packet that is whole are copies for so long; then its identification is used for another."""
MARKS = (MAX_SIZE + 1) // UNIT // 8
PLACES = (MAX_SIZE + 1) // BLOCK


@memory
class Fragments(NamedTuple):
    """All fragments that wait. `no_fragments` makes it."""

    datagrams: Table
    places: Table
    marks: Bytes
    blocks: Bytes
    block_next: Ints
    ring: Ints


def no_fragments() -> Fragments:
    """The state before the first packet."""
    block_next = np.arange(1, BLOCKS + 1, dtype=np.int64)
    block_next[-1] = -1
    return Fragments(
        datagrams=np.zeros((DATAGRAMS, D_WIDTH), dtype=np.int64),
        places=np.zeros((DATAGRAMS, PLACES), dtype=np.int64),
        marks=np.zeros(DATAGRAMS * MARKS, dtype=np.uint8),
        blocks=np.zeros(BLOCKS * BLOCK, dtype=np.uint8),
        block_next=block_next,
        ring=np.zeros(F_WIDTH, dtype=np.int64),
    )


def still_under_way(fragments: Fragments) -> int:
    """Datagrams of which a part has not come."""
    return int((fragments.datagrams[:, D_STATE] == UNDER_WAY).sum())


@kernel
def take_fragment(buf: Bytes, look: Ints, f: Fragments, counts: Ints) -> None:
    """Take the fragment at `look[L_AT]`; if its datagram is whole, `look` then stands at the datagram's bytes."""
    at = look[L_AT]
    begin = look[L_OFFSET]
    end = begin + look[L_PAST] - at
    look[L_KIND] = -1 - C_FRAGMENTS
    if end > MAX_SIZE or end <= begin or (look[L_MORE] and (end - begin) % UNIT):
        look[L_KIND] = -1 - C_FRAGMENTS_GIVEN_UP
        return
    d = find_datagram(look, f, counts)
    if f.datagrams[d, D_STATE] == WHOLE:
        look[L_KIND] = -1 - C_DUPLICATES
        return
    size = f.datagrams[d, D_SIZE]
    if (size >= 0 and end > size) or (not look[L_MORE] and end < f.datagrams[d, D_REACH]):
        look[L_KIND] = -1 - C_FRAGMENTS_GIVEN_UP
        return
    f.datagrams[d, D_REACH] = max(end, f.datagrams[d, D_REACH])
    if begin == 0:
        f.datagrams[d, D_NEXT] = look[L_NEXT]
    if not look[L_MORE] and f.datagrams[d, D_SIZE] < 0:
        f.datagrams[d, D_SIZE] = end
    if look[L_END] < look[L_PAST]:
        f.datagrams[d, D_CUT] = min(f.datagrams[d, D_CUT], begin + max(0, look[L_END] - at) // UNIT * UNIT)
    came = 0
    for unit in range(begin // UNIT, (end + UNIT - 1) // UNIT):
        place = d * MARKS + unit // 8
        if byte(f.marks, place) & (1 << unit % 8):
            continue
        if f.places[d, unit * UNIT // BLOCK] < 0:
            block = take_room(f, d, counts)
            if block < 0:
                look[L_KIND] = -1 - C_FRAGMENTS_GIVEN_UP
                return
            f.places[d, unit * UNIT // BLOCK] = block
        f.marks[place] = byte(f.marks, place) | (1 << unit % 8)
        came += 1
        source = at + unit * UNIT - begin
        to = f.places[d, unit * UNIT // BLOCK] * BLOCK + unit * UNIT % BLOCK
        copy_bytes(f.blocks, to, buf, source, min(UNIT, look[L_END] - source))
    f.datagrams[d, D_GOT] += came
    if came == 0:
        look[L_KIND] = -1 - C_DUPLICATES
    size = f.datagrams[d, D_SIZE]
    if size >= 0 and f.datagrams[d, D_GOT] * UNIT >= size:
        put_together(buf, look, f, d, counts)


@kernel
def find_datagram(look: Ints, f: Fragments, counts: Ints) -> int:
    """The row of a fragment's datagram; it may be new."""
    # Most fragments follow each other closely: from the newest row back to the oldest.
    d = f.ring[F_NEWEST]
    for _ in range(DATAGRAMS):
        if f.datagrams[d, D_STATE] == FREE:
            break
        if (
            f.datagrams[d, D_ID] == look[L_ID]
            and f.datagrams[d, D_SRC_LO] == look[L_SRC_LO]
            and f.datagrams[d, D_DST_LO] == look[L_DST_LO]
            and f.datagrams[d, D_SRC_HI] == look[L_SRC_HI]
            and f.datagrams[d, D_DST_HI] == look[L_DST_HI]
            and (f.datagrams[d, D_NEXT] == look[L_NEXT] or look[L_SRC_HI] != 0)
        ):
            age = abs(look[L_TIME] - f.datagrams[d, D_TIME])
            if age <= (MAX_AGE_NS if f.datagrams[d, D_STATE] == UNDER_WAY else COPY_NS):
                return int(d)
            break
        d = (d + DATAGRAMS - 1) % DATAGRAMS
    d = (f.ring[F_NEWEST] + 1) % DATAGRAMS
    if f.ring[F_OLDEST] == d:
        f.ring[F_OLDEST] = (d + 1) % DATAGRAMS
    let_go(f, d, counts)
    f.ring[F_NEWEST] = d
    f.datagrams[d, D_STATE] = UNDER_WAY
    f.datagrams[d, D_SRC_HI] = look[L_SRC_HI]
    f.datagrams[d, D_SRC_LO] = look[L_SRC_LO]
    f.datagrams[d, D_DST_HI] = look[L_DST_HI]
    f.datagrams[d, D_DST_LO] = look[L_DST_LO]
    f.datagrams[d, D_ID] = look[L_ID]
    f.datagrams[d, D_NEXT] = look[L_NEXT]
    f.datagrams[d, D_TIME] = look[L_TIME]
    f.datagrams[d, D_GOT] = 0
    f.datagrams[d, D_SIZE] = -1
    f.datagrams[d, D_CUT] = MAX_SIZE
    f.datagrams[d, D_REACH] = 0
    for place in range(PLACES):
        f.places[d, place] = -1
    for place in range(d * MARKS, (d + 1) * MARKS):
        f.marks[place] = 0
    return int(d)


@kernel
def take_room(f: Fragments, d: int, counts: Ints) -> int:
    """A block for datagram `d`, for which the oldest datagram may have to go; -1 if that is `d` itself."""
    while f.ring[F_FREE_BLOCK] < 0 and f.ring[F_OLDEST] != d:
        let_go(f, f.ring[F_OLDEST], counts)
        f.ring[F_OLDEST] = (f.ring[F_OLDEST] + 1) % DATAGRAMS
    block = f.ring[F_FREE_BLOCK]
    if block >= 0:
        f.ring[F_FREE_BLOCK] = f.block_next[block]
    return int(block)


@kernel
def let_go(f: Fragments, d: int, counts: Ints) -> None:
    """Forget a datagram."""
    if f.datagrams[d, D_STATE] == UNDER_WAY:
        counts[C_INCOMPLETE] += 1
        free_places(f, d)
        f.datagrams[d, D_STATE] = FREE


@kernel
def free_places(f: Fragments, d: int) -> None:
    """Give a datagram's blocks back."""
    for place in range(PLACES):
        block = f.places[d, place]
        if block >= 0:
            f.block_next[block] = f.ring[F_FREE_BLOCK]
            f.ring[F_FREE_BLOCK] = block
            f.places[d, place] = -1


@kernel
def put_together(buf: Bytes, look: Ints, f: Fragments, d: int, counts: Ints) -> None:
    """Copy a whole datagram into the free part of the buffer, for `look` to go on there."""
    size = f.datagrams[d, D_SIZE]
    at = look[L_USED]
    f.datagrams[d, D_STATE] = WHOLE
    if at + size > look[L_ROOM]:
        look[L_KIND] = -1 - C_FRAGMENTS_GIVEN_UP
    else:
        counts[C_FRAGMENTS] += 1
        for place in range((size + BLOCK - 1) // BLOCK):
            step = min(BLOCK, size - place * BLOCK)
            copy_bytes(buf, at + place * BLOCK, f.blocks, f.places[d, place] * BLOCK, step)
        look[L_USED] = at + size
        look[L_AT] = at
        look[L_PAST] = at + size
        look[L_END] = at + min(size, f.datagrams[d, D_CUT])
        look[L_KIND] = KIND_PROTO + f.datagrams[d, D_NEXT]
    free_places(f, d)
