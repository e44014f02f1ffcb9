"""What-if and recommendation as a person reads them in a terminal. Renders, decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from analyzer.report.terminal import printable

if TYPE_CHECKING:
    from analyzer.policy.recommending import Advice, Recommendation
    from analyzer.policy.replay import WhatIf
    from analyzer.policy.servers import Server

TITLES = {
    "breaks": "Would break",
    "cannot_be_known": "Cannot be known",
    "still_works": "Still works",
    "refused_today": "Refused already today",
}
MOST_LINES = 60
MOST_NAMES = 4
MOST_REPAIRS = 15


def render(found: WhatIf, console: Console, *, script: str = "") -> None:
    """Print the outcome: the answer in a sentence, then what it rests on, then each kind of outcome.

    script: what collects the access lists that no capture shows.
    """
    counts = found.counts()
    console.print(Text(_answer(counts), "bold"))
    _render_list("Check of itself: the captures contradict what is said of today", [
        f"{_named(it.server)}, {it.resource}: {it.what}; {', '.join(it.settings)} counts as unknown there"
        for it in found.contradictions
    ], console)  # fmt: skip
    _render_servers(found.servers, console)
    _render_list("Please note", found.warnings, console)
    rows = found.rows()
    rows = rows[~rows["excluded"].fillna(False)]
    for outcome in ("breaks", "cannot_be_known", "still_works", "refused_today"):
        chosen = rows[rows["outcome"] == outcome]
        if len(chosen):
            console.print(_outcomes(TITLES[outcome], chosen))
    _render_list("Other names of what is closed", found.aliases, console)
    _render_list("What this does not cover", found.caveats, console)
    if script:
        console.print(Text("\nThis script collects the access lists that decide:\n", "bold"))
        console.print(Text(script), soft_wrap=True)


def _answer(counts: dict[str, int]) -> str:
    """The outcome in a sentence. It never says that nothing breaks: only what was seen was replayed."""
    parts = [
        f"{counts['breaks']:,} of the uses that were seen would break",
        f"{counts['cannot_be_known']:,} cannot be known",
        f"{counts['still_works']:,} still work",
    ]
    if counts["refused_today"]:
        parts.append(f"{counts['refused_today']:,} are refused already")
    return ", ".join(parts) + ". What was not captured is not among them."


def _outcomes(title: str, rows: Any) -> Table:
    """A line for each server, resource and reason, with clients and operations in cells. rows: of the DataFrame."""
    shown = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("Server", "Resource", "Operations", "Clients", "Applications", "Rows"):
        shown.add_column(name, overflow="fold")
    shown.add_column("Why", overflow="fold", min_width=32)
    filled = rows.assign(
        what=rows["resource"].fillna("(session)"), who=rows["client"].fillna(rows["client_ip"]),
        where=rows["server"].fillna(rows["server_ip"]),
    )  # fmt: skip
    keys = ["where", "what", "setting", "why", "source"]
    for place, (key, group) in enumerate(filled.groupby(keys, observed=True, sort=False)):
        if place == MOST_LINES:
            shown.add_row(Text("...", "dim"), Text("more: --format csv has all rows", "dim"))
            break
        where, what, setting, why, source = key
        reason = f"{setting}: {why}" if setting else why
        shown.add_row(
            *[Text(printable(text)) for text in (where, what)],
            _names(group["operation"]),
            _names(group["who"]),
            _names(group["application"]),
            _names(group["row"].astype(str)),
            Text(printable(f"{reason} [{source}]" if source else reason)),
        )
    return shown


def _names(column: Any) -> Text:
    names = [printable(name) for name in column.dropna().unique()]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return Text(", ".join(names[:MOST_NAMES]) + more)


def _render_servers(servers: list[Server], console: Console) -> None:
    shown = Table(
        title="Servers", title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for name in ("Server", "Is", "Role", "Known by"):
        shown.add_column(name, overflow="fold")
    for server in servers[:MOST_LINES]:
        system = "not known" if server.family is None else server.family.capitalize()
        build = f", build {server.build}" if server.build is not None else ""
        role = server.role or "not known"
        shown.add_row(*[Text(printable(text)) for text in (_named(server), system + build, role, server.known_by)])
    console.print(shown)
    if len(servers) > MOST_LINES:
        console.print(Text(f"and {len(servers) - MOST_LINES:,} more", "dim"))


def _named(server: Server) -> str:
    return f"{server.name} ({server.ip})" if server.name else server.ip


def _render_list(title: str, lines: list[str], console: Console) -> None:
    if not lines:
        return
    console.print(Text(title, "bold"))
    for line in lines[:MOST_LINES]:
        console.print(Text("  " + printable(line)))
    if len(lines) > MOST_LINES:
        console.print(Text(f"  and {len(lines) - MOST_LINES:,} more", "dim"))


def render_recommendation(found: Recommendation, console: Console) -> None:
    """Print what is recommended for each server, what is held back and by whom, and what repairs would gain."""
    for advice in found.servers[:MOST_LINES]:
        console.print(Text(printable(_named(advice.server)), "bold"))
        _render_advice(advice, console)
    if len(found.servers) > MOST_LINES:
        console.print(Text(f"and {len(found.servers) - MOST_LINES:,} more servers: --format json has all", "dim"))
    if found.given_up.any():
        rows = ", ".join(str(row) for row in found.given_up.nonzero()[0][:MOST_LINES].tolist())
        _render_list("Given up on purpose", [f"rows {rows}"], console)
    _render_list("What repairs would gain", found.repairs["sentence"].head(MOST_REPAIRS).tolist(), console)
    _render_list("Please note", found.warnings, console)
    _render_list("What this does not cover", found.replay.caveats, console)


def _render_advice(advice: Advice, console: Console) -> None:
    if advice.policy is None:
        console.print(Text("  no policy: " + printable(advice.reason)))
    else:
        for name, given in advice.policy.settings.items():
            console.print(Text(f"  {name} = {printable(written(given.value))}"))
        for share, options in advice.policy.shares.items():
            for option, given in options.items():
                console.print(Text(f"  [{printable(share)}] {option} = {printable(written(given.value))}"))
    for name in advice.kept:
        console.print(Text(f"  {name}: is as tight already", "dim"))
    if refused := sorted(dict.fromkeys(advice.refused)):
        more = f" and {len(refused) - MOST_NAMES} more" if len(refused) > MOST_NAMES else ""
        console.print(Text(f"  refused already today: {printable('; '.join(refused[:MOST_NAMES]))}{more}", "dim"))
    for blocked in advice.held_back:
        console.print(Text(f"  held back: {printable(blocked.what)}: {printable(blocked.why)}", "dim"))


def written(value: object) -> str:
    """A value as people write it."""
    if isinstance(value, tuple):
        return ", ".join(value) or "(empty)"
    return "(absent)" if value is None else str(value)
