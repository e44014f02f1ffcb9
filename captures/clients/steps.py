"""A client that does what it is told, step by step, on one connection: what ready-made programs cannot be made to do.

    steps.py ADDRESS [--port N] [--dialect 2.0.2|2.1|3.0|3.0.2|NT1] [--raw] [--plain] STEP...

Each STEP is one quoted argument; NAME is a label of our own for a session:
    logon NAME [USER PASSWORD]    a new session; without USER anonymous
    relogon NAME [USER PASSWORD]  authenticate again on the same session id (SMB 2)
    challenge NAME                begin to log on, and stop at the server's challenge
    logoff NAME
    tree NAME SHARE               tree connect; later steps of NAME use it
    use NAME OTHER                let NAME use the tree of OTHER (SMB 1: a TID belongs to no UID)
    open NAME PIPE                open the pipe and bind; `by open_andx` picks another way to open on SMB 1
    call NAME PIPE [HOW]          one harmless RPC call; HOW: transceive, write_read, transact
    close NAME PIPE
    ask NAME PIPE [HOW]           open, call and close in one step
    dfs NAME [PATH [LEVEL]]       ask for a DFS referral, of this version at most (4); without PATH for the domains
    rap NAME                      NetServerGetInfo by \\PIPE\\LANMAN (SMB 1)
    read NAME FILE                read a file of the disk share; write NAME FILE BYTES writes one
    connect                       a new TCP connection, with the same client GUID
    wait                          print "ready" and go on after a line on standard input
--raw: NTLMSSP without SPNEGO around it. --plain: SMB 1 without extended security.
Every step prints what the server answered; a refusal does not end the run.
"""

from __future__ import annotations

import argparse
import os
import socket
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pack
from impacket import nt_errors, ntlm

MORE, PENDING = 0xC0000016, 0x103
TRANSACT, DEFAULT = "transact", ""


class RefusedError(Exception):
    """The server answered a step with an error status."""


def name_of(status: int) -> str:
    return nt_errors.ERROR_MESSAGES.get(status, (f"0x{status:08X}",))[0]


class Connection:
    """A TCP connection that carries framed messages."""

    def __init__(self, address: str, port: int) -> None:
        self.socket = socket.create_connection((address, port), timeout=20)
        if port == 139:
            self.request_netbios_session()

    def request_netbios_session(self) -> None:
        names = [b"*SMBSERVER".ljust(15) + b"\x20", socket.gethostname().upper().encode().ljust(15) + b"\0"]
        encoded = [
            b"\x20" + bytes(65 + half for byte in name for half in (byte >> 4, byte & 15)) + b"\0" for name in names
        ]
        self.socket.sendall(b"\x81\0" + struct.pack(">H", 68) + b"".join(encoded))
        self.exactly(4)

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise RefusedError("connection closed by the server")
            data += piece
        return data

    def exchange(self, message: bytes) -> bytes:
        self.socket.sendall(pack.framed(message))
        return self.receive()

    def receive(self) -> bytes:
        return self.exactly(struct.unpack(">I", self.exactly(4))[0])


class Session:
    """What a label stands for: an id and what was opened under it."""

    def __init__(self) -> None:
        self.id = 0
        self.tree = 0
        self.handles: dict[str, bytes | int] = {}


class Client:
    """What both protocols share: the steps, and the dialogue of NTLMSSP."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.sessions: dict[str, Session] = {}
        self.guid = os.urandom(16)
        self.connect()

    def step(self, words: list[str]) -> str:
        verb, *rest = words
        method = getattr(self, f"do_{verb}")
        if verb in ("connect", "wait"):
            return method()
        session = self.sessions.setdefault(rest[0], Session())
        return method(session, *rest[1:]) or "STATUS_SUCCESS"

    def do_connect(self) -> str:
        self.connection.socket.close()
        self.sessions.clear()
        self.connect()
        return "connected"

    def do_wait(self) -> str:
        print("ready", flush=True)
        sys.stdin.readline()
        return "went on"

    def do_logon(self, session: Session, user: str = "", password: str = "") -> None:
        session.id = 0
        self.do_relogon(session, user, password)

    def do_relogon(self, session: Session, user: str = "", password: str = "") -> None:
        first = ntlm.getNTLMSSPType1("", "", False)
        wrap_first, wrap_last = (bytes, bytes) if self.options.raw else (pack.spnego_init, pack.spnego_answer)
        status, blob = self.setup(session, wrap_first(first.getData()))
        if status != MORE:
            raise RefusedError(name_of(status))
        last, _ = ntlm.getNTLMSSPType3(first, pack.ntlmssp_in(blob), user, password, "WORKGROUP" if user else "")
        last["host_name"] = socket.gethostname().upper().encode("utf-16-le")
        status, _ = self.setup(session, wrap_last(last.getData()))
        if status:
            raise RefusedError(name_of(status))

    def do_challenge(self, session: Session) -> None:
        token = ntlm.getNTLMSSPType1("", "", False).getData()
        status, _ = self.setup(session, token if self.options.raw else pack.spnego_init(token))
        raise RefusedError(name_of(status))

    def do_use(self, session: Session, other: str) -> None:
        session.tree = self.sessions[other].tree

    def do_ask(self, session: Session, pipe: str, how: str = DEFAULT, *by: str) -> str:
        self.do_open(session, pipe, how, *by)
        try:
            return self.do_call(session, pipe, how)
        finally:
            self.do_close(session, pipe)

    def do_open(self, session: Session, pipe: str, how: str = DEFAULT, *by: str) -> None:
        session.handles[pipe] = self.open(session, pipe, *by)
        if pipe in pack.INTERFACES:
            self.through(session, pipe, pack.rpc_bind(pipe), how)

    def do_call(self, session: Session, pipe: str, how: str = DEFAULT) -> str:
        opnum, stub = pack.question(pipe, self.options.address)
        answer = self.through(session, pipe, pack.rpc_request(opnum, stub), how)
        if answer[2] == 3:
            raise RefusedError(f"RPC fault 0x{struct.unpack_from('<I', answer, 24)[0]:08x}")
        return f"STATUS_SUCCESS, the answer ends in 0x{struct.unpack('<I', answer[-4:])[0]:08x}"


class Smb2(Client):
    def connect(self) -> None:
        self.connection = Connection(self.options.address, self.options.port)
        self.message_id = 0
        wanted = pack.DIALECTS[self.options.dialect]
        body = pack.negotiate_request([d for d in pack.DIALECTS.values() if d <= wanted], self.guid)
        self.exchange(Session(), pack.NEGOTIATE, body)

    def exchange(self, session: Session, command: int, body: bytes, tree: int = 0) -> tuple[int, bytes]:
        """(status, message); waits through STATUS_PENDING."""
        header = pack.smb2_header(command, self.message_id, session=session.id, tree=tree)
        self.message_id += 1
        answer = self.connection.exchange(header + body)
        while (status := struct.unpack_from("<I", answer, 8)[0]) == PENDING:
            answer = self.connection.receive()
        return status, answer

    def ask_for(self, session: Session, command: int, body: bytes) -> bytes:
        status, answer = self.exchange(session, command, body, session.tree)
        if status:
            raise RefusedError(name_of(status))
        return answer

    def setup(self, session: Session, blob: bytes) -> tuple[int, bytes]:
        status, answer = self.exchange(session, pack.SESSION_SETUP, pack.setup_request(blob))
        session.id = struct.unpack_from("<Q", answer, 40)[0] or session.id
        return status, answer

    def do_logoff(self, session: Session) -> None:
        self.ask_for(session, pack.LOGOFF, pack.four_bytes())

    def do_tree(self, session: Session, share: str) -> None:
        path = f"\\\\{self.options.address}\\{share}"
        status, answer = self.exchange(session, pack.TREE_CONNECT, pack.tree_request(path))
        if status:
            raise RefusedError(name_of(status))
        session.tree = struct.unpack_from("<I", answer, 36)[0]

    def open(self, session: Session, name: str, access: int = 0x0012019F, disposition: int = 1) -> bytes:
        return self.ask_for(session, pack.CREATE, pack.create_request(name, access, disposition))[128:144]

    def through(self, session: Session, pipe: str, pdu: bytes, how: str) -> bytes:
        handle = session.handles[pipe]
        if how == "write_read":
            self.ask_for(session, pack.WRITE, pack.write_request(handle, pdu))
            answer = self.ask_for(session, pack.READ, pack.read_request(handle))
            return answer[80:]
        answer = self.ask_for(session, pack.IOCTL, pack.ioctl_request(pack.FSCTL_PIPE_TRANSCEIVE, handle, pdu))
        at, size = struct.unpack_from("<II", answer, 64 + 32)
        return answer[at : at + size]

    def do_close(self, session: Session, pipe: str) -> None:
        self.ask_for(session, pack.CLOSE, pack.close_request(session.handles.pop(pipe)))

    def do_dfs(self, session: Session, path: str = "", level: str = "4") -> None:
        asked = pack.dfs_referral_request(path, int(level))
        request = pack.ioctl_request(pack.FSCTL_DFS_GET_REFERRALS, pack.NO_FILE, asked)
        self.ask_for(session, pack.IOCTL, request)

    def do_read(self, session: Session, file: str) -> None:
        session.handles[file] = self.open(session, file, 0x00120089)
        self.ask_for(session, pack.READ, pack.read_request(session.handles[file]))
        self.do_close(session, file)

    def do_write(self, session: Session, file: str, count: str) -> None:
        session.handles[file] = self.open(session, file, 0x00120116, 5)
        self.ask_for(session, pack.WRITE, pack.write_request(session.handles[file], b"x" * int(count)))
        self.do_close(session, file)


class Smb1(Client):
    def connect(self) -> None:
        self.connection = Connection(self.options.address, self.options.port)
        self.mid = 0
        self.flags2 = 0xC001 | (0 if self.options.plain else pack.EXTENDED)
        _, answer = self.exchange(Session(), 0x72, pack.smb1_negotiate_request("NT LM 0.12"))
        self.challenge = answer[69:77]  # after the header (32), the words (1 + 34) and the byte count (2)

    def exchange(self, session: Session, command: int, body: bytes) -> tuple[int, bytes]:
        self.mid += 1
        header = pack.smb1_header(command, flags2=self.flags2, tree=session.tree, uid=session.id, mid=self.mid)
        answer = self.connection.exchange(header + body)
        return struct.unpack_from("<I", answer, 5)[0], answer

    def ask_for(self, session: Session, command: int, body: bytes) -> bytes:
        status, answer = self.exchange(session, command, body)
        if status:
            raise RefusedError(name_of(status))
        return answer

    def setup(self, session: Session, blob: bytes) -> tuple[int, bytes]:
        status, answer = self.exchange(session, 0x73, pack.smb1_setup_extended(blob))
        session.id = struct.unpack_from("<H", answer, 28)[0]
        return status, answer

    def do_relogon(self, session: Session, user: str = "", password: str = "") -> None:
        if not self.options.plain:
            super().do_relogon(session, user, password)
            return
        oem, unicode = b"\0", b""
        if user:
            oem = ntlm.get_ntlmv1_response(ntlm.compute_lmhash(password), self.challenge)
            unicode = ntlm.get_ntlmv1_response(ntlm.compute_nthash(password), self.challenge)
        answer = self.ask_for(session, 0x73, pack.smb1_setup_plain(oem, unicode, user, "WORKGROUP" if user else ""))
        session.id = struct.unpack_from("<H", answer, 28)[0]

    def do_logoff(self, session: Session) -> None:
        self.ask_for(session, 0x74, pack.smb1_body(pack.ANDX_END))

    def do_tree(self, session: Session, share: str) -> None:
        session.tree = 0
        answer = self.ask_for(session, 0x75, pack.smb1_tree_request(f"\\\\{self.options.address}\\{share}"))
        session.tree = struct.unpack_from("<H", answer, 24)[0]

    def open(self, session: Session, name: str, by: str = "nt_create_andx") -> int:
        if by == "open_andx":
            answer = self.ask_for(session, 0x2D, pack.smb1_open_andx_request(f"\\PIPE\\{name}"))
            return struct.unpack_from("<H", answer, 37)[0]
        return struct.unpack_from("<H", self.ask_for(session, 0xA2, pack.smb1_nt_create_request(f"\\{name}")), 38)[0]

    def through(self, session: Session, pipe: str, pdu: bytes, how: str) -> bytes:
        fid = session.handles[pipe]
        if how == "write_read":
            self.ask_for(session, 0x2F, pack.smb1_write_request(fid, pdu))
            answer = self.ask_for(session, 0x2E, pack.smb1_read_request(fid))
            size, at = struct.unpack_from("<HH", answer, 43)
        else:
            answer = self.ask_for(
                session, 0x25, pack.smb1_transaction(struct.pack("<HH", 0x26, fid), "\\PIPE\\", b"", pdu)
            )
            size, at = struct.unpack_from("<HH", answer, 45)
        return answer[at : at + size]

    def do_close(self, session: Session, pipe: str) -> None:
        self.ask_for(session, 0x04, pack.smb1_close_request(session.handles.pop(pipe)))

    def do_dfs(self, session: Session, path: str = "", level: str = "4") -> None:
        self.ask_for(session, 0x32, pack.smb1_dfs_referral_request(path, int(level)))

    def do_rap(self, session: Session) -> str:
        parameters = struct.pack("<H", 13) + b"WrLh\0" + b"B16BBDz\0" + struct.pack("<HH", 1, 4096)
        answer = self.ask_for(
            session, 0x25, pack.smb1_transaction(b"", "\\PIPE\\LANMAN", parameters, b"", max_parameters=8)
        )
        return f"RAP status {struct.unpack_from('<H', answer, struct.unpack_from('<H', answer, 41)[0])[0]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("--port", type=int, default=445)
    parser.add_argument("--dialect", choices=[*pack.DIALECTS, "NT1"], default="2.1")
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("steps", nargs="+", metavar="STEP")
    options = parser.parse_args()
    client = Smb1(options) if options.dialect == "NT1" else Smb2(options)
    for step in options.steps:
        try:
            result = client.step(step.split())
        except RefusedError as refusal:
            result = str(refusal)
        print(f"{step}: {result}", flush=True)


if __name__ == "__main__":
    main()
