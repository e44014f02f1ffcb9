"""Bytes of a capture file, whatever it is compressed with, through two reused buffers that are filled ahead.

One path for files, pipes and compressed input. Mapping files into memory would be no faster here, could not serve
pipes, and would count against the memory that a user sees the process take.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import numpy as np

from analyzer.capture.packets import MAX_PACKET
from analyzer.compiled import Bytes
from analyzer.errors import CaptureError

STDIN = "-"

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
LZ4_MAGIC = b"\x04\x22\x4d\x18"
BZIP2_MAGIC = b"BZh"
XZ_MAGIC = b"\xfd7zXZ\0"
SKIPPABLE_MAGIC = b"\x2a\x4d\x18"
"""Of a frame without data, which zstd and lz4 share; in front of it stands a byte of 50 to 5F. [RFC 8878 3.1.2]"""
SKIPPABLE_SIZE = 64 * 1024
"""The longest skippable frame at the beginning of a file behind which its kind is looked for; `pzstd` writes such."""

SNIFF_SIZE = 512
"""First bytes by which a file's format is told."""
MAX_WINDOW = 2**27
"""The most memory that a zstd or xz file may ask its reader for; `zstd` and `xz` make no larger ones unless told to.
bzip2 takes 4 MB, lz4 4 MB, gzip 32 KB.
"""
XZ_MEMORY = MAX_WINDOW + 2**20
"""Of xz the same, with what its decoder takes besides the window."""

PIECE = 2048
"""Bytes that are decompressed at a time."""
UNPACKED = 4 * 1024 * 1024
"""Bytes that are taken at a time of what came out of a piece. zstd gives all at once: 64 MB at most, and gzip 2 MB."""

BOMB_SIZE = 2**30
BOMB_RATIO = 25_000
"""A file of which more than `BOMB_SIZE` bytes came out, more than `BOMB_RATIO` for each of its own, is read no further.

Captures do not reach it: the largest packet has 262,144 bytes, and a dozen of each (time, sequence number, checksum) can
be foreseen by no compressor. Captures of nothing but zeros in 64 KB packets reach 4,000. Nor do gzip (1,000), lz4 (255)
and xz (7,000) on anything; bzip2 would go up to a million, and zstd to 32,000.
"""

CARRY = MAX_PACKET + 256 * 1024
"""Room in front of each chunk for what the one before left: at most one record with its header and options. What is free
of it serves `links.peel` as well."""
CHUNK = 4 * 1024 * 1024
"""Bytes that are read at a time, at most."""
STEP = 1024 * 1024
"""With so many a file is begun. Reading goes on with fewer or more, so that each time there are some thousand packets: the
tables of these stay in the processor's cache, and the steps between the kernels are few."""


class Source:
    """An open file: its bytes after decompression, and how much of the file itself has been read."""

    def __init__(self, capture: str, raw: BinaryIO, size: int | None) -> None:
        self.capture = capture
        self.size = size  # bytes on disk, None if unknown (a pipe)
        self._raw = raw
        self._counted = _Counted(raw)
        self._failed = ""
        self._errors: tuple[Any, ...] = (OSError,)
        self.compression = _compression(self._counted)
        if self.compression:
            try:
                begin, errors = _DECOMPRESSORS[self.compression]()
            except ImportError as problem:  # Python itself may be built without bzip2 or xz
                raise CaptureError(
                    capture, f"is {self.compression} data, and {problem.name} is not installed"
                ) from problem
            self._errors = (OSError, EOFError, *errors)
            self._unpacked = _Unpacked(self._counted, begin)

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
                self._failed = _reason(problem, self.compression, self.consumed)
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


SPOOLED = 2**30
"""Bytes of standard input that are kept, in case that some of it must be read again."""


class Spool:
    """What standard input brought, as it came, in a temporary file without a name: nothing is left of it.

    If there is more than `SPOOLED`, or no room for it, nothing is kept.
    """

    def __init__(self) -> None:
        self._file: BinaryIO | None = None
        self._size = 0
        self._is_filled = False

    def is_complete(self) -> bool:
        """Whether everything is there to be read again."""
        return self._file is not None

    def close(self) -> None:
        """Let go of what was kept."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def note(self, data: memoryview | bytes) -> None:
        """Keep what comes next."""
        if self._file is None:
            return
        self._size += len(data)
        try:
            if self._size > SPOOLED or self._file.write(data) != len(data):
                raise OSError(errno.EFBIG, "too much")
        except OSError:
            self.close()

    def open(self) -> BinaryIO:
        """Standard input, which is kept from now on; the second time, what was kept."""
        if self._is_filled and self._file is not None:
            self._file.seek(0)
            return self._file
        raw = _standard_input()
        self._is_filled = True
        with contextlib.suppress(OSError):
            self._file = cast(BinaryIO, tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - see `close`
        return cast(BinaryIO, _Spooled(raw, self))


class _Spooled(io.RawIOBase):
    """Standard input, of which all that is read is kept."""

    def __init__(self, raw: BinaryIO, spool: Spool) -> None:
        self._raw = raw
        self._spool = spool

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        step = self._raw.readinto(target) or 0  # type: ignore[attr-defined]
        self._spool.note(memoryview(target)[:step])
        return step


def open_source(capture: str, spool: Spool | None = None) -> Source:
    """Open a file, or standard input for `-`. Raises CaptureError if that fails.

    spool: keeps what standard input brings, or, where it has done so, is read in its stead.
    """
    try:
        if capture == STDIN:
            return Source(capture, spool.open() if spool else _standard_input(), None)
        path = Path(capture)
        raw = path.open("rb", buffering=0)
        if path.is_dir():
            raise IsADirectoryError(21, "is a directory")
        return Source(capture, raw, os.fstat(raw.fileno()).st_size)
    except OSError as problem:
        raise CaptureError(capture, _reason(problem, "", 0)) from problem


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


class _BombError(EOFError):
    """A file of a few bytes that never ends."""


class _Unpacked:
    """The contents of a compressed file: of its gzip members, zstd or lz4 frames, bzip2 or xz streams, one by one.

    What comes out of each small piece is handed out before the next one is looked at: so a file that breaks off, or is
    damaged, gives all that stands before that, which the file objects of the compression libraries do not promise.
    Compression inside compression is left as it is.
    """

    def __init__(self, packed: _Counted, begin: Callable[[], _Decompressor]) -> None:
        self._packed = packed
        self._begin = begin
        self._one: _Decompressor | None = None  # decompresses the current member or frame; None: between two
        self._rest = b""  # what was read beyond its end
        self._ready = memoryview(b"")
        self._given = 0

    def readinto(self, target: memoryview) -> int:
        """Some bytes, 0 at the end. Raises EOFError where the file ends inside a member or frame, or is a bomb."""
        while not self._ready:
            if self._one is not None and not self._one.needs_input:
                piece = b""
            else:
                piece = self._rest or self._packed.read(PIECE)
                self._rest = b""
                if not piece:
                    if self._one is not None:
                        raise EOFError
                    return 0
            if self._one is None:
                piece = piece.lstrip(b"\0")  # padding between streams, and of tapes and disks
                if not piece:
                    continue
                self._one = self._begin()
            self._ready = memoryview(self._one.decompress(piece))
            self._given += len(self._ready)
            if self._one.eof:
                self._rest = self._one.unused_data
                self._one = None
            if self._given > BOMB_SIZE and self._given > BOMB_RATIO * self._packed.consumed:
                raise _BombError
        step = min(len(target), len(self._ready))
        target[:step] = self._ready[:step]
        self._ready = self._ready[step:]
        return step


class _Decompressor(Protocol):
    """What the libraries have in common, or are made to have."""

    @property
    def eof(self) -> bool:
        """The end of the member or frame was reached."""

    @property
    def needs_input(self) -> bool:
        """All that could come out of what was put in has come out."""

    @property
    def unused_data(self) -> bytes:
        """What stands behind the end."""

    def decompress(self, data: bytes) -> bytes:
        """Put more in, get some out."""


class _AllAtOnce:
    """A decompressor whose library hands out all there is (gzip, zstd)."""

    needs_input = True

    def __init__(self, one: Any) -> None:
        self._one = one
        self.decompress = one.decompress

    @property
    def eof(self) -> bool:
        return bool(self._one.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._one.unused_data)


class _Bounded:
    """A decompressor that is told how much to hand out at most (lz4, bzip2, xz)."""

    def __init__(self, one: Any) -> None:
        self._one = one

    def decompress(self, data: bytes) -> bytes:
        return bytes(self._one.decompress(data, UNPACKED))

    @property
    def eof(self) -> bool:
        return bool(self._one.eof)

    @property
    def needs_input(self) -> bool:
        return bool(self._one.needs_input)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._one.unused_data or b"")


Beginning = tuple[Callable[[], _Decompressor], tuple[type[Exception], ...]]
"""How to begin with a member, and what its damage raises."""


def _gzip() -> Beginning:
    from isal import isal_zlib  # noqa: PLC0415 - only for compressed input

    error = cast(type[Exception], isal_zlib.error)
    return lambda: _AllAtOnce(isal_zlib.decompressobj(wbits=31)), (error,)


def _zstd() -> Beginning:
    import zstandard  # noqa: PLC0415

    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    return lambda: _AllAtOnce(decompressor.decompressobj()), (zstandard.ZstdError,)


def _lz4() -> Beginning:
    import lz4.frame  # noqa: PLC0415

    return lambda: _Bounded(lz4.frame.LZ4FrameDecompressor()), (RuntimeError,)


def _bzip2() -> Beginning:
    import bz2  # noqa: PLC0415

    return lambda: _Bounded(bz2.BZ2Decompressor()), (ValueError,)


def _xz() -> Beginning:
    import lzma  # noqa: PLC0415

    return lambda: _Bounded(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)), (lzma.LZMAError,)


_DECOMPRESSORS = {"gzip": _gzip, "zstd": _zstd, "lz4": _lz4, "bzip2": _bzip2, "xz": _xz}


def _compression(file: _Counted) -> str:
    """What a file is compressed with, by its first bytes; empty: with nothing that is known."""
    found = _kind(file.peek(6))
    if found or not _is_skippable(file.peek(8)):
        return found
    size = int.from_bytes(file.peek(8)[4:8], "little")
    return (_kind(file.peek(8 + size + 6)[8 + size :]) if size <= SKIPPABLE_SIZE else "") or "zstd"


def _kind(head: bytes) -> str:
    for magic, name in (
        (GZIP_MAGIC, "gzip"),
        (ZSTD_MAGIC, "zstd"),
        (LZ4_MAGIC, "lz4"),
        (XZ_MAGIC, "xz"),
    ):
        if head.startswith(magic):
            return name
    return "bzip2" if head.startswith(BZIP2_MAGIC) and head[3:4] in b"123456789" and len(head) > 3 else ""


def _is_skippable(head: bytes) -> bool:
    return len(head) == 8 and head[0] & 0xF0 == 0x50 and head[1:4] == SKIPPABLE_MAGIC


def is_compressed(head: bytes) -> bool:
    """True if a file that begins so is unpacked before it is looked at."""
    return bool(_kind(head)) or _is_skippable(head[:8])


def _reason(problem: Exception, compression: str, place: int) -> str:
    """What is wrong. place: how much of the compressed file has been taken in, to within `PIECE` bytes."""
    if isinstance(problem, OSError) and problem.strerror:
        return f"cannot be read: {problem.strerror}"
    where = f"near byte {place:,} of the compressed file"
    if isinstance(problem, _BombError):
        return f"the {compression} data unpacks to more than {BOMB_RATIO:,} times its size, as no capture does: stopped {where}"
    if isinstance(problem, EOFError):
        return f"the {compression} data ends too early, {where}"
    if any(words in str(problem).lower() for words in ("memory usage limit", "too much memory")):
        return f"the {compression} data wants more than {MAX_WINDOW >> 20} MB of memory to be unpacked, {where}"
    return f"the {compression} data is damaged {where}: {problem}"


class Chunks:
    """A source's bytes, chunk by chunk, each behind what the one before left unread.

    `buffer[start:end]` is valid until the next call of `advance`, or longer if that is told to keep it.
    """

    def __init__(self, source: Source, chunk: int = CHUNK) -> None:
        self.source = source
        self._chunk = chunk
        self._step = min(STEP, chunk)
        self.buffer: Bytes = np.zeros(CARRY + chunk, dtype=np.uint8)
        self._other: Bytes | None = None
        self.start = CARRY
        self.end = CARRY
        self.offset = 0  # file offset of buffer[start]

    def size_for(self, packets: int, most: int) -> None:
        """How many bytes to read from now on, where so many packets were in this chunk, and `most` are taken at a time."""
        if packets > most:
            self._step = max(self._step // 2, min(STEP // 4, self._chunk))
        elif packets < most // 4:
            self._step = min(self._step * 2, self._chunk)

    def advance(self, unread: int, keep: Bytes | None = None) -> bool:
        """Go on to the next chunk; the last `unread` bytes of this one stand in front of it. False at the end.

        keep: a buffer in which nothing is changed. Raises CaptureError if the source does, or if `unread` is more than one
        record can take.
        """
        if unread > CARRY:
            raise CaptureError(self.source.capture, "a record is longer than any packet can be", self.offset)
        tail = self.buffer[self.end - unread : self.end].copy()
        buffer = self.buffer
        if buffer is keep:
            buffer = np.zeros_like(buffer) if self._other is None else self._other
        got = self.source.fill(buffer.data[CARRY : CARRY + self._step])
        if got == 0:
            return False
        if buffer is not self.buffer:
            self.buffer, self._other = buffer, self.buffer
        buffer[CARRY - unread : CARRY] = tail
        self.offset += self.end - self.start - unread
        self.start, self.end = CARRY - unread, CARRY + got
        return True

    def close(self) -> None:
        """Close the source."""
        with contextlib.suppress(OSError):
            self.source.close()
