"""What runs on IPC$ without a pipe: DFS referrals and RAP."""

from __future__ import annotations

from samba import client, only, server

from scenes import scene, steps

SMB1 = {"server min protocol": "NT1"}
NT1 = only("NT1")
DFS = {"ROOT": {"msdfs root": "yes", "guest ok": "yes"}, "PUBLIC": {"guest ok": "yes"}}


def dfs_server(lab):
    files = server(lab, "FILES1", SMB1 | {"host msdfs": "yes"}, DFS)
    (files.state / "shares" / "ROOT" / "link").symlink_to(f"msdfs:{files.address}\\PUBLIC")
    return files


@scene("dfs-smb2.pcap")
def dfs_smb2(lab, file):
    """Anonymous DFS referrals by FSCTL_DFS_GET_REFERRALS: smbclient follows a link; two are asked for alone."""
    files, one, two = dfs_server(lab), client(lab, "CLIENT1"), client(lab, "CLIENT2")
    with lab.capture(file):
        one.run(f"smbclient -U% //{files.address}/ROOT -c 'get link/readme.txt /dev/null'")
        two.run(
            steps(
                files,
                "",
                "logon a",
                "tree a IPC$",
                f"dfs a \\{files.address}\\ROOT\\link",
                f"dfs a \\{files.address}\\ROOT\\nowhere",
            )
        )


@scene("dfs-smb1.pcap")
def dfs_smb1(lab, file):
    """The same over SMB 1 by TRANS2_GET_DFS_REFERRAL."""
    files, one, two = dfs_server(lab), client(lab, "CLIENT1"), client(lab, "CLIENT2")
    with lab.capture(file):
        one.run(f"smbclient -U% {NT1} //{files.address}/ROOT -c 'get link/readme.txt /dev/null'")
        two.run(steps(files, "--dialect NT1", "logon a", "tree a IPC$", f"dfs a \\{files.address}\\ROOT\\link"))


@scene("rap.pcap")
def rap(lab, file):
    """RAP over IPC$ (SMB 1): net rap and a call of our own; no pipe is opened."""
    files, one, two = server(lab, "FILES1", SMB1, DFS), client(lab, "CLIENT1"), client(lab, "CLIENT2")
    with lab.capture(file):
        one.run(f"net rap share -U% {NT1} -S {files.address}", expect=(3,))  # the number of shares
        one.run(f"net rap server domain -U% {NT1} -S {files.address}", expect=(0, 255))
        two.run(steps(files, "--port 139 --dialect NT1", "logon a", "tree a IPC$", "rap a"))
