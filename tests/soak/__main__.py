"""``python -m tests.soak SECONDS``: run it and print what was seen."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.soak.soak import Plan, Soak

with tempfile.TemporaryDirectory() as place:
    sys.stdout.write(f"{Soak(Path(place), Plan(seconds=float(sys.argv[1]))).run()}\n")
