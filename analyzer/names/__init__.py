"""A bounded batch of datagrams to host names: DNS, DHCP, NetBIOS, browser announcements; and the user's own list.

In: `records.DATAGRAM` rows, and the addresses that matter. Out: `Sighting`s: who said when that an address has which name,
system or hardware address. One module a protocol, `parse_*` on one datagram's bytes, decoded with scapy, which is imported
when the first datagram is to be decoded. Never decides which name an address has.
"""
