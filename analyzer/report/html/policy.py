"""What a policy would do to what was seen, as the page is given it: plain tables, which are counted here and not judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from analyzer import tables
from analyzer.errors import UsageError
from analyzer.report.html.words import shown

OUTCOMES = ("breaks", "cannot_be_known", "still_works", "refused_today")
"""In the order in which they are shown; others come last."""
OUTCOME_COLUMNS = ("server", "row", "outcome", "setting", "why", "source")
SETTING_COLUMNS = ("server", "setting", "value", "why", "source")


class Line(NamedTuple):
    """Rows of one server with the same outcome for the same reason. row: the first of them, by its place."""

    server: str
    outcome: str
    setting: str
    why: str
    source: str
    row: int
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A policy by its name.

    outcomes: `OUTCOME_COLUMNS`: what becomes of rows of `dependencies` (`row`: their places, from 0) and which setting decides.
    Rows of scanners that the user leaves out do not belong to them.
    settings: `SETTING_COLUMNS`: what is recommended for servers. Raises UsageError if a column is missing.
    """

    name: str
    outcomes: pa.Table | None = None
    settings: pa.Table | None = None

    def __post_init__(self) -> None:
        for given, wanted in ((self.outcomes, OUTCOME_COLUMNS), (self.settings, SETTING_COLUMNS)):
            if given is not None and (missing := set(wanted) - set(given.column_names)):
                raise UsageError(f"policy {self.name}: there is no column {', '.join(sorted(missing))}")

    def lines(self) -> list[Line]:
        """The outcomes of each server, alike ones together; what breaks stands first."""
        if self.outcomes is None or not len(self.outcomes):
            return []
        by = [name for name in OUTCOME_COLUMNS if name != "row"]
        texts = pa.table({name: _texts(self.outcomes[name]) for name in by} | {"row": self.outcomes["row"]})
        found = texts.group_by(by).aggregate([("row", "min"), ("row", "count")]).to_pylist()
        lines = []
        for told in found:
            server, outcome, setting, why, source = (shown(told[name]) for name in by)
            lines.append(Line(server, outcome, setting, why, source, told["row_min"], told["row_count"]))
        place = {name: number for number, name in enumerate(OUTCOMES)}
        return sorted(
            lines, key=lambda line: (place.get(line.outcome, len(OUTCOMES)), line.server, -line.rows, line.row)
        )

    def advice(self) -> list[dict[str, str]]:
        """What is recommended, a line a setting."""
        if self.settings is None:
            return []
        rows = self.settings.select(SETTING_COLUMNS).to_pylist()
        return [{name: shown(text) for name, text in row.items()} for row in rows]

    def by_row(self, count: int) -> pa.Array:
        """For each of so many rows of `dependencies` what becomes of it, in words."""
        told: list[str | None] = [None] * count
        if self.outcomes is not None:
            columns = [self.outcomes[name].to_pylist() for name in ("row", "outcome", "setting", "why")]
            for row, outcome, *more in zip(*columns, strict=True):
                if 0 <= row < count:
                    told[row] = ": ".join([outcome.replace("_", " "), *filter(None, more)])
        return tables.listed(told)


def examples(lines: Sequence[Line], dependencies: pa.Table) -> dict[int, str]:
    """What the rows are that lines name, in a few words."""
    places = sorted({line.row for line in lines if 0 <= line.row < len(dependencies)})
    columns = ("client", "client_ip", "resource", "operation")
    rows = dependencies.select(columns).take(tables.ints(np.array(places, dtype=np.int64))).to_pylist()
    return {
        place: shown(" ".join(filter(None, (row["client"] or row["client_ip"], row["resource"], row["operation"]))))
        for place, row in zip(places, rows, strict=True)
    }


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.large_string()).fill_null("")
