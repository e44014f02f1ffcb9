"""The scapy engine against the native one: two ways from the same bytes to the same tables.

What both share is listed in the engine's docstring. Here a difference is a fault of one of the two, or a gap that `GAPS`
declares. `test_engines_agree.py` compares row by row and leaves the gaps out; here, where nothing is opened by a second
reading, those columns must be the same too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from .test_conformance import Capture, analysis_of, own_captures, public_captures

COMPARED = (
    "captures", "connections", "sessions", "trees", "pipe_opens", "binds", "calls", "credentialed_uses", "disk_opens",
    "problems",
)  # fmt: skip
UNKNOWN = {"captures": {"dropped_packets"}, "connections": {"process_id", "process_name", "process_side"}}
"""Columns that this engine does not fill: see `GAPS`."""
REREAD = ("signature.", "encryption.", "conflict.signature", "conflict.encryption")
"""Evidence that a second reading gives, which this engine does not do."""
ENCRYPTED = {"anonymous-encrypted.pcap"}
"""Native opens what is encrypted there with the zero key, and shows trees, opens and calls in it."""


def tables_of(path: Path, engine: str) -> dict[str, pd.DataFrame]:
    return {name: analysis_of(path, engine).table(name) for name in COMPARED}


def values(table: pd.DataFrame, column: str) -> list[Any]:
    found = ["" if value is pd.NA or value is pd.NaT or value is None else str(value) for value in table[column]]
    if column != "evidence":
        return found
    return ["; ".join(sign for sign in one.split("; ") if not sign.startswith(REREAD)) for one in found]


def differences(path: Path) -> list[str]:
    ours, theirs = tables_of(path, "scapy"), tables_of(path, "native")
    told = []
    for name in COMPARED:
        if len(ours[name]) != len(theirs[name]):
            told.append(f"{name}: {len(ours[name])} rows, native has {len(theirs[name])}")
            continue
        for column in set(theirs[name].columns) - UNKNOWN.get(name, set()):
            mine, native = values(ours[name], column), values(theirs[name], column)
            told += [f"{name}.{column}: {a!r}, native {b!r}" for a, b in zip(mine, native, strict=True) if a != b][:3]
    return told


@pytest.mark.parametrize("capture", [*own_captures(), *public_captures()], ids=str)
def test_both_engines_say_the_same(capture: Capture) -> None:
    if capture.name not in ENCRYPTED:
        assert differences(capture.path) == []
        return
    ours, theirs = tables_of(capture.path, "scapy"), tables_of(capture.path, "native")
    assert len(theirs["pipe_opens"]) > len(ours["pipe_opens"])
    assert ours["sessions"]["encrypted_messages"].sum() > 0
    for column in ("frame", "asked", "identity", "user", "outcome"):
        assert values(ours["sessions"], column) == values(theirs["sessions"], column)


def test_what_is_encrypted_is_of_captures_that_are_compared() -> None:
    assert {capture.name for capture in own_captures()} >= ENCRYPTED
