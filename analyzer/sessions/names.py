"""What a text says about itself, worked out once for each text of the pool."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from analyzer.compiled import Ints
from analyzer.wire.texts import MISSING, Texts

_NOT_YET = np.iinfo(np.int64).min
PIPE_PREFIX = "\\pipe\\"


class PerText:
    """A number for each text, made when it is first needed."""

    def __init__(self, make: Callable[[int], int]) -> None:
        """make: from the code of a text (or `MISSING`) to its number; it may add texts to the pool."""
        self._make = make
        self._values = np.full(256, _NOT_YET, dtype=np.int64)  # of code - 1, since `MISSING` is -1

    def __call__(self, codes: npt.NDArray[np.generic]) -> Ints:
        """The number of each text."""
        if not len(codes):
            return np.empty(0, dtype=np.int64)
        places = codes.astype(np.int64) - MISSING
        size = int(places.max()) + 1
        if size > len(self._values):
            values = np.full(2 * size, _NOT_YET, dtype=np.int64)
            values[: len(self._values)] = self._values
            self._values = values
        found = self._values[places]
        new = places[found == _NOT_YET]
        if len(new):
            for place in dict.fromkeys(new.tolist()):
                self._values[place] = self._make(place + MISSING)
            found = self._values[places]
        return found


def bare_pipe_name(text: str) -> tuple[str, bool]:
    """A pipe's name as the tables write it, and whether the client wrote the prefix `\\PIPE\\`."""
    lower = "\\" + text.lower().rstrip("\0").lstrip("\\")
    prefixed = lower.startswith(PIPE_PREFIX)
    return (lower.removeprefix(PIPE_PREFIX) if prefixed else lower).lstrip("\\"), prefixed


class Names:
    """The questions that sessions ask of texts. All answers are columns, for columns of codes."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self.is_machine = PerText(lambda code: (texts.text(code) or "").endswith("$"))
        self.is_guest = PerText(lambda code: (texts.text(code) or "").lower() == "guest")
        self.share = PerText(self._share)
        """The code of the share that a path names, in upper case."""
        self.pipe = PerText(self._pipe)
        """The code of a pipe's name as the tables write it."""
        self.has_prefix = PerText(lambda code: bare_pipe_name(texts.text(code) or "")[1])

    def _share(self, path: int) -> int:
        text = self.texts.text(path)
        return MISSING if text is None else self.texts.code(text.rpartition("\\")[2].upper())

    def _pipe(self, name: int) -> int:
        text = self.texts.text(name)
        return MISSING if text is None else self.texts.code(bare_pipe_name(text)[0])
