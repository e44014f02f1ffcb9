"""Layers of security blobs in scapy's way: scapy's own, with what is inside of them left as bytes.

In scapy's layers a token is dissected down to its last name and time, twice where it is read once more for itself, and an
error in it costs all that is around it.
"""

# ruff: noqa: RUF012 - this is how scapy's layers are written

from __future__ import annotations

from typing import Any

from scapy.asn1.asn1 import ASN1_Codecs
from scapy.asn1fields import (
    ASN1F_CHOICE,
    ASN1F_OID,
    ASN1F_PACKET,
    ASN1F_SEQUENCE,
    ASN1F_SEQUENCE_OF,
    ASN1F_STRING,
    ASN1F_optional,
)
from scapy.asn1packet import ASN1_Packet
from scapy.fields import StrField
from scapy.layers.gssapi import ASN1F_GSSAPI_APPLICATION, GSSAPI_BLOB
from scapy.layers.ntlm import NTLM_AUTHENTICATE, NTLM_CHALLENGE, NTLM_NEGOTIATE, NTLM_VARIANT, NTLM_Header
from scapy.layers.spnego import SPNEGO_negTokenInit, SPNEGO_negTokenResp
from scapy.packet import Packet

from analyzer.engines.scapy_layers import plain

SPNEGO_OID = "1.3.6.1.5.5.2"
NTLM_OID = "1.3.6.1.4.1.311.2.2.10"
KERBEROS_OIDS = ("1.2.840.113554.1.2.2", "1.2.840.48018.1.2.2", "1.2.840.113554.1.2.2.3", "1.3.6.1.5.2.5")

BER: Any = ASN1_Codecs.BER


def _tokens_as_bytes(layer: Any) -> list[Any]:
    """The fields of one of SPNEGO's sequences, with tokens and mechanisms as no more than ASN.1 says of them.

    What is no signature where one should be is still found out: it may be a token.
    """
    fields: list[Any] = []
    for one in layer.ASN1_root.seq:
        tag = one.explicit_tag
        if one.name in ("mechToken", "responseToken"):
            fields.append(ASN1F_optional(ASN1F_STRING(one.name, None, explicit_tag=tag)))
        elif one.name == "mechTypes":
            fields.append(ASN1F_optional(ASN1F_SEQUENCE_OF(one.name, None, ASN1F_OID, explicit_tag=tag)))
        elif one.name == "supportedMech":
            fields.append(ASN1F_optional(ASN1F_OID(one.name, None, explicit_tag=tag)))
        else:
            fields.append(one)
    return fields


class NegTokenInit(ASN1_Packet):
    name = "SPNEGO NegTokenInit, the token as bytes"
    ASN1_codec = BER
    ASN1_root = ASN1F_SEQUENCE(*_tokens_as_bytes(SPNEGO_negTokenInit))


class NegTokenResp(ASN1_Packet):
    name = "SPNEGO NegTokenResp, the token as bytes"
    ASN1_codec = BER
    ASN1_root = ASN1F_SEQUENCE(*_tokens_as_bytes(SPNEGO_negTokenResp))


class NegToken(ASN1_Packet):
    name = "SPNEGO NegotiationToken"
    ASN1_codec = BER
    ASN1_root = ASN1F_CHOICE(
        "token",
        NegTokenInit(),
        ASN1F_PACKET("negTokenInit", NegTokenInit(), NegTokenInit, explicit_tag=0xA0),
        ASN1F_PACKET("negTokenResp", NegTokenResp(), NegTokenResp, explicit_tag=0xA1),
    )


class Opaque(Packet):
    name = "bytes"
    fields_desc = [StrField("load", b"")]


def _mechanism(pkt: Any) -> Any:
    """The layer of what follows the object identifier of a GSSAPI token."""
    oid = pkt.MechType.val
    if oid == SPNEGO_OID:
        return NegToken
    return Opaque if oid in KERBEROS_OIDS else GSSAPI_BLOB.ASN1_root.seq[1].next_cls_cb(pkt)


class GssapiBlob(ASN1_Packet):
    """[RFC 2743 3.1] What Kerberos has in it stays bytes."""

    name = "GSSAPI token"
    ASN1_codec = BER
    ASN1_root = ASN1F_GSSAPI_APPLICATION(
        GSSAPI_BLOB.ASN1_root.seq[0],
        ASN1F_PACKET("innerToken", None, NegToken, next_cls_cb=_mechanism),
    )


class _Ntlm(Packet):
    """An NTLMSSP message without its payload: of the places of names that is all that is read of scapy's layers."""

    VARIANT = NTLM_VARIANT.RECENT
    """What the conditions of scapy's fields ask for."""
    fields_desc = NTLM_Header.fields_desc


class NtlmNegotiate(_Ntlm):
    name = "NTLM NEGOTIATE_MESSAGE, fixed part"
    fields_desc = plain(NTLM_NEGOTIATE.fields_desc[:-1])


class NtlmChallenge(_Ntlm):
    name = "NTLM CHALLENGE_MESSAGE, fixed part"
    fields_desc = plain(NTLM_CHALLENGE.fields_desc[:-1])


class NtlmAuthenticate(_Ntlm):
    name = "NTLM AUTHENTICATE_MESSAGE, fixed part"
    fields_desc = plain(NTLM_AUTHENTICATE.fields_desc[:-1])
