"""SMB 2 and 3: what messages say of who asks, and for what, wherever in the message it stands. [MS-SMB2]"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.records import NO_KEY, CallProtocol, Flag, Form, Kind, TreeKind, Via, Way
from tests import build as b
from tests.build import NO_FILE, NO_ID32, NO_ID64, RELATED, RESPONSE, packed, smb2
from tests.smb.reading import Read, read

FILE = (0x1122, 0xFFFFFFFF_00000007)
DATA = bytes(range(40))
SESSION, TREE = 0xFEDCBA98_76543210, 9
GAPS = (b"", b"\xee" * 8, b"\xee" * 333)


def asked(command: int, body: bytes, **header: Any) -> Read:
    """What is read of a request."""
    return read(smb2(command, body, **header))


def told(command: int, body: bytes, *, flags: int = 0, **header: Any) -> Read:
    """What is read of an answer."""
    return read(smb2(command, body, flags=RESPONSE | flags, **header))


def part(body: dict[str, Any], *names: str) -> list[Any]:
    """Some fields of a body."""
    return [body[name] for name in names]


# Negotiations and logins. #


def test_a_negotiation_with_contexts() -> None:
    """Contexts stand behind the dialects; ClientStartTime's place says where. [MS-SMB2 2.2.3, 2.2.3.1]"""
    body = bytearray(b.negotiate_request((0x0202, 0x0311), guid=bytes(range(1, 17))))
    context = packed(
        ("context_type", "H", 2), ("data_length", "H", 4), ("reserved", "I", 0), ("cipher_count", "H", 1), ("cipher", "H", 2),
    )  # fmt: skip
    body[28:36] = packed(("offset", "I", 64 + len(body) + 4), ("count", "H", 1), ("reserved", "H", 0))
    found = asked(b.NEGOTIATE, bytes(body) + bytes(4) + context).one("negotiate_requests")
    assert found["dialects"] == "2.0.2|3.1.1"
    assert part(found["client_guid"], "known", "a") == [True, 0x0807060504030201]


@pytest.mark.parametrize(
    ("dialect", "name"), [(0x0202, "2.0.2"), (0x02FF, "2.?"), (0x0311, "3.1.1"), (0x0999, "0x0999")]
)
def test_negotiation_answers(dialect: int, name: str) -> None:
    """0x02FF asks for another round, after a multi-protocol negotiation. [MS-SMB2 3.3.5.3.1]"""
    found = told(b.NEGOTIATE, b.negotiate_answer(dialect, security_mode=3)).one("negotiate_answers")
    assert part(found, "dialect", "dialect_index", "signing_required") == [name, -1, True]


@pytest.mark.parametrize("gap", GAPS, ids=len)
@pytest.mark.parametrize("flags", [0, 1])
def test_logins(gap: bytes, flags: int) -> None:
    body = b.setup_request(b"NTLMSSP\0", flags=flags, previous_session_id=SESSION, gap=gap)
    found = asked(b.SESSION_SETUP, body, session_id=SESSION)
    assert part(found.one("setup_requests"), "form", "binding", "previous_session_id") == [
        Form.TOKEN,
        bool(flags),
        SESSION,
    ]
    answer = told(b.SESSION_SETUP, b.setup_answer(b"token", session_flags=7, gap=gap), status=b.MORE_PROCESSING)
    assert answer.one("setup_answers")["flags"] == 7
    assert (found.tokens["setup_requests"], answer.tokens["setup_answers"]) == ([b"NTLMSSP\0"], [b"token"])


def test_a_refused_login_has_the_error_body() -> None:
    found = told(b.SESSION_SETUP, b.error_answer(), status=b.ACCESS_DENIED)
    assert (found.bodies["setup_answers"], found.problems, found.kinds) == ([], [], [Kind.SETUP])


# Trees and opens. #


@pytest.mark.parametrize(
    ("flags", "gap"), [(0, b""), (0, b"\xee" * 8), (4, bytes(16))], ids=["plain", "gap", "extension"]
)
def test_tree_connects(flags: int, gap: bytes) -> None:
    found = asked(b.TREE_CONNECT, b.tree_request(r"\\FILES1\IPC$", gap=gap, flags=flags))
    assert found.one("tree_requests")["path"] == r"\\FILES1\IPC$"
    answer = told(b.TREE_CONNECT, b.tree_answer(2), tree_id=TREE)
    assert (answer.one("tree_answers")["kind"], answer.messages[0]["tree_id"]) == (TreeKind.PIPE, TREE)


CONTEXT = packed(
    ("next", "I", 0),
    ("name_offset", "H", 16),
    ("name_length", "H", 4),
    ("reserved", "H", 0),
    ("data_offset", "H", 24),
    ("data_length", "I", 0),
    ("name", "4s", b"MxAc"),
    ("padding", "4s", bytes(4)),
)
"""SMB2_CREATE_CONTEXT. [MS-SMB2 2.2.13.2]"""


@pytest.mark.parametrize("behind", [b"", CONTEXT, bytes(8000)], ids=len)
@pytest.mark.parametrize("gap", [b"", b"\xee" * 8, CONTEXT], ids=len)
def test_opens_with_contexts(gap: bytes, behind: bytes) -> None:
    found = asked(b.CREATE, b.create_request("srvsvc", access=0x3, gap=gap) + behind)
    assert part(found.one("open_requests"), "name", "via", "access_mask") == ["srvsvc", Via.CREATE, 3]
    assert found.problems == []
    answer = told(b.CREATE, b.create_answer(FILE) + behind).one("open_answers")
    assert part(answer, "file_hi", "file_lo") == list(FILE)


# Data and control codes. #


@pytest.mark.parametrize("gap", GAPS[:2], ids=len)
@pytest.mark.parametrize("status", [b.SUCCESS, b.BUFFER_OVERFLOW])
def test_data(gap: bytes, status: int) -> None:
    """An overflow is a part of the data, and the rest is still to come. [MS-SMB2 3.3.4.4]"""
    written = asked(b.WRITE, b.write_request(FILE, DATA, gap=gap))
    assert part(written.one("data_requests"), "file_hi", "file_lo", "way", "bytes") == [*FILE, Way.WRITE, 40]
    assert written.payloads["data_requests"] == [DATA]
    assert part(asked(b.READ, b.read_request(FILE)).one("data_requests"), "file_lo", "way") == [FILE[1], Way.READ]
    answer = told(b.READ, b.read_answer(DATA, gap=gap), status=status)
    assert (answer.one("data_answers")["bytes"], answer.payloads["data_answers"]) == (40, [DATA])
    both = asked(b.IOCTL, b.ioctl_request(0x0011C017, FILE, DATA, gap=gap))
    assert part(both.one("data_requests"), "file_lo", "way", "bytes") == [FILE[1], Way.TRANSACT, 40]
    assert both.payloads["data_requests"] == [DATA]
    back = told(b.IOCTL, b.ioctl_answer(0x0011C017, FILE, DATA, echo=gap), status=status)
    assert (back.one("data_answers")["bytes"], back.payloads["data_answers"]) == (40, [DATA])


def test_an_error_is_no_data() -> None:
    for command in (b.READ, b.WRITE, b.IOCTL):
        found = told(command, b.error_answer(), status=b.ACCESS_DENIED)
        assert not any(found.bodies.values())
        assert found.problems == []


PIPE_NAME = b.utf16("srvsvc")
WAIT = packed(
    ("timeout", "Q", 0), ("name_length", "I", len(PIPE_NAME)), ("timeout_specified", "B", 0), ("padding", "B", 0)
)  # fmt: skip
REFERRAL = b"\x04\0" + b.utf16("\\FILES1\\dfs\0")
REFERRAL_EX = packed(
    ("max_referral_level", "H", 4),
    ("request_flags", "H", 1),
    ("request_data_length", "I", 30),
    ("request_file_name_length", "H", 22),
) + b.utf16("\\FILES1\\dfs") + b"\x08\0" + b.utf16("Site")  # fmt: skip
CALLS: list[tuple[str, int, bytes, CallProtocol, str | None]] = [
    ("PIPE_WAIT", 0x00110018, WAIT + PIPE_NAME, CallProtocol.FSCTL, "srvsvc"),
    ("PIPE_PEEK without a file", 0x0011400C, b"", CallProtocol.FSCTL, None),
    ("DFS_GET_REFERRALS", 0x00060194, REFERRAL, CallProtocol.DFS, "\\FILES1\\dfs"),
    ("DFS_GET_REFERRALS_EX", 0x000601B0, REFERRAL_EX, CallProtocol.DFS, "\\FILES1\\dfs"),
    ("QUERY_NETWORK_INTERFACE_INFO", 0x001401FC, b"", CallProtocol.FSCTL, None),
    ("VALIDATE_NEGOTIATE_INFO", 0x00140204, bytes(26), CallProtocol.FSCTL, None),
]


@pytest.mark.parametrize("gap", GAPS[:2], ids=len)
@pytest.mark.parametrize(("code", "data", "protocol", "name"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS])
def test_control_codes(code: int, data: bytes, protocol: CallProtocol, name: str | None, gap: bytes) -> None:
    found = asked(b.IOCTL, b.ioctl_request(code, NO_FILE, data, gap=gap))
    assert found.kinds == [Kind.CALL]
    assert part(found.one("call_requests"), "protocol", "function", "name") == [protocol, code, name]
    answer = told(b.IOCTL, b.ioctl_answer(code, NO_FILE, DATA)).one("call_answers")
    assert part(answer, "code", "bytes") == [-1, 40]


def test_a_peek_at_an_open_pipe_says_nothing_new() -> None:
    found = asked(b.IOCTL, b.ioctl_request(0x0011400C, FILE, b""))
    assert (found.kinds, found.bodies["call_requests"]) == ([Kind.OTHER], [])


# Compounds, asynchronous answers. #


def test_related_parts_inherit_session_and_tree() -> None:
    found = read(
        b.compound(
            smb2(b.CREATE, b.create_request("srvsvc"), message_id=1, session_id=SESSION, tree_id=TREE),
            smb2(b.READ, b.read_request(NO_FILE), message_id=2, session_id=NO_ID64, tree_id=NO_ID32, flags=RELATED),
            smb2(b.CLOSE, b.close_request(NO_FILE), message_id=3, session_id=NO_ID64, tree_id=NO_ID32, flags=RELATED),
        )
    )
    assert [part(row, "session_id", "tree_id", "key") for row in found.messages] == [
        [SESSION, TREE, 1], [SESSION, TREE, 2], [SESSION, TREE, 3],
    ]  # fmt: skip
    assert len({row["message"] for row in found.messages}) == 1


def test_unrelated_parts_have_ids_of_their_own() -> None:
    found = read(
        b.compound(
            smb2(b.CREATE, b.create_request("srvsvc"), message_id=1, session_id=SESSION, tree_id=TREE),
            smb2(b.CREATE, b.create_request("lsarpc"), message_id=2, session_id=5, tree_id=6),
        )
    )
    assert [part(row, "session_id", "tree_id") for row in found.messages] == [[SESSION, TREE], [5, 6]]
    assert [body["name"] for body in found.bodies["open_requests"]] == ["srvsvc", "lsarpc"]


def test_asynchronous_answers() -> None:
    """The interim one says nothing; the final one has the message's number, and an AsyncId in the tree's place."""
    found = read(
        smb2(b.READ, b.read_request(FILE), message_id=7, session_id=SESSION, tree_id=TREE),
        smb2(
            b.READ, b.error_answer(), status=b.PENDING, flags=RESPONSE, message_id=7, session_id=SESSION, async_id=0x99
        ),
        smb2(b.READ, b.read_answer(DATA), flags=RESPONSE, message_id=7, session_id=SESSION, async_id=(TREE << 32) | 1),
    )
    assert [part(row, "key", "tree_id", "status") for row in found.messages] == [[7, TREE, 0], [7, NO_ID32, 0]]
    assert found.messages[1]["flags"] & Flag.ASYNC
    assert found.one("data_answers")["bytes"] == 40


# What hides. #


def test_encrypted_messages_show_their_session() -> None:
    found = read_one_way(b.encrypted(SESSION))
    assert found.kinds == [Kind.ENCRYPTED]
    assert part(found.messages[0], "session_id", "tree_id") == [SESSION, NO_ID32]


def read_one_way(message: bytes) -> Read:
    """A message whose header does not say who sent it: from the client."""
    return read(message[:16] + bytes([message[16] & 0xFE]) + message[17:])


ANSWER = smb2(b.READ, b.read_answer(bytes(3000)), message_id=7, session_id=SESSION, tree_id=TREE)


@pytest.mark.parametrize("chained", [False, True])
@pytest.mark.parametrize("plain", [64, 80, 100])
def test_the_header_of_a_compressed_message(plain: int, chained: bool) -> None:
    """It stands in front of what is compressed, if so much is in clear. [MS-SMB2 2.2.42.1, 2.2.42.2]"""
    found = read_one_way(b.compressed(ANSWER, plain=plain, chained=chained))
    assert found.kinds == [Kind.COMPRESSED]
    assert part(found.messages[0], "session_id", "tree_id", "key") == [SESSION, TREE, 7]
    assert not any(found.bodies.values())
    assert found.problems == []


@pytest.mark.parametrize("plain", [0, 16, 63])
def test_a_compressed_message_without_a_header_says_nothing(plain: int) -> None:
    found = read_one_way(b.compressed(ANSWER, plain=plain))
    assert part(found.messages[0], "kind", "session_id", "tree_id", "key") == [Kind.COMPRESSED, 0, NO_ID32, NO_KEY]


BODIES = {
    b.NEGOTIATE: (b.negotiate_request(), b.negotiate_answer()),
    b.SESSION_SETUP: (b.setup_request(DATA), b.setup_answer(DATA)),
    b.TREE_CONNECT: (b.tree_request(r"\\FILES1\IPC$"), b.tree_answer(2)),
    b.CREATE: (b.create_request("srvsvc"), b.create_answer(FILE)),
    b.CLOSE: (b.close_request(FILE), b""),
    b.READ: (b.read_request(FILE), b.read_answer(DATA)),
    b.WRITE: (b.write_request(FILE, DATA), b.write_answer(40)),
    b.IOCTL: (b.ioctl_request(0x00060194, NO_FILE, REFERRAL), b.ioctl_answer(0x0011C017, FILE, DATA)),
}


@given(data=st.data())
def test_damage(data: st.DataObject) -> None:
    """A message cut anywhere, with any bytes changed, is read without leaving it."""
    command = data.draw(st.sampled_from(sorted(BODIES)))
    answer = data.draw(st.booleans())
    message = bytearray(smb2(command, BODIES[command][answer], flags=RESPONSE if answer else 0))
    for place, value in data.draw(st.lists(st.tuples(st.integers(64, len(message)), st.integers(0, 255)), max_size=4)):
        if place < len(message):
            message[place] = value
    cut = data.draw(st.integers(64, len(message)))
    found = read(bytes(message[:cut]))
    for table, payloads in found.payloads.items():
        assert all(payload in message[:cut] for payload in payloads), table
