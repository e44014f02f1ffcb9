"""Disk shares without credentials."""

from __future__ import annotations

from samba import client, only, server

from scenes import scene, steps

NT1 = only("NT1")
SHARES = {
    "PUBLIC": {"guest ok": "yes", "read only": "no"},
    "DROP": {"guest ok": "yes", "read only": "yes"},
    "STAFF": {"valid users": "alice"},
}


@scene("disk-anonymous.pcap")
def anonymous(lab, file):
    """A guest ok share used anonymously: read and written over SMB 3.1.1, SMB 2.1 and SMB 1; STAFF is refused."""
    files = server(lab, "FILES1", {"server min protocol": "NT1"}, SHARES)
    one, two = client(lab, "CLIENT1"), client(lab, "CLIENT2")
    work = "-c 'get readme.txt /dev/null; put /etc/hosts hosts.txt; ls; rm hosts.txt'"
    with lab.capture(file):
        one.run(f"smbclient -U% //{files.address}/PUBLIC {work}")
        one.run(f"smbclient -U% //{files.address}/DROP -c 'put /etc/hosts hosts.txt'", expect=(0, 1))
        one.run(f"smbclient -U% //{files.address}/STAFF -c 'ls'", expect=(1,))
        two.run(steps(files, "", "logon a", "tree a PUBLIC", "read a readme.txt", "write a new.txt 300"))
        two.run(f"smbclient -U% {NT1} //{files.address}/PUBLIC -c 'get readme.txt /dev/null'")


@scene("disk-guest.pcap.zst")
def guest(lab, file):
    """The same share used as guest (an unknown name, map to guest = bad user)."""
    files = server(lab, "FILES1", {"map to guest": "bad user"}, SHARES)
    one = client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(
            f"smbclient -U scanner%x //{files.address}/PUBLIC -c 'get readme.txt /dev/null; put /etc/hosts hosts.txt'"
        )
        one.run(f"smbclient -U scanner%x //{files.address}/STAFF -c 'ls'", expect=(1,))


@scene("offload.pcapng")
def offload(lab, file):
    """Segmentation offload is on: frames far larger than the MTU, 300 KB each way beside a null session."""
    files = server(lab, "FILES1", {}, SHARES, offload=True)
    one = client(lab, "CLIENT1", offload=True)
    (one.state / "data").write_bytes(bytes(range(256)) * 1200)
    with lab.capture(file):
        one.run(f"smbclient -U% //{files.address}/PUBLIC -c 'put {one.state}/data data; get data /dev/null'")
        one.run(f"rpcclient -U% -c 'srvinfo' {files.address}")
