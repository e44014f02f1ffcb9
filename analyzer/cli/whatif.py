"""`nullsession whatif` and `nullsession recommend`: what a policy breaks, and the tightest that breaks nothing seen."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analyzer.cli.helping import examples
from analyzer.cli.options import (
    DIFFERENT,
    DONE,
    Format,
    Paths,
    Printed,
    Quiet,
    Reading,
    announce,
    check_folder,
    console,
    exit_status,
    opened,
    takes_reading,
)
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
    read,
    words,
)
from analyzer.errors import PolicyError, UsageError

if TYPE_CHECKING:
    from analyzer.policy import Policy
    from analyzer.policy.recommending import Advice, Recommendation
    from analyzer.policy.replay import WhatIf

WHATIF_EXAMPLES = examples(
    ("What a template would break", "whatif results/ --policy template.inf --os 2019 --role member"),
    ("For one server only, in a script", "whatif results/ --server files1=tight.toml --check --quiet"),
)
RECOMMEND_EXAMPLES = examples(
    ("The tightest policies, with files that set them", "recommend results/ -o policies/"),
    ("Give up what clients can do with credentials", "recommend results/ --accept covered"),
)


@takes_reading
def whatif(
    *,
    paths: Paths,
    policy: Policies = None,
    server: OfServers = None,
    client_policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A policy for the clients: what they no longer do.")
    ] = None,
    baseline: Baselines = None,
    system: Systems = None,
    role: Roles = None,
    assume_defaults: Defaults = False,
    check: Annotated[bool, typer.Option("--check", help="End with 1 if something breaks, or may break.")] = False,
    format_: Printed = Format.TABLE,
    quiet: Quiet = False,
    reading: Reading,
) -> None:
    """Say what would break, and what cannot be known, if a policy were applied: every use that was seen is replayed."""
    policies = policies_of(policy, server)
    if not policies and client_policy is None:
        raise UsageError("say which policy: --policy FILE, --server NAME=FILE or --client-policy FILE")
    baselines, systems, roles = baselines_of(baseline), words(system, "--os"), words(role, "--role")
    clients = None if client_policy is None else read([client_policy])
    analysis = opened(paths, reading, quiet)
    from analyzer import policy as policies_  # noqa: PLC0415 - NumPy and Arrow

    found = policies_.whatif(
        needed(analysis),
        policies=policies,
        baselines=baselines,
        systems=systems,
        roles=roles,
        client_policy=clients,
        assume_defaults=assume_defaults,
    )
    if format_ is Format.CSV:
        _write_csv(found.rows())
    elif format_ is Format.JSON:
        print(json.dumps(_as_json(found), indent=2))
    elif not quiet:
        from analyzer.policy.access_lists import script  # noqa: PLC0415
        from analyzer.report import whatif as report  # noqa: PLC0415

        report.render(found, console(), script=script(found.access_lists) if found.access_lists else "")
    status = exit_status(analysis)
    raise typer.Exit(status or (DIFFERENT if check and found.breaks() else DONE))


@takes_reading
def recommend(
    *,
    paths: Paths,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Write the files to apply, a folder a server.")
    ] = None,
    accept: Annotated[
        str,
        typer.Option(
            metavar="WHAT,...",
            help="What is given up: covered, unknown, cannot_be_known, numbers of rows, or netlogon, samr, lsarpc on domain "
            "controllers. The change record says so.",
        ),
    ] = "",
    baseline: Baselines = None,
    system: Systems = None,
    role: Roles = None,
    assume_defaults: Defaults = False,
    format_: Printed = Format.TABLE,
    quiet: Quiet = False,
    reading: Reading,
) -> None:
    """Find the tightest policy for each server that breaks nothing that was seen to be needed."""
    baselines, systems, roles = baselines_of(baseline), words(system, "--os"), words(role, "--role")
    if output:
        check_folder(output)
    analysis = opened(paths, reading, quiet)
    from analyzer import policy as policies_  # noqa: PLC0415 - NumPy and Arrow

    found = policies_.recommend(
        needed(analysis),
        accept=[word.strip() for word in accept.split(",") if word.strip()],
        enough=enough(analysis),
        assume_defaults=assume_defaults,
        baselines=baselines,
        systems=systems,
        roles=roles,
    )
    if output:
        _write_artefacts(found, baselines, output)
    if format_ is Format.CSV:
        _write_csv(found.repairs)
    elif format_ is Format.JSON:
        print(json.dumps(_advice_as_json(found), indent=2))
    elif not quiet:
        from analyzer.report import whatif as report  # noqa: PLC0415

        report.render_recommendation(found, console())
    raise typer.Exit(exit_status(analysis))


def _write_csv(rows: Any) -> None:
    """A DataFrame, as tables are written."""
    import pyarrow as pa  # noqa: PLC0415

    from analyzer import results  # noqa: PLC0415

    table = pa.Table.from_pandas(rows, preserve_index=False)
    for place, name in enumerate(table.column_names):
        if pa.types.is_string(table[name].type) or pa.types.is_large_string(table[name].type):
            table = table.set_column(place, name, table[name].dictionary_encode())  # as texts of tables are kept
    results.write_csv(table, sys.stdout.buffer)


def _as_json(found: WhatIf) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415

    rows = json.loads(found.rows().to_json(orient="records", date_format="iso", date_unit="us"))
    return {
        "counts": found.counts(),
        "contradictions": [asdict(it) for it in found.contradictions],
        "servers": [asdict(server) for server in found.servers],
        "warnings": found.warnings,
        "not_covered": found.caveats,
        "other_names": found.aliases,
        "access_lists": found.access_lists,
        "rows": rows,
    }


def _advice_as_json(found: Recommendation) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415

    return {
        "servers": [
            {
                "server": asdict(advice.server),
                "settings": _settings(advice),
                "reason": advice.reason,
                "as_tight_already": advice.kept,
                "refused_already": advice.refused,
                "held_back": [{"what": it.what, "why": it.why} for it in advice.held_back],
            }
            for advice in found.servers
        ],
        "given_up": found.given_up.nonzero()[0].tolist(),
        "counts": found.replay.counts(),
        "repairs": json.loads(found.repairs.to_json(orient="records")),
        "warnings": found.warnings,
        "not_covered": found.replay.caveats,
    }


def _settings(advice: Advice) -> dict[str, Any] | None:
    if advice.policy is None:
        return None
    made: dict[str, Any] = {name: given.value for name, given in advice.policy.settings.items()}
    for share, options in advice.policy.shares.items():
        made |= {f"[{share}] {option}": given.value for option, given in options.items()}
    return made


def _write_artefacts(found: Recommendation, baselines: dict[str, Policy], output: Path) -> None:
    """A folder for each server that has a policy; its name is its address, whatever it calls itself."""
    from analyzer.policy.artefacts import artefacts  # noqa: PLC0415
    from analyzer.policy.recommending import change_content  # noqa: PLC0415
    from analyzer.policy.record import Content  # noqa: PLC0415
    from analyzer.policy.servers import by_server  # noqa: PLC0415

    folders: set[str] = set()
    today = by_server(baselines, {(it.server.site, it.server.ip): it.server for it in found.servers}, "--baseline")
    for advice in found.servers:
        server = advice.server
        if advice.policy is None:
            announce(f"{server.ip}: no policy: {advice.reason}")
            continue
        affected, evidence, unknown = change_content(found, advice)
        content = Content(
            subject={"Server": server.name or server.ip, "Address": server.ip, "Known by": server.known_by},
            reason="The tightest settings with which all that was seen to be needed goes on to work.",
            affected=affected,
            evidence=evidence,
            unknown=unknown,
        )
        baseline = today.get((server.site, server.ip))
        try:
            made = artefacts(advice.policy, baseline=baseline, content=content)
        except PolicyError as problem:  # a name from a capture that a format cannot carry; other servers have theirs
            announce(f"{server.ip}: no files: {problem}")
            continue
        folder = output / _new_folder_name("_".join(filter(None, (server.site, server.ip))), folders)
        check_folder(folder)
        for name, data in made.files.items():
            (folder / name).write_bytes(data)
        for line in made.left_out:
            announce(f"{server.ip}: {line}")


def _new_folder_name(text: str, taken: set[str]) -> str:
    """A name that no other server has, whatever case a file system ignores: a number behind it tells them apart."""
    name = wanted = _folder_name(text)
    number = 2
    while name.casefold() in taken:
        name, number = f"{wanted}_{number}", number + 1
    taken.add(name.casefold())
    return name


def _folder_name(text: str) -> str:
    """A name that leads nowhere else: sites are paths, and addresses of version 6 have colons."""
    return "".join(
        char if char.isascii() and (char.isalnum() or char in "-_") else "." if char == "." else "_" for char in text
    ).lstrip(".")
