"""What is known of one side: its dependencies as one row a use, who was seen, and what came of logins and opens.

Texts of both sides are codes of the same pool, so that they can be compared as numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analyzer.analysis import Analysis
from analyzer.groups import Groups, Numbers, looked_up, places, places_of
from analyzer.sessions.joins import NONE, Ints
from analyzer.summary.coverage import overall
from analyzer.tables import Columns, TableSet

USED = (
    "captures", "connections", "sessions", "trees", "pipe_opens", "binds", "calls", "credentialed_uses", "hosts",
    "dependencies",
)  # fmt: skip
NO_GUID = "00000000-0000-0000-0000-000000000000"
OF_USE = ("resource", "interface", "operation")


class Sides(TableSet):
    """The tables of both sides, with one pool of texts."""

    def __init__(self, analyses: Sequence[Analysis]) -> None:
        super().__init__(
            {f"{at} {name}": analysis.arrow(name) for at, analysis in enumerate(analyses) for name in USED}
        )


class Side:
    """One of the two."""

    def __init__(self, rows: Sides, at: int, analysis: Analysis, sites: dict[int, int]) -> None:
        self._rows, self._at, self._sites = rows, at, sites
        self.texts = rows.texts
        self.analysis = analysis
        self.seconds = overall(analysis.arrow("coverage"))["seconds_observed"]

    def columns(self, name: str, *columns: str) -> Columns:
        """As of `TableSet`; sites as they are called on both sides."""
        found = self._rows.columns(f"{self._at} {name}", *columns)
        if "site" in found and self._sites:
            found["site"] = np.array([self._sites.get(code, code) for code in found["site"].tolist()], dtype=np.int64)
        return found

    def addresses(self) -> set[tuple[int, int]]:
        """Sites and addresses that took part in a connection or have a use."""
        found: set[tuple[int, int]] = set()
        for name in ("connections", "dependencies"):
            columns = self.columns(name, "site", "client_ip", "server_ip")
            for end in ("client_ip", "server_ip"):
                first = Groups(columns["site"], columns[end]).first
                found |= set(zip(columns["site"][first].tolist(), columns[end][first].tolist(), strict=True))
        return found

    def names(self) -> dict[tuple[int, int], frozenset[str]]:
        """Names of addresses that belong to one machine all the time: each up to its first dot, in small letters."""
        hosts = self.columns("hosts", "site", "ip", "name", "other_names", "shared")
        shared = set(zip(hosts["site"][hosts["shared"]].tolist(), hosts["ip"][hosts["shared"]].tolist(), strict=True))
        found: dict[tuple[int, int], frozenset[str]] = {}
        again = set(shared)
        columns = (hosts["site"].tolist(), hosts["ip"].tolist(), hosts["name"].tolist(), hosts["other_names"].tolist())
        for site, ip, name, others in zip(*columns, strict=True):
            if name < 0:
                continue
            spelt = [self.texts.text(name), *(self.texts.text(others) or "").split("|")]
            known = frozenset(text.partition(".")[0].casefold() for text in spelt if text)
            if (site, ip) in found and not found[site, ip] & known:
                again.add((site, ip))
            found[site, ip] = found.get((site, ip), frozenset()) | known
        return {address: known for address, known in found.items() if address not in again}

    def guids(self) -> dict[tuple[int, int], frozenset[str]]:
        """What clients and servers of SMB 2 call themselves."""
        shared = self.columns("hosts", "site", "ip", "shared")
        unclear = set(
            zip(shared["site"][shared["shared"]].tolist(), shared["ip"][shared["shared"]].tolist(), strict=True)
        )
        found: dict[tuple[int, int], set[str]] = {}
        for end in ("client", "server"):
            columns = self.columns("connections", "site", f"{end}_ip", f"{end}_guid")
            first = Groups(*columns.values()).first
            for site, ip, guid in zip(*(column[first].tolist() for column in columns.values()), strict=True):
                text = self.texts.text(guid) if guid >= 0 else None
                if text and text != NO_GUID and (site, ip) not in unclear:
                    found.setdefault((site, ip), set()).add(f"{end} {text}")
        return {address: frozenset(known) for address, known in found.items()}

    def dependencies(self) -> tuple[Columns, int]:
        """The rows that count, and how many are left out as a scanner's."""
        found = self.columns(
            "dependencies", "site", "client_ip", "server_ip", *OF_USE, "application", "identity", "verdict", "sessions", "uses",
            "refused_at", "client", "server", "first_seen", "last_seen", "excluded", "capture", "frame",
        )  # fmt: skip
        kept = ~found["excluded"]
        return {name: column[kept] for name, column in found.items()}, int(np.count_nonzero(~kept))

    def sessions(self) -> Columns:
        return self.columns(
            "sessions", "session_key", "site", "client_ip", "server_ip", "identity", "outcome", "user", "status", "capture",
            "frame", "answer_frame", "encrypted_messages",
        )  # fmt: skip

    def things(self, name: str, *columns: str) -> Columns:
        """Trees, opens, binds or calls with site, client and server of their session; those without one are left out."""
        found = self.columns(name, "session_key", "status", "capture", "frame", "answer_frame", *columns)
        sessions = self.columns("sessions", "session_key", "site", "client_ip", "server_ip", "identity")
        row = places(found["session_key"], sessions["session_key"])
        found = {name: column[row >= 0] for name, column in found.items()}
        of_session = {name: sessions[name][row[row >= 0]] for name in ("site", "client_ip", "server_ip", "identity")}
        return found | of_session | {"frame": np.where(found["frame"] >= 0, found["frame"], found["answer_frame"])}

    def status_at(self, capture: Numbers, frame: Numbers) -> Numbers:
        """The status of what happened in these frames, the highest rung first; missing where there is none."""
        found = np.full(len(frame), NONE, dtype=np.int64)
        for name in ("calls", "binds", "pipe_opens", "trees", "sessions"):
            rows = self.columns(name, "capture", "frame", "answer_frame", "status")
            at = np.where(rows["frame"] >= 0, rows["frame"], rows["answer_frame"])
            known = rows["status"] >= 0
            place = places_of((capture, frame), (rows["capture"][known], at[known]))
            found = np.where(found >= 0, found, looked_up(rows["status"][known], place, NONE))
        return found


def same_sites(sides: Sides) -> dict[int, int]:
    """For sites of the second side those of the first that they are: the only ones, or those of the same folder name."""
    codes = [
        np.unique(
            np.concatenate(
                [sides.columns(f"{at} {name}", "site")["site"] for name in ("connections", "dependencies", "captures")]
            )
        )
        for at in range(2)
    ]
    ours, theirs = ([code for code in side.tolist() if code >= 0] for side in codes)
    if len(ours) == len(theirs) == 1:
        return {theirs[0]: ours[0]}
    last: list[dict[str, list[int]]] = [{}, {}]
    for found, side in zip(last, (ours, theirs), strict=True):
        for code in side:
            found.setdefault((sides.texts.text(code) or "").replace("\\", "/").rpartition("/")[2], []).append(code)
    return {
        some[0]: last[0][name][0]
        for name, some in last[1].items()
        if len(some) == 1 and len(last[0].get(name, ())) == 1 and some[0] not in ours
    }


def by_key(key: Sequence[Numbers], rank: Numbers, time: Numbers) -> tuple[Groups, Ints]:
    """Rows with the same key, and of each the one that decides: of the first verdict, the earliest."""
    groups = Groups(*key)
    order = np.lexsort((time, rank, groups.number))
    return groups, order[np.cumsum(groups.sizes()) - groups.sizes()]
