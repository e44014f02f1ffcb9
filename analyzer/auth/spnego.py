"""SPNEGO: finds the mechanism's own token inside. [RFC 4178; MS-SPNG]

It has no anonymous form of its own, and a list of mechanisms without a token is no claim yet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analyzer.auth.der import Index, Mask, is_bytes, read_elements

OID_SPNEGO = bytes.fromhex("2b0601050502")  #             1.3.6.1.5.5.2
OID_NTLMSSP = bytes.fromhex("2b06010401823702020a")  #    1.3.6.1.4.1.311.2.2.10
OID_NEGOEX = bytes.fromhex("2b06010401823702021e")  #     1.3.6.1.4.1.311.2.2.30
NEGOEX_SIGNATURE = b"NEGOEXTS"

TAG_SEQUENCE = 0x30
TAG_OID = 0x06
TAG_OCTET_STRING = 0x04
TAG_APPLICATION_0 = 0x60
TAG_NEG_TOKEN_INIT = 0xA0
TAG_NEG_TOKEN_RESP = 0xA1
TAG_TOKEN = 0xA2  # mechToken of the first, responseToken of the second
MAX_ELEMENTS = 6


class Unwrapped(NamedTuple):
    """The inner token of each blob (start = end: none), whether SPNEGO was around it, and whether it made no sense."""

    start: Index
    end: Index
    wrapped: Mask
    unreadable: Mask


def sniff(arena: npt.NDArray[np.uint8], start: Index, end: Index) -> Mask:
    """True where a blob begins like SPNEGO. A GSS token of another mechanism also begins with 60."""
    outer = read_elements(arena, start, end)
    oid = read_elements(arena, outer.start, outer.end)
    initial = (outer.tag == TAG_APPLICATION_0) & (oid.tag == TAG_OID) & is_bytes(arena, oid.start, oid.end, OID_SPNEGO)
    found: Mask = initial | (outer.tag == TAG_NEG_TOKEN_RESP) | (outer.tag == TAG_NEG_TOKEN_INIT)
    return found


def unwrap(arena: npt.NDArray[np.uint8], start: Index, end: Index) -> Unwrapped:
    """The tokens inside; a blob that is not SPNEGO is its own token."""
    wrapped = sniff(arena, start, end)
    outer = read_elements(arena, start, end)
    initial = outer.tag == TAG_APPLICATION_0
    oid = read_elements(arena, outer.start, outer.end)
    choice = read_elements(arena, np.where(initial, oid.next, start), np.where(initial, outer.end, end))
    sequence = read_elements(arena, choice.start, choice.end)
    readable = sequence.tag == TAG_SEQUENCE
    at, stop = sequence.start, np.where(readable, sequence.end, sequence.start)
    token_start, token_end = stop, stop
    for _ in range(MAX_ELEMENTS):
        element = read_elements(arena, at, stop)
        value = read_elements(arena, element.start, element.end)
        found = (element.tag == TAG_TOKEN) & (value.tag == TAG_OCTET_STRING)
        token_start = np.where(found, value.start, token_start)
        token_end = np.where(found, value.end, token_end)
        at = element.next
    return Unwrapped(
        np.where(wrapped, token_start, start), np.where(wrapped, token_end, end), wrapped, wrapped & ~readable
    )


def is_negoex(arena: npt.NDArray[np.uint8], start: Index, end: Index) -> Mask:
    """True where a token is one of the NegoEx mechanism. [MS-NEGOEX 2.2.6]"""
    return is_bytes(arena, start, end, NEGOEX_SIGNATURE)
