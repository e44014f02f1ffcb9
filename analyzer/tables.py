"""Rows to tables: the contract of all engines.

Each column of each table is declared once, with its kind, unit and meaning. `table` makes a table of columns and checks
it; no table comes to be in another way. Tables always have all their columns and types, also when empty. They are kept in
Arrow's memory, where they are small; further tables are made of their numbers (`TableSet`). They become DataFrames when
somebody asks for one (`to_pandas`): pandas takes longer to import than a small capture to read, so it is imported then.

Arrow's own conversions (`pa.array`, `pa.scalar`, `to_numpy`) import pandas to see whether they are given something of its. So
columns are put together from, and read as, buffers here (`primitive`, `strings`, `filled`), which also copies less.

Kinds: text (pandas `string`, in Arrow's memory), int (`Int64`), bool (`boolean`), time (`datetime64[ns, UTC]`), or an
ordered category. Missing is `<NA>`; an empty text is a value: for null sessions it is the finding.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from analyzer.errors import AnalyzerError
from analyzer.wire.texts import MISSING, Texts

if TYPE_CHECKING:
    import pandas as pd

Columns = dict[str, npt.NDArray[Any]]
"""Columns as numbers, by name."""

TEXT = "text"
INT = "int"
BOOL = "bool"
TIME = "time"

OFTEN = 4
"""A column repeats itself whose values come so many times each, on average."""
SAMPLE = 2_048
"""Rows that tell whether a column of numbers does."""

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
APPLICATION_SOURCE = ("pattern", "fingerprint", "rule", "process")
CALL_RESULT = ("unanswered", "worked", "failed", "refused", "not_told")
STATUS_OF = ("smb", "rap", "fault", "stub")
BIND_RESULT = ("unanswered", "accepted", "refused", "rejected", "fault", "smb", "not_told")
TRANSFER_SYNTAX = ("ndr", "ndr64", "other")
PIPE_FORM = ("dcerpc", "other")
HINT = ("other_way", "only_named", "only_referred", "only_logged")
RARE_STATE = ("seen", "not_seen", "could_not_be_seen")
OTHER_WAY = ("rpc_mapper", "rpc_dynamic", "ldap", "ldaps", "global_catalog")


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
        ("dropped_packets", INT, "packets lost before they reached the file, by its own statistics; <NA>: it has none"),
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
        ("dialects_offered", TEXT, "what the client offered in its last negotiation, in its order, separated by |"),
        ("client_capabilities", INT, "Capabilities of its SMB 2 NEGOTIATE; <NA>: SMB 1, or not captured"),
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
        ("compressed_messages", INT, "SMB 3 messages that are compressed, and not unpacked"),
        (
            "process_id",
            INT,
            "a process behind it, where the capture tool noted any; see the README on how far to trust it",
        ),
        ("process_name", TEXT, "its name, where noted (macOS)"),
        ("process_side", CLOSED_BY, "whose process it is: the capture was made there"),
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
        ("realm", TEXT, "realm of the Kerberos ticket that was sent"),
        ("service", TEXT, "what the ticket is for, such as cifs/files.example"),
        ("ticket_etype", INT, "how the ticket is encrypted (RFC 3961): 17, 18 AES; 23 RC4; 1, 3 DES"),
        ("session_flags", INT, "SMB2 SessionFlags, or SMB 1 Action"),
        ("native_os", TEXT, "SMB 1: the client's operating system, by its own word"),
        ("native_lanman", TEXT, "SMB 1: its LAN manager"),
        ("previous_session_id", TEXT, "session that it takes up again"),
        ("server_name", TEXT, "the server's own name in its NTLM challenge"),
        ("server_domain", TEXT, "its domain there"),
        ("other_operations", INT, "answered operations on IPC$ that are not understood"),
        ("encrypted_messages", INT, "SMB 3 messages under its session id that cannot be looked into"),
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
        ("inferred", BOOL, "its answer is not in the captures, but the handle that only it can have given was used"),
        ("bytes_written", INT, "bytes that the client wrote to it"),
        ("bytes_read", INT, "bytes that it read from it"),
        ("secondary_address", TEXT, "what the bind acknowledgement named, such as \\pipe\\lsass"),
        ("form", PIPE_FORM, "what it carried; <NA>: nothing that was captured"),
        ("first_bytes", TEXT, "the first bytes that the client sent, in hexadecimal, if it was no DCE/RPC"),
    ),
    "binds": _columns(
        ("bind_key", INT, "key: an interface that a client asked for on a pipe, or a presentation context"),
        ("open_key", INT, "key of `pipe_opens`; <NA>: its open was not captured"),
        ("tree_key", INT, "key of `trees`"),
        _SESSION_KEY,
        _CONNECTION_ID,
        _CAPTURE,
        _FRAME,
        _ANSWER_FRAME,
        ("time", TIME, "time of the request"),
        ("pipe", TEXT, "the pipe; <NA>: its open was not captured"),
        ("interface", TEXT, "name of the interface, its UUID if it has no known one"),
        ("interface_uuid", TEXT, "UUID"),
        ("interface_version", TEXT, "major.minor"),
        ("transfer_syntax", TRANSFER_SYNTAX, "how arguments are written"),
        ("context_id", INT, "number of the presentation context"),
        ("by_alter_context", BOOL, "it was added later"),
        (
            "auth_type",
            INT,
            "authentication inside RPC (RPC_C_AUTHN_): 9 SPNEGO, 10 NTLM, 16 Kerberos, 68 Netlogon; <NA>: none",
        ),
        ("auth_level", INT, "2 connect ... 5 integrity, 6 privacy"),
        ("result", BIND_RESULT, "refused: this context; rejected: all of the bind (bind_nak); smb: by the SMB answer"),
        ("status", TEXT, "why it was not accepted"),
        ("secondary_address", TEXT, "what the acknowledgement named"),
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
        ("pipe", TEXT, "DCE/RPC: the pipe that it went through; <NA>: its open was not captured"),
        (
            "interface",
            TEXT,
            "DCE/RPC: name of the interface, its UUID if it has no known one; <NA>: its bind was not captured",
        ),
        ("interface_uuid", TEXT, "DCE/RPC"),
        ("interface_version", TEXT, "DCE/RPC: major.minor"),
        ("opnum", INT, "DCE/RPC operation number, RAP function number, or control code"),
        ("operation", TEXT, "its name; `opnum 7` if it has no known one; <NA>: only the answer was captured"),
        ("operation_class", TEXT, "what kind of thing that is"),
        ("server_name", TEXT, "DCE/RPC: who is asked, in the request's words"),
        ("name", TEXT, "DCE/RPC: account or domain asked about; DFS: path asked for; pipe wait: the pipe"),
        ("level", INT, "DCE/RPC: information level asked for"),
        ("auth_type", INT, "DCE/RPC: authentication inside RPC (RPC_C_AUTHN_); <NA>: none"),
        ("auth_level", INT, "DCE/RPC: 2 connect ... 5 integrity, 6 privacy (then nobody can read what is asked)"),
        ("answered", BOOL, "an answer was captured"),
        ("result", CALL_RESULT, "how it came out; failed: with an error that is no refusal of access"),
        ("status", TEXT, "status of the answer by name, else in hexadecimal; <NA>: none, or it cannot be read"),
        ("status_of", STATUS_OF, "who gave it: SMB, RAP, an RPC fault, or the operation itself (stub)"),
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
        ("name", TEXT, "best name; <NA>: none"),
        ("name_source", TEXT, "where it comes from; the README lists the sources, the best first"),
        ("other_names", TEXT, "further ones, separated by |"),
        ("os_hint", TEXT, "what it says to be, by each source that says so"),
        ("mac", TEXT, "hardware address, by DHCP or by frames that have passed no router; <NA>: none seen"),
        ("shared", BOOL, "several machines were behind the address at a time"),
    ),
    "other_ways": _columns(
        _SITE,
        _CLIENT,
        _SERVER,
        ("way", OTHER_WAY, "TCP port 135; 49152 and above (which need not be RPC); 389; 636; 3268 and 3269"),
        ("attempts", INT, "connections that the client began to open: not looked into"),
        _FIRST,
        _LAST,
    ),
    "referrals": _columns(
        _SITE,
        _CLIENT,
        ("server_ip", TEXT, "address of the server that answered"),
        ("named", TEXT, "the server that its answers name, as they spell it"),
        (
            "target",
            TEXT,
            "all that they say, of several the first in the alphabet: `\\server\\share`; of domain controllers the name only",
        ),
        ("asked", TEXT, "the path that was asked for then; empty: which domains there are; <NA>: not captured"),
        ("answers", INT, "answers that name it, whoever asked: also sessions with credentials"),
        _FIRST,
        _LAST,
        _CAPTURE,
        ("frame", INT, "the first of the answers that say so"),
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
    "endpoint_processes": _columns(
        _CONNECTION_ID,
        ("session_key", INT, "key of `sessions`; <NA>: only the connection is known"),
        ("side", CLOSED_BY, "whose process or user it is: of the end that logged it"),
        ("process", TEXT, "the program, as logged; <NA>: the event names none"),
        ("process_id", INT, "its number"),
        ("user", TEXT, "who it ran for, or who logged on, as logged"),
        ("event", TEXT, "the kind of event, such as sysmon.3 or security.4624"),
        ("time", TIME, "time of the event, by the clock of its log"),
        ("offset_ms", INT, "how far that clock was ahead of the captures'; <NA>: not known, none was assumed"),
        ("computer", TEXT, "the machine that logged it, by its own name; <NA>: not said"),
        ("log", TEXT, "path of the log, as given"),
        ("record", INT, "number of the record in it, or the line"),
        (
            "confidence",
            CONFIDENCE,
            "certain: by both ends and the time; strong: by the client's; weak: by addresses or names",
        ),
    ),
    "endpoint_unseen": _columns(
        ("time", TIME, "time of the event, by the clock of its log"),
        ("offset_ms", INT, "how far that clock was ahead of the captures'; <NA>: not known, none was assumed"),
        ("client_ip", TEXT, "address of the client; <NA>: not said, and its name is not known in the captures"),
        ("client_port", INT, "its port"),
        ("client_name", TEXT, "its name, as logged"),
        ("server_ip", TEXT, "address of the server, where known"),
        ("server", TEXT, "the machine that logged it, by its own name"),
        ("event", TEXT, "the kind of event: an anonymous login, use or refusal"),
        ("detail", TEXT, "share, pipe, status"),
        ("reason", TEXT, "why no capture shows it"),
        ("log", TEXT, "path of the log, as given"),
        ("record", INT, "number of the record in it, or the line"),
    ),
    "dependencies": _columns(
        _SITE,
        _CLIENT,
        ("client", TEXT, "its name, where known"),
        _SERVER,
        ("server", TEXT, "its name, where known"),
        ("application", TEXT, "what on the client it belongs to; <NA>: not known"),
        ("application_source", APPLICATION_SOURCE, "how that is known, the weakest first"),
        ("application_confidence", CONFIDENCE, "how sure it is"),
        ("function", TEXT, "what such uses are for"),
        ("client_software", TEXT, "what the client says of itself in its login"),
        ("owner", TEXT, "whose business it is, by your own rules"),
        ("note", TEXT, "a note of your own rules"),
        ("excluded", BOOL, "by your own rules the client is a scanner: it counts for nothing"),
        ("resource", TEXT, "pipe, share, `rap`, `dfs`; IPC$: nothing more was done; <NA>: not even that"),
        ("interface", TEXT, "DCE/RPC interface; <NA>: none, or its bind was not captured"),
        ("operation", TEXT, "what was called; <NA>: nothing, the resource itself was opened"),
        ("operation_class", TEXT, "what kind of thing that is"),
        ("rpc_auth", TEXT, "authentication inside RPC: the session was anonymous, the call was not; <NA>: none"),
        ("identity", IDENTITY, "of the sessions that decide the verdict"),
        ("verdict", VERDICT, "see the README"),
        ("reason", TEXT, "why, in a sentence"),
        ("sessions", INT, "sessions that took part"),
        ("uses", INT, "uses"),
        ("runs", INT, "the same as a person counts: uses that follow one another within five minutes are one run"),
        ("rhythm", TEXT, "how runs lie in time, in the time zone of the analysis, such as: daily at about 02:00"),
        ("succeeded", INT, "of these worked, or were at least not refused"),
        ("denied", INT, "were refused"),
        ("refused_at", RUNG, "the highest rung that was reached by a use that was refused; <NA>: none was"),
        ("root_cause", TEXT, "the client's own failed login that led to it"),
        ("shadowed_by", TEXT, "the same client's use of it with credentials"),
        ("credentialed_sessions", INT, "sessions with credentials of the same client at that server, whatever for"),
        (
            "shape",
            TEXT,
            "what its client looks like, such as a scanner: a label that changes no verdict; <NA>: nothing",
        ),
        _FIRST,
        _LAST,
        ("active_days", INT, "days with a use, in the time zone of the analysis"),
        ("confidence", CONFIDENCE, "how sure the verdict is"),
        ("evidence", TEXT, "the signs that led to it"),
        _CAPTURE,
        ("frame", INT, "the packet to look at first"),
        ("frames", TEXT, "some packets to look at, the most telling first: file:number, separated by |"),
    ),
    "applications": _columns(
        _SITE,
        ("application", TEXT, "its name; <NA>: those that are not known, a row for each function"),
        ("application_source", APPLICATION_SOURCE, "how it is known, at its best"),
        ("functions", TEXT, "what its uses are for, separated by |"),
        ("owner", TEXT, "by your own rules"),
        ("excluded", BOOL, "by your own rules a scanner"),
        ("verdict", VERDICT, "the first that holds for any of its rows"),
        ("clients", INT, "clients that it was seen on"),
        ("servers", INT, "servers that it used"),
        ("client_ips", TEXT, "some of the clients, separated by |"),
        ("client_software", TEXT, "what these say of themselves, separated by |"),
        ("resources", TEXT, "pipes, shares ..., separated by |"),
        ("operations", TEXT, "separated by |"),
        ("uses", INT, "uses"),
        *[(f"rows_{name}", INT, f"dependency rows: {name}") for name in VERDICT],
        _FIRST,
        _LAST,
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
    "observation": _columns(
        _SITE,
        ("server_ip", TEXT, "the server; <NA>: all of the site"),
        ("server", TEXT, "its name, where known"),
        ("observed_from", TIME, "first packet of its connections; of all: of the captures"),
        ("observed_to", TIME, "last packet"),
        ("hours_captured", INT, "for which captures were being written at all, of its site"),
        ("hours_with_sessions", INT, "hours in which sessions began"),
        ("connections", INT, "TCP connections"),
        ("connections_one_way", INT, "of these captured in one direction only"),
        ("sessions", INT, "sessions and attempts"),
        ("sessions_unknown", INT, "of these not known to be anonymous or not"),
        ("payload_bytes", INT, "payload taken in order"),
        ("missing_bytes", INT, "payload that never came"),
        ("enough", BOOL, "it was observed for as long and as well as the minimum of the analysis asks for"),
        ("lacks", TEXT, "what it lacks to that; <NA>: nothing"),
    ),
    "discovery": _columns(
        _SITE,
        ("day", TEXT, "day in the time zone of the analysis, as 2026-11-30"),
        ("new_dependencies", INT, "rows of dependencies (depends, unknown, covered) that were first seen on it"),
        ("new_clients", INT, "clients with such rows that were first seen on it"),
        ("dependencies", INT, "rows seen up to its end"),
        ("clients", INT, "clients seen up to its end"),
    ),
    "rare_uses": _columns(
        _SITE,
        ("role", TEXT, "of the server that it is a use of"),
        ("role_seen", BOOL, "pipes or shares of that role were used by somebody, or any server may have it"),
        ("use", TEXT, "a rare use that is known to be made without credentials"),
        ("period_days", INT, "how often it comes; <NA>: when something happens"),
        ("days_captured", INT, "for how long captures were being written"),
        ("rows", INT, "rows of dependencies that are such uses"),
        ("state", RARE_STATE, "not seen, and whether it could have been"),
        ("why", TEXT, "what it is"),
        ("source", TEXT, "where that is written"),
    ),
    "hints": _columns(
        _SITE,
        ("kind", HINT, "what kind of hint"),
        _CLIENT,
        ("server_ip", TEXT, "address of the server, where known"),
        ("server", TEXT, "its name, as it was named"),
        ("told_by", TEXT, "only_named, only_referred: the server that was asked, which is in the captures; else <NA>"),
        ("what", TEXT, "the way, the protocol, the event; only_referred: what the referral says, `\\server\\share`"),
        ("count", INT, "how often"),
        _FIRST,
        _LAST,
        _CAPTURE,
        ("frame", INT, "the first packet of it; <NA>: not noted"),
        ("meaning", TEXT, "what that says about the results"),
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
    "captures", "connections", "sessions", "channels", "trees", "pipe_opens", "binds", "calls", "credentialed_uses",
    "disk_opens", "hosts", "other_ways", "referrals", "problems", "endpoint_processes", "endpoint_unseen",
)  # fmt: skip
LOGGED = ("endpoint_processes", "endpoint_unseen")
"""Those of them that logs give; without logs they are empty."""
SUMMARIES = (
    "dependencies", "applications", "clients", "servers", "pipes", "timeline", "observation", "discovery", "rare_uses",
    "hints", "coverage",
)  # fmt: skip

ARROW = {
    TEXT: pa.dictionary(pa.int32(), pa.large_string()),
    INT: pa.int64(),
    BOOL: pa.bool_(),
    TIME: pa.timestamp("ns", "UTC"),
}
_CATEGORY = pa.dictionary(pa.int8(), pa.large_string(), ordered=True)


def dtype_of(kind: str | tuple[str, ...]) -> Any:
    """The pandas dtype of a kind of column."""
    import pandas as pd  # noqa: PLC0415

    if isinstance(kind, tuple):
        return pd.CategoricalDtype(list(kind), ordered=True)
    return {
        TEXT: pd.StringDtype("pyarrow", na_value=pd.NA),
        INT: pd.Int64Dtype(),
        BOOL: pd.BooleanDtype(),
        TIME: pd.DatetimeTZDtype("ns", "UTC"),
    }[kind]


def table(name: str, columns: Mapping[str, Any], length: int) -> pa.Table:
    """The table `name` of `length` rows. A column not given is missing throughout."""
    return declared(name, TABLES[name], columns, length)


def declared(name: str, declaration: Sequence[Column], columns: Mapping[str, Any], length: int) -> pa.Table:
    """A table of these columns: the gate that all tables go through. A column not given is missing throughout.

    columns: what the functions below make, or Python lists. Texts are kept as numbers of a dictionary, so a row costs
    about a third of what it does in pandas. Raises AnalyzerError if a column is not declared, or has another type or
    length: that is a mistake in the program, found before it becomes a wrong result.
    """
    unknown = set(columns) - {column.name for column in declaration}
    if unknown:
        raise AnalyzerError(f"table {name} has no column {', '.join(sorted(unknown))}")
    made = []
    for column in declaration:
        values = columns.get(column.name)
        wanted = _CATEGORY if isinstance(column.kind, tuple) else ARROW[column.kind]
        if values is None:
            array = _nothing(column.kind, length)
        elif isinstance(values, pa.Array):
            array = values
        elif isinstance(column.kind, tuple):
            array = named_categories(values, column.kind)
        elif column.kind == TEXT:
            array = listed(values)
        else:
            array = pa.array(values, type=wanted)
        if array.type != wanted or len(array) != length:
            raise AnalyzerError(
                f"table {name}: column {column.name} is {len(array)} of {array.type}, not {length} of {wanted}"
            )
        made.append(array)
    return pa.Table.from_arrays(made, names=[column.name for column in declaration])


def empty(name: str) -> pa.Table:
    """A table without rows."""
    return table(name, {}, 0)


def to_pandas(name: str, rows: pa.Table, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The table as the contract has it, or some of its columns."""
    import pandas as pd  # noqa: PLC0415

    kinds = {column.name: column.kind for column in TABLES[name]}
    return pd.DataFrame(
        {column: _pandas_array(rows[column], kinds[column]) for column in (columns or rows.column_names)}, copy=False
    )


def one_array(column: pa.ChunkedArray) -> Any:
    """A column in one piece."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)


def repeats_itself(array: pa.Array) -> bool:
    """Whether the values of a column come `OFTEN` each. Of numbers, the first rows tell."""
    if pa.types.is_dictionary(array.type):
        return len(array.dictionary) * OFTEN <= len(array)
    sample = array.slice(0, SAMPLE)
    return len(sample.unique()) * OFTEN <= len(sample)


def _pandas_array(column: pa.ChunkedArray, kind: str | tuple[str, ...]) -> Any:
    import pandas as pd  # noqa: PLC0415

    array = one_array(column)
    if isinstance(kind, tuple):
        codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return pd.Categorical.from_codes(codes, dtype=dtype_of(kind))
    if kind == TEXT:
        return pd.array(array.dictionary_decode(), dtype=dtype_of(TEXT))
    if kind == TIME:
        ns = array.cast(pa.int64()).fill_null(np.iinfo(np.int64).min).to_numpy(zero_copy_only=False)
        return pd.DatetimeIndex(ns.view("M8[ns]")).tz_localize("UTC").array
    missing = array.is_null().to_numpy(zero_copy_only=False)
    if kind == BOOL:
        return pd.arrays.BooleanArray(array.fill_null(False).to_numpy(zero_copy_only=False), missing)
    return pd.arrays.IntegerArray(array.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64), missing)


def stacked(parts: Sequence[pa.Table]) -> pa.Table:
    """Several tables of the same kind, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return pa.concat_tables(parts).unify_dictionaries().combine_chunks()


class TableSet:
    """Tables by name, for those who make further tables of some of their columns. texts: of all their columns."""

    def __init__(self, tables: Mapping[str, pa.Table]) -> None:
        self._tables = tables
        self._ours: dict[tuple[str, str], npt.NDArray[np.int64]] = {}
        self.texts = Texts()

    def columns(self, name: str, *columns: str) -> Columns:
        """Some columns of a table, as numbers: texts as codes of `texts`, categories as places in their kind, times as
        nanoseconds. What is missing is below zero, or False.
        """
        return {column: self._numbers(name, column) for column in columns}

    def codes(self, name: str, column: str, nothing: str | None = None) -> npt.NDArray[Any]:
        """The texts of a column as codes of its own: for one of many texts, of which only sameness matters.

        nothing: a text that counts as missing.
        """
        array = one_array(self._tables[name][column])
        found: npt.NDArray[Any] = filled(array.indices)
        if nothing is None:
            return found
        is_nothing = np.append(filled(pc.equal(array.dictionary, strings([nothing])[0])), False)
        return np.where(is_nothing[found], -1, found)

    def of_codes(self, name: str, column: str, codes: npt.NDArray[Any]) -> list[str]:
        """The texts of such codes, none of which is missing."""
        found: list[str] = one_array(self._tables[name][column]).dictionary.take(ints(codes)).to_pylist()
        return found

    def _numbers(self, name: str, column: str) -> npt.NDArray[Any]:
        array = one_array(self._tables[name][column])
        if pa.types.is_boolean(array.type):
            return filled(array).view(bool)
        if not pa.types.is_dictionary(array.type):
            return filled(array)
        codes = filled(array.indices)
        if array.type.ordered:
            return codes
        found: npt.NDArray[np.int64] = self._codes_of(name, column, array.dictionary)[codes]
        return found

    def _codes_of(self, name: str, column: str, texts_: pa.Array) -> npt.NDArray[np.int64]:
        """The codes of the texts of a column's dictionary, and that of what is missing behind them."""
        ours = self._ours.get((name, column))
        if ours is None:
            ours = np.array([*map(self.texts.code, texts_.to_pylist()), MISSING], dtype=np.int64)
            self._ours[name, column] = ours
        return ours


def filled(array: pa.Array) -> npt.NDArray[Any]:
    """The numbers of a column without those of a dictionary; -1, or False, where there is none."""
    is_bool = pa.types.is_boolean(array.type)
    dtype = np.dtype(bool if is_bool else f"i{array.type.bit_width // 8}")
    if not len(array):
        return np.empty(0, dtype=dtype)
    validity, data = array.buffers()
    values = _bits(data, array) if is_bool else np.frombuffer(data, dtype=dtype)[array.offset :][: len(array)]
    return np.where(_bits(validity, array), values, dtype.type(-1 + is_bool)) if array.null_count else values


def _bits(buffer: pa.Buffer, array: pa.Array) -> npt.NDArray[np.bool_]:
    first, rest = divmod(array.offset, 8)
    octets = np.frombuffer(buffer, dtype=np.uint8)[first : first + -(-(rest + len(array)) // 8)]
    return np.unpackbits(octets, bitorder="little")[rest:][: len(array)].view(bool)


def ranks(codes: npt.NDArray[Any], pool: Texts) -> npt.NDArray[np.int64]:
    """For each code the place of its text among these in alphabetical order; missing ones come last."""
    there = np.zeros(len(pool.values) + 1, dtype=bool)
    there[codes] = True  # below zero: the last
    used = np.flatnonzero(there[:-1])
    order = np.argsort(np.array([pool.values[code] for code in used.tolist()], dtype=object))
    place = np.full(len(there), len(used), dtype=np.int64)
    place[used[order]] = np.arange(len(used))
    found: npt.NDArray[np.int64] = place[codes]
    return found


# Columns from numbers. #


def _nothing(kind: str | tuple[str, ...], length: int) -> pa.Array:
    if isinstance(kind, tuple):
        return categories(np.zeros(length, dtype=np.int64), [None], kind)
    if kind == TEXT:
        return chosen(np.full(length, -1), [])
    return pa.nulls(length, type=ARROW[kind])


def primitive(values: npt.NDArray[Any], kind: pa.DataType, missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Numbers, truth values or octets (a row each) as a column of this type, which keeps their memory."""
    held = np.packbits(values, bitorder="little") if values.dtype == bool else np.ascontiguousarray(values)
    validity = None
    if missing is not None and missing.any():
        validity = pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(held)])


def strings(values: Sequence[str]) -> pa.Array:
    """Texts, none of them missing."""
    encoded = [text.encode() for text in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return pa.LargeStringArray.from_buffers(len(encoded), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))


def distinct(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The different numbers in order of appearance, and the place of each number among them."""
    found = primitive(values, pa.int64()).dictionary_encode()
    return filled(found.dictionary), filled(found.indices)


def chosen(codes: npt.NDArray[np.generic], values: Sequence[str | None]) -> pa.Array:
    """`values[code]` for each code, as texts; a code below zero, or a value None, is missing."""
    codes = codes.astype(np.int64)
    used = np.zeros(len(values) + 1, dtype=bool)
    used[codes] = True  # below zero: the last
    places = np.flatnonzero(used[:-1])
    texts_ = [values[place] for place in places.tolist()]
    there = np.array([text is not None for text in texts_], dtype=bool)
    number = np.full(len(values) + 1, -1, dtype=np.int32)
    number[places[there]] = np.arange(np.count_nonzero(there), dtype=np.int32)
    return coded(number[codes], strings([text for text in texts_ if text is not None]))


def coded(codes: npt.NDArray[np.signedinteger[Any]], values: pa.Array, ordered: bool = False) -> pa.Array:
    """A dictionary column; codes below zero are missing."""
    kind = pa.int8() if codes.dtype == np.int8 else pa.int32()
    numbers = primitive(codes.astype(np.int8 if codes.dtype == np.int8 else np.int32, copy=False), kind, codes < 0)
    return pa.DictionaryArray.from_arrays(numbers, values, ordered=ordered)


def texts(codes: npt.NDArray[np.generic], pool: Texts) -> pa.Array:
    """Texts of codes; a code below zero is missing."""
    return chosen(codes, pool.values)


def formatted(codes: npt.NDArray[np.generic], text: Any) -> pa.Array:
    """`text(code)` for each code, worked out once for each; it may say None."""
    different, places = distinct(codes.astype(np.int64))
    return chosen(places, [text(code) for code in different.tolist()])


def listed(values: Sequence[str | None]) -> pa.Array:
    """A few texts, or many that are Python's already."""
    pool = Texts()
    return texts(np.array([MISSING if text is None else pool.code(text) for text in values], dtype=np.int64), pool)


def piped(codes: npt.NDArray[Any], sizes: npt.NDArray[Any], pool: Texts) -> pa.Array:
    """For each row the texts of its codes, with bars between them: the first `sizes[0]` codes, the next `sizes[1]` ..."""
    ends = primitive(np.append(0, np.cumsum(sizes)).astype(np.int32), pa.int32())
    lists = pa.ListArray.from_arrays(ends, texts(codes, pool).dictionary_decode())
    return pc.binary_join(lists, strings(["|"])[0]).dictionary_encode()


def hexadecimal(
    values: npt.NDArray[np.uint8], prefix: bytes, breaks: Sequence[int], missing: npt.NDArray[np.bool_]
) -> pa.Array:
    """Each row of bytes in hexadecimal digits, behind a prefix, with dashes before the bytes at `breaks`."""
    width = values.shape[1]
    encoded = primitive(values, pa.binary(width), missing).dictionary_encode()
    size = len(encoded.dictionary)
    octets = np.frombuffer(encoded.dictionary.buffers()[1] or b"", dtype=np.uint8)[: size * width].reshape(size, width)
    parts = [np.broadcast_to(np.frombuffer(prefix, dtype=np.uint8), (size, len(prefix)))]
    dash = np.full((size, 1), ord("-"), dtype=np.uint8)
    for first, end in pairwise([0, *breaks, width]):
        parts += [_DIGITS[octets[:, first:end]].reshape(size, 2 * (end - first)), dash]
    spelt = np.concatenate(parts[:-1], axis=1)
    ends = np.arange(size + 1, dtype=np.int64) * spelt.shape[1]
    texts_ = pa.LargeStringArray.from_buffers(size, pa.py_buffer(ends), pa.py_buffer(spelt))
    return pa.DictionaryArray.from_arrays(encoded.indices, texts_)


_DIGITS = np.frombuffer("".join(f"{octet:02x}" for octet in range(256)).encode(), dtype=np.uint8).reshape(256, 2)


def ints(values: npt.NDArray[np.generic], missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Numbers; those below zero are missing, or those that `missing` says."""
    numbers = values.astype(np.int64)
    return primitive(numbers, pa.int64(), (numbers < 0) if missing is None else missing)


def bools(values: npt.NDArray[np.generic], missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """True, False, or missing."""
    return primitive(values.astype(bool), pa.bool_(), missing)


def times(ns: npt.NDArray[np.generic], missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Times from nanoseconds since 1970 UTC; 0 and less are missing, or those that `missing` says."""
    numbers = ns.astype(np.int64)
    return primitive(numbers, pa.timestamp("ns", "UTC"), (numbers <= 0) if missing is None else missing)


def categories(codes: npt.NDArray[np.generic], names: Sequence[str | None], kind: tuple[str, ...]) -> pa.Array:
    """A category column; `names[code]` is its value, None for missing."""
    place = np.array([-1 if name is None else kind.index(name) for name in names], dtype=np.int8)
    return coded(place[codes.astype(np.int64)], strings(kind), ordered=True)


def places_in(codes: npt.NDArray[np.generic], kind: tuple[str, ...]) -> pa.Array:
    """A category column from places in its kind; below zero is missing."""
    return coded(codes.astype(np.int8), strings(kind), ordered=True)


def named_categories(values: Sequence[str | None], kind: tuple[str, ...]) -> pa.Array:
    """A category column from its values by name."""
    places = {name: place for place, name in enumerate(kind)}
    return places_in(np.array([places.get(name or "", -1) for name in values], dtype=np.int8), kind)


def addresses(hi: npt.NDArray[np.int64], lo: npt.NDArray[np.int64]) -> pa.Array:
    """Addresses from 128-bit numbers in two signed halves."""
    octets = np.stack([hi, lo], axis=1).astype(">i8").view(np.uint8)
    encoded = primitive(octets, pa.binary(16)).dictionary_encode()
    return pa.DictionaryArray.from_arrays(
        encoded.indices, strings([_address(packed) for packed in encoded.dictionary.to_pylist()])
    )


def _address(packed: bytes) -> str:
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)
