"""Signatures and encryption of SMB, and the keys that they are made with. [MS-SMB2 3.1.4; MS-SMB 3.1.5.1]

Bytes in, values out; nothing is known of captures. Where a session key comes from is not decided here: `auth` finds
those of logins without a secret. The way of a connection that is read a second time:

    agreed = parse_agreed(negotiate_answer)                        # dialect, cipher, signing algorithm
    proof = preauth_hash(setup_messages(messages, session_id))     # 3.1.1 alone needs it
    keys = derive_keys(session_key, agreed, proof)                 # `find_keys` tries several session keys
    verify_signature(pdu, keys)                                    # of one PDU; `split_compound` makes them
    decrypt(message, keys, from_server=...)                        # of a message with a TRANSFORM_HEADER

A *message* is what one header of the transport frames: one PDU, several in a compound, or an encrypted message. It
begins with its first header, without that of the transport. Damaged bytes verify as False and decrypt to None: only
`decrypt` of what has no whole TRANSFORM_HEADER, and `parse_agreed`, raise DecodeError.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.cmac import CMAC

from analyzer.errors import DecodeError
from analyzer.smb.contexts import Agreed, Cipher, Dialect, SigningAlgorithm
from analyzer.smb.smb2 import (
    HEADER,
    SESSION_SETUP_BINDING,
    SESSION_SETUP_REQUEST_BODY,
    STATUS_SUCCESS,
    TRANSFORM_HEADER,
    Command,
    HeaderFlags,
)
from analyzer.wire.cursor import Cursor

SMB2 = b"\xfeSMB"
TRANSFORM = b"\xfdSMB"
SMB1 = b"\xffSMB"
STATUS_PENDING = 0x00000103
SIGNATURE_SIZE = 16
_SIGNATURE_AT = HEADER.offsets["signature"]
_NONCE_AT = TRANSFORM_HEADER.offsets["nonce"]
NONCE_SIZE = {Cipher.AES_128_CCM: 11, Cipher.AES_256_CCM: 11, Cipher.AES_128_GCM: 12, Cipher.AES_256_GCM: 12}
"""Bytes of the TRANSFORM_HEADER's Nonce that each cipher uses. [MS-SMB2 2.2.41]"""
LONG_KEYS = (Cipher.AES_256_CCM, Cipher.AES_256_GCM)
COMPRESSED = b"\xfcSMB"
_BEGINNINGS = (SMB2, COMPRESSED)
"""What a decrypted message begins with."""

# Keys. #


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What the messages of one session are signed and encrypted with."""

    signing_algorithm: SigningAlgorithm
    """Of the connection."""
    signing: bytes
    """Session.SigningKey, 16 bytes; before 3.0 the session key itself."""
    cipher: Cipher | None
    """Of the connection; None: nothing is encrypted, and the next two are empty."""
    client_to_server: bytes
    """What requests are encrypted with: the client's EncryptionKey, the server's DecryptionKey."""
    server_to_client: bytes
    """What answers are encrypted with."""


def kdf(key: bytes, label: bytes, context: bytes, bits: int = 128) -> bytes:
    """SP800-108 in counter mode with HMAC-SHA256 and 32 bit counters, for at most 256 bits. [MS-SMB2 3.1.4.2]

    One round is enough: counter, label, a zero byte, context, and the length of the result in bits.
    """
    data = (1).to_bytes(4, "big") + label + b"\0" + context + bits.to_bytes(4, "big")
    return hmac.digest(key, data, "sha256")[: bits // 8]


@lru_cache(maxsize=1024)
def derive_keys(session_key: bytes, agreed: Agreed, preauth: bytes = b"") -> Keys:
    """The keys of a session.

    session_key: what the login yielded; its first 16 bytes count, short ones are filled with zeros, but that AES-256
    takes the whole. preauth: what `preauth_hash` made of the setup, for 3.1.1. Source: [MS-SMB2] 3.1.4.2, 3.3.5.5.3.
    """
    short = session_key[:16].ljust(16, b"\0")
    signing, to_server, to_client = short, b"", b""
    if agreed.dialect == Dialect.SMB_3_1_1:
        long = session_key if agreed.cipher in LONG_KEYS else short
        bits = 256 if agreed.cipher in LONG_KEYS else 128
        signing = kdf(short, b"SMBSigningKey\0", preauth)
        to_server = kdf(long, b"SMBC2SCipherKey\0", preauth, bits)
        to_client = kdf(long, b"SMBS2CCipherKey\0", preauth, bits)
    elif agreed.dialect >= Dialect.SMB_3_0:
        signing = kdf(short, b"SMB2AESCMAC\0", b"SmbSign\0")
        to_server = kdf(short, b"SMB2AESCCM\0", b"ServerIn \0")
        to_client = kdf(short, b"SMB2AESCCM\0", b"ServerOut\0")
    has_cipher = agreed.cipher in NONCE_SIZE
    return Keys(
        signing_algorithm=agreed.signing,
        signing=signing,
        cipher=agreed.cipher if has_cipher else None,
        client_to_server=to_server if has_cipher else b"",
        server_to_client=to_client if has_cipher else b"",
    )


# The preauthentication integrity hash. #


def preauth_hash(messages: Iterable[bytes]) -> bytes:
    """Session.PreauthIntegrityHashValue after these messages, each whole, from the SMB2 header on.

    Hash := SHA-512(Hash + message), beginning with zeros. Which messages count, and in which order, `setup_messages`
    says. Source: [MS-SMB2] 3.1.4.4.1 (3.2.5.1.4 in old editions), 3.3.5.4, 3.3.5.5.
    """
    value = bytes(64)
    for message in messages:
        value = hashlib.sha512(value + message).digest()
    return value


def setup_messages(messages: Iterable[bytes], session_id: int, *, is_answered: bool = True) -> list[bytes] | None:
    """The messages of a connection that count for the preauthentication hash of a session, in their order.

    messages: those of one connection in the order of the wire, both directions, encrypted and SMB 1 ones too; only
    NEGOTIATE and SESSION_SETUP are looked at, so others may be left out. Counted are the last NEGOTIATE request before
    the session and its answer, then each SESSION_SETUP of the session and each answer but the final one: interim
    answers (STATUS_PENDING) do not count, nor do the SMB 1 messages of a multi-protocol negotiation. None if one of
    them is missing. is_answered: False where the final answer was not captured, which does not count anyway; `messages`
    then end with the last request. Source: [MS-SMB2] 3.2.5.2, 3.2.5.3, 3.3.5.4, 3.3.5.5.
    """
    negotiation: list[bytes] = []
    beginnings: dict[int, bytes] = {}  # of sessions that have no id yet: by the message id of their request
    setup: list[bytes] = []
    waiting: int | None = None  # message id of the session's request that has no answer yet
    is_whole = True
    for message in messages:
        if len(message) < HEADER.size or message[:4] != SMB2:
            continue
        header = HEADER.read(message)
        message_id, is_answer = int(header["message_id"]), bool(int(header["flags"]) & HeaderFlags.SERVER_TO_REDIR)
        if header["command"] == Command.NEGOTIATE:
            negotiation = [*negotiation[-1:], message] if is_answer else [message]
        elif header["command"] != Command.SESSION_SETUP:
            continue
        elif not is_answer and header["session_id"] == 0:
            beginnings[message_id] = message
        elif header["session_id"] != session_id or (is_answer and header["status"] == STATUS_PENDING):
            continue
        elif not is_answer:
            is_whole &= waiting is None and (bool(setup) or _is_binding(message))
            setup.append(message)
            waiting = message_id
        else:
            if message_id in beginnings:  # an id that is given anew begins anew
                setup, waiting, is_whole = [beginnings.pop(message_id)], message_id, True
            is_whole &= waiting == message_id and len(negotiation) == 2
            if header["status"] == STATUS_SUCCESS:
                return [*negotiation, *setup] if is_whole else None
            setup.append(message)
            waiting = None
    if not is_answered and is_whole and waiting is not None and len(negotiation) == 2:
        return [*negotiation, *setup]
    return None


def _is_binding(request: bytes) -> bool:
    """Whether a SESSION_SETUP binds a session to this connection: its first message has an id already."""
    at = HEADER.size + SESSION_SETUP_REQUEST_BODY.offsets["flags"]
    return bool(request[at : at + 1]) and bool(request[at] & SESSION_SETUP_BINDING)


# Signatures. #


def split_compound(message: bytes) -> Iterator[bytes]:
    """The PDUs of a message, each with the padding behind it, which its signature covers. [MS-SMB2 3.2.4.1.4]

    A NextCommand that leads nowhere ends it: the rest is one PDU.
    """
    at = 0
    while len(message) - at >= HEADER.size:
        following = int(HEADER.read(message, at)["next_command"])
        if not HEADER.size <= following <= len(message) - at - HEADER.size:
            yield message[at:]
            return
        yield message[at : at + following]
        at += following


def is_signed(pdu: bytes) -> bool:
    """Whether an SMB 2 PDU says that it is signed."""
    return len(pdu) >= HEADER.size and pdu[:4] == SMB2 and bool(int(HEADER.read(pdu)["flags"]) & HeaderFlags.SIGNED)


def signature(pdu: bytes, keys: Keys) -> bytes:
    """The 16 bytes that a PDU's Signature must be: computed over all of it, with zeros in that field. [MS-SMB2 3.1.4.1]

    pdu: one SMB 2 PDU with its padding, of at least a header's size.
    """
    plain = pdu[:_SIGNATURE_AT] + bytes(SIGNATURE_SIZE) + pdu[_SIGNATURE_AT + SIGNATURE_SIZE :]
    if keys.signing_algorithm == SigningAlgorithm.AES_GMAC:
        return AESGCM(keys.signing).encrypt(_gmac_nonce(pdu), b"", plain)
    if keys.signing_algorithm == SigningAlgorithm.AES_CMAC:
        mac = CMAC(AES(keys.signing))
        mac.update(plain)
        return mac.finalize()
    return hmac.digest(keys.signing, plain, "sha256")[:SIGNATURE_SIZE]


def _gmac_nonce(pdu: bytes) -> bytes:
    """MessageId, then 32 bits: bit 0 is set by servers, bit 1 for CANCEL. [MS-SMB2 3.1.4.1]"""
    header = HEADER.read(pdu)
    role = int(bool(int(header["flags"]) & HeaderFlags.SERVER_TO_REDIR))
    is_cancel = int(header["command"] == Command.CANCEL)
    return int(header["message_id"]).to_bytes(8, "little") + (role | is_cancel << 1).to_bytes(4, "little")


def verify_signature(pdu: bytes, keys: Keys) -> bool:
    """Whether a PDU is signed, and with these keys. It must be whole: of a cut one nothing can be said."""
    if not is_signed(pdu) or keys.signing_algorithm not in tuple(SigningAlgorithm):
        return False
    there = pdu[_SIGNATURE_AT : _SIGNATURE_AT + SIGNATURE_SIZE]
    return hmac.compare_digest(signature(pdu, keys), there)


# Encryption. #


def is_encrypted(message: bytes) -> bool:
    """Whether a message has a TRANSFORM_HEADER."""
    return message[:4] == TRANSFORM


def decrypt(message: bytes, keys: Keys, *, from_server: bool) -> bytes | None:
    """What an encrypted message holds: PDUs, one behind the other, or a compressed message.

    None if the keys are not its keys, or bytes of it are missing or changed: its tag proves all of it. Raises DecodeError
    if it does not begin with a TRANSFORM_HEADER. Source: [MS-SMB2] 2.2.41, 3.1.4.3, 3.2.5.1.1.
    """
    header = _transform_header(message)
    if keys.cipher is None:
        return None
    size = int(header["original_message_size"])
    sealed = message[TRANSFORM_HEADER.size : TRANSFORM_HEADER.size + size]
    if len(sealed) < size:
        return None
    nonce = message[_NONCE_AT : _NONCE_AT + NONCE_SIZE[keys.cipher]]
    associated = message[_NONCE_AT : TRANSFORM_HEADER.size]
    key = keys.server_to_client if from_server else keys.client_to_server
    made = AESCCM(key) if keys.cipher in (Cipher.AES_128_CCM, Cipher.AES_256_CCM) else AESGCM(key)
    try:
        return made.decrypt(nonce, sealed + bytes(header["signature"]), associated)
    except InvalidTag:
        return None


def decrypt_cut(message: bytes, keys: Keys, *, from_server: bool) -> bytes | None:
    """What is there of an encrypted message whose end was not captured; nothing proves it but its first four bytes.

    None if these are not the beginning of a message. Raises DecodeError as `decrypt`. Both modes count AES blocks:
    GCM's text begins with counter 2 behind the nonce [SP800-38D 7.1], CCM's with counter 1 [SP800-38C A.3].
    """
    header = _transform_header(message)
    if keys.cipher is None:
        return None
    sealed = message[TRANSFORM_HEADER.size :][: int(header["original_message_size"])]
    nonce = message[_NONCE_AT : _NONCE_AT + NONCE_SIZE[keys.cipher]]
    if keys.cipher in (Cipher.AES_128_CCM, Cipher.AES_256_CCM):
        width = 15 - len(nonce)
        counter = bytes([width - 1]) + nonce + (1).to_bytes(width, "big")
    else:
        counter = nonce + (2).to_bytes(4, "big")
    key = keys.server_to_client if from_server else keys.client_to_server
    plain = BlockCipher(AES(key), CTR(counter)).decryptor().update(sealed)
    return plain if plain[:4] in _BEGINNINGS else None


def _transform_header(message: bytes) -> dict[str, int | bytes]:
    header = Cursor(message, TRANSFORM_HEADER.title).take(TRANSFORM_HEADER)
    if header["protocol_id"] != TRANSFORM:
        raise DecodeError(TRANSFORM_HEADER.title, "protocol_id", 0)
    return header


# Trying keys. #

MOST_TRIED = 8
"""Encrypted messages and signed PDUs that `find_keys` looks at: if none fits, a later one will not either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A session key that fits, and what showed it."""

    place: int
    """Which of the session keys that were tried."""
    keys: Keys
    """What it yields."""
    by_signature: bool
    """A signature showed it; else a message that decrypts. Either proves it: both are 16 bytes long."""
    from_server: bool
    """Whether the message that showed it is the server's. A server's guest key need not be its client's."""


def find_keys(
    session_keys: Sequence[bytes], agreed: Agreed, preauth: bytes, messages: Iterable[tuple[bool, bytes]]
) -> Found | None:
    """The first session key that some message of a session was signed or encrypted with, None if none is.

    messages: (is it the server's, message), in any order. Nothing is learned of those that are neither signed nor
    encrypted; of the others the first `MOST_TRIED` parts are, whose work ends with the first that fits.
    """
    tried = [derive_keys(key, agreed, preauth) for key in session_keys]
    for from_server, part in itertools.islice(_protected(messages), MOST_TRIED):
        by_signature = not is_encrypted(part)
        for place, keys in enumerate(tried):
            if by_signature and not verify_signature(part, keys):
                continue
            if by_signature or decrypt(part, keys, from_server=from_server) is not None:
                return Found(place=place, keys=keys, by_signature=by_signature, from_server=from_server)
    return None


def _protected(messages: Iterable[tuple[bool, bytes]]) -> Iterator[tuple[bool, bytes]]:
    """The encrypted messages and the signed PDUs."""
    for from_server, message in messages:
        if is_encrypted(message):
            if len(message) >= TRANSFORM_HEADER.size:
                yield from_server, message
            continue
        yield from ((from_server, pdu) for pdu in split_compound(message) if is_signed(pdu))


# SMB 1. #

SMB1_HEADER_SIZE = 32
SMB1_SIGNATURE_AT = 14
SMB1_SIGNATURE_SIZE = 8


def smb1_signature(message: bytes, mac_key: bytes, sequence: int) -> bytes:
    """SecuritySignature of an SMB 1 message, from its header on. [MS-SMB 3.1.5.1; MS-CIFS 3.1.4.1]

    MD5 of key and message, with the sequence number and four zero bytes where the signature stands. mac_key: the session
    key; without extended security, the client's response follows it. sequence: a request's is even, its answer's one
    higher; the first request after the session setup that began signing has 2.
    """
    number = (sequence & 0xFFFFFFFF).to_bytes(4, "little") + bytes(4)
    plain = message[:SMB1_SIGNATURE_AT] + number + message[SMB1_SIGNATURE_AT + SMB1_SIGNATURE_SIZE :]
    return hashlib.md5(mac_key + plain, usedforsecurity=False).digest()[:SMB1_SIGNATURE_SIZE]


def verify_smb1_signature(message: bytes, mac_key: bytes, sequence: int) -> bool:
    """Whether an SMB 1 message is signed with this key as number `sequence`."""
    if len(message) < SMB1_HEADER_SIZE or message[:4] != SMB1:
        return False
    there = message[SMB1_SIGNATURE_AT : SMB1_SIGNATURE_AT + SMB1_SIGNATURE_SIZE]
    return hmac.compare_digest(smb1_signature(message, mac_key, sequence), there)
