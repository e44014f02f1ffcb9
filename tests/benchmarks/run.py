#!/usr/bin/env python3
"""Measure the native engine against other programs on generated captures, whole processes in alternation.

    python tests/benchmarks/run.py                      everything, about 18 GB of captures in a temporary folder
    python tests/benchmarks/run.py --work DIR           keep captures and results there; captures found are used again
    python tests/benchmarks/run.py --quick              a tenth of the sizes, two pairs: does everything still run
    python tests/benchmarks/run.py --only chatter start these measurements only

Prints one table and writes DIR/results.json. README.md in this folder says how to read it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
CAPTURES = PROJECT / "captures"
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
SOME_UNREADABLE = 3  # exit status: the rest was reported

TSHARK_FILTER = "smb2.cmd==1 || smb2.cmd==3 || smb2.cmd==5 || smb.cmd==0x73 || smb.cmd==0x75 || smb.cmd==0xa2"
TSHARK_FIELDS = (
    "frame.number", "frame.time_epoch", "ip.src", "tcp.srcport", "ip.dst", "tcp.dstport",
    "smb2.cmd", "smb2.sesid", "smb2.tid", "smb2.msg_id", "smb2.nt_status", "smb2.session_flags", "smb2.tree",
    "smb2.filename", "smb.cmd", "smb.uid", "smb.tid", "smb.nt_status", "smb.path", "smb.file", "smb.account",
    "ntlmssp.auth.username", "ntlmssp.auth.domain", "ntlmssp.auth.hostname", "ntlmssp.negotiateflags",
)  # fmt: skip
MANY, MANY_MEGABYTES, MANY_MOST_MB = 500_000, 2_880, 1_000
MANY_PORTS = ("--port", "445", "--port", "139", "--port", "4455")
"""On a port that is not named, a connection whose very first segment is late does not begin like SMB."""
GIVEN_UP = (
    "connections_let_go", "messages_let_go", "bytes_given_up", "rows_given_up", "trees_forgotten", "missing_bytes",
    "unparsed_bytes", "connections_midstream", "problems",
)  # fmt: skip
"""Measures of `coverage` that are 0 where a capture lacks nothing and no bound was reached."""
SURICATA_SETTINGS = """%YAML 1.1
---
outputs:
  - eve-log: {enabled: yes, filetype: regular, filename: eve.json, types: [smb]}
app-layer:
  protocols:
    smb: {enabled: yes, detection-ports: {dp: 139, 445}}
"""


class BenchmarkError(Exception):
    """A program that is measured failed, or could not be started."""


# --- one process, and many in alternation --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command:
    arguments: list[str]
    output: Path | None = None
    """A folder that the program fills; emptied before each run."""
    accepted: tuple[int, ...] = (0,)
    """Exit statuses that count as success."""


@dataclass(frozen=True, slots=True)
class Run:
    seconds: float
    cpu_seconds: float
    peak_mb: float
    """Largest resident set of the process or of a child that it waited for, in 1,000,000 bytes. It is never below that
    of this process, which Linux counts until the program begins."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Of the counted runs, or of the pairs."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, numbers: list[float]) -> Spread:
        return cls(statistics.median(numbers), min(numbers), max(numbers))


def run_once(command: Command) -> Run:
    """Run a program to its end. Raises BenchmarkError if it fails."""
    if command.output:
        shutil.rmtree(command.output, ignore_errors=True)
        command.output.mkdir(parents=True)
    with tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command.arguments, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in command.accepted:
            errors.seek(0)
            said = errors.read()[-2_000:].decode(errors="replace")
            raise BenchmarkError(f"{shlex.join(command.arguments)}: exit status {process.returncode}\n{said}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * RSS_UNIT / 1e6)


def alternate(commands: dict[str, Command], pairs: int) -> dict[str, list[Run]]:
    """Run all commands one after the other, `pairs` times after a warm-up that does not count."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(pairs + 1):
        for name, command in commands.items():
            run = run_once(command)
            say(f"  {name:28} {run.seconds:9.3f} s {run.peak_mb:8.0f} MB{'' if number else '  (warm-up)'}")
            if number:
                runs[name].append(run)
    return runs


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- what is measured ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    text: str
    limit: float
    at_least: bool = False

    def is_met(self, number: float) -> bool:
        return number >= self.limit if self.at_least else number <= self.limit


@dataclass
class Row:
    """A line of the table. Times are in seconds, sizes in 1,000,000 bytes."""

    what: str
    native: Spread | None = None
    peer_name: str = ""
    peer: Spread | None = None
    ratio: Spread | None = None
    """Pair by pair: native by peer, or peer by native where the name of the row says `times faster`."""
    peak_mb: float | None = None
    peer_peak_mb: float | None = None
    unit: str = "s"
    target: Target | None = None
    judged: float | None = None
    """The number that the target is about."""
    note: str = ""


@dataclass
class Bench:
    """Where files are, how often to run, and what came out."""

    work: Path
    pairs: int
    analyzer: list[str]
    scale: float = 1.0
    """Of the sizes: 0.1 for a quick run."""
    tshark_whole: bool = False
    """Let tshark read the whole file too, not a tenth of it."""
    rows: list[Row] = field(default_factory=list)
    runs: dict[str, dict[str, list[Run]]] = field(default_factory=dict)

    def capture(self, kind: str, megabytes: int) -> Path:
        """A capture in the page cache; made if it is missing."""
        size = f"{round(megabytes * self.scale)}M"
        path = self.work / f"{kind}-{size.replace('000M', 'G')}.pcap"
        if not path.exists():
            say(f"making {path.name}")
            unfinished = path.with_suffix(".part")
            arguments = [sys.executable, HERE / "generate.py", kind, size, unfinished]
            subprocess.run(arguments, check=True, stdout=sys.stderr)
            unfinished.rename(path)
        read_through(path)
        return path

    def measure(self, name: str, commands: dict[str, Command]) -> dict[str, list[Run]]:
        say(f"{name}:")
        self.runs[name] = alternate(commands, self.pairs)
        return self.runs[name]

    def native(self, *paths: Path, options: tuple[str, ...] = ()) -> Command:
        output = self.work / "out" / paths[0].stem
        arguments = [*self.analyzer, "analyze", *map(str, paths), "-o", str(output), "--quiet", *options]
        return Command(arguments, output, (0, SOME_UNREADABLE))

    def rows_kept(self, path: Path) -> dict[str, int]:
        """Rows of each table in the last run's `summary.json`; `all` is their sum. Empty if it does not say."""
        summary = self.work / "out" / path.stem / "summary.json"
        rows = json.loads(summary.read_text()).get("rows", {}) if summary.exists() else {}
        return {**rows, "all": sum(rows.values())} if rows else {}

    def compare(self, what: str, native: list[Run], peer_name: str, peer: list[Run], *, faster_by: float = 0.0) -> Row:
        """A row for two programs, also added to the table.

        faster_by: how much more the native engine read; the ratio says then how many times faster it is, with the
        peer's times taken that many times longer.
        """
        scaled = [run.seconds * (faster_by or 1.0) for run in peer]
        pairs = list(zip([run.seconds for run in native], scaled, strict=True))
        ratio = Spread.of([theirs / ours if faster_by else ours / theirs for ours, theirs in pairs])
        row = Row(what, seconds_of(native), peer_name, Spread.of(scaled), ratio, peak_of(native), peak_of(peer))
        self.rows.append(row)
        return row


def own_peak_mb(command: Command) -> float:
    """The largest resident set of a process itself, without those of programs that it starts. Linux only."""
    if command.output:
        shutil.rmtree(command.output, ignore_errors=True)
        command.output.mkdir(parents=True)
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command.arguments, cwd=PROJECT, stdin=quiet, stdout=quiet, stderr=quiet)
    peak = 0
    while process.poll() is None:
        said = Path(f"/proc/{process.pid}/status").read_text()
        peak = max([peak, *(int(line.split()[1]) for line in said.splitlines() if line.startswith("VmHWM:"))])
        time.sleep(0.1)
    if process.returncode not in command.accepted:
        raise BenchmarkError(f"{shlex.join(command.arguments)}: exit status {process.returncode}")
    return peak * 1024 / 1e6


def seconds_of(runs: list[Run]) -> Spread:
    return Spread.of([run.seconds for run in runs])


def peak_of(runs: list[Run]) -> float:
    return max(run.peak_mb for run in runs)


def read_through(path: Path) -> None:
    """Put a file into the page cache. In small pieces: a child's peak memory begins with that of this process."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 18):
            pass


def tcpdump(path: Path) -> Command:
    return Command(["tcpdump", "-r", str(path), "-w", os.devnull, "tcp port 445"])


def tshark(path: Path) -> Command:
    wanted = [word for name in TSHARK_FIELDS for word in ("-e", name)]
    return Command(["tshark", "-r", str(path), "-Y", TSHARK_FILTER, "-T", "fields", *wanted])


def suricata(bench: Bench, path: Path) -> Command:
    """SMB events and no rules. Checksums are right in generated captures, but need not be looked at."""
    settings = bench.work / "suricata.yaml"
    settings.write_text(SURICATA_SETTINGS)
    output = bench.work / "out" / "suricata"
    words = ["suricata", "-c", settings, "-S", os.devnull, "-k", "none", "-r", path, "-l", output]
    return Command([str(word) for word in words], output)


def add_suricata(bench: Bench, what: str, path: Path) -> None:
    """One more row if Suricata is there, else a row that says it is not."""
    if not shutil.which("suricata"):
        bench.rows.append(Row(what, peer_name="suricata", note="suricata is not installed"))
        return
    runs = bench.measure(what, {"native": bench.native(path), "suricata": suricata(bench, path)})
    bench.compare(what, runs["native"], "suricata", runs["suricata"])


# --- the measurements ----------------------------------------------------------------------------------------------


def transfer(bench: Bench) -> None:
    """File data: the whole pass, and what each further gigabyte costs."""
    small, large = bench.capture("transfer", 4_000), bench.capture("transfer", 8_000)
    runs = bench.measure("transfer", {
        "native small": bench.native(small), "tcpdump small": tcpdump(small),
        "native large": bench.native(large), "tcpdump large": tcpdump(large),
    })  # fmt: skip
    row = bench.compare(f"{name_of(small)}, whole", runs["native small"], "tcpdump", runs["tcpdump small"])
    row.target, row.judged = Target("<= 1.25 x tcpdump (goal)", 1.25), row.ratio.median
    more = (large.stat().st_size - small.stat().st_size) / 1e9
    ours, theirs = (per_gigabyte(runs[f"{who} small"], runs[f"{who} large"], more) for who in ("native", "tcpdump"))
    ratio = Spread.of([our / their for our, their in zip(ours, theirs, strict=True)])
    row = Row("transfer, each further GB", Spread.of(ours), "tcpdump", Spread.of(theirs), ratio)
    row.target, row.judged = Target("<= tcpdump", 1.0), ratio.median
    row.note = f"{name_of(large)} less {name_of(small)}"
    bench.rows.append(row)
    add_suricata(bench, f"{name_of(small)}, Suricata", small)


def per_gigabyte(small: list[Run], large: list[Run], more: float) -> list[float]:
    return [(after.seconds - before.seconds) / more for before, after in zip(small, large, strict=True)]


def fixed(bench: Bench) -> None:
    """What a run costs before it reads anything: a capture with one packet that is not IP."""
    path = bench.work / "empty.pcap"
    arp = b"\xff" * 6 + b"\x02" + bytes(5) + b"\x08\x06" + bytes(46)
    record = struct.pack("<IIII", 1_741_000_000, 0, len(arp), len(arp)) + arp
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1) + record)
    runs = bench.measure("fixed", {"native": bench.native(path), "tcpdump": tcpdump(path)})
    row = bench.compare("one packet: fixed cost", runs["native"], "tcpdump", runs["tcpdump"])
    row.target, row.judged = Target("<= 1.8 s", 1.8), row.native.median


def chatter(bench: Bench) -> None:
    """Control traffic, against all peers; tshark reads a tenth, unless told otherwise."""
    whole = bench.capture("chatter", 1_000)
    runs = bench.measure("chatter", {"native": bench.native(whole), "tcpdump": tcpdump(whole)})
    row = bench.compare(f"{name_of(whole)}, whole", runs["native"], "tcpdump", runs["tcpdump"])
    row.target, row.judged = Target("<= 10.5 s, aim 6 s", 10.5), row.native.median
    part = whole if bench.tshark_whole else bench.capture("chatter", 100)
    runs = bench.measure("chatter, tshark", {"native": bench.native(whole), "tshark": tshark(part)})
    times = whole.stat().st_size / part.stat().st_size
    what = f"{name_of(whole)}: times faster than tshark"
    row = bench.compare(what, runs["native"], "tshark", runs["tshark"], faster_by=times)
    row.target, row.judged = Target(">= 50", 50, at_least=True), row.ratio.median
    scaled = f"tshark read {name_of(part)}; its time is multiplied by {times:.2f}, its memory is not"
    row.note = "" if bench.tshark_whole else scaled
    add_suricata(bench, f"{name_of(whole)}, Suricata", whole)


def mixed(bench: Bench) -> None:
    """A few per cent of SMB among other traffic."""
    path = bench.capture("mixed", 1_000)
    runs = bench.measure("mixed", {"native": bench.native(path), "tcpdump": tcpdump(path)})
    bench.compare(f"{name_of(path)}, whole", runs["native"], "tcpdump", runs["tcpdump"])


def shapes(bench: Bench) -> None:
    """The same file data out of order, in a VLAN and in tunnels, against the plain capture."""
    plain = bench.capture("transfer", 2_000)
    late = bench.work / "late" / plain.name
    if not late.exists():
        late.parent.mkdir(exist_ok=True)
        size = f"{round(2_000 * bench.scale)}M"
        arguments = [sys.executable, HERE / "generate.py", "transfer", size, late, "--late", "0.25"]
        subprocess.run(arguments, check=True, stdout=sys.stderr)
    files = {"a quarter out of order": late}
    for how in ("vlan", "gre", "vxlan"):
        files[how] = bench.work / how / plain.name
        if not files[how].exists():
            files[how].parent.mkdir(exist_ok=True)
            subprocess.run([sys.executable, HERE / "dress.py", how, plain, files[how]], check=True)
    for what, path in files.items():
        read_through(path)
        runs = bench.measure(what, {what: bench.native(path), "plain": bench.native(plain)})
        row = bench.compare(f"{name_of(plain)}, {what}", runs[what], "plain", runs["plain"])
        limit = 2.0 if path is late else 1.3
        row.target, row.judged = Target(f"<= {limit} x plain", limit), row.ratio.median


def memory(bench: Bench) -> None:
    """Peak memory, which may grow with the rows kept and with nothing else."""
    tenth, whole = bench.capture("transfer", 400), bench.capture("transfer", 4_000)
    half, full = bench.capture("chatter", 500), bench.capture("chatter", 1_000)
    files = {"transfer tenth": tenth, "transfer whole": whole, "chatter half": half, "chatter whole": full}
    runs = bench.measure("memory", {name: bench.native(path) for name, path in files.items()})
    peaks = {name: Spread.of([run.peak_mb for run in runs[name]]) for name in files}
    for name, path in files.items():
        row = Row(f"{name_of(path)}: peak memory", peaks[name], unit="MB", peak_mb=peaks[name].most)
        row.target, row.judged = Target("< 500 MB", 500), peaks[name].most
        row.note = f"{bench.rows_kept(path).get('all', 0):,} rows kept"
        bench.rows.append(row)
    growth = peaks["transfer whole"].median / peaks["transfer tenth"].median
    change = Row("transfer: memory, whole by tenth", Spread(growth, growth, growth), unit="", judged=abs(growth - 1))
    change.target = Target("within 10 %", 0.10)
    bench.rows.append(change)
    bench.rows.append(per_session(bench, (half, peaks["chatter half"]), (full, peaks["chatter whole"])))


def per_session(bench: Bench, half: tuple[Path, Spread], full: tuple[Path, Spread]) -> Row:
    """How many bytes of memory each further session costs, with all rows that hang on it."""
    row = Row("chatter: memory of each further session", unit="bytes")
    before, after = (bench.rows_kept(path) for path, _ in (half, full))
    sessions = after.get("sessions", 0) - before.get("sessions", 0)
    if sessions <= 0:
        row.note = "summary.json does not say how many rows were kept"
        return row
    cost = (full[1].median - half[1].median) * 1e6 / sessions
    row.native = Spread(cost, cost, cost)
    row.note = f"{sessions:,} more sessions, {after['all'] - before['all']:,} more rows of all tables"
    return row


def many(bench: Bench) -> None:
    """Half a million connections: each is found, with the sessions that the generator says are on it.

    Nothing of this capture is lost, though one segment in a hundred is late, so that the numbers must be the same. Raises
    BenchmarkError if they are not.
    """
    count = round(MANY * bench.scale)
    path = bench.work / f"many-{count}.pcap"
    told = path.with_suffix(".json")
    if not path.exists() or not told.exists():
        say(f"making {path.name}")
        size = f"{round(MANY_MEGABYTES * bench.scale)}M"
        words = ["chatter", size, path, "--connections", str(count), "--lost", "0", "--told", told]
        subprocess.run([sys.executable, HERE / "generate.py", *words], check=True, stdout=sys.stderr)
    read_through(path)
    run = run_once(bench.native(path, options=MANY_PORTS))
    bench.runs["many"] = {"native": [run]}
    summary = json.loads((bench.work / "out" / path.stem / "summary.json").read_text())
    made, found = json.loads(told.read_text()), summary["rows"]
    differ = [
        f"{found[name]:,} {name}, not {made[name]:,}"
        for name in ("connections", "sessions")
        if found[name] != made[name]
    ]
    dropped = {name: summary["coverage"][name] for name in GIVEN_UP if summary["coverage"][name]}
    differ += [f"{name}: {value:,}" for name, value in dropped.items()]
    row = Row(f"{made['connections']:,} connections", Spread.of([run.seconds]), peak_mb=run.peak_mb)
    row.target, row.judged = Target(f"< {MANY_MOST_MB} MB", MANY_MOST_MB), run.peak_mb
    row.note = "; ".join(differ) or f"all found, with {made['sessions']:,} sessions; nothing was dropped"
    bench.rows.append(row)
    if differ:
        raise BenchmarkError(f"{path.name}: {row.note}")


def start(bench: Bench) -> None:
    """How long small things take."""
    tiny = min(CAPTURES.glob("*.pcap"), key=lambda path: (path.stat().st_size, path.name))
    runs = bench.measure("start", {
        "--version": Command([*bench.analyzer, "--version"]),
        "one tiny capture": bench.native(tiny),
        "all recorded captures": bench.native(CAPTURES),
    })  # fmt: skip
    limits = {"--version": 0.5, "one tiny capture": 1.5, "all recorded captures": 5.0}
    for name, limit in limits.items():
        took = seconds_of(runs[name])
        row = Row(name, took, peak_mb=peak_of(runs[name]), target=Target(f"< {limit} s", limit), judged=took.median)
        bench.rows.append(row)


def engines(bench: Bench) -> None:
    """The other engines: tshark against a plain pass of tshark, messages of a second for scapy, memory of both."""
    small, large, mixed_traffic = (
        bench.capture("chatter", 30),
        bench.capture("chatter", 150),
        bench.capture("mixed", 100),
    )
    for path in (small, mixed_traffic):
        ours = bench.native(path, options=("--engine", "tshark"))
        runs = bench.measure(f"engines, {path.stem}", {"tshark engine": ours, "plain tshark": tshark(path)})
        row = bench.compare(
            f"{name_of(path)}, tshark engine", runs["tshark engine"], "plain tshark", runs["plain tshark"]
        )
        row.target, row.judged = Target("<= 2.5 x a plain pass", 2.5), row.ratio.median
        cpu = Spread.of([one.cpu_seconds / two.cpu_seconds for one, two in zip(*runs.values(), strict=True)])
        row.note = f"CPU, pair by pair: {shown(cpu)}"
    part = bench.capture("chatter", 6)
    count = messages_in(part)
    runs = bench.measure("engines, scapy", {"scapy engine": bench.native(part, options=("--engine", "scapy"))})
    rate = Spread.of([count / run.seconds for run in runs["scapy engine"]])
    row = Row(f"{name_of(part)}, scapy engine", rate, unit="messages/s", peak_mb=peak_of(runs["scapy engine"]))
    row.target, row.judged = Target(">= 1,000 messages/s", 1_000, at_least=True), rate.median
    by_cpu = Spread.of([count / run.cpu_seconds for run in runs["scapy engine"]])
    row.note = f"{count:,} messages; of each CPU second: {shown(by_cpu)}"
    bench.rows.append(row)
    for engine, files in {"tshark": (small, large), "scapy": (part, small)}.items():
        peaks = [own_peak_mb(bench.native(path, options=("--engine", engine))) for path in files]
        what = f"{engine} engine: our memory, {' and '.join(map(name_of, files))}"
        bench.rows.append(Row(what, Spread(peaks[1], *sorted(peaks)), unit="MB", note="without tshark's own"))


def messages_in(path: Path) -> int:
    """SMB messages on ports 445 and 139, by tshark's count."""
    words = [
        *tshark(path).arguments[:3],
        "-Y",
        "smb or smb2",
        "-T",
        "fields",
        "-e",
        "smb2.protocol_id",
        "-e",
        "smb.server_component",
    ]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return sum(len(column.split(",")) for line in said.splitlines() for column in line.split("\t") if column)


MEASUREMENTS: dict[str, Callable[[Bench], None]] = {
    "start": start, "fixed": fixed, "transfer": transfer, "chatter": chatter, "mixed": mixed, "shapes": shapes,
    "memory": memory, "many": many, "engines": engines,
}  # fmt: skip


def name_of(path: Path) -> str:
    """`transfer 4G` of transfer-4G.pcap."""
    return path.stem.replace("-", " ")


# --- the results ---------------------------------------------------------------------------------------------------


def shown(spread: Spread | None, unit: str = "") -> str:
    """Median with its range; one number if there is no range."""
    if spread is None:
        return ""
    digits = 0 if spread.median >= 100 else 1 if unit == "MB" else 2 if spread.median >= 1 else 3
    parts = [f"{number:,.{digits}f}" for number in (spread.median, spread.least, spread.most)]
    inside = f" ({parts[1]}-{parts[2]})" if spread.least != spread.most else ""
    return f"{parts[0]}{inside} {unit}".rstrip()


def verdict(row: Row, quick: bool) -> str:
    if row.target is None:
        return ""
    if quick or row.judged is None:
        return f"{row.target.text}: not judged"
    return f"{row.target.text}: {'met' if row.target.is_met(row.judged) else 'MISSED'}"


def table(rows: list[Row], quick: bool) -> str:
    """All rows as a Markdown table."""
    head = ("what", "native", "peer", "ratio, pair by pair", "peak MB, native / peer", "target", "note")
    lines = [head, tuple("---" for _ in head)]
    for row in rows:
        peer = f"{row.peer_name} {shown(row.peer, row.unit)}".strip()
        peaks = " / ".join(f"{peak:.0f}" for peak in (row.peak_mb, row.peer_peak_mb) if peak is not None)
        native, ratio = shown(row.native, row.unit), shown(row.ratio)
        lines.append((row.what, native, peer, ratio, peaks, verdict(row, quick), row.note))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    filled = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in filled)


def machine() -> dict[str, str]:
    """What the numbers depend on."""
    processor = platform.processor() or platform.machine()
    if (listing := Path("/proc/cpuinfo")).exists():
        names = [line.split(":", 1)[1].strip() for line in listing.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "processor": processor,
        "cores": str(os.cpu_count()),
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "python": platform.python_version(),
        **{name: first_line(name) for name in ("tcpdump", "tshark", "suricata")},
    }


def first_line(program: str) -> str:
    """How a program names its own version."""
    if not shutil.which(program):
        return "not installed"
    flag = "-V" if program == "suricata" else "--version"
    done = subprocess.run([program, flag], capture_output=True, text=True, check=False)
    return next((line for line in done.stdout.splitlines() if line), "unknown")


def write_results(bench: Bench, before: dict[str, str], quick: bool) -> Path:
    """Everything that was measured, for later comparison."""
    path = bench.work / "results.json"
    judged = [asdict(row) | {"verdict": verdict(row, quick)} for row in bench.rows]
    every = {name: {who: [asdict(run) for run in runs] for who, runs in of.items()} for name, of in bench.runs.items()}
    content = {"machine": before, "quick": quick, "pairs": bench.pairs, "rows": judged, "runs": every}
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, metavar="DIR", help="folder of captures, outputs and results")
    parser.add_argument("--quick", action="store_true", help="small files and few pairs; nothing is judged")
    parser.add_argument("--pairs", type=int, metavar="N", help="counted rounds after the warm-up (5; quick: 2)")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS), metavar="NAME",
                        help=f"some of: {', '.join(MEASUREMENTS)}")  # fmt: skip
    parser.add_argument("--tshark-whole", action="store_true", help="tshark reads all of the chatter (hours)")
    parser.add_argument("--analyzer", type=shlex.split, metavar="COMMAND", help="instead of `python -m analyzer`")
    asked = parser.parse_args()
    work = (asked.work or Path(tempfile.gettempdir()) / "nullsession-benchmarks").resolve()
    work.mkdir(parents=True, exist_ok=True)
    bench = Bench(
        work, asked.pairs or (2 if asked.quick else 5), asked.analyzer or [sys.executable, "-m", "analyzer"],
        0.1 if asked.quick else 1.0, asked.tshark_whole,
    )  # fmt: skip
    before = machine()
    status = 0
    try:
        for name in asked.only:
            MEASUREMENTS[name](bench)
    except (BenchmarkError, OSError, subprocess.CalledProcessError) as error:
        print(f"stopped: {error}", file=sys.stderr)
        status = 1
    print("\n".join(f"{key}: {value}" for key, value in before.items()))
    print(f"\n{table(bench.rows, asked.quick)}\n")
    print(f"written to {write_results(bench, before, asked.quick)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
