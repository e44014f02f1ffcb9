"""Scapy without its talk: nothing that it warns about concerns whoever reads a capture."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_scapy() -> Iterator[None]:
    """Scapy may be imported and used inside, and says nothing on standard error. Its settings are put back."""
    import scapy.error  # noqa: F401, PLC0415 - sets the level that is put back

    logger = logging.getLogger("scapy")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
