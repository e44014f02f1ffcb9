"""What became of each dependency, as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from analyzer import tables
from analyzer.comparison import Comparison
from analyzer.comparison.columns import CHANGE
from analyzer.groups import Groups
from analyzer.report.layout import GAP, Column, row_lines, show, show_text, title_line, wrapped
from analyzer.report.terminal import INDENT, duration, printable
from analyzer.sessions.joins import Ints

MOST_ROWS = 60
"""Rows that are printed; `--format csv` has all."""
MOST_OPERATIONS = 6
SAME_AS_BEFORE = ("unchanged", "no_dependent")
STYLES = {
    "newly_refused": "bold red", "newly_failing": "bold red", "new": "red", "verdict_changed": "yellow", "moved": "green",
    "gone": "green", "not_observed": "yellow",
}  # fmt: skip
SENTENCES = {
    "newly_refused": ("use is refused now that worked before", "uses are refused now that worked before"),
    "newly_failing": ("use fails now that worked before", "uses fail now that worked before"),
    "new": ("dependent use is new", "dependent uses are new"),
    "verdict_changed": ("use is judged otherwise", "uses are judged otherwise"),
    "moved": ("use is made with credentials now", "uses are made with credentials now"),
    "gone": ("use is gone, as far as can be seen", "uses are gone, as far as can be seen"),
    "not_observed": (
        "use was not observed again, which proves nothing",
        "uses were not observed again, which proves nothing",
    ),
    "unchanged": ("use is as before", "uses are as before"),
}


def render(found: Comparison, console: Console) -> None:
    """Print the whole outcome."""
    for line, style in _summary(found):
        show_text(line, console, style)
    change = tables.filled(tables.one_array(found.table["change"]).indices)
    rows = np.flatnonzero(~np.isin(change, [CHANGE.index(name) for name in SAME_AS_BEFORE]))
    if not len(rows):
        return
    console.print()
    groups = _alike(rows, found)
    shown = [found.table.take(tables.ints(members)).to_pylist() for members in groups[:MOST_ROWS]]
    columns = [
        Column("Change", [_change(some[0]) for some in shown]),
        Column(
            "Resource", [Text(printable(some[0]["resource"]) or "(login)") for some in shown], most=console.width // 3
        ),
        Column("Before", [Text(some[0]["verdict_before"] or "-") for some in shown]),
        Column("After", [Text(some[0]["verdict_after"] or "-") for some in shown]),
    ]
    show([title_line(columns, INDENT)], console)
    pairs: dict[str, list[int]] = {}
    headings: dict[str, Text] = {}
    for number, some in enumerate(shown):
        site = Text(f"{printable(some[0]['site'])}: " if some[0]["site"] else "")
        heading = site.append_text(_host(some[0], "client")).append(" -> ").append_text(_host(some[0], "server"))
        headings.setdefault(heading.plain, heading)
        pairs.setdefault(heading.plain, []).append(number)
    below = INDENT + columns[0].width + GAP
    for name, numbers in pairs.items():
        show(wrapped(headings[name], console, console.width, hanging=INDENT), console)
        for number in numbers:
            show(row_lines(columns, number, console, INDENT), console)
            for line, style in _details(shown[number]):
                show_text(line, console, style, below)
    if len(groups) > MOST_ROWS:
        show_text(f"... and {len(groups) - MOST_ROWS:,} more; --format csv prints all", console, "dim")


def _summary(found: Comparison) -> Iterator[tuple[str, str]]:
    numbers = found.numbers()
    told = [name for name in SENTENCES if numbers[name]]
    if not told:
        yield "No null-session use was seen, neither before nor after.", "bold"
    for name in told:
        one, several = SENTENCES[name]
        yield f"{numbers[name]:,} {one if numbers[name] == 1 else several}.", "" if name in ("unchanged",) else "bold"
    before, after = found.seconds
    yield (
        f"Observed for {duration(before)} before and {duration(after)} after. What runs less often proves nothing by its absence.",
        "dim",
    )
    for note in found.notes:
        yield f"Mind: {note}.", "yellow"
    if found.left_out:
        yield f"{found.left_out:,} rows of scanners by your own rules are left out.", "dim"


def _alike(rows: Ints, found: Comparison) -> list[Ints]:
    """Rows that differ in what was called only, in the table's order."""
    columns = tables.TableSet({"comparison": found.table}).columns(
        "comparison", "change", "site", "client_ip", "server_ip", "resource", "verdict_before", "verdict_after", "refused_at",
        "status", "reason",
    )  # fmt: skip
    alike = Groups(*[column[rows] for column in columns.values()])
    order = np.argsort(alike.number, kind="stable")
    members = np.split(rows[order], np.cumsum(alike.sizes())[:-1])
    return [members[number] for number in np.argsort(alike.first).tolist()]


def _change(row: dict[str, Any]) -> Text:
    return Text(row["change"].replace("_", " "), STYLES.get(row["change"], ""))


def _details(some: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """What was called, why it is judged so, and where to look; with styles."""
    row = some[0]
    operations = [printable(each["operation"]) for each in some if each["operation"] is not None]
    if operations:
        more = f" and {len(operations) - MOST_OPERATIONS} more" if len(operations) > MOST_OPERATIONS else ""
        yield ", ".join(operations[:MOST_OPERATIONS]) + more, ""
    if row["reason"]:
        yield printable(row["reason"]), ""
    if places := ", ".join(filter(None, (_place(row, "before"), _place(row, "after")))):
        yield places, "dim"


def _host(row: dict[str, Any], end: str) -> Text:
    """Name and address; the other address too, and how it is known to be the same, if there is one."""
    address, later = printable(row[f"{end}_ip"]), printable(row[f"{end}_ip_after"])
    text = Text(printable(row[end]) or address, "bold")
    if row[end]:
        text.append(f" ({address})", "not bold")
    if later and later != address:
        text.append(f", now {later}, by {printable(row[f'{end}_matched_by'])}", "not bold")
    return text


def _place(row: dict[str, Any], when: str) -> str:
    if row[f"frame_{when}"] is None:
        return ""
    name = printable((row[f"capture_{when}"] or "").replace("\\", "/").rpartition("/")[2])
    return f"{when}: {name} frame {row[f'frame_{when}']}"
