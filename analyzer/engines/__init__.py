"""A file to records, in one of several ways with one signature.

In: capture files. Out: `records.Batch`es, and the facts about each file. `native` composes the rooms before this one.
Whatever is peculiar to a library that an engine uses stays in that engine's file. Never decides whose session it is.

Callers name an engine of `NAMES` or bring one of their own (`Chosen`): ARCHITECTURE.md, "Writing an engine".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from analyzer.errors import UsageError, no_such

if TYPE_CHECKING:  # NumPy; the command line reads `NAMES` for its help
    from analyzer.capture.inputs import Input
    from analyzer.capture.reader import FileFacts
    from analyzer.compiled import Kernels
    from analyzer.records import Batch, Reread, Rows

NAMES = ("native", "tshark", "scapy")


class Engine(Protocol):
    """What every engine offers. It serves one analysis.

    Besides, it or its class may have `name`; `gaps`, a dictionary of what it cannot know, or knows otherwise (`table` or
    `table.column`, and why); `limits`, what else makes it differ, in sentences; `shared`, the stages that it shares with
    the native engine. `verify` asks for them.
    """

    @property
    def files(self) -> list[FileFacts]:
        """The files read so far, each at the place that its `capture_no` says; complete when `read` is done."""

    def read(self, inputs: list[Input]) -> Iterator[Batch]:
        """The records of one site's files as one continuing capture. May be called again for the next site."""

    def reread(self, logins: Rows) -> Iterator[Reread]:
        """What is learned of connections that were just read, when they are read again to look into what they sign and
        encrypt. logins: `LOGIN`, at least one.
        """

    def forget(self) -> None:
        """Nothing of the site that was just read will be read again."""

    def kernels(self) -> Kernels:
        """The kernels in the form that is in use: it may change between batches."""

    def consumed(self) -> int:
        """Bytes of the files on disk that have been read."""

    def counts(self) -> dict[str, int]:
        """What was met and not looked into, by name: fragments, unknown link types, bytes given up ..."""


Announce = Callable[[str], None]
"""Told what a person should know, such as that a wait begins."""
Maker = Callable[[tuple[int, ...], Announce], Engine]
"""Makes an engine for an analysis, of the ports that carry SMB and of whom to tell: a class, mostly."""
Chosen = str | Engine | Maker
"""An engine: one of `NAMES`, an engine of one's own, or what makes one. The last can be used again and again."""

ASKED_FOR = ("files", "read", "reread", "forget", "kernels", "consumed", "counts")


@dataclass(frozen=True, slots=True)
class Declared:
    """What an engine says of itself, see `Engine`."""

    name: str
    gaps: dict[str, str]
    limits: tuple[str, ...]
    shared: tuple[str, ...]


def check(name: str) -> None:
    """Raises UsageError if no engine has this name."""
    if name not in NAMES:
        raise no_such("engine", name, NAMES)


def named(name: str) -> type[Any]:
    """The class of the engine of this name. Raises UsageError for an unknown one."""
    check(name)
    # Each engine brings its own libraries.
    if name == "scapy":
        from analyzer.names.quiet import quiet_scapy  # noqa: PLC0415

        with quiet_scapy():
            from analyzer.engines.scapy import ScapyEngine  # noqa: PLC0415
        return ScapyEngine
    if name == "tshark":
        from analyzer.engines.tshark import TsharkEngine  # noqa: PLC0415

        return TsharkEngine
    from analyzer.engines.native import NativeEngine  # noqa: PLC0415

    return NativeEngine


def declared(engine: Chosen) -> Declared:
    """What an engine says of itself. Raises UsageError for an unknown name."""
    if isinstance(engine, str):
        return Declared(engine, *_sayings(named(engine)))
    name = getattr(engine, "name", None) or getattr(engine, "__name__", None) or type(engine).__name__
    return Declared(str(name), *_sayings(engine))


def _sayings(engine: Any) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    return (
        dict(getattr(engine, "gaps", {})),
        tuple(getattr(engine, "limits", ())),
        tuple(getattr(engine, "shared", ())),
    )


def make(engine: Chosen, ports: tuple[int, ...], announce: Announce) -> Engine:
    """The engine for an analysis. What one that is brought along hands on is checked on the way.

    Raises UsageError for an unknown name, and for what is no engine or has been used.
    """
    if isinstance(engine, str):
        made: Engine = named(engine)(ports, announce)
        return made
    name = declared(engine).name
    brought = engine(ports, announce) if callable(engine) else engine
    if lacking := [what for what in ASKED_FOR if not hasattr(brought, what)]:
        raise UsageError(f"{name} is no engine: it lacks {', '.join(lacking)}; see analyzer.engines.Engine")
    if brought.files:
        raise UsageError(f"the engine {name} has read files already: each analysis takes a new one")
    from analyzer.engines.checked import Checked  # noqa: PLC0415 - NumPy

    return Checked(brought, name)
