"""What must be known of a file before its messages are read, and what is counted of all its packets: a first, quick pass.

It prints columns of the packet list, not fields: for fields tshark spells out each packet as text, whichever of them are
asked for, which takes longer than all dissectors together. Columns hold what is short only, so messages are not read so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from analyzer.capture.reader import FileFacts
from analyzer.engines import tshark_process
from analyzer.engines.tshark_fields import as_nanoseconds

MOST_PORTS = 64
"""Ports that are added to those that were named."""
MOST_STREAMS = 100_000
EARLY = 10_000
"""Packets after which a survey mostly says what it will say in the end."""
MOST_BYTES = 1 << 62

_COLUMNS = (
    ("frame.time_epoch", 1),
    ("frame.len", 1),
    ("frame.cap_len", 1),
    ("tcp.srcport", -1),
    ("tcp.dstport", -1),
    ("tcp.stream", -1),
    ("tcp.analysis.out_of_order", -1),
    ("tcp.analysis.lost_segment", -1),
    ("smb.server_component or smb2.protocol_id", 1),
)
"""Fields, and which of their values: the first, or (of a segment within a tunnel) the last."""


@dataclass(slots=True)
class Survey:
    """ports: those where SMB was found though nobody named them. late, lost: streams with segments that came late or never."""

    ports: dict[int, None] = field(default_factory=dict)
    late: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    segments: int = 0

    def is_in_order(self) -> bool:
        """Segments had better not be put in order: tshark would wait for ever for those that were not captured."""
        return len(self.late) <= len(self.lost - self.late)

    def decides(self) -> tuple[bool, frozenset[int]]:
        """All that the reading of messages depends on."""
        return self.is_in_order(), frozenset(self.ports)


def arguments(ports: tuple[int, ...]) -> list[str]:
    """What tshark is told. Any segment may begin with a message, but those to `ports` are not looked into."""
    shown = ",".join(f'"{number}","%Cus:{name}:{which}:R"' for number, (name, which) in enumerate(_COLUMNS))
    preferences = {
        "tcp.desegment_tcp_streams": "FALSE",
        "tcp.reassemble_out_of_order": "FALSE",
        "tcp.no_subdissector_on_error": "FALSE",
        "nbss.desegment_nbss_commands": "FALSE",
        "gui.column.format": shown,
    }
    known = [word for port in ports for word in ("-d", f"tcp.port=={port},data")]
    every = ("-d", "tcp.port==1-65535,nbss")
    return tshark_process.parameters("gss-api", preferences, (), *every, *known, "-T", "tabs")


def read(
    lines: Iterable[bytes], ports: tuple[int, ...], facts: FileFacts, early: Callable[[Survey], None] = lambda _: None
) -> Survey:
    """The survey that these lines tell; packets are counted in `facts`. A line that makes no sense is passed over.

    early: given the survey as it stands after `EARLY` packets.
    """
    survey = Survey()
    named = frozenset(ports)
    for line in lines:
        words = line.split(b"\t")
        if len(words) < len(_COLUMNS):
            continue
        time_ns = as_nanoseconds(words[0])
        try:
            size, captured = int(words[1]), int(words[2])
        except ValueError:
            continue
        if time_ns is None or not 0 <= captured < MOST_BYTES:
            continue
        facts.packets += 1
        if facts.packets == EARLY:
            early(survey)
        facts.bytes += captured
        facts.truncated_packets += captured < size
        if not facts.first_ns or time_ns < facts.first_ns:
            facts.first_ns = time_ns
        facts.last_ns = max(facts.last_ns, time_ns)
        if words[3]:
            survey.segments += 1
            if words[6] or words[7] or words[8]:
                _note(survey, words, named)
    return survey


def _note(survey: Survey, words: list[bytes], named: frozenset[int]) -> None:
    """What a segment tells."""
    try:
        source, target, stream = int(words[3]), int(words[4]), int(words[5])
    except ValueError:
        return
    if source in named or target in named:
        if words[6] and len(survey.late) < MOST_STREAMS:
            survey.late.add(stream)
        if words[7] and len(survey.lost) < MOST_STREAMS:
            survey.lost.add(stream)
    elif words[8] and len(survey.ports) < MOST_PORTS:
        # A client may talk from any port; the lower one is that of the service.
        survey.ports[min(source, target)] = None
