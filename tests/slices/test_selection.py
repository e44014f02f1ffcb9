"""Rows of dependencies are chosen by who, what and number; a choice that means nothing is an error that says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from manifest import CAPTURES

import analyzer
from analyzer.errors import UsageError
from analyzer.slices import Selection, chosen_rows


@pytest.fixture(scope="module")
def busy() -> analyzer.Analysis:
    return analyzer.analyze(CAPTURES / "busy.pcap")


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), lambda _: True),
        (Selection(clients=["10.77.0.14"]), lambda row: row["client_ip"] == "10.77.0.14"),
        (Selection(clients=["client5"]), lambda row: row["client"] == "CLIENT5"),
        (Selection(clients=["CLIENT[56]"]), lambda row: row["client"] in ("CLIENT5", "CLIENT6")),
        (Selection(clients=["10.77.0.8/29"]), lambda row: 8 <= int(row["client_ip"].split(".")[3]) < 16),
        (Selection(clients=["10.77.0.1*"], servers=["files2"]), lambda row: row["server_ip"] == "10.77.0.3"),
        (Selection(servers=["files2.corp.example"]), lambda row: row["server_ip"] == "10.77.0.3"),
        (Selection(resources=["SRVSVC", "samr"]), lambda row: row["resource"] in ("srvsvc", "samr")),
        (Selection(verdicts=["denied", "probe"]), lambda row: row["verdict"] in ("denied", "probe")),
        (Selection(applications=["Samba*"]), lambda row: str(row["application"]).startswith("Samba")),
        (Selection(rows=[3, 1, 3]), lambda row: row["number"] in (1, 3)),
        (
            Selection(rows=[1, 2, 3], verdicts=["depends"]),
            lambda row: row["number"] <= 3 and row["verdict"] == "depends",
        ),
    ],
)
def test_rows(selection: Selection, expected: Callable[[Any], bool], busy: analyzer.Analysis) -> None:
    listed = busy.dependencies.astype(object).where(busy.dependencies.notna(), None)
    numbered = [row | {"number": number} for number, row in enumerate(listed.to_dict("records"), 1)]
    wanted = [row["number"] - 1 for row in numbered if expected(row)]
    assert wanted
    assert chosen_rows(busy, selection).tolist() == wanted


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (Selection(rows=[0]), "no row 0"),
        (Selection(rows=[1, 32]), "no row 32: there are 31"),
        (Selection(verdicts=["needed"]), "'needed'; there are depends, unknown"),
        (Selection(clients=["10.77.0.400"]), "client: '10.77.0.400' is no address"),
        (Selection(servers=["10.0.0.0/99"]), "server: '10.0.0.0/99' is no address"),
        (Selection(clients=["nobody"]), "no row of `dependencies` fits"),
    ],
)
def test_mistakes(selection: Selection, said: str, busy: analyzer.Analysis) -> None:
    with pytest.raises(UsageError, match=said):
        chosen_rows(busy, selection)


def test_missing_names_fit_no_pattern(busy: analyzer.Analysis) -> None:
    some = chosen_rows(busy, Selection(applications=["*"]))
    assert pd.isna(busy.dependencies["application"]).sum() == len(busy.dependencies) - len(some) > 0
