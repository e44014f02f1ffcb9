"""The package from outside: what importing it costs, what its wheel holds, and that its documents are true."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

import analyzer

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [README, *(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))]
NOT_IN_A_COPY = (".git", ".venv", "build", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", "corpus")
HEAVY = {"numpy", "pandas", "numba", "pyarrow", "scapy", "pyshark", "zstandard", "isal", "lz4"}
TERMINAL = {"typer", "click", "rich"}

# What importing costs. #

LOADED = """
import json, sys
try:
    {statement}
finally:
    loaded = sorted({{name.partition(".")[0] for name in sys.modules}})
    print(json.dumps(loaded), file=sys.stderr)
"""


def loaded_by(statement: str, status: int = 0, columns: int = 200) -> tuple[set[str], str]:
    """The top-level modules that a fresh Python has loaded after a statement, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(statement=statement)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "dumb"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1])), done.stdout


def command_line(*arguments: str | Path) -> str:
    """A statement that runs `nullsession` with these arguments."""
    return f"sys.argv = {['nullsession', *map(str, arguments)]!r}; from analyzer.__main__ import main; main()"


def test_heavy_modules_are_noticed() -> None:
    """The tests below would see what they look for."""
    loaded, _ = loaded_by("import analyzer.compiled")
    assert "numpy" in loaded
    assert "numba" not in loaded


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded, _ = loaded_by("import analyzer; analyzer.__version__; analyzer.AnalyzerError")
    assert "analyzer" in loaded
    assert sorted(loaded & (HEAVY | TERMINAL)) == []


def test_asking_for_the_version_imports_nothing_heavy() -> None:
    loaded, said = loaded_by(command_line("--version"))
    assert said == f"nullsession {analyzer.__version__}\n"
    assert sorted(loaded & (HEAVY | TERMINAL)) == []


@pytest.mark.parametrize("arguments", [["--help"], ["analyze", "--help"], ["doctor", "--help"]], ids=" ".join)
def test_asking_for_help_imports_nothing_heavy(arguments: list[str]) -> None:
    loaded, said = loaded_by(command_line(*arguments))
    assert "Usage:" in said
    assert sorted(loaded & HEAVY) == []  # typer prints its help by means of rich


def test_wrong_usage_imports_nothing_heavy() -> None:
    loaded, _ = loaded_by(command_line("analyze", "--no-such-option"), status=2)
    assert "analyzer" in loaded
    assert sorted(loaded & HEAVY) == []


def test_arrow_takes_the_allocator_that_gives_memory_back(tmp_path: Path) -> None:
    """Which it only does if it is told so before it is imported."""
    run = command_line("analyze", ROOT / "captures" / "guest.pcap", "-q", "-o", tmp_path)
    _, said = loaded_by(
        f"exec({run!r})\nexcept SystemExit:\n    import pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    )
    assert said == "system\n"


def test_a_small_analysis_imports_neither_pandas_nor_numba_nor_other_engines(tmp_path: Path) -> None:
    loaded, said = loaded_by(command_line("analyze", ROOT / "captures" / "guest.pcap", "-o", tmp_path))
    assert "guest" in said
    assert (tmp_path / "summary.json").exists()
    assert {"numpy", "pyarrow"} <= loaded
    assert sorted(loaded & {"pandas", "numba", "llvmlite", "scapy", "pyshark", "matplotlib", "IPython"}) == []


# The wheel. #


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the checkout with the setuptools that is here."""
    needed = re.findall(r"setuptools>=(\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))[0]
    try:
        there = int(version("setuptools").partition(".")[0])
    except PackageNotFoundError:
        pytest.skip("building the wheel: setuptools is not installed")
    if there < int(needed):
        pytest.skip(f"building the wheel: setuptools is {there}, and {needed} or later is needed")
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("building the wheel: pip is not installed")
    copy = tmp_path_factory.mktemp("source") / "checkout"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_IN_A_COPY))
    target = tmp_path_factory.mktemp("wheel")
    command = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet", "-w", str(target), str(copy)]
    done = subprocess.run([sys.executable, "-m", "pip", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = target.iterdir()
    return built


def test_the_wheel_is_for_every_system(wheel: Path) -> None:
    name = PROJECT["name"].replace("-", "_")
    assert wheel.name == f"{name}-{analyzer.__version__}-py3-none-any.whl"


def test_the_wheel_holds_the_whole_package_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "analyzer").rglob("*")
        if path.suffix in (".py", ".csv") or path.name == "py.typed" or path.parent.name == "templates"
    }
    assert {"analyzer/py.typed", "analyzer/knowledge/statuses.csv", "analyzer/__main__.py"} <= package
    assert "analyzer/report/html/templates/script.js" in package
    others = {name for name in names if ".dist-info/" not in name}
    assert others == package


def test_the_wheel_says_what_the_project_says(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    info = f"{PROJECT['name'].replace('-', '_')}-{analyzer.__version__}.dist-info"
    metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
    assert metadata["Name"] == PROJECT["name"]
    assert metadata["Version"] == analyzer.__version__
    assert metadata["License-Expression"] == PROJECT["license"]
    assert set(PROJECT["dependencies"]) <= set(metadata.get_all("Requires-Dist"))
    entry_points = archive.read(f"{info}/entry_points.txt").decode()
    assert entry_points.split() == ["[console_scripts]", "nullsession", "=", "analyzer.__main__:main"]
    licence = archive.read(f"{info}/licenses/LICENSE").decode()
    assert licence == (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_the_wheel_runs_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    capture = ROOT / "captures" / "anonymous-smb311.pcap"
    code = "import analyzer, analyzer.__main__ as m; assert 'installed' in analyzer.__file__; m.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "analyze", str(capture), "--format", "csv"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 13  # twelve operations (captures/manifest.toml), and the header


def test_the_wheel_needs_no_module_that_it_does_not_ask_for() -> None:
    asked = {re.split(r"[<>=!~\[; ]", name)[0] for name in PROJECT["dependencies"]}
    imported = set()
    for path in (ROOT / "analyzer").rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if match := re.match(r"\s*(?:from|import) ([a-zA-Z_]\w*)", line):
                imported.add(match[1])
    data_only = {"tzdata"}  # read by zoneinfo, where the system has none of its own
    assert imported - set(sys.stdlib_module_names) - {"analyzer"} == asked - data_only


# Documents. #


def test_the_version_has_an_entry_in_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## (\S+)", changelog, re.MULTILINE)
    assert heads[0] == analyzer.__version__
    entry = changelog.partition(f"## {analyzer.__version__}")[2].partition("\n## ")[0]
    assert "* " in entry


def test_the_licence_is_the_one_that_is_named() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["license"] == "GPL-2.0-or-later"
    assert "GNU GENERAL PUBLIC LICENSE" in text[:200]
    assert re.search(r"Version 2, June 1991", text[:200])
    assert "TERMS AND CONDITIONS FOR COPYING, DISTRIBUTION AND MODIFICATION" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "or any later version" in text or "(at your option) any later version" in text
    assert PROJECT["license-files"] == ["LICENSE"]
    assert f"Licence: {PROJECT['license']}" in README


def blocks(language: str, text: str = README) -> list[str]:
    """Code blocks of the README, or of another document; those without a language for ''."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [code for name, code in found if name == language]


def spans(text: str = README) -> list[str]:
    """Code spans of its running text."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def options_in(text: str) -> set[str]:
    """The options that a text names."""
    return set(re.findall(r"(?<![\w-])(--[a-z][a-z-]*|-[a-z])(?![\w-])", text))


@cache
def help_of(*arguments: str) -> str:
    """What the program says about itself."""
    return loaded_by(command_line(*arguments, "--help"))[1]


def _synopsis() -> dict[str, str]:
    """Of each command, what the README says about how it is used. READING stands for the options that many share."""
    lines = [line for block in blocks("") for line in re.sub(r"\n[ \t]+", " ", block).splitlines()]
    (reading,) = [line for line in lines if line.startswith("READING:")]
    found = {}
    for line in lines:
        if line.startswith("nullsession "):
            words = line.split()
            name = " ".join(words[1:3]) if words[1] == "policy" else words[1]
            found[name] = line.replace("[READING]", reading)
    return found


SYNOPSIS = _synopsis()


def test_the_readme_has_a_synopsis_of_each_command() -> None:
    import typer.main  # noqa: PLC0415

    from analyzer import cli  # noqa: PLC0415

    group: Any = typer.main.get_command(cli.app)
    there = {
        f"{name} {inner}" if inner else name
        for name, found in group.commands.items()
        for inner in getattr(found, "commands", [""])
    }
    assert set(SYNOPSIS) == there
    for command in SYNOPSIS:
        assert command.split()[0] in help_of()


@pytest.mark.parametrize("command", sorted(SYNOPSIS))
def test_the_synopsis_names_the_options_that_there_are(command: str) -> None:
    told = options_in(SYNOPSIS[command])
    there = options_in(help_of(*command.split()))
    assert told
    assert told <= there
    short_forms = {"-q", "--output"}  # other spellings of options that it names
    assert there - told - short_forms == {"--help"}


OWN_OPTIONS = {
    option for text in DOCUMENTS for span in spans(text) if span.startswith("-") for option in options_in(span)
}


@pytest.mark.parametrize("option", sorted(OWN_OPTIONS))
def test_each_option_in_the_text_of_the_documents_exists(option: str) -> None:
    assert option in set().union(*(options_in(help_of(*command.split())) for command in SYNOPSIS))


def commands() -> list[str]:
    """The commands in code that call the program, as they are written."""
    texts = [line for text in DOCUMENTS for block in blocks("sh", text) for line in block.splitlines()]
    texts += [span for text in DOCUMENTS for span in spans(text)]
    parts = [part.strip() for text in texts for part in re.split(r"&&|;|\||>|(?<!\S)#", text)]
    found = [part for part in parts if re.match(r"\S*nullsession(\.exe)? \w", part)]
    # In running text a command is also named without what it is called with.
    return [
        part for part in dict.fromkeys(found) if len(part.split()) > 2 and not part.endswith(("COMMAND --help", "NAME"))
    ]


def test_the_readme_has_commands_to_check() -> None:
    assert len(commands()) >= 3


@pytest.mark.parametrize("command", commands())
def test_commands_in_the_readme_parse(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer.main  # noqa: PLC0415

    from analyzer import cli  # noqa: PLC0415

    _, *arguments = shlex.split(command.replace("\\", "/"))
    group: Any = typer.main.get_command(cli.app)
    taken: list[str] = []
    for name, found in group.commands.items():
        for inner in getattr(found, "commands", {"": found}).values():
            monkeypatch.setattr(inner, "callback", lambda name=name, **_: taken.append(name))
    group.main(arguments, standalone_mode=False)
    assert taken == arguments[:1]


def test_python_in_the_readme_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (code,) = blocks("python", README)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert len(names["analysis"].dependencies) > 0


YOURS = ("results/", "after/", "change/", "logs/", "watch/")
"""Folders in examples that are the reader's."""


def example() -> tuple[str, str]:
    """The command that the README shows, and what it prints."""
    (shown,) = re.findall(r"^```console\n\$ (.*?)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return shown


def test_what_the_readme_shows_is_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    command, printed = example()
    _, *arguments = shlex.split(command)
    monkeypatch.chdir(ROOT)
    _, said = loaded_by(command_line(*arguments), columns=80)
    assert [line.rstrip() for line in said.splitlines()] == [line.rstrip() for line in printed.splitlines()]


def test_files_that_the_readme_names_are_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    paths = [text for text in spans() if re.fullmatch(r"[\w./-]+/[\w.-]*", text) and not text.startswith(YOURS)]
    assert links
    for name in (*links, *paths):
        assert (ROOT / name).exists(), name
