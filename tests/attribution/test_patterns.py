"""What a use is for, by what was asked for."""

from __future__ import annotations

import re
import time
from fnmatch import fnmatchcase

import numpy as np
import pytest

from analyzer import knowledge
from analyzer.attribution import attribute, patterns
from analyzer.attribution.patterns import functions
from analyzer.tables import Columns, TableSet
from tests.attribution.uses import attributed, columns_of, table_set, use

CASES = [
    # resource, interface, operation, function, application
    ("netlogon", "netlogon", "NetrServerAuthenticate3", "Netlogon secure channel", "Netlogon service"),
    (
        "netlogon",
        "netlogon",
        "NetrServerReqChallenge",
        "Netlogon secure channel",
        None,
    ),  # a challenge alone proves little
    ("netlogon", "netlogon", "DsrGetDcNameEx2", "DC location", None),
    ("lsarpc", "lsarpc", "LsarLookupSids2", "SID and name translation", None),
    ("lsarpc", "lsarpc", "LsarQueryInformationPolicy", "domain information (LSA policy)", None),
    ("lsarpc", "dssetup", "DsRolerGetPrimaryDomainInformation", "domain role query", None),
    ("samr", "samr", "SamrEnumerateUsersInDomain", "account enumeration", None),
    ("samr", "samr", "SamrUnicodeChangePasswordUser2", "password change", None),
    ("samr", "samr", "SamrCreateUser2InDomain", "creation of accounts (domain join)", None),
    ("srvsvc", "srvsvc", "NetrShareEnum", "share list (Explorer, net view)", None),
    ("srvsvc", "srvsvc", "NetrServerGetInfo", "server information", None),
    ("srvsvc", "srvsvc", "NetrSessionEnum", "session list", None),
    ("spoolss", "spoolss", "RpcGetPrinter", "print queue", None),
    ("spoolss", "spoolss", "RpcStartDocPrinter", "print jobs", "print client"),
    ("rap", None, "NetServerEnum2", "browse list (network neighbourhood)", "Computer Browser"),
    ("rap", None, "NetShareEnum", "share list (RAP)", None),
    ("dfs", None, "FSCTL_DFS_GET_REFERRALS", "DFS referral", "DFS client"),
    (r"sql\query", None, None, "SQL Server over a named pipe", "SQL Server client"),
    (r"mssql$prod\sql\query", None, None, "SQL Server over a named pipe", "SQL Server client"),
    ("winreg", "winreg", "BaseRegOpenKey", "remote registry", None),
    ("svcctl", "svcctl", "ROpenSCManagerW", "service control", None),
    ("lsarpc", "efsrpc", "EfsRpcOpenFileRaw", "Encrypting File System calls (as coercion tools make)", None),
    ("NETLOGON", None, None, "Group Policy and logon scripts", None),  # the share
    ("netlogon", None, None, "Net Logon", None),  # the pipe, not decoded: the service behind it
    ("srvsvc", None, None, "Server", None),
    ("tapsrv", "tapsrv", "opnum 0", "Telephony", None),
    ("PUBLIC", None, None, None, None),
    ("no such pipe", "01234567-89ab-cdef-0123-456789abcdef", "opnum 3", None, None),
    (None, None, None, None, None),
]


@pytest.mark.parametrize(("resource", "interface", "operation", "function", "application"), CASES)
def test_alone(
    resource: str | None, interface: str | None, operation: str | None, function: str | None, application: str | None
) -> None:
    (found,) = attributed([use(resource, interface, operation)], table_set())
    assert (found["function"], found["application"]) == (function, application)
    assert found["application_source"] == (None if application is None else "pattern")
    assert (found["application_confidence"] is None) == (application is None)


def test_all_at_once_as_each_alone() -> None:
    uses = [use(*case[:3], session_key=place) for place, case in enumerate(CASES)]
    assert [(it["function"], it["application"]) for it in attributed(uses, table_set())] == [case[3:] for case in CASES]


def test_the_rest_of_the_session_tells() -> None:
    uses = [
        use("netlogon", "netlogon", "NetrServerReqChallenge"),
        use("netlogon", "netlogon", "NetrServerAuthenticate3"),
        use("netlogon", "netlogon", "NetrServerReqChallenge", session_key=2),
        use("lsarpc", "lsarpc", "LsarOpenPolicy2", session_key=3),
        use("lsarpc", "lsarpc", "LsarLookupNames3", session_key=3),
        use("srvsvc", "srvsvc", "NetrServerGetInfo", session_key=4),
        use("srvsvc", "srvsvc", "NetrShareEnum", session_key=4),
        use("samr", "samr", "SamrConnect5", session_key=5),
        use("samr", "samr", "SamrUnicodeChangePasswordUser2", session_key=5),
        use("samr", "samr", "SamrConnect5", session_key=6),
        use("samr", "samr", "SamrEnumerateUsersInDomain", session_key=6),
        use("samr", "samr", "SamrConnect5", session_key=7),
    ]
    found = attributed(uses, table_set())
    assert [it["application"] for it in found[:3]] == ["Netlogon service", "Netlogon service", None]
    assert [it["function"] for it in found[3:]] == [
        "SID and name translation",
        "SID and name translation",
        "share list (Explorer, net view)",
        "share list (Explorer, net view)",
        "password change",
        "password change",
        "account enumeration",
        "account enumeration",
        "account look-up",
    ]


def test_without_a_session_the_connection_holds_them_together() -> None:
    uses = [
        use("netlogon", "netlogon", "NetrServerReqChallenge", session_key=-1, connection_id=7),
        use("netlogon", "netlogon", "NetrServerAuthenticate3", session_key=-1, connection_id=7),
        use("netlogon", "netlogon", "NetrServerReqChallenge", session_key=-1, connection_id=8),
        use("netlogon", "netlogon", "NetrServerReqChallenge", session_key=7, connection_id=7),
    ]
    assert [it["application"] for it in attributed(uses, table_set())] == ["Netlogon service"] * 2 + [None] * 2


def test_what_excludes() -> None:
    asked = "RpcRemoteFindFirstPrinterChangeNotificationEx"
    uses = [
        use("spoolss", "spoolss", "RpcOpenPrinter"),
        use("spoolss", "spoolss", asked),
        use("spoolss", "spoolss", asked, session_key=2),
        use("spoolss", "spoolss", "RpcEnumJobs", session_key=2),
    ]
    found = attributed(uses, table_set())
    assert found[1]["function"] == "printer change notification alone (as coercion tools ask)"
    assert (found[2]["function"], found[2]["application"]) == ("printer change notification", "print client")


def test_classes_of_operations() -> None:
    uses = [
        use("samr", "samr", "SamrEnumerateUsersInDomain"),
        use("srvsvc", "srvsvc", "NetrShareEnum"),
        use(r"sql\query"),
        use("rap", None, "NetServerEnum2"),
        use("PUBLIC"),
        use("lsarpc", "lsarpc", "LsarLookupNames3", session_key=2),
        use("lsarpc", "lsarpc", "LsarQueryInformationPolicy", session_key=2),  # its own, not that of its pattern
    ]
    found = [it["operation_class"] for it in attributed(uses, table_set())]
    assert found == [
        *("enumerate-accounts", "enumerate-shares", "database", "browse", None),
        *("translate-names", "policy-read"),
    ]


def test_hostile_names() -> None:
    names = [
        "",
        "*",
        "[a-z]",
        "\x00\n",
        "\ufffd",
        "samr\n",
        "x" * 100_000,
        "SAMR",
        "(?:",
        "a|b",
        r"mssql$\sql\query" + "\\" * 9,
    ]
    found = attributed([use(name, name, name, session_key=place) for place, name in enumerate(names)], table_set())
    assert {it["application"] for it in found} == {None}
    assert {it["function"] for it in found} == {None}


def test_a_row_of_low_confidence_tells_no_application(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table_set()
    for confidence, application in (("low", None), ("medium", "A")):
        table = [
            patterns.Pattern("F", "A", "", patterns.CONFIDENCE.get(confidence, -1), "p".__eq__, None, None, None, None)
        ]
        monkeypatch.setattr(patterns, "_patterns", lambda it=table: it)
        found = functions(columns_of([use("p")], rows), rows)
        assert [rows.texts.text(found[name].item()) for name in ("function", "application")] == ["F", application]


def test_no_uses() -> None:
    assert attributed([], table_set()) == []


def _many(rows: TableSet, count: int) -> Columns:
    """Uses of ten sessions each, of all the kinds above."""
    few = columns_of([use(*case[:3]) for case in CASES], rows)
    place = np.arange(count)
    many = {name: column[place % len(CASES)] for name, column in few.items()}
    return many | {"session_key": place // 10, "connection_id": place // 20}


def test_many_uses_are_no_work_of_python() -> None:
    rows = table_set()
    uses = _many(rows, 200_000)
    calls = []
    text = rows.texts.text
    rows.texts.text = lambda code: calls.append(code) or text(code)  # type: ignore[method-assign, func-returns-value]
    began = time.perf_counter()
    found = attribute(uses, rows)
    assert time.perf_counter() - began < 5  # far from the 0.1 s that it takes, and from the minutes of a loop
    assert len(calls) < 10_000
    assert len(found["function"]) == 200_000


def test_the_order_of_rows_decides() -> None:
    """By a slow reading of the table: the first row that fits, with what else the session holds."""
    rows = table_set()
    operations = [
        "SamrConnect5",
        "SamrEnumerateUsersInDomain",
        "SamrUnicodeChangePasswordUser2",
        "SamrCreateUserInDomain",
    ]
    sessions = [[name for bit, name in enumerate(operations) if number >> bit & 1] for number in range(1, 16)]
    uses = [use("samr", "samr", name, session_key=key) for key, names in enumerate(sessions) for name in names]
    found = functions(columns_of(uses, rows), rows)

    def any_fits(patterns: str, names: list[str]) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in patterns.split("|") for name in names)

    def slowly(name: str, session: list[str]) -> str:
        for row in knowledge.rows("applications"):
            if (
                (not row["pipe"] or any_fits(row["pipe"], ["samr"]))
                and (not row["interface"] or any_fits(row["interface"], ["samr"]))
                and (not row["operations"] or any_fits(row["operations"], [name]))
                and (not row["needs"] or any_fits(row["needs"], session))
                and not (row["excludes"] and any_fits(row["excludes"], session))
            ):
                return row["function"]
        raise AssertionError(name)

    assert [rows.texts.text(code) for code in found["function"].tolist()] == [
        slowly(it["operation"], sessions[it["session_key"]]) for it in uses
    ]


def test_the_table_names_what_there_is() -> None:
    names: dict[str, set[str]] = {}
    uuids = {row["uuid"]: row["name"] for row in reversed(knowledge.rpc_interfaces())}
    for row in knowledge.rpc_operations():
        names.setdefault(uuids[row["uuid"]], set()).add(row["name"])
    known = {row["name"] for row in knowledge.rpc_interfaces()}
    rap = set(knowledge.rap_names().values())
    for row in knowledge.rows("applications"):
        assert row["function"]
        assert row["pipe"] or row["interface"]
        interfaces = [name for name in row["interface"].split("|") if name]
        assert set(interfaces) <= known
        there = rap if row["pipe"] == "rap" else set().union(*(names.get(name, set()) for name in interfaces))
        for column in ("operations", "needs", "excludes"):
            for pattern in filter(None, row[column].split("|")):
                assert any(fnmatchcase(name, pattern) for name in there), (row["function"], pattern)
        assert re.fullmatch(r"[a-z-]*", row["class"])
