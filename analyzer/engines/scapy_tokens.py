"""Security blobs to tokens, by scapy's layers for GSSAPI, SPNEGO, NTLM and Kerberos.

Scapy unwraps; where it fails at a structure of which only a part matters (it then raises, or leaves `Raw`), what is inside
is looked for by its signature and given to the layer that it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scapy.asn1.mib import MIBDict
from scapy.asn1packet import ASN1_Packet
from scapy.config import conf
from scapy.layers.gssapi import GSSAPI_BLOB
from scapy.layers.kerberos import KRB_AP_REP, KRB_AP_REQ, KRB_ERROR, Kerberos
from scapy.layers.ntlm import NTLM_Header
from scapy.packet import Packet, Raw

from analyzer.engines.scapy_blobs import (
    KERBEROS_OIDS,
    NTLM_OID,
    SPNEGO_OID,
    GssapiBlob,
    NegToken,
    NegTokenInit,
    NegTokenResp,
    NtlmAuthenticate,
    NtlmChallenge,
    NtlmNegotiate,
)
from analyzer.engines.scapy_layers import reader
from analyzer.records import Mechanism, TokenKind
from analyzer.wire.texts import Texts

NTLMSSP = b"NTLMSSP\0"
NEGOEX = b"NEGOEXTS"
OEM = "cp437"
UTF16 = "utf-16-le"
KERBEROS_TAGS = (b"\x60", b"\x6e", b"\x6f", b"\x7e")
"""With which its tokens begin: the frame of GSS, AP-REQ, AP-REP and KRB-ERROR."""
NTLM_LAYERS = {1: NtlmNegotiate, 2: NtlmChallenge, 3: NtlmAuthenticate}
NTLM_FIXED = 88
"""Bytes of an NTLMSSP message before its payload, at most."""
SPNEGO_BYTES = bytes.fromhex("2b0601050502")  # without its length, which has several forms
FLAG_UNICODE = 0x00000001
FLAG_TARGET_INFO = 0x00800000
FLAG_VERSION = 0x02000000
AV_NAMES = {1: "netbios_computer", 2: "netbios_domain", 3: "dns_computer", 4: "dns_domain"}
SHORTEST = {1: 16, 2: 32, 3: 52}
"""Bytes that an NTLMSSP message must have, by its type."""
MAX_NESTING = 8
MAX_AV_PAIRS = 64
MAX_NAMES = 8

Token = dict[str, Any]


@contextmanager
def nameless_oids() -> Iterator[None]:
    """Within, scapy does not look for the name of each object identifier, for which it goes through all that it knows."""
    names = conf.mib
    conf.mib = MIBDict(_name="MIB")
    try:
        yield
    finally:
        conf.mib = names


def read_token(blob: bytes, cut: bool, texts: Texts) -> Token:
    """The fields of a `records.TOKEN` that a blob shows; others are missing. cut: bytes are missing at its end."""
    if not blob:
        return {"kind": TokenKind.UNREADABLE if cut else TokenKind.NONE}
    wrapped = blob[0] in (0xA0, 0xA1) or (blob[0] == 0x60 and SPNEGO_BYTES in blob[:20])
    continues = (wrapped or blob[0] == 0x60) and _stated_end(blob) > len(blob)
    token: Token = {"continues": continues and not cut}
    cut = cut or continues
    inner, broken = _inside(blob)
    if inner[:8] == NTLMSSP and len(inner) >= 12 and int.from_bytes(inner[8:12], "little") <= 3:
        token["mechanism"] = Mechanism.SPNEGO_NTLMSSP if wrapped else Mechanism.NTLMSSP
        _read_ntlm(inner, cut, token, texts)
    elif kerberos := _kerberos(inner, token, texts):
        token["kind"] = kerberos
        token["mechanism"] = Mechanism.SPNEGO_KERBEROS if wrapped else Mechanism.KERBEROS
    elif inner[:8] == NEGOEX:
        token["kind"] = TokenKind.NEGOEX
        token["mechanism"] = Mechanism.SPNEGO_NEGOEX
    elif broken or (cut and inner):
        token["kind"] = TokenKind.UNREADABLE
    elif inner:
        token["kind"] = TokenKind.OTHER
        token["mechanism"] = Mechanism.OTHER
    else:
        token["kind"] = TokenKind.WITHOUT_TOKEN
    return token


def _inside(blob: bytes) -> tuple[bytes, bool]:
    """The mechanism's own token, empty if there is none; and whether what is around it made no sense to scapy."""
    if blob[0] not in (0x60, 0xA0, 0xA1):
        return blob, False
    try:
        layer: Any = _wrapping(blob)
        for _ in range(MAX_NESTING):
            following = _step(layer)
            if following is None:
                return b"", False
            if isinstance(following, bytes):
                return following, False
            layer = following
    except Exception:  # scapy raises whatever a hostile blob makes it stumble over
        pass
    for signature in (NTLMSSP, NEGOEX):
        at = blob.find(signature)
        if at >= 0:
            return blob[at:], False
    frame = _kerberos_frame(blob)
    if frame >= 0:
        return blob[frame:], False
    at = blob.find(b"\x01\x00\x6e")  # TOK_ID of an AP-REQ, and its tag [RFC 4121 4.1]
    return (blob[at + 2 :], False) if at >= 0 else (b"", True)


def _kerberos_frame(blob: bytes) -> int:
    """Where a GSS token of Kerberos begins in a blob, -1 if none does. [RFC 2743 3.1]"""
    for oid in KERBEROS_OIDS:
        at = blob.find(_encoded(oid))
        while at >= 0:
            for width in (2, 3, 4):  # the frame's tag and length in front of it
                if at >= width and blob[at - width] == 0x60:
                    return at - width
            at = blob.find(_encoded(oid), at + 1)
    return -1


def _wrapping(blob: bytes) -> Any:
    """What is around a token, as scapy's `GSSAPI_BLOB` chooses the layer."""
    return NegToken(blob) if blob[0] & 0xA0 == 0xA0 else GssapiBlob(blob)


def _step(layer: Any) -> Any:
    """What a layer holds: another one, the bytes of the mechanism's token, or None."""
    if isinstance(layer, GssapiBlob):
        if layer.MechType.val == SPNEGO_OID:
            return layer.innerToken
        return layer.original if layer.MechType.val in KERBEROS_OIDS else _bytes(layer.innerToken)
    if isinstance(layer, NegToken):
        return layer.token
    if isinstance(layer, NegTokenInit):
        mechanisms = layer.mechTypes
        return _token(layer.mechToken, mechanisms[0] if mechanisms else None)
    if isinstance(layer, NegTokenResp):
        return _token(layer.responseToken, layer.supportedMech)
    raise ValueError("no layer of a security blob")


def _token(token: Any, mechanism: Any) -> Any:
    """A token of SPNEGO: its bytes, or what is around them once more. Raises what is none of its mechanism's.

    mechanism: the one named first, None where none is.
    """
    if token is None:
        return None
    value: bytes = token.val
    name = mechanism.val if mechanism is not None else None
    if name == NTLM_OID or (name not in KERBEROS_OIDS and value[:7] == NTLMSSP[:7]):
        if len(value) < NTLM_FIXED:
            reader(NTLM_LAYERS.get(int.from_bytes(value[8:10], "little"), NTLM_Header))(value)
        return value
    if value[:1] == b"\x60" and _is_framed(value):
        return value  # dissected for what it shows, once it is known to be a request
    if name in KERBEROS_OIDS or value[:1] in KERBEROS_TAGS[1:]:
        Kerberos(value)
        return value
    return _wrapping(value)


def _is_framed(value: bytes) -> bool:
    """Whether a GSS token says that it is one of Kerberos."""
    return any(_encoded(oid) in value[:24] for oid in KERBEROS_OIDS)


def _bytes(layer: Any) -> bytes:
    found: bytes = layer.original if isinstance(layer, Packet) else b""
    if not found and isinstance(layer, Raw):
        found = layer.load
    return found


def _stated_end(blob: bytes) -> int:
    """Where the outermost element says that it ends. [X.690 8.1.3]"""
    if len(blob) < 2 or blob[1] < 0x80:
        return 2 + (blob[1] if len(blob) > 1 else 0)
    width = blob[1] & 0x7F
    if width > 4 or len(blob) < 2 + width:
        return 0
    return 2 + width + int.from_bytes(blob[2 : 2 + width], "big")


# NTLMSSP. [MS-NLMP 2.2.1] #


def _read_ntlm(data: bytes, cut: bool, token: Token, texts: Texts) -> None:
    """What an NTLMSSP message says. Lengths decide what is empty: scapy leaves empty fields out of its payload."""
    kind = int.from_bytes(data[8:12], "little")
    token["kind"] = TokenKind.UNREADABLE
    if len(data) < SHORTEST.get(kind, 52):
        return
    message = reader(NTLM_LAYERS.get(kind, NtlmAuthenticate))(data[:NTLM_FIXED])
    if kind == 1:
        token["kind"] = TokenKind.NTLM_NEGOTIATE
        flags = token["flags"] = message.NegotiateFlags
        named = [("DomainName", message), ("WorkstationName", message)]
        if len(data) >= 40 and flags & FLAG_VERSION and _lowest(named, 32, len(data)) >= 40:
            token["build"] = _build(message, texts)
    elif kind == 2:
        _read_challenge(message, data, token, texts)
    else:
        _read_authenticate(message, data, cut, token, texts)


def _read_challenge(message: Any, data: bytes, token: Token, texts: Texts) -> None:
    """[MS-NLMP 2.2.1.2]"""
    token["kind"] = TokenKind.NTLM_CHALLENGE
    flags = token["flags"] = message.NegotiateFlags
    token["target"] = _name(message, "TargetName", data, flags, texts)
    if len(data) < 48:
        return
    size, at = message.TargetInfoLen, message.TargetInfoBufferOffset
    if flags & FLAG_TARGET_INFO and at + size <= len(data):
        # Scapy's list of pairs loses those behind one that it cannot read: they are given to it one by one.
        info = data[at : at + size]
        for _ in range(MAX_AV_PAIRS):
            if len(info) < 4 or info[:2] == b"\0\0":
                break
            length = int.from_bytes(info[2:4], "little")
            name = AV_NAMES.get(int.from_bytes(info[:2], "little"))
            if name:
                token[name] = texts.decode(info[4 : 4 + length], UTF16)
            info = info[4 + length :]
    named = [("TargetName", message), ("TargetInfo", message)]
    if flags & FLAG_VERSION and len(data) >= 56 and _lowest(named, 32, len(data)) >= 56:
        token["build"] = _build(message, texts)


def _read_authenticate(message: Any, data: bytes, cut: bool, token: Token, texts: Texts) -> None:
    """[MS-NLMP 2.2.1.3] Messages of old systems end before the key, the flags or VERSION."""
    names = ("LmChallengeResponse", "NtChallengeResponse", "DomainName", "UserName", "Workstation")
    lowest = _lowest([(name, message) for name in names], 52, len(data))
    flags = 0
    if lowest >= 60:
        token["key_size"] = message.EncryptedRandomSessionKeyLen
        lowest = _lowest([("EncryptedRandomSessionKey", message)], 52, lowest)
        if lowest >= 64:
            flags = message.NegotiateFlags
    token["flags"] = flags
    lm_size, lm_at = message.LmChallengeResponseLen, message.LmChallengeResponseBufferOffset
    token["lm_size"] = lm_size
    token["lm_is_zero"] = lm_size == 1 and data[lm_at : lm_at + 1] == b"\0"
    nt_size = token["nt_size"] = message.NtChallengeResponseLen
    for field, name in (("domain", "DomainName"), ("user", "UserName"), ("workstation", "Workstation")):
        token[field] = _name(message, name, data, flags, texts)
    size, at = message.UserNameLen, message.UserNameBufferOffset
    user = data[at : at + size]
    if size and len(user) == size and not user.strip(b"\0") and not (flags & FLAG_UNICODE and size % 2):
        token["user_is_nul"], token["user"] = True, texts.code("")
    # A response that lies outside the message makes it unreadable, unless its end is only not captured.
    outside = nt_size > 0 and message.NtChallengeResponseBufferOffset + nt_size > len(data)
    token["kind"] = TokenKind.UNREADABLE if outside and not cut else TokenKind.NTLM_AUTHENTICATE
    if flags & FLAG_VERSION and lowest >= 72:
        token["build"] = _spelled(data[64:68], texts)


def _lowest(fields: list[tuple[str, Any]], fixed: int, lowest: int) -> int:
    """Where the variable part begins at the latest: what would lie behind it in the fixed part is not there."""
    for name, message in fields:
        size, offset = getattr(message, name + "Len"), getattr(message, name + "BufferOffset")
        if size and offset is not None and offset >= fixed:
            lowest = min(lowest, offset)
    return lowest


def _name(message: Any, name: str, data: bytes, flags: int, texts: Texts) -> int:
    """A name as text, missing if it lies outside of the message. Scapy says where; an empty one it does not give."""
    size, at = getattr(message, name + "Len"), getattr(message, name + "BufferOffset")
    if size == 0:
        return texts.code("")
    if at + size > len(data):
        return -1
    return texts.decode(data[at : at + size], UTF16 if flags & FLAG_UNICODE else OEM)


def _build(message: Any, texts: Texts) -> int:
    if message.get("ProductBuild") is None:
        return -1
    return texts.code(f"{message.ProductMajorVersion}.{message.ProductMinorVersion}.{message.ProductBuild}")


def _spelled(version: bytes, texts: Texts) -> int:
    return texts.code(f"{version[0]}.{version[1]}.{version[2] | version[3] << 8}")


# Kerberos. [RFC 4120; RFC 4121 4.1] #


def _kerberos(inner: bytes, token: Token, texts: Texts) -> TokenKind | None:
    """What kind of Kerberos token it is, with what a request's ticket shows; None if it is none."""
    if inner[:1] not in KERBEROS_TAGS:
        return None
    framed = inner[0] == 0x60
    kind: TokenKind | None = {0x6E: TokenKind.KERBEROS_REQUEST, 0x6F: TokenKind.KERBEROS_REPLY}.get(
        inner[0], TokenKind.KERBEROS_REPLY
    )
    if framed:
        if not _is_framed(inner):
            return None
        at = inner.find(b"\x01\x00", 2, 32)
        is_request = at >= 0 and any(inner[:at].endswith(_encoded(oid)) for oid in KERBEROS_OIDS)
        kind = TokenKind.KERBEROS_REQUEST if is_request else TokenKind.KERBEROS_REPLY
    if kind != TokenKind.KERBEROS_REQUEST:
        return kind
    try:
        layer: Any = GSSAPI_BLOB(inner) if framed else Kerberos(inner)
        request = _find(layer, KRB_AP_REQ)
        if request is not None:
            ticket = request.ticket
            token["realm"] = texts.decode(_string(ticket.realm), "utf-8")
            parts = [_string(part).decode("utf-8", "replace") for part in ticket.sname.nameString[:MAX_NAMES]]
            token["service"] = texts.code("/".join(parts))
            token["etype"] = ticket.encPart.etype.val
    except Exception:  # what it does not show stays missing
        pass
    return kind


def _find(layer: Any, wanted: type) -> Any:
    """A layer, wherever in a token: in fields of ASN.1 structures, or as payload."""
    for _ in range(MAX_NESTING):
        if layer is None or isinstance(layer, wanted):
            return layer
        if isinstance(layer, GSSAPI_BLOB):
            layer = layer.innerToken
        elif isinstance(layer, ASN1_Packet) and "root" in layer.fields:
            layer = layer.root
        elif isinstance(layer, (KRB_AP_REP, KRB_ERROR)):
            return None
        elif isinstance(layer, Packet) and layer.payload:
            layer = layer.payload
        elif isinstance(layer, Packet) and "root" in layer.fields:
            layer = layer.root
        else:
            return None
    return None


def _string(value: Any) -> bytes:
    found = getattr(value, "val", value)
    return found if isinstance(found, bytes) else str(found).encode("utf-8")


def _encoded(oid: str) -> bytes:
    """An object identifier as it stands in a token. [X.690 8.19]"""
    numbers = [int(part) for part in oid.split(".")]
    out = bytearray([numbers[0] * 40 + numbers[1]])
    for number in numbers[2:]:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(0x80 | number & 0x7F)
        out += bytes(digits[::-1])
    return bytes([6, len(out)]) + bytes(out)
