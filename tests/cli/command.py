"""`nullsession` as a process of its own, and what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CAPTURES = ROOT / "captures"
ANONYMOUS = CAPTURES / "anonymous-smb311.pcap"
TERMINAL_SETTINGS = (
    "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM", "TERM", "TTY_COMPATIBLE",
    "TTY_INTERACTIVE", "PYTHONIOENCODING", "PYTHONWARNINGS", "NUMBA_BOUNDSCHECK",
)  # fmt: skip
SECONDS = 120
"""Longer than any of these runs takes on a slow machine: what takes longer hangs."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a run said and how it ended."""

    status: int
    out: str
    err: str

    @property
    def complaints(self) -> list[str]:
        """The lines on standard error."""
        return self.err.splitlines()


Called = Callable[..., Done]
"""The fixture `called`: the command line in this process."""


def environment(**settings: str) -> dict[str, str]:
    """This process's environment, the checkout's package first, and nothing that is said about a terminal."""
    kept = {name: value for name, value in os.environ.items() if name not in TERMINAL_SETTINGS}
    return kept | {"PYTHONPATH": str(ROOT), **settings}


def start(*arguments: str | Path, settings: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
    """Start the program; standard output and error are pipes unless said otherwise."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    command = [sys.executable, "-m", "analyzer", *map(str, arguments)]
    return subprocess.Popen(command, env=environment(**(settings or {})), **streams)


def ended(process: subprocess.Popen[bytes]) -> Done:
    """Wait for the end of a started program."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return Done(process.returncode, (out or b"").decode(), (err or b"").decode())


def nullsession(*arguments: str | Path, settings: dict[str, str] | None = None, **options: Any) -> Done:
    """Run the program to its end."""
    return ended(start(*arguments, settings=settings, **options))


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, hidden ones and those below it too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
