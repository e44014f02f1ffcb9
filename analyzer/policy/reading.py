"""Files of administrators to a policy: what a file is, its content says, and never its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from analyzer.errors import PolicyError
from analyzer.policy.inf import is_template, read_inf, sections_in
from analyzer.policy.pol import SIGNATURE, read_pol
from analyzer.policy.reg import read_reg, version_of
from analyzer.policy.samba import is_smb_conf, read_smb_conf
from analyzer.policy.settings import Policy, merged
from analyzer.policy.simple import read_toml
from analyzer.policy.texts import text_of

MOST_BYTES = 16 << 20
"""Of one file. Exports of whole branches of a registry are larger, and not what is wanted."""
KNOWN = "registry exports (.reg), security templates (.inf), registry.pol, smb.conf, TOML"

_TOML = re.compile(r"^\s*(\[\s*(settings|shares\s*\..*)\s*\]|(settings|shares)\s*[.=])", re.MULTILINE)


def read(paths: Sequence[str | Path]) -> Policy:
    """The policies of several files as one, in the order in which they are applied (see `merged`).

    Raises PolicyError for a file that cannot be read.
    """
    return merged([read_file(path) for path in paths])


def read_file(path: str | Path) -> Policy:
    """The policy of one file."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as problem:
        raise PolicyError(str(path), problem.strerror or str(problem)) from None
    return read_bytes(data, str(path))


def read_bytes(data: bytes, file: str) -> Policy:
    """The policy in the bytes of a file that is called `file`."""
    if len(data) > MOST_BYTES:
        raise PolicyError(file, f"larger than {MOST_BYTES >> 20} MB: no policy; export only the keys that are needed")
    if data.startswith(SIGNATURE):
        return read_pol(data, file)
    if data.startswith(b"regf"):
        raise PolicyError(file, "a hive of the registry; export it with `reg export`, or see `policy collect`")
    text, warnings = text_of(data, file)
    policy = _read_text(text, file)
    return Policy(policy.family, policy.settings, policy.shares, (*warnings, *policy.warnings))


def _read_text(text: str, file: str) -> Policy:
    if not text.strip():
        raise PolicyError(file, "nothing in it")
    if version_of(text) is not None:
        return read_reg(text, file)
    if is_template(text):
        return read_inf(text, file)
    if _TOML.search(text) and "global" not in sections_in(text):  # a share may be called [settings]
        return read_toml(text, file)
    if is_smb_conf(text):
        return read_smb_conf(text, file)
    raise PolicyError(file, f"no policy that is known here; known are {KNOWN}")
