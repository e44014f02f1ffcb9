"""The rows of `dependencies` as what the rules look at: a `Use` each, or several where it is not known which.

Rows are many and uses are few, so each different one is made once: `Replayed.form` says which one a row has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from analyzer import tables
from analyzer.groups import Groups, Mask, Numbers, looked_up, places, places_of
from analyzer.knowledge import rpc_interfaces
from analyzer.policy.rules import SMB1, Use
from analyzer.sessions.joins import NONE, Ints
from analyzer.tables import TableSet

KEY = ("site", "client_ip", "server_ip")
IDENTITIES = {"anonymous": ("anonymous",), "anonymous_rejected": ("anonymous",), "guest": ("guest",)}
"""Whose use it may be for the rules. Of any other identity it may be all of `UNCLEAR`."""
UNCLEAR = ("anonymous", "guest", "credentials")
DIALECTS = {"2.?": 0, "2.0.2": 0x0202, "2.1": 0x0210, "3.0": 0x0300, "3.0.2": 0x0302, "3.1.1": 0x0311}
ALL_DIALECTS = (SMB1, 0x0202, 0x0311)
"""What stands for any dialect: where it is not known."""
WAIT = "FSCTL_PIPE_WAIT"
CALLS_UNSEEN, ALL_UNSEEN = 1, 2
CLIENTS = ("", "windows", "samba", "other")
_KINDS = ("session", "ipc", "disk", "pipe", "bind", "call", "rap", "dfs", "wait", "control")
_KIND = {name: place for place, name in enumerate(_KINDS)}


@dataclass(frozen=True, slots=True)
class Form:
    """What rows have in common that are the same for the rules: what each of them may be."""

    uses: tuple[Use, ...]
    observed: bool
    """It worked, so whatever decides about it lets it through today."""
    refused: bool
    """All uses were refused."""
    may_be_none: bool
    """It may have been done with credentials, which no rule here is about."""
    operation_known: bool
    """Else what a rule says of calls is in doubt."""
    refused_at: str
    """The rung at which some of them were refused; empty: none was."""
    client: str
    """What the client is by its own word: `windows`, `samba`, `other`; empty: not known."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The rows of `dependencies`, in their order."""

    server: Ints
    """Its place in `servers`."""
    servers: list[tuple[str, str]]
    """Site and address."""
    form: Ints
    forms: list[Form]


def replayed(rows: TableSet) -> Replayed:
    """What each row of `dependencies` is for the rules."""
    found = rows.columns(
        "dependencies", *KEY, "resource", "interface", "operation", "rpc_auth", "identity", "verdict", "succeeded",
        "refused_at", "client_software", "evidence",
    )  # fmt: skip
    of_server = Groups(found["site"], found["server_ip"])
    kind = _kinds(found, rows)
    waits = _opened_by_call(found, rows)
    dialects, dialect_sets = _dialects(found, rows)
    asked = _asked_anonymous(found, rows)
    denied = found["verdict"] == tables.VERDICT.index("denied")
    observed = (found["succeeded"] > 0) & (found["verdict"] != tables.VERDICT.index("unknown"))
    observed |= found["verdict"] == tables.VERDICT.index("probe")
    codes = (
        kind, waits.astype(np.int64), found["resource"], found["interface"], found["operation"],
        (found["rpc_auth"] >= 0).astype(np.int64), found["identity"].astype(np.int64), asked.astype(np.int64), dialects,
        denied.astype(np.int64), observed.astype(np.int64), found["refused_at"].astype(np.int64),
        _clients(found, rows), _unseen(found, kind, rows),
    )  # fmt: skip
    alike = Groups(*codes)
    text = rows.texts.text
    forms = []
    for row in alike.first.tolist():
        (
            which, wait, resource, interface, operation, auth, identity, claimed, spoken, refused, worked, rung, client,
            unseen,
        ) = (int(column[row]) for column in codes)  # fmt: skip
        identity_name = tables.IDENTITY[identity] if identity >= 0 else "unknown"
        identities = IDENTITIES.get(identity_name, UNCLEAR)
        name = None if resource < 0 else text(resource)
        uncaptured = name is not None and name.startswith("(")
        kinds = [_KINDS[which], "wait"] if wait else [_KINDS[which]]
        spoken_ = [SMB1] if _KINDS[which] == "rap" else dialect_sets[spoken]
        asked_for = [
            (
                each,
                None if uncaptured else name,
                None if interface < 0 else text(interface),
                None if operation < 0 else text(operation),
            )
            for each in kinds
        ]
        if unseen == CALLS_UNSEEN:
            carried = [asked_for[0][2]] if interface >= 0 else _interfaces_of(name)
            asked_for += [("call", asked_for[0][1], each, None) for each in carried]
        elif unseen == ALL_UNSEEN:
            asked_for += [(each, None, None, None) for each in ("pipe", "call", "disk")]
        forms.append(
            Form(
                tuple(
                    Use(*asked_, who, bool(claimed), bool(auth), dialect)
                    for asked_, who, dialect in product(
                        asked_for, [who for who in identities if who != "credentials"], spoken_
                    )
                ),
                bool(worked),
                bool(refused),
                "credentials" in identities,
                not unseen and (_KINDS[which] != "call" or (interface >= 0 and operation >= 0)),
                tables.RUNG[rung] if rung >= 0 else "",
                CLIENTS[client],
            )
        )
    servers = [
        (text(int(found["site"][row])) or "", text(int(found["server_ip"][row])) or "")
        for row in of_server.first.tolist()
    ]
    return Replayed(of_server.number, servers, alike.number, forms)


def _kinds(found: tables.Columns, rows: TableSet) -> Ints:
    """What kind of use each row is."""
    code = rows.texts.code
    resource, operation, interface = found["resource"], found["operation"], found["interface"]
    has_operation, has_interface = operation >= 0, interface >= 0
    different = np.unique(operation[has_operation])
    fsctl = [number for number in different.tolist() if (rows.texts.text(number) or "").startswith("FSCTL_")]
    shares = rows.columns("trees", "share", "kind")
    disks = np.unique(shares["share"][shares["kind"] != tables.TREE_KIND.index("pipe")])
    pipes = np.unique(rows.columns("pipe_opens", "pipe")["pipe"])
    cases: Sequence[tuple[Mask, str]] = (
        (resource < 0, "session"),
        (has_operation & (operation == code(WAIT)), "wait"),
        (np.isin(operation, fsctl) & has_operation, "control"),
        (has_interface & has_operation, "call"),
        (has_interface, "bind"),
        ((resource == code("rap")) & has_operation, "rap"),
        ((resource == code("dfs")) & has_operation, "dfs"),
        ((resource == code("IPC$")) & ~has_operation, "ipc"),
        (has_operation & (resource == code("IPC$")), "control"),
        (has_operation, "call"),
        (np.isin(resource, disks) & ~np.isin(resource, pipes), "disk"),
    )
    return np.select([holds for holds, _ in cases], [_KIND[name] for _, name in cases], _KIND["pipe"])


def _clients(found: tables.Columns, rows: TableSet) -> Ints:
    """What the client of each row is by its own word: a place in `CLIENTS`. Software that may be one of two is not known."""
    different, place = np.unique(found["client_software"], return_inverse=True)
    said = ["" if code < 0 else (rows.texts.text(code) or "") for code in different.tolist()]
    known = [
        ""
        if not text or " or " in text
        else next((it for it in ("windows", "samba") if it in text.casefold()), "other")
        for text in said
    ]
    return np.array([CLIENTS.index(name) for name in known], dtype=np.int64)[place]


def _unseen(found: tables.Columns, kind: Ints, rows: TableSet) -> Ints:
    """Rows behind which more was done than the captures show: `CALLS_UNSEEN`, `ALL_UNSEEN`, or 0.

    Through a pipe something went of which no call could be read; or what was done in a session is not known at all.
    """
    connections = rows.columns(
        "connections", "connection_id", *KEY, "missing_bytes", "encrypted_messages", "compressed_messages", "directions"
    )
    opens = rows.columns(
        "pipe_opens", "open_key", "connection_id", "pipe", "bytes_written", "bytes_read", "inferred", "form"
    )
    read = np.append(rows.columns("calls", "open_key")["open_key"], rows.columns("binds", "open_key")["open_key"])
    used = (opens["bytes_written"] > 0) | (opens["bytes_read"] > 0) | opens["inferred"]
    used &= (opens["form"] != tables.PIPE_FORM.index("other")) & ~np.isin(opens["open_key"], read[read >= 0])
    at = places(opens["connection_id"], connections["connection_id"])
    dark = np.flatnonzero(used & (at >= 0))
    keys = [looked_up(connections[name], at[dark], NONE) for name in KEY]
    through = places_of([found[name] for name in (*KEY, "resource")], [*keys, opens["pipe"][dark]]) >= 0
    gaps = np.isin(connections["directions"], (1, 2)) | (connections["missing_bytes"] > 0)
    gaps |= (connections["encrypted_messages"] > 0) | (connections["compressed_messages"] > 0)
    lossy = places_of([found[name] for name in KEY], [connections[name][gaps] for name in KEY]) >= 0
    different, place = np.unique(found["evidence"], return_inverse=True)
    regular = np.array(["probe.regular" in (rows.texts.text(code) or "") for code in different.tolist()], dtype=bool)[
        place
    ]
    is_session = np.isin(kind, (_KIND["session"], _KIND["ipc"]))
    doubtful = is_session & (found["verdict"] == tables.VERDICT.index("unknown")) & (~regular | lossy)
    calls = ((kind == _KIND["pipe"]) & through) | (kind == _KIND["bind"])
    return np.where(doubtful, ALL_UNSEEN, np.where(calls, CALLS_UNSEEN, 0))


@cache
def _interfaces_of(pipe: str | None) -> tuple[str | None, ...]:
    """The interfaces that a pipe is known to carry; None among them: it may be any."""
    known = tuple(row["name"] for row in rpc_interfaces() if pipe is not None and pipe in row["pipes"].split("|"))
    return known or (None,)


def _opened_by_call(found: tables.Columns, rows: TableSet) -> Mask:
    """Rows whose pipe was (also) opened by CallNmPipe, on the same server by the same client."""
    opens = rows.columns("pipe_opens", "connection_id", "pipe", "via")
    connections = rows.columns("connections", "connection_id", *KEY)
    at = places(opens["connection_id"], connections["connection_id"])
    called = np.flatnonzero((opens["via"] == tables.VIA.index("call_nmpipe")) & (at >= 0))
    keys = [looked_up(connections[name], at[called], NONE) for name in KEY]
    wanted = [found[name] for name in (*KEY, "resource")]
    return places_of(wanted, [*keys, opens["pipe"][called]]) >= 0


def _dialects(found: tables.Columns, rows: TableSet) -> tuple[Ints, list[list[int]]]:
    """For each row which of the returned sets of dialects its client speaks with its server."""
    connections = rows.columns("connections", *KEY, "dialect")
    codes = np.unique(connections["dialect"])
    number = np.array(
        [0 if code < 0 else DIALECTS.get(rows.texts.text(code) or "", SMB1) for code in codes.tolist()], dtype=np.int64
    )
    bit_of = {value: place for place, value in enumerate(sorted({0, SMB1, *DIALECTS.values()}))}
    bits = np.array([1 << bit_of[value] for value in number.tolist()], dtype=np.int64)
    of_row = bits[np.searchsorted(codes, connections["dialect"])] if len(codes) else np.empty(0, dtype=np.int64)
    pairs = Groups(*[connections[name] for name in KEY])
    sums = np.zeros(len(pairs), dtype=np.int64)
    for bit in range(len(bit_of)):
        sums |= (pairs.sums(of_row >> bit & 1) > 0).astype(np.int64) << bit
    at = places_of([found[name] for name in KEY], [connections[name][pairs.first] for name in KEY])
    mine = looked_up(sums, at, 1)
    different, place = np.unique(mine, return_inverse=True)
    sets = []
    for mask in different.tolist():
        spoken = [value for value, bit in bit_of.items() if mask >> bit & 1]
        sets.append(list(ALL_DIALECTS) if 0 in spoken or not spoken else spoken)
    return place, sets


def _asked_anonymous(found: tables.Columns, rows: TableSet) -> Mask:
    """Rows whose client never gave a name in the sessions in which it is guest. Others are not asked about."""
    sessions = rows.columns("sessions", *KEY, "identity", "asked")
    guests = sessions["identity"] == tables.IDENTITY.index("guest")
    named = guests & (sessions["asked"] != tables.ASKED.index("anonymous"))
    wanted: list[Numbers] = [found[name] for name in KEY]
    return places_of(wanted, [sessions[name][named] for name in KEY]) < 0
