"""Security blobs to tokens: what a client claims to be, and what a server says of itself.

In: the places of security blobs in an arena. Out: `records.TOKEN` rows. `spnego` unwraps, `ntlmssp` and `kerberos` read
what is inside; `session_keys` finds the session keys of logins that needed no secret. No password is guessed, and
nobody's identity decided.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analyzer.auth import kerberos, ntlmssp, spnego
from analyzer.records import Mechanism, Rows, TokenKind, missing_token
from analyzer.wire.texts import Texts

Index = npt.NDArray[np.int64]


def read_tokens(
    arena: npt.NDArray[np.uint8], start: Index, end: Index, cut: npt.NDArray[np.bool_], texts: Texts
) -> Rows:
    """The tokens in `arena[start:end]`, one a row. An empty blob is `TokenKind.NONE`.

    cut: True where bytes are missing at the end. What the bytes that are there do not show stays missing.
    """
    tokens = missing_token(len(start))
    blob = spnego.unwrap(arena, start, end)
    inner = ntlmssp.sniff(arena, blob.start, blob.end)
    for place in ntlmssp.MESSAGES:
        chosen = np.flatnonzero(inner == place)
        if len(chosen):
            tokens[chosen] = ntlmssp.parse(arena, blob.start[chosen], blob.end[chosen], cut[chosen], texts)
    is_ntlm = inner != 0
    kerberos_kind = np.where(is_ntlm, 0, kerberos.sniff(arena, blob.start, blob.end))
    is_kerberos = kerberos_kind != 0
    is_negoex = ~is_ntlm & spnego.is_negoex(arena, blob.start, blob.end)
    has_token = blob.end > blob.start
    rest = ~is_ntlm & ~is_kerberos & ~is_negoex
    # Of a cut token not even the first bytes may be there: then nobody knows whose it is.
    unreadable = rest & (blob.unreadable | (cut & has_token))
    tokens["kind"] = np.select(
        [(end <= start) & ~cut, is_ntlm, is_kerberos, is_negoex, unreadable | (end <= start), rest & ~has_token],
        [
            TokenKind.NONE,
            tokens["kind"],
            kerberos_kind,
            TokenKind.NEGOEX,
            TokenKind.UNREADABLE,
            TokenKind.WITHOUT_TOKEN,
        ],
        TokenKind.OTHER,
    )
    # The same mechanism is told apart by its wrapping.
    tokens["mechanism"] = np.select(
        [
            is_ntlm & blob.wrapped,
            is_ntlm,
            is_kerberos & blob.wrapped,
            is_kerberos,
            is_negoex,
            rest & has_token & ~unreadable,
        ],
        [
            Mechanism.SPNEGO_NTLMSSP,
            Mechanism.NTLMSSP,
            Mechanism.SPNEGO_KERBEROS,
            Mechanism.KERBEROS,
            Mechanism.SPNEGO_NEGOEX,
            Mechanism.OTHER,
        ],
        Mechanism.UNKNOWN,
    )
    return tokens
