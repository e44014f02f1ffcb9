"""The native engine: kernels find and select the messages, the protocol rooms read them, a window at a time.

While a window is reduced, a thread already fills and decodes the next one: compiled kernels, and NumPy with many
numbers, run without the interpreter's lock. Small input is worked off by the plain kernels, since importing or compiling
the others takes longer.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analyzer import auth
from analyzer.capture import datagrams, packets
from analyzer.capture.inputs import Block, CaptureSequence, Input, in_time_order
from analyzer.capture.reader import FileFacts
from analyzer.capture.source import STDIN, Spool
from analyzer.compiled import Bytes, Ints, Kernels, Table, cache_is_warm, compiled_kernels, plain_kernels
from analyzer.errors import DecodeError
from analyzer.memory import kernels_are_loaded
from analyzer.records import (
    CONNECTION_END,
    DATAGRAM,
    ENDPOINTS,
    HARDWARE,
    NAMES,
    PROBLEM,
    Batch,
    Layer,
    Reread,
    Rows,
    TokenKind,
    empty_batch,
)
from analyzer.smb.decode import Decoded, Room, decode
from analyzer.smb.select import has_room
from analyzer.transport import flows, messages, netbios, pick
from analyzer.transport.flows import D_WIDTH, F_DIRECTIONS
from analyzer.transport.ways import Ways
from analyzer.wire.texts import MISSING, Texts

if TYPE_CHECKING:
    from analyzer.engines.sealed import Sealed

WINDOW_ROWS = 32_768
WINDOW_BYTES = 4 * 1024 * 1024
WINDOW_SEGMENTS = 131_072
"""Segments of SMB after which a window is handed over though there is room. Where files are transferred few segments begin a
message: windows that had to be full would take memory, and keep what was found back, for as long as gigabytes."""
FLOWS = 4096
MAX_FLOWS = 262_144
"""Connections followed at a time; when more are open, those idle for longest are taken for over."""
LINGER_NS = 10_000_000_000
"""How long a closed connection is remembered for late repetitions."""

PLAIN_PACKETS = 20_000
"""More packets than this are worth compiling for, once."""
PLAIN_BYTES = 2_000_000
"""Less than this on disk is not even worth loading compiled kernels."""
SURELY_LARGE = 30_000_000

PROBLEM_CODES = {
    messages.PROBLEM_NOT_SMB: (Layer.NETBIOS, "length", "not_smb"),
    messages.PROBLEM_GAP: (Layer.TCP, "sequence", "gap"),
    messages.PROBLEM_CUT: (Layer.TCP, "sequence", "gap_in_message"),
    messages.PROBLEM_COMPOUND: (Layer.SMB2, "next_command", "leads_nowhere"),
    messages.PROBLEM_GIVEN_UP: (Layer.TCP, "reassembly", "given_up"),
}

DATAGRAM_COLUMNS = {
    "kind": datagrams.N_KIND,
    "capture_no": datagrams.N_FILE,
    "frame": datagrams.N_FRAME,
    "first_ns": datagrams.N_FIRST,
    "last_ns": datagrams.N_LAST,
    "source_hi": datagrams.N_SRC_HI,
    "source_lo": datagrams.N_SRC_LO,
    "mac": datagrams.N_MAC,
}
HARDWARE_COLUMNS = {
    "hi": datagrams.H_HI,
    "lo": datagrams.H_LO,
    "mac": datagrams.H_MAC,
    "first_ns": datagrams.H_FIRST,
    "last_ns": datagrams.H_LAST,
}


@dataclass(slots=True)
class Filled:
    """A window as the scan leaves it."""

    rows: Table
    arena: Bytes
    whole: tuple[Table, Bytes]
    begun: Rows
    ended: Rows


Made = tuple[Batch, tuple[Table, Bytes]]
"""A window's records, and the window itself, which is filled again when they are worked off."""


@dataclass(slots=True)
class _Again:
    """What is read of a site the second time."""

    connections: Ints
    """`_either_way` of their endpoints."""
    last: set[tuple[int, int]]
    """Their last packets that are still to come: file and offset."""

    def keep(self, segments: Table, count: int) -> int:
        """Move those of the first `count` segments that are wanted to the front; returns how many."""
        ends = (
            [packets.T_SRC_HI, packets.T_SRC_LO, packets.T_SRC_PORT],
            [packets.T_DST_HI, packets.T_DST_LO, packets.T_DST_PORT],
        )
        source, target = (segments[:count, columns].T for columns in ends)
        kept = segments[:count][np.isin(_either_way(source, target), self.connections)]
        segments[: len(kept)] = kept
        self.last -= set(map(tuple, kept[:, [packets.T_FILE, packets.T_PLACE]].tolist()))
        return len(kept)


@dataclass(slots=True)
class _Scan:
    """The state of the scan of one site."""

    memory: flows.Memory
    sequence: CaptureSequence
    seen: npt.NDArray[np.int64]
    recent: npt.NDArray[np.int64]
    free: queue.Queue[tuple[Table, Bytes]]
    counts: npt.NDArray[np.int64]
    ways: Ways = field(default_factory=Ways)
    again: _Again | None = None
    begun: list[Rows] = field(default_factory=list)
    ended: list[Rows] = field(default_factory=list)
    reported: int = 0
    now: int = 0
    begun_at: int = 0  # how many segments came before this window


class NativeEngine:
    """See `engines.Engine`."""

    name = "native"

    def __init__(self, ports: tuple[int, ...], announce: Callable[[str], None]) -> None:
        self.files: list[FileFacts] = []
        self.texts = Texts(lambda: self._kernels)
        self._ports = ports
        self._announce = announce
        self._counts = np.zeros(packets.C_WIDTH, dtype=np.int64)
        self._memory_counts = np.zeros(flows.G_WIDTH, dtype=np.int64)
        self._overheard_counts = np.zeros(datagrams.S_WIDTH, dtype=np.int64)
        self._sequence: CaptureSequence | None = None
        self._consumed_before = 0
        self._connections = 0
        self._connections_let_go = 0
        self._ways_dropped = 0
        self._kernels = plain_kernels()
        self._room = Room()
        self._timed: list[tuple[int, Input]] = []  # the inputs of the site that was read last, in order
        self._spool: Spool | None = None  # what standard input brought

    def kernels(self) -> Kernels:
        return self._kernels

    def consumed(self) -> int:
        return self._consumed_before + (self._sequence.consumed if self._sequence else 0)

    def counts(self) -> dict[str, int]:
        return {
            "tcp_segments": int(self._counts[packets.C_TCP]),
            "smb_segments": int(self._counts[packets.C_SMB]),
            "duplicate_packets": int(self._counts[packets.C_DUPLICATES]),
            "ip_fragments": int(self._counts[packets.C_FRAGMENTS]),
            "datagrams_incomplete": int(self._counts[packets.C_INCOMPLETE]),
            "fragments_given_up": int(self._counts[packets.C_FRAGMENTS_GIVEN_UP]),
            "packets_too_deep": int(self._counts[packets.C_TOO_DEEP]),
            "unknown_link_packets": int(self._counts[packets.C_UNKNOWN_LINK]),
            "bad_packets": int(self._counts[packets.C_BAD]),
            "bytes_given_up": int(self._memory_counts[flows.G_GIVEN_UP]),
            "rows_given_up": int(self._memory_counts[flows.G_ROWS_DROPPED]),
            "retransmissions_that_differ": int(self._memory_counts[flows.G_DIFFERENT]),
            "trees_forgotten": int(self._memory_counts[flows.G_TREES_FORGOTTEN]),
            "connections_let_go": self._connections_let_go,
            "datagrams_dropped": int(
                self._overheard_counts[datagrams.S_DROPPED] + self._overheard_counts[datagrams.S_CUT]
            ),
            "other_ways_given_up": self._ways_dropped,
            "capture_notes_given_up": sum(file.notes_given_up for file in self.files),
        }

    def read(self, inputs: list[Input]) -> Iterator[Batch]:
        size = sum(Path(item.capture).stat().st_size for item in inputs if Path(item.capture).is_file())
        if size > SURELY_LARGE or (size > PLAIN_BYTES and cache_is_warm()):
            self._compile()
        self._timed = in_time_order(inputs, self._kernels)
        self._spool = Spool() if any(item.capture == STDIN for item in inputs) else None
        scan = self._new_scan(self._timed, len(self.files), self._connections, self._counts)
        self._sequence = scan.sequence
        batches = ((self._decode(filled), filled.whole) for filled in self._windows(scan))
        for batch, window in _in_background(batches) if size > SURELY_LARGE else batches:
            yield batch
            scan.free.put(window)
        yield self._overheard(scan)
        self.files += [reader.facts for reader in scan.sequence.readers]
        self._memory_counts += scan.memory.state
        self._connections = int(scan.memory.state[flows.G_CONNECTIONS])
        self._consumed_before += scan.sequence.consumed
        self._sequence = None

    def reread(self, logins: Rows) -> Iterator[Reread]:
        """Read connections of the site that was read last once more, to look into what they sign and encrypt.

        logins: `LOGIN`. Files are read from the beginning, since frames are counted from there, and up to the last packet
        that is wanted. What the second reading counts is not counted twice.
        """
        from analyzer.engines.sealed import Sealed  # noqa: PLC0415 - brings a cryptographic library

        first_no = len(self.files) - len(self._timed)
        begin, end = int(logins["capture_no"].min()), int(logins["last_capture_no"].max())
        timed = self._timed[begin - first_no : end - first_no + 1]
        if any(item.capture == STDIN for _, item in timed) and not (self._spool and self._spool.is_complete()):
            return
        if self._consumed_before > SURELY_LARGE:
            self._announce(f"Reading again what {len(logins):,} null or guest sessions sign or encrypt ...")
        scan = self._new_scan(timed, begin, 0, np.zeros(packets.C_WIDTH, dtype=np.int64))
        scan.memory.state[flows.G_SEALED_WHOLE] = 1
        ends = ([logins[f"{side}_{name}"] for name in ("hi", "lo", "port")] for side in ("client", "server"))
        last = set(zip(logins["last_capture_no"].tolist(), logins["last_place"].tolist(), strict=True))
        scan.again = _Again(np.unique(_either_way(*map(np.stack, ends))), last)
        sealed = Sealed(logins)
        try:
            for filled in self._windows(scan):
                sealed.take(filled.rows, filled.arena, filled.begun, filled.ended)
                scan.free.put(filled.whole)
                if sealed.is_ready():
                    yield self._opened(sealed)
        finally:
            scan.sequence.close()
        yield self._opened(sealed)

    def forget(self) -> None:
        if self._spool is not None:
            self._spool.close()
        self._timed, self._spool = [], None

    def _opened(self, sealed: Sealed) -> Reread:
        rows, arena, keys, opened, logins, findings = sealed.handed_over()
        nothing = np.empty(0, dtype=ENDPOINTS), np.empty(0, dtype=CONNECTION_END)
        batch = self._decode(Filled(rows, arena, (rows, arena), *nothing))
        return Reread(logins=logins, findings=findings, batch=batch, sealed=keys, opened=opened)

    # The scan, which may run in a thread of its own. #

    def _new_scan(
        self, timed: list[tuple[int, Input]], first_no: int, connections: int, counts: npt.NDArray[np.int64]
    ) -> _Scan:
        free: queue.Queue[tuple[Table, Bytes]] = queue.Queue()
        free.put(messages.window(WINDOW_ROWS, WINDOW_BYTES))
        memory = flows.empty(list(self._ports), *messages.window(WINDOW_ROWS, WINDOW_BYTES), FLOWS)
        memory.state[flows.G_CONNECTIONS] = connections
        sequence = CaptureSequence(timed, first_no, self.kernels, counts, self._spool)
        return _Scan(
            memory, sequence, *pick.tables(), free, counts, reported=connections, begun_at=int(counts[packets.C_SMB])
        )

    def _windows(self, scan: _Scan) -> Iterator[Filled]:
        for block in scan.sequence.blocks():
            yield from self._follow(scan, block)
            if scan.counts[packets.C_SMB] - scan.begun_at > WINDOW_SEGMENTS:
                yield from self._next_window(scan)
            if not self._kernels.compiled and scan.counts[packets.C_TCP] > PLAIN_PACKETS:
                self._compile()
            if scan.again is not None and not scan.again.last:
                break
        yield from self._finish_connections(scan, linger=-1, even_open=1)
        yield from self._hand_over(scan)

    def _follow(self, scan: _Scan, block: Block) -> Iterator[Filled]:
        segments, buffer = block.segments, block.step.buffer
        if scan.again is None:
            scan.ways.note(segments)
        found = self._kernels.pick(
            buffer, segments, len(segments), scan.memory.ports, scan.seen, scan.recent, scan.counts
        )
        block.reader.facts.smb_packets += found
        if scan.again is not None:
            found = scan.again.keep(segments, found)
        elif found:
            overheard = scan.sequence.overheard
            self._kernels.note_hardware(buffer, block.step.packets, segments, found, overheard)
        if scan.again is None:
            block.reader.note_processes(block.step, segments[:found])
        at = 0
        while at < found:
            at = self._kernels.follow(scan.memory, buffer, segments, at, found)
            scan.now = max(scan.now, int(segments[min(at, found - 1), packets.T_TIME]))
            if at < found and scan.memory.state[flows.G_FREE_FLOW] < 0:
                yield from self._make_room(scan)
            elif at < found:
                yield from self._next_window(scan)

    def _make_room(self, scan: _Scan) -> Iterator[Filled]:
        """Free the rows of connections that are over; if they are few, double the table, or take idle ones for over."""
        yield from self._finish_connections(scan, LINGER_NS, even_open=0)
        size = len(scan.memory.flows)
        if scan.memory.state[flows.G_FLOWS_USED] > size * 3 // 4:
            if size < MAX_FLOWS:
                scan.memory = flows.grown(scan.memory)
            else:
                idle = scan.now - np.quantile(scan.memory.flows[:, flows.F_LAST_TIME], 0.25)
                used = int(scan.memory.state[flows.G_FLOWS_USED])
                yield from self._finish_connections(scan, max(-1, int(idle) - 1), even_open=1)
                self._connections_let_go += used - int(scan.memory.state[flows.G_FLOWS_USED])

    def _finish_connections(self, scan: _Scan, linger: int, even_open: int) -> Iterator[Filled]:
        at = 0
        done = np.zeros(4096, dtype=np.int64)
        self._note_begun(scan)
        while at < len(scan.memory.flows):
            at = self._kernels.sweep(scan.memory, at, scan.now, linger, even_open, done)
            scan.ended.append(_connection_ends(scan.memory.flows[done[1 : done[0] + 1]]))
            self._kernels.release(scan.memory, done)
            if not has_room(scan.memory):
                yield from self._hand_over(scan)

    def _next_window(self, scan: _Scan) -> Iterator[Filled]:
        yield from self._hand_over(scan)
        yield from self._finish_connections(scan, LINGER_NS, even_open=0)

    def _hand_over(self, scan: _Scan) -> Iterator[Filled]:
        """Give the window away and go on with an empty one, as soon as there is one."""
        self._note_begun(scan)
        memory = scan.memory
        rows = memory.messages[: memory.state[flows.G_MESSAGES]]
        begun = np.concatenate([np.empty(0, dtype=ENDPOINTS), *scan.begun])
        ended = np.concatenate([np.empty(0, dtype=CONNECTION_END), *scan.ended])
        scan.begun, scan.ended = [], []
        arena = memory.arena[: int(memory.state[flows.G_ARENA]) + messages.ARENA_SPARE]
        yield Filled(rows, arena, (memory.messages, memory.arena), begun, ended)
        table, arena = scan.free.get()
        scan.memory = memory._replace(messages=table, arena=arena)
        memory.state[flows.G_MESSAGES] = 0
        memory.state[flows.G_ARENA] = 0
        scan.begun_at = int(scan.counts[packets.C_SMB])

    def _note_begun(self, scan: _Scan) -> None:
        table = scan.memory.flows
        in_use = (table[:, flows.F_STATE] & flows.FS_IN_USE) != 0
        new = np.flatnonzero(in_use & (table[:, flows.F_CONNECTION] >= scan.reported))
        scan.begun.append(_endpoints(table[new], ENDPOINTS))
        scan.reported = int(scan.memory.state[flows.G_CONNECTIONS])

    def _compile(self) -> None:
        if not cache_is_warm():
            self._announce("Compiling the scanner for this machine, once (about half a minute) ...")
        self._kernels = compiled_kernels()
        kernels_are_loaded()

    # Decoding. #

    def _decode(self, filled: Filled) -> Batch:
        protocol = filled.rows[:, messages.M_PROTOCOL]
        rows = np.ascontiguousarray(filled.rows[protocol < messages.PROTOCOL_NETBIOS])
        decoded = decode(rows, filled.arena, self.texts, self._kernels, self._room)
        unreadable = _read_tokens(decoded, filled.arena, self.texts)
        names = self._read_names(filled, filled.rows[protocol == messages.PROTOCOL_NETBIOS])
        problems = _problems(filled.rows[protocol == messages.PROTOCOL_PROBLEM], self.texts)
        return Batch(
            texts=self.texts,
            arena=filled.arena,
            messages=decoded.messages,
            bodies=decoded.bodies,
            begun=filled.begun,
            ended=filled.ended,
            names=names,
            problems=np.concatenate([problems, decoded.problems, unreadable]),
        )

    def _overheard(self, scan: _Scan) -> Batch:
        """What was heard beside the connections: the last batch, without messages."""
        kept = scan.sequence.overheard
        self._overheard_counts += kept.state
        rows = kept.rows[: kept.state[datagrams.S_ROWS]]
        told = np.zeros(len(rows), dtype=DATAGRAM)
        for name, column in DATAGRAM_COLUMNS.items():
            told[name] = rows[:, column]
        places = rows[:, [datagrams.N_AT, datagrams.N_SIZE]].tolist()
        told["payload"] = [kept.arena[at : at + size].tobytes() for at, size in places]
        known = kept.hardware[kept.hardware[:, datagrams.H_MAC] > 0]
        hardware = np.zeros(len(known), dtype=HARDWARE)
        for name, column in HARDWARE_COLUMNS.items():
            hardware[name] = known[:, column]
        hardware["mac"] -= 1
        self._ways_dropped += scan.ways.dropped
        return replace(empty_batch(self.texts), datagrams=told, hardware=hardware, ways=scan.ways.rows())

    def _read_names(self, filled: Filled, rows: Table) -> Rows:
        """The NetBIOS names of session requests."""
        found = []
        for row in rows[rows[:, messages.M_COMMAND] == netbios.PacketType.SESSION_REQUEST]:
            packet = filled.arena[row[messages.M_HEADER] : row[messages.M_END]].tobytes()
            try:
                called, calling = netbios.parse_names(packet)
            except DecodeError:
                continue  # the names are a courtesy; the connection is judged without them
            found.append((row[messages.M_CONNECTION], self.texts.code(calling), self.texts.code(called)))
        return np.array(found, dtype=NAMES)


def _in_background(batches: Iterator[Made]) -> Iterator[Made]:
    """The same batches, each with its window, made by a thread while the caller works on the one before."""
    ready: queue.Queue[Made | BaseException | None] = queue.Queue(maxsize=1)
    stop = threading.Event()

    def fill() -> None:
        try:
            for made in batches:
                ready.put(made)
                if stop.is_set():
                    return
            ready.put(None)
        except BaseException as problem:
            ready.put(problem)

    threading.Thread(target=fill, name="scan", daemon=True).start()
    try:
        while (made := ready.get()) is not None:
            if isinstance(made, BaseException):
                raise made
            yield made
    finally:
        stop.set()


def _read_tokens(decoded: Decoded, arena: Bytes, texts: Texts) -> Rows:
    """Put the tokens of session setups that carry a security blob into their bodies; returns problems."""
    told = []
    for name, places in decoded.tokens.items():
        tokens = auth.read_tokens(arena, places.start, places.end, places.cut, texts)
        bodies = decoded.bodies[name]
        bodies["token"][places.which] = tokens
        unreadable = places.which[tokens["kind"] == TokenKind.UNREADABLE]
        of = decoded.messages[bodies["row"][unreadable]]
        problems = np.zeros(len(of), dtype=PROBLEM)
        for field_name in ("capture_no", "frame", "connection"):
            problems[field_name] = of[field_name]
        problems["layer"] = Layer.SPNEGO
        problems["field"] = texts.code("token")
        problems["code"] = texts.code("unreadable")
        problems["detail"] = MISSING
        told.append(problems)
    return np.concatenate(told)


def _problems(rows: Table, texts: Texts) -> Rows:
    told = np.zeros(len(rows), dtype=PROBLEM)
    told["capture_no"] = rows[:, messages.M_FILE]
    told["frame"] = rows[:, messages.M_FRAME]
    told["connection"] = rows[:, messages.M_CONNECTION]
    told["offset"] = MISSING
    told["detail"] = MISSING
    for number, (layer, name, code) in PROBLEM_CODES.items():
        same = rows[:, messages.M_COMMAND] == number
        told["layer"][same] = layer
        told["field"][same] = texts.code(name)
        told["code"][same] = texts.code(code)
    sizes = rows[:, messages.M_SIZE]
    told["detail"] = [texts.code(f"{size} bytes") if size else MISSING for size in sizes.tolist()]
    return told


def _endpoints(table: Table, record: np.dtype[np.void]) -> Rows:
    made = np.zeros(len(table), dtype=record)
    made["connection"] = table[:, flows.F_CONNECTION]
    made["client_hi"] = table[:, flows.F_CLIENT_HI]
    made["client_lo"] = table[:, flows.F_CLIENT_LO]
    made["client_port"] = table[:, flows.F_CLIENT_PORT]
    made["server_hi"] = table[:, flows.F_SERVER_HI]
    made["server_lo"] = table[:, flows.F_SERVER_LO]
    made["server_port"] = table[:, flows.F_SERVER_PORT]
    made["capture_no"] = table[:, flows.F_FIRST_FILE]
    made["frame"] = table[:, flows.F_FIRST_FRAME]
    return made


def _either_way(source: Table, target: Table) -> Ints:
    """A number for each pair of endpoints (address in two halves, port), the same in both directions."""
    odd = np.array([0x369DEA0F31A53F85, 0x1B873593CC9E2D51, 0x2545F4914F6CDD1D])[:, None]
    one, other = ((np.asarray(end, dtype=np.int64) * odd).sum(axis=0) for end in (source, target))
    pair: Ints = (one ^ (one >> 29)) + (other ^ (other >> 29))
    return pair


def _connection_ends(table: Table) -> Rows:
    made = _endpoints(table, CONNECTION_END)
    state = table[:, flows.F_STATE]
    client = table[:, F_DIRECTIONS : F_DIRECTIONS + D_WIDTH]
    server = table[:, F_DIRECTIONS + D_WIDTH : F_DIRECTIONS + 2 * D_WIDTH]
    made["first_place"] = table[:, flows.F_FIRST_PLACE]
    made["last_capture_no"] = table[:, flows.F_LAST_FILE]
    made["last_place"] = table[:, flows.F_LAST_PLACE]
    made["first_ns"] = table[:, flows.F_FIRST_TIME]
    made["last_ns"] = table[:, flows.F_LAST_TIME]
    made["packets"] = table[:, flows.F_PACKETS]
    made["midstream"] = (state & (flows.FS_MIDSTREAM | flows.FS_SYN | flows.FS_SYN_ACK)) == flows.FS_MIDSTREAM
    closed_by = state & (flows.FS_CLOSED_BY_CLIENT | flows.FS_CLOSED_BY_SERVER)
    made["closed_by"] = closed_by // flows.FS_CLOSED_BY_CLIENT
    made["established"] = (state & (flows.FS_SYN_ACK | flows.FS_CLIENT_DATA | flows.FS_SERVER_DATA)) != 0
    made["client_bytes"] = client[:, flows.D_BYTES]
    made["server_bytes"] = server[:, flows.D_BYTES]
    made["missing_bytes"] = client[:, flows.D_MISSING] + server[:, flows.D_MISSING]
    made["unparsed_bytes"] = client[:, flows.D_UNPARSED] + server[:, flows.D_UNPARSED]
    return made
