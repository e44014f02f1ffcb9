"""Security blobs to tokens: what is inside, and in which wrapping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.records import Mechanism, TokenKind
from tests.auth.tokens import token_of, tokens_of
from tests.build import (
    NTLM_ANONYMOUS,
    NTLM_FLAGS,
    OID_KERBEROS,
    OID_NEGOEX,
    OID_NTLMSSP,
    gss,
    kerberos_request,
    ntlm_authenticate,
    ntlm_challenge,
    ntlm_negotiate,
    spnego_answer,
    spnego_init,
)

ANONYMOUS = ntlm_authenticate(lm=b"\0", workstation="PC", flags=NTLM_FLAGS | NTLM_ANONYMOUS, version=(10, 0, 19041))
NEGOEX = b"NEGOEXTS" + bytes(100)

BLOBS: dict[str, tuple[bytes, TokenKind, Mechanism]] = {
    "nothing": (b"", TokenKind.NONE, Mechanism.UNKNOWN),
    "mechanisms only": (spnego_init(), TokenKind.WITHOUT_TOKEN, Mechanism.UNKNOWN),
    "state only": (spnego_answer(state=0), TokenKind.WITHOUT_TOKEN, Mechanism.UNKNOWN),
    "negotiate": (spnego_init(ntlm_negotiate()), TokenKind.NTLM_NEGOTIATE, Mechanism.SPNEGO_NTLMSSP),
    "challenge": (spnego_answer(ntlm_challenge(), state=1), TokenKind.NTLM_CHALLENGE, Mechanism.SPNEGO_NTLMSSP),
    "authenticate": (spnego_answer(ANONYMOUS), TokenKind.NTLM_AUTHENTICATE, Mechanism.SPNEGO_NTLMSSP),
    "raw negotiate": (ntlm_negotiate(), TokenKind.NTLM_NEGOTIATE, Mechanism.NTLMSSP),
    "raw challenge": (ntlm_challenge(), TokenKind.NTLM_CHALLENGE, Mechanism.NTLMSSP),
    "raw authenticate": (ANONYMOUS, TokenKind.NTLM_AUTHENTICATE, Mechanism.NTLMSSP),
    "Kerberos": (
        spnego_init(kerberos_request(), [OID_KERBEROS]),
        TokenKind.KERBEROS_REQUEST,
        Mechanism.SPNEGO_KERBEROS,
    ),
    "raw Kerberos": (kerberos_request(), TokenKind.KERBEROS_REQUEST, Mechanism.KERBEROS),
    "NEGOEX": (spnego_init(NEGOEX, [OID_NEGOEX, OID_NTLMSSP]), TokenKind.NEGOEX, Mechanism.SPNEGO_NEGOEX),
    "own mechanism": (spnego_init(b"something else", [b"\x2a\x03"]), TokenKind.OTHER, Mechanism.OTHER),
    "raw own mechanism": (gss(b"\x2a\x03", b"something else"), TokenKind.OTHER, Mechanism.OTHER),
    "garbage": (b"\xde\xad\xbe\xef" * 5, TokenKind.OTHER, Mechanism.OTHER),
    "no sequence": (b"\xa1\x02\x05\x00", TokenKind.UNREADABLE, Mechanism.UNKNOWN),
}


@pytest.mark.parametrize(("blob", "kind", "mechanism"), BLOBS.values(), ids=BLOBS)
def test_blobs(blob: bytes, kind: TokenKind, mechanism: Mechanism) -> None:
    token = token_of(blob)
    assert (token["kind"], token["mechanism"]) == (kind, mechanism)


def test_a_batch_of_all_of_them() -> None:
    found = tokens_of(*[blob for blob, _, _ in BLOBS.values()])
    assert [(token["kind"], token["mechanism"]) for token in found] == [row[1:] for row in BLOBS.values()]
    assert tokens_of() == []


def test_wrapping_changes_nothing_of_what_is_inside() -> None:
    inside, *wrapped = tokens_of(ANONYMOUS, spnego_answer(ANONYMOUS, state=1), spnego_init(ANONYMOUS))
    assert (inside["user"], inside["lm_is_zero"], inside["nt_size"], inside["workstation"]) == ("", True, 0, "PC")
    for token in wrapped:
        assert token | {"mechanism": Mechanism.NTLMSSP} == inside


def test_the_padding_of_a_blob_is_no_part_of_it() -> None:
    """The last element says where it ends: bytes behind it belong to nothing."""
    assert token_of(spnego_answer(ANONYMOUS) + bytes(5)) == token_of(spnego_answer(ANONYMOUS))


@pytest.mark.parametrize(
    "blob", [ANONYMOUS, spnego_answer(ANONYMOUS), spnego_init(ANONYMOUS)], ids=["raw", "answer", "init"]
)
def test_a_cut_blob_never_becomes_another_claim(blob: bytes) -> None:
    """Taken for another mechanism it would count as credentials: half an NTLMSSP message is not that."""
    allowed = (TokenKind.NTLM_AUTHENTICATE, TokenKind.UNREADABLE, TokenKind.WITHOUT_TOKEN)
    for size in range(1, len(blob)):
        token = token_of(blob[:size], cut=True)
        assert token["kind"] in allowed, size
        assert token["user"] in ("", None), size
        assert token["nt_size"] in (0, -1), size


@given(blob=st.sampled_from([row[0] for row in BLOBS.values()]), size=st.integers(0, 400), cut=st.booleans())
def test_a_blob_that_ends_early(blob: bytes, size: int, cut: bool) -> None:
    seen = [token_of(blob[:size], cut=cut, filling=filling) for filling in (0x00, 0xFF)]
    assert seen[0] == seen[1]


@given(blobs=st.lists(st.binary(max_size=80), max_size=5), cut=st.booleans())
def test_any_bytes(blobs: list[bytes], cut: bool) -> None:
    assert tokens_of(*blobs, cut=cut) == [token_of(blob, cut=cut, filling=0xA1) for blob in blobs]
