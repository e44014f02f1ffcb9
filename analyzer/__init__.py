"""Offline analysis of packet captures for dependencies on SMB null sessions."""

__version__ = "0.1.0"
