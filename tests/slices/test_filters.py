"""Display filters are accepted by tshark and find the frame that they are for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from manifest import CAPTURES

import analyzer
from analyzer import slices
from analyzer.slices import Filters, Selection, filters

FILES = {path.name.partition(".")[0]: path for path in sorted(CAPTURES.iterdir()) if ".pcap" in path.name}
WITHOUT_ROWS = {"empty-name", "kerberos-machine", "kerberos-user", "user"}


def frames(tshark: str, path: Path, display: str, ports: tuple[str, ...] = ()) -> set[int]:
    """What tshark finds with a filter."""
    command = [tshark, "-r", str(path), *ports, "-Y", display, "-T", "fields", "-e", "frame.number"]
    return set(map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()))


def of(found: Filters) -> list[str]:
    """Those that there are."""
    return [text for text in (found.by_frame, found.by_connection, found.by_session, found.by_resource) if text]


@pytest.mark.parametrize("name", [name for name in FILES if name not in WITHOUT_ROWS])
def test_each_finds_its_frame(name: str, tshark: str) -> None:
    """All filters of a row at once find one frame, which the row names."""
    found = slices.display_filters(analyzer.analyze(FILES[name]))
    every = " || ".join("(" + " && ".join(f"({text})" for text in of(row)) + ")" for row in found)
    assert frames(tshark, FILES[name], every) == {row.frame for row in found}
    assert all(row.by_frame and row.by_connection for row in found)


def test_sessions_and_pipes_are_found(tshark: str) -> None:
    """What is found is what tshark itself says of the session and the pipe."""
    path = FILES["anonymous-smb311"]
    analysis = analyzer.analyze(path)
    found = slices.display_filters(analysis, Selection(resources=["samr"]))
    assert found
    opened = analysis.pipe_opens[analysis.pipe_opens["pipe"] == "samr"].iloc[0]
    session = analysis.sessions.set_index("session_key").loc[opened["session_key"]]
    for row in found:
        assert session["session_id"] in row.by_session
        in_session = frames(tshark, path, row.by_session)
        assert in_session == frames(tshark, path, f"smb2.sesid == {session['session_id']}")
        named = frames(tshark, path, row.by_resource)
        assert {int(opened["frame"]), row.frame} <= named <= in_session


def test_ipv6(tshark: str) -> None:
    path = FILES["anonymous-ipv6"]
    row = slices.display_filters(analyzer.analyze(path))[0]
    assert frames(tshark, path, row.by_connection) <= frames(tshark, path, "ipv6 && tcp")
    assert row.frame in frames(tshark, path, row.by_connection)


def test_too_many_connections_are_not_named_one_by_one(tshark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "MOST_TERMS", 0)
    path = FILES["anonymous-smb1"]
    analysis = analyzer.analyze(path)
    row = slices.display_filters(analysis, Selection(rows=[1]))[0]
    client, server = analysis.dependencies.iloc[0][["client_ip", "server_ip"]]
    assert frames(tshark, path, row.by_connection) == frames(
        tshark, path, f"ip.addr == {client} && ip.addr == {server}"
    )
    assert row.by_session == ""


@pytest.mark.parametrize("name", ["sql\\query", 'a"b', "wkssvc", "a b", "x' || tcp"])
def test_names_are_quoted(name: str, tshark: str) -> None:
    (first, second) = filters._named(name, {name}, set())
    assert frames(tshark, FILES["anonymous-smb1"], f"{first} || {second}") <= set(range(1, 10_000))


@pytest.mark.parametrize("name", ["caf\u00e9", "a\x01", "", None, "\u202e", "rap"])
def test_names_that_cannot_be_looked_for(name: str | None) -> None:
    assert filters._named(name, {name} - {"rap"}, {name} - {"rap"}) == []
