"""Pieces into pipes, binds and calls out, as plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analyzer.compiled import Form
from analyzer.rpc import pipes as p
from analyzer.wire.texts import Texts

SESSION = 7
ANSWERED = 1000
"""The SMB answer to a piece has a frame so much higher."""
Facts = dict[str, Any]


@dataclass
class Piece:
    """Bytes that went through a pipe. bytes_: of so many, if not all are there."""

    data: bytes
    from_server: bool = False
    after_gap: bool = False
    failed: int = 0
    bytes_: int | None = None
    pipe: int = 0
    order: int | None = None


def asked(*data: bytes, **told: Any) -> Piece:
    """From the client."""
    return Piece(b"".join(data), **told)


def said(*data: bytes, **told: Any) -> Piece:
    """From the server."""
    return Piece(b"".join(data), from_server=True, **told)


@dataclass
class Talk:
    """Pipes that are driven; `binds` and `calls` fill up. Frames count from 1, a piece each."""

    form: Form
    count: int = 1
    frame: int = 0
    binds: list[Facts] = field(default_factory=list)
    calls: list[Facts] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.texts = Texts(self.form)
        self.pipes = p.Pipes(self.texts, self.form)
        self.pipes.add(self.count)
        self.interfaces: list[p.Interface] = []

    def feed(self, *pieces: Piece) -> Talk:
        """All of these at once."""
        # In an arena that ends with the last byte, so that the plain form notices what is read behind it.
        arena = np.frombuffer(bytearray(b"".join(piece.data for piece in pieces)), dtype=np.uint8)
        rows = np.zeros((len(pieces), p.P_WIDTH), dtype=np.int64)
        at = 0
        for row, piece in zip(rows, pieces, strict=True):
            self.frame += 1
            row[p.P_PIPE] = piece.pipe
            row[p.P_FROM_SERVER] = piece.from_server
            row[p.P_AT], row[p.P_SIZE] = at, len(piece.data)
            row[p.P_BYTES] = len(piece.data) if piece.bytes_ is None else piece.bytes_
            row[p.P_FLAGS] = piece.after_gap * p.PIECE_AFTER_GAP | (piece.failed != 0) * p.PIECE_FAILED
            row[p.P_STATUS] = piece.failed
            row[p.P_SESSION], row[p.P_FRAME], row[p.P_TIME] = SESSION, self.frame, self.frame * 1000
            row[p.P_ORDER] = self.frame * 10 if piece.order is None else piece.order
            row[p.P_ANSWER_CAPTURE], row[p.P_ANSWER_FRAME] = 0, self.frame + ANSWERED if piece.failed else -1
            at += len(piece.data)
        self.take(self.pipes.follow(rows, arena))
        return self

    def flush(self) -> Talk:
        """The pipes are given back."""
        self.take(self.pipes.flush(np.arange(self.count)))
        return self

    def take(self, heard: Iterable[p.Heard]) -> None:
        """As plain values."""
        for one in heard:
            self.interfaces = self.pipes.interfaces()
            self.binds += [self._facts(row, BIND) for row in one.binds.tolist()]
            self.calls += [self._facts(row, CALL) for row in one.calls.tolist()]

    def _facts(self, row: list[int], columns: dict[str, Callable[[Talk, list[int]], Any]]) -> Facts:
        return {name: of(self, row) for name, of in columns.items()}

    def interface(self, number: int) -> str | None:
        """Its name or UUID."""
        if number < 0:
            return None
        found = self.interfaces[number]
        return found.name or f"{found.uuid} {found.version}"

    def text(self, code: int) -> str | None:
        """A text, None for none."""
        return self.texts.text(code)


def number(column: int) -> Callable[[Talk, list[int]], int | None]:
    """A column, None for -1."""
    return lambda _, row: None if row[column] == -1 else row[column]


def named(column: int) -> Callable[[Talk, list[int]], str | None]:
    """A column of texts."""
    return lambda talk, row: talk.text(row[column])


RESULTS = {
    value: name.removeprefix("RESULT_").lower()
    for name, value in vars(p).items()
    if name.startswith("RESULT_") and name != "RESULT_SIZE"
}
TRANSFERS = {
    value: name.removeprefix("TRANSFER_").lower() for name, value in vars(p).items() if name.startswith("TRANSFER_")
}

BOTH: dict[str, Callable[[Talk, list[int]], Any]] = {
    "pipe": number(p.O_PIPE),
    "frame": number(p.O_FRAME),
    "answer_frame": number(p.O_ANSWER_FRAME),
    "session": number(p.O_SESSION),
    "interface": lambda talk, row: talk.interface(row[p.O_INTERFACE]),
    "transfer": lambda _, row: TRANSFERS[row[p.O_TRANSFER]],
    "auth": lambda _, row: None if row[p.O_AUTH_TYPE] < 0 else (row[p.O_AUTH_TYPE], row[p.O_AUTH_LEVEL]),
    "result": lambda _, row: RESULTS[row[p.O_RESULT]],
    "code": number(p.O_CODE),
    "name": named(p.O_NAME),
    "call_id": number(p.O_CALL_ID),
}
BIND = BOTH | {"context": number(p.B_CONTEXT), "alter": number(p.B_ALTER)}
CALL = BOTH | {"opnum": number(p.O_OPNUM), "server": named(p.O_SERVER), "level": number(p.O_LEVEL)}


def told(rows: list[Facts], *names: str) -> list[tuple[Any, ...]]:
    """Some of what is known of binds or calls."""
    return [tuple(row[name] for name in names) for row in rows]


def heard(form: Form, *pieces: Piece, count: int = 1) -> Talk:
    """What these pieces give, in one go, and what is left when the pipes are given back."""
    return Talk(form, count).feed(*pieces).flush()
