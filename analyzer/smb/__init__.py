"""SMB messages to records.

In: the table of selected messages and its arena. Out: batches of protocol records. `select` is the compiled choice of
which messages matter; `smb1` and `smb2` read headers and bodies, a batch at once. `contexts` and `crypto` are for the few
connections that are read again: one message at a time, they check signatures and decrypt. The security blob goes out as
bytes (`auth` reads it), pipe data as bytes (`rpc`). Never opens a file, never decides whose session it is.
"""
