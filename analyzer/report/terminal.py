"""What a person reads in a terminal: the answer, the dependencies, what was refused, what the captures cannot show."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from analyzer import tables
from analyzer.analysis import Analysis
from analyzer.groups import Groups, Numbers, combined
from analyzer.sessions.joins import Ints
from analyzer.summary import coverage

MOST_ROWS = 40
"""Rows of a table that are printed; the files have all."""

LONG_NAME = 16
"""A name longer than this is shown up to its first dot."""

MOST_RESOURCES = 8
"""Names of resources in the first sentence."""

MOST_OPERATIONS = 4
"""Names of operations that are printed in a line."""

MOST_RARE = 4
"""Rare uses, and machines that are only named, in a sentence."""

WIDE = 120
"""Columns of a terminal from which on the reasons are shown."""

STYLES = {"depends": "bold red", "unknown": "yellow", "covered": "cyan", "denied": "green", "probe": "dim"}


def render(analysis: Analysis, console: Console) -> None:
    """Print the whole report."""
    dependencies = analysis.arrow("dependencies")
    verdict, excluded = (
        tables.TableSet({"dependencies": dependencies}).columns("dependencies", "verdict", "excluded").values()
    )
    is_kept = np.isin(verdict, [tables.VERDICT.index(name) for name in ("depends", "unknown", "covered")])
    kept, rest = np.flatnonzero(is_kept & ~excluded), np.flatnonzero(~is_kept & ~excluded)
    scanners = np.flatnonzero(excluded)
    console.print(Text(answer(analysis), style="bold"))
    if len(kept):
        console.print()
        console.print(_dependency_table("Dependencies", kept, analysis, console.width))
    if len(rest):
        console.print()
        console.print(_dependency_table("Refused already, or merely probed", rest, analysis, console.width))
    if len(scanners):
        console.print()
        console.print(_dependency_table("Left out: scanners by your own rules", scanners, analysis, console.width))
    console.print()
    console.print(_blind_spots(analysis))


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


def _dependency_table(title: str, rows: Ints, analysis: Analysis, width: int) -> RenderableType:
    """A line for each client, server, resource and what they are used for; the operations stand in one cell."""
    wide = width >= WIDE
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("Verdict", no_wrap=True)
    table.add_column("Client", overflow="fold")
    table.add_column("Server", overflow="fold")
    table.add_column("Resource", overflow="fold")
    table.add_column("Uses", justify="right", no_wrap=True)
    if wide:
        table.add_column("Identity", no_wrap=True)
        table.add_column("Last seen (UTC)", no_wrap=True)
    several = len(analysis.arrow("captures")) > 1
    table.add_column("Look at" if several else "Frame", overflow="fold")
    if wide:
        table.add_column("What for, and why", overflow="fold")
    names = _short_names(analysis)
    groups = _alike(rows, analysis)
    for members in groups[:MOST_ROWS]:
        some = list(_python(analysis.arrow("dependencies").take(tables.ints(members))))
        row = some[0]
        verdict = row["verdict"]
        seen = [each["last_seen"] for each in some if each["last_seen"] is not None]
        cells = [
            Text(verdict, style=STYLES[verdict]),
            _host(row["client_ip"], row["client"]),
            _host(row["server_ip"], row["server"]),
            _resource(row, wide),
            Text(f"{sum(each['uses'] for each in some):,}"),
        ]
        if wide:
            cells += [Text(row["identity"]), Text(f"{max(seen):%Y-%m-%d %H:%M}" if seen else "")]
        cells.append(Text(f"{names[row['capture']]}\nframe {row['frame']}" if several else f"{row['frame']}"))
        if wide:
            cells.append(_what_for(some).append(_why(row)))
        table.add_row(*cells)
    if len(groups) <= MOST_ROWS:
        return table
    more = f"... and {len(groups) - MOST_ROWS:,} more; all are in the files that -o DIR writes"
    return Group(table, Text(more, "dim"))


def _alike(rows: Ints, analysis: Analysis) -> list[Ints]:
    """Rows of `dependencies` that differ in their operations only, in the table's order."""
    columns = tables.TableSet({"dependencies": analysis.arrow("dependencies")}).columns(
        "dependencies", "verdict", "identity", "site", "client_ip", "server_ip", "application", "function", "resource",
        "rpc_auth",
    )  # fmt: skip
    alike = Groups(*[column[rows] for column in columns.values()])
    order = np.argsort(alike.number, kind="stable")
    members = np.split(rows[order], np.cumsum(alike.sizes())[:-1])
    return [members[number] for number in np.argsort(alike.first).tolist()]


def _resource(row: dict[str, Any], wide: bool) -> Text:
    """The resource; in a narrow terminal what it is used for stands below it."""
    text = Text(printable(row["resource"]) or "(login)")
    if not wide and row["operation"] is not None and row["function"] is not None:
        text.append(f"\n{printable(row['function'])}", style="dim")
    return text


def _what_for(rows: list[dict[str, Any]]) -> Text:
    """The application, the function, the first operations, if anything was called."""
    row = rows[0]
    operations = [printable(each["operation"]) for each in rows if each["operation"] is not None]
    shown = ", ".join(operations[:MOST_OPERATIONS])
    if len(operations) > MOST_OPERATIONS:
        shown += f" and {len(operations) - MOST_OPERATIONS} more"
    function = row["function"] if operations else None
    text = Text("")
    words = "; ".join(dict.fromkeys(printable(word) for word in (row["application"], function) if word is not None))
    if words or shown:
        text.append(": ".join(filter(None, (words, shown))) + "\n", style="italic")
    if row["rpc_auth"] is not None:
        text.append(f"authenticated inside RPC ({printable(row['rpc_auth'])})\n", style="italic")
    return text


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


def _why(row: dict[str, Any]) -> str:
    parts = [printable(row["reason"])]
    if row["root_cause"] is not None:
        parts.append("it followed a failed login")
    if row["shadowed_by"] is not None:
        parts.append("the client also uses it with credentials")
    if row["rhythm"] not in (None, "once"):
        parts.append(row["rhythm"])
    if row["shape"] is not None:
        parts.append(f"the client looks {row['shape']}")
    return "; ".join(parts)


def _host(address: str, name: Any) -> Text:
    """`name (address)`. Of a long name the first part must do: the files have all of it."""
    if not name:
        return Text(printable(address))
    spelt = printable(name)
    if len(spelt) > LONG_NAME:
        spelt = spelt.partition(".")[0]
    return Text(spelt).append(f" ({printable(address)})", style="dim")


def _short_names(analysis: Analysis) -> dict[str, str]:
    """Paths of captures without the folder that they have in common."""
    paths = analysis.arrow("captures")["capture"].to_pylist()
    tails = [path.replace("\\", "/").rpartition("/")[2] for path in paths]
    unique = len(set(tails)) == len(tails)
    return {path: printable(tail if unique else path) for path, tail in zip(paths, tails, strict=True)}


def _blind_spots(analysis: Analysis) -> RenderableType:
    lines = Text("What these captures cannot show", style="bold")
    for line in blind_spots(analysis):
        lines.append(f"\n  {line}", style="not bold")
    return lines


def blind_spots(analysis: Analysis) -> Iterator[str]:
    """What is missing, in sentences; the first says what was seen."""
    overall = coverage.overall(analysis.arrow("coverage"))
    captures = list(_python(analysis.arrow("captures")))
    times = [time for row in captures for time in (row["first_seen"], row["last_seen"]) if time is not None]
    span = f"{min(times):%Y-%m-%d %H:%M:%S} to {max(times):%Y-%m-%d %H:%M:%S} UTC" if times else "no packets"
    packets = sum(row["packets"] for row in captures)
    yield (
        f"Seen: {_count(len(captures), 'file')}, {_count(packets, 'packet')}, {span} "
        f"({_duration(overall['seconds_observed'])}). Jobs that run less often may not be in them."
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


def _duration(seconds: int) -> str:
    if seconds < 120:
        return _count(seconds, "second")
    if seconds < 2 * 3600:
        return _count(seconds // 60, "minute")
    if seconds < 2 * 86400:
        return _count(seconds // 3600, "hour")
    return _count(seconds // 86400, "day")
