"""Policies: what decides about anonymous access on a server, as data.

In: files that administrators have (registry exports, security templates, registry.pol, smb.conf, TOML), as bytes with their
names. Out: a `Policy`, settings by id, each with its place; and from a policy the files that an administrator applies and
can undo. Defaults and meanings of settings are rows in `knowledge` (`policy_settings`, `policy_defaults`); no rule reads
prose. Nothing here changes a machine.
"""
