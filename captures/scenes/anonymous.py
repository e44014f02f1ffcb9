"""Null sessions that work: each dialect, transport and way of logging on."""

from __future__ import annotations

from lab import sh, wait_until
from samba import PASSWORDS, client, only, server, wait_for_port

from scenes import scene, steps

RPC = "srvinfo; lsaquery; enumdomusers; netshareenum"
NT1 = only("NT1")
CIPHERS = ("AES_128_CCM", "AES_128_GCM", "AES_256_CCM", "AES_256_GCM")
TELL_KEYS = {"debug encryption": "yes"}  # smbd's log then holds the keys that the tests know
SMB1 = {"server min protocol": "NT1"}


@scene("anonymous-smb311.pcap")
def smb311(lab, file):
    """smbclient lists shares and rpcclient asks srvsvc, lsarpc and samr, anonymously over SMB 3.1.1."""
    files, one = server(lab, "FILES1"), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(f"smbclient -N -L {files.address}")
        one.run(f"rpcclient -U% -c '{RPC}' {files.address}")


@scene("anonymous-smb202.pcap")
def smb202(lab, file):
    """The same over SMB 2.0.2."""
    files, one = server(lab, "FILES1"), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(f"smbclient -N -m SMB2_02 -L {files.address}")
        one.run(f"rpcclient -U% {only('SMB2_02')} -c '{RPC}' {files.address}")


@scene("anonymous-smb1.pcap")
def smb1(lab, file):
    """The same over SMB 1 with extended security on port 445; smbclient then asks for servers by RAP on port 139."""
    files, one = server(lab, "FILES1", SMB1), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(f"smbclient -N {NT1} -L {files.address}")
        one.run(f"rpcclient -U% {NT1} -c '{RPC}' {files.address}")


@scene("anonymous-port139.pcap")
def port139(lab, file):
    """NetBIOS session set-up on port 139, then SMB 3.1.1 by smbclient and SMB 1 by a client of impacket's."""
    files, one = server(lab, "FILES1", SMB1), client(lab, "CLIENT1")
    with lab.capture(file, nanoseconds=True):
        one.run(f"smbclient -U% -p 139 -I {files.address} //FILES1/IPC$ -c exit")
        one.run(f"samrdump.py -no-pass -port 139 {files.address}", expect=(0, 1))
        one.run(steps(files, "--port 139 --dialect NT1", "logon a", "tree a IPC$", "ask a wkssvc"))


@scene("anonymous-smb1-plain.pcap")
def smb1_plain(lab, file):
    """SMB 1 without extended security: password lengths 0/0, 1/0 and 24/24, all anonymous; and a user."""
    settings = SMB1 | {"ntlm auth": "ntlmv1-permitted", "lanman auth": "yes"}
    files = server(lab, "FILES1", settings, {"PUBLIC": {"guest ok": "yes"}})
    one, two = client(lab, "CLIENT1"), client(lab, "CLIENT2")
    plain = f"{NT1} --option=clientusespnego=no"
    weak = "--option=clientntlmv2auth=no --option=clientipcsigning=auto"
    with lab.capture(file):
        one.run(f"rpcclient -U% {plain} -c srvinfo {files.address}")
        one.run(steps(files, "--dialect NT1 --plain", "logon a", "tree a IPC$", "ask a wkssvc"))
        two.run(f"curl -sS -u : smb://{files.address}/PUBLIC/readme.txt -o /dev/null")
        two.run(f"python3 clients/pysmb_shares.py {files.address} --plain", expect=(0, 1))
        two.run(f"rpcclient -U alice%Winter-2024 {plain} {weak} -c srvinfo {files.address}")


@scene("anonymous-lanman.pcap")
def lanman(lab, file):
    """LANMAN 2.1, and 1.0: session setups of ten words with one password length."""
    settings = {"server min protocol": "CORE", "lanman auth": "yes", "ntlm auth": "ntlmv1-permitted"}
    files = server(lab, "FILES1", settings, {"PUBLIC": {"guest ok": "yes"}})
    one = client(lab, "CLIENT1")
    old = "--option=clientminprotocol=CORE --option=clientlanmanauth=yes --option=clientntlmv2auth=no"
    with lab.capture(file):
        one.run(f"smbclient -U% {old} -m LANMAN2 //{files.address}/IPC$ -c exit")
        one.run(f"smbclient -U% {old} -m LANMAN2 //{files.address}/PUBLIC -c 'get readme.txt /dev/null'", expect=(0, 1))
        one.run(f"smbclient -U% {old} -m LANMAN1 //{files.address}/IPC$ -c exit")


@scene("anonymous-raw-ntlmssp.pcap")
def raw_ntlmssp(lab, file):
    """NTLMSSP without SPNEGO around it, on SMB 1 and SMB 2."""
    files, one = server(lab, "FILES1", SMB1), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(steps(files, "--dialect 3.0.2 --raw", "logon a", "tree a IPC$", "ask a srvsvc"))
        one.run(steps(files, "--dialect NT1 --raw", "logon a", "tree a IPC$", "ask a srvsvc"))


@scene("anonymous-ipv6.pcapng")
def ipv6(lab, file):
    """The null session over IPv6."""
    files, one = server(lab, "FILES1", ipv6=True), client(lab, "CLIENT1", ipv6=True)
    with lab.capture(file):
        one.run(f"rpcclient -U% -c 'srvinfo; lsaquery' ncacn_np:{files.address6}")


@scene("anonymous-port4455.pcapng")
def port4455(lab, file):
    """SMB on a port that nobody expects: found by its content."""
    files, one = server(lab, "FILES1", {"smb ports": "4455"}), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(f"smbclient -U% -p 4455 -L {files.address}")


@scene("anonymous-signed.pcap")
def signed(lab, file):
    """The server demands signing: impacket on 3.1.1 signs the null session with the key that such a logon yields."""
    files, one = server(lab, "FILES1", {"server signing": "mandatory"}), client(lab, "CLIENT1")
    with lab.capture(file):
        one.run(f"python3 clients/impacket_srvsvc.py {files.address}")


@scene("anonymous-signed-dialects.pcap")
def signed_dialects(lab, file):
    """smbprotocol signs the null session: SMB 2.1 by HMAC-SHA256, 3.0.2 by AES-CMAC, 3.1.1 by AES-CMAC and AES-GMAC."""
    files, one = server(lab, "FILES1", {"server signing": "mandatory"} | TELL_KEYS), client(lab, "CLIENT1")
    with lab.capture(file):
        for how in ("2.1 sign AES_CMAC", "3.0.2 sign AES_CMAC", "3.1.1 sign AES_CMAC", "3.1.1 sign AES_GMAC"):
            one.run(f"python3 clients/smbprotocol_anonymous.py {files.address} {how}")


@scene("anonymous-encrypted.pcap")
def encrypted(lab, file):
    """alice logs on; on the same connection a null session is encrypted: AES-128-CCM (3.0.2) and all ciphers of 3.1.1."""
    settings = {"interfaces": "lo", "bind interfaces only": "yes"} | TELL_KEYS
    files, one = server(lab, "FILES1", settings), client(lab, "CLIENT1")
    files.start(f"python3 clients/decrypting_front.py {files.address} 127.0.0.1")
    wait_until(lambda: f"{files.address}:445 " in sh(f"ip netns exec {files.namespace} ss -Hltn"), "the front")
    with lab.capture(file):
        for how in ("3.0.2 encrypt AES_128_CCM", *(f"3.1.1 encrypt {cipher}" for cipher in CIPHERS)):
            one.run(f"python3 clients/smbprotocol_anonymous.py {files.address} {how} alice {PASSWORDS['alice']}")


@scene("anonymous-null-flag.pcap")
def null_flag(lab, file):
    """impacket's server says IS_NULL to a client that sets the anonymous flag, and IS_GUEST to one that does not."""
    files, one = lab.host("FILES1"), client(lab, "CLIENT1")
    (files.state / "share").mkdir()
    (files.state / "share" / "readme.txt").write_text("Read me.\n")
    files.start(
        f"smbserver.py -smb2support PUBLIC {files.state}/share", stdout=(files.state / "out").open("wb"), stderr=-2
    )
    wait_for_port(files, 445)
    with lab.capture(file):
        one.run(f"smbclient -U% -L {files.address}", expect=(0, 1))
        one.run(steps(files, "--dialect 2.0.2", "logon a", "tree a IPC$", "ask a srvsvc write_read"))
    lab.note("FILES1, smbserver.py:", (files.state / "out").read_text())


@scene("probe-session.pcap.gz")
def probe_session(lab, file):
    """Null sessions with which nothing is done, challenges without an answer, and connections without a session."""
    files = server(lab, "FILES1", SMB1)
    one, two, three = (client(lab, name) for name in ("CLIENT1", "CLIENT2", "CLIENT3"))
    with lab.capture(file):
        one.run(steps(files, "", "logon a"))
        one.run(steps(files, "--dialect NT1", "logon a", "logoff a"))
        two.run(steps(files, "", "challenge a"))
        two.run(steps(files, "--dialect NT1", "challenge a"))
        three.run(steps(files, "", "connect"))


@scene("probe-nmap.pcap")
def nmap(lab, file):
    """nmap asks for the operating system, the shares and the security mode over SMB 1."""
    files, one = server(lab, "FILES1", SMB1), client(lab, "CLIENT1")
    with lab.capture(file):
        scripts = "smb-os-discovery,smb-enum-shares"
        one.run(f"nmap -n -Pn --unprivileged -p 445 --script {scripts} {files.address}", timeout=200)
