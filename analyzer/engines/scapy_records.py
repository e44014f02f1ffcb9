"""Framed messages to protocol records, by scapy's layers: the engine's mapping of fields.

Where a layer cannot be made of a body the message is of kind OTHER, and a problem says which structure it was.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scapy.layers.smb import SMB_Header, SMBNegotiate_Request
from scapy.layers.smb2 import (
    SMB2_Compression_Transform_Header,
    SMB2_Header,
    SMB2_IOCTL_REQ_GET_DFS_Referral,
    SMB2_Transform_Header,
)

from analyzer.engines import scapy_layers as layers
from analyzer.engines.scapy_layers import flag
from analyzer.engines.scapy_streams import Flow, Message, Trouble
from analyzer.engines.scapy_tokens import OEM, UTF16, Token, read_token
from analyzer.errors import DecodeError
from analyzer.records import (
    ANY_FILE,
    BODIES,
    CONNECTION_END,
    ENDPOINTS,
    MESSAGE,
    NAMES,
    NO_KEY,
    PROBLEM,
    Batch,
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
from analyzer.smb.dfs import Extent, fault_of, parse_referrals
from analyzer.smb.smb1 import Command as Smb1
from analyzer.smb.smb1 import PipeFunction
from analyzer.smb.smb2 import Command as Smb2
from analyzer.smb.smb2 import Fsctl
from analyzer.transport.messages import ARENA_SPARE
from analyzer.transport.netbios import PacketType, parse_names
from analyzer.wire.texts import MISSING, Texts

KEEP_WHOLE = 0x11000
KEEP_UNKNOWN = 4096
KEEP_HEADER = 128
MAX_TREES = 256
MAX_COMPOUND = 512
MAX_CHAIN = 16
MAX_NAME = 1024
NO_ANDX = 0xFF
NO_TREE = 0xFFFFFFFF
NO_SESSION = 0xFFFFFFFF_FFFFFFFF
STATUS_PENDING = 0x103
STATUS_MORE_PROCESSING = 0xC0000016
STATUS_BUFFER_OVERFLOW = 0x80000005
NO_FUNCTION = 0xFFFF
RAW_START = 0x000C  # RAW_MODE and MSG_START
SIGNED = flag(SMB2_Header, "Flags", "SMB2_FLAGS_SIGNED")
ASYNC = flag(SMB2_Header, "Flags", "SMB2_FLAGS_ASYNC_COMMAND")
RELATED = flag(SMB2_Header, "Flags", "SMB2_FLAGS_RELATED_OPERATIONS")
SIGNATURE, NT_STATUS, UNICODE = (
    flag(SMB_Header, "Flags2", name) for name in ("SMB_SECURITY_SIGNATURE", "NT_STATUS", "UNICODE")
)
TEXT_FIELDS = ("dialects", "dialect", "domain", "native_os", "native_lanman", "path", "name")

ANDX_COMMANDS = (
    Smb1.OPEN_ANDX, Smb1.READ_ANDX, Smb1.WRITE_ANDX, Smb1.NT_CREATE_ANDX,
    Smb1.SESSION_SETUP_ANDX, Smb1.LOGOFF_ANDX, Smb1.TREE_CONNECT_ANDX, 0x24,
)  # fmt: skip
OPENS = (Smb1.OPEN, Smb1.CREATE, Smb1.CREATE_NEW, Smb1.OPEN_ANDX, Smb1.NT_CREATE_ANDX)
READS = (Smb1.READ, Smb1.READ_ANDX, Smb1.LOCK_AND_READ, Smb1.READ_RAW, Smb1.READ_MPX)
WRITES = (
    Smb1.WRITE, Smb1.WRITE_ANDX, Smb1.WRITE_AND_CLOSE, Smb1.WRITE_AND_UNLOCK, Smb1.WRITE_RAW, Smb1.WRITE_MPX,
)  # fmt: skip
TRANSACTIONS = (Smb1.TRANSACTION2, Smb1.TRANSACTION2_SECONDARY, Smb1.NT_TRANSACT, Smb1.NT_TRANSACT_SECONDARY)
SECONDARIES = (Smb1.TRANSACTION_SECONDARY, Smb1.TRANSACTION2_SECONDARY, Smb1.NT_TRANSACT_SECONDARY)
SMB1_ECHO, SMB1_LOCKING, SMB1_NT_CANCEL = 0x2B, 0x24, 0xA4
KINDS_SMB1: dict[int, Kind] = {
    **dict.fromkeys(OPENS, Kind.OPEN),
    **dict.fromkeys((*READS, *WRITES), Kind.DATA),
    Smb1.NEGOTIATE: Kind.NEGOTIATE,
    Smb1.SESSION_SETUP_ANDX: Kind.SETUP,
    Smb1.LOGOFF_ANDX: Kind.LOGOFF,
    Smb1.TREE_CONNECT: Kind.TREE_CONNECT,
    Smb1.TREE_CONNECT_ANDX: Kind.TREE_CONNECT,
    Smb1.TREE_DISCONNECT: Kind.TREE_DISCONNECT,
    Smb1.CLOSE: Kind.CLOSE,
}
KINDS_SMB2 = {
    Smb2.NEGOTIATE: Kind.NEGOTIATE,
    Smb2.SESSION_SETUP: Kind.SETUP,
    Smb2.LOGOFF: Kind.LOGOFF,
    Smb2.TREE_CONNECT: Kind.TREE_CONNECT,
    Smb2.TREE_DISCONNECT: Kind.TREE_DISCONNECT,
    Smb2.CREATE: Kind.OPEN,
    Smb2.CLOSE: Kind.CLOSE,
    Smb2.READ: Kind.DATA,
    Smb2.WRITE: Kind.DATA,
}
PASSED_OVER_SMB2 = (Smb2.LOCK, Smb2.CANCEL, Smb2.ECHO, Smb2.OPLOCK_BREAK)
SERVICES = {b"IPC": TreeKind.PIPE, b"A:": TreeKind.DISK, b"LPT1:": TreeKind.PRINT}
TROUBLES = {
    "not_smb": (Layer.NETBIOS, "length"),
    "gap": (Layer.TCP, "sequence"),
    "gap_in_message": (Layer.TCP, "sequence"),
    "leads_nowhere": (Layer.SMB2, "next_command"),
}


def wanted(flow: Flow, from_server: bool, head: bytes, size: int) -> int:
    """How many bytes of a message to keep, 0 for none: file data is not dissected. head: its first 64 bytes."""
    kind = head[0]
    if kind == 0xFD:
        return min(size, 64)
    if kind == 0xFC:
        return min(size, KEEP_UNKNOWN)
    if kind == 0xFF:
        return min(size, _wanted_smb1(flow, head)) if size >= 35 else 0
    if size < 64:
        return 0
    if head[20:24] != bytes(4):
        return min(size, KEEP_WHOLE)
    session, tree = int.from_bytes(head[40:48], "little"), int.from_bytes(head[36:40], "little")
    return min(size, _wanted_smb2(flow, from_server, head, session, tree))


def _wanted_smb2(flow: Flow, from_server: bool, head: bytes, session: int, tree: int) -> int:
    command = int.from_bytes(head[12:14], "little")
    if from_server and int.from_bytes(head[8:12], "little") == STATUS_PENDING:
        return 0
    if command <= Smb2.TREE_DISCONNECT:
        return KEEP_WHOLE
    if command == Smb2.CREATE:
        return KEEP_UNKNOWN
    if command in PASSED_OVER_SMB2:
        return 0
    kind = TreeKind.UNKNOWN if head[16] & 2 else flow.trees.get((session, tree), TreeKind.UNKNOWN)
    if kind in (TreeKind.DISK, TreeKind.PRINT):
        return 0
    if command in (Smb2.CLOSE, Smb2.READ, Smb2.WRITE, Smb2.IOCTL):
        return KEEP_WHOLE if kind == TreeKind.PIPE else KEEP_UNKNOWN
    return KEEP_HEADER


def _wanted_smb1(flow: Flow, head: bytes) -> int:
    command = head[4]
    if Smb1.TREE_CONNECT <= command <= Smb1.TREE_CONNECT_ANDX:
        return KEEP_WHOLE
    if command in (Smb1.TRANSACTION, Smb1.TRANSACTION_SECONDARY):
        return KEEP_WHOLE
    if command in OPENS:
        return KEEP_UNKNOWN
    if command in (SMB1_ECHO, SMB1_LOCKING, SMB1_NT_CANCEL):
        return 0
    if command in ANDX_COMMANDS and len(head) >= 37 and head[32] >= 2 and head[33] != NO_ANDX:
        return KEEP_UNKNOWN
    kind = flow.trees.get((-1, int.from_bytes(head[24:26], "little")), TreeKind.UNKNOWN)
    if kind in (TreeKind.DISK, TreeKind.PRINT):
        return 0
    if command in (Smb1.READ_ANDX, Smb1.WRITE_ANDX, Smb1.READ, Smb1.WRITE):
        return KEEP_WHOLE if kind == TreeKind.PIPE else KEEP_UNKNOWN
    if kind == TreeKind.PIPE and command in (*READS, *WRITES):
        return KEEP_WHOLE
    if command in TRANSACTIONS:
        # On IPC$ the answers to DFS referrals come so, which may be long.
        return KEEP_WHOLE if kind == TreeKind.PIPE and command == Smb1.TRANSACTION2 else KEEP_UNKNOWN
    return KEEP_HEADER


def _remember(flow: Flow, session: int, tree: int, kind: int) -> None:
    flow.trees[session, tree] = kind
    flow.trees.move_to_end((session, tree))
    if len(flow.trees) > MAX_TREES:
        flow.trees.popitem(last=False)


class _BadBodyError(Exception):
    """A structure that is too short, or has a count of words that it cannot have."""

    def __init__(self, layer: Layer, name: str, code: str, detail: int = -1) -> None:
        self.problem = (layer, name, code, detail)
        super().__init__(name)


class Records:
    """The records of a window."""

    def __init__(self, texts: Texts, message_no: int) -> None:
        self.texts = texts
        self.message_no = message_no
        self.arena = bytearray()
        self.messages: list[dict[str, Any]] = []
        self.bodies: dict[str, list[dict[str, Any]]] = {name: [] for name in BODIES}
        self.problems: list[tuple[int, ...]] = []
        self.names: list[tuple[int, int, int]] = []

    def take(self, item: Message | Trouble) -> None:
        """Take a message, or what is told of where there is none."""
        if isinstance(item, Trouble):
            layer, name = TROUBLES[item.code]
            detail = self.texts.code(f"{item.size} bytes") if item.size else MISSING
            self._tell_at(item.capture_no, item.frame, item.flow.number, layer, name, item.code, detail)
            return
        self.message_no += 1
        if item.service:
            self._take_names(item)
            return
        try:
            first = item.data[0]
            if first == 0xFE:
                self._take_smb2(item)
            elif first == 0xFF:
                self._take_smb1(item)
            elif first == 0xFD:
                self._take_encrypted(item)
            else:
                self._take_compressed(item)
        except Exception as problem:  # scapy raises whatever a hostile message makes it stumble over
            layer = Layer.SMB1 if item.data[:1] == b"\xff" else Layer.SMB2
            detail = self.texts.code(type(problem).__name__)
            self._tell(item, layer, "message", "dissector_failed", detail)

    def batch(self, begun: list[Flow], ended: list[Flow]) -> Batch:
        """What was taken."""
        arena = np.frombuffer(bytes(self.arena) + bytes(ARENA_SPARE), dtype=np.uint8)
        return Batch(
            texts=self.texts,
            arena=arena,
            messages=_table(MESSAGE, self.messages, {}),
            bodies={name: self._bodies_of(name, rows) for name, rows in self.bodies.items()},
            begun=_ends(begun, ENDPOINTS),
            ended=_ends(ended, CONNECTION_END),
            names=np.array(self.names, dtype=NAMES),
            problems=np.array(self.problems, dtype=PROBLEM),
        )

    def _bodies_of(self, name: str, rows: list[dict[str, Any]]) -> Rows:
        record = BODIES[name]
        made = _table(record, rows, dict.fromkeys(TEXT_FIELDS, MISSING), skip=("token", "client_guid", "server_guid"))
        for guid in ("client_guid", "server_guid"):
            if guid in (record.names or ()):
                for place, row in enumerate(rows):
                    raw = row.get(guid)
                    if raw is not None:
                        made[guid][place] = (True, int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:], "little"))
        if "token" in (record.names or ()):
            made["token"] = missing_token(len(rows))
            for place, row in enumerate(rows):
                for field, value in row["token"].items():
                    made["token"][field][place] = value
        return made

    # Rows. #

    def _add(self, message: Message, place: int, **fields: Any) -> dict[str, Any]:
        row = {
            "connection": message.flow.number, "from_server": message.from_server, "kind": Kind.OTHER,
            "capture_no": message.capture_no, "frame": message.frame, "time_ns": message.time_ns, "place": place,
            "message": self.message_no, "position": message.position,
        } | fields  # fmt: skip
        self.messages.append(row)
        return row

    def _body(self, table: str, **fields: Any) -> dict[str, Any]:
        body = {"row": len(self.messages) - 1} | fields
        self.bodies[table].append(body)
        return body

    def _tell(self, message: Message, layer: Layer, name: str, code: str, detail: int = MISSING) -> None:
        self._tell_at(message.capture_no, message.frame, message.flow.number, layer, name, code, detail)

    def _tell_at(
        self, capture_no: int, frame: int, connection: int, layer: Layer, name: str, code: str, detail: int
    ) -> None:
        texts = self.texts
        self.problems.append(
            (capture_no, frame, connection, layer, texts.code(name), MISSING, texts.code(code), detail)
        )

    def _payload(self, data: bytes, size: int) -> dict[str, int]:
        """Put what is there of a payload of `size` bytes into the arena."""
        data = data[:size]
        at = len(self.arena)
        self.arena += data
        return {"bytes": size, "payload_at": at, "payload_size": len(data)}

    def _token(self, message: Message, blob: bytes, size: int) -> Token:
        token = read_token(blob[:size], len(blob) < size, self.texts)
        if token["kind"] == TokenKind.UNREADABLE:
            self._tell(message, Layer.SPNEGO, "token", "unreadable")
        return token

    def _take_names(self, message: Message) -> None:
        if message.data[0] == PacketType.SESSION_REQUEST:
            try:
                called, calling = parse_names(message.data)
            except (DecodeError, IndexError):
                return  # the names are a courtesy
            self.names.append((message.flow.number, self.texts.code(calling), self.texts.code(called)))

    # SMB 2. [MS-SMB2] #

    def _take_encrypted(self, message: Message) -> None:
        header = _made(SMB2_Transform_Header, message.data, 52)
        row = self._add(message, 0, kind=Kind.ENCRYPTED, protocol=Protocol.SMB2, tree_id=NO_TREE)
        if header is None:
            self._tell(message, Layer.SMB2, "SMB2 TRANSFORM_HEADER", "too_short")
            return
        row["session_id"] = header.SessionId
        row["key"] = int.from_bytes(header.Signature[:8], "little")

    def _take_compressed(self, message: Message) -> None:
        row = self._add(message, 0, kind=Kind.COMPRESSED, protocol=Protocol.SMB2, tree_id=NO_TREE, key=NO_KEY)
        header = _made(SMB2_Compression_Transform_Header, message.data, 16)
        inside = message.data[16:]
        if (
            header is not None
            and header.Offset_or_Length >= 64
            and inside[:6] == b"\xfeSMB\x40\0"
            and len(inside) >= 64
        ):
            row |= _header_smb2(_made(layers.Smb2Header, inside, 64), message, None, 0) | {"kind": Kind.COMPRESSED}
            if row["status"] == STATUS_PENDING:
                row["key"] = NO_KEY
            self.messages[-1] = row

    def _take_smb2(self, message: Message) -> None:
        """A row for each PDU of a compound that matters. [MS-SMB2 3.2.4.1.4]"""
        data, flow, size = message.data, message.flow, message.size
        at, session, tree = 0, 0, 0
        before: dict[str, Any] | None = None
        for link in range(MAX_COMPOUND):
            pdu = data[at:]
            header = _made(layers.Smb2Header, pdu, 64)
            following = header.NextCommand if header is not None else 0
            if following and (following < 64 or at + following > size):
                self._trouble(message, "leads_nowhere", following)
                following = 0
            length = following or size - at
            if header is None:
                if not message.cut:
                    self._trouble(message, "gap_in_message", length)
                return
            is_cut = message.cut and at + length > len(data)
            own_session, own_tree = header.SessionId, header.TID
            if not (header.Flags & RELATED and own_tree == NO_TREE):
                session, tree = own_session, own_tree
            if _wanted_smb2(flow, message.from_server, pdu[:64], session, tree):
                fields = _header_smb2(header, message, before, link)
                if is_cut:
                    fields["flags"] |= Flag.CUT
                before = self._add(message, link, protocol=Protocol.SMB2, **fields)
                try:
                    self._read_smb2(message, before, header.Command, pdu[:length], is_cut)
                except _BadBodyError as problem:
                    before["kind"] = Kind.OTHER
                    layer, name, code, _ = problem.problem
                    self._tell(message, layer, name, code)
                if header.Command == Smb2.TREE_CONNECT and message.from_server and not header.Status and len(pdu) >= 68:
                    _remember(flow, session, tree, pdu[66])
            if not following:
                return
            at += following
        self._trouble(message, "leads_nowhere", size)

    def _trouble(self, message: Message, code: str, size: int) -> None:
        self.take(Trouble(message.flow, code, size, message.capture_no, message.frame))

    def _read_smb2(self, message: Message, row: dict[str, Any], command: int, pdu: bytes, is_cut: bool) -> None:
        body = pdu[64:]
        if message.from_server:
            self._read_smb2_answer(message, row, command, pdu)
        elif command == Smb2.NEGOTIATE:
            layer = _body2(layers.NegotiateRequest, body, 36)
            revisions = body[36 : 36 + 2 * layer.DialectCount]
            self._body(
                "negotiate_requests",
                dialects=self.texts.code(smb2.dialect_names(revisions)),
                client_guid=body[12:28],
                security_mode=layer.SecurityMode,
                capabilities=layer.Capabilities,
            )
        elif command == Smb2.SESSION_SETUP:
            layer = _body2(layers.SessionSetupRequest, body, 24)
            blob = pdu[layer.SecurityBlobBufferOffset :]
            self._body(
                "setup_requests",
                form=Form.TOKEN,
                binding=bool(layer.Flags & 1),
                previous_session_id=layer.PreviousSessionId,
                token=self._token(message, blob, layer.SecurityBlobLen),
            )
        elif command == Smb2.TREE_CONNECT:
            layer = _body2(layers.TreeConnectRequest, body, 8)
            path = self._text(message, pdu, layer.PathBufferOffset, layer.PathLen, "path", is_cut)
            self._body("tree_requests", path=path)
        elif command == Smb2.CREATE:
            layer = _body2(layers.CreateRequest, body, 48)
            name = self._text(message, pdu, layer.NameBufferOffset, layer.NameLen, "name", is_cut)
            self._body("open_requests", name=name, via=Via.CREATE, access_mask=layer.DesiredAccess)
        elif command == Smb2.CLOSE:
            self._body("close_requests", **_file_id(_body2(layers.CloseRequest, body, 24)))
        elif command == Smb2.READ:
            self._body("data_requests", way=Way.READ, **_file_id(_body2(layers.ReadRequest, body, 32)))
        elif command == Smb2.WRITE:
            layer = _body2(layers.WriteRequest, body, 32)
            payload = self._payload(pdu[layer.DataBufferOffset :], layer.DataLen)
            self._body("data_requests", way=Way.WRITE, **_file_id(layer), **payload)
        elif command == Smb2.IOCTL:
            self._read_ioctl(row, pdu)

    def _text(self, message: Message, pdu: bytes, offset: int, size: int, name: str, is_cut: bool) -> int:
        """A text that the message places. One that is not there is missing, and told."""
        offset = min(offset, len(pdu))
        if offset + size <= len(pdu):
            return self.texts.decode(pdu[offset : offset + size], UTF16)
        if not is_cut:
            self._tell(message, Layer.SMB2, name, "outside_message")
        return MISSING

    def _read_ioctl(self, row: dict[str, Any], pdu: bytes) -> None:
        """[MS-SMB2 2.2.31] A transceive is data on a pipe; most other codes are operations of their own."""
        layer = _body2(layers.IoctlRequest, pdu[64:], 32)
        code = layer.CtlCode
        given = pdu[layer.InputBufferOffset :][: layer.InputLen]
        if code == Fsctl.PIPE_TRANSCEIVE:
            row["kind"] = Kind.DATA
            self._body("data_requests", way=Way.TRANSACT, **_file_id(layer), **self._payload(given, layer.InputLen))
            return
        if code == Fsctl.PIPE_PEEK and layer.Volatile != ANY_FILE:
            return
        row["kind"] = Kind.CALL
        is_dfs = code in (Fsctl.DFS_GET_REFERRALS, Fsctl.DFS_GET_REFERRALS_EX)
        name = MISSING
        if code == Fsctl.DFS_GET_REFERRALS and len(given) >= 2:
            # Scapy's layer wants the NUL at the end, which a cut request has not.
            name = self.texts.decode(_up_to_nul(given[2:]), UTF16)
            SMB2_IOCTL_REQ_GET_DFS_Referral(given[:2] + b"\0\0")
        elif code == Fsctl.DFS_GET_REFERRALS_EX and len(given) >= 10:
            name = self.texts.decode(_up_to_nul(given[10 : 10 + int.from_bytes(given[8:10], "little")]), UTF16)
        elif code == Fsctl.PIPE_WAIT and len(given) >= 14:
            name = self.texts.decode(layers.reader(layers.PipeWait)(given).Name, UTF16)
        protocol = CallProtocol.DFS if is_dfs else CallProtocol.FSCTL
        self._body("call_requests", protocol=protocol, function=code, name=name)

    def _read_smb2_answer(self, message: Message, row: dict[str, Any], command: int, pdu: bytes) -> None:
        """An error has another body [MS-SMB2 2.2.2], of which nothing is wanted."""
        body, status = pdu[64:], row["status"]
        success = status == 0
        has_data = success or status == STATUS_BUFFER_OVERFLOW
        if command == Smb2.NEGOTIATE and success:
            layer = _body2(layers.NegotiateResponse, body, 28)
            mode = layer.SecurityMode
            self._body(
                "negotiate_answers",
                dialect=self.texts.code(smb2.dialect_name(layer.DialectRevision)),
                dialect_index=-1,
                server_guid=body[8:24],
                security_mode=mode,
                signing_required=bool(mode & 2),
                capabilities=layer.Capabilities,
            )
        elif command == Smb2.SESSION_SETUP and (success or status == STATUS_MORE_PROCESSING):
            layer = _body2(layers.SessionSetupResponse, body, 8)
            token = self._token(message, pdu[layer.SecurityBufferOffset :], layer.SecurityLen)
            self._body("setup_answers", flags=layer.SessionFlags, token=token)
        elif command == Smb2.TREE_CONNECT and success:
            if len(body) < 16 and len(body) >= 4:
                self._body("tree_answers", kind=body[2])
            else:
                self._body("tree_answers", kind=_body2(layers.TreeConnectResponse, body, 4).ShareType)
        elif command == Smb2.CREATE and success:
            self._body("open_answers", **_file_id(_body2(layers.CreateResponse, body, 80)))
        elif command == Smb2.READ and has_data:
            layer = _body2(layers.ReadResponse, body, 8)
            self._body("data_answers", **self._payload(pdu[layer.DataBufferOffset :], layer.DataLen))
        elif command == Smb2.WRITE and has_data:
            self._body("data_answers")
        elif command == Smb2.IOCTL and has_data:
            layer = _body2(layers.IoctlResponse, body, 40)
            if layer.CtlCode == Fsctl.PIPE_TRANSCEIVE:
                self._body("data_answers", **self._payload(pdu[layer.OutputBufferOffset :], layer.OutputLen))
            else:
                self._body("call_answers", code=-1, bytes=layer.OutputLen)
                if success and layer.CtlCode in (Fsctl.DFS_GET_REFERRALS, Fsctl.DFS_GET_REFERRALS_EX):
                    self._referrals(message, pdu[layer.OutputBufferOffset :], layer.OutputLen, Extent.WHOLE)

    # SMB 1. [MS-CIFS; MS-SMB] #

    def _take_smb1(self, message: Message) -> None:
        """A row for each element of a chain. [MS-CIFS 2.2.3.4]"""
        data, flow = message.data, message.flow
        if len(data) < 35:
            if not message.cut:
                self._trouble(message, "gap_in_message", message.size)
            return
        header = layers.reader(layers.Smb1Header)(data[:32])
        command, at = header.Command, 32
        for link in range(MAX_CHAIN):
            following, offset = NO_ANDX, 0
            if command in ANDX_COMMANDS and data[at] >= 2 and at + 5 <= len(data):
                following, offset = data[at + 1], int.from_bytes(data[at + 3 : at + 5], "little")
            begins_inside = offset < at + 3 + 2 * data[at]
            if following != NO_ANDX and (begins_inside or offset + 3 > len(data)):
                if begins_inside or offset + 3 > message.size:
                    self._trouble(message, "leads_nowhere", offset)
                following = NO_ANDX
            fields = _header_smb1(header, command, message, link, following != NO_ANDX)
            row = self._add(message, link, protocol=Protocol.SMB1, **fields)
            element = _Element(data, at, bool(header.Flags2 & UNICODE), message)
            try:
                read = self._read_smb1_answer if message.from_server else self._read_smb1_request
                read(message, row, command, element)
            except _BadBodyError as problem:
                layer, name, code, detail = problem.problem
                if code == "too_short" or not message.from_server:
                    row["kind"] = Kind.OTHER
                if detail != 0:  # an error answer has no words
                    self._tell(message, layer, name, code, self.texts.code(str(detail)) if detail > 0 else MISSING)
            if message.from_server and command == Smb1.TREE_CONNECT_ANDX and element.words >= 2:
                service = data[element.start : element.start + 5]
                kinds = (kind for name, kind in SERVICES.items() if service.startswith(name[:3]))
                if len(service) >= 3:
                    _remember(flow, -1, header.TID, next(kinds, TreeKind.UNKNOWN))
            if following == NO_ANDX:
                return
            command, at = following, offset
        self._trouble(message, "leads_nowhere", message.size)

    def _string(self, element: _Element, at: int, end: int | None = None) -> tuple[int, int]:
        """The code of a NUL-terminated string (missing at the end of the data), and where the next one begins."""
        stop = element.end if end is None else end
        if at >= stop:
            return MISSING, stop
        raw = element.string(at, stop)
        encoding, nul = (UTF16, 2) if element.unicode else (OEM, 1)
        return self.texts.decode(raw, encoding), at + len(raw) + nul

    def _read_smb1_request(self, message: Message, row: dict[str, Any], command: int, e: _Element) -> None:
        if command == Smb1.NEGOTIATE:
            content = e.data[e.start : e.end]
            names = [bytes(one.DialectString) for one in _dialects(content)]
            texts = "|".join(name.decode(OEM) for name in names)
            self._body("negotiate_requests", dialects=self.texts.code(texts))
        elif command == Smb1.SESSION_SETUP_ANDX:
            self._read_smb1_setup(message, e)
        elif command == Smb1.TREE_CONNECT:
            self._read_core_tree(e)
        elif command == Smb1.TREE_CONNECT_ANDX:
            words = e.read(layers.TreeRequestWords, (4,))
            path, _ = self._string(e, e.text_start(e.start + words.PasswordLength))
            self._body("tree_requests", path=path, password_size=words.PasswordLength)
        elif command in OPENS:
            self._read_smb1_open(command, e)
        elif command == Smb1.CLOSE:
            self._body("close_requests", file_lo=e.read(layers.FidWords, (3,)).FID)
        elif command in READS:
            if command == Smb1.READ_ANDX:
                fid = e.read(layers.ReadRequestWords, (10, 12)).FID
            else:
                counts = (5,) if command in (Smb1.READ, Smb1.LOCK_AND_READ) else (8, 10)
                fid = e.read(layers.FidWords, counts).FID
            self._body("data_requests", file_lo=fid, way=Way.READ)
        elif command in WRITES:
            self._read_smb1_write(command, e)
        elif command == Smb1.TRANSACTION:
            self._read_transaction(row, e)
        elif command == Smb1.TRANSACTION2:
            self._read_transaction2(row, e)
        elif command == Smb1.NT_TRANSACT:
            self._read_nt_transact(row, e)
        elif command in SECONDARIES:
            row["key"] = NO_KEY

    def _read_smb1_setup(self, message: Message, e: _Element) -> None:
        words = e.read(layers.SetupRequestWords, (10, 12, 13), 19)
        first, second = words.FirstLength, words.SecondLength if e.words == 13 else 0
        at = e.start
        is_whole = at + e.byte_count <= len(e.data)
        body: dict[str, Any] = {}
        if e.words == 12:
            body |= {"form": Form.TOKEN, "token": self._token(message, e.data[at:], first)}
        else:
            token: Token = {
                "kind": TokenKind.PASSWORDS, "mechanism": Mechanism.SMB1, "lm_size": first, "nt_size": second,
                "lm_is_zero": first == 1 and e.data[at : at + 1] == b"\0",
            }  # fmt: skip
            body |= {"form": Form.PASSWORDS if e.words == 13 else Form.LANMAN, "token": token}
        at += first + second
        inside = at <= len(e.data) and is_whole
        at = e.text_start(at)
        if e.words != 12:
            is_empty = at >= e.end and inside and not message.cut
            user, at = self._string(e, at)
            domain, at = self._string(e, at)
            # A name that is not there though the message is whole is an empty one.
            token |= {"user": self.texts.code("") if is_empty else user, "domain": domain}
        native_os, at = self._string(e, at)
        native_lanman, _ = self._string(e, at)
        self._body("setup_requests", native_os=native_os, native_lanman=native_lanman, **body)

    def _read_core_tree(self, e: _Element) -> None:
        """Path, password and service: each is a byte 04 and a NUL-terminated string. [MS-CIFS 2.2.4.50.1]"""
        parts = [part[1:] for part in e.data[e.start : e.end].split(b"\0") if part[:1] == b"\x04"]
        path = self.texts.decode(parts[0], OEM) if parts else MISSING
        self._body("tree_requests", path=path, password_size=len(parts[1]) if len(parts) > 1 else 0)

    def _read_smb1_open(self, command: int, e: _Element) -> None:
        end, access = e.end, 0
        if command == Smb1.NT_CREATE_ANDX:
            words = e.read(layers.NtCreateRequestWords, (24,))
            via, access, at = Via.NT_CREATE_ANDX, words.DesiredAccess, e.text_start(e.start)
            end = min(end, at + words.NameLength)
        elif command == Smb1.OPEN_ANDX:
            e.read(layers.TreeRequestWords, (15,))
            via, at = Via.OPEN_ANDX, e.text_start(e.start)
        else:
            via, at = Via.OPEN, e.text_start(e.start + 1)  # a byte 04 stands before the name
        name, _ = self._string(e, at, end)
        self._body("open_requests", name=name, via=via, access_mask=access)

    def _read_smb1_write(self, command: int, e: _Element) -> None:
        if command == Smb1.WRITE_ANDX:
            words = e.read(layers.WriteRequestWords, (12, 14))
            size, offset = words.DataLength + (words.DataLengthHigh << 16), words.DataOffset
            # The first part of a message that is written raw has the message's length before it. [MS-CIFS 2.2.4.43.1]
            if words.WriteMode & RAW_START == RAW_START and size >= 2:
                size, offset = size - 2, offset + 2
        elif command in (Smb1.WRITE_RAW, Smb1.WRITE_MPX):
            words = e.read(layers.WriteRawRequestWords, (12, 14))
            size, offset = words.Total if command == Smb1.WRITE_RAW else words.DataLength, words.DataOffset
        else:
            counts = (6, 12) if command == Smb1.WRITE_AND_CLOSE else (5,)
            words = e.read(layers.FidCountWords, counts)
            size, offset = words.Count, e.start + (1 if command == Smb1.WRITE_AND_CLOSE else 3)
        self._body("data_requests", file_lo=words.FID, way=Way.WRITE, **self._payload(e.data[offset:], size))
        if command == Smb1.WRITE_AND_CLOSE:
            self._body("close_requests", file_lo=words.FID)

    def _read_transaction(self, row: dict[str, Any], e: _Element) -> None:
        """[MS-CIFS 2.2.4.33.1, 2.2.5] Pipe functions, RAP, or a mailslot (which is passed over)."""
        if e.words < 14:
            return
        words = e.read(layers.TransactionWords)
        setup = words.Setup
        function = int.from_bytes(setup[:2], "little") if len(setup) >= 2 else NO_FUNCTION
        at = e.text_start(e.start)
        raw = e.string(at, min(e.end, e.start + MAX_NAME)) if at < e.end else b""
        row["kind"] = Kind.OTHER
        name = raw.decode(UTF16 if e.unicode else OEM, "replace").upper()
        if name.startswith("\\MAILSLOT"):
            return
        code = self.texts.decode(raw, UTF16 if e.unicode else OEM)
        ways = {
            PipeFunction.TRANSACT: Way.TRANSACT, PipeFunction.READ: Way.READ, PipeFunction.RAW_READ: Way.READ,
            PipeFunction.WRITE: Way.WRITE, PipeFunction.RAW_WRITE: Way.WRITE,
        }  # fmt: skip
        if function in ways:
            row["kind"] = Kind.DATA
            way = ways[PipeFunction(function)]
            payload = self._payload(e.data[words.DataOffset :], words.DataCount)
            payload["bytes"] = 0 if way == Way.READ else words.TotalDataCount
            fid = int.from_bytes(setup[2:4], "little") if len(setup) >= 4 else 0xFFFF
            self._body("data_requests", file_lo=fid, way=way, **payload)
        elif name.startswith("\\PIPE\\LANMAN"):
            row["kind"] = Kind.CALL
            parameters = e.data[words.ParameterOffset :][: words.ParameterCount]
            opcode = int.from_bytes(parameters[:2], "little") if len(parameters) >= 2 else NO_FUNCTION
            self._body("call_requests", protocol=CallProtocol.RAP, function=opcode, name=code)
        elif function == PipeFunction.WAIT:
            row["kind"] = Kind.CALL
            self._body("call_requests", protocol=CallProtocol.FSCTL, function=smb1.FSCTL_PIPE_WAIT, name=code)
        elif function == PipeFunction.CALL:
            row["kind"] = Kind.OPEN
            self._body("open_requests", name=code, via=Via.CALL_NMPIPE)
            payload = self._payload(e.data[words.DataOffset :], words.DataCount) | {"bytes": words.TotalDataCount}
            self._body("data_requests", file_lo=ANY_FILE, way=Way.TRANSACT, **payload)

    def _read_transaction2(self, row: dict[str, Any], e: _Element) -> None:
        """[MS-CIFS 2.2.4.46.1] Of its functions only referrals and opens are of interest."""
        if e.words < 15:
            return
        words = e.read(layers.TransactionWords)
        function = int.from_bytes(words.Setup[:2], "little")
        at = min(words.ParameterOffset, len(e.data))
        end = min(at + words.ParameterCount, len(e.data))
        if function == smb1.TRANS2_GET_DFS_REFERRAL:
            row["kind"] = Kind.CALL
            name, _ = self._string(e, at + 2, end)
            self._body("call_requests", protocol=CallProtocol.DFS, function=function, name=name)
        elif function == smb1.TRANS2_OPEN2:
            row["kind"] = Kind.OPEN
            name, _ = self._string(e, at + 28, end)
            self._body("open_requests", via=Via.TRANS2_OPEN2, name=name)

    def _read_nt_transact(self, row: dict[str, Any], e: _Element) -> None:
        """[MS-CIFS 2.2.4.62.1] Opens, and control codes on pipes."""
        if e.words < 19:
            return
        words = e.read(layers.NtTransactWords)
        if words.Function == smb1.NT_TRANSACT_CREATE:
            row["kind"] = Kind.OPEN
            at = min(words.ParameterOffset, len(e.data))
            end = min(at + words.ParameterCount, len(e.data))
            name, access = MISSING, 0
            if end - at >= 53:
                parameters = layers.reader(layers.NtTransactCreateParameters)(e.data[at:end])
                access = parameters.DesiredAccess
                at = e.text_start(at + 53)
                name, _ = self._string(e, at, min(end, at + parameters.NameLength))
            self._body("open_requests", via=Via.NT_TRANSACT_CREATE, access_mask=access, name=name)
        elif words.Function == smb1.NT_TRANSACT_IOCTL and words.SetupCount >= 4:
            setup = layers.reader(layers.IoctlSetup)(words.Setup)
            given = e.data[words.DataOffset :][: words.DataCount]
            if setup.FunctionCode == smb1.FSCTL_PIPE_TRANSCEIVE:
                row["kind"] = Kind.DATA
                payload = self._payload(given, words.DataCount) | {"bytes": words.TotalDataCount}
                self._body("data_requests", file_lo=setup.FID, way=Way.TRANSACT, **payload)
            elif setup.FunctionCode != smb1.FSCTL_PIPE_PEEK:
                row["kind"] = Kind.CALL
                name = MISSING
                if setup.FunctionCode == smb1.FSCTL_PIPE_WAIT and len(given) >= 14:
                    name = self.texts.decode(layers.reader(layers.PipeWait)(given).Name, UTF16)
                self._body("call_requests", protocol=CallProtocol.FSCTL, function=setup.FunctionCode, name=name)

    def _read_smb1_answer(self, message: Message, row: dict[str, Any], command: int, e: _Element) -> None:
        if command == Smb1.NEGOTIATE:
            self._read_smb1_negotiated(e)
        elif command == Smb1.SESSION_SETUP_ANDX:
            words = e.read(layers.SetupAnswerWords, (3, 4))
            blob = e.read(layers.ExtendedSetupAnswerWords, (4,)).SecurityBlobLength if e.words == 4 else 0
            token = self._token(message, e.data[e.start :], blob)
            native_os, at = self._string(e, e.text_start(e.start + blob))
            native_lanman, _ = self._string(e, at)
            self._body(
                "setup_answers", flags=words.Action, native_os=native_os, native_lanman=native_lanman, token=token
            )
        elif command == Smb1.TREE_CONNECT:
            row["tree_id"] = e.read(layers.CoreTreeAnswerWords, (2,)).TID
            self._body("tree_answers", kind=TreeKind.UNKNOWN)
        elif command == Smb1.TREE_CONNECT_ANDX:
            if e.words >= 2:
                service = e.data[e.start : max(e.start, e.end)].split(b"\0")[0]
                self._body("tree_answers", kind=SERVICES.get(service, TreeKind.UNKNOWN))
        elif command in OPENS:
            if command == Smb1.NT_CREATE_ANDX:
                words = e.read(layers.NtCreateAnswerWords, (34, 42, 50))
            elif command == Smb1.OPEN_ANDX:
                words = e.read(layers.OpenAnswerWords, (15, 19))
            else:
                words = e.read(layers.FidWords, (1, 7))
            is_pipe = getattr(words, "ResourceType", 0) in smb1.RESOURCE_PIPES
            self._body("open_answers", file_lo=words.FID, is_pipe=is_pipe)
        elif command in READS:
            if command == Smb1.READ_ANDX:
                words = e.read(layers.ReadAnswerWords, (12,))
                size, offset = words.DataLength + (words.DataLengthHigh << 16), words.DataOffset
            elif command == Smb1.READ_MPX:
                words = e.read(layers.ReadMpxAnswerWords, (8,))
                size, offset = words.DataLength, words.DataOffset
            else:
                size, offset = e.read(layers.FidWords, (5,)).FID, e.start + 3  # the first word is a count here
            self._body("data_answers", **self._payload(e.data[offset:], size))
        elif command in WRITES:
            if row["status"] == 0:
                self._body("data_answers")
        elif command == Smb1.TRANSACTION:
            self._read_transaction_answer(row, e)
        elif command == Smb1.TRANSACTION2:
            self._read_transaction2_answer(message, row, e)

    def _read_smb1_negotiated(self, e: _Element) -> None:
        """[MS-CIFS 2.2.4.52.2; MS-SMB 2.2.4.5.2; X/Open SMB 6.1]"""
        if e.words not in (1, 13, 17):
            return
        if e.words != 17 or len(e.data) < e.at + 35:
            layer = layers.LanmanAnswerWords if e.words == 13 else layers.CoreAnswerWords
            words = e.read(layer)
            body = {"dialect_index": words.DialectIndex}
            if e.words == 13:
                body |= {
                    "security_mode": words.SecurityMode,
                    "share_level": not words.SecurityMode & smb1.NEGOTIATE_USER_SECURITY,
                }
            self._body("negotiate_answers", **body)
            return
        words = e.read(layers.NegotiateAnswerWords)
        mode = words.SecurityMode
        body = {
            "dialect_index": words.DialectIndex, "security_mode": mode, "capabilities": words.Capabilities,
            "signing_required": bool(mode & smb1.NEGOTIATE_SIGNATURES_REQUIRED),
            "share_level": not mode & smb1.NEGOTIATE_USER_SECURITY,
        }  # fmt: skip
        if words.Capabilities & smb1.CAP_EXTENDED_SECURITY:
            guid = e.data[e.start : e.start + 16]
            if len(guid) == 16:
                body["server_guid"] = guid
        else:
            body["domain"], _ = self._string(e, e.start + words.ChallengeLength)
        self._body("negotiate_answers", **body)

    def _read_transaction_answer(self, row: dict[str, Any], e: _Element) -> None:
        """What is answered is known only with the request, so both bodies are made. [MS-CIFS 2.2.4.33.2]"""
        if e.words == 0 and row["status"] == 0:
            row["key"] = NO_KEY  # an interim answer
        if e.words < 10:
            return
        words = e.read(layers.TransactionAnswerWords)
        if words.DataDisplacement or words.ParameterDisplacement:
            row["key"] = NO_KEY
        total = words.TotalDataCount
        payload = self._payload(e.data[words.DataOffset :], words.DataCount) | {"bytes": total}
        self._body("data_answers", **payload)
        parameters = e.data[words.ParameterOffset :][: words.ParameterCount]
        code = int.from_bytes(parameters[:2], "little") if len(parameters) >= 2 else -1
        self._body("call_answers", code=code, bytes=total)

    def _read_transaction2_answer(self, message: Message, row: dict[str, Any], e: _Element) -> None:
        """Data without parameters may be a referral: what was asked tells. [MS-CIFS 2.2.4.46.2, 2.2.6.16.2]"""
        if e.words == 0 and row["status"] == 0:
            row["key"] = NO_KEY  # an interim answer
        if e.words < 10 or row["status"] != 0:
            return
        words = e.read(layers.TransactionAnswerWords)
        if words.DataDisplacement or words.ParameterDisplacement:
            row["key"] = NO_KEY
        elif not words.ParameterCount and words.DataCount:
            extent = Extent.IN_PARTS if words.DataCount < words.TotalDataCount else Extent.WHOLE
            self._referrals(message, e.data[words.DataOffset :], words.DataCount, extent)

    def _referrals(self, message: Message, data: bytes, size: int, extent: Extent) -> None:
        """What the answer to a DFS referral names: the first `size` bytes of the data. [MS-DFSC 2.2.4]"""
        answer = data[:size]
        if len(answer) < size and len(message.data) < message.size:
            extent = Extent.CUT if message.cut else Extent.BEYOND_LIMIT
        found = parse_referrals(answer)
        for name in found.targets:
            place = self._payload(name, len(name))
            del place["bytes"]
            self._body("referrals", field=MISSING, offset=MISSING, code=MISSING, **place)
        if fault := fault_of(found.problem, extent):
            field, offset, reason = fault
            self._body("referrals", field=self.texts.code(field), offset=offset, code=self.texts.code(reason))


class _Element:
    """An element of an SMB 1 chain: its words, and where its bytes lie in the message."""

    def __init__(self, data: bytes, at: int, unicode: bool, message: Message) -> None:
        layer = layers.reader(layers.Element)(data[at : at + 3 + 2 * data[at]])
        self.data = data
        self.at = at
        self.unicode = unicode
        self.words: int = layer.WordCount
        self.start = at + 3 + 2 * self.words
        self.byte_count: int = layer.ByteCount if self.start <= len(data) else 0
        self.end = min(len(data), self.start + self.byte_count)
        self._words: bytes = layer.Words
        self._from_server = message.from_server

    def read(self, layer: type, counts: tuple[int, ...] = (), size: int | None = None) -> Any:
        """The words as a layer. counts: how many it may have. Fewer bytes than that has, or another count, raise.

        size: bytes of the layer that must be there, if it is read with a form that has fewer.
        """
        name = _title(layer)
        if counts and self.words not in counts:
            raise _BadBodyError(Layer.SMB1, name, "word_count", self.words)
        needed = _fixed_size(layer) if size is None else size - 1
        content = self.data[self.at + 1 : self.at + 1 + max(2 * self.words, needed)]
        if len(content) < needed:
            raise _BadBodyError(Layer.SMB1, name, "too_short")
        return layers.reader(layer)(content)

    def text_start(self, at: int) -> int:
        """Where a string begins: Unicode on an even offset from the header."""
        return at + (at & 1) if self.unicode else at

    def string(self, at: int, end: int) -> bytes:
        """A string without its NUL, or up to the end where it has none."""
        raw = self.data[at:end]
        return _up_to_nul(raw) if self.unicode else raw.split(b"\0")[0]


def _fixed_size(layer: type) -> int:
    """Bytes of a layer's fields, without what has no length of its own."""
    fields: Any = layer.fields_desc  # type: ignore[attr-defined]
    return sum(int(field.sz) for field in fields if field.name != "Setup")


def _up_to_nul(raw: bytes) -> bytes:
    for at in range(0, len(raw) - 1, 2):
        if raw[at] == 0 and raw[at + 1] == 0:
            return raw[:at]
    return raw


def _dialects(content: bytes) -> list[Any]:
    """Scapy's dialects, of those strings that have the byte 02 of one in front."""
    listed = b"".join(part + b"\0" for part in content.split(b"\0") if part[:1] == b"\x02")
    layer: Any = SMBNegotiate_Request(b"\0" + len(listed).to_bytes(2, "little") + listed)
    return list(layer.Dialects)


def _made(layer: type, data: bytes, size: int) -> Any:
    return layers.reader(layer)(data[:size]) if len(data) >= size else None


def _title(layer: Any) -> str:
    """What scapy calls a kind of layer: `name` of the class itself is a place in its packets."""
    return str(layer._name or layer.__name__)


def _body2(layer: Any, body: bytes, size: int) -> Any:
    """A body of SMB 2, of which `size` bytes must be there."""
    if len(body) < size:
        raise _BadBodyError(Layer.SMB2, _title(layer), "too_short")
    try:
        return layers.reader(layer)(body)
    except Exception as problem:  # of whatever kind: scapy names none
        raise _BadBodyError(Layer.SMB2, _title(layer), "dissector_failed") from problem


def _file_id(layer: Any) -> dict[str, int]:
    return {"file_hi": layer.Persistent, "file_lo": layer.Volatile}


def _header_smb2(header: Any, message: Message, before: dict[str, Any] | None, link: int) -> dict[str, Any]:
    """[MS-SMB2 2.2.1.2] A related PDU takes session and tree of the one before it [MS-SMB2 3.3.5.2.7.2]."""
    flags = header.Flags
    found = 0
    if flags & SIGNED:
        found |= Flag.SIGNED
    if flags & ASYNC:
        found |= Flag.ASYNC
    if flags & RELATED:
        found |= Flag.RELATED
    session = header.SessionId
    tree = NO_TREE if flags & ASYNC else header.TID
    if flags & RELATED and link and before is not None:
        session = before["session_id"] if session == NO_SESSION else session
        tree = before["tree_id"] if tree == NO_TREE else tree
    return {
        "kind": KINDS_SMB2.get(header.Command, Kind.OTHER), "key": header.MID,
        "status": header.Status if message.from_server else 0, "flags": found, "session_id": session, "tree_id": tree,
    }  # fmt: skip


def _header_smb1(header: Any, command: int, message: Message, link: int, more: bool) -> dict[str, Any]:
    """[MS-CIFS 2.2.3.1] A chain has one status: that of its last element [2.2.3.4]."""
    flags2 = header.Flags2
    found = 0
    # Unsigned messages have zeros there, or the text of clients that cannot sign yet.
    if flags2 & SIGNATURE and header.SecuritySignature not in (bytes(8), b"BSRSPYL "):
        found |= Flag.SIGNED
    if not flags2 & NT_STATUS:
        found |= Flag.DOS_STATUS
    if link:
        found |= Flag.CHAINED
    if message.cut:
        found |= Flag.CUT
    return {
        "kind": KINDS_SMB1.get(command, Kind.OTHER),
        "key": NO_KEY | command << 32 | header.PIDLow << 16 | header.MID,
        "status": header.Status if message.from_server and not more else 0,
        "flags": found, "session_id": header.UID, "tree_id": header.TID,
    }  # fmt: skip


def _table(record: Any, rows: list[dict[str, Any]], missing: dict[str, int], skip: tuple[str, ...] = ()) -> Rows:
    made = np.zeros(len(rows), dtype=record)
    for name in record.names:
        if name not in skip:
            made[name] = [row.get(name, missing.get(name, 0)) for row in rows]
    return made


def _ends(flows: list[Flow], record: Any) -> Rows:
    made = np.zeros(len(flows), dtype=record)
    for place, flow in enumerate(flows):
        row = made[place]
        row["connection"] = flow.number
        for side, (address, port) in (("client", flow.client), ("server", flow.server)):
            row[f"{side}_hi"] = int.from_bytes(address[:8], "big", signed=True)
            row[f"{side}_lo"] = int.from_bytes(address[8:], "big", signed=True)
            row[f"{side}_port"] = port
        row["capture_no"], row["frame"] = flow.first.capture_no, flow.first.frame
        if record is CONNECTION_END:
            client, server = flow.directions
            row["last_capture_no"] = flow.last.capture_no
            row["first_ns"], row["last_ns"], row["packets"] = flow.first.time_ns, flow.last_ns, flow.packets
            row["midstream"] = flow.midstream and not (flow.syn or flow.syn_ack)
            row["closed_by"] = flow.closed_by
            row["established"] = flow.syn_ack or any(flow.talked)
            row["client_bytes"], row["server_bytes"] = client.bytes, server.bytes
            row["missing_bytes"] = client.missing + server.missing
            row["unparsed_bytes"] = client.unparsed + server.unparsed
    return made
