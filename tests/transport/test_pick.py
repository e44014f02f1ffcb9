"""Which segments belong to SMB."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.capture import packets as p
from analyzer.compiled import Kernels, compiled_kernels, plain_kernels
from analyzer.transport import pick
from tests.build import ECHO, RST, SYN, Conversation, Segment, framed, smb1, smb1_negotiate, smb2
from tests.transport.following import PORTS, table_of

MESSAGE = framed(smb2(ECHO, bytes(4)))
HIGH_PORT = 44_500
CLIENT, SERVER = ("10.0.0.1", 50_000), ("10.0.0.2", HIGH_PORT)


class Picking:
    """The state of `pick` between blocks of segments."""

    def __init__(self, kernels: Kernels | None = None, ports: tuple[int, ...] = PORTS) -> None:
        self.kernels = kernels or plain_kernels()
        self.ports = np.array(sorted(ports), dtype=np.int64)
        self.seen, self.recent = pick.tables()
        self.counts = np.zeros(p.C_WIDTH, dtype=np.int64)

    def rows(self, segments: list[Segment]) -> list[tuple[int, int]]:
        """Frame and added flags of the segments that pass. All else about a segment stays as it was."""
        table, buffer = table_of(segments)
        before = {row[p.T_FRAME]: row for row in table.tolist()}
        found = self.kernels.pick(buffer, table, len(table), self.ports, self.seen, self.recent, self.counts)
        added = []
        for row in table[:found].tolist():
            same = before[row[p.T_FRAME]]
            added.append((row[p.T_FRAME], row[p.T_FLAGS] ^ same[p.T_FLAGS]))
            assert row[: p.T_FLAGS] + row[p.T_FLAGS + 1 :] == same[: p.T_FLAGS] + same[p.T_FLAGS + 1 :]
        return added

    def frames(self, segments: list[Segment]) -> list[int]:
        """Frames of the segments that pass."""
        return [frame for frame, _ in self.rows(segments)]


def talk(port: int = HIGH_PORT, client_port: int = 50_000) -> Conversation:
    """A conversation on a port."""
    return Conversation(client_end=("10.0.0.1", client_port), server_end=("10.0.0.2", port))


@pytest.mark.parametrize("port", PORTS)
def test_all_that_goes_to_a_listed_port(port: int, kernels: Kernels) -> None:
    spoken = talk(port).open()
    spoken.client(b"no SMB")
    spoken.server(b"at all")
    picking = Picking(kernels)
    assert picking.rows(spoken.close().segments) == [(n, 0) for n in range(1, 9)]
    assert picking.counts[p.C_SMB] == 8


def test_other_traffic_is_dropped(kernels: Kernels) -> None:
    spoken = talk(80).open()
    spoken.client(b"GET / HTTP/1.1")
    spoken.server(b"HTTP/1.1 200 OK")
    assert Picking(kernels).rows(spoken.close().segments) == []


@pytest.mark.parametrize(
    "first",
    [
        MESSAGE,
        framed(smb1(smb1_negotiate())),
        framed(b"\xfdSMB" + bytes(60)),
        framed(b"\xfcSMB" + bytes(60)),
        MESSAGE[:8],  # the rest is in the next segment
    ],
    ids=["SMB 2", "SMB 1", "encrypted", "compressed", "8 bytes"],
)
def test_smb_on_another_port_by_its_first_payload(first: bytes, kernels: Kernels) -> None:
    spoken = talk().open()
    spoken.client(first)
    spoken.server(b"whatever")
    spoken.client(b"follows")
    rows = Picking(kernels).rows(spoken.segments)
    assert rows == [(4, p.TF_HANDSHAKE), (5, 0), (6, 0)]


def test_the_first_payload_may_be_the_servers(kernels: Kernels) -> None:
    spoken = talk().open()
    spoken.server(MESSAGE)
    spoken.client(b"follows")
    assert Picking(kernels).rows(spoken.segments) == [(4, p.TF_HANDSHAKE | p.TF_FROM_SERVER), (5, 0)]


@pytest.mark.parametrize("client", [("10.0.0.9", 50_000), ("10.0.0.1", 50_000), ("fd00::9", 1_000)])
def test_the_direction_does_not_depend_on_which_address_is_lower(client: tuple[str, int], kernels: Kernels) -> None:
    server = ("fd00::5" if ":" in client[0] else "10.0.0.5", HIGH_PORT)
    for first_from_server in (False, True):
        spoken = Conversation(client_end=client, server_end=server).open()
        spoken.send(MESSAGE, from_server=first_from_server)
        flags = p.TF_HANDSHAKE | (p.TF_FROM_SERVER if first_from_server else 0)
        assert Picking(kernels).rows(spoken.segments) == [(4, flags)]


@pytest.mark.parametrize(
    "first",
    [b"hello, world", b"\0" + b"SMBSMBSMB", MESSAGE[:7], b"\x85\0\0\0" + MESSAGE, MESSAGE[1:], b"\0\0\0\x40\xfbSMB"],
    ids=["text", "letters at the wrong place", "7 bytes", "keep-alive first", "shifted", "RDMA"],
)
def test_another_first_payload_settles_it(first: bytes, kernels: Kernels) -> None:
    spoken = talk().open()
    spoken.client(first)
    spoken.client(MESSAGE)
    spoken.server(MESSAGE)
    assert Picking(kernels).rows(spoken.segments) == []


def test_the_other_sides_first_payload_settles_it_too(kernels: Kernels) -> None:
    spoken = talk().open()
    spoken.server(b"220 ready")
    spoken.client(MESSAGE)
    assert Picking(kernels).rows(spoken.segments) == []


def test_midstream_on_another_port(kernels: Kernels) -> None:
    spoken = talk()
    spoken.client(MESSAGE)
    spoken.server(b"follows")
    assert Picking(kernels).rows(spoken.segments) == [(1, 0), (2, 0)]
    spoken = talk()
    spoken.client(b"the middle of something")
    spoken.client(MESSAGE)
    assert Picking(kernels).rows(spoken.segments) == []


def test_segments_without_payload(kernels: Kernels) -> None:
    picking = Picking(kernels)
    spoken = talk().open()
    spoken.client(MESSAGE)
    spoken.send(from_server=True)
    spoken.send(flags=RST)
    assert picking.frames(spoken.segments) == [4, 6]  # of what is known to be SMB only the end matters
    assert picking.frames([talk(80).send(flags=RST)]) == []


def test_a_port_is_used_again_for_something_else(kernels: Kernels) -> None:
    picking = Picking(kernels)
    first = talk().open()
    first.client(b"hello, world")
    assert picking.frames(first.close().segments) == []
    second = talk().open()
    second.client(MESSAGE)
    assert picking.frames(second.segments) == [4]


def test_kept_between_blocks(kernels: Kernels) -> None:
    picking = Picking(kernels)
    spoken = talk().open()
    assert picking.frames(spoken.segments) == []
    spoken.client(MESSAGE)
    assert picking.rows(spoken.segments[3:]) == [(1, p.TF_HANDSHAKE)]
    spoken.server(b"follows")
    assert picking.rows(spoken.segments[4:]) == [(1, 0)]


def test_many_other_connections_do_not_push_out_smb(kernels: Kernels) -> None:
    """The table is crowded with 4 in 5 slots' worth of others: those may be forgotten, SMB never."""
    picking = Picking(kernels)
    known = [talk(HIGH_PORT, 20_000 + n).open() for n in range(200)]
    for spoken in known:
        spoken.client(MESSAGE)
        assert len(picking.frames(spoken.segments)) == 1
    rng = np.random.default_rng(1)
    table, buffer = table_of([talk(80).client(b"hello, world")])
    crowd = np.repeat(table, 20_000, axis=0)
    for _ in range(21 if kernels.compiled else 1):
        crowd[:, p.T_SRC_LO] = rng.integers(0xFFFF_0000_0000, 0xFFFF_FFFF_FFFF, len(crowd))
        crowd[:, p.T_SRC_PORT] = rng.integers(1024, 65_536, len(crowd))
        assert (
            kernels.pick(buffer, crowd.copy(), len(crowd), picking.ports, picking.seen, picking.recent, picking.counts)
            == 0
        )
    for spoken in known:
        assert picking.frames([spoken.server(b"follows")]) == [1]


def test_other_ports_can_be_listed(kernels: Kernels) -> None:
    spoken = talk(1445).open()
    spoken.client(b"anything")
    assert Picking(kernels, (445, 1445)).frames(spoken.segments) == [1, 2, 3, 4]
    assert Picking(kernels, ()).frames(spoken.segments) == []


def test_rows_stand_close_and_in_order(kernels: Kernels) -> None:
    a, b = talk(445, 1), talk(80, 2)
    mixed = [side.client(b"text") for side in (a, b, b, a, b, a)]
    assert Picking(kernels).frames(mixed) == [1, 4, 6]


@given(data=st.binary(max_size=12))
def test_begins_like_smb(data: bytes) -> None:
    expected = len(data) >= 8 and data[:1] == b"\0" and data[4] >= 0xFC and data[5:8] == b"SMB"
    assert bool(pick.begins_like_smb(memoryview(data + bytes(8)), 0, len(data))) == expected


ends = st.tuples(st.sampled_from(["10.0.0.1", "10.0.0.2", "255.1.1.1", "::1", "ffff::1"]), st.integers(0, 65_535))


@given(source=ends, target=ends)
def test_both_directions_have_the_same_hash(source: tuple[str, int], target: tuple[str, int]) -> None:
    there = Segment(0, source, target, 0, 0, SYN)
    back = Segment(0, target, source, 0, 0, SYN)
    view = memoryview(table_of([there, back])[0])
    low = [pick.from_low(view, row) for row in range(2)]
    hashes = [pick.endpoint_hash(view, row, low[row]) for row in range(2)]
    assert hashes[0] == hashes[1]
    assert 0 <= hashes[0] < 2**48
    if source != target:
        assert low[0] != low[1]


# Copies.


def copied(
    kernels: Kernels, change: dict[int, int], *, after_ns: int = 1_000, mark: int = 77 << 20 | 5 << 16 | 65_535
) -> int:
    """How many copies are seen if a segment comes a second time with some columns changed."""
    picking = Picking(kernels)
    table, buffer = table_of([talk(445).client(MESSAGE), talk(445).client(MESSAGE)])
    table[:, p.T_MARK] = mark
    table[1] = table[0]
    table[1, p.T_TIME] += after_ns
    for column, value in change.items():
        table[1, column] = value
    found = kernels.pick(buffer, table, 2, picking.ports, picking.seen, picking.recent, picking.counts)
    assert picking.counts[p.C_SMB] == found
    assert picking.counts[p.C_DUPLICATES] == 2 - found
    return 2 - found


def test_a_copy_is_dropped(kernels: Kernels) -> None:
    assert copied(kernels, {}) == 1
    assert copied(kernels, {p.T_FILE: 3, p.T_FRAME: 9, p.T_PLACE: 999}) == 1


@pytest.mark.parametrize(
    "column",
    [
        p.T_SRC_HI, p.T_SRC_LO, p.T_DST_HI, p.T_DST_LO, p.T_SRC_PORT, p.T_SEQ, p.T_ACK, p.T_FLAGS, p.T_SIZE, p.T_MARK,
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [1, 123_456])
def test_what_makes_another_packet(column: int, value: int, kernels: Kernels) -> None:
    assert copied(kernels, {column: value}) == 0


@pytest.mark.parametrize(("after_ms", "copies"), [(-1_200, 0), (-900, 1), (0, 1), (900, 1), (1_200, 0), (90_000, 0)])
def test_a_copy_comes_soon(after_ms: int, copies: int, kernels: Kernels) -> None:
    assert copied(kernels, {}, after_ns=after_ms * 1_000_000) == copies


@pytest.mark.parametrize(("after_ms", "copies"), [(-200, 0), (-50, 1), (0, 1), (50, 1), (200, 0)])
def test_a_copy_without_identification_comes_sooner(after_ms: int, copies: int, kernels: Kernels) -> None:
    assert copied(kernels, {}, after_ns=after_ms * 1_000_000, mark=5 << 16 | 65_535) == copies


@pytest.mark.parametrize("size", [1, 7, 8, 9, 100, 1_400])
def test_without_identification_payload_is_compared(size: int, kernels: Kernels) -> None:
    """A repetition that says something else is no copy."""
    segments = [talk(445).client(bytes(size)), talk(445).client(bytes(size)), talk(445).client(b"\xff" * size)]
    table, buffer = table_of(segments)
    table[:, p.T_MARK] = 5 << 16
    picking = Picking(kernels)
    found = kernels.pick(buffer, table, 3, picking.ports, picking.seen, picking.recent, picking.counts)
    assert (found, picking.counts[p.C_DUPLICATES]) == (2, 1)


def test_without_identification_options_are_compared(kernels: Kernels) -> None:
    """Time stamps tell a repetition."""
    table, _ = table_of([talk(445).client(MESSAGE)] * 3)
    buffer = np.frombuffer(b"".join(stamp * 3 + MESSAGE for stamp in (b"\1\1\1\1", b"\1\1\1\2", b"\1\1\1\1")), np.uint8)
    table[:, p.T_MARK] = 8 << 16
    table[:, p.T_DATA] = [12 + n * (12 + len(MESSAGE)) for n in range(3)]
    picking = Picking(kernels)
    found = kernels.pick(buffer.copy(), table, 3, picking.ports, picking.seen, picking.recent, picking.counts)
    assert (found, picking.counts[p.C_DUPLICATES]) == (2, 1)


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), unique=True, max_size=60))
def test_no_two_packets_are_taken_for_copies(numbers: list[tuple[int, int]]) -> None:
    table, buffer = table_of([talk(445).client(MESSAGE)] * len(numbers))
    table[:, p.T_MARK] = 1 << 20
    table[:, [p.T_SEQ, p.T_ACK]] = np.array(numbers, dtype=np.int64).reshape(-1, 2)
    picking = Picking()
    assert picking.kernels.pick(
        buffer, table, len(table), picking.ports, picking.seen, picking.recent, picking.counts
    ) == len(numbers)


def test_both_forms_name_packets_alike() -> None:
    """An analysis may begin plain and go on compiled."""
    table, buffer = table_of([talk(445).client(MESSAGE)] * 40)
    table[:, p.T_SEQ] = np.arange(40) * 999_999_937 % 2**32
    table[:, p.T_MARK] = np.arange(40) % 3 << 20
    first = Picking(plain_kernels())
    arguments = first.ports, first.seen, first.recent, first.counts
    assert plain_kernels().pick(buffer, table.copy(), 40, *arguments) == 40
    assert compiled_kernels().pick(buffer, table.copy(), 40, *arguments) == 0
