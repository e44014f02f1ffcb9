"""The terminal report: the answer first, every row with its frame, what was not seen, and nothing that steers a terminal."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
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


def words_of(line: str) -> set[str]:
    """What is set off by blanks, or by the brackets around an address."""
    return set(line.split()) | {word[1:-1] for word in line.split() if word.startswith("(") and word.endswith(")")}


def line_of(text: str, *words: str) -> str:
    """The one line that has these words."""
    found = [line for line in text.splitlines() if set(words) <= words_of(line)]
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
        line = line_of(text, verdict, client, server, resource)
        assert str(frame_of(exchange.request, *NETWORK)) in line.split(), line


@pytest.mark.parametrize("width", WIDTHS)
def test_what_matters_stands_first(width: int, analysis: analyzer.Analysis) -> None:
    """What may break stands before what is refused already, and what cannot be seen at the end."""
    text = rendered(analysis, width)
    places = [text.index(line_of(text, verdict, client, resource)) for verdict, client, _, resource, _ in ROWS]
    kept = [place for place, row in zip(places, ROWS, strict=True) if row[0] in ("depends", "unknown", "covered")]
    rest = [place for place, row in zip(places, ROWS, strict=True) if row[0] in ("denied", "probe")]
    assert max(kept) < min(rest)
    assert max(rest) < text.index("What these captures cannot show")


def test_wide_terminals_say_why_and_as_whom(analysis: analyzer.Analysis) -> None:
    text = rendered(analysis, 200)
    assert "guest" in line_of(text, "10.0.0.15", "spoolss").split()
    assert "no DCE/RPC" in line_of(text, "10.0.0.11", "srvsvc")


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
    assert line_of(text, "denied", "srvsvc")


def test_what_is_not_known_is_in_the_answer(tmp_path: Path) -> None:
    """One may not read `none` where a session's login was not captured."""
    talk = Smb2(opened=False, dialect=None)
    talk.tree(0x11, 1)
    talk.use(0x11, 1, "srvsvc")
    first, text = answer_of(tmp_path / "c.pcap", talk)
    assert "No client was seen to depend" in first
    assert "For 1 client it is not known" in first
    assert line_of(text, "unknown", "srvsvc")


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
            assert line_of(text, name, "depends")


def test_long_names_leave_room_for_the_rest(tmp_path: Path) -> None:
    """The row's other cells stay whole, the name begins as it does, and no line is too long."""
    talk = Smb2("fd00:1234:5678:9abc:def0:1234:5678:9abc", "fd00:1234:5678:9abc:def0:1234:5678:9abd")
    opened = talk.anonymous_use(0x11, LONG)
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk))
    for width in WIDTHS:
        text = rendered(analysis, width)
        cells(text, width)
        row = text[text.index("\ndepends ") + 1 :]
        assert str(frame_of(opened.request, talk)) in row.splitlines()[0].split()
        assert "pipe-x" in "".join(row.split())
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
    """Of a long name its first part; an address without a name stands alone."""
    listed = tmp_path / "hosts"
    listed.write_text("10.0.0.1 old-scanner.branch.corp.example\n")
    talk = Smb2("10.0.0.1", "10.0.0.2")
    talk.anonymous_use(0x11, "srvsvc")
    analysis = analyzer.analyze(write(tmp_path / "c.pcap", talk), hosts=listed)
    for width in WIDTHS:
        line = line_of(rendered(analysis, width), "depends", "srvsvc")
        assert "old-scanner (10.0.0.1)" in line
        assert analysis.dependencies["client"].tolist() == ["old-scanner.branch.corp.example"]


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
    return [client for client in clients if any(client in words_of(line) for line in text.splitlines())]


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
            at = text.index(line_of(text, "depends", client))
            assert f"{file}" in text[at:].splitlines()[0]
            assert "frame 12" in " ".join(text[at:].split("10.3.0.", 2)[1].split())


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
