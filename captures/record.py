#!/usr/bin/env python3
"""Record the captures of this folder again, or check the manifest against them.

    python3 captures/record.py                 record every scene
    python3 captures/record.py NAME...         record these scenes (a name is the file name up to the first dot)
    python3 captures/record.py --list          say which scenes there are
    python3 captures/record.py --check         compare manifest.toml with the files (needs tshark)
    python3 captures/record.py --clean         remove what an interrupted run left behind

Needs Linux and root, because every host is a network namespace; nothing leaves the machine. Programs (Debian 12):
    apt-get install samba smbclient samba-testsuite winbind samba-ad-provision krb5-user tcpdump tshark iproute2 \\
        ethtool curl nmap zstd
and, in the Python that runs this file: pip install impacket smbprotocol pysmb scapy
What the clients printed and what the servers' audit logs said goes to the folder of --logs, if it is given.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from check import check  # noqa: E402
from lab import Lab, LabError, remove_namespaces  # noqa: E402
from scenes import SCENES  # noqa: E402

PROGRAMS = {
    "samba": ("smbd", "nmbd", "smbpasswd", "smbcontrol", "net", "samba-tool", "samba"),
    "smbclient": ("smbclient", "rpcclient", "smbget"),
    "samba-testsuite": ("smbtorture",),
    "krb5-user": ("kinit",),
    "tcpdump": ("tcpdump",),
    "tshark": ("dumpcap", "tshark"),
    "iproute2": ("ip", "ss"),
    "ethtool": ("ethtool",),
    "curl": ("curl",),
    "nmap": ("nmap",),
    "zstd": ("zstd",),
}
MODULES = {"impacket": "impacket", "smbprotocol": "smbprotocol", "pysmb": "smb", "scapy": "scapy"}


def missing() -> list[str]:
    """What has to be installed, as a person would type it."""
    packages = [package for package, programs in PROGRAMS.items() if not all(map(shutil.which, programs))]
    modules = [name for name, module in MODULES.items() if importlib.util.find_spec(module) is None]
    return [f"apt-get install {' '.join(packages)}"] * bool(packages) + [f"pip install {' '.join(modules)}"] * bool(
        modules
    )


def record(name: str, logs: Path | None) -> None:
    """Play one scene in a fresh lab and keep its capture."""
    scene = SCENES[name]
    with tempfile.TemporaryDirectory(prefix="cap-") as directory, Lab(Path(directory)) as lab:
        os.chmod(directory, 0o755)  # smbd reads the shares as the user who asks
        try:
            scene.play(lab, HERE / scene.file)
        finally:
            if logs:
                logs.mkdir(parents=True, exist_ok=True)
                (logs / f"{name}.txt").write_text("\n".join(lab.transcript) + "\n")
                (logs / f"{name}.audit.jsonl").write_text("".join(json.dumps(event) + "\n" for event in lab.audit()))
                for host in lab.hosts.values():
                    for log in host.state.glob("log*"):
                        shutil.copyfile(log, logs / f"{name}.{host.name}.{log.name}")
    print(f"{scene.file}: {(HERE / scene.file).stat().st_size:,} bytes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="*", metavar="SCENE")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--clean", action="store_true")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep the clients' output and the servers' logs here")
    wanted = parser.parse_args()
    if wanted.list:
        print("\n".join(f"{name:32} {scene.play.__doc__.splitlines()[0]}" for name, scene in SCENES.items()))
        return 0
    if wanted.check:
        return check(HERE, wanted.scenes)
    if wanted.clean:
        remove_namespaces()
        return 0
    unknown = set(wanted.scenes) - set(SCENES)
    if unknown:
        parser.error(f"no such scene: {', '.join(sorted(unknown))} (--list shows them)")
    if os.geteuid() != 0:
        parser.error("recording needs root: every host is a network namespace")
    if missing():
        parser.error("missing; do this first:\n    " + "\n    ".join(missing()))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    failed = []
    for name in wanted.scenes or SCENES:
        try:
            record(name, wanted.logs)
        except (LabError, subprocess.TimeoutExpired) as problem:
            failed.append(name)
            print(f"{name}: {problem}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
