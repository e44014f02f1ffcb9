"""Scripts to a capture file: many connections at once, each with numbers of its own, in the order of time.

What comes in: scripts, and which script each connection follows. What goes out: a pcap file, written in large pieces.
Memory holds the scripts and the packets of the connections that are open, never their bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
from conversations import OF_CLIENT, OF_SESSION, SESSIONS_PER_CONNECTION
from recorded import CLIENT
from scripts import ETHERNET, IP, RECORD_HEADER, Script

LOST = 0.001  # of the segments with data
LATE = 0.01
FIRST_SECOND = 1_741_000_000
PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
WRITE_BYTES = 32_000_000
CONNECTION = np.dtype([
    ("first_packet", "i8"),  # of its script, in the rows of all scripts
    ("packets", "i8"),
    ("began_us", "i8"),
    ("client_ip", "u4"),
    ("server_ip", "u4"),
    ("client_port", "u2"),
    ("client_isn", "u4"),
    ("server_isn", "u4"),
    ("number", "u4"),        # from 1, by the time at which it began
])  # fmt: skip
EVENT = np.dtype([("at_us", "i8"), ("connection", "i8"), ("packet", "i8")])


class Library(NamedTuple):
    """All scripts in one piece; a named tuple, because compiled code takes those."""

    frames: np.ndarray
    packets: np.ndarray
    marks: np.ndarray
    first_packet: np.ndarray
    """Of each script, and as the last one the number of all packets."""
    sizes: np.ndarray
    """Bytes of each script."""
    durations_us: np.ndarray

    @classmethod
    def of(cls, scripts: list[Script]) -> Library:
        counts = np.array([len(script.packets) for script in scripts])
        sizes = np.array([len(script.frames) for script in scripts])
        marks = np.array([len(script.marks) for script in scripts])
        packets = np.concatenate([script.packets for script in scripts])
        packets["start"] += np.repeat(np.cumsum(sizes) - sizes, counts)
        packets["first_mark"] += np.repeat(np.cumsum(marks) - marks, counts)
        return cls(
            np.concatenate([script.frames for script in scripts]),
            packets,
            np.concatenate([script.marks for script in scripts]),
            np.concatenate([[0], np.cumsum(counts)]),
            sizes,
            np.array([script.duration_us for script in scripts]),
        )


@dataclass
class Written:
    """What a file holds, counted while it is written."""

    bytes: int
    packets: int
    connections: int
    sessions: int = 0
    """That its connections show, if none of their segments are lost."""
    lost: int = 0
    late: int = 0
    seconds: float = 0.0
    """From the first packet to the last, in the capture's own time."""


def plan_connections(
    library: Library, chosen: np.ndarray, server_group: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """CONNECTION rows in order of their beginning. chosen, server_group: script and kind of server of each."""
    count = len(chosen)
    order = rng.permutation(count)
    chosen, server_group = chosen[order], server_group[order]
    open_at_once = max(1, min(2_000, count // 4))
    lasts_us = library.durations_us[chosen].sum() / open_at_once
    clients = int(np.clip(count // 40, 20, 60_000))
    servers = int(np.clip(clients // 20, 4, 64))
    place = rng.permutation(count)
    rows = np.zeros(count, CONNECTION)
    rows["first_packet"] = library.first_packet[chosen]
    rows["packets"] = np.diff(library.first_packet)[chosen]
    rows["began_us"] = np.sort(rng.integers(0, max(1, int(lasts_us)), count)) + FIRST_SECOND * 1_000_000
    rows["client_ip"] = 0x0A100001 + place % clients  # 10.16.0.1 and on
    rows["client_port"] = 49_152 + place // clients % 16_384
    rows["server_ip"] = 0x0A010001 + 256 * server_group + rng.integers(0, servers, count)  # 10.1.GROUP.1 and on
    rows["client_isn"], rows["server_isn"] = rng.integers(0, 1 << 32, (2, count))
    rows["number"] = np.arange(1, count + 1)
    return rows


def late_share(library: Library, connections: np.ndarray, late: float) -> float:
    """How often a segment that can be overtaken has to be, so that `late` of all segments with data are."""
    uses = np.zeros(len(library.packets) + 1, np.int64)
    np.add.at(uses, connections["first_packet"], 1)
    np.add.at(uses, connections["first_packet"] + connections["packets"], -1)
    uses = np.cumsum(uses)[:-1]
    able = uses[library.packets["late_us"] >= 0].sum()
    return min(1.0, late * uses[library.packets["has_data"]].sum() / max(1, able))


def write(
    path: Path,
    library: Library,
    connections: np.ndarray,
    rng: np.random.Generator,
    late: float = LATE,
    lost: float = LOST,
) -> Written:
    """Replay the connections into a pcap file, `late` of their segments out of order and `lost` not in it."""
    total = Written(len(PCAP_HEADER), 0, len(connections))
    first_us = last_us = 0
    with path.open("wb", buffering=0) as file:
        file.write(PCAP_HEADER)
        for events in windows(library, connections, total, rng, late, lost):
            total.bytes += write_events(file, library, connections, events)
            total.packets += len(events)
            first_us, last_us = first_us or int(events["at_us"][0]), int(events["at_us"][-1])
    total.seconds = (last_us - first_us) / 1e6
    return total


def windows(
    library: Library, connections: np.ndarray, total: Written, rng: np.random.Generator, late: float, lost: float
) -> Iterator[np.ndarray]:
    """EVENT rows in the order of time, a piece at a time. Counts in `total` what is lost and late."""
    share = late_share(library, connections, late)
    script = np.searchsorted(library.first_packet, connections["first_packet"])
    part = np.cumsum(library.sizes[script]) // WRITE_BYTES
    starts = np.flatnonzero(np.diff(part, prepend=-1)).tolist()
    waiting = np.zeros(0, EVENT)
    for start, stop in pairwise([*starts, len(connections)]):
        fresh, are_lost, are_late = events_of(library, connections[start:stop], start, share, lost, rng)
        total.lost, total.late = total.lost + are_lost, total.late + are_late
        waiting = np.concatenate([waiting, fresh])
        is_last = stop == len(connections)
        due = np.ones(len(waiting), bool) if is_last else waiting["at_us"] < connections["began_us"][stop]
        events, waiting = waiting[due], waiting[~due]
        if len(events):
            yield events[np.argsort(events["at_us"], kind="stable")]


def events_of(
    library: Library, rows: np.ndarray, first: int, share: float, lost: float, rng: np.random.Generator
) -> tuple[np.ndarray, int, int]:
    """The packets of some connections that the capture shows, unsorted; how many it lost, and how many are late.

    rows: of the connections from number `first`, counted from 0. share: of what can be late, how much is. lost: of the
    segments with data, how many.
    """
    counts = rows["packets"]
    total = int(counts.sum())
    events = np.zeros(total, EVENT)
    events["connection"] = np.repeat(np.arange(first, first + len(rows)), counts)
    shift = rows["first_packet"] - (np.cumsum(counts) - counts)
    events["packet"] = np.arange(total) + np.repeat(shift, counts)
    late_us = library.packets["late_us"][events["packet"]]
    is_late = (late_us >= 0) & (rng.random(total) < share)
    is_lost = library.packets["has_data"][events["packet"]] & (rng.random(total) < lost)
    at_us = np.where(is_late, late_us, library.packets["at_us"][events["packet"]])
    events["at_us"] = at_us + np.repeat(rows["began_us"], counts)
    return events[~is_lost], int(is_lost.sum()), int((is_late & ~is_lost).sum())


def write_events(file, library: Library, connections: np.ndarray, events: np.ndarray) -> int:
    """Write the packets of sorted events; returns their bytes."""
    ends = np.cumsum(library.packets["length"][events["packet"]], dtype=np.int64)
    parts = np.flatnonzero(np.diff(ends // WRITE_BYTES, prepend=-1))
    for start, stop in pairwise([*parts.tolist(), len(events)]):
        size = int(ends[stop - 1] - (ends[start - 1] if start else 0))
        out = np.empty(size, np.uint8)
        fill(out, events[start:stop], connections, library)
        view = memoryview(out)
        while view.nbytes:
            view = view[file.write(view) :]
    return int(ends[-1])


@numba.njit
def _put_be(out, at, size, number):
    for byte in range(size):
        out[at + byte] = (number >> (8 * (size - 1 - byte))) & 0xFF


@numba.njit
def _put_le32(out, at, number):
    for byte in range(4):
        out[at + byte] = (number >> (8 * byte)) & 0xFF


@numba.njit
def _folded(total):
    """The 16-bit checksum of a sum of words."""
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


@numba.njit
def _words(number):
    """What a 32-bit number adds to a sum of words."""
    return (number >> 16) + (number & 0xFFFF)


@numba.njit
def _put_marks(out, at, packet, marks, row):
    """Write the marks of a packet; returns what they add to its checksum."""
    added = 0
    for place in range(packet.first_mark, packet.first_mark + packet.marks):
        mark = marks[place]
        number = np.int64(row.server_ip)
        if mark.of == OF_SESSION:
            number = np.int64(row.number) * SESSIONS_PER_CONNECTION + mark.index
        elif mark.of == OF_CLIENT:
            number = np.int64(row.client_ip)
        value = (number >> mark.shift) & 0xFF
        out[at + mark.offset] = value
        added += value * mark.weight
    return added


@numba.njit
def fill(out, events, connections, library):
    """Copy the frame of each event and fill in what the script left open."""
    at = 0
    for event in events:
        row = connections[event.connection]
        packet = library.packets[event.packet]
        for byte in range(packet.length):
            out[at + byte] = library.frames[packet.start + byte]
        _put_le32(out, at, event.at_us // 1_000_000)
        _put_le32(out, at + 4, event.at_us % 1_000_000)

        source, target = np.int64(row.client_ip), np.int64(row.server_ip)
        own_isn, other_isn = np.int64(row.client_isn), np.int64(row.server_isn)
        port_at = 0
        if packet.sender != CLIENT:
            source, target = target, source
            own_isn, other_isn = other_isn, own_isn
            port_at = 2
        ethernet = at + RECORD_HEADER
        _put_be(out, ethernet, 6, 0x020000000000 | target)
        _put_be(out, ethernet + 6, 6, 0x020000000000 | source)

        ip = ethernet + ETHERNET
        identification = (event.packet * 7 + row.number) & 0xFFFF
        _put_be(out, ip + 4, 2, identification)
        _put_be(out, ip + 12, 4, source)
        _put_be(out, ip + 16, 4, target)
        addresses = _words(source) + _words(target)
        total_length = out[ip + 2] * 256 + out[ip + 3]
        fixed = 0x4500 + 0x4000 + 128 * 256 + packet.protocol
        _put_be(out, ip + 10, 2, _folded(fixed + total_length + identification + addresses))

        transport = ip + IP
        port = np.int64(row.client_port)
        _put_be(out, transport + port_at, 2, port)
        total = np.int64(packet.checksum) + addresses + port + _put_marks(out, at, packet, library.marks, row)
        if packet.protocol == 6:
            sequence = (own_isn + packet.sequence) & 0xFFFFFFFF
            _put_be(out, transport + 4, 4, sequence)
            total += _words(sequence)
            if packet.acknowledges:
                acknowledged = (other_isn + packet.acknowledged) & 0xFFFFFFFF
                _put_be(out, transport + 8, 4, acknowledged)
                total += _words(acknowledged)
            _put_be(out, transport + 16, 2, _folded(total))
        else:
            _put_be(out, transport + 6, 2, _folded(total) or 0xFFFF)  # 0 says that there is no checksum
        at += packet.length
    return at
