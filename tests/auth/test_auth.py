"""Security blobs to tokens: what is inside, and in which wrapping."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer import auth
from analyzer.auth import columns
from analyzer.compiled import compiled_kernels, plain_kernels
from analyzer.records import TEXTS_OF_TOKEN, TOKEN, Mechanism, TokenKind
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


# The forms of the kernels. #

ROOT = Path(__file__).parents[2]
SEED = 20_240_301
FLIPPED = 1500
"""Blobs with wrong bytes that the checked kernels read."""
SHAPES = [row[0] for row in BLOBS.values()]


@given(
    blobs=st.lists(st.one_of(st.sampled_from(SHAPES), st.binary(max_size=80)), min_size=1, max_size=12),
    wrong=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=12),
    size=st.integers(0, 500),
    cut=st.booleans(),
)
def test_plain_and_compiled_kernels_read_the_same(
    blobs: list[bytes], wrong: list[tuple[int, int]], size: int, cut: bool
) -> None:
    """Cut and flipped tokens, and bytes that are none."""
    for number, (place, value) in enumerate(wrong):
        changed = bytearray(blobs[number % len(blobs)])
        if changed:
            changed[place % len(changed)] = value
            blobs[number % len(blobs)] = bytes(changed)
    blobs = [blob[:size] for blob in blobs]
    assert tokens_of(*blobs, cut=cut, form=compiled_kernels) == tokens_of(*blobs, cut=cut, form=plain_kernels)


def test_more_blobs_than_are_read_at_a_time() -> None:
    count = 2 * auth.TOGETHER // len(SHAPES) + 1
    assert tokens_of(*SHAPES * count, form=compiled_kernels) == tokens_of(*SHAPES, form=compiled_kernels) * count


def test_kernels_stay_inside_the_blob(tmp_path: Path) -> None:
    """Compiled with a check of each index, on blobs of which each is an arena of its own, without a spare byte."""
    chance = random.Random(SEED)
    blobs = [blob[:size] for blob in SHAPES for size in range(0, len(blob) + 1, 3)]
    for _ in range(FLIPPED):
        changed = bytearray(chance.choice(SHAPES[1:]))
        for _ in range(chance.choice([1, 2, 8])):
            changed[chance.randrange(len(changed))] = chance.choice([0, 1, 3, 0x30, 0x7F, 0x80, 0x84, 0xA2, 0xFF])
        blobs.append(bytes(changed[: chance.randrange(len(changed) + 1)] if chance.random() < 0.3 else changed))
    source, target = tmp_path / "blobs.json", tmp_path / "outcome.json"
    source.write_text(json.dumps([blob.hex() for blob in blobs]), encoding="utf-8")
    settings = {
        "NUMBA_BOUNDSCHECK": "1",
        "NULLSESSION_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    command = [sys.executable, "-W", "error", str(Path(__file__).with_name("checked_tokens.py")), source, target]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(target.read_text(encoding="utf-8"))
    assert told["caught"]
    for cut in (False, True):
        for blob, found in zip(blobs, told["cut" if cut else "whole"], strict=True):
            assert found == token_of(blob, cut=cut), blob.hex()
    assert told["together"] == told["whole"]


def test_every_field_of_a_token_has_a_column_of_its_own() -> None:
    assert TOKEN.names is not None
    assert {*auth.NUMBERS, *auth.NAMES, *auth.TEXTS} == set(TOKEN.names)
    assert {*auth.NAMES, *auth.TEXTS} == set(TEXTS_OF_TOKEN)
    numbers = [
        value for name, value in vars(columns).items() if name.startswith("C_") and name not in ("C_TEXTS", "C_FIELDS")
    ]
    begins = sorted(numbers)
    assert len(set(numbers)) == len(numbers)
    assert begins[: columns.C_TEXTS] == list(range(columns.C_TEXTS))
    assert begins[columns.C_TEXTS :] == list(range(columns.C_TEXTS, columns.C_FIELDS, 2))
