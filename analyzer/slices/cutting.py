"""The packets of chosen connections to a file of their own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from analyzer import __version__, tables
from analyzer.analysis import Analysis, Progress, is_folder_of_results
from analyzer.capture import pcapng
from analyzer.capture.chosen import Chosen, File, Marking, Marks, marked_packets
from analyzer.capture.inputs import as_text, find_captures
from analyzer.capture.pcapng_writer import PcapngWriter, text_option
from analyzer.capture.reader import first_packet_ns
from analyzer.capture.source import STDIN
from analyzer.compiled import Kernels, cache_is_warm, compiled_kernels, plain_kernels
from analyzer.engines import native
from analyzer.errors import AnalyzerError, UsageError
from analyzer.sessions.joins import Ints
from analyzer.slices.behind import behind, tabled
from analyzer.slices.connections import of_site
from analyzer.slices.selection import Selection, chosen_rows
from analyzer.summary.uses import those
from analyzer.tables import Columns

MOST_NAMED = 10
MOST_CHARACTERS = 4000
"""Of a comment."""
SAID = ("application", "resource", "interface", "operation", "identity", "verdict")
"""Columns of a row that a comment says, besides client, server and reason."""
NAMED = ("client_ip", "client", "server_ip", "server")
TOLD = (*NAMED, *SAID, "reason")

OF_PROCESSES = (pcapng.OPTION_EPB_PIB, pcapng.OPTION_EPB_EFFECTIVE_PIB)

Place = tuple[int, int]
"""A packet: number of its file, and frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What was written."""

    path: Path
    rows: int
    connections: int
    packets: int
    files: int
    """Captures that packets came from."""


def cut(
    analysis: Analysis,
    paths: str | Path | Sequence[str | Path],
    output: str | Path,
    selection: Selection | None = None,
    *,
    progress: Progress | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> Slice:
    """Write the connections behind rows of `dependencies` to a pcapng file, with comments that name the rows.

    paths: what the analysis was made of, or the folder of results that it was read from; captures that the results name are
    looked for as they are named, and beside the folder. Older contents of `output` are replaced once all is written.
    progress: told now and then how many bytes have been looked at, and of how many.
    Raises UsageError if no row fits, AnalyzerError if a capture is not there, or is not the one that was analysed.
    """
    chosen = chosen_rows(analysis, selection or Selection())
    rows = tabled(analysis)
    connections = behind(rows, chosen, analysis).connections
    captures = rows.columns("captures", "capture_no", "capture", "site", "packets", "first_seen", "last_seen")
    captures = those(captures, captures["packets"] > 0)
    sites = {site: of_site(rows, site, connections) for site in np.unique(captures["site"]).tolist()}
    spans = zip(*(captures[name].tolist() for name in ("site", "first_seen", "last_seen")), strict=True)
    between = [first < 0 or sites[site].are_between(first, last) for site, first, last in spans]
    captures = those(captures, np.array(between, dtype=bool))
    sources = [rows.texts.text(code) or "" for code in captures["capture"].tolist()]
    numbers = captures["capture_no"].tolist()
    where = _located(sources, paths)
    output = Path(output)
    if any(output.exists() and os.path.samefile(path, output) for path in where):
        raise UsageError(f"{as_text(str(output))} is one of the captures; the slice needs a name of its own")
    kernels = _kernels(int(captures["packets"].sum()), announce)
    files = [File(path, no, first_packet_ns(path, kernels)) for path, no in zip(where, numbers, strict=True)]
    told = _Told(progress, sum(os.path.getsize(path) for path in where))
    marks: dict[int, Marks] = {}
    for site, wanted in sites.items():
        of = [file for file, its_site in zip(files, captures["site"].tolist(), strict=True) if its_site == site]
        marking = Marking(kernels, wanted.own)
        marking.walk(of, told.tell)
        told.add(of)
        _check(marking, of, captures)
        marks |= marking.marks
    of_rows = analysis.arrow("dependencies").select([*TOLD, "capture", "frame"]).take(tables.ints(chosen)).to_pylist()
    about = f"Connections behind {len(chosen):,} of {len(analysis.arrow('dependencies')):,} rows of `dependencies`"
    said = comments(of_rows, chosen, dict(zip(sources, numbers, strict=True)))
    with _in_place(output) as target:
        writer = _Writer(target, about, _names(of_rows), said, dict(zip(numbers, sources, strict=True)))
        for packet in marked_packets(files, marks, kernels):
            writer.write(packet)
        if writer.packets != sum(found.count() for found in marks.values()):
            raise AnalyzerError("captures have changed while they were read; nothing was written")
    return Slice(
        path=output,
        rows=len(chosen),
        connections=len(connections),
        packets=writer.packets,
        files=sum(1 for found in marks.values() if found.last),
    )


def _kernels(packets: int, announce: Callable[[str], None]) -> Kernels:
    """Machine code where it is worth the wait, as for an analysis."""
    if packets <= native.PLAIN_PACKETS:
        return plain_kernels()
    if not cache_is_warm():
        announce("Compiling the scanner for this machine, once (about half a minute) ...")
    return compiled_kernels()


class _Told:
    """Progress over several walks."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def tell(self, done: int) -> None:
        if self._progress:
            self._progress(self._done + done, self._total)

    def add(self, files: Iterable[File]) -> None:
        self._done += sum(os.path.getsize(file.capture) for file in files)


# Captures. #


def _located(names: list[str], paths: str | Path | Sequence[str | Path]) -> list[str]:
    """Where the captures are that tables call so. Raises AnalyzerError that names those that are nowhere."""
    given = [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if STDIN in names:
        raise AnalyzerError("standard input cannot be read again: write it to a file, and analyze that")
    if len(given) == 1 and is_folder_of_results(given[0]):
        folder = Path(given[0]).resolve()
        tried = {
            name: [Path(name), folder.parent / name, folder / name, folder.parent / Path(name).name] for name in names
        }
        found = {name: next((str(path) for path in tried[name] if path.is_file()), None) for name in names}
    else:
        found = dict.fromkeys(names) | {as_text(item.capture): item.capture for item in find_captures(given)}
    if missing := [name for name in names if found[name] is None]:
        more = f" and {len(missing) - MOST_NAMED:,} more" if len(missing) > MOST_NAMED else ""
        raise AnalyzerError(f"captures that were analyzed are not there: {', '.join(missing[:MOST_NAMED])}{more}")
    return [path for name in names if (path := found[name]) is not None]


def _check(marking: Marking, files: list[File], captures: Columns) -> None:
    """Raises AnalyzerError if files do not hold what they did when they were analyzed."""
    for file in files:
        facts = marking.read[file.number]
        place = int(np.flatnonzero(captures["capture_no"] == file.number)[0])
        if facts.packets != int(captures["packets"][place]):
            why = f" ({facts.errors[0]})" if facts.errors else ""
            raise AnalyzerError(
                f"{as_text(file.capture)}: is not what was analyzed: it has {facts.packets:,} packets, and had "
                f"{int(captures['packets'][place]):,}{why}"
            )


# What is written. #


@contextmanager
def _in_place(output: Path) -> Iterator[BinaryIO]:
    """A file that is written beside `output`, and takes its place once it is whole. Raises AnalyzerError if it cannot."""
    try:
        making = Path(tempfile.mkdtemp(prefix=".writing-", dir=output.parent))
        try:
            with (making / "slice").open("wb") as file:
                yield file
            os.replace(making / "slice", output)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    except OSError as problem:
        raise AnalyzerError(f"{as_text(str(output))}: cannot be written: {problem.strerror or problem}") from problem


def comments(rows: list[dict[str, Any]], chosen: Ints, numbers: dict[str, int]) -> dict[Place, list[str]]:
    """What is said on the frames of rows. numbers: of the captures, by their names."""
    found: dict[Place, list[str]] = {}
    for number, row in zip((chosen + 1).tolist(), rows, strict=True):
        said = [f"{end} {_machine(row, end)}" for end in ("client", "server")]
        said += [f"{name} {row[name]}" for name in SAID if row[name] is not None]
        text = f"dependency {number}: {', '.join(said)}: {row['reason']}"
        if row["frame"] is not None and row["capture"] in numbers:
            found.setdefault((numbers[row["capture"]], row["frame"]), []).append(_one_line(text))
    return found


def _machine(row: dict[str, Any], end: str) -> str:
    return f"{row[f'{end}_ip']} ({row[end]})" if row[end] else row[f"{end}_ip"]


def _one_line(text: str) -> str:
    """Names in captures may hold anything, and a comment is shown as it stands."""
    spelt = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
    return spelt if len(spelt) <= MOST_CHARACTERS else spelt[: MOST_CHARACTERS - 4] + " ..."


def _names(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Addresses and names of clients and servers, where an address has one name only."""
    known: dict[str, set[str]] = {}
    for row in rows:
        for end in ("client", "server"):
            if row[end]:
                known.setdefault(row[f"{end}_ip"], set()).add(row[end])
    return [(address, next(iter(names))) for address, names in known.items() if len(names) == 1]


class _Writer:
    """Packets of several files to one, with their interfaces and processes."""

    def __init__(
        self,
        file: BinaryIO,
        about: str,
        names: list[tuple[str, str]],
        comments: dict[Place, list[str]],
        sources: dict[int, str],
    ) -> None:
        self.packets = 0
        self._names = names
        self._comments = comments
        self._sources = sources
        self._writer = PcapngWriter(file, f"nullsession {__version__}", about)
        self._writer.names(names)
        self._interfaces: dict[tuple[int, int, int], int] = {}
        self._processes: dict[tuple[int, int, int], int] = {}

    def write(self, chosen: Chosen) -> None:
        """A packet, with what its own file says of it, and what is said on it."""
        packet = chosen.packet
        key = (chosen.number, chosen.section, packet.interface)
        processes = {self._process_key(chosen, value) for code, value in packet.options if code in OF_PROCESSES}
        new = int(key not in self._interfaces), len(processes - self._processes.keys())
        if not self._writer.has_room(*new):
            self._writer.begin_section()
            self._writer.names(self._names)
            self._interfaces, self._processes = {}, {}
        if key not in self._interfaces:
            comment = _one_line(f"from {self._sources[chosen.number]}")
            self._interfaces[key] = self._writer.interface(chosen.interface(), comment)
        options = [self._here(chosen, option) for option in packet.options]
        said = [
            text_option(pcapng.OPTION_COMMENT, text) for text in self._comments.get((chosen.number, chosen.frame), ())
        ]
        kept = [option for option in options if option is not None]
        self._writer.packet(self._interfaces[key], packet, [*kept, *said])
        self.packets += 1

    def _here(self, chosen: Chosen, option: pcapng.Option) -> pcapng.Option | None:
        """An option of a packet as it must be here: processes have other numbers in this file."""
        code, value = option
        if code not in OF_PROCESSES:
            return option
        key = self._process_key(chosen, value)
        if key not in self._processes:
            process = chosen.process(key[2])
            if process is None:
                return None
            self._processes[key] = self._writer.process(*process)
        return code, self._processes[key].to_bytes(4, "little")

    def _process_key(self, chosen: Chosen, value: bytes) -> tuple[int, int, int]:
        return chosen.number, chosen.section, int.from_bytes(value, "little")
