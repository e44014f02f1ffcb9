"""Engines compared: that they agree, and that a difference is found and has its place."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import manifest
import pytest

import analyzer
from analyzer import engines, tables, verify
from analyzer.errors import UsageError
from analyzer.verify import PLACES

CAPTURES = manifest.CAPTURES
SAME = ("anonymous-smb311.pcap", "anonymous-smb1.pcap", "rap.pcap", "refused-stub.pcap", "interleaved-smb1.pcap")
needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


def counted(found: verify.Verification, table: str) -> tuple[int, int, int, int]:
    """Rows of both, equal ones, and those of one engine only."""
    (row,) = [row for row in found.agreement if row.table == table]
    return row.rows, row.equal, row.only_engine, row.only_other


@pytest.mark.parametrize("name", SAME)
def test_scapy_finds_the_same(name: str) -> None:
    found = verify.verify(CAPTURES / name, ("native", "scapy"))
    assert found.differences == []
    assert found.is_equal()
    whole = analyzer.analyze(CAPTURES / name, detail="all")
    for table in PLACES:
        size = len(whole.table(table))
        assert counted(found, table) == (size, size, 0, 0), table


@needs_tshark
@pytest.mark.parametrize("name", SAME)
def test_tshark_finds_the_same(name: str) -> None:
    found = verify.verify(CAPTURES / name, ("native", "tshark"))
    assert found.differences == []


def test_what_only_one_engine_looks_into_is_a_difference_with_its_place() -> None:
    """scapy's engine decrypts nothing: what was done in encrypted null sessions only native sees."""
    name = CAPTURES / "anonymous-encrypted.pcap"
    found = verify.verify(name, ("native", "scapy"))
    calls = analyzer.analyze(name, detail="all").calls
    assert not found.is_equal()
    rows, equal, only_native, only_scapy = counted(found, "calls")
    assert (rows, equal, only_native, only_scapy) == (0, 0, len(calls), 0)
    told = [one for one in found.differences if one.table == "calls"]
    assert sorted(one.frame for one in told if one.frame is not None) == sorted(calls["frame"].tolist())
    assert {(one.column, one.engine, one.value, one.other, one.other_value) for one in told} == {
        ("", "native", "a row", "scapy", None)
    }
    assert {one.table for one in found.differences} == {"trees", "pipe_opens", "binds", "calls"}
    assert found.count == len(found.differences)


@pytest.mark.parametrize("name", engines.NAMES)
def test_what_an_engine_cannot_know_is_a_column_or_a_table(name: str) -> None:
    """A gap that names nothing would hide nothing, and a column that no longer exists would stay declared."""
    for gap, reason in engines.declared(name).gaps.items():
        table, _, column = gap.partition(".")
        assert table in tables.TABLES
        assert not column or column in {one.name for one in tables.TABLES[table]}
        assert reason


def test_it_takes_two_engines_that_there_are() -> None:
    with pytest.raises(UsageError, match="two engines"):
        verify.verify(CAPTURES / SAME[0], ("native",))
    with pytest.raises(UsageError, match="wireshark"):
        verify.verify(CAPTURES / SAME[0], ("native", "wireshark"))


def test_the_outcome_as_tables(tmp_path: Path) -> None:
    from analyzer import results  # noqa: PLC0415

    found = verify.verify(CAPTURES / "anonymous-encrypted.pcap", ("native", "scapy"))
    made = dict(verify.as_tables(found))
    assert made["differences"].num_rows == found.count
    results.write_csv(made["agreement"], tmp_path / "agreement.csv")
    with (tmp_path / "agreement.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["table"] for row in rows] == list(PLACES)
    assert {(row["engine"], row["other"]) for row in rows} == {("native", "scapy")}
