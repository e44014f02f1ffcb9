"""Scenes whose server's log is kept beside the capture, in `logs/`."""

from __future__ import annotations

import json

from samba import PASSWORDS, client, only, server

from scenes import scene


def keep_log(lab, host, file, *, events_only: bool = False) -> None:
    """Keep what `host` logged in the folder `logs`: its whole log, or the JSON audit events alone, one a line."""
    folder = file.parent / "logs"
    folder.mkdir(exist_ok=True)
    name = file.name.split(".", 1)[0]
    if events_only:
        events = [{key: value for key, value in event.items() if key != "server"} for event in lab.audit()]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    else:
        (folder / f"{name}.log").write_text((host.state / "log.smbd").read_text(errors="replace"))


@scene("logged-anonymous.pcap")
def anonymous(lab, file):
    """Null sessions of three clients, a user, and a wrong password, over SMB 3.1.1 and SMB 1; with the server's log."""
    files = server(lab, "FILES1", {"server min protocol": "NT1"})
    one, two, three = (client(lab, name) for name in ("CLIENT1", "CLIENT2", "CLIENT3"))
    with lab.capture(file):
        one.run(f"rpcclient -U% -c 'srvinfo; lsaquery' {files.address}")
        two.run(f"smbclient -U alice%{PASSWORDS['alice']} //{files.address}/IPC$ -c exit")
        two.run(f"smbclient -U alice%wrong //{files.address}/IPC$ -c exit", expect=(1,))
        two.run(f"smbclient -U% //{files.address}/IPC$ -c exit")
        three.run(f"rpcclient -U% {only('NT1')} -c srvinfo {files.address}")
        one.run(f"rpcclient -U% -c lsaquery {files.address}")
    keep_log(lab, files, file)


@scene("logged-ipv6.pcap")
def ipv6(lab, file):
    """Two null sessions over IPv6; with the audit events of the server's log."""
    files, one = server(lab, "FILES1", ipv6=True), client(lab, "CLIENT1", ipv6=True)
    with lab.capture(file):
        one.run(f"rpcclient -U% -c 'srvinfo; lsaquery' ncacn_np:{files.address6}")
        one.run(f"rpcclient -U% -c lsaquery ncacn_np:{files.address6}")
    keep_log(lab, files, file, events_only=True)
