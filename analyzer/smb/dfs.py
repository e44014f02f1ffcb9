"""DFS referrals: to which servers a server sends the client that asks where a path leads. [MS-DFSC]

The same bytes come in two wrappings: SMB 2 carries them in the answers to FSCTL_DFS_GET_REFERRALS and ..._EX, SMB 1 in
those to TRANS2_GET_DFS_REFERRAL. They are rare, so they are read one at a time and not by a kernel.

An answer has a header and entries of one of four versions. The name of a target stands inside the entry (version 1), or
the entry says where it is, counted from its own beginning (later ones). A list of names (domains, or the controllers of
one) has the names of servers as its "expanded names"; what it calls the special name is a domain, and no server.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np

from analyzer.errors import DecodeError, NeedMoreBytes
from analyzer.wire.cursor import Cursor
from analyzer.wire.layout import Layout

LAYER = "DFS"
MAX_NAMES = 512
"""Of one answer, so many are looked at: more than a large domain has controllers."""
MAX_TARGET_BYTES = 2048
"""Of one target's name: a path with a server, a share and folders."""
MAX_MACHINE = 255
"""Characters of a server's name. [RFC 1035 2.3.4]"""


class Extent(IntEnum):
    """How much of an answer there is to read."""

    WHOLE = 0
    CUT = 1  # by the capture, which is told elsewhere
    IN_PARTS = 2  # SMB 1: further messages bring more of it [MS-CIFS 2.2.4.46.2]
    BEYOND_LIMIT = 3  # not more is kept of a message


class ReferralEntryFlags(IntFlag):
    """[MS-DFSC] 2.2.5.3, 2.2.5.4"""

    NAME_LIST_REFERRAL = 0x0002
    TARGET_SET_BOUNDARY = 0x0004


RESPONSE = Layout("RESP_GET_DFS_REFERRAL", [          # [MS-DFSC] 2.2.4
    ("path_consumed",         "H"),  # 0
    ("number_of_referrals",   "H"),  # 2
    ("referral_header_flags", "I"),  # 4
])  # fmt: skip
ENTRY = Layout("DFS_REFERRAL", [                      # [MS-DFSC] 2.2.5: what all versions begin with
    ("version_number",        "H"),  # 0
    ("size",                  "H"),  # 2  of the entry: behind it comes the next one
    ("server_type",           "H"),  # 4
    ("referral_entry_flags",  "H"),  # 6
])  # fmt: skip
ENTRY_V2 = Layout("DFS_REFERRAL_V2", [                # [MS-DFSC] 2.2.5.2
    *ENTRY.fields,
    ("proximity",                 "I"),  #  8
    ("time_to_live",              "I"),  # 12
    ("dfs_path_offset",           "H"),  # 16
    ("dfs_alternate_path_offset", "H"),  # 18
    ("network_address_offset",    "H"),  # 20
])  # fmt: skip
ENTRY_V3 = Layout("DFS_REFERRAL_V3", [                # [MS-DFSC] 2.2.5.3.1; version 4 is the same [MS-DFSC] 2.2.5.4
    *ENTRY.fields,
    ("time_to_live",              "I"),  #  8
    ("dfs_path_offset",           "H"),  # 12
    ("dfs_alternate_path_offset", "H"),  # 14
    ("network_address_offset",    "H"),  # 16  ServiceSiteGuid follows, which says nothing
])  # fmt: skip
NAME_LIST_V3 = Layout("DFS_REFERRAL_V3 (name list)", [  # [MS-DFSC] 2.2.5.3.2: if it is a NameListReferral
    *ENTRY.fields,
    ("time_to_live",              "I"),  #  8
    ("special_name_offset",       "H"),  # 12
    ("number_of_expanded_names",  "H"),  # 14
    ("expanded_name_offset",      "H"),  # 16
])  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Referrals:
    """What an answer names."""

    targets: dict[bytes, int]
    """Different names in their order, in UTF-16 as sent (`\\server\\share`, of domain controllers `\\server`), and where
    they stand."""
    problem: DecodeError | None
    """Why nothing was read from there on, its detail a word; `NeedMoreBytes`: what was to be read lies behind the end."""


def parse_referrals(data: bytes) -> Referrals:
    """Read the body of a RESP_GET_DFS_REFERRAL.

    data: from its first byte on, as far as it was captured. Never raises; what was read before a fault is kept, and a
    name whose end is missing is none. Source: [MS-DFSC] 2.2.4, 2.2.5.
    """
    reader = _Reader(data)
    problem = None
    try:
        reader.read()
    except DecodeError as fault:
        problem = fault
    return Referrals(targets=reader.found, problem=problem)


class _Reader:
    """One answer, and the names found so far (in order, each once)."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.found: dict[bytes, int] = {}
        self._looked_at = 0
        self._size = 0

    def read(self) -> None:
        header = Cursor(self.data, LAYER)
        count, at = int(header.take(RESPONSE)["number_of_referrals"]), RESPONSE.size
        for _ in range(count):
            at = self._entry(at)

    def _entry(self, at: int) -> int:
        """Take the names of the entry at `at`; returns where the next one begins."""
        entry = Cursor(self.data, LAYER, at).take(ENTRY)
        version, size = int(entry["version_number"]), int(entry["size"])
        if not 1 <= version <= 4:
            raise DecodeError(LAYER, "VersionNumber", at, "unknown_version")
        is_list = version >= 3 and bool(int(entry["referral_entry_flags"]) & ReferralEntryFlags.NAME_LIST_REFERRAL)
        layout = NAME_LIST_V3 if is_list else (ENTRY, ENTRY_V2, ENTRY_V3, ENTRY_V3)[version - 1]
        if size < layout.size:
            raise DecodeError(LAYER, "Size", at + 2, "too_small")
        entry = Cursor(self.data, LAYER, at).take(layout)
        if version == 1:  # [MS-DFSC] 2.2.5.1: the name is a part of the entry
            self._name(at + ENTRY.size, at + size, "ShareName")
        elif is_list:
            place = at + int(entry["expanded_name_offset"])
            for _ in range(int(entry["number_of_expanded_names"])):
                place = self._name(place, len(self.data), "ExpandedName")
        else:
            self._name(at + int(entry["network_address_offset"]), len(self.data), "NetworkAddress")
        return at + size

    def _name(self, at: int, end: int, field: str) -> int:
        """Take the NUL-terminated name at `at`, unless it is empty; returns where what follows it begins."""
        self._looked_at += 1
        if self._looked_at > MAX_NAMES:
            raise DecodeError(LAYER, field, at, "too_many")
        end = min(end, len(self.data))
        whole_units = max(0, min(end - at, MAX_TARGET_BYTES + 2)) & ~1
        nul = np.flatnonzero(np.frombuffer(self.data[at : at + whole_units], "<u2") == 0)
        if not len(nul):
            if end - at > MAX_TARGET_BYTES:
                raise DecodeError(LAYER, field, at, "too_long")
            raise NeedMoreBytes(LAYER, field, at)
        size = 2 * int(nul[0])
        name = self.data[at : at + size]
        if size and name not in self.found:
            self._size += size
            if self._size > len(self.data):  # else a small answer could name a great many servers
                raise DecodeError(LAYER, field, at, "overlap")
            self.found[name] = at
        return at + size + 2


def fault_of(problem: DecodeError | None, extent: int) -> tuple[str, int, str] | None:
    """Field, offset and code of what could not be read; None if nothing is to be told.

    extent: `Extent`. What lies behind the end of the data is a fault of the server's if that is the end of the answer.
    """
    if problem is None or (isinstance(problem, NeedMoreBytes) and extent == Extent.CUT):
        return None
    code = problem.detail
    if isinstance(problem, NeedMoreBytes):
        code = {Extent.IN_PARTS: "in_parts", Extent.BEYOND_LIMIT: "not_kept"}.get(Extent(extent), "outside_message")
    return f"{LAYER} {problem.field}", problem.offset, code


def machine_of(path: str) -> str:
    """The first part of a path such as `\\\\SERVER\\SHARE`, or of a target; a name as it is."""
    return path.strip("\\\0 ").partition("\\")[0]
