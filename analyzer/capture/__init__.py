"""Files to packets.

In: paths (files, folders, patterns, `-`). Out: blocks of TCP segments in time order, as tables of 64-bit integers over
one reused buffer (`packets`), and what there is to say about each file. Here are containers (`pcap`, `pcapng`),
compression (`source`), link layers down to TCP (`links`), and several files as one capture, read ahead (`inputs`).
Never follows a TCP stream, never looks at a payload.
"""
