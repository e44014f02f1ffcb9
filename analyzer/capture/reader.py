"""One capture file as blocks of TCP segments, and what there is to say about the file."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from analyzer.capture import foreign, links, pcap, pcapng
from analyzer.capture.fragments import Fragments, no_fragments
from analyzer.capture.packets import (
    C_WIDTH,
    DIRECTION_IN,
    DIRECTION_UNKNOWN,
    L_ROW,
    L_WIDTH,
    N_DIRECTION,
    N_FRAME,
    N_KIND,
    N_PROCESS,
    N_WIDTH,
    NOTE_BLOCK,
    NOTE_COMMENT,
    P_DATA,
    P_HAVE,
    P_PLACE,
    P_SIZE,
    P_WIDTH,
    STOP_BAD,
    STOP_BLOCK,
    STOP_FULL,
    STOP_MORE,
    STOP_NO_INTERFACE,
    T_DST_HI,
    T_DST_LO,
    T_DST_PORT,
    T_FLAGS,
    T_FRAME,
    T_SRC_HI,
    T_SRC_LO,
    T_SRC_PORT,
    T_TIME,
    T_WIDTH,
    TCP_SYN,
    W_BASE,
    W_BIG,
    W_BYTES,
    W_CUT,
    W_DROPS,
    W_DROPS_TOLD,
    W_FIRST,
    W_FRAME,
    W_HEADER,
    W_INTERFACES,
    W_LAST,
    W_LINK,
    W_NANO,
    W_NEED,
    W_NOTES,
    W_POS,
    W_SNAPLEN,
    W_STOP,
    W_WIDTH,
)
from analyzer.capture.source import CARRY, CHUNK, SNIFF_SIZE, STEP, Chunks, Source, Spool, open_source
from analyzer.compiled import Bytes, Kernels, Table
from analyzer.errors import CaptureError, DecodeError

ROWS = 8192
"""Packets walked at a time: their tables then stay in the processor's cache."""
SMALL_FILE = 4 * STEP
"""A file up to this size is not worth a thread that reads ahead."""

MAX_PROCESS_NOTES = 200_000
"""What is kept of a file about the processes of its SMB packets: one for each process of a connection."""

Ends = tuple[int, int, int, int, int, int]


@dataclass(slots=True, kw_only=True)
class Step:
    """What one step of reading found. Rows of the tables point into `buffer`."""

    buffer: Bytes
    packets: Table
    segments: Table
    notes: Table
    noted: int = 0  # rows of `notes`
    processes: list[tuple[int, str]] = field(default_factory=list)  # that notes name by their number; it may still grow
    described: int = 0  # how many of them were when the step was made

    @classmethod
    def empty(cls, notes: int) -> Step:
        """One with room for a step; notes: how many may come with it."""
        sizes = ((ROWS, P_WIDTH), (ROWS, T_WIDTH), (notes, N_WIDTH))
        packets, segments, noted = (np.zeros(size, dtype=np.int64) for size in sizes)
        return cls(buffer=np.empty(0, dtype=np.uint8), packets=packets, segments=segments, notes=noted)


@dataclass(frozen=True, slots=True)
class ProcessNote:
    """A process that a capture tool says packets of an SMB connection belong to, and the first of them.

    ends: address (two halves) and port of the side that the process is on, then of the other one.
    """

    time_ns: int
    frame: int
    ends: Ends
    process_id: int
    name: str | None
    certain_side: bool  # the packet says which way it went; else the sender is taken for the process's side
    running: bool  # known is only what was running when the packet was traced


@dataclass(slots=True, kw_only=True)
class FileFacts:
    """What there is to say about a capture file once it was read."""

    capture: str
    capture_no: int
    format: str = ""
    link_type: str = ""
    packets: int = 0
    bytes: int = 0
    first_ns: int = 0  # 0: no packet with a time
    last_ns: int = 0
    snaplen: int = 0
    truncated_packets: int = 0
    smb_packets: int = 0
    errors: list[str] = field(default_factory=list)
    dropped_packets: int | None = None  # by the file's own statistics; None: it has none
    names: list[tuple[str, str]] = field(default_factory=list)  # address and name, at most `pcapng.MAX_NAMES`
    processes: list[ProcessNote] = field(default_factory=list)  # at most `MAX_PROCESS_NOTES`
    notes_given_up: int = 0  # names and notes beyond these bounds, and blocks with such that contradict themselves


class CaptureReader:
    """An open capture file that gives its TCP segments block by block. Stops at the first error and notes it."""

    def __init__(
        self,
        capture: str,
        capture_no: int = 0,
        *,
        chunk: int = CHUNK,
        fragments: Fragments | None = None,
        spool: Spool | None = None,
    ) -> None:
        self.facts = FileFacts(capture=capture, capture_no=capture_no)
        self.step = Step.empty(1)
        """The last one."""
        self._spare: Step | None = None
        self._keep: Bytes | None = None  # a buffer that is still used by others
        self._rows = 0  # packets of this step
        self._before = 0  # packets before this chunk
        self._look = np.zeros(L_WIDTH, dtype=np.int64)
        self._fragments = no_fragments() if fragments is None else fragments
        self._interfaces = np.zeros((1, pcapng.I_WIDTH), dtype=np.int64)
        self._told = pcapng.Told()
        self._processes_of: dict[Ends, set[tuple[int, str | None]]] = {}  # that were noted of a connection
        self._state = np.zeros(W_WIDTH, dtype=np.int64)
        self._skip = 0
        self._links: set[int] = set()
        self._chunks: Chunks | None = None
        self._source: Source | None = None
        self.is_small = True
        """Not worth a thread that reads ahead."""
        try:
            self._source = open_source(capture, spool)
            size = self._source.size
            self.is_small = size is not None and size <= SMALL_FILE and not self._source.compression
            if size is not None and self.is_small:
                chunk = min(chunk, max(4096, size))
            self._chunks = Chunks(self._source, chunk)
            self._begin(self._chunks, self._source.compression)
        except CaptureError as problem:
            self._note_error(problem)
            self.close()

    @property
    def is_through(self) -> bool:
        """Nothing is left of the last chunk, so the next step is made in another one."""
        return int(self._look[L_ROW]) >= self._rows and int(self._state[W_STOP]) == STOP_MORE

    @property
    def consumed(self) -> int:
        """Bytes of the file on disk that have been read."""
        return self._source.consumed if self._source else 0

    @property
    def last_ns(self) -> int:
        """The latest packet time so far."""
        return int(self._state[W_LAST])

    def read(self, kernels: Kernels, counts: np.ndarray[tuple[int], np.dtype[np.int64]], *, ahead: bool = False) -> int:
        """Make a step: fill `step.segments` with the next TCP segments; returns how many, -1 at the end of the file.

        ahead: by a thread of its own, while others work on the step before: that one is left as it is, and the file is not
        closed. Only where the reader `is_through`.
        """
        self._keep = None
        if ahead:
            self._keep = self.step.buffer
            self.step, self._spare = self._spare or Step.empty(len(self.step.notes)), self.step
        try:
            while self._chunks is not None:
                if self._look[L_ROW] >= self._rows:
                    self._rows = self._walk(kernels, self._chunks)
                    self._look[L_ROW] = 0
                if self._rows > 0:
                    self._note_links()
                    found: int = kernels.peel(
                        self._chunks.buffer,
                        self.step.packets,
                        int(self._look[L_ROW]),
                        self._rows,
                        self.facts.capture_no,
                        self.step.segments,
                        self._look,
                        self._fragments,
                        counts,
                    )
                    return found
                if not self._go_on(self._chunks):
                    break
        except CaptureError as problem:
            self._note_error(problem)
        if not ahead:
            self.close()
        return -1

    def read_packets(self, kernels: Kernels) -> int:
        """Fill `step.packets` with the next packets, whatever they carry; returns how many, -1 at the end of the file.

        A reader is read by this or by `read`, not by both.
        """
        try:
            while self._chunks is not None:
                self._rows = self._walk(kernels, self._chunks)
                if self._rows > 0:
                    self._note_links()
                    return self._rows
                if not self._go_on(self._chunks):
                    break
        except CaptureError as problem:
            self._note_error(problem)
        self.close()
        return -1

    @property
    def section(self) -> int:
        """The section of the file that the packets are in: numbers of interfaces and processes hold in it."""
        return max(0, self._told.section)

    def interface(self, number: int) -> pcapng.Interface:
        """An interface of the section, as the file describes it."""
        if self.facts.format.startswith("pcapng"):
            return self._told.interfaces[number]
        resolution = bytes([9 if self._state[W_NANO] else 6])
        return pcapng.Interface(
            int(self._state[W_LINK]), int(self._state[W_SNAPLEN]), ((pcapng.OPTION_IF_TSRESOL, resolution),)
        )

    def process(self, number: int) -> tuple[int, str] | None:
        """Id and name of a process of the section; None if it does not say which that is."""
        return self._told.processes[number] if number < len(self._told.processes) else None

    def captured(self, row: int) -> pcapng.CapturedPacket:
        """A packet of the last `read_packets`, with all that the file says of it."""
        packet, buffer = self.step.packets[row].tolist(), self.step.buffer
        data, have = packet[P_DATA], packet[P_HAVE]
        begin = packet[P_PLACE] - int(self._state[W_BASE])
        big = bool(self._state[W_BIG])
        if self.facts.format.startswith("pcapng"):
            size = int.from_bytes(buffer[begin + 4 : begin + 8].tobytes(), "big" if big else "little")
            return pcapng.read_packet(buffer[begin : begin + size].tobytes(), big, have)
        ticks = pcap.ticks(buffer[begin : begin + 8].tobytes(), big, bool(self._state[W_NANO]))
        return pcapng.CapturedPacket(0, ticks, buffer[data : data + have].tobytes(), packet[P_SIZE], ())

    def note_processes(self, step: Step, segments: Table) -> None:
        """Keep what the file says of the processes of these segments, which are SMB and of that step."""
        notes = step.notes[: step.noted]
        if not len(notes) or not len(segments):
            return
        place = np.minimum(np.searchsorted(notes[:, N_FRAME], segments[:, T_FRAME]), len(notes) - 1)
        noted = notes[place, N_FRAME] == segments[:, T_FRAME]
        notes, segments = notes[place[noted]], segments[noted]
        # A connection says the same again and again: the first of the same will do, until it begins anew.
        begun = np.cumsum(segments[:, T_FLAGS] & TCP_SYN)
        said = np.column_stack((segments[:, T_SRC_HI : T_DST_PORT + 1], notes[:, N_KIND : N_DIRECTION + 1], begun))
        for row in np.sort(_first_of_each(said)).tolist():
            self._note_process(step, notes[row].tolist(), segments[row].tolist())

    def _note_process(self, step: Step, note: list[int], segment: list[int]) -> None:
        process, name, running = note[N_PROCESS], None, note[N_KIND] == NOTE_COMMENT
        if note[N_KIND] == NOTE_BLOCK:
            if process >= step.described:
                return
            process, known = step.processes[process]
            name = known or None
        # What ran while a packet came in has nothing to do with it. Process 0 is the idle one, or none.
        if process == 0 or (running and note[N_DIRECTION] == DIRECTION_IN):
            return
        sender = (segment[T_SRC_HI], segment[T_SRC_LO], segment[T_SRC_PORT])
        receiver = (segment[T_DST_HI], segment[T_DST_LO], segment[T_DST_PORT])
        ends = (*receiver, *sender) if note[N_DIRECTION] == DIRECTION_IN else (*sender, *receiver)
        if segment[T_FLAGS] & TCP_SYN:
            self._processes_of.pop(ends, None)
        if (process, name) in self._processes_of.get(ends, ()):
            return
        if len(self.facts.processes) == MAX_PROCESS_NOTES:
            self.facts.notes_given_up += 1
            return
        self._processes_of.setdefault(ends, set()).add((process, name))
        certain = note[N_DIRECTION] != DIRECTION_UNKNOWN
        self.facts.processes.append(
            ProcessNote(segment[T_TIME], segment[T_FRAME], ends, process, name, certain, running)
        )

    def close(self) -> None:
        """Close the file and complete the facts about it."""
        if self._chunks is not None:
            self._chunks.close()
            self._chunks = None
        state = self._state
        facts = self.facts
        facts.packets = int(state[W_FRAME])
        facts.bytes = int(state[W_BYTES])
        facts.first_ns = int(state[W_FIRST])
        facts.last_ns = int(state[W_LAST])
        facts.snaplen = int(state[W_SNAPLEN])
        facts.truncated_packets = int(state[W_CUT])
        if self._told.drops_told or state[W_DROPS_TOLD]:
            facts.dropped_packets = max(self._told.dropped, int(state[W_DROPS]))  # two counts of the same losses
        facts.names = list(self._told.names)
        facts.notes_given_up += self._told.given_up
        self._told.given_up = 0
        self._processes_of = {}
        facts.link_type = ", ".join(links.NAMES.get(link, f"link type {link}") for link in sorted(self._links))

    def _begin(self, chunks: Chunks, compression: str) -> None:
        capture = self.facts.capture
        if not chunks.advance(0):
            raise CaptureError(capture, "the file is empty")
        head = bytes(chunks.buffer[chunks.start : min(chunks.end, chunks.start + SNIFF_SIZE)])
        if pcap.sniff(head):
            if len(head) < pcap.FILE_HEADER.size:
                raise CaptureError(capture, "the file ends inside its header", len(head))
            self._state = pcap.start(bytes(chunks.buffer[chunks.start : chunks.end]))
            self.facts.format = "pcap, nanoseconds" if self._state[W_NANO] else "pcap"
            if self._state[W_HEADER] != pcap.RECORD_HEADER_SIZE:
                self.facts.format += ", modified"
            self._links.add(int(self._state[W_LINK]))
        elif pcapng.sniff(head):
            self._state = pcapng.start()
            self._interfaces = pcapng.interface_table()
            self.step = Step.empty(ROWS)
            self.facts.format = "pcapng"
        else:
            if known := foreign.what_it_is(head, compression):
                raise CaptureError(capture, known)
            inside = f", inside {compression}," if compression else ""
            raise CaptureError(capture, f"is no capture file: it begins with {head[:8].hex(' ')}{inside}", 0)
        if compression:
            self.facts.format += f", {compression}"
        self._state[W_POS] += chunks.start
        self._state[W_BASE] = chunks.offset - chunks.start

    def _walk(self, kernels: Kernels, chunks: Chunks) -> int:
        step = self.step
        step.buffer = chunks.buffer
        if not self.facts.format.startswith("pcapng"):
            rows: int = kernels.walk_pcap(chunks.buffer, chunks.end, step.packets, self._state)
            return rows
        rows = kernels.walk_pcapng(chunks.buffer, chunks.end, step.packets, self._state, self._interfaces, step.notes)
        step.noted, step.processes = int(self._state[W_NOTES]), self._told.processes
        step.described = len(step.processes)
        return rows

    def _go_on(self, chunks: Chunks) -> bool:
        """After a walk that found no packet: read a block, or more bytes. False at the end of the file."""
        state = self._state
        stop = int(state[W_STOP])
        if stop == STOP_FULL:
            return True
        if stop == STOP_BAD:
            raise CaptureError(
                self.facts.capture,
                f"the record after packet {state[W_FRAME]:,} claims an impossible length of {state[W_NEED]:,} bytes",
                self._place(),
            )
        if stop == STOP_NO_INTERFACE:
            raise CaptureError(
                self.facts.capture,
                f"the block after packet {state[W_FRAME]:,} is of interface {state[W_NEED]}, which was not described",
                self._place(),
            )
        if stop == STOP_BLOCK and self._take_block(chunks):
            return True
        return self._more(chunks)

    def _place(self) -> int:
        return int(self._state[W_BASE] + self._state[W_POS])

    def _more(self, chunks: Chunks) -> bool:
        state = self._state
        unread = chunks.end - int(state[W_POS])
        place = self._place()
        chunks.size_for(int(state[W_FRAME]) - self._before, ROWS)
        self._before = int(state[W_FRAME])
        if chunks.advance(max(0, unread), self._keep):
            state[W_POS] = chunks.start + max(0, -unread)
            state[W_BASE] = chunks.offset - chunks.start
            return True
        if unread > 0:
            raise CaptureError(
                self.facts.capture,
                f"the file ends inside the record after packet {state[W_FRAME]:,}: "
                f"{state[W_NEED]:,} bytes needed, {unread:,} there",
                place,
            )
        return False

    def _take_block(self, chunks: Chunks) -> bool:
        """Read or pass over a pcapng block that is not a packet. False if more of it must be read first."""
        state = self._state
        at = int(state[W_POS])
        there = bytes(chunks.buffer[at : min(at + 12, chunks.end)])
        if len(there) < 12:
            return False
        is_section = pcapng.sniff(there)
        if is_section:
            order = "big" if there[8:12] == pcapng.BYTE_ORDER_MAGIC.to_bytes(4, "big") else "little"
            size = int.from_bytes(there[4:8], "big" if order == "big" else "little")
        else:
            size = int(state[W_NEED])
        if size < 12 or size % 4:
            raise CaptureError(
                self.facts.capture,
                f"the block after packet {state[W_FRAME]:,} claims an impossible length of {size:,} bytes",
                self._place(),
            )
        kind = int.from_bytes(there[:4], "big" if state[W_BIG] else "little")
        if is_section or kind in pcapng.BLOCKS_READ:
            needed = is_section or kind == pcapng.BLOCK_INTERFACE
            if size > CARRY and not needed:
                self._told.given_up += 1
                state[W_POS] = at + size
                return self._pass_over(chunks) if at + size > chunks.end else True
            if size > CARRY:
                raise CaptureError(
                    self.facts.capture, f"a header block of {size:,} bytes is not believable", self._place()
                )
            if at + size > chunks.end:
                state[W_NEED] = size
                return False
            try:
                pcapng.read_block(bytes(chunks.buffer[at : at + size]), state, self._interfaces, self._told)
            except DecodeError as problem:
                raise CaptureError(self.facts.capture, str(problem), self._place() + problem.offset) from problem
        state[W_POS] = at + size  # possibly behind the end of this chunk
        if at + size > chunks.end:
            return self._pass_over(chunks)
        return True

    def _pass_over(self, chunks: Chunks) -> bool:
        """Go on behind a block that is longer than what has been read."""
        state = self._state
        while int(state[W_POS]) > chunks.end:
            beyond = int(state[W_POS]) - chunks.end
            place = self._place()
            if not chunks.advance(0, self._keep):
                raise CaptureError(
                    self.facts.capture, f"the file ends inside a block: {beyond:,} bytes are missing", place - beyond
                )
            state[W_POS] = chunks.start + beyond
            state[W_BASE] = chunks.offset - chunks.start
        return True

    def _note_links(self) -> None:
        if self.facts.format.startswith("pcapng"):
            self._links.update(self._interfaces[: int(self._state[W_INTERFACES]), pcapng.I_LINK].tolist())

    def _note_error(self, problem: CaptureError) -> None:
        if problem.offset is None and self._state[W_FRAME]:
            problem = CaptureError(problem.capture, f"{problem.reason} (after packet {self._state[W_FRAME]:,})")
        self.facts.errors.append(str(problem))


def _first_of_each(rows: Table) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The place of the first of each kind of row, by a hash: a mistake once in 2^64 costs a note."""
    value = np.zeros(len(rows), dtype=np.uint64)
    for column in rows.T:
        value = (value ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        value ^= value >> np.uint64(29)
    return np.unique(value, return_index=True)[1]


def first_packet_ns(capture: str, kernels: Kernels) -> int:
    """The time of a file's first packet, 0 if it has none or cannot be read: it is then read first, and says so."""
    reader = CaptureReader(capture, chunk=64 * 1024)
    reader.read(kernels, np.zeros(C_WIDTH, dtype=np.int64))
    reader.close()
    return reader.facts.first_ns
