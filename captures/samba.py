"""Samba on the hosts of a lab: file servers, clients' smb.conf, and an Active Directory domain controller."""

from __future__ import annotations

from collections.abc import Mapping

from lab import NOTHING, Host, sh, wait_until

PASSWORDS = {"alice": "Winter-2024", "bob": "Summer-2024"}
REALM = "CORP.EXAMPLE"
ADMIN_PASSWORD = "Spring-2024"
DOMAIN = "CORP"


def only(dialect: str) -> str:
    """Options that hold Samba's clients to one dialect; the `ipc` ones are what rpcclient and net go by."""
    return " ".join(f"--option=client{use}{end}protocol={dialect}" for use in ("", "ipc") for end in ("min", "max"))


GLOBAL = """\
[global]
    workgroup = WORKGROUP
    netbios name = {name}
    server role = standalone server
    private dir = {state}/private
    state directory = {state}/state
    cache directory = {state}/cache
    lock directory = {state}/lock
    pid directory = {state}/pid
    ncalrpc dir = {state}/ncalrpc
    log file = {state}/log.smbd
    max log size = 0
    log level = 1 auth_json_audit:5
    load printers = no
    printcap name = /dev/null
    multicast dns register = no
    name resolve order = host
    kerberos method = secrets and keytab
"""


def write_config(
    host: Host, settings: Mapping[str, str] = NOTHING, shares: Mapping[str, Mapping[str, str]] = NOTHING
) -> None:
    """Write /etc/samba/smb.conf of `host`; a share without a path gets a directory of its own with one file."""
    for folder in ("private", "state", "cache", "lock", "pid", "ncalrpc"):
        (host.state / folder).mkdir(exist_ok=True)
    text = GLOBAL.format(name=host.name, state=host.state)
    text += "".join(f"    {key} = {value}\n" for key, value in settings.items())
    for share, options in shares.items():
        folder = host.state / "shares" / share
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o777)
            (folder / "readme.txt").write_text("Read me.\n" * 40)
        text += f"[{share}]\n    path = {folder}\n" + "".join(
            f"    {key} = {value}\n" for key, value in options.items()
        )
    (host.etc / "samba" / "smb.conf").write_text(text)


def client(lab, name: str, settings: Mapping[str, str] = NOTHING, **options) -> Host:
    host = lab.host(name, **options)
    write_config(host, settings)
    return host


def server(
    lab,
    name: str,
    settings: Mapping[str, str] = NOTHING,
    shares: Mapping[str, Mapping[str, str]] = NOTHING,
    *,
    users: tuple[str, ...] = ("alice",),
    **options,
) -> Host:
    """Start smbd on a new host with Samba accounts for `users` (their passwords: `PASSWORDS`)."""
    host = lab.host(name, **options)
    write_config(host, settings, shares)
    for user in users:
        host.run(f"smbpasswd -s -a {user}", input=f"{PASSWORDS[user]}\n" * 2, quiet=True)
    start(host)
    return host


def start(host: Host) -> None:
    """Start smbd and wait until it accepts connections."""
    log = (host.state / "smbd.out").open("ab")
    host.start("smbd --foreground --no-process-group", stdout=log, stderr=log)
    ports = read_setting(host, "smb ports") or "445"
    wait_for_port(host, int(ports.split()[0]))


def names(host: Host) -> None:
    """Start nmbd: it registers the host's names by broadcast and announces it."""
    log = (host.state / "log.nmbd").open("ab")
    host.start("nmbd --foreground --no-process-group --debug-stdout -d 4", stdout=log, stderr=log)


def read_setting(host: Host, key: str) -> str | None:
    lines = (host.etc / "samba" / "smb.conf").read_text().splitlines()
    return next((line.split("=", 1)[1].strip() for line in lines if line.strip().startswith(key)), None)


def wait_for_port(host: Host, port: int) -> None:
    wait_until(lambda: f":{port} " in sh(f"ip netns exec {host.namespace} ss -Hltn"), f"{host.name} port {port}")


def reconfigure(
    host: Host, settings: Mapping[str, str] = NOTHING, shares: Mapping[str, Mapping[str, str]] = NOTHING
) -> None:
    """Change smb.conf of a running server and make every smbd, also those with clients, read it again."""
    write_config(host, settings, shares)
    host.run("smbcontrol smbd reload-config", quiet=True)


def domain_controller(lab) -> Host:
    """Provision the domain CORP on DC1 and start it; its accounts are Administrator, alice and bob."""
    host = lab.host("DC1")
    home = host.state / "ad"
    (host.state / "empty.conf").write_text("")
    where = f"--configfile={host.state}/empty.conf --targetdir={home} --host-name=DC1 --host-ip={host.address}"
    what = (
        f"--realm={REALM} --domain={DOMAIN} --server-role=dc --dns-backend=SAMBA_INTERNAL --adminpass={ADMIN_PASSWORD}"
    )
    host.run(f"samba-tool domain provision {where} {what}", quiet=True, timeout=300)
    text = (home / "etc" / "smb.conf").read_text()
    more = f"[global]\n    log file = {host.state}/log.samba\n    log level = 1 auth_json_audit:5\n"
    (host.etc / "samba" / "smb.conf").write_text(text.replace("[global]\n", more, 1))
    for user, password in PASSWORDS.items():
        host.run(f"samba-tool user create {user} {password}", quiet=True)
    log = (host.state / "samba.out").open("ab")
    host.start("samba --foreground --no-process-group", stdout=log, stderr=log)
    for port in (445, 88, 389):
        wait_for_port(host, port)
    return host


def domain_client(lab, name: str, dc: Host, settings: Mapping[str, str] = NOTHING) -> Host:
    """A host that knows the domain: its Kerberos, its DNS and, in smb.conf, its name."""
    host = lab.host(name)
    write_config(
        host, {"realm": REALM, "workgroup": DOMAIN, "security": "ads", "server role": "member server", **settings}
    )
    (host.etc / "krb5.conf").write_text(
        f"[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n rdns = false\n"
        f"[realms]\n {REALM} = {{\n  kdc = {dc.address}\n  admin_server = {dc.address}\n }}\n"
    )
    (host.etc / "resolv.conf").write_text(f"search corp.example\nnameserver {dc.address}\n")
    return host
