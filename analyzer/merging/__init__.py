"""Results of several runs and sites as one analysis.

In: analyses. Out: one, and what was found more than once. Never opens a file.

`files` finds capture files that several results hold, `copies` connections that were captured twice, `counted` adds what is
only counted, `hosts` joins what is known of addresses. Here all of it is put in canonical order with keys of its own, and
the summaries are made anew.

Nothing is counted twice, and no use is lost: of a connection that two results show, the more complete copy stands, and what
the other one saw before or after it is added. A connection that another result continues becomes one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from analyzer import tables
from analyzer.analysis import Analysis
from analyzer.errors import UsageError
from analyzer.groups import Groups, Mask, combined, looked_up, places
from analyzer.merging import copies, counted, files, hosts
from analyzer.merging.files import Files
from analyzer.merging.stack import KEYS, Stack
from analyzer.sessions.joins import NONE, Ints
from analyzer.summary.coverage import Measure
from analyzer.summary.judging import judging
from analyzer.tables import TableSet

OWN_KEY = {table: key for key, table in KEYS.items() if key != "session_no"}
CAPTURE_COLUMNS = ("capture", "answer_capture")
IN_ORDER = ("connections", "sessions", "trees", "pipe_opens", "binds", "calls")
"""Tables with a key of their own: those before others that refer to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The outcome, and what was found more than once."""

    analysis: Analysis
    files_dropped: int
    """Capture files that an earlier result holds, too."""
    connections_dropped: int
    """Copies of connections that another result shows more of."""
    connections_continued: int
    """Connections that began in one result and went on in another."""
    rules_left: int
    """Results that were made with rules of the administrator's own: these are not kept with results."""

    def sentences(self) -> list[str]:
        """What a person should know of it."""
        told = []
        if self.files_dropped:
            told.append(f"{_count(self.files_dropped, 'capture file')} in several of the results: counted once")
        if self.connections_dropped:
            told.append(f"{_count(self.connections_dropped, 'connection')} captured in several of them: counted once")
        if self.connections_continued:
            told.append(f"{_count(self.connections_continued, 'connection')} continued by another one: joined")
        if self.rules_left:
            told.append(
                "some were made with your own rules, which results do not hold: give --applications, --scanners again"
            )
        return told


def merge(
    analyses: Sequence[Analysis],
    *,
    sites: Sequence[str] = (),
    applications: str | Path | None = None,
    scanners: str | Path | None = None,
    timezone: str | None = None,
    minimum: str | None = None,
) -> Merged:
    """Several analyses as one, as if all their captures had been read together.

    sites: a name for each, where each is a site of its own: the same addresses in two of them are different machines.
    Otherwise sites stay what they are; results of one network have none.
    applications, scanners, timezone, minimum: as of `analyze`. Rules are not kept with results, so they must be given again;
    the others are what all results have in common.
    Raises UsageError if there is nothing to merge, or not a site for each.
    """
    if not analyses:
        raise UsageError("nothing to merge")
    if sites and (len(sites) != len(analyses) or len(set(sites)) != len(sites)):
        raise UsageError("each of the results needs a site of its own")
    names = list(sites) or [""] * len(analyses)
    of_files = files.same_files([analysis.arrow("captures") for analysis in analyses], names)
    stack = Stack(
        [_moved(analysis, of_files, at, site) for at, (analysis, site) in enumerate(zip(analyses, names, strict=True))]
    )
    rows, found = _merged(stack, of_files)
    told = [analysis for analysis, adds in zip(analyses, of_files.adds, strict=True) if adds]
    counts = _sums([analysis.counts for analysis in told])
    if "addresses_shared" in counts:
        shared = TableSet(rows).columns("hosts", "site", "ip", "shared")
        counts["addresses_shared"] = len(Groups(*[shared[name][shared["shared"]] for name in ("site", "ip")]))
    settings = _settings([analysis.settings for analysis in analyses], bool(sites))
    how = judging(
        applications,
        scanners,
        timezone if timezone is not None else settings["timezone"],
        minimum if minimum is not None else settings["minimum"],
    )
    merged = Analysis(rows, counts, settings | how.settings(), how, _logged(told))
    merged.problems_of_logs = list(dict.fromkeys(problem for each in analyses for problem in each.problems_of_logs))
    return Merged(
        analysis=merged,
        files_dropped=of_files.dropped,
        connections_dropped=int(np.count_nonzero(~found.keep & ~found.continues)),
        connections_continued=int(np.count_nonzero(~found.keep & found.continues)),
        rules_left=0 if how.rules else sum(_has_rules(analysis.settings) for analysis in analyses),
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# Put together. #


def _moved(analysis: Analysis, of_files: Files, at: int, site: str) -> dict[str, pa.Table]:
    """The tables of one result with the merged names of files and sites."""
    made = {}
    for name in tables.ROWS:
        table = analysis.arrow(name)
        for column in CAPTURE_COLUMNS:
            if column in table.column_names:
                table = _respelt(table, column, of_files.renamed[at])
        if site and "site" in table.column_names:
            known = tables.one_array(table["site"]).dictionary.to_pylist()
            table = _respelt(table, "site", {old: f"{site}/{old}" if old else site for old in known})
        made[name] = table
    return made


def _respelt(table: pa.Table, column: str, spelling: Mapping[str, str]) -> pa.Table:
    """The table with other texts in a column."""
    array = tables.one_array(table[column])
    old = array.dictionary.to_pylist()
    new = [spelling.get(text, text) for text in old]
    if new == old:
        return table
    values = list(dict.fromkeys(new))
    number = {text: place for place, text in enumerate(values)}
    place = np.array([*[number[text] for text in new], NONE], dtype=np.int32)
    made = tables.coded(place[tables.filled(array.indices)], tables.strings(values))
    return table.set_column(table.column_names.index(column), column, made)


# Which rows stay, in which order, under which keys. #


def _merged(stack: Stack, of_files: Files) -> tuple[dict[str, pa.Table], copies.Copies]:
    found = copies.find(stack)
    keys: dict[str, Ints] = {}
    made = {"captures": _captures(stack, of_files)}
    capture_no = _capture_numbers(made["captures"], stack.set)
    for name in IN_ORDER:
        columns = stack.columns(name, *(column for column in _place_columns(name)), *_keys_of(name))
        columns |= found.changes.get(name, {})
        kept = np.flatnonzero(found.stays[name])
        asked = columns["first_frame" if name == "connections" else "frame"]
        frame = np.where(asked >= 0, asked, columns.get("answer_frame", asked))
        place = looked_up(capture_no, columns["capture"], NONE)
        order = kept[np.lexsort((kept, frame[kept], place[kept]))]
        own = OWN_KEY[name]
        keys[own] = _renumbered(columns[own], found.target[name], order)
        if name == "sessions":
            keys["session_no"] = _by_appearance(columns["session_no"], order)
        made[name] = _taken(stack, name, order, columns, keys)
    for name, order, columns in _others(stack, found, keys, capture_no):
        made[name] = _taken(stack, name, order, columns, keys)
    made["credentialed_uses"] = counted.credentialed_uses(stack, of_files)
    made["other_ways"] = counted.other_ways(stack, of_files)
    made["referrals"] = counted.referrals(stack, of_files)
    made["hosts"] = hosts.joined(stack)
    return {name: made[name] for name in tables.ROWS}, found


def _keys_of(name: str) -> list[str]:
    return [column.name for column in tables.TABLES[name] if column.name in KEYS]


def _place_columns(name: str) -> list[str]:
    wanted = ("capture", "first_frame", "frame", "answer_frame")
    return [column.name for column in tables.TABLES[name] if column.name in wanted]


def _captures(stack: Stack, of_files: Files) -> pa.Table:
    """The files in order of site and time; those without a packet last."""
    columns = stack.set.columns("captures", "site", "first_seen", "capture")
    kept = np.flatnonzero(of_files.keep)
    first = np.where(columns["first_seen"] < 0, np.iinfo(np.int64).max, columns["first_seen"])
    site = tables.ranks(columns["site"], stack.set.texts)
    path = tables.ranks(columns["capture"], stack.set.texts)
    order = kept[np.lexsort((path[kept], first[kept], site[kept]))]
    return _with(stack.tables["captures"], "captures", order, {"capture_no": np.arange(len(order))})


def _capture_numbers(captures: pa.Table, rows: TableSet) -> Ints:
    """The place of a capture by the code of its path."""
    codes = TableSet({"captures": captures})
    path = [
        rows.texts.code(codes.texts.text(code) or "")
        for code in codes.columns("captures", "capture")["capture"].tolist()
    ]
    numbers = np.full(len(rows.texts.values), NONE, dtype=np.int64)
    numbers[path] = np.arange(len(path))
    return numbers


def _renumbered(key: Ints, target: Ints, order: Ints) -> Ints:
    """For each moved key the new one: of its own row, or of the row that stands for it; missing if there is none."""
    place = np.full(len(key) + 1, NONE, dtype=np.int64)
    place[order] = np.arange(len(order))
    new = np.full(int(key.max(initial=NONE)) + 2, NONE, dtype=np.int64)
    new[key] = place[target]
    new[-1] = NONE
    return new


def _by_appearance(numbers: Ints, order: Ints) -> Ints:
    """For each moved session number the new one, counted in the order in which they appear."""
    new = np.full(int(numbers.max(initial=NONE)) + 2, NONE, dtype=np.int64)
    different, first = np.unique(numbers[order], return_index=True)
    new[different[np.argsort(first)]] = np.arange(len(different))
    new[-1] = NONE
    return new


def _taken(stack: Stack, name: str, order: Ints, columns: tables.Columns, keys: dict[str, Ints]) -> pa.Table:
    """Rows of a table in this order, with new keys and whatever else has changed."""
    changed = {key: keys[key][columns[key][order]] for key in _keys_of(name)}
    others = {column for column in columns if column not in KEYS and column not in _place_columns(name)}
    return _with(stack.tables[name], name, order, changed | {column: columns[column][order] for column in others})


def _with(table: pa.Table, name: str, order: Ints, changed: Mapping[str, Any]) -> pa.Table:
    """Rows of a table in this order; columns of numbers that have changed."""
    taken = table.take(tables.ints(order))
    columns = {column: tables.one_array(taken[column]) for column in taken.column_names}
    kinds = {column.name: column.kind for column in tables.TABLES[name]}
    for column, values in changed.items():
        kind = kinds[column]
        if isinstance(kind, tuple):
            columns[column] = tables.places_in(values, kind)
        else:
            columns[column] = {tables.INT: tables.ints, tables.TIME: tables.times, tables.BOOL: tables.bools}[kind](
                values
            )
    return tables.table(name, columns, len(order))


def _others(
    stack: Stack, found: copies.Copies, keys: dict[str, Ints], capture_no: Ints
) -> list[tuple[str, Ints, tables.Columns]]:
    """Tables without a key of their own: name, rows in order, columns."""
    made = []
    for name in ("channels", "disk_opens", "problems", *tables.LOGGED):
        columns = stack.columns(name, *_place_columns(name), *_keys_of(name)) | found.changes.get(name, {})
        kept = np.flatnonzero(found.stays[name] if name in found.stays else _once(stack, name, keys, columns))
        if name == "disk_opens":
            by = [keys[key][columns[key]] for key in ("tree_key", "session_key")]
        elif name in tables.LOGGED:
            by = []
        else:
            by = [columns["frame"], looked_up(capture_no, columns["capture"], NONE)]
        made.append((name, kept[np.lexsort((kept, *[column[kept] for column in by]))], columns))
    return made


def _once(stack: Stack, name: str, keys: dict[str, Ints], columns: tables.Columns) -> Mask:
    """True for rows that no earlier result has, too. What one result's captures do not show another's may."""
    others = [column.name for column in tables.TABLES[name] if column.name not in KEYS]
    if (
        name in tables.LOGGED
    ):  # the same event may be known to belong to a session in one result, to a connection in another
        others = ["log", "record", *(["side"] if name == "endpoint_processes" else [])]
    texts = stack.set.columns(name, *others)
    same = Groups(*texts.values(), *[keys[key][columns[key]] for key in _keys_of(name) if name == "endpoint_processes"])
    first: Mask = stack.origin[name] == same.least(stack.origin[name])[same.number]
    if name == "endpoint_unseen":
        known = stack.set.columns("endpoint_processes", "log", "record")
        both = combined(*[np.append(known[column], texts[column]) for column in ("log", "record")])
        first &= places(both[len(known["log"]) :], both[: len(known["log"])]) < 0
    return first


# What is said of all. #


def _sums(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """What engines and reducers counted, added."""
    return {
        name: sum(part.get(name, 0) for part in parts)
        for name in dict.fromkeys(name for part in parts for name in part)
    }


def _has_rules(settings: Mapping[str, Any]) -> bool:
    return bool(settings.get("applications") or settings.get("scanners"))


def _settings(parts: Sequence[Mapping[str, Any]], separate: bool) -> dict[str, Any]:
    """How the captures were read, as far as it is the same."""
    details = {part.get("detail", "default") for part in parts}
    return {
        "engine": ", ".join(sorted({str(part.get("engine", "?")) for part in parts})),
        "ports": sorted({int(port) for part in parts for port in part.get("ports", ())}),
        "detail": "all" if details == {"all"} else "default",
        "separate": separate or any(part.get("separate", False) for part in parts),
        "hosts": max(int(part.get("hosts", 0)) for part in parts),
        "timezone": _common(parts, "timezone", "UTC"),
        "minimum": _common(parts, "minimum", ""),
        "endpoint_logs": sum(int(part.get("endpoint_logs", 0)) for part in parts),
    }


def _common(parts: Sequence[Mapping[str, Any]], name: str, otherwise: str) -> str:
    """A setting that is the same in all of them."""
    values = {str(part.get(name, otherwise)) for part in parts}
    return values.pop() if len(values) == 1 else otherwise


def _logged(told: Sequence[Analysis]) -> list[Measure]:
    """What logs add to `coverage`: added, but of the same logs the larger."""
    made: dict[tuple[str | None, str, str], int] = {}
    seen: set[str] = set()
    for analysis in told:
        logs = {
            path
            for name in tables.LOGGED
            for path in tables.one_array(analysis.arrow(name)["log"]).dictionary.to_pylist()
        }
        for server, measure, value, meaning in analysis.logged:
            key = (server, measure, meaning)
            again = bool(logs & seen) or measure.startswith("log_clock_ms")
            made[key] = max(made.get(key, value), value) if again else made.get(key, 0) + value
        seen |= logs
    return [(server, measure, value, meaning) for (server, measure, meaning), value in made.items()]
