"""Who is who: guest, user, several identities on one connection, and changes of identity on one session."""

from __future__ import annotations

from samba import client, only, server

from scenes import scene, steps

SMB1 = {"server min protocol": "NT1"}
NT1 = only("NT1")
ALICE = "alice Winter-2024"


@scene("guest.pcap")
def guest(lab, file):
    """map to guest = bad user: an unknown name becomes guest, over SMB 3.1.1 and SMB 1; anonymous stays anonymous."""
    files = server(lab, "FILES1", SMB1 | {"map to guest": "bad user"}, {"PUBLIC": {"guest ok": "yes"}})
    one, two = client(lab, "CLIENT1"), client(lab, "CLIENT2")
    with lab.capture(file):
        one.run(f"smbclient -U scanner%scanner //{files.address}/PUBLIC -c 'get readme.txt /dev/null'")
        one.run(f"rpcclient -U scanner%scanner {NT1} --option=clientipcsigning=auto -c srvinfo {files.address}")
        one.run(f"smbclient -N //{files.address}/PUBLIC -c 'ls readme.txt'")
        two.run(f"rpcclient -U% -c srvinfo {files.address}")
        two.run(f"python3 clients/pysmb_shares.py {files.address}", expect=(0, 1))


@scene("guest-signed.pcap")
def guest_signed(lab, file):
    """The server demands signing: guests that sign are refused, and the refusal is signed by zeros; alice on SMB 1."""
    settings = {"map to guest": "bad user", "server signing": "mandatory", "server min protocol": "NT1"}
    files, one = server(lab, "FILES1", settings), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(f"python3 clients/impacket_srvsvc.py {files.address} nosuchuser secret", expect=(1,))
        one.run(f"python3 clients/impacket_srvsvc.py {files.address} nosuchuser ''", expect=(1,))
        one.run(f"smbclient -U alice%Winter-2024 {only('NT1')} //{files.address}/IPC$ -c exit")


@scene("empty-name.pcap")
def empty_name(lab, file):
    """An empty name with responses of full length (pysmb): refused; and a name with empty responses: refused."""
    files, one = server(lab, "FILES1", SMB1), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(f"python3 clients/pysmb_shares.py {files.address}", expect=(1,))
        one.run(f"python3 clients/pysmb_shares.py {files.address} --smb2", expect=(1,))
        one.run(f"smbclient -U alice%  -L {files.address}", expect=(0, 1))


@scene("user.pcap")
def user(lab, file):
    """Users by NTLM: smbclient on 3.1.1, impacket on 3.1.1, pysmb on SMB 2 and SMB 1, encrypted smbclient."""
    files = server(lab, "FILES1", SMB1, {"PUBLIC": {}}, users=("alice", "bob"))
    one, two = client(lab, "CLIENT1"), client(lab, "CLIENT2")
    with lab.capture(file):
        one.run(f"rpcclient -U alice%Winter-2024 -c srvinfo {files.address}")
        one.run(f"smbclient -U bob%Summer-2024 //{files.address}/PUBLIC -c 'get readme.txt /dev/null'")
        one.run(f"smbclient -U bob%Summer-2024 --client-protection=encrypt //{files.address}/PUBLIC -c 'ls'")
        two.run(f"python3 clients/pysmb_shares.py {files.address} --smb2 {ALICE}")
        two.run(f"python3 clients/pysmb_shares.py {files.address} {ALICE}")
        two.run(f"python3 clients/smbprotocol_read.py {files.address} PUBLIC readme.txt {ALICE}")


@scene("interleaved-smb2.pcap")
def interleaved_smb2(lab, file):
    """Anonymous and user sessions side by side on one connection (SMB 3.0.2), three of them at once."""
    files, one = server(lab, "FILES1", {}, {"PUBLIC": {"guest ok": "yes"}}), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(
            steps(
                files,
                "--dialect 3.0.2",
                "logon a",
                f"logon u {ALICE}",
                "tree u PUBLIC",
                "tree a IPC$",
                "open a srvsvc",
                "read u readme.txt",
                "logon b",
                "tree b PUBLIC",
                "read b readme.txt",
                "call a srvsvc",
                "tree u IPC$",
                "ask u lsarpc",
                "close a srvsvc",
                "logoff u",
                "ask a wkssvc",
                "logoff a",
                "logoff b",
            )
        )


@scene("interleaved-smb1.pcap")
def interleaved_smb1(lab, file):
    """Two UIDs on one SMB 1 connection, sharing one TID: the UID of each request decides whose it is."""
    files, one = server(lab, "FILES1", SMB1), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(
            steps(
                files,
                "--dialect NT1",
                "logon a",
                "tree a IPC$",
                f"logon u {ALICE}",
                "use u a",
                "open a srvsvc",
                "ask u lsarpc",
                "call a srvsvc",
                "close a srvsvc",
                "ask u wkssvc",
                "logoff u",
                "logoff a",
            )
        )


@scene("reauthentication.pcap")
def reauthentication(lab, file):
    """One session id is anonymous, then alice, then anonymous; a pipe opened by the first survives."""
    files, one = server(lab, "FILES1"), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(
            steps(
                files,
                "--dialect 2.1",
                "logon a",
                "tree a IPC$",
                "open a srvsvc",
                "call a srvsvc",
                f"relogon a {ALICE}",
                "call a srvsvc",
                "ask a wkssvc",
                "relogon a",
                "call a srvsvc",
                "close a srvsvc",
                "ask a lsarpc",
            )
        )


@scene("reauthentication-failed.pcap")
def reauthentication_failed(lab, file):
    """A failed authentication on a valid anonymous session id ends the session; the client logs on anew."""
    files, one = server(lab, "FILES1"), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(
            steps(
                files,
                "--dialect 2.1",
                "logon a",
                "tree a IPC$",
                "open a srvsvc",
                "call a srvsvc",
                "relogon a alice wrong",
                "call a srvsvc",
                "logon b",
                "tree b IPC$",
                "ask b srvsvc",
            )
        )


@scene("multichannel.pcap")
def multichannel(lab, file):
    """smbtorture binds a session to a second connection; beside it a null session from the same client."""
    files, one = server(lab, "FILES1", {}, {"PUBLIC": {"read only": "no"}}), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(f"smbtorture //{files.address}/PUBLIC -U alice%Winter-2024 smb2.session.bind1")
        one.run(f"rpcclient -U% -c srvinfo {files.address}")
