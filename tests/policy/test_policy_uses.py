"""Which kind of use a row of `dependencies` is."""

from __future__ import annotations

from typing import Any

import pytest

from analyzer.policy.rules import SMB1
from analyzer.policy.uses import replayed
from analyzer.tables import TableSet
from tests.policy.seen import call, opened, seen, use


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (use(None, verdict="probe"), "session"),
        (use("IPC$", verdict="probe"), "ipc"),
        (use("IPC$", "FSCTL_PIPE_PEEK"), "control"),
        (use("spoolss", "FSCTL_PIPE_WAIT"), "wait"),
        (use("PUBLIC"), "disk"),
        (use("spoolss"), "pipe"),
        (use("spoolss", interface="spoolss"), "bind"),
        (call("spoolss", "RpcOpenPrinter"), "call"),
        (use("spoolss", "opnum 7"), "call"),
        (use("rap", "NetShareEnum"), "rap"),
        (use("dfs", "GetDfsReferral"), "dfs"),
        (use("rap"), "pipe"),
    ],
)
def test_kinds(row: dict[str, Any], kind: str) -> None:
    data = replayed(TableSet(seen(row)))
    # What was called through an interface that was bound, if anything, is not known.
    assert {it.kind for it in data.forms[0].uses} == ({kind, "call"} if kind == "bind" else {kind})


def test_a_name_that_may_be_a_pipe_or_a_share_is_taken_for_a_pipe() -> None:
    rows = TableSet(seen(use("123"), shares=("123",), opens=[opened("123")]))
    assert replayed(rows).forms[0].uses[0].kind == "pipe"


def test_rap_is_spoken_over_smb_1_only() -> None:
    data = replayed(TableSet(seen(use("rap", "NetShareEnum"), use("spoolss"), dialect="3.1.1")))
    dialects = [{it.dialect for it in data.forms[form].uses} for form in data.form.tolist()]
    assert dialects == [{SMB1}, {0x0311}]


def test_what_is_not_known_may_be_several_things() -> None:
    unknown = replayed(TableSet(seen(use("spoolss", identity="unknown", verdict="unknown"), dialect=None))).forms[0]
    assert {it.identity for it in unknown.uses} == {"anonymous", "guest"}
    assert len({it.dialect for it in unknown.uses}) == 3
    assert unknown.may_be_none
    assert not unknown.observed
    uncaptured = replayed(TableSet(seen(use("(pipe not captured)", "opnum 1")))).forms[0]
    assert uncaptured.uses[0].resource is None
    assert not uncaptured.operation_known


def test_rows_that_are_alike_have_one_form() -> None:
    rows = TableSet(seen(use("spoolss"), use("spoolss", client="10.0.0.2", server="192.168.0.2"), use("browser")))
    data = replayed(rows)
    assert len(data.forms) == 2
    assert data.form[0] == data.form[1] != data.form[2]
    assert [data.servers[place][1] for place in data.server.tolist()] == ["192.168.0.1", "192.168.0.2", "192.168.0.1"]


def test_whether_a_guest_gave_a_name() -> None:
    for asked in ("anonymous", "named"):
        data = replayed(TableSet(seen(use("PUBLIC", identity="guest"), asked=asked)))
        assert data.forms[0].uses[0].asked_anonymous == (asked == "anonymous")


def test_a_dialect_of_smb_2_that_is_not_settled_may_be_any() -> None:
    # 0x02FF answers a negotiation of SMB 1 and says that another one follows [MS-SMB2 3.3.5.3.1]; it was not captured.
    form = replayed(TableSet(seen(use("spoolss"), dialect="2.?"))).forms[0]
    assert len({it.dialect for it in form.uses}) == 3
