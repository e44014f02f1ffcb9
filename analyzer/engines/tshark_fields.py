"""What tshark prints, as values: flat lines of frames with at most one message, and PDML of frames with several.

A flat line has a column for each of `FIELDS`; a field that occurs more than once has its values side by side. That does
not tell which message of a frame a value belongs to, so frames with several are read from PDML, where they are nested.
Both become `Part`s. Nothing raises on what stands there: a line that makes no sense is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from xml.etree import ElementTree

SEPARATOR = "\t"
BETWEEN = "\x1f"
"""Between the values of a field: a character that hardly occurs in them."""

FRAME = (
    "frame.number", "frame.time_epoch", "frame.len", "frame.cap_len", "frame.protocols",
    "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport", "tcp.flags", "tcp.seq_raw", "tcp.ack_raw",
    "tcp.len", "tcp.analysis.lost_segment", "tcp.analysis.retransmission", "nbss.called_name", "nbss.calling_name",
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
    "smb.data_len_high", "smb.data_len", "smb.count", "smb.sc", "smb.trans_name", "smb.tdc", "smb.dc", "smb.pd",
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
_WIDTH = len(FIELDS)
_HEAD = len(FRAME)
_SMB2_ID, _SMB1_WORDS = FIELDS.index("smb2.protocol_id"), FIELDS.index("smb.wct")

SEVERAL = "count(smb2.protocol_id) > 1 or count(smb.wct) > 1 or (smb2.protocol_id and smb.wct)"
"""The display filter for frames with more than one message, as `Frame.has_several` decides."""

MOST_IN_A_FRAME = 4096
"""Messages of a frame that are read."""


@dataclass(slots=True)
class Part:
    """A message, or an element of an SMB 1 chain: values of its fields as texts, in the order in which they stand."""

    values: dict[str, list[str]] = field(default_factory=dict)
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


@dataclass(slots=True)
class Frame:
    """A frame: what is said of it, its TCP segment if it has one, and its message if it has one."""

    number: int
    time_ns: int
    size: int
    captured: int
    protocols: list[str]
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


def as_nanoseconds(text: str) -> int | None:
    """A time in seconds since 1970 with a fraction."""
    seconds, _, fraction = text.partition(".")
    try:
        return int(seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, "0") or "0")
    except ValueError:
        return None


def read_line(line: bytes) -> Frame | None:
    """A flat line; None if it is none."""
    values = line.decode("utf-8", "replace").split(SEPARATOR)
    if len(values) != _WIDTH:
        return None
    number, time_ns = as_number(values[0]), as_nanoseconds(values[1])
    size, captured = as_number(values[2]), as_number(values[3])
    if number is None or number < 1 or time_ns is None or size is None or captured is None:
        return None
    if max(number, size, captured) >= 1 << 62 or not 0 <= time_ns < 1 << 63:
        return None
    frame = Frame(number, time_ns, size, captured, values[4].split(":"))
    if not values[9] or "tcp" not in frame.protocols:
        return frame
    _read_segment(frame, values)
    if frame.source is None or not (values[_SMB2_ID] or values[_SMB1_WORDS]):
        return frame
    smb2, smb1 = values[_SMB2_ID], values[_SMB1_WORDS]
    frame.has_several = BETWEEN in smb2 or BETWEEN in smb1 or bool(smb2 and smb1)
    texts = {name: value.split(BETWEEN) for name, value in zip(MESSAGE, values[_HEAD:], strict=True) if value}
    frame.part = Part(texts, frozenset(frame.protocols))
    return frame


def _read_segment(frame: Frame, values: list[str]) -> None:
    """The innermost TCP segment, unless an error message quotes it."""
    above = frame.protocols[: len(frame.protocols) - frame.protocols[::-1].index("tcp") - 1]
    if "icmp" in above or "icmpv6" in above:
        return
    inner = next((name for name in reversed(above) if name in ("ip", "ipv6")), "")
    ends = values[5:7] if inner == "ip" else values[7:9]
    addresses = [value.rsplit(BETWEEN, 1)[-1] for value in ends]
    numbers = [as_number(value.rsplit(BETWEEN, 1)[-1]) for value in values[9:15]]
    source_port, target_port, flags, sequence, heard, length = numbers
    if not all(addresses) or source_port is None or target_port is None or flags is None or sequence is None:
        return
    frame.source, frame.target = (addresses[0], source_port), (addresses[1], target_port)
    frame.flags, frame.sequence, frame.heard, frame.length = flags, sequence, heard or 0, length or 0
    frame.is_after_gap, frame.is_repeated = bool(values[15]), bool(values[16])
    frame.called, frame.calling = values[17], values[18]


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


def read_nested(lines: Iterable[bytes]) -> Iterator[tuple[int, list[Part]]]:
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


def _read_packet(packet: ElementTree.Element) -> Iterator[tuple[int, list[Part]]]:
    number = 0
    found: list[Part] = []
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


def _read_smb2(layer: ElementTree.Element) -> Part:
    part = Part()
    _collect(layer, part)
    chain = next((e.get("show", "0") for e in layer.iter("field") if e.get("name") == "smb2.chain_offset"), "0")
    part.more = bool(as_number(chain))
    return part


def _read_smb1(layer: ElementTree.Element) -> list[Part]:
    """The elements of a chain, each with the header's values: its command is named there, or in the one before it."""
    header = Part()
    parts: list[Part] = []
    command = ""
    for child in layer:
        if child.get("show") == "SMB Header":
            _collect(child, header)
            command = header.values.get("smb.cmd", [""])[0]
            continue
        for element in child.iter():
            name = element.get("name", "")
            if name == "smb.wct" and len(parts) < MOST_IN_A_FRAME:
                part = Part(dict(header.values), place=len(parts))
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


def _collect(layer: ElementTree.Element, part: Part) -> None:
    for element in layer.iter():
        _take(element, part)


def _take(element: ElementTree.Element, part: Part) -> None:
    name = element.get("name", "")
    if element.tag == "proto":
        part.protocols |= {name}
    elif name in _WANTED and element.get("size") != "0":
        shown = element.get("value" if name in _AS_BYTES else "show", "")
        part.values.setdefault(name, []).append(shown)
