"""What is said on a connection: recorded sessions cut short or with files moved in them, and traffic that is not SMB.

What comes in: templates and a random generator. What goes out: `Conversation`s, whole messages in order, and the places
in them that differ from connection to connection. Nothing here knows about packets.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import smb2
from recorded import CLIENT, SERVER, Message, Template

TCP, UDP = 6, 17
OF_SESSION, OF_CLIENT, OF_SERVER = 0, 1, 2  # what a `Mark` is changed by
SESSIONS_PER_CONNECTION = 16

LARGEST_CONTROL_MESSAGE = 8_192
LONGEST_CONTROL_BYTES = 60_000
BODY_BYTES = 4_000_000
MESSAGE_SIZES = (65_536, 65_536, 131_072, 262_144, 524_288, 1_048_576)
OLDEST_DIALECT = 0x0202  # no message above 64 KB; nor on port 139, whose frames have 17 bits for the length

WEB_PORTS = (80, 8080, 3128, 8000, 5985)
TLS_PORTS = (443, 443, 8443, 993, 636, 5986, 9443)
OTHER_PORTS = (22, 25, 88, 135, 389, 1433, 1521, 3268, 3306, 3389, 5432, 5900, 6379, 9100, 11211, 27017)
DATAGRAM_PORTS = (123, 161, 443, 514, 1812, 3478, 27015, 51820)


@dataclass(frozen=True, slots=True)
class Mark:
    """Four bytes of a message, little-endian, that become `index` plus a number of the session, client or server."""

    message: int
    offset: int
    of: int
    index: int


@dataclass(frozen=True, slots=True)
class Conversation:
    port: int
    messages: tuple[Message, ...]
    marks: tuple[Mark, ...] = ()
    protocol: int = TCP

    @property
    def size(self) -> int:
        return sum(len(message.data) for message in self.messages)


def of_session(port: int, messages: tuple[Message, ...]) -> Conversation:
    """An SMB conversation whose SMB 2/3 session ids and GUIDs are to differ. SMB 1 user ids stay as they are."""
    marks: list[Mark] = []
    known: dict[int, int] = {}
    for number, message in enumerate(messages):
        for place, session in smb2.session_id_places(message.data):
            index = known.setdefault(session, len(known)) % SESSIONS_PER_CONNECTION
            marks.append(Mark(number, place + 4, OF_SESSION, index))
        if guid := smb2.guid_place(message.data):
            place, is_server = guid
            marks.append(Mark(number, place + 12, OF_SERVER if is_server else OF_CLIENT, 0))
    return Conversation(port, messages, tuple(marks))


# --- control traffic -----------------------------------------------------------------------------------------------


def control(template: Template) -> Conversation:
    """The recorded session up to where it moves file data or grows long."""
    kept, total = 0, 0
    for message in template.messages:
        total += len(message.data)
        if kept > 1 and (len(message.data) > LARGEST_CONTROL_MESSAGE or total > LONGEST_CONTROL_BYTES):
            break
        kept += 1
    return of_session(template.port, template.messages[:kept])


def broken_off(whole: Conversation, rng: np.random.Generator) -> Conversation:
    """The same session of a client that goes away after some answer."""
    answered = [number for number, message in enumerate(whole.messages, 1) if message.sender == SERVER]
    return of_session(whole.port, whole.messages[: rng.choice(answered)])


# --- file transfer -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a template files can be moved, and under which ids."""

    template: Template
    after: int
    """This many messages come before."""
    session_id: int
    tree_id: int
    file_id: bytes
    """Of a file that is open here; empty if a share has to be connected first."""
    is_signed: bool
    dialect: int


def transfer_places(templates: list[Template]) -> list[Place]:
    """One place in each template that has any: at an open file on a disk share, else before the session is ended.

    Raises ValueError if there is none: no SMB 2/3 session that succeeds and stays unencrypted.
    """
    places = [place for template in templates if (place := _open_file(template) or _established(template))]
    if not places:
        raise ValueError("no recorded session is an established, unencrypted SMB 2 or SMB 3 session")
    return places


def _dialect(template: Template) -> int:
    """The last dialect revision that the server chose; 0 for SMB 1."""
    chosen = [
        struct.unpack_from("<H", message.data, header.at + 68)[0]
        for message in template.messages if message.sender == SERVER
        for header in smb2.headers(message.data)
        if header.command == smb2.NEGOTIATE and header.status == 0
    ]  # fmt: skip
    return chosen[-1] if chosen else 0


def _is_plain(template: Template) -> bool:
    return all(message.data[4:8] != b"\xfdSMB" for message in template.messages)


def _open_file(template: Template) -> Place | None:
    """The first moment at which a file on a disk share is open and no request waits."""
    if not _is_plain(template):
        return None
    disks: set[tuple[int, int]] = set()
    messages = template.messages
    for number, message in enumerate(messages):
        parts = list(smb2.headers(message.data))
        if message.sender == CLIENT or len(parts) != 1 or parts[0].status:
            continue
        header = parts[0]
        tree = (header.session_id, header.tree_id)
        body = message.data[header.at + 64 :]
        if header.command == smb2.TREE_CONNECT and body[2] == smb2.SHARE_TYPE_DISK:
            disks.add(tree)
        is_last = number + 1 == len(messages) or messages[number + 1].sender == CLIENT
        if header.command == smb2.CREATE and tree in disks and is_last and not _is_directory(body):
            signed = bool(header.flags & smb2.SIGNED)
            return Place(template, number + 1, *tree, body[64:80], signed, _dialect(template))
    return None


def _is_directory(create_answer: bytes) -> bool:
    return bool(struct.unpack_from("<I", create_answer, 56)[0] & 0x10)


def _established(template: Template) -> Place | None:
    """The end of the last session that was set up, before it is torn down."""
    found = None
    if not _is_plain(template):
        return None
    for number, message in enumerate(template.messages):
        header = next(smb2.headers(message.data), None)
        if header is None:
            continue
        if header.command == smb2.SESSION_SETUP and header.is_response and header.status == 0:
            found = header
        ends = header.command in (smb2.TREE_DISCONNECT, smb2.LOGOFF) and not header.is_response
        if ends and found:
            return Place(template, number, found.session_id, 0, b"", _signs(template), _dialect(template))
    if found is None or template.messages[-1].sender == CLIENT:
        return None
    return Place(template, len(template.messages), found.session_id, 0, b"", _signs(template), _dialect(template))


def _signs(template: Template) -> bool:
    """Whether the requests after the setup are signed."""
    every = (header for message in template.messages for header in smb2.headers(message.data))
    return any(h.flags & smb2.SIGNED for h in every if h.command == smb2.TREE_CONNECT and not h.is_response)


def transfer(place: Place, size: int, bodies: bytes, rng: np.random.Generator) -> Conversation:
    """A session that moves about `size` bytes of files. bodies: what files are made of, BODY_BYTES long."""
    before, rest = place.template.messages[: place.after], place.template.messages[place.after :]
    signature = rng.bytes(16) if place.is_signed else b""
    first = smb2.used_message_ids(before)
    is_oldest = place.dialect == OLDEST_DIALECT
    talk = smb2.Dialogue(place.session_id, signature, not is_oldest, first, place.tree_id, place.file_id)
    is_small = is_oldest or place.template.port != 445
    largest = min(MESSAGE_SIZES) if is_small else max(MESSAGE_SIZES)
    opening = [] if place.file_id else _open_on_disk(talk, size, rng)
    moved = _moved(talk, size, min(int(rng.choice(MESSAGE_SIZES)), largest), bodies, rng)
    closing = [] if place.file_id else [Message(CLIENT, talk.close()), Message(SERVER, talk.close_answer())]
    later = [smb2.shift_message_ids(message, talk.next_id - first) for message in rest]
    return of_session(place.template.port, (*before, *opening, *moved, *closing, *later))


def _open_on_disk(talk: smb2.Dialogue, size: int, rng: np.random.Generator) -> list[Message]:
    """Connect a disk share and open a file on it."""
    return [
        Message(CLIENT, talk.tree_connect(r"\\fileserver\data")),
        Message(SERVER, talk.tree_connect_answer(int(rng.integers(0x1000, 0x7FFFFFFF)))),
        Message(CLIENT, talk.create(rf"archive\volume-{rng.integers(10_000):04}.bin")),
        Message(SERVER, talk.create_answer(rng.bytes(16), size)),
    ]


def _moved(talk: smb2.Dialogue, size: int, usual: int, bodies: bytes, rng: np.random.Generator) -> list[Message]:
    """Reads and writes of `usual` bytes, from one to four under way at a time, until `size` bytes have moved."""
    messages: list[Message] = []
    offset = 0
    while offset < size:
        room = size - offset
        lengths = [min(usual, room - usual * number) for number in range(rng.integers(1, 5)) if usual * number < room]
        starts = rng.integers(0, BODY_BYTES - usual, len(lengths))
        parts = [bodies[start : start + length] for start, length in zip(starts, lengths, strict=True)]
        messages += _flight(talk, offset, parts, is_write=rng.random() < 0.4)
        offset += sum(lengths)
    return messages


def _flight(talk: smb2.Dialogue, offset: int, parts: list[bytes], *, is_write: bool) -> list[Message]:
    """The requests for consecutive `parts` of the file, then the answers."""
    asked, answered = [], []
    for part in parts:
        asked.append(Message(CLIENT, talk.write(offset, part) if is_write else talk.read(offset, len(part))))
        offset += len(part)
    for part in parts:
        answered.append(Message(SERVER, talk.write_answer(len(part)) if is_write else talk.read_answer(part)))
    return asked + answered


# --- other traffic -------------------------------------------------------------------------------------------------


def other_traffic(rng: np.random.Generator, bodies: bytes) -> list[Conversation]:
    """One conversation of each kind that is not SMB, on its usual port and on a few unusual ones."""

    def body(largest: int) -> bytes:
        length = int(np.exp(rng.uniform(np.log(60), np.log(largest))))
        start = int(rng.integers(0, BODY_BYTES - length))
        return bodies[start : start + length]

    unusual = [int(port) for port in rng.integers(1024, 65536, 30)]
    kinds = [Conversation(port, _web(body, rng)) for port in (*WEB_PORTS, *WEB_PORTS, *unusual[:6])]
    kinds += [Conversation(port, _tls(body, rng)) for port in (*TLS_PORTS, *TLS_PORTS, *unusual[6:14])]
    kinds += [Conversation(port, _opaque(body, rng, 3_000)) for port in (*OTHER_PORTS, *unusual[14:26])]
    kinds += [Conversation(53, _name_query(rng), protocol=UDP) for _ in range(12)]
    kinds += [Conversation(port, _opaque(body, rng, 1_300), protocol=UDP) for port in (*DATAGRAM_PORTS, *unusual[26:])]
    return kinds


def _web(body, rng: np.random.Generator) -> tuple[Message, ...]:
    messages = []
    for number in range(rng.integers(1, 6)):
        content = body(200_000)
        asked = f"GET /page/{number} HTTP/1.1\r\nHost: www.corp.example\r\nUser-Agent: benchmark\r\nAccept: */*\r\n\r\n"
        answer = f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {len(content)}\r\n\r\n"
        messages += [Message(CLIENT, asked.encode()), Message(SERVER, answer.encode() + content)]
    return tuple(messages)


def _tls(body, rng: np.random.Generator) -> tuple[Message, ...]:
    """Records of random bytes under plausible record headers."""

    def records(kind: int, content: bytes) -> bytes:
        pieces = [content[at : at + 16_384] for at in range(0, len(content), 16_384)]
        return b"".join(struct.pack(">BHH", kind, 0x0303, len(piece)) + piece for piece in pieces)

    messages = [
        Message(CLIENT, records(22, b"\x01" + rng.bytes(516))),
        Message(SERVER, records(22, b"\x02" + rng.bytes(3_100))),
        Message(CLIENT, records(20, b"\x01") + records(23, rng.bytes(53))),
    ]
    for _ in range(rng.integers(1, 8)):
        messages += [Message(CLIENT, records(23, body(2_000))), Message(SERVER, records(23, body(150_000)))]
    return tuple(messages)


def _opaque(body, rng: np.random.Generator, largest: int) -> tuple[Message, ...]:
    return tuple(Message(side, body(largest)) for _ in range(rng.integers(1, 16)) for side in (CLIENT, SERVER))


def _name_query(rng: np.random.Generator) -> tuple[Message, ...]:
    """A DNS question for an address, and the answer."""
    number = int(rng.integers(0, 65536))
    label = f"host{rng.integers(1000):03}".encode()
    question = bytes([len(label)]) + label + b"\x04corp\x07example\0" + struct.pack(">HH", 1, 1)
    answer = struct.pack(">HHHIH", 0xC00C, 1, 1, 3600, 4) + bytes([10, 1, 0, int(rng.integers(1, 255))])
    asked = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + question
    answered = struct.pack(">HHHHHH", number, 0x8180, 1, 1, 0, 0) + question + answer
    return Message(CLIENT, asked), Message(SERVER, answered)
