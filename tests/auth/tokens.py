"""Blobs to tokens, as a dictionary of what the analyzer read."""

from __future__ import annotations

from typing import Any

import numpy as np

from analyzer import auth
from analyzer.compiled import Form, plain_kernels
from analyzer.records import TEXTS_OF_TOKEN, TOKEN, Mechanism, TokenKind
from analyzer.wire.texts import Texts

SPARE = 64
"""Bytes behind the last blob; the filling is not zero, so that reading there would show."""


def tokens_of(
    *blobs: bytes, cut: bool = False, filling: int = 0x5A, form: Form = plain_kernels
) -> list[dict[str, Any]]:
    """What is read from blobs that lie one behind the other in an arena; texts as texts, codes as enumerations."""
    arena = np.full(sum(map(len, blobs)) + SPARE, filling, dtype=np.uint8)
    starts, ends = [], []
    at = 0
    for blob in blobs:
        arena[at : at + len(blob)] = np.frombuffer(blob, np.uint8)
        starts.append(at)
        at += len(blob)
        ends.append(at)
    before = arena.copy()
    texts = Texts(form)
    places = np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64)
    rows = auth.read_tokens(arena, *places, np.full(len(blobs), cut), texts)
    assert np.array_equal(arena, before)
    assert len(rows) == len(blobs)
    return [_readable(row, texts) for row in rows]


def token_of(blob: bytes, *, cut: bool = False, filling: int = 0x5A, form: Form = plain_kernels) -> dict[str, Any]:
    """What is read from one blob."""
    return tokens_of(blob, cut=cut, filling=filling, form=form)[0]


def _readable(row: np.void, texts: Texts) -> dict[str, Any]:
    assert TOKEN.names is not None
    read: dict[str, Any] = {name: row[name].item() for name in TOKEN.names}
    for name in TEXTS_OF_TOKEN:
        read[name] = texts.text(read[name])
    read["kind"] = TokenKind(read["kind"])
    read["mechanism"] = Mechanism(read["mechanism"])
    return read
