"""What a policy would do to what was seen, as the page is given it: plain tables, which are counted here and not judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from analyzer import tables
from analyzer.errors import UsageError
from analyzer.policy.replay import label
from analyzer.report import whatif
from analyzer.report.html.words import shown

if TYPE_CHECKING:
    from analyzer import policy
    from analyzer.groups import Mask
    from analyzer.policy.replay import WhatIf
    from analyzer.policy.servers import Server

OUTCOMES = ("breaks", "cannot_be_known", "still_works", "refused_today")
"""In the order in which they are shown; others come last."""
OUTCOME_COLUMNS = ("server", "row", "outcome", "setting", "why", "source")


class Line(NamedTuple):
    """Rows of one server with the same outcome for the same reason. row: the first of them, by its place."""

    server: str
    outcome: str
    setting: str
    why: str
    source: str
    row: int
    places: tuple[int, ...]

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.places)

    @property
    def place(self) -> int:
        """Where its outcome is shown among others."""
        return OUTCOMES.index(self.outcome) if self.outcome in OUTCOMES else len(OUTCOMES)


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A policy by its name.

    outcomes: `OUTCOME_COLUMNS`: what becomes of rows of `dependencies` (`row`: their places, from 0) and which setting decides.
    Rows of scanners that the user leaves out do not belong to them. sets: what it sets, a text a setting. servers: what is
    known of servers, by the names that they have in `outcomes`. notes: what a person should know of it, by titles.
    Raises UsageError if a column is missing.
    """

    name: str
    outcomes: pa.Table | None = None
    sets: Sequence[str] = ()
    servers: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.outcomes is not None and (missing := set(OUTCOME_COLUMNS) - set(self.outcomes.column_names)):
            raise UsageError(f"policy {self.name}: there is no column {', '.join(sorted(missing))}")

    def lines(self) -> list[Line]:
        """The outcomes of each server, alike ones together; what breaks stands first."""
        if self.outcomes is None or not len(self.outcomes):
            return []
        by = [name for name in OUTCOME_COLUMNS if name != "row"]
        texts = pa.table({name: _texts(self.outcomes[name]) for name in by} | {"row": self.outcomes["row"]})
        lines = []
        for told in texts.group_by(by).aggregate([("row", "list")]).to_pylist():
            server, outcome, setting, why, source = (shown(told[name]) for name in by)
            places = tuple(sorted(told["row_list"]))
            lines.append(Line(server, outcome, setting, why, source, places[0], places))
        return sorted(lines, key=lambda line: (line.place, line.server, -line.rows, line.row))

    def by_server(self) -> list[tuple[str, list[Line]]]:
        """The lines of each server; that on which most would break stands first, then where most cannot be known."""
        found: dict[str, list[Line]] = {}
        for line in self.lines():
            found.setdefault(line.server, []).append(line)
        return sorted(found.items(), key=lambda one: (*(-_rows(one[1], name) for name in OUTCOMES[:2]), one[0]))

    def by_row(self, count: int) -> pa.Array:
        """For each of so many rows of `dependencies` what becomes of it, in words."""
        told: list[str | None] = [None] * count
        if self.outcomes is not None:
            columns = [self.outcomes[name].to_pylist() for name in ("row", "outcome", "setting", "why")]
            for row, outcome, *more in zip(*columns, strict=True):
                if 0 <= row < count:
                    told[row] = ": ".join([outcome.replace("_", " "), *filter(None, more)])
        return tables.listed(told)


def replayed(name: str, found: WhatIf, policies: Mapping[str, policy.Policy] | None = None) -> Policy:
    """What `analyzer.policy.whatif` found, for the page. policies: those that it was given, to tell what they set."""
    notes = {
        "The captures contradict what is said of today": whatif.contradictions(found),
        "Please note": found.warnings,
        "Other names of what is closed": found.aliases,
        "Access lists decide, and no capture shows them; nullsession whatif prints a script that collects them": [
            f"{server}: {', '.join(' '.join(one) for one in those)}" for server, those in found.access_lists.items()
        ],
        "What this does not cover": found.caveats,
    }
    return Policy(
        name,
        outcomes(found, np.ones(len(found.servers), dtype=bool)),
        [line for of, each in (policies or {}).items() for line in settings_of(each, of)],
        {label(server): known(server) for server in found.servers},
        {title: lines for title, lines in notes.items() if lines},
    )


def outcomes(found: WhatIf, which: Mask) -> pa.Table:
    """What becomes of each row, but for those of scanners, on these of the servers (one truth for each)."""
    counting = ~tables.TableSet({"dependencies": found.dependencies}).columns("dependencies", "excluded")["excluded"]
    rows = np.flatnonzero(counting & which[found.data.server])
    judgement = found.judgement[rows]
    columns = {"server": _coded(found.data.server[rows], [label(server) for server in found.servers])}
    for name in OUTCOME_COLUMNS[2:]:
        columns[name] = _coded(judgement, [getattr(each, name) for each in found.judgements])
    return pa.table(columns | {"row": pa.array(rows)})


def settings_of(given: policy.Policy, of: str = "") -> list[str]:
    """What a policy sets, a text a setting. of: the server it is for; empty: for all."""
    at = f"{of}: " if of else ""
    told = [f"{at}{name} = {whatif.written(value.value)}" for name, value in given.settings.items()]
    for share, options in given.shares.items():
        told += [f"{at}[{share}] {option} = {whatif.written(value.value)}" for option, value in options.items()]
    return told


def known(server: Server) -> str:
    """What a server is, and how that is known."""
    if server.family is None:
        return f"System not known{': ' + server.conflict if server.conflict else ''}"
    system = f"{server.family.capitalize()}{f', build {server.build}' if server.build is not None else ''}"
    role = {"dc": "domain controller", "member": "member server"}.get(server.role or "", "role not known")
    return "; ".join(filter(None, (f"{system}, {role}", server.known_by)))


def uses(lines: Sequence[Line], dependencies: pa.Table) -> dict[int, tuple[list[str], list[str]]]:
    """Whose rows lines have and what was used there, by the row that a line names: clients, and resources with operations."""
    asked = sorted({place for line in lines for place in line.places if 0 <= place < len(dependencies)})
    columns = ("client", "client_ip", "resource", "operation")
    told = dependencies.select(columns).take(tables.ints(np.array(asked, dtype=np.int64))).to_pylist()
    rows = dict(zip(asked, told, strict=True))
    found = {}
    for line in lines:
        mine = [rows[place] for place in line.places if place in rows]
        clients = clients_of(mine)
        used = dict.fromkeys(
            shown(" ".join(filter(None, (row["resource"], row["operation"]))) or "login") for row in mine
        )
        found[line.row] = clients, list(used)
    return found


def clients_of(rows: Sequence[Mapping[str, str | None]]) -> list[str]:
    """The clients of rows, each once: by name, with the address where several have that name; and the application if told."""
    found = dict.fromkeys((row["client"], row["client_ip"], row.get("application")) for row in rows)
    addresses: dict[str | None, set[str | None]] = {}
    for name, ip, _ in found:
        addresses.setdefault(name, set()).add(ip)
    return [
        shown(" ".join(filter(None, (name, ip if not name or len(addresses[name]) > 1 else "", what and f"({what})"))))
        for name, ip, what in found
    ]


def _rows(lines: Sequence[Line], outcome: str) -> int:
    return sum(line.rows for line in lines if line.outcome == outcome)


def _coded(places: np.ndarray[tuple[int], np.dtype[np.int64]], texts: Sequence[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(places, pa.int64()), pa.array(texts, pa.string()))


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.large_string()).fill_null("")
