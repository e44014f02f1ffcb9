"""Many clients, three servers: everything at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from samba import client, only, server

from scenes import scene, steps

SHARES = {"PUBLIC": {"guest ok": "yes", "read only": "no"}, "STAFF": {"valid users": "alice bob"}}


@scene("busy.pcap")
def busy(lab, file):
    """Ten clients at once: anonymous, guest, users and refusals on three servers with different settings."""
    old = {"server min protocol": "NT1"}
    lax = server(lab, "FILES1", old, SHARES, users=("alice", "bob"))
    guest = server(lab, "FILES2", old | {"map to guest": "bad user"}, SHARES)
    strict = server(lab, "FILES3", {"restrict anonymous": "2"}, SHARES)
    f1, f2, f3 = lax.address, guest.address, strict.address
    alice, bob = "-U alice%Winter-2024", "-U bob%Summer-2024"
    get, put = "-c 'get readme.txt /dev/null'", "-c 'put /etc/hosts scan'"
    both = ("logon a", "tree a IPC$", "logon u alice Winter-2024", "tree u IPC$", "ask u srvsvc")
    play = {
        "CLIENT1": [f"rpcclient -U% -c 'srvinfo; netshareenumall' {f1}", f"rpcclient -U% -c lsaquery {f2}"],
        "CLIENT2": [f"smbclient -U% //{f1}/PUBLIC {get}", f"smbclient {alice} //{f1}/STAFF {get}"],
        "CLIENT3": [f"smbclient {bob} //{f1}/STAFF {get}", f"smbclient {bob} //{f2}/PUBLIC {get}"],
        "CLIENT4": [f"smbclient -N -L {f3}", f"smbclient {alice} -L {f3}"],
        "CLIENT5": [f"smbclient -U copier%copier //{f2}/PUBLIC {put}"] * 2,
        "CLIENT6": [f"samrdump.py -no-pass {f1}", f"lookupsid.py -no-pass guest@{f1} 1010"],
        "CLIENT7": [f"rpcclient -U% {only('NT1')} -c 'enumdomusers; enumdomgroups' {f1}"],
        "CLIENT8": [
            steps(lax, "--dialect NT1", "logon a", "tree a IPC$", "ask a srvsvc", "ask a samr"),
            steps(guest, "", "logon a"),
        ],
        "CLIENT9": [steps(strict, "", *both), f"smbclient {alice} //{f3}/STAFF {get}"],
        "CLIENT10": [f"smbclient -U alice%wrong //{f1}/PUBLIC {get}", f"rpcclient {alice} -c 'srvinfo; lsaquery' {f1}"],
    }
    hosts = {name: client(lab, name) for name in play}

    def run_all(name: str) -> None:
        for command in play[name]:
            hosts[name].run(command, expect=range(256))

    with lab.capture(file), ThreadPoolExecutor(len(play)) as pool:
        list(pool.map(run_all, play))
