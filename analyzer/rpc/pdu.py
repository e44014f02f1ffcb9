"""The PDUs of connection-oriented DCE/RPC: their headers, and what can be read without knowing an operation.

Numbers in a PDU are in the sender's byte order, which its header names. [C706 12.6.3.1, 14.1]
"""

from __future__ import annotations

from analyzer.compiled import Bytes, kernel
from analyzer.wire.layout import Layout
from analyzer.wire.loads import byte, le16, signed32, u16

HEADER = Layout(
    "DCE/RPC common header",  # [C706 12.6.3.1]
    [
        ("rpc_vers", "B"),  #        0  5
        ("rpc_vers_minor", "B"),  #  1  0 or 1
        ("ptype", "B"),  #           2
        ("pfc_flags", "B"),  #       3
        ("drep", "4s"),  #           4  upper half of the first byte: 1 for little-endian numbers, 0 for big-endian
        ("frag_length", "H"),  #     8
        ("auth_length", "H"),  #    10
        ("call_id", "I"),  #        12
    ],
)
HEADER_SIZE = HEADER.size

REQUEST = 0  # [C706 12.6.4]
RESPONSE = 2
FAULT = 3
BIND = 11
BIND_ACK = 12
BIND_NAK = 13
ALTER_CONTEXT = 14
ALTER_CONTEXT_RESPONSE = 15
LAST_PTYPE = 19  # orphaned

PFC_FIRST_FRAG = 0x01
PFC_LAST_FRAG = 0x02
PFC_MAYBE = 0x40
PFC_OBJECT_UUID = 0x80

AT_FLAGS = 3
AT_CALL_ID = 12
AT_CONTEXT = 20  # requests, responses, faults: p_cont_id [C706 12.6.4.9]
AT_OPNUM = 22
AT_STUB = 24
AT_FAULT_STATUS = 24
AT_REJECT_REASON = 16  # bind_nak
AT_SECONDARY = 24  # bind_ack: the secondary address, and behind it the results
AT_CONTEXT_COUNT = 24  # bind
AT_CONTEXTS = 28
CONTEXT_SIZE = 24  # p_cont_elem_t without its transfer syntaxes
SYNTAX_SIZE = 20
RESULT_SIZE = 24
TRAILER_SIZE = 8  # sec_trailer [C706 13.2.6.1]: auth_type, auth_level, auth_pad_length, reserved, auth_context_id
OBJECT_SIZE = 16

LEVEL_CONNECT = 2
LEVEL_PRIVACY = 6  # RPC_C_AUTHN_LEVEL_PKT_PRIVACY: the stub is encrypted [MS-RPCE 2.2.1.1.8]

HEAD = 1024
TAIL = 512
"""Of a PDU that came in parts its first `HEAD` bytes are kept, and its last `TAIL`: of a short one that is all of it.
Of a long one what is at an offset behind the head is found `shift` bytes before its place."""


@kernel
def pdu_length(b: Bytes, at: int) -> int:
    """frag_length of the PDU whose header is at `at`, 0 if there is none."""
    if byte(b, at) != 5 or byte(b, at + 1) > 1 or byte(b, at + 2) > LAST_PTYPE:
        return 0
    order = byte(b, at + 4)
    # Characters are ASCII or EBCDIC, floats one of four, the rest is reserved. [C706 14.1]
    if order & 0xEE or byte(b, at + 5) > 3 or byte(b, at + 6) or byte(b, at + 7):
        return 0
    length = u16(b, at + 8, is_big(b, at))
    auth = u16(b, at + 10, is_big(b, at))
    if length < HEADER_SIZE or (auth and HEADER_SIZE + TRAILER_SIZE + auth > length):
        return 0
    return length


@kernel
def is_big(b: Bytes, at: int) -> int:
    """1 if the numbers of the PDU are big-endian."""
    return 1 - ((byte(b, at + 4) >> 4) & 1)


@kernel
def uuid_first(b: Bytes, at: int, big: int) -> int:
    """The first half of a UUID as a signed number of its little-endian bytes, whatever the sender's order. [C706 A]"""
    if big:
        low = (byte(b, at) << 24) | (byte(b, at + 1) << 16) | (byte(b, at + 2) << 8) | byte(b, at + 3)
        high = (byte(b, at + 4) << 8) | byte(b, at + 5) | (byte(b, at + 6) << 24) | (byte(b, at + 7) << 16)
        return signed32(high) * 4294967296 + low
    return (signed32(le16(b, at + 4) | (le16(b, at + 6) << 16)) * 4294967296) + (le16(b, at) | (le16(b, at + 2) << 16))


@kernel
def place_of(offset: int, size: int, have: int, shift: int) -> int:
    """Where `size` bytes at an offset of a PDU stand behind its first byte, -1 if they are not there.

    have: bytes of the PDU that came; shift: so many of them are left out behind its head.
    """
    if offset < 0 or offset + size > have:
        return -1
    if not shift or offset + size <= HEAD:
        return offset
    return offset - shift if offset >= HEAD + shift else -1


@kernel
def trailer_of(b: Bytes, at: int, length: int, have: int, shift: int, big: int) -> int:
    """Offset of the security trailer of a PDU, 0 if it has none, -1 if it is not there or makes no sense."""
    auth = u16(b, at + 10, big)
    if auth == 0:
        return 0
    trailer = length - auth - TRAILER_SIZE
    if trailer < HEADER_SIZE or place_of(trailer, TRAILER_SIZE, have, shift) < 0:
        return -1
    return trailer
