"""Samba's audit of logins (`log level = ... auth_json_audit:3` or more): JSON objects, alone or within the lines of log.smbd.

[Samba wiki, Setting up Audit Logging; recorded: captures/logs]
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analyzer.logs.records import Damage, Record, Records, lowered, text_of
from analyzer.logs.streams import lines

KINDS = ("Authentication", "Authorization")
HEADER = re.compile(r"\[\d{4}/\d\d/\d\d \d\d:\d\d:\d\d")
"""How a line of log.smbd begins."""
_OBJECT = re.compile(r'\{\s*"(?:timestamp|type)"\s*:')
_DECODER = json.JSONDecoder()


def read_text(path: Path) -> Records:
    """The audit events of a log in text, wherever they begin in a line. Raises Unreadable."""
    for number, line in lines(path):
        found = _OBJECT.search(line)
        if not found:
            continue
        try:
            event, _ = _DECODER.raw_decode(line, found.start())
        except (ValueError, RecursionError) as problem:
            yield Damage(f"not JSON: {problem}"[:200], f"line {number}")
            continue
        record = of_object(event, number) if isinstance(event, dict) else None
        if record is not None:
            yield record


def of_object(event: Mapping[str, Any], line: int) -> Record | None:
    """An audit event; None if it is none of a login."""
    kind = event.get("type")
    about = event.get(kind) if kind in KINDS else None
    if not isinstance(kind, str) or not isinstance(about, dict):
        return None
    fields = {name: text for name, value in lowered(about).items() if (text := text_of(value)) is not None}
    return Record(provider="samba", event_id=kind, time=event.get("timestamp"), number=line, fields=fields)
