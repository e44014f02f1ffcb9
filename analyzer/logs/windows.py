"""Records of the Windows event log: .evtx, XML, JSON and CSV.

The same event is written in many ways, of which these are read:

* .evtx, as Windows keeps it and Event Viewer or `wevtutil epl` saves it;
* XML, as Event Viewer or `wevtutil qe /f:xml` writes it: `<Event>` elements, with or without `<Events>` around them. Each is
  parsed by itself, so no declaration of the file (DTD, entities) is ever looked at, and a damaged one costs only itself;
* JSON, one object after the other, in an array, or one a line: {"Event": {"System": ...}} (evtx_dump), {"winlog": ...}
  (Winlogbeat), and flat ones, as `Get-WinEvent | ConvertTo-Json` and many collectors write them. The first has `Properties`
  without names, which stand in the order of the event's template (`positions` in the table of events);
* CSV whose columns are called as the fields are (TimeCreated, Id, IpAddress ...). `Get-WinEvent | Export-Csv` alone does not
  write those: it has only a message in the language of the machine, which is not read.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from analyzer.logs.records import MAX_FIELDS, Damage, Record, Records, key, lowered, text_of
from analyzer.logs.streams import GZIP, MAX_RECORD, Unreadable, Window, blocks, lines, opened

EVTX = b"ElfFile\0"
MAX_UNPACKED = 1 << 30
"""Bytes of a compressed .evtx, which has to be unpacked whole."""
MAX_WASTE = 1 << 28
"""Characters that may be looked at in vain: a file made to waste time ends here."""
MAX_FAILURES = 1000
"""Chunks of an .evtx in a row that cannot be read."""
_BEGIN = re.compile(r"<Event(?=[\s>/])")
_BEGIN_OR_END = re.compile(r"<Event(?=[\s>/])|</Event\s*>")
_ANOTHER = re.compile(r"\n|\}\s*,(?=\s*\{)")
_XML_ID = re.compile(r"<EventID(?:\s[^<>]{0,80})?>\s*(\d{1,10})\s*</EventID>")
_JSON_ID = re.compile(r'"EventID":\s*"?(\d{1,10})"?\s*[,}]')
_DECODER = json.JSONDecoder()
_NOT_IN_CSV = {0: None, ord("\r"): None, ord("\n"): None}

TIME = (
    "timecreated",
    "systemtime",
    "timegenerated",
    "eventtime",
    "utctime",
    "datetime",
    "timestamp",
    "time",
    "@timestamp",
)
"""Names under which flat records have their time."""
EVENT_ID = ("eventid", "id", "eventcode")
SYSTEM = {
    "provider": ("provider", "providername", "sourcename", "source"),
    "channel": ("channel", "logname", "log"),
    "computer": ("computer", "machinename", "computername", "hostname", "host"),
    "number": ("eventrecordid", "recordid", "recordnumber"),
}


# XML #


def read_xml(path: Path, wanted: Collection[str]) -> Records:
    """`<Event>` elements of a file, wherever they stand in it. Raises Unreadable.

    wanted: event ids; of others nothing but the id is read, since most events of most logs are others.
    """
    from defusedxml import ElementTree  # noqa: PLC0415
    from defusedxml.common import DefusedXmlException  # noqa: PLC0415

    window = Window(blocks(path))
    while window.fill():
        found = _BEGIN.search(window.text, window.at)
        if not found:
            window.go_to(max(window.at + 1, len(window.text) - 16))  # the beginning of one may stand at the end
            continue
        window.go_to(found.start())
        window.fill()
        begin = window.at
        end = _BEGIN_OR_END.search(window.text, begin + 6, begin + MAX_RECORD)
        place = f"line {window.line}"
        if not end or end[0] == "<Event":
            yield Damage("an event that does not end", place)
            window.go_to(end.start() if end else min(begin + MAX_RECORD, len(window.text)))
            continue
        event_id = _XML_ID.search(window.text, begin, end.start())
        if event_id and event_id[1] not in wanted:
            yield Record(event_id=event_id[1])
            window.go_to(end.end())
            continue
        try:
            element = ElementTree.fromstring(window.text[begin : end.end()], forbid_dtd=True)
            record = _of_element(element)
            record.number = record.number if record.number >= 0 else window.line
            yield record
        except (ElementTree.ParseError, DefusedXmlException, ValueError) as problem:
            yield Damage(f"not XML: {problem}"[:200], place)
        window.go_to(end.end())


def _bare(tag: Any) -> str:
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _of_element(event: Any) -> Record:
    record = Record()
    for part in event:
        name = _bare(part.tag)
        if name == "System":
            for child in part:
                _take_system(record, _bare(child.tag), child.attrib, child.text)
        elif name in ("EventData", "UserData"):
            for count, child in enumerate(part.iter()):
                if count > MAX_FIELDS:
                    break
                if _bare(child.tag) == "Data" and "Name" not in child.attrib:
                    record.values.append(text_of(child.text or "") or "")
                elif not len(child):
                    called = child.attrib.get("Name", _bare(child.tag))
                    record.fields.setdefault(key(called), text_of(child.text or "") or "")
    return record


def _take_system(record: Record, name: str, attributes: Mapping[str, Any], text: Any) -> None:
    """One child of `System`."""
    if name == "Provider":
        record.provider = text_of(attributes.get("Name") or attributes.get("EventSourceName")) or ""
    elif name == "EventID":
        record.event_id = (text_of(text) or "").strip()
    elif name == "TimeCreated":
        record.time = attributes.get("SystemTime", text)
    elif name == "EventRecordID":
        record.number = _number(text)
    elif name == "Channel":
        record.channel = text_of(text) or ""
    elif name == "Computer":
        record.computer = text_of(text) or ""


def _number(value: Any) -> int:
    text = str(value if isinstance(value, int | str) and len(str(value)[:32]) < 20 else "").strip()
    return int(text) if text.isdigit() and text.isascii() and int(text) < 1 << 62 else -1


# JSON #


def read_json(path: Path) -> Iterator[dict[str, Any] | Damage]:
    """Whole JSON objects of a file, whatever stands between them. Raises Unreadable."""
    window = Window(blocks(path))
    waste = 0
    while window.fill():
        at = window.text.find("{", window.at)
        if at < 0:
            window.go_to(len(window.text))
            continue
        window.go_to(at)
        window.fill()
        begin = window.at
        try:
            found, end = _DECODER.raw_decode(window.text, begin)
        except (ValueError, RecursionError) as problem:
            # Go on where another object may begin, behind the place that is wrong.
            wrong = getattr(problem, "pos", -1)
            looked_at = min(len(window.text) - begin, MAX_RECORD)
            waste += looked_at if wrong <= begin or "Unterminated" in str(problem) else wrong - begin
            another = _ANOTHER.search(window.text, max(wrong, begin + 1))
            reason = getattr(
                problem, "msg", "nested too deeply" if isinstance(problem, RecursionError) else "numbers too long"
            )
            yield Damage(f"not JSON: {reason}"[:200], f"line {window.line}")
            if waste > MAX_WASTE:
                raise Unreadable("hardly anything of it is JSON") from problem
            line = window.text.rfind("\n{", begin, wrong + 1) + 1  # an object cut off before the line that was reached
            window.go_to(line or (another.end() if another else len(window.text)))
            continue
        yield found
        window.go_to(end)


def of_object(found: Mapping[str, Any], line: int = -1) -> Record | None:
    """An event in any of its forms as an object; None if it is none."""
    record: Record | None = None
    if isinstance(found.get("Event"), dict):
        record = _of_dump(found["Event"])
    elif isinstance(found.get("winlog"), dict):
        record = _of_beat(found)
    else:
        record = _of_flat(found)
    if record is not None and record.number < 0:
        record.number = line
    return record


def _of_dump(event: Mapping[str, Any]) -> Record | None:
    """{"System": ..., "EventData": ...} with attributes in "#attributes", "X_attributes" or "@Name"."""
    system = event.get("System")
    if not isinstance(system, dict):
        return None
    record = Record()
    for name, value in list(system.items())[:MAX_FIELDS]:
        bare = name.removesuffix("_attributes")
        inner = value if isinstance(value, dict) else {}
        attributes = inner.get("#attributes") if isinstance(inner.get("#attributes"), dict) else inner
        attributes = {str(key_).lstrip("@"): one for key_, one in (attributes or {}).items()}
        text = inner.get("#text") if inner else value
        if name != bare and bare in ("EventID", "EventRecordID", "Channel", "Computer"):
            continue  # their attributes only
        _take_system(record, bare, attributes, text)
    for part in ("EventData", "UserData"):
        _take_data(record, event.get(part), 0)
    return record


def _take_data(record: Record, data: Any, depth: int) -> None:
    """Named and unnamed values of EventData; of UserData those of what stands in it."""
    if not isinstance(data, dict) or depth > 3:
        return
    for name, value in list(data.items())[:MAX_FIELDS]:
        if name.startswith(("#attributes", "@")):
            continue
        if name == "Data":
            _take_unnamed(record, value)
        elif isinstance(value, dict) and "#text" not in value:
            _take_data(record, value, depth + 1)
        else:
            text = text_of(value["#text"] if isinstance(value, dict) else value)
            record.fields.setdefault(key(name), text or "")


def _take_unnamed(record: Record, value: Any) -> None:
    if isinstance(value, dict) and "#text" in value:
        value = value["#text"]
    for one in (value if isinstance(value, list) else [value])[:MAX_FIELDS]:
        if isinstance(one, dict):
            attributes = one.get("#attributes")
            called = one.get("@Name") or (attributes.get("Name") if isinstance(attributes, dict) else None)
            text = text_of(one.get("#text")) or ""
            if isinstance(called, str):
                record.fields.setdefault(key(called), text)
                continue
            record.values.append(text)
        else:
            record.values.append(text_of(one) or "")


def _of_beat(found: Mapping[str, Any]) -> Record:
    """Winlogbeat's form."""
    winlog = lowered(found["winlog"])
    record = Record(
        provider=text_of(winlog.get("providername")) or "",
        channel=text_of(winlog.get("channel")) or "",
        event_id=text_of(winlog.get("eventid")) or "",
        time=found.get("@timestamp"),
        computer=text_of(winlog.get("computername")) or "",
        number=_number(winlog.get("recordid")),
    )
    for part in ("eventdata", "userdata"):
        _take_data(record, winlog.get(part), 0)
    for name in [name for name in record.fields if re.fullmatch(r"param\d{1,2}", name)]:
        record.values.append(record.fields[name])
    return record


def _of_flat(found: Mapping[str, Any]) -> Record | None:
    """A record whose fields stand beside each other."""
    names = lowered(found)
    event_id = _first(names, EVENT_ID)
    if event_id is None:
        return None
    record = Record(event_id=text_of(event_id) or "", time=_first(names, TIME))
    if isinstance(record.time, dict):  # PowerShell 5 writes a date as an object
        times = lowered(record.time)
        record.time = times.get("value") or times.get("datetime") or times.get("systemtime")
    for part, called in SYSTEM.items():
        value = _first(names, called)
        if isinstance(value, dict):
            value = lowered(value).get("name")
        setattr(record, part, _number(value) if part == "number" else text_of(value) or "")
    properties = names.get("properties")
    if isinstance(properties, list):
        for one in properties[:MAX_FIELDS]:
            value = one.get("Value") if isinstance(one, dict) else one
            if isinstance(value, dict):
                value = value.get("Value")  # a SID
            record.values.append(text_of(value) or "")
    for part in ("eventdata", "userdata", "data"):
        _take_data(record, names.get(part), 0)
    for name, value in names.items():
        if (text := text_of(value)) is not None:
            record.fields.setdefault(name, text)
    return record


def _first(names: Mapping[str, Any], wanted: tuple[str, ...]) -> Any:
    return next((names[name] for name in wanted if name in names and names[name] not in (None, "")), None)


# CSV #


def dialect_of(title: str) -> str:
    """What parts the columns."""
    return max(",;\t", key=title.count)


def read_csv(path: Path) -> Records:
    """Rows as records, with the titles as names of fields. Raises Unreadable."""
    numbered = lines(path)
    number, title = next(numbered, (1, ""))
    while title.startswith(("#TYPE", "sep=")) or not title.strip():
        number, title = next(numbered, (-1, "-"))
    mark = dialect_of(title)
    place = [number]

    def counted() -> Iterator[str]:
        for place[0], line in numbered:
            yield line.translate(_NOT_IN_CSV) + "\n"

    titles = [key(name) for name in next(csv.reader([title.translate(_NOT_IN_CSV)], delimiter=mark))][:MAX_FIELDS]
    rows = csv.reader(counted(), delimiter=mark)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as problem:
            yield Damage(f"not CSV: {problem}"[:200], f"line {place[0]}")
            continue
        if not row:
            continue
        if len(row) < len(titles):
            yield Damage("fewer columns than titles", f"line {place[0]}")
            continue
        found: dict[str, str] = {}
        for name, value in zip(titles, row, strict=False):
            found[name] = found.get(name) or value  # ProcessId and ProcessID are of different events
        record = _of_flat(found)
        if record is None:
            record = Record(
                fields={name: text_of(value) or "" for name, value in found.items()}, time=_first(found, TIME)
            )
        if record.number < 0:
            record.number = place[0]
        yield record


# .evtx #


def read_evtx(path: Path, wanted: Collection[str]) -> Records:
    """Records of a file of the event log itself. A damaged chunk costs what is in it. Raises Unreadable.

    wanted: as for `read_xml`.
    """
    from evtx import PyEvtxParser  # noqa: PLC0415

    source: Any = str(path)
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    if packed:
        source = _unpacked(path)
    failures = 0
    try:
        found = PyEvtxParser(source, number_of_threads=1).records_json()
        while True:
            try:
                record: Any = next(found)
                failures = 0
                event_id = _JSON_ID.search(record["data"])
                if event_id and event_id[1] not in wanted:
                    yield Record(event_id=event_id[1])
                    continue
                event = json.loads(record["data"])
                made = of_object(event) if isinstance(event, dict) else None
                yield made or Damage("not an event", f"record {record['event_record_id']}")
            except StopIteration:
                return
            except (RuntimeError, ValueError, RecursionError, OSError) as problem:
                failures += 1
                yield Damage(" ".join(str(problem).split())[:200], "an .evtx chunk or record")
                if failures > MAX_FAILURES:
                    raise Unreadable("nothing more of it can be read") from problem
    except (RuntimeError, OSError, ValueError) as problem:
        raise Unreadable(" ".join(str(problem).split())[:200]) from problem
    except BaseException as problem:
        if type(problem).__name__ != "PanicException":  # the library gave up; it is no Exception
            raise
        raise Unreadable("damaged") from problem


def _unpacked(path: Path) -> Any:
    import io  # noqa: PLC0415

    with opened(path) as file:
        data = file.read(MAX_UNPACKED + 1)
    if len(data) > MAX_UNPACKED:
        raise Unreadable(f"more than {MAX_UNPACKED:,} bytes when unpacked: unpack it first")
    return io.BytesIO(data)
