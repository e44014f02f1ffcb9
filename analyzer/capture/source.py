"""Bytes of a capture file, whatever it is compressed with, through two reused buffers that are filled ahead.

One path for files, pipes and compressed input. Mapping files into memory would be no faster here, could not serve
pipes, and would count against the memory that a user sees the process take.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from analyzer.capture.packets import MAX_PACKET
from analyzer.compiled import Bytes
from analyzer.errors import CaptureError

STDIN = "-"

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
SNIFF_SIZE = 64
MAX_WINDOW = 2**27
"""The most memory that a zstd file may ask its reader for; `zstd` itself makes no larger ones unless told to."""

PIECE = 2048
"""Bytes that are decompressed at a time. Each may grow to 128 KB for every 4 of zstd: to 64 MB at most."""

CARRY = MAX_PACKET + 256 * 1024
"""Room in front of each chunk for what the one before left: at most one record with its header and options. What is free
of it serves `links.peel` as well."""
CHUNK = 1024 * 1024


class Source:
    """An open file: its bytes after decompression, and how much of the file itself has been read."""

    def __init__(self, capture: str, raw: BinaryIO, size: int | None) -> None:
        self.capture = capture
        self.size = size  # bytes on disk, None if unknown (a pipe)
        self._raw = raw
        self._counted = _Counted(raw)
        self._failed = ""
        self._errors: tuple[Any, ...] = (OSError,)
        head = self._counted.peek(4)
        self.compression = ""
        if head[:2] == GZIP_MAGIC:
            from isal import isal_zlib  # noqa: PLC0415 - only for compressed input

            self.compression = "gzip"
            self._errors = (OSError, EOFError, isal_zlib.error)
            self._unpacked = _Unpacked(self._counted, lambda: isal_zlib.decompressobj(wbits=31))
        elif head[:4] == ZSTD_MAGIC:
            import zstandard  # noqa: PLC0415 - only for compressed input

            self.compression = "zstd"
            self._errors = (OSError, EOFError, zstandard.ZstdError)
            decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
            self._unpacked = _Unpacked(self._counted, decompressor.decompressobj)

    @property
    def consumed(self) -> int:
        """Bytes of the file on disk that have been read."""
        return self._counted.consumed

    def fill(self, target: memoryview) -> int:
        """Read until `target` is full or the file ends; returns the bytes read.

        Raises CaptureError if the file cannot be read further. What could be read before that is handed out first: the
        error then comes with the next call.
        """
        done = 0
        while done < len(target) and not self._failed:
            try:
                file = self._unpacked if self.compression else self._counted
                step = file.readinto(target[done:])
            except self._errors as problem:
                self._failed = _reason(problem, self.compression)
                break
            if step == 0:
                break
            done += step
        if self._failed and not done:
            raise CaptureError(self.capture, self._failed)
        return done

    def close(self) -> None:
        """Close the file (not standard input)."""
        if self.capture != STDIN:
            self._raw.close()


def open_source(capture: str) -> Source:
    """Open a file, or standard input for `-`. Raises CaptureError if that fails."""
    try:
        if capture == STDIN:
            return Source(capture, _standard_input(), None)
        path = Path(capture)
        raw = path.open("rb", buffering=0)
        if path.is_dir():
            raise IsADirectoryError(21, "is a directory")
        return Source(capture, raw, os.fstat(raw.fileno()).st_size)
    except OSError as problem:
        raise CaptureError(capture, _reason(problem, "")) from problem


def _standard_input() -> BinaryIO:
    """Standard input without Python's buffer: the thread that reads ahead would hold its lock while it waits for more,
    and Python aborts where it cannot have that lock when it ends.
    """
    if sys.stdin is None:
        raise OSError(errno.EBADF, "it is closed")
    buffered: BinaryIO = sys.stdin.buffer
    return getattr(buffered, "raw", buffered)  # what somebody put in its place may have no buffer


class _Counted(io.RawIOBase):
    """A file whose first bytes can be looked at, and that counts what was read."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._head = b""
        self.consumed = 0

    def peek(self, size: int) -> bytes:
        while len(self._head) < size:
            data = self._raw.read(size - len(self._head))
            if not data:
                break
            self._head += data
        return self._head

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        if self._head:
            step = min(len(self._head), len(target))
            target[:step] = self._head[:step]
            self._head = self._head[step:]
        else:
            step = self._raw.readinto(target) or 0  # type: ignore[attr-defined]
        self.consumed += step
        return step


class _Unpacked:
    """The contents of a compressed file: of its gzip members, or zstd frames, one after the other.

    What comes out of each small piece is handed out before the next one is looked at: so a file that breaks off, or is
    damaged, gives all that stands before that, which the file objects of the compression libraries do not promise.
    """

    def __init__(self, packed: _Counted, begin: Callable[[], Any]) -> None:
        self._packed = packed
        self._begin = begin
        self._one: Any = None  # decompresses the current member or frame; None: between two
        self._rest = b""  # what was read beyond its end
        self._ready = memoryview(b"")

    def readinto(self, target: memoryview) -> int:
        """Some bytes, 0 at the end. Raises EOFError where the file ends inside a member or frame."""
        while not self._ready:
            piece = self._rest or self._packed.read(PIECE)
            self._rest = b""
            if not piece:
                if self._one is not None:
                    raise EOFError
                return 0
            if self._one is None:
                if not piece.strip(b"\0"):
                    continue  # padding of tapes and disks
                self._one = self._begin()
            self._ready = memoryview(self._one.decompress(piece))
            if self._one.eof:
                self._rest = self._one.unused_data
                self._one = None
        step = min(len(target), len(self._ready))
        target[:step] = self._ready[:step]
        self._ready = self._ready[step:]
        return step


def _reason(problem: Exception, compression: str) -> str:
    if isinstance(problem, OSError) and problem.strerror:
        return f"cannot be read: {problem.strerror}"
    if isinstance(problem, EOFError):
        return f"the {compression} data ends too early"
    return f"the {compression} data is damaged: {problem}"


class Chunks:
    """A source's bytes, chunk by chunk, each behind what the one before left unread.

    `buffer[start:end]` is valid until the next call of `advance`. With `ahead`, a thread fills the other buffer
    meanwhile.
    """

    def __init__(self, source: Source, chunk: int = CHUNK, ahead: bool = True) -> None:
        self.source = source
        self._chunk = chunk
        self._buffers: list[Bytes] = [np.zeros(CARRY + chunk, dtype=np.uint8) for _ in range(2 if ahead else 1)]
        self.buffer = self._buffers[0]
        self.start = CARRY
        self.end = CARRY
        self.offset = 0  # file offset of buffer[start]
        self._filled: queue.Queue[int | BaseException] = queue.Queue()
        self._wanted: queue.Queue[int | None] = queue.Queue()
        self._turn = 0
        self._ahead = ahead
        if ahead:
            threading.Thread(target=self._fill_ahead, name="read-ahead", daemon=True).start()
            self._wanted.put(0)

    def advance(self, unread: int) -> bool:
        """Go on to the next chunk; the last `unread` bytes of this one stand in front of it. False at the end.

        Raises CaptureError if the source does, or if `unread` is more than one record can take.
        """
        if unread > CARRY:
            raise CaptureError(self.source.capture, "a record is longer than any packet can be", self.offset)
        tail = self.buffer[self.end - unread : self.end].copy()
        if self._ahead:
            got = self._filled.get()
            if isinstance(got, BaseException):
                raise got
            buffer = self._buffers[self._turn]
            self._turn = 1 - self._turn
            if got:
                self._wanted.put(self._turn)
        else:
            buffer = self._buffers[0]
            got = self.source.fill(buffer.data[CARRY:])
        if got == 0:
            self._filled.put(0)
            return False
        buffer[CARRY - unread : CARRY] = tail
        self.offset += self.end - self.start - unread
        self.buffer, self.start, self.end = buffer, CARRY - unread, CARRY + got
        return True

    def _fill_ahead(self) -> None:
        while (turn := self._wanted.get()) is not None:
            try:
                got = self.source.fill(self._buffers[turn].data[CARRY:])
            except BaseException as problem:
                self._filled.put(problem)
                return
            self._filled.put(got)
            if got == 0:
                return

    def close(self) -> None:
        """Stop reading ahead and close the source."""
        self._wanted.put(None)
        with contextlib.suppress(OSError):
            self.source.close()
