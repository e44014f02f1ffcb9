"""Files that this room does not read, told by their first bytes, so that a message can say how to go on.

The kinds of captures are those that Wireshark reads (its `wiretap/`), which it can convert. Two need the Windows that
wrote them: event traces of `netsh trace` and `pktmon`. What is packed more than once, or in an archive, is not unpacked.
"""

from __future__ import annotations

import struct

CONVERT = "convert it with `editcap -F pcapng`, or use `--engine tshark`"
UNPACK = "unpack it first"
FETCH = "fetch it again, in binary mode"

CAPTURES = {
    b"GMBU": "a Network Monitor 2 or 3 capture",
    b"RTSS": "a Network Monitor 1 capture",
    b"snoop\0\0\0": "a snoop capture",
    b"TRSNIFF data    \x1a": "a Sniffer (DOS) capture",
    b"XCP\0": "a Sniffer (Windows) or NetXRay capture",
    b"\x01\x10\x4c\0\x01\x05Trace Display Trace File": "a LANalyzer capture",
    b"iptrace 1.0": "an AIX iptrace capture",
    b"iptrace 2.0": "an AIX iptrace capture",
    b"\xaa\xaa\xaa\xaa\x20\0\0\0": "a 5View capture",
    b"\x05VNF": "a Visual Networks capture",
    b"ObserverPktBuffe": "an Observer capture",
    b"TR\0d\0": "an HP-UX nettl capture",
    b"TR\0\0\0": "an HP-UX nettl capture",
    b"\x7fver": "an OmniPeek or EtherPeek capture",
    b"\0\0\x02\0\x12\x05\0\x10": "a Tektronix K12 capture",
    b"btsnoop\0": "a Bluetooth snoop capture",
}
TEXT_CAPTURES = {
    b"+---------+---------------+----------+": "a K12 text capture",
}
OTHERS = {
    b"\x0a\x0d\x0a": f"a pcapng file damaged by a text-mode transfer: {FETCH}",  # 0A 0D 0D 0A, its end made 0A
    b"\x0d\x0a\x0d\x0d\x0d\x0a": f"a pcapng file damaged by a text-mode transfer: {FETCH}",  # each 0A made 0D 0A
    b"PK\x03\x04": f"a zip archive: {UNPACK}",
    b"7z\xbc\xaf\x27\x1c": f"a 7z archive: {UNPACK}",
    b"Rar!\x1a\x07": f"a RAR archive: {UNPACK}",
    b"MSCF": f"a cabinet archive: {UNPACK}",
    b"\x1f\x9d": f"data packed with compress: {UNPACK}",
    b"\x02\x21\x4c\x18": f"lz4 data in its legacy format: {UNPACK}",
    b"\x1f\x8b": f"gzip data: {UNPACK}",
    b"\x28\xb5\x2f\xfd": f"zstd data: {UNPACK}",
    b"\x04\x22\x4d\x18": f"lz4 data: {UNPACK}",
    b"BZh": f"bzip2 data: {UNPACK}",
    b"\xfd7zXZ\0": f"xz data: {UNPACK}",
}
"""Among them the compressed ones, which are met here only inside compressed data."""

ERF_TYPES = range(1, 49)
ERF_HEADER_SIZE = 16
ERF_RECORDS_TRIED = 3


def is_capture(head: bytes) -> bool:
    """True if a file that begins so is surely a capture that Wireshark reads, or a Windows event trace."""
    return any(head.startswith(magic) for magic in CAPTURES) or _is_etl(head)


def what_it_is(head: bytes, compression: str) -> str:
    """What a file is that begins so and is no capture that can be read, and how to go on; empty: nothing that is known.

    head: its first bytes, after decompression; compression: what it was packed with, empty if with nothing.
    """
    inside = f", inside {compression}" if compression else ""
    for magic, name in (CAPTURES | TEXT_CAPTURES).items():
        if head.startswith(magic):
            return f"is {name}{inside}, which this engine does not read: {CONVERT}"
    if _is_etl(head):
        return (
            f"is a Windows event trace (ETL){inside}, which this engine does not read: "
            "convert it on Windows with `etl2pcapng` (made by `netsh trace`) or `pktmon etl2pcap` (made by `pktmon`)"
        )
    for magic, name in OTHERS.items():
        if head.startswith(magic):
            what, _, how = name.partition(": ")
            return f"is {what}{inside}: {how}"
    if head[257:262] == b"ustar":
        return f"is a tar archive{inside}: {UNPACK}"
    if _is_erf(head):
        return f"seems to be an Endace ERF capture{inside}, which this engine does not read: {CONVERT}"
    return ""


def _is_etl(head: bytes) -> bool:
    """An event trace begins with a buffer whose first event has the system's own header. [WMI_BUFFER_HEADER, evntrace.h]

    The buffer's header takes 72 bytes; its first field is the buffer's size. The event begins with a version (2 bytes),
    1 or 2 for a system of 32 or 64 bits, and C0.
    """
    if len(head) < 80:
        return False
    size, version, bits, flags = struct.unpack_from("<I68xHBB", head)
    return size % 1024 == 0 and 1024 <= size <= 2**24 and version <= 4 and bits in (1, 2) and flags == 0xC0


def _is_erf(head: bytes) -> bool:
    """ERF has no magic number: records of time (8 bytes), type, flags, length (2), losses (2), length on the wire (2)."""
    at, last = 0, 0
    for _ in range(ERF_RECORDS_TRIED):
        if at + ERF_HEADER_SIZE > len(head):
            break
        time, kind = struct.unpack_from("<QB", head, at)
        size, _, wire = struct.unpack_from(">HHH", head, at + 10)
        if kind & 0x7F not in ERF_TYPES or size < ERF_HEADER_SIZE or wire == 0 or (time and time < last):
            return False
        last = max(last, time)
        at += size
    return at > 0
