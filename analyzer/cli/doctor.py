"""`nullsession doctor`: what is installed, and what each engine needs."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from analyzer import __version__
from analyzer.cli.helping import examples

EXAMPLES = examples(("Before the first large analysis", "doctor --compile"))


def doctor(
    compile_: Annotated[
        bool, typer.Option("--compile", help="Compile the scanner now, so that no analysis has to wait.")
    ] = False,
) -> None:
    """What is installed, and what each engine needs."""
    from analyzer import compiled  # noqa: PLC0415

    print(f"nullsession {__version__}")
    print(f"Python {sys.version.split()[0]} on {sys.platform}")
    for line in _versions():
        print(line)
    if compile_:
        begun = time.monotonic()
        was_warm = compiled.cache_is_warm()
        compiled.compiled_kernels()
        print(
            "kernels: were compiled already" if was_warm else f"kernels: compiled in {time.monotonic() - begun:.0f} s"
        )
    state = "ready" if compiled.cache_is_warm() else "empty; `nullsession doctor --compile` fills it"
    print(f"kernel cache: {state} ({compiled.user_cache_directory()})")
    print("engine native: available")
    for name, library in (("scapy", "scapy"), ("tshark", "pyshark")):
        there = importlib.util.find_spec(library) is not None
        print(f"engine {name}: {'available' if there else f'needs {library}; `pip install {library}`'}")
    print(f"tshark: {_tshark()}")


def _versions() -> Iterator[str]:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    for name in (
        "numpy",
        "numba",
        "pandas",
        "pyarrow",
        "zstandard",
        "isal",
        "lz4",
        "scapy",
        "pyshark",
        "evtx",
        "jinja2",
    ):
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name}: not installed; `pip install {name}`"


def _tshark() -> str:
    path = shutil.which("tshark")
    if path is None:
        return "not found; `apt-get install tshark` on Debian and Ubuntu, elsewhere it comes with Wireshark"
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"{path} cannot be run: {problem}"
    return f"{said.splitlines()[0] if said else 'says nothing'} ({path})"
