"""The columns of numbers that an analysis ends with, as the tables of the contract: canonical order, keys, texts.

Canonical order is (capture_no, frame, place in the frame). Keys count from 0 in it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from analyzer import knowledge, tables
from analyzer.capture.reader import Ends, FileFacts
from analyzer.records import CallProtocol, Layer, Mechanism, Protocol, Via
from analyzer.rpc.pipes import (
    RESULT_DONE,
    RESULT_FAULT,
    RESULT_NAK,
    RESULT_NONE,
    RESULT_REFUSED,
    RESULT_SMB,
    TRANSFER_FEATURES,
)
from analyzer.sessions.identity import Asked, Confidence, Identity, Outcome, sign_text
from analyzer.sessions.joins import NONE, Ints, Rows
from analyzer.sessions.operations import KINDS, CallStatus, Operations, statuses
from analyzer.sessions.operations import results as call_results
from analyzer.sessions.reducer import Reduced, bare_pipe_name, call_names, in_force
from analyzer.sessions.uses import HOUR_NS


@dataclass(slots=True)
class _Keys:
    """From the row numbers of a reduction to the keys of the tables; row -1 is key -1.

    whose: for each of the reduction's tables, the attempt that each row belongs to.
    """

    first_connection: int
    connection: Ints
    session: Ints
    tree: Ints
    open: Ints
    whose: dict[str, Ints]


def captures(files: list[FileFacts], sites: list[str]) -> pa.Table:
    """The table of files."""

    def numbers(values: Iterable[int | None]) -> Ints:
        return np.array([NONE if value is None else value for value in values], dtype=np.int64)

    return tables.table(
        "captures",
        {
            "capture_no": tables.ints(numbers(file.capture_no for file in files)),
            "capture": tables.listed([file.capture for file in files]),
            "site": tables.listed(sites),
            "format": tables.listed([file.format for file in files]),
            "link_type": tables.listed([file.link_type for file in files]),
            "packets": tables.ints(numbers(file.packets for file in files)),
            "bytes": tables.ints(numbers(file.bytes for file in files)),
            "first_seen": tables.times(numbers(file.first_ns for file in files)),
            "last_seen": tables.times(numbers(file.last_ns for file in files)),
            "snaplen": tables.ints(numbers(file.snaplen for file in files)),
            "truncated_packets": tables.ints(numbers(file.truncated_packets for file in files)),
            "dropped_packets": tables.ints(numbers(file.dropped_packets for file in files)),
            "smb_packets": tables.ints(numbers(file.smb_packets for file in files)),
            "errors": tables.listed(["; ".join(file.errors) or None for file in files]),
        },
        len(files),
    )


def site_tables(
    reduced: Reduced, names: list[str], site: str, files: list[FileFacts], keys_from: dict[str, int]
) -> Iterator[tuple[str, pa.Table]]:
    """All tables of one site but `captures` and `hosts`, each as soon as it is made.

    names: paths of the capture files by capture_no; files: those of this site. keys_from: for `connections`, `sessions`,
    `trees`, `pipe_opens`, `binds`, `calls` and session numbers (`session_no`) the first key to give; it is moved on.
    """
    none = np.empty(0, dtype=np.int64)
    first_connection = keys_from["connections"]
    connections, connection_key = _connections(reduced, names, site, files, keys_from)
    yield "connections", connections
    bindings = reduced.channels.copy()
    bindings["order"] += 1  # the attempt that a binding itself may have become counts
    whose = {name: in_force(reduced, getattr(reduced, name)) for name in ("trees", "opens", "binds", "calls", "disks")}
    keys = _Keys(first_connection, connection_key, none, none, none, whose | {"channels": in_force(reduced, bindings)})
    pairs = _pairs(reduced.connections)
    yield "credentialed_uses", _credentialed_uses(reduced, pairs, names, site)
    yield "referrals", _referrals(reduced, pairs, names, site)
    del pairs
    _let_go(reduced, "connections", "uses", "referred")
    yield "sessions", _sessions(reduced, connections, names, site, keys, keys_from)
    _let_go(reduced, "attempts", "sessions")
    yield "channels", _channels(reduced, names, keys)
    trees = _trees(reduced, names, keys, keys_from)
    yield "trees", trees
    _let_go(reduced, "channels", "trees")
    yield "pipe_opens", _pipe_opens(reduced, names, keys, keys_from)
    yield "binds", _binds(reduced, names, keys, keys_from)
    yield "calls", _calls(reduced, names, keys, keys_from)
    _let_go(reduced, "opens", "binds", "calls")
    yield "disk_opens", _disk_opens(reduced, keys, trees, keys_from)
    yield "problems", _problems(reduced, names, keys)
    _let_go(reduced, "disks", "problems")


def _let_go(reduced: Reduced, *names: str) -> None:
    """What has become a table is not needed as columns of numbers any more."""
    for name in names:
        setattr(reduced, name, getattr(reduced, name)[:0].copy())


class _Ordered:
    """Rows in another order, of which one column at a time is copied."""

    def __init__(self, rows: Rows, order: Ints) -> None:
        self._rows = rows
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, name: str) -> Any:
        return self._rows[name].take(self._order)  # twice as fast as indexing, where items are far apart


def _in_order(rows: Rows) -> Ints:
    """The canonical order of rows with request and answer; a row without a request stands where its answer is."""
    asked = rows["frame"] >= 0
    capture_no = np.where(asked, rows["capture_no"], rows["answer_capture_no"])
    frame = np.where(asked, rows["frame"], rows["answer_frame"])
    return np.lexsort((rows["order"], frame, capture_no))


def _first_places(numbers: Ints, count: int) -> Ints:
    """For each of the numbers below `count` the first place at which it stands; `NONE` if it stands nowhere."""
    found = np.full(count, NONE, dtype=np.int64)
    found[numbers[::-1]] = np.arange(len(numbers))[::-1]  # what is set last holds
    return found


def _new_keys(order: Ints, first: int) -> Ints:
    """For each row number its key; the last item serves row -1."""
    keys = np.full(len(order) + 1, NONE, dtype=np.int64)
    keys[order] = np.arange(first, first + len(order))
    return keys


def _place(rows: Rows | _Ordered, names: list[str]) -> dict[str, object]:
    """The columns that say where: of the request, or of the answer where only that was captured."""
    capture_no = np.where(rows["frame"] >= 0, rows["capture_no"], rows["answer_capture_no"])
    return {
        "capture": tables.chosen(capture_no, names),
        "frame": tables.ints(rows["frame"]),
        "answer_frame": tables.ints(rows["answer_frame"]),
    }


NT, DOS = 0, 1
_STATUS_KINDS = ("nt", "dos", "win32", "fault", "werr", "hresult", "bind_result", "bind_nak")


def _statuses(status: npt.NDArray[np.generic], kind: npt.NDArray[np.generic]) -> pa.Array:
    """Names of status codes of a kind; below zero: no answer."""
    numbers = status.astype(np.int64)
    marked = np.where(numbers < 0, NONE, numbers | (kind.astype(np.int64) << 32))

    def name(code: int) -> str | None:
        if code < 0:
            return None
        number, names = code & 0xFFFFFFFF, knowledge.status_names(_STATUS_KINDS[code >> 32])
        if number == 0 and code >> 32 == DOS:
            return "STATUS_SUCCESS"
        if code >> 32 == DOS:
            return names.get(number, f"DOS {number & 0xFF}/{number >> 16}")
        return names.get(number, f"0x{number:08x}")

    return tables.formatted(marked, name)


def _connections(
    reduced: Reduced, names: list[str], site: str, files: list[FileFacts], keys_from: dict[str, int]
) -> tuple[pa.Table, Ints]:
    found = reduced.connections
    wanted = np.flatnonzero(found["established"])
    order = wanted[np.lexsort((found["frame"][wanted], found["capture_no"][wanted]))]
    first = keys_from["connections"]
    keys_from["connections"] += len(order)
    keys = np.full(len(found) + 1, NONE, dtype=np.int64)
    keys[order] = np.arange(first, first + len(order))
    rows = _Ordered(found, order)
    client, server = rows["client_bytes"] > 0, rows["server_bytes"] > 0
    netbios = (rows["server_port"] == 139) | (rows["called"] >= 0)
    directions = np.select([client & server, client, server], [0, 1, 2], 3)
    made = tables.table(
        "connections",
        {
            "connection_id": tables.ints(np.arange(first, first + len(rows))),
            "site": tables.chosen(np.zeros(len(rows), "i8"), [site]),
            "capture": tables.chosen(rows["capture_no"], names),
            "first_frame": tables.ints(rows["frame"]),
            "client_ip": tables.addresses(rows["client_hi"], rows["client_lo"]),
            "client_port": tables.ints(rows["client_port"]),
            "server_ip": tables.addresses(rows["server_hi"], rows["server_lo"]),
            "server_port": tables.ints(rows["server_port"]),
            "transport": tables.categories(netbios.astype(np.int64), tables.TRANSPORT, tables.TRANSPORT),
            "first_seen": tables.times(rows["first_ns"]),
            "last_seen": tables.times(rows["last_ns"]),
            "packets": tables.ints(rows["packets"]),
            "dialect": tables.texts(rows["dialect"], reduced.texts),
            "dialects_offered": tables.texts(rows["dialects_offered"], reduced.texts),
            "client_capabilities": tables.ints(rows["client_capabilities"]),
            "signing_required": tables.bools(rows["signing_required"], rows["dialect"] < 0),
            "midstream": tables.bools(rows["midstream"]),
            "directions": tables.categories(directions, (*tables.DIRECTIONS, None), tables.DIRECTIONS),
            "closed_by": tables.categories(rows["closed_by"], (None, *tables.CLOSED_BY), tables.CLOSED_BY),
            "client_bytes": tables.ints(rows["client_bytes"]),
            "server_bytes": tables.ints(rows["server_bytes"]),
            "missing_bytes": tables.ints(rows["missing_bytes"]),
            "unparsed_bytes": tables.ints(rows["unparsed_bytes"]),
            "netbios_calling": tables.texts(rows["calling"], reduced.texts),
            "netbios_called": tables.texts(rows["called"], reduced.texts),
            "client_guid": _guids(rows["client_guid"]),
            "server_guid": _guids(rows["server_guid"]),
            "encrypted_messages": tables.ints(rows["encrypted"]),
            "compressed_messages": tables.ints(rows["compressed"]),
            **_processes(rows, files),
        },
        len(rows),
    )
    return made, keys


WINDOWS_SYSTEM = 4
"""The process of the Windows kernel, in whose name its SMB client and server work much of the time."""


def _processes(rows: _Ordered, files: list[FileFacts]) -> dict[str, pa.Array]:
    """The columns of `connections` that say which process was behind it, where capture tools noted any.

    A note belongs to the connection between its ends that began last before it. Of several notes the first one holds;
    one that only says that the system was running holds if there is no other.
    """
    count = len(rows)
    process = np.full(count, NONE, dtype=np.int64)
    side, name = np.zeros(count, dtype=np.int8), np.full(count, NONE, dtype=np.int64)
    values: list[str] = []
    notes = [(file.capture_no, note) for file in files for note in file.processes]
    if notes and count:
        noted = {note.ends for _, note in notes}
        columns = [rows[f"{who}_{what}"].tolist() for who in ("client", "server") for what in ("hi", "lo", "port")]
        begun: dict[Ends, list[tuple[int, int, int]]] = {}  # when connections with such ends began, which, and side
        for row, (time, *ends) in enumerate(zip(rows["first_ns"].tolist(), *columns, strict=True)):
            for code, turned in ((1, tuple(ends)), (2, tuple(ends[3:] + ends[:3]))):
                if turned in noted:
                    begun.setdefault(turned, []).append((time, row, code))
        for found in begun.values():
            found.sort()
        code_of: dict[str, int] = {}
        notes.sort(key=lambda it: (it[1].running and it[1].process_id == WINDOWS_SYSTEM, it[0], it[1].frame))
        for _, note in notes:
            before = begun.get(note.ends, [])
            place = bisect_right(before, (note.time_ns, count, 0)) - 1
            if place >= 0 and process[before[place][1]] == NONE:
                _, row, code = before[place]
                process[row] = note.process_id
                side[row] = code if note.certain_side else 0
                if note.name is not None:
                    name[row] = code_of.setdefault(note.name, len(code_of))
        values = list(code_of)
    return {
        "process_id": tables.ints(process),
        "process_name": tables.chosen(name, values),
        "process_side": tables.categories(side, (None, *tables.CLOSED_BY), tables.CLOSED_BY),
    }


_ASKED = [None if asked == Asked.NOT_SEEN else asked.name.lower() for asked in Asked]
_IDENTITY = [identity.name.lower() for identity in Identity]
_CONFIDENCE = [None if confidence == Confidence.NONE else confidence.name.lower() for confidence in Confidence]
_OUTCOME = [None, *[outcome.name.lower() for outcome in Outcome]]
_MECHANISM = [None, *tables.MECHANISM]
_VIA = [None, *tables.VIA]
_LAYER = [None, *tables.LAYER]
_CALL_PROTOCOL = [None, *[protocol.name.lower() for protocol in CallProtocol]]
assert len(_MECHANISM) == len(Mechanism)
assert len(_VIA) == len(Via) + 1
assert len(_LAYER) == len(Layer) + 1


def _sessions(
    reduced: Reduced, connections: pa.Table, names: list[str], site: str, keys: _Keys, keys_from: dict[str, int]
) -> pa.Table:
    order = _in_order(reduced.attempts)
    first = keys_from["sessions"]
    keys_from["sessions"] += len(order)
    keys.session = _new_keys(order, first)
    rows = _Ordered(reduced.attempts, order)
    first_place = _first_places(rows["session"], len(reduced.sessions))[rows["session"]]
    appeared = np.cumsum(first_place == np.arange(len(rows)))
    session_no = keys_from["session_no"] + appeared[first_place] - 1
    keys_from["session_no"] += int(appeared[-1]) if len(rows) else 0
    connection = keys.connection[rows["connection"]]
    of = tables.ints(connection - keys.first_connection)
    text = reduced.texts
    return tables.table(
        "sessions",
        {
            "session_key": tables.ints(np.arange(first, first + len(rows))),
            "session_no": tables.ints(session_no),
            "connection_id": tables.ints(connection),
            "site": tables.chosen(np.zeros(len(rows), "i8"), [site]),
            "client_ip": connections["client_ip"].combine_chunks().take(of),
            "server_ip": connections["server_ip"].combine_chunks().take(of),
            **_place(rows, names),
            "answer_capture": tables.chosen(rows["answer_capture_no"], names),
            "session_id": _session_ids(rows["session_id"], rows["protocol"]),
            "started": tables.times(rows["time_ns"]),
            "ended": tables.times(_ends(rows)),
            "asked": tables.categories(rows["asked"], _ASKED, tables.ASKED),
            "identity": tables.categories(rows["identity"], _IDENTITY, tables.IDENTITY),
            "confidence": tables.categories(rows["confidence"], _CONFIDENCE, tables.CONFIDENCE),
            "evidence": tables.formatted(rows["signs"], lambda signs: sign_text(int(signs))),
            "outcome": tables.categories(rows["outcome"], _OUTCOME, tables.OUTCOME),
            "status": _statuses(rows["status"], rows["dos_status"]),
            "user": tables.texts(rows["user"], text),
            "domain": tables.texts(rows["domain"], text),
            "workstation": tables.texts(rows["workstation"], text),
            "mechanism": tables.categories(rows["mechanism"], _MECHANISM, tables.MECHANISM),
            "ntlm_flags": tables.ints(rows["ntlm_flags"]),
            "client_build": tables.texts(rows["build"], text),
            "realm": tables.texts(rows["realm"], text),
            "service": tables.texts(rows["service"], text),
            "ticket_etype": tables.ints(np.where(rows["etype"] == 0, NONE, rows["etype"])),
            "session_flags": tables.ints(rows["session_flags"]),
            "native_os": tables.texts(rows["native_os"], text),
            "native_lanman": tables.texts(rows["native_lanman"], text),
            "previous_session_id": _session_ids(rows["previous_session_id"], rows["protocol"]),
            "server_name": tables.texts(rows["server_name"], text),
            "server_domain": tables.texts(rows["server_domain"], text),
            "other_operations": tables.ints(reduced.sessions["others"][rows["session"]]),
            "encrypted_messages": tables.ints(reduced.sessions["encrypted"][rows["session"]]),
        },
        len(rows),
    )


def _session_ids(values: npt.NDArray[np.generic], protocol: npt.NDArray[np.generic]) -> pa.Array:
    """As the tables write them; 0 is no id."""
    octets = values.astype(">u8").view(np.uint8).reshape(-1, 8)
    is_smb1 = protocol == Protocol.SMB1
    is_missing = values == 0
    long = tables.hexadecimal(octets, b"0x", (), is_smb1 | is_missing)
    short = tables.hexadecimal(octets[:, 6:], b"", (), ~is_smb1 | is_missing)
    codes = np.where(
        is_smb1,
        np.where(is_missing, NONE, tables.filled(short.indices) + len(long.dictionary)),
        tables.filled(long.indices),
    )
    return tables.coded(codes, pa.concat_arrays([long.dictionary, short.dictionary]))


def _guids(rows: Rows) -> pa.Array:
    """In their usual form: the first three groups are little-endian on the wire."""
    octets = np.stack([rows["a"], rows["b"]], axis=1).astype("<u8").view(np.uint8).reshape(-1, 16)
    turned = octets[:, [3, 2, 1, 0, 5, 4, 7, 6, *range(8, 16)]]
    return tables.hexadecimal(turned, b"", (4, 6, 8, 10), ~rows["known"])


def _ends(rows: Rows | _Ordered) -> Ints:
    """A period ends with the logoff, or with the next attempt on the same id."""
    order = np.lexsort((rows["order"], rows["session"]))
    following = np.full(len(rows), NONE, dtype=np.int64)
    same = rows["session"][order[1:]] == rows["session"][order[:-1]]
    following[order[:-1][same]] = rows["time_ns"][order[1:][same]]
    return np.where(rows["ended_ns"] > 0, rows["ended_ns"], following)


def _channels(reduced: Reduced, names: list[str], keys: _Keys) -> pa.Table:
    order = np.lexsort((reduced.channels["frame"], reduced.channels["capture_no"]))
    rows = reduced.channels[order]
    return tables.table(
        "channels",
        {
            "session_key": tables.ints(keys.session[keys.whose["channels"][order]]),
            "connection_id": tables.ints(keys.connection[rows["connection"]]),
            "capture": tables.chosen(rows["capture_no"], names),
            "frame": tables.ints(rows["frame"]),
            "status": _statuses(rows["status"], np.zeros(len(rows), bool)),
        },
        len(rows),
    )


def _trees(reduced: Reduced, names: list[str], keys: _Keys, keys_from: dict[str, int]) -> pa.Table:
    order = _in_order(reduced.trees)
    first = keys_from["trees"]
    keys_from["trees"] += len(order)
    keys.tree = _new_keys(order, first)
    rows = _Ordered(reduced.trees, order)
    texts = reduced.texts
    return tables.table(
        "trees",
        {
            "tree_key": tables.ints(np.arange(first, first + len(rows))),
            "session_key": tables.ints(keys.session[keys.whose["trees"][order]]),
            "connection_id": tables.ints(keys.connection[rows["connection"]]),
            **_place(rows, names),
            "time": tables.times(rows["time_ns"]),
            "tree_id": tables.ints(rows["tree_id"]),
            "path": tables.texts(rows["path"], texts),
            "share": tables.formatted(
                rows["path"], lambda path: None if path < 0 else texts.values[path].rpartition("\\")[2].upper()
            ),
            "kind": tables.categories(rows["kind"], tables.TREE_KIND, tables.TREE_KIND),
            "status": _statuses(rows["status"], rows["dos_status"]),
        },
        len(rows),
    )


def _pipe_opens(reduced: Reduced, names: list[str], keys: _Keys, keys_from: dict[str, int]) -> pa.Table:
    order = _in_order(reduced.opens)
    rows = _Ordered(reduced.opens, order)
    first = keys_from["pipe_opens"]
    keys_from["pipe_opens"] += len(rows)
    keys.open = _new_keys(order, first)
    return tables.table(
        "pipe_opens",
        {
            "open_key": tables.ints(np.arange(first, first + len(rows))),
            "tree_key": tables.ints(keys.tree[rows["tree"]]),
            "session_key": tables.ints(keys.session[keys.whose["opens"][order]]),
            "connection_id": tables.ints(keys.connection[rows["connection"]]),
            **_place(rows, names),
            "opened": tables.times(rows["time_ns"]),
            "closed": tables.times(rows["closed_ns"]),
            "pipe": tables.texts(rows["name"], reduced.texts),
            "via": tables.categories(rows["via"], _VIA, tables.VIA),
            "access_mask": tables.ints(rows["access_mask"]),
            "status": _statuses(rows["status"], rows["dos_status"]),
            "inferred": tables.bools(rows["inferred"]),
            "bytes_written": tables.ints(rows["bytes_written"]),
            "bytes_read": tables.ints(rows["bytes_read"]),
            "secondary_address": tables.texts(rows["secondary"], reduced.texts),
            "form": tables.categories(rows["form"], (None, *tables.PIPE_FORM), tables.PIPE_FORM),
            "first_bytes": _first_bytes(rows["first_bytes"], rows["first_size"]),
        },
        len(rows),
    )


def _first_bytes(values: npt.NDArray[np.generic], sizes: npt.NDArray[np.generic]) -> pa.Array:
    """The bytes of little-endian numbers in hexadecimal; of none nothing."""
    count = sizes.astype(np.int64)
    marked = np.where(count > 0, values.astype(np.int64) * 8 + count, NONE)
    return tables.formatted(
        marked, lambda code: None if code < 0 else (code >> 3).to_bytes(8, "little")[: code & 7].hex()
    )


_BIND_STATUS = {RESULT_FAULT: "fault", RESULT_SMB: "nt", RESULT_REFUSED: "bind_result", RESULT_NAK: "bind_nak"}
_BIND_RESULT = {
    RESULT_NONE: "unanswered",
    RESULT_DONE: "accepted",
    RESULT_FAULT: "fault",
    RESULT_SMB: "smb",
    RESULT_REFUSED: "refused",
    RESULT_NAK: "rejected",
}


def _binds(reduced: Reduced, names: list[str], keys: _Keys, keys_from: dict[str, int]) -> pa.Table:
    order = _in_order(reduced.binds)
    rows = reduced.binds[order]
    first = keys_from["binds"]
    keys_from["binds"] += len(rows)
    results = [_BIND_RESULT.get(result, "not_told") for result in range(256)]
    kinds = np.array([_STATUS_KINDS.index(_BIND_STATUS.get(result, "nt")) for result in range(256)])
    has_status = np.isin(rows["result"], list(_BIND_STATUS))
    return tables.table(
        "binds",
        {
            "bind_key": tables.ints(np.arange(first, first + len(rows))),
            **_of_pipe(rows, reduced, names, keys, keys.whose["binds"][order]),
            "interface": tables.formatted(rows["interface"], _interface_names(reduced)),
            "transfer_syntax": tables.categories(
                np.minimum(rows["transfer"], TRANSFER_FEATURES),
                ("other", "ndr", "ndr64", "other"),
                tables.TRANSFER_SYNTAX,
            ),
            "context_id": tables.ints(rows["context"]),
            "by_alter_context": tables.bools(rows["alter"]),
            "result": tables.categories(rows["result"], results, tables.BIND_RESULT),
            "status": _statuses(np.where(has_status, rows["code"], NONE), kinds[rows["result"]]),
            "secondary_address": tables.texts(rows["secondary"], reduced.texts),
        },
        len(rows),
    )


def _of_pipe(rows: Rows, reduced: Reduced, names: list[str], keys: _Keys, whose: Ints) -> dict[str, object]:
    """The columns that binds and calls have in common."""
    interfaces = reduced.interfaces
    return {
        "open_key": tables.ints(keys.open[rows["open"]]),
        "tree_key": tables.ints(keys.tree[rows["tree"]]),
        "session_key": tables.ints(keys.session[whose]),
        "connection_id": tables.ints(keys.connection[rows["connection"]]),
        **_place(rows, names),
        "time": tables.times(rows["time_ns"]),
        "pipe": tables.texts(rows["pipe"], reduced.texts),
        "interface_uuid": tables.formatted(rows["interface"], lambda n: None if n < 0 else interfaces[n].uuid),
        "interface_version": tables.formatted(rows["interface"], lambda n: None if n < 0 else interfaces[n].version),
        "auth_type": tables.ints(rows["auth_type"]),
        "auth_level": tables.ints(rows["auth_level"]),
    }


def _interface_names(reduced: Reduced) -> Callable[[int], str | None]:
    """From the number of an interface to its name, or its UUID."""
    listed = reduced.interfaces
    return lambda number: None if number < 0 else listed[number].name or listed[number].uuid


_STATUS_OF = [None, "smb", "smb", "rap", "fault", "stub", "stub", "stub"]
assert len(_STATUS_OF) == len(CallStatus)


def _calls(reduced: Reduced, names: list[str], keys: _Keys, keys_from: dict[str, int]) -> pa.Table:
    order = _in_order(reduced.calls)
    rows = reduced.calls[order]
    first = keys_from["calls"]
    keys_from["calls"] += len(rows)
    texts = reduced.texts
    operations, classes, returns = _operations(rows, reduced)
    code, kind = statuses(rows, returns)
    is_pipe_wait = (rows["protocol"] == CallProtocol.FSCTL) & (rows["name"] >= 0)

    def name(code: int) -> str | None:
        if code < 0:
            return None
        text = texts.values[code >> 1]
        return bare_pipe_name(text)[0] if code & 1 else text

    marked = np.where(rows["name"] >= 0, rows["name"].astype(np.int64) * 2 + is_pipe_wait, NONE)
    marked = np.where(rows["protocol"] == CallProtocol.RAP, NONE, marked)
    kinds = np.array([_STATUS_KINDS.index(kind or "nt") for kind in KINDS])
    return tables.table(
        "calls",
        {
            "call_key": tables.ints(np.arange(first, first + len(rows))),
            **_of_pipe(rows, reduced, names, keys, keys.whose["calls"][order]),
            "protocol": tables.categories(rows["protocol"], _CALL_PROTOCOL, tables.CALL_PROTOCOL),
            "interface": tables.formatted(rows["interface"], _interface_names(reduced)),
            "opnum": tables.ints(rows["function"]),
            "operation": tables.texts(operations, texts),
            "operation_class": tables.texts(classes, texts),
            "server_name": tables.texts(rows["server"], texts),
            "name": tables.formatted(marked, name),
            "level": tables.ints(rows["level"]),
            "answered": tables.bools(rows["status"] >= 0),
            "result": tables.categories(call_results(rows, returns), tables.CALL_RESULT, tables.CALL_RESULT),
            "status": _statuses(code, kinds[kind]),
            "status_of": tables.categories(kind, _STATUS_OF, tables.STATUS_OF),
        },
        len(rows),
    )


def _operations(calls: Rows, reduced: Reduced) -> tuple[Ints, Ints, Ints]:
    """For each call the codes of its operation's name and class, and what it returns (`sessions.operations.Returns`)."""
    texts = reduced.texts
    operation, classes, returns = (np.full(len(calls), NONE, dtype=np.int64) for _ in range(3))
    through_pipes = np.flatnonzero(calls["protocol"] == CallProtocol.DCERPC)
    look_up = Operations(texts, lambda: reduced.interfaces).look_up
    rpc = calls[through_pipes]
    _, operation[through_pipes], returns[through_pipes], classes[through_pipes] = look_up(
        rpc["interface"], rpc["function"]
    )
    others = np.flatnonzero(calls["protocol"] != CallProtocol.DCERPC)
    if len(others):
        kind = (calls["protocol"][others].astype(np.int64) << 40) + calls["function"][others]
        _, one, place = np.unique(kind, return_index=True, return_inverse=True)
        named = call_names(calls[others[one]], texts, lambda name: name)[1]
        operation[others] = named[place.reshape(-1)]
    return operation, classes, np.maximum(returns, 0)


@dataclass(slots=True)
class _Pairs:
    """Who spoke with whom: for each pair of addresses that connections have those of client and server.

    place: for each number of a pair its place among them.
    """

    client: pa.Array
    server: pa.Array
    place: Ints


def _pairs(connections: Rows) -> _Pairs:
    begun = np.flatnonzero(connections["begun"])
    numbers = connections["pair"][begun]
    first = _first_places(numbers, int(numbers.max(initial=NONE)) + 1)
    there = first >= 0
    ends = _Ordered(connections, begun[first[there]])
    client = tables.addresses(ends["client_hi"], ends["client_lo"])
    server = tables.addresses(ends["server_hi"], ends["server_lo"])
    return _Pairs(client, server, np.cumsum(there) - 1)


def _referrals(reduced: Reduced, pairs: _Pairs, names: list[str], site: str) -> pa.Table:
    texts = reduced.texts
    ends_of = pairs.place[reduced.referred["pair"]]
    by = [_alphabetical(addresses)[ends_of] for addresses in (pairs.server, pairs.client)]
    order = np.lexsort((tables.ranks(reduced.referred["named"], texts), *by))
    rows, pair = reduced.referred[order], tables.ints(ends_of[order])
    return tables.table(
        "referrals",
        {
            "site": tables.chosen(np.zeros(len(rows), "i8"), [site]),
            "client_ip": pairs.client.take(pair),
            "server_ip": pairs.server.take(pair),
            **{name: tables.texts(rows[name], texts) for name in ("named", "target", "asked")},
            "answers": tables.ints(rows["answers"]),
            "first_seen": tables.times(rows["first_ns"]),
            "last_seen": tables.times(rows["last_ns"]),
            "capture": tables.chosen(rows["capture_no"], names),
            "frame": tables.ints(rows["frame"]),
        },
        len(rows),
    )


def _credentialed_uses(reduced: Reduced, pairs: _Pairs, names: list[str], site: str) -> pa.Table:
    texts = reduced.texts
    ends_of = pairs.place[reduced.uses["pair"]]
    by = [tables.ranks(reduced.uses[name], texts) for name in ("operation", "interface", "resource")]
    by += [_alphabetical(addresses)[ends_of] for addresses in (pairs.server, pairs.client)]
    order = np.lexsort((reduced.uses["hour"], *by))
    rows, pair = _Ordered(reduced.uses, order), tables.ints(ends_of[order])
    return tables.table(
        "credentialed_uses",
        {
            "site": tables.chosen(np.zeros(len(rows), "i8"), [site]),
            "client_ip": pairs.client.take(pair),
            "server_ip": pairs.server.take(pair),
            "resource": tables.texts(rows["resource"], texts),
            "interface": tables.texts(rows["interface"], texts),
            "operation": tables.texts(rows["operation"], texts),
            "hour": tables.times(rows["hour"] * HOUR_NS),
            "uses": tables.ints(rows["uses"]),
            "succeeded": tables.ints(rows["succeeded"]),
            "after_refusal": tables.ints(rows["after_refusal"]),
            "first_seen": tables.times(rows["first_ns"]),
            "last_seen": tables.times(rows["last_ns"]),
            "capture": tables.chosen(rows["capture_no"], names),
            "frame": tables.ints(rows["frame"]),
        },
        len(rows),
    )


def _alphabetical(column: pa.Array) -> Ints:
    """For each row the place of its text in alphabetical order; no text is missing."""
    order = np.argsort(np.array(column.dictionary.to_pylist(), dtype=object))
    places_: Ints = np.argsort(order)[tables.filled(column.indices)]
    return places_


def _disk_opens(reduced: Reduced, keys: _Keys, trees: pa.Table, keys_from: dict[str, int]) -> pa.Table:
    rows = reduced.disks
    tree = keys.tree[rows["tree"]]
    session = keys.session[keys.whose["disks"]]
    order = np.lexsort((tree, session))
    rows, tree, session = rows[order], tree[order], session[order]
    first = keys_from["trees"] - len(trees)
    share = trees["share"].combine_chunks().take(tables.ints(tree - first, tree < 0))
    samples = rows["samples"]
    return tables.table(
        "disk_opens",
        {
            "session_key": tables.ints(session),
            "tree_key": tables.ints(tree),
            "share": share,
            "opens": tables.ints(rows["opens"]),
            "succeeded": tables.ints(rows["succeeded"]),
            "denied": tables.ints(rows["denied"]),
            "sample_paths": tables.piped(samples[samples >= 0], np.sum(samples >= 0, axis=1), reduced.texts),
        },
        len(rows),
    )


def _problems(reduced: Reduced, names: list[str], keys: _Keys) -> pa.Table:
    rows = reduced.problems[np.lexsort((reduced.problems["frame"], reduced.problems["capture_no"]))]
    return tables.table(
        "problems",
        {
            "capture": tables.chosen(rows["capture_no"], names),
            "frame": tables.ints(rows["frame"]),
            "connection_id": tables.ints(keys.connection[rows["connection"]]),
            "layer": tables.categories(rows["layer"], _LAYER, tables.LAYER),
            "field": tables.texts(rows["field"], reduced.texts),
            "offset": tables.ints(rows["offset"]),
            "code": tables.texts(rows["code"], reduced.texts),
            "detail": tables.texts(rows["detail"], reduced.texts),
        },
        len(rows),
    )


def other_ways(ways: Rows, connections: pa.Table, site: str) -> pa.Table:
    """Who reached for other services: clients of SMB connections only, since it is said of these.

    ways: `records.OTHER_WAY`. connections: the table of the same site.
    """
    client = tables.addresses(ways["client_hi"], ways["client_lo"])
    known = set(tables.one_array(connections["client_ip"]).dictionary.to_pylist())
    kept = np.array([address in known for address in client.to_pylist()], dtype=bool)
    server = tables.addresses(ways["server_hi"], ways["server_lo"])
    order = np.lexsort((ways["way"], _alphabetical(server), _alphabetical(client)))
    order = order[kept[order]]
    rows, place = ways[order], tables.ints(order)
    return tables.table(
        "other_ways",
        {
            "site": tables.chosen(np.zeros(len(rows), "i8"), [site]),
            "client_ip": client.take(place),
            "server_ip": server.take(place),
            "way": tables.places_in(rows["way"].astype(np.int64) - 1, tables.OTHER_WAY),
            "attempts": tables.ints(rows["attempts"]),
            "first_seen": tables.times(rows["first_ns"]),
            "last_seen": tables.times(rows["last_ns"]),
        },
        len(rows),
    )
