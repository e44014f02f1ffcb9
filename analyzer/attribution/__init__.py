"""Which application a use belongs to.

In: uses (what was done, one row each) and the tables, as numbers; rules that the administrator wrote. Out: for each use the
application and how it is known, what is done (its function), the software of the client, and whose business it is. Never
changes a verdict.

Four sources tell, each stronger than the one before it:

    pattern      what was asked for, together with what else was asked for in the same session (`patterns`)
    fingerprint  what the client says of itself in its login, where that names a program (`fingerprints`)
    rule         the administrator's own word (`rules`)
    process      the process that the capture tool, or the machine itself, names (`processes`)

An application that none of them tells stays missing, with all that is known of the use, so that a rule can be written.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analyzer import tables
from analyzer.attribution.fingerprints import client_software
from analyzer.attribution.patterns import functions
from analyzer.attribution.processes import process_of
from analyzer.attribution.rules import Rule, excluded_by, read_rules, read_scanners, rule_of
from analyzer.groups import looked_up
from analyzer.sessions.joins import NONE, Ints
from analyzer.tables import Columns, TableSet

__all__ = ["Rule", "attribute", "read_rules", "read_scanners"]

PATTERN, FINGERPRINT, RULE, PROCESS = range(len(tables.APPLICATION_SOURCE))
CERTAIN = tables.CONFIDENCE.index("certain")


def attribute(uses: Columns, rows: TableSet, rules: Sequence[Rule] = (), processes: Columns | None = None) -> Columns:
    """For each use the application that it belongs to.

    uses: codes of `rows.texts` for `site, client_ip, server_ip, resource, interface, operation`; keys `session_key`,
    `connection_id`; `time` in nanoseconds. Missing is below zero. rows: with `sessions`, `connections` and `hosts`.
    processes: further notes of processes on clients: `connection_id, session_key, process` (a code), `confidence` (a place in
    `tables.CONFIDENCE`); a note holds for its session, without one for its connection.

    Returns columns of the same length. Codes of `rows.texts`: `application` (missing: not known), `function`,
    `client_software`, `operation_class`, `owner`, `rule_note`. Places: `application_source` in `tables.APPLICATION_SOURCE`,
    `application_confidence` in `tables.CONFIDENCE`, both missing with the application. Truth values: `excluded`, by a rule
    that says that the client is a scanner.
    """
    function = functions(uses, rows)
    software = client_software(uses, rows)
    known = {**uses, **function, "client_software": software["client_software"]}
    rule = rule_of(known, rows, rules)
    process = process_of(uses, rows, processes)
    length = len(uses["resource"])
    application, source, confidence = (np.full(length, NONE, dtype=np.int64) for _ in range(3))
    by_rule = _of_rules(rules, rows, rule)
    for place, found, sure in (
        (PATTERN, function["application"], function["confidence"]),
        (FINGERPRINT, software["application"], software["confidence"]),
        (RULE, by_rule["application"], np.full(length, CERTAIN)),
        (PROCESS, process["process"], process["confidence"]),
    ):
        tells = found >= 0
        application[tells], source[tells], confidence[tells] = found[tells], place, sure[tells]
    return {
        "application": application,
        "application_source": source,
        "application_confidence": confidence,
        "function": function["function"],
        "client_software": software["client_software"],
        "operation_class": function["operation_class"],
        "owner": by_rule["owner"],
        "rule_note": by_rule["note"],
        "excluded": excluded_by(rules, rule),
    }


def _of_rules(rules: Sequence[Rule], rows: TableSet, rule: Ints) -> Columns:
    """What the rule of each use gives, as codes."""
    return {
        name: looked_up(
            np.array(
                [rows.texts.code(text) if text else NONE for text in (getattr(it, name) for it in rules)],
                dtype=np.int64,
            ),
            rule,
            NONE,
        )
        for name in ("application", "owner", "note")
    }
