"""One use against one policy: what is unchanged stays, and what is in doubt is not promised."""

from __future__ import annotations

from analyzer.policy.judging import NOTHING, Context, Values, but_for_lists, defaults, normal
from analyzer.policy.rules import Held, Place, Use
from analyzer.policy.settings import default_of, settings
from analyzer.policy.uses import Form

MEMBER = Place("windows", 7601, "member")
SPOOLSS = Use("pipe", "spoolss", None, None, "anonymous", True, False, 0x0311)


def form(*uses: Use, **more: bool) -> Form:
    known = {"observed": True, "refused": False, "may_be_none": False, "operation_known": True} | more
    return Form(uses, **known, refused_at="open" if known["refused"] else "", client="windows")


def values(**held: object) -> Values:
    return Values({name: Held(value, "test") for name, value in held.items()})  # type: ignore[arg-type] # as policies have


def judged(then: Values, now: Values = NOTHING, **more: object) -> str:
    return Context((MEMBER,), now, then, **more).judge(0, form(SPOOLSS)).outcome  # type: ignore[arg-type] # of a test


def test_a_list_with_the_same_names_is_no_change() -> None:
    now = values(NullSessionPipes=("browser", "lsarpc"), RestrictNullSessAccess=1)
    same = values(NullSessionPipes=("LSARPC", "Browser", ""), RestrictNullSessAccess=1)
    assert judged(same, now) == "still_works"  # it worked although it is not listed: whatever lets it through stays
    assert judged(same) == "breaks"


def test_what_is_distrusted_is_in_doubt_for_that_pipe_or_for_all() -> None:
    then = values(NullSessionPipes=("browser",), RestrictNullSessAccess=1)
    for distrusted, outcome in (
        (frozenset({("NullSessionPipes", None)}), "cannot_be_known"),
        (frozenset({("NullSessionPipes", "spoolss")}), "cannot_be_known"),
        (frozenset({("NullSessionPipes", "samr")}), "breaks"),
        (frozenset({("NullSessionShares", None)}), "breaks"),
    ):
        assert judged(then, distrusted=distrusted) == outcome


def test_places_that_do_not_agree_are_in_doubt() -> None:
    then = values(NullSessionPipes=(), NullSessionShares=(), RestrictNullSessAccess=1)
    ipc = form(Use("ipc", "IPC$", None, None, "anonymous", True, False, 0x0311))
    old, new = MEMBER, MEMBER._replace(build=14393)
    outcomes = [Context(at, NOTHING, then).judge(0, ipc).outcome for at in ((old,), (new,), (old, new))]
    assert outcomes == ["still_works", "breaks", "cannot_be_known"]


def test_contexts_that_share_their_judgements_differ_in_lists_only() -> None:
    kept: dict = {}
    open_, closed = (values(NullSessionPipes=(name,), RestrictNullSessAccess=1) for name in ("spoolss", "browser"))
    assert but_for_lists(open_) == but_for_lists(closed)
    assert but_for_lists(open_) != but_for_lists(values(NullSessionPipes=("spoolss",), RestrictNullSessAccess=0))
    for _ in range(2):
        assert judged(open_, kept=kept) == "still_works"
        assert judged(closed, kept=kept) == "breaks"
    assert len(kept) == 2


def test_only_defaults_that_are_sure_are_assumed() -> None:
    found = defaults(MEMBER)
    assert found["RestrictNullSessAccess"].value == 1
    for name in settings():
        default = default_of(name, family="windows", os_build=7601, role="member")
        if default is not None and default.confidence != "high":
            assert name not in found


def test_values_are_compared_without_case_and_order() -> None:
    assert normal(("a", "B")) == normal(("b", "A", ""))
    assert normal("Bad User") == normal("bad user")
    assert normal(1) != normal(0)
