"""Settings of the tests in this folder, and the kernels in both forms."""

from __future__ import annotations

import pytest
from hypothesis import settings

from analyzer.compiled import Form, compiled_kernels, plain_kernels

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("steady")


@pytest.fixture(params=["plain", "compiled"], scope="session")
def form(request: pytest.FixtureRequest) -> Form:
    """The same test runs with the plain functions and with machine code."""
    return plain_kernels if request.param == "plain" else compiled_kernels
