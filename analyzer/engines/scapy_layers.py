"""Layers in scapy's way, for what scapy has none for, or whose faults would cost sessions.

SMB 1: scapy has the header, NEGOTIATE, SESSION_SETUP_ANDX, TREE_CONNECT_ANDX requests and TRANSACTION. Of these the header
and the dialects are used. The others are not: they have no form of ten words (LAN Manager), read strings past ByteCount,
pad names of OEM messages, take the name of a transaction for OEM always (so all offsets behind a Unicode name are wrong),
and read fields of another message behind the answer to a session setup.

SMB 2: scapy's bodies, with the parts left as bytes that have structures of their own (security blob, contexts, names,
data): in scapy's classes an error in such a part makes the whole body `Raw`, and the claim of a login would be lost.
"""

# ruff: noqa: RUF012 - this is how scapy's layers are written

from __future__ import annotations

from functools import cache
from typing import Any

from scapy.fields import (
    BitField,
    ByteField,
    ConditionalField,
    Emph,
    FieldListField,
    FlagsField,
    LEIntField,
    LELongField,
    LEShortField,
    PacketField,
    StrFixedLenField,
    StrLenField,
    XLEIntField,
    XLELongField,
    XLEShortField,
)
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.smb import SMB_Header
from scapy.layers.smb2 import (
    SMB2_FILEID,
    SMB2_Close_Request,
    SMB2_Create_Request,
    SMB2_Create_Response,
    SMB2_Header,
    SMB2_IOCTL_Request,
    SMB2_IOCTL_Response,
    SMB2_Negotiate_Protocol_Request,
    SMB2_Negotiate_Protocol_Response,
    SMB2_Read_Request,
    SMB2_Read_Response,
    SMB2_Session_Setup_Request,
    SMB2_Session_Setup_Response,
    SMB2_Tree_Connect_Request,
    SMB2_Tree_Connect_Response,
    SMB2_Write_Request,
)
from scapy.packet import Packet


class Fields(dict[str, Any]):
    """Values of fields by name, which can be asked for like attributes. One that is not there raises AttributeError."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Reader:
    """Reads the fields of a layer, by scapy's fields and with one packet that is filled again and again.

    Making a packet and what is behind its layer is most of scapy's work, and here only the fields are wanted. What is
    behind the layer's fields is not looked at. Called with bytes; raises whatever the layer's fields raise.
    """

    def __init__(self, layer: Any) -> None:
        self._packet: Any = layer()
        fields = layer.fields_desc
        varies = any(isinstance(field, (StrLenField, FieldListField)) or field.isconditional for field in fields)
        self._size = None if varies else sum(int(field.sz * 8) for field in fields) // 8
        """Bytes of the fields: each takes what it needs, and the rest is copied."""

    def __call__(self, data: bytes) -> Fields:
        packet = self._packet
        packet.original = data
        fields = packet.fields = Fields()
        if data:
            packet.do_dissect(data[: self._size])
        else:
            fields.update(packet.default_fields)  # as a packet that is made of nothing has them
        return fields


@cache
def reader(layer: Any) -> Reader:
    """What reads a layer."""
    return Reader(layer)


def flag(layer: Any, field: str, name: str) -> int:
    """The bit that scapy calls so."""
    names: list[str] = next(one for one in layer.fields_desc if one.name == field).names
    return 1 << names.index(name)


def plain(fields: list[Any]) -> list[Any]:
    """Fields without what scapy makes objects of: flags, of which it also makes a copy, as numbers, and a file id as its
    two fields."""
    plain: list[Any] = []
    for field in fields:
        one = field.fld if isinstance(field, Emph) else field
        if isinstance(one, FlagsField):
            plain.append(BitField(one.name, 0, -one.size if one.rev else one.size))
        elif isinstance(one, PacketField) and one.cls is SMB2_FILEID:
            plain += SMB2_FILEID.fields_desc
        else:
            plain.append(one)
    return plain


class IPv4Header(Packet):
    name = "IPv4 header without options"
    fields_desc = plain(IP.fields_desc[:-1])


class IPv6Header(Packet):
    name = "IPv6 header"
    fields_desc = plain(IPv6.fields_desc)


class TcpHeader(Packet):
    name = "TCP header without options"
    fields_desc = plain(TCP.fields_desc[:-1])


def _fixed_part(layer: type) -> list[Any]:
    """The fields of one of scapy's SMB 2 bodies without `Buffer`, which is last."""
    fields: list[Any] = layer.fields_desc  # type: ignore[attr-defined]
    assert fields[-1].name == "Buffer"
    return plain(fields[:-1])


class Smb2Header(Packet):
    """Read as the header of synchronous messages: in asynchronous ones PID and TID are the two halves of AsyncId."""

    name = "SMB2 Header"
    fields_desc = [
        field.fld if isinstance(field, ConditionalField) else field
        for field in plain(SMB2_Header.fields_desc)
        if field.name != "AsyncId"
    ]


class NegotiateRequest(Packet):
    name = "SMB2 NEGOTIATE Request, dialects"
    fields_desc = _fixed_part(SMB2_Negotiate_Protocol_Request)


class NegotiateResponse(Packet):
    """As much of it as is wanted of cut ones too."""

    name = "SMB2 NEGOTIATE Response, fixed part"
    fields_desc = plain(SMB2_Negotiate_Protocol_Response.fields_desc[:6])


class SessionSetupRequest(Packet):
    name = "SMB2 SESSION_SETUP Request, fixed part"
    fields_desc = _fixed_part(SMB2_Session_Setup_Request)


class SessionSetupResponse(Packet):
    name = "SMB2 SESSION_SETUP Response, fixed part"
    fields_desc = _fixed_part(SMB2_Session_Setup_Response)


class TreeConnectRequest(Packet):
    name = "SMB2 TREE_CONNECT Request, fixed part"
    fields_desc = _fixed_part(SMB2_Tree_Connect_Request)


class CreateRequest(Packet):
    name = "SMB2 CREATE Request, fixed part"
    fields_desc = _fixed_part(SMB2_Create_Request)[:-2]


class CreateResponse(Packet):
    name = "SMB2 CREATE Response, fixed part"
    fields_desc = _fixed_part(SMB2_Create_Response)[:-2]


class CloseRequest(Packet):
    name = "SMB2 CLOSE Request"
    fields_desc = plain(SMB2_Close_Request.fields_desc)


class ReadRequest(Packet):
    name = "SMB2 READ Request, up to its file id"
    fields_desc = plain(SMB2_Read_Request.fields_desc[:6])


class ReadResponse(Packet):
    """Scapy takes DataOffset and the reserved byte behind it for one number. [MS-SMB2 2.2.20]"""

    name = "SMB2 READ Response, fixed part"
    fields_desc = [
        XLEShortField("StructureSize", 0x11),
        ByteField("DataBufferOffset", 0),
        ByteField("Reserved", 0),
        *SMB2_Read_Response.fields_desc[2:3],
    ]


class WriteRequest(Packet):
    name = "SMB2 WRITE Request, up to its file id"
    fields_desc = plain(SMB2_Write_Request.fields_desc[:5])


class IoctlRequest(Packet):
    name = "SMB2 IOCTL Request, up to its input"
    fields_desc = plain(SMB2_IOCTL_Request.fields_desc[:6])


class IoctlResponse(Packet):
    name = "SMB2 IOCTL Response, up to its output"
    fields_desc = plain(SMB2_IOCTL_Response.fields_desc[:8])


class TreeConnectResponse(Packet):
    name = "SMB2 TREE_CONNECT Response"
    fields_desc = plain(SMB2_Tree_Connect_Response.fields_desc)


# SMB 1. #


class Smb1Header(Packet):
    name = "SMB 1 Protocol Header"
    fields_desc = plain(SMB_Header.fields_desc)


class Element(Packet):
    """What every SMB 1 command has: words and bytes. [MS-CIFS 2.2.3.2, 2.2.3.3]"""

    name = "SMB 1 parameters and data"
    fields_desc = [
        ByteField("WordCount", 0),
        StrLenField("Words", b"", length_from=lambda pkt: 2 * pkt.WordCount),
        LEShortField("ByteCount", 0),
    ]


ANDX = [ByteField("AndXCommand", 0xFF), ByteField("AndXReserved", 0), LEShortField("AndXOffset", 0)]


class SetupRequestWords(Packet):
    """[MS-CIFS 2.2.4.53.1; MS-SMB 2.2.4.6.1; X/Open SMB 11.2] The first of 10, 12 and 13 words."""

    name = "SMB_COM_SESSION_SETUP_ANDX Request"
    fields_desc = [
        *ANDX,
        LEShortField("MaxBufferSize", 0),
        LEShortField("MaxMpxCount", 0),
        LEShortField("VcNumber", 0),
        LEIntField("SessionKey", 0),
        LEShortField("FirstLength", 0),  # OEM password, the only password, or security blob
        LEShortField("SecondLength", 0),  # 13 words: Unicode password
    ]


class SetupAnswerWords(Packet):
    """[MS-CIFS 2.2.4.53.2; MS-SMB 2.2.4.6.2]"""

    name = "SMB_COM_SESSION_SETUP_ANDX Response"
    fields_desc = [*ANDX, LEShortField("Action", 0)]


class ExtendedSetupAnswerWords(Packet):
    name = "SMB_COM_SESSION_SETUP_ANDX Response, extended security"
    fields_desc = [*SetupAnswerWords.fields_desc, LEShortField("SecurityBlobLength", 0)]


class TreeRequestWords(Packet):
    """[MS-CIFS 2.2.4.55.1]"""

    name = "SMB_COM_TREE_CONNECT_ANDX Request"
    fields_desc = [*ANDX, LEShortField("Flags", 0), LEShortField("PasswordLength", 0)]


class CoreTreeAnswerWords(Packet):
    """[MS-CIFS 2.2.4.50.2]"""

    name = "SMB_COM_TREE_CONNECT Response"
    fields_desc = [LEShortField("MaxBufferSize", 0), LEShortField("TID", 0)]


class NegotiateAnswerWords(Packet):
    """[MS-CIFS 2.2.4.52.2] 17 words"""

    name = "SMB_COM_NEGOTIATE Response"
    fields_desc = [
        LEShortField("DialectIndex", 0),
        ByteField("SecurityMode", 0),
        LEShortField("MaxMpxCount", 0),
        LEShortField("MaxNumberVcs", 0),
        LEIntField("MaxBufferSize", 0),
        LEIntField("MaxRawSize", 0),
        LEIntField("SessionKey", 0),
        LEIntField("Capabilities", 0),
        LELongField("SystemTime", 0),
        LEShortField("ServerTimeZone", 0),
        ByteField("ChallengeLength", 0),
    ]


class LanmanAnswerWords(Packet):
    """[X/Open SMB 6.1] 13 words"""

    name = "SMB_COM_NEGOTIATE Response, LAN Manager"
    fields_desc = [LEShortField("DialectIndex", 0), LEShortField("SecurityMode", 0)]


class CoreAnswerWords(Packet):
    name = "SMB_COM_NEGOTIATE Response, core"
    fields_desc = [LEShortField("DialectIndex", 0)]


class NtCreateRequestWords(Packet):
    """[MS-CIFS 2.2.4.64.1]"""

    name = "SMB_COM_NT_CREATE_ANDX Request"
    fields_desc = [
        *ANDX,
        ByteField("Reserved", 0),
        LEShortField("NameLength", 0),
        LEIntField("Flags", 0),
        LEIntField("RootDirectoryFID", 0),
        LEIntField("DesiredAccess", 0),
    ]


class NtCreateAnswerWords(Packet):
    """[MS-CIFS 2.2.4.64.2]"""

    name = "SMB_COM_NT_CREATE_ANDX Response"
    fields_desc = [
        *ANDX,
        ByteField("OpLockLevel", 0),
        LEShortField("FID", 0),
        StrFixedLenField("Fixed", b"", length=56),
        LEShortField("ResourceType", 0),
    ]


class OpenAnswerWords(Packet):
    """[MS-CIFS 2.2.4.41.2]"""

    name = "SMB_COM_OPEN_ANDX Response"
    fields_desc = [
        *ANDX,
        LEShortField("FID", 0),
        StrFixedLenField("Fixed", b"", length=12),
        LEShortField("ResourceType", 0),
    ]


class FidWords(Packet):
    """CLOSE, core reads, answers to core opens."""

    name = "SMB 1 words that begin with a FID"
    fields_desc = [LEShortField("FID", 0)]


class FidCountWords(Packet):
    """[MS-CIFS 2.2.4.12.1, 2.2.4.21.1, 2.2.4.40.1]"""

    name = "SMB 1 words that begin with a FID and a count"
    fields_desc = [LEShortField("FID", 0), LEShortField("Count", 0)]


class ReadRequestWords(Packet):
    """[MS-CIFS 2.2.4.42.1]"""

    name = "SMB_COM_READ_ANDX Request"
    fields_desc = [*ANDX, LEShortField("FID", 0)]


class ReadAnswerWords(Packet):
    """[MS-CIFS 2.2.4.42.2]"""

    name = "SMB_COM_READ_ANDX Response"
    fields_desc = [
        *ANDX,
        LEShortField("Available", 0),
        LEShortField("DataCompactionMode", 0),
        LEShortField("Reserved1", 0),
        LEShortField("DataLength", 0),
        LEShortField("DataOffset", 0),
        LEShortField("DataLengthHigh", 0),
    ]


class ReadMpxAnswerWords(Packet):
    """[MS-CIFS 2.2.4.23.2]"""

    name = "SMB_COM_READ_MPX Response"
    fields_desc = [
        LEIntField("Offset", 0),
        LEShortField("Count", 0),
        LEShortField("Remaining", 0),
        LEShortField("DataCompactionMode", 0),
        LEShortField("Reserved", 0),
        LEShortField("DataLength", 0),
        LEShortField("DataOffset", 0),
    ]


class WriteRequestWords(Packet):
    """[MS-CIFS 2.2.4.43.1]"""

    name = "SMB_COM_WRITE_ANDX Request"
    fields_desc = [
        *ANDX,
        LEShortField("FID", 0),
        LEIntField("Offset", 0),
        LEIntField("Timeout", 0),
        LEShortField("WriteMode", 0),
        LEShortField("Remaining", 0),
        LEShortField("DataLengthHigh", 0),
        LEShortField("DataLength", 0),
        LEShortField("DataOffset", 0),
    ]


class WriteRawRequestWords(Packet):
    """[MS-CIFS 2.2.4.25.1, 2.2.4.26.1]"""

    name = "SMB_COM_WRITE_RAW Request"
    fields_desc = [
        LEShortField("FID", 0),
        LEShortField("Total", 0),
        LEShortField("Reserved1", 0),
        LEIntField("Offset", 0),
        LEIntField("Timeout", 0),
        LEShortField("WriteMode", 0),
        LEIntField("Reserved2", 0),
        LEShortField("DataLength", 0),
        LEShortField("DataOffset", 0),
    ]


class TransactionWords(Packet):
    """[MS-CIFS 2.2.4.33.1, 2.2.4.46.1] Setup words follow."""

    name = "SMB_COM_TRANSACTION Request"
    fields_desc = [
        LEShortField("TotalParameterCount", 0),
        LEShortField("TotalDataCount", 0),
        LEShortField("MaxParameterCount", 0),
        LEShortField("MaxDataCount", 0),
        ByteField("MaxSetupCount", 0),
        ByteField("Reserved1", 0),
        LEShortField("Flags", 0),
        LEIntField("Timeout", 0),
        LEShortField("Reserved2", 0),
        LEShortField("ParameterCount", 0),
        LEShortField("ParameterOffset", 0),
        LEShortField("DataCount", 0),
        LEShortField("DataOffset", 0),
        ByteField("SetupCount", 0),
        ByteField("Reserved3", 0),
        StrLenField("Setup", b"", length_from=lambda pkt: 2 * pkt.SetupCount),
    ]


class TransactionAnswerWords(Packet):
    """[MS-CIFS 2.2.4.33.2]"""

    name = "SMB_COM_TRANSACTION Response"
    fields_desc = [
        LEShortField("TotalParameterCount", 0),
        LEShortField("TotalDataCount", 0),
        LEShortField("Reserved1", 0),
        LEShortField("ParameterCount", 0),
        LEShortField("ParameterOffset", 0),
        LEShortField("ParameterDisplacement", 0),
        LEShortField("DataCount", 0),
        LEShortField("DataOffset", 0),
        LEShortField("DataDisplacement", 0),
    ]


class NtTransactWords(Packet):
    """[MS-CIFS 2.2.4.62.1] Setup words follow."""

    name = "SMB_COM_NT_TRANSACT Request"
    fields_desc = [
        ByteField("MaxSetupCount", 0),
        LEShortField("Reserved1", 0),
        LEIntField("TotalParameterCount", 0),
        LEIntField("TotalDataCount", 0),
        LEIntField("MaxParameterCount", 0),
        LEIntField("MaxDataCount", 0),
        LEIntField("ParameterCount", 0),
        LEIntField("ParameterOffset", 0),
        LEIntField("DataCount", 0),
        LEIntField("DataOffset", 0),
        ByteField("SetupCount", 0),
        LEShortField("Function", 0),
        StrLenField("Setup", b"", length_from=lambda pkt: 2 * pkt.SetupCount),
    ]


class IoctlSetup(Packet):
    """[MS-CIFS 2.2.7.2.1]"""

    name = "NT_TRANSACT_IOCTL setup"
    fields_desc = [LEIntField("FunctionCode", 0), LEShortField("FID", 0), ByteField("IsFctl", 0)]


class NtTransactCreateParameters(Packet):
    """[MS-CIFS 2.2.7.1.1]"""

    name = "NT_TRANSACT_CREATE parameters"
    fields_desc = [
        LEIntField("Flags", 0),
        LEIntField("RootDirectoryFID", 0),
        LEIntField("DesiredAccess", 0),
        LELongField("AllocationSize", 0),
        LEIntField("ExtFileAttributes", 0),
        LEIntField("ShareAccess", 0),
        LEIntField("CreateDisposition", 0),
        LEIntField("CreateOptions", 0),
        LEIntField("SecurityDescriptorLength", 0),
        LEIntField("EALength", 0),
        LEIntField("NameLength", 0),
        LEIntField("ImpersonationLevel", 0),
        ByteField("SecurityFlags", 0),
    ]


class PipeWait(Packet):
    """[MS-FSCC 2.3.49]"""

    name = "FSCTL_PIPE_WAIT Request"
    fields_desc = [
        XLELongField("Timeout", 0),
        XLEIntField("NameLength", 0),
        ByteField("TimeoutSpecified", 0),
        ByteField("Padding", 0),
        StrLenField("Name", b"", length_from=lambda pkt: pkt.NameLength),
    ]
