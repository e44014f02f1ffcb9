"""A policy as a person reads it in a terminal."""

from __future__ import annotations

from rich.console import Console

from analyzer.policy.explain import Explained, explained, meaning_of, rules, untold, words_of
from analyzer.policy.settings import Policy
from analyzer.report.layout import show_text
from analyzer.report.terminal import printable


def render(policy: Policy, console: Console, *, os_build: int | None, role: str | None, everything: bool) -> None:
    """Print each setting of a policy with its meaning, its default and its place.

    everything: those that the policy does not tell, too.
    """
    found = list(explained(policy, os_build=os_build, role=role))
    ask = os_build is None or role is None
    for number, each in enumerate(found):
        if number:
            console.print()
        _print(each, console, ask)
    if not found:
        console.print("No setting that is known here.")
    if everything:
        for each in untold(policy, os_build=os_build, role=role):
            console.print()
            _print(each, console, ask, told=False)
    if policy.family == "windows" and os_build is not None:
        for setting, holds in rules(os_build=os_build, role=role):
            console.print()
            show_text(printable(f"{setting.display_name}: {words_of(holds.value)}"), console, "bold", hanging=2)
            if meaning := meaning_of(setting, holds.value):
                _line(meaning, console)
            _line(setting.plain, console)
            _line(f"confidence {holds.confidence}; {holds.source}", console, "dim")


def _print(each: Explained, console: Console, ask: bool, *, told: bool = True) -> None:
    place = f" in [{each.share}]" if each.share is not None else ""
    show_text(printable(f"{each.setting.display_name} ({each.setting.id}){place}"), console, "bold", hanging=2)
    if told:
        meaning = f": {each.meaning}" if each.meaning else ""
        _line(f"{each.value}{meaning}", console, "" if each.is_default else "yellow")
    _line(each.setting.plain, console)
    unknown = "; say --os and --role" if ask and each.default is None else ""
    _line(f"default: {each.default_words}{unknown}", console)
    source = each.default.source if each.default else each.setting.source
    _line(f"{each.given.source}; documents: {source}", console, "dim")


def _line(text: str, console: Console, style: str = "") -> None:
    show_text(printable(text), console, style, indent=4)
