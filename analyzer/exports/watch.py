"""What to look at after a change: which clients, servers and pipes, and where a Windows server's event logs show them.

`watch.csv` has a line for each server and client; `watch.md` is for people, and has queries to paste; `watch-ADDRESS.xml` is the
query of a server for `Get-WinEvent -FilterXml` or the XML tab of Event Viewer. Rows count whose verdict is `depends`, `unknown` or
`covered`, and that no rule of the administrator leaves out. Queries hold addresses and numbers of events only: no name from a
capture ever stands in a command.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from analyzer import knowledge, tables
from analyzer.analysis import Analysis
from analyzer.errors import AnalyzerError
from analyzer.exports.writing import characters, write_files
from analyzer.summary.excluded import left_out

WATCHED = ("depends", "unknown", "covered")
BY_ADDRESS = ("security.5145",)
"""Events that name the client's address as a text, so that a query can ask for it."""
OF_REFUSALS = ("smbserver.1007", "smbserver.1009")
"""Events that are only about anonymous access; of the client they have an address in binary form, and its name."""
OF_NTLM = ("ntlm.8002", "ntlm.8003", "ntlm.8004", "ntlm.4022", "ntlm.4023")
ADDRESSES = 16
"""Addresses in one condition: the event log refuses conditions of more than some twenty terms."""
DAYS = 7
EXECUTABLE = re.compile(r"^[=+\-@\t\r]")
"""How a cell begins that a spreadsheet would take for a formula."""
COLUMNS = (
    "site", "client_ip", "client", "server_ip", "server", "application", "owner", "resource", "operation", "verdict", "excluded",
    "uses", "first_seen", "last_seen",
)  # fmt: skip
HEADER = (
    "site", "server_ip", "server", "client_ip", "client", "verdict", "resources", "operations", "applications", "owners", "rows",
    "uses", "first_seen", "last_seen",
)  # fmt: skip


@dataclass(slots=True)
class Watched:
    """A client at a server, and what it uses there."""

    site: str
    server_ip: str
    server: str
    client_ip: str
    client: str
    verdict: int = len(tables.VERDICT)
    resources: dict[str, None] = field(default_factory=dict)
    operations: dict[str, None] = field(default_factory=dict)
    applications: dict[str, None] = field(default_factory=dict)
    owners: dict[str, None] = field(default_factory=dict)
    rows: int = 0
    uses: int = 0
    first_seen: int = 0
    last_seen: int = 0

    def cells(self) -> list[str]:
        """In the order of `HEADER`."""
        lists = (" | ".join(of) for of in (self.resources, self.operations, self.applications, self.owners))
        ends = (self.site, self.server_ip, self.server, self.client_ip, self.client)
        times = (_time(self.first_seen), _time(self.last_seen))
        return [*ends, tables.VERDICT[self.verdict], *lists, str(self.rows), str(self.uses), *times]


def write_watch(analysis: Analysis, directory: Path) -> list[str]:
    """Write the list and the queries; returns the names of the files. Raises AnalyzerError if the folder takes none."""
    watched = watch_list(analysis)
    servers: dict[tuple[str, str], list[Watched]] = {}
    for each in watched:
        servers.setdefault((each.site, each.server_ip), []).append(each)
    by_server: dict[str, list[str]] = {}
    for (_, server), clients in servers.items():
        by_server.setdefault(server, []).extend(each.client_ip for each in clients)
    files: dict[str, Iterable[str]] = {
        "watch.csv": _csv(watched),
        "watch.md": _markdown(servers, left_out(_dependencies(analysis))),
    }
    files |= {query_name(server): query(addresses) for server, addresses in by_server.items()}
    return write_files(directory, files)


def watch_list(analysis: Analysis) -> list[Watched]:
    """A line for each server and client, by site and server; the surest to break first."""
    found: dict[tuple[str, str, str], Watched] = {}
    table = analysis.arrow("dependencies").select(COLUMNS)
    columns = {name: table[name] for name in COLUMNS}
    for name in ("first_seen", "last_seen"):
        columns[name] = columns[name].cast("int64")
    for row in _rows({name: column.to_pylist() for name, column in columns.items()}):
        if row["verdict"] not in WATCHED or row["excluded"]:
            continue
        key = (row["site"] or "", _address(row["server_ip"]), _address(row["client_ip"]))
        if key not in found:
            found[key] = Watched(key[0], key[1], row["server"] or "", key[2], row["client"] or "")
        _add(found[key], row)
    return sorted(found.values(), key=lambda each: (each.site, each.server_ip, each.verdict, each.client_ip))


def _address(text: str) -> str:
    """An address that may stand in a command. Raises AnalyzerError for what is none: results may be anybody's."""
    try:
        return str(ip_address(text))
    except ValueError:
        raise AnalyzerError(f"dependencies: {text!r} is no address") from None


def _rows(columns: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _add(each: Watched, row: dict[str, Any]) -> None:
    each.verdict = min(each.verdict, tables.VERDICT.index(row["verdict"]))
    for name, into in (
        ("resource", each.resources),
        ("operation", each.operations),
        ("application", each.applications),
        ("owner", each.owners),
    ):
        if row[name]:
            into[row[name]] = None
    each.rows += 1
    each.uses += row["uses"]
    if row["first_seen"]:
        each.first_seen = min(each.first_seen or row["first_seen"], row["first_seen"])
        each.last_seen = max(each.last_seen, row["last_seen"] or 0)


def _time(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%d %H:%M:%SZ}" if ns else ""


def _csv(watched: list[Watched]) -> Iterator[str]:
    yield _csv_line(HEADER)
    for each in watched:
        yield _csv_line(each.cells())


def _csv_line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    harmless = [f"'{cell}" if EXECUTABLE.match(cell) else cell for cell in map(characters, cells)]
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="").writerow(harmless)
    return text.getvalue()


# Queries. #


def query_name(server: str) -> str:
    """The file of a server's query: colons of IPv6 addresses are no part of a file's name in Windows."""
    return f"watch-{server.replace(':', '-')}.xml"


def _kinds(names: Iterable[str]) -> list[dict[str, str]]:
    rows = {row["kind"]: row for row in knowledge.rows("log_events")}
    return [rows[name] for name in names]


def query(addresses: Iterable[str]) -> list[str]:
    """A structured query: what a server's logs say of anonymous access, as far as they name it by these addresses."""
    selects = []
    for row in _kinds(BY_ADDRESS):
        known = sorted(set(addresses))
        for start in range(0, len(known), ADDRESSES):
            data = " or ".join(f"Data[@Name='IpAddress']='{address}'" for address in known[start : start + ADDRESSES])
            event = f"*[System[Provider[@Name='{row['provider']}'] and EventID={row['event_id']}]]"
            selects.append((row["channel"], f"{event} and *[EventData[{data}]]"))
    for names in (OF_REFUSALS, OF_NTLM):
        by_place: dict[tuple[str, str], list[str]] = {}
        for row in _kinds(names):
            by_place.setdefault((row["channel"], row["provider"]), []).append(row["event_id"])
        for (channel, provider), ids in by_place.items():
            any_of = " or ".join(f"EventID={number}" for number in ids)
            selects.append((channel, f"*[System[Provider[@Name='{provider}'] and ({any_of})]]"))
    lines = ["<QueryList>"]
    for number, (channel, xpath) in enumerate(selects):
        lines.append(f'  <Query Id="{number}" Path="{channel}">')
        lines.append(f'    <Select Path="{channel}">{escape(xpath)}</Select>')
        lines.append("  </Query>")
    return [*lines, "</QueryList>"]


def _commands(server: str) -> list[str]:
    """What to paste into PowerShell; `server` is an address."""
    made = [
        f"Get-WinEvent -ComputerName {server} -FilterXml ([xml](Get-Content -Raw '{query_name(server)}'))",
    ]
    for names in (OF_REFUSALS, OF_NTLM):
        by_channel: dict[str, list[str]] = {}
        for row in _kinds(names):
            by_channel.setdefault(row["channel"], []).append(row["event_id"])
        made += [
            f"Get-WinEvent -ComputerName {server} -FilterHashtable @{{ LogName='{channel}'; Id={','.join(ids)}; "
            f"StartTime=(Get-Date).AddDays(-{DAYS}) }}"
            for channel, ids in by_channel.items()
        ]
    return made


# For people. #


def _dependencies(analysis: Analysis) -> tables.TableSet:
    return tables.TableSet({"dependencies": analysis.arrow("dependencies")})


def _markdown(servers: dict[tuple[str, str], list[Watched]], scanners: list[str]) -> Iterator[str]:
    yield "# What to watch after a change of anonymous access"
    yield ""
    for sentence in scanners:
        yield f"{in_table(sentence)}."
        yield ""
    if not servers:
        yield "No client was seen that a change may break. That holds for what was captured, and for no more."
        return
    yield f"{len({each.client_ip for of in servers.values() for each in of}):,} clients at {len(servers):,} servers may break."
    yield "Times are UTC. Clients of the verdict `unknown` may depend on it: the captures do not show enough."
    yield ""
    yield "The queries need the events to be written at all:"
    yield ""
    yield '* Security 5145: `auditpol /set /subcategory:"{0CCE9244-69AE-11D9-BED3-505054503030}" /success:enable /failure:enable`'
    yield "  (Detailed File Share: it logs each access to each share, so switch it off again). Anonymous access is by S-1-5-7."
    yield "* Microsoft-Windows-SMBServer/Security 1007, 1009: each is a refusal of anonymous access."
    yield "* Microsoft-Windows-NTLM/Operational: policy `Network security: Restrict NTLM: Audit Incoming NTLM Traffic`."
    yield ""
    yield "5145 is asked for by the addresses of the clients. The others name clients in ways that a query cannot ask for: look for"
    yield "the names and addresses of the table in them."
    for (site, server), clients in servers.items():
        name = f" ({in_table(clients[0].server)})" if clients[0].server else ""
        yield ""
        yield f"## {server}{name}" + (f", site {in_table(site)}" if site else "")
        yield ""
        yield "| client | verdict | resources | operations | application | owner | last seen |"
        yield "|---|---|---|---|---|---|---|"
        for each in clients:
            who = f"{each.client_ip} ({in_table(each.client)})" if each.client else each.client_ip
            lists = (
                in_table(", ".join(of)) for of in (each.resources, each.operations, each.applications, each.owners)
            )
            yield f"| {who} | {tables.VERDICT[each.verdict]} | {' | '.join(lists)} | {_time(each.last_seen)} |"
        yield ""
        yield "```powershell"
        yield from _commands(server)
        yield "```"
        yield ""
        yield "```xml"
        yield from query([each.client_ip for each in clients])
        yield "```"


def in_table(text: str) -> str:
    """A text in a cell of Markdown, in which nothing of it is taken for Markdown or HTML."""
    spelt = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in characters(text))
    return re.sub(r"([\\`*_{}\[\]()#+!|~<>&$])", lambda found: f"&#{ord(found[1])};", spelt)
