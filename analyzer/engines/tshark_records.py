"""Messages as tshark shows them to the rows of a batch.

What tshark concludes from other packets stands among what the message itself says: of a field that may be both, the
last value is the message's. It prints an empty NTLMSSP name as `NULL` and an empty response as the eight bytes of its
descriptor, and no length beside them: the lengths that are there decide what is empty. Requests that carry a reply's bit
(some clients send such) it reads as answers: of these only the header is taken, and that is told.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analyzer.auth.ntlmssp import AvId
from analyzer.engines.tshark_connections import is_reply
from analyzer.engines.tshark_fields import BETWEEN, Part
from analyzer.records import (
    ANY_FILE,
    BODIES,
    MESSAGE,
    NO_KEY,
    PROBLEM,
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
from analyzer.smb import smb1, smb2
from analyzer.smb.dfs import MAX_NAMES
from analyzer.wire.texts import MISSING, Texts

_NO_TREE = 0xFFFFFFFF
_ALL_ONES = 0xFFFFFFFF_FFFFFFFF
_TOKEN_NAMES = missing_token(0).dtype.names or ()
_NO_TOKEN: dict[str, Any] = dict(zip(_TOKEN_NAMES, missing_token(1)[0].item(), strict=True))
_NO_GUID = (False, 0, 0)
_MECHANISMS = {
    "ntlm": (Mechanism.NTLMSSP, Mechanism.SPNEGO_NTLMSSP),
    "kerberos": (Mechanism.KERBEROS, Mechanism.SPNEGO_KERBEROS),
    "negoex": (Mechanism.SPNEGO_NEGOEX, Mechanism.SPNEGO_NEGOEX),
}
_SERVICES = {"IPC": TreeKind.PIPE, "A:": TreeKind.DISK, "LPT1:": TreeKind.PRINT}
_KERBEROS_AP_REQ = 14
_PASSED_OVER_SMB1 = (0x24, 0x2B, 0xA4)  # SMB_COM_LOCKING_ANDX, SMB_COM_ECHO, SMB_COM_NT_CANCEL
_PASSED_OVER_SMB2 = (smb2.Command.LOCK, smb2.Command.CANCEL, smb2.Command.ECHO, smb2.Command.OPLOCK_BREAK)
"""Nothing is done with these that a null session would be needed for."""
_ASYNC, _RELATED = int(Flag.ASYNC), int(Flag.RELATED)
_SMB2_FLAGS = (
    (int(smb2.HeaderFlags.SIGNED), int(Flag.SIGNED)),
    (int(smb2.HeaderFlags.ASYNC_COMMAND), _ASYNC),
    (int(smb2.HeaderFlags.RELATED_OPERATIONS), _RELATED),
)
"""As plain numbers: members of a flag take several times as long to join."""
_RAW_START = 0x000C  # WriteMode: RAW_MODE and MSG_START [MS-CIFS 2.2.4.43.1]
MOST_TREES = 65_536
MOST_PROBLEMS = 2000
"""Of lines that make no sense so many become rows; the others are counted."""


@dataclass(slots=True, kw_only=True)
class Seen:
    """Where and when a frame with messages was captured, and whose it is."""

    connection: int
    from_server: bool
    capture_no: int
    frame: int
    time_ns: int
    position: int


@dataclass(slots=True)
class Collector:
    """The rows of the batch that is being filled."""

    texts: Texts
    next_message: int = 0
    messages: list[tuple[Any, ...]] = field(default_factory=list)
    bodies: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    problems: list[tuple[Any, ...]] = field(default_factory=list)
    arena: bytearray = field(default_factory=bytearray)
    trees: dict[tuple[int, int, int], int] = field(default_factory=dict)
    """Kinds of trees, by connection, session (SMB 1: -1) and tree id."""

    def take(self, seen: Seen, parts: Sequence[Part]) -> None:
        """The messages of a frame."""
        before = -1
        session = tree = 0
        for part in parts:
            if part.of != before:
                self.next_message += 1
                before, session, tree = part.of, -1, -1
            if "smb2.protocol_id" in part.values:
                session, tree = _Smb2(self, seen, part, session, tree).read()
            elif "smb.cmd" in part.values:
                _Smb1(self, seen, part).read()

    def remember_tree(self, connection: int, session: int, tree: int, kind: int) -> None:
        """Note the kind of a tree that has been connected."""
        if len(self.trees) >= MOST_TREES:
            self.trees.clear()
        self.trees[connection, session, tree] = kind

    def is_on_disk(self, connection: int, session: int, tree: int) -> bool:
        """What is done with files of a disk is of no interest, and their ids may be those that pipes had."""
        return self.trees.get((connection, session, tree)) in (TreeKind.DISK, TreeKind.PRINT)

    def tell(self, seen: Seen, layer: Layer, name: str, code: str, detail: str = "") -> None:
        """Note what could not be read."""
        texts = self.texts
        self.problems.append((
            seen.capture_no, seen.frame, seen.connection, layer, texts.code(name), MISSING, texts.code(code),
            texts.code(detail) if detail else MISSING,
        ))  # fmt: skip

    def hand_over(self) -> tuple[Rows, dict[str, Rows], Rows, np.ndarray[Any, np.dtype[np.uint8]]]:
        """Messages, bodies, problems and arena; a new batch begins."""
        messages = np.array(self.messages, dtype=MESSAGE)
        bodies = {name: self._table(self.bodies.get(name, []), record) for name, record in BODIES.items()}
        problems = np.array(self.problems, dtype=PROBLEM)
        arena = np.frombuffer(bytes(self.arena), dtype=np.uint8)
        self.messages, self.bodies, self.problems, self.arena = [], {}, [], bytearray()
        return messages, bodies, problems, arena

    def _table(self, rows: list[tuple[Any, ...]], record: np.dtype[np.void]) -> Rows:
        """Bodies as a table. One with a number that its field cannot hold, which is no field of a packet, is left out."""
        try:
            return np.array(rows, dtype=record)
        except (OverflowError, ValueError, TypeError):
            pass
        kept = []
        for row in rows:
            try:
                kept.append(np.array([row], dtype=record))
            except (OverflowError, ValueError, TypeError):
                capture_no, frame = self.messages[row[0]][4:6]
                texts = self.texts.code("tshark"), MISSING, self.texts.code("impossible_number"), MISSING
                self.problems.append((capture_no, frame, self.messages[row[0]][0], Layer.CAPTURE, *texts))
        return np.concatenate([np.empty(0, dtype=record), *kept])


class _Message:
    """A message that is being read: its row is written when its kind is known."""

    layer = Layer.SMB2

    def __init__(self, into: Collector, seen: Seen, part: Part) -> None:
        self.into, self.seen, self.part = into, seen, part
        self.row = len(into.messages)
        self.kind = Kind.OTHER
        self.key = 0
        self.tree = _NO_TREE

    def body(self, name: str, *values: Any) -> None:
        self.into.bodies.setdefault(name, []).append((self.row, *values))

    def code(self, text: str | None) -> int:
        return MISSING if text is None else self.into.texts.code(text)

    def number(self, name: str) -> int:
        return self.part.number(name) or 0

    def lacks(self, *names: str) -> bool:
        """A field is not there that should be: the message is none of its kind, which is told."""
        for name in names:
            if name not in self.part.values:
                self.kind = Kind.OTHER
                self.into.tell(self.seen, self.layer, name, "too_short")
                return True
        return False

    def referrals(self) -> None:
        """What the answer to a DFS referral names: nodes of files, and the controllers of domains."""
        names = [
            *self.part.values.get("smb.dfs.referral.node", ()),
            *self.part.values.get("smb.dfs.referral.expname", ()),
        ]
        for name in [name for name in dict.fromkeys(names) if name][:MAX_NAMES]:
            encoded = name.encode("utf-16-le", "replace")
            self.body("referrals", len(self.into.arena), len(encoded), MISSING, MISSING, MISSING)
            self.into.arena += encoded

    def payload(self) -> tuple[int, int]:
        """The bytes for or from a pipe: where they lie in the arena, and how many there are."""
        digits = "".join(self.part.values.get("data.data", ()))
        try:
            data = bytes.fromhex(digits)
        except ValueError:
            data = b""
        at = len(self.into.arena)
        self.into.arena += data
        return at, len(data)

    def write(self, protocol: Protocol, session: int, status: int, flags: int) -> None:
        seen = self.seen
        self.into.messages.append((
            seen.connection, seen.from_server, self.kind, protocol, seen.capture_no, seen.frame, seen.time_ns,
            self.part.place, self.into.next_message, seen.position, self.key & _ALL_ONES, session & _ALL_ONES,
            self.tree & 0xFFFFFFFF, status & 0xFFFFFFFF, flags, 0,
        ))  # fmt: skip

    def token(self, blob_size: int) -> tuple[Any, ...]:
        """The token of a setup whose security blob has this size."""
        token = dict(_NO_TOKEN)
        _read_token(self.part, blob_size, token, self.into.texts)
        if token["kind"] == TokenKind.UNREADABLE:
            self.into.tell(self.seen, Layer.SPNEGO, "token", "unreadable")
        return tuple(token.values())


class _Smb2(_Message):
    """[MS-SMB2]"""

    def __init__(self, into: Collector, seen: Seen, part: Part, session: int, tree: int) -> None:
        super().__init__(into, seen, part)
        self._before = session, tree

    def read(self) -> tuple[int, int]:
        """Returns session and tree, which a related PDU behind this one may take."""
        part, seen = self.part, self.seen
        command = part.number("smb2.cmd")
        session = self.number("smb2.sesid")
        if command is None:
            signature = part.text("smb2.header.transform.signature")
            self.kind = Kind.ENCRYPTED if signature else Kind.COMPRESSED
            self.key = _le64(signature or "") if signature else NO_KEY
            self.write(Protocol.SMB2, session, 0, 0)
            return session, self.tree
        bits = self.number("smb2.flags")
        flags = 0
        for bit, flag in _SMB2_FLAGS:
            flags |= flag if bits & bit else 0
        self.key = self.number("smb2.msg_id")
        tree = part.number("smb2.tid")
        self.tree = _NO_TREE if flags & _ASYNC or tree is None else tree
        if flags & _RELATED and part.place > 0:
            session = self._before[0] if session == _ALL_ONES and self._before[0] >= 0 else session
            self.tree = self._before[1] if self.tree == _NO_TREE and self._before[1] >= 0 else self.tree
        status = self.number("smb2.nt_status") if seen.from_server else 0
        if seen.from_server and status == smb2.STATUS_PENDING:
            return session, self.tree  # the answer itself is still to come
        if command in _PASSED_OVER_SMB2:
            return session, self.tree
        if command > smb2.Command.CREATE and self.into.is_on_disk(seen.connection, session, self.tree):
            return session, self.tree
        self.kind = _SMB2_KINDS.get(command, Kind.OTHER)
        if is_reply(part) != seen.from_server:
            self.into.tell(seen, Layer.SMB2, "flags", "direction")
        elif seen.from_server:
            self._read_answer(command, status, session)
        elif command in _SMB2_REQUESTS:
            _SMB2_REQUESTS[command](self)
        self.write(Protocol.SMB2, session, status, flags)
        return session, self.tree

    def _file(self) -> tuple[int, int]:
        return _halves(self.part.values.get("smb2.fid", ("",))[0])[1:]

    def _blob_size(self) -> int:
        return next(iter(self.part.numbers("smb2.olb.length")), 0)

    def _negotiate(self) -> None:
        dialects = "|".join(smb2.dialect_name(code) for code in self.part.numbers("smb2.dialect"))
        guid = _guid(self.part, "smb2.client_guid")
        mode, capabilities = self.number("smb2.sec_mode"), self.number("smb2.capabilities")
        self.body("negotiate_requests", self.code(dialects), guid, mode, capabilities)

    def _setup(self) -> None:
        if self.lacks("smb2.olb.length"):
            return
        binding = bool(self.number("smb2.ses_req_flags.session_binding"))
        previous = self.number("smb2.previous_sesid")
        token = self.token(self._blob_size())
        self.body("setup_requests", Form.TOKEN, binding, previous, MISSING, MISSING, token)

    def _tree_connect(self) -> None:
        self.body("tree_requests", self.code(self.part.text("smb2.tree") or ""), 0)

    def _create(self) -> None:
        name = self.part.whole("smb2.filename")
        self.body("open_requests", self.code(name or ""), Via.CREATE, self.number("smb.access_mask"))

    def _close(self) -> None:
        if not self.lacks("smb2.fid"):
            self.body("close_requests", *self._file())

    def _read_request(self) -> None:
        if not self.lacks("smb2.fid"):
            self.body("data_requests", *self._file(), Way.READ, 0, 0, 0)

    def _write(self) -> None:
        if not self.lacks("smb2.fid"):
            size = self.number("smb2.write_length")
            self.body("data_requests", *self._file(), Way.WRITE, size, *self.payload())

    def _ioctl(self) -> None:
        if self.lacks("smb2.ioctl.function"):
            return
        code = self.number("smb2.ioctl.function")
        file = self._file()
        if code == smb2.Fsctl.PIPE_TRANSCEIVE:
            self.kind = Kind.DATA
            size = sum(self.part.numbers("smb2.olb.length"))
            self.body("data_requests", *file, Way.TRANSACT, size, *self.payload())
        elif code != smb2.Fsctl.PIPE_PEEK or file[1] == ANY_FILE:
            self.kind = Kind.CALL
            is_dfs = code in (smb2.Fsctl.DFS_GET_REFERRALS, smb2.Fsctl.DFS_GET_REFERRALS_EX)
            name = None
            if is_dfs:
                name = self.part.whole("smb.file") or ""
            elif code == smb2.Fsctl.PIPE_WAIT:
                name = self.part.whole("smb2.fsctl.wait.name")
            self.body("call_requests", CallProtocol.DFS if is_dfs else CallProtocol.FSCTL, code, self.code(name))

    def _read_answer(self, command: int, status: int, session: int) -> None:
        """An error has another body, of which nothing is wanted. [MS-SMB2 2.2.2]"""
        part = self.part
        success = status == smb2.STATUS_SUCCESS
        has_data = success or status == smb2.STATUS_BUFFER_OVERFLOW
        if command == smb2.Command.NEGOTIATE and success and not self.lacks("smb2.dialect"):
            mode = self.number("smb2.sec_mode")
            dialect = self.code(smb2.dialect_name(self.number("smb2.dialect")))
            required = bool(mode & smb2.NEGOTIATE_SIGNING_REQUIRED)
            guid, capabilities = _guid(part, "smb2.server_guid"), self.number("smb2.capabilities")
            self.body("negotiate_answers", dialect, -1, guid, mode, required, False, capabilities, MISSING)
        elif command == smb2.Command.SESSION_SETUP and (success or status == smb2.STATUS_MORE_PROCESSING_REQUIRED):
            if not self.lacks("smb2.session_flags"):
                token = self.token(self._blob_size())
                self.body("setup_answers", self.number("smb2.session_flags"), MISSING, MISSING, token)
        elif command == smb2.Command.TREE_CONNECT and success and not self.lacks("smb2.share_type"):
            kind = next(reversed(part.numbers("smb2.share_type")), 0) & 0xFF
            self.body("tree_answers", kind)
            self.into.remember_tree(self.seen.connection, session, self.tree, kind)
        elif command == smb2.Command.CREATE and success and not self.lacks("smb2.fid"):
            self.body("open_answers", *self._file(), False)
        elif command == smb2.Command.READ and has_data and not self.lacks("smb2.olb.length"):
            self.body("data_answers", self._blob_size(), *self.payload())
        elif command == smb2.Command.WRITE and has_data:
            self.body("data_answers", 0, 0, 0)
        elif command == smb2.Command.IOCTL and has_data and not self.lacks("smb2.ioctl.function"):
            sizes = part.numbers("smb2.olb.length")
            if self.number("smb2.ioctl.function") == smb2.Fsctl.PIPE_TRANSCEIVE:
                at, size = self.payload()
                told = sizes[-1] if sizes else size
                before = max(0, size - told)  # an answer may repeat what was asked
                self.body("data_answers", told, at + before, size - before)
            else:
                self.body("call_answers", -1, sizes[-1] if sizes else 0)
                if success:
                    self.referrals()


_SMB2_KINDS: dict[int, Kind] = {
    smb2.Command.NEGOTIATE: Kind.NEGOTIATE,
    smb2.Command.SESSION_SETUP: Kind.SETUP,
    smb2.Command.LOGOFF: Kind.LOGOFF,
    smb2.Command.TREE_CONNECT: Kind.TREE_CONNECT,
    smb2.Command.TREE_DISCONNECT: Kind.TREE_DISCONNECT,
    smb2.Command.CREATE: Kind.OPEN,
    smb2.Command.CLOSE: Kind.CLOSE,
    smb2.Command.READ: Kind.DATA,
    smb2.Command.WRITE: Kind.DATA,
}
_SMB2_REQUESTS: dict[int, Callable[[_Smb2], None]] = {
    smb2.Command.NEGOTIATE: _Smb2._negotiate,
    smb2.Command.SESSION_SETUP: _Smb2._setup,
    smb2.Command.TREE_CONNECT: _Smb2._tree_connect,
    smb2.Command.CREATE: _Smb2._create,
    smb2.Command.CLOSE: _Smb2._close,
    smb2.Command.READ: _Smb2._read_request,
    smb2.Command.WRITE: _Smb2._write,
    smb2.Command.IOCTL: _Smb2._ioctl,
}


class _Smb1(_Message):
    """[MS-CIFS, MS-SMB]"""

    layer = Layer.SMB1

    def read(self) -> None:
        part, seen = self.part, self.seen
        command = self.number("smb.cmd")
        flags2 = self.number("smb.flags2")
        self.key = NO_KEY | command << 32 | self.number("smb.pid") << 16 | self.number("smb.mid")
        self.tree = self.number("smb.tid")
        flags = 0
        unsigned = ("", "0000000000000000", b"BSRSPYL ".hex())
        if flags2 & smb1.Flags2.SECURITY_SIGNATURE and (part.text("smb.signature") or "") not in unsigned:
            flags |= int(Flag.SIGNED)
        if not flags2 & smb1.Flags2.NT_STATUS:
            flags |= int(Flag.DOS_STATUS)
        if part.place > 0:
            flags |= int(Flag.CHAINED)
        is_chained = part.more or part.place > 0
        is_on_disk = command not in _SMB1_KEPT and self.into.is_on_disk(seen.connection, -1, self.tree)
        if not is_chained and (command in _PASSED_OVER_SMB1 or is_on_disk):
            return
        status = 0
        if seen.from_server and not part.more:  # a chain has one status: that of its last element
            if "smb.nt_status" in part.values:
                status = self.number("smb.nt_status")
            else:
                status = self.number("smb.error_class") | self.number("smb.error_code") << 16
        self.kind = _SMB1_KINDS.get(command, Kind.OTHER)
        if is_reply(part) != seen.from_server:
            self.into.tell(seen, Layer.SMB1, "flags", "direction")
        elif seen.from_server:
            self._read_answer(command, status)
        elif command in _SMB1_SECONDARIES:
            self.key = NO_KEY  # the answer is that to the first part, which tells the totals
        elif command in _SMB1_REQUESTS:
            _SMB1_REQUESTS[command](self)
        elif command in _SMB1_OPENS:
            self._open(_SMB1_OPENS[command])
        elif command in _SMB1_READS:
            if not self.lacks("smb.fid"):
                self.body("data_requests", 0, self.number("smb.fid"), Way.READ, 0, 0, 0)
        elif command in _SMB1_WRITES:
            self._write(command)
        self.write(Protocol.SMB1, self.number("smb.uid"), status, flags)

    def _words(self) -> int:
        return self.number("smb.wct")

    def _written(self, name: str) -> int:
        """A text that follows the words: an empty one is there if there are bytes at all."""
        text = self.part.whole(name)
        if text is None and self._words() and self.number("smb.bcc"):
            return self.code("")
        return self.code(text)

    def _size(self) -> int:
        low = self.part.number("smb.data_len_low")
        if low is not None:
            return low + (self.number("smb.data_len_high") << 16)
        return self.part.number("smb.data_len") or self.number("smb.count")

    def _negotiate(self) -> None:
        dialects = "|".join(self.part.values.get("smb.dialect.name", ()))
        self.body("negotiate_requests", self.code(dialects), _NO_GUID, 0, 0)

    def _setup(self) -> None:
        words = self._words()
        if words not in (10, 12, 13):
            self.kind = Kind.OTHER
            self.into.tell(self.seen, Layer.SMB1, smb1.SETUP_REQUEST_WORDS.title, "word_count", str(words))
            return
        os, lanman = self._written("smb.native_os"), self._written("smb.native_lanman")
        if words == 12:
            token = self.token(self.number("smb.security_blob_len"))
            self.body("setup_requests", Form.TOKEN, False, 0, os, lanman, token)
            return
        first = self.number("smb.ansi_pwlen" if words == 13 else "smb.pwlen")
        password = self.part.text("smb.ansi_password") or self.part.text("smb.password") or ""
        token_values = _NO_TOKEN | {
            "kind": TokenKind.PASSWORDS,
            "mechanism": Mechanism.SMB1,
            "lm_size": first,
            "nt_size": self.number("smb.unicode_pwlen") if words == 13 else 0,
            "lm_is_zero": first == 1 and password == "00",
            "user": self.code(self.part.whole("smb.account") or ""),
            "domain": self._written("smb.primary_domain"),
        }
        form = Form.PASSWORDS if words == 13 else Form.LANMAN
        self.body("setup_requests", form, False, 0, os, lanman, tuple(token_values.values()))

    def _tree_connect(self) -> None:
        self.body("tree_requests", self.code(self.part.text("smb.path") or ""), self.number("smb.pwlen"))

    def _open(self, via: Via) -> None:
        name = self.part.whole("smb.file")
        self.body("open_requests", self.code(name or ""), via, self.number("smb.access_mask"))

    def _close(self) -> None:
        if not self.lacks("smb.fid"):
            self.body("close_requests", 0, self.number("smb.fid"))

    def _write(self, command: int) -> None:
        if self.lacks("smb.fid"):
            return
        fid = self.number("smb.fid")
        size = self._size()
        at, there = self.payload()
        if (
            command == smb1.Command.WRITE_ANDX
            and size >= 2
            and self.number("smb.write.mode") & _RAW_START == _RAW_START
        ):
            # The first part of a message that is written raw has the message's length before it, which may be shown.
            before = 2 if there == size else 0
            at, there, size = at + before, there - before, size - 2
        self.body("data_requests", 0, fid, Way.WRITE, size, at, there)
        if command == smb1.Command.WRITE_AND_CLOSE:
            self.body("close_requests", 0, fid)

    def _transaction(self) -> None:
        part = self.part
        self.kind = Kind.OTHER
        name = part.whole("smb.trans_name") or ""
        function = part.number("smb_pipe.function") if self.number("smb.sc") else None
        if name.upper().startswith("\\MAILSLOT"):
            return
        if function in _PIPE_WAYS:
            self.kind = Kind.DATA
            way = _PIPE_WAYS[function]
            fid = self.number("smb.fid") if "smb.fid" in part.values else smb1.NO_FID
            size = 0 if way == Way.READ else self.number("smb.tdc")
            self.body("data_requests", 0, fid, way, size, *self.payload())
        elif name.upper().startswith("\\PIPE\\LANMAN"):
            self.kind = Kind.CALL
            code = part.number("lanman.function_code")
            self.body("call_requests", CallProtocol.RAP, smb1.NO_FUNCTION if code is None else code, self.code(name))
        elif function == smb1.PipeFunction.WAIT:
            self.kind = Kind.CALL
            self.body("call_requests", CallProtocol.FSCTL, smb1.FSCTL_PIPE_WAIT, self.code(name))
        elif function == smb1.PipeFunction.CALL:
            self.kind = Kind.OPEN
            self.body("open_requests", self.code(name), Via.CALL_NMPIPE, 0)
            self.body("data_requests", 0, ANY_FILE, Way.TRANSACT, self.number("smb.tdc"), *self.payload())

    def _transaction2(self) -> None:
        function = self.part.number("smb.trans2.cmd")
        name = self.code(self.part.whole("smb.file") or "")
        if function == smb1.TRANS2_GET_DFS_REFERRAL:
            self.kind = Kind.CALL
            self.body("call_requests", CallProtocol.DFS, smb1.TRANS2_GET_DFS_REFERRAL, name)
        elif function == smb1.TRANS2_OPEN2:
            self.kind = Kind.OPEN
            self.body("open_requests", name, Via.TRANS2_OPEN2, 0)

    def _nt_transact(self) -> None:
        function, code = self.part.number("smb.nt.function"), self.part.number("smb2.ioctl.function")
        if function == smb1.NT_TRANSACT_CREATE:
            self.kind = Kind.OPEN
            self._open(Via.NT_TRANSACT_CREATE)
        elif function == smb1.NT_TRANSACT_IOCTL and code == smb1.FSCTL_PIPE_TRANSCEIVE:
            self.kind = Kind.DATA
            at, size = self.payload()
            self.body("data_requests", 0, self.number("smb.fid"), Way.TRANSACT, size, at, size)
        elif function == smb1.NT_TRANSACT_IOCTL and code is not None and code != smb1.FSCTL_PIPE_PEEK:
            self.kind = Kind.CALL
            name = self.part.whole("smb2.fsctl.wait.name") if code == smb1.FSCTL_PIPE_WAIT else None
            self.body("call_requests", CallProtocol.FSCTL, code, self.code(name))

    def _read_answer(self, command: int, status: int) -> None:
        part, words = self.part, self._words()
        if command == smb1.Command.NEGOTIATE and words in (1, 13, 17):
            self._negotiate_answer(words)
        elif command == smb1.Command.SESSION_SETUP_ANDX and words in (3, 4):
            texts = self._written("smb.native_os"), self._written("smb.native_lanman")
            blob = self.number("smb.security_blob_len") if words == 4 else 0
            self.body("setup_answers", self.number("smb.setup.action"), *texts, self.token(blob))
        elif command in (smb1.Command.TREE_CONNECT, smb1.Command.TREE_CONNECT_ANDX) and words >= 2:
            kind = _SERVICES.get(part.text("smb.service") or "", TreeKind.UNKNOWN)
            self.body("tree_answers", kind)
            self.into.remember_tree(self.seen.connection, -1, self.tree, kind)
        elif command in _SMB1_OPENS and words and "smb.fid" in part.values:
            resource = self.number("smb.file_type") if words > 7 else 0
            self.body("open_answers", 0, self.number("smb.fid"), resource in smb1.RESOURCE_PIPES)
        elif command in _SMB1_READS and words:
            self.body("data_answers", self._size(), *self.payload())
        elif command in _SMB1_WRITES and status == 0:
            self.body("data_answers", 0, 0, 0)
        elif command == smb1.Command.TRANSACTION:
            if words == 0 and status == 0:
                self.key = NO_KEY  # an interim answer
            if words >= 10:
                if self.number("smb.data_disp") or self.number("smb.pd"):
                    self.key = NO_KEY  # of several answers to one request the first tells the totals
                total = self.number("smb.tdc")
                self.body("data_answers", total, *self.payload())
                code = part.number("lanman.status")
                self.body("call_answers", -1 if code is None else code, total)
        elif command == smb1.Command.TRANSACTION2:
            if words == 0 and status == 0:
                self.key = NO_KEY
            if words >= 10 and status == 0:
                if self.number("smb.data_disp") or self.number("smb.pd"):
                    self.key = NO_KEY
                self.referrals()

    def _negotiate_answer(self, words: int) -> None:
        mode = self.number("smb.sm")
        capabilities = self.number("smb.server_cap") if words == 17 else 0
        extended = bool(capabilities & smb1.CAP_EXTENDED_SECURITY)
        self.body(
            "negotiate_answers",
            MISSING,
            self.number("smb.dialect.index"),
            _guid_as_sent(self.part, "smb.server_guid") if extended else _NO_GUID,
            mode,
            bool(words == 17 and mode & smb1.NEGOTIATE_SIGNATURES_REQUIRED),
            words >= 13 and not mode & smb1.NEGOTIATE_USER_SECURITY,
            capabilities,
            self.code(self.part.whole("smb.primary_domain")),
        )


_C1 = smb1.Command
_SMB1_KINDS: dict[int, Kind] = {
    _C1.NEGOTIATE: Kind.NEGOTIATE,
    _C1.SESSION_SETUP_ANDX: Kind.SETUP,
    _C1.LOGOFF_ANDX: Kind.LOGOFF,
    _C1.TREE_CONNECT: Kind.TREE_CONNECT,
    _C1.TREE_CONNECT_ANDX: Kind.TREE_CONNECT,
    _C1.TREE_DISCONNECT: Kind.TREE_DISCONNECT,
    _C1.CLOSE: Kind.CLOSE,
}
_SMB1_OPENS: dict[int, Via] = {
    _C1.OPEN: Via.OPEN,
    _C1.CREATE: Via.OPEN,
    _C1.CREATE_NEW: Via.OPEN,
    _C1.OPEN_ANDX: Via.OPEN_ANDX,
    _C1.NT_CREATE_ANDX: Via.NT_CREATE_ANDX,
}
_SMB1_READS = frozenset({_C1.READ, _C1.READ_ANDX, _C1.LOCK_AND_READ, _C1.READ_RAW, _C1.READ_MPX})
_SMB1_WRITES = frozenset(
    {_C1.WRITE, _C1.WRITE_ANDX, _C1.WRITE_AND_CLOSE, _C1.WRITE_AND_UNLOCK, _C1.WRITE_RAW, _C1.WRITE_MPX}
)
_SMB1_SECONDARIES = frozenset({_C1.TRANSACTION_SECONDARY, _C1.TRANSACTION2_SECONDARY, _C1.NT_TRANSACT_SECONDARY})
_SMB1_KEPT = frozenset(
    {*_SMB1_OPENS, *range(_C1.TREE_CONNECT, _C1.TREE_CONNECT_ANDX + 1), _C1.TRANSACTION, _C1.TRANSACTION_SECONDARY}
)
"""Commands that are looked at whatever the tree."""
_SMB1_KINDS |= dict.fromkeys(_SMB1_OPENS, Kind.OPEN) | dict.fromkeys(_SMB1_READS | _SMB1_WRITES, Kind.DATA)
_SMB1_REQUESTS: dict[int, Callable[[_Smb1], None]] = {
    _C1.NEGOTIATE: _Smb1._negotiate,
    _C1.SESSION_SETUP_ANDX: _Smb1._setup,
    _C1.TREE_CONNECT: _Smb1._tree_connect,
    _C1.TREE_CONNECT_ANDX: _Smb1._tree_connect,
    _C1.CLOSE: _Smb1._close,
    _C1.TRANSACTION: _Smb1._transaction,
    _C1.TRANSACTION2: _Smb1._transaction2,
    _C1.NT_TRANSACT: _Smb1._nt_transact,
}
_PIPE_WAYS: dict[int | None, Way] = {
    smb1.PipeFunction.TRANSACT: Way.TRANSACT,
    smb1.PipeFunction.READ: Way.READ,
    smb1.PipeFunction.RAW_READ: Way.READ,
    smb1.PipeFunction.WRITE: Way.WRITE,
    smb1.PipeFunction.RAW_WRITE: Way.WRITE,
}


# Values. #


def _le64(digits: str) -> int:
    """The first eight bytes of hexadecimal digits as a number."""
    try:
        return int.from_bytes(bytes.fromhex(digits.replace(":", ""))[:8], "little")
    except ValueError:
        return 0


def _halves(shown: str) -> tuple[bool, int, int]:
    """A GUID as it lies on the wire, in two halves."""
    try:
        data = uuid.UUID(shown).bytes_le
    except ValueError:
        return _NO_GUID
    return True, int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")


def _guid(part: Part, name: str) -> tuple[bool, int, int]:
    return _halves((part.values.get(name) or ("",))[0])


def _guid_as_sent(part: Part, name: str) -> tuple[bool, int, int]:
    """A GUID whose bytes tshark shows in the order in which they were sent."""
    try:
        data = uuid.UUID((part.values.get(name) or ("",))[0]).bytes
    except ValueError:
        return _NO_GUID
    return True, int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")


# Tokens. #


def _read_token(part: Part, blob_size: int, token: dict[str, Any], texts: Texts) -> None:
    wrapped = "spnego" in part.protocols
    message = part.number("ntlmssp.messagetype")
    kerberos = part.number("kerberos.msg_type")
    if blob_size == 0:
        token["kind"] = TokenKind.NONE
    elif message in (1, 2, 3):
        token["mechanism"] = _MECHANISMS["ntlm"][wrapped]
        _read_ntlm(part, message, token, texts)
    elif kerberos is not None or "kerberos" in part.protocols:
        token["mechanism"] = _MECHANISMS["kerberos"][wrapped]
        token["kind"] = TokenKind.KERBEROS_REPLY
        if kerberos == _KERBEROS_AP_REQ:
            token["kind"] = TokenKind.KERBEROS_REQUEST
            _read_ticket(part, token, texts)
    elif "negoex" in part.protocols:
        token["kind"], token["mechanism"] = TokenKind.NEGOEX, Mechanism.SPNEGO_NEGOEX
    elif wrapped and not (part.text("spnego.mechToken") or part.text("spnego.responseToken")):
        token["kind"] = TokenKind.WITHOUT_TOKEN
    elif wrapped:
        token["kind"], token["mechanism"] = TokenKind.OTHER, Mechanism.OTHER
    else:
        token["kind"] = TokenKind.UNREADABLE


def _read_ticket(part: Part, token: dict[str, Any], texts: Texts) -> None:
    """The ticket of an AP-REQ. What follows it is encrypted."""
    realm, etype = part.values.get("kerberos.realm"), part.number("kerberos.etype")
    service = part.values.get("kerberos.SNameString")
    token["realm"] = texts.code(realm[0]) if realm else MISSING
    token["service"] = texts.code("/".join(service)) if service else MISSING
    token["etype"] = etype or 0


def _read_ntlm(part: Part, message: int, token: dict[str, Any], texts: Texts) -> None:
    """[MS-NLMP 2.2.1]"""
    token["kind"] = TokenKind(message)
    token["flags"] = (part.number("ntlmssp.negotiateflags") or 0) & 0xFFFFFFFF
    version = [part.number(f"ntlmssp.version.{name}") for name in ("major", "minor", "build_number")]
    if None not in version:
        token["build"] = texts.code(".".join(map(str, version)))
    sizes = part.numbers("ntlmssp.string.length")
    if message == 2:
        token["target"] = _named(part, "ntlmssp.challenge.target_name", sizes[0] if sizes else None, texts)
        told = part.numbers("ntlmssp.challenge.target_info.item.type")
        for pair, (name, shown) in _TARGET_INFO.items():
            text = part.whole(f"ntlmssp.challenge.target_info.{shown}")
            if text is not None or pair in told:  # an empty name is not printed in flat lines
                token[name] = texts.code(text or "")
    elif message == 3:
        names = [part.values.get(f"ntlmssp.auth.{shown}", []) for shown in ("domain", "username", "hostname")]
        # Of a name with the character that stands between values there are several: they are taken together.
        spelled = [BETWEEN.join(name) for name in names if name]
        responses = [part.values[name][0] for name in _RESPONSES if name in part.values]
        name_sizes = _sizes_of(spelled, sizes, _may_be_empty_name, _fits_name)
        response_sizes = _sizes_of(responses, part.numbers("ntlmssp.blob.length"), _may_be_empty, _fits_response)
        if len(spelled) < 3 or len(responses) < 2 or name_sizes is None or response_sizes is None:
            token["kind"] = TokenKind.UNREADABLE
            return
        token["lm_size"], token["nt_size"] = response_sizes[:2]
        token["key_size"] = response_sizes[2] if len(response_sizes) > 2 else -1
        token["lm_is_zero"] = response_sizes[0] == 1 and responses[0] == "00"
        for name, text, size in zip(("domain", "user", "workstation"), spelled, name_sizes, strict=True):
            token[name] = texts.code(text if size else "")
        # tshark ends a name at a NUL: one that is not empty but shows nothing begins with one.
        token["user_is_nul"] = name_sizes[1] > 0 and not spelled[1]


_TARGET_INFO = {
    AvId.NB_COMPUTER_NAME: ("netbios_computer", "nb_computer_name"),
    AvId.NB_DOMAIN_NAME: ("netbios_domain", "nb_domain_name"),
    AvId.DNS_COMPUTER_NAME: ("dns_computer", "dns_computer_name"),
    AvId.DNS_DOMAIN_NAME: ("dns_domain", "dns_domain_name"),
}
_RESPONSES = ("ntlmssp.auth.lmresponse", "ntlmssp.auth.ntresponse", "ntlmssp.auth.sesskey")
_EMPTY_NAME = "NULL"


def _may_be_empty_name(shown: str) -> bool:
    return shown == _EMPTY_NAME


def _fits_name(shown: str, size: int) -> bool:
    return size > 0 and (shown != _EMPTY_NAME or size in (len(_EMPTY_NAME), 2 * len(_EMPTY_NAME)))


def _may_be_empty(digits: str) -> bool:
    """The descriptor of an empty response: its length, which is 0, and six more bytes."""
    return len(digits) == 16 and digits.startswith("0000")


def _fits_response(digits: str, size: int) -> bool:
    return size > 0 and len(digits) == 2 * size


def _sizes_of(
    shown: list[str], sizes: list[int], may_be_empty: Callable[[str], bool], fits: Callable[[str, int], bool]
) -> list[int] | None:
    """The size of each value, of which tshark gives only those that are not empty; None if that can be read in two ways.

    What is empty is printed as something: a name as `NULL`, a response as its descriptor.
    """
    found: list[list[int]] = []
    for filled in itertools.combinations(range(len(shown)), min(len(sizes), len(shown))):
        made = [0] * len(shown)
        for place, size in zip(filled, sizes, strict=False):
            made[place] = size
        if all(fits(text, size) if size else may_be_empty(text) for text, size in zip(shown, made, strict=True)):
            found.append(made)
    return found[0] if len(sizes) <= len(shown) and len(found) == 1 else None


def _named(part: Part, name: str, size: int | None, texts: Texts) -> int:
    """A name; empty if its length says so, whatever is shown."""
    if size == 0:
        return texts.code("")
    shown = part.whole(name)
    if shown is None:
        return texts.code("") if size else MISSING
    return texts.code(shown.strip(BETWEEN))
