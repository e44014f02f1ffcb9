"""`nullsession verify`."""

from __future__ import annotations

from pathlib import Path

from command import CAPTURES, Called


def test_engines_that_agree(called: Called) -> None:
    done = called("verify", CAPTURES / "refused-stub.pcap", "--engines", "native,scapy")
    assert done.status == 0
    assert done.out.startswith("native and scapy agree on all that they can know.")
    assert "Shared by all engines" in done.out


def test_engines_that_differ_end_with_one_and_name_the_frame(called: Called, tmp_path: Path) -> None:
    done = called("verify", CAPTURES / "anonymous-encrypted.pcap", "--engines", "native, scapy", "-o", tmp_path / "out")
    assert done.status == 1
    assert "anonymous-encrypted.pcap" in done.out
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"agreement.csv", "differences.csv"}


def test_one_engine_is_none_to_compare_with(called: Called) -> None:
    done = called("verify", CAPTURES / "refused-stub.pcap", "--engines", "native")
    assert done.status == 2
    assert "two engines" in done.err


def test_an_unreadable_file_wins_over_a_difference(called: Called, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pcap"
    broken.write_bytes((CAPTURES / "refused-stub.pcap").read_bytes()[:-7])
    done = called("verify", broken, "--engines", "native,scapy")
    assert done.status == 3
    assert "broken.pcap" in done.err
