"""One table of fields per structure, in the specification's order, read one at a time or a batch at once."""

from __future__ import annotations

import struct
from functools import cached_property

import numpy as np
import numpy.typing as npt

_DTYPES = {"B": "u1", "H": "u2", "I": "u4", "Q": "u8", "b": "i1", "h": "i2", "i": "i4", "q": "i8"}


class Layout:
    """The fixed part of a structure: names, sizes and offsets of its fields.

    title: as the specification calls it. fields: (name, code), the codes of `struct` for one number (`B H I Q`, lower
    case signed) or `16s` for bytes. Little-endian, without padding, unless `big_endian`. Byte fields are NumPy `V`,
    since `S` drops trailing NULs.
    """

    def __init__(self, title: str, fields: list[tuple[str, str]], *, big_endian: bool = False) -> None:
        self.title = title
        self.fields = fields
        order = ">" if big_endian else "<"
        self.struct = struct.Struct(order + "".join(code for _, code in fields))
        self.size = self.struct.size
        self.dtype = np.dtype([(name, _dtype(code, order)) for name, code in fields])

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Where each field begins, in bytes from the start of the structure."""
        found = self.dtype.fields
        assert found is not None
        return {name: found[name][1] for name, _ in self.fields}

    def read(self, data: bytes | memoryview, offset: int = 0) -> dict[str, int | bytes]:
        """One structure as a dictionary. Raises `struct.error` if it does not fit: use `Cursor.take` on hostile bytes."""
        return dict(zip((name for name, _ in self.fields), self.struct.unpack_from(data, offset), strict=True))

    def gather(self, arena: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.void]:
        """A batch: the structures that begin at `offsets` of `arena`, as one structured array.

        The caller has checked that each begins inside; one that runs over the end reads what lies there, so an arena
        ends with spare bytes.
        """
        window = np.lib.stride_tricks.sliding_window_view(arena, self.size)
        rows = np.ascontiguousarray(window[np.minimum(offsets, len(window) - 1)])
        return rows.view(self.dtype)[:, 0]


def _dtype(code: str, order: str) -> str:
    if code.endswith("s"):
        return f"V{int(code[:-1] or 1)}"
    return order + _DTYPES[code]
