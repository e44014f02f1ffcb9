"""What a person reads in a terminal: the answer, the dependencies, what was refused, what the captures cannot show."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from analyzer import tables
from analyzer.analysis import Analysis
from analyzer.groups import Groups, Numbers, combined
from analyzer.report.layout import GAP, Column, row_lines, shortened, show, show_text, title_line, wrapped
from analyzer.sessions.joins import Ints
from analyzer.summary import coverage

MOST_ROWS = 40
"""Rows of a table that are printed; the files have all."""

LONG_NAME = 16
"""A name longer than this is shown up to its first dot, where there is no room for it."""

MOST_RESOURCES = 8
"""Names of resources in the first sentence."""

MOST_OPERATIONS = 6
"""Names of operations that are printed of a row."""

MOST_REASONS = 8
"""Different reasons, and rhythms, that are printed of a row."""

MOST_RARE = 4
"""Rare uses, and machines that are only named, in a sentence."""

INDENT = 2
LOOK_AT = 40
"""Columns for the names of files and frames, which leave place for other columns."""
LEAST_LOOK_AT = 30
"""Columns that are too few for them."""
LAST_SEEN, IDENTITY = "Last seen (UTC)", "Identity"

STYLES = {"depends": "bold red", "unknown": "yellow", "covered": "cyan", "denied": "green", "probe": "dim"}


def render(analysis: Analysis, console: Console) -> None:
    """Print the whole report."""
    dependencies = analysis.arrow("dependencies")
    verdict, excluded = (
        tables.TableSet({"dependencies": dependencies}).columns("dependencies", "verdict", "excluded").values()
    )
    is_kept = np.isin(verdict, [tables.VERDICT.index(name) for name in ("depends", "unknown", "covered")])
    sections = {
        "Dependencies": is_kept & ~excluded,
        "Refused already, or merely probed": ~is_kept & ~excluded,
        "Left out: scanners by your own rules": excluded,
    }
    show_text(answer(analysis), console, "bold")
    for title, belongs in sections.items():
        if belongs.any():
            console.print()
            show(_section(title, np.flatnonzero(belongs), analysis, console), console)
    console.print()
    show_text("What these captures cannot show", console, "bold")
    for sentence in blind_spots(analysis):
        show_text(sentence, console, indent=INDENT, hanging=INDENT)


def answer(analysis: Analysis) -> str:
    """The result in a sentence or two."""
    if not len(analysis.arrow("sessions")):
        return "No SMB login and no use of an SMB session was found in these captures."
    rows = tables.TableSet({"dependencies": analysis.arrow("dependencies")})
    columns = rows.columns("dependencies", "site", "verdict", "client_ip", "server_ip", "resource", "excluded")
    columns = {name: column[~columns["excluded"]] for name, column in columns.items()}
    for name in ("client_ip", "server_ip"):  # the same address in two sites is two machines
        columns[name] = combined(columns["site"], columns[name])
    depends = np.isin(columns["verdict"], [tables.VERDICT.index(name) for name in ("depends", "covered")])
    unknown = columns["verdict"] == tables.VERDICT.index("unknown")
    if depends.any():
        clients, servers = (len(np.unique(columns[name][depends])) for name in ("client_ip", "server_ip"))
        resources = _most_used(columns["resource"][depends], columns["client_ip"][depends], rows)
        first = (
            f"{_count(clients, 'client')} {'depends' if clients == 1 else 'depend'} on null sessions "
            f"at {_count(servers, 'server')}: {resources or 'the session itself'}."
        )
    else:
        first = "No client was seen to depend on null sessions."
    if unknown.any():
        clients = len(np.unique(columns["client_ip"][unknown]))
        first += (
            f" For {_count(clients, 'client')} it is not known: "
            f"{_count(int(unknown.sum()), 'use')} may have been anonymous, and the captures do not show enough."
        )
    return first


def _most_used(resource: Numbers, client: Numbers, rows: tables.TableSet) -> str:
    """Names of resources, those that most clients use first; of many only some."""
    by_resource = Groups(resource)
    clients = by_resource.different(client)
    named = [
        (-count, printable(rows.texts.text(code)))
        for code, count in zip(resource[by_resource.first].tolist(), clients.tolist(), strict=True)
        if code >= 0
    ]
    shown = ", ".join(name for _, name in sorted(named)[:MOST_RESOURCES])
    return shown + (f" and {len(named) - MOST_RESOURCES} more" if len(named) > MOST_RESOURCES else "")


def _count(number: int, noun: str, several: str = "") -> str:
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"


def printable(text: Any) -> str:
    """Text from a capture without what could steer a terminal or hide itself: such characters are spelt out."""
    if text is None:
        return ""
    return "".join(
        char if char == " " or unicodedata.category(char)[0] not in "CZ" else f"\\u{ord(char):04x}"
        for char in str(text)
    )


class _Ends(NamedTuple):
    """Who asks whom, printable."""

    site: str
    client_ip: str
    client: str
    server_ip: str
    server: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is printed as one: uses of a client and a server that differ in their operations only."""

    ends: _Ends
    verdict: str
    resource: str
    uses: int
    runs: int
    identity: str
    last_seen: str
    capture: str
    """Empty where there is only one."""
    frame: int
    what_for: str
    why: str

    @property
    def look_at(self) -> str:
        return f"{self.capture} frame {self.frame}".lstrip()


def _section(title: str, rows: Ints, analysis: Analysis, console: Console) -> Iterator[Text]:
    """Below each pair of client and server a line for each resource; and indented below that what for, and why."""
    groups = _alike(rows, analysis)
    captures = analysis.arrow("captures")
    names = _short_names(captures["capture"].to_pylist())
    sites = _short_names(captures["site"].unique().to_pylist())
    dependencies = analysis.arrow("dependencies")
    entries = [
        _entry(list(_python(dependencies.take(tables.ints(members)))), names, sites) for members in groups[:MOST_ROWS]
    ]
    pairs: dict[_Ends, list[int]] = {}
    for number, entry in enumerate(entries):
        pairs.setdefault(entry.ends, []).append(number)
    columns = _columns(entries, console.width)
    told = {column.title for column in columns}
    yield Text(title, "bold")
    yield title_line(columns, INDENT)
    headings = _headings(list(pairs), console.width)
    below = INDENT + columns[0].width + GAP
    for heading, numbers in zip(headings, pairs.values(), strict=True):
        yield from wrapped(heading, console, console.width, hanging=INDENT)
        for number in numbers:
            yield from row_lines(columns, number, console, INDENT)
            for detail in _details(entries[number], told):
                yield from wrapped(detail, console, console.width, below)
    if len(groups) > MOST_ROWS:
        more = Text(f"... and {len(groups) - MOST_ROWS:,} more; all are in the files that -o DIR writes", "dim")
        yield from wrapped(more, console, console.width)


def _entry(rows: list[dict[str, Any]], names: dict[str, str], sites: dict[str, str]) -> _Entry:
    """rows: of `dependencies`, alike but for their operations. names, sites: what captures and sites are called here."""
    row = rows[0]
    seen = [each["last_seen"] for each in rows if each["last_seen"] is not None]
    return _Entry(
        ends=_Ends(sites.get(row["site"], ""), *(printable(row[name]) for name in _Ends._fields[1:])),
        verdict=row["verdict"],
        resource=printable(row["resource"]) or "(login)",
        uses=sum(each["uses"] for each in rows),
        # Which runs of one operation are those of another is not known here: they are the same in most cases.
        runs=max(each["runs"] or 0 for each in rows),
        identity=row["identity"] or "",
        last_seen=f"{max(seen):%Y-%m-%d %H:%M}" if seen else "",
        capture=names[row["capture"]] if len(names) > 1 else "",
        frame=row["frame"],
        what_for=_what_for(rows),
        why=_why(rows),
    )


def _columns(entries: list[_Entry], width: int) -> list[Column]:
    """The columns that fit. What does not fit stands among the details (`_details`)."""
    columns = [
        Column("Verdict", [Text(entry.verdict, STYLES[entry.verdict]) for entry in entries]),
        Column("Resource", [Text(entry.resource) for entry in entries], most=width // 4),
        Column("Uses", [Text(f"{entry.uses:,}") for entry in entries], is_number=True),
        Column("Runs", [Text(f"{entry.runs:,}") for entry in entries], is_number=True),
    ]
    left = width - INDENT - sum(column.width + GAP for column in columns)
    wanted = min(LOOK_AT, max(cell_len(entry.look_at) for entry in entries))
    for title, cells in (
        (LAST_SEEN, [Text(entry.last_seen) for entry in entries]),
        (IDENTITY, [Text(entry.identity) for entry in entries]),
    ):
        column = Column(title, cells)
        if left - column.width - GAP < wanted:
            break
        columns.append(column)
        left -= column.width + GAP
    if left >= min(wanted, LEAST_LOOK_AT):
        room = [left - len(f" frame {entry.frame}") for entry in entries]
        short = [
            replace(entry, capture=entry.capture and shortened(entry.capture, most))
            for entry, most in zip(entries, room, strict=True)
        ]
        columns.append(Column("Look at", [Text(entry.look_at) for entry in short], most=left))
    return columns


def _headings(ends: list[_Ends], width: int) -> list[Text]:
    """Who asks whom. Where whole names are too long for a line, of all the first part must do: the files have all."""
    for shorter in (False, True):
        made = []
        for site, client_ip, client, server_ip, server in ends:
            heading = Text(f"{site}: " if site else "").append_text(_host(client_ip, client, shorter))
            made.append(heading.append(" -> ").append_text(_host(server_ip, server, shorter)))
        if max(cell_len(heading.plain) for heading in made) <= width:
            break
    return made


def _details(entry: _Entry, told: set[str]) -> Iterator[Text]:
    """What for, and why; and what there is no column for. told: titles of the columns."""
    if entry.what_for:
        yield Text(entry.what_for)
    words = [entry.why]
    if IDENTITY not in told and entry.identity not in ("", "anonymous"):
        words.insert(0, f"identity {entry.identity}")
    if LAST_SEEN not in told and entry.last_seen:
        words.append(f"last seen {entry.last_seen} UTC")
    if "Look at" not in told:
        words.append(f"look at {entry.look_at}")
    if why := "; ".join(filter(None, words)):
        yield Text(why, "dim")


def _alike(rows: Ints, analysis: Analysis) -> list[Ints]:
    """Rows of `dependencies` that differ in their operations only, in the table's order."""
    columns = tables.TableSet({"dependencies": analysis.arrow("dependencies")}).columns(
        "dependencies", "verdict", "identity", "site", "client_ip", "client", "server_ip", "server", "application", "function",
        "resource", "rpc_auth",
    )  # fmt: skip
    alike = Groups(*[column[rows] for column in columns.values()])
    order = np.argsort(alike.number, kind="stable")
    members = np.split(rows[order], np.cumsum(alike.sizes())[:-1])
    return [members[number] for number in np.argsort(alike.first).tolist()]


def _what_for(rows: list[dict[str, Any]]) -> str:
    """The application, the function, the first operations, if anything was called."""
    row = rows[0]
    operations = [each["operation"] for each in rows if each["operation"] is not None]
    function = row["function"] if operations else None
    words = "; ".join(dict.fromkeys(printable(word) for word in (row["application"], function) if word is not None))
    parts = [": ".join(filter(None, (words, _some(operations, MOST_OPERATIONS))))]
    if row["rpc_auth"] is not None:
        parts.append(f"authenticated inside RPC ({printable(row['rpc_auth'])})")
    return "; ".join(filter(None, parts))


def _some(words: Iterable[Any], most: int, between: str = ", ") -> str:
    """Different words, the first of them; and how many more there are."""
    different = list(dict.fromkeys(printable(word) for word in words))
    more = f" and {len(different) - most} more" if len(different) > most else ""
    return between.join(different[:most]) + more


def _python(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Rows as Python has them; missing: None."""
    columns = [
        [_time(ns) for ns in column.cast(pa.int64()).to_pylist()]
        if pa.types.is_timestamp(column.type)
        else column.to_pylist()
        for column in table.columns
    ]
    for values in zip(*columns, strict=True):
        yield dict(zip(table.column_names, values, strict=True))


def _time(ns: int | None) -> datetime | None:
    return None if ns is None else datetime.fromtimestamp(ns // 1_000_000_000, UTC)


def _why(rows: list[dict[str, Any]]) -> str:
    reasons = (part for row in rows for part in (row["reason"] or "").split("; "))
    parts = [_some(reasons, MOST_REASONS, "; ")]
    if any(row["root_cause"] is not None for row in rows):
        parts.append("it followed a failed login")
    if any(row["shadowed_by"] is not None for row in rows):
        parts.append("the client also uses it with credentials")
    parts.append(_some((row["rhythm"] for row in rows if row["rhythm"] not in (None, "once")), MOST_REASONS, "; "))
    shapes = dict.fromkeys(row["shape"] for row in rows if row["shape"] is not None)
    parts += [f"the client looks {printable(shape)}" for shape in shapes]
    return "; ".join(filter(None, parts))


def _host(address: str, name: str, shorter: bool) -> Text:
    """`name (address)`, both printable. shorter: of a long name the first part."""
    if not name:
        return Text(address, "bold")
    if shorter and len(name) > LONG_NAME:
        name = name.partition(".")[0]
    return Text(name, "bold").append(f" ({address})", "not bold")


def _short_names(paths: Sequence[str]) -> dict[str, str]:
    """The last parts of paths; or if several have the same, what comes behind the folders that all share."""
    parts = [path.replace("\\", "/").split("/") for path in paths]
    shared = 0
    for folders in zip(*(names[:-1] for names in parts), strict=False):
        if len(set(folders)) > 1:
            break
        shared += 1
    is_unique = len({names[-1] for names in parts}) == len(parts)
    return {
        path: printable(names[-1] if is_unique else "/".join(names[shared:]))
        for path, names in zip(paths, parts, strict=True)
    }


def blind_spots(analysis: Analysis) -> Iterator[str]:
    """What is missing, in sentences; the first says what was seen."""
    overall = coverage.overall(analysis.arrow("coverage"))
    captures = list(_python(analysis.arrow("captures")))
    times = [time for row in captures for time in (row["first_seen"], row["last_seen"]) if time is not None]
    span = f"{min(times):%Y-%m-%d %H:%M:%S} to {max(times):%Y-%m-%d %H:%M:%S} UTC" if times else "no packets"
    packets = sum(row["packets"] for row in captures)
    yield (
        f"Seen: {_count(len(captures), 'file')}, {_count(packets, 'packet')}, {span} "
        f"({duration(overall['seconds_observed'])}). Jobs that run less often may not be in them."
    )
    for row in captures:
        if row["errors"] is not None:
            yield f"Not read: {printable(row['errors'])}"
    yield from _not_seen_enough(analysis)
    sentences = {
        "sessions_not_captured": "{} in use whose login is not in the captures: not known whether they are anonymous.",
        "sessions_unanswered": "{} whose login was not seen to be answered.",
        "sessions_abandoned": "{} whose login was begun and not finished.",
        "sessions_unclear": "{} whose login does not show whether it was anonymous.",
    }
    for measure, sentence in sentences.items():
        if overall[measure]:
            yield sentence.format(_count(overall[measure], "session"))
    others = {
        "connections_midstream": ("connection", "began before the captures."),
        "connections_one_way": ("connection", "{was} captured in one direction only."),
        "missing_bytes": ("byte", "of TCP payload {was} lost by the capture."),
        "unparsed_bytes": ("byte", "of TCP payload {was} passed over in search of a message."),
        "truncated_packets": ("packet", "{was} captured in part."),
        "dropped_packets": ("packet", "{was} dropped by the capturing machine, by the files' own statistics."),
        "encrypted_messages": ("encrypted message", "could not be looked into."),
        "sessions_unchecked": ("null or guest session", "{was} signed or encrypted, and could not be looked into."),
        "ip_fragments": ("IP fragment", "{was} not put together."),
        "unknown_link_packets": ("packet", "{has} a link type that is not known."),
        "results_not_decoded": (
            "pipe",
            "{was} used in a way that is not decoded: some answers may have been refusals.",
        ),
        "calls_not_told": ("call", "{was} answered, and how is encrypted or was not captured: taken for granted ones."),
        "calls_unanswered": ("call", "{was} not seen to be answered."),
        "problems": ("place", "could not be understood; see the table problems."),
    }
    for measure, (noun, rest) in others.items():
        if number := overall.get(measure, 0):
            verbs = {"was": "was", "has": "has"} if number == 1 else {"was": "were", "has": "have"}
            yield f"{_count(number, noun)} {rest.format(**verbs)}"
    if overall.get("log_events", 0):
        yield (
            f"Logs: {_count(overall['log_events'], 'event')}, of which {overall['log_events_matched']:,} belong to what was "
            f"captured; {_count(overall['anonymous_logons_unseen'], 'anonymous login or use', 'anonymous logins or uses')} "
            "in them that no capture shows; see the table endpoint_unseen."
        )
    yield from _hints(analysis)
    yield "SMB over QUIC or RDMA, and RPC over TCP, are not looked at."


def _not_seen_enough(analysis: Analysis) -> Iterator[str]:
    observed = list(_python(analysis.arrow("observation")))
    servers = [row for row in observed if row["server_ip"] is not None]
    lacking = [row for row in servers if not row["enough"]]
    if lacking:
        most = max(lacking, key=lambda row: row["connections"])
        yield (
            f"Not seen enough to say that nobody else depends on them: {len(lacking):,} of {_count(len(servers), 'server')} "
            f"({printable(most['server'] or most['server_ip'])}: {printable(most['lacks'])}). See the table observation."
        )
    days = list(_python(analysis.arrow("discovery")))
    if len(days) > 1 and days[-1]["new_dependencies"]:
        clients = days[-1]["new_clients"]
        by = f" by {_count(clients, 'new client')}" if clients else ""
        yield (
            f"On the last day, {days[-1]['day']}, {_count(days[-1]['new_dependencies'], 'use')}{by} still came to light: "
            "more are to be expected."
        )
    rare = list(_python(analysis.arrow("rare_uses")))
    unseen = [row for row in rare if row["state"] == "could_not_be_seen" and row["role_seen"] and row["period_days"]]
    if servers and unseen:
        named = dict.fromkeys(f"{row['use']} (every {_count(row['period_days'], 'day')})" for row in unseen)
        more = f" and {len(named) - MOST_RARE} more" if len(named) > MOST_RARE else ""
        yield f"Could not have been seen: {', '.join(list(named)[:MOST_RARE])}{more}. See the table rare_uses."


def _hints(analysis: Analysis) -> Iterator[str]:
    told = list(_python(analysis.arrow("hints")))
    ways = [row for row in told if row["kind"] == "other_way"]
    if ways:
        clients, attempts = len({row["client_ip"] for row in ways}), sum(row["count"] for row in ways)
        yield (
            f"{_count(clients, 'client')} with null sessions also opened {_count(attempts, 'connection')} to RPC over TCP or "
            "LDAP, which were not looked into; see the table hints."
        )
    named = sorted({printable(row["server"]) for row in told if row["kind"] == "only_named"})
    if named:
        more = f" and {len(named) - MOST_RARE} more" if len(named) > MOST_RARE else ""
        yield f"Named by clients, and not seen as a server: {', '.join(named[:MOST_RARE])}{more}; see the table hints."
    # The same server may be named by several clients, and for several of its shares.
    referred = {printable(row["server"]): printable(row["what"]) for row in told if row["kind"] == "only_referred"}
    if referred:
        servers = [f"{server} ({referred[server]})" for server in sorted(referred)]
        more = f" and {len(servers) - MOST_RARE} more" if len(servers) > MOST_RARE else ""
        yield (
            f"DFS referrals offer clients {_count(len(servers), 'server')} of which there is no traffic here: "
            f"{', '.join(servers[:MOST_RARE])}{more}. What depends on null sessions there cannot be known from these "
            "captures; see the table hints."
        )


def duration(seconds: int) -> str:
    """A length of time in words."""
    if seconds < 120:
        return _count(seconds, "second")
    if seconds < 2 * 3600:
        return _count(seconds // 60, "minute")
    if seconds < 2 * 86400:
        return _count(seconds // 3600, "hour")
    return _count(seconds // 86400, "day")
