"""The session keys that a login without a secret yields. [MS-NLMP 3.2.5.1.2, 3.4.5.1]

An anonymous login has no password, so its SessionBaseKey is sixteen zero bytes: everybody can compute what its
signatures and ciphers are made with. If both sides agreed on NTLMSSP_NEGOTIATE_KEY_EXCH, the client invents the session
key and sends it under the KeyExchangeKey by RC4, so it can be read from the AUTHENTICATE_MESSAGE.

Programs differ in how they get from SessionBaseKey to KeyExchangeKey, and servers give their guests such keys too, so
all that is plausible is offered, the most usual first, each with its name; a signature or an encrypted message tells
which one was used. Seen: Samba's client and server, impacket and Windows Server 2016 use zeros as the KeyExchangeKey
itself, whatever the flags say (anonymous-signed.pcap; zerologon.pcap of suricata-verify). A guest of Samba's has zeros as
its session key even if a key was exchanged, while its client signs with that of the password it was given, which the
server never had (guest-signed.pcap): there both directions are to be looked at. What Windows does for its guests is not
known. The KXKEY variants are what the letter of 3.4.5.1 makes of a zero SessionBaseKey, and of an empty password by 3.3.1.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum

from analyzer.auth.ntlmssp import AUTHENTICATE_MESSAGE, OEM, SIGNATURE, Negotiate
from analyzer.errors import NeedMoreBytes
from analyzer.wire.cursor import Cursor

LAYER = "NTLMSSP AUTHENTICATE"
AUTHENTICATE = 3
KEY_SIZE = 16
CHALLENGE_SIZE = 8
ZERO = bytes(KEY_SIZE)
NTLMV2_SHORTEST = 24 + 8
"""NtChallengeResponse of NTLM version 1 has 24 bytes; of version 2, a proof of 16 and then more. [MS-NLMP 2.2.2.8]"""

# NegotiateFlags that choose how KXKEY works. [MS-NLMP 2.2.2.5]
LM_KEY = 0x00000080
EXTENDED_SESSIONSECURITY = 0x00080000
NON_NT_SESSION_KEY = 0x00400000

# What KXKEY makes of nothing. Constants, since few cryptographic libraries still have MD4 and DES.
NTOWF_EMPTY = bytes.fromhex("31d6cfe0d16ae931b73c59d7e0c089c0")
"""MD4 of an empty password: NTOWFv1(""). [MS-NLMP 3.3.1]"""
BASE_EMPTY = bytes.fromhex("be6bc64c94bbc062bcebfb40b4f93304")
"""MD4 of that: SessionBaseKey of NTLM version 1. [MS-NLMP 3.3.1]"""
LMOWF_EMPTY = bytes.fromhex("aad3b435b51404eeaad3b435b51404ee")
"""LMOWFv1(""). [MS-NLMP 3.3.1]"""
LM_KEY_EMPTY = bytes.fromhex("293310c403c8f08c972ad51f42628de1")
"""KXKEY with NTLMSSP_NEGOTIATE_LM_KEY: DES of an LM response of zeros under LMOWFv1(""). [MS-NLMP 3.4.5.1]"""
LM_KEY_ZERO = bytes.fromhex("8ca64de9c1b123a7411bf56dbfef9b52")
"""The same under a key of zeros, which Samba's server takes when there is no LM response."""


class KeySource(StrEnum):
    """Where a session key comes from. All but the last need nobody's secret: what they sign is anonymous or guest."""

    ZERO = "zero"
    """KeyExchangeKey is zeros."""
    ZERO_KXKEY = "zero.kxkey"
    """HMAC-MD5 of both challenges under zeros: extended session security with NTLM version 1. [MS-NLMP 3.4.5.1]"""
    LM_KEY = "lm_key"
    """NTLMSSP_NEGOTIATE_LM_KEY, without a password."""
    NON_NT = "non_nt"
    """NTLMSSP_REQUEST_NON_NT_SESSION_KEY, without a password."""
    EMPTY = "empty"
    """NTLM version 1 of an empty password, which the letter of 3.3.1 gives to an anonymous client."""
    EMPTY_KXKEY = "empty.kxkey"
    """The same with extended session security."""
    EMPTY_PASSWORD = "empty_password"
    """NTLM version 2 of a user whose password is empty, as a guest account's often is: it names somebody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionKey:
    """A session key that a login may have, and how it was found."""

    key: bytes
    """ExportedSessionKey, 16 bytes. [MS-NLMP 3.1.1.2]"""
    source: KeySource
    """Which KeyExchangeKey."""
    is_exchanged: bool
    """Whether it was read from EncryptedRandomSessionKey, or is the KeyExchangeKey itself."""


def zero_key_candidates(token: bytes, server_challenge: bytes | None = None) -> list[SessionKey]:
    """The session keys that a login may have if it needed no secret, the most usual first, none twice.

    token: the security blob with the AUTHENTICATE_MESSAGE, with or without SPNEGO around it. server_challenge: of the
    CHALLENGE_MESSAGE before it, for the keys that depend on it. A name in the message does not matter: servers make
    guests of named users. Empty if there is no such message. Raises NeedMoreBytes if it ends before its session key.
    Source: [MS-NLMP] 3.2.5.1.2, 3.4.5.1.
    """
    start = token.find(SIGNATURE)
    if start < 0:
        return []
    message = token[start:]
    cursor = Cursor(message.ljust(AUTHENTICATE_MESSAGE.size, b"\0"), LAYER)  # the last fields may be missing
    fields = cursor.take(AUTHENTICATE_MESSAGE)
    if fields["message_type"] != AUTHENTICATE:
        return []
    lowest = _lowest_payload(fields, len(message))
    has_key, has_flags = lowest >= 60, lowest >= 64
    flags = int(fields["negotiate_flags"]) if has_flags else 0
    encrypted = _payload(message, fields, "key") if has_key else b""
    found: dict[tuple[bytes, bool], SessionKey] = {}
    for source, key in _exchange_keys(message, fields, flags, server_challenge):
        for is_exchanged in (True, False):
            if is_exchanged and (len(encrypted) != KEY_SIZE or not flags & Negotiate.KEY_EXCH):
                continue
            session_key = rc4(key, encrypted) if is_exchanged else key
            made = SessionKey(key=session_key, source=source, is_exchanged=is_exchanged)
            found.setdefault((session_key, is_exchanged), made)
    # What was sent comes first: a key that was agreed to be exchanged is rarely used as it is.
    return sorted(found.values(), key=lambda made: not made.is_exchanged)


def _exchange_keys(
    message: bytes, fields: dict[str, int | bytes], flags: int, challenge: bytes | None
) -> list[tuple[KeySource, bytes]]:
    """KeyExchangeKey by all ways that need no secret. [MS-NLMP 3.4.5.1]"""
    lm = _payload(message, fields, "lm")
    keys = [(KeySource.ZERO, ZERO)]
    knows_challenge = challenge is not None and len(challenge) == CHALLENGE_SIZE
    if flags & EXTENDED_SESSIONSECURITY:
        if challenge is not None and knows_challenge:
            both = challenge + lm[:CHALLENGE_SIZE]
            keys += [
                (KeySource.ZERO_KXKEY, _hmac_md5(ZERO, both)),
                (KeySource.EMPTY_KXKEY, _hmac_md5(BASE_EMPTY, both)),
            ]
    elif flags & LM_KEY:
        keys += [(KeySource.LM_KEY, LM_KEY_ZERO), (KeySource.LM_KEY, LM_KEY_EMPTY)]
    elif flags & NON_NT_SESSION_KEY:
        keys.append((KeySource.NON_NT, LMOWF_EMPTY[:8] + bytes(8)))
    keys.append((KeySource.EMPTY, BASE_EMPTY))
    if challenge is not None and knows_challenge:
        keys += [(KeySource.EMPTY_PASSWORD, key) for key in _empty_password(message, fields, flags, challenge)]
    return keys


def _empty_password(message: bytes, fields: dict[str, int | bytes], flags: int, challenge: bytes) -> list[bytes]:
    """SessionBaseKey of NTLM version 2 if its proof holds for an empty password. [MS-NLMP 3.3.2]

    ResponseKeyNT = HMAC_MD5(MD4(""), UPPERCASE(User) + Domain); NTProofStr = HMAC_MD5(ResponseKeyNT, ServerChallenge +
    temp); SessionBaseKey = HMAC_MD5(ResponseKeyNT, NTProofStr).
    """
    nt = _payload(message, fields, "nt")
    if len(nt) < NTLMV2_SHORTEST:
        return []
    encoding = "utf-16-le" if flags & Negotiate.UNICODE else OEM
    user, domain = (_payload(message, fields, name).decode(encoding, "replace") for name in ("user", "domain"))
    response_key = _hmac_md5(NTOWF_EMPTY, (user.upper() + domain).encode("utf-16-le", "replace"))
    proof, rest = nt[:KEY_SIZE], nt[KEY_SIZE:]
    if not hmac.compare_digest(_hmac_md5(response_key, challenge + rest), proof):
        return []
    return [_hmac_md5(response_key, proof)]


def _payload(message: bytes, fields: dict[str, int | bytes], name: str) -> bytes:
    size, offset = int(fields[f"{name}_len"]), int(fields[f"{name}_offset"])
    if size and offset + size > len(message):
        raise NeedMoreBytes(LAYER, name, offset, f"{size} bytes wanted, {max(0, len(message) - offset)} there")
    return message[offset : offset + size]


def _lowest_payload(fields: dict[str, int | bytes], lowest: int) -> int:
    """Where the variable part begins: the fields that would lie behind are not there. Empty ones point anywhere."""
    for name in ("lm", "nt", "domain", "user", "workstation"):
        if fields[f"{name}_len"]:
            lowest = min(lowest, int(fields[f"{name}_offset"]))
    return lowest


def server_challenge(token: bytes) -> bytes | None:
    """ServerChallenge of the CHALLENGE_MESSAGE in a security blob, if there is one. [MS-NLMP 2.2.1.2]"""
    start = token.find(SIGNATURE)
    message = token[start : start + 32] if start >= 0 else b""
    if len(message) < 32 or message[8:12] != b"\x02\0\0\0":
        return None
    return message[24:32]


def _hmac_md5(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "md5")


def rc4(key: bytes, data: bytes) -> bytes:
    """RC4, both ways, for one session key: libraries are about to drop it."""
    state = list(range(256))
    other = 0
    for place in range(256):
        other = (other + state[place] + key[place % len(key)]) & 0xFF
        state[place], state[other] = state[other], state[place]
    made = bytearray()
    other = 0
    for number, byte in enumerate(data, 1):
        place = number & 0xFF
        other = (other + state[place]) & 0xFF
        state[place], state[other] = state[other], state[place]
        made.append(byte ^ state[(state[place] + state[other]) & 0xFF])
    return bytes(made)
