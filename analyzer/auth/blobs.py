"""The compiled loop of this room: each blob is unwrapped, and what is inside is read by whom it belongs to."""

from __future__ import annotations

from analyzer.auth.columns import (
    C_BROKEN,
    C_CONTINUES,
    C_END,
    C_FIELDS,
    C_KEY_SIZE,
    C_KIND,
    C_LM_SIZE,
    C_MECHANISM,
    C_NT_SIZE,
    C_START,
    C_TEXTS,
    C_UNICODE,
    C_WRAPPED,
)
from analyzer.auth.kerberos import kerberos_kind, read_ticket
from analyzer.auth.ntlmssp import ntlm_type, read_ntlm
from analyzer.auth.spnego import is_negoex, unwrap_spnego
from analyzer.compiled import Bytes, Ints, Table, entry, kernel
from analyzer.records import Mechanism, TokenKind
from analyzer.wire.loads import byte

_NONE = int(TokenKind.NONE)
_NEGOEX = int(TokenKind.NEGOEX)
_OTHER = int(TokenKind.OTHER)
_WITHOUT_TOKEN = int(TokenKind.WITHOUT_TOKEN)
_UNREADABLE = int(TokenKind.UNREADABLE)
_KERBEROS_REQUEST = int(TokenKind.KERBEROS_REQUEST)
_BY_SPNEGO_NTLMSSP = int(Mechanism.SPNEGO_NTLMSSP)
_BY_NTLMSSP = int(Mechanism.NTLMSSP)
_BY_SPNEGO_KERBEROS = int(Mechanism.SPNEGO_KERBEROS)
_BY_KERBEROS = int(Mechanism.KERBEROS)
_BY_SPNEGO_NEGOEX = int(Mechanism.SPNEGO_NEGOEX)
_BY_OTHER = int(Mechanism.OTHER)


@entry
def read_blobs(b: Bytes, starts: Ints, ends: Ints, cut: Bytes, fields: Table) -> int:
    """Fill one column of `fields` for each blob `b[start:end]`. cut: 1 where bytes are missing at the end."""
    for i in range(starts.shape[0]):
        for field in range(C_FIELDS):
            fields[field, i] = 0
        for field in range(C_TEXTS + 1, C_FIELDS, 2):
            fields[field, i] = -1
        fields[C_LM_SIZE, i] = -1
        fields[C_NT_SIZE, i] = -1
        fields[C_KEY_SIZE, i] = -1
        fields[C_UNICODE, i] = 1
        if ends[i] > starts[i]:
            read_blob(b, starts[i], ends[i], byte(cut, i), fields, i)
        else:
            fields[C_KIND, i] = _UNREADABLE if byte(cut, i) else _NONE
    return int(starts.shape[0])


@kernel
def read_blob(b: Bytes, at: int, end: int, cut: int, fields: Table, i: int) -> None:
    """Note what one blob holds; it is not empty."""
    unwrap_spnego(b, at, end, fields, i)
    wrapped = fields[C_WRAPPED, i]
    at = fields[C_START, i]
    end = fields[C_END, i]
    if cut:
        fields[C_CONTINUES, i] = 0  # that its end is missing was no intention
    elif fields[C_CONTINUES, i]:
        cut = 1
    if ntlm_type(b, at, end):
        fields[C_MECHANISM, i] = _BY_SPNEGO_NTLMSSP if wrapped else _BY_NTLMSSP
        read_ntlm(b, at, end, cut, fields, i)
        return
    kind = kerberos_kind(b, at, end)
    if kind:
        fields[C_KIND, i] = kind
        fields[C_MECHANISM, i] = _BY_SPNEGO_KERBEROS if wrapped else _BY_KERBEROS
        if kind == _KERBEROS_REQUEST:
            read_ticket(b, at, end, fields, i)
    elif is_negoex(b, at, end):
        fields[C_KIND, i] = _NEGOEX
        fields[C_MECHANISM, i] = _BY_SPNEGO_NEGOEX
    elif fields[C_BROKEN, i] or (cut and end > at):
        # Of a cut token not even the first bytes may be there: then nobody knows whose it is.
        fields[C_KIND, i] = _UNREADABLE
    elif end > at:
        fields[C_KIND, i] = _OTHER
        fields[C_MECHANISM, i] = _BY_OTHER
    else:
        fields[C_KIND, i] = _WITHOUT_TOKEN
