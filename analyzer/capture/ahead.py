"""Reading ahead: a thread that does one thing while its caller goes on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Ahead:
    """Jobs, one at a time. What each returns, or raises, is fetched by `result` before the next is begun.

    The thread keeps no program from ending: it may wait for ever for what comes through a pipe.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], int] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[int | BaseException] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin(self, job: Callable[[], int]) -> None:
        """Have this done by the thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="read-ahead", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def result(self) -> int:
        """Wait for what the last job returns; raises what it raised."""
        found = self._done.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def stop(self) -> None:
        """No more jobs come. Does not wait for one that is being done."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._done.put(job())
            except BaseException as problem:
                self._done.put(problem)
