"""How texts, times and numbers are spelt."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from analyzer.report.html import words


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        (None, ""),
        ("", ""),
        ("a b<c>", "a b<c>"),
        ("Ünïcode 日本", "Ünïcode 日本"),
        ("a\x1b[31mb", "a\\u001b[31mb"),
        ("a\u202eb", "a\\u202eb"),
        ("a\u200bb", "a\\u200bb"),
        ("a\ud800b", "a\\ud800b"),
    ],
)
def test_what_cannot_be_seen_is_spelt_out(text: str | None, spelt: str) -> None:
    assert words.shown(text) == spelt


def test_long_texts_are_cut() -> None:
    assert words.shown("x" * 1_000) == "x" * 1_000
    assert words.shown("x" * 1_001) == "x" * 1_000 + "... (1,001 characters)"


def test_times_are_by_the_clocks_of_the_zone() -> None:
    at = 1_700_000_000 * 10**9
    assert words.moment(at, ZoneInfo("UTC")) == "2023-11-14 22:13"
    assert words.moment(at, ZoneInfo("Europe/Berlin")) == "2023-11-14 23:13"
    assert words.moment(-1, ZoneInfo("UTC")) == ""
    assert words.day(0) == "Thu 1970-01-01"


def test_names_may_break_behind_dots_and_dashes() -> None:
    assert words.parts("files1.corp.example") == ["files1.", "corp.", "example"]
    assert words.parts("day-1.pcap") == ["day-", "1.pcap"]
    assert words.parts("") == [""]


def test_one_is_not_many() -> None:
    assert words.count(1, "client") == "1 client"
    assert words.count(2_000, "client") == "2,000 clients"
    assert words.count(2, "box", "boxes") == "2 boxes"
