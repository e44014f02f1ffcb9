"""What the kernels of this room hand over: one row of numbers a field, one column a blob.

A row for each field keeps all values of a field together, so that Python takes them as they are.
"""

from __future__ import annotations

C_KIND = 0  #            TokenKind
C_MECHANISM = 1  #       Mechanism
C_START = 2  #           the innermost token
C_END = 3
C_WRAPPED = 4  #         SPNEGO was around it
C_BROKEN = 5  #          that SPNEGO made no sense
C_CONTINUES = 6  #       the outermost element says that it goes on behind the blob
C_FLAGS = 7
C_LM_SIZE = 8  #         -1: there is no such field
C_LM_IS_ZERO = 9
C_NT_SIZE = 10
C_KEY_SIZE = 11
C_USER_IS_NUL = 12
C_UNICODE = 13  #        the NTLMSSP names are UTF-16
C_ETYPE = 14

C_TEXTS = 15
# Texts: where each begins, and in the next row its size in bytes (-1: it is not there).
C_USER = 15
C_DOMAIN = 17
C_WORKSTATION = 19
C_BUILD = 21
C_TARGET = 23
C_NETBIOS_COMPUTER = 25
C_NETBIOS_DOMAIN = 27
C_DNS_COMPUTER = 29
C_DNS_DOMAIN = 31
C_REALM = 33
C_SERVICE = 35
C_FIELDS = 37
