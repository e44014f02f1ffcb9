"""Events as Suricata writes them: one JSON object a line in `eve.json`, in the order of time.

The names are those of Suricata 7 (doc/userguide/output/eve/eve-json-format.rst; rust/src/smb/log.rs): `event_type` is `smb`,
what SMB says stands in `smb`, and DCE/RPC on a pipe in `smb.dcerpc`. Ours stand in `null_session`. What an analysis does not
keep is left out: sizes and times of files, `call_id`, and the command by which DCE/RPC was carried. `smb.id` counts the events
of a kind on a connection, and `pcap_cnt` is the frame. All of it is put together a column at a time.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analyzer import knowledge, tables
from analyzer.analysis import Analysis
from analyzer.exports.events import Events, Told, each_text, iso, objects, one, only
from analyzer.exports.writing import quoted, write_files
from analyzer.groups import Mask

ROWS = 65_536
"""Lines that are made at a time."""
DIALECTS = {"2.0.2": "2.02", "2.1": "2.10", "3.0": "3.00", "3.0.2": "3.02", "3.1.1": "3.11"}
"""As Suricata calls them; dialects of SMB 1 have the names of the wire."""
COMMANDS = {
    "sessions": ("SMB2_COMMAND_SESSION_SETUP", "SMB1_COMMAND_SESSION_SETUP_ANDX"),
    "trees": ("SMB2_COMMAND_TREE_CONNECT", "SMB1_COMMAND_TREE_CONNECT_ANDX"),
    "pipe_opens": ("SMB2_COMMAND_CREATE", "SMB1_COMMAND_NT_CREATE_ANDX"),
}
SHARE_TYPES = {"disk": "FILE", "pipe": "PIPE", "print": "PRINT", "unknown": "UNKNOWN"}
SERVICES = {"disk": "A:", "pipe": "IPC", "print": "LPT1:"}
BIND_ANSWERS = {
    "unanswered": "UNREPLIED", "accepted": "BINDACK", "refused": "BINDACK", "rejected": "BINDNAK", "fault": "FAULT",
    "smb": "UNREPLIED", "not_told": "BINDACK",
}  # fmt: skip
ACK_RESULTS = {"accepted": "0", "refused": "2"}
"""acceptance, provider_rejection. [C706 12.6.3.1]"""
OURS = ("asked", "identity", "confidence", "evidence", "verdict", "capture", "session_key", "frame", "answer_frame")


def write_eve(analysis: Analysis, directory: Path) -> list[str]:
    """Write `eve.json`; returns its name. Raises AnalyzerError if the folder cannot be written to."""
    told = Told(analysis)
    parts = [_sessions(told), _trees(told), _opens(told), _binds(told), _calls(told)]
    return write_files(directory, {"eve.json": (line for _, line in heapq.merge(*parts, key=lambda pair: pair[0]))})


# Events. #


def _sessions(told: Told) -> Iterator[tuple[int, str]]:
    events = told.events("sessions", "started")
    outcome = tables.filled(events["outcome"].indices)
    events = only(events, outcome != tables.OUTCOME.index("not_captured"))
    by_ntlm = _is(events, "mechanism", "ntlmssp", "spnego.ntlmssp")
    ntlm = _members(domain=_text(events["domain"]), user=_text(events["user"]), host=_text(events["workstation"]),
                   version=_text(events["client_build"]))  # fmt: skip
    kerberos = _members(realm=_text(events["realm"]), snames=each_text(events["service"], _service_names))
    request = _members(native_os=_text(events["native_os"]), native_lm=_text(events["native_lanman"]))
    return _lines(
        events,
        "sessions",
        ntlmssp=_if(by_ntlm, ntlm),
        kerberos=_if(pc.is_valid(events["realm"]), kerberos),
        request=_if(pc.is_valid(events["native_os"]), request),
        ours={"outcome": _text(events["outcome"])},
    )


def _service_names(name: str) -> str:
    return "[" + ",".join(quoted(part) for part in name.split("/")) + "]"


def _trees(told: Told) -> Iterator[tuple[int, str]]:
    events = told.events("trees", "time")
    is_pipe = _is(events, "kind", "pipe")
    path = _text(events["path"])
    kind = events["kind"]
    share_type = each_text(kind, lambda name: quoted(SHARE_TYPES[name]))
    service = each_text(kind, lambda name: f'{{"response":{quoted(SERVICES[name])}}}' if name in SERVICES else "{}")
    return _lines(
        events,
        "trees",
        named_pipe=_if(is_pipe, path),
        share=_if(pc.invert(is_pipe), path),
        share_type=_if(pc.invert(_is_smb1(events)), share_type),
        service=_if(_is_smb1(events), service),
    )


def _opens(told: Told) -> Iterator[tuple[int, str]]:
    events = told.events("pipe_opens", "opened", lambda of: [of["pipe"]])
    _take_tree(told, events)
    numbers = {name: events[name].cast(pa.large_string()) for name in ("bytes_written", "bytes_read", "access_mask")}
    return _lines(events, "pipe_opens", filename=_text(events["pipe"]), ours=numbers)


def _binds(told: Told) -> Iterator[tuple[int, str]]:
    events = told.events("binds", "time", lambda of: [of["pipe"], of["interface"]])
    _take_tree(told, events)
    again = pc.fill_null(events["by_alter_context"], False)
    request = pc.if_else(again, one('"ALTER_CONTEXT"'), one('"BIND"'))
    answered = each_text(events["result"], lambda name: quoted(BIND_ANSWERS[name]))
    answered = pc.if_else(pc.and_(again, pc.equal(answered, one('"BINDACK"'))), one('"ALTER_CONTEXT_RESP"'), answered)
    result = each_text(events["result"], lambda name: ACK_RESULTS.get(name, ""))
    interface = _members(
        uuid=_text(events["interface_uuid"]),
        version=_text(events["interface_version"]),
        ack_result=_if(pc.not_equal(result, one("")), result),
    )
    dcerpc = _members(request=request, response=answered, interfaces=_listed(interface))
    own = {"pipe": _text(events["pipe"]), "interface": _text(events["interface"]), "result": _text(events["result"])}
    return _lines(events, "", dcerpc=dcerpc, ours=own)


def _calls(told: Told) -> Iterator[tuple[int, str]]:
    events = told.events("calls", "time", told.use_of_call)
    _take_tree(told, events)
    is_rpc = _is(events, "protocol", "dcerpc")
    of_fault = pc.fill_null(_is(events, "status_of", "fault"), False)
    response = pc.if_else(
        pc.fill_null(events["answered"], False),
        pc.if_else(of_fault, one('"FAULT"'), one('"RESPONSE"')),
        one('"UNREPLIED"'),
    )
    interface = _members(uuid=_text(events["interface_uuid"]), version=_text(events["interface_version"]))
    dcerpc = _members(
        request=_same(events, '"REQUEST"'),
        response=response,
        opnum=events["opnum"].cast(pa.large_string()),
        interfaces=_if(pc.is_valid(events["interface_uuid"]), _listed(interface)),
    )
    function = _if(_is(events, "protocol", "fsctl"), _text(events["operation"]))
    # The status of a call is that of the SMB message only where SMB gave it; else it is ours to tell.
    by_smb = pc.fill_null(_is(events, "status_of", "smb"), False)
    own = {
        name: _text(events[name])
        for name in ("protocol", "pipe", "interface", "operation", "operation_class", "result")
    } | {"call_status": _if(pc.invert(by_smb), _text(events["status"])), "name": _text(events["name"])}
    events.columns["status"] = pc.if_else(
        by_smb, events["status"].dictionary_decode(), pa.scalar(None, pa.large_string())
    )
    return _lines(events, "", function=function, dcerpc=_if(is_rpc, dcerpc), ours=own)


def _take_tree(told: Told, events: Events) -> None:
    events.columns["tree_id"] = told.looked_up("trees", "tree_key", events["tree_key"], "tree_id")


# Lines. #


def _lines(
    events: Events, kind: str, ours: dict[str, pa.Array] | None = None, **own: pa.Array
) -> Iterator[tuple[int, str]]:
    """Time and line of each event. kind: which command it is; own: what stands in `smb`, ours: in `null_session`."""
    status = events["status"]
    codes = {name: code for code, name in knowledge.status_names("nt").items()}
    command = None
    if kind:
        command = pc.if_else(_is_smb1(events), one(f'"{COMMANDS[kind][1]}"'), one(f'"{COMMANDS[kind][0]}"'))
    smb = {
        "id": _numbered(events),
        "dialect": each_text(events["dialect"], lambda name: quoted(DIALECTS.get(name, name))),
        "command": command,
        "status": _text(status),
        "status_code": each_text(
            status, lambda name: f'"0x{codes[name]:x}"' if name in codes else quoted(name.lower())
        ),
        "session_id": each_text(events["session_id"], _session_number),
        "tree_id": events["tree_id"].cast(pa.large_string()) if "tree_id" in events.columns else None,
    }
    numbers = ("session_key", "frame", "answer_frame")
    mine = {name: events[name].cast(pa.large_string()) if name in numbers else _text(events[name]) for name in OURS}
    cells = {
        "timestamp": _quoted_plain(iso(events["ts"])),
        "flow_id": events["flow_id"].cast(pa.large_string()),
        "pcap_cnt": events["frame"].cast(pa.large_string()),
        "event_type": _same(events, '"smb"'),
        "src_ip": _text(events["client_ip"]),
        "src_port": events["client_port"].cast(pa.large_string()),
        "dest_ip": _text(events["server_ip"]),
        "dest_port": events["server_port"].cast(pa.large_string()),
        "proto": _same(events, '"TCP"'),
        "pcap_filename": _text(events["capture"]),
        "smb": objects({name: cell for name, cell in {**smb, **own}.items() if cell is not None}),
        "null_session": objects(mine | (ours or {})),
    }
    times = tables.filled(events["ts"].cast(pa.int64()))
    for start in range(0, events.length, ROWS):
        part = objects({name: cell.slice(start, ROWS) for name, cell in cells.items()})
        for time, line in zip(times[start : start + ROWS].tolist(), part.to_pylist(), strict=True):
            if time >= 0:  # Suricata has none without a time
                yield time, line


def _session_number(text: str) -> str:
    return str(int(text, 16)) if re.fullmatch(r"(0x)?[0-9a-f]{1,16}", text) else quoted(text)


def _numbered(events: Events) -> pa.Array:
    """What Suricata calls the number of a transaction: here the place of the event among those of its kind on its flow."""
    flow = tables.filled(events["flow_id"])
    order = np.argsort(flow, kind="stable")
    first = np.ones(len(flow), dtype=bool)
    first[1:] = flow[order][1:] != flow[order][:-1]
    begins = np.maximum.accumulate(np.where(first, np.arange(len(flow)), 0))
    number = np.empty(len(flow), dtype=np.int64)
    number[order] = np.arange(len(flow)) - begins + 1
    return tables.ints(number).cast(pa.large_string())


def _members(**members: pa.Array) -> pa.Array:
    return objects(members)


def _listed(values: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(one("["), values, one("]"), one(""))


def _text(array: pa.Array) -> pa.Array:
    return each_text(array, quoted)


def _quoted_plain(values: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(one('"'), values, one('"'), one(""))


def _same(events: Events, text: str) -> pa.Array:
    return tables.strings([text]).take(tables.ints(np.zeros(events.length, dtype=np.int64)))


def _if(holds: pa.Array, values: pa.Array) -> pa.Array:
    """Values where something holds; missing elsewhere, and where that is not known."""
    return pc.if_else(holds, values, pa.scalar(None, pa.large_string()))


def _is(events: Events, column: str, *names: str) -> pa.Array:
    return _in(events[column], lambda text: text in names)


def _is_smb1(events: Events) -> pa.Array:
    """Whether the session has a UID of SMB 1, or without a session the connection a dialect of it."""
    by_session = _in(events["session_id"], lambda text: len(text) == 4)
    by_dialect = _in(events["dialect"], lambda text: text not in DIALECTS)
    return pc.fill_null(pc.coalesce(by_session, by_dialect), False)


def _in(array: pa.Array, says: Callable[[str], bool]) -> pa.Array:
    found: Sequence[bool] = [says(text) for text in array.dictionary.to_pylist()]
    codes = tables.filled(array.indices).astype(np.int64)
    holds: Mask = np.array([*found, False], dtype=bool)[codes]
    return tables.bools(holds, codes < 0)
