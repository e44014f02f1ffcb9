"""DCE/RPC for tests, packed by hand from [C706 12.6] and [MS-RPCE 2.2.2], a field a line. Nothing of the analyzer is used."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from tests.build import packed

REQUEST, RESPONSE, FAULT, BIND, BIND_ACK, BIND_NAK = 0, 2, 3, 11, 12, 13
ALTER, ALTER_ANSWER, AUTH3, SHUTDOWN, CANCEL, ORPHANED = 14, 15, 16, 17, 18, 19
FIRST, LAST, OBJECT = 1, 2, 0x80
WHOLE = FIRST | LAST
CONNECT, INTEGRITY, PRIVACY = 2, 5, 6
NTLM, NETLOGON = 10, 68

SRVSVC = ("4b324fc8-1670-01d3-1278-5a47bf6ee188", 3)
WKSSVC = ("6bffd098-a112-3610-9833-46c3f87e345a", 1)
SAMR = ("12345778-1234-abcd-ef00-0123456789ac", 1)
LSARPC = ("12345778-1234-abcd-ef00-0123456789ab", 0)
NETLOGON_INTERFACE = ("12345678-1234-abcd-ef00-01234567cffb", 1)
NDR = ("8a885d04-1ceb-11c9-9fe8-08002b104860", 2)
NDR64 = ("71710533-beba-4937-8319-b5dbef9ccc36", 1)
FEATURES = ("6cb71c2c-9812-4540-0300-000000000000", 1)
NO_SYNTAX = ("00000000-0000-0000-0000-000000000000", 0)
Syntax = tuple[str, int]
Auth = tuple[int, int, int]
"""Authentication type, level, and bytes of padding before the trailer."""


def order_of(big: bool) -> str:
    """For `struct`."""
    return ">" if big else "<"


def pdu(
    kind: int,
    body: bytes,
    *,
    call: int = 1,
    flags: int = WHOLE,
    big: bool = False,
    auth: Auth | None = None,
    token: bytes = bytes(range(16)),
    minor: int = 0,
) -> bytes:
    """A PDU: header, body, security trailer. [C706 12.6.3.1, 13.2.6.1]"""
    trailer = b""
    if auth is not None:
        kind_, level, pad = auth
        trailer = bytes([0xEE]) * pad + packed(
            ("auth_type", "B", kind_),
            ("auth_level", "B", level),
            ("auth_pad_length", "B", pad),
            ("auth_reserved", "B", 0),
            ("auth_context_id", "I", 79231),
            order=order_of(big),
        )
        trailer += token
    return (
        packed(
            ("rpc_vers", "B", 5),
            ("rpc_vers_minor", "B", minor),
            ("PTYPE", "B", kind),
            ("pfc_flags", "B", flags),
            ("packed_drep", "4s", b"\0\0\0\0" if big else b"\x10\0\0\0"),
            ("frag_length", "H", 16 + len(body) + len(trailer)),
            ("auth_length", "H", 0 if auth is None else len(token)),
            ("call_id", "I", call),
            order=order_of(big),
        )
        + body
        + trailer
    )


def syntax(what: Syntax, big: bool) -> bytes:
    """p_syntax_id_t: a UUID, in the sender's byte order, and its version. [C706 12.6.3.1, A]"""
    uuid, version = UUID(what[0]), what[1]
    return (uuid.bytes if big else uuid.bytes_le) + packed(("if_version", "I", version), order=order_of(big))


Context = tuple[int, Syntax, Sequence[Syntax]]
"""Its number, its interface, the transfer syntaxes that are offered."""


def bind(
    *contexts: Context | Syntax,
    kind: int = BIND,
    call: int = 1,
    big: bool = False,
    auth: Auth | None = None,
    token: bytes = bytes(16),
) -> bytes:
    """bind or alter_context; an interface alone stands for context 0 with NDR. [C706 12.6.4.3]"""
    order = order_of(big)
    body = packed(
        ("max_xmit_frag", "H", 4280),
        ("max_recv_frag", "H", 4280),
        ("assoc_group_id", "I", 0),
        ("n_context_elem", "B", len(contexts)),
        ("reserved", "B", 0),
        ("reserved2", "H", 0),
        order=order,
    )
    for context in contexts:
        number, interface, offered = context if len(context) == 3 else (0, context, [NDR])
        body += packed(
            ("p_cont_id", "H", number),
            ("n_transfer_syn", "B", len(offered)),
            ("reserved", "B", 0),
            order=order,
        )
        body += syntax(interface, big) + b"".join(syntax(one, big) for one in offered)
    return pdu(kind, body, call=call, big=big, auth=auth, token=token)


Result = tuple[int, int, Syntax]
"""Of a context: result, reason, transfer syntax."""
ACCEPTED: Result = (0, 0, NDR)
ABSTRACT_SYNTAX_NOT_SUPPORTED: Result = (2, 1, NO_SYNTAX)
NEGOTIATED: Result = (3, 3, NO_SYNTAX)


def bind_ack(
    *results: Result,
    kind: int = BIND_ACK,
    call: int = 1,
    address: bytes = b"\\PIPE\\srvsvc\0",
    big: bool = False,
    auth: Auth | None = None,
) -> bytes:
    """Their answers. [C706 12.6.4.4]"""
    order = order_of(big)
    body = packed(
        ("max_xmit_frag", "H", 4280),
        ("max_recv_frag", "H", 4280),
        ("assoc_group_id", "I", 0x53F0),
        ("sec_addr length", "H", len(address)),
        ("sec_addr", f"{len(address)}s", address),
        order=order,
    )
    body += bytes(-(16 + len(body)) % 4)
    body += packed(("n_results", "B", len(results)), ("reserved", "B", 0), ("reserved2", "H", 0), order=order)
    for result, reason, transfer in results:
        body += packed(("result", "H", result), ("reason", "H", reason), order=order) + syntax(transfer, big)
    return pdu(kind, body, call=call, big=big, auth=auth)


def bind_nak(reason: int = 4, *, call: int = 1, big: bool = False) -> bytes:
    """[C706 12.6.4.5]"""
    body = packed(
        ("provider_reject_reason", "H", reason),
        ("n_protocols", "B", 1),
        ("major", "B", 5),
        ("minor", "B", 0),
        order=order_of(big),
    )
    return pdu(BIND_NAK, body, call=call, big=big)


def request(
    opnum: int,
    stub: bytes = b"",
    *,
    call: int = 2,
    context: int = 0,
    flags: int = WHOLE,
    of: str | None = None,
    big: bool = False,
    auth: Auth | None = None,
) -> bytes:
    """of: the object's UUID. [C706 12.6.4.9]"""
    body = packed(
        ("alloc_hint", "I", len(stub)),
        ("p_cont_id", "H", context),
        ("opnum", "H", opnum),
        order=order_of(big),
    )
    if of is not None:
        body += UUID(of).bytes if big else UUID(of).bytes_le
        flags |= OBJECT
    return pdu(REQUEST, body + stub, call=call, flags=flags, big=big, auth=auth)


def response(
    stub: bytes,
    *,
    call: int = 2,
    context: int = 0,
    flags: int = WHOLE,
    big: bool = False,
    auth: Auth | None = None,
) -> bytes:
    """[C706 12.6.4.10]"""
    body = packed(
        ("alloc_hint", "I", len(stub)),
        ("p_cont_id", "H", context),
        ("cancel_count", "B", 0),
        ("reserved", "B", 0),
        order=order_of(big),
    )
    return pdu(RESPONSE, body + stub, call=call, flags=flags, big=big, auth=auth)


def answered(status: int, *, call: int = 2, before: bytes = b"", big: bool = False, auth: Auth | None = None) -> bytes:
    """A response whose operation returned `status`."""
    return response(before + packed(("status", "I", status), order=order_of(big)), call=call, big=big, auth=auth)


def fault(status: int, *, call: int = 2, context: int = 0, big: bool = False) -> bytes:
    """[C706 12.6.4.7]"""
    body = packed(
        ("alloc_hint", "I", 0),
        ("p_cont_id", "H", context),
        ("cancel_count", "B", 0),
        ("reserved", "B", 0),
        ("status", "I", status),
        ("reserved2", "I", 0),
        order=order_of(big),
    )
    return pdu(FAULT, body, call=call, big=big)


# Stubs. #


def aligned(data: bytes, step: int) -> bytes:
    """Filled up to a multiple of `step`."""
    return data + bytes(-len(data) % step)


def wide(text: str, *, big: bool = False, word: str = "I", end: str = "\0") -> bytes:
    """A conformant and varying string of wide characters: three counts, then the characters. [C706 14.3.3.4]"""
    letters = (text + end).encode("utf-16-be" if big else "utf-16-le")
    count = len(letters) // 2
    return (
        packed(("max_count", word, count), ("offset", word, 0), ("actual_count", word, count), order=order_of(big))
        + letters
    )


def pointed(text: str | None, *, big: bool = False, word: str = "I") -> bytes:
    """A unique pointer to it, and what it points to. [C706 14.3.10]"""
    pointer = packed(("referent", word, 0 if text is None else 0x00020000), order=order_of(big))
    return pointer if text is None else pointer + wide(text, big=big, word=word)


def unicode_string(text: str, *, word: str = "I") -> bytes:
    """RPC_UNICODE_STRING: two lengths, a pointer, and what it points to. [MS-DTYP 2.3.10]"""
    letters = text.encode("utf-16-le")
    head = packed(("Length", "H", len(letters)), ("MaximumLength", "H", len(letters)))
    return aligned(head, 8 if word == "Q" else 4) + packed(("Buffer", word, 1)) + wide(text, word=word, end="")


def asking(server: str | None, *, big: bool = False, word: str = "I") -> bytes:
    """A stub that begins with the server's name, filled up for what follows."""
    return aligned(pointed(server, big=big, word=word), 4)


def server_info(server: str | None = "\\\\FILES1", level: int = 101, *, big: bool = False, word: str = "I") -> bytes:
    """The arguments of NetrServerGetInfo. [MS-SRVS 3.1.4.17]"""
    return asking(server, big=big, word=word) + packed(("Level", "I", level), order=order_of(big))
