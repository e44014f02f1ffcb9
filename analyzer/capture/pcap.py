"""The classic capture file: a header, then records. [draft-ietf-opsawg-pcap]

Its magic number tells byte order and time unit. It does not tell everything: patched libraries of 1999 wrote records
with longer headers, one of them under the usual number (Red Hat 6.1), two under a number of their own; Nokia's firewalls
did likewise. `layout` tells them apart by their first records, which make sense in one form only. Before version 2.3, and
in DG/UX, the two lengths of a record stood the other way round. Facts: libpcap `sf-pcap.c`, Wireshark `libpcap.c`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from analyzer.capture.packets import (
    LENGTHS_BY_SIZE,
    LENGTHS_SWAPPED,
    LENGTHS_USUAL,
    MAX_PACKET,
    P_DATA,
    P_FRAME,
    P_HAVE,
    P_LINK,
    P_PLACE,
    P_SIZE,
    P_TIME,
    STOP_BAD,
    STOP_FULL,
    STOP_MORE,
    W_BACKWARDS,
    W_BASE,
    W_BIG,
    W_BYTES,
    W_CUT,
    W_FIRST,
    W_FRAME,
    W_HEADER,
    W_LAST,
    W_LENGTHS,
    W_LINK,
    W_NANO,
    W_NEED,
    W_POS,
    W_SNAPLEN,
    W_STOP,
    W_WIDTH,
)
from analyzer.compiled import Bytes, Ints, Table, entry, kernel
from analyzer.wire.layout import Layout
from analyzer.wire.loads import u32

MAGIC_MICRO = 0xA1B2C3D4
MAGIC_NANO = 0xA1B23C4D
MAGIC_MODIFIED = 0xA1B2CD34  # of a patched libpcap, whose records have longer headers
MAGIC_IXIA_NANO = 0x1C0001AC  # Ixia's "lcap": the file header is followed by the size of all records
MAGIC_IXIA_MICRO = 0x1C0001AB

FILE_HEADER = Layout(
    "pcap file header",
    [
        ("magic", "I"),  #          0  also tells the byte order
        ("version_major", "H"),  #  4
        ("version_minor", "H"),  #  6
        ("reserved1", "I"),  #      8
        ("reserved2", "I"),  #     12
        ("snaplen", "I"),  #       16
        ("network", "I"),  #       20  link type in the low 16 bits, FCS length in the top 4
    ],
)
RECORD_HEADER_SIZE = 16
NOKIA_HEADER_SIZE = 20
PATCHED_HEADER_SIZE = 24  # interface index (4), protocol (2), packet type (1), padding
LONG_HEADER_SIZE = 28  # the same, and five bytes more
RECORDS_TRIED = 3

_MAGICS = {
    struct.pack(order + "I", magic): (big, magic)
    for order, big in (("<", 0), (">", 1))
    for magic in (MAGIC_MICRO, MAGIC_NANO, MAGIC_MODIFIED, MAGIC_IXIA_NANO, MAGIC_IXIA_MICRO)
}

AIX_LINKS = {6: 1, 9: 6, 15: 10, 24: 0}
"""AIX writes interface types [RFC 1573] for link types: Ethernet, Token Ring, FDDI, loopback; and nanoseconds."""

LINUX_PROTOCOLS = frozenset((0x0060, 0x0200, 0x0400, *range(0x18)))
"""What the protocol field of patched records may hold besides EtherTypes from 0x0600 on. [Linux if_ether.h]"""


def sniff(head: bytes) -> bool:
    """True if a file that begins so is a pcap file."""
    return head[:4] in _MAGICS


@dataclass(frozen=True, slots=True)
class Header:
    """What the file header says."""

    big: int
    magic: int
    version: tuple[int, int]
    snaplen: int
    network: int

    @property
    def size(self) -> int:
        """Bytes in front of the first record."""
        return FILE_HEADER.size + (4 if self.magic in (MAGIC_IXIA_NANO, MAGIC_IXIA_MICRO) else 0)

    @property
    def is_aix(self) -> bool:
        """Written by AIX, which goes by version 2.2 as others did once."""
        return self.magic == MAGIC_MICRO and self.version == (2, 2) and self.network in AIX_LINKS

    @property
    def link(self) -> int:
        """The link type; above it in the field stands how many check bytes frames end with."""
        return AIX_LINKS[self.network] if self.is_aix else self.network & 0xFFFF

    @property
    def nano(self) -> int:
        """1 if fractions of seconds are nanoseconds."""
        return int(self.is_aix or self.magic in (MAGIC_NANO, MAGIC_IXIA_NANO))

    @property
    def lengths(self) -> int:
        """In which order records have their lengths, one of LENGTHS_."""
        if self.is_aix:
            return LENGTHS_BY_SIZE
        if self.version[0] == 543 or (self.version[0] == 2 and self.version[1] < 3):
            return LENGTHS_SWAPPED
        return LENGTHS_BY_SIZE if self.version == (2, 3) else LENGTHS_USUAL


def read_header(head: bytes) -> Header:
    """The file header. `head`: at least `FILE_HEADER.size` bytes, of which `sniff` is true."""
    big, magic = _MAGICS[head[:4]]
    major, minor, _, _, snaplen, network = struct.unpack_from(">HHIIII" if big else "<HHIIII", head, 4)
    return Header(big, magic, (major, minor), snaplen, network)


def start(head: bytes) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The state of a walk that begins behind the file header.

    head: at least `FILE_HEADER.size` bytes, and better some records, for they tell variants apart.
    """
    header = read_header(head)
    state = np.zeros(W_WIDTH, dtype=np.int64)
    state[W_POS] = header.size
    state[W_BIG] = header.big
    state[W_NANO] = header.nano
    state[W_LINK] = header.link
    state[W_SNAPLEN] = header.snaplen
    state[W_LENGTHS] = header.lengths
    state[W_HEADER] = layout(head, header)
    return state


def layout(head: bytes, header: Header) -> int:
    """Bytes of a record's header, told by the first records in `head`."""
    if header.magic == MAGIC_MODIFIED:
        patched, long = (_flaws(head, header, size)[0] for size in (PATCHED_HEADER_SIZE, LONG_HEADER_SIZE))
        return LONG_HEADER_SIZE if long < patched else PATCHED_HEADER_SIZE
    if header.magic == MAGIC_MICRO and header.version == (2, 4) and _flaws(head, header, RECORD_HEADER_SIZE)[0]:
        for size in (PATCHED_HEADER_SIZE, NOKIA_HEADER_SIZE):
            flaws, records = _flaws(head, header, size)
            if not flaws and records > 1:
                return size
    return RECORD_HEADER_SIZE


def _flaws(head: bytes, header: Header, size: int) -> tuple[int, int]:
    """How much about the first records speaks against headers of `size` bytes, and how many records that were.

    What goes beyond `head` speaks against nothing.
    """
    order = ">" if header.big else "<"
    at, flaws, records = header.size, 0, 0
    while records < RECORDS_TRIED and at + size <= len(head):
        records += 1
        _, fraction, have, original = struct.unpack_from(order + "IIII", head, at)
        flaws += fraction >= 1_000_000
        flaws += original > 128 * 1024 * 1024 or have > original
        if size >= PATCHED_HEADER_SIZE:
            interface, protocol, kind = struct.unpack_from(order + "IHB", head, at + 16)
            flaws += interface > 10_000
            flaws += protocol < 0x0600 and protocol not in LINUX_PROTOCOLS
            flaws += kind > 4
        elif size == NOKIA_HEADER_SIZE:
            # 9 or B, FBF, B or D, 6 or 9, 0, 1 or 2: as Wireshark has seen it
            (mark,) = struct.unpack_from(order + "I", head, at + 16)
            flaws += mark & 0xDFFF90F0 != 0x9FBF9000 or mark & 0xF not in (1, 2) or (mark >> 8) & 0xF not in (6, 9)
        if have > MAX_PACKET:
            return flaws + 1, records
        at += size + have
    if records < RECORDS_TRIED and 0 < len(head) - at < size:
        flaws += 1  # a file would end there with less than a header
    return flaws, records


def ticks(record: bytes, big: bool, nano: bool) -> int:
    """The time that a record's header begins with, in nanoseconds or microseconds."""
    seconds, fraction = struct.unpack_from(">II" if big else "<II", record)
    return int(seconds) * (1_000_000_000 if nano else 1_000_000) + int(fraction)


@entry
def walk_pcap(buf: Bytes, end: int, packets: Table, state: Ints) -> int:
    """Put the records between `state[W_POS]` and `end` into `packets`, a row each; returns how many.

    Stops where a record goes past `end`, where the table is full, or at a length that no record can have; `state` then
    says which and where.
    """
    pos = state[W_POS]
    big = state[W_BIG]
    unit = 1 if state[W_NANO] else 1000
    header = state[W_HEADER]
    lengths = state[W_LENGTHS]
    rows = packets.shape[0]
    n = 0
    state[W_STOP] = STOP_MORE
    state[W_NEED] = header
    while pos + header <= end:
        if n == rows:
            state[W_STOP] = STOP_FULL
            break
        have = u32(buf, pos + 8, big)
        size = u32(buf, pos + 12, big)
        if lengths == LENGTHS_SWAPPED or (lengths == LENGTHS_BY_SIZE and have > size):
            have, size = size, have
        if have > MAX_PACKET:
            state[W_STOP] = STOP_BAD
            state[W_NEED] = have
            break
        if pos + header + have > end:
            state[W_NEED] = header + have
            break
        time = u32(buf, pos, big) * 1_000_000_000 + u32(buf, pos + 4, big) * unit
        note_packet(packets, n, state, time, pos + header, have, size, state[W_LINK], pos)
        n += 1
        pos += header + have
    state[W_POS] = pos
    return n


@kernel
def note_packet(
    packets: Table, n: int, state: Ints, time: int, data: int, have: int, size: int, link: int, record: int
) -> None:
    """Write row `n` of the packet table and count the packet. A time of 0 or less is not believed."""
    state[W_FRAME] += 1
    state[W_BYTES] += have
    if time <= 0:
        state[W_BACKWARDS] += 1
        time = state[W_LAST]
    if time > 0:
        if state[W_FIRST] == 0 or time < state[W_FIRST]:
            state[W_FIRST] = time
        state[W_LAST] = max(state[W_LAST], time)
    if have < size:
        state[W_CUT] += 1
    packets[n, P_FRAME] = state[W_FRAME]
    packets[n, P_TIME] = time
    packets[n, P_DATA] = data
    packets[n, P_HAVE] = have
    packets[n, P_SIZE] = size
    packets[n, P_LINK] = link
    packets[n, P_PLACE] = state[W_BASE] + record
