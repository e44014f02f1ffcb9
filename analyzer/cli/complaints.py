"""What typer's parser complains of, in the voice of all other errors: what, where, and what to do.

In: an exception of its parser. Out: one line. Its classes are told by their names: they belong to typer or to click, by version.
"""

from __future__ import annotations

import re
from typing import Any

from analyzer.cli.helping import PROGRAM
from analyzer.errors import did_you_mean


def complaint(problem: Any) -> str:
    """One line about a mistake on the command line; empty where the help was shown instead."""
    kind = type(problem).__name__
    if kind == "NoArgsIsHelpError":
        return ""
    context = getattr(problem, "ctx", None)
    see = f"`{context.command_path if context else PROGRAM} --help`"
    if kind == "NoSuchOption":
        names = [name for param in context.command.get_params(context) for name in param.opts] if context else []
        return f"no option is called {problem.option_name}{did_you_mean(problem.option_name, names)}; {see} names all"
    if match := re.match(r"No such command '(.*?)'\.", str(problem.message)):
        names = list(getattr(context.command, "commands", {})) if context else []
        return f"no command is called {match[1]!r}{did_you_mean(match[1], names)}; {see} names all"
    if kind == "MissingParameter":
        return f"{_name_of(problem.param)} is missing; {see} shows what is wanted"
    if kind == "BadParameter":
        return f"{_name_of(problem.param)}: {_what_is_wrong(problem)}"
    if kind == "BadOptionUsage":
        is_missing = "requires" in problem.message
        return f"{problem.option_name}: {'a value is missing' if is_missing else 'takes no value'}; {see} shows what is wanted"
    if match := re.search(r"unexpected extra arguments?(?:\(s\))? \((.*)\)", str(problem.message)):
        return f"{match[1]!r} is more than the command takes; {see} shows what is wanted"
    return f"{str(problem.format_message()).rstrip('.')}; {see} shows what is wanted"


def _name_of(param: Any) -> str:
    """An option as it is typed, an argument as the help calls it."""
    if param is None:
        return "a value"
    return str(max(param.opts, key=len) if param.param_type_name == "option" else param.metavar or param.name)


def _what_is_wrong(problem: Any) -> str:
    """The value, and what it should be."""
    message = str(problem.message).removeprefix("Value error, ").rstrip(".")
    cause = problem.__cause__
    if hasattr(cause, "errors"):
        (first, *_) = cause.errors()
        if first["type"].startswith("int_"):
            return f"{first['input']!r} is no whole number"
        if first["type"] == "greater_than_equal":
            return f"{first['input']!r} is too small; the least is {first['ctx']['ge']}"
    if match := re.fullmatch(r"('.*') is not one of (.*)", message):
        return f"{match[1]} is none of {match[2].replace(chr(39), '')}"
    return message
