"""Other ways to the services behind named pipes: who opened connections to RPC over TCP and LDAP.

These are not looked into. That they are there says where an answer about SMB alone may fall short: what a client cannot
do through a pipe it may do there, and the other way round.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from analyzer.capture.packets import (
    T_DST_HI,
    T_DST_LO,
    T_DST_PORT,
    T_FLAGS,
    T_SRC_HI,
    T_SRC_LO,
    T_SRC_PORT,
    T_TIME,
    TCP_ACK,
    TCP_SYN,
)
from analyzer.compiled import Table
from analyzer.records import OTHER_WAY, OtherWay, Rows

OF_PORT = {
    135: OtherWay.RPC_MAPPER,
    389: OtherWay.LDAP,
    636: OtherWay.LDAPS,
    3268: OtherWay.GLOBAL_CATALOG,
    3269: OtherWay.GLOBAL_CATALOG,
}
DYNAMIC_FROM = 49152
"""Windows' range of ports for RPC since Vista; before, it was shared with all other programs (1025 to 5000)."""
MAX_PAIRS = 1 << 16
"""Pairs of client and server, by way, that are remembered."""

RECENT_PORTS = 16
"""Ports of a client that are remembered, to know repetitions of an attempt and copies of a packet."""

Pair = tuple[int, int, int, int, int]
"""Client and server in two halves each, and the way."""


@dataclass(slots=True)
class _Told:
    first_ns: int
    last_ns: int
    attempts: int = 0
    recent: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT_PORTS))


class Ways:
    """Fed with all TCP segments of a site, before those of SMB are picked."""

    def __init__(self) -> None:
        self.dropped = 0
        """Attempts of pairs for which there was no room."""
        self._pairs: dict[Pair, _Told] = {}
        self._by_port = np.zeros(65536, dtype=np.uint8)
        self._by_port[DYNAMIC_FROM:] = OtherWay.RPC_DYNAMIC
        for port, way in OF_PORT.items():
            self._by_port[port] = way

    def note(self, segments: Table) -> None:
        """Note the connections that these segments open. A repetition of the same attempt is none."""
        opens = segments[:, T_FLAGS] & (TCP_SYN | TCP_ACK) == TCP_SYN
        opening = segments[opens]
        way = self._by_port[opening[:, T_DST_PORT]]
        for row, its_way in zip(opening[way > 0].tolist(), way[way > 0].tolist(), strict=True):
            pair = (row[T_SRC_HI], row[T_SRC_LO], row[T_DST_HI], row[T_DST_LO], its_way)
            if pair not in self._pairs:
                if len(self._pairs) >= MAX_PAIRS:
                    self.dropped += 1
                    continue
                self._pairs[pair] = _Told(row[T_TIME], row[T_TIME])
            told = self._pairs[pair]
            told.first_ns, told.last_ns = min(told.first_ns, row[T_TIME]), max(told.last_ns, row[T_TIME])
            if row[T_SRC_PORT] not in told.recent:
                told.attempts += 1
                told.recent.append(row[T_SRC_PORT])

    def rows(self) -> Rows:
        """One row a pair and way."""
        return np.array(
            [(*pair, told.attempts, told.first_ns, told.last_ns) for pair, told in self._pairs.items()], dtype=OTHER_WAY
        )
