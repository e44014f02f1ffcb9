"""Kerberos tokens are told apart by their frame."""

from __future__ import annotations

import numpy as np
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


def test_no_name_is_read() -> None:
    token = token_of(spnego_init(kerberos_request(), [OID_KERBEROS]))
    assert (token["user"], token["domain"], token["lm_size"], token["nt_size"]) == (None, None, -1, -1)


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
    arena = np.frombuffer(blob + bytes(16), np.uint8)
    assert kerberos.sniff(arena, np.array([0]), np.array([len(blob)])).tolist() == [TokenKind.NONE]


def test_a_request_cut_anywhere_behind_its_head_is_still_one() -> None:
    blob = kerberos_request(size=1000)
    head = blob.index(b"\x01\x00\x6e") + 2  # the frame, the OID, TOK_ID
    for size in range(head, len(blob), 7):
        assert token_of(blob[:size], cut=True)["kind"] == TokenKind.KERBEROS_REQUEST


@given(st.binary(max_size=40))
def test_any_bytes(blob: bytes) -> None:
    seen = [kerberos.sniff(np.frombuffer(blob + filling * 16, np.uint8), np.array([0]), np.array([len(blob)]))
            for filling in (b"\x00", b"\x6e")]  # fmt: skip
    assert seen[0].tolist() == seen[1].tolist()
