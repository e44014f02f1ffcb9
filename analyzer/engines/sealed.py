"""Connections that are read a second time: whether their keys need no secret, and what their encrypted messages hold.

In: the selected messages of these connections, window by window, with encrypted ones whole, and the logins that are in
question. Out: what was found of each login, and rows of the PDUs that were encrypted, as the scan makes them of clear
ones: same connection, packet and time; what it would pass over (file data, interim answers) is left out here too.

Messages are held until their connection is over, or `HELD` bytes are: an answer may have been captured before its
request. Then keys are looked for, with what the login yields (`auth.session_keys`) on everything that is protected, each
direction by itself, `MOST_TRIED` messages of each at most; what fits proves itself, since signatures and tags have 128
bits. Only then messages are opened. Whose session it is, is not decided here.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from analyzer.auth.session_keys import KeySource, SessionKey, server_challenge, zero_key_candidates
from analyzer.compiled import Bytes, Ints, Table
from analyzer.errors import DecodeError
from analyzer.records import Finding, Rows
from analyzer.smb import crypto
from analyzer.smb.contexts import Agreed, Cipher, Dialect, SigningAlgorithm, parse_agreed
from analyzer.smb.crypto import MOST_TRIED, Found
from analyzer.smb.select import (
    MAX_COMPOUND,
    SMB2_CANCEL,
    SMB2_CREATE,
    SMB2_ECHO,
    SMB2_FLAGS_RELATED,
    SMB2_LOCK,
    SMB2_OPLOCK_BREAK,
    SMB2_TREE_CONNECT,
    STATUS_PENDING,
)
from analyzer.smb.smb2 import HEADER, TRANSFORM_HEADER, Command, HeaderFlags
from analyzer.transport.messages import (
    ARENA_SPARE,
    M_BODY,
    M_COMMAND,
    M_CONNECTION,
    M_END,
    M_FILE,
    M_FLAGS,
    M_FRAME,
    M_FROM_SERVER,
    M_HEADER,
    M_MESSAGE,
    M_PLACE,
    M_POSITION,
    M_PROTOCOL,
    M_SIZE,
    M_WIDTH,
    MF_CUT,
    MF_MORE,
    PROTOCOL_COMPRESSED,
    PROTOCOL_ENCRYPTED,
    PROTOCOL_SMB2,
)

HELD = 64 * 1024 * 1024
"""Bytes of messages that are held at a time."""
MOST_SETUPS_BYTES = 64 * 1024 * 1024
"""Bytes of negotiations and session setups, which are kept until their connections are over."""
MOST_SETUPS = 512
MOST_TREES = 4096
"""Negotiations and session setups, and kinds of trees, that are remembered of one connection."""
OVERHEAD = 1000
"""What a message takes besides its bytes."""
MOST_OPENED = 1_000_000
"""Messages that are opened in one reading."""
MOST_WORK = 8 * 10**9
"""Bytes on which keys are tried in one reading, each key by itself (about half a minute). Who fits nowhere is asked
often: that must not go on for ever.
"""
WORK_OF_KEY = 10_000
"""What it takes to derive a key, in such bytes."""
READY_BYTES = 4 * 1024 * 1024
READY_ROWS = 16_384
"""How much is opened before it is worked off."""

_SESSION_AT = HEADER.offsets["session_id"]
_FLAGS_AT = HEADER.offsets["flags"]
_SEALED_SESSION_AT = TRANSFORM_HEADER.offsets["session_id"]
_SHARE_TYPE_AT = HEADER.size + 2
_FILES = (1, 3)
"""ShareType of disks and printers. [MS-SMB2 2.2.10]"""
_PASSED_OVER = (SMB2_LOCK, SMB2_CANCEL, SMB2_ECHO, SMB2_OPLOCK_BREAK)
_SAME_TREE = 0xFFFFFFFF
_UNTOLD = (
    Agreed(dialect=Dialect.SMB_2_1, signing=SigningAlgorithm.HMAC_SHA256, cipher=None),
    Agreed(dialect=Dialect.SMB_3_0_2, signing=SigningAlgorithm.AES_CMAC, cipher=Cipher.AES_128_CCM),
)
"""What may have been agreed on by a negotiation that was not captured; the keys of 3.1.1 cannot be had without it."""


@dataclass(slots=True)
class _Message:
    """A PDU, or an encrypted message, from its header on."""

    row: list[int]
    """As in the table of messages."""
    data: bytes
    session_id: int

    @property
    def from_server(self) -> bool:
        return bool(self.row[M_FROM_SERVER])

    @property
    def is_sealed(self) -> bool:
        return self.row[M_PROTOCOL] == PROTOCOL_ENCRYPTED

    @property
    def key(self) -> int:
        """Of an encrypted message: as in `MESSAGE`."""
        return int.from_bytes(self.data[4:12], "little", signed=True)

    @property
    def message_id(self) -> int:
        """Of a PDU."""
        return int.from_bytes(self.data[24:32], "little")

    @property
    def is_whole(self) -> bool:
        return len(self.data) >= self.row[M_SIZE]

    @property
    def is_setup(self) -> bool:
        return not self.is_sealed and self.row[M_COMMAND] in (Command.NEGOTIATE, Command.SESSION_SETUP)

    def stands_at(self, capture_no: int, frame: int) -> bool:
        return self.row[M_FILE] == capture_no and self.row[M_FRAME] == frame


@dataclass(slots=True)
class _Login:
    """A login that is in question, and what is known of its keys."""

    number: int
    session_id: int
    claim: tuple[int, int]
    answer: tuple[int, int]
    candidates: list[SessionKey] = field(default_factory=list)
    ways: list[tuple[Agreed, bytes]] = field(default_factory=list)
    """How keys may be derived from session keys."""
    is_guess: bool = False
    """They may be derived in another way, too."""
    found: dict[bool, Found] = field(default_factory=dict)
    """By direction (True: the server's)."""
    tries: dict[bool, int] = field(default_factory=lambda: defaultdict(int))
    signed: set[bool] = field(default_factory=set)
    """Directions in which signatures were checked."""
    sealed: set[bool] = field(default_factory=set)
    """Directions in which encrypted messages are."""
    has_opened: bool = False

    def find(self, message: _Message) -> int:
        """Look which key a protected message shows. Returns the work that it was, as `MOST_WORK` counts it."""
        side = message.from_server
        (self.sealed if message.is_sealed else self.signed).add(side)
        if side in self.found or self.tries[side] >= MOST_TRIED:
            return 0
        self.tries[side] += 1
        keys = [candidate.key for candidate in self.candidates]
        for agreed, preauth in self.ways:
            found = crypto.find_keys(keys, agreed, preauth, [(side, message.data)])
            if found is not None:
                self.found[side] = found
                break
        return len(self.ways) * len(keys) * (len(message.data) + WORK_OF_KEY)

    def finding(self) -> int:
        """`Finding`s."""
        told = Finding(0)
        for found in self.found.values():
            if self.candidates[found.place].source == KeySource.EMPTY_PASSWORD:
                told |= Finding.EMPTY_PASSWORD
            elif found.by_signature:
                told |= Finding.ZERO_KEY
        if self.signed - set(self.found):
            told |= Finding.OTHER_KEY
        if self.has_opened:
            told |= Finding.OPENED
        if self.sealed - set(self.found):
            told |= Finding.STAYED_SHUT
        can_tell = self.ways and self.candidates and told and not (self.is_guess and not self.found)
        return int(told if can_tell else Finding.UNCHECKED)


@dataclass(slots=True)
class _Connection:
    number: int
    """In the first reading."""
    logins: list[_Login]
    setups: list[_Message] = field(default_factory=list)
    messages: list[_Message] = field(default_factory=list)
    current: dict[int, _Login] = field(default_factory=dict)
    """By session id: the login whose messages come now."""
    tree_kinds: dict[tuple[int, int], int] = field(default_factory=dict)


class Sealed:
    """See the module. One for each second reading."""

    def __init__(self, logins: Rows) -> None:
        """logins: `LOGIN`, of one site."""
        self._wanted: dict[tuple[int, ...], list[_Login]] = defaultdict(list)
        self._numbers: dict[tuple[int, ...], int] = {}
        for number, row in enumerate(logins):
            beginning = _beginning(row)
            claim, answer = (
                (int(row[f"{name}_capture_no"]), int(row[f"{name}_frame"])) for name in ("claim", "answer")
            )
            self._wanted[beginning].append(_Login(number, int(row["session_id"]), claim, answer))
            self._numbers[beginning] = int(row["connection"])
        self._ids = np.unique(logins["session_id"])
        self._open: dict[int, _Connection] = {}
        self._held = 0
        self._remembered = 0  # bytes of setups
        self._work = 0
        self._opened_so_far = 0
        self._rows: list[list[int]] = []
        self._arena = bytearray()
        self._sealed: list[int] = []
        self._opened: list[tuple[int, int]] = []
        self._findings: list[tuple[int, int]] = []

    def take(self, rows: Table, arena: Bytes, begun: Rows, ended: Rows) -> None:
        """Take in a window of the second reading, whose connections have numbers of their own."""
        for row in begun:
            logins = self._wanted.pop(_beginning(row), [])
            if logins:
                self._open[int(row["connection"])] = _Connection(self._numbers[_beginning(row)], logins)
        for row, session_id in self._of_interest(rows, arena):
            connection = self._open.get(row[M_CONNECTION])
            if connection is not None:
                data = arena[row[M_HEADER] : row[M_END]].tobytes()
                message = _Message(row, data, session_id)
                connection.messages.append(message)
                self._held += len(data) + OVERHEAD
                if message.is_setup and len(connection.setups) < MOST_SETUPS and self._remembered < MOST_SETUPS_BYTES:
                    connection.setups.append(message)
                    self._remembered += len(data) + OVERHEAD
        for number in ended["connection"].tolist():
            connection = self._open.pop(number, None)
            if connection is not None:
                self._settle(connection)
                self._findings += [(login.number, login.finding()) for login in connection.logins]
                self._remembered -= sum(len(message.data) + OVERHEAD for message in connection.setups)
        if self._held > HELD:
            for connection in self._open.values():
                self._settle(connection)
            self._held = 0

    def is_ready(self) -> bool:
        """Whether what was opened is enough to be worked off."""
        return len(self._arena) > READY_BYTES or len(self._rows) > READY_ROWS

    def handed_over(self) -> tuple[Table, Bytes, Ints, Ints, Ints, Ints]:
        """What was learned since the last time: rows of messages, their arena, and of each the key of the encrypted one
        that it was in; connections and keys of the encrypted ones; numbers of logins, and their findings.
        """
        rows: Table = np.array(self._rows, dtype=np.int64).reshape(len(self._rows), M_WIDTH)
        arena = np.frombuffer(self._arena + bytes(ARENA_SPARE), dtype=np.uint8)
        findings = np.array(self._findings, dtype=np.int64).reshape(len(self._findings), 2)
        sealed = np.array(self._sealed, dtype=np.int64)
        opened = np.array(self._opened, dtype=np.int64).reshape(len(self._opened), 2).T
        self._rows, self._arena, self._sealed, self._opened, self._findings = [], bytearray(), [], [], []
        return rows, arena, sealed, opened, findings[:, 0].copy(), findings[:, 1].copy()

    def _of_interest(self, rows: Table, arena: Bytes) -> list[tuple[list[int], int]]:
        """Setups, and the messages of sessions in question that are protected or tell the kind of a tree."""
        protocol, command = rows[:, M_PROTOCOL], rows[:, M_COMMAND]
        sealed = protocol == PROTOCOL_ENCRYPTED
        at = rows[:, M_HEADER] + np.where(sealed, _SEALED_SESSION_AT, _SESSION_AT)
        readable = np.flatnonzero((protocol == PROTOCOL_SMB2) | (sealed & (rows[:, M_END] >= at + 8)))
        ids = np.ascontiguousarray(arena[at[readable, None] + np.arange(8)]).view("<u8")[:, 0]
        setup = ~sealed[readable] & (command[readable] <= Command.SESSION_SETUP)
        signed = (arena[rows[readable, M_HEADER] + _FLAGS_AT] & HeaderFlags.SIGNED) != 0
        matters = sealed[readable] | signed | (command[readable] == SMB2_TREE_CONNECT)
        chosen = setup | (matters & np.isin(ids, self._ids))
        return list(zip(rows[readable[chosen]].tolist(), ids[chosen].tolist(), strict=True))

    # Keys. #

    def _settle(self, connection: _Connection) -> None:
        """Work off what is held of a connection."""
        # An answer may have been captured before its request; numbers of messages tell the order but where a negotiation
        # began with SMB 1.
        in_order = sorted(connection.setups, key=lambda message: (message.message_id, message.from_server))
        for login in connection.logins:
            for setups in (connection.setups, in_order):
                if not login.ways:
                    _prepare(login, setups)
        for message in connection.messages:
            self._look(connection, message)
        for message in connection.messages:
            if message.is_sealed:
                self._open_message(connection, message)
            elif message.row[M_COMMAND] == SMB2_TREE_CONNECT:
                _note_tree(connection, message.data, message.session_id)
        connection.messages = []

    def _look(self, connection: _Connection, message: _Message) -> None:
        """Look at a message for keys. A session setup begins another period on its session id."""
        session_id = message.session_id
        if message.is_setup and not message.from_server and session_id:
            connection.current.pop(session_id, None)
            for login in connection.logins:
                if login.session_id == session_id and message.stands_at(*login.claim):
                    connection.current[session_id] = login
        current = connection.current.get(session_id)
        if current is None or not current.ways or not message.is_whole:
            return
        if self._work < MOST_WORK and (message.is_sealed or crypto.is_signed(message.data)):
            self._work += current.find(message)

    # Messages. #

    def _open_message(self, connection: _Connection, message: _Message) -> None:
        side = message.from_server
        if self._opened_so_far >= MOST_OPENED:
            return
        for login in connection.logins:
            if login.session_id != message.session_id or side not in login.found:
                continue
            keys = login.found[side].keys
            plain = crypto.decrypt(message.data, keys, from_server=side)
            is_cut = plain is None and not message.is_whole
            if is_cut:
                plain = crypto.decrypt_cut(message.data, keys, from_server=side)
            if plain:
                login.has_opened = True
                self._opened_so_far += 1
                size = int(TRANSFORM_HEADER.read(message.data)["original_message_size"])
                self._opened.append((connection.number, message.key))
                self._reveal(connection, message, plain, size, is_cut)
                return

    def _reveal(self, connection: _Connection, message: _Message, plain: bytes, size: int, is_cut: bool) -> None:
        """Make rows of what was in an encrypted message. size: of all of it; `plain` may be its beginning."""
        if plain[:4] == crypto.COMPRESSED:
            self._add(connection, message, PROTOCOL_COMPRESSED, 0, plain, size, 0, 0)
        if plain[:4] != crypto.SMB2:
            return
        at, session_id, tree_id = 0, 0, 0
        for place, pdu in enumerate(itertools.islice(crypto.split_compound(plain), MAX_COMPOUND)):
            header = {name: int(value) for name, value in HEADER.read(pdu).items() if isinstance(value, int)}
            flags, command = header["flags"], header["command"]
            is_async = bool(flags & HeaderFlags.ASYNC_COMMAND)
            own_tree = int.from_bytes(pdu[36:40], "little")
            if not (flags & SMB2_FLAGS_RELATED and own_tree == _SAME_TREE):
                session_id, tree_id = header["session_id"], own_tree
            is_last = at + len(pdu) >= len(plain)
            cut = MF_CUT if is_last and is_cut else 0
            more = 0 if is_last else MF_MORE
            answered = message.from_server
            kind = 0 if is_async else connection.tree_kinds.get((session_id, tree_id), 0)
            is_data = command > SMB2_CREATE and kind in _FILES
            is_interim = answered and header["status"] == STATUS_PENDING
            if not (command in _PASSED_OVER or is_data or is_interim):
                whole = size - at if is_last else len(pdu)
                self._add(connection, message, PROTOCOL_SMB2, command, pdu, whole, place, cut | more)
            if command == SMB2_TREE_CONNECT and answered:
                _note_tree(connection, pdu, session_id)
            at += len(pdu)

    def _add(
        self,
        connection: _Connection,
        message: _Message,
        protocol: int,
        command: int,
        data: bytes,
        size: int,
        place: int,
        flags: int,
    ) -> None:
        row = list(message.row)
        row[M_CONNECTION] = connection.number
        row[M_PROTOCOL] = protocol
        row[M_COMMAND] = command
        row[M_HEADER] = len(self._arena)
        row[M_BODY] = len(self._arena) + (HEADER.size if protocol == PROTOCOL_SMB2 else 0)
        row[M_END] = len(self._arena) + len(data)
        row[M_SIZE] = size
        row[M_PLACE] = place
        row[M_POSITION] = -1
        row[M_FLAGS] = flags
        row[M_MESSAGE] = -1 - message.row[M_MESSAGE]  # no number of the first reading
        self._rows.append(row)
        self._arena += data
        self._sealed.append(message.key)


def _beginning(row: Rows) -> tuple[int, ...]:
    """What tells connections apart in both readings: the endpoints, and the first packet."""
    client, server = (
        tuple(int(row[f"{side}_{name}"]) for name in ("hi", "lo", "port")) for side in ("client", "server")
    )
    return (*min(client, server), *max(client, server), int(row["capture_no"]), int(row["frame"]))


def _prepare(login: _Login, setups: list[_Message]) -> None:
    """Find out what the keys of a login can be made of."""
    place = next((n for n, message in enumerate(setups) if _is_claim(login, message)), None)
    if place is None:
        return
    before = setups[:place]
    challenges = (
        server_challenge(message.data)
        for message in reversed(before)
        if message.from_server and message.session_id == login.session_id
    )
    try:
        challenge = next((found for found in challenges if found is not None), None)
        login.candidates = zero_key_candidates(setups[place].data, challenge)
        negotiated = [m for m in before if m.from_server and m.row[M_COMMAND] == Command.NEGOTIATE]
        ways = [parse_agreed(negotiated[-1].data)] if negotiated else list(_UNTOLD)
    except DecodeError:
        return
    login.is_guess = not negotiated
    if ways[0].dialect < Dialect.SMB_3_1_1:
        login.ways = [(agreed, b"") for agreed in ways]
        return
    counted = _counted(login, setups)
    if counted is not None:
        login.ways = [(ways[0], crypto.preauth_hash(counted))]


def _is_claim(login: _Login, message: _Message) -> bool:
    return not message.from_server and message.session_id == login.session_id and message.stands_at(*login.claim)


def _counted(login: _Login, setups: list[_Message]) -> list[bytes] | None:
    """The messages that the preauthentication hash of a login is made of, None if one is missing or cut."""
    is_answered = login.answer[0] >= 0
    final = next(
        (
            n
            for n, m in enumerate(setups)
            if (m.from_server and m.stands_at(*login.answer) if is_answered else _is_claim(login, m))
        ),
        None,
    )
    if final is None:
        return None
    own = [n for n, message in enumerate(setups[:final]) if message.session_id == login.session_id]
    ended = [n for n in own if setups[n].from_server and int(HEADER.read(setups[n].data)["status"]) == 0]
    begins = ended[-1] + 1 if ended else 0  # an earlier login on the same id is another one
    chosen = [m for n, m in enumerate(setups[: final + 1]) if n >= begins or m.row[M_COMMAND] == Command.NEGOTIATE]
    counted = crypto.setup_messages([m.data for m in chosen], login.session_id, is_answered=is_answered)
    if counted is None:
        return None
    whole = {message.data for message in chosen if message.is_whole}
    return counted if all(data in whole for data in counted) else None


def _note_tree(connection: _Connection, answer: bytes, session_id: int) -> None:
    """Remember the kind of a tree from the answer to its connect."""
    header = HEADER.read(answer)
    is_answer = int(header["flags"]) & HeaderFlags.SERVER_TO_REDIR
    if is_answer and header["status"] == 0 and len(answer) > _SHARE_TYPE_AT:
        tree_id = int.from_bytes(answer[36:40], "little")
        if len(connection.tree_kinds) >= MOST_TREES:
            connection.tree_kinds.clear()
        connection.tree_kinds[session_id, tree_id] = answer[_SHARE_TYPE_AT]
