"""Kernels: plain Python functions that can also run as machine code, and the one place that imports Numba.

A kernel takes integers, byte arrays and tables of 64-bit integers, returns integers, and never raises on data. The
same source runs in two forms:

* plain: the function as written, on `memoryview`s (their items are Python integers, so nothing overflows silently);
* compiled: a Numba dispatcher of the same code object, on NumPy arrays, without the interpreter's lock.

`Kernels` gives either form by name, so a caller can begin plain and go on compiled: both work on the same memory.

Numba's own cache does not notice a change in a callee of another module, nor of a constant, nor of the bounds-check
setting. So each entry has a cache directory of its own, named after everything that matters: package, Numba and Python
version, processor, bounds checking, the code and constants of the entry and of all that it calls, and place and time of
its source, by which Numba finds it again.

Compiling takes long, so it does no more than must be: two processes share the work, and a kernel that only kernels call
stays intermediate code until it is part of an entry (see `_pipelines`).
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import platform
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from analyzer.errors import AnalyzerError

F = TypeVar("F", bound=Callable[..., Any])

Bytes = npt.NDArray[np.uint8]
"""Kernel argument: one-dimensional, contiguous, writable `uint8`."""
Ints = npt.NDArray[np.int64]
"""Kernel argument: one-dimensional, contiguous, writable `int64`."""
Table = np.ndarray[tuple[int, int], np.dtype[np.int64]]
"""Kernel argument: two-dimensional `int64`, a row a thing, a column a field."""

KERNEL_MODULES = (
    "analyzer.wire.loads",
    "analyzer.wire.texts",
    "analyzer.capture.pcap",
    "analyzer.capture.pcapng",
    "analyzer.capture.datagrams",
    "analyzer.capture.fragments",
    "analyzer.capture.tunnels",
    "analyzer.capture.links",
    "analyzer.transport.pick",
    "analyzer.transport.flows",
    "analyzer.transport.netbios",
    "analyzer.transport.streams",
    "analyzer.smb.select",
    "analyzer.smb.window",
    "analyzer.smb.smb1",
    "analyzer.smb.smb2",
    "analyzer.smb.decode",
    "analyzer.auth.der",
    "analyzer.auth.spnego",
    "analyzer.auth.ntlmssp",
    "analyzer.auth.kerberos",
    "analyzer.auth.blobs",
    "analyzer.rpc.pdu",
    "analyzer.rpc.stub",
    "analyzer.rpc.pipes",
    "analyzer.sessions.lookup",
    "analyzer.sessions.pairing",
    "analyzer.sessions.proofs",
    "analyzer.sessions.uses",
)
"""Every module that defines kernels."""

COMPLETE = "complete"
"""The file that is written when all of an entry is in its cache directory."""

_compiling = threading.RLock()
"""Held by the thread that has changed Numba for itself: it must be the last to change it back."""
_kernels: dict[str, Callable[..., Any]] = {}
_entries: list[str] = []
_memories: dict[str, type[Any]] = {}

C = TypeVar("C", bound=type[Any])


def kernel(function: F) -> F:
    """Register a function as a kernel that other kernels call. Its name must be the only one of its kind."""
    known = _kernels.setdefault(function.__name__, function)
    if known.__module__ != function.__module__:
        raise AnalyzerError(f"{known.__module__} and {function.__module__} both have a kernel {function.__name__}")
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


Form = Callable[[], Kernels]
"""Asked at each step which form of the kernels to use, since an analysis may begin plain and go on compiled."""


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
    if cache_is_warm():
        return Kernels(_compile(_entries, share=True), compiled=True)
    with _alone():
        return Kernels(_compile(_entries, share=True), compiled=True)


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time fills a cache: a second one waits here, and then finds it filled.

    It is no more than a saving of work, so where files cannot be locked (Windows, some network shares) all go on at once.
    """
    with ExitStack() as held:
        with suppress(ImportError, OSError):
            import fcntl  # noqa: PLC0415 - not on Windows

            directory = _cache_of_version()
            directory.mkdir(parents=True, exist_ok=True)
            fcntl.flock(held.enter_context((directory / "lock").open("wb")), fcntl.LOCK_EX)
        yield


def compile_entries(names: list[str]) -> None:
    """Fill the cache for some entries; names that are not known are passed over."""
    _load_all()
    _compile([name for name in names if name in _kernels], share=False)


def _compile(names: list[str], *, share: bool) -> dict[str, Any]:
    """Dispatchers of entries by name. With `share` another process compiles a part of those that are not cached."""
    cold = [name for name in names if not _is_complete(name)]
    helped = _in_another_process(_other_half(cold)) if share and len(cold) > 1 and (os.cpu_count() or 1) > 1 else None
    import numba  # noqa: PLC0415 - half a second that a small analysis need not pay

    compiler = _Compiler(numba, _pipelines())
    try:
        if helped is not None:
            process, theirs = helped
            for name in cold:
                if name not in theirs:
                    compiler.entry(name)
            process.wait()  # whatever it could not do is done here
        return {name: compiler.entry(name) for name in names}
    finally:
        if helped is not None:
            helped[0].kill()


def _in_another_process(names: list[str]) -> tuple[subprocess.Popen[bytes], list[str]] | None:
    """A process that compiles these entries, if one can be had."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); "
        f"from analyzer.compiled import compile_entries; compile_entries({names!r})"
    )
    nowhere = subprocess.DEVNULL
    try:
        return subprocess.Popen([sys.executable, "-c", code], stdin=nowhere, stdout=nowhere, stderr=nowhere), names
    except OSError:
        return None


def _other_half(names: list[str]) -> list[str]:
    """About half of the work. Entries of one module call the same kernels, so they stay together."""
    modules: dict[str, list[str]] = {}
    for name in names:
        modules.setdefault(_kernels[name].__module__, []).append(name)
    weights = {
        module: sum(len(_kernels[k].__code__.co_code) for k in set().union(*map(_needed, entries)))
        for module, entries in modules.items()
    }
    sides: tuple[list[str], list[str]] = ([], [])
    loads = [0, 0]
    for module in sorted(weights, key=weights.__getitem__, reverse=True):
        side = loads.index(min(loads))
        loads[side] += weights[module]
        sides[side].extend(modules[module])
    return sides[1]


def _pipelines() -> tuple[Any, Any] | None:
    """Numba compilers for entries and for their callees; None if this Numba has none that can be changed so.

    Of itself Numba links all that a function calls into it, optimises the whole and makes machine code of it, for callees
    as for entries. So a leaf is worked on once for each level of kernels above it, for code that nobody runs. Here a callee
    is turned into LLVM's intermediate code, optimised by itself, and then once as a part of each entry that needs it.

    There nobody else can call it, and LLVM is told so: it then drops arguments that are not used, and puts a function into
    the only one that calls it. A `Memory` is some hundred and fifty arguments: two fifths of `follow` went into these.

    This relies on Numba's insides as they are from 0.61 to 0.68. Without it the same is compiled, in half as much time again,
    and runs slower.
    """
    try:
        codegen: Any = importlib.import_module("numba.core.codegen")
        compiler: Any = importlib.import_module("numba.core.compiler")
        machinery: Any = importlib.import_module("numba.core.compiler_machinery")
        typed_passes: Any = importlib.import_module("numba.core.typed_passes")
        if not all(hasattr(codegen.JITCodeLibrary, f"_{step}_final_module") for step in ("optimize", "finalize")):
            return None

        class Library(codegen.JITCodeLibrary):  # type: ignore[misc]
            """Holds a function and what it calls, each optimised by itself, to be linked into the library of an entry."""

            def _optimize_final_module(self) -> None:
                pass

            def _finalize_final_module(self) -> None:
                self._finalized = True

        class EntryLibrary(codegen.JITCodeLibrary):  # type: ignore[misc]
            """Holds an entry and what it calls, which nobody else does."""

            def _optimize_final_module(self) -> None:
                linked = {f.name for library in self._linking_libraries for f in library._final_module.functions}
                for function in self._final_module.functions:
                    if function.name in linked and not function.is_declaration:
                        function.linkage = "internal"
                super()._optimize_final_module()

        @machinery.register_pass(mutates_CFG=True, analysis_only=False)
        class Lowering(typed_passes.NativeLowering):  # type: ignore[misc]
            """Numba's lowering for functions without machine code, after which other functions can call them."""

            _name = "kernel_lowering"

            def run_pass(self, state: Any) -> bool:
                state.library = Library(state.targetctx.codegen(), state.func_id.func_qualname)
                state.flags.no_compile = True
                super().run_pass(state)
                lowered = state["cr"]
                # Callers know the function by what Python would call: a built-in method, no other function's. Nobody does.
                stand_in = list[Any]().append
                state.targetctx.insert_user_function(stand_in, lowered.fndesc, [state.library])
                state["cr"] = lowered._replace(cfunc=stand_in)
                return True

        @machinery.register_pass(mutates_CFG=True, analysis_only=False)
        class EntryLowering(typed_passes.NativeLowering):  # type: ignore[misc]
            """Numba's lowering into such a library."""

            _name = "entry_lowering"

            def run_pass(self, state: Any) -> bool:
                state.library = EntryLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
                state.library.enable_object_caching()
                return bool(super().run_pass(state))

        def usual_but_for(lowering: Any) -> Any:
            """Numba's usual passes, but for the one that lowers."""

            class Pipeline(compiler.CompilerBase):  # type: ignore[misc]
                def define_pipelines(self) -> list[Any]:
                    passes = machinery.PassManager("kernel")
                    for usual, what in compiler.DefaultPassBuilder.define_nopython_pipeline(self.state).passes:
                        passes.add_pass(lowering if usual is typed_passes.NativeLowering else usual, what)
                    passes.finalize()
                    return [passes]

            return Pipeline

        return usual_but_for(EntryLowering), usual_but_for(Lowering)
    except (ImportError, AttributeError):
        return None


@contextmanager
def _indices_as_they_are() -> Iterator[None]:
    """Meanwhile this thread compiles array accesses without Python's counting from the end for negative indices.

    Of each index it would be asked whether it is negative. No kernel has such, and the question keeps LLVM from reading the
    bytes of a number at once, and from copying more than one byte at a time. Where a Numba has not this inside, it is asked.
    """
    arrays: Any = importlib.import_module("numba.np.arrayobj")
    numba_types: Any = importlib.import_module("numba.core.types")
    with _compiling:
        usual, here = getattr(arrays, "fix_integer_index", None), threading.get_ident()
        if usual is None:
            yield
            return

        def as_it_is(context: Any, builder: Any, kind: Any, index: Any, size: Any) -> Any:
            if threading.get_ident() != here:
                return usual(context, builder, kind, index, size)
            return context.cast(builder, index, kind, numba_types.intp)

        arrays.fix_integer_index = as_it_is
        try:
            yield
        finally:
            arrays.fix_integer_index = usual


class _Compiler:
    """Makes dispatchers of kernels, each once."""

    def __init__(self, numba: Any, pipelines: tuple[Any, Any] | None) -> None:
        self._numba = numba
        self._pipelines = pipelines
        self._dispatchers: dict[str, Any] = {}
        self._compiled: set[str] = set()
        self._twins: dict[str, dict[str, Any]] = {}

    def entry(self, name: str) -> Any:
        """The dispatcher of an entry, from its cache or compiled into it."""
        if name not in self._compiled:
            try:
                self._entry(name)
            except Exception as problem:
                if self._pipelines is None or isinstance(problem, OSError):
                    raise
                # Whatever another Numba does not like about its insides, its own way works, or says what is wrong.
                self._pipelines = None
                for made in (self._dispatchers, self._compiled, self._twins):
                    made.clear()
                self._entry(name)
        return self._dispatchers[name]

    def _entry(self, name: str) -> None:
        if not _is_complete(name):
            for needed in _needed(name):  # callees first
                if needed != name:
                    self._compile(needed)
        self._compile(name)
        (cache_directory(name) / COMPLETE).touch()

    def _compile(self, name: str) -> None:
        if name not in self._compiled:
            dispatcher = self._dispatcher(name)
            with _indices_as_they_are():
                dispatcher.compile(_signature(_kernels[name], self._numba))
            dispatcher.disable_compile()
            self._compiled.add(name)

    def _dispatcher(self, name: str) -> Any:
        """The dispatcher of a kernel, not compiled yet. It finds those of its callees in a copy of its module.

        A fixed signature keeps Numba from making a version of each callee for every constant that it is called with.
        """
        if name not in self._dispatchers:
            function = _kernels[name]
            namespace = self._twins.setdefault(function.__module__, dict(vars(sys.modules[function.__module__])))
            for callee in _callees(name):
                namespace[callee] = self._dispatcher(callee)
            twin = types.FunctionType(function.__code__, namespace, name)
            twin.__module__ = function.__module__
            is_entry = name in _entries
            # Kernels hold no references and raise nothing, so they do without Numba's bookkeeping for both. Rewrites are
            # for expressions of whole arrays. Wrappers are for calls from Python and C: with machine code of their own
            # they would be half of the work.
            options: dict[str, Any] = {
                "nogil": True,
                "error_model": "numpy",
                "_nrt": False,
                "boundscheck": _bounds_checked(),
                "no_rewrites": True,
                "no_cfunc_wrapper": True,
                "no_cpython_wrapper": not is_entry,
            }
            if is_entry:
                directory = cache_directory(name)
                directory.mkdir(parents=True, exist_ok=True)
                settings: Any = self._numba.config
                settings.CACHE_DIR = str(directory)  # looked at when the dispatcher is made
            if self._pipelines is not None:
                options["pipeline_class"] = self._pipelines[0 if is_entry else 1]
            self._dispatchers[name] = self._numba.njit(cache=is_entry, **options)(twin)
        return self._dispatchers[name]


def _callees(name: str) -> list[str]:
    """The kernels that a kernel calls itself."""
    function = _kernels[name]
    namespace = function.__globals__
    return [n for n in function.__code__.co_names if n in _kernels and namespace.get(n) is _kernels[n]]


@cache
def _needed(name: str) -> tuple[str, ...]:
    """A kernel and all that it calls, directly or not, callees first."""
    found: dict[str, None] = {}
    for callee in _callees(name):
        found |= dict.fromkeys(_needed(callee))
    return (*found, name)


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
    _load_all()
    return all(_is_complete(name) for name in _entries)


def _is_complete(name: str) -> bool:
    return (cache_directory(name) / COMPLETE).exists()


@cache
def cache_directory(name: str) -> Path:
    """Where the compiled form of an entry is kept: in the user's cache, named by all that decides its content."""
    digest = hashlib.sha256()
    for needed in _needed(name):
        function = _kernels[needed]
        digest.update(function.__code__.co_code)
        facts = (
            needed,
            function.__code__.co_consts[1:],
            sorted(_constants(function).items()),
            function.__annotations__,
        )
        digest.update(repr(facts).encode("utf-8", "surrogateescape"))
    source = Path(inspect.getfile(_kernels[name]))
    digest.update(f"{source}\n{source.stat().st_mtime_ns}".encode("utf-8", "surrogateescape"))
    return _cache_of_version() / f"{name}-{digest.hexdigest()[:16]}"


def _constants(function: Callable[..., Any]) -> dict[str, Any]:
    """The numbers that a kernel finds in its module: they become part of its machine code."""
    namespace = function.__globals__
    return {n: namespace[n] for n in function.__code__.co_names if isinstance(namespace.get(n), int | float | tuple)}


@cache
def _cache_of_version() -> Path:
    from importlib.metadata import version  # noqa: PLC0415 - slow to import, not needed for small work

    from analyzer import __version__  # noqa: PLC0415 - the package imports this module lazily

    facts = [platform.machine(), sys.version, version("numba"), version("numpy")]
    digest = hashlib.sha256(Path(__file__).read_bytes() + "\n".join(facts).encode())
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
