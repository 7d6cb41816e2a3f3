"""What it costs to start ``enrollctl``, beside other programs for the same trade: CPU seconds, the least of some runs.

The bound for ``--help`` and ``status`` is 0.15 s. What this machine does not have is left out.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ENROLLCTL: Final = Path(sys.executable).with_name("enrollctl")
BOUND: Final = 0.15
RUNS: Final = 15
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


def cpu(command: Sequence[str | Path]) -> float:
    """Return the least user and system time that ``command`` took, children included."""
    least = float("inf")
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        least = min(least, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return least


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "enrolld.yaml"
        config.write_text(CONFIG)
        (Path(folder) / "state").mkdir(mode=0o700)
        start: list[str | Path] = [ENROLLCTL, "--config", config]
        ours: dict[str, list[str | Path]] = {
            "enrollctl --help": [ENROLLCTL, "--help"],
            "enrollctl status": [*start, "status"],
            "enrollctl status --json": [*start, "status", "--json"],
            "enrollctl config check": [*start, "config", "check"],
        }
        others: dict[str, list[str | Path]] = {
            "python -c ''": [sys.executable, "-c", ""],
            "openssl cmp -help": ["openssl", "cmp", "-help"],
            "getcert list": ["getcert", "list"],
        }
        for name, command in (ours | others).items():
            if shutil.which(str(command[0])) is None:
                print(f"{name:<26} not on this machine")
                continue
            took = cpu(command)
            bound = f"   (bound {BOUND:.2f} s)" if name in {"enrollctl --help", "enrollctl status"} else ""
            print(f"{name:<26}{took:7.3f} s CPU{bound}")


if __name__ == "__main__":
    main()
