"""Compare manifest.toml with the captures by tshark, a decoder that shares nothing with the analyzer.

Compared per capture, as multisets: the final answers of session setups, the tree connects, the opens of named pipes
(each with its status), the opens on disk shares, the operations asked (opnums, RAP functions, DFS referrals), and the
servers that the answers to DFS referrals name.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import tomllib
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PORTS = (445, 139, 4455)
MORE_PROCESSING, PENDING = "STATUS_MORE_PROCESSING_REQUIRED", "STATUS_PENDING"
SMB1_OPENS = {0xA2, 0x2D, 0x02}
DFS_FSCTL = 0x00060194


@dataclass
class Message:
    """One SMB message as tshark shows it; `fields` holds every value of a field in the order of the bytes."""

    frame: int
    stream: int
    client: str
    server: str
    port: int
    client_port: int
    dialect: str
    response: bool
    fields: dict[str, list[str]] = field(default_factory=dict)
    shown: dict[str, list[str]] = field(default_factory=dict)
    rpc: list[dict[str, list[str]]] = field(default_factory=list)

    def number(self, name: str) -> int | None:
        values = self.fields.get(name)
        return int(values[0], 0) if values and values[0] else None

    @property
    def status(self) -> str:
        """The name of the NT status, as tshark spells it; LANMAN and some clients get DOS error classes instead."""
        if self.fields.get("smb.error_class") == ["0x00"]:
            return "STATUS_SUCCESS"
        shown = (self.shown.get(f"{self.dialect}.nt_status") or [""])[0]
        name = re.search(r"STATUS_\w+", shown)
        return name[0] if name else shown

    @property
    def command(self) -> int:
        return self.number(f"{self.dialect}.cmd")

    @property
    def session(self) -> int:
        return self.number("smb2.sesid" if self.dialect == "smb2" else "smb.uid") or 0

    @property
    def pair(self) -> tuple:
        return self.stream, self.dialect, self.number(f"{self.dialect}.msg_id" if self.dialect == "smb2" else "smb.mid")


def messages(file: Path, ports: tuple[int, ...] = PORTS) -> Iterator[Message]:
    """Every SMB message of `file`, in order, with the DCE/RPC PDUs that it carries."""
    with tempfile.TemporaryDirectory() as directory:
        plain = Path(directory) / "capture"
        if file.suffix == ".zst":  # tshark 4.0 reads gzip by itself, zstd only if it was built so
            subprocess.run(["zstd", "-dqf", str(file), "-o", str(plain)], check=True)
        else:
            shutil.copyfile(file, plain)
        decode_as = [word for port in ports if port not in (445, 139) for word in ("-d", f"tcp.port=={port},nbss")]
        command = ["tshark", "-r", str(plain), *decode_as, "-T", "pdml"]
        pdml = subprocess.run(command, capture_output=True, check=True, timeout=300).stdout
    for packet in ET.fromstring(pdml):
        yield from packet_messages(packet, ports)


def packet_messages(packet: ET.Element, ports: tuple[int, ...]) -> Iterator[Message]:
    address: dict[str, str] = {}
    message = None
    for proto in packet:
        name = proto.get("name")
        if name in ("geninfo", "ip", "ipv6", "tcp"):
            address |= {f.get("name"): f.get("show") for f in reversed(list(proto.iter("field")))}
        elif name in ("smb", "smb2") and "tcp.stream" in address:  # browser announcements are SMB by UDP
            for part in split(proto, "smb.server_component" if name == "smb" else "smb2.protocol_id"):
                if message is not None:
                    yield message
                message = begin(name, address, ports)
                for element in part:
                    add(message.fields, message.shown, element)
        elif message is not None and name == "dcerpc":
            message.rpc.append({})
            for element in proto.iter("field"):
                add(message.rpc[-1], message.shown, element)
        elif message is not None and name not in ("nbss", "fake-field-wrapper"):
            for element in proto.iter("field"):
                add(message.rpc[-1] if message.rpc else message.fields, message.shown, element)
    if message is not None:
        yield message


def split(proto: ET.Element, first: str) -> Iterator[list[ET.Element]]:
    """The fields of each message of a compound: a new one begins with the field called `first`."""
    part: list[ET.Element] = []
    for element in proto.iter("field"):
        if element.get("name") == first and any(e.get("name") == first for e in part):
            yield part
            part = []
        part.append(element)
    if any(e.get("name") == first for e in part):
        yield part


def begin(dialect: str, address: dict[str, str], ports: tuple[int, ...]) -> Message:
    """The direction is decided by the port: tshark's own idea of request and answer can be wrong."""
    family = "ipv6" if "ipv6.src" in address else "ip"
    ends = [(address[f"{family}.{side}"], int(address[f"tcp.{side}port"])) for side in ("src", "dst")]
    response = ends[0][1] in ports
    (server, port), (client, client_port) = ends if response else reversed(ends)
    return Message(
        int(address["num"]), int(address["tcp.stream"]), client, server, port, client_port, dialect, response
    )


def add(fields: dict[str, list[str]], shown: dict[str, list[str]], element: ET.Element) -> None:
    fields.setdefault(element.get("name"), []).append(element.get("show", ""))
    shown.setdefault(element.get("name"), []).append(element.get("showname", ""))


def seen_on_the_wire(file: Path) -> dict[str, Counter]:
    """What tshark sees of the things that the manifest lists."""
    seen: dict[str, Counter] = {
        kind: Counter() for kind in ("setups", "trees", "pipe opens", "disk opens", "operations", "referrals")
    }
    asked: dict[tuple, Message] = {}
    trees: dict[tuple, tuple[str, bool]] = {}  # (share, is it a disk share)
    for message in messages(file):
        for pdu in message.rpc:
            if pdu.get("dcerpc.pkt_type") == ["0"]:
                seen["operations"]["opnum " + pdu["dcerpc.opnum"][0]] += 1
        if not message.response:
            asked[message.pair] = message
            count_other_operations(message, seen["operations"])
        elif message.status != PENDING and (request := asked.pop(message.pair, None)) is not None:
            count_answer(request, message, seen, trees)
    for request in asked.values():  # never answered
        if is_tree_connect(request):
            seen["trees"][share_of(request), ""] += 1
    return seen


def count_other_operations(message: Message, operations: Counter) -> None:
    if message.number("lanman.function_code") is not None:
        operations[f"rap {message.number('lanman.function_code')}"] += 1
    if message.number("smb2.ioctl.function") == DFS_FSCTL or message.number("smb.trans2.cmd") == 0x10:
        operations["dfs"] += 1


def count_answer(
    request: Message, answer: Message, seen: dict[str, Counter], trees: dict[tuple, tuple[str, bool]]
) -> None:
    smb2 = request.dialect == "smb2"
    names = [name for kind in ("node", "expname") for name in answer.fields.get(f"smb.dfs.referral.{kind}", [])]
    for server in {name.strip("\\").split("\\")[0] for name in names}:
        seen["referrals"][answer.client, answer.server, server] += 1
    if request.command == (1 if smb2 else 0x73) and answer.status != MORE_PROCESSING:
        seen["setups"][answer.status] += 1
    elif is_tree_connect(request):
        share = share_of(request)
        seen["trees"][share, answer.status] += 1
        disk = answer.fields.get("smb2.share_type") == ["0x01"] if smb2 else answer.fields.get("smb.service") == ["A:"]
        trees[tree_key(answer)] = share, disk
    elif request.command == 5 if smb2 else request.command in SMB1_OPENS:
        share, disk = trees.get(tree_key(request), ("", False))
        if disk:
            seen["disk opens"][share] += 1
        else:
            seen["pipe opens"][pipe_of(request), answer.status] += 1


def is_tree_connect(request: Message) -> bool:
    return request.command == (3 if request.dialect == "smb2" else 0x75)


def tree_key(message: Message) -> tuple:
    if message.dialect == "smb2":
        return message.server, message.session, message.number("smb2.tid")
    return message.stream, message.number("smb.tid")


def share_of(request: Message) -> str:
    """`smb.path` is also a generated field: the last value is the real one."""
    return request.fields["smb2.tree" if request.dialect == "smb2" else "smb.path"][-1].split("\\")[-1].upper()


def pipe_of(request: Message) -> str:
    name = request.fields["smb2.filename" if request.dialect == "smb2" else "smb.file"][-1].lower()
    return name.removeprefix("\\").removeprefix("pipe\\")


def told_by_manifest(capture: dict) -> dict[str, Counter]:
    """The same counts from a [[capture]] of the manifest."""
    sessions = capture.get("sessions", [])
    told = {
        "setups": Counter(s["status"] for s in sessions if s["outcome"] in ("accepted", "refused")),
        "trees": Counter((tree["share"], tree.get("status", "")) for s in sessions for tree in s.get("trees", [])),
        "pipe opens": Counter((pipe["pipe"], pipe["status"]) for s in sessions for pipe in s.get("pipe_opens", [])),
        "disk opens": Counter(),
        "operations": Counter(
            operation(call) for s in sessions for call in s.get("calls", []) if call["protocol"] != "fsctl"
        ),
    }
    told["referrals"] = Counter(
        {(row["client"], row["server"], row["named"]): row["answers"] for row in capture.get("referrals", [])}
    )
    told["setups"].update(channel["status"] for channel in capture.get("channels", []))
    for session in sessions:
        for disk in session.get("disk_shares", []):
            told["disk opens"][disk["share"]] += disk["opens"]
    return told


def operation(call: dict) -> str:
    return {"dcerpc": f"opnum {call.get('opnum')}", "rap": f"rap {call.get('opnum')}"}.get(
        call["protocol"], call["protocol"]
    )


def check(folder: Path, names: list[str]) -> int:
    """Print every difference between manifest and captures; 0 if there is none, 1 if there is, 4 without tshark."""
    if shutil.which("tshark") is None:
        print("tshark is not installed: apt-get install tshark")
        return 4
    captures = tomllib.loads((folder / "manifest.toml").read_text())["capture"]
    differences = 0
    listed = {capture["file"] for capture in captures}
    for file in sorted(path.name for path in folder.iterdir() if ".pcap" in path.name and path.name not in listed):
        differences += 1
        print(f"{file}: not in the manifest")
    for capture in captures:
        if names and capture["file"].split(".")[0] not in names:
            continue
        seen, told = seen_on_the_wire(folder / capture["file"]), told_by_manifest(capture)
        for kind in seen:
            if seen[kind] != told[kind]:
                differences += 1
                more, less = dict(seen[kind] - told[kind]), dict(told[kind] - seen[kind])
                print(f"{capture['file']}: {kind}: only on the wire {more}, only in the manifest {less}")
    print(f"{len(captures)} captures, {differences} differences")
    return int(differences > 0)
