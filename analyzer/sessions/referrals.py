"""Servers that the answers to DFS referrals name, counted by client, server and name: whoever asked, also with credentials."""

from __future__ import annotations

import numpy as np

from analyzer.compiled import Ints
from analyzer.records import CallProtocol, Protocol, Rows
from analyzer.sessions.lookup import NONE
from analyzer.sessions.pairing import Paired
from analyzer.sessions.state import REFERRED
from analyzer.smb.dfs import MAX_MACHINE, machine_of
from analyzer.wire.texts import Texts

MAX_REFERRED = 100_000
"""Rows of all servers and clients; what is named beyond them is counted."""


def referral_answers(paired: Paired) -> Rows:
    """The rows of `records.REFERRAL` that surely belong to a referral, of messages that may be worked off now.

    An answer of SMB 2 says what it answers; of SMB 1 only those are taken whose request asked for a referral.
    """
    told = paired.bodies["referrals"]
    if not len(told):
        return told
    asked = paired.bodies["call_requests"]
    asks = np.zeros(len(paired.messages) + 1, dtype=bool)  # the last item serves `NONE`
    asks[asked["row"][asked["protocol"] == CallProtocol.DFS.value]] = True
    answer = told["row"].astype(np.int64)
    request = paired.request[answer]
    alone = (request < 0) & (paired.messages["protocol"][answer] == Protocol.SMB2.value)
    return told.compress(paired.ready[answer] & (asks[request] | alone))


class ReferralCounter:
    """Counts them; one for each site."""

    def __init__(self, texts: Texts, most: int = MAX_REFERRED) -> None:
        self._texts = texts
        self._row_of: dict[tuple[int, str], int] = {}
        # Of each row what the answer says that stands for all, how many there are, and the times of the first and the last.
        self._least: list[tuple[str, bool, str, int, int, int]] = []
        self._answers: list[int] = []
        self._first_ns: list[int] = []
        self._last_ns: list[int] = []
        self._most = most
        self.given_up = 0

    def add(self, paired: Paired, told: Rows, pair_of: Ints) -> None:
        """Count names. told: rows of `records.REFERRAL`; pair_of: number of client and server of each connection."""
        if not len(told):
            return
        messages = paired.messages
        asked = np.full(len(messages) + 1, NONE, dtype=np.int64)
        requests = paired.bodies["call_requests"]
        asked[requests["row"]] = requests["name"]
        answers = told["row"].astype(np.int64)
        columns = (
            answers,
            told["payload_at"],
            told["payload_size"],
            pair_of[messages["connection"][answers]],
            asked[paired.request[answers]],
            *(messages[name][answers] for name in ("time_ns", "capture_no", "frame")),
        )
        last = NONE
        met: set[str] = set()
        for answer, at, size, pair, path, *when in zip(*(column.tolist() for column in columns), strict=True):
            if answer != last:
                last, met = answer, set()
            target = paired.arena[at : at + size].tobytes().decode("utf-16-le", "replace")
            named = machine_of(target)
            # An answer may name several folders of a server: the first of them counts.
            if named and len(named) <= MAX_MACHINE and named not in met:
                met.add(named)
                time_ns, capture_no, frame = when
                # Which answer stands for all does not depend on when each came: packets may be captured in another order.
                self._count(pair, named, (target, path < 0, self._texts.text(path) or "", time_ns, capture_no, frame))

    def _count(self, pair: int, named: str, said: tuple[str, bool, str, int, int, int]) -> None:
        time_ns = said[3]
        row = self._row_of.get((pair, named))
        if row is None:
            if len(self._least) >= self._most:
                self.given_up += 1
                return
            self._row_of[pair, named] = len(self._least)
            self._least.append(said)
            self._answers.append(1)
            self._first_ns.append(time_ns)
            self._last_ns.append(time_ns)
            return
        self._least[row] = min(self._least[row], said)
        self._answers[row] += 1
        self._first_ns[row] = min(self._first_ns[row], time_ns)
        self._last_ns[row] = max(self._last_ns[row], time_ns)

    def finish(self) -> Rows:
        """All counts (`REFERRED`)."""
        rows = np.zeros(len(self._least), dtype=REFERRED)
        code = self._texts.code
        rows["pair"] = [pair for pair, _ in self._row_of]
        rows["named"] = [code(named) for _, named in self._row_of]
        rows["target"] = [code(said[0]) for said in self._least]
        rows["asked"] = [NONE if said[1] else code(said[2]) for said in self._least]
        rows["answers"], rows["first_ns"], rows["last_ns"] = self._answers, self._first_ns, self._last_ns
        rows["capture_no"], rows["frame"] = [said[4] for said in self._least], [said[5] for said in self._least]
        return rows
