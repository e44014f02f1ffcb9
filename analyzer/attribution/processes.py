"""Processes of clients, where somebody noted them.

Windows' own SMB client is part of the kernel, as are those of macOS and Linux: a connection of theirs is the system's,
whatever program asked for it. So a process that stands for the system tells nothing.
"""

from __future__ import annotations

import numpy as np

from analyzer import tables
from analyzer.attribution.matching import Distinct
from analyzer.groups import Groups, Mask, Numbers, looked_up, places
from analyzer.sessions.joins import NONE
from analyzer.tables import Columns, TableSet

CLIENT = tables.CLOSED_BY.index("client")
STRONG = tables.CONFIDENCE.index("strong")
WINDOWS_SYSTEM = 4
SYSTEMS = frozenset(
    {
        "",
        "system",
        "system.exe",
        "ntoskrnl.exe",
        "system idle process",
        "idle",
        "registry",
        "kernel",
        "kernel_task",
        "cifsd",
    }
    # The host of many services, of which it names none.
    | {"svchost.exe", "svchost"}
)
"""Names of processes, in small letters, that say nothing of the application."""


def process_of(uses: Columns, rows: TableSet, noted: Columns | None = None) -> Columns:
    """For each use the client's `process` (a code of `rows.texts`) and the `confidence` in it; missing where none tells."""
    found = _of_connections(uses, rows)
    if noted is None or not len(noted["process"]):
        return found
    useful = _tell(noted["process"], rows) & (noted["confidence"] >= 0)
    noted = {name: column[useful] for name, column in noted.items()}
    of_session = noted["session_key"] >= 0
    for key, which in (("connection_id", ~of_session), ("session_key", of_session)):
        told = _surest({name: column[which] for name, column in noted.items()}, key)
        row = places(uses[key], told[key])
        # A note about the session counts for more than one about its connection, and both for more than the capture's.
        for name in ("process", "confidence"):
            found[name] = np.where(row >= 0, looked_up(told[name], row, NONE), found[name])
    return found


def _of_connections(uses: Columns, rows: TableSet) -> Columns:
    """What the capture tool noted of the client's process, where it noted a name."""
    columns = rows.columns("connections", "connection_id", "process_id", "process_name", "process_side")
    tells = (columns["process_side"] == CLIENT) & (columns["process_id"] != WINDOWS_SYSTEM)
    tells &= _tell(columns["process_name"], rows)
    row = places(uses["connection_id"], columns["connection_id"])
    process = np.where(looked_up(tells, row, False), looked_up(columns["process_name"], row, NONE), NONE)
    return {"process": process, "confidence": np.where(process >= 0, STRONG, NONE)}


def _tell(process: Numbers, rows: TableSet) -> Mask:
    """True for the names of processes that say something of the application."""
    return Distinct(process, rows.texts.text).are(lambda name: _file(name) not in SYSTEMS)


def _file(name: str) -> str:
    """The file of a process, by its name or path, in small letters."""
    return name.replace("\\", "/").rpartition("/")[2].strip().lower()


def _surest(noted: Columns, key: str) -> Columns:
    """One note a key: the surest. Where two of the surest name different processes, none of them is told."""
    noted = {name: column[noted[key] >= 0] for name, column in noted.items()}
    by_key = Groups(noted[key])
    surest = noted["confidence"] == by_key.most(noted["confidence"])[by_key.number]
    noted = {name: column[surest] for name, column in noted.items()}
    by_key = Groups(noted[key])
    one = by_key.different(noted["process"]) == 1
    return {name: column[by_key.first][one] for name, column in noted.items()}
