"""The protocol records, once, for all engines.

An engine hands on batches. A batch is a table of messages (`MESSAGE`: what every request and answer has) and, for each
kind of message, a table of bodies whose column `row` says to which message each belongs. All are NumPy structured
arrays; texts are codes of the batch's pool (-1: missing, which is not the same as empty). `Batch.payload` gives the
bytes that a body points to.

The kinds are neutral: an open is an open, whether SMB 1 or SMB 2 asked for it and by which of their commands.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt

from analyzer.wire.enums import Code
from analyzer.wire.texts import Texts

Rows = npt.NDArray[Any]


class Protocol(IntEnum):
    """What kind of message it was."""

    SMB1 = 1
    SMB2 = 2


class Kind(IntEnum):
    """What a message is about; each kind has a table of bodies for requests and one for answers (or none)."""

    NEGOTIATE = 1
    SETUP = 2
    LOGOFF = 3
    TREE_CONNECT = 4
    TREE_DISCONNECT = 5
    OPEN = 6
    CLOSE = 7
    DATA = 8  # bytes written to or read from an open
    CALL = 9  # an operation on a tree that needs no open: RAP, DFS, FSCTL
    OTHER = 10
    ENCRYPTED = 11
    COMPRESSED = 12  # its header may be readable, its body is not


class Flag(IntFlag):
    """What the header of a message says besides."""

    SIGNED = 1
    ASYNC = 2
    RELATED = 4  # SMB 2: belongs to the PDU before it in its compound
    CUT = 8  # bytes of it that matter were not captured
    DOS_STATUS = 16  # its status is a DOS error class and code, not an NT status
    CHAINED = 32  # SMB 1: not the first element of its chain


class Form(IntEnum):
    """How a session setup carries its claim."""

    TOKEN = 1  # a security blob: SMB 2, SMB 1 with extended security
    PASSWORDS = 2  # SMB 1: account name, OEM and Unicode password (13 words)
    LANMAN = 3  # SMB 1: account name and one password (10 words)


class Via(IntEnum):
    """How a file or pipe was opened."""

    CREATE = 1
    NT_CREATE_ANDX = 2
    OPEN_ANDX = 3
    OPEN = 4
    NT_TRANSACT_CREATE = 5
    CALL_NMPIPE = 6
    TRANS2_OPEN2 = 7


class Way(IntEnum):
    """How bytes moved."""

    WRITE = 1
    READ = 2
    TRANSACT = 3  # both ways at once: FSCTL_PIPE_TRANSCEIVE, TransactNmPipe


class CallProtocol(IntEnum):
    """What an operation on IPC$ belongs to."""

    RAP = 1
    DFS = 2
    FSCTL = 3
    DCERPC = 4  # through an open pipe; the others need no open


class TreeKind(Code):
    """What is shared. The values of SMB2 ShareType. [MS-SMB2 2.2.10]"""

    UNKNOWN = 0
    DISK = 1
    PIPE = 2
    PRINT = 3


class TokenKind(IntEnum):
    """What the security blob of a session setup holds, unwrapped."""

    NONE = 0
    NTLM_NEGOTIATE = 1
    NTLM_CHALLENGE = 2
    NTLM_AUTHENTICATE = 3
    KERBEROS_REQUEST = 4  # AP-REQ
    KERBEROS_REPLY = 5  # AP-REP, KRB-ERROR, or another of its tokens
    NEGOEX = 6
    OTHER = 7
    WITHOUT_TOKEN = 8  # SPNEGO without a mechanism's token: a list of mechanisms, or a state
    UNREADABLE = 9
    PASSWORDS = 10  # no blob: SMB 1 without extended security


class Mechanism(IntEnum):
    """Who answers for the identity, and in which wrapping. The texts of `sessions.mechanism`."""

    UNKNOWN = 0
    SPNEGO_NTLMSSP = 1
    NTLMSSP = 2
    SPNEGO_KERBEROS = 3
    KERBEROS = 4
    SPNEGO_NEGOEX = 5
    SMB1 = 6  # without extended security
    SHARE_LEVEL = 7
    OTHER = 8


class Layer(IntEnum):
    """Where bytes could not be understood. The texts of `problems.layer`."""

    CAPTURE = 1
    TCP = 2
    NETBIOS = 3
    SMB1 = 4
    SMB2 = 5
    SPNEGO = 6
    NTLMSSP = 7


class OtherWay(IntEnum):
    """Another way to services that are also behind named pipes. The places are those of `tables.OTHER_WAY`, from 1."""

    RPC_MAPPER = 1  # TCP port 135
    RPC_DYNAMIC = 2  # 49152 and above: whatever it is
    LDAP = 3
    LDAPS = 4
    GLOBAL_CATALOG = 5


class DatagramKind(IntEnum):
    """What a datagram that may name a host belongs to."""

    NETBIOS_NAME = 1  # registrations, answers, node status
    NETBIOS_DATAGRAM = 2  # browser announcements
    DHCP = 3
    DNS = 4
    MDNS = 5
    LLMNR = 6
    DNS_PUBLIC = 7  # DNS, without an address of a private network


_ROW: list[Any] = [("row", "i4")]  # index of the message that the body belongs to

MESSAGE = np.dtype(
    [
        ("connection", "i8"),
        ("from_server", "i8"),  # 1, or 0
        ("kind", "i8"),  # Kind
        ("protocol", "i8"),  # Protocol
        ("capture_no", "i8"),  # the packet that completes it ...
        ("frame", "i8"),
        ("time_ns", "i8"),
        ("place", "i8"),  # which PDU of its message, from 0
        ("message", "i8"),  # the same for all PDUs of a message
        ("position", "i8"),  # in the client's stream: its end, or (answers) how far the server had heard; -1 unknown
        ("key", "u8"),  # request and answer have the same one; of encrypted messages: half of the signature
        ("session_id", "u8"),
        ("tree_id", "i8"),
        ("status", "i8"),  # of answers
        ("flags", "i8"),  # Flag
        ("order", "i8"),  # place in the whole run; set by `sessions`
    ]
)
"""All fields have 64 bits: kernels write and read these rows as a table of integers."""

TOKEN = np.dtype(
    [
        ("kind", "u1"),  # TokenKind
        ("mechanism", "u1"),  # Mechanism
        ("user", "i4"),
        ("domain", "i4"),
        ("workstation", "i4"),
        ("lm_size", "i4"),  # bytes of the response (SMB 1: OEM password), -1 if there is no such field
        ("lm_is_zero", "?"),  # it is a single byte 00
        ("nt_size", "i4"),
        ("key_size", "i4"),
        ("flags", "u4"),  # NTLMSSP NegotiateFlags
        ("build", "i4"),  # "10.0.19041" of the VERSION structure
        ("user_is_nul", "?"),  # the name consists of NUL characters: taken for empty
        ("target", "i4"),  # CHALLENGE: TargetName, then AV pairs of TargetInfo
        ("netbios_computer", "i4"),
        ("netbios_domain", "i4"),
        ("dns_computer", "i4"),
        ("dns_domain", "i4"),
        ("realm", "i4"),  # Kerberos AP-REQ: the ticket's realm ...
        ("service", "i4"),  # ... the name that it is for, "cifs/files.example" ...
        ("etype", "i4"),  # ... and how it is encrypted [RFC 3961 8]; 0 (which is reserved): not there
        ("continues", "?"),  # it says that it is longer than its message: the next one brings more of it
    ]
)

GUID = np.dtype([("known", "?"), ("a", "<u8"), ("b", "<u8")])
"""A GUID as its 16 bytes on the wire."""

NEGOTIATE_REQUEST = np.dtype(
    [*_ROW, ("dialects", "i4"), ("client_guid", GUID), ("security_mode", "u2"), ("capabilities", "u4")]
)
NEGOTIATE_ANSWER = np.dtype(
    [
        *_ROW,
        ("dialect", "i4"),  # text; missing where it is an index
        ("dialect_index", "i4"),  # SMB 1: which of the request's dialects, -1: not SMB 1
        ("server_guid", GUID),
        ("security_mode", "u2"),
        ("signing_required", "?"),
        ("share_level", "?"),  # SMB 1: passwords belong to shares
        ("capabilities", "u4"),
        ("domain", "i4"),
    ]
)
SETUP_REQUEST = np.dtype(
    [
        *_ROW,
        ("form", "u1"),  # Form
        ("binding", "?"),
        ("previous_session_id", "u8"),
        ("native_os", "i4"),
        ("native_lanman", "i4"),
        ("token", TOKEN),
    ]
)
SETUP_ANSWER = np.dtype(
    [
        *_ROW,
        ("flags", "u2"),  # SMB 2 SessionFlags; SMB 1 Action
        ("native_os", "i4"),
        ("native_lanman", "i4"),
        ("token", TOKEN),
    ]
)
TREE_REQUEST = np.dtype([*_ROW, ("path", "i4"), ("password_size", "i4")])
TREE_ANSWER = np.dtype([*_ROW, ("kind", "u1")])  # TreeKind
OPEN_REQUEST = np.dtype([*_ROW, ("name", "i4"), ("via", "u1"), ("access_mask", "u4")])
FILE = [("file_hi", "u8"), ("file_lo", "u8")]  # SMB 2 persistent and volatile id; SMB 1: 0 and the FID
OPEN_ANSWER = np.dtype([*_ROW, *FILE, ("is_pipe", "?")])
CLOSE_REQUEST = np.dtype([*_ROW, *FILE])
DATA_REQUEST = np.dtype([*_ROW, *FILE, ("way", "u1"), ("bytes", "i8"), ("payload_at", "i8"), ("payload_size", "i4")])
DATA_ANSWER = np.dtype([*_ROW, ("bytes", "i8"), ("payload_at", "i8"), ("payload_size", "i4")])
CALL_REQUEST = np.dtype([*_ROW, ("protocol", "u1"), ("function", "u4"), ("name", "i4")])
CALL_ANSWER = np.dtype([*_ROW, ("code", "i8"), ("bytes", "i8")])  # RAP: its own Win32 code; -1: none
REFERRAL = np.dtype(
    [
        *_ROW,
        ("payload_at", "i8"),  # a name in the answer to a DFS referral, in UTF-16
        ("payload_size", "i4"),
        ("field", "i4"),  # or, with an empty name, what in it could not be read, -1: nothing ...
        ("offset", "i4"),  # ... where that is, from the referral's first byte ...
        ("code", "i4"),  # ... and why; nothing behind it was read
    ]
)
"""SMB 1 does not say in an answer what it answers: there the request decides whether it is a referral's."""

ANY_FILE = 0xFFFFFFFF_FFFFFFFF
"""A file id of all ones: in a related compound the file that an earlier PDU opened, elsewhere no file."""

NO_KEY = 1 << 62
"""The key of an answer that pairs with nothing: an interim one, or one of several to the same request."""

BODIES: dict[str, np.dtype[np.void]] = {
    "negotiate_requests": NEGOTIATE_REQUEST,
    "negotiate_answers": NEGOTIATE_ANSWER,
    "setup_requests": SETUP_REQUEST,
    "setup_answers": SETUP_ANSWER,
    "tree_requests": TREE_REQUEST,
    "tree_answers": TREE_ANSWER,
    "open_requests": OPEN_REQUEST,
    "open_answers": OPEN_ANSWER,
    "close_requests": CLOSE_REQUEST,
    "data_requests": DATA_REQUEST,
    "data_answers": DATA_ANSWER,
    "call_requests": CALL_REQUEST,
    "call_answers": CALL_ANSWER,
    "referrals": REFERRAL,
}
"""The tables of bodies of a batch: name, record."""
SEVERAL = ("referrals",)
"""Those that may have several rows of a message."""

ENDPOINTS = np.dtype(
    [
        ("connection", "i4"),
        ("client_hi", "i8"),  # addresses as 128-bit numbers in two signed halves, IPv4 as ::ffff:a.b.c.d
        ("client_lo", "i8"),
        ("client_port", "i4"),
        ("server_hi", "i8"),
        ("server_lo", "i8"),
        ("server_port", "i4"),
        ("capture_no", "i4"),  # its first packet
        ("frame", "i8"),
    ]
)
CONNECTION_END = np.dtype(
    [
        *ENDPOINTS.descr,
        ("first_place", "i8"),  # file offset of its first packet's record: where to begin to read it again ...
        ("last_capture_no", "i4"),  # ... and where to end
        ("last_place", "i8"),
        ("first_ns", "i8"),
        ("last_ns", "i8"),
        ("packets", "i8"),
        ("midstream", "?"),
        ("closed_by", "u1"),  # 0: not seen, 1: the client, 2: the server closed it first
        ("established", "?"),  # an answer to its SYN, or payload, was seen
        ("client_bytes", "i8"),
        ("server_bytes", "i8"),
        ("missing_bytes", "i8"),
        ("unparsed_bytes", "i8"),
    ]
)
LOGIN = np.dtype(
    [
        *CONNECTION_END.descr,
        ("session_id", "u8"),
        ("claim_capture_no", "i4"),  # the request with the claim ...
        ("claim_frame", "i8"),
        ("answer_capture_no", "i4"),  # ... and the last answer, -1: not captured
        ("answer_frame", "i8"),
    ]
)
"""A login whose session signs or encrypts, on a connection that is to be read again."""
NAMES = np.dtype([("connection", "i4"), ("calling", "i4"), ("called", "i4")])
DATAGRAM = np.dtype(
    [
        ("kind", "u1"),  # DatagramKind
        ("capture_no", "i4"),  # where it was said first
        ("frame", "i8"),
        ("first_ns", "i8"),  # when it was said first and last: the same again is not kept
        ("last_ns", "i8"),
        ("source_hi", "i8"),
        ("source_lo", "i8"),
        ("mac", "i8"),  # of the sender, -1: not known, or of a router
        ("payload", "O"),  # its bytes
    ]
)
"""A datagram that may name a host."""
HARDWARE = np.dtype([("hi", "i8"), ("lo", "i8"), ("mac", "i8"), ("first_ns", "i8"), ("last_ns", "i8")])
"""A hardware address that an IP address was seen with, on its own network."""
OTHER_WAY = np.dtype(
    [
        ("client_hi", "i8"),
        ("client_lo", "i8"),
        ("server_hi", "i8"),
        ("server_lo", "i8"),
        ("way", "u1"),  # OtherWay
        ("attempts", "i8"),
        ("first_ns", "i8"),
        ("last_ns", "i8"),
    ]
)
"""How often a client opened a connection to another service of a server."""
PROBLEM = np.dtype(
    [
        ("capture_no", "i4"),
        ("frame", "i8"),
        ("connection", "i4"),
        ("layer", "u1"),  # Layer
        ("field", "i4"),
        ("offset", "i8"),
        ("code", "i4"),
        ("detail", "i4"),
    ]
)


def missing_token(count: int) -> Rows:
    """Tokens of which nothing is known."""
    token = np.zeros(1, dtype=TOKEN)
    for name in (*TEXTS_OF_TOKEN, "lm_size", "nt_size", "key_size"):
        token[name] = -1
    return np.repeat(token, count)


TEXTS_OF_TOKEN = (
    "user", "domain", "workstation", "build", "target", "netbios_computer", "netbios_domain", "dns_computer", "dns_domain",
    "realm", "service",
)  # fmt: skip


class Finding(IntFlag):
    """What a second look at a login's session shows. A zero key: one that the login yields without a secret."""

    ZERO_KEY = 1  # a signature is made with one
    OTHER_KEY = 2  # signatures of a side could be checked, and none is made with one
    OPENED = 4  # an encrypted message is
    STAYED_SHUT = 8  # encrypted messages of a side are there, and none is
    UNCHECKED = 16  # what the keys are made of, or all that is protected, is missing
    EMPTY_PASSWORD = 32  # the key is that of a named account with an empty password


@dataclass(slots=True, kw_only=True)
class Batch:
    """What an engine read in one window."""

    texts: Texts
    arena: npt.NDArray[np.uint8]
    messages: Rows
    bodies: dict[str, Rows]
    begun: Rows = field(default_factory=lambda: np.empty(0, dtype=ENDPOINTS))
    ended: Rows = field(default_factory=lambda: np.empty(0, dtype=CONNECTION_END))
    names: Rows = field(default_factory=lambda: np.empty(0, dtype=NAMES))
    problems: Rows = field(default_factory=lambda: np.empty(0, dtype=PROBLEM))
    datagrams: Rows = field(default_factory=lambda: np.empty(0, dtype=DATAGRAM))
    hardware: Rows = field(default_factory=lambda: np.empty(0, dtype=HARDWARE))
    ways: Rows = field(default_factory=lambda: np.empty(0, dtype=OTHER_WAY))

    def only(self, kept: npt.NDArray[np.bool_]) -> Batch:
        """The same without some of the messages."""
        place = np.cumsum(kept) - 1
        bodies = {name: table[kept[table["row"]]] for name, table in self.bodies.items()}
        for table in bodies.values():
            table["row"] = place[table["row"]]
        return replace(self, messages=self.messages[kept], bodies=bodies)

    def payload(self, at: int, size: int) -> bytes:
        """The bytes that a body points to. Valid until the engine is asked for the next batch."""
        return self.arena[at : at + size].tobytes()


@dataclass(slots=True, kw_only=True)
class Reread:
    """What was learned of connections that were read again."""

    logins: npt.NDArray[np.int64]
    """Rows of the logins that were asked for ..."""
    findings: npt.NDArray[np.int64]
    """... and the `Finding`s of each."""
    batch: Batch
    """The PDUs that encrypted messages hold, as if they had been sent in clear."""
    sealed: npt.NDArray[np.int64]
    """For each message of the batch the `key` of the encrypted message that it was in."""
    opened: npt.NDArray[np.int64]
    """The encrypted messages that were opened, in two rows: their connections, and their keys."""


def empty_batch(texts: Texts) -> Batch:
    """A batch in which nothing was read."""
    return Batch(
        texts=texts,
        arena=np.empty(0, dtype=np.uint8),
        messages=np.empty(0, dtype=MESSAGE),
        bodies=empty_bodies(),
    )


def empty_bodies() -> dict[str, Rows]:
    """A table without rows for each kind of body."""
    return {name: np.empty(0, dtype=record) for name, record in BODIES.items()}
