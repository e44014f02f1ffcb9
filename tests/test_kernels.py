"""The compiled kernels, the plain ones, and compiled ones that check every index: all find the same, and stay inside.

The checks are trusted only after they caught a deliberate overrun in kernels that are made as all others are.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import checked_kernels
import manifest
import numba
import numpy as np
import pytest
from numba.core import codegen
from numba.np import arrayobj

import analyzer
from analyzer import compiled
from analyzer.compiled import Bytes, Table
from analyzer.engines import native
from analyzer.transport import flows, messages

ROOT = Path(__file__).parents[1]
SEED = 20_240_229
FLIPS = 3
"""Damaged variants of each capture with flipped bytes."""
MOST_BYTES = 60_000
"""Larger captures are taken whole only: damaging them shows nothing that smaller ones do not."""

Tables = dict[str, list[str]]


def records(data: bytes) -> list[tuple[int, int]]:
    """Begin and end of the packets of a little-endian pcap file."""
    found = []
    at = 24
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at + 8)
        found.append((at + 16, at + 16 + size))
        at += 16 + size
    return found


def damaged(data: bytes, chance: random.Random) -> dict[str, bytes]:
    """Variants of a capture: cut off, bytes flipped anywhere, and bytes flipped behind the TCP headers only."""
    made = {"cut": data[: chance.randrange(len(data))]}
    for number in range(FLIPS):
        flipped = bytearray(data)
        # Behind byte 40 the file header is whole, and one damaged record does not hide all others.
        for _ in range(chance.choice([1, 4, 16])):
            flipped[chance.randrange(40, len(data))] ^= 1 << chance.randrange(8)
        made[f"flipped-{number}"] = bytes(flipped)
        if data[:4] == b"\xd4\xc3\xb2\xa1":
            flipped = bytearray(data)
            payloads = [(begin + 54, end) for begin, end in records(data) if end - begin > 60]
            for _ in range(chance.choice([4, 16, 64])):
                flipped[chance.randrange(*chance.choice(payloads))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
            made[f"payload-{number}"] = bytes(flipped)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All captures of the project, whole and damaged, each in a folder of its own."""
    top = tmp_path_factory.mktemp("captures")
    chance = random.Random(SEED)
    for path in sorted(manifest.CAPTURES.glob("*.pcap*")):
        data = path.read_bytes()
        variants = {"whole": data}
        if path.suffix in (".pcap", ".pcapng", ".gz") and len(data) <= MOST_BYTES:
            variants |= damaged(gzip.decompress(data) if path.suffix == ".gz" else data, chance)
        for kind, variant in variants.items():
            place = top / path.name / kind
            place.mkdir(parents=True)
            (place / path.name).write_bytes(variant)
    return top


def forced(monkeypatch: pytest.MonkeyPatch, kernels: compiled.Kernels) -> None:
    """Whatever is analyzed from here on is read with these kernels, and no others."""
    monkeypatch.setattr(native, "plain_kernels", lambda: kernels)
    monkeypatch.setattr(native, "compiled_kernels", lambda: kernels)


def used_before(monkeypatch: pytest.MonkeyPatch, octet: int) -> None:
    """Windows, and the blocks that store segments, hold this octet wherever nothing was written to them yet."""
    window, empty = messages.window, flows.empty

    def used_window(*sizes: int) -> tuple[Table, Bytes]:
        table, arena = window(*sizes)
        table.view(np.uint8).fill(octet)
        arena.fill(octet)
        return table, arena

    def used_blocks(*arguments: Any) -> flows.Memory:
        state = empty(*arguments)
        state.blocks[: 1 << 20].fill(octet)  # no capture here needs more of them
        return state

    monkeypatch.setattr(messages, "window", used_window)
    monkeypatch.setattr(flows, "empty", used_blocks)


@pytest.fixture(scope="module")
def by_plain_kernels(folder: Path) -> Tables:
    """What the kernels as they are written find."""
    with pytest.MonkeyPatch.context() as patch:
        forced(patch, compiled.plain_kernels())
        used_before(patch, 0)
        return checked_kernels.outcome(folder)


@pytest.fixture(scope="module")
def by_checked_kernels(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What compiled kernels find that check each index. Warnings are errors there."""
    target = tmp_path_factory.mktemp("outcome") / "outcome.json"
    settings = {
        "NUMBA_BOUNDSCHECK": "1",
        "NULLSESSION_CACHE": str(tmp_path_factory.mktemp("cache")),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    script = ROOT / "tests" / "checked_kernels.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(folder), str(target)],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    return told


def compared(found: Tables, expected: Tables) -> None:
    """Both have the same tables, told by the first row that differs."""
    assert list(found) == list(expected)
    for name in expected:
        for have, want in zip(found[name], expected[name], strict=False):
            assert have == want, name
        assert len(found[name]) == len(expected[name]), name


def test_the_captures_give_the_kernels_something_to_do(folder: Path, by_plain_kernels: Tables) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 4 * len(manifest.entries())
    assert len(by_plain_kernels["captures"]) == len(files)
    assert len(by_plain_kernels["sessions"]) > len(files)
    assert len(by_plain_kernels["problems"]) > 50
    unreadable = [row for row in by_plain_kernels["captures"] if json.loads(row)[-1] is not None]
    assert len(unreadable) > len(manifest.entries()) // 2  # those that were cut off, at least
    assert len(unreadable) < len(files) // 2


def test_checks_of_bounds_are_really_on(by_checked_kernels: dict[str, Any]) -> None:
    assert by_checked_kernels["checked"] == "1"
    assert by_checked_kernels["caught"] == {"overrun": True, "overrun_in_entry": True}
    assert by_checked_kernels["calls"] > 4 * len(manifest.entries())


def test_kernels_stay_inside_their_arrays(by_checked_kernels: dict[str, Any]) -> None:
    assert by_checked_kernels["failed"] == ""
    assert "tables" in by_checked_kernels


def test_checked_kernels_find_what_plain_ones_find(
    by_checked_kernels: dict[str, Any], by_plain_kernels: Tables
) -> None:
    compared(by_checked_kernels["tables"], by_plain_kernels)


@pytest.mark.filterwarnings("error")
def test_compiled_kernels_find_what_plain_ones_find(
    folder: Path, by_plain_kernels: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what buffers held before changes nothing: they are used again without being emptied."""
    kernels = compiled.compiled_kernels()
    assert kernels.compiled
    forced(monkeypatch, kernels)
    used_before(monkeypatch, 0xA5)
    compared(checked_kernels.outcome(folder), by_plain_kernels)


def test_an_analysis_may_begin_plain_and_go_on_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    forms: list[bool] = []
    for kernels in (compiled.plain_kernels(), compiled.compiled_kernels()):
        follow = kernels.follow

        def noted(*arguments: Any, follow: Any = follow, form: bool = kernels.compiled) -> Any:
            forms.append(form)
            return follow(*arguments)

        monkeypatch.setattr(kernels, "follow", noted)
    for name in ("PLAIN_BYTES", "SURELY_LARGE", "PLAIN_PACKETS"):
        monkeypatch.setattr(native, name, 1 << 40)
    plain = checked_kernels.spelt(analyzer.analyze(manifest.CAPTURES))
    assert forms
    assert not any(forms)
    forms.clear()
    monkeypatch.setattr(native, "PLAIN_PACKETS", 1000)
    changing = checked_kernels.spelt(analyzer.analyze(manifest.CAPTURES))
    assert forms == sorted(forms)  # never back to plain
    assert {True, False} == set(forms)
    compared(changing, plain)


# Kernels that only kernels call are compiled up to intermediate code. #


@pytest.fixture
def small_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An entry that calls one other kernel, and an empty cache."""
    for made in (checked_kernels.overrun, checked_kernels.overrun_in_callee):
        monkeypatch.setitem(compiled._kernels, made.__name__, made)
    monkeypatch.setattr(compiled, "_entries", ["overrun"])
    monkeypatch.setenv("NULLSESSION_CACHE", str(tmp_path))
    known = (compiled._cache_of_version, compiled.cache_directory)
    for answers in known:
        answers.cache_clear()
    yield
    for answers in known:
        answers.cache_clear()


def read_by(compiler: compiled._Compiler) -> list[int]:
    """What the entry reads that is compiled this way, and then from the cache."""
    data = np.arange(7, 11, dtype=np.uint8)
    by_another = compiled._Compiler(numba, None)
    return [compiler.entry("overrun")(data, 2), by_another.entry("overrun")(data, 3)]


@pytest.mark.usefixtures("small_kernels")
def test_callees_get_no_machine_code_of_their_own() -> None:
    compiler = compiled._Compiler(numba, compiled._pipelines())
    assert read_by(compiler) == [9, 10]
    assert compiler._pipelines is not None  # the way was not left
    ((_, callee),) = compiler._dispatchers["overrun_in_callee"].overloads.items()
    assert callee.library.get_pointer_to_function(callee.fndesc.llvm_func_name) == 0
    ((_, of_entry),) = compiler._dispatchers["overrun"].overloads.items()
    assert of_entry.library.get_pointer_to_function(of_entry.fndesc.llvm_func_name) != 0


def test_numba_is_as_it_was_when_two_have_compiled() -> None:
    """The last one to leave puts back what was there before the first: nobody else's negative indices are compiled so."""
    usual = arrayobj.fix_integer_index
    is_in, both_are_in, is_out = (threading.Event() for _ in range(3))

    def first() -> None:
        with compiled._indices_as_they_are():
            is_in.set()
            both_are_in.wait(0.2)
        is_out.set()

    def second() -> None:
        is_in.wait()
        with compiled._indices_as_they_are():
            both_are_in.set()
            is_out.wait()

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    is_in.wait()
    assert numba.njit(lambda values: values[-2])(np.arange(5)) == 3  # meanwhile, by a third thread
    for thread in threads:
        thread.join()
    assert arrayobj.fix_integer_index is usual


@pytest.mark.usefixtures("small_kernels")
def test_nobody_else_calls_the_callees_of_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """LLVM is told so before it optimises the whole."""
    monkeypatch.setattr(codegen.JITCodeLibrary, "_optimize_final_module", lambda _: None)
    compiler = compiled._Compiler(numba, compiled._pipelines())
    entry = compiler.entry("overrun")
    ((_, callee),) = compiler._dispatchers["overrun_in_callee"].overloads.items()
    ((_, of_entry),) = entry.overloads.items()
    module = of_entry.library._final_module
    assert module.get_function(callee.fndesc.llvm_func_name).linkage.name == "internal"
    assert module.get_function(of_entry.fndesc.llvm_func_name).linkage.name == "external"


@pytest.mark.usefixtures("small_kernels")
@pytest.mark.parametrize("lost", ["_optimize_final_module", "_finalize_final_module"])
def test_with_another_numba_callees_are_compiled_its_way(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as another:
        another.delattr(codegen.CPUCodeLibrary, lost)
        pipelines = compiled._pipelines()
    assert pipelines is None
    compiler = compiled._Compiler(numba, pipelines)
    assert read_by(compiler) == [9, 10]
    ((_, callee),) = compiler._dispatchers["overrun_in_callee"].overloads.items()
    assert callee.library.get_pointer_to_function(callee.fndesc.llvm_func_name) != 0


@pytest.mark.usefixtures("small_kernels")
@pytest.mark.parametrize("of_callees", [False, True])
def test_where_the_short_way_fails_the_usual_one_is_gone(of_callees: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pipelines = compiled._pipelines()
    assert pipelines is not None
    monkeypatch.setattr(pipelines[of_callees], "define_pipelines", lambda _: 1 // 0)
    compiler = compiled._Compiler(numba, pipelines)
    assert read_by(compiler) == [9, 10]
    assert compiler._pipelines is None


@pytest.mark.usefixtures("small_kernels")
def test_a_kernel_that_cannot_be_compiled_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def overrun_in_callee(data: Bytes, at: int) -> int:
        return len(str(data.tobytes())) + at

    monkeypatch.setitem(compiled._kernels, "overrun_in_callee", overrun_in_callee)
    monkeypatch.setattr(checked_kernels, "overrun_in_callee", overrun_in_callee)
    with pytest.raises(numba.TypingError, match="tobytes"):
        compiled._Compiler(numba, compiled._pipelines()).entry("overrun")


# The cache is named by all that decides its content. #


def cache_names(monkeypatch: pytest.MonkeyPatch, **settings: str) -> dict[str, str]:
    """The directory of each entry's compiled form under these settings."""
    compiled.plain_kernels()  # loads all of them
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    compiled._cache_of_version.cache_clear()
    compiled.cache_directory.cache_clear()
    names = {name: str(compiled.cache_directory(name)) for name in compiled._entries}
    monkeypatch.undo()
    compiled._cache_of_version.cache_clear()
    compiled.cache_directory.cache_clear()
    return names


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_kernels_with_and_without_checks_do_not_share_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = cache_names(monkeypatch, NUMBA_BOUNDSCHECK="1")
    assert changed(checked, cache_names(monkeypatch, NUMBA_BOUNDSCHECK="0")) == set(checked)


def test_a_change_in_a_callee_changes_the_caches_of_those_that_call_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache_names(monkeypatch)
    seek = compiled._kernels["seek_message"]
    monkeypatch.setattr(seek, "__code__", seek.__code__.replace(co_code=seek.__code__.co_code + b"\x09\x00"))
    assert changed(before, cache_names(monkeypatch)) == {"follow", "sweep"}


def test_a_change_of_a_constant_changes_the_caches_of_those_that_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache_names(monkeypatch)
    monkeypatch.setitem(compiled._kernels["wanted_smb2"].__globals__, "KEEP_UNKNOWN", 5000)
    assert changed(before, cache_names(monkeypatch)) == {"follow", "sweep"}


def test_kernels_at_another_place_or_of_another_time_do_not_share_a_cache(tmp_path: Path) -> None:
    """Numba finds kernels by the path and the time of their source: where it finds none, the cache is not warm."""
    shutil.copytree(ROOT / "analyzer", tmp_path / "analyzer", ignore=shutil.ignore_patterns("__pycache__"))
    touched = tmp_path / "analyzer" / "smb" / "select.py"
    names = []
    for root, seconds in ((ROOT, None), (tmp_path, None), (tmp_path, 1_000_000_000)):
        if seconds:
            os.utime(touched, (seconds, seconds))
        code = "from analyzer import compiled; compiled.plain_kernels(); print(compiled.cache_directory('follow'))"
        settings = {"PYTHONPATH": str(root), "NULLSESSION_CACHE": str(tmp_path / "cache")}
        command = [sys.executable, "-c", code]  # which looks into the current folder first
        done = subprocess.run(command, env=os.environ | settings, cwd=root, capture_output=True, text=True, check=True)
        names.append(done.stdout)
    assert len(set(names)) == len(names)


def test_another_process_compiles_a_part(tmp_path: Path) -> None:
    """Both halves are there afterwards, and what a second process could not do the first one does. Of a few small ones."""
    compiled.plain_kernels()
    few = sorted(compiled._entries, key=lambda name: len(compiled._needed(name)))[:6]
    assert compiled._other_half(few)
    code = (
        f"from analyzer import compiled; compiled._load_all(); compiled._entries[:] = {few!r}; "
        "k = compiled.compiled_kernels(); print(k.compiled, all(map(compiled._is_complete, compiled._entries)))"
    )
    settings = {"NULLSESSION_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | settings, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_a_second_process_waits_and_then_has_nothing_to_compile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl", reason="files cannot be locked here")
    monkeypatch.setenv("NULLSESSION_CACHE", str(tmp_path))
    compiled._cache_of_version.cache_clear()
    begun = threading.Event()
    waited = []

    def wait() -> None:
        begun.set()
        with compiled._alone():
            waited.append(directory.joinpath("told").read_text())

    try:
        directory = compiled._cache_of_version()
        directory.mkdir(parents=True)
        with (directory / "lock").open("wb") as first:
            fcntl.flock(first, fcntl.LOCK_EX)
            second = threading.Thread(target=wait)
            second.start()
            begun.wait()
            second.join(0.2)  # it gets no further
            assert second.is_alive()
            (directory / "told").write_text("the first one is ready")
        second.join()
        assert waited == ["the first one is ready"]
    finally:
        compiled._cache_of_version.cache_clear()


def test_the_halves_hold_every_entry_once() -> None:
    compiled.plain_kernels()
    names = list(compiled._entries)
    theirs = compiled._other_half(names)
    assert set(theirs) < set(names)
    assert {"follow", "sweep", "release"} & set(theirs) in (set(), {"follow", "sweep", "release"})
