"""Security blobs to tokens: what a client claims to be, and what a server says of itself.

In: the places of security blobs in an arena. Out: `records.TOKEN` rows. `spnego` unwraps, `ntlmssp` and `kerberos` read
what is inside: as kernels, which note where things lie (`columns`). Texts are made of that here. `session_keys` finds the
session keys of logins that needed no secret. No password is guessed, and nobody's identity decided.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analyzer.auth import columns
from analyzer.auth.kerberos import spelled_name
from analyzer.auth.ntlmssp import OEM, spelled_build
from analyzer.compiled import Table
from analyzer.records import Rows, missing_token
from analyzer.wire.texts import Encoding, Texts

Index = npt.NDArray[np.int64]

TOGETHER = 4096
"""Blobs that are read at a time: what is noted of them fits into a processor's cache."""

UTF16 = "utf-16-le"
NUMBERS = {
    "kind": columns.C_KIND,
    "mechanism": columns.C_MECHANISM,
    "flags": columns.C_FLAGS,
    "lm_size": columns.C_LM_SIZE,
    "lm_is_zero": columns.C_LM_IS_ZERO,
    "nt_size": columns.C_NT_SIZE,
    "key_size": columns.C_KEY_SIZE,
    "user_is_nul": columns.C_USER_IS_NUL,
    "etype": columns.C_ETYPE,
    "continues": columns.C_CONTINUES,
}
NAMES = {
    "user": columns.C_USER,
    "domain": columns.C_DOMAIN,
    "workstation": columns.C_WORKSTATION,
    "target": columns.C_TARGET,
}
"""Names of NTLMSSP messages, which are in UTF-16 or in a code page, as their flags say."""
TEXTS: dict[str, tuple[int, Encoding]] = {
    "build": (columns.C_BUILD, spelled_build),
    "netbios_computer": (columns.C_NETBIOS_COMPUTER, UTF16),
    "netbios_domain": (columns.C_NETBIOS_DOMAIN, UTF16),
    "dns_computer": (columns.C_DNS_COMPUTER, UTF16),
    "dns_domain": (columns.C_DNS_DOMAIN, UTF16),
    "realm": (columns.C_REALM, "utf-8"),
    "service": (columns.C_SERVICE, spelled_name),
}


def read_tokens(
    arena: npt.NDArray[np.uint8], start: Index, end: Index, cut: npt.NDArray[np.bool_], texts: Texts
) -> Rows:
    """The tokens in `arena[start:end]`, one a row. An empty blob is `TokenKind.NONE`.

    cut: True where bytes are missing at the end. What the bytes that are there do not show stays missing.
    """
    tokens = missing_token(len(start))
    for first in range(0, len(start), TOGETHER):
        part = slice(first, first + TOGETHER)
        starts, ends = (np.ascontiguousarray(places[part], dtype=np.int64) for places in (start, end))
        fields = np.empty((columns.C_FIELDS, len(starts)), dtype=np.int64)
        texts.form().read_blobs(arena, starts, ends, cut[part].astype(np.uint8), fields)
        _fill(tokens[part], fields, arena, texts)
    return tokens


def _fill(tokens: Rows, fields: Table, arena: npt.NDArray[np.uint8], texts: Texts) -> None:
    for name, column in NUMBERS.items():
        tokens[name] = fields[column]
    for name, (column, encoding) in TEXTS.items():
        sizes = fields[column + 1]
        if sizes.max() >= 0:
            tokens[name] = texts.slices(arena, fields[column], sizes, encoding)
    unicode = fields[columns.C_UNICODE] != 0
    for name, column in NAMES.items():
        starts, sizes = fields[column], fields[column + 1]
        if sizes.max() < 0:
            continue
        if unicode.all():
            tokens[name] = texts.slices(arena, starts, sizes, UTF16)
        else:
            wide = texts.slices(arena, starts, np.where(unicode, sizes, -1), UTF16)
            narrow = texts.slices(arena, starts, np.where(unicode, -1, sizes), OEM)
            tokens[name] = np.where(unicode, wide, narrow)
