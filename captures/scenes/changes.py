"""The same clients before and after one change: of a setting on the running server, or of one client.

Each capture begins with a server that lets everybody in and differs from `change-0-open` in one thing, which its
name and title tell. Then the clients run, one after the other, each for one purpose.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from lab import NOTHING, wait_until
from samba import client, only, reconfigure, server

from scenes import scene, steps

PERMISSIVE = {"restrict anonymous": "0", "map to guest": "bad user", "server min protocol": "NT1"}
SERVICES = Path("/usr/libexec/samba")
SHARES = {"PUBLIC": {"guest ok": "yes"}}
ALICE = "-U alice%Winter-2024"
GET = "-c 'get readme.txt /dev/null'"
ASK = "-c 'enumdomusers; lookupsids S-1-5-32-544; netshareenumall'"
CLIENTS = {
    "CLIENT1": "smbclient -N -L {server}",
    "CLIENT2": f"rpcclient -U% {ASK} {{server}}",
    "CLIENT3": f"rpcclient -U% {only('NT1')} -c srvinfo {{server}}",
    "CLIENT4": f"smbclient -U scanner%scanner //{{server}}/PUBLIC {GET}",
    "CLIENT5": f"smbclient -U% //{{server}}/PUBLIC {GET}",
    "CLIENT6": f"smbclient {ALICE} //{{server}}/PUBLIC {GET}",
    "CLIENT7": "rpcclient -U% -c enumprinters {server}",
}  # fmt: skip
"""What each client runs; CLIENT6 alone has credentials."""


def run_all(
    lab,
    file: Path,
    settings: Mapping[str, str] = NOTHING,
    share: Mapping[str, str] = NOTHING,
    clients: Mapping[str, str] = CLIENTS,
    services: tuple[str, ...] = (),
) -> None:
    """Start the permissive server, change `settings` or those of the share, and run `clients`; many of them may fail.

    services: the programs that answer RPC, where smbd does not start them all when they are asked for.
    """
    files = server(lab, "FILES1", PERMISSIVE, SHARES)
    if settings or share:
        reconfigure(files, PERMISSIVE | settings, {"PUBLIC": SHARES["PUBLIC"] | share})
    if services:
        programs = " ".join(str(SERVICES / name) for name in services)
        files.start(f"{SERVICES}/samba-dcerpcd --foreground --no-process-group {programs}")
        pipe = files.state / "ncalrpc" / "np" / "srvsvc"
        wait_until(pipe.exists, f"{files.name} to answer on srvsvc")
    hosts = {name: client(lab, name) for name in clients}
    with lab.capture(file):
        for name, command in clients.items():
            hosts[name].run(command.format(server=files.address), expect=(0, 1))


@scene("change-0-open.pcap")
def nothing(lab, file):
    """Seven clients of a server that lets everybody in: the state before each change."""
    run_all(lab, file)


@scene("change-1-restrict1.pcap")
def restrict_1(lab, file):
    """The same with restrict anonymous = 1: users, names and shares are refused by the operations themselves."""
    run_all(lab, file, {"restrict anonymous": "1"})


@scene("change-2-restrict2.pcap")
def restrict_2(lab, file):
    """The same with restrict anonymous = 2: IPC$ is refused to null sessions."""
    run_all(lab, file, {"restrict anonymous": "2"})


@scene("change-3-map-never.pcap")
def map_never(lab, file):
    """The same with map to guest = never: unknown names are refused; smbclient -N falls back to a null session."""
    run_all(lab, file, {"map to guest": "never"})


@scene("change-4-guest-no.pcap")
def guest_no(lab, file):
    """The same with guest ok = no on PUBLIC: the share is refused to guests and to null sessions."""
    run_all(lab, file, share={"guest ok": "no"})


@scene("change-5-min-smb2.pcap")
def min_smb2(lab, file):
    """The same with server min protocol = SMB2: the client that speaks SMB 1 alone gets no dialect."""
    run_all(lab, file, {"server min protocol": "SMB2"})


@scene("change-6-encrypt.pcap")
def encrypt(lab, file):
    """The same with server smb encrypt = required: guests and null sessions are refused when they log on."""
    run_all(lab, file, {"server smb encrypt": "required"})


@scene("change-7-no-spoolss.pcap")
def no_spoolss(lab, file):
    """The same with the service behind spoolss stopped: the pipe is not there any more, which is no refusal."""
    run_all(
        lab,
        file,
        {"rpc start on demand helpers": "no"},
        services=("rpcd_classic", "rpcd_epmapper", "rpcd_lsad", "rpcd_winreg"),
    )


@scene("change-8-credentials.pcap")
def credentials(lab, file):
    """The same server; CLIENT2 has been given credentials and asks what it asked before."""
    run_all(lab, file, clients=CLIENTS | {"CLIENT2": f"rpcclient {ALICE} {ASK} {{server}}"})


@scene("change-9-absent.pcap")
def absent(lab, file):
    """The same server; CLIENT5 and CLIENT7 do not run."""
    run_all(lab, file, clients={name: run for name, run in CLIENTS.items() if name not in ("CLIENT5", "CLIENT7")})


@scene("monitor-session.pcap")
def monitor(lab, file):
    """A monitor logs on anonymously each minute, five times, and does nothing else."""
    files, one = server(lab, "FILES1", PERMISSIVE, SHARES), client(lab, "CLIENT1")
    with lab.capture(file):
        for minute in range(5):
            if minute:
                time.sleep(60)
            one.run(steps(files, "", "logon a", "logoff a"))
