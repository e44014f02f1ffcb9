#!/usr/bin/env python3
"""Write a large capture for benchmarks: recorded SMB sessions, replayed many times with numbers of their own.

    python tests/benchmarks/generate.py chatter 1G chatter-1G.pcap
    python tests/benchmarks/generate.py transfer 400M transfer-400M.pcap --seed 2

The same arguments and the same recorded captures give the same bytes. README.md in this folder says what each kind is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from conversations import (
    BODY_BYTES,
    Conversation,
    broken_off,
    control,
    other_traffic,
    transfer,
    transfer_places,
)
from logins import count_sessions
from recorded import Template, read_folders
from replay import LATE, LOST, Library, Written, plan_connections, write
from scripts import Script, Style, play

RECORDED = Path(__file__).resolve().parents[2] / "captures"
MOST_CONNECTIONS = 500_000
UNITS = {"K": 10**3, "M": 10**6, "G": 10**9}

CHATTER_PACKET = 185  # bytes in the file, on average
CHATTER_CONNECTION = 9_500  # at most, on average
SMALLEST_TRANSFER, TRANSFER_CONNECTION, LARGEST_TRANSFER = 64_000, 4_000_000, 16_000_000  # bytes, on average
TRANSFER_SCRIPTS = 24
OFFLOAD = 0.011  # of the segments; packets are 1,100 to 1,250 bytes long then, acknowledgements included
SERVERS_OF_FILES, SERVERS_OF_OTHERS = 0, 1


@dataclass(frozen=True, slots=True)
class Group:
    """Scripts that share a part of the file."""

    scripts: list[Script]
    prior: np.ndarray
    """How often each is to be used, before sizes are looked at."""
    size: float
    """Bytes of the file."""
    servers: int
    connection: float = 0.0
    """Bytes of a connection on average; 0: as it comes."""
    packet: float = 0.0
    """Bytes of a packet on average; 0: as it comes."""


@dataclass(frozen=True, slots=True)
class Source:
    """What all kinds are made from."""

    templates: list[Template]
    bodies: bytes
    rng: np.random.Generator


# --- the kinds -----------------------------------------------------------------------------------------------------


def chatter(source: Source, size: float, connections: int | None) -> list[Group]:
    """Session setups, tree connects, pipe opens and calls."""
    return [_control_group(source, size, connections)]


def transfer_mostly(source: Source, size: float, connections: int | None) -> list[Group]:
    """File data, and one part in a hundred of control sessions."""
    few = _control_group(source, 0.01 * size, None)
    if connections is None:
        return [_transfer_group(source, 0.99 * size, None), few]
    count = max(1, min(connections // 2, round(few.size / few.connection)))
    few = replace(few, size=count * few.connection)
    return [_transfer_group(source, 0.99 * size, max(1, connections - count)), few]


def mixed(source: Source, size: float, connections: int | None) -> list[Group]:
    """Four parts in a hundred of SMB, half of it file data, among other traffic."""
    scripts = []
    for conversation in other_traffic(source.rng, source.bodies):
        scripts += _played(conversation, [Style(0.3, merge=0.3), Style(0.6, timestamps=True)], source.rng)
    few, files = _control_group(source, 0.02 * size, None), _transfer_group(source, 0.02 * size, None)
    average = 0.0
    if connections is not None:
        of_smb = few.size / few.connection + files.size / np.mean([len(script.frames) for script in files.scripts])
        average = 0.96 * size / max(1, connections - of_smb)
    return [Group(scripts, np.ones(len(scripts)), 0.96 * size, SERVERS_OF_OTHERS, average), few, files]


KINDS: dict[str, Callable[[Source, float, int | None], list[Group]]] = {
    "transfer": transfer_mostly,
    "chatter": chatter,
    "mixed": mixed,
}


def _played(conversation: Conversation, styles: list[Style], rng: np.random.Generator) -> list[Script]:
    sessions = count_sessions(conversation.messages)
    return [replace(play(conversation, style, rng), sessions=sessions) for style in styles]


def _control_group(source: Source, size: float, connections: int | None) -> Group:
    """Each recorded session whole and broken off at two places, acknowledged eagerly, usually and hardly ever."""
    styles = [Style(pure_ack, timestamps=stamped) for pure_ack in (0.9, 0.5, 0.1) for stamped in (False, True)]
    scripts, prior = [], []
    for template in source.templates:
        whole = control(template)
        for conversation, weight in ((whole, 1.0), *((broken_off(whole, source.rng), 0.1) for _ in range(2))):
            scripts += _played(conversation, styles, source.rng)
            prior += [weight] * len(styles)
    weights = np.array(prior)
    usual = float(np.average([len(script.frames) for script in scripts], weights=weights))
    average = size / connections if connections else min(usual, CHATTER_CONNECTION)
    return Group(scripts, weights, size, SERVERS_OF_FILES, average, CHATTER_PACKET)


def _transfer_group(source: Source, size: float, connections: int | None) -> Group:
    """Sessions that move files, of sizes around the average; segments that were not cut yet carry a fifth of the bytes.

    Raises ValueError if so many connections cannot share the bytes.
    """
    average = size / connections if connections else np.clip(size / 30, SMALLEST_TRANSFER, TRANSFER_CONNECTION)
    if not SMALLEST_TRANSFER <= average <= LARGEST_TRANSFER:
        least, most = (f"{size / bound:,.0f}" for bound in (LARGEST_TRANSFER, SMALLEST_TRANSFER))
        raise ValueError(f"{size / 1e6:,.0f} MB of files take {least} to {most} connections, not {connections:,}")
    places = source.rng.permutation(np.array(transfer_places(source.templates), object))
    spread = np.geomspace(0.3, 2.4, TRANSFER_SCRIPTS)
    spread *= average / spread.mean()
    scripts = []
    for number, length in enumerate(source.rng.permutation(spread)):
        style = Style(0.5, merge=0.5, split=0.02, offload=OFFLOAD, timestamps=number % 2 == 1)
        conversation = transfer(places[number % len(places)], int(0.95 * length), source.bodies, source.rng)
        scripts += _played(conversation, [style], source.rng)
    return Group(scripts, np.ones(len(scripts)), size, SERVERS_OF_FILES, average if connections else 0.0)


# --- how often each script is replayed ------------------------------------------------------------------------------


def weigh(group: Group) -> np.ndarray:
    """Probabilities near the prior with which connections and packets have the averages that the group asks for.

    Of all such probabilities those of least relative entropy: prior times exp(a * bytes + b * packets). Newton's method
    on the convex dual finds a and b. Where an average cannot be had, it ends as near as the steps reach.
    """
    sizes = np.array([len(script.frames) for script in group.scripts], float)
    packets = np.array([len(script.packets) for script in group.scripts], float)
    wanted = []
    if group.connection:
        wanted.append(sizes / group.connection - 1)
    if group.packet:
        wanted.append((packets * group.packet - sizes) / sizes.mean())
    probabilities = group.prior / group.prior.sum()
    if not wanted:
        return probabilities
    features = np.stack(wanted)
    factors = np.zeros(len(wanted))
    for _ in range(100):
        exponents = factors @ features
        probabilities = group.prior * np.exp(exponents - exponents.max())
        probabilities /= probabilities.sum()
        means = features @ probabilities
        spread = (features * probabilities) @ features.T - np.outer(means, means)
        factors -= np.clip(np.linalg.lstsq(spread + 1e-9 * np.eye(len(means)), means)[0], -1, 1)
    return probabilities


def draw(group: Group, rng: np.random.Generator) -> np.ndarray:
    """The scripts that make up the group's part of the file, at least one.

    Raises ValueError if no choice of scripts has connections of the size asked for.
    """
    sizes = np.array([len(script.frames) for script in group.scripts], float)
    probabilities = weigh(group)
    average = float(sizes @ probabilities)
    if group.connection and not 0.85 < average / group.connection < 1.15:
        raise ValueError(
            f"connections of {group.connection:,.0f} bytes on average cannot be had, only of {average:,.0f}: ask for "
            f"{'fewer' if average > group.connection else 'more'}"
        )
    count = round(group.size / (group.connection or average))
    chosen = rng.choice(len(sizes), max(1, int(1.2 * count) + 20), p=probabilities)
    if group.connection:
        return chosen[: max(1, count)]
    return chosen[: max(1, np.searchsorted(np.cumsum(sizes[chosen]), group.size))]


def generate(
    kind: str,
    size: float,
    path: Path,
    *,
    seed: int,
    connections: int | None,
    folders: list[Path],
    late: float = LATE,
    lost: float = LOST,
) -> Written:
    """Make one capture. Raises ValueError if the recorded sessions do not suffice."""
    rng = np.random.default_rng(seed)
    source = Source(read_folders(folders), rng.bytes(BODY_BYTES), rng)
    groups = KINDS[kind](source, size, connections)
    scripts: list[Script] = []
    chosen, servers = [], []
    for group in groups:
        picked = draw(group, rng)
        chosen.append(picked + len(scripts))
        servers.append(np.full(len(picked), group.servers))
        scripts += group.scripts
    library = Library.of(scripts)
    every = np.concatenate(chosen)
    rows = plan_connections(library, every, np.concatenate(servers), rng)
    counted = f"{len(source.templates)} recorded sessions, {len(scripts):,} scripts, {len(rows):,} connections"
    print(counted, file=sys.stderr)
    made = write(path, library, rows, rng, late, lost)
    made.sessions = int(np.array([script.sessions for script in scripts])[every].sum())
    return made


def described(made: Written) -> str:
    return (
        f"{made.bytes:,} bytes, {made.packets:,} packets ({made.bytes / made.packets:.0f} bytes on average), "
        f"{made.connections:,} connections with {made.sessions:,} sessions over {made.seconds:,.0f} s, "
        f"{made.lost:,} segments lost, {made.late:,} late"
    )


def parse_size(text: str) -> float:
    """Bytes from `400M`, `1.5G`; units are powers of ten."""
    number, unit = (text[:-1], UNITS.get(text[-1:].upper())) if not text[-1:].isdigit() else (text, 1)
    if unit is None or float(number) <= 0:
        raise ValueError(text)
    return float(number) * unit


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("size", type=parse_size, metavar="SIZE", help="about so many bytes: 400M, 1G, 8G")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--connections", type=int, metavar="N", help=f"how many, up to {MOST_CONNECTIONS:,}")
    parser.add_argument(
        "--late", type=float, default=LATE, metavar="SHARE", help="of the segments, out of order (0.01)"
    )
    parser.add_argument("--lost", type=float, default=LOST, metavar="SHARE", help="of the segments, missing (0.001)")
    parser.add_argument("--told", type=Path, metavar="FILE", help="write what is in the capture there, as JSON")
    parser.add_argument("--captures", type=Path, action="append", metavar="DIR", help="folders of recorded sessions")
    asked = parser.parse_args()
    if asked.connections is not None and not 1 <= asked.connections <= MOST_CONNECTIONS:
        parser.error(f"--connections: from 1 to {MOST_CONNECTIONS:,}")
    began = time.monotonic()
    try:
        made = generate(
            asked.kind, asked.size, asked.out,
            seed=asked.seed, connections=asked.connections, folders=asked.captures or [RECORDED],
            late=asked.late, lost=asked.lost,
        )  # fmt: skip
    except ValueError as error:
        parser.error(str(error))
    if asked.told:
        asked.told.write_text(json.dumps(asdict(made)) + "\n", encoding="utf-8")
    took = time.monotonic() - began
    print(f"{asked.out}: {described(made)}; took {took:.1f} s, {made.bytes / 1e6 / took:.0f} MB/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
