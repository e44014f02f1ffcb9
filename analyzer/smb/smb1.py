"""SMB 1. [MS-CIFS, MS-SMB; the LAN Manager forms: X/Open SMB 11.2]

A row is one element of an AndX chain: its body begins at the element's WordCount, behind which stand that many words, a
ByteCount and the bytes. Strings lie in the bytes, in Unicode on an even offset from the header, or in the OEM character
set. The direction of the TCP stream tells a request from an answer; the reply bit does not (some clients send requests
with it).
"""

from __future__ import annotations

from enum import IntFlag

from analyzer.compiled import Bytes, kernel
from analyzer.records import ANY_FILE, NO_KEY, CallProtocol, Flag, Form, Kind, Protocol, TokenKind, TreeKind, Via, Way
from analyzer.smb.dfs import Extent
from analyzer.smb.smb2 import PIPE_WAIT_FIXED, read_guid, utf16_size
from analyzer.smb.window import (
    D_FLAGS,
    D_KEY,
    D_KIND,
    D_PROTOCOL,
    D_SESSION,
    D_STATUS,
    D_TREE,
    ENCODING_DIALECTS_SMB1,
    ENCODING_OEM,
    ENCODING_UTF16,
    FIELD_DIALECTS,
    FIELD_DOMAIN,
    FIELD_NAME,
    FIELD_NATIVE_LANMAN,
    FIELD_NATIVE_OS,
    FIELD_PATH,
    FIELD_USER,
    I_VALUE,
    TABLE_CALL_ANSWER,
    TABLE_CALL_REQUEST,
    TABLE_CLOSE_REQUEST,
    TABLE_DATA_ANSWER,
    TABLE_DATA_REQUEST,
    TABLE_NEGOTIATE_ANSWER,
    TABLE_NEGOTIATE_REQUEST,
    TABLE_OPEN_ANSWER,
    TABLE_OPEN_REQUEST,
    TABLE_SETUP_ANSWER,
    TABLE_SETUP_REQUEST,
    TABLE_TREE_ANSWER,
    TABLE_TREE_REQUEST,
    Found,
    add_item,
    add_name,
    clip,
    has,
    place_part,
    place_referral,
    tell,
)
from analyzer.transport.messages import (
    M_BODY,
    M_COMMAND,
    M_CONNECTION,
    M_END,
    M_FLAGS,
    M_FROM_SERVER,
    M_HEADER,
    M_PLACE,
    M_PROTOCOL,
    MF_CUT,
    MF_MORE,
)
from analyzer.wire.enums import Code
from analyzer.wire.layout import Layout
from analyzer.wire.loads import byte, le16, le32, le64

# Enums. #


class Command(Code):
    """[MS-CIFS 2.2.2.1]"""

    OPEN = 0x02
    CREATE = 0x03
    CLOSE = 0x04
    READ = 0x0A
    WRITE = 0x0B
    CREATE_NEW = 0x0F
    LOCK_AND_READ = 0x13
    WRITE_AND_UNLOCK = 0x14
    READ_RAW = 0x1A
    READ_MPX = 0x1B
    WRITE_RAW = 0x1D
    WRITE_MPX = 0x1E
    TRANSACTION = 0x25
    TRANSACTION_SECONDARY = 0x26
    WRITE_AND_CLOSE = 0x2C
    OPEN_ANDX = 0x2D
    READ_ANDX = 0x2E
    WRITE_ANDX = 0x2F
    TRANSACTION2 = 0x32
    TRANSACTION2_SECONDARY = 0x33
    TREE_CONNECT = 0x70
    TREE_DISCONNECT = 0x71
    NEGOTIATE = 0x72
    SESSION_SETUP_ANDX = 0x73
    LOGOFF_ANDX = 0x74
    TREE_CONNECT_ANDX = 0x75
    NT_TRANSACT = 0xA0
    NT_TRANSACT_SECONDARY = 0xA1
    NT_CREATE_ANDX = 0xA2


class Flags2(IntFlag):
    """[MS-CIFS 2.2.3.1; MS-SMB 2.2.3.1]"""

    SECURITY_SIGNATURE = 0x0004
    EXTENDED_SECURITY = 0x0800
    NT_STATUS = 0x4000
    UNICODE = 0x8000


class PipeFunction(Code):
    """The first setup word of a transaction on a pipe. [MS-CIFS 2.2.5]"""

    SET_STATE = 0x0001
    RAW_READ = 0x0011
    QUERY_STATE = 0x0021
    QUERY_INFO = 0x0022
    PEEK = 0x0023
    TRANSACT = 0x0026
    RAW_WRITE = 0x0031
    READ = 0x0036
    WRITE = 0x0037
    WAIT = 0x0053
    CALL = 0x0054


TRANS2_OPEN2 = 0x0000
TRANS2_GET_DFS_REFERRAL = 0x0010
NT_TRANSACT_CREATE = 1
NT_TRANSACT_IOCTL = 2
FSCTL_PIPE_PEEK = 0x0011400C
FSCTL_PIPE_TRANSCEIVE = 0x0011C017
FSCTL_PIPE_WAIT = 0x00110018

NEGOTIATE_USER_SECURITY = 0x01
NEGOTIATE_SIGNATURES_REQUIRED = 0x08
CAP_EXTENDED_SECURITY = 0x80000000
RESOURCE_PIPES = (1, 2)  # byte mode, message mode [MS-CIFS 2.2.4.64.2]
NO_TREE = 0xFFFFFFFF
OEM = "cp437"

# Layouts. #

HEADER = Layout(
    "SMB header",  # [MS-CIFS 2.2.3.1]
    [
        ("protocol", "4s"),  #           0  FF 'SMB'
        ("command", "B"),  #             4
        ("status", "I"),  #              5  NT status, or error class(1), reserved(1), code(2)
        ("flags", "B"),  #               9
        ("flags2", "H"),  #             10
        ("pid_high", "H"),  #           12
        ("security_features", "8s"),  # 14
        ("reserved", "H"),  #           22
        ("tid", "H"),  #                24
        ("pid_low", "H"),  #            26
        ("uid", "H"),  #                28
        ("mid", "H"),  #                30
    ],
)
ANDX: list[tuple[str, str]] = [("word_count", "B"), ("andx_command", "B"), ("andx_reserved", "B"), ("andx_offset", "H")]
SETUP_REQUEST_WORDS = Layout(
    "SMB_COM_SESSION_SETUP_ANDX Request",  # [MS-CIFS 2.2.4.53.1; MS-SMB 2.2.4.6.1]
    [
        *ANDX,  #                          0
        ("max_buffer_size", "H"),  #       5
        ("max_mpx_count", "H"),  #         7
        ("vc_number", "H"),  #             9
        ("session_key", "I"),  #          11
        ("first_length", "H"),  #         15  OEM password, the only password, or security blob
        ("second_length", "H"),  #        17  13 words: Unicode password
    ],
)
SETUP_ANSWER_WORDS = Layout(
    "SMB_COM_SESSION_SETUP_ANDX Response",  # [MS-CIFS 2.2.4.53.2; MS-SMB 2.2.4.6.2]
    [*ANDX, ("action", "H"), ("blob_length", "H")],  # the last with 4 words only
)
TREE_REQUEST_WORDS = Layout(
    "SMB_COM_TREE_CONNECT_ANDX Request",  # [MS-CIFS 2.2.4.55.1]
    [*ANDX, ("flags", "H"), ("password_length", "H")],
)
NEGOTIATE_ANSWER_WORDS = Layout(
    "SMB_COM_NEGOTIATE Response",  # [MS-CIFS 2.2.4.52.2], 17 words
    [
        ("word_count", "B"),  #         0
        ("dialect_index", "H"),  #      1
        ("security_mode", "B"),  #      3
        ("max_mpx_count", "H"),  #      4
        ("max_vcs", "H"),  #            6
        ("max_buffer_size", "I"),  #    8
        ("max_raw_size", "I"),  #      12
        ("session_key", "I"),  #       16
        ("capabilities", "I"),  #      20
        ("system_time", "Q"),  #       24
        ("time_zone", "H"),  #         32
        ("challenge_length", "B"),  #  34
    ],
)
LANMAN_ANSWER_WORDS = Layout(
    "SMB_COM_NEGOTIATE Response, LAN Manager",  # [X/Open SMB 6.1], 13 words (1 word: the index alone)
    [("word_count", "B"), ("dialect_index", "H"), ("security_mode", "H")],
)
NT_CREATE_REQUEST_WORDS = Layout(
    "SMB_COM_NT_CREATE_ANDX Request",  # [MS-CIFS 2.2.4.64.1]
    [
        *ANDX,  #                        0
        ("reserved", "B"),  #            5
        ("name_length", "H"),  #         6
        ("flags", "I"),  #               8
        ("root_directory_fid", "I"),  # 12
        ("desired_access", "I"),  #     16
    ],
)
NT_CREATE_ANSWER_WORDS = Layout(
    "SMB_COM_NT_CREATE_ANDX Response",  # [MS-CIFS 2.2.4.64.2]
    [*ANDX, ("oplock_level", "B"), ("fid", "H"), ("fixed", "56s"), ("resource_type", "H")],
)
OPEN_ANDX_REQUEST_WORDS = Layout("SMB_COM_OPEN_ANDX Request", [*ANDX, ("flags", "H"), ("access_mode", "H")])
OPEN_ANDX_ANSWER_WORDS = Layout(
    "SMB_COM_OPEN_ANDX Response",  # [MS-CIFS 2.2.4.41.2]
    [*ANDX, ("fid", "H"), ("fixed", "12s"), ("resource_type", "H")],
)
FIRST_WORD = Layout("first word", [("word_count", "B"), ("fid", "H")])
READ_ANDX_REQUEST_WORDS = Layout("SMB_COM_READ_ANDX Request", [*ANDX, ("fid", "H")])  # [MS-CIFS 2.2.4.42.1]
READ_ANDX_ANSWER_WORDS = Layout(
    "SMB_COM_READ_ANDX Response",  # [MS-CIFS 2.2.4.42.2]
    [
        *ANDX,  #                           0
        ("available", "H"),  #              5
        ("data_compaction_mode", "H"),  #   7
        ("reserved", "H"),  #               9
        ("data_length", "H"),  #           11
        ("data_offset", "H"),  #           13  from the header
        ("data_length_high", "H"),  #      15
    ],
)
WRITE_ANDX_REQUEST_WORDS = Layout(
    "SMB_COM_WRITE_ANDX Request",  # [MS-CIFS 2.2.4.43.1]
    [
        *ANDX,  #                         0
        ("fid", "H"),  #                  5
        ("offset", "I"),  #               7
        ("timeout", "I"),  #             11
        ("write_mode", "H"),  #          15
        ("remaining", "H"),  #           17
        ("data_length_high", "H"),  #    19
        ("data_length", "H"),  #         21
        ("data_offset", "H"),  #         23  from the header
    ],
)
READ_MPX_ANSWER_WORDS = Layout(
    "SMB_COM_READ_MPX Response",  # [MS-CIFS 2.2.4.23.2]
    [
        ("word_count", "B"),  #             0
        ("offset", "I"),  #                 1
        ("count", "H"),  #                  5
        ("remaining", "H"),  #              7
        ("data_compaction_mode", "H"),  #   9
        ("reserved", "H"),  #              11
        ("data_length", "H"),  #           13
        ("data_offset", "H"),  #           15  from the header
    ],
)
WRITE_RAW_REQUEST_WORDS = Layout(
    "SMB_COM_WRITE_RAW Request",  # [MS-CIFS 2.2.4.25.1], WRITE_MPX (2.2.4.26.1) likewise
    [
        ("word_count", "B"),  #             0
        ("fid", "H"),  #                    1
        ("total", "H"),  #                  3  WRITE_RAW: what follows without a header is part of it
        ("reserved", "H"),  #               5
        ("offset", "I"),  #                 7
        ("timeout", "I"),  #               11
        ("write_mode", "H"),  #            15
        ("reserved2", "I"),  #             17
        ("data_length", "H"),  #           21
        ("data_offset", "H"),  #           23  from the header
    ],
)
READ_WRITE_CORE = Layout("SMB_COM_READ, SMB_COM_WRITE", [("word_count", "B"), ("fid", "H"), ("count", "H")])
TRANSACTION_WORDS = Layout(
    "SMB_COM_TRANSACTION Request",  # [MS-CIFS 2.2.4.33.1], TRANSACTION2 likewise
    [
        ("word_count", "B"),  #               0
        ("total_parameter_count", "H"),  #    1
        ("total_data_count", "H"),  #         3
        ("max_parameter_count", "H"),  #      5
        ("max_data_count", "H"),  #           7
        ("max_setup_count", "B"),  #          9
        ("reserved1", "B"),  #               10
        ("flags", "H"),  #                   11
        ("timeout", "I"),  #                 13
        ("reserved2", "H"),  #               17
        ("parameter_count", "H"),  #         19
        ("parameter_offset", "H"),  #        21  from the header
        ("data_count", "H"),  #              23
        ("data_offset", "H"),  #             25  from the header
        ("setup_count", "B"),  #             27
        ("reserved3", "B"),  #               28
        ("function", "H"),  #                29  the first setup word
        ("fid", "H"),  #                     31  the second
    ],
)
TRANSACTION_ANSWER_WORDS = Layout(
    "SMB_COM_TRANSACTION Response",  # [MS-CIFS 2.2.4.33.2]
    [
        ("word_count", "B"),  #                0
        ("total_parameter_count", "H"),  #     1
        ("total_data_count", "H"),  #          3
        ("reserved", "H"),  #                  5
        ("parameter_count", "H"),  #           7
        ("parameter_offset", "H"),  #          9
        ("parameter_displacement", "H"),  #   11
        ("data_count", "H"),  #               13
        ("data_offset", "H"),  #              15
        ("data_displacement", "H"),  #        17
    ],
)
NT_TRANSACT_WORDS = Layout(
    "SMB_COM_NT_TRANSACT Request",  # [MS-CIFS 2.2.4.62.1]
    [
        ("word_count", "B"),  #               0
        ("max_setup_count", "B"),  #          1
        ("reserved", "H"),  #                 2
        ("total_parameter_count", "I"),  #    4
        ("total_data_count", "I"),  #         8
        ("max_parameter_count", "I"),  #     12
        ("max_data_count", "I"),  #          16
        ("parameter_count", "I"),  #         20
        ("parameter_offset", "I"),  #        24
        ("data_count", "I"),  #              28
        ("data_offset", "I"),  #             32
        ("setup_count", "B"),  #             36
        ("function", "H"),  #                37
        ("control_code", "I"),  #            39  function 2: the setup words
        ("fid", "H"),  #                     43
    ],
)
SECONDARY_WORDS = Layout(
    "SMB_COM_TRANSACTION_SECONDARY Request",  # [MS-CIFS 2.2.4.34.1], TRANSACTION2_SECONDARY likewise, and a FID (2.2.4.47.1)
    [
        ("word_count", "B"),  #                0
        ("total_parameter_count", "H"),  #     1
        ("total_data_count", "H"),  #          3
        ("parameter_count", "H"),  #           5
        ("parameter_offset", "H"),  #          7  from the header
        ("parameter_displacement", "H"),  #    9
        ("data_count", "H"),  #               11
        ("data_offset", "H"),  #              13
        ("data_displacement", "H"),  #        15
    ],
)
NT_SECONDARY_WORDS = Layout(
    "SMB_COM_NT_TRANSACT_SECONDARY Request",  # [MS-CIFS 2.2.4.63.1]
    [
        ("word_count", "B"),  #                0
        ("reserved1", "3s"),  #                1
        ("total_parameter_count", "I"),  #     4
        ("total_data_count", "I"),  #          8
        ("parameter_count", "I"),  #          12
        ("parameter_offset", "I"),  #         16  from the header
        ("parameter_displacement", "I"),  #   20
        ("data_count", "I"),  #               24
        ("data_offset", "I"),  #              28
        ("data_displacement", "I"),  #        32
        ("reserved2", "B"),  #                36
    ],
)
NT_TRANSACT_CREATE_PARAMETERS = Layout(
    "NT_TRANSACT_CREATE parameters",  # [MS-CIFS 2.2.7.1.1]
    [
        ("flags", "I"),  #                         0
        ("root_directory_fid", "I"),  #            4
        ("desired_access", "I"),  #                8
        ("allocation_size", "Q"),  #              12
        ("ext_file_attributes", "I"),  #          20
        ("share_access", "I"),  #                 24
        ("create_disposition", "I"),  #           28
        ("create_options", "I"),  #               32
        ("security_descriptor_length", "I"),  #   36
        ("ea_length", "I"),  #                    40
        ("name_length", "I"),  #                  44
        ("impersonation_level", "I"),  #          48
        ("security_flags", "B"),  #               52
    ],
)


CORE_TREE_ANSWER_WORDS = Layout(
    "SMB_COM_TREE_CONNECT Response",  # [MS-CIFS 2.2.4.50.2]
    [("word_count", "B"), ("max_buffer_size", "H"), ("tid", "H")],
)


def sniff(head: bytes) -> bool:
    """True if a message that begins so is SMB 1."""
    return head[:4] == b"\xffSMB"


def dialect_names(data: bytes) -> str:
    """The dialects of a negotiation, separated by |: each is a byte 02 and a NUL-terminated string. [MS-CIFS 2.2.4.52.1]"""
    return "|".join(part[1:].decode(OEM) for part in data.split(b"\0") if part[:1] == b"\x02")


# What kernels know as plain numbers. #

_OPEN, _CREATE, _CREATE_NEW, _OPEN_ANDX, _NT_CREATE = (
    int(code) for code in (Command.OPEN, Command.CREATE, Command.CREATE_NEW, Command.OPEN_ANDX, Command.NT_CREATE_ANDX)
)
_CLOSE, _READ, _WRITE, _READ_ANDX, _WRITE_ANDX, _WRITE_AND_CLOSE = (
    int(code)
    for code in (
        Command.CLOSE,
        Command.READ,
        Command.WRITE,
        Command.READ_ANDX,
        Command.WRITE_ANDX,
        Command.WRITE_AND_CLOSE,
    )
)
_LOCK_AND_READ, _WRITE_AND_UNLOCK, _READ_RAW, _READ_MPX, _WRITE_RAW, _WRITE_MPX = (
    int(code)
    for code in (
        Command.LOCK_AND_READ,
        Command.WRITE_AND_UNLOCK,
        Command.READ_RAW,
        Command.READ_MPX,
        Command.WRITE_RAW,
        Command.WRITE_MPX,
    )
)
_SECONDARIES = tuple(
    int(code) for code in (Command.TRANSACTION_SECONDARY, Command.TRANSACTION2_SECONDARY, Command.NT_TRANSACT_SECONDARY)
)
_NT_SECONDARY = int(Command.NT_TRANSACT_SECONDARY)
_TRANSACTION, _TRANSACTION2, _NT_TRANSACT = (
    int(code) for code in (Command.TRANSACTION, Command.TRANSACTION2, Command.NT_TRANSACT)
)
_NEGOTIATE, _SESSION_SETUP, _LOGOFF = int(Command.NEGOTIATE), int(Command.SESSION_SETUP_ANDX), int(Command.LOGOFF_ANDX)
_TREE_CONNECT, _TREE_CONNECT_ANDX, _TREE_DISCONNECT = (
    int(code) for code in (Command.TREE_CONNECT, Command.TREE_CONNECT_ANDX, Command.TREE_DISCONNECT)
)
_FLAGS2_SIGNATURE, _FLAGS2_NT_STATUS, _FLAGS2_UNICODE = (
    int(flag) for flag in (Flags2.SECURITY_SIGNATURE, Flags2.NT_STATUS, Flags2.UNICODE)
)
_SIGNED, _DOS_STATUS, _CHAINED, _CUT = (int(flag) for flag in (Flag.SIGNED, Flag.DOS_STATUS, Flag.CHAINED, Flag.CUT))
_PROTOCOL, _NO_KEY = int(Protocol.SMB1), NO_KEY
_BSRSPYL = int.from_bytes(b"BSRSPYL ", "little")
_KIND_NEGOTIATE, _KIND_SETUP, _KIND_LOGOFF, _KIND_TREE_CONNECT, _KIND_TREE_DISCONNECT = (
    int(kind) for kind in (Kind.NEGOTIATE, Kind.SETUP, Kind.LOGOFF, Kind.TREE_CONNECT, Kind.TREE_DISCONNECT)
)
_KIND_OPEN, _KIND_CLOSE, _KIND_DATA, _KIND_CALL, _KIND_OTHER = (
    int(kind) for kind in (Kind.OPEN, Kind.CLOSE, Kind.DATA, Kind.CALL, Kind.OTHER)
)
_FORM_TOKEN, _FORM_PASSWORDS, _FORM_LANMAN = int(Form.TOKEN), int(Form.PASSWORDS), int(Form.LANMAN)
_TOKEN_NONE, _TOKEN_PASSWORDS = int(TokenKind.NONE), int(TokenKind.PASSWORDS)
_TREE_UNKNOWN, _TREE_DISK, _TREE_PIPE, _TREE_PRINT = (
    int(kind) for kind in (TreeKind.UNKNOWN, TreeKind.DISK, TreeKind.PIPE, TreeKind.PRINT)
)
_VIA_NT_CREATE, _VIA_OPEN_ANDX, _VIA_OPEN, _VIA_CALL, _VIA_TRANS2_OPEN2, _VIA_NT_TRANSACT = (
    int(via)
    for via in (
        Via.NT_CREATE_ANDX,
        Via.OPEN_ANDX,
        Via.OPEN,
        Via.CALL_NMPIPE,
        Via.TRANS2_OPEN2,
        Via.NT_TRANSACT_CREATE,
    )
)
_WAY_WRITE, _WAY_READ, _WAY_TRANSACT = int(Way.WRITE), int(Way.READ), int(Way.TRANSACT)
_RAP, _DFS, _FSCTL = int(CallProtocol.RAP), int(CallProtocol.DFS), int(CallProtocol.FSCTL)
_IN_PARTS = int(Extent.IN_PARTS)
_PIPE_TRANSACT, _PIPE_READ, _PIPE_WRITE, _PIPE_RAW_READ, _PIPE_RAW_WRITE, _PIPE_WAIT, _PIPE_CALL = (
    int(function)
    for function in (
        PipeFunction.TRANSACT,
        PipeFunction.READ,
        PipeFunction.WRITE,
        PipeFunction.RAW_READ,
        PipeFunction.RAW_WRITE,
        PipeFunction.WAIT,
        PipeFunction.CALL,
    )
)
NO_FUNCTION = 0xFFFF
NO_FID = 0xFFFF
_ANY_FILE = ANY_FILE - (1 << 64)  # as a signed number
MAX_TRANSACTION_NAME = 1024
LOOK_AHEAD = 256
"""So many messages behind the first part of a transaction are searched for the part that has its parameters."""
_PIPE_LANMAN = tuple(b"\\PIPE\\LANMAN")
_MAILSLOT = tuple(b"\\MAILSLOT")

_H = HEADER.offsets
_H_STATUS, _H_FLAGS2, _H_FEATURES, _H_TID = _H["status"], _H["flags2"], _H["security_features"], _H["tid"]
_H_PID, _H_UID, _H_MID = _H["pid_low"], _H["uid"], _H["mid"]
_SQ_FIRST, _SQ_SECOND = SETUP_REQUEST_WORDS.offsets["first_length"], SETUP_REQUEST_WORDS.offsets["second_length"]
_SA_ACTION, _SA_BLOB = SETUP_ANSWER_WORDS.offsets["action"], SETUP_ANSWER_WORDS.offsets["blob_length"]
_TQ_PASSWORD = TREE_REQUEST_WORDS.offsets["password_length"]
_NA = NEGOTIATE_ANSWER_WORDS.offsets
_NA_INDEX, _NA_MODE, _NA_CAPABILITIES, _NA_CHALLENGE = (
    _NA["dialect_index"],
    _NA["security_mode"],
    _NA["capabilities"],
    _NA["challenge_length"],
)
_LANMAN_MODE = LANMAN_ANSWER_WORDS.offsets["security_mode"]
_NC_NAME_SIZE, _NC_ACCESS = (
    NT_CREATE_REQUEST_WORDS.offsets["name_length"],
    NT_CREATE_REQUEST_WORDS.offsets["desired_access"],
)
_NCA_FID, _NCA_TYPE = NT_CREATE_ANSWER_WORDS.offsets["fid"], NT_CREATE_ANSWER_WORDS.offsets["resource_type"]
_OA_FID, _OA_TYPE = OPEN_ANDX_ANSWER_WORDS.offsets["fid"], OPEN_ANDX_ANSWER_WORDS.offsets["resource_type"]
_FIRST = FIRST_WORD.offsets["fid"]
_RQ_FID = READ_ANDX_REQUEST_WORDS.offsets["fid"]
_RA = READ_ANDX_ANSWER_WORDS.offsets
_RA_SIZE, _RA_AT, _RA_HIGH = _RA["data_length"], _RA["data_offset"], _RA["data_length_high"]
_WQ = WRITE_ANDX_REQUEST_WORDS.offsets
_WQ_FID, _WQ_HIGH, _WQ_SIZE, _WQ_AT = _WQ["fid"], _WQ["data_length_high"], _WQ["data_length"], _WQ["data_offset"]
_WQ_MODE = _WQ["write_mode"]
_RAW_START = 0x000C  # RAW_MODE and MSG_START
_CORE_COUNT = READ_WRITE_CORE.offsets["count"]
_MA_SIZE, _MA_AT = READ_MPX_ANSWER_WORDS.offsets["data_length"], READ_MPX_ANSWER_WORDS.offsets["data_offset"]
_WR = WRITE_RAW_REQUEST_WORDS.offsets
_WR_FID, _WR_TOTAL, _WR_SIZE, _WR_AT = _WR["fid"], _WR["total"], _WR["data_length"], _WR["data_offset"]
_CT_TID = CORE_TREE_ANSWER_WORDS.offsets["tid"]
_X = TRANSACTION_WORDS.offsets
_X_ALL_PARAMETERS = _X["total_parameter_count"]
_X_TOTAL, _X_PARAMETERS, _X_PARAMETERS_AT, _X_DATA, _X_DATA_AT, _X_SETUP, _X_FUNCTION, _X_FID = (
    _X["total_data_count"],
    _X["parameter_count"],
    _X["parameter_offset"],
    _X["data_count"],
    _X["data_offset"],
    _X["setup_count"],
    _X["function"],
    _X["fid"],
)
_XA = TRANSACTION_ANSWER_WORDS.offsets
_XA_TOTAL, _XA_PARAMETERS, _XA_PARAMETERS_AT, _XA_PARAMETERS_MOVED, _XA_DATA, _XA_DATA_AT, _XA_DATA_MOVED = (
    _XA["total_data_count"],
    _XA["parameter_count"],
    _XA["parameter_offset"],
    _XA["parameter_displacement"],
    _XA["data_count"],
    _XA["data_offset"],
    _XA["data_displacement"],
)
_NT = NT_TRANSACT_WORDS.offsets
_NT_TOTAL, _NT_PARAMETERS, _NT_PARAMETERS_AT, _NT_DATA, _NT_DATA_AT, _NT_SETUP, _NT_FUNCTION, _NT_CODE, _NT_FID = (
    _NT["total_data_count"],
    _NT["parameter_count"],
    _NT["parameter_offset"],
    _NT["data_count"],
    _NT["data_offset"],
    _NT["setup_count"],
    _NT["function"],
    _NT["control_code"],
    _NT["fid"],
)
_NTC_ACCESS, _NTC_NAME_SIZE = (
    NT_TRANSACT_CREATE_PARAMETERS.offsets["desired_access"],
    NT_TRANSACT_CREATE_PARAMETERS.offsets["name_length"],
)
_NTC_SIZE = NT_TRANSACT_CREATE_PARAMETERS.size
_NT_ALL_PARAMETERS = _NT["total_parameter_count"]
_S, _NS = SECONDARY_WORDS.offsets, NT_SECONDARY_WORDS.offsets
_S_PARAMETERS, _S_PARAMETERS_AT, _S_MOVED = _S["parameter_count"], _S["parameter_offset"], _S["parameter_displacement"]
_NS_PARAMETERS, _NS_PARAMETERS_AT, _NS_MOVED = (
    _NS["parameter_count"],
    _NS["parameter_offset"],
    _NS["parameter_displacement"],
)
_SECONDARY_SIZE, _NT_SECONDARY_SIZE = SECONDARY_WORDS.size, NT_SECONDARY_WORDS.size
TRANSACTION_FIXED = 29
TRANSACTION2_FIXED = 31
NT_TRANSACT_FIXED = 39

STRUCTURES = (
    SETUP_REQUEST_WORDS,
    SETUP_ANSWER_WORDS,
    TREE_REQUEST_WORDS,
    CORE_TREE_ANSWER_WORDS,
    NEGOTIATE_ANSWER_WORDS,
    NT_CREATE_REQUEST_WORDS,
    NT_CREATE_ANSWER_WORDS,
    OPEN_ANDX_REQUEST_WORDS,
    OPEN_ANDX_ANSWER_WORDS,
    FIRST_WORD,
    READ_ANDX_REQUEST_WORDS,
    READ_ANDX_ANSWER_WORDS,
    WRITE_ANDX_REQUEST_WORDS,
    READ_WRITE_CORE,
    TRANSACTION_WORDS,
    TRANSACTION_ANSWER_WORDS,
    NT_TRANSACT_WORDS,
    READ_MPX_ANSWER_WORDS,
    WRITE_RAW_REQUEST_WORDS,
)
"""What an element may be too short for: the number of that problem is `FIRST_PROBLEM` and the place in here; and
`FIRST_WORDS_PROBLEM` if its word count is none that the structure has."""
FIRST_PROBLEM = 0
FIRST_WORDS_PROBLEM = 100
(
    _P_SETUP_REQUEST, _P_SETUP_ANSWER, _P_TREE_REQUEST, _P_CORE_TREE_ANSWER, _P_NEGOTIATE_ANSWER, _P_NT_CREATE_REQUEST,
    _P_NT_CREATE_ANSWER, _P_OPEN_ANDX_REQUEST, _P_OPEN_ANDX_ANSWER, _P_FIRST_WORD, _P_READ_ANDX_REQUEST,
    _P_READ_ANDX_ANSWER, _P_WRITE_ANDX_REQUEST, _P_READ_WRITE_CORE, _P_TRANSACTION, _P_TRANSACTION_ANSWER, _P_NT_TRANSACT,
    _P_READ_MPX_ANSWER, _P_WRITE_RAW_REQUEST,
) = range(len(STRUCTURES))  # fmt: skip
(
    _SETUP_REQUEST_SIZE, _SETUP_ANSWER_SIZE, _TREE_REQUEST_SIZE, _CORE_TREE_ANSWER_SIZE, _NEGOTIATE_ANSWER_SIZE,
    _NT_CREATE_REQUEST_SIZE, _NT_CREATE_ANSWER_SIZE, _OPEN_ANDX_REQUEST_SIZE, _OPEN_ANDX_ANSWER_SIZE, _FIRST_WORD_SIZE,
    _READ_ANDX_REQUEST_SIZE, _READ_ANDX_ANSWER_SIZE, _WRITE_ANDX_REQUEST_SIZE, _READ_WRITE_CORE_SIZE, _TRANSACTION_SIZE,
    _TRANSACTION_ANSWER_SIZE, _NT_TRANSACT_SIZE, _READ_MPX_ANSWER_SIZE, _WRITE_RAW_REQUEST_SIZE,
) = (structure.size for structure in STRUCTURES)  # fmt: skip

# Parse. #


@kernel
def read_smb1(w: Found, row: int) -> None:
    """An element of a chain: what the header says of it, and its body by command and direction."""
    read_header1(w, row)
    command = w.rows[row, M_COMMAND]
    if w.rows[row, M_FROM_SERVER]:
        read_answer1(w, row, command)
    else:
        read_request1(w, row, command)


@kernel
def read_request1(w: Found, row: int, command: int) -> None:
    """The body of a request."""
    if command == _NEGOTIATE:
        item = add_item(w, row, TABLE_NEGOTIATE_REQUEST)  # [MS-CIFS 2.2.4.52.1]
        at = bytes_place(w, row)
        add_name(w, item, FIELD_DIALECTS, at, max(0, bytes_end(w, row) - at), ENCODING_DIALECTS_SMB1)
    elif command == _SESSION_SETUP:
        read_setup_request1(w, row)
    elif command == _TREE_CONNECT:
        read_core_tree_request(w, row)
    elif command == _TREE_CONNECT_ANDX:
        read_tree_request1(w, row)
    elif command in (_OPEN, _CREATE, _CREATE_NEW, _OPEN_ANDX, _NT_CREATE):
        read_open_request1(w, row, command)
    elif command == _CLOSE:
        if has_words(w, row, 3, 3, 3, _P_FIRST_WORD, _FIRST_WORD_SIZE):
            item = add_item(w, row, TABLE_CLOSE_REQUEST)  # [MS-CIFS 2.2.4.5.1]
            w.items[item, I_VALUE + 1] = le16(w.arena, w.rows[row, M_BODY] + _FIRST)
    elif is_read(command):
        read_read_request1(w, row, command)
    elif is_write(command):
        read_write_request1(w, row, command)
    elif command == _TRANSACTION:
        read_transaction_request(w, row)
    elif command == _TRANSACTION2:
        read_transaction2_request(w, row)
    elif command == _NT_TRANSACT:
        read_nt_transact_request(w, row)
    elif command in _SECONDARIES:
        w.messages[row, D_KEY] = _NO_KEY  # the answer is that to the first part, which tells the totals


@kernel
def is_read(command: int) -> int:
    """1 for the commands that read from a file."""
    return 1 if command in (_READ, _READ_ANDX, _LOCK_AND_READ, _READ_RAW, _READ_MPX) else 0


@kernel
def is_write(command: int) -> int:
    """1 for the commands that write to a file."""
    if command in (_WRITE, _WRITE_ANDX, _WRITE_AND_CLOSE):
        return 1
    return 1 if command in (_WRITE_AND_UNLOCK, _WRITE_RAW, _WRITE_MPX) else 0


@kernel
def read_answer1(w: Found, row: int, command: int) -> None:
    """The body of an answer."""
    if command == _NEGOTIATE:
        read_negotiate_answer1(w, row)
    elif command == _SESSION_SETUP:
        read_setup_answer1(w, row)
    elif command == _TREE_CONNECT:
        if has_words(w, row, 2, 2, 2, _P_CORE_TREE_ANSWER, _CORE_TREE_ANSWER_SIZE):
            # The oldest form gives the tree id in its words, not in the header. [MS-CIFS 2.2.4.50.2]
            w.messages[row, D_TREE] = le16(w.arena, w.rows[row, M_BODY] + _CT_TID)
            add_item(w, row, TABLE_TREE_ANSWER)
    elif command == _TREE_CONNECT_ANDX:
        if word_count(w, row) >= 2:  # [MS-CIFS 2.2.4.55.2] The service string tells what the tree is.
            item = add_item(w, row, TABLE_TREE_ANSWER)
            at = bytes_place(w, row)
            w.items[item, I_VALUE] = kind_of_tree(w.arena, at, max(at, bytes_end(w, row)))
    elif command in (_OPEN, _CREATE, _CREATE_NEW, _OPEN_ANDX, _NT_CREATE):
        read_open_answer1(w, row, command)
    elif is_read(command):
        read_read_answer1(w, row, command)
    elif is_write(command):
        if w.messages[row, D_STATUS] == 0:  # [MS-CIFS 2.2.4.43.2] That the bytes were taken is all that matters.
            add_item(w, row, TABLE_DATA_ANSWER)
    elif command == _TRANSACTION:
        read_transaction_answer(w, row)
    elif command == _TRANSACTION2:
        read_transaction2_answer(w, row)


@kernel
def read_header1(w: Found, row: int) -> None:
    """[MS-CIFS 2.2.3.1]"""
    header = w.rows[row, M_HEADER]
    command = w.rows[row, M_COMMAND]
    flags2 = le16(w.arena, header + _H_FLAGS2)
    w.messages[row, D_PROTOCOL] = _PROTOCOL
    w.messages[row, D_KIND] = kind_of_smb1(command)
    # No message id of SMB 2 is as large.
    w.messages[row, D_KEY] = (
        _NO_KEY | (command << 32) | (le16(w.arena, header + _H_PID) << 16) | le16(w.arena, header + _H_MID)
    )
    # A chain has one status: that of its last element. [MS-CIFS 2.2.3.4]
    has_status = w.rows[row, M_FROM_SERVER] != 0 and not w.rows[row, M_FLAGS] & MF_MORE
    w.messages[row, D_STATUS] = le32(w.arena, header + _H_STATUS) if has_status else 0
    found = 0
    # Unsigned messages have zeros there, or the text of clients that cannot sign yet.
    features = le64(w.arena, header + _H_FEATURES)
    if flags2 & _FLAGS2_SIGNATURE and features not in (0, _BSRSPYL):
        found |= _SIGNED
    if not flags2 & _FLAGS2_NT_STATUS:
        found |= _DOS_STATUS
    if w.rows[row, M_PLACE] > 0:
        found |= _CHAINED
    if w.rows[row, M_FLAGS] & MF_CUT:
        found |= _CUT
    w.messages[row, D_FLAGS] = found
    w.messages[row, D_SESSION] = le16(w.arena, header + _H_UID)
    w.messages[row, D_TREE] = le16(w.arena, header + _H_TID)


@kernel
def kind_of_smb1(command: int) -> int:
    """What a command is about. Transactions may become something else: their bodies say."""
    if command == _NEGOTIATE:
        return _KIND_NEGOTIATE
    if command == _SESSION_SETUP:
        return _KIND_SETUP
    if command == _LOGOFF:
        return _KIND_LOGOFF
    if command in (_TREE_CONNECT, _TREE_CONNECT_ANDX):
        return _KIND_TREE_CONNECT
    if command == _TREE_DISCONNECT:
        return _KIND_TREE_DISCONNECT
    if command in (_OPEN, _CREATE, _CREATE_NEW, _OPEN_ANDX, _NT_CREATE):
        return _KIND_OPEN
    if command == _CLOSE:
        return _KIND_CLOSE
    if is_read(command) or is_write(command):
        return _KIND_DATA
    return _KIND_OTHER


@kernel
def word_count(w: Found, row: int) -> int:
    """How many words an element has."""
    return byte(w.arena, w.rows[row, M_BODY])


@kernel
def bytes_place(w: Found, row: int) -> int:
    """Arena offset of the byte part."""
    return w.rows[row, M_BODY] + 3 + 2 * word_count(w, row)


@kernel
def bytes_end(w: Found, row: int) -> int:
    """Where the byte part ends, as far as it is stored."""
    at = bytes_place(w, row)
    return min(w.rows[row, M_END], at + le16(w.arena, at - 2))


@kernel
def is_unicode(w: Found, row: int) -> int:
    """1 if strings are in Unicode."""
    return 1 if le16(w.arena, w.rows[row, M_HEADER] + _H_FLAGS2) & _FLAGS2_UNICODE else 0


@kernel
def has_words(w: Found, row: int, one: int, other: int, third: int, structure: int, size: int) -> int:
    """1 if an element has one of these word counts and is long enough.

    An error answer has no words; it is passed over in silence. Anything else is told, and the request is none of its kind.
    """
    words = word_count(w, row)
    if words in (one, other, third):
        return has(w, row, size, structure)
    if words != 0:
        tell(w, row, FIRST_WORDS_PROBLEM + structure, words)
    if not w.rows[row, M_FROM_SERVER]:
        w.messages[row, D_KIND] = _KIND_OTHER
    return 0


@kernel
def text_start(w: Found, row: int, at: int, unicode: int) -> int:
    """Where a string begins: Unicode on an even offset from the header."""
    return at + ((at - w.rows[row, M_HEADER]) & 1) if unicode else at


@kernel
def text_size(w: Found, at: int, end: int, unicode: int) -> int:
    """Bytes of a string without its NUL, or up to the end where it has none."""
    if unicode:
        return utf16_size(w, at, end)
    place = at
    while place < end and byte(w.arena, place) != 0:
        place += 1
    return place - at


@kernel
def read_string(w: Found, item: int, field: int, at: int, end: int, unicode: int) -> int:
    """A NUL-terminated string, possibly ended by the data: returns where the next one begins.

    At the end of the data there is none: the text is missing then.
    """
    if at >= end:
        return end
    size = text_size(w, at, end, unicode)
    add_name(w, item, field, at, size, ENCODING_UTF16 if unicode else ENCODING_OEM)
    return at + size + (2 if unicode else 1)


@kernel
def read_negotiate_answer1(w: Found, row: int) -> None:
    """[MS-CIFS 2.2.4.52.2; MS-SMB 2.2.4.5.2; X/Open SMB 6.1]"""
    words = word_count(w, row)
    if words not in (1, 13, 17) or not has(w, row, 3, _P_NEGOTIATE_ANSWER):
        return
    body = w.rows[row, M_BODY]
    item = add_item(w, row, TABLE_NEGOTIATE_ANSWER)
    w.items[item, I_VALUE + 5] = -1  # a revision is given by SMB 2 only
    w.items[item, I_VALUE + 6] = le16(w.arena, body + _NA_INDEX)
    if words == 13:
        mode = le16(w.arena, body + _LANMAN_MODE)
        w.items[item, I_VALUE + 3] = mode
        w.items[item, I_VALUE + 8] = 0 if mode & NEGOTIATE_USER_SECURITY else 1
    if words != 17 or body + _NEGOTIATE_ANSWER_SIZE > w.rows[row, M_END]:
        return
    mode = byte(w.arena, body + _NA_MODE)
    capabilities = le32(w.arena, body + _NA_CAPABILITIES)
    w.items[item, I_VALUE + 3] = mode
    w.items[item, I_VALUE + 4] = capabilities
    w.items[item, I_VALUE + 7] = 1 if mode & NEGOTIATE_SIGNATURES_REQUIRED else 0
    w.items[item, I_VALUE + 8] = 0 if mode & NEGOTIATE_USER_SECURITY else 1
    at = bytes_place(w, row)
    if capabilities & CAP_EXTENDED_SECURITY:
        if at + 16 <= w.rows[row, M_END]:
            read_guid(w, item, 0, at)
    else:  # DomainName follows the challenge without a pad byte in practice.
        at += byte(w.arena, body + _NA_CHALLENGE)
        read_string(w, item, FIELD_DOMAIN, at, bytes_end(w, row), is_unicode(w, row))


@kernel
def read_setup_request1(w: Found, row: int) -> None:
    """[MS-CIFS 2.2.4.53.1; MS-SMB 2.2.4.6.1; X/Open SMB 11.2] in its three forms: 10, 12 and 13 words."""
    if not has_words(w, row, 10, 12, 13, _P_SETUP_REQUEST, _SETUP_REQUEST_SIZE):
        return
    words = word_count(w, row)
    body = w.rows[row, M_BODY]
    end = w.rows[row, M_END]
    first = le16(w.arena, body + _SQ_FIRST)
    second = le16(w.arena, body + _SQ_SECOND) if words == 13 else 0
    unicode = is_unicode(w, row)
    item = add_item(w, row, TABLE_SETUP_REQUEST)
    at = bytes_place(w, row)
    if words == 12:
        w.items[item, I_VALUE] = _FORM_TOKEN
        place_blob(w, row, item, first)
    else:
        w.items[item, I_VALUE] = _FORM_PASSWORDS if words == 13 else _FORM_LANMAN
        w.items[item, I_VALUE + 6] = _TOKEN_PASSWORDS
        w.items[item, I_VALUE + 7] = first
        w.items[item, I_VALUE + 8] = second
        w.items[item, I_VALUE + 9] = 1 if first == 1 and at < end and byte(w.arena, at) == 0 else 0
    is_whole = at + le16(w.arena, at - 2) <= end
    at += first + second
    stop = bytes_end(w, row)
    inside = at <= end and is_whole
    at = text_start(w, row, at, unicode)
    if words != 12:
        # A name that is not there though the message is whole is an empty one.
        if at >= stop and inside and not w.rows[row, M_FLAGS] & MF_CUT:
            w.items[item, I_VALUE + 10] = 1
        at = read_string(w, item, FIELD_USER, at, stop, unicode)
        at = read_string(w, item, FIELD_DOMAIN, at, stop, unicode)
    at = read_string(w, item, FIELD_NATIVE_OS, at, stop, unicode)
    read_string(w, item, FIELD_NATIVE_LANMAN, at, stop, unicode)


@kernel
def place_blob(w: Found, row: int, item: int, size: int) -> None:
    """Where the security blob lies, where it ends, and whether it was cut: values 3 to 5 of setups."""
    at = min(bytes_place(w, row), w.rows[row, M_END])
    there = min(size, w.rows[row, M_END] - at)
    w.items[item, I_VALUE + 3] = at
    w.items[item, I_VALUE + 4] = at + there
    w.items[item, I_VALUE + 5] = 1 if there < size else 0
    w.items[item, I_VALUE + 6] = _TOKEN_NONE


@kernel
def read_setup_answer1(w: Found, row: int) -> None:
    """[MS-CIFS 2.2.4.53.2; MS-SMB 2.2.4.6.2]"""
    if not has_words(w, row, 3, 4, 4, _P_SETUP_ANSWER, _SETUP_ANSWER_SIZE):
        return
    body = w.rows[row, M_BODY]
    blob = le16(w.arena, body + _SA_BLOB) if word_count(w, row) == 4 else 0
    unicode = is_unicode(w, row)
    item = add_item(w, row, TABLE_SETUP_ANSWER)
    w.items[item, I_VALUE] = le16(w.arena, body + _SA_ACTION)
    place_blob(w, row, item, blob)
    stop = bytes_end(w, row)
    at = text_start(w, row, bytes_place(w, row) + blob, unicode)
    at = read_string(w, item, FIELD_NATIVE_OS, at, stop, unicode)
    read_string(w, item, FIELD_NATIVE_LANMAN, at, stop, unicode)


@kernel
def read_tree_request1(w: Found, row: int) -> None:
    """[MS-CIFS 2.2.4.55.1]"""
    if has_words(w, row, 4, 4, 4, _P_TREE_REQUEST, _TREE_REQUEST_SIZE):
        password = le16(w.arena, w.rows[row, M_BODY] + _TQ_PASSWORD)
        unicode = is_unicode(w, row)
        item = add_item(w, row, TABLE_TREE_REQUEST)
        w.items[item, I_VALUE] = password
        at = text_start(w, row, bytes_place(w, row) + password, unicode)
        read_string(w, item, FIELD_PATH, at, bytes_end(w, row), unicode)


@kernel
def read_core_tree_request(w: Found, row: int) -> None:
    """[MS-CIFS 2.2.4.50.1] Path, password and service: each is a byte 04 and a NUL-terminated string."""
    item = add_item(w, row, TABLE_TREE_REQUEST)
    at = bytes_place(w, row)
    end = bytes_end(w, row)
    found = 0
    while at < end and found < 2:
        size = text_size(w, at, end, 0)
        if size > 0 and byte(w.arena, at) == 4:
            if found == 0:
                add_name(w, item, FIELD_PATH, at + 1, size - 1, ENCODING_OEM)
            else:
                w.items[item, I_VALUE] = size - 1
            found += 1
        at += size + 1


@kernel
def kind_of_tree(b: Bytes, at: int, end: int) -> int:
    """The kind of a tree from the service string of its answer, up to a NUL or the end. [MS-CIFS 2.2.4.55.2]"""
    size = 0
    while at + size < end and byte(b, at + size) != 0:
        size += 1
    if size == 3 and byte(b, at) == 0x49 and byte(b, at + 1) == 0x50 and byte(b, at + 2) == 0x43:  # IPC
        return _TREE_PIPE
    if size == 2 and byte(b, at) == 0x41 and byte(b, at + 1) == 0x3A:  # A:
        return _TREE_DISK
    if size == 5 and le32(b, at) == 0x3154504C and byte(b, at + 4) == 0x3A:  # LPT1:
        return _TREE_PRINT
    return _TREE_UNKNOWN


@kernel
def read_open_request1(w: Found, row: int, command: int) -> None:
    """[MS-CIFS 2.2.4.64.1, 2.2.4.41.1, 2.2.4.3.1] by whichever command."""
    body = w.rows[row, M_BODY]
    unicode = is_unicode(w, row)
    if command == _NT_CREATE:
        if not has_words(w, row, 24, 24, 24, _P_NT_CREATE_REQUEST, _NT_CREATE_REQUEST_SIZE):
            return
        item = add_item(w, row, TABLE_OPEN_REQUEST)
        w.items[item, I_VALUE] = _VIA_NT_CREATE
        w.items[item, I_VALUE + 1] = le32(w.arena, body + _NC_ACCESS)
        at = text_start(w, row, bytes_place(w, row), unicode)
        end = min(bytes_end(w, row), at + le16(w.arena, body + _NC_NAME_SIZE))
    elif command == _OPEN_ANDX:
        if not has_words(w, row, 15, 15, 15, _P_OPEN_ANDX_REQUEST, _OPEN_ANDX_REQUEST_SIZE):
            return
        item = add_item(w, row, TABLE_OPEN_REQUEST)
        w.items[item, I_VALUE] = _VIA_OPEN_ANDX
        at = text_start(w, row, bytes_place(w, row), unicode)
        end = bytes_end(w, row)
    else:
        item = add_item(w, row, TABLE_OPEN_REQUEST)
        w.items[item, I_VALUE] = _VIA_OPEN
        at = text_start(w, row, bytes_place(w, row) + 1, unicode)  # a byte 04 stands before the name
        end = bytes_end(w, row)
    read_string(w, item, FIELD_NAME, at, end, unicode)


@kernel
def read_open_answer1(w: Found, row: int, command: int) -> None:
    """[MS-CIFS 2.2.4.64.2, 2.2.4.41.2, 2.2.4.3.2] Resource types 1 and 2 are pipes [MS-CIFS 2.2.4.64.2]."""
    body = w.rows[row, M_BODY]
    kind = 0
    if command == _NT_CREATE:
        if not has_words(w, row, 34, 42, 50, _P_NT_CREATE_ANSWER, _NT_CREATE_ANSWER_SIZE):
            return
        fid = le16(w.arena, body + _NCA_FID)
        kind = le16(w.arena, body + _NCA_TYPE)
    elif command == _OPEN_ANDX:
        if not has_words(w, row, 15, 19, 19, _P_OPEN_ANDX_ANSWER, _OPEN_ANDX_ANSWER_SIZE):
            return
        fid = le16(w.arena, body + _OA_FID)
        kind = le16(w.arena, body + _OA_TYPE)
    else:
        if not has_words(w, row, 1, 7, 7, _P_FIRST_WORD, _FIRST_WORD_SIZE):
            return
        fid = le16(w.arena, body + _FIRST)
    item = add_item(w, row, TABLE_OPEN_ANSWER)
    w.items[item, I_VALUE + 1] = fid
    w.items[item, I_VALUE + 2] = 1 if kind in (1, 2) else 0


@kernel
def read_read_request1(w: Found, row: int, command: int) -> None:
    """[MS-CIFS 2.2.4.42.1, 2.2.4.11.1, 2.2.4.20.1, 2.2.4.22.1, 2.2.4.23.1]"""
    if command == _READ_ANDX:
        if not has_words(w, row, 10, 12, 12, _P_READ_ANDX_REQUEST, _READ_ANDX_REQUEST_SIZE):
            return
        fid = le16(w.arena, w.rows[row, M_BODY] + _RQ_FID)
    else:
        core = command in (_READ, _LOCK_AND_READ)
        if not has_words(
            w, row, 5 if core else 8, 5 if core else 8, 5 if core else 10, _P_FIRST_WORD, _FIRST_WORD_SIZE
        ):
            return
        fid = le16(w.arena, w.rows[row, M_BODY] + _FIRST)
    item = add_item(w, row, TABLE_DATA_REQUEST)
    w.items[item, I_VALUE + 1] = fid
    w.items[item, I_VALUE + 2] = _WAY_READ


@kernel
def read_read_answer1(w: Found, row: int, command: int) -> None:
    """[MS-CIFS 2.2.4.42.2, 2.2.4.11.2, 2.2.4.20.2, 2.2.4.23.2] READ_RAW is answered without a header, by data alone."""
    body = w.rows[row, M_BODY]
    if command == _READ_ANDX:
        if has_words(w, row, 12, 12, 12, _P_READ_ANDX_ANSWER, _READ_ANDX_ANSWER_SIZE):
            size = le16(w.arena, body + _RA_SIZE) + (le16(w.arena, body + _RA_HIGH) << 16)
            item = add_item(w, row, TABLE_DATA_ANSWER)
            w.items[item, I_VALUE] = size
            place_part(w, row, item, 1, le16(w.arena, body + _RA_AT), size)
    elif command == _READ_MPX:
        if has_words(w, row, 8, 8, 8, _P_READ_MPX_ANSWER, _READ_MPX_ANSWER_SIZE):
            size = le16(w.arena, body + _MA_SIZE)
            item = add_item(w, row, TABLE_DATA_ANSWER)
            w.items[item, I_VALUE] = size
            place_part(w, row, item, 1, le16(w.arena, body + _MA_AT), size)
    elif has_words(w, row, 5, 5, 5, _P_FIRST_WORD, _FIRST_WORD_SIZE):
        size = le16(w.arena, body + _FIRST)
        item = add_item(w, row, TABLE_DATA_ANSWER)
        w.items[item, I_VALUE] = size
        place_part(w, row, item, 1, bytes_place(w, row) + 3 - w.rows[row, M_HEADER], size)


@kernel
def read_write_request1(w: Found, row: int, command: int) -> None:
    """[MS-CIFS 2.2.4.43.1, 2.2.4.12.1, 2.2.4.21.1, 2.2.4.25.1, 2.2.4.26.1, 2.2.4.40.1]"""
    body = w.rows[row, M_BODY]
    if command == _WRITE_ANDX:
        if not has_words(w, row, 12, 14, 14, _P_WRITE_ANDX_REQUEST, _WRITE_ANDX_REQUEST_SIZE):
            return
        fid = le16(w.arena, body + _WQ_FID)
        size = le16(w.arena, body + _WQ_SIZE) + (le16(w.arena, body + _WQ_HIGH) << 16)
        offset = le16(w.arena, body + _WQ_AT)
        # The first part of a message that is written raw has the message's length before it: [MS-CIFS] names the modes,
        # and captures of Windows clients have the two bytes.
        if le16(w.arena, body + _WQ_MODE) & _RAW_START == _RAW_START and size >= 2:
            offset += 2
            size -= 2
    elif command in (_WRITE_RAW, _WRITE_MPX):
        if not has_words(w, row, 12, 14, 14, _P_WRITE_RAW_REQUEST, _WRITE_RAW_REQUEST_SIZE):
            return
        fid = le16(w.arena, body + _WR_FID)
        size = le16(w.arena, body + (_WR_TOTAL if command == _WRITE_RAW else _WR_SIZE))
        offset = le16(w.arena, body + _WR_AT)
    else:
        # WRITE has a byte 01 and the length again before its data, WRITE_AND_CLOSE (6 or 12 words) a pad byte.
        words = 6 if command == _WRITE_AND_CLOSE else 5
        if not has_words(w, row, words, words, words if words == 5 else 12, _P_READ_WRITE_CORE, _READ_WRITE_CORE_SIZE):
            return
        fid = le16(w.arena, body + _FIRST)
        size = le16(w.arena, body + _CORE_COUNT)
        offset = bytes_place(w, row) + (1 if command == _WRITE_AND_CLOSE else 3) - w.rows[row, M_HEADER]
    item = add_item(w, row, TABLE_DATA_REQUEST)
    w.items[item, I_VALUE + 1] = fid
    w.items[item, I_VALUE + 2] = _WAY_WRITE
    w.items[item, I_VALUE + 3] = size
    place_part(w, row, item, 4, offset, size)
    if command == _WRITE_AND_CLOSE:
        w.items[add_item(w, row, TABLE_CLOSE_REQUEST), I_VALUE + 1] = fid


@kernel
def upper(w: Found, at: int, width: int) -> int:
    """A character of `width` bytes, in upper case if it is an ASCII letter."""
    value = le16(w.arena, at) if width == 2 else byte(w.arena, at)
    return value - 32 if 0x61 <= value <= 0x7A else value


@kernel
def names_rap(w: Found, at: int, end: int, width: int) -> int:
    """1 if the name of a transaction begins with `\\PIPE\\LANMAN`: a call of the Remote Administration Protocol."""
    if end - at < 12 * width:
        return 0
    same = 0
    for i in range(12):
        same += 1 if upper(w, at + i * width, width) == _PIPE_LANMAN[i] else 0
    return 1 if same == 12 else 0


@kernel
def names_mailslot(w: Found, at: int, end: int, width: int) -> int:
    """1 if the name of a transaction begins with `\\MAILSLOT`."""
    if end - at < 9 * width:
        return 0
    same = 0
    for i in range(9):
        same += 1 if upper(w, at + i * width, width) == _MAILSLOT[i] else 0
    return 1 if same == 9 else 0


@kernel
def parameters_row(w: Found, row: int, all_of: int, here: int, secondary: int) -> int:
    """Which message has the parameters of a transaction: its first one, or the one that says that all come there.

    all_of, here: bytes of parameters in all and in the first one. -1: they are spread, or in none of the next `LOOK_AHEAD`
    messages of this window. All parts have the same PID, MID, TID and UID. [MS-CIFS 3.2.4.1.5]
    """
    if here >= all_of:
        return row
    if here > 0:
        return -1
    ids = le64(w.arena, w.rows[row, M_HEADER] + _H_TID)
    for other in range(row + 1, min(w.rows.shape[0], row + 1 + LOOK_AHEAD)):
        if (
            w.rows[other, M_CONNECTION] != w.rows[row, M_CONNECTION]
            or w.rows[other, M_PROTOCOL] != w.rows[row, M_PROTOCOL]
            or w.rows[other, M_FROM_SERVER]
            or le64(w.arena, w.rows[other, M_HEADER] + _H_TID) != ids
        ):
            continue
        if w.rows[other, M_COMMAND] != secondary:
            return -1  # the ids are used again
        size = _NT_SECONDARY_SIZE if secondary == _NT_SECONDARY else _SECONDARY_SIZE
        if w.rows[other, M_BODY] + size > w.rows[other, M_END] or 1 + 2 * word_count(w, other) < size:
            return -1
        if secondary_value(w, other, secondary, _S_PARAMETERS, _NS_PARAMETERS) > 0:
            whole = secondary_value(w, other, secondary, _S_PARAMETERS, _NS_PARAMETERS) >= all_of
            return other if whole and secondary_value(w, other, secondary, _S_MOVED, _NS_MOVED) == 0 else -1
    return -1


@kernel
def secondary_value(w: Found, row: int, secondary: int, at: int, nt_at: int) -> int:
    """A field of a further part, by its offsets in both forms."""
    body = w.rows[row, M_BODY]
    return le32(w.arena, body + nt_at) if secondary == _NT_SECONDARY else le16(w.arena, body + at)


@kernel
def read_transaction_request(w: Found, row: int) -> None:
    """[MS-CIFS 2.2.4.33.1, 2.2.5] Pipe functions, RAP, or a mailslot (which is passed over)."""
    if word_count(w, row) < 14 or not has(w, row, TRANSACTION_FIXED, _P_TRANSACTION):
        return
    body = w.rows[row, M_BODY]
    unicode = is_unicode(w, row)
    width = 2 if unicode else 1
    setup = byte(w.arena, body + _X_SETUP)
    function = le16(w.arena, body + _X_FUNCTION) if setup >= 1 else NO_FUNCTION
    start = bytes_place(w, row)
    stop = min(bytes_end(w, row), start + MAX_TRANSACTION_NAME)
    at = text_start(w, row, start, unicode)
    end = at + text_size(w, at, stop, unicode) if at < stop else at
    w.messages[row, D_KIND] = _KIND_OTHER
    if names_mailslot(w, at, end, width):
        return
    if function in (_PIPE_TRANSACT, _PIPE_READ, _PIPE_WRITE, _PIPE_RAW_READ, _PIPE_RAW_WRITE):
        w.messages[row, D_KIND] = _KIND_DATA
        item = add_item(w, row, TABLE_DATA_REQUEST)
        way = _WAY_WRITE
        if function == _PIPE_TRANSACT:
            way = _WAY_TRANSACT
        elif function in (_PIPE_READ, _PIPE_RAW_READ):
            way = _WAY_READ
        w.items[item, I_VALUE + 1] = le16(w.arena, body + _X_FID) if setup >= 2 else NO_FID
        w.items[item, I_VALUE + 2] = way
        w.items[item, I_VALUE + 3] = 0 if way == _WAY_READ else le16(w.arena, body + _X_TOTAL)
        place_part(w, row, item, 4, le16(w.arena, body + _X_DATA_AT), le16(w.arena, body + _X_DATA))
        return
    is_rap = names_rap(w, at, end, width)
    if is_rap or function == _PIPE_WAIT:
        w.messages[row, D_KIND] = _KIND_CALL
        item = add_item(w, row, TABLE_CALL_REQUEST)
        w.items[item, I_VALUE] = _RAP if is_rap else _FSCTL
        w.items[item, I_VALUE + 1] = FSCTL_PIPE_WAIT
        if is_rap:  # RAPOpcode, the first two parameter bytes [MS-RAP 2.5.1]
            place = clip(w, row, le16(w.arena, body + _X_PARAMETERS_AT))
            size = min(le16(w.arena, body + _X_PARAMETERS), w.rows[row, M_END] - place)
            other = (
                parameters_row(w, row, le16(w.arena, body + _X_ALL_PARAMETERS), size, _SECONDARIES[0])
                if size == 0
                else -1
            )
            if other > row:
                place = clip(w, other, le16(w.arena, w.rows[other, M_BODY] + _S_PARAMETERS_AT))
                size = w.rows[other, M_END] - place
            w.items[item, I_VALUE + 1] = le16(w.arena, place) if size >= 2 else NO_FUNCTION
        add_name(w, item, FIELD_NAME, at, end - at, ENCODING_UTF16 if unicode else ENCODING_OEM)
    elif function == _PIPE_CALL:
        w.messages[row, D_KIND] = _KIND_OPEN
        item = add_item(w, row, TABLE_OPEN_REQUEST)
        w.items[item, I_VALUE] = _VIA_CALL
        add_name(w, item, FIELD_NAME, at, end - at, ENCODING_UTF16 if unicode else ENCODING_OEM)
        # What it writes and reads goes through the pipe that it opens itself.
        item = add_item(w, row, TABLE_DATA_REQUEST)
        w.items[item, I_VALUE + 1] = _ANY_FILE
        w.items[item, I_VALUE + 2] = _WAY_TRANSACT
        w.items[item, I_VALUE + 3] = le16(w.arena, body + _X_TOTAL)
        place_part(w, row, item, 4, le16(w.arena, body + _X_DATA_AT), le16(w.arena, body + _X_DATA))


@kernel
def read_transaction_answer(w: Found, row: int) -> None:
    """[MS-CIFS 2.2.4.33.2] What is answered is known only with the request, so both bodies are made.

    An interim answer (no words, no error) says nothing and is made one that pairs with nothing. Of several answers to
    one request the first tells the totals.
    """
    words = word_count(w, row)
    if words == 0 and w.messages[row, D_STATUS] == 0:
        w.messages[row, D_KEY] = _NO_KEY
    if words < 10 or not has(w, row, _TRANSACTION_ANSWER_SIZE, _P_TRANSACTION_ANSWER):
        return
    body = w.rows[row, M_BODY]
    if le16(w.arena, body + _XA_DATA_MOVED) > 0 or le16(w.arena, body + _XA_PARAMETERS_MOVED) > 0:
        w.messages[row, D_KEY] = _NO_KEY
    total = le16(w.arena, body + _XA_TOTAL)
    item = add_item(w, row, TABLE_DATA_ANSWER)
    w.items[item, I_VALUE] = total
    place_part(w, row, item, 1, le16(w.arena, body + _XA_DATA_AT), le16(w.arena, body + _XA_DATA))
    item = add_item(w, row, TABLE_CALL_ANSWER)
    place = clip(w, row, le16(w.arena, body + _XA_PARAMETERS_AT))
    size = min(le16(w.arena, body + _XA_PARAMETERS), w.rows[row, M_END] - place)
    w.items[item, I_VALUE] = le16(w.arena, place) if size >= 2 else -1
    w.items[item, I_VALUE + 1] = total


@kernel
def read_transaction2_request(w: Found, row: int) -> None:
    """[MS-CIFS 2.2.4.46.1] Of its functions only referrals and opens are of interest."""
    if word_count(w, row) < 15 or not has(w, row, TRANSACTION2_FIXED, _P_TRANSACTION):
        return
    body = w.rows[row, M_BODY]
    function = le16(w.arena, body + _X_FUNCTION)
    if function == TRANS2_GET_DFS_REFERRAL:
        w.messages[row, D_KIND] = _KIND_CALL
        item = add_item(w, row, TABLE_CALL_REQUEST)
        w.items[item, I_VALUE] = _DFS
        w.items[item, I_VALUE + 1] = TRANS2_GET_DFS_REFERRAL
        skip = 2  # MaxReferralLevel, RequestFileName [MS-DFSC 2.2.2]
    elif function == TRANS2_OPEN2:
        w.messages[row, D_KIND] = _KIND_OPEN
        item = add_item(w, row, TABLE_OPEN_REQUEST)
        w.items[item, I_VALUE] = _VIA_TRANS2_OPEN2
        skip = 28  # [MS-CIFS 2.2.6.1.1]
    else:
        w.messages[row, D_KIND] = _KIND_OTHER
        return
    at = clip(w, row, le16(w.arena, body + _X_PARAMETERS_AT))
    here = le16(w.arena, body + _X_PARAMETERS)
    other = parameters_row(w, row, le16(w.arena, body + _X_ALL_PARAMETERS), here, _SECONDARIES[1])
    if other > row:
        at = clip(w, other, le16(w.arena, w.rows[other, M_BODY] + _S_PARAMETERS_AT))
        here = le16(w.arena, w.rows[other, M_BODY] + _S_PARAMETERS)
    if other >= 0:  # of a name that is spread over several messages nothing is said
        end = at + min(here, w.rows[other, M_END] - at)
        read_string(w, item, FIELD_NAME, at + skip, end, is_unicode(w, row))


@kernel
def read_transaction2_answer(w: Found, row: int) -> None:
    """[MS-CIFS 2.2.4.46.2, 2.2.6.16.2] Data without parameters may be a referral: what was asked tells.

    An interim answer pairs with nothing, and of several answers to one request only the first is read.
    """
    words = word_count(w, row)
    if words == 0 and w.messages[row, D_STATUS] == 0:
        w.messages[row, D_KEY] = _NO_KEY
    body = w.rows[row, M_BODY]
    if words < 10 or body + _TRANSACTION_ANSWER_SIZE > w.rows[row, M_END] or w.messages[row, D_STATUS] != 0:
        return
    if le16(w.arena, body + _XA_DATA_MOVED) > 0 or le16(w.arena, body + _XA_PARAMETERS_MOVED) > 0:
        w.messages[row, D_KEY] = _NO_KEY
    elif le16(w.arena, body + _XA_PARAMETERS) == 0 and le16(w.arena, body + _XA_DATA) > 0:
        here = le16(w.arena, body + _XA_DATA)
        extent = _IN_PARTS if here < le16(w.arena, body + _XA_TOTAL) else 0
        place_referral(w, row, le16(w.arena, body + _XA_DATA_AT), here, extent)


@kernel
def read_nt_transact_request(w: Found, row: int) -> None:
    """[MS-CIFS 2.2.4.62.1] Opens, and control codes on pipes."""
    if word_count(w, row) < 19 or not has(w, row, NT_TRANSACT_FIXED, _P_NT_TRANSACT):
        return
    body = w.rows[row, M_BODY]
    function = le16(w.arena, body + _NT_FUNCTION)
    w.messages[row, D_KIND] = _KIND_OTHER
    if function == NT_TRANSACT_CREATE:
        w.messages[row, D_KIND] = _KIND_OPEN
        item = add_item(w, row, TABLE_OPEN_REQUEST)
        w.items[item, I_VALUE] = _VIA_NT_TRANSACT
        at = clip(w, row, le32(w.arena, body + _NT_PARAMETERS_AT))
        here = le32(w.arena, body + _NT_PARAMETERS)
        other = parameters_row(w, row, le32(w.arena, body + _NT_ALL_PARAMETERS), here, _NT_SECONDARY)
        if other > row:
            at = clip(w, other, le32(w.arena, w.rows[other, M_BODY] + _NS_PARAMETERS_AT))
            here = le32(w.arena, w.rows[other, M_BODY] + _NS_PARAMETERS)
        end = at + min(here, w.rows[other, M_END] - at) if other >= 0 else at
        if end - at >= _NTC_SIZE:
            unicode = is_unicode(w, row)
            w.items[item, I_VALUE + 1] = le32(w.arena, at + _NTC_ACCESS)
            size = le32(w.arena, at + _NTC_NAME_SIZE)
            at = text_start(w, other, at + _NTC_SIZE, unicode)
            read_string(w, item, FIELD_NAME, at, min(end, at + size), unicode)
    elif function == NT_TRANSACT_IOCTL and byte(w.arena, body + _NT_SETUP) >= 4:
        code = le32(w.arena, body + _NT_CODE)
        if code == FSCTL_PIPE_TRANSCEIVE:
            w.messages[row, D_KIND] = _KIND_DATA
            item = add_item(w, row, TABLE_DATA_REQUEST)
            w.items[item, I_VALUE + 1] = le16(w.arena, body + _NT_FID)
            w.items[item, I_VALUE + 2] = _WAY_TRANSACT
            w.items[item, I_VALUE + 3] = le32(w.arena, body + _NT_TOTAL)
            place_part(w, row, item, 4, le32(w.arena, body + _NT_DATA_AT), le32(w.arena, body + _NT_DATA))
        elif code != FSCTL_PIPE_PEEK:  # which says nothing that the open did not
            w.messages[row, D_KIND] = _KIND_CALL
            item = add_item(w, row, TABLE_CALL_REQUEST)
            w.items[item, I_VALUE] = _FSCTL
            w.items[item, I_VALUE + 1] = code
            at = clip(w, row, le32(w.arena, body + _NT_DATA_AT))
            end = at + min(le32(w.arena, body + _NT_DATA), w.rows[row, M_END] - at)
            if code == FSCTL_PIPE_WAIT and end - at >= PIPE_WAIT_FIXED:
                size = min(end, at + PIPE_WAIT_FIXED + le32(w.arena, at + 8)) - at - PIPE_WAIT_FIXED
                add_name(w, item, FIELD_NAME, at + PIPE_WAIT_FIXED, size, ENCODING_UTF16)
