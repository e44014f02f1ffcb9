"""Bytes of files: compressed or not, cut, damaged, and in chunks."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import lz4.frame
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzer.capture import source
from analyzer.capture.source import (
    CARRY,
    MAX_WINDOW,
    STDIN,
    UNPACKED,
    Chunks,
    Source,
    Spool,
    is_compressed,
    open_source,
)
from analyzer.errors import CaptureError

NOISE = random.Random(5).randbytes(700_000)
TEXT = b"".join(b"line %d of a text that can be packed\n" % n for n in range(40_000))
MAGIC = b"\xd4\xc3\xb2\xa1"

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "lz4": lambda data: lz4.frame.compress(data, block_linked=False, block_checksum=True, content_checksum=True),
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
}
UNPACK: dict[str, Callable[[], object]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "bzip2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
}


def source_of(folder: Path, data: bytes) -> Source:
    """A file of these bytes."""
    path = folder / "capture"
    path.write_bytes(data)
    return open_source(str(path))


def all_of(source: Source, step: int = 100_000) -> tuple[bytes, CaptureError | None]:
    """All that can be read, and the error at the end, if any."""
    found = bytearray()
    while True:
        part = bytearray(step)
        try:
            got = source.fill(memoryview(part))
        except CaptureError as problem:
            return bytes(found), problem
        found += part[:got]
        if got < step:
            try:
                assert source.fill(memoryview(part)) == 0
            except CaptureError as problem:
                return bytes(found), problem
            return bytes(found), None


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 99_999, 100_000, 100_001, 700_000])
def test_a_plain_file(tmp_path: Path, size: int) -> None:
    data = (MAGIC + NOISE)[:size]
    source = source_of(tmp_path, data)
    assert (source.compression, source.size) == ("", size)
    assert all_of(source) == (data, None)
    assert source.consumed == size
    source.close()


@pytest.mark.parametrize("parts", [[TEXT], [TEXT[:10], b"", TEXT[10:900_000], TEXT[900_000:]], [NOISE, TEXT]])
@pytest.mark.parametrize("kind", PACK)
def test_compressed_files(tmp_path: Path, kind: str, parts: list[bytes]) -> None:
    """Several gzip members, zstd or lz4 frames, bzip2 or xz streams are one file. [RFC 1952 2.2; RFC 8878 3]"""
    packed = b"".join(PACK[kind](part) for part in parts)
    source = source_of(tmp_path, packed)
    assert (source.compression, source.size) == (kind, len(packed))
    assert all_of(source) == (b"".join(parts), None)
    assert source.consumed == len(packed)


def test_zstd_frames_of_unknown_size_and_skippable_ones(tmp_path: Path) -> None:
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    frame = stream.compress(TEXT) + stream.flush()
    skippable = b"\x50\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"comment"  # [RFC 8878 3.1.2]
    assert all_of(source_of(tmp_path, frame + skippable + frame)) == (TEXT + TEXT, None)


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("padding", [1, 4, 3000])
def test_zeros_between_members_are_passed_over(tmp_path: Path, kind: str, padding: int) -> None:
    """xz allows them, and tapes and disks leave them. [xz file format 2.2]"""
    packed = PACK[kind](TEXT) + bytes(padding) + PACK[kind](NOISE) + bytes(padding)
    assert all_of(source_of(tmp_path, packed)) == (TEXT + NOISE, None)


@pytest.mark.parametrize("kind", ["zstd", "lz4"])
@pytest.mark.parametrize("size", [0, 4, 5000, 65_536])
def test_a_skippable_frame_in_front(tmp_path: Path, kind: str, size: int) -> None:
    """As `pzstd` writes them; the two formats share them. [RFC 8878 3.1.2]"""
    packed = b"\x5e\x2a\x4d\x18" + size.to_bytes(4, "little") + bytes(size) + PACK[kind](TEXT)
    found = source_of(tmp_path, packed)
    assert found.compression == kind
    assert all_of(found) == (TEXT, None)


@pytest.mark.parametrize(
    "data", [b"\x50\x2a\x4d\x18", b"\x50\x2a\x4d\x18\xff\xff\xff\xff", b"\x50\x2a\x4d\x18\4\0\0\0"]
)
def test_nothing_but_a_skippable_frame(tmp_path: Path, data: bytes) -> None:
    found, problem = all_of(source_of(tmp_path, data))
    assert (found, problem is None) in ((data, True), (b"", False))  # four bytes are too few to be one


@pytest.mark.parametrize("kind", PACK)
def test_what_begins_compressed(kind: str) -> None:
    assert is_compressed(PACK[kind](b"x"))
    assert not is_compressed(b"x" + PACK[kind](b"x"))


def test_what_merely_resembles_bzip2(tmp_path: Path) -> None:
    assert source_of(tmp_path, b"BZhello").compression == ""
    assert source_of(tmp_path, b"BZh").compression == ""


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("step", [1_000, 100_000])
def test_cut_compressed_files_give_what_is_there(tmp_path: Path, kind: str, keep: float, step: int) -> None:
    whole = NOISE + TEXT + NOISE
    packed = PACK[kind](whole)
    packed = packed[: int(len(packed) * keep)]
    there = UNPACK[kind]().decompress(packed)  # type: ignore[attr-defined]
    found, problem = all_of(source_of(tmp_path, packed), step)
    assert problem is not None
    assert len(there) - 1_000 < len(found) <= len(there)
    assert there.startswith(found)
    assert str(tmp_path / "capture") in str(problem)
    assert f"the {kind} data ends too early, near byte {len(packed):,} of the compressed file" in str(problem)


@pytest.mark.parametrize("kind", PACK)
def test_damaged_compressed_files(tmp_path: Path, kind: str) -> None:
    """What stands before the damage is there, and where it is found is told."""
    whole = NOISE + TEXT + NOISE + NOISE
    packed = bytearray(PACK[kind](whole))
    begin = len(packed) - 500_000
    packed[begin : begin + 500] = b"\xff" * 500
    found, problem = all_of(source_of(tmp_path, bytes(packed)))
    assert problem is not None
    assert str(tmp_path / "capture") in str(problem)
    assert f"the {kind} data is damaged near byte " in str(problem)
    place = int(str(problem).split("near byte ")[1].split(" ")[0].replace(",", ""))
    assert begin <= place <= len(packed)
    assert found[: len(NOISE)] == NOISE


def test_something_else_behind_a_gzip_member(tmp_path: Path) -> None:
    found, problem = all_of(source_of(tmp_path, gzip.compress(TEXT, mtime=0) + b"this is not gzip"))
    assert len(found) == len(TEXT)
    assert found == TEXT
    assert problem is None or "damaged" in str(problem)


def test_zstd_that_wants_too_much_memory(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(
        window_log=(2 * MAX_WINDOW).bit_length() - 1, write_content_size=False
    )
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    found, problem = all_of(source_of(tmp_path, stream.compress(b"x" * 100) + stream.flush()))
    assert found == b""
    assert problem is not None
    assert str(tmp_path / "capture") in str(problem)


def test_xz_that_wants_too_much_memory(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2 * MAX_WINDOW}]
    found, problem = all_of(source_of(tmp_path, lzma.compress(b"x" * 100, filters=filters)))
    assert found == b""
    assert problem is not None
    assert "xz data wants more than 128 MB of memory" in str(problem)


def test_xz_with_the_largest_window_that_is_allowed(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": MAX_WINDOW}]
    assert all_of(source_of(tmp_path, lzma.compress(TEXT, filters=filters))) == (TEXT, None)


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """200 MB in 150 bytes: a run of zeros, which bzip2 shortens twice."""
    packed = bz2.compress(bytes(200_000_000))
    assert len(packed) < 300
    return packed


def test_a_bomb_stops_at_the_stated_limit(tmp_path: Path, bomb: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BOMB_SIZE", 2**24)
    packed = bz2.compress(NOISE[:100]) + bomb
    given, problem = 0, None
    opened = source_of(tmp_path, packed)
    part = memoryview(bytearray(1_000_000))
    while problem is None:
        try:
            given += opened.fill(part)
        except CaptureError as caught:
            problem = caught
    assert 2**24 - UNPACKED <= given <= 2**24 + UNPACKED
    assert f"unpacks to more than {source.BOMB_RATIO:,} times its size" in str(problem)
    assert "near byte" in str(problem)


def test_a_bomb_takes_no_memory(tmp_path: Path, bomb: bytes) -> None:
    """It is smaller than the limit, and read to its end."""
    opened = source_of(tmp_path, bomb)
    part = memoryview(bytearray(1_000_000))
    tracemalloc.start()
    given = 0
    while got := opened.fill(part):
        given += got
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert given == 200_000_000
    assert peak < 4 * UNPACKED


@pytest.mark.parametrize("kind", PACK)
def test_captures_of_zeros_are_no_bombs(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of zeros copied in packets of 64 KB, of which only a dozen bytes each are not foreseeable."""
    monkeypatch.setattr(source, "BOMB_SIZE", 0)
    chance = random.Random(1)
    data = b"".join(chance.randbytes(12) + bytes(65_280) for _ in range(300))
    assert all_of(source_of(tmp_path, PACK[kind](data))) == (data, None)


@pytest.mark.parametrize("kind", PACK)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(place=st.floats(0, 1), bit=st.integers(0, 7), keep=st.floats(0, 1))
def test_any_flipped_bit_and_any_cut(tmp_path: Path, kind: str, place: float, bit: int, keep: float) -> None:
    """An error, or fewer bytes, or (where the format has no checksum there) other ones; never another exception."""
    whole = TEXT[:60_000]
    packed = bytearray(PACK[kind](whole) * 2)
    packed[int(place * (len(packed) - 1))] ^= 1 << bit
    found, problem = all_of(source_of(tmp_path, bytes(packed[: int(keep * len(packed))])), 10_000)
    assert problem is None or str(tmp_path / "capture") in str(problem)
    assert len(found) < 3 * 1032 * len(packed)


def test_an_error_comes_again(tmp_path: Path) -> None:
    source = source_of(tmp_path, gzip.compress(NOISE, mtime=0)[:1000])
    _, problem = all_of(source)
    assert problem is not None
    with pytest.raises(CaptureError):
        source.fill(memoryview(bytearray(10)))


@pytest.mark.parametrize(("name", "reason"), [("nothing", "No such file"), (".", "directory")])
def test_files_that_cannot_be_opened(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(CaptureError) as caught:
        open_source(str(tmp_path / name))
    assert str(tmp_path / name) in str(caught.value)
    assert reason.lower() in str(caught.value).lower()


# Chunks.


def joined(source: Source, chunk: int, keep: bool, leave: int) -> bytes:
    """A file read in chunks, of each of which `leave` bytes (if it has them) are left for the next.

    keep: the chunk before must not change.
    """
    chunks = Chunks(source, chunk)
    found = bytearray()
    unread = 0
    kept = chunks.buffer
    before = kept.tobytes()
    while chunks.advance(unread, kept if keep else None):
        assert not keep or kept.tobytes() == before
        kept, before = chunks.buffer, chunks.buffer.tobytes()
        assert chunks.offset == len(found)
        unread = min(leave, chunks.end - chunks.start)
        found += chunks.buffer[chunks.start : chunks.end - unread].tobytes()
    found += chunks.buffer[chunks.end - unread : chunks.end].tobytes()
    chunks.close()
    return bytes(found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(0, 5000), chunk=st.integers(1, 700), keep=st.booleans(), leave=st.integers(0, 300))
def test_chunks_join_to_the_file(tmp_path: Path, size: int, chunk: int, keep: bool, leave: int) -> None:
    size = min(size, chunk * 20)
    data = (MAGIC + NOISE)[:size]
    assert joined(source_of(tmp_path, data), chunk, keep, leave) == data


def test_chunks_of_a_file_that_breaks_off(tmp_path: Path) -> None:
    chunks = Chunks(source_of(tmp_path, gzip.compress(NOISE, mtime=0)[:300_000]), 100_000)
    found = 0
    with pytest.raises(CaptureError):  # noqa: PT012 - it may come with any of them but the first
        while chunks.advance(0):
            found += chunks.end - chunks.start
    assert 290_000 < found < 310_000
    chunks.close()


def test_more_unread_than_any_record_takes(tmp_path: Path) -> None:
    chunks = Chunks(source_of(tmp_path, NOISE), len(NOISE))
    assert chunks.advance(0)
    with pytest.raises(CaptureError, match="longer than any packet"):
        chunks.advance(CARRY + 1)
    chunks.close()


def test_the_end_stays_the_end(tmp_path: Path) -> None:
    chunks = Chunks(source_of(tmp_path, MAGIC), 10)
    assert chunks.advance(0)
    assert [chunks.advance(4), chunks.advance(4), chunks.advance(4)] == [False, False, False]
    assert chunks.buffer[chunks.start : chunks.end].tobytes() == MAGIC
    chunks.close()


# Standard input, twice. #


@pytest.mark.parametrize("pack", [bytes, *PACK.values()], ids=["plain", *PACK])
def test_a_spool_gives_the_same_again(pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(pack(NOISE))))
    spool = Spool()
    assert not spool.is_complete()
    assert all_of(open_source(STDIN, spool)) == (NOISE, None)
    assert spool.is_complete()
    for _ in range(2):
        assert all_of(open_source(STDIN, spool)) == (NOISE, None)
    spool.close()
    assert not spool.is_complete()


def test_a_spool_keeps_all_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, keeps in ((len(NOISE), True), (len(NOISE) - 1, False)):
        monkeypatch.setattr(source, "SPOOLED", limit)
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(NOISE)))
        spool = Spool()
        assert all_of(open_source(STDIN, spool)) == (NOISE, None)
        assert spool.is_complete() == keeps
        spool.close()


def test_without_a_spool_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", None)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(NOISE)))
    assert all_of(open_source(STDIN)) == (NOISE, None)
    assert all_of(source_of(tmp_path, NOISE)) == (NOISE, None)
