"""An engine that somebody brought along, with what it hands on checked against `records`.

What follows relies on these tables and would fail far from the fault, or silently read something else. Raised is
AnalyzerError, with the engine, the table and what is wrong there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analyzer.capture.inputs import Input
from analyzer.capture.reader import FileFacts
from analyzer.compiled import Kernels
from analyzer.engines import Engine
from analyzer.errors import AnalyzerError
from analyzer.records import (
    BODIES,
    CONNECTION_END,
    DATAGRAM,
    ENDPOINTS,
    HARDWARE,
    MESSAGE,
    NAMES,
    OTHER_WAY,
    PROBLEM,
    SEVERAL,
    Batch,
    Reread,
    Rows,
)

TABLES = {
    "messages": MESSAGE, "begun": ENDPOINTS, "ended": CONNECTION_END, "names": NAMES, "problems": PROBLEM,
    "datagrams": DATAGRAM, "hardware": HARDWARE, "ways": OTHER_WAY,
}  # fmt: skip


class Checked:
    """See `engines.Engine`."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._connections = 0  # have begun

    @property
    def files(self) -> list[FileFacts]:
        return self._engine.files

    def kernels(self) -> Kernels:
        return self._engine.kernels()

    def consumed(self) -> int:
        return self._engine.consumed()

    def counts(self) -> dict[str, int]:
        return self._engine.counts()

    def forget(self) -> None:
        self._engine.forget()

    def reread(self, logins: Rows) -> Iterator[Reread]:
        for told in self._engine.reread(logins):
            self._check(told.batch)
            yield told

    def read(self, inputs: list[Input]) -> Iterator[Batch]:
        before = len(self.files)
        for batch in self._engine.read(inputs):
            self._check(batch)
            yield batch
        read = sorted(file.capture for file in self.files[before:])
        self._demand(read == sorted(item.capture for item in inputs), "files", "has not one entry for each input")
        numbers = [file.capture_no for file in self.files]
        self._demand(numbers == list(range(len(numbers))), "files", "does not stand in the order of `capture_no`")

    def _demand(self, holds: bool, table: str, wrong: str) -> None:
        if not holds:
            raise AnalyzerError(f"the engine {self._name} is faulty: {table} {wrong}")

    def _check(self, batch: Batch) -> None:
        for name, record in TABLES.items():
            self._demand(getattr(batch, name).dtype == record, name, "is not of the type that `records` says")
        self._demand(batch.bodies.keys() == BODIES.keys(), "bodies", "has other tables than `records.BODIES`")
        if len(batch.begun):
            self._connections = max(self._connections, int(batch.begun["connection"].max()) + 1)
        for name in ("messages", "ended", "names"):
            known = _is_within(getattr(batch, name)["connection"], 0, self._connections)
            self._demand(known, name, "names a connection that never began")
        for name, record in BODIES.items():
            self._demand(batch.bodies[name].dtype == record, name, "is not of the type that `records` says")
            rows = batch.bodies[name]["row"].astype(np.int64)
            self._demand(_is_within(rows, 0, len(batch.messages)), name, "belongs to a message that is not there")
            in_order = np.diff(rows) >= (0 if name in SEVERAL else 1)
            self._demand(bool(in_order.all()), name, "does not stand in the order of its messages")
            if "payload_at" in (record.names or ()):
                at, size = batch.bodies[name]["payload_at"], batch.bodies[name]["payload_size"].astype(np.int64)
                inside = bool(((at >= 0) & (size >= 0) & (at + size <= len(batch.arena))).all())
                self._demand(inside, name, "has payload outside the arena")


def _is_within(numbers: Rows, least: int, beyond: int) -> bool:
    return not len(numbers) or (int(numbers.min()) >= least and int(numbers.max()) < beyond)
