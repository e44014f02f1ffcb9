"""The contract of the engines, engine by capture: what native finds the others find, but for what is listed or declared.

Where an engine differs, `engine_differences.tsv` says so: who is right, why, and where that is written. A difference that is
not listed fails, and so does a listed one that no longer occurs. What an engine declares that it cannot know (`gaps`) is not
compared; but each gap must show: a column that is the same everywhere is no gap, and would hide what breaks later.

Needs tshark for its engine, and for the captures of other projects the folder that NULLSESSION_CORPUS names; each test that
lacks what it needs is skipped by name. A capture is read once by each engine, whatever the number of tests.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest

from analyzer import engines, verify
from analyzer.analysis import Analysis
from tests import build
from tests.dialogue import SECOND, Smb2, packets_of, segments_of, write
from tests.test_assemble_processes import capture, direction, on_client, reference
from tests.test_containers import FORMS

from .test_conformance import CORPUS, OWN_REPOSITORY, Capture, analysis_of, own_captures, public_captures

LISTED = Path(__file__).parent / "engine_differences.tsv"
OTHERS = tuple(name for name in engines.NAMES if name != "native")
ALSO = {"scapy": ("credentialed_uses", "disk_opens", "problems"), "tshark": ("credentialed_uses",)}
"""Tables whose rows have no place of their own, or that `verify` does not compare: they must be the same as they stand."""
RIGHT = ("native", "tshark", "scapy", "both")

Said = tuple[str, str, str, str, str]
"""A difference: table, frame, column, what native says, what the other engine says."""


@dataclass(slots=True)
class Compared:
    """Native and another engine on one capture."""

    differences: list[Said] = field(default_factory=list)
    gaps: set[str] = field(default_factory=set)
    """The declared gaps in which they do differ."""
    agreement: list[verify.Agreement] = field(default_factory=list)


@cache
def compared(path: Path, engine: str) -> Compared:
    """What an engine says otherwise than native. What cannot be known is left out, and noted if it differs."""
    native, other = analysis_of(path, "native"), analysis_of(path, engine)
    of_native, of_other = engines.declared("native"), engines.declared(engine)
    gaps = of_other.gaps
    found = verify.compare([(of_native, native), (replace(of_other, gaps={}), other)])
    result = Compared(agreement=verify.compare([(of_native, native), (of_other, other)]).agreement)
    for one in found.differences:
        place = f"{one.table}.{one.column}"
        if place in gaps or one.table in gaps:
            result.gaps.add(place if place in gaps else one.table)
        else:
            frame = "-" if one.frame is None else str(one.frame)
            result.differences.append((one.table, frame, one.column or "-", shown(one.value), shown(one.other_value)))
    for gap in gaps:
        table, _, column = gap.partition(".")
        if table not in verify.PLACES and values(native, table, column) != values(other, table, column):
            result.gaps.add(gap)
    for table in ALSO[engine]:
        one, two = values(native, table), values(other, table)
        if one != two:
            result.differences.append((table, "-", "-", f"{len(one)} rows", f"{len(two)} rows"))
    result.differences.sort()
    return result


def values(analysis: Analysis, table: str, column: str = "") -> list[object]:
    """The values of a column, or of a whole table."""
    found: pa.Table = analysis.arrow(table)
    return list(found[column].to_pylist() if column else found.to_pylist())


def shown(value: str | None) -> str:
    """A value in the list: letters of ASCII, `-` where there is none."""
    return "-" if value is None else ascii(value)


@cache
def listed() -> list[dict[str, str]]:
    """The known differences."""
    with LISTED.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def accepted(which: Capture, engine: str) -> list[Said]:
    """Those of a capture and an engine."""
    return sorted(
        (row["table"], row["frame"], row["column"], row["native"], row["other"])
        for row in listed()
        if (row["repository"], row["capture"], row["engine"]) == (which.repository, which.name, engine)
    )


@pytest.fixture(params=OTHERS)
def engine(request: pytest.FixtureRequest) -> str:
    """The engines that are compared with native."""
    name: str = request.param
    if name == "tshark":
        request.getfixturevalue("tshark")
    return name


@pytest.mark.parametrize("which", [*own_captures(), *public_captures()], ids=str)
def test_an_engine_finds_what_native_finds(which: Capture, engine: str) -> None:
    assert compared(which.path, engine).differences == accepted(which, engine)


@pytest.mark.skipif(CORPUS is None, reason="NULLSESSION_CORPUS does not name the captures of other projects")
def test_the_captures_of_other_projects_are_there() -> None:
    assert public_captures()


# Declared gaps. #


def with_process_notes(path: Path) -> None:
    """A process of the client is noted beside its packets."""
    blocks = build.process_information(501, b"smbd_client")
    capture(path, segments_of(Smb2()), lambda segment: reference(0) + direction(on_client(segment)), blocks)


def with_longer_records(path: Path) -> None:
    """The pcap of a patched library."""
    path.write_bytes(FORMS["modified"](packets_of(segments_of(Smb2()))))


def with_what_is_no_message(path: Path) -> None:
    """Among the messages stands one that is none."""
    talk = Smb2()
    talk.tcp.client(build.framed(b"this is no message of SMB at all"))
    write(path, talk)


def with_late_segments(path: Path) -> None:
    """The middle third of an answer comes again, so late that it may be taken for a repetition; its first copy was lost."""
    talk = Smb2()
    whole = talk.tcp.segments.pop()
    third = len(whole.payload) // 3
    for first, end, seconds in ((0, third, 0.0), (2 * third, len(whole.payload), 0.001), (third, 2 * third, 0.5)):
        part = replace(whole, payload=whole.payload[first:end], seq=whole.seq + first)
        talk.tcp.segments.append(replace(part, time_ns=whole.time_ns + int(seconds * SECOND)))
    write(path, talk)


BUILT = (with_process_notes, with_longer_records, with_what_is_no_message, with_late_segments)
"""What none of `captures/` shows."""


def built(folder: Path) -> list[Path]:
    """Those captures."""
    for make in BUILT:
        make(folder / make.__name__)
    return [folder / make.__name__ for make in BUILT]


def test_every_declared_gap_shows(engine: str, tmp_path: Path) -> None:
    """Strict: what an engine has learned to know is declared no longer."""
    declared = set(engines.declared(engine).gaps)
    shown_by = set().union(*(compared(path, engine).gaps for path in built(tmp_path)))
    for which in own_captures():
        shown_by |= compared(which.path, engine).gaps
    assert declared - shown_by == set()


# The list itself. #


def test_every_listed_difference_has_its_reason() -> None:
    captures = {(which.repository, which.name) for which in (*own_captures(), *public_captures())}
    for row in listed():
        assert row["engine"] in OTHERS
        assert row["right"] in RIGHT
        assert row["reason"]
        assert row["reference"]
        if row["repository"] == OWN_REPOSITORY or CORPUS is not None:
            assert (row["repository"], row["capture"]) in captures
