"""The scapy engine: scapy reads packets and dissects SMB, NTLM and Kerberos; here its fields become records.

It shares with the native engine what opens and unpacks files and puts them in order (`capture.source`, `in_time_order`),
the names of codes, and what comes after the records. Reading packets, peeling them, putting streams in order, framing,
choosing and dissecting messages, and reading tokens are its own: so what both engines say alike was found in two ways.
Where scapy's own means would lose sessions something of ours stands in their place: see `scapy_packets` (fragments),
`scapy_streams` (instead of `TCPSession`) and `scapy_layers` (SMB 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from analyzer.capture.inputs import Input, in_time_order
from analyzer.capture.reader import FileFacts
from analyzer.capture.source import STDIN, Spool
from analyzer.compiled import Kernels, cache_is_warm, compiled_kernels, plain_kernels
from analyzer.engines.scapy_packets import PacketFile, Peeler, in_order
from analyzer.engines.scapy_records import Records, wanted
from analyzer.engines.scapy_streams import Message, Picker, Streams, Trouble
from analyzer.engines.scapy_tokens import nameless_oids
from analyzer.names.quiet import quiet_scapy
from analyzer.records import Batch, Reread, Rows
from analyzer.wire.texts import Texts

WINDOW_MESSAGES = 2000
WINDOW_BYTES = 4 * 1024 * 1024
WINDOW_PACKETS = 20_000
"""How much is taken in before it is handed on."""
LARGE = 2_000_000
"""Bytes of files from which on it is worth loading the compiled kernels, with which sessions are judged."""

_NOT_REREAD = "what null sessions sign and encrypt is not looked into: connections are not read a second time"
GAPS = {
    "captures.format": "scapy reads no modified pcap",
    "captures.dropped_packets": "scapy's readers pass over pcapng's statistics",
    "connections.process_id": "notes of packets about processes are not kept",
    "connections.process_name": "notes of packets about processes are not kept",
    "connections.process_side": "notes of packets about processes are not kept",
    "connections.encrypted_messages": _NOT_REREAD,
    "sessions.encrypted_messages": _NOT_REREAD,
    "sessions.evidence": _NOT_REREAD,
    "sessions.ended": _NOT_REREAD,
    "other_ways": "connections to other ports are not counted",
    "hosts": "datagrams (DNS, DHCP, NetBIOS) are not collected",
}
"""What this engine cannot know, or knows otherwise: a column, or a table as a whole, and why."""
LIMITS = (
    "trees, pipe_opens, calls and binds: " + _NOT_REREAD,
    "scapy has no layers for Cisco HDLC, PKTAP, PPP of pppd, VXLAN-GPE, MPLS over UDP, QinQ of the old type, multicast MPLS, "
    "and some forms of GRE: what is inside is not seen",
)
SHARED = ("opening and unpacking of files", "names in NetBIOS session requests")


class ScapyEngine:
    """See `engines.Engine`."""

    name = "scapy"
    gaps = GAPS
    limits = LIMITS
    shared = SHARED

    def __init__(self, ports: tuple[int, ...], announce: Callable[[str], None]) -> None:
        self.files: list[FileFacts] = []
        self.texts = Texts(lambda: self._kernels)
        self._ports = ports
        self._announce = announce
        self._kernels = plain_kernels()
        self._files_read: list[PacketFile] = []
        self._counts: dict[str, int] = {}
        self._connections = 0
        self._messages = 0

    def kernels(self) -> Kernels:
        return self._kernels

    def consumed(self) -> int:
        return sum(file.consumed for file in self._files_read)

    def counts(self) -> dict[str, int]:
        return dict(self._counts)

    def read(self, inputs: list[Input]) -> Iterator[Batch]:
        size = sum(Path(item.capture).stat().st_size for item in inputs if Path(item.capture).is_file())
        if size > LARGE and cache_is_warm():
            self._kernels = compiled_kernels()
        timed = in_time_order(inputs, self._kernels)
        spool = Spool() if any(item.capture == STDIN for item in inputs) else None
        first = len(self.files)
        files = [(begins, PacketFile(item.capture, first + n, spool)) for n, (begins, item) in enumerate(timed)]
        self._files_read += [file for _, file in files]
        site = _Site(self._ports, self.texts, self._connections, self._messages)
        packets = in_order(files)
        done = False
        while not done:
            with quiet_scapy(), nameless_oids():
                done = site.fill(packets)
                batch = site.hand_over()
            yield batch
        self._connections, self._messages = site.streams.connections, site.records.message_no
        self.files += [file.facts for _, file in files]
        for name, value in site.counts().items():
            self._counts[name] = self._counts.get(name, 0) + value
        if spool is not None:
            spool.close()

    def reread(self, logins: Rows) -> Iterator[Reread]:  # noqa: ARG002 - of the protocol
        """Nothing: see `GAPS`."""
        yield from ()

    def forget(self) -> None:
        pass


class _Site:
    """What is known while the files of one site are read."""

    def __init__(self, ports: tuple[int, ...], texts: Texts, connections: int, messages: int) -> None:
        self.picker = Picker(ports)
        self.peeler = Peeler(self.picker.may_matter)
        self.records = Records(texts, messages)
        self.streams = Streams(ports, connections, wanted, self._take)
        self._segments = 0

    def _take(self, item: Message | Trouble) -> None:
        self.records.take(item)

    def fill(self, packets: Iterator[tuple[PacketFile, int, int, int, bytes]]) -> bool:
        """Read packets until there is enough of them, or of what they hold. True at the end of the files."""
        for count, (file, frame, time_ns, link, data) in enumerate(packets, start=1):
            segment = self.peeler.segment(file.facts.capture_no, frame, time_ns, link, data)
            if segment is not None:
                is_wanted, told = self.picker.pick(segment)
                if is_wanted:
                    file.facts.smb_packets += 1
                    self._segments += 1
                    self.streams.feed(segment, told)
            if (
                count >= WINDOW_PACKETS
                or len(self.records.messages) >= WINDOW_MESSAGES
                or len(self.records.arena) >= WINDOW_BYTES
            ):
                self.streams.finish_over()
                return False
        self.streams.finish_over(everything=True)
        return True

    def hand_over(self) -> Batch:
        """What was read since the last time."""
        batch = self.records.batch(self.streams.begun, self.streams.ended)
        self.records = Records(self.records.texts, self.records.message_no)
        self.streams.begun, self.streams.ended = [], []
        return batch

    def counts(self) -> dict[str, int]:
        return {
            **self.peeler.counts,
            "smb_segments": self._segments,
            "duplicate_packets": self.picker.duplicates,
            "connections_let_go": self.streams.let_go,
        }
