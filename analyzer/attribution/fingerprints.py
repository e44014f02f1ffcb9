"""What software a client is, by what it says of itself: rows of `knowledge/fingerprints.csv`, of which the first that fits
holds. A row that names a program tells the application too; one that names a release of Windows does not.

The cells of a row are patterns; an empty one asks for nothing, `<missing>` that the client sent nothing of the kind. The
ClientGuid is matched as its 16 bytes on the wire, a character each. A client that no row fits is called by its own words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import compress
from typing import NamedTuple

import numpy as np

from analyzer import knowledge
from analyzer.attribution.matching import Distinct, Says, by_row, first_of, globs
from analyzer.attribution.patterns import CONFIDENCE
from analyzer.groups import Groups, Mask, Numbers, looked_up, places
from analyzer.sessions.joins import NONE
from analyzer.tables import Columns, TableSet

OF_SESSIONS = ("native_os", "native_lanman", "client_build", "workstation", "ntlm_flags")
GUID = "client_guid"
OF_CONNECTIONS = (GUID, "netbios_calling", "dialects_offered", "client_capabilities")
NUMBERS = ("ntlm_flags", "client_capabilities")
"""Columns that are matched as hexadecimal numbers."""
LONGEST = 100
"""Characters of a client's own words that are kept."""
MISSING = "<missing>"


class Fingerprint(NamedTuple):
    """A row of `fingerprints`. cells: what it asks of which column; a text that is not there answers with the truth value."""

    software: str
    application: str
    confidence: int
    cells: tuple[tuple[str, Says, bool], ...]


def client_software(uses: Columns, rows: TableSet) -> Columns:
    """For each use `client_software` and `application` (codes of `rows.texts`), and `confidence` of the last."""
    sessions = rows.columns("sessions", "session_key", "connection_id", *OF_SESSIONS)
    connections = rows.columns("connections", "connection_id", *OF_CONNECTIONS[1:])
    connections[GUID] = rows.codes("connections", GUID)
    who = Groups(uses["session_key"], uses["connection_id"])
    session = places(uses["session_key"][who.first], sessions["session_key"])
    own = looked_up(sessions["connection_id"], session, NONE)
    of_use = uses["connection_id"][who.first]
    connection = places(np.where(of_use >= 0, of_use, own), connections["connection_id"])
    says = {name: looked_up(sessions[name], session, NONE) for name in OF_SESSIONS}
    says |= {name: looked_up(connections[name], connection, NONE) for name in OF_CONNECTIONS}
    says[GUID] = _told_guids(says[GUID], rows)
    # Clients of a kind say the same: these few are looked at.
    same = Groups(*(_dense(column) for column in says.values()))
    found = _told({name: column[same.first] for name, column in says.items()}, rows)
    return {name: column[same.number][who.number] for name, column in found.items()}


def _dense(column: Numbers) -> Numbers:
    """The same numbers where the column has the same, but small."""
    return np.unique(column, return_inverse=True)[1]


def _told(says: Columns, rows: TableSet) -> Columns:
    text: dict[str, Callable[[int], str | None]] = dict.fromkeys(says, rows.texts.text)
    text |= dict.fromkeys(NUMBERS, lambda number: None if number < 0 else hex(number))
    columns = {name: Distinct(column, text[name]) for name, column in says.items()}
    prints = _fingerprints()
    length = len(says["native_os"])
    masks: list[Mask] = []
    for one in prints:
        fits = np.ones(length, dtype=bool)
        for name, cell, missing in one.cells:
            fits &= columns[name].are(cell, missing)
        masks.append(fits)
    row = first_of(masks, length)
    software = by_row([rows.texts.code(one.software) for one in prints], row)
    return {
        "client_software": np.where(software >= 0, software, _own_words(says, rows)),
        "application": by_row([rows.texts.code(one.application) if one.application else NONE for one in prints], row),
        "confidence": by_row([one.confidence for one in prints], row),
    }


@cache
def _fingerprints() -> list[Fingerprint]:
    found = []
    for row in knowledge.rows("fingerprints"):
        cells = []
        for name in (*OF_SESSIONS, *OF_CONNECTIONS):
            if row[name] == MISSING:
                cells.append((name, globs([]), True))
            elif row[name]:
                cells.append((name, globs([row[name]], any_case=name != GUID), False))
        sure = CONFIDENCE.get(row["confidence"], NONE)
        found.append(Fingerprint(row["software"], row["application"] if sure >= 0 else "", sure, tuple(cells)))
    return found


def _told_guids(guids: Numbers, rows: TableSet) -> Numbers:
    """Codes of the GUIDs' bytes as they were sent, for GUIDs that some fingerprint asks for. All others, of which each
    client has its own, are the empty text; what is no GUID is missing.
    """
    different, place = np.unique(guids[guids >= 0], return_inverse=True)
    is_asked_for, other = _asked_guids(), rows.texts.code("")
    told = [
        NONE if sent is None else rows.texts.code(sent) if is_asked_for(sent) else other
        for sent in _as_sent(rows.of_codes("connections", GUID, different))
    ]
    found = np.full(len(guids), NONE, dtype=np.int64)
    found[guids >= 0] = np.array(told, dtype=np.int64)[place]
    return found


@cache
def _asked_guids() -> Says:
    """True of the bytes of a GUID that some fingerprint asks for."""
    return globs(
        [row[GUID] for row in knowledge.rows("fingerprints") if row[GUID] not in ("", MISSING)], any_case=False
    )


def _as_sent(guids: Sequence[str]) -> Iterator[str | None]:
    """The 16 bytes of each GUID as they were sent, a character each; None for what is no GUID."""
    good = [_GUID.fullmatch(text) is not None for text in guids]
    octets = np.frombuffer(bytes.fromhex("".join(compress(guids, good)).replace("-", "")), dtype=np.uint8)
    sent = octets.reshape(-1, 16)[:, _ON_THE_WIRE].tobytes().decode("latin-1")
    ends = iter(range(16, len(sent) + 1, 16))
    for is_guid in good:
        if is_guid:
            end = next(ends)
            yield sent[end - 16 : end]
        else:
            yield None


_GUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ON_THE_WIRE = [3, 2, 1, 0, 5, 4, 7, 6, *range(8, 16)]
"""The first three groups are turned around there."""


def _own_words(says: Columns, rows: TableSet) -> Numbers:
    """What clients of SMB 1 call their system and LAN manager, as one text; missing where that is nothing."""
    os, manager = says["native_os"], says["native_lanman"]
    pairs = Groups(os, manager)
    spelt = []
    for both in zip(os[pairs.first].tolist(), manager[pairs.first].tolist(), strict=True):
        words = [word[:LONGEST] for word in map(rows.texts.text, both) if word]
        spelt.append(rows.texts.code(" / ".join(words)) if words else NONE)
    return np.array(spelt, dtype=np.int64)[pairs.number]
