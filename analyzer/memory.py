"""Memory that is no longer needed goes back to the system.

glibc raises the size from which it gives freed blocks back at once each time that such a block is freed, and keeps a
heap for each thread: on captures with many sessions that is a third more memory than is in use.
"""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
APART = 1 << 21
"""Bytes from which a block is apart from the heap. Such a block is new memory each time, which the system empties first:
for windows of messages, where the same sizes come again and again, that is a tenth of all work, for tables a fifth."""

MADV_DONTNEED = 4  # of Linux's mman.h

_is_ours = threading.Event()


@cache
def _allocator() -> Any:
    """The C library, None where it has no such settings."""
    if sys.platform != "linux":
        return None
    import ctypes  # noqa: PLC0415 - not needed for help

    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        return library if library.mallopt and library.malloc_trim else None
    return None


def keep_small() -> None:
    """For a process of our own: one heap, and large blocks apart from it."""
    if _allocator():
        _allocator().mallopt(M_ARENA_MAX, 1)
        _allocator().mallopt(M_MMAP_THRESHOLD, APART)
        _allocator().mallopt(M_TRIM_THRESHOLD, 1 << 25)
        _is_ours.set()


def kernels_are_loaded() -> None:
    """The code of the compiler, some 50 MB, is let go. It is read from its file again where it is still called.

    Only code, which nothing writes to: what a library's other pages hold, the loader changed when it was loaded.
    """
    if _allocator() and _is_ours.is_set():
        with suppress(OSError):
            for first, size in code_of("libllvmlite", Path("/proc/self/maps").read_text("utf-8", "surrogateescape")):
                _allocator().madvise(first, size, MADV_DONTNEED)


def code_of(library: str, maps: str) -> list[tuple[int, int]]:
    """Address and size of each part of a library that only holds code, from what proc_pid_maps(5) tells."""
    found = []
    for line in maps.splitlines():
        span, permissions, *rest = line.split(maxsplit=5)
        if permissions == "r-xp" and len(rest) == 4 and rest[-1].rpartition("/")[2].startswith(library):
            first, end = (int(part, 16) for part in span.split("-"))
            found.append((first, end - first))
    return found


def give_back() -> None:
    """After a step that needed much."""
    if _allocator():
        _allocator().malloc_trim(0)
