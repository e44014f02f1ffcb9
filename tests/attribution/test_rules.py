"""The administrator's rules: what they match, and what is said of mistakes in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import analyzer
from analyzer.attribution import Rule, read_rules, read_scanners
from analyzer.errors import UsageError
from tests.attribution.uses import SECOND, attributed, noted, table_set, use

DAY = 86_400 * SECOND
EXAMPLE = """
[[rule]]
client = ["10.1.2.0/24", "print*"]
resource = "spoolss"
application = "label printers"
owner = "warehouse"
note = "replaced next year"

[[rule]]
client = "10.9.9.9"
scanner = true
"""


def rules(tmp_path: Path, text: str) -> list[Rule]:
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return read_rules(path)


def test_an_example(tmp_path: Path) -> None:
    uses = [
        use("spoolss", client_ip="10.1.2.77"),
        use("srvsvc", client_ip="10.1.2.77"),
        use("spoolss", client_ip="10.1.3.1"),
        use("srvsvc", client_ip="10.9.9.9"),
    ]
    found = attributed(uses, table_set(), rules(tmp_path, EXAMPLE))
    assert [it["application"] for it in found] == ["label printers", None, None, None]
    assert [it["owner"] for it in found] == ["warehouse", None, None, None]
    assert [it["rule_note"] for it in found] == ["replaced next year", None, None, None]
    assert [it["excluded"] for it in found] == [False, False, False, True]
    assert (found[0]["application_source"], found[0]["application_confidence"]) == ("rule", "certain")


CONDITIONS = [
    # condition, whether it fits the use below
    ('client = "10.0.0.1"', True),
    ('client = "10.0.0.2"', False),
    ('client = "10.0.0.0/30"', True),
    ('client = "10.0.0.3/30"', True),  # any address of a network names it
    ('client = "10.0.0.4/30"', False),
    ('client = "10.0.*"', True),
    ('client = "10.0"', None),
    ('client = "2001:db8::/32"', False),
    ('client = ["10.7.0.0/16", "10.0.0.1"]', True),
    ('client = "ws1"', True),
    ('client = "WS1.Corp.Example"', True),
    ('client = "ws1.*"', True),
    ('client = "ws?"', True),
    ('client = "corp"', False),
    ('client = "also1"', True),  # another of its names
    ('client = "srv9"', False),
    ('server = "srv9"', True),
    ('server = "10.0.0.9"', True),
    ('server = "10.0.0.1"', False),
    ('resource = "srvsvc"', True),
    ('resource = "SrvSvc"', True),
    ('resource = "srv*"', True),
    ('resource = "srv"', False),
    ('resource = ["samr", "s?vsvc"]', True),
    ('interface = "srvsvc"', True),
    ('interface = "4b324fc8-*"', False),
    ('operation = "NetrShare*"', True),
    ('operation = "netrshareenum"', True),
    ('operation = "NetrSession*"', False),
    ('class = "enumerate-*"', True),
    ('class = "print"', False),
    ('function = "share list*"', True),
    ('software = "*Server 2019*"', True),
    ('software = "samba*"', False),
    ('client = "ws1"\nserver = "srv9"\nresource = "srvsvc"', True),
    ('client = "ws1"\nserver = "srv8"\nresource = "srvsvc"', False),
    ('resource = "("', False),
    ('resource = "["', False),
]


@pytest.mark.parametrize(("condition", "fits"), CONDITIONS)
def test_conditions(condition: str, fits: bool | None, tmp_path: Path) -> None:
    text = f'[[rule]]\n{condition}\napplication = "found"\n'
    if fits is None:
        with pytest.raises(UsageError):
            rules(tmp_path, text)
        return
    rows = table_set(
        [{"session_key": 1, "connection_id": 1, "client_build": "10.0.17763"}],
        [{"connection_id": 1}],
        [
            {"site": "", "ip": "10.0.0.1", "name": "ws1.corp.example", "other_names": "also1|also2"},
            {"site": "", "ip": "10.0.0.9", "name": "SRV9"},
        ],
    )
    (found,) = attributed([use("srvsvc", "srvsvc", "NetrShareEnum")], rows, rules(tmp_path, text))
    assert found["application"] == ("found" if fits else None)


def test_what_is_missing_fits_nothing(tmp_path: Path) -> None:
    for key in ("resource", "interface", "operation", "class", "function", "software"):
        (found,) = attributed([use(None)], table_set(), rules(tmp_path, f'[[rule]]\n{key} = "*"\napplication = "x"'))
        assert found["application"] is None


def test_names_are_those_of_the_time_and_of_the_site(tmp_path: Path) -> None:
    hosts = [
        {"site": "", "ip": "10.0.0.1", "name": "first", "valid_from": 1 * DAY},
        {"site": "", "ip": "10.0.0.1", "name": "second", "valid_from": 5 * DAY},
        {"site": "branch", "ip": "10.0.0.1", "name": "other"},
    ]
    uses = [
        use("srvsvc", time=2 * DAY),
        use("srvsvc", time=6 * DAY),
        use("srvsvc", time=DAY // 2),  # before any: the first
        use("srvsvc", time=2 * DAY, site="branch"),
        use("srvsvc", time=2 * DAY, client_ip="10.0.0.2"),
    ]
    text = "".join(f'[[rule]]\nclient = "{name}"\napplication = "of {name}"\n' for name in ("first", "second", "other"))
    found = [it["application"] for it in attributed(uses, table_set(hosts=hosts), rules(tmp_path, text))]
    assert found == ["of first", "of second", "of first", "of other", None]


def test_a_name_says_nothing_where_machines_share_the_address(tmp_path: Path) -> None:
    hosts = [{"site": "", "ip": "10.0.0.1", "name": "gateway", "shared": True}]
    text = '[[rule]]\nclient = "gate*"\nscanner = true\n[[rule]]\nclient = "10.0.0.1"\napplication = "by address"'
    (found,) = attributed([use("srvsvc")], table_set(hosts=hosts), rules(tmp_path, text))
    assert (found["application"], found["excluded"]) == ("by address", False)


def test_the_first_rule_that_fits_holds_in_all_that_it_gives(tmp_path: Path) -> None:
    text = """
    [[rule]]
    resource = "srvsvc"
    owner = "IT"
    [[rule]]
    client = "10.0.0.0/8"
    application = "second"
    owner = "nobody"
    scanner = true
    """
    found = attributed([use("srvsvc"), use("samr")], table_set(), rules(tmp_path, text))
    assert [(it["application"], it["owner"], it["excluded"]) for it in found] == [
        (None, "IT", False),
        ("second", "nobody", True),
    ]


def test_a_rule_counts_for_more_than_patterns_and_fingerprints_and_less_than_processes(tmp_path: Path) -> None:
    rows = table_set(
        [{"session_key": 1, "connection_id": 1, "client_build": "6.1.0"}, {"session_key": 2, "connection_id": 2}],
        [{"connection_id": 1}, {"connection_id": 2}],
    )
    uses = [use(r"sql\query"), use(r"sql\query", session_key=2, connection_id=2)]
    ours = rules(tmp_path, '[[rule]]\nresource = "sql*"\napplication = "ours"\nowner = "us"')
    told = [(it["application"], it["application_source"]) for it in attributed(uses, rows)]
    assert told == [("Samba client", "fingerprint"), ("SQL Server client", "pattern")]
    found = attributed(uses, rows, ours, noted(rows, (2, -1, "ssms.exe", "strong")))
    assert [(it["application"], it["application_source"]) for it in found] == [
        ("ours", "rule"),
        ("ssms.exe", "process"),
    ]
    assert [it["owner"] for it in found] == ["us", "us"]
    assert {it["function"] for it in found} == {"SQL Server over a named pipe"}


def test_many_rules_and_uses(tmp_path: Path) -> None:
    text = "".join(f'[[rule]]\nclient = "10.0.{n}.0/24"\napplication = "app {n}"\n' for n in range(200))
    uses = [use("srvsvc", client_ip=f"10.0.{n % 256}.{n % 7}", session_key=n) for n in range(2000)]
    found = attributed(uses, table_set(), rules(tmp_path, text))
    assert [it["application"] for it in found] == [f"app {n % 256}" if n % 256 < 200 else None for n in range(2000)]


def test_hostile_texts_of_captures(tmp_path: Path) -> None:
    text = '[[rule]]\nresource = "a*a*a*a*a*a*a*a*a*a*b"\napplication = "x"\n[[rule]]\nclient = "*"\nowner = "y"'
    hosts = [{"site": "", "ip": "10.0.0.1", "name": "|||", "other_names": "*|[|\n"}]
    uses = [
        use("a" * 50_000),
        use("a\nb"),
        use("\x00"),
        use("srvsvc", client_ip="not an address"),
        use("x", client_ip=""),
    ]
    found = attributed(uses, table_set(hosts=hosts), rules(tmp_path, text))
    assert [it["application"] for it in found] == [None] * 5
    assert [it["owner"] for it in found] == ["y", "y", "y", None, None]


MISTAKES = [
    # text, what the message must hold
    ("[[rule]\n", ["rules.toml"]),
    ('rule = "x"', ["[[rule]]"]),
    ("[rule]\nclient = '10.0.0.1'", ["[[rule]]"]),
    ("[[rules]]\nclient = '10.0.0.1'", ["'rules'", "[[rule]]"]),
    ("[[rule]]\nclient = '10.0.0.1'\napplication = 'x'\n[[rule]]\npipe = 'srvsvc'", ["rule 2", "'pipe'", "resource"]),
    ("[[rule]]\napplication = 'x'", ["rule 1", "condition"]),
    ("[[rule]]\nclient = '10.0.0.1'", ["rule 1", "gives nothing"]),
    ("[[rule]]\nclient = '10.0.0.1'\nnote = 'x'", ["rule 1", "gives nothing"]),
    ("[[rule]]\nclient = 5\napplication = 'x'", ["rule 1", "client", "5"]),
    ("[[rule]]\nclient = []\napplication = 'x'", ["rule 1", "client", "empty"]),
    ("[[rule]]\nclient = ['a', 5]\napplication = 'x'", ["rule 1", "client", "5"]),
    ("[[rule]]\nclient = ''\napplication = 'x'", ["rule 1", "client"]),
    ("[[rule]]\nclient = '10.0.0.0/33'\napplication = 'x'", ["rule 1", "client", "10.0.0.0/33"]),
    ("[[rule]]\nserver = '300.1.1.1'\napplication = 'x'", ["rule 1", "server", "300.1.1.1"]),
    ("[[rule]]\nserver = 'print/24'\napplication = 'x'", ["rule 1", "server", "print/24"]),
    ("[[rule]]\nserver = '2001:db8::g'\napplication = 'x'\nresource = 1", ["rule 1", "resource", "1"]),
    ("[[rule]]\nserver = 'fe80:::1'\napplication = 'x'", ["rule 1", "server", "fe80:::1"]),
    ("[[rule]]\nresource = 'x'\napplication = true", ["rule 1", "application", "True"]),
    ("[[rule]]\nresource = 'x'\napplication = ['a']", ["rule 1", "application"]),
    ("[[rule]]\nclient = 'x'\nscanner = 'yes'", ["rule 1", "scanner", "yes"]),
    ("[[rule]]\nresource = 'srvsvc'\nscanner = true", ["rule 1", "scanner", "client"]),
]


@pytest.mark.parametrize(("text", "told"), MISTAKES)
def test_mistakes(text: str, told: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        rules(tmp_path, text)
    message = str(caught.value)
    assert str(tmp_path / "rules.toml") in message
    assert "\n" not in message
    assert [part for part in told if part not in message] == []


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(UsageError, match=r"none\.toml|test_files"):
            read_rules(path)
    (tmp_path / "latin.toml").write_bytes(b"[[rule]]\nclient = '\xe9'")
    with pytest.raises(UsageError, match=r"latin\.toml.*UTF-8"):
        read_rules(tmp_path / "latin.toml")


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "\ufeff[[rule]]\r\nclient = 'a'\r\nowner = 'b'\r\n"])
def test_files_without_mistakes(text: str, tmp_path: Path) -> None:
    found: list[Any] = rules(tmp_path, text)
    assert len(found) == text.count("[[rule]]")


def test_a_list_of_scanners_is_read_line_by_line(tmp_path: Path) -> None:
    listed = tmp_path / "scanners.txt"
    listed.write_text("# ours\n10.9.9.9  # vulnerability scanner\n\n10.8.0.0/16\nscan*.example.com\n")
    rules = read_scanners(listed)
    assert [rule.note for rule in rules] == ["vulnerability scanner", "", ""]
    assert all(rule.scanner for rule in rules)


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "names no scanner"), ("# none\n", "names no scanner"), ("10.0.0.1 10.0.0.2\n", "line 1"),
     ("10.0.0.1\n10.300.0.0/16\n", "line 2"), ("a,b\n", "line 1")],
)  # fmt: skip
def test_a_list_of_scanners_with_a_mistake_is_refused(text: str, words: str, tmp_path: Path) -> None:
    listed = tmp_path / "scanners.txt"
    listed.write_text(text)
    with pytest.raises(UsageError, match=words):
        read_scanners(listed)


def test_scanners_are_left_out_visibly_and_nobody_else(tmp_path: Path) -> None:
    listed = tmp_path / "scanners.txt"
    listed.write_text("10.77.0.11\n")
    capture = Path(__file__).parents[2] / "captures" / "busy.pcap"
    plain, told = analyzer.analyze(capture).dependencies, analyzer.analyze(capture, scanners=listed).dependencies
    assert set(told[told["excluded"]]["client_ip"]) == {"10.77.0.11"}
    assert len(told) == len(plain)
    assert sorted(told["verdict"]) == sorted(plain["verdict"])
