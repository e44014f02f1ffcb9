"""A window of selected messages to the record tables of a batch: the two SMB versions side by side.

`read_window` is the kernel that goes over the messages once; what it found is then made into records a kind at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from analyzer.compiled import Bytes, Kernels, Table, entry
from analyzer.records import (
    BODIES,
    MESSAGE,
    PROBLEM,
    REFERRAL,
    Form,
    Kind,
    Layer,
    Mechanism,
    Rows,
    TokenKind,
    missing_token,
)
from analyzer.smb import smb1, smb2
from analyzer.smb.dfs import fault_of, parse_referrals
from analyzer.smb.smb1 import read_smb1
from analyzer.smb.smb2 import read_compressed, read_encrypted, read_smb2
from analyzer.smb.window import (
    D_CONNECTION,
    D_FILE,
    D_FLAGS,
    D_FRAME,
    D_FROM_SERVER,
    D_KEY,
    D_KIND,
    D_MESSAGE,
    D_ORDER,
    D_PLACE,
    D_POSITION,
    D_PROTOCOL,
    D_SESSION,
    D_STATUS,
    D_TIME,
    D_TREE,
    D_WIDTH,
    ENCODING_DIALECTS_SMB1,
    ENCODING_DIALECTS_SMB2,
    ENCODING_OEM,
    ENCODING_UTF16,
    FIELD_DIALECTS,
    FIELD_DOMAIN,
    FIELD_NAME,
    FIELD_NATIVE_LANMAN,
    FIELD_NATIVE_OS,
    FIELD_PATH,
    FIELD_USER,
    I_ROW,
    I_TABLE,
    I_VALUE,
    I_WIDTH,
    ITEMS_OF_ROW,
    K_ITEMS,
    K_NAMES,
    K_WIDTH,
    N_AT,
    N_ENCODING,
    N_FIELD,
    N_ITEM,
    N_SIZE,
    N_WIDTH,
    NAMES_OF_ROW,
    TABLE_CALL_ANSWER,
    TABLE_CALL_REQUEST,
    TABLE_CLOSE_REQUEST,
    TABLE_DATA_ANSWER,
    TABLE_DATA_REQUEST,
    TABLE_NEGOTIATE_ANSWER,
    TABLE_NEGOTIATE_REQUEST,
    TABLE_OPEN_ANSWER,
    TABLE_OPEN_REQUEST,
    TABLE_PROBLEM,
    TABLE_REFERRAL,
    TABLE_SETUP_ANSWER,
    TABLE_SETUP_REQUEST,
    TABLE_TREE_ANSWER,
    TABLE_TREE_REQUEST,
    Found,
)
from analyzer.transport.messages import (
    M_CONNECTION,
    M_FILE,
    M_FRAME,
    M_FROM_SERVER,
    M_MESSAGE,
    M_PLACE,
    M_POSITION,
    M_PROTOCOL,
    M_TIME,
    PROTOCOL_COMPRESSED,
    PROTOCOL_ENCRYPTED,
    PROTOCOL_SMB1,
    PROTOCOL_SMB2,
)
from analyzer.wire.texts import MISSING, Texts

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_KIND_OTHER = int(Kind.OTHER)

PROBLEMS: dict[int, tuple[Layer, str, str]] = {
    **{smb1.FIRST_PROBLEM + n: (Layer.SMB1, s.title, "too_short") for n, s in enumerate(smb1.STRUCTURES)},
    **{smb1.FIRST_WORDS_PROBLEM + n: (Layer.SMB1, s.title, "word_count") for n, s in enumerate(smb1.STRUCTURES)},
    smb2.PROBLEM_OUTSIDE_PATH: (Layer.SMB2, "path", "outside_message"),
    smb2.PROBLEM_OUTSIDE_NAME: (Layer.SMB2, "name", "outside_message"),
    **{smb2.FIRST_PROBLEM + n: (Layer.SMB2, s.title, "too_short") for n, s in enumerate(smb2.STRUCTURES)},
}
"""What the numbers of problems mean: layer, field, code."""

TABLES: dict[int, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    TABLE_NEGOTIATE_REQUEST: ("negotiate_requests", ("*client_guid", "security_mode", "capabilities"), ("dialects",)),
    TABLE_NEGOTIATE_ANSWER: (
        "negotiate_answers",
        ("*server_guid", "security_mode", "capabilities", "", "dialect_index", "signing_required", "share_level"),
        ("dialect", "domain"),
    ),
    TABLE_SETUP_REQUEST: (
        "setup_requests",
        ("form", "binding", "previous_session_id"),
        ("native_os", "native_lanman"),
    ),
    TABLE_SETUP_ANSWER: ("setup_answers", ("flags",), ("native_os", "native_lanman")),
    TABLE_TREE_REQUEST: ("tree_requests", ("password_size",), ("path",)),
    TABLE_TREE_ANSWER: ("tree_answers", ("kind",), ()),
    TABLE_OPEN_REQUEST: ("open_requests", ("via", "access_mask"), ("name",)),
    TABLE_OPEN_ANSWER: ("open_answers", ("file_hi", "file_lo", "is_pipe"), ()),
    TABLE_CLOSE_REQUEST: ("close_requests", ("file_hi", "file_lo"), ()),
    TABLE_DATA_REQUEST: ("data_requests", ("file_hi", "file_lo", "way", "bytes", "payload_at", "payload_size"), ()),
    TABLE_DATA_ANSWER: ("data_answers", ("bytes", "payload_at", "payload_size"), ()),
    TABLE_CALL_REQUEST: ("call_requests", ("protocol", "function"), ("name",)),
    TABLE_CALL_ANSWER: ("call_answers", ("code", "bytes"), ()),
}
"""The tables of bodies: name, what the values of its items are in order (`*`: a GUID, three of them; an empty name is read
elsewhere), and the fields that are texts."""

_FIELDS = {
    FIELD_PATH: "path",
    FIELD_NAME: "name",
    FIELD_USER: "user",
    FIELD_DOMAIN: "domain",
    FIELD_NATIVE_OS: "native_os",
    FIELD_NATIVE_LANMAN: "native_lanman",
    FIELD_DIALECTS: "dialects",
}
_OF_TOKEN = {"user", "domain"}
"""Fields of a setup request that belong to its token."""
_NOTHING = np.empty(0, dtype=np.int64)
_ENCODINGS = {ENCODING_UTF16: "utf-16-le", ENCODING_OEM: smb1.OEM}
_DIALECTS = {ENCODING_DIALECTS_SMB1: smb1.dialect_names, ENCODING_DIALECTS_SMB2: smb2.dialect_names}


@entry
def read_window(w: Found, n: int) -> int:
    """Read the first `n` messages; returns how many there were."""
    before = -1
    for row in range(n):
        protocol = w.rows[row, M_PROTOCOL]
        w.messages[row, D_CONNECTION] = w.rows[row, M_CONNECTION]
        w.messages[row, D_FROM_SERVER] = w.rows[row, M_FROM_SERVER]
        w.messages[row, D_KIND] = _KIND_OTHER
        w.messages[row, D_PROTOCOL] = 0
        w.messages[row, D_FILE] = w.rows[row, M_FILE]
        w.messages[row, D_FRAME] = w.rows[row, M_FRAME]
        w.messages[row, D_TIME] = w.rows[row, M_TIME]
        w.messages[row, D_PLACE] = w.rows[row, M_PLACE]
        w.messages[row, D_MESSAGE] = w.rows[row, M_MESSAGE]
        w.messages[row, D_POSITION] = w.rows[row, M_POSITION]
        w.messages[row, D_KEY] = 0
        w.messages[row, D_SESSION] = 0
        w.messages[row, D_TREE] = 0
        w.messages[row, D_STATUS] = 0
        w.messages[row, D_FLAGS] = 0
        w.messages[row, D_ORDER] = 0
        if protocol == PROTOCOL_SMB1:
            read_smb1(w, row)
        elif protocol == PROTOCOL_SMB2:
            read_smb2(w, row, before)
            before = row
        elif protocol == PROTOCOL_ENCRYPTED:
            read_encrypted(w, row)
        elif protocol == PROTOCOL_COMPRESSED:
            read_compressed(w, row)
    return n


@dataclass(slots=True)
class TokenPlaces:
    """Where the security blobs of a table of setups lie: its rows that have one, arena offsets, ends, bytes missing."""

    which: Index
    start: Index
    end: Index
    cut: Mask


@dataclass(slots=True)
class Decoded:
    """A window's records. Texts are codes of the pool."""

    messages: Rows
    bodies: dict[str, Rows]
    problems: Rows
    tokens: dict[str, TokenPlaces] = field(default_factory=dict)


class Room:
    """What the kernel writes of a window beside its messages. It is used again for the next one: new memory costs as much
    as reading does.
    """

    def __init__(self) -> None:
        self._items, self._names = (np.empty((0, width), dtype=np.int64) for width in (I_WIDTH, N_WIDTH))

    def of(self, rows: Table, arena: Bytes) -> Found:
        """Room for so many rows."""
        n = len(rows)
        if n * ITEMS_OF_ROW > len(self._items):
            self._items = np.empty((n * ITEMS_OF_ROW, I_WIDTH), dtype=np.int64)
            self._names = np.empty((n * NAMES_OF_ROW, N_WIDTH), dtype=np.int64)
        messages, counts = np.empty((n, D_WIDTH), dtype=np.int64), np.zeros(K_WIDTH, dtype=np.int64)
        return Found(rows, arena, messages, self._items, self._names, counts)


def decode(rows: Table, arena: Bytes, texts: Texts, kernels: Kernels, room: Room | None = None) -> Decoded:
    """Read a window. Rows that are no SMB message must not be in it; bytes behind the arena's content are spare."""
    found = (room or Room()).of(rows, arena)
    kernels.read_window(found, len(rows))
    items = found.items[: found.counts[K_ITEMS]]
    names = found.names[: found.counts[K_NAMES]]
    decoded = Decoded(found.messages.view(MESSAGE)[:, 0], {}, np.empty(0, dtype=PROBLEM))
    codes = _codes(names, arena, texts)
    place = np.empty(len(items), dtype=np.int64)  # of an item in its table
    name_table = items[names[:, N_ITEM], I_TABLE]
    for table, (name, values, text_fields) in TABLES.items():
        which = np.flatnonzero(items[:, I_TABLE] == table)
        place[which] = np.arange(len(which))
        chosen = items[which]
        made = np.zeros(len(which), dtype=BODIES[name])
        made["row"] = chosen[:, I_ROW]
        _fill(made, chosen, values)
        for text in text_fields:
            made[text] = MISSING
        if table in (TABLE_SETUP_REQUEST, TABLE_SETUP_ANSWER):
            made["token"] = missing_token(len(which))
            decoded.tokens[name] = _token_places(chosen)
        mine = np.flatnonzero(name_table == table) if text_fields else _NOTHING
        for number in np.flatnonzero(np.bincount(names[mine, N_FIELD])).tolist():
            of_field = mine[names[mine, N_FIELD] == number]
            text = _FIELDS[number]
            target = made["token"] if table == TABLE_SETUP_REQUEST and text in _OF_TOKEN else made
            target[text][place[names[of_field, N_ITEM]]] = codes[of_field]
        if table == TABLE_SETUP_REQUEST:
            _fill_passwords(made, chosen, texts)
        elif table == TABLE_NEGOTIATE_ANSWER:
            _fill_dialects(made, chosen, texts)
        decoded.bodies[name] = made
    decoded.bodies["referrals"] = _referrals(items[items[:, I_TABLE] == TABLE_REFERRAL], arena, texts)
    decoded.problems = _problems(rows, items[items[:, I_TABLE] == TABLE_PROBLEM], texts)
    return decoded


def _fill(made: Rows, items: Table, values: tuple[str, ...]) -> None:
    column = I_VALUE
    for name in values:
        if name.startswith("*"):
            guid = made[name[1:]]
            guid["known"] = items[:, column] != 0
            guid["a"], guid["b"] = (items[:, column + half].astype(np.uint64) for half in (1, 2))
            column += 2
        elif name:
            # Numbers of 64 bits are signed in items: the same bits, read as what the field is.
            made[name] = items[:, column].astype(made.dtype[name])
        column += 1


def _token_places(items: Table) -> TokenPlaces:
    which = np.flatnonzero(items[:, I_VALUE + 6] == int(TokenKind.NONE))
    start, end, cut = (items[which, I_VALUE + value] for value in (3, 4, 5))
    return TokenPlaces(which, start, end, cut != 0)


def _fill_passwords(made: Rows, items: Table, texts: Texts) -> None:
    """The claims of SMB 1 logins without a security blob, as tokens."""
    which = np.flatnonzero(made["form"] != Form.TOKEN)
    token = made["token"]
    token["kind"][which] = TokenKind.PASSWORDS
    token["mechanism"][which] = Mechanism.SMB1
    for name, value in (("lm_size", 7), ("nt_size", 8), ("lm_is_zero", 9)):
        token[name][which] = items[which, I_VALUE + value]
    token["user"][which[items[which, I_VALUE + 10] != 0]] = texts.code("")


def _fill_dialects(made: Rows, items: Table, texts: Texts) -> None:
    revisions, places = np.unique(items[:, I_VALUE + 5], return_inverse=True)
    codes = [MISSING if code < 0 else texts.code(smb2.dialect_name(code)) for code in revisions.tolist()]
    made["dialect"] = np.array(codes, dtype=np.int32)[places] if codes else MISSING


def _codes(names: Table, arena: Bytes, texts: Texts) -> npt.NDArray[np.int32]:
    codes = np.full(len(names), MISSING, dtype=np.int32)
    for encoding, charset in _ENCODINGS.items():
        which = np.flatnonzero(names[:, N_ENCODING] == encoding)
        codes[which] = texts.slices(arena, names[which, N_AT], names[which, N_SIZE], charset)
    for encoding, reader in _DIALECTS.items():
        which = np.flatnonzero(names[:, N_ENCODING] == encoding)
        codes[which] = _read_each(arena, names[which], texts, reader)
    return codes


def _read_each(
    arena: Bytes, names: Table, texts: Texts, reader: Callable[[bytes], str]
) -> npt.NDArray[np.int32] | list[int]:
    """The codes of texts that are made of bytes; those that repeat are made once."""
    raw = texts.slices(arena, names[:, N_AT], names[:, N_SIZE], "latin-1")
    known = {code: texts.code(reader((texts.text(code) or "").encode("latin-1"))) for code in np.unique(raw).tolist()}
    return [known[code] for code in raw.tolist()]


def _referrals(items: Table, arena: Bytes, texts: Texts) -> Rows:
    """What the answers to DFS referrals name. They are few."""
    rows: list[tuple[int, ...]] = []
    for row, at, size, extent in items[:, [I_ROW, I_VALUE, I_VALUE + 1, I_VALUE + 2]].tolist():
        answer = parse_referrals(arena[at : at + size].tobytes())
        rows += [(row, at + place, len(name), MISSING, MISSING, MISSING) for name, place in answer.targets.items()]
        if fault := fault_of(answer.problem, extent):
            field_, offset, code = fault
            rows.append((row, 0, 0, texts.code(field_), offset, texts.code(code)))
    return np.array(rows, dtype=REFERRAL)


def _problems(rows: Table, items: Table, texts: Texts) -> Rows:
    told = np.zeros(len(items), dtype=PROBLEM)
    of = items[:, I_ROW]
    told["capture_no"] = rows[of, M_FILE]
    told["frame"] = rows[of, M_FRAME]
    told["connection"] = rows[of, M_CONNECTION]
    numbers, details = items[:, I_VALUE].tolist(), items[:, I_VALUE + 1].tolist()
    told["layer"] = [PROBLEMS[number][0] for number in numbers]
    told["field"] = [texts.code(PROBLEMS[number][1]) for number in numbers]
    told["code"] = [texts.code(PROBLEMS[number][2]) for number in numbers]
    told["detail"] = [MISSING if detail < 0 else texts.code(str(detail)) for detail in details]
    return told
