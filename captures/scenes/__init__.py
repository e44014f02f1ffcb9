"""The scenes: each plays one story in a fresh lab and leaves one capture. `SCENES` holds them by name."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SCENES: dict[str, Scene] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    file: str
    """File name of the capture; its suffixes choose the container (pcap, pcapng) and the compression."""
    play: Callable[[object, Path], None]
    """Builds the hosts in the lab it is given, runs the clients, and writes the capture to the path."""


def scene(file: str) -> Callable:
    """Register a function as the scene that makes `file`."""

    def register(play: Callable) -> Callable:
        SCENES[file.split(".", 1)[0]] = Scene(file=file, play=play)
        return play

    return register


def steps(server, options: str, *words: str) -> str:
    """The command that makes clients/steps.py walk through `words` on `server`."""
    return " ".join(["python3 clients/steps.py", server.address, *options.split(), *map(shlex.quote, words)])


for _module in (
    "anonymous",
    "pipes",
    "ipc",
    "refused",
    "identity",
    "disk",
    "domain",
    "busy",
    "names",
    "logged",
    "changes",
):
    importlib.import_module(f"scenes.{_module}")
