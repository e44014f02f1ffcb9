"""Anonymous (or named) over SMB 3.1.1 with impacket's SMBConnection: ask srvsvc for the shares.

impacket_srvsvc.py ADDRESS [USER PASSWORD]
"""

from __future__ import annotations

import sys

from impacket.dcerpc.v5 import srvs, transport
from impacket.smb3structs import SMB2_DIALECT_311
from impacket.smbconnection import SMBConnection

address, user, password = (*sys.argv[1:], "", "")[:3]
connection = SMBConnection(address, address, preferredDialect=SMB2_DIALECT_311)
connection.login(user, password)
rpc = transport.SMBTransport(address, filename="srvsvc", smb_connection=connection).get_dce_rpc()
rpc.connect()
rpc.bind(srvs.MSRPC_UUID_SRVS)
shares = srvs.hNetrShareEnum(rpc, 1)["InfoStruct"]["ShareInfo"]["Level1"]["Buffer"]
print([share["shi1_netname"].rstrip("\0") for share in shares])
connection.logoff()
