"""What NEGOTIATE agrees on for signing, encryption and compression. [MS-SMB2 2.2.3, 2.2.4]

From 3.1.1 on a list of contexts says it; before, the dialect does. Messages are taken one at a time, from the SMB2
header on: only connections that are read a second time come here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from analyzer.errors import DecodeError
from analyzer.smb.smb2 import HEADER, NEGOTIATE_REQUEST_BODY, Command, HeaderFlags
from analyzer.wire.cursor import Cursor
from analyzer.wire.enums import Code
from analyzer.wire.layout import Layout

LAYER = "SMB2 NEGOTIATE"
MOST_CONTEXTS = 64
"""More contexts, or more algorithms in one, are not read."""

# Enums. #


class ContextType(Code):
    """[MS-SMB2 2.2.3.1]"""

    PREAUTH_INTEGRITY_CAPABILITIES = 0x0001
    ENCRYPTION_CAPABILITIES = 0x0002
    COMPRESSION_CAPABILITIES = 0x0003
    NETNAME_NEGOTIATE_CONTEXT_ID = 0x0005
    TRANSPORT_CAPABILITIES = 0x0006
    RDMA_TRANSFORM_CAPABILITIES = 0x0007
    SIGNING_CAPABILITIES = 0x0008


class HashAlgorithm(Code):
    """[MS-SMB2 2.2.3.1.1]"""

    SHA_512 = 0x0001


class Cipher(Code):
    """[MS-SMB2 2.2.3.1.2]"""

    AES_128_CCM = 0x0001
    AES_128_GCM = 0x0002
    AES_256_CCM = 0x0003
    AES_256_GCM = 0x0004


class CompressionAlgorithm(Code):
    """[MS-SMB2 2.2.3.1.3]"""

    NONE = 0x0000
    LZNT1 = 0x0001
    LZ77 = 0x0002
    LZ77_HUFFMAN = 0x0003
    PATTERN_V1 = 0x0004
    LZ4 = 0x0005


class SigningAlgorithm(Code):
    """[MS-SMB2 2.2.3.1.7]"""

    HMAC_SHA256 = 0x0000
    AES_CMAC = 0x0001
    AES_GMAC = 0x0002


class Dialect(Code):
    """[MS-SMB2 2.2.4]"""

    SMB_2_0_2 = 0x0202
    SMB_2_1 = 0x0210
    SMB_2_WILDCARD = 0x02FF
    SMB_3_0 = 0x0300
    SMB_3_0_2 = 0x0302
    SMB_3_1_1 = 0x0311


# Layouts. #

NEGOTIATE_RESPONSE = Layout(
    "SMB2 NEGOTIATE Response",  # [MS-SMB2 2.2.4]
    [
        ("structure_size", "H"),  #               0  65
        ("security_mode", "H"),  #                2
        ("dialect_revision", "H"),  #             4
        ("negotiate_context_count", "H"),  #      6  reserved before 3.1.1, as is the offset
        ("server_guid", "16s"),  #                8
        ("capabilities", "I"),  #                24
        ("max_transact_size", "I"),  #           28
        ("max_read_size", "I"),  #               32
        ("max_write_size", "I"),  #              36
        ("system_time", "Q"),  #                 40
        ("server_start_time", "Q"),  #           48
        ("security_buffer_offset", "H"),  #      56
        ("security_buffer_length", "H"),  #      58
        ("negotiate_context_offset", "I"),  #    60  from the header
    ],
)
NEGOTIATE_CONTEXT = Layout(
    "SMB2 NEGOTIATE_CONTEXT",  # [MS-SMB2 2.2.3.1]
    [
        ("context_type", "H"),  #    0
        ("data_length", "H"),  #     2
        ("reserved", "I"),  #        4
    ],
)
PREAUTH_INTEGRITY_CAPABILITIES = Layout(
    "SMB2_PREAUTH_INTEGRITY_CAPABILITIES",  # [MS-SMB2 2.2.3.1.1]
    [
        ("hash_algorithm_count", "H"),  #    0
        ("salt_length", "H"),  #             2  HashAlgorithms, then the salt
    ],
)
COMPRESSION_CAPABILITIES = Layout(
    "SMB2_COMPRESSION_CAPABILITIES",  # [MS-SMB2 2.2.3.1.3]
    [
        ("compression_algorithm_count", "H"),  #    0
        ("padding", "H"),  #                        2
        ("flags", "I"),  #                          4  0x1: chained; CompressionAlgorithms follow
    ],
)
COMPRESSION_FLAG_CHAINED = 0x00000001
ALIGNMENT = 8

# Records. #


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The contexts of one NEGOTIATE message; empty where there is none of a kind. A client's are in order of preference."""

    hash_algorithms: tuple[HashAlgorithm, ...] = ()
    """For the preauthentication integrity hash."""
    ciphers: tuple[Cipher, ...] = ()
    """An answer names one; 0 says that none is common."""
    signing_algorithms: tuple[SigningAlgorithm, ...] = ()
    """An answer names one."""
    compression_algorithms: tuple[CompressionAlgorithm, ...] = ()
    """An answer may name several."""
    is_chained: bool = False
    """Whether compressed messages may consist of several parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """What a connection uses, from the server's answer."""

    dialect: Dialect
    """DialectRevision."""
    signing: SigningAlgorithm
    """How messages are signed, if they are."""
    cipher: Cipher | None
    """How messages are encrypted, if they are; None: never."""
    compression: tuple[CompressionAlgorithm, ...] = ()
    """How messages may be compressed."""


# Reading. #


def parse_capabilities(message: bytes) -> Capabilities:
    """The contexts of a NEGOTIATE request or response, from the SMB2 header on.

    Raises DecodeError if the message is no NEGOTIATE, or its contexts are not in it. A request that does not offer
    3.1.1 and an answer of another dialect have none. Source: [MS-SMB2] 2.2.3.1, 3.3.5.4.
    """
    cursor = Cursor(message, LAYER)
    header = cursor.take(HEADER)
    if header["command"] != Command.NEGOTIATE:
        raise DecodeError(LAYER, "command", HEADER.offsets["command"])
    if _number(header, "flags") & HeaderFlags.SERVER_TO_REDIR:
        body = cursor.take(NEGOTIATE_RESPONSE)
        has_contexts = body["dialect_revision"] == Dialect.SMB_3_1_1
    else:
        body = cursor.take(NEGOTIATE_REQUEST_BODY)
        offered = _codes(cursor, min(_number(body, "dialect_count"), MOST_CONTEXTS))
        has_contexts = Dialect.SMB_3_1_1 in offered
    if not has_contexts:
        return Capabilities()
    place, count = _number(body, "negotiate_context_offset"), _number(body, "negotiate_context_count")
    kinds: dict[int, bytes] = {}
    for kind, data in _contexts(message, place, count):
        kinds.setdefault(kind, data)
    compression, is_chained = _compression(kinds.get(ContextType.COMPRESSION_CAPABILITIES))
    return Capabilities(
        hash_algorithms=_hash_algorithms(kinds.get(ContextType.PREAUTH_INTEGRITY_CAPABILITIES)),
        ciphers=tuple(map(Cipher, _counted(kinds.get(ContextType.ENCRYPTION_CAPABILITIES)))),
        signing_algorithms=tuple(map(SigningAlgorithm, _counted(kinds.get(ContextType.SIGNING_CAPABILITIES)))),
        compression_algorithms=compression,
        is_chained=is_chained,
    )


def _contexts(message: bytes, place: int, count: int) -> Iterator[tuple[int, bytes]]:
    """(type, data) of each context. They begin at multiples of 8, counted from the header."""
    cursor = Cursor(message, LAYER, place)
    for _ in range(min(count, MOST_CONTEXTS)):
        cursor.offset += -cursor.offset % ALIGNMENT
        head = cursor.take(NEGOTIATE_CONTEXT)
        yield _number(head, "context_type"), cursor.bytes(_number(head, "data_length"), "Data")


def _codes(cursor: Cursor, count: int) -> list[int]:
    return [cursor.number(2, "algorithms") for _ in range(count)]


def _counted(data: bytes | None) -> list[int]:
    """A count and as many codes: ENCRYPTION_CAPABILITIES and SIGNING_CAPABILITIES. [MS-SMB2 2.2.3.1.2, 2.2.3.1.7]"""
    if data is None:
        return []
    cursor = Cursor(data, LAYER)
    return _codes(cursor, min(cursor.number(2, "count"), MOST_CONTEXTS))


def _hash_algorithms(data: bytes | None) -> tuple[HashAlgorithm, ...]:
    if data is None:
        return ()
    cursor = Cursor(data, LAYER)
    head = cursor.take(PREAUTH_INTEGRITY_CAPABILITIES)
    return tuple(map(HashAlgorithm, _codes(cursor, min(_number(head, "hash_algorithm_count"), MOST_CONTEXTS))))


def _compression(data: bytes | None) -> tuple[tuple[CompressionAlgorithm, ...], bool]:
    if data is None:
        return (), False
    cursor = Cursor(data, LAYER)
    head = cursor.take(COMPRESSION_CAPABILITIES)
    found = _codes(cursor, min(_number(head, "compression_algorithm_count"), MOST_CONTEXTS))
    return tuple(map(CompressionAlgorithm, found)), bool(_number(head, "flags") & COMPRESSION_FLAG_CHAINED)


def _number(fields: dict[str, int | bytes], name: str) -> int:
    return int(fields[name])


def parse_agreed(answer: bytes) -> Agreed:
    """What the server's final NEGOTIATE response settles, from the SMB2 header on.

    Raises DecodeError as `parse_capabilities`. SMB 3.0 and 3.0.2 have one cipher and one way to sign, 2.x signs by
    HMAC-SHA256. On 3.1.1 a server that names no signing algorithm signs by AES-128-CMAC, and one that names no cipher
    does not encrypt. Source: [MS-SMB2] 3.1.4.1, 3.2.5.2, 3.3.5.4.
    """
    found = parse_capabilities(answer)
    cursor = Cursor(answer, LAYER)
    header, body = cursor.take(HEADER), cursor.take(NEGOTIATE_RESPONSE)
    if not _number(header, "flags") & HeaderFlags.SERVER_TO_REDIR:
        raise DecodeError(LAYER, "flags", HEADER.offsets["flags"], "a request, not an answer")
    dialect = Dialect(_number(body, "dialect_revision"))
    signing = SigningAlgorithm.AES_CMAC if dialect >= Dialect.SMB_3_0 else SigningAlgorithm.HMAC_SHA256
    cipher = Cipher.AES_128_CCM if Dialect.SMB_3_0 <= dialect < Dialect.SMB_3_1_1 else None
    if dialect == Dialect.SMB_3_1_1:
        signing = next(iter(found.signing_algorithms), signing)
        cipher = next((code for code in found.ciphers if code), None)
    return Agreed(dialect=dialect, signing=signing, cipher=cipher, compression=found.compression_algorithms)
