"""Names of addresses at a time, and which addresses were shared."""

from __future__ import annotations

import pandas as pd

from analyzer.tables import TableSet


def names_at(ends: pd.DataFrame, address: str, time: str, rows: TableSet) -> pd.Series:
    """For each row the name that its address had then: of the last host that had begun, else of the first.

    ends: with `site`, and the columns that `address` and `time` name.
    """
    hosts = rows.frame("hosts", "site", "ip", "valid_from", "name").dropna(subset="name")
    asked = pd.DataFrame({"site": ends["site"], "ip": ends[address], "time": ends[time]}, dtype=object)
    asked["time"] = pd.to_datetime(ends[time], utc=True).astype("datetime64[ns, UTC]")
    asked["row"] = range(len(asked))
    first = hosts.drop_duplicates(["site", "ip"]).set_index(["site", "ip"])["name"]
    found = first.reindex(pd.MultiIndex.from_frame(asked[["site", "ip"]])).reset_index(drop=True)
    begun = hosts.dropna(subset="valid_from").sort_values("valid_from", kind="stable")
    timed = asked.dropna(subset="time").sort_values("time", kind="stable")
    if len(hosts) > len(first) and len(timed):  # some address was another host later
        then = pd.merge_asof(timed, begun, left_on="time", right_on="valid_from", by=["site", "ip"]).dropna(
            subset="name"
        )
        found = found.mask(found.index.isin(then["row"]), then.set_index("row")["name"])
    return found.set_axis(ends.index).astype(object)


def is_shared(ends: pd.DataFrame, address: str, rows: TableSet) -> pd.Series:
    """True for each row whose address had several machines behind it, whenever that was."""
    hosts = rows.frame("hosts", "site", "ip", "shared")
    shared = hosts[hosts["shared"].fillna(False).astype(bool)]
    known = pd.MultiIndex.from_frame(shared[["site", "ip"]])
    return pd.Series(pd.MultiIndex.from_frame(ends[["site", address]]).isin(known), index=ends.index)
