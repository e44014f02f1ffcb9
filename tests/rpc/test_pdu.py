"""Headers, identifiers, and where things are in a PDU; and PDUs that scapy encodes."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dcerpc import (
    CommonAuthVerifier,
    DceRpc5,
    DceRpc5AbstractSyntax,
    DceRpc5AlterContext,
    DceRpc5AlterContextResp,
    DceRpc5Bind,
    DceRpc5BindAck,
    DceRpc5BindNak,
    DceRpc5Context,
    DceRpc5Fault,
    DceRpc5PortAny,
    DceRpc5Request,
    DceRpc5Response,
    DceRpc5Result,
    DceRpc5TransferSyntax,
)
from scapy.packet import Packet, Raw

from analyzer.compiled import Form
from analyzer.rpc import pdu
from tests import pdus
from tests.rpc.driving import asked, heard, said, told


def octets(data: bytes) -> memoryview:
    """As the plain kernels take bytes: reads behind their end are noticed."""
    return np.frombuffer(data, dtype=np.uint8).data


def test_header_has_the_documents_size() -> None:
    assert pdu.HEADER_SIZE == 16  # [C706 12.6.3.1]
    assert (
        dict(zip(pdu.HEADER.dtype.names or (), (pdu.HEADER.dtype.fields or {}).values(), strict=True))["call_id"][1]
        == 12
    )


GOOD = pdus.request(1, bytes(10))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("kind", range(20))
def test_length_of_all_kinds(kind: int, minor: int, big: bool) -> None:
    data = b"\xaa" + pdus.pdu(kind, bytes(20), big=big, minor=minor)
    assert pdu.pdu_length(octets(data), 1) == 36
    assert pdu.is_big(octets(data), 1) == int(big)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 4),
        (1, 2),
        (2, 20),
        (4, 0x20),
        (4, 0x12),
        (5, 4),
        (6, 1),
        (7, 1),
        (8, 15),
        (10, 11),  # a trailer that would begin in the header
    ],
)
def test_what_is_no_header(at: int, value: int) -> None:
    data = bytearray(GOOD)
    data[at] = value
    assert pdu.pdu_length(octets(GOOD), 0) == len(GOOD)
    assert pdu.pdu_length(octets(bytes(data)), 0) == 0


@pytest.mark.parametrize("order", [0x11, 0x01, 0x10, 0x00])
def test_ebcdic_is_no_reason(order: int) -> None:
    """Characters are ASCII or EBCDIC: no matter for numbers. [C706 14.1]"""
    data = bytearray(pdus.request(1, big=not order & 0x10))
    data[4] = order
    assert pdu.pdu_length(octets(bytes(data)), 0) == 24


@given(st.binary(min_size=16, max_size=40))
def test_any_header(data: bytes) -> None:
    length = pdu.pdu_length(octets(data[:16]), 0)
    assert length == 0 or 16 <= length <= 0xFFFF
    if data[0] != 5:
        assert length == 0


@given(st.uuids(), st.booleans())
def test_uuid(uuid: UUID, big: bool) -> None:
    """Its first half is three numbers in the sender's order; the second is bytes. [C706 A]"""
    data = uuid.bytes if big else uuid.bytes_le
    first = pdu.uuid_first(octets(data), 0, int(big))
    assert first == int.from_bytes(uuid.bytes_le[:8], "little", signed=True)


@given(st.integers(0, 5000), st.integers(0, 40), st.integers(0, 5000))
def test_places(offset: int, size: int, have: int) -> None:
    """Of a long PDU head and tail are kept: a place is either right or none. Compared with keeping it literally."""
    whole = [n % 251 for n in range(have)]
    room = pdu.HEAD + pdu.TAIL
    shift = max(0, have - room)
    kept = whole if not shift else whole[: pdu.HEAD] + whole[-pdu.TAIL :]
    place = pdu.place_of(offset, size, have, shift)
    if place < 0:
        is_there = offset + size <= have and (not shift or offset + size <= pdu.HEAD or offset >= have - pdu.TAIL)
        assert not is_there
    else:
        assert kept[place : place + size] == whole[offset : offset + size]
        assert place + size <= len(kept)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("pad", [0, 8])
def test_trailer(pad: int, big: bool) -> None:
    data = pdus.request(1, bytes(40), auth=(10, 5, pad), big=big)
    found = pdu.trailer_of(octets(data), 0, len(data), len(data), 0, int(big))
    assert found == 24 + 40 + pad
    assert data[found] == 10
    assert pdu.trailer_of(octets(data), 0, len(data), found + 8, 0, int(big)) == found
    assert pdu.trailer_of(octets(data), 0, len(data), found + 7, 0, int(big)) == -1
    assert pdu.trailer_of(octets(GOOD), 0, len(GOOD), len(GOOD), 0, 0) == 0


# An independent encoder. #

SRVSVC = UUID(pdus.SRVSVC[0])
NDR, NDR64 = UUID(pdus.NDR[0]), UUID(pdus.NDR64[0])


def scapy_bind(kind: type[Packet], endian: str, **header: object) -> bytes:
    """bind or alter_context for srvsvc, in NDR and NDR64."""
    contexts = [
        DceRpc5Context(
            cont_id=number,
            abstract_syntax=DceRpc5AbstractSyntax(if_uuid=SRVSVC, if_version=3),
            transfer_syntaxes=[DceRpc5TransferSyntax(if_uuid=syntax, if_version=version)],
        )
        for number, syntax, version in ((0, NDR, 2), (1, NDR64, 1))
    ]
    return bytes(DceRpc5(endian=endian, **header) / kind(context_elem=contexts))


def scapy_ack(kind: type[Packet], endian: str, **header: object) -> bytes:
    """Its answer: the first is refused, the second accepted."""
    results = [
        DceRpc5Result(result=2, reason=2, transfer_syntax=DceRpc5TransferSyntax(if_uuid=UUID(int=0), if_version=0)),
        DceRpc5Result(result=0, reason=0, transfer_syntax=DceRpc5TransferSyntax(if_uuid=NDR64, if_version=1)),
    ]
    address = DceRpc5PortAny(port_spec=b"\\PIPE\\srvsvc\0")
    return bytes(DceRpc5(endian=endian, **header) / kind(sec_addr=address, results=results))


@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize(
    "kinds", [(DceRpc5Bind, DceRpc5BindAck), (DceRpc5AlterContext, DceRpc5AlterContextResp)], ids=["bind", "alter"]
)
def test_bind_by_scapy(kinds: tuple[type[Packet], type[Packet]], endian: str, form: Form) -> None:
    talk = heard(form, asked(scapy_bind(kinds[0], endian, call_id=7)), said(scapy_ack(kinds[1], endian, call_id=7)))
    assert sorted(told(talk.binds, "context", "interface", "transfer", "result", "code", "name", "call_id")) == [
        (0, "srvsvc", "ndr", "refused", 0x00020002, "\\PIPE\\srvsvc", 7),
        (1, "srvsvc", "ndr64", "done", 0, "\\PIPE\\srvsvc", 7),
    ]


@pytest.mark.parametrize("endian", ["little", "big"])
def test_call_by_scapy(endian: str, form: Form) -> None:
    stub, answer = bytes(range(40)), (0x80070005).to_bytes(4, endian)  # type: ignore[arg-type]
    talk = heard(
        form,
        asked(scapy_bind(DceRpc5Bind, endian)),
        said(scapy_ack(DceRpc5BindAck, endian)),
        asked(bytes(DceRpc5(endian=endian, call_id=8) / DceRpc5Request(cont_id=1, opnum=39) / Raw(stub))),
        said(bytes(DceRpc5(endian=endian, call_id=8) / DceRpc5Response(cont_id=1) / Raw(bytes(9 * 4) + answer))),
        asked(bytes(DceRpc5(endian=endian, call_id=9) / DceRpc5Request(cont_id=1, opnum=40) / Raw(stub))),
        said(bytes(DceRpc5(endian=endian, call_id=9) / DceRpc5Fault(cont_id=1, status=0x1C010003))),
        asked(
            bytes(
                DceRpc5(endian=endian, call_id=10) / DceRpc5Request(cont_id=1, opnum=41, object=UUID(int=5)) / Raw(stub)
            )
        ),
    )
    assert told(talk.calls, "call_id", "interface", "opnum", "result", "code") == [
        (8, "srvsvc", 39, "done", 0x80070005),
        (9, "srvsvc", 40, "fault", 0x1C010003),
        (10, "srvsvc", 41, "none", None),
    ]


@pytest.mark.parametrize("endian", ["little", "big"])
def test_bind_nak_by_scapy(endian: str, form: Form) -> None:
    talk = heard(
        form,
        asked(scapy_bind(DceRpc5Bind, endian, call_id=3)),
        said(bytes(DceRpc5(endian=endian, call_id=3) / DceRpc5BindNak(provider_reject_reason=8))),
    )
    assert told(talk.binds, "result", "code") == [("nak", 8)] * 2


@pytest.mark.parametrize("endian", ["little", "big"])
def test_trailer_by_scapy(endian: str, form: Form) -> None:
    verifier = CommonAuthVerifier(auth_type=68, auth_level=5, auth_pad_length=4, auth_value=bytes(16))
    answer = bytes(8) + (0xC0000022).to_bytes(4, endian) + bytes(4)  # type: ignore[arg-type]
    talk = heard(
        form,
        asked(scapy_bind(DceRpc5Bind, endian)),
        asked(bytes(DceRpc5(endian=endian, call_id=8) / DceRpc5Request(cont_id=0, opnum=1) / Raw(bytes(8)))),
        said(bytes(DceRpc5(endian=endian, call_id=8, auth_verifier=verifier) / DceRpc5Response() / Raw(answer))),
    )
    assert told(talk.calls, "opnum", "result", "code") == [(1, "done", 0xC0000022)]
