"""Read a file with smbprotocol: smbprotocol_read.py ADDRESS SHARE FILE USER PASSWORD"""

from __future__ import annotations

import sys

import smbclient

address, share, file, user, password = sys.argv[1:]
with smbclient.open_file(rf"\\{address}\{share}\{file}", username=user, password=password, encrypt=False) as handle:
    print(len(handle.read()), "characters")
smbclient.reset_connection_cache()
