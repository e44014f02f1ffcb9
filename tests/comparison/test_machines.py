"""Which machine of one side is which of the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import analyzer
from analyzer.comparison.machines import BY_ADDRESS, BY_GUID, BY_NAME, Machines, match
from analyzer.comparison.sides import Side, Sides
from analyzer.sessions.joins import NONE
from tests import build
from tests.dialogue import Smb2, write

GUIDS = [bytes([number] * 16) for number in range(1, 9)]
ZERO = bytes(16)


def login(client: str, name: str = "", **how: Any) -> Smb2:
    """A client that says its name and GUID."""
    token = build.ntlm_authenticate(
        lm=b"\0", workstation=name, flags=build.NTLM_FLAGS | build.NTLM_ANONYMOUS, key=bytes(16)
    )
    talk = Smb2(client, **{"guid": ZERO, "server_guid": ZERO} | how)
    talk.login(0x11 + how.get("port", 0), token)
    return talk


class Matched:
    """The machines of two captures, by addresses as texts."""

    def __init__(self, folder: Path, before: list[Smb2], after: list[Smb2]) -> None:
        analyses = [
            analyzer.analyze(write(folder / f"{name}.pcap", *talks))
            for name, talks in (("before", before), ("after", after))
        ]
        rows = Sides(analyses)
        self.sides = [Side(rows, at, analysis, {}) for at, analysis in enumerate(analyses)]
        self.found: Machines = match(*self.sides)

    def number(self, ip: str, *, after: bool) -> int:
        codes = self.sides[0].texts
        site, address = (np.array([codes.code(text)]) for text in ("", ip))
        return int(self.found.of(site, address, after=after)[0])

    def same(self, before: str, after: str) -> int | None:
        """How the two addresses are known to be one machine's; None: they are not."""
        number = self.number(before, after=False)
        return int(self.found.matched_by[number]) if number == self.number(after, after=True) != NONE else None


def test_the_same_address_is_the_same_machine(tmp_path: Path) -> None:
    found = Matched(tmp_path, [login("10.0.0.1")], [login("10.0.0.1"), login("10.0.0.3")])
    assert found.same("10.0.0.1", "10.0.0.1") == BY_ADDRESS
    assert found.same("10.0.0.2", "10.0.0.2") == BY_ADDRESS
    assert found.same("10.0.0.1", "10.0.0.3") is None
    assert found.number("10.0.0.3", after=False) == NONE


def test_a_name_on_one_side_only_says_nothing(tmp_path: Path) -> None:
    found = Matched(tmp_path, [login("10.0.0.1", "PC1")], [login("10.0.0.1")])
    assert found.same("10.0.0.1", "10.0.0.1") == BY_ADDRESS


def test_names_are_the_same_in_any_spelling(tmp_path: Path) -> None:
    found = Matched(tmp_path, [login("10.0.0.1", "PC1")], [login("10.0.0.5", "pc1.corp.example")])
    assert found.same("10.0.0.1", "10.0.0.5") == BY_NAME


def test_an_address_that_changed_hands(tmp_path: Path) -> None:
    found = Matched(tmp_path, [login("10.0.0.1", "PC1")], [login("10.0.0.1", "PC2")])
    assert found.same("10.0.0.1", "10.0.0.1") is None
    assert len(found.found.changed_hands) == 1


def test_a_server_is_found_by_its_guid(tmp_path: Path) -> None:
    before, after = (login("10.0.0.1", server=ip, server_guid=GUIDS[0]) for ip in ("10.0.0.2", "10.0.0.9"))
    found = Matched(tmp_path, [before], [after])
    # Its name, in the NTLM challenge, is better known than its GUID.
    assert found.same("10.0.0.2", "10.0.0.9") in (BY_NAME, BY_GUID)


def test_a_guid_of_nothing_but_zeros_is_nobodys(tmp_path: Path) -> None:
    found = Matched(tmp_path, [login("10.0.0.1")], [login("10.0.0.5")])
    assert found.same("10.0.0.1", "10.0.0.5") is None


def test_the_guid_of_a_client_is_none_of_a_server(tmp_path: Path) -> None:
    before = login("10.0.0.1", guid=GUIDS[0])
    after = login("10.0.0.7", server="10.0.0.8", server_guid=GUIDS[0])
    assert Matched(tmp_path, [before], [after]).same("10.0.0.1", "10.0.0.8") is None


def test_a_name_behind_a_shared_address_is_nobodys(tmp_path: Path) -> None:
    """Two machines in turns behind one address, of which one has an address of its own later."""
    talks = [login("10.0.0.1", name, at=at, port=49_152 + at) for at, name in enumerate(("PC1", "PC2", "PC1", "PC2"))]
    found = Matched(tmp_path, talks, [login("10.0.0.5", "PC1")])
    assert found.same("10.0.0.1", "10.0.0.5") is None
