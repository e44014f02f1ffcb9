"""Capture files to plain lists, for the tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

import numpy as np

from analyzer.capture import packets as p
from analyzer.capture.reader import CaptureReader, FileFacts
from analyzer.compiled import Bytes, Kernels, Table, plain_kernels

End = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Seen:
    """A TCP segment as the analyzer read it."""

    capture_no: int
    frame: int
    time_ns: int
    place: int
    source: End
    target: End
    seq: int
    ack: int
    flags: int
    payload: bytes
    size: int


@dataclass(slots=True)
class Read:
    """What was read of a file."""

    segments: list[Seen]
    facts: FileFacts
    counts: np.ndarray[tuple[int], np.dtype[np.int64]]

    @property
    def payloads(self) -> list[bytes]:
        """Of all its segments."""
        return [segment.payload for segment in self.segments]

    @property
    def times(self) -> list[int]:
        """Of all its segments, in nanoseconds."""
        return [segment.time_ns for segment in self.segments]

    @property
    def error(self) -> str:
        """The one error of the file."""
        assert len(self.facts.errors) == 1, self.facts.errors
        return self.facts.errors[0]


def no_counts() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Counters at zero."""
    return np.zeros(p.C_WIDTH, dtype=np.int64)


def end_of(high: int, low: int, port: int) -> End:
    """An address from its two signed halves, and a port."""
    address = IPv6Address(high % 2**64 << 64 | low % 2**64)
    return str(address.ipv4_mapped or address), port


def seen_of(table: Table, buffer: Bytes) -> list[Seen]:
    """Rows of a segment table."""
    return [
        Seen(
            capture_no=row[p.T_FILE],
            frame=row[p.T_FRAME],
            time_ns=row[p.T_TIME],
            place=row[p.T_PLACE],
            source=end_of(row[p.T_SRC_HI], row[p.T_SRC_LO], row[p.T_SRC_PORT]),
            target=end_of(row[p.T_DST_HI], row[p.T_DST_LO], row[p.T_DST_PORT]),
            seq=row[p.T_SEQ],
            ack=row[p.T_ACK],
            flags=row[p.T_FLAGS],
            payload=buffer[row[p.T_DATA] : row[p.T_DATA] + row[p.T_HAVE]].tobytes(),
            size=row[p.T_SIZE],
        )
        for row in table.tolist()
    ]


def read_file(path: Path, kernels: Kernels | None = None, *, chunk: int = 1 << 20, capture_no: int = 0) -> Read:
    """Read a whole file."""
    counts = no_counts()
    reader = CaptureReader(str(path), capture_no, chunk=chunk)
    found: list[Seen] = []
    while (rows := reader.read(kernels or plain_kernels(), counts)) >= 0:
        found += seen_of(reader.step.segments[:rows], reader.step.buffer)
    return Read(found, reader.facts, counts)


def read_bytes(folder: Path, data: bytes, kernels: Kernels | None = None, *, chunk: int = 1 << 20) -> Read:
    """Read a file of these bytes."""
    path = folder / "capture"
    path.write_bytes(data)
    return read_file(path, kernels, chunk=chunk)
