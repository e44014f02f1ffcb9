"""What is let go goes back to the system, and what was let go still works."""

from __future__ import annotations

import subprocess
import sys

import pytest

from analyzer.memory import code_of

# As in proc_pid_maps(5): a library has parts that are read, run, made read-only by the loader, and written to.
MAPS = """\
00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/program
7f1000000000-7f1000100000 r--p 00000000 08:02 42  /a path/libllvmlite.so
7f1000100000-7f1003100000 r-xp 00100000 08:02 42  /a path/libllvmlite.so
7f1003100000-7f1003200000 r--p 03100000 08:02 42  /a path/libllvmlite.so
7f1003200000-7f1003201000 rw-p 03200000 08:02 42  /a path/libllvmlite.so
7f1003300000-7f1003400000 r-xp 00000000 08:02 43  /a path/libother.so
7f1003500000-7f1003600000 r-xp 00000000 00:00 0
7fffb2d48000-7fffb2d49000 r-xp 00000000 00:00 0   [vdso]
"""


def test_only_code_of_the_library_is_meant() -> None:
    assert code_of("libllvmlite", MAPS) == [(0x7F1000100000, 0x3000000)]
    assert code_of("libllvmlite", "") == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what of a library is in memory")
def test_a_compiler_that_was_let_go_still_compiles() -> None:
    """In a process of its own, since it is one that sets how memory is given back."""
    program = """
import re
from pathlib import Path
import numba
from analyzer import memory

def resident():
    parts = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
    of_compiler = [part for part in parts if "libllvmlite" in part.partition("\\n")[0]]
    return sum(int(re.search(r"Rss: +([0-9]+) kB", part)[1]) for part in of_compiler)

assert numba.njit(lambda x: x + 1)(1) == 2
before = resident()
memory.kernels_are_loaded()
assert resident() == before, "the memory of somebody else's process is not ours to judge"
memory.keep_small()
memory.kernels_are_loaded()
after = resident()
assert after < before / 2, (before, after)
assert numba.njit(lambda x: x * 3)(2) == 6
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
