"""Refusals, each on its rung, and what clients do after them."""

from __future__ import annotations

from lab import Conversation
from samba import client, only, reconfigure, server

from scenes import scene, steps

ALICE = "alice Winter-2024"
OPEN = {"PUBLIC": {"guest ok": "yes"}}
CLOSED = {"PUBLIC": {"guest ok": "no"}}


@scene("refused-session-setup.pcap")
def session_setup(lab, file):
    """Encryption is required: the null session is refused at session setup (3.1.1 and 2.1), a user is not."""
    settings = {"server smb encrypt": "required"}
    files, one, two = server(lab, "FILES1", settings), client(lab, "CLIENT1"), client(lab, "CLIENT2")
    with lab.capture(file):
        one.run(f"rpcclient -U% -c srvinfo {files.address}", expect=(1,))
        one.run(steps(files, "--dialect 2.1", "logon a"))
        two.run(f"smbclient -U alice%Winter-2024 //{files.address}/IPC$ -c exit")


@scene("refused-tree.pcap")
def tree(lab, file):
    """restrict anonymous = 2: the session is accepted, IPC$ is refused; over SMB 3.1.1 and SMB 1."""
    settings = {"restrict anonymous": "2", "server min protocol": "NT1"}
    files, one = server(lab, "FILES1", settings), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(f"smbclient -N -L {files.address}", expect=(1,))
        one.run(f"rpcclient -U% {only('NT1')} -c srvinfo {files.address}", expect=(1,))


@scene("refused-stub.pcap")
def stub(lab, file):
    """restrict anonymous = 1: everything works in SMB and RPC, and the answers' own status says access denied."""
    files, one = server(lab, "FILES1", {"restrict anonymous": "1"}), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(f"rpcclient -U% -c 'enumdomusers' {files.address}", expect=(0, 1))
        one.run(f"rpcclient -U% -c 'lookupnames alice' {files.address}", expect=(0, 1))
        one.run(f"rpcclient -U% -c 'netsessenum; netshareenum' {files.address}", expect=(0, 1))


@scene("refused-open.pcap")
def open_pipe(lab, file):
    """nt pipe support = no: IPC$ is there, each open of a pipe gets ACCESS_DENIED; SMB 3.1.1 and SMB 1."""
    settings = {"nt pipe support": "no", "server min protocol": "NT1"}
    files, one = server(lab, "FILES1", settings), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(f"rpcclient -U% -c srvinfo {files.address}", expect=(1,))
        one.run(steps(files, "--dialect NT1", "logon a", "tree a IPC$", "open a lsarpc"))


@scene("pipe-missing.pcap")
def missing(lab, file):
    """Pipes that are not there: OBJECT_NAME_NOT_FOUND is a failure, not a refusal of access."""
    files, one = server(lab, "FILES1", {"server min protocol": "NT1"}), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(steps(files, "", "logon a", "tree a IPC$", "open a trkwks", "open a sql\\query"))
        one.run(steps(files, "--dialect NT1", "logon a", "tree a IPC$", "open a trksvr"))


@scene("refused-then-user.pcap")
def then_user(lab, file):
    """Refused anonymously, the client does the same with credentials: on one connection, then with one client GUID."""
    files = server(lab, "FILES1", {"restrict anonymous": "2"}, CLOSED)
    one, two = client(lab, "CLIENT1"), client(lab, "CLIENT2")
    with lab.capture(file):
        one.run(steps(files, "", "logon a", "tree a IPC$", f"logon u {ALICE}", "tree u IPC$", "ask u srvsvc"))
        two.run(
            steps(
                files,
                "",
                "logon a",
                "tree a PUBLIC",
                "connect",
                f"logon u {ALICE}",
                "tree u PUBLIC",
                "read u readme.txt",
            )
        )


@scene("covered-disk.pcap")
def covered_disk(lab, file):
    """A share works anonymously; the administrator closes it; the client is refused and goes on with credentials."""
    files = server(lab, "FILES1", {}, OPEN)
    one, two = client(lab, "CLIENT1"), client(lab, "CLIENT2")
    visit = ("logon a", "tree a PUBLIC", "read a readme.txt", "wait", "logon b", "tree b PUBLIC")
    named = (f"logon u {ALICE}", "tree u PUBLIC", "read u readme.txt")
    with (
        lab.capture(file),
        Conversation(one, steps(files, "", *visit, *named)) as first,
        Conversation(two, steps(files, "", *visit, "connect", *named)) as second,
    ):
        first.until_ready()
        second.until_ready()
        reconfigure(files, {}, CLOSED)
        first.go_on()
        second.go_on()


@scene("works-then-refused.pcap")
def then_refused(lab, file):
    """srvsvc works anonymously; restrict anonymous goes to 2; IPC$ is refused, and works with credentials."""
    files, one = server(lab, "FILES1"), client(lab, "CLIENT1")
    before = ("logon a", "tree a IPC$", "ask a srvsvc", "wait", "logon b", "tree b IPC$")
    after = (f"logon u {ALICE}", "tree u IPC$", "ask u srvsvc")
    with lab.capture(file), Conversation(one, steps(files, "", *before, *after)) as talk:
        talk.until_ready()
        reconfigure(files, {"restrict anonymous": "2"})
        talk.go_on()


@scene("fallback.pcap")
def fallback(lab, file):
    """Credentials fail, the client falls back to a null session on the same connection: smbclient -N, then smbget."""
    files, one = server(lab, "FILES1", {}, OPEN), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(f"smbclient -N //{files.address}/PUBLIC -c 'get readme.txt /dev/null'")
        one.run(f"smbget -U alice%wrong -O smb://{files.address}/PUBLIC/readme.txt", expect=(0, 1))
        one.run(f"smbclient -U alice%wrong //{files.address}/PUBLIC -c exit", expect=(1,))
