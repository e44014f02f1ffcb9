"""What the parsers of both SMB versions work on: the selected messages of a window, read a column at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from analyzer.records import PROBLEM, Kind, Layer, Rows
from analyzer.transport.messages import M_BODY, M_CONNECTION, M_END, M_FILE, M_FLAGS, M_FRAME, M_HEADER, MF_CUT
from analyzer.wire.layout import Layout
from analyzer.wire.texts import MISSING, Texts

Index = npt.NDArray[np.int64]
"""Positions in the window's tables."""
Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Window:
    """Selected messages (`rows`, columns `M_`), their bytes, and the table of messages that is being made of them."""

    rows: npt.NDArray[np.int64]
    arena: npt.NDArray[np.uint8]
    texts: Texts
    messages: Rows
    problems: list[Rows] = field(default_factory=list)

    def gather(self, layout: Layout, which: Index, skip: int | Index = 0) -> Rows:
        """The structure `skip` bytes into the body of each message. Ask `having` first whether it is there."""
        return layout.gather(self.arena, self.rows[which, M_BODY] + skip)

    def having(self, which: Index, size: int | Index, layer: Layer, name: str) -> Index:
        """Those messages of which `size` bytes of the body are stored; a problem is noted for each of the others."""
        there = self.rows[which, M_BODY] + size <= self.rows[which, M_END]
        if not there.all():
            self.tell(which[~there], layer, name, 0, "too_short")
            self.messages["kind"][which[~there]] = Kind.OTHER
            which = which[there]
        return which

    def clip(self, which: Index, offset: Index, size: Index) -> tuple[Index, Index]:
        """A part of each message that its header places: arena offsets and sizes, cut to what is stored.

        offset: from the header's first byte, as messages state it.
        """
        start = np.minimum(self.rows[which, M_HEADER] + offset, self.rows[which, M_END])
        return start, np.minimum(size, self.rows[which, M_END] - start)

    def tell(self, which: Index, layer: Layer, name: str, offset: int, code: str, detail: str = "") -> None:
        """Note a problem with each of these messages."""
        told = np.zeros(len(which), dtype=PROBLEM)
        told["capture_no"] = self.rows[which, M_FILE]
        told["frame"] = self.rows[which, M_FRAME]
        told["connection"] = self.rows[which, M_CONNECTION]
        told["layer"] = layer
        told["field"] = self.texts.code(name)
        told["offset"] = offset
        told["code"] = self.texts.code(code)
        told["detail"] = self.texts.code(detail) if detail else MISSING
        self.problems.append(told)

    def utf16(self, which: Index, name: str, offset: Index, size: Index) -> npt.NDArray[np.int32]:
        """The texts that SMB 2 messages hold at these places, in UTF-16. One that is not there is missing, and told."""
        start, there = self.clip(which, offset, size)
        outside = (there != size) & ((self.rows[which, M_FLAGS] & MF_CUT) == 0)
        if outside.any():
            self.tell(which[outside], Layer.SMB2, name, 0, "outside_message")
        return self.texts.slices(self.arena, start, np.where(there == size, size, MISSING), "utf-16-le")


def body(record: np.dtype[np.void], which: Index) -> Rows:
    """A table of bodies, one for each of these messages, its texts missing and its numbers 0."""
    made = np.zeros(len(which), dtype=record)
    made["row"] = which
    return made
