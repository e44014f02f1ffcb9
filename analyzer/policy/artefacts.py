"""From a policy the files that an administrator applies and can undo. Nothing is applied here.

Of Windows: a security template, a registry export, a PowerShell script; of Samba: a fragment of smb.conf. Always: the policy
in TOML, and a change record. What was set before is written too, if that is known; not every file can carry every setting,
and `left_out` says which it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from analyzer.errors import UsageError
from analyzer.policy.inf import in_inf, write_inf
from analyzer.policy.record import Content, write_record
from analyzer.policy.reg import in_reg, write_reg
from analyzer.policy.samba import write_smb_conf
from analyzer.policy.scripts import apply_script, by_script
from analyzer.policy.settings import RULES, Given, Policy, Value, setting_of
from analyzer.policy.simple import write_toml

COMMENT = "Made by nullsession from packet captures. Review it before it is applied; see change-record.md."


@dataclass(frozen=True, slots=True)
class Artefacts:
    """Files by name, and what they do not carry."""

    files: Mapping[str, bytes]
    left_out: tuple[str, ...]


def artefacts(policy: Policy, *, baseline: Policy | None = None, content: Content | None = None) -> Artefacts:
    """All files for a policy.

    policy: what is to be set; its family must be known. baseline: what is set now, as far as it is known; without it there
    is no rollback. Raises PolicyError for a name that a format cannot carry, UsageError for a policy that nobody can set.
    """
    if policy.family is None or (baseline is not None and baseline.family not in (None, policy.family)):
        raise UsageError("whether a policy is for Windows or for Samba must be known, and the same for what is set now")
    if rules := [name for name in policy.settings if setting_of(name).kind in RULES]:
        raise UsageError(f"rules cannot be set: {', '.join(rules)}")
    files: dict[str, bytes] = {}
    left_out: list[str] = []
    if policy.family == "windows":
        _windows(policy.settings, "policy", COMMENT, files, left_out)
        scripted = _kept(policy.settings, by_script, "apply.ps1", left_out)
        if scripted:
            files["apply.ps1"] = _dos(apply_script(scripted, COMMENT))
    elif policy.settings or policy.shares:
        files["policy.smb.conf"] = write_smb_conf(policy, COMMENT).encode()
    if baseline is not None:
        _rollback(policy, baseline, files, left_out)
    files["policy.toml"] = write_toml(policy, COMMENT).encode()
    files["change-record.md"] = write_record(policy, baseline, content or Content(), files).encode()
    return Artefacts(MappingProxyType(files), tuple(left_out))


def _rollback(policy: Policy, baseline: Policy, files: dict[str, bytes], left_out: list[str]) -> None:
    """What the changed settings were before. Of what the baseline does not tell, nothing is known."""
    before = {name: baseline.settings[name] for name in policy.settings if name in baseline.settings}
    left_out += [f"rollback: {name}: what is set now is not known" for name in policy.settings if name not in before]
    comment = "What was set before. Applying it undoes the change."
    if policy.family == "windows":
        _windows(before, "rollback", comment, files, left_out)
        left_out += [
            f"rollback.reg: {name}: written where policies stand, wherever it stood; what apply.ps1 saves tells the place"
            for name, given in before.items()
            if len(setting_of(name).places) > 1 and given.value is not None
        ]
        return
    shares: dict[str, dict[str, Given]] = {}
    for share, options in policy.shares.items():
        for option in options:
            if (earlier := baseline.shares.get(share, {}).get(option)) is None:
                left_out.append(f"rollback: [{share}] {option}: what is set now is not known")
            else:
                shares.setdefault(share, {})[option] = earlier
    if before or shares:
        files["rollback.smb.conf"] = write_smb_conf(Policy("samba", before, shares), comment).encode()


def _windows(
    settings: Mapping[str, Given], name: str, comment: str, files: dict[str, bytes], left_out: list[str]
) -> None:
    template = _kept(settings, lambda each, value: in_inf(each) and value is not None, f"{name}.inf", left_out)
    if template:
        files[f"{name}.inf"] = write_inf(template, comment)
    export = _kept(settings, lambda each, _: in_reg(each), f"{name}.reg", left_out)
    if export:
        files[f"{name}.reg"] = write_reg(export, comment)


def _kept(
    settings: Mapping[str, Given], carries: Callable[[str, Value | None], bool], file: str, left_out: list[str]
) -> dict[str, Given]:
    kept = {name: given for name, given in settings.items() if carries(name, given.value)}
    if missing := [name for name in settings if name not in kept]:
        left_out.append(f"{file}: cannot carry {', '.join(missing)}")
    return kept


def _dos(text: str) -> bytes:
    """Lines as Windows ends them; a script is plain ASCII."""
    return text.replace("\n", "\r\n").encode("ascii")
