"""The order of these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from .test_conformance import Capture, own_captures, public_captures

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the same capture come one after the other, and those of several captures at the end.

    Each capture is then read once by tshark, once by each engine, wherever a worker's share of the tests begins and ends.
    """
    places = {capture: place for place, capture in enumerate([*own_captures(), *public_captures()])}

    def place(item: pytest.Item) -> int:
        given = item.callspec.params.values() if hasattr(item, "callspec") else ()
        return next((places[value] for value in given if isinstance(value, Capture)), len(places))

    here = [number for number, item in enumerate(items) if HERE in item.path.parents]
    for number, item in zip(here, sorted((items[number] for number in here), key=place), strict=True):
        items[number] = item
