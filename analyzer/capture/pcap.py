"""The classic capture file: a header, then records. [draft-ietf-opsawg-pcap]"""

from __future__ import annotations

import struct

import numpy as np

from analyzer.capture.packets import (
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
    W_LAST,
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

_MAGICS = {
    struct.pack(order + "I", magic): (big, nano)
    for order, big in (("<", 0), (">", 1))
    for magic, nano in ((MAGIC_MICRO, 0), (MAGIC_NANO, 1))
}


def sniff(head: bytes) -> bool:
    """True if a file that begins so is a pcap file."""
    return head[:4] in _MAGICS


def start(head: bytes) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The state of a walk that begins behind the file header. `head`: at least `FILE_HEADER.size` bytes."""
    big, nano = _MAGICS[head[:4]]
    _, _, _, _, snaplen, network = struct.unpack_from(">HHIIII" if big else "<HHIIII", head, 4)
    state = np.zeros(W_WIDTH, dtype=np.int64)
    state[W_POS] = FILE_HEADER.size
    state[W_BIG] = big
    state[W_NANO] = nano
    state[W_LINK] = network & 0xFFFF
    state[W_SNAPLEN] = snaplen
    return state


@entry
def walk_pcap(buf: Bytes, end: int, packets: Table, state: Ints) -> int:
    """Put the records between `state[W_POS]` and `end` into `packets`, a row each; returns how many.

    Stops where a record goes past `end`, where the table is full, or at a length that no record can have; `state` then
    says which and where.
    """
    pos = state[W_POS]
    big = state[W_BIG]
    unit = 1 if state[W_NANO] else 1000
    rows = packets.shape[0]
    n = 0
    state[W_STOP] = STOP_MORE
    state[W_NEED] = RECORD_HEADER_SIZE
    while pos + RECORD_HEADER_SIZE <= end:
        if n == rows:
            state[W_STOP] = STOP_FULL
            break
        have = u32(buf, pos + 8, big)
        size = u32(buf, pos + 12, big)
        if have > MAX_PACKET:
            state[W_STOP] = STOP_BAD
            state[W_NEED] = have
            break
        if pos + RECORD_HEADER_SIZE + have > end:
            state[W_NEED] = RECORD_HEADER_SIZE + have
            break
        time = u32(buf, pos, big) * 1_000_000_000 + u32(buf, pos + 4, big) * unit
        note_packet(packets, n, state, time, pos + RECORD_HEADER_SIZE, have, size, state[W_LINK], pos)
        n += 1
        pos += RECORD_HEADER_SIZE + have
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
