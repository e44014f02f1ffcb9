"""SMB 1: every command and form that may say who asks, and for what. [MS-CIFS, MS-SMB; LAN Manager: X/Open SMB]"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from analyzer.compiled import Kernels
from analyzer.records import CallProtocol, Flag, Form, Kind, TokenKind, TreeKind, Via, Way
from analyzer.smb import smb1
from tests import build as b
from tests.build import FLAGS2, FLAGS2_OEM, Smb1, packed
from tests.build import smb1 as message
from tests.smb.reading import Read, read

PIPE = "\\PIPE\\srvsvc"
DATA = bytes(range(40))
RESPONSE = 0x98


def asked(*chain: Smb1, unicode: bool = True, **header: Any) -> Read:
    """What is read of a request."""
    return read(message(*chain, flags2=FLAGS2 if unicode else FLAGS2_OEM, **header))


def told(*chain: Smb1, unicode: bool = True, **header: Any) -> Read:
    """What is read of an answer."""
    return read(message(*chain, flags=RESPONSE, flags2=FLAGS2 if unicode else FLAGS2_OEM, **header))


def part(body: dict[str, Any], *names: str) -> list[Any]:
    """Some fields of a body."""
    return [body[name] for name in names]


# Logins. #


@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize(
    ("oem", "nt", "is_zero"),
    [
        (b"", b"", False),
        (b"\0", b"", True),
        (b"\1", b"", False),
        (bytes(24), bytes(24), False),
        (b"ab", bytes(60), False),
    ],
)
def test_setup_of_13_words(oem: bytes, nt: bytes, is_zero: bool, unicode: bool) -> None:
    """Strings are aligned in Unicode, whatever the sizes of the passwords in front of them. [MS-CIFS 2.2.4.53.1]"""
    texts = ("", "CORP", "Windows 4.0", "LM 4.0")
    body = asked(b.smb1_setup(*texts, oem_password=oem, unicode_password=nt, unicode=unicode), unicode=unicode).one(
        "setup_requests"
    )
    assert part(body, "form", "native_os", "native_lanman") == [Form.PASSWORDS, "Windows 4.0", "LM 4.0"]
    token = body["token"]
    assert part(token, "kind", "user", "domain") == [TokenKind.PASSWORDS, "", "CORP"]
    assert part(token, "lm_size", "nt_size", "lm_is_zero") == [len(oem), len(nt), is_zero]


@pytest.mark.parametrize("password", [b"", b"\0", b"SECRET", bytes(24)])
@pytest.mark.parametrize("user", ["", "GUEST"])
def test_setup_of_10_words(password: bytes, user: str) -> None:
    """LAN Manager 1.0 and on: one password, strings in the OEM set. [X/Open SMB 11.2]"""
    body = asked(b.smb1_setup_lanman(user, "DOMAIN", "DOS", "LM2", password=password), unicode=False).one(
        "setup_requests"
    )
    assert part(body, "form", "native_os", "native_lanman") == [Form.LANMAN, "DOS", "LM2"]
    assert part(body["token"], "user", "domain", "lm_size", "nt_size") == [user, "DOMAIN", len(password), 0]
    assert body["token"]["lm_is_zero"] == (password == b"\0")


@pytest.mark.parametrize("texts", [(), ("",), ("", "CORP")])
def test_setup_of_10_words_whose_last_strings_are_missing(texts: tuple[str, ...]) -> None:
    body = asked(b.smb1_setup_lanman(*texts, password=b"\0"), unicode=False).one("setup_requests")
    domain = texts[1] if len(texts) > 1 else None
    assert part(body["token"], "user", "domain") == ["", domain]
    assert part(body, "native_os", "native_lanman") == [None, None]


@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("size", [1, 2, 73, 74])
def test_setup_of_12_words(size: int, unicode: bool) -> None:
    """Extended security: the strings stand behind a token of any size. [MS-SMB 2.2.4.6.1]"""
    found = asked(b.smb1_setup_blob(b"\xaa" * size, "Unix", "Samba", unicode=unicode), unicode=unicode)
    body = found.one("setup_requests")
    assert part(body, "form", "native_os", "native_lanman") == [Form.TOKEN, "Unix", "Samba"]
    assert (found.tokens["setup_requests"], found.problems) == ([b"\xaa" * size], [])


@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("token", [None, b"", b"\xaa" * 5, b"\xaa" * 6])
def test_setup_answers_of_3_and_4_words(token: bytes | None, unicode: bool) -> None:
    answer = b.smb1_setup_answer(1, "Unix", "Samba", "CORP", token=token, unicode=unicode)
    body = told(answer, unicode=unicode).one("setup_answers")
    assert part(body, "flags", "native_os", "native_lanman") == [1, "Unix", "Samba"]


def test_a_refused_setup_has_no_words() -> None:
    found = told(b.failed(0x73), status=0xC000006D)
    assert (found.kinds, found.problems) == ([Kind.SETUP], [])
    assert found.bodies["setup_answers"] == []


def test_a_setup_with_another_number_of_words_is_told_and_is_no_login() -> None:
    request = Smb1(0x73, bytes(18))
    assert (asked(request).kinds, asked(request).problems) == (
        [Kind.OTHER],
        [("SMB_COM_SESSION_SETUP_ANDX Request", "word_count")],
    )


# Negotiations. #


@pytest.mark.parametrize("mode", [0, 1, 3])
def test_negotiation_answers(mode: int) -> None:
    """Bit 0 of the mode: users; without it passwords belong to shares. [MS-CIFS 2.2.4.52.2; X/Open SMB 6.1]"""
    none = told(Smb1(0x72, b"\xff\xff")).one("negotiate_answers")
    assert part(none, "dialect_index", "share_level") == [0xFFFF, False]
    old = told(b.smb1_negotiate_answer_lanman(2, security_mode=mode)).one("negotiate_answers")
    assert part(old, "dialect_index", "share_level") == [2, not mode & 1]
    new = told(b.smb1_negotiate_answer(5, security_mode=mode | 8)).one("negotiate_answers")
    assert part(new, "dialect_index", "share_level", "signing_required") == [5, not mode & 1, True]


def test_dialects_that_are_offered() -> None:
    offered = ("PC NETWORK PROGRAM 1.0", "LM1.2X002", "NT LM 0.12", "SMB 2.002", "SMB 2.???")
    assert asked(b.smb1_negotiate(offered)).one("negotiate_requests")["dialects"] == "|".join(offered)


# Trees. #


@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("password", [b"", b"\0", bytes(24), b"secret\0"])
def test_tree_connects(password: bytes, unicode: bool) -> None:
    request = b.smb1_tree(r"\\FILES1\IPC$", password=password, unicode=unicode)
    body = asked(request, unicode=unicode).one("tree_requests")
    assert part(body, "path", "password_size") == [r"\\FILES1\IPC$", len(password)]


@pytest.mark.parametrize("words", [2, 3, 7])
@pytest.mark.parametrize(
    ("service", "kind"),
    [(b"IPC", TreeKind.PIPE), (b"A:", TreeKind.DISK), (b"LPT1:", TreeKind.PRINT), (b"COMM", TreeKind.UNKNOWN)],
)
def test_tree_connect_answers(words: int, service: bytes, kind: TreeKind) -> None:
    assert told(b.smb1_tree_answer(service, words=words)).one("tree_answers")["kind"] == kind


@pytest.mark.parametrize("password", ["", "secret"])
def test_the_oldest_tree_connect(password: str) -> None:
    """Path, password and service, each behind a byte 04; the answer has the tree id in its words. [MS-CIFS 2.2.4.50]"""
    strings = b"".join(b"\x04" + text.encode() + b"\0" for text in (r"\\FILES1\IPC$", password, "IPC"))
    body = asked(Smb1(0x70, b"", strings), unicode=False).one("tree_requests")
    assert part(body, "path", "password_size") == [r"\\FILES1\IPC$", len(password)]
    found = told(Smb1(0x70, packed(("max_buffer_size", "H", 4096), ("tid", "H", 77))), unicode=False, tid=0)
    assert found.messages[0]["tree_id"] == 77


# Opens. #


def core(command: int) -> Smb1:
    """OPEN, CREATE, CREATE_NEW: two or three words, a byte 04 and the name. [MS-CIFS 2.2.4.3.1, 2.2.4.4.1]"""
    words = packed(("access_mode", "H", 2), ("attributes", "H", 0)) if command == 2 else bytes(6)
    return Smb1(command, words, b"\x04" + PIPE.encode() + b"\0")


def trans2_open2() -> Smb1:
    return b.transaction("", setup=(0,), parameters=bytes(28) + b.utf16(PIPE + "\0"), command=0x32)


def nt_transact_create(name: str) -> Smb1:
    """[MS-CIFS 2.2.7.1.1] The fixed part has 53 bytes; a name in Unicode is aligned behind it."""
    fixed = packed(
        ("flags", "I", 0),
        ("root_directory_fid", "I", 0),
        ("desired_access", "I", 0x1F),
        ("allocation_size", "Q", 0),
        ("ext_file_attributes", "I", 0),
        ("share_access", "I", 3),
        ("create_disposition", "I", 1),
        ("create_options", "I", 0),
        ("security_descriptor_length", "I", 0),
        ("ea_length", "I", 0),
        ("name_length", "I", len(b.utf16(name))),
        ("impersonation_level", "I", 2),
        ("security_flags", "B", 0),
    )
    # Parameters begin on a multiple of 4, so behind 53 bytes one byte aligns the name.
    return b.nt_transact(1, parameters=fixed + b"\0" + b.utf16(name))


OPENS: list[tuple[str, Smb1, Via, int]] = [
    ("NT_CREATE_ANDX", b.nt_create(PIPE, access=0x1F), Via.NT_CREATE_ANDX, 0x1F),
    ("NT_TRANSACT_CREATE", nt_transact_create(PIPE), Via.NT_TRANSACT_CREATE, 0x1F),
    ("OPEN_ANDX", b.open_andx(PIPE, unicode=True), Via.OPEN_ANDX, 0),
    ("TRANS2_OPEN2", trans2_open2(), Via.TRANS2_OPEN2, 0),
    ("CallNmPipe", b.transaction(PIPE, setup=(0x54, 0), data=DATA), Via.CALL_NMPIPE, 0),
]


@pytest.mark.parametrize(("request_", "via", "access"), [case[1:] for case in OPENS], ids=[case[0] for case in OPENS])
def test_opens(request_: Smb1, via: Via, access: int) -> None:
    found = asked(request_)
    assert (found.kinds, found.problems) == ([Kind.OPEN], [])
    assert part(found.one("open_requests"), "name", "via", "access_mask") == [PIPE, via, access]


@pytest.mark.parametrize("command", [0x02, 0x03, 0x0F])
def test_the_oldest_opens(command: int) -> None:
    found = asked(core(command), unicode=False)
    assert part(found.one("open_requests"), "name", "via") == [PIPE, Via.OPEN]
    words = b"\x07\0" + bytes(12 if command == 2 else 0)
    assert part(told(Smb1(command, words), unicode=False).one("open_answers"), "file_lo", "is_pipe") == [7, False]


@pytest.mark.parametrize(
    "answer", [b.nt_create_answer(7, 2, words=n) for n in (34, 42, 50)] + [b.open_andx_answer(7, 2)]
)
def test_open_answers(answer: Smb1) -> None:
    """A pipe in message mode; the extended form has 100 bytes whatever its word count says. [MS-SMB 2.2.4.9.2]"""
    assert part(told(answer).one("open_answers"), "file_hi", "file_lo", "is_pipe") == [0, 7, True]


# Data. #


def mpx_words(count: int) -> bytes:
    """READ_MPX, READ_RAW. [MS-CIFS 2.2.4.22.1, 2.2.4.23.1]"""
    return packed(
        ("fid", "H", 7), ("offset", "I", 0), ("max_count", "H", 512), ("min_count", "H", 0), ("timeout", "I", 0),
        ("reserved", "H", 0), ("offset_high", "I", 0),
    )[: 2 * count]  # fmt: skip


def raw_write(command: int, words: int, total: int) -> Smb1:
    """WRITE_RAW, WRITE_MPX. [MS-CIFS 2.2.4.25.1, 2.2.4.26.1]"""
    fields = packed(
        ("fid", "H", 7),
        ("total", "H", total),
        ("reserved", "H", 0),
        ("offset", "I", 0),
        ("timeout", "I", 0),
        ("write_mode", "H", 0),
        ("reserved2", "I", 0),
        ("data_length", "H", len(DATA)),
        ("data_offset", "H", 32 + 1 + 2 * words + 2 + 1),
        ("offset_high", "I", 0),
    )
    return Smb1(command, fields[: 2 * words], b"\0" + DATA)


def write_and_close(words: int) -> Smb1:
    """[MS-CIFS 2.2.4.40.1]"""
    fields = packed(
        ("fid", "H", 7), ("count", "H", len(DATA)), ("offset", "I", 0), ("last_write_time", "I", 0), ("reserved", "12s", bytes(12)),
    )  # fmt: skip
    return Smb1(0x2C, fields[: 2 * words], b"\0" + DATA)


def other(command: int, like: Smb1) -> Smb1:
    """A command whose form is that of another one."""
    return Smb1(command, like.words, like.data)


WRITES: list[tuple[str, Smb1, int]] = [
    ("WRITE", b.write_core(7, DATA), 40),
    ("WRITE_AND_UNLOCK", other(0x14, b.write_core(7, DATA)), 40),
    ("WRITE_ANDX, 12 words", b.write_andx(7, DATA, words=12), 40),
    ("WRITE_ANDX, 14 words", b.write_andx(7, DATA), 40),
    ("WRITE_AND_CLOSE, 6 words", write_and_close(6), 40),
    ("WRITE_AND_CLOSE, 12 words", write_and_close(12), 40),
    ("WRITE_RAW, 12 words", raw_write(0x1D, 12, 3000), 3000),
    ("WRITE_RAW, 14 words", raw_write(0x1D, 14, 3000), 3000),
    ("WRITE_MPX", raw_write(0x1E, 12, 3000), 40),
    ("TransactNmPipe write", b.transaction("\\PIPE\\", setup=(0x37, 7), data=DATA), 40),
    ("raw write", b.transaction("\\PIPE\\", setup=(0x31, 7), data=DATA), 40),
]


@pytest.mark.parametrize(("request_", "size"), [case[1:] for case in WRITES], ids=[case[0] for case in WRITES])
def test_writes(request_: Smb1, size: int) -> None:
    found = asked(request_)
    assert (found.kinds, found.problems) == ([Kind.DATA], [])
    assert part(found.one("data_requests"), "file_hi", "file_lo", "way", "bytes") == [0, 7, Way.WRITE, size]
    assert found.payloads["data_requests"] == [DATA]
    closes = found.bodies["close_requests"]
    assert [close["file_lo"] for close in closes] == ([7] if request_.command == 0x2C else [])


READS: list[tuple[str, Smb1]] = [
    ("READ", b.read_core(7)),
    ("LOCK_AND_READ", other(0x13, b.read_core(7))),
    ("READ_ANDX, 10 words", b.read_andx(7, words=10)),
    ("READ_ANDX, 12 words", b.read_andx(7)),
    ("READ_RAW, 8 words", Smb1(0x1A, mpx_words(8))),
    ("READ_RAW, 10 words", Smb1(0x1A, mpx_words(10))),
    ("READ_MPX", Smb1(0x1B, mpx_words(8))),
    ("read of a transaction", b.transaction("\\PIPE\\", setup=(0x36, 7))),
    ("raw read", b.transaction("\\PIPE\\", setup=(0x11, 7))),
]


@pytest.mark.parametrize("request_", [case[1] for case in READS], ids=[case[0] for case in READS])
def test_reads(request_: Smb1) -> None:
    found = asked(request_)
    assert (found.kinds, found.problems) == ([Kind.DATA], [])
    assert part(found.one("data_requests"), "file_lo", "way", "bytes") == [7, Way.READ, 0]


MPX_ANSWER = packed(
    ("offset", "I", 0), ("count", "H", 40), ("remaining", "H", 0), ("data_compaction_mode", "H", 0), ("reserved", "H", 0),
    ("data_length", "H", 40), ("data_offset", "H", 32 + 1 + 16 + 2 + 3),
)  # fmt: skip


@pytest.mark.parametrize("status", [0, 0x80000005])
@pytest.mark.parametrize(
    "answer",
    [
        b.read_core_answer(DATA),
        other(0x13, b.read_core_answer(DATA)),
        b.read_andx_answer(DATA),
        b.read_andx_answer(DATA, gap=b"\0\0\0"),
        Smb1(0x1B, MPX_ANSWER, b"\0\0\0" + DATA),
        b.transaction_answer(data=DATA),
    ],
    ids=["READ", "LOCK_AND_READ", "READ_ANDX", "READ_ANDX with a gap", "READ_MPX", "TRANSACTION"],
)
def test_read_answers(answer: Smb1, status: int) -> None:
    found = told(answer, status=status)
    assert found.one("data_answers")["bytes"] == 40
    assert found.payloads["data_answers"] == [DATA]


def test_a_close() -> None:
    assert asked(b.smb1_close(9)).one("close_requests")["file_lo"] == 9


# Transactions. #


def secondary(command: int, *, data: bytes, displacement: int) -> Smb1:
    """[MS-CIFS 2.2.4.34.1]"""
    at = 32 + 1 + 16 + 2
    words = packed(
        ("total_parameter_count", "H", 0),
        ("total_data_count", "H", 90),
        ("parameter_count", "H", 0),
        ("parameter_offset", "H", at),
        ("parameter_displacement", "H", 0),
        ("data_count", "H", len(data)),
        ("data_offset", "H", at),
        ("data_displacement", "H", displacement),
    )
    return Smb1(command, words, data)


@pytest.mark.parametrize("sent_first", [0, 40])
def test_a_transaction_in_several_messages(sent_first: int) -> None:
    """The first part, which may hold none of the data, tells the totals; the others pair with nothing."""
    found = read(
        message(b.transaction("\\PIPE\\", setup=(0x26, 7), data=DATA[:sent_first], total_data=90)),
        message(b.failed(0x25), flags=RESPONSE),  # interim: go on
        message(secondary(0x26, data=bytes(90 - sent_first), displacement=sent_first)),
        message(b.transaction_answer(data=DATA, total_data=70), flags=RESPONSE),
        message(b.transaction_answer(data=bytes(30), total_data=70, data_displacement=40), flags=RESPONSE),
    )
    first, interim, more, answer, rest = (row["key"] for row in found.messages)
    assert part(found.one("data_requests"), "file_lo", "way", "bytes") == [7, Way.TRANSACT, 90]
    assert first == answer
    assert {interim, more, rest} == {smb1.NO_KEY}
    assert next(body["bytes"] for body in found.bodies["data_answers"]) == 70


def of_parameters(first: Smb1, total: int) -> Smb1:
    """A first part with the totals of all. [MS-CIFS 2.2.4.33.1, 2.2.4.62.1]"""
    words = bytearray(first.words)
    if first.command == 0xA0:
        words[3:7] = total.to_bytes(4, "little")
    else:
        words[0:2] = total.to_bytes(2, "little")
    return replace(first, words=bytes(words))


def more_parameters(command: int, parameters: bytes, total: int, displacement: int = 0) -> Smb1:
    """[MS-CIFS 2.2.4.34.1, 2.2.4.47.1, 2.2.4.63.1]"""
    if command == 0xA1:
        at = 32 + 1 + 36 + 2
        words = packed(
            ("reserved1", "3s", bytes(3)),
            ("total_parameter_count", "I", total),
            ("total_data_count", "I", 0),
            ("parameter_count", "I", len(parameters)),
            ("parameter_offset", "I", at + 1),
            ("parameter_displacement", "I", displacement),
            ("data_count", "I", 0),
            ("data_offset", "I", 0),
            ("data_displacement", "I", 0),
            ("reserved2", "B", 0),
        )
    else:
        at = 32 + 1 + 16 + (2 if command == 0x33 else 0) + 2
        words = packed(
            ("total_parameter_count", "H", total),
            ("total_data_count", "H", 0),
            ("parameter_count", "H", len(parameters)),
            ("parameter_offset", "H", at + 1),
            ("parameter_displacement", "H", displacement),
            ("data_count", "H", 0),
            ("data_offset", "H", 0),
            ("data_displacement", "H", 0),
            *[("fid", "H", 0xFFFF)] * (command == 0x33),
        )
    return Smb1(command, words, b"\0" + parameters)


GO_ON = message(b.failed(0x25), flags=RESPONSE)
RAP_PARAMETERS = b"\x0d\0WrLh\0B16\0"
DFS_PARAMETERS = b"\4\0" + b.utf16("\\FILES1\\dfs\0")
NAME = b.utf16("\\srvsvc")
CREATE_PARAMETERS = packed(
    ("flags", "I", 0), ("root_directory_fid", "I", 0), ("desired_access", "I", 0x2019F), ("allocation_size", "Q", 0),
    ("ext_file_attributes", "I", 0), ("share_access", "I", 7), ("create_disposition", "I", 1), ("create_options", "I", 0),
    ("security_descriptor_length", "I", 0), ("ea_length", "I", 0), ("name_length", "I", len(NAME)),
    ("impersonation_level", "I", 2), ("security_flags", "B", 0),
)  # fmt: skip
SPLIT = {
    # what the first part is, the further part's command, the parameters, and what is to be read of them
    "rap": (b.transaction("\\PIPE\\LANMAN"), 0x26, RAP_PARAMETERS, "call_requests", {"function": 13}),
    "dfs": (b.transaction("", setup=(0x10,), command=0x32), 0x33, DFS_PARAMETERS, "call_requests", {"name": "\\FILES1\\dfs"}),
    "nt create": (
        # The name is aligned to two bytes from the header, which is 32 + 1 + 36 + 2 + 1 + 53 bytes before.
        b.nt_transact(1), 0xA1, CREATE_PARAMETERS + b"\0" + NAME, "open_requests",
        {"name": "\\srvsvc", "access_mask": 0x2019F},
    ),
}  # fmt: skip
NOTHING = {"function": smb1.NO_FUNCTION, "name": None, "access_mask": 0}


@pytest.mark.parametrize("split", SPLIT.values(), ids=SPLIT)
def test_parameters_that_come_in_a_further_message(split: tuple[Any, ...], kernels: Kernels) -> None:
    first, command, parameters, table, wanted = split
    whole = message(of_parameters(first, len(parameters)), mid=7)
    more = message(more_parameters(command, parameters, len(parameters)), mid=7)
    between = [
        message(more_parameters(command, b"another's", 9), mid=8),
        message(more_parameters(command, b"", 9), mid=7),
    ]
    for messages in ([whole, GO_ON, more], [whole, GO_ON, *between, more]):
        body = read(*messages, kernels=kernels).one(table)
        assert {name: body[name] for name in wanted} == wanted


@pytest.mark.parametrize("split", SPLIT.values(), ids=SPLIT)
def test_parameters_that_are_not_all_in_one_message(split: tuple[Any, ...], kernels: Kernels) -> None:
    """They never come, the ids are used again before they do, or they are spread: nothing is said of them."""
    first, command, parameters, table, wanted = split
    size = len(parameters)
    whole = message(of_parameters(first, size), mid=7)
    for others in (
        [],
        [message(b.smb1_close(9), mid=7), message(more_parameters(command, parameters, size), mid=7)],
        [message(more_parameters(command, parameters[4:], size, displacement=4), mid=7)],
        [
            message(more_parameters(command, parameters[:-3], size), mid=7),
            message(more_parameters(command, parameters[-3:], size, size - 3), mid=7),
        ],
        [message(more_parameters(command, parameters, size), mid=7, pid=1)],
    ):
        found = read(whole, GO_ON, *others, kernels=kernels)
        body = found.one(table)
        assert {name: body[name] for name in wanted} == {name: NOTHING[name] for name in wanted}


@pytest.mark.parametrize("function", [0x01, 0x21, 0x22, 0x23], ids=["set state", "query state", "query info", "peek"])
def test_transactions_that_say_nothing_new(function: int) -> None:
    found = asked(b.transaction("\\PIPE\\", setup=(function, 7)))
    assert (found.kinds, found.problems) == ([Kind.OTHER], [])
    assert not any(found.bodies.values())


@pytest.mark.parametrize("unicode", [True, False])
def test_waiting_for_a_pipe_names_it(unicode: bool) -> None:
    found = asked(b.transaction(PIPE, setup=(0x53, 0), unicode=unicode), unicode=unicode)
    assert found.kinds == [Kind.CALL]
    assert part(found.one("call_requests"), "protocol", "function", "name") == [CallProtocol.FSCTL, 0x00110018, PIPE]


@pytest.mark.parametrize("name", ["\\PIPE\\LANMAN", "\\pipe\\lanman"])
@pytest.mark.parametrize("unicode", [True, False])
def test_rap(name: str, unicode: bool) -> None:
    """No setup words; the first two bytes of the parameters are the function. [MS-RAP 2.5.1]"""
    parameters = b"\x0d\0" + b"WrLh\0B16\0"
    found = asked(b.transaction(name, parameters=parameters, unicode=unicode), unicode=unicode)
    assert part(found.one("call_requests"), "protocol", "function") == [CallProtocol.RAP, 13]
    answer = told(b.transaction_answer(parameters=b"\x05\0" + bytes(6))).one("call_answers")
    assert answer["code"] == 5


@pytest.mark.parametrize("unicode", [True, False])
def test_mailslots_are_passed_over(unicode: bool) -> None:
    request = b.transaction("\\MAILSLOT\\BROWSE", setup=(1, 1, 2), data=DATA, unicode=unicode)
    found = asked(request, unicode=unicode)
    assert found.kinds == [Kind.OTHER]
    assert not any(found.bodies.values())


def test_a_referral() -> None:
    """[MS-CIFS 2.2.6.16; MS-DFSC 2.2.2]"""
    parameters = b"\x03\0" + b.utf16("\\FILES1\\dfs\0")
    found = asked(b.transaction("", setup=(0x10,), parameters=parameters, command=0x32))
    assert part(found.one("call_requests"), "protocol", "name") == [CallProtocol.DFS, "\\FILES1\\dfs"]


def test_other_functions_of_transaction2() -> None:
    found = asked(b.transaction("", setup=(5,), parameters=bytes(6), command=0x32))
    assert found.kinds == [Kind.OTHER]


def control(code: int, data: bytes) -> Smb1:
    """NT_TRANSACT_IOCTL. [MS-CIFS 2.2.7.2.1]"""
    setup = packed(("function_code", "I", code), ("fid", "H", 7), ("is_fsctl", "B", 1), ("is_flags", "B", 0))
    return b.nt_transact(2, setup=setup, data=data)


def test_control_codes() -> None:
    transceive = asked(control(0x0011C017, DATA))
    assert part(transceive.one("data_requests"), "file_lo", "way", "bytes") == [7, Way.TRANSACT, 40]
    assert transceive.payloads["data_requests"] == [DATA]
    assert asked(control(0x0011400C, b"")).kinds == [Kind.OTHER]
    name = b.utf16("srvsvc")
    wait = packed(
        ("timeout", "Q", 0), ("name_length", "I", len(name)), ("timeout_specified", "B", 0), ("padding", "B", 0)
    )
    waiting = asked(control(0x00110018, wait + name)).one("call_requests")
    assert part(waiting, "protocol", "function", "name") == [CallProtocol.FSCTL, 0x00110018, "srvsvc"]
    assert asked(control(0x00090000, b"")).one("call_requests")["function"] == 0x00090000


# Headers. #


def test_signatures_and_statuses() -> None:
    """Zeros, and the text of clients that cannot sign yet, are no signatures; without bit 14 the status is DOS's."""
    flags = FLAGS2 | b.FLAGS2_SIGNED
    for signature, is_signed in ((bytes(8), False), (b"BSRSPYL ", False), (bytes(range(8)), True)):
        row = read(message(b.smb1_close(1), flags2=flags, signature=signature)).messages[0]
        assert bool(row["flags"] & Flag.SIGNED) == is_signed
    old = read(message(b.failed(0x75), flags=RESPONSE, flags2=0, status=0x00050001)).messages[0]
    assert old["flags"] & Flag.DOS_STATUS
    assert old["status"] == 0x00050001


def test_a_chain_has_one_status_which_is_its_last_elements() -> None:
    found = told(b.smb1_setup_answer(0, "Unix"), b.failed(0x75), status=0xC0000022, uid=9)
    assert [(row["status"], bool(row["flags"] & Flag.CHAINED)) for row in found.messages] == [
        (0, False), (0xC0000022, True),
    ]  # fmt: skip


@pytest.mark.parametrize("cut", range(35, 120))
def test_a_message_cut_anywhere_is_read_as_far_as_it_goes(cut: int, kernels: Kernels) -> None:
    """Above all a name that is cut off is not an empty one."""
    whole = message(b.smb1_setup("alice", "CORP", "Windows 4.0", oem_password=bytes(24), unicode_password=bytes(24)))
    found = read(whole[:cut], kernels=kernels)
    for body in found.bodies["setup_requests"]:
        user = body["token"]["user"]
        assert user is None or (user and "alice".startswith(user.rstrip("\ufffd")))
