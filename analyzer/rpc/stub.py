"""The first arguments of a request that tell who is asked, or what is wanted. [C706 14; MS-RPCE 2.2.5 for NDR64]

An operation's arguments are described by letters, one each in their order (column `arguments` of `rpc_operations.csv`):

    U u   pointer to a wide text: the server's name; passed over      W w   wide text in place: a name; passed over
    p     pointer to one wide character                               S s   RPC_UNICODE_STRING: a name; passed over
    h     context handle                                              1 2 4 integer of so many bytes
    L l   information level of 32, of 16 bits
"""

from __future__ import annotations

from analyzer.compiled import Bytes, Ints, kernel
from analyzer.wire.loads import u16, u32

LETTERS = 8
"""The most arguments that are described: a byte of a 64-bit number each, the first in the lowest."""
HANDLE_SIZE = 20
LONGEST_TEXT = 512
"""Bytes of a text that are kept: names are shorter."""

# What is found: places in the bytes that the stub is in. #

A_SERVER_AT = 0
A_SERVER_SIZE = 1  # -1: no such text
A_NAME_AT = 2
A_NAME_SIZE = 3
A_TEXT = A_NAME_AT - A_SERVER_AT
A_LAST_AT = 4  # of the text that was read last
A_LAST_SIZE = 5
A_LEVEL = 6  # -1: none
A_WIDTH = 7

_BIG_U = ord("U")
_U = ord("u")
_BIG_W = ord("W")
_W = ord("w")
_P = ord("p")
_BIG_S = ord("S")
_S = ord("s")
_H = ord("h")
_BIG_L = ord("L")
_L = ord("l")
_1 = ord("1")
_2 = ord("2")


def pack_letters(letters: str) -> int:
    """The description of an operation's arguments as a number; what is longer than it may be is left out."""
    return int.from_bytes(letters.encode("ascii")[:LETTERS], "little")


@kernel
def read_arguments(b: Bytes, stub: int, end: int, big: int, ndr64: int, letters: int, found: Ints, first: int) -> None:
    """Read what `letters` describe of the stub `b[stub:end]`; stops where it does not fit. `A_` begins at `found[first]`."""
    found[first + A_SERVER_SIZE] = -1
    found[first + A_NAME_SIZE] = -1
    found[first + A_LEVEL] = -1
    word = 8 if ndr64 else 4
    low = word - 4 if big else 0  # where the lower half of a word is
    place = stub
    while letters and place >= 0:
        letter = letters & 0xFF
        letters >>= 8
        if letter in (_BIG_U, _U, _P, _BIG_S, _S, _BIG_W, _W):
            is_null = 0
            if letter not in (_BIG_W, _W):
                # Before the pointer of a RPC_UNICODE_STRING are its two lengths, and with NDR64 four bytes of nothing.
                place = aligned(stub, place, word) + (word if letter in (_BIG_S, _S) else 0)
                if place + word > end:
                    return
                is_null = 1 if u32(b, place + low, big) == 0 else 0
                place += word
            if is_null:
                continue
            if letter == _P:
                place += 2
                continue
            place = read_wide_text(b, stub, place, end, big, word, found, first)
            if place >= 0 and letter in (_BIG_U, _BIG_S, _BIG_W):
                to = first if letter == _BIG_U else first + A_TEXT
                found[to] = found[first + A_LAST_AT]
                found[to + 1] = found[first + A_LAST_SIZE]
        elif letter == _H:
            place = aligned(stub, place, 4) + HANDLE_SIZE
        else:
            size = 1 if letter == _1 else 2 if letter in (_2, _L) else 4
            place = aligned(stub, place, size) + size
            if place <= end and letter in (_BIG_L, _L):
                found[first + A_LEVEL] = u16(b, place - 2, big) if size == 2 else u32(b, place - 4, big)


@kernel
def aligned(stub: int, place: int, size: int) -> int:
    """The next place that is a multiple of `size` bytes from the beginning of the stub."""
    return stub + (place - stub + size - 1) // size * size


@kernel
def read_wide_text(b: Bytes, stub: int, place: int, end: int, big: int, word: int, found: Ints, first: int) -> int:
    """Read a conformant and varying array of wide characters; returns the place behind it, -1 if it does not fit.

    Its three counts: how many there could be, the first that is there, how many are. [C706 14.3.3.4]
    """
    place = aligned(stub, place, word)
    if place + 3 * word > end:
        return -1
    count = u32(b, place + 2 * word + (word - 4 if big else 0), big)
    place += 3 * word
    size = 2 * count
    if place + size > end:
        return -1
    if count > 0 and u16(b, place + size - 2, big) == 0:
        count -= 1  # the NUL at the end
    found[first + A_LAST_AT] = place
    found[first + A_LAST_SIZE] = min(2 * count, LONGEST_TEXT)
    return place + size
