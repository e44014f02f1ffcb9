"""A bounds-checked reader of one structure, for parts whose place and size the message itself states."""

from __future__ import annotations

from analyzer.errors import NeedMoreBytes
from analyzer.wire.layout import Layout


class Cursor:
    """Reads forward through `data`; a read past its end raises `NeedMoreBytes` with layer, field and offset."""

    def __init__(self, data: bytes | memoryview, layer: str, offset: int = 0) -> None:
        self.data = data
        self.layer = layer
        self.offset = offset

    def __len__(self) -> int:
        """Bytes left."""
        return max(0, len(self.data) - self.offset)

    def take(self, layout: Layout) -> dict[str, int | bytes]:
        """The next structure, field by field."""
        self._need(layout.size, layout.title)
        values = layout.read(self.data, self.offset)
        self.offset += layout.size
        return values

    def bytes(self, size: int, field: str) -> bytes:
        """The next `size` bytes."""
        self._need(size, field)
        self.offset += size
        return bytes(self.data[self.offset - size : self.offset])

    def number(self, size: int, field: str, *, big_endian: bool = False) -> int:
        """The next `size` bytes as an unsigned number."""
        return int.from_bytes(self.bytes(size, field), "big" if big_endian else "little")

    def _need(self, size: int, field: str) -> None:
        if size < 0 or self.offset + size > len(self.data):
            raise NeedMoreBytes(self.layer, field, self.offset, f"{size} bytes wanted, {len(self)} there")
