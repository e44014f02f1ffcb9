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

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from analyzer import __version__, tables
from analyzer.analysis import Analysis
from analyzer.errors import AnalyzerError

FORMAT_VERSION = 1
"""Raised when a reader of older results would misread newer ones."""
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
                table = arrow(analysis.table(name))
                pyarrow.parquet.write_table(table, making / f"{name}.parquet", compression="zstd")
                write_csv(table, making / f"{name}.csv")
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
    return {
        "format_version": FORMAT_VERSION,
        "analyzer_version": __version__,
        "settings": analysis.settings,
        "captures": len(analysis.captures),
        "unreadable": [str(error) for error in errors["errors"]],
        "rows": {name: len(analysis.table(name)) for name in (*tables.ROWS, *tables.SUMMARIES)},
        "verdicts": {name: int((analysis.dependencies["verdict"] == name).sum()) for name in tables.VERDICT},
        "coverage": dict(zip(overall["measure"].tolist(), (int(value) for value in overall["value"]), strict=True)),
    }


def arrow(table: pd.DataFrame) -> pa.Table:
    """A table in Arrow's memory, categories as texts."""
    made = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    columns = [
        pc.cast(column, pa.large_string()) if pa.types.is_dictionary(column.type) else column for column in made.columns
    ]
    return pa.table(dict(zip(made.column_names, columns, strict=True)))


def write_csv(table: pa.Table, target: Any) -> None:
    """CSV with a header: an empty text is `""`, a missing value nothing; formulas are defused by an apostrophe."""
    options = pyarrow.csv.WriteOptions(quoting_style="needed", quoting_header="needed")
    pyarrow.csv.write_csv(
        pa.table({name: _defused(table[name]) for name in table.column_names}), target, write_options=options
    )


def _defused(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not (pa.types.is_large_string(column.type) or pa.types.is_string(column.type)):
        return column
    return pc.replace_substring_regex(column, EXECUTABLE, r"'\1")
