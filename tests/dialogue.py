"""Whole SMB conversations for tests, on the bytes of `tests/build.py`: who says what, and what the server answers.

A `Smb2` or `Smb1` is a TCP connection. Each step sends a request and its answer, and returns the segments that carried
them, so that a test knows the frame that a row must name, and can take a segment out of the capture (`lose`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import build
from tests.build import (
    ACCESS_DENIED,
    IOCTL,
    MORE_PROCESSING,
    NTLM_ANONYMOUS,
    NTLM_FLAGS,
    RESPONSE,
    SUCCESS,
    Conversation,
    FileId,
    Packet,
    Segment,
)

LOGON_FAILURE, BAD_NETWORK_NAME, NAME_NOT_FOUND = 0xC000006D, 0xC00000CC, 0xC0000034
IS_GUEST, IS_NULL, ENCRYPT_DATA = 1, 2, 4
TRANSCEIVE, DFS_REFERRALS = 0x0011C017, 0x00060194
DISK, PIPE = 1, 2
SECOND = 1_000_000_000
CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
VERSION = (10, 0, 19041)
RESPONSES = {"lm": bytes(24), "nt": bytes(range(60))}
"""What a client that knows a password sends; nobody can check it."""

AS_WINDOWS = build.ntlm_authenticate(
    lm=b"\0", workstation="WS10", flags=NTLM_FLAGS | NTLM_ANONYMOUS, key=bytes(16), version=VERSION
)
AS_SAMBA = build.ntlm_authenticate(workstation="LINUX1", flags=NTLM_FLAGS | NTLM_ANONYMOUS, key=bytes(16))
AS_IMPACKET = build.ntlm_authenticate(lm=b"\0")
AS_OLD_LIBRARY = build.ntlm_authenticate()
ANONYMOUS = AS_WINDOWS


def named(user: str, domain: str = "CORP", **responses: bytes) -> bytes:
    """AUTHENTICATE of somebody, with responses if none are given."""
    return build.ntlm_authenticate(user, domain=domain, workstation="WS10", version=VERSION, **(responses or RESPONSES))


ALICE = named("alice")


@dataclass(frozen=True, slots=True)
class Exchange:
    """The segments of a request and of its answer."""

    request: Segment | None
    answer: Segment | None


class Smb2:
    """An SMB 2 or 3 connection. `at`: when it begins, in seconds after the first; `opened`: with its TCP handshake;
    `isn`: the client's first sequence number."""

    def __init__(
        self,
        client: str = CLIENT,
        server: str = SERVER,
        *,
        port: int = 49_152,
        server_port: int = 445,
        at: float = 0,
        dialect: int | None = 0x0210,
        guid: bytes = bytes(range(16)),
        server_guid: bytes = bytes(range(16, 32)),
        opened: bool = True,
        isn: int = 1_000,
    ) -> None:
        self.tcp = Conversation(
            (client, port), (server, server_port), isn, isn + 4_000, now_ns=build.START_NS + int(at * SECOND)
        )
        self.message_id = 0
        if opened:
            self.tcp.open()
        if dialect is not None:
            self.exchange(
                build.NEGOTIATE,
                build.negotiate_request((0x0202, 0x0210, 0x0300, 0x0302, 0x0311), guid=guid),
                build.negotiate_answer(dialect, guid=server_guid),
            )

    def wait(self, seconds: float) -> None:
        """Nothing happens for so long."""
        self.tcp.now_ns += int(seconds * SECOND)

    def ask(self, command: int, body: bytes, **header: Any) -> Segment:
        """A request only."""
        self.message_id += 1
        header.setdefault("message_id", self.message_id)
        return self.tcp.client(build.framed(build.smb2(command, body, **header)))

    def answer(self, command: int, body: bytes, *, status: int = SUCCESS, flags: int = 0, **header: Any) -> Segment:
        """An answer only, to the last request unless `message_id` says otherwise; errors have the error body."""
        body = body if status in (SUCCESS, MORE_PROCESSING, build.BUFFER_OVERFLOW) else build.error_answer()
        header.setdefault("message_id", self.message_id)
        return self.tcp.server(build.framed(build.smb2(command, body, status=status, flags=RESPONSE | flags, **header)))

    def exchange(
        self,
        command: int,
        request: bytes,
        answer: bytes,
        *,
        status: int = SUCCESS,
        session: int = 0,
        tree: int = 0,
        new_session: int | None = None,
        new_tree: int | None = None,
        flags: int = 0,
    ) -> Exchange:
        """A request and its answer. new_session, new_tree: the ids that the answer gives; flags: of both headers."""
        sent = self.ask(command, request, session_id=session, tree_id=tree, flags=flags)
        got = self.answer(
            command,
            answer,
            status=status,
            flags=flags,
            session_id=session if new_session is None else new_session,
            tree_id=tree if new_tree is None else new_tree,
        )
        return Exchange(sent, got)

    def challenge(self, session: int, *, known: bool = False, flags: int = 0) -> Exchange:
        """The first leg of an NTLMSSP login. known: the id is in use already; flags: 1 binds."""
        token = build.spnego_init(build.ntlm_negotiate())
        more = build.spnego_answer(build.ntlm_challenge("CORP"), state=1, mechanism=build.OID_NTLMSSP)
        return self.exchange(
            build.SESSION_SETUP,
            build.setup_request(token, flags=flags),
            build.setup_answer(more),
            status=MORE_PROCESSING,
            session=session if known else 0,
            new_session=session,
        )

    def authenticate(
        self,
        session: int,
        token: bytes = ANONYMOUS,
        *,
        status: int = SUCCESS,
        session_flags: int = 0,
        final: int = 0,
        flags: int = 0,
    ) -> Exchange:
        """The last leg. session_flags, final: SessionFlags and header flags of the answer."""
        self_id = self.ask(
            build.SESSION_SETUP, build.setup_request(build.spnego_answer(token), flags=flags), session_id=session
        )
        got = self.answer(
            build.SESSION_SETUP,
            build.setup_answer(build.spnego_answer(state=0), session_flags=session_flags),
            status=status,
            flags=final,
            session_id=session,
        )
        return Exchange(self_id, got)

    def login(self, session: int, token: bytes = ANONYMOUS, *, known: bool = False, **last: Any) -> Exchange:
        """Both legs of an NTLMSSP login; returns the last."""
        self.challenge(session, known=known)
        return self.authenticate(session, token, **last)

    def one_leg(
        self, session: int, blob: bytes, *, status: int = SUCCESS, session_flags: int = 0, known: bool = False
    ) -> Exchange:
        """A login that needs one round, such as Kerberos."""
        return self.exchange(
            build.SESSION_SETUP,
            build.setup_request(blob),
            build.setup_answer(build.spnego_answer(state=0), session_flags=session_flags),
            status=status,
            session=session if known else 0,
            new_session=session,
        )

    def tree(self, session: int, tree: int, share: str = "IPC$", *, status: int = SUCCESS, flags: int = 0) -> Exchange:
        """TREE_CONNECT."""
        kind = PIPE if share == "IPC$" else DISK
        return self.exchange(
            build.TREE_CONNECT,
            build.tree_request(rf"\\FILES1\{share}"),
            build.tree_answer(kind),
            status=status,
            session=session,
            new_tree=tree if status == SUCCESS else 0,
            flags=flags,
        )

    def create(
        self, session: int, tree: int, name: str, file_id: FileId, *, status: int = SUCCESS, flags: int = 0
    ) -> Exchange:
        """CREATE."""
        return self.exchange(
            build.CREATE,
            build.create_request(name),
            build.create_answer(file_id),
            status=status,
            session=session,
            tree=tree,
            flags=flags,
        )

    def write(self, session: int, tree: int, file_id: FileId, data: bytes) -> Exchange:
        """WRITE."""
        body, answer = build.write_request(file_id, data), build.write_answer(len(data))
        return self.exchange(build.WRITE, body, answer, session=session, tree=tree)

    def read(self, session: int, tree: int, file_id: FileId, data: bytes, *, status: int = SUCCESS) -> Exchange:
        """READ."""
        body, answer = build.read_request(file_id), build.read_answer(data)
        return self.exchange(build.READ, body, answer, session=session, tree=tree, status=status)

    def transceive(self, session: int, tree: int, file_id: FileId, data: bytes, output: bytes) -> Exchange:
        """FSCTL_PIPE_TRANSCEIVE."""
        return self.control(session, tree, TRANSCEIVE, data, output, file_id=file_id)

    def control(
        self,
        session: int,
        tree: int,
        code: int,
        data: bytes = b"",
        output: bytes = b"",
        *,
        file_id: FileId = build.NO_FILE,
        status: int = SUCCESS,
    ) -> Exchange:
        """Any IOCTL."""
        body, answer = build.ioctl_request(code, file_id, data), build.ioctl_answer(code, file_id, output)
        return self.exchange(IOCTL, body, answer, session=session, tree=tree, status=status)

    def dfs(self, session: int, tree: int, path: str = r"\FILES1\dfs", *, status: int = SUCCESS) -> Exchange:
        """FSCTL_DFS_GET_REFERRALS. [MS-DFSC 2.2.2]"""
        asked = b"\x04\0" + build.utf16(path + "\0")
        return self.control(session, tree, DFS_REFERRALS, asked, bytes(8), status=status)

    def close(self, session: int, tree: int, file_id: FileId) -> Exchange:
        """CLOSE."""
        answer = build.packed(("structure_size", "H", 60), ("rest", "58s", bytes(58)))
        return self.exchange(build.CLOSE, build.close_request(file_id), answer, session=session, tree=tree)

    def disconnect(self, session: int, tree: int) -> Exchange:
        """TREE_DISCONNECT."""
        return self.exchange(build.TREE_DISCONNECT, b"\4\0\0\0", b"\4\0\0\0", session=session, tree=tree)

    def logoff(self, session: int) -> Exchange:
        """LOGOFF."""
        return self.exchange(build.LOGOFF, b"\4\0\0\0", b"\4\0\0\0", session=session)

    def use(self, session: int, tree: int, pipe: str, file_id: FileId = (7, 7)) -> Exchange:
        """Open a pipe, ask, get an answer, close; returns the open."""
        opened = self.create(session, tree, pipe, file_id)
        self.transceive(session, tree, file_id, bytes(72), bytes(60))
        self.close(session, tree, file_id)
        return opened

    def anonymous_use(self, session: int, pipe: str, *, tree: int = 1) -> Exchange:
        """Log in anonymously, connect IPC$, use a pipe; returns the open."""
        self.login(session)
        self.tree(session, tree)
        return self.use(session, tree, pipe)

    def refused_use(self, session: int, pipe: str, *, tree: int = 1, status: int = ACCESS_DENIED) -> Exchange:
        """Log in anonymously, connect IPC$, be refused a pipe; returns the open."""
        self.login(session)
        self.tree(session, tree)
        return self.create(session, tree, pipe, (0, 0), status=status)

    def credentialed_use(self, session: int, pipe: str, *, tree: int = 1, user: bytes = ALICE) -> Exchange:
        """Log in as somebody, connect IPC$, use a pipe; returns the open."""
        self.login(session, user)
        self.tree(session, tree)
        return self.use(session, tree, pipe)


class Smb1:
    """An SMB 1 connection. extended: extended security; security_mode: bit 0 clear is a share-level server."""

    def __init__(
        self,
        client: str = CLIENT,
        server: str = SERVER,
        *,
        port: int = 49_152,
        at: float = 0,
        security_mode: int = 3,
        extended: bool = False,
        negotiated: bool = True,
    ) -> None:
        self.tcp = Conversation((client, port), (server, 445), now_ns=build.START_NS + int(at * SECOND)).open()
        self.mid = 0
        self.flags2 = build.FLAGS2 if extended else build.FLAGS2 & ~build.FLAGS2_EXTENDED
        if negotiated:
            capabilities = 0x8000E3FD if extended else 0x0000E3FD
            answer = build.smb1_negotiate_answer(
                1,
                security_mode=security_mode,
                capabilities=capabilities,
                challenge=b"" if extended else bytes(8),
                data=bytes(16) if extended else b"",
            )
            self.exchange(build.smb1_negotiate(), answer)

    def wait(self, seconds: float) -> None:
        """Nothing happens for so long."""
        self.tcp.now_ns += int(seconds * SECOND)

    def exchange(
        self,
        request: build.Smb1 | Sequence[build.Smb1],
        answer: build.Smb1 | Sequence[build.Smb1],
        *,
        status: int = SUCCESS,
        uid: int = 0,
        tid: int = 0,
        new_uid: int | None = None,
        new_tid: int | None = None,
    ) -> Exchange:
        """A request and its answer; several commands are a chain."""
        self.mid += 1
        asked = [request] if isinstance(request, build.Smb1) else request
        said = [answer] if isinstance(answer, build.Smb1) else answer
        same = {"mid": self.mid, "flags2": self.flags2}
        sent = self.tcp.client(build.framed(build.smb1(*asked, uid=uid, tid=tid, **same)))
        got = self.tcp.server(
            build.framed(
                build.smb1(
                    *said,
                    status=status,
                    flags=0x98,
                    uid=uid if new_uid is None else new_uid,
                    tid=tid if new_tid is None else new_tid,
                    **same,
                )
            )
        )
        return Exchange(sent, got)

    def login(
        self,
        uid: int,
        user: str = "",
        *,
        oem: bytes = b"\0",
        unicode: bytes = b"",
        action: int = 0,
        status: int = SUCCESS,
    ) -> Exchange:
        """SESSION_SETUP_ANDX without extended security."""
        request = build.smb1_setup(user, "CORP", "Windows 4.0", "LM 4.0", oem_password=oem, unicode_password=unicode)
        answer = build.smb1_setup_answer(action, "Unix", "Samba", "CORP") if status == SUCCESS else build.failed(0x73)
        return self.exchange(request, answer, status=status, new_uid=uid if status == SUCCESS else 0)

    def login_extended(self, uid: int, token: bytes = ANONYMOUS, *, action: int = 0, status: int = SUCCESS) -> Exchange:
        """Both legs of an NTLMSSP login with extended security; returns the last."""
        self.exchange(
            build.smb1_setup_blob(build.spnego_init(build.ntlm_negotiate()), "Unix", "Samba"),
            build.smb1_setup_answer(0, "Unix", "Samba", token=build.spnego_answer(build.ntlm_challenge(), state=1)),
            status=MORE_PROCESSING,
            new_uid=uid,
        )
        last = build.smb1_setup_answer(action, "Unix", "Samba", token=build.spnego_answer(state=0))
        return self.exchange(
            build.smb1_setup_blob(build.spnego_answer(token), "Unix", "Samba"),
            last if status == SUCCESS else build.failed(0x73),
            status=status,
            uid=uid,
        )

    def tree(
        self,
        uid: int,
        tid: int,
        share: str = "IPC$",
        *,
        password: bytes = b"\0",
        status: int = SUCCESS,
    ) -> Exchange:
        """TREE_CONNECT_ANDX."""
        service = b"IPC" if share == "IPC$" else b"A:"
        answer = build.smb1_tree_answer(service) if status == SUCCESS else build.failed(0x75)
        return self.exchange(
            build.smb1_tree(rf"\\FILES1\{share}", password=password), answer, status=status, uid=uid, new_tid=tid
        )

    def create(self, uid: int, tid: int, name: str, fid: int, *, status: int = SUCCESS) -> Exchange:
        """NT_CREATE_ANDX of a pipe."""
        answer = build.nt_create_answer(fid, 2) if status == SUCCESS else build.failed(0xA2)
        return self.exchange(build.nt_create(name), answer, status=status, uid=uid, tid=tid)

    def transact(self, uid: int, tid: int, fid: int, data: bytes, output: bytes) -> Exchange:
        """TransactNmPipe. [MS-CIFS 2.2.5.6]"""
        request = build.transaction("\\PIPE\\", setup=(0x26, fid), data=data)
        return self.exchange(request, build.transaction_answer(data=output), uid=uid, tid=tid)

    def rap(self, uid: int, tid: int, function: int = 0, *, status: int = SUCCESS) -> Exchange:
        """A RAP call: NetShareEnum unless another function is named. [MS-RAP 2.5.4]"""
        parameters = function.to_bytes(2, "little") + b"WrLeh\0B13BWz\0\x01\0\xe8\x03"
        request = build.transaction("\\PIPE\\LANMAN", parameters=parameters)
        answer = build.transaction_answer(parameters=bytes(8)) if status == SUCCESS else build.failed(0x25)
        return self.exchange(request, answer, status=status, uid=uid, tid=tid)

    def close(self, uid: int, tid: int, fid: int) -> Exchange:
        """CLOSE."""
        return self.exchange(build.smb1_close(fid), build.failed(0x04), uid=uid, tid=tid)

    def disconnect(self, uid: int, tid: int) -> Exchange:
        """TREE_DISCONNECT."""
        return self.exchange(build.failed(0x71), build.failed(0x71), uid=uid, tid=tid)

    def logoff(self, uid: int) -> Exchange:
        """LOGOFF_ANDX."""
        return self.exchange(build.Smb1(0x74, b""), build.Smb1(0x74, b""), uid=uid)


Talk = Smb1 | Smb2


def segments_of(*talks: Talk | Conversation) -> list[Segment]:
    """The segments of conversations as one capture has them: in the order of time."""
    conversations = [talk if isinstance(talk, Conversation) else talk.tcp for talk in talks]
    return sorted((s for one in conversations for s in one.segments), key=lambda segment: segment.time_ns)


def frame_of(segment: Segment | None, *talks: Talk | Conversation) -> int:
    """The number, from 1, of the packet with this segment in the capture of these conversations."""
    places = [number for number, other in enumerate(segments_of(*talks), 1) if other is segment]
    assert len(places) == 1, "the segment must be in the capture once"
    return places[0]


def lose(talk: Talk, *segments: Segment | None) -> None:
    """The capture does not have these segments of a connection."""
    talk.tcp.segments = [kept for kept in talk.tcp.segments if all(kept is not lost for lost in segments)]


def packets_of(segments: Iterable[Segment]) -> list[Packet]:
    """As captured packets."""
    return [segment.packet() for segment in segments]


def write(path: Path, *talks: Talk | Conversation) -> Path:
    """A pcap file of these conversations."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(build.pcap(packets_of(segments_of(*talks)), nano=True))
    return path


def file_id(number: int) -> FileId:
    """A file id that tells its number."""
    return number, number << 8
