"""registry.pol, made here field by field as [MS-GPREG] 2.2.1 has it."""

from __future__ import annotations

import struct

import pytest
from given import policy_or_error, values
from hypothesis import given as for_all
from hypothesis import settings as run
from hypothesis import strategies as st

from analyzer.errors import PolicyError
from analyzer.policy.reading import read_bytes
from analyzer.policy.settings import Policy

HEADER = b"PReg" + struct.pack("<I", 1)
RPC = r"Software\Policies\Microsoft\Windows NT\Rpc"
SERVER = r"SYSTEM\CurrentControlSet\Services\LanmanServer\Parameters"
LSA = r"SYSTEM\CurrentControlSet\Control\Lsa"
REG_SZ, REG_BINARY, REG_DWORD, REG_MULTI_SZ = 1, 3, 4, 7


def wide(text: str) -> bytes:
    return text.encode("utf-16-le")


def entry(key: str, name: str, type_: int, data: bytes) -> bytes:
    return (
        wide("[")
        + wide(key + "\0")
        + wide(";")
        + wide(name + "\0")
        + wide(";")
        + struct.pack("<I", type_)
        + wide(";")
        + struct.pack("<I", len(data))
        + wide(";")
        + data
        + wide("]")
    )


def dword(key: str, name: str, number: int) -> bytes:
    return entry(key, name, REG_DWORD, struct.pack("<I", number))


def read(*entries: bytes) -> Policy:
    return read_bytes(HEADER + b"".join(entries), "registry.pol")


def test_values() -> None:
    policy = read(
        dword(RPC, "RestrictRemoteClients", 1),
        entry(SERVER, "NullSessionPipes", REG_MULTI_SZ, wide("netlogon\0a];[b\0\0")),
        entry(LSA, "RestrictRemoteSam", REG_SZ, wide("O:BAG:BAD:(A;;RC;;;BA)\0")),
        dword(RPC, "Other", 1),
    )
    assert policy.family == "windows"
    assert values(policy) == {
        "RestrictRemoteClients": 1,
        "NullSessionPipes": ("netlogon", "a];[b"),
        "RestrictRemoteSam": "O:BAG:BAD:(A;;RC;;;BA)",
    }
    assert policy.settings["RestrictRemoteClients"].source == "registry.pol, byte 8"
    assert policy.warnings == ("registry.pol: not among the settings known here, left out: Other",)


def test_an_empty_policy() -> None:
    assert read() == Policy("windows")


def test_orders_to_delete() -> None:
    """Names with two stars are orders (Microsoft Learn: Registry Policy File Format)."""
    assert values(read(entry(RPC, "**del.RestrictRemoteClients", REG_SZ, wide(" \0")))) == {
        "RestrictRemoteClients": None
    }
    found = values(read(entry(RPC, "**DeleteValues", REG_SZ, wide("EnableAuthEpResolution;RestrictRemoteClients\0"))))
    assert found == {"EnableAuthEpResolution": None, "RestrictRemoteClients": None}
    found = values(read(entry(LSA, "**delvals.", REG_SZ, wide(" \0")), dword(LSA, "RestrictAnonymous", 1)))
    assert found["RestrictAnonymous"] == 1
    assert found["RestrictAnonymousSAM"] is None
    assert "AllowNullSessionFallback" not in found, "that is in a key below"


@pytest.mark.parametrize("name", ["**soft.RestrictRemoteClients", "**DeleteKeys", "**SecureKey"])
def test_orders_whose_outcome_is_unknown(name: str) -> None:
    policy = read(entry(RPC, name, REG_DWORD, struct.pack("<I", 1)))
    assert values(policy) == {}
    assert name in policy.warnings[0]


def test_wrong_types_and_contradictions() -> None:
    policy = read(entry(RPC, "RestrictRemoteClients", REG_SZ, wide("1\0")))
    assert values(policy) == {}
    assert "REG_DWORD is wanted" in policy.warnings[0]
    policy = read(entry(RPC, "RestrictRemoteClients", REG_DWORD, b"\1\0"))
    assert values(policy) == {}
    policy = read(dword(RPC, "RestrictRemoteClients", 1), dword(RPC, "RestrictRemoteClients", 2))
    assert values(policy) == {"RestrictRemoteClients": 2}
    assert "contradicts registry.pol, byte 8" in policy.warnings[0]


def test_a_key_without_a_value_says_nothing() -> None:
    assert read(entry(RPC, "", 0, b"")) == Policy("windows")


WHOLE = HEADER + dword(RPC, "RestrictRemoteClients", 1)


@pytest.mark.parametrize("length", range(5, len(WHOLE)))
def test_cut_off_anywhere(length: int) -> None:
    if length == len(HEADER):
        return
    with pytest.raises(PolicyError, match=r"registry\.pol"):
        read_bytes(WHOLE[:length], "registry.pol")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"PReg\2\0\0\0", "version 2"),
        (HEADER + wide("{"), r"'\['.*wanted"),
        (HEADER + wide("[") + b"a" * 100_000, "does not end"),
        (HEADER + wide("[") + b"\x00\xd8a\0\0\0", "no UTF-16"),
        (WHOLE[:-2] + wide("x"), r"'\]'.*wanted"),
        (HEADER + entry(RPC, "x", 1, b"")[:-8] + struct.pack("<I", 0xFFFFFFFF) + wide(";"), "cut off"),
    ],
)
def test_damage(data: bytes, says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        read_bytes(data, "registry.pol")


@run(max_examples=200, deadline=None)
@for_all(st.binary(max_size=200))
def test_any_bytes_are_a_policy_or_an_error(data: bytes) -> None:
    found = policy_or_error(HEADER + data, "registry.pol")
    assert isinstance(found, Policy) or str(found).startswith("registry.pol")
