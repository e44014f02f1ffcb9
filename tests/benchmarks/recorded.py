"""Recorded captures to templates: each SMB connection as the messages that both sides sent, in their order.

What comes in: a folder of pcap and pcapng files. What goes out: `Template`s. Nothing here knows about the traffic that
is made from them. Only whole conversations are taken: the SYN was seen, no byte is missing up to where the template
ends, and the first message is SMB or a NetBIOS session request.
"""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import zstandard
from scapy.error import Scapy_Exception
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import CookedLinux  # noqa: F401  registers the link type of `any` captures
from scapy.utils import PcapReader

CLIENT, SERVER = 0, 1  # who sends
SMB_PORTS = (445, 139)
SMB_MAGICS = (b"\xfeSMB", b"\xffSMB", b"\xfdSMB", b"\xfcSMB")
NETBIOS_MESSAGE, NETBIOS_REQUEST = 0x00, 0x81


@dataclass(frozen=True, slots=True)
class Message:
    """One framed message, the four bytes of the NetBIOS or direct TCP header included."""

    sender: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Template:
    name: str
    """File and place in it, for messages to a person."""
    port: int
    """The server's port."""
    messages: tuple[Message, ...]


@dataclass
class _Side:
    """What one end of a connection has sent: the bytes that could not be put in order yet, and those not yet framed."""

    expected: int = -1
    early: dict[int, bytes] = field(default_factory=dict)
    unframed: bytes = b""

    def arrive(self, sequence: int, payload: bytes) -> None:
        """Take a segment; repeated bytes are dropped, early ones wait."""
        self.early[sequence] = max(payload, self.early.get(sequence, b""), key=len)
        for start in sorted(self.early, key=self._ahead):
            ahead = self._ahead(start)
            if ahead > 0:
                break
            fresh = self.early.pop(start)[-ahead:]
            self.unframed += fresh
            self.expected = (self.expected + len(fresh)) & 0xFFFFFFFF

    def _ahead(self, sequence: int) -> int:
        """How far `sequence` lies beyond the expected byte; negative for the past."""
        return ((sequence - self.expected + 0x80000000) & 0xFFFFFFFF) - 0x80000000

    def frames(self) -> Iterator[bytes]:
        """Cut off each whole message."""
        while len(self.unframed) >= 4:
            length = 4 + framed_length(self.unframed)
            if len(self.unframed) < length:
                return
            yield self.unframed[:length]
            self.unframed = self.unframed[length:]


@dataclass
class _Connection:
    name: str
    port: int
    sides: tuple[_Side, _Side] = field(default_factory=lambda: (_Side(), _Side()))
    messages: list[Message] = field(default_factory=list)

    def template(self) -> Template | None:
        """The conversation as far as it is whole; None if it is not SMB or nobody answered."""
        both = {message.sender for message in self.messages} == {CLIENT, SERVER}
        if not both or not begins_like_smb(self.messages[0].data):
            return None
        return Template(self.name, self.port, tuple(self.messages))


def framed_length(header: bytes) -> int:
    """Bytes after the four of the header: 24 bits for messages over direct TCP, 17 for other NetBIOS packets."""
    number = struct.unpack(">I", header[:4])[0]
    return number & (0xFFFFFF if header[0] == NETBIOS_MESSAGE else 0x1FFFF)


def begins_like_smb(message: bytes) -> bool:
    return message[0] == NETBIOS_REQUEST or (message[0] == NETBIOS_MESSAGE and message[4:8] in SMB_MAGICS)


def open_capture(path: Path) -> io.BufferedIOBase:
    """The bytes of a capture; its name says how it is compressed."""
    if path.suffix == ".gz":
        return gzip.open(path)
    if path.suffix == ".zst":
        return io.BufferedReader(zstandard.open(path))
    return path.open("rb")


def read_packets(path: Path) -> Iterator:
    """Packets of one file as far as it can be read: some captures of a test folder are broken on purpose."""
    try:
        with open_capture(path) as file, PcapReader(file) as packets:
            yield from packets
    except (Scapy_Exception, EOFError, OSError, ValueError, struct.error, zstandard.ZstdError):
        return


def segment_of(packet) -> tuple[tuple, tuple, TCP, bytes] | None:
    """(sender, receiver, TCP header, payload without Ethernet padding) of a whole TCP packet, else None."""
    ip = next((layer for layer in (packet.getlayer(IPv6), packet.getlayer(IP)) if layer), None)
    if ip is None or TCP not in ip or ip[TCP].dataofs is None:
        return None
    tcp = ip[TCP]
    raw = bytes(tcp.payload)
    in_headers = (ip.ihl * 4 if IP in ip else 0) + tcp.dataofs * 4
    total = ip.len if IP in ip else ip.plen
    length = total - in_headers if total else len(raw)  # 0: a large segment that was to be cut by the network card
    if not 0 <= length <= len(raw):
        return None
    return (ip.src, tcp.sport), (ip.dst, tcp.dport), tcp, raw[:length]


def read_templates(path: Path) -> list[Template]:
    """The SMB conversations of one file, in the order in which they began."""
    begun: list[_Connection] = []
    live: dict[tuple, tuple[_Connection, int]] = {}
    for packet in read_packets(path):
        found = segment_of(packet)
        if found is None:
            continue
        source, target, tcp, payload = found
        if "S" in tcp.flags and "A" not in tcp.flags:
            connection = _Connection(f"{path.name}#{len(begun) + 1}", target[1])
            begun.append(connection)
            live[source, target] = (connection, CLIENT)
            live[target, source] = (connection, SERVER)
        connection, sender = live.get((source, target), (None, 0))
        if connection is None:
            continue
        side = connection.sides[sender]
        if "S" in tcp.flags:
            side.expected = (tcp.seq + 1) & 0xFFFFFFFF
        elif payload and side.expected >= 0:
            side.arrive(tcp.seq, payload)
            connection.messages += (Message(sender, data) for data in side.frames())
    return [template for connection in begun if (template := connection.template())]


NOT_TO_BE_REPLAYED = ("anonymous-signed", "anonymous-encrypted", "guest-signed")
"""Null and guest sessions that sign or encrypt: with other ids their signatures are wrong, and no network has such."""
AUTHENTICATE = b"NTLMSSP\0\x03\0\0\0"
SIGNED = 0x08


def is_null_and_signed(template: Template) -> bool:
    """The same, on a connection of another recording: an AUTHENTICATE without name and response, and signed SMB 2."""
    null = signed = False
    for message in template.messages:
        at = message.data.find(AUTHENTICATE)
        if at >= 0:  # lengths of NtChallengeResponse and UserName [MS-NLMP 2.2.1.3]
            null |= message.data[at + 20 : at + 22] == message.data[at + 36 : at + 38] == b"\0\0"
        head = message.data.find(b"\xfeSMB")
        signed |= head >= 0 and len(message.data) > head + 16 and bool(message.data[head + 16] & SIGNED)
    return null and signed


def read_folders(folders: list[Path], smallest: int = 20) -> list[Template]:
    """The templates of all captures directly in `folders`, by file name. Each different conversation counts once.

    Raises ValueError if there are fewer than `smallest`.
    """
    files = sorted(
        file for folder in folders for file in folder.glob("*.pcap*") if not file.name.startswith(NOT_TO_BE_REPLAYED)
    )
    found = {template.messages: template for file in files for template in read_templates(file)}
    templates = [template for template in found.values() if not is_null_and_signed(template)]
    if len(templates) < smallest:
        raise ValueError(
            f"{len(templates)} recorded SMB sessions in {len(files)} captures of {', '.join(map(str, folders))}; "
            f"at least {smallest} are needed (--captures adds a folder)"
        )
    return templates
