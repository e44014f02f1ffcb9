"""The PowerShell scripts, parsed with PowerShell's grammar: they are valid, do nothing unasked, and no value gets loose.

There is no PowerShell here to run them; what they do to a registry was not tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from given import REGISTRY, given, texts
from hypothesis import given as for_all
from hypothesis import settings as run
from hypothesis import strategies as st

from analyzer.errors import PolicyError
from analyzer.policy.scripts import apply_script, by_script, collect_script, quoted
from analyzer.policy.settings import settings

tree_sitter = pytest.importorskip("tree_sitter", reason="tree-sitter is not installed")
powershell = pytest.importorskip("tree_sitter_powershell", reason="tree-sitter-powershell is not installed")
PARSER = tree_sitter.Parser(tree_sitter.Language(powershell.language()))
Node = tree_sitter.Node

WANTED = given(
    REGISTRY
    | {
        "RestrictAnonymousSAM": None,
        "LSAAnonymousNameLookup": 0,
        "SeDenyNetworkLogonRight": ("*S-1-5-7",),
        "SrvsvcSessionInfo": "0100ff",
    }
)
CHANGING = {"SetValue", "DeleteValue", "CreateSubKey", "DeleteSubKey", "DeleteSubKeyTree"}


def parsed(script: str) -> Node:
    root = PARSER.parse(script.encode()).root_node
    assert not root.has_error, [node.text for node in nodes(root) if node.type == "ERROR" or node.is_missing]
    return root


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from nodes(child)


def of_type(root: Node, kind: str) -> list[Node]:
    return [node for node in nodes(root) if node.type == kind]


def calls(root: Node) -> Iterator[tuple[str, Node]]:
    """(name, node) of methods that are called, and of commands with their arguments."""
    for node in of_type(root, "invokation_expression") + of_type(root, "invocation_expression"):
        (name, *_) = [child for child in node.children if child.type == "member_name"]
        yield name.text.decode(), node
    for node in of_type(root, "command"):
        yield node.text.decode(), node


def conditions(node: Node) -> list[str]:
    """Of all `if` around a node what they ask; only those whose first block the node is in."""
    found = []
    for outer, inner in pairwise([*reversed(list(ancestors(node))), node]):
        if outer.type == "if_statement" and inner.type == "statement_block":
            condition = outer.child_by_field_name("condition") or next(
                it for it in outer.children if it.type == "pipeline"
            )
            found.append(condition.text.decode())
    return found


def ancestors(node: Node) -> Iterator[Node]:
    while (parent := node.parent) is not None:
        yield parent
        node = parent


@pytest.mark.parametrize("script", [collect_script(), apply_script(WANTED, "why"), apply_script({})])
def test_they_are_powershell(script: str) -> None:
    parsed(script)
    assert script.isascii(), "so that no code page matters"


def test_what_collects_changes_nothing() -> None:
    found = [name for name, _ in calls(parsed(collect_script()))]
    assert found
    assert not CHANGING & set(found)
    assert not [name for name in found if "/configure" in name or name.startswith(("Set-", "Remove-", "New-", "reg"))]
    assert [name for name in found if "secedit.exe /export" in name]


def test_all_settings_are_collected() -> None:
    script = collect_script()
    for setting in settings().values():
        if setting.kind in ("dword", "sz", "multi", "binary"):
            for place in setting.places:
                entry = f"Key = '{place.removeprefix('HKLM' + chr(92))}'; Name = '{setting.value_name}' }}"
                assert entry in script, setting.id
        if setting.kind in ("system", "right"):
            assert f"Name = '{setting.value_name}' }}" in script


def test_every_change_is_asked_for() -> None:
    root = parsed(apply_script(WANTED))
    changes = [(name, node) for name, node in calls(root) if name in CHANGING or "/configure" in name]
    assert {name for name, _ in changes if name in CHANGING} == {"SetValue", "DeleteValue", "CreateSubKey"}
    assert len(changes) == 4
    for name, node in changes:
        assert any("$PSCmdlet.ShouldProcess" in asked for asked in conditions(node)), name
    assert "SupportsShouldProcess = $true" in of_type(root, "attribute")[0].text.decode()


def test_what_is_there_is_saved_before_anything_is_changed() -> None:
    root = parsed(apply_script(WANTED))
    saved = [node for name, node in calls(root) if name == "WriteAllText" and b"$Rollback" in node.text]
    assert len(saved) == 2
    changed = [node for name, node in calls(root) if name in CHANGING or "/configure" in name]
    assert max(node.end_byte for node in saved) < min(node.start_byte for node in changed)
    for node in saved:
        asked = conditions(node)
        assert asked[0] == "-not $WhatIfPreference"
        assert not [each for each in asked if "ShouldProcess" in each], "a refused question must not skip it"
    assert [
        node
        for node in of_type(root, "throw_statement") + of_type(root, "flow_control_statement")
        if b"exists already" in node.text
    ]
    assert "$ErrorActionPreference = 'Stop'" in apply_script(WANTED)


def test_absent_values_are_saved_as_deletions() -> None:
    """`"name"=-` in the export that undoes: the value is deleted again."""
    text = apply_script(WANTED)
    assert "if ($null -eq $opened) { return $label + '-' }" in text
    assert "-notcontains $Name.ToLowerInvariant()) { return $label + '-' }" in text


def test_changes() -> None:
    text = apply_script(WANTED)
    assert (
        "Name = 'NullSessionPipes'; Kind = 'MultiString'; Value = [string[]]@('netlogon', 'sql\\query', 'a,b');" in text
    )
    assert "Name = 'NullSessionShares'; Kind = 'MultiString'; Value = [string[]]@();" in text
    assert "Name = 'RestrictAnonymous'; Kind = 'DWord'; Value = -1;" in text, "a DWord is signed for .NET"
    assert "Name = 'RestrictAnonymousSAM'; Kind = 'Absent'; Value = $null;" in text
    assert "Name = 'SrvsvcSessionInfo'; Kind = 'Binary'; Value = [byte[]]@(1, 0, 255);" in text
    assert "    'LSAAnonymousNameLookup = 0'" in text
    assert "    'SeDenyNetworkLogonRight = *S-1-5-7'" in text


def value_of(literal: str) -> str:
    """What a literal of ours is to PowerShell, by its grammar: one verbatim string, or characters by number."""
    root = parsed(f"$x = {literal}\n")
    strings = of_type(root, "verbatim_string_characters")
    assert not of_type(root, "expandable_string_literal")
    assert not of_type(root, "sub_expression")
    assert len(root.children) == 1
    if strings:
        (string,) = strings
        assert string.text.decode() == literal
        return literal[1:-1].replace("''", "'")
    numbers = [int(node.text) for node in of_type(root, "decimal_integer_literal")]
    assert literal == f"(-join [char[]]@({', '.join(map(str, numbers))}))"
    return b"".join(number.to_bytes(2, "little") for number in numbers).decode("utf-16-le")


@pytest.mark.parametrize(
    "text",
    [
        "samr",
        "it's",
        "'",
        "''",
        "a'; Remove-Item C:\\ -Recurse; '",
        "$(calc)",
        "`n",
        '"',
        "a\u2019b",
        "\u201b",
        "\r\n",
        "\U0001f600",
    ],
)
def test_texts_stay_texts(text: str) -> None:
    assert value_of(quoted(text)) == text


@run(max_examples=200, deadline=None)
@for_all(texts)
def test_any_text_stays_a_text(text: str) -> None:
    assert value_of(quoted(text)) == text


@run(max_examples=50, deadline=None)
@for_all(st.lists(texts, min_size=1, max_size=3), st.text(max_size=30))
def test_names_do_not_change_what_a_script_does(pipes: list[str], comment: str) -> None:
    def shape(script: str) -> list[str]:
        return [name for name, _ in calls(parsed(script))]

    plain = apply_script(given({"NullSessionPipes": ("samr",)}))
    assert shape(apply_script(given({"NullSessionPipes": tuple(pipes)}), comment)) == shape(plain)


def test_parts_are_put_in_once() -> None:
    """What looks like the place of a part is a name like others."""
    script = apply_script(given({"NullSessionPipes": ("@TEMPLATE@", "@FUNCTIONS@")}))
    assert "@('@TEMPLATE@', '@FUNCTIONS@')" in script
    assert len(re.findall("function Get-RegLine", script)) == 1


@pytest.mark.parametrize("name", ["a\0b", "", "\ud800"])
def test_names_that_no_registry_holds(name: str) -> None:
    with pytest.raises(PolicyError):
        apply_script(given({"NullSessionPipes": (name,)}))


@pytest.mark.parametrize("name", ["PreWindows2000CompatibleAccess", "fLDAPBlockAnonOps", "IPCShareControl"])
def test_what_a_script_does_not_set(name: str) -> None:
    assert not by_script(name, ("*S-1-5-11",))
    with pytest.raises(PolicyError, match=name):
        apply_script(given({name: ("*S-1-5-11",)}))
    assert not by_script("LSAAnonymousNameLookup", None)
