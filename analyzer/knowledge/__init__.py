"""Facts, as rows with a source: what codes are called, what they mean, what pipes are for.

In: the CSV files beside this one. Out: rows by name. A row whose confidence is `low` never decides a verdict. Each file's
first line names its columns; `source` says where a row comes from, `confidence` how sure it is.
"""

from __future__ import annotations

import csv
import io
from functools import cache
from importlib.resources import files


@cache
def rows(name: str) -> list[dict[str, str]]:
    """The rows of the table `name` (`"pipes"`, ...), each a dictionary from column to text."""
    text = files(__name__).joinpath(f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


@cache
def status_names(kind: str) -> dict[int, str]:
    """Names of status codes.

    kind: `nt`; `dos` (class in the low byte, code in the upper half); `win32` as the Remote Administration Protocol names
    them, `werr` as RPC does (`WERR_OK`); `hresult`; of RPC itself `fault` (the status of a fault PDU, whatever its origin),
    `bind_nak` (the reason), `bind_result` (result << 16 | reason of one presentation context).
    """
    return {int(row["code"], 16): row["name"] for row in rows("statuses") if row["kind"] == kind}


@cache
def refusals(rung: str) -> frozenset[tuple[str, int]]:
    """(kind, code) of the statuses that mean, on this rung, that access was refused.

    rung: `session_setup`, `tree_connect`, `open`, `call`, and in RPC `bind`, `fault` (a fault PDU) or `stub` (what the
    called function itself returns). No code of a refused bind is among them: an interface or a kind of authentication that
    a server does not have is no refusal of access.
    """
    return frozenset(
        (row["kind"], int(row["code"], 16))
        for row in rows("statuses")
        if rung in row["refused_at"].split("|") and row["confidence"] != "low"
    )


@cache
def pipe_names() -> frozenset[str]:
    """Names of known pipes, as the tables write them."""
    return frozenset(row["pipe"] for row in rows("pipes"))


@cache
def fsctl_names() -> dict[int, str]:
    """Names of control codes."""
    return {int(row["code"], 16): row["name"] for row in rows("fsctls")}


@cache
def housekeeping() -> frozenset[int]:
    """Control codes that an SMB client sends on its own account: no use that an application makes of a server."""
    return frozenset(int(row["code"], 16) for row in rows("fsctls") if row["housekeeping"] == "yes")


@cache
def rap_names() -> dict[int, str]:
    """Names of the functions of the Remote Administration Protocol."""
    return {int(row["function"]): row["name"] for row in rows("rap")}


RETURNED_KIND = {"nt": "nt", "win32": "werr", "hresult": "hresult"}
"""Of what kind of `statuses` the last four bytes of an answer are, by the column `returns` of `rpc_operations`."""


@cache
def rpc_interfaces() -> list[dict[str, str]]:
    """The interfaces of RPC, in the order of the file; (uuid, version) is the key, `pipes` is separated by `|`."""
    return rows("rpc_interfaces")


@cache
def rpc_operations() -> list[dict[str, str]]:
    """The operations of RPC interfaces, in the order of the file; (uuid, version, opnum) is the key.

    `returns` is what the last four bytes of an answer are: `nt`, `win32` or `hresult` (see `RETURNED_KIND`), `none` if they
    are no status, empty if it is not known. `arguments` reads the first arguments of a request in the order of the wire (NDR
    with 32-bit pointers), one letter an argument, up to the last one that is wanted:

    `U` unique pointer to a wide string, the name of the server that is asked; `u` the same, passed over;
    `W` wide string without a pointer, a name; `w` passed over; `p` unique pointer to one wide character;
    `S` RPC_UNICODE_STRING, a name (its text follows at once); `s` passed over; `h` context handle of 20 bytes;
    `1`, `2`, `4` integer of so many bytes, aligned; `L`, `l` information level of 32 and of 16 bits.
    """
    return rows("rpc_operations")
