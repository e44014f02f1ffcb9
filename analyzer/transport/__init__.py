"""TCP segments to framed messages.

In: blocks of segments in time order (`capture.packets`). Out: selected messages, whole or their first part, in an arena,
with a row of facts each (`messages`), and the facts about each connection. `pick` finds the SMB connections, `flows`
keeps their state, `streams` puts the bytes of each direction in order and finds the message boundaries, `netbios` reads
the session service's own packets. Which messages are worth keeping is asked of `smb.select`. Never opens a file, never
interprets a message beyond that.
"""
