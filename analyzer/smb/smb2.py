"""SMB 2 and 3. [MS-SMB2]

Kernels read headers and bodies of selected PDUs. Structures are read where the message says they are
(`SecurityBufferOffset`, `NameOffset`, ...), cut to the bytes that were captured.
"""

from __future__ import annotations

from enum import IntFlag

from analyzer.compiled import kernel
from analyzer.records import ANY_FILE, NO_KEY, CallProtocol, Flag, Form, Kind, Protocol, TokenKind, Via, Way
from analyzer.smb.window import (
    D_FLAGS,
    D_KEY,
    D_KIND,
    D_PROTOCOL,
    D_SESSION,
    D_STATUS,
    D_TREE,
    ENCODING_DIALECTS_SMB2,
    ENCODING_UTF16,
    FIELD_DIALECTS,
    FIELD_NAME,
    FIELD_PATH,
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
    M_END,
    M_FLAGS,
    M_FROM_SERVER,
    M_HEADER,
    M_MESSAGE,
    M_PLACE,
    MF_CUT,
)
from analyzer.wire.enums import Code
from analyzer.wire.layout import Layout
from analyzer.wire.loads import byte, le16, le32, le64

# Enums. #


class Command(Code):
    """[MS-SMB2 2.2.1.2]"""

    NEGOTIATE = 0x00
    SESSION_SETUP = 0x01
    LOGOFF = 0x02
    TREE_CONNECT = 0x03
    TREE_DISCONNECT = 0x04
    CREATE = 0x05
    CLOSE = 0x06
    FLUSH = 0x07
    READ = 0x08
    WRITE = 0x09
    LOCK = 0x0A
    IOCTL = 0x0B
    CANCEL = 0x0C
    ECHO = 0x0D
    QUERY_DIRECTORY = 0x0E
    CHANGE_NOTIFY = 0x0F
    QUERY_INFO = 0x10
    SET_INFO = 0x11
    OPLOCK_BREAK = 0x12


class HeaderFlags(IntFlag):
    """[MS-SMB2 2.2.1.2]"""

    SERVER_TO_REDIR = 0x00000001
    ASYNC_COMMAND = 0x00000002
    RELATED_OPERATIONS = 0x00000004
    SIGNED = 0x00000008


class Fsctl(Code):
    """Control codes that say what a client wants of IPC$. [MS-SMB2 2.2.31; MS-FSCC 2.3]"""

    DFS_GET_REFERRALS = 0x00060194
    DFS_GET_REFERRALS_EX = 0x000601B0
    PIPE_PEEK = 0x0011400C
    PIPE_WAIT = 0x00110018
    PIPE_TRANSCEIVE = 0x0011C017
    QUERY_NETWORK_INTERFACE_INFO = 0x001401FC
    VALIDATE_NEGOTIATE_INFO = 0x00140204


DIALECTS = {0x0202: "2.0.2", 0x0210: "2.1", 0x0300: "3.0", 0x0302: "3.0.2", 0x0311: "3.1.1", 0x02FF: "2.?"}
SESSION_SETUP_BINDING = 0x01
NEGOTIATE_SIGNING_REQUIRED = 0x0002
STATUS_SUCCESS = 0x00000000
STATUS_PENDING = 0x00000103
STATUS_MORE_PROCESSING_REQUIRED = 0xC0000016
STATUS_BUFFER_OVERFLOW = 0x80000005
NO_TREE = 0xFFFFFFFF
NO_SESSION = -1  # 0xFFFFFFFF_FFFFFFFF

# Layouts. #

HEADER = Layout(
    "SMB2 header",  # [MS-SMB2 2.2.1.2]
    [
        ("protocol_id", "4s"),  #     0  FE 'SMB'
        ("structure_size", "H"),  #   4  64
        ("credit_charge", "H"),  #    6
        ("status", "I"),  #           8  responses: NT status
        ("command", "H"),  #         12
        ("credits", "H"),  #         14
        ("flags", "I"),  #           16
        ("next_command", "I"),  #    20  distance to the next PDU's header, 0: last
        ("message_id", "Q"),  #      24
        ("reserved", "I"),  #        32  asynchronous: the AsyncId takes this field and the next
        ("tree_id", "I"),  #         36
        ("session_id", "Q"),  #      40
        ("signature", "16s"),  #     48
    ],
)
TRANSFORM_HEADER = Layout(
    "SMB2 TRANSFORM_HEADER",  # [MS-SMB2 2.2.41]
    [
        ("protocol_id", "4s"),  #             0  FD 'SMB'
        ("signature", "16s"),  #              4
        ("nonce", "16s"),  #                 20
        ("original_message_size", "I"),  #   36
        ("reserved", "H"),  #                40
        ("flags", "H"),  #                   42
        ("session_id", "Q"),  #              44
    ],
)
COMPRESSION_HEADER = Layout(
    "SMB2 COMPRESSION_TRANSFORM_HEADER",  # [MS-SMB2 2.2.42.1]; chained payloads (2.2.42.2) have these fields there too
    [
        ("protocol_id", "4s"),  #             0  FC 'SMB'
        ("original_size", "I"),  #            4
        ("algorithm", "H"),  #                8
        ("flags", "H"),  #                   10  1: chained
        ("offset", "I"),  #                  12  so many bytes follow as they are; chained: size of the first payload
    ],
)
NEGOTIATE_REQUEST_BODY = Layout(
    "SMB2 NEGOTIATE Request",  # [MS-SMB2 2.2.3]
    [
        ("structure_size", "H"),  #     0  36
        ("dialect_count", "H"),  #      2
        ("security_mode", "H"),  #      4
        ("reserved", "H"),  #           6
        ("capabilities", "I"),  #       8
        ("client_guid", "16s"),  #     12
        ("negotiate_context_offset", "I"),  # 28  from the header; a time stamp if 3.1.1 is not offered
        ("negotiate_context_count", "H"),  #  32
        ("reserved2", "H"),  #                34  dialects follow
    ],
)
NEGOTIATE_RESPONSE_BODY = Layout(
    "SMB2 NEGOTIATE Response",  # [MS-SMB2 2.2.4], as much of it as is wanted of cut ones too; whole: see `contexts`
    [
        ("structure_size", "H"),  #      0  65
        ("security_mode", "H"),  #       2
        ("dialect_revision", "H"),  #    4
        ("context_count", "H"),  #       6
        ("server_guid", "16s"),  #       8
        ("capabilities", "I"),  #       24
    ],
)
SESSION_SETUP_REQUEST_BODY = Layout(
    "SMB2 SESSION_SETUP Request",  # [MS-SMB2 2.2.5]
    [
        ("structure_size", "H"),  #            0  25
        ("flags", "B"),  #                     2  0x01: binding
        ("security_mode", "B"),  #             3
        ("capabilities", "I"),  #              4
        ("channel", "I"),  #                   8
        ("security_buffer_offset", "H"),  #   12  from the header
        ("security_buffer_length", "H"),  #   14
        ("previous_session_id", "Q"),  #      16
    ],
)
SESSION_SETUP_RESPONSE_BODY = Layout(
    "SMB2 SESSION_SETUP Response",  # [MS-SMB2 2.2.6]
    [
        ("structure_size", "H"),  #            0  9
        ("session_flags", "H"),  #             2
        ("security_buffer_offset", "H"),  #    4
        ("security_buffer_length", "H"),  #    6
    ],
)
TREE_CONNECT_REQUEST_BODY = Layout(
    "SMB2 TREE_CONNECT Request",  # [MS-SMB2 2.2.9]
    [
        ("structure_size", "H"),  #    0  9
        ("flags", "H"),  #             2
        ("path_offset", "H"),  #       4
        ("path_length", "H"),  #       6
    ],
)
TREE_CONNECT_RESPONSE_BODY = Layout(
    "SMB2 TREE_CONNECT Response",  # [MS-SMB2 2.2.10]
    [
        ("structure_size", "H"),  #    0  16
        ("share_type", "B"),  #        2
        ("reserved", "B"),  #          3
    ],
)
CREATE_REQUEST_BODY = Layout(
    "SMB2 CREATE Request",  # [MS-SMB2 2.2.13]
    [
        ("structure_size", "H"),  #             0  57
        ("security_flags", "B"),  #             2
        ("requested_oplock_level", "B"),  #     3
        ("impersonation_level", "I"),  #        4
        ("smb_create_flags", "Q"),  #           8
        ("reserved", "Q"),  #                  16
        ("desired_access", "I"),  #            24
        ("file_attributes", "I"),  #           28
        ("share_access", "I"),  #              32
        ("create_disposition", "I"),  #        36
        ("create_options", "I"),  #            40
        ("name_offset", "H"),  #               44
        ("name_length", "H"),  #               46
    ],
)
FILE_ID = [("file_hi", "Q"), ("file_lo", "Q")]  # persistent, volatile
CREATE_RESPONSE_BODY = Layout("SMB2 CREATE Response", [("fixed", "64s"), *FILE_ID])  # [MS-SMB2 2.2.14]
CLOSE_REQUEST_BODY = Layout("SMB2 CLOSE Request", [("fixed", "8s"), *FILE_ID])  # [MS-SMB2 2.2.15]
READ_REQUEST_BODY = Layout(
    "SMB2 READ Request",  # [MS-SMB2 2.2.19]
    [("structure_size", "H"), ("padding", "B"), ("flags", "B"), ("length", "I"), ("offset", "Q"), *FILE_ID],
)
READ_RESPONSE_BODY = Layout(
    "SMB2 READ Response",  # [MS-SMB2 2.2.20]
    [("structure_size", "H"), ("data_offset", "B"), ("reserved", "B"), ("data_length", "I")],
)
WRITE_REQUEST_BODY = Layout(
    "SMB2 WRITE Request",  # [MS-SMB2 2.2.21]
    [("structure_size", "H"), ("data_offset", "H"), ("length", "I"), ("offset", "Q"), *FILE_ID],
)
IOCTL_REQUEST_BODY = Layout(
    "SMB2 IOCTL Request",  # [MS-SMB2 2.2.31]
    [
        ("structure_size", "H"),  #     0  57
        ("reserved", "H"),  #           2
        ("ctl_code", "I"),  #           4
        *FILE_ID,  #                    8
        ("input_offset", "I"),  #      24
        ("input_count", "I"),  #       28
    ],
)
IOCTL_RESPONSE_BODY = Layout(
    "SMB2 IOCTL Response",  # [MS-SMB2 2.2.32]
    [
        ("structure_size", "H"),  #     0  49
        ("reserved", "H"),  #           2
        ("ctl_code", "I"),  #           4
        *FILE_ID,  #                    8
        ("input_offset", "I"),  #      24
        ("input_count", "I"),  #       28
        ("output_offset", "I"),  #     32
        ("output_count", "I"),  #      36
    ],
)
PIPE_WAIT_FIXED = 14  # [MS-FSCC 2.3.49]: Timeout(8), NameLength(4), TimeoutSpecified(1), padding(1)


def sniff(head: bytes) -> bool:
    """True if a message that begins so is SMB 2 or 3, in clear."""
    return head[:4] == b"\xfeSMB"


def dialect_name(code: int) -> str:
    """The version that a DialectRevision means."""
    return DIALECTS.get(code, f"0x{code:04x}")


def dialect_names(data: bytes) -> str:
    """A list of dialects as a text, separated by |."""
    return "|".join(dialect_name(data[at] | data[at + 1] << 8) for at in range(0, len(data) - 1, 2))


# What kernels know as plain numbers. #

_NEGOTIATE, _SESSION_SETUP, _TREE_CONNECT = (
    int(Command.NEGOTIATE),
    int(Command.SESSION_SETUP),
    int(Command.TREE_CONNECT),
)
_CREATE, _CLOSE, _READ, _WRITE, _IOCTL = (
    int(code) for code in (Command.CREATE, Command.CLOSE, Command.READ, Command.WRITE, Command.IOCTL)
)
_LOGOFF, _TREE_DISCONNECT = int(Command.LOGOFF), int(Command.TREE_DISCONNECT)
_FLAG_ASYNC, _FLAG_RELATED, _FLAG_SIGNED = (
    int(flag) for flag in (HeaderFlags.ASYNC_COMMAND, HeaderFlags.RELATED_OPERATIONS, HeaderFlags.SIGNED)
)
_ASYNC, _RELATED, _SIGNED, _CUT = (int(flag) for flag in (Flag.ASYNC, Flag.RELATED, Flag.SIGNED, Flag.CUT))
_PROTOCOL, _NO_KEY = int(Protocol.SMB2), NO_KEY
_KIND_NEGOTIATE, _KIND_SETUP, _KIND_LOGOFF, _KIND_TREE_CONNECT, _KIND_TREE_DISCONNECT = (
    int(kind) for kind in (Kind.NEGOTIATE, Kind.SETUP, Kind.LOGOFF, Kind.TREE_CONNECT, Kind.TREE_DISCONNECT)
)
_KIND_OPEN, _KIND_CLOSE, _KIND_DATA, _KIND_CALL, _KIND_OTHER, _KIND_ENCRYPTED, _KIND_COMPRESSED = (
    int(kind) for kind in (Kind.OPEN, Kind.CLOSE, Kind.DATA, Kind.CALL, Kind.OTHER, Kind.ENCRYPTED, Kind.COMPRESSED)
)
_FORM_TOKEN, _VIA_CREATE, _TOKEN_NONE = int(Form.TOKEN), int(Via.CREATE), int(TokenKind.NONE)
_WAY_WRITE, _WAY_READ, _WAY_TRANSACT = int(Way.WRITE), int(Way.READ), int(Way.TRANSACT)
_CALL_DFS, _CALL_FSCTL = int(CallProtocol.DFS), int(CallProtocol.FSCTL)
_DFS, _DFS_EX, _PEEK, _WAIT, _TRANSCEIVE = (
    int(code)
    for code in (
        Fsctl.DFS_GET_REFERRALS,
        Fsctl.DFS_GET_REFERRALS_EX,
        Fsctl.PIPE_PEEK,
        Fsctl.PIPE_WAIT,
        Fsctl.PIPE_TRANSCEIVE,
    )
)
_ANY_FILE = ANY_FILE - (1 << 64)  # as a signed number

_H = HEADER.offsets
HEADER_SIZE = HEADER.size
_H_STATUS, _H_COMMAND, _H_FLAGS, _H_MESSAGE_ID = _H["status"], _H["command"], _H["flags"], _H["message_id"]
_H_TREE_ID, _H_SESSION_ID = _H["tree_id"], _H["session_id"]
_T_SIGNATURE = TRANSFORM_HEADER.offsets["signature"]
_T_SESSION_ID = TRANSFORM_HEADER.offsets["session_id"]
_P_PLAIN, _COMPRESSION_SIZE = COMPRESSION_HEADER.offsets["offset"], COMPRESSION_HEADER.size
_PROTOCOL_ID = int.from_bytes(b"\xfeSMB", "little")
_NQ = NEGOTIATE_REQUEST_BODY.offsets
_NQ_COUNT, _NQ_MODE, _NQ_CAPABILITIES, _NQ_GUID = (
    _NQ["dialect_count"],
    _NQ["security_mode"],
    _NQ["capabilities"],
    _NQ["client_guid"],
)
_NA = NEGOTIATE_RESPONSE_BODY.offsets
_NA_MODE, _NA_DIALECT, _NA_GUID, _NA_CAPABILITIES = (
    _NA["security_mode"],
    _NA["dialect_revision"],
    _NA["server_guid"],
    _NA["capabilities"],
)
_SQ = SESSION_SETUP_REQUEST_BODY.offsets
_SQ_FLAGS, _SQ_AT, _SQ_SIZE, _SQ_PREVIOUS = (
    _SQ["flags"],
    _SQ["security_buffer_offset"],
    _SQ["security_buffer_length"],
    _SQ["previous_session_id"],
)
_SA = SESSION_SETUP_RESPONSE_BODY.offsets
_SA_FLAGS, _SA_AT, _SA_SIZE = _SA["session_flags"], _SA["security_buffer_offset"], _SA["security_buffer_length"]
_TQ = TREE_CONNECT_REQUEST_BODY.offsets
_TQ_AT, _TQ_SIZE = _TQ["path_offset"], _TQ["path_length"]
_TA_TYPE = TREE_CONNECT_RESPONSE_BODY.offsets["share_type"]
_CQ = CREATE_REQUEST_BODY.offsets
_CQ_ACCESS, _CQ_AT, _CQ_SIZE = _CQ["desired_access"], _CQ["name_offset"], _CQ["name_length"]
_CA_FILE = CREATE_RESPONSE_BODY.offsets["file_hi"]
_CLOSE_FILE = CLOSE_REQUEST_BODY.offsets["file_hi"]
_RQ_FILE = READ_REQUEST_BODY.offsets["file_hi"]
_RA = READ_RESPONSE_BODY.offsets
_RA_AT, _RA_SIZE = _RA["data_offset"], _RA["data_length"]
_WQ = WRITE_REQUEST_BODY.offsets
_WQ_AT, _WQ_SIZE, _WQ_FILE = _WQ["data_offset"], _WQ["length"], _WQ["file_hi"]
_IQ = IOCTL_REQUEST_BODY.offsets
_IQ_CODE, _IQ_FILE, _IQ_AT, _IQ_SIZE = _IQ["ctl_code"], _IQ["file_hi"], _IQ["input_offset"], _IQ["input_count"]
_IA = IOCTL_RESPONSE_BODY.offsets
_IA_CODE, _IA_AT, _IA_SIZE = _IA["ctl_code"], _IA["output_offset"], _IA["output_count"]

STRUCTURES = (
    NEGOTIATE_REQUEST_BODY,
    NEGOTIATE_RESPONSE_BODY,
    SESSION_SETUP_REQUEST_BODY,
    SESSION_SETUP_RESPONSE_BODY,
    TREE_CONNECT_REQUEST_BODY,
    TREE_CONNECT_RESPONSE_BODY,
    CREATE_REQUEST_BODY,
    CREATE_RESPONSE_BODY,
    CLOSE_REQUEST_BODY,
    READ_REQUEST_BODY,
    READ_RESPONSE_BODY,
    WRITE_REQUEST_BODY,
    IOCTL_REQUEST_BODY,
    IOCTL_RESPONSE_BODY,
    TRANSFORM_HEADER,
)
"""What a PDU may be too short for: the number of that problem is `FIRST_PROBLEM` and the place in here."""
FIRST_PROBLEM = 200
PROBLEM_OUTSIDE_PATH = 190
PROBLEM_OUTSIDE_NAME = 191
(
    _P_NEGOTIATE_REQUEST, _P_NEGOTIATE_RESPONSE, _P_SETUP_REQUEST, _P_SETUP_RESPONSE, _P_TREE_REQUEST, _P_TREE_RESPONSE,
    _P_CREATE_REQUEST, _P_CREATE_RESPONSE, _P_CLOSE_REQUEST, _P_READ_REQUEST, _P_READ_RESPONSE, _P_WRITE_REQUEST,
    _P_IOCTL_REQUEST, _P_IOCTL_RESPONSE, _P_TRANSFORM,
) = range(FIRST_PROBLEM, FIRST_PROBLEM + len(STRUCTURES))  # fmt: skip
(
    _NEGOTIATE_REQUEST_SIZE, _NEGOTIATE_RESPONSE_SIZE, _SETUP_REQUEST_SIZE, _SETUP_RESPONSE_SIZE, _TREE_REQUEST_SIZE,
    _TREE_RESPONSE_SIZE, _CREATE_REQUEST_SIZE, _CREATE_RESPONSE_SIZE, _CLOSE_REQUEST_SIZE, _READ_REQUEST_SIZE,
    _READ_RESPONSE_SIZE, _WRITE_REQUEST_SIZE, _IOCTL_REQUEST_SIZE, _IOCTL_RESPONSE_SIZE, _TRANSFORM_SIZE,
) = (structure.size for structure in STRUCTURES)  # fmt: skip

# Parse. #


@kernel
def read_smb2(w: Found, row: int, before: int) -> None:
    """A PDU: its header, and its body by command and direction.

    before: the row of the PDU before it, -1 if there is none.
    """
    read_header(w, row, before)
    command = w.rows[row, M_COMMAND]
    if w.rows[row, M_FROM_SERVER]:
        read_response(w, row, command)
    elif command == _NEGOTIATE:
        read_negotiate_request(w, row)
    elif command == _SESSION_SETUP:
        read_setup_request(w, row)
    elif command == _TREE_CONNECT:
        read_tree_request(w, row)
    elif command == _CREATE:
        read_create_request(w, row)
    elif command == _CLOSE:
        if has(w, row, _CLOSE_REQUEST_SIZE, _P_CLOSE_REQUEST):
            read_file_id(w, row, add_item(w, row, TABLE_CLOSE_REQUEST), _CLOSE_FILE)  # [MS-SMB2 2.2.15]
    elif command == _READ:
        if has(w, row, _READ_REQUEST_SIZE, _P_READ_REQUEST):
            item = add_item(w, row, TABLE_DATA_REQUEST)  # [MS-SMB2 2.2.19]
            read_file_id(w, row, item, _RQ_FILE)
            w.items[item, I_VALUE + 2] = _WAY_READ
    elif command == _WRITE:
        read_write_request(w, row)
    elif command == _IOCTL:
        read_ioctl_request(w, row)


@kernel
def read_response(w: Found, row: int, command: int) -> None:
    """The body of an answer. An error has another body [MS-SMB2 2.2.2], of which nothing is wanted."""
    status = w.messages[row, D_STATUS]
    success = status == STATUS_SUCCESS
    # An overflow is a part of the data, not an error. [MS-SMB2 3.3.4.4]
    has_data = success or status == STATUS_BUFFER_OVERFLOW
    if command == _NEGOTIATE:
        if success:
            read_negotiate_response(w, row)
    elif command == _SESSION_SETUP:
        if success or status == STATUS_MORE_PROCESSING_REQUIRED:
            read_setup_response(w, row)
    elif command == _TREE_CONNECT:
        if success and has(w, row, _TREE_RESPONSE_SIZE, _P_TREE_RESPONSE):
            item = add_item(w, row, TABLE_TREE_ANSWER)  # [MS-SMB2 2.2.10]
            w.items[item, I_VALUE] = byte(w.arena, w.rows[row, M_BODY] + _TA_TYPE)
    elif command == _CREATE:
        if success and has(w, row, _CREATE_RESPONSE_SIZE, _P_CREATE_RESPONSE):
            read_file_id(w, row, add_item(w, row, TABLE_OPEN_ANSWER), _CA_FILE)  # [MS-SMB2 2.2.14]
    elif command == _READ:
        if has_data and has(w, row, _READ_RESPONSE_SIZE, _P_READ_RESPONSE):
            read_data_answer(w, row, byte(w.arena, w.rows[row, M_BODY] + _RA_AT), _RA_SIZE)  # [MS-SMB2 2.2.20]
    elif command == _WRITE:
        if has_data:
            add_item(w, row, TABLE_DATA_ANSWER)  # [MS-SMB2 2.2.22] that the bytes were taken is all that matters
    elif command == _IOCTL and has_data and has(w, row, _IOCTL_RESPONSE_SIZE, _P_IOCTL_RESPONSE):
        body = w.rows[row, M_BODY]  # [MS-SMB2 2.2.32]; an error does not say what it answers, its request does
        if le32(w.arena, body + _IA_CODE) == _TRANSCEIVE:
            read_data_answer(w, row, le32(w.arena, body + _IA_AT), _IA_SIZE)
        else:
            item = add_item(w, row, TABLE_CALL_ANSWER)
            w.items[item, I_VALUE] = -1
            w.items[item, I_VALUE + 1] = le32(w.arena, body + _IA_SIZE)
            if success and le32(w.arena, body + _IA_CODE) in (_DFS, _DFS_EX):  # [MS-DFSC 2.2.4]
                place_referral(w, row, le32(w.arena, body + _IA_AT), le32(w.arena, body + _IA_SIZE), 0)


@kernel
def read_header(w: Found, row: int, before: int) -> None:
    """[MS-SMB2 2.2.1.2] A related PDU takes session and tree of the one before it [MS-SMB2 3.3.5.2.7.2]."""
    header = w.rows[row, M_HEADER]
    flags = le32(w.arena, header + _H_FLAGS)
    w.messages[row, D_PROTOCOL] = _PROTOCOL
    w.messages[row, D_KIND] = kind_of_smb2(w.rows[row, M_COMMAND])
    w.messages[row, D_KEY] = le64(w.arena, header + _H_MESSAGE_ID)
    w.messages[row, D_STATUS] = le32(w.arena, header + _H_STATUS) if w.rows[row, M_FROM_SERVER] else 0
    found = 0
    if flags & _FLAG_SIGNED:
        found |= _SIGNED
    if flags & _FLAG_ASYNC:
        found |= _ASYNC
    if flags & _FLAG_RELATED:
        found |= _RELATED
    if w.rows[row, M_FLAGS] & MF_CUT:
        found |= _CUT
    w.messages[row, D_FLAGS] = found
    session = le64(w.arena, header + _H_SESSION_ID)
    tree = NO_TREE if flags & _FLAG_ASYNC else le32(w.arena, header + _H_TREE_ID)
    if flags & _FLAG_RELATED and w.rows[row, M_PLACE] > 0 and before >= 0:
        same = w.rows[before, M_MESSAGE] == w.rows[row, M_MESSAGE]
        if same and session == NO_SESSION:
            session = w.messages[before, D_SESSION]
        if same and tree == NO_TREE:
            tree = w.messages[before, D_TREE]
    w.messages[row, D_SESSION] = session
    w.messages[row, D_TREE] = tree


@kernel
def kind_of_smb2(command: int) -> int:
    """What a command is about."""
    if command == _NEGOTIATE:
        return _KIND_NEGOTIATE
    if command == _SESSION_SETUP:
        return _KIND_SETUP
    if command == _LOGOFF:
        return _KIND_LOGOFF
    if command == _TREE_CONNECT:
        return _KIND_TREE_CONNECT
    if command == _TREE_DISCONNECT:
        return _KIND_TREE_DISCONNECT
    if command == _CREATE:
        return _KIND_OPEN
    if command == _CLOSE:
        return _KIND_CLOSE
    if command in (_READ, _WRITE):
        return _KIND_DATA
    return _KIND_OTHER


@kernel
def read_file_id(w: Found, row: int, item: int, offset: int) -> None:
    """A file id at this offset of the body: the first two values of an item."""
    at = w.rows[row, M_BODY] + offset
    w.items[item, I_VALUE] = le64(w.arena, at)
    w.items[item, I_VALUE + 1] = le64(w.arena, at + 8)


@kernel
def read_guid(w: Found, item: int, value: int, at: int) -> None:
    """A GUID: three values of an item (that it is known, and its halves)."""
    w.items[item, I_VALUE + value] = 1
    w.items[item, I_VALUE + value + 1] = le64(w.arena, at)
    w.items[item, I_VALUE + value + 2] = le64(w.arena, at + 8)


@kernel
def read_text(w: Found, row: int, item: int, field: int, offset: int, size: int, problem: int) -> None:
    """A text in UTF-16 that the message places. One that is not there is missing, and told."""
    at = clip(w, row, offset)
    if at + size <= w.rows[row, M_END]:
        add_name(w, item, field, at, size, ENCODING_UTF16)
    elif not w.rows[row, M_FLAGS] & MF_CUT:
        tell(w, row, problem, -1)


@kernel
def read_negotiate_request(w: Found, row: int) -> None:
    """[MS-SMB2 2.2.3]"""
    if not has(w, row, _NEGOTIATE_REQUEST_SIZE, _P_NEGOTIATE_REQUEST):
        return
    body = w.rows[row, M_BODY]
    item = add_item(w, row, TABLE_NEGOTIATE_REQUEST)
    read_guid(w, item, 0, body + _NQ_GUID)
    w.items[item, I_VALUE + 3] = le16(w.arena, body + _NQ_MODE)
    w.items[item, I_VALUE + 4] = le32(w.arena, body + _NQ_CAPABILITIES)
    at = body + _NEGOTIATE_REQUEST_SIZE
    size = min(2 * le16(w.arena, body + _NQ_COUNT), w.rows[row, M_END] - at)
    add_name(w, item, FIELD_DIALECTS, at, size & ~1, ENCODING_DIALECTS_SMB2)


@kernel
def read_negotiate_response(w: Found, row: int) -> None:
    """[MS-SMB2 2.2.4]"""
    if not has(w, row, _NEGOTIATE_RESPONSE_SIZE, _P_NEGOTIATE_RESPONSE):
        return
    body = w.rows[row, M_BODY]
    item = add_item(w, row, TABLE_NEGOTIATE_ANSWER)
    read_guid(w, item, 0, body + _NA_GUID)
    mode = le16(w.arena, body + _NA_MODE)
    w.items[item, I_VALUE + 3] = mode
    w.items[item, I_VALUE + 4] = le32(w.arena, body + _NA_CAPABILITIES)
    w.items[item, I_VALUE + 5] = le16(w.arena, body + _NA_DIALECT)
    w.items[item, I_VALUE + 6] = -1  # an index is given by SMB 1 only
    w.items[item, I_VALUE + 7] = 1 if mode & NEGOTIATE_SIGNING_REQUIRED else 0


@kernel
def read_setup_request(w: Found, row: int) -> None:
    """[MS-SMB2 2.2.5] The token is left to `auth`: its place is noted."""
    if not has(w, row, _SETUP_REQUEST_SIZE, _P_SETUP_REQUEST):
        return
    body = w.rows[row, M_BODY]
    item = add_item(w, row, TABLE_SETUP_REQUEST)
    w.items[item, I_VALUE] = _FORM_TOKEN
    w.items[item, I_VALUE + 1] = 1 if byte(w.arena, body + _SQ_FLAGS) & SESSION_SETUP_BINDING else 0
    w.items[item, I_VALUE + 2] = le64(w.arena, body + _SQ_PREVIOUS)
    place_token(w, row, item, le16(w.arena, body + _SQ_AT), le16(w.arena, body + _SQ_SIZE))


@kernel
def place_token(w: Found, row: int, item: int, offset: int, size: int) -> None:
    """Where a security buffer lies, where it ends, and whether it was cut: values 3 to 5 of requests and answers."""
    at = clip(w, row, offset)
    there = min(size, w.rows[row, M_END] - at)
    w.items[item, I_VALUE + 3] = at
    w.items[item, I_VALUE + 4] = at + there
    w.items[item, I_VALUE + 5] = 1 if there < size else 0
    w.items[item, I_VALUE + 6] = _TOKEN_NONE


@kernel
def read_setup_response(w: Found, row: int) -> None:
    """[MS-SMB2 2.2.6]"""
    if not has(w, row, _SETUP_RESPONSE_SIZE, _P_SETUP_RESPONSE):
        return
    body = w.rows[row, M_BODY]
    item = add_item(w, row, TABLE_SETUP_ANSWER)
    w.items[item, I_VALUE] = le16(w.arena, body + _SA_FLAGS)
    place_token(w, row, item, le16(w.arena, body + _SA_AT), le16(w.arena, body + _SA_SIZE))


@kernel
def read_tree_request(w: Found, row: int) -> None:
    """[MS-SMB2 2.2.9] With the extension flag the path's offset still counts from the header."""
    if has(w, row, _TREE_REQUEST_SIZE, _P_TREE_REQUEST):
        body = w.rows[row, M_BODY]
        item = add_item(w, row, TABLE_TREE_REQUEST)
        offset = le16(w.arena, body + _TQ_AT)
        read_text(w, row, item, FIELD_PATH, offset, le16(w.arena, body + _TQ_SIZE), PROBLEM_OUTSIDE_PATH)


@kernel
def read_create_request(w: Found, row: int) -> None:
    """[MS-SMB2 2.2.13]"""
    if has(w, row, _CREATE_REQUEST_SIZE, _P_CREATE_REQUEST):
        body = w.rows[row, M_BODY]
        item = add_item(w, row, TABLE_OPEN_REQUEST)
        w.items[item, I_VALUE] = _VIA_CREATE
        w.items[item, I_VALUE + 1] = le32(w.arena, body + _CQ_ACCESS)
        offset = le16(w.arena, body + _CQ_AT)
        read_text(w, row, item, FIELD_NAME, offset, le16(w.arena, body + _CQ_SIZE), PROBLEM_OUTSIDE_NAME)


@kernel
def read_write_request(w: Found, row: int) -> None:
    """[MS-SMB2 2.2.21]"""
    if has(w, row, _WRITE_REQUEST_SIZE, _P_WRITE_REQUEST):
        body = w.rows[row, M_BODY]
        item = add_item(w, row, TABLE_DATA_REQUEST)
        read_file_id(w, row, item, _WQ_FILE)
        size = le32(w.arena, body + _WQ_SIZE)
        w.items[item, I_VALUE + 2] = _WAY_WRITE
        w.items[item, I_VALUE + 3] = size
        place_part(w, row, item, 4, le16(w.arena, body + _WQ_AT), size)


@kernel
def read_data_answer(w: Found, row: int, offset: int, size_at: int) -> None:
    """Data that came back: where it lies, and where in the body its size stands."""
    item = add_item(w, row, TABLE_DATA_ANSWER)
    size = le32(w.arena, w.rows[row, M_BODY] + size_at)
    w.items[item, I_VALUE] = size
    place_part(w, row, item, 1, offset, size)


@kernel
def read_ioctl_request(w: Found, row: int) -> None:
    """[MS-SMB2 2.2.31] A transceive is data on a pipe; most other codes are operations of their own."""
    if not has(w, row, _IOCTL_REQUEST_SIZE, _P_IOCTL_REQUEST):
        return
    body = w.rows[row, M_BODY]
    code = le32(w.arena, body + _IQ_CODE)
    offset = le32(w.arena, body + _IQ_AT)
    size = le32(w.arena, body + _IQ_SIZE)
    if code == _TRANSCEIVE:
        w.messages[row, D_KIND] = _KIND_DATA
        item = add_item(w, row, TABLE_DATA_REQUEST)
        read_file_id(w, row, item, _IQ_FILE)
        w.items[item, I_VALUE + 2] = _WAY_TRANSACT
        w.items[item, I_VALUE + 3] = size
        place_part(w, row, item, 4, offset, size)
        return
    if code == _PEEK and le64(w.arena, body + _IQ_FILE + 8) != _ANY_FILE:
        w.messages[row, D_KIND] = _KIND_OTHER
        return
    w.messages[row, D_KIND] = _KIND_CALL
    item = add_item(w, row, TABLE_CALL_REQUEST)
    w.items[item, I_VALUE] = _CALL_DFS if code in (_DFS, _DFS_EX) else _CALL_FSCTL
    w.items[item, I_VALUE + 1] = code
    at = clip(w, row, offset)
    end = at + min(size, w.rows[row, M_END] - at)
    if code == _DFS and end - at >= 2:  # REQ_GET_DFS_REFERRAL: level, then the path up to a NUL [MS-DFSC 2.2.2]
        add_name(w, item, FIELD_NAME, at + 2, utf16_size(w, at + 2, end), ENCODING_UTF16)
    elif (
        code == _DFS_EX and end - at >= 10
    ):  # level, flags, length, then the path's length and the path [MS-DFSC 2.2.3]
        stop = min(end, at + 10 + le16(w.arena, at + 8))
        add_name(w, item, FIELD_NAME, at + 10, utf16_size(w, at + 10, stop), ENCODING_UTF16)
    elif code == _WAIT and end - at >= PIPE_WAIT_FIXED:
        stop = min(end, at + PIPE_WAIT_FIXED + le32(w.arena, at + 8))
        add_name(w, item, FIELD_NAME, at + PIPE_WAIT_FIXED, stop - at - PIPE_WAIT_FIXED, ENCODING_UTF16)


@kernel
def utf16_size(w: Found, at: int, end: int) -> int:
    """Bytes of a text in UTF-16 up to a NUL, or to the end."""
    place = at
    while place + 2 <= end:
        if le16(w.arena, place) == 0:
            return place - at
        place += 2
    return end - at


@kernel
def read_encrypted(w: Found, row: int) -> None:
    """Encrypted messages show their session and nothing else. [MS-SMB2 2.2.41]"""
    w.messages[row, D_PROTOCOL] = _PROTOCOL
    w.messages[row, D_TREE] = NO_TREE
    if has(w, row, _TRANSFORM_SIZE, _P_TRANSFORM):
        w.messages[row, D_SESSION] = le64(w.arena, w.rows[row, M_HEADER] + _T_SESSION_ID)
        w.messages[row, D_KEY] = le64(w.arena, w.rows[row, M_HEADER] + _T_SIGNATURE)
    w.messages[row, D_KIND] = _KIND_ENCRYPTED


@kernel
def read_compressed(w: Found, row: int) -> None:
    """Compressed messages are not unpacked. Many have their header in front of what is compressed. [MS-SMB2 2.2.42]"""
    w.messages[row, D_PROTOCOL] = _PROTOCOL
    w.messages[row, D_TREE] = NO_TREE
    w.messages[row, D_KEY] = _NO_KEY
    at = w.rows[row, M_HEADER]
    header = at + _COMPRESSION_SIZE
    if (
        header + HEADER_SIZE <= w.rows[row, M_END]
        and le32(w.arena, at + _P_PLAIN) >= HEADER_SIZE
        and le32(w.arena, header) == _PROTOCOL_ID
        and le16(w.arena, header + 4) == HEADER_SIZE
    ):
        w.rows[row, M_HEADER] = header
        w.rows[row, M_COMMAND] = le16(w.arena, header + _H_COMMAND)
        read_header(w, row, -1)
        if w.messages[row, D_STATUS] == STATUS_PENDING:
            w.messages[row, D_KEY] = _NO_KEY  # the answer itself is still to come
    w.messages[row, D_KIND] = _KIND_COMPRESSED
