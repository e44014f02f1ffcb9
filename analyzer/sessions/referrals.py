"""Servers that the answers to DFS referrals name, counted by client, server and name: whoever asked, also with credentials."""

from __future__ import annotations

import numpy as np

from analyzer.compiled import Ints
from analyzer.records import CallProtocol, Protocol, Rows
from analyzer.sessions.joins import Growing
from analyzer.sessions.lookup import NONE
from analyzer.sessions.names import PerText
from analyzer.sessions.pairing import Paired
from analyzer.sessions.state import REFERRED
from analyzer.smb.dfs import machine_of
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
    asks[asked["row"][asked["protocol"] == CallProtocol.DFS]] = True
    answer = told["row"].astype(np.int64)
    request = paired.request[answer]
    alone = (request < 0) & (paired.messages["protocol"][answer] == Protocol.SMB2)
    return told[paired.ready[answer] & (asks[request] | alone)]


class ReferralCounter:
    """Counts them; one for each site."""

    def __init__(self, texts: Texts, most: int = MAX_REFERRED) -> None:
        self._rows = Growing(REFERRED)
        self._row_of: dict[tuple[int, int], int] = {}
        self._most = most
        self._machine = PerText(lambda code: texts.code(machine_of(texts.text(code) or "")))
        self._nobody = texts.code("")
        self.given_up = 0

    def add(self, paired: Paired, told: Rows, pair_of: Ints) -> None:
        """Count names. told: rows of `records.REFERRAL` with a target; pair_of: client and server of each connection."""
        messages = paired.messages
        named = self._machine(told["target"])
        told, named = told[named != self._nobody], named[named != self._nobody]
        answer = told["row"].astype(np.int64)
        asked = np.full(len(messages) + 1, NONE, dtype=np.int64)
        requests = paired.bodies["call_requests"]
        asked[requests["row"]] = requests["name"]
        pair, time = pair_of[messages["connection"][answer]], messages["time_ns"][answer]
        order = np.lexsort((messages["frame"][answer], messages["capture_no"][answer], time, named, pair))
        begins = np.flatnonzero(np.diff(pair[order], prepend=NONE) | np.diff(named[order], prepend=NONE))
        for first, end in zip(begins.tolist(), [*begins[1:].tolist(), len(order)], strict=True):
            at, last = order[first], order[end - 1]
            # An answer may name several folders of a server.
            answers = len(np.unique(answer[order[first:end]]))
            row = self._row(int(pair[at]), int(named[at]))
            if row is None:
                self.given_up += answers
                continue
            counted = self._rows.rows[row : row + 1]
            if not counted["answers"][0] or time[at] < counted["first_ns"][0]:
                counted["target"], counted["asked"] = told["target"][at], asked[paired.request[answer[at]]]
                counted["first_ns"] = time[at]
                counted["capture_no"], counted["frame"] = (
                    messages[name][answer[at]] for name in ("capture_no", "frame")
                )
            counted["last_ns"] = max(int(counted["last_ns"][0]), int(time[last]))
            counted["answers"] += answers

    def _row(self, pair: int, named: int) -> int | None:
        """The row of a name; None if there are too many."""
        row = self._row_of.get((pair, named))
        if row is None and len(self._rows) < self._most:
            new = np.zeros(1, dtype=REFERRED)
            new["pair"], new["named"] = pair, named
            row = self._row_of[pair, named] = int(self._rows.add(new)[0])
        return row

    def finish(self) -> Rows:
        """All counts (`REFERRED`)."""
        return self._rows.rows
