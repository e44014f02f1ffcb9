"""How long summaries take on the tables of a large site, and how much memory: 10,000 clients, 500 servers, a million calls.

    python -m tests.benchmarks.summaries [--uses N] [--repeat N]

Each summary is made in a process of its own, so that peaks are its own: the resident set before (tables are loaded) and at
its peak. The median of all repeats is printed.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from analyzer import results
from tests.benchmarks import tables as made

WANTED = ("dependencies", "observation", "discovery", "rare_uses", "hints", "coverage", "applications", "clients")


def measured(directory: Path, name: str) -> None:
    """Print seconds and megabytes of making one summary of saved tables."""
    analysis = results.load(directory, timezone="Europe/Berlin")
    needed = [] if name in ("dependencies", "observation", "coverage") else ["dependencies"]
    for table in (*made.tables.ROWS, *needed):
        analysis.arrow(table)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    rows = len(analysis.arrow(name))
    seconds = time.perf_counter() - begun
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, before // 1024, rows)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--uses", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("DIR", "NAME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measured(Path(arguments.measure[0]), arguments.measure[1])
        return
    with tempfile.TemporaryDirectory() as directory:
        results.save(made.site(uses=arguments.uses), Path(directory))
        for name in WANTED:
            command = [sys.executable, "-m", "tests.benchmarks.summaries", "--measure", directory, name]
            runs = [
                subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
                for _ in range(arguments.repeat)
            ]
            seconds, peak, before, rows = (statistics.median(float(run[place]) for run in runs) for place in range(4))
            print(f"{name:14} {seconds:6.2f} s  {peak:6,.0f} MB (tables alone {before:,.0f})  {rows:8,.0f} rows")


if __name__ == "__main__":
    main()
