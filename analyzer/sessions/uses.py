"""What sessions with credentials did, counted; and where it followed an anonymous refusal of the same."""

from __future__ import annotations

import numpy as np

from analyzer.compiled import Form, Ints, Table, entry, plain_kernels
from analyzer.records import Rows
from analyzer.sessions.joins import GrowingTable
from analyzer.sessions.lookup import NONE, Numbers, keys
from analyzer.sessions.state import DISK, USE

HOUR_NS = 3_600_000_000_000
COVER_NS = 60_000_000_000
"""How soon after an anonymous refusal a success with credentials proves that the client does without."""
MAX_REFUSALS = 10_000

# A use before it is counted: rows of a table. #

U_PAIR = 0
U_CONNECTION = 1
U_GUID = 2  # hash of the client GUID, 0: none that tells
U_RESOURCE = 3
U_INTERFACE = 4
U_OPERATION = 5
U_TIME_NS = 6
U_SUCCEEDED = 7
U_CAPTURE_NO = 8
U_FRAME = 9
U_WIDTH = 10

# Refusals that are remembered, a ring. #

R_CONNECTION = 0
R_GUID = 1
R_TIME_NS = 2
R_OLDER = 3  # the refusal of the same use before it, counted from the first of all; -1: none
R_WIDTH = 4

# Counted uses: the columns of `state.USE`. #

N_PAIR = 0
N_RESOURCE = 1
N_INTERFACE = 2
N_OPERATION = 3
N_HOUR = 4
N_USES = 5
N_SUCCEEDED = 6
N_AFTER_REFUSAL = 7
N_FIRST_NS = 8
N_LAST_NS = 9
N_CAPTURE_NO = 10
N_FRAME = 11
N_WIDTH = 12

# Opens on disk shares: an open before it is counted (`O_`), and the counts (`D_`, the columns of `state.DISK`). #

O_SESSION = 0
O_CONNECTION = 1
O_ORDER = 2
O_TREE = 3
O_NAME = 4
O_SUCCEEDED = 5
O_DENIED = 6
O_WIDTH = 7

D_SESSION = 0
D_CONNECTION = 1
D_ORDER = 2
D_TREE = 3
D_OPENS = 4
D_SUCCEEDED = 5
D_DENIED = 6
D_SAMPLES = 7
SAMPLES = 5
D_WIDTH = D_SAMPLES + SAMPLES


@entry
def note_refusals(used: Table, numbers: Ints, ring: Table, newest: Table, before: int) -> int:
    """Remember refused uses. numbers: which use each is, `newest` the last refusal of each. before: refusals so far."""
    for i in range(used.shape[1]):
        row = (before + i) % ring.shape[0]
        ring[row, R_CONNECTION] = used[U_CONNECTION, i]
        ring[row, R_GUID] = used[U_GUID, i]
        ring[row, R_TIME_NS] = used[U_TIME_NS, i]
        ring[row, R_OLDER] = newest[numbers[i], 0]
        newest[numbers[i], 0] = before + i
    return 0


@entry
def follow_refusals(used: Table, numbers: Ints, ring: Table, newest: Table, total: int, follows: Ints) -> int:
    """Set `follows`, which begins with 0, to 1 for successes within a minute of a refusal of the same to the same client.

    numbers: which refused use each is, -1: none. total: refusals so far.
    """
    for i in range(used.shape[1]):
        if numbers[i] < 0 or not used[U_SUCCEEDED, i]:
            continue
        number = newest[numbers[i], 0]
        while number >= 0 and number >= total - ring.shape[0]:
            row = number % ring.shape[0]
            since = used[U_TIME_NS, i] - ring[row, R_TIME_NS]
            same = ring[row, R_CONNECTION] == used[U_CONNECTION, i]
            if used[U_GUID, i] and ring[row, R_GUID] == used[U_GUID, i]:
                same = True
            if same and 0 <= since <= COVER_NS:
                follows[i] = 1
                break
            number = ring[row, R_OLDER]
    return 0


@entry
def count_uses(used: Table, numbers: Ints, follows: Ints, counts: Table) -> int:
    """Add uses to their counts. The first of an hour gives the frame."""
    for i in range(used.shape[1]):
        n = numbers[i]
        time = used[U_TIME_NS, i]
        if not counts[n, N_USES]:
            counts[n, N_PAIR] = used[U_PAIR, i]
            counts[n, N_RESOURCE] = used[U_RESOURCE, i]
            counts[n, N_INTERFACE] = used[U_INTERFACE, i]
            counts[n, N_OPERATION] = used[U_OPERATION, i]
            counts[n, N_HOUR] = time // HOUR_NS
            counts[n, N_LAST_NS] = time
        if not counts[n, N_USES] or time < counts[n, N_FIRST_NS]:
            counts[n, N_FIRST_NS] = time
            counts[n, N_CAPTURE_NO] = used[U_CAPTURE_NO, i]
            counts[n, N_FRAME] = used[U_FRAME, i]
        counts[n, N_LAST_NS] = max(counts[n, N_LAST_NS], time)
        counts[n, N_USES] += 1
        counts[n, N_SUCCEEDED] += used[U_SUCCEEDED, i]
        counts[n, N_AFTER_REFUSAL] += follows[i]
    return 0


@entry
def count_disk_opens(opens: Table, numbers: Ints, counts: Table) -> int:
    """Add opens on disk shares, which come in order, to the counts of their session and tree, with a few names."""
    for i in range(opens.shape[1]):
        n = numbers[i]
        if not counts[n, D_OPENS]:
            counts[n, D_SESSION] = opens[O_SESSION, i]
            counts[n, D_CONNECTION] = opens[O_CONNECTION, i]
            counts[n, D_ORDER] = opens[O_ORDER, i]
            counts[n, D_TREE] = opens[O_TREE, i]
            for sample in range(SAMPLES):
                counts[n, D_SAMPLES + sample] = NONE
        counts[n, D_OPENS] += 1
        counts[n, D_SUCCEEDED] += opens[O_SUCCEEDED, i]
        counts[n, D_DENIED] += opens[O_DENIED, i]
        name = opens[O_NAME, i]
        sample = 0
        while sample < SAMPLES and counts[n, D_SAMPLES + sample] != NONE and counts[n, D_SAMPLES + sample] != name:
            sample += 1
        if name >= 0 and sample < SAMPLES:
            counts[n, D_SAMPLES + sample] = name
    return 0


class UseCounter:
    """Counts uses by client, server, resource, interface, operation and hour."""

    def __init__(self, form: Form = plain_kernels, max_refusals: int = MAX_REFUSALS) -> None:
        self._form = form
        self._numbers = Numbers(3, form)
        self._counts = GrowingTable(N_WIDTH)
        self._refused = Numbers(2, form)
        self._newest = GrowingTable(1)
        self._ring: Table = np.zeros((max_refusals, R_WIDTH), dtype=np.int64)
        self._refusals = 0

    def refused(self, used: Table) -> None:
        """Remember anonymous uses that were refused."""
        if not used.shape[1]:
            return
        numbers, first = self._refused.number(keys(*_what(used)))
        self._newest.add(len(first), NONE)
        self._form().note_refusals(used, numbers, self._ring, self._newest.table, self._refusals)
        self._refusals += used.shape[1]

    def add(self, used: Table) -> None:
        """Count uses with credentials. Call `refused` with those of the same window first."""
        if not used.shape[1]:
            return
        follows = np.zeros(used.shape[1], dtype=np.int64)
        if self._refusals:
            # Who may not open a pipe may not call anything through it either.
            for what in (_what(used), _what(used, resource_only=True)):
                refused = self._refused.find(keys(*what))
                self._form().follow_refusals(used, refused, self._ring, self._newest.table, self._refusals, follows)
        numbers, first = self._numbers.number(keys(*_what(used), used[U_TIME_NS] // HOUR_NS))
        self._counts.add(len(first), 0)
        self._form().count_uses(used, numbers, follows, self._counts.table)

    def finish(self) -> Rows:
        """All counts (`USE`). Nothing can be counted afterwards."""
        del self._numbers, self._refused
        return self._counts.as_rows(USE)


def _what(used: Table, *, resource_only: bool = False) -> tuple[Ints, Ints]:
    """Client, server, resource, interface and operation of uses, as two integers: each of them has 32 bits."""
    pair, resource = used[U_PAIR], used[U_RESOURCE]
    what = (used[U_INTERFACE] << 32) | (used[U_OPERATION] & 0xFFFFFFFF)
    return (pair << 32) | (resource & 0xFFFFFFFF), np.full_like(what, NONE) if resource_only else what


class DiskCounter:
    """Counts opens on disk shares by session and tree."""

    def __init__(self, form: Form = plain_kernels) -> None:
        self._form = form
        self._numbers = Numbers(2, form)
        self._counts = GrowingTable(D_WIDTH)

    def add(self, opens: Table) -> None:
        """Count opens (`O_`)."""
        if not opens.shape[1]:
            return
        opens = np.take(opens, np.argsort(opens[O_ORDER], kind="stable"), axis=1)
        numbers, first = self._numbers.number(keys(opens[O_SESSION], opens[O_TREE]))
        self._counts.add(len(first), 0)
        self._form().count_disk_opens(opens, numbers, self._counts.table)

    def finish(self) -> Rows:
        """All counts (`DISK`)."""
        counts = self._counts.rows
        made = np.zeros(len(counts), dtype=DISK)
        for column, name in enumerate(("session", "connection", "order", "tree", "opens", "succeeded", "denied")):
            made[name] = counts[:, column]
        made["samples"] = counts[:, D_SAMPLES:]
        return made
