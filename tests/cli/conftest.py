"""The command line called in this process, which is faster than a process of its own and otherwise the same."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from command import TERMINAL_SETTINGS, Called, Done

from analyzer.__main__ import main


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Called:
    """`called("analyze", path)` runs the command line as `nullsession analyze path` would."""
    for name in TERMINAL_SETTINGS:
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["nullsession", *map(str, arguments)])
        capsys.readouterr()
        status: object = 0
        try:
            main()
        except SystemExit as stop:
            status = stop.code or 0
        said = capsys.readouterr()
        assert isinstance(status, int), status
        return Done(status, said.out, said.err)

    return call
