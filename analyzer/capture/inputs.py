"""What the user named, as capture files; and several files as one continuing capture.

Files are read in the order of their first packets. While the times of several overlap, their packets are taken in the
order of time; a packet that two of them hold is counted once (see `transport.pick`).
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analyzer.capture import foreign, pcap, pcapng
from analyzer.capture.ahead import Ahead
from analyzer.capture.datagrams import nothing_overheard
from analyzer.capture.fragments import no_fragments, still_under_way
from analyzer.capture.packets import C_DATAGRAMS, C_INCOMPLETE, C_WIDTH, T_TIME
from analyzer.capture.reader import CaptureReader, Step, first_packet_ns
from analyzer.capture.source import CHUNK, SNIFF_SIZE, STDIN, STEP, Spool, is_compressed
from analyzer.compiled import Kernels, Table
from analyzer.errors import UsageError

SUFFIXES = (".pcap", ".pcapng", ".cap", ".dmp", ".ntar", ".trc")
COMPRESSED = (".gz", ".zst", ".zstd", ".lz4", ".bz2", ".xz")
MAX_OPEN = 128
"""Files whose times overlap that are read side by side; beyond that the first to begin is read to its end."""


@dataclass(frozen=True, slots=True)
class Input:
    """A file to read: its path as the user would write it, and the folder that makes it a site of its own."""

    capture: str
    site: str


def find_captures(paths: list[str]) -> list[Input]:
    """The capture files that paths, folders (with all below them) and patterns name; each once, in the order found.

    A file that is named is taken whatever it is, so that it can be complained about; in a folder, files that neither
    begin like captures (also of kinds that cannot be read) nor end their names so are passed over. Links that lead
    nowhere are taken there by their names, as files that cannot be read. Raises UsageError for a name that leads nowhere.
    """
    found: dict[str, Input] = {}

    def add(file: Path) -> None:
        found.setdefault(os.path.realpath(file), Input(str(file), as_text(str(file.parent))))

    for name in paths:
        path = Path(name)
        if name == STDIN:
            found.setdefault(name, Input(name, name))
            continue
        matches = [path] if path.exists() else [Path(match) for match in sorted(glob.glob(name, recursive=True))]
        matches = [match for match in matches if match.exists()]  # `none/**` gives `none/`
        if not matches:
            raise UsageError(f"{name}: no such file or folder, and no file matches it as a pattern")
        for match in matches:
            if match.is_dir():
                files = [file for file in sorted(match.rglob("*")) if file.is_file() or _leads_nowhere(file)]
                inside = [file for file in files if looks_like_capture(file)]
                if not inside:
                    raise UsageError(f"{name}: no capture files in this folder or below it")
                for file in inside:
                    add(file)
            else:
                add(match)
    return list(found.values())


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def as_text(path: str) -> str:
    """A path as text for tables: bytes in it that are no characters, as Linux allows them, are spelt out."""
    return path.encode("utf-8", "backslashreplace").decode()


def looks_like_capture(path: Path) -> bool:
    """True if a file in a folder is worth opening: by its name, or by its first bytes."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    if suffixes and suffixes[-1] in SUFFIXES:
        return True
    if len(suffixes) != len(path.suffixes):
        return False
    try:
        with path.open("rb") as file:
            head = file.read(SNIFF_SIZE)
    except OSError:
        return False
    return not is_compressed(head) and (pcap.sniff(head) or pcapng.sniff(head) or foreign.is_capture(head))


def in_time_order(inputs: list[Input], kernels: Kernels) -> list[tuple[int, Input]]:
    """The inputs with the times of their first packets (nanoseconds), in that order.

    Standard input, which cannot be read twice, comes first, as does a file without a packet.
    """
    if len(inputs) < 2:
        return [(0, item) for item in inputs]
    timed = [(0 if item.capture == STDIN else first_packet_ns(item.capture, kernels), item) for item in inputs]
    return sorted(timed, key=lambda pair: pair[0])


@dataclass(slots=True)
class Block:
    """TCP segments `first` to `end` - 1 of a step's table, in time order; they are there until the next block."""

    reader: CaptureReader
    step: Step
    first: int
    end: int

    @property
    def segments(self) -> Table:
        return self.step.segments[self.first : self.end]


class CaptureSequence:
    """Several files, in time order, as one sequence of blocks.

    While a file is open alone, its next step is made by another thread. That thread and this one never read at a time: what
    they find is the same, in the same order, whichever does it.

    kernels: asked for at each step, since the caller may change from plain to compiled in between.
    """

    def __init__(
        self,
        inputs: list[tuple[int, Input]],
        first_no: int,
        kernels: Callable[[], Kernels],
        counts: np.ndarray[tuple[int], np.dtype[np.int64]],
        spool: Spool | None = None,
    ) -> None:
        """spool: takes what standard input brings, or gives it once more."""
        self._spool = spool
        self._waiting = [(begins, item.capture, first_no + n) for n, (begins, item) in enumerate(inputs)][::-1]
        self._kernels = kernels
        self._counts = counts
        self._open: list[_Open] = []
        self._ahead = Ahead()
        self._ahead_in: _Open | None = None  # the file whose next step is being made
        self._fragments = no_fragments()  # of one packet, they may lie in two files
        self.readers: list[CaptureReader] = []
        self.overheard = nothing_overheard()

    @property
    def consumed(self) -> int:
        """Bytes of all files on disk that have been read."""
        return sum(reader.consumed for reader in self.readers)

    def blocks(self) -> Iterator[Block]:
        """All segments of all files."""
        try:
            while self._open or self._waiting:
                self._open_all_begun()
                if len(self._open) == 1:
                    file = self._open[0]
                    yield Block(file.reader, file.step, file.first, file.end)
                    file.first = file.end
                elif self._open:
                    yield from self._merged()
                self._open = [file for file in self._open if self._refill(file)]
        finally:
            self._ahead.stop()
        self._counts[C_INCOMPLETE] += still_under_way(self._fragments)

    def close(self) -> None:
        """Leave off before the end."""
        with suppress(Exception):
            self._settle()
        self._ahead.stop()
        for reader in self.readers:
            reader.close()

    def _open_all_begun(self) -> None:
        """Open the next file, and those that begin before what could then be handed out ends."""
        while self._waiting:
            begins, capture, capture_no = self._waiting[-1]
            if self._open and (len(self._open) >= MAX_OPEN or begins > min(file.reaches() for file in self._open)):
                return
            self._settle()
            self._waiting.pop()
            reader = CaptureReader(
                capture,
                capture_no,
                chunk=CHUNK if not self._open else STEP // 4,
                fragments=self._fragments,
                spool=self._spool,
            )
            self.readers.append(reader)
            file = _Open(reader)
            if self._refill(file):
                self._open.append(file)

    def _settle(self) -> None:
        """Wait for what is being read ahead."""
        if self._ahead_in is not None:
            file, self._ahead_in = self._ahead_in, None
            file.found = self._ahead.result()

    def _refill(self, file: _Open) -> bool:
        """Read on in a file of which no segments are left; False at its end."""
        reader = file.reader
        while file.first >= file.end:
            self._settle()
            found, file.found = file.found, None
            if found is None:
                found = reader.read(self._kernels(), file.counts)
            if found < 0:
                reader.close()
                return False
            file.step, file.first, file.end = reader.step, 0, found
            aside = int(file.counts[C_DATAGRAMS])
            self._counts += file.counts
            file.counts[:] = 0
            if reader.is_through and not reader.is_small and not [other for other in self._open if other is not file]:
                self._ahead_in = file
                self._ahead.begin(lambda: reader.read(self._kernels(), file.counts, ahead=True))
            if aside:
                self._kernels().keep_datagrams(file.step.buffer, file.step.segments, aside, self.overheard)
        return True

    def _merged(self) -> Iterator[Block]:
        """The segments of all open files up to where the first of them must read on."""
        limit = min(file.reaches() for file in self._open)
        clocks = [file.clock() for file in self._open]
        clocks = [clock[: np.searchsorted(clock, limit, side="right")] for clock in clocks]
        owners = np.repeat(np.arange(len(clocks)), [len(clock) for clock in clocks])
        owners = owners[np.argsort(np.concatenate(clocks), kind="stable")]
        begin = 0
        for end in (np.flatnonzero(np.diff(owners, append=-1)) + 1).tolist():
            file = self._open[int(owners[begin])]
            yield Block(file.reader, file.step, file.first, file.first + end - begin)
            file.first += end - begin
            begin = end


class _Open:
    """An open file with the segments that were read and not yet handed out."""

    def __init__(self, reader: CaptureReader) -> None:
        self.reader = reader
        self.step = reader.step
        self.first = 0
        self.end = 0
        self.counts = np.zeros(C_WIDTH, dtype=np.int64)  # of the step that is being made
        self.found: int | None = None  # what the step that was made ahead found

    def clock(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The times of the waiting segments, made to run forward: a file keeps its own order."""
        return np.maximum.accumulate(self.step.segments[self.first : self.end, T_TIME])

    def reaches(self) -> int:
        """The time up to which this file's segments are known."""
        return int(self.clock()[-1]) if self.first < self.end else 0
