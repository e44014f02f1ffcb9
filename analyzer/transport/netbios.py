"""What stands in front of each message: NetBIOS session service and direct TCP. [RFC 1002 4.3; MS-SMB2 2.1]

On port 445 the four bytes are a zero and a 24-bit length; on port 139 a packet type, flags and a 17-bit length. The
flag bits are zero but for the length's seventeenth, so one reader serves both.
"""

from __future__ import annotations

from functools import lru_cache

from analyzer.compiled import Bytes, kernel
from analyzer.errors import DecodeError
from analyzer.transport.pick import smb_follows
from analyzer.wire.enums import Code
from analyzer.wire.loads import be16, be24, byte, le16, le32


class PacketType(Code):
    """The first byte. [RFC 1002 4.3.1]"""

    SESSION_MESSAGE = 0x00
    SESSION_REQUEST = 0x81
    POSITIVE_RESPONSE = 0x82
    NEGATIVE_RESPONSE = 0x83
    RETARGET_RESPONSE = 0x84
    KEEP_ALIVE = 0x85


HEADER_SIZE = 4
ENCODED_NAME_SIZE = 34
MAX_SERVICE_PACKET = 1024
"""Packets of the service itself are small (two names at most); a longer one is taken for something else."""


def parse_names(packet: bytes) -> tuple[str, str]:
    """Called and calling name of a SESSION REQUEST, without padding and suffix byte. [RFC 1002 4.3.2]

    packet: from its type byte on. A name that is not in the half-ASCII form raises DecodeError.
    """
    called, offset = _first_level_name(packet, HEADER_SIZE)
    calling, _ = _first_level_name(packet, offset)
    return called, calling


def _first_level_name(packet: bytes, offset: int) -> tuple[str, int]:
    letters = packet[offset + 1 : offset + 33]
    name = _half_ascii(letters) if len(letters) == 32 and packet[offset] == 32 else None
    if name is None:
        raise DecodeError("netbios", "name", offset, "not 32 letters A to P")
    offset += 33
    while offset < len(packet) and packet[offset]:  # the scope's labels
        offset += packet[offset] + 1
    return name, offset + 1


@lru_cache(maxsize=1024)
def _half_ascii(letters: bytes) -> str | None:
    """A name from its 32 letters, None if one of them is none. Servers are called by the same name again and again."""
    if not all(0x41 <= letter <= 0x50 for letter in letters):
        return None
    decoded = bytes(((a - 0x41) << 4) | (b - 0x41) for a, b in zip(letters[::2], letters[1::2], strict=True))
    return decoded[:15].decode("cp437").rstrip(" \0")


@kernel
def packet_size(b: Bytes, at: int) -> int:
    """Bytes in the packet that begins at `at`, its 4-byte header included; -1 if none can begin so."""
    kind = byte(b, at)
    if kind == 0:
        return 4 + be24(b, at + 1)
    if 0x81 <= kind <= 0x85 and byte(b, at + 1) <= 1:
        size = 4 + (byte(b, at + 1) << 16) + be16(b, at + 2)
        if size <= MAX_SERVICE_PACKET:
            return size
    return -1


@kernel
def seek_message(b: Bytes, at: int, end: int, from_server: int) -> int:
    """Where the next believable message begins, -1 if none does before `end`."""
    while at + 8 <= end:
        if smb_follows(b, at + 5) and byte(b, at) == 0 and is_believable(b, at, end, from_server):
            return at
        at += 1
    return -1


@kernel
def is_believable(b: Bytes, at: int, end: int, from_server: int) -> int:
    """1 if what begins at `at` is a message by more than the letters SMB: those may stand in a file's data."""
    kind = byte(b, at + 4)
    size = be24(b, at + 1)
    if kind == 0xFE:
        if size < 64:
            return 0
        if at + 4 + 24 > end:
            return 1
        same_way = (le32(b, at + 4 + 16) & 1) == from_server
        return 1 if same_way and le16(b, at + 4 + 4) == 64 and le16(b, at + 4 + 12) <= 0x13 else 0
    if kind == 0xFF:
        return 1 if size >= 35 else 0
    return 1 if kind >= 0xFC and size >= 16 else 0
