"""What tests share."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from analyzer import compiled
from analyzer.engines import native

CAPTURES = Path(__file__).parents[1] / "captures"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background by a shell: the programs that tests interrupt would inherit that they ignore it.
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["plain", "compiled"])
def kernel_form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both forms of the kernels, one after the other, for everything that the native engine reads in the test."""
    if request.param == "compiled":
        monkeypatch.setattr(native, "plain_kernels", compiled.compiled_kernels)
    else:
        monkeypatch.setattr(native, "PLAIN_PACKETS", 1 << 40)
        monkeypatch.setattr(native, "PLAIN_BYTES", 1 << 40)
        monkeypatch.setattr(native, "SURELY_LARGE", 1 << 40)
    return request.param


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of other projects' captures."""
    folder = os.environ.get("NULLSESSION_CORPUS")
    if not folder:
        pytest.skip("NULLSESSION_CORPUS does not name the folder of other projects' captures")
    return Path(folder)


@pytest.fixture(scope="session")
def tshark() -> str:
    """The path of tshark."""
    path = shutil.which("tshark")
    if path is None:
        pytest.skip("tshark is not installed")
    return path
