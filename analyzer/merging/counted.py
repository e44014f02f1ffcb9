"""What is only counted: uses with credentials by the hour, other ways to servers, what DFS referrals name.

Counts of two results are added, unless what they count may be the same: then the larger holds. It may be if their files
cover a time in common in which both have something to count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from analyzer import tables
from analyzer.groups import Groups, Mask, Numbers
from analyzer.merging.files import Files
from analyzer.merging.stack import Stack
from analyzer.sessions.joins import NONE, Ints
from analyzer.summary.overview import HOUR_NS


def credentialed_uses(stack: Stack, of_files: Files) -> pa.Table:
    """The table of that name."""
    key = ("site", "client_ip", "server_ip", "resource", "interface", "operation", "hour")
    return _counted(stack, of_files, "credentialed_uses", key, ("uses", "succeeded", "after_refusal"))


def other_ways(stack: Stack, of_files: Files) -> pa.Table:
    """The table of that name."""
    return _counted(stack, of_files, "other_ways", ("site", "client_ip", "server_ip", "way"), ("attempts",))


def referrals(stack: Stack, of_files: Files) -> pa.Table:
    """The table of that name."""
    return _counted(
        stack, of_files, "referrals", ("site", "client_ip", "server_ip", "named"), ("answers",), ("target", "asked")
    )


def _counted(
    stack: Stack, of_files: Files, name: str, key: Sequence[str], counts: Sequence[str], least: Sequence[str] = ()
) -> pa.Table:
    """One row a key, in its alphabetical order. What else stands in it is of the row that begins first, or (least) of that
    with the first texts in these columns.
    """
    texts = {column.name for column in tables.TABLES[name] if column.kind == tables.TEXT}
    columns = stack.set.columns(name, *key, *counts, "first_seen", "last_seen")
    ranked = [tables.ranks(columns[each], stack.set.texts) if each in texts else columns[each] for each in key]
    ranked = [column // HOUR_NS if each == "hour" else column for each, column in zip(key, ranked, strict=True)]
    by_key = Groups(*ranked)
    origin, number = stack.origin[name], by_key.number
    size = len(by_key)
    totals = {each: np.zeros(size, dtype=np.int64) for each in counts}
    first = np.full(size, np.iinfo(np.int64).max)
    last = np.full(size, NONE, dtype=np.int64)
    giver = np.full(size, NONE, dtype=np.int64)
    said = [tables.ranks(stack.set.columns(name, each)[each], stack.set.texts) for each in least]
    rank = np.empty(len(number), dtype=np.int64)
    rank[np.lexsort((columns["first_seen"], *reversed(said)))] = np.arange(len(number))
    for at in range(len(of_files.overlaps)):  # a result at a time: of each the keys are different
        rows = np.flatnonzero(origin == at)
        onto = number[rows]
        begin, end = columns["first_seen"][rows], columns["last_seen"][rows]
        in_common = (giver[onto] >= 0) & (begin <= last[onto]) & (end >= first[onto])
        in_common &= _covered(
            columns["site"][rows], np.maximum(begin, first[onto]), np.minimum(end, last[onto]), stack, of_files, at
        )
        for each in counts:
            mine = np.maximum(columns[each][rows], 0)
            had = totals[each][onto]
            totals[each][onto] = np.where(in_common, np.maximum(had, mine), had + mine)
        giver[onto] = np.where((giver[onto] < 0) | (rank[rows] < rank[giver[onto]]), rows, giver[onto])
        first[onto] = np.minimum(first[onto], begin)
        last[onto] = np.maximum(last[onto], end)
    taken = stack.tables[name].take(tables.ints(giver))
    made = {column: tables.one_array(taken[column]) for column in taken.column_names}
    made |= {each: tables.ints(values) for each, values in totals.items()}
    made |= {"first_seen": tables.times(first), "last_seen": tables.times(last)}
    return tables.table(name, made, size)


def _covered(site: Numbers, begin: Ints, end: Ints, stack: Stack, of_files: Files, at: int) -> Mask:
    """True where files of this result and of one before it both cover some of the time from `begin` to `end`."""
    found = np.zeros(len(site), dtype=bool)
    for name, (begins, ends) in of_files.overlaps[at].items():
        if len(begins):
            mine = np.flatnonzero(site == stack.set.texts.code(name))
            place = np.minimum(
                np.searchsorted(ends, begin[mine]), len(ends) - 1
            )  # the first that has not ended by then
            found[mine] = (begins[place] <= end[mine]) & (ends[place] >= begin[mine])
    return found
