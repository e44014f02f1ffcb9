"""What the batches of an analysis hold about hosts, gathered on the way.

Datagrams, hardware addresses, servers' answers, and who reached for other services.
"""

from __future__ import annotations

import secrets

import numpy as np

from analyzer.records import DATAGRAM, HARDWARE, OTHER_WAY, Batch, Rows, TokenKind
from analyzer.wire.texts import MISSING, Texts

MAX_ANSWERS = 65_536
"""Different things that servers say of themselves."""

Answer = tuple[int, ...]
"""Address of a server in two halves, and codes of texts as in `ANSWER`."""
ANSWER = ("server_hi", "server_lo", "dns_computer", "netbios_computer", "build", "native_os", "native_lanman")


class Gathered:
    """Fed with all batches of a site."""

    def __init__(self) -> None:
        self.texts = Texts()
        self.datagrams: Rows = np.empty(0, dtype=DATAGRAM)
        self.hardware: Rows = np.empty(0, dtype=HARDWARE)
        self.ways: Rows = np.empty(0, dtype=OTHER_WAY)
        self.answers: dict[Answer, tuple[int, int]] = {}
        """What servers said in answers to logins: names, build and SMB 1 strings, with first and last time."""
        self.dropped = 0
        self._servers = np.zeros((256, 2), dtype=np.int64)
        # Makes one number of an answer, another one in every run, so that no capture can make answers look the same.
        self._mix = np.array([secrets.randbits(63) | 1 for _ in ANSWER], dtype=np.int64)

    def take(self, batch: Batch) -> None:
        """Take in a batch."""
        self.texts = batch.texts
        if len(batch.datagrams):
            self.datagrams = np.concatenate([self.datagrams, batch.datagrams])
        if len(batch.hardware):
            self.hardware = np.concatenate([self.hardware, batch.hardware])
        if len(batch.ways):
            self.ways = np.concatenate([self.ways, batch.ways])
        for rows in (batch.begun, batch.ended):
            if len(rows):
                self._note_servers(rows)
        answers = batch.bodies["setup_answers"]
        if len(answers):
            self._note_answers(batch, answers)

    def _note_servers(self, rows: Rows) -> None:
        needed = int(rows["connection"].max()) + 1
        if needed > len(self._servers):
            room = np.zeros((max(needed, 2 * len(self._servers)), 2), dtype=np.int64)
            room[: len(self._servers)] = self._servers
            self._servers = room
        self._servers[rows["connection"], 0] = rows["server_hi"]
        self._servers[rows["connection"], 1] = rows["server_lo"]

    def _note_answers(self, batch: Batch, answers: Rows) -> None:
        token = answers["token"]
        challenge = token["kind"] == TokenKind.NTLM_CHALLENGE
        codes = [np.where(challenge, token[name], MISSING) for name in ("dns_computer", "netbios_computer", "build")]
        codes += [answers["native_os"], answers["native_lanman"]]
        told = np.flatnonzero(np.max(codes, axis=0) >= 0)
        if not len(told):
            return
        messages = batch.messages[answers["row"][told]]
        servers = self._servers[messages["connection"]]
        keys = np.stack([servers[:, 0], servers[:, 1], *[code[told].astype(np.int64) for code in codes]], axis=1)
        _, at, number = np.unique(keys @ self._mix, return_index=True, return_inverse=True)
        distinct = keys[at]
        first = np.full(len(distinct), np.iinfo(np.int64).max)
        last = np.zeros(len(distinct), dtype=np.int64)
        np.minimum.at(first, number, messages["time_ns"])
        np.maximum.at(last, number, messages["time_ns"])
        for key, begin, end in zip(map(tuple, distinct.tolist()), first.tolist(), last.tolist(), strict=True):
            known = self.answers.get(key)
            if known is None and len(self.answers) >= MAX_ANSWERS:
                self.dropped += 1
                continue
            self.answers[key] = (begin, end) if known is None else (min(begin, known[0]), max(end, known[1]))
