"""The few places of SMB 2/3 messages that the generator reads, changes and writes. Source: [MS-SMB2] 2.2.

Offsets count from the start of the framed message, whose first four bytes are the direct TCP header.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from recorded import CLIENT, Message

NEGOTIATE, SESSION_SETUP, LOGOFF, TREE_CONNECT, TREE_DISCONNECT, CREATE, CLOSE = 0, 1, 2, 3, 4, 5, 6
READ, WRITE = 8, 9
RESPONSE, SIGNED = 0x01, 0x08  # flags of the header
SHARE_TYPE_DISK = 0x01
NO_MESSAGE_ID = 0xFFFFFFFFFFFFFFFF  # of a message that answers no request: an oplock break

HEADER = struct.Struct("<4sHHIHHIIQIIQ16s")  # 2.2.1.2
HEADER_BYTES = 64
AT_MESSAGE_ID, AT_SESSION_ID = 24, 40  # in the header
AT_CLIENT_GUID, AT_SERVER_GUID = 64 + 12, 64 + 8  # in NEGOTIATE request and response
AT_PREVIOUS_SESSION_ID = 64 + 16  # in SESSION_SETUP request
AT_TRANSFORM_SESSION_ID = 44  # 2.2.41


@dataclass(frozen=True, slots=True)
class Header:
    at: int
    """Where it begins in the framed message."""
    charge: int
    status: int
    command: int
    flags: int
    message_id: int
    tree_id: int
    session_id: int

    @property
    def is_response(self) -> bool:
        return bool(self.flags & RESPONSE)


def headers(message: bytes) -> Iterator[Header]:
    """Each plain SMB 2/3 header of a framed message, compounded ones too; none for other messages."""
    at = 4
    while message[at : at + 4] == b"\xfeSMB" and len(message) >= at + HEADER_BYTES:
        fields = HEADER.unpack_from(message, at)
        _, _, charge, status, command, _, flags, following, number, _, tree, session, _ = fields
        yield Header(at, charge, status, command, flags, number, tree, session)
        if not following:
            return
        at += following


def session_id_places(message: bytes) -> list[tuple[int, int]]:
    """(offset, session id) of each place in a message that names a session."""
    if message[4:8] == b"\xfdSMB" and len(message) >= 4 + AT_TRANSFORM_SESSION_ID + 8:
        places = [4 + AT_TRANSFORM_SESSION_ID]
    else:
        places = []
        for header in headers(message):
            places.append(header.at + AT_SESSION_ID)
            if header.command == SESSION_SETUP and not header.is_response:
                places.append(header.at + AT_PREVIOUS_SESSION_ID)
    whole = [place for place in places if place + 8 <= len(message)]
    found = [(place, struct.unpack_from("<Q", message, place)[0]) for place in whole]
    return [(place, number) for place, number in found if number not in (0, 0xFFFFFFFFFFFFFFFF)]


def guid_place(message: bytes) -> tuple[int, bool] | None:
    """(offset of the GUID, whether it is the server's) if the message negotiates and has one."""
    for header in headers(message):
        if header.command == NEGOTIATE:
            place = header.at + (AT_SERVER_GUID if header.is_response else AT_CLIENT_GUID)
            return (place, header.is_response) if any(message[place : place + 16]) else None
    return None


def shift_message_ids(message: Message, by: int) -> Message:
    """The same message after `by` more requests."""
    data = bytearray(message.data)
    for header in headers(message.data):
        if header.message_id != NO_MESSAGE_ID:
            struct.pack_into("<Q", data, header.at + AT_MESSAGE_ID, header.message_id + by)
    return Message(message.sender, bytes(data))


@dataclass
class Dialogue:
    """Writes requests and answers of one session, with running message ids."""

    session_id: int
    signature: bytes
    """16 bytes that stand in for the signature of each message; none is valid. Empty: do not sign."""
    charges: bool
    """Large requests cost several credits, and as many message ids (all dialects after 2.0.2)."""
    next_id: int
    tree_id: int = 0
    file_id: bytes = b""
    answers: list[tuple[int, int]] = field(default_factory=list)
    """(message id, charge) of the requests that have no answer yet."""

    def request(self, command: int, body: bytes, moved: int = 1) -> bytes:
        """moved: bytes that the request or its answer carries, on which its price depends."""
        charge = max(1, -(-moved // 65536)) if self.charges else 0
        number, self.next_id = self.next_id, self.next_id + max(1, charge)
        self.answers.append((number, charge))
        return self._message(command, 0, number, charge, body)

    def answer(self, command: int, body: bytes) -> bytes:
        """The answer to the oldest request that has none."""
        number, charge = self.answers.pop(0)
        return self._message(command, RESPONSE, number, charge, body)

    def _message(self, command: int, flags: int, number: int, charge: int, body: bytes) -> bytes:
        flags |= SIGNED if self.signature else 0
        header = HEADER.pack(
            b"\xfeSMB", HEADER_BYTES, charge, 0, command, 64, flags, 0, number, 0xFEFF, self.tree_id, self.session_id,
            self.signature or bytes(16),
        )  # fmt: skip
        return struct.pack(">I", HEADER_BYTES + len(body)) + header + body

    def tree_connect(self, path: str) -> bytes:
        name = path.encode("utf-16-le")
        return self.request(TREE_CONNECT, struct.pack("<HHHH", 9, 0, 64 + 8, len(name)) + name)

    def tree_connect_answer(self, tree_id: int) -> bytes:
        self.tree_id = tree_id
        return self.answer(TREE_CONNECT, struct.pack("<HBBIII", 16, SHARE_TYPE_DISK, 0, 0, 0, 0x001F01FF))

    def create(self, path: str) -> bytes:
        name = path.encode("utf-16-le")
        fixed = struct.pack("<HBBIQQIIIII", 57, 0, 0, 2, 0, 0, 0x0012019F, 0x80, 3, 3, 0x40)
        return self.request(CREATE, fixed + struct.pack("<HHII", 64 + 56, len(name), 0, 0) + name)

    def create_answer(self, file_id: bytes, size: int) -> bytes:
        self.file_id = file_id
        times = struct.pack("<QQQQ", *[133_800_000_000_000_000] * 4)
        fixed = struct.pack("<HBBI", 89, 0, 0, 1) + times + struct.pack("<QQII", size, size, 0x20, 0)
        return self.answer(CREATE, fixed + file_id + struct.pack("<II", 0, 0))

    def close(self) -> bytes:
        return self.request(CLOSE, struct.pack("<HHI", 24, 0, 0) + self.file_id)

    def close_answer(self) -> bytes:
        return self.answer(CLOSE, struct.pack("<HHIQQQQQQI", 60, 0, 0, 0, 0, 0, 0, 0, 0, 0))

    def read(self, offset: int, length: int) -> bytes:
        fixed = struct.pack("<HBBIQ", 49, 0x50, 0, length, offset) + self.file_id
        return self.request(READ, fixed + struct.pack("<IIIHHB", 1, 0, 0, 0, 0, 0), length)

    def read_answer(self, data: bytes) -> bytes:
        return self.answer(READ, struct.pack("<HBBIII", 17, 0x50, 0, len(data), 0, 0) + data)

    def write(self, offset: int, data: bytes) -> bytes:
        fixed = struct.pack("<HHIQ", 49, 0x70, len(data), offset) + self.file_id
        return self.request(WRITE, fixed + struct.pack("<IIHHI", 0, 0, 0, 0, 0) + data, len(data))

    def write_answer(self, length: int) -> bytes:
        return self.answer(WRITE, struct.pack("<HHIIHH", 17, 0, length, 0, 0, 0))


def used_message_ids(messages: tuple[Message, ...]) -> int:
    """The first message id that no request has used."""
    requests = [header for message in messages if message.sender == CLIENT for header in headers(message.data)]
    return max((header.message_id + max(1, header.charge) for header in requests), default=0)
