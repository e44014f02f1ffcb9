"""Every capture of the project gives exactly what its manifest says."""

from __future__ import annotations

from typing import Any

import manifest
import pytest
from analysed import analysed

import analyzer
from analyzer import tables
from analyzer.capture import inputs
from analyzer.engines import native
from analyzer.smb.select import ROOM_ROWS

ENTRIES = manifest.entries()


@pytest.mark.usefixtures("kernel_form")
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"])
def test_sessions_trees_opens_calls(entry: dict[str, Any]) -> None:
    analysis = analyzer.analyze(manifest.CAPTURES / entry["file"], detail="all")
    assert not manifest.differences(manifest.expected_sessions(entry), manifest.found_sessions(analysis))
    assert not analysis.captures["errors"].notna().any()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"])
def test_calls_of_sessions_without_credentials(entry: dict[str, Any]) -> None:
    """By default the others are only counted; no call of any session appears that was not made."""
    analysis = analysed(entry["file"])
    expected = manifest.expected_without_credentials(entry)
    assert manifest.found_without_credentials(analysis) == expected
    assert len(analysis.calls) == sum(map(len, expected))
    assert manifest.found_stub_refusals(analysis) == manifest.expected_stub_refusals(entry)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"])
def test_every_interface_called_was_bound(entry: dict[str, Any]) -> None:
    """What is called is known from the binds, each of which was accepted; nothing is bound that was not asked for."""
    analysis = analysed(entry["file"], "all")
    called = {
        call["interface"] for told in entry.get("sessions", []) for call in told.get("calls", []) if "interface" in call
    }
    accepted = analysis.binds[analysis.binds["result"] == "accepted"]
    assert set(accepted["interface"]) == called


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"])
def test_dependencies(entry: dict[str, Any]) -> None:
    analysis = analysed(entry["file"])
    assert not manifest.differences(manifest.expected_dependencies(entry), manifest.found_dependencies(analysis))
    assert manifest.found_operations(analysis) == manifest.expected_operations(entry)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"])
def test_windows_change_nothing(entry: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is worked off together is a matter of memory only."""
    whole = analysed(entry["file"], "all")
    monkeypatch.setattr(native, "WINDOW_ROWS", ROOM_ROWS + 8)  # a window after every few messages
    in_parts = analyzer.analyze(manifest.CAPTURES / entry["file"], detail="all")
    for name in tables.ROWS:
        assert in_parts.arrow(name).to_pylist() == whole.arrow(name).to_pylist()


def test_file_data_does_not_hold_windows_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window is handed over after some segments, however few messages begin in them."""
    busiest = manifest.CAPTURES / "busy.pcap"
    whole = analyzer.analyze(busiest, detail="all")
    monkeypatch.setattr(inputs, "CHUNK", 16_384)
    monkeypatch.setattr(native, "WINDOW_SEGMENTS", 50)
    engine = native.NativeEngine((139, 445), lambda _: None)
    assert sum(len(batch.messages) > 0 for batch in engine.read(inputs.find_captures([str(busiest)]))) > 5
    in_parts = analyzer.analyze(busiest, detail="all")
    for name in tables.ROWS:
        assert in_parts.arrow(name).to_pylist() == whole.arrow(name).to_pylist()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"])
def test_channels(entry: dict[str, Any]) -> None:
    analysis = analysed(entry["file"])
    assert len(analysis.channels) == len(entry.get("channels", []))


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if "hosts" in entry], ids=lambda entry: entry["file"])
def test_hosts(entry: dict[str, Any]) -> None:
    found = analysed(entry["file"]).hosts
    assert not manifest.host_differences(entry["hosts"], found)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"])
def test_referrals(entry: dict[str, Any]) -> None:
    rows = analysed(entry["file"]).referrals
    found = manifest.picked(rows, ("client_ip", "server_ip", "named", "target", "answers"))
    expected = [{{"client": "client_ip", "server": "server_ip"}.get(key, key): value for key, value in row.items()}
                for row in entry.get("referrals", [])]  # fmt: skip
    assert sorted(found, key=str) == sorted(expected, key=str)


def test_every_file_is_in_the_manifest() -> None:
    suffixes = (".pcap", ".pcapng", ".pcap.gz", ".pcap.zst")
    files = {path.name for path in manifest.CAPTURES.iterdir() if path.name.endswith(suffixes)}
    assert files == {entry["file"] for entry in ENTRIES}


def test_the_folder_stays_small() -> None:
    sizes = {path.name: path.stat().st_size for path in manifest.CAPTURES.glob("*.pcap*")}
    assert max(sizes.values()) < 1_000_000
    assert analyzer.analyze(manifest.CAPTURES).captures["packets"].sum() < 15_000


TOLD_MORE = ("root_cause", "shadowed_by")
"""What some entries say of a dependency besides."""
EXPLAINED = [
    entry for entry in ENTRIES if any(key in told for told in entry.get("dependencies", []) for key in TOLD_MORE)
]


@pytest.mark.parametrize("entry", EXPLAINED, ids=lambda entry: entry["file"])
def test_what_led_to_a_dependency_and_what_stands_beside_it(entry: dict[str, Any]) -> None:
    """A failed login before it, or the same with credentials: told where the manifest says so, and nowhere else."""
    rows = analysed(entry["file"]).dependencies
    for key in TOLD_MORE:
        wanted = {told["resource"] for told in entry["dependencies"] if told.get(key)}
        assert set(rows[rows[key].notna()]["resource"]) == wanted, key


def test_some_captures_explain_a_dependency() -> None:
    for key in TOLD_MORE:
        assert any(told.get(key) for entry in EXPLAINED for told in entry["dependencies"])
