"""What clients offer in their negotiation, as tshark reports it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

import analyzer

CAPTURES = Path(__file__).parents[2] / "captures"
REQUESTS = "(smb2.cmd==0 && smb2.flags.response==0) || (smb.cmd==0x72 && smb.flags.response==0)"
FIELDS = ("tcp.srcport", "smb2.dialect", "smb2.capabilities", "smb.dialect.name")
SMB2 = {"0x0202": "2.0.2", "0x0210": "2.1", "0x0300": "3.0", "0x0302": "3.0.2", "0x0311": "3.1.1"}


def told_by_tshark(capture: Path) -> dict[int, tuple[str, int | None]]:
    """By the client's port: dialects and capabilities of the last request."""
    command = ["tshark", "-r", str(capture), "-Y", REQUESTS, "-T", "fields"]
    command += [word for field in FIELDS for word in ("-e", field)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found: dict[int, tuple[str, int | None]] = {}
    for line in lines:
        port, dialects, capabilities, names = line.split("\t")
        spelt = [SMB2[dialect] for dialect in dialects.split(",")] if dialects else names.split(",")
        found[int(port)] = ("|".join(spelt), int(capabilities, 16) if capabilities else None)
    return found


@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
@pytest.mark.parametrize(
    "name", ["anonymous-lanman.pcap", "user.pcap", "busy.pcap", "anonymous-signed-dialects.pcap", "built-nt4.pcap"]
)
def test_dialects_and_capabilities(name: str) -> None:
    wanted = told_by_tshark(CAPTURES / name)
    rows = analyzer.analyze(CAPTURES / name).connections
    found = {
        int(row["client_port"]): (
            row["dialects_offered"],
            None if pd.isna(row["client_capabilities"]) else int(row["client_capabilities"]),
        )
        for _, row in rows[rows["dialects_offered"].notna()].iterrows()
    }
    assert wanted
    assert found == wanted
