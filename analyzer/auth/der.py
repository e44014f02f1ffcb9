"""The length-prefixed elements of DER. [X.690 8.1]

Kernels that read one element at a time: its tag, where its value begins and where it ends. An element that claims to go
past the end of what holds it ends there, since captures cut blobs; `der_stated_end` tells what it claims.
"""

from __future__ import annotations

from analyzer.compiled import Bytes, kernel
from analyzer.wire.loads import be32, byte

LONG_FORM = 0x80
MAX_OCTETS = 4
"""Length octets that are believed: no security blob is longer. Indefinite lengths do not occur in DER."""
SEQUENCE = 0x30
OID = 0x06
OCTET_STRING = 0x04
INTEGER = 0x02
GENERAL_STRING = 0x1B
FIELD = 0xA0
"""The tag of the field [0] of a SEQUENCE; the others count up from it."""
MAX_FIELDS = 8


def halves(value: bytes) -> tuple[int, int, int]:
    """A constant of 4 to 11 bytes as `is_constant` takes it: its size, its first bytes, and its last four."""
    return len(value), int.from_bytes(value[:-4], "big"), int.from_bytes(value[-4:], "big")


@kernel
def der_head(b: Bytes, at: int, end: int) -> int:
    """Bytes in front of the value of the element at `at`, 0 if none begins there."""
    if at + 2 > end:
        return 0
    octets = byte(b, at + 1)
    if octets < LONG_FORM:
        return 2
    octets -= LONG_FORM
    if octets == 0 or octets > MAX_OCTETS or at + 2 + octets > end:
        return 0
    return 2 + octets


@kernel
def der_tag(b: Bytes, at: int, end: int) -> int:
    """The tag of the element at `at`, 0 if none begins there."""
    if der_head(b, at, end) == 0:
        return 0
    return byte(b, at)


@kernel
def der_start(b: Bytes, at: int, end: int) -> int:
    """Where the value of the element at `at` begins; `end` if no element does."""
    head = der_head(b, at, end)
    if head == 0:
        return end
    return at + head


@kernel
def der_stated_end(b: Bytes, at: int, end: int) -> int:
    """Where the element at `at` says that it ends, which may lie past `end`; `end` if there is no element."""
    head = der_head(b, at, end)
    if head == 0:
        return end
    size = byte(b, at + 1)
    if head > 2:
        size = 0
        for i in range(at + 2, at + head):
            size = (size << 8) | byte(b, i)
    return at + head + size


@kernel
def der_end(b: Bytes, at: int, end: int) -> int:
    """Where the value of the element at `at` ends and the next element begins: inside of what holds them."""
    return min(der_stated_end(b, at, end), end)


@kernel
def der_is_whole(b: Bytes, at: int, end: int, tag: int) -> int:
    """1 if an element of this tag is at `at`, and all of its value is there."""
    return 1 if der_tag(b, at, end) == tag and der_stated_end(b, at, end) <= end else 0


@kernel
def is_constant(b: Bytes, at: int, end: int, size: int, head: int, tail: int) -> int:
    """1 if `b[at:end]` begins with a constant, given by its `halves`."""
    if at + size > end:
        return 0
    found = 0
    for i in range(size - 4):
        found = (found << 8) | byte(b, at + i)
    return 1 if found == head and be32(b, at + size - 4) == tail else 0


@kernel
def der_is_oid(b: Bytes, at: int, end: int, size: int, head: int, tail: int) -> int:
    """1 if the element at `at` is this object identifier, given by the `halves` of its value."""
    start = der_start(b, at, end)
    if der_tag(b, at, end) != OID or der_end(b, at, end) - start != size:
        return 0
    return is_constant(b, start, end, size, head, tail)


@kernel
def der_field(b: Bytes, at: int, end: int, number: int) -> int:
    """Where the field [number] of the SEQUENCE at `at` begins, -1 if it has none."""
    if der_tag(b, at, end) != SEQUENCE:
        return -1
    stop = der_end(b, at, end)
    at = der_start(b, at, end)
    for _ in range(MAX_FIELDS):
        if der_tag(b, at, stop) == FIELD + number:
            return at
        at = der_end(b, at, stop)
    return -1


@kernel
def der_integer(b: Bytes, at: int, end: int) -> int:
    """An INTEGER of 1 to 4 bytes, signed; 0 if it is none."""
    if at >= end or end - at > 4:
        return 0
    value = byte(b, at)
    if value >= 0x80:
        value -= 0x100
    for i in range(at + 1, end):
        value = value * 256 + byte(b, i)
    return value
