"""Results as files: each table as Parquet (what is read back) and CSV (for people), and `summary.json`.

Everything is first written into a folder of its own beside the results and then moved into place, all or none of it: so
an interruption leaves no half-written file, and no tables of one analysis beside those of another.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from analyzer import __version__, memory, tables
from analyzer.analysis import Analysis
from analyzer.errors import AnalyzerError

FORMAT_VERSION = 1
"""Raised when a reader of older results would misread newer ones."""
MANY_ROWS = 10_000
PARQUET_ROWS = 16_384
CSV_ROWS = 8_192
"""Rows that are spelt out at a time."""
EXECUTABLE = r"^([=+\-@\t\r])"
"""How a cell begins that a spreadsheet would take for a formula."""
COMMA, QUOTE, LINE_END, UTC, NOTHING = (pa.scalar(text, pa.large_string()) for text in (",", '"', "\n", "Z", ""))


def save(analysis: Analysis, directory: Path) -> None:
    """Write all tables and the summary into a folder, which is made if need be. Older results in it are replaced.

    Raises AnalyzerError if the folder cannot be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=".writing-", dir=directory))
        try:
            for name in (*tables.SUMMARIES, *tables.ROWS):
                table = analysis.arrow(name)
                write_csv(table, making / f"{name}.csv")
                write_parquet(name, table, making / f"{name}.parquet")
                if len(table) > MANY_ROWS:
                    memory.give_back()
            (making / "summary.json").write_text(json.dumps(summary(analysis), indent=2) + "\n", encoding="utf-8")
            _put_in_place(making, directory)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    except OSError as problem:
        raise AnalyzerError(f"{directory}: results cannot be written: {problem.strerror or problem}") from problem


def _put_in_place(making: Path, directory: Path) -> None:
    """Move all files there; if that fails or is interrupted midway, none, and the older ones are as they were."""
    names = sorted(file.name for file in making.iterdir())
    older = making / "older"
    older.mkdir()
    try:
        for name in names:
            if (directory / name).exists():
                os.replace(directory / name, older / name)
        for name in names:
            os.replace(making / name, directory / name)
    except BaseException:
        for name in names:
            if not (making / name).exists():
                os.replace(directory / name, making / name)
            if (older / name).exists():
                os.replace(older / name, directory / name)
        raise


def summary(analysis: Analysis) -> dict[str, Any]:
    """What the results are, in a few numbers."""
    overall = analysis.coverage[analysis.coverage["server_ip"].isna()]
    errors = analysis.captures.dropna(subset="errors")
    verdicts = tables.to_pandas("dependencies", analysis.arrow("dependencies"), ["verdict"])["verdict"]
    return {
        "format_version": FORMAT_VERSION,
        "analyzer_version": __version__,
        "settings": analysis.settings,
        "captures": len(analysis.captures),
        "unreadable": [str(error) for error in errors["errors"]],
        "rows": {name: len(analysis.arrow(name)) for name in (*tables.ROWS, *tables.SUMMARIES)},
        "verdicts": {name: int((verdicts == name).sum()) for name in tables.VERDICT},
        "coverage": dict(zip(overall["measure"].tolist(), (int(value) for value in overall["value"]), strict=True)),
    }


def write_csv(table: pa.Table, target: Path | IO[bytes]) -> None:
    """CSV with a header: an empty text is `""`, a missing value nothing; formulas are defused by an apostrophe."""
    columns = [_cells(_one_array(column)) for column in table.columns]
    with nullcontext(target) if not isinstance(target, Path) else target.open("wb") as file:
        file.write((",".join(f'"{name}"' for name in table.column_names) + "\n").encode())
        for start in range(0, len(table), CSV_ROWS):
            *cells, last = [column.rows(start, CSV_ROWS) for column in columns]
            last = pc.binary_join_element_wise(last, LINE_END, NOTHING, null_handling="replace")
            file.write(_bytes_of(pc.binary_join_element_wise(*cells, last, COMMA, null_handling="replace")))


def _cells(array: pa.Array) -> _Column:
    """What stands in the cells of a column of a CSV file."""
    if pa.types.is_dictionary(array.type):
        harmless = pc.replace_substring_regex(array.dictionary.cast(pa.large_string()), EXECUTABLE, r"'\1")
        doubled = pc.replace_substring(harmless, '"', '""')
        return _Column(array, pc.binary_join_element_wise(QUOTE, doubled, QUOTE, NOTHING))
    if pa.types.is_timestamp(array.type):
        return _Column(array, spelt=_time_cells)
    return _Column(array, spelt=lambda part: part.cast(pa.large_string()))


def _time_cells(times: pa.Array) -> pa.Array:
    """As `cast` spells times in UTC, which looks the zone up for each of them and takes twenty times as long."""
    return pc.binary_join_element_wise(times.cast(pa.timestamp("ns")).cast(pa.large_string()), UTC, NOTHING)


def _bytes_of(lines: pa.Array) -> memoryview:
    """All texts of an array that begins at its buffers' beginning, one after the other."""
    _, offsets, data = lines.buffers()
    return memoryview(data)[: int(np.frombuffer(offsets, dtype=np.int64)[len(lines)])]


def write_parquet(name: str, table: pa.Table, path: Path) -> None:
    """Parquet that `pandas.read_parquet` reads with the types of the contract.

    pandas takes them from its own description in the file, and makes categories of whatever Arrow wrote as numbers of
    a dictionary. So texts are written as texts; Parquet has dictionaries of its own for them.
    """
    arrays = [_one_array(column) for column in table.columns]
    columns = [
        _Column(array, array.dictionary)
        if pa.types.is_dictionary(array.type) and not array.type.ordered
        else _Column(array)
        for array in arrays
    ]
    described = pa.Schema.from_pandas(tables.to_pandas(name, table.slice(0, 0)), preserve_index=False)
    schema = _schema(table, columns).with_metadata(described.metadata)
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for part in _parts(columns, schema, len(table), PARQUET_ROWS):
            writer.write_table(part)


class _Column:
    """A column as it is written, some rows at a time.

    texts: what stands there for the numbers of a dictionary. spelt: what is made of the values of another column.
    """

    def __init__(
        self, array: pa.Array, texts: pa.Array | None = None, spelt: Callable[[pa.Array], pa.Array] = lambda part: part
    ) -> None:
        self._array = array if texts is None else array.indices
        self._spelt = spelt if texts is None else texts.take
        self.type = array.type if texts is None else texts.type

    def rows(self, start: int, count: int) -> pa.Array:
        return self._spelt(self._array.slice(start, count))


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # which copies


def _schema(table: pa.Table, columns: Sequence[_Column]) -> pa.Schema:
    return pa.schema([(name, column.type) for name, column in zip(table.column_names, columns, strict=True)])


def _parts(columns: Sequence[_Column], schema: pa.Schema, length: int, count: int) -> Iterator[pa.Table]:
    for start in range(0, length, count):
        yield pa.Table.from_arrays([column.rows(start, count) for column in columns], schema=schema)
