"""The notebooks: they run from a clean kernel on the project's own captures, keep no outputs, and use what is promised only."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest

import analyzer
from analyzer import policy

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LIBRARIES = {"analyzer", "matplotlib", "pandas"}
ROOMS = {
    "analyzer.policy": set(policy.__all__),
    "analyzer.policy.reading": {"read"},
    "analyzer.comparison": {"compare"},
}
"""Rooms whose doors notebooks may use, and these doors."""
SECONDS = 120
"""Longer than any cell takes on a slow machine: what takes longer hangs."""


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code_of(path: Path) -> ast.Module:
    return ast.parse("\n".join(cell.source for cell in read(path).cells if cell.cell_type == "code"))


def test_there_are_notebooks_and_all_are_listed() -> None:
    listed = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert len(NOTEBOOKS) >= 4
    assert all(path.name in listed for path in NOTEBOOKS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_run_from_a_clean_kernel(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the folder that they stand in, with the package of this checkout; each draws at least one picture."""
    from nbclient import NotebookClient  # noqa: PLC0415

    found = read(path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(found, timeout=SECONDS, kernel_name="python3", resources=where).execute()
    outputs = [output for cell in found.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 1
    warned = [output.text for output in outputs if output.get("name") == "stderr"]
    assert warned == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_keep_no_outputs(path: Path) -> None:
    found = read(path)
    nbformat.validate(found)
    for cell in found.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_use_what_the_package_promises(path: Path) -> None:
    """Of the package only what `analyzer.__all__` and `ROOMS` name; besides it the libraries that the extra `notebooks` brings."""
    for node in ast.walk(code_of(path)):
        if isinstance(node, ast.ImportFrom):
            assert node.module != "analyzer"
            if node.module in ROOMS:
                assert {alias.name for alias in node.names} <= ROOMS[node.module]
                continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert not name.startswith("analyzer.")
            top = name.partition(".")[0]
            assert top in LIBRARIES or top in STANDARD, name
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "analyzer":
            assert node.attr in analyzer.__all__


STANDARD = {"io", "pathlib", "shutil", "tempfile"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_read_like_articles(path: Path) -> None:
    """A title first, and words between the code."""
    cells = read(path).cells
    assert cells[0].source.startswith("# ")
    assert sum(cell.cell_type == "markdown" for cell in cells) * 2 >= sum(cell.cell_type == "code" for cell in cells)
