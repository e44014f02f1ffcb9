"""SMB 2 and 3. [MS-SMB2]

Reads headers and bodies of selected PDUs, a whole window at once. Structures are read where the message says they are
(`SecurityBufferOffset`, `NameOffset`, ...), cut to the bytes that were captured.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntFlag

import numpy as np

from analyzer.records import (
    ANY_FILE,
    CALL_ANSWER,
    CALL_REQUEST,
    CLOSE_REQUEST,
    DATA_ANSWER,
    DATA_REQUEST,
    GUID,
    NEGOTIATE_ANSWER,
    NEGOTIATE_REQUEST,
    OPEN_ANSWER,
    OPEN_REQUEST,
    SETUP_ANSWER,
    SETUP_REQUEST,
    TREE_ANSWER,
    TREE_REQUEST,
    CallProtocol,
    Flag,
    Form,
    Kind,
    Layer,
    Protocol,
    Rows,
    Via,
    Way,
    missing_token,
)
from analyzer.smb.window import Index, Mask, Window, body
from analyzer.transport.messages import M_BODY, M_END, M_FLAGS, M_FROM_SERVER, M_HEADER, M_PLACE, MF_CUT
from analyzer.wire.enums import Code
from analyzer.wire.layout import Layout
from analyzer.wire.texts import MISSING

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
STATUS_MORE_PROCESSING_REQUIRED = 0xC0000016
STATUS_BUFFER_OVERFLOW = 0x80000005
NO_TREE = 0xFFFFFFFF
NO_SESSION = 0xFFFFFFFF_FFFFFFFF

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
NEGOTIATE_REQUEST_BODY = Layout(
    "SMB2 NEGOTIATE Request",  # [MS-SMB2 2.2.3]
    [
        ("structure_size", "H"),  #     0  36
        ("dialect_count", "H"),  #      2
        ("security_mode", "H"),  #      4
        ("reserved", "H"),  #           6
        ("capabilities", "I"),  #       8
        ("client_guid", "16s"),  #     12
        ("contexts", "Q"),  #          28  dialects follow at 36
    ],
)
NEGOTIATE_RESPONSE_BODY = Layout(
    "SMB2 NEGOTIATE Response",  # [MS-SMB2 2.2.4]
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


# Parse. #

KINDS = {
    Command.NEGOTIATE: Kind.NEGOTIATE,
    Command.SESSION_SETUP: Kind.SETUP,
    Command.LOGOFF: Kind.LOGOFF,
    Command.TREE_CONNECT: Kind.TREE_CONNECT,
    Command.TREE_DISCONNECT: Kind.TREE_DISCONNECT,
    Command.CREATE: Kind.OPEN,
    Command.CLOSE: Kind.CLOSE,
    Command.READ: Kind.DATA,
    Command.WRITE: Kind.DATA,
}
_KIND_OF_COMMAND = np.full(0x10000, Kind.OTHER, dtype=np.uint8)
for _command, _kind in KINDS.items():
    _KIND_OF_COMMAND[_command] = _kind


def parse_headers(window: Window, which: Index) -> Rows:
    """Fill the table of messages from the headers of these; returns the headers (`HEADER`)."""
    headers = HEADER.gather(window.arena, window.rows[which, M_HEADER])
    messages = window.messages
    flags = headers["flags"]
    asynchronous = (flags & HeaderFlags.ASYNC_COMMAND) != 0
    messages["protocol"][which] = Protocol.SMB2
    messages["kind"][which] = _KIND_OF_COMMAND[headers["command"]]
    messages["key"][which] = headers["message_id"]
    messages["status"][which] = np.where(window.rows[which, M_FROM_SERVER] != 0, headers["status"], 0)
    messages["flags"][which] = (
        np.where(flags & HeaderFlags.SIGNED, Flag.SIGNED, 0)
        | np.where(asynchronous, Flag.ASYNC, 0)
        | np.where(flags & HeaderFlags.RELATED_OPERATIONS, Flag.RELATED, 0)
        | np.where(window.rows[which, M_FLAGS] & MF_CUT, Flag.CUT, 0)
    )
    messages["session_id"][which] = headers["session_id"]
    messages["tree_id"][which] = np.where(asynchronous, NO_TREE, headers["tree_id"])
    _inherit(window, which)
    return headers


def _inherit(window: Window, which: Index) -> None:
    """A related PDU takes session and tree of the one before it. [MS-SMB2 3.3.5.2.7.2]"""
    messages = window.messages
    related = ((messages["flags"][which] & Flag.RELATED) != 0) & (window.rows[which, M_PLACE] > 0)
    for name, none in (("session_id", NO_SESSION), ("tree_id", NO_TREE)):
        values = messages[name][which]
        needs = related & (values == none)
        if not needs.any():
            continue
        giver = np.maximum.accumulate(np.where(needs, 0, np.arange(len(which))))
        same = messages["message"][which[giver]] == messages["message"][which]
        messages[name][which] = np.where(needs & same, values[giver], values)


def parse_negotiate_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-SMB2 2.2.3]"""
    which = window.having(which, NEGOTIATE_REQUEST_BODY.size, Layer.SMB2, NEGOTIATE_REQUEST_BODY.title)
    fixed = window.gather(NEGOTIATE_REQUEST_BODY, which)
    made = body(NEGOTIATE_REQUEST, which)
    made["client_guid"] = guids(fixed["client_guid"])
    made["security_mode"] = fixed["security_mode"]
    made["capabilities"] = fixed["capabilities"]
    start = window.rows[which, M_BODY] + NEGOTIATE_REQUEST_BODY.size
    end = np.minimum(start + 2 * fixed["dialect_count"].astype(np.int64), window.rows[which, M_END])
    made["dialects"] = [
        _dialects(window, window.arena[at : at + (stop - at) // 2 * 2].tobytes())
        for at, stop in zip(start.tolist(), end.tolist(), strict=True)
    ]
    return {"negotiate_requests": made}


def _dialects(window: Window, data: bytes) -> int:
    """The code of a list of dialects, separated by |."""
    memo = window.texts.memo
    found = memo.get(("dialects", data))
    if found is None:
        names = [dialect_name(data[at] | data[at + 1] << 8) for at in range(0, len(data), 2)]
        found = memo[("dialects", data)] = window.texts.code("|".join(names))
    return found


def dialect_name(code: int) -> str:
    """The version that a DialectRevision means."""
    return DIALECTS.get(code, f"0x{code:04x}")


def guids(values: Rows) -> Rows:
    """GUIDs (`records.GUID`) from fields of 16 bytes."""
    made = np.zeros(len(values), dtype=GUID)
    numbers = np.ascontiguousarray(values).view("<u8").reshape(-1, 2)
    made["known"] = True
    made["a"], made["b"] = numbers[:, 0], numbers[:, 1]
    return made


def parse_negotiate_answer(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-SMB2 2.2.4]"""
    which = which[window.messages["status"][which] == STATUS_SUCCESS]
    which = window.having(which, NEGOTIATE_RESPONSE_BODY.size, Layer.SMB2, NEGOTIATE_RESPONSE_BODY.title)
    fixed = window.gather(NEGOTIATE_RESPONSE_BODY, which)
    made = body(NEGOTIATE_ANSWER, which)
    revisions, places = np.unique(fixed["dialect_revision"], return_inverse=True)
    made["dialect"] = np.array([window.texts.code(dialect_name(code)) for code in revisions.tolist()], "i4")[places]
    made["dialect_index"] = -1
    made["server_guid"] = guids(fixed["server_guid"])
    made["security_mode"] = fixed["security_mode"]
    made["signing_required"] = (fixed["security_mode"] & NEGOTIATE_SIGNING_REQUIRED) != 0
    made["capabilities"] = fixed["capabilities"]
    made["domain"] = MISSING
    return {"negotiate_answers": made}


def parse_setup_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-SMB2 2.2.5] The token is left to `auth`: `token_places` says where it is."""
    which = window.having(which, SESSION_SETUP_REQUEST_BODY.size, Layer.SMB2, SESSION_SETUP_REQUEST_BODY.title)
    fixed = window.gather(SESSION_SETUP_REQUEST_BODY, which)
    made = body(SETUP_REQUEST, which)
    made["form"] = Form.TOKEN
    made["binding"] = (fixed["flags"] & SESSION_SETUP_BINDING) != 0
    made["previous_session_id"] = fixed["previous_session_id"]
    made["native_os"] = made["native_lanman"] = MISSING
    made["token"] = missing_token(len(which))
    return {"setup_requests": made}


def parse_setup_answer(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-SMB2 2.2.6] An error has another body (2.2.2), of which nothing is wanted."""
    status = window.messages["status"][which]
    which = which[(status == STATUS_SUCCESS) | (status == STATUS_MORE_PROCESSING_REQUIRED)]
    which = window.having(which, SESSION_SETUP_RESPONSE_BODY.size, Layer.SMB2, SESSION_SETUP_RESPONSE_BODY.title)
    fixed = window.gather(SESSION_SETUP_RESPONSE_BODY, which)
    made = body(SETUP_ANSWER, which)
    made["flags"] = fixed["session_flags"]
    made["native_os"] = made["native_lanman"] = MISSING
    made["token"] = missing_token(len(which))
    return {"setup_answers": made}


def token_places(window: Window, which: Index) -> tuple[Index, Index, Mask]:
    """Arena offsets and ends of the security buffers of session setups, and whether each was cut."""
    answers = window.rows[which, M_FROM_SERVER] != 0
    request = window.gather(SESSION_SETUP_REQUEST_BODY, which)
    answer = window.gather(SESSION_SETUP_RESPONSE_BODY, which)
    offset = np.where(answers, answer["security_buffer_offset"], request["security_buffer_offset"]).astype(np.int64)
    size = np.where(answers, answer["security_buffer_length"], request["security_buffer_length"]).astype(np.int64)
    start, there = window.clip(which, offset, size)
    return start, start + there, there < size


def parse_tree_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-SMB2 2.2.9] With the extension flag the path's offset still counts from the header."""
    which = window.having(which, TREE_CONNECT_REQUEST_BODY.size, Layer.SMB2, TREE_CONNECT_REQUEST_BODY.title)
    fixed = window.gather(TREE_CONNECT_REQUEST_BODY, which)
    made = body(TREE_REQUEST, which)
    made["path"] = window.utf16(
        which, "path", fixed["path_offset"].astype(np.int64), fixed["path_length"].astype(np.int64)
    )
    return {"tree_requests": made}


def parse_tree_answer(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-SMB2 2.2.10]"""
    which = which[window.messages["status"][which] == STATUS_SUCCESS]
    which = window.having(which, TREE_CONNECT_RESPONSE_BODY.size, Layer.SMB2, TREE_CONNECT_RESPONSE_BODY.title)
    made = body(TREE_ANSWER, which)
    made["kind"] = window.gather(TREE_CONNECT_RESPONSE_BODY, which)["share_type"]
    return {"tree_answers": made}


def parse_open_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-SMB2 2.2.13]"""
    which = window.having(which, CREATE_REQUEST_BODY.size, Layer.SMB2, CREATE_REQUEST_BODY.title)
    fixed = window.gather(CREATE_REQUEST_BODY, which)
    made = body(OPEN_REQUEST, which)
    made["name"] = window.utf16(
        which, "name", fixed["name_offset"].astype(np.int64), fixed["name_length"].astype(np.int64)
    )
    made["via"] = Via.CREATE
    made["access_mask"] = fixed["desired_access"]
    return {"open_requests": made}


def parse_open_answer(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-SMB2 2.2.14]"""
    which = which[window.messages["status"][which] == STATUS_SUCCESS]
    which = window.having(which, CREATE_RESPONSE_BODY.size, Layer.SMB2, CREATE_RESPONSE_BODY.title)
    made = body(OPEN_ANSWER, which)
    _copy_file(made, window.gather(CREATE_RESPONSE_BODY, which))
    return {"open_answers": made}


def _copy_file(made: Rows, fixed: Rows) -> None:
    made["file_hi"] = fixed["file_hi"]
    made["file_lo"] = fixed["file_lo"]


def parse_close_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-SMB2 2.2.15]"""
    which = window.having(which, CLOSE_REQUEST_BODY.size, Layer.SMB2, CLOSE_REQUEST_BODY.title)
    made = body(CLOSE_REQUEST, which)
    _copy_file(made, window.gather(CLOSE_REQUEST_BODY, which))
    return {"close_requests": made}


def parse_read_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-SMB2 2.2.19]"""
    which = window.having(which, READ_REQUEST_BODY.size, Layer.SMB2, READ_REQUEST_BODY.title)
    made = body(DATA_REQUEST, which)
    made["way"] = Way.READ
    _copy_file(made, window.gather(READ_REQUEST_BODY, which))
    return {"data_requests": made}


def _has_data(window: Window, which: Index) -> Index:
    """Answers with a body of their own: an overflow is a part of the data, not an error. [MS-SMB2 3.3.4.4]"""
    status = window.messages["status"][which]
    return which[(status == STATUS_SUCCESS) | (status == STATUS_BUFFER_OVERFLOW)]


def parse_read_answer(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-SMB2 2.2.20]"""
    which = window.having(_has_data(window, which), READ_RESPONSE_BODY.size, Layer.SMB2, READ_RESPONSE_BODY.title)
    fixed = window.gather(READ_RESPONSE_BODY, which)
    made = body(DATA_ANSWER, which)
    made["bytes"] = fixed["data_length"]
    _place_payload(window, which, made, fixed["data_offset"], fixed["data_length"])
    return {"data_answers": made}


def _place_payload(window: Window, which: Index, made: Rows, offset: Rows, size: Rows) -> None:
    made["payload_at"], made["payload_size"] = window.clip(which, offset.astype(np.int64), size.astype(np.int64))


def parse_write_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-SMB2 2.2.21]"""
    which = window.having(which, WRITE_REQUEST_BODY.size, Layer.SMB2, WRITE_REQUEST_BODY.title)
    fixed = window.gather(WRITE_REQUEST_BODY, which)
    made = body(DATA_REQUEST, which)
    made["way"] = Way.WRITE
    made["bytes"] = fixed["length"]
    _copy_file(made, fixed)
    _place_payload(window, which, made, fixed["data_offset"], fixed["length"])
    return {"data_requests": made}


def parse_write_answer(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-SMB2 2.2.22] That the bytes were taken is all that matters."""
    return {"data_answers": body(DATA_ANSWER, _has_data(window, which))}


def parse_ioctl_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-SMB2 2.2.31] A transceive is data on a pipe; most other codes are operations of their own."""
    which = window.having(which, IOCTL_REQUEST_BODY.size, Layer.SMB2, IOCTL_REQUEST_BODY.title)
    fixed = window.gather(IOCTL_REQUEST_BODY, which)
    transceive = fixed["ctl_code"] == Fsctl.PIPE_TRANSCEIVE
    other = (fixed["ctl_code"] == Fsctl.PIPE_PEEK) & (fixed["file_lo"] != ANY_FILE)
    window.messages["kind"][which] = np.where(transceive, Kind.DATA, np.where(other, Kind.OTHER, Kind.CALL))
    data = body(DATA_REQUEST, which[transceive])
    data["way"] = Way.TRANSACT
    data["bytes"] = fixed["input_count"][transceive]
    _copy_file(data, fixed[transceive])
    _place_payload(window, which[transceive], data, fixed["input_offset"][transceive], fixed["input_count"][transceive])
    is_call = ~transceive & ~other
    calls = body(CALL_REQUEST, which[is_call])
    codes = fixed["ctl_code"][is_call]
    calls["function"] = codes
    is_dfs = (codes == Fsctl.DFS_GET_REFERRALS) | (codes == Fsctl.DFS_GET_REFERRALS_EX)
    calls["protocol"] = np.where(is_dfs, CallProtocol.DFS, CallProtocol.FSCTL)
    calls["name"] = MISSING
    for code, read_name in _NAMES_IN_IOCTL.items():
        wanted = np.flatnonzero(codes == code)
        start, size = window.clip(
            which[is_call][wanted],
            fixed["input_offset"][is_call][wanted].astype(np.int64),
            fixed["input_count"][is_call][wanted].astype(np.int64),
        )
        for place, at, length in zip(wanted.tolist(), start.tolist(), size.tolist(), strict=True):
            name = read_name(window.arena[at : at + length].tobytes())
            calls["name"][place] = MISSING if name is None else window.texts.code(name)
    return {"data_requests": data, "call_requests": calls}


def _dfs_name(data: bytes) -> str | None:
    """REQ_GET_DFS_REFERRAL: level, then the path up to a NUL. [MS-DFSC 2.2.2]"""
    return data[2:].decode("utf-16-le", "replace").partition("\0")[0] if len(data) >= 2 else None


def _dfs_name_ex(data: bytes) -> str | None:
    """REQ_GET_DFS_REFERRAL_EX: level, flags, length, then the path's length and the path. [MS-DFSC 2.2.3]"""
    if len(data) < 10:
        return None
    size = int.from_bytes(data[8:10], "little")
    return data[10 : 10 + size].decode("utf-16-le", "replace").partition("\0")[0]


def _pipe_wait_name(data: bytes) -> str | None:
    """FSCTL_PIPE_WAIT. [MS-FSCC 2.3.49]"""
    if len(data) < PIPE_WAIT_FIXED:
        return None
    size = int.from_bytes(data[8:12], "little")
    return data[PIPE_WAIT_FIXED : PIPE_WAIT_FIXED + size].decode("utf-16-le", "replace")


_NAMES_IN_IOCTL: dict[int, Callable[[bytes], str | None]] = {
    Fsctl.DFS_GET_REFERRALS: _dfs_name,
    Fsctl.DFS_GET_REFERRALS_EX: _dfs_name_ex,
    Fsctl.PIPE_WAIT: _pipe_wait_name,
}


def parse_ioctl_answer(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-SMB2 2.2.32] An error does not say what it answers; its request does, so it goes without a body."""
    which = window.having(_has_data(window, which), IOCTL_RESPONSE_BODY.size, Layer.SMB2, IOCTL_RESPONSE_BODY.title)
    fixed = window.gather(IOCTL_RESPONSE_BODY, which)
    transceive = fixed["ctl_code"] == Fsctl.PIPE_TRANSCEIVE
    data = body(DATA_ANSWER, which[transceive])
    data["bytes"] = fixed["output_count"][transceive]
    _place_payload(
        window, which[transceive], data, fixed["output_offset"][transceive], fixed["output_count"][transceive]
    )
    calls = body(CALL_ANSWER, which[~transceive])
    calls["code"] = -1
    calls["bytes"] = fixed["output_count"][~transceive]
    return {"data_answers": data, "call_answers": calls}


def parse_encrypted(window: Window, which: Index) -> None:
    """Encrypted messages show their session and nothing else. [MS-SMB2 2.2.41]"""
    messages = window.messages
    messages["protocol"][which] = Protocol.SMB2
    messages["kind"][which] = Kind.ENCRYPTED
    messages["tree_id"][which] = NO_TREE
    which = window.having(which, TRANSFORM_HEADER.size, Layer.SMB2, TRANSFORM_HEADER.title)
    messages["kind"][which] = Kind.ENCRYPTED
    messages["session_id"][which] = window.gather(TRANSFORM_HEADER, which)["session_id"]


Parser = Callable[[Window, Index], dict[str, Rows]]

PARSERS: dict[tuple[int, bool], Parser] = {
    (Command.NEGOTIATE, False): parse_negotiate_request,
    (Command.NEGOTIATE, True): parse_negotiate_answer,
    (Command.SESSION_SETUP, False): parse_setup_request,
    (Command.SESSION_SETUP, True): parse_setup_answer,
    (Command.TREE_CONNECT, False): parse_tree_request,
    (Command.TREE_CONNECT, True): parse_tree_answer,
    (Command.CREATE, False): parse_open_request,
    (Command.CREATE, True): parse_open_answer,
    (Command.CLOSE, False): parse_close_request,
    (Command.READ, False): parse_read_request,
    (Command.READ, True): parse_read_answer,
    (Command.WRITE, False): parse_write_request,
    (Command.WRITE, True): parse_write_answer,
    (Command.IOCTL, False): parse_ioctl_request,
    (Command.IOCTL, True): parse_ioctl_answer,
}
"""What reads the body of a command: request, answer."""
