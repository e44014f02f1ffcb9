"""Policies: what decides about anonymous access on a server, as data.

In: files that administrators have (registry exports, security templates, registry.pol, smb.conf, TOML), as bytes with their
names. Out: a `Policy`, settings by id, each with its place; and from a policy the files that an administrator applies and
can undo. Defaults and meanings of settings are rows in `knowledge` (`policy_settings`, `policy_defaults`); no rule reads
prose. Nothing here changes a machine.

`whatif` and `recommend` take the tables `NEEDED` (Arrow, by name) and replay what was seen: what still works under a policy,
and which policy is the tightest that breaks nothing. Which setting acts on what are rows, too (`policy_rules`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from analyzer.policy.settings import Policy

if TYPE_CHECKING:
    import pyarrow as pa

    from analyzer.policy.recommending import Recommendation
    from analyzer.policy.replay import WhatIf

__all__ = ["NEEDED", "Policy", "recommend", "whatif"]

NEEDED = ("connections", "sessions", "trees", "pipe_opens", "binds", "calls", "hosts", "dependencies", "other_ways")
"""The tables that are looked at."""
NONE_GIVEN: Mapping[str, str] = {}


def whatif(
    rows: Mapping[str, pa.Table],
    *,
    policies: Mapping[str, Policy],
    baselines: Mapping[str, Policy] | None = None,
    systems: Mapping[str, str] = NONE_GIVEN,
    roles: Mapping[str, str] = NONE_GIVEN,
    client_policy: Policy | None = None,
    assume_defaults: bool = False,
) -> WhatIf:
    """What becomes of every use that was seen, under a policy.

    policies, baselines, systems, roles: by name or address of a server, or under `""` for all others. A policy is a change:
    what it does not name stays as it is. baselines: what is set today. systems: what servers are (`2016`, `samba`, a number
    of a build), roles: `member` or `dc`; both are else taken from the tables. client_policy: what is set on the clients.
    assume_defaults: what neither says has its default; else it is unknown.
    """
    from analyzer.policy import replay  # noqa: PLC0415 - NumPy and Arrow

    given = replay.Given(
        policies=policies,
        baselines=baselines or {},
        systems=systems,
        roles=roles,
        client_policy=client_policy,
        assume_defaults=assume_defaults,
    )
    return replay.whatif(rows, given)


def recommend(
    rows: Mapping[str, pa.Table],
    *,
    baselines: Mapping[str, Policy] | None = None,
    systems: Mapping[str, str] = NONE_GIVEN,
    roles: Mapping[str, str] = NONE_GIVEN,
    assume_defaults: bool = False,
    accept: Sequence[str] = (),
    enough: Mapping[str, str | None] | None = None,
) -> Recommendation:
    """The tightest policy for each server that breaks nothing that is needed; arguments as of `whatif`.

    accept: what is given up: `covered`, `unknown`, `cannot_be_known`, numbers of rows of `dependencies`, or `netlogon`,
    `samr`, `lsarpc` on domain controllers. enough: for servers, by `site/address` or by address, why they were not
    observed for long enough.
    """
    from analyzer.policy import recommending, replay  # noqa: PLC0415 - NumPy and Arrow

    given = replay.Given(
        policies={}, baselines=baselines or {}, systems=systems, roles=roles, assume_defaults=assume_defaults
    )
    return recommending.recommend(rows, given, accept=accept, enough=enough)
