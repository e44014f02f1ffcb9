"""The picture of who uses what: what it counts, what it leaves together, and that its bands meet its boxes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from analyzer import tables
from analyzer.analysis import Analysis
from analyzer.report.html import flow
from analyzer.report.html.overview import Counted


def drawn(*uses: tuple[str, str, str | None, str, str], **more: Any) -> flow.Flow | None:
    """Of rows: verdict, client, application, resource, server. more: further columns of `dependencies`."""
    verdict, client, application, resource, server = (list(column) for column in zip(*uses, strict=True))
    rows = {name: tables.empty(name) for name in (*tables.ROWS, "servers", "coverage")}
    columns = {
        "site": tables.listed([""] * len(uses)),
        "client_ip": tables.listed(client),
        "server_ip": tables.listed(server),
        "application": tables.listed(application),
        "resource": tables.listed(resource),
        "verdict": tables.named_categories(verdict, tables.VERDICT),
        "excluded": tables.bools(np.zeros(len(uses))),
    }
    rows["dependencies"] = tables.table("dependencies", columns | more, len(uses))
    return flow.flow(Counted(Analysis(rows, {}, {})))


def picture(*uses: tuple[str, str, str | None, str, str], **more: Any) -> flow.Flow:
    found = drawn(*uses, **more)
    assert found is not None
    return found


def names(found: flow.Flow, column: int) -> dict[str, int]:
    return {node.name: node.weight for node in found.columns[column]}


TWO = (
    ("depends", "10.0.0.1", "backup", "samr", "10.0.0.9"),
    ("depends", "10.0.0.1", "backup", "lsarpc", "10.0.0.9"),
    ("unknown", "10.0.0.2", None, "samr", "10.0.0.8"),
)


def test_boxes_count_relations() -> None:
    found = picture(*TWO, ("denied", "10.0.0.3", None, "spoolss", "10.0.0.7"))
    assert names(found, 0) == {"10.0.0.1": 2, "10.0.0.2": 1}
    assert names(found, 1) == {"backup": 2, "not known": 1}
    assert names(found, 2) == {"samr": 2, "lsarpc": 1}
    assert names(found, 3) == {"10.0.0.9": 2, "10.0.0.8": 1}
    assert found.total == 3
    assert {band.verdict for band in found.bands} == {"depends", "unknown"}
    assert (["10.0.0.2", "not known", "samr", "10.0.0.8"], "unknown", 1) in found.told


def test_operations_on_one_resource_are_one_relation_with_the_worst_verdict() -> None:
    same = ("10.0.0.1", "backup", "samr", "10.0.0.9")
    found = picture(("unknown", *same), ("depends", *same), operation=tables.listed(["A", "B"]))
    assert found.total == 1
    assert {band.verdict for band in found.bands} == {"depends"}


def test_what_is_done_stands_for_an_application_that_is_not_known() -> None:
    found = picture(*TWO, function=tables.listed([None, None, "account look-up"]))
    assert {node.name: node.kind for node in found.columns[1]} == {"backup": "", "account look-up": "function"}


def test_hosts_of_one_name_are_told_apart() -> None:
    found = picture(*TWO, client=tables.listed(["WS.example", "WS.example", "WS.example"]))
    assert set(names(found, 0)) == {"WS (10.0.0.1)", "WS (10.0.0.2)"}


def test_many_clients_are_networks_and_the_rest() -> None:
    uses = [("depends", f"10.0.{n % 20}.{n}", "backup", f"pipe{n}", "10.9.9.9") for n in range(200)]
    found = picture(*uses)
    clients = names(found, 0)
    assert "10.0.3.0/24" in clients
    assert "7 more networks" in clients
    assert len(clients) == flow.MOST_NODES
    assert sum(clients.values()) == 200
    assert "200 clients are drawn as their networks" in found.note
    assert len(found.columns[2]) == flow.MOST_NODES
    assert sum(size for _, _, size in found.told) == 200


def test_excluded_rows_are_not_drawn() -> None:
    assert drawn(*TWO, excluded=tables.bools(np.ones(3))) is None


@pytest.mark.parametrize("rows", [1, 40])
def test_bands_begin_and_end_in_their_boxes(rows: int) -> None:
    uses = [("depends", f"10.0.0.{n % 9}", f"app{n % 7}", f"pipe{n % 11}", f"10.1.0.{n % 5}") for n in range(rows)]
    found = picture(*uses)
    boxes = [(node.x, node.y, node.y + node.height) for column in found.columns for node in column]
    for band in found.bands:
        numbers = band.outline.replace("M", " ").replace("C", " ").replace("V", " ").replace("Z", "").split()
        x0, y0, *_, x1, y1 = map(float, numbers[:8])
        thick = float(numbers[8]) - y1
        for x, y in ((x0 - flow.NODE, y0), (x1, y1)):
            assert any(
                abs(x - left) < 0.11 and top - 0.11 <= y and y + thick <= bottom + 0.11 for left, top, bottom in boxes
            ), band.told
    for column in found.columns:
        order = sorted(column, key=lambda node: node.y)
        assert all(one.y + one.height <= other.y for one, other in pairwise(order))
        assert order[0].y >= 0
        assert order[-1].y + order[-1].height <= found.height
