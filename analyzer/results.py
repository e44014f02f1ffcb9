"""Results as files: each table as Parquet (what is read back) and CSV (for people), and `summary.json`.

Everything is first written into a folder of its own beside the results and then moved into place, so an interruption
leaves no half-written file.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from analyzer import __version__, tables
from analyzer.analysis import Analysis
from analyzer.errors import AnalyzerError

FORMAT_VERSION = 1
"""Raised when a reader of older results would misread newer ones."""
PARQUET_ROWS = 32_768
CSV_ROWS = 8_192
"""Rows that are spelt out at a time."""
EXECUTABLE = r"^([=+\-@\t\r])"
"""How a cell begins that a spreadsheet would take for a formula."""


def save(analysis: Analysis, directory: Path) -> None:
    """Write all tables and the summary into a folder, which is made if need be. Older results in it are replaced.

    Raises AnalyzerError if the folder cannot be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=".writing-", dir=directory))
        try:
            for name in (*tables.ROWS, *tables.SUMMARIES):
                table = analysis.arrow(name)
                write_csv(table, making / f"{name}.csv")
                pyarrow.parquet.write_table(
                    table, making / f"{name}.parquet", compression="zstd", row_group_size=PARQUET_ROWS
                )
            (making / "summary.json").write_text(json.dumps(summary(analysis), indent=2) + "\n", encoding="utf-8")
            for file in sorted(making.iterdir()):
                os.replace(file, directory / file.name)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    except OSError as problem:
        raise AnalyzerError(f"{directory}: results cannot be written: {problem.strerror or problem}") from problem


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


def write_csv(table: pa.Table, target: Any) -> None:
    """CSV with a header: an empty text is `""`, a missing value nothing; formulas are defused by an apostrophe."""
    options = pyarrow.csv.WriteOptions(quoting_style="needed", quoting_header="needed")
    columns = [_Spelt(column) for column in table.columns]
    schema = pa.schema([(name, column.type) for name, column in zip(table.column_names, columns, strict=True)])
    with pyarrow.csv.CSVWriter(target, schema, write_options=options) as writer:
        for start in range(0, len(table), CSV_ROWS):
            writer.write_table(
                pa.Table.from_arrays([column.rows(start, CSV_ROWS) for column in columns], schema=schema)
            )


class _Spelt:
    """A column as it is written: texts instead of numbers of a dictionary, defused."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._numbers = column.combine_chunks()
        self._texts = None
        self.type = column.type
        if pa.types.is_dictionary(column.type):
            self._texts = pc.replace_substring_regex(self._numbers.dictionary, EXECUTABLE, r"'\1")
            self._numbers = self._numbers.indices
            self.type = self._texts.type

    def rows(self, start: int, count: int) -> pa.Array:
        part = self._numbers.slice(start, count)
        return part if self._texts is None else self._texts.take(part)
