"""Help as people read it: in words, with examples that work, and nothing lost in it; and completion in shells."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer.main
from command import ROOT, Called, environment, nullsession

from analyzer import cli, engines, tables
from analyzer.cli import helping
from analyzer.cli.analyze import TABLES_EXAMPLES

HEAVY = {"numpy", "pandas", "numba", "pyarrow", "scapy", "pyshark", "zstandard", "isal", "lz4"}


def all_commands() -> list[tuple[str, ...]]:
    """The words of each command, the program itself first."""

    def below(command: Any, words: tuple[str, ...]) -> list[tuple[str, ...]]:
        inside = getattr(command, "commands", {})
        return [words, *(found for name, each in inside.items() for found in below(each, (*words, name)))]

    return below(typer.main.get_command(cli.app), ())


COMMANDS = all_commands()


def help_of(called: Called, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], width: int = 80) -> str:
    """The help of a command, without frames."""
    monkeypatch.setenv("COLUMNS", str(width))
    done = called(*words, "--help")
    assert (done.status, done.err) == (0, "")
    assert max(map(len, done.out.splitlines())) <= width
    return done.out


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_has_no_names_of_types(called: Called, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    text = help_of(called, monkeypatch, words)
    assert not re.search(r"<\w+[\[|>]|\{|\}", text)
    assert f"Usage: {' '.join(('nullsession', *words))} " in text


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_brackets_in_help_are_not_lost(called: Called, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    """What stands in brackets in the help of an option would be markup to the library that prints it."""
    command: Any = typer.main.get_command(cli.app)
    for word in words:
        command = command.commands[word]
    printed = "".join(re.sub(r"[│\s]", "", help_of(called, monkeypatch, words, 300)))
    for param in command.params:
        if param.help:
            assert re.sub(r"\s", "", param.help) in printed


@pytest.mark.parametrize("words", [words for words in COMMANDS if words != ("policy",)], ids=" ".join)
def test_each_help_has_examples_that_parse(
    called: Called, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    text = help_of(called, monkeypatch, words)
    examples = [
        line.strip() for line in text.partition("Examples:")[2].splitlines() if line.strip().startswith("nullsession ")
    ]
    assert examples
    for example in examples:
        program, *arguments = shlex.split(example.partition(" > ")[0])
        assert program == "nullsession"
        assert tuple(arguments[: len(words)]) == words
        if "--install-completion" not in arguments:
            assert taken_by(arguments, monkeypatch) in arguments


def taken_by(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The command that takes these arguments; it is not run."""
    taken: list[str] = []
    command: Any = typer.main.get_command(cli.app)
    groups = [command, *(each for each in command.commands.values() if hasattr(each, "commands"))]
    for name, found in ((name, found) for group in groups for name, found in group.commands.items()):
        if not hasattr(found, "commands"):
            monkeypatch.setattr(found, "callback", lambda name=name, **_: taken.append(name))
    command.main(arguments, prog_name="nullsession", standalone_mode=False)
    (name,) = taken
    return name


def test_options_stand_in_groups(called: Called, monkeypatch: pytest.MonkeyPatch) -> None:
    text = help_of(called, monkeypatch, ("analyze",))
    groups = re.split(r"╭─ (\w+) ─+╮", text)
    options = {
        name: set(re.findall(r"│ (--[a-z-]+)", body)) for name, body in zip(groups[1::2], groups[2::2], strict=True)
    }
    assert options == {
        "Arguments": set(),
        "Options": {"--help"},
        "Output": {"--output", "--format", "--quiet"},
        "Reading": {"--engine", "--port", "--detail", "--hosts", "--endpoint-log", "--separate"},
        "Judging": {"--applications", "--scanners", "--timezone", "--minimum"},
    }


def test_the_program_has_its_name_however_it_is_started() -> None:
    done = nullsession("--help", settings={"COLUMNS": "80"})
    assert "Usage: nullsession [OPTIONS]" in done.out
    assert "python -m" not in done.out


def test_help_has_no_colours_without_a_terminal() -> None:
    assert "\x1b" not in nullsession("analyze", "--help", settings={"TERM": "xterm-256color"}).out


def test_examples_are_commands_of_the_program() -> None:
    assert "    nullsession tables list" in TABLES_EXAMPLES.splitlines()


# Completion. #

LOADED = (
    "import sys, json\n"
    "from analyzer.__main__ import main\n"
    "try:\n    main()\n"
    "finally:\n    print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)\n"
)


def completed(*words: str) -> tuple[list[str], set[str]]:
    """What bash offers for the last of these words, and the modules that were loaded for it."""
    line = ["nullsession", *words]
    settings = {"_NULLSESSION_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(line), "COMP_CWORD": str(len(words))}
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("a",), ["analyze"]),
        (("tables", "cr"), ["credentialed_uses"]),
        (("tables", "li"), ["list"]),
        (("tables", ""), [*tables.TABLES, "list"]),
        (("analyze", "--engine", ""), list(engines.NAMES)),
        (("verify", "--engines", "native,"), ["native,tshark", "native,scapy"]),
        (("analyze", "--format", ""), ["table", "json", "csv"]),
        (("policy", "show", "--role", "d"), ["dc"]),
        (("slice", "--verdict", "d"), ["depends", "denied"]),
        (("analyze", "--sc"), ["--scanners"]),
        (("analyze", "cap"), []),  # the shell offers files
    ],
    ids=lambda words: " ".join(words) or "nothing",
)
def test_a_shell_completes(words: tuple[str, ...], offered: list[str]) -> None:
    found, loaded = completed(*words)
    assert found == offered
    assert sorted(loaded & HEAVY) == []


def test_the_names_of_tables_are_those_that_there_are() -> None:
    assert tuple(tables.TABLES) == helping.TABLES
    assert set(helping.VERDICTS) == set(tables.VERDICT)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_each_shell_has_its_script(shell: str) -> None:
    """It asks the program by its name, and by the variable that the program looks at."""
    done = nullsession("--show-completion", shell, settings={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert done.status == 0
    assert "_NULLSESSION_COMPLETE" in done.out
    assert f"complete_{shell}" in done.out
    assert re.search(r"\bnullsession\b", done.out)


@pytest.mark.skipif(sys.platform == "win32", reason="bash is a thing of Unix")
def test_completion_can_be_installed(tmp_path: Any) -> None:
    (tmp_path / ".bashrc").touch()
    done = nullsession(
        "--install-completion",
        "bash",
        settings={"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        cwd=ROOT,
    )
    assert done.status == 0
    assert "nullsession" in (tmp_path / ".bashrc").read_text()
    (script,) = (tmp_path / ".bash_completions").iterdir()
    assert "_NULLSESSION_COMPLETE" in script.read_text()
