"""`nullsession report`: the report as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from analyzer.cli.helping import OUTPUT, examples
from analyzer.cli.options import Paths, Quiet, Reading, announce, exit_status, opened, takes_reading
from analyzer.cli.policies import (
    Baselines,
    Defaults,
    OfServers,
    Policies,
    Roles,
    Systems,
    baselines_of,
    enough,
    needed,
    policies_of,
    words,
)
from analyzer.errors import AnalyzerError, UsageError

NOTHING_TO_REPLAY = "no use without credentials was seen: policies were not replayed, and nothing is recommended"

EXAMPLES = examples(
    ("A page for a change request", 'report captures/ -o null-sessions.html --title "Change 4711"'),
    ("Of results that are there already", "report results/"),
    ("With what a policy would do", "report results/ --policy template.inf --os 2019 --recommend"),
)


@takes_reading
def report(
    paths: Paths,
    reading: Reading,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The page to write.", rich_help_panel=OUTPUT)
    ] = Path("report.html"),
    title: Annotated[
        str, typer.Option(metavar="TEXT", help="Its title, such as the number of a change.", rich_help_panel=OUTPUT)
    ] = "",
    policy: Policies = None,
    server: OfServers = None,
    recommend: Annotated[
        bool, typer.Option("--recommend", help="Also the tightest settings that break nothing seen to be needed.")
    ] = False,
    baseline: Baselines = None,
    system: Systems = None,
    role: Roles = None,
    assume_defaults: Defaults = False,
    quiet: Quiet = False,
) -> None:
    """Write the report as a page: one file that opens in any browser, without a network."""
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise AnalyzerError(f"{output}: cannot be written: it is a folder, or in a folder that is not there")
    policies = policies_of(policy, server)
    if not policies and not recommend and (baseline or system or role or assume_defaults):
        raise UsageError(
            "--baseline, --os, --role and --assume-defaults are for policies: say --policy, --server or --recommend"
        )
    baselines, systems, roles = baselines_of(baseline), words(system, "--os"), words(role, "--role")
    analysis = opened(paths, reading, quiet)
    from analyzer import policy as policies_  # noqa: PLC0415 - templates and tables; not needed for help
    from analyzer.report import html  # noqa: PLC0415

    replayed, recommended = [], None
    rows = needed(analysis) if policies or recommend else {}
    if rows and not len(rows["dependencies"]):
        replayed.append(html.Policy("Policies", notes={"Nothing to replay": [NOTHING_TO_REPLAY]}))
        announce(NOTHING_TO_REPLAY)
    elif rows:
        today: dict[str, Any] = {"baselines": baselines, "systems": systems, "roles": roles}
        if policies:
            found = policies_.whatif(rows, policies=policies, assume_defaults=assume_defaults, **today)
            replayed.append(html.replayed(_name(policy, server), found, policies))
        if recommend:
            recommended = policies_.recommend(rows, enough=enough(analysis), assume_defaults=assume_defaults, **today)
    html.write(analysis, output, title=title, policies=replayed, recommendation=recommended)
    if not quiet:
        typer.echo(f"{output}: written", err=True)
    raise typer.Exit(exit_status(analysis))


def _name(policy: Sequence[Path] | None, server: Sequence[str] | None) -> str:
    """What the policy is called: its files."""
    names = [path.name for path in policy or ()]
    return ", ".join(
        names + [f"{of}: {Path(file).name}" for of, _, file in (each.partition("=") for each in server or ())]
    )
