"""The first arguments of requests: stubs that scapy encodes, and any bytes at all."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.msrpce.raw import ms_nrpc, ms_srvs, ms_wkst

from analyzer import knowledge
from analyzer.compiled import Form
from analyzer.rpc import stub as s
from tests import pdus
from tests.pdus import NDR, NDR64, bind, bind_ack, request
from tests.rpc.driving import asked, heard, said, told

SERVER = "\\\\FILES1"
HANDLE = bytes(range(20))

Wanted = tuple[str | None, str | None, int | None]
"""Server, name, level."""

BY_SCAPY: dict[str, tuple[pdus.Syntax, int, type, dict[str, Any], Wanted]] = {
    "NetrServerGetInfo": (
        pdus.SRVSVC,
        21,
        ms_srvs.NetrServerGetInfo_Request,
        {"ServerName": SERVER, "Level": 102},
        ("\\\\FILES1", None, 102),
    ),
    "NetrServerGetInfo, no name": (
        pdus.SRVSVC,
        21,
        ms_srvs.NetrServerGetInfo_Request,
        {"ServerName": None, "Level": 0x01020304},
        (None, None, 0x01020304),
    ),
    "NetrServerGetInfo, empty name": (
        pdus.SRVSVC,
        21,
        ms_srvs.NetrServerGetInfo_Request,
        {"ServerName": "", "Level": 1},
        ("", None, 1),
    ),
    "NetrShareGetInfo": (
        pdus.SRVSVC,
        16,
        ms_srvs.NetrShareGetInfo_Request,
        {"ServerName": SERVER, "NetName": "PUBLIC", "Level": 502},
        ("\\\\FILES1", "PUBLIC", 502),
    ),
    "NetrShareGetInfo, odd sizes": (
        pdus.SRVSVC,
        16,
        ms_srvs.NetrShareGetInfo_Request,
        {"ServerName": "AB", "NetName": "C", "Level": 1},
        ("AB", "C", 1),
    ),
    "NetrServerStatisticsGet": (
        pdus.SRVSVC,
        24,
        ms_srvs.NetrServerStatisticsGet_Request,
        {"ServerName": SERVER, "Service": "SERVICE", "Level": 0, "Options": 9},
        ("\\\\FILES1", None, 0),
    ),
    "NetrWkstaGetInfo": (
        pdus.WKSSVC,
        0,
        ms_wkst.NetrWkstaGetInfo_Request,
        {"ServerName": SERVER, "Level": 100},
        ("\\\\FILES1", None, 100),
    ),
    "NetrServerReqChallenge": (
        pdus.NETLOGON_INTERFACE,
        4,
        ms_nrpc.NetrServerReqChallenge_Request,
        {"PrimaryName": "\\\\DC1", "ComputerName": "WS10"},
        ("\\\\DC1", "WS10", None),
    ),
    "NetrServerAuthenticate3": (
        pdus.NETLOGON_INTERFACE,
        26,
        ms_nrpc.NetrServerAuthenticate3_Request,
        {"PrimaryName": None, "AccountName": "WS10$", "SecureChannelType": 2, "ComputerName": "WS10"},
        (None, "WS10$", None),
    ),
}
"""The wanted values are what stands in the request, and which of them are the server, a name, a level, is in [MS-SRVS],
[MS-WKST] and [MS-NRPC]. Little-endian only: scapy writes wide characters so whatever the byte order."""


@pytest.mark.parametrize("ndr64", [False, True], ids=["NDR", "NDR64"])
@pytest.mark.parametrize("name", BY_SCAPY)
def test_what_scapy_writes(name: str, ndr64: bool, form: Form) -> None:
    interface, opnum, kind, fields, wanted = BY_SCAPY[name]
    data = bytes(kind(ndr64=ndr64, **fields))
    transfer = NDR64 if ndr64 else NDR
    talk = heard(
        form,
        asked(bind((0, interface, [transfer]))),
        said(bind_ack((0, 0, transfer))),
        asked(request(opnum, data)),
    )
    assert told(talk.calls, "server", "name", "level") == [wanted]
    known = {(row["uuid"], row["opnum"]): row["name"] for row in knowledge.rpc_operations()}
    assert known[interface[0], str(opnum)] == name.partition(",")[0]


@pytest.mark.parametrize("word", ["I", "Q"], ids=["NDR", "NDR64"])
@pytest.mark.parametrize("server", ["\\\\FILES1", "", None])
def test_big_endian(server: str | None, word: str, form: Form) -> None:
    """Numbers and wide characters are in the sender's byte order. [C706 14.1, 14.2.5]"""
    transfer = NDR64 if word == "Q" else NDR
    stub = pdus.server_info(server, 0x01020304, big=True, word=word)
    talk = heard(
        form,
        asked(bind((0, pdus.SRVSVC, [transfer]), big=True)),
        said(bind_ack((0, 0, transfer), big=True)),
        asked(request(21, stub, big=True)),
    )
    assert told(talk.calls, "transfer", "server", "level") == [("ndr64" if word == "Q" else "ndr", server, 0x01020304)]


def test_scapy_can_write_other_pointers() -> None:
    """So that `None` above is a null pointer, and not what scapy makes of a missing value."""
    data = bytes(ms_srvs.NetrServerGetInfo_Request(ServerName=None, Level=7, ndr64=False))
    assert data == struct.pack("<II", 0, 7)


@pytest.mark.parametrize("kept", range(0, 52))
def test_stub_that_is_cut(kept: int, form: Form) -> None:
    """A name is read if it is all there, a level if it is; nothing behind the end."""
    data = pdus.server_info("\\\\FILES1", 101)
    assert len(data) == 40
    question = request(21, data)
    talk = heard(
        form,
        asked(bind(pdus.SRVSVC)),
        asked(question[: 24 + min(kept, 40)], bytes_=len(question)),
    )
    assert told(talk.calls, "opnum", "server", "level") == [
        (21, "\\\\FILES1" if kept >= 34 else None, 101 if kept >= 40 else None)
    ]


@pytest.mark.parametrize("ndr64", [False, True], ids=["NDR", "NDR64"])
@pytest.mark.parametrize("name", ["CORP", "X", ""])
def test_unicode_strings(name: str, ndr64: bool, form: Form) -> None:
    """SamrLookupDomainInSamServer: a handle, then a RPC_UNICODE_STRING. [MS-SAMR 3.1.5.11.1]"""
    transfer = NDR64 if ndr64 else NDR
    stub = (HANDLE + bytes(4) if ndr64 else HANDLE) + pdus.unicode_string(name, word="Q" if ndr64 else "I")
    talk = heard(form, asked(bind((0, pdus.SAMR, [transfer]))), asked(request(5, stub)))
    assert told(talk.calls, "opnum", "name") == [(5, name)]


def test_pointer_to_a_text_only(form: Form) -> None:
    """SamrConnect5 tells whom it asks. [MS-SAMR 3.1.5.1.1]"""
    talk = heard(form, asked(bind(pdus.SAMR)), asked(request(64, pdus.pointed("\\\\DC1") + bytes(20))))
    assert told(talk.calls, "opnum", "server", "name") == [(64, "\\\\DC1", None)]


def test_handles_and_levels_of_two_bytes(form: Form) -> None:
    """SamrQueryInformationDomain: a handle, then an enumeration of 16 bits. [MS-SAMR 3.1.5.5.2]"""
    stub = HANDLE + struct.pack("<H", 0x0201)
    talk = heard(form, asked(bind(pdus.SAMR)), asked(request(8, stub)))
    assert told(talk.calls, "opnum", "level", "name") == [(8, 0x0201, None)]


def read(
    data: bytes, letters: str, *, stub: int = 0, end: int | None = None, big: int = 0, ndr64: int = 0
) -> list[int]:
    """What `read_arguments` finds, in its plain form, which notices reads behind the end."""
    found = np.full(s.A_WIDTH + 3, 77, dtype=np.int64)
    octets = np.frombuffer(data, dtype=np.uint8)
    s.read_arguments(
        octets.data, stub, len(data) if end is None else end, big, ndr64, s.pack_letters(letters), found.data, 3
    )
    assert found[:3].tolist() == [77] * 3
    return found[3:].tolist()


LETTERS = "UuWwpSshlL124"


@given(
    st.binary(max_size=120),
    st.text(LETTERS, max_size=s.LETTERS),
    st.integers(0, 30),
    st.booleans(),
    st.booleans(),
)
def test_any_bytes(data: bytes, letters: str, stub: int, big: bool, ndr64: bool) -> None:
    stub = min(stub, len(data))
    found = read(data, letters, stub=stub, big=int(big), ndr64=int(ndr64))
    for at, size in ((s.A_SERVER_AT, s.A_SERVER_SIZE), (s.A_NAME_AT, s.A_NAME_SIZE)):
        if found[size] >= 0:
            assert stub <= found[at] <= found[at] + found[size] <= len(data)
            assert found[size] <= s.LONGEST_TEXT
    assert -1 <= found[s.A_LEVEL] < 1 << 32


SMALL = st.sampled_from([b"\0\0\0\0", b"\1\0\0\0", b"\2\0\0\0", b"\x10\0\0\0", b"\xff\xff\xff\xff", b"A\0", b"\0\0"])


@given(st.lists(SMALL, max_size=30), st.text(LETTERS, min_size=1, max_size=s.LETTERS), st.booleans(), st.booleans())
def test_small_counts(parts: list[bytes], letters: str, big: bool, ndr64: bool) -> None:
    """Bytes that lead further than any bytes do."""
    read(b"".join(parts), letters, big=int(big), ndr64=int(ndr64))


def test_end_before_the_end_of_the_bytes() -> None:
    """As where a security trailer begins: a level behind it is none."""
    data = pdus.server_info("\\\\FILES1", 101)
    assert read(data, "UL")[s.A_LEVEL] == 101
    assert read(data, "UL", end=39)[s.A_LEVEL] == -1
    assert read(data, "UL", end=34)[s.A_SERVER_SIZE] == 16
    assert read(data, "UL", end=33)[s.A_SERVER_SIZE] == -1


def test_text_without_a_nul() -> None:
    data = pdus.packed(("referent", "I", 1)) + pdus.wide("AB", end="")
    assert read(data, "U")[s.A_SERVER_SIZE] == 4


def test_letters() -> None:
    """The letters of the knowledge tables are those that are read, and none is left out."""
    used = {row["arguments"] for row in knowledge.rpc_operations()}
    assert set("".join(used)) <= set(LETTERS)
    assert all(len(letters) <= s.LETTERS for letters in used)
    assert s.pack_letters("UL") == ord("U") | ord("L") << 8
