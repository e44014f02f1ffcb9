"""Dense numbers for session ids: one number for one session on one server, whatever connection it is used on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analyzer.sessions.joins import NONE, Ints, Keys, mixed


class PairNumbers:
    """Numbers 0, 1, 2 ... for rows of columns (client address, server address), in order of first appearance."""

    def __init__(self) -> None:
        self._hashes: Keys = np.empty(0, dtype=np.uint64)  # sorted
        self._numbers: Ints = np.empty(0, dtype=np.int64)

    def number(self, *columns: npt.NDArray[np.generic]) -> Ints:
        """The number of each row."""
        distinct, first, inverse = np.unique(mixed(*columns), return_index=True, return_inverse=True)
        place = np.searchsorted(self._hashes, distinct)
        known = np.zeros(len(distinct), dtype=bool)
        inside = place < len(self._hashes)
        known[inside] = self._hashes[place[inside]] == distinct[inside]
        new = np.flatnonzero(~known)
        values = np.empty(len(distinct), dtype=np.int64)
        values[known] = self._numbers[place[known]]
        values[new[np.argsort(first[new], kind="stable")]] = np.arange(len(self._hashes), len(self._hashes) + len(new))
        self._hashes = np.insert(self._hashes, place[new], distinct[new])
        self._numbers = np.insert(self._numbers, place[new], values[new])
        return values[inverse]


class SessionNumbers:
    """Numbers 0, 1, 2 ... for (connection, session id), in order of first appearance.

    A binding makes a second connection's id mean the same session (`alias`). Ids of connections that are over are
    forgotten; the numbers stay valid.
    """

    def __init__(self) -> None:
        self._hashes: Keys = np.empty(0, dtype=np.uint64)  # sorted
        self._numbers: Ints = np.empty(0, dtype=np.int64)
        self._connections: Ints = np.empty(0, dtype=np.int64)
        self.count = 0

    def number(
        self, connections: npt.NDArray[np.generic], session_ids: npt.NDArray[np.generic]
    ) -> tuple[Ints, Ints, Ints]:
        """The number of each, `NONE` for session id 0; and of the numbers that are new: connections and places.

        Returns numbers, and for the new numbers in ascending order the place in the arguments where each was met first.
        """
        numbers = np.full(len(connections), NONE, dtype=np.int64)
        some = np.flatnonzero(session_ids != 0)
        hashes = mixed(connections[some], session_ids[some])
        distinct, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        place = np.searchsorted(self._hashes, distinct)
        known = np.zeros(len(distinct), dtype=bool)
        inside = place < len(self._hashes)
        known[inside] = self._hashes[place[inside]] == distinct[inside]
        new = np.flatnonzero(~known)
        new = new[np.argsort(first[new], kind="stable")]
        values = np.empty(len(distinct), dtype=np.int64)
        values[known] = self._numbers[place[known]]
        values[new] = np.arange(self.count, self.count + len(new))
        self.count += len(new)
        self._insert(distinct[new], values[new], connections[some][first[new]].astype(np.int64))
        numbers[some] = values[inverse]
        return numbers, some[first[new]], values[new]

    def alias(self, connection: int, session_id: int, number: int) -> None:
        """From now on this id on this connection is the session `number`."""
        hashed = mixed(np.array([connection]), np.array([session_id], dtype=np.uint64))
        keep = self._hashes != hashed[0]
        self._hashes, self._numbers, self._connections = (
            self._hashes[keep],
            self._numbers[keep],
            self._connections[keep],
        )
        self._insert(hashed, np.array([number]), np.array([connection]))

    def forget(self, is_over: npt.NDArray[np.bool_]) -> None:
        """Drop the ids of connections (by number) that are over."""
        keep = ~is_over[self._connections]
        self._hashes, self._numbers, self._connections = (
            self._hashes[keep],
            self._numbers[keep],
            self._connections[keep],
        )

    def _insert(self, hashes: Keys, numbers: Ints, connections: Ints) -> None:
        joined = np.concatenate([self._hashes, hashes])
        order = np.argsort(joined, kind="stable")
        self._hashes = joined[order]
        self._numbers = np.concatenate([self._numbers, numbers])[order]
        self._connections = np.concatenate([self._connections, connections])[order]
