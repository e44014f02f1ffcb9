#!/usr/bin/env python3
"""Build the captures that Samba cannot give: what Windows servers and old servers do, byte by byte from the documents.

    python3 captures/build.py [NAME...]        (needs scapy; no root, no network)

Every capture is whole TCP with handshake, sequence numbers and an end, unless its story is that something is missing.
The client is always Windows in shape ([MS-NLMP] 3.3.1): an anonymous AUTHENTICATE has the anonymous flag, an LM
response of one zero byte, a workstation name and a Version.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import pack  # noqa: E402
from scapy.layers.dhcp import BOOTP, DHCP  # noqa: E402
from scapy.layers.dns import DNS, DNSQR, DNSRR  # noqa: E402
from scapy.layers.inet import IP, TCP, UDP  # noqa: E402
from scapy.layers.l2 import Ether  # noqa: E402
from scapy.utils import wrpcap  # noqa: E402

START = 1_715_680_800.0  # 2024-05-14 10:00:00 UTC
FILETIME = 133_601_544_000_000_000  # the same as a FILETIME
SERVER, CLIENT = "10.77.0.2", "10.77.0.10"
CLIENT_GUID = bytes.fromhex("a1b2c3d4e5f60718293a4b5c6d7e8f90")
SERVER_GUID = bytes.fromhex("0f1e2d3c4b5a69788796a5b4c3d2e1f0")
ACCESS_DENIED, MORE, LOGON_FAILURE, NOT_FOUND = 0xC0000022, 0xC0000016, 0xC000006D, 0xC0000225
IS_NULL = 0x0002
ANONYMOUS_FLAGS = 0xE2888A15  # with NTLMSSP_NEGOTIATE_ANONYMOUS, 0x800
USER_FLAGS = 0xE2888215
BUILDERS: dict[str, Callable[[], list]] = {}


def capture(file: str) -> Callable:
    def register(build: Callable[[], list]) -> Callable:
        BUILDERS[file] = build
        return build

    return register


class Stream:
    """One TCP connection as a list of frames; `clock` goes on from where the last stream stopped."""

    clock = START

    def __init__(
        self,
        client: str = CLIENT,
        server: str = SERVER,
        *,
        client_port: int = 49800,
        port: int = 445,
        hardware: str = "",
        client_ttl: int = 64,
    ) -> None:
        """hardware: whose frames the client's packets come in, if not its own; client_ttl: less behind a router."""
        self.hardware, self.client_ttl = hardware or mac(client), client_ttl
        self.ends = {True: (client, client_port), False: (server, port)}  # True: sent by the client
        self.next = {True: 0x10000000 + client_port, False: 0x20000000 + client_port}
        self.frames: list = []

    def send(self, by_client: bool, payload: bytes = b"", flags: str = "PA", *, captured: bool = True) -> None:
        """One segment; captured=False sends it past the capture point, which leaves a gap."""
        (source, source_port), (target, target_port) = self.ends[by_client], self.ends[not by_client]
        cards = {True: self.hardware, False: mac(self.ends[False][0])}
        ethernet = Ether(src=cards[by_client], dst=cards[not by_client])
        tcp = TCP(sport=source_port, dport=target_port, flags=flags, seq=self.next[by_client], window=8192,
                  ack=0 if flags == "S" else self.next[not by_client])  # fmt: skip
        frame = ethernet / IP(src=source, dst=target, ttl=self.client_ttl if by_client else 64) / tcp / payload
        frame.time = Stream.clock
        Stream.clock += 0.0004
        self.next[by_client] += len(payload) + ("S" in flags) + ("F" in flags)
        if captured:
            self.frames.append(frame)

    def open(self) -> Stream:
        for by_client, flags in ((True, "S"), (False, "SA"), (True, "A")):
            self.send(by_client, flags=flags)
        return self

    def netbios(self) -> Stream:
        """NetBIOS session request and its positive answer: [RFC1002] 4.3."""
        names = (b"FILES1".ljust(15) + b"\x20", b"WS10".ljust(15) + b"\0")
        coded = b"".join(
            b"\x20" + bytes(65 + half for byte in name for half in (byte >> 4, byte & 15)) + b"\0" for name in names
        )
        self.send(True, b"\x81\0" + struct.pack(">H", len(coded)) + coded)
        self.send(False, b"\x82\0\0\0")
        return self

    def close(self) -> None:
        for by_client, flags in ((True, "FA"), (False, "FA"), (True, "A")):
            self.send(by_client, flags=flags)

    def reset(self) -> None:
        """The server drops the connection."""
        self.send(False, flags="RA")


def mac(address: str) -> str:
    return f"02:00:00:00:00:{int(address.split('.')[3]):02x}"


class Smb2:
    """Requests and answers of one SMB 2 connection."""

    def __init__(
        self, stream: Stream, dialect: int, *, workstation: str = "WS10", client_guid: bytes = CLIENT_GUID
    ) -> None:
        self.stream, self.dialect, self.message_id = stream, dialect, 0
        self.workstation, self.client_guid = workstation, client_guid

    def ask(
        self,
        command: int,
        request: bytes,
        answer: bytes | None,
        *,
        session: int = 0,
        tree: int = 0,
        status: int = 0,
        new_session: int | None = None,
        new_tree: int | None = None,
        captured: bool = True,
    ) -> None:
        """A request and its answer (None: the server says nothing); an error status replaces the answer's body."""
        header = pack.smb2_header(command, self.message_id, session=session, tree=tree)
        self.stream.send(True, pack.framed(header + request))
        if answer is not None:
            body = pack.smb2_error() if status not in (0, MORE) else answer
            head = pack.smb2_header(command, self.message_id, session=session if new_session is None else new_session,
                                    tree=tree if new_tree is None else new_tree, status=status, flags=1)  # fmt: skip
            self.stream.send(False, pack.framed(head + body), captured=captured)
        self.message_id += 1

    def negotiate(self) -> None:
        dialects = [d for d in pack.DIALECTS.values() if d <= self.dialect]
        answer = pack.negotiate_response(self.dialect, SERVER_GUID, pack.spnego_init(None), time=FILETIME)
        self.ask(pack.NEGOTIATE, pack.negotiate_request(dialects, self.client_guid), answer)

    def logon(
        self, session: int, *, user: str = "", session_flags: int = 0, status: int = 0, captured: bool = True
    ) -> None:
        challenge = pack.ntlm_challenge("CORP", "FILES1", bytes(range(1, 9)), time=FILETIME)
        first = pack.setup_request(pack.spnego_init(pack.ntlm_negotiate()))
        more = pack.setup_response(pack.spnego_answer(challenge, 1, name_mechanism=True))
        self.ask(pack.SESSION_SETUP, first, more, new_session=session, status=MORE)
        answer = pack.setup_response(pack.spnego_answer(None, 0), session_flags)
        blob = pack.spnego_answer(authenticate(user, self.workstation))
        self.ask(
            pack.SESSION_SETUP, pack.setup_request(blob), answer, session=session, status=status, captured=captured
        )

    def tree(self, session: int, tree: int, share: str = "IPC$", *, status: int = 0, answered: bool = True) -> None:
        answer = pack.tree_response(2 if share == "IPC$" else 1) if answered else None
        self.ask(pack.TREE_CONNECT, pack.tree_request(f"\\\\FILES1\\{share}"), answer, session=session, status=status,
                 new_tree=0 if status else tree)  # fmt: skip

    def open(self, session: int, tree: int, pipe: str, file_id: bytes, *, status: int = 0) -> None:
        self.ask(
            pack.CREATE,
            pack.create_request(pipe),
            pack.create_response(file_id),
            session=session,
            tree=tree,
            status=status,
        )

    def transceive(self, session: int, tree: int, file_id: bytes, request: bytes, answer: bytes) -> None:
        code = pack.FSCTL_PIPE_TRANSCEIVE
        self.ask(pack.IOCTL, pack.ioctl_request(code, file_id, request), pack.ioctl_response(code, file_id, answer),
                 session=session, tree=tree)  # fmt: skip

    def use(self, session: int, tree: int, pipe: str, file_id: bytes) -> None:
        """Open the pipe, bind, ask one harmless question that is answered, close."""
        self.open(session, tree, pipe, file_id)
        self.transceive(session, tree, file_id, pack.rpc_bind(pipe), pack.rpc_bind_ack(f"\\PIPE\\{pipe}"))
        self.talk(session, tree, pipe, file_id)
        self.ask(pack.CLOSE, pack.close_request(file_id), pack.close_response(), session=session, tree=tree)

    def talk(self, session: int, tree: int, pipe: str, file_id: bytes) -> None:
        self.transceive(
            session,
            tree,
            file_id,
            pack.rpc_request(*pack.question(pipe, "FILES1")),
            pack.rpc_response(good_answer(pipe)),
        )

    def end(self, session: int) -> None:
        self.ask(pack.LOGOFF, pack.four_bytes(), pack.four_bytes(), session=session)
        self.stream.close()


def authenticate(user: str, workstation: str = "WS10") -> bytes:
    """AUTHENTICATE as a Windows 10 client sends it; responses of a user are filler, nobody can check them."""
    same = {"workstation": workstation, "key": bytes(range(16)), "mic": bytes(range(16))}
    if not user:
        return pack.ntlm_authenticate(lm=b"\0", nt=b"", domain="", user="", flags=ANONYMOUS_FLAGS, **same)
    pairs = struct.pack("<HHQHH", 7, 8, FILETIME, 0, 0)
    nt = bytes(range(16)) + struct.pack("<BBHIQ8sI", 1, 1, 0, 0, FILETIME, bytes(range(8)), 0) + pairs + bytes(4)
    return pack.ntlm_authenticate(lm=bytes(24), nt=nt, domain="CORP", user=user, flags=USER_FLAGS, **same)


def good_answer(pipe: str) -> bytes:
    """The stub of a successful answer to `pack.question(pipe)`."""
    if pipe == "srvsvc":  # NetrServerGetInfo, level 101: [MS-SRVS] 3.1.4.17
        name, comment = pack.ndr_string("FILES1"), pack.ndr_string("")
        info = struct.pack("<IIIIIII", 101, 0x20000, 500, 0x20004, 10, 0, 0x9003) + struct.pack("<I", 0x20008)
        return info + name + comment + struct.pack("<I", 0)
    if pipe == "wkssvc":  # NetrWkstaGetInfo, level 100: [MS-WKST] 3.2.4.1
        info = struct.pack("<IIIIIII", 100, 0x20000, 500, 0x20004, 0x20008, 10, 0)
        return info + pack.ndr_string("FILES1") + pack.ndr_string("CORP") + struct.pack("<I", 0)
    return struct.pack("<I16s", 0, bytes(range(16))) + struct.pack("<I", 0)  # a policy or server handle


@capture("built-null-flag.pcap")
def null_flag() -> list:
    """A server that says IS_NULL on the null session ([MS-SMB2] 3.3.5.5.3, MAY); SMB 2.1."""
    smb = Smb2(Stream().open(), 0x0210)
    smb.negotiate()
    smb.logon(0x1100000000011, session_flags=IS_NULL)
    smb.tree(0x1100000000011, 5)
    smb.use(0x1100000000011, 5, "srvsvc", b"A" * 16)
    smb.end(0x1100000000011)
    return smb.stream.frames


@capture("built-windows-shape.pcap")
def windows_shape() -> list:
    """A Windows server accepts a Windows client's null session with session flags 0, and lsarpc answers; SMB 3.0.2."""
    smb = Smb2(Stream(client_port=49801).open(), 0x0302)
    smb.negotiate()
    smb.logon(0x2200000000022)
    smb.tree(0x2200000000022, 1)
    smb.use(0x2200000000022, 1, "lsarpc", b"B" * 16)
    smb.end(0x2200000000022)
    return smb.stream.frames


@capture("built-2012-drops.pcap")
def server_2012() -> list:
    """AllowAnonymousAccess off: session accepted, dropped at the first TREE_CONNECT ([MS-SMB2] 3.3.5.2.9); twice."""
    frames = []
    for attempt in range(2):
        smb = Smb2(Stream(client_port=49810 + attempt).open(), 0x0300)
        smb.negotiate()
        smb.logon(0x3300000000033 + 4 * attempt)
        smb.tree(0x3300000000033 + 4 * attempt, 1, answered=False)
        smb.stream.reset()
        frames += smb.stream.frames
    return frames


@capture("built-pipe-denied.pcap")
def pipe_denied() -> list:
    """NullSessionPipes empty: CREATE srvsvc refused; 20 s later it works with credentials, same client GUID."""
    first = Smb2(Stream(client_port=49820).open(), 0x0210)
    first.negotiate()
    first.logon(0x4400000000044)
    first.tree(0x4400000000044, 1)
    first.open(0x4400000000044, 1, "srvsvc", b"", status=ACCESS_DENIED)
    first.end(0x4400000000044)
    Stream.clock += 20
    second = Smb2(Stream(client_port=49821).open(), 0x0210)
    second.negotiate()
    second.logon(0x4400000000048, user="alice")
    second.tree(0x4400000000048, 1)
    second.use(0x4400000000048, 1, "srvsvc", b"C" * 16)
    second.end(0x4400000000048)
    return first.stream.frames + second.stream.frames


@capture("built-pipe-covered.pcap")
def pipe_covered() -> list:
    """srvsvc works anonymously; an hour later CREATE is refused, and works with credentials on the same connection."""
    smb = Smb2(Stream(client_port=49830).open(), 0x0210)
    smb.negotiate()
    smb.logon(0x5500000000055)
    smb.tree(0x5500000000055, 1)
    smb.use(0x5500000000055, 1, "srvsvc", b"D" * 16)
    Stream.clock += 3600
    smb.open(0x5500000000055, 1, "srvsvc", b"", status=ACCESS_DENIED)
    smb.logon(0x5500000000059, user="alice")
    smb.tree(0x5500000000059, 2)
    smb.use(0x5500000000059, 2, "srvsvc", b"E" * 16)
    smb.end(0x5500000000059)
    return smb.stream.frames


@capture("built-midstream.pcap")
def midstream() -> list:
    """The capture begins after the logon: once before the tree connect, once with the pipe already bound."""
    before = Smb2(Stream(client_port=49840), 0x0210)
    before.message_id = 3
    before.tree(0x6600000000066, 1)
    before.use(0x6600000000066, 1, "srvsvc", b"F" * 16)
    before.end(0x6600000000066)
    after = Smb2(Stream("10.77.0.11", client_port=49841), 0x0210)
    after.message_id = 6
    after.talk(0x660000000006A, 1, "lsarpc", b"G" * 16)
    after.use(0x660000000006A, 1, "samr", b"H" * 16)
    after.end(0x660000000006A)
    return before.stream.frames + after.stream.frames


@capture("built-answer-lost.pcap")
def answer_lost() -> list:
    """The final answer to the session setup was not captured; what follows on that session id succeeds."""
    smb = Smb2(Stream(client_port=49850).open(), 0x0210)
    smb.negotiate()
    smb.logon(0x7700000000077, captured=False)
    smb.tree(0x7700000000077, 1)
    smb.use(0x7700000000077, 1, "wkssvc", b"I" * 16)
    smb.end(0x7700000000077)
    return smb.stream.frames


class Smb1:
    """Requests and answers of one SMB 1 connection to an old server."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.mid, self.uid, self.tid = stream, 0, 0, 0

    def ask(self, command: int, request: bytes, answer: bytes, *, tid: int | None = None) -> None:
        self.mid += 64
        ids = {"tree": self.tid if tid is None else tid, "uid": self.uid, "mid": self.mid}
        self.stream.send(True, pack.framed(pack.smb1_header(command, flags2=0xC003, **ids) + request))
        if command == 0x73:
            self.uid = ids["uid"] = 2048
        elif command == 0x75:
            self.tid += 1
            ids["tree"] = self.tid
        self.stream.send(False, pack.framed(pack.smb1_header(command, flags=0x98, flags2=0xC003, **ids) + answer))

    def negotiate(self, security_mode: int, domain: str) -> None:
        """[MS-CIFS] 2.2.4.52.2, 17 words; no extended security."""
        dialects = (
            "PC NETWORK PROGRAM 1.0",
            "LANMAN1.0",
            "Windows for Workgroups 3.1a",
            "LM1.2X002",
            "LANMAN2.1",
            "NT LM 0.12",
        )
        words = struct.pack("<HBHHIIIIQhB", 5, security_mode, 50, 1, 4356, 65536, 0, 0x43FD, FILETIME, 0, 8)
        self.ask(
            0x72,
            pack.smb1_negotiate_request(*dialects),
            pack.smb1_body(words, bytes(range(1, 9)) + pack.text(domain)),
            tid=0,
        )

    def logon_anonymous(self, system: str, manager: str, domain: str) -> None:
        request = pack.smb1_setup_plain(b"\0", b"", "", "", system="Windows 2002 2600", manager="Windows 2002 5.1")
        names = b"\0" + b"".join(map(pack.text, (system, manager, domain)))
        self.ask(0x73, request, pack.smb1_body(pack.ANDX_END + struct.pack("<H", 0), names), tid=0)

    def tree(self, path: str, service: str, answer: str, password: bytes = b"\0") -> None:
        body = pack.smb1_body(
            pack.ANDX_END + struct.pack("<H", 1), answer.encode() + b"\0" + pack.text("" if answer == "IPC" else "FAT")
        )
        self.ask(0x75, pack.smb1_tree_request(path, service, password), body, tid=0)

    def open(self, name: str, fid: int) -> None:
        """[MS-CIFS] 2.2.4.64.2: ResourceType 2 for a message mode pipe."""
        words = pack.ANDX_END + struct.pack("<BHI4QIQQHHB", 0, fid, 1, 0, 0, 0, 0, 0x80, 4096, 0, 2, 0x05FF, 0)
        self.ask(0xA2, pack.smb1_nt_create_request(name), pack.smb1_body(words))

    def transact(self, fid: int, request: bytes, answer: bytes) -> None:
        words = struct.pack("<HHHHHHHHHBB", 0, len(answer), 0, 0, 56, 0, len(answer), 56, 0, 0, 0)
        body = pack.smb1_body(words, b"\0" + answer)  # data at 32 + 1 + 20 + 2 + 1
        self.ask(0x25, pack.smb1_transaction(struct.pack("<HH", 0x26, fid), "\\PIPE\\", b"", request), body)

    def use(self, pipe: str, secondary_address: str, fid: int) -> None:
        self.open(f"\\{pipe}", fid)
        self.transact(fid, pack.rpc_bind(pipe), pack.rpc_bind_ack(secondary_address))
        self.transact(fid, pack.rpc_request(*pack.question(pipe, "FILES1")), pack.rpc_response(good_answer(pipe)))
        self.ask(0x04, pack.smb1_close_request(fid), pack.smb1_body())

    def read(self, name: str, fid: int, data: bytes) -> None:
        words = pack.ANDX_END + struct.pack("<BHI4QIQQHHB", 0, fid, 1, 0, 0, 0, 0, 0x20, len(data), len(data), 0, 0, 0)
        self.ask(0xA2, pack.smb1_nt_create_request(name, 0x00120089), pack.smb1_body(words))
        answer = pack.ANDX_END + struct.pack("<HHHHHHII", 0xFFFF, 0, 0, len(data), 60, 0, 0, 0)
        self.ask(0x2E, pack.smb1_read_request(fid), pack.smb1_body(answer, b"\0" + data))  # data at 32 + 1 + 24 + 2 + 1
        self.ask(0x04, pack.smb1_close_request(fid), pack.smb1_body())

    def end(self) -> None:
        self.ask(0x74, pack.smb1_body(pack.ANDX_END), pack.smb1_body(pack.ANDX_END))
        self.stream.close()


@capture("built-nt4.pcap")
def nt4() -> list:
    """An NT 4 server: \\srvsvc and \\lsarpc are opened, the bind answers name \\PIPE\\ntsvcs and \\PIPE\\lsass."""
    smb = Smb1(Stream(client_port=1045, port=139).open().netbios())
    smb.negotiate(0x03, "CORP")
    smb.logon_anonymous("Windows NT 4.0", "NT LAN Manager 4.0", "CORP")
    smb.tree("\\\\FILES1\\IPC$", "IPC", "IPC")
    smb.use("srvsvc", "\\PIPE\\ntsvcs", 0x1001)
    smb.use("lsarpc", "\\PIPE\\lsass", 0x1002)
    smb.end()
    return smb.stream.frames


@capture("built-share-level.pcap")
def share_level() -> list:
    """A share-level server (SecurityMode bit 0 clear): nobody logs on; once without, once with a share password."""
    frames = []
    for port, password in ((1050, b"\0"), (1051, b"SECRET\0")):
        smb = Smb1(Stream(client_port=port, port=139).open().netbios())
        smb.negotiate(0x00, "WORKGROUP")
        smb.logon_anonymous("Unix", "Samba 3.0.37", "WORKGROUP")
        smb.tree("\\\\FILES1\\PUBLIC", "A:", "A:", password)
        smb.read("\\readme.txt", 0x0007, b"Read me.\r\n")
        smb.end()
        frames += smb.stream.frames
    return frames


def datagram(source: str, target: str, ports: tuple[int, int], payload: object, hardware: str = "") -> Ether:
    """A UDP datagram in a frame, at the clock's time."""
    frame = Ether(src=hardware or mac(source), dst="ff:ff:ff:ff:ff:ff" if target == BROADCAST else mac(target))
    frame = frame / IP(src=source, dst=target) / UDP(sport=ports[0], dport=ports[1]) / payload
    frame.time = Stream.clock
    Stream.clock += 0.0004
    return frame


def lease(address: str, hardware: str, name: str, vendor: str, fqdn: str = "") -> list:
    """A client without an address asks for one, and gets it: [RFC 2131] 3.1, the last two of its four messages."""
    card = bytes.fromhex(hardware.replace(":", ""))
    options: list = [("message-type", "request"), ("requested_addr", address), ("hostname", name.encode())]
    options += [("vendor_class_id", vendor.encode())]
    if fqdn:
        options.append(("client_FQDN", b"\0\0\0" + fqdn.encode()))
    asked = BOOTP(chaddr=card, xid=0x1234) / DHCP(options=[*options, "end"])
    granted = BOOTP(op=2, chaddr=card, xid=0x1234, yiaddr=address) / DHCP(
        options=[("message-type", "ack"), ("server_id", NAMES), ("lease_time", 7200), "end"]
    )
    return [
        datagram("0.0.0.0", BROADCAST, (68, 67), asked, hardware),
        datagram(NAMES, BROADCAST, (67, 68), granted),
    ]


def answer(question: str, *records: DNSRR, kind: str = "A") -> DNS:
    """The answer of a name server."""
    return DNS(id=7, qr=1, aa=1, qd=DNSQR(qname=question, qtype=kind), an=list(records))


BROADCAST = "255.255.255.255"
NAMES = "10.77.0.5"  # the DHCP and DNS server
ROUTER = "02:00:00:00:00:fe"


@capture("built-address-changes.pcap")
def address_changes() -> list:
    """By DHCP an address is a PC's, two hours later a printer's; DNS names the server and a client behind a router."""
    frames = lease("10.77.0.20", "02:00:00:00:01:20", "WS20", "MSFT 5.0", "ws20.corp.example")
    files = answer("files1.corp.example", DNSRR(rrname="files1.corp.example", type="A", rdata=SERVER, ttl=1200))
    frames.append(datagram(NAMES, "10.77.0.20", (53, 50020), files))
    pc = Smb2(Stream("10.77.0.20", client_port=50020, hardware="02:00:00:00:01:20").open(), 0x0302, workstation="WS20")
    use_anonymously(pc, 0x7700000000077, "srvsvc")
    Stream.clock += 7200
    frames += pc.stream.frames + lease("10.77.0.20", "02:00:00:00:02:07", "PRINTER7", "Hewlett-Packard JetDirect")
    own = DNSRR(rrname="printer7.local", type="A", rdata="10.77.0.20", ttl=120)
    frames.append(
        datagram("10.77.0.20", "224.0.0.251", (5353, 5353), DNS(id=0, qr=1, aa=1, qd=[], an=[own]), "02:00:00:00:02:07")
    )
    printer = Smb2(
        Stream("10.77.0.20", client_port=1025, hardware="02:00:00:00:02:07").open(),
        0x0202,
        workstation="",
        client_guid=bytes(16),
    )
    use_anonymously(printer, 0x7700000000081, "spoolss")
    back = answer(
        "7.0.88.10.in-addr.arpa",
        DNSRR(rrname="7.0.88.10.in-addr.arpa", type="PTR", rdata="branch7.corp.example", ttl=1200),
        kind="PTR",
    )
    frames += [*printer.stream.frames, datagram(NAMES, SERVER, (53, 50021), back)]
    branch = Smb2(
        Stream("10.88.0.7", client_port=50022, hardware=ROUTER, client_ttl=127).open(), 0x0302, workstation=""
    )
    use_anonymously(branch, 0x7700000000085, "srvsvc")
    return frames + branch.stream.frames


@capture("built-shared-address.pcap")
def shared_address() -> list:
    """Two PCs behind one address, in turns: one is refused srvsvc anonymously and goes on with credentials."""
    one = Smb2(Stream(client_port=50030).open(), 0x0302)
    use_anonymously(one, 0x8800000000088, "srvsvc", close=False)
    other = Smb2(Stream(client_port=50031).open(), 0x0302, workstation="WS11", client_guid=CLIENT_GUID[::-1])
    use_anonymously(other, 0x8800000000092, "srvsvc")
    again = Smb2(Stream(client_port=50032).open(), 0x0302)
    again.negotiate()
    again.logon(0x8800000000096)
    again.tree(0x8800000000096, 1)
    again.open(0x8800000000096, 1, "srvsvc", b"", status=ACCESS_DENIED)
    again.logon(0x8800000000100, user="alice")
    again.tree(0x8800000000100, 2)
    again.use(0x8800000000100, 2, "srvsvc", b"S" * 16)
    again.end(0x8800000000100)
    one.end(0x8800000000088)
    frames = one.stream.frames + other.stream.frames + again.stream.frames
    return sorted(frames, key=lambda frame: frame.time)


@capture("built-other-ways.pcap")
def other_ways() -> list:
    """A client with a null session also reaches for RPC over TCP and LDAP, and asks for a referral to a server unseen."""
    smb = Smb2(Stream(client_port=50040).open(), 0x0311)
    use_anonymously(smb, 0x9900000000099, "srvsvc", close=False)
    path = pack.dfs_referral_request("\\OLDFILES\\data")
    code, nobody = pack.FSCTL_DFS_GET_REFERRALS, b"\xff" * 16
    smb.ask(pack.IOCTL, pack.ioctl_request(code, nobody, path), pack.ioctl_response(code, nobody, b""),
            session=0x9900000000099, tree=1, status=NOT_FOUND)  # fmt: skip
    smb.end(0x9900000000099)
    frames = list(smb.stream.frames)
    ports = [135, 49666, 389, 389, 636, 3268]
    for number, port in enumerate(ports):
        stream = Stream(client_port=50041 + number, port=port).open()
        stream.close()
        frames += stream.frames
    # The one that nobody answers is asked for twice: one attempt.
    silent = Stream(client_port=50050, port=135)
    silent.send(True, flags="S")
    silent.next[True] -= 1
    Stream.clock += 1
    silent.send(True, flags="S")
    return frames + silent.frames


def use_anonymously(smb: Smb2, session: int, pipe: str, *, close: bool = True) -> None:
    """A whole null session that asks one thing of a pipe."""
    smb.negotiate()
    smb.logon(session)
    smb.tree(session, 1)
    smb.use(session, 1, pipe, session.to_bytes(16, "little"))
    if close:
        smb.end(session)


def main() -> None:
    for file, build in BUILDERS.items():
        if not sys.argv[1:] or file.split(".")[0] in sys.argv[1:]:
            Stream.clock = START
            wrpcap(str(HERE / file), build())
            print(f"{file}: {(HERE / file).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
