"""Multi-byte reads of the kernels: the only place where bytes become numbers there.

`b[i]` of a `uint8` array is a machine byte in one form of a kernel and a Python integer in the other; shifting it is
right in both only because the plain form reads a `memoryview`. No bounds are checked here: callers know what is there.
"""

from __future__ import annotations

from analyzer.compiled import Bytes, kernel


@kernel
def byte(b: Bytes, i: int) -> int:
    """One byte. Adding 0 makes it a signed 64-bit number when compiled, where `uint8` would spread as unsigned."""
    return int(b[i] + 0)


@kernel
def be16(b: Bytes, i: int) -> int:
    """Two bytes, most significant first."""
    return (byte(b, i) << 8) | byte(b, i + 1)


@kernel
def be24(b: Bytes, i: int) -> int:
    """Three bytes, most significant first."""
    return (byte(b, i) << 16) | (byte(b, i + 1) << 8) | byte(b, i + 2)


@kernel
def be32(b: Bytes, i: int) -> int:
    """Four bytes, most significant first, 0 to 2^32 - 1."""
    return (byte(b, i) << 24) | (byte(b, i + 1) << 16) | (byte(b, i + 2) << 8) | byte(b, i + 3)


@kernel
def be64(b: Bytes, i: int) -> int:
    """Eight bytes, most significant first, as a signed 64-bit number."""
    return signed32(be32(b, i)) * 4294967296 + be32(b, i + 4)


@kernel
def le16(b: Bytes, i: int) -> int:
    """Two bytes, least significant first."""
    return byte(b, i) | (byte(b, i + 1) << 8)


@kernel
def le32(b: Bytes, i: int) -> int:
    """Four bytes, least significant first, 0 to 2^32 - 1."""
    return byte(b, i) | (byte(b, i + 1) << 8) | (byte(b, i + 2) << 16) | (byte(b, i + 3) << 24)


@kernel
def le64(b: Bytes, i: int) -> int:
    """Eight bytes, least significant first, as a signed 64-bit number."""
    return signed32(le32(b, i + 4)) * 4294967296 + le32(b, i)


@kernel
def u16(b: Bytes, i: int, big: int) -> int:
    """Two bytes in the byte order that `big` says."""
    if big:
        return be16(b, i)
    return le16(b, i)


@kernel
def u32(b: Bytes, i: int, big: int) -> int:
    """Four bytes in the byte order that `big` says."""
    if big:
        return be32(b, i)
    return le32(b, i)


@kernel
def signed32(value: int) -> int:
    """The distance, -2^31 to 2^31 - 1, that a difference of two 32-bit sequence numbers means."""
    value &= 0xFFFFFFFF
    if value >= 0x80000000:
        return value - 0x100000000
    return value


@kernel
def mix(a: int, b: int) -> int:
    """A 32-bit hash of a 32-bit hash and any number."""
    b = (b ^ (b >> 32)) & 0xFFFFFFFF
    h = (a ^ b) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    h = ((h ^ (h >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return h ^ (h >> 16)


@kernel
def copy_bytes(target: Bytes, to: int, source: Bytes, at: int, size: int) -> None:
    """Copy `size` bytes. A loop, since a slice would need Numba's reference counting, which all kernels do without."""
    for i in range(size):
        target[to + i] = source[at + i]
