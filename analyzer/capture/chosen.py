"""Which packets of capture files belong to what somebody chose; and these packets whole, as their files have them.

The files are walked twice. The first time each packet's TCP segment is looked for in the same way as for an analysis, with
tunnels opened and fragments put together, and the caller says of each segment whether it is wanted; a bit is kept for each
packet. A wanted segment brings along all the packets that it came in, and copies of them. The second time the packets
that were marked are handed out in the order of time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from analyzer.capture.fragments import (
    COPY_NS,
    D_DST_HI,
    D_DST_LO,
    D_ID,
    D_NEXT,
    D_SRC_HI,
    D_SRC_LO,
    D_STATE,
    MAX_AGE_NS,
    WHOLE,
    Fragments,
    no_fragments,
)
from analyzer.capture.inputs import MAX_OPEN
from analyzer.capture.links import LINK_ETHERNET
from analyzer.capture.packets import (
    C_DUPLICATES,
    C_FRAGMENTS,
    C_FRAGMENTS_GIVEN_UP,
    C_TOO_DEEP,
    C_WIDTH,
    L_DST_HI,
    L_DST_LO,
    L_ID,
    L_KIND,
    L_NEXT,
    L_ROW,
    L_SRC_HI,
    L_SRC_LO,
    L_WIDTH,
    P_DATA,
    P_FRAME,
    P_HAVE,
    P_LINK,
    P_TIME,
    T_FRAME,
    T_WIDTH,
)
from analyzer.capture.pcapng import CapturedPacket, Interface
from analyzer.capture.reader import ROWS, CaptureReader, FileFacts
from analyzer.capture.source import CHUNK, STEP
from analyzer.compiled import Bytes, Kernels, Table

Mask = npt.NDArray[np.bool_]
Wanted = Callable[[Table], Mask]
"""Asked of rows of TCP segments which of them are wanted."""

OF_FRAGMENTS = (C_FRAGMENTS, C_DUPLICATES, C_FRAGMENTS_GIVEN_UP)
"""How `peel` counts fragments, and nothing else."""
MET_WITH_FRAGMENTS = [*OF_FRAGMENTS, C_TOO_DEEP]
"""What `peel` has counted more of, wherever it has met fragments."""
MEMBERS = 65_536
"""Packets that are remembered of one fragmented packet: copies of its fragments may be without end."""
GROUPS = 4096
"""Fragmented packets that are remembered at a time, with the packets that they came in; then the older half is forgotten."""


@dataclass(frozen=True, slots=True)
class File:
    """A file to walk: its path, the number by which its packets are told, and the time of its first packet."""

    capture: str
    number: int
    begins_ns: int


class Marks:
    """Packets of one file, a bit each."""

    def __init__(self) -> None:
        self._bits = np.zeros(1024, dtype=np.uint8)
        self.last = 0  # the last that is marked

    def add(self, frames: npt.NDArray[np.int64]) -> None:
        """Mark packets by their numbers."""
        if not len(frames):
            return
        last = int(frames.max())
        if last // 8 >= len(self._bits):
            more = max(last // 8 + 1, 2 * len(self._bits)) - len(self._bits)
            self._bits = np.concatenate([self._bits, np.zeros(more, dtype=np.uint8)])
        np.bitwise_or.at(self._bits, frames >> 3, (1 << (frames & 7)).astype(np.uint8))
        self.last = max(self.last, last)

    def among(self, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """The places of those of these packets that are marked."""
        frames = frames[: np.searchsorted(frames, self.last, side="right")]
        return np.flatnonzero(self._bits[frames >> 3] & (1 << (frames & 7)))

    def count(self) -> int:
        """How many are marked."""
        return int(np.unpackbits(self._bits).sum())


@dataclass(slots=True)
class _Group:
    """The packets that one fragmented packet came in."""

    first_ns: int
    members: list[tuple[int, int]] = field(default_factory=list)  # file and frame
    within: list[_Group] = field(default_factory=list)  # fragmented packets that fragments of it came in
    whole: bool = False
    wanted: bool = False


class Marking:
    """The first walk."""

    def __init__(self, kernels: Kernels, wanted: Wanted) -> None:
        self.marks: dict[int, Marks] = {}
        self.read: dict[int, FileFacts] = {}
        """What there is to say of each file that was walked."""
        self._kernels = kernels
        self._wanted = wanted
        self._counts = np.zeros(C_WIDTH, dtype=np.int64)
        self._look = np.zeros(L_WIDTH, dtype=np.int64)
        self._segments: Table = np.zeros((ROWS, T_WIDTH), dtype=np.int64)
        self._fragments = no_fragments()  # of one packet, they may lie in two files
        self._before = no_fragments()  # what they were when the last block was done
        self._groups: dict[tuple[int, ...], _Group] = {}

    def walk(self, files: list[File], progress: Callable[[int], None] = lambda _: None) -> None:
        """Mark what is wanted of files. Those whose times overlap are read side by side.

        progress: told the bytes that have been read of all files, now and then.
        """
        waiting = sorted(files, key=lambda file: file.begins_ns)[::-1]
        reading: list[tuple[int, int, CaptureReader]] = []  # how far each has come, and its number
        done = 0
        while waiting or reading:
            while waiting and len(reading) < MAX_OPEN and (not reading or waiting[-1].begins_ns <= reading[0][0]):
                file = waiting.pop()
                chunk = CHUNK if not reading else STEP // 4
                heapq.heappush(
                    reading, (file.begins_ns, file.number, CaptureReader(file.capture, file.number, chunk=chunk))
                )
            _, number, reader = heapq.heappop(reading)
            found = reader.read_packets(self._kernels)
            if found < 0:
                done += reader.consumed
                self.read[number] = reader.facts
                continue
            self._mark(reader.step.buffer, reader.step.packets[:found], number)
            progress(done + reader.consumed + sum(each.consumed for _, _, each in reading))
            heapq.heappush(reading, (reader.last_ns, number, reader))

    def _mark(self, buf: Bytes, packets: Table, number: int) -> None:
        fragments_before = self._fragments_met()
        segments = self._peel(buf, packets, 0, len(packets), number)
        if self._fragments_met() == fragments_before:
            frames = segments[self._wanted(segments), T_FRAME]
            self._marks_of(number).add(frames)
            return
        # There are fragments among them: once more, to see which of them go together.
        _restore(self._fragments, self._before)
        came_in: dict[int, list[_Group]] = {}
        parts, begin = [], 0
        for row in (*np.flatnonzero(~_is_plain(buf, packets)).tolist(), len(packets)):
            if row > begin:
                parts.append(self._peel(buf, packets, begin, row, number))
            if row < len(packets):
                parts.append(self._one(buf, packets, row, number, came_in))
            begin = row + 1
        segments = np.concatenate(parts)
        frames = segments[self._wanted(segments), T_FRAME]
        self._marks_of(number).add(frames)
        for frame in frames.tolist():
            for group in came_in.get(frame, ()):
                self._want(group)
        _restore(self._before, self._fragments)

    def _fragments_met(self) -> int:
        return int(self._counts[MET_WITH_FRAGMENTS].sum())

    def _marks_of(self, number: int) -> Marks:
        return self.marks.setdefault(number, Marks())

    def _peel(self, buf: Bytes, packets: Table, first: int, end: int, number: int) -> Table:
        """The TCP segments in some of the packets."""
        parts = []
        while first < end:
            found = self._kernels.peel(
                buf, packets, first, end, number, self._segments, self._look, self._fragments, self._counts
            )
            parts.append(self._segments[:found].copy())
            first = int(self._look[L_ROW])
        return np.concatenate(parts) if parts else self._segments[:0]

    def _one(self, buf: Bytes, packets: Table, row: int, number: int, came_in: dict[int, list[_Group]]) -> Table:
        """The TCP segment in a packet that may be a fragment; which packets it came in goes to `came_in`."""
        met = self._fragments_met()
        were_whole = self._fragments.datagrams[:, D_STATE] == WHOLE
        segments = self._peel(buf, packets, row, row + 1, number)
        if self._fragments_met() == met:
            return segments
        frame, now = int(packets[row, P_FRAME]), int(packets[row, P_TIME])
        outer: list[_Group] = []
        for place in np.flatnonzero((self._fragments.datagrams[:, D_STATE] == WHOLE) & ~were_whole).tolist():
            datagram = self._fragments.datagrams[place]
            group = self._group(datagram[[D_SRC_HI, D_SRC_LO, D_DST_HI, D_DST_LO, D_ID, D_NEXT]].tolist(), now)
            group.whole = True
            self._join(group, (number, frame), outer)
            outer.append(group)
        look = self._look
        if int(look[L_KIND]) in [-1 - counter for counter in OF_FRAGMENTS]:
            key = look[[L_SRC_HI, L_SRC_LO, L_DST_HI, L_DST_LO, L_ID, L_NEXT]].tolist()
            self._join(self._group(key, now), (number, frame), outer)
        came_in[frame] = outer
        return segments

    def _group(self, key: list[int], now: int) -> _Group:
        """The group of a fragment, by the same rules as in `fragments`."""
        name = (*key[:5], key[5] if key[0] == 0 else 0)  # only IPv4 has the protocol in the name
        group = self._groups.get(name)
        if group is None or abs(now - group.first_ns) > (COPY_NS if group.whole else MAX_AGE_NS):
            if len(self._groups) >= GROUPS:
                self._groups = dict(list(self._groups.items())[GROUPS // 2 :])
            self._groups.pop(name, None)
            group = self._groups[name] = _Group(now)
        return group

    def _join(self, group: _Group, packet: tuple[int, int], outer: list[_Group]) -> None:
        if group.wanted:  # a late copy of one of its fragments
            self._marks_of(packet[0]).add(np.array([packet[1]]))
            for other in outer:
                self._want(other)
        elif len(group.members) < MEMBERS:
            group.members.append(packet)
            group.within.extend(outer)

    def _want(self, group: _Group) -> None:
        if group.wanted:
            return
        group.wanted = True
        for number, frame in group.members:
            self._marks_of(number).add(np.array([frame]))
        for other in group.within:
            self._want(other)


def _is_plain(buf: Bytes, packets: Table) -> Mask:
    """True for packets that are no fragments and carry none: TCP in IPv4 in Ethernet, as `links.peel` tells them."""
    at = packets[:, P_DATA]
    plain: Mask = (packets[:, P_LINK] == LINK_ETHERNET) & (packets[:, P_HAVE] >= 34)
    safe = np.where(plain, at, 0)
    plain &= (buf[safe + 12] == 8) & (buf[safe + 13] == 0) & (buf[safe + 14] >> 4 == 4) & (buf[safe + 23] == 6)
    plain &= (buf[safe + 20] & 0x3F == 0) & (buf[safe + 21] == 0)
    return plain


def _restore(target: Fragments, source: Fragments) -> None:
    for name in Fragments._fields:
        np.copyto(getattr(target, name), getattr(source, name))


@dataclass(frozen=True, slots=True)
class Chosen:
    """A packet that was marked. `interface`, `process` ask about numbers in it, until the next packet."""

    number: int  # of its file
    frame: int
    time_ns: int
    section: int
    packet: CapturedPacket
    reader: CaptureReader

    def interface(self) -> Interface:
        """The interface that it was captured on."""
        return self.reader.interface(self.packet.interface)

    def process(self, number: int) -> tuple[int, str] | None:
        """A process that it names."""
        return self.reader.process(number)


def marked_packets(files: list[File], marks: dict[int, Marks], kernels: Kernels) -> Iterator[Chosen]:
    """The marked packets of files, in the order of time; a file keeps its own order."""
    waiting = sorted(
        (file for file in files if file.number in marks and marks[file.number].last), key=lambda f: f.begins_ns
    )
    waiting.reverse()
    ready: list[tuple[int, int, Chosen, Iterator[Chosen]]] = []
    while waiting or ready:
        while waiting and len(ready) < MAX_OPEN and (not ready or waiting[-1].begins_ns <= ready[0][0]):
            file = waiting.pop()
            _put(ready, 0, _of_file(file, marks[file.number], kernels, CHUNK if not ready else STEP // 4))
        if ready:
            clock, _, chosen, rest = heapq.heappop(ready)
            yield chosen
            _put(ready, clock, rest)


def _put(ready: list[tuple[int, int, Chosen, Iterator[Chosen]]], clock: int, rest: Iterator[Chosen]) -> None:
    if (chosen := next(rest, None)) is not None:
        heapq.heappush(ready, (max(clock, chosen.time_ns), chosen.number, chosen, rest))


def _of_file(file: File, marks: Marks, kernels: Kernels, chunk: int) -> Iterator[Chosen]:
    reader = CaptureReader(file.capture, file.number, chunk=chunk)
    try:
        while (found := reader.read_packets(kernels)) >= 0:
            frames = reader.step.packets[:found, P_FRAME]
            for row in marks.among(frames).tolist():
                yield Chosen(
                    file.number,
                    int(frames[row]),
                    int(reader.step.packets[row, P_TIME]),
                    reader.section,
                    reader.captured(row),
                    reader,
                )
            if int(frames[-1]) >= marks.last:
                return
    finally:
        reader.close()
