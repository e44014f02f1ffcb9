"""How calls come out, whatever gave their status."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analyzer.compiled import plain_kernels
from analyzer.records import CallProtocol, Rows
from analyzer.rpc import pipes as rpc
from analyzer.rpc.pipes import Interface
from analyzer.sessions.operations import CallResult, CallStatus, Operations, Returns, results, statuses
from analyzer.sessions.state import CALL
from analyzer.wire.texts import MISSING, Texts
from tests import pdus

ACCESS_DENIED = {"nt": 0xC0000022, "win32": 5, "hresult": 0x80070005, "fault": 5}


def call(**told: Any) -> Rows:
    """One call."""
    rows = np.zeros(1, dtype=CALL)
    for name in ("status", "code", "name", "open", "pipe", "interface", "answer_frame"):
        rows[name] = -1
    for name, value in told.items():
        rows[name] = value
    return rows


def rpc_call(result: int, code: int = -1, **told: Any) -> Rows:
    """One through a pipe."""
    return call(protocol=CallProtocol.DCERPC, result=result, code=code, **told)


def outcome(rows: Rows, returns: Returns = Returns.UNKNOWN) -> tuple[str, str, int]:
    """Result, kind of status, status."""
    all_returns = np.full(len(rows), returns, dtype=np.int64)
    code, kind = statuses(rows, all_returns)
    return CallResult(results(rows, all_returns)[0]).name, CallStatus(kind[0]).name, int(code[0])


@pytest.mark.parametrize(
    ("returns", "code", "result", "kind"),
    [
        (Returns.NT, 0, "WORKED", "NT"),
        (Returns.NT, 0x00000105, "WORKED", "NT"),  # STATUS_MORE_ENTRIES
        (Returns.NT, 0x00000107, "WORKED", "NT"),  # STATUS_SOME_NOT_MAPPED
        (Returns.NT, 0x8000001A, "FAILED", "NT"),  # STATUS_NO_MORE_ENTRIES: an answer, not a refusal
        (Returns.NT, 0xC0000073, "FAILED", "NT"),  # STATUS_NONE_MAPPED
        (Returns.NT, 0xC00000DF, "FAILED", "NT"),  # STATUS_NO_SUCH_DOMAIN
        (Returns.NT, 0xC0000022, "REFUSED", "NT"),
        (Returns.WERR, 0, "WORKED", "WERR"),
        (Returns.WERR, 234, "WORKED", "WERR"),  # ERROR_MORE_DATA
        (Returns.WERR, 5, "REFUSED", "WERR"),
        (Returns.WERR, 124, "FAILED", "WERR"),  # ERROR_INVALID_LEVEL
        (Returns.WERR, 2123, "FAILED", "WERR"),  # NERR_BufTooSmall
        (Returns.HRESULT, 0, "WORKED", "HRESULT"),
        (Returns.HRESULT, 1, "WORKED", "HRESULT"),  # S_FALSE
        (Returns.HRESULT, 0x80070005, "REFUSED", "HRESULT"),
        (Returns.HRESULT, 0x80004005, "FAILED", "HRESULT"),  # E_FAIL
    ],
)
def test_status_of_the_operation(returns: Returns, code: int, result: str, kind: str) -> None:
    assert outcome(rpc_call(rpc.RESULT_DONE, code, status=0), returns) == (result, kind, code)


@pytest.mark.parametrize("code", [0, 5, 0xC0000022])
def test_last_bytes_of_an_answer_that_may_be_anything(code: int) -> None:
    """Of operations whose result is not known they are no status: not even zero is success, nor 5 a refusal."""
    assert outcome(rpc_call(rpc.RESULT_DONE, code, status=0)) == ("NOT_TOLD", "MISSING", -1)


@pytest.mark.parametrize("code", [0, 5])
def test_operation_that_returns_nothing(code: int) -> None:
    assert outcome(rpc_call(rpc.RESULT_DONE, code, status=0), Returns.NONE) == ("WORKED", "MISSING", -1)
    assert outcome(rpc_call(rpc.RESULT_SHORT, status=0), Returns.NONE) == ("WORKED", "MISSING", -1)


@pytest.mark.parametrize("returns", [Returns.UNKNOWN, Returns.NT, Returns.WERR])
def test_answer_without_room_for_a_status(returns: Returns) -> None:
    assert outcome(rpc_call(rpc.RESULT_SHORT, status=0), returns)[0] == "NOT_TOLD"


@pytest.mark.parametrize("returns", list(Returns))
@pytest.mark.parametrize("result", [rpc.RESULT_SEALED, rpc.RESULT_UNREADABLE, rpc.RESULT_FAULT])
def test_how_it_came_out_is_not_visible(result: int, returns: Returns) -> None:
    """A fault whose status was cut off is an answer, too."""
    assert outcome(rpc_call(result, status=0), returns) == ("NOT_TOLD", "MISSING", -1)


@pytest.mark.parametrize("returns", list(Returns))
def test_faults(returns: Returns) -> None:
    assert outcome(rpc_call(rpc.RESULT_FAULT, 5, status=0), returns) == ("REFUSED", "FAULT", 5)
    assert outcome(rpc_call(rpc.RESULT_FAULT, 0x1C010002, status=0), returns) == ("FAILED", "FAULT", 0x1C010002)


@pytest.mark.parametrize("returns", list(Returns))
def test_not_answered(returns: Returns) -> None:
    assert outcome(rpc_call(rpc.RESULT_NONE, status=-1), returns) == ("UNANSWERED", "MISSING", -1)


@pytest.mark.parametrize("returns", list(Returns))
def test_refused_by_smb(returns: Returns) -> None:
    assert outcome(rpc_call(rpc.RESULT_SMB, 0xC0000022, status=0xC0000022), returns) == ("REFUSED", "SMB", 0xC0000022)
    assert outcome(rpc_call(rpc.RESULT_SMB, 0xC000014B, status=0xC000014B), returns) == ("FAILED", "SMB", 0xC000014B)


def test_refused_by_smb_with_a_dos_error() -> None:
    """ERRDOS/ERRnoaccess: class 1 in the low byte, code 5 in the high half. [MS-CIFS 2.2.2.4]"""
    rows = rpc_call(rpc.RESULT_SMB, 0x00050001, status=0x00050001, dos_status=True)
    assert outcome(rows) == ("REFUSED", "DOS", 0x00050001)


@pytest.mark.parametrize(
    ("told", "result", "kind"),
    [
        ({"protocol": CallProtocol.RAP, "status": 0, "code": 0}, "WORKED", "RAP"),
        ({"protocol": CallProtocol.RAP, "status": 0, "code": 234}, "WORKED", "RAP"),
        ({"protocol": CallProtocol.RAP, "status": 0, "code": 5}, "REFUSED", "RAP"),
        ({"protocol": CallProtocol.RAP, "status": 0, "code": 2310}, "FAILED", "RAP"),
        ({"protocol": CallProtocol.RAP, "status": 0xC0000022}, "REFUSED", "SMB"),
        ({"protocol": CallProtocol.RAP, "status": -1}, "UNANSWERED", "MISSING"),
        ({"protocol": CallProtocol.DFS, "status": 0}, "WORKED", "SMB"),
        ({"protocol": CallProtocol.DFS, "status": 0x80000005}, "WORKED", "SMB"),
        ({"protocol": CallProtocol.DFS, "status": 0xC0000225}, "FAILED", "SMB"),
        ({"protocol": CallProtocol.FSCTL, "status": 0xC0000022}, "REFUSED", "SMB"),
        ({"protocol": CallProtocol.FSCTL, "status": 0xC00000BB}, "FAILED", "SMB"),
        ({"protocol": CallProtocol.DFS, "status": 0x00050001, "dos_status": True}, "REFUSED", "DOS"),
        ({"protocol": CallProtocol.DFS, "status": 0x00EA0001, "dos_status": True}, "WORKED", "DOS"),
    ],
)
def test_calls_without_a_pipe(told: dict[str, Any], result: str, kind: str) -> None:
    assert outcome(call(**told))[:2] == (result, kind)


def test_results_of_several_calls_do_not_mix() -> None:
    rows = np.concatenate(
        [
            rpc_call(rpc.RESULT_DONE, 5, status=0),
            rpc_call(rpc.RESULT_DONE, 5, status=0),
            rpc_call(rpc.RESULT_NONE, status=-1),
            call(protocol=CallProtocol.RAP, status=0, code=5),
            rpc_call(rpc.RESULT_FAULT, 5, status=0),
        ]
    )
    returns = np.array([Returns.WERR, Returns.NT, Returns.WERR, Returns.UNKNOWN, Returns.NT])
    assert [CallResult(n).name for n in results(rows, returns)] == [
        "REFUSED", "WORKED", "UNANSWERED", "REFUSED", "REFUSED",
    ]  # fmt: skip


# Names. #


LISTED = [
    Interface(pdus.SRVSVC[0], "3.0", "srvsvc"),
    Interface(pdus.LSARPC[0], "0.0", "lsarpc"),
    Interface("00112233-4455-6677-8899-aabbccddeeff", "1.2", None),
    Interface(pdus.SRVSVC[0], "3.7", "srvsvc"),
    Interface(pdus.SRVSVC[0], "4.0", None),
]


def named(operations: Operations, texts: Texts, *wanted: tuple[int, int]) -> list[tuple[str | None, str | None, str]]:
    """Interface, operation and what it returns."""
    interface, opnum = (np.array(column, dtype=np.int64) for column in zip(*wanted, strict=True))
    names, operation, returns, _ = operations.look_up(interface, opnum)
    return [
        (texts.text(a), texts.text(b), Returns(c).name)
        for a, b, c in zip(names.tolist(), operation.tolist(), returns.tolist(), strict=True)
    ]


def test_names() -> None:
    texts = Texts(plain_kernels)
    operations = Operations(texts, lambda: LISTED)
    wanted = [(0, 15), (1, 6), (0, 15), (2, 3), (0, 9999), (-1, 44), (0, -1), (-1, -1), (3, 15), (4, 15), (0, 0xFFFF)]
    uuid = "00112233-4455-6677-8899-aabbccddeeff"
    assert named(operations, texts, *wanted) == [
        ("srvsvc", "NetrShareEnum", "WERR"),
        ("lsarpc", "LsarOpenPolicy", "NT"),
        ("srvsvc", "NetrShareEnum", "WERR"),
        (uuid, "opnum 3", "UNKNOWN"),
        ("srvsvc", "opnum 9999", "UNKNOWN"),
        (None, "opnum 44", "UNKNOWN"),
        ("srvsvc", None, "UNKNOWN"),
        (None, None, "UNKNOWN"),
        ("srvsvc", "NetrShareEnum", "WERR"),  # a minor version that is not listed
        (pdus.SRVSVC[0], "opnum 15", "UNKNOWN"),  # another major version is another interface
        ("srvsvc", "opnum 65535", "UNKNOWN"),
    ]


def test_interfaces_that_are_met_later() -> None:
    texts = Texts(plain_kernels)
    listed = LISTED[:1]
    operations = Operations(texts, lambda: listed)
    assert named(operations, texts, (0, 15)) == [("srvsvc", "NetrShareEnum", "WERR")]
    listed = LISTED[:2]
    assert named(operations, texts, (1, 6), (0, 15))[0] == ("lsarpc", "LsarOpenPolicy", "NT")


def test_no_calls_at_all() -> None:
    texts = Texts(plain_kernels)
    nothing = np.empty(0, dtype=np.int64)
    assert [len(column) for column in Operations(texts, list).look_up(nothing, nothing)] == [0] * 4
    rows = np.zeros(0, dtype=CALL)
    assert len(results(rows, nothing)) == 0
    assert MISSING < 0
