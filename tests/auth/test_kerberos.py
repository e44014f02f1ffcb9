"""Kerberos tokens are told apart by their frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.auth import kerberos
from analyzer.records import Mechanism, TokenKind
from tests.auth.tokens import token_of
from tests.build import (
    OID_KERBEROS,
    OID_KERBEROS_MS,
    OID_NTLMSSP,
    der,
    gss,
    kerberos_reply,
    kerberos_request,
    spnego_answer,
    spnego_init,
)

OID_USER_TO_USER = bytes.fromhex("2a864886f71201020203")  # 1.2.840.113554.1.2.2.3
AP_REQ = der(0x6E, der(0x30, bytes(200)))  #               [APPLICATION 14], RFC 4120 5.5.1
AP_REP = der(0x6F, der(0x30, bytes(60)))  #                [APPLICATION 15], 5.5.2
KRB_ERROR = der(0x7E, der(0x30, bytes(60)))  #             [APPLICATION 30], 5.9.1
TGT_REQ = gss(OID_USER_TO_USER, b"\x04\x00", der(0x30, bytes(20)))


@pytest.mark.parametrize(
    ("blob", "kind"),
    [
        (kerberos_request(), TokenKind.KERBEROS_REQUEST),
        (kerberos_request(oid=OID_KERBEROS_MS), TokenKind.KERBEROS_REQUEST),
        (kerberos_request(oid=OID_USER_TO_USER), TokenKind.KERBEROS_REQUEST),
        (AP_REQ, TokenKind.KERBEROS_REQUEST),
        (kerberos_reply(), TokenKind.KERBEROS_REPLY),
        (AP_REP, TokenKind.KERBEROS_REPLY),
        (KRB_ERROR, TokenKind.KERBEROS_REPLY),
        (gss(OID_KERBEROS, b"\x03\x00", KRB_ERROR), TokenKind.KERBEROS_REPLY),
        (TGT_REQ, TokenKind.KERBEROS_REPLY),
    ],
    ids=["AP-REQ", "MS OID", "user to user", "bare AP-REQ", "AP-REP", "bare AP-REP", "bare error", "error", "TGT-REQ"],
)
def test_raw_and_wrapped(blob: bytes, kind: TokenKind) -> None:
    raw = token_of(blob)
    assert (raw["kind"], raw["mechanism"]) == (kind, Mechanism.KERBEROS)
    for wrapped in (spnego_init(blob, [OID_KERBEROS_MS, OID_KERBEROS, OID_NTLMSSP]), spnego_answer(blob, state=1)):
        token = token_of(wrapped)
        assert (token["kind"], token["mechanism"]) == (kind, Mechanism.SPNEGO_KERBEROS)


# What a ticket shows. #


def text(value: bytes) -> bytes:
    return der(0x1B, value)  # GeneralString


def number(value: int) -> bytes:
    return der(0x02, value.to_bytes((value.bit_length() + 8) // 8 or 1, "big", signed=True))


def ticket(
    realm: bytes = b"CORP.EXAMPLE", names: Sequence[bytes] = (b"cifs", b"files.corp.example"), etype: int = 18
) -> bytes:
    """Ticket. [RFC 4120 5.3]"""
    return der(
        0x61,  # [APPLICATION 1]
        der(
            0x30,
            der(0xA0, number(5)),  #                                        tkt-vno
            der(0xA1, text(realm)),  #                                      realm
            der(
                0xA2,  #                                                    sname
                der(0x30, der(0xA0, number(2)), der(0xA1, der(0x30, *[text(name) for name in names]))),
            ),
            der(
                0xA3,  #                                                    enc-part
                der(0x30, der(0xA0, number(etype)), der(0xA1, number(3)), der(0xA2, der(0x04, bytes(600)))),
            ),
        ),
    )


def ap_req(held: bytes) -> bytes:
    """AP-REQ with a ticket. [RFC 4120 5.5.1]"""
    return der(
        0x6E,  # [APPLICATION 14]
        der(
            0x30,
            der(0xA0, number(5)),  #                                        pvno
            der(0xA1, number(14)),  #                                       msg-type
            der(0xA2, der(0x03, b"\x00\x20\x00\x00\x00")),  #               ap-options: mutual-required
            der(0xA3, held),  #                                             ticket
            der(0xA4, der(0x30, der(0xA0, number(17)), der(0xA2, der(0x04, bytes(200))))),  # authenticator
        ),
    )


def framed(held: bytes, oid: bytes = OID_KERBEROS) -> bytes:
    return gss(oid, b"\x01\x00", ap_req(held))


@pytest.mark.parametrize(
    "blob",
    [
        ap_req(ticket()),
        framed(ticket()),
        framed(ticket(), OID_KERBEROS_MS),
        framed(ticket(), OID_USER_TO_USER),
        spnego_init(framed(ticket()), [OID_KERBEROS_MS, OID_KERBEROS, OID_NTLMSSP]),
        spnego_init(ap_req(ticket()), [OID_KERBEROS]),
        spnego_answer(framed(ticket()), state=1),
    ],
    ids=["bare", "framed", "MS OID", "user to user", "in SPNEGO", "bare in SPNEGO", "in an answer"],
)
def test_a_ticket_shows_whose_it_is(blob: bytes) -> None:
    token = token_of(blob)
    assert token["kind"] == TokenKind.KERBEROS_REQUEST
    assert (token["realm"], token["service"], token["etype"]) == ("CORP.EXAMPLE", "cifs/files.corp.example", 18)


@pytest.mark.parametrize("etype", [1, 3, 17, 18, 20, 23, 24, -128, -133, -140])
def test_encryption_types(etype: int) -> None:
    """Those of [RFC 3961 8] and the negative ones of old Windows."""
    assert token_of(framed(ticket(etype=etype)))["etype"] == etype


def test_names_of_services() -> None:
    for names, shown in (
        ((b"FILES$",), "FILES$"),
        ((b"cifs", b"files", b"corp.example"), "cifs/files/corp.example"),
        ((), ""),
        ((b"n",) * 20, "/".join("n" * kerberos.MAX_NAMES)),
        (("häuser".encode(),), "häuser"),
        ((b"h\xe4user",), "h\N{REPLACEMENT CHARACTER}user"),
    ):
        assert token_of(framed(ticket(names=names)))["service"] == shown


def test_the_client_has_no_name() -> None:
    """It is inside of what is encrypted."""
    token = token_of(spnego_init(framed(ticket()), [OID_KERBEROS]))
    assert (token["user"], token["domain"], token["lm_size"], token["nt_size"]) == (None, None, -1, -1)


def test_opaque_requests_and_replies_show_nothing() -> None:
    for blob in (kerberos_request(), AP_REQ, kerberos_reply(), KRB_ERROR, TGT_REQ):
        token = token_of(blob)
        assert (token["realm"], token["service"], token["etype"]) == (None, None, 0)


@pytest.mark.parametrize("wrap", [bytes, lambda blob: spnego_init(blob, [OID_KERBEROS])], ids=["raw", "in SPNEGO"])
def test_a_cut_ticket_shows_only_what_is_there(wrap: Callable[[bytes], bytes]) -> None:
    blob = wrap(framed(ticket()))
    whole = token_of(blob)
    for size in range(len(blob)):
        token = token_of(blob[:size], cut=True)
        for name, missing in (("realm", None), ("service", None), ("etype", 0)):
            assert token[name] in (whole[name], missing), size
        assert size < 300 or token["etype"] == 18


@given(blob=st.just(framed(ticket())), place=st.integers(0, 200), value=st.integers(0, 255), cut=st.booleans())
def test_one_wrong_byte(blob: bytes, place: int, value: int, cut: bool) -> None:
    changed = bytearray(blob)
    changed[place] = value
    seen = [token_of(bytes(changed), cut=cut, filling=filling) for filling in (0x00, 0xFF)]
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        gss(OID_KERBEROS[:-1], b"\x01\x00", AP_REQ),
        gss(OID_KERBEROS + b"\x01", b"\x01\x00", AP_REQ),
        gss(OID_NTLMSSP, b"\x01\x00", AP_REQ),
        der(0x60, der(0x05), b"\x01\x00", AP_REQ),
        der(0x61, der(0x06, OID_KERBEROS), b"\x01\x00", AP_REQ),
        b"NTLMSSP\0",
    ],
    ids=["nothing", "shorter OID", "longer OID", "other OID", "no OID", "other tag", "NTLMSSP"],
)
def test_not_kerberos(blob: bytes) -> None:
    assert kerberos.kerberos_kind(memoryview(blob + bytes(16)), 0, len(blob)) == 0  # type: ignore[arg-type]


def test_a_request_cut_anywhere_behind_its_head_is_still_one() -> None:
    blob = kerberos_request(size=1000)
    head = blob.index(b"\x01\x00\x6e") + 2  # the frame, the OID, TOK_ID
    for size in range(head, len(blob), 7):
        assert token_of(blob[:size], cut=True)["kind"] == TokenKind.KERBEROS_REQUEST


@given(st.binary(max_size=40))
def test_any_bytes(blob: bytes) -> None:
    for begin in (b"", b"\x60", b"\x6e"):
        data = begin + blob
        seen = [
            kerberos.kerberos_kind(memoryview(data + filling), 0, len(data))  # type: ignore[arg-type]
            for filling in (b"", b"\x6e" * 16)
        ]
        assert seen[0] == seen[1]
        assert token_of(data)["service"] is None
