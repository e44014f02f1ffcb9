"""NTLMSSP messages. [MS-NLMP 2.2.1]

Names, flags and the lengths of the responses decide whether a client asks to be anonymous (3.2.5.1.2); the responses
themselves are not looked at, but for the one zero byte that stands for an empty LM response (3.3.1).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from analyzer.auth.columns import (
    C_BUILD,
    C_DNS_COMPUTER,
    C_DNS_DOMAIN,
    C_DOMAIN,
    C_FLAGS,
    C_KEY_SIZE,
    C_KIND,
    C_LM_IS_ZERO,
    C_LM_SIZE,
    C_NETBIOS_COMPUTER,
    C_NETBIOS_DOMAIN,
    C_NT_SIZE,
    C_TARGET,
    C_UNICODE,
    C_USER,
    C_USER_IS_NUL,
    C_WORKSTATION,
)
from analyzer.auth.der import halves, is_constant
from analyzer.compiled import Bytes, Table, kernel
from analyzer.records import TokenKind
from analyzer.wire.layout import Layout
from analyzer.wire.loads import byte, le16, le32

SIGNATURE = b"NTLMSSP\0"
OEM = "cp437"


class Negotiate(IntFlag):
    """NegotiateFlags. [MS-NLMP 2.2.2.5]"""

    UNICODE = 0x00000001
    ANONYMOUS = 0x00000800
    TARGET_INFO = 0x00800000
    VERSION = 0x02000000
    KEY_EXCH = 0x40000000


class AvId(IntEnum):
    """AvId of the pairs of TargetInfo that are read. [MS-NLMP 2.2.2.1]"""

    EOL = 0
    NB_COMPUTER_NAME = 1
    NB_DOMAIN_NAME = 2
    DNS_COMPUTER_NAME = 3
    DNS_DOMAIN_NAME = 4


def _fields(*names: str) -> list[tuple[str, str]]:
    """Len, MaxLen and BufferOffset for each variable field."""
    return [(f"{name}_{part}", code) for name in names for part, code in (("len", "H"), ("max", "H"), ("offset", "I"))]


NEGOTIATE_MESSAGE = Layout(
    "NEGOTIATE_MESSAGE",  # [MS-NLMP 2.2.1.1]
    [
        ("signature", "8s"),  #                    0
        ("message_type", "I"),  #                  8
        ("negotiate_flags", "I"),  #              12
        *_fields("domain", "workstation"),  # 16, 24
        ("version", "8s"),  #                     32
    ],
)
CHALLENGE_MESSAGE = Layout(
    "CHALLENGE_MESSAGE",  # [MS-NLMP 2.2.1.2]
    [
        ("signature", "8s"),  #            0
        ("message_type", "I"),  #          8
        *_fields("target"),  #            12
        ("negotiate_flags", "I"),  #      20
        ("server_challenge", "8s"),  #    24
        ("reserved", "8s"),  #            32
        *_fields("target_info"),  #       40
        ("version", "8s"),  #             48
    ],
)
AUTHENTICATE_MESSAGE = Layout(
    "AUTHENTICATE_MESSAGE",  # [MS-NLMP 2.2.1.3]
    [
        ("signature", "8s"),  #                                              0
        ("message_type", "I"),  #                                            8
        *_fields("lm", "nt", "domain", "user", "workstation", "key"),  # 12 20 28 36 44 52
        ("negotiate_flags", "I"),  #                                        60
        ("version", "8s"),  #                                               64
    ],
)
_MESSAGE_TYPE = AUTHENTICATE_MESSAGE.offsets["message_type"]  # the same in all
_TYPE_END = _MESSAGE_TYPE + 4
_NEGOTIATE_FLAGS = NEGOTIATE_MESSAGE.offsets["negotiate_flags"]
_NEGOTIATE_DOMAIN = NEGOTIATE_MESSAGE.offsets["domain_len"]
_NEGOTIATE_WORKSTATION = NEGOTIATE_MESSAGE.offsets["workstation_len"]
_NEGOTIATE_VERSION = NEGOTIATE_MESSAGE.offsets["version"]
_CHALLENGE_TARGET = CHALLENGE_MESSAGE.offsets["target_len"]
_CHALLENGE_FLAGS = CHALLENGE_MESSAGE.offsets["negotiate_flags"]
_CHALLENGE_INFO = CHALLENGE_MESSAGE.offsets["target_info_len"]
_CHALLENGE_VERSION = CHALLENGE_MESSAGE.offsets["version"]
_LM = AUTHENTICATE_MESSAGE.offsets["lm_len"]
_NT = AUTHENTICATE_MESSAGE.offsets["nt_len"]
_DOMAIN = AUTHENTICATE_MESSAGE.offsets["domain_len"]
_USER = AUTHENTICATE_MESSAGE.offsets["user_len"]
_WORKSTATION = AUTHENTICATE_MESSAGE.offsets["workstation_len"]
_KEY = AUTHENTICATE_MESSAGE.offsets["key_len"]
_FLAGS = AUTHENTICATE_MESSAGE.offsets["negotiate_flags"]
_VERSION = AUTHENTICATE_MESSAGE.offsets["version"]
VERSION_SIZE = 8
"""Of VERSION the first four bytes are read, the rest is reserved. [MS-NLMP 2.2.2.10]"""

# Bytes that a message must have; later fields are missing in the forms of old systems.
_SHORTEST_NEGOTIATE = 16
_SHORTEST_CHALLENGE = 32
_SHORTEST_AUTHENTICATE = 52

_SIGNATURE = halves(SIGNATURE)
_UNICODE = int(Negotiate.UNICODE)
_TARGET_INFO = int(Negotiate.TARGET_INFO)
_HAS_VERSION = int(Negotiate.VERSION)
_EOL = int(AvId.EOL)
_NB_COMPUTER_NAME = int(AvId.NB_COMPUTER_NAME)
_NB_DOMAIN_NAME = int(AvId.NB_DOMAIN_NAME)
_DNS_COMPUTER_NAME = int(AvId.DNS_COMPUTER_NAME)
_DNS_DOMAIN_NAME = int(AvId.DNS_DOMAIN_NAME)
_KIND_NEGOTIATE = int(TokenKind.NTLM_NEGOTIATE)
_KIND_CHALLENGE = int(TokenKind.NTLM_CHALLENGE)
_KIND_AUTHENTICATE = int(TokenKind.NTLM_AUTHENTICATE)
_UNREADABLE = int(TokenKind.UNREADABLE)


@kernel
def ntlm_type(b: Bytes, at: int, end: int) -> int:
    """MessageType of a token, 0 if it is no NTLMSSP message."""
    if at + _TYPE_END > end or not is_constant(b, at, end, _SIGNATURE[0], _SIGNATURE[1], _SIGNATURE[2]):
        return 0
    kind = le32(b, at + _MESSAGE_TYPE)
    return kind if kind <= 3 else 0


@kernel
def read_ntlm(b: Bytes, at: int, end: int, cut: int, fields: Table, i: int) -> None:
    """Note what an NTLMSSP message says. cut: its end may be missing, so contents behind it are no contradiction."""
    kind = ntlm_type(b, at, end)
    if kind == 1:
        read_ntlm_negotiate(b, at, end, fields, i)
    elif kind == 2:
        read_ntlm_challenge(b, at, end, fields, i)
    else:
        read_ntlm_authenticate(b, at, end, cut, fields, i)


@kernel
def read_ntlm_negotiate(b: Bytes, at: int, end: int, fields: Table, i: int) -> None:
    """[MS-NLMP 2.2.1.1]"""
    size = end - at
    if size < _SHORTEST_NEGOTIATE:
        fields[C_KIND, i] = _UNREADABLE
        return
    fields[C_KIND, i] = _KIND_NEGOTIATE
    flags = le32(b, at + _NEGOTIATE_FLAGS)
    fields[C_FLAGS, i] = flags
    if flags & _HAS_VERSION and size >= _NEGOTIATE_VERSION + VERSION_SIZE:
        lowest = ntlm_payload(b, at, _NEGOTIATE_DOMAIN, _NEGOTIATE_VERSION, size)
        lowest = ntlm_payload(b, at, _NEGOTIATE_WORKSTATION, _NEGOTIATE_VERSION, lowest)
        if lowest >= _NEGOTIATE_VERSION + VERSION_SIZE:
            note_build(at + _NEGOTIATE_VERSION, fields, i)


@kernel
def read_ntlm_challenge(b: Bytes, at: int, end: int, fields: Table, i: int) -> None:
    """[MS-NLMP 2.2.1.2]"""
    size = end - at
    if size < _SHORTEST_CHALLENGE:
        fields[C_KIND, i] = _UNREADABLE
        return
    fields[C_KIND, i] = _KIND_CHALLENGE
    flags = le32(b, at + _CHALLENGE_FLAGS)
    fields[C_FLAGS, i] = flags
    fields[C_UNICODE, i] = flags & _UNICODE
    note_name(b, at, end, _CHALLENGE_TARGET, fields, C_TARGET, i)
    if size < _CHALLENGE_VERSION:
        return
    if flags & _TARGET_INFO:
        info = at + le32(b, at + _CHALLENGE_INFO + 4)
        stop = info + le16(b, at + _CHALLENGE_INFO)
        if stop <= end:
            read_target_info(b, info, stop, fields, i)
    lowest = ntlm_payload(b, at, _CHALLENGE_TARGET, _SHORTEST_CHALLENGE, size)
    lowest = ntlm_payload(b, at, _CHALLENGE_INFO, _SHORTEST_CHALLENGE, lowest)
    if flags & _HAS_VERSION and lowest >= _CHALLENGE_VERSION + VERSION_SIZE:
        note_build(at + _CHALLENGE_VERSION, fields, i)


@kernel
def read_target_info(b: Bytes, at: int, end: int, fields: Table, i: int) -> None:
    """The server's names in the AV pairs of a CHALLENGE's TargetInfo. [MS-NLMP 2.2.2.1]"""
    while at + 4 <= end:
        pair = le16(b, at)
        size = le16(b, at + 2)
        at += 4
        column = -1
        if pair == _EOL:
            return
        if pair == _NB_COMPUTER_NAME:
            column = C_NETBIOS_COMPUTER
        elif pair == _NB_DOMAIN_NAME:
            column = C_NETBIOS_DOMAIN
        elif pair == _DNS_COMPUTER_NAME:
            column = C_DNS_COMPUTER
        elif pair == _DNS_DOMAIN_NAME:
            column = C_DNS_DOMAIN
        if column >= 0:
            fields[column, i] = at
            fields[column + 1, i] = min(size, end - at)
        at += size


@kernel
def read_ntlm_authenticate(b: Bytes, at: int, end: int, cut: int, fields: Table, i: int) -> None:
    """[MS-NLMP 2.2.1.3]"""
    size = end - at
    if size < _SHORTEST_AUTHENTICATE:
        fields[C_KIND, i] = _UNREADABLE
        return
    lowest = ntlm_payload(b, at, _LM, _SHORTEST_AUTHENTICATE, size)
    lowest = ntlm_payload(b, at, _NT, _SHORTEST_AUTHENTICATE, lowest)
    lowest = ntlm_payload(b, at, _DOMAIN, _SHORTEST_AUTHENTICATE, lowest)
    lowest = ntlm_payload(b, at, _USER, _SHORTEST_AUTHENTICATE, lowest)
    lowest = ntlm_payload(b, at, _WORKSTATION, _SHORTEST_AUTHENTICATE, lowest)
    flags = 0
    if lowest >= _FLAGS:
        fields[C_KEY_SIZE, i] = le16(b, at + _KEY)
        lowest = ntlm_payload(b, at, _KEY, _SHORTEST_AUTHENTICATE, lowest)
        if lowest >= _VERSION:
            flags = le32(b, at + _FLAGS)
    fields[C_FLAGS, i] = flags
    fields[C_UNICODE, i] = flags & _UNICODE
    lm_size = le16(b, at + _LM)
    lm_at = at + le32(b, at + _LM + 4)
    fields[C_LM_SIZE, i] = lm_size
    fields[C_LM_IS_ZERO, i] = 1 if lm_size == 1 and lm_at < end and byte(b, lm_at) == 0 else 0
    fields[C_NT_SIZE, i] = le16(b, at + _NT)
    note_name(b, at, end, _DOMAIN, fields, C_DOMAIN, i)
    note_name(b, at, end, _USER, fields, C_USER, i)
    note_name(b, at, end, _WORKSTATION, fields, C_WORKSTATION, i)
    if is_nul(b, fields[C_USER, i], fields[C_USER + 1, i], flags & _UNICODE):
        fields[C_USER_IS_NUL, i] = 1
        fields[C_USER + 1, i] = 0
    # A response that lies outside the message makes the message unreadable, unless its end is only not captured.
    nt_size = le16(b, at + _NT)
    outside = nt_size > 0 and at + le32(b, at + _NT + 4) + nt_size > end
    fields[C_KIND, i] = _UNREADABLE if outside and not cut else _KIND_AUTHENTICATE
    if flags & _HAS_VERSION and lowest >= _VERSION + VERSION_SIZE:
        note_build(at + _VERSION, fields, i)


@kernel
def ntlm_payload(b: Bytes, at: int, field: int, fixed: int, lowest: int) -> int:
    """Where the variable part of a message begins at the latest, now that a field was seen: `lowest` or before.

    What would lie behind it in the fixed part is not there. Empty fields point anywhere, and contents that would lie in
    the part that every message has say nothing of its form.
    """
    offset = le32(b, at + field + 4)
    if le16(b, at + field) > 0 and offset >= fixed:
        return min(lowest, offset)
    return lowest


@kernel
def note_name(b: Bytes, at: int, end: int, field: int, fields: Table, column: int, i: int) -> None:
    """Note where a name lies; missing if it is outside of the message. A length of 0 is an empty name."""
    size = le16(b, at + field)
    start = at + le32(b, at + field + 4)
    if size == 0:
        start = at
    if start + size <= end:
        fields[column, i] = start
        fields[column + 1, i] = size


@kernel
def note_build(at: int, fields: Table, i: int) -> None:
    """Note where a VERSION structure lies. [MS-NLMP 2.2.2.10]"""
    fields[C_BUILD, i] = at
    fields[C_BUILD + 1, i] = 4


@kernel
def is_nul(b: Bytes, at: int, size: int, unicode: int) -> int:
    """1 if a name consists of NUL characters, at least one."""
    if size <= 0 or (unicode and size % 2):
        return 0
    for k in range(at, at + size):
        if byte(b, k):
            return 0
    return 1


def spelled_build(version: bytes) -> str:
    """The first four bytes of VERSION as `major.minor.build`."""
    return f"{version[0]}.{version[1]}.{version[2] | version[3] << 8}"
