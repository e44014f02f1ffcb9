"""Each row of `expected.csv`, which was written from the documents, against the rules."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from analyzer.knowledge import rows
from analyzer.policy.judging import NOTHING, Context, Values
from analyzer.policy.rules import (
    RUNGS,
    SMB1,
    TESTS,
    Condition,
    Held,
    Place,
    Use,
    acting_settings,
    names_match,
    sddl_admits,
    sid_of,
)
from analyzer.policy.rules import test as holds
from analyzer.policy.settings import RULES, Given, setting_of, settings, written_value
from analyzer.policy.uses import DIALECTS, Form

EXPECTED = list(csv.DictReader((Path(__file__).parent / "expected.csv").read_text().splitlines()))
CASES = [
    pytest.param(
        row, build, id=f"{row['kind']}-{row['operation'] or row['resource']}-{row['policy']}-{build or row['family']}"
    )
    for row in EXPECTED
    for build in row["builds"].split("|")
]


def given_values(text: str) -> Values:
    """`SETTING=VALUE;SHARE/SETTING=VALUE`, values as the tables of settings write them."""
    found: dict[str, Held] = {}
    shares: dict[str, dict[str, Given]] = {}
    for entry in text.split(";") if "RestrictRemoteSam=" not in text else split_sddl(text):
        name, _, value = entry.partition("=")
        share, slash, option = name.partition("/")
        name = option if slash else name
        made = written_value(setting_of(name).kind, value)
        if slash:
            shares.setdefault(share.lower(), {})[name.removeprefix("samba:")] = Given(made, "test")
        else:
            found[name] = Held(made, "test")
    return Values(found, shares)


def split_sddl(text: str) -> list[str]:
    """An access list has semicolons of its own: here it always comes first."""
    descriptor, found, rest = text.partition(";RestrictRemoteSamAuditOnlyMode")
    return [descriptor, *([f"RestrictRemoteSamAuditOnlyMode{rest}"] if found else [])]


def use_of(row: dict[str, str]) -> Use:
    return Use(
        row["kind"],
        row["resource"] or None,
        row["interface"] or None,
        row["operation"] or None,
        row["identity"],
        row["identity"] == "anonymous",
        bool(row["rpc_auth"]),
        DIALECTS.get(row["dialect"], SMB1),
    )


@pytest.mark.parametrize(("row", "build"), CASES)
def test_what_the_documents_say(row: dict[str, str], build: str) -> None:
    place = Place(row["family"] or None, int(build) if build else None, row["role"])
    problem = "" if row["family"] else "what the server is is not known"
    context = Context((place,), NOTHING, given_values(row["policy"]), problem=problem)
    found = context.judge(0, Form((use_of(row),), True, False, False, True, "", "windows"))
    assert (found.outcome, found.setting if row["setting"] else "") == (row["outcome"], row["setting"]), found
    assert found.why
    if found.outcome == "breaks":
        assert found.source


def test_every_setting_of_servers_acts_or_is_about_something_else() -> None:
    silent = {
        name
        for name, setting in settings().items()
        if setting.side != "client" and setting.kind not in RULES and setting.scope != "LDAP"
    } - acting_settings("server")
    assert silent == {"AuditInsecureGuestLogon"}  # it only logs


def test_the_table_is_well_formed() -> None:
    for row in rows("policy_rules"):
        assert row["rung"] in RUNGS
        assert row["side"] in ("server", "client")
        assert row["family"] in ("windows", "samba")
        assert row["outcome"] in ("works", "breaks", "unknown")
        assert row["confidence"] in ("high", "medium", "low")
        assert row["why"]
        assert row["source"]
    gates = [(row["gate"], row["side"]) for row in rows("policy_rules")]
    assert len(dict.fromkeys(gates)) == sum(one != other for one, other in zip(gates, ["", *gates], strict=False))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("O:BAG:BAD:(A;;RC;;;BA)", "excludes"),
        ("O:SYG:SYD:(A;;RC;;;BA)(A;;RC;;;AN)", "admits"),
        ("O:SYG:SYD:(A;;RC;;;S-1-5-7)", "admits"),
        ("O:BAG:BAD:(A;;RC;;;WD)", "everyone"),
        ("O:BAG:BAD:(D;;RC;;;AN)(A;;RC;;;WD)", "unclear"),
        ("O:BAG:BAD:(OA;;RC;;;AN)", "unclear"),
        ("anything", "unclear"),
        ("O:BAG:BAD:" + "(A;;RC;;;BA)" * 10_000, "unclear"),
    ],
)
def test_access_lists_say_whether_they_admit_anonymous(text: str, says: str) -> None:
    assert sddl_admits(text) == says


def test_names_are_compared_in_full_and_by_their_last_part_without_case() -> None:
    assert names_match(("SQL\\Query",), "sql\\query") == (True, True)
    assert names_match(("query",), "sql\\query") == (False, True)
    assert names_match(("spoolss",), "sql\\query") == (False, False)


@pytest.mark.parametrize(
    ("entry", "sid"),
    [
        ("*S-1-5-7", "S-1-5-7"),
        ("ANONYMOUS LOGON", "S-1-5-7"),
        ("NT AUTHORITY\\ANONYMOUS LOGON", "S-1-5-7"),
        ("*S-1-5-21-1-2-3-501", "S-1-5-21-501"),
        ("*S-1-5-11", "S-1-5-11"),
    ],
)
def test_entries_of_rights_are_sids(entry: str, sid: str) -> None:
    assert sid_of(entry) == sid


def test_tests_that_are_named_are_known() -> None:
    for row in rows("policy_rules"):
        for text in row["when"].split("; "):
            name = max((name for name in settings() if text.startswith(name + " ")), key=len)
            word = text[len(name) + 1 :].split(" ")[0]
            if word not in TESTS:
                kinds = setting_of(name).kind
                assert kinds in ("dword", "system", "int", "bool", "enum", "text"), (name, word)


def test_an_absent_value_is_its_default_only_where_that_is_sure() -> None:
    use = Use("pipe", "browser", None, None, "anonymous", True, False, 0x0311)
    place = Place("windows", 6003, "member")
    condition = Condition("RestrictNullSessAccess", "0")
    assert holds(condition, use, place, lambda _: Held(None, "absent")) is False
    assert holds(condition, use, place, lambda _: None) is None
