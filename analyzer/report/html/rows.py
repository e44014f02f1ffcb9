"""The rows of the page's table: columns as numbers and texts, compressed, so that 50,000 of them are a small file.

Texts stand once, rows are numbers of them. The page's script unpacks this (`templates/script.js`) and shows a part at a time.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from analyzer import tables
from analyzer.report.html.words import shown

MOST_ROWS = 100_000
"""Rows that a browser still sorts and searches at once."""
MOST_OCTETS = 7_000_000
"""Characters that all rows may take in the page."""
MILLISECOND_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows as a text for the page; how many they are, and how many there were."""

    text: str
    rows: int
    of: int


def packed(dependencies: pa.Table, further: Mapping[str, pa.Array], zone: str = "UTC") -> Packed:
    """The table, from its beginning: as many rows as fit.

    further: more columns, beside those of `dependencies`. zone: in which the page tells times.
    """
    wanted = dependencies
    for name, column in further.items():
        wanted = wanted.append_column(name, column)
    count = min(len(wanted), MOST_ROWS)
    while True:
        text = _compressed(wanted.slice(0, count), zone)
        if len(text) <= MOST_OCTETS or not count:
            return Packed(text, count, len(wanted))
        count = min(count - 1, int(count * 0.9 * MOST_OCTETS / len(text)))


def _compressed(rows: pa.Table, zone: str) -> str:
    columns = {name: _column(rows[name]) for name in rows.column_names}
    made = {"length": len(rows), "zone": zone, "columns": columns}
    spelt = json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(spelt, 6, mtime=0)).decode("ascii")


def _column(column: pa.ChunkedArray) -> dict[str, Any]:
    """Texts: those that are used, and for each row the place of its own among them. Times: milliseconds since 1970.

    What is missing is -1.
    """
    array = column.combine_chunks()
    if pa.types.is_dictionary(array.type):
        used, places = np.unique(tables.filled(array.indices), return_inverse=True)
        texts = array.dictionary.take(tables.ints(used[used >= 0])).to_pylist()
        return {"texts": [shown(text) for text in texts], "codes": (places - np.count_nonzero(used < 0)).tolist()}
    numbers = tables.filled(array)
    if pa.types.is_timestamp(array.type):
        return {"times": np.where(numbers < 0, -1, numbers // MILLISECOND_NS).tolist()}
    return {"numbers": numbers.astype(np.int64).tolist()}
