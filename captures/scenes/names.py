"""What tells names: NetBIOS name service and browser announcements beside a null session."""

from __future__ import annotations

import time

from samba import client, names, server

from scenes import scene

ANNOUNCED_AFTER = 20
"""Seconds within which nmbd has registered its names and announced the host for the first time."""


@scene("names-netbios.pcap")
def netbios(lab, file):
    """nmbd of both hosts registers their names and announces the server; a node status; then a null session."""
    comment = {"server string": "Old files, %v", "local master": "no"}
    files = server(lab, "FILES1", comment)
    one = client(lab, "CLIENT1", {"local master": "no", "server role": "auto", "server string": "Desk 7"})
    with lab.capture(file):
        for host in (files, one):
            names(host)
        time.sleep(ANNOUNCED_AFTER)
        one.run(f"nmblookup -A {files.address}")
        one.run("nmblookup FILES1")
        one.run(f"smbclient -N -L {files.address}")
    for host in (files, one):
        lab.note(f"{host.name}, log.nmbd:", (host.state / "log.nmbd").read_text())
