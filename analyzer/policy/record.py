"""The change record: what is to be changed and why, whom it concerns, what was seen, how to undo it. Markdown.

What stands in it may come from captures and from files of others, so nothing of it may act as markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from analyzer.policy.explain import meaning_of, words_of
from analyzer.policy.samba import PREFIX
from analyzer.policy.settings import Given, Policy, Setting, setting_of

_MARKUP = frozenset("\\`*_{}[]#|~^!$")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a change record tells besides the settings: plain texts, made by whoever asks for a change."""

    title: str = "Anonymous SMB access"
    subject: Mapping[str, str] = field(default_factory=dict)
    """Of what it is: server, release, role, captures, when it was made."""
    reason: str = ""
    affected: Sequence[Mapping[str, str]] = ()
    """Parties: a row each, all with the same keys (client, application, resource, effect, ...)."""
    evidence: Sequence[Mapping[str, str]] = ()
    """What was seen: a row each, all with the same keys (capture, frame, what)."""
    unknown: Sequence[str] = ()
    """What cannot be known from the captures."""


def write_record(policy: Policy, baseline: Policy | None, content: Content, files: Mapping[str, bytes]) -> str:
    """The record. files: what is written beside it, by name; their SHA-256 sums let one see which files were approved."""
    lines = [f"# {plain(content.title)}", ""]
    lines += [f"- {plain(key)}: {plain(value)}" for key, value in content.subject.items()]
    if content.reason:
        lines += ["", plain(content.reason)]
    lines += ["", "## Changes", ""]
    changes = list(_changes(policy, baseline))
    lines += _table(changes) if changes else ["Nothing is changed."]
    lines += ["", "## What the settings do", ""]
    lines += [line for setting in _settings_of(policy) for line in _about(setting)] or ["Nothing is set."]
    lines += ["", "## Affected parties", ""]
    lines += _table(content.affected) if content.affected else ["None was seen. What was not captured cannot be known."]
    lines += ["", "## Evidence", ""]
    lines += _table(content.evidence) if content.evidence else ["None was given."]
    lines += ["", "## What cannot be known", ""]
    lines += [f"- {plain(each)}" for each in content.unknown] or ["Nothing was named."]
    lines += ["", "## How to undo it", ""]
    lines += [_undo(baseline, files)]
    lines += ["", "## Files", ""]
    lines += [f"- {plain(name)}: SHA-256 {sha256(data).hexdigest()}" for name, data in files.items()]
    return "\n".join([*lines, ""])


def plain(text: str) -> str:
    """A text as Markdown shows it as it is, on one line. What could hide or steer is spelt out."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
    escaped = "".join(_ENTITIES.get(char) or (f"\\{char}" if char in _MARKUP else char) for char in shown)
    # At the beginning of a line these make lists, rules and headings; the others become links without being asked to.
    escaped = re.sub(r"^(\d*)([-+=:.)])", r"\1\\\2", escaped)
    escaped = re.sub(r"^ | $", "&#32;", escaped)  # four blanks make a block of code
    return escaped.replace("://", "&#58;//").replace("www.", "www&#46;")


def _changes(policy: Policy, baseline: Policy | None) -> Iterator[Mapping[str, str]]:
    for place, setting, given, before in _pairs(policy, baseline):
        if before is not None and before.value == given.value:
            continue
        meaning = meaning_of(setting, given.value)
        yield {
            "setting": place,
            "where": setting.gpo_path if setting.gpo_path != "-" else setting.places[0],
            "before": "not known" if before is None else words_of(before.value),
            "after": words_of(given.value) + (f" ({meaning})" if meaning else ""),
            "takes effect": setting.restart,
        }


def _pairs(policy: Policy, baseline: Policy | None) -> Iterator[tuple[str, Setting, Given, Given | None]]:
    before = baseline or Policy()
    for name, given in policy.settings.items():
        setting = setting_of(name)
        yield setting.display_name, setting, given, before.settings.get(name)
    for share, options in policy.shares.items():
        for option, given in options.items():
            earlier = before.shares.get(share, {}).get(option)
            yield f"[{share}] {option}", setting_of(PREFIX + option), given, earlier


def _settings_of(policy: Policy) -> list[Setting]:
    return list({setting.id: setting for _, setting, _, _ in _pairs(policy, None)}.values())


def _about(setting: Setting) -> list[str]:
    lines = [f"- {plain(setting.display_name)}: {plain(setting.plain)}"]
    if setting.breaks != "-":
        lines.append(f"    - Stops when it is tightened: {plain(setting.breaks)}")
    lines.append(f"    - Source: {plain(setting.source)}")
    return lines


def _undo(baseline: Policy | None, files: Mapping[str, bytes]) -> str:
    kept = [name for name in files if name.startswith("rollback")]
    if baseline is None:
        return (
            "What was set before was not given. The PowerShell script saves what it finds before it changes anything."
        )
    return f"What was set before is in {plain(', '.join(kept)) or 'none of the files'}."


def _table(rows: Iterable[Mapping[str, str]]) -> list[str]:
    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return [
        f"| {' | '.join(map(plain, columns))} |",
        f"|{'---|' * len(columns)}",
        *(f"| {' | '.join(plain(row.get(column, '')) for column in columns)} |" for row in rows),
    ]
