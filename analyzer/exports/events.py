"""Rows of the tables as events: each with the ends of its connection, its session, and the verdict that it counted for.

All columns are Arrow's; texts are dictionaries of them, so that what is done to a text is done once for each different one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analyzer import tables
from analyzer.analysis import Analysis
from analyzer.groups import Mask, Numbers, looked_up, places, places_of
from analyzer.sessions.joins import NONE, Ints
from analyzer.summary.dependencies import KEY, OF_RESOURCE, attributed_uses
from analyzer.tables import Columns, TableSet

TABLES = (
    "connections", "sessions", "channels", "trees", "pipe_opens", "binds", "calls", "credentialed_uses", "disk_opens", "hosts",
    "endpoint_processes", "dependencies",
)  # fmt: skip
ENDS = ("client_ip", "client_port", "server_ip", "server_port")
OF_CONNECTION = (*ENDS, "dialect", "client_guid", "server_guid")
OF_SESSION = ("session_id", "asked", "identity", "confidence", "evidence", "user")
UID_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
UID_SIZE = 17
"""Letters of a connection's name behind the first, as Zeek's default of 96 bits takes."""
FLOW_BITS = 51
"""Suricata's numbers of flows fit into what JSON readers keep of a number."""


@dataclass(frozen=True, slots=True)
class Events:
    """Columns by name, all of the same length."""

    columns: dict[str, pa.Array]
    length: int

    def __getitem__(self, name: str) -> pa.Array:
        return self.columns[name]


def only(events: Events, which: Mask) -> Events:
    """Some of the events."""
    kept = tables.ints(np.flatnonzero(which))
    return Events({name: column.take(kept) for name, column in events.columns.items()}, len(kept))


def whole(column: Any) -> pa.Array:
    """A column of a table in one piece."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


class Told:
    """What is asked of an analysis, some of it once for all events."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.rows = TableSet({name: analysis.arrow(name) for name in TABLES})
        self._verdicts = _verdicts_of_uses(analysis, self.rows)
        self._names = _connection_names(self.rows)

    def events(self, table: str, time: str, key: Callable[[Columns], list[Numbers]] | None = None) -> Events:
        """The rows of a table in the order of time, with `ts`, and what connection and session add, where they have no such
        column themselves: `OF_CONNECTION`, `OF_SESSION`, `uid`, `flow_id`, `verdict`.

        key: what the uses of a row have in common with it, besides session and connection: of columns of the table; None: only
        the session.
        """
        source = self.analysis.arrow(table)
        when = self.rows.columns(table, time)[time]
        order = np.lexsort((np.arange(len(when)), when))
        taken = source.take(tables.ints(order))
        found = {name: whole(taken[name]) for name in taken.column_names}
        ids = self.rows.columns(table, "session_key", "connection_id")
        connection = self._places("connections", "connection_id", ids["connection_id"][order])
        session = self._places("sessions", "session_key", ids["session_key"][order])
        for name in OF_CONNECTION:
            found.setdefault(name, self._looked_up("connections", name, connection))
        for name in OF_SESSION:
            found.setdefault(name, self._looked_up("sessions", name, session))
        found["uid"] = tables.chosen(connection, self._names[0])
        found["flow_id"] = tables.ints(looked_up(np.array([*self._names[1]], dtype=np.int64), connection, NONE))
        found["ts"] = found[time]
        found["verdict"] = self._verdict(table, key, order)
        return Events(found, len(order))

    def use_of_call(self, calls: Columns) -> list[Numbers]:
        """By what a call is found among the uses: resource, interface, operation."""
        text = self.rows.texts
        protocols = np.array([text.code(name) for name in tables.CALL_PROTOCOL])
        resource = looked_up(protocols, calls["protocol"], NONE)
        pipe = np.where(calls["pipe"] >= 0, calls["pipe"], text.code("(pipe not captured)"))
        asked = np.where(calls["name"] >= 0, calls["name"], text.code("IPC$"))
        resource = np.where(calls["protocol"] == tables.CALL_PROTOCOL.index("dcerpc"), pipe, resource)
        resource = np.where(calls["protocol"] == tables.CALL_PROTOCOL.index("fsctl"), asked, resource)
        return [resource, calls["interface"], calls["operation"]]

    def looked_up(self, table: str, key: str, wanted: pa.Array, column: str) -> pa.Array:
        """A column of another table, by its key."""
        return self._looked_up(table, column, self._places(table, key, tables.filled(wanted)))

    def _places(self, table: str, key: str, wanted: Numbers) -> Ints:
        return places(wanted, self.rows.columns(table, key)[key])

    def _looked_up(self, table: str, column: str, place: Ints) -> pa.Array:
        return whole(self.analysis.arrow(table)[column]).take(tables.ints(place))

    def _verdict(self, table: str, key: Callable[[Columns], list[Numbers]] | None, order: Ints) -> pa.Array:
        """The first verdict that holds for any use that a row stands for; missing where it counted for none."""
        names = [column.name for column in tables.TABLES[table]]
        mine = self.rows.columns(
            table, *[name for name in names if name in ("session_key", "connection_id", "resource")]
        )
        if key is None:
            wanted, known = [mine["session_key"]], [self._verdicts["session_key"]]
        else:
            more = ("pipe", "share", "interface", "operation", "protocol", "name")
            mine |= self.rows.columns(table, *[name for name in names if name in more])
            asked = key(mine)
            named = ("resource", "interface", "operation")[: len(asked)]
            wanted = [mine["session_key"], mine["connection_id"], *asked]
            known = [self._verdicts[name] for name in ("session_key", "connection_id", *named)]
        best = np.argsort(self._verdicts["verdict"], kind="stable")  # the first of the same key is the one that holds
        place = places_of(wanted, [column[best] for column in known])
        place = np.where(wanted[0] >= 0, place, NONE)
        found = looked_up(self._verdicts["verdict"][best], place, NONE)
        return tables.places_in(found[order], tables.VERDICT)


def _verdicts_of_uses(analysis: Analysis, rows: TableSet) -> Columns:
    """For each use the verdict of the row of dependencies that it is in."""
    uses = attributed_uses(rows, analysis.judging.rules if analysis.judging else (), analysis.counts)
    known = rows.columns("dependencies", *KEY, "verdict")
    row = places_of([uses[name] for name in KEY], [known[name] for name in KEY])
    # Results that were made with rules, which are not in them, have other applications than what is told without.
    other = places_of([uses[name] for name in OF_RESOURCE], [known[name] for name in OF_RESOURCE])
    names = ("session_key", "connection_id", "resource", "interface", "operation")
    verdict = looked_up(known["verdict"], np.where(row >= 0, row, other), NONE).astype(np.int64)
    of = verdict >= 0
    return {name: uses[name][of] for name in names} | {"verdict": verdict[of]}


def _connection_names(rows: TableSet) -> tuple[list[str], list[int]]:
    """For each connection a name and a number, the same whenever the same connection is read."""
    found = rows.columns("connections", "site", *ENDS, "first_seen")
    texts = rows.texts
    columns = [
        [texts.text(code) for code in found[name].tolist()]
        if name in ("site", "client_ip", "server_ip")
        else found[name].tolist()
        for name in ("site", *ENDS, "first_seen")
    ]
    names, numbers = [], []
    for ends in zip(*columns, strict=True):
        value = int.from_bytes(hashlib.blake2b(repr(ends).encode(), digest_size=16).digest(), "big")
        numbers.append(value >> (128 - FLOW_BITS))
        letters = ""
        for _ in range(UID_SIZE):
            value, letter = divmod(value, len(UID_LETTERS))
            letters += UID_LETTERS[letter]
        names.append("C" + letters)
    return names, numbers


# Texts of columns. #


def each_text(array: pa.Array, spell: Callable[[str], str]) -> pa.Array:
    """`spell(text)` for each text; it is called once for each different one."""
    if not pa.types.is_dictionary(array.type):
        array = array.cast(pa.large_string()).dictionary_encode()
    spelt = tables.strings([spell(text) for text in array.dictionary.to_pylist()])
    return spelt.take(array.indices)


def seconds(times: pa.Array) -> pa.Array:
    """Times as seconds since 1970 with six digits behind the point, as Zeek writes them; what is less is cut off."""
    ns = times.cast(pa.int64())
    micro = pc.divide(ns, 1000)
    whole_ = pc.divide(micro, 1_000_000)
    rest = pc.subtract(micro, pc.multiply(whole_, 1_000_000))
    digits = pc.utf8_lpad(rest.cast(pa.large_string()), width=6, padding="0")
    return pc.binary_join_element_wise(whole_.cast(pa.large_string()), digits, one("."))


def iso(times: pa.Array) -> pa.Array:
    """Times as Suricata writes them: 2026-11-30T14:25:41.000000+0000."""
    naive = pc.multiply(pc.divide(times.cast(pa.int64()), 1000), 1).cast(pa.timestamp("us"))
    text = pc.replace_substring(naive.cast(pa.large_string()), " ", "T")
    return pc.binary_join_element_wise(text, one("+0000"), one(""))


def one(text: str) -> pa.Scalar:
    """A text for all rows."""
    return tables.strings([text])[0]


def objects(members: Mapping[str, pa.Array]) -> pa.Array:
    """JSON objects, each of those of its members that are there; these are pieces of JSON, at least one column of them."""
    # Arrow leaves out rows of which nothing is there if told to skip what is missing, so each brings its own comma.
    named = [pc.binary_join_element_wise(one(f',"{name}":'), values, one("")) for name, values in members.items()]
    inside = pc.binary_join_element_wise(*named, one(""), null_handling="replace", null_replacement="")
    return pc.binary_join_element_wise(one("{"), pc.utf8_slice_codeunits(inside, 1), one("}"), one(""))
