"""Bytes of SMB, NTLMSSP, SPNEGO and DCE/RPC messages, as the documents lay them out.

Used by clients/steps.py (requests) and build.py (requests and answers). Every function returns the body of one
message or one structure; `smb1_header` and `smb2_header` make what stands before a body. Sources stand beside the code.
"""

from __future__ import annotations

import struct
import uuid

NTLMSSP_OID = bytes.fromhex("060a2b06010401823702020a")  # 1.3.6.1.4.1.311.2.2.10
SPNEGO_OID = bytes.fromhex("06062b0601050502")  # 1.3.6.1.5.5.2
NDR = uuid.UUID("8a885d04-1ceb-11c9-9fe8-08002b104860")
INTERFACES = {  # pipe: (interface, major version)
    "srvsvc": ("4b324fc8-1670-01d3-1278-5a47bf6ee188", 3),
    "wkssvc": ("6bffd098-a112-3610-9833-46c3f87e345a", 1),
    "lsarpc": ("12345778-1234-abcd-ef00-0123456789ab", 0),
    "samr": ("12345778-1234-abcd-ef00-0123456789ac", 1),
    "spoolss": ("12345678-1234-abcd-ef00-0123456789ab", 1),
}


def framed(message: bytes) -> bytes:
    """A message with its length, the same on port 139 and 445 for messages below 128 KB."""
    return struct.pack(">I", len(message)) + message


# ------------------------------------------------------------------------------------------------- SMB 2 [MS-SMB2]
NEGOTIATE, SESSION_SETUP, LOGOFF, TREE_CONNECT, TREE_DISCONNECT, CREATE, CLOSE = range(7)
READ, WRITE, IOCTL = 8, 9, 11
FSCTL_PIPE_TRANSCEIVE, FSCTL_DFS_GET_REFERRALS = 0x0011C017, 0x00060194
NO_FILE = b"\xff" * 16
DIALECTS = {"2.0.2": 0x0202, "2.1": 0x0210, "3.0": 0x0300, "3.0.2": 0x0302}


def smb2_header(
    command: int, message_id: int, *, session: int = 0, tree: int = 0, status: int = 0, flags: int = 0
) -> bytes:
    """2.2.1.2; answers carry flag 1."""
    return struct.pack(
        "<4sHHIHHIIQIIQ16s", b"\xfeSMB", 64, 1 if command != NEGOTIATE else 0, status, command, 32, flags, 0,
        message_id, 0, tree, session, b"",
    )  # fmt: skip


def smb2_error() -> bytes:
    """2.2.2"""
    return struct.pack("<HBBIB", 9, 0, 0, 0, 0)


def negotiate_request(dialects: list[int], guid: bytes) -> bytes:
    """2.2.3, without contexts: so not for 3.1.1."""
    capabilities = 0x3F if max(dialects) >= 0x300 else 0
    return struct.pack("<HHHHI16sQ", 36, len(dialects), 1, 0, capabilities, guid, 0) + struct.pack(
        f"<{len(dialects)}H", *dialects
    )


def negotiate_response(dialect: int, guid: bytes, blob: bytes, *, time: int, signing: int = 1) -> bytes:
    """2.2.4"""
    capabilities = 0x07 if dialect > 0x202 else 0x01
    size = 0x100000 if dialect > 0x202 else 0x10000
    return struct.pack(
        "<HHHH16sIIIIQQHHI", 65, signing, dialect, 0, guid, capabilities, size, size, size, time, 0, 128, len(blob), 0,
    ) + blob  # fmt: skip


def setup_request(blob: bytes, *, flags: int = 0, previous: int = 0) -> bytes:
    """2.2.5"""
    return struct.pack("<HBBIIHHQ", 25, flags, 1, 1, 0, 88, len(blob), previous) + blob


def setup_response(blob: bytes, session_flags: int = 0) -> bytes:
    """2.2.6"""
    return struct.pack("<HHHH", 9, session_flags, 72, len(blob)) + blob


def four_bytes() -> bytes:
    """LOGOFF and TREE_DISCONNECT, both ways: 2.2.7, 2.2.8, 2.2.11, 2.2.12"""
    return struct.pack("<HH", 4, 0)


def tree_request(path: str) -> bytes:
    """2.2.9"""
    name = path.encode("utf-16-le")
    return struct.pack("<HHHH", 9, 0, 72, len(name)) + name


def tree_response(share_type: int) -> bytes:
    """2.2.10; share_type: 1 disk, 2 pipe, 3 print."""
    return struct.pack("<HBBIII", 16, share_type, 0, 0x30, 0, 0x001F00A9)


def create_request(name: str, access: int = 0x0012019F, disposition: int = 1) -> bytes:
    """2.2.13; disposition: 1 open, 5 overwrite or create."""
    encoded = name.encode("utf-16-le")
    return struct.pack(
        "<HBBIQQIIIIIHHII", 57, 0, 0, 2, 0, 0, access, 0, 7, disposition, 0x40, 120, len(encoded), 0, 0,
    ) + (encoded or b"\0")  # fmt: skip


def create_response(file_id: bytes) -> bytes:
    """2.2.14, as for a pipe: all times 0, FILE_ATTRIBUTE_NORMAL."""
    return struct.pack("<HBBI4QQQII16sII", 89, 0, 0, 1, 0, 0, 0, 0, 4096, 0, 0x80, 0, file_id, 0, 0)


def close_request(file_id: bytes) -> bytes:
    """2.2.15"""
    return struct.pack("<HHI16s", 24, 0, 0, file_id)


def close_response() -> bytes:
    """2.2.16"""
    return struct.pack("<HHI4QQQI", 60, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def read_request(file_id: bytes, length: int = 4280, offset: int = 0) -> bytes:
    """2.2.19"""
    return struct.pack("<HBBIQ16sIIIHHB", 49, 80, 0, length, offset, file_id, 0, 0, 0, 0, 0, 0)


def read_response(data: bytes) -> bytes:
    """2.2.20"""
    return struct.pack("<HBBIII", 17, 80, 0, len(data), 0, 0) + data


def write_request(file_id: bytes, data: bytes, offset: int = 0) -> bytes:
    """2.2.21"""
    return struct.pack("<HHIQ16sIIHHI", 49, 112, len(data), offset, file_id, 0, 0, 0, 0, 0) + data


def write_response(count: int) -> bytes:
    """2.2.22"""
    return struct.pack("<HHIIHH", 17, 0, count, 0, 0, 0)


def ioctl_request(code: int, file_id: bytes, data: bytes, room: int = 4280) -> bytes:
    """2.2.31"""
    return struct.pack("<HHI16sIIIIIIII", 57, 0, code, file_id, 120, len(data), 0, 0, 0, room, 1, 0) + data


def ioctl_response(code: int, file_id: bytes, data: bytes) -> bytes:
    """2.2.32"""
    return struct.pack("<HHI16sIIIIII", 49, 0, code, file_id, 112, 0, 112, len(data), 0, 0) + data


def dfs_referral_request(path: str, level: int = 4) -> bytes:
    """REQ_GET_DFS_REFERRAL: [MS-DFSC] 2.2.2; level: the highest version of referrals that the client understands"""
    return struct.pack("<H", level) + path.encode("utf-16-le") + b"\0\0"


# ------------------------------------------------------------------------------------- SMB 1 [MS-CIFS], [MS-SMB]
EXTENDED, NT_STATUS, UNICODE = 0x0800, 0x4000, 0x8000  # Flags2


def smb1_header(
    command: int,
    *,
    status: int = 0,
    flags: int = 0x18,
    flags2: int = 0xC801,
    tree: int = 0,
    pid: int = 0x1234,
    uid: int = 0,
    mid: int = 0,
) -> bytes:
    """[MS-CIFS] 2.2.3.1; answers carry 0x80 in `flags`."""
    return struct.pack("<4sBIBHH8sHHHHH", b"\xffSMB", command, status, flags, flags2, 0, b"", 0, tree, pid, uid, mid)


def smb1_body(words: bytes = b"", data: bytes = b"") -> bytes:
    return struct.pack("<B", len(words) // 2) + words + struct.pack("<H", len(data)) + data


ANDX_END = b"\xff\x00\x00\x00"


def smb1_negotiate_request(*dialects: str) -> bytes:
    """2.2.4.52.1"""
    return smb1_body(data=b"".join(b"\x02" + dialect.encode() + b"\0" for dialect in dialects))


def smb1_setup_extended(blob: bytes, system: str = "Unix", manager: str = "captures") -> bytes:
    """[MS-SMB] 2.2.4.6.1: WordCount 12."""
    words = ANDX_END + struct.pack("<HHHIHII", 16644, 50, 1, 0, len(blob), 0, 0x800000D4)
    names = text(system) + text(manager) + text("")
    return smb1_body(
        words, blob + b"\0" * (1 - len(blob) % 2) + names
    )  # strings on even offsets from the header: 61 + blob


def smb1_setup_plain(
    oem: bytes, unicode: bytes, account: str, domain: str, *, system: str = "Unix", manager: str = "captures"
) -> bytes:
    """[MS-CIFS] 2.2.4.53.1: WordCount 13."""
    words = ANDX_END + struct.pack("<HHHIHHII", 16644, 50, 1, 0, len(oem), len(unicode), 0, 0x000000D4)
    passwords = oem + unicode
    names = b"".join(map(text, (account, domain, system, manager)))
    return smb1_body(words, passwords + b"\0" * ((61 + 2 + len(passwords)) % 2) + names)


def text(value: str) -> bytes:
    return value.encode("utf-16-le") + b"\0\0"


def smb1_tree_request(path: str, service: str = "?????", password: bytes = b"\0") -> bytes:
    """2.2.4.55.1"""
    words = ANDX_END + struct.pack("<HH", 8, len(password))
    pad = b"\0" * (
        (43 + len(password)) % 2
    )  # the path on an even offset; 32 + 1 + 8 + 2 bytes stand before the password
    return smb1_body(words, password + pad + text(path) + service.encode() + b"\0")


def smb1_nt_create_request(name: str, access: int = 0x0002019F, disposition: int = 1) -> bytes:
    """2.2.4.64.1"""
    encoded = text(name)
    words = ANDX_END + struct.pack("<BHIIIQIIIIIB", 0, len(encoded) - 2, 0, 0, access, 0, 0, 7, disposition, 0x40, 2, 0)
    return smb1_body(words, b"\0" + encoded)  # data begin at 83: one byte of padding


def smb1_open_andx_request(name: str) -> bytes:
    """2.2.4.41.1"""
    words = ANDX_END + struct.pack("<HHHHIHIIHH", 0, 0x0042, 0x16, 0, 0, 1, 0, 0, 0, 0)
    return smb1_body(words, b"\0" + text(name))  # data begin at 65


def smb1_transaction(setup: bytes, name: str, parameters: bytes, data: bytes, *, max_parameters: int = 0) -> bytes:
    """2.2.4.33.1; `setup` as bytes, two a word."""
    encoded = b"\0" + text(name)  # ByteCount ends on the odd offset 63 + setup
    at = 32 + 1 + 28 + len(setup) + 2 + len(encoded)
    gap = b"\0" * (-at % 4)
    parameter_at = at + len(gap)
    data_gap = b"\0" * (-(parameter_at + len(parameters)) % 4)
    data_at = parameter_at + len(parameters) + len(data_gap)
    words = struct.pack(
        "<HHHHBBHIHHHHHBB", len(parameters), len(data), max_parameters, 4280, 0, 0, 0, 0, 0,
        len(parameters), parameter_at, len(data), data_at, len(setup) // 2, 0,
    ) + setup  # fmt: skip
    return smb1_body(words, encoded + gap + parameters + data_gap + data)


def smb1_dfs_referral_request(path: str, level: int = 4) -> bytes:
    """TRANS2_GET_DFS_REFERRAL: [MS-CIFS] 2.2.6.16"""
    parameters = dfs_referral_request(path, level)
    at = 32 + 1 + 30 + 2 + 3
    words = struct.pack(
        "<HHHHBBHIHHHHHBBH", len(parameters), 0, 0, 4280, 0, 0, 0, 0, 0, len(parameters), at, 0, 0, 1, 0, 0x10
    )
    return smb1_body(words, b"\0" * 3 + parameters)


def smb1_write_request(fid: int, data: bytes) -> bytes:
    """2.2.4.43.1, 14 words"""
    words = ANDX_END + struct.pack("<HIIHHHHHI", fid, 0, 0, 0, len(data), 0, len(data), 64, 0)
    return smb1_body(words, b"\0" + data)


def smb1_read_request(fid: int, length: int = 4280) -> bytes:
    """2.2.4.42.1, 12 words"""
    return smb1_body(ANDX_END + struct.pack("<HIHHIHI", fid, 0, length, 0, 0, 0, 0))


def smb1_close_request(fid: int) -> bytes:
    """2.2.4.5.1"""
    return smb1_body(struct.pack("<HI", fid, 0xFFFFFFFF))


# ------------------------------------------------------------------------------------------ SPNEGO, see RFC 4178
def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x81, size]) if size < 256 else b"\x82" + struct.pack(">H", size)
    return bytes([tag]) + length + content


def spnego_init(token: bytes | None) -> bytes:
    """NegTokenInit offering NTLMSSP alone; without a token it is what a server sends in NEGOTIATE."""
    mechanisms = der(0xA0, der(0x30, NTLMSSP_OID))
    inner = der(0xA2, der(0x04, token)) if token else b""
    return der(0x60, SPNEGO_OID, der(0xA0, der(0x30, mechanisms, inner)))


def spnego_answer(token: bytes | None, state: int | None = None, *, name_mechanism: bool = False) -> bytes:
    """NegTokenResp; state: 0 accept-completed, 1 accept-incomplete, 2 reject."""
    parts = [der(0xA0, der(0x0A, bytes([state])))] if state is not None else []
    parts += [der(0xA1, NTLMSSP_OID)] if name_mechanism else []
    parts += [der(0xA2, der(0x04, token))] if token else []
    return der(0xA1, der(0x30, *parts))


def ntlmssp_in(blob: bytes) -> bytes:
    """The NTLMSSP message inside a security blob, SPNEGO or not."""
    return blob[blob.index(b"NTLMSSP\0") :]


# ---------------------------------------------------------------------------------------- NTLMSSP [MS-NLMP] 2.2.1
WINDOWS_10 = bytes([10, 0]) + struct.pack("<H", 19041) + b"\0\0\0\x0f"  # Version, 2.2.2.10
WINDOWS_2000_FLAGS = 0xE2088297 & ~0x02000000


def ntlm_negotiate(flags: int = 0xE2088297, version: bytes = WINDOWS_10) -> bytes:
    return struct.pack("<8sIIHHIHHI", b"NTLMSSP\0", 1, flags, 0, 0, 0, 0, 0, 0) + version


def ntlm_challenge(
    target: str, computer: str, challenge: bytes, *, time: int, flags: int = 0xE28A8215, version: bytes = WINDOWS_10
) -> bytes:
    name = target.encode("utf-16-le")
    pairs = [(2, name), (1, computer.encode("utf-16-le")), (7, struct.pack("<Q", time)), (0, b"")]
    info = b"".join(struct.pack("<HH", kind, len(value)) + value for kind, value in pairs)
    at = 48 + len(version)
    return struct.pack(
        "<8sIHHII8sQHHI", b"NTLMSSP\0", 2, len(name), len(name), at, flags, challenge, 0,
        len(info), len(info), at + len(name),
    ) + version + name + info  # fmt: skip


def ntlm_authenticate(
    *,
    lm: bytes,
    nt: bytes,
    domain: str,
    user: str,
    workstation: str,
    key: bytes = b"",
    flags: int,
    version: bytes = WINDOWS_10,
    mic: bytes = b"",
) -> bytes:
    """Payload in the order that Windows uses: domain, user, workstation, LM, NT, key."""
    payload, fields = b"", {}
    texts = {"domain": domain, "user": user, "workstation": workstation}
    parts = {field: value.encode("utf-16-le") for field, value in texts.items()} | {"lm": lm, "nt": nt, "key": key}
    at = 64 + len(version) + len(mic)
    for field, value in parts.items():
        fields[field] = struct.pack("<HHI", len(value), len(value), at + len(payload))
        payload += value
    order = b"".join(fields[field] for field in ("lm", "nt", "domain", "user", "workstation", "key"))
    return b"NTLMSSP\0" + struct.pack("<I", 3) + order + struct.pack("<I", flags) + version + mic + payload


# ---------------------------------------------------------------------------------------------- DCE/RPC, [C706] 12.6
def rpc(kind: int, call: int, body: bytes) -> bytes:
    return struct.pack("<BBBB4sHHI", 5, 0, kind, 3, b"\x10\0\0\0", 16 + len(body), 0, call) + body


def rpc_bind(pipe: str, call: int = 1) -> bytes:
    interface, major = INTERFACES[pipe]
    item = struct.pack("<HBB16sHH16sI", 0, 1, 0, uuid.UUID(interface).bytes_le, major, 0, NDR.bytes_le, 2)
    return rpc(11, call, struct.pack("<HHIB3x", 4280, 4280, 0, 1) + item)


def rpc_bind_ack(secondary_address: str, call: int = 1) -> bytes:
    address = secondary_address.encode() + b"\0"
    head = struct.pack("<HHIH", 4280, 4280, 0x1234, len(address)) + address
    result = struct.pack("<B3xHH16sI", 1, 0, 0, NDR.bytes_le, 2)
    return rpc(12, call, head + b"\0" * (-(16 + len(head)) % 4) + result)


def rpc_request(opnum: int, stub: bytes, call: int = 2) -> bytes:
    return rpc(0, call, struct.pack("<IHH", len(stub), 0, opnum) + stub)


def rpc_response(stub: bytes, call: int = 2) -> bytes:
    return rpc(2, call, struct.pack("<IHBB", len(stub), 0, 0, 0) + stub)


def rpc_fault(status: int, call: int = 2) -> bytes:
    return rpc(3, call, struct.pack("<IHBBII", 32, 0, 0, 0, status, 0))


def ndr_string(value: str) -> bytes:
    """A conformant and varying string of 16-bit characters, padded to four bytes."""
    encoded = value.encode("utf-16-le") + b"\0\0"
    count = len(encoded) // 2
    return struct.pack("<III", count, 0, count) + encoded + b"\0" * (-len(encoded) % 4)


def ndr_pointer(content: bytes, referent: int = 0x00020000) -> bytes:
    return struct.pack("<I", referent) + content


def question(pipe: str, server: str) -> tuple[int, bytes]:
    """(opnum, stub) of a harmless call for this pipe's interface."""
    name = ndr_pointer(ndr_string(f"\\\\{server}"))
    attributes = struct.pack("<IIIIII", 24, 0, 0, 0, 0, 0)
    return {
        "srvsvc": (21, name + struct.pack("<I", 101)),  # NetrServerGetInfo
        "wkssvc": (0, name + struct.pack("<I", 100)),  # NetrWkstaGetInfo
        "lsarpc": (44, name + attributes + struct.pack("<I", 0x02000000)),  # LsarOpenPolicy2
        "samr": (57, name + struct.pack("<I", 0x02000000)),  # SamrConnect2
        "spoolss": (1, struct.pack("<IIIII", 0, 0, 0, 0, 0x00020000)),  # RpcOpenPrinter
    }[pipe]
