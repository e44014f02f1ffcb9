"""An Active Directory domain: Kerberos, machine accounts, and a secure channel inside a null session."""

from __future__ import annotations

from samba import ADMIN_PASSWORD, REALM, domain_client, domain_controller

from scenes import scene, steps

MACHINE_PASSWORD = "Machine-2024"


def with_machine(lab):
    """DC1 and CLIENT1, whose machine account CLIENT1$ has a password and a keytab that we know."""
    dc = domain_controller(lab)
    one = domain_client(lab, "CLIENT1", dc)
    dc.run("samba-tool computer create CLIENT1", quiet=True)
    dc.run(f"samba-tool user setpassword CLIENT1$ --newpassword={MACHINE_PASSWORD}", quiet=True)
    dc.run(f"samba-tool domain exportkeytab {one.state}/keytab --principal=CLIENT1$@{REALM}", quiet=True)
    return dc, one


@scene("kerberos-user.pcap")
def kerberos_user(lab, file):
    """A user by Kerberos, on SMB 3.1.1 and 2.1; the ticket traffic on port 88 is not in the capture."""
    dc = domain_controller(lab)
    one = domain_client(lab, "CLIENT1", dc)
    one.run(f"kinit alice@{REALM}", input="Winter-2024\n", quiet=True)
    by_ticket = f"--use-kerberos=required --use-krb5-ccache=FILE:{one.state}/ccache"
    with lab.capture(file, only="arp or tcp port 445"):
        one.run(f"smbclient {by_ticket} //dc1.corp.example/sysvol -c ls")
        one.run(f"smbclient {by_ticket} -m SMB2_10 //dc1.corp.example/sysvol -c ls")


@scene("kerberos-machine.pcap")
def kerberos_machine(lab, file):
    """A machine account by Kerberos, with its AS-REQ in the capture, and the same account by NTLM."""
    dc, one = with_machine(lab)
    by_ticket = f"--use-kerberos=required --use-krb5-ccache=FILE:{one.state}/ccache"
    with lab.capture(file):
        one.run(f"kinit -k -t {one.state}/keytab CLIENT1$@{REALM}")
        one.run(f"rpcclient {by_ticket} -c srvinfo dc1.corp.example")
        one.run(f"smbclient -U 'CORP\\CLIENT1$%{MACHINE_PASSWORD}' --use-kerberos=off //{dc.address}/netlogon -c ls")


@scene("machine-ntlm.pcap")
def machine_ntlm(lab, file):
    """A machine account by NTLM reads netlogon; a null session of the same host asks lsarpc."""
    dc, one = with_machine(lab)
    with lab.capture(file, only="arp or tcp port 445"):
        one.run(f"smbclient -U 'CORP\\CLIENT1$%{MACHINE_PASSWORD}' --use-kerberos=off //{dc.address}/netlogon -c ls")
        one.run(f"rpcclient -U% -c 'lsaquery; dsroledominfo' {dc.address}")


@scene("schannel-in-null-session.pcap")
def schannel(lab, file):
    """A joined member's secure channel (netlogon, sealed) inside a Kerberos session, then inside a null session."""
    dc = domain_controller(lab)
    one = domain_client(lab, "CLIENT1", dc)
    one.run(f"net ads join -U Administrator%{ADMIN_PASSWORD} --no-dns-updates", quiet=True, timeout=120)
    with lab.capture(file, only="arp or tcp port 445 or tcp port 139"):
        one.run("net rpc testjoin")
        one.run(f"rpcclient -U% 'ncacn_np:{dc.address}[schannel,seal]' -c 'getdcname CORP'", expect=(0, 1))


@scene("dfs-domain.pcap")
def dfs_domain(lab, file):
    """Anonymous DFS referrals of a domain controller: the domains, their controllers (lists of names), and SYSVOL."""
    dc = domain_controller(lab)
    one = domain_client(lab, "CLIENT1", dc)
    ask = ["dfs a", "dfs a \\CORP", "dfs a \\corp.example", "dfs a \\corp.example\\sysvol"]
    with lab.capture(file, only="arp or tcp port 445"):
        one.run(steps(dc, "", "logon a", "tree a IPC$", *ask))
