"""The report as a page: one file that needs no network and nothing beside it.

The page is made of templates, which escape whatever they are given; its pictures are SVG, drawn here; its table is filled
and sorted by a script of its own from rows that are embedded compressed. A content security policy allows this script and
this style by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from analyzer import __version__, tables
from analyzer.analysis import Analysis
from analyzer.errors import AnalyzerError
from analyzer.report import terminal
from analyzer.report.html import activity, evidence, flow, overview, rows, words
from analyzer.report.html.policy import Policy, replayed, uses
from analyzer.report.html.recommended import recommended

if TYPE_CHECKING:
    import jinja2

    from analyzer.policy.recommending import Recommendation

__all__ = ["Policy", "render", "replayed", "write"]

AT_ONCE = 30
"""Servers that are shown before one asks for all."""
MOST_CAPTURES = 200
MOST_SERVERS = 1_000
MOST_REFUSED = 100
MOST_UNSEEN = 100
MOST_LINES = 200
"""Rows of tables that are part of the text; the last for each server."""
MOST_SETTINGS = 20
MOST_ADVISED = 3
"""Settings of a policy that are told, and servers whose settings stand in the answer."""
MARKS = {"breaks": "depends", "cannot_be_known": "unknown", "still_works": "denied"}
"""The verdicts whose marks outcomes have."""


def write(analysis: Analysis, path: Path, **how: Any) -> None:
    """As `render`, into a file. Raises AnalyzerError if it cannot be written."""
    text = render(analysis, **how)
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as problem:
        raise AnalyzerError(f"{path}: cannot be written: {problem.strerror or problem}") from problem


def render(
    analysis: Analysis,
    *,
    title: str = "",
    policies: Sequence[Policy] = (),
    recommendation: Recommendation | None = None,
    created: datetime | None = None,
) -> str:
    """The page.

    title: of the page, such as the number of a change. policies: what they would do to what was seen, a section each
    (`replayed` makes one of a what-if). They have names of their own. recommendation: what `analyzer.policy.recommend` found.
    created: when the report was made, else now.
    """
    environment = _environment()
    style, script = (_source(environment, name) for name in ("style.css", "script.js"))
    dependencies = analysis.arrow("dependencies")
    counted = overview.Counted(analysis)
    servers = counted.servers()
    refused = counted.refused()
    captures = words.lines(analysis.arrow("captures").slice(0, MOST_CAPTURES), counted.zone)
    unseen, hints = analysis.arrow("endpoint_unseen"), analysis.arrow("hints")
    seen, *blind = terminal.blind_spots(analysis)
    happened = activity.activity(analysis)
    advice = None if recommendation is None else recommended(recommendation)
    return environment.get_template("report.html").render(
        policy_of_page=_content_security_policy(style, script),
        style=style,
        script=script,
        title=title or "Null-session dependencies",
        version=__version__,
        created=created or datetime.now(UTC),
        settings=analysis.settings,
        answer=terminal.answer(analysis),
        counted=counted,
        verdicts={verdict.name: verdict for verdict in counted.verdicts()},
        servers=servers,
        free=list(overview.free_servers(servers)),
        left_out=counted.left_out(),
        refused=refused,
        packed=rows.packed(
            dependencies,
            {"display_filter": evidence.display_filters(analysis)}
            | {
                f"policy: {words.shown(policy.name)}": policy.by_row(len(dependencies))
                for policy in [*policies, *([advice.replay] if advice else [])]
            },
            counted.zone.key,
        ),
        dependencies=dependencies,
        flow=flow.flow(counted),
        activity=happened,
        discovery=activity.discovery(happened),
        seen=seen,
        observed=_observed(analysis, happened, counted.zone),
        blind=blind,
        captures=captures,
        captures_total=len(analysis.arrow("captures")),
        unseen=words.lines(unseen.slice(0, MOST_UNSEEN), counted.zone),
        unseen_total=len(unseen),
        hints=words.lines(hints.slice(0, MOST_UNSEEN), counted.zone),
        hints_total=len(hints),
        rare=words.lines(analysis.arrow("rare_uses"), counted.zone),
        policies=policies,
        advice=advice,
        several_sites=any(server.site for server in servers),
    )


def _environment() -> jinja2.Environment:
    """Whatever a template is given is escaped."""
    import jinja2  # noqa: PLC0415 - only pages need it

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analyzer.report.html"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "shown": words.shown,
        "parts": words.parts,
        "count": words.count,
        "named": overview.named,
    }
    environment.globals |= {
        "uses": uses,
        "TITLES": flow.TITLES,
        "NODE": flow.NODE,
        "WIDTH": flow.WIDTH,
        "VERDICTS": tables.VERDICT,
        "IN_THE_WAY": overview.IN_THE_WAY,
        "AT_ONCE": AT_ONCE,
        "MOST_SERVERS": MOST_SERVERS,
        "MOST_REFUSED": MOST_REFUSED,
        "MOST_LINES": MOST_LINES,
        "MOST_SETTINGS": MOST_SETTINGS,
        "MOST_ADVISED": MOST_ADVISED,
        "MARKS": MARKS,
    }
    return environment


def _source(environment: jinja2.Environment, name: str) -> str:
    """The text of a file beside the templates, with the ends of lines that browsers make of any: hashes are of these."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0].replace("\r\n", "\n")


def _content_security_policy(style: str, script: str) -> str:
    """Nothing may be loaded, sent or run but this style and this script."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _observed(analysis: Analysis, happened: activity.Activity, zone: ZoneInfo) -> str:
    """What was captured, in a line."""
    captures = tables.TableSet({"captures": analysis.arrow("captures")})
    columns = captures.columns("captures", "packets", "first_seen", "last_seen")
    packets = int(columns["packets"][columns["packets"] > 0].sum())
    told = f"{words.count(len(columns['packets']), 'file')}, {words.count(packets, 'packet')}"
    times = np.concatenate([columns["first_seen"], columns["last_seen"]])
    times = times[times >= 0]
    if not len(times):
        return told
    span = f"{words.moment(int(times.min()), zone)} to {words.moment(int(times.max()), zone)} {zone.key}"
    return f"{told}, {span}; something was captured on {words.count(happened.days, 'day')}"
