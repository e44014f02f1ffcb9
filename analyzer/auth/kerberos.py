"""Kerberos tokens. [RFC 4120; RFC 4121 4.1]

Nothing is decrypted: the client's name is inside the encrypted ticket. What a request shows is whose ticket it is: the
realm, the service's name, and the algorithm that the ticket is encrypted with.
"""

from __future__ import annotations

from analyzer.auth.columns import C_ETYPE, C_REALM, C_SERVICE
from analyzer.auth.der import (
    GENERAL_STRING,
    INTEGER,
    SEQUENCE,
    der_end,
    der_field,
    der_integer,
    der_is_oid,
    der_is_whole,
    der_start,
    der_tag,
    halves,
)
from analyzer.compiled import Bytes, Table, kernel
from analyzer.records import TokenKind
from analyzer.wire.loads import be16

OID_KERBEROS = bytes.fromhex("2a864886f712010202")  #       1.2.840.113554.1.2.2
OID_KERBEROS_MS = bytes.fromhex("2a864882f712010202")  #    1.2.840.48018.1.2.2, an old mistake that stayed
OID_IAKERB = bytes.fromhex("2b0601050205")  #               1.3.6.1.5.2.5, Kerberos by way of the server
OID_USER_TO_USER = bytes.fromhex("2a864886f71201020203")  # 1.2.840.113554.1.2.2.3
TOK_AP_REQ = 0x0100
TAG_APPLICATION_0 = 0x60
TAG_TICKET = 0x61  # APPLICATION 1
TAG_AP_REQ = 0x6E  # APPLICATION 14
TAG_AP_REP = 0x6F  # APPLICATION 15
TAG_KRB_ERROR = 0x7E  # APPLICATION 30
MAX_NAMES = 8
"""Components of a service's name that are shown."""

_KERBEROS = halves(OID_KERBEROS)
_KERBEROS_MS = halves(OID_KERBEROS_MS)
_IAKERB = halves(OID_IAKERB)
_USER_TO_USER = halves(OID_USER_TO_USER)
_REQUEST = int(TokenKind.KERBEROS_REQUEST)
_REPLY = int(TokenKind.KERBEROS_REPLY)


@kernel
def kerberos_kind(b: Bytes, at: int, end: int) -> int:
    """`TokenKind` of a token, 0 if it is not Kerberos."""
    request = find_ap_req(b, at, end)
    if request >= 0:
        return _REQUEST
    tag = der_tag(b, at, end)
    if tag in (TAG_AP_REP, TAG_KRB_ERROR) or (tag == TAG_APPLICATION_0 and is_kerberos_frame(b, at, end)):
        return _REPLY
    return 0


@kernel
def is_kerberos_frame(b: Bytes, at: int, end: int) -> int:
    """1 if the GSS token at `at` is one of the Kerberos mechanisms."""
    stop = der_end(b, at, end)
    at = der_start(b, at, end)
    return (
        1
        if der_is_oid(b, at, stop, _KERBEROS[0], _KERBEROS[1], _KERBEROS[2])
        or der_is_oid(b, at, stop, _KERBEROS_MS[0], _KERBEROS_MS[1], _KERBEROS_MS[2])
        or der_is_oid(b, at, stop, _USER_TO_USER[0], _USER_TO_USER[1], _USER_TO_USER[2])
        or der_is_oid(b, at, stop, _IAKERB[0], _IAKERB[1], _IAKERB[2])
        else 0
    )


@kernel
def find_ap_req(b: Bytes, at: int, end: int) -> int:
    """Where the AP-REQ of a token begins (it may be cut off there), -1 if the token holds none."""
    tag = der_tag(b, at, end)
    if tag == TAG_AP_REQ:
        return at
    if tag != TAG_APPLICATION_0 or not is_kerberos_frame(b, at, end):
        return -1
    stop = der_end(b, at, end)
    behind = der_end(b, der_start(b, at, end), stop)
    if behind + 2 > stop or be16(b, behind) != TOK_AP_REQ:
        return -1
    return behind + 2


@kernel
def read_ticket(b: Bytes, at: int, end: int, fields: Table, i: int) -> None:
    """Note what the ticket of a token's AP-REQ shows. What is cut off stays missing."""
    request = find_ap_req(b, at, end)
    if request < 0 or der_tag(b, request, end) != TAG_AP_REQ:
        return
    stop = der_end(b, request, end)
    at = der_field(b, der_start(b, request, end), stop, 3)  # ticket [RFC 4120 5.5.1]
    if at < 0:
        return
    end = der_end(b, at, stop)
    at = der_start(b, at, stop)
    if der_tag(b, at, end) != TAG_TICKET:
        return
    stop = der_end(b, at, end)
    ticket = der_start(b, at, end)
    at = der_field(b, ticket, stop, 1)  # realm [5.3]
    if at >= 0:
        end = der_end(b, at, stop)
        at = der_start(b, at, stop)
        if der_is_whole(b, at, end, GENERAL_STRING):
            fields[C_REALM, i] = der_start(b, at, end)
            fields[C_REALM + 1, i] = der_end(b, at, end) - der_start(b, at, end)
    at = der_field(b, ticket, stop, 2)  # sname
    if at >= 0:
        end = der_end(b, at, stop)
        at = der_field(b, der_start(b, at, stop), end, 1)  # name-string [5.2.2]
        if at >= 0:
            inside = der_start(b, at, end)
            end = der_end(b, at, end)
            if der_is_whole(b, inside, end, SEQUENCE):
                fields[C_SERVICE, i] = der_start(b, inside, end)
                fields[C_SERVICE + 1, i] = der_end(b, inside, end) - der_start(b, inside, end)
    at = der_field(b, ticket, stop, 3)  # enc-part
    if at >= 0:
        end = der_end(b, at, stop)
        at = der_field(b, der_start(b, at, stop), end, 0)  # etype [5.2.9]
        if at >= 0:
            inside = der_start(b, at, end)
            end = der_end(b, at, end)
            if der_is_whole(b, inside, end, INTEGER):
                fields[C_ETYPE, i] = der_integer(b, der_start(b, inside, end), der_end(b, inside, end))


def spelled_name(data: bytes) -> str:
    """A service's name, like `cifs/files.example`, from the GeneralStrings that its name-string holds."""
    names: list[str] = []
    at = 0
    while len(names) < MAX_NAMES and der_tag(data, at, len(data)) == GENERAL_STRING:  # type: ignore[arg-type]
        start, end = der_start(data, at, len(data)), der_end(data, at, len(data))  # type: ignore[arg-type]
        names.append(data[start:end].decode("utf-8", "replace"))
        at = end
    return "/".join(names)
