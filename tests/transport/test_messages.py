"""The table of selected messages."""

from __future__ import annotations

import numpy as np
import pytest

from analyzer.transport import messages


@pytest.mark.parametrize("prefix", ["M_", "PROTOCOL_", "MF_", "PROBLEM_"])
def test_numbers_differ(prefix: str) -> None:
    numbers = {name: value for name, value in vars(messages).items() if name.startswith(prefix) and name != "M_WIDTH"}
    assert len(set(numbers.values())) == len(numbers)
    if prefix == "M_":
        assert set(numbers.values()) == set(range(messages.M_WIDTH))
    if prefix == "MF_":
        assert sum(numbers.values()) == (1 << len(numbers)) - 1  # bits


def test_an_arena_ends_with_spare_bytes() -> None:
    table, arena = messages.window(10, 1000)
    assert table.shape == (10, messages.M_WIDTH)
    assert len(arena) == 1000 + messages.ARENA_SPARE
    assert (table.dtype, arena.dtype) == (np.int64, np.uint8)
