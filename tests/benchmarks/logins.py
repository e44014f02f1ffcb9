"""How many sessions a conversation shows: what a reader of the capture must find. Source: [MS-SMB2] 3.3.5.5, [MS-CIFS].

Nothing of the analyzer is used, so that its numbers can be compared with these.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import smb2
from recorded import CLIENT, Message

SETUP_ANDX = 0x73
SMB1_HEADER = 32
MORE_PROCESSING_REQUIRED = 0xC0000016
BINDING = 0x01  # flag of the SMB 2 request: a further connection of a session
AT_FLAGS = 64 + 2


def count_sessions(messages: Iterable[Message]) -> int:
    """Session setups that were begun, whether they were ended or not; those that go on with one do not count.

    A session that was bound to the connection began on another one, which is replayed under another id or not at all: it
    is one that is in use without a login.
    """
    begun = 0
    under_way: set[tuple[str, int]] = set()
    binding: set[int] = set()
    bound: set[int] = set()
    for message in messages:
        for protocol, session, status, binds in _setups(message.data):
            if message.sender == CLIENT:
                begun += not binds and (protocol, session) not in under_way
                under_way.discard((protocol, session))
                if binds:
                    binding.add(session)
            elif status == MORE_PROCESSING_REQUIRED:
                under_way.add((protocol, session))
            elif status == 0 and session in binding:
                bound.add(session)
    return begun + len(bound)


def _setups(data: bytes) -> Iterable[tuple[str, int, int, bool]]:
    """Protocol, id, status and whether it binds of each session setup in a framed message."""
    for header in smb2.headers(data):
        if header.command == smb2.SESSION_SETUP:
            binds = not header.is_response and bool(data[header.at + AT_FLAGS] & BINDING)
            yield "2", header.session_id, header.status, binds
    if data[4:9] == b"\xffSMB" + bytes([SETUP_ANDX]) and len(data) >= 4 + SMB1_HEADER:
        (status,) = struct.unpack_from("<I", data, 4 + 5)
        (user,) = struct.unpack_from("<H", data, 4 + 28)
        yield "1", user, status, False
