"""What is read of headers and security blobs field by field, against scapy's own dissection of the whole."""

from __future__ import annotations

import random
from typing import Any

import pytest
from scapy.fields import FlagValue
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.ntlm import NTLM_AUTHENTICATE, NTLM_NEGOTIATE
from scapy.layers.smb import SMB_Header
from scapy.layers.smb2 import SMB2_Close_Request, SMB2_Header

from analyzer.engines import scapy_blobs, scapy_layers
from analyzer.engines.scapy_layers import flag, reader
from analyzer.engines.scapy_packets import _plain_tcp
from analyzer.engines.scapy_tokens import nameless_oids, read_token
from analyzer.records import TokenKind
from analyzer.wire.texts import Texts

PAIRS = [
    (scapy_layers.IPv6Header, IPv6, b"", 40),
    (scapy_layers.TcpHeader, TCP, b"", 20),
    (scapy_layers.Smb1Header, SMB_Header, b"\xffSMB", 32),
    (scapy_layers.CloseRequest, SMB2_Close_Request, b"\x18\0", 24),
]
ANONYMOUS = bytes(NTLM_AUTHENTICATE(LmChallengeResponseLen=0, NtChallengeResponseLen=0))


def number(value: Any) -> Any:
    return int(value) if isinstance(value, FlagValue) else value


@pytest.mark.parametrize(("layer", "whole", "begin", "size"), PAIRS)
def test_fields_are_those_of_scapy(layer: Any, whole: Any, begin: bytes, size: int) -> None:
    numbers = random.Random(size)
    for _ in range(200):
        data = begin + numbers.randbytes(size - len(begin))
        if whole is TCP:
            data = data[:12] + b"\x50" + data[13:]
        packet = whole(data)
        values = {name: number(value) for name, value in packet.fields.items()}
        if "FileId" in values:
            values |= values.pop("FileId").fields
        assert {name: values[name] for name in reader(layer)(data)} == dict(reader(layer)(data))


@pytest.mark.parametrize("is_async", [False, True])
def test_an_smb2_header_is_read_in_its_synchronous_form(is_async: bool) -> None:
    numbers = random.Random(1)
    bit = flag(SMB2_Header, "Flags", "SMB2_FLAGS_ASYNC_COMMAND")
    assert bit == 2  # [MS-SMB2] 2.2.1
    for _ in range(200):
        data = b"\xfeSMB" + numbers.randbytes(12) + (bit * is_async).to_bytes(4, "little") + numbers.randbytes(44)
        whole, fields = SMB2_Header(data), reader(scapy_layers.Smb2Header)(data)
        halves = fields.PID | fields.TID << 32
        assert halves == whole.AsyncId if is_async else (fields.PID, fields.TID) == (whole.PID, whole.TID)
        assert (fields.MID, fields.SessionId, fields.Command) == (whole.MID, whole.SessionId, whole.Command)


def test_what_is_behind_a_layer_is_not_looked_at() -> None:
    body = bytes.fromhex("1900 00 01 01000000 00000000 5800 0a00 0000000000000000") + b"x" * 10  # [MS-SMB2] 2.2.5
    fields = reader(scapy_layers.SessionSetupRequest)(body)
    assert (fields.SecurityBlobBufferOffset, fields.SecurityBlobLen) == (0x58, 10)
    with pytest.raises(AttributeError):
        fields.Buffer  # noqa: B018


@pytest.mark.parametrize("network", [IP(src="10.0.0.1", dst="10.0.0.2"), IPv6(src="fe80::1", dst="fe80::2")])
def test_a_plain_packet_is_read_header_by_header(network: Any) -> None:
    is_ipv4 = isinstance(network, IP)
    whole = bytes(network / TCP(sport=1025, dport=445, seq=7, options=[("MSS", 1460)]) / b"payload")
    found = _plain_tcp(is_ipv4, whole + b"padding")
    assert found is not None
    ends, _, tcp, packet, total = found
    assert ends == (network.src, network.dst)
    assert (tcp["sport"], tcp["dport"], tcp["seq"], tcp["dataofs"]) == (1025, 445, 7, 6)
    assert packet[24:] == b"payload"
    assert total == 31
    assert _plain_tcp(is_ipv4, whole[:-9]) is None  # cut inside the headers of TCP
    if is_ipv4:
        assert _plain_tcp(True, bytes(IP(flags="MF") / TCP())) is None
        assert _plain_tcp(True, bytes(IP(options=b"\1\1\1\1") / TCP())) is None


@pytest.mark.parametrize("tag", [0xA2, 0xA3])
def test_a_token_in_the_place_of_the_signature_is_found(tag: int) -> None:
    """[RFC 4178] 4.2.2: [2] is responseToken, [3] mechListMIC."""
    token = bytes(NTLM_NEGOTIATE())
    inner = b"\x04" + bytes([len(token)]) + token
    sequence = bytes([tag, len(inner)]) + inner
    sequence = b"\x30" + bytes([len(sequence)]) + sequence
    blob = b"\xa1" + bytes([len(sequence)]) + sequence
    with nameless_oids():
        assert read_token(blob, False, Texts())["kind"] == TokenKind.NTLM_NEGOTIATE


def test_ntlm_is_read_up_to_its_payload() -> None:
    fields, whole = reader(scapy_blobs.NtlmAuthenticate)(ANONYMOUS), NTLM_AUTHENTICATE(ANONYMOUS)
    assert fields.NegotiateFlags == int(whole.NegotiateFlags)
    assert fields.UserNameBufferOffset == whole.UserNameBufferOffset
    assert "Payload" not in fields
