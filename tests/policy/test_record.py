"""The change record, read by a Markdown parser: it tells everything, and nothing in it acts as markup."""

from __future__ import annotations

from hashlib import sha256

import pytest
from given import given, texts
from hypothesis import given as for_all
from hypothesis import settings as run
from markdown_it import MarkdownIt
from markdown_it.token import Token

from analyzer.policy.record import Content, plain, write_record
from analyzer.policy.settings import Policy

POLICY = Policy("windows", given({"NullSessionPipes": ("samr",), "RestrictAnonymous": 1, "RestrictNullSessAccess": 1}))
BASELINE = Policy("windows", given({"RestrictAnonymous": None, "RestrictNullSessAccess": 1}))
CONTENT = Content(
    title="Null sessions at files01",
    subject={"server": "files01", "release": "Windows Server 2019"},
    reason="Two clients were seen.",
    affected=[{"client": "10.0.0.5", "application": "label printer", "effect": "still works"}],
    evidence=[{"capture": "a.pcap", "frame": "17", "what": "samr opened anonymously"}],
    unknown=["what happens at month's end"],
)
FILES = {"policy.reg": b"x", "rollback.reg": b"y"}
HARMLESS = {"text", "text_special", "softbreak"}


def tokens(text: str) -> list[Token]:
    return MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading."""
    found: list[list[str]] = []
    under = ""
    for token, following in zip(tokens(text), tokens(text)[1:], strict=False):
        if token.type == "heading_open":
            under = following.content
        elif token.type == "tr_open" and under == heading:
            found.append([])
        elif token.type in ("th_open", "td_open") and under == heading:
            assert following.children is not None
            found[-1].append("".join(child.content for child in following.children))
    return found


def test_changes_with_what_was_before() -> None:
    text = write_record(POLICY, BASELINE, CONTENT, FILES)
    head, *changes = rows(text, "Changes")
    assert head == ["setting", "where", "before", "after", "takes effect"]
    assert [(row[0].split(":")[0], row[2], row[3]) for row in changes] == [
        ("Network access", "not known", "samr"),
        ("Network access", "absent", "1 (anonymous may not list accounts and shares)"),
    ], "what stays as it is, is no change"
    assert "Computer Configuration\\Windows Settings" in changes[0][1]


def test_parties_evidence_and_what_is_unknown() -> None:
    text = write_record(POLICY, BASELINE, CONTENT, FILES)
    assert rows(text, "Affected parties") == [
        ["client", "application", "effect"],
        ["10.0.0.5", "label printer", "still works"],
    ]
    assert rows(text, "Evidence") == [["capture", "frame", "what"], ["a.pcap", "17", "samr opened anonymously"]]
    assert "- what happens at month's end" in text
    assert text.startswith("# Null sessions at files01\n")
    assert "- server: files01" in text


def test_files_can_be_told_by_their_sums() -> None:
    text = write_record(POLICY, BASELINE, CONTENT, FILES)
    assert f"policy.reg: SHA-256 {sha256(b'x').hexdigest()}" in text
    assert "What was set before is in rollback.reg." in text
    assert "was not given" in write_record(POLICY, None, CONTENT, {"policy.reg": b"x"})


def test_nothing_is_claimed_where_nothing_is_known() -> None:
    text = write_record(Policy("windows"), None, Content(), {})
    assert "Nothing is changed." in text
    assert "None was seen. What was not captured cannot be known." in text


def test_shares_of_samba() -> None:
    policy = Policy("samba", given({"samba:map to guest": "Never"}), {"scans|x": given({"guest ok": "no"})})
    changes = rows(write_record(policy, None, Content(), {}), "Changes")
    assert [row[0] for row in changes] == ["setting", "smb.conf: map to guest", "[scans|x] guest ok"]


HOSTILE = [
    "a|b",
    "<script>alert(1)</script>",
    "[x](http://evil.example)",
    "![x](y)",
    "`code`",
    "**bold** _it_ ~~no~~",
    "# heading",
    "- item",
    "1. item",
    "12) item",
    "+ item",
    "=====",
    "---",
    "> quote",
    "&lt;b&gt; &amp;",
    "line\n\n# next",
    "http://evil.example www.evil.example a@b.example",
    "\\",
    "\\|",
    "ends with \\",
    ":---:",
    "\x1b[31m",
    "\u202egnp.exe",
    "$x^2$",
    "<!-- ",
    "```",
    "    four spaces",
]


def shown(text: str) -> str:
    """What a reader sees of a text within a list and a table; asserts that both are plain."""
    record = write_record(
        Policy("windows"), None, Content(unknown=[text], affected=[{"client": text, "next": "cell"}]), {}
    )
    assert rows(record, "Affected parties")[1][1:] == ["cell"]
    inline = [token for token in tokens(record) if token.type == "inline"]
    assert {child.type for token in inline for child in token.children or []} <= HARMLESS
    assert not {token.type for token in tokens(record)} & {"html_block", "fence", "code_block", "blockquote_open", "hr"}
    assert [token.content for token in inline if token.level == 1 and token.content.startswith("#")] == []
    assert sum(token.type == "bullet_list_open" for token in tokens(record)) == 1
    assert not [token for token in tokens(record) if token.type == "ordered_list_open"]
    return rows(record, "Affected parties")[1][0]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_acts_as_markup(text: str) -> None:
    spelt = "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in text)
    assert shown(text).strip() == spelt.strip()


@run(max_examples=300, deadline=None)
@for_all(texts)
def test_no_text_acts_as_markup(text: str) -> None:
    shown(text)


def test_nothing_becomes_a_link_of_itself() -> None:
    for text in ("https://x.example", "www.x.example", "a@b.example"):
        assert text not in plain(text)
