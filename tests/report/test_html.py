"""The report as a page, in a browser: what it says, that its table works, and that nothing gets out of it or into it."""

from __future__ import annotations

import datetime as dt
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import analyzer
from analyzer import policy, slices, tables
from analyzer.analysis import Analysis
from analyzer.errors import AnalyzerError, UsageError
from analyzer.policy.reading import read_bytes
from analyzer.report import html
from analyzer.report.html import evidence
from analyzer.report.html.policy import Policy
from tests import build
from tests.build import ACCESS_DENIED
from tests.dialogue import ALICE, IS_GUEST, Exchange, Smb2, Talk, frame_of, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
CAPTURES = Path(__file__).parents[2] / "captures"
LARGEST = 8_000_000
LEAST_CONTRAST = 4.5
"""Of text, [WCAG 2.2, 1.4.3]."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed, which drives chromium")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Opens a page; afterwards nothing may have been requested, complained of, or asked."""
    told: list[str] = []
    opened = []

    def shown(text: str, before: str = "", **how: Any) -> Page:
        path = tmp_path / f"report-{len(opened)}.html"
        path.write_text(text, encoding="utf-8")
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **how})
        opened.append(context)
        page = context.new_page()
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda problem: told.append(str(problem)))
        page.on("dialog", lambda dialog: (told.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: told.append(request.url) if request.url != path.as_uri() else None)
        if before:
            page.add_init_script(before)
        page.goto(path.as_uri())
        page.wait_for_selector("#tool:not([hidden]), #failure:not([hidden])", timeout=60_000)
        return page

    yield shown
    for context in opened:
        context.close()
    assert told == []


def network() -> tuple[list[Talk], list[tuple[str, str, str, str, Exchange]]]:
    """Conversations of several verdicts; and each row: verdict, client, server, resource, and where."""
    rows = []
    talks: list[Talk] = []

    def talk(client: str, server: str = "10.0.0.2", **how: Any) -> Smb2:
        made = Smb2(client, server, at=len(talks), **how)
        talks.append(made)
        return made

    for client, pipe in (("10.0.0.9", "srvsvc"), ("10.0.0.10", "lsarpc"), ("10.0.0.110", "sql\\query")):
        rows.append(("depends", client, "10.0.0.2", pipe, talk(client).anonymous_use(0x11, pipe)))
    rows.append(("depends", "10.0.0.9", "10.0.0.3", "samr", talk("10.0.0.9", "10.0.0.3").anonymous_use(0x11, "samr")))
    talks[-1].tcp.now_ns += 10**9
    assert isinstance(talks[-1], Smb2)
    talks[-1].use(0x11, 1, "samr", (9, 9))
    guest = talk("10.0.0.15")
    guest.login(0x11, ALICE, session_flags=IS_GUEST)
    guest.tree(0x11, 1)
    rows.append(("depends", "10.0.0.15", "10.0.0.2", "spoolss", guest.use(0x11, 1, "spoolss")))
    unseen = talk("10.0.0.16", opened=False, dialect=None)
    unseen.tree(0x11, 1)
    rows.append(("unknown", "10.0.0.16", "10.0.0.2", "winreg", unseen.use(0x11, 1, "winreg")))
    covered = talk("10.0.0.17")
    rows.append(("covered", "10.0.0.17", "10.0.0.2", "wkssvc", covered.anonymous_use(0x11, "wkssvc")))
    covered.create(0x11, 1, "wkssvc", (0, 0), status=ACCESS_DENIED)
    covered.credentialed_use(0x22, "wkssvc")
    rows.append(
        ("denied", "10.0.0.18", "10.0.0.4", "netlogon", talk("10.0.0.18", "10.0.0.4").refused_use(0x11, "netlogon"))
    )
    idle = talk("10.0.0.20", "10.0.0.4")
    rows.append(("probe", "10.0.0.20", "10.0.0.4", "IPC$", idle.login(0x11)))
    idle.tree(0x11, 1)
    return talks, rows


NETWORK, ROWS = network()
IN_THE_WAY = [row for row in ROWS if row[0] in ("depends", "unknown", "covered")]


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """Of the network."""
    return analyzer.analyze(write(tmp_path_factory.mktemp("page") / "network.pcap", *NETWORK))


@pytest.fixture(scope="module")
def text(analysis: Analysis) -> str:
    """Its page."""
    return html.render(analysis)


def lines(page: Page) -> list[list[str]]:
    """The cells of the rows that the table shows."""
    found: list[list[str]] = page.eval_on_selector_all(
        "#body tr[data-row]", "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    return found


def clients(page: Page) -> list[str]:
    """The addresses of the clients in the rows that the table shows."""
    return [line[1].split()[-1] for line in lines(page)]


def row_of(page: Page, client: str, resource: str) -> Any:
    """The line of a client's use of a resource."""
    found = [
        line
        for line in page.query_selector_all("#body tr[data-row]")
        if client in (cells := line.inner_text().split()) and resource in cells
    ]
    assert len(found) == 1, (client, resource, lines(page))
    return found[0]


def words_of(page: Page, selector: str) -> str:
    return " ".join(page.inner_text(selector).split())


# What it says. #


def test_it_leads_with_the_answer(show: Callable[..., Page], text: str) -> None:
    """Six clients: five depend, of which one is proven to do without, at two servers; of one it is not known."""
    page = show(text)
    first = page.query_selector("main > *")
    assert first is not None
    assert first.get_attribute("id") == "answer"
    answer = words_of(page, "#answer")
    assert answer.startswith("ANSWER 5 clients depend" if "ANSWER" in answer else "Answer 5 clients depend")
    assert "at 2 servers" in answer
    assert "For 1 client it is not known" in answer
    told = "1 server where nobody was seen to need a null session, but the captures do not show enough of it: 10.0.0.4"
    assert told in answer  # in a few seconds
    assert "Not observed enough: captured for 0.0 days, wanted are 7" in answer
    assert "The captures cover a single day" in answer


def test_a_server_that_was_observed_enough_can_be_closed(show: Callable[..., Page], tmp_path: Path) -> None:
    """Enough is what the user says it is."""
    capture = write(tmp_path / "network.pcap", *NETWORK)
    page = show(html.render(analyzer.analyze(capture, minimum="days=0")))
    assert "1 server where nobody was seen to need a null session: 10.0.0.4" in words_of(page, "#answer")
    assert "Not observed enough" not in page.inner_text("#answer")


def test_every_row_in_the_way_is_shown_with_its_frame(show: Callable[..., Page], text: str) -> None:
    page = show(text)
    assert len(lines(page)) == len(IN_THE_WAY)
    for verdict, client, server, resource, exchange in IN_THE_WAY:
        cells = row_of(page, client, resource).inner_text().split()
        assert verdict in cells
        assert server in cells
        assert str(frame_of(exchange.request, *NETWORK)) in cells


def test_servers_say_what_stands_in_the_way(show: Callable[..., Page], text: str) -> None:
    page = show(text)
    told = page.eval_on_selector_all(
        "#servers tbody tr", "rows => rows.map(row => row.innerText.replace(/\\s+/g, ' '))"
    )
    by_server = {line.split(maxsplit=1)[0]: line for line in told}
    assert set(by_server) == {"10.0.0.2", "10.0.0.3", "10.0.0.4"}
    assert "needed 5 1 0" in by_server["10.0.0.2"]
    for pipe in ("srvsvc", "lsarpc", "sql\\query", "spoolss", "winreg", "wkssvc"):
        assert pipe in by_server["10.0.0.2"].split(" began")[0]
    assert "1 connection that began before" in by_server["10.0.0.2"]
    assert "needed 1 0 0 samr" in by_server["10.0.0.3"]
    assert "nobody seen 0 0 1" in by_server["10.0.0.4"]


def test_refused_and_probed_stand_apart(show: Callable[..., Page], text: str) -> None:
    page = show(text)
    told = words_of(page, "#refused tbody")
    assert "denied 10.0.0.4 netlogon open 1 1" in told
    assert "probe 10.0.0.4 IPC$" in told
    page.click("#show-refused")
    assert {line[0].split()[0] for line in lines(page)} == {"denied", "probe"}


def test_a_row_opens_to_its_evidence(show: Callable[..., Page], text: str, analysis: Analysis) -> None:
    """What the table `dependencies` says of it, and where to look."""
    page = show(text)
    unknown = next(row for row in ROWS if row[0] == "unknown")
    button = row_of(page, unknown[1], unknown[3]).query_selector("button")
    assert button.get_attribute("aria-expanded") == "false"
    button.click()
    button = row_of(page, unknown[1], unknown[3]).query_selector("button")
    assert button.get_attribute("aria-expanded") == "true"
    details = page.inner_text(f"#{button.get_attribute('aria-controls')}")
    found = analysis.dependencies
    row = found[found["verdict"] == "unknown"].iloc[0]
    assert "the login is not in the captures" in row["reason"]
    assert row["reason"] in details
    assert set(row["evidence"].split("; ")) <= set(details.split())
    assert f"frame {frame_of(unknown[4].request, *NETWORK)} of " in details
    assert "network.pcap" in details
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    page.keyboard.press("Enter")
    assert page.query_selector("#body tr.details") is None


def test_a_row_has_its_display_filter(show: Callable[..., Page], text: str, analysis: Analysis) -> None:
    """The narrowest that `analyzer.slices` has for it; it can be copied."""
    page = show(text)
    found = next(filters for filters in slices.display_filters(analysis) if filters.resource == "spoolss")
    row_of(page, "10.0.0.15", "spoolss").query_selector("button").click()
    assert page.inner_text("#body .filter") == found.by_resource
    page.click("#body .copy")
    page.wait_for_function("() => ['Copied', 'Selected'].includes(document.querySelector('#body .copy').textContent)")


def test_a_row_without_a_filter_of_its_own_has_one_for_its_frame(
    show: Callable[..., Page], analysis: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As rows beyond the first thousands have it."""
    monkeypatch.setattr(evidence, "display_filters", lambda of: tables.listed([None] * len(of.dependencies)))
    page = show(html.render(analysis))
    row_of(page, "10.0.0.15", "spoolss").query_selector("button").click()
    (frame,) = set(analysis.dependencies.query("resource == 'spoolss'")["frame"])
    assert page.inner_text("#body .filter") == f"frame.number == {frame}"


def test_what_was_not_seen_is_told(show: Callable[..., Page], text: str) -> None:
    page = show(text)
    told = words_of(page, "#trust")
    assert "1 session in use whose login is not in the captures" in told
    assert "QUIC" in told
    assert "machine account password change domain controller every 30 days could not be" in told
    page.click("#trust summary")
    assert "network.pcap" in page.inner_text("#trust details")


def test_the_picture_names_what_it_draws(show: Callable[..., Page], text: str) -> None:
    page = show(text)
    drawn = page.eval_on_selector_all("#flow .node text", "nodes => nodes.map(node => node.textContent)")
    for _, client, server, resource, _ in IN_THE_WAY:
        assert {server, resource} <= set(drawn)
        # All but one say the same name, which would make one box of them.
        assert {client, f"WS10 ({client})"} & set(drawn)
    assert "netlogon" not in drawn
    verdicts = {row[0] for row in IN_THE_WAY}
    assert {
        name for name in tables.VERDICT if page.query_selector_all(f"#flow path.band.v-{name}")
    } == verdicts  # fmt: skip


def test_times_are_by_the_clocks_of_the_analysis(show: Callable[..., Page], tmp_path: Path) -> None:
    """In summer New York is four hours behind: what was at 01:30 was on the evening before."""
    talk = Smb2("10.0.0.9", at=(dt.datetime(2024, 7, 1, 1, 30, tzinfo=dt.UTC).timestamp() - build.START_NS // 10**9))
    talk.anonymous_use(0x11, "srvsvc")
    capture = write(tmp_path / "c.pcap", talk)
    page = show(html.render(analyzer.analyze(capture, timezone="America/New_York")))
    assert "2024-06-30 21:30" in lines(page)[0][8]
    page.click("#body button.open")
    assert "2024-06-30 21:30:00 to 2024-06-30 21:30:00 (America/New_York)" in page.inner_text("#body tr.details")
    assert "Sun 2024-06-30" in page.inner_text("#activity")
    assert "2024-06-30 21:30" in page.inner_text("header")
    assert "Times are those of America/New_York" in page.inner_text("footer")
    page = show(html.render(analyzer.analyze(capture)))
    assert "2024-07-01 01:30" in lines(page)[0][8]


# The table works. #


def test_it_sorts(show: Callable[..., Page], text: str) -> None:
    page = show(text)
    titles = {title.inner_text(): title for title in page.query_selector_all("#titles th")}
    titles["Client"].query_selector("button").click()
    named = ["10.0.0.9", "10.0.0.9", "10.0.0.10", "10.0.0.15", "10.0.0.17", "10.0.0.110"]  # as numbers
    assert clients(page) == [*named, "10.0.0.16"]  # what has no name comes last
    assert titles["Client"].get_attribute("aria-sort") == "ascending"
    titles["Client"].query_selector("button").press("Enter")
    assert clients(page) == [*reversed(named), "10.0.0.16"]
    assert titles["Client"].get_attribute("aria-sort") == "descending"
    titles["Uses"].query_selector("button").click()
    uses = [int(line[list(titles).index("Uses")].split()[0]) for line in lines(page)]
    assert uses == sorted(uses, reverse=True)
    assert len(set(uses)) > 1
    assert titles["Client"].get_attribute("aria-sort") == "none"


def test_it_filters(show: Callable[..., Page], text: str) -> None:
    page = show(text)
    page.uncheck("input[value=depends]")
    assert {line[0].split()[0] for line in lines(page)} == {"unknown", "covered"}
    page.check("input[value=denied]")
    assert {line[0].split()[0] for line in lines(page)} == {"unknown", "covered", "denied"}
    page.check("input[value=depends]")
    page.select_option("#by-server", label="10.0.0.3")
    assert clients(page) == ["10.0.0.9"]
    page.select_option("#by-server", label="all")
    page.select_option("#by-resource", label="sql\\query")
    assert clients(page) == ["10.0.0.110"]


def test_it_searches(show: Callable[..., Page], text: str) -> None:
    page = show(text)

    def search(words: str, *expected: str) -> None:
        """The table has rows of these clients, some moments after the last letter."""
        page.fill("#search", words)
        page.wait_for_function(
            "expected => [...document.querySelectorAll('#body tr[data-row]')]"
            ".map(row => row.cells[1].innerText.trim().split(/\\s/).at(-1)).join() === expected",
            arg=",".join(expected),
        )

    search("SPOOLSS", "10.0.0.15")
    search("10.0.0.9 samr", "10.0.0.9")  # both words
    search("10.0.0.9", "10.0.0.9", "10.0.0.9")
    search("guest", "10.0.0.15")
    search("nothing of this")
    assert "0 that fit" in page.inner_text("#status")
    page.fill("#search", "")
    page.wait_for_function(f"() => document.querySelectorAll('#body tr[data-row]').length === {len(IN_THE_WAY)}")


# Scanners of the user's own list are left out, and named. #


def test_rows_that_are_left_out_are_named(show: Callable[..., Page], tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nclient = "10.0.0.15"\nscanner = true\nowner = "security"\n', encoding="utf-8")
    found = analyzer.analyze(write(tmp_path / "c.pcap", *NETWORK), applications=rules)
    page = show(html.render(found))
    assert "10.0.0.15" in page.inner_text("#left-out")
    assert "1 client left out: scanners by your own rules" in words_of(page, "#answer")
    assert "10.0.0.15" not in clients(page)
    assert "10.0.0.15" not in page.inner_text("#flow")
    page.check("#excluded")
    assert "10.0.0.15" in clients(page)


def test_nothing_is_said_of_scanners_where_there_are_none(text: str) -> None:
    assert 'id="left-out"' not in text
    assert 'id="excluded"' not in text


# Policies: only where they are given. #


def test_policies_are_shown_as_given(show: Callable[..., Page], analysis: Analysis, text: str) -> None:
    assert 'id="policies"' not in text
    rows = analysis.dependencies
    lost = rows.index[(rows["resource"] == "samr") | (rows["resource"] == "spoolss")].tolist()
    kept = rows.index[rows["resource"] == "lsarpc"].tolist()
    outcomes = pa.table(
        {
            "server": ["10.0.0.2"] * 3,
            "row": [*kept, *lost],
            "outcome": ["still_works", "breaks", "breaks"],
            "setting": ["", "NullSessionPipes", "NullSessionPipes"],
            "why": ["it is listed", "the pipe <b>is not</b> listed", "the pipe <b>is not</b> listed"],
            "source": ["a document", "another", "another"],
        }
    )
    strict = Policy("strict", outcomes, ["NullSessionPipes = (empty)"], notes={"Please note": ["a <b>note</b>"]})
    page = show(html.render(analysis, policies=[strict]))
    told = page.eval_on_selector_all(
        "#policies tbody tr", "rows => rows.map(row => row.innerText.replace(/\\s+/g, ' '))"
    )
    assert told == [
        "breaks 2 WS10 10.0.0.15, WS10 10.0.0.9 spoolss, samr NullSessionPipes: the pipe <b>is not</b> listed another",
        "still works 1 WS10 lsarpc it is listed a document",
    ]
    section = words_of(page, "#policies")
    assert "10.0.0.2 breaks 2 rows, still works 1 row" in section
    assert "It sets NullSessionPipes = (empty)." in section
    assert "Please note a <b>note</b>" in section
    assert "RPC over TCP and LDAP were not examined" in section
    assert "strict: breaks 2 rows, still works 1 row of what was seen." in words_of(page, "#answer")
    row_of(page, "10.0.0.15", "spoolss").query_selector("button").click()
    assert "breaks: NullSessionPipes: the pipe <b>is not</b> listed" in page.inner_text("#body tr.details")
    page.fill("#search", "still works")
    page.wait_for_function("() => document.querySelectorAll('#body tr[data-row]').length === 1")
    assert clients(page) == ["10.0.0.10"]


def test_a_policy_without_its_columns_is_refused() -> None:
    with pytest.raises(UsageError, match="no column outcome, why"):
        Policy("strict", pa.table({"server": ["a"], "row": [1], "setting": ["b"], "source": ["c"]}))


@pytest.fixture(scope="module")
def change() -> Analysis:
    """A recorded server that lets everybody in, before it was changed (see captures/README.md)."""
    return analyzer.analyze(CAPTURES / "change-0-open.pcap")


def of_samba(text: str) -> policy.Policy:
    return read_bytes(f"[global]\n{text}\n".encode(), "smb.conf")


def test_a_what_if_is_told_by_server(show: Callable[..., Page], change: Analysis) -> None:
    """With restrict anonymous = 1 the recorded clients were refused users, and shares (captures/change-1-restrict1.pcap)."""
    policies = {"": of_samba("restrict anonymous = 1")}
    found = policy.whatif({name: change.arrow(name) for name in policy.NEEDED}, policies=policies)
    page = show(html.render(change, policies=[html.replayed("smb.conf", found, policies)]))
    section = words_of(page, "#policies")
    assert "It sets samba:restrict anonymous = 1." in section
    assert "files1.corp.example (10.77.0.2) Samba, member server" in section
    told = page.eval_on_selector_all(
        "#policies tbody tr", "rows => rows.map(row => row.innerText.replace(/\\s+/g, ' '))"
    )
    assert any(re.match(r"breaks \d+ CLIENT2 samr", line) for line in told)
    assert any(re.match(r"still works \d+ .*CLIENT7 .*spoolss", line) for line in told)
    assert "nothing breaks" not in page.inner_text("body").lower()


def test_scanners_are_left_out_of_what_a_policy_does_and_named(show: Callable[..., Page], tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nclient = "10.77.0.11"\nscanner = true\n', encoding="utf-8")
    analysis = analyzer.analyze(CAPTURES / "change-0-open.pcap", applications=rules)
    tables_ = {name: analysis.arrow(name) for name in policy.NEEDED}
    policies = {"": of_samba("restrict anonymous = 2")}
    found, advice = policy.whatif(tables_, policies=policies), policy.recommend(tables_)
    page = show(html.render(analysis, policies=[html.replayed("strict", found, policies)], recommendation=advice))
    for section in ("#policies", "#recommended"):
        assert "CLIENT2 10.77.0.11 is left out" in words_of(page, section)
        assert "CLIENT2" not in "".join(page.locator(f"{section} table").all_inner_texts())
    assert "CLIENT3" in page.inner_text("#policies table")


def test_what_is_recommended_is_told_with_who_stands_in_the_way(show: Callable[..., Page], change: Analysis) -> None:
    """By the recordings: PUBLIC is used by CLIENT4 (guest) and CLIENT5, and names become guests for CLIENT1 and CLIENT4."""
    tables_ = {name: change.arrow(name) for name in policy.NEEDED}
    baseline = of_samba("map to guest = Bad User\n[PUBLIC]\nguest ok = yes\n[OLD]\nguest ok = yes")
    advice = policy.recommend(tables_, baselines={"": baseline})
    page = show(html.render(change, recommendation=advice))
    assert page.inner_text("#recommended .settings tbody tr").split("\t")[:2] == ["[old] guest ok", "no"]
    held = [row.split("\t") for row in page.locator("#recommended .held tbody tr").all_inner_texts()]
    who = {cells[0]: re.findall(r"CLIENT\d", cells[2]) for cells in held}
    assert who["samba:guest ok: PUBLIC"] == ["CLIENT4", "CLIENT5"]
    assert who["samba:map to guest = Never"] == ["CLIENT1", "CLIENT4"]
    assert "RPC over TCP and LDAP were not examined" in words_of(page, "#recommended")
    answer = words_of(page, "#answer")
    assert "What can be closed today" in answer
    assert "Recommended at files1.corp.example (10.77.0.2): [old] guest ok = no." in answer
    assert 'id="policies"' not in html.render(change, recommendation=advice)


def test_where_nothing_is_recommended_it_says_why(
    show: Callable[..., Page], change: Analysis, analysis: Analysis
) -> None:
    tables_ = {name: change.arrow(name) for name in policy.NEEDED}
    advice = policy.recommend(tables_, enough={"10.77.0.2": "not observed for long enough: seen on 1 day of 7"})
    page = show(html.render(change, recommendation=advice))
    assert "Nothing is recommended: not observed for long enough: seen on 1 day of 7." in words_of(page, "#recommended")
    assert "Nothing is recommended for 1 server: not observed for long enough." in words_of(page, "#answer")
    unknown = policy.recommend({name: analysis.arrow(name) for name in policy.NEEDED})
    page = show(html.render(analysis, recommendation=unknown))
    assert "Nothing is recommended: what the server is is not known; --os says it." in words_of(page, "#recommended")
    assert "Nothing is recommended for 3 servers: what the server is is not known." in words_of(page, "#answer")


# Nothing gets in, nothing gets out. #

SCRIPT = "<script>alert(1)</script>"
IMAGE = "\"'><img src=x onerror=alert(2)>"
ENDED = "</script></svg></title><script>alert(3)//"
TURNED = "a\u202egnp.exe"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """What clients send, and the name of the file, would be markup."""
    hidden = Smb2("10.0.0.9", server_port=445)
    hidden.login(0x11, build.ntlm_authenticate(lm=b"\0", domain=IMAGE, workstation=SCRIPT))
    hidden.tree(0x11, 1)
    for number, pipe in enumerate((SCRIPT, IMAGE, ENDED, TURNED), 2):
        hidden.use(0x11, 1, pipe, (number, number))
    share = Smb2("10.0.0.10", at=1)
    share.login(0x11)
    share.tree(0x11, 2, SCRIPT)
    share.create(0x11, 2, "file", (9, 9))
    failed = Smb2("10.0.0.11", at=2)
    failed.login(
        0x11,
        build.ntlm_authenticate(ENDED, domain=IMAGE, workstation=IMAGE, lm=bytes(24), nt=bytes(60)),
        status=0xC000006D,
    )
    failed.anonymous_use(0x22, "srvsvc")
    folder = tmp_path_factory.mktemp("hostile")
    return analyzer.analyze(write(folder / "<img src=x onerror=alert(4)>.pcap", hidden, share, failed))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_names_stay_text(scheme: str, show: Callable[..., Page], hostile: Analysis) -> None:
    page = show(html.render(hostile, title=SCRIPT), color_scheme=scheme)
    assert page.title() == SCRIPT
    assert page.inner_text("h1") == SCRIPT
    assert page.evaluate("document.scripts.length") == 2
    assert page.evaluate("document.images.length") == 0
    resources = {line[4] for line in lines(page)}
    assert {SCRIPT, IMAGE, ENDED, SCRIPT.upper()} <= resources
    assert "a\\u202egnp.exe" in resources  # what would turn the direction of writing is spelt out
    for button in range(len(page.query_selector_all("#body button.open"))):
        page.query_selector_all("#body button.open")[button].click()
    told = page.inner_text("#body")
    assert "<img src=x onerror=alert(4)>.pcap" in told
    assert ENDED in told.partition("Followed")[2]
    page.click("#flow summary")
    assert SCRIPT in page.inner_text("#flow details")
    assert page.evaluate("document.scripts.length") == 2


def test_the_policy_of_the_page_forbids_all_but_its_own(browser: Browser, tmp_path: Path, text: str) -> None:
    """Were there markup in spite of all, it could neither run nor load nor send."""
    path = tmp_path / "report.html"
    planted = (
        "<script>window.ran = 1</script><img src='data:image/gif;base64,R0lGODlhAQABAAAAACw=' onerror='window.ran = 2'>"
    )
    assert "</body>" in text
    path.write_text(
        text.replace("</body>", f"<p style='color: red' id='planted'>x</p>{planted}</body>"), encoding="utf-8"
    )
    page = browser.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(path.as_uri())
    page.wait_for_selector("#tool:not([hidden])")
    assert page.evaluate("window.ran") is None
    assert page.evaluate("getComputedStyle(document.getElementById('planted')).color") != "rgb(255, 0, 0)"
    assert page.evaluate("fetch('https://example.com/').then(() => 'sent', () => 'refused')") == "refused"
    page.evaluate("setTimeout('window.ran = 3')")
    page.evaluate("new Promise(resolve => setTimeout(resolve, 50))")
    assert page.evaluate("window.ran") is None
    told = [line for line in refused if "Content Security Policy" in line]
    assert len(told) >= 5  # style, script, image, request, text as a script
    page.close()


def test_the_policy_names_hashes_only(text: str) -> None:
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert found is not None
    policy = found[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert not re.search(r"\s(style|on\w+)=", text.partition("<body>")[2].partition("<script")[0])
    assert "http:" not in text.replace("http://www.w3.org", "")
    assert "https:" not in text


# For eyes, for paper, and for those who do not see. #

CONTRASTS = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const bright = ([r, g, b]) => [r, g, b].map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *:not(svg *):not(script):not(option)")) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    if (!element.checkVisibility() || element.disabled) continue;
    const [one, other] = [bright(rgb(getComputedStyle(element).color)), bright(behind(element))];
    found.push([(Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05), element.textContent.slice(0, 40)]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 400])
def test_it_can_be_read(scheme: str, width: int, show: Callable[..., Page], text: str, tmp_path: Path) -> None:
    page = show(text, color_scheme=scheme, viewport={"width": width, "height": 900})
    page.click("#body button.open")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 100
    assert min(contrasts)[0] >= LEAST_CONTRAST, min(contrasts)
    # Wide tables scroll in themselves, and the page does not.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shot = tmp_path / f"{scheme}-{width}.png"
    page.screenshot(path=shot, full_page=True)
    assert shot.stat().st_size > 10_000


def test_print_has_all_rows_and_no_controls(show: Callable[..., Page]) -> None:
    """More rows than a page of the table has are printed, and what is folded opens."""
    page = show(html.render(made(300)))
    assert len(lines(page)) < 300
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert len(lines(page)) == 300
    assert not page.is_visible("#search")
    assert not page.is_visible(".toc")
    assert page.evaluate("[...document.querySelectorAll('details')].every(more => more.open)")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert len(lines(page)) < 300


def test_those_who_do_not_see_find_their_way(show: Callable[..., Page], text: str) -> None:
    page = show(text)
    headings = page.eval_on_selector_all("h1, h2, h3, h4", "all => all.map(one => Number(one.tagName[1]))")
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    assert page.evaluate("document.documentElement.lang") == "en"
    unlabelled = page.evaluate(
        "[...document.querySelectorAll('input, select')].filter(one => !one.labels.length).map(one => one.outerHTML)"
    )
    assert unlabelled == []
    assert page.evaluate("[...document.querySelectorAll('thead th')].every(one => one.scope === 'col')")
    assert page.evaluate(
        "[...document.querySelectorAll('[role=region]')].every(one => one.tabIndex === 0 && "
        "(one.ariaLabel || document.getElementById(one.getAttribute('aria-labelledby'))))"
    )
    assert page.get_by_role("button", name="depends: evidence for WS10, spoolss").count() == 1
    targets = page.eval_on_selector_all("a[href^='#']", "all => all.map(one => one.hash.slice(1))")
    assert set(targets) <= set(page.eval_on_selector_all("[id]", "all => all.map(one => one.id)"))
    assert page.evaluate(
        "[...document.querySelectorAll('#flow svg, #activity svg.heat')].every(one => one.role === 'img')"
    )


# From nothing to very much. #


def made(rows: int, seed: int = 1) -> Analysis:
    """An analysis with so many rows of `dependencies`, with much that is different in each of them."""
    random = np.random.default_rng(seed)
    number = np.arange(rows)
    begin = 1_767_225_600_000_000_000 + random.integers(0, 14 * 86_400 * 10**9, rows)

    def texts(values: list[str]) -> Any:
        return tables.listed([values[place] for place in random.integers(0, len(values), rows)])

    signs = [
        "ntlm.empty_user",
        "ntlm.flag_anonymous",
        "smb2.flags_zero",
        "status.success",
        "call.worked",
        "files.opened",
    ]
    columns = {
        "site": tables.listed([""] * rows),
        "client_ip": tables.listed([f"10.{place >> 16}.{place >> 8 & 255}.{place & 255}" for place in number.tolist()]),
        "client": tables.listed([f"ws-{word:08x}.example.com" for word in random.integers(0, 2**32, rows).tolist()]),
        "server_ip": texts([f"192.168.{place // 250}.{place % 250}" for place in range(500)]),
        "server": tables.listed([None] * rows),
        "application": texts(["backup", "label printers", "scan to folder"]),
        "resource": texts(["srvsvc", "samr", "lsarpc", "SCANS", "spoolss"]),
        "operation": texts([f"Operation{place}" for place in range(40)]),
        "identity": tables.places_in(np.zeros(rows), tables.IDENTITY),
        "verdict": tables.places_in(np.zeros(rows), tables.VERDICT),
        "reason": texts([f"reason {place}" for place in range(200)]),
        "root_cause": tables.listed(
            [f"login as u{n:x} failed in frame {n}" for n in random.integers(0, 2**40, rows).tolist()]
        ),
        "evidence": texts(["; ".join(random.permutation(signs).tolist()) for _ in range(500)]),
        "excluded": tables.bools(np.zeros(rows)),
        "sessions": tables.ints(random.integers(1, 99, rows)),
        "uses": tables.ints(random.integers(1, 10_000, rows)),
        "succeeded": tables.ints(random.integers(1, 10_000, rows)),
        "denied": tables.ints(random.integers(0, 99, rows)),
        "active_days": tables.ints(random.integers(1, 14, rows)),
        "first_seen": tables.times(begin),
        "last_seen": tables.times(begin + random.integers(0, 86_400 * 10**9, rows)),
        "confidence": tables.places_in(random.integers(0, 3, rows), tables.CONFIDENCE),
        "capture": texts([f"captures/day-{place:03}.pcapng" for place in range(100)]),
        "frame": tables.ints(random.integers(1, 2**31, rows)),
    }
    found = {name: tables.empty(name) for name in tables.ROWS}
    found["dependencies"] = tables.table("dependencies", columns, rows)
    settings = {"engine": "native", "ports": [445], "detail": "default", "separate": False, "hosts": 0}
    return Analysis(found, {}, {**settings, "applications": 0, "endpoint_logs": 0})


def test_fifty_thousand_rows_are_one_small_file(show: Callable[..., Page]) -> None:
    text = html.render(made(50_000))
    assert len(text.encode()) < LARGEST
    page = show(text)
    assert "of 50,000 that fit" in page.inner_text("#status")
    assert len(lines(page)) <= 1_000  # the browser gets a part
    page.fill("#search", "10.0.195.79")  # of row 50,000
    page.wait_for_function("() => document.querySelectorAll('#body tr[data-row]').length === 1")
    assert lines(page)[0][1].startswith("ws-")
    page.fill("#search", "")
    page.wait_for_function("() => document.querySelectorAll('#body tr[data-row]').length > 1")
    page.click("#titles th[data-column=uses] button")
    assert lines(page)[0][7] == "9,999"
    page.click("#next")
    assert "Page 2 of 1,000" in page.inner_text("#page")


def test_more_rows_than_a_page_takes_are_told(show: Callable[..., Page], monkeypatch: pytest.MonkeyPatch) -> None:
    from analyzer.report.html import rows  # noqa: PLC0415

    monkeypatch.setattr(rows, "MOST_ROWS", 60)
    page = show(html.render(made(100)))
    assert "the first 60 of 100 rows" in words_of(page, "#dependencies > p.notice:not(#failure)")
    assert "of 60 that fit" in page.inner_text("#status")


def test_nothing_found_is_no_promise(show: Callable[..., Page], tmp_path: Path) -> None:
    page = show(
        html.render(
            analyzer.analyze(
                write(tmp_path / "none.pcap", build.Conversation(("10.0.0.1", 9), ("10.0.0.2", 80)).open())
            )
        )
    )
    assert "No SMB login and no use of an SMB session was found" in page.inner_text("#answer")
    assert lines(page) == []
    assert page.query_selector("#flow") is None
    assert "QUIC" in page.inner_text("#trust")


def test_an_analysis_of_nothing_makes_a_page(show: Callable[..., Page]) -> None:
    page = show(html.render(made(0)))
    assert "No server was seen" in page.inner_text("#servers")
    assert "no packet with a time" in page.inner_text("#activity")


def test_one_row(show: Callable[..., Page], tmp_path: Path) -> None:
    talk = Smb2("10.0.0.9")
    opened = talk.anonymous_use(0x11, "srvsvc")
    page = show(html.render(analyzer.analyze(write(tmp_path / "one.pcap", talk))))
    assert words_of(page, ".lead") == "1 client depends on null sessions at 1 server: srvsvc."
    (line,) = lines(page)
    assert f"frame\xa0{frame_of(opened.request, talk)}" in line[-1]
    assert "Rows 1 to 1 of 1" in page.inner_text("#status")


def test_a_browser_that_cannot_unpack_says_so(show: Callable[..., Page], text: str) -> None:
    page = show(text, before="delete globalThis.DecompressionStream")
    assert "too old to unpack the table" in page.inner_text("#failure")
    assert not page.is_visible("#tool")
    assert "5 clients depend" in page.inner_text("#answer")


# Writing it. #


def test_it_is_written_to_a_file(analysis: Analysis, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    html.write(analysis, path, title="Change 4711")
    assert "<title>Change 4711</title>" in path.read_text(encoding="utf-8")
    with pytest.raises(AnalyzerError, match="cannot be written"):
        html.write(analysis, tmp_path / "missing" / "report.html")


def test_ends_of_lines_do_not_matter(show: Callable[..., Page], text: str) -> None:
    """A page that was changed on its way, such as by a mail program or a version control system, still runs its script."""
    page = show(text.replace("\n", "\r\n"))
    assert len(lines(page)) == len(IN_THE_WAY)


def test_long_names_are_whole_in_what_opens(show: Callable[..., Page]) -> None:
    page = show(html.render(made(3)))
    name = lines(page)[0][1].split()[0]
    assert "." not in name
    page.click("#body button.open")
    assert f"{name}.example.com (10." in page.inner_text("#body tr.details")


def test_choices_are_few_enough_to_be_read(show: Callable[..., Page]) -> None:
    page = show(html.render(hostile_resources(1_500)))
    options = page.eval_on_selector_all("#by-resource option", "all => all.map(one => one.textContent)")
    assert len(options) == 1_002  # all, those, and how many there are more
    assert options[-1] == "500 more: search for them"


def hostile_resources(rows: int) -> Analysis:
    """Each row another pipe."""
    found = made(rows)
    table = found.arrow("dependencies")
    place = table.column_names.index("resource")
    pipes = table.set_column(place, "resource", tables.listed([f"pipe{number}" for number in range(rows)]))
    rest = {name: found.arrow(name) for name in tables.ROWS}
    return Analysis({**rest, "dependencies": pipes}, {}, found.settings)


def test_settings_of_older_results_may_be_missing(analysis: Analysis) -> None:
    found = Analysis({name: analysis.arrow(name) for name in (*tables.ROWS, *tables.SUMMARIES)}, {}, {})
    assert "Methods and limits" in html.render(found)
