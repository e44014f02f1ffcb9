"""A pool of texts, so that batches can carry numbers: a user name seen a million times is stored once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MISSING = -1
"""The code of a text that is not there. The empty text is a value and has a code of its own."""


class Texts:
    """Texts and their codes, 0, 1, 2 ... in order of first use."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self._codes: dict[str, int] = {}
        self._decoded: dict[tuple[bytes, str], int] = {}

    def code(self, text: str) -> int:
        """The code of a text."""
        found = self._codes.get(text)
        if found is None:
            found = self._codes[text] = len(self.values)
            self.values.append(text)
        return found

    def decode(self, data: bytes, encoding: str) -> int:
        """The code of an encoded text. What cannot be decoded becomes U+FFFD; a lone surrogate does too."""
        key = (data, encoding)
        found = self._decoded.get(key)
        if found is None:
            text = data.decode(encoding, "replace")
            found = self._decoded[key] = self.code(text)
        return found

    def text(self, code: int) -> str | None:
        """The text of a code, None for `MISSING`."""
        return None if code < 0 else self.values[code]

    def slices(
        self,
        arena: npt.NDArray[np.uint8],
        starts: npt.NDArray[np.int64],
        sizes: npt.NDArray[np.int64],
        encoding: str,
    ) -> npt.NDArray[np.int32]:
        """The codes of texts that lie in an arena. A size below zero means that there is none."""
        data = memoryview(arena)
        decode = self.decode
        return np.fromiter(
            (
                MISSING if size < 0 else decode(bytes(data[start : start + size]), encoding)
                for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)
            ),
            dtype=np.int32,
            count=len(starts),
        )
