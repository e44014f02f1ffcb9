"""What a person reads in a terminal: the answer, the dependencies, what was refused, what the captures cannot show."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from analyzer.analysis import Analysis

MOST_ROWS = 40
"""Rows of a table that are printed; the files have all."""

LONG_NAME = 16
"""A name longer than this is shown up to its first dot."""

WIDE = 120
"""Columns of a terminal from which on the reasons are shown."""

STYLES = {"depends": "bold red", "unknown": "yellow", "covered": "cyan", "denied": "green", "probe": "dim"}


def render(analysis: Analysis, console: Console) -> None:
    """Print the whole report."""
    dependencies = analysis.dependencies
    kept = dependencies[dependencies["verdict"].isin(["depends", "unknown", "covered"])]
    rest = dependencies[dependencies["verdict"].isin(["denied", "probe"])]
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
    rows = analysis.dependencies
    depends = rows[rows["verdict"].isin(["depends", "covered"])]
    unknown = rows[rows["verdict"] == "unknown"]
    if not len(analysis.sessions):
        return "No SMB login and no use of an SMB session was found in these captures."
    if len(depends):
        clients, servers = depends["client_ip"].nunique(), depends["server_ip"].nunique()
        resources = ", ".join(sorted(printable(name) for name in set(depends["resource"].dropna()))[:8])
        first = (
            f"{_count(clients, 'client')} {'depends' if clients == 1 else 'depend'} on null sessions "
            f"at {_count(servers, 'server')}: {resources or 'the session itself'}."
        )
    else:
        first = "No client was seen to depend on null sessions."
    if len(unknown):
        clients = unknown["client_ip"].nunique()
        first += (
            f" For {_count(clients, 'client')} it is not known: "
            f"{_count(len(unknown), 'use')} may have been anonymous, and the captures do not show enough."
        )
    return first


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: Any) -> str:
    """Text from a capture without what could steer a terminal or hide itself: such characters are spelt out."""
    if pd.isna(text):
        return ""
    return "".join(
        char if char == " " or unicodedata.category(char)[0] not in "CZ" else f"\\u{ord(char):04x}"
        for char in str(text)
    )


def _dependency_table(title: str, rows: pd.DataFrame, analysis: Analysis, width: int) -> RenderableType:
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
    several = len(analysis.captures) > 1
    table.add_column("Look at" if several else "Frame", overflow="fold")
    if wide:
        table.add_column("Why", overflow="fold", min_width=32)
    names = _short_names(analysis)
    row: Any
    for row in rows.head(MOST_ROWS).itertuples():
        cells = [
            Text(str(row.verdict), style=STYLES[str(row.verdict)]),
            _host(row.client_ip, row.client),
            _host(row.server_ip, row.server),
            Text(printable(row.resource) or "(login)"),
            Text(f"{row.uses:,}"),
        ]
        if wide:
            cells += [
                Text(str(row.identity)),
                Text(f"{row.last_seen:%Y-%m-%d %H:%M}" if pd.notna(row.last_seen) else ""),
            ]
        cells.append(Text(f"{names[row.capture]}\nframe {row.frame}" if several else f"{row.frame}"))
        if wide:
            cells.append(Text(_why(row)))
        table.add_row(*cells)
    if len(rows) <= MOST_ROWS:
        return table
    return Group(table, Text(f"... and {len(rows) - MOST_ROWS:,} more; all are in the files that -o DIR writes", "dim"))


def _why(row: Any) -> str:
    parts = [printable(row.reason)]
    if pd.notna(row.root_cause):
        parts.append("it followed a failed login")
    if pd.notna(row.shadowed_by):
        parts.append("the client also uses it with credentials")
    return "; ".join(parts)


def _host(address: str, name: Any) -> Text:
    """`name (address)`. Of a long name the first part must do: the files have all of it."""
    if pd.isna(name) or not name:
        return Text(printable(address))
    spelt = printable(name)
    if len(spelt) > LONG_NAME:
        spelt = spelt.partition(".")[0]
    return Text(spelt).append(f" ({printable(address)})", style="dim")


def _short_names(analysis: Analysis) -> dict[str, str]:
    """Paths of captures without the folder that they have in common."""
    paths = [str(path) for path in analysis.captures["capture"]]
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
    overall = analysis.coverage[analysis.coverage["server_ip"].isna()].set_index("measure")["value"]
    captures = analysis.captures
    first, last = captures["first_seen"].min(), captures["last_seen"].max()
    span = "no packets" if pd.isna(first) else f"{first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC"
    yield (
        f"Seen: {_count(len(captures), 'file')}, {_count(int(captures['packets'].sum()), 'packet')}, {span} "
        f"({_duration(int(overall['seconds_observed']))}). Jobs that run less often may not be in them."
    )
    for error in captures["errors"].dropna():
        yield f"Not read: {printable(error)}"
    sentences = {
        "sessions_not_captured": "{} in use whose login is not in the captures: not known whether they are anonymous.",
        "sessions_unanswered": "{} whose login was not seen to be answered.",
        "sessions_abandoned": "{} whose login was begun and not finished.",
        "sessions_unclear": "{} whose login does not show whether it was anonymous.",
    }
    for measure, sentence in sentences.items():
        if overall[measure]:
            yield sentence.format(_count(int(overall[measure]), "session"))
    others = {
        "connections_midstream": ("connection", "began before the captures."),
        "connections_one_way": ("connection", "{was} captured in one direction only."),
        "missing_bytes": ("byte", "of TCP payload {was} lost by the capture."),
        "unparsed_bytes": ("byte", "of TCP payload {was} passed over in search of a message."),
        "truncated_packets": ("packet", "{was} captured in part."),
        "encrypted_messages": ("encrypted message", "could not be looked into."),
        "ip_fragments": ("IP fragment", "{was} not put together."),
        "unknown_link_packets": ("packet", "{has} a link type that is not known."),
        "results_not_decoded": ("pipe", "{was} opened whose answers are not decoded: some may have been refusals."),
        "problems": ("place", "could not be understood; see the table problems."),
    }
    for measure, (noun, rest) in others.items():
        if number := int(overall.get(measure, 0)):
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
