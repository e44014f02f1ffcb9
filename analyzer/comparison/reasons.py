"""The reason of each row in a sentence, worked out once for each different case."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from analyzer import tables
from analyzer.comparison.columns import CHANGE, WHY
from analyzer.groups import Groups
from analyzer.tables import Columns
from analyzer.wire.texts import Texts

BY = {
    "session_setup": "at the login",
    "tree_connect": "at the connect to the share",
    "open": "at the opening of the pipe",
    "bind": "at the bind",
    "fault": "by an RPC fault",
    "stub": "by the operation itself",
}
NOT_OBSERVED = {
    "client_not_seen": "The client is not in the captures after: whether it still needs this cannot be known.",
    "server_not_seen": "The server is not in the captures after: whether this is still used cannot be known.",
    "not_together": "Client and server are in the captures after, but were not seen together.",
    "not_visible": "The client was seen at the server, and not all that it did there can be looked into.",
    "not_asked": "The client was seen at the server and did not ask for this; it was not used often enough before to tell "
    "whether it is gone.",
    "span_too_short": "The client was seen at the server and did not ask for this, but was observed for a shorter time than "
    "before.",
}
NEW = {
    "client": "A new dependent: its client was not seen before.",
    "server": "A new dependent: its server was not seen before.",
    "both": "A new dependent: its client and its server were not seen before.",
    "": "A new dependent: client and server were seen before, this use was not.",
}


class Case(NamedTuple):
    """What a sentence is made of: places in the categories, codes of texts, and 0 or 1; below zero: missing."""

    change: int
    why: int
    rung: int
    status: int
    what: int
    no_login: int
    verdict_before: int
    verdict_after: int
    identity_before: int
    identity_after: int
    client_is_new: int
    server_is_new: int
    changed_hands: int


def sentences(cases: Columns, texts: Texts) -> pa.Array:
    """cases: a column for each field of `Case`."""
    columns = [cases[name].astype(np.int64) for name in Case._fields]
    groups = Groups(*columns)
    spelt = []
    for row in groups.first.tolist():
        case = Case(*[int(column[row]) for column in columns])
        spelt.append(_OF[CHANGE[case.change]](case, texts))
    return tables.chosen(groups.number, spelt)


def _newly_refused(case: Case, texts: Texts) -> str:
    by = BY[tables.RUNG[case.rung]] if case.rung >= 0 else "now"
    answer = f"{by} ({texts.text(case.status) or 'status not captured'})"
    if case.verdict_after >= 0:
        return f"It worked before, and is refused {answer}."
    if case.rung == tables.RUNG.index("session_setup"):
        who = texts.text(case.what)
        return f"It worked before; now the client is refused {answer}{f', as {who}' if who else ''}."
    return f"It worked before; now the client does not come so far: {texts.text(case.what)} is refused {answer}."


def _newly_failing(case: Case, texts: Texts) -> str:
    if case.no_login:
        return "It worked before; now the client connects to the server, and no login follows: they may have no dialect in common."
    status = texts.text(case.status) or "status not captured"
    if case.verdict_after >= 0:
        return f"It worked before, and fails now: {status}, which is no refusal of access."
    return f"It worked before; now {texts.text(case.what)} fails: {status}, which is no refusal of access."


def _new(case: Case, _: Texts) -> str:
    if case.verdict_before >= 0:
        return (
            f"A new dependent: {tables.VERDICT[case.verdict_before]} before, {tables.VERDICT[case.verdict_after]} now."
        )
    both = case.client_is_new and case.server_is_new
    which = "both" if both else "client" if case.client_is_new else "server" if case.server_is_new else ""
    return NEW[which] + (
        " Its address was another machine's then." if case.changed_hands and case.client_is_new else ""
    )


def _verdict_changed(case: Case, _: Texts) -> str:
    return f"It is {tables.VERDICT[case.verdict_after]} now, and was {tables.VERDICT[case.verdict_before]} before."


def _moved(case: Case, _: Texts) -> str:
    refused = ", and is refused without" if case.verdict_after >= 0 else ""
    return f"The same client does the same with credentials now{refused}."


def _gone(_: Case, __: Texts) -> str:
    return (
        "The client was seen at the server, for many times as long as the usual pause between its uses, and did not ask for "
        "this any more."
    )


def _not_observed(case: Case, _: Texts) -> str:
    moved = (
        " Its address is another machine's now." if case.changed_hands and WHY[case.why] == "client_not_seen" else ""
    )
    return NOT_OBSERVED[WHY[case.why]] + moved


def _unchanged(case: Case, _: Texts) -> str:
    if case.identity_before != case.identity_after:
        return (
            f"As before, but as {tables.IDENTITY[case.identity_after]}; it was {tables.IDENTITY[case.identity_before]}."
        )
    return "As before."


def _no_dependent(case: Case, _: Texts) -> str:
    if case.verdict_after < 0:
        return f"It was no dependent before ({tables.VERDICT[case.verdict_before]}), and was not seen after."
    if case.verdict_after == tables.VERDICT.index("probe"):
        return "Only a session was set up; nothing was done with it."
    if case.verdict_after == tables.VERDICT.index("denied"):
        return "It was not asked for before, and is refused."
    return "It was not asked for in this way before, and fails; the use that it stands for has a row of its own."


_OF: dict[str, Callable[[Case, Texts], str]] = {
    "newly_refused": _newly_refused,
    "newly_failing": _newly_failing,
    "new": _new,
    "verdict_changed": _verdict_changed,
    "moved": _moved,
    "gone": _gone,
    "not_observed": _not_observed,
    "unchanged": _unchanged,
    "no_dependent": _no_dependent,
}
