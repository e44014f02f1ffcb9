"""What the administrator says of how results are judged: rules, scanners, time zone, and how much must have been observed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from analyzer.attribution import Rule, read_rules, read_scanners
from analyzer.summary.observation import Minimum
from analyzer.summary.rhythm import zone_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """All of it, as read."""

    rules: Sequence[Rule] = ()
    """Those on scanners first."""
    scanners: int = 0
    """How many of them come from a list of scanners."""
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    minimum: Minimum = field(default_factory=Minimum)

    def settings(self) -> dict[str, Any]:
        """In the form in which results keep it."""
        return {
            "applications": len(self.rules) - self.scanners,
            "scanners": self.scanners,
            "timezone": self.zone.key,
            "minimum": str(self.minimum),
        }


def judging(
    applications: str | Path | None = None, scanners: str | Path | None = None, timezone: str = "UTC", minimum: str = ""
) -> Judging:
    """Read what options name; see `analyze`. Raises UsageError if something of it makes no sense."""
    listed = read_scanners(scanners) if scanners is not None else []
    rules = read_rules(applications) if applications is not None else []
    return Judging(
        rules=[*listed, *rules],
        scanners=len(listed),
        zone=zone_of(timezone),
        minimum=Minimum.of_text(minimum),
    )
