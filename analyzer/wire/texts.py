"""A pool of texts, so that batches can carry numbers: a user name seen a million times is stored once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MISSING = -1
"""The code of a text that is not there. The empty text is a value and has a code of its own."""


FEW = 8
"""Fewer texts than this are decoded one by one."""


class Texts:
    """Texts and their codes, 0, 1, 2 ... in order of first use."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self._codes: dict[str, int] = {}
        self._decoded: dict[tuple[bytes, str], int] = {}
        self.memo: dict[object, int] = {}  # for those who format codes of their own kind

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
        """The codes of texts that lie in an arena. A size below zero means that there is none.

        Names repeat, so each distinct one of a size is decoded once: they are told apart by a hash, and compared.
        """
        codes = np.full(len(starts), MISSING, dtype=np.int32)
        for size in np.unique(sizes[sizes >= 0]).tolist():
            places = np.flatnonzero(sizes == size)
            if size == 0 or len(places) < FEW:
                data = arena.data
                codes[places] = [self.decode(bytes(data[at : at + size]), encoding) for at in starts[places].tolist()]
                continue
            window = np.lib.stride_tricks.sliding_window_view(arena, size)
            words = np.zeros((len(places), -(-size // 8) * 8), dtype=np.uint8)
            words[:, :size] = window[starts[places]]
            numbers = words.view(np.uint64)
            _, first, inverse = np.unique(_hashed(numbers), return_index=True, return_inverse=True)
            known = [self.decode(words[place, :size].tobytes(), encoding) for place in first.tolist()]
            codes[places] = np.array(known, dtype=np.int32)[inverse]
            for other in np.flatnonzero((numbers != numbers[first[inverse]]).any(axis=1)).tolist():
                codes[places[other]] = self.decode(words[other, :size].tobytes(), encoding)
        return codes


def _hashed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = np.zeros(len(words), dtype=np.uint64)
    for column in range(words.shape[1]):
        value = (value ^ words[:, column]) * np.uint64(0x9E3779B97F4A7C15)
        value ^= value >> np.uint64(29)
    return value
