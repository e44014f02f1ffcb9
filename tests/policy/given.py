"""What tests of policies share: policies to write, and values without their places."""

from __future__ import annotations

from hypothesis import strategies as st

from analyzer.errors import PolicyError
from analyzer.policy.reading import read_bytes
from analyzer.policy.settings import Given, Policy, Value

PARAMETERS = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\LanmanServer\Parameters"
LSA = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Lsa"

REGISTRY: dict[str, Value | None] = {
    "NullSessionPipes": ("netlogon", "sql\\query", "a,b"),
    "NullSessionShares": (),
    "RestrictNullSessAccess": 1,
    "RestrictAnonymous": 0xFFFFFFFF,
    "RestrictRemoteSam": "O:BAG:BAD:(A;;RC;;;BA)",
    "RestrictGuestAccess_system": 1,
}
"""Settings that a registry export and a template both carry."""

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
"""Names as somebody may have put them into a registry or sent them over a wire."""


def given(values: dict[str, Value | None]) -> dict[str, Given]:
    """Settings as a policy has them."""
    return {name: Given(value, "test") for name, value in values.items()}


def values(policy: Policy) -> dict[str, Value | None]:
    """The values of a policy by id."""
    return {name: it.value for name, it in policy.settings.items()}


def options(policy: Policy) -> dict[str, dict[str, Value | None]]:
    """The values of the options of shares."""
    return {share: {name: it.value for name, it in those.items()} for share, those in policy.shares.items()}


def policy_or_error(data: bytes, file: str) -> Policy | PolicyError:
    """What becomes of any bytes: nothing but these two."""
    try:
        return read_bytes(data, file)
    except PolicyError as problem:
        return problem
