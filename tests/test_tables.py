"""Columns from numbers, and numbers from columns. What Arrow and Python's own libraries make of them is the proof."""

from __future__ import annotations

import ipaddress
import subprocess
import sys
import uuid

import numpy as np
import pyarrow as pa
import pytest

from analyzer import tables
from analyzer.errors import AnalyzerError
from analyzer.wire.texts import Texts


def pool(*texts: str) -> Texts:
    made = Texts()
    for text in texts:
        made.code(text)
    return made


@pytest.mark.parametrize("kind", [pa.int8(), pa.int32(), pa.int64(), pa.bool_(), pa.timestamp("ns", "UTC")])
@pytest.mark.parametrize("first", [0, 1, 7, 8, 9, 19])
def test_numbers_are_read_from_any_part_of_a_column(kind: pa.DataType, first: int) -> None:
    values = [None if number % 3 == 0 else number % 2 for number in range(20)]
    none = False if pa.types.is_boolean(kind) else -1
    for there in (values, [value or 0 for value in values]):
        column = pa.array(there, type=pa.int64()).cast(kind)[first:]
        assert tables.filled(column).tolist() == [none if value is None else value for value in there[first:]]
    assert tables.filled(pa.array([], type=kind)).tolist() == []


def test_numbers_become_a_column_with_some_missing() -> None:
    values = np.array([5, -1, 7])
    assert tables.ints(values).to_pylist() == [5, None, 7]
    assert tables.ints(values, np.array([True, False, False])).to_pylist() == [None, -1, 7]
    assert tables.bools(np.array([1, 0, 1] * 5), np.arange(15) == 9).to_pylist() == [
        None if place == 9 else place % 3 != 1 for place in range(15)
    ]
    assert tables.times(np.array([0, 1])).cast(pa.int64()).to_pylist() == [None, 1]
    assert tables.times(np.array([0, 1]), np.zeros(2, bool)).cast(pa.int64()).to_pylist() == [0, 1]


def test_texts_of_codes() -> None:
    texts = ["", "ü€𐍈", "a"]
    assert tables.strings(texts).to_pylist() == texts
    assert tables.strings([]).to_pylist() == []
    column = tables.chosen(np.array([1, -1, 0, 1, 3]), [*texts, None])
    assert column.to_pylist() == ["ü€𐍈", None, "", "ü€𐍈", None]
    assert column.dictionary.to_pylist() == ["", "ü€𐍈"]  # what no row has is not kept
    assert tables.listed(["b", None, "a", "b"]).to_pylist() == ["b", None, "a", "b"]


def test_a_text_is_worked_out_once_for_each_number() -> None:
    asked = []

    def text(code: int) -> str | None:
        asked.append(code)
        return None if code < 0 else f"<{code}>"

    assert tables.formatted(np.array([3, -1, 3, 2], dtype="i4"), text).to_pylist() == ["<3>", None, "<3>", "<2>"]
    assert sorted(asked) == [-1, 2, 3]


def test_several_texts_in_a_row() -> None:
    texts = pool("a", "b", "c")
    column = tables.piped(np.array([2, 0, 1]), np.array([2, 0, 1]), texts)
    assert column.to_pylist() == ["c|a", "", "b"]
    assert tables.piped(np.array([], dtype=int), np.array([], dtype=int), texts).to_pylist() == []


def test_ranks_are_alphabetical_and_missing_comes_last() -> None:
    ranks = tables.ranks(np.array([1, 0, -1, 2, 1]), pool("b", "c", "A", "not asked for"))
    assert np.argsort(ranks, kind="stable").tolist() == [3, 1, 0, 4, 2]


def test_octets_in_hexadecimal() -> None:
    guid = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
    octets = np.frombuffer(guid.bytes * 3, dtype=np.uint8).reshape(3, 16)
    column = tables.hexadecimal(octets, b"", (4, 6, 8, 10), np.array([False, True, False]))
    assert column.to_pylist() == [str(guid), None, str(guid)]
    assert tables.hexadecimal(octets[:, 14:], b"0x", (), np.zeros(3, bool)).to_pylist() == ["0xeeff"] * 3
    assert tables.hexadecimal(octets, b"0x", (), np.ones(3, bool)).to_pylist() == [None] * 3
    assert tables.hexadecimal(octets[:0], b"0x", (), np.ones(0, bool)).to_pylist() == []


@pytest.mark.parametrize("text", ["10.0.0.1", "255.255.255.255", "fe80::1", "ffff::8000:0:0:1", "::"])
def test_addresses_from_two_halves(text: str) -> None:
    address = ipaddress.ip_address(text)
    packed = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
    halves = np.frombuffer(packed * 2, dtype=">i8").astype(np.int64).reshape(2, 2)
    assert tables.addresses(halves[:, 0], halves[:, 1]).to_pylist() == [text, text]


def test_a_set_gives_codes_of_one_pool_for_all_its_tables() -> None:
    rows = tables.TableSet(
        {
            "trees": tables.table("trees", {"share": ["A", None, "B"], "kind": ["disk", None, "pipe"]}, 3),
            "pipe_opens": tables.table("pipe_opens", {"pipe": ["B", "A"], "bytes_read": [None, 4]}, 2),
        }
    )
    trees = rows.columns("trees", "share", "kind")
    opens = rows.columns("pipe_opens", "pipe", "bytes_read", "opened")
    assert [rows.texts.text(code) for code in trees["share"]] == ["A", None, "B"]
    assert opens["pipe"].tolist() == [trees["share"][2], trees["share"][0]]
    assert trees["kind"].tolist() == [tables.TREE_KIND.index("disk"), -1, tables.TREE_KIND.index("pipe")]
    assert opens["bytes_read"].tolist() == [-1, 4]
    assert opens["opened"].tolist() == [-1, -1]


def test_the_gate_refuses_what_is_not_declared() -> None:
    with pytest.raises(AnalyzerError, match="no column nonsense"):
        tables.table("trees", {"nonsense": [1]}, 1)
    with pytest.raises(AnalyzerError, match="column share is 2 of"):
        tables.table("trees", {"share": ["a", "b"]}, 1)


def test_making_tables_does_not_import_pandas() -> None:
    """Arrow's own conversions would."""
    script = """
import sys, numpy as np
from analyzer import tables
codes = np.array([0, -1])
tables.table("trees", {"tree_key": tables.ints(codes), "share": tables.listed(["a", None]),
    "time": tables.times(codes), "kind": tables.places_in(codes, tables.TREE_KIND)}, 2)
tables.table("calls", {"answered": tables.bools(codes, codes < 0)}, 2)
rows = tables.TableSet({"trees": tables.empty("trees")})
rows.columns("trees", "share", "kind", "time", "tree_key")
tables.hexadecimal(np.zeros((2, 8), np.uint8), b"", (), codes < 0)
tables.addresses(codes, codes)
sys.exit("pandas" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
