"""Which TCP segments belong to some connections of the table."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

import numpy as np

from analyzer.capture.packets import (
    T_DST_HI,
    T_DST_LO,
    T_DST_PORT,
    T_SRC_HI,
    T_SRC_LO,
    T_SRC_PORT,
    T_TIME,
)
from analyzer.compiled import Ints, Table
from analyzer.errors import AnalyzerError
from analyzer.groups import Mask, looked_up
from analyzer.sessions.joins import NONE, as_of
from analyzer.summary.uses import SECOND_NS, those
from analyzer.tables import TableSet

BEFORE_NS = 60 * SECOND_NS
"""How long before its first packet that counts a connection may have begun: on a port that is not listed the handshake does
not count, nor does a copy whose clock is behind."""
AFTER_NS = 10 * SECOND_NS
"""How long behind its last packet late repetitions may come."""
IN_FRAGMENTS_NS = 30 * SECOND_NS
"""How far from each other the fragments of a packet may be."""
FAR = 2**62


@dataclass(frozen=True, slots=True)
class Connections:
    """Connections of a site: their ends as a number, and the times between which packets of these ends are theirs."""

    ends: Ints
    first_ns: Ints
    last_ns: Ints

    def own(self, segments: Table) -> Mask:
        """True for the TCP segments that belong to them."""
        source = segments[:, [T_SRC_HI, T_SRC_LO, T_SRC_PORT]]
        target = segments[:, [T_DST_HI, T_DST_LO, T_DST_PORT]]
        ends = _either_way(source, target)
        found = np.isin(ends, self.ends)
        if found.any():
            time = segments[found, T_TIME]
            place = as_of(ends[found], time + 1, self.ends, self.first_ns)
            found[found] = (place >= 0) & (looked_up(self.last_ns, place, NONE) >= time)
        return found

    def are_between(self, first_ns: int, last_ns: int) -> bool:
        """True if packets of theirs may have come between two times."""
        begun, over = self.first_ns - IN_FRAGMENTS_NS, self.last_ns + IN_FRAGMENTS_NS
        return bool(((begun <= last_ns) & (over >= first_ns)).any())


def of_site(rows: TableSet, site: int, chosen: Ints) -> Connections:
    """The connections of a site (a code) whose ids are chosen.

    Where the same ports were used again, packets between two connections belong to the later one if they are near to it.
    """
    found = rows.columns(
        "connections", "connection_id", "site", "client_ip", "client_port", "server_ip", "server_port", "first_seen",
        "last_seen",
    )  # fmt: skip
    found = those(found, found["site"] == site)
    known = np.unique(np.concatenate([found["client_ip"], found["server_ip"]]))
    halves = np.array([_halves(rows.texts.text(code)) for code in known.tolist()], dtype=np.int64).reshape(-1, 2)
    client, server = (
        np.column_stack([halves[np.searchsorted(known, found[f"{end}_ip"])], found[f"{end}_port"]])
        for end in ("client", "server")
    )
    ends = _either_way(client, server)
    begun = np.where(found["first_seen"] >= 0, found["first_seen"], BEFORE_NS)
    over = np.where(found["last_seen"] >= 0, found["last_seen"], FAR)
    order = np.lexsort((begun, ends))
    ends, begun, over = ends[order], begun[order], over[order]
    first, last = begun - BEFORE_NS, over + AFTER_NS
    again = ends[1:] == ends[:-1]
    first[1:] = np.where(again, np.minimum(np.maximum(first[1:], over[:-1] + 1), begun[1:]), first[1:])
    last[:-1] = np.where(again, np.maximum(np.minimum(last[:-1], begun[1:] - 1), over[:-1]), last[:-1])
    mine = np.isin(found["connection_id"][order], chosen)
    return Connections(ends[mine], first[mine], last[mine])


def _either_way(source: Table, target: Table) -> Ints:
    """A number for each pair of endpoints (address in two halves, port), the same in both directions."""
    odd = np.array([0x369DEA0F31A53F85, 0x1B873593CC9E2D51, 0x2545F4914F6CDD1D])
    one, other = (source * odd).sum(axis=1), (target * odd).sum(axis=1)
    pair: Ints = (one ^ (one >> 29)) + (other ^ (other >> 29))
    return pair


def address_of(text: str | None) -> IPv4Address | IPv6Address:
    """An address of the tables. Raises AnalyzerError if it is none: results may be damaged, or anybody's."""
    try:
        return ip_address(text or "")
    except ValueError:
        raise AnalyzerError(f"connections: {text!r} is no address") from None


def _halves(text: str | None) -> tuple[int, int]:
    """An address as a 128-bit number in two signed halves; IPv4 as ::ffff:a.b.c.d."""
    found = address_of(text)
    packed = found.packed if isinstance(found, IPv6Address) else b"\0" * 10 + b"\xff\xff" + found.packed
    return int.from_bytes(packed[:8], "big", signed=True), int.from_bytes(packed[8:], "big", signed=True)
