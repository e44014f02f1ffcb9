"""What several results say of addresses."""

from __future__ import annotations

from pathlib import Path

import analyzer
from analyzer import merging
from tests import build
from tests.dialogue import Smb2, write

DAY = 86_400


def seen(path: Path, name: str, at: float, client: str = "10.0.0.1", length: float = 0) -> analyzer.Analysis:
    """A client that says its name, at the beginning and `length` seconds later."""
    token = build.ntlm_authenticate(
        lm=b"\0", workstation=name, flags=build.NTLM_FLAGS | build.NTLM_ANONYMOUS, key=bytes(16)
    )
    talk = Smb2(client, at=at, guid=bytes(16))
    talk.login(0x11, token)
    talk.wait(length)
    talk.login(0x22, token)
    return analyzer.analyze(write(path, talk))


def rows(*analyses: analyzer.Analysis) -> list[tuple[str, str, bool]]:
    hosts = merging.merge(analyses).analysis.hosts
    hosts = hosts[hosts["ip"] != "10.0.0.2"]
    return list(zip(hosts["ip"], hosts["name"], hosts["shared"], strict=True))


def test_one_machine_in_two_results_is_one_row(tmp_path: Path) -> None:
    first, second = seen(tmp_path / "a.pcap", "PC1", 0), seen(tmp_path / "b.pcap", "PC1", DAY)
    merged = merging.merge([second, first]).analysis.hosts
    row = merged[merged["ip"] == "10.0.0.1"].iloc[0]
    assert rows(first, second) == [("10.0.0.1", "PC1", False)]
    assert (row["valid_to"] - row["valid_from"]).days == 1


def test_an_address_that_changed_hands_between_results_has_two_rows(tmp_path: Path) -> None:
    first, second = seen(tmp_path / "a.pcap", "PC1", 0), seen(tmp_path / "b.pcap", "PC2", DAY)
    expected = [("10.0.0.1", "PC1", False), ("10.0.0.1", "PC2", False)]
    assert rows(first, second) == rows(second, first) == expected
    found = merging.merge([first, second]).analysis
    assert found.counts["addresses_shared"] == 0


def test_two_machines_at_the_same_time_share_the_address(tmp_path: Path) -> None:
    """Or it was two networks': what one of them did proves nothing for the other."""
    first, second = seen(tmp_path / "a.pcap", "PC1", 0, length=DAY), seen(tmp_path / "b.pcap", "PC2", DAY / 2)
    found = merging.merge([first, second]).analysis
    hosts = found.hosts[found.hosts["ip"] == "10.0.0.1"]
    assert hosts["shared"].all()
    assert found.counts["addresses_shared"] == 1


def test_addresses_are_in_order(tmp_path: Path) -> None:
    first = seen(tmp_path / "a.pcap", "PC1", 0, "10.0.0.10")
    second = seen(tmp_path / "b.pcap", "PC2", 1, "10.0.0.9")
    assert [ip for ip, _, _ in rows(first, second)] == ["10.0.0.9", "10.0.0.10"]
