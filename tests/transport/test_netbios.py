"""What stands in front of each message, and names."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.errors import DecodeError
from analyzer.transport import netbios
from tests.build import ECHO, RESPONSE, framed, netbios_name, session_request, smb1, smb1_negotiate, smb2

SMB2 = smb2(ECHO, bytes(4))


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (0x00, "SESSION_MESSAGE"),
        (0x81, "SESSION_REQUEST"),
        (0x82, "POSITIVE_RESPONSE"),
        (0x83, "NEGATIVE_RESPONSE"),
        (0x84, "RETARGET_RESPONSE"),
        (0x85, "KEEP_ALIVE"),
        (0x86, "UNKNOWN_0x86"),
    ],
)
def test_packet_types(code: int, name: str) -> None:
    """[RFC 1002 4.3.1]"""
    assert netbios.PacketType(code).name == name


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("00 000000", 4),
        ("00 000040", 4 + 0x40),
        ("00 01ffff", 4 + 0x1FFFF),  # the longest on port 139: 17 bits
        ("00 ffffff", 4 + 0xFFFFFF),  # the longest on port 445: 24 bits
        ("81 000044", 4 + 68),
        ("82 000000", 4),
        ("83 000001", 5),
        ("84 000006", 10),
        ("85 000000", 4),
        ("81 010000", -1),  # 64 KB of names are not believed
        ("81 020044", -1),  # unknown flags
        ("80 000000", -1),
        ("86 000000", -1),
        ("ff 534d42", -1),
        ("01 000000", -1),
    ],
)
def test_sizes(header: str, size: int) -> None:
    assert netbios.packet_size(memoryview(b"?" + bytes.fromhex(header)), 1) == size


@given(st.integers(0, 0xFFFFFF))
def test_size_of_any_message(size: int) -> None:
    assert netbios.packet_size(memoryview(struct.pack(">I", size)), 0) == 4 + size


def test_names_of_a_session_request() -> None:
    assert netbios.parse_names(session_request("*SMBSERVER", "CLIENT")) == ("*SMBSERVER", "CLIENT")


def test_a_handmade_session_request() -> None:
    """[RFC 1001 14.1] Half-ASCII: "FRED" and eleven blanks, suffix 20."""
    request = bytes.fromhex("81 000044")
    request += b"\x20EGFCEFEECACACACACACACACACACACACA\x00"
    request += b"\x20EGFCEFEECACACACACACACACACACACAAA\x00"
    assert netbios.parse_names(request) == ("FRED", "FRED")


def test_names_with_a_scope() -> None:
    names = [netbios_name(name, suffix)[:-1] + b"\x07NETBIOS\x03COM\x00" for name, suffix in (("SRV", 0x20), ("PC", 0))]
    body = b"".join(names)
    assert netbios.parse_names(b"\x81\x00" + struct.pack(">H", len(body)) + body) == ("SRV", "PC")


def test_names_with_other_letters_and_blanks_inside() -> None:
    assert netbios.parse_names(session_request("B\xc4R SRV", "192.168.1.1")) == ("B\xc4R SRV", "192.168.1.1")


@pytest.mark.parametrize(
    "request_",
    [
        b"\x81\0\0\0",
        session_request("A", "B")[:40],
        session_request("A", "B").replace(b"EB", b"Eb", 1),
        b"\x81\0\0\x44\x10" + session_request("A", "B")[5:],
    ],
    ids=["no names", "one name", "no letter", "other length"],
)
def test_names_that_are_none(request_: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        netbios.parse_names(request_)
    assert caught.value.layer == "netbios"


@given(st.binary(max_size=90))
def test_any_bytes_are_names_or_an_error(data: bytes) -> None:
    try:
        called, calling = netbios.parse_names(b"\x81\0\0\x44" + data)
    except DecodeError:
        return
    assert len(called) <= 15
    assert len(calling) <= 15


@given(st.integers(0, 80))
def test_a_cut_request_is_names_or_an_error(size: int) -> None:
    whole = session_request("CALLED", "CALLING")
    if size >= len(whole):
        assert netbios.parse_names(whole) == ("CALLED", "CALLING")
        return
    try:
        assert netbios.parse_names(whole[:size]) == ("CALLED", "CALLING")
    except DecodeError:
        assert size < len(whole)


# Looking for the next message.


def seek(data: bytes, *, from_server: int = 0, at: int = 0) -> int:
    """Where the next believable message begins in `data`; what lies behind it must not matter."""
    views = [memoryview(data + behind * 80) for behind in (b"\0", b"S", b"\xff")]
    places = [netbios.seek_message(view, at, len(data), from_server) for view in views]
    assert len(set(places)) == 1
    return places[0]


@pytest.mark.parametrize("before", [b"", b"x", b"\0" * 9, b"\xfeSMB", b"\0\0\0", b"some text that is no message"])
def test_a_message_behind_something_else(before: bytes) -> None:
    assert seek(before + framed(SMB2)) == len(before)
    assert seek(before + framed(smb1(smb1_negotiate()))) == len(before)
    assert seek(before + framed(b"\xfdSMB" + bytes(60))) == len(before)
    assert seek(before + framed(b"\xfcSMB" + bytes(60))) == len(before)


def test_the_direction_of_the_stream_must_fit() -> None:
    answer = framed(smb2(ECHO, bytes(4), flags=RESPONSE))
    assert seek(answer, from_server=1) == 0
    assert seek(answer, from_server=0) == -1
    assert seek(framed(SMB2), from_server=1) == -1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0\x40\xfeSM",
        b"\0\0\0\x3f" + SMB2,  # shorter than a header
        b"\x81\0\0\x40" + SMB2,
        b"\0\0\0\x40" + b"\xfaSMB" + SMB2[4:],
        b"\0\0\0\x40" + SMB2[:4] + b"\x41" + SMB2[5:],  # StructureSize is not 64
        b"\0\0\0\x40" + SMB2[:12] + b"\x14" + SMB2[13:],  # no such command
        b"\0\0\0\x22" + smb1(smb1_negotiate()),
        b"\0\0\0\x0f" + b"\xfdSMB" + bytes(60),
    ],
    ids=["nothing", "7 bytes", "too short", "other type", "FA", "structure size", "command", "short SMB 1", "short FD"],
)
def test_what_is_not_believed(data: bytes) -> None:
    assert seek(data) == -1


def test_a_message_of_which_only_the_beginning_is_there() -> None:
    whole = framed(SMB2)
    for size in range(8, len(whole)):
        assert seek(b"..." + whole[:size]) == 3


def test_begins_at_the_place_given() -> None:
    data = framed(SMB2) + framed(SMB2)
    assert seek(data, at=1) == len(framed(SMB2))


@given(data=st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    found = seek(data)
    assert found == -1 or data[found : found + 1] == b"\0"
