"""What tshark prints, as values: flat lines of frames with at most one message, and PDML of frames with several.

A flat line has a column for each of `FIELDS`; a field that occurs more than once has its values side by side. That does
not tell which message of a frame a value belongs to, so frames with several are read from PDML, where they are nested.
Both become `Part`s. Nothing raises on what stands there: a line that makes no sense is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree

SEPARATOR = "\t"
BETWEEN = "\x1f"
"""Between the values of a field: a character that hardly occurs in them."""
_BETWEEN = BETWEEN.encode()

FRAME = (
    "frame.number", "frame.time_epoch", "frame.protocols", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst",
    "tcp.srcport", "tcp.dstport", "tcp.flags", "tcp.seq_raw", "tcp.ack_raw", "tcp.len", "tcp.analysis.lost_segment",
    "tcp.analysis.retransmission", "nbss.called_name", "nbss.calling_name",
)  # fmt: skip
MESSAGE = (
    # SMB 2
    "smb2.protocol_id", "smb2.cmd", "smb2.flags", "smb2.msg_id", "smb2.tid", "smb2.sesid", "smb2.nt_status",
    "smb2.header.transform.signature", "smb2.dialect", "smb2.client_guid", "smb2.server_guid", "smb2.sec_mode",
    "smb2.capabilities", "smb2.ses_req_flags.session_binding", "smb2.previous_sesid", "smb2.session_flags",
    "smb2.olb.length", "smb2.tree", "smb2.share_type", "smb2.filename", "smb2.fid", "smb2.write_length",
    "smb2.ioctl.function", "smb2.fsctl.wait.name",
    # SMB 1
    "smb.cmd", "smb.wct", "smb.nt_status", "smb.error_class", "smb.error_code", "smb.flags", "smb.flags2", "smb.signature",
    "smb.tid", "smb.pid", "smb.uid", "smb.mid", "smb.dialect.name", "smb.dialect.index", "smb.sm", "smb.server_cap",
    "smb.server_guid", "smb.primary_domain", "smb.security_blob_len", "smb.pwlen", "smb.ansi_pwlen", "smb.unicode_pwlen",
    "smb.ansi_password", "smb.password", "smb.account", "smb.native_os", "smb.native_lanman", "smb.setup.action",
    "smb.path", "smb.service", "smb.file", "smb.access_mask", "smb.fid", "smb.file_type", "smb.write.mode", "smb.data_len_low",
    "smb.data_len_high", "smb.data_len", "smb.count", "smb.sc", "smb.trans_name", "smb.tdc", "smb.pd",
    "smb.data_disp", "smb_pipe.function", "smb.trans2.cmd", "smb.nt.function", "smb.bcc", "lanman.function_code",
    "lanman.status", "smb.dfs.referral.node", "smb.dfs.referral.expname", "data.data",
    # security blobs
    "spnego.mechToken", "spnego.responseToken", "kerberos.msg_type", "kerberos.realm", "kerberos.SNameString",
    "kerberos.etype", "ntlmssp.messagetype", "ntlmssp.negotiateflags", "ntlmssp.auth.lmresponse", "ntlmssp.auth.ntresponse",
    "ntlmssp.auth.sesskey", "ntlmssp.auth.username",
    "ntlmssp.auth.domain", "ntlmssp.auth.hostname", "ntlmssp.string.length", "ntlmssp.blob.length",
    "ntlmssp.challenge.target_name", "ntlmssp.challenge.target_info.item.type",
    "ntlmssp.challenge.target_info.nb_computer_name",
    "ntlmssp.challenge.target_info.nb_domain_name", "ntlmssp.challenge.target_info.dns_computer_name",
    "ntlmssp.challenge.target_info.dns_domain_name", "ntlmssp.version.major", "ntlmssp.version.minor",
    "ntlmssp.version.build_number",
)  # fmt: skip
FIELDS = FRAME + MESSAGE
_PLACE = {name: place for place, name in enumerate(MESSAGE)}
_WIDTH = len(FIELDS)
_HEAD = len(FRAME)
_SMB2_ID, _SMB1_WORDS = _PLACE["smb2.protocol_id"], _PLACE["smb.wct"]
_NO_MESSAGE = (SEPARATOR * len(MESSAGE)).encode()
"""How a line ends whose frame holds none."""

SEVERAL = "count(smb2.protocol_id) > 1 or count(smb.wct) > 1 or (smb2.protocol_id and smb.wct)"
"""The display filter for frames with more than one message, as `Frame.has_several` decides."""

MOST_IN_A_FRAME = 4096
"""Messages of a frame that are read."""


@dataclass(slots=True)
class Part:
    """A message, or an element of an SMB 1 chain: values of its fields as texts, in the order in which they stand."""

    values: Mapping[str, list[str]] = field(default_factory=dict)
    protocols: frozenset[str] = frozenset()
    place: int = 0  # which of its message
    of: int = 0  # which message of its frame
    more: bool = False  # another element of the chain follows

    def numbers(self, name: str) -> list[int]:
        """The values of a numeric field."""
        return [number for text in self.values.get(name, ()) if (number := as_number(text)) is not None]

    def number(self, name: str) -> int | None:
        """The first value of a numeric field."""
        texts = self.values.get(name)
        return as_number(texts[0]) if texts else None

    def text(self, name: str) -> str | None:
        """The last value: what stands in a header may repeat an earlier packet."""
        texts = self.values.get(name)
        return texts[-1] if texts else None

    def whole(self, name: str) -> str | None:
        """All of a text that occurs once."""
        texts = self.values.get(name)
        return BETWEEN.join(texts) if texts else None


class _Columns(Mapping[str, list[str]]):
    """The columns of a flat line behind those of its frame, taken apart when they are asked for: most never are."""

    __slots__ = ("texts",)

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    def __getitem__(self, name: str) -> list[str]:
        text = self.texts[_PLACE[name]]
        if not text:
            raise KeyError(name)
        return text.split(BETWEEN)

    def get(self, name: str, default: Any = None) -> Any:
        text = self.texts[_PLACE[name]]
        return text.split(BETWEEN) if text else default

    def __contains__(self, name: object) -> bool:
        return bool(self.texts[_PLACE[name]])  # type: ignore[index]

    def __iter__(self) -> Iterator[str]:
        return (name for name, text in zip(MESSAGE, self.texts, strict=True) if text)

    def __len__(self) -> int:
        return sum(map(bool, self.texts))


@dataclass(slots=True)
class _Flat(Part):
    """A message of a flat line."""

    values: _Columns

    def number(self, name: str) -> int | None:
        """The same as `Part.number` finds, without taking the column apart."""
        text = self.values.texts[_PLACE[name]]
        if not text:
            return None
        if BETWEEN in text:
            text = text.partition(BETWEEN)[0]
        try:
            return int(text, 0)
        except ValueError:
            return as_number(text)


@dataclass(slots=True)
class Frame:
    """A frame: what is said of it, its TCP segment if it has one, and its message if it has one."""

    number: int
    time_ns: int
    source: tuple[str, int] | None = None
    target: tuple[str, int] | None = None
    flags: int = 0
    sequence: int = 0
    heard: int = 0
    length: int = 0
    is_after_gap: bool = False
    is_repeated: bool = False
    called: str = ""
    calling: str = ""
    has_several: bool = False
    part: Part | None = None


def as_number(text: str) -> int | None:
    """A number as tshark prints it: decimal, hexadecimal, or (from 4.2 on) True and False."""
    try:
        return int(text, 0)
    except ValueError:
        return {"True": 1, "true": 1, "False": 0, "false": 0}.get(text)


def as_nanoseconds(text: bytes) -> int | None:
    """A time in seconds since 1970 with a fraction; None if it is none, or beyond what 63 bits hold."""
    seconds, _, fraction = text.partition(b".")
    try:
        time_ns = int(seconds + fraction[:9].ljust(9, b"0")) if seconds else -1
    except ValueError:
        return None
    return time_ns if 0 <= time_ns < 1 << 63 else None


def read_line(line: bytes) -> Frame | None:
    """A flat line; None if it is none."""
    texts: list[str] = []
    if line.endswith(_NO_MESSAGE):
        values = line[: -len(_NO_MESSAGE)].split(b"\t")
    else:
        values = line.split(b"\t", _HEAD)
        if len(values) > _HEAD:
            texts = values.pop().decode("utf-8", "replace").split(SEPARATOR)
            if len(texts) != len(MESSAGE):
                return None
    if len(values) != _HEAD:
        return None
    time_ns = as_nanoseconds(values[1])
    try:
        number = int(values[0])
    except ValueError:
        return None
    if not 0 < number < 1 << 62 or time_ns is None:
        return None
    frame = Frame(number, time_ns)
    if not values[7]:
        return frame
    layers = _layers(values[2])
    _read_segment(frame, values, layers)
    if frame.source is None or not texts or not (texts[_SMB2_ID] or texts[_SMB1_WORDS]):
        return frame
    smb2, smb1 = texts[_SMB2_ID], texts[_SMB1_WORDS]
    frame.has_several = BETWEEN in smb2 or BETWEEN in smb1 or bool(smb2 and smb1)
    frame.part = _Flat(_Columns(texts), layers.names)
    return frame


@dataclass(slots=True, frozen=True)
class _Layers:
    """The protocols of a frame. below: what carries its innermost TCP segment; empty if an error message quotes it."""

    names: frozenset[str]
    below: str


@lru_cache(maxsize=4096)
def _layers(shown: bytes) -> _Layers:
    names = shown.decode("ascii", "replace").split(":")
    if "tcp" not in names:
        return _Layers(frozenset(names), "")
    above = names[: len(names) - names[::-1].index("tcp") - 1]
    is_quoted = "icmp" in above or "icmpv6" in above
    inner = next((name for name in reversed(above) if name in ("ip", "ipv6")), "ipv6")
    return _Layers(frozenset(names), "" if is_quoted else inner)


@lru_cache(maxsize=65536)
def _address(shown: bytes) -> str:
    """The innermost of the addresses that stand there."""
    return shown.decode("ascii", "replace").rsplit(BETWEEN, 1)[-1]


def _read_segment(frame: Frame, values: list[bytes], layers: _Layers) -> None:
    """The innermost TCP segment, unless an error message quotes it."""
    if not layers.below:
        return
    shown = values[3:5] if layers.below == "ip" else values[5:7]
    source, target = _address(shown[0]), _address(shown[1])
    numbers = values[7:13]
    if _BETWEEN in values[7]:  # a tunnel in TCP, or an error message within
        numbers = [value.rsplit(_BETWEEN, 1)[-1] for value in numbers]
    try:
        source_port, target_port, sequence = int(numbers[0]), int(numbers[1]), int(numbers[3])
        flags = int(numbers[2], 0)
        heard, length = int(numbers[4] or 0), int(numbers[5] or 0)
    except ValueError:
        return
    if not source or not target:
        return
    frame.source, frame.target = (source, source_port), (target, target_port)
    frame.flags, frame.sequence, frame.heard, frame.length = flags, sequence, heard, length
    frame.is_after_gap, frame.is_repeated = bool(values[13]), bool(values[14])
    if values[15]:
        frame.called, frame.calling = (name.decode("utf-8", "replace") for name in values[15:17])


# PDML. #

_NOT_XML = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF], "\N{REPLACEMENT CHARACTER}")
"""What tshark prints from packets although XML cannot hold it."""
_WANTED = frozenset(MESSAGE)
_WANTED_BYTES = frozenset(name.encode() for name in (*MESSAGE, "num", "smb2.chain_offset"))
_AS_BYTES = frozenset(
    {"data.data", "smb.ansi_password", "smb.password", "smb.signature", "ntlmssp.auth.lmresponse",
     "ntlmssp.auth.ntresponse", "ntlmssp.auth.sesskey", "spnego.mechToken", "spnego.responseToken",
     "smb2.header.transform.signature"}
)  # fmt: skip
"""Fields that flat lines show as plain hexadecimal digits, which PDML has in `value`."""


@dataclass(slots=True)
class _Nested(Part):
    """A message of PDML, which is filled field by field."""

    values: dict[str, list[str]] = field(default_factory=dict)


def read_nested(lines: Iterable[bytes]) -> Iterator[tuple[int, Sequence[Part]]]:
    """The frames of a PDML document, with their messages; a frame that is no XML is passed over.

    tshark puts each tag on a line of its own. Most lines are fields that nobody asks for: they are left out first.
    """
    kept: list[bytes] = []
    for line in lines:
        tag = line.strip()
        if tag.startswith(b"<field ") and tag.endswith(b"/>") and tag.split(b'"', 2)[1] not in _WANTED_BYTES:
            continue
        if tag == b"<packet>":
            kept = []
        kept.append(line)
        if tag == b"</packet>":
            try:
                packet = ElementTree.fromstring(b"\n".join(kept).decode("utf-8", "replace").translate(_NOT_XML))
            except ElementTree.ParseError:
                continue
            finally:
                kept = []
            yield from _read_packet(packet)


def _read_packet(packet: ElementTree.Element) -> Iterator[tuple[int, Sequence[Part]]]:
    number = 0
    found: list[_Nested] = []
    message = -1
    for layer in packet:
        name = layer.get("name", "")
        if name == "geninfo":
            shown = next((part.get("show", "") for part in layer if part.get("name") == "num"), "")
            number = as_number(shown) or 0
        elif name in ("smb", "smb2") and len(found) < MOST_IN_A_FRAME:
            message += 1
            for part in _read_smb1(layer) if name == "smb" else [_read_smb2(layer)]:
                part.of = message
                found.append(part)
            if name == "smb2" and len(found) > 1 and _follows(found[-1], found[-2]):
                message -= 1
                found[-1].of, found[-1].place = message, found[-2].place + 1
        elif found:
            _collect(layer, found[-1])
    if number:
        yield number, found


def _follows(part: Part, before: Part) -> bool:
    """A PDU of the same compound: the one before it says that another comes."""
    return "smb2.cmd" in before.values and "smb2.cmd" in part.values and bool(before.more)


def _read_smb2(layer: ElementTree.Element) -> _Nested:
    part = _Nested()
    _collect(layer, part)
    chain = next((e.get("show", "0") for e in layer.iter("field") if e.get("name") == "smb2.chain_offset"), "0")
    part.more = bool(as_number(chain))
    return part


def _read_smb1(layer: ElementTree.Element) -> list[_Nested]:
    """The elements of a chain, each with the header's values: its command is named there, or in the one before it."""
    header = _Nested()
    parts: list[_Nested] = []
    command = ""
    for child in layer:
        if child.get("show") == "SMB Header":
            _collect(child, header)
            command = header.values.get("smb.cmd", [""])[0]
            continue
        for element in child.iter():
            name = element.get("name", "")
            if name == "smb.wct" and len(parts) < MOST_IN_A_FRAME:
                part = _Nested(dict(header.values), place=len(parts))
                part.values["smb.cmd"] = [command]
                if parts:
                    parts[-1].more = True
                parts.append(part)
            elif name == "smb.cmd":
                command = element.get("show", "")
                continue
            if parts:
                _take(element, parts[-1])
    return parts or [header]


def _collect(layer: ElementTree.Element, part: _Nested) -> None:
    for element in layer.iter():
        _take(element, part)


def _take(element: ElementTree.Element, part: _Nested) -> None:
    name = element.get("name", "")
    if element.tag == "proto":
        part.protocols |= {name}
    elif name in _WANTED and element.get("size") != "0":
        shown = element.get("value" if name in _AS_BYTES else "show", "")
        part.values.setdefault(name, []).append(shown)
