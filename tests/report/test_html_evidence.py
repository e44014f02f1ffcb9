"""Display filters in the page: the narrowest that is whole, for the first rows."""

from __future__ import annotations

from pathlib import Path

import pytest

import analyzer
from analyzer import slices
from analyzer.report.html import evidence
from tests.dialogue import Smb2, write


@pytest.fixture
def analysis(tmp_path: Path) -> analyzer.Analysis:
    """Of a client with one connection, and one with ten, which use a pipe each."""
    one = Smb2("10.0.0.1")
    one.anonymous_use(0x11, "srvsvc")
    many = [Smb2("10.0.0.2", at=number, port=50_000 + number) for number in range(10)]
    for talk in many:
        talk.anonymous_use(0x11, "samr")
    return analyzer.analyze(write(tmp_path / "c.pcap", one, *many))


def test_each_row_has_the_narrowest(analysis: analyzer.Analysis) -> None:
    found = evidence.display_filters(analysis).to_pylist()
    assert found == [row.by_resource for row in slices.display_filters(analysis)]
    assert "tcp.port == 49152" in found[0]


def test_one_that_would_be_cut_is_not_given(analysis: analyzer.Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second row's names ten connections: then the frame alone must do."""
    monkeypatch.setattr(evidence, "LONGEST", 300)
    one, many = slices.display_filters(analysis)
    assert len(many.by_connection) > 300
    assert evidence.display_filters(analysis).to_pylist() == [one.by_resource, many.by_frame]


def test_rows_beyond_the_first_have_none(analysis: analyzer.Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MOST_FILTERS", 1)
    found = evidence.display_filters(analysis).to_pylist()
    assert found[0]
    assert found[1:] == [None]
