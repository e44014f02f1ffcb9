"""DFS referrals. The bytes are those that [MS-DFSC] says, and the recordings' answers, which tshark reads for itself."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.compiled import Kernels
from analyzer.errors import NeedMoreBytes
from analyzer.records import NO_KEY
from analyzer.smb.dfs import ENTRY_V2, ENTRY_V3, MAX_NAMES, NAME_LIST_V3, Extent, fault_of, machine_of, parse_referrals
from tests import build as b
from tests import referrals as r
from tests.smb.reading import Read, read

CAPTURES = Path(__file__).parents[2] / "captures"
TWO = (r"\OLDFILES\data", r"\files2.corp.example\data\2024")
CONTROLLERS = (r"\DC1.corp.example", r"\DC2.corp.example", r"\DC3")
ANSWERS = {
    **{f"version {version}": (r.targets(*TWO, version=version), TWO) for version in (1, 2, 3, 4)},
    **{f"list of names, version {v}": (r.controllers("corp.example", CONTROLLERS, version=v), CONTROLLERS) for v in (3, 4)},
    "a list without names: domains": (r.controllers("corp.example", ()), ()),
    "no referrals": (r.response(b"", 0), ()),
    "the same name twice": (r.targets(TWO[0], TWO[0]), TWO[:1]),
    "an empty name": (r.targets("", TWO[1]), TWO[1:]),
    "versions in turns": (r.response(r.entry_1(TWO[0]) + r.entry_3(34), 2, r.name(TWO[1])), TWO),
}  # fmt: skip


def names(data: bytes) -> tuple[str, ...]:
    """The targets of an answer, as texts."""
    return tuple(target.decode("utf-16-le") for target in parse_referrals(data).targets)


@pytest.mark.parametrize(("data", "wanted"), ANSWERS.values(), ids=ANSWERS)
def test_what_an_answer_names(data: bytes, wanted: tuple[str, ...]) -> None:
    found = parse_referrals(data)
    assert names(data) == wanted
    assert found.problem is None
    assert all(data[at : at + len(target)] == target for target, at in found.targets.items())


@pytest.mark.parametrize(("data", "wanted"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_cut_anywhere_names_nothing_wrong(data: bytes, wanted: tuple[str, ...]) -> None:
    """What is whole in what is left of it is kept; a name without its end is none."""
    for end in range(len(data)):
        found = parse_referrals(data[:end])
        assert set(names(data[:end])) <= set(wanted)
        assert found.problem is None or isinstance(found.problem, NeedMoreBytes)
        if len(found.targets) < len(wanted):
            assert isinstance(found.problem, NeedMoreBytes)


@pytest.mark.parametrize(("data", "wanted"), ANSWERS.values(), ids=ANSWERS)
@given(junk=st.binary(max_size=40), data_=st.data())
def test_hostile_bytes_never_raise(data: bytes, wanted: tuple[str, ...], junk: bytes, data_: st.DataObject) -> None:
    """A valid answer cut anywhere, with random bytes behind; and one with a byte changed."""
    end = data_.draw(st.integers(0, len(data)))
    changed = bytearray(data)
    changed[data_.draw(st.integers(0, len(data) - 1))] ^= data_.draw(st.integers(1, 255))
    for hostile in (data[:end] + junk, bytes(changed), junk):
        found = parse_referrals(hostile)
        assert sum(map(len, found.targets)) <= len(hostile)
        assert all(hostile[at : at + len(target)] == target for target, at in found.targets.items())
    assert names(data) == wanted


def test_the_layouts_are_those_of_the_specification() -> None:
    """Offsets as [MS-DFSC] 2.2.5.2, 2.2.5.3.1 and 2.2.5.3.2 draw them."""
    assert (ENTRY_V2.size, ENTRY_V2.offsets["network_address_offset"]) == (22, 20)
    assert (ENTRY_V3.size, ENTRY_V3.offsets["network_address_offset"]) == (18, 16)
    assert (NAME_LIST_V3.offsets["number_of_expanded_names"], NAME_LIST_V3.offsets["expanded_name_offset"]) == (14, 16)


FIRST = r.entry_1(TWO[0])
FAULTS = {
    "an unknown version": (r.response(FIRST + b"\x05" + r.entry_3(34)[1:], 2, r.name(TWO[1])), "VersionNumber", "unknown_version"),
    "version 0": (r.response(FIRST + bytes(34), 2), "VersionNumber", "unknown_version"),
    "a size that leads back": (r.response(FIRST + r.entry_3(34)[:2] + b"\0\0" + r.entry_3(34)[4:], 2), "Size", "too_small"),
    "a size below the fields": (r.response(FIRST + r.entry_2(22)[:2] + b"\x15\0" + r.entry_2(22)[4:], 2), "Size", "too_small"),
    "more referrals than there are": (r.response(FIRST, 0xFFFF), "DFS_REFERRAL", "outside_message"),
    "an address behind the end": (r.response(FIRST + r.entry_3(0xFFFF), 2), "NetworkAddress", "outside_message"),
    "a name without an end": (r.response(FIRST + r.entry_2(22), 2, b.utf16("FILES")), "NetworkAddress", "outside_message"),
    "a list behind the end": (r.response(FIRST + r.name_list(34, 1, 0xFFFF), 2), "ExpandedName", "outside_message"),
    "a list with too few names": (
        r.response(FIRST + r.name_list(34, 0xFFFF, 34), 2, r.name("")), "ExpandedName", "outside_message"),
    "a share name that runs over its entry": (
        r.response(FIRST + r.entry_1("AB")[:2] + b"\x0c\0" + r.entry_1("AB")[4:], 2), "ShareName", "outside_message"),
    "a name that is too long": (
        r.response(FIRST + r.entry_3(34), 2, r.name("x" * 1025)), "NetworkAddress", "too_long"),
    "names in each other": (
        r.response(FIRST + b"".join(r.entry_3(34 * (40 - n) + 2 * n) for n in range(40)), 41, r.name("y" * 1000)),
        "NetworkAddress", "overlap"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "field", "code"), FAULTS.values(), ids=FAULTS)
def test_what_was_read_before_a_fault_is_kept(data: bytes, field: str, code: str) -> None:
    found = parse_referrals(data)
    assert names(data)[0] == TWO[0]
    assert found.problem is not None
    assert found.problem.field == field
    told = fault_of(found.problem, Extent.WHOLE)
    assert told is not None
    assert (told[0], told[2]) == (f"DFS {field}", code)


def test_so_many_names_are_looked_at() -> None:
    """Of a list that says the same name again and again, too: entries may point to the same place."""
    data = r.response(r.name_list(34, 0xFFFF, 34), 1, r.name("A") * (MAX_NAMES + 1))
    found = parse_referrals(data)
    assert names(data) == ("A",)
    assert fault_of(found.problem, Extent.WHOLE) == ("DFS ExpandedName", 42 + 4 * MAX_NAMES, "too_many")
    many = r.controllers("corp.example", [rf"\DC{number}" for number in range(MAX_NAMES)])
    assert len(parse_referrals(many).targets) == MAX_NAMES
    assert parse_referrals(many).problem is None


def test_what_is_missing_is_the_captures_fault_if_it_was_cut() -> None:
    problem = parse_referrals(r.targets(*TWO)[:-4]).problem
    assert [fault_of(problem, extent) for extent in (Extent.CUT,)] == [None]
    codes = [fault_of(problem, extent) for extent in (Extent.WHOLE, Extent.IN_PARTS, Extent.BEYOND_LIMIT)]
    assert [code and code[2] for code in codes] == ["outside_message", "in_parts", "not_kept"]
    assert fault_of(parse_referrals(r.response(bytes(34), 1)).problem, Extent.CUT) == (
        "DFS VersionNumber",
        8,
        "unknown_version",
    )
    assert fault_of(None, Extent.IN_PARTS) is None


@pytest.mark.parametrize(
    ("path", "machine"),
    [
        (r"\\FILES1\IPC$", "FILES1"),
        (r"\DC1", "DC1"),
        (r"\10.77.0.2\PUBLIC", "10.77.0.2"),
        ("FILES1\0", "FILES1"),
        ("\\", ""),
    ],
)
def test_the_machine_of_a_path(path: str, machine: str) -> None:
    assert machine_of(path) == machine


# In their messages. #


def told(found: Read) -> list[tuple[str, str | None, str | None]]:
    """Names and faults, as the batch has them."""
    return [
        (payload.decode("utf-16-le"), row["field"], row["code"])
        for row, payload in zip(found.bodies["referrals"], found.payloads["referrals"], strict=True)
    ]


def ioctl(data: bytes, code: int = 0x00060194, *, echo: bytes = b"", **header: int) -> bytes:
    """The answer of SMB 2."""
    return b.smb2(b.IOCTL, b.ioctl_answer(code, b.NO_FILE, data, echo=echo), flags=1, **header)


def transaction2(data: bytes, *, parameters: bytes = b"", total: int = -1, displacement: int = 0) -> bytes:
    """The answer of SMB 1. [MS-CIFS 2.2.6.16.2]"""
    answer = b.transaction_answer(
        parameters=parameters, data=data, total_data=total, data_displacement=displacement, command=0x32
    )
    return b.smb1(answer, flags=0x98, mid=7)


KEPT = [(target, None, None) for target in TWO]


@pytest.mark.parametrize("code", [0x00060194, 0x000601B0], ids=["DFS_GET_REFERRALS", "DFS_GET_REFERRALS_EX"])
@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_answers_of_smb2(code: int, version: int, kernels: Kernels) -> None:
    data = r.targets(*TWO, version=version)
    for echo in (b"", bytes(16)):
        found = read(ioctl(data, code, echo=echo), kernels=kernels)
        assert told(found) == KEPT
        assert found.one("call_answers")["bytes"] == len(data)
    assert not read(ioctl(data, 0x00140204), kernels=kernels).bodies["referrals"]
    assert not read(ioctl(data, status=b.BUFFER_OVERFLOW), kernels=kernels).bodies["referrals"]


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_answers_of_smb1(version: int, kernels: Kernels) -> None:
    data = r.targets(*TWO, version=version)
    found = read(transaction2(data), kernels=kernels)
    assert told(found) == KEPT
    assert found.problems == []
    assert not read(transaction2(data, parameters=b"\0\0"), kernels=kernels).bodies["referrals"]


def test_an_answer_of_smb1_in_several_messages(kernels: Kernels) -> None:
    """The first is read, as far as names are whole in it, and what is missing is told; the others pair with nothing."""
    data = r.targets(*TWO, version=1)
    at = len(r.targets(TWO[0], version=1))
    found = read(
        transaction2(data[:at], total=len(data)),
        transaction2(data[at:], total=len(data), displacement=at),
        kernels=kernels,
    )
    assert told(found) == [KEPT[0], ("", "DFS DFS_REFERRAL", "in_parts")]
    assert found.messages[1]["key"] == NO_KEY


def test_what_lies_outside_the_message_is_a_fault_of_the_server(kernels: Kernels) -> None:
    answer = bytearray(ioctl(r.targets(*TWO, version=1)))
    struct.pack_into("<I", answer, 64 + 36, 4096)  # OutputCount
    assert told(read(bytes(answer), kernels=kernels)) == KEPT
    struct.pack_into("<H", answer, 64 + 48 + 2, 3)  # NumberOfReferrals
    assert told(read(bytes(answer), kernels=kernels)) == [*KEPT, ("", "DFS DFS_REFERRAL", "outside_message")]
    struct.pack_into("<I", answer, 64 + 32, 0xFFFFFFF0)  # OutputOffset
    assert told(read(bytes(answer), kernels=kernels)) == [("", "DFS RESP_GET_DFS_REFERRAL", "outside_message")]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
@pytest.mark.parametrize("name", ["dfs-elsewhere.pcap", "dfs-domain.pcap", "dfs-smb1.pcap", "dfs-smb2.pcap"])
def test_recorded_answers_name_what_tshark_reads(name: str) -> None:
    """Each answer by itself: the bytes behind the offset that its message states, against tshark's strings."""
    fields = ("tcp.payload", "smb.dc", "smb.dfs.referral.node", "smb.dfs.referral.expname")
    options = [word for field in fields for word in ("-e", field)]
    command = [
        "tshark",
        "-r",
        str(CAPTURES / name),
        "-Y",
        "smb.dfs.num_referrals",
        "-T",
        "fields",
        "-E",
        "aggregator=|",
    ]
    lines = subprocess.run([*command, *options], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines
    for line in lines:
        payload, count, nodes, expanded = line.split("\t")
        message = bytes.fromhex(payload)[4:]
        if message[:1] == b"\xfe":
            at, size = struct.unpack_from("<II", message, 64 + 32)
            data = message[at : at + size]
        else:
            data = message[-int(count.split("|")[0]) :]
        wanted = dict.fromkeys(text for text in (nodes + "|" + expanded).split("|") if text)
        assert names(data) == tuple(wanted)
