"""What it costs to start ``enrollctl``, beside other programs for the same trade: CPU, and wall time.

    python tests/benchmarks/bench_cli.py [--runs 15]

Programs take turns; figures are medians of ``--runs``. What this machine does not have is left out.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.tables import command_line, table, verdict

ENROLLCTL: Final = Path(sys.executable).with_name("enrollctl")
BOUND: Final = 0.15
CONFIG: Final = """\
state-directory: state
authorities:
  operator: {urls: ["http://127.0.0.1:9/.well-known/cmp"], trust-anchors: enrollment}
identities:
  ike:
    authority: operator
    subject: "CN=enb-4711,O=Operator"
    bootstrap: {shared-secret: {reference: enb-4711, secret: "file:secret"}}
"""


def spent(command: Sequence[str | Path]) -> tuple[float, float]:
    """Return user and system time, and wall time, of one run of ``command``."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "enrolld.yaml"
        config.write_text(CONFIG)
        (Path(folder) / "state").mkdir(mode=0o700)
        measure(commands(config), options.runs)


def commands(config: Path) -> dict[str, list[str | Path]]:
    """Return what is measured, by its name: ours first."""
    start: list[str | Path] = [ENROLLCTL, "--config", config]
    every: dict[str, list[str | Path]] = {
        "enrollctl --help": [ENROLLCTL, "--help"],
        "enrollctl status": [*start, "status"],
        "enrollctl status --json": [*start, "status", "--json"],
        "enrollctl config check": [*start, "config", "check"],
        "python -c ''": [sys.executable, "-c", ""],
        "openssl cmp -help": ["openssl", "cmp", "-help"],
        "getcert list": ["getcert", "list"],
    }
    return {name: command for name, command in every.items() if shutil.which(str(command[0]))}


def measure(every: dict[str, list[str | Path]], runs: int) -> None:
    """Print a table, and how the goals are met."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in every}
    for _ in range(runs):
        for name, command in every.items():
            taken[name].append(spent(command))
    medians = {name: [statistics.median(one) for one in zip(*figures, strict=True)] for name, figures in taken.items()}
    print(f"start of a command, median of {runs} ({command_line()})")
    rows = [(name, f"{cpu * 1000:.0f}", f"{wall * 1000:.0f}") for name, (cpu, wall) in medians.items()]
    print(f"{table(('command', 'CPU ms', 'wall ms'), rows)}\n")
    for name in ("enrollctl --help", "enrollctl status"):
        print(verdict(f"CPU of {name}", medians[name][0], BOUND, "s"))


if __name__ == "__main__":
    main()
