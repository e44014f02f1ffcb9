"""A record of a log, as it stands there: before anybody asks what it means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

MAX_TEXT = 512
"""Characters of a field that are kept."""
MAX_FIELDS = 256
"""Fields of a record that are looked at."""


@dataclass(slots=True)
class Record:
    """A record. Names of fields are in lower case and without blanks; unnamed values stand in `values`."""

    provider: str = ""
    channel: str = ""
    event_id: str = ""
    time: Any = None
    """As the log has it: text or number."""
    computer: str = ""
    number: int = -1
    """Its number in the log, or its line."""
    fields: dict[str, str] = field(default_factory=dict)
    values: list[str] = field(default_factory=list)


class Damage(Exception):  # noqa: N818 - a state, more than an error
    """A record that cannot be read; the next one may be. where: its place in words."""

    def __init__(self, reason: str, where: str) -> None:
        self.reason = reason
        self.where = where
        super().__init__(f"{where}: {reason}")


Records = Iterator[Record | Damage]
"""The records of a log in their order, and in between what could not be read."""


@lru_cache(4096)
def key(name: str) -> str:
    """A name of a field as it is looked up: `Client SID`, `ClientSID` and `client_sid` are the same."""
    return "".join(letter for letter in name[:MAX_TEXT].lower() if letter.isalnum() or letter == "#")


def text_of(value: Any) -> str | None:
    """A value as text, cut; None if it is a structure, or nothing."""
    if isinstance(value, str):
        # JSON can spell out halves of characters, which no file could hold afterwards.
        return value[:MAX_TEXT] if value.isascii() else value[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if -(1 << 127) < value < 1 << 127 else None
    if isinstance(value, float):
        return str(value)
    if isinstance(value, list) and 0 < len(value) <= 128 and all(type(one) is int and 0 <= one < 256 for one in value):
        return bytes(value).hex()  # PowerShell writes bytes as a list of numbers
    return None


def lowered(found: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its names as they are looked up."""
    return {key(name): value for name, value in list(found.items())[:MAX_FIELDS]}
