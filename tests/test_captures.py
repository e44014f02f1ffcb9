"""Every capture of the project gives exactly what its manifest says."""

from __future__ import annotations

from typing import Any

import manifest
import pytest

import analyzer

ENTRIES = manifest.entries()


@pytest.mark.usefixtures("kernel_form")
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"])
def test_sessions_trees_opens(entry: dict[str, Any]) -> None:
    analysis = analyzer.analyze(manifest.CAPTURES / entry["file"], detail="all")
    assert not manifest.differences(manifest.expected_sessions(entry), manifest.found_sessions(analysis))
    assert not analysis.captures["errors"].notna().any()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"])
def test_dependencies(entry: dict[str, Any]) -> None:
    analysis = analyzer.analyze(manifest.CAPTURES / entry["file"])
    assert not manifest.differences(manifest.expected_dependencies(entry), manifest.found_dependencies(analysis))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"])
def test_channels(entry: dict[str, Any]) -> None:
    analysis = analyzer.analyze(manifest.CAPTURES / entry["file"])
    assert len(analysis.channels) == len(entry.get("channels", []))


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if "hosts" in entry], ids=lambda entry: entry["file"])
def test_hosts(entry: dict[str, Any]) -> None:
    found = analyzer.analyze(manifest.CAPTURES / entry["file"]).hosts
    assert not manifest.host_differences(entry["hosts"], found)


def test_every_file_is_in_the_manifest() -> None:
    suffixes = (".pcap", ".pcapng", ".pcap.gz", ".pcap.zst")
    files = {path.name for path in manifest.CAPTURES.iterdir() if path.name.endswith(suffixes)}
    assert files == {entry["file"] for entry in ENTRIES}


def test_the_folder_stays_small() -> None:
    sizes = {path.name: path.stat().st_size for path in manifest.CAPTURES.glob("*.pcap*")}
    assert max(sizes.values()) < 1_000_000
    assert analyzer.analyze(manifest.CAPTURES).captures["packets"].sum() < 15_000
