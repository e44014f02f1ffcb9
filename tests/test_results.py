"""Results as files: what is in them is what is in the tables."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import manifest
import pandas as pd
import pyarrow as pa
import pytest

import analyzer
from analyzer import lines, results, tables
from analyzer.errors import AnalyzerError

ALL = (*tables.ROWS, *tables.SUMMARIES)
CAPTURES = manifest.CAPTURES
DTYPES = {"text": "string", "int": "Int64", "bool": "boolean", "time": "datetime64[ns, UTC]"}
"""The contract: what pandas calls the kinds of columns; the others are ordered categories."""
ISO_UTC = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "=", '=HYPERLINK("http://x","y")', "-2+3,4\n5")
PLAIN = (
    "1=1",
    "a+b",
    "a-b",
    "x@y",
    " =1",
    "'=1",
    "a\tb",
    "",
    "a,b",
    'say "x"',
    '"',
    '""',
    "two\nlines",
    "cr\r\nlf",
    "Ü",
    "\N{PILE OF POO}",
)


# Reading, without the analyzer. #


CELL = re.compile(r'("(?:[^"]|"")*"|[^",\r\n]*)(,|\r?\n)')


def cells(path: Path) -> list[list[str | None]]:
    """A CSV file as RFC 4180 has it, but that nothing between two commas is None, and only `""` an empty text."""
    text = path.read_bytes().decode("utf-8")
    found: list[list[str | None]] = [[]]
    at = 0
    while at < len(text):
        match = CELL.match(text, at)
        assert match, text[at : at + 80]
        spelt, end = match.groups()
        found[-1].append((spelt[1:-1].replace('""', '"') if spelt[0] == '"' else spelt) if spelt else None)
        if end != ",":
            found.append([])
        at = match.end()
    assert found.pop() == [], "the last line has no end"
    return found


def by_csv_reader(path: Path) -> list[list[str]]:
    """The same as Python reads it, which does not tell an empty text from none."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True))


def as_cell(value: Any) -> str | None:
    """A value of a table as its cell must be read back, times and truth values left out."""
    if pd.isna(value):
        return None
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") and isinstance(value, str) else text


def made_of(**rows: Any) -> analyzer.Analysis:
    """An outcome in which only these tables have rows."""
    return analyzer.Analysis({name: tables.empty(name) for name in ALL} | rows, {}, {"engine": "native"})


# Results of captures, and of none. #


@pytest.fixture(scope="module")
def whole() -> analyzer.Analysis:
    """All captures, and a file that cannot be read."""
    return analyzer.analyze([CAPTURES, CAPTURES / "README.md"], detail="all")


@pytest.fixture(scope="module")
def folder(whole: analyzer.Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where its results are."""
    target = tmp_path_factory.mktemp("results")
    results.save(whole, target)
    return target


def test_each_table_has_both_files_and_there_is_a_summary(folder: Path) -> None:
    expected = {f"{name}.{suffix}" for name in ALL for suffix in ("parquet", "csv")} | {"summary.json"}
    assert {path.name for path in folder.iterdir()} == expected


def test_the_captures_fill_the_tables_that_are_compared(whole: analyzer.Analysis) -> None:
    assert [name for name in ALL if not len(whole.table(name))] == list(tables.LOGGED)  # no logs were given


@pytest.mark.parametrize("name", ALL)
def test_tables_have_the_types_of_the_contract(whole: analyzer.Analysis, name: str) -> None:
    check_types(whole.table(name), name)


def check_types(frame: pd.DataFrame, name: str) -> None:
    """Each column is there, in its order, and of its type."""
    assert list(frame) == [column.name for column in tables.TABLES[name]]
    for column in tables.TABLES[name]:
        dtype = frame[column.name].dtype
        if isinstance(column.kind, tuple):
            assert isinstance(dtype, pd.CategoricalDtype), column.name
            assert dtype.ordered, column.name
            assert tuple(dtype.categories) == column.kind, column.name
        else:
            assert str(dtype) == DTYPES[column.kind], column.name


@pytest.mark.parametrize("name", ALL)
def test_parquet_gives_the_values_back(whole: analyzer.Analysis, folder: Path, name: str) -> None:
    read = pd.read_parquet(folder / f"{name}.parquet")
    table = whole.table(name)
    assert list(read) == list(table)
    assert len(read) == len(table)
    for column in table:
        missing = table[column].isna()
        assert read[column].isna().tolist() == missing.tolist(), column
        assert read[column][~missing].tolist() == table[column][~missing].tolist(), column


@pytest.mark.parametrize(
    "name", [name for name in ALL if name not in tables.LOGGED]
)  # of no rows, no categories are kept
def test_parquet_gives_the_types_back(folder: Path, name: str) -> None:
    check_types(pd.read_parquet(folder / f"{name}.parquet"), name)


@pytest.mark.parametrize("name", ALL)
def test_csv_gives_the_values_back(whole: analyzer.Analysis, folder: Path, name: str) -> None:
    table = whole.table(name)
    header, *rows = cells(folder / f"{name}.csv")
    assert header == list(table)
    assert len(rows) == len(table)
    for place, column in enumerate(tables.TABLES[name]):
        found = [row[place] for row in rows]
        values = table[column.name].tolist()
        assert [cell is None for cell in found] == table[column.name].isna().tolist(), column.name
        if column.kind == "time":
            spelt = [cell for cell in found if cell is not None]
            assert all(ISO_UTC.fullmatch(cell) for cell in spelt), column.name
            assert [pd.Timestamp(cell) for cell in spelt] == [value for value in values if not pd.isna(value)]
        elif column.kind == "bool":
            assert [cell and cell.lower() for cell in found] == [
                None if pd.isna(value) else str(value).lower() for value in values
            ]
        else:
            assert found == [as_cell(value) for value in values], column.name


@pytest.mark.parametrize("name", ALL)
def test_csv_is_what_python_reads_too(folder: Path, name: str) -> None:
    path = folder / f"{name}.csv"
    assert by_csv_reader(path) == [[cell or "" for cell in row] for row in cells(path)]


def test_the_summary_counts_what_is_in_the_files(whole: analyzer.Analysis, folder: Path) -> None:
    told = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert list(told["rows"]) == list(ALL)
    for name, count in told["rows"].items():
        assert count == len(by_csv_reader(folder / f"{name}.csv")) - 1, name
        assert count == len(pd.read_parquet(folder / f"{name}.parquet")), name
    assert told["captures"] == told["rows"]["captures"] == len(manifest.entries()) + 1
    assert len(told["unreadable"]) == 1
    assert str(CAPTURES / "README.md") in told["unreadable"][0]
    assert told["analyzer_version"] == analyzer.__version__
    assert told["settings"]["detail"] == "all"
    verdicts = [
        row[list(whole.dependencies).index("verdict")] for row in by_csv_reader(folder / "dependencies.csv")[1:]
    ]
    assert told["verdicts"] == {name: verdicts.count(name) for name in tables.VERDICT}


def test_verdicts_in_the_summary_are_those_of_the_manifest(tmp_path: Path) -> None:
    for entry in manifest.entries():
        if entry["file"] in ("anonymous-smb311.pcap", "refused-open.pcap", "works-then-refused.pcap", "user.pcap"):
            results.save(analyzer.analyze(CAPTURES / entry["file"]), tmp_path)
            told = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["verdicts"]
            expected = manifest.expected_verdicts(entry)
            assert told == {name: expected.count(name) for name in tables.VERDICT}


def test_tables_without_rows_are_headers_of_the_right_types(tmp_path: Path) -> None:
    results.save(made_of(), tmp_path)
    for name in ALL:
        names = [column.name for column in tables.TABLES[name]]
        assert cells(tmp_path / f"{name}.csv") == [names]
        read = pd.read_parquet(tmp_path / f"{name}.parquet")
        assert (list(read), len(read)) == (names, 0)
    told = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert told["rows"] == dict.fromkeys(ALL, 0)
    assert told["verdicts"] == dict.fromkeys(tables.VERDICT, 0)


# Texts that mean something to spreadsheets. #


def users(*texts: str | None) -> analyzer.Analysis:
    """An outcome with a session of each of these users, and with them as names of workstations."""
    rows = tables.table("sessions", {"user": list(texts), "workstation": list(texts)}, len(texts))
    return made_of(sessions=rows)


def column_of(path: Path, name: str) -> list[str | None]:
    """A column of a CSV file."""
    header, *rows = cells(path)
    return [row[header.index(name)] for row in rows]


def test_formulas_are_defused_by_an_apostrophe(tmp_path: Path) -> None:
    results.save(users(*FORMULAS), tmp_path)
    for name in ("user", "workstation"):
        assert column_of(tmp_path / "sessions.csv", name) == [f"'{text}" for text in FORMULAS]
    assert pd.read_parquet(tmp_path / "sessions.parquet")["user"].tolist() == list(FORMULAS)


def test_other_texts_are_left_alone(tmp_path: Path) -> None:
    results.save(users(*PLAIN), tmp_path)
    assert column_of(tmp_path / "sessions.csv", "user") == list(PLAIN)
    header, *rows = by_csv_reader(tmp_path / "sessions.csv")
    assert [row[header.index("user")] for row in rows] == list(PLAIN)


def test_an_empty_text_is_told_from_a_missing_one(tmp_path: Path) -> None:
    results.save(users("", None, "x", None, ""), tmp_path)
    assert column_of(tmp_path / "sessions.csv", "user") == ["", None, "x", None, ""]
    read = pd.read_parquet(tmp_path / "sessions.parquet")["user"]
    assert read.isna().tolist() == [False, True, False, True, False]
    assert read[[0, 2, 4]].tolist() == ["", "x", ""]


def test_numbers_below_zero_stay_numbers(tmp_path: Path) -> None:
    rows = tables.table("coverage", {"measure": ["left"], "value": [-3]}, 1)
    results.save(made_of(coverage=rows), tmp_path)
    assert column_of(tmp_path / "coverage.csv", "value") == ["-3"]


def test_paths_with_commas_and_quotes_survive(tmp_path: Path) -> None:
    path = tmp_path / 'a, "b" =c.pcap'
    path.write_bytes((CAPTURES / "guest.pcap").read_bytes())
    results.save(analyzer.analyze(path), tmp_path / "out")
    assert column_of(tmp_path / "out" / "captures.csv", "capture") == [str(path)]
    header, row = by_csv_reader(tmp_path / "out" / "captures.csv")
    assert row[header.index("capture")] == str(path)


def test_many_rows_are_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are spelt out some at a time; nothing may be lost or repeated where two parts meet."""
    texts = [None if number % 7 == 3 else f"={number}" if number % 2 else "" for number in range(101)]
    monkeypatch.setattr(lines, "ROWS", 10)
    results.save(users(*texts), tmp_path)
    expected = [text and f"'{text}" for text in texts]
    assert column_of(tmp_path / "sessions.csv", "user") == expected


def test_times_keep_their_nanoseconds(tmp_path: Path) -> None:
    ns = 1_700_000_000_123_456_789  # 2023-11-14 22:13:20 UTC
    rows = tables.table("sessions", {"started": [pd.Timestamp(ns, tz="UTC")], "ended": [None]}, 1)
    results.save(made_of(sessions=rows), tmp_path)
    cell = column_of(tmp_path / "sessions.csv", "started")[0]
    assert cell is not None
    assert ISO_UTC.fullmatch(cell)
    assert cell.replace("T", " ").startswith("2023-11-14 22:13:20.123456789")
    assert column_of(tmp_path / "sessions.csv", "ended") == [None]
    read = pd.read_parquet(tmp_path / "sessions.parquet")
    assert read["started"].tolist() == [pd.Timestamp(ns, tz="UTC")]
    assert read["ended"].isna().all()


def test_results_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(analyzer.AnalyzerError, match=re.escape(str(file))):
        results.save(made_of(), file)


class Writing:
    """A program that writes slowly: what is begun takes a second, so what waits is told from what does not."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def parquet(self, name: str, _table: pa.Table, _path: Path) -> None:
        self.begun.append(name)
        time.sleep(1)

    def csv(self, _table: pa.Table, path: Path) -> None:
        self.begun.append(path.stem)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_fills_up_ends_it(
    whole: analyzer.Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there already stays as it was, and what waits is not begun."""
    results.save(whole, tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    writing = Writing()
    monkeypatch.setattr(results, "write_parquet", writing.parquet)
    monkeypatch.setattr(results, "write_csv", writing.csv)
    with pytest.raises(AnalyzerError, match="No space left"):
        results.save(whole, tmp_path)
    assert len(writing.begun) < len(tables.TABLES)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_an_interruption_leaves_nothing_behind(
    whole: analyzer.Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = analyzer.Analysis.arrow
    writing = Writing()

    def interrupted(analysis: analyzer.Analysis, name: str) -> pa.Table:
        if name == "dependencies":
            raise KeyboardInterrupt
        return kept(analysis, name)

    monkeypatch.setattr(analyzer.Analysis, "arrow", interrupted)
    monkeypatch.setattr(results, "write_parquet", writing.parquet)
    monkeypatch.setattr(results, "write_csv", lambda _table, path: writing.parquet(path.stem, _table, path))
    with pytest.raises(KeyboardInterrupt):
        results.save(whole, tmp_path)
    assert not list(tmp_path.iterdir())
    assert len(writing.begun) < len(tables.ROWS)
