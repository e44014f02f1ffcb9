"""A small network of hosts inside one machine: a namespace a host, one bridge, one capture.

What comes in: names of hosts and commands to run on them. What goes out: a capture file, the transcript of the
clients and the audit log of the servers. Nothing here touches the network of the machine itself.

Each host is a network namespace called `cap-NAME`. Files under /etc/netns/cap-NAME/ are laid over /etc by
`ip netns exec`, so every host has its own smb.conf, krb5.conf, hosts and passwd. The bridge lives in the namespace
`cap-bridge`; the capture is taken on the bridge in promiscuous mode, where every frame passes exactly once.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

PREFIX = "cap-"
BRIDGE = PREFIX + "bridge"
OVERLAYS = Path("/etc/netns")  # fixed by iproute2
HERE = Path(__file__).resolve().parent
NOTHING: Mapping = MappingProxyType({})

ADDRESSES = {  # host name: last part of 10.77.0.x and fd77::x
    "FILES1": 2, "FILES2": 3, "FILES3": 4, "DC1": 5,
    "CLIENT1": 10, "CLIENT2": 11, "CLIENT3": 12, "CLIENT4": 13, "CLIENT5": 14,
    "CLIENT6": 15, "CLIENT7": 16, "CLIENT8": 17, "CLIENT9": 18, "CLIENT10": 19,
}  # fmt: skip
UNIX_USERS = {"alice": 20001, "bob": 20002}
WHO_RUNS_CLIENTS = "operator"  # what a client finds in $USER: smbclient offers this name unless told otherwise


class LabError(Exception):
    """The network could not be built, or a program in it did not do what the scene needs."""


def sh(command: str, *, check: bool = True) -> str:
    """Run `command` on the machine itself (only `ip`, `ethtool` and the like) and return its standard output."""
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=60, check=False)
    if check and done.returncode:
        raise LabError(f"{command}: {done.stderr.strip()}")
    return done.stdout


def wait_until(claim, what: str, seconds: float = 20.0) -> None:
    """Poll `claim()` until it is true; LabError naming `what` otherwise."""
    end = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > end:
            raise LabError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.05)


def remove_namespaces() -> None:
    """End every process in our namespaces, then remove the namespaces and their files under /etc/netns."""
    names = [line.split()[0] for line in sh("ip netns list").splitlines() if line.startswith(PREFIX)]
    for sign in (signal.SIGTERM, signal.SIGKILL):
        pids = [int(pid) for name in names for pid in sh(f"ip netns pids {name}", check=False).split()]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
        if pids:
            time.sleep(0.3)
    for name in names:
        sh(f"ip netns del {name}", check=False)
        shutil.rmtree(OVERLAYS / name, ignore_errors=True)
    if OVERLAYS.is_dir() and not any(OVERLAYS.iterdir()):
        OVERLAYS.rmdir()


class Host:
    """One namespace with an address, its own /etc files and a state directory."""

    def __init__(self, lab: Lab, name: str, *, ipv6: bool = False, offload: bool = False) -> None:
        self.lab = lab
        self.name = name
        self.namespace = PREFIX + name.lower()
        self.address = f"10.77.0.{ADDRESSES[name]}"
        self.address6 = f"fd77::{ADDRESSES[name]:x}"
        self.state = lab.directory / name
        self.etc = OVERLAYS / self.namespace
        self.state.mkdir()
        (self.etc / "samba").mkdir(parents=True)
        self._write_etc()
        self._plug_in(ipv6, offload)

    def _write_etc(self) -> None:
        passwd = Path("/etc/passwd").read_text()
        passwd += "".join(f"{user}:x:{uid}:65534::/:/bin/false\n" for user, uid in UNIX_USERS.items())
        (self.etc / "passwd").write_text(passwd)
        lines = [f"10.77.0.{part} {name.lower()}.corp.example {name.lower()}" for name, part in ADDRESSES.items()]
        (self.etc / "hosts").write_text("127.0.0.1 localhost\n" + "\n".join(lines) + "\n")
        (self.etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
        (self.etc / "resolv.conf").write_text("options timeout:1 attempts:1\nnameserver 127.0.0.1\n")

    def _plug_in(self, ipv6: bool, offload: bool) -> None:
        """Make the namespace and its veth pair; `offload` leaves segmentation offload as the kernel has it."""
        ns, port = self.namespace, self.name.lower()
        sh(f"ip netns add {ns}")
        sh(f"ip netns exec {ns} sysctl -qw net.ipv6.conf.all.disable_ipv6={int(not ipv6)}")
        sh(f"ip -n {ns} link add eth0 type veth peer name {port} netns {BRIDGE}")
        sh(f"ip -n {BRIDGE} link set {port} master br0 up")
        if not offload:
            for name, device in ((ns, "eth0"), (BRIDGE, port)):
                sh(f"ip netns exec {name} ethtool -K {device} tso off gso off gro off tx off rx off", check=False)
        sh(f"ip -n {ns} link set lo up")
        sh(f"ip -n {ns} link set eth0 up")
        sh(f"ip -n {ns} addr add {self.address}/24 dev eth0")
        if ipv6:
            sh(f"ip -n {ns} addr add {self.address6}/64 dev eth0 nodad")

    def command(self, command: str | list[str]) -> list[str]:
        """The argument list that runs `command` on this host, under the host's own name."""
        words = shlex.split(command) if isinstance(command, str) else command
        if words[0] == "python3":  # the interpreter that has the client libraries
            words = [sys.executable, *words[1:]]
        elif words[0].endswith(".py"):  # a program of impacket, installed beside that interpreter
            words = [sys.executable, str(Path(sys.executable).with_name(words[0])), *words[1:]]
        rename = 'hostname "$0" && exec "$@"'
        inside = ["unshare", "--uts", "sh", "-c", rename, self.name.lower(), *words]
        return ["ip", "netns", "exec", self.namespace, *inside]

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"], "HOME": str(self.state), "USER": WHO_RUNS_CLIENTS,
            "LOGNAME": WHO_RUNS_CLIENTS, "LANG": "C.UTF-8", "KRB5CCNAME": f"FILE:{self.state}/ccache",
        }  # fmt: skip

    def start(self, command: str | list[str], **options) -> subprocess.Popen:
        """Start `command` on this host and return at once; the lab ends it when the scene is over."""
        environment = self.environment() | options.pop("env", {})
        options.setdefault("stdin", subprocess.PIPE)  # Samba's servers end with their standard input
        # a session of its own: a smbd that ends signals its whole process group
        process = subprocess.Popen(self.command(command), env=environment, cwd=HERE, start_new_session=True, **options)
        self.lab.processes.append(process)
        return process

    def run(
        self,
        command: str,
        *,
        env: Mapping[str, str] = NOTHING,
        expect: Iterable[int] = (0,),
        timeout: float = 60,
        quiet: bool = False,
        input: str = "",
    ) -> subprocess.CompletedProcess:
        """Run a client to its end and write down what it printed; LabError if its exit status is not in `expect`.

        quiet: part of the preparation, not of the scene: leave it out of the transcript.
        """
        done = subprocess.run(
            self.command(command), env=self.environment() | dict(env), cwd=HERE, input=input, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, errors="replace", check=False,
        )  # fmt: skip
        if not quiet:
            self.lab.note(f"{self.name}$ {command}", f"{done.stdout.rstrip()}\n[exit status {done.returncode}]")
        if done.returncode not in expect:
            raise LabError(f"{self.name}: {command}: exit status {done.returncode}\n{done.stdout}")
        return done


class Conversation:
    """A client that stops at its `wait` steps until told to go on; a `with` block around it reads it to its end."""

    def __init__(self, host: Host, command: str) -> None:
        self.host, self.command = host, command
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.process = host.start(command, **pipes)
        self.said: list[str] = []

    def __enter__(self) -> Conversation:
        return self

    def until_ready(self) -> None:
        for line in self.process.stdout:
            self.said.append(line)
            if line == "ready\n":
                return
        raise LabError(f"{self.command} ended early:\n{''.join(self.said)}")

    def go_on(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def __exit__(self, *_: object) -> None:
        self.said.append(self.process.communicate(timeout=60)[0])
        status = f"[exit status {self.process.returncode}]"
        self.host.lab.note(f"{self.host.name}$ {self.command}", "".join(self.said).rstrip(), status)


class Lab:
    """The hosts of one scene. Use as a context manager: whatever happens, nothing stays behind."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.hosts: dict[str, Host] = {}
        self.processes: list[subprocess.Popen] = []
        self.transcript: list[str] = []

    def __enter__(self) -> Lab:
        remove_namespaces()
        sh(f"ip netns add {BRIDGE}")
        sh(f"ip netns exec {BRIDGE} sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
        sh(f"ip -n {BRIDGE} link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
        sh(f"ip -n {BRIDGE} link set br0 up")
        return self

    def __exit__(self, *_: object) -> None:
        remove_namespaces()
        for process in self.processes:
            process.wait(timeout=10)

    def host(self, name: str, **options) -> Host:
        self.hosts[name] = Host(self, name, **options)
        return self.hosts[name]

    def note(self, *lines: str) -> None:
        self.transcript.extend(lines)

    def audit(self) -> list[dict]:
        """The JSON audit events of all servers, in time order."""
        events = []
        for log in self.directory.glob("*/log*"):
            for line in log.read_text(errors="replace").splitlines():
                if '"type": "Auth' in line:
                    events.append({"server": log.parent.name} | json.loads(line[line.index("{") :]))
        return sorted(events, key=lambda event: event["timestamp"])

    def capture(self, file: Path, *, nanoseconds: bool = False, only: str = "") -> Recorder:
        """only: a capture filter, for scenes in which other protocols would give the answer away."""
        return Recorder(self, file, nanoseconds, only)


class Recorder:
    """tcpdump (pcap) or dumpcap (pcapng) on the bridge for the time of a `with` block."""

    def __init__(self, lab: Lab, file: Path, nanoseconds: bool, only: str) -> None:
        self.lab = lab
        plain = file.with_suffix("") if file.suffix in (".gz", ".zst") else file
        self.raw = lab.directory / plain.name
        self.file = file
        base = ["ip", "netns", "exec", BRIDGE]
        if plain.suffix == ".pcapng":
            self.command = [*base, "dumpcap", "-q", "-i", "br0", "-f", only, "-w", str(self.raw)]
        else:
            unit = "nano" if nanoseconds else "micro"
            options = ["-i", "br0", "-s", "0", "-B", "16384", "--immediate-mode", f"--time-stamp-precision={unit}"]
            self.command = [*base, "tcpdump", "-q", "-U", "-Z", "root", *options, "-w", str(self.raw), only]

    def __enter__(self) -> Recorder:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: self.raw.exists() and self.raw.stat().st_size > 0, "the capture to start")
        time.sleep(0.3)
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        time.sleep(0.7)  # the last FIN and its ACK
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=10)
        if kind is None:
            self._keep()

    def _keep(self) -> None:
        """Put the finished capture in its place, compressed as its name says."""
        if self.file.suffix == ".gz":
            self.file.write_bytes(
                subprocess.run(["gzip", "-9nc", str(self.raw)], capture_output=True, check=True).stdout
            )
        elif self.file.suffix == ".zst":
            subprocess.run(["zstd", "-19", "-q", "-f", str(self.raw), "-o", str(self.file)], check=True)
        else:
            shutil.copyfile(self.raw, self.file)
