"""What is read from texts, once for each."""

from __future__ import annotations

import numpy as np
import pytest

from analyzer.sessions.names import Names, PerText, bare_pipe_name
from analyzer.wire.texts import MISSING, Texts


@pytest.mark.parametrize(
    ("written", "bare", "prefixed"),
    [
        ("srvsvc", "srvsvc", False),
        ("\\srvsvc", "srvsvc", False),
        ("\\PIPE\\SrvSvc", "srvsvc", True),
        ("PIPE\\lsarpc\0", "lsarpc", True),
        ("", "", False),
        ("\\pipe", "pipe", False),
    ],
)
def test_pipe_names(written: str, bare: str, prefixed: bool) -> None:
    assert bare_pipe_name(written) == (bare, prefixed)


def test_each_text_is_asked_about_once() -> None:
    asked: list[int] = []

    def twice(code: int) -> int:
        asked.append(code)
        return 2 * code

    answers = PerText(twice)
    assert answers(np.array([5, MISSING, 5, 100_000], dtype=np.int32)).tolist() == [10, 2 * MISSING, 10, 200_000]
    assert answers(np.array([100_000, 5], dtype=np.int32)).tolist() == [200_000, 10]
    assert sorted(asked) == [MISSING, 5, 100_000]
    assert answers(np.empty(0, dtype=np.int32)).tolist() == []


def test_names_of_a_pool() -> None:
    texts = Texts()
    codes = np.array([texts.code(text) for text in ("HOST$", "Guest", "\\\\s\\ipc$", "\\PIPE\\Lsarpc")] + [MISSING])
    names = Names(texts)
    assert names.is_machine(codes).tolist() == [1, 0, 1, 0, 0]
    assert names.is_guest(codes).tolist() == [0, 1, 0, 0, 0]
    assert [texts.text(code) for code in names.share(codes).tolist()] == ["HOST$", "GUEST", "IPC$", "LSARPC", None]
    assert [texts.text(code) for code in names.pipe(codes).tolist()][3:] == ["lsarpc", None]
    assert names.has_prefix(codes).tolist() == [0, 0, 0, 1, 0]
