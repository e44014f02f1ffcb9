"""Rows to DataFrames: the contract of all engines.

Each column of each table is declared once, with its kind, unit and meaning. `frame` makes a table of columns of numbers
and checks it; no table comes to be in another way. Tables always have all their columns and dtypes, also when empty.

Kinds: text (pandas `string`, in Arrow's memory), int (`Int64`), bool (`boolean`), time (`datetime64[ns, UTC]`), or an
ordered category. Missing is `<NA>`; an empty text is a value: for null sessions it is the finding.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from analyzer.errors import AnalyzerError
from analyzer.wire.texts import Texts

TEXT = "text"
INT = "int"
BOOL = "bool"
TIME = "time"

ASKED = ("anonymous", "named", "kerberos", "other")
IDENTITY = (
    "anonymous", "guest", "unknown", "anonymous_rejected", "user", "machine", "authenticated", "rejected"
)  # fmt: skip
CONFIDENCE = ("weak", "strong", "certain")
OUTCOME = ("accepted", "refused", "unanswered", "abandoned", "not_captured")
TREE_KIND = ("unknown", "disk", "pipe", "print")
DIRECTIONS = ("both", "client", "server")
CLOSED_BY = ("client", "server")
TRANSPORT = ("direct", "netbios")
VIA = (
    "create", "nt_create_andx", "open_andx", "open", "nt_transact_create", "call_nmpipe", "trans2_open2"
)  # fmt: skip
CALL_PROTOCOL = ("dcerpc", "rap", "dfs", "fsctl")
MECHANISM = (
    "spnego.ntlmssp", "ntlmssp", "spnego.kerberos", "kerberos", "spnego.negoex", "smb1", "share_level", "other"
)  # fmt: skip
LAYER = ("capture", "tcp", "netbios", "smb1", "smb2", "spnego", "ntlmssp")
VERDICT = ("depends", "unknown", "covered", "denied", "probe")
RUNG = ("session_setup", "tree_connect", "open", "bind", "fault", "stub")


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its kind is one of the constants above, or the values of a category in their order."""

    name: str
    kind: str | tuple[str, ...]
    meaning: str


def _columns(*declared: tuple[str, str | tuple[str, ...], str]) -> tuple[Column, ...]:
    return tuple(Column(*column) for column in declared)


_SITE = ("site", TEXT, "the folder, where folders are analysed as separate sites; else empty")
_CAPTURE = ("capture", TEXT, "path of the capture file, as given")
_FRAME = ("frame", INT, "number of the packet that completes the request, from 1 in its file, as in Wireshark")
_ANSWER_FRAME = ("answer_frame", INT, "likewise of the answer; <NA>: not captured")
_CLIENT = ("client_ip", TEXT, "address of the client")
_SERVER = ("server_ip", TEXT, "address of the server")
_SESSION_KEY = ("session_key", INT, "the period of identity: key of `sessions`; <NA>: its session is not known")
_CONNECTION_ID = ("connection_id", INT, "key of `connections`")
_STATUS = ("status", TEXT, "NT status of the answer by name, else in hexadecimal; <NA>: no answer captured")
_FIRST = ("first_seen", TIME, "earliest")
_LAST = ("last_seen", TIME, "latest")

TABLES: dict[str, tuple[Column, ...]] = {
    "captures": _columns(
        ("capture_no", INT, "place of the file in the order of time, from 0"),
        _CAPTURE,
        _SITE,
        ("format", TEXT, "pcap or pcapng, and how it is compressed; empty: not readable at all"),
        ("link_type", TEXT, "what is below IP"),
        ("packets", INT, "packets read"),
        ("bytes", INT, "their captured bytes"),
        _FIRST,
        _LAST,
        ("snaplen", INT, "bytes kept of a packet at most, by the file's header"),
        ("truncated_packets", INT, "packets of which not all bytes were captured"),
        ("smb_packets", INT, "TCP segments of SMB connections"),
        ("errors", TEXT, "why the file could not be read (further), with the place; <NA>: read to its end"),
    ),
    "connections": _columns(
        ("connection_id", INT, "key"),
        _SITE,
        _CAPTURE,
        ("first_frame", INT, "its first packet"),
        _CLIENT,
        ("client_port", INT, "TCP port"),
        _SERVER,
        ("server_port", INT, "TCP port"),
        ("transport", TRANSPORT, "direct TCP, or NetBIOS session service"),
        _FIRST,
        _LAST,
        ("packets", INT, "TCP segments, with and without payload"),
        ("dialect", TEXT, "SMB dialect of the last negotiation; <NA>: not captured"),
        ("signing_required", BOOL, "the server requires signing"),
        ("midstream", BOOL, "its beginning is not in the captures"),
        ("directions", DIRECTIONS, "whose payload was captured"),
        ("closed_by", CLOSED_BY, "who closed or reset it first; <NA>: not seen"),
        ("client_bytes", INT, "payload bytes taken in order from the client"),
        ("server_bytes", INT, "... from the server"),
        ("missing_bytes", INT, "payload bytes that never came"),
        ("unparsed_bytes", INT, "payload bytes passed over in search of a message"),
        ("netbios_calling", TEXT, "the client's name in the NetBIOS session request"),
        ("netbios_called", TEXT, "the name that it called the server by"),
        ("client_guid", TEXT, "ClientGuid of SMB 2 and 3"),
        ("server_guid", TEXT, "ServerGuid"),
        ("encrypted_messages", INT, "SMB 3 messages that cannot be looked into"),
    ),
    "sessions": _columns(
        ("session_key", INT, "key: one period of identity, or one attempt at one"),
        ("session_no", INT, "groups the periods of one session id on one server"),
        ("connection_id", INT, "key of `connections`"),
        _SITE,
        _CLIENT,
        _SERVER,
        _CAPTURE,
        ("frame", INT, "the request with the last token (AUTHENTICATE, AP-REQ, or SMB 1 setup); <NA>: not captured"),
        ("answer_capture", TEXT, "file of the answer"),
        ("answer_frame", INT, "the last answer; without a captured login, the first message that proves the session"),
        ("session_id", TEXT, "0x and 16 digits for SMB 2 and 3, 4 hexadecimal digits (the UID) for SMB 1"),
        ("started", TIME, "time of that request"),
        ("ended", TIME, "time of the logoff, or of the next login on the id; <NA>: not seen"),
        ("asked", ASKED, "what the client claimed to be; <NA>: not seen"),
        ("identity", IDENTITY, "whose session it was"),
        ("confidence", CONFIDENCE, "how sure that is; <NA>: unknown"),
        ("evidence", TEXT, "the signs that led to it"),
        ("outcome", OUTCOME, "how the login ended"),
        _STATUS,
        ("user", TEXT, "user name as sent; empty: sent empty; <NA>: none visible"),
        ("domain", TEXT, "domain as sent"),
        ("workstation", TEXT, "workstation as sent"),
        ("mechanism", MECHANISM, "what the login was made with"),
        ("ntlm_flags", INT, "NegotiateFlags of the AUTHENTICATE"),
        ("client_build", TEXT, "version in it: major.minor.build"),
        ("session_flags", INT, "SMB2 SessionFlags, or SMB 1 Action"),
        ("native_os", TEXT, "SMB 1: the client's operating system, by its own word"),
        ("native_lanman", TEXT, "SMB 1: its LAN manager"),
        ("previous_session_id", TEXT, "session that it takes up again"),
        ("server_name", TEXT, "the server's own name in its NTLM challenge"),
        ("server_domain", TEXT, "its domain there"),
        ("other_operations", INT, "answered operations on IPC$ that are not understood"),
    ),
    "channels": _columns(
        _SESSION_KEY,
        ("connection_id", INT, "the further connection"),
        _CAPTURE,
        ("frame", INT, "the request with the last token"),
        _STATUS,
    ),
    "trees": _columns(
        ("tree_key", INT, "key"),
        _SESSION_KEY,
        _CONNECTION_ID,
        _CAPTURE,
        _FRAME,
        _ANSWER_FRAME,
        ("time", TIME, "time of the request"),
        ("tree_id", INT, "TreeId or TID; <NA>: no success captured"),
        ("path", TEXT, "what the client asked for"),
        ("share", TEXT, "its last part, upper-case"),
        ("kind", TREE_KIND, "what is shared"),
        _STATUS,
    ),
    "pipe_opens": _columns(
        ("open_key", INT, "key"),
        ("tree_key", INT, "key of `trees`; <NA>: its connect was not captured"),
        _SESSION_KEY,
        _CONNECTION_ID,
        _CAPTURE,
        _FRAME,
        _ANSWER_FRAME,
        ("opened", TIME, "time of the request"),
        ("closed", TIME, "time of the close; <NA>: not seen"),
        ("pipe", TEXT, "name as opened, lower-case, without leading backslash or PIPE\\"),
        ("via", VIA, "the command"),
        ("access_mask", INT, "DesiredAccess"),
        _STATUS,
        ("bytes_written", INT, "bytes that the client wrote to it"),
        ("bytes_read", INT, "bytes that it read from it"),
        ("secondary_address", TEXT, "what the bind acknowledgement named; not decoded yet"),
    ),
    "calls": _columns(
        ("call_key", INT, "key"),
        ("open_key", INT, "key of `pipe_opens`; <NA>: it needs no open"),
        ("tree_key", INT, "key of `trees`"),
        _SESSION_KEY,
        _CONNECTION_ID,
        _CAPTURE,
        _FRAME,
        _ANSWER_FRAME,
        ("time", TIME, "time of the request"),
        ("protocol", CALL_PROTOCOL, "what it belongs to"),
        ("interface", TEXT, "DCE/RPC: name of the interface"),
        ("interface_uuid", TEXT, "DCE/RPC"),
        ("interface_version", TEXT, "DCE/RPC"),
        ("opnum", INT, "DCE/RPC operation number, RAP function number, or control code"),
        ("operation", TEXT, "its name"),
        ("name", TEXT, "DFS: path asked for; pipe wait: the pipe"),
        ("auth_type", INT, "DCE/RPC"),
        ("auth_level", INT, "DCE/RPC"),
        ("answered", BOOL, "an answer was captured"),
        _STATUS,
    ),
    "credentialed_uses": _columns(
        _SITE,
        _CLIENT,
        _SERVER,
        ("resource", TEXT, "pipe, share, `rap` or `dfs`"),
        ("interface", TEXT, "DCE/RPC interface; <NA>: none, or not decoded"),
        ("operation", TEXT, "operation; <NA>: the open or connect itself"),
        ("hour", TIME, "beginning of the hour that is counted"),
        ("uses", INT, "uses in it"),
        ("succeeded", INT, "of these succeeded"),
        ("after_refusal", INT, "... within 60 s of an anonymous refusal of the same to the same client"),
        _FIRST,
        _LAST,
        _CAPTURE,
        ("frame", INT, "the first of them"),
    ),
    "disk_opens": _columns(
        _SESSION_KEY,
        ("tree_key", INT, "key of `trees`; <NA>: its connect was not captured"),
        ("share", TEXT, "upper-case"),
        ("opens", INT, "files and folders asked for"),
        ("succeeded", INT, "opened"),
        ("denied", INT, "refused for want of access"),
        ("sample_paths", TEXT, "some of them, separated by |"),
    ),
    "hosts": _columns(
        ("ip", TEXT, "address"),
        _SITE,
        ("valid_from", TIME, "first seen so"),
        ("valid_to", TIME, "last seen so"),
        ("name", TEXT, "best name"),
        ("name_source", TEXT, "where it comes from"),
        ("other_names", TEXT, "further ones, separated by |"),
        ("os_hint", TEXT, "what it says to be"),
        ("mac", TEXT, "hardware address; not collected yet"),
        ("shared", BOOL, "several machines appear behind the address"),
    ),
    "problems": _columns(
        _CAPTURE,
        ("frame", INT, "packet"),
        ("connection_id", INT, "key of `connections`"),
        ("layer", LAYER, "protocol"),
        ("field", TEXT, "its field"),
        ("offset", INT, "bytes from the start of the structure; <NA>: not known"),
        ("code", TEXT, "what is wrong"),
        ("detail", TEXT, "more of it"),
    ),
    "dependencies": _columns(
        _SITE,
        _CLIENT,
        ("client", TEXT, "its name, where known"),
        _SERVER,
        ("server", TEXT, "its name, where known"),
        ("application", TEXT, "not told apart yet"),
        ("resource", TEXT, "pipe, share, `rap`, `dfs`; IPC$: nothing more was done; <NA>: not even that"),
        ("operation", TEXT, "not decoded yet"),
        ("identity", IDENTITY, "of the sessions that decide the verdict"),
        ("verdict", VERDICT, "see the README"),
        ("reason", TEXT, "why, in a sentence"),
        ("sessions", INT, "sessions that took part"),
        ("uses", INT, "uses"),
        ("succeeded", INT, "of these worked, or were at least not refused"),
        ("denied", INT, "were refused"),
        ("refused_at", RUNG, "the highest rung that was reached by a use that was refused; <NA>: none was"),
        ("root_cause", TEXT, "the client's own failed login that led to it"),
        ("shadowed_by", TEXT, "the same client's use of it with credentials"),
        _FIRST,
        _LAST,
        ("active_days", INT, "days (UTC) with a use"),
        ("confidence", CONFIDENCE, "how sure the verdict is"),
        ("evidence", TEXT, "the signs that led to it"),
        _CAPTURE,
        ("frame", INT, "the packet to look at first"),
    ),
    "clients": _columns(
        _SITE,
        _CLIENT,
        ("client", TEXT, "its name, where known"),
        ("servers", INT, "servers that it had sessions with"),
        ("sessions", INT, "sessions and attempts"),
        *[(name, INT, f"of these {name}") for name in IDENTITY],
        *[(f"rows_{name}", INT, f"dependency rows: {name}") for name in VERDICT],
        _FIRST,
        _LAST,
    ),
    "servers": _columns(
        _SITE,
        _SERVER,
        ("server", TEXT, "its name, where known"),
        ("clients", INT, "clients that had sessions with it"),
        ("connections", INT, "TCP connections"),
        ("dialects", TEXT, "dialects spoken, separated by |"),
        ("sessions", INT, "sessions and attempts"),
        *[(name, INT, f"of these {name}") for name in IDENTITY],
        *[(f"rows_{name}", INT, f"dependency rows: {name}") for name in VERDICT],
        _FIRST,
        _LAST,
    ),
    "pipes": _columns(
        _SITE,
        ("pipe", TEXT, "name"),
        _SERVER,
        ("opens", INT, "by sessions without proven credentials"),
        ("succeeded", INT, "of these opened"),
        ("denied", INT, "of these refused for want of access"),
        ("anonymous_clients", INT, "clients whose anonymous sessions opened it"),
        ("bytes_written", INT, "by them"),
        ("bytes_read", INT, "by them"),
        ("credentialed_uses", INT, "opens by sessions with credentials"),
        ("purpose", TEXT, "what the pipe is for"),
    ),
    "timeline": _columns(
        _SITE,
        ("hour", TIME, "beginning of the hour"),
        _SERVER,
        ("identity", IDENTITY, "identity of the sessions"),
        ("sessions", INT, "sessions and attempts that began in it"),
        ("clients", INT, "clients that they came from"),
        ("pipe_opens", INT, "pipes that they opened"),
    ),
    "coverage": _columns(
        _SITE,
        ("server_ip", TEXT, "the server; <NA>: all of the captures"),
        ("measure", TEXT, "what is counted"),
        ("value", INT, "how much of it"),
        ("meaning", TEXT, "what that says about the results"),
    ),
}
"""All tables: first the contract, then the summaries."""

ROWS = (
    "captures", "connections", "sessions", "channels", "trees", "pipe_opens", "calls", "credentialed_uses", "disk_opens",
    "hosts", "problems",
)  # fmt: skip
SUMMARIES = ("dependencies", "clients", "servers", "pipes", "timeline", "coverage")

TEXT_DTYPE = pd.StringDtype("pyarrow", na_value=pd.NA)


def dtype_of(kind: str | tuple[str, ...]) -> Any:
    """The pandas dtype of a kind of column."""
    if isinstance(kind, tuple):
        return pd.CategoricalDtype(list(kind), ordered=True)
    return {TEXT: TEXT_DTYPE, INT: pd.Int64Dtype(), BOOL: pd.BooleanDtype(), TIME: pd.DatetimeTZDtype("ns", "UTC")}[kind]


def frame(name: str, columns: Mapping[str, Any], length: int) -> pd.DataFrame:
    """The table `name` of `length` rows. A column that is not given is missing throughout.

    columns: arrays of the declared dtype, or what pandas makes them of. Raises AnalyzerError if a column is not declared
    or has another length: that is a mistake in the program, found before it becomes a wrong result.
    """
    declared = {column.name: column for column in TABLES[name]}
    unknown = set(columns) - set(declared)
    if unknown:
        raise AnalyzerError(f"table {name} has no column {', '.join(sorted(unknown))}")
    made = {}
    for column in declared.values():
        dtype = dtype_of(column.kind)
        values = columns.get(column.name)
        if values is None:
            values = pd.array([pd.NA] * length, dtype=dtype) if column.kind != TIME else times(np.zeros(length, "i8"))
        elif getattr(values, "dtype", None) != dtype:
            values = pd.array(values, dtype=dtype)
        if isinstance(values, pd.Series):
            values = values.array
        if len(values) != length:
            raise AnalyzerError(f"table {name}: column {column.name} has {len(values)} values for {length} rows")
        made[column.name] = values
    return pd.DataFrame(made, copy=False)


def empty(name: str) -> pd.DataFrame:
    """A table without rows."""
    return frame(name, {}, 0)


# Columns from numbers. #


def texts(codes: npt.NDArray[np.generic], pool: Texts) -> Any:
    """Texts of codes; a code below zero is missing."""
    return chosen(codes, pool.values)


def chosen(codes: npt.NDArray[np.generic], values: Sequence[str | None]) -> Any:
    """`values[code]` for each code; a code below zero is missing."""
    distinct, places = np.unique(codes, return_inverse=True)
    needed = pa.array([None if code < 0 else values[code] for code in distinct.tolist()], type=pa.large_string())
    return pd.array(needed.take(pa.array(places.reshape(-1))), dtype=TEXT_DTYPE)


def formatted(codes: npt.NDArray[np.generic], text: Any) -> Any:
    """`text(code)` for each code, worked out once for each; it may say None."""
    distinct, places = np.unique(codes, return_inverse=True)
    return chosen(places.reshape(-1), [text(code) for code in distinct.tolist()])


def ints(values: npt.NDArray[np.generic], missing: npt.NDArray[np.bool_] | None = None) -> Any:
    """Numbers; those below zero are missing, or those that `missing` says."""
    numbers = np.array(values, dtype=np.int64)
    return pd.arrays.IntegerArray(numbers, (numbers < 0) if missing is None else missing)


def bools(values: npt.NDArray[np.bool_], missing: npt.NDArray[np.bool_] | None = None) -> Any:
    """True, False, or missing."""
    return pd.arrays.BooleanArray(values.astype(bool), np.zeros(len(values), bool) if missing is None else missing)


def times(ns: npt.NDArray[np.generic]) -> Any:
    """Times from nanoseconds since 1970 UTC; 0 and less are missing."""
    numbers = np.array(ns, dtype=np.int64)
    numbers = np.where(numbers > 0, numbers, np.iinfo(np.int64).min).view("M8[ns]")
    return pd.DatetimeIndex(numbers).tz_localize("UTC").array


def categories(codes: npt.NDArray[np.generic], names: Sequence[str | None], kind: tuple[str, ...]) -> Any:
    """A category column; `names[code]` is its value, None for missing."""
    place = np.array([-1 if name is None else kind.index(name) for name in names], dtype=np.int64)
    return pd.Categorical.from_codes(place[codes], categories=list(kind), ordered=True)


def addresses(hi: npt.NDArray[np.int64], lo: npt.NDArray[np.int64]) -> Any:
    """Addresses from 128-bit numbers in two signed halves."""
    pairs = np.stack([hi, lo], axis=1)
    distinct, places = np.unique(pairs, axis=0, return_inverse=True)
    return chosen(places.reshape(-1), [_address(high, low) for high, low in distinct.tolist()])


def _address(high: int, low: int) -> str:
    number = ((high & 0xFFFFFFFF_FFFFFFFF) << 64) | (low & 0xFFFFFFFF_FFFFFFFF)
    address = ipaddress.IPv6Address(number)
    return str(address.ipv4_mapped or address)


def stacked(name: str, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Several tables of the same kind, one after the other."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return empty(name)
    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
