"""Capture files to TCP segments, read and peeled by scapy.

Scapy's readers (`RawPcapReader`, which is `RawPcapNgReader` for that format) take the packets out of the file, its layers
peel link, tunnels and IP down to TCP (`stop_dissection_after`). What is shared with the native engine: that files are
opened and unpacked (`capture.source`), and the names of link types. What scapy lacks and is done here: it does not tell
that a file ends inside a packet, and its defragmentation gives a packet up whose last fragment does not come last.

Most packets of a large capture are not SMB. Of plain Ethernet the fixed places of the headers are looked at first, to
pass over those packets that cannot matter. Of the rest, what is nothing but IP and TCP behind Ethernet is read header by
header; everything else is dissected as a whole.
"""

from __future__ import annotations

import heapq
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any

import scapy.contrib.erspan
import scapy.contrib.etherip
import scapy.contrib.geneve
import scapy.contrib.gtp
import scapy.contrib.mpls
import scapy.layers.dot11
import scapy.layers.inet6
import scapy.layers.ipsec
import scapy.layers.ppp
import scapy.layers.vxlan  # noqa: F401 - these register link types and tunnels
from scapy.config import conf
from scapy.fields import StrFixedLenField
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Packet, bind_layers
from scapy.utils import RawPcapReader

from analyzer.capture import foreign, links, pcap, pcapng
from analyzer.capture.packets import MAX_PACKET
from analyzer.capture.reader import FileFacts
from analyzer.capture.source import SNIFF_SIZE, Source, Spool, open_source
from analyzer.engines.scapy_layers import Fields, IPv4Header, IPv6Header, TcpHeader, reader
from analyzer.errors import CaptureError


class WccpRedirect(Packet):
    """What WCCP 2 puts between GRE and the IP packet that it redirects."""

    name = "WCCP redirect header"
    fields_desc = [StrFixedLenField("Header", b"", length=4)]  # noqa: RUF012 - this is how scapy's layers are written


bind_layers(GRE, WccpRedirect, proto=0x883E)
bind_layers(WccpRedirect, IP)

End = tuple[bytes, int]
"""Address (16 bytes, IPv4 as ::ffff:a.b.c.d) and port."""

LINK_ETHERNET = 1
ETHERNET_HEADER, IPV4_HEADER, IPV6_HEADER, TCP_HEADER = 14, 20, 40, 20
"""Bytes of headers without options."""
IP_MORE = 1
"""The flag of a fragment that is not the last, as scapy counts them."""
TCP_NUMBER = 6
TUNNEL_PORTS = (4789, 8472, 6081, 2152)
"""UDP ports of VXLAN, Geneve and GTP-U, which scapy has layers for."""
MAX_LAYERS = 32
MAX_BLOCK = 16 * 1024 * 1024
"""Bytes that are read at once: a block of pcapng, with its options."""
MAX_FRAGMENTED = 1024
MAX_FRAGMENTS = 128
"""Packets that wait for their fragments, and fragments of one."""
V4_MAPPED = bytes(10) + b"\xff\xff"
_read_ipv4, _read_ipv6, _read_tcp = reader(IPv4Header), reader(IPv6Header), reader(TcpHeader)


@dataclass(slots=True)
class Segment:
    """A TCP segment. size: its payload on the wire, of which `data` was captured."""

    time_ns: int
    capture_no: int
    frame: int
    source: End
    target: End
    seq: int
    ack: int
    flags: int
    size: int
    data: bytes
    mark: tuple[Any, ...]
    """What copies of the packet share besides: IP identification, window and options."""


class _Bytes:
    """What scapy's readers read from: notes where the file ended inside what was asked for."""

    name = "capture"

    def __init__(self, head: bytes, source: Source) -> None:
        self._head = head
        self._source = source
        self.offset = 0
        self.missing = 0  # bytes that were asked for last and not there
        self.asked = 0

    def read(self, size: int) -> bytes:
        if size > MAX_BLOCK:
            raise CaptureError(self._source.capture, f"a block of {size:,} bytes is not believable", self.offset)
        taken, self._head = self._head[:size], self._head[size:]
        if len(taken) < size:
            room = bytearray(size - len(taken))
            found = self._source.fill(memoryview(room))
            taken += bytes(room[:found])
        self.offset += len(taken)
        self.missing = size - len(taken)
        self.asked = size
        return taken

    def close(self) -> None:
        self._source.close()


class PacketFile:
    """A capture file. Its first error ends it and is noted in `facts`."""

    def __init__(self, capture: str, capture_no: int, spool: Spool | None) -> None:
        self.facts = FileFacts(capture=capture, capture_no=capture_no)
        self._source: Source | None = None
        self._spool = spool
        self._links: set[int] = set()
        self._reader: Any = None

    @property
    def consumed(self) -> int:
        """Bytes of the file on disk that have been read."""
        return self._source.consumed if self._source else 0

    def packets(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Each packet: frame, time in nanoseconds, link type, bytes."""
        facts = self.facts
        try:
            reader, file = self._open()
            is_new = facts.format.startswith("pcapng")
            while True:
                begin = file.offset
                try:
                    data, told = reader._read_packet(MAX_PACKET)
                except EOFError:
                    # Pcapng may have blocks behind the last packet, which each begin with four bytes that say their type.
                    is_between = file.missing == file.asked and ((is_new and file.asked == 4) or file.offset == begin)
                    if file.missing and not is_between:
                        raise CaptureError(facts.capture, self._ends_inside(file, begin), begin) from None
                    break
                except (struct.error, ValueError, IndexError, KeyError, TypeError, AttributeError) as problem:
                    reason = f"scapy cannot read what follows packet {facts.packets:,}: {problem}"
                    raise CaptureError(facts.capture, reason, begin) from problem
                if file.missing:
                    raise CaptureError(facts.capture, self._ends_inside(file, begin), begin)
                link, time_ns = _link_and_time(reader, told)
                if getattr(told, "caplen", 0) > MAX_PACKET:
                    reason = f"the record after packet {facts.packets:,} claims an impossible length of {told.caplen:,} bytes"
                    raise CaptureError(facts.capture, reason, begin)
                self._links.add(link)
                facts.packets += 1
                facts.bytes += len(data)
                facts.truncated_packets += told.wirelen > len(data)
                time_ns = time_ns if time_ns > 0 else facts.last_ns
                if time_ns > 0:
                    facts.first_ns = min(facts.first_ns or time_ns, time_ns)
                    facts.last_ns = max(facts.last_ns, time_ns)
                yield facts.packets, time_ns, link, data
        except CaptureError as problem:
            facts.errors.append(str(problem))
        finally:
            self.close()

    def close(self) -> None:
        """Close the file and complete what is known of it."""
        if self._source is not None:
            self._source.close()
        for interface in getattr(self._reader, "interfaces", ()):
            self.facts.snaplen = max(self.facts.snaplen, interface[1])
        self.facts.link_type = ", ".join(links.NAMES.get(link, f"link type {link}") for link in sorted(self._links))

    def _open(self) -> tuple[Any, _Bytes]:
        facts = self.facts
        source = self._source = open_source(facts.capture, self._spool)
        room = bytearray(SNIFF_SIZE)
        head = bytes(room[: source.fill(memoryview(room))])
        if not head:
            raise CaptureError(facts.capture, "the file is empty")
        is_old, is_new = pcap.sniff(head), pcapng.sniff(head)
        if not is_old and not is_new:
            if known := foreign.what_it_is(head, source.compression):
                raise CaptureError(facts.capture, known)
            inside = f", inside {source.compression}," if source.compression else ""
            raise CaptureError(facts.capture, f"is no capture file: it begins with {head[:8].hex(' ')}{inside}", 0)
        facts.format = "pcapng" if is_new else "pcap"
        file = _Bytes(head, source)
        try:
            reader: Any = RawPcapReader(file)  # type: ignore[arg-type] # or the one for pcapng, as the first bytes say
        except Exception as problem:  # of whatever kind: scapy names none
            raise CaptureError(facts.capture, f"scapy cannot read this kind of file: {problem}", 0) from problem
        self._reader = reader
        if is_old:
            facts.snaplen = reader.snaplen
            if reader.nano:
                facts.format += ", nanoseconds"
            self._links.add(reader.linktype & 0xFFFF)
        if source.compression:
            facts.format += f", {source.compression}"
        return reader, file

    def _ends_inside(self, file: _Bytes, begin: int) -> str:
        there = file.offset - begin
        needed = there + file.missing
        return (
            f"the file ends inside the record after packet {self.facts.packets:,}: "
            f"{needed:,} bytes needed, {there:,} there"
        )


def _link_and_time(reader: Any, told: Any) -> tuple[int, int]:
    if hasattr(told, "sec"):
        return reader.linktype & 0xFFFF, told.sec * 10**9 + told.usec * (1 if reader.nano else 1000)
    if told.tshigh is None:
        return told.linktype, 0
    return told.linktype, ((told.tshigh << 32) + told.tslow) * 10**9 // told.tsresol


def in_order(files: list[tuple[int, PacketFile]]) -> Iterator[tuple[PacketFile, int, int, int, bytes]]:
    """The packets of several files as one capture: by time, while each file keeps its own order.

    files: with the times of their first packets, in that order. Files are opened when those before have come so far.
    """
    waiting = files[::-1]
    heap: list[tuple[int, int, PacketFile, tuple[int, int, int, bytes], Iterator[tuple[int, int, int, bytes]]]] = []

    def add(number: int, file: PacketFile, packets: Iterator[tuple[int, int, int, bytes]], clock: int) -> None:
        packet = next(packets, None)
        if packet is not None:
            heapq.heappush(heap, (max(clock, packet[1]), number, file, packet, packets))

    number = 0
    while waiting or heap:
        while waiting and (not heap or waiting[-1][0] <= heap[0][0]):
            _, file = waiting.pop()
            add(number, file, file.packets(), 0)
            number += 1
        if heap:
            clock, place, file, packet, packets = heapq.heappop(heap)
            yield file, *packet
            add(place, file, packets, clock)


class Peeler:
    """Packets to TCP segments. wanted: told both ports, TCP flags and what there is of the payload."""

    def __init__(self, wanted: Callable[[int, int, int, bytes], bool]) -> None:
        self._wanted = wanted
        self._fragments: OrderedDict[tuple[Any, ...], dict[int, tuple[bytes, bool]]] = OrderedDict()
        self.counts = dict.fromkeys(
            (
                "tcp_segments",
                "ip_fragments",
                "fragments_given_up",
                "packets_too_deep",
                "unknown_link_packets",
                "bad_packets",
            ),
            0,
        )

    def segment(self, capture_no: int, frame: int, time_ns: int, link: int, data: bytes) -> Segment | None:
        """The segment in a packet, None if there is none that matters."""
        if link == LINK_ETHERNET and not self._may_matter(data):
            return None
        layer = conf.l2types.num2layer.get(link)
        if layer is None:
            self.counts["unknown_link_packets"] += 1
            return None
        if link == LINK_ETHERNET and (network := _network(data[:ETHERNET_HEADER])) is not None:
            layer, data = network, data[ETHERNET_HEADER:]
            if (plain := _plain_tcp(layer is IP, data)) is not None:
                return self._made(*plain, capture_no, frame, time_ns)
        try:
            return self._peel(layer(data, stop_dissection_after=TCP), capture_no, frame, time_ns)
        except Exception:  # scapy raises whatever a hostile packet makes it stumble over
            self.counts["bad_packets"] += 1
            return None

    def _may_matter(self, data: bytes) -> bool:
        """False for plain TCP and UDP over Ethernet that is none of SMB's: by the fixed places of the headers."""
        kind = data[12:14]
        if kind == b"\x08\x00":
            header = (data[14] & 15) * 4 if len(data) > 34 else 0
            if header < 20 or data[20] & 0x3F or data[21]:
                return True
            protocol, at = data[23], ETHERNET_HEADER + header
        elif kind == b"\x86\xdd" and len(data) > 54:
            protocol, at = data[20], ETHERNET_HEADER + 40
        else:
            return kind != b"\x08\x06"
        if protocol not in (6, 17) or at + 14 > len(data):
            return True
        source, target = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
        if protocol == 17:
            return source in TUNNEL_PORTS or target in TUNNEL_PORTS
        payload = at + (data[at + 12] >> 4) * 4
        return self._wanted(source, target, data[at + 13], data[payload : payload + 8])

    def _peel(self, packet: Any, capture_no: int, frame: int, time_ns: int, network: Any = None) -> Segment | None:
        """network: the IP header of a packet that came in fragments; `packet` is what they held."""
        is_whole = network is not None
        headers = 0  # bytes from the IP header to what is looked at
        layer = packet
        for _ in range(MAX_LAYERS):
            kind = type(layer)
            if kind is TCP:
                stated = _stated_size(network) if network is not None and not is_whole else 0
                # 0: the network card was to cut it (TCP segmentation offload).
                total = stated - headers if stated else len(layer.original)
                if network is None:
                    return None
                identity = network.id if type(network) is IP else 0
                ends = network.src, network.dst
                return self._made(ends, identity, layer.fields, layer.original, total, capture_no, frame, time_ns)
            if kind is IP:
                network, headers, is_whole = layer, -_padding(layer), False
                if layer.frag or layer.flags.MF:
                    size = max(0, (layer.len or 0) - layer.ihl * 4)
                    key = (layer.src, layer.dst, layer.id, layer.proto)
                    whole = self._gathered(key, layer.frag * 8, _content(layer)[:size], bool(layer.flags.MF))
                    return self._rest(IP(proto=layer.proto), network, whole, capture_no, frame, time_ns)
            elif kind is IPv6:
                network, headers, is_whole = layer, -_padding(layer), False
            elif kind is IPv6ExtHdrFragment and network is not None and (layer.offset or layer.m):
                key = (network.src, network.dst, layer.id, layer.nh)
                whole = self._gathered(key, layer.offset * 8, _content(layer), bool(layer.m))
                return self._rest(IPv6(nh=layer.nh), network, whole, capture_no, frame, time_ns)
            following = layer.payload
            if not following:
                return None
            headers += len(layer.original) - len(following.original)
            layer = following
        self.counts["packets_too_deep"] += 1
        return None

    def _gathered(self, key: tuple[Any, ...], offset: int, data: bytes, more: bool) -> bytes | None:
        """What a packet holds once all its fragments are there."""
        self.counts["ip_fragments"] += 1
        parts = self._fragments.setdefault(key, {})
        parts.setdefault(offset, (data, more))
        if len(parts) > MAX_FRAGMENTS:
            self.counts["fragments_given_up"] += len(self._fragments.pop(key))
            return None
        if len(self._fragments) > MAX_FRAGMENTED:
            self.counts["fragments_given_up"] += len(self._fragments.popitem(last=False)[1])
        whole = b""
        for place in sorted(parts):
            part, goes_on = parts[place]
            if place != len(whole):
                return None  # a hole, or fragments that contradict each other
            whole += part
            if not goes_on:
                del self._fragments[key]
                return whole
        return None

    def _rest(
        self, header: Any, network: Any, whole: bytes | None, capture_no: int, frame: int, time_ns: int
    ) -> Segment | None:
        """What is in a packet that came in fragments. header: one that says what follows."""
        if whole is None:
            return None
        inside = header.guess_payload_class(whole)(whole, stop_dissection_after=TCP)
        return self._peel(inside, capture_no, frame, time_ns, network)

    def _made(
        self, ends: tuple[str, str], identity: int, tcp: dict[str, Any], packet: bytes, total: int,
        capture_no: int, frame: int, time_ns: int,
    ) -> Segment | None:  # fmt: skip
        """ends: addresses of sender and receiver. identity: that of the IP packet, 0: none. packet: TCP header and payload,
        which had `total` bytes on the wire."""
        header = tcp["dataofs"] * 4
        if header < TCP_HEADER or total < header:
            self.counts["bad_packets"] += 1
            return None
        self.counts["tcp_segments"] += 1
        data = packet[header:total]
        source, target, flags = tcp["sport"], tcp["dport"], int(tcp["flags"])
        if not self._wanted(source, target, flags, data):
            return None
        mark = (identity, tcp["window"], packet[TCP_HEADER:header], 0 if identity else hash(data))
        return Segment(
            time_ns, capture_no, frame, (_packed(ends[0]), source), (_packed(ends[1]), target),
            tcp["seq"], tcp["ack"], flags, total - header, data, mark,
        )  # fmt: skip


def _plain_tcp(is_ipv4: bool, data: bytes) -> tuple[tuple[str, str], int, Fields, bytes, int] | None:
    """What `Peeler._made` is told of an IP packet: None if it holds anything but whole headers of IP and TCP."""
    size = IPV4_HEADER if is_ipv4 else IPV6_HEADER
    if len(data) < size + TCP_HEADER:
        return None
    if is_ipv4:
        ip = _read_ipv4(data[:size])
        identity, stated, protocol = ip["id"], ip["len"], ip["proto"]
        if ip["ihl"] * 4 != size or ip["flags"] & IP_MORE or ip["frag"]:
            return None
    else:
        ip = _read_ipv6(data[:size])
        identity, stated, protocol = 0, ip["plen"] + size, ip["nh"]
    if protocol != TCP_NUMBER or stated < size + TCP_HEADER:
        return None
    packet = data[size:stated]
    if len(packet) < TCP_HEADER:
        return None
    tcp = _read_tcp(packet[:TCP_HEADER])
    if tcp["dataofs"] * 4 > len(packet):
        return None
    return (ip["src"], ip["dst"]), identity, tcp, packet, stated - size


@lru_cache(maxsize=4096)
def _network(header: bytes) -> type[Packet] | None:
    """The layer behind an Ethernet header if that is IP: most packets have a header that another had before."""
    if len(header) < ETHERNET_HEADER:
        return None
    layer = Ether(header)
    found: type[Packet] = layer.guess_payload_class(b"")
    return found if type(layer) is Ether and found in (IP, IPv6) else None


def _stated_size(network: Any) -> int:
    """Bytes of an IP packet by its own header, 0 if that does not say."""
    if type(network) is IP:
        return int(network.len or 0)
    return int(network.plen) + 40 if network.plen else 0


def _padding(network: Any) -> int:
    """Bytes behind an IP packet that fill its frame up."""
    stated = _stated_size(network)
    return max(0, len(network.original) - stated) if stated else 0


def _content(layer: Any) -> bytes:
    """The bytes behind a header."""
    content: bytes = layer.payload.original if layer.payload else b""
    return content


@lru_cache(maxsize=16_384)
def _packed(address: str) -> bytes:
    return inet_pton(AF_INET6, address) if ":" in address else V4_MAPPED + inet_pton(AF_INET, address)
