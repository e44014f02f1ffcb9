"""What the reducer remembers: its tables, as columns of numbers. One row a thing, in order of appearance."""

from __future__ import annotations

import numpy as np

from analyzer.records import CONNECTION_END, GUID

# Where something stands in the captures: request and answer.
_PLACES = [
    ("capture_no", "i4"),  # -1: not captured
    ("frame", "i8"),
    ("answer_capture_no", "i4"),
    ("answer_frame", "i8"),
    ("place", "i4"),
    ("time_ns", "i8"),
]
# How to find out, as of its place, whose it was.
_WHOSE = [
    ("session", "i4"),  # number of the session id, -1: none
    ("connection", "i4"),
    ("order", "i8"),
]

CONNECTION = np.dtype(
    [
        *CONNECTION_END.descr,
        ("begun", "?"),
        ("over", "?"),
        ("pair", "i4"),  # number of (client address, server address)
        ("dialect", "i4"),
        ("dialect_order", "i8"),  # of the answer that said so
        ("dialects_offered", "i4"),
        ("offer_order", "i8"),  # of the request that offered them
        ("client_capabilities", "i8"),  # of SMB 2 and 3, -1: not captured
        ("signing_required", "?"),
        ("share_level", "?"),
        ("client_guid", GUID),
        ("server_guid", GUID),
        ("calling", "i4"),
        ("called", "i4"),
        ("encrypted", "i8"),
        ("compressed", "i8"),
    ]
)
SESSION = np.dtype(
    [
        ("connection", "i4"),
        ("session_id", "u8"),
        ("protocol", "u1"),
        ("first_order", "i8"),  # of a message that is not a setup
        ("first_ns", "i8"),
        ("proof_capture_no", "i4"),  # the first answer that succeeded, or encrypted message; -1: none
        ("proof_frame", "i8"),
        ("proof_place", "i4"),
        ("first_success", "i8"),  # orders of answers that succeeded
        ("last_success", "i8"),
        ("first_reuse", "i8"),  # order of the first request that used a tree id
        ("signs", "u8"),  # hints
        ("others", "i8"),  # operations on IPC$ that succeeded and are none of those that are understood
        ("stray_data", "i8"),  # data on files whose open was not captured
        ("bound", "?"),  # known from a binding only
        ("encrypted", "i8"),  # messages
    ]
)
TREE = np.dtype(
    [
        *_WHOSE,
        *_PLACES,
        ("scope", "i8"),
        ("tree_id", "i8"),  # -1: not known
        ("path", "i4"),
        ("kind", "u1"),
        ("status", "i8"),  # -1: not captured
        ("dos_status", "?"),
        ("password_size", "i4"),
        ("live", "?"),
    ]
)
OPEN = np.dtype(
    [
        *_WHOSE,
        *_PLACES,
        ("scope", "i8"),
        ("tree", "i4"),  # row of the tree, -1: its connect was not captured
        ("name", "i4"),
        ("via", "u1"),
        ("access_mask", "i8"),
        ("status", "i8"),
        ("dos_status", "?"),
        ("file_hi", "u8"),
        ("file_lo", "u8"),
        ("closed_ns", "i8"),  # -1: not seen
        ("bytes_written", "i8"),
        ("bytes_read", "i8"),
        ("secondary", "i4"),  # secondary address of the bind acknowledgement, -1: none seen
        ("form", "u1"),  # what it carried: rpc.pipes.FORM_
        ("first_bytes", "i8"),  # of the client, if that was no DCE/RPC: a little-endian number ...
        ("first_size", "u1"),  # ... of so many bytes
        ("sure", "?"),  # surely a pipe
        ("inferred", "?"),  # its answer was not captured, but the file id that it gave was used
        ("live", "?"),
    ]
)
CALL = np.dtype(
    [
        *_WHOSE,
        *_PLACES,
        ("tree", "i4"),
        ("protocol", "u1"),
        ("function", "i8"),  # DCE/RPC: operation number, -1: not known
        ("name", "i4"),
        ("status", "i8"),  # of the SMB answer
        ("dos_status", "?"),
        ("code", "i8"),  # RAP and DCE/RPC: its own result, -1: none
        # DCE/RPC only.
        ("open", "i4"),  # row of the open, -1: not kept, or not captured
        ("pipe", "i4"),  # its name
        ("interface", "i4"),  # number of the interface, -1: not known
        ("auth_type", "i2"),
        ("auth_level", "i2"),
        ("result", "u1"),  # rpc.pipes.RESULT_
        ("server", "i4"),  # text: who is asked, in the request's words
        ("level", "i8"),  # information level, -1: none
    ]
)
BIND = np.dtype(
    [
        *_WHOSE,
        *_PLACES,
        ("tree", "i4"),
        ("open", "i4"),
        ("pipe", "i4"),
        ("interface", "i4"),
        ("transfer", "u1"),  # rpc.pipes.TRANSFER_
        ("context", "i4"),
        ("alter", "?"),
        ("auth_type", "i2"),
        ("auth_level", "i2"),
        ("result", "u1"),
        ("code", "i8"),
        ("secondary", "i4"),
    ]
)
"""A presentation context: an interface that a client wants to use on a pipe."""
CHANNEL = np.dtype(
    [("session", "i4"), ("connection", "i4"), ("order", "i8"), ("capture_no", "i4"), ("frame", "i8"), ("status", "i8")]
)
DISK = np.dtype(
    [
        *_WHOSE,
        ("tree", "i4"),
        ("opens", "i8"),
        ("succeeded", "i8"),
        ("denied", "i8"),
        ("samples", "i4", (5,)),  # texts of names, -1: none
    ]
)
USE = np.dtype(
    [
        ("pair", "i4"),
        ("resource", "i4"),
        ("interface", "i4"),
        ("operation", "i4"),
        ("hour", "i8"),  # since 1970
        ("uses", "i8"),
        ("succeeded", "i8"),
        ("after_refusal", "i8"),  # successes within a minute of the same client's anonymous refusal
        ("first_ns", "i8"),
        ("last_ns", "i8"),
        ("capture_no", "i4"),
        ("frame", "i8"),
    ]
)
"""What sessions with credentials did with a resource in an hour, counted."""
REFERRED = np.dtype(
    [
        ("pair", "i4"),
        ("named", "i4"),  # text: the server that is named
        ("target", "i4"),  # text: all of what was named, of several the first in the alphabet
        ("asked", "i4"),  # text: the path that was asked for then, -1: its request was not captured
        ("answers", "i8"),
        ("first_ns", "i8"),
        ("last_ns", "i8"),
        ("capture_no", "i4"),  # of the first answer that named it so
        ("frame", "i8"),
    ]
)
"""A server that the answers to a client's DFS referrals named, counted."""
