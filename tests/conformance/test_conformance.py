"""The native engine finds in every capture what tshark's reading of the same bytes says is there.

Needs tshark, and for the captures of other projects the folder that holds them, named by NULLSESSION_CORPUS; each test that
lacks what it needs is skipped by name. Where the two readings differ and the engine is right, `differences.tsv` says so, with
the reason; a difference that is not listed there fails, and so does a listed one that no longer occurs.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analyzer

from .expected import Row, rows
from .tshark_reader import Reading, reading, tshark_program

HERE = Path(__file__).parent
OWN = HERE.parents[1] / "captures"
CORPUS = os.environ.get("NULLSESSION_CORPUS")
SUFFIXES = (".pcap", ".pcapng", ".cap", ".pcap.gz", ".pcap.zst")
OWN_REPOSITORY = "(own)"


@dataclass(frozen=True, slots=True)
class Capture:
    """A capture by its public name, and where it is."""

    repository: str
    name: str
    path: Path

    def __str__(self) -> str:
        return self.name if self.repository == OWN_REPOSITORY else f"{self.repository} {self.name}"


@dataclass(frozen=True, order=True, slots=True)
class Difference:
    """A row in which the two readings differ."""

    kind: str
    frame: str
    tshark: str
    engine: str


def own_captures() -> list[Capture]:
    """The project's own."""
    return [Capture(OWN_REPOSITORY, p.name, p) for p in sorted(OWN.iterdir()) if p.name.endswith(SUFFIXES)]


def public_captures() -> list[Capture]:
    """Those of other projects, where the folder is there."""
    if CORPUS is None or not (Path(CORPUS) / "INDEX.tsv").exists():
        return []
    with (Path(CORPUS) / "INDEX.tsv").open(newline="") as index:
        return [
            Capture(row["repository"], row["path"], Path(CORPUS) / row["file"])
            for row in csv.DictReader(index, delimiter="\t")
        ]


@lru_cache(maxsize=1)
def by_tshark(path: Path) -> Reading:
    """What tshark finds. Tests of the same capture come one after the other (see `conftest.py`), so it is read once."""
    return reading(path)


def accepted(capture: Capture) -> set[Difference]:
    """The listed differences of a capture."""
    with (HERE / "differences.tsv").open(newline="") as listed:
        return {
            Difference(row["kind"], row["frame"], row["tshark"], row["engine"])
            for row in csv.DictReader(listed, delimiter="\t", quoting=csv.QUOTE_NONE)
            if (row["repository"], row["capture"]) == (capture.repository, capture.name)
        }


# The engine's rows, in the same form. #


@cache
def analysis_of(path: Path, engine: str) -> analyzer.Analysis:
    """A capture, read by an engine."""
    return analyzer.analyze(path, engine=engine, detail="all")


def engine_rows(path: Path) -> list[Row]:
    """What the native engine finds."""
    analysis = analysis_of(path, "native")
    sessions = {row["session_key"]: row for row in _records(analysis.sessions)}
    trees = {row["tree_key"]: row for row in _records(analysis.trees)}
    return [
        *(_session(row) for row in sessions.values()),
        *(
            Row("channel", row["frame"], None, (("status", _text(row["status"])),))
            for row in _records(analysis.channels)
        ),
        *(_tree(row, sessions) for row in trees.values()),
        *(_pipe(row, sessions, trees) for row in _records(analysis.pipe_opens)),
    ]


def _records(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for record in table.astype(object).where(table.notna(), None).to_dict("records"):
        yield {str(name): value for name, value in record.items()}


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _session(row: dict[str, Any]) -> Row:
    facts = {
        "id": _text(row["session_id"]),
        "asked": _text(row["asked"]),
        "identity": _text(row["identity"]),
        "user": "" if row["user"] is None else f"'{row['user']}'",
        "status": _text(row["status"]),
    }
    return Row("session", row["frame"], row["answer_frame"], tuple(facts.items()))


def _tree(row: dict[str, Any], sessions: dict[int, dict[str, Any]]) -> Row:
    facts = {"path": _text(row["path"]), "status": _text(row["status"]), "login": _login(row, sessions)}
    return Row("tree", row["frame"], row["answer_frame"], tuple(facts.items()))


def _pipe(row: dict[str, Any], sessions: dict[int, dict[str, Any]], trees: dict[int, dict[str, Any]]) -> Row:
    facts = {
        "pipe": _text(row["pipe"]),
        "via": _text(row["via"]),
        "status": _text(row["status"]),
        "tree": _text(trees[row["tree_key"]]["frame"]) if row["tree_key"] is not None else "",
        "login": _login(row, sessions),
        "written": _text(row["bytes_written"]),
        "read": _text(row["bytes_read"]),
    }
    return Row("pipe", row["frame"], row["answer_frame"], tuple(facts.items()))


def _login(row: dict[str, Any], sessions: dict[int, dict[str, Any]]) -> str:
    """The login of a tree or open: the frame of its request, else of what proves it."""
    if row["session_key"] is None:
        return ""
    session = sessions[row["session_key"]]
    return str(session["frame"]) if session["frame"] is not None else f"answer {session['answer_frame']}"


# The comparison. #


def differences(by_tshark: list[Row], by_engine: list[Row]) -> set[Difference]:
    """Rows that only one reading has. Two rows of one kind and frame are shown by what differs in them."""
    only_tshark, only_engine = _leftover(by_tshark, by_engine), _leftover(by_engine, by_tshark)
    found = set()
    for kind, frame in sorted(only_tshark.keys() | only_engine.keys()):
        left, right = only_tshark.get((kind, frame), []), only_engine.get((kind, frame), [])
        for number in range(max(len(left), len(right))):
            one, other = left[number : number + 1], right[number : number + 1]
            found.add(Difference(kind, frame, *_shown(one[0] if one else None, other[0] if other else None)))
    return found


def _leftover(rows_: list[Row], others: list[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows that have no equal among the others, by kind and frame."""
    leftover: dict[tuple[str, str], list[Row]] = {}
    for row in (Counter(rows_) - Counter(others)).elements():
        leftover.setdefault((row.kind, _address(row)), []).append(row)
    return leftover


def _address(row: Row) -> str:
    return str(row.frame) if row.frame is not None else f"answer {row.answer_frame}"


def _shown(one: Row | None, other: Row | None) -> tuple[str, str]:
    """Both rows as texts: of two, what differs; of one, all of it."""
    left, right = _facts(one), _facts(other)
    if one is None or other is None:
        return _listed(left), _listed(right)
    differing = [name for name in left if left[name] != right[name]]
    return _listed({name: left[name] for name in differing}), _listed({name: right[name] for name in differing})


def _facts(row: Row | None) -> dict[str, str]:
    if row is None:
        return {}
    answer = {} if row.kind == "channel" else {"answer": "" if row.answer_frame is None else str(row.answer_frame)}
    return answer | dict(row.facts)


def _listed(facts: dict[str, str]) -> str:
    return "; ".join(f"{name}={value or '-'}" for name, value in facts.items()) or "no row"


def _report(found: set[Difference]) -> str:
    ordered = sorted(found, key=lambda d: (int(d.frame.split()[-1]) if d.frame.split()[-1].isdigit() else 0, d))
    return "\n".join(f"  {d.kind} {d.frame}\n    tshark: {d.tshark}\n    engine: {d.engine}" for d in ordered)


@pytest.fixture(scope="module", autouse=True)
def _tshark_is_installed() -> None:
    if tshark_program() is None:
        pytest.skip("tshark is not installed")


def test_the_public_captures_are_there() -> None:
    if CORPUS is None:
        pytest.skip("NULLSESSION_CORPUS does not name the folder of public captures")
    assert public_captures(), f"no INDEX.tsv in {CORPUS}"


@pytest.mark.parametrize("capture", [*own_captures(), *public_captures()], ids=str)
def test_the_engine_finds_what_tshark_finds(capture: Capture) -> None:
    found = differences(rows(by_tshark(capture.path).messages), engine_rows(capture.path))
    listed = accepted(capture)
    unlisted, outlived = found - listed, listed - found
    assert not unlisted, f"{capture}\nnot listed in differences.tsv:\n{_report(unlisted)}"
    assert not outlived, f"{capture}\nlisted in differences.tsv, but no longer so:\n{_report(outlived)}"
