"""The scapy engine by itself. With the native one it is compared in `conformance/`, capture by capture."""

from __future__ import annotations

import logging
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import analyzer
from analyzer import engines
from analyzer.capture.inputs import Input
from analyzer.engines.scapy_streams import Message, Streams, Trouble
from tests import build
from tests.dialogue import Smb2, write

CAPTURES = Path(__file__).parents[2] / "captures"


def read(path: Path) -> None:
    engine = engines.make("scapy", (139, 445), lambda _: None)
    for batch in engine.read([Input(str(path), "")]):
        assert len(batch.messages) < 1_000_000


@pytest.mark.parametrize("name", ["anonymous-smb1.pcap", "anonymous-smb311.pcap", "kerberos-user.pcap", "rap.pcap"])
@pytest.mark.parametrize("seed", range(4))
def test_damaged_captures_never_raise(name: str, seed: int, tmp_path: Path) -> None:
    chance = random.Random(f"{name} {seed}")
    data = bytearray((CAPTURES / name).read_bytes())
    for _ in range(200):
        at = chance.randrange(40, len(data))
        data[at] = chance.choice((0, 0xFF, chance.randrange(256)))
    damaged = tmp_path / "damaged.pcap"
    damaged.write_bytes(data[: len(data) - chance.randrange(50)])
    analysis = analyzer.analyze(damaged, engine="scapy", detail="all")
    assert len(analysis.table("captures")) == 1


@pytest.mark.parametrize("name", ["anonymous-smb1-plain.pcap", "interleaved-smb2.pcap"])
def test_messages_may_be_cut_anywhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies that end anywhere, or hold anything, make rows or problems."""
    from analyzer.engines import scapy_records  # noqa: PLC0415

    chance = random.Random(name)
    take = scapy_records.Records.take

    def taken(records: Any, item: Message | Trouble) -> None:
        if isinstance(item, Message):
            data = bytearray(item.data)
            for _ in range(chance.randrange(4)):
                data[chance.randrange(4, len(data))] = chance.randrange(256)
            item.data = bytes(data[: chance.randrange(5, len(data) + 1)])
        take(records, item)

    monkeypatch.setattr(scapy_records.Records, "take", taken)
    for _ in range(5):
        read(CAPTURES / name)


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    whole = (CAPTURES / "anonymous-smb202.pcap").read_bytes()
    for content, told in ((b"", "empty"), (b"no capture", "no capture file"), (whole[:-7], "ends inside the record")):
        path = tmp_path / f"{told.replace(' ', '-')}.pcap"
        path.write_bytes(content)
        ours, theirs = (analyzer.analyze(path, engine=engine).table("captures") for engine in ("scapy", "native"))
        assert told in ours["errors"][0]
        assert ours["errors"][0] == theirs["errors"][0]
        assert ours["packets"][0] == theirs["packets"][0]


def test_a_body_that_is_too_short_is_named_as_the_specification_does(tmp_path: Path) -> None:
    """[MS-SMB2 2.2.15] has 24 bytes; these are 4."""
    talk = Smb2()
    talk.login(1)
    talk.tree(1, 1)
    talk.ask(build.CLOSE, b"\x18\0\0\0", session_id=1, tree_id=1)
    problems = analyzer.analyze(write(tmp_path / "short.pcap", talk), engine="scapy").problems
    assert problems[["field", "code"]].to_numpy().tolist() == [["SMB2 CLOSE Request", "too_short"]]


def test_scapy_says_nothing_and_its_settings_stay(capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger("scapy").level
    read(CAPTURES / "anonymous-smb1.pcap")
    assert logging.getLogger("scapy").level == before
    assert capfd.readouterr().err == ""


def test_streams_are_put_in_order_whatever_comes() -> None:
    """Random pieces, repeated and shuffled, of a stream of messages give these messages; see `segments`."""
    for seed in range(20):
        chance = random.Random(seed)
        bodies = [
            b"\xfeSMB\x40\0" + bytes(chance.randrange(256) for _ in range(chance.randrange(60, 300))) for _ in range(9)
        ]
        stream = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
        found: list[bytes] = []

        def take(item: Message | Trouble, found: list[bytes] = found) -> None:
            assert isinstance(item, Message)
            found.append(item.data)

        streams = Streams((445,), 0, lambda _flow, _side, _head, size: size, take)
        for segment in segments(stream, chance):
            streams.feed(segment, None)
        streams.finish_over(everything=True)
        assert found == bodies


def segments(stream: bytes, chance: random.Random) -> list[Any]:
    from analyzer.engines.scapy_packets import Segment  # noqa: PLC0415

    client, server = (b"\0" * 15 + b"\1", 50000), (b"\0" * 15 + b"\2", 445)
    start = 2**32 - 700  # the numbers wrap on the way

    def made(frame: int, seq: int, data: bytes, flags: int) -> Segment:
        return Segment(10**9 + frame, 0, frame, client, server, seq % 2**32, 0, flags, len(data), data, ())

    cuts = sorted({0, len(stream), *(chance.randrange(len(stream)) for _ in range(30))})
    parts = list(pairwise(cuts))
    parts += chance.sample(parts, 5)
    for at in range(len(parts) - 4):
        window = parts[at : at + 4]
        chance.shuffle(window)
        parts[at : at + 4] = window
    made_parts = [made(n + 2, start + a, stream[a:b], 0x18) for n, (a, b) in enumerate(parts)]
    return [made(1, start - 1, b"", 2), *made_parts]
