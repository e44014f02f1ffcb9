"""Kerberos tokens: told apart, not decrypted. The client's name is inside the encrypted ticket. [RFC 4120; RFC 4121 4.1]"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analyzer.auth.der import Index, is_bytes, read_elements
from analyzer.records import TokenKind

OID_KERBEROS = bytes.fromhex("2a864886f712010202")  #       1.2.840.113554.1.2.2
OID_KERBEROS_MS = bytes.fromhex("2a864882f712010202")  #    1.2.840.48018.1.2.2, an old mistake that stayed
OID_IAKERB = bytes.fromhex("2b0601050205")  #               1.3.6.1.5.2.5, Kerberos by way of the server
OID_USER_TO_USER = bytes.fromhex("2a864886f71201020203")  # 1.2.840.113554.1.2.2.3
TOK_AP_REQ = b"\x01\x00"
TAG_APPLICATION_0 = 0x60
TAG_OID = 0x06
TAG_AP_REQ = 0x6E  # APPLICATION 14
TAG_AP_REP = 0x6F  # APPLICATION 15
TAG_KRB_ERROR = 0x7E  # APPLICATION 30


def sniff(arena: npt.NDArray[np.uint8], start: Index, end: Index) -> npt.NDArray[np.uint8]:
    """`TokenKind` of each token, 0 where it is not Kerberos."""
    outer = read_elements(arena, start, end)
    oid = read_elements(arena, outer.start, outer.end)
    known = np.zeros(len(start), dtype=bool)
    for value in (OID_KERBEROS, OID_KERBEROS_MS, OID_USER_TO_USER, OID_IAKERB):
        known |= is_bytes(arena, oid.start, oid.end, value) & (oid.end - oid.start == len(value))
    framed = (outer.tag == TAG_APPLICATION_0) & (oid.tag == TAG_OID) & known
    request = (framed & is_bytes(arena, oid.next, outer.end, TOK_AP_REQ)) | (outer.tag == TAG_AP_REQ)
    other = framed | (outer.tag == TAG_AP_REP) | (outer.tag == TAG_KRB_ERROR)
    return np.select([request, other], [TokenKind.KERBEROS_REQUEST, TokenKind.KERBEROS_REPLY], TokenKind.NONE).astype(
        np.uint8
    )
