"""How commands present themselves: their help as people read it, and what a shell completes.

typer makes the commands; here words take the place of its names of types. In: typer's application. Out: the command that is run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import typer

from analyzer import engines

PROGRAM = "nullsession"
READING, JUDGING, OUTPUT = "Reading", "Judging", "Output"
"""Groups of options in the help."""

VERDICTS = ("depends", "unknown", "covered", "denied", "probe")
"""Those of `analyzer.tables.VERDICT` ..."""

TABLES = (
    "captures", "connections", "sessions", "channels", "trees", "pipe_opens", "binds", "calls", "credentialed_uses",
    "disk_opens", "hosts", "other_ways", "referrals", "problems", "endpoint_processes", "endpoint_unseen", "dependencies",
    "applications", "clients", "servers", "pipes", "timeline", "observation", "discovery", "rare_uses", "hints", "coverage",
)  # fmt: skip
"""... and the keys of its `TABLES`: the module takes too long to import while somebody waits for a completion."""


def examples(*lines: tuple[str, str]) -> str:
    """The end of a help: what somebody may want, and the command that does it. `nullsession` is put before it."""
    return "Examples:\n" + "\n".join(f"  {what}:\n    {PROGRAM} {command}" for what, command in lines)


def command_of(app: typer.Typer) -> Callable[..., Any]:
    """The command that typer makes of an application, with a help in words."""
    command: Any = typer.main.get_command(app)
    for each in _all_commands(command):
        each.help = _literal(each.help)
        for param in each.get_params(typer.Context(each)):
            _say_in_words(param)
        if each.epilog:
            _print_as_it_is(each)
    made: Callable[..., Any] = command
    return made


def _all_commands(command: Any) -> Iterator[Any]:
    yield command
    for below in getattr(command, "commands", {}).values():
        yield from _all_commands(below)


def _literal(text: str | None) -> str | None:
    """Brackets are brackets, and no markup."""
    return None if text is None else re.sub(r"(?<!\\)\[(?=[a-z#/@])", r"\\[", text)


def _say_in_words(param: Any) -> None:
    """Without `<bool>` for what takes no value, `<list[str]>` for what has a name, and `{FILE...}...` for `FILE...`."""
    is_argument = param.param_type_name == "argument"
    if hasattr(param, "help"):
        param.help = _literal(param.help)
    if hasattr(param, "display_type_rich"):  # since typer 0.27
        named = param.display_type_rich
        has_no_value = is_argument or param.is_flag

        def in_words(ctx: Any) -> str | None:
            return None if has_no_value else (named(ctx=ctx) or "").strip("<>")

        param.display_type_rich = in_words
    if is_argument and param.metavar is not None:
        usage = param.metavar if param.required else f"[{param.metavar}]"
        param.get_usage_pieces = lambda ctx: [usage]  # noqa: ARG005 - so it is called


def _print_as_it_is(command: Any) -> None:
    """The end of the help keeps its lines, which typer would join or set apart."""
    text, command.epilog = command.epilog, None
    show = command.format_help

    def format_help(ctx: Any, formatter: Any) -> None:
        show(ctx, formatter)
        print("\n".join(f" {line}" for line in text.splitlines()) + "\n")

    command.format_help = format_help


def complete_engine(incomplete: str) -> list[str]:
    """Names of engines that begin so."""
    return [name for name in engines.NAMES if name.startswith(incomplete)]


def complete_engines(incomplete: str) -> list[str]:
    """Names of engines behind those that are listed already, with commas between."""
    listed = incomplete.split(",")[:-1]
    before = "".join(f"{name}," for name in listed)
    return [before + name for name in complete_engine(incomplete[len(before) :]) if name not in listed]


def complete_verdict(incomplete: str) -> list[str]:
    """Verdicts that begin so."""
    return [name for name in VERDICTS if name.startswith(incomplete)]


def complete_table(incomplete: str) -> list[str]:
    """Names of tables that begin so."""
    return [name for name in (*TABLES, "list") if name.startswith(incomplete)]
