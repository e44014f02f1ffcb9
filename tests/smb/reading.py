"""Messages of both sides through the kernels of this room, to records as plain dictionaries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analyzer.compiled import Kernels
from analyzer.records import Kind
from analyzer.smb.decode import decode
from analyzer.transport.flows import G_MESSAGES
from analyzer.transport.messages import M_PROTOCOL, PROTOCOL_NETBIOS
from analyzer.wire.texts import Texts
from tests.build import Conversation, framed
from tests.transport.following import Following, table_of

TEXTS = frozenset(
    (
        "path", "name", "user", "domain", "native_os", "native_lanman", "dialect", "dialects", "field", "code", "detail",
    )
)  # fmt: skip
"""The fields whose values are codes of texts (but `code` of a call's answer)."""


@dataclass(frozen=True, slots=True)
class Read:
    """What was read: the messages, their bodies by table, and the problems (field and code)."""

    messages: list[dict[str, Any]]
    bodies: dict[str, list[dict[str, Any]]]
    problems: list[tuple[str, str]]
    payloads: dict[str, list[bytes]]
    tokens: dict[str, list[bytes]]

    @property
    def kinds(self) -> list[Kind]:
        """The kind of each message."""
        return [Kind(message["kind"]) for message in self.messages]

    def one(self, table: str) -> dict[str, Any]:
        """The only body of a table."""
        (body,) = self.bodies[table]
        return body


def read(*messages: bytes, kernels: Kernels | None = None) -> Read:
    """SMB messages, each in the direction that its own flag says."""
    talk = Conversation().open()
    for message in messages:
        from_server = message[9] & 0x80 if message[:1] == b"\xff" else message[16] & 1
        (talk.server if from_server else talk.client)(framed(message))
    following = Following(kernels)
    kernels, memory = following.kernels, following.memory
    table, buffer = table_of(talk.segments)
    found = kernels.pick(buffer, table, len(table), memory.ports, following.seen, following.recent, following.counts)
    assert kernels.follow(memory, buffer, table, 0, found) == found
    rows = memory.messages[: memory.state[G_MESSAGES]]
    rows = np.ascontiguousarray(rows[rows[:, M_PROTOCOL] < PROTOCOL_NETBIOS])
    texts = Texts()
    decoded = decode(rows, memory.arena, texts, kernels)
    arena = memory.arena

    def plain(row: Any) -> dict[str, Any]:
        told = {}
        for name in row.dtype.names:
            value = row[name]
            if row.dtype[name].names:
                told[name] = plain(value)
            elif name in TEXTS and row.dtype[name] == np.int32:
                told[name] = None if value < 0 else texts.text(int(value))
            else:
                told[name] = value.item()
        return told

    bodies = {name: [plain(row) for row in table] for name, table in decoded.bodies.items()}
    payloads = {
        name: [arena[row["payload_at"] : row["payload_at"] + row["payload_size"]].tobytes() for row in bodies[name]]
        for name in ("data_requests", "data_answers", "referrals")
    }
    tokens = {
        name: [arena[at:end].tobytes() for at, end in zip(places.start, places.end, strict=True)]
        for name, places in decoded.tokens.items()
    }
    problems = [(str(texts.text(int(row["field"]))), str(texts.text(int(row["code"])))) for row in decoded.problems]
    return Read([plain(row) for row in decoded.messages], bodies, problems, payloads, tokens)
