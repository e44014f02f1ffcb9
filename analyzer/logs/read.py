"""Files of logs to events: what each file is, found by how it begins; and all its records, or why not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analyzer.capture.inputs import as_text
from analyzer.errors import LogError, UsageError
from analyzer.logs import samba, windows
from analyzer.logs.events import AT_HOME, BAD_TIME, NO_EVENT, OTHER_PORTS, Events, event_ids, event_of
from analyzer.logs.records import Damage, Record, Records, key
from analyzer.logs.streams import Unreadable, encoding_of, first_bytes

SNIFF = 1 << 16
MAX_PROBLEMS = 20
"""Problems of a file that are told; all are counted."""
PORTS = (445, 139)
NO_LOG = (
    "is no log that is understood: neither .evtx nor events as XML, JSON or CSV with their fields as columns, nor Samba's "
    "audit of logins, nor a list of connections (CSV: time, source_ip, source_port, destination_ip, destination_port, process)"
)
NO_AUDIT = "is a log of Samba's without its audit of logins; smb.conf: log level = 1 auth_json_audit:5"


@dataclass(slots=True)
class LogFile:
    """What became of a file."""

    log: str
    format: str = ""
    """evtx, xml, json, csv, samba or list; empty: none of these."""
    records: int = 0
    kept: int = 0
    """Records that became events."""
    no_event: int = 0
    """Records of kinds that say nothing here."""
    other_ports: int = 0
    """Connections that are not SMB's."""
    local: int = 0
    """Events of the machine with itself."""
    damaged: int = 0
    """Records that could not be understood."""
    problems: list[LogError] = field(default_factory=list)
    """The first of these, and what ended the reading."""

    def complain(self, reason: str, place: str = "", *, last: bool = False) -> None:
        """Note a problem with its place."""
        self.damaged += not last
        if last or len(self.problems) < MAX_PROBLEMS:
            self.problems.append(LogError(self.log, reason, place))


@dataclass(slots=True)
class Logs:
    """All logs, read."""

    files: list[LogFile]
    events: Events


def read_logs(paths: str | Path | Sequence[str | Path], *, ports: Collection[int] = PORTS) -> Logs:
    """Read logs of servers and endpoints. ports: those that carry SMB (see `events.event_of`).

    What cannot be read is told in `files`: a file of no known format, damaged records, a file that ends too early. Raises
    UsageError if there is no such file.
    """
    chosen = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    for path in chosen:
        if not path.is_file():
            raise UsageError(f"{as_text(str(path))}: no such file")
    events = Events()
    return Logs([_read(path, number, events, frozenset(ports)) for number, path in enumerate(chosen)], events)


def _read(path: Path, number: int, events: Events, ports: Collection[int]) -> LogFile:
    file = LogFile(as_text(str(path)))
    try:
        file.format = format_of(path)
        if not file.format:
            file.complain(NO_LOG, last=True)
            return file
        nameless = 0
        for record in _records(path, file.format):
            nameless += isinstance(record, Record) and not record.event_id
            _take(record, file, number, events, ports)
        if file.format == "samba" and not file.records:
            file.complain(NO_AUDIT, last=True)
        elif file.format in ("json", "csv") and nameless == file.records:
            file.complain(NO_LOG, last=True)  # whatever it is, there is no event in it
    except Unreadable as problem:
        file.complain(f"cannot be read {'further' if file.records else 'at all'}: {problem}", last=True)
    return file


def _take(record: Record | Damage, file: LogFile, number: int, events: Events, ports: Collection[int]) -> None:
    file.records += 1
    if isinstance(record, Damage):
        file.complain(record.reason, record.where)
        return
    event = event_of(record, ports)
    if event == NO_EVENT:
        file.no_event += 1
    elif event == OTHER_PORTS:
        file.other_ports += 1
    elif event == AT_HOME:
        file.local += 1
    elif event == BAD_TIME:
        file.complain(f"no time that can be true: {str(record.time)[:60]!r}", f"record {record.number}")
    elif not isinstance(event, str):
        file.kept += events.add(event.numbers | {"log": number}, event.texts)


def format_of(path: Path) -> str:
    """What a file is, by how it begins; empty if it is nothing that is understood. Raises Unreadable."""
    start = first_bytes(path, SNIFF)
    if start.startswith(windows.EVTX):
        return "evtx"
    text = start.decode(encoding_of(start), "replace").removeprefix("\ufeff").lstrip()
    if text.startswith("<"):
        return "xml" if "<Event" in text else ""
    if samba.HEADER.match(text):
        return "samba"
    if text.startswith(("{", "[")):
        return "json"
    lines = text.splitlines()
    if any('"type": "Auth' in line or '"type":"Auth' in line for line in lines):
        return "samba"
    if any(line.startswith("{") for line in lines[1:8]):
        return "json"  # evtx_dump's, with a heading above each object
    return _format_of_table([line for line in lines[:8] if line.strip() and not line.startswith(("#TYPE", "sep="))])


def _format_of_table(lines: list[str]) -> str:
    if not lines:
        return ""
    mark = windows.dialect_of(lines[0])
    titles = {key(title.strip().strip('"')) for title in lines[0].split(mark)}
    if not titles & {key(name) for name in windows.TIME}:
        return ""
    if titles & set(windows.EVENT_ID):
        return "csv"
    return "list" if titles & {"sourceip", "srcip", "sourceaddress"} else ""


def _records(path: Path, kind: str) -> Records:
    if kind == "evtx":
        return windows.read_evtx(path, event_ids())
    if kind == "xml":
        return windows.read_xml(path, event_ids())
    if kind == "samba":
        return samba.read_text(path)
    if kind == "json":
        return _json(path)
    return windows.read_csv(path) if kind == "csv" else _listed(path)


def _json(path: Path) -> Records:
    for count, found in enumerate(windows.read_json(path), 1):
        if isinstance(found, Damage):
            yield found
            continue
        record = samba.of_object(found, count) if "type" in found else None
        yield record or windows.of_object(found, count) or Record()


def _listed(path: Path) -> Iterator[Record | Damage]:
    """A list of connections: a line each."""
    for record in windows.read_csv(path):
        if isinstance(record, Record):
            record.provider, record.event_id = "list", "connection"
        yield record
