"""`nullsession policy`: what administrators have, in plain words, and how to get it from a server."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analyzer.cli.helping import examples
from analyzer.cli.options import NOTHING_USABLE, PARTLY_READ, console, say
from analyzer.errors import PolicyError

if TYPE_CHECKING:
    from analyzer.policy.explain import Explained
    from analyzer.policy.settings import Policy

SHOW_EXAMPLES = examples(
    ("What a server's export sets, and what its defaults are", "policy show server1.reg --os 2019 --role member"),
    ("A security template over what is there", "policy show server1.reg template.inf"),
    ("A Samba server, and all that it does not say", "policy show smb.conf --all"),
)
COLLECT_EXAMPLES = examples(
    ("The script for Windows", "policy collect > collect.ps1"), ("For Samba", "policy collect --samba > collect.sh")
)

app = typer.Typer(no_args_is_help=True, help="Policies: read what a server has, and get it from there.")

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="Registry exports, security templates, registry.pol, smb.conf or TOML; several are applied in this order.",
    ),
]
Release = Annotated[
    str | None,
    typer.Option("--os", metavar="RELEASE", help="The server's release (2012r2, 2019, ...) or build number."),
]


class Role(StrEnum):
    """What a server is in its domain."""

    MEMBER = "member"
    DC = "dc"


class Shown(StrEnum):
    """How a policy is printed."""

    TABLE = "table"
    JSON = "json"
    TOML = "toml"


@app.command(epilog=SHOW_EXAMPLES)
def show(
    files: Files,
    release: Release = None,
    role: Annotated[
        Role | None, typer.Option(help="What the server is in its domain; it decides about defaults.")
    ] = None,
    format_: Annotated[Shown, typer.Option("--format", help="What to print.")] = Shown.TABLE,
    everything: Annotated[bool, typer.Option("--all", help="Also settings that the files do not tell.")] = False,
) -> None:
    """Say in plain words what the files set about anonymous access, and what the defaults are."""
    from analyzer.policy.reading import read_file  # noqa: PLC0415
    from analyzer.policy.settings import build_of, merged  # noqa: PLC0415

    os_build = None if release is None else build_of(release)
    policies, unreadable = [], False
    for file in files:
        try:
            policies.append(read_file(file))
        except PolicyError as problem:
            say(str(problem))
            unreadable = True
    if not policies:
        raise typer.Exit(NOTHING_USABLE)
    policy = merged(policies)
    for warning in policy.warnings:
        say(warning)
    if format_ is Shown.TOML:
        from analyzer.policy.simple import write_toml  # noqa: PLC0415

        sys.stdout.write(write_toml(policy))
    elif format_ is Shown.JSON:
        print(json.dumps(_as_json(policy, os_build, role, everything), indent=2))
    else:
        from analyzer.report.policies import render  # noqa: PLC0415

        render(policy, console(), os_build=os_build, role=role, everything=everything)
    if unreadable:
        raise typer.Exit(PARTLY_READ)


@app.command(epilog=COLLECT_EXAMPLES)
def collect(
    samba: Annotated[bool, typer.Option("--samba", help="For a Samba server instead of Windows.")] = False,
) -> None:
    """Print the script that an administrator runs on a server to export the settings which matter. It changes nothing."""
    from analyzer.policy.scripts import COLLECT_SAMBA, collect_script  # noqa: PLC0415

    sys.stdout.write(COLLECT_SAMBA if samba else collect_script())


def _as_json(policy: Policy, os_build: int | None, role: str | None, everything: bool) -> dict[str, Any]:
    from analyzer.policy.explain import explained, untold  # noqa: PLC0415

    told = [_row(each) for each in explained(policy, os_build=os_build, role=role)]
    more = [_row(each) for each in untold(policy, os_build=os_build, role=role)] if everything else []
    found = {"family": policy.family, "settings": told, "warnings": policy.warnings}
    return found | ({"not_told": more} if everything else {})


def _row(each: Explained) -> dict[str, Any]:
    return {
        "setting": each.setting.id,
        "share": each.share,
        "name": each.setting.display_name,
        "value": each.given.value,
        "meaning": each.meaning,
        "effect": each.setting.plain,
        "default": None if each.default is None else asdict(each.default),
        "is_default": each.is_default,
        "place": each.given.source,
        "source": each.setting.source,
    }
