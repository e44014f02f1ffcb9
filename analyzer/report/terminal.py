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
from analyzer.sessions.joins import Ints
from analyzer.summary import coverage

MOST_ROWS = 40
"""Rows of a table that are printed; the files have all."""

LONG_NAME = 16
"""A name longer than this is shown up to its first dot."""

WIDE = 120
"""Columns of a terminal from which on the reasons are shown."""

STYLES = {"depends": "bold red", "unknown": "yellow", "covered": "cyan", "denied": "green", "probe": "dim"}


def render(analysis: Analysis, console: Console) -> None:
    """Print the whole report."""
    dependencies = analysis.arrow("dependencies")
    verdict = tables.TableSet({"dependencies": dependencies}).columns("dependencies", "verdict")["verdict"]
    is_kept = np.isin(verdict, [tables.VERDICT.index(name) for name in ("depends", "unknown", "covered")])
    kept, rest = np.flatnonzero(is_kept), np.flatnonzero(~is_kept)
    console.print(Text(answer(analysis), style="bold"))
    if len(kept):
        console.print()
        console.print(_dependency_table("Dependencies", kept, analysis, console.width))
    if len(rest):
        console.print()
        console.print(_dependency_table("Refused already, or merely probed", rest, analysis, console.width))
    console.print()
    console.print(_blind_spots(analysis))


def answer(analysis: Analysis) -> str:
    """The result in a sentence or two."""
    if not len(analysis.arrow("sessions")):
        return "No SMB login and no use of an SMB session was found in these captures."
    rows = tables.TableSet({"dependencies": analysis.arrow("dependencies")})
    columns = rows.columns("dependencies", "verdict", "client_ip", "server_ip", "resource")
    depends = np.isin(columns["verdict"], [tables.VERDICT.index(name) for name in ("depends", "covered")])
    unknown = columns["verdict"] == tables.VERDICT.index("unknown")
    if depends.any():
        clients, servers = (len(np.unique(columns[name][depends])) for name in ("client_ip", "server_ip"))
        used = np.unique(columns["resource"][depends])
        resources = ", ".join(sorted(printable(rows.texts.text(code)) for code in used.tolist() if code >= 0)[:8])
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


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: Any) -> str:
    """Text from a capture without what could steer a terminal or hide itself: such characters are spelt out."""
    if text is None:
        return ""
    return "".join(
        char if char == " " or unicodedata.category(char)[0] not in "CZ" else f"\\u{ord(char):04x}"
        for char in str(text)
    )


def _dependency_table(title: str, rows: Ints, analysis: Analysis, width: int) -> RenderableType:
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
        table.add_column("Why", overflow="fold", min_width=32)
    names = _short_names(analysis)
    printed = analysis.arrow("dependencies").take(tables.ints(rows[:MOST_ROWS]))
    for row in _python(printed):
        verdict = row["verdict"]
        cells = [
            Text(verdict, style=STYLES[verdict]),
            _host(row["client_ip"], row["client"]),
            _host(row["server_ip"], row["server"]),
            Text(printable(row["resource"]) or "(login)"),
            Text(f"{row['uses']:,}"),
        ]
        if wide:
            cells += [
                Text(row["identity"]),
                Text("" if row["last_seen"] is None else f"{row['last_seen']:%Y-%m-%d %H:%M}"),
            ]
        cells.append(Text(f"{names[row['capture']]}\nframe {row['frame']}" if several else f"{row['frame']}"))
        if wide:
            cells.append(Text(_why(row)))
        table.add_row(*cells)
    if len(rows) <= MOST_ROWS:
        return table
    return Group(table, Text(f"... and {len(rows) - MOST_ROWS:,} more; all are in the files that -o DIR writes", "dim"))


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
        "results_not_decoded": ("pipe", "{was} opened whose answers are not decoded: some may have been refusals."),
        "problems": ("place", "could not be understood; see the table problems."),
    }
    for measure, (noun, rest) in others.items():
        if number := overall.get(measure, 0):
            verbs = {"was": "was", "has": "has"} if number == 1 else {"was": "were", "has": "have"}
            yield f"{_count(number, noun)} {rest.format(**verbs)}"
    yield "SMB over QUIC or RDMA, and RPC over TCP, are not looked at."


def _duration(seconds: int) -> str:
    if seconds < 120:
        return _count(seconds, "second")
    if seconds < 2 * 3600:
        return _count(seconds // 60, "minute")
    if seconds < 2 * 86400:
        return _count(seconds // 3600, "hour")
    return _count(seconds // 86400, "day")
