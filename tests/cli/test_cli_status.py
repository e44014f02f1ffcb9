"""The exit status of `nullsession analyze`, and what it says about input that it cannot read.

0 done; 2 wrong usage; 3 some input unreadable, the rest reported; 4 nothing usable, or a needed program is missing.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import struct
import sys
from pathlib import Path

import build as b
import pandas as pd
import pytest
from command import ANONYMOUS, CAPTURES, Called, Done, nullsession
from talks import anonymous_pipe, written

DONE, WRONG_USAGE, PARTLY_READ, NOTHING_USABLE = 0, 2, 3, 4
RECORD_HEADER = 16
NO_CAPTURE = b"this is no capture file, whatever its name says\n"


def complaint(done: Done) -> str:
    """The one line on standard error."""
    assert len(done.complaints) == 1, done.err
    assert "Traceback" not in done.err
    return done.complaints[0]


def numbers(line: str) -> list[int]:
    """The numbers in a line, with or without separators of thousands."""
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", line)]


def damaged_in_last_record(path: Path, kept: int) -> int:
    """Write a capture of an anonymous pipe whose last record holds only so many bytes; returns where that begins."""
    packets = anonymous_pipe().packets()
    whole = b.pcap(packets)
    begin = len(whole) - RECORD_HEADER - len(packets[-1].data)
    path.write_bytes(whole[: begin + kept])
    return begin


# Done, and how input is named. #


def test_a_good_capture_is_done_without_a_word_on_standard_error() -> None:
    done = nullsession("analyze", ANONYMOUS)
    assert done.status == DONE
    assert done.err == ""
    assert done.out.startswith("1 client depends on null sessions at 1 server: lsarpc, samr, srvsvc.")


@pytest.mark.parametrize("text", [None, "nonsense\n"], ids=["missing", "no list"])
def test_a_list_of_hosts_that_is_none(text: str | None, called: Called, tmp_path: Path) -> None:
    listed = tmp_path / "hosts"
    if text:
        listed.write_text(text)
    done = called("analyze", ANONYMOUS, "--hosts", listed)
    assert done.status == WRONG_USAGE
    assert str(listed) in complaint(done)
    assert done.out == ""


def test_a_capture_without_a_packet_is_done(called: Called, tmp_path: Path) -> None:
    done = called("analyze", written(tmp_path / "quiet.pcap", []))
    assert (done.status, done.err) == (DONE, "")
    assert "No SMB login" in done.out


def captures_read(folder: Path) -> set[str]:
    """Names of the files in the table `captures` of results."""
    return {Path(name).name for name in pd.read_parquet(folder / "captures.parquet")["capture"]}


def test_files_folders_and_patterns_name_captures(called: Called, tmp_path: Path) -> None:
    deeper = tmp_path / "in" / "deeper"
    deeper.mkdir(parents=True)
    for name in ("one.pcap", "two.pcap", "other.cap", "deeper/three.pcap"):
        written(tmp_path / "in" / name, anonymous_pipe().packets())
    (deeper / "notes.txt").write_bytes(NO_CAPTURE)
    named = {
        "one.pcap two.pcap": [tmp_path / "in" / "one.pcap", tmp_path / "in" / "two.pcap"],
        "one.pcap": [tmp_path / "in" / "one.pcap", tmp_path / "in" / "one.pcap"],
        "one.pcap two.pcap other.cap three.pcap": [tmp_path / "in"],
        "one.pcap  two.pcap": [tmp_path / "in" / "*.pcap"],
        "one.pcap two.pcap three.pcap": [tmp_path / "in" / "**" / "*.pcap"],
        "three.pcap": [tmp_path / "in" / "deep*"],
    }
    for expected, paths in named.items():
        done = called("analyze", *paths, "-q", "-o", tmp_path / "out")
        assert (done.status, done.out, done.err) == (DONE, "", "")
        assert captures_read(tmp_path / "out") == set(expected.split())


def test_standard_input_is_read_from_a_file_and_from_a_pipe() -> None:
    with ANONYMOUS.open("rb") as file:
        from_file = nullsession("analyze", "-", "--format", "json", stdin=file)
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(ANONYMOUS.read_bytes())  # less than a pipe holds
    with os.fdopen(reading, "rb") as pipe:
        from_pipe = nullsession("analyze", "-", "--format", "json", stdin=pipe)
    by_name = json.loads(nullsession("analyze", ANONYMOUS, "--format", "json").out.replace(str(ANONYMOUS), "-"))
    assert {row["resource"] for row in by_name["dependencies"]} == {"lsarpc", "samr", "srvsvc"}
    for done in (from_file, from_pipe):
        assert (done.status, done.err) == (DONE, "")
        assert json.loads(done.out) == by_name


def test_a_compressed_capture_comes_through_standard_input() -> None:
    with (CAPTURES / "disk-guest.pcap.zst").open("rb") as file:
        done = nullsession("analyze", "-", "-q", stdin=file)
    assert (done.status, done.out, done.err) == (DONE, "", "")


# Wrong usage. #


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["analyze"], "PATH"),
        (["analyse", "x.pcap"], "analyse"),
        (["analyze", str(ANONYMOUS), "--format", "xml"], "--format"),
        (["analyze", str(ANONYMOUS), "--detail", "some"], "--detail"),
        (["analyze", str(ANONYMOUS), "--port", "smb"], "--port"),
        (["analyze", str(ANONYMOUS), "--port", "0"], "port"),
        (["analyze", str(ANONYMOUS), "--port", "65536"], "port"),
        (["analyze", str(ANONYMOUS), "--engine", "guesswork"], "guesswork"),
        (["analyze", str(ANONYMOUS), "--fast"], "--fast"),
        (["analyze", "nowhere.pcap"], "nowhere.pcap"),
        (["analyze", str(ANONYMOUS), "nowhere*.pcap"], "nowhere*.pcap"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_2(called: Called, arguments: list[str], said: str) -> None:
    done = called(*arguments)
    assert done.status == WRONG_USAGE
    assert said in complaint(done)
    assert done.out == ""


def test_without_arguments_it_shows_its_help(called: Called) -> None:
    done = called()
    assert done.status == WRONG_USAGE
    assert "analyze" in done.out + done.err
    assert "nullsession: \n" not in done.err, "a complaint without words"


def test_the_status_reaches_the_shell() -> None:
    assert nullsession("analyze").status == WRONG_USAGE
    assert nullsession("analyze", CAPTURES / "manifest.toml").status == NOTHING_USABLE


def test_a_link_that_leads_nowhere_is_told(called: Called, tmp_path: Path) -> None:
    link = tmp_path / "gone.pcap"
    link.symlink_to(tmp_path / "not-there.pcap")
    done = called("analyze", link)
    assert done.status in (WRONG_USAGE, NOTHING_USABLE)
    assert str(link) in complaint(done)


@pytest.mark.parametrize("inside", [{}, {"notes.txt": NO_CAPTURE, "archive.gz": gzip.compress(NO_CAPTURE, mtime=0)}])
def test_a_folder_without_captures_is_told(called: Called, tmp_path: Path, inside: dict[str, bytes]) -> None:
    folder = tmp_path / "x.pcap"  # a folder, whatever its name says
    folder.mkdir()
    for name, data in inside.items():
        (folder / name).write_bytes(data)
    done = called("analyze", folder)
    assert done.status in (WRONG_USAGE, NOTHING_USABLE)
    assert str(folder) in complaint(done)
    assert "no capture" in complaint(done)


# Input that cannot be read (further). #


def test_a_file_that_is_no_capture(called: Called, tmp_path: Path) -> None:
    path = tmp_path / "notes.pcap"
    path.write_bytes(NO_CAPTURE)
    done = called("analyze", path)
    line = complaint(done)
    assert str(path) in line
    assert "no capture" in line
    assert numbers(line)[-1] == 0  # its first byte
    assert done.status == NOTHING_USABLE


def test_an_empty_file(called: Called, tmp_path: Path) -> None:
    path = tmp_path / "nothing.pcap"
    path.touch()
    done = called("analyze", path)
    assert str(path) in complaint(done)
    assert "empty" in complaint(done)
    assert done.status == NOTHING_USABLE


@pytest.mark.parametrize("kept", [1, RECORD_HEADER - 1, RECORD_HEADER, RECORD_HEADER + 20])
def test_a_cut_last_record_is_told_and_what_stands_before_it_is_reported(
    called: Called, tmp_path: Path, kept: int
) -> None:
    path = tmp_path / "cut.pcap"
    place = damaged_in_last_record(path, kept)
    done = called("analyze", path)
    assert str(path) in complaint(done)
    assert place in numbers(complaint(done))
    assert "srvsvc" in done.out
    assert str(place) in done.out.replace(",", "")
    assert done.status == PARTLY_READ


def test_an_impossible_length_is_told_and_what_stands_before_it_is_reported(called: Called, tmp_path: Path) -> None:
    path = tmp_path / "mad.pcap"
    talk = b.pcap(anonymous_pipe().packets())
    path.write_bytes(talk + struct.pack("<IIII", 1_700_000_001, 0, 0xFFFFFFF0, 0xFFFFFFF0) + bytes(100))
    done = called("analyze", path)
    line = complaint(done)
    assert str(path) in line
    assert len(talk) in numbers(line)
    assert 0xFFFFFFF0 in numbers(line)
    assert "srvsvc" in done.out
    assert done.status == PARTLY_READ


def test_a_cut_compressed_file_is_told_and_what_could_be_unpacked_is_reported(called: Called, tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap.gz"
    path.write_bytes(
        gzip.compress(b.pcap(anonymous_pipe().packets()), compresslevel=0, mtime=0)[:-8]
    )  # without its trailer
    done = called("analyze", path)
    assert str(path) in complaint(done)
    assert "gzip" in complaint(done)
    assert "srvsvc" in done.out
    assert done.status == PARTLY_READ


def test_one_bad_file_among_good_ones_does_not_stop_the_others(called: Called, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(NO_CAPTURE)
    done = called("analyze", bad, ANONYMOUS)
    assert done.status == PARTLY_READ
    assert str(bad) in complaint(done)
    assert "lsarpc" in done.out


def test_each_bad_file_has_its_line(called: Called, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one.pcap", "two.pcap")]
    for path in paths:
        path.write_bytes(NO_CAPTURE)
    done = called("analyze", *paths, "--quiet")
    assert done.status == NOTHING_USABLE
    assert len(done.complaints) == len(paths)
    for path, line in zip(paths, done.complaints, strict=True):
        assert str(path) in line


def test_the_table_of_captures_tells_the_same(called: Called, tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    damaged_in_last_record(path, 20)
    done = called("analyze", path, ANONYMOUS, "-o", tmp_path / "out", "-q")
    rows = pd.read_parquet(tmp_path / "out" / "captures.parquet").set_index("capture")
    error = rows["errors"][str(path)]
    assert complaint(done).endswith(error)
    assert rows["errors"].isna()[str(ANONYMOUS)]
    assert rows["packets"][str(path)] == len(anonymous_pipe().packets()) - 1
    assert done.status == PARTLY_READ


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is a thing of Linux")
def test_a_file_that_fails_when_it_is_read(called: Called, tmp_path: Path) -> None:
    link = tmp_path / "failing.pcap"
    link.symlink_to("/proc/self/mem")  # opens, and fails to be read at 0: nothing is mapped there
    done = called("analyze", link, ANONYMOUS)
    assert str(link) in complaint(done)
    assert "cannot be read" in complaint(done)
    assert "lsarpc" in done.out
    assert done.status == PARTLY_READ


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(called: Called, tmp_path: Path) -> None:
    path = written(tmp_path / "secret.pcap", anonymous_pipe().packets())
    path.chmod(0)
    done = called("analyze", path, ANONYMOUS)
    assert str(path) in complaint(done)
    assert "lsarpc" in done.out
    assert done.status == PARTLY_READ


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are text")
def test_a_file_name_that_is_no_text_does_no_harm(called: Called, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.pcap"))  # Latin-1, as on old file servers
    written(path, anonymous_pipe().packets())
    done = called("analyze", path, "-o", tmp_path / "out")
    assert done.status == DONE
    assert "srvsvc" in done.out
