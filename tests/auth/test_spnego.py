"""SPNEGO: where the mechanism's own token lies, in all forms that wrap one, cut and damaged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.auth import spnego
from analyzer.records import TokenKind
from tests.auth.tokens import token_of
from tests.build import (
    OID_KERBEROS,
    OID_NEGOEX,
    OID_NTLMSSP,
    OID_SPNEGO,
    der,
    gss,
    kerberos_request,
    ntlm_negotiate,
    spnego_answer,
    spnego_init,
)

BARE_INIT = der(0xA0, der(0x30, der(0xA0, der(0x30, der(0x06, OID_NTLMSSP))), der(0xA2, der(0x04, b"token"))))
HANDMADE_RESP = bytes.fromhex(
    "a1 1e"  #                                   NegTokenResp
    "30 1c"  #                                   SEQUENCE
    "a0 03 0a 01 01"  #                          [0] negState: accept-incomplete
    "a1 0c 06 0a 2b06010401823702020a"  #        [1] supportedMech: NTLMSSP
    "a2 07 04 05 746f6b656e"  #                  [2] responseToken
)


def inner(blob: bytes) -> tuple[bytes, bool, bool]:
    """The token inside, whether SPNEGO was around it, and whether it made no sense."""
    arena = np.frombuffer(blob + b"\xa2" * 16, np.uint8)
    found = spnego.unwrap(arena, np.array([0]), np.array([len(blob)]))
    start, end = int(found.start[0]), int(found.end[0])
    assert 0 <= start <= end <= len(blob)
    return blob[start:end], bool(found.wrapped[0]), bool(found.unreadable[0])


@pytest.mark.parametrize(
    ("blob", "token"),
    [
        (spnego_init(b"token"), b"token"),
        (spnego_init(b"token", [OID_KERBEROS, OID_NEGOEX, OID_NTLMSSP], hints=True), b"token"),
        (spnego_init(bytes(70_000)), bytes(70_000)),
        (BARE_INIT, b"token"),
        (HANDMADE_RESP, b"token"),
        (spnego_answer(b"token"), b"token"),
        (spnego_answer(b"token", state=1, mechanism=OID_NTLMSSP, mic=bytes(16)), b"token"),
        (spnego_answer(b""), b""),
    ],
    ids=["init", "init with hints", "large", "without GSS frame", "handmade answer", "answer", "full answer", "empty"],
)
def test_a_token_inside(blob: bytes, token: bytes) -> None:
    assert inner(blob) == (token, True, False)


@pytest.mark.parametrize("octets", [1, 2, 3, 4])
def test_long_forms_of_the_length(octets: int) -> None:
    assert inner(spnego_init(b"token", octets=octets)) == (b"token", True, False)


@pytest.mark.parametrize(
    "blob",
    [
        spnego_init(),
        spnego_init(hints=True),
        spnego_answer(state=0),
        spnego_answer(state=2),
        spnego_answer(mechanism=OID_NTLMSSP, state=1),
        spnego_answer(state=0, mic=bytes(16)),
        der(0xA1, der(0x30)),
    ],
    ids=["init", "init with hints", "completed", "reject", "mechanism", "mechListMIC", "empty sequence"],
)
def test_no_token_inside(blob: bytes) -> None:
    assert inner(blob) == (b"", True, False)
    assert token_of(blob)["kind"] == TokenKind.WITHOUT_TOKEN


@pytest.mark.parametrize(
    "blob",
    [b"", ntlm_negotiate(), kerberos_request(), b"garbage that is long enough", bytes(30), b"\x60", b"\xa1"],
    ids=["empty", "NTLMSSP", "Kerberos", "garbage", "zeros", "60", "a1"],
)
def test_not_wrapped(blob: bytes) -> None:
    assert inner(blob) == (blob, False, False)


@pytest.mark.parametrize(
    "blob",
    [
        gss(OID_SPNEGO),
        gss(OID_SPNEGO, b"\x05\x00"),
        gss(OID_SPNEGO, der(0xA0, b"no sequence")),
        der(0xA1, der(0x31, der(0xA2, der(0x04, b"token")))),
        der(0xA1),
    ],
    ids=["nothing behind the OID", "NULL", "no sequence", "a set", "empty"],
)
def test_unreadable(blob: bytes) -> None:
    token, wrapped, unreadable = inner(blob)
    assert (token, wrapped, unreadable) == (b"", True, True)
    assert token_of(blob)["kind"] == TokenKind.UNREADABLE


def test_a_token_that_is_no_octet_string_is_none() -> None:
    assert inner(der(0xA1, der(0x30, der(0xA2, der(0x05, b"token"))))) == (b"", True, False)


def test_a_cut_token_is_what_is_there() -> None:
    blob = spnego_init(b"0123456789")
    at = blob.index(b"0123456789")
    for size in range(at, len(blob) + 1):
        assert inner(blob[:size]) == (b"0123456789"[: size - at], True, False)


def test_mechanism_lists_are_not_taken_for_tokens() -> None:
    """Element [2] of NegHints or inside the list is no token; only [2] of the sequence itself is."""
    hints = der(0xA3, der(0x30, der(0xA2, der(0x04, b"wrong"))))
    blob = gss(OID_SPNEGO, der(0xA0, der(0x30, der(0xA0, der(0x30, der(0x06, OID_NTLMSSP))), hints)))
    assert inner(blob) == (b"", True, False)


def test_negoex() -> None:
    arena = np.frombuffer(b"NEGOEXTSNEGOEXT", np.uint8)
    found = spnego.is_negoex(arena, np.array([0, 8, 0]), np.array([8, 15, 7]))
    assert found.tolist() == [True, False, False]


@given(token=st.binary(max_size=200), state=st.sampled_from([None, 0, 1, 2, 3]), mic=st.binary(max_size=16))
def test_what_was_wrapped_is_unwrapped(token: bytes, state: int | None, mic: bytes) -> None:
    assert inner(spnego_answer(token, state=state, mic=mic)) == (token, True, False)
    assert inner(spnego_init(token)) == (token, True, False)


@given(
    blob=st.sampled_from([spnego_init(b"token"), spnego_answer(b"token", state=1, mechanism=OID_NTLMSSP)]),
    size=st.integers(0, 100),
    tail=st.binary(max_size=40),
)
def test_a_blob_that_goes_wrong_somewhere(blob: bytes, size: int, tail: bytes) -> None:
    inner(blob[:size] + tail)


@given(st.binary(max_size=60))
def test_any_bytes(blob: bytes) -> None:
    inner(blob)
    for tag in (b"\x60", b"\xa0", b"\xa1"):
        inner(tag + blob)
