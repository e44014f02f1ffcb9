"""A server's face that decrypts what anonymous sessions encrypt, in front of a smbd that would not.

    decrypting_front.py ADDRESS TO_ADDRESS

Windows and Samba from 4.19 on take encrypted messages of a null session if somebody logged on before on the same
connection; older Samba keeps no keys for it and hangs up. Everything passes unchanged but messages with a
TRANSFORM_HEADER on a session whose AUTHENTICATE had no NT response: its keys are derived from the passing bytes, requests
go on in clear, and their answers are encrypted. One connection at a time. Cipher and keys are smbprotocol's, NTLM is
impacket's.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pack
from impacket import crypto, ntlm
from smbprotocol.connection import Ciphers, Connection, SMB2TransformHeader

NEGOTIATE, SESSION_SETUP = 0, 1
TRANSFORM = b"\xfdSMB"


class Keys:
    """What `Connection._encrypt` and `_decrypt` ask of a session, seen from the server."""

    def __init__(self, session_id: int) -> None:
        self.session_id = session_id
        self.encryption_key = self.decryption_key = b""
        self.is_encrypted = False


class Front:
    """One client's connection, and the one that goes on to smbd."""

    def __init__(self, client: socket.socket, to: str) -> None:
        self.client, self.server = client, socket.create_connection((to, 445))
        self.crypto = Connection.__new__(Connection)  # for its ciphers alone
        self.crypto.dialect, self.crypto.cipher_id, self.crypto.session_table = 0, None, {}
        self.connection_hash = bytes(64)
        self.hashes: dict[int, bytes] = {}  # by session id, 0: of the request that has none yet
        self.session_keys: dict[int, bytes] = {}
        self.last_token = b""

    def run(self) -> None:
        there = threading.Thread(target=self.pump, args=(self.client, self.server, self.request))
        there.start()
        self.pump(self.server, self.client, self.answer)
        there.join()

    @staticmethod
    def pump(source: socket.socket, target: socket.socket, change) -> None:
        stream = source.makefile("rb")
        while len(head := stream.read(4)) == 4:
            message = stream.read(struct.unpack(">I", head)[0])
            target.sendall(pack.framed(change(message)))
        target.shutdown(socket.SHUT_WR)

    def request(self, message: bytes) -> bytes:
        if message[:4] == TRANSFORM:
            header = SMB2TransformHeader()
            header.unpack(message)
            self.crypto.session_table[header["session_id"].get_value()].is_encrypted = True
            return self.crypto._decrypt(header)
        command, session_id = self.ids(message)
        if command == NEGOTIATE:
            self.connection_hash = self.hashed(self.connection_hash, message)
        elif command == SESSION_SETUP:
            before = self.hashes.get(session_id, self.connection_hash) if session_id else self.connection_hash
            self.hashes[session_id] = self.hashed(before, message)
            token = ntlm.NTLMAuthChallengeResponse()
            last = pack.ntlmssp_in(message)
            if last[8] == 3:
                token.fromString(last)
                if not token["ntlm"]:
                    self.session_keys[session_id] = ntlm.generateEncryptedSessionKey(bytes(16), token["session_key"])
        return message

    def answer(self, message: bytes) -> bytes:
        command, session_id = self.ids(message)
        if command == NEGOTIATE:
            self.connection_hash = self.hashed(self.connection_hash, message)
            self.crypto.dialect = struct.unpack_from("<H", message, 68)[0]
            self.crypto.cipher_id = self.cipher_in(message)
        elif command == SESSION_SETUP and struct.unpack_from("<I", message, 8)[0]:
            before = self.hashes.pop(0) if 0 in self.hashes else self.hashes[session_id]
            self.hashes[session_id] = self.hashed(before, message)
        elif command == SESSION_SETUP and session_id in self.session_keys:
            self.crypto.session_table[session_id] = self.keys(session_id)
        keys = self.crypto.session_table.get(session_id)
        return self.crypto._encrypt(message, keys).pack() if keys and keys.is_encrypted else message

    @staticmethod
    def ids(message: bytes) -> tuple[int, int]:
        return struct.unpack_from("<H", message, 12)[0], struct.unpack_from("<Q", message, 40)[0]

    @staticmethod
    def hashed(before: bytes, message: bytes) -> bytes:
        return hashlib.sha512(before + message).digest()

    def cipher_in(self, answer: bytes) -> int:
        """The cipher of the ENCRYPTION_CAPABILITIES context, AES-128-CCM where there are none."""
        count, at = struct.unpack_from("<H", answer, 70)[0], struct.unpack_from("<I", answer, 124)[0]
        for _ in range(count if self.crypto.dialect == 0x311 else 0):
            kind, size = struct.unpack_from("<HH", answer, at)
            if kind == 2:
                return struct.unpack_from("<H", answer, at + 10)[0]
            at += (8 + size + 7) // 8 * 8
        return Ciphers.AES_128_CCM

    def keys(self, session_id: int) -> Keys:
        session_key, made = self.session_keys[session_id], Keys(session_id)
        bits = 256 if self.crypto.cipher_id in (Ciphers.AES_256_CCM, Ciphers.AES_256_GCM) else 128
        if self.crypto.dialect == 0x311:
            labels, context = (b"SMBS2CCipherKey\0", b"SMBC2SCipherKey\0"), self.hashes[session_id]
            made.encryption_key, made.decryption_key = (
                crypto.KDF_CounterMode(session_key, label, context, bits) for label in labels
            )
        else:
            made.encryption_key, made.decryption_key = (
                crypto.KDF_CounterMode(session_key, b"SMB2AESCCM\0", context, bits)
                for context in (b"ServerOut\0", b"ServerIn \0")
            )
        return made


def main() -> None:
    address, to = sys.argv[1:]
    with socket.create_server((address, 445)) as waiting:
        while True:
            client, _ = waiting.accept()
            Front(client, to).run()
            client.close()


if __name__ == "__main__":
    main()
