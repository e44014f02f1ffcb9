"""Bytes for tests, packed by hand from the protocol documents: captures, TCP conversations, SMB, SPNEGO, NTLMSSP.

Nothing of the analyzer is used here, so what a test expects is never the analyzer's own word. The parts stand in the
order of the data, from the file inwards: capture files, frames, conversations, framing, SMB 2, SMB 1, security blobs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

Field = tuple[str, str, int | bytes]


def packed(*fields: Field, order: str = "<") -> bytes:
    """A structure, field by field: name (for the reader), code of `struct`, value."""
    return b"".join(struct.pack(order + code, value) for _, code, value in fields)


def utf16(text: str) -> bytes:
    """Text as SMB and NTLMSSP write it in Unicode."""
    return text.encode("utf-16-le")


def padding(size: int, step: int) -> bytes:
    """The zeros that fill `size` bytes up to a multiple of `step`."""
    return bytes(-size % step)


# Capture files. #

LINK_NULL, LINK_ETHERNET, LINK_RAW_BSD, LINK_RAW, LINK_LOOP, LINK_SLL, LINK_SLL2 = 0, 1, 12, 101, 108, 113, 276
START_NS = 1_700_000_000_123_456_000


@dataclass(frozen=True, slots=True)
class Packet:
    """A captured packet; `size` is what it had on the wire, if that is more than was captured."""

    time_ns: int
    data: bytes
    size: int = -1

    @property
    def wire_size(self) -> int:
        """Bytes on the wire."""
        return max(self.size, len(self.data))


def pcap_header(*, order: str = "<", nano: bool = False, link: int = LINK_ETHERNET, snaplen: int = 262_144) -> bytes:
    """The header of a pcap file. [draft-ietf-opsawg-pcap 4]"""
    return packed(
        ("magic", "I", 0xA1B23C4D if nano else 0xA1B2C3D4),
        ("version_major", "H", 2),
        ("version_minor", "H", 4),
        ("reserved1", "I", 0),
        ("reserved2", "I", 0),
        ("snaplen", "I", snaplen),
        ("network", "I", link),
        order=order,
    )


def pcap_record(packet: Packet, *, order: str = "<", nano: bool = False) -> bytes:
    """A packet record of a pcap file. [draft-ietf-opsawg-pcap 5]"""
    seconds, fraction = divmod(packet.time_ns, 1_000_000_000)
    return (
        packed(
            ("seconds", "I", seconds),
            ("fraction", "I", fraction if nano else fraction // 1000),
            ("captured_length", "I", len(packet.data)),
            ("original_length", "I", packet.wire_size),
            order=order,
        )
        + packet.data
    )


def pcap(
    packets: Iterable[Packet],
    *,
    order: str = "<",
    nano: bool = False,
    link: int = LINK_ETHERNET,
    snaplen: int = 262_144,
) -> bytes:
    """A whole pcap file."""
    header = pcap_header(order=order, nano=nano, link=link, snaplen=snaplen)
    return header + b"".join(pcap_record(packet, order=order, nano=nano) for packet in packets)


def block(kind: int, body: bytes, *, order: str = "<") -> bytes:
    """A pcapng block of any type. [draft-ietf-opsawg-pcapng 3.1]"""
    body += padding(len(body), 4)
    length = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + length + body + length


def option(code: int, value: bytes, *, order: str = "<") -> bytes:
    """An option of a pcapng block. [3.5]"""
    return struct.pack(order + "HH", code, len(value)) + value + padding(len(value), 4)


def section_header(*, order: str = "<", options: bytes = b"") -> bytes:
    """Section Header Block. [4.1]"""
    fixed = packed(
        ("byte_order_magic", "I", 0x1A2B3C4D),
        ("major_version", "H", 1),
        ("minor_version", "H", 0),
        ("section_length", "q", -1),
        order=order,
    )
    return block(0x0A0D0D0A, fixed + options, order=order)


def interface(
    *,
    order: str = "<",
    link: int = LINK_ETHERNET,
    snaplen: int = 0,
    tsresol: int | None = None,
    tsoffset: int | None = None,
    options: bytes = b"",
) -> bytes:
    """Interface Description Block. [4.2]"""
    fixed = packed(("link_type", "H", link), ("reserved", "H", 0), ("snaplen", "I", snaplen), order=order)
    if tsresol is not None:
        options += option(9, bytes([tsresol]), order=order)
    if tsoffset is not None:
        options += option(14, struct.pack(order + "q", tsoffset), order=order)
    if options:
        options += option(0, b"", order=order)
    return block(1, fixed + options, order=order)


def enhanced_packet(
    data: bytes, ticks: int, *, order: str = "<", number: int = 0, size: int = -1, options: bytes = b""
) -> bytes:
    """Enhanced Packet Block. ticks: the time in units of the interface. [4.3]"""
    fixed = packed(
        ("interface_id", "I", number),
        ("timestamp_high", "I", ticks >> 32),
        ("timestamp_low", "I", ticks & 0xFFFFFFFF),
        ("captured_length", "I", len(data)),
        ("original_length", "I", max(size, len(data))),
        order=order,
    )
    return block(6, fixed + data + padding(len(data), 4) + options, order=order)


def simple_packet(data: bytes, *, order: str = "<", size: int = -1) -> bytes:
    """Simple Packet Block. [4.4]"""
    return block(3, struct.pack(order + "I", max(size, len(data))) + data, order=order)


def obsolete_packet(data: bytes, ticks: int, *, order: str = "<", number: int = 0, size: int = -1) -> bytes:
    """Packet Block, as files of before 2009 have it. [A]"""
    fixed = packed(
        ("interface_id", "H", number),
        ("drops_count", "H", 0),
        ("timestamp_high", "I", ticks >> 32),
        ("timestamp_low", "I", ticks & 0xFFFFFFFF),
        ("captured_length", "I", len(data)),
        ("original_length", "I", max(size, len(data))),
        order=order,
    )
    return block(2, fixed + data, order=order)


def name_resolution(*records: tuple[int, bytes], order: str = "<") -> bytes:
    """Name Resolution Block of records (type, value), and the one that ends them. [4.5]"""
    return block(4, b"".join(option(*record, order=order) for record in (*records, (0, b""))), order=order)


def interface_statistics(number: int, counts: dict[int, int], *, order: str = "<") -> bytes:
    """Interface Statistics Block; counts: of 64 bits, by option. [4.6]"""
    fixed = packed(("interface_id", "I", number), ("timestamp_high", "I", 0), ("timestamp_low", "I", 0), order=order)
    options = [option(code, struct.pack(order + "Q", count), order=order) for code, count in counts.items()]
    return block(5, fixed + b"".join(options) + option(0, b"", order=order), order=order)


def process_information(process: int, name: bytes | None = None, *, order: str = "<") -> bytes:
    """Process information block, as tcpdump of macOS writes it: libpcap there, `pcap-ng.h`."""
    options = b"" if name is None else option(2, name, order=order)
    uuid = option(4, bytes(range(16)), order=order)
    return block(
        0x80000001, struct.pack(order + "I", process) + options + uuid + option(0, b"", order=order), order=order
    )


def pcapng(packets: Iterable[Packet], *, order: str = "<", link: int = LINK_ETHERNET, tsresol: int = 9) -> bytes:
    """A whole pcapng file of one section and one interface, whose time unit is 10 ** -tsresol seconds."""
    blocks = [section_header(order=order), interface(order=order, link=link, tsresol=tsresol)]
    for packet in packets:
        ticks = packet.time_ns * 10**tsresol // 10**9
        blocks.append(enhanced_packet(packet.data, ticks, order=order, size=packet.size))
    return b"".join(blocks)


# Frames. #

ETHER_IPV4, ETHER_IPV6, ETHER_VLAN, ETHER_QINQ = 0x0800, 0x86DD, 0x8100, 0x88A8
PROTO_TCP, PROTO_UDP = 6, 17
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def ethernet(payload: bytes, kind: int = ETHER_IPV4, *, tags: Sequence[int] = ()) -> bytes:
    """An Ethernet frame. tags: the tag types (802.1Q, 802.1ad) in front of the type."""
    kinds = [*tags, kind]
    frame = bytes.fromhex("020000000002") + bytes.fromhex("020000000001") + struct.pack(">H", kinds[0])
    for following in kinds[1:]:
        frame += packed(("tag_control", "H", 100), ("type", "H", following), order=">")
    return frame + payload


def ipv4(
    payload: bytes,
    source: str = "10.0.0.1",
    target: str = "10.0.0.2",
    *,
    protocol: int = PROTO_TCP,
    options: bytes = b"",
    total: int = -1,
    fragment: int = 0,
) -> bytes:
    """An IPv4 packet. total: what it claims as its length; fragment: flags and offset. [RFC 791]"""
    header = 20 + len(options)
    return (
        packed(
            ("version_ihl", "B", 0x40 | header // 4),
            ("tos", "B", 0),
            ("total_length", "H", header + len(payload) if total < 0 else total),
            ("identification", "H", 1),
            ("flags_and_offset", "H", fragment),
            ("ttl", "B", 64),
            ("protocol", "B", protocol),
            ("checksum", "H", 0),
            ("source", "4s", ip_address(source).packed),
            ("target", "4s", ip_address(target).packed),
            order=">",
        )
        + options
        + payload
    )


def ipv6(
    payload: bytes, source: str = "fd00::1", target: str = "fd00::2", *, following: int = PROTO_TCP, size: int = -1
) -> bytes:
    """An IPv6 packet. following: the Next Header. [RFC 8200]"""
    return (
        packed(
            ("version_class_flow", "I", 6 << 28),
            ("payload_length", "H", len(payload) if size < 0 else size),
            ("next_header", "B", following),
            ("hop_limit", "B", 64),
            ("source", "16s", ip_address(source).packed),
            ("target", "16s", ip_address(target).packed),
            order=">",
        )
        + payload
    )


def tcp(
    payload: bytes = b"",
    *,
    source: int = 49_152,
    target: int = 445,
    seq: int = 0,
    ack: int = 0,
    flags: int = ACK,
    options: bytes = b"",
) -> bytes:
    """A TCP segment. [RFC 9293 3.1]"""
    return (
        packed(
            ("source_port", "H", source),
            ("target_port", "H", target),
            ("sequence_number", "I", seq & 0xFFFFFFFF),
            ("acknowledgment_number", "I", ack & 0xFFFFFFFF),
            ("data_offset", "B", (20 + len(options)) // 4 << 4),
            ("flags", "B", flags),
            ("window", "H", 65_535),
            ("checksum", "H", 0),
            ("urgent_pointer", "H", 0),
            order=">",
        )
        + options
        + payload
    )


# Conversations. #


@dataclass(frozen=True, slots=True)
class Segment:
    """A TCP segment that somebody captured. have: payload bytes captured, if fewer than were sent."""

    time_ns: int
    source: tuple[str, int]
    target: tuple[str, int]
    seq: int
    ack: int
    flags: int
    payload: bytes = b""
    have: int = -1

    def packet(self) -> Packet:
        """The Ethernet frame that carried it."""
        data = tcp(
            self.payload,
            source=self.source[1],
            target=self.target[1],
            seq=self.seq,
            ack=self.ack,
            flags=self.flags,
        )
        if ":" in self.source[0]:
            frame = ethernet(ipv6(data, self.source[0], self.target[0]), ETHER_IPV6)
        else:
            frame = ethernet(ipv4(data, self.source[0], self.target[0]))
        if 0 <= self.have < len(self.payload):
            return Packet(self.time_ns, frame[: len(frame) - len(self.payload) + self.have], len(frame))
        return Packet(self.time_ns, frame)


@dataclass(slots=True)
class Conversation:
    """A TCP connection, as its segments in the order sent. Each segment comes `step_ns` after the one before."""

    client_end: tuple[str, int] = ("10.0.0.1", 49_152)
    server_end: tuple[str, int] = ("10.0.0.2", 445)
    client_seq: int = 1_000
    server_seq: int = 5_000
    now_ns: int = START_NS
    step_ns: int = 1_000_000
    segments: list[Segment] = field(default_factory=list)

    def send(self, payload: bytes = b"", *, from_server: bool = False, flags: int = ACK, have: int = -1) -> Segment:
        """One segment, whose sequence number follows on what its side sent before."""
        seq, ack = (self.server_seq, self.client_seq) if from_server else (self.client_seq, self.server_seq)
        source, target = (self.server_end, self.client_end) if from_server else (self.client_end, self.server_end)
        ack = ack if flags & ACK else 0
        segment = Segment(self.now_ns, source, target, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, flags, payload, have)
        used = len(payload) + (1 if flags & (SYN | FIN) else 0)
        if from_server:
            self.server_seq += used
        else:
            self.client_seq += used
        self.now_ns += self.step_ns
        self.segments.append(segment)
        return segment

    def client(self, *payloads: bytes) -> Segment:
        """A segment from the client for each payload; returns the last."""
        return [self.send(payload) for payload in payloads][-1]

    def server(self, *payloads: bytes) -> Segment:
        """A segment from the server for each payload; returns the last."""
        return [self.send(payload, from_server=True) for payload in payloads][-1]

    def open(self) -> Conversation:
        """The three segments that open the connection; returns itself."""
        self.send(flags=SYN)
        self.send(from_server=True, flags=SYN | ACK)
        self.send()
        return self

    def close(self) -> Conversation:
        """Both sides close the connection; returns itself."""
        self.send(flags=FIN | ACK)
        self.send(from_server=True, flags=FIN | ACK)
        self.send()
        return self

    def packets(self) -> list[Packet]:
        """Its segments as Ethernet frames."""
        return [segment.packet() for segment in self.segments]


# Framing: direct TCP and NetBIOS session service. #


def framed(message: bytes) -> bytes:
    """A session message. [MS-SMB2 2.1; RFC 1002 4.3.6]"""
    return struct.pack(">I", len(message)) + message


def netbios_name(name: str, suffix: int) -> bytes:
    """A name in first-level encoding, without scope. [RFC 1001 14.1]"""
    padded = name.encode("cp437").ljust(15) + bytes([suffix])
    letters = bytes(0x41 + half for octet in padded for half in (octet >> 4, octet & 15))
    return bytes([len(letters)]) + letters + b"\0"


def session_request(called: str, calling: str) -> bytes:
    """SESSION REQUEST. [RFC 1002 4.3.2]"""
    names = netbios_name(called, 0x20) + netbios_name(calling, 0x00)
    return packed(("type", "B", 0x81), ("flags", "B", 0), ("length", "H", len(names)), order=">") + names


POSITIVE_RESPONSE = b"\x82\0\0\0"
KEEP_ALIVE = b"\x85\0\0\0"


# SMB 2. #

SUCCESS, PENDING, MORE_PROCESSING, ACCESS_DENIED = 0, 0x103, 0xC0000016, 0xC0000022
BUFFER_OVERFLOW = 0x80000005
NEGOTIATE, SESSION_SETUP, LOGOFF, TREE_CONNECT, TREE_DISCONNECT, CREATE, CLOSE, FLUSH, READ, WRITE = range(10)
LOCK, IOCTL, CANCEL, ECHO, QUERY_DIRECTORY = range(10, 15)
RESPONSE, ASYNC, RELATED, SIGNED = 1, 2, 4, 8
NO_ID32, NO_ID64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
NO_FILE = (NO_ID64, NO_ID64)
FileId = tuple[int, int]


def smb2(
    command: int,
    body: bytes,
    *,
    status: int = 0,
    flags: int = 0,
    next_command: int = 0,
    message_id: int = 1,
    tree_id: int = 0,
    session_id: int = 0,
    async_id: int | None = None,
    signature: bytes = bytes(16),
) -> bytes:
    """An SMB 2 message with its header. async_id: makes it asynchronous, without a tree id. [MS-SMB2 2.2.1]"""
    place: tuple[Field, ...] = (("process_id", "I", 0xFEFF), ("tree_id", "I", tree_id))
    if async_id is not None:
        flags |= ASYNC
        place = (("async_id", "Q", async_id),)
    return (
        packed(
            ("protocol_id", "4s", b"\xfeSMB"),
            ("structure_size", "H", 64),
            ("credit_charge", "H", 1),
            ("status", "I", status),
            ("command", "H", command),
            ("credits", "H", 31),
            ("flags", "I", flags),
            ("next_command", "I", next_command),
            ("message_id", "Q", message_id),
            *place,
            ("session_id", "Q", session_id),
            ("signature", "16s", signature),
        )
        + body
    )


def compound(*messages: bytes) -> bytes:
    """Messages joined by NextCommand, each but the last filled up to 8 bytes. [MS-SMB2 3.2.4.1.4]"""
    joined = b""
    for message in messages[:-1]:
        filled = message + padding(len(message), 8)
        joined += filled[:20] + struct.pack("<I", len(filled)) + filled[24:]
    return joined + messages[-1]


def negotiate_request(
    dialects: Sequence[int] = (0x0202, 0x0210), *, guid: bytes = bytes(range(16)), security_mode: int = 1
) -> bytes:
    """[MS-SMB2 2.2.3]"""
    return packed(
        ("structure_size", "H", 36),
        ("dialect_count", "H", len(dialects)),
        ("security_mode", "H", security_mode),
        ("reserved", "H", 0),
        ("capabilities", "I", 0x7F),
        ("client_guid", "16s", guid),
        ("client_start_time", "Q", 0),
        *[("dialect", "H", dialect) for dialect in dialects],
    )


def negotiate_answer(
    dialect: int = 0x0210, *, guid: bytes = bytes(range(16)), security_mode: int = 1, token: bytes = b""
) -> bytes:
    """[MS-SMB2 2.2.4]"""
    return packed(
        ("structure_size", "H", 65),
        ("security_mode", "H", security_mode),
        ("dialect_revision", "H", dialect),
        ("context_count", "H", 0),
        ("server_guid", "16s", guid),
        ("capabilities", "I", 0x07),
        ("max_transact_size", "I", 0x100000),
        ("max_read_size", "I", 0x100000),
        ("max_write_size", "I", 0x100000),
        ("system_time", "Q", 0),
        ("server_start_time", "Q", 0),
        ("security_buffer_offset", "H", 128),
        ("security_buffer_length", "H", len(token)),
        ("reserved2", "I", 0),
        ("buffer", f"{len(token)}s", token),
    )


def setup_request(token: bytes, *, flags: int = 0, previous_session_id: int = 0, gap: bytes = b"") -> bytes:
    """gap: bytes between the fixed part and the security buffer. [MS-SMB2 2.2.5]"""
    return packed(
        ("structure_size", "H", 25),
        ("flags", "B", flags),
        ("security_mode", "B", 1),
        ("capabilities", "I", 1),
        ("channel", "I", 0),
        ("security_buffer_offset", "H", 64 + 24 + len(gap)),
        ("security_buffer_length", "H", len(token)),
        ("previous_session_id", "Q", previous_session_id),
        ("gap", f"{len(gap)}s", gap),
        ("buffer", f"{len(token)}s", token),
    )


def setup_answer(token: bytes = b"", *, session_flags: int = 0, gap: bytes = b"") -> bytes:
    """[MS-SMB2 2.2.6]"""
    return packed(
        ("structure_size", "H", 9),
        ("session_flags", "H", session_flags),
        ("security_buffer_offset", "H", 64 + 8 + len(gap)),
        ("security_buffer_length", "H", len(token)),
        ("gap", f"{len(gap)}s", gap),
        ("buffer", f"{len(token)}s", token),
    )


def tree_request(path: str, *, gap: bytes = b"", flags: int = 0) -> bytes:
    """[MS-SMB2 2.2.9]"""
    return packed(
        ("structure_size", "H", 9),
        ("flags", "H", flags),
        ("path_offset", "H", 64 + 8 + len(gap)),
        ("path_length", "H", len(utf16(path))),
        ("gap", f"{len(gap)}s", gap),
        ("path", f"{len(utf16(path))}s", utf16(path)),
    )


def tree_answer(share_type: int) -> bytes:
    """share_type: 1 disk, 2 pipe, 3 print. [MS-SMB2 2.2.10]"""
    return packed(
        ("structure_size", "H", 16),
        ("share_type", "B", share_type),
        ("reserved", "B", 0),
        ("share_flags", "I", 0),
        ("capabilities", "I", 0),
        ("maximal_access", "I", 0x1F01FF),
    )


def create_request(name: str, *, access: int = 0x0012019F, gap: bytes = b"") -> bytes:
    """[MS-SMB2 2.2.13]"""
    return packed(
        ("structure_size", "H", 57),
        ("security_flags", "B", 0),
        ("requested_oplock_level", "B", 0),
        ("impersonation_level", "I", 2),
        ("smb_create_flags", "Q", 0),
        ("reserved", "Q", 0),
        ("desired_access", "I", access),
        ("file_attributes", "I", 0),
        ("share_access", "I", 3),
        ("create_disposition", "I", 1),
        ("create_options", "I", 0),
        ("name_offset", "H", 64 + 56 + len(gap)),
        ("name_length", "H", len(utf16(name))),
        ("create_contexts_offset", "I", 0),
        ("create_contexts_length", "I", 0),
        ("gap", f"{len(gap)}s", gap),
        ("name", f"{len(utf16(name))}s", utf16(name)),
    )


def create_answer(file_id: FileId) -> bytes:
    """[MS-SMB2 2.2.14]"""
    return packed(
        ("structure_size", "H", 89),
        ("oplock_level", "B", 0),
        ("flags", "B", 0),
        ("create_action", "I", 1),
        ("creation_time", "Q", 1),
        ("last_access_time", "Q", 2),
        ("last_write_time", "Q", 3),
        ("change_time", "Q", 4),
        ("allocation_size", "Q", 4096),
        ("end_of_file", "Q", 0),
        ("file_attributes", "I", 0x80),
        ("reserved2", "I", 0),
        ("file_id_persistent", "Q", file_id[0]),
        ("file_id_volatile", "Q", file_id[1]),
        ("create_contexts_offset", "I", 0),
        ("create_contexts_length", "I", 0),
    )


def close_request(file_id: FileId) -> bytes:
    """[MS-SMB2 2.2.15]"""
    return packed(
        ("structure_size", "H", 24),
        ("flags", "H", 0),
        ("reserved", "I", 0),
        ("file_id_persistent", "Q", file_id[0]),
        ("file_id_volatile", "Q", file_id[1]),
    )


def read_request(file_id: FileId, length: int = 1024) -> bytes:
    """[MS-SMB2 2.2.19]"""
    return packed(
        ("structure_size", "H", 49),
        ("padding", "B", 0x50),
        ("flags", "B", 0),
        ("length", "I", length),
        ("offset", "Q", 0),
        ("file_id_persistent", "Q", file_id[0]),
        ("file_id_volatile", "Q", file_id[1]),
        ("minimum_count", "I", 0),
        ("channel", "I", 0),
        ("remaining_bytes", "I", 0),
        ("read_channel_info_offset", "H", 0),
        ("read_channel_info_length", "H", 0),
        ("buffer", "B", 0),
    )


def read_answer(data: bytes, *, gap: bytes = b"") -> bytes:
    """[MS-SMB2 2.2.20]"""
    return packed(
        ("structure_size", "H", 17),
        ("data_offset", "B", 64 + 16 + len(gap)),
        ("reserved", "B", 0),
        ("data_length", "I", len(data)),
        ("data_remaining", "I", 0),
        ("reserved2", "I", 0),
        ("gap", f"{len(gap)}s", gap),
        ("data", f"{len(data)}s", data),
    )


def write_request(file_id: FileId, data: bytes, *, gap: bytes = b"") -> bytes:
    """[MS-SMB2 2.2.21]"""
    return packed(
        ("structure_size", "H", 49),
        ("data_offset", "H", 64 + 48 + len(gap)),
        ("length", "I", len(data)),
        ("offset", "Q", 0),
        ("file_id_persistent", "Q", file_id[0]),
        ("file_id_volatile", "Q", file_id[1]),
        ("channel", "I", 0),
        ("remaining_bytes", "I", 0),
        ("write_channel_info_offset", "H", 0),
        ("write_channel_info_length", "H", 0),
        ("flags", "I", 0),
        ("gap", f"{len(gap)}s", gap),
        ("data", f"{len(data)}s", data),
    )


def write_answer(count: int) -> bytes:
    """[MS-SMB2 2.2.22]"""
    return packed(
        ("structure_size", "H", 17),
        ("reserved", "H", 0),
        ("count", "I", count),
        ("remaining", "I", 0),
        ("write_channel_info_offset", "H", 0),
        ("write_channel_info_length", "H", 0),
    )


def ioctl_request(code: int, file_id: FileId, data: bytes, *, gap: bytes = b"") -> bytes:
    """[MS-SMB2 2.2.31]"""
    return packed(
        ("structure_size", "H", 57),
        ("reserved", "H", 0),
        ("ctl_code", "I", code),
        ("file_id_persistent", "Q", file_id[0]),
        ("file_id_volatile", "Q", file_id[1]),
        ("input_offset", "I", 64 + 56 + len(gap)),
        ("input_count", "I", len(data)),
        ("max_input_response", "I", 0),
        ("output_offset", "I", 0),
        ("output_count", "I", 0),
        ("max_output_response", "I", 4096),
        ("flags", "I", 1),
        ("reserved2", "I", 0),
        ("gap", f"{len(gap)}s", gap),
        ("buffer", f"{len(data)}s", data),
    )


def ioctl_answer(code: int, file_id: FileId, output: bytes, *, echo: bytes = b"") -> bytes:
    """echo: input that the answer repeats in front of its output. [MS-SMB2 2.2.32]"""
    return packed(
        ("structure_size", "H", 49),
        ("reserved", "H", 0),
        ("ctl_code", "I", code),
        ("file_id_persistent", "Q", file_id[0]),
        ("file_id_volatile", "Q", file_id[1]),
        ("input_offset", "I", 64 + 48),
        ("input_count", "I", len(echo)),
        ("output_offset", "I", 64 + 48 + len(echo)),
        ("output_count", "I", len(output)),
        ("flags", "I", 0),
        ("reserved2", "I", 0),
        ("input", f"{len(echo)}s", echo),
        ("output", f"{len(output)}s", output),
    )


def error_answer() -> bytes:
    """[MS-SMB2 2.2.2]"""
    return packed(
        ("structure_size", "H", 9),
        ("error_context_count", "B", 0),
        ("reserved", "B", 0),
        ("byte_count", "I", 0),
        ("error_data", "B", 0),
    )


def encrypted(session_id: int, secret: bytes = bytes(96)) -> bytes:
    """An encrypted message. [MS-SMB2 2.2.41]"""
    return packed(
        ("protocol_id", "4s", b"\xfdSMB"),
        ("signature", "16s", bytes(range(1, 17))),
        ("nonce", "16s", bytes(range(16))),
        ("original_message_size", "I", len(secret)),
        ("reserved", "H", 0),
        ("flags", "H", 1),
        ("session_id", "Q", session_id),
        ("message", f"{len(secret)}s", secret),
    )


# SMB 1. #


def compressed(message: bytes, *, plain: int = 64, chained: bool = False) -> bytes:
    """A message in a compression transform: `plain` bytes of it in clear, then what is not read. [MS-SMB2 2.2.42]"""
    header = packed(
        ("protocol_id", "4s", b"\xfcSMB"),
        ("original_compressed_segment_size", "I", len(message) - plain),
        ("compression_algorithm", "H", 0 if chained else 2),  # chained: the first payload is not compressed
        ("flags", "H", 1 if chained else 0),
        ("offset", "I", plain),
    )
    rest = bytes(8) if chained else b""
    return header + message[:plain] + rest + b"\xb0" * 24


FLAGS2_SIGNED, FLAGS2_EXTENDED, FLAGS2_NT_STATUS, FLAGS2_UNICODE = 0x0004, 0x0800, 0x4000, 0x8000
FLAGS2 = 0x0001 | FLAGS2_EXTENDED | FLAGS2_NT_STATUS | FLAGS2_UNICODE
FLAGS2_OEM = FLAGS2 & ~FLAGS2_UNICODE
ANDX_COMMANDS = frozenset((0x24, 0x2D, 0x2E, 0x2F, 0x73, 0x74, 0x75, 0xA2))
Bytes = bytes | Callable[[int], bytes]
"""The byte part of an SMB 1 message, or what makes it for an offset from the header (strings are aligned there)."""


@dataclass(frozen=True, slots=True)
class Smb1:
    """One command of an SMB 1 message: its words without the AndX link, and its bytes.

    word_count: what the message claims, where that is not what it has.
    """

    command: int
    words: bytes
    data: Bytes = b""
    word_count: int = -1


def smb1(
    *chain: Smb1,
    status: int = 0,
    flags: int = 0x18,
    flags2: int = FLAGS2,
    tid: int = 0,
    pid: int = 0xFEFF,
    uid: int = 0,
    mid: int = 1,
    signature: bytes = bytes(8),
) -> bytes:
    """An SMB 1 message: a header and one or more commands. [MS-CIFS 2.2.3]"""
    message = packed(
        ("protocol", "4s", b"\xffSMB"),
        ("command", "B", chain[0].command),
        ("status", "I", status),
        ("flags", "B", flags),
        ("flags2", "H", flags2),
        ("pid_high", "H", 0),
        ("security_features", "8s", signature),
        ("reserved", "H", 0),
        ("tid", "H", tid),
        ("pid_low", "H", pid),
        ("uid", "H", uid),
        ("mid", "H", mid),
    )
    for element, following in zip(chain, (*chain[1:], None), strict=True):
        begin = len(message)
        has_link = element.command in ANDX_COMMANDS and (
            element.words or element.word_count == 2 or element.command == 0x74
        )
        words = (4 if has_link else 0) + len(element.words)
        at = begin + 1 + words + 2
        data = element.data(at) if callable(element.data) else element.data
        link = b""
        if has_link:
            link = packed(
                ("andx_command", "B", following.command if following else 0xFF),
                ("andx_reserved", "B", 0),
                ("andx_offset", "H", at + len(data) if following else 0),
            )
        count = element.word_count if element.word_count >= 0 else words // 2
        message += bytes([count]) + link + element.words + struct.pack("<H", len(data)) + data
    return message


def strings(*texts: str, before: bytes = b"", unicode: bool = True) -> Bytes:
    """NUL-terminated strings behind `before`, in Unicode on an even offset from the header. [MS-CIFS 2.2.1.1]"""

    def at(offset: int) -> bytes:
        if not unicode:
            return before + b"".join(text.encode("cp437") + b"\0" for text in texts)
        return before + bytes((offset + len(before)) % 2) + b"".join(utf16(text + "\0") for text in texts)

    return at


def failed(command: int) -> Smb1:
    """An error answer: no words, no bytes. [MS-CIFS 2.2.3.2]"""
    return Smb1(command, b"")


def smb1_negotiate(dialects: Sequence[str] = ("LANMAN1.0", "NT LM 0.12")) -> Smb1:
    """[MS-CIFS 2.2.4.52.1]"""
    return Smb1(0x72, b"", b"".join(b"\x02" + dialect.encode() + b"\0" for dialect in dialects))


def smb1_negotiate_answer(
    index: int, *, security_mode: int = 3, capabilities: int = 0x8000E3FD, challenge: bytes = b"", data: Bytes = b""
) -> Smb1:
    """NT LM 0.12. data: what follows the challenge. [MS-CIFS 2.2.4.52.2; MS-SMB 2.2.4.5.2]"""
    words = packed(
        ("dialect_index", "H", index),
        ("security_mode", "B", security_mode),
        ("max_mpx_count", "H", 50),
        ("max_number_vcs", "H", 1),
        ("max_buffer_size", "I", 16_644),
        ("max_raw_size", "I", 65_536),
        ("session_key", "I", 0),
        ("capabilities", "I", capabilities),
        ("system_time", "Q", 0),
        ("server_time_zone", "H", 0),
        ("challenge_length", "B", len(challenge)),
    )
    return Smb1(0x72, words, data if callable(data) else challenge + data)


def smb1_negotiate_answer_lanman(index: int, *, security_mode: int) -> Smb1:
    """LAN Manager 1.0 to 2.1. [X/Open SMB 6.1]"""
    words = packed(
        ("dialect_index", "H", index),
        ("security_mode", "H", security_mode),
        ("max_buffer_size", "H", 4096),
        ("max_mpx_count", "H", 2),
        ("max_vcs", "H", 1),
        ("raw_mode", "H", 0),
        ("session_key", "I", 0),
        ("time", "H", 0),
        ("date", "H", 0),
        ("time_zone", "H", 0),
        ("challenge_length", "H", 8),
        ("reserved", "H", 0),
    )
    return Smb1(0x72, words, bytes(8) + b"DOMAIN\0")


def _setup_words(*last: Field) -> bytes:
    return packed(
        ("max_buffer_size", "H", 4356),
        ("max_mpx_count", "H", 50),
        ("vc_number", "H", 0),
        ("session_key", "I", 0),
        *last,
    )


def smb1_setup(*texts: str, oem_password: bytes = b"", unicode_password: bytes = b"", unicode: bool = True) -> Smb1:
    """13 words. texts: account, domain, native OS, native LAN Manager. [MS-CIFS 2.2.4.53.1]"""
    words = _setup_words(
        ("oem_password_len", "H", len(oem_password)),
        ("unicode_password_len", "H", len(unicode_password)),
        ("reserved", "I", 0),
        ("capabilities", "I", 0xD4),
    )
    return Smb1(0x73, words, strings(*texts, before=oem_password + unicode_password, unicode=unicode))


def smb1_setup_lanman(*texts: str, password: bytes = b"") -> Smb1:
    """10 words. texts: account, and what else the client says. [X/Open SMB 11.2]"""
    words = _setup_words(("password_length", "H", len(password)), ("reserved", "I", 0))
    return Smb1(0x73, words, strings(*texts, before=password, unicode=False))


def smb1_setup_blob(token: bytes, *texts: str, unicode: bool = True) -> Smb1:
    """12 words, extended security. texts: native OS, native LAN Manager. [MS-SMB 2.2.4.6.1]"""
    words = _setup_words(
        ("security_blob_length", "H", len(token)), ("reserved", "I", 0), ("capabilities", "I", 0x800000D4)
    )
    return Smb1(0x73, words, strings(*texts, before=token, unicode=unicode))


def smb1_setup_answer(action: int, *texts: str, token: bytes | None = None, unicode: bool = True) -> Smb1:
    """3 words, or 4 with a token. texts: native OS, LAN Manager, domain. [MS-CIFS 2.2.4.53.2; MS-SMB 2.2.4.6.2]"""
    words = struct.pack("<H", action) if token is None else struct.pack("<HH", action, len(token))
    return Smb1(0x73, words, strings(*texts, before=token or b"", unicode=unicode))


def smb1_tree(path: str, *, password: bytes = b"\0", service: bytes = b"?????", unicode: bool = True) -> Smb1:
    """[MS-CIFS 2.2.4.55.1]"""
    words = packed(("flags", "H", 8), ("password_length", "H", len(password)))
    aligned = strings(path, before=password, unicode=unicode)
    assert callable(aligned)
    return Smb1(0x75, words, lambda at: aligned(at) + service + b"\0")


def smb1_tree_answer(service: bytes, *, words: int = 3) -> Smb1:
    """2, 3 or 7 words. [MS-CIFS 2.2.4.55.2; MS-SMB 2.2.4.7.2]"""
    fields = packed(("optional_support", "H", 1), ("maximal_rights", "I", 0x1FF), ("guest_rights", "I", 0x1FF))
    kept = fields[: 2 * words - 4]
    if not kept:  # the oldest form has the link only
        return Smb1(0x75, b"", service + b"\0", 2)
    return Smb1(0x75, kept, service + b"\0" + utf16("NTFS\0"))


def nt_create(name: str, *, access: int = 0x0002019F, unicode: bool = True) -> Smb1:
    """[MS-CIFS 2.2.4.64.1]"""
    words = packed(
        ("reserved", "B", 0),
        ("name_length", "H", len(utf16(name)) if unicode else len(name)),
        ("flags", "I", 0x16),
        ("root_directory_fid", "I", 0),
        ("desired_access", "I", access),
        ("allocation_size", "Q", 0),
        ("ext_file_attributes", "I", 0),
        ("share_access", "I", 3),
        ("create_disposition", "I", 1),
        ("create_options", "I", 0x40),
        ("impersonation_level", "I", 2),
        ("security_flags", "B", 3),
    )
    return Smb1(0xA2, words, strings(name, unicode=unicode))


def nt_create_answer(fid: int, resource_type: int, *, words: int = 34) -> Smb1:
    """34 words, or the extended forms: 50, and the 100 bytes that claim to be 42 words.

    [MS-CIFS 2.2.4.64.2; MS-SMB 2.2.4.9.2]
    """
    fields = packed(
        ("oplock_level", "B", 0),
        ("fid", "H", fid),
        ("create_disposition", "I", 1),
        ("create_time", "Q", 0),
        ("last_access_time", "Q", 0),
        ("last_write_time", "Q", 0),
        ("last_change_time", "Q", 0),
        ("ext_file_attributes", "I", 0x80),
        ("allocation_size", "Q", 4096),
        ("end_of_file", "Q", 0),
        ("resource_type", "H", resource_type),
        ("nm_pipe_status", "H", 0x05FF),
        ("directory", "B", 0),
    )
    if words > 34:
        fields += packed(
            ("volume_guid", "16s", bytes(16)),
            ("file_id", "Q", 0),
            ("maximal_access_rights", "I", 0x1F01FF),
            ("guest_maximal_access_rights", "I", 0x1F01FF),
        )
    return Smb1(0xA2, fields, b"", words)


def open_andx(name: str, *, unicode: bool = False) -> Smb1:
    """[MS-CIFS 2.2.4.41.1]"""
    words = packed(
        ("flags", "H", 0),
        ("access_mode", "H", 0x42),
        ("search_attributes", "H", 0),
        ("file_attributes", "H", 0),
        ("creation_time", "I", 0),
        ("open_mode", "H", 1),
        ("allocation_size", "I", 0),
        ("timeout", "I", 0),
        ("reserved", "I", 0),
    )
    return Smb1(0x2D, words, strings(name, unicode=unicode))


def open_andx_answer(fid: int, resource_type: int) -> Smb1:
    """[MS-CIFS 2.2.4.41.2]"""
    words = packed(
        ("fid", "H", fid),
        ("file_attributes", "H", 0),
        ("last_write_time", "I", 0),
        ("file_data_size", "I", 0),
        ("access_rights", "H", 2),
        ("resource_type", "H", resource_type),
        ("nm_pipe_status", "H", 0),
        ("open_results", "H", 1),
        ("reserved", "6s", bytes(6)),
    )
    return Smb1(0x2D, words)


def open_core(name: str) -> Smb1:
    """SMB_COM_OPEN. [MS-CIFS 2.2.4.3.1]"""
    words = packed(("access_mode", "H", 0x42), ("search_attributes", "H", 0))
    return Smb1(0x02, words, b"\x04" + name.encode("cp437") + b"\0")


def open_core_answer(fid: int) -> Smb1:
    """[MS-CIFS 2.2.4.3.2]"""
    words = packed(
        ("fid", "H", fid),
        ("file_attributes", "H", 0),
        ("last_modified", "I", 0),
        ("file_size", "I", 0),
        ("access_mode", "H", 0x42),
    )
    return Smb1(0x02, words)


def smb1_close(fid: int) -> Smb1:
    """[MS-CIFS 2.2.4.5.1]"""
    return Smb1(0x04, packed(("fid", "H", fid), ("last_time_modified", "I", 0)))


def read_andx(fid: int, *, words: int = 12) -> Smb1:
    """[MS-CIFS 2.2.4.42.1]"""
    fields = packed(
        ("fid", "H", fid),
        ("offset", "I", 0),
        ("max_count", "H", 1024),
        ("min_count", "H", 1024),
        ("timeout", "I", 0),
        ("remaining", "H", 0),
        ("offset_high", "I", 0),
    )
    return Smb1(0x2E, fields[: 2 * words - 4])


def read_andx_answer(data: bytes, *, gap: bytes = b"\0") -> Smb1:
    """[MS-CIFS 2.2.4.42.2]"""
    words = packed(
        ("available", "H", 0),
        ("data_compaction_mode", "H", 0),
        ("reserved", "H", 0),
        ("data_length", "H", len(data) & 0xFFFF),
        ("data_offset", "H", 32 + 1 + 24 + 2 + len(gap)),
        ("data_length_high", "H", len(data) >> 16),
        ("reserved2", "8s", bytes(8)),
    )
    return Smb1(0x2E, words, gap + data)


def write_andx(fid: int, data: bytes, *, words: int = 14, gap: bytes = b"\0") -> Smb1:
    """[MS-CIFS 2.2.4.43.1]"""
    fields = packed(
        ("fid", "H", fid),
        ("offset", "I", 0),
        ("timeout", "I", 0),
        ("write_mode", "H", 8),
        ("remaining", "H", 0),
        ("data_length_high", "H", len(data) >> 16),
        ("data_length", "H", len(data) & 0xFFFF),
        ("data_offset", "H", 32 + 1 + 2 * words + 2 + len(gap)),
        ("offset_high", "I", 0),
    )
    return Smb1(0x2F, fields[: 2 * words - 4], gap + data)


def write_andx_answer(count: int) -> Smb1:
    """[MS-CIFS 2.2.4.43.2]"""
    words = packed(("count", "H", count), ("available", "H", 0), ("count_high", "H", 0), ("reserved", "H", 0))
    return Smb1(0x2F, words)


def read_core(fid: int) -> Smb1:
    """SMB_COM_READ. [MS-CIFS 2.2.4.11.1]"""
    return Smb1(0x0A, packed(("fid", "H", fid), ("count", "H", 512), ("offset", "I", 0), ("remaining", "H", 0)))


def read_core_answer(data: bytes) -> Smb1:
    """[MS-CIFS 2.2.4.11.2]"""
    words = packed(("count", "H", len(data)), ("reserved", "8s", bytes(8)))
    return Smb1(0x0A, words, b"\x01" + struct.pack("<H", len(data)) + data)


def write_core(fid: int, data: bytes) -> Smb1:
    """SMB_COM_WRITE. [MS-CIFS 2.2.4.12.1]"""
    words = packed(("fid", "H", fid), ("count", "H", len(data)), ("offset", "I", 0), ("remaining", "H", 0))
    return Smb1(0x0B, words, b"\x01" + struct.pack("<H", len(data)) + data)


def transaction(
    name: str,
    *,
    setup: Sequence[int] = (),
    parameters: bytes = b"",
    data: bytes = b"",
    total_data: int = -1,
    unicode: bool = True,
    command: int = 0x25,
) -> Smb1:
    """SMB_COM_TRANSACTION, or TRANSACTION2 (0x32), whose name is one NUL. [MS-CIFS 2.2.4.33.1, 2.2.4.46.1]"""
    at = 32 + 1 + 2 * (14 + len(setup)) + 2
    aligned = strings(name, unicode=unicode)
    assert callable(aligned)
    before = b"\0" if command == 0x32 else aligned(at)
    before += padding(at + len(before), 4)
    between = padding(at + len(before) + len(parameters), 4)
    words = packed(
        ("total_parameter_count", "H", len(parameters)),
        ("total_data_count", "H", len(data) if total_data < 0 else total_data),
        ("max_parameter_count", "H", 0),
        ("max_data_count", "H", 1024),
        ("max_setup_count", "B", 0),
        ("reserved1", "B", 0),
        ("flags", "H", 0),
        ("timeout", "I", 0),
        ("reserved2", "H", 0),
        ("parameter_count", "H", len(parameters)),
        ("parameter_offset", "H", at + len(before)),
        ("data_count", "H", len(data)),
        ("data_offset", "H", at + len(before) + len(parameters) + len(between)),
        ("setup_count", "B", len(setup)),
        ("reserved3", "B", 0),
        *[("setup", "H", word) for word in setup],
    )
    return Smb1(command, words, before + parameters + between + data)


def transaction_answer(
    *, parameters: bytes = b"", data: bytes = b"", total_data: int = -1, data_displacement: int = 0, command: int = 0x25
) -> Smb1:
    """[MS-CIFS 2.2.4.33.2]"""
    at = 32 + 1 + 20 + 2
    before = padding(at, 4)
    between = padding(at + len(before) + len(parameters), 4)
    words = packed(
        ("total_parameter_count", "H", len(parameters)),
        ("total_data_count", "H", len(data) if total_data < 0 else total_data),
        ("reserved1", "H", 0),
        ("parameter_count", "H", len(parameters)),
        ("parameter_offset", "H", at + len(before)),
        ("parameter_displacement", "H", 0),
        ("data_count", "H", len(data)),
        ("data_offset", "H", at + len(before) + len(parameters) + len(between)),
        ("data_displacement", "H", data_displacement),
        ("setup_count", "B", 0),
        ("reserved2", "B", 0),
    )
    return Smb1(command, words, before + parameters + between + data)


def nt_transact(function: int, *, setup: bytes = b"", parameters: bytes = b"", data: bytes = b"") -> Smb1:
    """[MS-CIFS 2.2.4.62.1]"""
    at = 32 + 1 + 2 * 19 + len(setup) + 2
    before = padding(at, 4)
    between = padding(at + len(before) + len(parameters), 4)
    words = packed(
        ("max_setup_count", "B", 0),
        ("reserved", "H", 0),
        ("total_parameter_count", "I", len(parameters)),
        ("total_data_count", "I", len(data)),
        ("max_parameter_count", "I", 0),
        ("max_data_count", "I", 1024),
        ("parameter_count", "I", len(parameters)),
        ("parameter_offset", "I", at + len(before)),
        ("data_count", "I", len(data)),
        ("data_offset", "I", at + len(before) + len(parameters) + len(between)),
        ("setup_count", "B", len(setup) // 2),
        ("function", "H", function),
        ("setup", f"{len(setup)}s", setup),
    )
    return Smb1(0xA0, words, before + parameters + between + data)


# Security blobs. #

NTLM_UNICODE, NTLM_OEM, NTLM_ANONYMOUS, NTLM_TARGET_INFO = 0x1, 0x2, 0x800, 0x800000
NTLM_VERSION, NTLM_KEY_EXCHANGE = 0x2000000, 0x40000000
NTLM_FLAGS = 0x00088215 | NTLM_KEY_EXCHANGE
"""Unicode, request target, sign, NTLM, always sign, extended session security, key exchange. [MS-NLMP 2.2.2.5]"""
NtlmVersion = tuple[int, int, int]
"""Major, minor, build."""


def _place(value: bytes, at: int) -> bytes:
    return packed(("len", "H", len(value)), ("max_len", "H", len(value)), ("buffer_offset", "I", at))


def ntlm_version(version: NtlmVersion) -> bytes:
    """VERSION. [MS-NLMP 2.2.2.10]"""
    major, minor, build = version
    return packed(
        ("product_major_version", "B", major),
        ("product_minor_version", "B", minor),
        ("product_build", "H", build),
        ("reserved", "3s", bytes(3)),
        ("ntlm_revision_current", "B", 15),
    )


def ntlm_negotiate(flags: int = NTLM_FLAGS, *, version: NtlmVersion | None = None) -> bytes:
    """NEGOTIATE_MESSAGE. [MS-NLMP 2.2.1.1]"""
    flags |= NTLM_VERSION if version else 0
    fixed = packed(("signature", "8s", b"NTLMSSP\0"), ("message_type", "I", 1), ("negotiate_flags", "I", flags))
    return fixed + _place(b"", 0) + _place(b"", 0) + (ntlm_version(version) if version else b"")


def av_pair(number: int, value: bytes) -> bytes:
    """AV_PAIR. [MS-NLMP 2.2.2.1]"""
    return packed(("av_id", "H", number), ("av_len", "H", len(value)), ("value", f"{len(value)}s", value))


def ntlm_challenge(
    target: str = "", info: bytes = b"", *, flags: int = NTLM_FLAGS, version: NtlmVersion | None = None
) -> bytes:
    """CHALLENGE_MESSAGE. [MS-NLMP 2.2.1.2]"""
    flags |= (NTLM_VERSION if version else 0) | (NTLM_TARGET_INFO if info else 0)
    name = utf16(target) if flags & NTLM_UNICODE else target.encode("cp437")
    at = 56 if version else 48
    fixed = packed(
        ("signature", "8s", b"NTLMSSP\0"),
        ("message_type", "I", 2),
        ("target_name", "8s", _place(name, at)),
        ("negotiate_flags", "I", flags),
        ("server_challenge", "8s", bytes.fromhex("0123456789abcdef")),
        ("reserved", "8s", bytes(8)),
        ("target_info", "8s", _place(info, at + len(name))),
    )
    return fixed + (ntlm_version(version) if version else b"") + name + info


AUTHENTICATE_FIELDS = ("lm", "nt", "domain", "user", "workstation", "key")
"""The variable fields in the order of the fixed part."""
PAYLOAD_ORDER = ("domain", "user", "workstation", "lm", "nt", "key")
"""The order in which Windows writes their contents."""


def ntlm_authenticate(
    user: str | bytes = b"",
    *,
    domain: str | bytes = b"",
    workstation: str | bytes = b"",
    lm: bytes = b"",
    nt: bytes = b"",
    key: bytes = b"",
    flags: int | None = NTLM_FLAGS,
    version: NtlmVersion | None = None,
    mic: bytes = b"",
    payload_order: Sequence[str] = PAYLOAD_ORDER,
    gap: int = 0,
) -> bytes:
    """AUTHENTICATE_MESSAGE. [MS-NLMP 2.2.1.3]

    Names given as text are encoded as `flags` say. flags None: the form of old systems, without key, flags and version.
    gap: unused bytes in front of each of the contents.
    """
    if flags is not None and version:
        flags |= NTLM_VERSION

    def encoded(text: str | bytes) -> bytes:
        if isinstance(text, bytes):
            return text
        return utf16(text) if flags is not None and flags & NTLM_UNICODE else text.encode("cp437")

    contents = {
        "lm": lm,
        "nt": nt,
        "domain": encoded(domain),
        "user": encoded(user),
        "workstation": encoded(workstation),
        "key": key,
    }
    there = AUTHENTICATE_FIELDS if flags is not None else AUTHENTICATE_FIELDS[:-1]
    tail = b"" if flags is None else struct.pack("<I", flags)
    tail += (ntlm_version(version) if version else b"") + mic
    at = 12 + 8 * len(there) + len(tail)
    places = {}
    payload = b""
    for name in payload_order:
        payload += bytes(gap)
        places[name] = _place(contents[name], at + len(payload))
        payload += contents[name]
    fixed = packed(("signature", "8s", b"NTLMSSP\0"), ("message_type", "I", 3))
    return fixed + b"".join(places[name] for name in there) + tail + payload


OID_SPNEGO = bytes.fromhex("2b0601050502")  #             1.3.6.1.5.5.2
OID_NTLMSSP = bytes.fromhex("2b06010401823702020a")  #    1.3.6.1.4.1.311.2.2.10
OID_NEGOEX = bytes.fromhex("2b06010401823702021e")  #     1.3.6.1.4.1.311.2.2.30
OID_KERBEROS = bytes.fromhex("2a864886f712010202")  #     1.2.840.113554.1.2.2
OID_KERBEROS_MS = bytes.fromhex("2a864882f712010202")  #  1.2.840.48018.1.2.2


def der(tag: int, *contents: bytes, octets: int = 0) -> bytes:
    """A DER element. octets: force the long form with so many length octets. [X.690 8.1.3]"""
    content = b"".join(contents)
    if not octets and len(content) < 128:
        return bytes([tag, len(content)]) + content
    octets = octets or (len(content).bit_length() + 7) // 8
    return bytes([tag, 0x80 | octets]) + len(content).to_bytes(octets, "big") + content


def gss(oid: bytes, *contents: bytes, octets: int = 0) -> bytes:
    """The initial token of a GSS mechanism. [RFC 2743 3.1]"""
    return der(0x60, der(0x06, oid), *contents, octets=octets)


def spnego_init(
    token: bytes | None = None,
    mechanisms: Sequence[bytes] = (OID_NTLMSSP,),
    *,
    hints: bool = False,
    octets: int = 0,
) -> bytes:
    """NegTokenInit in its GSS frame. hints: with the negHints that servers send. [RFC 4178 4.2.1; MS-SPNG 2.2.1]"""
    parts = [der(0xA0, der(0x30, *[der(0x06, oid) for oid in mechanisms], octets=octets), octets=octets)]
    if token is not None:
        parts.append(der(0xA2, der(0x04, token, octets=octets), octets=octets))
    if hints:
        parts.append(der(0xA3, der(0x30, der(0xA0, der(0x1B, b"not_defined_in_RFC4178@please_ignore")))))
    return gss(OID_SPNEGO, der(0xA0, der(0x30, *parts, octets=octets), octets=octets), octets=octets)


def spnego_answer(
    token: bytes | None = None, *, state: int | None = None, mechanism: bytes = b"", mic: bytes = b""
) -> bytes:
    """NegTokenResp. state: 0 completed, 1 incomplete, 2 reject. [RFC 4178 4.2.2]"""
    parts = []
    if state is not None:
        parts.append(der(0xA0, der(0x0A, bytes([state]))))
    if mechanism:
        parts.append(der(0xA1, der(0x06, mechanism)))
    if token is not None:
        parts.append(der(0xA2, der(0x04, token)))
    if mic:
        parts.append(der(0xA3, der(0x04, mic)))
    return der(0xA1, der(0x30, *parts))


def kerberos_request(*, oid: bytes = OID_KERBEROS, size: int = 300) -> bytes:
    """A GSS token with an AP-REQ of so many opaque bytes. [RFC 4121 4.1; RFC 4120 5.5.1]"""
    return gss(oid, b"\x01\x00", der(0x6E, der(0x30, bytes(size))))


def kerberos_reply(*, oid: bytes = OID_KERBEROS) -> bytes:
    """A GSS token with an AP-REP. [RFC 4121 4.1; RFC 4120 5.5.2]"""
    return gss(oid, b"\x02\x00", der(0x6F, der(0x30, bytes(80))))
