"""How the bytes move on a pipe: each way alone in a capture of its own."""

from __future__ import annotations

from samba import client, server

from scenes import scene, steps

SMB1 = {"server min protocol": "NT1"}


@scene("pipe-transceive.pcap")
def transceive(lab, file):
    """Anonymous calls by FSCTL_PIPE_TRANSCEIVE only (SMB 2.1)."""
    files, one = server(lab, "FILES1"), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(steps(files, "--dialect 2.1", "logon a", "tree a IPC$", "ask a srvsvc", "ask a wkssvc", "logoff a"))


@scene("pipe-write-read.pcap")
def write_read(lab, file):
    """Anonymous calls by WRITE and READ only (SMB 3.0), then over SMB 1 by WRITE_ANDX and READ_ANDX."""
    files, one = server(lab, "FILES1", SMB1), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(steps(files, "--dialect 3.0", "logon a", "tree a IPC$", "ask a lsarpc write_read"))
        one.run(steps(files, "--dialect NT1", "logon a", "tree a IPC$", "ask a samr write_read"))


@scene("pipe-transact.pcap")
def transact(lab, file):
    """Anonymous calls by TransactNmPipe only (SMB 1); one pipe is opened by OPEN_ANDX."""
    files, one = server(lab, "FILES1", SMB1), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(
            steps(
                files,
                "--dialect NT1",
                "logon a",
                "tree a IPC$",
                "ask a srvsvc transact",
                "ask a wkssvc transact open_andx",
                "logoff a",
            )
        )
