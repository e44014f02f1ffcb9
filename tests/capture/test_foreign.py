"""Files that are not read are named, with how to go on."""

from __future__ import annotations

import gzip
import io
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.capture import foreign
from analyzer.capture.source import SNIFF_SIZE
from tests.build import START_NS, Packet, ethernet, ipv4, pcap, section_header, tcp
from tests.capture.reading import read_bytes


def etl(*, bits: int = 2, size: int = 65_536) -> bytes:
    """The beginning of a Windows event trace: a buffer's header, and the header of its first event. [ntwmi.h]"""
    buffer_header = struct.pack(
        "<IIIIqqQIIIHH16x",
        size,  # BufferSize
        1000,  # SavedOffset
        1000,  # CurrentOffset
        0,  # ReferenceCount
        0x01D9_0000_0000_0000,  # TimeStamp
        0,  # SequenceNumber
        0,  # Clock
        0,  # ClientContext
        3,  # State: flush
        1000,  # Offset
        1,  # BufferFlag
        4,  # BufferType: header
    )
    assert len(buffer_header) == 72
    event = struct.pack(
        "<HBBHH",
        2,  # Version
        bits,  # HeaderType: TRACE_HEADER_TYPE_SYSTEM32, SYSTEM64
        0xC0,  # MarkerFlags: TRACE_HEADER_FLAG, TRACE_HEADER_EVENT_TRACE
        0x1A8,  # Size
        0,  # HookId: EventTraceEvent, header
    )
    return buffer_header + event + bytes(100)


def erf(times: list[int], *, kind: int = 2, wire: int = 60) -> bytes:
    """Records of Endace: [ERF types reference]."""
    records = [
        struct.pack("<Q", time)
        + struct.pack(
            ">BBHHH",
            kind,
            4,  # flags
            16 + 2 + wire,  # rlen
            0,  # lctr
            wire,  # wlen
        )
        + bytes(2 + wire)
        for time in times
    ]
    return b"".join(records)


def tar() -> bytes:
    """A tar archive with a capture in it."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.pcap"))
    return made.getvalue()


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"GMBU", "a Network Monitor 2"),
        (b"RTSS", "a Network Monitor 1"),
        (b"snoop\0\0\0", "a snoop"),
        (b"TRSNIFF data    \x1a", "a Sniffer (DOS)"),
        (b"XCP\x00002.000\0", "a Sniffer (Windows)"),
        (b"iptrace 1.0", "an AIX iptrace"),
        (b"iptrace 2.0", "an AIX iptrace"),
        (b"\x7fver", "an OmniPeek"),
        (b"\0\0\2\0\x12\5\0\x10", "a Tektronix K12"),
    ],
)
def test_captures_that_wireshark_converts(tmp_path: Path, head: bytes, name: str) -> None:
    assert foreign.is_capture(head + bytes(100))
    read = read_bytes(tmp_path, head + bytes(100))
    assert read.segments == []
    assert read.error.startswith(f"{tmp_path / 'capture'}: is {name}")
    assert "convert it with `editcap -F pcapng`, or use `--engine tshark`" in read.error


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("5views", "a 5View capture"),
        ("lanalyzer", "a LANalyzer capture"),
        ("netmon1", "a Network Monitor 1 capture"),
        ("netmon2", "a Network Monitor 2 or 3 capture"),
        ("nettl", "an HP-UX nettl capture"),
        ("ngsniffer", "a Sniffer (DOS) capture"),
        ("ngwsniffer_1_1", "a Sniffer (Windows) or NetXRay capture"),
        ("ngwsniffer_2_0", "a Sniffer (Windows) or NetXRay capture"),
        ("observer", "an Observer capture"),
        ("snoop", "a snoop capture"),
        ("visual", "a Visual Networks capture"),
        ("k12text", "a K12 text capture"),
    ],
)
def test_what_editcap_writes(tmp_path: Path, tshark: str, kind: str, name: str) -> None:
    """Wireshark's converter writes these, so its files show how they begin."""
    packets = [Packet(START_NS + n * 1_000_000, ethernet(ipv4(tcp(bytes(50))))) for n in range(5)]
    (tmp_path / "plain").write_bytes(pcap(packets))
    editcap = Path(tshark).with_name("editcap")
    subprocess.run([editcap, "-F", kind, tmp_path / "plain", tmp_path / kind], check=True, capture_output=True)
    head = (tmp_path / kind).read_bytes()[:SNIFF_SIZE]
    assert name in foreign.what_it_is(head, "")
    assert foreign.CONVERT in foreign.what_it_is(head, "gzip")
    assert foreign.is_capture(head) is (kind != "k12text")


@pytest.mark.parametrize("bits", [1, 2])
def test_windows_event_traces(tmp_path: Path, bits: int) -> None:
    """Wireshark reads them on Windows only, by the help of Windows."""
    assert foreign.is_capture(etl(bits=bits))
    error = read_bytes(tmp_path, etl(bits=bits)).error
    assert "is a Windows event trace (ETL), which this engine does not read" in error
    assert "`etl2pcapng`" in error
    assert "`pktmon etl2pcap`" in error


@pytest.mark.parametrize("data", [etl(bits=3), etl(size=0), etl(size=1000), etl()[:79], bytes(200)])
def test_what_is_no_event_trace(data: bytes) -> None:
    assert not foreign.is_capture(data)


@pytest.mark.parametrize(
    ("data", "is_erf"),
    [
        (erf([1 << 62, (1 << 62) + 5]), True),
        (erf([1 << 62]), True),
        (erf([5 << 32, 4 << 32]), False),  # time runs backwards
        (erf([1 << 62], kind=60), False),
        (erf([1 << 62], wire=0), False),
        (b"text that is long enough to be something", False),
        (bytes(100), False),
        (b"", False),
    ],
)
def test_erf(data: bytes, is_erf: bool) -> None:
    """It has no number of its own, so it is only said to seem so, and files of folders are not taken for it."""
    assert ("seems to be an Endace ERF capture" in foreign.what_it_is(data, "")) is is_erf
    assert not foreign.is_capture(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\3\4", "a zip archive: unpack it first"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
        (b"Rar!\x1a\7\0", "a RAR archive: unpack it first"),
        (b"MSCF\0\0\0\0", "a cabinet archive: unpack it first"),
        (b"\x1f\x9d\x90", "data packed with compress: unpack it first"),
        (b"\2\x21\x4c\x18", "lz4 data in its legacy format: unpack it first"),
        (tar(), "a tar archive: unpack it first"),
        (section_header().replace(b"\r\n", b"\n"), "damaged by a text-mode transfer: fetch it again, in binary mode"),
        (section_header().replace(b"\n", b"\r\n"), "damaged by a text-mode transfer: fetch it again, in binary mode"),
    ],
)
def test_what_is_no_capture_itself(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in read_bytes(tmp_path, data + bytes(1000)).error
    assert not foreign.is_capture(data)


def test_what_it_was_inside_of_is_told() -> None:
    assert foreign.what_it_is(b"GMBU", "xz").startswith("is a Network Monitor 2 or 3 capture, inside xz, which")
    assert foreign.what_it_is(b"\x1f\x8b\x08", "gzip") == "is gzip data, inside gzip: unpack it first"
    assert foreign.what_it_is(b"hello", "gzip") == ""


def test_what_is_not_known(tmp_path: Path) -> None:
    begin = f"{tmp_path / 'capture'}: is no capture file: it begins with 68 65 6c 6c 6f"
    assert read_bytes(tmp_path, b"hello").error == f"{begin} at byte 0"
    assert read_bytes(tmp_path, gzip.compress(b"hello", mtime=0)).error == f"{begin}, inside gzip, at byte 0"


@given(head=st.binary(max_size=SNIFF_SIZE))
def test_any_bytes(head: bytes) -> None:
    foreign.what_it_is(head, "")
    foreign.is_capture(head)
