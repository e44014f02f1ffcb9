"""The newer capture file: sections of blocks. [draft-ietf-opsawg-pcapng]

Packet blocks are walked by a kernel; the few others (section headers, interface descriptions) stop it and are read
here in Python, where their options are.
"""

from __future__ import annotations

import numpy as np

from analyzer.capture.packets import (
    MAX_PACKET,
    STOP_BAD,
    STOP_BLOCK,
    STOP_FULL,
    STOP_MORE,
    STOP_NO_INTERFACE,
    W_BIG,
    W_INTERFACES,
    W_NEED,
    W_POS,
    W_SNAPLEN,
    W_STOP,
    W_WIDTH,
)
from analyzer.capture.pcap import note_packet
from analyzer.compiled import Bytes, Ints, Table, entry, kernel
from analyzer.errors import DecodeError
from analyzer.wire.cursor import Cursor
from analyzer.wire.loads import u16, u32

BLOCK_SECTION_HEADER = 0x0A0D0D0A
BLOCK_INTERFACE = 0x00000001
BLOCK_PACKET = 0x00000002  # obsolete
BLOCK_SIMPLE_PACKET = 0x00000003
BLOCK_ENHANCED_PACKET = 0x00000006
BYTE_ORDER_MAGIC = 0x1A2B3C4D

OPTION_END = 0
OPTION_IF_TSRESOL = 9
OPTION_IF_TSOFFSET = 14

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


def read_block(block: bytes, state: Ints, interfaces: Table) -> None:
    """Take in a block that is not a packet: `block` is the whole of it, or its first part if it is of no use.

    A section header sets the byte order and forgets the interfaces; an interface description adds one.
    Raises DecodeError (offset from the start of the block) if it is not what it claims to be.
    """
    if block[:4] == BLOCK_SECTION_HEADER.to_bytes(4, "big"):
        cursor = Cursor(block, "pcapng", BLOCK_HEADER_SIZE)
        magic = cursor.bytes(4, "byte_order_magic")
        if magic not in (BYTE_ORDER_MAGIC.to_bytes(4, "big"), BYTE_ORDER_MAGIC.to_bytes(4, "little")):
            raise DecodeError("pcapng", "byte_order_magic", BLOCK_HEADER_SIZE, magic.hex())
        state[W_BIG] = int(magic == BYTE_ORDER_MAGIC.to_bytes(4, "big"))
        state[W_INTERFACES] = 0
        return
    big = bool(state[W_BIG])
    if int.from_bytes(block[:4], "big" if big else "little") == BLOCK_INTERFACE:
        # Its last four bytes repeat the length.
        _add_interface(Cursor(block[:-4], "pcapng", BLOCK_HEADER_SIZE), big, state, interfaces)


def _add_interface(cursor: Cursor, big: bool, state: Ints, interfaces: Table) -> None:
    number = int(state[W_INTERFACES])
    if number == MAX_INTERFACES:
        raise DecodeError("pcapng", "interface", cursor.offset, f"more than {MAX_INTERFACES} in a section")
    link_type = cursor.number(2, "link_type", big_endian=big)
    cursor.number(2, "reserved")
    snaplen = cursor.number(4, "snaplen", big_endian=big)
    resolution, offset = 6, 0
    while len(cursor) >= 4:
        code = cursor.number(2, "option_code", big_endian=big)
        size = cursor.number(2, "option_length", big_endian=big)
        if code == OPTION_END:
            break
        value = cursor.bytes(size, "option_value")
        cursor.bytes(min(-size % 4, len(cursor)), "option_padding")
        if code == OPTION_IF_TSRESOL and size >= 1:
            resolution = value[0]
        elif code == OPTION_IF_TSOFFSET and size >= 8:
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


@entry
def walk_pcapng(buf: Bytes, end: int, packets: Table, state: Ints, interfaces: Table) -> int:
    """Put the packet blocks between `state[W_POS]` and `end` into `packets`, a row each; returns how many.

    Stops also at a block that is no packet block, which the caller reads or skips.
    """
    pos = state[W_POS]
    big = state[W_BIG]
    rows = packets.shape[0]
    n = 0
    state[W_STOP] = STOP_MORE
    state[W_NEED] = 12
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
        pos += total
    state[W_POS] = pos
    return n


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
