"""smb.conf and what `testparm -s` prints of it, read and written. smb.conf(5)

Names of sections and options count without regard to capitals, names of options without regard to blanks. Of an option that
stands twice the last one holds. What depends on the client (`%`-macros) or stands in another file cannot be known from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from analyzer.errors import PolicyError
from analyzer.knowledge import rows
from analyzer.policy.registry import unknown_names
from analyzer.policy.settings import Given, Policy, Setting, Value, settings
from analyzer.policy.texts import comment_lines

PREFIX = "samba:"
GLOBAL = ("global", "globals")
ELSEWHERE = {
    "include": "the file is not read",
    "configfile": "it replaces this file",
    "configbackend": "it may replace this file",
}
"""Options that name another place for options, without blanks."""
TRUE, FALSE = frozenset({"yes", "true", "1", "on"}), frozenset({"no", "false", "0", "off"})
PROTOCOLS = frozenset(
    {"SMB3_11", "SMB3_10", "SMB3_02", "SMB3_00", "SMB2_24", "SMB2_22", "SMB2_10", "SMB2_02"}
    | {"NT1", "LANMAN2", "LANMAN1", "CORE", "COREPLUS", "DEFAULT"}
)
_SECTION = re.compile(r"\[(?P<name>[^\]]*)\].*")


def is_smb_conf(text: str) -> bool:
    """Whether it looks like smb.conf: sections, and lines with an option of Samba that is known here, or `[global]`."""
    names = {match.strip().lower() for match in re.findall(r"^\s*\[([^\]\n]+)\]", text, re.MULTILINE)}
    options = re.findall(r"^\s*([A-Za-z][A-Za-z ]*?)\s*=", text, re.MULTILINE)
    return bool(names & set(GLOBAL)) or any(_squeezed(option) in _options() for option in options)


def read_smb_conf(text: str, file: str) -> Policy:
    """The policy in an smb.conf."""
    found: dict[str, Given] = {}
    shares: dict[str, dict[str, Given]] = {}
    warnings: list[str] = []
    unknown: list[str] = []
    section = "global"
    for number, line in _logical_lines(text):
        where = f"{file}, line {number}"
        if line.startswith("["):
            match = _SECTION.fullmatch(line)
            if match is None:
                raise PolicyError(file, "no section: the bracket is not closed", f"line {number}")
            section = " ".join(match["name"].split()).lower()
            if section not in GLOBAL:
                shares.setdefault(section, {})
            continue
        name, equals, written = line.partition("=")
        if not equals:
            warnings.append(f"{where}: no option; left out")
            continue
        option, written = _squeezed(name), written.strip()
        of_share = section not in GLOBAL
        if option in ELSEWHERE:
            warnings.append(f"{where}: {name.strip()} = {written}: {ELSEWHERE[option]}, so what it sets is unknown")
        elif option == "copy" and of_share:
            shares[section].update(shares.get(" ".join(written.split()).lower(), {}))
        elif (setting := _options().get(option)) is None:
            unknown.append(name.strip())
        elif of_share and setting.places[0] == "smb.conf [global]":
            warnings.append(f"{where}: {setting.value_name} has no effect in a share; left out")
        else:
            target = shares[section] if of_share else found
            _keep(target, setting, written, where, warnings, key=setting.value_name if of_share else setting.id)
    return Policy(family="samba", settings=found, shares=shares, warnings=(*warnings, *unknown_names(unknown, file)))


def write_smb_conf(policy: Policy, comment: str = "") -> str:
    """A fragment of smb.conf. Raises PolicyError for names and values that would be read back as others.

    What is absent stands in a comment: in smb.conf a line is there or not.
    """
    lines = comment_lines(comment, "#")
    if policy.settings:
        lines += ["[global]"]
        lines += [
            _line(settings()[name].value_name, given, settings()[name]) for name, given in policy.settings.items()
        ]
    for share, options in policy.shares.items():
        if share != " ".join(share.split()) or not share or not _plain(share) or set("[]%=") & set(share):
            raise PolicyError("smb.conf", f"{share!r} cannot be the name of a section")
        lines += ["", f"[{share}]"]
        lines += [_line(option, given, settings()[PREFIX + option]) for option, given in options.items()]
    return "\n".join([*lines, ""])


@cache
def _options() -> dict[str, Setting]:
    """Settings by the name of their option without blanks, other names of options too."""
    known = {_squeezed(it.value_name): it for it in settings().values() if it.family == "samba"}
    others = {
        _squeezed(row["option"]): known[_squeezed(row["means"])]
        for row in rows("policy_samba_words")
        if not row["value"]
    }
    return known | others


@cache
def _words() -> dict[tuple[str, str], str]:
    """Other words for a value, by option."""
    return {(row["option"], row["value"]): row["means"] for row in rows("policy_samba_words") if row["value"]}


def _squeezed(option: str) -> str:
    return "".join(option.split()).lower()


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; a line that ends with a `\\` goes on, but a comment does not."""
    lines = enumerate(text.split("\n"), 1)
    for number, raw in lines:
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        parts = [line]
        while parts[-1].endswith("\\"):
            parts[-1] = parts[-1][:-1]
            more = next(lines, (0, ""))[1].rstrip()
            parts.append(f" {more.lstrip()}" if more[:1].isspace() else more)
        yield number, "".join(parts).strip()


def _keep(
    target: dict[str, Given], setting: Setting, written: str, where: str, warnings: list[str], *, key: str
) -> None:
    """The option as it holds from this line on."""
    value = _value(setting, written)
    earlier = target.pop(key, None)
    if value is None:
        why = "a %-macro, which is another text for each client" if "%" in written else f"{written!r} is no value of it"
        warnings.append(f"{where}: {setting.value_name}: {why}; left out, so unknown")
        return
    if earlier is not None and earlier.value != value:
        warnings.append(f"{where}: {setting.value_name}: contradicts {earlier.source}; the last one holds")
    target[key] = Given(value, where)


def _value(setting: Setting, written: str) -> Value | None:
    """None: not known, or no value of this option."""
    if "%" in written:
        return None
    word = _words().get((setting.value_name, written.lower()), written)
    match setting.kind:
        case "bool":
            return "yes" if written.lower() in TRUE else "no" if written.lower() in FALSE else None
        case "int":
            return int(word) if re.fullmatch(r"-?\d{1,9}", word) else None
        case "protocol":
            return word.upper() if word.upper() in PROTOCOLS else None
        case "enum":
            return next((value for value in setting.meanings if value.lower() == word.lower()), None)
        case "list":
            return tuple(_entries(word))
    return word.strip('"')


def _entries(written: str) -> Iterator[str]:
    """Entries of a list. What stands between quotes belongs to its entry, separators too; the quotes do not."""
    for token in re.findall(r'(?:[^\s,;"]|"[^"]*(?:"|$))+', written):
        if entry := token.replace('"', ""):
            yield entry


def _line(option: str, given: Given, setting: Setting) -> str:
    value = given.value
    if value is None:
        return f"\t# {option}: no such line"
    for text in value if isinstance(value, tuple) else (str(value),):
        if not _plain(text) or set('"%') & set(text) or text != text.strip():
            raise PolicyError("smb.conf", f"{text!r} in {option}: it cannot carry such a text")
    if isinstance(value, tuple):
        if not all(value):
            raise PolicyError("smb.conf", f"an empty text in {option}: it cannot carry that")
        quoted = (f'"{entry}"' if set(" ,;\t") & set(entry) else entry for entry in value)
        return f"\t{option} = {', '.join(quoted)}"
    if _value(setting, str(value)) != value:
        raise PolicyError("smb.conf", f"{value!r} is no value of {option}")
    return f"\t{option} = {value}"


def _plain(text: str) -> bool:
    return text.isprintable() and not text.endswith("\\")
