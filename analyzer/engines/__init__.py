"""A file to records, in one of several ways with one signature.

In: capture files. Out: `records.Batch`es, and the facts about each file. `native` composes the rooms before this one.
Whatever is peculiar to a library that an engine uses stays in that engine's file. Never decides whose session it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from analyzer.errors import no_such

if TYPE_CHECKING:  # NumPy; the command line reads `NAMES` for its help
    from analyzer.capture.inputs import Input
    from analyzer.capture.reader import FileFacts
    from analyzer.compiled import Kernels
    from analyzer.records import Batch, Reread, Rows

NAMES = ("native", "tshark", "scapy")


class Engine(Protocol):
    """What every engine offers."""

    files: list[FileFacts]
    """The files read so far; complete when `read` is done."""

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


def check(name: str) -> None:
    """Raises UsageError if no engine has this name."""
    if name not in NAMES:
        raise no_such("engine", name, NAMES)


def make(name: str, ports: tuple[int, ...], announce: Callable[[str], None]) -> Engine:
    """The engine of this name. announce: told what a person should know, such as that a wait begins.

    Raises UsageError for an unknown name.
    """
    check(name)
    # Each engine brings its own libraries.
    if name == "scapy":
        from analyzer.names.quiet import quiet_scapy  # noqa: PLC0415

        with quiet_scapy():
            from analyzer.engines.scapy import ScapyEngine  # noqa: PLC0415
        return ScapyEngine(ports, announce)
    if name == "tshark":
        from analyzer.engines.tshark import TsharkEngine  # noqa: PLC0415

        return TsharkEngine(ports, announce)
    from analyzer.engines.native import NativeEngine  # noqa: PLC0415

    return NativeEngine(ports, announce)
