"""NTLMSSP messages. [MS-NLMP 2.2.1]

Names, flags and the lengths of the responses decide whether a client asks to be anonymous (3.2.5.1.2); the responses
themselves are not looked at, but for the one zero byte that stands for an empty LM response (3.3.1).
"""

from __future__ import annotations

from enum import IntFlag

import numpy as np
import numpy.typing as npt

from analyzer.auth.der import Index, Mask, is_bytes
from analyzer.records import Rows, TokenKind, missing_token
from analyzer.wire.layout import Layout
from analyzer.wire.texts import MISSING, Texts

SIGNATURE = b"NTLMSSP\0"
OEM = "cp437"


class Negotiate(IntFlag):
    """NegotiateFlags. [MS-NLMP 2.2.2.5]"""

    UNICODE = 0x00000001
    ANONYMOUS = 0x00000800
    TARGET_INFO = 0x00800000
    VERSION = 0x02000000
    KEY_EXCH = 0x40000000


MESSAGES = {1: TokenKind.NTLM_NEGOTIATE, 2: TokenKind.NTLM_CHALLENGE, 3: TokenKind.NTLM_AUTHENTICATE}
"""MessageType and the kind of token that it makes."""

AV_EOL = 0
AV_NAMES = {1: "netbios_computer", 2: "netbios_domain", 3: "dns_computer", 4: "dns_domain"}
"""AvId of the pairs of TargetInfo that are names [MS-NLMP 2.2.2.1], and the token's fields."""
AV_TIMESTAMP = bytes.fromhex("07000800")
AV_TIMESTAMP_AND_END = 16
"""TargetInfo mostly ends with a time stamp pair and the end mark: what stands before repeats."""


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
_SHORTEST = {1: 16, 2: 32, 3: 52}
"""Bytes that a message of each type must have; later fields are missing in the forms of old systems."""
_LAYOUTS = {1: NEGOTIATE_MESSAGE, 2: CHALLENGE_MESSAGE, 3: AUTHENTICATE_MESSAGE}
_MESSAGE_TYPE = Layout("MessageType", [("signature", "8s"), ("message_type", "I")])


def sniff(arena: npt.NDArray[np.uint8], start: Index, end: Index) -> npt.NDArray[np.uint32]:
    """MessageType of each token, 0 where it is no NTLMSSP message."""
    known = is_bytes(arena, start, end, SIGNATURE) & (start + _MESSAGE_TYPE.size <= end)
    kind = _MESSAGE_TYPE.gather(arena, np.where(known, start, 0))["message_type"]
    return np.where(known & np.isin(kind, list(MESSAGES)), kind, 0).astype(np.uint32)


def parse(arena: npt.NDArray[np.uint8], start: Index, end: Index, cut: Mask, texts: Texts) -> Rows:
    """Tokens of messages that are all of the same type, found by `sniff`."""
    message_type = int(_MESSAGE_TYPE.gather(arena, start[:1])["message_type"][0])
    tokens = missing_token(len(start))
    fixed = _LAYOUTS[message_type].gather(arena, start)
    whole = end - start >= _SHORTEST[message_type]
    tokens["kind"] = np.where(whole, MESSAGES[message_type], TokenKind.UNREADABLE)
    if message_type == 1:
        _read_build(tokens, fixed, whole & (end - start >= 40), fixed["negotiate_flags"], texts)
        tokens["flags"] = np.where(whole, fixed["negotiate_flags"], 0)
    elif message_type == 2:
        _parse_challenge(arena, start, end, fixed, whole, tokens, texts)
    else:
        _parse_authenticate(arena, start, end, cut, fixed, whole, tokens, texts)
    return tokens


def _parse_challenge(
    arena: npt.NDArray[np.uint8], start: Index, end: Index, fixed: Rows, whole: Mask, tokens: Rows, texts: Texts
) -> None:
    flags = np.where(whole, fixed["negotiate_flags"], 0)
    tokens["flags"] = flags
    lowest = _lowest_payload(fixed, ("target", "target_info"), end - start)
    has_info = whole & (end - start >= 48) & ((flags & Negotiate.TARGET_INFO) != 0)
    _read_build(tokens, fixed, whole & (end - start >= 56) & (lowest >= 56), flags, texts)
    tokens["target"] = _names(arena, start, end, fixed, "target", whole, flags, texts)
    at = start + fixed["target_info_offset"].astype(np.int64)
    size = np.where(has_info & (at + fixed["target_info_len"] <= end), fixed["target_info_len"], 0).astype(np.int64)
    cache: dict[bytes, dict[str, int]] = {}
    for place in np.flatnonzero(size > 0).tolist():
        info = arena[int(at[place]) : int(at[place]) + int(size[place])].tobytes()
        key = info[:-AV_TIMESTAMP_AND_END] if info[-AV_TIMESTAMP_AND_END:].startswith(AV_TIMESTAMP) else info
        if key not in cache:
            cache[key] = {name: texts.code(text) for name, text in target_info_names(info).items()}
        for name, code in cache[key].items():
            tokens[name][place] = code


def target_info_names(info: bytes) -> dict[str, str]:
    """The server's names in the AV pairs of a CHALLENGE's TargetInfo. [MS-NLMP 2.2.2.1]"""
    names = {}
    at = 0
    while at + 4 <= len(info):
        pair, size = int.from_bytes(info[at : at + 2], "little"), int.from_bytes(info[at + 2 : at + 4], "little")
        if pair == AV_EOL:
            break
        if pair in AV_NAMES:
            names[AV_NAMES[pair]] = info[at + 4 : at + 4 + size].decode("utf-16-le", "replace")
        at += 4 + size
    return names


def _parse_authenticate(
    arena: npt.NDArray[np.uint8],
    start: Index,
    end: Index,
    cut: Mask,
    fixed: Rows,
    whole: Mask,
    tokens: Rows,
    texts: Texts,
) -> None:
    size = end - start
    lowest = _lowest_payload(fixed, ("lm", "nt", "domain", "user", "workstation"), size)
    has_key = whole & (lowest >= 60) & (size >= 60)  # forms of old systems end before it
    lowest = np.where(has_key, _lowest_payload(fixed, ("key",), lowest), lowest)
    has_flags = has_key & (lowest >= 64) & (size >= 64)
    flags = np.where(has_flags, fixed["negotiate_flags"], 0)
    tokens["flags"] = flags
    for name, there in (("lm", whole), ("nt", whole), ("key", has_key)):
        tokens[f"{name}_size"] = np.where(there, fixed[f"{name}_len"].astype(np.int32), MISSING)
    lm_at = start + fixed["lm_offset"].astype(np.int64)
    lm_there = whole & (lm_at + 1 <= end)
    tokens["lm_is_zero"] = (tokens["lm_size"] == 1) & lm_there & (arena[np.where(lm_there, lm_at, 0)] == 0)
    for name in ("user", "domain", "workstation"):
        tokens[name] = _names(arena, start, end, fixed, name, whole, flags, texts)
    for code in np.unique(tokens["user"]).tolist():
        user = texts.text(code)
        if user and not user.strip("\0"):
            tokens["user_is_nul"][tokens["user"] == code] = True
            tokens["user"][tokens["user"] == code] = texts.code("")
    # A response that lies outside the message makes the message unreadable, unless its end is only not captured.
    nt_end = start + fixed["nt_offset"].astype(np.int64) + fixed["nt_len"]
    outside = whole & ~cut & (fixed["nt_len"] > 0) & (nt_end > end)
    tokens["kind"] = np.where(outside, TokenKind.UNREADABLE, tokens["kind"])
    _read_build(tokens, fixed, has_flags & (lowest >= 72) & (size >= 72), flags, texts)


def _lowest_payload(fixed: Rows, names: tuple[str, ...], lowest: Index) -> Index:
    """Where the variable part begins: what would lie beyond is not there. Empty fields point anywhere."""
    for name in names:
        offset = fixed[f"{name}_offset"].astype(np.int64)
        lowest = np.where(fixed[f"{name}_len"] > 0, np.minimum(lowest, offset), lowest)
    return lowest


def _names(
    arena: npt.NDArray[np.uint8],
    start: Index,
    end: Index,
    fixed: Rows,
    name: str,
    whole: Mask,
    flags: Rows,
    texts: Texts,
) -> npt.NDArray[np.int32]:
    """Codes of a name; missing where it lies outside the message. A length of 0 is an empty name."""
    size = fixed[f"{name}_len"].astype(np.int64)
    at = start + fixed[f"{name}_offset"].astype(np.int64)
    there = whole & ((size == 0) | (at + size <= end))
    at = np.where(size == 0, start, at)
    unicode = (flags & np.uint32(Negotiate.UNICODE)) != 0
    codes = np.full(len(start), MISSING, dtype=np.int32)
    for chosen, encoding in ((there & unicode, "utf-16-le"), (there & ~unicode, OEM)):
        places = np.flatnonzero(chosen)
        codes[places] = texts.slices(arena, at[places], size[places], encoding)
    return codes


def _read_build(tokens: Rows, fixed: Rows, there: Mask, flags: Rows, texts: Texts) -> None:
    """The VERSION structure as `major.minor.build`. [MS-NLMP 2.2.2.10]"""
    has_version = there & ((flags & np.uint32(Negotiate.VERSION)) != 0)
    numbers = np.ascontiguousarray(fixed["version"][has_version]).view("<u4")[::2]  # the rest is reserved
    versions, places = np.unique(numbers, return_inverse=True)
    names = [texts.code(f"{value & 0xFF}.{value >> 8 & 0xFF}.{value >> 16}") for value in versions.tolist()]
    tokens["build"][has_version] = np.array(names, dtype=np.int32)[places] if names else MISSING
