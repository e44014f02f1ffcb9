"""Session keys without a secret: by the documents, and those that Samba's log names for recorded logins."""

from __future__ import annotations

import hashlib
import hmac
import struct
import warnings
from typing import Any

import manifest
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from hypothesis import given
from hypothesis import strategies as st

from analyzer.auth import session_keys
from analyzer.auth.session_keys import KeySource, rc4, server_challenge, zero_key_candidates
from analyzer.errors import DecodeError
from tests import build

KEY_EXCH, EXTENDED, LM_KEY, NON_NT, UNICODE = 0x40000000, 0x00080000, 0x80, 0x400000, 1
CHALLENGE = bytes.fromhex("0123456789abcdef")
SENT = bytes(range(0x30, 0x40))


def authenticate(flags: int, *, key: bytes = b"", lm: bytes = b"\0", nt: bytes = b"", user: str = "") -> bytes:
    """[MS-NLMP 2.2.1.3] without Version and MIC."""
    parts = [lm, nt, b"", user.encode("utf-16-le"), b"", key]  # domain and workstation are empty
    at = 64
    fields = b""
    for part in parts:
        fields += struct.pack("<HHI", len(part), len(part), at)  # Len, MaxLen, BufferOffset
        at += len(part)
    return b"NTLMSSP\0" + struct.pack("<I", 3) + fields + struct.pack("<I", flags) + b"".join(parts)


def found(token: bytes, challenge: bytes | None = None) -> dict[tuple[KeySource, bool], bytes]:
    return {(made.source, made.is_exchanged): made.key for made in zero_key_candidates(token, challenge)}


@pytest.mark.parametrize(
    ("key", "first"),
    [  # RFC 6229, section 2: offset 0
        ("0102030405", "b2396305f03dc027ccc3524a0a1118a8"),
        ("0102030405060708090a0b0c0d0e0f10", "9ac7cc9a609d1ef7b2932899cde41b97"),
    ],
)
def test_rc4(key: str, first: str) -> None:
    assert rc4(bytes.fromhex(key), bytes(16)).hex() == first


def test_constants() -> None:
    """By another implementation of DES; MD4 where OpenSSL still has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES  # noqa: PLC0415

        def des(key: bytes, data: bytes) -> bytes:
            """DES with a key of 7 bytes: 7 bits each in the high bits of 8 bytes."""
            bits = int.from_bytes(key, "big")
            spread = bytes(((bits >> (49 - 7 * place)) & 0x7F) << 1 for place in range(8))
            return Cipher(TripleDES(spread * 3), modes.ECB()).encryptor().update(data)

        assert des(bytes(7), b"KGS!@#$%") * 2 == session_keys.LMOWF_EMPTY
        for lmowf, key in (
            (session_keys.LMOWF_EMPTY, session_keys.LM_KEY_EMPTY),
            (bytes(16), session_keys.LM_KEY_ZERO),
        ):
            assert des(lmowf[:7], bytes(8)) + des(lmowf[7:8] + b"\xbd" * 6, bytes(8)) == key
    try:
        md4 = hashlib.new("md4", usedforsecurity=False)
    except ValueError:
        return
    assert md4.digest() == session_keys.NTOWF_EMPTY
    assert hashlib.new("md4", md4.digest(), usedforsecurity=False).digest() == session_keys.BASE_EMPTY


def test_the_key_that_was_sent_comes_first() -> None:
    token = authenticate(KEY_EXCH | EXTENDED, key=rc4(bytes(16), SENT))
    first, *others = zero_key_candidates(token)
    assert (first.key, first.source, first.is_exchanged) == (SENT, KeySource.ZERO, True)
    assert any(made.key == bytes(16) and not made.is_exchanged for made in others)


def test_without_exchange_the_key_is_zeros() -> None:
    first = zero_key_candidates(authenticate(EXTENDED))[0]
    assert (first.key, first.source, first.is_exchanged) == (bytes(16), KeySource.ZERO, False)


@pytest.mark.parametrize("size", [0, 1, 15, 17, 24])
def test_an_odd_key_is_not_taken(size: int) -> None:
    assert not any(made.is_exchanged for made in zero_key_candidates(authenticate(KEY_EXCH, key=bytes(size))))


def test_key_exchange_key_with_extended_security() -> None:
    """[MS-NLMP 3.4.5.1]: HMAC_MD5(SessionBaseKey, ServerChallenge + LmChallengeResponse[0..7])"""
    keys = found(authenticate(KEY_EXCH | EXTENDED, key=SENT), CHALLENGE)
    wanted = hmac.digest(bytes(16), CHALLENGE + b"\0", "md5")
    assert keys[KeySource.ZERO_KXKEY, False] == wanted
    assert keys[KeySource.ZERO_KXKEY, True] == rc4(wanted, SENT)
    assert keys[KeySource.EMPTY_KXKEY, False] == hmac.digest(session_keys.BASE_EMPTY, CHALLENGE + b"\0", "md5")
    assert KeySource.ZERO_KXKEY not in {source for source, _ in found(authenticate(EXTENDED))}


def test_key_exchange_key_of_lan_manager() -> None:
    keys = [made.key for made in zero_key_candidates(authenticate(LM_KEY)) if made.source == KeySource.LM_KEY]
    assert keys == [session_keys.LM_KEY_ZERO, session_keys.LM_KEY_EMPTY]
    assert found(authenticate(NON_NT))[KeySource.NON_NT, False].hex() == "aad3b435b51404ee0000000000000000"


def test_an_empty_password_is_proven_first() -> None:
    """NTLM version 2 [MS-NLMP 3.3.2] with MD4("") as the key; a wrong proof gives no key."""
    response_key = hmac.digest(session_keys.NTOWF_EMPTY, "GUEST".encode("utf-16-le"), "md5")
    rest = b"\1\1" + bytes(6) + bytes(8) + b"cchallen" + bytes(8)
    proof = hmac.digest(response_key, CHALLENGE + rest, "md5")
    token = authenticate(UNICODE | EXTENDED, lm=bytes(24), nt=proof + rest, user="guest")
    assert found(token, CHALLENGE)[KeySource.EMPTY_PASSWORD, False] == hmac.digest(response_key, proof, "md5")
    assert KeySource.EMPTY_PASSWORD not in {source for source, _ in found(token, bytes(8))}
    assert KeySource.EMPTY_PASSWORD not in {source for source, _ in found(token)}


def test_a_form_without_flags_and_key() -> None:
    """Old systems' message ends before them. [MS-NLMP 2.2.1.3]"""
    message = b"NTLMSSP\0" + struct.pack("<I", 3) + b"".join(
        struct.pack("<HHI", size, size, 52) for size in (1, 0, 0, 0, 0)
    ) + b"\0"  # fmt: skip
    assert [made.key for made in zero_key_candidates(message)] == [bytes(16), session_keys.BASE_EMPTY]


@pytest.mark.parametrize("token", [b"", b"NTLMSSP\0", build.ntlm_negotiate(), b"\x60\x10nothing of NTLM"])
def test_other_tokens_have_none(token: bytes) -> None:
    assert zero_key_candidates(token) == []


def test_server_challenge() -> None:
    message = b"NTLMSSP\0" + struct.pack("<IHHII", 2, 0, 0, 56, 0) + CHALLENGE + bytes(24)
    assert server_challenge(b"\xa1\x20" + message) == CHALLENGE
    assert server_challenge(message[:31]) is None
    assert server_challenge(authenticate(0)) is None


@given(st.integers(0, 200), st.binary(max_size=80))
def test_any_bytes(cut: int, rest: bytes) -> None:
    token = authenticate(KEY_EXCH | EXTENDED | UNICODE, key=SENT, nt=bytes(40), user="u")
    for data in (token[:cut] + rest, b"NTLMSSP\0\3\0\0\0" + rest):
        try:
            keys = zero_key_candidates(data, CHALLENGE)
        except DecodeError:
            continue
        assert len(keys) <= 12
        assert all(len(made.key) == 16 for made in keys)
        server_challenge(data)


SERVER_KEYS = [
    (entry["file"], told)
    for entry in manifest.entries()
    for told in entry.get("server_keys", [])
    if "server_in" not in told  # Samba has cipher keys of users' sessions only
]


@pytest.mark.parametrize(("file", "told"), SERVER_KEYS, ids=lambda value: value if isinstance(value, str) else "")
def test_the_session_key_that_samba_logged(file: str, told: dict[str, Any]) -> None:
    """Each anonymous login of these captures has the session key that the server's log names."""
    data = (manifest.CAPTURES / file).read_bytes()
    session_id = int(told["session_id"], 16).to_bytes(8, "little")
    at = 0
    while True:  # the SESSION_SETUP request of this session that carries an AUTHENTICATE
        at = data.index(session_id, at + 1)
        header = data[at - 40 : at + 24]
        if header[:4] == b"\xfeSMB" and header[12:14] == b"\1\0" and not header[16] & 1:
            break
    first = zero_key_candidates(data[at : at + 400])[0]
    assert first.key.hex() == told["session_key"]
    assert (first.source, first.is_exchanged) == (KeySource.ZERO, True)
