"""Engines by name, as objects and as what makes them; the one that ARCHITECTURE.md shows; and what is no engine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import analyzer
from analyzer import engines, verify
from analyzer.capture.inputs import Input
from analyzer.engines.native import NativeEngine
from analyzer.errors import AnalyzerError, UsageError
from analyzer.records import MESSAGE, Batch, Kind

ROOT = Path(__file__).parents[2]
ANONYMOUS = ROOT / "captures" / "anonymous-smb311.pcap"
PORTS = (445, 139)
LOG = """\
1741000000.5 10.0.0.1 50000 10.0.0.9 - 00000000
1741000001.5 10.0.0.2 50001 10.0.0.9 alice 00000000
1741000002.5 fe80::1 50002 2001:db8::9 - c0000022
"""


def quiet(_: str) -> None:
    """Nobody is told."""


class WithoutOpens(NativeEngine):
    """Native, but that it loses all opens of files and pipes."""

    name = "without-opens"
    gaps: ClassVar = dict.fromkeys(("binds", "calls"), "without opens they belong to no pipe")

    def read(self, inputs: list[Input]) -> Iterator[Batch]:
        for batch in super().read(inputs):
            yield batch.only(batch.messages["kind"] != Kind.OPEN)


def shown() -> dict[str, Any]:
    """What the example of ARCHITECTURE.md defines."""
    section = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## Writing an engine")[2]
    (code,) = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], flags=re.DOTALL)
    defined: dict[str, Any] = {}
    exec(code, defined)
    return defined


def made_by_function(ports: tuple[int, ...], announce: engines.Announce) -> WithoutOpens:
    """As a class would do."""
    return WithoutOpens(ports, announce)


# One of one's own. #


@pytest.mark.parametrize("form", ["class", "function", "object"])
def test_an_engine_of_one_s_own_is_used(form: str) -> None:
    engine: engines.Chosen = WithoutOpens
    if form == "function":
        engine = made_by_function
    elif form == "object":
        engine = WithoutOpens(PORTS, quiet)
    native = analyzer.analyze(ANONYMOUS, detail="all")
    found = analyzer.analyze(ANONYMOUS, engine=engine, detail="all")
    assert len(native.pipe_opens)
    assert len(found.pipe_opens) == 0
    assert found.sessions.equals(native.sessions)
    assert found.settings["engine"] == {"function": "made_by_function"}.get(form, "without-opens")


def test_engines_of_one_s_own_are_compared() -> None:
    opens = len(analyzer.analyze(ANONYMOUS, detail="all").pipe_opens)
    for engine in (WithoutOpens, WithoutOpens(PORTS, quiet)):
        found = verify.verify(ANONYMOUS, ("native", engine))
        assert found.engines == ("native", "without-opens")
        assert found.gaps["without-opens"] == WithoutOpens.gaps
        assert [(one.table, one.column, one.other_value) for one in found.differences] == [
            ("pipe_opens", "", None)
        ] * opens


def test_the_example_of_the_architecture(tmp_path: Path) -> None:
    (tmp_path / "logins.txt").write_text(LOG, encoding="utf-8")
    found = analyzer.analyze(tmp_path / "logins.txt", engine=shown()["LoginLog"])
    sessions = found.sessions
    assert sessions["identity"].tolist() == ["anonymous", "user", "anonymous_rejected"]
    assert sessions["asked"].tolist() == ["anonymous", "named", "anonymous"]
    assert sessions["status"].tolist() == ["STATUS_SUCCESS", "STATUS_SUCCESS", "STATUS_ACCESS_DENIED"]
    assert sessions["client_ip"].tolist() == ["10.0.0.1", "10.0.0.2", "fe80::1"]
    assert sessions["frame"].tolist() == [1, 2, 3]
    assert found.dependencies["client_ip"].tolist() == ["10.0.0.1", "fe80::1"]  # the other was refused
    assert found.settings["engine"] == "login-log"


def test_the_example_tells_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text(LOG + "and so on\n", encoding="utf-8")
    (tmp_path / "two.txt").write_text(LOG, encoding="utf-8")
    found = analyzer.analyze([tmp_path / "one.txt", tmp_path / "two.txt"], engine=shown()["LoginLog"], separate=True)
    errors = [f"{tmp_path / 'one.txt'}: line 4 has not six columns", None]
    assert found.arrow("captures")["errors"].to_pylist() == errors
    assert len(found.sessions) == 6


# What is none. #


def test_an_unknown_name_is_said() -> None:
    with pytest.raises(UsageError, match=r"'wireshark'.*there are native, tshark, scapy"):
        analyzer.analyze(ANONYMOUS, engine="wireshark")


@pytest.mark.parametrize("what", [object(), lambda *_: None])
def test_what_is_no_engine_is_said(what: Any) -> None:
    with pytest.raises(UsageError, match="is no engine: it lacks files, read, reread"):
        analyzer.analyze(ANONYMOUS, engine=what)


def test_an_engine_that_was_used_is_said() -> None:
    engine = WithoutOpens(PORTS, quiet)
    analyzer.analyze(ANONYMOUS, engine=engine)
    with pytest.raises(UsageError, match="has read files already"):
        analyzer.analyze(ANONYMOUS, engine=engine)


def test_two_engines_of_one_name_are_said() -> None:
    class Native(WithoutOpens):
        name = "native"

    for both in (("native", Native), (Native, "native"), (Native, Native(PORTS, quiet))):
        with pytest.raises(UsageError, match="two engines are called native"):
            verify.verify(ANONYMOUS, both)


# Faults of an engine. #


def without_a_body(batch: Batch) -> Batch:
    return replace(batch, bodies={name: table for name, table in batch.bodies.items() if name != "tree_answers"})


def of_another_message(batch: Batch) -> Batch:
    batch.bodies["setup_requests"]["row"] += len(batch.messages)
    return batch


def in_disorder(batch: Batch) -> Batch:
    batch.bodies["setup_requests"] = batch.bodies["setup_requests"][::-1]
    return batch


def of_no_connection(batch: Batch) -> Batch:
    batch.messages["connection"][-1] = 7_000_000
    return batch


def of_another_type(batch: Batch) -> Batch:
    return replace(batch, messages=batch.messages.astype([*MESSAGE.descr[:-1], ("order", "i4")]))


def beyond_the_arena(batch: Batch) -> Batch:
    batch.bodies["data_requests"]["payload_at"] = len(batch.arena)
    return batch


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_a_body, "bodies has other tables"),
        (of_another_message, "setup_requests belongs to a message that is not there"),
        (in_disorder, "setup_requests does not stand in the order"),
        (of_no_connection, "messages names a connection that never began"),
        (of_another_type, "messages is not of the type"),
        (beyond_the_arena, "data_requests has payload outside the arena"),
    ],
)
def test_a_faulty_batch_is_said(spoil: Callable[[Batch], Batch], said: str) -> None:
    class Faulty(NativeEngine):
        name = "faulty"

        def read(self, inputs: list[Input]) -> Iterator[Batch]:
            for batch in super().read(inputs):
                yield spoil(batch) if len(batch.messages) else batch

    with pytest.raises(AnalyzerError, match=f"the engine faulty is faulty: {said}"):
        analyzer.analyze(ANONYMOUS, engine=Faulty)


@pytest.mark.parametrize("fault", ["forgotten", "disordered"])
def test_files_that_are_not_told_are_said(fault: str) -> None:
    class Faulty(NativeEngine):
        name = "faulty"

        def read(self, inputs: list[Input]) -> Iterator[Batch]:
            yield from super().read(inputs)
            if fault == "forgotten":
                self.files.clear()
            else:
                self.files[0].capture_no = 1

    with pytest.raises(AnalyzerError, match="the engine faulty is faulty: files"):
        analyzer.analyze(ANONYMOUS, engine=Faulty)


@pytest.mark.parametrize("name", engines.NAMES)
def test_the_named_engines_keep_to_it(name: str, request: pytest.FixtureRequest) -> None:
    """What is demanded of engines of one's own is kept by those that there are."""
    if name == "tshark":
        request.getfixturevalue("tshark")
    for capture in ("anonymous-smb311.pcap", "anonymous-smb1.pcap", "anonymous-encrypted.pcap", "rap.pcap"):
        path = ROOT / "captures" / capture
        by_name = analyzer.analyze(path, engine=name, detail="all")
        as_object = analyzer.analyze(path, engine=engines.named(name), detail="all")
        assert as_object.settings["engine"] == name
        for table in ("connections", "sessions", "trees", "pipe_opens", "calls", "problems"):
            assert as_object.arrow(table).equals(by_name.arrow(table)), table


def test_the_arrays_of_a_batch_may_be_empty() -> None:
    class Nothing(WithoutOpens):
        name = "nothing"

        def read(self, inputs: list[Input]) -> Iterator[Batch]:
            for batch in super().read(inputs):
                yield batch.only(np.zeros(len(batch.messages), dtype=bool))

    found = analyzer.analyze(ANONYMOUS, engine=Nothing)
    assert len(found.connections)
    assert len(found.sessions) == 0
