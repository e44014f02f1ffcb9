"""What became of each dependency: recordings before and after one change, and conversations made for the rest.

What must be found in the recordings follows from `captures/scenes/changes.py` (what was changed) and from the manifest (which
calls were answered how, by tshark and the programs' own words), never from an analysis.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import manifest
import pytest

import analyzer
from analyzer import tables
from analyzer.comparison import Comparison, compare
from analyzer.comparison.columns import CHANGE, COLUMNS, COUNTS
from tests import build, rewriting
from tests.build import ACCESS_DENIED
from tests.dialogue import IS_GUEST, NAME_NOT_FOUND, Smb2, named, write

BEFORE = "change-0-open.pcap"
ENTRIES = {entry["file"]: entry for entry in manifest.entries()}
AFTER = sorted(file for file in ENTRIES if file.startswith("change-"))
NAMES = {f"10.77.0.{9 + number}": f"CLIENT{number}" for number in range(1, 8)}
IPC = ("srvsvc", "lsarpc", "samr", "dfs", "spoolss")
DENIED = "STATUS_ACCESS_DENIED"

USED = {
    "CLIENT1": ("srvsvc",), "CLIENT2": ("lsarpc", "samr", "srvsvc"), "CLIENT3": ("srvsvc",), "CLIENT4": ("PUBLIC", "dfs"),
    "CLIENT5": ("PUBLIC", "dfs"), "CLIENT7": ("spoolss",),
}  # fmt: skip
"""What the clients without credentials use, as the scene has them run."""


def on(names: str, *resources: str) -> set[tuple[str, str]]:
    return {
        (f"CLIENT{name}", resource) for name in names for resource in resources if resource in USED[f"CLIENT{name}"]
    }


CHANGED: dict[str, list[tuple[set[tuple[str, str]], tuple[str, Any, Any, Any]]]] = {
    # client and resource: change, rung, status, why; what is not named is as before
    "change-0-open.pcap": [],
    "change-1-restrict1.pcap": [
        (on("123", "srvsvc"), ("newly_refused", "stub", "WERR_ACCESS_DENIED", None)),
        (on("2", "samr"), ("newly_refused", "stub", DENIED, None)),
    ],
    "change-2-restrict2.pcap": [(on("123457", *IPC), ("newly_refused", "tree_connect", DENIED, None))],
    "change-3-map-never.pcap": [
        (on("4", "PUBLIC", "dfs"), ("newly_refused", "session_setup", "STATUS_LOGON_FAILURE", None))
    ],
    "change-4-guest-no.pcap": [(on("45", "PUBLIC"), ("newly_refused", "tree_connect", DENIED, None))],
    "change-5-min-smb2.pcap": [(on("3", "srvsvc"), ("newly_failing", None, None, None))],
    "change-6-encrypt.pcap": [
        (on("12457", *IPC, "PUBLIC"), ("newly_refused", "session_setup", DENIED, None)),
        (on("3", "srvsvc"), ("newly_refused", "open", DENIED, None)),
    ],
    "change-7-no-spoolss.pcap": [(on("7", "spoolss"), ("newly_failing", None, "STATUS_OBJECT_NAME_NOT_FOUND", None))],
    "change-8-credentials.pcap": [(on("2", *IPC), ("moved", None, None, None))],
    "change-9-absent.pcap": [(on("57", *IPC, "PUBLIC"), ("not_observed", None, None, "client_not_seen"))],
}


@pytest.fixture(scope="module")
def analyses() -> dict[str, analyzer.Analysis]:
    return {file: analyzer.analyze(manifest.CAPTURES / file) for file in AFTER}


@pytest.fixture(scope="module")
def compared(analyses: dict[str, analyzer.Analysis]) -> dict[str, Comparison]:
    return {file: compare(analyses[BEFORE], analyses[file]) for file in AFTER}


def rows_of(found: Comparison) -> list[dict[str, Any]]:
    return found.table.to_pylist()


def test_each_recording_has_its_expectation() -> None:
    assert set(AFTER) == set(CHANGED)


@pytest.mark.parametrize("file", AFTER)
def test_every_change_is_told_for_what_it_is(file: str, compared: dict[str, Comparison]) -> None:
    expected = {key: ("unchanged", None, None, None) for client in USED for key in on(client[-1], *USED[client])}
    for keys, what in CHANGED[file]:
        expected |= dict.fromkeys(keys, what)
    found: dict[tuple[str, str], set[Any]] = {}
    for row in rows_of(compared[file]):
        if row["verdict_before"] is not None:
            key = (NAMES[row["client_ip"]], row["resource"])
            found.setdefault(key, set()).add((row["change"], row["refused_at"], row["status"], row["why"]))
    assert found == {key: {what} for key, what in expected.items()}


def manifest_calls(file: str) -> dict[tuple[str, str, str], set[str]]:
    """Client, interface and operation of calls without credentials, and their results, as the manifest has them."""
    calls: dict[tuple[str, str, str], set[str]] = {}
    for session in ENTRIES[file]["sessions"]:
        if session["identity"] in ("anonymous", "guest"):
            for call in session.get("calls", []):
                if call["protocol"] == "dcerpc":
                    key = (session["client"], call["interface"], call["operation"])
                    calls.setdefault(key, set()).add(call["status"])
    return calls


@pytest.mark.parametrize("file", AFTER)
def test_calls_are_told_as_the_manifest_has_them(file: str, compared: dict[str, Comparison]) -> None:
    before, after = manifest_calls(BEFORE), manifest_calls(file)
    change = {(row["client_ip"], row["interface"], row["operation"]): row["change"] for row in rows_of(compared[file])}
    assert before
    for key in before.keys() & after.keys():
        refused = after[key] <= {DENIED, "WERR_ACCESS_DENIED"}
        assert change[key] == ("newly_refused" if refused else "unchanged"), key
    for key in after.keys() - before.keys():
        assert change[key] == "no_dependent", key


@pytest.mark.parametrize("file", AFTER)
def test_only_breakage_and_new_dependents_count(file: str, compared: dict[str, Comparison]) -> None:
    broken = any(what[0] in ("newly_refused", "newly_failing") for _, what in CHANGED[file])
    assert compared[file].is_worse() == broken
    assert {row["change"] for row in rows_of(compared[file]) if row["counts"]} <= set(COUNTS)


@pytest.mark.parametrize("file", AFTER)
def test_each_row_has_a_sentence_and_frames_on_the_sides_that_show_it(
    file: str, analyses: dict[str, analyzer.Analysis], compared: dict[str, Comparison]
) -> None:
    for row in rows_of(compared[file]):
        assert row["reason"].endswith(".")
        assert (row["frame_before"] is None) == (row["verdict_before"] is None)
        assert (row["frame_after"] is None) == (row["change"] == "not_observed")
    packets = {name: int(analysis.captures["packets"].sum()) for name, analysis in analyses.items()}
    for row in rows_of(compared[file]):
        if row["frame_after"] is not None:
            assert 1 <= row["frame_after"] <= packets[file]
            assert row["capture_after"].endswith(file)


def test_a_guest_that_is_anonymous_now_is_told(compared: dict[str, Comparison]) -> None:
    [row] = [row for row in rows_of(compared["change-3-map-never.pcap"]) if row["client_ip"] == "10.77.0.10"]
    assert (row["identity_before"], row["identity_after"], row["change"]) == ("guest", "anonymous", "unchanged")
    assert row["reason"] == "As before, but as anonymous; it was guest."


def test_the_way_back_is_new(analyses: dict[str, analyzer.Analysis]) -> None:
    """What `restrict anonymous = 1` refused works again: dependents that were none."""
    found = compare(analyses["change-1-restrict1.pcap"], analyses[BEFORE])
    new = {(NAMES[row["client_ip"]], row["operation"]) for row in rows_of(found) if row["change"] == "new"}
    assert {("CLIENT1", "NetrShareEnum"), ("CLIENT2", "SamrConnect5"), ("CLIENT3", "NetrServerGetInfo")} <= new
    assert found.is_worse()


def test_with_itself_nothing_changes(analyses: dict[str, analyzer.Analysis]) -> None:
    for analysis in analyses.values():
        assert {row["change"] for row in rows_of(compare(analysis, analysis))} <= {"unchanged"}


def test_the_table_has_its_columns(compared: dict[str, Comparison]) -> None:
    assert compared[BEFORE].table.column_names == [column.name for column in COLUMNS]


@pytest.mark.parametrize("file", AFTER)
def test_frames_are_of_the_client(file: str, compared: dict[str, Comparison]) -> None:
    """Whoever opens the frame that is named finds a packet between that client and that server."""
    packets = {name: rewriting.read(manifest.CAPTURES / name) for name in {BEFORE, file}}
    for row in rows_of(compared[file]):
        for when, name in (("before", BEFORE), ("after", file)):
            if row[f"frame_{when}"] is not None:
                ends = packets[name][row[f"frame_{when}"] - 1].data[26:34]
                assert ends == socket.inet_aton(row["client_ip"]) + socket.inet_aton(row["server_ip"])


# What the recordings do not show. #

SRVSVC, SAMR = "srvsvc", "samr"
DAY = 86_400


def windows(name: str) -> bytes:
    """An anonymous login of a machine that says its name."""
    return build.ntlm_authenticate(
        lm=b"\0", workstation=name, flags=build.NTLM_FLAGS | build.NTLM_ANONYMOUS, key=bytes(16)
    )


def use(client: str, pipe: str = SRVSVC, *, at: float = 0, name: str = "WS10", number: int = 0, **how: Any) -> Smb2:
    """An anonymous use of a pipe."""
    talk = Smb2(client, at=at, port=49_152 + number, guid=how.pop("guid", bytes(16)), **how)
    talk.login(0x11 + number, windows(name))
    talk.tree(0x11 + number, 1)
    talk.use(0x11 + number, 1, pipe)
    talk.tcp.close()
    return talk


def analyzed(path: Path, *talks: Smb2) -> analyzer.Analysis:
    return analyzer.analyze(write(path, *talks))


def only_row(found: Comparison, **where: Any) -> dict[str, Any]:
    rows = [row for row in rows_of(found) if all(row[name] == value for name, value in where.items())]
    assert len(rows) == 1, rows_of(found)
    return rows[0]


def test_empty_on_both_sides(tmp_path: Path) -> None:
    nothing = analyzer.analyze(write(tmp_path / "nothing.pcap"))
    found = compare(nothing, nothing)
    assert len(found.table) == 0
    assert found.table.schema == compare(nothing, nothing).table.schema
    assert not found.is_worse()
    assert {"no SMB connection was seen before", "no SMB connection was seen after"} <= set(found.notes)


def test_a_capture_without_smb_after_proves_nothing(tmp_path: Path) -> None:
    after = analyzer.analyze(write(tmp_path / "nothing.pcap"))
    found = compare(analyzed(tmp_path / "a.pcap", use("10.0.0.1")), after)
    assert only_row(found, resource=SRVSVC)["why"] == "server_not_seen"
    assert not found.is_worse()


def test_after_nothing_everything_is_new(tmp_path: Path) -> None:
    before = analyzer.analyze(write(tmp_path / "nothing.pcap"))
    found = compare(before, analyzed(tmp_path / "a.pcap", use("10.0.0.1")))
    row = only_row(found, resource=SRVSVC)
    assert (row["change"], row["counts"], row["verdict_before"]) == ("new", True, None)
    assert "no SMB connection was seen before" in found.notes


def daily(count: int, first_day: int) -> list[Smb2]:
    return [use("10.0.0.1", SRVSVC, at=(first_day + day) * DAY, number=day) for day in range(count)]


@pytest.mark.parametrize(
    ("uses_before", "days_after", "change", "why"),
    [
        (5, 50, "gone", None),
        (2, 50, "not_observed", "not_asked"),
        (5, 6, "not_observed", "not_asked"),
        (5, 3, "not_observed", "span_too_short"),
    ],
)
def test_gone_is_only_what_was_regular_and_is_missed_for_long(
    tmp_path: Path, uses_before: int, days_after: int, change: str, why: str | None
) -> None:
    before = analyzed(tmp_path / "before.pcap", *daily(uses_before, 0))
    after = analyzed(
        tmp_path / "after.pcap", *(use("10.0.0.1", SAMR, at=(100 + day) * DAY, number=day) for day in (0, days_after))
    )
    row = only_row(compare(before, after), resource=SRVSVC)
    assert (row["change"], row["why"]) == (change, why)


def test_not_gone_where_something_was_lost(tmp_path: Path) -> None:
    late = use("10.0.0.1", SAMR, at=150 * DAY, number=2)
    late.tcp.segments[:4] = []  # its beginning and its login
    before = analyzed(tmp_path / "before.pcap", *daily(5, 0))
    after = analyzed(tmp_path / "after.pcap", use("10.0.0.1", SAMR, at=100 * DAY), late)
    row = only_row(compare(before, after), resource=SRVSVC)
    assert (row["change"], row["why"]) == ("not_observed", "not_visible")


def test_client_and_server_that_did_not_meet(tmp_path: Path) -> None:
    before = analyzed(tmp_path / "before.pcap", use("10.0.0.1"))
    after = analyzed(
        tmp_path / "after.pcap",
        use("10.0.0.1", server="10.0.0.3", server_guid=bytes(range(32, 48)), at=DAY),
        use("10.0.0.9", at=DAY, name="WS9"),
    )
    assert only_row(compare(before, after), client_ip="10.0.0.1", server_ip="10.0.0.2")["why"] == "not_together"


def test_a_client_is_found_by_its_name_where_its_address_changed(tmp_path: Path) -> None:
    before = analyzed(tmp_path / "before.pcap", use("10.0.0.1", name="PC1"), use("10.0.0.5", name="PC5", number=1))
    after = analyzed(
        tmp_path / "after.pcap",
        use("10.0.0.7", name="PC1", at=DAY),
        use("10.0.0.1", name="PC5", at=DAY, number=1),  # they say that it is another machine's now
    )
    rows = {row["client"]: row for row in rows_of(compare(before, after))}
    assert {name: row["change"] for name, row in rows.items()} == {"PC1": "unchanged", "PC5": "unchanged"}
    assert (rows["PC1"]["client_ip_after"], rows["PC1"]["client_matched_by"]) == ("10.0.0.7", "name")
    assert (rows["PC5"]["client_ip_after"], rows["PC5"]["client_matched_by"]) == ("10.0.0.1", "name")


def test_an_address_that_another_machine_has_now_is_not_the_same_client(tmp_path: Path) -> None:
    before = analyzed(tmp_path / "before.pcap", use("10.0.0.1", name="PC1"))
    after = analyzed(tmp_path / "after.pcap", use("10.0.0.1", name="PC2", at=DAY))
    rows = {row["client"]: row for row in rows_of(compare(before, after))}
    assert (rows["PC1"]["change"], rows["PC1"]["why"]) == ("not_observed", "client_not_seen")
    assert "another machine" in rows["PC1"]["reason"]
    assert rows["PC2"]["change"] == "new"


def test_a_client_without_a_name_is_found_by_its_guid(tmp_path: Path) -> None:
    guid = bytes(range(1, 17))
    before = analyzed(tmp_path / "before.pcap", use("10.0.0.1", name="", guid=guid))
    after = analyzed(tmp_path / "after.pcap", use("10.0.0.7", name="", guid=guid, at=DAY))
    row = only_row(compare(before, after))
    assert (row["change"], row["client_ip_after"], row["client_matched_by"]) == ("unchanged", "10.0.0.7", "guid")


def test_a_name_of_two_machines_matches_nobody(tmp_path: Path) -> None:
    before = analyzed(tmp_path / "before.pcap", use("10.0.0.1", name="PC"))
    after = analyzed(
        tmp_path / "after.pcap", use("10.0.0.7", name="PC", at=DAY), use("10.0.0.8", name="PC", at=DAY, number=1)
    )
    assert sorted(row["change"] for row in rows_of(compare(before, after))) == ["new", "new", "not_observed"]


def test_credentials_prove_a_move_only_if_they_were_not_used_before(tmp_path: Path) -> None:
    def with_credentials(at: float, number: int) -> Smb2:
        talk = Smb2("10.0.0.1", at=at, port=50_000 + number)
        talk.credentialed_use(0x100 + number, SRVSVC)
        talk.tcp.close()
        return talk

    both = analyzed(tmp_path / "both.pcap", use("10.0.0.1"), with_credentials(3, 1))
    only = analyzed(tmp_path / "only.pcap", with_credentials(DAY, 1), with_credentials(DAY + 3, 2))
    plain = analyzed(tmp_path / "plain.pcap", use("10.0.0.1"), use("10.0.0.1", at=3, number=4))
    assert only_row(compare(plain, only), resource=SRVSVC)["change"] == "moved"
    once = analyzed(tmp_path / "once.pcap", with_credentials(DAY, 1), use("10.0.0.1", SAMR, at=DAY + 3, number=5))
    assert only_row(compare(both, once), resource=SRVSVC)["change"] == "not_observed"


def test_what_is_refused_and_done_with_credentials_has_moved(tmp_path: Path) -> None:
    refused = Smb2("10.0.0.1", at=DAY)
    refused.refused_use(0x11, SRVSVC)
    then = Smb2("10.0.0.1", at=DAY + 5, port=50_000)
    then.credentialed_use(0x22, SRVSVC)
    before = analyzed(tmp_path / "before.pcap", use("10.0.0.1"))
    row = only_row(compare(before, analyzed(tmp_path / "after.pcap", refused, then)), resource=SRVSVC)
    assert (row["change"], row["verdict_after"], row["refused_at"]) == ("moved", "denied", "open")
    assert row["reason"] == "The same client does the same with credentials now, and is refused without."


def test_behind_a_shared_address_credentials_prove_nothing(tmp_path: Path) -> None:
    """Two machines in turns: the one that is refused need not be the one that has a password."""

    def logged_on(name: str, at: float, number: int, *, status: int = 0) -> Smb2:
        talk = Smb2("10.0.0.1", at=at, port=50_000 + number)
        talk.login(0x100 + number, windows(name))
        talk.tree(0x100 + number, 1)
        talk.create(0x100 + number, 1, SRVSVC, (7, 7), status=status)
        talk.tcp.close()
        return talk

    with_password = Smb2("10.0.0.1", at=DAY + 3, port=51_000)
    with_password.credentialed_use(0x300, SRVSVC)
    after = [
        logged_on(name, DAY + at, at, status=ACCESS_DENIED) for at, name in enumerate(("PC1", "PC2", "PC1", "PC2"))
    ]
    before = analyzed(tmp_path / "before.pcap", logged_on("PC1", 0, 9))
    found = compare(before, analyzed(tmp_path / "after.pcap", *after, with_password))
    assert only_row(found, resource=SRVSVC)["change"] == "newly_refused"


def test_a_share_that_is_not_there_any_more_fails(tmp_path: Path) -> None:
    def visit(at: float, status: int) -> Smb2:
        talk = Smb2("10.0.0.1", at=at)
        talk.login(0x11)
        talk.tree(0x11, 1, "PUBLIC", status=status)
        if not status:
            talk.create(0x11, 1, "readme.txt", (7, 7))
        return talk

    before, after = analyzed(tmp_path / "a.pcap", visit(0, 0)), analyzed(tmp_path / "b.pcap", visit(DAY, 0xC00000CC))
    row = only_row(compare(before, after), resource="PUBLIC")
    assert (row["change"], row["status"]) == ("newly_failing", "STATUS_BAD_NETWORK_NAME")


def test_a_further_pipe_of_a_known_client_is_new(tmp_path: Path) -> None:
    before = analyzed(tmp_path / "before.pcap", use("10.0.0.1"))
    after = analyzed(tmp_path / "after.pcap", use("10.0.0.1", at=DAY), use("10.0.0.1", SAMR, at=DAY + 3, number=1))
    found = compare(before, after)
    assert only_row(found, resource=SAMR)["change"] == "new"
    assert only_row(found, resource=SRVSVC)["change"] == "unchanged"


def test_a_pipe_that_was_never_there_is_no_further_failure(tmp_path: Path) -> None:
    def missing(at: float) -> Smb2:
        talk = Smb2("10.0.0.1", at=at)
        talk.refused_use(0x11, "trkwks", status=NAME_NOT_FOUND)
        return talk

    before, after = analyzed(tmp_path / "a.pcap", missing(0)), analyzed(tmp_path / "b.pcap", missing(DAY))
    assert only_row(compare(before, after), resource="trkwks")["change"] == "unchanged"


def test_a_guest_whose_name_is_refused_is_told_apart_from_others(tmp_path: Path) -> None:
    def guest(at: float, **last: Any) -> Smb2:
        talk = Smb2("10.0.0.1", at=at, port=49_200)
        talk.login(0x11, named("scanner"), **last)
        if "session_flags" in last:
            talk.tree(0x11, 1)
            talk.use(0x11, 1, SRVSVC)
        return talk

    other = Smb2("10.0.0.1", at=DAY + 2, port=49_300)
    other.login(0x22, named("somebody"), status=0xC000006D)
    before = analyzed(tmp_path / "before.pcap", guest(0, session_flags=IS_GUEST))
    refused = compare(before, analyzed(tmp_path / "refused.pcap", guest(DAY, status=0xC000006D)))
    assert only_row(refused, resource=SRVSVC)["change"] == "newly_refused"
    another = compare(before, analyzed(tmp_path / "another.pcap", other))
    assert only_row(another, resource=SRVSVC)["change"] == "not_observed"


def test_scanners_of_the_users_own_list_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "scanners").write_text("10.0.0.1\n")
    path = write(tmp_path / "a.pcap", use("10.0.0.1"))
    after = analyzer.analyze(path, scanners=tmp_path / "scanners")
    found = compare(analyzer.analyze(write(tmp_path / "nothing.pcap")), after)
    assert (len(found.table), found.left_out, found.is_worse()) == (0, 1, False)


def test_overlapping_captures_and_the_wrong_order_are_told(analyses: dict[str, analyzer.Analysis]) -> None:
    assert compare(analyses[BEFORE], analyses[BEFORE]).notes == ["the captures of both sides overlap in time"]
    backwards = compare(analyses["change-2-restrict2.pcap"], analyses[BEFORE])
    assert backwards.notes == ["what is called after was captured before the other side"]
    assert compare(analyses[BEFORE], analyses["change-2-restrict2.pcap"]).notes == []


def test_every_kind_of_change_is_known() -> None:
    assert set(COUNTS) <= set(CHANGE)
    assert all(isinstance(column, tables.Column) and column.meaning for column in COLUMNS)


def test_folders_as_sites_are_matched_by_their_names(tmp_path: Path) -> None:
    for side, at in (("before", 0), ("after", DAY)):
        for number, site in enumerate(("berlin", "paris")):
            (tmp_path / side / site).mkdir(parents=True)
            write(tmp_path / side / site / "a.pcap", use("10.0.0.1", (SRVSVC, SAMR)[number], at=at))
    before, after = (analyzer.analyze(tmp_path / side, separate=True) for side in ("before", "after"))
    rows = rows_of(compare(before, after))
    assert [row["change"] for row in rows] == ["unchanged", "unchanged"]
    assert {row["site"].rpartition("/")[2] for row in rows} == {"berlin", "paris"}
