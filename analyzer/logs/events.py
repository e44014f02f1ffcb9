"""The one form of events, and how records become events: by the rows of `knowledge/log_events.csv`."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np

from analyzer import knowledge
from analyzer.logs.records import Record, key
from analyzer.names.sightings import canonical
from analyzer.sessions.joins import NONE
from analyzer.tables import Columns
from analyzer.wire.texts import MISSING, Texts

SIDES = ("client", "server", "unknown")
"""Whose view it is: of the end that logged it."""
MEANINGS = (
    "connection", "logon", "logon_failed", "share_access", "denied", "ntlm_out", "ntlm_in", "sam_audit", "netlogon", "setting"
)  # fmt: skip
NUMBERS = ("log", "record", "time", "kind", "side", "meaning", "client_port", "server_port", "process_id", "anonymous")
TEXTS = (
    "client_ip", "client_name", "server_ip", "server_name", "computer", "process", "user", "share", "pipe", "status"
)  # fmt: skip
COLUMNS = (*NUMBERS, *TEXTS)
"""Of an event: numbers, -1 where missing (`time` is ns since 1970 UTC, `kind` a place in `kinds()`, `side` and `meaning` in
those above, `anonymous` 1, 0 or -1: not known), and codes of texts. An empty user is a value, where the log says so."""

MAX_EVENTS = 1_000_000
MAX_CHARACTERS = 1 << 27
"""Events of all logs that are kept, and characters of their different texts; what is beyond is counted."""

ANONYMOUS_SID = "S-1-5-7"  # [MS-DTYP 2.4.2.4]
NO_SIDS = ("", "-", "S-1-0-0", "(NULL SID)")
ANONYMOUS_NAME = "ANONYMOUS LOGON"
ABSENT = ("", "-", "(null)", "null", "n/a", "(NULL)", "NULL", "Null", "None")
LOCAL = ("127.", "::1")
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
LATEST = datetime(2150, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d*)?\s*(Z|UTC|[+-]\d\d:?\d\d)?$")
_ISO_DATE = re.compile(r"/?Date\((-?\d{1,15})")  # of PowerShell 5: milliseconds
_NUMBER = re.compile(r"\d{9,19}(?:\.\d{1,9})?$")
_ADDRESS_AND_PORT = re.compile(r"(?:ipv[46]:)?\[?([0-9A-Fa-f:.]+?)\]?:(\d{1,5})$")
_FAMILIES = {"0200": (8, 16), "1700": (16, 48)}  # AF_INET, AF_INET6: where the address stands, in hexadecimal digits


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table of events: which field says what. Each name may have alternatives."""

    name: str
    says: str
    side: str
    meaning: str
    anonymous: bool
    names: Mapping[str, tuple[str, ...]]
    outgoing: frozenset[str]
    incoming: frozenset[str]
    positions: tuple[str, ...]


@cache
def kinds() -> tuple[Kind, ...]:
    """All kinds of events that are understood."""
    named = (*[name for name in TEXTS if name != "computer"], "client_port", "server_port", "process_id", "sid", "time")
    ends = ("from_ip", "from_port", "to_ip", "to_port", "direction")
    return tuple(
        Kind(
            name=row["kind"],
            says=row["says"],
            side=row["side"],
            meaning=row["meaning"],
            anonymous=row["anonymous"] == "yes",
            names={name: tuple(key(one) for one in row[name].split("|")) for name in (*named, *ends) if row[name]},
            outgoing=frozenset(row["outgoing"].lower().split("|")),
            incoming=frozenset(row["incoming"].lower().split("|")),
            positions=tuple(key(one) for one in row["positions"].split()),
        )
        for row in knowledge.rows("log_events")
    )


@cache
def _places() -> dict[tuple[str, str], int]:
    """Kinds by provider and event id."""
    found = {}
    for place, row in enumerate(knowledge.rows("log_events")):
        found[row["provider"].lower(), row["event_id"]] = place
    return found


@cache
def _by_channel() -> dict[tuple[str, str], int]:
    """Kinds by channel and event id, for records that name no provider; System is shared by too many for that."""
    rows = knowledge.rows("log_events")
    return {
        (row["channel"].lower(), row["event_id"]): place
        for place, row in enumerate(rows)
        if row["channel"] not in ("", "System")
    }


@cache
def _by_id() -> dict[str, int]:
    """Kinds by event id alone, where it is one of a single kind: for CSV that names neither."""
    rows = knowledge.rows("log_events")
    ids = [row["event_id"] for row in rows]
    return {one: place for place, one in enumerate(ids) if ids.count(one) == 1 and len(one) >= 4 and one.isdigit()}


@cache
def event_ids() -> frozenset[str]:
    """The ids of all kinds of events."""
    return frozenset(row["event_id"] for row in knowledge.rows("log_events"))


def kind_of(record: Record) -> int:
    """The kind of a record, a place in `kinds()`; `NONE` if it is none that matters."""
    if record.provider:
        return _places().get((record.provider.lower(), record.event_id), NONE)
    if record.channel:
        found = _by_channel().get((record.channel.lower(), record.event_id), NONE)
        return _by_id().get(record.event_id, NONE) if found < 0 and record.channel.lower() == "system" else found
    return _by_id().get(record.event_id, NONE)


def as_time(value: Any) -> int:
    """Nanoseconds since 1970 UTC; -1 if it is no time, or none that can be true. A time without a zone counts as UTC."""
    text = str(value).strip()[:64] if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    found = _ISO.match(text)
    if found:
        *parts, fraction, zone = found.groups()
        try:
            moment = datetime(*map(int, parts), tzinfo=UTC)  # type: ignore[misc, arg-type]
        except ValueError:
            return -1
        seconds = (moment - EPOCH) // _SECOND
        if zone and zone[0] in "+-":
            minutes = int(zone[1:3]) * 60 + int(zone[-2:])
            seconds -= (minutes if zone[0] == "+" else -minutes) * 60
        ns = seconds * 10**9 + int((fraction or "0").ljust(9, "0"))
    elif found := _ISO_DATE.match(text):
        ns = int(found[1]) * 10**6
    elif _NUMBER.match(text):
        whole, _, fraction = text.partition(".")
        scale = {9: 9, 10: 9, 13: 6, 16: 3, 19: 0}.get(len(whole))
        if scale is None:
            return -1
        ns = int(whole) * 10**scale + (int(fraction.ljust(9, "0")) if fraction and scale == 9 else 0)
    else:
        return -1
    return ns if _FIRST <= ns < _LAST else -1


_SECOND = LATEST.resolution * 1_000_000
_FIRST = (EARLIEST - EPOCH) // _SECOND * 10**9
_LAST = (LATEST - EPOCH) // _SECOND * 10**9


def end_of(text: str) -> tuple[str | None, int]:
    """An address and a port (-1: none) in any of the ways that logs have them; None if it is no address.

    `10.0.0.1`, `::ffff:10.0.0.1`, Samba's `ipv4:10.0.0.1:445` and `ipv6:fd00::1:445`, `10.0.0.1:445`, `[fd00::1]:445`, a
    UNC name (`\\\\10.0.0.1`, `\\\\[fd00::1]`), and the bytes of a socket address in hexadecimal (family, port, address), as the
    SMB server's events have them.
    """
    bare = text.strip().lstrip("\\")
    if bare.startswith("[") and bare.endswith("]"):
        bare = bare[1:-1]
    if bare[:4] in _FAMILIES and len(bare) >= 16:
        address = _socket_address(bare)
        if address[0]:
            return address
    if not bare.startswith(("ipv4:", "ipv6:")):
        found = canonical(bare)
        if found:
            return found, -1
    with_port = _ADDRESS_AND_PORT.match(bare)
    if with_port:
        found, port = canonical(with_port[1]), int(with_port[2])
        if found and (bare.startswith(("ipv", "[")) or found.count(":") == 0):
            return found, port if 0 < port < 65536 else -1
    return None, -1


def _socket_address(digits: str) -> tuple[str | None, int]:
    """[Winsock: SOCKADDR_IN, SOCKADDR_IN6] The family is in the machine's order, the port in the network's."""
    first, end = _FAMILIES[digits[:4]]
    size = end - first if digits[:4] == "0200" else 32
    try:
        port, address = int(digits[4:8], 16), bytes.fromhex(digits[first : first + size])
    except ValueError:
        return None, -1
    if len(address) not in (4, 16):
        return None, -1
    words = address.hex(":", 2) if len(address) == 16 else ".".join(map(str, address))
    return canonical(words), port if port else -1


def as_number(text: str) -> int:
    """A decimal or hexadecimal number; -1 if it is none."""
    bare = text.strip()[:20]
    try:
        found = int(bare, 16) if bare[:2].lower() == "0x" else int(bare)
    except ValueError:
        return -1
    return found if 0 <= found < 1 << 62 else -1


@dataclass(slots=True)
class Events:
    """Events of all logs as columns that grow, with their texts."""

    texts: Texts = field(default_factory=Texts)
    dropped: int = 0
    """Events beyond the bounds."""
    _columns: dict[str, array[int]] = field(default_factory=lambda: {name: array("q") for name in COLUMNS})
    _characters: int = 0

    def __len__(self) -> int:
        return len(self._columns["log"])

    def add(self, numbers: Mapping[str, int], texts: Mapping[str, str | None]) -> bool:
        """Append an event; False if there is no room for it."""
        if len(self) >= MAX_EVENTS or self._characters >= MAX_CHARACTERS:
            self.dropped += 1
            return False
        for name in NUMBERS:
            self._columns[name].append(numbers.get(name, -1))
        for name in TEXTS:
            self._columns[name].append(self._code(texts.get(name)))
        return True

    def _code(self, text: str | None) -> int:
        if text is None:
            return MISSING
        known = len(self.texts.values)
        code = self.texts.code(text)
        if code >= known:
            self._characters += len(text) + 64
        return code

    def columns(self) -> Columns:
        """All columns, as numbers."""
        return {name: np.array(column, dtype=np.int64) for name, column in self._columns.items()}


@dataclass(frozen=True, slots=True)
class Event:
    """A record understood."""

    numbers: dict[str, int]
    texts: dict[str, str | None]


NO_EVENT = "no_event"
BAD_TIME = "bad_time"
OTHER_PORTS = "other_ports"
AT_HOME = "local"


def event_of(record: Record, ports: Collection[int]) -> Event | str:
    """What a record means, or why it is left out: one of the constants above.

    ports: those that carry SMB. Of connections only those with one of them at an end matter, and that end is the server's;
    of logins that name the server's port likewise (a domain controller also logs those by LDAP and Kerberos).
    """
    place = kind_of(record)
    if place < 0:
        return NO_EVENT
    kind = kinds()[place]
    fields = record.fields
    for number, value in enumerate(record.values, 1):
        fields.setdefault(f"#{number}", value)
    if kind.positions and len(record.values) >= len(kind.positions):
        for name, value in zip(kind.positions, record.values, strict=False):
            fields.setdefault(name, value)

    def said(name: str) -> str | None:
        for one in kind.names.get(name, ()):
            value = fields.get(one)
            if value is not None and value.strip() not in ABSENT:
                return value.strip()
        return None

    logged = said("time")
    time = as_time(logged) if logged else -1
    time = time if time > 0 else as_time(record.time)
    if time < 0:
        return BAD_TIME
    numbers = {
        "time": time,
        "kind": place,
        "side": SIDES.index(kind.side) if kind.side in SIDES else SIDES.index("unknown"),
        "meaning": MEANINGS.index(kind.meaning),
        "record": record.number,
        "process_id": as_number(said("process_id") or ""),
    }
    texts = {name: said(name) for name in TEXTS}
    texts["computer"] = record.computer.strip() or None
    if "from_ip" in kind.names:
        _by_direction(kind, said, numbers, texts, ports)
    else:
        _ends(kind, fields, numbers, texts)
    ended = {numbers.get("client_port", -1), numbers.get("server_port", -1)}
    if not ended & set(ports) and (kind.meaning == "connection" or numbers.get("server_port", -1) >= 0):
        return OTHER_PORTS
    if any(address is not None and address.startswith(LOCAL) for address in (texts["client_ip"], texts["server_ip"])):
        return AT_HOME
    _names(kind, fields, said("sid"), numbers, texts)
    return Event(numbers, texts)


def _ends(kind: Kind, fields: Mapping[str, str], numbers: dict[str, int], texts: dict[str, str | None]) -> None:
    """Client and server: of alternatives the first that is an address. A name may turn out to be one."""
    for end in ("client", "server"):
        address, port = None, -1
        for one in kind.names.get(f"{end}_ip", ()):
            address, port = end_of(fields.get(one, ""))
            if address:
                break
        for one in kind.names.get(f"{end}_port", ()):
            port = port if port >= 0 else as_number(fields.get(one, ""))
        name = texts[f"{end}_name"]
        if name is not None:
            name = name.rpartition("/")[2] if "/" in name else name  # a service principal name: cifs/files1
            as_address, _ = end_of(name)
            address = address or as_address
            texts[f"{end}_name"] = None if as_address else name.lstrip("\\").rstrip("$") or None
        texts[f"{end}_ip"] = address
        numbers[f"{end}_port"] = port if 0 < port < 65536 else -1


def _by_direction(
    kind: Kind,
    said: Callable[[str], str | None],
    numbers: dict[str, int],
    texts: dict[str, str | None],
    ports: Collection[int],
) -> None:
    """The ends of a connection. The end with a port of SMB's is the server; else the direction says which.

    The direction says whose view it is. What is called source differs: Sysmon's is who began the connection, the
    filtering platform's is the end that logged it, in the examples of its documentation.
    """
    ends = []
    for end in ("from", "to"):
        address, port = end_of(said(f"{end}_ip") or "")
        port = port if port >= 0 else as_number(said(f"{end}_port") or "")
        ends.append((address, port if 0 < port < 65536 else -1))
    direction = (said("direction") or "").lower()
    side = 0 if direction in kind.outgoing else 1 if direction in kind.incoming else 2
    client, server = ends
    if client[1] in ports and server[1] not in ports:
        client, server = server, client
    numbers |= {"client_port": client[1], "server_port": server[1], "side": side}
    texts |= {"client_ip": client[0], "server_ip": server[0]}


def _names(
    kind: Kind, fields: Mapping[str, str], sid: str | None, numbers: dict[str, int], texts: dict[str, str | None]
) -> None:
    """Who it was, whether that is nobody, and what was asked for."""
    user = texts["user"]
    anonymous = -1
    if kind.anonymous or sid == ANONYMOUS_SID or (user or "").upper() == ANONYMOUS_NAME:
        anonymous = 1
    elif kind.name == "samba.authentication":
        name = fields.get("clientaccount")
        texts["user"] = name
        if name == "" and fields.get("clientdomain") == "" and fields.get("passwordtype") == "No-Password":
            anonymous = 1
        elif name:
            anonymous = 0
        if texts["status"] not in (None, "NT_STATUS_OK"):
            numbers["meaning"] = MEANINGS.index("logon_failed")
    elif sid is not None and sid not in NO_SIDS:
        anonymous = 0
    numbers["anonymous"] = anonymous
    if texts["share"] is not None:
        texts["share"] = texts["share"].rpartition("\\")[2].upper() or None
    if texts["pipe"] is not None:
        texts["pipe"] = texts["pipe"].lstrip("\\").lower() if texts["share"] == "IPC$" else texts["pipe"]
