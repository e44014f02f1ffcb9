"""Read tokens with compiled kernels that check their bounds: run by `test_auth.py` as a process of its own.

A process of its own since Numba takes NUMBA_BOUNDSCHECK from the environment when it is imported. Arguments: the file
of blobs, and the file for the outcome.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from auth import tokens

from analyzer import compiled
from analyzer.auth import columns

ENTRIES = ["read_blobs", "intern_texts", "place_texts"]


def caught(kernels: compiled.Kernels) -> bool:
    """Whether a blob that is said to go on behind its arena is noticed."""
    arena = np.frombuffer(bytearray(b"NTLMSSP\0"), dtype=np.uint8)
    fields = np.zeros((columns.C_FIELDS, 1), dtype=np.int64)
    try:
        kernels.read_blobs(arena, np.zeros(1, np.int64), np.full(1, 64), np.zeros(1, np.uint8), fields)
    except IndexError:
        return True
    return False


def main() -> None:
    """Read each blob alone, and all again as if they were cut."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    blobs = [bytes.fromhex(line) for line in json.loads(source.read_text(encoding="utf-8"))]
    compiled.plain_kernels()  # loads all of them
    compiled._entries[:] = ENTRIES  # which saves the time that all others take
    kernels = compiled.compiled_kernels()
    tokens.SPARE = 0
    told: dict[str, object] = {"caught": caught(kernels)}
    for name, cut in (("whole", False), ("cut", True)):
        told[name] = [tokens.token_of(blob, cut=cut, form=lambda: kernels) for blob in blobs]
    told["together"] = tokens.tokens_of(*blobs, form=lambda: kernels)
    target.write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
