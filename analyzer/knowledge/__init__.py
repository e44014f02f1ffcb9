"""Facts, as rows with a source: what codes are called, what they mean, what pipes are for.

In: the CSV files beside this one. Out: rows by name. A row whose confidence is `low` never decides a verdict. Each file's
first line names its columns; `source` says where a row comes from, `confidence` how sure it is.
"""

from __future__ import annotations

import csv
import io
from functools import cache
from importlib.resources import files


@cache
def rows(name: str) -> list[dict[str, str]]:
    """The rows of the table `name` (`"pipes"`, ...), each a dictionary from column to text."""
    text = files(__name__).joinpath(f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


@cache
def status_names(kind: str) -> dict[int, str]:
    """Names of status codes; kind: `nt`, or `dos` (class in the low byte, code in the upper half)."""
    return {int(row["code"], 16): row["name"] for row in rows("statuses") if row["kind"] == kind}


@cache
def refusals(rung: str) -> frozenset[tuple[str, int]]:
    """(kind, code) of the statuses that mean, on this rung, that access was refused.

    rung: `session_setup`, `tree_connect`, `open` or `call`.
    """
    return frozenset(
        (row["kind"], int(row["code"], 16))
        for row in rows("statuses")
        if rung in row["refused_at"].split("|") and row["confidence"] != "low"
    )


@cache
def pipe_names() -> frozenset[str]:
    """Names of known pipes, as the tables write them."""
    return frozenset(row["pipe"] for row in rows("pipes"))


@cache
def fsctl_names() -> dict[int, str]:
    """Names of control codes."""
    return {int(row["code"], 16): row["name"] for row in rows("fsctls")}


@cache
def housekeeping() -> frozenset[int]:
    """Control codes that an SMB client sends on its own account: no use that an application makes of a server."""
    return frozenset(int(row["code"], 16) for row in rows("fsctls") if row["housekeeping"] == "yes")


@cache
def rap_names() -> dict[int, str]:
    """Names of the functions of the Remote Administration Protocol."""
    return {int(row["function"]): row["name"] for row in rows("rap")}
