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


@scene("dfs-elsewhere.pcap")
def dfs_elsewhere(lab, file):
    """Referrals to servers that no packet goes to: versions 2 and 3, SMB 1, two targets in one answer, and a user's."""
    files, one, two, three = dfs_server(lab), client(lab, "CLIENT1"), client(lab, "CLIENT2"), client(lab, "CLIENT3")
    root, asked = files.state / "shares" / "ROOT", f"\\{files.address}\\ROOT"
    (root / "moved").symlink_to("msdfs:oldfiles.corp.example\\data")
    (root / "both").symlink_to(f"msdfs:{files.address}\\PUBLIC,OLDSTORE\\archive")
    ask = [f"dfs a {asked}\\moved", f"dfs a {asked}\\moved\\2024 2", f"dfs a {asked}\\both 3"]
    with lab.capture(file):
        one.run(steps(files, "", "logon a", "tree a IPC$", *ask))
        two.run(steps(files, "--dialect NT1", "logon a", "tree a IPC$", f"dfs a {asked}\\moved"))
        three.run(
            f"smbclient -U alice%Winter-2024 //{files.address}/ROOT -c 'get both/none.txt /dev/null'", expect=(1,)
        )
        three.run(f"smbclient -U alice%Winter-2024 //{files.address}/ROOT -c 'get moved/a.txt /dev/null'", expect=(1,))


@scene("rap.pcap")
def rap(lab, file):
    """RAP over IPC$ (SMB 1): net rap and a call of our own; no pipe is opened."""
    files, one, two = server(lab, "FILES1", SMB1, DFS), client(lab, "CLIENT1"), client(lab, "CLIENT2")
    with lab.capture(file):
        one.run(f"net rap share -U% {NT1} -S {files.address}", expect=(3,))  # the number of shares
        one.run(f"net rap server domain -U% {NT1} -S {files.address}", expect=(0, 255))
        two.run(steps(files, "--port 139 --dialect NT1", "logon a", "tree a IPC$", "rap a"))
