"""Files of a folder that are written together: first into a folder of their own in it, and then moved into place.

All or none of them: so an interruption leaves no half-written file, and no file of one run beside those of another.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from analyzer.errors import AnalyzerError


class Writing:
    """Writes files into a folder, in another thread, while whoever brings them makes the next ones.

    Used in a `with` statement, whose end takes back all that was not put in place. The folder is made if need be.
    """

    def __init__(self, directory: Path) -> None:
        self.names: set[str] = set()
        """Files that were begun, or wait."""
        self._directory = directory
        self._made: Path | None = None
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="files")
        self._waiting: list[tuple[Future[None], Callable[[], None]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._beside.shutdown(cancel_futures=True)
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)

    def add(self, name: str, write: Callable[[Path], None]) -> None:
        """Have a file written by this function as soon as there is time.

        Raises AnalyzerError if the folder takes no files, or no more of them.
        """
        with self._told():
            path = self._making() / name
            self.names.add(name)
            self._waiting.append((self._beside.submit(write, path), lambda: write(path)))
            for file, _ in self._waiting:
                if file.done():
                    file.result()

    def put_in_place(self) -> None:
        """Write what waits, in this thread too, and move all files to where they belong; older ones are replaced.

        Raises AnalyzerError if that cannot be done, and then the older ones are as they were.
        """
        with self._told():
            for file, write in self._waiting:
                if file.cancel():  # it had not been begun
                    write()
            for file, _ in self._waiting:
                if not file.cancelled():
                    file.result()
            _move(self._making(), self._directory)

    def _making(self) -> Path:
        if self._made is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._made = Path(tempfile.mkdtemp(prefix=".writing-", dir=self._directory))
        return self._made

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise AnalyzerError(
                f"{self._directory}: results cannot be written: {problem.strerror or problem}"
            ) from problem


def _move(making: Path, directory: Path) -> None:
    """Move all files there; if that fails or is interrupted midway, none, and the older ones are as they were."""
    names = sorted(file.name for file in making.iterdir())
    older = making / "older"
    older.mkdir()
    try:
        for name in names:
            if (directory / name).exists():
                os.replace(directory / name, older / name)
        for name in names:
            os.replace(making / name, directory / name)
    except BaseException:
        for name in names:
            if not (making / name).exists():
                os.replace(directory / name, making / name)
            if (older / name).exists():
                os.replace(older / name, directory / name)
        raise
