"""Servers that the answers to DFS referrals name, counted by client, server and name: whoever asked, also with credentials."""

from __future__ import annotations

from itertools import groupby

import numpy as np

from analyzer.compiled import Ints
from analyzer.records import CallProtocol, Protocol, Rows
from analyzer.sessions.joins import Growing
from analyzer.sessions.lookup import NONE
from analyzer.sessions.pairing import Paired
from analyzer.sessions.state import REFERRED
from analyzer.smb.dfs import MAX_MACHINE, machine_of
from analyzer.wire.texts import Texts

MAX_REFERRED = 100_000
"""Rows of all servers and clients; what is named beyond them is counted."""
NEVER = np.iinfo(np.int64).max


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
    return told[paired.ready[answer] & (asks[request] | alone)]


class ReferralCounter:
    """Counts them; one for each site."""

    def __init__(self, texts: Texts, most: int = MAX_REFERRED) -> None:
        self._texts = texts
        self._rows = Growing(REFERRED)
        self._row_of: dict[tuple[int, str], int] = {}
        self._least: list[
            tuple[str, bool, str, int, int, int]
        ] = []  # of each row what the answer says that stands for all
        self._most = most
        self.given_up = 0

    def add(self, paired: Paired, told: Rows, pair_of: Ints) -> None:
        """Count names. told: rows of `records.REFERRAL`; pair_of: number of client and server of each connection."""
        messages = paired.messages
        asked = np.full(len(messages) + 1, NONE, dtype=np.int64)
        requests = paired.bodies["call_requests"]
        asked[requests["row"]] = requests["name"]
        places = told[["row", "payload_at", "payload_size"]].tolist()
        for answer, of_answer in groupby(places, key=lambda place: place[0]):
            pair = int(pair_of[messages["connection"][answer]])
            met: set[str] = set()
            for _, at, size in of_answer:
                target = paired.arena[at : at + size].tobytes().decode("utf-16-le", "replace")
                named = machine_of(target)
                # An answer may name several folders of a server: the first of them counts.
                if named and len(named) <= MAX_MACHINE and named not in met:
                    met.add(named)
                    self._count(paired, answer, pair, named, target, int(asked[paired.request[answer]]))

    def _count(self, paired: Paired, answer: int, pair: int, named: str, target: str, asked: int) -> None:
        row = self._row_of.get((pair, named))
        if row is None and len(self._rows) >= self._most:
            self.given_up += 1
            return
        time_ns, capture_no, frame = (int(paired.messages[name][answer]) for name in ("time_ns", "capture_no", "frame"))
        # Which answer stands for all does not depend on when each came: packets may be captured in another order.
        said = (target, asked < 0, self._texts.text(asked) or "", time_ns, capture_no, frame)
        if row is None:
            new = np.zeros(1, dtype=REFERRED)
            new["pair"], new["named"], new["first_ns"] = pair, self._texts.code(named), NEVER
            row = self._row_of[pair, named] = int(self._rows.add(new)[0])
            self._least.append(said)
        rows = self._rows.rows
        if rows["answers"][row] == 0 or said < self._least[row]:
            self._least[row] = said
            rows["target"][row], rows["asked"][row] = self._texts.code(target), asked
            rows["capture_no"][row], rows["frame"][row] = capture_no, frame
        rows["first_ns"][row] = min(int(rows["first_ns"][row]), time_ns)
        rows["last_ns"][row] = max(int(rows["last_ns"][row]), time_ns)
        rows["answers"][row] += 1

    def finish(self) -> Rows:
        """All counts (`REFERRED`)."""
        return self._rows.rows
