"""Read captures with compiled kernels and say what came out: run by `test_kernels.py` as a process of its own.

A process of its own since Numba takes NUMBA_BOUNDSCHECK from the environment when it is imported, and since the caches
of kernels with and without checks must not be mixed. Arguments: the folder of captures, and the file for the outcome.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

import analyzer
from analyzer import compiled, tables
from analyzer.compiled import Bytes, Kernels, entry, kernel
from analyzer.engines import native


def overrun_in_callee(data: Bytes, at: int) -> int:
    """A byte of an array, in a kernel that another one calls."""
    return data[at]


def overrun(data: Bytes, at: int) -> int:
    """A byte of an array, by way of another kernel."""
    return overrun_in_callee(data, at)


def overrun_in_entry(data: Bytes, at: int) -> int:
    """A byte of an array."""
    return data[at]


def caught(kernels: Kernels) -> dict[str, bool]:
    """Of each of the kernels above, whether it notices reads behind its array, and in front of it."""
    data = np.arange(4, dtype=np.uint8)
    noticed = {}
    for name in ("overrun", "overrun_in_entry"):
        read = getattr(kernels, name)
        assert [read(data, at) for at in range(4)] == [0, 1, 2, 3], name
        noticed[name] = _raises(read, data, 4) and _raises(read, data, -1)
    return noticed


def _raises(read: Any, data: Bytes, at: int) -> bool:
    try:
        read(data, at)
    except IndexError:
        return True
    return False


def spelt(analysis: analyzer.Analysis) -> dict[str, list[str]]:
    """All tables of an outcome as lines of text, which can be compared between processes."""
    found = {}
    for name in (*tables.ROWS, *tables.SUMMARIES):
        columns = analysis.arrow(name).to_pydict()
        found[name] = [json.dumps(row, default=str) for row in zip(*columns.values(), strict=True)]
    return found


def outcome(folder: Path) -> dict[str, list[str]]:
    """What is found in the captures below a folder, each subfolder for itself: see `analyze(separate=True)`.

    Raises AssertionError that names the first capture that cannot be analyzed, should there be one.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    try:
        return spelt(analyzed(paths))
    except Exception as problem:
        raise AssertionError(f"{culprit(paths)}: {problem!r}") from problem


def analyzed(paths: list[Path]) -> analyzer.Analysis:
    """Captures, each of which is alone in its folder."""
    return analyzer.analyze(paths, detail="all", separate=True)


def culprit(paths: list[Path]) -> str:
    """One of these captures that cannot be analyzed, found by halving."""
    while len(paths) > 1:
        half = paths[: len(paths) // 2]
        try:
            analyzed(half)
        except Exception:
            paths = half
        else:
            paths = paths[len(half) :]
    return "/".join(paths[0].parts[-3:])


def main() -> None:
    """Analyze everything below a folder with kernels that check their bounds."""
    folder, target = Path(sys.argv[1]), Path(sys.argv[2])
    # Registered here, and not by decorators: this module is imported by tests too, whose kernels stay the real ones.
    kernel(overrun_in_callee)
    entry(overrun)
    entry(overrun_in_entry)
    kernels = compiled.compiled_kernels()
    calls = 0
    follow = kernels.follow

    def counted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return follow(*arguments)

    kernels.follow = counted  # type: ignore[method-assign]
    native.plain_kernels = lambda: kernels
    told: dict[str, Any] = {"checked": os.environ.get("NUMBA_BOUNDSCHECK"), "caught": caught(kernels), "failed": ""}
    try:
        told["tables"] = outcome(folder)
    except AssertionError as problem:
        told["failed"] = str(problem)
    told["calls"] = calls
    target.write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
