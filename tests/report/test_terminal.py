"""The terminal report: the answer first, every row with its frame, what was not seen, and nothing that steers a terminal."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.cells import cell_len
from rich.console import Console

import analyzer
from analyzer import tables
from analyzer.report import terminal
from tests import build
from tests.build import ACCESS_DENIED
from tests.dialogue import ALICE, IS_GUEST, LOGON_FAILURE, Exchange, Smb2, Talk, frame_of, lose, write

WIDTHS = (80, 120, 200)
ALL_WIDTHS = range(60, 221)
BELOW = " " * 11
"""Details stand below the second column."""


def rendered(analysis: analyzer.Analysis, width: int) -> str:
    """The report as a file gets it."""
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None, highlight=False)
    terminal.render(analysis, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def lead(text: str) -> str:
    """What stands before the first empty line, as one line."""
    return " ".join(text.split("\n\n", maxsplit=1)[0].split())


def cells(text: str, width: int) -> None:
    """No line is longer than the terminal is wide."""
    assert max(cell_len(line) for line in text.splitlines()) <= width


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a section, what stands above it, and what below."""

    client: str
    server: str
    line: str
    details: str
    """Joined to one line."""

    @property
    def words(self) -> set[str]:
        """What is set off by blanks, or by the brackets around an address."""
        words = set(f"{self.client} {self.server} {self.line}".split())
        return words | {word[1:-1] for word in words if word.startswith("(") and word.endswith(")")}


def rows_of(text: str) -> list[Row]:
    """The rows of all sections, in their order. Headings must fit in a line."""
    rows: list[Row] = []
    client = server = ""
    for line in text.partition("\n\n")[2].partition("What these captures cannot show")[0].splitlines():
        if " -> " in line and not line.startswith(" "):
            client, server = line.split(" -> ")
        elif line.split()[:1] and line.split()[0] in tables.VERDICT and line.startswith("  "):
            rows.append(Row(client, server, line, ""))
        elif line.startswith(BELOW):
            rows[-1] = replace(rows[-1], details=f"{rows[-1].details} {line.strip()}".strip())
    return rows


def row_of(text: str, *words: str) -> Row:
    """The one row that has these words."""
    found = [row for row in rows_of(text) if set(words) <= row.words]
    assert len(found) == 1, (words, text)
    return found[0]


def network() -> tuple[list[Talk], list[tuple[str, str, str, str, Exchange]]]:
    """Conversations of every verdict; and each row: verdict, client, server, what it names, and where."""
    rows = []
    talks: list[Talk] = []

    def talk(client: str, server: str = "10.0.0.2", **how: object) -> Smb2:
        made = Smb2(client, server, at=len(talks), **how)  # type: ignore[arg-type]
        talks.append(made)
        return made

    for number, pipe in enumerate(("srvsvc", "lsarpc", "sql\\query"), 1):
        client = f"10.0.0.{10 + number}"
        rows.append(("depends", client, "10.0.0.2", pipe, talk(client).anonymous_use(0x11, pipe)))
    rows.append(("depends", "10.0.0.11", "10.0.0.3", "samr", talk("10.0.0.11", "10.0.0.3").anonymous_use(0x11, "samr")))
    guest = talk("10.0.0.15")
    guest.login(0x11, ALICE, session_flags=IS_GUEST)
    guest.tree(0x11, 1)
    rows.append(("depends", "10.0.0.15", "10.0.0.2", "spoolss", guest.use(0x11, 1, "spoolss")))
    unseen = talk("10.0.0.16", opened=False, dialect=None)
    unseen.tree(0x11, 1)
    rows.append(("unknown", "10.0.0.16", "10.0.0.2", "winreg", unseen.use(0x11, 1, "winreg")))
    covered = talk("10.0.0.17")
    rows.append(("covered", "10.0.0.17", "10.0.0.2", "wkssvc", covered.anonymous_use(0x11, "wkssvc")))
    covered.create(0x11, 1, "wkssvc", (0, 0), status=ACCESS_DENIED)
    covered.credentialed_use(0x22, "wkssvc")
    rows.append(("denied", "10.0.0.18", "10.0.0.2", "netlogon", talk("10.0.0.18").refused_use(0x11, "netlogon")))
    rows.append(("denied", "10.0.0.19", "10.0.0.2", "(login)", talk("10.0.0.19").login(0x11, status=ACCESS_DENIED)))
    idle = talk("10.0.0.20")
    rows.append(("probe", "10.0.0.20", "10.0.0.2", "IPC$", idle.login(0x11)))
    idle.tree(0x11, 1)
    return talks, rows


NETWORK, ROWS = network()


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> analyzer.Analysis:
    """Of the network."""
    return analyzer.analyze(write(tmp_path_factory.mktemp("terminal") / "c.pcap", *NETWORK))


@pytest.mark.parametrize("width", WIDTHS)
def test_it_leads_with_the_answer(width: int, analysis: analyzer.Analysis) -> None:
    """Who depends: five clients, of which one is proven to do without; two servers; one more may."""
    first = lead(rendered(analysis, width))
    assert first.startswith("5 clients depend on null sessions at 2 servers")
    for pipe in ("srvsvc", "lsarpc", "sql\\query", "samr", "spoolss"):
        assert pipe in first
    assert "netlogon" not in first
    assert "For 1 client it is not known" in first


def test_one_address_in_two_sites_is_two_machines(tmp_path: Path) -> None:
    for site in ("north", "south"):
        talk = Smb2("10.0.0.9")
        talk.anonymous_use(0x11, "srvsvc")
        write(tmp_path / site / "c.pcap", talk)
    first = lead(rendered(analyzer.analyze(tmp_path, separate=True), 120))
    assert first.startswith("2 clients depend on null sessions at 2 servers: srvsvc.")
    assert lead(rendered(analyzer.analyze(tmp_path), 120)).startswith("1 client depends on null sessions at 1 server")


@pytest.mark.parametrize("width", WIDTHS)
def test_every_row_is_there_with_its_frame(width: int, analysis: analyzer.Analysis) -> None:
    text = rendered(analysis, width)
    cells(text, width)
    for verdict, client, server, resource, exchange in ROWS:
        row = row_of(text, verdict, client, server, resource)
        assert f"frame {frame_of(exchange.request, *NETWORK)}" in row.line, row


@pytest.mark.parametrize("width", WIDTHS)
def test_what_matters_stands_first(width: int, analysis: analyzer.Analysis) -> None:
    """What may break stands before what is refused already, and what cannot be seen at the end."""
    text = rendered(analysis, width)
    order = rows_of(text)
    places = [order.index(row_of(text, verdict, client, resource)) for verdict, client, _, resource, _ in ROWS]
    kept = [place for place, row in zip(places, ROWS, strict=True) if row[0] in ("depends", "unknown", "covered")]
    rest = [place for place, row in zip(places, ROWS, strict=True) if row[0] in ("denied", "probe")]
    assert max(kept) < min(rest)
    assert text.index("Dependencies") < text.index("Refused already") < text.index("What these captures cannot show")


@pytest.mark.parametrize("width", ALL_WIDTHS)
def test_at_every_width_it_says_why_and_as_whom(width: int, analysis: analyzer.Analysis) -> None:
    text = rendered(analysis, width)
    guest = row_of(text, "10.0.0.15", "spoolss")
    assert "guest" in guest.words | set(guest.details.replace(";", "").split())
    assert "no DCE/RPC" in row_of(text, "10.0.0.11", "srvsvc").details
    assert "UTC" in text


@pytest.mark.parametrize("width", ALL_WIDTHS)
def test_no_word_is_lost_at_any_width(width: int, analysis: analyzer.Analysis) -> None:
    """Each row's texts stand in it as a whole, however narrow, and no line is too long or ends in blanks."""
    text = rendered(analysis, width)
    cells(text, width)
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    rows = analysis.dependencies
    for row in rows.itertuples():
        resource = "(login)" if row.resource is pd.NA else row.resource
        printed = row_of(text, row.verdict, row.client_ip, row.server_ip, resource)
        everything = f"{printed.line} {printed.details}"
        assert str(row.reason) in printed.details
        assert f"frame {row.frame}" in everything
        assert f"{row.last_seen:%Y-%m-%d %H:%M}" in everything
        assert {str(row.uses), str(row.runs)} <= set(printed.line.split())
    for sentence in (*terminal.blind_spots(analysis), terminal.answer(analysis)):
        assert sentence in " ".join(text.split())


def test_a_client_and_a_server_are_named_once_for_all_that_they_do(analysis: analyzer.Analysis) -> None:
    """One client at two servers; nobody stands twice above rows of one section."""
    section = rendered(analysis, 80).partition("Dependencies")[2].partition("Refused already")[0]
    headings = [line for line in section.splitlines() if " -> " in line]
    assert len(headings) == len(set(headings)) == 7
    assert sum("10.0.0.11" in line for line in headings) == 2


@pytest.mark.parametrize("width", WIDTHS)
def test_what_was_not_seen_is_told(width: int, analysis: analyzer.Analysis) -> None:
    end = " ".join(rendered(analysis, width).partition("What these captures cannot show")[2].split())
    assert "Seen: 1 file" in end
    assert f"{sum(len(talk.tcp.segments) for talk in NETWORK)} packets" in end
    assert "Jobs that run less often" in end
    assert "1 session in use whose login is not in the captures" in end
    assert "1 connection began before the captures" in end
    assert "QUIC" in end


# Nothing was found: that is not to say that there is nothing. #


def answer_of(path: Path, *talks: Talk) -> tuple[str, str]:
    """The answer, and the whole report."""
    text = rendered(analyzer.analyze(write(path, *talks)), 80)
    return lead(text), text


def test_none_seen_is_not_none(tmp_path: Path) -> None:
    talk = Smb2()
    talk.credentialed_use(0x11, "srvsvc")
    first, text = answer_of(tmp_path / "c.pcap", talk)
    assert first == "No client was seen to depend on null sessions."
    assert "Dependencies" not in text
    assert "Jobs that run less often may not be in them." in " ".join(text.split())


def test_only_refusals_are_no_dependency(tmp_path: Path) -> None:
    talk = Smb2()
    talk.refused_use(0x11, "srvsvc")
    first, text = answer_of(tmp_path / "c.pcap", talk)
    assert first == "No client was seen to depend on null sessions."
    assert row_of(text, "denied", "srvsvc")


def test_what_is_not_known_is_in_the_answer(tmp_path: Path) -> None:
    """One may not read `none` where a session's login was not captured."""
    talk = Smb2(opened=False, dialect=None)
    talk.tree(0x11, 1)
    talk.use(0x11, 1, "srvsvc")
    first, text = answer_of(tmp_path / "c.pcap", talk)
    assert "No client was seen to depend" in first
    assert "For 1 client it is not known" in first
    assert row_of(text, "unknown", "srvsvc")


def test_captures_without_smb(tmp_path: Path) -> None:
    first, _ = answer_of(tmp_path / "c.pcap", Smb2(dialect=None))
    assert "was found in these captures" in first
    empty = tmp_path / "empty.pcap"
    empty.write_bytes(build.pcap([]))
    text = rendered(analyzer.analyze(empty), 80)
    assert "was found in these captures" in lead(text)
    assert "no packets" in text


def test_what_is_missing_is_in_the_report(tmp_path: Path) -> None:
    """A lost segment, one direction only, a login begun, a damaged file: each has its sentence."""
    gap, one_way, begun = Smb2(), Smb2("10.0.0.5", at=1), Smb2("10.0.0.6", at=2)
    gap.anonymous_use(0x11, "srvsvc")
    lost = gap.tcp.segments[-4]
    lose(gap, lost)
    gap.tcp.close()
    one_way.anonymous_use(0x22, "lsarpc")
    lose(one_way, *[segment for segment in one_way.tcp.segments if segment.source == one_way.tcp.server_end])
    begun.challenge(0x33)
    write(tmp_path / "c.pcap", gap, one_way, begun)
    (tmp_path / "none.pcap").write_bytes(b"no capture at all")
    text = " ".join(rendered(analyzer.analyze(tmp_path), 200).split())
    assert f"{len(lost.payload)} bytes of TCP payload were lost" in text
    assert "in one direction only" in text
    assert "1 session whose login was begun and not finished" in text
    assert "Not read:" in text
    assert "none.pcap" in text


# Names, long or hostile. #

LONG = "pipe-" + "x" * 150 + "-end"
STEERING = {
    "escape": "a\x1b[31mred\x1b[0m",
    "title": "a\x1b]0;owned\x07",
    "newline": "a\nb",
    "carriage": "a\rb",
    "c1": "a\x9b31m",
    "backspace": "a\x08b",
    "direction": "a\u202egnp",
    "zero-width": "a\u200bb",
    "surrogate": "a\ud800b".encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"),
}


def harmless(text: str) -> None:
    """Nothing but what is seen, blanks and ends of lines."""
    steering = {char for char in text if char != "\n" and unicodedata.category(char)[0] == "C"}
    assert not steering
    assert not {char for char in text if unicodedata.category(char)[0] == "Z" and char != " "}


def test_no_control_characters_get_through(tmp_path: Path) -> None:
    """Names come from whoever sent the packets: pipes, shares, workstations, users and files."""
    talks: list[Talk] = []
    for number, name in enumerate(STEERING.values()):
        talk = Smb2(f"10.0.0.{number + 1}", at=number)
        talk.login(0x11, build.ntlm_authenticate(name, lm=bytes(24), nt=bytes(24)), status=LOGON_FAILURE)
        talk.login(0x22, build.ntlm_authenticate(lm=b"\0", workstation=f"WS{name}"))
        talk.tree(0x22, 1)
        talk.use(0x22, 1, name)
        talk.tree(0x22, 2, f"SHARE{name}")
        talk.create(0x22, 2, name, (9, 9))
        talks.append(talk)
    path = write(tmp_path / "a\x1b[2Jb.pcap", *talks)
    (tmp_path / "b\x1b[2J.pcap").write_bytes(b"no capture")
    analysis = analyzer.analyze(tmp_path)
    for width in WIDTHS:
        text = rendered(analysis, width)
        harmless(text)
        cells(text, width)
        assert len(analysis.dependencies) == 2 * len(STEERING)
        assert path.exists()
        assert "\\u001b[31MRED" in "".join(lead(text).split())  # spelt out, not left out; shares are upper-case


def test_markup_in_names_is_text(tmp_path: Path) -> None:
    """What looks like the markup of the printing library is what the client called its pipe."""
    talk = Smb2()
    talk.anonymous_use(0x11, "[red]pipe[/red]")
    talk.use(0x11, 1, "[/]", (8, 8))
    talk.use(0x11, 1, ":smile:", (9, 9))
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    for width in WIDTHS:
        text = rendered(analysis, width)
        for name in ("[red]pipe[/red]", "[/]", ":smile:"):
            assert row_of(text, name, "depends")


def test_long_names_leave_room_for_the_rest(tmp_path: Path) -> None:
    """The row's other cells stay whole, the name begins as it does, and no line is too long."""
    talk = Smb2("fd00:1234:5678:9abc:def0:1234:5678:9abc", "fd00:1234:5678:9abc:def0:1234:5678:9abd")
    opened = talk.anonymous_use(0x11, LONG)
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    for width in WIDTHS:
        text = rendered(analysis, width)
        cells(text, width)
        row = text[text.index("\n  depends ") + 1 :]
        assert f"frame {frame_of(opened.request, talk)}" in row.splitlines()[0]
        # The name goes on below itself, in its column.
        start = row.index("pipe-x")
        column = [line[start : start + width // 4] for line in row.splitlines()[:20]]
        assert "".join(column).replace(" ", "").startswith(LONG)
        assert talk.tcp.server_end[0] in "".join(text.split())
        assert len(text.splitlines()) < 60


def test_wide_characters_fit(tmp_path: Path) -> None:
    """A name of Chinese characters takes twice as many columns."""
    talk = Smb2()
    talk.anonymous_use(0x11, "管道" * 40)
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    for width in WIDTHS:
        text = rendered(analysis, width)
        cells(text, width)
        assert "管道" in text


def test_names_stand_before_their_addresses(tmp_path: Path) -> None:
    """Whole, where there is room; else their first part. An address without a name stands alone."""
    long = f"old-scanner.{'branch.' * 8}corp.example"
    listed = tmp_path / "hosts"
    listed.write_text(f"10.0.0.1 {long}\n")
    talk = Smb2("10.0.0.1", "10.0.0.2")
    talk.anonymous_use(0x11, "srvsvc")
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk), hosts=listed)
    assert analysis.dependencies["client"].tolist() == [long]
    for width in WIDTHS:
        row = row_of(rendered(analysis, width), "depends", "srvsvc")
        assert row.client == (f"{long} (10.0.0.1)" if width >= 120 else "old-scanner (10.0.0.1)")
        assert row.server == "10.0.0.2"


# Many rows, many files. #


def many(count: int) -> list[Talk]:
    """So many clients, each of which uses srvsvc."""
    talks = []
    for number in range(count):
        talk = Smb2(f"10.3.0.{number + 1}", at=number)
        talk.anonymous_use(0x11, "srvsvc")
        talks.append(talk)
    return talks


def shown(text: str, clients: Sequence[str]) -> list[str]:
    """Those clients of which a row is printed."""
    return [client for client in clients if any(client in row.words for row in rows_of(text))]


def test_rows_that_are_left_out_are_counted(tmp_path: Path) -> None:
    talks = many(45)
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", *talks))
    for width in WIDTHS:
        text = rendered(analysis, width)
        printed = shown(text, [talk.tcp.client_end[0] for talk in talks])
        assert lead(text).startswith("45 clients depend")
        left_out = 45 - len(printed)
        assert left_out > 0
        assert f"and {left_out} more" in text
        assert "-o" in text[text.index(f"and {left_out} more") :]


def test_with_several_files_each_row_names_its_own(tmp_path: Path) -> None:
    first, second = many(2)
    write(tmp_path / "monday.pcap", first)
    write(tmp_path / "tuesday.pcap", second)
    analysis = analyzer.analyze(tmp_path)
    for width in WIDTHS:
        text = rendered(analysis, width)
        cells(text, width)
        for client, file in (("10.3.0.1", "monday.pcap"), ("10.3.0.2", "tuesday.pcap")):
            assert row_of(text, "depends", client).line.endswith(f"{file} frame 12")


def test_of_long_names_of_files_the_end_is_shown(tmp_path: Path) -> None:
    """The number and the kind of a ring buffer's file; where there is no room for even that, all of it below."""
    names = [f"{'branch-office-server-' * 3}{number:05}.pcapng" for number in (1, 2)]
    for name, talk in zip(names, many(2), strict=True):
        write(tmp_path / name, talk)
    analysis = analyzer.analyze(tmp_path)
    for width in (60, 80, 100, 200):
        for number in (1, 2):
            row = row_of(rendered(analysis, width), "depends", f"10.3.0.{number}")
            if width == 60:
                assert f"look at {names[number - 1]} frame 12" in row.details.replace("- ", "-")
            else:
                assert row.line.endswith(f"{number:05}.pcapng frame 12")
            assert ("..." in row.line) == (60 < width < 200)


def test_files_of_the_same_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for folder, talk in zip(("berlin", "paris"), many(2), strict=True):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "monday.pcap", talk)
    text = rendered(analyzer.analyze(tmp_path), 80)
    assert row_of(text, "depends", "10.3.0.1").line.endswith("  berlin/monday.pcap frame 12")
    assert row_of(text, "depends", "10.3.0.2").line.endswith("  paris/monday.pcap frame 12")


def test_sites_that_are_separate_are_named(tmp_path: Path) -> None:
    for folder, talk in zip(("berlin", "paris"), many(2), strict=True):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / f"{folder}.pcap", talk)
    text = rendered(analyzer.analyze(tmp_path, separate=True), 80)
    for site, number in (("berlin", 1), ("paris", 2)):
        assert row_of(text, "depends", f"10.3.0.{number}").client.startswith(f"{site}: ")


def test_scanners_stay_visible_as_left_out(tmp_path: Path) -> None:
    listed = tmp_path / "scanners"
    listed.write_text("10.3.0.2\n")
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", *many(2)), scanners=listed)
    text = rendered(analysis, 80)
    before, _, after = text.partition("Left out: scanners by your own rules")
    assert lead(text).startswith("1 client depends")
    assert "(10.3.0.1) -> " in before
    assert "(10.3.0.2) -> " in after
    assert before.count(" -> ") == after.count(" -> ") == 1


def test_colour_is_the_verdict_and_never_without_a_terminal(analysis: analyzer.Analysis) -> None:
    """Take away the sequences, and the same text is left."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard", highlight=False)
    terminal.render(analysis, console)
    coloured = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[1;31mdepends\x1b[0m" in coloured  # bold, red [ECMA-48 8.3.117]
    assert "\x1b[32mdenied\x1b[0m" in coloured  # green
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == rendered(analysis, 80)


def test_the_answer_names_what_most_clients_use_and_says_that_there_is_more() -> None:
    """Ten shares of one client, a pipe of two: the pipe stands first, and no name is left out in silence."""
    shares = [f"SHARE{number}" for number in range(10)]
    resources = [*shares, "samr", "samr"]
    clients = ["10.0.0.1"] * 11 + ["10.0.0.2"]
    count = len(resources)
    made = tables.table(
        "dependencies",
        {
            "client_ip": tables.listed(clients),
            "server_ip": tables.listed(["10.0.0.9"] * count),
            "resource": tables.listed(resources),
            "verdict": tables.named_categories(["depends"] * count, tables.VERDICT),
            "excluded": tables.bools(np.zeros(count, dtype=bool)),
        },
        count,
    )
    some_session = tables.table("sessions", {"session_key": tables.ints(np.array([0]))}, 1)
    told = terminal.answer(analyzer.Analysis({"dependencies": made, "sessions": some_session}, {}, {}))
    assert told == (
        "2 clients depend on null sessions at 1 server: samr, SHARE0, SHARE1, SHARE2, SHARE3, SHARE4, SHARE5, SHARE6 and 3 more."
    )
