"""The captures of the project as they are, each analyzed once in a process: many tests look at the same ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import analyzer

CAPTURES = Path(__file__).parents[1] / "captures"


@cache
def analysed(name: str, detail: str = "default") -> analyzer.Analysis:
    """What a file of `captures/` gives. Nobody changes it; tests that set what an analysis depends on make their own."""
    return analyzer.analyze(CAPTURES / name, detail=detail)
