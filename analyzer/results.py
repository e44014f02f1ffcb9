"""Results as files: each table as Parquet (which `load` reads back) and CSV (for people), and `summary.json`.

All or none of them are put in place (`writing`): there are never tables of one analysis beside those of another.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from analyzer import __version__, tables
from analyzer.analysis import SUMMARY, Analysis
from analyzer.errors import AnalyzerError, UsageError
from analyzer.lines import lines_of
from analyzer.summary import coverage
from analyzer.summary.coverage import Measure
from analyzer.summary.judging import judging
from analyzer.writing import Writing

FORMAT_VERSION = 3
"""Raised when tables or columns change: results of another version are refused."""
MOST_BYTES = 1 << 26
"""Of a `summary.json`: what is larger was not written here."""
PARQUET_ROWS = 65_536
"""Rows that are spelt out at a time."""
FEW_TEXTS = 8_192
"""Different texts of a column up to which Parquet gets them with each of its row groups."""
PANDAS_VERSION = "2.2.0"
"""The version whose description of columns is written."""


def save(analysis: Analysis, directory: Path) -> None:
    """Write all tables and the summary into a folder, which is made if need be. Older results in it are replaced.

    Raises AnalyzerError if the folder cannot be written to.
    """
    with Writing(directory) as files:
        finish(analysis, files)


def finish(analysis: Analysis, files: Writing) -> None:
    """As `save`, where some tables may have been handed to `write_table` before."""
    for name in (*tables.ROWS, *tables.SUMMARIES):
        table = analysis.arrow(name)
        if f"{name}.csv" not in files.names:
            write_table(name, table, files)
    told = json.dumps(summary(analysis), indent=2) + "\n"
    files.add(SUMMARY, lambda path: _write_text(told, path))
    files.put_in_place()


def write_table(name: str, table: pa.Table, files: Writing) -> None:
    """Have the files of a table written, while others are made."""
    files.add(f"{name}.parquet", lambda path: write_parquet(name, table, path))
    files.add(f"{name}.csv", lambda path: write_csv(table, path))


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def summary(analysis: Analysis) -> dict[str, Any]:
    """What the results are, in a few numbers."""
    captures = analysis.arrow("captures")
    verdicts = tables.TableSet({"dependencies": analysis.arrow("dependencies")}).columns("dependencies", "verdict")
    return {
        "format_version": FORMAT_VERSION,
        "analyzer_version": __version__,
        "settings": analysis.settings,
        "captures": len(captures),
        "unreadable": [error for error in captures["errors"].to_pylist() if error is not None],
        "rows": {name: len(analysis.arrow(name)) for name in (*tables.ROWS, *tables.SUMMARIES)},
        "verdicts": {
            name: int(np.count_nonzero(verdicts["verdict"] == place)) for place, name in enumerate(tables.VERDICT)
        },
        "coverage": coverage.overall(analysis.arrow("coverage")),
        "counts": analysis.counts,
        "logged": [list(measure) for measure in analysis.logged],
        "unreadable_logs": analysis.problems_of_logs,
    }


def load(
    directory: str | Path,
    *,
    applications: str | Path | None = None,
    scanners: str | Path | None = None,
    timezone: str | None = None,
    minimum: str | None = None,
) -> Analysis:
    """The analysis that `save` wrote to a folder; tables are read when they are first asked for.

    applications, scanners, timezone, minimum: as of `analyze`. Where one is given summaries are made anew, by what is given
    alone: rules of the analysis that was written are not known any more.
    Raises UsageError if the folder holds no results, or those of another version; AnalyzerError if they are damaged.
    """
    directory = Path(directory)
    told = _told(directory)
    settings = told["settings"]
    if applications is scanners is timezone is minimum is None:
        analysis = Analysis(_Saved(directory), told["counts"], settings, logged=_measures(told["logged"]))
    else:
        how = judging(
            applications,
            scanners,
            timezone if timezone is not None else str(settings.get("timezone", "UTC")),
            minimum if minimum is not None else str(settings.get("minimum", "")),
        )
        rows = _Saved(directory, without=tables.SUMMARIES)
        analysis = Analysis(rows, told["counts"], settings | how.settings(), how, _measures(told["logged"]))
    analysis.problems_of_logs = [str(problem) for problem in told["unreadable_logs"]]
    return analysis


def _told(directory: Path) -> dict[str, Any]:
    """What `summary.json` says, as far as it is needed to read the tables."""
    path = directory / SUMMARY
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path}: too large to be a summary of results")
        told: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise UsageError(f"{directory}: no results: {path.name}: {problem.strerror or problem}") from problem
    except ValueError as problem:
        raise AnalyzerError(f"{path}: not readable: {problem}") from problem
    if not isinstance(told, dict):
        raise AnalyzerError(f"{path}: no summary of results")
    version = told.get("format_version")
    if version != FORMAT_VERSION:
        by = told.get("analyzer_version", "?")
        raise UsageError(
            f"{directory}: results in format {version}, written by version {by}; this version reads format "
            f"{FORMAT_VERSION}. Analyze the captures again."
        )
    kinds = {"counts": dict, "settings": dict, "logged": list, "unreadable_logs": list}
    if wrong := [name for name, kind in kinds.items() if not isinstance(told.get(name), kind)]:
        raise AnalyzerError(f"{path}: {', '.join(wrong)} missing or damaged")
    return told


def _measures(listed: list[Any]) -> list[Measure]:
    return [(server, str(measure), int(value), str(meaning)) for server, measure, value, meaning in listed]


class _Saved(dict[str, pa.Table]):
    """The tables of a folder, each read when it is first asked for. without: those to be made anew."""

    def __init__(self, directory: Path, without: Sequence[str] = ()) -> None:
        super().__init__()
        self._directory = directory
        self._names = set(tables.TABLES) - set(without)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._names

    def __missing__(self, name: str) -> pa.Table:
        if name not in self._names:
            raise KeyError(name)
        self[name] = read_parquet(name, self._directory / f"{name}.parquet")
        return self[name]


def read_parquet(name: str, path: Path) -> pa.Table:
    """The table `name` as `write_parquet` wrote it. Raises AnalyzerError if it is not there, damaged, or another table."""
    texts = [column.name for column in tables.TABLES[name] if column.kind == tables.TEXT]
    try:
        # Not memory-mapped: what is read must not change, nor be held open.
        with pyarrow.parquet.ParquetFile(path, read_dictionary=texts) as file:
            found = file.read()
        columns = {column.name: _as_kept(found[column.name], column.kind) for column in tables.TABLES[name]}
        return tables.table(name, columns, len(found))
    except OSError as problem:
        raise AnalyzerError(f"{path}: {problem.strerror or problem}") from problem
    except (pa.ArrowException, KeyError, ValueError) as problem:
        raise AnalyzerError(f"{path}: not the table {name}, or damaged: {problem}") from problem


def _as_kept(column: pa.ChunkedArray, kind: str | tuple[str, ...]) -> pa.Array:
    """A column of a file in the form of the contract."""
    if isinstance(kind, str) and kind != tables.TEXT:
        return tables.one_array(column.cast(tables.ARROW[kind]))
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    array = tables.one_array(column.unify_dictionaries() if column.num_chunks > 1 else column)
    codes, values = tables.filled(array.indices.cast(pa.int32())), array.dictionary.to_pylist()
    if isinstance(kind, str):
        return tables.coded(codes, array.dictionary.cast(pa.large_string()))
    places = np.array([*[kind.index(value) for value in values], -1], dtype=np.int8)
    return tables.places_in(places[codes], kind)


def write_csv(table: pa.Table, target: Path | IO[bytes]) -> None:
    """CSV with a header: an empty text is `""`, a missing value nothing; formulas are defused by an apostrophe."""
    with nullcontext(target) if not isinstance(target, Path) else target.open("wb") as file:
        for some in lines_of(table):
            file.write(some)


def write_parquet(name: str, table: pa.Table, path: Path) -> None:
    """Parquet that `pandas.read_parquet` reads with the types of the contract.

    A reader makes categories of whatever the file says that Arrow wrote as numbers of a dictionary. So the file says that
    texts are texts, though few of them are handed over as such numbers: Parquet has dictionaries too, and need not look
    for equal texts again. Where most values are different it has no dictionary; such numbers and times are kept as what
    they are more than the one before.
    """
    columns = {column: tables.one_array(table[column]) for column in table.column_names}
    texts = [column for column, array in columns.items() if pa.types.is_dictionary(array.type)]
    many_texts = [column for column in texts if len(columns[column].dictionary) > FEW_TEXTS]
    categories = [column for column in texts if columns[column].type.ordered]  # all of which the dictionary tells
    repeated = [column for column, array in columns.items() if column in categories or tables.repeats_itself(array)]
    numbers = [column for column, array in columns.items() if column not in texts and array.type.bit_width == 64]
    schema = pa.schema(
        [(column, array.type.value_type if column in many_texts else array.type) for column, array in columns.items()]
    )
    said = pa.schema(
        [
            (column, pa.large_string() if column in texts and column not in categories else array.type)
            for column, array in columns.items()
        ]
    )
    described = {"pandas": json.dumps(_described(name))}
    with pyarrow.parquet.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=repeated,
        column_encoding={column: "DELTA_BINARY_PACKED" for column in numbers if column not in repeated},
        store_schema=False,
    ) as writer:
        for start in range(0, len(table), PARQUET_ROWS):
            parts = {column: array.slice(start, PARQUET_ROWS) for column, array in columns.items()}
            parts |= {column: parts[column].dictionary_decode() for column in many_texts}
            writer.write_table(pa.Table.from_arrays(list(parts.values()), schema=schema))
        said_as_arrow = base64.b64encode(said.with_metadata(described).serialize())
        writer.add_key_value_metadata({**described, "ARROW:schema": said_as_arrow})


def _described(name: str) -> dict[str, Any]:
    """What pandas writes of a table's columns into a file, in order to make the same ones of it.

    https://pandas.pydata.org/docs/development/developer.html#storing-pandas-dataframe-objects-in-apache-parquet-format
    """
    types: dict[str, tuple[str, str, Any]] = {
        tables.TEXT: ("unicode", "string", None),
        tables.INT: ("int64", "Int64", None),
        tables.BOOL: ("bool", "boolean", None),
        tables.TIME: ("datetimetz", "datetime64[ns]", {"timezone": "UTC"}),
    }
    columns = []
    for column in tables.TABLES[name]:
        pandas_type, numpy_type, more = (
            ("categorical", "int8", {"num_categories": len(column.kind), "ordered": True})
            if isinstance(column.kind, tuple)
            else types[column.kind]
        )
        columns.append(
            {
                "name": column.name,
                "field_name": column.name,
                "pandas_type": pandas_type,
                "numpy_type": numpy_type,
                "metadata": more,
            }
        )
    return {
        "index_columns": [],
        "column_indexes": [],
        "columns": columns,
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": PANDAS_VERSION,
    }
