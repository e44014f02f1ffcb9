"""The engine that reads what Wireshark reads: tshark takes captures apart down to the fields of each message.

A file is read two or three times by tshark. A quick survey of all packets comes first: how many there are, which ports
carry SMB though nobody said so, and whether segments are out of order (see `tshark_survey`). Then come flat lines of the
frames on these ports and, from the first frame on that holds several messages, beside them the nested ones of such frames
(see `tshark_fields`). Of a large file the flat lines are begun beside the survey, by what it says early, and begun again if it
says something else in the end. pyshark's own readers are not used: they make an object of each packet, which takes 6 times (EK) to
53 times (XML) as long, and end with an exception on ordinary traffic.

DCE/RPC is not left to tshark: the bytes of pipes go on to `rpc` as they are, and its dissector is off.
"""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from analyzer.capture.inputs import Input
from analyzer.capture.reader import FileFacts
from analyzer.capture.source import CHUNK, SNIFF_SIZE, STDIN, is_compressed, open_source
from analyzer.compiled import Kernels, cache_is_warm, compiled_kernels, plain_kernels
from analyzer.engines import tshark_process, tshark_survey
from analyzer.engines.tshark_connections import Connections, position
from analyzer.engines.tshark_fields import (
    BETWEEN,
    FIELDS,
    SEVERAL,
    Frame,
    Part,
    as_nanoseconds,
    read_line,
    read_nested,
)
from analyzer.engines.tshark_process import Run
from analyzer.engines.tshark_records import MOST_PROBLEMS, Collector, Seen
from analyzer.engines.tshark_survey import Survey
from analyzer.errors import CaptureError
from analyzer.records import Batch, Layer, Reread, Rows
from analyzer.wire.texts import Texts

BATCH = 8192
"""Messages of a batch."""
MOST_IDLE = 65_536
"""Frames after which a batch is handed on though it is not full: so progress shows."""
ARENA = 8 * 1024 * 1024
MAX_OPEN = 16
"""Files whose times overlap that are read side by side, each by up to three processes."""
AHEAD = 16 * 1024 * 1024
"""Bytes of flat lines that are taken before they are read, of all files that are open together."""
_NEVER = 1 << 63
COMPILE_FROM = 2_000_000
"""Bytes of files from which compiled kernels are worth their import, if they are there."""

_NOT_PRINTED = "tshark does not print it beside frames"
_NOT_REREAD = "what null sessions sign and encrypt is not looked into: connections are not read a second time"
GAPS = {
    "captures.format": _NOT_PRINTED,
    "captures.link_type": _NOT_PRINTED,
    "captures.snaplen": _NOT_PRINTED,
    "captures.dropped_packets": _NOT_PRINTED,
    "connections.process_id": _NOT_PRINTED,
    "connections.process_name": _NOT_PRINTED,
    "connections.process_side": _NOT_PRINTED,
    "connections.packets": "copies of a packet (by a mirror of both directions) are counted",
    "connections.last_seen": "on ports that are not listed, bare acknowledgements count too",
    "connections.server_bytes": "of reordered segments only tshark's word is known",
    "connections.missing_bytes": "of reordered segments only tshark's word is known",
    "connections.unparsed_bytes": "what is no message is passed over in silence",
    "connections.encrypted_messages": _NOT_REREAD,
    "sessions.encrypted_messages": _NOT_REREAD,
    "sessions.evidence": _NOT_REREAD,
    "sessions.ended": _NOT_REREAD,
    "sessions.native_lanman": "an empty text is not told from none",
    "other_ways": "connections to other ports are not counted",
    "hosts": "datagrams are not read: names come from SMB itself and from the user's list",
}
"""What this engine cannot know, or knows otherwise: a column, or a table as a whole, and why."""
LIMITS = (
    "trees, pipe_opens, calls and binds: " + _NOT_REREAD,
    "a message that begins in one file and ends in the next is lost",
    "segments are put in order in files where that gains more than it loses: tshark waits for ever for a segment that was"
    " not captured",
    "a segment that tshark takes for a repetition is not looked into, also where its first copy was not captured",
    "of requests that a client sent with a reply's bit no body is read, which is told in `problems`",
    "a name with a NUL in it is shown up to there",
    "of FSCTL_DFS_GET_REFERRALS_EX neither the path nor the answer is dissected, and of malformed referrals it is not told why",
    "of what CallNmPipe writes only the size is shown: not what was bound, nor how anything else begins",
)


class TsharkEngine:
    """See `engines.Engine`."""

    name = "tshark"
    gaps = GAPS
    limits = LIMITS

    def __init__(self, ports: tuple[int, ...], announce: Callable[[str], None]) -> None:
        self.files: list[FileFacts] = []
        self.texts = Texts(lambda: self._kernels)
        self._ports = ports
        self._announce = announce
        self._kernels = plain_kernels()
        self._program = ""
        self._consumed = 0
        self._reading: list[_File] = []
        self._connections = 0
        self._counts = dict.fromkeys(
            ("tcp_segments", "smb_segments", "lines_unreadable", "connections_let_go", "frames_unnested"), 0
        )

    def kernels(self) -> Kernels:
        return self._kernels

    def consumed(self) -> int:
        return self._consumed + sum(file.consumed() for file in self._reading)

    def counts(self) -> dict[str, int]:
        return dict(self._counts)

    def reread(self, logins: Rows) -> Iterator[Reread]:  # noqa: ARG002 - see GAPS
        """Nothing: what is signed and encrypted is not looked into."""
        return iter(())

    def forget(self) -> None:
        """Nothing is kept."""

    def read(self, inputs: list[Input]) -> Iterator[Batch]:
        """The batches of a site. Raises AnalyzerError if there is no tshark that can be used."""
        if not self._program:
            self._program = tshark_process.find_tshark()
            tshark_process.version_of(self._program)
        size = sum(Path(item.capture).stat().st_size for item in inputs if Path(item.capture).is_file())
        if size > COMPILE_FROM and cache_is_warm():
            self._kernels = compiled_kernels()
        with ExitStack() as kept:
            files = [
                _File(item.capture, self._program, self._ports, kept.enter_context(ExitStack())) for item in inputs
            ]
            for file in files:
                file.ahead = AHEAD // min(len(files), MAX_OPEN)
            if len(files) > 1:
                for file in files:
                    file.find_begin()
                files.sort(key=lambda file: file.begins_ns)
            for number, file in enumerate(files, len(self.files)):
                file.facts.capture_no = number
            self.files += [file.facts for file in files]
            self._reading = files
            yield from self._batches(files)
            self._consumed += sum(file.consumed() for file in files)
            self._counts["tcp_segments"] += sum(file.segments for file in files)
            self._reading = []

    def _batches(self, files: list[_File]) -> Iterator[Batch]:
        connections = Connections(self._ports, self._connections, self.texts)
        collector = Collector(self.texts)
        idle = now = 0
        for file, frame in _merged(files):
            idle += 1
            now = max(now, file.now_ns)
            if frame is None:
                self._note_unreadable(collector, file)
            elif frame.source is not None:
                self._take(connections, collector, file, frame)
            if len(collector.messages) >= BATCH or len(collector.arena) >= ARENA or idle >= MOST_IDLE:
                yield self._batch(connections, collector, now)
                idle = 0
        self._connections = connections.next_number
        self._counts["connections_let_go"] += connections.let_go
        yield self._batch(connections, collector, None)
        self._connections = connections.next_number

    def _take(self, connections: Connections, collector: Collector, file: _File, frame: Frame) -> None:
        found = connections.take(frame, file.facts.capture_no)
        if found is None or found[0].number < 0:
            return
        connection, side = found
        file.facts.smb_packets += 1
        self._counts["smb_segments"] += 1
        if frame.part is None and not frame.is_after_gap:
            return
        seen = Seen(
            connection=connection.number,
            from_server=side == 1,
            capture_no=file.facts.capture_no,
            frame=frame.number,
            time_ns=frame.time_ns,
            position=position(connection, side, frame),
        )
        if frame.is_after_gap:
            collector.tell(seen, Layer.TCP, "sequence", "gap")
        if frame.has_several:
            parts = file.nested(frame.number)
            if not parts:
                self._counts["frames_unnested"] += 1
                collector.tell(seen, Layer.CAPTURE, "tshark", "not_nested")
            collector.take(seen, parts)
        elif frame.part is not None:
            collector.take(seen, [frame.part])

    def _note_unreadable(self, collector: Collector, file: _File) -> None:
        self._counts["lines_unreadable"] += 1
        if self._counts["lines_unreadable"] > MOST_PROBLEMS:
            return
        seen = Seen(
            connection=-1,
            from_server=False,
            capture_no=file.facts.capture_no,
            frame=file.last_frame,
            time_ns=0,
            position=-1,
        )
        collector.tell(seen, Layer.CAPTURE, "tshark", "unreadable_line", "the line after this frame")

    def _batch(self, connections: Connections, collector: Collector, now: int | None) -> Batch:
        begun, ended, names = connections.hand_over(now)
        messages, bodies, problems, arena = collector.hand_over()
        return Batch(
            texts=self.texts,
            arena=arena,
            messages=messages,
            bodies=bodies,
            begun=begun,
            ended=ended,
            names=names,
            problems=problems,
        )


def _merged(files: list[_File]) -> Iterator[tuple[_File, Frame | None]]:
    """The frames of all files, as captured in each, in the order of time where several overlap."""
    waiting = files[::-1]
    opened: OrderedDict[int, tuple[_File, Iterator[Frame | None], Frame | None]] = OrderedDict()
    try:
        while waiting or opened:
            while waiting and (
                not opened
                or (
                    len(opened) < MAX_OPEN
                    and waiting[-1].begins_ns <= min(file.now_ns for file, _, _ in opened.values())
                )
            ):
                file = waiting.pop()
                _advance(opened, file, file.frames())
            if not opened:
                continue
            number = min(opened, key=lambda key: (opened[key][0].now_ns, key))
            file, frames, frame = opened[number]
            yield file, frame
            if len(opened) == 1:
                until = waiting[-1].begins_ns if waiting else _NEVER
                for frame in frames:
                    if file.now_ns >= until:
                        opened[number] = file, frames, frame
                        break
                    yield file, frame
                else:
                    opened.pop(number)
            else:
                _advance(opened, file, frames)
    finally:
        for _, frames, _ in opened.values():
            frames.close()  # type: ignore[attr-defined]


def _advance(
    opened: OrderedDict[int, tuple[_File, Iterator[Frame | None], Frame | None]],
    file: _File,
    frames: Iterator[Frame | None],
) -> None:
    """Go on to the next frame of a file; at its end it is no longer open."""
    number = file.facts.capture_no
    try:
        opened[number] = file, frames, next(frames)
    except StopIteration:
        opened.pop(number, None)


class _File:
    """A capture file that tshark reads."""

    def __init__(self, capture: str, program: str, ports: tuple[int, ...], kept: ExitStack) -> None:
        self.facts = FileFacts(capture=capture, capture_no=0)
        self.begins_ns = 0
        self.now_ns = 0
        self.last_frame = 0
        self.segments = 0
        self.ahead = AHEAD
        self._program = program
        self._ports = ports
        self._kept = kept
        self._path: str | None = None
        self._size = 0
        self._is_done = False
        self._start_nested: Callable[[], Run] | None = None
        self._beside: Run | None = None
        self._nested: Iterator[tuple[int, Sequence[Part]]] = iter(())
        self._ahead: tuple[int, Sequence[Part]] | None = None

    def consumed(self) -> int:
        """Bytes of the file on disk that have been read, as far as frames tell."""
        if self._is_done:
            return self._size
        return self._size * self.last_frame // max(self.last_frame, self.facts.packets, 1)

    def find_begin(self) -> None:
        """The time of its first packet. Standard input comes first, as does a file without a packet."""
        if self.facts.capture == STDIN or (path := self._readable()) is None:
            return
        arguments = tshark_process.parameters("dcerpc", {}, (), "-c", "1", "-T", "fields", "-e", "frame.time_epoch")
        with Run(self._program, path, arguments) as run:
            for line in run.lines():
                self.begins_ns = as_nanoseconds(line.strip()) or 0

    def frames(self) -> Iterator[Frame | None]:
        """Its frames; None for a line that makes no sense."""
        path = self._readable()
        if path is None:
            self._is_done = True
            return
        fields = list(FIELDS)
        with ExitStack() as runs:
            begun: dict[tuple[bool, frozenset[int]], Run] = {}

            def begin(survey: Survey) -> None:
                begun[survey.decides()] = runs.enter_context(self._run_flat(path, survey, fields))

            survey = self._survey(path, begin)
            if survey.decides() not in begun:
                for wrong in begun.values():
                    wrong.close()
                begin(survey)
            run = begun[survey.decides()]
            self._start_nested = partial(self._run_nested, runs, path, survey)
            yield from self._flat(run, fields)
            while not self.last_frame and (unknown := _unknown_fields(run.complaint()) & set(fields)):
                fields = [name for name in fields if name not in unknown]  # this version of tshark has not all
                run = runs.enter_context(self._run_flat(path, survey, fields))
                yield from self._flat(run, fields)
            self._note(run.complaint())
            if self._beside is not None:
                self._note(self._beside.complaint_if_ended())
            if run.too_long:
                self._note(f"{run.too_long} lines of tshark were too long")
        self.facts.packets = max(self.facts.packets, self.last_frame)  # a survey may have been ended from outside
        self._is_done = True

    def _settings(self, survey: Survey, ports: tuple[int, ...], *more: str) -> list[str]:
        order = {"tcp.reassemble_out_of_order": "FALSE" if survey.is_in_order() else "TRUE"}
        return tshark_process.parameters("dcerpc", order, ports, *more)

    def _run_flat(self, path: str, survey: Survey, fields: list[str]) -> Run:
        ports = self._all_ports(survey)
        shown = ("-Y", f"tcp.port in {{{', '.join(map(str, ports))}}} or (tcp and (smb or smb2))")
        printed = ("-T", "fields", "-E", "separator=/t", "-E", "occurrence=a", "-E", f"aggregator={BETWEEN}")
        columns = [word for name in fields for word in ("-e", name)]
        return Run(self._program, path, self._settings(survey, ports, *shown, *printed, *columns), ahead=self.ahead)

    def _run_nested(self, runs: ExitStack, path: str, survey: Survey) -> Run:
        only = ("-Y", SEVERAL, "-T", "pdml", "-J", "ip ipv6 tcp nbss smb smb2 smb_pipe lanman data")
        arguments = self._settings(survey, self._all_ports(survey), *only)
        return runs.enter_context(Run(self._program, path, arguments))

    def _all_ports(self, survey: Survey) -> tuple[int, ...]:
        return tuple(dict.fromkeys((*self._ports, *survey.ports)))

    def _note(self, complaint: str) -> None:
        """An error of this file. What several runs complain about in the same words is told once."""
        capture = self.facts.capture
        said = f"{capture}: {complaint.replace(self._path, capture) if self._path else complaint}"
        if complaint and said not in self.facts.errors:
            self.facts.errors.append(said)

    def _flat(self, run: Run, fields: list[str]) -> Iterator[Frame | None]:
        unreadable = 0
        for line in run.lines():
            frame = read_line(line if len(fields) == len(FIELDS) else _spread(line, fields))
            if frame is not None:
                self.last_frame = frame.number
                self.now_ns = max(self.now_ns, frame.time_ns)
            unreadable += frame is None
            yield frame
        if unreadable and not self.last_frame:
            self._note(f"tshark ({self._program}) printed {unreadable} lines, none of which can be read")

    def nested(self, frame: int) -> Sequence[Part]:
        """The messages of a frame that holds several; none if tshark did not print it so."""
        if self._beside is None and self._start_nested is not None:
            self._beside = self._start_nested()
            self._nested = read_nested(self._beside.lines())
        while self._ahead is None or self._ahead[0] < frame:
            self._ahead = next(self._nested, None)
            if self._ahead is None:
                return []
        return self._ahead[1] if self._ahead[0] == frame else []

    def _survey(self, path: str, early: Callable[[Survey], None]) -> Survey:
        """Count the packets, look for SMB on other ports, and for disorder."""
        with Run(self._program, path, tshark_survey.arguments(self._ports)) as run:
            survey = tshark_survey.read(run.lines(), self._ports, self.facts, early)
            self._note(run.complaint())
        self.segments = survey.segments
        return survey

    def _readable(self) -> str | None:
        """Where tshark finds it: standard input and packed files are put into a temporary file first."""
        if self._path is not None or self.facts.errors:
            return self._path
        capture = self.facts.capture
        try:
            if capture != STDIN:
                self._size = Path(capture).stat().st_size
                with Path(capture).open("rb") as opened:
                    if not is_compressed(opened.read(SNIFF_SIZE)):
                        self._path = capture
                        return capture
            self._unpack()
        except CaptureError as problem:
            self.facts.errors.append(str(problem))
        except OSError as problem:
            self._note(f"cannot be read: {problem.strerror or problem}")
        return self._path

    def _unpack(self) -> None:
        """Into a temporary file. Of what cannot be unpacked to its end, the part before is read."""
        source = open_source(self.facts.capture)
        try:
            file = self._kept.enter_context(tempfile.NamedTemporaryFile(prefix="nullsession-", suffix=".cap"))  # noqa: SIM115
            self._path = file.name
            buffer = memoryview(bytearray(CHUNK))
            try:
                while got := source.fill(buffer):
                    file.write(buffer[:got])
            finally:
                file.flush()
        finally:
            source.close()


def _spread(line: bytes, fields: list[str]) -> bytes:
    """A line of fewer columns as one of all, empty where this tshark does not know the field."""
    columns = line.split(b"\t")
    if len(columns) != len(fields):
        return b""
    found = dict(zip(fields, columns, strict=True))
    return b"\t".join(found.get(name, b"") for name in FIELDS)


def _unknown_fields(complaint: str) -> set[str]:
    """The fields that this tshark does not know, by its own words."""
    _, found, names = complaint.partition("Some fields aren't valid:")
    return set(names.split()) if found else set()
