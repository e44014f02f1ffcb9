"""SMB 1. [MS-CIFS, MS-SMB; the LAN Manager forms: X/Open SMB 11.2]

A row is one element of an AndX chain: its body begins at the element's WordCount, behind which stand that many words, a
ByteCount and the bytes. Strings lie in the bytes, in Unicode on an even offset from the header, or in the OEM character
set. The direction of the TCP stream tells a request from an answer; the reply bit does not (some clients send requests
with it).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntFlag

import numpy as np

from analyzer.records import (
    CALL_ANSWER,
    CALL_REQUEST,
    CLOSE_REQUEST,
    DATA_ANSWER,
    DATA_REQUEST,
    NEGOTIATE_ANSWER,
    NEGOTIATE_REQUEST,
    NO_KEY,
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
    Mechanism,
    Protocol,
    Rows,
    TokenKind,
    TreeKind,
    Via,
    Way,
    missing_token,
)
from analyzer.smb.smb2 import guids
from analyzer.smb.window import Index, Mask, Window, body
from analyzer.transport.messages import (
    M_BODY,
    M_COMMAND,
    M_END,
    M_FLAGS,
    M_FROM_SERVER,
    M_HEADER,
    M_PLACE,
    MF_CUT,
    MF_MORE,
)
from analyzer.wire.enums import Code
from analyzer.wire.layout import Layout
from analyzer.wire.texts import MISSING

# Enums. #


class Command(Code):
    """[MS-CIFS 2.2.2.1]"""

    OPEN = 0x02
    CREATE = 0x03
    CLOSE = 0x04
    READ = 0x0A
    WRITE = 0x0B
    CREATE_NEW = 0x0F
    TRANSACTION = 0x25
    TRANSACTION_SECONDARY = 0x26
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


def sniff(head: bytes) -> bool:
    """True if a message that begins so is SMB 1."""
    return head[:4] == b"\xffSMB"


# Parse. #

KINDS = {
    Command.NEGOTIATE: Kind.NEGOTIATE,
    Command.SESSION_SETUP_ANDX: Kind.SETUP,
    Command.LOGOFF_ANDX: Kind.LOGOFF,
    Command.TREE_CONNECT: Kind.TREE_CONNECT,
    Command.TREE_CONNECT_ANDX: Kind.TREE_CONNECT,
    Command.TREE_DISCONNECT: Kind.TREE_DISCONNECT,
    Command.OPEN: Kind.OPEN,
    Command.CREATE: Kind.OPEN,
    Command.CREATE_NEW: Kind.OPEN,
    Command.OPEN_ANDX: Kind.OPEN,
    Command.NT_CREATE_ANDX: Kind.OPEN,
    Command.CLOSE: Kind.CLOSE,
    Command.READ: Kind.DATA,
    Command.READ_ANDX: Kind.DATA,
    Command.WRITE: Kind.DATA,
    Command.WRITE_ANDX: Kind.DATA,
}
_KIND_OF_COMMAND = np.full(256, Kind.OTHER, dtype=np.uint8)
for _command, _kind in KINDS.items():
    _KIND_OF_COMMAND[_command] = _kind


def parse_headers(window: Window, which: Index) -> Rows:
    """Fill the table of messages from the headers of these; returns the headers (`HEADER`)."""
    headers = HEADER.gather(window.arena, window.rows[which, M_HEADER])
    messages = window.messages
    command = window.rows[which, M_COMMAND]
    more = (window.rows[which, M_FLAGS] & MF_MORE) != 0
    chained = window.rows[which, M_PLACE] > 0
    flags2 = headers["flags2"]
    messages["protocol"][which] = Protocol.SMB1
    messages["kind"][which] = _KIND_OF_COMMAND[command]
    messages["key"][which] = (
        np.uint64(NO_KEY)  # and what follows: no message id of SMB 2 is as large
        | (command.astype(np.uint64) << np.uint64(32))
        | (headers["pid_low"].astype(np.uint64) << np.uint64(16))
        | headers["mid"].astype(np.uint64)
    )
    # A chain has one status: that of its last element. [MS-CIFS 2.2.3.4]
    has_status = (window.rows[which, M_FROM_SERVER] != 0) & ~more
    messages["status"][which] = np.where(has_status, headers["status"], 0)
    signed = ((flags2 & Flags2.SECURITY_SIGNATURE) != 0) & _is_signature(headers["security_features"])
    messages["flags"][which] = (
        np.where(signed, Flag.SIGNED, 0)
        | np.where(flags2 & Flags2.NT_STATUS, 0, Flag.DOS_STATUS)
        | np.where(chained, Flag.CHAINED, 0)
        | np.where(window.rows[which, M_FLAGS] & MF_CUT, Flag.CUT, 0)
    )
    messages["session_id"][which] = headers["uid"]
    messages["tree_id"][which] = headers["tid"]
    return headers


def _is_signature(features: Rows) -> Mask:
    """False for the fields that unsigned messages put there: zeros, and the text of clients that cannot sign yet."""
    numbers = np.ascontiguousarray(features).view("<u8")
    return (numbers != 0) & (numbers != int.from_bytes(b"BSRSPYL ", "little"))


def _word_counts(window: Window, which: Index) -> Index:
    return window.arena[window.rows[which, M_BODY]].astype(np.int64)


def _bytes_places(window: Window, which: Index) -> Index:
    """Arena offsets of the byte parts."""
    return window.rows[which, M_BODY] + 3 + 2 * _word_counts(window, which)


def _is_unicode(window: Window, which: Index) -> Mask:
    flags2 = HEADER.gather(window.arena, window.rows[which, M_HEADER])["flags2"]
    return (flags2 & Flags2.UNICODE) != 0


def _with_words(window: Window, which: Index, counts: tuple[int, ...], layout: Layout) -> Index:
    """Those of these messages that have one of these word counts and are long enough; the rest is told.

    An error answer has no words; it is passed over in silence.
    """
    words = _word_counts(window, which)
    right = np.isin(words, counts)
    odd = ~right & (words != 0)
    if odd.any():
        window.tell(
            which[odd], Layer.SMB1, layout.title, 0, "word_count", "|".join(map(str, sorted(set(words[odd].tolist()))))
        )
    window.messages["kind"][which[~right]] = np.where(
        window.rows[which[~right], M_FROM_SERVER] != 0, window.messages["kind"][which[~right]], Kind.OTHER
    )
    return window.having(which[right], layout.size, Layer.SMB1, layout.title)


def read_strings(data: bytes, offset: int, unicode: bool, most: int) -> list[str]:
    """Up to `most` strings, NUL-terminated, the last possibly ended by the data.

    offset: of `data` from the SMB header: Unicode begins on an even one.
    """
    text = data[offset & 1 :].decode("utf-16-le", "replace") if unicode else data.decode(OEM)
    strings = text.split("\0", most)
    if len(strings) > most or strings[-1] == "":
        strings.pop()
    return strings


def _tails(window: Window, which: Index, starts: Index) -> list[tuple[bytes, int]]:
    """For each message its bytes from an arena offset on (to the end of its byte part), and that offset in the message."""
    count_at = window.rows[which, M_BODY] + 1 + 2 * _word_counts(window, which)
    count = window.arena[count_at].astype(np.int64) | window.arena[count_at + 1].astype(np.int64) << 8
    ends = np.minimum(window.rows[which, M_END], count_at + 2 + count)
    offsets = starts - window.rows[which, M_HEADER]
    data = window.arena.data
    return [
        (bytes(data[start : max(start, end)]), offset)
        for start, end, offset in zip(starts.tolist(), ends.tolist(), offsets.tolist(), strict=True)
    ]


def parse_negotiate_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-CIFS 2.2.4.52.1] Each dialect is a byte 02 and a NUL-terminated string."""
    made = body(NEGOTIATE_REQUEST, which)
    starts = _bytes_places(window, which)
    cache: dict[bytes, int] = {}
    for place, (data, _) in enumerate(_tails(window, which, starts)):
        if data not in cache:
            names = [part.decode(OEM) for part in data.split(b"\0") if part[:1] == b"\x02"]
            cache[data] = window.texts.code("|".join(name[1:] for name in names))
        made["dialects"][place] = cache[data]
    return {"negotiate_requests": made}


def parse_negotiate_answer(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-CIFS 2.2.4.52.2; MS-SMB 2.2.4.5.2; X/Open SMB 6.1]"""
    words = _word_counts(window, which)
    which = which[np.isin(words, (1, 13, 17))]
    which = window.having(which, 3, Layer.SMB1, NEGOTIATE_ANSWER_WORDS.title)
    words = _word_counts(window, which)
    made = body(NEGOTIATE_ANSWER, which)
    fixed = window.gather(NEGOTIATE_ANSWER_WORDS, which)
    lanman = window.gather(LANMAN_ANSWER_WORDS, which)
    is_nt = (words == 17) & (window.rows[which, M_BODY] + NEGOTIATE_ANSWER_WORDS.size <= window.rows[which, M_END])
    has_mode = is_nt | (words == 13)
    mode = np.where(is_nt, fixed["security_mode"], np.where(words == 13, lanman["security_mode"], 0))
    made["dialect"] = MISSING
    made["dialect_index"] = fixed["dialect_index"]
    made["security_mode"] = mode
    made["signing_required"] = is_nt & ((mode & NEGOTIATE_SIGNATURES_REQUIRED) != 0)
    made["share_level"] = has_mode & ((mode & NEGOTIATE_USER_SECURITY) == 0)
    made["capabilities"] = np.where(is_nt, fixed["capabilities"], 0)
    made["domain"] = MISSING
    extended = is_nt & ((fixed["capabilities"] & CAP_EXTENDED_SECURITY) != 0)
    starts = _bytes_places(window, which)
    whole = extended & (starts + 16 <= window.rows[which, M_END])
    if whole.any():
        layout = Layout("ServerGUID", [("guid", "16s")])
        made["server_guid"][whole] = guids(layout.gather(window.arena, starts[whole])["guid"])
    unicode = _is_unicode(window, which)
    plain = np.flatnonzero(is_nt & ~extended)
    # DomainName follows the challenge without a pad byte in practice.
    tails = _tails(window, which[plain], starts[plain] + fixed["challenge_length"][plain])
    for place, (data, _) in zip(plain.tolist(), tails, strict=True):
        strings = read_strings(data, 0, bool(unicode[place]), 1)
        if strings:
            made["domain"][place] = window.texts.code(strings[0])
    return {"negotiate_answers": made}


def parse_setup_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-CIFS 2.2.4.53.1; MS-SMB 2.2.4.6.1; X/Open SMB 11.2] in its three forms: 10, 12 and 13 words."""
    which = _with_words(window, which, (10, 12, 13), SETUP_REQUEST_WORDS)
    words = _word_counts(window, which)
    fixed = window.gather(SETUP_REQUEST_WORDS, which)
    made = body(SETUP_REQUEST, which)
    made["form"] = np.select([words == 12, words == 13], [Form.TOKEN, Form.PASSWORDS], Form.LANMAN)
    made["native_os"] = made["native_lanman"] = MISSING
    token = missing_token(len(which))
    with_password = words != 12
    token["kind"] = np.where(with_password, TokenKind.PASSWORDS, TokenKind.NONE)
    token["mechanism"] = np.where(with_password, Mechanism.SMB1, Mechanism.UNKNOWN)
    first_length, second_length = fixed["first_length"].astype(np.int32), fixed["second_length"].astype(np.int32)
    token["lm_size"] = np.where(with_password, first_length, MISSING)
    token["nt_size"] = np.where(words == 13, second_length, np.where(words == 10, 0, MISSING))
    starts = _bytes_places(window, which)
    first = np.minimum(starts, len(window.arena) - 1)
    token["lm_is_zero"] = (token["lm_size"] == 1) & (window.arena[first] == 0) & (starts < window.rows[which, M_END])
    starts += fixed["first_length"].astype(np.int64) + np.where(words == 13, fixed["second_length"], 0)
    inside = starts <= window.rows[which, M_END]
    unicode = _is_unicode(window, which)
    cut = (window.messages["flags"][which] & Flag.CUT) != 0
    code = window.texts.code
    cache: dict[tuple[bytes, int, bool, int], list[int]] = {}
    for place, ((data, offset), count) in enumerate(zip(_tails(window, which, starts), words.tolist(), strict=True)):
        key = (data, offset & 1, bool(unicode[place]), count)
        if key not in cache:
            cache[key] = [code(text) for text in read_strings(data, offset, key[2], 4)]
        strings = cache[key]
        if count != 12:
            if strings:
                token["user"][place], strings = strings[0], strings[1:]
            elif not cut[place] and inside[place]:
                token["user"][place] = code("")
            if strings:
                token["domain"][place], strings = strings[0], strings[1:]
        if strings:
            made["native_os"][place] = strings[0]
        if len(strings) > 1:
            made["native_lanman"][place] = strings[1]
    made["token"] = token
    return {"setup_requests": made}


def parse_setup_answer(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-CIFS 2.2.4.53.2; MS-SMB 2.2.4.6.2]"""
    which = _with_words(window, which, (3, 4), SETUP_ANSWER_WORDS)
    words = _word_counts(window, which)
    fixed = window.gather(SETUP_ANSWER_WORDS, which)
    made = body(SETUP_ANSWER, which)
    made["flags"] = fixed["action"]
    made["native_os"] = made["native_lanman"] = MISSING
    made["token"] = missing_token(len(which))
    starts = _bytes_places(window, which) + np.where(words == 4, fixed["blob_length"], 0)
    unicode = _is_unicode(window, which)
    cache: dict[tuple[bytes, int, bool], list[int]] = {}
    for place, (data, offset) in enumerate(_tails(window, which, starts)):
        key = (data, offset & 1, bool(unicode[place]))
        if key not in cache:
            cache[key] = [window.texts.code(text) for text in read_strings(data, offset, key[2], 3)]
        made["native_os"][place], made["native_lanman"][place] = [*cache[key], MISSING, MISSING][:2]
    return {"setup_answers": made}


def token_places(window: Window, which: Index) -> tuple[Index, Index, Mask]:
    """Arena offsets and ends of the security blobs of session setups, and whether each was cut. None: an empty one."""
    words = _word_counts(window, which)
    request = window.gather(SETUP_REQUEST_WORDS, which)
    answer = window.gather(SETUP_ANSWER_WORDS, which)
    size = np.select([words == 12, words == 4], [request["first_length"], answer["blob_length"]], 0).astype(np.int64)
    start = np.minimum(_bytes_places(window, which), window.rows[which, M_END])
    there = np.minimum(size, window.rows[which, M_END] - start)
    return start, start + there, there < size


def parse_tree_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-CIFS 2.2.4.55.1, 2.2.4.50.1]"""
    core = window.rows[which, M_COMMAND] == Command.TREE_CONNECT
    made_core = _parse_core_tree_request(window, which[core])
    which = _with_words(window, which[~core], (4,), TREE_REQUEST_WORDS)
    fixed = window.gather(TREE_REQUEST_WORDS, which)
    made = body(TREE_REQUEST, which)
    made["path"] = MISSING
    made["password_size"] = fixed["password_length"]
    starts = _bytes_places(window, which) + fixed["password_length"].astype(np.int64)
    unicode = _is_unicode(window, which)
    for place, (data, offset) in enumerate(_tails(window, which, starts)):
        path = read_strings(data, offset, bool(unicode[place]), 1)
        if path:
            made["path"][place] = window.texts.code(path[0])
    return {"tree_requests": np.concatenate([made, made_core])}


def _parse_core_tree_request(window: Window, which: Index) -> Rows:
    made = body(TREE_REQUEST, which)
    made["path"] = MISSING
    for place, (data, _) in enumerate(_tails(window, which, window.rows[which, M_BODY] + 3)):
        parts = [part[1:] for part in data.split(b"\0") if part[:1] == b"\x04"]
        if parts:
            made["path"][place] = window.texts.code(parts[0].decode(OEM))
        made["password_size"][place] = len(parts[1]) if len(parts) > 1 else 0
    return made


def parse_tree_answer(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-CIFS 2.2.4.55.2, 2.2.4.50.2] The service string tells what the tree is."""
    core = window.rows[which, M_COMMAND] == Command.TREE_CONNECT
    made_core = _parse_core_tree_answer(window, which[core])
    which = which[~core]
    which = which[_word_counts(window, which) >= 2]
    starts = _bytes_places(window, which)
    made = body(TREE_ANSWER, which)
    kinds = {b"IPC": TreeKind.PIPE, b"A:": TreeKind.DISK, b"LPT1:": TreeKind.PRINT}
    services = [data.partition(b"\0")[0] for data, _ in _tails(window, which, starts)]
    made["kind"] = [kinds.get(service, TreeKind.UNKNOWN) for service in services]
    return {"tree_answers": np.concatenate([made, made_core])}


def _parse_core_tree_answer(window: Window, which: Index) -> Rows:
    """The oldest form gives the tree id in its words, not in the header."""
    layout = Layout("SMB_COM_TREE_CONNECT Response", [("word_count", "B"), ("max_buffer_size", "H"), ("tid", "H")])
    which = _with_words(window, which, (2,), layout)
    window.messages["tree_id"][which] = window.gather(layout, which)["tid"]
    return body(TREE_ANSWER, which)


def parse_open_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-CIFS 2.2.4.64.1, 2.2.4.41.1, 2.2.4.3.1] by whichever command."""
    command = window.rows[which, M_COMMAND]
    nt = _with_words(window, which[command == Command.NT_CREATE_ANDX], (24,), NT_CREATE_REQUEST_WORDS)
    andx = _with_words(window, which[command == Command.OPEN_ANDX], (15,), OPEN_ANDX_REQUEST_WORDS)
    core = which[~np.isin(command, (Command.NT_CREATE_ANDX, Command.OPEN_ANDX))]
    opened = body(OPEN_REQUEST, np.concatenate([nt, andx, core]))
    opened["via"] = np.repeat([Via.NT_CREATE_ANDX, Via.OPEN_ANDX, Via.OPEN], [len(nt), len(andx), len(core)])
    opened["access_mask"][: len(nt)] = window.gather(NT_CREATE_REQUEST_WORDS, nt)["desired_access"]
    rows = opened["row"].astype(np.int64)
    opened["name"] = _names_of_opens(window, rows, opened["via"])
    return {"open_requests": opened}


def _names_of_opens(window: Window, rows: Index, via: Rows) -> list[int]:
    lengths = window.gather(NT_CREATE_REQUEST_WORDS, rows)["name_length"]
    starts = _bytes_places(window, rows)
    unicode = _is_unicode(window, rows)
    names = []
    for place, (data, offset) in enumerate(_tails(window, rows, starts)):
        skip, end = 0, len(data)
        if via[place] == Via.OPEN:  # a byte 04 stands before the name
            skip = 1
        elif via[place] == Via.NT_CREATE_ANDX:
            skip = offset & 1 if unicode[place] else 0
            end = skip + int(lengths[place])
        strings = read_strings(data[skip:end], offset + skip, bool(unicode[place]), 1)
        names.append(window.texts.code(strings[0]) if strings else MISSING)
    return names


def parse_open_answer(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-CIFS 2.2.4.64.2, 2.2.4.41.2, 2.2.4.3.2]"""
    command = window.rows[which, M_COMMAND]
    nt = _with_words(window, which[command == Command.NT_CREATE_ANDX], (34, 42, 50), NT_CREATE_ANSWER_WORDS)
    andx = _with_words(window, which[command == Command.OPEN_ANDX], (15, 19), OPEN_ANDX_ANSWER_WORDS)
    core = _with_words(
        window, which[~np.isin(command, (Command.NT_CREATE_ANDX, Command.OPEN_ANDX))], (1, 7), FIRST_WORD
    )
    made = body(OPEN_ANSWER, np.concatenate([nt, andx, core]))
    nt_words, andx_words = window.gather(NT_CREATE_ANSWER_WORDS, nt), window.gather(OPEN_ANDX_ANSWER_WORDS, andx)
    made["file_lo"] = np.concatenate([nt_words["fid"], andx_words["fid"], window.gather(FIRST_WORD, core)["fid"]])
    types = np.concatenate([nt_words["resource_type"], andx_words["resource_type"], np.zeros(len(core), "u2")])
    made["is_pipe"] = np.isin(types, RESOURCE_PIPES)
    return {"open_answers": made}


def parse_close_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-CIFS 2.2.4.5.1]"""
    which = _with_words(window, which, (3,), FIRST_WORD)
    made = body(CLOSE_REQUEST, which)
    made["file_lo"] = window.gather(FIRST_WORD, which)["fid"]
    return {"close_requests": made}


def parse_read_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-CIFS 2.2.4.42.1, 2.2.4.11.1]"""
    andx = window.rows[which, M_COMMAND] == Command.READ_ANDX
    new = _with_words(window, which[andx], (10, 12), READ_ANDX_REQUEST_WORDS)
    core = _with_words(window, which[~andx], (5,), FIRST_WORD)
    made = body(DATA_REQUEST, np.concatenate([new, core]))
    made["way"] = Way.READ
    made["file_lo"] = np.concatenate(
        [window.gather(READ_ANDX_REQUEST_WORDS, new)["fid"], window.gather(FIRST_WORD, core)["fid"]]
    )
    return {"data_requests": made}


def parse_read_answer(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-CIFS 2.2.4.42.2, 2.2.4.11.2]"""
    andx = window.rows[which, M_COMMAND] == Command.READ_ANDX
    new = _with_words(window, which[andx], (12,), READ_ANDX_ANSWER_WORDS)
    core = _with_words(window, which[~andx], (5,), FIRST_WORD)
    made = body(DATA_ANSWER, np.concatenate([new, core]))
    fixed = window.gather(READ_ANDX_ANSWER_WORDS, new)
    size = fixed["data_length"] + (fixed["data_length_high"].astype(np.int64) << 16)
    count = window.gather(FIRST_WORD, core)["fid"].astype(np.int64)
    made["bytes"] = np.concatenate([size, count])
    at, there = window.clip(new, fixed["data_offset"].astype(np.int64), size)
    core_at = np.minimum(_bytes_places(window, core) + 3, window.rows[core, M_END])
    made["payload_at"] = np.concatenate([at, core_at])
    made["payload_size"] = np.concatenate([there, np.minimum(count, window.rows[core, M_END] - core_at)])
    return {"data_answers": made}


def parse_write_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-CIFS 2.2.4.43.1, 2.2.4.12.1]"""
    andx = window.rows[which, M_COMMAND] == Command.WRITE_ANDX
    new = _with_words(window, which[andx], (12, 14), WRITE_ANDX_REQUEST_WORDS)
    core = _with_words(window, which[~andx], (5,), READ_WRITE_CORE)
    made = body(DATA_REQUEST, np.concatenate([new, core]))
    fixed, old = window.gather(WRITE_ANDX_REQUEST_WORDS, new), window.gather(READ_WRITE_CORE, core)
    made["way"] = Way.WRITE
    made["file_lo"] = np.concatenate([fixed["fid"], old["fid"]])
    size = fixed["data_length"] + (fixed["data_length_high"].astype(np.int64) << 16)
    count = old["count"].astype(np.int64)
    made["bytes"] = np.concatenate([size, count])
    at, there = window.clip(new, fixed["data_offset"].astype(np.int64), size)
    core_at = np.minimum(_bytes_places(window, core) + 3, window.rows[core, M_END])
    made["payload_at"] = np.concatenate([at, core_at])
    made["payload_size"] = np.concatenate([there, np.minimum(count, window.rows[core, M_END] - core_at)])
    return {"data_requests": made}


def parse_write_answer(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-CIFS 2.2.4.43.2] That the bytes were taken is all that matters."""
    return {"data_answers": body(DATA_ANSWER, which[window.messages["status"][which] == 0])}


def parse_transaction_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-CIFS 2.2.4.33.1, 2.2.5] Pipe functions, RAP, or a mailslot (which is passed over)."""
    words = _word_counts(window, which)
    which = which[words >= 14]
    which = window.having(which, 29, Layer.SMB1, TRANSACTION_WORDS.title)
    fixed = window.gather(TRANSACTION_WORDS, which)
    names = _transaction_names(window, which)
    has_function = fixed["setup_count"] >= 1
    function = np.where(has_function, fixed["function"], 0xFFFF)
    is_rap = np.array([name.upper().startswith("\\PIPE\\LANMAN") for name in names], dtype=bool)
    is_pipe = np.array([not name.upper().startswith("\\MAILSLOT") for name in names], dtype=bool)
    moves = is_pipe & np.isin(
        function,
        (PipeFunction.TRANSACT, PipeFunction.READ, PipeFunction.WRITE, PipeFunction.RAW_READ, PipeFunction.RAW_WRITE),
    )
    calls = is_pipe & ~moves & (is_rap | (function == PipeFunction.WAIT))
    opens = is_pipe & ~moves & ~calls & (function == PipeFunction.CALL)
    window.messages["kind"][which] = np.select([moves, calls, opens], [Kind.DATA, Kind.CALL, Kind.OPEN], Kind.OTHER)
    data = _data_of_transactions(window, which[moves], fixed[moves])
    asked = body(CALL_REQUEST, which[calls])
    asked["protocol"] = np.where(is_rap[calls], CallProtocol.RAP, CallProtocol.FSCTL)
    asked["function"] = np.where(is_rap[calls], _rap_functions(window, which[calls], fixed[calls]), FSCTL_PIPE_WAIT)
    asked["name"] = [window.texts.code(name) for name, is_call in zip(names, calls, strict=True) if is_call]
    opened = body(OPEN_REQUEST, which[opens])
    opened["via"] = Via.CALL_NMPIPE
    opened["name"] = [window.texts.code(name) for name, is_open in zip(names, opens, strict=True) if is_open]
    return {"data_requests": data, "call_requests": asked, "open_requests": opened}


def _transaction_names(window: Window, which: Index) -> list[str]:
    starts = _bytes_places(window, which)
    unicode = _is_unicode(window, which)
    names = []
    for place, (data, offset) in enumerate(_tails(window, which, starts)):
        names.append("".join(read_strings(data[:1024], offset, bool(unicode[place]), 1)))
    return names


def _data_of_transactions(window: Window, which: Index, fixed: Rows) -> Rows:
    data = body(DATA_REQUEST, which)
    function = fixed["function"]
    data["way"] = np.select(
        [
            function == PipeFunction.TRANSACT,
            (function == PipeFunction.READ) | (function == PipeFunction.RAW_READ),
        ],
        [Way.TRANSACT, Way.READ],
        Way.WRITE,
    )
    data["file_lo"] = np.where(fixed["setup_count"] >= 2, fixed["fid"], 0xFFFF)
    data["bytes"] = np.where(data["way"] == Way.READ, 0, fixed["total_data_count"])
    data["payload_at"], data["payload_size"] = window.clip(
        which, fixed["data_offset"].astype(np.int64), fixed["data_count"].astype(np.int64)
    )
    return data


def _rap_functions(window: Window, which: Index, fixed: Rows) -> list[int]:
    """RAPOpcode, the first two parameter bytes. [MS-RAP 2.5.1]"""
    start, size = window.clip(
        which, fixed["parameter_offset"].astype(np.int64), fixed["parameter_count"].astype(np.int64)
    )
    return [
        int.from_bytes(window.arena[at : at + 2].tobytes(), "little") if length >= 2 else 0xFFFF
        for at, length in zip(start.tolist(), size.tolist(), strict=True)
    ]


def parse_transaction_answer(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-CIFS 2.2.4.33.2] What is answered is known only with the request, so both bodies are made.

    An interim answer (no words, no error) says nothing and is made one that pairs with nothing. Of several answers to
    one request the first tells the totals.
    """
    words = _word_counts(window, which)
    status = window.messages["status"][which]
    window.messages["key"][which[(words == 0) & (status == 0)]] = NO_KEY
    which = which[words >= 10]
    which = window.having(which, TRANSACTION_ANSWER_WORDS.size, Layer.SMB1, TRANSACTION_ANSWER_WORDS.title)
    fixed = window.gather(TRANSACTION_ANSWER_WORDS, which)
    later = (fixed["data_displacement"] > 0) | (fixed["parameter_displacement"] > 0)
    window.messages["key"][which[later]] = NO_KEY
    data = body(DATA_ANSWER, which)
    data["bytes"] = fixed["total_data_count"]
    data["payload_at"], data["payload_size"] = window.clip(
        which, fixed["data_offset"].astype(np.int64), fixed["data_count"].astype(np.int64)
    )
    calls = body(CALL_ANSWER, which)
    calls["bytes"] = fixed["total_data_count"]
    start, size = window.clip(
        which, fixed["parameter_offset"].astype(np.int64), fixed["parameter_count"].astype(np.int64)
    )
    codes = Layout("Win32ErrorCode", [("code", "H")]).gather(window.arena, np.minimum(start, len(window.arena) - 2))
    calls["code"] = np.where(size >= 2, codes["code"].astype(np.int64), -1)
    return {"data_answers": data, "call_answers": calls}


def parse_transaction2_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-CIFS 2.2.4.46.1] Of its functions only referrals and opens are of interest."""
    which = which[_word_counts(window, which) >= 15]
    which = window.having(which, 31, Layer.SMB1, TRANSACTION_WORDS.title)
    fixed = window.gather(TRANSACTION_WORDS, which)
    dfs = fixed["function"] == TRANS2_GET_DFS_REFERRAL
    opens = fixed["function"] == TRANS2_OPEN2
    window.messages["kind"][which] = np.select([dfs, opens], [Kind.CALL, Kind.OPEN], Kind.OTHER)
    start, size = window.clip(
        which, fixed["parameter_offset"].astype(np.int64), fixed["parameter_count"].astype(np.int64)
    )
    unicode = _is_unicode(window, which)

    def names(mask: Mask, skip: int) -> list[int]:
        found = []
        for place in np.flatnonzero(mask).tolist():
            data = window.arena[int(start[place]) : int(start[place]) + int(size[place])].tobytes()[skip:]
            strings = read_strings(data, 0, bool(unicode[place]), 1)
            found.append(window.texts.code(strings[0]) if strings else MISSING)
        return found

    calls = body(CALL_REQUEST, which[dfs])
    calls["protocol"] = CallProtocol.DFS
    calls["function"] = TRANS2_GET_DFS_REFERRAL
    calls["name"] = names(dfs, 2)  # MaxReferralLevel, RequestFileName [MS-DFSC 2.2.2]
    opened = body(OPEN_REQUEST, which[opens])
    opened["via"] = Via.TRANS2_OPEN2
    opened["name"] = names(opens, 28)  # [MS-CIFS 2.2.6.1.1]
    return {"call_requests": calls, "open_requests": opened}


def parse_nt_transact_request(window: Window, which: Index) -> dict[str, Rows]:
    """[MS-CIFS 2.2.4.62.1] Opens, and control codes on pipes."""
    which = which[_word_counts(window, which) >= 19]
    which = window.having(which, 39, Layer.SMB1, NT_TRANSACT_WORDS.title)
    fixed = window.gather(NT_TRANSACT_WORDS, which)
    function = fixed["function"]
    opens = function == NT_TRANSACT_CREATE
    control = (function == NT_TRANSACT_IOCTL) & (fixed["setup_count"] >= 4)
    moves = control & (fixed["control_code"] == FSCTL_PIPE_TRANSCEIVE)
    window.messages["kind"][which] = np.select([opens, moves, control], [Kind.OPEN, Kind.DATA, Kind.CALL], Kind.OTHER)
    opened = body(OPEN_REQUEST, which[opens])
    opened["via"] = Via.NT_TRANSACT_CREATE
    opened["name"] = MISSING
    unicode = _is_unicode(window, which[opens])
    start, size = window.clip(
        which[opens],
        fixed["parameter_offset"][opens].astype(np.int64),
        fixed["parameter_count"][opens].astype(np.int64),
    )
    parameters = NT_TRANSACT_CREATE_PARAMETERS
    for place in np.flatnonzero(size >= parameters.size).tolist():
        data = window.arena[int(start[place]) : int(start[place]) + int(size[place])].tobytes()
        values = parameters.read(data)
        offset = int(start[place]) + parameters.size - int(window.rows[which[opens][place], M_HEADER])
        pad = offset & 1 if unicode[place] else 0
        name = data[parameters.size + pad :][: int(values["name_length"])]
        strings = read_strings(name, 0, bool(unicode[place]), 1)
        opened["access_mask"][place] = values["desired_access"]
        opened["name"][place] = window.texts.code(strings[0]) if strings else MISSING
    data_rows = body(DATA_REQUEST, which[moves])
    data_rows["way"] = Way.TRANSACT
    data_rows["file_lo"] = fixed["fid"][moves]
    data_rows["bytes"] = fixed["total_data_count"][moves]
    data_rows["payload_at"], data_rows["payload_size"] = window.clip(
        which[moves], fixed["data_offset"][moves].astype(np.int64), fixed["data_count"][moves].astype(np.int64)
    )
    calls = body(CALL_REQUEST, which[control & ~moves])
    calls["protocol"] = CallProtocol.FSCTL
    calls["function"] = fixed["control_code"][control & ~moves]
    calls["name"] = MISSING
    return {"open_requests": opened, "data_requests": data_rows, "call_requests": calls}


Parser = Callable[[Window, Index], dict[str, Rows]]

PARSERS: dict[tuple[int, bool], Parser] = {
    (Command.NEGOTIATE, False): parse_negotiate_request,
    (Command.NEGOTIATE, True): parse_negotiate_answer,
    (Command.SESSION_SETUP_ANDX, False): parse_setup_request,
    (Command.SESSION_SETUP_ANDX, True): parse_setup_answer,
    (Command.TREE_CONNECT_ANDX, False): parse_tree_request,
    (Command.TREE_CONNECT_ANDX, True): parse_tree_answer,
    (Command.TREE_CONNECT, False): parse_tree_request,
    (Command.TREE_CONNECT, True): parse_tree_answer,
    (Command.NT_CREATE_ANDX, False): parse_open_request,
    (Command.NT_CREATE_ANDX, True): parse_open_answer,
    (Command.OPEN_ANDX, False): parse_open_request,
    (Command.OPEN_ANDX, True): parse_open_answer,
    (Command.OPEN, False): parse_open_request,
    (Command.OPEN, True): parse_open_answer,
    (Command.CLOSE, False): parse_close_request,
    (Command.READ_ANDX, False): parse_read_request,
    (Command.READ_ANDX, True): parse_read_answer,
    (Command.READ, False): parse_read_request,
    (Command.READ, True): parse_read_answer,
    (Command.WRITE_ANDX, False): parse_write_request,
    (Command.WRITE_ANDX, True): parse_write_answer,
    (Command.WRITE, False): parse_write_request,
    (Command.WRITE, True): parse_write_answer,
    (Command.TRANSACTION, False): parse_transaction_request,
    (Command.TRANSACTION, True): parse_transaction_answer,
    (Command.TRANSACTION2, False): parse_transaction2_request,
    (Command.NT_TRANSACT, False): parse_nt_transact_request,
}
"""What reads the body of a command: request, answer."""
