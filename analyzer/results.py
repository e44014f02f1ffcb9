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
CSV_ROWS = 20_000
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
        "rows": {name: len(analysis.arrow(name)) for name in (*tables.ROWS, *tables.SUMMARIES)},
        "verdicts": {name: int((analysis.dependencies["verdict"] == name).sum()) for name in tables.VERDICT},
        "coverage": dict(zip(overall["measure"].tolist(), (int(value) for value in overall["value"]), strict=True)),
    }


def write_csv(table: pa.Table, target: Any) -> None:
    """CSV with a header: an empty text is `""`, a missing value nothing; formulas are defused by an apostrophe."""
    options = pyarrow.csv.WriteOptions(quoting_style="needed", quoting_header="needed")
    plain = [_plain(column) for column in table.slice(0, 0).columns]
    schema = pa.schema(list(zip(table.column_names, [column.type for column in plain], strict=True)))
    with pyarrow.csv.CSVWriter(target, schema, write_options=options) as writer:
        for start in range(0, len(table), CSV_ROWS):
            columns = [_plain(column) for column in table.slice(start, CSV_ROWS).columns]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts instead of dictionaries, defused."""
    if not pa.types.is_dictionary(column.type):
        return column
    parts = []
    for chunk in column.chunks:
        texts = pc.replace_substring_regex(chunk.dictionary, EXECUTABLE, r"'\1")
        parts.append(texts.take(chunk.indices))
    return pa.chunked_array(parts, type=pa.large_string())
