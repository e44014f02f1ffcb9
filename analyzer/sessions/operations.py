"""What calls are called, and how they came out.

A call has a status on one of several rungs: the SMB request that carried it, an RPC fault, the last four bytes of the
answer where the operation returns a status, RAP's own code. Which codes mean that access was refused is in the table of
statuses; every other answer means that the service was reached.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import cache

import numpy as np
import numpy.typing as npt

from analyzer import knowledge
from analyzer.compiled import Ints
from analyzer.records import CallProtocol, Rows
from analyzer.rpc.pipes import (
    RESULT_DONE,
    RESULT_FAULT,
    RESULT_NONE,
    RESULT_SEALED,
    RESULT_SHORT,
    RESULT_SMB,
    RESULT_UNREADABLE,
    Interface,
)
from analyzer.sessions.joins import NONE, first_of, is_in, one_of, places_of
from analyzer.wire.texts import MISSING, Texts

Mask = npt.NDArray[np.bool_]


class Returns(IntEnum):
    """What the last four bytes of an operation's answer are."""

    UNKNOWN = 0
    NT = 1
    WERR = 2
    HRESULT = 3
    NONE = 4


class CallStatus(IntEnum):
    """What a call's code is a code of, and on which rung it was given."""

    MISSING = 0  # no answer, or no code in it
    SMB = 1  # NT status of the SMB answer
    DOS = 2
    RAP = 3
    FAULT = 4
    NT = 5  # of the answer's stub
    WERR = 6
    HRESULT = 7


KINDS = ("", "nt", "dos", "win32", "fault", "nt", "werr", "hresult")
"""The kinds of codes in the table of statuses."""
RUNGS = ("", "call", "call", "call", "fault", "stub", "stub", "stub")

_RETURNS = {"nt": Returns.NT, "win32": Returns.WERR, "hresult": Returns.HRESULT, "none": Returns.NONE}
_OF_RETURNS = np.array([CallStatus.MISSING, CallStatus.NT, CallStatus.WERR, CallStatus.HRESULT, CallStatus.MISSING])


_HIDDEN = (RESULT_DONE, RESULT_SHORT, RESULT_SEALED, RESULT_UNREADABLE, RESULT_FAULT)
"""Answered; where there is no code, it is not told how."""


class CallResult(IntEnum):
    """How a call came out."""

    UNANSWERED = 0
    WORKED = 1
    FAILED = 2  # answered with an error that is no refusal of access
    REFUSED = 3
    NOT_TOLD = 4  # answered, and how is not visible


@cache
def _by_major() -> dict[tuple[str, str, int], tuple[str, Returns, str]]:
    """Name, result and class of operations by UUID, major version and number."""
    found: dict[tuple[str, str, int], tuple[str, Returns, str]] = {}
    for row in knowledge.rpc_operations():
        key = (row["uuid"], row["version"].partition(".")[0], int(row["opnum"]))
        # Taken for a status, other bytes could say "denied" of what worked: only what two sources agree on decides.
        returns = _RETURNS.get(row["returns"], Returns.UNKNOWN) if row["confidence"] == "high" else Returns.UNKNOWN
        found.setdefault(key, (row["name"], returns, row["class"]))
    return found


class Operations:
    """The operations of the interfaces of a run, each looked up once."""

    def __init__(self, texts: Texts, interfaces: Callable[[], list[Interface]]) -> None:
        self._texts = texts
        self._interfaces = interfaces
        self._listed: list[Interface] = []
        self._known: dict[int, tuple[int, int, int, int]] = {}

    def look_up(
        self, interface: npt.NDArray[np.generic], opnum: npt.NDArray[np.generic]
    ) -> tuple[Ints, Ints, Ints, Ints]:
        """For each operation: code of its interface's name, of its own, what it returns (`Returns`), code of its class.

        An interface that has no known name is called by its UUID, an operation by its number; what is missing (-1) stays so.
        """
        wanted = (interface.astype(np.int64) << 20) | (opnum.astype(np.int64) + 1)
        different, place = np.unique(wanted, return_inverse=True)
        if len(different) and int(different[-1] >> 20) >= len(self._listed):
            self._listed = self._interfaces()
        for key in different.tolist():
            if key not in self._known:
                self._known[key] = self._describe(key >> 20, (key & 0xFFFFF) - 1)
        found = np.array([self._known[key] for key in different.tolist()], dtype=np.int64).reshape(len(different), 4)
        names, operations, returns, classes = found[place.reshape(-1)].T
        return names, operations, returns, classes

    def _describe(self, number: int, opnum: int) -> tuple[int, int, int, int]:
        texts = self._texts
        operation = MISSING if opnum < 0 else texts.code(f"opnum {opnum}")
        if number < 0:
            return MISSING, operation, Returns.UNKNOWN, MISSING
        interface = self._listed[number]
        name = texts.code(interface.name or interface.uuid)
        known = _by_major().get((interface.uuid, interface.version.partition(".")[0], opnum))
        if known is None:
            return name, operation, Returns.UNKNOWN, MISSING
        return name, texts.code(known[0]), known[1], texts.code(known[2])


def statuses(calls: Rows, returns: Ints) -> tuple[Ints, Ints]:
    """For each call (`CALL`) its code, `NONE` if there is none, and what it is a code of (`CallStatus`).

    returns: of DCE/RPC calls, see `Operations.look_up`.
    """
    is_rpc = calls["protocol"] == CallProtocol.DCERPC.value
    status, code = calls["status"].astype(np.int64), calls["code"].astype(np.int64)
    own = ~is_rpc & (code >= 0) & (status == 0)
    of_smb = np.where(calls["dos_status"], CallStatus.DOS.value, CallStatus.SMB.value)
    kind = np.where(own, CallStatus.RAP.value, of_smb)
    value = np.where(own, code, status)
    result = calls["result"]
    rpc_kind = np.where(result == RESULT_DONE, _OF_RETURNS[returns], CallStatus.MISSING.value)
    rpc_kind[result == RESULT_FAULT] = CallStatus.FAULT
    rpc_kind = np.where(result == RESULT_SMB, of_smb, rpc_kind)
    kind = np.where(is_rpc, rpc_kind, kind)
    value = np.where(is_rpc, code, value)
    kind[value < 0] = CallStatus.MISSING
    return np.where(kind == CallStatus.MISSING.value, NONE, value), kind


def results(calls: Rows, returns: Ints) -> npt.NDArray[np.int64]:
    """How each call (`CALL`) came out (`CallResult`)."""
    code, kind = statuses(calls, returns)
    is_rpc = calls["protocol"] == CallProtocol.DCERPC.value
    success = (
        (code == 0)
        | ((kind == CallStatus.NT.value) & (code < 0x80000000))
        | ((kind == CallStatus.WERR.value) & (code == 234))
    )
    # STATUS_BUFFER_OVERFLOW, ERRDOS more data, ERROR_MORE_DATA: there is more than was asked for.
    success |= ((kind == CallStatus.SMB.value) & (code == 0x80000005)) | (
        (kind == CallStatus.DOS.value) & (code == 0xEA0001)
    )
    success |= (kind == CallStatus.RAP.value) & (code == 234)
    success |= (kind == CallStatus.HRESULT.value) & (code < 0x80000000)
    refused = np.zeros(len(code), dtype=bool)
    for number in range(1, len(KINDS)):
        which = places_of(kind == number)
        if len(which):
            refused[which] = is_in(code[which], _refusals(KINDS[number], RUNGS[number]))
    result = calls["result"]
    done = is_rpc & one_of(result, (RESULT_DONE, RESULT_SHORT))
    void = done & (returns == Returns.NONE.value)
    hidden = is_rpc & one_of(result, _HIDDEN)
    unanswered = np.where(is_rpc, result == RESULT_NONE, calls["status"] < 0)
    told = kind != CallStatus.MISSING.value
    return first_of(
        (unanswered, CallResult.UNANSWERED),
        (refused, CallResult.REFUSED),
        (told & success, CallResult.WORKED),
        (told, CallResult.FAILED),
        (void, CallResult.WORKED),
        (hidden, CallResult.NOT_TOLD),
        default=CallResult.UNANSWERED,
    )


@cache
def _refusals(kind: str, rung: str) -> npt.NDArray[np.int64]:
    codes = sorted(code for k, code in knowledge.refusals(rung) if k == kind)
    return np.array(codes, dtype=np.int64)
