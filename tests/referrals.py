"""Answers to DFS referrals, field by field. [MS-DFSC 2.2.4, 2.2.5]"""

from __future__ import annotations

from collections.abc import Sequence

from tests.build import packed, utf16

NAME_LIST = 0x0002
HEADER_SIZE = 8


def name(text: str) -> bytes:
    """As referrals write it: with a NUL at its end."""
    return utf16(text + "\0")


def response(entries: bytes, count: int, strings: bytes = b"") -> bytes:
    """RESP_GET_DFS_REFERRAL. strings: what the entries point to, behind all of them. [MS-DFSC 2.2.4]"""
    header = packed(
        ("path_consumed", "H", 20),
        ("number_of_referrals", "H", count),
        ("referral_header_flags", "I", 2),  # S: the targets are storage servers
    )
    return header + entries + strings


def entry_1(share_name: str) -> bytes:
    """DFS_REFERRAL_V1. [MS-DFSC 2.2.5.1]"""
    return packed(
        ("version_number", "H", 1),
        ("size", "H", 8 + len(name(share_name))),
        ("server_type", "H", 0),
        ("referral_entry_flags", "H", 0),
    ) + name(share_name)


def entry_2(address_at: int, path_at: int = 0) -> bytes:
    """DFS_REFERRAL_V2; offsets count from the beginning of the entry. [MS-DFSC 2.2.5.2]"""
    return packed(
        ("version_number", "H", 2),
        ("size", "H", 22),
        ("server_type", "H", 0),
        ("referral_entry_flags", "H", 0),
        ("proximity", "I", 0),
        ("time_to_live", "I", 300),
        ("dfs_path_offset", "H", path_at or address_at),
        ("dfs_alternate_path_offset", "H", path_at or address_at),
        ("network_address_offset", "H", address_at),
    )


def entry_3(address_at: int, path_at: int = 0, *, version: int = 3, flags: int = 0) -> bytes:
    """DFS_REFERRAL_V3, and _V4 which is the same. [MS-DFSC 2.2.5.3.1, 2.2.5.4]"""
    return packed(
        ("version_number", "H", version),
        ("size", "H", 34),
        ("server_type", "H", 0),
        ("referral_entry_flags", "H", flags),
        ("time_to_live", "I", 300),
        ("dfs_path_offset", "H", path_at or address_at),
        ("dfs_alternate_path_offset", "H", path_at or address_at),
        ("network_address_offset", "H", address_at),
        ("service_site_guid", "16s", bytes(16)),
    )


def name_list(special_at: int, count: int, expanded_at: int, *, version: int = 3) -> bytes:
    """A DFS_REFERRAL_V3 that is a NameListReferral. [MS-DFSC 2.2.5.3.2]"""
    return packed(
        ("version_number", "H", version),
        ("size", "H", 34),
        ("server_type", "H", 0),
        ("referral_entry_flags", "H", NAME_LIST),
        ("time_to_live", "I", 600),
        ("special_name_offset", "H", special_at),
        ("number_of_expanded_names", "H", count),
        ("expanded_name_offset", "H", expanded_at),
        ("padding", "16s", bytes(16)),
    )


def targets(*addresses: str, version: int = 3) -> bytes:
    """An answer of one version with these targets, all for the same path, which stands before the addresses."""
    if version == 1:
        return response(b"".join(map(entry_1, addresses)), len(addresses))
    size = 22 if version == 2 else 34
    path = name(r"\FILES1\dfs")
    entries, strings = b"", path
    for place, address in enumerate(addresses):
        left = size * (len(addresses) - place)  # from this entry to the strings
        at = left + len(strings)
        entries += entry_2(at, left) if version == 2 else entry_3(at, left, version=version)
        strings += name(address)
    return response(entries, len(addresses), strings)


def controllers(domain: str, names: Sequence[str], *, version: int = 3) -> bytes:
    """An answer with the controllers of a domain. [MS-DFSC 2.2.5.3.2]"""
    special = name(domain)
    strings = special + b"".join(map(name, names))
    return response(name_list(34, len(names), 34 + len(special), version=version), 1, strings)
