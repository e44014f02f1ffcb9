"""How long what-if and recommendation take on the tables of a large site.

    python -m tests.benchmarks.policy [--clients N] [--servers N] [--uses N]

Prints seconds, those that the processor worked for it (others may be at work, too), and the most memory that the process
ever held, before and after.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

from analyzer import policy
from analyzer.policy.settings import Given, Policy
from tests.benchmarks.tables import site

CHANGE = Policy(
    "windows",
    {
        "NullSessionPipes": Given(("netlogon", "samr", "lsarpc"), "benchmark"),
        "NullSessionShares": Given((), "benchmark"),
        "RestrictNullSessAccess": Given(1, "benchmark"),
        "RestrictAnonymous": Given(1, "benchmark"),
        "EveryoneIncludesAnonymous": Given(0, "benchmark"),
    },
)


def main(arguments: list[str]) -> int:
    """Measure both."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.policy", description=__doc__.splitlines()[0])
    for name, default in (("clients", 10_000), ("servers", 500), ("uses", 1_000_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args(arguments)
    made = site(chosen.clients, chosen.servers, chosen.uses)
    rows = {name: made.arrow(name) for name in policy.NEEDED}
    print(f"{len(rows['dependencies']):,} dependencies; {megabytes():,.0f} MB held before")
    for name, run in (
        ("what-if", lambda: policy.whatif(rows, policies={"": CHANGE}).counts()),
        ("what-if, as a table", lambda: len(policy.whatif(rows, policies={"": CHANGE}).rows())),
        ("recommendation", lambda: len(policy.recommend(rows).servers)),
    ):
        begun, worked = time.perf_counter(), time.process_time()
        found = run()
        took, worked = time.perf_counter() - begun, time.process_time() - worked
        print(f"{name}: {took:.2f} s ({worked:.2f} s of the processor), {megabytes():,.0f} MB held at most; {found}")
    return 0


def megabytes() -> float:
    """The most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
