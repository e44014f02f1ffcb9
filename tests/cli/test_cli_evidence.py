"""`nullsession slice` and `nullsession export`."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from command import ANONYMOUS, CAPTURES, Called

import analyzer

BUSY = CAPTURES / "busy.pcap"


def test_slice_of_a_capture(called: Called, tmp_path: Path) -> None:
    output = tmp_path / "out.pcapng"
    done = called("slice", BUSY, "--client", "CLIENT5", "-o", output)
    assert (done.status, done.out) == (0, "")
    found = analyzer.analyze(output)
    assert done.err == (
        f"nullsession: {found.captures['packets'].iloc[0]} packets of 2 connections behind 2 rows of dependencies, "
        f"from 1 capture, to {output}\n"
    )
    assert set(found.dependencies["client_ip"]) == {"10.77.0.14"}


def test_slice_of_results(called: Called, tmp_path: Path) -> None:
    shutil.copy(ANONYMOUS, tmp_path / "c.pcap")
    assert called("analyze", tmp_path / "c.pcap", "-o", tmp_path / "results", "-q").status == 0
    output = tmp_path / "out.pcapng"
    done = called("slice", tmp_path / "results", "--row", "2", "--row", "3", "--verdict", "depends", "-q", "-o", output)
    assert (done.status, done.err) == (0, "")
    assert output.exists()
    (tmp_path / "c.pcap").unlink()
    done = called("slice", tmp_path / "results", "-o", output)
    assert done.status == 4
    assert f"not there: {tmp_path / 'c.pcap'}" in done.err


def test_every_choice(called: Called) -> None:
    """Each narrows what the others leave."""
    choice = ["--server", "10.77.0.0/24", "--pipe", "srvsvc", "--application", "Samba*", "--client", "10.77.0.10"]
    done = called("slice", BUSY, *choice, "--filters")
    rows = analyzer.analyze(BUSY).dependencies
    fits = (
        (rows["resource"] == "srvsvc")
        & (rows["client_ip"] == "10.77.0.10")
        & rows["application"].str.startswith("Samba")
    )
    expected = [str(number) for number in rows.index[fits] + 1]
    assert [line.split("\t")[0] for line in done.out.splitlines()] == expected


def test_filters_find_the_frames(called: Called, tshark: str) -> None:
    done = called("slice", BUSY, "--filters")
    assert (done.status, done.err) == (0, "")
    lines = [line.split("\t") for line in done.out.splitlines()]
    rows = analyzer.analyze(BUSY).dependencies
    assert [int(line[0]) for line in lines] == list(range(1, len(rows) + 1))
    assert [(line[1], int(line[2])) for line in lines] == list(zip(rows["capture"], rows["frame"], strict=True))
    number, _, frame, by_frame, by_session, _ = lines[0]
    assert (number, by_frame) == ("1", f"frame.number == {frame}")
    command = [tshark, "-r", BUSY, "-Y", by_session, "-T", "fields", "-e", "frame.number"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert frame in found


def test_filters_and_packets_at_once(called: Called, tmp_path: Path) -> None:
    done = called("slice", ANONYMOUS, "--row", "1", "--filters", "-q", "-o", tmp_path / "out.pcapng")
    assert len(done.out.splitlines()) == 1
    assert (tmp_path / "out.pcapng").exists()


def test_mistakes(called: Called, tmp_path: Path) -> None:
    for arguments, said in (
        (["slice", BUSY], "where to?"),
        (["slice", BUSY, "--row", "99", "--filters"], "there is no row 99"),
        (["slice", BUSY, "--verdict", "needed", "--filters"], "no verdict is called 'needed'"),
        (["slice", BUSY, "--client", "10.0.0.999", "--filters"], "client: '10.0.0.999' is no address"),
        (["slice", BUSY, "--client", "nobody", "-o", tmp_path / "x"], "no row of `dependencies` fits"),
        (["slice", BUSY, "-o", BUSY], "is one of the captures"),
        (["export", BUSY, "--format", "xls", "-o", tmp_path], "xls"),
    ):
        done = called(*arguments)
        assert done.status == 2, arguments
        assert said in done.err
    assert not (tmp_path / "x").exists()


def test_a_capture_that_breaks_off(called: Called, tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    path.write_bytes(BUSY.read_bytes()[:-10])
    assert called("slice", path, "-q", "-o", tmp_path / "out.pcapng").status == 3
    assert called("export", path, "-q", "--format", "eve", "-o", tmp_path).status == 3


def test_exports(called: Called, tmp_path: Path) -> None:
    for name, files in (
        (
            "zeek",
            [f"{path}.{kind}" for path in ("ntlm", "smb_mapping", "smb_files", "dce_rpc") for kind in ("log", "json")],
        ),
        ("eve", ["eve.json"]),
        ("watch", ["watch.csv", "watch.md", "watch-10.77.0.2.xml"]),
    ):
        folder = tmp_path / name / "new"
        done = called("export", ANONYMOUS, "--format", name, "-o", folder)
        assert (done.status, done.out) == (0, "")
        assert sorted(path.name for path in folder.iterdir()) == sorted(files)
        assert done.err == f"nullsession: {', '.join(files)} in {folder}\n"
    for line in (tmp_path / "eve" / "new" / "eve.json").read_text().splitlines():
        assert json.loads(line)["event_type"] == "smb"


def test_exports_of_results_are_those_of_the_capture(called: Called, tmp_path: Path) -> None:
    assert called("analyze", ANONYMOUS, "-o", tmp_path / "results", "-q").status == 0
    for name in ("zeek", "eve", "watch"):
        for place, source in (("one", ANONYMOUS), ("two", tmp_path / "results")):
            assert called("export", source, "--format", name, "-q", "-o", tmp_path / place).status == 0
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / place).iterdir()} for place in ("one", "two"))
    assert one == two
