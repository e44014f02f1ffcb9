"""Display filters for rows of the page: for the first of them, since each takes a moment to make."""

from __future__ import annotations

import pyarrow as pa

from analyzer import slices, tables
from analyzer.analysis import Analysis
from analyzer.report.html.words import LONGEST

MOST_FILTERS = 5_000
"""Rows that have one of their own; the page gives others one for their frame, `nullsession slice --filters` any row all."""


def display_filters(analysis: Analysis) -> pa.Array:
    """For each row of `dependencies` what to paste into Wireshark, the narrowest that there is; missing beyond those."""
    count = len(analysis.arrow("dependencies"))
    told: list[str | None] = [None] * count
    if count:
        first = slices.Selection(rows=range(1, min(count, MOST_FILTERS) + 1))
        for found in slices.display_filters(analysis, first):
            narrowest_first = (found.by_resource, found.by_session, found.by_connection, found.by_frame)
            # A longer one would be cut, and then it is no filter any more.
            told[found.row - 1] = next((text for text in narrowest_first if 0 < len(text) <= LONGEST), None)
    return tables.listed(told)
