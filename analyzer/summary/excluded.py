"""What the administrator's own list of scanners leaves out, in a sentence: whatever shows results must name it."""

from __future__ import annotations

from analyzer.groups import Groups
from analyzer.tables import TableSet

MOST_NAMED = 10


def left_out(rows: TableSet) -> list[str]:
    """The sentence, or nothing where no row of `dependencies` is excluded. Names are as captured, not made printable."""
    found = rows.columns("dependencies", "client_ip", "client", "excluded")
    excluded = found["excluded"]
    if not excluded.any():
        return []
    address, name = found["client_ip"][excluded], found["client"][excluded]
    clients = [
        f"{rows.texts.text(name[place])} ({rows.texts.text(address[place])})"
        if name[place] >= 0
        else str(rows.texts.text(address[place]))
        for place in Groups(address).first.tolist()
    ]
    more = f" and {len(clients) - MOST_NAMED:,} more" if len(clients) > MOST_NAMED else ""
    number = int(excluded.sum())
    counted = "1 row of a scanner" if number == 1 else f"{number:,} rows of scanners"
    return [f"{counted} by your own rules left out: {', '.join(clients[:MOST_NAMED])}{more}"]
