"""Thousands of connections: each is found once, with the sessions that were said on it, however small the tables begin.

`tests/benchmarks/run.py --only many` does the same with half a million of the recorded ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import analyzer
from analyzer.engines import native
from analyzer.transport import flows
from tests.build import ACCESS_DENIED
from tests.dialogue import ALICE, LOGON_FAILURE, Smb1, Smb2, Talk, write

CLIENTS = 500
WAVES = 8
"""Each client connects so many times, some seconds apart."""


def anonymous(at: float, client: str, port: int) -> Talk:
    talk = Smb2(client, at=at, port=port)
    talk.anonymous_use(0x11, "srvsvc")
    return talk


def with_two_sessions(at: float, client: str, port: int) -> Talk:
    talk = Smb2(client, at=at, port=port)
    talk.login(0x11, ALICE)
    talk.refused_use(0x22, "samr", status=ACCESS_DENIED)
    return talk


def given_up(at: float, client: str, port: int) -> Talk:
    talk = Smb2(client, at=at, port=port)
    talk.challenge(0x11)
    return talk


def rejected(at: float, client: str, port: int) -> Talk:
    talk = Smb2(client, at=at, port=port)
    talk.login(0x11, ALICE, status=LOGON_FAILURE)
    talk.login(0x12)
    return talk


def without_a_login(at: float, client: str, port: int) -> Talk:
    return Smb2(client, at=at, port=port)


def of_smb1(at: float, client: str, port: int) -> Talk:
    talk = Smb1(client, at=at, port=port)
    talk.login(0x11)
    talk.tree(0x11, 1)
    talk.create(0x11, 1, r"\srvsvc", 7)
    return talk


STORIES: tuple[tuple[Callable[[float, str, int], Talk], list[str], list[str]], ...] = (
    # what happens, and the identities of the sessions and the pipes that it shows
    (anonymous, ["anonymous"], ["srvsvc"]),
    (with_two_sessions, ["user", "anonymous"], ["samr"]),
    (given_up, ["unknown"], []),
    (rejected, ["rejected", "anonymous"], []),
    (without_a_login, [], []),
    (of_smb1, ["anonymous"], ["srvsvc"]),
)


@pytest.mark.parametrize("first_size", [16, native.FLOWS])
def test_thousands(first_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All clients talk at once, and again; some connections are closed, some are not, and stay in the table."""
    talks, told, pipes = [], Counter[tuple[str, str]](), Counter[str]()
    for number in range(CLIENTS * WAVES):
        wave, place = divmod(number, CLIENTS)
        story, identities, used = STORIES[number * 7 % len(STORIES)]
        client = f"10.{1 + place // 250}.0.{1 + place % 250}"
        talk = story(wave * 4 + place / 10_000, client, 49_152 + wave)
        if number % 3:
            talk.tcp.close()
        talks.append(talk)
        told.update((client, identity) for identity in identities)
        pipes.update(used)
    sizes = []

    def grown(memory: flows.Memory) -> flows.Memory:
        made = larger(memory)
        sizes.append(len(made.flows))
        return made

    larger = flows.grown
    monkeypatch.setattr(flows, "grown", grown)
    monkeypatch.setattr(native, "FLOWS", first_size)
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", *talks))

    assert sizes == [size for size in (32, 64, 128, 256, 512, 1024, 2048, 4096) if size > first_size]
    connections = analysis.connections
    assert len(connections) == len(talks)
    assert connections["packets"].sum() == sum(len(talk.tcp.segments) for talk in talks)
    began = sorted((talk.tcp.segments[0].time_ns, talk.tcp.client_end[0]) for talk in talks)
    assert sorted(zip(connections["first_seen"].astype("int64"), connections["client_ip"], strict=True)) == began
    assert not connections["midstream"].any()
    assert Counter(zip(analysis.sessions["client_ip"], analysis.sessions["identity"], strict=True)) == told
    assert Counter(analysis.pipe_opens["pipe"]) == pipes
    overall = analysis.coverage[analysis.coverage["server_ip"].isna()].set_index("measure")["value"]
    for name in ("connections_let_go", "messages_let_go", "bytes_given_up", "rows_given_up", "missing_bytes"):
        assert overall[name] == 0, name
