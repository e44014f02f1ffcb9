"""Capture files of several results: which are the same."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from analyzer import tables
from analyzer.merging.files import same_files

HOUR = 3_600 * 1_000_000_000
BEGIN = 1_700_000_000 * 1_000_000_000


def file(path: str, begin: int = 0, end: int = 1, **other: Any) -> dict[str, Any]:
    """A file from one hour to another."""
    told = {"capture": path, "site": "", "packets": 10, "bytes": 1_000, "snaplen": 65_535, "errors": None}
    return told | {"first_seen": BEGIN + begin * HOUR, "last_seen": BEGIN + end * HOUR} | other


def captures(*rows: dict[str, Any]) -> pa.Table:
    kinds = {column.name: column.kind for column in tables.TABLES["captures"]}
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in file("")}
    for name in ("first_seen", "last_seen"):
        columns[name] = pa.array(columns[name], type=pa.int64()).cast(tables.ARROW[kinds[name]])
    return tables.table("captures", columns, len(rows))


def test_the_same_file_under_another_name() -> None:
    found = same_files([captures(file("a.pcap")), captures(file("copy of a.pcap.gz"))], ["", ""])
    assert found.keep.tolist() == [True, False]
    assert found.renamed == [{}, {"copy of a.pcap.gz": "a.pcap"}]
    assert found.dropped == 1


def test_another_file_under_the_same_name() -> None:
    found = same_files([captures(file("a.pcap")), captures(file("a.pcap", bytes=999))], ["", ""])
    assert found.keep.tolist() == [True, True]
    assert found.renamed == [{}, {"a.pcap": "a.pcap (2)"}]


def test_a_name_with_a_number_may_be_taken() -> None:
    found = same_files([captures(file("a"), file("a (2)", bytes=5)), captures(file("a", bytes=6))], ["", ""])
    assert found.renamed[1] == {"a": "a (3)"}


def test_the_same_file_at_two_sites_is_two() -> None:
    found = same_files([captures(file("a")), captures(file("a"))], ["berlin", "paris"])
    assert found.keep.tolist() == [True, True]
    assert found.overlaps[1]["paris"][0].tolist() == []


def test_a_file_twice_in_one_result_stays_two() -> None:
    twice = captures(file("a"), file("b"))
    assert same_files([twice], [""]).keep.all()
    assert same_files([twice, twice], ["", ""]).keep.tolist() == [True, True, False, False]


def test_files_that_could_not_be_read_are_the_same_by_name_and_error() -> None:
    broken = {"packets": 0, "bytes": 0, "first_seen": None, "last_seen": None, "errors": "no capture"}
    found = same_files([captures(file("a", **broken), file("b", **broken)), captures(file("b", **broken))], ["", ""])
    assert found.keep.tolist() == [True, True, False]


def test_when_files_overlap() -> None:
    first = captures(file("a", 0, 2), file("b", 2, 4))
    second = captures(file("c", 1, 3, bytes=1), file("d", 4, 5, bytes=2), file("e", 6, 7, bytes=3))
    begins, ends = same_files([first, second], ["", ""]).overlaps[1][""]
    assert [(int(begin - BEGIN) // HOUR, int(end - BEGIN) // HOUR) for begin, end in zip(begins, ends, strict=True)] == [
        (1, 2), (2, 3),
    ]  # fmt: skip


def test_files_that_follow_each_other_do_not_overlap() -> None:
    found = same_files(
        [captures(file("a", 0, 1), file("c", 2, 3)), captures(file("b", 1, 2), file("d", 3, 4))], ["", ""]
    )
    assert found.overlaps[1][""][0].tolist() == []


def test_a_file_of_one_packet_overlaps_with_itself() -> None:
    one = captures(file("a", 1, 1))
    begins, ends = same_files([one, one], ["", ""]).overlaps[1][""]
    assert begins.tolist() == ends.tolist() == [BEGIN + HOUR]


def test_whose_counts_count() -> None:
    a, b, c = file("a"), file("b", bytes=1), file("c", bytes=2)
    assert same_files([captures(a), captures(a, b)], ["", ""]).adds == [False, True]
    assert same_files([captures(a, b), captures(b, c)], ["", ""]).adds == [True, True]
    assert same_files([captures(a), captures(a)], ["", ""]).adds == [True, False]
    assert same_files([captures()], [""]).adds == [True]
