"""Run every scenario with a whole fleet and write docs/fleet.md and its pictures: ``make simulation``."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tests.simulation import report
from tests.simulation.fleet import Result, live
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.world import YEAR, World

AGENTS = 100_000
DOCUMENTS = Path(__file__).parents[2] / "docs"


def run_all(agents: int) -> dict[str, Result]:
    """Return the result of every scenario, by its slug; scenarios run side by side, the longest ones first."""
    longest_first = sorted(SCENARIOS, key=lambda one: _effort(one.world), reverse=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(partial(live, agents=agents), [one.world for one in longest_first])
        return {one.slug: result for one, result in zip(longest_first, results, strict=True)}


def _effort(world: World) -> float:
    """Return a number that is the larger the longer a scenario takes; one process must not end alone with the last."""
    if world.limit is not None or world.rollover is not None:
        return YEAR
    return sum(outage.end - outage.begin for outage in world.outages)


def main() -> int:
    """Run, print the table, write the documents."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--agents", type=int, default=AGENTS)
    parser.add_argument("--documents", type=Path, default=DOCUMENTS, help="folder for fleet.md and its pictures")
    options = parser.parse_args()
    began = time.monotonic()
    results = run_all(options.agents)
    text = report.document(results)
    print(text)
    (options.documents / "fleet.md").write_text(text)
    report.draw(results, options.documents / "fleet.png")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"simulated in {time.monotonic() - began:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of CPU time")
    return 0


if __name__ == "__main__":
    sys.exit(main())
