"""The grammar that all protocol rooms share.

In: nothing of its own. Out: a field table that reads one structure or a batch of them (`layout`), a bounds-checked
cursor for variable parts (`cursor`), enumerations that keep unknown codes (`enums`), the multi-byte loads of the
kernels (`loads`), and a pool of texts (`texts`). Never opens a file, never knows a protocol.
"""
