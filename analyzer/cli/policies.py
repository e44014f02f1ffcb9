"""What commands that replay policies share: their options, what these mean, and what of an analysis is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analyzer.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from analyzer.analysis import Analysis
    from analyzer.policy import Policy

Policies = Annotated[
    list[Path] | None,
    typer.Option(
        "--policy", metavar="FILE", help="The policy for all servers; several files are applied in this order."
    ),
]
OfServers = Annotated[
    list[str] | None,
    typer.Option("--server", metavar="NAME=FILE", help="The policy for one server, by its name or address."),
]
Baselines = Annotated[
    list[str] | None,
    typer.Option(
        "--baseline",
        metavar="[NAME=]FILE",
        help="What is set today, on all servers or on the one of this name or address; several files add up.",
    ),
]
Systems = Annotated[
    list[str] | None,
    typer.Option(
        "--os", metavar="[NAME=]RELEASE", help="What servers are: 2008r2, 2016, samba ..., or a build number."
    ),
]
Roles = Annotated[
    list[str] | None, typer.Option("--role", metavar="[NAME=]ROLE", help="What servers are: member or dc.")
]
Defaults = Annotated[
    bool, typer.Option("--assume-defaults", help="What nobody says is set has its default; else it is not known.")
]


def read(files: Sequence[Path]) -> Policy:
    """The policy in files of administrators, applied in this order."""
    from analyzer.policy import reading  # noqa: PLC0415 - only needed where policies are given

    return reading.read(files)


def _split(entries: Sequence[str] | None, option: str, needs_name: bool) -> list[tuple[str, str]]:
    """`NAME=VALUE`, or `VALUE` alone, for all servers. A file of that whole name is no pair."""
    found = []
    for entry in entries or ():
        name, equals, value = entry.partition("=")
        if not equals or Path(entry).is_file():
            if needs_name:
                raise UsageError(f"{option} wants NAME=FILE, not {entry!r}")
            name, value = "", entry
        if not value:
            raise UsageError(f"{option} {entry!r}: nothing stands behind the =")
        found.append((name, value))
    return found


def policies_of(policy: Sequence[Path] | None, server: Sequence[str] | None) -> dict[str, Policy]:
    """The policies of `--policy` (by the empty name) and `--server`."""
    policies = {"": read(policy)} if policy else {}
    return policies | by_name(server, "--server", needs_name=True)


def by_name(entries: Sequence[str] | None, option: str, *, needs_name: bool = False) -> dict[str, Policy]:
    """The policies of `NAME=FILE`, by these names; several files of a name are applied in this order."""
    files: dict[str, list[Path]] = {}
    for name, value in _split(entries, option, needs_name):
        files.setdefault(name, []).append(Path(value))
    return {name: read(those) for name, those in files.items()}


def baselines_of(entries: Sequence[str] | None) -> dict[str, Policy]:
    """What is set today. Files that contradict each other cannot both be true."""
    from analyzer.policy.judging import normal  # noqa: PLC0415

    for name in {name for name, _ in _split(entries, "--baseline", False)}:
        known: dict[str, Any] = {}
        for other, value in _split(entries, "--baseline", False):
            if other != name:
                continue
            for setting, given in read([Path(value)]).settings.items():
                earlier = known.setdefault(setting, given)
                if normal(earlier.value) != normal(given.value):
                    raise UsageError(f"{setting} contradicts itself: {earlier.source} and {given.source}")
    return by_name(entries, "--baseline")


def words(entries: Sequence[str] | None, option: str) -> dict[str, str]:
    """What is said of servers by name, in a word."""
    return dict(_split(entries, option, False))


def needed(analysis: Analysis) -> dict[str, pa.Table]:
    """The tables that are replayed."""
    from analyzer.policy import NEEDED  # noqa: PLC0415

    return {name: analysis.arrow(name) for name in NEEDED}


def enough(analysis: Analysis) -> dict[str, str | None]:
    """Why servers were not observed for long enough, by `site/address`."""
    observed = analysis.arrow("observation")
    return {
        f"{site or ''}/{ip}": f"not observed for long enough: {lacks}" if enough is False else None
        for site, ip, enough, lacks in zip(
            observed["site"].to_pylist(),
            observed["server_ip"].to_pylist(),
            observed["enough"].to_pylist(),
            observed["lacks"].to_pylist(),
            strict=True,
        )
        if ip is not None
    }
