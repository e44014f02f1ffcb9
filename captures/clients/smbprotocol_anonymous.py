"""Anonymous with smbprotocol, signed or encrypted all the same: ask srvsvc for the server.

    smbprotocol_anonymous.py ADDRESS 2.1|3.0|3.0.2|3.1.1 sign|encrypt ALGORITHM [USER PASSWORD]

ALGORITHM: AES_CMAC or AES_GMAC, AES_128_CCM, AES_128_GCM, AES_256_CCM or AES_256_GCM; before 3.1.1 there is no choice,
and its name is not looked at. With USER, this user logs on first, on the same connection: Samba and Windows take
encrypted messages of a null session only then. smbprotocol knows no anonymous logon: its NTLM is replaced by impacket's.
The rest, keys and all, is smbprotocol's own.
"""

from __future__ import annotations

import struct
import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pack
from impacket import ntlm
from smbprotocol import Dialects
from smbprotocol import session as sessions
from smbprotocol.connection import Ciphers, Connection, SigningAlgorithms
from smbprotocol.open import CreateDisposition, ImpersonationLevel, Open, ShareAccess
from smbprotocol.tree import TreeConnect

DIALECTS = {
    "2.1": Dialects.SMB_2_1_0, "3.0": Dialects.SMB_3_0_0, "3.0.2": Dialects.SMB_3_0_2, "3.1.1": Dialects.SMB_3_1_1,
}  # fmt: skip
SHARED = ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE
AS_IT_IS = ImpersonationLevel.Impersonation


class AnonymousContext:
    """What smbprotocol asks of a security context: tokens to send, and the session key in the end."""

    complete = False
    session_key = b""

    def __init__(self, *_: object, **__: object) -> None:
        self.first = ntlm.getNTLMSSPType1("", "", True)
        self.is_first = True

    def step(self, token: bytes | None) -> bytes | None:
        if self.is_first:
            self.is_first = False
            return pack.spnego_init(self.first.getData())
        if not self.session_key:
            last, self.session_key = ntlm.getNTLMSSPType3(self.first, pack.ntlmssp_in(token), "", "", "")
            return pack.spnego_answer(last.getData())
        self.complete = True
        return None


def exchange(session: sessions.Session, address: str) -> None:
    """Ask srvsvc for the server's name and type."""
    tree = TreeConnect(session, f"\\\\{address}\\IPC$")
    tree.connect(require_secure_negotiate=False)
    pipe = Open(tree, "srvsvc")
    pipe.create(AS_IT_IS, 0x0012019F, 0, SHARED, CreateDisposition.FILE_OPEN, 0)
    pipe.write(pack.rpc_bind("srvsvc"))
    pipe.read(0, 4280)
    pipe.write(pack.rpc_request(*pack.question("srvsvc", address)))
    answer = pipe.read(0, 4280)
    print(f"the answer ends in 0x{struct.unpack('<I', answer[-4:])[0]:08x}")
    pipe.close()
    tree.disconnect()


def main() -> None:
    address, dialect, what, algorithm, *user = sys.argv[1:]
    is_signed = what == "sign"
    connection = Connection(uuid.uuid4(), address, 445, require_signing=is_signed)
    connection.connect(
        DIALECTS[dialect],
        preferred_encryption_algos=None if is_signed else [getattr(Ciphers, algorithm)],
        preferred_signing_algos=[getattr(SigningAlgorithms, algorithm)] if is_signed else None,
    )
    if user:
        first = sessions.Session(connection, *user, require_encryption=False, auth_protocol="ntlm")
        first.connect()
    sessions.spnego.client = AnonymousContext
    # The final answer to an anonymous logon is not signed, which smbprotocol would take for an attack
    verify, connection.verify_signature = connection.verify_signature, lambda *_, **__: None
    session = sessions.Session(connection, "", "", require_encryption=not is_signed, auth_protocol="ntlm")
    session.connect()
    connection.verify_signature = verify
    exchange(session, address)
    session.disconnect()
    if user:
        first.disconnect()
    connection.disconnect()


if __name__ == "__main__":
    main()
