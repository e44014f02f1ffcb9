"""A capture as tshark reads it: a plain `Message` for each SMB message over TCP, in the order of the packets, and the DCE/RPC
PDUs that they carry.

A path to a capture comes in, messages and PDUs go out; nothing of the project's own code is used. What tshark is asked for
does not depend on the settings of the person who runs it. Two passes, whose start takes a quarter of a second each:

1. every TCP segment, for what the dissectors do not say: who opened the connection, and which streams are SMB because their
   first payload begins like SMB, whatever their port;
2. the SMB dissectors' output as PDML, which alone keeps the parts of a compound or of an AndX chain apart. It is read as a
   stream, a packet at a time.

Known oddities of the output are dealt with here: an empty NTLM field is printed as its descriptor or as `NULL`, so its
length decides; fields of size 0 are tshark's own conclusions, not bytes of the packet.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import zstandard

SMB_PORTS = (445, 139)
SMB1, SMB2, ENCRYPTED = "smb1", "smb2", "encrypted"
SMB1_REPLY = 0x80
SMB2_RESPONSE = 0x1
SMB2_RELATED = 0x4

PREFERENCES = (
    "tcp.desegment_tcp_streams:TRUE",
    "tcp.check_checksum:FALSE",
    "nbss.desegment_nbss_commands:TRUE",
    "smb.trans_reassembly:TRUE",
)


@dataclass(frozen=True, slots=True)
class Stream:
    """A TCP connection, by tshark's number for it."""

    number: int
    client: tuple[str, int]
    """address and port of who opened it; without a handshake, who seems to be the client"""
    server: tuple[str, int]
    first_bytes: bytes
    """the first payload, in either direction"""

    @property
    def is_smb(self) -> bool:
        """By its port, or because it begins like SMB."""
        return self.server[1] in SMB_PORTS or self.client[1] in SMB_PORTS or begins_like_smb(self.first_bytes)


@dataclass(frozen=True, slots=True)
class Value:
    """A field of the packet."""

    show: str
    raw: bytes
    size: int
    label: str
    length: int | None
    """the length that the message states for it, where it does so in a descriptor of its own (NTLMSSP)"""


@dataclass(slots=True)
class Block:
    """A command of a message: SMB 1 may chain several, SMB 2 has one a message."""

    command: int
    words: int
    """SMB 1: WordCount; SMB 2: -1"""
    fields: dict[str, list[Value]] = field(default_factory=dict)
    carries: set[str] = field(default_factory=set)
    """protocols on top of it: smb_pipe, dcerpc"""

    def number(self, name: str) -> int | None:
        """The first value of a numeric field."""
        values = self.fields.get(name)
        return int(values[0].show, 0) if values else None

    def text(self, name: str) -> str | None:
        """The last value of a text field: what stands in a header of the protocol may repeat an earlier packet."""
        values = self.fields.get(name)
        return values[-1].show if values else None

    def size(self, name: str) -> int:
        """How many bytes a field has."""
        return sum(value.size for value in self.fields.get(name, ()))

    def raw(self, name: str) -> bytes:
        """The bytes of the first value."""
        values = self.fields.get(name)
        return values[0].raw if values else b""

    def is_set(self, name: str) -> bool:
        """A flag."""
        return self.number(name) == 1


@dataclass(slots=True)
class Message:
    """An SMB message."""

    frame: int
    time: float
    stream: Stream
    from_client: bool
    """by the addresses, since reply bits lie"""
    protocol: str
    message_id: tuple[int, ...]
    """SMB 2: MessageId; SMB 1: process and multiplex id"""
    session_id: int
    tree_id: int
    status: int
    status_name: str
    flags: int
    blocks: list[Block]

    @property
    def server(self) -> str:
        """Address of the server."""
        return self.stream.server[0]


def begins_like_smb(payload: bytes) -> bool:
    """A NetBIOS session message with any kind of SMB in it."""
    return len(payload) >= 8 and payload[0] == 0 and payload[4] in b"\xff\xfe\xfd\xfc" and payload[5:8] == b"SMB"


def tshark_program() -> str | None:
    """Where tshark is, if anywhere."""
    return shutil.which("tshark")


def reading(capture: Path) -> Reading:
    """All that is wanted of a capture."""
    found = Reading()
    with _readable(capture) as path:
        streams, reordered = _survey(path)
        if not any(stream.is_smb for stream in streams.values()):
            return found
        shown = ["-Y", "tcp and (smb or smb2)", "-J", "ip ipv6 tcp nbss smb smb2 smb_pipe dcerpc", "-T", "pdml"]
        with _tshark(path, [*_ways(streams, reordered), *shown]) as output:
            for packet in _packets(output):
                found.messages += _messages_of(packet, streams)
                found.pdus += _pdus_of(packet)
    return found


def _ways(streams: dict[int, Stream], reordered: bool) -> list[str]:
    """How tshark must be told to read the SMB streams."""
    smb = [stream for stream in streams.values() if stream.is_smb]
    elsewhere = {stream.server[1] for stream in smb if not {stream.server[1], stream.client[1]} & set(SMB_PORTS)}
    decode = [word for port in sorted(elsewhere) for word in ("-d", f"tcp.port=={port},nbss")]
    return ["-o", f"tcp.reassemble_out_of_order:{str(reordered).upper()}", *decode]


# DCE/RPC. #

PDU_FIELDS = (
    "dcerpc.pkt_type", "dcerpc.cn_flags", "dcerpc.opnum", "dcerpc.cn_status", "dcerpc.cn_bind_to_uuid",
    "dcerpc.cn_ack_result", "dcerpc.cn_reject_reason",
)  # fmt: skip
LAST_FRAGMENT = 2


@dataclass(frozen=True, slots=True)
class Pdus:
    """The DCE/RPC PDUs in the SMB messages of a packet."""

    frame: int
    kinds: list[int]
    flags: list[int]
    opnums: list[int]
    """of requests; of other PDUs tshark's own conclusion"""
    statuses: list[int]
    """of faults"""
    interfaces: list[str]
    """that binds and alter_contexts ask for"""
    results: list[int]
    """of each context"""
    reasons: list[int]
    """of bind_naks"""


@dataclass(slots=True)
class Reading:
    """What tshark finds in a capture."""

    messages: list[Message] = field(default_factory=list)
    """All SMB messages over TCP."""
    pdus: list[Pdus] = field(default_factory=list)
    """All packets whose SMB messages carry DCE/RPC."""


def _pdus_of(packet: ET.Element) -> list[Pdus]:
    """The PDUs of a packet, if it has any."""
    layers = [layer for layer in packet if layer.get("name") == "dcerpc"]
    if not layers:
        return []
    shown: dict[str, list[str]] = {name: [] for name in PDU_FIELDS}
    for layer in layers:
        for element in layer.iter("field"):
            if (name := element.get("name", "")) in shown:
                shown[name].append(element.get("show", ""))
    number = next(_shown(layer, "num") for layer in packet if layer.get("name") == "geninfo")
    kinds, flags, opnums, statuses, interfaces, results, reasons = shown.values()
    numbers = ([int(value, 0) for value in values] for values in (kinds, flags, opnums, statuses))
    return [Pdus(int(number), *numbers, interfaces, [int(v, 0) for v in results], [int(v, 0) for v in reasons])]


# Running tshark. #


@contextmanager
def _readable(capture: Path) -> Iterator[Path]:
    """The capture, unpacked where this build of tshark might not do so."""
    openers = {".zst": zstandard.open, ".gz": gzip.open}
    if capture.suffix not in openers:
        yield capture
        return
    with tempfile.NamedTemporaryFile(suffix=".pcap") as plain:
        with openers[capture.suffix](capture, "rb") as packed:
            shutil.copyfileobj(packed, plain)
        plain.flush()
        yield Path(plain.name)


@contextmanager
def _tshark(path: Path, arguments: list[str]) -> Iterator[IO[bytes]]:
    """The output of tshark on a file, with nobody's preferences."""
    program = tshark_program()
    if program is None:
        raise FileNotFoundError("tshark is not installed")
    preferences = [word for preference in PREFERENCES for word in ("-o", preference)]
    with tempfile.TemporaryDirectory() as home:
        nobody = {"HOME": home, "XDG_CONFIG_HOME": home, "WIRESHARK_CONFIG_DIR": home, "APPDATA": home}
        command = [program, "-n", *preferences, "-r", str(path), *arguments]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | nobody | {"LC_ALL": "C.UTF-8"}
        ) as process:
            assert process.stdout is not None
            yield process.stdout


# First pass: the streams. #

SEGMENT_FIELDS = (
    "tcp.stream", "ip.src", "ipv6.src", "tcp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport", "tcp.flags",
    "tcp.analysis.out_of_order", "tcp.payload",
)  # fmt: skip
SYN, ACK = 0x02, 0x10
Endpoint = tuple[str, int]


def _survey(path: Path) -> tuple[dict[int, Stream], bool]:
    """The TCP connections of a capture, and whether any of its segments are out of order.

    Only then may tshark put them in order: having been told to, it waits for ever where a segment was not captured at all.
    """
    ends: dict[int, tuple[Endpoint, Endpoint]] = {}
    opened_by: dict[int, Endpoint] = {}
    first_payload: dict[int, tuple[Endpoint, bytes]] = {}
    reordered = False
    asked = [word for name in SEGMENT_FIELDS for word in ("-e", name)]
    with _tshark(path, ["-Y", "tcp", "-T", "fields", "-E", "separator=/t", "-E", "occurrence=l", *asked]) as output:
        for line in output:
            number, ip, ipv6, port, to_ip, to_ipv6, to_port, flags, late, payload = (
                line.decode().rstrip("\n").split("\t")
            )
            if not number or not port or not to_port:
                continue
            stream, bits = int(number), int(flags or "0", 16)
            source, destination = (ipv6 or ip, int(port)), (to_ipv6 or to_ip, int(to_port))
            ends.setdefault(stream, (source, destination))
            if bits & SYN:
                opened_by.setdefault(stream, destination if bits & ACK else source)
            if payload:
                first_payload.setdefault(stream, (source, bytes.fromhex(payload)))
            reordered |= bool(late)
    streams = {}
    for stream, (one, other) in ends.items():
        sender, payload_bytes = first_payload.get(stream, (one, b""))
        client = opened_by.get(stream) or _probable_client(one, other, sender, payload_bytes)
        streams[stream] = Stream(stream, client, one if other == client else other, payload_bytes)
    return streams, reordered


def _probable_client(one: Endpoint, other: Endpoint, sender: Endpoint, payload: bytes) -> Endpoint:
    """Who is the client of a connection whose handshake was not captured."""
    if (one[1] in SMB_PORTS) != (other[1] in SMB_PORTS):
        return other if one[1] in SMB_PORTS else one
    if begins_like_smb(payload) and len(payload) > 20:
        reply = payload[4 + 9] & SMB1_REPLY if payload[4] == 0xFF else payload[4 + 16] & SMB2_RESPONSE
        receiver = other if sender == one else one
        return receiver if reply else sender
    return one if one[1] > other[1] else other


# Second pass: the messages. #


def _packets(output: IO[bytes]) -> Iterator[ET.Element]:
    """The packets of a PDML document, one at a time: tshark puts each tag on a line of its own.

    Most lines are fields that nobody here asks for; leaving them out makes the reading four times as fast.
    """
    lines: list[bytes] = []
    for line in output:
        tag = line.strip()
        if tag.startswith(b"<field ") and tag.endswith(b"/>") and tag.split(b'"', 2)[1] not in WANTED_BYTES:
            continue
        if tag == b"<packet>":
            lines = []
        lines.append(line)
        if tag == b"</packet>":
            yield ET.fromstring(b"".join(lines).decode(errors="replace").translate(NOT_XML))


NOT_XML = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF], "\N{REPLACEMENT CHARACTER}")
"""What tshark prints from the packets although XML cannot hold it."""


def _messages_of(packet: ET.Element, streams: dict[int, Stream]) -> list[Message]:
    """The messages that a packet completes. What they carry is in layers of its own, after each."""
    frame, time, source, stream = 0, 0.0, ("", 0), None
    found: list[Message] = []
    for layer in packet:
        match layer.get("name"):
            case "geninfo":
                frame = int(_shown(layer, "num"))
                time = float(_value(layer, "timestamp"))
            case "ip" | "ipv6" as name:
                source = (_shown(layer, f"{name}.src"), 0)
            case "tcp":
                source = (source[0], int(_shown(layer, "tcp.srcport")))
                stream = streams.get(int(_shown(layer, "tcp.stream")))
            case "smb" | "smb2" as name if stream is not None and stream.is_smb:
                read = _smb1 if name == "smb" else _smb2
                message = read(layer, frame, time, stream, source == stream.client)
                if message is not None:
                    found.append(message)
            case "smb_pipe" | "dcerpc" as name if found and found[-1].blocks:
                found[-1].blocks[-1].carries.add(name)
                if name == "smb_pipe":  # a login inside of DCE/RPC is none of the message's
                    _collect(layer, found[-1].blocks[-1])
    return found


def _shown(layer: ET.Element, name: str) -> str:
    """What a field directly under a layer shows."""
    return next((child.get("show", "") for child in layer if child.get("name") == name), "0")


def _value(layer: ET.Element, name: str) -> str:
    return next((child.get("value", "") for child in layer if child.get("name") == name), "0")


def _smb2(layer: ET.Element, frame: int, time: float, stream: Stream, from_client: bool) -> Message | None:
    """A message of SMB 2 or 3, or an encrypted one. What tshark decompressed counts as plain."""
    header, body = Block(-1, -1), Block(-1, -1)
    for part in layer:
        _collect(part, header if part.get("show", "").startswith(("SMB2 Header", "SMB2 Transform Header")) else body)
    if header.raw("smb2.protocol_id").startswith(b"\xfd"):
        session = header.number("smb2.sesid") or 0
        return Message(frame, time, stream, from_client, ENCRYPTED, (), session, 0, 0, "", 0, [])
    command = header.number("smb2.cmd")
    if command is None:
        return None
    body.command = command
    return Message(
        frame,
        time,
        stream,
        from_client,
        SMB2,
        (header.number("smb2.msg_id") or 0,),
        header.number("smb2.sesid") or 0,
        header.number("smb2.tid") or 0,
        header.number("smb2.nt_status") or 0,
        _status_name(header, "smb2.nt_status"),
        header.number("smb2.flags") or 0,
        [body],
    )


def _smb1(layer: ET.Element, frame: int, time: float, stream: Stream, from_client: bool) -> Message | None:
    """A message of SMB 1 with its chain of commands. Each command begins with its WordCount."""
    header, rest = Block(-1, -1), []
    for part in layer:
        if part.get("show") == "SMB Header":
            _collect(part, header)
        else:
            rest.append(part)
    command = header.number("smb.cmd")
    if command is None:
        return None
    dos = header.number("smb.error_class") is not None
    return Message(
        frame,
        time,
        stream,
        from_client,
        SMB1,
        ((header.number("smb.pid.high") or 0) << 16 | (header.number("smb.pid") or 0), header.number("smb.mid") or 0),
        header.number("smb.uid") or 0,
        header.number("smb.tid") or 0,
        _dos_error(header) if dos else header.number("smb.nt_status") or 0,
        "" if dos else _status_name(header, "smb.nt_status"),
        header.number("smb.flags") or 0,
        _chain(command, rest),
    )


def _chain(command: int, parts: list[ET.Element]) -> list[Block]:
    """The commands of an SMB 1 message. The first is named in the header, each further one in the one before it."""
    blocks: list[Block] = []
    for part in parts:
        for element in part.iter("field"):
            name = element.get("name", "")
            if name == "smb.wct":
                blocks.append(Block(command, int(element.get("show", "0"))))
            elif name == "smb.cmd":
                command = int(element.get("show", "0"), 0)
            elif blocks and name in WANTED:
                _add(element, blocks[-1])
    return blocks


def _dos_error(header: Block) -> int:
    """A DOS error as the number that stands in the packet: class in the first byte, code in the last two."""
    return (header.number("smb.error_class") or 0) | (header.number("smb.error_code") or 0) << 16


def _status_name(header: Block, name: str) -> str:
    """STATUS_ACCESS_DENIED from `NT Status: STATUS_ACCESS_DENIED (0xc0000022)`."""
    values = header.fields.get(name)
    return values[0].label.removeprefix("NT Status: ").split(" ")[0] if values else ""


WANTED = frozenset(
    """
    smb2.protocol_id smb2.cmd smb2.flags smb2.msg_id smb2.tid smb2.sesid smb2.nt_status smb2.ses_req_flags.session_binding
    smb2.ses_flags.guest smb2.ses_flags.null smb2.tree smb2.share_type smb2.filename smb2.fid smb2.ioctl.function
    smb2.security_blob smb2.write_length smb2.olb.length smb2.ioctl.in smb2.ioctl.out
    smb.cmd smb.wct smb.nt_status smb.error_class smb.error_code smb.flags smb.tid smb.pid smb.pid.high smb.uid smb.mid
    smb.sm.mode smb.security_blob smb.setup.action.guest smb.ansi_pwlen smb.ansi_password smb.unicode_pwlen smb.pwlen
    smb.password smb.account smb.primary_domain smb.path smb.service smb.file smb.fid smb.file_type smb.trans_name
    smb.write.mode.raw smb.write.mode.message_start smb.nt.function smb.data_len_low smb.data_len_high smb.dc smb_pipe.function
    spnego.MechType spnego.mechToken spnego.responseToken kerberos.msg_type
    ntlmssp.messagetype ntlmssp.auth.lmresponse ntlmssp.auth.ntresponse ntlmssp.auth.domain ntlmssp.auth.username
    ntlmssp.auth.hostname
    """.split()  # noqa: SIM905 - shorter to read
)
"""What is kept of a message."""

DESCRIPTORS = frozenset({"ntlmssp.string.length", "ntlmssp.blob.length"})
"""Under an NTLMSSP field: the length that the message states for it."""

ADDRESSES = frozenset({"num", "timestamp", "ip.src", "ipv6.src", "tcp.srcport", "tcp.stream"})
WANTED_BYTES = frozenset(name.encode() for name in WANTED | DESCRIPTORS | ADDRESSES | set(PDU_FIELDS))


def _collect(part: ET.Element, block: Block) -> None:
    """Take the wanted fields of an element and of all below it."""
    for element in part.iter("field"):
        if element.get("name") in WANTED:
            _add(element, block)


def _add(element: ET.Element, block: Block) -> None:
    if element.get("size") == "0":
        return
    raw = element.get("value", "")
    length = next((int(c.get("show", "0")) for c in element if c.get("name") in DESCRIPTORS), None)
    value = Value(
        element.get("show", ""),
        bytes.fromhex(raw) if len(raw) % 2 == 0 else b"",
        int(element.get("size", "0")),
        element.get("showname", ""),
        length,
    )
    block.fields.setdefault(element.get("name", ""), []).append(value)
