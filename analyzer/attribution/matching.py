"""Texts against patterns as of file names: `*`, `?`, `[a-z]`. Each different text is looked at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import translate

import numpy as np

from analyzer.groups import Mask, Numbers, looked_up
from analyzer.sessions.joins import Ints

_SPECIAL = frozenset("*?[")

Says = Callable[[str], bool]
"""What is asked of a text."""


def globs(patterns: Sequence[str], any_case: bool = True) -> Says:
    """True of a text that all of one of these patterns fits."""
    flags = re.IGNORECASE if any_case else re.NOFLAG
    special = [translate(pattern) for pattern in patterns if _SPECIAL & set(pattern)]
    plain = frozenset(
        pattern.casefold() if any_case else pattern for pattern in patterns if not _SPECIAL & set(pattern)
    )
    if not special:
        return lambda text: (text.casefold() if any_case else text) in plain
    fits = re.compile("|".join(special), flags).match
    if not plain:
        return lambda text: fits(text) is not None
    return lambda text: (text.casefold() if any_case else text) in plain or fits(text) is not None


class Distinct:
    """A column of codes, of which each different one is asked about once."""

    def __init__(self, codes: Numbers, text: Callable[[int], str | None]) -> None:
        """text: what a code stands for; None for one that is not there."""
        different, self._place = np.unique(codes, return_inverse=True)
        self._texts = [text(code) for code in different.tolist()]

    def are(self, says: Says, missing: bool = False) -> Mask:
        """For each row what is said of its text; `missing` where it has none."""
        found = np.array([missing if text is None else says(text) for text in self._texts], dtype=bool)
        return found[self._place]


def first_of(masks: Sequence[Mask], length: int) -> Ints:
    """For each row the number of the first mask that is true there, -1 where none is."""
    found = np.full(length, -1, dtype=np.int64)
    for number in reversed(range(len(masks))):
        found[masks[number]] = number
    return found


def by_row(values: Sequence[int], row: Ints) -> Ints:
    """`values[row]`, -1 where the row is."""
    found: Ints = looked_up(np.array(values, dtype=np.int64), row, -1)
    return found
