"""SPNEGO: where the mechanism's own token lies, in all forms that wrap one, cut and damaged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.auth import columns, spnego
from analyzer.records import Mechanism, TokenKind
from tests.auth.tokens import token_of
from tests.build import (
    OID_KERBEROS,
    OID_NEGOEX,
    OID_NTLMSSP,
    OID_SPNEGO,
    der,
    gss,
    kerberos_request,
    ntlm_authenticate,
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
    fields = np.zeros((columns.C_FIELDS, 1), dtype=np.int64)
    spnego.unwrap_spnego(memoryview(blob + b"\xa2" * 16), 0, len(blob), fields.data, 0)  # type: ignore[arg-type]
    start, end = int(fields[columns.C_START, 0]), int(fields[columns.C_END, 0])
    assert 0 <= start <= end <= len(blob)
    return blob[start:end], bool(fields[columns.C_WRAPPED, 0]), bool(fields[columns.C_BROKEN, 0])


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
    memory = memoryview(b"NEGOEXTSNEGOEXT")
    places = [(0, 8), (8, 15), (0, 7), (0, 15)]
    found = [spnego.is_negoex(memory, at, end) for at, end in places]  # type: ignore[arg-type]
    assert found == [1, 0, 0, 1]


# All nestings. #

MECHANISMS = der(0xA0, der(0x30, der(0x06, OID_KERBEROS), der(0x06, OID_NTLMSSP)))
FLAGS = der(0xA1, der(0x03, b"\x00\x36"))
TOKEN = der(0xA2, der(0x04, b"token"))
HINTS = der(0xA3, der(0x30, der(0xA0, der(0x1B, b"not_defined_in_RFC4178@please_ignore"))))
MIC = bytes(range(16))


@pytest.mark.parametrize(
    "blob",
    [
        gss(OID_SPNEGO, der(0xA0, der(0x30, MECHANISMS, TOKEN))),
        gss(OID_SPNEGO, der(0xA0, der(0x30, MECHANISMS, FLAGS, TOKEN, der(0xA3, der(0x04, MIC))))),
        gss(OID_SPNEGO, der(0xA0, der(0x30, MECHANISMS, FLAGS, TOKEN, HINTS, der(0xA4, der(0x04, MIC))))),
        gss(OID_SPNEGO, der(0xA0, der(0x30, TOKEN))),
        gss(OID_SPNEGO, der(0xA1, der(0x30, TOKEN))),
        der(0xA0, der(0x30, MECHANISMS, TOKEN)),
        der(0xA1, der(0x30, TOKEN, der(0xA3, der(0x04, MIC)))),
        der(0xA1, der(0x30, der(0xA3, der(0x04, MIC)), TOKEN)),
        spnego_init(spnego_init(b"token")),
        spnego_answer(spnego_init(b"token")),
    ],
    ids=[
        "NegTokenInit",
        "flags and mechListMIC",  # [RFC 4178 4.2.1]
        "NegTokenInit2",  # [MS-SPNG 2.2.1]
        "no mechanisms",
        "framed NegTokenResp",
        "bare NegTokenInit",
        "NegTokenResp with mechListMIC",
        "in another order",
        "twice",
        "in an answer",
    ],
)
def test_nestings(blob: bytes) -> None:
    assert inner(blob) == (b"token", True, False)


def test_nesting_has_an_end() -> None:
    blob = b"token"
    for depth in range(1, 6):
        blob = spnego_init(blob)
        if depth <= spnego.MAX_NESTING:
            assert inner(blob) == (b"token", True, False)
        else:
            assert inner(blob)[0].endswith(b"token")
            assert len(inner(blob)[0]) > len(b"token")


def test_ntlmssp_in_the_frame_of_a_gss_token() -> None:
    """[RFC 2743 3.1] asks every mechanism for it; NTLMSSP does without, yet nothing keeps anybody from sending it."""
    assert inner(gss(OID_NTLMSSP, ntlm_negotiate())) == (ntlm_negotiate(), False, False)
    assert inner(spnego_init(gss(OID_NTLMSSP, ntlm_negotiate()))) == (ntlm_negotiate(), True, False)
    assert token_of(gss(OID_NTLMSSP, ntlm_negotiate()))["kind"] == TokenKind.NTLM_NEGOTIATE
    assert token_of(gss(OID_NTLMSSP, b"something else"))["kind"] == TokenKind.OTHER


@pytest.mark.parametrize(
    "mechanisms",
    [[OID_NTLMSSP], [OID_KERBEROS, OID_NTLMSSP], [OID_NEGOEX, OID_KERBEROS, OID_NTLMSSP], []],
    ids=["one", "Kerberos first", "NEGOEX first", "none"],
)
def test_the_token_itself_tells_its_mechanism(mechanisms: list[bytes]) -> None:
    token = token_of(spnego_init(ntlm_negotiate(), mechanisms))
    assert (token["kind"], token["mechanism"]) == (TokenKind.NTLM_NEGOTIATE, Mechanism.SPNEGO_NTLMSSP)


# Tokens that go on in the next message. #

AUTHENTICATE = ntlm_authenticate("User", domain="Domain", workstation="PC", lm=bytes(24), nt=bytes(300))


@pytest.mark.parametrize("wrap", [spnego_init, spnego_answer], ids=["init", "answer"])
def test_the_first_part_of_a_split_token(wrap: Callable[[bytes], bytes]) -> None:
    """Its names and the sizes of its responses are facts; that the responses lie behind its end is no contradiction."""
    blob = wrap(AUTHENTICATE)
    for size in range(blob.index(b"P\0C\0") + 4, len(blob)):
        token = token_of(blob[:size])
        assert token["continues"], size
        assert token["kind"] == TokenKind.NTLM_AUTHENTICATE
        assert (token["user"], token["domain"], token["workstation"]) == ("User", "Domain", "PC")
        assert (token["lm_size"], token["nt_size"]) == (24, 300)
    assert not token_of(blob)["continues"]


@pytest.mark.parametrize("wrap", [spnego_init, spnego_answer], ids=["init", "answer"])
def test_a_split_token_makes_no_other_claim(wrap: Callable[[bytes], bytes]) -> None:
    blob = wrap(AUTHENTICATE)
    for size in range(1, len(blob)):
        token = token_of(blob[:size])
        if size > 5:  # the outermost length is there
            assert token["continues"], size
            assert token["kind"] in (TokenKind.NTLM_AUTHENTICATE, TokenKind.UNREADABLE, TokenKind.WITHOUT_TOKEN), size
        assert token["user"] in ("User", None), size
        assert token["nt_size"] in (300, -1), size


def test_a_capture_that_ends_early_is_no_split_token() -> None:
    assert not token_of(spnego_answer(AUTHENTICATE)[:150], cut=True)["continues"]


def test_the_second_part_of_a_split_token_is_nothing_known() -> None:
    """It has no frame of its own. Only who sees both messages knows what it is."""
    rest = spnego_init(AUTHENTICATE)[200:]
    token = token_of(rest)
    assert (token["kind"], token["user"], token["continues"]) == (TokenKind.OTHER, None, False)


def test_a_raw_message_has_no_length_of_its_own() -> None:
    token = token_of(AUTHENTICATE[:150])
    assert (token["kind"], token["continues"]) == (TokenKind.UNREADABLE, False)


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
