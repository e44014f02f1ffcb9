"""Tables as the lines of CSV files: an empty text is `""`, a missing value nothing.

Most columns have few different values. So their cells are spelt once for each value, and where such columns stand side by
side, once for each combination of values that occurs: a line is put together of a few parts, not of all its cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from analyzer import tables

ROWS = 2_048
"""Rows that are spelt out at a time."""
MOST_COMBINED = 1 << 16
"""Combinations of values that are thought of at a time, whether they occur or not."""
EXECUTABLE = r"^([=+\-@\t\r])"
"""How a cell begins that a spreadsheet would take for a formula."""
TIME_WIDTH = len("2024-01-31 12:00:00.000000000Z")
COMMA, QUOTE, LINE_END, NOTHING = tables.strings([",", '"', "\n", ""])
NO_CELL = tables.strings([""])


def lines_of(table: pa.Table) -> Iterator[bytes | memoryview]:
    """The header, then some rows at a time. Formulas are defused by an apostrophe."""
    yield (",".join(f'"{name}"' for name in table.column_names) + "\n").encode()
    *parts, last = _parts([tables.one_array(column) for column in table.columns])
    last = last.ended()
    for start in range(0, len(table), ROWS):
        cells = [part.rows(start, ROWS) for part in (*parts, last)]
        yield _bytes_of(pc.binary_join_element_wise(*cells, COMMA, null_handling="replace"))


@dataclass(frozen=True, slots=True)
class _Few:
    """Parts of lines that are often the same. codes: for each row the place of its text."""

    codes: npt.NDArray[np.int32]
    texts: pa.Array

    def rows(self, start: int, count: int) -> pa.Array:
        return self.texts.take(tables.primitive(self.codes[start : start + count], pa.int32()))

    def ended(self) -> _Few:
        """The same, with the end of a line behind it."""
        return _Few(self.codes, pc.binary_join_element_wise(self.texts, LINE_END, NOTHING))


@dataclass(frozen=True, slots=True)
class _Many:
    """The cells of a column of many values, each spelt out where it stands."""

    column: pa.Array
    end: pa.Scalar = NOTHING

    def rows(self, start: int, count: int) -> pa.Array:
        part = self.column.slice(start, count)
        cells = part.dictionary_decode() if pa.types.is_dictionary(part.type) else _spelt(part)
        if self.end is NOTHING:
            return cells
        return pc.binary_join_element_wise(cells, self.end, NOTHING, null_handling="replace")

    def ended(self) -> _Many:
        return _Many(self.column, LINE_END)


def _parts(columns: Sequence[pa.Array]) -> list[_Few | _Many]:
    """What lines are made of, in order."""
    found: list[_Few | _Many] = []
    side_by_side: list[_Few] = []
    for column in map(_with_cells, columns):
        few = _few(column)
        if few is None:
            found += [*_together(side_by_side), _Many(column)]
            side_by_side = []
            continue
        if side_by_side and prod(len(it.texts) for it in (*side_by_side, few)) > MOST_COMBINED:
            *done, last = _together(side_by_side)
            found += done
            side_by_side = [last]  # most combinations do not occur, so there may be room again
            if len(last.texts) * len(few.texts) > MOST_COMBINED:
                found.append(last)
                side_by_side = []
        side_by_side.append(few)
    return found + _together(side_by_side)


def _with_cells(column: pa.Array) -> pa.Array:
    """A column, if it is one of texts with what stands for each of them in a file."""
    if not pa.types.is_dictionary(column.type):
        return column
    return pa.DictionaryArray.from_arrays(column.indices, _quoted(column.dictionary))


def _few(column: pa.Array) -> _Few | None:
    """The cells of a column, if its values are few."""
    if not tables.repeats_itself(column):
        return None
    if not pa.types.is_dictionary(column.type):
        encoded = column.dictionary_encode()
        if not tables.repeats_itself(encoded):  # further down it does not
            return None
        column = pa.DictionaryArray.from_arrays(encoded.indices, _spelt(encoded.dictionary))
    codes = tables.filled(column.indices).astype(np.int32, copy=False)
    if not column.null_count:
        return _Few(codes, column.dictionary)
    return _Few(codes + np.int32(1), pa.concat_arrays([NO_CELL, column.dictionary]))


def _together(side_by_side: Sequence[_Few]) -> list[_Few]:
    """Columns side by side as one, or as some if their values come in too many combinations."""
    if len(side_by_side) < 2:
        return list(side_by_side)
    sizes = [len(it.texts) for it in side_by_side]
    combination = np.zeros(len(side_by_side[0].codes), dtype=np.int32)
    for it, size in zip(side_by_side, sizes, strict=True):
        combination *= size
        combination += it.codes
    occurs = np.zeros(prod(sizes), dtype=bool)
    occurs[combination] = True
    different = np.flatnonzero(occurs)
    if len(different) * tables.OFTEN > len(combination):
        half = len(sizes) // 2
        return [*_together(side_by_side[:half]), *_together(side_by_side[half:])]
    place = np.empty(len(occurs), dtype=np.int32)
    place[different] = np.arange(len(different))
    cells: list[pa.Array] = []
    for it, size in zip(reversed(side_by_side), reversed(sizes), strict=True):
        different, code = np.divmod(different, size)
        cells.insert(0, it.texts.take(tables.primitive(code, pa.int64())))
    return [_Few(place[combination], pc.binary_join_element_wise(*cells, COMMA))]


def _quoted(texts: pa.Array) -> pa.Array:
    texts = texts.cast(pa.large_string())
    if pc.any(pc.match_substring_regex(texts, EXECUTABLE)).as_py():
        texts = pc.replace_substring_regex(texts, EXECUTABLE, r"'\1")
    if pc.any(pc.match_substring(texts, '"')).as_py():
        texts = pc.replace_substring(texts, '"', '""')
    return pc.binary_join_element_wise(QUOTE, texts, QUOTE, NOTHING)


def _spelt(values: pa.Array) -> pa.Array:
    """Numbers, truth values and times as texts."""
    return _spelt_times(values) if pa.types.is_timestamp(values.type) else values.cast(pa.large_string())


def _spelt_times(times: pa.Array) -> pa.Array:
    """As `cast` spells times in UTC, which looks the zone up for each of them and takes twenty times as long.

    Times in nanoseconds have years of four digits, so all are as long as the others; where none is, the text is empty.
    """
    bare = times.drop_null().cast(pa.timestamp("ns")).cast(pa.large_string())
    spelt = np.full((len(bare), TIME_WIDTH), ord("Z"), dtype=np.uint8)
    spelt[:, :-1] = np.frombuffer(_bytes_of(bare), dtype=np.uint8).reshape(len(bare), TIME_WIDTH - 1)
    ends = np.zeros(len(times) + 1, dtype=np.int64)
    np.cumsum(tables.filled(times.is_valid()), out=ends[1:])
    return pa.LargeStringArray.from_buffers(len(times), pa.py_buffer(ends * TIME_WIDTH), pa.py_buffer(spelt))


def _bytes_of(texts: pa.Array) -> memoryview:
    """All texts of an array that begins at its buffers' beginning, one after the other."""
    _, offsets, data = texts.buffers()
    return memoryview(data)[: int(np.frombuffer(offsets, dtype=np.int64)[len(texts)])]
