"""Signatures, keys and encryption: published samples, keys that Samba logged, other programs' ciphers, recorded sessions."""

from __future__ import annotations

import hashlib
import hmac
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import manifest
import published
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode
from hypothesis import given
from hypothesis import strategies as st
from overheard import Message, authenticate_of, conversations, session_ids, session_of

from analyzer.auth.session_keys import KeySource, rc4, server_challenge, zero_key_candidates
from analyzer.errors import DecodeError
from analyzer.smb import crypto
from analyzer.smb.contexts import Agreed, Cipher, Dialect, SigningAlgorithm, parse_agreed
from tests.conftest import CAPTURES

PUBLISHED = [
    published.NEGOTIATE_REQUEST,
    published.NEGOTIATE_RESPONSE,
    published.SETUP_REQUEST_1,
    published.SETUP_RESPONSE_1,
    published.SETUP_REQUEST_2,
    published.SETUP_RESPONSE_2,
]
SIGNED, ANSWER, RELATED = 8, 1, 4
KEY = bytes(range(16))
ALICE_NTOWF = bytes.fromhex("6ea3076cb805cfa072dea82a8735d5c1")
"""MD4 of her password, Winter-2024."""
ENTRIES = {entry["file"]: entry for entry in manifest.entries()}


def agreed(dialect: int = 0x0311, signing: int = 1, cipher: int | None = 2) -> Agreed:
    return Agreed(
        dialect=Dialect(dialect),
        signing=SigningAlgorithm(signing),
        cipher=None if cipher is None else Cipher(cipher),
    )


def pdu(
    body: bytes = b"body",
    *,
    command: int = 3,
    flags: int = SIGNED,
    message_id: int = 7,
    session_id: int = 0x55,
    status: int = 0,
    following: int = 0,
) -> bytes:
    """[MS-SMB2 2.2.1.2]"""
    header = [
        b"\xfeSMB",  # ProtocolId
        struct.pack("<HH", 64, 1),  # StructureSize, CreditCharge
        struct.pack("<I", status),  # Status
        struct.pack("<HH", command, 1),  # Command, Credits
        struct.pack("<I", flags),  # Flags
        struct.pack("<I", following),  # NextCommand
        struct.pack("<Q", message_id),  # MessageId
        struct.pack("<II", 0, 0),  # Reserved, TreeId
        struct.pack("<Q", session_id),  # SessionId
        bytes(16),  # Signature
    ]
    return b"".join(header) + body


def signed(message: bytes, keys: crypto.Keys) -> bytes:
    return message[:48] + crypto.signature(message, keys) + message[64:]


# Published samples. #


def test_keys_of_300() -> None:
    keys = crypto.derive_keys(published.SESSION_KEY_300, agreed(0x0300, cipher=1))
    assert keys.signing == published.SIGNING_KEY_300
    assert keys.client_to_server == published.ENCRYPTION_KEY_300
    assert keys.server_to_client == published.DECRYPTION_KEY_300
    assert crypto.kdf(published.SESSION_KEY_300, b"SMB2APP\0", b"SmbRpc\0").hex() == "bb23a4575aa26c721af525af15a87b4f"


def test_preauthentication_hash() -> None:
    for count, value in enumerate(published.HASHES_311, 1):
        assert crypto.preauth_hash(PUBLISHED[:count]) == value
    assert crypto.setup_messages(PUBLISHED, published.SESSION_ID_311) == PUBLISHED[:5]


def test_keys_and_signature_of_311() -> None:
    keys = crypto.derive_keys(
        published.SESSION_KEY_311, parse_agreed(published.NEGOTIATE_RESPONSE), published.HASHES_311[-1]
    )
    assert keys.signing == published.SIGNING_KEY_311
    assert keys.client_to_server == published.ENCRYPTION_KEY_311
    assert keys.server_to_client == published.DECRYPTION_KEY_311
    assert crypto.verify_signature(published.SETUP_RESPONSE_2, keys)
    assert not crypto.verify_signature(published.SETUP_RESPONSE_1, keys)


@pytest.mark.parametrize(
    ("keys", "sealed", "plain", "from_server"),
    [
        ("CCM", published.CCM_REQUEST, published.CCM_REQUEST_PLAIN, False),
        ("CCM", published.CCM_RESPONSE, published.CCM_RESPONSE_PLAIN, True),
        ("GCM", published.GCM_REQUEST, published.GCM_REQUEST_PLAIN, False),
        ("GCM", published.GCM_RESPONSE, published.GCM_RESPONSE_PLAIN, True),
    ],
)
def test_encrypted_messages(keys: str, sealed: bytes, plain: bytes, from_server: bool) -> None:
    made = {
        "CCM": crypto.derive_keys(published.CCM_SESSION_KEY, agreed(0x0300, cipher=1)),
        "GCM": crypto.derive_keys(published.GCM_SESSION_KEY, agreed(0x0311, cipher=2), published.GCM_HASH),
    }
    assert made["CCM"].client_to_server == published.CCM_ENCRYPTION_KEY
    assert made["CCM"].server_to_client == published.CCM_DECRYPTION_KEY
    assert made["GCM"].client_to_server == published.GCM_ENCRYPTION_KEY
    assert made["GCM"].server_to_client == published.GCM_DECRYPTION_KEY
    assert crypto.is_encrypted(sealed)
    assert crypto.decrypt(sealed, made[keys], from_server=from_server) == plain
    assert crypto.decrypt(sealed + b"behind", made[keys], from_server=from_server) == plain
    assert crypto.decrypt(sealed, made[keys], from_server=not from_server) is None
    assert crypto.decrypt(sealed[:-1], made[keys], from_server=from_server) is None
    for place in (10, 25, 36, 50, 60):  # signature, nonce, size, session id, text
        changed = bytearray(sealed)
        changed[place] ^= 1
        assert crypto.decrypt(bytes(changed), made[keys], from_server=from_server) is None
    for size in range(4, len(plain)):
        assert crypto.decrypt_cut(sealed[: 52 + size], made[keys], from_server=from_server) == plain[:size]
    assert crypto.decrypt_cut(sealed, made[keys], from_server=not from_server) is None


# Parts, against other implementations. #


@given(st.binary(min_size=16, max_size=32), st.binary(min_size=1, max_size=20), st.binary(max_size=64))
def test_kdf(key: bytes, label: bytes, context: bytes) -> None:
    for bits in (128, 256):
        other = KBKDFHMAC(
            algorithm=SHA256(), mode=Mode.CounterMode, length=bits // 8, rlen=4, llen=4,
            location=CounterLocation.BeforeFixed, label=label, context=context, fixed=None,
        )  # fmt: skip
        assert crypto.kdf(key, label, context, bits) == other.derive(key)


def test_signatures_of_2x_are_hmac() -> None:
    keys = crypto.derive_keys(b"short", agreed(0x0210, signing=0, cipher=None))
    assert keys.signing == b"short".ljust(16, b"\0")
    assert crypto.signature(pdu(), keys) == hmac.digest(keys.signing, pdu(), "sha256")[:16]


@pytest.mark.parametrize(
    ("flags", "command", "role"),
    [(SIGNED, 3, 0), (SIGNED | ANSWER, 3, 1), (SIGNED, 12, 2), (SIGNED | ANSWER, 12, 3)],
)
def test_nonce_of_gmac(flags: int, command: int, role: int) -> None:
    """[MS-SMB2 3.1.4.1]: MessageId, then the sender's role and whether it is a CANCEL."""
    keys = crypto.derive_keys(KEY, agreed(signing=2), bytes(64))
    message = pdu(flags=flags, command=command, message_id=0x1122334455667788)
    nonce = struct.pack("<QI", 0x1122334455667788, role)
    assert crypto.signature(message, keys) == AESGCM(keys.signing).encrypt(nonce, b"", message)


@pytest.mark.parametrize("cipher", list(Cipher))
@pytest.mark.parametrize("from_server", [False, True])
def test_each_cipher(cipher: Cipher, from_server: bool) -> None:
    keys = crypto.derive_keys(KEY, agreed(cipher=cipher), bytes(64))
    key = keys.server_to_client if from_server else keys.client_to_server
    assert len(key) == (32 if cipher in (Cipher.AES_256_CCM, Cipher.AES_256_GCM) else 16)
    is_ccm = cipher in (Cipher.AES_128_CCM, Cipher.AES_256_CCM)
    nonce = b"nonce-of-ours"[: 11 if is_ccm else 12]
    plain = pdu(bytes(100))
    rest = b"".join(
        [
            nonce.ljust(16, b"\0"),  # Nonce
            struct.pack("<I", len(plain)),  # OriginalMessageSize
            struct.pack("<HH", 0, 1),  # Reserved, Flags: encrypted
            struct.pack("<Q", 0x55),  # SessionId
        ]
    )
    sealed = (AESCCM(key) if is_ccm else AESGCM(key)).encrypt(nonce, plain, rest)
    message = b"\xfdSMB" + sealed[-16:] + rest + sealed[:-16]
    assert crypto.decrypt(message, keys, from_server=from_server) == plain
    assert crypto.decrypt_cut(message[:100], keys, from_server=from_server) == plain[:48]


# Which messages count. #


def test_interim_answers_and_others_do_not_count() -> None:
    request_1, answer_1, request_2, answer_2 = PUBLISHED[2:]
    pending = pdu(command=1, flags=ANSWER, message_id=3, session_id=published.SESSION_ID_311, status=0x103)
    other = pdu(command=1, flags=0, message_id=9, session_id=0)
    messages = [
        b"\xffSMBr" + bytes(40),  # SMB 1, multi-protocol
        pdu(command=0, flags=ANSWER, message_id=0),  # its answer: dialect 0x02FF
        *PUBLISHED[:2],
        other,
        request_1,
        pdu(command=1, flags=ANSWER, message_id=9, session_id=0x77, status=0xC0000016),
        answer_1,
        request_2,
        b"\xfdSMB" + bytes(80),
        pending,
        answer_2,
        pdu(command=1, flags=0, message_id=11, session_id=published.SESSION_ID_311),  # authenticates again
    ]
    assert crypto.setup_messages(messages, published.SESSION_ID_311) == PUBLISHED[:5]
    assert crypto.setup_messages(messages, 0x77) is None  # never finished


@pytest.mark.parametrize("lost", range(6))
def test_a_lost_message_leaves_no_hash(lost: int) -> None:
    """The final answer does not count, but without it nobody knows that it was the last."""
    messages = PUBLISHED[:lost] + PUBLISHED[lost + 1 :]
    assert crypto.setup_messages(messages, published.SESSION_ID_311) is None


def test_without_the_final_answer() -> None:
    """It is known to be missing: then the messages in front of it are all that count."""
    counted = crypto.setup_messages(PUBLISHED[:5], published.SESSION_ID_311, is_answered=False)
    assert counted == PUBLISHED[:5]
    for lost in range(5):
        messages = PUBLISHED[:lost] + PUBLISHED[lost + 1 : 5]
        assert crypto.setup_messages(messages, published.SESSION_ID_311, is_answered=False) is None


def test_a_second_session_begins_with_the_negotiation() -> None:
    again = [message[:24] + bytes([9 + place]) + message[25:] for place, message in enumerate(PUBLISHED[2:])]
    again[1] = again[1][:24] + again[0][24:25] + again[1][25:]
    again[3] = again[3][:24] + again[2][24:25] + again[3][25:]
    second = (0x99).to_bytes(8, "little")
    again = [again[0], *(message[:40] + second + message[48:] for message in again[1:])]
    assert crypto.setup_messages(PUBLISHED + again, 0x99) == PUBLISHED[:2] + again[:3]
    assert crypto.setup_messages(PUBLISHED + again, published.SESSION_ID_311) == PUBLISHED[:5]


def test_a_binding_begins_with_the_session_id() -> None:
    """[MS-SMB2 3.3.5.5]: the channel has a hash of its own, from its own negotiation."""
    session = published.SESSION_ID_311.to_bytes(8, "little")
    first = PUBLISHED[2][:40] + session + PUBLISHED[2][48:66] + b"\x01" + PUBLISHED[2][67:]
    messages = [*PUBLISHED[:2], first, *PUBLISHED[3:]]
    assert crypto.setup_messages(messages, published.SESSION_ID_311) == messages[:5]
    again = [*PUBLISHED[:2], PUBLISHED[4], PUBLISHED[5]]  # authenticates again: the keys are older than the capture
    assert crypto.setup_messages(again, published.SESSION_ID_311) is None


# Compounds. #


def test_a_compound_is_signed_part_by_part() -> None:
    """Each signature covers its PDU with the padding behind it. [MS-SMB2 3.2.4.1.4]"""
    keys = crypto.derive_keys(KEY, agreed(), bytes(64))
    first = signed(pdu(b"abc" + bytes(5), following=72), keys)
    second = signed(pdu(b"last", flags=SIGNED | RELATED), keys)
    parts = list(crypto.split_compound(first + second))
    assert parts == [first, second]
    assert all(crypto.verify_signature(part, keys) for part in parts)
    assert not crypto.verify_signature(first + second, keys)


@pytest.mark.parametrize("following", [1, 63, 70, 0xFFFFFFFF])
def test_a_next_command_that_leads_nowhere(following: int) -> None:
    message = pdu(bytes(60), following=following)
    assert b"".join(crypto.split_compound(message)) == message
    assert list(crypto.split_compound(message[:63])) == []


# Trying keys. #


def test_find_keys() -> None:
    keys = crypto.derive_keys(KEY, agreed(), bytes(64))
    tried = [bytes(16), KEY]
    messages = [
        (False, pdu(flags=0)),
        (True, b"\xfdSMB"),
        (False, pdu()),
        (True, signed(pdu(flags=SIGNED | ANSWER), keys)),
    ]
    found = crypto.find_keys(tried, agreed(), bytes(64), messages)
    assert found == crypto.Found(place=1, keys=keys, by_signature=True, from_server=True)
    assert crypto.find_keys(tried[:1], agreed(), bytes(64), messages) is None
    assert crypto.find_keys([], agreed(), bytes(64), messages) is None
    many = [(False, pdu())] * crypto.MOST_TRIED
    assert crypto.find_keys(tried, agreed(), bytes(64), many + messages) is None
    found = crypto.find_keys(
        [KEY, published.GCM_SESSION_KEY], agreed(), published.GCM_HASH, [(False, published.GCM_REQUEST)]
    )
    assert found is not None
    assert (found.place, found.by_signature) == (1, False)


def test_no_cipher_decrypts_nothing() -> None:
    for cipher in (None, 0x77):
        keys = crypto.derive_keys(KEY, agreed(cipher=cipher), bytes(64))
        assert keys.cipher is None
        assert crypto.decrypt(published.GCM_REQUEST, keys, from_server=False) is None
        assert crypto.decrypt_cut(published.GCM_REQUEST, keys, from_server=False) is None


def test_an_unknown_signing_algorithm_verifies_nothing() -> None:
    keys = crypto.derive_keys(KEY, agreed(signing=0x77), bytes(64))
    assert not crypto.verify_signature(pdu(), keys)


@given(
    st.sampled_from([published.GCM_REQUEST, published.SETUP_RESPONSE_2]), st.integers(0, 200), st.binary(max_size=80)
)
def test_any_bytes(message: bytes, cut: int, rest: bytes) -> None:
    data = message[:cut] + rest
    for cipher in Cipher:
        keys = crypto.derive_keys(KEY, agreed(cipher=cipher, signing=cipher % 3), bytes(64))
        crypto.find_keys([KEY], agreed(cipher=cipher), bytes(64), [(True, data)])
        assert b"".join(crypto.split_compound(data)) in (data, b"")
        for part in crypto.split_compound(data):
            crypto.verify_signature(part, keys)
        for attempt in (crypto.decrypt, crypto.decrypt_cut):
            try:
                attempt(data, keys, from_server=True)
            except DecodeError:
                continue
        crypto.setup_messages([data, message, data], 0x55)
    crypto.verify_smb1_signature(data, KEY, 2)


# SMB 1. #


def test_smb1_signature() -> None:
    """[MS-CIFS 3.1.4.1]: MD5(MAC key + message with the sequence number in the signature's place), 8 bytes."""
    body = b"\xffSMB\x75" + bytes(9) + bytes(8) + bytes(10) + b"\0\0\0"
    wanted = hashlib.md5(KEY + body[:14] + struct.pack("<II", 2, 0) + body[22:]).digest()[:8]
    message = body[:14] + wanted + body[22:]
    assert crypto.verify_smb1_signature(message, KEY, 2)
    assert not crypto.verify_smb1_signature(message, KEY, 3)
    assert not crypto.verify_smb1_signature(message[:31], KEY, 2)


# Recorded sessions. #


def sessions_of(file: str) -> Iterator[tuple[list[Message], int]]:
    """(all messages of the connection, session id) of each session."""
    for said in conversations(CAPTURES / file):
        for session_id in session_ids(said):
            yield said, session_id


def agreed_in(said: list[Message]) -> Agreed:
    """By the last NEGOTIATE response."""
    return parse_agreed([message for from_server, message in said if from_server and message[12:14] == b"\0\0"][-1])


def preauth_of(said: list[Message], session_id: int) -> bytes:
    counted = crypto.setup_messages([message for _, message in said], session_id)
    assert counted is not None
    return crypto.preauth_hash(counted)


def zero_keys(said: list[Message], session_id: int) -> crypto.Found | None:
    candidates = zero_key_candidates(authenticate_of(said, session_id))
    own = [(from_server, message) for from_server, message in said if session_of(message) == session_id]
    found = crypto.find_keys([made.key for made in candidates], agreed_in(said), preauth_of(said, session_id), own)
    if found is not None:
        assert (candidates[found.place].source, candidates[found.place].is_exchanged) == (KeySource.ZERO, True)
    return found


@pytest.mark.parametrize(("file", "sessions"), [("anonymous-signed.pcap", 1), ("anonymous-signed-dialects.pcap", 4)])
def test_every_signature_of_an_anonymous_session(file: str, sessions: int) -> None:
    """impacket and smbprotocol on the one side, Samba on the other: both sides' signatures are the zero key's."""
    seen = 0
    for said, session_id in sessions_of(file):
        found = zero_keys(said, session_id)
        assert found is not None
        checked = {False: 0, True: 0}
        for from_server, message in said:
            for part in crypto.split_compound(message):
                if crypto.is_signed(part):
                    assert crypto.verify_signature(part, found.keys)
                    checked[from_server] += 1
        assert min(checked.values()) >= 6
        seen += 1
    assert seen == sessions


@pytest.mark.parametrize("file", ["anonymous-signed-dialects.pcap", "anonymous-encrypted.pcap"])
def test_the_keys_that_samba_logged(file: str) -> None:
    """Signing keys of all sessions, and the cipher keys of the users', from captured bytes and the session key."""
    told: dict[int, dict[str, Any]] = {int(row["session_id"], 16): row for row in ENTRIES[file]["server_keys"]}
    compared = 0
    for said, session_id in sessions_of(file):
        if session_id not in told:
            continue
        logged = told[session_id]
        keys = crypto.derive_keys(bytes.fromhex(logged["session_key"]), agreed_in(said), preauth_of(said, session_id))
        assert keys.signing.hex() == logged["signing"]
        if "server_in" in logged:
            assert keys.client_to_server.hex() == logged["server_in"]
            assert keys.server_to_client.hex() == logged["server_out"]
        compared += 1
    assert compared == len(told)


def test_a_user_is_not_nobody() -> None:
    """alice's final session setup answers are signed, and not with a key that anybody knows."""
    users = 0
    for said, session_id in sessions_of("anonymous-encrypted.pcap"):
        final = [message for _, message in said if session_of(message) == session_id and crypto.is_signed(message)]
        if final:
            assert zero_keys(said, session_id) is None
            users += 1
    assert users == 5


def test_what_a_guest_and_its_server_sign_with() -> None:
    """Samba's key for guests is zeros, although a key was exchanged; the client's own is of the password that it was
    given, which can be found only if that is empty.
    """
    seen = []
    for said, session_id in sessions_of("guest-signed.pcap"):
        challenge = [found for _, message in said if (found := server_challenge(message)) is not None][-1]
        candidates = zero_key_candidates(authenticate_of(said, session_id), challenge)
        for side in (True, False):
            own = [pair for pair in said if session_of(pair[1]) == session_id and pair[0] == side]
            keys = [made.key for made in candidates]
            found = crypto.find_keys(keys, agreed_in(said), preauth_of(said, session_id), own)
            made = candidates[found.place] if found else None
            seen.append((made.source, made.is_exchanged) if made else None)
    zeros, client = (KeySource.ZERO, False), (KeySource.EMPTY_PASSWORD, True)
    assert seen == [zeros, None, zeros, client]


def test_smb1_signatures_of_a_user() -> None:
    """alice's session key by [MS-NLMP 3.3.2] from her password; Samba's client and server count from 0 on.

    The session setup that begins signing has the numbers 0 and 1, of which the request is not signed yet.
    """
    said = next(said for said in conversations(CAPTURES / "guest-signed.pcap") if said[1][1][:4] == b"\xffSMB")
    token = next(message for _, message in reversed(said) if b"NTLMSSP\0\3" in message)
    challenge = [found for _, message in said if (found := server_challenge(message)) is not None][-1]
    message = token[token.index(b"NTLMSSP\0") :]
    nt, domain, user, key = (
        message[offset : offset + size]
        for size, _, offset in (struct.unpack_from("<HHI", message, at) for at in (20, 28, 36, 52))
    )
    response_key = hmac.digest(ALICE_NTOWF, user.decode("utf-16-le").upper().encode("utf-16-le") + domain, "md5")
    assert hmac.digest(response_key, challenge + nt[16:], "md5") == nt[:16]
    session_key = rc4(hmac.digest(response_key, nt[:16], "md5"), key)
    after = [message for _, message in said[said.index((False, token)) + 1 :]]
    assert len(after) >= 5
    for sequence, message in enumerate(after, 1):
        assert crypto.verify_smb1_signature(message, session_key, sequence)
        assert not crypto.verify_smb1_signature(message, bytes(16), sequence)


def opened(file: str) -> Iterator[tuple[Agreed, list[Message]]]:
    """What the encrypted sessions of a capture hold."""
    for said, session_id in sessions_of(file):
        sealed = [pair for pair in said if crypto.is_encrypted(pair[1]) and session_of(pair[1]) == session_id]
        if not sealed:
            continue
        found = zero_keys(said, session_id)
        assert found is not None
        plain = []
        for from_server, message in sealed:
            text = crypto.decrypt(message, found.keys, from_server=from_server)
            assert text is not None
            assert crypto.decrypt_cut(message[:-7], found.keys, from_server=from_server) == text[:-7]
            plain.append((from_server, text))
        yield agreed_in(said), plain


def test_encrypted_sessions_are_read() -> None:
    """What smbprotocol did in them: IPC$, srvsvc, a bind and a call with their answers, and the way out again."""
    told = [session for session in ENTRIES["anonymous-encrypted.pcap"]["sessions"] if session["asked"] == "anonymous"]
    ciphers = []
    for (settled, messages), session in zip(opened("anonymous-encrypted.pcap"), told, strict=True):
        ciphers.append(settled.cipher)
        requests = [message for from_server, message in messages if not from_server]
        commands = [struct.unpack_from("<H", message, 12)[0] for message in requests]
        assert commands == [
            3,
            5,
            9,
            8,
            9,
            8,
            6,
            4,
            2,
        ]  # tree, create, write, read, write, read, close, tree off, logoff
        path = session["trees"][0]["path"]
        assert requests[0].endswith(path.encode("utf-16-le"))
        assert session["pipe_opens"][0]["pipe"].encode("utf-16-le") in requests[1]
        final = [message for from_server, message in messages if from_server and message[8:12] != b"\3\1\0\0"]
        assert all(message[8:12] == bytes(4) for message in final)
        assert final[5].endswith(bytes(4))  # the call's return value: WERR_OK
    assert ciphers == [Cipher.AES_128_CCM, *Cipher]


def test_tshark_decrypts_the_same(tmp_path: Path) -> None:
    """tshark, given the session keys that were recovered, shows the same tree connects and opens."""
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is not installed")
    options = []
    for said, session_id in sessions_of("anonymous-encrypted.pcap"):
        if any(crypto.is_encrypted(message) and session_of(message) == session_id for _, message in said):
            key = zero_key_candidates(authenticate_of(said, session_id))[0].key
            name = session_id.to_bytes(8, "little").hex()
            options += ["-o", f'uat:smb2_seskey_list:{name},{key.hex()},"",""']
    command = [
        tshark,
        *options,
        "-r",
        str(CAPTURES / "anonymous-encrypted.pcap"),
        "-Y",
        "smb2.cmd == 3 or smb2.cmd == 5",
    ]
    done = subprocess.run(
        [*command, "-T", "fields", "-e", "smb2.tree", "-e", "smb2.filename"],
        capture_output=True, text=True, check=False, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    trees, names = len(re.findall(r"IPC\$", done.stdout)), len(re.findall("srvsvc", done.stdout))
    assert trees >= 5, done.stdout + done.stderr
    assert names >= 5


@pytest.mark.parametrize(
    ("file", "sessions"),
    [("suricata-verify__dcerpc__zerologon.pcap", 10), ("zeek__ldap__aduser1.pcap", 1)],
)
def test_signatures_in_public_captures(corpus: Path, file: str, sessions: int) -> None:
    """Windows servers, and an anonymous client that signs by itself or because they demand it (3.0): all signatures of
    these sessions are the zero key's, the server's too.
    """
    if not (corpus / file).exists():
        pytest.skip("the capture is not in the folder")
    seen = 0
    for said in conversations(corpus / file):
        for session_id in session_ids(said):
            found = zero_keys_of_public(said, session_id)
            if found is None:
                continue
            seen += 1
            sides = {False: 0, True: 0}
            for from_server, message in said:
                for part in crypto.split_compound(message):
                    if crypto.is_signed(part) and session_of(part) == session_id:
                        assert crypto.verify_signature(part, found.keys)
                        sides[from_server] += 1
            assert min(sides.values()) > 0
    assert seen == sessions


def zero_keys_of_public(said: list[Message], session_id: int) -> crypto.Found | None:
    """Sessions whose setup is not NTLM's, or was not captured, are not asked."""
    challenges = [found for _, message in said if (found := server_challenge(message)) is not None]
    if not challenges:
        return None
    candidates = zero_key_candidates(authenticate_of(said, session_id), challenges[-1])
    counted = crypto.setup_messages([message for _, message in said], session_id)
    proof = crypto.preauth_hash(counted) if counted else b""
    own = [pair for pair in said if session_of(pair[1]) == session_id]
    return crypto.find_keys([made.key for made in candidates], agreed_in(said), proof, own)
