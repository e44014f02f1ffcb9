"""What-if in a terminal: what stands there, and that nothing of a capture steers it."""

from __future__ import annotations

import io

from rich.console import Console

from analyzer import policy as policies
from analyzer.report.whatif import render, render_recommendation
from tests.policy.seen import policy, seen, use

LISTS = {"NullSessionPipes": ("browser",), "NullSessionShares": (), "RestrictNullSessAccess": 1}


def printed() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=200, highlight=False), out


def test_each_outcome_has_its_reason_setting_and_document() -> None:
    rows = seen(
        use("spoolss", application="Printing"), use("browser"), use("samr", verdict="denied", refused_at="open")
    )
    found = policies.whatif(rows, policies={"": policy(RestrictAnonymous=1, **LISTS)}, roles={"": "member"})
    console, out = printed()
    render(found, console, script="collect")
    text = out.getvalue()
    assert "1 of the uses that were seen would break" in text
    for words in (
        "NullSessionPipes: the pipe is not listed",
        "KB 126645",
        "Printing",
        "Refused already today",
        "collect",
    ):
        assert words in text
    assert "RestrictAnonymous acts on RPC over TCP and LDAP too, which was not examined" in text


def test_contradictions_and_warnings_are_told() -> None:
    rows = seen(use("spoolss"), use("browser", server="192.168.0.2"), systems={"192.168.0.2": ""})
    baseline = policy(NullSessionPipes=("browser",), RestrictNullSessAccess=1)
    found = policies.whatif(rows, policies={"": policy(**LISTS)}, baselines={"": baseline}, roles={"": "member"})
    console, out = printed()
    render(found, console)
    text = out.getvalue()
    assert "spoolss: it worked, but the pipe is not listed" in text
    assert "what the server is is not known" in text


def test_names_of_captures_cannot_steer_the_terminal() -> None:
    evil = "a\x1b[2Jb\u202ec"
    rows = seen(
        use(evil, application=evil, server="192.168.0.1", client=evil), use("browser", client=evil),
    )  # fmt: skip
    console, out = printed()
    render(policies.whatif(rows, policies={"": policy(**LISTS)}, roles={"": "member"}), console)
    render_recommendation(policies.recommend(rows, roles={"": "member"}), console)
    assert "\x1b" not in out.getvalue()
    assert "\u202e" not in out.getvalue()


def test_a_recommendation_says_what_it_sets_and_who_stands_in_the_way() -> None:
    rows = seen(
        use("spoolss", client="10.0.0.7", application="Printing"), use("samr", verdict="denied", refused_at="open")
    )
    console, out = printed()
    render_recommendation(policies.recommend(rows, roles={"": "member"}, accept=["0"]), console)
    assert "NullSessionPipes = (empty)" in out.getvalue()
    assert "Given up on purpose" in out.getvalue()
    console, out = printed()
    render_recommendation(policies.recommend(rows, roles={"": "member"}), console)
    assert "NullSessionPipes = spoolss" in out.getvalue()
    assert "moving 10.0.0.7, Printing, to a service account lets `spoolss` go" in out.getvalue()
    assert "refused already today: samr" in out.getvalue()


def test_no_word_is_lost_at_any_width() -> None:
    """The reason, its document, who and what stand there as a whole, and no line is too long."""
    rows = seen(use("spoolss", application="Printing from the accounting system", client="10.0.0.7"), use("browser"))
    found = policies.whatif(rows, policies={"": policy(**LISTS)}, roles={"": "member"})
    (broken,) = (row for row in found.rows().to_dict("records") if row["outcome"] == "breaks")
    for width in range(60, 221, 4):
        out = io.StringIO()
        render(found, Console(file=out, width=width, highlight=False))
        assert max(map(len, out.getvalue().splitlines())) <= width
        text = " ".join(out.getvalue().split())
        assert f"{broken['setting']}: {broken['why']} [{broken['source']}]" in text
        assert "applications: Printing from the accounting system" in text
        assert "clients: 10.0.0.7" in text
