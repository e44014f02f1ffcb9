"""pysmb lists shares: anonymously as far as it can, which is an empty name with responses of full length.

    pysmb_shares.py ADDRESS [--plain] [--smb2] [USER PASSWORD]

--plain: SMB 1 without extended security; --smb2: SMB 2 instead of SMB 1.
"""

from __future__ import annotations

import sys

from smb import smb_structs
from smb.SMBConnection import SMBConnection

address, *rest = sys.argv[1:]
smb_structs.SUPPORT_SMB2 = "--smb2" in rest
smb_structs.SUPPORT_EXTENDED_SECURITY = "--plain" not in rest
user, password = (*(word for word in rest if not word.startswith("--")), "", "")[:2]
connection = SMBConnection(user, password, "CLIENT2", "FILES1", use_ntlm_v2="--plain" not in rest, is_direct_tcp=True)
if not connection.connect(address, 445, timeout=20):
    sys.exit("logon refused")
print([share.name for share in connection.listShares(timeout=20)])
connection.close()
