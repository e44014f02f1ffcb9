"""Enumerations of codes in which an unknown code is a fact too."""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class Code(IntEnum):
    """A code of a specification. An unlisted number becomes a member of its own that keeps it: `UNKNOWN_0x4D`."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_ = f"UNKNOWN_{value:#04X}".replace("0X", "0x")
        member._value_ = value
        return member
