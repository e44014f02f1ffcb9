"""Enumerations that keep unknown codes."""

from __future__ import annotations

import pytest

from analyzer.wire.enums import Code


class Colour(Code):
    """A sample."""

    RED = 1
    BLUE = 0x20


def test_a_listed_code_is_its_member() -> None:
    assert Colour(0x20) is Colour.BLUE


@pytest.mark.parametrize(
    ("number", "name"), [(0x4D, "UNKNOWN_0x4D"), (3, "UNKNOWN_0x03"), (0x1234, "UNKNOWN_0x1234"), (0, "UNKNOWN_0x00")]
)
def test_an_unlisted_code_keeps_its_number(number: int, name: str) -> None:
    member = Colour(number)
    assert isinstance(member, Colour)
    assert member == number
    assert member.value == number
    assert member.name == name


def test_unlisted_codes_compare_by_number() -> None:
    assert Colour(0x4D) == Colour(0x4D)
    assert Colour(0x4D) != Colour(0x4E)
    assert len({Colour(0x4D), Colour(0x4D)}) == 1


def test_an_unlisted_code_does_not_join_the_list() -> None:
    Colour(0x4D)
    assert list(Colour) == [Colour.RED, Colour.BLUE]


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="red"):
        Colour("red")
