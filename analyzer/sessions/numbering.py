"""Dense numbers for session ids: one number for one session on one server, whatever connection it is used on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analyzer.compiled import Form, Ints, plain_kernels
from analyzer.sessions.joins import nones, places_of
from analyzer.sessions.lookup import Keep, Numbers, keys


class PairNumbers:
    """Numbers 0, 1, 2 ... for rows of columns (client address, server address), in order of first appearance."""

    def __init__(self, form: Form = plain_kernels) -> None:
        self._numbers = Numbers(4, form)

    def number(self, *columns: npt.NDArray[np.generic]) -> Ints:
        """The number of each row."""
        return self._numbers.number(keys(*columns))[0]


class SessionNumbers:
    """Numbers 0, 1, 2 ... for (connection, session id), in order of first appearance.

    A binding makes a second connection's id mean the same session (`alias`). Ids of connections that are over are
    forgotten; the numbers stay valid.
    """

    def __init__(self, form: Form = plain_kernels, is_alive: Keep | None = None) -> None:
        """is_alive: told numbers of connections, says which of them are not over."""
        self._numbers = Numbers(2, form, is_alive)

    def find(self, connections: Ints, ids: Ints) -> Ints:
        """The number of each session that was met before, `NONE` for others."""
        return self._numbers.find(keys(connections, ids))

    @property
    def count(self) -> int:
        """Numbers given so far."""
        return self._numbers.count

    def skip(self, count: int) -> Ints:
        """Numbers of sessions that have no id."""
        first = self._numbers.count
        self._numbers.count += count
        return np.arange(first, first + count)

    def number(self, connections: npt.NDArray[np.generic], session_ids: npt.NDArray[np.generic]) -> tuple[Ints, Ints]:
        """The number of each, `NONE` for session id 0.

        Returns also, for the new numbers in ascending order, the place in the arguments where each was met first.
        """
        numbers = nones(len(connections))
        some = places_of(session_ids != 0)
        numbers[some], first = self._numbers.number(keys(connections[some], session_ids[some]))
        return numbers, some[first]

    def alias(self, connections: Ints, session_ids: Ints, numbers: Ints) -> None:
        """From now on these ids on these connections are the sessions `numbers`; of several the last counts."""
        self._numbers.set(keys(connections, session_ids), numbers)
