"""``python -m tests.soak SECONDS``: run it, print what was seen; the exit status is 1 when something is wrong."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.soak.plan import Plan
from tests.soak.soak import Soak

with tempfile.TemporaryDirectory() as place:
    report = Soak(Path(place), Plan(seconds=float(sys.argv[1]))).run()
sys.stdout.write(f"{report}\n")
wrong = report.complaints()
sys.stdout.writelines(f"WRONG: {one}\n" for one in wrong)
sys.exit(1 if wrong else 0)
