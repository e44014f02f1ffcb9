"""Results of several runs as one: as if all captures had been read together, and nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analyzer
from analyzer import AnalyzerError, UsageError, merging, results, tables
from tests import rewriting
from tests.dialogue import Smb2, write

CAPTURES = Path(__file__).parents[2] / "captures"
SOME = sorted(CAPTURES.glob("*.pcap"))
EVERYTHING = (*tables.ROWS, *tables.SUMMARIES)
NOT_OF_FILES = tuple(
    name for name in EVERYTHING if name not in ("captures", "hosts", "coverage", "observation", "hints")
)
PLACES = (
    "capture", "answer_capture", "frame", "answer_frame", "first_frame", "frames", "shadowed_by", "root_cause", "client",
    "server",
)  # fmt: skip
"""Where something stands, which differs between copies of a packet in two files, and names, which each file tells anew."""


def lists(analysis: analyzer.Analysis, *names: str, without: tuple[str, ...] = ()) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [
            {column: value for column, value in row.items() if column not in without}
            for row in analysis.arrow(name).to_pylist()
        ]
        for name in names
    }


@pytest.fixture(scope="module")
def whole() -> analyzer.Analysis:
    return analyzer.analyze(SOME)


@pytest.fixture(scope="module")
def halves() -> tuple[analyzer.Analysis, analyzer.Analysis]:
    """Every other capture: no connection is in two of them."""
    return analyzer.analyze(SOME[::2]), analyzer.analyze(SOME[1::2])


@pytest.mark.parametrize("name", EVERYTHING)
def test_one_result_stays_what_it_is(name: str, whole: analyzer.Analysis) -> None:
    merged = merging.merge([whole])
    assert merged.analysis.arrow(name).to_pylist() == whole.arrow(name).to_pylist()
    assert merged.analysis.arrow(name).schema == whole.arrow(name).schema
    assert not merged.sentences()


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_result_twice_is_the_result(name: str, whole: analyzer.Analysis) -> None:
    merged = merging.merge([whole, whole])
    assert merged.analysis.arrow(name).to_pylist() == whole.arrow(name).to_pylist()
    assert merged.files_dropped == len(SOME)
    assert merged.connections_dropped == len(whole.arrow("connections"))
    assert merged.analysis.counts == whole.counts


def test_halves_give_the_whole(whole: analyzer.Analysis, halves: tuple[analyzer.Analysis, analyzer.Analysis]) -> None:
    names = [name for name in EVERYTHING if name != "hosts"]
    for order in (halves, halves[::-1]):
        merged = merging.merge(order)
        assert lists(merged.analysis, *names) == lists(whole, *names)
        assert not merged.sentences()


def test_merging_again_changes_nothing(halves: tuple[analyzer.Analysis, analyzer.Analysis]) -> None:
    first, second = halves
    once = merging.merge([first, second]).analysis
    for again in ([once, second], [first, once], [once, once]):
        assert lists(merging.merge(again).analysis, *EVERYTHING) == lists(once, *EVERYTHING)


def test_what_is_written_is_read_back(halves: tuple[analyzer.Analysis, analyzer.Analysis], tmp_path: Path) -> None:
    for number, half in enumerate(halves):
        results.save(half, tmp_path / str(number))
    loaded = [results.load(tmp_path / str(number)) for number in range(2)]
    results.save(merging.merge(loaded).analysis, tmp_path / "merged")
    merged = merging.merge(halves).analysis
    assert lists(results.load(tmp_path / "merged"), *EVERYTHING) == lists(merged, *EVERYTHING)


def test_keys_lead_where_they_should(halves: tuple[analyzer.Analysis, analyzer.Analysis]) -> None:
    merged = merging.merge(halves).analysis
    for name, key in merging.OWN_KEY.items():
        assert merged.table(name)[key].tolist() == list(range(len(merged.table(name))))
    for name in tables.ROWS:
        for key, table in merging.KEYS.items():
            if key in merged.table(name).columns and key != "session_no":
                assert set(merged.table(name)[key].dropna()) <= set(merged.table(table)[key])


def test_counts_are_added(halves: tuple[analyzer.Analysis, analyzer.Analysis]) -> None:
    merged = merging.merge(halves).analysis
    for name, value in merged.counts.items():
        if name != "addresses_shared":
            assert value == sum(half.counts.get(name, 0) for half in halves)


# Captures that show the same in part. #


def parts(path: Path, folder: Path, *spans: tuple[float, float]) -> list[analyzer.Analysis]:
    """Analyses of the packets of a capture from one fraction of them to another."""
    packets = rewriting.read(path)
    found = []
    for begin, end in spans:
        some = packets[int(len(packets) * begin) : int(len(packets) * end)]
        found.append(analyzer.analyze(rewriting.write(folder / f"{path.stem}-{begin}-{end}.pcap", some)))
    return found


OVERLAPPING = (
    "anonymous-smb311",
    "anonymous-smb1",
    "change-0-open",
    "disk-anonymous",
    "reauthentication",
    "user",
    "rap",
)


@pytest.mark.parametrize("name", OVERLAPPING)
@pytest.mark.parametrize("span", [(0.3, 1.0), (0.6, 1.0), (0.0, 0.4), (0.0, 0.7)])
def test_a_part_of_what_another_shows_adds_nothing(name: str, span: tuple[float, float], tmp_path: Path) -> None:
    everything, part = parts(CAPTURES / f"{name}.pcap", tmp_path, (0.0, 1.0), span)
    for order in ([everything, part], [part, everything]):
        merged = merging.merge(order)
        for table in NOT_OF_FILES:
            if table != "dependencies" or span[0] > 0:
                assert same_rows(merged.analysis, everything, table), table
        assert merged.connections_dropped > 0


def same_rows(one: analyzer.Analysis, other: analyzer.Analysis, table: str) -> bool:
    """The same rows, in whatever order their files have them; keys follow the order, so they are not looked at."""
    without = (*PLACES, *merging.KEYS, "evidence", "confidence", "function", "client_ips")
    found = [sorted(map(repr, lists(each, table, without=without)[table])) for each in (one, other)]
    return found[0] == found[1]


KINDS = ("depends", "unknown", "covered")


@pytest.mark.parametrize("path", SOME[::5], ids=lambda path: path.stem)
def test_no_dependent_is_lost_between_parts(path: Path, tmp_path: Path) -> None:
    """Cut anywhere, overlapping or not: whoever depends in the whole is not cleared by its parts."""

    def dependents(analysis: analyzer.Analysis) -> set[tuple[str, str]]:
        rows = analysis.dependencies
        rows = rows[rows["verdict"].isin(KINDS)]
        return set(zip(rows["client_ip"], rows["server_ip"], strict=True))

    everything, *some = parts(path, tmp_path, (0, 1), (0, 0.4), (0.4, 1), (0, 0.6), (0.3, 0.8), (0.5, 1))
    for part in (some[:2], some[2:], some[::-1]):
        assert dependents(everything) <= dependents(merging.merge(part).analysis)


def talk(at: float = 0, **how: Any) -> Smb2:
    made = Smb2(at=at, **how)
    made.login(0x11)
    made.tree(0x11, 1)
    return made


def closed(made: Smb2) -> Smb2:
    made.tcp.close()
    return made


# Sites, names of files, rules. #


def test_each_a_site_of_its_own(tmp_path: Path) -> None:
    """The same addresses at two sites are different machines, even if they talk at the same time."""
    analyses = [
        analyzer.analyze(write(tmp_path / f"{name}.pcap", closed(talk(at=at)))) for name, at in (("a", 0), ("b", 0.001))
    ]
    merged = merging.merge(analyses, sites=["berlin", "paris"])
    assert merged.analysis.connections["site"].tolist() == ["berlin", "paris"]
    assert len(merged.analysis.clients) == 2
    assert merged.analysis.settings["separate"] is True
    together = merging.merge(analyses)
    assert together.connections_dropped == 1
    assert len(together.analysis.clients) == 1


def test_sites_stay_what_they_are(tmp_path: Path) -> None:
    for run in ("first", "second"):
        for site in ("berlin", "paris"):
            (tmp_path / run / site).mkdir(parents=True)
            write(tmp_path / run / site / "a.pcap", closed(talk(at=0 if run == "first" else 3600)))
    analyses = [analyzer.analyze(tmp_path / run, separate=True) for run in ("first", "second")]
    merged = merging.merge(analyses).analysis
    known = {site for analysis in analyses for site in analysis.connections["site"]}
    assert len(known) == 4
    assert set(merged.connections["site"]) == known
    both = merging.merge(analyses, sites=["one", "two"]).analysis
    assert {site.partition("/")[0] for site in both.connections["site"]} == {"one", "two"}


def test_a_site_for_each_or_for_none(whole: analyzer.Analysis) -> None:
    with pytest.raises(UsageError, match="site of its own"):
        merging.merge([whole, whole], sites=["one"])
    with pytest.raises(UsageError, match="site of its own"):
        merging.merge([whole, whole], sites=["one", "one"])
    with pytest.raises(UsageError, match="nothing to merge"):
        merging.merge([])


def test_rules_are_asked_for_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", closed(talk()))
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nclient = "10.0.0.1"\napplication = "label printers"\n')
    made = analyzer.analyze(path, applications=rules)
    without = merging.merge([made])
    assert "give --applications" in without.sentences()[0]
    again = merging.merge([made], applications=rules)
    assert not again.sentences()
    assert set(again.analysis.dependencies["application"]) == {"label printers"}
    assert again.analysis.settings["applications"] == 1


def test_settings_that_all_have_in_common_stay(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", closed(talk()))
    berlin = analyzer.analyze(path, timezone="Europe/Berlin", minimum="days=3")
    assert merging.merge([berlin, berlin]).analysis.settings["timezone"] == "Europe/Berlin"
    assert merging.merge([berlin, analyzer.analyze(path)]).analysis.settings["timezone"] == "UTC"
    assert merging.merge([berlin], timezone="UTC").analysis.settings["timezone"] == "UTC"


def test_nothing_and_something(whole: analyzer.Analysis, tmp_path: Path) -> None:
    nothing = analyzer.analyze(write(tmp_path / "nothing.pcap"))
    names = ("sessions", "calls", "dependencies", "credentialed_uses", "hosts")
    for order in ([nothing, whole], [whole, nothing]):
        merged = merging.merge(order).analysis
        assert lists(merged, *names) == lists(whole, *names)
        assert len(merged.captures) == len(SOME) + 1
    assert len(merging.merge([nothing, nothing]).analysis.dependencies) == 0


def test_logs_of_two_runs_are_not_doubled() -> None:
    log = CAPTURES / "logs" / "logged-anonymous.log"
    made = analyzer.analyze(CAPTURES / "logged-anonymous.pcap", endpoint_logs=log)
    assert len(made.endpoint_processes)
    merged = merging.merge([made, made]).analysis
    assert lists(merged, *EVERYTHING) == lists(made, *EVERYTHING)


def test_what_one_run_did_not_see_another_may_have(tmp_path: Path) -> None:
    """A login that the log has and the first captures have not is no blind spot where the second have it."""
    log = CAPTURES / "logs" / "logged-anonymous.log"
    path = CAPTURES / "logged-anonymous.pcap"
    packets = rewriting.read(path)
    halves = [
        analyzer.analyze(rewriting.write(tmp_path / f"{name}.pcap", some), endpoint_logs=log)
        for name, some in (("first", packets[: len(packets) // 2]), ("second", packets[len(packets) // 2 :]))
    ]
    assert all(len(half.endpoint_unseen) for half in halves)
    merged = merging.merge(halves).analysis
    seen = set(zip(merged.endpoint_processes["log"], merged.endpoint_processes["record"], strict=True))
    unseen = set(zip(merged.endpoint_unseen["log"], merged.endpoint_unseen["record"], strict=True))
    assert not seen & unseen
    assert len(unseen) < sum(len(half.endpoint_unseen) for half in halves)


@pytest.mark.parametrize(
    ("name", "key"), [("connections", "connection_id"), ("sessions", "session_no"), ("pipe_opens", "tree_key")]
)
def test_damaged_keys_are_refused(name: str, key: str) -> None:
    """A number in a file must not become memory."""
    made = analyzer.analyze(CAPTURES / "pipe-missing.pcap")
    rows = {table: made.arrow(table) for table in tables.ROWS}
    place, length = rows[name].column_names.index(key), len(rows[name])
    rows[name] = rows[name].set_column(place, key, tables.ints(np.full(length, 1 << 60)))
    with pytest.raises(AnalyzerError, match=f"{name}.{key}"):
        merging.merge([analyzer.Analysis(rows, {}, {})])


def test_addresses_that_are_none_do_no_harm(tmp_path: Path) -> None:
    made = analyzer.analyze(write(tmp_path / "a.pcap", closed(talk())))
    rows = {table: made.arrow(table) for table in tables.ROWS}
    hosts = rows["hosts"]
    rows["hosts"] = hosts.set_column(0, "ip", tables.listed(["no address"] * len(hosts)))
    merged = merging.merge([made, analyzer.Analysis(rows, made.counts, made.settings)]).analysis
    assert merged.hosts["ip"].tolist()[-1] == "no address"
