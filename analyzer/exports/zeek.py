"""Logs as Zeek writes them: ntlm, smb_mapping, smb_files and dce_rpc, each as TSV (`.log`) and as JSON (`.json`).

Columns and types are those of Zeek's records NTLM::Info, SMB::TreeInfo, SMB::FileInfo and DCE_RPC::Info
(scripts/base/protocols/ntlm, smb and dce-rpc, main.zeek), in their order; ours follow. The form is that of Zeek's ASCII
writer (src/logging/writers/ascii, src/threading/formatters): a tab between fields, `-` for what is not set, `(empty)` for an
empty text, `\\xHH` for bytes that could be taken for something else, `\\\\` for a backslash. Unlike Zeek's, `smb_files` has the
opens of pipes (`SMB::PIPE_OPEN`), and `smb_mapping` the connects that failed, with their status in a column of ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analyzer import tables
from analyzer.analysis import Analysis
from analyzer.exports.events import Events, Told, each_text, objects, one, only, seconds, whole
from analyzer.exports.writing import quoted, write_files
from analyzer.groups import Numbers
from analyzer.sessions.joins import NONE
from analyzer.tables import Columns

NTLM = ("spnego.ntlmssp", "ntlmssp")
CONNECTION = (
    ("ts", "time", "ts"),
    ("uid", "string", "uid"),
    ("id.orig_h", "addr", "client_ip"),
    ("id.orig_p", "port", "client_port"),
    ("id.resp_h", "addr", "server_ip"),
    ("id.resp_p", "port", "server_port"),
)
OURS = (
    ("identity", "string", "identity"),
    ("asked", "string", "asked"),
    ("verdict", "string", "verdict"),
    ("confidence", "string", "confidence"),
    ("evidence", "string", "evidence"),
    ("status", "string", "status"),
    ("capture", "string", "capture"),
    ("frame", "count", "frame"),
    ("answer_frame", "count", "answer_frame"),
    ("session_id", "string", "session_id"),
    ("session_key", "count", "session_key"),
)
"""Columns of ours, in all logs: name, type, and column of the events."""
SERVICES = {"pipe": "IPC", "disk": "A:", "print": "LPT1:"}
"""What SMB 1 calls a kind of share. [MS-CIFS 2.2.4.55]"""
SHARE_TYPES = {"pipe": "PIPE", "disk": "DISK", "print": "PRINT"}
UNSET, EMPTY = "-", "(empty)"
ROWS = 65_536
"""Lines that are made at a time."""


@dataclass(frozen=True, slots=True)
class Log:
    """A log: what each of its columns is called, of which type it is, and what it holds."""

    path: str
    fields: tuple[tuple[str, str], ...]
    columns: tuple[pa.Array, ...]


def write_zeek(analysis: Analysis, directory: Path) -> list[str]:
    """Write the logs; returns the names of the files. Raises AnalyzerError if the folder cannot be written to."""
    told = Told(analysis)
    logs = (_ntlm(told), _smb_mapping(told), _smb_files(told), _dce_rpc(told))
    spans = told.analysis.arrow("captures")
    begun, over = (_stamp(whole(spans[name]), last) for name, last in (("first_seen", False), ("last_seen", True)))
    files: dict[str, Iterator[str]] = {}
    for log in logs:
        files[f"{log.path}.log"] = as_tsv(log, begun, over)
        files[f"{log.path}.json"] = as_json(log)
    return write_files(directory, files)


def _stamp(times: pa.Array, last: bool) -> str:
    """When a log was opened or closed: a capture's own time, so that the same capture gives the same log."""
    ns = tables.filled(times.cast(pa.int64()))
    ns = ns[ns > 0]
    at = int(ns.max() if last else ns.min()) if len(ns) else 0
    return f"{datetime.fromtimestamp(at // 10**9, UTC):%Y-%m-%d-%H-%M-%S}"


# Logs. #


def _log(
    path: str, events: Events, own: Sequence[tuple[str, str, pa.Array]], more: Sequence[tuple[str, str, pa.Array]]
) -> Log:
    described = [(name, kind, events[column]) for name, kind, column in CONNECTION]
    described += own
    described += [(name, kind, events[column]) for name, kind, column in OURS]
    described += more
    return Log(
        path,
        tuple((name, kind) for name, kind, _ in described),
        tuple(column for _, _, column in described),
    )


def _nothing(events: Events) -> pa.Array:
    return tables.chosen(np.full(events.length, NONE), [])


def _ntlm(told: Told) -> Log:
    events = told.events("sessions", "started")
    mechanism = tables.filled(events["mechanism"].indices)
    events = only(events, np.isin(mechanism, [tables.MECHANISM.index(name) for name in NTLM]))
    outcome = tables.filled(events["outcome"].indices)
    accepted, refused = (outcome == tables.OUTCOME.index(name) for name in ("accepted", "refused"))
    name = events["server_name"]
    is_dns = [text is not None and "." in text for text in name.dictionary.to_pylist()]
    by_dns = np.array([*is_dns, False], dtype=bool)[tables.filled(name.indices)]
    own = [
        ("username", "string", events["user"]),
        ("hostname", "string", events["workstation"]),
        ("domainname", "string", events["domain"]),
        ("server_nb_computer_name", "string", _where(name, ~by_dns)),
        ("server_dns_computer_name", "string", _where(name, by_dns)),
        ("server_tree_name", "string", _nothing(events)),
        ("success", "bool", tables.bools(accepted, ~(accepted | refused))),
    ]
    more = [("outcome", "string", events["outcome"]), ("mechanism", "string", events["mechanism"])]
    return _log("ntlm", events, own, more)


def _where(array: pa.Array, holds: Numbers) -> pa.Array:
    """What stands in some rows; the others are missing."""
    return tables.coded(np.where(holds, tables.filled(array.indices), NONE), array.dictionary)


def _smb_mapping(told: Told) -> Log:
    def use(of: Columns) -> list[Numbers]:
        return [of["share"]]

    events = told.events("trees", "time")
    by_share = told.events("trees", "time", use)["verdict"]
    kind = events["kind"]
    is_smb1 = _is_smb1(events)
    service = np.where(is_smb1, tables.filled(kind.indices), NONE)
    events.columns["verdict"] = pc.if_else(
        tables.bools(_codes(kind) == tables.TREE_KIND.index("disk")), by_share, events["verdict"]
    )
    own = [
        ("path", "string", events["path"]),
        ("service", "string", tables.chosen(service, [SERVICES.get(name) for name in tables.TREE_KIND])),
        ("native_file_system", "string", _nothing(events)),
        ("share_type", "string", tables.chosen(_codes(kind), [SHARE_TYPES.get(name) for name in tables.TREE_KIND])),
    ]
    more = [("share", "string", events["share"]), ("tree_key", "count", events["tree_key"])]
    return _log("smb_mapping", events, own, more)


def _codes(array: pa.Array) -> Numbers:
    return tables.filled(array.indices).astype(np.int64)


def _is_smb1(events: Events) -> Numbers:
    """True where the session has a UID of SMB 1."""
    ids = events["session_id"]
    short = np.array([*[len(text) == 4 for text in ids.dictionary.to_pylist()], False], dtype=bool)
    return short[_codes(ids)]


def _smb_files(told: Told) -> Log:
    events = told.events("pipe_opens", "opened", lambda of: [of["pipe"]])
    actions = tables.chosen(np.zeros(events.length, dtype=np.int64), ["SMB::PIPE_OPEN"])
    times = [(f"times.{name}", "time", pa.nulls(events.length, pa.timestamp("ns", "UTC"))) for name in
             ("modified", "accessed", "created", "changed")]  # fmt: skip
    own = [
        ("fuid", "string", _nothing(events)),
        ("action", "enum", actions),
        ("path", "string", told.looked_up("trees", "tree_key", events["tree_key"], "path")),
        ("name", "string", events["pipe"]),
        ("size", "count", tables.ints(np.zeros(events.length, dtype=np.int64))),
        ("prev_name", "string", _nothing(events)),
        *times,
    ]
    more = [
        ("access_mask", "count", events["access_mask"]),
        ("bytes_written", "count", events["bytes_written"]),
        ("bytes_read", "count", events["bytes_read"]),
        ("closed", "time", events["closed"]),
        ("open_key", "count", events["open_key"]),
    ]
    return _log("smb_files", events, own, more)


def _dce_rpc(told: Told) -> Log:
    events = told.events("calls", "time", told.use_of_call)
    events = only(events, _codes(events["protocol"]) == tables.CALL_PROTOCOL.index("dcerpc"))
    bound = told.looked_up("pipe_opens", "open_key", events["open_key"], "secondary_address")
    own = [
        ("rtt", "interval", pa.nulls(events.length, pa.timestamp("ns", "UTC"))),
        ("named_pipe", "string", pc.coalesce(bound.dictionary_decode(), events["pipe"].dictionary_decode())),
        ("endpoint", "string", _endpoint(events)),
        ("operation", "string", each_text(events["operation"], _operation)),
    ]
    more = [
        ("interface_uuid", "string", events["interface_uuid"]),
        ("opnum", "count", events["opnum"]),
        ("result", "string", events["result"]),
        ("status_of", "string", events["status_of"]),
        ("call_key", "count", events["call_key"]),
    ]
    return _log("dce_rpc", events, own, more)


def _endpoint(events: Events) -> pa.Array:
    """The interface's name; as Zeek writes those that have none."""
    unnamed = set(events["interface_uuid"].dictionary.to_pylist())
    return each_text(events["interface"], lambda name: f"unknown-{name}" if name in unnamed else name)


def _operation(name: str) -> str:
    return name.replace("opnum ", "unknown-", 1) if name.startswith("opnum ") else name


# Forms. #


def as_tsv(log: Log, begun: str, over: str) -> Iterator[str]:
    """The lines of a log with the header and the last line of Zeek's ASCII writer."""
    yield "#separator \\x09"
    for key, value in (
        ("set_separator", ","),
        ("empty_field", EMPTY),
        ("unset_field", UNSET),
        ("path", log.path),
        ("open", begun),
        ("fields", "\t".join(name for name, _ in log.fields)),
        ("types", "\t".join(kind for _, kind in log.fields)),
    ):
        yield f"#{key}\t{value}"
    for columns in _parts(log):
        cells = [
            pc.fill_null(_tsv_cells(column, kind), one(UNSET))
            for (_, kind), column in zip(log.fields, columns, strict=True)
        ]
        for line in pc.binary_join_element_wise(*cells, one("\t")).to_pylist():
            yield f"\\x23{line[1:]}" if line.startswith("#") else line  # it would be taken for a part of the header
    yield f"#close\t{over}"


def _parts(log: Log) -> Iterator[tuple[pa.Array, ...]]:
    for start in range(0, len(log.columns[0]), ROWS):
        yield tuple(column.slice(start, ROWS) for column in log.columns)


def _tsv_cells(column: pa.Array, kind: str) -> pa.Array:
    if kind in ("time", "interval"):
        return seconds(column)
    if kind == "bool":
        return pc.if_else(column, one("T"), one("F"))
    if kind in ("count", "port"):
        return column.cast(pa.large_string())
    return each_text(column, escaped)


def escaped(text: str) -> str:
    """A text as a field of a log: no byte of it ends the field or the line, steers a terminal, or stands for nothing."""
    if not text:
        return EMPTY
    if text in (UNSET, EMPTY):
        return f"\\x{ord(text[0]):02x}{text[1:]}"
    return "".join(_escaped(char) for char in text)


def _escaped(char: str) -> str:
    if char == "\\":
        return "\\\\"
    if char.isprintable():
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))


def as_json(log: Log) -> Iterator[str]:
    """An object a line, as Zeek's JSON formatter has it: what is not set is left out, times are seconds since 1970."""
    for columns in _parts(log):
        described = zip(log.fields, columns, strict=True)
        yield from objects({name: _json_cells(column, kind) for (name, kind), column in described}).to_pylist()


def _json_cells(column: pa.Array, kind: str) -> pa.Array:
    if kind in ("time", "interval"):
        return seconds(column)
    if kind == "bool":
        return pc.if_else(column, one("true"), one("false"))
    if kind in ("count", "port"):
        return column.cast(pa.large_string())
    return each_text(column, quoted)
