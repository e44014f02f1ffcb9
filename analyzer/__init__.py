"""Offline analysis of packet captures for dependencies on SMB null sessions.

    import analyzer
    analysis = analyzer.analyze("captures/")
    analysis.dependencies

`load` reads back what an analysis wrote to a folder. These and `Analysis` are what this package promises; importing it
imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Analysis", "AnalyzerError", "CaptureError", "UsageError", "__version__", "analyze", "load"]

if TYPE_CHECKING:
    from analyzer.analysis import Analysis, analyze
    from analyzer.errors import AnalyzerError, CaptureError, UsageError
    from analyzer.results import load


def __getattr__(name: str) -> Any:
    if name in ("Analysis", "analyze"):
        from analyzer import analysis  # noqa: PLC0415 - lazily, see above

        return getattr(analysis, name)
    if name == "load":
        from analyzer import results  # noqa: PLC0415

        return results.load
    if name in ("AnalyzerError", "CaptureError", "UsageError"):
        from analyzer import errors  # noqa: PLC0415

        return getattr(errors, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
