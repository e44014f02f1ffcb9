"""The picture of clients, their applications, what these use, and the servers: bands whose width counts relations.

A relation is a client, one of its applications, a resource and a server, however often it was used. Many clients are drawn
as their networks, and of each column only the nodes with most relations, with one more for all others.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from analyzer import tables
from analyzer.groups import Groups, Numbers
from analyzer.report.html.overview import Counted
from analyzer.report.html.words import count

TITLES = ("Clients", "Applications", "Pipes and shares", "Servers")
MOST_NODES = 14
"""Nodes of a column, with that of all others."""
FEWEST = 4
"""Networks of clients below which a coarser picture says nothing."""
MOST_TOLD = 40
"""Relations that are told as text below the picture."""
PREFIXES = ((24, 64), (16, 48), (8, 32))
"""Of IPv4 and IPv6: networks that clients are put together in, as far as need be."""

WIDTH = 1120
MARGIN = 185
"""For the names of the first and the last column."""
NODE = 9
GAP = 10
LEAST = 13
"""Height of a node at least: of a line of text."""
HEIGHT = 260
"""Of all bands together."""
TOP = 30
LONGEST = 28
SWEEPS = 4


@dataclass(slots=True)
class Node:
    """A box in a column. kind: `function`: what is done, since the application is not known; `rest`: all others."""

    name: str
    kind: str
    weight: int = 0
    x: float = 0.0
    y: float = 0.0
    height: float = 0.0

    @property
    def label(self) -> str:
        return self.name if len(self.name) <= LONGEST else f"{self.name[: LONGEST - 1]}…"


@dataclass(frozen=True, slots=True)
class Band:
    """From a node to one of the next column."""

    verdict: str
    outline: str
    told: str


class Relation(NamedTuple):
    """The node of each column, the verdict, and how many relations there are of this kind."""

    nodes: tuple[int, int, int, int]
    verdict: int
    size: int


@dataclass(frozen=True, slots=True)
class Flow:
    """The picture; and the largest relations in words, with how many kinds there are besides."""

    columns: list[list[Node]]
    bands: list[Band]
    told: list[tuple[list[str], str, int]]
    more: int
    total: int
    height: float
    note: str


def flow(counted: Counted) -> Flow | None:
    """None if there is nothing to draw."""
    rows = counted.in_the_way()
    if not len(rows["site"]):
        return None
    alike = Groups(*[rows[name] for name in ("site", "client_ip", "application", "function", "resource", "server_ip")])
    worst = alike.least(rows["verdict"])
    rows = {name: column[alike.first] for name, column in rows.items()}
    clients, note = _clients(counted, rows["client_ip"], rows["client"])
    named = (
        clients,
        _applications(counted, rows["application"], rows["function"]),
        [(counted.text(code) or "(login)", "") for code in rows["resource"].tolist()],
        _hosts(counted, rows["server_ip"], rows["server"]),
    )
    nouns = ("networks" if note else "clients", "applications", "pipes and shares", "servers")
    columns, places = zip(*(_column(names, noun) for names, noun in zip(named, nouns, strict=True)), strict=True)
    whole = Groups(*places, worst)
    relations = [
        Relation(tuple(int(place[row]) for place in places), int(worst[row]), size)  # type: ignore[arg-type] # of four
        for row, size in zip(whole.first.tolist(), whole.sizes().tolist(), strict=True)
    ]
    for relation in relations:
        for column, place in zip(columns, relation.nodes, strict=True):
            column[place].weight += relation.size
    total = sum(relation.size for relation in relations)
    height = _lay_out(columns, relations, HEIGHT / total)
    bands = list(_bands(columns, relations, HEIGHT / total))
    largest = sorted(relations, key=lambda relation: -relation.size)
    told = [
        (
            [column[place].name for column, place in zip(columns, relation.nodes, strict=True)],
            tables.VERDICT[relation.verdict],
            relation.size,
        )
        for relation in largest[:MOST_TOLD]
    ]
    return Flow(list(columns), bands, told, max(0, len(relations) - MOST_TOLD), total, height, note)


Name = tuple[str, str]
"""What a node is called, and its kind."""


def _clients(counted: Counted, ip: Numbers, name: Numbers) -> tuple[list[Name], str]:
    """Clients by name; or, if there are many, their networks, and a word on that."""
    different = np.unique(ip)
    if len(different) <= MOST_NODES:
        return _hosts(counted, ip, name), ""
    addresses = {code: counted.text(code) for code in different.tolist()}
    by_code: dict[int, str] = {}
    for prefix in PREFIXES:
        coarser = {code: _network(address, prefix) for code, address in addresses.items()}
        if by_code and len(set(coarser.values())) < FEWEST:
            break
        by_code = coarser
        if len(set(by_code.values())) <= MOST_NODES:
            break
    return [(by_code[code], "") for code in ip.tolist()], f"{len(different):,} clients are drawn as their networks."


def _network(address: str, prefix: tuple[int, int]) -> str:
    try:
        version = ipaddress.ip_address(address).version
        return str(ipaddress.ip_network(f"{address}/{prefix[version == 6]}", strict=False))
    except ValueError:
        return "address not known"


def _hosts(counted: Counted, ip: Numbers, name: Numbers) -> list[Name]:
    """Hosts by name, with the address where several have the same."""
    addresses: dict[int, set[int]] = defaultdict(set)
    pairs = list(zip(name.tolist(), ip.tolist(), strict=True))
    for called, address in pairs:
        addresses[called].add(address)
    found = []
    for called, address in pairs:
        spelt = counted.text(called)
        if spelt and len(addresses[called]) > 1:
            spelt = f"{spelt.partition('.')[0]} ({counted.text(address)})"
        found.append((spelt or counted.text(address), ""))
    return found


def _applications(counted: Counted, application: Numbers, function: Numbers) -> list[Name]:
    return [
        (counted.text(known), "") if known >= 0 else (counted.text(done) or "not known", "function")
        for known, done in zip(application.tolist(), function.tolist(), strict=True)
    ]


def _column(names: Sequence[Name], noun: str) -> tuple[list[Node], Numbers]:
    """The nodes of a column, and for each relation the place of its own among them."""
    largest = [name for name, _ in Counter(names).most_common()]
    drawn = largest if len(largest) <= MOST_NODES else largest[: MOST_NODES - 1]
    nodes = [Node(*name) for name in drawn]
    if len(largest) > len(drawn):
        nodes.append(Node(f"{len(largest) - len(drawn):,} more {noun}", "rest"))
    place = {name: number for number, name in enumerate(drawn)}
    return nodes, np.array([place.get(name, len(drawn)) for name in names])


def _lay_out(columns: Sequence[list[Node]], relations: Sequence[Relation], scale: float) -> float:
    """Give each node its place, so that few bands cross. Returns the height of all."""
    for column in columns:
        for node in column:
            node.height = max(LEAST, node.weight * scale)
    tall = max(sum(node.height + GAP for node in column) - GAP for column in columns)
    apart = (WIDTH - 2 * MARGIN - NODE) / (len(columns) - 1)
    orders = [list(range(len(column))) for column in columns]
    for number, column in enumerate(columns):
        _stack(column, orders[number], tall)
        for node in column:
            node.x = MARGIN + number * apart
    for sweep in range(SWEEPS):
        pairs = list(pairwise(range(len(columns))))
        for here, there in pairs if sweep % 2 == 0 else [(there, here) for here, there in reversed(pairs)]:
            pull: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
            for relation in relations:
                node = columns[here][relation.nodes[here]]
                pulled = pull[relation.nodes[there]]
                pulled[0] += relation.size * (node.y + node.height / 2)
                pulled[1] += relation.size
            column = columns[there]
            orders[there].sort(key=lambda place: (column[place].kind == "rest", pull[place][0] / pull[place][1]))
            _stack(column, orders[there], tall)
    return tall + 2 * TOP


def _stack(column: list[Node], order: Sequence[int], tall: float) -> None:
    """One below the other, in the middle."""
    y = TOP + (tall - sum(node.height + GAP for node in column) + GAP) / 2
    for place in order:
        column[place].y = y
        y += column[place].height + GAP


def _bands(columns: Sequence[list[Node]], relations: Sequence[Relation], scale: float) -> list[Band]:
    """The bands between each two columns, in the order of the nodes at both their ends."""
    found = []
    for left, right in pairwise(range(len(columns))):
        sizes: Counter[tuple[int, int, int]] = Counter()
        for relation in relations:
            sizes[relation.nodes[left], relation.nodes[right], relation.verdict] += relation.size
        begins = {place: _middle(node, scale) for place, node in enumerate(columns[left])}
        ends = {place: _middle(node, scale) for place, node in enumerate(columns[right])}
        at: dict[tuple[int, int, int], list[float]] = defaultdict(list)
        for key in sorted(sizes, key=lambda key: (columns[right][key[1]].y, key[2])):
            at[key].append(begins[key[0]])
            begins[key[0]] += sizes[key] * scale
        for key in sorted(sizes, key=lambda key: (columns[left][key[0]].y, key[2])):
            at[key].append(ends[key[1]])
            ends[key[1]] += sizes[key] * scale
        for (here, there, verdict), (y0, y1) in at.items():
            one, other = columns[left][here], columns[right][there]
            size = sizes[here, there, verdict]
            told = f"{one.name} to {other.name}: {count(size, 'relation')}, {tables.VERDICT[verdict]}"
            outline = _outline(one.x + NODE, y0, other.x, y1, max(1.0, size * scale))
            found.append(Band(tables.VERDICT[verdict], outline, told))
    return found


def _middle(node: Node, scale: float) -> float:
    """Where the bands of a node begin, that may be higher than they."""
    return node.y + (node.height - node.weight * scale) / 2


def _outline(x0: float, y0: float, x1: float, y1: float, thick: float) -> str:
    half = (x0 + x1) / 2
    return (
        f"M{x0:.1f} {y0:.1f}C{half:.1f} {y0:.1f} {half:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
        f"V{y1 + thick:.1f}C{half:.1f} {y1 + thick:.1f} {half:.1f} {y0 + thick:.1f} {x0:.1f} {y0 + thick:.1f}Z"
    )
