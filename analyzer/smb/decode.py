"""A window of selected messages to the record tables of a batch: the two SMB versions side by side."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from analyzer.records import BODIES, MESSAGE, Kind, Layer, Rows
from analyzer.smb import smb1, smb2
from analyzer.smb.window import Index, Window
from analyzer.transport.messages import (
    M_COMMAND,
    M_CONNECTION,
    M_FILE,
    M_FRAME,
    M_FROM_SERVER,
    M_MESSAGE,
    M_PLACE,
    M_POSITION,
    M_PROTOCOL,
    M_TIME,
    PROTOCOL_COMPRESSED,
    PROTOCOL_ENCRYPTED,
    PROTOCOL_SMB1,
    PROTOCOL_SMB2,
)

PARSERS = {PROTOCOL_SMB1: smb1.PARSERS, PROTOCOL_SMB2: smb2.PARSERS}


def new_messages(rows: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> Rows:
    """The table of messages with what does not depend on their protocol."""
    messages = np.zeros(len(rows), dtype=MESSAGE)
    messages["connection"] = rows[:, M_CONNECTION]
    messages["from_server"] = rows[:, M_FROM_SERVER] != 0
    messages["capture_no"] = rows[:, M_FILE]
    messages["frame"] = rows[:, M_FRAME]
    messages["time_ns"] = rows[:, M_TIME]
    messages["place"] = rows[:, M_PLACE]
    messages["message"] = rows[:, M_MESSAGE]
    messages["position"] = rows[:, M_POSITION]
    messages["kind"] = Kind.OTHER
    return messages


def decode(window: Window) -> dict[str, Rows]:
    """Fill `window.messages`; returns the tables of bodies. Rows that are no SMB message must not be in the window."""
    protocol = window.rows[:, M_PROTOCOL]
    smb1.parse_headers(window, np.flatnonzero(protocol == PROTOCOL_SMB1))
    smb2.parse_headers(window, np.flatnonzero(protocol == PROTOCOL_SMB2))
    encrypted = np.flatnonzero(protocol == PROTOCOL_ENCRYPTED)
    if len(encrypted):
        smb2.parse_encrypted(window, encrypted)
    compressed = np.flatnonzero(protocol == PROTOCOL_COMPRESSED)
    if len(compressed):
        window.tell(compressed, Layer.SMB2, "COMPRESSION_TRANSFORM_HEADER", 0, "compressed")
    parts: dict[str, list[Rows]] = {name: [np.empty(0, dtype=record)] for name, record in BODIES.items()}
    # One sort groups the messages by what reads them, in their order.
    group = (protocol << 17) | (window.rows[:, M_COMMAND] << 1) | window.rows[:, M_FROM_SERVER]
    order = np.argsort(group, kind="stable")
    bounds = np.flatnonzero(np.diff(group[order], prepend=-1))
    for begin, end in pairwise([*bounds.tolist(), len(order)]):
        which: Index = order[begin:end]
        first = window.rows[which[0]]
        readers = PARSERS.get(int(first[M_PROTOCOL]), {})
        parser = readers.get((int(first[M_COMMAND]), bool(first[M_FROM_SERVER])))
        if parser is not None:
            for name, made in parser(window, which).items():
                parts[name].append(made)
    return {name: _in_order(tables) for name, tables in parts.items()}


def _in_order(tables: list[Rows]) -> Rows:
    joined = np.concatenate(tables)
    return joined[np.argsort(joined["row"], kind="stable")] if len(tables) > 2 else joined


def token_places(window: Window, which: Index) -> tuple[Index, Index, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Where the security blobs of session setups lie: arena offsets, ends, and whether bytes are missing."""
    start = np.zeros(len(which), dtype=np.int64)
    end = np.zeros(len(which), dtype=np.int64)
    cut = np.zeros(len(which), dtype=bool)
    for protocol, module in ((PROTOCOL_SMB1, smb1), (PROTOCOL_SMB2, smb2)):
        chosen = np.flatnonzero(window.rows[which, M_PROTOCOL] == protocol)
        if len(chosen):
            start[chosen], end[chosen], cut[chosen] = module.token_places(window, which[chosen])
    return start, end, cut
