"""NTLMSSP: the specification's own examples, the shapes of anonymous logons, old forms, cut and random bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer import auth
from analyzer.auth import ntlmssp
from analyzer.records import Form, Mechanism, TokenKind
from analyzer.sessions import columns
from analyzer.sessions.identity import ATTEMPT, Asked, note_claims
from analyzer.sessions.names import Names
from analyzer.sessions.setups import TOKEN_FIELDS
from analyzer.wire.texts import Texts
from tests.auth.tokens import token_of, tokens_of
from tests.build import (
    NTLM_ANONYMOUS,
    NTLM_FLAGS,
    NTLM_OEM,
    NTLM_TARGET_INFO,
    NTLM_UNICODE,
    NTLM_VERSION,
    PAYLOAD_ORDER,
    av_pair,
    ntlm_authenticate,
    ntlm_challenge,
    ntlm_negotiate,
    spnego_answer,
    spnego_init,
    utf16,
)

CHALLENGE_V1 = bytes.fromhex(  # [MS-NLMP 4.2.2.3]
    "4e544c4d53535000"  #                    Signature
    "02000000"  #                            MessageType
    "0c00 0c00 38000000"  #                  TargetName: 12 bytes at 56
    "338202e2"  #                            NegotiateFlags
    "0123456789abcdef"  #                    ServerChallenge
    "0000000000000000"  #                    Reserved
    "0000 0000 00000000"  #                  TargetInfo
    "06 00 7017 000000 0f"  #                Version: 6.0, build 6000
    "530065007200760065007200"  #            Server
)
AUTHENTICATE_V1 = bytes.fromhex(  # [MS-NLMP 4.2.2.3]
    "4e544c4d53535000"  #                    Signature
    "03000000"  #                            MessageType
    "1800 1800 6c000000"  #                  LmChallengeResponse: 24 bytes at 108
    "1800 1800 84000000"  #                  NtChallengeResponse: 24 bytes at 132
    "0c00 0c00 48000000"  #                  DomainName: 12 bytes at 72
    "0800 0800 54000000"  #                  UserName: 8 bytes at 84
    "1000 1000 5c000000"  #                  Workstation: 16 bytes at 92
    "1000 1000 9c000000"  #                  EncryptedRandomSessionKey: 16 bytes at 156
    "358280e2"  #                            NegotiateFlags
    "05 01 280a 000000 0f"  #                Version: 5.1, build 2600
    "44006f006d00610069006e00"  #            Domain
    "5500730065007200"  #                    User
    "43004f004d0050005500540045005200"  #    COMPUTER
    "98def7b87f88aa5dafe2df779688a172def11c7d5ccdef13"  # LmChallengeResponse
    "67c43011f30298a2ad35ece64f16331c44bdbed927841f94"  # NtChallengeResponse
    "518822b1b3f350c8958682ecbb3e3cb7"  #    EncryptedRandomSessionKey
)
TARGET_INFO_V2 = bytes.fromhex(
    "0200 0c00 44006f006d00610069006e00"  #  MsvAvNbDomainName: Domain
    "0100 0c00 530065007200760065007200"  #  MsvAvNbComputerName: Server
    "0000 0000"  #                           MsvAvEOL
)
CHALLENGE_V2 = (
    bytes.fromhex(  # [MS-NLMP 4.2.4.3]
        "4e544c4d53535000"  #                Signature
        "02000000"  #                        MessageType
        "0c00 0c00 38000000"  #              TargetName: 12 bytes at 56
        "33828ae2"  #                        NegotiateFlags
        "0123456789abcdef"  #                ServerChallenge
        "0000000000000000"  #                Reserved
        "2400 2400 44000000"  #              TargetInfo: 36 bytes at 68
        "06 00 7017 000000 0f"  #            Version: 6.0, build 6000
        "530065007200760065007200"  #        Server
    )
    + TARGET_INFO_V2
)
AUTHENTICATE_V2 = bytes.fromhex(  # [MS-NLMP 4.2.4.3]
    "4e544c4d53535000"  #                    Signature
    "03000000"  #                            MessageType
    "1800 1800 6c000000"  #                  LmChallengeResponse: 24 bytes at 108
    "5400 5400 84000000"  #                  NtChallengeResponse: 84 bytes at 132
    "0c00 0c00 48000000"  #                  DomainName: 12 bytes at 72
    "0800 0800 54000000"  #                  UserName: 8 bytes at 84
    "1000 1000 5c000000"  #                  Workstation: 16 bytes at 92
    "1000 1000 d8000000"  #                  EncryptedRandomSessionKey: 16 bytes at 216
    "358288e2"  #                            NegotiateFlags
    "05 01 280a 000000 0f"  #                Version: 5.1, build 2600
    "44006f006d00610069006e00"  #            Domain
    "5500730065007200"  #                    User
    "43004f004d0050005500540045005200"  #    COMPUTER
    "86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa"  # LmChallengeResponse
    "68cd0ab851e51c96aabc927bebef6a1c"  #    NtChallengeResponse: the proof,
    "0101000000000000 0000000000000000"  #   ... versions, time stamp,
    "aaaaaaaaaaaaaaaa 00000000"  #           ... client challenge,
    "02000c0044006f006d00610069006e0001000c0053006500720076006500720000000000"  # the server's TargetInfo,
    "00000000"  #                            ... and four zeros
    "c5dad2544fc9799094ce1ce90bc9d03e"  #    EncryptedRandomSessionKey
)


@pytest.mark.parametrize(
    ("layout", "size", "offsets"),
    [
        (  # [MS-NLMP 2.2.1.1]
            ntlmssp.NEGOTIATE_MESSAGE,
            40,
            {"signature": 0, "message_type": 8, "negotiate_flags": 12, "domain_len": 16, "domain_max": 18}
            | {"domain_offset": 20, "workstation_len": 24, "workstation_max": 26, "workstation_offset": 28}
            | {"version": 32},
        ),
        (  # [MS-NLMP 2.2.1.2]
            ntlmssp.CHALLENGE_MESSAGE,
            56,
            {"signature": 0, "message_type": 8, "target_len": 12, "target_max": 14, "target_offset": 16}
            | {"negotiate_flags": 20, "server_challenge": 24, "reserved": 32, "target_info_len": 40}
            | {"target_info_max": 42, "target_info_offset": 44, "version": 48},
        ),
        (  # [MS-NLMP 2.2.1.3]
            ntlmssp.AUTHENTICATE_MESSAGE,
            72,
            {"signature": 0, "message_type": 8, "lm_len": 12, "lm_max": 14, "lm_offset": 16, "nt_len": 20, "nt_max": 22}
            | {"nt_offset": 24, "domain_len": 28, "domain_max": 30, "domain_offset": 32, "user_len": 36, "user_max": 38}
            | {"user_offset": 40, "workstation_len": 44, "workstation_max": 46, "workstation_offset": 48, "key_len": 52}
            | {"key_max": 54, "key_offset": 56, "negotiate_flags": 60, "version": 64},
        ),
    ],
    ids=["negotiate", "challenge", "authenticate"],
)
def test_layouts(layout: ntlmssp.Layout, size: int, offsets: dict[str, int]) -> None:
    assert layout.offsets == offsets
    assert layout.size == size


@pytest.mark.parametrize(
    ("blob", "nt_size", "flags"),
    [(AUTHENTICATE_V1, 24, 0xE2808235), (AUTHENTICATE_V2, 84, 0xE2888235)],
    ids=["4.2.2.3", "4.2.4.3"],
)
def test_authenticate_messages_of_the_specification(blob: bytes, nt_size: int, flags: int) -> None:
    token = token_of(blob)
    assert token["kind"] == TokenKind.NTLM_AUTHENTICATE
    assert token["mechanism"] == Mechanism.NTLMSSP
    assert (token["domain"], token["user"], token["workstation"]) == ("Domain", "User", "COMPUTER")
    assert (token["lm_size"], token["nt_size"], token["key_size"]) == (24, nt_size, 16)
    assert token["flags"] == flags
    assert token["build"] == "5.1.2600"
    assert not token["lm_is_zero"]
    assert not token["user_is_nul"]


def test_challenge_messages_of_the_specification() -> None:
    first, second = tokens_of(CHALLENGE_V1, CHALLENGE_V2)
    for token, flags in ((first, 0xE2028233), (second, 0xE28A8233)):
        assert token["kind"] == TokenKind.NTLM_CHALLENGE
        assert token["target"] == "Server"
        assert token["flags"] == flags
        assert token["build"] == "6.0.6000"
        assert (token["user"], token["lm_size"], token["nt_size"], token["key_size"]) == (None, -1, -1, -1)
        assert (token["dns_computer"], token["dns_domain"]) == (None, None)
    assert (first["netbios_domain"], first["netbios_computer"]) == (None, None)
    assert (second["netbios_domain"], second["netbios_computer"]) == ("Domain", "Server")


# What clients send to be anonymous, and what only looks like it.

ZERO = b"\0"
WINDOWS = (10, 0, 19041)
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "windows: LM 00, flag, host, version": (
        {"lm": ZERO, "workstation": "PC01", "flags": NTLM_FLAGS | NTLM_ANONYMOUS, "version": WINDOWS, "mic": bytes(16)},
        {"lm_size": 1, "lm_is_zero": True, "workstation": "PC01", "build": "10.0.19041"},
    ),
    "impacket: LM 00, no flag, nothing else": (
        {"lm": ZERO, "flags": NTLM_FLAGS},
        {"lm_size": 1, "lm_is_zero": True},
    ),
    "samba: LM empty, flag, host, key": (
        {"workstation": "CLIENT", "key": bytes(16), "flags": NTLM_FLAGS | NTLM_ANONYMOUS, "version": (6, 1, 0)},
        {"workstation": "CLIENT", "key_size": 16, "build": "6.1.0"},
    ),
    "old library: LM empty, no flag": ({}, {}),
    "domain filled": ({"lm": ZERO, "domain": "CORP"}, {"lm_size": 1, "lm_is_zero": True, "domain": "CORP"}),
    "domain and host filled": ({"domain": "CORP", "workstation": "PC"}, {"domain": "CORP", "workstation": "PC"}),
    "empty name with 24-byte responses": ({"lm": bytes(24), "nt": bytes(24)}, {"lm_size": 24, "nt_size": 24}),
    "empty name with an NT response only": ({"nt": bytes(24)}, {"nt_size": 24}),
    "empty name, LM response of 24 zeros": ({"lm": bytes(24)}, {"lm_size": 24}),
    "empty name, LM response of two zeros": ({"lm": bytes(2)}, {"lm_size": 2}),
    "empty name, LM response 01": ({"lm": b"\1"}, {"lm_size": 1}),
    "name with empty responses": ({"user": "root"}, {"user": "root"}),
    "name with LM 00": ({"user": "root", "lm": ZERO}, {"user": "root", "lm_size": 1, "lm_is_zero": True}),
    "name of one NUL": ({"user": "\0", "lm": ZERO}, {"lm_size": 1, "lm_is_zero": True, "user_is_nul": True}),
    "name of three NULs": ({"user": "\0\0\0"}, {"user_is_nul": True}),
    "name of one NUL, OEM": ({"user": "\0", "flags": NTLM_OEM}, {"user_is_nul": True}),
    "name of a space": ({"user": " "}, {"user": " "}),
    "name with a NUL in it": ({"user": "a\0"}, {"user": "a\0"}),
}
ANONYMOUS = {
    "kind": TokenKind.NTLM_AUTHENTICATE,
    "mechanism": Mechanism.NTLMSSP,
    "user": "",
    "domain": "",
    "workstation": "",
    "lm_size": 0,
    "lm_is_zero": False,
    "nt_size": 0,
    "key_size": 0,
    "build": None,
    "user_is_nul": False,
}


@pytest.mark.parametrize(("written", "differs"), SHAPES.values(), ids=SHAPES)
def test_shapes(written: dict[str, Any], differs: dict[str, Any]) -> None:
    token = token_of(ntlm_authenticate(**written))
    assert {name: token[name] for name in ANONYMOUS} == ANONYMOUS | differs
    flags = written.get("flags", NTLM_FLAGS) | (NTLM_VERSION if "version" in written else 0)
    assert token["flags"] == flags


# Other forms.


def test_old_form_without_key_flags_and_version() -> None:
    token = token_of(ntlm_authenticate("ADMIN", domain=b"GRUPPE\x9a", lm=bytes(24), nt=bytes(24), flags=None))
    assert token["kind"] == TokenKind.NTLM_AUTHENTICATE
    assert (token["user"], token["domain"], token["workstation"]) == ("ADMIN", "GRUPPEÜ", "")
    assert (token["lm_size"], token["nt_size"], token["key_size"]) == (24, 24, -1)
    assert (token["flags"], token["build"]) == (0, None)


def test_old_form_that_asks_to_be_anonymous() -> None:
    token = token_of(ntlm_authenticate(lm=ZERO, workstation="NT351", flags=None))
    assert (token["user"], token["lm_size"], token["lm_is_zero"], token["nt_size"]) == ("", 1, True, 0)
    assert token["workstation"] == "NT351"


def test_oem_names() -> None:
    token = token_of(ntlm_authenticate(b"M\x81LLER", domain="DOM", flags=NTLM_FLAGS & ~NTLM_UNICODE | NTLM_OEM))
    assert (token["user"], token["domain"]) == ("MüLLER", "DOM")  # code page 437
    assert token["flags"] & NTLM_OEM


def test_both_character_sets_offered_means_unicode() -> None:
    flags = NTLM_FLAGS | NTLM_OEM | NTLM_UNICODE  # [MS-NLMP 2.2.2.5] A and B
    assert token_of(ntlm_authenticate("User", flags=flags))["user"] == "User"


@pytest.mark.parametrize(
    ("blob", "flags", "build"),
    [
        (ntlm_negotiate()[:16], NTLM_FLAGS, None),  # the oldest form: 16 bytes
        (ntlm_negotiate(), NTLM_FLAGS, None),
        (ntlm_negotiate(version=(6, 3, 9600)), NTLM_FLAGS | NTLM_VERSION, "6.3.9600"),
    ],
)
def test_negotiate(blob: bytes, flags: int, build: str | None) -> None:
    token = token_of(blob)
    assert (token["kind"], token["flags"], token["build"]) == (TokenKind.NTLM_NEGOTIATE, flags, build)
    assert (token["user"], token["lm_size"]) == (None, -1)


def test_version_flag_without_room_for_a_version() -> None:
    """It is there only if the contents begin behind it."""
    at_64 = ntlm_authenticate("User", nt=bytes(24), flags=NTLM_FLAGS | NTLM_VERSION)
    assert token_of(at_64)["build"] is None
    only_a_key = ntlm_authenticate(key=bytes(range(16)), flags=NTLM_FLAGS | NTLM_VERSION)
    assert token_of(only_a_key)["build"] is None
    challenge = ntlm_challenge("SERVER", flags=NTLM_FLAGS | NTLM_VERSION)
    assert token_of(challenge)["build"] is None
    negotiate = ntlm_negotiate(NTLM_FLAGS | NTLM_VERSION)
    assert token_of(negotiate)["build"] is None


def test_challenge_with_all_names() -> None:
    info = b"".join(
        [
            av_pair(2, utf16("CORP")),  #               MsvAvNbDomainName
            av_pair(1, utf16("FILES")),  #              MsvAvNbComputerName
            av_pair(4, utf16("corp.example")),  #       MsvAvDnsDomainName
            av_pair(3, utf16("files.corp.example")),  # MsvAvDnsComputerName
            av_pair(5, utf16("example")),  #            MsvAvDnsTreeName
            av_pair(7, bytes(8)),  #                    MsvAvTimestamp
            av_pair(0, b""),  #                         MsvAvEOL
            av_pair(1, utf16("AFTER")),
        ]
    )
    token = token_of(ntlm_challenge("CORP", info, version=(10, 0, 20348)))
    assert token["target"] == "CORP"
    assert (token["netbios_domain"], token["netbios_computer"]) == ("CORP", "FILES")
    assert (token["dns_domain"], token["dns_computer"]) == ("corp.example", "files.corp.example")
    assert token["build"] == "10.0.20348"


def test_challenge_of_an_old_server() -> None:
    token = token_of(ntlm_challenge("NTSERVER")[:32])  # no TargetInfo: the name lies behind the end
    assert token["kind"] == TokenKind.NTLM_CHALLENGE
    assert token["target"] is None
    name = utf16("NTSERVER")
    old = ntlm_challenge()[:12] + struct.pack("<HHI", len(name), len(name), 32) + ntlm_challenge()[20:32] + name
    assert token_of(old)["target"] == "NTSERVER"


def test_challenge_without_the_flag_has_no_target_info() -> None:
    blob = ntlm_challenge("T", av_pair(1, utf16("SERVER")) + av_pair(0, b""))
    flags = struct.unpack_from("<I", blob, 20)[0] & ~NTLM_TARGET_INFO
    token = token_of(blob[:20] + struct.pack("<I", flags) + blob[24:])
    assert (token["target"], token["netbios_computer"]) == ("T", None)


@pytest.mark.parametrize("number", [1, 2, 3, 4], ids=["nb_computer", "nb_domain", "dns_computer", "dns_domain"])
def test_servers_that_differ_in_the_last_name_only(number: int) -> None:
    """The example of [MS-NLMP 4.2.4.3] ends with the computer's name: there is no time stamp behind it."""
    names = ["SRV-01", "SRV-02"]
    blobs = [ntlm_challenge("T", av_pair(number, utf16(name)) + av_pair(0, b"")) for name in names]
    field = {1: "netbios_computer", 2: "netbios_domain", 3: "dns_computer", 4: "dns_domain"}[number]
    assert [token[field] for token in tokens_of(*blobs)] == names


@pytest.mark.parametrize("order", list(permutations(PAYLOAD_ORDER))[::37])
@pytest.mark.parametrize("gap", [0, 3])
def test_contents_lie_where_the_fields_say(order: tuple[str, ...], gap: int) -> None:
    blob = ntlm_authenticate(
        "User", domain="Domain", workstation="PC", lm=ZERO, nt=bytes(24), key=bytes(16), payload_order=order, gap=gap
    )
    token = token_of(blob)
    assert (token["user"], token["domain"], token["workstation"]) == ("User", "Domain", "PC")
    assert (token["lm_size"], token["lm_is_zero"], token["nt_size"], token["key_size"]) == (1, True, 24, 16)


def test_empty_fields_may_point_anywhere() -> None:
    blob = bytearray(ntlm_authenticate(lm=ZERO, workstation="PC", version=WINDOWS))
    for at in (20, 28, 36):  # NT response, domain, user: of length 0
        struct.pack_into("<HHI", blob, at, 0, 0, 0xFFFFFFF0)
    token = token_of(bytes(blob))
    assert token["kind"] == TokenKind.NTLM_AUTHENTICATE
    assert (token["user"], token["domain"], token["nt_size"]) == ("", "", 0)
    assert (token["workstation"], token["build"]) == ("PC", "10.0.19041")


@pytest.mark.parametrize("at", [20, 28, 36, 44], ids=["nt", "domain", "user", "workstation"])
def test_a_field_that_points_outside(at: int) -> None:
    blob = bytearray(ntlm_authenticate("User", domain="Domain", workstation="PC", nt=bytes(24)))
    struct.pack_into("<I", blob, at + 4, len(blob) - 1)
    token = token_of(bytes(blob))
    if at == 20:
        assert token["kind"] == TokenKind.UNREADABLE
    else:
        name = {28: "domain", 36: "user", 44: "workstation"}[at]
        assert token[name] is None


def test_an_unknown_message_type_is_no_message() -> None:
    blob = bytearray(ntlm_negotiate())
    struct.pack_into("<I", blob, 8, 4)
    assert token_of(bytes(blob))["kind"] == TokenKind.OTHER


# Cut and random bytes.

WHOLE = {
    "negotiate": ntlm_negotiate(version=WINDOWS),
    "challenge": CHALLENGE_V2,
    "authenticate": AUTHENTICATE_V2,
    "anonymous": ntlm_authenticate(lm=ZERO, workstation="PC", version=WINDOWS, mic=bytes(16)),
    "anonymous with a key": ntlm_authenticate(workstation="PC", key=bytes(range(1, 17))),
    "old": ntlm_authenticate("ADMIN", domain="DOMAIN", lm=bytes(24), nt=bytes(24), flags=None),
}
UNKNOWN = {"lm_size": -1, "nt_size": -1, "key_size": -1, "flags": 0, "lm_is_zero": False, "user_is_nul": False}
"""What stands for "not seen" in the fields of a token; in all others None."""


@pytest.mark.parametrize("blob", WHOLE.values(), ids=WHOLE)
def test_a_cut_message_says_only_what_is_there(blob: bytes) -> None:
    whole = token_of(blob)
    for size in range(len(blob)):
        token = token_of(blob[:size], cut=True)
        if size < 12:
            assert token["kind"] in (TokenKind.NONE, TokenKind.OTHER, TokenKind.UNREADABLE), size
            continue
        assert token["kind"] in (whole["kind"], TokenKind.UNREADABLE), size
        for name, value in token.items():
            if name not in ("kind", "mechanism"):
                assert value in (whole[name], UNKNOWN.get(name)), (size, name)


@pytest.mark.parametrize("blob", WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("cut", [True, False])
def test_nothing_behind_the_end_is_read(blob: bytes, cut: bool) -> None:
    for size in range(len(blob) + 1):
        seen = [token_of(blob[:size], cut=cut, filling=filling) for filling in (0x00, 0x01, 0xFF)]
        assert seen[0] == seen[1] == seen[2], size


def test_a_response_that_was_not_captured_keeps_its_size() -> None:
    """The lengths stand in front: a cut logon with a response is not taken for an anonymous one."""
    token = token_of(AUTHENTICATE_V1[:100], cut=True)
    assert token["kind"] == TokenKind.NTLM_AUTHENTICATE
    assert (token["user"], token["lm_size"], token["nt_size"]) == ("User", 24, 24)


@given(kind=st.integers(0, 5), tail=st.binary(max_size=150), cut=st.booleans())
def test_random_bytes_behind_the_signature(kind: int, tail: bytes, cut: bool) -> None:
    blob = b"NTLMSSP\0" + struct.pack("<I", kind) + tail
    seen = [token_of(blob, cut=cut, filling=filling) for filling in (0x00, 0xFF)]
    assert seen[0] == seen[1]
    kinds = {1: TokenKind.NTLM_NEGOTIATE, 2: TokenKind.NTLM_CHALLENGE, 3: TokenKind.NTLM_AUTHENTICATE}
    allowed = {kinds.get(kind, TokenKind.OTHER)}
    if cut or kind in kinds:
        allowed.add(TokenKind.UNREADABLE)
    assert seen[0]["kind"] in allowed


@given(place=st.integers(0, len(AUTHENTICATE_V2) - 1), value=st.integers(0, 255))
def test_one_wrong_byte(place: int, value: int) -> None:
    blob = bytearray(AUTHENTICATE_V2)
    blob[place] = value
    seen = [token_of(bytes(blob), filling=filling) for filling in (0x00, 0xFF)]
    assert seen[0] == seen[1]


@given(st.lists(st.sampled_from([*WHOLE.values(), CHALLENGE_V1, AUTHENTICATE_V1]), min_size=1, max_size=8))
def test_messages_do_not_depend_on_their_neighbours(blobs: list[bytes]) -> None:
    assert tokens_of(*blobs) == [token_of(blob) for blob in blobs]


@given(
    user=st.text(max_size=20).filter(lambda text: text.strip("\0") or not text),
    names=st.fixed_dictionaries({"domain": st.text(max_size=20), "workstation": st.text(max_size=20)}),
    responses=st.fixed_dictionaries({name: st.binary(max_size=100) for name in ("lm", "nt", "key")}),
    gap=st.integers(0, 9),
)
def test_what_was_written_is_read(user: str, names: dict[str, str], responses: dict[str, bytes], gap: int) -> None:
    token = token_of(ntlm_authenticate(user, **names, **responses, gap=gap, version=WINDOWS))
    assert token["user"] == user
    assert {name: token[name] for name in names} == names
    assert {name: token[f"{name}_size"] for name in responses} == {name: len(responses[name]) for name in responses}
    assert token["lm_is_zero"] == (responses["lm"] == b"\0")
    assert token["build"] == "10.0.19041"


def with_info(info: bytes) -> dict[str, Any]:
    """The names that a challenge's TargetInfo gives."""
    token = token_of(ntlm_challenge("T", info, flags=NTLM_FLAGS | NTLM_TARGET_INFO))
    return {name: token[name] for name in ("netbios_computer", "netbios_domain", "dns_computer", "dns_domain")}


def test_target_info_that_ends_early() -> None:
    for size in range(len(TARGET_INFO_V2) + 1):
        names = with_info(TARGET_INFO_V2[:size])
        assert names["dns_computer"] is names["dns_domain"] is None
        assert names["netbios_domain"] in (None, "Domain", *(part + "\ufffd" for part in PARTS), *PARTS), size


PARTS = ["Domain"[:count] for count in range(6)]


def test_a_pair_that_comes_twice() -> None:
    assert with_info(av_pair(1, utf16("FIRST")) + av_pair(1, utf16("LAST")))["netbios_computer"] == "LAST"


def test_servers_that_differ_behind_their_time_stamp() -> None:
    stamp = av_pair(7, bytes(8))
    blobs = [ntlm_challenge("T", stamp + av_pair(1, utf16(name)[:4])) for name in ("AB", "CD")]
    assert [token["netbios_computer"] for token in tokens_of(*blobs)] == ["AB", "CD"]


@given(st.binary(max_size=60))
def test_target_info_of_any_bytes(info: bytes) -> None:
    for name in with_info(info).values():
        assert name is None or len(name) <= len(info)


# Where contents may lie. #


def moved(blob: bytes, **offsets: int) -> bytes:
    """An AUTHENTICATE message with BufferOffsets changed."""
    changed = bytearray(blob)
    for name, offset in offsets.items():
        struct.pack_into("<I", changed, ntlmssp.AUTHENTICATE_MESSAGE.offsets[f"{name}_offset"], offset)
    return bytes(changed)


def test_contents_that_overlap() -> None:
    blob = ntlm_authenticate("SAME", domain="SAME", workstation="SAME", lm=bytes(24), nt=bytes(24), version=WINDOWS)
    at = blob.index(utf16("SAME"))
    token = token_of(moved(blob, user=at, domain=at, workstation=at))
    assert (token["user"], token["domain"], token["workstation"]) == ("SAME", "SAME", "SAME")
    assert (token["nt_size"], token["build"]) == (24, "10.0.19041")


def test_contents_in_front_of_the_variable_part() -> None:
    """They say nothing of the message's form: its flags are where every new message has them."""
    blob = ntlm_authenticate("User", domain="Domain", lm=bytes(24), nt=bytes(24), version=WINDOWS)
    token = token_of(moved(blob, domain=4))
    assert (token["user"], token["flags"], token["build"]) == ("User", NTLM_FLAGS | NTLM_VERSION, "10.0.19041")
    assert token["domain"] == blob[4:16].decode("utf-16-le")
    assert token["kind"] == TokenKind.NTLM_AUTHENTICATE


@pytest.mark.parametrize("name", ["user", "domain", "workstation", "lm", "nt"])
@pytest.mark.parametrize("offset", [0x7FFFFFFF, 0xFFFFFFFF])
def test_contents_beyond_the_end(name: str, offset: int) -> None:
    blob = ntlm_authenticate("User", domain="Domain", workstation="PC", lm=ZERO, nt=bytes(24))
    token = token_of(moved(blob, **{name: offset}))
    if name == "nt":
        assert token["kind"] == TokenKind.UNREADABLE
    elif name == "lm":
        assert (token["lm_size"], token["lm_is_zero"]) == (1, False)
    else:
        assert token[name] is None  # which is not the empty name


def test_a_name_in_the_place_of_a_version_is_no_version() -> None:
    """[MS-NLMP 2.2.1.1]: the flag without the structure; domain and workstation follow the fixed part at once."""
    name = b"WORKSTATION"
    fixed = ntlm_negotiate(NTLM_FLAGS | NTLM_VERSION)[:24]
    assert token_of(fixed + struct.pack("<HHI", len(name), len(name), 32) + name)["build"] is None
    padded = ntlm_negotiate(version=WINDOWS)[24:]
    assert token_of(fixed + struct.pack("<HHI", len(name), len(name), 40) + padded[8:] + name)["build"] == "10.0.19041"


# The shapes of a request, by what it is taken for. #

JUDGED: dict[str, tuple[dict[str, Any], Asked]] = {
    "LM 00, NT empty, flag": ({"lm": ZERO, "flags": NTLM_FLAGS | NTLM_ANONYMOUS}, Asked.ANONYMOUS),
    "LM 00, NT empty, no flag": ({"lm": ZERO}, Asked.ANONYMOUS),
    "LM empty, NT empty, flag": ({"flags": NTLM_FLAGS | NTLM_ANONYMOUS}, Asked.ANONYMOUS),
    "LM empty, NT empty, flag, domain": (
        {"domain": "WORKGROUP", "flags": NTLM_FLAGS | NTLM_ANONYMOUS},
        Asked.ANONYMOUS,
    ),
    "LM empty, NT of 24 bytes, domain": ({"domain": "BUILDER", "nt": bytes(24)}, Asked.OTHER),
    "LM empty, NT longer, domain": ({"domain": "BUILDER", "nt": bytes(270)}, Asked.OTHER),
    "a name": ({"user": "User", "lm": bytes(24), "nt": bytes(24)}, Asked.NAMED),
    "a name without responses": ({"user": "User"}, Asked.NAMED),
}


@pytest.mark.parametrize("wrap", [bytes, spnego_answer, spnego_init], ids=["raw", "answer", "init"])
@pytest.mark.parametrize(("written", "asked"), JUDGED.values(), ids=JUDGED)
def test_what_a_shape_asks_for(written: dict[str, Any], asked: Asked, wrap: Callable[[bytes], bytes]) -> None:
    blob = wrap(ntlm_authenticate(**written))
    texts = Texts()
    arena = np.frombuffer(blob, np.uint8)
    tokens = auth.read_tokens(arena, np.array([0]), np.array([len(blob)]), np.array([False]), texts)
    attempts = np.zeros(1, dtype=ATTEMPT)
    legs = columns.empty([*TOKEN_FIELDS.values(), "form"], 1, int(Form.TOKEN))
    for name, column in TOKEN_FIELDS.items():
        legs[column] = tokens[name].astype(np.int64)
    note_claims(attempts, legs, np.array([False]), Names(texts))
    assert attempts["asked"][0] == asked
