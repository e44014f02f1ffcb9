"""Bytes of files: compressed or not, cut, damaged, and in chunks."""

from __future__ import annotations

import gzip
import random
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzer.capture.source import CARRY, MAX_WINDOW, Chunks, Source, open_source
from analyzer.errors import CaptureError

NOISE = random.Random(5).randbytes(700_000)
TEXT = b"".join(b"line %d of a text that can be packed\n" % n for n in range(40_000))
MAGIC = b"\xd4\xc3\xb2\xa1"


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
@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_compressed_files(tmp_path: Path, kind: str, parts: list[bytes]) -> None:
    """Several gzip members, or several zstd frames, are one file. [RFC 1952 2.2; RFC 8878 3]"""
    pack = gzip.compress if kind == "gzip" else zstandard.ZstdCompressor().compress
    packed = b"".join(pack(part) for part in parts)
    source = source_of(tmp_path, packed)
    assert (source.compression, source.size) == (kind, len(packed))
    assert all_of(source) == (b"".join(parts), None)
    assert source.consumed == len(packed)


def test_zstd_frames_of_unknown_size_and_skippable_ones(tmp_path: Path) -> None:
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    frame = stream.compress(TEXT) + stream.flush()
    skippable = b"\x50\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"comment"  # [RFC 8878 3.1.2]
    assert all_of(source_of(tmp_path, frame + skippable + frame)) == (TEXT + TEXT, None)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("step", [1_000, 100_000])
def test_cut_compressed_files_give_what_is_there(tmp_path: Path, kind: str, keep: float, step: int) -> None:
    whole = NOISE + TEXT
    packed = gzip.compress(whole) if kind == "gzip" else zstandard.ZstdCompressor().compress(whole)
    packed = packed[: int(len(packed) * keep)]
    if kind == "gzip":
        there = zlib.decompressobj(wbits=31).decompress(packed)
    else:
        there = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    assert there
    found, problem = all_of(source_of(tmp_path, packed), step)
    assert problem is not None
    assert len(there) - 1_000 < len(found) <= len(there)
    assert there.startswith(found)
    assert str(tmp_path / "capture") in str(problem)
    assert kind in str(problem)
    assert "too early" in str(problem)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_damaged_compressed_files(tmp_path: Path, kind: str) -> None:
    pack = gzip.compress if kind == "gzip" else zstandard.ZstdCompressor(write_checksum=True).compress
    packed = bytearray(pack(NOISE + TEXT))
    middle = len(packed) - 20_000
    packed[middle : middle + 500] = b"\xff" * 500
    found, problem = all_of(source_of(tmp_path, bytes(packed)))
    assert problem is not None
    assert str(tmp_path / "capture") in str(problem)
    assert "damaged" in str(problem)
    assert len(found) > len(NOISE) // 2
    assert found[: len(NOISE) // 2] == NOISE[: len(found)][: len(NOISE) // 2]


def test_something_else_behind_a_gzip_member(tmp_path: Path) -> None:
    found, problem = all_of(source_of(tmp_path, gzip.compress(TEXT) + b"this is not gzip"))
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


def test_an_error_comes_again(tmp_path: Path) -> None:
    source = source_of(tmp_path, gzip.compress(NOISE)[:1000])
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


def joined(source: Source, chunk: int, ahead: bool, leave: int) -> bytes:
    """A file read in chunks, of each of which `leave` bytes (if it has them) are left for the next."""
    chunks = Chunks(source, chunk, ahead=ahead)
    found = bytearray()
    unread = 0
    while chunks.advance(unread):
        assert chunks.offset == len(found)
        unread = min(leave, chunks.end - chunks.start)
        found += chunks.buffer[chunks.start : chunks.end - unread].tobytes()
    found += chunks.buffer[chunks.end - unread : chunks.end].tobytes()
    chunks.close()
    return bytes(found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(0, 5000), chunk=st.integers(1, 700), ahead=st.booleans(), leave=st.integers(0, 300))
def test_chunks_join_to_the_file(tmp_path: Path, size: int, chunk: int, ahead: bool, leave: int) -> None:
    size = min(size, chunk * 20)
    data = (MAGIC + NOISE)[:size]
    assert joined(source_of(tmp_path, data), chunk, ahead, leave) == data


@pytest.mark.parametrize("ahead", [True, False])
def test_chunks_of_a_file_that_breaks_off(tmp_path: Path, ahead: bool) -> None:
    chunks = Chunks(source_of(tmp_path, gzip.compress(NOISE)[:300_000]), 100_000, ahead=ahead)
    found = 0
    with pytest.raises(CaptureError):  # noqa: PT012 - it may come with any of them but the first
        while chunks.advance(0):
            found += chunks.end - chunks.start
    assert 290_000 < found < 310_000
    chunks.close()


@pytest.mark.parametrize("ahead", [True, False])
def test_more_unread_than_any_record_takes(tmp_path: Path, ahead: bool) -> None:
    chunks = Chunks(source_of(tmp_path, NOISE), len(NOISE), ahead=ahead)
    assert chunks.advance(0)
    with pytest.raises(CaptureError, match="longer than any packet"):
        chunks.advance(CARRY + 1)
    chunks.close()


@pytest.mark.parametrize("ahead", [True, False])
def test_the_end_stays_the_end(tmp_path: Path, ahead: bool) -> None:
    chunks = Chunks(source_of(tmp_path, MAGIC), 10, ahead=ahead)
    assert chunks.advance(0)
    assert [chunks.advance(4), chunks.advance(4), chunks.advance(4)] == [False, False, False]
    assert chunks.buffer[chunks.start : chunks.end].tobytes() == MAGIC
    chunks.close()
