"""What-if and recommendation as a person reads them in a terminal. Renders, decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from analyzer.report.layout import show_text
from analyzer.report.terminal import INDENT, printable

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
    show_text(_answer(counts), console, "bold")
    _render_list("Check of itself: the captures contradict what is said of today", contradictions(found), console)
    _render_servers(found.servers, console)
    _render_list("Please note", found.warnings, console)
    rows = found.rows()
    rows = rows[~rows["excluded"].fillna(False)]
    for outcome in ("breaks", "cannot_be_known", "still_works", "refused_today"):
        chosen = rows[rows["outcome"] == outcome]
        if len(chosen):
            _outcomes(TITLES[outcome], chosen, console)
    _render_list("Other names of what is closed", found.aliases, console)
    _render_list("What this does not cover", found.caveats, console)
    if script:
        console.print(Text("\nThis script collects the access lists that decide:\n", "bold"))
        console.print(Text(script), soft_wrap=True)


def contradictions(found: WhatIf) -> list[str]:
    """What the captures contradict, in sentences."""
    return [
        f"{_named(it.server)}, {it.resource}: {it.what}; {', '.join(it.settings)} counts as unknown there"
        for it in found.contradictions
    ]


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


def _outcomes(title: str, rows: Any, console: Console) -> None:
    """Each server and resource, and below them who uses them for what, and why it comes out so. rows: of the DataFrame."""
    show_text(title, console, "bold")
    filled = rows.assign(
        what=rows["resource"].fillna("(session)"), who=rows["client"].fillna(rows["client_ip"]),
        where=rows["server"].fillna(rows["server_ip"]),
    )  # fmt: skip
    keys = ["where", "what", "setting", "why", "source"]
    for place, (key, group) in enumerate(filled.groupby(keys, observed=True, sort=False)):
        if place == MOST_LINES:
            show_text("... more: --format csv has all rows", console, "dim", INDENT)
            break
        where, what, setting, why, source = key
        reason = f"{setting}: {why}" if setting else why
        show_text(printable(f"{where}, {what}"), console, "", INDENT, INDENT)
        told = {"clients": group["who"], "applications": group["application"], "operations": group["operation"]}
        for words, column in (*told.items(), ("rows", group["row"].astype(str))):
            if names := _names(column):
                show_text(f"{words}: {names}", console, "", 2 * INDENT, INDENT)
        show_text(printable(f"{reason} [{source}]" if source else reason), console, "dim", 2 * INDENT)


def _names(column: Any) -> str:
    names = [printable(name) for name in column.dropna().unique()]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _render_servers(servers: list[Server], console: Console) -> None:
    show_text("Servers", console, "bold")
    for server in servers[:MOST_LINES]:
        system = "not known" if server.family is None else server.family.capitalize()
        build = f", build {server.build}" if server.build is not None else ""
        line = f"{_named(server)}: {system}{build}; role {server.role or 'not known'}; known by {server.known_by}"
        show_text(printable(line), console, "", INDENT, INDENT)
    if len(servers) > MOST_LINES:
        console.print(Text(f"and {len(servers) - MOST_LINES:,} more", "dim"))


def _named(server: Server) -> str:
    return f"{server.name} ({server.ip})" if server.name else server.ip


def _render_list(title: str, lines: list[str], console: Console) -> None:
    if not lines:
        return
    show_text(title, console, "bold")
    for line in lines[:MOST_LINES]:
        show_text(printable(line), console, "", INDENT, INDENT)
    if len(lines) > MOST_LINES:
        show_text(f"and {len(lines) - MOST_LINES:,} more", console, "dim", INDENT, INDENT)


def render_recommendation(found: Recommendation, console: Console) -> None:
    """Print what is recommended for each server, what is held back and by whom, and what repairs would gain."""
    for advice in found.servers[:MOST_LINES]:
        show_text(printable(_named(advice.server)), console, "bold")
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
        show_text("no policy: " + printable(advice.reason), console, "", INDENT, INDENT)
    else:
        for name, given in advice.policy.settings.items():
            show_text(f"{name} = {printable(written(given.value))}", console, "", INDENT, INDENT)
        for share, options in advice.policy.shares.items():
            for option, given in options.items():
                show_text(
                    f"[{printable(share)}] {option} = {printable(written(given.value))}", console, "", INDENT, INDENT
                )
    for name in advice.kept:
        show_text(f"{name}: is as tight already", console, "dim", INDENT, INDENT)
    if refused := sorted(dict.fromkeys(advice.refused)):
        more = f" and {len(refused) - MOST_NAMES} more" if len(refused) > MOST_NAMES else ""
        show_text(
            f"refused already today: {printable('; '.join(refused[:MOST_NAMES]))}{more}", console, "dim", INDENT, INDENT
        )
    for blocked in advice.held_back:
        show_text(f"held back: {printable(blocked.what)}: {printable(blocked.why)}", console, "dim", INDENT, INDENT)


def written(value: object) -> str:
    """A value as people write it."""
    if isinstance(value, tuple):
        return ", ".join(value) or "(empty)"
    return "(absent)" if value is None else str(value)
