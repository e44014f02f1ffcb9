"""SPNEGO: finds the mechanism's own token inside. [RFC 4178; MS-SPNG]

It has no anonymous form of its own, and a list of mechanisms without a token is no claim yet. Which mechanism a token
belongs to is told by the token itself: the list is an offer, and its first entry need not be the one that was taken.
"""

from __future__ import annotations

from analyzer.auth.columns import C_BROKEN, C_CONTINUES, C_END, C_START, C_WRAPPED
from analyzer.auth.der import (
    OCTET_STRING,
    OID,
    SEQUENCE,
    der_end,
    der_is_oid,
    der_start,
    der_stated_end,
    der_tag,
    halves,
    is_constant,
)
from analyzer.compiled import Bytes, Table, kernel

OID_SPNEGO = bytes.fromhex("2b0601050502")  #             1.3.6.1.5.5.2
OID_NTLMSSP = bytes.fromhex("2b06010401823702020a")  #    1.3.6.1.4.1.311.2.2.10
NEGOEX_SIGNATURE = b"NEGOEXTS"

TAG_APPLICATION_0 = 0x60
TAG_NEG_TOKEN_INIT = 0xA0
TAG_NEG_TOKEN_RESP = 0xA1
TAG_TOKEN = 0xA2  # mechToken of the first, responseToken of the second
MAX_ELEMENTS = 6
MAX_NESTING = 3
"""SPNEGO inside SPNEGO is followed so deep."""

_SPNEGO = halves(OID_SPNEGO)
_NTLMSSP = halves(OID_NTLMSSP)
_NEGOEX = halves(NEGOEX_SIGNATURE)


@kernel
def has_spnego_frame(b: Bytes, at: int, end: int) -> int:
    """1 if a blob begins like an initial token of SPNEGO. A GSS token of another mechanism also begins with 60."""
    if der_tag(b, at, end) != TAG_APPLICATION_0:
        return 0
    end = der_end(b, at, end)
    at = der_start(b, at, end)
    if der_tag(b, at, end) != OID:
        return 0
    return is_constant(b, der_start(b, at, end), der_end(b, at, end), _SPNEGO[0], _SPNEGO[1], _SPNEGO[2])


@kernel
def unwrap_spnego(b: Bytes, at: int, end: int, fields: Table, i: int) -> None:
    """Note where the mechanism's token lies (start = end: there is none). What is not SPNEGO is its own token."""
    tag = der_tag(b, at, end)
    framed = tag in (TAG_APPLICATION_0, TAG_NEG_TOKEN_INIT, TAG_NEG_TOKEN_RESP)
    fields[C_CONTINUES, i] = 1 if framed and der_stated_end(b, at, end) > end else 0
    fields[C_WRAPPED, i] = 0
    fields[C_BROKEN, i] = 0
    bare = tag in (TAG_NEG_TOKEN_INIT, TAG_NEG_TOKEN_RESP)
    for _ in range(MAX_NESTING):
        if not bare and not has_spnego_frame(b, at, end):
            break
        fields[C_WRAPPED, i] = 1
        if not bare:
            end = der_end(b, at, end)
            at = der_start(b, at, end)
            at = der_end(b, at, end)  # behind the OID
        bare = False
        end = der_end(b, at, end)
        at = der_start(b, at, end)
        if der_tag(b, at, end) != SEQUENCE:
            fields[C_BROKEN, i] = 1
            at = end
            break
        end = der_end(b, at, end)
        at = der_start(b, at, end)
        start = stop = end
        for _ in range(MAX_ELEMENTS):
            inside = der_start(b, at, end)
            behind = der_end(b, at, end)
            if der_tag(b, at, end) == TAG_TOKEN and der_tag(b, inside, behind) == OCTET_STRING:
                start = der_start(b, inside, behind)
                stop = der_end(b, inside, behind)
            at = behind
        at = start
        end = stop
    if der_tag(b, at, end) == TAG_APPLICATION_0:
        # NTLMSSP in the frame of RFC 2743 3.1, which it does not have by itself.
        stop = der_end(b, at, end)
        inside = der_start(b, at, end)
        if der_is_oid(b, inside, stop, _NTLMSSP[0], _NTLMSSP[1], _NTLMSSP[2]):
            at = der_end(b, inside, stop)
            end = stop
    fields[C_START, i] = at
    fields[C_END, i] = end


@kernel
def is_negoex(b: Bytes, at: int, end: int) -> int:
    """1 if a token is one of the NegoEx mechanism. [MS-NEGOEX 2.2.6]"""
    return is_constant(b, at, end, _NEGOEX[0], _NEGOEX[1], _NEGOEX[2])
