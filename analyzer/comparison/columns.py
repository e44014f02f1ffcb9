"""The table `comparison`: its columns, and the values of its categories."""

from __future__ import annotations

from analyzer.tables import BOOL, IDENTITY, INT, RUNG, TEXT, VERDICT, Column

CHANGE = (
    "newly_refused", "newly_failing", "new", "verdict_changed", "moved", "gone", "not_observed", "unchanged",
    "no_dependent",
)  # fmt: skip
"""Refused now; fails now, without a refusal; was none before; is judged otherwise; done with credentials now; not needed any
more, as far as can be seen; not seen, which proves nothing; as before; a refusal or a probe that was none before, or was all
that there was."""
COUNTS = ("newly_refused", "newly_failing", "new")
"""Changes that `--check` ends with 1 for: something broke, or somebody depends who did not before."""
WHY = (
    "client_not_seen", "server_not_seen", "not_together", "not_visible", "not_asked", "span_too_short",
)  # fmt: skip
"""Why a use was not observed: the client was not there; the server was not; they did not meet; what the client did there cannot
be looked into; it did not ask for this; it did not, in a time too short to tell."""
MATCHED_BY = ("address", "name", "guid")

COLUMNS = (
    Column("change", CHANGE, "what became of it"),
    Column("counts", BOOL, "a difference for --check: something broke, or is a dependent that was none before"),
    Column("why", WHY, "why it was not observed"),
    Column("site", TEXT, "the folder, where folders are sites; else empty"),
    Column("client_ip", TEXT, "address of the client before; of a new one its address after"),
    Column("client", TEXT, "its name, where known"),
    Column("client_ip_after", TEXT, "its address after; <NA>: not seen then"),
    Column("client_matched_by", MATCHED_BY, "how it is known to be the same; <NA>: it is on one side only"),
    Column("server_ip", TEXT, "address of the server before; of a new one its address after"),
    Column("server", TEXT, "its name, where known"),
    Column("server_ip_after", TEXT, "its address after; <NA>: not seen then"),
    Column("server_matched_by", MATCHED_BY, "how it is known to be the same"),
    Column("resource", TEXT, "pipe, share, `rap`, `dfs`; IPC$: nothing more was done; <NA>: not even that"),
    Column("interface", TEXT, "DCE/RPC interface"),
    Column("operation", TEXT, "what was called; <NA>: nothing, the resource itself was opened"),
    Column("application", TEXT, "what on the client it belongs to, where known"),
    Column("verdict_before", VERDICT, "<NA>: there was no such use"),
    Column("verdict_after", VERDICT, "<NA>: there was no such use"),
    Column("identity_before", IDENTITY, "of the sessions that decide"),
    Column("identity_after", IDENTITY, "of the sessions that decide"),
    Column("uses_before", INT, "uses"),
    Column("uses_after", INT, "uses"),
    Column("refused_at", RUNG, "where it is refused now"),
    Column("status", TEXT, "with which status it is refused, or fails, now"),
    Column("reason", TEXT, "in a sentence"),
    Column("capture_before", TEXT, "path of the capture file"),
    Column("frame_before", INT, "the packet to look at first"),
    Column("capture_after", TEXT, "path of the capture file"),
    Column("frame_after", INT, "the packet to look at first: the use, or what took its place"),
)
"""A row for each client, server, resource, interface and operation of either side."""
