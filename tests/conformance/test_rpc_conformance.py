"""Binds, calls and their results on pipes: what tshark reads in the same captures.

As in `test_conformance.py`, whose captures these are: each capture is read by both, whether it has DCE/RPC or not. Where they
differ and the engine is right, `PECULIARITIES` says why, and a difference that no longer occurs fails.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from analyzer import knowledge

from .test_conformance import Capture, analysis_of, by_tshark, own_captures, public_captures
from .tshark_reader import LAST_FRAGMENT, tshark_program

REQUEST, BIND, ALTER_CONTEXT = 0, 11, 14
NEGOTIATE_ACK = 3
Fact = tuple[str, int, str]
"""A kind of thing, its frame, and what it says."""


@dataclass(frozen=True)
class Peculiarity:
    """What only one of them finds in a capture, and why."""

    only_tshark: frozenset[Fact]
    only_engine: int
    """how many"""
    reason: str


_ECHO = (
    "Frame 23 answers an IOCTL, and its InputOffset and InputCount name a copy of the request's input before the output "
    "[MS-SMB2 2.2.32]: tshark reads it as a second request."
)
PECULIARITIES: dict[str, Peculiarity] = {
    "anonymous-encrypted.pcap": Peculiarity(
        frozenset(),
        15,
        "The null sessions are encrypted with the keys that their logins yield; tshark is not told these keys. Five times a "
        "bind, its acknowledgement and a call.",
    ),
    "OISF/suricata-verify tests/smb2-03-rule/smb2.pcap": Peculiarity(frozenset({("call", 23, "16")}), 0, _ECHO),
    "OISF/suricata-verify tests/smb2-ntlmssp-order/smb2.pcap": Peculiarity(frozenset({("call", 23, "16")}), 0, _ECHO),
}


@cache
def facts_by_tshark(path: Path) -> Counter[Fact]:
    """What tshark finds. A request in fragments is told by its last, as the tables do."""
    found: Counter[Fact] = Counter()
    for packet in by_tshark(path).pdus:
        asked = [place for place, kind in enumerate(packet.kinds) if kind == REQUEST]
        for number, place in enumerate(asked):
            if packet.flags[place] & LAST_FRAGMENT and number < len(packet.opnums):
                found["call", packet.frame, str(packet.opnums[number])] += 1
        found.update(("fault", packet.frame, f"{status:08x}") for status in packet.statuses)
        found.update(("bind", packet.frame, uuid) for uuid in set(packet.interfaces))
        found.update(("accepted", packet.frame, "") for result in packet.results if result == 0)
        found.update(("refused", packet.frame, "") for result in packet.results if result not in (0, NEGOTIATE_ACK))
        found.update(("rejected", packet.frame, str(reason)) for reason in packet.reasons)
    return found


def facts_by_engine(path: Path) -> Counter[Fact]:
    """What the engine finds."""
    analysis = analysis_of(path, "native")
    calls, binds = analysis.calls[analysis.calls["protocol"] == "dcerpc"], analysis.binds
    asked = calls[calls["frame"].notna()]
    faults = calls[calls["status_of"] == "fault"]
    accepted, refused = (binds[binds["result"] == result] for result in ("accepted", "refused"))
    rejected = binds[binds["result"] == "rejected"].drop_duplicates("answer_frame")
    found: Counter[Fact] = Counter()
    found.update(("call", frame, str(opnum)) for frame, opnum in _values(asked, "frame", "opnum"))
    found.update(
        ("fault", frame, f"{_number('fault', status):08x}")
        for frame, status in _values(faults, "answer_frame", "status")
    )
    found.update(
        {("bind", frame, uuid): 1 for frame, uuid in _values(binds[binds["frame"].notna()], "frame", "interface_uuid")}
    )
    found.update(("accepted", frame, "") for (frame,) in _values(accepted, "answer_frame"))
    found.update(("refused", frame, "") for (frame,) in _values(refused, "answer_frame"))
    found.update(
        ("rejected", frame, str(_number("bind_nak", reason)))
        for frame, reason in _values(rejected, "answer_frame", "status")
    )
    return found


def _values(rows: pd.DataFrame, *names: str) -> list[tuple]:
    return list(rows[list(names)].itertuples(index=False, name=None))


def _number(kind: str, name: str) -> int:
    """The code of a status by its name, or of one without."""
    codes = {text: code for code, text in knowledge.status_names(kind).items()}
    return codes[name] if name in codes else int(name, 0)


@pytest.fixture(scope="module", autouse=True)
def _tshark_is_installed() -> None:
    if tshark_program() is None:
        pytest.skip("tshark is not installed")


@pytest.mark.parametrize("capture", [*own_captures(), *public_captures()], ids=str)
def test_the_engine_finds_what_tshark_finds(capture: Capture) -> None:
    theirs, ours = facts_by_tshark(capture.path), facts_by_engine(capture.path)
    known = PECULIARITIES.get(str(capture), Peculiarity(frozenset(), 0, ""))
    only_theirs, only_ours = theirs - ours, ours - theirs
    assert set(only_theirs.elements()) == known.only_tshark, f"{capture}: only by tshark"
    assert only_ours.total() == known.only_engine, f"{capture}: only by the engine: {sorted(only_ours)[:20]}"


def test_they_have_something_to_compare() -> None:
    found = sum((facts_by_tshark(capture.path) for capture in own_captures()[:12]), Counter())
    kinds = {kind for kind, _, _ in found}
    assert {"call", "bind", "accepted"} <= kinds
    assert found.total() > 100


def test_peculiarities_are_of_captures_that_are_compared() -> None:
    if not public_captures():
        pytest.skip("NULLSESSION_CORPUS does not name the folder of public captures")
    assert PECULIARITIES.keys() <= {str(capture) for capture in [*own_captures(), *public_captures()]}
    assert all(one.reason for one in PECULIARITIES.values())
