"""NEGOTIATE contexts: published messages, built ones, recorded ones, and damage."""

from __future__ import annotations

import struct

import published
import pytest
from hypothesis import given
from hypothesis import strategies as st
from overheard import conversations

from analyzer.errors import DecodeError
from analyzer.smb import contexts
from analyzer.smb.contexts import (
    Agreed,
    Capabilities,
    Cipher,
    CompressionAlgorithm,
    Dialect,
    HashAlgorithm,
    SigningAlgorithm,
    parse_agreed,
    parse_capabilities,
)
from tests.conftest import CAPTURES

HEADER_SIZE = 64


def header(command: int = 0, flags: int = 1) -> bytes:
    return b"".join(
        [
            b"\xfeSMB",  # ProtocolId
            struct.pack("<H", 64),  # StructureSize
            struct.pack("<H", 0),  # CreditCharge
            struct.pack("<I", 0),  # Status
            struct.pack("<H", command),  # Command
            struct.pack("<H", 1),  # Credits
            struct.pack("<I", flags),  # Flags
            struct.pack("<I", 0),  # NextCommand
            struct.pack("<Q", 0),  # MessageId
            struct.pack("<I", 0),  # Reserved
            struct.pack("<I", 0),  # TreeId
            struct.pack("<Q", 0),  # SessionId
            bytes(16),  # Signature
        ]
    )


def context(kind: int, data: bytes) -> bytes:
    return b"".join(
        [
            struct.pack("<H", kind),  # ContextType
            struct.pack("<H", len(data)),  # DataLength
            struct.pack("<I", 0),  # Reserved
            data,
        ]
    )


def answer(dialect: int, *found: bytes, count: int | None = None, offset: int = 128) -> bytes:
    """Contexts begin at multiples of 8."""
    body = b"".join(
        [
            struct.pack("<H", 65),  # StructureSize
            struct.pack("<H", 1),  # SecurityMode
            struct.pack("<H", dialect),  # DialectRevision
            struct.pack("<H", len(found) if count is None else count),  # NegotiateContextCount
            bytes(16),  # ServerGuid
            struct.pack("<I", 0x47),  # Capabilities
            struct.pack("<III", 0x100000, 0x100000, 0x100000),  # MaxTransactSize, MaxReadSize, MaxWriteSize
            struct.pack("<QQ", 0, 0),  # SystemTime, ServerStartTime
            struct.pack("<HH", 128, 0),  # SecurityBufferOffset, SecurityBufferLength
            struct.pack("<I", offset),  # NegotiateContextOffset
        ]
    )
    padded = b"".join(part.ljust(-(-len(part) // 8) * 8, b"\0") for part in found)
    return header() + body + padded


CIPHERS = context(2, struct.pack("<HH", 1, 4))  # CipherCount, AES-256-GCM
SIGNING = context(8, struct.pack("<HH", 1, 2))  # SigningAlgorithmCount, AES-GMAC
COMPRESSION = context(3, struct.pack("<HHIHH", 2, 0, 1, 2, 4))  # count, padding, flags: chained, LZ77, Pattern_V1
HASHES = context(1, struct.pack("<HHH", 1, 4, 1) + b"salt")  # HashAlgorithmCount, SaltLength, SHA-512, Salt
NETNAME = context(5, "server".encode("utf-16-le"))


def test_layouts_add_up() -> None:
    assert contexts.NEGOTIATE_REQUEST_BODY.size == 36
    assert contexts.NEGOTIATE_RESPONSE.size == 64
    assert contexts.NEGOTIATE_CONTEXT.size == 8
    assert contexts.COMPRESSION_CAPABILITIES.size == 8


def test_published_messages() -> None:
    offered = Capabilities(hash_algorithms=(HashAlgorithm.SHA_512,), ciphers=(Cipher.AES_128_GCM, Cipher.AES_128_CCM))
    assert parse_capabilities(published.NEGOTIATE_REQUEST) == offered
    assert parse_agreed(published.NEGOTIATE_RESPONSE) == Agreed(
        dialect=Dialect.SMB_3_1_1, signing=SigningAlgorithm.AES_CMAC, cipher=Cipher.AES_128_GCM
    )


def test_each_context_in_any_order() -> None:
    for found in ([HASHES, CIPHERS, NETNAME, COMPRESSION, SIGNING], [SIGNING, NETNAME, COMPRESSION, CIPHERS, HASHES]):
        assert parse_capabilities(answer(0x0311, *found)) == Capabilities(
            hash_algorithms=(HashAlgorithm.SHA_512,),
            ciphers=(Cipher.AES_256_GCM,),
            signing_algorithms=(SigningAlgorithm.AES_GMAC,),
            compression_algorithms=(CompressionAlgorithm.LZ77, CompressionAlgorithm.PATTERN_V1),
            is_chained=True,
        )


@pytest.mark.parametrize(
    ("message", "signing", "cipher"),
    [
        (answer(0x0202), SigningAlgorithm.HMAC_SHA256, None),
        (answer(0x0210), SigningAlgorithm.HMAC_SHA256, None),
        (answer(0x0300), SigningAlgorithm.AES_CMAC, Cipher.AES_128_CCM),
        (answer(0x0302), SigningAlgorithm.AES_CMAC, Cipher.AES_128_CCM),
        (answer(0x0302, CIPHERS, SIGNING), SigningAlgorithm.AES_CMAC, Cipher.AES_128_CCM),  # reserved bytes then
        (answer(0x0311, HASHES), SigningAlgorithm.AES_CMAC, None),
        (answer(0x0311, HASHES, CIPHERS, SIGNING), SigningAlgorithm.AES_GMAC, Cipher.AES_256_GCM),
        (answer(0x0311, context(2, struct.pack("<HH", 1, 0))), SigningAlgorithm.AES_CMAC, None),  # none in common
    ],
)
def test_what_is_agreed(message: bytes, signing: SigningAlgorithm, cipher: Cipher | None) -> None:
    """[MS-SMB2] 3.1.4.1, 3.3.5.4"""
    agreed = parse_agreed(message)
    assert (agreed.signing, agreed.cipher) == (signing, cipher)


def test_unknown_codes_are_kept() -> None:
    agreed = parse_agreed(answer(0x0311, context(2, struct.pack("<HH", 1, 0x77))))
    assert agreed.cipher == 0x77


def test_recorded_negotiations() -> None:
    """What the clients of captures/scenes/anonymous.py asked for, and Samba settled."""
    said = [talk[1][1] for talk in conversations(CAPTURES / "anonymous-encrypted.pcap")]
    ciphers = [Cipher.AES_128_CCM, *Cipher]
    assert [parse_agreed(message).cipher for message in said] == ciphers
    said = [talk[1][1] for talk in conversations(CAPTURES / "anonymous-signed-dialects.pcap")]
    by_dialect = ["HMAC_SHA256", "AES_CMAC", "AES_CMAC", "AES_GMAC"]
    assert [parse_agreed(message).signing.name for message in said] == by_dialect


@pytest.mark.parametrize(
    "message",
    [
        b"",
        header(),
        header(command=1) + bytes(64),  # no NEGOTIATE
        answer(0x0311, CIPHERS)[:-5],  # cut before the padding's 4 bytes
        answer(0x0311, CIPHERS, count=2),
        answer(0x0311, CIPHERS, offset=0xFFFFFFF0),
        answer(0x0311, context(2, struct.pack("<H", 40000))),  # more ciphers than there are bytes
        answer(0x0311, context(3, b"\1\0")),
    ],
)
def test_damage_is_told(message: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_agreed(message)


def test_a_request_settles_nothing() -> None:
    with pytest.raises(DecodeError, match="a request"):
        parse_agreed(published.NEGOTIATE_REQUEST)


@given(st.integers(0, len(published.NEGOTIATE_RESPONSE)), st.binary(max_size=80))
def test_any_bytes(cut: int, rest: bytes) -> None:
    for message in (published.NEGOTIATE_RESPONSE, published.NEGOTIATE_REQUEST):
        for parse in (parse_capabilities, parse_agreed):
            try:
                parse(message[:cut] + rest)
            except DecodeError:
                continue
