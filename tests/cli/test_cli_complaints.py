"""Mistakes on the command line: one line each, with what is wrong, where, and what to do; names that are near are offered."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import CAPTURES, Called

GUEST = str(CAPTURES / "guest.pcap")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("tabels", GUEST), "no command is called 'tabels' (did you mean tables?); `nullsession --help` names all"),
        (("policy", "shwo"), "no command is called 'shwo' (did you mean show?); `nullsession policy --help` names all"),
        (("xyz",), "no command is called 'xyz'; `nullsession --help` names all"),
        (
            ("analyze", "--enigne", "x"),
            "no option is called --enigne (did you mean --engine?); `nullsession analyze --help` names all",
        ),
        (("-x",), "no option is called -x; `nullsession --help` names all"),
        (("analyze",), "PATH... is missing; `nullsession analyze --help` shows what is wanted"),
        (("analyze", GUEST, "--format", "xml"), "--format: 'xml' is none of table, json, csv"),
        (("analyze", GUEST, "--port", "smb"), "--port: 'smb' is no whole number"),
        (("analyze", GUEST, "--port", "70000"), "port 70000: ports are numbers from 1 to 65535"),
        (("tables", "calls", GUEST, "--rows", "-1"), "--rows: '-1' is too small; the least is 0"),
        (("doctor", "--compile=3"), "--compile: takes no value; `nullsession --help` shows what is wanted"),
        (("doctor", "x"), "'x' is more than the command takes; `nullsession doctor --help` shows what is wanted"),
        (
            ("analyze", GUEST, "--engine", "tsark"),
            "no engine is called 'tsark' (did you mean tshark?); there are native, tshark, scapy",
        ),
        (
            ("verify", GUEST, "--engines", "native"),
            "it takes two engines to compare, not native; there are native, tshark, scapy",
        ),
        (
            ("analyze", GUEST, "--timezone", "Europe/Berln"),
            "no time zone is called 'Europe/Berln' (did you mean Europe/Berlin or Europe/Dublin?); names are like UTC or "
            "Europe/Berlin",
        ),
    ],
    ids=lambda value: " ".join(Path(word).name for word in value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_told_in_one_voice(called: Called, arguments: tuple[str, ...], line: str) -> None:
    done = called(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err == f"nullsession: {line}\n"


@pytest.mark.parametrize(
    ("arguments", "begin"),
    [
        (("tables", "Calls", GUEST), "no table is called 'Calls' (did you mean calls?); there are captures, "),
        (
            ("tables", "calls", GUEST, "--columns", "frame,opperation"),
            "no column of calls is called 'opperation' (did you mean operation or operation_class?); there are call_key, ",
        ),
        (
            ("policy", "show", "x.reg", "--os", "2018"),
            "no release is called '2018' (did you mean 2019 or 2016?); there",
        ),
        (("analyze", GUEST, "--format"), "--format: a value is missing; `nullsession"),
    ],
    ids=lambda value: " ".join(Path(word).name for word in value) if isinstance(value, tuple) else "",
)
def test_what_there_is_stands_behind(called: Called, arguments: tuple[str, ...], begin: str) -> None:
    done = called(*arguments)
    assert (done.status, done.out) == (2, "")
    assert len(done.complaints) == 1
    assert done.err.startswith(f"nullsession: {begin}")


def test_a_key_of_the_rules_that_is_nearly_right(called: Called, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nclent = "10.0.0.1"\napplication = "x"\n')
    done = called("analyze", GUEST, "--applications", rules)
    assert done.status == 2
    assert "rule 1: unknown key 'clent' (did you mean client?); known are client, " in done.err


def test_a_group_without_a_command_shows_its_help(called: Called) -> None:
    done = called("policy")
    assert done.status == 2
    assert "collect" in done.out + done.err
    assert "nullsession:" not in done.err


def test_what_is_typed_cannot_steer_the_terminal(called: Called) -> None:
    for arguments in (["\x1b[31mx"], ["--\x1b[31mx"], ["analyze", "x", "--port", "\x1b[31m"]):
        done = called(*arguments)
        assert done.status == 2
        assert "\x1b" not in done.err
        assert len(done.complaints) == 1
