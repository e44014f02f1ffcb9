"""Kernels: plain Python functions that can also run as machine code, and the one place that imports Numba.

A kernel takes integers, byte arrays and tables of 64-bit integers, returns integers, and never raises on data. The
same source runs in two forms:

* plain: the function as written, on `memoryview`s (their items are Python integers, so nothing overflows silently);
* compiled: a Numba dispatcher of the same code object, on NumPy arrays, without the interpreter's lock.

`Kernels` gives either form by name, so a caller can begin plain and go on compiled: both work on the same memory.

Numba's own cache does not notice a change in a callee of another module, nor of the bounds-check setting. The cache
directory is therefore named after everything that matters: package version, Numba and Python version, processor,
bounds checking, and a hash of the sources of all kernels, with their place and times, by which Numba finds them again.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import platform
import sys
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

F = TypeVar("F", bound=Callable[..., Any])

Bytes = npt.NDArray[np.uint8]
"""Kernel argument: one-dimensional, contiguous, writable `uint8`."""
Ints = npt.NDArray[np.int64]
"""Kernel argument: one-dimensional, contiguous, writable `int64`."""
Table = np.ndarray[tuple[int, int], np.dtype[np.int64]]
"""Kernel argument: two-dimensional `int64`, a row a thing, a column a field."""

KERNEL_MODULES = (
    "analyzer.wire.loads",
    "analyzer.capture.pcap",
    "analyzer.capture.pcapng",
    "analyzer.capture.links",
    "analyzer.transport.pick",
    "analyzer.transport.flows",
    "analyzer.transport.netbios",
    "analyzer.transport.streams",
    "analyzer.smb.select",
)
"""Every module that defines kernels; their sources name the cache."""

_kernels: dict[str, Callable[..., Any]] = {}
_entries: list[str] = []
_memories: dict[str, type[Any]] = {}

C = TypeVar("C", bound=type[Any])


def kernel(function: F) -> F:
    """Register a function as a kernel that other kernels call."""
    _kernels[function.__name__] = function
    return function


def entry(function: F) -> F:
    """Register a kernel that Python calls; its annotations are its compiled signature."""
    _entries.append(function.__name__)
    return kernel(function)


def memory(named_tuple: C) -> C:
    """Register a NamedTuple of arrays that entry kernels take as one argument."""
    _memories[named_tuple.__name__] = named_tuple
    return named_tuple


def view(argument: Any) -> Any:
    """What the plain form of a kernel gets in place of an array, or of a NamedTuple of them."""
    if isinstance(argument, np.ndarray):
        return argument.data
    if isinstance(argument, tuple):
        return type(argument)(*[array.data for array in argument])
    return argument


class Kernels:
    """The entry kernels in one form; `kernels.follow(...)` calls `follow` with arrays and integers."""

    def __init__(self, functions: dict[str, Callable[..., Any]], compiled: bool) -> None:
        self.compiled = compiled
        for name in _entries:
            setattr(self, name, functions[name] if compiled else _on_views(functions[name]))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(f"no kernel named {name}")


def _on_views(function: Callable[..., Any]) -> Callable[..., Any]:
    def plain(*arguments: Any) -> Any:
        return function(*[view(argument) for argument in arguments])

    return plain


def _load_all() -> None:
    for module in KERNEL_MODULES:
        importlib.import_module(module)


@cache
def plain_kernels() -> Kernels:
    """All entry kernels in plain form."""
    _load_all()
    return Kernels(_kernels, compiled=False)


@cache
def compiled_kernels() -> Kernels:
    """All entry kernels compiled: from the cache, or compiled now (up to half a minute) and written to it."""
    _load_all()
    directory = cache_directory()
    directory.mkdir(parents=True, exist_ok=True)
    warm = cache_is_warm()
    import numba  # noqa: PLC0415 - half a second that a small analysis need not pay

    settings: Any = numba.config
    settings.CACHE_DIR = str(directory)
    dispatchers: dict[str, Any] = {}
    twins: dict[str, dict[str, Any]] = {}

    def compile_one(name: str) -> Any:
        """The dispatcher of a kernel, its callees compiled first: a fixed signature keeps Numba from making a version
        of each of them for every constant that it is called with.
        """
        if name not in dispatchers:
            function = _kernels[name]
            if function.__module__ not in twins:
                twins[function.__module__] = dict(vars(sys.modules[function.__module__]))
            namespace = twins[function.__module__]
            for callee in function.__code__.co_names:
                if _kernels.get(callee) is not None and namespace.get(callee) is _kernels[callee]:
                    namespace[callee] = compile_one(callee)
            twin = types.FunctionType(function.__code__, namespace, name)
            twin.__module__ = function.__module__
            # Kernels hold no references and raise nothing, so they do without Numba's bookkeeping for both.
            options: dict[str, Any] = {
                "nogil": True,
                "error_model": "numpy",
                "_nrt": False,
                "boundscheck": _bounds_checked(),
            }
            dispatcher = numba.njit(cache=name in _entries, **options)(twin)
            if name in _entries or not warm:  # the machine code of an entry in the cache contains its callees
                dispatcher.compile(_signature(function, numba))
                dispatcher.disable_compile()
            dispatchers[name] = dispatcher
        return dispatchers[name]

    for name in _entries:
        compile_one(name)
    (directory / "complete").touch()
    return Kernels(dispatchers, compiled=True)


def _signature(function: Callable[..., Any], numba: Any) -> tuple[Any, ...]:
    kinds = {
        "Bytes": numba.uint8[::1],
        "Ints": numba.int64[::1],
        "Table": numba.int64[:, ::1],
        "int": numba.int64,
    }
    for name, named_tuple in _memories.items():
        fields = [kinds[str(getattr(a, "__forward_arg__", a))] for a in named_tuple.__annotations__.values()]
        kinds[name] = numba.types.NamedTuple(fields, named_tuple)
    return tuple(kinds[p.annotation] for p in inspect.signature(function).parameters.values())


def cache_is_warm() -> bool:
    """True if compiled kernels of exactly this version and setting are on disk. Does not import Numba."""
    return (cache_directory() / "complete").exists()


@cache
def cache_directory() -> Path:
    """Where compiled kernels are kept: a directory of the user's cache, named by all that decides its content."""
    from importlib.metadata import version  # noqa: PLC0415 - slow to import, not needed for small work

    from analyzer import __version__  # noqa: PLC0415 - the package imports this module lazily

    digest = hashlib.sha256()
    package = Path(__file__).parent
    facts = [str(package), platform.machine(), sys.version, version("numba"), version("numpy")]
    for module in ("analyzer.compiled", *KERNEL_MODULES):
        source = package.joinpath(*module.split(".")[1:]).with_suffix(".py")
        digest.update(source.read_bytes())
        facts.append(str(source.stat().st_mtime_ns))
    digest.update("\n".join(facts).encode("utf-8", "surrogateescape"))
    checked = "-checked" if _bounds_checked() else ""
    return user_cache_directory() / f"kernels-{__version__}-{digest.hexdigest()[:16]}{checked}"


def user_cache_directory() -> Path:
    """`NULLSESSION_CACHE`, or the platform's place for a user's caches."""
    if "NULLSESSION_CACHE" in os.environ:
        return Path(os.environ["NULLSESSION_CACHE"])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "nullsession" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "nullsession"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nullsession"


def _bounds_checked() -> bool:
    return os.environ.get("NUMBA_BOUNDSCHECK") == "1"
