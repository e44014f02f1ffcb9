"""DCE/RPC over named pipes: the bytes that went through pipes to calls. [C706 12; MS-RPCE 2.2.2]

In: pieces of what was written to and read from pipes, in order. Out: rows of numbers, a call or a bind each. Never knows
who a pipe's session belonged to, and never sees an SMB message.

`pdu` is the grammar: headers, identifiers, where a stub ends. `stub` reads the few arguments that tell who is asked or what
is wanted. `pipes` follows the pipes: it puts PDUs together, remembers what each presentation context means and which calls
wait for their answer.
"""
