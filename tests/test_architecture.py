"""The rooms of ARCHITECTURE.md, and that the code keeps to them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from analyzer.compiled import KERNEL_MODULES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "analyzer"
ONLY_IN = {
    "numba": {"compiled"},
    "cryptography": {"smb"},
    "pandas": {"policy", "tables", "analysis"},
    "pyarrow": {
        "policy",
        "tables",
        "assemble",
        "hosts",
        "lines",
        "logs",
        "summary",
        "analysis",
        "results",
        "verify",
        "merging",
        "comparison",
        "report",
        "exports",
        "cli",
    },
    "scapy": {"names", "engines"},
    "evtx": {"logs"},
    "defusedxml": {"logs"},
    "pyshark": {"engines"},
    "typer": {"cli"},
    "rich": {"report", "cli"},
    "jinja2": {"report"},
}
KERNEL_ROOMS = {"wire", "capture", "transport", "smb", "auth", "rpc", "sessions"}


def rooms() -> list[list[str]]:
    """The numbered lines of the list of rooms."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    listed = text.partition("<!-- rooms, in order -->")[2].partition("\n\n|")[0]
    return [re.findall(r"`(\w+)`", line) for line in listed.splitlines() if re.match(r"\d+\. ", line)]


RANK = {room: rank for rank, line in enumerate(rooms()) for room in line}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name not in ("__main__.py",))


def room_of(module: Path) -> str:
    """The room that a module is in."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(module: Path) -> set[str]:
    """Dotted names of all modules that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_every_room_is_listed_once() -> None:
    found = {room_of(path) for path in MODULES if path.parent != PACKAGE or path.name != "__init__.py"}
    listed = [room for line in rooms() for room in line]
    assert sorted(listed) == sorted(found)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_from_earlier_rooms(module: Path) -> None:
    mine = room_of(module)
    if mine == "__init__":
        return
    for name in imported(module):
        parts = name.split(".")
        if parts[0] != "analyzer" or len(parts) < 2 or parts[1] not in RANK or parts[1] == mine:
            continue
        assert RANK[parts[1]] < RANK[mine], f"{mine} imports {name}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_stay_in_their_rooms(module: Path) -> None:
    for name in imported(module):
        allowed = ONLY_IN.get(name.split(".")[0])
        assert allowed is None or room_of(module) in allowed, f"{module.name} imports {name}"


def test_kernels_stand_in_the_modules_that_name_the_cache() -> None:
    using = {
        "analyzer." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for path in MODULES
        if re.search(r"^@(kernel|entry|memory)\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert using == set(KERNEL_MODULES)
    assert {name.split(".")[1] for name in using} <= KERNEL_ROOMS


def test_rooms_say_what_comes_in_and_goes_out() -> None:
    for package in PACKAGE.iterdir():
        if (package / "__init__.py").exists():
            text = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
            assert "In:" in text, package.name
            assert "Out:" in text, package.name
