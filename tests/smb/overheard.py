"""SMB messages of recorded captures, connection by connection. Shares no code with what it is for."""

from __future__ import annotations

import struct
from pathlib import Path

from streams import read_segments

Message = tuple[bool, bytes]
"""(is it the server's, message from its first header on)"""


def conversations(path: Path, port: int = 445) -> list[list[Message]]:
    """The messages of each connection in the order in which they were whole.

    For captures without loss or reordering, and packets that lie whole in the file.
    """
    buffers: dict[tuple[object, object], bytearray] = {}
    found: dict[frozenset[object], list[Message]] = {}
    for segment in read_segments(path):
        if port not in (segment.source[1], segment.target[1]) or not segment.payload:
            continue
        buffer = buffers.setdefault((segment.source, segment.target), bytearray())
        buffer += segment.payload
        said = found.setdefault(frozenset((segment.source, segment.target)), [])
        while len(buffer) >= 4 and len(buffer) >= 4 + (size := struct.unpack(">I", buffer[:4])[0]):
            said.append((segment.source[1] == port, bytes(buffer[4 : 4 + size])))
            del buffer[: 4 + size]
    return list(found.values())


def session_ids(said: list[Message]) -> list[int]:
    """The ids of the sessions that a connection set up, in their order."""
    return [
        struct.unpack_from("<Q", message, 40)[0]
        for from_server, message in said
        if from_server and message[:4] == b"\xfeSMB" and message[12:14] == b"\x01\0" and message[8:12] == bytes(4)
    ]


def session_of(message: bytes) -> int:
    """SessionId of a message, encrypted or not."""
    return struct.unpack_from("<Q", message, 44 if message[:4] == b"\xfdSMB" else 40)[0]


def authenticate_of(said: list[Message], session_id: int) -> bytes:
    """The last security blob that the client sent for a session."""
    return next(
        message
        for from_server, message in reversed(said)
        if not from_server
        and message[12:14] == b"\x01\0"
        and message[:4] == b"\xfeSMB"
        and session_of(message) == session_id
    )
