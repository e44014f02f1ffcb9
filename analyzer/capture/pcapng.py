"""The newer capture file: sections of blocks. [draft-ietf-opsawg-pcapng]

Packet blocks are walked by a kernel; the few others (section headers, interface descriptions, names, statistics,
processes) stop it and are read here in Python, where their options are.

Of a packet's own options the kernel reads those that say which process it belongs to, and how many packets were lost
before it. Three tools leave processes: etl2pcapng and Wireshark's etwdump begin a comment with `PID=` (the process that
was running when the packet was traced); tcpdump of macOS refers to process information blocks, which are its own
(type 0x80000001: process id, options 2 name and 4 UUID; options 0x8001 and, on whose behalf, 0x8003 of packets); and
there is the option epb_processid_threadid.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

import numpy as np

from analyzer.capture.packets import (
    DIRECTION_UNKNOWN,
    MAX_PACKET,
    N_DIRECTION,
    N_FRAME,
    N_KIND,
    N_PROCESS,
    NOTE_BLOCK,
    NOTE_COMMENT,
    NOTE_PROCESS,
    STOP_BAD,
    STOP_BLOCK,
    STOP_FULL,
    STOP_MORE,
    STOP_NO_INTERFACE,
    W_BIG,
    W_DROPS,
    W_DROPS_TOLD,
    W_FRAME,
    W_INTERFACES,
    W_NEED,
    W_NOTES,
    W_POS,
    W_SNAPLEN,
    W_STOP,
    W_WIDTH,
)
from analyzer.capture.pcap import note_packet
from analyzer.compiled import Bytes, Ints, Table, entry, kernel
from analyzer.errors import DecodeError
from analyzer.wire.cursor import Cursor
from analyzer.wire.loads import byte, u16, u32

BLOCK_SECTION_HEADER = 0x0A0D0D0A
BLOCK_INTERFACE = 0x00000001
BLOCK_PACKET = 0x00000002  # obsolete
BLOCK_SIMPLE_PACKET = 0x00000003
BLOCK_NAME_RESOLUTION = 0x00000004
BLOCK_STATISTICS = 0x00000005
BLOCK_ENHANCED_PACKET = 0x00000006
BLOCK_PROCESS = 0x80000001  # macOS
BLOCKS_READ = (BLOCK_INTERFACE, BLOCK_NAME_RESOLUTION, BLOCK_STATISTICS, BLOCK_PROCESS)
BYTE_ORDER_MAGIC = 0x1A2B3C4D

OPTION_END = 0
OPTION_COMMENT = 1
OPTION_IF_NAME = 2
OPTION_IF_DESCRIPTION = 3
OPTION_IF_MACADDR = 6
OPTION_IF_TSRESOL = 9
OPTION_IF_FILTER = 11
OPTION_IF_OS = 12
OPTION_IF_FCSLEN = 13
OPTION_IF_TSOFFSET = 14
OPTION_IF_HARDWARE = 15
OPTION_ISB_IFDROP = 5
OPTION_ISB_OSDROP = 7
OPTION_EPB_FLAGS = 2
OPTION_EPB_HASH = 3
OPTION_EPB_DROPCOUNT = 4
OPTION_EPB_PACKETID = 5
OPTION_EPB_QUEUE = 6
OPTION_EPB_PROCESS = 8  # epb_processid_threadid
OPTION_EPB_PIB = 0x8001  # macOS: number of the process information block in the section
OPTION_EPB_EFFECTIVE_PIB = 0x8003  # ... of the process on whose behalf
OPTION_PIB_NAME = 2

NAME_END = 0
NAME_IPV4 = 1
NAME_IPV6 = 2

BLOCK_HEADER_SIZE = 8
MAX_BLOCK = 16 * 1024 * 1024
"""Wireshark's limit for a block too. Blocks that are not packets are skipped without being kept, whatever their size."""

I_LINK = 0
I_SNAPLEN = 1
I_UNITS = 2  # time units in a second
I_PRE = 3  # nanoseconds = fraction // PRE * MUL // DIV
I_MUL = 4
I_DIV = 5
I_OFFSET = 6  # seconds to add
I_WIDTH = 7
MAX_INTERFACES = 4096
MAX_PROCESSES = 65_536
"""Process information blocks of a section that are kept; references to later ones lead nowhere."""
MAX_NAMES = 100_000
"""Names of addresses that are kept of a file."""
MAX_NAME = 255
MAX_NAME_RECORDS = 1_000_000
"""Addresses of a file whose names are looked at."""
MAX_DROPS = 2**48
"""A count from here on is not believed: tools write all ones for "not known"."""
INTERFACE_OPTIONS = {
    OPTION_IF_NAME: 0, OPTION_IF_DESCRIPTION: 0, OPTION_IF_MACADDR: 0, OPTION_IF_TSRESOL: 0, OPTION_IF_FILTER: 0,
    OPTION_IF_OS: 0, OPTION_IF_FCSLEN: 0, OPTION_IF_TSOFFSET: 8, OPTION_IF_HARDWARE: 0,
}  # fmt: skip
PACKET_OPTIONS = {
    OPTION_COMMENT: 0, OPTION_EPB_FLAGS: 4, OPTION_EPB_HASH: 0, OPTION_EPB_DROPCOUNT: 8, OPTION_EPB_PACKETID: 8,
    OPTION_EPB_QUEUE: 4, OPTION_EPB_PROCESS: 4, OPTION_EPB_PIB: 4, OPTION_EPB_EFFECTIVE_PIB: 4,
}  # fmt: skip
"""Options that are handed on with interfaces and packets, and the bytes of the numbers that their values are made of (0: of
none)."""
MAX_OPTION = 1024
"""Bytes of an interface's option that are handed on."""
MAX_SECONDS = 9_000_000_000  # nanoseconds of anything later do not fit into 63 bits


def sniff(head: bytes) -> bool:
    """True if a file that begins so is a pcapng file."""
    return head[:4] == BLOCK_SECTION_HEADER.to_bytes(4, "big")


def start() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The state of a walk that begins at the first section header."""
    return np.zeros(W_WIDTH, dtype=np.int64)


def interface_table() -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Room for the interfaces of a section."""
    return np.zeros((MAX_INTERFACES, I_WIDTH), dtype=np.int64)


Option = tuple[int, bytes]
"""An option's code and value. Where one is handed on, numbers in it stand in little-endian order."""


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface as its file describes it."""

    link_type: int
    snaplen: int
    options: tuple[Option, ...]  # of `INTERFACE_OPTIONS`, each once


@dataclass(frozen=True, slots=True)
class CapturedPacket:
    """A packet with all that its file says of it."""

    interface: int  # its number in the section
    ticks: int | None  # time in units of the interface; None: not told
    data: bytes
    size: int  # on the wire
    options: tuple[Option, ...]  # of `PACKET_OPTIONS`


@dataclass(slots=True)
class Told:
    """What the blocks of a file say besides its packets."""

    names: dict[tuple[str, str], None] = field(default_factory=dict)  # address and name, in order of appearance
    section: int = -1  # its number in the file, from 0
    interfaces: list[Interface] = field(default_factory=list)  # of the section
    processes: list[tuple[int, str]] = field(default_factory=list)  # of the section: id and name
    drops: dict[int, int] = field(default_factory=dict)  # of the section: interface and packets dropped on it
    drops_before: int = 0  # in the sections before
    drops_told: bool = False  # there are statistics at all
    name_records: int = 0
    given_up: int = 0  # names and blocks beyond what is kept, and blocks that contradict themselves

    @property
    def dropped(self) -> int:
        """Packets that the capturing machine dropped, by its statistics."""
        return self.drops_before + sum(self.drops.values())


def read_block(block: bytes, state: Ints, interfaces: Table, told: Told) -> None:
    """Take in a block that is not a packet: `block` is the whole of it, or its first part if it is of no use.

    A section header sets the byte order and forgets the interfaces and processes; an interface description adds one.
    Raises DecodeError (offset from the start of the block) if one of these is not what it claims to be; the others are
    a courtesy, and if they are damaged what can be read of them counts.
    """
    if block[:4] == BLOCK_SECTION_HEADER.to_bytes(4, "big"):
        cursor = Cursor(block, "pcapng", BLOCK_HEADER_SIZE)
        magic = cursor.bytes(4, "byte_order_magic")
        if magic not in (BYTE_ORDER_MAGIC.to_bytes(4, "big"), BYTE_ORDER_MAGIC.to_bytes(4, "little")):
            raise DecodeError("pcapng", "byte_order_magic", BLOCK_HEADER_SIZE, magic.hex())
        state[W_BIG] = int(magic == BYTE_ORDER_MAGIC.to_bytes(4, "big"))
        state[W_INTERFACES] = 0
        told.section += 1
        told.interfaces, told.processes = [], []
        told.drops_before, told.drops = told.dropped, {}
        return
    big = bool(state[W_BIG])
    kind = int.from_bytes(block[:4], "big" if big else "little")
    cursor = Cursor(block[:-4], "pcapng", BLOCK_HEADER_SIZE)  # its last four bytes repeat the length
    if kind == BLOCK_INTERFACE:
        _add_interface(cursor, big, state, interfaces, told)
        return
    read = {BLOCK_NAME_RESOLUTION: _add_names, BLOCK_STATISTICS: _add_statistics, BLOCK_PROCESS: _add_process}
    try:
        if kind in read:
            read[kind](cursor, big, told)
    except DecodeError:
        told.given_up += 1


def _options(cursor: Cursor, big: bool) -> Iterator[tuple[int, bytes]]:
    """The options of a block: code and value. Raises DecodeError where one goes past the end. [3.5]"""
    while len(cursor) >= 4:
        code, value = _item(cursor, big)
        if code == OPTION_END:
            return
        yield code, value


def _item(cursor: Cursor, big: bool) -> tuple[int, bytes]:
    """A code, a size, so many bytes, and those that fill up to a multiple of four."""
    code = cursor.number(2, "option_code", big_endian=big)
    size = cursor.number(2, "option_length", big_endian=big)
    value = cursor.bytes(size, "option_value")
    cursor.bytes(min(-size % 4, len(cursor)), "option_padding")
    return code, value


def _add_names(cursor: Cursor, big: bool, told: Told) -> None:
    """Name Resolution Block: an address, and its names, each ended by a NUL. [4.5]"""
    while len(cursor) >= 4:
        if told.name_records == MAX_NAME_RECORDS:
            told.given_up += 1
            return
        told.name_records += 1
        kind, value = _item(cursor, big)
        if kind == NAME_END:
            return
        size = {NAME_IPV4: 4, NAME_IPV6: 16}.get(kind)
        if size is None or len(value) <= size:
            continue
        address = str(IPv4Address(value[:4]) if kind == NAME_IPV4 else IPv6Address(value[:16]))
        for name in value[size:].split(b"\0"):
            key = (address, name.decode("utf-8", "replace"))
            if not name or key in told.names:
                continue
            if len(told.names) < MAX_NAMES and len(name) <= MAX_NAME:
                told.names[key] = None
            else:
                told.given_up += 1


def _add_statistics(cursor: Cursor, big: bool, told: Told) -> None:
    """Interface Statistics Block: its counts begin with the capture, so the last one of an interface holds. [4.6]"""
    interface = cursor.number(4, "interface_id", big_endian=big)
    cursor.bytes(8, "timestamp")
    dropped = 0
    for code, value in _options(cursor, big):
        if code in (OPTION_ISB_IFDROP, OPTION_ISB_OSDROP) and len(value) == 8:
            count = int.from_bytes(value, "big" if big else "little")
            if count < MAX_DROPS:
                told.drops_told = True
                dropped += count
    if interface in told.drops or len(told.drops) < MAX_INTERFACES:
        told.drops[interface] = max(dropped, told.drops.get(interface, 0))


def _add_process(cursor: Cursor, big: bool, told: Told) -> None:
    """Process information block of macOS: an id and options. Packets refer to it by its place in the section."""
    if len(told.processes) == MAX_PROCESSES:
        told.given_up += 1
        return
    process = cursor.number(4, "process_id", big_endian=big)
    told.processes.append((process, ""))
    for code, value in _options(cursor, big):
        if code == OPTION_PIB_NAME:
            told.processes[-1] = (process, value[:MAX_NAME].rstrip(b"\0").decode("utf-8", "replace"))


def _add_interface(cursor: Cursor, big: bool, state: Ints, interfaces: Table, told: Told) -> None:
    number = int(state[W_INTERFACES])
    if number == MAX_INTERFACES:
        raise DecodeError("pcapng", "interface", cursor.offset, f"more than {MAX_INTERFACES} in a section")
    link_type = cursor.number(2, "link_type", big_endian=big)
    cursor.number(2, "reserved")
    snaplen = cursor.number(4, "snaplen", big_endian=big)
    resolution, offset = 6, 0
    kept: dict[int, bytes] = {}
    for code, value in _options(cursor, big):
        if code in INTERFACE_OPTIONS and len(value) <= MAX_OPTION:
            kept.setdefault(code, _little(value, INTERFACE_OPTIONS[code], big))
        if code == OPTION_IF_TSRESOL and len(value) >= 1:
            resolution = value[0]
        elif code == OPTION_IF_TSOFFSET and len(value) >= 8:
            offset = int.from_bytes(value[:8], "big" if big else "little", signed=True)
    power = resolution & 0x7F
    if power > (62 if resolution & 0x80 else 18):
        raise DecodeError("pcapng", "if_tsresol", cursor.offset, f"{resolution:#x} is beyond 64-bit time stamps")
    if resolution & 0x80:
        scale = (2**power, 2 ** max(0, power - 30), 1_000_000_000, 2 ** min(power, 30))
    else:
        scale = (10**power, 10 ** max(0, power - 9), 10 ** max(0, 9 - power), 1)
    interfaces[number] = (link_type, snaplen, *scale, max(-MAX_SECONDS, min(MAX_SECONDS, offset)))
    if number == 0:
        state[W_SNAPLEN] = snaplen
    state[W_INTERFACES] = number + 1
    told.interfaces.append(Interface(link_type, snaplen, tuple(kept.items())))


def _little(value: bytes, width: int, big: bool) -> bytes:
    """A value made of numbers of `width` bytes, in little-endian order."""
    if not big or not width or len(value) % width:
        return value
    return b"".join(value[at : at + width][::-1] for at in range(0, len(value), width))


def read_packet(block: bytes, big: bool, have: int) -> CapturedPacket:
    """A packet block that `walk_pcapng` has found. have: bytes captured of the packet."""
    numbers = struct.unpack_from(">7I" if big else "<7I", block.ljust(28, b"\0"))
    kind, (first, high, low, _, size) = numbers[0], numbers[2:]
    if kind == BLOCK_SIMPLE_PACKET:
        return CapturedPacket(0, None, block[12 : 12 + have], first, ())
    interface = first if kind == BLOCK_ENHANCED_PACKET else int.from_bytes(block[8:10], "big" if big else "little")
    kept: list[Option] = []
    try:
        for code, value in _options(Cursor(block[:-4], "pcapng", 28 + (have + 3 & -4)), big):
            if code in PACKET_OPTIONS:
                kept.append((code, _little(value, PACKET_OPTIONS[code], big)))
    except DecodeError:
        pass  # what stands in front of it holds, as for the kernel that reads them
    return CapturedPacket(interface, high << 32 | low, block[28 : 28 + have], size, tuple(kept))


@entry
def walk_pcapng(buf: Bytes, end: int, packets: Table, state: Ints, interfaces: Table, notes: Table) -> int:
    """Put the packet blocks between `state[W_POS]` and `end` into `packets`, a row each; returns how many.

    What packets say of their process goes to `notes`, which has as many rows, and is begun anew.
    Stops also at a block that is no packet block, which the caller reads or skips.
    """
    pos = state[W_POS]
    big = state[W_BIG]
    rows = packets.shape[0]
    n = 0
    state[W_STOP] = STOP_MORE
    state[W_NEED] = 12
    state[W_NOTES] = 0
    while pos + 12 <= end:
        kind = u32(buf, pos, big)
        total = u32(buf, pos + 4, big)
        if kind not in (BLOCK_ENHANCED_PACKET, BLOCK_SIMPLE_PACKET, BLOCK_PACKET):
            state[W_STOP] = STOP_BLOCK
            state[W_NEED] = total
            break
        fixed = 12 if kind == BLOCK_SIMPLE_PACKET else 28
        if total % 4 or total < fixed + 4 or total > MAX_PACKET + 65_536:
            state[W_STOP] = STOP_BAD
            state[W_NEED] = total
            break
        if pos + total > end:
            state[W_NEED] = total
            break
        if n == rows:
            state[W_STOP] = STOP_FULL
            break
        interface = 0
        time = 0
        if kind == BLOCK_SIMPLE_PACKET:
            size = u32(buf, pos + 8, big)
            have = total - 16
            have = min(have, size)
            if state[W_SNAPLEN] > 0:
                have = min(have, state[W_SNAPLEN])
        else:
            interface = u32(buf, pos + 8, big) if kind == BLOCK_ENHANCED_PACKET else u16(buf, pos + 8, big)
            have = u32(buf, pos + 20, big)
            size = u32(buf, pos + 24, big)
        if interface >= state[W_INTERFACES]:
            state[W_STOP] = STOP_NO_INTERFACE
            state[W_NEED] = interface
            break
        if have > total - fixed - 4:
            state[W_STOP] = STOP_BAD
            state[W_NEED] = have
            break
        if kind != BLOCK_SIMPLE_PACKET:
            time = nanoseconds(u32(buf, pos + 12, big), u32(buf, pos + 16, big), interfaces, interface)
        note_packet(packets, n, state, time, pos + fixed, have, size, interfaces[interface, I_LINK], pos)
        n += 1
        if kind == BLOCK_PACKET:
            note_drops(state, u16(buf, pos + 10, big), 0xFFFF)
        if kind != BLOCK_SIMPLE_PACKET and ((have + 3) & -4) + fixed + 8 <= total:
            read_packet_options(buf, pos + fixed + ((have + 3) & -4), pos + total - 4, state, notes)
        pos += total
    state[W_POS] = pos
    return n


@kernel
def read_packet_options(buf: Bytes, at: int, end: int, state: Ints, notes: Table) -> None:
    """Note the process of the packet that was counted last, and add up the losses before it. [3.5, 4.3]

    Where several options tell of a process, the one on whose behalf it acts comes first, then the process itself, then
    the one that was running.
    """
    big = state[W_BIG]
    kind = 0
    process = 0
    effective = 0
    direction = DIRECTION_UNKNOWN
    while at + 4 <= end:
        code = u16(buf, at, big)
        size = u16(buf, at + 2, big)
        at += 4
        if code == OPTION_END or at + size > end:
            break
        if code == OPTION_COMMENT:
            if kind == 0:
                process = commented_process(buf, at, at + size)
                if process >= 0:
                    kind = NOTE_COMMENT
        elif code == OPTION_EPB_FLAGS:
            if size == 4:
                direction = (u32(buf, at, big) & 3) % 3  # 3 is no direction
        elif code == OPTION_EPB_DROPCOUNT:
            if size == 8:
                high = u32(buf, at if big else at + 4, big)
                if high < 65_536:
                    note_drops(state, high * 4294967296 + u32(buf, at + 4 if big else at, big), MAX_DROPS)
        elif code == OPTION_EPB_PROCESS:
            if size == 8 and kind != NOTE_BLOCK:
                kind = NOTE_PROCESS
                process = u32(buf, at, big)
        elif code in (OPTION_EPB_PIB, OPTION_EPB_EFFECTIVE_PIB) and size == 4 and not effective:
            kind = NOTE_BLOCK
            process = u32(buf, at, big)
            effective = int(code == OPTION_EPB_EFFECTIVE_PIB)
        at += (size + 3) & -4
    if kind:
        note = state[W_NOTES]
        notes[note, N_FRAME] = state[W_FRAME]
        notes[note, N_KIND] = kind
        notes[note, N_PROCESS] = process
        notes[note, N_DIRECTION] = direction
        state[W_NOTES] += 1


@kernel
def note_drops(state: Ints, count: int, unknown: int) -> None:
    """Add up lost packets, to at most `MAX_DROPS`. A count from `unknown` on says nothing."""
    if count < unknown:
        state[W_DROPS_TOLD] += 1
        state[W_DROPS] = min(state[W_DROPS] + count, MAX_DROPS)


@kernel
def commented_process(buf: Bytes, at: int, end: int) -> int:
    """The number behind `PID=` at the beginning of a comment, -1 if there is none."""
    if at + 5 > end or byte(buf, at) != 0x50 or byte(buf, at + 1) != 0x49 or byte(buf, at + 2) != 0x44:
        return -1
    if byte(buf, at + 3) != 0x3D:
        return -1
    number = -1
    for place in range(at + 4, min(end, at + 14)):
        digit = byte(buf, place) - 0x30
        if digit < 0 or digit > 9:
            break
        number = max(number, 0) * 10 + digit
    return number


@kernel
def nanoseconds(high: int, low: int, interfaces: Table, interface: int) -> int:
    """The time of a packet, 0 if it is beyond what 63 bits of nanoseconds hold."""
    if high >= 0x80000000:
        return 0
    units = high * 4294967296 + low
    seconds = units // interfaces[interface, I_UNITS] + interfaces[interface, I_OFFSET]
    if seconds < 0 or seconds > MAX_SECONDS:
        return 0
    fraction = units % interfaces[interface, I_UNITS]
    fraction = fraction // interfaces[interface, I_PRE] * interfaces[interface, I_MUL] // interfaces[interface, I_DIV]
    return seconds * 1_000_000_000 + fraction
