"""The few exceptions of the package.

`AnalyzerError` is what a caller may want to catch: its message says what is wrong, where, and what to do next.
`DecodeError` is the only exception that a protocol parser raises about bytes; `NeedMoreBytes` is its child for "the
message ends too early", which truncated captures make an everyday case.
"""

from __future__ import annotations

from collections.abc import Iterable


class AnalyzerError(Exception):
    """Something the user can act on. `str()` of it is one clear line."""


class CaptureError(AnalyzerError):
    """A capture file that cannot be read, or not further.

    capture: the path as given; offset: bytes from the start of the (decompressed) file, None where no place is known;
    reason: what is wrong there.
    """

    def __init__(self, capture: str, reason: str, offset: int | None = None) -> None:
        self.capture = capture
        self.reason = reason
        self.offset = offset
        place = "" if offset is None else f" at byte {offset:,}"
        super().__init__(f"{capture}: {reason}{place}")


class LogError(AnalyzerError):
    """A log of a server or an endpoint that cannot be read, or not further.

    log: the path as given; reason: what is wrong; place: where, in words ("line 12"), empty where no place is known.
    """

    def __init__(self, log: str, reason: str, place: str = "") -> None:
        self.log = log
        self.reason = reason
        self.place = place
        super().__init__(f"{log}{', ' if place else ''}{place}: {reason}")


class PolicyError(AnalyzerError):
    """A policy that cannot be read, or that a format cannot carry.

    policy: the path as given, or the name of what was to be written; reason: what is wrong; place: where, in words ("line
    12"), empty where no place is known.
    """

    def __init__(self, policy: str, reason: str, place: str = "") -> None:
        self.policy = policy
        self.reason = reason
        self.place = place
        super().__init__(f"{policy}{', ' if place else ''}{place}: {reason}")


class UsageError(AnalyzerError):
    """Arguments that make no sense together or name what does not exist."""


class DecodeError(AnalyzerError):
    """Bytes that do not follow their format.

    layer: the protocol; field: the name in its specification; offset: bytes from the start of the structure.
    """

    def __init__(self, layer: str, field: str, offset: int, detail: str = "") -> None:
        self.layer = layer
        self.field = field
        self.offset = offset
        self.detail = detail
        super().__init__(f"{layer}.{field} at byte {offset}{': ' if detail else ''}{detail}")


class NeedMoreBytes(DecodeError):  # noqa: N818 - a state, more than an error
    """The structure goes on after the last byte that is there."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """` (did you mean ...?)` with what is called nearly so; empty if nothing is."""
    from difflib import get_close_matches  # noqa: PLC0415 - for mistakes only

    by_lower = {each.lower(): each for each in names}
    same = [name.lower()] if name.lower() in by_lower else []
    near = [by_lower[each] for each in same or get_close_matches(name.lower(), by_lower, 2)]
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def no_such(kind: str, name: str, names: Iterable[str]) -> UsageError:
    """That nothing of a kind has this name, what is called nearly so, and what there is."""
    known = list(names)
    return UsageError(f"no {kind} is called {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}")
