"""The script that collects access lists: names from captures are texts in it, nothing else."""

from __future__ import annotations

from analyzer.policy.access_lists import quoted, script


def test_names_cannot_act() -> None:
    assert quoted("it's") == "'it''s'"
    assert quoted("$(Stop-Computer)") == "'$(Stop-Computer)'"
    assert quoted("a\nb") == "(-join [char[]](97, 10, 98))"
    assert quoted("\u2019; evil") == "(-join [char[]](8217, 59, 32, 101, 118, 105, 108))"


def test_the_script_is_ascii_and_asks_for_each_name() -> None:
    made = script({"F\u00cdLES\nremove-item": [("pipe", "spoolss"), ("share", "SCANS")]})
    assert made.isascii()
    assert "$pipes = @('spoolss')" in made
    assert "$shares = @('SCANS')" in made
    assert "\nremove-item" not in made
