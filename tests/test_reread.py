"""Connections are read again where null sessions sign or encrypt: what they did is seen, and nothing else changes.

Recorded exchanges, changed in ways that must not matter or must; and built ones, encrypted here with SMB 3.0.2's keys:
SP800-108 with the labels of [MS-SMB2] 3.1.4.2 on sixteen zero bytes, AES-128-CCM with nonces of 11 bytes (2.2.41).
"""

from __future__ import annotations

import gzip
import hmac
import io
import struct
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from manifest import CAPTURES
from rewriting import Packet, read, write

import analyzer
from analyzer.capture import source
from analyzer.capture.reader import CaptureReader
from analyzer.engines import native, sealed
from analyzer.sessions import reducer
from analyzer.smb.select import ROOM_ROWS
from tests import build
from tests.build import ACCESS_DENIED, RESPONSE, SUCCESS, Segment
from tests.dialogue import ALICE, AS_IMPACKET, SECOND, Smb2

ENCRYPTED, SIGNED = CAPTURES / "anonymous-encrypted.pcap", CAPTURES / "anonymous-signed-dialects.pcap"
SESSIONS = 5
"""Null sessions in the first, one a connection, behind a login of alice's."""
ZERO = bytes(16)
SID = 0x11


def found(analysis: analyzer.Analysis) -> dict[str, list[Any]]:
    """What the sessions did, by their numbers."""
    return {
        "trees": analysis.trees[["session_key", "path", "kind", "status"]].to_numpy().tolist(),
        "opens": analysis.pipe_opens[["session_key", "pipe", "status", "bytes_written", "bytes_read"]]
        .to_numpy()
        .tolist(),
        "sessions": analysis.sessions[["session_key", "identity", "confidence", "evidence"]].to_numpy().tolist(),
        "left": analysis.connections["encrypted_messages"].tolist(),
    }


def measure(analysis: analyzer.Analysis, name: str) -> int:
    """A measure of all of `coverage`."""
    rows = analysis.coverage
    return int(rows[rows["server_ip"].isna() & (rows["measure"] == name)]["value"].iloc[0])


def evidence(analysis: analyzer.Analysis, asked: str = "anonymous") -> list[str]:
    """Of the sessions that asked so."""
    return analysis.sessions[analysis.sessions["asked"] == asked]["evidence"].tolist()


@pytest.fixture(scope="module")
def whole() -> dict[str, list[Any]]:
    """What the capture of encrypted sessions shows."""
    told = found(analyzer.analyze(ENCRYPTED))
    assert len(told["trees"]) == len(told["opens"]) == SESSIONS
    assert told["left"] == [0] * SESSIONS
    return told


# Other clothes. #


def test_compressed(whole: dict[str, list[Any]], tmp_path: Path) -> None:
    path = tmp_path / "c.pcap.gz"
    path.write_bytes(gzip.compress(ENCRYPTED.read_bytes(), mtime=0))
    assert found(analyzer.analyze(path)) == whole


@pytest.mark.parametrize("parts", [2, 3, 11])
def test_split_over_files(parts: int, tmp_path: Path) -> None:
    """Logins, what they are needed for, and what was done lie in different files, beside files of other things."""
    packets = read(ENCRYPTED)
    (tmp_path / "a.pcap").write_bytes((CAPTURES / "anonymous-smb202.pcap").read_bytes())
    alone = analyzer.analyze(tmp_path / "a.pcap")
    step = len(packets) // parts + 1
    for part in range(parts):
        write(tmp_path / f"part{part}.pcap", packets[part * step : (part + 1) * step])
    analysis = analyzer.analyze(tmp_path)
    assert len(analysis.pipe_opens) == SESSIONS + len(alone.pipe_opens)
    assert analysis.connections["encrypted_messages"].tolist() == [0] * len(analysis.connections)
    opens = analysis.pipe_opens.merge(analysis.sessions, on="session_key")
    assert set(opens["identity"]) == {"anonymous"}
    # Frames are those of the files that the opens are in.
    for _, row in analysis.pipe_opens.iterrows():
        assert 0 < row["frame"] <= len(read(Path(row["capture"])))


def test_frames_and_places_in_the_order() -> None:
    """An encrypted open has the frame of its encrypted message: what tshark names, given the session keys."""
    analysis = analyzer.analyze(ENCRYPTED)
    packets = read(ENCRYPTED)
    for frame in (*analysis.pipe_opens["frame"], *analysis.trees["frame"]):
        assert b"\xfdSMB" in packets[frame - 1].data
    assert (analysis.pipe_opens["frame"].to_numpy() > analysis.trees["frame"].to_numpy()).all()
    ends = analysis.sessions.set_index("session_key").loc[analysis.trees["session_key"]]["ended"]
    assert ends.notna().all()  # the encrypted LOGOFF


def test_out_of_order_and_twice(whole: dict[str, list[Any]], tmp_path: Path) -> None:
    packets = read(ENCRYPTED)
    for place in range(3, len(packets) - 1, 5):
        packets[place], packets[place + 1] = packets[place + 1], packets[place]
    packets = [copy for packet in packets for copy in (packet, packet)]
    assert found(analyzer.analyze(write(tmp_path / "c.pcap", packets))) == whole


@pytest.mark.parametrize(
    ("name", "value"), [("HELD", 1), ("READY_ROWS", 0), ("READY_BYTES", 0)], ids=["held", "rows", "bytes"]
)
def test_worked_off_in_small_parts(
    name: str, value: int, whole: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, name, value)
    monkeypatch.setattr(native, "WINDOW_ROWS", ROOM_ROWS + 8)  # a window after every few messages
    assert found(analyzer.analyze(ENCRYPTED)) == whole


def test_each_site_by_itself(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "c.pcap").write_bytes(ENCRYPTED.read_bytes())
    analysis = analyzer.analyze(tmp_path, separate=True)
    assert (
        analysis.pipe_opens.merge(analysis.sessions, on="session_key")["site"].value_counts().tolist() == [SESSIONS] * 2
    )
    assert sorted(analysis.sessions["identity"]) == ["anonymous"] * 10 + ["user"] * 10


# Standard input. #


def standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_standard_input_is_kept(
    pack: Callable[[bytes], bytes], whole: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    standard_input(monkeypatch, pack(ENCRYPTED.read_bytes()))
    assert found(analyzer.analyze("-")) == whole


def test_more_standard_input_than_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the sessions are what they are, and what they did stays hidden; that is counted."""
    monkeypatch.setattr(source, "SPOOLED", 10_000)
    standard_input(monkeypatch, ENCRYPTED.read_bytes())
    analysis = analyzer.analyze("-")
    assert len(analysis.trees) == 0
    assert all("signature.unchecked" in told for told in evidence(analysis))
    assert measure(analysis, "sessions_unchecked") == SESSIONS
    assert measure(analysis, "encrypted_messages") > 50
    assert analysis.dependencies["verdict"].tolist() == ["unknown"]


def test_no_room_to_keep_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    standard_input(monkeypatch, ENCRYPTED.read_bytes())
    assert measure(analyzer.analyze("-"), "sessions_unchecked") == SESSIONS


# What must not be opened. #


def changed(change: Callable[[bytes], bytes], where: bytes) -> list[Packet]:
    """The capture, with the bytes from `where` on of packets changed."""
    packets = []
    for packet in read(ENCRYPTED):
        at = packet.data.find(where)
        packets.append(packet if at < 0 else replace(packet, data=packet.data[:at] + change(packet.data[at:])))
    return packets


def flipped(place: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("place", [8, 25, 52, 60], ids=["tag", "nonce", "text", "more text"])
def test_a_changed_bit_opens_nothing(place: int, tmp_path: Path) -> None:
    """And what is opened changes no other row: all but what was hidden is as in the capture that opens."""
    path = write(tmp_path / "c.pcap", changed(flipped(place), b"\xfdSMB"))
    analysis = analyzer.analyze(path)
    assert len(analysis.trees) == len(analysis.pipe_opens) == 0
    assert all("conflict.encryption" in told for told in evidence(analysis))
    assert min(analysis.connections["encrypted_messages"]) > 10
    plain = analyzer.analyze(ENCRYPTED)
    for name, differs in (
        ("connections", ["capture", "encrypted_messages"]),
        ("sessions", ["capture", "answer_capture", "evidence", "ended", "encrypted_messages"]),
        ("hosts", []),
    ):
        one, other = (tables.table(name).drop(columns=differs, errors="ignore") for tables in (analysis, plain))
        assert one.equals(other), name


def without_negotiation(packets: Iterable[Packet], port_place: int) -> list[Packet]:
    """Without the two NEGOTIATE messages of one of the connections."""
    kept, ports = [], []
    for packet in packets:
        port = max(struct.unpack_from(">HH", packet.data, 34))
        at = packet.data.find(b"\xfeSMB")
        if at >= 0 and packet.data[at + 12 : at + 14] == b"\0\0":
            if port not in ports:
                ports.append(port)
            if ports.index(port) == port_place:
                continue
        kept.append(packet)
    return kept


def test_a_negotiation_that_was_not_captured(tmp_path: Path) -> None:
    """Before 3.1.1 keys do not depend on it, and there are few ways to try; the keys of 3.1.1 cannot be had."""
    old = analyzer.analyze(write(tmp_path / "old.pcap", without_negotiation(read(ENCRYPTED), 0)))
    assert len(old.trees) == SESSIONS
    new = analyzer.analyze(write(tmp_path / "new.pcap", without_negotiation(read(ENCRYPTED), 2)))
    assert new.connections["encrypted_messages"].gt(0).tolist() == [False, False, True, False, False]
    assert ["signature.unchecked" in told for told in evidence(new)] == [False, False, True, False, False]
    assert measure(new, "sessions_unchecked") == 1
    assert len(new.trees) == SESSIONS - 1


def test_the_final_answer_was_lost(tmp_path: Path) -> None:
    """It is no part of the keys: what was done is seen, and proves that the login succeeded."""
    packets = []
    for packet in read(ENCRYPTED):
        at = packet.data.find(b"\xfeSMB")
        is_answer = at >= 0 and packet.data[at + 12] == 1 and packet.data[at + 16] & 1
        is_alices = at >= 0 and packet.data[at + 16] & 8  # it is signed
        if is_answer and packet.data[at + 8 : at + 12] == bytes(4) and not is_alices:
            continue
        packets.append(packet)
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", packets))
    assert len(analysis.pipe_opens) == SESSIONS
    rows = analysis.sessions[analysis.sessions["asked"] == "anonymous"]
    assert rows["outcome"].unique().tolist() == ["unanswered"]
    assert rows["identity"].unique().tolist() == ["anonymous"]
    assert rows["confidence"].unique().tolist() == ["strong"]
    assert all("later.success" in told and "encryption.zero_key" in told for told in rows["evidence"])


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reducer, "MAX_AGAIN", 2)
    few = analyzer.analyze(ENCRYPTED)
    assert (len(few.trees), measure(few, "sessions_unchecked")) == (2, SESSIONS - 2)
    monkeypatch.setattr(reducer, "MAX_AGAIN", 100)
    monkeypatch.setattr(reducer, "MAX_SEALED", 3)  # the tree connect and its answer, and the open
    some = analyzer.analyze(ENCRYPTED)
    assert some.connections["encrypted_messages"].gt(0).all()
    assert len(some.trees) == 1
    assert some.pipe_opens["status"].isna().tolist() == [True] * len(some.pipe_opens)


@pytest.mark.parametrize("name", ["MOST_OPENED", "MOST_WORK", "MOST_SETUPS"])
def test_no_more_than_so_much_is_opened(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is counted, and nobody is accused of another key."""
    monkeypatch.setattr(sealed, name, 0)
    analysis = analyzer.analyze(ENCRYPTED)
    assert analysis.connections["encrypted_messages"].gt(0).all()
    assert len(analysis.trees) == 0
    assert not any("conflict" in told for told in evidence(analysis))


def test_only_files_with_what_is_wanted_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in front of it and behind it are not opened again."""
    opened: list[str] = []
    begin = CaptureReader.__init__

    def noted(self: CaptureReader, capture: str, *arguments: Any, **options: Any) -> None:
        opened.append(Path(capture).name)
        begin(self, capture, *arguments, **options)

    packets, others = read(ENCRYPTED), read(CAPTURES / "user.pcap")
    for number, name in ((-1, "a"), (1, "c")):
        later = packets[0].time_ns + number * 86_400 * SECOND - others[0].time_ns
        write(tmp_path / f"{name}.pcap", [replace(packet, time_ns=packet.time_ns + later) for packet in others])
    write(tmp_path / "b.pcap", packets)
    monkeypatch.setattr(CaptureReader, "__init__", noted)
    analysis = analyzer.analyze(tmp_path)
    assert len(analysis.pipe_opens) == SESSIONS
    assert opened[-4:] == ["a.pcap", "b.pcap", "c.pcap", "b.pcap"]


def test_nothing_is_read_again_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("analyzer.engines.native.NativeEngine.reread", never)
    analyzer.analyze(CAPTURES / "anonymous-smb311.pcap")
    analyzer.analyze(CAPTURES / "user.pcap")


# Signatures. #


def test_signatures(tmp_path: Path) -> None:
    analysis = analyzer.analyze(SIGNED)
    assert all(told.endswith("signature.zero_key") for told in evidence(analysis))
    packets = read(SIGNED)
    for place, packet in enumerate(packets):
        at = packet.data.find(b"\xfeSMB")
        if at >= 0 and packet.data[at + 16] & 8:
            packets[place] = replace(packet, data=packet.data[: at + 50] + b"\0" + packet.data[at + 51 :])
    other = analyzer.analyze(write(tmp_path / "c.pcap", packets))
    assert all(told.endswith("conflict.signature") for told in evidence(other))
    # Requests of theirs that are signed do not speak against it.
    assert other.sessions["identity"].unique().tolist() == ["anonymous"]


def signed(segment: Segment, key: bytes) -> Segment:
    """With the Signature of SMB 2.1: HMAC-SHA256 over the message with zeros in its place. [MS-SMB2 3.1.4.1]"""
    message = bytearray(segment.payload[4:])
    message[16] |= build.SIGNED
    message[48:64] = bytes(16)
    message[48:64] = hmac.digest(key, bytes(message), "sha256")[:16]
    return replace(segment, payload=segment.payload[:4] + bytes(message))


@pytest.mark.parametrize(
    ("key", "flags", "identity", "confidence", "sign"),
    [
        (ZERO, 0, "anonymous", "certain", "signature.zero_key"),
        (ZERO, 1, "guest", "certain", "signature.zero_key"),
        (b"somebody's" + bytes(6), 0, "unknown", None, "conflict.signature"),
    ],
    ids=["anonymous", "guest", "another key"],
)
def test_a_final_answer_that_is_signed(
    key: bytes, flags: int, identity: str, confidence: str | None, sign: str, tmp_path: Path
) -> None:
    talk = Smb2(dialect=0x0210)
    answer = talk.login(SID, AS_IMPACKET, session_flags=flags, final=build.SIGNED).answer
    assert answer is not None
    talk.tcp.segments[talk.tcp.segments.index(answer)] = signed(answer, key)
    talk.tree(SID, 1)
    (tmp_path / "c.pcap").write_bytes(build.pcap(talk.tcp.packets()))
    row = analyzer.analyze(tmp_path / "c.pcap").sessions.iloc[0]
    assert row["identity"] == identity
    assert row["confidence"] == confidence if confidence else row["confidence"] is not None
    assert sign in row["evidence"]
    assert ("conflict.final_signed" in row["evidence"]) == (identity == "unknown")


# Built exchanges. #


def cipher_key(label: bytes) -> bytes:
    """SP800-108 in counter mode with HMAC-SHA256, 128 bits. [MS-SMB2 3.1.4.2]"""
    return hmac.digest(ZERO, b"\0\0\0\1" + b"SMB2AESCCM\0" + b"\0" + label + b"\0\0\0\x80", "sha256")[:16]


class Private(Smb2):
    """A connection of 3.0.2 that encrypts while `private` is set."""

    private = False
    hide: Callable[[bytes], bytes] = staticmethod(bytes)
    """Changes what is encrypted."""

    def ask(self, command: int, body: bytes, **header: Any) -> Segment:
        if not self.private:
            return super().ask(command, body, **header)
        self.message_id += 1
        header.setdefault("message_id", self.message_id)
        return self.tcp.client(build.framed(self.sealed(build.smb2(command, body, **header))))

    def answer(self, command: int, body: bytes, *, status: int = SUCCESS, flags: int = 0, **header: Any) -> Segment:
        if not self.private:
            return super().answer(command, body, status=status, flags=flags, **header)
        body = body if status == SUCCESS else build.error_answer()
        header.setdefault("message_id", self.message_id)
        message = build.smb2(command, body, status=status, flags=RESPONSE | flags, **header)
        return self.tcp.server(build.framed(self.sealed(message, from_server=True)))

    def sealed(self, plain: bytes, *, from_server: bool = False, session: int = SID) -> bytes:
        """An encrypted message. [MS-SMB2 2.2.41, 3.1.4.3]"""
        plain = self.hide(plain)
        nonce = (self.message_id * 2 + from_server).to_bytes(11, "little") + bytes(5)
        rest = nonce + struct.pack("<IHHQ", len(plain), 0, 1, session)
        cipher = AESCCM(cipher_key(b"ServerOut\0" if from_server else b"ServerIn \0"))
        text = cipher.encrypt(nonce[:11], plain, rest)
        return b"\xfdSMB" + text[-16:] + rest + text[:-16]


def analyzed(tmp_path: Path, *talks: Smb2) -> analyzer.Analysis:
    packets = sorted((packet for talk in talks for packet in talk.tcp.packets()), key=lambda packet: packet.time_ns)
    (tmp_path / "built.pcap").write_bytes(build.pcap(packets, nano=True))
    return analyzer.analyze(tmp_path / "built.pcap")


def private(**options: Any) -> Private:
    """A null session that is private from now on."""
    talk = Private(dialect=0x0302, **options)
    talk.login(SID, AS_IMPACKET)
    talk.private = True
    return talk


def test_a_built_session(tmp_path: Path) -> None:
    talk = private()
    talk.tree(SID, 1)
    opened = talk.use(SID, 1, "srvsvc")
    talk.create(SID, 1, "samr", (0, 0), status=ACCESS_DENIED)
    talk.dfs(SID, 1)
    analysis = analyzed(tmp_path, talk)
    assert analysis.pipe_opens[["pipe", "status"]].to_numpy().tolist() == [
        ["srvsvc", "STATUS_SUCCESS"],
        ["samr", "STATUS_ACCESS_DENIED"],
    ]
    assert opened.request is not None
    assert analysis.pipe_opens["frame"][0] == talk.tcp.segments.index(opened.request) + 1
    assert analysis.calls["protocol"].tolist() == ["dfs"]
    assert analysis.connections["encrypted_messages"].tolist() == [0]
    assert dict(zip(analysis.dependencies["resource"], analysis.dependencies["verdict"], strict=True)) == {
        "srvsvc": "depends",
        "samr": "denied",
        "dfs": "depends",
    }


def test_only_some_of_it_is_encrypted(tmp_path: Path) -> None:
    """Trees and files of either kind are known to the other, in their order: a tree id is used again."""
    talk = Private(dialect=0x0302)
    talk.login(SID, AS_IMPACKET)
    talk.tree(SID, 1)
    talk.private = True
    talk.create(SID, 1, "srvsvc", (7, 7))
    talk.transceive(SID, 1, (7, 7), bytes(72), bytes(60))
    talk.private = False
    talk.transceive(SID, 1, (7, 7), bytes(10), bytes(10))
    talk.disconnect(SID, 1)
    talk.tree(SID, 1, "public")
    talk.private = True
    talk.transceive(SID, 1, (7, 7), bytes(72), bytes(60))
    analysis = analyzed(tmp_path, talk)
    assert analysis.trees["share"].tolist() == ["IPC$", "PUBLIC"]
    opens = analysis.pipe_opens
    assert opens["tree_key"].tolist() == [analysis.trees["tree_key"][0]]
    assert opens["pipe"].tolist() == ["srvsvc"]
    assert opens["bytes_written"].tolist() == [72]  # what came in clear went by before the open was known


def test_files_are_counted_as_others_are(tmp_path: Path) -> None:
    """The data of disk shares is passed over, also if it is encrypted: the tables are those of the clear exchange."""
    rows = []
    for is_private in (False, True):
        talk = Private(dialect=0x0302)
        talk.login(SID, AS_IMPACKET, session_flags=1)
        talk.private = is_private
        talk.tree(SID, 1, "public")
        talk.create(SID, 1, r"dir\file.txt", (9, 9))
        talk.read(SID, 1, (9, 9), bytes(60_000))
        talk.write(SID, 1, (9, 9), bytes(60_000))
        talk.close(SID, 1, (9, 9))
        talk.exchange(build.ECHO, b"\4\0\0\0", b"\4\0\0\0", session=SID)
        talk.answer(build.CREATE, b"", status=0x103, session_id=SID, tree_id=1)  # an interim answer
        analysis = analyzed(tmp_path, talk)
        assert analysis.connections["encrypted_messages"].tolist() == [0]
        rows.append(
            [
                analysis.table(name).drop(columns="evidence", errors="ignore").to_numpy().tolist()
                for name in ("trees", "disk_opens", "pipe_opens", "dependencies")
            ]
        )
        assert analysis.disk_opens["opens"].tolist() == [1]
    assert str(rows[0]) == str(rows[1])


def test_compounds(tmp_path: Path) -> None:
    """Open, transceive and close in one encrypted message, and the answers likewise."""
    talk = private()
    talk.tree(SID, 1)
    talk.message_id += 3
    ids = range(talk.message_id - 2, talk.message_id + 1)
    control = build.ioctl_request(0x0011C017, build.NO_FILE, bytes(72))
    requests = ((build.CREATE, build.create_request("lsarpc")), (build.IOCTL, control))
    answers = (
        (build.CREATE, build.create_answer((7, 7))),
        (build.IOCTL, build.ioctl_answer(0x0011C017, (7, 7), bytes(60))),
    )
    for parts, flags, send in ((requests, 0, talk.tcp.client), (answers, RESPONSE, talk.tcp.server)):
        pdus = [
            build.smb2(
                command,
                body,
                message_id=number,
                session_id=SID,
                tree_id=1,
                flags=flags | (build.RELATED if place else 0),
            )
            for place, ((command, body), number) in enumerate(zip(parts, ids, strict=False))
        ]
        send(build.framed(talk.sealed(build.compound(*pdus), from_server=bool(flags))))
    analysis = analyzed(tmp_path, talk)
    opens = analysis.pipe_opens
    assert opens[["pipe", "bytes_written", "bytes_read"]].to_numpy().tolist() == [["lsarpc", 72, 60]]


def test_a_compressed_message_inside(tmp_path: Path) -> None:
    """It is counted, as one that was sent in clear is."""
    talk = private()
    talk.tree(SID, 1)
    header = struct.pack("<4sIHHI", b"\xfcSMB", 200, 1, 0, 64)  # [MS-SMB2 2.2.42.1]
    talk.tcp.client(build.framed(talk.sealed(header + bytes(80))))
    analysis = analyzed(tmp_path, talk)
    assert analysis.connections["compressed_messages"].tolist() == [1]


def test_messages_whose_end_was_not_captured(tmp_path: Path) -> None:
    """Nothing proves such a message but that it begins as one; others of the session prove the key."""
    talk = private()
    talk.tree(SID, 1)
    opened = talk.create(SID, 1, "winreg", (7, 7))
    assert opened.answer is not None
    place = talk.tcp.segments.index(opened.answer)
    talk.tcp.segments[place] = replace(opened.answer, have=len(opened.answer.payload) - 9)
    analysis = analyzed(tmp_path, talk)
    assert analysis.pipe_opens[["pipe", "status"]].to_numpy().tolist() == [["winreg", "STATUS_SUCCESS"]]
    assert analysis.connections["encrypted_messages"].tolist() == [0]


def test_another_session_on_the_connection_stays_shut(tmp_path: Path) -> None:
    """A user's messages are not opened by the null session's key, and are counted."""
    talk = Private(dialect=0x0302)
    talk.login(0x22, ALICE, final=build.SIGNED)
    talk.login(SID, AS_IMPACKET)
    talk.private = True
    talk.tree(SID, 1)
    talk.private = False
    for _ in range(3):
        talk.tcp.client(build.framed(build.encrypted(0x22)))
    analysis = analyzed(tmp_path, talk)
    assert analysis.connections["encrypted_messages"].tolist() == [3]
    assert len(analysis.trees) == 1
    assert analysis.sessions["identity"].tolist() == ["user", "anonymous"]


def test_counts_of_credentialed_uses_stay(tmp_path: Path) -> None:
    """What a user does in clear on such a connection is counted once."""
    rows = []
    for is_private in (False, True):
        talk = Private(dialect=0x0302)
        talk.credentialed_use(0x22, "srvsvc")
        talk.login(SID, AS_IMPACKET)
        talk.private = is_private
        talk.tree(SID, 2)
        talk.use(SID, 2, "samr")
        talk.private = False
        talk.transceive(0x22, 1, (7, 7), bytes(72), bytes(60))
        analysis = analyzed(tmp_path, talk)
        rows.append(analysis.credentialed_uses.drop(columns="capture").to_numpy().tolist())
        assert analysis.pipe_opens["pipe"].tolist() == ["samr"]
    assert str(rows[0]) == str(rows[1])


def test_the_same_endpoints_again(tmp_path: Path) -> None:
    """Two connections with the same ports: each has its own keys and rows."""
    first, second = private(), private(at=100, isn=900_000)
    for talk, pipe in ((first, "srvsvc"), (second, "samr")):
        talk.tree(SID, 1)
        talk.use(SID, 1, pipe)
        talk.tcp.close()
    analysis = analyzed(tmp_path, first, second)
    assert len(analysis.connections) == 2
    assert analysis.pipe_opens.merge(analysis.sessions, on="session_key")["pipe"].tolist() == ["srvsvc", "samr"]
    assert analysis.pipe_opens["session_key"].tolist() == analysis.sessions["session_key"].tolist()
    assert second.tcp.now_ns - first.tcp.now_ns > 90 * SECOND
