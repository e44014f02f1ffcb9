"""What a use is for, by what was asked for: rows of `knowledge/applications.csv`, of which the first that fits holds.

A row names any of pipe (or share: pipes are in small letters, shares in capitals, and both are told apart), interface and
operations, as patterns; what else must (`needs`) or must not (`excludes`) have been asked for in the same session; and gives
the function and, where that tells it, the application. Where no row fits, the service behind a known pipe or interface is
the function.

Uses that are the same but for their session are looked at once. Only where a row asks for the rest of the session are they
looked at one by one, all at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from analyzer import knowledge, tables
from analyzer.attribution.matching import Distinct, Says, by_row, first_of, globs
from analyzer.groups import Groups, Mask, Numbers
from analyzer.sessions.joins import NONE, Ints
from analyzer.tables import Columns, TableSet

CONFIDENCE = {"high": tables.CONFIDENCE.index("strong"), "medium": tables.CONFIDENCE.index("weak")}
"""How sure an application is that a pattern or a fingerprint of this confidence tells. One of low confidence tells none."""


class Pattern(NamedTuple):
    """A row of `applications`, with what it asks of each text; None: nothing."""

    function: str
    application: str
    operation_class: str
    confidence: int
    pipe: Says | None
    interface: Says | None
    operations: Says | None
    needs: Says | None
    excludes: Says | None


def functions(uses: Columns, rows: TableSet) -> Columns:
    """For each use `function`, `operation_class` and `application` (codes of `rows.texts`), and `confidence` of the last."""
    kinds = Groups(uses["resource"], uses["interface"], uses["operation"])
    kind = {name: uses[name][kinds.first] for name in ("resource", "interface", "operation")}
    fits = _fits(kind, rows)
    found = _chosen(uses, rows, kinds, fits)
    texts, patterns = rows.texts, _patterns()
    told = [pattern.application != "" and pattern.confidence >= 0 for pattern in patterns]
    of_pattern = {
        "function": [texts.code(pattern.function) for pattern in patterns],
        "operation_class": [texts.code(it.operation_class) if it.operation_class else NONE for it in patterns],
        "application": [
            texts.code(it.application) if tells else NONE for it, tells in zip(patterns, told, strict=True)
        ],
        "confidence": [it.confidence if tells else NONE for it, tells in zip(patterns, told, strict=True)],
    }
    made = {name: by_row(values, found) for name, values in of_pattern.items()}
    service, of_operation = (column[kinds.number] for column in _by_name(kind, rows))
    made["function"] = np.where(made["function"] >= 0, made["function"], service)
    # What is known of the operation itself counts for more than what its pattern says of all of its operations.
    made["operation_class"] = np.where(of_operation >= 0, of_operation, made["operation_class"])
    return made


@cache
def _patterns() -> list[Pattern]:
    def says(row: dict[str, str], column: str) -> Says | None:
        return globs(row[column].split("|"), any_case=False) if row[column] else None

    columns = ("pipe", "interface", "operations", "needs", "excludes")
    return [
        Pattern(
            row["function"],
            row["application"],
            row["class"],
            CONFIDENCE.get(row["confidence"], NONE),
            *(says(row, column) for column in columns),
        )
        for row in knowledge.rows("applications")
    ]


def _fits(kind: Columns, rows: TableSet) -> list[Mask]:
    """For each pattern which kinds of uses it fits, whatever else their sessions hold."""
    resource, interface, operation = (
        Distinct(kind[name], rows.texts.text) for name in ("resource", "interface", "operation")
    )
    everything = np.ones(len(kind["resource"]), dtype=bool)
    found = []
    for pattern in _patterns():
        fits = everything
        for column, says in ((resource, pattern.pipe), (interface, pattern.interface), (operation, pattern.operations)):
            if says is not None:
                fits = fits & column.are(says)
        found.append(fits)
    return found


def _chosen(uses: Columns, rows: TableSet, kinds: Groups, fits: Sequence[Mask]) -> Ints:
    """For each use the number of its pattern."""
    patterns = _patterns()
    asks = [pattern.needs is not None or pattern.excludes is not None for pattern in patterns]
    free = [mask if not asking else np.zeros_like(mask) for mask, asking in zip(fits, asks, strict=True)]
    found = first_of(free, len(kinds))[kinds.number]
    asking = [number for number in range(len(patterns)) if asks[number] and fits[number].any()]
    if asking:
        sessions = _Sessions(uses, rows)
        for number in reversed(asking):
            pattern = patterns[number]
            wanted = np.flatnonzero(fits[number][kinds.number])
            # A row without conditions that stands before it holds.
            wanted = wanted[(found[wanted] < 0) | (found[wanted] > number)]
            which = np.ones(len(wanted), dtype=bool)
            if pattern.needs is not None:
                which &= sessions.have(pattern.needs)[wanted]
            if pattern.excludes is not None:
                which &= ~sessions.have(pattern.excludes)[wanted]
            found[wanted[which]] = number
    return found


class _Sessions:
    """What else was asked for in the session of a use, or on its connection where no session is known."""

    def __init__(self, uses: Columns, rows: TableSet) -> None:
        key, connection = uses["session_key"].astype(np.int64), uses["connection_id"].astype(np.int64)
        self._number = Groups(np.where(key >= 0, 2 * key, 2 * connection + 1)).number
        self._operation = Distinct(uses["operation"], rows.texts.text)
        self._size = int(self._number.max(initial=-1)) + 1

    def have(self, says: Says) -> Mask:
        """For each use whether its session has such an operation."""
        there = np.zeros(self._size, dtype=bool)
        there[self._number[self._operation.are(says)]] = True
        found: Mask = there[self._number]
        return found


@cache
def _services() -> tuple[dict[str, str], dict[str, str], dict[tuple[str, str], str]]:
    """Services by pipe, what interfaces are, classes of operations by the names of interface and operation."""
    pipes = {row["pipe"]: row["service"] for row in knowledge.rows("pipes")}
    interfaces: dict[str, str] = {}
    names: dict[str, str] = {}
    for row in knowledge.rpc_interfaces():
        interfaces.setdefault(row["name"], row["description"])
        names.setdefault(row["uuid"], row["name"])
    classes: dict[tuple[str, str], str] = {}
    for row in knowledge.rpc_operations():
        classes.setdefault((names[row["uuid"]], row["name"]), row["class"])
    return pipes, interfaces, classes


def _by_name(kind: Columns, rows: TableSet) -> tuple[Numbers, Numbers]:
    """For each kind of use the service behind its interface or pipe, and the class of its operation."""
    pipes, interfaces, classes = _services()
    text = rows.texts.text
    services, found = [], []
    for resource, interface, operation in zip(*(column.tolist() for column in kind.values()), strict=True):
        service = interfaces.get(text(interface) or "") or pipes.get(text(resource) or "")
        services.append(NONE if service is None else rows.texts.code(service))
        of_operation = classes.get((text(interface) or "", text(operation) or ""))
        found.append(NONE if of_operation is None else rows.texts.code(of_operation))
    return np.array(services, dtype=np.int64), np.array(found, dtype=np.int64)
