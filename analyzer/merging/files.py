"""Capture files of several results: which are the same, and what they are called in the merged ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from analyzer.groups import Mask
from analyzer.sessions.joins import Ints

Spans = dict[str, tuple[Ints, Ints]]
"""By site: begins and ends of times in nanoseconds, in order, which do not touch each other."""


@dataclass(frozen=True, slots=True)
class Files:
    """What is known of the files of all results, one result behind the other."""

    keep: Mask
    """For each row of `captures`: False if an earlier result holds the same file."""
    renamed: list[dict[str, str]]
    """For each result: paths that are called otherwise in the merged ones."""
    adds: list[bool]
    """For each result: it holds a file that none before it does (or no file at all is in any)."""
    overlaps: list[Spans]
    """For each result: when its files cover what those of results before it cover, too."""

    @property
    def dropped(self) -> int:
        return int(np.count_nonzero(~self.keep))


def same_files(captures: Sequence[pa.Table], sites: Sequence[str]) -> Files:
    """Compare the files of several results, given as their tables `captures`.

    A file is the same whatever it is called or how it is compressed: the same number of packets and bytes, from the same to
    the same nanosecond. Files with another content and the same path get a number behind it.
    """
    lists = [_rows(table, site) for table, site in zip(captures, sites, strict=True)]
    keep = []
    renamed: list[dict[str, str]] = [{} for _ in lists]
    called: dict[tuple[Any, ...], str] = {}
    taken: set[str] = set()
    for at, rows in enumerate(lists):
        within: Counter[tuple[Any, ...]] = Counter()  # the same file twice in one result is two rows of it
        for row in rows:
            identity = (*row["identity"], within[row["identity"]])
            within[row["identity"]] += 1
            path = row["capture"]
            keep.append(identity not in called)
            if identity not in called:
                called[identity] = _free(path, taken)
                taken.add(called[identity])
            if called[identity] != path:
                renamed[at][path] = called[identity]
    return Files(np.array(keep, dtype=bool), renamed, _adding(lists), _overlaps(lists))


def _rows(table: pa.Table, site: str) -> list[dict[str, Any]]:
    names = ("capture", "site", "packets", "bytes", "snaplen", "errors")
    columns = {name: table[name].to_pylist() for name in names}
    columns |= {name: table[name].cast(pa.int64()).to_pylist() for name in ("first_seen", "last_seen")}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    for row in rows:
        row["site"] = "/".join(part for part in (site, row["site"]) if part)
        what = [row[name] for name in ("packets", "bytes", "snaplen", "first_seen", "last_seen")]
        named = [row["capture"], row["errors"]] if not row["packets"] or row["first_seen"] is None else []
        row["identity"] = (row["site"], *what, *named)
    return rows


def _free(path: str, taken: set[str]) -> str:
    """The path, or with a number behind it if another file is called so."""
    name, number = path, 1
    while name in taken:
        number += 1
        name = f"{path} ({number})"
    return name


def _adding(lists: Sequence[list[dict[str, Any]]]) -> list[bool]:
    """Results whose counts count. One whose files are all held by others says nothing new, wherever it stands."""
    held = [{row["identity"] for row in rows} for rows in lists]
    adds = [True] * len(lists)
    for at in sorted(range(len(lists)), key=lambda at: (len(held[at]), -at)):
        others = [held[other] for other in range(len(lists)) if other != at and adds[other]]
        adds[at] = not others or not held[at] <= set().union(*others)
    return adds


def _overlaps(lists: Sequence[list[dict[str, Any]]]) -> list[Spans]:
    found: list[Spans] = []
    before: dict[str, list[tuple[int, int, Any]]] = {}
    for rows in lists:
        mine: dict[str, list[tuple[int, int, Any]]] = {}
        for row in rows:
            if row["first_seen"] is not None:
                span = (row["first_seen"], row["last_seen"], row["identity"])
                mine.setdefault(row["site"], []).append(span)
        found.append({site: _common(before.get(site, []), spans) for site, spans in mine.items()})
        for site, spans in mine.items():
            before.setdefault(site, []).extend(spans)
    return found


def _common(ones: Sequence[tuple[int, int, Any]], others: Sequence[tuple[int, int, Any]]) -> tuple[Ints, Ints]:
    """When a file of the ones and one of the others both run. Files that only touch each other follow each other.

    Both sides are joined to spans first, so that this takes no longer than to sort them.
    """
    same = {identity for *_, identity in ones} & {identity for *_, identity in others}
    spans = [(begin, end) for begin, end, identity in others if identity in same]
    left, right = _spans([span[:2] for span in ones]), _spans([span[:2] for span in others])
    at = 0
    for begin, end in left:
        while at and right[at - 1][1] > begin:
            at -= 1
        while at < len(right) and right[at][0] < end:
            if right[at][1] > begin:
                spans.append((max(begin, right[at][0]), min(end, right[at][1])))
            at += 1
    joined = _spans(spans)
    return np.array([begin for begin, _ in joined], dtype=np.int64), np.array(
        [end for _, end in joined], dtype=np.int64
    )


def _spans(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Times in order, those that overlap as one."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if joined and begin < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined
