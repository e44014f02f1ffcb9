"""What engines agree on, in a terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from analyzer.report import agreement
from analyzer.verify import Agreement, Difference, Verification

EVIDENCE = "ntlm.name; ntlm.response; status.success; smb2.flag_null"

IDENTITY = Difference(
    table="sessions",
    capture="d/a\x1b[2J.pcap",
    frame=17,
    column="identity",
    engine="native",
    value="anonymous",
    other="scapy",
    other_value=None,
    evidence=EVIDENCE,
)
WHOLE_ROW = Difference(
    table="calls",
    capture=None,
    frame=None,
    column="",
    engine="native",
    value=None,
    other="scapy",
    other_value="a row",
    evidence=None,
)
EMPTY = replace(IDENTITY, column="user", value="")


def found(*differences: Difference) -> Verification:
    made = Verification(
        ("native", "scapy"),
        {"native": (), "scapy": ("names in NetBIOS session requests",)},
        {"native": {}, "scapy": {"hosts": "datagrams (DNS, DHCP, NetBIOS) are not collected"}},
        {"native": (), "scapy": ("some forms of GRE: what is inside is not seen",)},
    )
    made.agreement.append(Agreement("sessions", "native", "scapy", rows=1234, equal=1230, only_other=4))
    made.differences.extend(differences)
    made.count = len(differences)
    return made


def printed(verification: Verification, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    agreement.render(verification, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", range(60, 221))
def test_at_every_width_each_difference_has_its_place_and_what_each_says(width: int) -> None:
    text = printed(found(IDENTITY, WHOLE_ROW, EMPTY), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert text.startswith("3 differences.\n")
    lines = [line.strip() for line in text.splitlines()]
    assert "sessions, identity: a\\u001b[2J.pcap frame 17" in lines
    at = lines.index("native: anonymous")
    assert lines[at + 1] == "scapy: nothing"
    assert EVIDENCE in " ".join(lines[at:])
    assert "calls, only scapy has the row" in lines
    assert 'native: ""' in lines
    assert lines[2].split() == ["Table", "Both", "Equal", "Only", "native", "Only", "scapy"]
    assert lines[3].split() == ["sessions", "1,234", "1,230", "0", "4"]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_what_it_cannot_show_is_told(width: int) -> None:
    text = " ".join(printed(found(), width).split())
    assert "native and scapy agree on all that they can know." in text
    assert "scapy cannot know hosts: datagrams (DNS, DHCP, NetBIOS) are not collected." in text
    assert "scapy shares besides: names in NetBIOS session requests." in text
    assert "scapy: some forms of GRE: what is inside is not seen." in text
