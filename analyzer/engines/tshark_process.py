"""Running tshark: where it is, what it is told so that nobody's own settings matter, and that it is ended on every path.

pyshark finds the program and spells out its parameters. Its process handling is not used: it runs an event loop, which
cannot be done where one runs already (notebooks). Its readers are not used either: see `tshark`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO

from analyzer.errors import AnalyzerError

OLDEST = (4, 0)
LONGEST_LINE = 32 * 1024 * 1024
"""No frame makes a longer line; what is longer is given up."""
PIPE = 1024 * 1024
"""Bytes that tshark may be ahead of us, where the system lets us choose (Linux), and that are taken at once."""

PREFERENCES = {
    "ip.defragment": "TRUE",
    "ipv6.defragment": "TRUE",
    "tcp.desegment_tcp_streams": "TRUE",
    "tcp.check_checksum": "FALSE",  # offload leaves wrong ones
    "tcp.analyze_sequence_numbers": "TRUE",
    "tcp.no_subdissector_on_error": "TRUE",
    "nbss.desegment_nbss_commands": "TRUE",
    "smb.trans_reassembly": "FALSE",  # each part of a transaction by itself, as it was sent
    "smb2.pipe_reassembly": "FALSE",  # likewise: putting PDUs of pipes together is not left to tshark
}

INSTALL = {
    "darwin": "`brew install --cask wireshark`, or the package of wireshark.org",
    "win32": "it comes with Wireshark (`winget install WiresharkFoundation.Wireshark`)",
}
INSTALL_ELSEWHERE = "`apt-get install tshark` on Debian and Ubuntu, elsewhere it comes with Wireshark"


def find_tshark() -> str:
    """Where tshark is: on the PATH, else where pyshark looks. Raises AnalyzerError if it is nowhere."""
    from pyshark.tshark.tshark import TSharkNotFoundException, get_process_path  # noqa: PLC0415 - brings asyncio, lxml

    found = shutil.which("tshark")
    if found is not None:
        return found
    # pyshark would also run what a config.ini in the current folder names; that may be anybody's.
    if not (Path.cwd() / "config.ini").exists():
        with contextlib.suppress(TSharkNotFoundException):
            return str(get_process_path())
    how = INSTALL.get(sys.platform, INSTALL_ELSEWHERE)
    raise AnalyzerError(f"the engine tshark needs tshark, which was not found: {how}")


def version_of(program: str) -> tuple[int, int]:
    """Its version. Raises AnalyzerError if it is too old, or is no tshark."""
    try:
        found = Path(program).stat()
    except OSError as problem:
        raise AnalyzerError(f"{program} cannot be run: {problem}") from None
    return _version_of(program, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=8)
def _version_of(program: str, *_changed: int) -> tuple[int, int]:
    """Asked once of each program, unless it changes: starting tshark takes longer than reading a small capture."""
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False
        ).stdout[:400]
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise AnalyzerError(f"{program} cannot be run: {problem}") from None
    found = re.match(rb"TShark \(Wireshark\) (\d+)\.(\d+)", said)
    if found is None:
        raise AnalyzerError(f"{program} does not say that it is tshark; install it again or take it out of the PATH")
    version = int(found[1]), int(found[2])
    if version < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise AnalyzerError(f"{program} is version {version[0]}.{version[1]}; the engine needs {needed} or later")
    return version


def parameters(disabled: str, preferences: dict[str, str], ports: tuple[int, ...], *more: str) -> list[str]:
    """What tshark is told, but for the file: without names, with our preferences, SMB expected on these ports."""
    from pyshark.capture.capture import Capture  # noqa: PLC0415 - see `find_tshark`

    settings = Capture(
        eventloop=object(),  # never used; without one it would replace that of the caller
        override_prefs=PREFERENCES | preferences,
        decode_as={f"tcp.port=={port}": "nbss" for port in ports},
        disable_protocol=disabled,
        custom_parameters=list(more),
    )
    return ["-n", *settings.get_parameters()]


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Ctrl-C takes effect at the end: amid the start of a process it would be lost sight of, and go on."""
    came: list[tuple[int, FrameType | None]] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # only the main thread is interrupted
        return
    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            before(*came[0])


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


class _Ahead:
    """What a program prints, taken by a thread of its own, so that it works on while we do something else."""

    def __init__(self, output: BufferedReader, most: int) -> None:
        self._output = output
        self._most = most
        self._taken: deque[bytes] = deque()
        self._size = 0
        self._is_over = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._take, name="tshark", daemon=True)
        self._thread.start()

    def _take(self) -> None:
        got = b"-"
        while got and not self._is_over:
            try:
                got = self._output.read1(PIPE)
            except (
                OSError
            ):  # whoever waits for more must not do so for ever; how the program ended tells what was wrong
                got = b""
            with self._changed:
                self._changed.wait_for(lambda: self._size < self._most or self._is_over)
                self._taken.append(got)
                self._size += len(got)
                self._changed.notify()

    def read(self) -> bytes:
        """What was printed next, empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken)
            got = self._taken[0]
            if got:
                self._taken.popleft()
            self._size -= len(got)
            self._changed.notify()
        return got

    def end(self) -> None:
        """End the thread. The program must have ended."""
        with self._changed:
            self._is_over = True
            self._changed.notify()
        self._thread.join()


class Run:
    """A run of tshark. Leaving the `with` block ends it. ahead: bytes of its output that are taken before they are asked for."""

    def __init__(self, program: str, path: str, arguments: list[str], *, ahead: int = 0) -> None:
        self.ended_by_us = False
        self.too_long = 0
        self._ahead: _Ahead | None = None
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self._home = tempfile.TemporaryDirectory(prefix="nullsession-")
        home = self._home.name
        nobody = {"HOME": home, "XDG_CONFIG_HOME": home, "WIRESHARK_CONFIG_DIR": home, "APPDATA": home}
        path = path if not path.startswith("-") else f"./{path}"
        command = [program, *arguments, "-r", path]
        try:
            with _interrupts_wait():
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=self._said,
                    pipesize=PIPE,
                    env=os.environ | nobody | {"LC_ALL": "C.UTF-8", "TZ": "UTC"},
                )
                # Also where an interrupt comes before the `with` block is entered.
                weakref.finalize(self, _kill, self._process)
                assert isinstance(self._process.stdout, BufferedReader)
                self._output = self._process.stdout
                if ahead:
                    self._ahead = _Ahead(self._output, ahead)
        except OSError as problem:
            self._tidy()
            raise AnalyzerError(f"{program} cannot be run: {problem}") from None

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def lines(self) -> Iterator[bytes]:
        """The lines it prints, without their ends."""
        begun: list[bytes] = []  # of the line whose end is still to come
        size = 0
        while got := self._ahead.read() if self._ahead else self._output.read1(PIPE):
            first, *others = got.split(b"\n")
            size += len(first)
            if size <= LONGEST_LINE:
                begun.append(first)
            else:
                begun = []
            if not others:
                continue
            if size <= LONGEST_LINE:
                yield b"".join(begun)
            else:
                self.too_long += 1
            *whole, last = others
            yield from whole
            begun, size = [last], len(last)
        if size > LONGEST_LINE:
            self.too_long += 1
        elif size:
            yield b"".join(begun)

    def complaint(self) -> str:
        """Once its output is at the end: what went wrong, empty if nothing did."""
        code = self._process.wait()
        if code == 0:
            return ""
        if code < 0:
            return f"tshark was ended by signal {-code} before the end of the file"
        said = self.said()
        return f"tshark: {said}" if said else f"tshark ended with status {code} and said nothing"

    def complaint_if_ended(self) -> str:
        """The same of a run whose output need not be at its end: one that goes on has nothing to complain about so far."""
        return "" if self._process.poll() is None else self.complaint()

    def said(self) -> str:
        """The last thing that it wrote to its standard error, in one line."""
        self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, self._said.tell() - 4000))
        lines = self._said.read().decode("utf-8", "replace").splitlines()
        lines = [line.strip().removeprefix("tshark: ") for line in lines if not line.startswith("Running as user")]
        return " ".join(line for line in lines if line)[:400]

    def close(self) -> None:
        """End it, if it still runs, and wait for that."""
        if self._process.poll() is None:
            self.ended_by_us = True
            _kill(self._process)
        self._process.wait()
        if self._ahead is not None:
            self._ahead.end()
        self._output.close()
        self._tidy()

    def _tidy(self) -> None:
        self._said.close()
        with contextlib.suppress(OSError):
            self._home.cleanup()
